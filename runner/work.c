/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/work.h"
#include "runner/clock.h"
#include "runner/document.h"
#include "runner/message.h"

#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 250, RETRY_MOST_MS = 5000, GIVE_UP_MS = 12000, CONFIRM_MS = 2000 };

static const struct {
    const char *name;
    work_recipe *recipe;
} kinds[] = {{"train", train_recipe}, {"validate", evaluate_recipe}, {"test", evaluate_recipe}, {"infer", infer_recipe}};

/* One note when the hub falls silent, one when it is back. */
static void say_answered(struct work *work)
{
    char why[504], text[640];
    bool answered = heartbeat_is_answered(work->worker->heartbeat, why, sizeof why);
    if (answered == !work->unanswered)
        return;
    work->unanswered = !answered;
    snprintf(text, sizeof text, "%s%s%s", answered ? "the hub answers again" : "the hub does not answer (", why,
             answered ? "" : "); the work goes on for as long as the lease allows");
    work_note(work, text);
}

enum work_stop work_stopping(struct work *work)
{
    enum heartbeat_verdict verdict = heartbeat_verdict(work->worker->heartbeat);
    if (verdict == HEARTBEAT_LOST)
        return WORK_LOST;
    say_answered(work);
    if (worker_stopping() && verdict != HEARTBEAT_STOP) /* a stop ends soon, and with results */
        return WORK_STOPPING;
    switch (verdict) {
    case HEARTBEAT_CANCEL: return WORK_CANCEL;
    case HEARTBEAT_STOP: return WORK_STOP;
    case HEARTBEAT_PAUSE: return WORK_PAUSE;
    case HEARTBEAT_AWAY: return WORK_AWAY;
    case HEARTBEAT_LOST:
    case HEARTBEAT_GO_ON: break;
    }
    return WORK_GO_ON;
}

bool work_is_transient(const bson_error_t *error)
{
    switch (hub_error_code(error)) {
    case HUB_ERROR_UNREACHABLE:
    case HUB_ERROR_UNKNOWN_OUTCOME:
    case HUB_ERROR_UNAUTHORIZED:
    case HUB_ERROR_BUSY:
    case HUB_ERROR_NO_SPACE: return true;
    default: return false;
    }
}

int work_kernel_error(bson_error_t *error, const struct kernel_error *from, const char *what)
{
    enum hub_error_code code = from->code == KERNEL_ERROR_MEMORY ? HUB_ERROR_MEMORY
                               : from->code == KERNEL_ERROR_IO   ? HUB_ERROR_IO
                                                                 : HUB_ERROR_INVALID;
    return hub_error(error, code, "%s%s%s", what ? what : "", what ? ": " : "", from->message);
}

void work_say(struct work *work, const char *say, const bson_t *details, bool wait)
{
    bson_t message = BSON_INITIALIZER;
    const char *name = document_string(work->task, "name");
    int64_t seq = 0;
    document_integer(work->task, "seq", &seq);
    if (BSON_APPEND_UTF8(&message, "say", say) && BSON_APPEND_UTF8(&message, "task", work->fence->task_id) &&
        BSON_APPEND_INT64(&message, "seq", seq) && BSON_APPEND_UTF8(&message, "name", name ? name : "") &&
        BSON_APPEND_UTF8(&message, "kind", work->kind) && (!details || bson_concat(&message, details)))
        message_send(work->worker->socket, &message, wait);
    bson_destroy(&message);
}

bool work_progress_due(struct work *work)
{
    double now = clock_seconds();
    if (now - work->last_message < WORK_PROGRESS_SECONDS)
        return false;
    work->last_message = now;
    return true;
}

struct device *worker_device(struct worker *worker, int threads, bson_error_t *error)
{
    struct kernel_error why = {0};
    if (threads == 0)
        threads = worker->threads;
    if (worker->device && worker->device->threads == threads)
        return worker->device;
    device_close(worker->device);
    worker->device = device_open(worker->device_name, threads, &why);
    if (!worker->device)
        work_kernel_error(error, &why, "device");
    return worker->device;
}

