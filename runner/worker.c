/* SPDX-License-Identifier: Apache-2.0 */
/* A worker process: claims tasks one after the other and does them, until it is told to leave. */
#include "runner/clock.h"
#include "runner/document.h"
#include "runner/message.h"
#include "runner/runner.h"
#include "runner/turns.h"
#include "runner/work.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { RETRY_MS = 50, RETRY_MOST_MS = 5000, OUTPUT_WAIT_MS = 2000, HUB_LEAST_MS = 5000, STOP_SECONDS = 28 };

static volatile sig_atomic_t stopping;
static int wake[2] = {-1, -1}; /* the signal handler writes, whoever waits polls */

struct claimer {
    struct worker worker; /* first: take() comes from it to the rest */
    bson_t configuration;
    struct task_claim_options options;
    struct turns turns;
    bool limited;     /* each claim needs a grant */
    bool woken;       /* it was idle before */
    bool told_device;
};

static void on_stop(int signal)
{
    int saved = errno;
    (void)signal;
    stopping = 1;
    alarm(STOP_SECONDS); /* whatever hangs: nothing is left behind when the supervisor is gone */
    if (write(wake[1], "", 1) < 0)
        stopping = 1; /* a full pipe wakes as well */
    errno = saved;
}

bool worker_stopping(void)
{
    return stopping;
}

static void take_turns(struct worker *worker, const char *say, const bson_t *message)
{
    struct claimer *claimer = (struct claimer *)worker;
    int64_t number = -1, source = -1;
    if (!strcmp(say, "sources")) {
        turns_read(&claimer->turns, message, (size_t)worker->index);
        worker->poll = true;
    } else if (document_integer(message, "list", &number) && document_integer(message, "source", &source) &&
               number == claimer->turns.number && source >= 0) {
        turns_wake(&claimer->turns, (size_t)source);
        worker->poll = true;
    }
}

static void take(struct worker *worker, const bson_t *message)
{
    const char *say = document_string(message, "say"), *text = document_string(message, "text");
    if (!say)
        return;
    if (!strcmp(say, "leave"))
        worker->leave = true;
    else if (!strcmp(say, "grant"))
        worker->granted = true;
    else if (!strcmp(say, "poll") || !strcmp(say, "sources"))
        take_turns(worker, say, message);
    else if (!strcmp(say, "output")) {
        bson_free(worker->output);
        worker->output = bson_strdup(text ? text : "");
    }
}

/* Everything that the supervisor has said so far. */
static void take_all(struct worker *worker)
{
    bson_t message;
    int result;
    do {
        result = message_receive(worker->socket, 0, &message);
        if (result > 0)
            take(worker, &message);
        bson_destroy(&message);
    } while (result > 0);
    if (result < 0 && !stopping) { /* no supervisor: stop as if it had told us */
        stopping = 1;
        alarm(STOP_SECONDS);
    }
}

void worker_wait(struct worker *worker, int64_t ms)
{
    struct pollfd ready[] = {{.fd = worker->socket, .events = POLLIN}, {.fd = wake[0], .events = POLLIN}};
    if (stopping && ms > 0) { /* the pipe stays readable: sleep without it */
        ready[1].fd = -1;
        ready[0].fd = -1;
    }
    if (poll(ready, 2, ms > INT32_MAX ? INT32_MAX : (int)ms) > 0 && ready[0].revents)
        take_all(worker);
}

const char *worker_output(struct worker *worker)
{
    int64_t until = clock_boot_ms() + OUTPUT_WAIT_MS;
    fflush(stdout);
    fflush(stderr);
    bson_free(worker->output);
    worker->output = NULL;
    if (message_say(worker->socket, "output") <= 0)
        return NULL;
    while (!worker->output && clock_boot_ms() < until) {
        struct pollfd ready = {.fd = worker->socket, .events = POLLIN};
        if (poll(&ready, 1, (int)(until - clock_boot_ms())) > 0)
            take_all(worker);
        if (stopping && ready.revents & POLLHUP)
            break;
    }
    return worker->output && *worker->output ? worker->output : NULL;
}

static void say_error(struct worker *worker, const char *say, const char *key, const bson_error_t *error)
{
    bson_t message = BSON_INITIALIZER;
    if (BSON_APPEND_UTF8(&message, "say", say) && BSON_APPEND_INT32(&message, "code", (int32_t)hub_error_code(error)) &&
        BSON_APPEND_UTF8(&message, key, error->message))
        message_send(worker->socket, &message, true);
    bson_destroy(&message);
}

