/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_GROUP_SEEDS_H
#define TL_CLI_GROUP_SEEDS_H

/* Models that differ only in the seed as one: find-model --group-seeds. */

#include "cli/select.h"

/* Prints a row for each group of the models that match: its best one, with seeds (how many), mean and deviation (of the sample)
 * of the first key of --sort (accuracy:desc), by whose mean groups are in order; --skip and --limit count groups. Models
 * without that key stand at the end, each in its group, without a mean. An exit code. */
int group_seeds_print(struct cli *cli, const bson_t *filter);

#endif
