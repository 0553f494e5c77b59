/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep_search_impl.h"

#include "distributor/sweep_history.h"
#include "distributor/sweep_weights.h"
#include "hub/sweep_record.h"
#include "hub/task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CURVES_MS = 1000 };

int sweep_search_no_memory(const struct sweep_search *search, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_MEMORY, "no memory for the search of sweep %s", search->id);
}

static bool find(const bson_t *document, const char *path, bson_iter_t *at)
{
    bson_iter_t all;
    return bson_iter_init(&all, document) && bson_iter_find_descendant(&all, path, at);
}

static const char *text_of(const bson_t *document, const char *path)
{
    bson_iter_t at;
    return find(document, path, &at) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
}

static int64_t number_of(const bson_t *document, const char *path, int64_t otherwise)
{
    bson_iter_t at;
    return find(document, path, &at) && BSON_ITER_HOLDS_NUMBER(&at) ? bson_iter_as_int64(&at) : otherwise;
}

/* ---- opening ---- */

static int read_record(struct sweep_search *search, const bson_t *record, bson_error_t *error)
{
    const char *text = text_of(record, "text"), *file = text_of(record, "file"), *given = text_of(record, "given");
    const char *id = text_of(record, "_id");
    bson_iter_t at;
    if (!text || !file || !id || strlen(id) >= HUB_ID_SIZE)
        return hub_error(error, HUB_ERROR_INVALID, "sweep %s: its record has no text and file to go on from", id ? id : "");
    snprintf(search->id, sizeof search->id, "%s", id);
    search->proposed = number_of(record, "proposed", 0);
    search->closed = find(record, "open", &at) && BSON_ITER_HOLDS_BOOL(&at) && !bson_iter_bool(&at);
    if (given && !(search->given = bson_new_from_json((const uint8_t *)given, -1, error)))
        return -1;
    search->sweep = sweep_parse(text, strlen(text), file, error);
    if (!search->sweep)
        return -1;
    if (!search_learns(search->sweep->method)) /* they were all made when it was submitted */
        search->proposed = search->sweep->points;
    const char *metric = text_of(&search->sweep->metric, "name"), *goal = text_of(&search->sweep->metric, "goal");
    snprintf(search->metric, sizeof search->metric, "result.metrics.%s", metric ? metric : "loss");
    search->sign = goal && !strcmp(goal, "maximize") ? -1 : 1;
    const struct stop_early_options *early = &search->sweep->early;
    if (early->type == STOP_EARLY_ASHA || search->sweep->method == SEARCH_PBT)
        return (search->ladder = sweep_ladder_new(early->eta, search->sign)) ? 0 : sweep_search_no_memory(search, error);
    if (early->type && !(search->watch = sweep_watch_new(&search->sweep->early, metric, search->sign)))
        return sweep_search_no_memory(search, error);
    return 0;
}

/* What a member's weights go with is what its architecture reads: the file's, or the one that was given beside it. */
static int open_method(struct sweep_search *search, bson_error_t *error)
{
    struct search_options options;
    struct submitting *submitting = search->submitting;
    sweep_search_options(search->sweep, &options);
    if (options.method == SEARCH_PBT) {
        search->fixed = calloc(options.space->count + 1, sizeof *search->fixed);
        if (!search->fixed)
            return sweep_search_no_memory(search, error);
        if (submitting->architecture && sweep_mark_text(submitting->sweep, submitting->architecture, 0, error))
            return -1;
        sweep_find_fixed(submitting->sweep, search->fixed);
        options.fixed = search->fixed;
    }
    search->search = search_new(&options);
    return search->search ? 0 : sweep_search_no_memory(search, error);
}

