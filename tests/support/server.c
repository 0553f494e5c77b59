/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <criterion/criterion.h>
#include <mongoc/mongoc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* From the program's own process to its tests. */
#define URI_VARIABLE "TL_TEST_SERVER_URI"
#define KIND_VARIABLE "TL_TEST_SERVER_KIND"
#define PREFIX_VARIABLE "TL_TEST_DATABASE_PREFIX"
#define STAND_IN_VARIABLE "TL_TEST_SERVER_IS_STAND_IN"

static char *printed(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *printed(const char *format, ...)
{
    va_list arguments;
    char *result;
    va_start(arguments, format);
    if (vasprintf(&result, format, arguments) < 0) {
        abort();
    }
    va_end(arguments);
    return result;
}

static void read_line(FILE *file, char *line, size_t size)
{
    line[0] = '\0';
    if (file && fgets(line, (int)size, file)) {
        line[strcspn(line, "\n")] = '\0';
    }
}

/* Of a named server: MongoDB tells what it was built from, the stand-in does not. */
static bool looks_like_stand_in(const char *uri)
{
    bson_t *command = BCON_NEW("buildInfo", BCON_INT32(1));
    bson_t reply = BSON_INITIALIZER;
    mongoc_log_set_handler(NULL, NULL);
    mongoc_init();
    mongoc_client_t *client = mongoc_client_new(uri);
    bool told = client && mongoc_client_command_simple(client, "admin", command, NULL, &reply, NULL);
    bool result = told && !bson_has_field(&reply, "gitVersion");
    bson_destroy(&reply);
    bson_destroy(command);
    mongoc_client_destroy(client);
    return result;
}

int test_server_start(const char *folder)
{
    char uri[1024];
    char kind[32];
    char *command = printed("'%s/tests/support/mongo-server' start '%s/server' --parent %d", TL_TEST_SOURCE_DIR, folder,
                            (int)getpid());
    FILE *script = popen(command, "r");
    read_line(script, uri, sizeof uri);
    int status = script ? pclose(script) : -1;
    free(command);
    if (status == -1 || !WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 77)) {
        fputs("the MongoDB server for the tests did not start\n", stderr);
        return 1;
    }
    if (WEXITSTATUS(status) == 77) {
        if (getenv("CI")) {
            fputs("FAILED: no MongoDB server for the tests, and CI is set\n", stderr);
            return 1;
        }
        return 77;
    }
    char *path = printed("%s/server/kind", folder);
    FILE *file = fopen(path, "r");
    read_line(file, kind, sizeof kind);
    if (file) {
        fclose(file);
    }
    free(path);
    if (strcmp(kind, "stand-in") == 0 || (strcmp(kind, "named") == 0 && looks_like_stand_in(uri))) {
        setenv(STAND_IN_VARIABLE, "1", 1);
    }
    char *prefix = printed("tl_test_%lx_%d", (unsigned long)time(NULL), (int)getpid());
    setenv(URI_VARIABLE, uri, 1);
    setenv(KIND_VARIABLE, kind, 1);
    setenv(PREFIX_VARIABLE, prefix, 1);
    free(prefix);
    return 0;
}

/* Only a server that goes on living needs its databases dropped. */
static void drop_databases(void)
{
    const char *prefix = getenv(PREFIX_VARIABLE);
    mongoc_log_set_handler(NULL, NULL);
    mongoc_init();
    mongoc_client_t *client = mongoc_client_new(getenv(URI_VARIABLE));
    char **names = client ? mongoc_client_get_database_names_with_opts(client, NULL, NULL) : NULL;
    for (size_t i = 0; names && names[i]; i++) {
        if (strncmp(names[i], prefix, strlen(prefix)) == 0) {
            mongoc_database_t *database = mongoc_client_get_database(client, names[i]);
            mongoc_database_drop(database, NULL);
            mongoc_database_destroy(database);
        }
    }
    bson_strfreev(names);
    mongoc_client_destroy(client);
    mongoc_cleanup();
}

void test_server_stop(const char *folder)
{
    const char *kind = getenv(KIND_VARIABLE);
    if (kind && strcmp(kind, "named") == 0) {
        drop_databases();
    } else if (kind) {
        char *command = printed("'%s/tests/support/mongo-server' stop '%s/server'", TL_TEST_SOURCE_DIR, folder);
        if (system(command) != 0) {
            fputs("the MongoDB server for the tests did not stop\n", stderr);
        }
        free(command);
    }
}

bool test_server_exists(void)
{
    return getenv(URI_VARIABLE) != NULL;
}

bool test_server_is_stand_in(void)
{
    return getenv(STAND_IN_VARIABLE) != NULL;
}

void test_server_need(void)
{
    if (!test_server_exists()) {
        cr_skip_test("SKIPPED: no MongoDB server can be had (TL_TEST_MONGODB_URI, mongod, or java and Maven)");
    }
}

char *test_server_database(const char *options)
{
    static atomic_int count;
    test_server_need();
    const char *uri = getenv(URI_VARIABLE);
    const char *hosts = strstr(uri, "://");
    hosts = hosts ? hosts + 3 : uri;
    size_t length = strcspn(hosts, "/?") + (size_t)(hosts - uri); /* up to the database's slash or the query */
    const char *query = strchr(uri + length, '?');
    query = query ? query + 1 : "";
    options = options ? options : "";
    return printed("%.*s/%s_%d_%d%s%s%s%s", (int)length, uri, getenv(PREFIX_VARIABLE), (int)getpid(),
                   atomic_fetch_add(&count, 1), *query || *options ? "?" : "", query, *query && *options ? "&" : "",
                   options);
}
