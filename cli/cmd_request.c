/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/choose.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/select_task.h"
#include "distributor/restart.h"
#include "distributor/table.h"
#include "hub/task.h"

#include <string.h>

/* Says how many tasks changed; none is CLI_NOTHING. */
static int say_changed(struct cli *cli, int64_t changed, const bson_error_t *error, const char *past,
                       const char *why_none)
{
    char text[64];
    bson_t report = BSON_INITIALIZER;
    int code;

    if (changed < 0) {
        bson_destroy(&report);
        return cli_fail(error);
    }
    BSON_APPEND_INT64(&report, "changed", changed);
    code = output_object(cli, &report, "%s %s", past, cli_plural(text, sizeof text, changed, "task"));
    bson_destroy(&report);
    return code == CLI_DONE && changed == 0 ? cli_say(CLI_NOTHING, "nothing to do: %s", why_none) : code;
}

/* The tasks that the command line selects, and a person's consent where one is asked; *ended: there is no more to do. */
static int choose(struct cli *cli, const char *verb, bson_t *filter, bool *ended)
{
    int code = select_task_filter(cli, filter);

    *ended = code != CLI_DONE;
    return *ended ? code : choose_confirm(cli, filter, verb, ended);
}

/* What needs nothing but those tasks. */
static int request(struct cli *cli, int64_t (*change)(struct hub *hub, const bson_t *filter, bson_error_t *error),
                   const char *verb, const char *past, const char *why_none)
{
    bson_t filter;
    bson_error_t error;
    bool ended;
    int code = choose(cli, verb, &filter, &ended);
    if (!ended) {
        code = say_changed(cli, change(cli->hub, &filter, &error), &error, past, why_none);
    }
    bson_destroy(&filter);
    return code;
}

static const struct cli_option cancel_options[] = {
    {"reason", 0, CLI_TEXT, "TEXT", "why, kept on the task"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static int run_cancel(struct cli *cli)
{
    bson_t filter, unused = BSON_INITIALIZER;
    bson_error_t error;
    bool ended;
    const char *reason = cli_text(cli, "reason");

    int code = fields_append_text(cli, "reason", "reason", reason, &unused);
    bson_destroy(&unused);
    if (code != CLI_DONE) {
        return code;
    }
    code = choose(cli, "cancel", &filter, &ended);
    if (!ended) {
        code = say_changed(cli, task_cancel(cli->hub, &filter, reason, &error), &error, "cancelled",
                           "those tasks have ended already");
    }
    bson_destroy(&filter);
    return code;
}

const struct cli_command cmd_cancel_task = {
    .verb = "cancel-task",
    .summary = "Cancel tasks; running ones stop at their next heartbeat",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {cancel_options, select_task_options, select_options, choose_options},
    .examples = "  tl_hub cancel-task 12\n  tl_hub cancel-task 'running and runtime>2h and progress.accuracy<0.6'\n  tl_hub cancel-task --sweep fashion-width --reason 'wrong data'",
    .run = run_cancel,
};

static int64_t stop(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    return task_stop(hub, filter, "at the user's request", error);
}

static int run_stop(struct cli *cli)
{
    return request(cli, stop, "stop", "stopped", "those tasks have ended already");
}

const struct cli_command cmd_stop_task = {
    .verb = "stop-task",
    .summary = "End running tasks early with what they have: a model, predictions, measured rows; cancel those that wait",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_task_options, select_options, choose_options},
    .examples = "  tl_hub stop-task 12\n  tl_hub stop-task --where 'progress.epoch>50 and state=running'",
    .run = run_stop,
};

static int run_pause(struct cli *cli)
{
    return request(cli, task_pause, "pause", "paused", "those tasks have ended or are paused already");
}

const struct cli_command cmd_pause_task = {
    .verb = "pause-task",
    .summary = "Pause tasks until resume-task",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_task_options, select_options, choose_options},
    .examples = "  tl_hub pause-task --state ready",
    .run = run_pause,
};

static int run_resume(struct cli *cli)
{
    return request(cli, task_resume, "resume", "resumed", "none of those tasks is paused");
}

const struct cli_command cmd_resume_task = {
    .verb = "resume-task",
    .summary = "Make paused tasks ready again",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_task_options, select_options, choose_options},
    .examples = "  tl_hub resume-task --all",
    .run = run_resume,
};

