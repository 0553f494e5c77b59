/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_BLOCK_H
#define TL_KERNELS_BLOCK_H

#include <stddef.h>

/* Memory for floats that whole passes stream through: zeroed, on 64 bytes, readable up to the next multiple of 64. Large
 * blocks ask the kernel for huge pages, so that a product's strides do not miss the table of pages at every row. *bytes
 * (NULL allowed) is what it takes. NULL without memory. Freed by free. */
float *block_new(size_t floats, size_t *bytes);

#endif