void work_note(struct work *work, const char *text)
{
    bson_t details = BSON_INITIALIZER;
    if (BSON_APPEND_UTF8(&details, "message", text))
        work_say(work, "note", &details, false);
    bson_destroy(&details);
}

static void note(struct work *work, const char *doing, const bson_error_t *error)
{
    char text[640];
    snprintf(text, sizeof text, "%s: %s; trying again", doing, error->message);
    work_note(work, text);
}

/* How long somebody goes on trying who was told to stop. */
struct patience {
    int64_t stopping_ms; /* clock_boot_ms when that was noticed; 0: not told */
};

static bool is_spent(struct patience *patience)
{
    if (worker_stopping() && patience->stopping_ms == 0)
        patience->stopping_ms = clock_boot_ms();
    return patience->stopping_ms != 0 && clock_boot_ms() - patience->stopping_ms > GIVE_UP_MS;
}

static int confirm(struct work *work, struct patience *patience)
{
    for (;;) {
        int held = heartbeat_confirm(work->worker->heartbeat, CONFIRM_MS);
        if (held >= 0)
            return held;
        say_answered(work);
        if (is_spent(patience))
            return -1;
        worker_wait(work->worker, clock_jitter(RETRY_MS));
    }
}

int work_confirm(struct work *work)
{
    struct patience patience = {0};
    return confirm(work, &patience);
}

/* Each end of a task, to be tried until the hub has answered: all are fenced, so that coming late harms nothing. */
enum end_kind { END_FINISH, END_FAIL, END_RELEASE, END_CANCEL, END_PAUSE, END_PARK };

struct end {
    enum end_kind kind;
    struct task_finish finish;
    const char *message, *output;
    const bson_t *rungs;
    bool taken; /* logs hold all points */
};

/* What the work printed, as a log that is found like the others. */
static int add_output(struct work *work, const char *output, bson_error_t *error)
{
    bson_t point = BSON_INITIALIZER;
    int result = -1;
    if (BSON_APPEND_UTF8(&point, "text", output))
        result = logs_add(work->logs, "output", &point, error);
    else
        hub_error(error, HUB_ERROR_MEMORY, "no memory for what was printed");
    bson_destroy(&point);
    return result < 0 ? -1 : 0;
}

/* What an interrupted run logged last is looked at most. Logs have no fence: they are written only while the task is known to
 * be ours. 0 done, or given up; -1 to be tried again. */
static int write_last_logs(struct work *work, struct end *end, bson_error_t *error)
{
    struct worker *worker = work->worker;
    int held = end->taken ? 0 : heartbeat_confirm(worker->heartbeat, CONFIRM_MS);
    if (held < 0)
        return hub_error(error, HUB_ERROR_UNREACHABLE, "the hub does not answer");
    while (held > 0 && !end->taken) {
        bson_t counts = BSON_INITIALIZER;
        end->taken = heartbeat_write_logs(worker->heartbeat, worker->hub, &counts, error) == 0;
        bson_destroy(&counts);
        if (!end->taken && work_is_transient(error))
            return -1;
        if (!end->taken)
            note(work, "writing the last log points", error); /* they are lost; the rest is not */
        end->taken = end->taken || hub_error_code(error) != HUB_ERROR_IO; /* behind what cannot be read it goes on */
    }
    return 0;
}

static int try_finish(struct work *work, struct end *end, bson_error_t *error)
{
    struct worker *worker = work->worker;
    while (!end->taken) {
        if (heartbeat_take_logs(worker->heartbeat, worker->hub, error) == 0) {
            end->taken = true;
            if (end->output && add_output(work, end->output, error))
                return -1;
        } else if (hub_error_code(error) == HUB_ERROR_IO) {
            note(work, "reading back log points", error); /* they are lost; the rest is not */
        } else {
            return -1;
        }
    }
    end->finish.logs = logs_operations(work->logs, &end->finish.log_count);
    int result = task_finish(worker->hub, work->fence, &end->finish, error);
    end->finish.again = true;
    return result;
}

