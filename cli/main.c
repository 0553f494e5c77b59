/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/output.h"
#include "runner/runner.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int unknown_verb(const char *verb)
{
    const char *names[128];
    size_t count = 0;

    for (; cli_commands[count] != NULL && count + 1 < sizeof names / sizeof *names; count++) {
        names[count] = cli_commands[count]->verb;
    }
    names[count] = NULL;
    const char *near = cli_nearest(verb, names);
    if (near != NULL) {
        return cli_say(CLI_USAGE, "there is no verb '%s': did you mean '%s'? (see: tl_hub help)", verb, near);
    }
    if (verb[0] == '-') {
        return cli_say(CLI_USAGE, "'%s' comes before a verb: write tl_hub VERB %s ...", verb, verb);
    }
    return cli_say(CLI_USAGE, "there is no verb '%s' (see: tl_hub help)", verb);
}

static int take_format(struct cli *cli)
{
    static const char *const names[] = {"table", "json", "csv", NULL};
    const struct cli_option *own = cli_find_option(cli->command, "output", strlen("output"), 0);
    /* Verbs whose -o names a file have --format instead. */
    const char *option = own->value != NULL && strcmp(own->value, "FORMAT") == 0 ? "output" : "format";
    const char *text = cli_text(cli, option);

    cli->format = CLI_TABLE;
    if (text == NULL) {
        return CLI_DONE;
    }
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(text, names[i]) == 0) {
            cli->format = (enum cli_format)i;
            return CLI_DONE;
        }
    }
    return cli_usage(cli, "--%s %s: known are table, json and csv", option, text);
}

static int run_command(struct cli *cli, int argc, char **argv)
{
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
    int code = cli_parse_options(cli, argc, argv);

    if (cli_flag(cli, "help")) {
        cli_print_command(stdout, cli->command);
        return output_flush();
    }
    if (code == CLI_DONE) {
        code = take_format(cli);
    }
    if (code != CLI_DONE) {
        return code;
    }
    if (cli->argument_count < cli->command->least) {
        return cli_usage(cli, "%s is missing", cli->command->arguments);
    }
    if (cli->argument_count > cli->command->most) {
        return cli_usage(cli, "'%s' is one argument too many", cli->arguments[cli->command->most]);
    }
    cli->stdout_terminal = isatty(STDOUT_FILENO);
    cli->stderr_terminal = isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
    cli->color = cli->stdout_terminal && (no_color == NULL || *no_color == '\0') && terminal != NULL &&
                 strcmp(terminal, "dumb") != 0;
    return cli->command->run(cli);
}

int main(int argc, char **argv)
{
    struct cli cli = {.command = NULL};
    int code;

    cli_hide_passwords(argc, argv);
    if (argc >= 3 && strcmp(argv[1], "run-task") == 0 && strcmp(argv[2], "--worker-process") == 0) {
        return runner_worker_main(argc, argv);
    }
    if (argc < 2) {
        cli_print_commands(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_print_commands(stdout);
        return output_flush();
    }
    cli.command = cli_find_command(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    if (cli.command == NULL) {
        return unknown_verb(argv[1]);
    }
    code = run_command(&cli, argc - 2, argv + 2);
    hub_close(cli.hub);
    bson_free(cli.uri);
    bson_free(cli.project);
    bson_free(cli.values);
    bson_free(cli.arguments);
    return code;
}
