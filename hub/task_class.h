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
/* Memory is a need like any other: "mem6g" is the least of 1, 2, 3, 4, 6, 8, 12, … GiB that holds it. Up to this much
 * needs no label: every runner is taken to have it. */
#define TASK_CLASS_MEMORY_FREE (INT64_C(512) << 20)
#define TASK_CLASS_MEMORY_SIZE 24
/* The index-th step, in bytes, from 0; 0: there is none. */
int64_t task_class_memory_step(size_t index);
/* The label for so many bytes, "" where none is needed. */
void task_class_memory(int64_t bytes, char out[TASK_CLASS_MEMORY_SIZE]);
/* What a label of this kind means, in bytes; -1 for any other. */
int64_t task_class_memory_of(const char *label, size_t length);
/* The most memory that a class needs by its labels; 0: none is named. */
int64_t task_class_memory_needed(const char *full);
/* As task_class_serves, for a runner that gives a task `memory` bytes: it meets every such label up to that. */
bool task_class_fits(const char *full, const char *base, const char *const *labels, int64_t memory);
/* Whether text can be a base, a need or a label. */
bool task_class_is_word(const char *text);

#endif
