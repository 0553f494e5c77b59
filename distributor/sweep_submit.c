/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep_submit_impl.h"

#include "distributor/hyper_parameters.h"
#include "distributor/task_query.h"
#include "hub/query.h"
#include "hub/sweep_record.h"
#include "hub/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 1000 /* tasks in one task_create_many */

static int no_memory(const struct submitting *submitting, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to submit it", submitting->sweep->file_name);
}

static const char *text_field(const bson_t *document, const char *key)
{
    bson_iter_t at;
    return document && bson_iter_init_find(&at, document, key) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL)
                                                                                            : NULL;
}

/* "sweeps/first.yaml" → "first" */
static char *stem_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return strndup(*name ? name : "sweep", dot && dot > name ? (size_t)(dot - name) : strlen(name));
}

/* The file's fields with the caller's over them. */
static int merge(struct submitting *submitting, const bson_t *fields, bson_error_t *error)
{
    bson_iter_t at, inner;
    bool done = true;
    if (bson_iter_init(&at, &submitting->sweep->fields))
        while (done && bson_iter_next(&at))
            if (!fields || !bson_has_field(fields, bson_iter_key(&at)))
                done = bson_append_iter(&submitting->base, bson_iter_key(&at), -1, &at);
    if (fields && !bson_iter_init(&at, fields))
        return hub_error(error, HUB_ERROR_INVALID, "the fields for the sweep's tasks are not a document");
    while (done && fields && bson_iter_next(&at)) {
        const char *key = bson_iter_key(&at);
        if (!strcmp(key, "_id") || !strcmp(key, "point") || !strcmp(key, "sweep") ||
            !strcmp(key, "architecture_digest"))
            return hub_error(error, HUB_ERROR_INVALID, "%s: is made by the sweep for each of its tasks", key);
        if (!strcmp(key, "hyper_parameters") && BSON_ITER_HOLDS_DOCUMENT(&at) && bson_iter_recurse(&at, &inner)) {
            while (done && bson_iter_next(&inner)) {
                const char *name = bson_iter_key(&inner);
                if (sweep_parameter_find(submitting->sweep, name, strlen(name)) ||
                    (!strcmp(name, "seed") && submitting->sweep->seed >= 0))
                    return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: is in %s already", name,
                                     submitting->sweep->file_name);
                done = bson_append_iter(&submitting->given, name, -1, &inner);
            }
        } else if (!strcmp(key, "architecture") && BSON_ITER_HOLDS_UTF8(&at)) {
            submitting->architecture = strdup(bson_iter_utf8(&at, NULL));
            done = submitting->architecture;
        } else {
            submitting->graph = submitting->graph || !strcmp(key, "architecture");
            done = bson_append_iter(&submitting->base, key, -1, &at);
        }
    }
    if (done && !bson_has_field(&submitting->base, "name")) {
        char *name = stem_of(submitting->sweep->file_name);
        done = name && BSON_APPEND_UTF8(&submitting->base, "name", name);
        free(name);
    }
    return done ? 0 : no_memory(submitting, error);
}

static int append_architecture(const struct submitting *submitting, int64_t i, bson_t *task, bson_error_t *error)
{
    const struct sweep *sweep = submitting->sweep;
    const char *text = submitting->architecture;
    if (submitting->graph || (!text && !sweep->architecture))
        return 0;
    if (!text && sweep->architecture->kind == YAML_TREE_STRING)
        text = sweep->architecture->text;
    if (!text)
        return sweep_append_filled(sweep, task, "architecture", sweep->architecture, i, error);
    char *filled = sweep_fill_text(sweep, text, i, error);
    if (!filled)
        return -1;
    bool done = BSON_APPEND_UTF8(task, "architecture", filled);
    free(filled);
    return done ? 0 : no_memory(submitting, error);
}

/* The same point of the same sweep is the same task. Points of a grid are known by what they are, so that more values leave
 * the tasks that are there; points that are drawn by their number. */
