/* SPDX-License-Identifier: Apache-2.0 */
/* Points that are drawn: from a place in the unit cube to values of the parameters, and back. */
#include "distributor/sweep_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool varies(const struct sweep_parameter *parameter)
{
    return parameter->range || parameter->count > 1;
}

int sweep_prepare_draw(struct sweep *sweep, bson_error_t *error)
{
    size_t count = 0;
    if (sweep->method == SEARCH_GRID)
        return 0;
    sweep->dimensions = calloc(sweep->parameter_count + 1, sizeof *sweep->dimensions);
    sweep->draw = calloc(1, sizeof *sweep->draw);
    if (!sweep->dimensions || !sweep->draw)
        return sweep_no_memory(sweep, error);
    sweep->draw->number = -1;
    for (size_t i = 0; i < sweep->parameter_count; i++) {
        struct sweep_parameter *parameter = &sweep->parameters[i];
        if (!parameter->range)
            parameter->dimension = (struct search_dimension){
                .kind = SEARCH_CHOICE, .choices = parameter->count, .ends = parameter->ends};
        if (varies(parameter))
            sweep->dimensions[count++] = parameter->dimension;
    }
    if (!count)
        return hub_error(error, HUB_ERROR_INVALID, "%s: method %s needs a parameter with several values, or with min and max",
                         sweep->file_name, search_method_name(sweep->method));
    sweep->space = (struct search_space){sweep->dimensions, count};
    sweep->draw->units = calloc(count, sizeof *sweep->draw->units);
    sweep->draw->nodes = calloc(sweep->parameter_count, sizeof *sweep->draw->nodes);
    return sweep->draw->units && sweep->draw->nodes ? 0 : sweep_no_memory(sweep, error);
}

void sweep_free_draw(struct sweep *sweep)
{
    if (sweep->draw) {
        free(sweep->draw->units);
        free(sweep->draw->nodes);
    }
    free(sweep->draw);
    free(sweep->dimensions);
}

void sweep_place(const struct sweep *sweep, int64_t number, const double *units)
{
    struct sweep_draw *draw = sweep->draw;
    size_t next = 0;
    draw->number = number;
    memmove(draw->units, units, sweep->space.count * sizeof *units);
    for (size_t i = 0; i < sweep->parameter_count; i++) {
        const struct sweep_parameter *parameter = &sweep->parameters[i];
        if (!varies(parameter))
            continue;
        double value = search_value(&parameter->dimension, draw->units[next++]);
        if (!parameter->range) {
            draw->nodes[i] = *parameter->values[(size_t)value];
            continue;
        }
        bool integer = parameter->integer && fabs(value) <= 0x1p53;
        draw->nodes[i] = (struct yaml_tree_node){.kind = integer ? YAML_TREE_INT : YAML_TREE_FLOAT,
                                                 .line = parameter->line,
                                                 .number = value,
                                                 .integer = integer ? (int64_t)value : 0};
    }
}

static bool same_scalar(const bson_iter_t *at, const struct yaml_tree_node *node)
{
    switch (node->kind) {
    case YAML_TREE_BOOL: return BSON_ITER_HOLDS_BOOL(at) && bson_iter_bool(at) == node->boolean;
    case YAML_TREE_STRING: return BSON_ITER_HOLDS_UTF8(at) && !strcmp(bson_iter_utf8(at, NULL), node->text);
    case YAML_TREE_INT: return BSON_ITER_HOLDS_INT(at) && bson_iter_as_int64(at) == node->integer;
    case YAML_TREE_FLOAT: return BSON_ITER_HOLDS_NUMBER(at) && bson_iter_as_double(at) == node->number;
    default: return false;
    }
}

bool sweep_place_of(const struct sweep *sweep, const bson_t *point, double *units)
{
    size_t next = 0;
    for (size_t i = 0; i < sweep->parameter_count; i++) {
        const struct sweep_parameter *parameter = &sweep->parameters[i];
        bson_iter_t all, at;
        if (!varies(parameter))
            continue;
        if (!bson_iter_init(&all, point) || !bson_iter_find_descendant(&all, parameter->path, &at))
            return false;
        double value = BSON_ITER_HOLDS_NUMBER(&at) ? bson_iter_as_double(&at) : 0;
        if (!parameter->range) {
            size_t choice = 0;
            while (choice < parameter->count && !same_scalar(&at, parameter->values[choice]))
                choice++;
            if (choice == parameter->count)
                return false;
            value = (double)choice;
        }
        units[next++] = search_unit(&parameter->dimension, value);
    }
    return true;
}

void sweep_search_options(const struct sweep *sweep, struct search_options *options)
{
    *options = (struct search_options){.method = sweep->method,
                                       .space = &sweep->space,
                                       .seed = sweep->seed < 0 ? 0 : (uint64_t)sweep->seed,
                                       .parallel = sweep->parallel,
                                       .population = sweep->population,
                                       .startup = sweep->startup,
                                       .quantile = sweep->quantile};
}

const struct yaml_tree_node *sweep_drawn_value(const struct sweep *sweep, const struct sweep_parameter *parameter, int64_t i)
{
    if (sweep->draw->number != i) { /* of methods that learn nobody asks for a point that was not placed */
        struct search_options options;
        sweep_search_options(sweep, &options);
        options.method = sweep->method == SEARCH_RANDOM ? SEARCH_RANDOM : SEARCH_SOBOL;
        struct search *search = search_new(&options);
        if (search) {
            search_propose(search, NULL, i, 0, sweep->draw->units);
            sweep_place(sweep, i, sweep->draw->units);
        }
        search_free(search);
    }
    return &sweep->draw->nodes[parameter - sweep->parameters];
}
