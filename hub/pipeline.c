/* SPDX-License-Identifier: Apache-2.0 */
/* Stages of pipelines: from BSON to struct pipeline, and what of it a find can do. */
#include "hub/pipeline_impl.h"

#include <stdio.h>
#include <string.h>

#define STAGES_LIMIT 100
#define STAGES "$match $sort $skip $limit $sample $project $addFields $group $count"

int pipeline_blame(const struct pipeline_stage *stage, bson_error_t *error)
{
    if (error) {
        bson_error_t inner = *error;
        hub_error(error, hub_error_code(&inner), "pipeline: %s: %s", stage->where, inner.message);
    }
    return -1;
}

/* ---- stages ---- */

static int parse_whole(struct pipeline_stage *stage, const bson_iter_t *value, int64_t least, int64_t *number,
                       bson_error_t *error)
{
    double real = BSON_ITER_HOLDS_NUMBER(value) ? bson_iter_as_double(value) : 0.5;
    *number = 0;
    if (!(real >= (double)least && real <= 9e15) || real != (double)(int64_t)real)
        return hub_error(error, HUB_ERROR_INVALID, "%s: needs a whole number from %lld up", stage->where, (long long)least);
    *number = (int64_t)real;
    return 0;
}

static int parse_match(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    bson_t filter;
    uint32_t length;
    const uint8_t *data;
    bson_iter_document(value, &length, &data);
    if (!bson_init_static(&filter, data, length))
        return hub_error(error, HUB_ERROR_INVALID, "%s: malformed BSON", stage->where);
    stage->query = query_parse(&filter, error);
    return stage->query ? 0 : pipeline_blame(stage, error);
}

static int parse_sort(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    bson_t sort;
    uint32_t length;
    const uint8_t *data;
    bson_iter_document(value, &length, &data);
    if (!bson_init_static(&sort, data, length) || bson_empty(&sort))
        return hub_error(error, HUB_ERROR_INVALID, "%s: needs {path: 1 or -1, …}", stage->where);
    if (query_check_sort(&sort, error))
        return pipeline_blame(stage, error);
    stage->sort = bson_copy(&sort);
    if (!bson_has_field(stage->sort, "_id"))
        BSON_APPEND_INT32(stage->sort, "_id", 1);
    return 0;
}

static int parse_sample(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    bson_iter_t field;
    int64_t seed = 0;
    bool sized = false;
    bson_iter_recurse(value, &field);
    while (bson_iter_next(&field)) {
        bool size = strcmp(bson_iter_key(&field), "size") == 0;
        if (!size && strcmp(bson_iter_key(&field), "seed") != 0)
            return hub_error(error, HUB_ERROR_INVALID, "%s: '%.80s' is not one of size, seed", stage->where,
                             bson_iter_key(&field));
        if (parse_whole(stage, &field, size, size ? &stage->number : &seed, error))
            return -1;
        sized = sized || size;
    }
    stage->seed = (uint64_t)seed;
    return sized ? 0 : hub_error(error, HUB_ERROR_INVALID, "%s: needs {size: n}", stage->where);
}

/* A computed field; its expression is parsed here. */
static int add_field(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    const char *name = bson_iter_key(value);
    if (query_check_path(name, stage->where, error))
        return -1;
    if (strchr(name, '.'))
        return hub_error(error, HUB_ERROR_INVALID, "%s: '%.80s': a computed field's name has one part", stage->where, name);
    for (size_t i = 0; i < stage->count; i++)
        if (strcmp(stage->fields[i].name, name) == 0)
            return hub_error(error, HUB_ERROR_INVALID, "%s: '%.80s' is named twice", stage->where, name);
    stage->fields = bson_realloc(stage->fields, (stage->count + 1) * sizeof *stage->fields);
    struct pipeline_field *field = &stage->fields[stage->count++];
    *field = (struct pipeline_field){.name = bson_strdup(name)};
    return 0;
}

static int add_computed(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    if (add_field(stage, value, error))
        return -1;
    stage->fields[stage->count - 1].expression = pipeline_expression_parse(value, stage->where, 0, error);
    return stage->fields[stage->count - 1].expression ? 0 : -1;
}

static int parse_add_fields(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    bson_iter_t field;
    bson_iter_recurse(value, &field);
    while (bson_iter_next(&field))
        if (add_computed(stage, &field, error))
            return -1;
    return stage->count ? 0 : hub_error(error, HUB_ERROR_INVALID, "%s: needs at least one field", stage->where);
}

