/* SPDX-License-Identifier: Apache-2.0 */
/* A worker without training. It keeps the runner's rules: where it could not write for two thirds of its lease it stops,
 * releases and writes nothing more; what was lost is left alone. */
#include "client.h"

#include <stdio.h>
#include <string.h>

struct work {
    struct hub *hub;
    struct task_fence fence;
    int64_t lease_ms, run, rungs; /* rungs: that the task has come to */
    int64_t good_ms; /* when the last write that was accepted was sent */
    uint8_t *weights;
    size_t length;
    struct logs *logs;
    bson_error_t error;
};

enum outcome { DONE, GONE, STOPPED };

static int write_checkpoint(void *data, int (*sink)(void *to, const void *bytes, size_t length), void *to, bson_error_t *error)
{
    const struct work *work = data;
    (void)error; /* the sink's failure is its own */
    return sink(to, work->weights, work->length);
}

/* 1, 0 the lease is lost, -1: tried again while the lease lasts, for an epoch must not be lost. */
static int keep_epoch(struct work *work, int64_t number)
{
    bson_t model = BSON_INITIALIZER;
    int kept;
    BSON_APPEND_UTF8(&model, "name", "torture");
    BSON_APPEND_INT64(&model, "run", work->run);
    struct task_epoch epoch = {.epoch = number,
                               .run = work->run,
                               .identity = "torture",
                               .weights = work->weights,
                               .weights_length = work->length,
                               .model = &model};
    while ((kept = task_keep_epoch(work->hub, &work->fence, &epoch, &work->error)) < 0 && is_transient(&work->error) &&
           boottime_ms() - work->good_ms < work->lease_ms * 2 / 3) {
        wait_ms(20);
    }
    bson_destroy(&model);
    return kept;
}

/* As a runner that goes on from it would: the blob of the task's checkpoint must be there, whole. */
static bool can_resume(struct work *work, const bson_t *task)
{
    bson_iter_t iter, value;
    uint8_t *data;
    size_t length;
    if (!bson_iter_init(&iter, task) || !bson_iter_find_descendant(&iter, "checkpoint.blob_id", &value) ||
        !BSON_ITER_HOLDS_OID(&value)) {
        return true;
    }
    int result;
    while ((result = blob_load(hub_store(work->hub), bson_iter_oid(&value), INT64_MAX, &data, &length, &work->error)) < 0 &&
           is_transient(&work->error) && boottime_ms() - work->good_ms < work->lease_ms) {
        wait_ms(20);
    }
    bson_free(data);
    return result > 0 || is_transient(&work->error);
}

/* Beats for ms, or once. GONE when the lease is lost or too old to be sure of; STOPPED at SIGTERM. */
static enum outcome beat(struct work *work, int64_t ms)
{
    int64_t until = boottime_ms() + ms;
    do {
        enum task_request request;
        int64_t sent = boottime_ms();
        bson_t progress = BSON_INITIALIZER;
        BSON_APPEND_INT32(&progress, "epoch", 1);
        int result = task_beat(work->hub, &work->fence, &progress, &request, &work->error);
        bson_destroy(&progress);
        if (result == 0) {
            return GONE;
        }
        if (result > 0) {
            work->good_ms = sent;
        } else if (boottime_ms() - work->good_ms >= work->lease_ms * 2 / 3) {
            return STOPPED;
        }
        if (told_to_stop || (result > 0 && request != TASK_REQUEST_NONE)) {
            return STOPPED;
        }
        if (ms > 0) {
            wait_ms(work->lease_ms / 6);
        }
    } while (boottime_ms() < until);
    return DONE;
}

static int finish(struct work *work)
{
    bson_t metrics = BSON_INITIALIZER, model = BSON_INITIALIZER;
    struct task_finish what = {.state = "done",
                               .metrics = &metrics,
                               .weights = work->length > 0 ? work->weights : NULL,
                               .weights_length = work->length,
                               .model = work->length > 0 ? &model : NULL};
    BSON_APPEND_DOUBLE(&metrics, "accuracy", 0.5);
    BSON_APPEND_UTF8(&model, "name", "torture");
    BSON_APPEND_INT64(&model, "run", work->run);
    what.logs = work->logs != NULL ? logs_operations(work->logs, &what.log_count) : NULL;
    int result = task_finish(work->hub, &work->fence, &what, &work->error);
    bson_destroy(&model);
    bson_destroy(&metrics);
    return result;
}

