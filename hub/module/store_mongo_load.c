/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/module/store_mongo_module.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct store_engine *engine;
static char problem[480];

static bool load(const char *folder)
{
    char path[4096 + 64];
    store_mongo_module_function *module;
    int length = snprintf(path, sizeof path, "%s/%s", folder, STORE_MONGO_MODULE);
    if (length < 0 || (size_t)length >= sizeof path || access(path, R_OK) != 0) {
        return false;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void *symbol = library != NULL ? dlsym(library, STORE_MONGO_SYMBOL) : NULL;
    if (symbol != NULL) {
        memcpy(&module, &symbol, sizeof module); /* POSIX promises this; ISO C has no cast for it */
        engine = module(TL_HUB_VERSION, sizeof(struct store_engine));
        snprintf(problem, sizeof problem, "%.200s is of another version", path);
    } else {
        const char *text = dlerror();
        snprintf(problem, sizeof problem, "%.200s: %.200s", path, text != NULL ? text : "no such symbol");
    }
    return engine != NULL;
}

/* Beside the program (a build folder, or wherever the installation was moved to), then where it was to be installed. */
static void find(void)
{
    char executable[4096], folder[4096 + 64];
    static const char *const beside[] = {"../lib/tl_hub", "../" TL_HUB_LIBRARY_DIR "/tl_hub"};
    ssize_t length = readlink("/proc/self/exe", executable, sizeof executable - 1);
    executable[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(executable, '/');
    /* libmongoc's counters in shared memory stay behind when a process is killed, and then it prints a warning. */
    setenv("MONGOC_DISABLE_SHM", "1", 0);
    snprintf(problem, sizeof problem, "%s is not there", STORE_MONGO_MODULE);
    if (slash != NULL) {
        *slash = '\0';
        for (size_t i = 0; i < 2; i++) {
            snprintf(folder, sizeof folder, "%s/%s", executable, beside[i]);
            if (load(folder)) {
                return;
            }
        }
    }
    load(TL_HUB_MODULE_DIR);
}

const struct store_engine *store_engine_mongo_get(bson_error_t *error)
{
    pthread_once(&once, find);
    if (engine == NULL) {
        hub_error(error, HUB_ERROR_IO, "MongoDB: the module cannot be loaded: %s; install tl_hub as a whole", problem);
    }
    return engine;
}
