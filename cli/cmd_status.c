/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/select.h"
#include "cli/text.h"
#include "hub/runner_record.h"
#include "hub/task.h"

#include <math.h>
#include <string.h>

#define HOUR 3600000LL

/* Runners that say they are running: how many, and their workers. */
static int append_runners(struct cli *cli, bson_t *report)
{
    bson_t filter = BSON_INITIALIZER, list;
    const bson_t *runner;
    bson_error_t error;
    uint32_t index = 0;
    int more = -1;

    BSON_APPEND_UTF8(&filter, "state", "running");
    BSON_APPEND_ARRAY_BEGIN(report, "runners", &list);
    struct store_cursor *cursor = runner_record_find(cli->hub, &filter, &error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &runner, &error)) > 0) {
        char digits[16];
        const char *key;
        bson_uint32_to_string(index++, &key, digits, sizeof digits);
        BSON_APPEND_DOCUMENT(&list, key, runner);
    }
    store_cursor_close(cursor);
    bson_append_array_end(report, &list);
    bson_destroy(&filter);
    return more < 0 ? cli_fail(&error) : CLI_DONE;
}

/* Tasks that ended well within the last hour of the server's. */
static int append_rate(struct cli *cli, bson_t *report)
{
    bson_t filter = BSON_INITIALIZER, since;
    bson_error_t error;
    int64_t now, count;
    int code = CLI_DONE;

    if (store_server_time(hub_store(cli->hub), &now, &error) < 0) {
        bson_destroy(&filter);
        return cli_fail(&error);
    }
    BSON_APPEND_UTF8(&filter, "project", hub_project(cli->hub));
    BSON_APPEND_UTF8(&filter, "state", "done");
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "finished_at", &since);
    BSON_APPEND_DATE_TIME(&since, "$gt", now - HOUR);
    bson_append_document_end(&filter, &since);
    count = store_count(hub_store(cli->hub), "tasks", &filter, &error);
    if (count < 0) {
        code = cli_fail(&error);
    } else {
        BSON_APPEND_INT64(report, "done_last_hour", count);
        BSON_APPEND_DATE_TIME(report, "at", now);
    }
    bson_destroy(&filter);
    return code;
}

static int append_best(struct cli *cli, bson_t *report)
{
    bson_t filter = BSON_INITIALIZER, inner, sort = BSON_INITIALIZER;
    struct store_find_options options = {.sort = &sort, .limit = 1};
    const bson_t *model;
    bson_error_t error;
    int more = -1;

    BSON_APPEND_INT32(&sort, "accuracy", -1);
    BSON_APPEND_INT32(&sort, "loss", 1);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "accuracy", &inner);
    BSON_APPEND_BOOL(&inner, "$exists", true);
    bson_append_document_end(&filter, &inner);
    struct store_cursor *cursor = select_models.find(cli->hub, &filter, &options, &error);
    if (cursor != NULL && (more = store_cursor_next(cursor, &model, &error)) > 0) {
        bson_iter_t id;
        BSON_APPEND_DOCUMENT_BEGIN(report, "best_model", &inner);
        if (output_find(model, "_id", &id)) {
            bson_append_iter(&inner, "_id", -1, &id);
        }
        BSON_APPEND_UTF8(&inner, "name", output_text(model, "name") != NULL ? output_text(model, "name") : "");
        BSON_APPEND_DOUBLE(&inner, "accuracy", output_number(model, "accuracy"));
        bson_append_document_end(report, &inner);
    }
    store_cursor_close(cursor);
    bson_destroy(&filter);
    bson_destroy(&sort);
    return more < 0 ? cli_fail(&error) : CLI_DONE;
}

static int append_counts(struct cli *cli, bson_t *report)
{
    bson_t states = BSON_INITIALIZER, everything = BSON_INITIALIZER;
    bson_error_t error;
    int code = CLI_DONE;

    bson_destroy(&states);
    if (task_count_states(cli->hub, NULL, &states, &error) < 0) {
        code = cli_fail(&error);
    } else {
        BSON_APPEND_DOCUMENT(report, "tasks", &states);
        int64_t datasets = select_count(cli, &select_datasets, &everything);
        int64_t models = datasets < 0 ? -1 : select_count(cli, &select_models, &everything);
        code = models < 0 ? CLI_FAILED : CLI_DONE;
        BSON_APPEND_INT64(report, "datasets", datasets);
        BSON_APPEND_INT64(report, "models", models);
    }
    bson_destroy(&states);
    bson_destroy(&everything);
    return code;
}

