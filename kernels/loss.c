/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/loss.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define HUBER_DELTA_MOST 1e6

/* A device may have faster code of its own for a loss; otherwise these plain loops run, with sums in double. */
typedef int loss_function(const struct device *device, const struct loss_batch *batch, double *loss_sum,
                          int64_t *correct, struct kernel_error *error);

static struct tensor targets_of(const struct loss_batch *batch)
{
    return (struct tensor){.data = (float *)(uintptr_t)batch->targets, .rows = batch->z->rows,
                           .columns = batch->z->columns, .stride = batch->z->columns};
}

static int cross_entropy(const struct device *device, const struct loss_batch *batch, double *loss_sum,
                         int64_t *correct, struct kernel_error *error)
{
    return device->operations->cross_entropy(device, batch->z, batch->labels, batch->dz, loss_sum, correct, error);
}

static int squared_error(const struct device *device, const struct loss_batch *batch, double *loss_sum,
                         int64_t *correct, struct kernel_error *error)
{
    struct tensor t = targets_of(batch);
    (void)correct;
    return device->operations->squared_error(device, batch->z, &t, batch->dz, loss_sum, error);
}

/* 1 / (1 + exp(-x)), without overflow. */
static double sigmoid(double x)
{
    double e = exp(-fabs(x));
    return x < 0.0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
}

/* log(1 + exp(x)), without overflow; NaN stays. */
static double softplus(double x)
{
    return (x < 0.0 ? 0.0 : x) + log1p(exp(-fabs(x)));
}

static int check_probabilities(const struct tensor *t, struct kernel_error *error)
{
    for (int64_t i = 0; i < t->rows * t->columns; i++) {
        if (!(t->data[i] >= 0.0f && t->data[i] <= 1.0f)) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "batch: row %lld: target %g is not from 0 to 1, as "
                                    "binary_cross_entropy needs it", (long long)(i / t->columns), (double)t->data[i]);
        }
    }
    return 0;
}

/* One target is a yes or no. */
static int64_t count_correct(const struct tensor *z, const struct tensor *t)
{
    int64_t correct = 0;
    for (int64_t r = 0; z->columns == 1 && r < z->rows; r++) {
        correct += (z->data[r * z->stride] > 0.0f) == (t->data[r] > 0.5f);
    }
    return correct;
}

static int binary_cross_entropy(const struct device *device, const struct loss_batch *batch, double *loss_sum,
                                int64_t *correct, struct kernel_error *error)
{
    const struct tensor *z = batch->z, t = targets_of(batch);
    if (check_probabilities(&t, error) < 0) {
        return -1;
    }
    *correct = count_correct(z, &t);
    if (device->operations->binary_cross_entropy != NULL) {
        return device->operations->binary_cross_entropy(device, z, &t, batch->dz, loss_sum, error);
    }
    double sum = 0.0, share = 1.0 / ((double)z->rows * (double)z->columns);
    for (int64_t r = 0; r < z->rows; r++) {
        for (int64_t c = 0; c < z->columns; c++) {
            double x = (double)z->data[r * z->stride + c], y = (double)t.data[r * t.stride + c];
            sum += softplus(x) - x * y;
            if (batch->dz != NULL) {
                batch->dz->data[r * batch->dz->stride + c] = (float)((sigmoid(x) - y) * share);
            }
        }
    }
    *loss_sum = sum / (double)z->columns;
    return 0;
}

/* Huber's loss, divided by delta where that becomes 0: delta 0 stands for mae. */
static int absolute_error(const struct loss_batch *batch, double delta, double *loss_sum)
{
    const struct tensor *z = batch->z, t = targets_of(batch);
    double sum = 0.0, share = 1.0 / ((double)z->rows * (double)z->columns);
    for (int64_t r = 0; r < z->rows; r++) {
        for (int64_t c = 0; c < z->columns; c++) {
            double d = (double)z->data[r * z->stride + c] - (double)t.data[r * t.stride + c], slope;
            if (delta == 0.0) {
                sum += fabs(d);
                slope = d > 0.0 ? 1.0 : d < 0.0 ? -1.0 : d; /* d: 0 or NaN */
            } else if (fabs(d) <= delta) {
                sum += 0.5 * d * d;
                slope = d;
            } else {
                sum += delta * (fabs(d) - 0.5 * delta);
                slope = copysign(delta, d);
            }
            if (batch->dz != NULL) {
                batch->dz->data[r * batch->dz->stride + c] = (float)(slope * share);
            }
        }
    }
    *loss_sum = sum / (double)z->columns;
    return 0;
}

static int mae(const struct device *device, const struct loss_batch *batch, double *loss_sum, int64_t *correct,
               struct kernel_error *error)
{
    (void)device;
    (void)correct;
    (void)error;
    return absolute_error(batch, 0.0, loss_sum);
}

static int huber(const struct device *device, const struct loss_batch *batch, double *loss_sum, int64_t *correct,
                 struct kernel_error *error)
{
    (void)device;
    (void)correct;
    (void)error;
    return absolute_error(batch, batch->huber_delta > 0.0 ? batch->huber_delta : LOSS_HUBER_DELTA, loss_sum);
}

