/* SPDX-License-Identifier: Apache-2.0 */
/* A runner as a service: several projects and queues, labels, workers that die in the middle of a claim, leaving. */
#include "fixture.h"
#include "hub/runner_record.h"
#include "runner/heartbeat.h"
#include "runner/message.h"

#include <fcntl.h>

/* One worker of all that are started, the first to come here, claims as a worker does, and dies before it tells. */
__attribute__((constructor(101))) static void claim_and_die(int argc, char **argv)
{
    const char *once = getenv("TL_TEST_CLAIM_AND_DIE");
    bson_t configuration, source, task;
    struct task_fence fence;
    if (argc < 2 || strcmp(argv[1], "run-task") || !once || open(once, O_CREAT | O_EXCL | O_WRONLY, 0600) < 0)
        return;
    if (message_receive(3, -1, &configuration) <= 0 || !document_child(&configuration, "sources.0", &source))
        _exit(3);
    struct hub *own = hub_open(document_string(&configuration, "uri"), NULL, HUB_OPEN_EXISTING, NULL);
    struct task_claim_options options = {.project = document_string(&source, "project"),
                                         .queue = document_string(&source, "queue"),
                                         .resource_class = document_string(&source, "resource_class"),
                                         .runner = document_string(&configuration, "runner"),
                                         .worker = document_string(&configuration, "worker")};
    while (own && task_claim(own, &options, &task, &fence, NULL) <= 0)
        usleep(10000);
    raise(SIGKILL);
}

TestSuite(service, .init = open_hub, .fini = close_hub, .timeout = 120);

#define LIST(...) (const char *const[]){__VA_ARGS__, NULL}

static void add_in(const char *project, const char *queue, const char *name, const char *more)
{
    bson_t *fields = json("{'name': '%s', 'queue': '%s', 'dataset': 'blobs', 'architecture': 'dense:3',"
                          " 'hyper_parameters': {'epochs': 1}%s}", name, queue, more);
    hub_set_project(hub, project);
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    hub_set_project(hub, "default");
    bson_destroy(fields);
}

static void make_project(const char *project)
{
    cr_assert_geq(hub_init(uri, project, error), 0, "%s", error->message);
    hub_set_project(hub, project);
    save_blobs(60);
    hub_set_project(hub, "default");
}

/* The order in which the tasks were claimed, by name: "a b a b". */
static void order_of(char *text, size_t size)
{
    bson_t *sort = json("{'claimed_at': 1}"), *filter = json("{'state': 'done'}");
    struct store_find_options options = {.sort = sort};
    struct store_cursor *cursor = store_find(hub_store(hub), "tasks", filter, &options, error);
    const bson_t *task;
    size_t used = 0;
    text[0] = '\0';
    while (store_cursor_next(cursor, &task, error) > 0)
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "", document_string(task, "name"));
    store_cursor_close(cursor);
    bson_destroy(sort);
    bson_destroy(filter);
}

Test(service, projects_have_their_turns)
{
    char order[200];
    make_project("other");
    for (int i = 0; i < 6; i++)
        add_in("default", "default", "many", "");
    for (int i = 0; i < 2; i++)
        add_in("other", "default", "few", "");
    struct runner_summary summary =
        run((struct runner_options){.workers = 1, .until_empty = true, .projects = LIST("default", "other")}, NULL);
    cr_expect_eq(summary.done, 8);
    order_of(order, sizeof order);
    cr_expect_str_eq(order, "many few many few many many many many");
    cr_expect_eq(count("models", "{'project': 'other'}"), 2, "each in its project");
    cr_expect_eq(count("models", "{'project': 'default'}"), 6);
    cr_expect_eq(count("logs", "{'project': 'other'}"), 2 * count("logs", "{'project': 'default'}") / 6);
}

Test(service, queues_have_their_turns_and_priority_counts_within_one)
{
    char order[200];
    for (int i = 0; i < 3; i++)
        add_in("default", "night", "n", "");
    add_in("default", "night", "first", ", 'priority': 5");
    for (int i = 0; i < 2; i++)
        add_in("default", "day", "d", "");
    struct runner_summary summary =
        run((struct runner_options){.workers = 1, .until_empty = true, .queues = LIST("night", "day")}, NULL);
    cr_expect_eq(summary.done, 6);
    order_of(order, sizeof order);
    cr_expect_str_eq(order, "first d n d n n");
}

/* Both lanes have tasks from the start, and a worker goes round them. */
Test(service, lanes_have_their_turns)
{
    char order[256];
    cr_assert_eq(hub_set_lanes(hub, 2, error), 1, "%s", error->message);
    for (int i = 0; i < 6; i++) {
        char lane[40];
        snprintf(lane, sizeof lane, ", 'lane': %d", i < 3 ? 0 : 1);
        add_in("default", "default", i < 3 ? "0" : "1", lane);
    }
    struct runner_summary summary = run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    cr_expect_eq(summary.done, 6);
    order_of(order, sizeof order);
    cr_expect_str_eq(order, "0 1 0 1 0 1");
}

