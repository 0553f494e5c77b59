/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TESTS_FUZZ_H
#define TL_TESTS_FUZZ_H

/* A fuzz target is one function from bytes to nothing. With clang (preset fuzz) libFuzzer calls it; in the ordinary tests
 * replay.c does, with every file of the corpus and thousands of changed copies of them. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input is. */
#define FUZZ_REQUIRE(condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

#endif
