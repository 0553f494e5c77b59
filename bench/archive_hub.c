/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a hub to be exported: done tasks, each with a model, weights that do not compress, and a log; and one dataset.
 * usage: bench_archive_hub URI TASKS WEIGHT_BYTES (a task's) */
#include "hub/tl_hub.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t state = 88172645463325252u;

static void fill(uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data[i] = (uint8_t)(state >> 32);
    }
}

static int fail(const bson_error_t *error)
{
    fprintf(stderr, "bench_archive_hub: %s\n", error->message);
    return 1;
}

static bson_t *parsed(const char *text)
{
    return bson_new_from_json((const uint8_t *)text, -1, NULL);
}

static int finish_one(struct hub *hub, const void *weights, size_t length, bson_error_t *error)
{
    struct task_claim_options options = {.runner = "bench"};
    struct task_fence fence;
    bson_t task, *point = parsed("{\"epoch\": 1, \"loss\": 0.25, \"accuracy\": 0.875, \"seconds\": 1.5}");
    bson_t *metrics = parsed("{\"train_loss\": 0.25, \"validation_accuracy\": 0.875, \"test_accuracy\": 0.75, \"test_loss\": 0.5}");
    bson_t *model = parsed("{\"name\": \"bench\", \"epochs\": 1, \"hyper_parameters\": {\"learning_rate\": 0.001, \"hidden\": 800},"
                           " \"architecture\": \"dense:800:relu dense:10\", \"device\": \"cpu\", \"tags\": [\"bench\", \"export\"]}");
    struct logs *logs = NULL;
    int result = task_claim(hub, &options, &task, &fence, error);
    if (result > 0) {
        logs = logs_new(&fence, 1, "epoch");
        struct task_finish finish = {
            .state = "done", .metrics = metrics, .weights = weights, .weights_length = length, .model = model};
        for (int i = 0; i < 10 && result > 0; i++)
            result = logs_add(logs, i % 2 ? "train" : "validation", point, error);
        finish.logs = logs_operations(logs, &finish.log_count);
        result = result > 0 ? task_finish(hub, &fence, &finish, error) : -1;
    }
    logs_free(logs);
    bson_destroy(&task);
    bson_destroy(point);
    bson_destroy(metrics);
    bson_destroy(model);
    return result;
}

int main(int argc, char **argv)
{
    bson_error_t error = {0};
    if (argc != 4) {
        fprintf(stderr, "usage: bench_archive_hub URI TASKS WEIGHT_BYTES\n");
        return 2;
    }
    long tasks = strtol(argv[2], NULL, 10);
    size_t length = (size_t)strtoll(argv[3], NULL, 10);
    uint8_t *weights = malloc(length > 0 ? length : 1);
    struct hub *hub = hub_open(argv[1], NULL, HUB_OPEN_CREATE, &error);
    bson_t *fields = parsed("{\"name\": \"bench\", \"description\": \"a task of the benchmark of export and import\","
                            " \"architecture\": \"dense:800:relu dense:10\", \"dataset\": \"fashion\","
                            " \"hyper_parameters\": {\"learning_rate\": 0.001, \"epochs\": 10, \"batch_size\": 256}}");
    if (hub == NULL || weights == NULL)
        return fail(&error);
    for (long made = 0; made < tasks;) {
        const bson_t *many[500];
        size_t count = tasks - made < 500 ? (size_t)(tasks - made) : 500;
        for (size_t i = 0; i < count; i++)
            many[i] = fields;
        if (task_create_many(hub, many, count, &error) < 0)
            return fail(&error);
        made += (long)count;
    }
    for (long i = 0; i < tasks; i++) {
        fill(weights, length);
        if (finish_one(hub, weights, length, &error) <= 0)
            return fail(&error);
    }
    bson_destroy(fields);
    free(weights);
    hub_close(hub);
    return 0;
}
