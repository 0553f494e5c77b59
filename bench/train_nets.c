/* SPDX-License-Identifier: Apache-2.0 */
/* Training speed on the nets that the peers train too: forward, loss, backward, Adam; samples a second of CPU time.
 *
 * usage: bench_train [DEVICE [PART]]          every net whose name has this part: "NAME RATE"
 *        bench_train --serve [DEVICE]         answers each NAME read with "NAME RATE", for bench/train
 *        bench_train --wall THREADS [PART]    by the clock and not by CPU time, on so many threads
 *        bench_train --critical THREADS [PART]  by the CPU time of the first thread, which does its share and all that is
 *                                             not shared: what the clock would say on idle cores (OMP_WAIT_POLICY=passive)
 *        bench_train --memory NAME            bytes: what a run adds to the process beside what its net needs
 *        bench_train --gemm                   GFLOP/s of the libraries' sgemm and of the own kernels
 * BENCH_PRECISION=bfloat16 trains in that. RATE is "-" for a net of layers that this program has not. Pin it to one core: bench/train does. */
#include "bench/clock.h"
#include "bench/train_gemm.h"
#include "kernels/net.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE 0.4 /* seconds that one measurement takes at least */

static const struct work {
    const char *name, *architecture;
    struct shape input;
    int64_t batch;
    int nets; /* trained one after the other on the same data */
} works[] = {
    {"mlp-784-800-800-10-b256", "dense:800:relu dense:800:relu dense:10", {1, {784}}, 256, 1},
    {"mlp-784-64-64-10-b32", "dense:64:relu dense:64:relu dense:10", {1, {784}}, 32, 1},
    {"mlp-20-16-16-10-b32", "dense:16:relu dense:16:relu dense:10", {1, {20}}, 32, 1},
    {"mlp-20-16-16-10-b32-32nets", "dense:16:relu dense:16:relu dense:10", {1, {20}}, 32, 32},
    {"cnn-32-64-fc128-b128", "conv2d:32:3:1:1:relu max_pool:2 conv2d:64:3:1:1:relu max_pool:2 flatten "
     "dense:128:relu dense:10", {3, {1, 28, 28}}, 128, 1},
    {"lstm-28x28-h128-b128", "lstm:128 dense:10", {2, {28, 28}}, 128, 1},
};
#define WORKS (sizeof works / sizeof works[0])
#define MAXIMUM_NETS 32

/* A net made ready, and the data that it is trained on. */
struct job {
    const struct work *work;
    struct net *nets[MAXIMUM_NETS];
    struct optimizer *optimizers[MAXIMUM_NETS];
    float *x;
    int32_t *y;
    bool unknown; /* layers that this program has not */
    int steps;    /* of each net in a slice; 0: not known yet */
};

static void job_destroy(struct job *job)
{
    for (int i = 0; i < MAXIMUM_NETS; i++) {
        optimizer_free(job->optimizers[i]);
        net_free(job->nets[i]);
    }
    free(job->x);
    free(job->y);
    *job = (struct job){0};
}

static int make_data(struct job *job, struct kernel_error *error)
{
    int64_t floats = job->work->batch * shape_size(&job->work->input);
    job->x = malloc((size_t)floats * sizeof *job->x);
    job->y = malloc((size_t)job->work->batch * sizeof *job->y);
    if (job->x == NULL || job->y == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "out of memory");
    }
    struct random_state random;
    random_init(&random, 0, 0);
    for (int64_t i = 0; i < floats; i++) {
        job->x[i] = (float)random_normal(&random);
    }
    for (int64_t i = 0; i < job->work->batch; i++) {
        job->y[i] = (int32_t)(i % 10);
    }
    return 0;
}

/* 0; also where the net cannot be built here, which job->unknown then says. On error the caller destroys the job. */
static int job_init(struct job *job, const struct work *work, const struct device *device, struct kernel_error *error)
{
    *job = (struct job){.work = work};
    struct optimizer_options options;
    struct architecture *architecture = architecture_parse(work->architecture, error);
    int result = -1;
    if (architecture == NULL) {
        job->unknown = error->code == KERNEL_ERROR_INVALID;
        return job->unknown ? 0 : -1;
    }
    if (optimizer_options_init(&options, "adam", error) < 0 ||
        optimizer_options_set(&options, "learning_rate", 1e-4, error) < 0 || make_data(job, error) < 0) {
        goto out;
    }
    for (int i = 0; i < work->nets; i++) {
        struct net_options net_options = {.architecture = architecture, .outputs = 10, .loss = "cross_entropy",
                                          .batch_size = work->batch, .device = device, .seed = (uint64_t)i};
        net_options.input_shapes[0] = work->input;
        if (getenv("BENCH_PRECISION") != NULL &&
            device_precision_find(getenv("BENCH_PRECISION"), &net_options.precision, error) < 0) {
            goto out;
        }
        job->nets[i] = net_new(&net_options, error);
        job->optimizers[i] = job->nets[i] == NULL ? NULL
                             : optimizer_new(&options, net_trained_floats(job->nets[i]), error);
        if (job->optimizers[i] == NULL) {
            goto out;
        }
    }
    result = 0;
out:
    architecture_free(architecture);
    return result;
}

