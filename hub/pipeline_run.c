/* SPDX-License-Identifier: Apache-2.0 */
/* Documents through the stages, pulled one by one. Only $sort, $sample and $group hold more than one. */
#include "hub/pipeline_impl.h"

#include <stdlib.h>
#include <string.h>

/* A document that $sort or $sample holds. */
struct held {
    struct key key;
    uint64_t arrival;
    bson_t *document;
};

struct step {
    struct pipeline_run *run;
    const struct pipeline_stage *stage;
    size_t index;
    int64_t seen;       /* of $skip and $limit: how many; of $count */
    bool drained;       /* the stage before is at its end, and what is held is in order */
    bson_t *out;
    struct held *held;
    size_t count, capacity, at, bytes;
    struct pipeline_groups *groups;
    struct key scratch;
};

struct pipeline_run {
    pipeline_source *next;
    void *data;
    struct step *steps;
    size_t count;
    struct pipeline_scratch scratch;
};

static struct pipeline_run *run_from(const struct pipeline *pipeline, size_t first, pipeline_source *next, void *data)
{
    struct pipeline_run *run = bson_malloc0(sizeof *run);
    run->next = next;
    run->data = data;
    run->count = pipeline->count - first;
    run->steps = bson_malloc0((run->count + 1) * sizeof *run->steps);
    for (size_t i = 0; i < run->count; i++) {
        struct step *step = &run->steps[i];
        step->run = run;
        step->index = i;
        step->stage = &pipeline->stages[first + i];
        step->out = bson_new();
        if (step->stage->kind == STAGE_GROUP)
            step->groups = pipeline_groups_new(step->stage);
    }
    return run;
}

struct pipeline_run *pipeline_run_new(const struct pipeline *pipeline, pipeline_source *next, void *data)
{
    return run_from(pipeline, pipeline->first, next, data);
}

struct pipeline_run *pipeline_run_all_new(const struct pipeline *pipeline, pipeline_source *next, void *data)
{
    return run_from(pipeline, 0, next, data);
}

static void drop_held(struct step *step)
{
    for (size_t i = 0; i < step->count; i++) {
        key_destroy(&step->held[i].key);
        bson_destroy(step->held[i].document);
    }
    bson_free(step->held);
}

void pipeline_run_free(struct pipeline_run *run)
{
    if (!run)
        return;
    for (size_t i = 0; i < run->count; i++) {
        drop_held(&run->steps[i]);
        pipeline_groups_free(run->steps[i].groups);
        key_destroy(&run->steps[i].scratch);
        bson_destroy(run->steps[i].out);
    }
    bson_free(run->steps);
    pipeline_scratch_destroy(&run->scratch);
    bson_free(run);
}

/* The next document that the steps before `index` give. */
static int pull(struct pipeline_run *run, size_t index, const bson_t **document, bson_error_t *error);

/* ---- $sort and $sample ---- */

static int compare_held(const void *a, const void *b)
{
    const struct held *x = a, *y = b;
    int order = key_compare(x->key.data, x->key.length, y->key.data, y->key.length);
    return order ? order : (x->arrival > y->arrival) - (x->arrival < y->arrival);
}

/* How many of those in order are wanted: $sample's size, or what a $limit says that follows. 0: all. */
static size_t wanted(const struct step *step)
{
    const struct pipeline_run *run = step->run;
    int64_t most = step->stage->kind == STAGE_SAMPLE ? step->stage->number : 0;
    size_t next = step->index + 1;
    int64_t skip = 0;
    if (step->stage->kind == STAGE_SORT && next < run->count && run->steps[next].stage->kind == STAGE_SKIP)
        skip = run->steps[next++].stage->number;
    if (step->stage->kind == STAGE_SORT && next < run->count && run->steps[next].stage->kind == STAGE_LIMIT)
        most = skip + run->steps[next].stage->number;
    return (size_t)most;
}

static void keep_first(struct step *step, size_t most)
{
    if (step->count)
        qsort(step->held, step->count, sizeof *step->held, compare_held);
    while (most && step->count > most) {
        struct held *last = &step->held[--step->count];
        step->bytes -= last->document->len + last->key.capacity + sizeof *last;
        key_destroy(&last->key);
        bson_destroy(last->document);
    }
}

