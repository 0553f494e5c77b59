/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_SELECT_MODEL_H
#define TL_CLI_SELECT_MODEL_H

/* One model: of those that text, --where, --filter and --keyword mean together the first by --sort, else the newest. */

#include "cli/select.h"

/* Opens the hub. text: a name, an id or its first digits, a query as JSON, or a condition as of --where; NULL: the options
 * alone say it. *model is initialised always. An exit code. */
int select_model(struct cli *cli, const char *text, bson_t *model);

#endif