static bool append_id(const struct submitting *submitting, int64_t i, int64_t seed, const bson_t *point, bson_t *task)
{
    char digest[65], id[HUB_ID_SIZE], number[24], which[24];
    snprintf(number, sizeof number, "%lld", (long long)i);
    snprintf(which, sizeof which, "%lld", (long long)seed);
    hub_sha256(bson_get_data(point), point->len, digest);
    const bool grid = submitting->sweep->method == SEARCH_GRID;
    const char *parts[] = {"task", hub_project(submitting->hub), submitting->sweep_id, grid ? digest : number, "seed", which};
    hub_digest_id(parts, seed ? 6 : 4, id);
    return BSON_APPEND_UTF8(task, "_id", id) && BSON_APPEND_UTF8(task, "sweep", submitting->sweep_id) &&
           BSON_APPEND_INT64(task, "point_number", i);
}

/* A member begins with the checkpoint of its parent's task, and waits with its own where its generation ends. */
static bool append_lineage(const struct lineage *lineage, bson_t *task)
{
    bson_t part, list;
    bool done = BSON_APPEND_DOCUMENT_BEGIN(task, "lineage", &part) &&
                BSON_APPEND_INT64(&part, "generation", lineage->generation) &&
                BSON_APPEND_INT64(&part, "member", lineage->member) &&
                (lineage->parent < 0 || (BSON_APPEND_INT64(&part, "parent", lineage->parent) &&
                                         BSON_APPEND_UTF8(&part, "task", lineage->parent_task))) &&
                bson_append_document_end(task, &part);
    return done && (!lineage->end || (BSON_APPEND_DOCUMENT_BEGIN(task, "rungs", &part) &&
                                      BSON_APPEND_ARRAY_BEGIN(&part, "epochs", &list) &&
                                      BSON_APPEND_INT64(&list, "0", lineage->end) && bson_append_array_end(&part, &list) &&
                                      bson_append_document_end(task, &part)));
}

/* Fields of the task of point i, before acceptance. */
static int make_task(const struct submitting *submitting, int64_t i, int64_t seed, bson_t *task, bson_error_t *error)
{
    const struct sweep *sweep = submitting->sweep;
    bson_t point, hyper;
    int result = -1;
    bson_copy_to(&submitting->base, task);
    if (sweep_point(sweep, i, &point, error))
        goto out;
    bool done = true;
    if (submitting->sweep_id)
        done = append_id(submitting, i, seed, &point, task);
    done = done && BSON_APPEND_DOCUMENT(task, "point", &point);
    if (!bson_empty(&sweep->metric)) /* so that its model knows its objective */
        done = done && BSON_APPEND_DOCUMENT(task, "metric", &sweep->metric);
    done = done && BSON_APPEND_DOCUMENT_BEGIN(task, "hyper_parameters", &hyper);
    for (size_t j = 0; done && !sweep_is_outside(sweep) && j < sweep->parameter_count; j++)
        if (!sweep->parameters[j].label && hyper_parameters_known(sweep->parameters[j].path))
            done = sweep_append_scalar(&hyper, sweep->parameters[j].path, sweep_value(sweep, &sweep->parameters[j], i));
    done = done && bson_concat(&hyper, &submitting->given);
    int64_t epochs = hyper_parameters_epochs(&hyper);
    if (done && (sweep->seed >= 0 || sweep->seeds > 1))
        done = BSON_APPEND_INT64(&hyper, "seed", (sweep->seed < 0 ? 0 : sweep->seed) + seed);
    done = done && bson_append_document_end(task, &hyper) &&
           !sweep_append_rungs(sweep, sweep_is_outside(sweep) ? SWEEP_EPOCHS : epochs, task);
    done = done && (!submitting->lineage || append_lineage(submitting->lineage, task));
    if (!done) {
        no_memory(submitting, error);
        goto out;
    }
    result = append_architecture(submitting, i, task, error);
out:
    bson_destroy(&point);
    return result;
}

