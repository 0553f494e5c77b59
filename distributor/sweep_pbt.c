/* SPDX-License-Identifier: Apache-2.0 */
/* Sweeps whose members train by generations: method pbt. */
#include "distributor/sweep_impl.h"

#include <string.h>

/* A line of the sweep file is refused. */
#define REFUSE(sweep, where, ...) sweep_refuse(error, (sweep)->file_name, (where), __VA_ARGS__)

int sweep_take_quantile(struct sweep *sweep, const struct yaml_tree_node *node, bson_error_t *error)
{
    if ((node->kind != YAML_TREE_FLOAT && node->kind != YAML_TREE_INT) || !(node->number > 0 && node->number <= 0.5))
        return REFUSE(sweep, node->line, "quantile must be a number above 0 and at most 0.5: the share that goes on from the best");
    sweep->quantile = node->number;
    return 0;
}

/* What the method cannot go with. */
static int check_keys(const struct sweep *sweep, bson_error_t *error)
{
    static const char *const others[] = {"seeds", "early_terminate", "startup", "run_cap"};
    const struct yaml_tree_node *root = sweep->tree->root;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (yaml_tree_get(root, others[i]))
            return REFUSE(sweep, yaml_tree_get(root, others[i])->line, "%s does not go with method pbt", others[i]);
    bson_iter_t kind;
    if (bson_iter_init_find(&kind, &sweep->fields, "kind") && strcmp(bson_iter_utf8(&kind, NULL), "train"))
        return REFUSE(sweep, yaml_tree_get(root, "kind")->line, "method pbt trains: leave kind out");
    return 0;
}

int sweep_count_generations(struct sweep *sweep, int64_t *points, bson_error_t *error)
{
    const struct sweep_parameter *epochs = sweep_parameter_find(sweep, "epochs", 6);
    const struct yaml_tree_node *every = yaml_tree_get(sweep->tree->root, "every");
    if (check_keys(sweep, error))
        return -1;
    if (!every)
        return hub_error(error, HUB_ERROR_INVALID, "%s: method pbt needs every: how many epochs a generation trains", sweep->file_name);
    if (!epochs || epochs->range || epochs->count != 1 || epochs->values[0]->kind != YAML_TREE_INT ||
        epochs->values[0]->integer < 1 || epochs->values[0]->integer > SWEEP_EPOCHS)
        return REFUSE(sweep, epochs ? epochs->line : every->line,
                      "method pbt needs one value of epochs, in [1, %d]: what a member trains in all its generations", SWEEP_EPOCHS);
    sweep->epochs = epochs->values[0]->integer;
    sweep->population = sweep->population ? sweep->population : SEARCH_PBT_POPULATION;
    if (sweep->population < 2)
        return REFUSE(sweep, yaml_tree_get(sweep->tree->root, "population")->line, "population of method pbt must be at least 2");
    int64_t generations = (sweep->epochs + sweep->every - 1) / sweep->every;
    if (generations > SWEEP_POINTS / sweep->population)
        return REFUSE(sweep, every->line, "%lld generations of %lld points are more than %d; take more epochs to each",
                      (long long)generations, (long long)sweep->population, SWEEP_POINTS);
    *points = generations * sweep->population;
    return 0;
}

int64_t sweep_generation_end(const struct sweep *sweep, int64_t generation)
{
    int64_t end = (generation + 1) * sweep->every;
    return end < sweep->epochs ? end : 0;
}

void sweep_find_fixed(const struct sweep *sweep, bool *fixed)
{
    static const char *const shapes[] = {"recipe", "window", "horizon", "loss", "seed", "optimizer"};
    size_t next = 0;
    for (size_t i = 0; i < sweep->parameter_count; i++) {
        const struct sweep_parameter *parameter = &sweep->parameters[i];
        if (!parameter->range && parameter->count < 2)
            continue;
        fixed[next] = parameter->used || parameter->label;
        for (size_t j = 0; j < sizeof shapes / sizeof *shapes; j++)
            fixed[next] = fixed[next] || !strcmp(parameter->path, shapes[j]);
        next++;
    }
}