Test(service, only_a_runner_with_the_labels_takes_a_task_that_requires_them)
{
    add_in("default", "default", "needy", ", 'requires': ['gpu', 'bigmem']");
    add_in("default", "default", "modest", "");
    struct runner_summary summary =
        run((struct runner_options){.workers = 1, .until_empty = true, .labels = LIST("gpu")}, NULL);
    cr_expect_eq(summary.done, 1);
    cr_expect_eq(count("tasks", "{'name': 'needy', 'state': 'ready', 'resource_class': 'cpu+bigmem+gpu'}"), 1);
    summary = run((struct runner_options){.workers = 1, .until_empty = true, .labels = LIST("bigmem", "gpu", "fast")},
                  NULL);
    cr_expect_eq(summary.done, 1);
    cr_expect_eq(count("tasks", "{'name': 'needy', 'state': 'done'}"), 1);
}

Test(service, a_class_that_comes_later_is_found)
{
    pid_t runner = start_runner("{\"workers\": 1, \"labels\": [\"gpu\"], \"until_empty\": false}");
    wait_for("runners", "{'state': 'running'}", 1, 20);
    add_in("default", "default", "plain", "");
    wait_for("tasks", "{'state': 'done'}", 1, 20);
    add_in("default", "default", "needy", ", 'requires': ['gpu']");
    wait_for("tasks", "{'name': 'needy', 'state': 'done'}", 1, 100);
    kill(runner, SIGTERM);
    cr_expect_eq(wait_runner(runner, 30), 0);
}

Test(service, an_unknown_project_is_one_clear_error)
{
    struct runner_options options = {.uri = uri, .workers = 1, .projects = LIST("default", "nowhere")};
    struct runner_summary summary;
    cr_expect_eq(runner_run(&options, NULL, NULL, NULL, &summary, error), -1);
    cr_expect_eq(hub_error_code(error), HUB_ERROR_NOT_FOUND, "%s", error->message);
    cr_expect_not_null(strstr(error->message, "nowhere"), "%s", error->message);
}

/* An idle runner hears of a task by the file's change, not by polling. */
Test(service, a_fresh_task_is_taken_at_once_after_a_long_idle_time)
{
    pid_t runner = start_runner("{\"workers\": 1}");
    wait_for("runners", "{'state': 'running'}", 1, 20);
    sleep(9); /* by now it asks once a second by itself */
    double least = 100;
    for (int i = 0; i < 3; i++) {
        double added = now();
        add_in("default", "default", "fresh", "");
        while (count("tasks", "{'state': 'ready'}") > 0 && now() - added < 20)
            usleep(2000);
        double waited = now() - added;
        least = waited < least ? waited : least;
        sleep(2);
    }
    cr_expect_lt(least, 0.5, "%g s", least);
    kill(runner, SIGTERM);
    cr_expect_eq(wait_runner(runner, 30), 0);
}

