/* SPDX-License-Identifier: Apache-2.0 */
/* Claim + finish a second, ours beside a by-hand loop on SQLite, in turns in one process.
 *
 * usage: queue FOLDER [TASKS [ROUNDS [WEIGHT_BYTES]]]      SQLite, both
 *        queue mongodb://… [TASKS]                          ours alone (peers/queue_pymongo.py is the peer)
 *
 * Prints one line a round, then the medians and the median of the ratios. */
#include "bench/clock.h"
#include "bench/queue_by_hand.h"
#include "hub/model.h"
#include "hub/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int submit(struct hub *hub, int64_t count, bson_error_t *error)
{
    int64_t left = count;
    while (left > 0) {
        const bson_t *batch[500];
        int64_t n = left < 500 ? left : 500;
        bson_t *fields = BCON_NEW("name", BCON_UTF8("bench"), "dataset", "{", "name", BCON_UTF8("digits"), "}",
                                  "architecture", BCON_UTF8("dense:16:relu dense:10"), "hyper_parameters", "{",
                                  "epochs", BCON_INT32(1), "batch_size", BCON_INT32(32), "}");
        for (int64_t i = 0; i < n; i++)
            batch[i] = fields;
        int64_t done = task_create_many(hub, batch, (size_t)n, error);
        bson_destroy(fields);
        if (done < 0)
            return -1;
        left -= n;
    }
    return 0;
}

static int64_t work(struct hub *hub, size_t weight_bytes, bson_error_t *error)
{
    struct task_claim_options options = {.runner = "bench"};
    uint8_t *weights = calloc(1, weight_bytes + 1);
    bson_t *metrics = BCON_NEW("accuracy", BCON_DOUBLE(0.9), "loss", BCON_DOUBLE(0.1));
    bson_t *model = BCON_NEW("name", BCON_UTF8("bench"), "accuracy", BCON_DOUBLE(0.9), "loss", BCON_DOUBLE(0.1));
    int64_t done = 0;
    int got;
    for (;;) {
        struct task_fence fence;
        struct task_finish finish = {.state = "done", .metrics = metrics};
        bson_t task;
        if (weight_bytes) {
            finish.weights = weights;
            finish.weights_length = weight_bytes;
            finish.model = model;
        }
        got = task_claim(hub, &options, &task, &fence, error);
        bson_destroy(&task);
        if (got <= 0)
            break;
        if ((got = task_finish(hub, &fence, &finish, error)) < 0)
            break;
        done += got;
    }
    bson_destroy(metrics);
    bson_destroy(model);
    free(weights);
    return got < 0 ? -1 : done;
}

static int remove_file(const char *path, const char *suffix)
{
    char name[4200];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return unlink(name);
}

static int fail(const bson_error_t *error)
{
    fprintf(stderr, "bench: %s\n", error->message);
    return 1;
}

static int on_mongo(const char *uri, int64_t tasks)
{
    bson_error_t error;
    struct hub *hub;
    double start, inserted;
    int64_t done;
    if (hub_init(uri, NULL, &error) < 0 || !(hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, &error)))
        return fail(&error);
    start = bench_now();
    if (submit(hub, tasks, &error))
        return fail(&error);
    inserted = bench_now();
    done = work(hub, 0, &error);
    if (done < 0)
        return fail(&error);
    printf("insert %.0f/s  claim+finish %.0f/s\n", (double)tasks / (inserted - start), (double)done / (bench_now() - inserted));
    hub_close(hub);
    return done == tasks ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : NULL;
    int64_t tasks = argc > 2 ? atoll(argv[2]) : 2000;
    int rounds = argc > 3 ? atoi(argv[3]) : 5;
    int weight_bytes = argc > 4 ? atoi(argv[4]) : 0;
    double ours[64], theirs[64], ratios[64];
    char path[4096], hand_path[4096], uri[4200], journal[32] = "persist";

    if (!folder || tasks < 1 || rounds < 1 || rounds > 64 || weight_bytes < 0) {
        fprintf(stderr, "usage: queue FOLDER|mongodb://… [TASKS [ROUNDS [WEIGHT_BYTES]]]\n");
        return 2;
    }
    if (!strncmp(folder, "mongodb", 7))
        return on_mongo(folder, tasks);
    snprintf(path, sizeof path, "%s/queue-bench.db", folder);
    snprintf(hand_path, sizeof hand_path, "%s/queue-bench-by-hand.db", folder);
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    for (int round = 0; round < rounds; round++) {
        bson_error_t error = {0};
        struct by_hand *queue = NULL;
        struct hub *hub;
        bson_t described;
        bson_iter_t iter;
        double start;
        int64_t done, hand_done = 0;
        int got;

        hub = hub_open(uri, NULL, HUB_OPEN_CREATE, &error);
        if (!hub || submit(hub, tasks, &error))
            return fail(&error);
        if (store_describe(hub_store(hub), &described, &error) >= 0 &&
            bson_iter_init_find(&iter, &described, "journal_mode") && BSON_ITER_HOLDS_UTF8(&iter))
            snprintf(journal, sizeof journal, "%s", bson_iter_utf8(&iter, NULL));
        bson_destroy(&described);
        start = bench_now();
        done = work(hub, (size_t)weight_bytes, &error);
        ours[round] = (double)done / (bench_now() - start);
        hub_close(hub);
        if (done != tasks)
            return done < 0 ? fail(&error) : 1;

        if (by_hand_open(hand_path, journal, &queue) || by_hand_submit(queue, 1, tasks, 600))
            return 1;
        start = bench_now();
        while ((got = by_hand_claim_and_finish(queue, weight_bytes)) == 1)
            hand_done++;
        theirs[round] = (double)hand_done / (bench_now() - start);
        by_hand_close(queue);
        if (got < 0 || hand_done != tasks)
            return 1;
        ratios[round] = ours[round] / theirs[round];
        printf("round %d: claim+finish tl_hub %.0f/s, by hand %.0f/s, ratio %.2f\n", round + 1, ours[round], theirs[round],
               ratios[round]);
        for (int i = 0; i < 2; i++) {
            remove_file(i ? hand_path : path, "");
            remove_file(i ? hand_path : path, "-journal");
            remove_file(i ? hand_path : path, ".lock");
        }
    }
    printf("median: tl_hub %.0f/s, by hand %.0f/s, ratio %.2f (journal_mode=%s, synchronous=FULL, %lld tasks, %d bytes of weights)\n",
           bench_median(ours, rounds), bench_median(theirs, rounds), bench_median(ratios, rounds), journal, (long long)tasks, weight_bytes);
    return 0;
}
