/* SPDX-License-Identifier: Apache-2.0 */
/* Architectures, short form and JSON: an accepted one has canonical JSON that parses to the same JSON again. */

#include "kernels/architecture.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    if (architecture == NULL) {
        FUZZ_REQUIRE(error.message[0] != '\0');
    } else {
        architecture_check(architecture, NULL, 0, NULL, &error);
        char *json = architecture_to_json(architecture);
        FUZZ_REQUIRE(json != NULL);
        struct architecture *again = architecture_parse(json, &error);
        FUZZ_REQUIRE(again != NULL);
        char *json_again = architecture_to_json(again);
        FUZZ_REQUIRE(json_again != NULL && strcmp(json, json_again) == 0);
        free(json_again);
        architecture_free(again);
        free(json);
        architecture_free(architecture);
    }
    free(text);
    return 0;
}
