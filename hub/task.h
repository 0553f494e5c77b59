/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TASK_H
#define TL_HUB_TASK_H

/* Tasks: making, claiming, and the fenced writes of whoever holds the claim. docs/task-states.md has the diagram.
 *
 * {_id, project, lane, queue, resource_class, kind, name, description, tags, words, state, priority, seq,
 *  sweep, point, dataset: {query}, architecture: "short form" | {graph}, architecture_digest, hyper_parameters,
 *  model: {query} (validate, test, infer), initial_model: {query}, split, result_keys: [names], metrics: [names], top_k,
 *  on_nonfinite, rollback_factor, max_rollbacks, after: [ids], after_met, not_before,
 *  run, claims, crashes, lost, max_crashes, claim: {id, runner, worker, lease_ms, beat}, claimed_at, started_at, beat_at, started,
 *  progress: {epoch, epochs, step, loss, accuracy, …}, request: {kind, reason},
 *  checkpoint: {blob_id, claim_id, sha256, bytes, epoch, step, …, log_claims, log_points},
 *  rungs: {epochs: [ints], count, values: [numbers], metrics, seconds, waits, end (outside)},
 *  kept: {claim_id, epoch, blob_id, sha256, model} (an epoch that is committed and not shown yet; published is false then),
 *  save_dataset: "name", save_split, steps (infer), needs: {memory: bytes, flops},
 *  result: {claim_id, blob_id, sha256, dataset_id, metrics, reason, log_claims, log_points}, published, error: {message, output},
 *  errors: [{claim, message, output, at}] (the last few, of earlier claims and runs too), finished_at,
 *  created_at, schema_version}
 *
 * `dataset`, `model` and `initial_model` are filters over those collections, resolved at the claim; a string in their
 * place is short for {name: it}, or, where it begins with '{', the filter as JSON (hub/query_text.h). A client in another
 * language needs only to insert: project, lane 0 (or another below hub_lanes), queue "default", resource_class "cpu", kind, state "ready", priority 0,
 * seq, and what to train. */

#include "hub/hub.h"

#define TASK_LEASE_MS 90000
#define TASK_BEAT_MS 15000
#define TASK_LEASE_LEAST_MS 1000
#define TASK_LEASE_MOST_MS INT64_C(2592000000) /* 30 days */
#define TASK_MAX_CRASHES 3
#define TASK_MAX_LOST 10 /* claims in a row that were taken back before the work began: then it is dead */

/* ---- making ---- */

/* Adds the fields that every task has to the caller's (at least name; kind defaults to "train"), checks the document
 * against the schema, takes a seq and inserts it as "ready" (or "waiting" with `after`, "delayed" with `not_before`).
 * An _id in fields makes submitting twice harmless: 0 when it was there already. 1 inserted; *task (initialised
 * always, NULL allowed) is the stored document. */
int task_create(struct hub *hub, const bson_t *fields, bson_t *task, bson_error_t *error);
/* Many at once, in order, with consecutive seqs; those whose _id exists are skipped. The number inserted, or -1. */
int64_t task_create_many(struct hub *hub, const bson_t *const *fields, size_t count, bson_error_t *error);

/* One task by what people type: "#124", "124", an _id, an _id's first 6 or more digits when unique, or a name when
 * unique. 1, 0 (nothing: error set HUB_ERROR_NOT_FOUND is *not* used), -1 (ambiguous: HUB_ERROR_INVALID). */
int task_resolve(struct hub *hub, const char *text, bson_t *task, bson_error_t *error);
/* The project's tasks; filter NULL is all. The project is added to the filter. */
struct store_cursor *task_find(struct hub *hub, const bson_t *filter, const struct store_find_options *options,
                               bson_error_t *error);
/* Deletes tasks that are not running, with their logs; models stay. The number deleted. */
int64_t task_delete(struct hub *hub, const bson_t *filter, bson_error_t *error);
/* {state: count, …} over the project's tasks that match, and seq order kept elsewhere. */
int task_count_states(struct hub *hub, const bson_t *filter, bson_t *out, bson_error_t *error);

/* ---- claiming ---- */

