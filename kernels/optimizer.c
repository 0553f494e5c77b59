/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/optimizer.h"

#include "kernels/block.h"
#include "kernels/device.h"

#include <math.h>
#include <stdio.h>
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

enum {
    FOR_SGD = 1 << OPTIMIZER_SGD,
    FOR_ADAM = 1 << OPTIMIZER_ADAM | 1 << OPTIMIZER_ADAMW,
    FOR_RMSPROP = 1 << OPTIMIZER_RMSPROP,
    FOR_ALL = FOR_SGD | FOR_ADAM | FOR_RMSPROP
};

static const struct field {
    const char *name;
    unsigned optimizers;
    size_t offset; /* of a double; nesterov is apart */
    double minimum, maximum;
    bool minimum_excluded, maximum_excluded;
    const char *range;
    bool zero_is_none; /* left out it is 0, which cannot be given */
} fields[] = {
    {"learning_rate", FOR_ALL, offsetof(struct optimizer_options, learning_rate), 0, 1000, true, false,
     "above 0 and at most 1000", false},
    {"momentum", FOR_SGD | FOR_RMSPROP, offsetof(struct optimizer_options, momentum), 0, 1, false, true,
     "at least 0 and below 1", false},
    {"beta1", FOR_ADAM, offsetof(struct optimizer_options, beta1), 0, 1, false, true, "at least 0 and below 1", false},
    {"beta2", FOR_ADAM, offsetof(struct optimizer_options, beta2), 0, 1, false, true, "at least 0 and below 1", false},
    {"alpha", FOR_RMSPROP, offsetof(struct optimizer_options, alpha), 0, 1, false, true, "at least 0 and below 1", false},
    {"epsilon", FOR_ADAM | FOR_RMSPROP, offsetof(struct optimizer_options, epsilon), 0, 1, true, false,
     "above 0 and at most 1", false},
    {"weight_decay", FOR_ALL, offsetof(struct optimizer_options, weight_decay), 0, 1, false, false, "from 0 to 1", false},
    {"clip_norm", FOR_ALL, offsetof(struct optimizer_options, clip_norm), 0, 1e9, true, false,
     "above 0 and at most 1e9", true},
    {"clip_value", FOR_ALL, offsetof(struct optimizer_options, clip_value), 0, 1e9, true, false,
     "above 0 and at most 1e9", true},
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

static const char *const names[OPTIMIZER_COUNT] = {
    [OPTIMIZER_SGD] = "sgd", [OPTIMIZER_ADAM] = "adam", [OPTIMIZER_ADAMW] = "adamw", [OPTIMIZER_RMSPROP] = "rmsprop"};

const char *optimizer_name(enum optimizer_kind kind)
{
    return names[kind];
}

const char *optimizer_names(void)
{
    return "sgd, adam, adamw or rmsprop";
}

int optimizer_options_init(struct optimizer_options *options, const char *name, struct kernel_error *error)
{
    *options = (struct optimizer_options){.kind = OPTIMIZER_ADAM, .learning_rate = 0.001, .beta1 = 0.9,
                                          .beta2 = 0.999, .alpha = 0.99, .epsilon = 1e-8};
    int kind = 0;
    while (kind < OPTIMIZER_COUNT && (name == NULL || strcmp(name, names[kind]) != 0)) {
        kind++;
    }
    if (kind == OPTIMIZER_COUNT) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "optimizer: \"%.40s\" is not known: use %s",
                                name != NULL ? name : "", optimizer_names());
    }
    options->kind = (enum optimizer_kind)kind;
    if (kind == OPTIMIZER_SGD || kind == OPTIMIZER_RMSPROP) {
        options->learning_rate = 0.01;
    }
    if (kind == OPTIMIZER_ADAMW) {
        options->weight_decay = 0.01;
    }
    return 0;
}

static int refuse(const struct optimizer_options *options, const char *field, unsigned optimizers,
                  struct kernel_error *error)
{
    char others[64] = "";
    for (int kind = 0; kind < OPTIMIZER_COUNT; kind++) {
        size_t used = strlen(others);
        if ((optimizers & 1u << kind) != 0) {
            snprintf(others + used, sizeof others - used, "%s%s", used > 0 ? " or " : "", names[kind]);
        }
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: %s has no such hyper-parameter: leave it out or use %s", field,
                            names[options->kind], others);
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
            return refuse(options, field, FOR_SGD, error);
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
            return refuse(options, field, fields[i].optimizers, error);
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
    if ((unsigned)options->kind >= OPTIMIZER_COUNT) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "optimizer: unknown kind %d", (int)options->kind);
    }
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        double value;
        memcpy(&value, (const char *)options + fields[i].offset, sizeof value);
        bool none = fields[i].zero_is_none && value == 0.0;
        if (!none && (fields[i].optimizers & 1u << options->kind) != 0 && check_field(&fields[i], value, error) < 0) {
            return -1;
        }
    }
    if (options->kind == OPTIMIZER_SGD && options->nesterov && options->momentum <= 0.0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "nesterov: needs a momentum above 0");
    }
    if (options->clip_norm > 0.0 && options->clip_value > 0.0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "clip_value: there is a clip_norm too: leave one out");
    }
    return 0;
}

static size_t count_states(const struct optimizer_options *options)
{
    size_t momentum = options->momentum > 0.0 ? 1 : 0;
    switch (options->kind) {
    case OPTIMIZER_SGD: return momentum;
    case OPTIMIZER_RMSPROP: return 1 + momentum;
    case OPTIMIZER_ADAM:
    case OPTIMIZER_ADAMW: break;
    }
    return 2;
}

