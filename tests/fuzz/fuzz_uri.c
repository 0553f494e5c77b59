/* SPDX-License-Identifier: Apache-2.0 */
/* Hub URIs: a secret that stands where a password stands, or in an option that holds one, is in nothing that is shown,
 * however broken the rest is. The input is a byte that says how it is put together, and texts divided by 0x01. */

#include "hub/store.h"
#include "tests/fuzz/fuzz.h"

#define SECRET "CANARY"
#define TEXTS  3

/* Without NUL and without the secret itself, so that it stands in one place only. */
static char *copy_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text != NULL);
    for (size_t i = 0; i < size; i++)
        text[i] = data[i] == 0 || data[i] == 'C' ? '?' : (char)data[i];
    text[size] = '\0';
    return text;
}

/* Opening a server's URI connects to nothing; mongodb+srv would ask for names. */
static void show(const char *uri, const char *secret)
{
    char *redacted = store_redact_uri(uri), *hidden = bson_strdup(uri);
    bson_error_t error = {0};
    store_hide_secrets(hidden);
    FUZZ_REQUIRE(strlen(hidden) == strlen(uri));
    FUZZ_REQUIRE(secret == NULL || strncmp(uri, "sqlite:", 7) == 0 ||
                 (strstr(redacted, secret) == NULL && strstr(hidden, secret) == NULL));
    if (strncmp(uri, "sqlite:", 7) != 0 && strncasecmp(uri, "mongodb+", 8) != 0) {
        struct store *store = store_open(uri, false, &error);
        FUZZ_REQUIRE(store != NULL || error.message[0] != '\0');
        FUZZ_REQUIRE(secret == NULL || strstr(error.message, secret) == NULL);
        FUZZ_REQUIRE(store == NULL || secret == NULL || strstr(store_uri_redacted(store), secret) == NULL);
        store_close(store);
    }
    bson_free(redacted);
    bson_free(hidden);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const schemes[] = {"mongodb://", "mongodb://", "MongoDB://", "mongodb:", "", "mongo://"};
    static const char *const options[] = {"tlsCertificateKeyFilePassword", "authMechanismProperties",
                                          "sslClientCertificateKeyPassword", "PASSWORD", "x%70assword"};
    char *texts[TEXTS], *uri;
    if (size < 2 || size > 4096)
        return 0;
    unsigned how = data[0];
    data++, size--;
    for (int i = 0; i < TEXTS; i++) {
        const uint8_t *end = i + 1 < TEXTS && size > 0 ? memchr(data, 1, size) : NULL;
        size_t length = end != NULL ? (size_t)(end - data) : size;
        texts[i] = copy_text(data, length);
        data += length + (end != NULL);
        size -= length + (end != NULL);
    }
    const char *scheme = schemes[how / 4 % (sizeof schemes / sizeof *schemes)];
    switch (how % 4) {
    case 0:
        show(texts[0], NULL);
        break;
    case 1: /* a password */
        uri = bson_strdup_printf("%su:%s" SECRET "%s@%s", scheme, texts[0], texts[1], texts[2]);
        show(uri, SECRET);
        bson_free(uri);
        break;
    case 2: /* an option, its value within others' characters; what follows the next & is an option of its own */
        uri = bson_strdup_printf("%sh/%s?%s&%s=" SECRET "&%s", scheme, texts[0], texts[1],
                                 options[how / 64 % (sizeof options / sizeof *options)], texts[2]);
        show(uri, SECRET);
        bson_free(uri);
        break;
    default: /* a password whose host was forgotten */
        texts[0][strcspn(texts[0], "@,[/?")] = '\0';
        texts[1][strcspn(texts[1], "@")] = '\0';
        uri = bson_strdup_printf("mongodb://user:%s" SECRET "%s", texts[0], texts[1]);
        show(uri, SECRET);
        bson_free(uri);
    }
    for (int i = 0; i < TEXTS; i++)
        free(texts[i]);
    return 0;
}