/* Puts the place in front: the parameter's line, or the architecture's, and the point. */
static void locate(const struct submitting *submitting, int64_t i, const char *field, bson_error_t *error)
{
    const struct sweep *sweep = submitting->sweep;
    bson_error_t why = *error;
    char point[160];
    int line = 0;
    if (field && !strcmp(field, "architecture") && sweep->architecture && !submitting->architecture &&
        !submitting->graph)
        line = sweep->architecture->line;
    const struct sweep_parameter *parameter = field ? sweep_parameter_find(sweep, field, strlen(field)) : NULL;
    if (parameter)
        line = sweep_value(sweep, parameter, i)->line;
    if (field && !line && sweep->tree->root && !(submitting->fields && bson_has_field(submitting->fields, field))) {
        /* One thing for all points: which of them found it out says nothing. */
        const struct yaml_tree_node *node = yaml_tree_get(sweep->tree->root, field);
        if (node) {
            hub_error(error, hub_error_code(&why), "%s:%d: %s", sweep->file_name, node->line, why.message);
            return;
        }
    }
    if (!line) {
        hub_error(error, hub_error_code(&why), "%s: %s", sweep->file_name, why.message);
        return;
    }
    sweep_describe_point(sweep, i, point, sizeof point);
    hub_error(error, hub_error_code(&why), "%s:%d: %s%s%s%s", sweep->file_name, line, *point ? "with " : "", point,
              *point ? ": " : "", why.message);
}

int submitting_accept(const struct submitting *submitting, int64_t i, int64_t seed, bson_t *checked, bson_error_t *error)
{
    bson_t task;
    const char *field;
    if (make_task(submitting, i, seed, &task, error)) {
        if (hub_error_code(error) == HUB_ERROR_INVALID && !strncmp(error->message, "architecture: ", 14))
            locate(submitting, i, "architecture", error); /* a repeated piece of it */
        bson_destroy(&task);
        bson_init(checked);
        return -1;
    }
    if (sweep_is_outside(submitting->sweep)) {
        bson_copy_to(&task, checked);
        bson_destroy(&task);
        return bson_has_field(checked, "resource_class") || BSON_APPEND_UTF8(checked, "resource_class", "outside")
                   ? 0
                   : no_memory(submitting, error);
    }
    int result = acceptance_check(submitting->acceptance, &task, checked, &field, error);
    if (result)
        locate(submitting, i, field, error);
    bson_destroy(&task);
    return result;
}

/* What decides which points a search that learns proposes, and when its points are stopped. */
static bool append_search(const struct sweep *sweep, bson_t *specification)
{
    static const char *const types[] = {"", "median", "halving", "asha"};
    const struct stop_early_options *early = &sweep->early;
    bson_t inner;
    if (early->type && !(BSON_APPEND_DOCUMENT_BEGIN(specification, "early_terminate", &inner) &&
                         BSON_APPEND_UTF8(&inner, "type", types[early->type]) &&
                         BSON_APPEND_INT64(&inner, "min_iter", early->least) &&
                         BSON_APPEND_INT64(&inner, "interval", early->interval) && BSON_APPEND_INT64(&inner, "eta", early->eta) &&
                         BSON_APPEND_INT64(&inner, "startup", early->startup) &&
                         BSON_APPEND_INT64(&inner, "parallel", early->parallel) &&
                         (early->type != STOP_EARLY_ASHA || BSON_APPEND_INT64(&inner, "max_iter", early->most)) &&
                         bson_append_document_end(specification, &inner)))
        return false;
    if (!search_learns(sweep->method))
        return true;
    return BSON_APPEND_INT64(specification, "parallel", sweep->parallel) &&
           (!sweep->every || BSON_APPEND_INT64(specification, "every", sweep->every)) &&
           (!(sweep->quantile > 0) || BSON_APPEND_DOUBLE(specification, "quantile", sweep->quantile)) &&
           (!sweep->population || BSON_APPEND_INT64(specification, "population", sweep->population)) &&
           (!sweep->startup || BSON_APPEND_INT64(specification, "startup", sweep->startup)) &&
           (sweep->seeds == 1 || BSON_APPEND_INT64(specification, "seeds", sweep->seeds));
}

