/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef TL_HUB_DEVICE_DIR
#define TL_HUB_DEVICE_DIR "/usr/local/lib/tl_hub"
#endif
#ifndef TL_HUB_LIBRARY_DIR
#define TL_HUB_LIBRARY_DIR "lib"
#endif
#define MODULE "tl_device_cpu.so"

static const char *const names[] = {"cpu", "ref", NULL};

const char *const *device_names(void)
{
    return names;
}

/* Opens DIRECTORY/MODULE; the library stays loaded for the life of the process (its threads may). */
static const struct device_operations *load(const char *directory, char *tried, size_t tried_size)
{
    char path[4096 + 64];
    int length = snprintf(path, sizeof path, "%s/%s", directory, MODULE);
    if (length < 0 || (size_t)length >= sizeof path) {
        return NULL;
    }
    const char *problem = "no such file";
    size_t used = strlen(tried);
    if (access(path, R_OK) == 0) {
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        void *symbol = library != NULL ? dlsym(library, "tl_device_cpu") : NULL;
        if (symbol != NULL) {
            device_module_function *module;
            memcpy(&module, &symbol, sizeof module); /* POSIX promises this; ISO C has no cast for it */
            const struct device_operations *operations = module(DEVICE_MODULE_VERSION);
            if (operations != NULL) {
                return operations;
            }
            problem = "of another version";
        } else {
            const char *text = dlerror();
            problem = text != NULL ? text : "not a device";
        }
    }
    snprintf(tried + used, tried_size - used, "%s%.150s: %.150s", used > 0 ? "; " : "", path, problem);
    return NULL;
}

static const struct device_operations *find_cpu(struct kernel_error *error)
{
    static _Thread_local const struct device_operations *found;
    char tried[480] = "", executable[4096], directory[4096 + 64];
    if (found != NULL) {
        return found;
    }
    const char *path = getenv("TL_HUB_DEVICE_PATH");
    if (path != NULL && path[0] != '\0') {
        found = load(path, tried, sizeof tried);
    } else {
        ssize_t length = readlink("/proc/self/exe", executable, sizeof executable - 1);
        executable[length > 0 ? length : 0] = '\0';
        char *slash = strrchr(executable, '/');
        if (slash != NULL) {
            *slash = '\0';
            static const char *const beside[] = {"../lib/tl_hub", "../" TL_HUB_LIBRARY_DIR "/tl_hub"};
            for (size_t i = 0; i < 2 && found == NULL; i++) {
                snprintf(directory, sizeof directory, "%s/%s", executable, beside[i]);
                found = i == 1 && strcmp(beside[0], beside[1]) == 0 ? NULL : load(directory, tried, sizeof tried);
            }
        }
        if (found == NULL) {
            found = load(TL_HUB_DEVICE_DIR, tried, sizeof tried);
        }
    }
    if (found == NULL) {
        kernel_error_set(error, KERNEL_ERROR_UNSUPPORTED, "device cpu: cannot be loaded: set TL_HUB_DEVICE_PATH to the "
                         "folder of %s (%s)", MODULE, tried);
    }
    return found;
}

struct device *device_open(const char *name, int threads, struct kernel_error *error)
{
    const struct device_operations *operations = NULL;
    if (threads < 0 || threads > 1024) {
        kernel_error_set(error, KERNEL_ERROR_INVALID, "threads: %d is out of range: use 1 to 1024", threads);
        return NULL;
    }
    if (name != NULL && strcmp(name, "ref") == 0) {
        operations = &device_ref_operations;
    } else if (name != NULL && strcmp(name, "cpu") == 0) {
        operations = find_cpu(error);
        if (operations == NULL) {
            return NULL;
        }
    } else {
        kernel_error_set(error, KERNEL_ERROR_UNSUPPORTED, "device: \"%.40s\" is not known: use cpu or ref",
                         name != NULL ? name : "");
        return NULL;
    }
    struct device *device = calloc(1, sizeof *device);
    if (device == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "device %s: out of memory", name);
        return NULL;
    }
    device->operations = operations;
    device->threads = threads > 0 ? threads : 1;
    if (operations->open != NULL && operations->open(device, error) < 0) {
        free(device);
        return NULL;
    }
    return device;
}

void device_close(struct device *device)
{
    if (device != NULL) {
        if (device->operations->close != NULL) {
            device->operations->close(device);
        }
        free(device);
    }
}

const char *device_name(const struct device *device)
{
    return device->operations->name;
}

static const char *const precisions[] = {[PRECISION_FLOAT32] = "float32", [PRECISION_BFLOAT16] = "bfloat16"};

int device_precision_find(const char *name, enum device_precision *precision, struct kernel_error *error)
{
    for (size_t i = 0; name != NULL && i < sizeof precisions / sizeof precisions[0]; i++) {
        if (strcmp(name, precisions[i]) == 0) {
            *precision = (enum device_precision)i;
            return 0;
        }
    }
    *precision = PRECISION_FLOAT32;
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "precision: \"%.40s\" is not known: use float32 or bfloat16",
                            name != NULL ? name : "");
}

const char *device_precision_name(enum device_precision precision)
{
    return precisions[precision];
}

const char *device_bfloat16(const struct device *device)
{
    return device->operations->bfloat16 != NULL ? device->operations->bfloat16(device)
                                                : "emulated: operands rounded, products in float32";
}

char *device_describe(struct device *device, struct kernel_error *error)
{
    char *text = device->operations->describe(device);
    if (text == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "device %s: out of memory", device_name(device));
    }
    return text;
}
