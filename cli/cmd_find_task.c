/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/select_task.h"
#include "hub/task.h"

static const struct output_column columns[] = {
    {"#", "seq", OUTPUT_AUTO},
    {"name", "name", OUTPUT_TEXT},
    {"kind", "kind", OUTPUT_STATE},
    {"state", "state", OUTPUT_STATE},
    {"epoch", "progress.epoch", OUTPUT_AUTO},
    {"accuracy", "result.metrics.accuracy|progress.accuracy", OUTPUT_FRACTION},
    {"loss", "result.metrics.loss|progress.loss", OUTPUT_FRACTION},
    {"point", "point|hyper_parameters", OUTPUT_PARAMETERS},
    {"created", "created_at", OUTPUT_DATE},
    {"error", "error.message", OUTPUT_TEXT},
    {NULL, NULL, OUTPUT_AUTO},
};

const struct select_kind select_tasks = {
    .noun = "task",
    .find = task_find,
    .has_numbers = true,
    .sort = "seq:desc",
    .columns = columns,
};

static int run_find(struct cli *cli)
{
    struct select_conditions conditions;
    select_init(&conditions);
    if (select_task_take_options(cli, &conditions) != CLI_DONE) {
        select_destroy(&conditions);
        return CLI_USAGE;
    }
    return select_and_print(cli, &select_tasks, &conditions);
}

const struct cli_command cmd_find_task = {
    .verb = "find-task",
    .summary = "List tasks in every state, newest first",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_task_options, select_options, select_order_options},
    .details = "A TASK is a number (#124 or 124), a name (every task of it), an id, or the first six or more digits of "
               "an id.\n"
               "States: waiting, delayed, ready, running, paused, done, failed, dead, cancelled, stopped.",
    .examples = "  tl_hub find-task --unfinished\n"
                "  tl_hub find-task --state failed,dead --columns seq,name,error.message\n"
                "  tl_hub find-task --where 'hyper_parameters.learning_rate<0.01 and state=done' --sort "
                "result.metrics.accuracy:desc",
    .run = run_find,
};

static int run_delete(struct cli *cli)
{
    struct select_conditions conditions;
    select_init(&conditions);
    if (select_task_take_options(cli, &conditions) != CLI_DONE) {
        select_destroy(&conditions);
        return CLI_USAGE;
    }
    return select_and_delete(cli, &select_tasks, &conditions, task_delete);
}

const struct cli_command cmd_delete_task = {
    .verb = "delete-task",
    .summary = "Delete tasks that are not running, with their logs; models stay",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_task_options, select_options, select_delete_options},
    .examples = "  tl_hub delete-task 7 8\n  tl_hub delete-task --state cancelled --yes",
    .run = run_delete,
};
