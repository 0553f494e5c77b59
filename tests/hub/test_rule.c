/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rule.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

struct number {
    const char *name;
    double value;
};

static bool value_of(void *data, const char *name, double *number)
{
    for (const struct number *at = data; at->name; at++)
        if (!strcmp(at->name, name)) {
            *number = at->value;
            return true;
        }
    return false;
}

static bool holds(const char *text, struct number *numbers)
{
    bson_error_t error;
    struct rule *rule = rule_parse(text, &error);
    cr_assert_not_null(rule, "%s", error.message);
    bool result = rule_holds(rule, value_of, numbers);
    rule_free(rule);
    return result;
}

static void refused(const char *text, const char *message)
{
    bson_error_t error = {0};
    struct rule *rule = rule_parse(text, &error);
    cr_expect_null(rule, "accepted: %s", text);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID);
    cr_expect_str_eq(error.message, message);
    rule_free(rule);
}

Test(rule, conditions_hold_as_they_read)
{
    struct number numbers[] = {{"time", 7201}, {"error_rate", 0.5}, {"loss", NAN}, {"step", 10}, {"huge", INFINITY}, {NULL, 0}};
    cr_expect(holds("stop when time > 2h and error_rate > 0.40", numbers));
    cr_expect(!holds("stop when time > 2h and error_rate > 60%", numbers));
    cr_expect(holds("stop when time > 3h or error_rate >= 50%", numbers));
    cr_expect(holds("warn when loss is nan", numbers));
    cr_expect(!holds("warn when loss is not nan", numbers));
    cr_expect(!holds("stop when loss > 1 or loss < 1 or loss = 1 or loss != 1", numbers));
    cr_expect(holds("stop when huge is infinite and step is not infinite", numbers));
    cr_expect(holds("fail when accuracy is missing", numbers));
    cr_expect(!holds("fail when accuracy < 0.9", numbers));
    cr_expect(holds("stop when not accuracy >= 0.9 and step == 1e1", numbers));
    cr_expect(holds("stop when step < time", numbers));
    cr_expect(holds("stop when step>-3 and step<=+10", numbers));
}

Test(rule, and_binds_more_than_or_and_brackets_more_than_both)
{
    struct number numbers[] = {{"a", 1}, {"b", 0}, {NULL, 0}};
    cr_expect(holds("stop when a = 1 or b = 1 and b = 1", numbers));
    cr_expect(!holds("stop when (a = 1 or b = 1) and b = 1", numbers));
    cr_expect(holds("stop when not (b = 1 and a = 1)", numbers));
    cr_expect(!holds("stop when not b = 1 and a = 2", numbers));
}

/* In which epoch, from 1, the rule holds first; 0: in none. */
static int first(const char *text, const double *losses, int count)
{
    bson_error_t error;
    struct rule *rule = rule_parse(text, &error);
    int found = 0;
    cr_assert_not_null(rule, "%s", error.message);
    for (int i = 0; i < count && !found; i++) {
        struct number numbers[] = {{"loss", losses[i]}, {NULL, 0}};
        found = rule_holds(rule, value_of, numbers) ? i + 1 : 0;
    }
    rule_free(rule);
    return found;
}

Test(rule, a_plateau_is_so_many_epochs_without_a_better_one)
{
    static const double losses[] = {5, 4, 4.5, 3.9, 3.95, NAN, 3.91, 1};
    cr_expect_eq(first("stop when loss has not fallen for 3 epochs", losses, 8), 7);
    cr_expect_eq(first("stop when loss has not fallen for 2 epochs by 0.5", losses, 8), 4);
    cr_expect_eq(first("stop when loss has not fallen for 4 epochs", losses, 8), 0);
    cr_expect_eq(first("stop when loss has not risen for 2 epochs", losses, 8), 3);
    /* What does not decide still counts. */
    cr_expect_eq(first("stop when loss < 3.93 and loss has not fallen for 3 epochs", losses, 8), 7);
}

Test(rule, what_is_wrong_is_said_with_the_word)
{
    refused("", "rule '': at 'its end': a rule begins with 'stop when', 'fail when' or 'warn when'");
    refused("halt when a > 1", "rule 'halt when a > 1': at 'halt': a rule begins with 'stop when', 'fail when' or 'warn when'");
    refused("stop if a > 1", "rule 'stop if a > 1': at 'if': after what is to be done stands 'when'");
    refused("stop when a", "rule 'stop when a': at 'its end': after a name stands > >= < <= = !=, 'is', or 'has not'");
    refused("stop when a > 1x", "rule 'stop when a > 1x': at '1x': it is neither a number, such as 0.4, 90s or 40%, nor a name");
    refused("stop when (a > 1", "rule 'stop when (a > 1': at 'its end': a ( has no )");
    refused("stop when a > 1 b", "rule 'stop when a > 1 b': at 'b': here it should end, or go on with 'and' or 'or'");
    refused("stop when loss has not fallen for 0 epochs",
            "rule 'stop when loss has not fallen for 0 epochs': at '0': for how many epochs must be a whole number above 0");
    refused("stop when loss is good", "rule 'stop when loss is good': at 'good': after is stands nan, infinite or missing");
}