static int bpr(const struct device *device, const struct loss_batch *batch, double *loss_sum, int64_t *correct,
               struct kernel_error *error)
{
    const struct tensor *z = batch->z;
    int64_t pairs = z->rows / 2, right = 0;
    (void)device;
    if (z->rows % 2 != 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "batch: %lld rows: bpr needs pairs, the positive rows and "
                                "then as many negative ones", (long long)z->rows);
    }
    double sum = 0.0, share = 1.0 / ((double)pairs * (double)z->columns);
    for (int64_t r = 0; r < pairs; r++) {
        for (int64_t c = 0; c < z->columns; c++) {
            double x = (double)z->data[r * z->stride + c] - (double)z->data[(pairs + r) * z->stride + c];
            sum += softplus(-x);
            right += x > 0.0;
            if (batch->dz != NULL) {
                float slope = (float)(sigmoid(-x) * share);
                batch->dz->data[r * batch->dz->stride + c] = -slope;
                batch->dz->data[(pairs + r) * batch->dz->stride + c] = slope;
            }
        }
    }
    *loss_sum = 2.0 * sum / (double)z->columns; /* for each of a pair's two rows */
    *correct = z->columns == 1 ? 2 * right : 0;
    return 0;
}

static const struct {
    const char *name;
    enum loss_target target;
    loss_function *run;
} losses[LOSS_COUNT] = {
    [LOSS_CROSS_ENTROPY] = {"cross_entropy", LOSS_OF_CLASSES, cross_entropy},
    [LOSS_MSE] = {"mse", LOSS_OF_VALUES, squared_error},
    [LOSS_BINARY_CROSS_ENTROPY] = {"binary_cross_entropy", LOSS_OF_VALUES, binary_cross_entropy},
    [LOSS_MAE] = {"mae", LOSS_OF_VALUES, mae},
    [LOSS_HUBER] = {"huber", LOSS_OF_VALUES, huber},
    [LOSS_BPR] = {"bpr", LOSS_OF_PAIRS, bpr},
};

int loss_find(const char *name, enum loss_kind *kind, struct kernel_error *error)
{
    *kind = LOSS_CROSS_ENTROPY;
    for (size_t i = 0; name != NULL && i < LOSS_COUNT; i++) {
        if (strcmp(name, losses[i].name) == 0) {
            *kind = (enum loss_kind)i;
            return 0;
        }
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "loss: \"%.40s\" is not known: use %s",
                            name != NULL ? name : "", loss_names());
}

const char *loss_name(enum loss_kind kind)
{
    return losses[kind].name;
}

const char *loss_names(void)
{
    return "cross_entropy, binary_cross_entropy, mse, mae, huber or bpr";
}

enum loss_target loss_target(enum loss_kind kind)
{
    return losses[kind].target;
}

bool loss_takes_classes(enum loss_kind kind)
{
    return losses[kind].target == LOSS_OF_CLASSES;
}

bool loss_takes_labels(enum loss_kind kind, bool are_classes, int64_t classes)
{
    if (are_classes && kind == LOSS_BINARY_CROSS_ENTROPY) {
        return classes == 0 || classes == 2;
    }
    return losses[kind].target == (are_classes ? LOSS_OF_CLASSES : LOSS_OF_VALUES);
}

bool loss_has_accuracy(enum loss_kind kind, int64_t columns)
{
    return kind == LOSS_CROSS_ENTROPY || (columns == 1 && (kind == LOSS_BINARY_CROSS_ENTROPY || kind == LOSS_BPR));
}

int loss_check_huber_delta(enum loss_kind kind, double delta, struct kernel_error *error)
{
    if (kind != LOSS_HUBER) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "huber_delta: the loss %s has no such hyper-parameter: leave "
                                "it out or use huber", loss_name(kind));
    }
    if (delta > 0.0 && delta <= HUBER_DELTA_MOST) {
        return 0;
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "huber_delta: %g is out of range: it must be above 0 and at most "
                            "%g", delta, HUBER_DELTA_MOST);
}

int loss_run(enum loss_kind kind, const struct device *device, const struct loss_batch *batch, double *loss_sum,
             int64_t *correct, struct kernel_error *error)
{
    *loss_sum = 0.0;
    *correct = 0;
    return losses[kind].run(device, batch, loss_sum, correct, error);
}

int loss_predict(enum loss_kind kind, const struct device *device, const struct tensor *z, struct tensor *p,
                 struct kernel_error *error)
{
    if (kind == LOSS_CROSS_ENTROPY) {
        return device->operations->softmax(device, z, p, error);
    }
    if (kind == LOSS_BINARY_CROSS_ENTROPY) {
        return device->operations->activation_forward(device, ACTIVATION_SIGMOID, z, p, error);
    }
    for (int64_t r = 0; r < z->rows && p->data != z->data; r++) {
        memcpy(p->data + r * p->stride, z->data + r * z->stride, (size_t)z->columns * sizeof(float));
    }
    return 0;
}
