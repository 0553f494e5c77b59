/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option cli_common_options[] = {
    {"hub", 0, CLI_TEXT, "URI", "where the hub is: sqlite:FILE or mongodb://HOST/NAME"},
    {"hub-file", 0, CLI_TEXT, "FILE", "read that URI from a file that only you can read (mode 0600)"},
    {"project", 0, CLI_TEXT, "NAME", "the project in the hub"},
    {"output", 'o', CLI_TEXT, "FORMAT", "table, json or csv"},
    {"help", 'h', CLI_FLAG, NULL, "this text"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

bool cli_parse_duration(const char *text, int64_t *milliseconds)
{
    static const struct {
        const char *name;
        double milliseconds;
    } units[] = {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"min", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}};
    char *stop;

    *milliseconds = 0;
    if (*text == '\0' || strchr("0123456789.", *text) == NULL || strspn(text, "0x") > 1) {
        return false;
    }
    double value = strtod(text, &stop);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(stop, units[i].name) == 0) {
            value *= units[i].milliseconds;
            if (!isfinite(value) || value < 0 || value > 3.2e12) { /* a hundred years */
                return false;
            }
            *milliseconds = (int64_t)(value + 0.5);
            return stop != text;
        }
    }
    return false;
}

const struct cli_option *cli_find_option(const struct cli_command *command, const char *name, size_t length,
                                         char letter)
{
    for (size_t group = 0; group <= CLI_GROUPS; group++) {
        const struct cli_option *option = group == CLI_GROUPS ? cli_common_options : command->groups[group];
        for (; option != NULL && option->name != NULL; option++) {
            if (letter != 0 ? option->letter == letter
                            : strlen(option->name) == length && strncmp(option->name, name, length) == 0) {
                return option;
            }
        }
    }
    return NULL;
}

static int unknown_option(const struct cli *cli, const char *name, size_t length)
{
    const char *names[128];
    size_t count = 0;

    for (size_t group = 0; group <= CLI_GROUPS; group++) {
        const struct cli_option *option = group == CLI_GROUPS ? cli_common_options : cli->command->groups[group];
        for (; option != NULL && option->name != NULL && count + 1 < sizeof names / sizeof *names; option++) {
            names[count++] = option->name;
        }
    }
    names[count] = NULL;
    char *given = bson_strndup(name, length);
    const char *near = cli_nearest(given, names);
    int code = near != NULL ? cli_usage(cli, "there is no option --%s: did you mean --%s?", given, near)
                            : cli_usage(cli, "there is no option --%s", given);
    bson_free(given);
    return code;
}

static int check_value(const struct cli *cli, struct cli_value *value)
{
    const struct cli_option *option = value->option;
    char *stop;

    if (option->kind == CLI_DURATION) {
        if (!cli_parse_duration(value->text, &value->integer)) {
            return cli_usage(cli, "--%s %s: not a duration such as 90s, 10m or 2h", option->name, value->text);
        }
    } else if (option->kind == CLI_INTEGER || option->kind == CLI_COUNT) {
        errno = 0;
        value->integer = strtoll(value->text, &stop, 10);
        if (stop == value->text || *stop != '\0' || errno != 0) {
            return cli_usage(cli, "--%s %s: not a whole number", option->name, value->text);
        }
        if (option->kind == CLI_COUNT && value->integer < 0) {
            return cli_usage(cli, "--%s %s: must not be negative", option->name, value->text);
        }
    }
    return CLI_DONE;
}

/* Names of files, and URIs with them, are any bytes; what goes into documents and filters is UTF-8. */
static bool takes_any_bytes(const struct cli_option *option)
{
    static const char *const values[] = {"FILE", "DIR", "URI"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (strcmp(option->value, values[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int add_value(struct cli *cli, const struct cli_option *option, const char *text)
{
    cli->values = bson_realloc(cli->values, (cli->value_count + 1) * sizeof *cli->values);
    struct cli_value *value = &cli->values[cli->value_count++];
    *value = (struct cli_value){.option = option, .text = text};
    if (text != NULL && !takes_any_bytes(option) && !bson_utf8_validate(text, strlen(text), false)) {
        return cli_usage(cli, "--%s: must be UTF-8", option->name);
    }
    return option->kind == CLI_FLAG ? CLI_DONE : check_value(cli, value);
}

/* "-xVALUE", "-x VALUE" or several flags "-xyz". */
static int parse_letters(struct cli *cli, int argc, char **argv, int *i)
{
    for (const char *letter = argv[*i] + 1; *letter != '\0'; letter++) {
        const struct cli_option *option = cli_find_option(cli->command, NULL, 0, *letter);
        if (option == NULL) {
            return cli_usage(cli, "there is no option -%c", *letter);
        }
        if (option->kind == CLI_FLAG) {
            add_value(cli, option, NULL);
            continue;
        }
        if (letter[1] == '\0' && *i + 1 == argc) {
            return cli_usage(cli, "-%c needs %s after it", *letter, option->value);
        }
        return add_value(cli, option, letter[1] != '\0' ? letter + 1 : argv[++*i]);
    }
    return CLI_DONE;
}

static int parse_name(struct cli *cli, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct cli_option *option = cli_find_option(cli->command, name, length, 0);

    if (option == NULL) {
        return unknown_option(cli, name, length);
    }
    if (option->kind == CLI_FLAG) {
        return equals != NULL ? cli_usage(cli, "--%s takes no value", option->name) : add_value(cli, option, NULL);
    }
    if (equals == NULL && *i + 1 == argc) {
        return cli_usage(cli, "--%s needs %s after it", option->name, option->value);
    }
    return add_value(cli, option, equals != NULL ? equals + 1 : argv[++*i]);
}

int cli_parse_options(struct cli *cli, int argc, char **argv)
{
    bool only_arguments = false;

    cli->arguments = bson_malloc0(((size_t)argc + 1) * sizeof *cli->arguments);
    for (int i = 0; i < argc; i++) {
        int code = CLI_DONE;
        if (!only_arguments && strcmp(argv[i], "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && strncmp(argv[i], "--", 2) == 0) {
            code = parse_name(cli, argc, argv, &i);
        } else if (!only_arguments && argv[i][0] == '-' && argv[i][1] != '\0') {
            code = parse_letters(cli, argc, argv, &i);
        } else {
            cli->arguments[cli->argument_count++] = argv[i];
        }
        if (code != CLI_DONE) {
            return code;
        }
    }
    return CLI_DONE;
}

static const struct cli_value *last_value(const struct cli *cli, const char *name)
{
    const struct cli_option *option = cli_find_option(cli->command, name, strlen(name), 0);
    for (size_t i = cli->value_count; option != NULL && i-- > 0;) {
        if (cli->values[i].option == option) {
            return &cli->values[i];
        }
    }
    return NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
    return last_value(cli, name) != NULL;
}

const char *cli_text(const struct cli *cli, const char *name)
{
    const struct cli_value *value = last_value(cli, name);
    return value != NULL ? value->text : NULL;
}

int64_t cli_integer(const struct cli *cli, const char *name, int64_t fallback)
{
    const struct cli_value *value = last_value(cli, name);
    return value != NULL ? value->integer : fallback;
}

const char *cli_texts(const struct cli *cli, const char *name, size_t index)
{
    const struct cli_option *option = cli_find_option(cli->command, name, strlen(name), 0);
    for (size_t i = 0; i < cli->value_count; i++) {
        if (cli->values[i].option == option && index-- == 0) {
            return cli->values[i].text;
        }
    }
    return NULL;
}
