/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_BENCH_QUEUE_BY_HAND_H
#define TL_BENCH_QUEUE_BY_HAND_H

/* The peer of bench/queue: a task queue as one would write it by hand on SQLite, with real columns, real indexes and
 * prepared statements, at the same durability (synchronous=FULL) and journal mode as tl_hub chooses. One commit a
 * claim, one commit a finish. Rows and indexes are those of tl_hub: see queue_by_hand.c. */

#include <stdint.h>

struct by_hand;

/* payload_bytes: of each task's row beside its columns. 0 on success, else an SQLite result code, printed. */
int by_hand_open(const char *path, const char *journal_mode, struct by_hand **queue);
int by_hand_submit(struct by_hand *queue, int64_t first, int64_t count, int payload_bytes);
/* Claims one and finishes it, with a model and weights of weight_bytes where that is not 0. 1, or 0 when empty, -1. */
int by_hand_claim_and_finish(struct by_hand *queue, int weight_bytes);
void by_hand_close(struct by_hand *queue);

#endif
