/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the hub without training: claims, beats, uploads a few random bytes and finishes, so that hundreds of
 * falls take seconds. For the torture tests, which start, stop and kill many of it; see usage below.
 *
 * What it does and believes goes to its history (hub/fault.h). */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static const char usage[] =
    "usage: torture_client VERB URI [KEY=VALUE ...]\n"
    "  init                             makes the hub\n"
    "  submit count= prefix= max_crashes= after=   tasks PREFIX-0 ...; those that are there already are left\n"
    "  work lease= tasks= beats= hold= blob= checkpoints= end= logs= until_empty= leave_idle= seed= figures= seconds=\n"
    "       start_at=\n"
    "       end: finish, release, crash, fail, cancel, park, large (weights beyond one batch) or random\n"
    "  sweep lease= seconds=            take-back, roll-forward and promotion, until SIGTERM\n"
    "  gc lease= rounds= seconds=       collects\n"
    "  save name= parts= bytes= seed=   a dataset; the same seed makes the same bytes\n"
    "  save-model name= bytes=          a model that no task made\n"
    "  restart, delete-tasks, delete-models, delete-datasets, cancel, pause, resume, stop, promote\n"
    "                                   filter=JSON\n"
    "exit: 0 done, 1 error, 2 usage, 3 nothing to do, 6 the lease was lost\n";

static char **options;
volatile sig_atomic_t told_to_stop;

static void on_term(int signal)
{
    (void)signal;
    told_to_stop = 1;
}

const char *option(const char *key, const char *fallback)
{
    size_t length = strlen(key);
    for (char **one = options; *one != NULL; one++) {
        if (strncmp(*one, key, length) == 0 && (*one)[length] == '=') {
            return *one + length + 1;
        }
    }
    return fallback;
}

int64_t number(const char *key, int64_t fallback)
{
    const char *text = option(key, NULL);
    return text != NULL ? strtoll(text, NULL, 10) : fallback;
}

int64_t boottime_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void wait_ms(int64_t ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};
    nanosleep(&wait, NULL);
}

static uint64_t random_state;

uint64_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 33;
}

bool is_transient(const bson_error_t *error)
{
    switch (hub_error_code(error)) {
    case HUB_ERROR_UNREACHABLE:
    case HUB_ERROR_UNKNOWN_OUTCOME:
    case HUB_ERROR_BUSY:
    case HUB_ERROR_NO_SPACE: return true;
    default: return false;
    }
}

int complain(const bson_error_t *error)
{
    fprintf(stderr, "torture_client: %s\n", error->message);
    return 1;
}

static bson_t *filter_option(void)
{
    bson_error_t error;
    bson_t *filter = bson_new_from_json((const uint8_t *)option("filter", "{}"), -1, &error);
    if (filter == NULL) {
        complain(&error);
        exit(2);
    }
    return filter;
}

/* ---- submitting ---- */

/* Together, and so too many for a line each in the history. */
static int submit_many(struct hub *hub, int64_t count, const char *prefix)
{
    bson_error_t error;
    bson_t **tasks = bson_malloc0((size_t)count * sizeof *tasks);
    for (int64_t i = 0; i < count; i++) {
        char *id = bson_strdup_printf("%s-%" PRId64, prefix, i);
        tasks[i] = bson_new();
        BSON_APPEND_UTF8(tasks[i], "_id", id);
        BSON_APPEND_UTF8(tasks[i], "name", prefix);
        bson_free(id);
    }
    int64_t made = task_create_many(hub, (const bson_t *const *)tasks, (size_t)count, &error);
    for (int64_t i = 0; i < count; i++) {
        bson_destroy(tasks[i]);
    }
    bson_free(tasks);
    return made < 0 ? complain(&error) : 0;
}

static int submit(struct hub *hub)
{
    bson_error_t error;
    int64_t count = number("count", 1), max_crashes = number("max_crashes", 100);
    const char *prefix = option("prefix", "t"), *after = option("after", NULL);
    if (number("many", 0) != 0) {
        return submit_many(hub, count, prefix);
    }
    for (int64_t i = 0; i < count; i++) {
        bson_t task = BSON_INITIALIZER, list;
        char *id = bson_strdup_printf("%s-%" PRId64, prefix, i);
        BSON_APPEND_UTF8(&task, "_id", id);
        BSON_APPEND_UTF8(&task, "name", prefix);
        BSON_APPEND_INT64(&task, "max_crashes", max_crashes);
        if (after != NULL) {
            char *first = bson_strdup_printf("%s-%" PRId64, after, i);
            BSON_APPEND_ARRAY_BEGIN(&task, "after", &list);
            BSON_APPEND_UTF8(&list, "0", first);
            bson_append_array_end(&task, &list);
            bson_free(first);
        }
        if (number("every", 0) != 0) {
            BSON_APPEND_DOCUMENT_BEGIN(&task, "standing", &list);
            BSON_APPEND_INT64(&list, "every_ms", number("every", 0));
            bson_append_document_end(&task, &list);
        }
        TL_HISTORY("try submit %s -", id);
        int result = task_create(hub, &task, NULL, &error);
        if (result >= 0) {
            TL_HISTORY("did submit %s - %d", id, result);
        }
        bson_free(id);
        bson_destroy(&task);
        if (result < 0) {
            return complain(&error);
        }
    }
    return 0;
}