/* What a fenced write carries, beside state "running": every filter has all four. */
struct task_fence {
    char task_id[128];
    char project[128];
    int32_t lane;
    char claim_id[HUB_ID_SIZE];
};

struct task_claim_options {
    const char *project;        /* NULL: the hub's */
    const char *runner;         /* the runner record's id */
    const char *worker;         /* which process of the runner: an id that no other ever has. NULL: left out */
    const char *queue;          /* NULL: "default" */
    const char *resource_class; /* NULL: "cpu" */
    int32_t lane;
    /* How long it may be silent before the task is taken back, said in the claim: a sweeper whose own lease is shorter
     * waits for this one. 0: left out, the sweeper's lease counts. */
    int64_t lease_ms;
    const char *name;           /* NULL, or only tasks of this name, newest first */
    int32_t sharers, sharer;    /* how many claim for this runner beside each other, and which of them this is, from 0: where
                                 * tasks are read ahead they leave each other theirs. 0 sharers: one */
    /* NULL, or told of each task that was put away as failed because it is malformed (a foreign client's) */
    void (*set_aside)(const bson_t *task, const char *message, void *data);
    void *data; /* of set_aside */
};

/* One findAndModify. 1 with *task (the claimed document) and *fence filled, 0 when there is nothing ready, -1. A lost
 * reply is resolved by asking for the claim id just made. Delayed tasks that are due by the server's time, and waiting
 * tasks whose `after` have all ended well, are made ready by task_promote_all: one runner of the fleet calls it for all. */
int task_claim(struct hub *hub, const struct task_claim_options *options, bson_t *task, struct task_fence *fence,
               bson_error_t *error);
/* How the engine would find the task of a claim (NULL: with the defaults), as store_explain says it. */
int task_explain_claim(struct hub *hub, const struct task_claim_options *options, bson_t *out, bson_error_t *error);
/* The number that changed, -1. */
int64_t task_promote_all(struct hub *hub, bson_error_t *error); /* of every project */
int64_t task_promote(struct hub *hub, bson_error_t *error);     /* of the hub's project */

/* ---- fenced writes: 1 applied (also when found applied after a lost reply), 0 the lease is lost: stop and write
 * nothing more, -1 error (the outcome of the last try was an error, not a loss) ---- */

enum task_request { TASK_REQUEST_NONE, TASK_REQUEST_CANCEL, TASK_REQUEST_STOP, TASK_REQUEST_PAUSE };

/* Says that the work itself has begun: from here on a crash counts. Written with or before the first beat. */
int task_started(struct hub *hub, const struct task_fence *fence, bson_error_t *error);
/* Heartbeat and progress; *request gets what the user asked for. progress NULL leaves it. */
int task_beat(struct hub *hub, const struct task_fence *fence, const bson_t *progress, enum task_request *request,
              bson_error_t *error);
/* The fences of the tasks that are running under claims of this worker of this runner; for its supervisor, after the
 * worker's death: a claim may have been committed, and the worker died before it could tell. Up to size of them into
 * fences. The number, or -1. */
int task_find_held(struct hub *hub, const char *runner, const char *worker, struct task_fence *fences, size_t size,
                   bson_error_t *error);
/* Gives the task back, ready at once: the runner was told to stop. */
int task_release(struct hub *hub, const struct task_fence *fence, bson_error_t *error);
/* The work's process died: crashes + 1, then "delayed" with backoff, or "dead" at max_crashes. */
int task_crash(struct hub *hub, const struct task_fence *fence, const char *message, const char *output,
               bson_error_t *error);
/* Bad data, NaN, does not fit: "failed" with the message and captured output (each cut to 64 KiB). */
int task_fail(struct hub *hub, const struct task_fence *fence, const char *message, const char *output,
              bson_error_t *error);
/* Ends without a model at the user's request: "cancelled", or "paused". reason NULL: a cancelled task says the one that its
 * request has. */
int task_end(struct hub *hub, const struct task_fence *fence, const char *state, const char *reason,
             bson_error_t *error);

