/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TASK_CLASS_H
#define TL_HUB_TASK_CLASS_H

/* What a task needs of its runner is part of its resource_class: "BASE+NEED+NEED", the needs sorted and each once, so
 * that equal needs are equal classes and the claim's index stays as it is. A runner serves the classes of its bases
 * whose needs are all among its labels. Base and needs are letters, digits, '_', '.', '-', a letter or digit first. */

#include "hub/error.h"

#define TASK_CLASS_SIZE 201 /* with the NUL */
#define TASK_CLASS_NEEDS 16

/* The class of a base ("cpu"; it may have needs already: "cpu+gpu") and needs, a BSON array of strings or NULL, into
 * out. 1, or -1 with HUB_ERROR_INVALID. */
int task_class_compose(const char *base, const bson_t *needs, char out[TASK_CLASS_SIZE], bson_error_t *error);
/* Whether a runner of this base with these labels (NULL-ended; NULL: none) does tasks of the class. */
bool task_class_serves(const char *full, const char *base, const char *const *labels);
/* Whether text can be a base, a need or a label. */
bool task_class_is_word(const char *text);

#endif
