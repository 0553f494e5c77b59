/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/hub.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void to_hex(const uint8_t *bytes, size_t count, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * count] = '\0';
}

void hub_random_id(char out[HUB_ID_SIZE])
{
    uint8_t bytes[(HUB_ID_SIZE - 1) / 2];
    /* Up to 256 bytes come whole once the system's source is seeded; before that the call waits. */
    while (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
    }
    to_hex(bytes, sizeof bytes, out);
}

void hub_sha256(const void *data, size_t length, char out[65])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    /* Fails only without memory, where libbson aborts too. */
    if (EVP_Digest(length > 0 ? data : "", length, digest, &size, EVP_sha256(), NULL) != 1 || size != 32) {
        abort();
    }
    to_hex(digest, 32, out);
}

void hub_digest_id(const char *const *parts, size_t count, char out[HUB_ID_SIZE])
{
    size_t size = 0, used = 0;
    char hex[65];
    for (size_t i = 0; i < count; i++) {
        size += strlen(parts[i]) + 24;
    }
    char *text = bson_malloc(size + 1);
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(text + used, size + 1 - used, "%zu:%s", strlen(parts[i]), parts[i]);
    }
    hub_sha256(text, used, hex);
    bson_free(text);
    memcpy(out, hex, HUB_ID_SIZE - 1);
    out[HUB_ID_SIZE - 1] = '\0';
}
