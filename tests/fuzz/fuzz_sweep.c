/* SPDX-License-Identifier: Apache-2.0 */
/* Sweep files, YAML and JSON: parsed or refused with a message, and the points of an accepted one can be had. */

#include "distributor/sweep.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_error_t error = {0};
    struct sweep *sweep = sweep_parse((const char *)data, size, "fuzz.yaml", &error);
    if (sweep == NULL) {
        FUZZ_REQUIRE(error.message[0] != '\0');
        return 0;
    }
    int64_t points = sweep_points(sweep);
    FUZZ_REQUIRE(points >= 1);
    for (int64_t i = 0; i < points && i < 16; i++) {
        bson_t point;
        sweep_point(sweep, i, &point, &error);
        bson_destroy(&point);
    }
    sweep_free(sweep);
    return 0;
}
