/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/optimizer.h"

#include "kernels/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_LIMIT ((size_t)1 << 40)

struct optimizer {
    struct optimizer_options options;
    size_t count;
    int64_t steps;
    size_t state_count;
    float *states[2]; /* (count) each, on 64 bytes */
};

enum { FOR_SGD = 1 << OPTIMIZER_SGD, FOR_ADAM = 1 << OPTIMIZER_ADAM };

static const struct field {
    const char *name;
    unsigned optimizers;
    size_t offset; /* of a double; nesterov is apart */
    double minimum, maximum;
    bool minimum_excluded, maximum_excluded;
    const char *range;
} fields[] = {
    {"learning_rate", FOR_SGD | FOR_ADAM, offsetof(struct optimizer_options, learning_rate), 0, 1000, true, false,
     "above 0 and at most 1000"},
    {"momentum", FOR_SGD, offsetof(struct optimizer_options, momentum), 0, 1, false, true, "at least 0 and below 1"},
    {"beta1", FOR_ADAM, offsetof(struct optimizer_options, beta1), 0, 1, false, true, "at least 0 and below 1"},
    {"beta2", FOR_ADAM, offsetof(struct optimizer_options, beta2), 0, 1, false, true, "at least 0 and below 1"},
    {"epsilon", FOR_ADAM, offsetof(struct optimizer_options, epsilon), 0, 1, true, false, "above 0 and at most 1"},
    {"weight_decay", FOR_SGD | FOR_ADAM, offsetof(struct optimizer_options, weight_decay), 0, 1, false, false,
     "from 0 to 1"},
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

static const char *const names[] = {[OPTIMIZER_SGD] = "sgd", [OPTIMIZER_ADAM] = "adam"};

const char *optimizer_name(enum optimizer_kind kind)
{
    return names[kind];
}

int optimizer_options_init(struct optimizer_options *options, const char *name, struct kernel_error *error)
{
    *options = (struct optimizer_options){.kind = OPTIMIZER_ADAM, .learning_rate = 0.001, .beta1 = 0.9,
                                          .beta2 = 0.999, .epsilon = 1e-8};
    if (name != NULL && strcmp(name, names[OPTIMIZER_ADAM]) == 0) {
        return 0;
    }
    if (name != NULL && strcmp(name, names[OPTIMIZER_SGD]) == 0) {
        options->kind = OPTIMIZER_SGD;
        options->learning_rate = 0.01;
        return 0;
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "optimizer: \"%.40s\" is not known: use sgd or adam",
                            name != NULL ? name : "");
}

static int check_field(const struct field *field, double value, struct kernel_error *error)
{
    bool low = field->minimum_excluded ? value > field->minimum : value >= field->minimum;
    bool high = field->maximum_excluded ? value < field->maximum : value <= field->maximum;
    if (low && high) { /* false for NaN */
        return 0;
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: %g is out of range: it must be %s", field->name, value,
                            field->range);
}

int optimizer_options_set(struct optimizer_options *options, const char *field, double value,
                          struct kernel_error *error)
{
    unsigned mine = 1u << options->kind;
    if (strcmp(field, "nesterov") == 0) {
        if (options->kind != OPTIMIZER_SGD) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "nesterov: %s has no such hyper-parameter: "
                                    "leave it out or use sgd", names[options->kind]);
        }
        if (value != 0.0 && value != 1.0) { /* true for NaN */
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "nesterov: %g is not true or false", value);
        }
        options->nesterov = value != 0.0;
        return 1;
    }
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(field, fields[i].name) != 0) {
            continue;
        }
        if ((fields[i].optimizers & mine) == 0) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: %s has no such hyper-parameter: leave it out "
                                    "or use %s", field, names[options->kind],
                                    names[options->kind == OPTIMIZER_SGD ? OPTIMIZER_ADAM : OPTIMIZER_SGD]);
        }
        if (check_field(&fields[i], value, error) < 0) {
            return -1;
        }
        memcpy((char *)options + fields[i].offset, &value, sizeof value);
        return 1;
    }
    return 0;
}

