/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/rule_names.h"

#include "hub/rule.h"
#include "kernels/metrics.h"

#include <string.h>

static bool is_known(const char *name)
{
    static const char *const own[] = {"time", "epoch", "epochs", "step", "learning_rate", "train_loss", "train_accuracy"};
    enum metric metric;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(own[i], name))
            return true;
    if (!strncmp(name, "validation_", 11))
        name += 11;
    else if (!strncmp(name, "train_", 6))
        name += 6;
    return !strcmp(name, "error_rate") || metric_find(name, &metric);
}

static int check(const char *text, bson_error_t *error)
{
    struct rule *rule = rule_parse(text, error);
    const char *name;
    int result = rule ? 0 : -1;
    for (size_t i = 0; !result && (name = rule_name(rule, i)); i++)
        if (!is_known(name))
            result = hub_error(error, HUB_ERROR_INVALID,
                               "rule '%.200s': nothing is called '%s'; there are time, epoch, epochs, step, learning_rate, "
                               "error_rate and the metrics, also behind train_ and validation_", text, name);
    rule_free(rule);
    return result;
}

int rule_names_check(const bson_t *fields, const char **field, bson_error_t *error)
{
    bson_iter_t at, each;
    int result = 0;
    if (!bson_iter_init_find(&at, fields, "rules"))
        return 0;
    if (!BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &each))
        result = hub_error(error, HUB_ERROR_INVALID, "rules: must be a list of texts");
    while (!result && bson_iter_next(&each))
        result = BSON_ITER_HOLDS_UTF8(&each) ? check(bson_iter_utf8(&each, NULL), error)
                                             : hub_error(error, HUB_ERROR_INVALID, "rules: must be a list of texts");
    if (result && field)
        *field = "rules";
    return result;
}