/* splitmix64's finaliser over FNV-1a: every bit of seed and key moves every bit of the place. */
static uint64_t place_of(uint64_t seed, const struct key *key)
{
    uint64_t hash = UINT64_C(14695981039346656037) ^ seed * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < key->length; i++)
        hash = (hash ^ key->data[i]) * UINT64_C(1099511628211);
    hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
    return hash ^ hash >> 31;
}

static int make_key(struct step *step, const bson_t *document, struct key *key, bson_error_t *error)
{
    bson_iter_t id;
    if (step->stage->kind == STAGE_SORT) {
        key_append_sort(key, step->stage->sort, document);
        return 0;
    }
    if (!bson_iter_init_find(&id, document, "_id"))
        return hub_error(error, HUB_ERROR_INVALID, "a document has no _id, by which it is chosen: put $sample before the stage "
                                                   "that takes it away");
    key_clear(&step->scratch);
    key_append_value(&step->scratch, &id);
    uint64_t place = place_of(step->stage->seed, &step->scratch);
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(place >> (56 - 8 * i));
    key_append_bytes(key, bytes, sizeof bytes);
    key_append_bytes(key, step->scratch.data, step->scratch.length);
    return 0;
}

static int hold(struct step *step, size_t most, const bson_t *document, bson_error_t *error)
{
    struct held held = {.arrival = (uint64_t)step->seen++};
    if (make_key(step, document, &held.key, error)) {
        key_destroy(&held.key);
        return -1;
    }
    held.document = bson_copy(document);
    if (step->count == step->capacity) {
        step->capacity = step->capacity ? 2 * step->capacity : 64;
        step->held = bson_realloc(step->held, step->capacity * sizeof *step->held);
    }
    step->held[step->count++] = held;
    step->bytes += document->len + held.key.capacity + sizeof held;
    if (most && (step->count >= 2 * most + 64 || step->bytes > PIPELINE_BYTES))
        keep_first(step, most);
    if (step->bytes <= PIPELINE_BYTES)
        return 0;
    return hub_error(error, HUB_ERROR_INVALID, "more than %d MiB to put in order: $match or $project before it, or %s",
                     PIPELINE_BYTES >> 20, step->stage->kind == STAGE_SORT ? "$limit after it" : "a smaller size");
}

static int next_held(struct step *step, const bson_t **document, bson_error_t *error)
{
    size_t most = wanted(step);
    int more = 0;
    while (!step->drained && (more = pull(step->run, step->index, document, error)) == 1)
        if (hold(step, most, *document, error))
            return pipeline_blame(step->stage, error);
    if (more < 0)
        return -1;
    if (!step->drained)
        keep_first(step, most);
    step->drained = true;
    if (step->at == step->count)
        return 0;
    *document = step->held[step->at++].document;
    return 1;
}

/* ---- computed documents ---- */

static int check_size(const struct step *step, bson_error_t *error)
{
    if (step->out->len <= 15u * 1024 * 1024)
        return 1;
    return hub_error(error, HUB_ERROR_INVALID, "a document of %u bytes, more than a document may have", step->out->len);
}

static int project(struct step *step, const bson_t *document, bson_error_t *error)
{
    const struct pipeline_stage *stage = step->stage;
    struct pipeline_value value;
    bson_iter_t id;
    bson_reinit(step->out);
    if (stage->projection) {
        bson_t kept;
        int result = query_project(stage->projection, document, &kept, error);
        bson_concat(step->out, &kept);
        bson_destroy(&kept);
        if (result)
            return -1;
    } else if (stage->keeps_id && bson_iter_init_find(&id, document, "_id")) {
        bson_append_iter(step->out, "_id", 3, &id);
    }
    for (size_t i = 0; i < stage->count; i++) {
        if (pipeline_evaluate(stage->fields[i].expression, document, &step->run->scratch, &value, error))
            return -1;
        if (value.there)
            bson_append_iter(step->out, stage->fields[i].name, -1, &value.at);
    }
    return check_size(step, error);
}