/* At the next rung of a sweep that halves. */
static int park(struct work *work)
{
    bson_t rungs = BSON_INITIALIZER, list, metrics;
    BSON_APPEND_INT64(&rungs, "count", work->rungs + 1);
    BSON_APPEND_ARRAY_BEGIN(&rungs, "values", &list);
    for (int64_t i = 0; i <= work->rungs; i++) {
        char key[24];
        snprintf(key, sizeof key, "%" PRId64, i);
        BSON_APPEND_DOUBLE(&list, key, 0.5);
    }
    bson_append_array_end(&rungs, &list);
    BSON_APPEND_DOCUMENT_BEGIN(&rungs, "metrics", &metrics);
    BSON_APPEND_DOUBLE(&metrics, "accuracy", 0.5);
    bson_append_document_end(&rungs, &metrics);
    int result = task_park(work->hub, &work->fence, &rungs, &work->error);
    bson_destroy(&rungs);
    return result;
}

static int end_once(struct work *work, const char *end)
{
    if (strcmp(end, "park") == 0) {
        return park(work);
    }
    if (strcmp(end, "release") == 0) {
        return task_release(work->hub, &work->fence, &work->error);
    }
    if (strcmp(end, "crash") == 0) {
        return task_crash(work->hub, &work->fence, "its process died", "output", &work->error);
    }
    if (strcmp(end, "fail") == 0) {
        return task_fail(work->hub, &work->fence, "bad data", "output", &work->error);
    }
    if (strcmp(end, "cancel") == 0) {
        return task_end(work->hub, &work->fence, "cancelled", "enough", &work->error);
    }
    return finish(work);
}

/* Until the hub has answered: every ending is fenced, so that coming late harms nothing. */
static int end_task(struct work *work, const char *end)
{
    int64_t until = boottime_ms() + number("patience", 30000);
    int result;
    while ((result = end_once(work, end)) < 0 && is_transient(&work->error) && boottime_ms() < until) {
        wait_ms(50);
    }
    return result;
}

static const char *choose_end(void)
{
    static const char *const ends[] = {"finish", "finish", "finish", "finish", "finish", "finish", "release", "crash"};
    const char *end = option("end", "finish");
    return strcmp(end, "random") == 0 ? ends[next_random() % (sizeof ends / sizeof ends[0])] : end;
}

static void make_weights(struct work *work, const char *end)
{
    int64_t most = strcmp(end, "large") == 0 ? (8 << 20) + 1 : number("blob", 2000);
    work->length = (size_t)most;
    work->weights = bson_malloc(work->length + 8);
    for (size_t i = 0; i < work->length; i += 8) {
        uint64_t value = next_random() << 31 ^ next_random();
        memcpy(work->weights + i, &value, 8);
    }
}

static enum outcome do_work(struct work *work, const char *end)
{
    bson_t point = BSON_INITIALIZER;
    enum outcome outcome = DONE;
    BSON_APPEND_INT32(&point, "epoch", 1);
    BSON_APPEND_DOUBLE(&point, "loss", 0.5);
    int started;
    while ((started = task_started(work->hub, &work->fence, &work->error)) < 0 && is_transient(&work->error) &&
           boottime_ms() - work->good_ms < work->lease_ms * 2 / 3) {
        wait_ms(20);
    }
    outcome = started == 0 ? GONE : started < 0 ? STOPPED : DONE;
    for (int64_t i = number("beats", 1); i > 0 && outcome == DONE; i--) {
        outcome = beat(work, 0);
    }
    if (outcome == DONE && number("hold", 0) > 0) {
        outcome = beat(work, number("hold", 0));
    }
    for (int64_t i = number("checkpoints", 0); i > 0 && outcome == DONE; i--) {
        struct task_checkpoint checkpoint = {.write = write_checkpoint, .data = work};
        int kept = task_checkpoint(work->hub, &work->fence, &checkpoint, &work->error);
        outcome = kept == 0 ? GONE : DONE; /* without one the work goes on */
    }
    for (int64_t i = 1; i <= number("epochs", 0) && outcome == DONE; i++) {
        int kept = keep_epoch(work, i);
        outcome = kept == 0 ? GONE : kept < 0 ? STOPPED : DONE;
    }
    if (outcome == DONE && work->logs != NULL) {
        logs_add(work->logs, "train", &point, NULL);
        logs_flush(work->logs, work->hub, NULL); /* what was not written goes with the finish */
        logs_add(work->logs, "validation", &point, NULL);
    }
    bson_destroy(&point);
    if (outcome == GONE) {
        return GONE;
    }
    int result = end_task(work, outcome == STOPPED ? "release" : end);
    if (result < 0) {
        complain(&work->error);
    }
    return result > 0 ? DONE : GONE;
}

