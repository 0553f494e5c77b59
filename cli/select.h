/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_SELECT_H
#define TL_CLI_SELECT_H

/* Which documents a verb is about: arguments (names, ids, first digits of ids, #numbers of tasks), --filter, --where,
 * --keyword, together by "and". */

#include "cli/output.h"

/* --filter, --where, --keyword */
extern const struct cli_option select_options[];
/* --sort, --limit, --skip, --columns */
extern const struct cli_option select_order_options[];
/* --yes, --all, --dry-run: of verbs that delete */
extern const struct cli_option select_delete_options[];

struct select_kind {
    const char *noun; /* "task" */
    struct store_cursor *(*find)(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                                 bson_error_t *error);
    bool has_numbers; /* #124 */
    const char *sort; /* of lists, unless --sort says otherwise */
    const struct output_column *columns;
};

extern const struct select_kind select_tasks, select_models, select_datasets, select_architectures;

/* Conditions joined by $and. */
struct select_conditions {
    bson_t list;
    uint32_t count;
};
void select_init(struct select_conditions *conditions);
void select_destroy(struct select_conditions *conditions);
void select_add(struct select_conditions *conditions, const bson_t *condition);
void select_add_text(struct select_conditions *conditions, const char *path, const char *value);
/* {path: {$in: [the words of a comma-separated text]}} */
void select_add_words(struct select_conditions *conditions, const char *path, const char *words);
/* The filter (a new document). */
void select_filter(const struct select_conditions *conditions, bson_t *filter);

/* Adds what --filter, --where and --keyword say; before the hub is opened. An exit code. */
int select_take_options(struct cli *cli, struct select_conditions *conditions);
/* Adds {_id or name …} for the verb's arguments; each must be something (CLI_NOTHING), and an id's first digits only
 * one thing. */
int select_take_arguments(struct cli *cli, const struct select_kind *kind, struct select_conditions *conditions);
/* How many documents text means, counted no further than to 2: by number, id, name, ranges of numbers or an id's first
 * digits, the first of these that is there; their condition into *condition (a new document). Less than 0: the negated
 * exit code of what has been said. */
int select_look(struct cli *cli, const struct select_kind *kind, const char *text, bson_t *condition);
/* The condition that one text means: appended to *condition (a new document); CLI_NOTHING, and said, where it is nothing. */
int select_resolve(struct cli *cli, const struct select_kind *kind, const char *text, bson_t *condition);
/* The first document that text means, into *document (initialised always). */
int select_one(struct cli *cli, const struct select_kind *kind, const char *text, bson_t *document);
/* --sort or the given one into *sort (initialised always). */
int select_sort(struct cli *cli, const char *otherwise, bson_t *sort);
/* The number of documents that match, or -1 having said why. */
int64_t select_count(struct cli *cli, const struct select_kind *kind, const bson_t *filter);

/* The verbs find-*: open, select with the conditions given so far, print; then (NULL allowed) is told what was printed.
 * Destroys conditions. */
int select_and_print(struct cli *cli, const struct select_kind *kind, struct select_conditions *conditions,
                     void (*then)(struct cli *cli, const bson_t *filter));
/* Where everything is to be deleted: CLI_USAGE when nobody has said --yes and there is no terminal to ask at. */
int select_check_all(struct cli *cli, const char *noun);
/* The verbs delete-*: select (arguments, conditions or --all are needed), count, ask, remove, say. Destroys conditions.
 */
int select_and_delete(struct cli *cli, const struct select_kind *kind, struct select_conditions *conditions,
                      int64_t (*remove)(struct hub *hub, const bson_t *filter, bson_error_t *error));

#endif
