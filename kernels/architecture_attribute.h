/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_ARCHITECTURE_ATTRIBUTE_H
#define TL_KERNELS_ARCHITECTURE_ATTRIBUTE_H

/* The values of a layer's declared attributes (layer.h), read from both forms of an architecture and printed; only
 * architecture*.c include it. index is into layer->type->attributes and layer->values. Errors name layer and field. */

#include "kernels/layer.h"

#include <cjson/cJSON.h>
#include <stdio.h>

void architecture_attribute_defaults(struct architecture_layer *layer);
/* One argument of the short form: 800, 0.5, relu, true, 1x28x28. */
int architecture_attribute_from_text(struct architecture_layer *layer, size_t index, const char *text,
                                     struct kernel_error *error);
int architecture_attribute_from_json(struct architecture_layer *layer, size_t index, const cJSON *json,
                                     struct kernel_error *error);
/* A required one is not there; the message shows how the short form is written. Returns -1. */
int architecture_attribute_missing(const struct architecture_layer *layer, size_t index, struct kernel_error *error);
/* ,"name":value as the canonical text has it; nothing for one that is left out there. */
void architecture_attribute_print(FILE *out, const struct architecture_layer *layer, size_t index);

/* *shape from an array of whole numbers; its product is at most ARCHITECTURE_DIMENSION. what and field begin the error. */
int architecture_shape_from_json(const char *what, const char *field, const cJSON *json, struct shape *shape,
                                 struct kernel_error *error);

#endif
