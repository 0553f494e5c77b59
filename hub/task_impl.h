/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TASK_IMPL_H
#define TL_HUB_TASK_IMPL_H

/* What the task modules share. docs/task-states.md lists every filter and update. */

#include "hub/hub_impl.h"
#include "hub/task.h"

#define TASKS "tasks"
#define TASK_WRITE_TRIES 4 /* of a fenced write whose reply was lost */
#define TASK_MAX_TEXT 65536 /* bytes of an error's message and of its output */
#define TASK_KEPT_ERRORS 5   /* of a task's history: short, for every beat moves them */
#define TASK_KEPT_TEXT 1024  /* bytes of a message in it, and twice that of output */

/* _id as text: a string as it is, an ObjectId (foreign clients) as its 24 digits. false for any other type or a longer string. */
bool task_id_text(const bson_iter_t *id, char out[128]);
bool task_document_id(const bson_t *task, char out[128]);
/* Whether a filter can name the task's _id: one of a type that the language does not have cannot be written to. */
bool task_is_nameable(const bson_t *task);
/* {key: text}; for 24 hex digits {key: {$in: [text, ObjectId(text)]}}. */
void task_append_id(bson_t *filter, const char *key, const char *text);
/* {key: {$eq: value}}, or {key: {$exists: false}} where value is NULL: a missing value is a value like any other. One that
 * no filter can name (a foreign regular expression) is only required to be there; as an _id it matches nothing. */
void task_append_same(bson_t *filter, const char *key, const bson_iter_t *value);

/* {_id, project, lane} of a document as it is, whatever the types. */
void task_append_key(bson_t *filter, const bson_t *task);

/* {_id, project, lane, state: "running", "claim.id"} */
void task_fence_filter(const struct task_fence *fence, bson_t *filter);
/* The fence of a task that was claimed by claim_id; false where its _id or project is none. */
bool task_fill_fence(const bson_t *task, const char *claim_id, struct task_fence *fence);
/* The task as it is now, whoever holds it: 1, 0 gone, -1. */
int task_read(struct hub *hub, const struct task_fence *fence, bson_t *task, bson_error_t *error);

/* Tries the update under the fence (and extra conditions, NULL allowed). 1 applied with *task after it; 0 when it
 * matched nothing, with *task as it was read then (empty when it is gone); -1. A lost reply is a reason to look: when
 * the task is still held, the update may be sent again if again says that a second time does no harm. */
int task_fenced(struct hub *hub, const struct task_fence *fence, const bson_t *extra, const bson_t *update, bool again,
                bson_t *task, bson_error_t *error);

/* As task_fenced, of an ending that no match or a lost reply may hide: it was applied if the task is in `state` under this
 * claim. */
int task_end_with(struct hub *hub, const struct task_fence *fence, const bson_t *extra, const bson_t *update,
                  const char *state, bson_t *task, bson_error_t *error);
/* Gives the task back by `update` (to `state`), unless the user has asked for something else. */
int task_give_back(struct hub *hub, const struct task_fence *fence, const bson_t *update, const char *state,
                   bson_error_t *error);

enum task_held {
    TASK_HELD,  /* running under this claim */
    TASK_ENDED, /* this claim is the last one, and it runs no more */
    TASK_LOST   /* another claim, or no such task */
};
enum task_held task_held(const bson_t *task, const struct task_fence *fence);

/* What a user's request makes of a task that its runner gives back: "cancelled", "paused", or NULL for none. */
const char *task_requested_state(const bson_t *task);
enum task_request task_request_of(const bson_t *task);

/* Appends to $set and its kind what makes a task delayed after its n-th failure: backoff with jitter. */
int64_t task_backoff_ms(int64_t n);
/* Appends message and output, each cut to TASK_MAX_TEXT and made valid UTF-8, as `error`. */
void task_append_error(bson_t *set, const char *message, const char *output);

/* Appends to an update the $push that keeps an error in the task's history, where the next claim does not take it away.
 * claim and output may be NULL; now 0: without a time. */
void task_append_history(bson_t *update, const char *claim, const char *message, const char *output, int64_t now);

/* The update that ends a task in a state without result: state, error (message NULL: none), finished_at. */
void task_end_update(bson_t *update, const char *state, const char *message, const char *output);

/* Shows the model of a task whose commit stands (published: false), then marks it: 1, 0 nothing to do, -1. The same
 * for whoever finished and for the sweeper. */
int task_publish(struct hub *hub, const bson_t *task, bson_error_t *error);
/* What publishing writes, appended to documents of the caller's: the upsert of the claim's model or dataset, which leaves one that is
 * there (a tombstone of this _id stays one), and the update that marks the task. */
void task_append_output(const char *project, const char *claim, const bson_t *document, bson_t *filter, bson_t *update);
void task_append_published(bson_t *update);

/* The model that the task made was deleted: a published task says so (result.deleted), and points to its weights no more.
 * While it is unpublished nothing changes. 1, 0, -1. */
int task_forget_model(struct hub *hub, const char *project, const char *task, const char *model, bson_error_t *error);

/* Sets a task aside as failed because of what stands in it. extra (NULL allowed) narrows the filter. 1, 0, -1. */
int task_set_aside(struct hub *hub, const bson_t *task, const char *message, bson_error_t *error);

/* Promotion over one project, or all (project NULL). */
int64_t task_promote_project(struct hub *hub, const char *project, bool tidy, bson_error_t *error);

#endif
