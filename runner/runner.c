/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor: one poll loop over the workers' sockets, their output, signals and the keeper's news. It never talks
 * to the hub itself once the workers run. */
#include "runner/runner.h"
#include "runner/clock.h"
#include "runner/document.h"
#include "runner/keeper.h"
#include "runner/machine.h"
#include "runner/message.h"
#include "runner/pool.h"
#include "runner/serving.h"
#include "runner/turns.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TICK_MS = 100,
    STOP_MS = 20000,       /* from the first signal to SIGKILL; the hub has 8 s more */
    STOP_FAST_MS = 4000,   /* from the second */
    KEEPER_MS = 8000,
    RESTART_MS = 100,
    RESTART_MOST_MS = 30000,
    EARLY_DEATHS = 5,      /* in a row, before a worker is given up */
    WORKERS_MOST = 1024
};

struct runner {
    const struct runner_options *options;
    const char *program;
    void (*event)(enum runner_event_kind kind, const bson_t *details, void *data);
    void *data;
    struct runner_summary *summary;
    struct pool_worker *workers;
    int count;
    int threads;
    bson_t configuration;   /* but for the sources */
    struct task_source *sources;
    size_t source_count;
    uint32_t number;        /* of this list of sources */
    bool worked;            /* since the keeper was asked last: there was work where there had been none */
    const char *store_library; /* of the record; "" where it is not known */
    char device_gemm[200], libraries[300]; /* what a worker told of its device */
    struct keeper *keeper;
    int signals;
    int64_t claimed, granted; /* with max_tasks */
    bool leaving;             /* no new claims; workers are not started again */
    int stops;                /* SIGTERM and SIGINT so far */
    int64_t kill_ms;
    bool failed;
    bson_error_t why;
};

static const struct {
    const char *say;
    enum runner_event_kind kind;
} events[] = {{"claimed", RUNNER_EVENT_CLAIMED},   {"epoch", RUNNER_EVENT_EPOCH}, {"progress", RUNNER_EVENT_PROGRESS},
              {"done", RUNNER_EVENT_DONE},         {"failed", RUNNER_EVENT_FAILED}, {"released", RUNNER_EVENT_RELEASED},
              {"lost", RUNNER_EVENT_LOST},         {"note", RUNNER_EVENT_NOTE}};

/* ---- what the caller hears ---- */

static void emit(struct runner *runner, enum runner_event_kind kind, const bson_t *details, int worker)
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

static void emit_text(struct runner *runner, enum runner_event_kind kind, const bson_t *details, const char *key,
                      const char *text, int worker)
{
    bson_t copy = BSON_INITIALIZER;
    if (details)
        bson_concat(&copy, details);
    BSON_APPEND_UTF8(&copy, key, text);
    emit(runner, kind, &copy, worker);
    bson_destroy(&copy);
}

/* ---- telling workers ---- */

static void leave(struct runner *runner)
{
    runner->leaving = true;
    for (int i = 0; i < runner->count; i++) {
        struct pool_worker *worker = &runner->workers[i];
        if (worker->pid && !worker->told_to_leave) {
            worker->told_to_leave = true;
            message_say(worker->socket, "leave");
        }
    }
}

static void wake(struct runner *runner, struct pool_worker *worker, size_t source)
{
    bson_t message = BSON_INITIALIZER;
    worker->empty[source] = false;
    if (BSON_APPEND_UTF8(&message, "say", "poll") && BSON_APPEND_INT64(&message, "list", runner->number) &&
        BSON_APPEND_INT64(&message, "source", (int64_t)source))
        message_send(worker->socket, &message, true);
    bson_destroy(&message);
}

/* The source has work again: those who are busy may come by, and one who is idle tries it now. When it claims, the next
 * one is woken: so a single task wakes one worker and not all. */
static void wake_for(struct runner *runner, size_t source)
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

