/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/select.h"
#include "hub/dataset.h"

static const struct output_column columns[] = {
    {"name", "name", OUTPUT_TEXT},
    {"version", "version", OUTPUT_AUTO},
    {"rows", "rows", OUTPUT_AUTO},
    {"train", "splits.train", OUTPUT_AUTO},
    {"validation", "splits.validation", OUTPUT_AUTO},
    {"test", "splits.test", OUTPUT_AUTO},
    {"shape", "input_shape", OUTPUT_ID},
    {"classes", "classes", OUTPUT_AUTO},
    {"tags", "tags", OUTPUT_TEXT},
    {"created", "created_at", OUTPUT_DATE},
    {"id", "_id", OUTPUT_ID},
    {NULL, NULL, OUTPUT_AUTO},
};

const struct select_kind select_datasets = {
    .noun = "dataset",
    .find = dataset_find,
    .sort = "created_at:desc",
    .columns = columns,
};

static const struct cli_option options[] = {
    {"version", 0, CLI_COUNT, "N", "only this version"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static const struct cli_option find_options[] = {
    {"version", 0, CLI_COUNT, "N", "only this version"},
    {"describe", 0, CLI_FLAG, NULL, "columns with types, missing values and ranges, and how many rows each class has"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static void take_version(struct cli *cli, struct select_conditions *conditions)
{
    select_init(conditions);
    if (cli_text(cli, "version") != NULL) {
        bson_t condition = BSON_INITIALIZER;
        BSON_APPEND_INT64(&condition, "version", cli_integer(cli, "version", 0));
        select_add(conditions, &condition);
        bson_destroy(&condition);
    }
}

static int run_find(struct cli *cli)
{
    struct select_conditions conditions;
    take_version(cli, &conditions);
    if (cli_flag(cli, "describe")) {
        return describe_datasets(cli, &conditions);
    }
    return select_and_print(cli, &select_datasets, &conditions, NULL);
}

const struct cli_command cmd_find_dataset = {
    .verb = "find-dataset",
    .summary = "List datasets, newest first",
    .arguments = "[DATASET]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_options, select_order_options, find_options},
    .details = "A DATASET is a name (all its versions), an id, or the first six or more digits of an id.",
    .examples = "  tl_hub find-dataset\n  tl_hub find-dataset flowers --describe\n"
                "  tl_hub find-dataset --where 'rows>1000 and tags=images' -o json",
    .run = run_find,
};

static int run_delete(struct cli *cli)
{
    struct select_conditions conditions;
    take_version(cli, &conditions);
    return select_and_delete(cli, &select_datasets, &conditions, dataset_delete);
}

const struct cli_command cmd_delete_dataset = {
    .verb = "delete-dataset",
    .summary = "Delete datasets; their data goes at the next gc",
    .arguments = "[DATASET]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_options, select_delete_options, options},
    .examples = "  tl_hub delete-dataset fashion --version 1",
    .run = run_delete,
};
