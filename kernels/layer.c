/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/layer.h"

#include "kernels/layer_types.h"

#include <string.h>

#define LAYER_TYPE_ADDRESS(NAME) &layer_##NAME,
static const struct layer_type *const types[] = {LAYER_TYPES(LAYER_TYPE_ADDRESS) NULL};

const char *const layer_activation_names[] = {"none", "relu", "tanh", "sigmoid", "leaky_relu", NULL};

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