Test(service, the_record_says_what_the_runner_is_and_serves)
{
    add_in("default", "default", "one", "");
    run((struct runner_options){.workers = 2, .until_empty = true, .queues = LIST("default", "night"),
                                .labels = LIST("gpu")},
        NULL);
    bson_t *record = find_one("runners", "{'state': 'gone'}");
    static const char *const texts[] = {"host", "cpu", "device", "program_version", "libraries"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_expect_not_null(document_string(record, texts[i]), "%s", texts[i]);
    cr_expect_str_eq(document_string(record, "projects.0"), "default");
    cr_expect_str_eq(document_string(record, "queues.1"), "night");
    cr_expect_str_eq(document_string(record, "resource_classes.0"), "cpu");
    cr_expect_str_eq(document_string(record, "labels.0"), "gpu");
    cr_expect_gt(number(record, "disk_free_bytes"), 0);
    cr_expect_gt(number(record, "memory_bytes"), 0);
    cr_expect_eq(number(record, "workers"), 2);
    bson_destroy(record);
}

Test(service, whoever_leaves_hands_the_sweepers_office_on)
{
    add_in("default", "default", "one", "");
    pid_t runner = start_runner("{\"workers\": 1}");
    wait_for("meta", "{'_id': 'sweeper', 'holder': {'$gt': ''}}", 1, 20);
    kill(runner, SIGTERM);
    cr_expect_eq(wait_runner(runner, 30), 0);
    cr_expect_eq(count("meta", "{'_id': 'sweeper', 'holder': ''}"), 1);
}

/* The claim stands in the hub, and the runner has never heard of it: it is not left to the lease, which is long here. The
 * other worker's task, claimed by the same runner, is not touched. */
Test(service, a_claim_that_nobody_was_told_of_is_ended_at_once)
{
    char *once = test_path(".once");
    add_task("long", LONG, "");
    add_task("short", "'epochs': 1", "");
    setenv("TL_TEST_CLAIM_AND_DIE", once, 1);
    pid_t runner = start_runner("{\"workers\": 2, \"lease_ms\": 600000}");
    unsetenv("TL_TEST_CLAIM_AND_DIE");
    wait_for("tasks", "{'crashes': 1}", 1, 20);
    wait_for("tasks", "{'state': 'done', 'name': 'short'}", 1, 20);
    wait_for("tasks", "{'state': 'running', 'name': 'long', 'claim.beat': {'$gte': 0}}", 1, 20);
    bson_t *crashed = find_one("tasks", "{'crashes': 1}");
    cr_expect_eq(number(crashed, "claims"), 2, "once by the dead, once more");
    bson_destroy(crashed);
    cr_expect_eq(count("tasks", "{'crashes': 0, 'claims': 1}"), 1, "the other one was left alone");
    kill(runner, SIGTERM);
    cr_expect_eq(wait_runner(runner, 30), 0);
    unlink(once);
    free(once);
}

/* A record that somebody has removed, for the runner was silent to him, comes back. */
Test(service, a_removed_record_is_written_again)
{
    pid_t runner = start_runner("{\"workers\": 1}");
    wait_for("runners", "{'state': 'running'}", 1, 20);
    bson_t *all = json("{}");
    cr_assert_eq(store_delete(hub_store(hub), "runners", all, error), 1, "%s", error->message);
    bson_destroy(all);
    add_in("default", "default", "news", ""); /* changes are said within 15 s */
    wait_for("runners", "{'state': 'running'}", 1, 40);
    kill(runner, SIGTERM);
    cr_expect_eq(wait_runner(runner, 30), 0);
}

Test(service, a_task_goes_to_a_runner_that_has_the_memory_for_it)
{
    struct heard heard = {0};
    add_in("default", "default", "small", "");
    add_in("default", "default", "large", ", 'needs': {'memory': 3000000000}, 'priority': 9");
    run((struct runner_options){.workers = 1, .until_empty = true, .memory = INT64_C(2) << 30}, &heard);
    cr_expect_eq(heard.done, 1);
    cr_expect_eq(count("tasks", "{'name': 'large', 'state': 'ready', 'claims': 0, 'resource_class': 'cpu+mem3g'}"), 1);
    cr_expect_eq(count("runners", "{'task_memory_bytes': 2147483648}"), 1);
    run((struct runner_options){.workers = 1, .until_empty = true, .memory = INT64_C(3) << 30}, &heard);
    cr_expect_eq(heard.done, 2);
    cr_expect_eq(count("tasks", "{'name': 'large', 'state': 'done'}"), 1);
}

Test(service, a_task_that_does_not_say_what_it_needs_fails_before_anything_is_allocated)
{
    struct heard heard = {0};
    bson_t *fields = json("{'name': 'foreign', 'dataset': 'blobs', 'architecture': 'dense:1000000:relu dense:1000:relu dense:3',"
                          " 'hyper_parameters': {'epochs': 1}}");
    cr_assert_eq(task_create(hub, fields, NULL, error), 1, "%s", error->message);
    run((struct runner_options){.workers = 1, .until_empty = true, .memory = INT64_C(1) << 30}, &heard);
    cr_expect_eq(heard.failed, 1);
    cr_expect(strstr(heard.last, "the task does not fit: it needs about 21.0 GiB") && strstr(heard.last, "gives a task 1.0 GiB"), "%s",
              heard.last);
    bson_destroy(fields);
}

Test(service, a_claim_says_how_long_it_may_be_silent)
{
    add_task("short", "'epochs': 1", "");
    run((struct runner_options){.workers = 1, .until_empty = true, .lease_ms = 7000}, NULL);
    cr_expect_eq(count("tasks", "{'claim.lease_ms': 7000}"), 1);
}

/* A lease of days is for who expects long outages; what a user asks for is heard as soon as with any other. */
Test(service, a_long_lease_does_not_put_off_requests)
{
    cr_expect_eq(heartbeat_interval_ms(6000), 1000);
    cr_expect_eq(heartbeat_interval_ms(TASK_LEASE_MS), 15000);
    cr_expect_eq(heartbeat_interval_ms(180000), 15000);
    cr_expect_eq(heartbeat_interval_ms(TASK_LEASE_MOST_MS), 15000);
}
