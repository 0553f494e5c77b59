/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/epoch_keeper.h"
#include "runner/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { WAIT_MS = 250, WAIT_MOST_MS = 5000 };

bool epoch_is_kept(const struct recipe *recipe, int64_t epoch)
{
    return recipe->keep_every > 0 && epoch < recipe->epochs && epoch % recipe->keep_every == 0;
}

/* What goes with the weights; NULL until they are wanted. */
struct kept {
    bson_t metrics, model;
    uint8_t *weights;
    size_t length;
};

static int make(struct work *work, const struct recipe *recipe, const struct net *net,
                const struct checkpoint_position *position, struct kept *kept, bson_error_t *error)
{
    struct result_scores scores = position->scores;
    struct result_training facts = {.epochs = position->epoch,
                                    .seconds = position->seconds,
                                    .rollback_records = position->rollback_records};
    scores.rolls_back = recipe->rolls_back;
    scores.rollbacks = position->rollbacks;
    if (kept->weights)
        return 0;
    bson_reinit(&kept->metrics);
    bson_reinit(&kept->model);
    return result_metrics(work->task, &scores, &kept->metrics, error) ||
                   result_model(work, recipe, net, &scores, &facts, &kept->metrics, &kept->model, error) ||
                   result_weights(net, recipe, &kept->weights, &kept->length, error)
               ? -1
               : 0;
}

/* One try: 1, 0 the lease is lost, -1. */
static int try_once(struct work *work, const struct checkpoint *checkpoint, const struct net *net,
                    const struct checkpoint_position *position, struct kept *kept, bson_error_t *error)
{
    struct hub *hub = work->worker->hub;
    struct task_epoch epoch = {.epoch = position->epoch, .run = work->run, .identity = checkpoint->identity};
    int result = task_has_epoch(hub, work->fence, &epoch, error);
    if (result != 0)
        return result;
    if (make(work, checkpoint->recipe, net, position, kept, error))
        return -1;
    epoch.weights = kept->weights;
    epoch.weights_length = kept->length;
    epoch.model = &kept->model;
    return task_keep_epoch(hub, work->fence, &epoch, error);
}

int epoch_keep(struct work *work, const struct checkpoint *checkpoint, const struct net *net,
               const struct checkpoint_position *position, enum work_stop *stop, bson_error_t *error)
{
    struct kept kept = {.weights = NULL};
    int64_t wait = WAIT_MS;
    int result = -1;
    bson_init(&kept.metrics);
    bson_init(&kept.model);
    for (bool noted = false;; noted = true) {
        char text[640];
        /* A process that was stopped for long does not know that its task is another's. */
        int held = work_confirm(work);
        result = held > 0 ? try_once(work, checkpoint, net, position, &kept, error) : held;
        if (result == 0)
            *stop = WORK_LOST;
        if (held < 0) {
            *stop = WORK_STOPPING;
            result = 0;
        }
        if (result >= 0 || !work_is_transient(error))
            break;
        snprintf(text, sizeof text, "epoch %lld could not be kept (%s); training waits, and it is tried again",
                 (long long)position->epoch, error->message);
        if (!noted)
            work_note(work, text);
        *stop = work_stopping(work);
        if (*stop != WORK_GO_ON && *stop != WORK_STOP) {
            result = 0;
            break;
        }
        worker_wait(work->worker, clock_jitter(wait));
        wait = wait * 2 < WAIT_MOST_MS ? wait * 2 : WAIT_MOST_MS;
    }
    bson_destroy(&kept.metrics);
    bson_destroy(&kept.model);
    free(kept.weights);
    return result;
}
