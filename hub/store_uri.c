/* SPDX-License-Identifier: Apache-2.0 */
/* Hub URIs without their secrets. Nothing is trusted to be well-formed: what may be a password is not shown. */
#include "hub/store.h"

#include <string.h>
#include <strings.h>


static bool is_secret_name(const char *name, size_t length)
{
    static const char *const words[] = {"password", "passwd", "pwd", "passphrase", "properties", "secret", "token", "%"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (size_t at = 0; at + strlen(words[i]) <= length; at++)
            if (strncasecmp(name + at, words[i], strlen(words[i])) == 0)
                return true;
    return false;
}

/* Options anywhere in the rest: NAME=VALUE between / ? & ; */
static void append_options(bson_string_t *out, const char *rest)
{
    while (*rest) {
        size_t length = strcspn(rest, "/?&;");
        const char *equals = memchr(rest, '=', length);
        if (equals && is_secret_name(rest, (size_t)(equals - rest)))
            bson_string_append_printf(out, "%.*s=***", (int)(equals - rest), rest);
        else
            bson_string_append_printf(out, "%.*s", (int)length, rest);
        rest += length;
        if (*rest)
            bson_string_append_c(out, *rest++);
    }
}

char *store_redact_uri(const char *uri)
{
    bson_string_t *out = bson_string_new(NULL);
    if (strncmp(uri, "sqlite:", 7) == 0) { /* a path: no place for a secret */
        bson_string_append(out, uri);
        return bson_string_free(out, false);
    }
    const char *user = uri;
    const char *slashes = strstr(uri, "//");
    const char *colon = strchr(uri, ':');
    const char *at = strrchr(uri, '@');
    if (slashes && (!at || slashes < at))
        user = slashes + 2;
    else if (colon && (strncasecmp(uri, "mongodb", 7) == 0))
        user = colon + 1;
    bson_string_append_printf(out, "%.*s", (int)(user - uri), uri);
    if (at && at >= user) {
        const char *password = memchr(user, ':', (size_t)(at - user));
        if (password)
            bson_string_append_printf(out, "%.*s:", (int)(password - user), user);
        bson_string_append(out, "***@");
        user = at + 1;
    }
    append_options(out, user);
    return bson_string_free(out, false);
}
