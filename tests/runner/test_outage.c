/* SPDX-License-Identifier: Apache-2.0 */
/* A hub that goes away and comes back while runners work: nothing is lost and nothing is done twice. */
#include "fixture.h"
#include "proxy.h"
#include "server.h"

#include <dirent.h>


TEST_USES_SERVER;

static struct proxy proxy;
static char *direct_uri;

/* hub is straight to the server; runners, by uri, go through the proxy. */
static void open_server(void)
{
    direct_uri = test_server_database(NULL);
    cr_assert_eq(hub_init(direct_uri, NULL, error), 1, "%s", error->message);
    hub = hub_open(direct_uri, NULL, HUB_OPEN_EXISTING, error);
    cr_assert_not_null(hub, "%s", error->message);
    save_blobs(300);
    proxy_start(&proxy, direct_uri);
    uri = proxy.uri;
}

static void close_server(void)
{
    if (!hub)
        return;
    hub_close(hub);
    proxy_stop(&proxy);
    free(direct_uri);
}

TestSuite(outage, .init = open_server, .fini = close_server, .timeout = 300);

static void add(const char *name, int epochs, const char *more)
{
    bson_t *fields = json("{'name': '%s', 'dataset': 'blobs', 'architecture': 'dropout:0.1 dense:24:relu dense:3',"
                          " 'hyper_parameters': {'epochs': %d, 'batch_size': 7, 'seed': 3}%s%s}",
                          name, epochs, *more ? ", " : "", more);
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    bson_destroy(fields);
}

struct points {
    int64_t last;
    int64_t wrong; /* the first step that comes when another one should; 0: none */
};

/* 43 steps an epoch; a point at every tenth step, and one at each epoch's end. */
static int64_t step_after(int64_t step)
{
    int64_t tenth = step - step % 10 + 10, end = step - step % 43 + 43;
    return tenth < end ? tenth : end;
}

static int look(const bson_t *bucket, void *data)
{
    struct points *points = data;
    bson_t list;
    bson_iter_t at;
    cr_assert(document_array(bucket, "points", &list) && bson_iter_init(&at, &list));
    while (bson_iter_next(&at)) {
        char path[32];
        int64_t step = -1; /* one that is missing is a wrong one; an assertion a point would cost more than the training */
        snprintf(path, sizeof path, "%s.step", bson_iter_key(&at));
        document_integer(&list, path, &step);
        if (points->wrong == 0 && step != step_after(points->last))
            points->wrong = step;
        points->last = step;
    }
    return 0;
}

/* Each point once and none missing, to the end of the epochs; epochs 0: it was stopped, its last point may be any. */
static void expect_logs(const char *name, int epochs)
{
    bson_t *task = json("{'name': '%s'}", name), *split = json("{'split': 'train'}");
    struct points points = {0};
    cr_assert_geq(logs_read(hub, task, split, look, &points, error), 0, "%s", error->message);
    cr_expect(points.wrong == 0 || (epochs == 0 && points.wrong == points.last), "%s: step %lld came, not the one before",
              name, (long long)points.wrong);
    cr_expect(epochs == 0 ? points.last > 0 : points.last == 43 * (int64_t)epochs, "%s: the last point is of step %lld",
              name, (long long)points.last);
    bson_destroy(task);
    bson_destroy(split);
}

static void expect_ended(const char *name, const char *state, int claims)
{
    char filter[64];
    struct gc_report report;
    snprintf(filter, sizeof filter, "{'name': '%s'}", name);
    bson_t *task = find_one("tasks", filter);
    cr_expect_str_eq(document_string(task, "state"), state, "%s", document_string(task, "error.message"));
    cr_expect(document_bool(task, "published", false));
    cr_expect_eq(number(task, "claims"), claims);
    cr_expect_eq(number(task, "crashes"), 0);
    cr_expect_eq(count("models", filter), 1);
    cr_assert_eq(gc_run(hub, 500, false, &report, error), 1, "%s", error->message);
    cr_expect_eq(count("uploads", "{}"), 0);
    bson_t *model = find_one("models", filter);
    bson_iter_t at;
    uint8_t *data = NULL;
    size_t length;
    cr_assert(bson_iter_init_find(&at, model, "blob_id"));
    cr_expect_eq(blob_load(hub_store(hub), bson_iter_oid(&at), 1 << 20, &data, &length, error), 1, "%s", error->message);
    bson_free(data);
    bson_destroy(model);
    bson_destroy(task);
}

