/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"
#include "cli/commands.h"
#include "cli/select_task.h"
#include "hub/task.h"

#include <string.h>
#include <time.h>

static const struct cli_option options[] = {
    {"all", 0, CLI_FLAG, NULL, "every task of the project"},
    {"timeout", 0, CLI_DURATION, "TIME", "give up after so much time, with exit code 124"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

struct tally {
    int64_t total, ended, bad;
};

/* Ends that are not what was wanted. */
static int64_t count_bad(const bson_t *states)
{
    return output_integer(states, "failed", 0) + output_integer(states, "dead", 0) +
           output_integer(states, "cancelled", 0);
}

/* The tasks that match and, with unfinished, have not ended: one query, for a task may change its state between two. */
static int64_t count_tasks(struct cli *cli, const bson_t *filter, bool unfinished, bson_error_t *error)
{
    struct select_conditions conditions;
    bson_t whole;

    select_init(&conditions);
    select_add(&conditions, filter);
    select_add_text(&conditions, "project", hub_project(cli->hub));
    if (unfinished) {
        select_add_words(&conditions, "state", "waiting,delayed,ready,running,paused,parked");
    }
    select_filter(&conditions, &whole);
    int64_t count = store_count(hub_store(cli->hub), "tasks", &whole, error);
    bson_destroy(&whole);
    select_destroy(&conditions);
    return count;
}

static void say_progress(struct bar *bar, const struct tally *tally, int64_t *said)
{
    char text[128];
    snprintf(text, sizeof text, "%lld of %lld tasks have ended", (long long)tally->ended, (long long)tally->total);
    if (bar->on) {
        bar_draw(bar, text, (double)tally->ended / (double)tally->total);
    } else if (tally->ended != *said) {
        cli_note("%s", text);
        *said = tally->ended;
    }
}

/* Until all have ended; fills *tally but for what ended badly. */
static int wait_for(struct cli *cli, const bson_t *filter, struct tally *tally)
{
    int64_t start = bar_clock(), timeout = cli_integer(cli, "timeout", -1), pause = 100, said = -1;
    bson_error_t error;
    struct bar bar;

    bar_init(&bar, cli);
    for (;;) {
        int64_t unfinished = count_tasks(cli, filter, true, &error);
        tally->total = unfinished < 0 ? -1 : count_tasks(cli, filter, false, &error);
        if (tally->total <= 0) {
            bar_end(&bar);
            return tally->total < 0 ? cli_fail(&error) : cli_say(CLI_NOTHING, "no tasks found: nothing to wait for");
        }
        if (unfinished == 0) {
            bar_end(&bar);
            return CLI_DONE;
        }
        tally->ended = tally->total > unfinished ? tally->total - unfinished : 0;
        say_progress(&bar, tally, &said);
        int64_t left = timeout < 0 ? pause : start + timeout - bar_clock();
        if (left <= 0) {
            bar_end(&bar);
            return cli_say(CLI_TIMEOUT, "the time is over: %lld of %lld tasks have ended", (long long)tally->ended,
                           (long long)tally->total);
        }
        int64_t sleep = left < pause ? left : pause;
        struct timespec time = {.tv_sec = sleep / 1000, .tv_nsec = sleep % 1000 * 1000000};
        nanosleep(&time, NULL);
        pause = pause < 1000 ? pause + 100 : 1000;
    }
}

static int run(struct cli *cli)
{
    bson_t filter, states = BSON_INITIALIZER;
    struct tally tally = {0};
    bson_error_t error;

    int code = select_task_filter(cli, &filter);
    if (code == CLI_DONE) {
        code = wait_for(cli, &filter, &tally);
    }
    if (code == CLI_DONE) {
        bson_destroy(&states);
        code = task_count_states(cli->hub, &filter, &states, &error) < 0 ? cli_fail(&error) : CLI_DONE;
    }
    if (code == CLI_DONE) {
        char text[64];
        tally.bad = count_bad(&states);
        code = output_object(cli, &states, "%s ended: %lld well, %lld not",
                             cli_plural(text, sizeof text, tally.total, "task"), (long long)(tally.total - tally.bad),
                             (long long)tally.bad);
        code = code == CLI_DONE && tally.bad > 0 ? CLI_FAILED : code;
    }
    bson_destroy(&states);
    bson_destroy(&filter);
    return code;
}

const struct cli_command cmd_wait = {
    .verb = "wait",
    .summary = "Wait until tasks have ended",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {options, select_task_options, select_options},
    .details = "exit: 0 all of them done (or stopped on purpose), 1 some failed, dead or cancelled, 3 there are no "
               "such tasks,\n"
               "124 the time of --timeout is over. Paused tasks are waited for, too.",
    .examples = "  tl_hub wait --sweep fashion-width\n  tl_hub wait 12 13 --timeout 1h",
    .run = run,
};
