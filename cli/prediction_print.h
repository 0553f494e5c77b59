/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_PREDICTION_PRINT_H
#define TL_CLI_PREDICTION_PRINT_H

/* Predictions to stdout, a row each as they come: nothing is kept, so a table's columns are as wide as names and numbers
 * can be, whatever the rows are.
 *
 * Classes: row, label (where it is known), class, its probability, and every class's probability; or the K most probable.
 * JSON {row, label, class, name, probability, probabilities: […]} or {…, top: [{class, name, probability}]}; values are
 * {row, targets: […], values: […]}. */

#include "cli/cli.h"
#include "runner/predict.h"

struct prediction_print;

/* top 0: all probabilities; in a table of more than 16 classes the 3 most probable. probabilities false: only the class. */
struct prediction_print *prediction_print_open(struct cli *cli, const struct predict_about *about, int64_t top,
                                               bool probabilities);
void prediction_print_rows(struct prediction_print *print, const struct predict_batch *batch);
/* Ends the output where all rows came, and frees: CLI_DONE or CLI_FAILED. */
int prediction_print_close(struct prediction_print *print, bool complete);

#endif