struct sweep_search *sweep_search_open(struct hub *hub, const char *sweep_id, bson_error_t *error)
{
    bson_t record = BSON_INITIALIZER;
    bool opened = false;
    struct sweep_search *search = calloc(1, sizeof *search);
    if (!search) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the search of sweep %s", sweep_id);
        return NULL;
    }
    search->best = -1;
    bson_destroy(&record);
    int found = sweep_record_resolve(hub, sweep_id, &record, error);
    if (found == 0)
        hub_error(error, HUB_ERROR_NOT_FOUND, "no sweep %s", sweep_id);
    if (found <= 0 || read_record(search, &record, error))
        goto out;
    search->submitting = aligned_alloc(_Alignof(struct submitting), sizeof *search->submitting);
    if (!search->submitting) {
        sweep_search_no_memory(search, error);
        goto out;
    }
    if (submitting_init(search->submitting, hub, search->sweep, search->given, error))
        goto out;
    search->submitting->sweep_id = search->id;
    opened = !open_method(search, error);
out:
    bson_destroy(&record);
    if (!opened) {
        sweep_search_close(search);
        return NULL;
    }
    return search;
}

void sweep_search_close(struct sweep_search *search)
{
    if (!search)
        return;
    for (int64_t i = 0; i < search->capacity; i++) {
        free(search->results[i].units);
        free(search->observed[i].id);
    }
    free(search->results);
    free(search->observed);
    search_free(search->search);
    sweep_watch_free(search->watch);
    sweep_ladder_free(search->ladder);
    free(search->ranks);
    free(search->fixed);
    if (search->submitting)
        submitting_destroy(search->submitting);
    free(search->submitting);
    sweep_free(search->sweep);
    bson_destroy(search->given);
    free(search);
}

bool sweep_search_is_closed(const struct sweep_search *search)
{
    return search->closed;
}

/* ---- results ---- */

int sweep_search_make_room(struct sweep_search *search, int64_t number, bson_error_t *error)
{
    int64_t capacity = search->capacity ? search->capacity : 64;
    while (capacity <= number)
        capacity *= 2;
    if (capacity == search->capacity)
        return 0;
    struct search_result *results = realloc(search->results, (size_t)capacity * sizeof *results);
    search->results = results ? results : search->results;
    struct observed *observed = realloc(search->observed, (size_t)capacity * sizeof *observed);
    search->observed = observed ? observed : search->observed;
    struct search_result *ranks = search->ladder ? realloc(search->ranks, (size_t)capacity * sizeof *ranks) : NULL;
    search->ranks = ranks ? ranks : search->ranks;
    if (!results || !observed || (search->ladder && !ranks))
        return sweep_search_no_memory(search, error);
    size_t more = (size_t)(capacity - search->capacity);
    if (ranks)
        memset(ranks + search->capacity, 0, more * sizeof *ranks);
    memset(results + search->capacity, 0, more * sizeof *results);
    memset(observed + search->capacity, 0, more * sizeof *observed);
    search->capacity = capacity;
    return 0;
}