/* What decides what its tasks compute and keep: not how they are queued, described or how many of them are wanted. */
static int append_specification(const struct submitting *submitting, bson_t *fields, bson_error_t *error)
{
    static const char *const keys[] = {"kind", "dataset", "model", "initial_model", "split", "keep", "log_every",
                                       "result_keys", "metrics", "top_k", "on_nonfinite", "rollback_factor",
                                       "max_rollbacks", "rules"};
    const struct sweep *sweep = submitting->sweep;
    bson_t specification;
    bson_iter_t at;
    char saved[65];
    int result = -1, named = acceptance_saved_digest(submitting->acceptance, saved, error);
    if (named < 0)
        return -1;
    if (!BSON_APPEND_DOCUMENT_BEGIN(fields, "specification", &specification))
        return no_memory(submitting, error);
    bool done = BSON_APPEND_UTF8(&specification, "method", search_method_name(sweep->method)) &&
                append_search(sweep, &specification);
    for (size_t i = 0; done && i < sizeof keys / sizeof *keys; i++)
        if (bson_iter_init_find(&at, &submitting->base, keys[i])) {
            if (task_query_is(keys[i]) && task_query_append(&specification, keys[i], &at, error))
                goto out;
            done = task_query_is(keys[i]) || bson_append_iter(&specification, keys[i], -1, &at);
        }
    if (!bson_has_field(&specification, "kind"))
        done = done && BSON_APPEND_UTF8(&specification, "kind", "train");
    if (sweep->seed >= 0)
        done = done && BSON_APPEND_INT64(&specification, "seed", sweep->seed);
    if (!bson_empty(&submitting->given))
        done = done && BSON_APPEND_DOCUMENT(&specification, "hyper_parameters", &submitting->given);
    if (!bson_empty(&sweep->metric)) /* computes nothing, but its tasks and models carry it */
        done = done && BSON_APPEND_DOCUMENT(&specification, "metric", &sweep->metric);
    if (named) /* another net under the same name is another sweep */
        done = done && BSON_APPEND_UTF8(&specification, "saved_architectures", saved);
    if (!done || sweep_append_values(sweep, &specification, "parameters", error))
        goto out;
    if (submitting->architecture)
        done = BSON_APPEND_UTF8(&specification, "architecture", submitting->architecture);
    else if (submitting->graph)
        done = bson_iter_init_find(&at, &submitting->base, "architecture") &&
               bson_append_iter(&specification, "architecture", -1, &at);
    else if (sweep->architecture &&
             sweep_append_filled(sweep, &specification, "architecture", sweep->architecture, -1, error))
        goto out;
    result = done ? 0 : no_memory(submitting, error);
out:
    bson_append_document_end(fields, &specification);
    return result;
}

/* submitted: how many of its tasks are known to be in the hub. */
static int save_record(const struct submitting *submitting, int64_t submitted, char id[HUB_ID_SIZE],
                       bson_error_t *error)
{
    const struct sweep *sweep = submitting->sweep;
    bson_t fields, record;
    bson_iter_t at;
    int result = -1;
    bson_init(&fields);
    bson_init(&record);
    bool done = true;
    static const char *const keys[] = {"name", "description", "tags"};
    for (size_t i = 0; done && i < sizeof keys / sizeof *keys; i++)
        if (bson_iter_init_find(&at, &submitting->base, keys[i]))
            done = bson_append_iter(&fields, keys[i], -1, &at);
    done = done && BSON_APPEND_UTF8(&fields, "text", sweep->text) &&
           BSON_APPEND_INT64(&fields, "points", sweep->points) && BSON_APPEND_INT64(&fields, "submitted", submitted) &&
           (sweep->seeds == 1 || BSON_APPEND_INT64(&fields, "seeds", sweep->seeds));
    if (done && sweep_is_watched(sweep)) { /* whoever proposes reads it again */
        char *given = submitting->fields ? bson_as_canonical_extended_json(submitting->fields, NULL) : NULL;
        done = BSON_APPEND_UTF8(&fields, "file", sweep->file_name) && (!given || BSON_APPEND_UTF8(&fields, "given", given)) &&
               BSON_APPEND_BOOL(&fields, "open", true) && BSON_APPEND_INT64(&fields, "proposed", 0);
        bson_free(given);
    }
    if (!bson_empty(&sweep->metric))
        done = done && BSON_APPEND_DOCUMENT(&fields, "metric", &sweep->metric);
    if (!done) {
        no_memory(submitting, error);
        goto out;
    }
    if (append_specification(submitting, &fields, error))
        goto out;
    bson_destroy(&record);
    if (sweep_record_save(submitting->hub, &fields, &record, error) < 0)
        goto out;
    const char *text = text_field(&record, "_id");
    if (!text || strlen(text) >= HUB_ID_SIZE) {
        hub_error(error, HUB_ERROR_INTERNAL, "%s: the sweep was saved without an id", sweep->file_name);
        goto out;
    }
    snprintf(id, HUB_ID_SIZE, "%s", text);
    result = 0;
out:
    bson_destroy(&fields);
    bson_destroy(&record);
    return result;
}

