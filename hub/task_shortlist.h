/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TASK_SHORTLIST_H
#define TL_HUB_TASK_SHORTLIST_H

/* The next tasks of a queue by _id, for those who claim many small tasks from a server. A claim in order searches the
 * queue's head anew each time, where every other claimer is as well. Who has just claimed twice within a moment
 * reads the next few _ids at once and claims each by _id: the same fenced findAndModify, with the whole claim filter, so that
 * a task that someone else took matches nothing. A list is good for a second: so long may a task of higher priority
 * that comes meanwhile be overtaken. After a miss the next claim is one in order again, and the list half as long.
 *
 * Workers of one runner take different ones of the same head, by a hash of the _id, and after a miss everybody takes fewer of
 * more: else all of them would try the same tasks in the same order. */

#include "hub/task.h"

struct task_shortlist;

void task_shortlist_free(struct task_shortlist *shortlist);

/* The _id of the task to try, into id (initialised; a document {_id}): 1, or 0: claim in order. */
int task_shortlist_next(struct task_shortlist *shortlist, const struct task_claim_options *options, bson_t *id);
/* The claim by _id matched nothing. */
void task_shortlist_missed(struct task_shortlist *shortlist, const struct task_claim_options *options);
/* A claim in order found a task. Reads ahead where claims come fast; errors only leave the list empty. */
void task_shortlist_claimed(struct hub *hub, struct task_shortlist **shortlist, const struct task_claim_options *options,
                            const bson_t *filter, const bson_t *sort);

#endif
