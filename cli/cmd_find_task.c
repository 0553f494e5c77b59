/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/select_task.h"
#include "cli/snapshot.h"
#include "hub/task.h"

#include <string.h>

#define LOOKED_AT 1000 /* ready tasks, for classes that nobody takes */

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

/* Says of each class of which ready tasks were found, and that no living runner takes, that it is so. Only classes with needs
 * are asked about: a runner for every other one is only a matter of starting it. */
static void say_unserved(struct cli *cli, const bson_t *filter)
{
    bson_t ready = BSON_INITIALIZER, projection = BSON_INITIALIZER, runners = BSON_INITIALIZER, said = BSON_INITIALIZER;
    struct store_find_options options = {.projection = &projection, .limit = LOOKED_AT};
    const bson_t *task;
    bson_error_t error;
    bool asked = false;

    bson_t both, one;
    BSON_APPEND_ARRAY_BEGIN(&ready, "$and", &both);
    BSON_APPEND_DOCUMENT_BEGIN(&both, "0", &one);
    BSON_APPEND_UTF8(&one, "state", "ready");
    bson_append_document_end(&both, &one);
    BSON_APPEND_DOCUMENT(&both, "1", filter);
    bson_append_array_end(&ready, &both);
    BSON_APPEND_INT32(&projection, "queue", 1);
    BSON_APPEND_INT32(&projection, "resource_class", 1);
    struct store_cursor *cursor = task_find(cli->hub, &ready, &options, &error);
    while (cursor != NULL && store_cursor_next(cursor, &task, &error) > 0) {
        const char *queue = output_text(task, "queue"), *class = output_text(task, "resource_class");
        if (queue == NULL || class == NULL || strchr(class, '+') == NULL || bson_has_field(&said, class)) {
            continue;
        }
        if (!asked && snapshot_take_runners(cli->hub, &runners, &error) < 0) {
            break;
        }
        asked = true;
        if (!snapshot_is_served(&runners, queue, class)) {
            bson_append_bool(&said, class, -1, true);
            cli_note("ready tasks that need %s: no living runner takes them (see: tl_hub status)", class);
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&said);
    bson_destroy(&runners);
    bson_destroy(&projection);
    bson_destroy(&ready);
}

static int run_find(struct cli *cli)
{
    struct select_conditions conditions;
    select_init(&conditions);
    if (select_task_take_options(cli, &conditions) != CLI_DONE) {
        select_destroy(&conditions);
        return CLI_USAGE;
    }
    return select_and_print(cli, &select_tasks, &conditions, cli->format == CLI_TABLE ? say_unserved : NULL);
}

const struct cli_command cmd_find_task = {
    .verb = "find-task",
    .summary = "List tasks in every state, newest first",
    .arguments = "[TASK]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_task_options, select_options, select_order_options},
    .details = "A TASK is a number (#124 or 124), a name (every task of it), an id, or the first six or more digits of "
               "an id.\n"
               "States: waiting, delayed, ready, running, paused, parked, done, failed, dead, cancelled, stopped.",
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
