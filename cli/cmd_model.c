/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/group_seeds.h"
#include "cli/select.h"
#include "hub/model.h"

#include <string.h>

static const struct output_column columns[] = {
    {"id", "_id", OUTPUT_ID},
    {"name", "name", OUTPUT_TEXT},
    {"accuracy", "accuracy", OUTPUT_FRACTION},
    {"loss", "loss", OUTPUT_FRACTION},
    {"point", "point|hyper_parameters", OUTPUT_PARAMETERS},
    {"task", "task_seq", OUTPUT_AUTO},
    {"size", "bytes", OUTPUT_BYTES},
    {"time", "training_seconds", OUTPUT_SECONDS},
    {"tags", "tags", OUTPUT_TEXT},
    {"created", "created_at", OUTPUT_DATE},
    {NULL, NULL, OUTPUT_AUTO},
};

const struct select_kind select_models = {
    .noun = "model",
    .find = model_find,
    .sort = "created_at:desc",
    .columns = columns,
};

static const struct output_column epoch_columns[] = {
    {"id", "_id", OUTPUT_ID},
    {"name", "name", OUTPUT_TEXT},
    {"task", "task_seq", OUTPUT_AUTO},
    {"run", "run", OUTPUT_AUTO},
    {"epoch", "epoch", OUTPUT_AUTO},
    {"accuracy", "accuracy", OUTPUT_FRACTION},
    {"loss", "loss", OUTPUT_FRACTION},
    {"size", "bytes", OUTPUT_BYTES},
    {"created", "created_at", OUTPUT_DATE},
    {NULL, NULL, OUTPUT_AUTO},
};

static const struct select_kind select_epochs = {
    .noun = "model",
    .find = model_find,
    .sort = "task_seq:desc,epoch:asc",
    .columns = epoch_columns,
};

