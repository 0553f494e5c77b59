/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_SELECT_TASK_H
#define TL_CLI_SELECT_TASK_H

/* What only tasks can be selected by. */

#include "cli/select.h"

/* --state, --unfinished, --name, --sweep */
extern const struct cli_option select_task_options[];

/* Adds what those say. */
int select_task_take_options(struct cli *cli, struct select_conditions *conditions);
/* Everything that says which tasks, hub opened: arguments, options, --all. Without any it is an error of usage. The
 * filter is a new document. An exit code. */
int select_task_filter(struct cli *cli, bson_t *filter);

#endif
