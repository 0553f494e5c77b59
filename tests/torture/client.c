/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the hub without training: claims, beats, uploads a few random bytes and finishes, so that hundreds of
 * falls take seconds. For the torture tests, which start, stop and kill many of it; see usage below.
 *
 * It keeps the runner's rules: a worker that could not write for two thirds of its lease stops, releases and writes
 * nothing more; what was lost is left alone. What it does and believes goes to its history (hub/fault.h). */
#include "hub/fault.h"
#include "hub/tl_hub.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static const char usage[] =
    "usage: torture_client VERB URI [KEY=VALUE ...]\n"
    "  init                             makes the hub\n"
    "  submit count= prefix= max_crashes= after=   tasks PREFIX-0 ...; those that are there already are left\n"
    "  work lease= tasks= beats= hold= blob= checkpoints= end= logs= until_empty= seed= figures= seconds= start_at=\n"
    "       end: finish, release, crash, fail, cancel, large (weights beyond one batch) or random\n"
    "  sweep lease= seconds=            take-back, roll-forward and promotion, until SIGTERM\n"
    "  gc lease= rounds= seconds=       collects\n"
    "  save name= parts= bytes= seed=   a dataset; the same seed makes the same bytes\n"
    "  save-model name= bytes=          a model that no task made\n"
    "  restart, delete-tasks, delete-models, delete-datasets, cancel, pause, resume   filter=JSON\n"
    "exit: 0 done, 1 error, 2 usage, 3 nothing to do, 6 the lease was lost\n";

enum { NOTHING = 3, LOST = 6 };

static char **options;
static volatile sig_atomic_t told_to_stop;

static void on_term(int signal)
{
    (void)signal;
    told_to_stop = 1;
}

static const char *option(const char *key, const char *fallback)
{
    size_t length = strlen(key);
    for (char **one = options; *one != NULL; one++) {
        if (strncmp(*one, key, length) == 0 && (*one)[length] == '=') {
            return *one + length + 1;
        }
    }
    return fallback;
}

static int64_t number(const char *key, int64_t fallback)
{
    const char *text = option(key, NULL);
    return text != NULL ? strtoll(text, NULL, 10) : fallback;
}

static int64_t boottime_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_ms(int64_t ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};
    nanosleep(&wait, NULL);
}

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 33;
}

static bool is_transient(const bson_error_t *error)
{
    switch (hub_error_code(error)) {
    case HUB_ERROR_UNREACHABLE:
    case HUB_ERROR_UNKNOWN_OUTCOME:
    case HUB_ERROR_BUSY:
    case HUB_ERROR_NO_SPACE: return true;
    default: return false;
    }
}

static int complain(const bson_error_t *error)
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

/* ---- working ---- */

struct work {
    struct hub *hub;
    struct task_fence fence;
    int64_t lease_ms, run;
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

static int end_once(struct work *work, const char *end)
{
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

static int work_on(struct hub *hub)
{
    struct work work = {.hub = hub, .lease_ms = number("lease", 2000)};
    int64_t wanted = number("tasks", INT64_MAX), end_ms = boottime_ms() + 1000 * number("seconds", 600), done = 0, lost = 0;
    int64_t worst_ms = 0, asked_ms, last_ms = 0;
    struct task_claim_options claim = {.runner = "torture"};
    bool until_empty = number("until_empty", 0) != 0;
    int status = 0;
    wait_ms(number("start_at", 0) > boottime_ms() ? number("start_at", 0) - boottime_ms() : 0);
    asked_ms = boottime_ms();
    while (done + lost < wanted && !told_to_stop && boottime_ms() < end_ms) {
        bson_t task;
        bson_iter_t run;
        work.good_ms = boottime_ms();
        int result = task_claim(hub, &claim, &task, &work.fence, &work.error);
        work.run = bson_iter_init_find(&run, &task, "run") ? bson_iter_as_int64(&run) : 1;
        bool whole = result <= 0 || can_resume(&work, &task);
        bson_destroy(&task);
        if (!whole) {
            status = complain(&work.error);
            break;
        }
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
        if (result == 0 && until_empty && task_promote(hub, &error) == 0 && anything_left(hub, &error) == 0) {
            break;
        }
        wait_ms(20);
    }
    if (number("figures", 0) != 0) {
        printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", done, worst_ms, last_ms);
    }
    return status != 0 ? status : lost > 0 ? LOST : done > 0 ? 0 : NOTHING;
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
    } verbs[] = {{"submit", submit}, {"work", work_on}, {"sweep", sweep},
                 {"gc", collect},    {"save", save},    {"save-model", save_model}};
    static const char *const requests[] = {"restart", "delete-tasks", "delete-models", "delete-datasets",
                                           "cancel",  "pause",        "resume"};
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
