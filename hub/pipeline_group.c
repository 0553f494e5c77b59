/* SPDX-License-Identifier: Apache-2.0 */
/* $group: a hash table of groups by the key of their _id; numbers that are equal are one group, which shows the first. */
#include "hub/pipeline_impl.h"

#include <stdlib.h>
#include <string.h>

struct cell {
    struct pipeline_sum sum;
    int64_t count; /* of numbers, or of documents */
    bson_t *best;  /* {"": value} of $min and $max; NULL: none yet */
};

struct group {
    uint64_t hash;
    struct key key;
    bson_t *id; /* {_id: value} */
    struct cell *cells;
};

struct pipeline_groups {
    const struct pipeline_stage *stage;
    struct group **groups;
    size_t count, capacity;
    size_t *table; /* indices + 1; 0: free */
    size_t slots;  /* a power of two */
    size_t bytes;
    size_t next;
    struct key scratch;
};

struct pipeline_groups *pipeline_groups_new(const struct pipeline_stage *stage)
{
    struct pipeline_groups *groups = bson_malloc0(sizeof *groups);
    groups->stage = stage;
    groups->slots = 64;
    groups->table = bson_malloc0(groups->slots * sizeof *groups->table);
    return groups;
}

void pipeline_groups_free(struct pipeline_groups *groups)
{
    if (!groups)
        return;
    for (size_t i = 0; i < groups->count; i++) {
        struct group *group = groups->groups[i];
        for (size_t j = 0; j < groups->stage->count; j++)
            bson_destroy(group->cells[j].best);
        key_destroy(&group->key);
        bson_destroy(group->id);
        bson_free(group->cells);
        bson_free(group);
    }
    bson_free(groups->groups);
    bson_free(groups->table);
    key_destroy(&groups->scratch);
    bson_free(groups);
}

static uint64_t hash_of(const struct key *key)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < key->length; i++)
        hash = (hash ^ key->data[i]) * UINT64_C(1099511628211);
    return hash ^ hash >> 29;
}

static void place(struct pipeline_groups *groups, size_t index)
{
    size_t slot = groups->groups[index]->hash & (groups->slots - 1);
    while (groups->table[slot])
        slot = (slot + 1) & (groups->slots - 1);
    groups->table[slot] = index + 1;
}

static struct group *find(struct pipeline_groups *groups, uint64_t hash)
{
    for (size_t slot = hash & (groups->slots - 1); groups->table[slot]; slot = (slot + 1) & (groups->slots - 1)) {
        struct group *group = groups->groups[groups->table[slot] - 1];
        if (group->hash == hash && key_compare(group->key.data, group->key.length, groups->scratch.data,
                                               groups->scratch.length) == 0)
            return group;
    }
    return NULL;
}

static int check_room(const struct pipeline_groups *groups, bson_error_t *error)
{
    if (groups->bytes <= PIPELINE_BYTES)
        return 0;
    return hub_error(error, HUB_ERROR_INVALID, "more than %d MiB of groups: $match fewer documents, or group by less",
                     PIPELINE_BYTES >> 20);
}

/* Of the key in scratch. */
static struct group *add_group(struct pipeline_groups *groups, uint64_t hash, const struct pipeline_value *id)
{
    struct group *group = bson_malloc0(sizeof *group);
    size_t cells = groups->stage->count * sizeof *group->cells;
    group->hash = hash;
    key_append_bytes(&group->key, groups->scratch.data, groups->scratch.length);
    group->id = bson_new();
    if (!id->there || !bson_append_iter(group->id, "_id", 3, &id->at))
        BSON_APPEND_NULL(group->id, "_id");
    group->cells = bson_malloc0(cells + 1);
    if (groups->count == groups->capacity) {
        groups->capacity = groups->capacity ? 2 * groups->capacity : 64;
        groups->groups = bson_realloc(groups->groups, groups->capacity * sizeof *groups->groups);
    }
    groups->groups[groups->count++] = group;
    groups->bytes += sizeof *group + cells + group->key.capacity + group->id->len + 256;
    if (2 * groups->count > groups->slots) {
        groups->slots *= 2;
        bson_free(groups->table);
        groups->table = bson_malloc0(groups->slots * sizeof *groups->table);
        for (size_t i = 0; i < groups->count; i++)
            place(groups, i);
    } else {
        place(groups, groups->count - 1);
    }
    return group;
}