static const struct cli_option set_options[] = {
    {"priority", 0, CLI_INTEGER, "N", "higher first"},
    {"queue", 0, CLI_TEXT, "NAME", "for runners of this queue"},
    {"resource-class", 0, CLI_TEXT, "CLASS", "for runners of this class, such as cpu: whatever it was estimated to need"},
    {"max-crashes", 0, CLI_COUNT, "N", "crashes until a task is dead"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static int run_set(struct cli *cli)
{
    bson_t filter, set = BSON_INITIALIZER;
    bson_error_t error;
    bool ended;
    const char *queue = cli_text(cli, "queue");

    if (cli_text(cli, "priority") != NULL) {
        BSON_APPEND_INT64(&set, "priority", cli_integer(cli, "priority", 0));
    }
    if (cli_text(cli, "max-crashes") != NULL) {
        BSON_APPEND_INT64(&set, "max_crashes", cli_integer(cli, "max-crashes", 0));
    }
    int code = fields_append_text(cli, "queue", "queue", queue, &set);
    if (code == CLI_DONE) {
        code = fields_append_text(cli, "resource-class", "resource_class", cli_text(cli, "resource-class"), &set);
    }
    if (code == CLI_DONE && bson_empty(&set)) {
        code = cli_usage(cli, "set what? Give --priority, --queue, --resource-class or --max-crashes");
    }
    if (code != CLI_DONE) {
        bson_destroy(&set);
        return code;
    }
    code = choose(cli, "change", &filter, &ended);
    if (!ended) {
        code = say_changed(cli, task_set(cli->hub, &filter, &set, &error), &error, "changed",
                           "those tasks have ended already");
    }
    bson_destroy(&filter);
    bson_destroy(&set);
    return code;
}

const struct cli_command cmd_set_task = {
    .verb = "set-task",
    .summary = "Change priority, queue, class or crash limit of tasks that have not ended",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {set_options, select_task_options, select_options, choose_options},
    .examples = "  tl_hub set-task 124-186,190 --priority 10\n  tl_hub set-task --sweep fashion-width --queue night",
    .run = run_set,
};

static const struct cli_option restart_options[] = {
    {"from", 0, CLI_TEXT, "FILE", "a table (.csv, .xlsx): the tasks whose rows have other hyper-parameters, with those"},
    {"set", 0, CLI_TEXTS, "KEY=VALUE", "another value of a hyper-parameter; may be given again"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* What is in the table that was not in the tasks; a person sees how many before they are restarted. */
static int restart_from(struct cli *cli, const char *path)
{
    struct table_changes changes;
    bson_t report = BSON_INITIALIZER;
    bson_error_t error;
    char tasks[64];

    int code = cli_open(cli, HUB_OPEN_EXISTING);
    if (code == CLI_DONE && table_restart(cli->hub, path, true, &changes, &error) < 0) {
        code = cli_fail(&error);
    }
    if (code == CLI_DONE) {
        cli_plural(tasks, sizeof tasks, changes.restarted, "task");
        if (cli_flag(cli, "dry-run")) {
            BSON_APPEND_INT64(&report, "would_change", changes.restarted);
            code = output_object(cli, &report, "would restart %s of %lld rows", tasks, (long long)changes.rows);
        } else if (changes.restarted > 0 && !cli_confirm(cli, "restart %s?", tasks)) {
            code = cli_say(CLI_NOTHING, "nothing was done");
        } else if (table_restart(cli->hub, path, false, &changes, &error) < 0) {
            code = cli_fail(&error);
        } else {
            code = say_changed(cli, changes.restarted, &error, "restarted", "every row is as its task is");
        }
    }
    bson_destroy(&report);
    return code;
}

static int run_restart(struct cli *cli)
{
    bson_t filter, set = BSON_INITIALIZER;
    bson_error_t error;
    bool ended;

    int code = fields_append_settings(cli, "set", &set);
    if (code == CLI_DONE && cli_text(cli, "from") != NULL) {
        bool more = cli->argument_count > 0 || !bson_empty(&set);
        bson_destroy(&set);
        return more ? cli_usage(cli, "--from: the table says which tasks, and with what") : restart_from(cli, cli_text(cli, "from"));
    }
    if (code != CLI_DONE) {
        bson_destroy(&set);
        return code;
    }
    code = choose(cli, "restart", &filter, &ended);
    if (!ended) {
        int64_t changed = restart_tasks(cli->hub, &filter, bson_empty(&set) ? NULL : &set, &error);
        code = changed < 0 && !bson_empty(&set) && hub_error_code(&error) == HUB_ERROR_INVALID
                   ? cli_usage(cli, "--set: %s", error.message)
                   : say_changed(cli, changed, &error, "restarted", "none of those tasks has ended");
    }
    bson_destroy(&filter);
    bson_destroy(&set);
    return code;
}

const struct cli_command cmd_restart_task = {
    .verb = "restart-task",
    .summary = "Start a new run of tasks that have ended; earlier models stay",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {restart_options, select_task_options, select_options, choose_options},
    .examples = "  tl_hub restart-task --from runs.xlsx\n  tl_hub restart-task 3 --set epochs=20\n  tl_hub restart-task 124-186,190\n"
                "  tl_hub restart-task crashed,144-149\n  tl_hub restart-task --state failed,dead",
    .run = run_restart,
};