size_t optimizer_options_states(const struct optimizer_options *options)
{
    return count_states(options);
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
    optimizer->state_count = count_states(options);
    for (size_t i = 0; i < optimizer->state_count; i++) {
        optimizer->states[i] = block_new(count, NULL);
        if (optimizer->states[i] == NULL) {
            kernel_error_set(error, KERNEL_ERROR_MEMORY, "optimizer: out of memory for the state of %zu parameters",
                             count);
            optimizer_free(optimizer);
            return NULL;
        }
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
    if (learning_rate == 0.0) { /* a schedule may end there */
        optimizer->options.learning_rate = 0.0;
        return 0;
    }
    return optimizer_options_set(&optimizer->options, "learning_rate", learning_rate, error) < 0 ? -1 : 0;
}

/* Nothing to do, or the gradients changed: 0. */
static int clip(const struct optimizer *optimizer, const struct device *device, float *gradients,
                struct kernel_error *error)
{
    const struct optimizer_options *options = &optimizer->options;
    if (options->clip_norm <= 0.0 && options->clip_value <= 0.0) {
        return 0;
    }
    double squares = 0.0;
    if (device->operations->squared_norm(device, optimizer->count, gradients, &squares, error) < 0) {
        return -1;
    }
    if (!isfinite(squares)) {
        return kernel_error_set(error, KERNEL_ERROR_NONFINITE, "the gradient is not finite at step %lld: try a smaller "
                                "learning_rate", (long long)optimizer->steps + 1);
    }
    double scale = options->clip_norm > 0.0 ? options->clip_norm / (sqrt(squares) + 1e-6) : 1.0;
    float limit = options->clip_value > 0.0 ? (float)options->clip_value : INFINITY;
    if (scale >= 1.0 && squares <= (double)limit * (double)limit) {
        return 0; /* no element can be beyond the limit */
    }
    return device->operations->clip(device, scale < 1.0 ? (float)scale : 1.0f, limit, optimizer->count, gradients, error);
}

static int step_adam(struct optimizer *optimizer, const struct device *device, float *parameters,
                     const float *gradients, struct kernel_error *error)
{
    const struct optimizer_options *options = &optimizer->options;
    double t = (double)(optimizer->steps + 1);
    bool decoupled = options->kind == OPTIMIZER_ADAMW;
    struct device_adam adam = {
        .beta1 = (float)options->beta1,
        .beta2 = (float)options->beta2,
        .epsilon = (float)options->epsilon,
        .weight_decay = decoupled ? 0.0f : (float)options->weight_decay,
        .keep = decoupled ? (float)(1.0 - options->learning_rate * options->weight_decay) : 1.0f,
        .step_size = (float)(options->learning_rate / (1.0 - pow(options->beta1, t))),
        .root_scale = (float)(1.0 / sqrt(1.0 - pow(options->beta2, t))),
    };
    return device->operations->adam(device, &adam, optimizer->count, parameters, gradients, optimizer->states[0],
                                    optimizer->states[1], error);
}

static int step_rmsprop(struct optimizer *optimizer, const struct device *device, float *parameters,
                        const float *gradients, struct kernel_error *error)
{
    const struct optimizer_options *options = &optimizer->options;
    struct device_rmsprop rmsprop = {
        .learning_rate = (float)options->learning_rate,
        .alpha = (float)options->alpha,
        .epsilon = (float)options->epsilon,
        .momentum = (float)options->momentum,
        .weight_decay = (float)options->weight_decay,
    };
    return device->operations->rmsprop(device, &rmsprop, optimizer->count, parameters, gradients, optimizer->states[0],
                                       optimizer->states[1], error);
}

static int step_sgd(struct optimizer *optimizer, const struct device *device, float *parameters, const float *gradients,
                    struct kernel_error *error)
{
    const struct optimizer_options *options = &optimizer->options;
    struct device_sgd sgd = {
        .learning_rate = (float)options->learning_rate,
        .momentum = (float)options->momentum,
        .weight_decay = (float)options->weight_decay,
        .nesterov = options->nesterov,
        .first = optimizer->steps == 0,
    };
    return device->operations->sgd(device, &sgd, optimizer->count, parameters, gradients, optimizer->states[0], error);
}

int optimizer_step(struct optimizer *optimizer, const struct device *device, float *parameters, float *gradients,
                   struct kernel_error *error)
{
    int done = clip(optimizer, device, gradients, error);
    if (done == 0) {
        switch (optimizer->options.kind) {
        case OPTIMIZER_SGD: done = step_sgd(optimizer, device, parameters, gradients, error); break;
        case OPTIMIZER_RMSPROP: done = step_rmsprop(optimizer, device, parameters, gradients, error); break;
        case OPTIMIZER_ADAM:
        case OPTIMIZER_ADAMW: done = step_adam(optimizer, device, parameters, gradients, error); break;
        }
    }
    if (done < 0) {
        return -1;
    }
    optimizer->steps++;
    return 0;
}

int optimizer_step_part(struct optimizer *optimizer, const struct device *device, size_t first, size_t count,
                        float *parameters, float *gradients, struct kernel_error *error)
{
    struct optimizer part = *optimizer;
    part.count = count;
    for (size_t i = 0; i < part.state_count; i++) {
        part.states[i] += first;
    }
    return optimizer_step(&part, device, parameters + first, gradients + first, error);
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
    static const char *const state_names[OPTIMIZER_COUNT][2] = {
        [OPTIMIZER_SGD] = {"momentum", NULL}, [OPTIMIZER_ADAM] = {"m", "v"}, [OPTIMIZER_ADAMW] = {"m", "v"},
        [OPTIMIZER_RMSPROP] = {"square", "momentum"}};
    if (index >= optimizer->state_count) {
        *name = NULL;
        return NULL;
    }
    *name = state_names[optimizer->options.kind][index];
    return optimizer->states[index];
}
