/* SPDX-License-Identifier: Apache-2.0 */
/* How many tasks, and which, before anything is done to them. */
#include "cli/choose.h"
#include "hub/task.h"

#include <string.h>
#include <unistd.h>

#define SHOWN 5

const struct cli_option choose_options[] = {
    {"all", 0, CLI_FLAG, NULL, "every task of the project"},
    {"yes", 'y', CLI_FLAG, NULL, "do not ask; tasks chosen by expression need it where there is no terminal"},
    {"dry-run", 0, CLI_FLAG, NULL, "only say which tasks"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* "12 running, 51 ready", and the sum. */
static int64_t tell_states(const bson_t *states, bson_string_t *text)
{
    bson_iter_t iter;
    int64_t total = 0;

    if (bson_iter_init(&iter, states)) {
        while (bson_iter_next(&iter)) {
            int64_t count = bson_iter_as_int64(&iter);
            if (count > 0) {
                bson_string_append_printf(text, "%s%lld %s", total > 0 ? ", " : "", (long long)count,
                                          bson_iter_key(&iter));
            }
            total += count;
        }
    }
    return total;
}

void choose_show_first(struct cli *cli, const bson_t *filter, int64_t total)
{
    bson_t sort = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    struct store_find_options options = {.sort = &sort, .projection = &projection, .limit = SHOWN};
    const bson_t *task;
    int64_t shown = 0;

    BSON_APPEND_INT32(&sort, "seq", 1);
    BSON_APPEND_INT32(&projection, "seq", 1);
    BSON_APPEND_INT32(&projection, "name", 1);
    BSON_APPEND_INT32(&projection, "state", 1);
    struct store_cursor *cursor = task_find(cli->hub, filter, &options, NULL);
    while (cursor != NULL && store_cursor_next(cursor, &task, NULL) > 0) {
        const char *name = output_text(task, "name"), *state = output_text(task, "state");
        cli_note("  #%lld %s %s", (long long)output_integer(task, "seq", 0), name != NULL ? name : "",
                 state != NULL ? state : "");
        shown++;
    }
    store_cursor_close(cursor);
    if (total > shown) {
        cli_note("  and %lld more", (long long)(total - shown));
    }
    bson_destroy(&projection);
    bson_destroy(&sort);
}

int choose_confirm(struct cli *cli, const bson_t *filter, const char *verb, bool *ended)
{
    bson_t states;
    bson_error_t error;
    char tasks[64];
    int code = CLI_DONE;

    bool terminal = isatty(STDIN_FILENO), yes = cli_flag(cli, "yes"), dry = cli_flag(cli, "dry-run");
    *ended = true;
    bson_init(&states);
    bson_string_t *text = bson_string_new(NULL);
    if (!dry && (yes || (!terminal && !cli->by_expression))) {
        *ended = false;
        goto out;
    }
    bson_destroy(&states);
    if (task_count_states(cli->hub, filter, &states, &error) < 0) {
        code = cli_fail(&error);
        goto out;
    }
    int64_t total = tell_states(&states, text);
    cli_plural(tasks, sizeof tasks, total, "task");
    if (total == 0) {
        code = cli_say(CLI_NOTHING, "no tasks found: nothing to %s", verb);
        goto out;
    }
    if (!dry && total == 1 && !cli->by_expression) {
        *ended = false;
        goto out;
    }
    choose_show_first(cli, filter, total);
    if (dry) {
        bson_t report = BSON_INITIALIZER;
        BSON_APPEND_INT64(&report, "would_change", total);
        BSON_APPEND_DOCUMENT(&report, "tasks", &states);
        code = output_object(cli, &report, "would %s %s (%s)", verb, tasks, text->str);
        bson_destroy(&report);
    } else if (!terminal) {
        code = cli_say(CLI_NOTHING, "%s %s (%s)? There is nobody to ask: say --yes to go on", verb, tasks, text->str);
    } else if (!cli_confirm(cli, "%s %s (%s)?", verb, tasks, text->str)) {
        code = cli_say(CLI_NOTHING, "nothing was done");
    } else {
        *ended = false;
    }
out:
    bson_string_free(text, true);
    bson_destroy(&states);
    return code;
}
