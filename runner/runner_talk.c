/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor and its workers tell each other, and what comes of it. */
#include "runner/document.h"
#include "runner/message.h"
#include "runner/runner_impl.h"
#include "runner/turns.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *say;
    enum runner_event_kind kind;
} events[] = {{"claimed", RUNNER_EVENT_CLAIMED},   {"epoch", RUNNER_EVENT_EPOCH}, {"progress", RUNNER_EVENT_PROGRESS},
              {"done", RUNNER_EVENT_DONE},         {"failed", RUNNER_EVENT_FAILED}, {"released", RUNNER_EVENT_RELEASED},
              {"lost", RUNNER_EVENT_LOST},         {"note", RUNNER_EVENT_NOTE}};

/* ---- what the caller hears ---- */

void runner_emit(struct runner *runner, enum runner_event_kind kind, const bson_t *details, int worker)
{
    bson_t copy = BSON_INITIALIZER;
    bson_iter_t at;
    if (!runner->event)
        return;
    if (details && bson_iter_init(&at, details))
        while (bson_iter_next(&at))
            if (strcmp(bson_iter_key(&at), "say") && strcmp(bson_iter_key(&at), "worker"))
                bson_append_iter(&copy, NULL, 0, &at);
    if (worker >= 0)
        BSON_APPEND_INT32(&copy, "worker", worker);
    runner->event(kind, &copy, runner->data);
    bson_destroy(&copy);
}

void runner_emit_text(struct runner *runner, enum runner_event_kind kind, const bson_t *details, const char *key,
                      const char *text, int worker)
{
    bson_t copy = BSON_INITIALIZER;
    if (details)
        bson_concat(&copy, details);
    BSON_APPEND_UTF8(&copy, key, text);
    runner_emit(runner, kind, &copy, worker);
    bson_destroy(&copy);
}

/* ---- telling workers ---- */

/* The supervisor never waits for a worker that does not read (it trains): 0 where its socket is full. */
static int say_now(const struct pool_worker *worker, const char *word)
{
    bson_t message = BSON_INITIALIZER;
    int sent = BSON_APPEND_UTF8(&message, "say", word) ? message_send(worker->socket, &message, false) : -1;
    bson_destroy(&message);
    return sent;
}

void runner_leave(struct runner *runner)
{
    runner->leaving = true;
    for (int i = 0; i < runner->count; i++) {
        struct pool_worker *worker = &runner->workers[i];
        if (worker->pid && !worker->told_to_leave)
            worker->told_to_leave = say_now(worker, "leave") != 0;
    }
}

static void wake(struct runner *runner, struct pool_worker *worker, size_t source)
{
    bson_t message = BSON_INITIALIZER;
    if (BSON_APPEND_UTF8(&message, "say", "poll") && BSON_APPEND_INT64(&message, "list", runner->number) &&
        BSON_APPEND_INT64(&message, "source", (int64_t)source) && message_send(worker->socket, &message, false) != 0)
        worker->empty[source] = false; /* else it is told at the next look */
    bson_destroy(&message);
}

/* The source has work again: those who are busy may come by, and one who is idle tries it now. When it claims, the next
 * one is woken: so a single task wakes one worker and not all. */
void runner_wake_for(struct runner *runner, size_t source)
{
    bool woken = false;
    for (int i = 0; i < runner->count; i++) {
        struct pool_worker *worker = &runner->workers[i];
        if (!worker->pid || !worker->empty || !worker->empty[source] || (worker->idle && woken))
            continue;
        woken = woken || worker->idle;
        worker->idle = false;
        wake(runner, worker, source);
    }
}

void runner_send_sources(struct runner *runner, struct pool_worker *worker)
{
    bson_t message = BSON_INITIALIZER;
    if (BSON_APPEND_UTF8(&message, "say", "sources") &&
        turns_append(&message, runner->sources, runner->source_count, runner->number))
        worker->behind = message_send(worker->socket, &message, false) == 0;
    bson_destroy(&message);
}

/* A claim each for those who want one, as far as max_tasks allows; the rest wait for what becomes of those granted. */
void runner_grant(struct runner *runner)
{
    for (int i = 0; i < runner->count; i++) {
        struct pool_worker *worker = &runner->workers[i];
        if (!worker->pid || !worker->wants || runner->claimed + runner->granted >= runner->options->max_tasks)
            continue;
        worker->wants = false;
        worker->granted = true;
        runner->granted++;
        message_say(worker->socket, "grant");
    }
    if (runner->claimed >= runner->options->max_tasks)
        runner_leave(runner);
}

