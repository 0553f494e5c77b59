/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_SIGHTING_H
#define TL_HUB_SIGHTING_H

/* What this process has seen of a holder and its beat, and since when by its own clock: how a lease is watched without
 * anybody else's clock. */

#include "hub/error.h"

struct sighting {
    char *key;      /* of what was looked at, for who looks at many; owned, may be NULL */
    uint8_t *value; /* holder and beat as BSON, whatever their types; owned, NULL: not seen */
    uint32_t length;
    int64_t since;  /* end of the first read that showed them */
    uint64_t round; /* of the last read that showed them */
};

void sighting_clear(struct sighting *sighting);
/* The values at two paths as one BSON document (initialised here): a missing value and a null differ, and so do types. */
void sighting_values(const bson_t *document, const char *first, const char *second, bson_t *out);
/* Whether it is what was seen. */
bool sighting_shows(const struct sighting *sighting, const bson_t *value);
void sighting_keep(struct sighting *sighting, const bson_t *value, int64_t since);

#endif
