/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/json.h"
#include "cli/select.h"
#include "cli/text.h"
#include "distributor/submit.h"
#include "distributor/sweep.h"
#include "distributor/table.h"
#include "distributor/task_work.h"
#include "hub/task.h"

#include <string.h>

static const struct cli_option work_options[] = {
    {"sweep", 0, CLI_TEXT, "FILE", "tasks for every point of a sweep file (YAML or JSON)"},
    {"table", 0, CLI_TEXT, "FILE", "a task for every row of a table (.csv, .csv.gz, .xlsx); its columns are parameters"},
    {"skip-existing", 0, CLI_FLAG, NULL, "leave out what a task does already, or has done: the same data, net and settings"},
    {"name", 0, CLI_TEXT, "NAME", "the task's name"},
    {"kind", 0, CLI_TEXT, "KIND", "train (the default), validate, test or infer"},
    {"dataset", 0, CLI_TEXT, "DATASET", "the data: a name (the newest version), or a query as JSON"},
    {"pipeline", 0, CLI_TEXT, "JSON", "of a dataset of rows: the stages that select and transform them, or @FILE"},
    {"architecture", 0, CLI_TEXT, "TEXT", "the net: short form, JSON, @FILE, or the name of a saved one"},
    {"set", 0, CLI_TEXTS, "KEY=VALUE", "a hyper-parameter, such as learning_rate=0.001; may be given again"},
    {"model", 0, CLI_TEXT, "MODEL", "validate, test, infer: the model, by name, id or query as JSON"},
    {"initial-model", 0, CLI_TEXT, "MODEL", "train: weights to begin with, likewise"},
    {"split", 0, CLI_TEXT, "SPLIT", "validate, test, infer: another split of the data"},
    {"save-dataset", 0, CLI_TEXT, "NAME", "infer: the name of the dataset that the predictions become"},
    {"save-split", 0, CLI_TEXT, "SPLIT", "infer: their split in it (default: as of the rows)"},
    {"steps", 0, CLI_COUNT, "N", "infer with a forecast: N rows after the last one (default: its horizon)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static const struct cli_option queue_options[] = {
    {"every", 0, CLI_DURATION, "TIME", "train again and again, from the last model: 10m, 1d"},
    {"when-rows", 0, CLI_COUNT, "N", "train again from the last model whenever the dataset has N more rows"},
    {"after", 0, CLI_TEXTS, "TASKS", "wait for these tasks to end well; what they make may be named already"},
    {"delay", 0, CLI_DURATION, "TIME", "not before so much time has passed: 90s, 10m, 2h"},
    {"priority", 0, CLI_INTEGER, "N", "higher ones first (default 0)"},
    {"queue", 0, CLI_TEXT, "QUEUE", "for runners of this queue"},
    {"resource-class", 0, CLI_TEXT, "CLASS", "for runners of this class"},
    {"requires", 0, CLI_TEXTS, "LABELS", "only for runners with these labels: gpu,bigmem"},
    {"memory", 0, CLI_TEXT, "SIZE", "what it needs, such as 6G (default: estimated from net, batch and data)"},
    {"result-key", 0, CLI_TEXTS, "KEY", "what to keep of the results; may be given again"},
    {"max-crashes", 0, CLI_COUNT, "N", "dead after so many crashes (default 3)"},
    {"rule", 0, CLI_TEXTS, "RULE", "train: 'stop when time > 2h and error_rate > 0.4'; may be given again"},
    {"checkpoint-every", 0, CLI_COUNT, "N", "train: a checkpoint after every so many epochs"},
    {"checkpoint-time", 0, CLI_DURATION, "TIME", "train: a checkpoint when so much time has passed (default 5m; 0: never)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* A model by what people type: an id or its first digits become {_id}, a name stays a query for the newest of it. */
static int append_model(struct cli *cli, const char *option, const char *key, bson_t *fields)
{
    const char *text = cli_text(cli, option);
    bson_t condition;
    int code;

    if (text == NULL || *text == '{' || !text_is_hex(text, 6)) {
        return fields_append_query(cli, option, key, text, fields);
    }
    code = select_resolve(cli, &select_models, text, &condition);
    if (code == CLI_DONE && bson_has_field(&condition, "name")) {
        BSON_APPEND_UTF8(fields, key, text);
    } else if (code == CLI_DONE) {
        bson_t model;
        code = select_one(cli, &select_models, text, &model);
        if (code == CLI_DONE) {
            bson_t query = BSON_INITIALIZER;
            const char *id = output_text(&model, "_id");
            BSON_APPEND_UTF8(&query, "_id", id != NULL ? id : text);
            BSON_APPEND_DOCUMENT(fields, key, &query);
            bson_destroy(&query);
        }
        bson_destroy(&model);
    }
    bson_destroy(&condition);
    return code;
}

static int append_architecture(struct cli *cli, bson_t *fields)
{
    const char *text = cli_text(cli, "architecture");
    char *loaded = NULL;
    size_t length;
    bson_t graph;
    bson_error_t error;
    int code = CLI_DONE;

    if (text != NULL && *text == '@') {
        const char *path = text + 1;
        code = fields_read_file(path, 1 << 20, &loaded, &length);
        text = loaded;
        while (code == CLI_DONE && length > 0 && strchr(" \t\r\n", loaded[length - 1]) != NULL) {
            loaded[--length] = '\0';
        }
        text += loaded != NULL ? strspn(loaded, " \t\r\n") : 0;
    }
    if (code == CLI_DONE && text != NULL && *text == '{') {
        if (json_read_document(text, strlen(text), &graph, &error) < 0) {
            code = cli_usage(cli, "--architecture: %s", error.message);
        } else {
            BSON_APPEND_DOCUMENT(fields, "architecture", &graph);
        }
        bson_destroy(&graph);
    } else if (code == CLI_DONE) {
        code = fields_append_text(cli, "architecture", "architecture", text, fields);
    }
    bson_free(loaded);
    return code;
}

/* The _id of the one task that text names, at the list's end. */
static int append_named(struct cli *cli, const char *text, uint32_t index, bson_t *ids)
{
    bson_t task, condition;
    bson_error_t error;
    bson_iter_t id;
    int code = CLI_DONE;
    int found = task_resolve(cli->hub, text, &task, &error);
    if (found < 0) {
        code = cli_fail(&error);
    } else if (found == 0) {
        code = select_resolve(cli, &select_tasks, text, &condition);
        code = code == CLI_DONE ? CLI_NOTHING : code;
        bson_destroy(&condition);
    } else if (bson_iter_init_find(&id, &task, "_id")) {
        char digits[16];
        const char *key;
        bson_uint32_to_string(index, &key, digits, sizeof digits);
        bson_append_iter(ids, key, -1, &id);
    }
    bson_destroy(&task);
    return code;
}

/* --after 1,2 --after name as an array of ids. */
static int append_after(struct cli *cli, bson_t *fields)
{
    bson_t texts = BSON_INITIALIZER, ids = BSON_INITIALIZER;
    bson_iter_t list, iter;

    int code = fields_append_list(cli, "after", "after", &texts);
    if (code == CLI_DONE && bson_iter_init_find(&list, &texts, "after") && bson_iter_recurse(&list, &iter)) {
        for (uint32_t i = 0; code == CLI_DONE && bson_iter_next(&iter); i++) {
            code = append_named(cli, bson_iter_utf8(&iter, NULL), i, &ids);
        }
        if (code == CLI_DONE) {
            BSON_APPEND_ARRAY(fields, "after", &ids);
        }
    }
    bson_destroy(&texts);
    bson_destroy(&ids);
    return code;
}

static int append_standing(struct cli *cli, bson_t *fields)
{
    bson_t standing;
    const bool every = cli_text(cli, "every") != NULL, rows = cli_text(cli, "when-rows") != NULL;
    if (!every && !rows) {
        return CLI_DONE;
    }
    if (every && rows) {
        return cli_usage(cli, "--every and --when-rows: give one of them");
    }
    if (cli_text(cli, "sweep") != NULL) {
        return cli_usage(cli, "--%s: a sweep cannot stand; it goes with a single task", every ? "every" : "when-rows");
    }
    BSON_APPEND_DOCUMENT_BEGIN(fields, "standing", &standing);
    BSON_APPEND_INT64(&standing, every ? "every_ms" : "rows", cli_integer(cli, every ? "every" : "when-rows", 0));
    bson_append_document_end(fields, &standing);
    return CLI_DONE;
}

/* What tasks of a sweep and single ones have in common. */
static int append_queue_fields(struct cli *cli, bson_t *fields)
{
    bson_error_t error;
    int64_t now;

    int code = fields_append_common(cli, fields);
    if (code == CLI_DONE) {
        code = fields_append_text(cli, "queue", "queue", cli_text(cli, "queue"), fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_text(cli, "resource-class", "resource_class", cli_text(cli, "resource-class"), fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_list(cli, "requires", "requires", fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_list(cli, "result-key", "result_keys", fields);
    }
    if (code == CLI_DONE) {
        code = append_after(cli, fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_list(cli, "rule", "rules", fields);
    }
    if (code != CLI_DONE) {
        return code;
    }
    if ((code = append_standing(cli, fields)) != CLI_DONE) {
        return code;
    }
    const char *memory = cli_text(cli, "memory");
    int64_t bytes;
    if (memory != NULL) {
        bson_t needs;
        if (!text_parse_bytes(memory, &bytes)) {
            return cli_usage(cli, "--memory %s: it is no size such as 6G or 800M", memory);
        }
        BSON_APPEND_DOCUMENT_BEGIN(fields, "needs", &needs);
        BSON_APPEND_INT64(&needs, "memory", bytes);
        bson_append_document_end(fields, &needs);
    }
    int64_t priority = cli_integer(cli, "priority", 0), crashes = cli_integer(cli, "max-crashes", 3);
    if (priority < INT32_MIN || priority > INT32_MAX || crashes > INT32_MAX) {
        return cli_usage(cli, "--priority and --max-crashes must fit into 32 bits");
    }
    if (cli_text(cli, "priority") != NULL) {
        BSON_APPEND_INT32(fields, "priority", (int32_t)priority);
    }
    if (cli_text(cli, "max-crashes") != NULL) {
        BSON_APPEND_INT32(fields, "max_crashes", (int32_t)crashes);
    }
    if (cli_text(cli, "checkpoint-every") != NULL) {
        BSON_APPEND_INT64(fields, "checkpoint_every", cli_integer(cli, "checkpoint-every", 0));
    }
    if (cli_text(cli, "checkpoint-time") != NULL) {
        BSON_APPEND_DOUBLE(fields, "checkpoint_minutes", (double)cli_integer(cli, "checkpoint-time", 0) / 60000);
    }
    if (cli_text(cli, "delay") != NULL) {
        if (store_server_time(hub_store(cli->hub), &now, &error) < 0) {
            return cli_fail(&error);
        }
        BSON_APPEND_DATE_TIME(fields, "not_before", now + cli_integer(cli, "delay", 0));
    }
    return CLI_DONE;
}

static int append_pipeline(struct cli *cli, bson_t *fields)
{
    char *pipeline;
    size_t length;
    int code = fields_read_pipeline(cli, "pipeline", &pipeline, &length);
    if (code == CLI_DONE && pipeline != NULL) {
        BSON_APPEND_UTF8(fields, "pipeline", pipeline);
    }
    bson_free(pipeline);
    return code;
}

static int append_work_fields(struct cli *cli, bson_t *fields)
{
    int code = fields_append_text(cli, "name", "name", cli_text(cli, "name"), fields);
    if (code == CLI_DONE) {
        code = fields_append_text(cli, "kind", "kind", cli_text(cli, "kind"), fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_query(cli, "dataset", "dataset", cli_text(cli, "dataset"), fields);
    }
    if (code == CLI_DONE) {
        code = append_pipeline(cli, fields);
    }
    return code;
}

/* ---- a single task ---- */

/* 1 where a task does, or has done, what these fields say; 0; -1. */
static int is_existing(struct cli *cli, const bson_t *fields, bson_error_t *error)
{
    struct task_work *work = NULL;
    bson_t checked;
    char digest[HUB_ID_SIZE];
    int result = -1;

    if (submit_check(cli->hub, fields, NULL, &checked, error) >= 0 && (work = task_work_read(cli->hub, error)) != NULL) {
        task_work_digest(&checked, digest);
        result = task_work_has(work, digest);
    }
    task_work_free(work);
    bson_destroy(&checked);
    return result;
}

static int submit_single(struct cli *cli, bson_t *fields)
{
    bson_t settings = BSON_INITIALIZER, task = BSON_INITIALIZER;
    bson_error_t error;

    int code = append_architecture(cli, fields);
    if (code == CLI_DONE) {
        code = append_model(cli, "model", "model", fields);
    }
    if (code == CLI_DONE) {
        code = append_model(cli, "initial-model", "initial_model", fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_text(cli, "split", "split", cli_text(cli, "split"), fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_text(cli, "save-dataset", "save_dataset", cli_text(cli, "save-dataset"), fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_text(cli, "save-split", "save_split", cli_text(cli, "save-split"), fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_settings(cli, "set", &settings);
    }
    if (code == CLI_DONE && cli_text(cli, "steps") != NULL) {
        BSON_APPEND_INT64(fields, "steps", cli_integer(cli, "steps", 0));
    }
    if (code == CLI_DONE) {
        if (!bson_empty(&settings)) {
            BSON_APPEND_DOCUMENT(fields, "hyper_parameters", &settings);
        }
        int existing = cli_flag(cli, "skip-existing") ? is_existing(cli, fields, &error) : 0;
        bson_destroy(&task);
        if (existing > 0) {
            bson_init(&task);
            BSON_APPEND_INT64(&task, "existing", 1);
            code = output_object(cli, &task, "nothing new: a task does this already, or has done it");
        } else if (existing < 0) {
            bson_init(&task);
            code = cli_fail(&error);
        } else if (submit_task(cli->hub, fields, &task, &error) < 0) {
            code = cli_fail(&error);
        } else {
            const char *id = output_text(&task, "_id"), *name = output_text(&task, "name");
            code = output_object(cli, &task, "submitted task #%lld %s (%s)", (long long)output_integer(&task, "seq", 0),
                                 name != NULL ? name : "", id != NULL ? id : "");
        }
    }
    bson_destroy(&settings);
    bson_destroy(&task);
    return code;
}

/* ---- a table ---- */

/* A table's tasks are found together by its name: --name, or what the file is called. */
static void append_table_name(const char *path, bson_t *fields)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    size_t length = strcspn(name, ".");

    if (!bson_has_field(fields, "name") && length > 0 && bson_utf8_validate(name, length, false)) {
        bson_append_utf8(fields, "name", -1, name, (int)length);
    }
}

/* Why rows have made no task; only what there is. */
static void say_other_rows(const struct table_submission *submission, char *text, size_t size)
{
    const struct {
        int64_t count;
        const char *one, *more;
    } parts[] = {{submission->skipped, "was there already", "were there already"},
                 {submission->existing, "is the work of another task", "are the work of other tasks"},
                 {submission->repeated, "is the same as a row before it", "are the same as rows before them"}};
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts && used < size; i++) {
        if (parts[i].count > 0) {
            used += (size_t)snprintf(text + used, size - used, "%s%lld %s", used == 0 ? "; " : ", ", (long long)parts[i].count,
                                     parts[i].count == 1 ? parts[i].one : parts[i].more);
        }
    }
}

static int submit_table(struct cli *cli, const char *path, bson_t *fields)
{
    struct table_submission submission;
    bson_t report = BSON_INITIALIZER;
    bson_error_t error;
    char tasks[64], rows[64], others[192];

    append_table_name(path, fields);
    int code = append_architecture(cli, fields);
    if (code == CLI_DONE && table_submit(cli->hub, path, fields, cli_flag(cli, "skip-existing"), &submission, &error) < 0) {
        code = cli_fail(&error);
    }
    if (code == CLI_DONE) {
        bson_iter_t name;
        if (bson_iter_init_find(&name, fields, "name")) {
            bson_append_iter(&report, "name", -1, &name);
        }
        BSON_APPEND_INT64(&report, "rows", submission.rows);
        BSON_APPEND_INT64(&report, "submitted", submission.submitted);
        BSON_APPEND_INT64(&report, "skipped", submission.skipped);
        BSON_APPEND_INT64(&report, "existing", submission.existing);
        if (submission.repeated > 0) {
            BSON_APPEND_INT64(&report, "repeated", submission.repeated);
        }
        say_other_rows(&submission, others, sizeof others);
        code = output_object(cli, &report, "submitted %s of %s%s", cli_plural(tasks, sizeof tasks, submission.submitted, "task"),
                             cli_plural(rows, sizeof rows, submission.rows, "row"), others);
    }
    bson_destroy(&report);
    return code;
}

/* ---- a sweep ---- */

/* {_id, seq, state} of the sweep's tasks into an array. */
static int append_sweep_tasks(struct cli *cli, const char *sweep_id, bson_t *report)
{
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, projection = BSON_INITIALIZER, list;
    struct store_find_options options = {.sort = &sort, .projection = &projection};
    const bson_t *task;
    bson_error_t error;
    uint32_t index = 0;
    int more = -1;

    BSON_APPEND_UTF8(&filter, "sweep", sweep_id);
    BSON_APPEND_INT32(&sort, "seq", 1);
    BSON_APPEND_INT32(&projection, "seq", 1);
    BSON_APPEND_INT32(&projection, "state", 1);
    BSON_APPEND_ARRAY_BEGIN(report, "tasks", &list);
    struct store_cursor *cursor = task_find(cli->hub, &filter, &options, &error);
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

/* Why, and what to do about it. */
static void say_nothing_new(const struct sweep_submission *submission)
{
    if (submission->differs[0] != '\0') {
        cli_note("they keep what they have of: %s (set-task changes how tasks are queued)", submission->differs);
    }
    cli_note("to run them again: tl_hub restart-task --sweep %.12s; to have them a second time: give --name another name",
             submission->sweep_id);
}

static int say_submitted(struct cli *cli, const struct sweep_submission *submission)
{
    bson_t report = BSON_INITIALIZER;
    char points[64];
    int code = CLI_DONE;

    BSON_APPEND_UTF8(&report, "sweep", submission->sweep_id);
    BSON_APPEND_INT64(&report, "points", submission->points);
    BSON_APPEND_INT64(&report, "submitted", submission->submitted);
    BSON_APPEND_INT64(&report, "skipped", submission->skipped);
    if (submission->existing > 0) {
        BSON_APPEND_INT64(&report, "existing", submission->existing);
    }
    if (submission->deleted > 0) {
        BSON_APPEND_INT64(&report, "deleted", submission->deleted);
    }
    if (submission->differs[0] != '\0') {
        BSON_APPEND_UTF8(&report, "differs", submission->differs);
    }
    if (submission->submitted > 0) {
        BSON_APPEND_INT64(&report, "first_seq", submission->first_seq);
        BSON_APPEND_INT64(&report, "last_seq", submission->last_seq);
    }
    if (cli->format == CLI_JSON) {
        code = append_sweep_tasks(cli, submission->sweep_id, &report);
    }
    if (code == CLI_DONE && submission->submitted == 0 && submission->existing > 0) {
        code = output_object(cli, &report, "nothing new: other tasks do %lld of sweep %.12s already, or have done them; %lld were there",
                             (long long)submission->existing, submission->sweep_id, (long long)submission->skipped);
    } else if (code == CLI_DONE && submission->submitted == 0) {
        code = output_object(cli, &report, "nothing new: %s of sweep %.12s %s there already",
                             cli_plural(points, sizeof points, submission->skipped, "task"), submission->sweep_id,
                             submission->skipped == 1 ? "was" : "were");
        say_nothing_new(submission);
    } else if (code == CLI_DONE) {
        char others[128] = "", numbers[64];
        if (submission->skipped > 0) {
            snprintf(others, sizeof others, "; %lld were there already", (long long)submission->skipped);
        }
        if (submission->existing > 0) {
            size_t used = strlen(others);
            snprintf(others + used, sizeof others - used, "; %lld are done by others", (long long)submission->existing);
        }
        int length = snprintf(numbers, sizeof numbers, "#%lld", (long long)submission->first_seq);
        if (submission->last_seq > submission->first_seq && length > 0) {
            snprintf(numbers + length, sizeof numbers - (size_t)length, "–#%lld", (long long)submission->last_seq);
        }
        code = output_object(cli, &report, "submitted %s %s of sweep %.12s%s",
                             cli_plural(points, sizeof points, submission->submitted, "task"), numbers,
                             submission->sweep_id, others);
    }
    if (code == CLI_DONE && submission->deleted > 0) {
        cli_note("%s of it %s deleted: a search that learns makes no point again",
                 cli_plural(points, sizeof points, submission->deleted, "task"), submission->deleted == 1 ? "was" : "were");
    }
    bson_destroy(&report);
    return code;
}

static int submit_sweep(struct cli *cli, const char *path, const bson_t *fields)
{
    bson_error_t error;
    struct sweep_submission submission;
    int code;

    struct sweep *sweep = sweep_load(path, &error);
    bool missing = cli_flag(cli, "skip-existing");
    if (sweep == NULL || (missing ? sweep_submit_missing(cli->hub, sweep, fields, &submission, &error)
                                  : sweep_submit(cli->hub, sweep, fields, &submission, &error)) < 0) {
        code = cli_fail(&error);
    } else {
        code = say_submitted(cli, &submission);
    }
    sweep_free(sweep);
    return code;
}

static int check_together(struct cli *cli, const char *sweep)
{
    static const char *const single[] = {"architecture", "set", "model", "initial-model", "split", "save-dataset",
                                         "save-split", "steps"};

    if (cli_text(cli, "table") != NULL) {
        if (sweep != NULL || cli_texts(cli, "set", 0) != NULL) {
            return cli_usage(cli, "--table: its columns say that themselves: leave out %s", sweep != NULL ? "--sweep" : "--set");
        }
        return CLI_DONE;
    }
    if (sweep != NULL) {
        for (size_t i = 0; i < sizeof single / sizeof *single; i++) {
            if (cli_texts(cli, single[i], 0) != NULL) {
                return cli_usage(cli, "--%s: a sweep file says that itself", single[i]);
            }
        }
        return CLI_DONE;
    }
    if (cli_text(cli, "dataset") == NULL && cli_text(cli, "model") == NULL && cli_text(cli, "architecture") == NULL) {
        return cli_usage(cli, "what is to be done? Give --sweep FILE, or --dataset and --architecture");
    }
    return CLI_DONE;
}

static int run(struct cli *cli)
{
    const char *sweep = cli_text(cli, "sweep"), *table = cli_text(cli, "table");
    bson_t fields = BSON_INITIALIZER;

    int code = check_together(cli, sweep);
    if (code == CLI_DONE) {
        code = append_work_fields(cli, &fields);
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_CREATE);
    }
    if (code == CLI_DONE) {
        code = append_queue_fields(cli, &fields);
    }
    if (code == CLI_DONE) {
        code = table != NULL   ? submit_table(cli, table, &fields)
               : sweep != NULL ? submit_sweep(cli, sweep, &fields)
                               : submit_single(cli, &fields);
    }
    bson_destroy(&fields);
    return code;
}

const struct cli_command cmd_create_task = {
    .verb = "create-task",
    .summary = "Submit a task, or every task of a sweep or a table",
    .arguments = "",
    .groups = {work_options, queue_options, fields_options},
    .details =
        "Everything that can be checked is checked now: hyper-parameters, the sweep file (errors name the line), and\n"
        "whether the architecture fits the data (errors name the layer). Nothing is submitted when anything is wrong.\n"
        "A dataset or model can be a query: '{\"splits.train\": {\"$gte\": 1000}}'; the newest that matches when the task\n"
        "starts is taken. A task without a name is called after what it does, such as \"test of first\".\n"
        "A table (--table) has a row a task. Its first line names the columns: name, dataset, architecture, kind, model, queue,\n"
        "priority, description; hyper-parameters; ${NAME}s of the architecture; label.NAME, which only marks a row. What comes\n"
        "back (tl_hub report NAME --each -o csv) may stand in it too. restart-task --from takes changed rows.\n"
        "Submitting the same sweep again submits only what is not there yet; when that is nothing, it says so and\n"
        "exits with 0.",
    .examples = "  tl_hub create-task --dataset fashion --sweep sweep.yaml\n"
                "  tl_hub create-task --name first --dataset fashion --architecture 'dense:100:relu dense:10' \\\n"
                "      --set learning_rate=0.001 --set epochs=5\n"
                "  tl_hub create-task --table runs.csv --dataset fashion --architecture 'dense:${hidden}:relu dense:10'\n"
                "  tl_hub create-task --kind test --dataset fashion --model first\n"
                "  tl_hub create-task --kind infer --dataset fashion --model first --save-dataset fashion-predicted",
    .run = run,
};
