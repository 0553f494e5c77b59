/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/curves.h"
#include "cli/output.h"
#include "hub/logs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const splits[] = {"validation", "train"};
#define SPLITS 2
#define KEYS 2 /* the metric, the loss */

struct reading {
    const char *const *ids;
    size_t count;
    const char *keys[KEYS];
    struct curve found[SPLITS][KEYS][CURVES_MOST];
};

static void add(struct curve *curve, double x, double y)
{
    if (!isfinite(x) || !isfinite(y)) {
        return;
    }
    if (curve->count == curve->capacity) {
        curve->capacity = curve->capacity == 0 ? 64 : curve->capacity * 2;
        curve->x = bson_realloc(curve->x, curve->capacity * sizeof *curve->x);
        curve->y = bson_realloc(curve->y, curve->capacity * sizeof *curve->y);
    }
    /* A task that was restarted, or logs by batch: the last value of an epoch counts. */
    if (curve->count > 0 && curve->x[curve->count - 1] == x) {
        curve->count--;
    }
    curve->x[curve->count] = x;
    curve->y[curve->count++] = y;
}

static int visit(const bson_t *bucket, void *data)
{
    struct reading *reading = data;
    const char *task = output_text(bucket, "task"), *split = output_text(bucket, "split");
    bson_iter_t points, point;
    size_t index = 0, part = 0;

    while (index < reading->count && (task == NULL || strcmp(task, reading->ids[index]) != 0)) {
        index++;
    }
    while (part < SPLITS && (split == NULL || strcmp(split, splits[part]) != 0)) {
        part++;
    }
    if (index == reading->count || part == SPLITS || !output_find(bucket, "points", &points) ||
        !BSON_ITER_HOLDS_ARRAY(&points) || !bson_iter_recurse(&points, &point)) {
        return 0;
    }
    while (bson_iter_next(&point)) {
        bson_t one;
        if (output_document(&point, &one)) {
            for (size_t k = 0; k < KEYS; k++) {
                add(&reading->found[part][k][index], output_number(&one, "epoch"), output_number(&one, reading->keys[k]));
            }
        }
    }
    return 0;
}

static void make_filters(const struct reading *reading, bson_t *tasks, bson_t *buckets)
{
    bson_t inner, list;

    BSON_APPEND_DOCUMENT_BEGIN(tasks, "_id", &inner);
    BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &list);
    for (size_t i = 0; i < reading->count; i++) {
        char digits[16];
        const char *key;
        bson_uint32_to_string((uint32_t)i, &key, digits, sizeof digits);
        BSON_APPEND_UTF8(&list, key, reading->ids[i]);
    }
    bson_append_array_end(&inner, &list);
    bson_append_document_end(tasks, &inner);
    BSON_APPEND_DOCUMENT_BEGIN(buckets, "split", &inner);
    BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &list);
    BSON_APPEND_UTF8(&list, "0", splits[0]);
    BSON_APPEND_UTF8(&list, "1", splits[1]);
    bson_append_array_end(&inner, &list);
    bson_append_document_end(buckets, &inner);
}

/* The first kind that any task has: the metric before the loss, of each validation before training. */
static void choose(struct reading *reading, struct curves *curves)
{
    for (size_t k = 0; k < KEYS; k++) {
        for (size_t s = 0; s < SPLITS; s++) {
            size_t points = 0;
            for (size_t i = 0; i < reading->count; i++) {
                points += reading->found[s][k][i].count;
            }
            if (points > 0) {
                memcpy(curves->tasks, reading->found[s][k], sizeof curves->tasks);
                memset(reading->found[s][k], 0, sizeof reading->found[s][k]);
                curves->split = splits[s];
                bson_strncpy(curves->metric, reading->keys[k], sizeof curves->metric);
                return;
            }
        }
    }
}

static void free_curves(struct curve *curves, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bson_free(curves[i].x);
        bson_free(curves[i].y);
    }
}

int curves_read(struct cli *cli, const char *const *ids, size_t count, const char *metric, struct curves *curves)
{
    static const char *const prefixes[] = {"validation_", "test_", "train_"};
    struct reading *reading = bson_malloc0(sizeof *reading);
    bson_t tasks = BSON_INITIALIZER, buckets = BSON_INITIALIZER;
    bson_error_t error;
    int code = CLI_DONE;

    memset(curves, 0, sizeof *curves);
    curves->split = splits[0];
    curves->task_count = count < CURVES_MOST ? count : CURVES_MOST;
    reading->ids = ids;
    reading->count = curves->task_count;
    reading->keys[0] = metric;
    reading->keys[1] = "loss";
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strncmp(metric, prefixes[i], strlen(prefixes[i])) == 0) {
            reading->keys[0] = metric + strlen(prefixes[i]);
        }
    }
    make_filters(reading, &tasks, &buckets);
    if (reading->count > 0 && logs_read(cli->hub, &tasks, &buckets, visit, reading, &error) < 0) {
        code = cli_fail(&error);
    }
    choose(reading, curves);
    for (size_t s = 0; s < SPLITS; s++) {
        for (size_t k = 0; k < KEYS; k++) {
            free_curves(reading->found[s][k], CURVES_MOST);
        }
    }
    bson_free(reading);
    bson_destroy(&tasks);
    bson_destroy(&buckets);
    return code;
}

void curves_destroy(struct curves *curves)
{
    if (curves != NULL) {
        free_curves(curves->tasks, CURVES_MOST);
        memset(curves, 0, sizeof *curves);
    }
}
