/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_ACCEPTANCE_H
#define TL_DISTRIBUTOR_ACCEPTANCE_H

/* What a task must pass before it is submitted. One acceptance looks at many tasks (a sweep's): a dataset is looked up
 * once, and an architecture text is checked once against it. Writes nothing but in acceptance_save_architectures. */

#include "hub/hub.h"

struct acceptance;

/* dataset: a manifest to be used for every task, whatever its query says (copied); NULL: looked up by the query. */
struct acceptance *acceptance_new(struct hub *hub, const bson_t *dataset, bson_error_t *error);
void acceptance_free(struct acceptance *acceptance);

/* *checked (initialised always) is fields with the architecture's text or graph, architecture_digest, a name where there was
 * none, and defaults of hyper_parameters filled in; queries are as a document can hold them. On refusal *field (NULL
 * allowed) names what is at fault where that is one field or hyper-parameter, else NULL. 0 or -1. */
int acceptance_check(struct acceptance *acceptance, const bson_t *fields, bson_t *checked, const char **field,
                     bson_error_t *error);

/* Digest of what the names of saved architectures stood for in all tasks that passed. 1, 0 where none was named so, -1. */
int acceptance_saved_digest(const struct acceptance *acceptance, char digest[65], bson_error_t *error);

/* Saves every architecture that passed since the last call. */
int acceptance_save_architectures(struct acceptance *acceptance, bson_error_t *error);

#endif
