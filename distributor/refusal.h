/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_REFUSAL_H
#define TL_DISTRIBUTOR_REFUSAL_H

#include "hub/error.h"
#include "kernels/error.h"

/* What kernels refused, as an error of ours: "where: message". Returns -1. */
int refusal(bson_error_t *error, const char *where, const struct kernel_error *why);

#endif