/* A task that no claim can hold is a failure of this run like any other. */
static void say_set_aside(const bson_t *task, const char *text, void *data)
{
    const struct claimer *claimer = data;
    bson_t message = BSON_INITIALIZER;
    const char *name = document_string(task, "name"), *id = document_string(task, "_id");
    int64_t seq = 0;
    document_integer(task, "seq", &seq);
    if (BSON_APPEND_UTF8(&message, "say", "failed") && BSON_APPEND_UTF8(&message, "task", id ? id : "") &&
        BSON_APPEND_INT64(&message, "seq", seq) && BSON_APPEND_UTF8(&message, "name", name ? name : "") &&
        BSON_APPEND_UTF8(&message, "error", text))
        message_send(claimer->worker.socket, &message, true);
    bson_destroy(&message);
}

static void say_claimed(struct claimer *claimer, int source, const bson_t *task, const struct task_fence *fence)
{
    bson_t message = BSON_INITIALIZER;
    const char *name = document_string(task, "name"), *kind = document_string(task, "kind");
    int64_t seq = 0;
    document_integer(task, "seq", &seq);
    if (BSON_APPEND_UTF8(&message, "say", "claimed") && BSON_APPEND_UTF8(&message, "task", fence->task_id) &&
        BSON_APPEND_INT64(&message, "seq", seq) && BSON_APPEND_UTF8(&message, "name", name ? name : "") &&
        BSON_APPEND_UTF8(&message, "kind", kind ? kind : "") && BSON_APPEND_UTF8(&message, "project", fence->project) &&
        BSON_APPEND_INT32(&message, "lane", fence->lane) && BSON_APPEND_UTF8(&message, "claim", fence->claim_id) &&
        BSON_APPEND_INT64(&message, "list", claimer->turns.number) && BSON_APPEND_INT32(&message, "source", source) &&
        BSON_APPEND_BOOL(&message, "woken", claimer->woken))
        message_send(claimer->worker.socket, &message, true);
    claimer->woken = false;
    bson_destroy(&message);
}

static void say_empty(struct claimer *claimer, int source, bool idle)
{
    bson_t message = BSON_INITIALIZER;
    if (BSON_APPEND_UTF8(&message, "say", "empty") && BSON_APPEND_INT64(&message, "list", claimer->turns.number) &&
        BSON_APPEND_INT32(&message, "source", source) && BSON_APPEND_BOOL(&message, "idle", idle))
        message_send(claimer->worker.socket, &message, true);
    bson_destroy(&message);
}

/* The value of "key: value" among the lines. */
static bool line_of(const char *lines, const char *key, char *text, size_t size)
{
    size_t length = strlen(key);
    for (const char *line = lines; line && *line; line = strchr(line, '\n'), line += line ? 1 : 0)
        if (!strncmp(line, key, length) && line[length] == ':') {
            const char *value = line + length + 1 + strspn(line + length + 1, " ");
            snprintf(text, size, "%.*s", (int)strcspn(value, "\n"), value);
            return bson_utf8_validate(text, strlen(text), false);
        }
    return false;
}

/* Once, by one worker, when the first task has opened it: what it computes with, for the runner's record. */
static void say_device(struct claimer *claimer)
{
    struct worker *worker = &claimer->worker;
    struct kernel_error why = {0};
    bson_t message = BSON_INITIALIZER;
    char chosen[160], key[40], rate[160], library[160];
    if (claimer->told_device || !worker->device || worker->index != 0)
        return;
    claimer->told_device = true;
    char *lines = device_describe(worker->device, &why);
    bool done = lines && BSON_APPEND_UTF8(&message, "say", "device");
    if (done && line_of(lines, "gemm chosen", chosen, sizeof chosen)) {
        chosen[strcspn(chosen, ",")] = '\0';
        snprintf(key, sizeof key, "gemm %.30s", chosen);
        char *gemm = line_of(lines, key, rate, sizeof rate) ? bson_strdup_printf("%.30s: %s", chosen, rate)
                                                            : bson_strdup(chosen);
        done = BSON_APPEND_UTF8(&message, "gemm", gemm);
        bson_free(gemm);
    }
    const char *version = line_of(lines, "gemm dnnl", library, sizeof library) ? strstr(library, "oneDNN ") : NULL;
    if (done && version) {
        library[(size_t)(version - library) + strcspn(version, ",)")] = '\0';
        done = BSON_APPEND_UTF8(&message, "library", version);
    }
    if (done)
        message_send(worker->socket, &message, true);
    bson_destroy(&message);
    free(lines);
}

