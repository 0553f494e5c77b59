/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/select_task.h"

#include <string.h>

const struct cli_option select_task_options[] = {
    {"state", 0, CLI_TEXT, "STATES", "only tasks in these states, such as ready,running"},
    {"unfinished", 'u', CLI_FLAG, NULL, "only tasks that have not ended"},
    {"name", 0, CLI_TEXT, "NAME", "only tasks of this name"},
    {"sweep", 0, CLI_TEXT, "SWEEP", "only tasks of this sweep: its name, its id or the id's first digits"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* Tasks carry their sweep's id, and its name as theirs. */
static void add_sweep(struct select_conditions *conditions, const char *text)
{
    bson_t condition = BSON_INITIALIZER, list, one, inner;

    BSON_APPEND_ARRAY_BEGIN(&condition, "$or", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &one);
    BSON_APPEND_UTF8(&one, "sweep", text);
    bson_append_document_end(&list, &one);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "1", &one);
    BSON_APPEND_UTF8(&one, "name", text);
    BSON_APPEND_DOCUMENT_BEGIN(&one, "sweep", &inner);
    BSON_APPEND_BOOL(&inner, "$exists", true);
    bson_append_document_end(&one, &inner);
    bson_append_document_end(&list, &one);
    if (strlen(text) >= 6 && strspn(text, "0123456789abcdef") == strlen(text)) {
        char *pattern = bson_strdup_printf("^%s", text);
        BSON_APPEND_DOCUMENT_BEGIN(&list, "2", &one);
        BSON_APPEND_DOCUMENT_BEGIN(&one, "sweep", &inner);
        BSON_APPEND_UTF8(&inner, "$regex", pattern);
        bson_append_document_end(&one, &inner);
        bson_append_document_end(&list, &one);
        bson_free(pattern);
    }
    bson_append_array_end(&condition, &list);
    select_add(conditions, &condition);
    bson_destroy(&condition);
}

/* A state that there is not would find nothing, and say nothing of why. */
static int check_states(const struct cli *cli, const char *text)
{
    static const char *const states[] = {"waiting", "delayed", "ready",     "running", "paused", "parked", "done",
                                         "failed",  "dead",    "cancelled", "stopped", NULL};
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, ", "), i = 0;
        while (states[i] != NULL && (strncmp(states[i], at, length) != 0 || states[i][length] != '\0')) {
            i++;
        }
        if (length > 0 && states[i] == NULL) {
            return cli_usage(cli, "--state %.*s: the states are waiting, delayed, ready, running, paused, parked, done, failed, "
                             "dead, cancelled and stopped", (int)length, at);
        }
        at += length + (at[length] != '\0');
    }
    return CLI_DONE;
}

int select_task_take_options(struct cli *cli, struct select_conditions *conditions)
{
    const char *state = cli_text(cli, "state"), *name = cli_text(cli, "name"), *sweep = cli_text(cli, "sweep");

    if (state != NULL && check_states(cli, state) != CLI_DONE) {
        return CLI_USAGE;
    }
    if (state != NULL) {
        select_add_words(conditions, "state", state);
    }
    if (cli_flag(cli, "unfinished")) {
        select_add_words(conditions, "state", "waiting,delayed,ready,running,paused,parked");
    }
    if (name != NULL) {
        select_add_text(conditions, "name", name);
    }
    if (sweep != NULL) {
        add_sweep(conditions, sweep);
    }
    return CLI_DONE;
}

int select_task_filter(struct cli *cli, bson_t *filter)
{
    struct select_conditions conditions;

    bson_init(filter);
    select_init(&conditions);
    int code = select_task_take_options(cli, &conditions);
    if (code == CLI_DONE) {
        code = select_take_options(cli, &conditions);
    }
    if (code == CLI_DONE && cli->argument_count == 0 && conditions.count == 0 && cli_text(cli, "where") == NULL &&
        !cli_flag(cli, "all")) {
        code = cli_usage(cli, "which tasks? Name them, or use --sweep, --state, --where, --filter or --all");
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code == CLI_DONE) {
        code = select_take_arguments(cli, &select_tasks, &conditions);
    }
    if (code == CLI_DONE) {
        bson_destroy(filter);
        select_filter(&conditions, filter);
    }
    select_destroy(&conditions);
    return code;
}
