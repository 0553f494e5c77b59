/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/preprocess.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_BYTES (8 << 20) /* of `preprocess`: a manifest must stay below 16 MB */
#define COLUMNS        65536
#define WINDOW         100000

/* ---- out ---- */

static void append_number(bson_t *document, const char *key, double value)
{
    if (isfinite(value))
        bson_append_double(document, key, -1, value);
}

static void append_categories(bson_t *document, const struct category_set *set)
{
    bson_t names;
    char index[24];
    BSON_APPEND_ARRAY_BEGIN(document, "categories", &names);
    for (size_t i = 0; i < category_set_count(set); i++) {
        snprintf(index, sizeof index, "%zu", i);
        BSON_APPEND_UTF8(&names, index, category_set_name(set, i));
    }
    bson_append_array_end(document, &names);
}

static void append_column(bson_t *document, const struct preprocess_column *column)
{
    static const char *const missing[] = {"zero", "mean", "median", "drop", "error"};
    BSON_APPEND_UTF8(document, "name", column->name);
    BSON_APPEND_UTF8(document, "role", preprocess_role_name(column->role));
    BSON_APPEND_UTF8(document, "kind", preprocess_kind_name(column->kind));
    BSON_APPEND_INT64(document, "missing", column->missing_count);
    if (column->kind == PREPROCESS_TEXT)
        return;
    BSON_APPEND_UTF8(document, "missing_as", missing[column->missing]);
    if (column->width > 0)
        append_number(document, "fill", column->fill);
    if (column->kind == PREPROCESS_NUMBER) {
        append_number(document, "min", column->min);
        append_number(document, "max", column->max);
        append_number(document, "mean", column->mean);
        append_number(document, "deviation", column->deviation);
        append_number(document, "median", column->median);
        append_number(document, "shift", column->shift);
        append_number(document, "factor", column->factor);
    } else if (column->categories) {
        append_categories(document, column->categories);
    }
}

int preprocess_append(const struct preprocess *preprocess, bson_t *fields, bson_error_t *error)
{
    static const char *const scales[] = {"minmax", "standard", "none"};
    bson_t whole, columns, one;
    char text[2] = {preprocess->delimiter, '\0'}, index[24];
    const uint32_t before = fields->len;
    BSON_APPEND_DOCUMENT_BEGIN(fields, "preprocess", &whole);
    BSON_APPEND_UTF8(&whole, "delimiter", text);
    text[0] = preprocess->decimal;
    BSON_APPEND_UTF8(&whole, "decimal", text);
    BSON_APPEND_BOOL(&whole, "header", preprocess->header);
    BSON_APPEND_INT64(&whole, "skip_lines", preprocess->skip);
    BSON_APPEND_UTF8(&whole, "scale", scales[preprocess->scale]);
    if (preprocess->window > 0) {
        BSON_APPEND_INT64(&whole, "window", preprocess->window);
        BSON_APPEND_INT64(&whole, "horizon", preprocess->horizon);
    }
    BSON_APPEND_ARRAY_BEGIN(&whole, "columns", &columns);
    for (int64_t i = 0; i < preprocess->count; i++) {
        snprintf(index, sizeof index, "%lld", (long long)i);
        BSON_APPEND_DOCUMENT_BEGIN(&columns, index, &one);
        append_column(&one, &preprocess->columns[i]);
        bson_append_document_end(&columns, &one);
    }
    bson_append_array_end(&whole, &columns);
    if (!bson_append_document_end(fields, &whole) || fields->len - before > DOCUMENT_BYTES)
        return hub_error(error, HUB_ERROR_INVALID, "the dataset's columns and categories take %u bytes to describe; at most %d: "
                         "drop columns with many categories", (unsigned)(fields->len - before), DOCUMENT_BYTES);
    return 0;
}

/* ---- in ---- */

static int damaged(const char *what, int64_t i, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_CORRUPT, "the dataset's preprocess: column %lld: %s", (long long)i + 1, what);
}

static const char *text_at(const bson_t *document, const char *key)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, document, key) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
}

static double number_at(const bson_t *document, const char *key, double fallback)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, document, key) && BSON_ITER_HOLDS_NUMBER(&at) ? bson_iter_as_double(&at) : fallback;
}

static int64_t integer_at(const bson_t *document, const char *key, int64_t fallback)
{
    const double value = number_at(document, key, NAN);
    return value >= 0 && value < 9e15 ? (int64_t)value : fallback;
}

static bool view(const bson_iter_t *at, bson_t *out)
{
    const uint8_t *data = NULL;
    uint32_t length = 0;
    if (BSON_ITER_HOLDS_DOCUMENT(at))
        bson_iter_document(at, &length, &data);
    else if (BSON_ITER_HOLDS_ARRAY(at))
        bson_iter_array(at, &length, &data);
    return data && bson_init_static(out, data, length);
}

static int read_categories(const bson_t *document, struct preprocess_column *column, int64_t i, bson_error_t *error)
{
    bson_iter_t at, name;
    if (!bson_iter_init_find(&at, document, "categories"))
        return 0;
    if (!BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &name))
        return damaged("categories is no list", i, error);
    column->categories = category_set_new(CATEGORY_SET_MOST);
    while (column->categories && bson_iter_next(&name)) {
        uint32_t length = 0;
        const char *text = BSON_ITER_HOLDS_UTF8(&name) ? bson_iter_utf8(&name, &length) : NULL;
        int64_t before = (int64_t)category_set_count(column->categories);
        if (!text || category_set_add(column->categories, text, length) != before)
            return damaged("categories are not different texts", i, error);
    }
    /* Class numbers are found by value: "1.0" is the class "1". */
    if (!column->categories || (column->role == PREPROCESS_LABEL && category_set_sort(column->categories, true, NULL)))
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's categories");
    return 0;
}

