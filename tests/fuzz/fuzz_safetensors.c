/* SPDX-License-Identifier: Apache-2.0 */
/* Files of weights: every tensor of an accepted one lies within the file. */

#include "kernels/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kernel_error error = {0};
    struct safetensors *file = safetensors_parse(data, size, &error);
    if (file == NULL) {
        FUZZ_REQUIRE(error.message[0] != '\0');
        return 0;
    }
    FUZZ_REQUIRE(file->data_begin + file->data_length == size);
    for (size_t i = 0; i < file->count; i++) {
        const struct safetensors_tensor *tensor = &file->tensors[i];
        FUZZ_REQUIRE(tensor->begin <= tensor->end && tensor->end <= file->data_length);
        FUZZ_REQUIRE(tensor->rank >= 0 && tensor->rank <= SAFETENSORS_RANK);
        uint64_t bytes = safetensors_dtype_bytes(tensor->dtype);
        for (int j = 0; j < tensor->rank; j++)
            bytes *= (uint64_t)tensor->shape[j];
        FUZZ_REQUIRE(bytes == tensor->end - tensor->begin);
    }
    safetensors_free(file);
    return 0;
}