static void accumulate(struct pipeline_groups *groups, const struct pipeline_field *field, struct cell *cell,
                       const struct pipeline_value *value)
{
    struct pipeline_value best;
    switch (field->accumulator) {
    case ACCUMULATE_SUM:
    case ACCUMULATE_AVG:
        if (pipeline_is_number(value)) {
            pipeline_sum_add(&cell->sum, &value->at);
            cell->count++;
        }
        return;
    case ACCUMULATE_COUNT:
        cell->count++;
        return;
    case ACCUMULATE_MIN:
    case ACCUMULATE_MAX:
        if (pipeline_is_null(value))
            return;
        if (cell->best) {
            pipeline_take(cell->best, &best);
            int order = pipeline_compare(value, &best);
            if (field->accumulator == ACCUMULATE_MIN ? order >= 0 : order <= 0)
                return;
        }
        bson_t *better = bson_new();
        if (!bson_append_iter(better, "", 0, &value->at)) { /* it is damaged within: no value */
            bson_destroy(better);
            return;
        }
        groups->bytes -= cell->best ? cell->best->len : 0;
        groups->bytes += better->len;
        bson_destroy(cell->best);
        cell->best = better;
    }
}

int pipeline_groups_add(struct pipeline_groups *groups, const bson_t *document, struct pipeline_scratch *scratch,
                        bson_error_t *error)
{
    struct pipeline_value id, value;
    if (pipeline_evaluate(groups->stage->id, document, scratch, &id, error))
        return -1;
    key_clear(&groups->scratch);
    key_append_value(&groups->scratch, id.there ? &id.at : NULL);
    uint64_t hash = hash_of(&groups->scratch);
    struct group *group = find(groups, hash);
    if (!group)
        group = add_group(groups, hash, &id);
    for (size_t i = 0; i < groups->stage->count; i++) {
        const struct pipeline_field *field = &groups->stage->fields[i];
        value.there = false;
        if (field->expression && pipeline_evaluate(field->expression, document, scratch, &value, error))
            return -1;
        accumulate(groups, field, &group->cells[i], &value);
    }
    return check_room(groups, error);
}

static int compare_groups(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    return key_compare(x->key.data, x->key.length, y->key.data, y->key.length);
}

void pipeline_groups_sort(struct pipeline_groups *groups)
{
    if (groups->count)
        qsort(groups->groups, groups->count, sizeof *groups->groups, compare_groups);
}

static void make_whole(struct pipeline_scratch *scratch, int64_t count, struct pipeline_value *value)
{
    if (count <= INT32_MAX)
        pipeline_make_int(scratch, (int32_t)count, value);
    else
        pipeline_make_long(scratch, count, value);
}

static void take_cell(const struct pipeline_field *field, const struct cell *cell, struct pipeline_scratch *scratch,
                      struct pipeline_value *value)
{
    switch (field->accumulator) {
    case ACCUMULATE_SUM: pipeline_sum_value(&cell->sum, scratch, value); return;
    case ACCUMULATE_COUNT: make_whole(scratch, cell->count, value); return;
    case ACCUMULATE_AVG:
        if (cell->count)
            pipeline_make_double(scratch, pipeline_sum_double(&cell->sum) / (double)cell->count, value);
        else
            pipeline_make_null(scratch, value);
        return;
    case ACCUMULATE_MIN:
    case ACCUMULATE_MAX:
        if (cell->best)
            pipeline_take(cell->best, value);
        else
            pipeline_make_null(scratch, value);
    }
}

int pipeline_groups_next(struct pipeline_groups *groups, struct pipeline_scratch *scratch, bson_t *out)
{
    struct pipeline_value value;
    if (groups->next == groups->count)
        return 0;
    const struct group *group = groups->groups[groups->next++];
    bson_concat(out, group->id);
    for (size_t i = 0; i < groups->stage->count; i++) {
        take_cell(&groups->stage->fields[i], &group->cells[i], scratch, &value);
        if (value.there)
            bson_append_iter(out, groups->stage->fields[i].name, -1, &value.at);
    }
    return 1;
}
