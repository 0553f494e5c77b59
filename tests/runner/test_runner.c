/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor and its workers: signals, crashes, limits, leaving. */
#include "fixture.h"

#include <dirent.h>

TestSuite(runner, .init = open_hub, .fini = close_hub, .timeout = 300);

/* The workers of a runner's process. */
static int workers_of(pid_t runner, pid_t *pids, int most)
{
    int found = 0;
    DIR *directory = opendir("/proc");
    for (struct dirent *entry; directory && found < most && (entry = readdir(directory));) {
        char path[300], name[64];
        int pid = atoi(entry->d_name), parent = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = pid > 0 ? fopen(path, "r") : NULL;
        if (file && fscanf(file, "%*d (%63[^)]) %*c %d", name, &parent) == 2 && parent == runner)
            pids[found++] = pid;
        if (file)
            fclose(file);
    }
    if (directory)
        closedir(directory);
    return found;
}

Test(runner, sigterm_gives_the_tasks_back_and_consumes_no_attempt)
{
    add_task("long1", LONG, "");
    add_task("long2", LONG, "");
    pid_t runner = start_runner("{\"workers\": 2}");
    wait_for("tasks", "{'state': 'running', 'started': true}", 2, 20);
    double started = now();
    kill(runner, SIGTERM);
    cr_expect_eq(wait_runner(runner, 30), 0);
    cr_expect_lt(now() - started, 10);
    cr_expect_eq(count("tasks", "{'state': 'ready'}"), 2, "claimable at once");
    cr_expect_eq(count("tasks", "{'crashes': {'$gt': 0}}"), 0);
    cr_expect_eq(count("runners", "{'state': 'gone'}"), 1);
}

Test(runner, sigusr1_finishes_what_runs_and_leaves)
{
    add_task("runs", "'epochs': 5000, 'batch_size': 4", "");
    pid_t runner = start_runner("{\"workers\": 1}");
    wait_for("tasks", "{'state': 'running'}", 1, 20);
    add_task("waits", "'epochs': 1", "");
    kill(runner, SIGUSR1);
    cr_expect_eq(wait_runner(runner, 200), 0);
    cr_expect_eq(count("tasks", "{'name': 'runs', 'state': 'done'}"), 1);
    cr_expect_eq(count("tasks", "{'name': 'waits', 'state': 'ready'}"), 1);
}

Test(runner, a_killed_worker_counts_a_crash_and_its_task_runs_again)
{
    pid_t pid;
    add_task("killed", "'epochs': 5000, 'batch_size': 4", "");
    pid_t runner = start_runner("{\"workers\": 1, \"until_empty\": true}");
    wait_for("tasks", "{'state': 'running', 'started': true}", 1, 20);
    cr_assert_eq(workers_of(runner, &pid, 1), 1);
    kill(pid, SIGKILL);
    wait_for("tasks", "{'crashes': 1}", 1, 5); /* at once, not after a lease */
    cr_expect_eq(wait_runner(runner, 60), 0);
    bson_t *task = find_one("tasks", "{'name': 'killed'}");
    cr_expect_str_eq(document_string(task, "state"), "done");
    cr_expect_eq(number(task, "claims"), 2);
    bson_destroy(task);
}

Test(runner, a_task_that_kills_its_worker_too_often_is_dead)
{
    pid_t pid;
    add_task("poison", LONG, "'max_crashes': 1");
    pid_t runner = start_runner("{\"workers\": 1, \"until_empty\": true}");
    wait_for("tasks", "{'state': 'running', 'started': true}", 1, 20);
    cr_assert_eq(workers_of(runner, &pid, 1), 1);
    kill(pid, SIGABRT);
    cr_expect_eq(wait_runner(runner, 30), 0);
    bson_t *task = find_one("tasks", "{'name': 'poison'}");
    cr_expect_str_eq(document_string(task, "state"), "dead");
    cr_expect_not_null(strstr(document_string(task, "error.message"), "signal 6"), "%s",
                       document_string(task, "error.message"));
    bson_destroy(task);
}

