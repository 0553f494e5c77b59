/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_SPOOL_H
#define TL_RUNNER_SPOOL_H

/* Log points that wait to be written to the hub, oldest first: some in memory, and while the hub is away the rest in a
 * file, up to a bound. At the bound points of batches are thinned (every second one goes, and of those to come as well,
 * then three of four, …); points of epochs never are, and pass the bound. Where no file can be written, memory is bounded
 * in the same way.
 *
 * The file has no name and mode 0600: what is in it is of use to this process only (a run that is taken up again goes on
 * from a checkpoint, whose points are in the hub), and a process that is killed leaves nothing behind. Not for threads. */

#include "hub/logs.h"

#define SPOOL_MEMORY_BYTES (1 << 20)
#define SPOOL_FILE_BYTES (INT64_C(64) << 20)

struct spool;

/* folder: where the file would be made; NULL: XDG_RUNTIME_DIR, else /tmp. NULL without memory. */
struct spool *spool_new(const char *folder, size_t memory_bytes, int64_t file_bytes);
void spool_free(struct spool *spool);

/* batch: a point of a batch, not of an epoch. 1 when points are thinned from now on (more than before), 0, -1 without
 * memory or for a split's name of more than 64 bytes. */
int spool_add(struct spool *spool, const char *split, const bson_t *point, bool batch, bson_error_t *error);
/* Moves the oldest points, at most so many, to logs: how many, 0 there are none, -1 (HUB_ERROR_IO: the file cannot be
 * read back; what was in it is lost, and the next call goes on behind it). */
int64_t spool_take(struct spool *spool, struct logs *logs, int64_t most, bson_error_t *error);
bool spool_is_empty(const struct spool *spool);
/* Forgets all points: for the next task. */
void spool_clear(struct spool *spool);
/* Points of batches that were left out since spool_clear; of the file, its length now. */
int64_t spool_left_out(const struct spool *spool);
int64_t spool_file_bytes(const struct spool *spool);

#endif
