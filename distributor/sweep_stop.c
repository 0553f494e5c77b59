/* SPDX-License-Identifier: Apache-2.0 */
/* What ends points before they are through, and the whole sweep: early_terminate, target, budget. */
#include "distributor/asha.h"
#include "distributor/sweep_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line of the sweep file is refused. */
#define REFUSE(sweep, where, ...) sweep_refuse(error, (sweep)->file_name, (where), __VA_ARGS__)

bool sweep_is_watched(const struct sweep *sweep)
{
    return search_learns(sweep->method) || sweep->early.type || sweep->has_target || sweep->budget_tasks ||
           sweep->budget_seconds > 0 || sweep->budget_flops > 0 || sweep->keep_weights > 0;
}

static int read_whole(const struct sweep *sweep, const struct yaml_tree_node *map, const char *key, int64_t least,
                      int64_t *number, bson_error_t *error)
{
    const struct yaml_tree_node *node = yaml_tree_get(map, key);
    if (!node)
        return 0;
    if (node->kind != YAML_TREE_INT || node->integer < least || node->integer > 1000000)
        return REFUSE(sweep, node->line, "%s must be an integer in [%lld, 1000000]", key, (long long)least);
    *number = node->integer;
    return 0;
}

int sweep_append_rungs(const struct sweep *sweep, int64_t end, bson_t *task)
{
    const struct stop_early_options *early = &sweep->early;
    int64_t epochs[ASHA_RUNGS];
    bson_t rungs, list;
    if (early->type != STOP_EARLY_ASHA)
        return 0;
    size_t count = asha_rungs(early->least, early->eta, end < early->most ? end : early->most, epochs);
    bool done = BSON_APPEND_DOCUMENT_BEGIN(task, "rungs", &rungs) && BSON_APPEND_ARRAY_BEGIN(&rungs, "epochs", &list);
    for (size_t i = 0; done && i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%zu", i);
        done = BSON_APPEND_INT64(&list, key, epochs[i]);
    }
    done = done && bson_append_array_end(&rungs, &list) &&
           (!sweep_is_outside(sweep) || BSON_APPEND_INT64(&rungs, "end", early->most)) &&
           bson_append_document_end(task, &rungs);
    return done ? 0 : -1;
}

/* The keys that a map may have. */
static int check_keys(const struct sweep *sweep, const struct yaml_tree_node *node, const char *where,
                      const char *const *known, bson_error_t *error)
{
    if (node->kind != YAML_TREE_MAP)
        return REFUSE(sweep, node->line, "%s must be a map, not %s", where, yaml_tree_kind_name(node->kind));
    for (size_t i = 0; i < node->count; i++) {
        size_t j = 0;
        while (known[j] && strcmp(known[j], node->keys[i]->text))
            j++;
        if (!known[j])
            return sweep_refuse_key(sweep, node->keys[i], where, known, error);
    }
    return 0;
}

/* W&B says either where the first rung is, or how many there are below max_iter. */
static int read_rungs(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    struct stop_early_options *early = &sweep->early;
    int64_t most = 0, rungs = 0;
    if (read_whole(sweep, node, "eta", 2, &early->eta, error) || read_whole(sweep, node, "max_iter", 1, &most, error) ||
        read_whole(sweep, node, "s", 1, &rungs, error))
        return -1;
    if (early->type == STOP_EARLY_ASHA) {
        early->most = most ? most : SWEEP_EPOCHS;
        return early->least < early->most ? 0 : REFUSE(sweep, node->line, "min_iter of early_terminate must be below max_iter");
    }
    if (!most != !rungs || (most && yaml_tree_get(node, "min_iter")))
        return REFUSE(sweep, node->line, "early_terminate of type hyperband needs min_iter, or max_iter and s");
    for (early->least = most ? most : early->least; rungs > 0; rungs--)
        early->least /= early->eta;
    early->least = early->least > 0 ? early->least : 1;
    return 0;
}

int sweep_take_early(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    static const char *const of_median[] = {"type", "min_iter", "interval", "startup", NULL},
                             *const of_halving[] = {"type", "min_iter", "eta", "s", "max_iter", "startup", NULL},
                             *const of_asha[] = {"type", "min_iter", "eta", "max_iter", NULL},
                             *const all[] = {"type", "min_iter", "interval", "eta", "s", "max_iter", "startup", NULL};
    struct stop_early_options *early = &sweep->early;
    const struct yaml_tree_node *type;
    if (check_keys(sweep, node, "early_terminate", all, error))
        return -1;
    type = yaml_tree_get(node, "type");
    const char *name = type && type->kind == YAML_TREE_STRING ? type->text : "";
    bool median = !strcmp(name, "median"), asha = !strcmp(name, "asha");
    if (!median && !asha && strcmp(name, "hyperband") && strcmp(name, "halving"))
        return REFUSE(sweep, type ? type->line : node->line, "early_terminate needs type: median, asha, hyperband or halving");
    *early = (struct stop_early_options){.type = median ? STOP_EARLY_MEDIAN : asha ? STOP_EARLY_ASHA : STOP_EARLY_HALVING,
                                         .least = 1,
                                         .interval = 1,
                                         .eta = 3,
                                         .startup = median ? 5 : 2};
    if (check_keys(sweep, node, median ? "early_terminate of type median" : "early_terminate of this type",
                   median ? of_median : asha ? of_asha : of_halving, error) ||
        read_whole(sweep, node, "min_iter", 1, &early->least, error) ||
        read_whole(sweep, node, "interval", 1, &early->interval, error) ||
        read_whole(sweep, node, "startup", 0, &early->startup, error))
        return -1;
    return median ? 0 : read_rungs(sweep, node, error);
}

