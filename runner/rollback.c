/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/rollback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int rollback_init(struct rollback *rollback, const struct net *net, struct optimizer *optimizer, bson_error_t *error)
{
    memset(rollback, 0, sizeof *rollback);
    size_t states = optimizer_state_count(optimizer), floats = net_parameter_floats(net);
    bool done = (rollback->parameters = calloc(floats + 1, sizeof(float))) != NULL;
    rollback->blocks[0] = (struct net_block){.prefix = "good.", .data = rollback->parameters};
    for (size_t i = 0; i < states && i < ROLLBACK_STATES; i++) {
        const char *name;
        optimizer_state(optimizer, i, &name);
        snprintf(rollback->prefixes[i], sizeof rollback->prefixes[i], "good.optimizer.%.12s.", name);
        rollback->states[i] = calloc(net_trained_floats(net) + 1, sizeof(float));
        done = done && rollback->states[i];
        rollback->blocks[1 + i] = (struct net_block){.prefix = rollback->prefixes[i], .data = rollback->states[i], .trained = true};
        rollback->blocks[i].next = &rollback->blocks[1 + i];
    }
    rollback->on = done;
    if (done)
        return 0;
    rollback_destroy(rollback);
    return hub_error(error, HUB_ERROR_MEMORY, "no memory to keep %zu parameters to go back to", floats);
}

void rollback_destroy(struct rollback *rollback)
{
    if (!rollback)
        return;
    free(rollback->parameters);
    for (size_t i = 0; i < ROLLBACK_STATES; i++)
        free(rollback->states[i]);
    memset(rollback, 0, sizeof *rollback);
}

void rollback_keep(struct rollback *rollback, struct net *net, struct optimizer *optimizer)
{
    const char *name;
    if (!rollback->on)
        return;
    memcpy(rollback->parameters, net_parameters(net), net_parameter_floats(net) * sizeof(float));
    for (size_t i = 0; i < ROLLBACK_STATES && rollback->states[i]; i++)
        memcpy(rollback->states[i], optimizer_state(optimizer, i, &name), net_trained_floats(net) * sizeof(float));
}

void rollback_restore(const struct rollback *rollback, int64_t steps, struct net *net, struct optimizer *optimizer)
{
    const char *name;
    if (!rollback->on)
        return;
    memcpy(net_parameters(net), rollback->parameters, net_parameter_floats(net) * sizeof(float));
    for (size_t i = 0; i < ROLLBACK_STATES && rollback->states[i]; i++)
        memcpy(optimizer_state(optimizer, i, &name), rollback->states[i], net_trained_floats(net) * sizeof(float));
    net_set_steps(net, (uint64_t)steps);
    optimizer_set_steps(optimizer, steps);
}

const struct net_block *rollback_blocks(const struct rollback *rollback)
{
    return rollback->on ? &rollback->blocks[0] : NULL;
}
