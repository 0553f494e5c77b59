/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct cli_option options[] = {
    {"name", 'n', CLI_TEXT, "NAME", "a name"},   {"tag", 't', CLI_TEXTS, "TAG", "a tag"},
    {"yes", 'y', CLI_FLAG, NULL, "do not ask"},  {"quick", 'q', CLI_FLAG, NULL, "be quick"},
    {"limit", 0, CLI_COUNT, "N", "at most"},     {"priority", 0, CLI_INTEGER, "N", "first"},
    {"lease", 0, CLI_DURATION, "TIME", "lease"}, {NULL, 0, CLI_FLAG, NULL, NULL},
};
static const struct cli_command command = {.verb = "test-thing", .groups = {options}};

static int parse(struct cli *cli, int count, const char *const *words)
{
    *cli = (struct cli){.command = &command};
    return cli_parse_options(cli, count, (char **)(uintptr_t)words);
}

static void clear(struct cli *cli)
{
    bson_free(cli->values);
    bson_free(cli->arguments);
}

Test(options, every_way_of_writing_one)
{
    static const char *const words[] = {"a",         "--name",     "x",  "--tag=t1", "-tt2", "-t", "t3", "-yq",
                                        "--limit=3", "--priority", "-4", "--lease",  "1.5m", "-",  "--", "--name"};
    struct cli cli;

    cr_assert_eq(parse(&cli, 16, words), CLI_DONE);
    cr_expect_str_eq(cli_text(&cli, "name"), "x");
    cr_expect_str_eq(cli_texts(&cli, "tag", 0), "t1");
    cr_expect_str_eq(cli_texts(&cli, "tag", 1), "t2");
    cr_expect_str_eq(cli_texts(&cli, "tag", 2), "t3");
    cr_expect(cli_texts(&cli, "tag", 3) == NULL);
    cr_expect(cli_flag(&cli, "yes") && cli_flag(&cli, "quick") && !cli_flag(&cli, "help"));
    cr_expect_eq(cli_integer(&cli, "limit", 0), 3);
    cr_expect_eq(cli_integer(&cli, "priority", 0), -4);
    cr_expect_eq(cli_integer(&cli, "lease", 0), 90000);
    cr_assert_eq(cli.argument_count, 3);
    cr_expect_str_eq(cli.arguments[0], "a");
    cr_expect_str_eq(cli.arguments[1], "-");
    cr_expect_str_eq(cli.arguments[2], "--name");
    clear(&cli);
}

Test(options, slips_are_errors_of_usage)
{
    static const char *const wrong[][2] = {
        {"--nmae", "x"},    {"--name", NULL},      {"--yes=1", NULL},
        {"-x", NULL},       {"-n", NULL},          {"--limit", "x"},
        {"--limit", "-1"},  {"--limit", "3x"},     {"--lease", "9y"},
        {"--lease", "-1s"}, {"--lease", ""},       {"--lease", "0x9"},
        {"--limit", ""},    {"--priority", "1.5"}, {"--limit", "99999999999999999999"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cli cli;
        cr_expect_eq(parse(&cli, wrong[i][1] != NULL ? 2 : 1, wrong[i]), CLI_USAGE, "%s %s was taken", wrong[i][0],
                     wrong[i][1]);
        clear(&cli);
    }
}

Test(options, the_nearest_name)
{
    static const char *const names[] = {"find-task", "find-model", "run-task", "wait", NULL};
    cr_expect_str_eq(cli_nearest("fnid-task", names), "find-task");
    cr_expect_str_eq(cli_nearest("find-modle", names), "find-model");
    cr_expect_str_eq(cli_nearest("run", names), "run-task");
    cr_expect(cli_nearest("predict", names) == NULL);
    cr_expect(cli_nearest("xyz", names) == NULL);
}

Test(options, durations)
{
    static const struct {
        const char *text;
        int64_t milliseconds;
    } good[] = {{"90s", 90000},  {"90", 90000},    {"500ms", 500}, {"10m", 600000},
                {"2h", 7200000}, {"1d", 86400000}, {"0.5s", 500}};
    int64_t milliseconds;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect(cli_parse_duration(good[i].text, &milliseconds));
        cr_expect_eq(milliseconds, good[i].milliseconds, "%s", good[i].text);
    }
    cr_expect(!cli_parse_duration("1e300d", &milliseconds));
    cr_expect(!cli_parse_duration("inf", &milliseconds));
}

Test(options, every_option_of_every_verb_is_declared_once)
{
    for (size_t c = 0; cli_commands[c] != NULL; c++) {
        const struct cli_command *verb = cli_commands[c];
        cr_expect(verb->run != NULL && verb->summary != NULL && *verb->summary != '\0', "%s", verb->verb);
        for (size_t group = 0; group < CLI_GROUPS && verb->groups[group] != NULL; group++) {
            for (const struct cli_option *option = verb->groups[group]; option->name != NULL; option++) {
                cr_expect(cli_find_option(verb, option->name, strlen(option->name), 0) == option,
                          "%s --%s is there twice", verb->verb, option->name);
                cr_expect(option->letter == 0 || cli_find_option(verb, NULL, 0, option->letter) == option,
                          "%s -%c is there twice", verb->verb, option->letter);
                cr_expect((option->kind == CLI_FLAG) == (option->value == NULL), "%s --%s", verb->verb, option->name);
            }
        }
    }
}

Test(options, passwords_leave_the_process_list)
{
    char program[] = "tl_hub", uri[] = "--hub=mongodb://joe:p@ss:w/rd@host:1/db?x=1", none[] = "mongodb://host/db";
    char *argv[] = {program, uri, none, NULL};

    cli_hide_passwords(3, argv);
    cr_expect_str_eq(uri, "--hub=mongodb://joe:*********@host:1/db?x=1");
    cr_expect_str_eq(argv[1], "--hub=mongodb://joe:p@ss:w/rd@host:1/db?x=1");
    cr_expect_str_eq(none, "mongodb://host/db");
    bson_free(argv[1]);
    if (argv[2] != none) {
        bson_free(argv[2]);
    }
}
