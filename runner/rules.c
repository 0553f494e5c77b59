/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/rules.h"

#include <stdlib.h>
#include <string.h>

enum { RULES = 32 };

struct rules {
    struct rule *rules[RULES];
    bool warned[RULES];
    size_t count;
};

int rules_new(const bson_t *task, struct rules **rules, bson_error_t *error)
{
    bson_iter_t at, each;
    *rules = NULL;
    if (!bson_iter_init_find(&at, task, "rules") || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &each))
        return 0;
    *rules = calloc(1, sizeof **rules);
    if (!*rules)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the rules");
    while (bson_iter_next(&each)) {
        struct rule *rule = NULL;
        if (!BSON_ITER_HOLDS_UTF8(&each) || (*rules)->count == RULES)
            hub_error(error, HUB_ERROR_INVALID, "rules: must be at most %d texts", RULES);
        else
            rule = rule_parse(bson_iter_utf8(&each, NULL), error);
        if (!rule) {
            rules_free(*rules);
            *rules = NULL;
            return -1;
        }
        (*rules)->rules[(*rules)->count++] = rule;
    }
    return 0;
}

void rules_free(struct rules *rules)
{
    for (size_t i = 0; rules && i < rules->count; i++)
        rule_free(rules->rules[i]);
    free(rules);
}

static bool metric_of(const struct result_scores *scores, const char *name, double *number)
{
    enum metric metric;
    int split = scores->splits[RESULT_VALIDATION].known ? RESULT_VALIDATION : RESULT_TRAIN;
    for (int i = RESULT_TRAIN; i <= RESULT_VALIDATION; i++) {
        size_t length = strlen(result_split_names[i]);
        if (!strncmp(name, result_split_names[i], length) && name[length] == '_') {
            split = i;
            name += length + 1;
            break;
        }
    }
    if (!strcmp(name, "error_rate") && batch_metric(&scores->splits[split], METRIC_ACCURACY, number)) {
        *number = 1 - *number;
        return true;
    }
    return metric_find(name, &metric) && batch_metric(&scores->splits[split], metric, number);
}

static bool value_of(void *data, const char *name, double *number)
{
    const struct rules_state *state = data;
    const struct {
        const char *name;
        double value;
    } own[] = {{"time", state->seconds},
               {"learning_rate", state->learning_rate},
               {"epoch", (double)state->epoch},
               {"epochs", (double)state->epochs},
               {"step", (double)state->step}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(own[i].name, name)) {
            *number = own[i].value;
            return true;
        }
    return metric_of(state->scores, name, number);
}

const struct rule *rules_ask(struct rules *rules, const struct rules_state *state,
                             void (*warn)(void *data, const char *text), void *data)
{
    const struct rule *first = NULL;
    struct rules_state copy = *state;
    for (size_t i = 0; rules && i < rules->count; i++) {
        struct rule *rule = rules->rules[i];
        if (!rule_holds(rule, value_of, &copy)) /* all are asked: they may count epochs */
            continue;
        if (rule_action(rule) != RULE_WARN) {
            first = first ? first : rule;
        } else if (!rules->warned[i]) {
            rules->warned[i] = true;
            warn(data, rule_text(rule));
        }
    }
    return first;
}
