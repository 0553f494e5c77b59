/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_DESCRIBE_H
#define TL_CLI_DESCRIBE_H

#include "cli/select.h"

/* What datasets hold: rows by split, the columns of a table with types, missing values and ranges, rows of each class (counted
 * in the data where the manifest does not say). A table each; JSON an array of {name, version, rows, splits, input_shape,
 * label, classes, class_names, class_counts, columns}; CSV a line a column. Opens the hub; destroys conditions. */
int describe_datasets(struct cli *cli, struct select_conditions *conditions);

#endif
