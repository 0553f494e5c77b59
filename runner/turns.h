/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_TURNS_H
#define TL_RUNNER_TURNS_H

/* Fair turns: whoever claims goes round the sources, one claim each, from where it stopped, so that a sweep of 50,000
 * tasks in one queue does not starve another lab's three. A source that had nothing is passed over until somebody says
 * that it has something again: only the supervisor asks the hub for that, once for all its workers. */

#include "hub/task_source.h"

struct turns {
    struct task_source *list; /* owned */
    bool *empty;
    size_t count;
    size_t at;      /* whose turn it is */
    uint32_t number; /* of this list: indexes said of another one mean nothing */
};

/* Everything is zero before the first set. Takes list over; none is empty. */
void turns_set(struct turns *turns, struct task_source *list, size_t count, size_t first, uint32_t number);
void turns_destroy(struct turns *turns);
/* The source whose turn it is, or -1: all are empty. */
int turns_next(struct turns *turns);
/* It had nothing; or it had, and the turn goes to the next. */
void turns_missed(struct turns *turns, size_t source);
void turns_taken(struct turns *turns, size_t source);
/* It may have something again. */
void turns_wake(struct turns *turns, size_t source);

/* {list: number, sources: [{project, queue, resource_class, lane}, …]} */
bool turns_append(bson_t *message, const struct task_source *list, size_t count, uint32_t number);
/* Sets turns from such a message: false where it is none. */
bool turns_read(struct turns *turns, const bson_t *message, size_t first);

#endif
