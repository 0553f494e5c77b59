/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor: one poll loop over the workers' sockets, their output, signals and the keeper's news. It never talks
 * to the hub itself once the workers run. */
#include "runner/clock.h"
#include "runner/document.h"
#include "runner/machine.h"
#include "runner/message.h"
#include "runner/runner_impl.h"
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
        runner_emit(runner, RUNNER_EVENT_RELEASED, &worker->task, worker->index);
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
    runner_emit_text(runner, RUNNER_EVENT_CRASHED, &details, "error", text, worker->index);
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
    runner_emit_text(runner, RUNNER_EVENT_NOTE, NULL, "message", runner->why.message, worker->index);
}

static void bury(struct runner *runner, struct pool_worker *worker, int status)
{
    bool was_ready = worker->ready;
    char text[256];
    runner_take_all(runner, worker);
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
        runner_grant(runner);
    runner_report(runner);
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
            runner_leave(runner);
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
    runner_report(runner);
}

static void take_signals(struct runner *runner)
{
    struct signalfd_siginfo info;
    while (read(runner->signals, &info, sizeof info) == sizeof info) {
        runner->summary->told = runner->summary->told || info.ssi_signo != SIGCHLD;
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            tell_to_stop(runner);
        else if (info.ssi_signo == SIGUSR1)
            runner_leave(runner);
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
            runner_send_sources(runner, worker);
    }
    runner_ask(runner);
}

static void take_news(struct runner *runner)
{
    struct keeper_news news;
    keeper_take(runner->keeper, &news);
    if (news.note[0])
        runner_emit_text(runner, RUNNER_EVENT_NOTE, NULL, "message", news.note, -1);
    if (news.sources)
        take_sources(runner, &news);
    if (news.ready && news.number == runner->number) {
        for (size_t i = 0; i < runner->source_count; i++)
            if (news.ready[i])
                runner_wake_for(runner, i);
        runner_ask(runner);
    }
    if (news.empty && runner->options->until_empty)
        runner_leave(runner);
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
                runner_take_all(runner, &runner->workers[i]);
        }
        if (ready[1].revents)
            take_news(runner);
        if (ready[0].revents)
            take_signals(runner);
        if (runner->leaving)
            runner_leave(runner); /* those who could not be told before */
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
    if (runner->memory > 0 && cache > runner->memory)
        cache = runner->memory;
    return BSON_APPEND_UTF8(to, "uri", options->uri) &&
           BSON_APPEND_UTF8(to, "project", runner->sources[0].project) &&
           (!options->task_name || BSON_APPEND_UTF8(to, "task_name", options->task_name)) &&
           BSON_APPEND_UTF8(to, "device", options->device ? options->device : "cpu") &&
           BSON_APPEND_INT32(to, "threads", runner->threads) && BSON_APPEND_INT32(to, "workers", runner->count) &&
           BSON_APPEND_INT64(to, "lease_ms", lease_ms) &&
           BSON_APPEND_INT64(to, "cache_bytes", cache > 0 ? cache : INT64_C(1) << 30) &&
           BSON_APPEND_INT64(to, "memory", runner->memory) &&
           (!options->spool || BSON_APPEND_UTF8(to, "spool", options->spool)) &&
           BSON_APPEND_UTF8(to, "runner", id) && BSON_APPEND_INT64(to, "supervisor", getpid()) &&
           BSON_APPEND_BOOL(to, "limited", options->max_tasks > 0);
}

static void take_serving(struct runner *runner, struct serving *serving)
{
    runner->sources = serving->sources;
    runner->source_count = serving->source_count;
    runner->memory = serving->serves.memory;
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
                                                        .lease_ms = lease_ms,
                                                        .tend = {options->tend, options->tend_data}},
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
    struct signalfd_siginfo late; /* one that came meanwhile must not end the process in another way */
    while (runner.signals >= 0 && read(runner.signals, &late, sizeof late) > 0)
        continue;
    if (runner.signals >= 0)
        close(runner.signals);
    sigaction(SIGCHLD, &child_before, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    runner.summary->seconds = clock_seconds() - started;
    return result;
}
