/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_CHOOSE_H
#define TL_CLI_CHOOSE_H

/* Tasks by expression (where.h has the language): a condition of the store's subset, and where the subset cannot say it, the
 * numbers of those tasks that it holds for, decided here, so that both engines give the same answer. */

#include "cli/select.h"

/* The condition of an expression, into *condition (a new document). The hub is open. CLI_USAGE with the position where it is
 * none; CLI_NOTHING where a name that it says is nothing's. */
int choose_tasks(struct cli *cli, const char *text, bson_t *condition);
/* Whether the verb is about tasks, so that its --where knows their words too. */
bool choose_knows(const struct cli *cli);
/* --where on tasks, before the hub is open: 1 where it says what only tasks know (choose_take_where adds it), 0 plain, with
 * the filter (initialised always), -1. */
int choose_check_where(const char *text, bson_t *filter, bson_error_t *error);
/* Adds those. The hub is open. An exit code. */
int choose_take_where(struct cli *cli, struct select_conditions *conditions);

/* Before tasks are changed: how many there are, and the first ones, on stderr. Asks at a terminal, unless it is one task that
 * was named; without a terminal what an expression chose needs --yes. verb: "cancel". CLI_DONE: go on; *ended: it was a
 * dry run, or there is nothing to go on with, and the exit code is final. */
int choose_confirm(struct cli *cli, const bson_t *filter, const char *verb, bool *ended);
/* The first few of total tasks, by number, on stderr. */
void choose_show_first(struct cli *cli, const bson_t *filter, int64_t total);
/* --all, --yes, --dry-run: of verbs that ask something of tasks. */
extern const struct cli_option choose_options[];

#endif