static const struct cli_option find_options[] = {
    {"epochs", 0, CLI_FLAG, NULL, "models of runs with keep: every N epochs: those of the epochs, too"},
    {"group-seeds", 0, CLI_FLAG, NULL, "models that differ only in the seed as one: the best, with mean and deviation"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static int find_groups(struct cli *cli)
{
    struct select_conditions conditions;
    bson_t filter;

    select_init(&conditions);
    int code = select_take_options(cli, &conditions);
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code == CLI_DONE) {
        code = select_take_arguments(cli, &select_models, &conditions);
    }
    if (code == CLI_DONE) {
        select_filter(&conditions, &filter);
        code = group_seeds_print(cli, &filter);
        bson_destroy(&filter);
    }
    select_destroy(&conditions);
    return code;
}

static int run_find(struct cli *cli)
{
    struct select_conditions conditions;

    if (cli_flag(cli, "group-seeds") && cli_flag(cli, "epochs")) {
        return cli_usage(cli, "--group-seeds is of what runs ended with: leave out --epochs");
    }
    if (cli_flag(cli, "group-seeds")) {
        return find_groups(cli);
    }
    select_init(&conditions);
    if (cli_flag(cli, "epochs")) {
        bson_t condition = BSON_INITIALIZER, inner;
        BSON_APPEND_DOCUMENT_BEGIN(&condition, "epoch", &inner);
        BSON_APPEND_BOOL(&inner, "$exists", true);
        bson_append_document_end(&condition, &inner);
        select_add(&conditions, &condition);
        bson_destroy(&condition);
        return select_and_print(cli, &select_epochs, &conditions, NULL);
    }
    return select_and_print(cli, &select_models, &conditions, NULL);
}

const struct cli_command cmd_find_model = {
    .verb = "find-model",
    .summary = "List models, newest first, or sorted by accuracy, loss or any key",
    .arguments = "[MODEL]…",
    .most = CLI_ANY_NUMBER,
    .groups = {find_options, select_options, select_order_options},
    .details = "A MODEL is a name (every model of it), an id, or the first six or more digits of an id. Listed are the models that\n"
               "runs ended with; those of epochs that a run kept are found by --epochs, by their ids, and by conditions on\n"
               "epoch or final, here and wherever a model is named by a query.",
    .examples = "  tl_hub find-model --sort accuracy:desc --limit 5 -o json\n"
                "  tl_hub find-model --epochs --where task_seq=12\n"
                "  tl_hub find-model --where 'task_seq=12 and epoch=3'\n"
                "  tl_hub find-model --where 'accuracy>0.88 and parameters<500000' --keyword fashion\n"
                "  tl_hub find-model --group-seeds --sort metrics.f1:desc --limit 10\n"
                "  tl_hub find-model --columns name,accuracy,hyper_parameters.learning_rate -o csv",
    .run = run_find,
};

/* Without any condition (--all) those of epochs are meant, too, which are hidden from who does not name them. */
static void every_filter(const bson_t *filter, bson_t *out)
{
    bson_t condition;
    bson_init(out);
    bson_concat(out, filter);
    if (bson_empty(out)) {
        BSON_APPEND_DOCUMENT_BEGIN(out, "_id", &condition);
        BSON_APPEND_BOOL(&condition, "$exists", true);
        bson_append_document_end(out, &condition);
    }
}

static struct store_cursor *find_every(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                                       bson_error_t *error)
{
    bson_t every;
    every_filter(filter, &every);
    struct store_cursor *cursor = model_find(hub, &every, options, error);
    bson_destroy(&every);
    return cursor;
}

static int64_t delete_every(struct hub *hub, const bson_t *filter, bson_error_t *error)
{
    bson_t every;
    every_filter(filter, &every);
    int64_t deleted = model_delete(hub, &every, error);
    bson_destroy(&every);
    return deleted;
}

static int run_delete(struct cli *cli)
{
    struct select_conditions conditions;
    struct select_kind every = select_models;
    every.find = find_every;
    select_init(&conditions);
    return select_and_delete(cli, &every, &conditions, delete_every);
}

const struct cli_command cmd_delete_model = {
    .verb = "delete-model",
    .summary = "Delete models; their weights go at the next gc",
    .arguments = "[MODEL]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_options, select_delete_options},
    .details = "--all deletes those of epochs that runs kept as well; otherwise they are deleted by their ids, and by conditions\n"
               "on epoch or final.",
    .examples = "  tl_hub delete-model --where 'accuracy<0.8' --dry-run",
    .run = run_delete,
};

static const struct cli_option tag_options[] = {
    {"add", 'a', CLI_TEXTS, "TAG", "a tag to add; may be given again"},
    {"remove", 'r', CLI_TEXTS, "TAG", "a tag to take away; may be given again"},
    {"all", 0, CLI_FLAG, NULL, "every model of the project"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* The texts of an option as an array of pointers (bson_free). */
static int take_tags(struct cli *cli, const char *option, const char ***tags, size_t *count)
{
    *count = 0;
    *tags = bson_malloc0((cli->value_count + 1) * sizeof **tags);
    for (const char *tag; (tag = cli_texts(cli, option, *count)) != NULL;) {
        if (*tag == '\0' || !bson_utf8_validate(tag, strlen(tag), false)) {
            return cli_usage(cli, "--%s: a tag must be UTF-8 and not empty", option);
        }
        (*tags)[(*count)++] = tag;
    }
    return CLI_DONE;
}

static int tag(struct cli *cli, const char **add, size_t add_count, const char **gone, size_t gone_count)
{
    struct select_conditions conditions;
    bson_t filter, report = BSON_INITIALIZER;
    bson_error_t error;
    char text[64];

    select_init(&conditions);
    int code = select_take_options(cli, &conditions);
    if (code == CLI_DONE && cli->argument_count == 0 && conditions.count == 0 && !cli_flag(cli, "all")) {
        code = cli_usage(cli, "which models? Name them, or use --where, --filter or --all");
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code == CLI_DONE) {
        code = select_take_arguments(cli, &select_models, &conditions);
    }
    if (code == CLI_DONE) {
        select_filter(&conditions, &filter);
        int64_t changed = model_tag(cli->hub, &filter, add, add_count, gone, gone_count, &error);
        bson_destroy(&filter);
        if (changed < 0) {
            code = cli_fail(&error);
        } else {
            BSON_APPEND_INT64(&report, "changed", changed);
            code =
                output_object(cli, &report, "changed the tags of %s", cli_plural(text, sizeof text, changed, "model"));
        }
        if (code == CLI_DONE && changed == 0) {
            code = cli_say(CLI_NOTHING, "nothing to do: no models found, or their tags are so already");
        }
    }
    bson_destroy(&report);
    select_destroy(&conditions);
    return code;
}

static int run_tag(struct cli *cli)
{
    const char **add = NULL, **gone = NULL;
    size_t add_count = 0, gone_count = 0;

    int code = take_tags(cli, "add", &add, &add_count);
    if (code == CLI_DONE) {
        code = take_tags(cli, "remove", &gone, &gone_count);
    }
    if (code == CLI_DONE && add_count + gone_count == 0) {
        code = cli_usage(cli, "which tags? Give --add TAG or --remove TAG");
    }
    if (code == CLI_DONE) {
        code = tag(cli, add, add_count, gone, gone_count);
    }
    bson_free(add);
    bson_free(gone);
    return code;
}

const struct cli_command cmd_tag_model = {
    .verb = "tag-model",
    .summary = "Add tags to models, or take them away",
    .arguments = "[MODEL]…",
    .most = CLI_ANY_NUMBER,
    .groups = {tag_options, select_options},
    .examples = "  tl_hub tag-model 3f9a1c --add production --remove candidate",
    .run = run_tag,
};