/* What a run can go on from, in a file that is streamed into a blob. */
struct task_checkpoint {
    /* Gives the file to sink, piece by piece; called once. 0, or -1 with *error unless it was the sink that failed. */
    int (*write)(void *data, int (*sink)(void *to, const void *bytes, size_t length), void *to, bson_error_t *error);
    void *data;
    const bson_t *fields; /* {epoch, step, …, log_claims, log_points}: kept in `checkpoint` beside blob_id, claim_id,
                             sha256 and bytes; the logs that it counts have been written */
};

/* Announces the blob, writes and verifies it, then names it in the task by one fenced update, which sets crashes to 0;
 * the blob of an earlier checkpoint is gc's then. When the reply is lost the task says whether its checkpoint is this
 * one. The task goes on; after an error it has the checkpoint that it had. */
int task_checkpoint(struct hub *hub, const struct task_fence *fence, const struct task_checkpoint *checkpoint,
                    bson_error_t *error);
/* Takes a checkpoint away that nobody can go on from, if it still is the task's: the whole subdocument as it was read. */
int task_drop_checkpoint(struct hub *hub, const struct task_fence *fence, const bson_t *checkpoint,
                         bson_error_t *error);

/* The parameters after one epoch, as a model beside the one that the task ends with: {…, epoch, final: false}. */
struct task_epoch {
    int64_t epoch;        /* from 1 */
    int64_t run;          /* the task's */
    const char *identity; /* digest of what is computed (data, network, settings): who repeats it says the same */
    const void *weights;  /* safetensors in memory; not read by task_has_epoch, as is: */
    size_t weights_length;
    const bson_t *model;  /* the model's own fields (model.h) */
};

/* Whether it is there already, or was and was deleted: 1, 0, -1. */
int task_has_epoch(struct hub *hub, const struct task_fence *fence, const struct task_epoch *epoch, bson_error_t *error);
/* Upload, commit, model: as the finish, under the fence, effectively once. The task goes on. 1 it is there, 0 the lease is
 * lost, -1. */
int task_keep_epoch(struct hub *hub, const struct task_fence *fence, const struct task_epoch *epoch, bson_error_t *error);
/* Shows what an earlier claim committed and did not come to show. 1, 0 nothing to do, -1. */
int task_show_kept(struct hub *hub, const bson_t *task, bson_error_t *error);

struct task_finish {
    const char *state;         /* "done" or "stopped" */
    const bson_t *metrics;     /* {accuracy, loss, test_accuracy, …} → result.metrics */
    const void *weights;       /* safetensors in memory, or NULL for a task that makes no model */
    size_t weights_length;     /* bytes */
    const bson_t *model;       /* the model's own fields (see model.h), NULL without weights */
    const struct store_operation *logs; /* the last log buckets, see logs_operations(), or NULL */
    size_t log_count;
    const char *reason; /* of "stopped": why → result.reason; NULL: what the task's request says */
    bool again; /* it was tried before, and the outcome may be unknown: the task is read before anything is uploaded */
    const bson_t *logs_before; /* {log_claims, log_points} of the claims that this one went on from → result, or NULL */
    const bson_t *dataset; /* without weights: a manifest that the task made (dataset_writer_manifest), or NULL */
};

/* Upload, commit, model or dataset, published, as design in docs/task-states.md: effectively once. One batch: on SQLite one
 * transaction. The _id of the model, or of the dataset, is the claim id. */
int task_finish(struct hub *hub, const struct task_fence *fence, const struct task_finish *finish,
                bson_error_t *error);

/* ---- rungs: a task of a sweep that halves is parked at some epochs, with its checkpoint, and goes on when it is promoted.
 * Its `rungs` are {epochs: [after which], count: how many of them it has come to, values: [the metric at each of those],
 * metrics: {all, at the last}, seconds: of training up to it, waits: it stands there}. ---- */

/* Fenced, as those above: "parked" with these rungs (whole, `waits` apart). A request of the user comes first; who is asked
 * to stop ends as "stopped", with the rung's metrics. */
int task_park(struct hub *hub, const struct task_fence *fence, const bson_t *rungs, bson_error_t *error);
/* A promotion: parked → ready, from the park that `task` shows ({_id, project, lane, claim.id, rungs.count}) and from no later
 * one. 1 it was this call's, 0 it was promoted or ended before, -1. */
