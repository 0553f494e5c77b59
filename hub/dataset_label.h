/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_DATASET_LABEL_H
#define TL_HUB_DATASET_LABEL_H

#include "hub/hub.h"

/* The same data was saved again: tags that the fields have besides the version's own are added to it, and a description
 * that differs takes the place of its own. *dataset is the version before and after. 1 changed, 0 nothing to change, -1. */
int dataset_label(struct hub *hub, const bson_t *fields, bson_t *dataset, bson_error_t *error);

#endif
