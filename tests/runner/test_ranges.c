/* SPDX-License-Identifier: Apache-2.0 */
/* What is out of range in a task that nobody checked (a client in another language wrote it) is refused while it is read, naming
 * the field: nothing of its size has been allocated by then. */
#include "fixture.h"

#include "runner/recipe.h"

TestSuite(ranges, .init = open_hub, .fini = close_hub, .timeout = 120);

/* Of a task whose field (a hyper-parameter, or one of its own) has this value. */
static void expect_refused(const char *field, bool own, const char *value, const char *more)
{
    struct recipe recipe;
    bson_t *task = own ? json("{'dataset': 'blobs', 'architecture': 'dense:3', '%s': %s}", field, value)
                       : json("{'dataset': 'blobs', 'architecture': 'dense:3', 'hyper_parameters': {'%s': %s%s}}", field, value, more);
    memset(error, 0, sizeof *error);
    recipe_init(&recipe);
    cr_expect_eq(recipe_read(&recipe, hub, task, error), -1, "%s %s", field, value);
    cr_expect_eq(hub_error_code(error), HUB_ERROR_INVALID, "%s %s: %s", field, value, error->message);
    cr_expect_not_null(strstr(error->message, field), "%s %s: %s", field, value, error->message);
    recipe_destroy(&recipe);
    bson_destroy(task);
}

#define LONG_2_31 "{'$numberLong': '2147483648'}"
#define LONG_2_63 "{'$numberLong': '9223372036854775807'}"
#define NOT_A_NUMBER "{'$numberDouble': 'NaN'}"
#define INFINITE "{'$numberDouble': 'Infinity'}"

Test(ranges, integers_of_training)
{
    static const char *const fields[] = {"epochs", "batch_size", "window", "horizon"};
    static const char *const values[] = {"0", "-1", LONG_2_31, LONG_2_63, "{'$numberLong': '-9223372036854775808'}", "1.5", "'ten'",
                                         NOT_A_NUMBER, INFINITE, "true", "[1]", "{}"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        for (size_t j = 0; j < sizeof values / sizeof *values; j++)
            expect_refused(fields[i], false, values[j], ", 'recipe': 'forecast'");
    expect_refused("batch_size", false, "600000", ", 'recipe': 'gan'");
    expect_refused("seed", false, "-1", "");
}

Test(ranges, numbers_of_optimisers_and_schedules)
{
    static const struct { const char *field, *with, *also; } cases[] = {
        {"learning_rate", "", "0"},
        {"momentum", ", 'optimizer': 'sgd'", "1"},
        {"beta1", "", "1"},
        {"beta2", "", "1"},
        {"alpha", ", 'optimizer': 'rmsprop'", "1"},
        {"epsilon", "", "-1"},
        {"weight_decay", "", "-1"},
        {"clip_norm", "", "0"},
        {"clip_value", "", "0"},
        {"gamma", ", 'schedule': 'exponential'", "0"},
        {"step_epochs", ", 'schedule': 'step', 'gamma': 0.5", "0"},
        {"min_learning_rate", ", 'schedule': 'cosine'", "-1"},
        {"warmup_epochs", "", "-1"},
        {"warmup_steps", "", "-1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const values[] = {"-0.5", NOT_A_NUMBER, INFINITE, "'much'"};
        for (size_t j = 0; j < sizeof values / sizeof *values; j++)
            expect_refused(cases[i].field, false, values[j], cases[i].with);
        expect_refused(cases[i].field, false, cases[i].also, cases[i].with);
    }
}

Test(ranges, options_of_the_task)
{
    static const char *const fields[] = {"threads", "log_every", "checkpoint_every", "max_rollbacks", "top_k"};
    static const char *const values[] = {"-1", LONG_2_63, "1.5", "'ten'", NOT_A_NUMBER, "[1]"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        for (size_t j = 0; j < sizeof values / sizeof *values; j++)
            expect_refused(fields[i], true, values[j], "");
    static const struct { const char *field, *value; } others[] = {
        {"checkpoint_minutes", "-1"},      {"checkpoint_minutes", NOT_A_NUMBER}, {"checkpoint_minutes", INFINITE},
        {"checkpoint_minutes", "'often'"}, {"rollback_factor", "0"},             {"rollback_factor", "1"},
        {"rollback_factor", NOT_A_NUMBER}, {"on_nonfinite", "'pray'"},           {"keep", "'all'"},
        {"keep", "'every 0 epochs'"},    {"keep", "'every 5 years'"},          {"keep", "5"},
        {"keep", "0"},                     {"metrics", "'accuracy'"},            {"metrics", "['luck']"},
        {"hyper_parameters", "[]"},        {"seed", "-1"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        expect_refused(others[i].field, true, others[i].value, "");
}
