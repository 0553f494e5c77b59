/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_FAULTY_VFS_H
#define TL_TEST_FAULTY_VFS_H

/* SQLite's files through a layer that fails on demand: the disk is full, it gives errors, or the power goes. It counts
 * what SQLite asks for, so that a test can let every single request of a piece of work fail in turn.
 *
 * For a power cut it keeps, for each file, what is surely on the disk (what was written before the last sync) and what
 * was written since. What is left afterwards is the first, and of the second any 512-byte sectors, by a seed. Nothing
 * is really synced: the layer makes tests fast and not slow. One thread, one process. */

#include <stdbool.h>
#include <stdint.h>

enum faulty_kind {
    FAULTY_NONE,
    FAULTY_FULL,  /* writes: no space */
    FAULTY_WRITE, /* writes, truncations, syncs, deletions: I/O errors */
    FAULTY_READ,  /* reads: I/O errors */
    FAULTY_POWER  /* at a write, truncation, sync or deletion everything ends */
};

/* Makes the layer SQLite's default from now on. */
void faulty_vfs_install(void);
/* The at-th request (from 1) of those the kind touches fails, and with stays every later one until the next call.
 * Forgets what was counted, and what is known about files that are not open. at 0: only counts. */
void faulty_vfs_arm(enum faulty_kind kind, int64_t at, bool stays);
int64_t faulty_vfs_count(void);
/* From now on files grow by so many bytes in all, and what is cut off counts again; -1: without a limit. */
void faulty_vfs_leave_room(int64_t bytes);
bool faulty_vfs_fired(void);
/* After a power cut: makes the files as the disk would show them, in place of those there are. The database must be
 * closed. */
void faulty_vfs_restore(uint64_t seed);

#endif
