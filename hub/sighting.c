/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/sighting.h"

#include <string.h>

void sighting_clear(struct sighting *sighting)
{
    bson_free(sighting->key);
    bson_free(sighting->value);
    memset(sighting, 0, sizeof *sighting);
}

void sighting_values(const bson_t *document, const char *first, const char *second, bson_t *out)
{
    const char *const paths[] = {first, second};
    bson_init(out);
    for (size_t i = 0; i < 2; i++) {
        bson_iter_t iter, value;
        if (bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, paths[i], &value)) {
            bson_append_iter(out, i == 0 ? "0" : "1", 1, &value);
        }
    }
}

bool sighting_shows(const struct sighting *sighting, const bson_t *value)
{
    return sighting->value != NULL && sighting->length == value->len &&
           memcmp(sighting->value, bson_get_data(value), value->len) == 0;
}

void sighting_keep(struct sighting *sighting, const bson_t *value, int64_t since)
{
    bson_free(sighting->value);
    sighting->value = bson_malloc(value->len);
    memcpy(sighting->value, bson_get_data(value), value->len);
    sighting->length = value->len;
    sighting->since = since;
}
