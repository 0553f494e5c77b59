/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/select.h"
#include "distributor/submit.h"
#include "hub/architecture_record.h"

#include <string.h>

static const struct output_column columns[] = {
    {"name", "name", OUTPUT_TEXT}, {"architecture", "text|graph", OUTPUT_TEXT},
    {"tags", "tags", OUTPUT_TEXT}, {"created", "created_at", OUTPUT_DATE},
    {"id", "_id", OUTPUT_ID},      {NULL, NULL, OUTPUT_AUTO},
};

const struct select_kind select_architectures = {
    .noun = "architecture",
    .find = architecture_record_find,
    .sort = "created_at:desc",
    .columns = columns,
};

static int run_find(struct cli *cli)
{
    struct select_conditions conditions;
    select_init(&conditions);
    return select_and_print(cli, &select_architectures, &conditions, NULL);
}

const struct cli_command cmd_find_architecture = {
    .verb = "find-architecture",
    .summary = "List architectures, newest first",
    .arguments = "[ARCHITECTURE]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_options, select_order_options},
    .examples = "  tl_hub find-architecture --keyword mlp\n  tl_hub find-architecture wide -o json",
    .run = run_find,
};

static int run_delete(struct cli *cli)
{
    struct select_conditions conditions;
    select_init(&conditions);
    return select_and_delete(cli, &select_architectures, &conditions, architecture_record_delete);
}

const struct cli_command cmd_delete_architecture = {
    .verb = "delete-architecture",
    .summary = "Delete architectures; tasks and models keep their own copy",
    .arguments = "[ARCHITECTURE]…",
    .most = CLI_ANY_NUMBER,
    .groups = {select_options, select_delete_options},
    .run = run_delete,
};

static int save(struct cli *cli, const char *text, const bson_t *fields)
{
    bson_error_t error;
    bson_t record = BSON_INITIALIZER;
    char *graph = NULL;
    int code = CLI_DONE;

    if (submit_architecture(text, &graph, &error) < 0) {
        code = cli_fail(&error);
        goto out;
    }
    code = cli_open(cli, HUB_OPEN_CREATE);
    if (code != CLI_DONE) {
        goto out;
    }
    bson_destroy(&record);
    int saved = architecture_record_save(cli->hub, graph, fields, &record, &error);
    if (saved < 0) {
        code = cli_fail(&error);
        goto out;
    }
    const char *id = output_text(&record, "_id");
    code = output_object(cli, &record, "%s architecture %s (%.12s)",
                         saved > 0 ? "saved" : "was there already:", cli->arguments[0], id != NULL ? id : "");
out:
    bson_free(graph);
    bson_destroy(&record);
    return code;
}

static int run_save(struct cli *cli)
{
    bson_t fields = BSON_INITIALIZER;
    const char *text = cli->arguments[1];
    char *loaded = NULL;
    size_t length;

    int code = fields_append_text(cli, "name", "name", cli->arguments[0], &fields);
    if (code == CLI_DONE) {
        code = fields_append_common(cli, &fields);
    }
    if (code == CLI_DONE && *text == '@') {
        code = fields_read_file(text + 1, 1 << 20, &loaded, &length);
        text = loaded;
    } else if (code == CLI_DONE && *text != '{') {
        code = *text == '\0' ? cli_usage(cli, "the architecture is empty: write such as 'dense:100:relu dense:10'")
                             : fields_append_text(cli, "architecture", "text", text, &fields);
    }
    if (code == CLI_DONE) {
        code = save(cli, text, &fields);
    }
    bson_free(loaded);
    bson_destroy(&fields);
    return code;
}

const struct cli_command cmd_save_architecture = {
    .verb = "save-architecture",
    .summary = "Put a net's architecture into the hub, to be used by name",
    .arguments = "NAME ARCHITECTURE",
    .least = 2,
    .most = 2,
    .groups = {fields_options},
    .details =
        "An ARCHITECTURE is the short form of a chain of layers, a JSON graph, or @FILE with either. It is checked\n"
        "on its own here; whether it fits a dataset is checked when a task uses it.",
    .examples = "  tl_hub save-architecture mlp \"dropout:0.2 dense:800:relu dropout:0.5 dense:10\"\n"
                "  tl_hub save-architecture branches @net.json --tag wide",
    .run = run_save,
};