static void expect_done(const char *name, int claims)
{
    expect_ended(name, "done", claims);
}

static void expect_same(const char *one, const char *other)
{
    char filter[64];
    snprintf(filter, sizeof filter, "{'name': '%s'}", one);
    bson_t *first = find_one("models", filter);
    snprintf(filter, sizeof filter, "{'name': '%s'}", other);
    bson_t *second = find_one("models", filter);
    cr_expect_str_eq(document_string(first, "sha256"), document_string(second, "sha256"));
    bson_destroy(first);
    bson_destroy(second);
}

/* The hub is back. What fell into a black hole is lost, and its connections with it: nobody waits for them to time out. */
static void come_back(void)
{
    proxy_tell(&proxy, "reset");
}

/* ---- in training ---- */

static void train_through(const char *fault, double seconds)
{
    bson_t *all = json("{}");
    add("long", 1000000, "'log_every': 10");
    pid_t runner = start_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 30000}");
    wait_for("tasks", "{'state': 'running', 'started': true}", 1, 60);
    wait_for("logs", "{'split': 'train', 'number': 0}", 1, 60);
    proxy_tell(&proxy, "%s", fault);
    usleep((useconds_t)(seconds * 1e6));
    cr_expect_eq(waitpid(runner, NULL, WNOHANG), 0, "it works on");
    bson_t *before = find_one("tasks", "{}");
    char beaten[64];
    snprintf(beaten, sizeof beaten, "{'claim.beat': {'$gt': %lld}}", (long long)number(before, "claim.beat"));
    come_back();
    wait_for("tasks", beaten, 1, 60);
    cr_assert_eq(task_stop(hub, all, NULL, error), 1, "%s", error->message); /* it ends with what it has */
    cr_expect_eq(wait_runner(runner, 200), 0);
    expect_ended("long", "stopped", 1);
    expect_logs("long", 0);
    bson_destroy(before);
    bson_destroy(all);
}

Test(outage, in_training_while_connections_are_refused)
{
    train_through("refuse", 6);
}

Test(outage, in_training_while_nothing_is_answered)
{
    train_through("black-hole", 8);
}

Test(outage, longer_than_the_lease_gives_the_task_back_with_what_was_trained)
{
    bson_t *all = json("{}");
    add("long", 1000000, "'log_every': 10");
    pid_t runner = start_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 3000}");
    wait_for("tasks", "{'state': 'running', 'progress.seconds': {'$gt': 1.5}}", 1, 60);
    proxy_tell(&proxy, "refuse");
    sleep(4); /* two thirds of the lease are over, and the lease is, too */
    bson_t *task = find_one("tasks", "{'name': 'long'}");
    cr_expect_str_eq(document_string(task, "state"), "running", "nothing is taken from the living");
    bson_destroy(task);
    proxy_tell(&proxy, "forward");
    wait_for("tasks", "{'state': 'running', 'claims': {'$gt': 1}, 'progress.step': {'$gt': 0}}", 1, 100);
    cr_expect_eq(count("tasks", "{'checkpoint.step': {'$gt': 0}}"), 1);
    cr_assert_eq(task_stop(hub, all, NULL, error), 1, "%s", error->message);
    cr_expect_eq(wait_runner(runner, 100), 0);
    task = find_one("tasks", "{'name': 'long'}");
    expect_ended("long", "stopped", (int)number(task, "claims"));
    expect_logs("long", 0); /* it went on: not one step was logged twice */
    bson_destroy(task);
    bson_destroy(all);
}

