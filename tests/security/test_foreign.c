/* SPDX-License-Identifier: Apache-2.0 */
/* A hub in which others have written: in every collection there are copies of good documents with a field missing or of
 * another type, of NaN, of great depth and size. They go in below the store's front, which would refuse them. Then
 * every verb is run, and a runner: each ends by itself with its result or one clear line, the good tasks are done, and
 * the foreign ones that can be read are set aside with an error. */
#include "documents.h"
#include "hub/hub.h"
#include "hub/store_impl.h"
#include "server.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TEST_USES_SERVER;
TestSuite(foreign, .timeout = 400);

static bson_error_t error;
static char *uri, *folder;
static const struct store_engine *engine;
static void *self;
static int number, inserted, refused;

/* ---- the program ---- */

/* The exit code; what was printed is left in out of the folder. */
static int tl_hub(const char *arguments)
{
    char *command = bson_strdup_printf("cd '%s' && export HOME='%s' TL_HUB_URI='%s' && timeout 60 '%s/bin/tl_hub' %s "
                                       "</dev/null >out 2>err", folder, folder, uri, TL_TEST_BUILD_DIR, arguments);
    int status = system(command);
    bson_free(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static char *printed(const char *name)
{
    char *path = bson_strdup_printf("%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    char *text = bson_malloc0(4096);
    size_t length = file != NULL ? fread(text, 1, 4095, file) : 0;
    text[length] = '\0';
    if (file != NULL)
        fclose(file);
    bson_free(path);
    return text;
}

static void must(const char *arguments)
{
    int code = tl_hub(arguments);
    char *said = printed("err");
    cr_assert_eq(code, 0, "tl_hub %s: %d: %s", arguments, code, said);
    bson_free(said);
}

/* The last line says why not; notes on what was left out may stand before it. */
static bool is_refusal(const char *said)
{
    bool complete = false;
    for (const char *line = said, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        if (strncmp(line, "tl_hub: ", 8) != 0 || end == NULL)
            return false;
        complete = true;
        if (end[1] != '\0' && strstr(line, "left out") == NULL)
            return false;
    }
    return complete;
}

/* It ends by itself: with a result, or with a line about why not. */
static void survives(const char *arguments)
{
    int code = tl_hub(arguments);
    char *said = printed("err"), *result = printed("out");
    cr_expect(code <= 6 && strstr(said, "Sanitizer") == NULL && strstr(said, "runtime error") == NULL, "tl_hub %s: %d: %s",
              arguments, code, said);
    cr_expect(code == 0 || result[0] != '\0' || is_refusal(said),
              "tl_hub %s: %d, and not one line: %s", arguments, code, said);
    bson_free(result);
    bson_free(said);
}

/* ---- foreign documents ---- */

/* With its _id replaced, unless keep_id. */
static void insert(const char *collection, const bson_t *document, bool keep_id)
{
    bson_t out = BSON_INITIALIZER;
    bson_iter_t iter;
    char id[33];
    snprintf(id, sizeof id, "f%031d", number++);
    if (!keep_id)
        BSON_APPEND_UTF8(&out, "_id", id);
    cr_assert(bson_iter_init(&iter, document));
    while (bson_iter_next(&iter))
        if (keep_id || strcmp(bson_iter_key(&iter), "_id") != 0)
            bson_append_iter(&out, NULL, 0, &iter);
    if (engine->insert(self, collection, &out, &error) > 0)
        inserted++;
    else
        refused++; /* an array where there is an index, a key that is too long: the engine's own rules */
    bson_destroy(&out);
}

#define VALUES 16

static void append_value(bson_t *out, const char *key, int which)
{
    bson_t inner = BSON_INITIALIZER;
    switch (which) {
    case 0: BSON_APPEND_DOUBLE(out, key, NAN); break;
    case 1: BSON_APPEND_NULL(out, key); break;
    case 2: BSON_APPEND_INT32(out, key, -1); break;
    case 3: BSON_APPEND_INT64(out, key, INT64_MAX); break;
    case 4: BSON_APPEND_UTF8(out, key, "text"); break;
    case 5: BSON_APPEND_UTF8(out, key, ""); break;
    case 6: BSON_APPEND_DOCUMENT(out, key, &inner); break;
    case 7: BSON_APPEND_UTF8(&inner, "$where", "1"); BSON_APPEND_DOCUMENT(out, key, &inner); break;
    case 8: BSON_APPEND_ARRAY(out, key, &inner); break;
    case 9: BSON_APPEND_UTF8(&inner, "0", "x"); BSON_APPEND_NULL(&inner, "1"); BSON_APPEND_ARRAY(out, key, &inner); break;
    case 10: BSON_APPEND_BOOL(out, key, true); break;
    case 11: BSON_APPEND_BINARY(out, key, BSON_SUBTYPE_BINARY, (const uint8_t *)"xyz", 3); break;
    case 12: BSON_APPEND_REGEX(out, key, ".*", "i"); break;
    case 13: bson_append_utf8(out, key, -1, "a\xff\xfe", 3); break;
    case 14: bson_append_utf8(out, key, -1, "a\0b", 3); break;
    default: BSON_APPEND_DOUBLE(out, key, -INFINITY); break;
    }
    bson_destroy(&inner);
}

/* As many documents as there are fields: of each field one that lacks it, or one of the values in its place, in turn. */
static void insert_changed(const char *collection, const bson_t *good)
{
    static int turn;
    bson_iter_t field, iter;
    cr_assert(bson_iter_init(&field, good));
    while (bson_iter_next(&field)) {
        const char *name = bson_iter_key(&field);
        int which = turn++ % (VALUES + 1) - 1;
        bson_t changed = BSON_INITIALIZER;
        cr_assert(bson_iter_init(&iter, good));
        while (bson_iter_next(&iter)) {
            const char *key = bson_iter_key(&iter);
            if (strcmp(key, name) == 0) {
                if (which >= 0)
                    append_value(&changed, key, which);
            } else if (strcmp(key, "name") == 0) {
                BSON_APPEND_UTF8(&changed, key, "foreign"); /* the good ones are found by theirs */
            } else {
                bson_append_iter(&changed, NULL, 0, &iter);
            }
        }
        insert(collection, &changed, strcmp(name, "_id") == 0 && which != -1);
        bson_destroy(&changed);
    }
}

static void insert_deep(const char *collection, const bson_t *good, int depth)
{
    /* Document within document, written from the inside out: each is its length, one field "d", and a zero. */
    size_t size = 5 + (size_t)depth * 8;
    uint8_t *bytes = calloc(1, size);
    bson_t deep, out;
    cr_assert_not_null(bytes);
    for (int i = 0; i <= depth; i++) {
        uint32_t length = BSON_UINT32_TO_LE((uint32_t)(size - (size_t)i * 8));
        memcpy(bytes + (size_t)i * 7, &length, sizeof length);
        if (i < depth)
            memcpy(bytes + (size_t)i * 7 + 4, "\x03" "d", 3);
    }
    cr_assert(bson_init_static(&deep, bytes, size));
    bson_init(&out);
    bson_copy_to_excluding_noinit(good, &out, "name", NULL);
    BSON_APPEND_UTF8(&out, "name", "foreign");
    BSON_APPEND_DOCUMENT(&out, "deep", &deep);
    insert(collection, &out, false);
    bson_destroy(&out);
    free(bytes);
}

static void insert_large(const char *collection, const bson_t *good)
{
    size_t length = 8u << 20;
    char *text = malloc(length);
    bson_t out;
    cr_assert_not_null(text);
    memset(text, 'x', length);
    bson_init(&out);
    bson_copy_to_excluding_noinit(good, &out, "name", NULL);
    BSON_APPEND_UTF8(&out, "name", "foreign");
    bson_append_utf8(&out, "large", -1, text, (int)length);
    insert(collection, &out, false);
    bson_destroy(&out);
    free(text);
}

/* ---- a hub that was good ---- */

static bson_t *first_of(const char *collection, const char *filter)
{
    struct store *store = store_open(uri, false, &error);
    bson_t *found = bson_new(), out;
    cr_assert_not_null(store, "%s", error.message);
    int result = store_find_one(store, collection, document("%s", filter), NULL, &out, &error);
    cr_assert_eq(result, 1, "nothing of %s in %s: %s", filter, collection, error.message);
    bson_copy_to_excluding_noinit(&out, found, "nothing is left out", NULL);
    bson_destroy(&out);
    store_close(store);
    return found;
}

static void make_good_hub(void)
{
    char *command = bson_strdup_printf("mkdir -p '%s/data' && python3 '%s/tests/cli/make_idx.py' '%s/data' && printf "
                                       "'parameters:\\n  hidden: [4]\\n  epochs: 1\\narchitecture: \"dense:${hidden}:relu "
                                       "dense:4\"\\n' >'%s/sweep.yaml'", folder, TL_TEST_SOURCE_DIR, folder, folder);
    cr_assert_eq(system(command), 0);
    bson_free(command);
    must("init");
    must("save-dataset tiny --idx data");
    must("save-architecture net 'dense:4:relu dense:4'");
    must("create-task --dataset tiny --sweep sweep.yaml --name swept");
    must("create-task --dataset tiny --architecture net --name first --set epochs=1");
    must("run-task --until-empty --workers 1 --quiet --device ref --lease 1s");
    must("create-task --dataset tiny --architecture net --name good --set epochs=1 --priority -5");
}

/* Ready tasks of which one number is beyond all bounds: they can be claimed and must fail, naming it, not train. */
static const struct {
    const char *setting;
    double value;
    const char *architecture, *named;
} unsettled[] = {
    {"epochs", NAN, NULL, "epochs"},
    {"epochs", 2147483648., NULL, "epochs"},
    {"batch_size", 9223372036854775808., NULL, "batch_size"},
    {"seed", -1, NULL, "seed"},
    {"learning_rate", INFINITY, NULL, "learning_rate"},
    {"epochs", 1, "dense:2147483648 dense:4", "units"},
    {"epochs", 1, "dense:16777216 dense:16777216 dense:4", "parameters"},
};

static void insert_unsettled(const bson_t *ready)
{
    for (size_t i = 0; i < sizeof unsettled / sizeof *unsettled; i++) {
        bson_t out = BSON_INITIALIZER, settings;
        const char *architecture = unsettled[i].architecture;
        bson_copy_to_excluding_noinit(ready, &out, "name", "hyper_parameters", architecture != NULL ? "architecture" : NULL,
                                      NULL);
        char name[32];
        snprintf(name, sizeof name, "unsettled %zu", i);
        BSON_APPEND_UTF8(&out, "name", name);
        BSON_APPEND_DOCUMENT_BEGIN(&out, "hyper_parameters", &settings);
        BSON_APPEND_DOUBLE(&settings, unsettled[i].setting, unsettled[i].value);
        bson_append_document_end(&out, &settings);
        if (architecture != NULL)
            BSON_APPEND_UTF8(&out, "architecture", architecture);
        insert("tasks", &out, false);
        bson_destroy(&out);
    }
}

static void expect_unsettled(void)
{
    for (size_t i = 0; i < sizeof unsettled / sizeof *unsettled; i++) {
        char *filter = bson_strdup_printf("{'name': 'unsettled %zu', 'state': 'failed', 'error.message': {'$regex': '%s'}}", i,
                                          unsettled[i].named);
        bson_destroy(first_of("tasks", filter));
        bson_free(filter);
    }
}

/* Its _id is none that a filter can name: only its claim can. */
static void insert_unnamed(const bson_t *ready)
{
    bson_t out = BSON_INITIALIZER;
    bson_append_utf8(&out, "_id", -1, "u\xff\xfe", 3);
    bson_copy_to_excluding_noinit(ready, &out, "_id", "name", NULL);
    BSON_APPEND_UTF8(&out, "name", "unnamed");
    insert("tasks", &out, true);
    bson_destroy(&out);
}

static void insert_running(const bson_t *done)
{
    bson_t out = BSON_INITIALIZER;
    bson_copy_to_excluding_noinit(done, &out, "state", "result", NULL);
    BSON_APPEND_UTF8(&out, "state", "running");
    insert_changed("tasks", &out);
    bson_destroy(&out);
}

static void insert_foreign(void)
{
    static const struct {
        const char *collection, *filter;
    } goods[] = {{"datasets", "{}"}, {"models", "{'name': 'first'}"}, {"logs", "{}"}, {"architectures", "{}"},
                 {"runners", "{}"}, {"sweeps", "{}"}, {"blobs.files", "{}"}, {"projects", "{}"},
                 {"counters", "{}"}, {"meta", "{}"}, {"tasks", "{'name': 'first'}"}, {"tasks", "{'name': 'good'}"}};
    bson_t *ready = first_of("tasks", "{'name': 'good'}"), *done = first_of("tasks", "{'name': 'first'}");
    bson_t *upload = BCON_NEW("_id", BCON_OID(&(bson_oid_t){.bytes = {1}}), "project", "default", "beat", BCON_INT64(0),
                              "created_at", BCON_DATE_TIME(0), "schema_version", BCON_INT32(1), "task", "x", "claim", "y",
                              "lane", BCON_INT32(0));
    bson_t *chunk = BCON_NEW("_id", BCON_OID(&(bson_oid_t){.bytes = {2}}), "files_id", BCON_OID(&(bson_oid_t){.bytes = {3}}),
                             "n", BCON_INT32(0), "data", BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)"xyz", 3));
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        bson_t *good = first_of(goods[i].collection, goods[i].filter);
        insert_changed(goods[i].collection, good);
        insert_deep(goods[i].collection, good, 90);
        bson_destroy(good);
    }
    insert_changed("uploads", upload);
    insert_changed("blobs.chunks", chunk); /* of no blob: in a good one's place it would be damage to that */
    insert_large("tasks", ready);
    insert_unsettled(ready);
    insert_unnamed(ready);
    insert_running(done);
    bson_destroy(chunk);
    bson_destroy(upload);
    bson_destroy(done);
    bson_destroy(ready);
}