/* 1 or true, 0 or false; -1 an expression. */
static int keeps(const bson_iter_t *value)
{
    if (BSON_ITER_HOLDS_BOOL(value))
        return bson_iter_bool(value);
    return BSON_ITER_HOLDS_NUMBER(value) ? bson_iter_as_double(value) != 0 : -1;
}

static int parse_project(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    bson_iter_t field;
    bson_t paths = BSON_INITIALIZER;
    bool id = true, included = false, excluded = false, computed_id = false;
    int result = -1;
    bson_iter_recurse(value, &field);
    while (bson_iter_next(&field)) {
        const char *path = bson_iter_key(&field);
        int kept = keeps(&field);
        if (BSON_ITER_HOLDS_NUMBER(&field) && bson_iter_as_double(&field) != 0 && bson_iter_as_double(&field) != 1) {
            hub_error(error, HUB_ERROR_INVALID, "%s: '%.80s' must be 1, 0 or an expression; a number is {$literal: it}",
                      stage->where, path);
            goto out;
        }
        if (kept < 0) {
            if (add_computed(stage, &field, error))
                goto out;
            computed_id = computed_id || strcmp(path, "_id") == 0;
            continue;
        }
        if (strcmp(path, "_id") == 0)
            id = kept == 1;
        else if (kept)
            included = true;
        else
            excluded = true;
        BSON_APPEND_INT32(&paths, path, kept);
    }
    if (excluded && stage->count) {
        hub_error(error, HUB_ERROR_INVALID, "%s: paths of 0 do not go with computed fields", stage->where);
        goto out;
    }
    if (query_check_projection(&paths, error)) {
        pipeline_blame(stage, error);
        goto out;
    }
    for (size_t i = 0; i < stage->count; i++) {
        bson_iter_t path;
        for (bson_iter_init(&path, &paths); bson_iter_next(&path);)
            if (query_path_is_prefix(stage->fields[i].name, bson_iter_key(&path))) {
                hub_error(error, HUB_ERROR_INVALID, "%s: '%.80s' is named twice", stage->where, bson_iter_key(&path));
                goto out;
            }
    }
    if (bson_empty(&paths) && stage->count == 0) {
        hub_error(error, HUB_ERROR_INVALID, "%s: needs at least one field", stage->where);
        goto out;
    }
    stage->keeps_id = id && !computed_id;
    if (included || excluded || stage->count == 0) {
        stage->projection = bson_copy(&paths);
        if (computed_id && included)
            BSON_APPEND_INT32(stage->projection, "_id", 0);
    }
    result = 0;
out:
    bson_destroy(&paths);
    return result;
}

static int parse_accumulator(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    static const char *const names[] = {"$sum", "$avg", "$min", "$max", "$count"};
    bson_iter_t operator;
    if (add_field(stage, value, error))
        return -1;
    struct pipeline_field *field = &stage->fields[stage->count - 1];
    if (!BSON_ITER_HOLDS_DOCUMENT(value) || !bson_iter_recurse(value, &operator) || !bson_iter_next(&operator))
        return hub_error(error, HUB_ERROR_INVALID, "%s: '%.80s' needs an accumulator such as {$sum: \"$x\"}", stage->where,
                         field->name);
    for (int i = 0; i < 5; i++) {
        if (strcmp(bson_iter_key(&operator), names[i]) != 0)
            continue;
        field->accumulator = (enum pipeline_accumulator)i;
        bool counts = field->accumulator == ACCUMULATE_COUNT;
        if (!counts && !(field->expression = pipeline_expression_parse(&operator, stage->where, 0, error)))
            return -1;
        if (counts && (!BSON_ITER_HOLDS_DOCUMENT(&operator) || keeps(&operator) >= 0))
            return hub_error(error, HUB_ERROR_INVALID, "%s: $count takes {}", stage->where);
        if (bson_iter_next(&operator))
            return hub_error(error, HUB_ERROR_INVALID, "%s: '%.80s' needs one accumulator", stage->where, field->name);
        return 0;
    }
    return hub_error(error, HUB_ERROR_INVALID, "%s: accumulator %.80s is not one of $sum $avg $min $max $count", stage->where,
                     bson_iter_key(&operator));
}

