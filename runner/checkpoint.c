/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/checkpoint.h"
#include "runner/blob_source.h"
#include "runner/clock.h"
#include "runner/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORTH_SECONDS 1.0  /* less work than this is done again */
#define AGAIN_SECONDS 30.0 /* after one that could not be written */
#define SHARE 10.0         /* training for at least so many times as long as the last one took to write */

enum { LOG_CLAIMS = 1000, STOPPING_MS = 8000, WAIT_MS = 250, WAIT_MOST_MS = 2000 };

/* Whatever is not as it is where a task says nothing of it. */
static void identify_options(const struct recipe *recipe, bson_string_t *text)
{
    const struct optimizer_options *optimizer = &recipe->optimizer;
    const struct schedule *schedule = &recipe->schedule;
    if (optimizer->kind == OPTIMIZER_RMSPROP)
        bson_string_append_printf(text, "|alpha %.17g", optimizer->alpha);
    if (optimizer->clip_norm > 0 || optimizer->clip_value > 0)
        bson_string_append_printf(text, "|clip %.17g %.17g", optimizer->clip_norm, optimizer->clip_value);
    if (recipe->precision != PRECISION_FLOAT32)
        bson_string_append_printf(text, "|%s", device_precision_name(recipe->precision));
    if (recipe->huber_delta > 0)
        bson_string_append_printf(text, "|delta %.17g", recipe->huber_delta);
    if (!schedule_is_constant(schedule))
        bson_string_append_printf(text, "|%s %lld %.17g %.17g %lld %lld", schedule_name(schedule->kind),
                                  (long long)schedule->step_epochs, schedule->gamma, schedule->min_learning_rate,
                                  (long long)schedule->warmup_epochs, (long long)schedule->warmup_steps);
    if (recipe->sampling.kind != SAMPLING_SUPERVISED)
        bson_string_append_printf(text, "|%s %lld %lld", sampling_name(recipe->sampling.kind),
                                  (long long)recipe->sampling.window, (long long)recipe->sampling.horizon);
    if (recipe->shuffle_window)
        bson_string_append_printf(text, "|window %lld", (long long)recipe->shuffle_window);
    if (recipe->rolls_back)
        bson_string_append_printf(text, "|back %.17g %lld", recipe->rollback_factor, (long long)recipe->max_rollbacks);
    if (schedule->kind == SCHEDULE_COSINE)
        bson_string_append_printf(text, " of %lld", (long long)recipe->epochs);
}

/* What is computed, but for how long: a checkpoint of something else is not gone on from. */
static void identify(const struct checkpoint *checkpoint, char identity[RECIPE_DIGEST_SIZE])
{
    const struct recipe *recipe = checkpoint->recipe;
    const struct optimizer_options *optimizer = &recipe->optimizer;
    const char *dataset = document_string(&recipe->dataset, "digest");
    bson_string_t *text = bson_string_new(NULL);
    bson_string_append_printf(text, "%s|%s|%s|%lld|%lld|%s|%s|%.17g|%.17g|%d|%.17g|%.17g|%.17g|%.17g|%d|%lld",
                              recipe->architecture_digest, dataset ? dataset : "", recipe->loss,
                              (long long)recipe->batch_size, (long long)recipe->seed, optimizer_name(optimizer->kind),
                              recipe->keep_best ? metric_name(recipe->best) : "last", optimizer->learning_rate,
                              optimizer->momentum, optimizer->nesterov, optimizer->beta1, optimizer->beta2,
                              optimizer->epsilon, optimizer->weight_decay,
                              document_has(checkpoint->work->task, "initial_model"), (long long)checkpoint->work->run);
    identify_options(recipe, text);
    hub_sha256(text->str, text->len, identity);
    bson_string_free(text, true);
}

void checkpoint_init(struct checkpoint *checkpoint, struct work *work, const struct recipe *recipe, struct net *net,
                     struct optimizer *optimizer, float *best, const struct rollback *rollback)
{
    memset(checkpoint, 0, sizeof *checkpoint);
    checkpoint->work = work;
    checkpoint->recipe = recipe;
    checkpoint->net = net;
    checkpoint->optimizer = optimizer;
    checkpoint->best = best;
    checkpoint->rollback = rollback;
    checkpoint->last_time = clock_seconds();
    bson_init(&checkpoint->before);
    identify(checkpoint, checkpoint->identity);
}