/* Tells the keeper whether all workers have nothing to do, and what the runner record should say. */
void runner_ask(struct runner *runner)
{
    struct keeper_question question = {.number = runner->number, .until_empty = runner->options->until_empty,
                                       .all_idle = true, .work = runner->worked};
    bool *asked = bson_malloc0(runner->source_count + 1);
    int running = 0;
    for (int i = 0; i < runner->count; i++) {
        const struct pool_worker *worker = &runner->workers[i];
        if (worker->given_up)
            continue;
        question.any_idle = question.any_idle || (worker->pid && worker->idle);
        question.all_idle = question.all_idle && worker->pid && (worker->idle || worker->wants);
        for (size_t j = 0; worker->pid && worker->empty && j < runner->source_count; j++)
            asked[j] = asked[j] || worker->empty[j];
        running++;
    }
    if (runner->leaving || running == 0) {
        memset(asked, 0, runner->source_count);
        question.all_idle = question.any_idle = false;
    }
    question.asked = asked;
    runner->worked = false;
    keeper_ask(runner->keeper, &question, runner->source_count);
    bson_free(asked);
}

void runner_report(struct runner *runner)
{
    bson_t changes = BSON_INITIALIZER, tasks;
    runner_ask(runner);
    if (*runner->device_gemm)
        BSON_APPEND_UTF8(&changes, "gemm", runner->device_gemm);
    if (*runner->libraries)
        BSON_APPEND_UTF8(&changes, "libraries", runner->libraries);
    BSON_APPEND_UTF8(&changes, "state", runner->leaving ? "draining" : "running");
    BSON_APPEND_INT64(&changes, "tasks_done", runner->summary->done);
    BSON_APPEND_INT64(&changes, "tasks_failed", runner->summary->failed);
    BSON_APPEND_ARRAY_BEGIN(&changes, "tasks", &tasks);
    for (int i = 0, n = 0; i < runner->count; i++)
        if (runner->workers[i].busy) {
            char key[16];
            snprintf(key, sizeof key, "%d", n++);
            BSON_APPEND_UTF8(&tasks, key, runner->workers[i].fence.task_id);
        }
    bson_append_array_end(&changes, &tasks);
    keeper_changes(runner->keeper, &changes);
    bson_destroy(&changes);
}

/* ---- what workers say ---- */

/* The source that a message speaks of, or -1: of another list than the one that is. */
static int source_of(const struct runner *runner, const bson_t *message)
{
    int64_t number = -1, source = -1;
    document_integer(message, "list", &number);
    document_integer(message, "source", &source);
    return number == runner->number && source >= 0 && source < (int64_t)runner->source_count ? (int)source : -1;
}

static void take_empty(struct runner *runner, struct pool_worker *worker, const bson_t *message)
{
    int source = source_of(runner, message);
    if (source < 0) /* it has not heard of the new list yet; then it says so again */
        return;
    worker->empty[source] = true;
    bool idle = document_bool(message, "idle", false);
    runner->worked = runner->worked || (idle && worker->worked);
    worker->worked = worker->worked && !idle;
    worker->idle = idle;
}

static void take_device(struct runner *runner, const bson_t *message)
{
    const char *gemm = document_string(message, "gemm"), *library = document_string(message, "library");
    snprintf(runner->device_gemm, sizeof runner->device_gemm, "%s", gemm ? gemm : "");
    if (library)
        snprintf(runner->libraries, sizeof runner->libraries, "%s%s%s", runner->store_library,
                 *runner->store_library ? ", " : "", library);
}

