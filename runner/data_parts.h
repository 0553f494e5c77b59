/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_DATA_PARTS_H
#define TL_RUNNER_DATA_PARTS_H

/* A split of a dataset part by part, for passes that need each row once: memory holds one part, whatever the split's
 * size. Every part is checked as data_load does it. */

#include "runner/data.h"

struct data_parts;

/* dataset: the manifest, borrowed until the close. NULL on error; HUB_ERROR_NOT_FOUND, naming the splits that there are,
 * where it has no rows of this one. */
struct data_parts *data_parts_open(struct hub *hub, const bson_t *dataset, const char *split, bson_error_t *error);
void data_parts_close(struct data_parts *parts);
/* Rows of the whole split, as the manifest says. */
int64_t data_parts_rows(const struct data_parts *parts);
/* The next part that has rows: 1 with *data borrowed until the next call, 0 after the last, -1. Errors that name a row
 * count it within its part. */
int data_parts_next(struct data_parts *parts, struct data *data, bson_error_t *error);

#endif
