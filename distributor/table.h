/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_TABLE_H
#define TL_DISTRIBUTOR_TABLE_H

/* A batch as a table: a CSV file (or .gz), or a workbook (.xlsx, by the program xlsx2csv), with a row an experiment and a column a
 * parameter. The first record names the columns:
 *   name, dataset, kind, architecture, model, initial_model, split, queue, priority, description   the task's own fields
 *   a hyper-parameter (hyper_parameters.h), or a name that the architecture has as ${name}          a parameter
 *   label.NAME                                                                                      kept with the point
 *   task, rank, state, seed where it is empty, weights, bytes, seconds, result.NAME                 what came back: not read
 * An empty cell is as if the column were not there. Anything else is refused as "FILE:LINE:COLUMN: reason", and nothing is
 * written then. */

#include "hub/hub.h"

#define TABLE_ROWS 100000

struct table_submission {
    int64_t rows, submitted;
    int64_t skipped;  /* were there by this table already */
    int64_t existing; /* left out by skip_existing, as the work of tasks that are not this table's */
    int64_t repeated; /* the same as a row before them */
    int64_t first_seq;
};

/* fields: what every task has where its row does not say it (dataset, architecture, name, queue, tags …). Submitting the same rows
 * under the same name again makes nothing new. skip_existing: rows whose work some task of the project does already, or has
 * done (task_work.h), are left out. 0 or -1. */
int table_submit(struct hub *hub, const char *path, const bson_t *fields, bool skip_existing,
                 struct table_submission *submission, bson_error_t *error);

struct table_changes {
    int64_t rows, restarted;
    int64_t same; /* rows whose task has these hyper-parameters already */
};

/* Restarts the ended tasks that the column `task` names whose hyper-parameters differ from their row. A row that changes
 * anything else, or a task that has not ended, is refused before any is restarted; with dry_run nothing is. */
int table_restart(struct hub *hub, const char *path, bool dry_run, struct table_changes *changes, bson_error_t *error);

#endif
