/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/help_layers.h"
#include "cli/output.h"

#include <string.h>

/* What the shell's completion asks for: verbs, or the options of one verb, one a line. */
static void print_words(const struct cli_command *command)
{
    for (size_t i = 0; command == NULL && cli_commands[i] != NULL; i++) {
        puts(cli_commands[i]->verb);
    }
    for (size_t group = 0; command != NULL && group <= CLI_GROUPS; group++) {
        const struct cli_option *option = group == CLI_GROUPS ? cli_common_options : command->groups[group];
        for (; option != NULL && option->name != NULL; option++) {
            if (cli_find_option(command, option->name, strlen(option->name), 0) == option) {
                printf("--%s%s%s\n", option->name, option->value != NULL ? "=" : "",
                       option->value != NULL ? option->value : "");
            }
        }
    }
}

static int run_help(struct cli *cli)
{
    const struct cli_command *command = NULL;

    if (cli->argument_count > 0 && strcmp(cli->arguments[0], "layers") == 0) {
        return help_layers(cli, cli->argument_count > 1 ? cli->arguments[1] : NULL);
    }
    if (cli->argument_count > 1) {
        return cli_usage(cli, "one verb at a time");
    }
    if (cli->argument_count > 0) {
        command = cli_find_command(cli->arguments[0]);
        if (command == NULL) {
            return cli_say(CLI_USAGE, "there is no verb '%s' (see: tl_hub help)", cli->arguments[0]);
        }
    }
    if (cli_flag(cli, "list")) {
        print_words(command);
    } else if (command != NULL) {
        cli_print_command(stdout, command);
    } else {
        cli_print_commands(stdout);
    }
    return output_flush();
}

static const struct cli_option help_options[] = {
    {"list", 0, CLI_FLAG, NULL, "only the verbs, or the verb's options, one a line"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

const struct cli_command cmd_help = {
    .verb = "help",
    .summary = "Explain a verb, or list them; help layers: the layers of architectures",
    .arguments = "[VERB | layers [TYPE]]",
    .most = 2,
    .groups = {help_options},
    .details = "help layers lists what an architecture may be made of, with the attributes in the order of the short form; -o\n"
               "json gives the same for programs.",
    .examples = "  tl_hub help create-task\n"
                "  tl_hub help layers\n"
                "  tl_hub help layers batch_norm",
    .run = run_help,
};

static int run_version(struct cli *cli)
{
    bson_t report = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&report, "version", TL_HUB_VERSION);
    BSON_APPEND_INT32(&report, "schema_version", HUB_SCHEMA_VERSION);
    int code = output_object(cli, &report, "tl_hub %s (hub schema %d)", TL_HUB_VERSION, HUB_SCHEMA_VERSION);
    bson_destroy(&report);
    return code;
}

const struct cli_command cmd_version = {
    .verb = "version",
    .summary = "Say which version this is, and of which hubs",
    .arguments = "",
    .run = run_version,
};