Test(runner, a_task_that_kills_at_once_is_dead_after_three_with_what_was_said)
{
    struct heard heard = {0};
    setenv("TL_TEST_POISON", "900", 1);
    add_task("poison", LONG, "");
    struct runner_summary summary = run((struct runner_options){.workers = 1, .until_empty = true}, &heard);
    unsetenv("TL_TEST_POISON");
    bson_t *task = find_one("tasks", "{'name': 'poison'}");
    cr_expect_str_eq(document_string(task, "state"), "dead");
    cr_expect_eq(number(task, "crashes"), 3);
    cr_expect_eq(number(task, "claims"), 3);
    cr_expect_eq(summary.crashed, 3);
    const char *output = document_string(task, "error.output");
    cr_expect(output && strstr(output, "about to die"), "%s", output ? output : "(no output)");
    bson_destroy(task);
}

Test(runner, workers_of_a_killed_runner_give_their_tasks_back)
{
    add_task("long", LONG, "");
    pid_t runner = start_runner("{\"workers\": 1}");
    wait_for("tasks", "{'state': 'running', 'started': true}", 1, 20);
    kill(runner, SIGKILL);
    wait_for("tasks", "{'state': 'ready'}", 1, 10);
    cr_expect_eq(wait_runner(runner, 5), 128 + SIGKILL);
}

Test(runner, max_tasks_is_exact_over_all_workers)
{
    for (int i = 0; i < 12; i++)
        add_task("many", "'epochs': 1", "");
    struct heard heard = {0};
    struct runner_summary summary = run((struct runner_options){.workers = 4, .max_tasks = 7}, &heard);
    cr_expect_eq(summary.done, 7);
    cr_expect_eq(heard.claimed, 7);
    cr_expect_eq(count("tasks", "{'state': 'ready'}"), 5);
    cr_expect_eq(count("tasks", "{'state': 'done'}"), 7);
}

Test(runner, until_empty_waits_for_tasks_that_others_run)
{
    struct task_claim_options other = {.runner = "someone else"};
    struct task_fence fence;
    bson_t task;
    add_task("theirs", "'epochs': 1", "");
    cr_assert_eq(task_claim(hub, &other, &task, &fence, error), 1, "%s", error->message);
    bson_destroy(&task);
    add_task("ours", "'epochs': 1", "");
    pid_t runner = start_runner("{\"workers\": 2, \"until_empty\": true}");
    wait_for("tasks", "{'name': 'ours', 'state': 'done'}", 1, 20);
    sleep(1);
    cr_assert_eq(kill(runner, 0), 0, "it waits");
    cr_expect_eq(waitpid(runner, NULL, WNOHANG), 0, "it waits");
    cr_assert_eq(task_release(hub, &fence, error), 1, "%s", error->message);
    cr_expect_eq(wait_runner(runner, 20), 0);
    cr_expect_eq(count("tasks", "{'state': 'done'}"), 2, "what came back was done");
}

Test(runner, until_empty_leaves_an_empty_queue_at_once)
{
    double started = now();
    run((struct runner_options){.workers = 2, .until_empty = true}, NULL);
    cr_expect_lt(now() - started, 5);
}

Test(runner, tasks_that_can_never_start_do_not_hold_it)
{
    struct heard heard = {0};
    bson_t *first = json("{'_id': 'first', 'name': 'fails', 'dataset': 'none', 'architecture': 'dense:3'}");
    bson_t *second = json("{'name': 'waits', 'dataset': 'blobs', 'architecture': 'dense:3', 'after': ['first']}");
    cr_assert_eq(task_create(hub, first, NULL, error), 1, "%s", error->message);
    cr_assert_eq(task_create(hub, second, NULL, error), 1, "%s", error->message);
    run((struct runner_options){.workers = 1, .until_empty = true}, &heard);
    cr_expect_eq(count("tasks", "{'name': 'waits', 'state': 'done'}"), 0);
    bson_destroy(first);
    bson_destroy(second);
}

Test(runner, tasks_run_after_those_that_they_wait_for)
{
    bson_t *first = json("{'_id': 'first', 'name': 'first', 'dataset': 'blobs', 'architecture': 'dense:3',"
                         " 'hyper_parameters': {'epochs': 1}}");
    bson_t *second = json("{'name': 'second', 'kind': 'test', 'model': 'first', 'after': ['first']}");
    cr_assert_eq(task_create(hub, second, NULL, error), 1, "%s", error->message);
    cr_assert_eq(task_create(hub, first, NULL, error), 1, "%s", error->message);
    struct runner_summary summary = run((struct runner_options){.workers = 2, .until_empty = true}, NULL);
    cr_expect_eq(summary.done, 2);
    bson_destroy(first);
    bson_destroy(second);
}

