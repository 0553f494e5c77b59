/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/select.h"
#include "cli/snapshot.h"
#include "cli/text.h"
#include "hub/task.h"

#include <math.h>
#include <string.h>

/* The first model that matches, by one path, into *model (initialised always). 1, 0, or -1. */
static int first_model(struct cli *cli, const bson_t *filter, const char *path, int direction, bson_t *model, bson_error_t *error)
{
    bson_t sort = BSON_INITIALIZER;
    struct store_find_options options = {.sort = &sort, .limit = 1};
    const bson_t *found;
    int more = -1;

    bson_init(model);
    BSON_APPEND_INT32(&sort, path, direction);
    struct store_cursor *cursor = select_models.find(cli->hub, filter, &options, error);
    if (cursor != NULL && (more = store_cursor_next(cursor, &found, error)) > 0) {
        bson_concat(model, found);
    }
    store_cursor_close(cursor);
    bson_destroy(&sort);
    return more;
}

/* By accuracy, which has an index, and of those with the same one by loss. */
static int append_best(struct cli *cli, bson_t *report)
{
    bson_t filter = BSON_INITIALIZER, inner, model, best;
    bson_error_t error;

    BSON_APPEND_DOCUMENT_BEGIN(&filter, "accuracy", &inner);
    BSON_APPEND_BOOL(&inner, "$exists", true);
    bson_append_document_end(&filter, &inner);
    int more = first_model(cli, &filter, "accuracy", -1, &model, &error);
    bson_iter_t value;
    bson_reinit(&filter);
    bson_init(&best);
    if (more > 0 && bson_iter_init_find(&value, &model, "accuracy")) {
        bson_append_iter(&filter, "accuracy", -1, &value);
        bson_destroy(&best);
        more = first_model(cli, &filter, "loss", 1, &best, &error);
    }
    if (more > 0) {
        const char *name = output_text(&best, "name");
        BSON_APPEND_DOCUMENT_BEGIN(report, "best_model", &inner);
        if (output_find(&best, "_id", &value)) {
            bson_append_iter(&inner, "_id", -1, &value);
        }
        BSON_APPEND_UTF8(&inner, "name", name != NULL ? name : "");
        BSON_APPEND_DOUBLE(&inner, "accuracy", output_number(&best, "accuracy"));
        bson_append_document_end(report, &inner);
    }
    bson_destroy(&best);
    bson_destroy(&model);
    bson_destroy(&filter);
    return more < 0 ? cli_fail(&error) : CLI_DONE;
}

/* All but the tombstones, by two counts that an index answers. */
static int64_t count_models(struct cli *cli)
{
    bson_t filter = BSON_INITIALIZER;
    bson_error_t error;

    BSON_APPEND_UTF8(&filter, "project", hub_project(cli->hub));
    int64_t all = store_count(hub_store(cli->hub), "models", &filter, &error);
    BSON_APPEND_BOOL(&filter, "deleted", true);
    int64_t deleted = all < 0 ? -1 : store_count(hub_store(cli->hub), "models", &filter, &error);
    bson_destroy(&filter);
    if (deleted < 0) {
        cli_fail(&error);
        return -1;
    }
    return all - deleted;
}

static int append_counts(struct cli *cli, bson_t *report)
{
    bson_t everything = BSON_INITIALIZER;
    bson_error_t error;
    int code = snapshot_take(cli->hub, 0, report, &error) < 0 ? cli_fail(&error) : CLI_DONE;
    int64_t datasets = code == CLI_DONE ? select_count(cli, &select_datasets, &everything) : -1;
    int64_t models = datasets < 0 ? -1 : count_models(cli);
    BSON_APPEND_INT64(report, "datasets", datasets);
    BSON_APPEND_INT64(report, "models", models);
    bson_destroy(&everything);
    return code == CLI_DONE && models < 0 ? CLI_FAILED : code;
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

static void append_label_list(bson_string_t *line, const bson_t *runner)
{
    bson_iter_t at, iter;
    const char *separator = ", labels ";
    if (!output_find(runner, "labels", &at) || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &iter)) {
        return;
    }
    while (bson_iter_next(&iter)) {
        if (BSON_ITER_HOLDS_UTF8(&iter)) {
            bson_string_append(line, separator);
            text_append_escaped(line, bson_iter_utf8(&iter, NULL), strlen(bson_iter_utf8(&iter, NULL)));
            separator = ",";
        }
    }
}