Test(outage, is_no_reason_to_stay_when_told_to_stop)
{
    bson_t *all = json("{}");
    add("long", 1000000, "'log_every': 10");
    pid_t runner = start_runner("{\"workers\": 1, \"lease_ms\": 5000}");
    wait_for("tasks", "{'state': 'running', 'progress.seconds': {'$gt': 1}}", 1, 60);
    proxy_tell(&proxy, "refuse");
    usleep(500000);
    kill(runner, SIGTERM);
    cr_expect_neq(wait_runner(runner, 40), -1, "it is out");
    proxy_tell(&proxy, "forward");
    runner = start_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 3000}");
    wait_for("tasks", "{'state': 'running', 'claims': 2, 'progress.step': {'$gt': 0}}", 1, 60);
    cr_assert_eq(task_stop(hub, all, NULL, error), 1, "%s", error->message);
    cr_expect_eq(wait_runner(runner, 60), 0);
    cr_expect_eq(count("tasks", "{'state': 'stopped'}"), 1);
    expect_logs("long", 0);
    bson_destroy(all);
}

/* ---- in the finish ---- */

/* Until the fault has met the request that it is for: else the test would show nothing. */
static void wait_for_fault(void)
{
    for (int i = 0; proxy_dropped(&proxy) == 0; i++, usleep(20000))
        cr_assert_lt(i, 6000, "the fault has met nothing");
}

/* The fault meets the first request that holds the text; then there is no hub for some seconds. */
static void finish_through(const char *fault, const char *then)
{
    add("short", 300, "'log_every': 10");
    proxy_tell(&proxy, "%s", fault);
    if (*then)
        proxy_tell(&proxy, "then %s", then);
    pid_t runner = start_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 60000}");
    wait_for_fault();
    if (*then) {
        sleep(2);
        cr_expect_eq(waitpid(runner, NULL, WNOHANG), 0, "it holds on to what it has");
        come_back();
    }
    cr_expect_eq(wait_runner(runner, 200), 0);
    expect_done("short", 1);
    expect_logs("short", 300);
    cr_expect_eq(count("blobs.files", "{'metadata.kind': 'model'}"), 1);
}

Test(outage, in_the_upload)
{
    finish_through("lose files_id", "refuse");
}

Test(outage, in_the_upload_without_an_answer)
{
    finish_through("cut files_id", "black-hole");
}

Test(outage, before_the_commit)
{
    finish_through("cut claim_id", "refuse");
}

Test(outage, behind_the_commit)
{
    finish_through("lose claim_id", "refuse");
}

Test(outage, of_the_reply_to_the_commit_alone)
{
    finish_through("lose claim_id", "");
}

Test(outage, of_the_reply_to_the_model_alone)
{
    finish_through("lose setOnInsert", "");
}

/* ---- of a checkpoint's reply ---- */