static void send_sources(struct runner *runner, struct pool_worker *worker)
{
    bson_t message = BSON_INITIALIZER;
    if (BSON_APPEND_UTF8(&message, "say", "sources") &&
        turns_append(&message, runner->sources, runner->source_count, runner->number))
        message_send(worker->socket, &message, true);
    bson_destroy(&message);
}

/* A claim each for those who want one, as far as max_tasks allows; the rest wait for what becomes of those granted. */
static void grant(struct runner *runner)
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
        leave(runner);
}

/* Tells the keeper whether all workers have nothing to do, and what the runner record should say. */
static void ask(struct runner *runner)
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

static void report(struct runner *runner)
{
    bson_t changes = BSON_INITIALIZER, tasks;
    ask(runner);
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
        wake_for(runner, (size_t)source); /* perhaps there is more of it */
    runner->worked = runner->worked || document_bool(message, "woken", false);
    worker->idle = false;
    runner->claimed++;
    if (worker->granted)
        runner->granted--;
    worker->granted = false;
    if (runner->options->max_tasks > 0)
        grant(runner);
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
    leave(runner);
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
        grant(runner);
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
            emit(runner, events[i].kind, message, worker->index);
        }
    }
    if (strcmp(say, "progress"))
        report(runner);
}

static void take_all(struct runner *runner, struct pool_worker *worker)
{
    bson_t message;
    int result;
    do {
        result = worker->socket >= 0 ? message_receive(worker->socket, 0, &message) : (bson_init(&message), 0);
        if (result > 0)
            take(runner, worker, &message);
        bson_destroy(&message);
    } while (result > 0);
    if (result < 0 && worker->socket >= 0) { /* closed: the process is about to end */
        close(worker->socket);
        worker->socket = -1;
    }
}

/* ---- starting and burying ---- */

static void describe_death(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "the worker was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "the worker ended with status %d in the middle of the task", WEXITSTATUS(status));
}

static void bury_task(struct runner *runner, struct pool_worker *worker, int status)
{
    char text[256];
    if (runner->stops > 0) { /* told to leave, it did not in time: the task is not to blame */
        keeper_release(runner->keeper, &worker->fence);
        runner->summary->released++;
        emit(runner, RUNNER_EVENT_RELEASED, &worker->task, worker->index);
        return;
    }
    describe_death(status, text, sizeof text);
    keeper_crash(runner->keeper, &worker->fence, text, pool_worker_text(worker));
    runner->summary->crashed++;
    bson_t details = BSON_INITIALIZER;
    bson_concat(&details, &worker->task);
    if (WIFSIGNALED(status))
        BSON_APPEND_INT32(&details, "signal", WTERMSIG(status));
    else
        BSON_APPEND_INT32(&details, "status", WEXITSTATUS(status));
    emit_text(runner, RUNNER_EVENT_CRASHED, &details, "error", text, worker->index);
    bson_destroy(&details);
}

static void give_up(struct runner *runner, struct pool_worker *worker, int status)
{
    char death[256];
    bool all = true;
    describe_death(status, death, sizeof death);
    worker->given_up = true;
    const char *text = pool_worker_text(worker);
    if (!runner->failed)
        hub_error(&runner->why, HUB_ERROR_INTERNAL, "workers end as soon as they start: %s%s%.200s", death,
                  *text ? ": " : "", text);
    for (int i = 0; i < runner->count; i++)
        all = all && runner->workers[i].given_up;
    runner->failed = runner->failed || all;
    emit_text(runner, RUNNER_EVENT_NOTE, NULL, "message", runner->why.message, worker->index);
}

