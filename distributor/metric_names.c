/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/metric_names.h"

#include <stdio.h>
#include <string.h>

enum { NAMES = 16, NAME_BYTES = 32 };

struct names {
    char list[NAMES][NAME_BYTES];
    size_t count;
};

static void add(struct names *names, const char *split, const char *metric)
{
    if (names->count < NAMES)
        snprintf(names->list[names->count++], NAME_BYTES, "%s%s%s", split, *split ? "_" : "", metric);
}

static void add_scores(struct names *names, const char *split, bool classes)
{
    if (classes)
        add(names, split, "accuracy");
    add(names, split, "loss");
}

static bool has_text(const bson_t *document, const char *path, const char *text)
{
    bson_iter_t at, found;
    return bson_iter_init(&at, document) && bson_iter_find_descendant(&at, path, &found) &&
           BSON_ITER_HOLDS_UTF8(&found) && !strcmp(bson_iter_utf8(&found, NULL), text);
}

/* Manifests without splits (foreign ones) are judged when they are trained on. */
static bool learn(const bson_t *fields, const bson_t *dataset, struct names *names)
{
    static const char *const splits[] = {"train", "validation", "test"};
    bool classes = !has_text(dataset, "label", "value"), any = false;
    bson_iter_t at, found;
    add_scores(names, "", classes);
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        char path[NAME_BYTES];
        snprintf(path, sizeof path, "splits.%s", splits[i]);
        if (bson_iter_init(&at, dataset) && bson_iter_find_descendant(&at, path, &found) &&
            BSON_ITER_HOLDS_NUMBER(&found) && bson_iter_as_int64(&found) > 0) {
            add_scores(names, splits[i], classes);
            any = true;
        }
    }
    if (has_text(fields, "keep", "best"))
        add(names, "", "best_epoch");
    return any;
}

static int check(const struct names *names, const char *field, const char *name, bson_error_t *error)
{
    char all[NAMES * (NAME_BYTES + 2)] = "";
    size_t used = 0;
    for (size_t i = 0; i < names->count; i++) {
        if (!strcmp(names->list[i], name))
            return 0;
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names->list[i]);
    }
    return hub_error(error, HUB_ERROR_INVALID, "%s: %.100s is not a result of this task; it will have %s", field, name,
                     all);
}

int metric_names_check(const bson_t *fields, const bson_t *dataset, bson_error_t *error)
{
    struct names names = {.count = 0};
    bson_iter_t at, key;
    if (!learn(fields, dataset, &names))
        return 0;
    if (bson_iter_init(&at, fields) && bson_iter_find_descendant(&at, "metric.name", &key) &&
        BSON_ITER_HOLDS_UTF8(&key) && check(&names, "metric", bson_iter_utf8(&key, NULL), error))
        return -1;
    if (bson_iter_init_find(&at, fields, "result_keys") && BSON_ITER_HOLDS_ARRAY(&at) && bson_iter_recurse(&at, &key))
        while (bson_iter_next(&key))
            if (BSON_ITER_HOLDS_UTF8(&key) && check(&names, "result_keys", bson_iter_utf8(&key, NULL), error))
                return -1;
    return 0;
}
