/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_CLI_H
#define TL_CLI_CLI_H

/* The program tl_hub: one table of commands, one cmd_*.c a verb, and what they share.
 *
 * Data goes to stdout, everything else to stderr, each diagnostic as one line "tl_hub: what, where, what to do" with
 * control characters escaped. A function that returns an exit code has said why when it is not CLI_DONE. Memory comes
 * from bson_malloc and its kin, which end the program when there is none. */

#include "hub/hub.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOTHING = 3,     /* nothing found, or nothing to do */
    CLI_UNREACHABLE = 4, /* the hub cannot be reached, or stays locked */
    CLI_UNAUTHORIZED = 5,
    CLI_CONFLICT = 6, /* the lease was lost, or somebody else was first */
    CLI_TIMEOUT = 124 /* the time given by --timeout is over, as timeout(1) says it */
};

/* ---- options ---- */

enum cli_option_kind {
    CLI_FLAG,  /* no value */
    CLI_TEXT,  /* the last one given counts */
    CLI_TEXTS, /* may be given again: all count */
    CLI_INTEGER,
    CLI_COUNT,   /* an integer of at least 0 */
    CLI_DURATION /* 500ms, 90s, 10m, 2h, 1d; a bare number is seconds. In milliseconds */
};

/* Arrays of options end with a NULL name. */
struct cli_option {
    const char *name; /* without the dashes */
    char letter;      /* short form, or 0 */
    enum cli_option_kind kind;
    const char *value; /* what the help calls the value */
    const char *help;
};

struct cli_value {
    const struct cli_option *option;
    const char *text;
    int64_t integer; /* CLI_INTEGER, CLI_COUNT; CLI_DURATION: milliseconds */
};

struct cli;

#define CLI_GROUPS     4
#define CLI_ANY_NUMBER SIZE_MAX

struct cli_command {
    const char *verb;
    const char *summary;                         /* one line */
    const char *arguments;                       /* "[TASK]…" or "" */
    size_t least, most;                          /* arguments */
    const struct cli_option *groups[CLI_GROUPS]; /* the verb's options; those of every verb come after */
    const char *details;                         /* paragraphs, or NULL */
    const char *examples;                        /* lines, or NULL */
    int (*run)(struct cli *cli);                 /* an exit code */
};

enum cli_format { CLI_TABLE, CLI_JSON, CLI_CSV };

struct cli {
    const struct cli_command *command;
    struct cli_value *values;
    size_t value_count;
    const char **arguments;
    size_t argument_count;
    enum cli_format format;
    bool stdout_terminal, stderr_terminal, color;
    char *uri, *project; /* project NULL: the default one */
    struct hub *hub;     /* after cli_open */
    bool by_expression;  /* tasks were chosen by an expression, and not by name or number alone */
};

/* The options that every verb has: --hub, --hub-file, --project, --output, --help. */
extern const struct cli_option cli_common_options[];
/* The commands, NULL at the end; a heading for the list of help stands at the first command of its group. */
extern const struct cli_command *const cli_commands[];

const struct cli_command *cli_find_command(const char *verb);
/* Fills values and arguments of *cli from argv[0 … argc-1] (what follows the verb). */
int cli_parse_options(struct cli *cli, int argc, char **argv);
/* The option as the verb declares it; a verb's own letter or name hides a common one. NULL: there is none. */
const struct cli_option *cli_find_option(const struct cli_command *command, const char *name, size_t length,
                                         char letter);

/* Values of a declared option; where it was not given: false, NULL, the fallback. */
bool cli_flag(const struct cli *cli, const char *name);
const char *cli_text(const struct cli *cli, const char *name);
int64_t cli_integer(const struct cli *cli, const char *name, int64_t fallback);
/* The index-th text of a CLI_TEXTS option, NULL after the last. */
const char *cli_texts(const struct cli *cli, const char *name, size_t index);
/* Parses "90s" and the like into milliseconds: false when it is not one. */
bool cli_parse_duration(const char *text, int64_t *milliseconds);

/* ---- help ---- */

void cli_print_commands(FILE *out);
void cli_print_command(FILE *out, const struct cli_command *command);
/* The nearest of names (NULL at the end) when it is near enough to be a slip, else NULL. */
const char *cli_nearest(const char *text, const char *const *names);

/* ---- settings and the hub ---- */

/* Where the hub is: --hub, --hub-file, TL_HUB_URI, tl_hub.yaml here, in ~/.config/tl_hub, in /etc/tl_hub, or
 * sqlite:tl_hub.db; and the project likewise. Fills cli->uri and cli->project. */
int cli_settings(struct cli *cli);
/* Settings and hub_open with these flags (enum hub_open_flags). */
int cli_open(struct cli *cli, unsigned flags);
/* Writes over the passwords of hub URIs in argv, which every process list shows; argv[i] then points to a copy. */
void cli_hide_passwords(int argc, char **argv);

/* ---- saying ---- */

/* The line on stderr, and the exit code of the error. */
int cli_fail(const bson_error_t *error);
int cli_say(enum cli_exit code, const char *format, ...) BSON_GNUC_PRINTF(2, 3);
/* Like cli_say with CLI_USAGE; points to the verb's help. */
int cli_usage(const struct cli *cli, const char *format, ...) BSON_GNUC_PRINTF(2, 3);
/* A line on stderr that is no error. */
void cli_note(const char *format, ...) BSON_GNUC_PRINTF(1, 2);
/* Exit code of an error of the libraries. */
enum cli_exit cli_exit_of(const bson_error_t *error);
/* "1 task", "3 tasks" into a buffer, which is returned. */
const char *cli_plural(char *buffer, size_t size, int64_t count, const char *noun);
/* Asks on the terminal whether to go on; without a terminal, or with --yes, it is yes. */
bool cli_confirm(const struct cli *cli, const char *format, ...) BSON_GNUC_PRINTF(2, 3);

#endif
