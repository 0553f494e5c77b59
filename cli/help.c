/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/text.h"

#include <string.h>

/* Optimal string alignment distance (insert, delete, replace, swap of neighbours), of texts up to 63 bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][64], m = strlen(a), n = strlen(b);
    size_t *before = rows[0], *above = rows[1], *here = rows[2];

    if (m > 63 || n > 63) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= n; j++) {
        above[j] = j;
    }
    for (size_t i = 1; i <= m; i++) {
        here[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t cost = above[j - 1] + (a[i - 1] != b[j - 1]);
            cost = cost < above[j] + 1 ? cost : above[j] + 1;
            cost = cost < here[j - 1] + 1 ? cost : here[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < cost) {
                cost = before[j - 2] + 1;
            }
            here[j] = cost;
        }
        size_t *spare = before;
        before = above;
        above = here;
        here = spare;
    }
    return above[n];
}

const char *cli_nearest(const char *text, const char *const *names)
{
    const char *nearest = NULL;
    size_t best = strlen(text) / 3 + 1;

    for (; *names != NULL; names++) {
        size_t length = strlen(text);
        if (length >= 3 && strncmp(*names, text, length) == 0) {
            return *names;
        }
        size_t steps = distance(text, *names);
        if (steps < best || (steps == best && nearest == NULL)) {
            best = steps;
            nearest = *names;
        }
    }
    return nearest;
}

void cli_print_commands(FILE *out)
{
    fputs("tl_hub: a task queue in a database, for training neural networks\n\n"
          "usage: tl_hub VERB [arguments] [options]\n\n",
          out);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        fprintf(out, "  %-20s %s\n", cli_commands[i]->verb, cli_commands[i]->summary);
    }
    fputs("\n"
          "tl_hub help VERB says more. The hub is named by --hub URI, TL_HUB_URI, or hub: in tl_hub.yaml (here, in\n"
          "~/.config/tl_hub or in /etc/tl_hub); without any of them it is sqlite:tl_hub.db.\n\n"
          "A first tour:\n"
          "  tl_hub save-dataset fashion --idx DIR --validation 5000\n"
          "  tl_hub create-task --dataset fashion --sweep sweep.yaml\n"
          "  tl_hub run-task --workers 2 --until-empty\n"
          "  tl_hub find-model --sort accuracy:desc --limit 5\n\n"
          "exit: 0 done, 1 failed, 2 usage, 3 nothing found or nothing to do, 4 hub unreachable, 5 not authorised,\n"
          "      6 conflict, 124 time is over\n",
          out);
}

static void print_options(FILE *out, const struct cli_option *option, const struct cli_command *command)
{
    for (; option->name != NULL; option++) {
        char left[64], letter[8] = "    ";
        const struct cli_option *shown = cli_find_option(command, option->name, strlen(option->name), 0);
        if (shown != option) {
            continue; /* hidden by an option of the verb's own */
        }
        if (option->letter != 0 && cli_find_option(command, NULL, 0, option->letter) == option) {
            snprintf(letter, sizeof letter, "-%c, ", option->letter);
        }
        snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->value != NULL ? " " : "",
                 option->value != NULL ? option->value : "");
        size_t width = text_width(left);
        if (width > 30) {
            fprintf(out, "  %s\n  %30s  %s\n", left, "", option->help);
        } else {
            fprintf(out, "  %s%*s  %s\n", left, (int)(30 - width), "", option->help);
        }
    }
}

void cli_print_command(FILE *out, const struct cli_command *command)
{
    bool any = command->groups[0] != NULL;

    fprintf(out, "usage: tl_hub %s%s%s%s\n\n%s.\n", command->verb, *command->arguments != '\0' ? " " : "",
            command->arguments, any ? " [options]" : "", command->summary);
    if (command->details != NULL) {
        fprintf(out, "\n%s\n", command->details);
    }
    if (any) {
        fputs("\noptions:\n", out);
        for (size_t group = 0; group < CLI_GROUPS && command->groups[group] != NULL; group++) {
            print_options(out, command->groups[group], command);
        }
    }
    fputs("\noptions of every verb:\n", out);
    print_options(out, cli_common_options, command);
    if (command->examples != NULL) {
        fprintf(out, "\nexamples:\n%s\n", command->examples);
    }
}