int task_unpark(struct hub *hub, const bson_t *task, bson_error_t *error);
/* The same to "stopped", with the rung's metrics as its result, and why. Its weights were those of its checkpoint, which goes. */
int task_end_parked(struct hub *hub, const bson_t *task, const char *reason, bson_error_t *error);
/* All parked ones that match, and those that were paused at their rung; how many. */
int64_t task_stop_parked(struct hub *hub, const bson_t *filter, const char *reason, bson_error_t *error);

/* ---- tasks of kind "outside", which another program does ---- */

/* Gives the sweep's first that is ready, which is "paused" from then on: 1 with *task, 0 there is none, -1. */
int task_hand_out(struct hub *hub, const char *sweep, bson_t *task, bson_error_t *error);
/* The same of one point, where it has just been promoted: so who told of its rung goes on with it. */
int task_hand_out_again(struct hub *hub, const bson_t *told, bson_t *task, bson_error_t *error);
/* The epoch up to which a task that was handed out is to be trained: that of its next rung, or its end. 0: it has no rungs. */
int64_t task_outside_until(const bson_t *task);
/* What this point came to at its next rung, which must be that of this epoch: "parked" with it. metric: the name of the one that decides.
 * 1 with *task, 0 it is not under way, -1 (HUB_ERROR_INVALID: it has no such rung next). */
int task_tell_rung(struct hub *hub, const char *sweep, int64_t point, int64_t epoch, const char *metric, const bson_t *metrics,
                   bson_t *task, bson_error_t *error);
/* What the first of this point's that was not told of came to: "done" with metrics, or where failure is given "failed". 1 with *task,
 * 0 there is none, -1. */
int task_tell(struct hub *hub, const char *sweep, int64_t point, const bson_t *metrics, const char *failure, bson_t *task,
              bson_error_t *error);

/* ---- take-back and roll-forward ---- */

struct task_sweeper;
/* Watches running tasks of all projects by (claim.id, claim.beat) over its own CLOCK_BOOTTIME; see docs. */
struct task_sweeper *task_sweeper_new(int64_t lease_ms);
/* One round: observes, takes back what stood still for a whole lease (its own or the claim's, the longer) without a gap in
 * contact, promotes, and rolls finished-but-unpublished tasks forward. The number of tasks changed, or -1. *next_ms: when to come again. */
int64_t task_sweeper_round(struct task_sweeper *sweeper, struct hub *hub, int64_t *next_ms, bson_error_t *error);
void task_sweeper_free(struct task_sweeper *sweeper);
/* Whether this one should see to delayed and waiting tasks between its rounds: it is the sweeper, or it has reason to
 * believe that there is none. */
bool task_sweeper_promotes(const struct task_sweeper *sweeper);
bool task_sweeper_leads(const struct task_sweeper *sweeper);
/* Before leaving: if this one is the sweeper, another may follow at once instead of after a lease. */
int task_sweeper_resign(struct task_sweeper *sweeper, struct hub *hub, bson_error_t *error);

/* ---- the user's requests: each on the tasks that match filter; the number changed ---- */
int64_t task_cancel(struct hub *hub, const bson_t *filter, const char *reason, bson_error_t *error);
/* Ends running tasks early, with the results they have ("stopped"); those that wait are cancelled. */
int64_t task_stop(struct hub *hub, const bson_t *filter, const char *reason, bson_error_t *error);
int64_t task_pause(struct hub *hub, const bson_t *filter, bson_error_t *error);
int64_t task_resume(struct hub *hub, const bson_t *filter, bson_error_t *error);
/* Changes how tasks that have not ended are queued: set holds any of priority, queue, resource_class and max_crashes,
 * checked against the schema. A running task has them from its next claim on. */
int64_t task_set(struct hub *hub, const bson_t *filter, const bson_t *set, bson_error_t *error);
/* A new run of ended tasks, with hyper_parameters changed by `set` (NULL: as they were). */
int64_t task_restart(struct hub *hub, const bson_t *filter, const bson_t *set, bson_error_t *error);
/* The same, and other fields of the tasks become those of also (resource_class, needs: distributor/restart.h); NULL: none. */
int64_t task_restart_with(struct hub *hub, const bson_t *filter, const bson_t *set, const bson_t *also, bson_error_t *error);

#endif
