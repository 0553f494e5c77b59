/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TESTS_RUNNER_FIXTURE_H
#define TL_TESTS_RUNNER_FIXTURE_H

/* A hub in a file with a small dataset "blobs" that any net learns, tasks on it, and runners: in this process, or as a
 * process of their own (for signals). The test program is its own worker: see become. */

#include "hub/tl_hub.h"
#include "kernels/safetensors.h"
#include "runner/document.h"
#include "runner/runner.h"
#include "test_program.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static struct hub *hub;
static char *uri;
static bson_error_t error[1];

/* {'a': 1} with printf's conversions; quotes are single. Free it with bson_destroy. */
static inline bson_t *json(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline bson_t *json(const char *format, ...)
{
    bson_error_t why = {0};
    char text[8192];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    bson_t *document = bson_new_from_json((const uint8_t *)text, -1, &why);
    cr_assert_not_null(document, "%s in %s", why.message, text);
    return document;
}

/* ---- runners ---- */

/* What a runner's events came to. */
struct heard {
    int claimed, epochs, done, failed, crashed, released, lost, notes, resumed;
    char last[1024]; /* the last error or note */
};

static inline void hear(enum runner_event_kind kind, const bson_t *details, void *data)
{
    struct heard *heard = data;
    const char *text = document_string(details, kind == RUNNER_EVENT_NOTE ? "message" : "error");
    int *counts[] = {&heard->claimed, &heard->epochs, NULL, &heard->done, &heard->failed, &heard->crashed,
                     &heard->released, &heard->lost, &heard->notes};
    if (counts[kind])
        ++*counts[kind];
    if (getenv("TL_TEST_LOUD")) {
        char *line = document_json(details);
        fprintf(stderr, "event %d %s\n", (int)kind, line);
        bson_free(line);
    }
    heard->resumed += text && strstr(text, "goes on from its checkpoint");
    if (text)
        snprintf(heard->last, sizeof heard->last, "%s", text);
}

/* Runs in this process until it leaves. */
static inline struct runner_summary run(struct runner_options options, struct heard *heard)
{
    struct runner_summary summary;
    struct heard own = {0};
    options.uri = uri;
    if (!options.device)
        options.device = "ref";
    unsetenv("BXFI_MAP"); /* else the worker would believe to be a test's process */
    memset(error, 0, sizeof error);
    int result = runner_run(&options, hear, NULL, heard ? heard : &own, &summary, error);
    cr_assert_eq(result, 1, "%s", error->message);
    return summary;
}

/* The same in a process of its own: fields of runner_options by name, as JSON. */
static inline pid_t start_runner(const char *options)
{
    pid_t pid;
    char *arguments[] = {(char *)"runner", (char *)"supervise", uri, (char *)options, NULL};
    unsetenv("BXFI_MAP");
    cr_assert_eq(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    return pid;
}

/* Its exit status, or 128 + the signal; -1 where it still runs after `seconds` (it is killed then). */
static inline int wait_runner(pid_t pid, double seconds)
{
    int status;
    for (double waited = 0; waited < seconds; waited += 0.02) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        usleep(20000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -1;
}

static inline void read_list(const bson_t *given, const char *key, const char *list[8])
{
    bson_t array;
    bson_iter_t at;
    if (document_array(given, key, &array) && bson_iter_init(&at, &array))
        for (size_t i = 0; i < 7 && bson_iter_next(&at); i++)
            list[i] = bson_iter_utf8(&at, NULL);
}

/* One word an event, into the file that TL_TEST_EVENTS names. */
static inline void write_event(enum runner_event_kind kind, const bson_t *details, void *data)
{
    static const char *const words[] = {"claimed", "epoch", "progress", "done", "failed", "crashed", "released", "lost",
                                        "note"};
    FILE *file = fopen(data, "a");
    (void)details;
    if (file && kind != RUNNER_EVENT_PROGRESS && kind != RUNNER_EVENT_EPOCH)
        fprintf(file, "%s\n", words[kind]);
    if (file)
        fclose(file);
}

static inline int supervise(char **argv)
{
    const char *device = getenv("TL_TEST_DEVICE");
    struct runner_options options = {.uri = argv[2], .device = device ? device : "ref"};
    bson_error_t why = {0};
    bson_t given;
    int64_t value;
    if (!bson_init_from_json(&given, argv[3], -1, &why))
        return 3;
    if (document_integer(&given, "workers", &value))
        options.workers = (int)value;
    if (document_integer(&given, "lease_ms", &value))
        options.lease_ms = value;
    options.until_empty = document_bool(&given, "until_empty", false);
    const char *lists[4][8] = {{NULL}};
    read_list(&given, "projects", lists[0]);
    read_list(&given, "queues", lists[1]);
    read_list(&given, "resource_classes", lists[2]);
    read_list(&given, "labels", lists[3]);
    options.projects = lists[0];
    options.queues = lists[1];
    options.resource_classes = lists[2];
    options.labels = lists[3];
    int result = runner_run(&options, getenv("TL_TEST_EVENTS") ? write_event : NULL, NULL, getenv("TL_TEST_EVENTS"), NULL, &why);
    if (result < 0)
        fprintf(stderr, "%s\n", why.message);
    bson_destroy(&given);
    return result == 1 ? 0 : 1;
}

static inline void die(int signal)
{
    (void)signal;
    if (write(STDERR_FILENO, "about to die\n", 13) == 13)
        abort();
}

static inline void chat(int signal)
{
    static const char words[] = "a library says something\n";
    (void)signal;
    if (write(STDERR_FILENO, words, sizeof words - 1) < 0)
        abort();
}

/* A worker that prints something ten times a second. */
static inline void chatter(void)
{
    struct itimerval timer = {.it_value = {.tv_usec = 100000}, .it_interval = {.tv_usec = 100000}};
    struct sigaction action = {.sa_handler = chat, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static inline void rest(int signal)
{
    static const struct timespec a_while = {.tv_nsec = 30000000};
    (void)signal;
    nanosleep(&a_while, NULL);
}

/* A worker that rests 30 ms after every 2 ms of work: a run that takes long, and little of a busy machine. */
static inline void slow_down(void)
{
    struct itimerval timer = {.it_value = {.tv_usec = 2000}, .it_interval = {.tv_usec = 2000}};
    struct sigaction action = {.sa_handler = rest, .sa_flags = SA_RESTART};
    sigaction(SIGVTALRM, &action, NULL);
    setitimer(ITIMER_VIRTUAL, &timer, NULL);
}

/* A worker that dies so many ms after its start. */
static inline void poison(const char *ms)
{
    struct itimerval timer = {.it_value = {.tv_usec = atoi(ms) * 1000}};
    signal(SIGALRM, die);
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* The test program as a worker, and as a runner. */
__attribute__((constructor)) static void become(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "run-task") && getenv("TL_TEST_POISON"))
        poison(getenv("TL_TEST_POISON"));
    if (argc > 1 && !strcmp(argv[1], "run-task") && getenv("TL_TEST_CHATTER"))
        chatter();
    if (argc > 1 && !strcmp(argv[1], "run-task") && getenv("TL_TEST_SLOW"))
        slow_down();
    if (argc > 1 && !strcmp(argv[1], "run-task"))
        exit(runner_worker_main(argc, argv));
    if (argc == 4 && !strcmp(argv[1], "supervise")) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no runner behind */
        exit(supervise(argv));
    }
}

/* ---- the hub ---- */

static inline void save_part(struct dataset_writer *writer, const char *split, int64_t rows, uint64_t seed)
{
    enum { FEATURES = 8, CLASSES = 3 };
    struct kernel_error why = {0};
    struct safetensors_tensor tensors[] = {
        {.name = (char *)"x", .dtype = SAFETENSORS_F32, .rank = 2, .shape = {rows, FEATURES}},
        {.name = (char *)"y", .dtype = SAFETENSORS_I64, .rank = 1, .shape = {rows}}};
    size_t length, x_bytes = (size_t)rows * FEATURES * sizeof(float), y_bytes = (size_t)rows * sizeof(int64_t);
    uint8_t *header = safetensors_header_new(tensors, 2, NULL, 0, &length, &why);
    cr_assert_not_null(header, "%s", why.message);
    uint8_t *file = malloc(length + x_bytes + y_bytes);
    cr_assert_not_null(file);
    memcpy(file, header, length);
    for (int64_t row = 0; row < rows; row++) {
        int64_t class = row % CLASSES;
        for (int feature = 0; feature < FEATURES; feature++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            float noise = (float)(seed >> 40) / (float)(1 << 24) - 0.5f;
            float value = (feature % CLASSES == class ? 1.0f : 0.0f) + noise;
            memcpy(file + length + ((size_t)row * FEATURES + (size_t)feature) * sizeof value, &value, sizeof value);
        }
        memcpy(file + length + x_bytes + (size_t)row * sizeof class, &class, sizeof class);
    }
    cr_assert_geq(dataset_writer_part(writer, split, rows, file, length + x_bytes + y_bytes, error), 0, "%s",
                  error->message);
    free(header);
    free(file);
}

static inline void save_blobs(int64_t rows)
{
    bson_t *fields = json("{'name': 'blobs', 'input_shape': [8], 'label': 'class', 'classes': 3,"
                          " 'features': {'dtype': 'F32', 'scale': 1.0, 'offset': 0.0}}");
    bson_t dataset;
    struct dataset_writer *writer = dataset_writer_open(hub, fields, error);
    cr_assert_not_null(writer, "%s", error->message);
    save_part(writer, "train", rows, 1);
    save_part(writer, "validation", rows / 5, 2);
    save_part(writer, "test", rows / 5, 3);
    cr_assert_eq(dataset_writer_finish(writer, &dataset, error), 1, "%s", error->message);
    dataset_writer_close(writer);
    bson_destroy(&dataset);
    bson_destroy(fields);
}

static inline void open_hub(void)
{
    char *path = test_path(".db");
    uri = bson_strdup_printf("sqlite:%s", path);
    free(path);
    cr_assert_eq(hub_init(uri, NULL, error), 1, "%s", error->message);
    hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, error);
    cr_assert_not_null(hub, "%s", error->message);
    save_blobs(300);
}

static inline void close_hub(void)
{
    hub_close(hub);
    bson_free(uri);
}

/* A task from JSON of its further fields ("'name': 'a', …"); a small net with defaults otherwise. */
static inline void add_task(const char *name, const char *hyper_parameters, const char *more)
{
    bson_t *fields = json("{'name': '%s', 'dataset': 'blobs', 'architecture': 'dense:16:relu dense:3',"
                          " 'hyper_parameters': {%s}%s%s}", name, hyper_parameters, *more ? ", " : "", more);
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    bson_destroy(fields);
}

/* Two seconds or so an epoch on the ref device: for what has to happen while a task runs. */
#define LONG "'epochs': 100000, 'batch_size': 4"

static inline bson_t *find_one(const char *collection, const char *filter)
{
    bson_t *query = json("%s", filter), *out = bson_new(), found;
    int result = store_find_one(hub_store(hub), collection, query, NULL, &found, error);
    cr_assert_eq(result, 1, "%s %s: %s", collection, filter, result < 0 ? error->message : "nothing found");
    bson_concat(out, &found);
    bson_destroy(&found);
    bson_destroy(query);
    return out;
}

static inline int64_t count(const char *collection, const char *filter)
{
    bson_t *query = json("%s", filter);
    int64_t result = store_count(hub_store(hub), collection, query, error);
    cr_assert_geq(result, 0, "%s", error->message);
    bson_destroy(query);
    return result;
}

/* Until there are n such tasks, for at most `seconds`. */
static inline void wait_for(const char *collection, const char *filter, int64_t n, double seconds)
{
    for (double waited = 0; count(collection, filter) != n; waited += 0.05) {
        cr_assert_lt(waited, seconds, "%s: %lld of %s, not %lld, after %g s", collection,
                     (long long)count(collection, filter), filter, (long long)n, seconds);
        usleep(50000);
    }
}

/* The one worker of a runner. */
static inline pid_t worker_of(pid_t runner)
{
    char path[64];
    int found = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)runner, (int)runner);
    FILE *file = fopen(path, "r");
    cr_assert(file && fscanf(file, "%d", &found) == 1, "the runner has no worker");
    fclose(file);
    return found;
}

static inline double number(const bson_t *document, const char *path)
{
    double value = -1;
    cr_expect(document_number(document, path, &value), "no number at %s", path);
    return value;
}

static inline double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

#endif