/* One claim and its work. 1 did one, 0 nothing is ready in this source, -1 error. */
static int claim(struct claimer *claimer, int at, bson_error_t *error)
{
    struct worker *worker = &claimer->worker;
    const struct task_source source = claimer->turns.list[at]; /* the list may change while the task runs */
    struct task_fence fence;
    bson_t task;
    int64_t claimed_ms = clock_boot_ms();
    claimer->options.project = source.project;
    claimer->options.queue = source.queue;
    claimer->options.resource_class = source.resource_class;
    claimer->options.lane = source.lane;
    claimer->options.set_aside = say_set_aside;
    claimer->options.data = claimer;
    hub_set_project(worker->hub, source.project);
    int result = task_claim(worker->hub, &claimer->options, &task, &fence, error);
    if (result > 0) {
        worker->granted = false;
        turns_taken(&claimer->turns, (size_t)at);
        say_claimed(claimer, at, &task, &fence);
        work_run(worker, &task, &fence, claimed_ms);
        say_device(claimer);
    }
    bson_destroy(&task);
    return result;
}

/* Nothing is ready anywhere: until the supervisor says that something is. */
static void wait_idle(struct claimer *claimer)
{
    struct worker *worker = &claimer->worker;
    claimer->woken = true;
    while (!stopping && !worker->leave && turns_next(&claimer->turns) < 0)
        worker_wait(worker, -1);
}

static int work_until_told(struct claimer *claimer)
{
    struct worker *worker = &claimer->worker;
    int64_t wait = RETRY_MS, refused_ms = 0;
    bool noted = false;

    for (take_all(worker); !stopping && !worker->leave; take_all(worker)) {
        bson_error_t error;
        int source = turns_next(&claimer->turns);
        if (source < 0) {
            wait_idle(claimer);
            continue;
        }
        if (claimer->limited && !worker->granted) {
            message_say(worker->socket, "want");
            while (!worker->granted && !worker->leave && !stopping)
                worker_wait(worker, -1);
            continue;
        }
        int result = claim(claimer, source, &error);
        if (result >= 0) {
            wait = RETRY_MS;
            refused_ms = 0;
            noted = false;
            if (result == 0) {
                turns_missed(&claimer->turns, (size_t)source);
                say_empty(claimer, source, turns_next(&claimer->turns) < 0);
            }
            continue;
        }
        bool refused = hub_error_code(&error) == HUB_ERROR_UNAUTHORIZED;
        refused_ms = !refused ? 0 : refused_ms ? refused_ms : clock_boot_ms();
        /* "Not authorised" may be a password that is being changed; for a whole lease it is an answer. */
        bool ends = !work_is_transient(&error) || (refused && clock_boot_ms() - refused_ms > worker->lease_ms);
        if (!noted || ends)
            say_error(worker, ends ? "fatal" : "note", ends ? "error" : "message", &error);
        if (ends)
            return 1;
        noted = true;
        int64_t until = clock_boot_ms() + clock_jitter(wait);
        while (!stopping && !worker->leave && clock_boot_ms() < until)
            worker_wait(worker, until - clock_boot_ms());
        wait = wait * 2 < RETRY_MOST_MS ? wait * 2 : RETRY_MOST_MS;
    }
    return 0;
}

/* No call may take so long that a commit cannot be tried again within its lease. */
static int64_t hub_wait_ms(const struct worker *worker)
{
    int64_t wait = worker->lease_ms / 3;
    return wait < HUB_LEAST_MS ? HUB_LEAST_MS : wait;
}