/* ---- sweeping and collecting ---- */

static int sweep(struct hub *hub)
{
    struct task_sweeper *sweeper = task_sweeper_new(number("lease", 2000));
    int64_t end_ms = boottime_ms() + 1000 * number("seconds", 3600);
    while (!told_to_stop && boottime_ms() < end_ms) {
        bson_error_t error;
        int64_t next_ms = 0;
        int64_t changed = task_sweeper_round(sweeper, hub, &next_ms, &error);
        wait_ms(changed < 0 || next_ms < 20 ? 20 : next_ms);
    }
    task_sweeper_resign(sweeper, hub, NULL);
    task_sweeper_free(sweeper);
    return 0;
}

static int collect(struct hub *hub)
{
    int64_t end_ms = boottime_ms() + 1000 * number("seconds", 3600);
    for (int64_t i = number("rounds", 1); i > 0 && !told_to_stop && boottime_ms() < end_ms; i--) {
        struct gc_report report;
        bson_error_t error;
        if (gc_run(hub, number("lease", 2000), false, &report, &error) < 0) {
            if (!is_transient(&error)) {
                return complain(&error);
            }
            wait_ms(50);
            continue;
        }
        printf("%" PRId64 " blobs, %" PRId64 " chunks, %" PRId64 " uploads\n", report.blobs_deleted, report.chunks_deleted,
               report.uploads_removed);
    }
    return 0;
}

/* ---- data and models ---- */

static int save(struct hub *hub)
{
    bson_error_t error;
    bson_t fields = BSON_INITIALIZER, list, features, dataset;
    size_t bytes = (size_t)number("bytes", 5000);
    uint8_t *data = bson_malloc(bytes + 8);
    int64_t parts = number("parts", 2);
    int result = 1;
    BSON_APPEND_UTF8(&fields, "name", option("name", "data"));
    BSON_APPEND_ARRAY_BEGIN(&fields, "input_shape", &list);
    BSON_APPEND_INT32(&list, "0", 4);
    bson_append_array_end(&fields, &list);
    BSON_APPEND_DOCUMENT_BEGIN(&fields, "features", &features);
    BSON_APPEND_UTF8(&features, "dtype", "F32");
    bson_append_document_end(&fields, &features);
    bson_init(&dataset);
    struct dataset_writer *writer = dataset_writer_open(hub, &fields, &error);
    for (int64_t i = 0; writer != NULL && i < parts && result >= 0; i++) {
        /* The last part is this version's own; those before it are shared by versions of one name. */
        random_state = (uint64_t)(i + 1 < parts ? 1000 + i : number("seed", 1));
        for (size_t at = 0; at < bytes; at += 8) {
            uint64_t value = next_random();
            memcpy(data + at, &value, 8);
        }
        result = dataset_writer_part(writer, "train", 10, data, bytes, &error);
    }
    if (writer == NULL || result < 0) {
        result = -1;
    } else {
        bson_destroy(&dataset);
        result = dataset_writer_finish(writer, &dataset, &error);
    }
    if (result > 0) {
        TL_HISTORY("did save-dataset %s - 1", option("name", "data"));
    }
    dataset_writer_close(writer);
    bson_free(data);
    bson_destroy(&dataset);
    bson_destroy(&fields);
    return result < 0 ? complain(&error) : 0;
}

static int64_t left_to_read;

static int64_t read_random(void *data, void *buffer, size_t size)
{
    (void)data;
    size_t count = (int64_t)size < left_to_read ? size : (size_t)left_to_read;
    for (size_t i = 0; i < count; i++) {
        ((uint8_t *)buffer)[i] = (uint8_t)next_random();
    }
    left_to_read -= (int64_t)count;
    return (int64_t)count;
}