static void append_runner(bson_string_t *line, const bson_t *runner)
{
    const char *host = output_text(runner, "host"), *state = output_text(runner, "state");
    bson_iter_t at, iter;
    int64_t tasks = 0;
    if (output_find(runner, "tasks", &at) && BSON_ITER_HOLDS_ARRAY(&at) && bson_iter_recurse(&at, &iter)) {
        while (bson_iter_next(&iter)) {
            tasks++;
        }
    }
    text_append_escaped(line, host != NULL ? host : "?", host != NULL ? strlen(host) : 1);
    bson_string_append_printf(line, ", process %lld, %lld workers, %lld running, %lld done",
                              (long long)output_integer(runner, "pid", 0),
                              (long long)output_integer(runner, "workers", 0), (long long)tasks,
                              (long long)output_integer(runner, "tasks_done", 0));
    append_label_list(line, runner);
    if (output_find(runner, "silent", &at) && bson_iter_as_bool(&at)) {
        char time[32];
        text_format_seconds((double)output_integer(runner, "silent_seconds", 0), time, sizeof time);
        bson_string_append_printf(line, ", silent for %s", time);
    } else if (state != NULL && strcmp(state, "draining") == 0) {
        bson_string_append(line, ", leaving");
    }
}

/* A line for each document of a list in the report. */
static void print_list(const bson_t *report, const char *path, const char *label,
                       void (*append)(bson_string_t *line, const bson_t *document))
{
    bson_iter_t list, iter;

    if (!output_find(report, path, &list) || !bson_iter_recurse(&list, &iter)) {
        return;
    }
    while (bson_iter_next(&iter)) {
        bson_t document;
        if (output_document(&iter, &document)) {
            bson_string_t *line = bson_string_new(label);
            append(line, &document);
            puts(line->str);
            bson_string_free(line, true);
        }
    }
}

static void append_unserved(bson_string_t *line, const bson_t *group)
{
    const char *queue = output_text(group, "queue"), *class = output_text(group, "resource_class");
    bson_string_append_printf(line, "%lld ready in queue ", (long long)output_integer(group, "ready", 0));
    text_append_escaped(line, queue != NULL ? queue : "", queue != NULL ? strlen(queue) : 0);
    bson_string_append(line, " that need ");
    text_append_escaped(line, class != NULL ? class : "", class != NULL ? strlen(class) : 0);
    bson_string_append(line, ": no living runner takes them");
    if (output_integer(group, "memory_needed", 0) > 0) {
        bson_string_append_printf(line, " (up to %.3g GiB of memory; the most that one gives a task: %.3g GiB)",
                                  (double)output_integer(group, "memory_needed", 0) / (1 << 30),
                                  (double)output_integer(group, "memory_offered", 0) / (1 << 30));
    }
    bson_string_append(line, " (see: tl_hub help run-task)");
}

/* {seq, name, standing} of the tasks that start others, into an array. */
static int append_standing(struct cli *cli, bson_t *report)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, projection = BSON_INITIALIZER, exists, list;
    static const char *const paths[] = {"seq", "name", "state", "standing"};
    struct store_find_options find = {.sort = &sort, .projection = &projection, .limit = 100};
    const bson_t *task;
    bson_error_t error;
    uint32_t index = 0;
    int more = -1;
    BSON_APPEND_UTF8(&filter, "state", "waiting");
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "standing", &exists);
    BSON_APPEND_BOOL(&exists, "$exists", true);
    bson_append_document_end(&filter, &exists);
    BSON_APPEND_INT32(&sort, "seq", 1);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        BSON_APPEND_INT32(&projection, paths[i], 1);
    }
    BSON_APPEND_ARRAY_BEGIN(report, "standing", &list);
    struct store_cursor *cursor = task_find(cli->hub, &filter, &find, &error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &task, &error)) > 0) {
        char digits[16];
        const char *key;
        bson_uint32_to_string(index++, &key, digits, sizeof digits);
        BSON_APPEND_DOCUMENT(&list, key, task);
    }
    store_cursor_close(cursor);
    bson_append_array_end(report, &list);
    bson_destroy(&filter);
    bson_destroy(&sort);
    bson_destroy(&projection);
    return more < 0 ? cli_fail(&error) : CLI_DONE;
}

static void append_standing_line(bson_string_t *line, const bson_t *task)
{
    const char *name = output_text(task, "name");
    int64_t every = output_integer(task, "standing.every_ms", 0);
    bson_string_append_printf(line, "#%lld ", (long long)output_integer(task, "seq", 0));
    text_append_escaped(line, name != NULL ? name : "", name != NULL ? strlen(name) : 0);
    if (every > 0) {
        char time[32];
        text_format_seconds((double)every / 1000, time, sizeof time);
        bson_string_append_printf(line, ", every %s", time);
    } else {
        bson_string_append_printf(line, ", when %lld new rows", (long long)output_integer(task, "standing.rows", 0));
    }
    bson_string_append_printf(line, ", started %lld", (long long)output_integer(task, "standing.count", 0));
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
    print_list(report, "runners", "runner:   ", append_runner);
    print_list(report, "unserved", "unserved: ", append_unserved);
    print_list(report, "standing", "standing: ", append_standing_line);
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
        code = append_best(cli, &report);
    }
    if (code == CLI_DONE) {
        code = append_standing(cli, &report);
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