void checkpoint_destroy(struct checkpoint *checkpoint)
{
    if (checkpoint && checkpoint->work)
        bson_destroy(&checkpoint->before);
}

/* ---- the position as a document: numbers keep their bits ---- */

static bool append_metrics(bson_t *to, const char *key, const struct net_metrics *metrics)
{
    bson_t child;
    return BSON_APPEND_DOCUMENT_BEGIN(to, key, &child) && BSON_APPEND_INT64(&child, "rows", metrics->rows) &&
           BSON_APPEND_INT64(&child, "correct", metrics->correct) &&
           BSON_APPEND_DOUBLE(&child, "loss", metrics->loss_sum) && bson_append_document_end(to, &child);
}

static bool append_scores(bson_t *to, const char *key, const struct batch_scores *scores)
{
    bson_t child;
    return !scores->known || (BSON_APPEND_DOCUMENT_BEGIN(to, key, &child) && batch_append_scores(&child, "", scores) &&
                              bson_append_document_end(to, &child));
}

static bool append_rollbacks(bson_t *to, const struct checkpoint_position *position)
{
    bson_t list, record;
    char key[24];
    if (position->rollbacks == 0)
        return true;
    bool done = BSON_APPEND_ARRAY_BEGIN(to, "rollbacks", &list);
    for (int64_t i = 0; done && i < position->rollbacks && i < ROLLBACKS_MOST; i++) {
        snprintf(key, sizeof key, "%lld", (long long)i);
        done = BSON_APPEND_DOCUMENT_BEGIN(&list, key, &record) &&
               BSON_APPEND_INT64(&record, "epoch", position->rollback_records[i].epoch) &&
               BSON_APPEND_INT64(&record, "step", position->rollback_records[i].step) &&
               bson_append_document_end(&list, &record);
    }
    return done && bson_append_array_end(to, &list);
}

static bool read_rollbacks(const bson_t *from, struct checkpoint_position *position)
{
    bson_t list, record;
    bson_iter_t at;
    if (!document_has(from, "rollbacks"))
        return true;
    if (!document_array(from, "rollbacks", &list) || !bson_iter_init(&at, &list))
        return false;
    while (bson_iter_next(&at)) {
        struct rollback_record *to = &position->rollback_records[position->rollbacks];
        if (position->rollbacks == ROLLBACKS_MOST || !document_child(&list, bson_iter_key(&at), &record) ||
            !document_integer(&record, "epoch", &to->epoch) || !document_integer(&record, "step", &to->step))
            return false;
        position->rollbacks++;
    }
    return true;
}

static bool append_position(bson_t *to, const struct checkpoint_position *position)
{
    bson_t child;
    return BSON_APPEND_DOCUMENT_BEGIN(to, "position", &child) && BSON_APPEND_INT64(&child, "row", position->row) &&
           BSON_APPEND_BOOL(&child, "logged", position->logged) &&
           BSON_APPEND_DOUBLE(&child, "seconds", position->seconds) &&
           append_metrics(&child, "sums", &position->sums) && append_metrics(&child, "point", &position->point) &&
           append_scores(&child, "train", &position->scores.splits[RESULT_TRAIN]) &&
           append_scores(&child, "validation", &position->scores.splits[RESULT_VALIDATION]) &&
           BSON_APPEND_INT64(&child, "best_epoch", position->scores.best_epoch) &&
           BSON_APPEND_DOUBLE(&child, "best_value", position->best_value) &&
           append_scores(&child, "best_train", &position->best_train) && append_rollbacks(&child, position) &&
           bson_append_document_end(to, &child);
}

static bool read_metrics(const bson_t *from, const char *key, struct net_metrics *metrics)
{
    bson_t child;
    return document_child(from, key, &child) && document_integer(&child, "rows", &metrics->rows) && metrics->rows >= 0 &&
           document_integer(&child, "correct", &metrics->correct) && document_number(&child, "loss", &metrics->loss_sum);
}