static void read_all(void)
{
    static const char *const verbs[] = {
        "find-task", "find-task -o json", "find-task -o csv", "find-task --state ready --sort name",
        "find-task --where 'priority>0'", "find-task foreign", "find-model -o json", "find-model --sort accuracy:desc",
        "find-dataset", "find-dataset tiny", "find-architecture -o csv", "find-log", "status", "status -o json", "doctor",
        "fsck --settle 10ms --stand 100ms -o json", "gc --dry-run --lease 100ms"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        survives(verbs[i]);
}

static void write_all(void)
{
    static const char *const verbs[] = {
        "wait nobody --timeout 100ms", "set-task --where 'name=foreign' --priority 3",
        "pause-task --where 'name=foreign'", "resume-task --where 'name=foreign'", "stop-task --where 'name=foreign'",
        "cancel-task --where 'name=foreign'", "restart-task --where 'name=foreign'",
        "tag-model --where 'name=foreign' --add x", "get-model foreign -o w.safetensors --force",
        "get-model first -o w.safetensors --force", "save-dataset tiny --idx data", "export all.tl",
        "import all.tl --rename again", "delete-log nobody", "delete-task --where 'name=foreign' --yes", "gc --lease 100ms",
        "cancel-task --all --yes", "delete-task --all --yes", "delete-model --all --yes", "delete-dataset --all --yes",
        "delete-architecture --all --yes", "delete-log --all --yes", "gc --lease 100ms", "status"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        survives(verbs[i]);
}

static void begin(void)
{
    char *path = test_path("");
    folder = bson_strdup_printf("%s.work", path);
    free(path);
    cr_assert_eq(mkdir(folder, 0700), 0);
    make_good_hub();
    self = engine->open(uri, false, 0, &error);
    cr_assert_not_null(self, "%s", error.message);
}

static void try_all(void)
{
    begin();
    insert_foreign();
    cr_assert_gt(inserted, 100, "%d foreign documents, %d refused", inserted, refused);
    engine->close(self);
    read_all();
    survives("run-task --workers 2 --until-empty --quiet --device ref --lease 1s");
    bson_destroy(first_of("tasks", "{'name': 'good', 'state': 'done', 'hyper_parameters.epochs': 1, 'priority': -5}"));
    expect_unsettled();
    /* A server may have made other text of it, and then the task is as good as any. */
    bson_destroy(first_of("tasks", engine == &store_engine_sqlite ? "{'name': 'unnamed', 'state': 'failed'}"
                                                                  : "{'name': 'unnamed', 'state': {'$in': ['failed', 'done']}}"));
    write_all();
    documents_free();
    bson_free(folder);
}

Test(foreign, every_verb_survives_on_sqlite)
{
    char *path = test_path(".db");
    uri = bson_strdup_printf("sqlite:%s", path);
    engine = &store_engine_sqlite;
    try_all();
    bson_free(uri);
    free(path);
}

/* Deeper than a server takes, so that only a file that was tampered with can hold it: it is damaged, and nothing else. */
Test(foreign, no_verb_follows_documents_without_end)
{
    static const char *const collections[] = {"datasets", "models", "logs", "architectures", "runners", "sweeps", "tasks"};
    char *path = test_path(".db");
    uri = bson_strdup_printf("sqlite:%s", path);
    engine = &store_engine_sqlite;
    begin();
    for (size_t i = 0; i < sizeof collections / sizeof *collections; i++) {
        bson_t *good = first_of(collections[i], i == 6 ? "{'name': 'good'}" : "{}");
        insert_deep(collections[i], good, 100000);
        bson_destroy(good);
    }
    cr_assert_eq(inserted, 7);
    engine->close(self);
    read_all();
    survives("run-task --workers 1 --max-tasks 1 --until-empty --quiet --device ref");
    cr_expect_eq(tl_hub("find-task"), 1);
    char *said = printed("err");
    cr_expect(strstr(said, "malformed") != NULL && strstr(said, path) != NULL, "%s", said);
    bson_free(said);
    documents_free();
    bson_free(folder);
    bson_free(uri);
    free(path);
}

Test(foreign, every_verb_survives_on_mongodb)
{
    uri = test_server_database(NULL);
    engine = &store_engine_mongo;
    try_all();
    free(uri);
}
