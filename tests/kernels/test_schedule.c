/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/schedule.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static double rate(const struct schedule *schedule, int64_t step)
{
    struct schedule_position at = {.epoch = step / 10, .step = step, .steps_per_epoch = 10, .epochs = 20};
    return schedule_rate(schedule, 0.8, &at);
}

static struct schedule make(const char *name)
{
    struct schedule schedule;
    struct kernel_error error = {0};
    cr_assert_eq(schedule_init(&schedule, name, &error), 0, "%s", error.message);
    return schedule;
}

static void set(struct schedule *schedule, const char *field, double value)
{
    struct kernel_error error = {0};
    cr_assert_eq(schedule_set(schedule, field, value, &error), 1, "%s: %s", field, error.message);
}

Test(schedule, rates_follow_the_formulas)
{
    struct schedule constant = make("constant"), step = make("step"), falling = make("exponential");
    struct schedule cosine = make("cosine");
    cr_expect(rate(&constant, 0) == 0.8 && rate(&constant, 199) == 0.8);
    set(&step, "step_epochs", 5);
    cr_expect(rate(&step, 0) == 0.8 && rate(&step, 49) == 0.8);
    cr_expect_float_eq(rate(&step, 50), 0.08, 1e-15);
    cr_expect_float_eq(rate(&step, 199), 0.0008, 1e-15);
    set(&step, "min_learning_rate", 0.01);
    cr_expect_eq(rate(&step, 199), 0.01);
    set(&falling, "gamma", 0.5);
    cr_expect_float_eq(rate(&falling, 39), 0.1, 1e-15);
    cr_expect_eq(rate(&cosine, 0), 0.8);
    cr_expect_float_eq(rate(&cosine, 100), 0.4, 1e-15);
    cr_expect_gt(rate(&cosine, 199), 0);
    cr_expect_float_eq(rate(&cosine, 200), 0, 1e-15);
    set(&cosine, "min_learning_rate", 0.2);
    cr_expect_float_eq(rate(&cosine, 100), 0.5, 1e-15);
    cr_expect_float_eq(rate(&cosine, 1000), 0.2, 1e-15);
}

Test(schedule, warm_up_rises_in_a_line)
{
    struct schedule constant = make("constant"), cosine = make("cosine");
    set(&constant, "warmup_steps", 4);
    for (int64_t s = 0; s < 4; s++) {
        cr_expect_float_eq(rate(&constant, s), 0.2 * (double)(s + 1), 1e-15);
    }
    cr_expect_eq(rate(&constant, 4), 0.8);
    cr_expect(!schedule_is_constant(&constant));
    set(&cosine, "warmup_epochs", 10);
    cr_expect_float_eq(rate(&cosine, 49), 0.4, 1e-15);
    cr_expect_float_eq(rate(&cosine, 99), 0.8, 1e-15);
    cr_expect_float_eq(rate(&cosine, 150), 0.4, 1e-15, "the rest of the steps is the cosine's");
    set(&cosine, "warmup_epochs", 1000);
    cr_expect(isfinite(rate(&cosine, 199)), "longer than the training");
}

Test(schedule, what_is_out_of_range_is_refused_by_name)
{
    static const struct {
        const char *schedule, *field;
        double value;
    } bad[] = {{"step", "step_epochs", 0},        {"step", "step_epochs", 1.5},    {"step", "step_epochs", NAN},
               {"cosine", "step_epochs", 3},      {"step", "gamma", 0},            {"exponential", "gamma", 1.5},
               {"constant", "gamma", 0.5},        {"cosine", "gamma", 0.5},        {"cosine", "min_learning_rate", -1},
               {"constant", "min_learning_rate", 0.1}, {"constant", "warmup_steps", -1}, {"step", "warmup_epochs", 0x1p63},
               {"step", "warmup_epochs", INFINITY}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kernel_error error = {0};
        struct schedule schedule = make(bad[i].schedule);
        cr_expect_eq(schedule_set(&schedule, bad[i].field, bad[i].value, &error), -1, "%s %g", bad[i].field, bad[i].value);
        cr_expect_eq(strncmp(error.message, bad[i].field, strlen(bad[i].field)), 0, "%s", error.message);
    }
    struct kernel_error error = {0};
    struct schedule schedule = make("step");
    cr_expect_eq(schedule_set(&schedule, "colour", 1, &error), 0);
    cr_expect_eq(schedule_check(&schedule, 0.1, &error), -1);
    cr_expect_not_null(strstr(error.message, "step_epochs"));
    set(&schedule, "step_epochs", 2);
    cr_expect_eq(schedule_check(&schedule, 0.1, &error), 0);
    set(&schedule, "min_learning_rate", 0.2);
    cr_expect_eq(schedule_check(&schedule, 0.1, &error), -1);
    cr_expect_not_null(strstr(error.message, "min_learning_rate"));
    set(&schedule, "min_learning_rate", 0.0);
    set(&schedule, "warmup_epochs", 1);
    set(&schedule, "warmup_steps", 1);
    cr_expect_eq(schedule_check(&schedule, 0.1, &error), -1);
    cr_expect_eq(schedule_init(&schedule, "plateau", &error), -1);
    cr_expect_not_null(strstr(error.message, "plateau"));
}
