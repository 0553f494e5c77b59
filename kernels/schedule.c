/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/schedule.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define PI 3.14159265358979323846
#define EPOCHS_MOST 1e6
#define STEPS_MOST 1e12

enum {
    FOR_STEP = 1 << SCHEDULE_STEP,
    FOR_GAMMA = 1 << SCHEDULE_STEP | 1 << SCHEDULE_EXPONENTIAL,
    FOR_FALLING = FOR_GAMMA | 1 << SCHEDULE_COSINE,
    FOR_ALL = FOR_FALLING | 1 << SCHEDULE_CONSTANT
};

static const struct field {
    const char *name;
    unsigned schedules;
    bool whole;
    size_t offset; /* of an int64_t where whole, else of a double */
    double minimum, maximum;
    bool minimum_excluded;
    const char *range, *others;
} fields[] = {
    {"step_epochs", FOR_STEP, true, offsetof(struct schedule, step_epochs), 1, EPOCHS_MOST, false,
     "an integer from 1 to 1000000", "step"},
    {"gamma", FOR_GAMMA, false, offsetof(struct schedule, gamma), 0, 1, true, "above 0 and at most 1",
     "step or exponential"},
    {"min_learning_rate", FOR_FALLING, false, offsetof(struct schedule, min_learning_rate), 0, 1000, false,
     "from 0 to 1000", "step, exponential or cosine"},
    {"warmup_epochs", FOR_ALL, true, offsetof(struct schedule, warmup_epochs), 0, EPOCHS_MOST, false,
     "an integer from 0 to 1000000", ""},
    {"warmup_steps", FOR_ALL, true, offsetof(struct schedule, warmup_steps), 0, STEPS_MOST, false,
     "an integer from 0 to 1e12", ""},
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

static const char *const names[SCHEDULE_COUNT] = {
    [SCHEDULE_CONSTANT] = "constant", [SCHEDULE_STEP] = "step", [SCHEDULE_EXPONENTIAL] = "exponential",
    [SCHEDULE_COSINE] = "cosine"};

const char *schedule_name(enum schedule_kind kind)
{
    return names[kind];
}

const char *schedule_names(void)
{
    return "constant, step, exponential or cosine";
}

int schedule_init(struct schedule *schedule, const char *name, struct kernel_error *error)
{
    *schedule = (struct schedule){.kind = SCHEDULE_CONSTANT, .gamma = 1.0};
    for (int kind = 0; name != NULL && kind < SCHEDULE_COUNT; kind++) {
        if (strcmp(name, names[kind]) == 0) {
            schedule->kind = (enum schedule_kind)kind;
            schedule->gamma = kind == SCHEDULE_STEP ? 0.1 : kind == SCHEDULE_EXPONENTIAL ? 0.95 : 1.0;
            return 0;
        }
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "schedule: \"%.40s\" is not known: use %s",
                            name != NULL ? name : "", schedule_names());
}

int schedule_set(struct schedule *schedule, const char *name, double value, struct kernel_error *error)
{
    const struct field *field = fields;
    while (field < fields + FIELD_COUNT && strcmp(field->name, name) != 0) {
        field++;
    }
    if (field == fields + FIELD_COUNT) {
        return 0;
    }
    if ((field->schedules & 1u << schedule->kind) == 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: the schedule %s has no such hyper-parameter: leave it out "
                                "or use %s", name, names[schedule->kind], field->others);
    }
    bool low = field->minimum_excluded ? value > field->minimum : value >= field->minimum;
    if (!low || !(value <= field->maximum) || (field->whole && value != floor(value))) { /* true for NaN */
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "%s: %g is out of range: it must be %s", name, value,
                                field->range);
    }
    if (field->whole) {
        int64_t number = (int64_t)value;
        memcpy((char *)schedule + field->offset, &number, sizeof number);
    } else {
        memcpy((char *)schedule + field->offset, &value, sizeof value);
    }
    return 1;
}

int schedule_check(const struct schedule *schedule, double learning_rate, struct kernel_error *error)
{
    if (schedule->kind == SCHEDULE_STEP && schedule->step_epochs < 1) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "step_epochs: the schedule step needs it: every how many epochs "
                                "the rate falls");
    }
    if (schedule->min_learning_rate > learning_rate) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "min_learning_rate: %g is above the learning_rate %g",
                                schedule->min_learning_rate, learning_rate);
    }
    if (schedule->warmup_epochs > 0 && schedule->warmup_steps > 0) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "warmup_steps: there are warmup_epochs too: leave one out");
    }
    return 0;
}

int schedule_is_constant(const struct schedule *schedule)
{
    return schedule->kind == SCHEDULE_CONSTANT && schedule->warmup_epochs == 0 && schedule->warmup_steps == 0;
}

double schedule_rate(const struct schedule *schedule, double learning_rate, const struct schedule_position *at)
{
    double step = (double)at->step, rate = learning_rate;
    double all = (double)at->epochs * (double)at->steps_per_epoch;
    double warm = schedule->warmup_epochs > 0 ? (double)schedule->warmup_epochs * (double)at->steps_per_epoch
                                              : (double)schedule->warmup_steps;
    switch (schedule->kind) {
    case SCHEDULE_CONSTANT:
        break;
    case SCHEDULE_STEP:
        rate *= pow(schedule->gamma, (double)(at->epoch / schedule->step_epochs));
        break;
    case SCHEDULE_EXPONENTIAL:
        rate *= pow(schedule->gamma, (double)at->epoch);
        break;
    case SCHEDULE_COSINE: {
        double done = step <= warm || all <= warm ? 0.0 : step >= all ? 1.0 : (step - warm) / (all - warm);
        rate = schedule->min_learning_rate + (rate - schedule->min_learning_rate) * 0.5 * (1.0 + cos(PI * done));
        break;
    }
    }
    rate = rate > schedule->min_learning_rate ? rate : schedule->min_learning_rate;
    return step < warm ? rate * (step + 1.0) / warm : rate;
}