/* What is not there is not known; false where it is something else. */
static bool read_scores(const bson_t *from, const char *key, struct batch_scores *scores)
{
    bson_t child;
    memset(scores, 0, sizeof *scores);
    if (!document_has(from, key))
        return true;
    scores->known = document_child(from, key, &child) && document_number(&child, "loss", &scores->loss);
    scores->critic = scores->known && document_number(&child, "critic_accuracy", &scores->accuracy);
    scores->has_accuracy = scores->critic || (scores->known && document_number(&child, "accuracy", &scores->accuracy));
    for (int i = METRIC_ACCURACY + 1; scores->known && i < METRIC_COUNT; i++)
        if (document_number(&child, metric_name((enum metric)i), &scores->values[i]))
            scores->has |= METRIC_BIT(i);
    return scores->known;
}

static bool read_position(const bson_t *from, struct checkpoint_position *position)
{
    bson_t child;
    memset(position, 0, sizeof *position);
    position->logged = document_bool(from, "position.logged", false);
    return document_integer(from, "epoch", &position->epoch) && position->epoch >= 1 &&
           document_integer(from, "step", &position->step) && position->step >= 0 &&
           document_child(from, "position", &child) && document_integer(&child, "row", &position->row) &&
           position->row >= 0 && document_number(&child, "seconds", &position->seconds) &&
           read_metrics(&child, "sums", &position->sums) && read_metrics(&child, "point", &position->point) &&
           read_scores(&child, "train", &position->scores.splits[RESULT_TRAIN]) &&
           read_scores(&child, "validation", &position->scores.splits[RESULT_VALIDATION]) &&
           document_integer(&child, "best_epoch", &position->scores.best_epoch) &&
           document_number(&child, "best_value", &position->best_value) &&
           read_scores(&child, "best_train", &position->best_train) && read_rollbacks(&child, position);
}

/* ---- the claims whose logs lead up to it ---- */