static void request(int64_t (*ask)(struct hub *, const bson_t *, const char *, bson_error_t *))
{
    bson_t *all = json("{'name': 'long'}");
    cr_assert_eq(ask(hub, all, "not wanted any more", error), 1, "%s", error->message);
    bson_destroy(all);
}

Test(runner, a_task_that_is_cancelled_ends_without_a_model)
{
    add_task("long", LONG, "");
    pid_t runner = start_runner("{\"workers\": 1, \"until_empty\": true, \"lease_ms\": 6000}");
    wait_for("tasks", "{'state': 'running', 'claim.beat': {'$gt': 0}}", 1, 20);
    request(task_cancel);
    cr_expect_eq(wait_runner(runner, 20), 0);
    cr_expect_eq(count("tasks", "{'state': 'cancelled'}"), 1);
    cr_expect_eq(count("models", "{}"), 0);
}

Test(runner, progress_and_logs_are_seen_while_a_task_runs)
{
    add_task("long", LONG, "");
    pid_t runner = start_runner("{\"workers\": 1, \"lease_ms\": 6000}");
    wait_for("tasks", "{'progress.step': {'$gt': 0}, 'progress.seconds_left': {'$gt': 0}}", 1, 20);
    wait_for("logs", "{'split': 'validation', 'number': 0}", 1, 20);
    kill(runner, SIGINT);
    cr_expect_eq(wait_runner(runner, 20), 0);
}

Test(runner, a_short_task_costs_two_commits)
{
    add_task("short", "'epochs': 1", "");
    run((struct runner_options){.workers = 1, .until_empty = true}, NULL);
    bson_t *task = find_one("tasks", "{'state': 'done'}");
    cr_expect_eq(number(task, "claim.beat"), 0, "no beat, no progress: only the claim and the finish");
    cr_expect(!document_has(task, "progress"));
    cr_expect(!document_bool(task, "started", false));
    bson_destroy(task);
}

Test(runner, nothing_secret_is_in_a_workers_arguments_or_environment)
{
    pid_t pid;
    char path[64], text[65536];
    setenv("TL_TEST_MARK", "seen", 1);
    add_task("long", LONG, "");
    pid_t runner = start_runner("{\"workers\": 1}");
    wait_for("tasks", "{'state': 'running'}", 1, 20);
    cr_assert_eq(workers_of(runner, &pid, 1), 1);
    static const char *const files[] = {"cmdline", "environ"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, files[i]);
        FILE *file = fopen(path, "r");
        cr_assert_not_null(file);
        size_t length = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        for (size_t j = 0; j < length; j++)
            text[j] = text[j] ? text[j] : ' ';
        text[length] = '\0';
        cr_expect_null(strstr(text, uri), "%s: %s", files[i], text);
        cr_expect_not_null(strstr(text, i ? "TL_TEST_MARK=seen" : "--worker-process"), "%s", text);
    }
    kill(runner, SIGTERM);
    cr_expect_eq(wait_runner(runner, 20), 0);
}

Test(runner, no_hub_is_one_clear_error)
{
    struct runner_options options = {.uri = "sqlite:/nowhere/at/all.db", .workers = 1};
    struct runner_summary summary;
    cr_expect_eq(runner_run(&options, NULL, NULL, NULL, &summary, error), -1);
    cr_expect_eq(hub_error_code(error), HUB_ERROR_NOT_FOUND, "%s", error->message);
}

Test(runner, workers_that_cannot_start_end_the_run)
{
    struct runner_options options = {.uri = uri, .workers = 2, .program = "/bin/false"};
    struct runner_summary summary;
    double started = now();
    cr_expect_eq(runner_run(&options, NULL, NULL, NULL, &summary, error), -1);
    cr_expect_not_null(strstr(error->message, "as soon as they start"), "%s", error->message);
    cr_expect_lt(now() - started, 20);
}
