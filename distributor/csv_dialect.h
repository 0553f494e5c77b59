/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CSV_DIALECT_H
#define TL_DISTRIBUTOR_CSV_DIALECT_H

/* How a CSV file is written, found from its first records (at most 1,000 of them). */

#include "distributor/csv_scan.h"

struct csv_dialect {
    char delimiter;  /* 0: to be found: ',' ';' tab or '|', whichever gives all of the first records the most fields */
    char decimal;    /* 0: '.' */
    int header;      /* 1, 0; -1: to be found: a first record that has no number in it, where later ones have */
    int64_t skip;    /* lines before the first record */
    int64_t columns; /* of the first record */
    bool *texts;     /* (columns) whether one of the first records has a text there that is no number */
};

/* Fills what is to be found; columns and texts always. HUB_ERROR_INVALID where there is no record. */
int csv_dialect_find(const char *path, struct csv_dialect *dialect, bson_error_t *error);
void csv_dialect_destroy(struct csv_dialect *dialect);

#endif