static void bury(struct runner *runner, struct pool_worker *worker, int status)
{
    bool was_ready = worker->ready;
    char text[256];
    take_all(runner, worker);
    pool_worker_read_output(worker);
    was_ready = was_ready || worker->ready;
    if (worker->granted) /* it may have claimed and not told: count it, so that never too many are claimed */
        runner->claimed++, runner->granted--;
    if (worker->busy)
        bury_task(runner, worker, status);
    if (status != 0) { /* it may have claimed and not told */
        describe_death(status, text, sizeof text);
        keeper_bury(runner->keeper, worker->id, runner->stops > 0 ? NULL : text, pool_worker_text(worker));
    }
    pool_worker_gone(worker);
    memset(worker->empty, 0, runner->source_count);
    if (!runner->leaving && !worker->given_up) {
        worker->early_deaths = was_ready ? 0 : worker->early_deaths + 1;
        if (worker->early_deaths >= EARLY_DEATHS) {
            give_up(runner, worker, status);
        } else {
            int64_t wait = RESTART_MS;
            for (int i = 0; i < worker->failures && wait < RESTART_MOST_MS; i++)
                wait *= 2;
            worker->failures++;
            worker->start_ms = clock_boot_ms() + (wait < RESTART_MOST_MS ? wait : RESTART_MOST_MS);
        }
    }
    if (runner->options->max_tasks > 0)
        grant(runner);
    report(runner);
}

static void reap(struct runner *runner)
{
    for (int i = 0; i < runner->count; i++) {
        struct pool_worker *worker = &runner->workers[i];
        int status = 0;
        if (worker->pid && waitpid(worker->pid, &status, WNOHANG) == worker->pid)
            bury(runner, worker, status);
    }
}

static void start_due(struct runner *runner)
{
    int64_t now = clock_boot_ms();
    for (int i = 0; i < runner->count && !runner->leaving; i++) {
        struct pool_worker *worker = &runner->workers[i];
        if (worker->pid || worker->given_up || worker->start_ms > now)
            continue;
        bson_t configuration;
        bson_copy_to(&runner->configuration, &configuration);
        turns_append(&configuration, runner->sources, runner->source_count, runner->number);
        int started = pool_worker_start(worker, runner->program, &configuration, runner->threads, &runner->why);
        bson_destroy(&configuration);
        if (started < 0) {
            runner->failed = true;
            leave(runner);
        }
    }
}

/* ---- signals and news ---- */

static void tell_to_stop(struct runner *runner)
{
    runner->leaving = true;
    runner->stops++;
    int64_t until = clock_boot_ms() + (runner->stops == 1 ? STOP_MS : runner->stops == 2 ? STOP_FAST_MS : 0);
    if (runner->kill_ms == 0 || until < runner->kill_ms)
        runner->kill_ms = until;
    for (int i = 0; i < runner->count; i++)
        if (runner->workers[i].pid)
            kill(runner->workers[i].pid, SIGTERM);
    report(runner);
}