static int parse_group(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    bson_iter_t field;
    bson_iter_recurse(value, &field);
    while (bson_iter_next(&field)) {
        if (strcmp(bson_iter_key(&field), "_id") != 0) {
            if (parse_accumulator(stage, &field, error))
                return -1;
            continue;
        }
        if (stage->id)
            return hub_error(error, HUB_ERROR_INVALID, "%s: '_id' is named twice", stage->where);
        stage->id = pipeline_expression_parse(&field, stage->where, 0, error);
        if (!stage->id)
            return -1;
    }
    return stage->id ? 0 : hub_error(error, HUB_ERROR_INVALID, "%s: needs an _id (null for one group of all)", stage->where);
}

static int parse_count(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error)
{
    const char *name = BSON_ITER_HOLDS_UTF8(value) ? bson_iter_utf8(value, NULL) : "";
    if (!BSON_ITER_HOLDS_UTF8(value) || query_check_path(name, stage->where, NULL) || strchr(name, '.') ||
        strcmp(name, "_id") == 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: needs the name of a field", stage->where);
    stage->name = bson_strdup(name);
    return 0;
}

static int parse_stage(struct pipeline *pipeline, const bson_iter_t *value, bson_error_t *error)
{
    static const struct {
        const char *name;
        enum pipeline_stage_kind kind;
        int (*parse)(struct pipeline_stage *stage, const bson_iter_t *value, bson_error_t *error); /* of a document */
    } kinds[] = {{"$match", STAGE_MATCH, parse_match},       {"$sort", STAGE_SORT, parse_sort},
                 {"$skip", STAGE_SKIP, NULL},                {"$limit", STAGE_LIMIT, NULL},
                 {"$sample", STAGE_SAMPLE, parse_sample},    {"$project", STAGE_PROJECT, parse_project},
                 {"$addFields", STAGE_ADD_FIELDS, parse_add_fields}, {"$group", STAGE_GROUP, parse_group},
                 {"$count", STAGE_COUNT, NULL}};
    bson_iter_t operator, second;
    size_t number = pipeline->count + 1, i = 0;
    if (number > STAGES_LIMIT)
        return hub_error(error, HUB_ERROR_INVALID, "pipeline: more than %d stages", STAGES_LIMIT);
    if (!BSON_ITER_HOLDS_DOCUMENT(value) || !bson_iter_recurse(value, &operator) || !bson_iter_next(&operator))
        return hub_error(error, HUB_ERROR_INVALID, "pipeline: stage %zu must be a document such as {$match: {…}}", number);
    second = operator;
    if (bson_iter_next(&second))
        return hub_error(error, HUB_ERROR_INVALID, "pipeline: stage %zu has a second operator, %.80s", number,
                         bson_iter_key(&second));
    while (i < sizeof kinds / sizeof *kinds && strcmp(bson_iter_key(&operator), kinds[i].name) != 0)
        i++;
    if (i == sizeof kinds / sizeof *kinds)
        return hub_error(error, HUB_ERROR_INVALID, "pipeline: stage %zu: %.80s is not one of %s", number,
                         bson_iter_key(&operator), STAGES);
    pipeline->stages = bson_realloc(pipeline->stages, number * sizeof *pipeline->stages);
    struct pipeline_stage *stage = &pipeline->stages[pipeline->count++];
    *stage = (struct pipeline_stage){.kind = kinds[i].kind};
    snprintf(stage->where, sizeof stage->where, "stage %zu (%s)", number, kinds[i].name);
    if (stage->kind == STAGE_SKIP || stage->kind == STAGE_LIMIT)
        return parse_whole(stage, &operator, stage->kind == STAGE_LIMIT, &stage->number, error);
    if (stage->kind == STAGE_COUNT)
        return parse_count(stage, &operator, error);
    if (!BSON_ITER_HOLDS_DOCUMENT(&operator))
        return hub_error(error, HUB_ERROR_INVALID, "%s: needs a document", stage->where);
    return kinds[i].parse(stage, &operator, error);
}

/* ---- what a find can do ---- */

static void make_filter(struct pipeline *pipeline, size_t matches)
{
    bson_t all;
    if (matches == 1) {
        pipeline->filter = bson_copy(pipeline->stages[0].query->filter);
    } else if (matches > 1) {
        pipeline->filter = bson_new();
        BSON_APPEND_ARRAY_BEGIN(pipeline->filter, "$and", &all);
        for (size_t i = 0; i < matches; i++) {
            char buffer[16];
            const char *key;
            size_t digits = bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
            bson_append_document(&all, key, (int)digits, pipeline->stages[i].query->filter);
        }
        bson_append_array_end(pipeline->filter, &all);
    }
    pipeline->head.filter = pipeline->filter;
}

/* Adds what a stage reads of its documents to needed. true where nothing else of them goes any further. */
static bool stage_needs(const struct pipeline_stage *stage, bson_t *needed)
{
    bson_iter_t path;
    for (size_t i = 0; i < stage->count; i++)
        pipeline_expression_needs(stage->fields[i].expression, needed);
    switch (stage->kind) {
    case STAGE_SORT:
        for (bson_iter_init(&path, stage->sort); bson_iter_next(&path);)
            pipeline_need(needed, bson_iter_key(&path));
        return false;
    case STAGE_PROJECT:
        if (!stage->projection)
            return true;
        bool included = false;
        for (bson_iter_init(&path, stage->projection); bson_iter_next(&path);)
            if (keeps(&path) == 1 && (strcmp(bson_iter_key(&path), "_id") != 0 || bson_count_keys(stage->projection) == 1)) {
                pipeline_need(needed, bson_iter_key(&path));
                included = true;
            }
        return included;
    case STAGE_GROUP:
        pipeline_expression_needs(stage->id, needed);
        return true;
    case STAGE_COUNT:
        return true;
    default:
        return false;
    }
}

static void query_needs(const struct query_node *node, bson_t *needed)
{
    if (node->path.text)
        pipeline_need(needed, node->path.text);
    for (size_t i = 0; i < node->count; i++)
        query_needs(node->children[i], needed);
}

/* The fields that the rest reads, where it does not give whole documents; _id comes with them. */
static void make_projection(struct pipeline *pipeline)
{
    pipeline->needed = bson_new();
    BSON_APPEND_INT32(pipeline->needed, "_id", 1);
    for (size_t i = pipeline->first; i < pipeline->count; i++) {
        if (pipeline->stages[i].query)
            query_needs(pipeline->stages[i].query->root, pipeline->needed);
        if (stage_needs(&pipeline->stages[i], pipeline->needed)) {
            pipeline->head.projection = pipeline->needed;
            return;
        }
    }
}

static void make_head(struct pipeline *pipeline)
{
    size_t at = 0;
    while (at < pipeline->count && pipeline->stages[at].kind == STAGE_MATCH)
        at++;
    make_filter(pipeline, at);
    if (at < pipeline->count && pipeline->stages[at].kind == STAGE_SORT)
        pipeline->head.sort = pipeline->stages[at++].sort;
    if (at < pipeline->count && pipeline->stages[at].kind == STAGE_SKIP)
        pipeline->head.skip = pipeline->stages[at++].number;
    if (at < pipeline->count && pipeline->stages[at].kind == STAGE_LIMIT)
        pipeline->head.limit = pipeline->stages[at++].number;
    pipeline->first = at;
    make_projection(pipeline);
}

/* ---- the pipeline ---- */

struct pipeline *pipeline_parse(const bson_t *stages, bson_error_t *error)
{
    bson_iter_t stage;
    struct pipeline *pipeline = bson_malloc0(sizeof *pipeline);
    pipeline->bson = bson_copy(stages);
    if (!bson_validate(pipeline->bson, BSON_VALIDATE_NONE, NULL) || !bson_iter_init(&stage, pipeline->bson)) {
        hub_error(error, HUB_ERROR_INVALID, "pipeline: malformed BSON");
        goto fail;
    }
    while (bson_iter_next(&stage))
        if (parse_stage(pipeline, &stage, error))
            goto fail;
    make_head(pipeline);
    return pipeline;
fail:
    pipeline_free(pipeline);
    return NULL;
}

void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    for (size_t i = 0; i < pipeline->count; i++) {
        struct pipeline_stage *stage = &pipeline->stages[i];
        query_free(stage->query);
        bson_destroy(stage->sort);
        bson_destroy(stage->projection);
        pipeline_expression_free(stage->id);
        for (size_t j = 0; j < stage->count; j++) {
            bson_free(stage->fields[j].name);
            pipeline_expression_free(stage->fields[j].expression);
        }
        bson_free(stage->fields);
        bson_free(stage->name);
    }
    bson_free(pipeline->stages);
    bson_destroy(pipeline->filter);
    bson_destroy(pipeline->needed);
    bson_destroy(pipeline->bson);
    bson_free(pipeline);
}

const struct pipeline_head *pipeline_head(const struct pipeline *pipeline)
{
    return &pipeline->head;
}
