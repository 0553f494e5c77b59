/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_DATASET_IMPL_H
#define TL_HUB_DATASET_IMPL_H

/* Between dataset.c and rows.c; not installed. */

#include "hub/hub.h"

/* The next version of the name: above every one that there is, and above every one that there was, so that "version 2"
 * in a model or a task never comes to mean other data. 1, -1. */
int dataset_next_version(struct hub *hub, const char *name, int64_t newest, int64_t *version, bson_error_t *error);

#endif