static int try_end(struct work *work, struct end *end, bson_error_t *error)
{
    struct hub *hub = work->worker->hub;
    if (end->kind != END_FINISH && end->kind != END_RELEASE && write_last_logs(work, end, error))
        return -1;
    switch (end->kind) {
    case END_FINISH: return try_finish(work, end, error);
    case END_FAIL: return task_fail(hub, work->fence, end->message, end->output, error);
    case END_RELEASE: return task_release(hub, work->fence, error);
    case END_CANCEL: return task_end(hub, work->fence, "cancelled", NULL, error);
    case END_PAUSE: return task_release(hub, work->fence, error); /* pauses, unless it was resumed meanwhile */
    case END_PARK: return task_park(hub, work->fence, end->rungs, error);
    }
    return -1;
}

/* Tries until the hub has answered: finished work is not thrown away because a database is. While the hub is away nobody
 * can take the task, and when it is back the fence decides; only a hub that answers "not allowed" for a whole lease is
 * believed. 1 applied, 0 lost, -1 an error that trying again does not mend, or told to stop while the hub is away: then
 * the task is left to the sweepers. */
static int end_task(struct work *work, struct end *end, bson_error_t *error)
{
    int64_t wait = RETRY_MS, refused_ms = 0;
    struct patience patience = {0};
    for (bool noted = false;; noted = true) {
        /* What is large is uploaded only for a task that is still ours; after a try, the task is read first anyway. */
        if (end->kind == END_FINISH && !end->finish.again && confirm(work, &patience) <= 0)
            return 0;
        int result = try_end(work, end, error);
        if (result >= 0 || !work_is_transient(error))
            return result;
        if (!noted)
            note(work, "ending the task", error);
        if (hub_error_code(error) != HUB_ERROR_UNAUTHORIZED)
            refused_ms = 0;
        else if (refused_ms == 0)
            refused_ms = clock_boot_ms();
        if (is_spent(&patience) || (refused_ms != 0 && clock_boot_ms() - refused_ms > work->worker->lease_ms))
            return -1;
        worker_wait(work->worker, clock_jitter(wait));
        if (wait < RETRY_MOST_MS)
            wait *= 2;
    }
}

static enum work_end lost(struct work *work)
{
    work_say(work, "lost", NULL, true);
    return WORK_GONE;
}

static enum work_end fail(struct work *work, const bson_error_t *why)
{
    bson_error_t error;
    bson_t details = BSON_INITIALIZER;
    struct end end = {.kind = END_FAIL, .message = why->message, .output = worker_output(work->worker)};
    int result = end_task(work, &end, &error);
    if (result > 0 && BSON_APPEND_UTF8(&details, "error", why->message) &&
        BSON_APPEND_DOUBLE(&details, "seconds", clock_seconds() - work->started))
        work_say(work, "failed", &details, true);
    bson_destroy(&details);
    return result > 0 ? WORK_FAILED : lost(work);
}

static void say_done(struct work *work, const char *state, const bson_t *metrics)
{
    bson_t details = BSON_INITIALIZER;
    if (BSON_APPEND_UTF8(&details, "state", state) && (!metrics || BSON_APPEND_DOCUMENT(&details, "metrics", metrics)) &&
        BSON_APPEND_DOUBLE(&details, "seconds", clock_seconds() - work->started))
        work_say(work, "done", &details, true);
    bson_destroy(&details);
}

static enum work_end commit(struct work *work, struct work_result *result)
{
    bson_error_t error = {0};
    struct end end = {.kind = END_FINISH,
                      .finish = {.state = result->stopped ? "stopped" : "done",
                                 .metrics = &result->metrics,
                                 .weights = result->weights,
                                 .weights_length = result->weights_length,
                                 .model = result->weights ? &result->model : NULL,
                                 .dataset = bson_empty(&result->dataset) ? NULL : &result->dataset,
                                 .reason = result->stopped && *result->reason ? result->reason : NULL,
                                 .logs_before = bson_empty(&result->logs_before) ? NULL : &result->logs_before},
                      .output = worker_output(work->worker)};
    int done = end_task(work, &end, &error);
    if (done < 0 && !work_is_transient(&error))
        return fail(work, &error);
    if (done <= 0)
        return lost(work);
    say_done(work, end.finish.state, &result->metrics);
    return WORK_DONE;
}