int optimizer_options_check(const struct optimizer_options *options, struct kernel_error *error)
{
    if (options->kind != OPTIMIZER_SGD && options->kind != OPTIMIZER_ADAM) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "optimizer: unknown kind %d", (int)options->kind);
    }
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        double value;
        memcpy(&value, (const char *)options + fields[i].offset, sizeof value);
        if ((fields[i].optimizers & 1u << options->kind) != 0 && check_field(&fields[i], value, error) < 0) {
            return -1;
        }
    }
    if (options->kind == OPTIMIZER_SGD && options->nesterov && options->momentum <= 0.0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "nesterov: needs a momentum above 0");
    }
    return 0;
}

struct optimizer *optimizer_new(const struct optimizer_options *options, size_t count, struct kernel_error *error)
{
    if (optimizer_options_check(options, error) < 0) {
        return NULL;
    }
    if (count > COUNT_LIMIT) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "optimizer: %zu parameters are more than fit any memory", count);
        return NULL;
    }
    struct optimizer *optimizer = calloc(1, sizeof *optimizer);
    if (optimizer == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "optimizer: out of memory");
        return NULL;
    }
    optimizer->options = *options;
    optimizer->count = count;
    if (options->kind == OPTIMIZER_ADAM) {
        optimizer->state_count = 2;
    } else {
        optimizer->state_count = options->momentum > 0.0 ? 1 : 0;
    }
    size_t bytes = count * sizeof(float) + 64;
    bytes = bytes / 64 * 64;
    for (size_t i = 0; i < optimizer->state_count; i++) {
        optimizer->states[i] = aligned_alloc(64, bytes);
        if (optimizer->states[i] == NULL) {
            kernel_error_set(error, KERNEL_ERROR_MEMORY, "optimizer: out of memory for the state of %zu parameters",
                             count);
            optimizer_free(optimizer);
            return NULL;
        }
        memset(optimizer->states[i], 0, bytes);
    }
    return optimizer;
}

void optimizer_free(struct optimizer *optimizer)
{
    if (optimizer != NULL) {
        free(optimizer->states[0]);
        free(optimizer->states[1]);
        free(optimizer);
    }
}

const struct optimizer_options *optimizer_options(const struct optimizer *optimizer)
{
    return &optimizer->options;
}

int optimizer_set_learning_rate(struct optimizer *optimizer, double learning_rate, struct kernel_error *error)
{
    return optimizer_options_set(&optimizer->options, "learning_rate", learning_rate, error) < 0 ? -1 : 0;
}

int optimizer_step(struct optimizer *optimizer, const struct device *device, float *parameters, const float *gradients,
                   struct kernel_error *error)
{
    const struct optimizer_options *options = &optimizer->options;
    double t = (double)(optimizer->steps + 1);
    int done;
    if (options->kind == OPTIMIZER_ADAM) {
        struct device_adam adam = {
            .beta1 = (float)options->beta1,
            .beta2 = (float)options->beta2,
            .epsilon = (float)options->epsilon,
            .weight_decay = (float)options->weight_decay,
            .step_size = (float)(options->learning_rate / (1.0 - pow(options->beta1, t))),
            .root_scale = (float)(1.0 / sqrt(1.0 - pow(options->beta2, t))),
        };
        done = device->operations->adam(device, &adam, optimizer->count, parameters, gradients, optimizer->states[0],
                                        optimizer->states[1], error);
    } else {
        struct device_sgd sgd = {
            .learning_rate = (float)options->learning_rate,
            .momentum = (float)options->momentum,
            .weight_decay = (float)options->weight_decay,
            .nesterov = options->nesterov,
            .first = optimizer->steps == 0,
        };
        done = device->operations->sgd(device, &sgd, optimizer->count, parameters, gradients, optimizer->states[0],
                                       error);
    }
    if (done < 0) {
        return -1;
    }
    optimizer->steps++;
    return 0;
}

int64_t optimizer_steps(const struct optimizer *optimizer)
{
    return optimizer->steps;
}

void optimizer_set_steps(struct optimizer *optimizer, int64_t steps)
{
    optimizer->steps = steps > 0 ? steps : 0;
}

size_t optimizer_state_count(const struct optimizer *optimizer)
{
    return optimizer->state_count;
}

float *optimizer_state(struct optimizer *optimizer, size_t index, const char **name)
{
    static const char *const adam_names[] = {"m", "v"};
    if (index >= optimizer->state_count) {
        *name = NULL;
        return NULL;
    }
    *name = optimizer->options.kind == OPTIMIZER_ADAM ? adam_names[index] : "momentum";
    return optimizer->states[index];
}
