/* SPDX-License-Identifier: Apache-2.0 */
#include "documents.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static bson_t **kept;
static size_t count;
static size_t room;

const bson_t *document_keep(bson_t *owned)
{
    if (count == room) {
        room = room ? room * 2 : 64;
        kept = bson_realloc(kept, room * sizeof *kept);
    }
    kept[count++] = owned;
    return owned;
}

const bson_t *document(const char *json, ...)
{
    va_list arguments;
    char *text;
    bson_error_t error;
    va_start(arguments, json);
    int length = vasprintf(&text, json, arguments);
    va_end(arguments);
    if (length < 0) {
        abort();
    }
    for (char *c = text; *c; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    bson_t *result = bson_new_from_json((const uint8_t *)text, length, &error);
    cr_assert(result != NULL, "%s: %s", text, error.message);
    free(text);
    return document_keep(result);
}

void documents_free(void)
{
    for (size_t i = 0; i < count; i++) {
        bson_destroy(kept[i]);
    }
    bson_free(kept);
    kept = NULL;
    count = room = 0;
}