int sweep_take_target(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    if ((node->kind != YAML_TREE_INT && node->kind != YAML_TREE_FLOAT) || !isfinite(node->number))
        return REFUSE(sweep, node->line, "target must be a number: what the metric is to reach");
    sweep->has_target = true;
    sweep->target = node->number;
    return 0;
}

/* Seconds, or "90s", "10m", "2h", "3d". */
static bool read_time(const struct yaml_tree_node *node, double *seconds)
{
    static const char units[] = "smhd";
    static const double factors[] = {1, 60, 3600, 86400};
    char *end = NULL;
    *seconds = node->number;
    if (node->kind == YAML_TREE_INT || node->kind == YAML_TREE_FLOAT)
        return *seconds > 0 && isfinite(*seconds);
    if (node->kind != YAML_TREE_STRING)
        return false;
    *seconds = strtod(node->text, &end);
    const char *unit = end == node->text || !*end || end[1] ? NULL : strchr(units, *end);
    *seconds *= unit ? factors[unit - units] : 0;
    return *seconds > 0 && isfinite(*seconds);
}

int sweep_take_budget(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    static const char *const known[] = {"tasks", "time", "flops", NULL};
    if (check_keys(sweep, node, "budget", known, error) ||
        read_whole(sweep, node, "tasks", 1, &sweep->budget_tasks, error))
        return -1;
    const struct yaml_tree_node *time = yaml_tree_get(node, "time"), *flops = yaml_tree_get(node, "flops");
    if (time && !read_time(time, &sweep->budget_seconds))
        return REFUSE(sweep, time->line, "time of budget must be seconds, or a time such as 90s, 10m, 2h, 3d");
    if (flops && ((flops->kind != YAML_TREE_INT && flops->kind != YAML_TREE_FLOAT) || !(flops->number > 0)))
        return REFUSE(sweep, flops->line, "flops of budget must be a number above 0");
    sweep->budget_flops = flops ? flops->number : 0;
    return 0;
}

int sweep_take_keep_weights(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    const char *digits = node->kind == YAML_TREE_STRING && !strncmp(node->text, "best ", 5) ? node->text + 5 : "";
    size_t length = strspn(digits, "0123456789");
    if (length < 1 || length > 6 || digits[length] || *digits == '0')
        return REFUSE(sweep, node->line, "keep_weights must be best N, such as best 20: of so many models, by the metric");
    sweep->keep_weights = strtoll(digits, NULL, 10);
    return 0;
}

/* Whose weights are the best is a matter of the metric, and of models. */
static int settle_keep_weights(struct sweep *sweep, bool metric, bson_error_t *error)
{
    const struct yaml_tree_node *node = yaml_tree_get(sweep->tree->root, "keep_weights");
    bson_iter_t kind;
    if (!node)
        return 0;
    if (!metric)
        return REFUSE(sweep, node->line, "keep_weights needs a metric {name: …, goal: maximize | minimize}");
    if (bson_iter_init_find(&kind, &sweep->fields, "kind") && strcmp(bson_iter_utf8(&kind, NULL), "train"))
        return REFUSE(sweep, node->line, "keep_weights: tasks of kind %s make no models", bson_iter_utf8(&kind, NULL));
    return 0;
}

int sweep_settle_stops(struct sweep *sweep, bson_error_t *error)
{
    const struct yaml_tree_node *early = yaml_tree_get(sweep->tree->root, "early_terminate");
    bson_iter_t name;
    bool metric = bson_iter_init_find(&name, &sweep->metric, "name");
    sweep->early.parallel = sweep->parallel;
    if (settle_keep_weights(sweep, metric, error))
        return -1;
    if ((early || sweep->has_target) && !metric)
        return hub_error(error, HUB_ERROR_INVALID, "%s: %s needs a metric {name: …, goal: maximize | minimize}",
                         sweep->file_name, early ? "early_terminate" : "target");
    if (!early)
        return 0;
    if (sweep->seeds > 1)
        return REFUSE(sweep, early->line, "early_terminate judges single runs; leave seeds out");
    if (!strncmp(bson_iter_utf8(&name, NULL), "test_", 5))
        return REFUSE(sweep, early->line, "early_terminate looks at every epoch, and %.100s is measured at the end",
                      bson_iter_utf8(&name, NULL));
    if (sweep->early.type == STOP_EARLY_ASHA && sweep_is_outside(sweep) && sweep->early.most == SWEEP_EPOCHS)
        return REFUSE(sweep, early->line, "early_terminate of type asha needs max_iter where another program trains");
    return sweep_is_outside(sweep) && sweep->early.type != STOP_EARLY_ASHA ? REFUSE(sweep, early->line, "early_terminate reads logs; kind outside has none") : 0;
}
