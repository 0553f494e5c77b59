/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_SAVE_CSV_H
#define TL_CLI_SAVE_CSV_H

/* save-dataset --csv: its options, and what they say as struct csv_options. */

#include "cli/cli.h"

extern const struct cli_option save_csv_options[];

/* --split as shares of test rows, and of validation rows of what is left; *validation_share is changed only where it has three
 * parts. An exit code. */
int save_take_split(struct cli *cli, int64_t validation, double *test_share, double *validation_share);
/* Whether the option was given, of any kind. */
bool save_csv_given(const struct cli *cli, const struct cli_option *option);
/* Opens the hub and saves. validation: rows, or their share where it is 0. An exit code. */
int save_csv(struct cli *cli, int64_t validation, double share, const bson_t *fields);
/* The line or the document about a dataset that was saved; saved as dataset_writer_finish returns it. An exit code. */
int save_say_saved(struct cli *cli, const bson_t *dataset, int saved);

#endif