/* The first (direction 1) or last (-1) seq of the sweep's tasks above `above`, or 0. -1 error. */
static int64_t find_seq(const struct submitting *submitting, int64_t above, int direction, bson_error_t *error)
{
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(submitting->sweep_id), "seq", "{", "$gt", BCON_INT64(above), "}");
    bson_t *sort = BCON_NEW("seq", BCON_INT32(direction)), *projection = BCON_NEW("seq", BCON_INT32(1));
    struct store_find_options options = {.sort = sort, .projection = projection, .limit = 1, .any_tie = true};
    const bson_t *task;
    bson_iter_t at;
    int64_t seq = -1;
    struct store_cursor *cursor = task_find(submitting->hub, filter, &options, error);
    int found = cursor ? store_cursor_next(cursor, &task, error) : -1;
    if (found >= 0)
        seq =
            found && bson_iter_init_find(&at, task, "seq") && BSON_ITER_HOLDS_NUMBER(&at) ? bson_iter_as_int64(&at) : 0;
    store_cursor_close(cursor);
    bson_destroy(filter);
    bson_destroy(sort);
    bson_destroy(projection);
    return seq;
}

/* The tasks [begin, end), `seeds` to a point; how many of them were new. *existing counts those that are done elsewhere. */
static int64_t submit_chunk(const struct submitting *submitting, int64_t begin, int64_t end, int64_t *existing,
                            bson_error_t *error)
{
    int64_t made = 0, result = -1;
    bson_t *tasks = aligned_alloc(_Alignof(bson_t), CHUNK * sizeof *tasks);
    const bson_t **list = calloc(CHUNK, sizeof *list);
    if (!tasks || !list) {
        no_memory(submitting, error);
        goto out;
    }
    for (; begin < end; begin++) {
        char digest[HUB_ID_SIZE];
        int64_t seeds = submitting->sweep->seeds;
        list[made] = &tasks[made];
        if (submitting_accept(submitting, begin / seeds, begin % seeds, &tasks[made++], error))
            goto out;
        task_work_digest(&tasks[made - 1], digest);
        if (submitting->work && task_work_has(submitting->work, digest)) {
            bson_destroy(&tasks[--made]);
            ++*existing;
        }
    }
    result = task_create_many(submitting->hub, list, (size_t)made, error);
out:
    for (int64_t i = 0; i < made; i++)
        bson_destroy(&tasks[i]);
    free(tasks);
    free(list);
    return result;
}

static int check_all(struct submitting *submitting, bson_error_t *error)
{
    struct sweep *sweep = submitting->sweep;
    for (size_t i = 0; (submitting->architecture || submitting->graph) && i < sweep->parameter_count; i++)
        sweep->parameters[i].used = false; /* the file's architecture is not the one */
    if (submitting->architecture && sweep_mark_text(sweep, submitting->architecture, 0, error))
        return -1;
    if (sweep_is_outside(sweep))
        return 0;
    if ((!sweep->architecture || submitting->architecture || submitting->graph) && sweep_check_used(sweep, error))
        return -1;
    if (!bson_has_field(&submitting->base, "dataset"))
        return hub_error(error, HUB_ERROR_INVALID, "%s: no dataset; give one, or 'dataset: NAME' in the file",
                         sweep->file_name);
    for (int64_t i = 0; i < sweep->points && !search_learns(sweep->method); i++) {
        bson_t checked;
        int refused = submitting_accept(submitting, i, 0, &checked, error);
        bson_destroy(&checked);
        if (refused)
            return -1;
    }
    return 0;
}