static int append_computed(struct step *step, const struct pipeline_field *field, const bson_t *document,
                           bson_error_t *error)
{
    struct pipeline_value value;
    if (pipeline_evaluate(field->expression, document, &step->run->scratch, &value, error))
        return -1;
    if (value.there)
        bson_append_iter(step->out, field->name, -1, &value.at);
    return 0;
}

/* A field that is there keeps its place. */
static int add_fields(struct step *step, const bson_t *document, bson_error_t *error)
{
    const struct pipeline_stage *stage = step->stage;
    bson_iter_t field;
    bson_reinit(step->out);
    bson_iter_init(&field, document);
    while (bson_iter_next(&field)) {
        size_t i = 0;
        while (i < stage->count && strcmp(stage->fields[i].name, bson_iter_key(&field)) != 0)
            i++;
        if (i == stage->count)
            bson_append_iter(step->out, NULL, 0, &field);
        else if (append_computed(step, &stage->fields[i], document, error))
            return -1;
    }
    for (size_t i = 0; i < stage->count; i++)
        if (!bson_has_field(document, stage->fields[i].name) && append_computed(step, &stage->fields[i], document, error))
            return -1;
    return check_size(step, error);
}

static int next_group(struct step *step, const bson_t **document, bson_error_t *error)
{
    int more = 0;
    while (!step->drained && (more = pull(step->run, step->index, document, error)) == 1) {
        pipeline_scratch_clear(&step->run->scratch);
        if (pipeline_groups_add(step->groups, *document, &step->run->scratch, error))
            return pipeline_blame(step->stage, error);
    }
    if (more < 0)
        return -1;
    if (!step->drained)
        pipeline_groups_sort(step->groups);
    step->drained = true;
    bson_reinit(step->out);
    pipeline_scratch_clear(&step->run->scratch);
    *document = step->out;
    return pipeline_groups_next(step->groups, &step->run->scratch, step->out);
}

static int next_count(struct step *step, const bson_t **document, bson_error_t *error)
{
    int more = 0;
    if (step->drained)
        return 0;
    while ((more = pull(step->run, step->index, document, error)) == 1)
        step->seen++;
    step->drained = true;
    if (more < 0 || step->seen == 0) /* as in MongoDB, nothing has no count */
        return more;
    bson_reinit(step->out);
    if (step->seen <= INT32_MAX)
        BSON_APPEND_INT32(step->out, step->stage->name, (int32_t)step->seen);
    else
        BSON_APPEND_INT64(step->out, step->stage->name, step->seen);
    *document = step->out;
    return 1;
}

/* ---- one step ---- */

static int next_of(struct step *step, const bson_t **document, bson_error_t *error)
{
    int more;
    switch (step->stage->kind) {
    case STAGE_SORT:
    case STAGE_SAMPLE: return next_held(step, document, error);
    case STAGE_GROUP: return next_group(step, document, error);
    case STAGE_COUNT: return next_count(step, document, error);
    case STAGE_LIMIT:
        if (step->seen == step->stage->number)
            return 0;
        step->seen++;
        return pull(step->run, step->index, document, error);
    case STAGE_SKIP:
        for (; step->seen < step->stage->number; step->seen++)
            if ((more = pull(step->run, step->index, document, error)) != 1)
                return more;
        return pull(step->run, step->index, document, error);
    case STAGE_MATCH:
        while ((more = pull(step->run, step->index, document, error)) == 1)
            if (query_matches(step->stage->query, *document))
                return 1;
        return more;
    case STAGE_PROJECT:
    case STAGE_ADD_FIELDS:
        more = pull(step->run, step->index, document, error);
        if (more != 1)
            return more;
        pipeline_scratch_clear(&step->run->scratch);
        more = step->stage->kind == STAGE_PROJECT ? project(step, *document, error) : add_fields(step, *document, error);
        *document = step->out;
        return more < 0 ? pipeline_blame(step->stage, error) : 1;
    }
    return 0;
}

static int pull(struct pipeline_run *run, size_t index, const bson_t **document, bson_error_t *error)
{
    return index == 0 ? run->next(run->data, document, error) : next_of(&run->steps[index - 1], document, error);
}

int pipeline_run_next(struct pipeline_run *run, const bson_t **document, bson_error_t *error)
{
    return pull(run, run->count, document, error);
}
