/* SPDX-License-Identifier: Apache-2.0 */
/* Repeated pieces of a network: "${layers} * [dense:${width.#}:relu] dense:10". */
#include "distributor/sweep_impl.h"

#include "kernels/architecture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COPIES = 256, DEPTH = 4 };

struct repeating {
    const struct sweep *sweep;
    int64_t point;
    FILE *out;
    bson_error_t *error;
};

static int refuse(const struct repeating *repeating, const char *what)
{
    return hub_error(repeating->error, HUB_ERROR_INVALID, "architecture: %s", what);
}

/* The '[' of the next "N * [", and where N begins; NULL: there is none. */
static const char *next_block(const char *text, const char **times)
{
    for (const char *bracket = text; (bracket = strchr(bracket, '[')); bracket++) {
        const char *at = bracket;
        while (at > text && at[-1] == ' ')
            at--;
        if (at == text || at[-1] != '*')
            continue;
        at--;
        while (at > text && at[-1] == ' ')
            at--;
        const char *end = at;
        while (at > text && at[-1] != ' ' && at[-1] != '[')
            at--;
        if (at == end)
            continue;
        *times = at;
        return bracket;
    }
    return NULL;
}

static const char *closing(const char *bracket)
{
    int open = 0;
    for (const char *at = bracket; *at; at++) {
        open += *at == '[' ? 1 : *at == ']' ? -1 : 0;
        if (!open)
            return at;
    }
    return NULL;
}

/* A number, or ${parameter} that is one. */
static int read_times(const struct repeating *repeating, const char *text, int64_t *times)
{
    char *end;
    if (!strncmp(text, "${", 2) && strchr(text, '}')) {
        const struct sweep_parameter *parameter =
            sweep_parameter_find(repeating->sweep, text + 2, (size_t)(strchr(text, '}') - text) - 2);
        const struct yaml_tree_node *value = parameter ? sweep_value(repeating->sweep, parameter, repeating->point) : NULL;
        if (!value || value->kind != YAML_TREE_INT || value->integer < 0 || value->integer > COPIES)
            return refuse(repeating, "how often a piece in [ ] is repeated must be an integer in [0, 256]");
        *times = value->integer;
        text = strchr(text, '}') + 1;
    } else {
        *times = strtoll(text, &end, 10);
        if (end == text || *times < 0 || *times > COPIES)
            return refuse(repeating, "how often a piece in [ ] is repeated must be an integer in [0, 256]");
        text = end;
    }
    return *text == ' ' || *text == '*' ? 0 : refuse(repeating, "before * stands a number or ${parameter}, alone");
}

/* text of this length with ${name.#} of this copy, but for pieces within it, which have copies of their own: new (free). */
static char *number_copy(const struct repeating *repeating, const char *text, size_t length, int64_t copy)
{
    char *numbered = NULL;
    size_t size = 0;
    int inner = 0;
    FILE *out = open_memstream(&numbered, &size);
    for (size_t i = 0; out && i < length; i++) {
        inner += text[i] == '[' ? 1 : text[i] == ']' ? -1 : 0;
        if (!inner && text[i] == '#' && i > 0 && text[i - 1] == '.' && i + 1 < length && text[i + 1] == '}')
            fprintf(out, "%lld", (long long)copy);
        else
            fputc(text[i], out);
    }
    if (out && fclose(out)) {
        free(numbered);
        numbered = NULL;
    }
    if (!numbered)
        hub_error(repeating->error, HUB_ERROR_MEMORY, "no memory for the architecture");
    return numbered;
}

static int expand(struct repeating *repeating, const char *text, int depth)
{
    const char *times_at, *bracket;
    int result = 0;
    if (depth > DEPTH)
        return refuse(repeating, "pieces in [ ] stand within each other deeper than 4");
    while (!result && (bracket = next_block(text, &times_at))) {
        const char *end = closing(bracket);
        int64_t times = 0;
        if (!end)
            return refuse(repeating, "a [ has no ]");
        if (end[1] && end[1] != ' ' && end[1] != ']')
            return refuse(repeating, "behind ] there must be a space");
        fprintf(repeating->out, "%.*s", (int)(times_at - text), text);
        result = read_times(repeating, times_at, &times);
        for (int64_t i = 1; !result && i <= times; i++) {
            char *copy = number_copy(repeating, bracket + 1, (size_t)(end - bracket) - 1, i);
            result = copy ? expand(repeating, copy, depth + 1) : -1;
            fputc(' ', repeating->out);
            free(copy);
            if (ftello(repeating->out) > ARCHITECTURE_TEXT_BYTES)
                result = refuse(repeating, "it is too long, repeated");
        }
        text = end + 1;
    }
    if (!result)
        fputs(text, repeating->out);
    return result;
}

/* One space between pieces, none around them. */
static void tidy(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++)
        if (*from != ' ' || (to > text && to[-1] != ' '))
            *to++ = *from;
    if (to > text && to[-1] == ' ')
        to--;
    *to = '\0';
}

char *sweep_repeat_text(const struct sweep *sweep, const char *text, int64_t i, bson_error_t *error)
{
    char *repeated = NULL;
    size_t size = 0;
    struct repeating repeating = {.sweep = sweep, .point = i, .error = error, .out = open_memstream(&repeated, &size)};
    int result = repeating.out ? expand(&repeating, text, 0)
                               : hub_error(error, HUB_ERROR_MEMORY, "no memory for the architecture");
    if (repeating.out && fclose(repeating.out) && !result)
        result = hub_error(error, HUB_ERROR_MEMORY, "no memory for the architecture");
    if (result) {
        free(repeated);
        return NULL;
    }
    const char *times;
    if (next_block(text, &times))
        tidy(repeated);
    return repeated;
}

int sweep_check_copies(const struct sweep *sweep, const char *text, bson_error_t *error)
{
    for (const char *at = text; (at = strstr(at, "${")); at += 2) {
        const char *end = strchr(at, '}');
        char name[100];
        if (!end)
            return 0;
        if (sweep_parameter_find(sweep, at + 2, (size_t)(end - at) - 2))
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(end - at) - 2, at + 2);
        return hub_error(error, HUB_ERROR_INVALID, "architecture: ${%s} names no parameter: %s", name,
                         strchr(name, '#') ? "# stands for the copy in N * [ ] only"
                                           : "a piece is repeated more often than the parameter's repeat says");
    }
    return 0;
}