/* Into text: what the sweep's first task, which was there already, has otherwise than it would have now. */
static int compare_first(const struct submitting *submitting, char *text, size_t size, bson_error_t *error)
{
    static const char *const keys[] = {"queue", "priority", "max_crashes", "tags", "description"};
    bson_t now, filter = BSON_INITIALIZER;
    const bson_t *task;
    bson_iter_t mine, its;
    size_t used = 0;
    int found = -1;
    struct store_cursor *cursor = NULL;
    if (submitting_accept(submitting, 0, 0, &now, error) || !bson_iter_init_find(&mine, &now, "_id"))
        goto out;
    bson_append_iter(&filter, "_id", -1, &mine);
    cursor = task_find(submitting->hub, &filter, NULL, error);
    found = cursor ? store_cursor_next(cursor, &task, error) : -1;
    for (size_t i = 0; found > 0 && i < sizeof keys / sizeof *keys; i++)
        if (bson_iter_init_find(&mine, &now, keys[i]) &&
            !(bson_iter_init_find(&its, task, keys[i]) && query_compare_values(&mine, &its) == 0))
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", keys[i]);
out:
    store_cursor_close(cursor);
    bson_destroy(&filter);
    bson_destroy(&now);
    return found < 0 ? -1 : 0;
}

/* The sweep may have been there, with a smaller run_cap. */
static int note_again(const struct submitting *submitting, bson_error_t *error)
{
    bson_t fields = BSON_INITIALIZER;
    bool done = BSON_APPEND_INT64(&fields, "points", submitting->sweep->points) &&
                BSON_APPEND_UTF8(&fields, "text", submitting->sweep->text) && BSON_APPEND_BOOL(&fields, "open", true);
    int result = done ? sweep_record_note(submitting->hub, submitting->sweep_id, &fields, error)
                      : no_memory(submitting, error);
    bson_destroy(&fields);
    return result < 0 ? -1 : 0;
}

static int64_t count_tasks(const struct submitting *submitting, bson_error_t *error)
{
    bson_t *filter = BCON_NEW("project", BCON_UTF8(hub_project(submitting->hub)), "sweep", BCON_UTF8(submitting->sweep_id));
    int64_t count = store_count(hub_store(submitting->hub), "tasks", filter, error);
    bson_destroy(filter);
    return count;
}

/* A search that learns goes on from where it is: a point that was deleted has ended for it, and is not made again. */
static int propose(const struct submitting *submitting, struct sweep_submission *submission, bson_error_t *error)
{
    bson_t record;
    bson_iter_t at;
    int64_t tasks;
    submission->skipped = count_tasks(submitting, error);
    if (submission->skipped < 0 || sweep_propose_first(submitting->hub, submission->sweep_id, &submission->submitted, error) ||
        (tasks = count_tasks(submitting, error)) < 0)
        return -1;
    int found = sweep_record_resolve(submitting->hub, submission->sweep_id, &record, error);
    if (found > 0 && bson_iter_init_find(&at, &record, "proposed") && BSON_ITER_HOLDS_NUMBER(&at))
        submission->deleted = bson_iter_as_int64(&at) * submitting->sweep->seeds - tasks;
    submission->deleted = submission->deleted > 0 ? submission->deleted : 0;
    bson_destroy(&record);
    return found < 0 ? -1 : 0;
}