/* The index of what the document says among names, or -1. */
static int choice(const bson_t *document, const char *key, const char *(*name)(int), int count)
{
    const char *text = text_at(document, key);
    for (int i = 0; text && i < count; i++)
        if (!strcmp(name(i), text))
            return i;
    return -1;
}

static const char *role_name(int i)
{
    return preprocess_role_name((enum preprocess_role)i);
}

static const char *kind_name(int i)
{
    return preprocess_kind_name((enum preprocess_kind)i);
}

static int read_column(const bson_t *document, struct preprocess_column *column, int64_t i, bson_error_t *error)
{
    const char *name = text_at(document, "name"), *missing = text_at(document, "missing_as");
    const int role = choice(document, "role", role_name, PREPROCESS_DROPPED + 1);
    const int kind = choice(document, "kind", kind_name, PREPROCESS_TEXT + 1);
    if (!name || role < 0 || kind < 0 || (missing && preprocess_find_missing(missing, &column->missing)))
        return damaged("name, role, kind or missing_as", i, error);
    column->role = (enum preprocess_role)role;
    column->kind = (enum preprocess_kind)kind;
    column->name = strdup(name);
    column->missing_count = integer_at(document, "missing", 0);
    column->min = number_at(document, "min", NAN);
    column->max = number_at(document, "max", NAN);
    column->mean = number_at(document, "mean", NAN);
    column->deviation = number_at(document, "deviation", NAN);
    column->median = number_at(document, "median", NAN);
    if (!column->name)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's columns");
    if (read_categories(document, column, i, error))
        return -1;
    const bool encoded = kind == PREPROCESS_ONE_HOT || kind == PREPROCESS_IDS;
    return encoded && !column->categories ? damaged("no categories", i, error) : 0;
}

/* Settling makes shift, factor and fill anew; what the document says counts, since it is what was done. */
static void take_scales(const bson_t *list, struct preprocess *preprocess)
{
    bson_iter_t at;
    bson_t one;
    bool more = bson_iter_init(&at, list);
    for (int64_t i = 0; more && i < preprocess->count && bson_iter_next(&at); i++)
        if (view(&at, &one)) {
            struct preprocess_column *column = &preprocess->columns[i];
            column->shift = number_at(&one, "shift", column->shift);
            column->factor = number_at(&one, "factor", column->factor);
            column->fill = number_at(&one, "fill", column->fill);
        }
}

static char byte_at(const bson_t *document, const char *key, char fallback)
{
    const char *text = text_at(document, key);
    return text && text[0] && !text[1] ? text[0] : fallback;
}

static int read_whole(const bson_t *whole, struct preprocess **out, bson_error_t *error)
{
    bson_iter_t at, item;
    bson_t list, one, *columns = &list;
    const char *scale = text_at(whole, "scale");
    bson_iter_t header;
    if (!bson_iter_init_find(&at, whole, "columns") || !BSON_ITER_HOLDS_ARRAY(&at) || !view(&at, columns))
        return hub_error(error, HUB_ERROR_CORRUPT, "the dataset's preprocess has no columns");
    const uint32_t count = bson_count_keys(columns);
    if (count < 1 || count > COLUMNS)
        return hub_error(error, HUB_ERROR_CORRUPT, "the dataset's preprocess has %u columns", (unsigned)count);
    struct preprocess *preprocess = *out = preprocess_new(count);
    if (!preprocess)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the dataset's columns");
    if (preprocess_find_scale(scale, &preprocess->scale))
        return hub_error(error, HUB_ERROR_CORRUPT, "the dataset's preprocess: scale");
    preprocess->delimiter = byte_at(whole, "delimiter", ',');
    preprocess->decimal = byte_at(whole, "decimal", '.');
    preprocess->header = bson_iter_init_find(&header, whole, "header") && bson_iter_as_bool(&header);
    preprocess->skip = integer_at(whole, "skip_lines", 0);
    preprocess->window = integer_at(whole, "window", 0);
    preprocess->horizon = integer_at(whole, "horizon", 1);
    if (preprocess->window > WINDOW || preprocess->horizon > WINDOW || preprocess->horizon < 1)
        return hub_error(error, HUB_ERROR_CORRUPT, "the dataset's preprocess: window or horizon");
    bson_iter_init(&item, columns);
    for (int64_t i = 0; bson_iter_next(&item); i++)
        if (!view(&item, &one) || read_column(&one, &preprocess->columns[i], i, error))
            return error && error->message[0] ? -1 : damaged("no document", i, error);
    if (preprocess_settle(preprocess, "the dataset's preprocess", error))
        return -1;
    take_scales(columns, preprocess);
    return 1;
}

int preprocess_read(const bson_t *dataset, struct preprocess **preprocess, bson_error_t *error)
{
    bson_iter_t at;
    bson_t whole;
    *preprocess = NULL;
    if (error)
        memset(error, 0, sizeof *error);
    if (!bson_iter_init_find(&at, dataset, "preprocess"))
        return 0;
    if (!BSON_ITER_HOLDS_DOCUMENT(&at) || !view(&at, &whole))
        return hub_error(error, HUB_ERROR_CORRUPT, "the dataset's preprocess is no document");
    int result = read_whole(&whole, preprocess, error);
    if (result < 0) {
        preprocess_free(*preprocess);
        *preprocess = NULL;
    }
    return result;
}