static int save_model(struct hub *hub)
{
    bson_error_t error;
    bson_t fields = BSON_INITIALIZER, model;
    BSON_APPEND_UTF8(&fields, "name", option("name", "by hand"));
    left_to_read = number("bytes", 5000);
    int result = model_save(hub, &fields, read_random, NULL, &model, &error);
    bson_destroy(&model);
    bson_destroy(&fields);
    return result < 0 ? complain(&error) : 0;
}

/* ---- the user ---- */

/* All that stand at a rung and match, as whoever sees to their sweep would. How many, -1. */
static int64_t promote(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t parked, projection = BSON_INITIALIZER;
    static const char *const paths[] = {"project", "lane", "claim.id", "rungs.count"};
    const bson_t *task;
    int64_t count = 0;
    int next = -1, result = 0;
    bson_copy_to(filter, &parked);
    BSON_APPEND_UTF8(&parked, "state", "parked");
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        BSON_APPEND_INT32(&projection, paths[i], 1);
    }
    struct store_find_options only = {.projection = &projection};
    struct store_cursor *cursor = store_find(hub_store(hub), "tasks", &parked, &only, error);
    while (cursor != NULL && result >= 0 && (next = store_cursor_next(cursor, &task, error)) > 0) {
        result = task_unpark(hub, task, error);
        count += result > 0;
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    bson_destroy(&parked);
    return cursor == NULL || next < 0 || result < 0 ? -1 : count;
}

static int request(struct hub *hub, const char *verb)
{
    bson_error_t error;
    bson_t *filter = filter_option();
    int64_t changed = -1;
    TL_HISTORY("try user-%s - -", verb);
    if (strcmp(verb, "restart") == 0) {
        changed = task_restart(hub, filter, NULL, &error);
    } else if (strcmp(verb, "delete-tasks") == 0) {
        changed = task_delete(hub, filter, &error);
    } else if (strcmp(verb, "delete-models") == 0) {
        changed = model_delete(hub, filter, &error);
    } else if (strcmp(verb, "delete-datasets") == 0) {
        changed = dataset_delete(hub, filter, &error);
    } else if (strcmp(verb, "cancel") == 0) {
        changed = task_cancel(hub, filter, "enough", &error);
    } else if (strcmp(verb, "pause") == 0) {
        changed = task_pause(hub, filter, &error);
    } else if (strcmp(verb, "resume") == 0) {
        changed = task_resume(hub, filter, &error);
    } else if (strcmp(verb, "stop") == 0) {
        changed = task_stop(hub, filter, "enough", &error);
    } else if (strcmp(verb, "promote") == 0) {
        changed = promote(hub, filter, &error);
    }
    bson_destroy(filter);
    if (changed < 0) {
        return complain(&error);
    }
    TL_HISTORY("did user-%s - - %" PRId64, verb, changed);
    return 0;
}

static int run(struct hub *hub, const char *verb)
{
    static const struct {
        const char *verb;
        int (*run)(struct hub *hub);
    } verbs[] = {{"submit", submit}, {"work", client_work}, {"sweep", sweep},
                 {"gc", collect},    {"save", save},    {"save-model", save_model}};
    static const char *const requests[] = {"restart", "delete-tasks", "delete-models", "delete-datasets",
                                           "cancel",  "pause",        "resume",        "stop",           "promote"};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verb, verbs[i].verb) == 0) {
            return verbs[i].run(hub);
        }
    }
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        if (strcmp(verb, requests[i]) == 0) {
            return request(hub, verb);
        }
    }
    fputs(usage, stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct sigaction term = {.sa_handler = on_term};
    bson_error_t error;
    if (argc < 3) {
        fputs(usage, stderr);
        return 2;
    }
    options = argv + 3;
    random_state = (uint64_t)number("seed", 0);
    if (random_state == 0 && getrandom(&random_state, sizeof random_state, 0) != sizeof random_state) {
        return complain(&error);
    }
    sigaction(SIGTERM, &term, NULL);
    if (strcmp(argv[1], "init") == 0) {
        return hub_init(argv[2], NULL, &error) < 0 ? complain(&error) : 0;
    }
    struct hub *hub;
    int64_t until = boottime_ms() + number("patience", 30000);
    while ((hub = hub_open(argv[2], NULL, HUB_OPEN_EXISTING, &error)) == NULL && is_transient(&error) &&
           boottime_ms() < until && !told_to_stop) {
        wait_ms(50);
    }
    if (hub == NULL) {
        return complain(&error);
    }
    int status = run(hub, argv[1]);
    hub_close(hub);
    return status;
}
