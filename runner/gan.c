/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/gan.h"

#include "kernels/random.h"
#include "kernels/sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Streams of random numbers for the noise, far from those of layers and of the order of rows: of training by step, of
 * samples by number. */
#define NOISE_STREAM (UINT64_C(5) << 61)
#define SAMPLE_STREAM (UINT64_C(7) << 61)

struct gan {
    struct net *net;
    uint64_t seed;
    int64_t noise_size, row_size;
    size_t critic;         /* where its parameters begin */
    float *noise, *real;   /* (2 batch_size, …) */
    struct tensor gradients[2]; /* of the outputs; the first is zero */
};

struct gan *gan_new(struct net *net, const struct architecture *architecture, int64_t batch_size, uint64_t seed,
                    bson_error_t *error)
{
    struct gan *gan = calloc(1, sizeof *gan);
    const size_t rows = 2 * (size_t)batch_size;
    if (!gan)
        goto out;
    gan->net = net;
    gan->seed = seed;
    gan->critic = net_layer_offset(net, sampling_mix(architecture));
    gan->noise_size = shape_size(&architecture->inputs[0].shape);
    gan->row_size = shape_size(&net_size(net)->output);
    gan->noise = malloc(rows * (size_t)gan->noise_size * sizeof(float));
    gan->real = calloc(rows * (size_t)gan->row_size, sizeof(float));
    gan->gradients[0] = (struct tensor){.columns = gan->row_size, .stride = gan->row_size};
    gan->gradients[1] = (struct tensor){.columns = 1, .stride = 1};
    gan->gradients[0].data = calloc(rows * (size_t)gan->row_size, sizeof(float));
    gan->gradients[1].data = calloc(rows, sizeof(float));
    if (gan->noise && gan->real && gan->gradients[0].data && gan->gradients[1].data)
        return gan;
out:
    gan_free(gan);
    hub_error(error, HUB_ERROR_MEMORY, "no memory for a batch of %zu rows", rows);
    return NULL;
}

void gan_free(struct gan *gan)
{
    if (!gan)
        return;
    free(gan->noise);
    free(gan->real);
    free(gan->gradients[0].data);
    free(gan->gradients[1].data);
    free(gan);
}

static void draw(uint64_t seed, uint64_t stream, float *out, int64_t count)
{
    struct random_state random;
    random_init(&random, seed, stream);
    for (int64_t i = 0; i < count; i++)
        out[i] = (float)random_normal(&random);
}

/* log(1 + exp(x)), finite for every finite x. */
static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* The generator's loss and what the critic got right, of 2 count rows; and the gradients: of the critic's loss (all rows,
 * mean), or of the generator's (the generated ones, mean). False where a value is not finite. */
static bool judge(struct gan *gan, int64_t count, bool generator, double *loss, int64_t *correct)
{
    const struct tensor *z = net_output(gan->net, 1);
    *loss = 0;
    *correct = 0;
    for (int64_t r = 0; r < 2 * count; r++) {
        const bool real = r >= count;
        double value = (double)z->data[r * z->stride], shown = 1 / (1 + exp(-value));
        if (!isfinite(value))
            return false;
        *correct += real == (value > 0);
        *loss += real ? 0 : softplus(-value);
        double gradient = generator ? (real ? 0 : (shown - 1) / (double)count) : (shown - real) / (double)(2 * count);
        gan->gradients[1].data[r] = (float)gradient;
    }
    gan->gradients[0].rows = gan->gradients[1].rows = 2 * count;
    return true;
}

static int not_finite(const struct gan *gan, struct kernel_error *error)
{
    return kernel_error_set(error, KERNEL_ERROR_NONFINITE, "loss is not finite at step %llu: the critic's output: try a "
                            "smaller learning_rate", (unsigned long long)net_steps(gan->net) + 1);
}

static struct net_batch put_rows(struct gan *gan, const float *rows, int64_t count, uint64_t stream)
{
    draw(gan->seed, stream, gan->noise, 2 * count * gan->noise_size);
    memcpy(gan->real + count * gan->row_size, rows, (size_t)(count * gan->row_size) * sizeof(float));
    return (struct net_batch){.rows = 2 * count, .inputs = {gan->noise, gan->real}};
}

/* One pass of all rows and the step of one part. */
static int train_part(struct gan *gan, struct optimizer *optimizer, const struct device *device,
                      const struct net_batch *batch, bool generator, double *loss, int64_t *correct,
                      struct kernel_error *error)
{
    const size_t all = net_trained_floats(gan->net), first = generator ? 0 : gan->critic;
    if (net_forward(gan->net, batch, true, error))
        return -1;
    if (!judge(gan, batch->rows / 2, generator, loss, correct))
        return not_finite(gan, error);
    if (net_backward(gan->net, gan->gradients, error))
        return -1;
    return optimizer_step_part(optimizer, device, first, generator ? gan->critic : all - first, net_parameters(gan->net),
                               net_gradients(gan->net), error);
}

int gan_step(struct gan *gan, struct optimizer *optimizer, const struct device *device, const float *rows, int64_t count,
             struct net_metrics *metrics, struct kernel_error *error)
{
    struct net_batch batch = put_rows(gan, rows, count, NOISE_STREAM | net_steps(gan->net));
    double loss;
    int64_t correct, after;
    if (train_part(gan, optimizer, device, &batch, false, &loss, &correct, error) ||
        train_part(gan, optimizer, device, &batch, true, &loss, &after, error))
        return -1;
    optimizer_set_steps(optimizer, optimizer_steps(optimizer) + 1);
    net_set_steps(gan->net, net_steps(gan->net) + 1);
    metrics->rows += 2 * count;
    metrics->loss_sum += 2 * loss;
    metrics->correct += correct;
    return 0;
}

int gan_sample(struct net *net, const struct architecture *architecture, uint64_t seed, int64_t first, int64_t count,
               float *out, bson_error_t *error)
{
    struct kernel_error why = {0};
    const int64_t noise_size = shape_size(&architecture->inputs[0].shape);
    float *noise = malloc((size_t)(count * noise_size) * sizeof *noise);
    float *real = calloc((size_t)(count * shape_size(&net_size(net)->output)), sizeof *real);
    int result = -1;
    if (!noise || !real) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for %lld samples", (long long)count);
        goto out;
    }
    for (int64_t i = 0; i < count; i++)
        draw(seed, SAMPLE_STREAM | (uint64_t)(first + i), noise + i * noise_size, noise_size);
    struct net_batch batch = {.rows = count, .inputs = {noise, real}};
    if (net_predict(net, &batch, out, &why) == 0)
        result = 0;
    else
        hub_error(error, HUB_ERROR_INVALID, "%s", why.message);
out:
    free(noise);
    free(real);
    return result;
}