static int run_steps(struct job *job, int steps, struct kernel_error *error)
{
    struct net_metrics metrics = {0};
    struct net_batch batch = {.rows = job->work->batch, .inputs = {job->x}, .labels = {job->y}};
    for (int n = 0; n < job->work->nets; n++) {
        for (int i = 0; i < steps; i++) {
            if (net_train_step(job->nets[n], job->optimizers[n], &batch, &metrics, error) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

typedef double clock_function(void);

/* Samples a second of one slice; 0 for an unknown net. */
static int measure(struct job *job, clock_function *clock, double *rate, struct kernel_error *error)
{
    *rate = 0.0;
    if (job->unknown) {
        return 0;
    }
    for (int steps = job->steps > 0 ? job->steps : 2;; steps *= 2) {
        double start = clock();
        if (run_steps(job, steps, error) < 0) {
            return -1;
        }
        double taken = clock() - start;
        if (taken >= SLICE / 2 || job->steps > 0) {
            job->steps = steps;
            *rate = (double)steps * (double)job->work->nets * (double)job->work->batch / taken;
            return 0;
        }
    }
}

static int best_of_three(const struct work *work, const struct device *device, clock_function *clock,
                         struct kernel_error *error)
{
    struct job job;
    double best = 0.0;
    int result = job_init(&job, work, device, error);
    for (int round = 0; result == 0 && round < 3; round++) {
        double rate;
        result = measure(&job, clock, &rate, error);
        best = rate > best ? rate : best;
    }
    if (result == 0) {
        printf(job.unknown ? "%s -\n" : "%s %.0f\n", work->name, best);
        fflush(stdout);
    }
    job_destroy(&job);
    return result;
}

static int print_all(const struct device *device, const char *part, clock_function *clock, struct kernel_error *error)
{
    for (size_t i = 0; i < WORKS; i++) {
        if (strstr(works[i].name, part) != NULL && best_of_three(&works[i], device, clock, error) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Nets are kept from one question to the next. */
static int serve(const struct device *device, struct kernel_error *error)
{
    static struct job jobs[WORKS];
    char line[128];
    int result = 0;
    while (result == 0 && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        double rate = 0.0;
        for (size_t i = 0; i < WORKS && result == 0; i++) {
            if (strcmp(line, works[i].name) == 0) {
                result = jobs[i].work == NULL ? job_init(&jobs[i], &works[i], device, error) : 0;
                result = result == 0 ? measure(&jobs[i], bench_cpu_now, &rate, error) : result;
            }
        }
        printf(rate > 0.0 ? "%s %.0f\n" : "%s -\n", line, rate);
        fflush(stdout);
    }
    for (size_t i = 0; i < WORKS; i++) {
        job_destroy(&jobs[i]);
    }
    return result;
}

static double thread_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static long status_kilobytes(const char *field)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) {
            value = strtol(line + strlen(field), NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

/* The peak of a run above the process before it, beside parameters x (weights, gradients, Adam's m and v) and the
 * activations. A small net is trained first, so that what the libraries keep for themselves is not counted. */
static int print_memory(const struct device *device, const char *name, struct kernel_error *error)
{
    const struct work *work = NULL;
    for (size_t i = 0; i < WORKS; i++) {
        work = strcmp(works[i].name, name) == 0 ? &works[i] : work;
    }
    if (work == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s is none of the nets", name);
    }
    struct job job;
    int result = job_init(&job, &works[2], device, error);
    result = result == 0 ? run_steps(&job, 2, error) : result;
    job_destroy(&job);
    malloc_trim(0);
    long before = status_kilobytes("VmRSS:");
    result = result == 0 ? job_init(&job, work, device, error) : result;
    result = result == 0 && !job.unknown ? run_steps(&job, 3, error) : result;
    if (result == 0 && !job.unknown) {
        double net = (double)net_memory(job.nets[0]);
        double optimizer = (double)optimizer_state_count(job.optimizers[0]) *
                           (double)net_parameter_floats(job.nets[0]) * sizeof(float);
        double batch = (double)(work->batch * (shape_size(&work->input) + 1)) * sizeof(float);
        double peak = (double)(status_kilobytes("VmHWM:") - before) * 1024;
        printf("%s: peak %.1f MB above the start; net %.1f, optimiser %.1f, batch %.1f MB: %.2f times their sum\n",
               name, peak * 1e-6, net * 1e-6, optimizer * 1e-6, batch * 1e-6, peak / (net + optimizer + batch));
    }
    job_destroy(&job);
    return result;
}

int main(int argc, char **argv)
{
    struct kernel_error error = {0};
    if (argc > 1 && strcmp(argv[1], "--gemm") == 0) {
        if (bench_print_gemm(&error) == 0) {
            return EXIT_SUCCESS;
        }
        fprintf(stderr, "bench_train: %s\n", error.message);
        return EXIT_FAILURE;
    }
    const char *first = argc > 1 ? argv[1] : "", *second = argc > 2 ? argv[2] : "";
    bool serves = strcmp(first, "--serve") == 0, by_wall = strcmp(first, "--wall") == 0;
    bool by_thread = strcmp(first, "--critical") == 0, memory = strcmp(first, "--memory") == 0;
    const char *name = serves && second[0] != '\0' ? second : first[0] != '\0' && first[0] != '-' ? first : "cpu";
    struct device *device = device_open(name, by_wall || by_thread ? atoi(second) : 1, &error);
    int result = -1;
    if (device != NULL) {
        result = serves ? serve(device, &error)
                 : memory ? print_memory(device, second, &error)
                 : by_wall || by_thread
                     ? print_all(device, argc > 3 ? argv[3] : "", by_wall ? bench_now : thread_now, &error)
                     : print_all(device, second, bench_cpu_now, &error);
    }
    if (result < 0) {
        fprintf(stderr, "bench_train: %s\n", error.message);
    }
    device_close(device);
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
