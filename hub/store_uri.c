/* SPDX-License-Identifier: Apache-2.0 */
/* Hub URIs without their secrets. Nothing is trusted to be well-formed: what may be a password is not shown. One function
 * finds the bytes that may be secret; the others show *** in their place, or write over them. */
#include "hub/store.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define SCHEME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-"

/* A stretch of the URI that is not to be shown. */
struct secret {
    size_t begin, end;
};

static bool is_secret_name(const char *name, size_t length)
{
    static const char *const words[] = {"password", "passwd", "pwd", "passphrase", "properties", "secret", "token", "%"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (size_t at = 0; at + strlen(words[i]) <= length; at++)
            if (strncasecmp(name + at, words[i], strlen(words[i])) == 0)
                return true;
    return false;
}

/* Whether text begins with NAME=, as an option does. */
static bool is_option(const char *text)
{
    const char *end = text;
    while (isalpha((unsigned char)*end))
        end++;
    return end > text && *end == '=';
}

/* The next option with a secret value from *at on: NAME=VALUE between / ? & ;. A value may hold any of these unescaped,
 * so it goes on to what looks like the next option. */
static bool next_secret_option(const char *uri, size_t *at, struct secret *secret)
{
    while (uri[*at]) {
        const char *option = uri + *at;
        size_t length = strcspn(option, "/?&;");
        const char *equals = memchr(option, '=', length);
        if (equals && is_secret_name(option, (size_t)(equals - option))) {
            const char *end = equals + 1;
            while (*end && !((*end == '&' || *end == ';') && is_option(end + 1)))
                end++;
            *secret = (struct secret){(size_t)(equals + 1 - uri), (size_t)(end - uri)};
            *at = secret->end;
            return true;
        }
        *at += length + (option[length] ? 1 : 0);
    }
    return false;
}

/* Where a URI without '@' has something else than a port after a host's colon: a password whose host is missing. NULL:
 * nowhere. hosts begins with the first host. */
static const char *stray_password(const char *hosts)
{
    const char *end = hosts + strcspn(hosts, "/?");
    for (const char *host = hosts; host < end;) {
        size_t length = strcspn(host, ",");
        if (host + length > end)
            length = (size_t)(end - host);
        const char *name_end = *host == '[' ? memchr(host, ']', length) : host;
        const char *colon = memchr(name_end ? name_end : host, ':', length - (size_t)((name_end ? name_end : host) - host));
        if (colon) {
            size_t digits = strspn(colon + 1, "0123456789");
            if (digits > 5 || colon + 1 + digits != host + length)
                return colon + 1;
        }
        host += length + 1;
    }
    return NULL;
}

/* The user and password: 1 with *secret, 0 none. *rest is where hosts or options begin. */
static bool find_credentials(const char *uri, struct secret *secret, size_t *rest)
{
    const char *user = uri, *at = strrchr(uri, '@');
    /* A scheme that is not known may as well be a user's name, and what follows it a password. */
    size_t scheme = strncasecmp(uri, "mongodb", 7) == 0 ? strspn(uri, SCHEME_LETTERS) : 0;
    if (strncmp(uri + scheme, "://", 3) == 0 || strncmp(uri + scheme, "//", 2) == 0)
        user = uri + scheme + (uri[scheme] == ':' ? 3 : 2);
    else if (scheme > 0 && uri[scheme] == ':')
        user = uri + scheme + 1;
    *rest = (size_t)(user - uri);
    if (at && at >= user) {
        const char *password = memchr(user, ':', (size_t)(at - user));
        if (password && strcspn(user, "/?&;=@") < (size_t)(password - user)) /* no user's name: what it is, is not known */
            password = NULL;
        *secret = (struct secret){(size_t)((password ? password + 1 : user) - uri), (size_t)(at - uri)};
        *rest = secret->end + 1;
        return true;
    }
    const char *stray = stray_password(user);
    size_t other = strspn(user, SCHEME_LETTERS);
    if (!stray && strncmp(user + other, "://", 3) == 0)
        stray = stray_password(user + other + 3);
    if (stray) {
        *secret = (struct secret){(size_t)(stray - uri), strlen(uri)};
        *rest = secret->end;
        return true;
    }
    return false;
}

/* Calls found for every secret of the URI, in order. */
static void find_secrets(const char *uri, void (*found)(struct secret secret, void *data), void *data)
{
    struct secret secret;
    size_t at = 0;
    if (strncmp(uri, "sqlite:", 7) == 0) /* a path: no place for a secret */
        return;
    if (find_credentials(uri, &secret, &at))
        found(secret, data);
    while (next_secret_option(uri, &at, &secret))
        found(secret, data);
}

struct redaction {
    const char *uri;
    size_t at;
    bson_string_t *out;
};

static void append_redacted(struct secret secret, void *data)
{
    struct redaction *redaction = data;
    bson_string_append_printf(redaction->out, "%.*s***", (int)(secret.begin - redaction->at),
                              redaction->uri + redaction->at);
    redaction->at = secret.end;
}

char *store_redact_uri(const char *uri)
{
    struct redaction redaction = {.uri = uri, .out = bson_string_new(NULL)};
    find_secrets(uri, append_redacted, &redaction);
    bson_string_append(redaction.out, uri + redaction.at);
    return bson_string_free(redaction.out, false);
}

static void write_over(struct secret secret, void *data)
{
    memset((char *)data + secret.begin, '*', secret.end - secret.begin);
}

/* Every secret is found before the one after it is looked for, and '*' stands in no rule: writing over one hides none. */
void store_hide_secrets(char *uri)
{
    find_secrets(uri, write_over, uri);
}