static void append_states(bson_string_t *text, const bson_t *report)
{
    bson_iter_t tasks, iter;
    if (output_find(report, "tasks", &tasks) && bson_iter_recurse(&tasks, &iter)) {
        while (bson_iter_next(&iter)) {
            if (bson_iter_as_int64(&iter) > 0) {
                bson_string_append_printf(text, "%s%lld %s", text->len > 0 ? ", " : "",
                                          (long long)bson_iter_as_int64(&iter), bson_iter_key(&iter));
            }
        }
    }
    if (text->len == 0) {
        bson_string_append(text, "none");
    }
}

static void print_runners(const bson_t *report)
{
    bson_iter_t runners, iter;
    uint32_t length;
    const uint8_t *data;

    if (!output_find(report, "runners", &runners) || !bson_iter_recurse(&runners, &iter)) {
        return;
    }
    while (bson_iter_next(&iter)) {
        bson_t runner;
        bson_iter_document(&iter, &length, &data);
        if (bson_init_static(&runner, data, length)) {
            const char *host = output_text(&runner, "host");
            bson_string_t *line = bson_string_new("runner:   ");
            text_append_escaped(line, host != NULL ? host : "?", host != NULL ? strlen(host) : 1);
            bson_string_append_printf(line, ", process %lld, %lld workers, %lld done",
                                      (long long)output_integer(&runner, "pid", 0),
                                      (long long)output_integer(&runner, "workers", 0),
                                      (long long)output_integer(&runner, "tasks_done", 0));
            puts(line->str);
            bson_string_free(line, true);
        }
    }
}

static int print_status(struct cli *cli, const bson_t *report)
{
    bson_string_t *states = bson_string_new(NULL), *line = bson_string_new("hub:      ");
    const char *uri = store_uri_redacted(hub_store(cli->hub)), *name = output_text(report, "best_model.name");

    text_append_escaped(line, uri, strlen(uri));
    bson_string_append(line, ", project ");
    text_append_escaped(line, hub_project(cli->hub), strlen(hub_project(cli->hub)));
    append_states(states, report);
    printf("%s\ntasks:    %s\n", line->str, states->str);
    printf("rate:     %lld done in the last hour\n", (long long)output_integer(report, "done_last_hour", 0));
    print_runners(report);
    printf("datasets: %lld\nmodels:   %lld", (long long)output_integer(report, "datasets", 0),
           (long long)output_integer(report, "models", 0));
    if (isfinite(output_number(report, "best_model.accuracy"))) {
        bson_string_truncate(line, 0);
        text_append_escaped(line, name != NULL ? name : "", name != NULL ? strlen(name) : 0);
        printf(", the best %s with accuracy %.4f", line->str, output_number(report, "best_model.accuracy"));
    }
    putchar('\n');
    bson_string_free(states, true);
    bson_string_free(line, true);
    return output_flush();
}

static int run(struct cli *cli)
{
    bson_t report = BSON_INITIALIZER;

    int code = cli_open(cli, HUB_OPEN_EXISTING);
    if (code == CLI_DONE) {
        BSON_APPEND_UTF8(&report, "hub", store_uri_redacted(hub_store(cli->hub)));
        BSON_APPEND_UTF8(&report, "project", hub_project(cli->hub));
        code = append_counts(cli, &report);
    }
    if (code == CLI_DONE) {
        code = append_rate(cli, &report);
    }
    if (code == CLI_DONE) {
        code = append_runners(cli, &report);
    }
    if (code == CLI_DONE) {
        code = append_best(cli, &report);
    }
    if (code == CLI_DONE) {
        code = cli->format == CLI_TABLE ? print_status(cli, &report) : output_object(cli, &report, "%s", "");
    }
    bson_destroy(&report);
    return code;
}

const struct cli_command cmd_status = {
    .verb = "status",
    .summary = "Say how the project is doing: tasks by state, runners, rate, the best model",
    .arguments = "",
    .examples = "  tl_hub status\n  tl_hub status -o json",
    .run = run,
};
