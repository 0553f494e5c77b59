/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/initial_weights.h"

#include "distributor/refusal.h"
#include "hub/blob.h"
#include "hub/model_retain.h"
#include "kernels/architecture_weights.h"

#include <stdlib.h>
#include <string.h>

/* Exactly length bytes. */
static int read_all(struct blob_reader *reader, uint8_t *buffer, size_t length, bson_error_t *error)
{
    while (length > 0) {
        int64_t count = blob_reader_read(reader, buffer, length, error);
        if (count <= 0)
            return count < 0 ? -1 : hub_error(error, HUB_ERROR_CORRUPT, "initial_model: its weights end too early");
        buffer += count;
        length -= (size_t)count;
    }
    return 0;
}

/* NULL on error. */
static struct safetensors *read_header(struct hub *hub, const bson_oid_t *blob, bson_error_t *error)
{
    struct kernel_error why = {0};
    struct safetensors *header = NULL;
    uint8_t first[8], *bytes = NULL;
    struct blob_reader *reader = blob_reader_open(hub_store(hub), blob, error);
    if (!reader || read_all(reader, first, sizeof first, error))
        goto out;
    int64_t length = safetensors_header_length(first, &why);
    if (length < 0) {
        refusal(error, "initial_model", &why);
        goto out;
    }
    bytes = malloc((size_t)length);
    if (!bytes) {
        hub_error(error, HUB_ERROR_MEMORY, "initial_model: no memory to check its weights");
        goto out;
    }
    memcpy(bytes, first, sizeof first);
    if (read_all(reader, bytes + sizeof first, (size_t)length - sizeof first, error))
        goto out;
    header = safetensors_parse_header(bytes, (size_t)length, 0, &why);
    if (!header)
        refusal(error, "initial_model", &why);
out:
    free(bytes);
    blob_reader_close(reader);
    return header;
}

int initial_weights_check(struct hub *hub, const bson_t *model, const char *architecture, const struct shape *input,
                          bson_error_t *error)
{
    struct kernel_error why = {0};
    bson_iter_t at;
    if (!bson_iter_init_find(&at, model, "blob_id") || !BSON_ITER_HOLDS_OID(&at)) {
        char text[400];
        model_say_no_weights(model, text, sizeof text);
        return hub_error(error, HUB_ERROR_INVALID, "initial_model: %s", text);
    }
    struct architecture *parsed = architecture_parse(architecture, &why);
    if (!parsed)
        return refusal(error, "architecture", &why);
    struct safetensors *header = read_header(hub, bson_iter_oid(&at), error);
    int result = header ? 0 : -1;
    if (header && architecture_check_weights(parsed, input, header, &why))
        result = refusal(error, "initial_model", &why);
    safetensors_free(header);
    architecture_free(parsed);
    return result;
}
