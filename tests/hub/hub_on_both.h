/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_HUB_ON_BOTH_H
#define TL_TEST_HUB_ON_BOTH_H

/* Tests of the hub's documents, the same on both engines: HUB_TEST(suite, name) { … uses hub and uri … } */

#include "hub/task.h"
#include "hub/tl_hub.h"
#include "server.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HUB_TEST(suite, name)                                                      \
    static void suite##_##name(struct hub *hub, const char *uri);                  \
    Test(suite, name##_on_sqlite)                                                  \
    {                                                                              \
        char *path = test_path(".db");                                             \
        char *uri = bson_strdup_printf("sqlite:%s", path);                         \
        struct hub *hub = made_hub(uri);                                           \
        suite##_##name(hub, uri);                                                  \
        hub_close(hub);                                                            \
        bson_free(uri);                                                            \
        free(path);                                                                \
    }                                                                              \
    Test(suite, name##_on_mongodb)                                                 \
    {                                                                              \
        char *uri = test_server_database(NULL);                                    \
        struct hub *hub = made_hub(uri);                                           \
        suite##_##name(hub, uri);                                                  \
        hub_close(hub);                                                            \
        free(uri);                                                                 \
    }                                                                              \
    static void suite##_##name(__attribute__((unused)) struct hub *hub, __attribute__((unused)) const char *uri)


/* The expression's value; `error` in it is filled, and the test fails with its message when the value is -1. */
#define GOOD(expression) \
    (memset(error, 0, sizeof *error), good((int64_t)(expression), #expression, __FILE__, __LINE__))

static bson_error_t error[1];

static inline int64_t good(int64_t result, const char *expression, const char *file, int line)
{
    cr_assert(result >= 0, "%s:%d: %s: %s", file, line, expression, error->message);
    return result;
}

static inline struct hub *made_hub(const char *uri)
{
    bson_error_t why = {0};
    cr_assert_eq(hub_init(uri, NULL, &why), 1, "%s", why.message);
    struct hub *hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, &why);
    cr_assert_not_null(hub, "%s", why.message);
    return hub;
}

/* {'a': 1} with printf's conversions; quotes are single. Free it with bson_destroy. */
static inline bson_t *json(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline bson_t *json(const char *format, ...)
{
    bson_error_t why = {0};
    char text[8192];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *c = text; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    bson_t *document = bson_new_from_json((const uint8_t *)text, -1, &why);
    cr_assert_not_null(document, "%s in %s", why.message, text);
    return document;
}

static inline const char *text_of(const bson_t *document, const char *path)
{
    bson_iter_t iter, value;
    return bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, &value) && BSON_ITER_HOLDS_UTF8(&value)
               ? bson_iter_utf8(&value, NULL)
               : "(none)";
}

static inline int64_t number_of(const bson_t *document, const char *path)
{
    bson_iter_t iter, value;
    return bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, &value) ? bson_iter_as_int64(&value) : -1;
}

static inline bool has(const bson_t *document, const char *path)
{
    bson_iter_t iter, value;
    return bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, &value);
}

/* A collection's documents that match, counted behind the document modules' back. */
static inline int64_t count_in(struct hub *hub, const char *collection, const char *filter)
{
    bson_t *document = json("%s", filter);
    int64_t count = GOOD(store_count(hub_store(hub), collection, document, error));
    bson_destroy(document);
    return count;
}

/* The one document, or an empty one. Destroy it. */
static inline void read_one(struct hub *hub, const char *collection, const char *filter, bson_t *out)
{
    bson_t *document = json("%s", filter);
    GOOD(store_find_one(hub_store(hub), collection, document, NULL, out, error));
    bson_destroy(document);
}

static inline void poke(struct hub *hub, const char *collection, const char *filter, const char *update)
{
    bson_t *where = json("%s", filter), *what = json("%s", update);
    GOOD(store_update(hub_store(hub), collection, where, what, error));
    bson_destroy(where);
    bson_destroy(what);
}

static inline void make_task(struct hub *hub, const char *fields)
{
    bson_t *document = json("%s", fields);
    cr_assert_eq(GOOD(task_create(hub, document, NULL, error)), 1);
    bson_destroy(document);
}

/* Claims from the default queue: 1 or 0. task may be NULL. */
static inline int claim(struct hub *hub, bson_t *task, struct task_fence *fence)
{
    struct task_claim_options options = {.runner = "tester"};
    bson_t own;
    int result = (int)GOOD(task_claim(hub, &options, task != NULL ? task : &own, fence, error));
    if (task == NULL) {
        bson_destroy(&own);
    }
    return result;
}

static inline void expect_state(struct hub *hub, const char *filter, const char *state)
{
    bson_t task;
    read_one(hub, "tasks", filter, &task);
    cr_expect_str_eq(text_of(&task, "state"), state, "%s", filter);
    bson_destroy(&task);
}

#endif
