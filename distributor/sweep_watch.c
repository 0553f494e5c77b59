/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep_watch.h"

#include "hub/logs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EPOCHS = 1000000 };

struct sweep_watch {
    struct stop_early_options options;
    char split[16], key[200]; /* split "": validation, else training */
    double sign;
    struct stop_early_run *runs; /* (capacity); their values are owned here */
    int64_t count, capacity;
    int64_t judged; /* those before are final */
};

struct sweep_watch *sweep_watch_new(const struct stop_early_options *options, const char *metric, double sign)
{
    static const char *const splits[] = {"validation", "train"};
    struct sweep_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->options = *options;
    watch->sign = sign;
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(splits[i]);
        if (!strncmp(metric, splits[i], length) && metric[length] == '_') {
            snprintf(watch->split, sizeof watch->split, "%s", splits[i]);
            metric += length + 1;
            break;
        }
    }
    snprintf(watch->key, sizeof watch->key, "%s", metric);
    return watch;
}

void sweep_watch_free(struct sweep_watch *watch)
{
    for (int64_t i = 0; watch && i < watch->count; i++)
        free((void *)watch->runs[i].values);
    if (watch)
        free(watch->runs);
    free(watch);
}

static struct stop_early_run *run_of(struct sweep_watch *watch, int64_t number, bson_error_t *error)
{
    if (number >= watch->capacity) {
        int64_t capacity = 2 * number + 64;
        struct stop_early_run *runs = realloc(watch->runs, (size_t)capacity * sizeof *runs);
        if (!runs) {
            hub_error(error, HUB_ERROR_MEMORY, "no memory for the curves of a sweep");
            return NULL;
        }
        memset(runs + watch->capacity, 0, (size_t)(capacity - watch->capacity) * sizeof *runs);
        watch->runs = runs;
        watch->capacity = capacity;
    }
    watch->count = number >= watch->count ? number + 1 : watch->count;
    return &watch->runs[number];
}

struct taking {
    const char *key;
    double sign;
    float *values;
    int64_t epochs;
    bool failed;
};

static void take_point(struct taking *taking, const bson_iter_t *at)
{
    bson_iter_t epoch, value;
    if (!BSON_ITER_HOLDS_DOCUMENT(at) || !bson_iter_recurse(at, &epoch) || !bson_iter_find(&epoch, "epoch") ||
        !BSON_ITER_HOLDS_NUMBER(&epoch))
        return;
    int64_t number = bson_iter_as_int64(&epoch);
    if (number < 1 || number > EPOCHS)
        return;
    if (number > taking->epochs) {
        float *values = realloc(taking->values, (size_t)number * sizeof *values);
        taking->failed = taking->failed || !values;
        if (!values)
            return;
        taking->values = values;
        while (taking->epochs < number)
            values[taking->epochs++] = NAN;
    }
    if (bson_iter_recurse(at, &value) && bson_iter_find(&value, taking->key) && BSON_ITER_HOLDS_NUMBER(&value))
        taking->values[number - 1] = (float)(taking->sign * bson_iter_as_double(&value));
}

static int take_bucket(const bson_t *bucket, void *data)
{
    bson_iter_t at, points;
    if (bson_iter_init_find(&at, bucket, "points") && BSON_ITER_HOLDS_ARRAY(&at) && bson_iter_recurse(&at, &points))
        while (bson_iter_next(&points))
            take_point(data, &points);
    return 0;
}

static int read_split(struct taking *taking, struct hub *hub, const char *task_id, const char *split, bson_error_t *error)
{
    bson_t *task = BCON_NEW("_id", BCON_UTF8(task_id)), *filter = BCON_NEW("split", BCON_UTF8(split));
    int result = logs_read(hub, task, filter, take_bucket, taking, error);
    bson_destroy(task);
    bson_destroy(filter);
    if (result >= 0 && taking->failed)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the curves of a sweep");
    return result < 0 ? -1 : 0;
}

int sweep_watch_read(struct sweep_watch *watch, struct hub *hub, int64_t number, const char *task_id, bool ended,
                     bson_error_t *error)
{
    struct taking taking = {.key = watch->key, .sign = watch->sign};
    struct stop_early_run *run = run_of(watch, number, error);
    if (!run)
        return -1;
    int result = read_split(&taking, hub, task_id, *watch->split ? watch->split : "validation", error);
    if (!result && !*watch->split && taking.epochs == 0)
        result = read_split(&taking, hub, task_id, "train", error);
    if (result || taking.epochs < run->epochs) { /* a log that is shorter than it was: a restarted task */
        free(taking.values);
        run->ended = run->ended || (!result && ended);
        return result;
    }
    free((void *)run->values);
    run->values = taking.values;
    run->epochs = taking.epochs;
    run->ended = ended;
    return 0;
}

int sweep_watch_skip(struct sweep_watch *watch, int64_t number, bson_error_t *error)
{
    struct stop_early_run *run = run_of(watch, number, error);
    if (run)
        run->ended = true;
    return run ? 0 : -1;
}

void sweep_watch_judge(struct sweep_watch *watch)
{
    stop_early_judge(&watch->options, watch->runs, watch->judged, watch->count);
    while (watch->judged < watch->count && sweep_watch_is_final(watch, watch->judged))
        watch->judged++;
}

int64_t sweep_watch_stop(const struct sweep_watch *watch, int64_t number)
{
    return number < watch->count ? watch->runs[number].stop : 0;
}

bool sweep_watch_is_final(const struct sweep_watch *watch, int64_t number)
{
    const struct stop_early_run *run = number < watch->count ? &watch->runs[number] : NULL;
    return run && run->ended && (run->stop || run->judged == run->epochs);
}

double sweep_watch_value(const struct sweep_watch *watch, int64_t number)
{
    int64_t stop = sweep_watch_stop(watch, number);
    return stop ? (double)watch->runs[number].values[stop - 1] : NAN;
}
