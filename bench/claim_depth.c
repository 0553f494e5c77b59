/* SPDX-License-Identifier: Apache-2.0 */
/* The time of a claim by the number of tasks that are queued.
 *
 * usage: claim_depth FOLDER|mongodb://… [SHALLOW [DEEP [CLAIMS]]]      1,000, 1,000,000 and 300 when missing
 *
 * One hub with SHALLOW and one with DEEP queued tasks; claims and finishes go to the two in turns, so that what else
 * the machine does hits both alike. Prints the medians of the claims and their ratio. */
#include "bench/clock.h"
#include "hub/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 1000, MOST_CLAIMS = 10000 };

static int fail(const bson_error_t *error)
{
    fprintf(stderr, "claim_depth: %s\n", error->message);
    return 1;
}

/* Three queues, five priorities, so that the claim's index has to be right in every part. */
static int submit(struct hub *hub, int64_t count, bson_error_t *error)
{
    bson_t *fields[BATCH];
    int64_t made = 0;
    for (int i = 0; i < BATCH; i++)
        fields[i] = BCON_NEW("name", BCON_UTF8("bench"), "queue", BCON_UTF8(i % 3 ? "default" : "other"), "priority",
                             BCON_INT32(i % 5), "dataset", "{", "name", BCON_UTF8("digits"), "}", "architecture",
                             BCON_UTF8("dense:16:relu dense:10"), "hyper_parameters", "{", "epochs", BCON_INT32(1), "}");
    while (made >= 0 && made < count) {
        int64_t n = count - made < BATCH ? count - made : BATCH;
        int64_t done = task_create_many(hub, (const bson_t *const *)fields, (size_t)n, error);
        made = done < 0 ? -1 : made + n;
        if (made % 100000 == 0 && made > 0)
            fprintf(stderr, "%lld tasks queued\n", (long long)made);
    }
    for (int i = 0; i < BATCH; i++)
        bson_destroy(fields[i]);
    return made < 0 ? -1 : 0;
}

static struct hub *prepare(const char *uri, int64_t count, bson_error_t *error)
{
    struct hub *hub = hub_init(uri, NULL, error) < 0 ? NULL : hub_open(uri, NULL, HUB_OPEN_EXISTING, error);
    if (hub && submit(hub, count, error)) {
        hub_close(hub);
        return NULL;
    }
    return hub;
}

/* One claim, timed, and its finish, which is not. */
static int claim(struct hub *hub, double *seconds, bson_error_t *error)
{
    struct task_claim_options options = {.runner = "bench"};
    struct task_finish finish = {.state = "done"};
    struct task_fence fence;
    bson_t task;
    double start = bench_now();
    int result = task_claim(hub, &options, &task, &fence, error);
    *seconds = bench_now() - start;
    bson_destroy(&task);
    if (result > 0)
        result = task_finish(hub, &fence, &finish, error);
    else if (result == 0)
        hub_error(error, HUB_ERROR_INTERNAL, "the queue is empty: fewer claims, or more tasks");
    return result > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : NULL;
    int64_t counts[] = {argc > 2 ? atoll(argv[2]) : 1000, argc > 3 ? atoll(argv[3]) : 1000000};
    int claims = argc > 4 ? atoi(argv[4]) : 300, status = 1;
    static double times[2][MOST_CLAIMS];
    double medians[2];
    char paths[2][4096], uri[8400];
    struct hub *hubs[2] = {NULL, NULL};
    bson_error_t error;

    if (!where || counts[0] < claims || counts[1] < counts[0] || claims < 1 || claims > MOST_CLAIMS) {
        fprintf(stderr, "usage: claim_depth FOLDER|mongodb://… [SHALLOW [DEEP [CLAIMS]]]\n");
        return 2;
    }
    bool mongo = !strncmp(where, "mongodb", 7);
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/claim-depth-%d.db", where, i);
        snprintf(uri, sizeof uri, mongo ? "%s/tl_bench_depth_%d" : "sqlite:%s/claim-depth-%d.db", where, i);
        hubs[i] = prepare(uri, counts[i], &error);
        if (!hubs[i]) {
            fail(&error);
            goto out;
        }
    }
    for (int i = 0; i < claims; i++)
        for (int j = 0; j < 2; j++)
            if (claim(hubs[j], &times[j][i], &error)) {
                fail(&error);
                goto out;
            }
    for (int j = 0; j < 2; j++)
        medians[j] = bench_median(times[j], claims);
    printf("claim with %lld queued %.3f ms, with %lld queued %.3f ms, ratio %.2f (medians of %d, in turns)\n",
           (long long)counts[0], 1e3 * medians[0], (long long)counts[1], 1e3 * medians[1], medians[1] / medians[0], claims);
    status = 0;
out:
    for (int i = 0; i < 2; i++) {
        hub_close(hubs[i]);
        static const char *const suffixes[] = {"", "-journal", ".lock"};
        for (size_t j = 0; !mongo && j < 3; j++) {
            snprintf(uri, sizeof uri, "%s%s", paths[i], suffixes[j]);
            unlink(uri);
        }
    }
    return status;
}
