/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/choose.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/json.h"
#include "cli/row_order.h"
#include "cli/select_task.h"
#include "cli/where.h"
#include "hub/logs.h"
#include "hub/query.h"

#include <string.h>

static const struct output_column columns[] = {
    {"task", "task_seq|name", OUTPUT_TEXT},
    {"run", "run", OUTPUT_AUTO},
    {"split", "split", OUTPUT_STATE},
    {"epoch", "epoch", OUTPUT_AUTO},
    {"step", "step", OUTPUT_AUTO},
    {"loss", "loss", OUTPUT_FRACTION},
    {"accuracy", "accuracy", OUTPUT_FRACTION},
    {"seconds", "seconds", OUTPUT_SECONDS},
    {"text", "text", OUTPUT_TEXT}, /* of split "output" */
    {NULL, NULL, OUTPUT_AUTO},
};

static const struct cli_option find_options[] = {
    {"split", 0, CLI_TEXT, "SPLITS", "only of these splits: train,validation,test,output"},
    {"run", 0, CLI_COUNT, "N", "only of this run of the tasks"},
    {"points", 0, CLI_TEXT, "CONDITION", "only points such as 'epoch>3 and loss<0.1', or a query as JSON"},
    {"sort", 's', CLI_TEXT, "KEYS", "in this order, such as loss or accuracy:desc,epoch; as they were written without it"},
    {"buckets", 0, CLI_FLAG, NULL, "whole buckets, as they are stored, instead of points"},
    {"limit", 'n', CLI_COUNT, "N", "at most so many"},
    {"skip", 0, CLI_COUNT, "N", "leave out the first ones"},
    {"columns", 'c', CLI_TEXT, "PATHS", "what to show, such as task,epoch,loss"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

struct reading {
    struct cli *cli;
    struct output *output;
    int64_t skip, left; /* left < 0: no limit */
    bool buckets;
    struct query *points;    /* NULL: all */
    struct row_order *order; /* NULL: as they come */
    char *task; /* the last one looked up, and its number */
    int64_t seq;
};

static int show_now(void *data, const bson_t *row)
{
    struct reading *reading = data;
    if (reading->skip > 0) {
        reading->skip--;
        return 0;
    }
    output_row(reading->output, row);
    return reading->left > 0 && --reading->left == 0;
}

static int show(struct reading *reading, const bson_t *row)
{
    if (reading->points != NULL && !query_matches(reading->points, row)) {
        return 0;
    }
    if (reading->order == NULL) {
        return show_now(reading, row);
    }
    row_order_add(reading->order, row);
    return 0;
}

/* --points and --sort. An exit code. */
static int take_order(struct reading *reading)
{
    const char *points = cli_text(reading->cli, "points"), *sort = cli_text(reading->cli, "sort");
    bson_t document;
    bson_error_t error;
    int code = CLI_DONE;

    if (points != NULL) {
        int read = *points == '{' ? json_read_document(points, strlen(points), &document, &error)
                                  : where_parse(points, &document, &error);
        if (read < 0 || (reading->points = query_parse(&document, &error)) == NULL) {
            code = cli_usage(reading->cli, "--points: %s", error.message);
        }
        bson_destroy(&document);
    }
    if (code == CLI_DONE && sort != NULL) {
        if (where_parse_sort(sort, &document, &error) < 0) {
            code = cli_usage(reading->cli, "--sort: %s", error.message);
        } else {
            reading->order = row_order_new(&document, reading->left > 0 ? (size_t)(reading->left + reading->skip) : 0);
        }
        bson_destroy(&document);
    }
    return code;
}

/* The number that people know a task by. */
static int64_t find_number(struct reading *reading, const char *task)
{
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    struct store_find_options options = {.projection = &projection, .limit = 1};
    const bson_t *document;

    if (reading->task != NULL && strcmp(reading->task, task) == 0) {
        bson_destroy(&filter);
        bson_destroy(&projection);
        return reading->seq;
    }
    bson_free(reading->task);
    reading->task = bson_strdup(task);
    reading->seq = -1;
    BSON_APPEND_UTF8(&filter, "_id", task);
    BSON_APPEND_INT32(&projection, "seq", 1);
    struct store_cursor *cursor = task_find(reading->cli->hub, &filter, &options, NULL);
    if (cursor != NULL && store_cursor_next(cursor, &document, NULL) > 0) {
        reading->seq = output_integer(document, "seq", -1);
    }
    store_cursor_close(cursor);
    bson_destroy(&filter);
    bson_destroy(&projection);
    return reading->seq;
}

/* A point with what its bucket says about all of its points before it. */
static int show_point(struct reading *reading, const bson_t *bucket, const bson_iter_t *point)
{
    static const char *const shared[] = {"task", "name", "claim", "run", "split", "unit"};
    bson_t row = BSON_INITIALIZER;
    bson_iter_t value, inner;
    const char *task = output_text(bucket, "task");

    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        if (output_find(bucket, shared[i], &value)) {
            bson_append_iter(&row, shared[i], -1, &value);
        }
        if (i == 0 && task != NULL && find_number(reading, task) >= 0) {
            BSON_APPEND_INT64(&row, "task_seq", reading->seq);
        }
    }
    if (bson_iter_recurse(point, &inner)) {
        while (bson_iter_next(&inner)) {
            if (!bson_has_field(&row, bson_iter_key(&inner))) {
                bson_append_iter(&row, bson_iter_key(&inner), -1, &inner);
            }
        }
    }
    int stop = show(reading, &row);
    bson_destroy(&row);
    return stop;
}

static int visit(const bson_t *bucket, void *data)
{
    struct reading *reading = data;
    bson_iter_t points, point;

    if (reading->buckets) {
        return show(reading, bucket);
    }
    if (!output_find(bucket, "points", &points) || !BSON_ITER_HOLDS_ARRAY(&points) ||
        !bson_iter_recurse(&points, &point)) {
        return 0;
    }
    while (bson_iter_next(&point)) {
        if (BSON_ITER_HOLDS_DOCUMENT(&point) && show_point(reading, bucket, &point) != 0) {
            return 1;
        }
    }
    return 0;
}

static const struct output_column bucket_columns[] = {
    {"id", "_id", OUTPUT_TEXT},        {"split", "split", OUTPUT_STATE},       {"run", "run", OUTPUT_AUTO},
    {"number", "number", OUTPUT_AUTO}, {"created", "created_at", OUTPUT_DATE}, {NULL, NULL, OUTPUT_AUTO},
};

static const struct select_kind select_saved = {.noun = "log", .find = logs_find_saved, .columns = bucket_columns};

/* A task, or the name or id of a log that somebody saved, or both. No task has points. */
static int take_argument(struct cli *cli, const char *text, bson_t *list, uint32_t *count)
{
    const struct select_kind *const kinds[] = {&select_tasks, &select_saved};
    bool found = false;
    int code = CLI_DONE;

    for (size_t i = 0; i < 2 && code == CLI_DONE; i++) {
        bson_t condition, exists;
        char digits[16];
        const char *key;
        int matches = select_look(cli, kinds[i], text, &condition);
        if (matches < 0) {
            code = -matches;
        } else if (matches > 0) {
            found = true;
            if (i == 1) {
                BSON_APPEND_DOCUMENT_BEGIN(&condition, "points", &exists);
                BSON_APPEND_BOOL(&exists, "$exists", true);
                bson_append_document_end(&condition, &exists);
            }
            bson_uint32_to_string((*count)++, &key, digits, sizeof digits);
            BSON_APPEND_DOCUMENT(list, key, &condition);
        }
        bson_destroy(&condition);
    }
    if (code == CLI_DONE && !found && strpbrk(text, "=<>!~*?,() ") == NULL && !where_is_task_word(text)) {
        return cli_say(CLI_NOTHING, "there is no task and no saved log '%s' in project '%s': see tl_hub find-task and "
                       "tl_hub find-log", text, hub_project(cli->hub));
    }
    if (code == CLI_DONE && !found) {
        bson_t condition;
        char digits[16];
        const char *key;
        code = choose_tasks(cli, text, &condition);
        bson_uint32_to_string((*count)++, &key, digits, sizeof digits);
        BSON_APPEND_DOCUMENT(list, key, &condition);
        bson_destroy(&condition);
    }
    return code;
}

static int take_arguments(struct cli *cli, struct select_conditions *conditions)
{
    bson_t any = BSON_INITIALIZER, list;
    uint32_t count = 0;
    int code = choose_take_where(cli, conditions);

    BSON_APPEND_ARRAY_BEGIN(&any, "$or", &list);
    for (size_t i = 0; i < cli->argument_count && code == CLI_DONE; i++) {
        code = take_argument(cli, cli->arguments[i], &list, &count);
    }
    bson_append_array_end(&any, &list);
    if (count > 0) {
        select_add(conditions, &any);
    }
    bson_destroy(&any);
    return code;
}

/* The selection of tasks and of saved logs; nothing selected is every log of the project. */
static int select_logs(struct cli *cli, bson_t *filter, bool *any)
{
    struct select_conditions conditions;

    bson_init(filter);
    select_init(&conditions);
    int code = select_task_take_options(cli, &conditions);
    if (code == CLI_DONE) {
        code = select_take_options(cli, &conditions);
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code == CLI_DONE) {
        code = take_arguments(cli, &conditions);
    }
    *any = conditions.count > 0;
    if (code == CLI_DONE) {
        bson_destroy(filter);
        select_filter(&conditions, filter);
    }
    select_destroy(&conditions);
    return code;
}

static void select_buckets(struct cli *cli, bson_t *filter)
{
    struct select_conditions conditions;
    const char *split = cli_text(cli, "split");

    select_init(&conditions);
    if (split != NULL) {
        select_add_words(&conditions, "split", split);
    }
    if (cli_text(cli, "run") != NULL) {
        bson_t run = BSON_INITIALIZER;
        BSON_APPEND_INT64(&run, "run", cli_integer(cli, "run", 1));
        select_add(&conditions, &run);
        bson_destroy(&run);
    }
    select_filter(&conditions, filter);
    select_destroy(&conditions);
}

static int run_find(struct cli *cli)
{
    struct reading reading = {.cli = cli,
                              .skip = cli_integer(cli, "skip", 0),
                              .left = cli_integer(cli, "limit", 0),
                              .buckets = cli_flag(cli, "buckets")};
    bson_t tasks, buckets;
    bson_error_t error;
    bool any;

    int code = take_order(&reading);
    bson_init(&tasks);
    if (code == CLI_DONE) {
        bson_destroy(&tasks);
        code = select_logs(cli, &tasks, &any);
    }
    select_buckets(cli, &buckets);
    if (code == CLI_DONE) {
        reading.output = output_open(cli, reading.buckets ? bucket_columns : columns, "log");
        code = reading.output == NULL ? CLI_USAGE : CLI_DONE;
    }
    if (code == CLI_DONE) {
        if (logs_read(cli->hub, any ? &tasks : NULL, &buckets, visit, &reading, &error) < 0) {
            output_abandon(reading.output);
            code = cli_fail(&error);
        } else {
            if (reading.order != NULL) {
                row_order_visit(reading.order, show_now, &reading);
            }
            code = output_close(reading.output);
        }
    }
    query_free(reading.points);
    row_order_free(reading.order);
    bson_free(reading.task);
    bson_destroy(&tasks);
    bson_destroy(&buckets);
    return code;
}

const struct cli_command cmd_find_log = {
    .verb = "find-log",
    .summary = "Show the logs of training, validation and testing",
    .arguments = "[TASK|LOG]…",
    .most = CLI_ANY_NUMBER,
    .groups = {find_options, select_task_options, select_options},
    .details = "The conditions are about tasks, and about logs that were saved by name (save-log). One row is one point, "
               "by epoch\n"
               "or by batch. Of every run of a task only what its results rest on is shown: nothing of claims that were "
               "lost. --points and --sort are about the points themselves, also by task_seq, run, split and what else a row has.",
    .examples = "  tl_hub find-log 12 --split validation\n  tl_hub find-log --points 'epoch>=5' --split validation --sort loss --limit 10\n  tl_hub find-log 12 --run 1\n"
                "  tl_hub find-log by-hand\n  tl_hub find-log --name fashion -o csv >logs.csv",
    .run = run_find,
};

/* What would be deleted: "the logs of 2 tasks and 1 saved log". */
static int count_selected(struct cli *cli, const bson_t *filter, int64_t counts[2], char *text, size_t size)
{
    char tasks[64], logs[64];

    counts[0] = select_count(cli, &select_tasks, filter);
    counts[1] = counts[0] < 0 ? -1 : select_count(cli, &select_saved, filter);
    if (counts[1] < 0) {
        return CLI_FAILED;
    }
    cli_plural(tasks, sizeof tasks, counts[0], "task");
    cli_plural(logs, sizeof logs, counts[1], "saved log");
    snprintf(text, size, "%s%s%s%s", counts[0] > 0 ? "the logs of " : "", counts[0] > 0 ? tasks : "",
             counts[0] > 0 && counts[1] > 0 ? " and " : "", counts[1] > 0 ? logs : "");
    return CLI_DONE;
}

static int delete_selected(struct cli *cli, const bson_t *filter)
{
    bson_t report = BSON_INITIALIZER;
    bson_error_t error;
    int64_t counts[2];
    char text[160], buckets[64];

    int code = count_selected(cli, filter, counts, text, sizeof text);
    if (code == CLI_DONE && counts[0] + counts[1] == 0) {
        code = cli_say(CLI_NOTHING, "no logs found: nothing was deleted");
    } else if (code == CLI_DONE && cli_flag(cli, "dry-run")) {
        BSON_APPEND_INT64(&report, "tasks", counts[0]);
        BSON_APPEND_INT64(&report, "saved", counts[1]);
        code = output_object(cli, &report, "would delete %s", text);
    } else if (code == CLI_DONE && !cli_confirm(cli, "delete %s?", text)) {
        code = cli_say(CLI_NOTHING, "nothing was deleted");
    } else if (code == CLI_DONE) {
        int64_t gone = counts[0] > 0 ? logs_delete(cli->hub, filter, &error) : 0;
        int64_t saved = gone < 0 ? -1 : logs_delete_saved(cli->hub, filter, &error);
        if (saved < 0) {
            code = cli_fail(&error);
        } else if (gone + saved == 0) {
            code = cli_say(CLI_NOTHING, "no logs found: nothing was deleted");
        } else {
            BSON_APPEND_INT64(&report, "deleted", gone + saved);
            code = output_object(cli, &report, "deleted %s", cli_plural(buckets, sizeof buckets, gone + saved, "bucket"));
        }
    }
    bson_destroy(&report);
    return code;
}

static int run_delete(struct cli *cli)
{
    bson_t filter;
    bool any;

    int code = select_logs(cli, &filter, &any);
    if (code == CLI_DONE && !any && !cli_flag(cli, "all")) {
        code = cli_usage(cli, "which logs? Name their tasks, or use --where, --filter or --all");
    }
    if (code == CLI_DONE && !any) {
        code = select_check_all(cli, "log");
    }
    if (code == CLI_DONE) {
        code = delete_selected(cli, &filter);
    }
    bson_destroy(&filter);
    return code;
}

const struct cli_command cmd_delete_log = {
    .verb = "delete-log",
    .summary = "Delete the logs of tasks, or logs saved by name",
    .arguments = "[TASK|LOG]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_task_options, select_options, select_delete_options},
    .examples = "  tl_hub delete-log 12\n  tl_hub delete-log --state failed --yes\n"
                "  tl_hub delete-log --name by-hand",
    .run = run_delete,
};

static const struct cli_option save_options[] = {
    {"task", 0, CLI_TEXT, "TASK", "the task that it belongs to"},
    {"name", 0, CLI_TEXT, "NAME", "or a name of its own"},
    {"split", 0, CLI_TEXT, "SPLIT", "train (the default), validation or test"},
    {"set", 0, CLI_TEXTS, "KEY=VALUE", "what it says, such as epoch=3 and loss=0.21; may be given again"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static int append_task(struct cli *cli, bson_t *fields)
{
    const char *text = cli_text(cli, "task");
    bson_t task;
    int code = CLI_DONE;

    if (text != NULL) {
        code = select_one(cli, &select_tasks, text, &task);
        const char *id = output_text(&task, "_id");
        if (code == CLI_DONE && id != NULL) {
            BSON_APPEND_UTF8(fields, "task", id);
        }
        bson_destroy(&task);
    }
    return code;
}

static int run_save(struct cli *cli)
{
    const char *split = cli_text(cli, "split");
    bson_t fields = BSON_INITIALIZER;
    bson_error_t error;
    int code = CLI_DONE;

    if ((cli_text(cli, "task") == NULL) == (cli_text(cli, "name") == NULL)) {
        code = cli_usage(cli, cli_text(cli, "task") == NULL ? "whose log is it? Give --task TASK or --name NAME"
                                                            : "--task and --name: give one of them");
    } else if (split != NULL && strcmp(split, "train") != 0 && strcmp(split, "validation") != 0 &&
               strcmp(split, "test") != 0) {
        code = cli_usage(cli, "--split %s: the splits are train, validation and test", split);
    } else if (cli_texts(cli, "set", 0) == NULL) {
        code = cli_usage(cli, "what does it say? Give --set KEY=VALUE");
    }
    if (code == CLI_DONE) {
        code = fields_append_text(cli, "name", "name", cli_text(cli, "name"), &fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_text(cli, "split", "split", cli_text(cli, "split"), &fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_common(cli, &fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_settings(cli, "set", &fields);
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_CREATE);
    }
    if (code == CLI_DONE) {
        code = append_task(cli, &fields);
    }
    if (code == CLI_DONE) {
        code = logs_save(cli->hub, &fields, &error) < 0 ? cli_fail(&error) : output_object(cli, &fields, "saved");
    }
    bson_destroy(&fields);
    return code;
}

const struct cli_command cmd_save_log = {
    .verb = "save-log",
    .summary = "Save one point of a log of your own",
    .arguments = "",
    .groups = {save_options, fields_options},
    .examples = "  tl_hub save-log --task 12 --split test --set epoch=10 --set accuracy=0.89\n"
                "  tl_hub save-log --name by-hand --set step=100 --set loss=0.31",
    .run = run_save,
};