static bool has_ended(const char *state)
{
    static const char *const ends[] = {"done", "stopped", "failed", "dead", "cancelled"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (!strcmp(state, ends[i]))
            return true;
    return false;
}

int sweep_search_keep_place(struct sweep_search *search, int64_t number, const double *units, bson_error_t *error)
{
    size_t size = search->sweep->space.count * sizeof *units;
    if (search->results[number].units)
        return 0;
    if (!(search->results[number].units = malloc(size + 1)))
        return sweep_search_no_memory(search, error);
    memcpy(search->results[number].units, units, size);
    return 0;
}

/* What a task that ended took. One that ended at a rung waited there, and what it trained is the ladder's to count. */
static void take_costs(struct sweep_search *search, int64_t number, const bson_t *task)
{
    struct observed *observed = &search->observed[number];
    bson_iter_t at;
    double flops = find(task, "needs.flops", &at) && BSON_ITER_HOLDS_NUMBER(&at) ? bson_iter_as_double(&at) : 0;
    if (search->sweep->method == SEARCH_PBT) /* of all epochs, and this is one generation */
        flops *= (double)search->sweep->every / (double)search->sweep->epochs;
    if (search->ladder && !observed->model && sweep_ladder_height(search->ladder, number)) {
        int64_t epochs = number_of(task, "hyper_parameters.epochs", 0);
        double share = epochs > 0 ? (double)sweep_ladder_epoch(search->ladder, number) / (double)epochs : 0;
        observed->flops += search->sweep->method == SEARCH_PBT ? flops : flops * share;
        return;
    }
    observed->flops += flops;
    if (find(task, "claimed_at", &at) && BSON_ITER_HOLDS_DATE_TIME(&at)) {
        int64_t from = bson_iter_date_time(&at);
        if (find(task, "finished_at", &at) && BSON_ITER_HOLDS_DATE_TIME(&at) && bson_iter_date_time(&at) > from)
            observed->seconds += (double)(bson_iter_date_time(&at) - from) / 1000;
    }
}

static int take_task(struct sweep_search *search, const bson_t *task, double *units, bson_error_t *error)
{
    bson_iter_t at;
    bson_t point;
    int64_t number = number_of(task, "point_number", -1), seq = number_of(task, "seq", 0);
    const char *state = text_of(task, "state");
    if (number < 0 || number >= SWEEP_POINTS || !state || !find(task, "point", &at) || !BSON_ITER_HOLDS_DOCUMENT(&at))
        return 0;
    if (sweep_search_make_room(search, number, error))
        return -1;
    search->last_seq = seq > search->last_seq ? seq : search->last_seq;
    search->proposed = number >= search->proposed ? number + 1 : search->proposed;
    struct observed *observed = &search->observed[number];
    if (observed->settled)
        return 0;
    uint32_t length;
    const uint8_t *data;
    bson_iter_document(&at, &length, &data);
    if (bson_init_static(&point, data, length) && sweep_place_of(search->sweep, &point, units) &&
        sweep_search_keep_place(search, number, units, error))
        return -1;
    observed->seq = observed->seq && observed->seq < seq ? observed->seq : seq;
    const char *id = text_of(task, "_id");
    free(observed->id);
    bool named = id && (search->watch || search->sweep->method == SEARCH_PBT);
    observed->id = named ? strdup(id) : NULL;
    if (named && !observed->id)
        return sweep_search_no_memory(search, error);
    observed->running = !strcmp(state, "running");
    observed->parent = 1 + number_of(task, "lineage.parent", -1);
    if (search->ladder && sweep_ladder_take(search->ladder, number, task, error))
        return -1;
    if (!has_ended(state))
        return 0;
    observed->ended++;
    observed->model = find(task, "result.sha256", &at) || !strcmp(state, "done");
    take_costs(search, number, task);
    if (find(task, search->metric, &at) && BSON_ITER_HOLDS_NUMBER(&at) && isfinite(bson_iter_as_double(&at))) {
        observed->valued++;
        observed->sum += search->sign * bson_iter_as_double(&at);
    }
    return 0;
}

/* All tasks from this seq on; their counts begin anew. */
static int read_from(struct sweep_search *search, struct hub *hub, int64_t seq, bson_error_t *error)
{
    double *units = malloc((search->sweep->space.count + 1) * sizeof *units);
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(search->id), "seq", "{", "$gte", BCON_INT64(seq), "}");
    bson_t *projection = BCON_NEW("seq", BCON_INT32(1), "state", BCON_INT32(1), "point", BCON_INT32(1), "point_number",
                                  BCON_INT32(1), "claimed_at", BCON_INT32(1), "finished_at", BCON_INT32(1), "needs.flops",
                                  BCON_INT32(1), search->metric, BCON_INT32(1));
    static const char *const of_ladder[] = {"project", "lane", "claim.id", "rungs.count", "rungs.values", "rungs.seconds",
                                            "rungs.epochs", "lineage.parent", "result.sha256", "hyper_parameters.epochs"};
    for (size_t i = 0; search->ladder && i < sizeof of_ladder / sizeof *of_ladder; i++)
        BSON_APPEND_INT32(projection, of_ladder[i], 1);
    struct store_find_options options = {.projection = projection};
    const bson_t *task;
    int more = -1;
    for (int64_t i = search->settled; i < search->proposed && i < search->capacity; i++) {
        struct observed *observed = &search->observed[i];
        if (!observed->settled)
            *observed = (struct observed){.seq = observed->seq, .asked = observed->asked, .id = observed->id};
    }
    struct store_cursor *cursor = units ? task_find(hub, filter, &options, error) : NULL;
    while (cursor && (more = store_cursor_next(cursor, &task, error)) > 0)
        if (take_task(search, task, units, error)) {
            more = -1;
            break;
        }
    if (!units)
        sweep_search_no_memory(search, error);
    store_cursor_close(cursor);
    bson_destroy(filter);
    bson_destroy(projection);
    free(units);
    return more < 0 ? -1 : 0;
}