Test(outage, of_the_reply_to_a_checkpoint)
{
    add("through", 1000, "'log_every': 10");
    cr_expect_eq(wait_runner(start_runner("{\"workers\": 1, \"until_empty\": true}"), 200), 0);
    add("long", 1000, "'log_every': 10, 'checkpoint_every': 100");
    proxy_tell(&proxy, "lose log_claims 3");
    cr_expect_eq(wait_runner(start_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 60000}"), 200), 0);
    cr_expect_eq(proxy_dropped(&proxy), 3);
    expect_done("long", 1);
    expect_same("through", "long");
    expect_logs("long", 1000);
    cr_expect_eq(count("blobs.files", "{'metadata.kind': 'checkpoint'}"), 0, "gc had them");
}

/* ---- a worker that slept: on SQLite, where the order of events is known ---- */

TestSuite(zombie, .init = open_hub, .fini = close_hub, .timeout = 300);

/* Everything that the collection holds, as text. */
static char *dump(const char *collection)
{
    bson_string_t *text = bson_string_new(NULL);
    bson_t *sort = json("{'_id': 1}");
    const bson_t *document;
    struct store_find_options options = {.sort = sort};
    struct store_cursor *cursor = store_find(hub_store(hub), collection, NULL, &options, error);
    while (store_cursor_next(cursor, &document, error) == 1) {
        char *line = document_json(document);
        bson_string_append_printf(text, "%s\n", line);
        bson_free(line);
    }
    store_cursor_close(cursor);
    bson_destroy(sort);
    return bson_string_free(text, false);
}

/* A signal is only on its way at first: until its thread's turn comes, the process's other threads run on. */
static bool all_stopped(pid_t pid)
{
    char path[300];
    bool stopped = true;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    cr_assert_not_null(threads, "%s", path);
    for (struct dirent *entry; (entry = readdir(threads));) {
        char state = 'T';
        snprintf(path, sizeof path, "/proc/%d/task/%s/stat", (int)pid, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1 && state != 'T')
            stopped = false;
        if (file)
            fclose(file);
    }
    closedir(threads);
    return stopped;
}

/* Stops both where they do not hold the file's lock: nobody could go on without them then, by SQLite's nature. */
static void put_to_sleep(pid_t worker, pid_t runner)
{
    struct hub *impatient = hub_open_with_timeout(hub_uri(hub), NULL, 200, error);
    int64_t first;
    cr_assert_not_null(impatient, "%s", error->message);
    for (int i = 0; i < 50; i++) {
        usleep(20000);
        kill(runner, SIGSTOP);
        kill(worker, SIGSTOP);
        for (int j = 0; !(all_stopped(runner) && all_stopped(worker)); j++, usleep(5000))
            cr_assert_lt(j, 4000, "SIGSTOP does not stop them");
        if (store_counter_add(hub_store(impatient), "asleep", 1, &first, error) > 0)
            break;
        kill(worker, SIGCONT);
        kill(runner, SIGCONT);
        cr_assert_lt(i, 49, "%s", error->message);
    }
    hub_close(impatient);
}

Test(zombie, that_wakes_after_its_lease_gives_up_and_writes_nothing)
{
    static const char *const collections[] = {"tasks", "models", "logs", "uploads", "blobs.files", "blobs.chunks"};
    enum { COLLECTIONS = sizeof collections / sizeof *collections };
    char *before[COLLECTIONS], *events = test_path(".events");
    add_task("slept", "'epochs': 6000, 'batch_size': 7, 'seed': 3", "'log_every': 10, 'checkpoint_every': 300");
    setenv("TL_TEST_EVENTS", events, 1);
    pid_t sleeper = start_runner("{\"workers\": 1, \"lease_ms\": 3000}");
    unsetenv("TL_TEST_EVENTS");
    wait_for("tasks", "{'state': 'running', 'checkpoint.epoch': {'$gt': 300}}", 1, 60);
    pid_t worker = worker_of(sleeper);
    put_to_sleep(worker, sleeper);
    pid_t other = start_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 3000}");
    cr_expect_eq(wait_runner(other, 110), 0);
    cr_expect_eq(count("tasks", "{'name': 'slept', 'state': 'done', 'claims': 2}"), 1);
    for (int i = 0; i < COLLECTIONS; i++)
        before[i] = dump(collections[i]);
    kill(sleeper, SIGCONT);
    kill(worker, SIGCONT);
    char text[4096] = "";
    for (int i = 0; i < 500 && !strstr(text, "lost"); i++) { /* 5 s */
        usleep(10000);
        FILE *file = fopen(events, "r");
        size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
        text[length] = '\0';
        if (file)
            fclose(file);
    }
    cr_expect_not_null(strstr(text, "lost"), "it has given up: %s", text);
    sleep(2); /* and goes on doing nothing */
    for (int i = 0; i < COLLECTIONS; i++) {
        char *after = dump(collections[i]);
        cr_expect_str_eq(after, before[i], "%s", collections[i]);
        bson_free(after);
        bson_free(before[i]);
    }
    kill(sleeper, SIGTERM);
    cr_expect_eq(wait_runner(sleeper, 30), 0);
    free(events);
}
