/* SPDX-License-Identifier: Apache-2.0 */
/* Pipelines as they may come from a database or a user: {p: stages} in BSON, then documents in BSON. What is accepted ends on
 * any documents that are BSON at all, with documents that are BSON or with an error that has a message. */

#include "hub/pipeline.h"
#include "tests/fuzz/fuzz.h"

struct input {
    const uint8_t *data;
    size_t size;
    bson_t document;
};

static int next(void *data, const bson_t **document, bson_error_t *error)
{
    struct input *input = data;
    uint32_t length;
    (void)error;
    if (input->size < 5)
        return 0;
    memcpy(&length, input->data, sizeof length);
    length = BSON_UINT32_FROM_LE(length);
    if (length > input->size || !bson_init_static(&input->document, input->data, length) ||
        !bson_validate(&input->document, BSON_VALIDATE_NONE, NULL))
        return 0;
    input->data += length;
    input->size -= length;
    *document = &input->document;
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.data = data, .size = size};
    bson_error_t error = {0};
    bson_iter_t at;
    const bson_t *first, *out;
    bson_t stages;
    uint32_t length;
    const uint8_t *array;
    if (next(&input, &first, &error) != 1 || !bson_iter_init_find(&at, first, "p") || !BSON_ITER_HOLDS_ARRAY(&at))
        return 0;
    bson_iter_array(&at, &length, &array);
    if (!bson_init_static(&stages, array, length))
        return 0;
    struct pipeline *pipeline = pipeline_parse(&stages, &error);
    FUZZ_REQUIRE(pipeline != NULL || error.message[0] != '\0');
    if (pipeline == NULL)
        return 0;
    struct pipeline_run *run = pipeline_run_new(pipeline, next, &input);
    int more;
    while ((more = pipeline_run_next(run, &out, &error)) == 1)
        FUZZ_REQUIRE(bson_validate(out, BSON_VALIDATE_NONE, NULL));
    FUZZ_REQUIRE(more == 0 || error.message[0] != '\0');
    pipeline_run_free(run);
    pipeline_free(pipeline);
    return 0;
}