static void note_best(struct sweep_search *search, int64_t i)
{
    const struct search_result *result = &search->results[i];
    if (result->has_value && (!search->ladder || search->observed[i].model) &&
        (search->best < 0 || result->value < search->results[search->best].value))
        search->best = i;
}

/* What all points that are not settled have come to. Whether one of them was never seen. */
static bool settle(struct sweep_search *search)
{
    bool missing = false;
    for (int64_t i = search->settled; i < search->proposed; i++) {
        struct observed *observed = &search->observed[i];
        struct search_result *result = &search->results[i];
        if (!observed->settled && observed->ended >= search->sweep->seeds &&
            (!search->watch || sweep_watch_is_final(search->watch, i))) {
            observed->settled = result->ended = true;
            result->has_value = observed->valued > 0;
            result->value = result->has_value ? observed->sum / (double)observed->valued : INFINITY;
            if (search->watch && sweep_watch_stop(search->watch, i)) { /* whether it was stopped in time or not */
                result->value = sweep_watch_value(search->watch, i);
                result->has_value = isfinite(result->value);
            }
            search->ended_tasks += observed->ended;
            search->seconds += observed->seconds;
            search->flops += observed->flops;
            note_best(search, i);
            free(observed->id);
            observed->id = NULL;
        }
        missing = missing || (!observed->settled && !observed->seq);
    }
    while (search->settled < search->proposed && search->observed[search->settled].settled)
        search->settled++;
    search->known = search->known > search->settled ? search->known : search->settled;
    while (search->ladder && search->known < search->proposed &&
           (search->observed[search->known].settled || sweep_ladder_height(search->ladder, search->known)))
        search->known++;
    return missing;
}

