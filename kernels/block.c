/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/block.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)1 << 21)
#define LARGE (2 * HUGE_PAGE)

float *block_new(size_t floats, size_t *bytes)
{
    size_t size;
    void *block = NULL;
    if (bytes != NULL) {
        *bytes = 0;
    }
    if (__builtin_mul_overflow(floats, sizeof(float), &size) || size > SIZE_MAX / 4) {
        return NULL;
    }
    size = (size + 64) / 64 * 64;
    if (posix_memalign(&block, size >= LARGE ? HUGE_PAGE : 64, size) != 0) {
        return NULL;
    }
    if (size >= LARGE) {
        /* Only the whole pages in it; where the kernel will not, it is as before. */
        (void)madvise(block, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    }
    memset(block, 0, size);
    if (bytes != NULL) {
        *bytes = size;
    }
    return block;
}