static void take_claimed(struct runner *runner, struct pool_worker *worker, const bson_t *message)
{
    const char *task = document_string(message, "task"), *project = document_string(message, "project"),
               *claim = document_string(message, "claim");
    int64_t lane = 0;
    pool_worker_read_output(worker);
    worker->text_length = 0; /* what comes from here on is this task's */
    memset(&worker->fence, 0, sizeof worker->fence);
    document_integer(message, "lane", &lane);
    snprintf(worker->fence.task_id, sizeof worker->fence.task_id, "%s", task ? task : "");
    snprintf(worker->fence.project, sizeof worker->fence.project, "%s", project ? project : "");
    snprintf(worker->fence.claim_id, sizeof worker->fence.claim_id, "%s", claim ? claim : "");
    worker->fence.lane = (int32_t)lane;
    worker->busy = true;
    worker->wants = false;
    bson_reinit(&worker->task);
    bson_copy_to_excluding_noinit(message, &worker->task, "say", "project", "lane", "claim", "list", "source", "woken",
                                  (char *)NULL);
    int source = source_of(runner, message);
    if (source >= 0)
        runner_wake_for(runner, (size_t)source); /* perhaps there is more of it */
    runner->worked = runner->worked || document_bool(message, "woken", false);
    worker->idle = false;
    runner->claimed++;
    if (worker->granted)
        runner->granted--;
    worker->granted = false;
    if (runner->options->max_tasks > 0)
        runner_grant(runner);
}

static void take_end(struct runner *runner, struct pool_worker *worker, const char *say, const bson_t *message)
{
    const char *state = document_string(message, "state");
    worker->busy = false;
    worker->worked = true;
    worker->failures = 0;
    if (!strcmp(say, "failed"))
        runner->summary->failed++;
    else if (!strcmp(say, "released"))
        runner->summary->released++;
    else if (!strcmp(say, "lost"))
        runner->summary->lost++;
    else if (state && (!strcmp(state, "done") || !strcmp(state, "stopped")))
        runner->summary->done++;
    else if (state && !strcmp(state, "parked"))
        runner->summary->parked++;
    else
        runner->summary->put_aside++;
    keeper_ended(runner->keeper);
}

static void take_fatal(struct runner *runner, struct pool_worker *worker, const bson_t *message)
{
    const char *text = document_string(message, "error");
    int64_t code = HUB_ERROR_INTERNAL;
    document_integer(message, "code", &code);
    worker->given_up = true;
    if (!runner->failed)
        hub_error(&runner->why, (enum hub_error_code)code, "%s", text ? text : "a worker ended");
    runner->failed = true;
    runner_leave(runner);
}

static void send_output(struct pool_worker *worker)
{
    bson_t message = BSON_INITIALIZER;
    pool_worker_read_output(worker);
    if (BSON_APPEND_UTF8(&message, "say", "output") && BSON_APPEND_UTF8(&message, "text", pool_worker_text(worker)))
        message_send(worker->socket, &message, false);
    bson_destroy(&message);
}

static void take(struct runner *runner, struct pool_worker *worker, const bson_t *message)
{
    const char *say = document_string(message, "say");
    if (!say)
        return;
    if (!strcmp(say, "ready")) {
        worker->ready = true;
        worker->early_deaths = 0;
    } else if (!strcmp(say, "want")) {
        worker->wants = true;
        runner_grant(runner);
    } else if (!strcmp(say, "empty")) {
        take_empty(runner, worker, message);
    } else if (!strcmp(say, "device")) {
        take_device(runner, message);
    } else if (!strcmp(say, "output")) {
        send_output(worker);
        return;
    } else if (!strcmp(say, "fatal")) {
        take_fatal(runner, worker, message);
    } else {
        for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
            if (strcmp(say, events[i].say))
                continue;
            if (events[i].kind == RUNNER_EVENT_CLAIMED)
                take_claimed(runner, worker, message);
            else if (events[i].kind != RUNNER_EVENT_EPOCH && events[i].kind != RUNNER_EVENT_PROGRESS &&
                     events[i].kind != RUNNER_EVENT_NOTE)
                take_end(runner, worker, say, message);
            runner_emit(runner, events[i].kind, message, worker->index);
        }
    }
    if (strcmp(say, "progress"))
        runner_report(runner);
}

void runner_take_all(struct runner *runner, struct pool_worker *worker)
{
    bson_t message;
    int result;
    do {
        result = worker->socket >= 0 ? message_receive(worker->socket, 0, &message) : (bson_init(&message), 0);
        if (result > 0)
            take(runner, worker, &message);
        bson_destroy(&message);
    } while (result > 0);
    if (worker->behind && worker->socket >= 0)
        runner_send_sources(runner, worker);
    if (result < 0 && worker->socket >= 0) { /* closed: the process is about to end */
        close(worker->socket);
        worker->socket = -1;
    }
}
