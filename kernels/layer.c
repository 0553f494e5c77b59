/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/layer.h"

#include "kernels/layer_types.h"

#include <string.h>

static const struct layer_type *const types[] = {
    &layer_dense, &layer_dropout, &layer_relu, &layer_tanh, &layer_sigmoid, &layer_flatten, &layer_mix,
    &layer_lstm, &layer_gru, NULL,
};

const char *const layer_activation_names[] = {"none", "relu", "tanh", "sigmoid", NULL};

const struct layer_type *layer_type_find(const char *name)
{
    for (size_t i = 0; types[i] != NULL; i++) {
        if (strcmp(types[i]->name, name) == 0) {
            return types[i];
        }
    }
    return NULL;
}

const struct layer_type *const *layer_types(void)
{
    return types;
}