/* The end of a task that was told to stop before it was through. */
static enum work_end leave(struct work *work, const struct work_result *result, enum work_stop stop)
{
    bson_error_t error;
    struct end end = {.kind = stop == WORK_CANCEL ? END_CANCEL : stop == WORK_PAUSE ? END_PAUSE : END_RELEASE};
    if (stop == WORK_PARK)
        end = (struct end){.kind = END_PARK, .rungs = &result->rungs};
    if (stop == WORK_LOST || end_task(work, &end, &error) <= 0)
        return lost(work);
    if (end.kind == END_RELEASE) {
        work_say(work, "released", NULL, true);
        return WORK_RELEASED;
    }
    say_done(work, end.kind == END_CANCEL ? "cancelled" : end.kind == END_PARK ? "parked" : "paused", NULL);
    return WORK_DONE;
}

static enum work_end run_recipe(struct work *work, work_recipe *recipe)
{
    for (;;) {
        struct work_result result = {.weights = NULL};
        enum work_stop stop = WORK_GO_ON;
        enum work_end end = WORK_GONE;
        bson_error_t error = {0};
        bson_init(&result.metrics);
        bson_init(&result.model);
        bson_init(&result.dataset);
        bson_init(&result.logs_before);
        bson_init(&result.rungs);
        int done = task_show_kept(work->worker->hub, work->task, &error); /* of an earlier claim, before there is another */
        done = done < 0 ? -1 : recipe(work, &result, &stop, &error);
        /* Only what is read at the start can end in this: then there is nothing to lose yet. */
        bool again = done < 0 && work_is_transient(&error);
        if (again) {
            note(work, "reading what the task needs", &error);
            worker_wait(work->worker, clock_jitter(RETRY_MS * 8));
            stop = work_stopping(work);
            again = stop == WORK_GO_ON;
            done = again ? done : 0;
        }
        if (!again)
            end = done > 0 ? commit(work, &result) : done == 0 ? leave(work, &result, stop) : fail(work, &error);
        bson_destroy(&result.metrics);
        bson_destroy(&result.model);
        bson_destroy(&result.dataset);
        bson_destroy(&result.logs_before);
        bson_destroy(&result.rungs);
        free(result.weights);
        if (!again)
            return end;
    }
}

enum work_end work_run(struct worker *worker, const bson_t *task, const struct task_fence *fence, int64_t claimed_ms)
{
    const char *kind = document_string(task, "kind"), *every = document_string(task, "log_every");
    int64_t log_every = 0;
    struct work work = {.worker = worker, .task = task, .fence = fence, .run = 1, .kind = kind ? kind : "",
                        .started = clock_seconds()};
    work_recipe *recipe = NULL;
    enum work_end end = WORK_GONE;
    bson_error_t error = {0};

    work.last_message = work.started;
    document_integer(task, "run", &work.run);
    if (work.run < 1 || work.run > INT32_MAX)
        work.run = 1;
    bool by_batch = !every && document_integer(task, "log_every", &log_every) && log_every > 0;
    work.logs = logs_new(fence, (int32_t)work.run, by_batch ? "batch" : "epoch");
    heartbeat_spool_in(worker->heartbeat, worker->spool);
    heartbeat_watch(worker->heartbeat, fence, work.logs, claimed_ms);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].name, work.kind))
            recipe = kinds[i].recipe;
    if (!work.logs)
        hub_error(&error, HUB_ERROR_MEMORY, "no memory for the task's logs");
    else if (!recipe)
        hub_error(&error, HUB_ERROR_INVALID, "kind: this runner cannot do \"%s\"; it can train, validate, test and infer",
                  work.kind);
    end = work.logs && recipe ? run_recipe(&work, recipe) : fail(&work, &error);
    heartbeat_leave(worker->heartbeat);
    logs_free(work.logs);
    return end;
}