/* A point that is not there though it was made has been deleted: it has ended without a value. */
static void give_up_missing(struct sweep_search *search)
{
    for (int64_t i = search->settled; i < search->proposed; i++)
        if (!search->observed[i].seq) {
            search->observed[i].settled = search->results[i].ended = true;
            if (search->watch)
                sweep_watch_skip(search->watch, i, NULL);
        }
    settle(search);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What the points' curves say; whom that ends is asked to stop. */
static int watch_curves(struct sweep_search *search, struct hub *hub, bson_error_t *error)
{
    bool all = now_ms() - search->curves_ms >= CURVES_MS;
    search->curves_ms = all ? now_ms() : search->curves_ms;
    for (int64_t i = search->settled; i < search->proposed; i++) {
        struct observed *observed = &search->observed[i];
        bool ended = observed->ended >= search->sweep->seeds;
        if (observed->settled || sweep_watch_is_final(search->watch, i))
            continue;
        if (observed->id && (ended || (observed->running && all)) &&
            sweep_watch_read(search->watch, hub, i, observed->id, ended, error))
            return -1;
    }
    sweep_watch_judge(search->watch);
    for (int64_t i = search->settled; i < search->proposed; i++) {
        struct observed *observed = &search->observed[i];
        int64_t epoch = sweep_watch_stop(search->watch, i);
        if (!epoch || !observed->running || observed->asked || !observed->id)
            continue;
        char reason[160];
        snprintf(reason, sizeof reason, "epoch %lld: %s", (long long)epoch,
                 search->sweep->early.type == STOP_EARLY_MEDIAN ? "its best is worse than the median of the points before it"
                                                                : "it is not among the best of the points before it");
        bson_t *filter = BCON_NEW("_id", BCON_UTF8(observed->id));
        int64_t asked = task_stop(hub, filter, reason, error);
        bson_destroy(filter);
        if (asked < 0)
            return -1;
        observed->asked = true;
    }
    return 0;
}

int sweep_search_read_submitted(struct sweep_search *search, struct hub *hub, bson_error_t *error)
{
    bson_t record;
    int found = search_learns(search->sweep->method) ? 0 : sweep_record_resolve(hub, search->id, &record, error);
    if (found < 0)
        return -1;
    search->submitted = found == 0 || number_of(&record, "submitted", 0) >= search->sweep->points * search->sweep->seeds;
    if (!search_learns(search->sweep->method))
        bson_destroy(&record);
    return 0;
}

/* Curves and rungs are not among what is kept. */
static bool is_kept(const struct sweep_search *search)
{
    return !search->watch && !search->ladder;
}

static int take_history(void *data, const struct sweep_history *history, bson_error_t *error)
{
    struct sweep_search *search = data;
    int64_t first = history->number * SWEEP_HISTORY_POINTS, end = first + SWEEP_HISTORY_POINTS;
    if (sweep_search_make_room(search, end, error))
        return -1;
    for (int64_t i = first; i < end; i++) {
        const struct search_result *result = &history->results[i - first];
        if (result->units && sweep_search_keep_place(search, i, result->units, error))
            return -1;
        double *units = search->results[i].units;
        search->results[i] = *result;
        search->results[i].units = units;
        search->observed[i].settled = search->observed[i].model = true;
        note_best(search, i);
    }
    search->ended_tasks += history->tasks;
    search->seconds += history->seconds;
    search->flops += history->flops;
    search->settled = search->kept = end;
    search->proposed = end > search->proposed ? end : search->proposed;
    search->kept_seq = history->next_seq;
    return 0;
}

/* Packets that are whole and not kept yet. */
static int keep_results(struct sweep_search *search, struct hub *hub, bson_error_t *error)
{
    while (is_kept(search) && search->settled - search->kept >= SWEEP_HISTORY_POINTS) {
        int64_t first = search->kept, end = first + SWEEP_HISTORY_POINTS;
        struct sweep_history history = {
            .number = first / SWEEP_HISTORY_POINTS, .next_seq = search->last_seq + 1, .results = search->results + first};
        for (int64_t i = first; i < end; i++) {
            history.tasks += search->observed[i].ended;
            history.seconds += search->observed[i].seconds;
            history.flops += search->observed[i].flops;
        }
        for (int64_t i = end; i < search->proposed; i++)
            if (search->observed[i].seq && search->observed[i].seq < history.next_seq)
                history.next_seq = search->observed[i].seq;
        if (sweep_history_save(hub, search->id, search->sweep->space.count, &history, error))
            return -1;
        search->kept = end;
    }
    return 0;
}

int sweep_search_read(struct sweep_search *search, struct hub *hub, bson_error_t *error)
{
    if (!search->complete && is_kept(search) && !search->kept &&
        sweep_history_read(hub, search->id, search->sweep->space.count, take_history, search, error))
        return -1;
    int64_t from = search->last_seq + 1;
    if (search->proposed && sweep_search_make_room(search, search->proposed, error))
        return -1;
    for (int64_t i = search->settled; i < search->proposed; i++)
        if (!search->observed[i].settled && search->observed[i].seq && search->observed[i].seq < from)
            from = search->observed[i].seq;
    if (read_from(search, hub, search->complete ? from : search->kept_seq, error))
        return -1;
    if (search->watch && watch_curves(search, hub, error))
        return -1;
    bool missing = settle(search);
    if (missing && (search->complete || search->kept)) { /* made by another, while the first ones of it were being read */
        if (read_from(search, hub, 0, error))
            return -1;
        missing = settle(search);
    }
    search->complete = true;
    if (missing && !search->submitted && sweep_search_read_submitted(search, hub, error))
        return -1;
    if (missing && search->submitted)
        give_up_missing(search);
    return keep_results(search, hub, error);
}

static int note(struct sweep_search *search, struct hub *hub, const char *reason, bson_error_t *error)
{
    bson_t fields = BSON_INITIALIZER, best;
    BSON_APPEND_INT64(&fields, "proposed", search->proposed);
    if (search_learns(search->sweep->method))
        BSON_APPEND_INT64(&fields, "submitted", search->proposed * search->sweep->seeds);
    BSON_APPEND_INT64(&fields, "ended", search->settled);
    if (search->best >= 0) {
        BSON_APPEND_DOCUMENT_BEGIN(&fields, "best", &best);
        BSON_APPEND_INT64(&best, "point", search->best);
        BSON_APPEND_DOUBLE(&best, "value", search->sign * search->results[search->best].value);
        bson_append_document_end(&fields, &best);
    }
    if (reason) {
        BSON_APPEND_BOOL(&fields, "open", false);
        BSON_APPEND_UTF8(&fields, "reason", reason);
    }
    int result = sweep_record_note(hub, search->id, &fields, error);
    bson_destroy(&fields);
    search->closed = search->closed || (reason && result >= 0);
    return result < 0 ? -1 : 0;
}

/* Why the whole sweep is over before all its points were tried; false: it is not. */
static bool is_spent(const struct sweep_search *search, char *reason, size_t size)
{
    const struct sweep *sweep = search->sweep;
    double best = search->best < 0 ? INFINITY : search->results[search->best].value;
    double seconds = search->seconds + (search->ladder ? sweep_ladder_seconds(search->ladder) : 0);
    if (sweep->has_target && best <= search->sign * sweep->target)
        snprintf(reason, size, "point %lld has reached the target of %g", (long long)search->best, sweep->target);
    else if (sweep->budget_tasks && search->ended_tasks >= sweep->budget_tasks)
        snprintf(reason, size, "the budget of %lld tasks is spent", (long long)sweep->budget_tasks);
    else if (sweep->budget_seconds > 0 && seconds >= sweep->budget_seconds)
        snprintf(reason, size, "the budget of %g s is spent", sweep->budget_seconds);
    else if (sweep->budget_flops > 0 && search->flops >= sweep->budget_flops)
        snprintf(reason, size, "the budget of %g floating-point operations is spent", sweep->budget_flops);
    else
        return false;
    return true;
}

static int end_sweep(struct sweep_search *search, struct hub *hub, const char *reason, bson_error_t *error)
{
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(search->id));
    int64_t ended = task_stop(hub, filter, reason, error);
    bson_destroy(filter);
    int open = ended < 0 ? -1 : sweep_weights_settle(search->sweep, hub, search->id, error);
    return open < 0 ? -1 : open > 0 ? 0 : note(search, hub, reason, error);
}