/* A hub that is away is waited for: the supervisor has seen it alive. */
static int connect_hub(struct worker *worker, const char *uri, const char *project)
{
    int64_t wait = RETRY_MS;
    bson_error_t error;
    for (bool noted = false; !stopping && !worker->leave; noted = true) {
        worker->hub = hub_open_with_timeout(uri, project, hub_wait_ms(worker), &error);
        if (worker->hub)
            return 0;
        if (!work_is_transient(&error) || hub_error_code(&error) == HUB_ERROR_UNAUTHORIZED)
            break;
        if (!noted)
            say_error(worker, "note", "message", &error);
        worker_wait(worker, clock_jitter(wait));
        wait = wait * 2 < RETRY_MOST_MS ? wait * 2 : RETRY_MOST_MS;
    }
    if (!stopping && !worker->leave)
        say_error(worker, "fatal", "error", &error);
    return -1;
}

static int configure(struct claimer *claimer)
{
    struct worker *worker = &claimer->worker;
    const bson_t *configuration = &claimer->configuration;
    int64_t threads = 1, lease_ms = TASK_LEASE_MS, cache = INT64_C(1) << 30, supervisor = 0, index = 0, workers = 1;
    const char *uri = document_string(configuration, "uri"), *project = document_string(configuration, "project");
    bson_error_t error;

    document_integer(configuration, "threads", &threads);
    document_integer(configuration, "lease_ms", &lease_ms);
    document_integer(configuration, "cache_bytes", &cache);
    document_integer(configuration, "memory", &worker->memory);
    document_integer(configuration, "supervisor", &supervisor);
    document_integer(configuration, "index", &index);
    document_integer(configuration, "workers", &workers);
    if (!uri || !turns_read(&claimer->turns, configuration, (size_t)index) || getppid() != (pid_t)supervisor) /* it died before PR_SET_PDEATHSIG could tell */
        return -1;
    worker->index = (int)index;
    worker->threads = (int)threads;
    worker->lease_ms = lease_ms;
    worker->device_name = document_string(configuration, "device");
    worker->spool = document_string(configuration, "spool");
    claimer->limited = document_bool(configuration, "limited", false);
    claimer->options = (struct task_claim_options){.runner = document_string(configuration, "runner"),
                                                   .worker = document_string(configuration, "worker"),
                                                   .lease_ms = lease_ms,
                                                   .sharers = (int32_t)workers,
                                                   .sharer = (int32_t)index,
                                                   .name = document_string(configuration, "task_name")};
    if (!worker->device_name)
        worker->device_name = "cpu";
    if (connect_hub(worker, uri, project))
        return -1;
    worker->cache = data_cache_new(cache);
    worker->heartbeat = heartbeat_new(worker->hub, lease_ms, &error);
    if (worker->cache && worker->heartbeat)
        return 0;
    say_error(worker, "note", "message", &error);
    return -1;
}

static int watch_signals(void)
{
    struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART}, ignore = {.sa_handler = SIG_IGN};
    sigset_t none;
    if (pipe2(wake, O_CLOEXEC | O_NONBLOCK))
        return -1;
    sigemptyset(&none);
    sigaction(SIGTERM, &stop, NULL);
    /* A terminal sends these to the whole group: the supervisor decides what they mean. */
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGHUP, &ignore, NULL);
    sigaction(SIGQUIT, &ignore, NULL);
    sigaction(SIGUSR1, &ignore, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    prctl(PR_SET_NAME, "tl_hub worker"); /* exec'd through /proc/self/exe it would be called exe */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

int runner_worker_main(int argc, char **argv)
{
    struct claimer claimer = {.worker = {.socket = -1}};
    char *end = NULL;
    int status = 1;

    for (int i = 1; i + 1 < argc; i++)
        if (!strcmp(argv[i], "--worker-process"))
            claimer.worker.socket = (int)strtol(argv[i + 1], &end, 10);
    if (!end || *end || claimer.worker.socket < 0 || watch_signals())
        return 2;
    fcntl(claimer.worker.socket, F_SETFD, FD_CLOEXEC);
    if (message_receive(claimer.worker.socket, -1, &claimer.configuration) > 0 && configure(&claimer) == 0) {
        message_say(claimer.worker.socket, "ready");
        status = work_until_told(&claimer);
    }
    if (stopping || claimer.worker.leave)
        status = 0;
    heartbeat_free(claimer.worker.heartbeat);
    data_cache_free(claimer.worker.cache);
    device_close(claimer.worker.device);
    hub_close(claimer.worker.hub);
    bson_free(claimer.worker.output);
    bson_destroy(&claimer.configuration);
    turns_destroy(&claimer.turns);
    close(claimer.worker.socket);
    return status;
}