static int submit_all(struct submitting *submitting, bool missing, struct sweep_submission *submission, bson_error_t *error)
{
    int64_t tasks = submitting->sweep->points * submitting->sweep->seeds;
    submission->points = submitting->sweep->points;
    if (save_record(submitting, 0, submission->sweep_id, error))
        return -1;
    submitting->sweep_id = submission->sweep_id;
    if (missing && !(submitting->work = task_work_read_others(submitting->hub, submission->sweep_id, error)))
        return -1;
    if (acceptance_save_architectures(submitting->acceptance, error))
        return -1;
    int64_t before = find_seq(submitting, 0, -1, error);
    if (before < 0)
        return -1;
    if (sweep_is_watched(submitting->sweep) && note_again(submitting, error))
        return -1;
    if (search_learns(submitting->sweep->method)) {
        if (propose(submitting, submission, error))
            return -1;
        tasks = 0;
    }
    for (int64_t i = 0; i < tasks; i += CHUNK) {
        int64_t end = tasks - i < CHUNK ? tasks : i + CHUNK;
        int64_t before_it = submission->existing, made = submit_chunk(submitting, i, end, &submission->existing, error);
        if (made < 0)
            return -1;
        submission->submitted += made;
        submission->skipped += end - i - made - (submission->existing - before_it);
    }
    /* a search that learns has noted by itself what it made */
    int64_t made = search_learns(submitting->sweep->method) ? 0 : submission->submitted + submission->skipped;
    if (save_record(submitting, made, submission->sweep_id, error))
        return -1;
    if (!submission->submitted && !submission->existing && !search_learns(submitting->sweep->method))
        return compare_first(submitting, submission->differs, sizeof submission->differs, error);
    submission->first_seq = find_seq(submitting, before, 1, error);
    submission->last_seq = find_seq(submitting, before, -1, error);
    return submission->first_seq < 0 || submission->last_seq < 0 ? -1 : 0;
}

int submitting_init(struct submitting *submitting, struct hub *hub, const struct sweep *sweep, const bson_t *fields,
                    bson_error_t *error)
{
    *submitting = (struct submitting){.hub = hub, .fields = fields, .with_marks = *sweep};
    submitting->sweep = &submitting->with_marks;
    bson_init(&submitting->base);
    bson_init(&submitting->given);
    submitting->with_marks.parameters = NULL;
    if (sweep->parameter_count) {
        submitting->with_marks.parameters = malloc(sweep->parameter_count * sizeof *sweep->parameters);
        if (!submitting->with_marks.parameters)
            return no_memory(submitting, error);
        memcpy(submitting->with_marks.parameters, sweep->parameters, sweep->parameter_count * sizeof *sweep->parameters);
    }
    if (merge(submitting, fields, error))
        return -1;
    submitting->acceptance = acceptance_new(hub, NULL, error);
    return submitting->acceptance ? 0 : -1;
}

void submitting_destroy(struct submitting *submitting)
{
    acceptance_free(submitting->acceptance);
    task_work_free(submitting->work);
    free(submitting->with_marks.parameters);
    free(submitting->architecture);
    bson_destroy(&submitting->base);
    bson_destroy(&submitting->given);
}

static int submit(struct hub *hub, const struct sweep *sweep, const bson_t *fields, bool missing,
                  struct sweep_submission *submission, bson_error_t *error)
{
    bson_error_t ignored;
    struct submitting *submitting = aligned_alloc(_Alignof(struct submitting), sizeof *submitting);
    int result = -1;

    error = error ? error : &ignored;
    *submission = (struct sweep_submission){0};
    if (!submitting)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to submit it", sweep->file_name);
    if (!submitting_init(submitting, hub, sweep, fields, error) && !check_all(submitting, error))
        result = submit_all(submitting, missing, submission, error);
    submitting_destroy(submitting);
    free(submitting);
    return result;
}

int sweep_submit(struct hub *hub, const struct sweep *sweep, const bson_t *fields, struct sweep_submission *submission,
                 bson_error_t *error)
{
    return submit(hub, sweep, fields, false, submission, error);
}

int sweep_submit_missing(struct hub *hub, const struct sweep *sweep, const bson_t *fields,
                         struct sweep_submission *submission, bson_error_t *error)
{
    *submission = (struct sweep_submission){0};
    if (sweep_is_watched(sweep) || sweep_is_outside(sweep))
        return hub_error(error, HUB_ERROR_INVALID,
                         "%s: it goes on from results of its own tasks (its method, early_terminate, target, budget, keep_weights or "
                         "kind outside), so none of them can be left out", sweep->file_name);
    return submit(hub, sweep, fields, true, submission, error);
}