/* Whether anything is left that may come to be claimed. 1, 0, -1. */
static int anything_left(struct hub *hub, bson_error_t *error)
{
    bson_t filter, counts;
    bson_iter_t iter;
    int64_t left = 0;
    bson_init(&filter);
    int result = task_count_states(hub, &filter, &counts, error);
    static const char *const open[] = {"ready", "delayed", "waiting", "running"};
    for (size_t i = 0; i < 4; i++) {
        left += bson_iter_init_find(&iter, &counts, open[i]) ? bson_iter_as_int64(&iter) : 0;
    }
    bson_destroy(&counts);
    bson_destroy(&filter);
    return result < 0 ? -1 : left > 0;
}

int client_work(struct hub *hub)
{
    struct work work = {.hub = hub, .lease_ms = number("lease", 2000)};
    int64_t wanted = number("tasks", INT64_MAX), end_ms = boottime_ms() + 1000 * number("seconds", 600), done = 0, lost = 0;
    int64_t worst_ms = 0, asked_ms, last_ms = 0;
    struct task_claim_options claim = {.runner = "torture", .lease_ms = number("claim_lease", 0)};
    bool until_empty = number("until_empty", 0) != 0, leave_idle = number("leave_idle", 0) != 0;
    int64_t idle_ms = 0;
    int status = 0;
    wait_ms(number("start_at", 0) > boottime_ms() ? number("start_at", 0) - boottime_ms() : 0);
    asked_ms = boottime_ms();
    while (done + lost < wanted && !told_to_stop && boottime_ms() < end_ms) {
        bson_t task;
        bson_iter_t run, rungs;
        work.good_ms = boottime_ms();
        int result = task_claim(hub, &claim, &task, &work.fence, &work.error);
        work.run = bson_iter_init_find(&run, &task, "run") ? bson_iter_as_int64(&run) : 1;
        work.rungs = bson_iter_init(&run, &task) && bson_iter_find_descendant(&run, "rungs.count", &rungs)
                         ? bson_iter_as_int64(&rungs)
                         : 0;
        bool whole = result <= 0 || can_resume(&work, &task);
        bson_destroy(&task);
        if (!whole) {
            status = complain(&work.error);
            break;
        }
        idle_ms = result > 0 ? 0 : idle_ms < 320 ? 20 + 2 * idle_ms : idle_ms;
        if (result > 0) {
            const char *end = choose_end();
            int64_t waited = boottime_ms() - asked_ms;
            worst_ms = waited > worst_ms ? waited : worst_ms;
            make_weights(&work, end);
            work.logs = number("logs", 1) != 0 ? logs_new(&work.fence, (int32_t)work.run, "epoch") : NULL;
            enum outcome outcome = do_work(&work, end);
            done += outcome == DONE;
            lost += outcome == GONE;
            if (outcome == GONE) {
                TL_HISTORY("did give-up %s %s 1", work.fence.task_id, work.fence.claim_id);
            }
            logs_free(work.logs);
            bson_free(work.weights);
            asked_ms = last_ms = boottime_ms();
            continue;
        }
        if (result < 0 && !is_transient(&work.error)) {
            status = complain(&work.error);
            break;
        }
        bson_error_t error;
        if (result == 0 && leave_idle) {
            break;
        }
        if (result == 0 && until_empty && task_promote(hub, &error) == 0 && anything_left(hub, &error) == 0) {
            break;
        }
        wait_ms(idle_ms / 2 + (int64_t)next_random() % (idle_ms / 2 + 1));
    }
    if (number("figures", 0) != 0) {
        printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", done, worst_ms, last_ms);
    }
    return status != 0 ? status : lost > 0 ? LOST : done > 0 ? 0 : NOTHING;
}
