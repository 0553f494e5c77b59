/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/group_seeds.h"
#include "cli/report_texts.h"
#include "hub/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct output_column columns[] = {
    {"id", "_id", OUTPUT_ID},
    {"name", "name", OUTPUT_TEXT},
    {"seeds", "seeds", OUTPUT_AUTO},
    {"mean", "mean", OUTPUT_FRACTION},
    {"±", "deviation", OUTPUT_FRACTION},
    {"accuracy", "accuracy", OUTPUT_FRACTION},
    {"loss", "loss", OUTPUT_FRACTION},
    {"point", "point|hyper_parameters", OUTPUT_PARAMETERS},
    {"task", "task_seq", OUTPUT_AUTO},
    {"size", "bytes", OUTPUT_BYTES},
    {"time", "training_seconds", OUTPUT_SECONDS},
    {NULL, NULL, OUTPUT_AUTO},
};

struct group {
    uint64_t key;
    size_t first;    /* when its first model was met: what order there is without a mean */
    bson_t *best;
    double value;    /* of the best */
    double mean, squares;
    int64_t count;   /* models with a value */
};

struct groups {
    const char *path;
    bool descending;
    struct group *list;
    size_t count, capacity;
    size_t *slots; /* 1 + index by key, a power of two of them, 0: free */
    size_t slot_count;
};

/* Everything but the seed that says what was trained. */
static uint64_t key_of(const bson_t *model)
{
    static const char *const paths[] = {"name",  "sweep",          "architecture_digest", "dataset.digest", "dataset.query",
                                        "point", "hyper_parameters"};
    uint64_t hash = REPORT_TEXTS_HASH;

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        bson_t part = BSON_INITIALIZER, inner;
        bson_iter_t value;
        if (output_find(model, paths[i], &value)) {
            if (output_document(&value, &inner)) {
                bson_copy_to_excluding_noinit(&inner, &part, "seed", NULL);
            } else {
                bson_append_iter(&part, "", 0, &value);
            }
        }
        hash = report_texts_hash(hash, bson_get_data(&part), part.len);
        bson_destroy(&part);
    }
    return hash;
}

static void grow_slots(struct groups *groups)
{
    groups->slot_count = groups->slot_count == 0 ? 1024 : groups->slot_count * 2;
    bson_free(groups->slots);
    groups->slots = bson_malloc0(groups->slot_count * sizeof *groups->slots);
    for (size_t i = 0; i < groups->count; i++) {
        size_t at = groups->list[i].key & (groups->slot_count - 1);
        while (groups->slots[at] != 0) {
            at = (at + 1) & (groups->slot_count - 1);
        }
        groups->slots[at] = i + 1;
    }
}

static struct group *find_group(struct groups *groups, uint64_t key)
{
    if (groups->count * 2 >= groups->slot_count) {
        grow_slots(groups);
    }
    size_t at = key & (groups->slot_count - 1);
    while (groups->slots[at] != 0 && groups->list[groups->slots[at] - 1].key != key) {
        at = (at + 1) & (groups->slot_count - 1);
    }
    if (groups->slots[at] == 0) {
        if (groups->count == groups->capacity) {
            groups->capacity = groups->capacity == 0 ? 256 : groups->capacity * 2;
            groups->list = bson_realloc(groups->list, groups->capacity * sizeof *groups->list);
        }
        groups->list[groups->count] = (struct group){.key = key, .first = groups->count, .value = NAN};
        groups->slots[at] = ++groups->count;
    }
    return &groups->list[groups->slots[at] - 1];
}

/* Mean and squares as they come (Welford 1962, "Note on a method for calculating corrected sums of squares and products"). */
static void add_model(struct groups *groups, const bson_t *model)
{
    struct group *group = find_group(groups, key_of(model));
    double value = output_number(model, groups->path);
    bool better = isfinite(value) &&
                  (!isfinite(group->value) || (groups->descending ? value > group->value : value < group->value));

    if (isfinite(value)) {
        double before = value - group->mean;
        group->mean += before / (double)++group->count;
        group->squares += before * (value - group->mean);
    }
    if (group->best == NULL || better) {
        bson_destroy(group->best);
        group->best = bson_copy(model);
        group->value = value;
    }
}

static int compare_groups(const void *a, const void *b, void *data)
{
    const struct group *x = a, *y = b;
    const struct groups *groups = data;

    if (x->count == 0 || y->count == 0 || x->mean == y->mean) {
        return (x->count == 0) != (y->count == 0) ? (x->count == 0) - (y->count == 0) : (x->first > y->first) - (x->first < y->first);
    }
    return (x->mean > y->mean) == groups->descending ? -1 : 1;
}

static int read_models(struct cli *cli, const bson_t *filter, struct groups *groups)
{
    static const char *const fields[] = {"name",     "sweep",   "architecture_digest", "dataset", "point",    "hyper_parameters",
                                         "accuracy", "loss",    "objective",           "metrics", "task_seq", "bytes",
                                         "run",      "training_seconds", "seed",       "parameters", "created_at", "tags"};
    bson_t projection = BSON_INITIALIZER, sort = BSON_INITIALIZER;
    struct store_find_options options = {.projection = &projection, .sort = &sort};
    const bson_t *model;
    bson_error_t error;
    int more = -1;

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        BSON_APPEND_INT32(&projection, fields[i], 1);
    }
    char *top = bson_strndup(groups->path, strcspn(groups->path, "."));
    if (!bson_has_field(&projection, top)) {
        BSON_APPEND_INT32(&projection, top, 1);
    }
    bson_free(top);
    BSON_APPEND_INT32(&sort, "created_at", -1);
    struct store_cursor *cursor = model_find(cli->hub, filter, &options, &error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &model, &error)) > 0) {
        add_model(groups, model);
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    bson_destroy(&sort);
    return more < 0 ? cli_fail(&error) : CLI_DONE;
}

static int print_groups(struct cli *cli, struct groups *groups)
{
    int64_t skip = cli_integer(cli, "skip", 0), limit = cli_integer(cli, "limit", 0), shown = 0;
    struct output *output = output_open(cli, columns, "model");

    if (output == NULL) {
        return CLI_USAGE;
    }
    if (groups->count > 0) {
        qsort_r(groups->list, groups->count, sizeof *groups->list, compare_groups, groups);
    }
    for (size_t i = (size_t)skip; i < groups->count && (limit == 0 || shown < limit); i++, shown++) {
        struct group *group = &groups->list[i];
        BSON_APPEND_INT64(group->best, "seeds", group->count);
        if (group->count > 0) {
            BSON_APPEND_DOUBLE(group->best, "mean", group->mean);
        }
        if (group->count > 1) {
            BSON_APPEND_DOUBLE(group->best, "deviation", sqrt(group->squares / (double)(group->count - 1)));
        }
        output_row(output, group->best);
    }
    return output_close(output);
}

int group_seeds_print(struct cli *cli, const bson_t *filter)
{
    struct groups groups = {0};
    bson_t sort;
    bson_iter_t key;

    int code = select_sort(cli, "accuracy:desc", &sort);
    if (code == CLI_DONE && bson_iter_init(&key, &sort) && bson_iter_next(&key)) {
        groups.path = bson_iter_key(&key);
        groups.descending = bson_iter_as_int64(&key) < 0;
        code = read_models(cli, filter, &groups);
    }
    if (code == CLI_DONE) {
        code = print_groups(cli, &groups);
    }
    for (size_t i = 0; i < groups.count; i++) {
        bson_destroy(groups.list[i].best);
    }
    bson_free(groups.list);
    bson_free(groups.slots);
    bson_destroy(&sort);
    return code;
}