int64_t sweep_search_step(struct sweep_search *search, struct hub *hub, int64_t most, bson_error_t *error)
{
    int64_t made = 0, before = search->proposed, settled = search->settled;
    search->submitting->hub = hub;
    if (search->closed)
        return 0;
    if (sweep_search_read(search, hub, error))
        return -1;
    char reason[200];
    if (sweep_weights_retain(search->sweep, hub, search->id, &search->retain_ms, error))
        return -1;
    if (is_spent(search, reason, sizeof reason))
        return end_sweep(search, hub, reason, error) ? -1 : 0;
    int64_t promoted = 0;
    if (search->ladder && sweep_search_climb(search, hub, &promoted, error))
        return -1;
    most = most > 0 ? most : INT64_MAX;
    for (bool more = true; more && search->proposed - before < most && sweep_search_may_propose(search, search->proposed);) {
        int64_t first = search->proposed, some = sweep_search_propose_some(search, hub, most - (first - before), error);
        if (some < 0) { /* points that nothing accepts end the search: it would come to them again */
            bson_error_t why = *error, ignored;
            if (hub_error_code(&why) == HUB_ERROR_INVALID)
                note(search, hub, why.message, &ignored);
            return -1;
        }
        made += some;
        more = search->proposed > first;
    }
    bool through = search->proposed >= search->sweep->points && search->settled >= search->sweep->points;
    int open = through ? sweep_weights_settle(search->sweep, hub, search->id, error) : 0;
    if (open < 0)
        return -1;
    through = through && !open;
    if (search->proposed == before && search->settled == settled && !through)
        return made + promoted;
    return note(search, hub, through ? "all its points have ended" : NULL, error) ? -1 : made + promoted;
}

int sweep_propose_first(struct hub *hub, const char *sweep_id, int64_t *made, bson_error_t *error)
{
    struct sweep_search *search = sweep_search_open(hub, sweep_id, error);
    *made = search ? sweep_search_step(search, hub, 0, error) : -1;
    sweep_search_close(search);
    return *made < 0 ? -1 : 0;
}