static bool has_same_length(const bson_t *document, const char *one, const char *other)
{
    bson_t list;
    uint32_t lengths[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        if (document_array(document, i ? other : one, &list))
            lengths[i] = bson_count_keys(&list);
    return lengths[0] == lengths[1];
}

/* {log_claims, log_points} of before, and this claim's own (counts NULL: without it). With too many the oldest go. */
static bool append_logs(bson_t *to, const bson_t *before, const char *claim, const bson_t *counts)
{
    bson_t claims, points, list;
    bson_iter_t at;
    bool done = true;
    bool has = document_array(before, "log_claims", &list);
    int skip = has && (int)bson_count_keys(&list) >= LOG_CLAIMS ? (int)bson_count_keys(&list) - LOG_CLAIMS + 1 : 0;
    for (int i = 0; i < 2; i++) {
        const char *key = i == 0 ? "log_claims" : "log_points";
        bson_t *child = i == 0 ? &claims : &points;
        int n = 0;
        char name[16];
        done = done && BSON_APPEND_ARRAY_BEGIN(to, key, child);
        if (document_array(before, key, &list) && bson_iter_init(&at, &list))
            for (int j = 0; done && bson_iter_next(&at); j++)
                if (j >= skip) {
                    snprintf(name, sizeof name, "%d", n++);
                    done = bson_append_iter(child, name, -1, &at);
                }
        snprintf(name, sizeof name, "%d", n);
        if (counts && !bson_empty(counts))
            done = done && (i == 0 ? BSON_APPEND_UTF8(child, name, claim) : BSON_APPEND_DOCUMENT(child, name, counts));
        done = done && bson_append_array_end(to, child);
    }
    return done;
}

/* ---- reading ---- */

/* The blocks beside weights and optimiser; best is room for one. */
static const struct net_block *more_blocks(const struct checkpoint *checkpoint, struct net_block *best)
{
    const struct net_block *good = checkpoint->within ? rollback_blocks(checkpoint->rollback) : NULL;
    *best = (struct net_block){.prefix = "best.", .data = checkpoint->best, .next = good};
    return checkpoint->best ? best : good;
}

static int read_file(struct checkpoint *checkpoint, const bson_oid_t *id, bson_error_t *error)
{
    struct blob_source source;
    struct kernel_error why = {0};
    struct net_block best;
    if (blob_source_open(&source, hub_store(checkpoint->work->worker->hub), id, error))
        return -1;
    int result = net_checkpoint_read(checkpoint->net, checkpoint->optimizer, more_blocks(checkpoint, &best),
                                     blob_source_read, &source, NULL, &why);
    if (blob_source_close(&source, result == 0, error))
        return -1;
    return result ? work_kernel_error(error, &why, NULL) : 0;
}

static int read_of(struct checkpoint *checkpoint, const bson_t *task, bool same, struct checkpoint_position *position,
                   bson_error_t *error)
{
    bson_t saved;
    bson_iter_t at;
    memset(position, 0, sizeof *position);
    if (!document_child(task, "checkpoint", &saved))
        return 0;
    const char *identity = document_string(&saved, "identity");
    if (same && (!identity || strcmp(identity, checkpoint->identity)))
        return hub_error(error, HUB_ERROR_INVALID, "it is of another dataset, network or hyper-parameters");
    if (!read_position(&saved, position) || !bson_iter_init_find(&at, &saved, "blob_id") || !BSON_ITER_HOLDS_OID(&at))
        return hub_error(error, HUB_ERROR_INVALID, "it does not say where the run was");
    if (!has_same_length(&saved, "log_claims", "log_points"))
        return hub_error(error, HUB_ERROR_INVALID, "log_claims and log_points do not go together");
    checkpoint->within = position->row > 0;
    if (read_file(checkpoint, bson_iter_oid(&at), error))
        return -1;
    if (net_steps(checkpoint->net) != (uint64_t)position->step)
        return hub_error(error, HUB_ERROR_INVALID, "its file is of step %llu, not of %lld",
                         (unsigned long long)net_steps(checkpoint->net), (long long)position->step);
    bson_reinit(&checkpoint->before);
    if (same && !append_logs(&checkpoint->before, &saved, "", NULL))
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the checkpoint");
    return 1;
}

int checkpoint_read(struct checkpoint *checkpoint, struct checkpoint_position *position, bson_error_t *error)
{
    return read_of(checkpoint, checkpoint->work->task, true, position, error);
}

int checkpoint_inherit(struct checkpoint *checkpoint, const bson_t *parent, struct checkpoint_position *position,
                       bson_error_t *error)
{
    int found = read_of(checkpoint, parent, false, position, error);
    position->seconds = 0; /* were the parent's */
    return found;
}

bool checkpoint_is_bad(const bson_error_t *error)
{
    switch (hub_error_code(error)) {
    case HUB_ERROR_INVALID:
    case HUB_ERROR_NOT_FOUND:
    case HUB_ERROR_CORRUPT:
    case HUB_ERROR_VERSION: return true;
    default: return false;
    }
}

bool checkpoint_may_succeed(const bson_error_t *error)
{
    enum hub_error_code code = hub_error_code(error);
    return work_is_transient(error) || code == HUB_ERROR_IO || code == HUB_ERROR_MEMORY;
}

void checkpoint_drop(struct checkpoint *checkpoint)
{
    bson_t saved;
    if (document_child(checkpoint->work->task, "checkpoint", &saved))
        task_drop_checkpoint(checkpoint->work->worker->hub, checkpoint->work->fence, &saved, NULL);
}

/* ---- writing ---- */

struct target {
    int (*sink)(void *to, const void *bytes, size_t length);
    void *to;
};

static int write_piece(void *context, const void *data, size_t length)
{
    const struct target *target = context;
    return target->sink(target->to, data, length);
}

static int write_file(void *data, int (*sink)(void *to, const void *bytes, size_t length), void *to,
                      bson_error_t *error)
{
    struct checkpoint *checkpoint = data;
    struct target target = {.sink = sink, .to = to};
    struct kernel_error why = {0};
    struct net_block best;
    struct safetensors_pair metadata = {"architecture", checkpoint->recipe->architecture_json};
    if (net_checkpoint_write(checkpoint->net, checkpoint->optimizer, more_blocks(checkpoint, &best), &metadata, 1,
                             write_piece, &target, &why))
        return work_kernel_error(error, &why, "checkpoint");
    return 0;
}

bool checkpoint_is_due(struct checkpoint *checkpoint, int64_t epochs)
{
    const struct recipe *recipe = checkpoint->recipe;
    if (recipe->checkpoint_every > 0 && epochs > 0 && epochs % recipe->checkpoint_every == 0)
        checkpoint->owed = true;
    if (checkpoint->off || (!checkpoint->owed && recipe->checkpoint_seconds <= 0))
        return false;
    double now = clock_seconds();
    if (!checkpoint->owed && now - checkpoint->last_time < recipe->checkpoint_seconds)
        return false;
    struct heartbeat *heartbeat = checkpoint->work->worker->heartbeat;
    return now >= checkpoint->next_time && heartbeat_is_answered(heartbeat, NULL, 0) &&
           heartbeat_confirm(heartbeat, 0) > 0;
}

/* The last row of a dataset of rows: who goes on trains on the same. */
static bool append_rows(bson_t *fields, const struct recipe *recipe)
{
    int64_t upto;
    return !document_integer(&recipe->dataset, "rows_upto", &upto) || BSON_APPEND_INT64(fields, "rows_upto", upto);
}

int checkpoint_write(struct checkpoint *checkpoint, const struct checkpoint_position *position, bson_error_t *error)
{
    struct work *work = checkpoint->work;
    struct worker *worker = work->worker;
    bson_t fields = BSON_INITIALIZER, counts = BSON_INITIALIZER;
    const char *dataset = document_string(&checkpoint->recipe->dataset, "_id");
    double started = clock_seconds();
    int result = -1;
    /* The points that it counts are in the hub before it is. */
    if (heartbeat_write_logs(worker->heartbeat, worker->hub, &counts, error))
        goto out;
    if (!BSON_APPEND_INT64(&fields, "epoch", position->epoch) || !BSON_APPEND_INT64(&fields, "step", position->step) ||
        !BSON_APPEND_UTF8(&fields, "identity", checkpoint->identity) ||
        (dataset && !BSON_APPEND_UTF8(&fields, "dataset", dataset)) || !append_rows(&fields, checkpoint->recipe) || !append_position(&fields, position) ||
        !append_logs(&fields, &checkpoint->before, work->fence->claim_id, &counts)) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the checkpoint");
        goto out;
    }
    checkpoint->within = position->row > 0;
    struct task_checkpoint made = {.write = write_file, .data = checkpoint, .fields = &fields};
    result = task_checkpoint(worker->hub, work->fence, &made, error);
    if (result > 0) {
        checkpoint->last_time = clock_seconds();
        checkpoint->next_time = checkpoint->last_time + SHARE * (checkpoint->last_time - started);
        checkpoint->owed = false;
    }
out:
    bson_destroy(&counts);
    bson_destroy(&fields);
    return result;
}