static void take_signals(struct runner *runner)
{
    struct signalfd_siginfo info;
    while (read(runner->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            tell_to_stop(runner);
        else if (info.ssi_signo == SIGUSR1)
            leave(runner);
    }
    reap(runner);
}

/* Other sources: each worker looks at all of them anew. */
static void take_sources(struct runner *runner, struct keeper_news *news)
{
    bson_free(runner->sources);
    runner->sources = news->sources;
    runner->source_count = news->count;
    runner->number = news->number;
    news->sources = NULL;
    for (int i = 0; i < runner->count; i++) {
        struct pool_worker *worker = &runner->workers[i];
        bson_free(worker->empty);
        worker->empty = bson_malloc0(runner->source_count + 1);
        worker->idle = false;
        if (worker->pid)
            send_sources(runner, worker);
    }
    ask(runner);
}

static void take_news(struct runner *runner)
{
    struct keeper_news news;
    keeper_take(runner->keeper, &news);
    if (news.note[0])
        emit_text(runner, RUNNER_EVENT_NOTE, NULL, "message", news.note, -1);
    if (news.sources)
        take_sources(runner, &news);
    if (news.ready && news.number == runner->number) {
        for (size_t i = 0; i < runner->source_count; i++)
            if (news.ready[i])
                wake_for(runner, i);
        ask(runner);
    }
    if (news.empty && runner->options->until_empty)
        leave(runner);
    bson_free(news.ready);
    bson_free(news.sources);
}

static void kill_late(struct runner *runner)
{
    if (runner->kill_ms == 0 || clock_boot_ms() < runner->kill_ms)
        return;
    for (int i = 0; i < runner->count; i++)
        if (runner->workers[i].pid)
            kill(runner->workers[i].pid, SIGKILL);
}

/* ---- the loop ---- */

static bool anyone_left(const struct runner *runner)
{
    bool left = false;
    for (int i = 0; i < runner->count; i++)
        left = left || runner->workers[i].pid || (!runner->leaving && !runner->workers[i].given_up);
    return left;
}

static int supervise(struct runner *runner, void (*tick)(void *data), bson_error_t *error)
{
    size_t most = 2 + 2 * (size_t)runner->count;
    struct pollfd *ready = calloc(most, sizeof *ready);
    int64_t next_tick = 0;
    if (!ready)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the runner");
    for (start_due(runner); anyone_left(runner); start_due(runner)) {
        ready[0] = (struct pollfd){.fd = runner->signals, .events = POLLIN};
        ready[1] = (struct pollfd){.fd = keeper_fd(runner->keeper), .events = POLLIN};
        for (int i = 0; i < runner->count; i++) {
            ready[2 + 2 * i] = (struct pollfd){.fd = runner->workers[i].socket, .events = POLLIN};
            ready[3 + 2 * i] = (struct pollfd){.fd = runner->workers[i].output, .events = POLLIN};
        }
        if (poll(ready, most, TICK_MS) < 0 && errno != EINTR) {
            free(ready);
            return hub_error(error, HUB_ERROR_INTERNAL, "poll: %s", strerror(errno));
        }
        for (int i = 0; i < runner->count; i++) {
            if (ready[3 + 2 * i].revents)
                pool_worker_read_output(&runner->workers[i]);
            if (ready[2 + 2 * i].revents)
                take_all(runner, &runner->workers[i]);
        }
        if (ready[1].revents)
            take_news(runner);
        if (ready[0].revents)
            take_signals(runner);
        kill_late(runner);
        if (tick && clock_boot_ms() >= next_tick) {
            tick(runner->data);
            next_tick = clock_boot_ms() + TICK_MS;
        }
    }
    free(ready);
    return 1;
}

static bool configure(struct runner *runner, const char *id, int64_t lease_ms)
{
    const struct runner_options *options = runner->options;
    bson_t *to = &runner->configuration;
    int64_t cache = machine_memory_bytes() / (2 * runner->count);
    return BSON_APPEND_UTF8(to, "uri", options->uri) &&
           BSON_APPEND_UTF8(to, "project", runner->sources[0].project) &&
           (!options->task_name || BSON_APPEND_UTF8(to, "task_name", options->task_name)) &&
           BSON_APPEND_UTF8(to, "device", options->device ? options->device : "cpu") &&
           BSON_APPEND_INT32(to, "threads", runner->threads) && BSON_APPEND_INT64(to, "lease_ms", lease_ms) &&
           BSON_APPEND_INT64(to, "cache_bytes", cache > 0 ? cache : INT64_C(1) << 30) &&
           (!options->spool || BSON_APPEND_UTF8(to, "spool", options->spool)) &&
           BSON_APPEND_UTF8(to, "runner", id) && BSON_APPEND_INT64(to, "supervisor", getpid()) &&
           BSON_APPEND_BOOL(to, "limited", options->max_tasks > 0);
}

static void take_serving(struct runner *runner, struct serving *serving)
{
    runner->sources = serving->sources;
    runner->source_count = serving->source_count;
    serving->sources = NULL;
    for (int i = 0; i < runner->count; i++)
        runner->workers[i].empty = bson_malloc0(runner->source_count + 1);
}

int runner_run(const struct runner_options *options,
               void (*event)(enum runner_event_kind kind, const bson_t *details, void *data),
               void (*tick)(void *data), void *data, struct runner_summary *summary, bson_error_t *error)
{
    struct runner_summary unused;
    struct runner runner = {.options = options,
                            .program = options->program ? options->program : "/proc/self/exe",
                            .event = event,
                            .data = data,
                            .summary = summary ? summary : &unused,
                            .count = options->workers > 0 ? options->workers : machine_cores(),
                            .threads = options->threads > 0 ? options->threads : 1,
                            .signals = -1};
    int64_t lease_ms = options->lease_ms > 0 ? options->lease_ms : TASK_LEASE_MS;
    struct sigaction normal = {.sa_handler = SIG_DFL}, child_before;
    sigset_t watched, before;
    bson_t record = BSON_INITIALIZER;
    struct serving serving = {.sources = NULL};
    double started = clock_seconds();
    int result = -1;

    memset(runner.summary, 0, sizeof *runner.summary);
    if (runner.count > WORKERS_MOST)
        return hub_error(error, HUB_ERROR_INVALID, "workers: %d is not in [1, %d]", runner.count, WORKERS_MOST);
    const char *project = options->projects && options->projects[0] ? options->projects[0] : options->project;
    struct hub *hub = hub_open(options->uri, project, HUB_OPEN_EXISTING, error);
    if (!hub)
        return -1;
    bson_init(&runner.configuration);
    sigemptyset(&watched);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGUSR1);
    sigaddset(&watched, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &watched, &before);
    sigaction(SIGCHLD, &normal, &child_before); /* ignored, children would vanish before they can be waited for */
    runner.signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    runner.workers = aligned_alloc(_Alignof(struct pool_worker), (size_t)runner.count * sizeof *runner.workers);
    if (runner.signals < 0 || !runner.workers) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the runner");
        runner.count = 0;
        goto out;
    }
    for (int i = 0; i < runner.count; i++)
        pool_worker_init(&runner.workers[i], i);
    if (serving_init(&serving, options, hub, error))
        goto out;
    bson_destroy(&record);
    if (serving_save_record(&serving, options, runner.count, hub, &record, error))
        goto out;
    take_serving(&runner, &serving);
    runner.store_library = document_string(&record, "libraries");
    if (!runner.store_library)
        runner.store_library = "";
    if (!configure(&runner, document_string(&record, "_id"), lease_ms)) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the runner");
        goto out;
    }
    runner.keeper = keeper_new(hub,
                               &(struct keeper_options){.record = &record,
                                                        .serves = &serving.serves,
                                                        .sources = runner.sources,
                                                        .source_count = runner.source_count,
                                                        .lease_ms = lease_ms},
                               error);
    hub = NULL;
    if (!runner.keeper)
        goto out;
    result = supervise(&runner, tick, error);
    if (result > 0 && runner.failed) {
        if (error)
            *error = runner.why;
        result = -1;
    }
out:
    for (int i = 0; i < runner.count; i++) /* only after an error of the loop itself */
        if (runner.workers[i].pid && kill(runner.workers[i].pid, SIGKILL) == 0)
            waitpid(runner.workers[i].pid, NULL, 0);
    keeper_free(runner.keeper, KEEPER_MS);
    hub_close(hub);
    for (int i = 0; i < runner.count; i++)
        pool_worker_destroy(&runner.workers[i]);
    free(runner.workers);
    bson_destroy(&runner.configuration);
    bson_destroy(&record);
    bson_free(runner.sources);
    serving_destroy(&serving);
    if (runner.signals >= 0)
        close(runner.signals);
    sigaction(SIGCHLD, &child_before, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    runner.summary->seconds = clock_seconds() - started;
    return result;
}
