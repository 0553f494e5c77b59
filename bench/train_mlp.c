/* SPDX-License-Identifier: Apache-2.0 */
/* Training speed on the three MLPs that peers/train_torch.py trains too: forward, loss, backward, Adam, on one thread;
 * samples a second of CPU time, best of three rounds.
 *
 * usage: bench_train [DEVICE [PART]]     cpu (the default) or ref; only the nets whose name has this part.
 * Pin it to one core: bench/train does. */
#include "kernels/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct work {
    const char *name, *architecture;
    int64_t features, batch;
    int steps;
} works[] = {
    {"mlp-784-800-800-10-b256", "dense:800:relu dense:800:relu dense:10", 784, 256, 20},
    {"mlp-784-64-64-10-b32", "dense:64:relu dense:64:relu dense:10", 784, 32, 2000},
    {"mlp-20-16-16-10-b32", "dense:16:relu dense:16:relu dense:10", 20, 32, 40000},
};

/* CPU time of the process: on an idle core the same as the clock's, and on a busy machine disturbed less. */
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int run_steps(struct net *net, struct optimizer *optimizer, const float *x, const int32_t *y,
                     const struct work *work, int steps, struct kernel_error *error)
{
    struct net_metrics metrics = {0};
    struct net_batch batch = {.rows = work->batch, .inputs = {x}, .labels = {y}};
    for (int i = 0; i < steps; i++) {
        if (net_train_step(net, optimizer, &batch, &metrics, error) < 0) {
            return -1;
        }
    }
    return 0;
}

static int measure(const struct work *work, const struct device *device, double *best, struct kernel_error *error)
{
    int result = -1;
    *best = 0.0;
    struct net *net = NULL;
    struct optimizer *optimizer = NULL;
    size_t floats = (size_t)(work->batch * work->features);
    float *x = malloc(floats * sizeof *x);
    int32_t *y = malloc((size_t)work->batch * sizeof *y);
    struct architecture *architecture = architecture_parse(work->architecture, error);
    struct optimizer_options options;
    struct random_state random;
    if (x == NULL || y == NULL || architecture == NULL || optimizer_options_init(&options, "adam", error) < 0 ||
        optimizer_options_set(&options, "learning_rate", 1e-4, error) < 0) {
        goto out;
    }
    random_init(&random, 0, 0);
    for (size_t i = 0; i < floats; i++) {
        x[i] = (float)random_normal(&random);
    }
    for (int64_t i = 0; i < work->batch; i++) {
        y[i] = (int32_t)(i % 10);
    }
    struct net_options net_options = {.architecture = architecture, .outputs = 10, .loss = "cross_entropy",
                                      .batch_size = work->batch, .device = device};
    net_options.input_shapes[0] = (struct shape){1, {work->features}};
    net = net_new(&net_options, error);
    if (net == NULL || (optimizer = optimizer_new(&options, net_parameter_floats(net), error)) == NULL ||
        run_steps(net, optimizer, x, y, work, 5, error) < 0) {
        goto out;
    }
    for (int round = 0; round < 3; round++) {
        double start = now();
        if (run_steps(net, optimizer, x, y, work, work->steps, error) < 0) {
            goto out;
        }
        double rate = (double)work->steps * (double)work->batch / (now() - start);
        *best = rate > *best ? rate : *best;
    }
    result = 0;
out:
    optimizer_free(optimizer);
    net_free(net);
    architecture_free(architecture);
    free(x);
    free(y);
    return result;
}

int main(int argc, char **argv)
{
    struct kernel_error error = {0};
    struct device *device = device_open(argc > 1 ? argv[1] : "cpu", 1, &error);
    int status = EXIT_SUCCESS;
    for (size_t i = 0; device != NULL && i < sizeof works / sizeof works[0]; i++) {
        double rate;
        if (argc > 2 && strstr(works[i].name, argv[2]) == NULL) {
            continue;
        }
        if (measure(&works[i], device, &rate, &error) < 0) {
            status = EXIT_FAILURE;
            break;
        }
        printf("%s %.0f\n", works[i].name, rate);
        fflush(stdout);
    }
    if (device == NULL || status != EXIT_SUCCESS) {
        fprintf(stderr, "bench_train: %s\n", error.message);
        status = EXIT_FAILURE;
    }
    device_close(device);
    return status;
}
