/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_RULE_NAMES_H
#define TL_DISTRIBUTOR_RULE_NAMES_H

#include "hub/error.h"

/* Refuses `rules` that cannot be read, or that ask for what no training has (runner/rules.h has the names). 0, or -1 with
 * *field "rules". */
int rule_names_check(const bson_t *fields, const char **field, bson_error_t *error);

#endif