static void say(struct checkpoint *checkpoint, const bson_error_t *error, const char *what)
{
    char text[640];
    snprintf(text, sizeof text, "a checkpoint could not be written (%s); %s", error->message, what);
    work_note(checkpoint->work, text);
}

void checkpoint_write_and_go_on(struct checkpoint *checkpoint, const struct checkpoint_position *position)
{
    bson_error_t error = {0};
    if (checkpoint_write(checkpoint, position, &error) >= 0)
        return; /* a lost lease is heard of by the heartbeat */
    checkpoint->off = !checkpoint_may_succeed(&error);
    checkpoint->next_time = clock_seconds() + AGAIN_SECONDS;
    say(checkpoint, &error, checkpoint->off ? "training goes on without" : "training goes on, and it is tried again");
}

void checkpoint_write_and_leave(struct checkpoint *checkpoint, const struct checkpoint_position *position)
{
    if (clock_seconds() - checkpoint->last_time >= WORTH_SECONDS)
        checkpoint_write_to_park(checkpoint, position);
}

void checkpoint_write_to_park(struct checkpoint *checkpoint, const struct checkpoint_position *position)
{
    struct worker *worker = checkpoint->work->worker;
    bson_error_t error = {0};
    int64_t wait = WAIT_MS, started_ms = clock_boot_ms();
    hub_error(&error, HUB_ERROR_UNREACHABLE, "the hub does not answer");
    for (;;) {
        /* A process that was stopped for long does not know that its task is another's. */
        if (work_confirm(checkpoint->work) <= 0)
            return;
        if (heartbeat_is_answered(worker->heartbeat, NULL, 0)) {
            if (checkpoint_write(checkpoint, position, &error) >= 0)
                return;
            if (!checkpoint_may_succeed(&error))
                break;
        }
        if (clock_boot_ms() - started_ms > (worker_stopping() ? STOPPING_MS : worker->lease_ms))
            break;
        worker_wait(worker, clock_jitter(wait));
        wait = wait * 2 < WAIT_MOST_MS ? wait * 2 : WAIT_MOST_MS;
    }
    say(checkpoint, &error, "the task is given back without");
}
