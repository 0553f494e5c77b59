/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_STORE_WATCH_H
#define TL_HUB_STORE_WATCH_H

/* A wake-up: something may have become ready, so it is worth looking. It is a hint and nothing more: one that never
 * comes, comes late or comes for nothing harms nobody, and where there is none (HUB_ERROR_NOT_FOUND) people poll.
 *
 * SQLite: the system says when another process of this machine writes to the file (inotify); it costs nothing while
 * nobody writes. MongoDB: a change stream on tasks that become ready, in a thread with a connection of its own, only on
 * replica sets and sharded clusters; one event ends it, so that a busy hub does not tell everybody everything. */

#include "hub/store.h"

struct store_watch;

/* projects: NULL-ended. Opened by the store's thread; the watch does not outlive the store. */
struct store_watch *store_watch_open(struct store *store, const char *const *projects, bson_error_t *error);
/* To be polled for reading. */
int store_watch_fd(const struct store_watch *watch);
/* Takes what has come: 1 something may be ready, 0 nothing has come, -1 the watch has ended: close it. After an event 1
 * comes once, and where that ended the watch -1 from then on. */
int store_watch_take(struct store_watch *watch);
void store_watch_close(struct store_watch *watch);

#endif
