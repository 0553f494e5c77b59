/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/schema.h"

#include "hub/hub_impl.h"
#include "hub/schema_impl.h"

#include <math.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SCHEMAS 16
#define MAX_PATTERNS 32
#define PATH_SIZE 400

/* Parsed once a process and kept; another thread that parses at the same time throws its copy away. */
static _Atomic(bson_t *) parsed[MAX_SCHEMAS];

static int find_index(const char *name)
{
    for (int i = 0; i < MAX_SCHEMAS && schema_texts[i].name != NULL; i++) {
        if (strcmp(schema_texts[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *schema_text(const char *name)
{
    int i = find_index(name);
    return i < 0 ? NULL : schema_texts[i].text;
}

static const bson_t *get(const char *name, bson_error_t *error)
{
    int i = find_index(name);
    bson_error_t inner;
    bson_t *expected = NULL;
    if (i < 0) {
        hub_error(error, HUB_ERROR_INTERNAL, "there is no schema \"%s\"", name);
        return NULL;
    }
    bson_t *schema = atomic_load(&parsed[i]);
    if (schema != NULL) {
        return schema;
    }
    schema = bson_new_from_json((const uint8_t *)schema_texts[i].text, -1, &inner);
    if (schema == NULL) {
        hub_error(error, HUB_ERROR_INTERNAL, "schemas/%s.json: %s", name, inner.message);
        return NULL;
    }
    if (!atomic_compare_exchange_strong(&parsed[i], &expected, schema)) {
        bson_destroy(schema);
        schema = expected;
    }
    return schema;
}

/* Compiling a pattern costs far more than matching it, and every claim checks a task. */
struct pattern {
    const char *text; /* of a parsed schema: it stays */
    regex_t regex;
};

static _Atomic(struct pattern *) patterns[MAX_PATTERNS];

static void pattern_free(struct pattern *pattern)
{
    if (pattern != NULL) {
        regfree(&pattern->regex);
    }
    free(pattern);
}

/* NULL where it cannot be compiled. */
static const regex_t *compiled(const char *text)
{
    struct pattern *new = NULL;
    for (int i = 0; i < MAX_PATTERNS; i++) {
        struct pattern *pattern = atomic_load(&patterns[i]);
        if (pattern == NULL) {
            if (new == NULL) {
                new = calloc(1, sizeof *new);
                if (new == NULL || regcomp(&new->regex, text, REG_EXTENDED | REG_NOSUB) != 0) {
                    free(new);
                    return NULL;
                }
                new->text = text;
            }
            if (atomic_compare_exchange_strong(&patterns[i], &pattern, new)) {
                return &new->regex;
            }
        }
        if (strcmp(pattern->text, text) == 0) {
            pattern_free(new);
            return &pattern->regex;
        }
    }
    pattern_free(new);
    return NULL;
}

/* ---- reading the schema ---- */

static bool keyword(const bson_t *schema, const char *name, bson_iter_t *iter)
{
    return bson_iter_init_find(iter, schema, name);
}

static bool keyword_view(const bson_t *schema, const char *name, bson_t *view)
{
    bson_iter_t iter;
    return keyword(schema, name, &iter) && hub_item(&iter, view);
}

bool schema_knows(const char *name, const char *key)
{
    const bson_t *schema = get(name, NULL);
    bson_t properties;
    bson_iter_t iter;
    return schema != NULL && keyword_view(schema, "properties", &properties) &&
           bson_iter_init_find(&iter, &properties, key);
}

/* ---- types ---- */

static const char *type_name(const bson_iter_t *value)
{
    switch (bson_iter_type(value)) {
    case BSON_TYPE_DOUBLE: return "double";
    case BSON_TYPE_UTF8: return "string";
    case BSON_TYPE_DOCUMENT: return "object";
    case BSON_TYPE_ARRAY: return "array";
    case BSON_TYPE_BINARY: return "binData";
    case BSON_TYPE_OID: return "objectId";
    case BSON_TYPE_BOOL: return "bool";
    case BSON_TYPE_DATE_TIME: return "date";
    case BSON_TYPE_NULL: return "null";
    case BSON_TYPE_INT32: return "int";
    case BSON_TYPE_INT64: return "long";
    default: return "a type that the hub does not keep";
    }
}

static bool is_type(const bson_iter_t *value, const char *wanted)
{
    return strcmp(wanted, type_name(value)) == 0 || (strcmp(wanted, "number") == 0 && BSON_ITER_HOLDS_NUMBER(value));
}

/* "string or null" */
static bool check_type(const bson_iter_t *wanted, const bson_iter_t *value, char *names, size_t size)
{
    bson_t list;
    bson_iter_t iter;
    names[0] = '\0';
    if (BSON_ITER_HOLDS_UTF8(wanted)) {
        snprintf(names, size, "%s", bson_iter_utf8(wanted, NULL));
        return is_type(value, bson_iter_utf8(wanted, NULL));
    }
    if (!hub_item(wanted, &list) || !bson_iter_init(&iter, &list)) {
        return true;
    }
    while (bson_iter_next(&iter)) {
        const char *name = bson_iter_utf8(&iter, NULL);
        size_t used = strlen(names);
        if (is_type(value, name)) {
            return true;
        }
        snprintf(names + used, size - used, "%s%s", used > 0 ? " or " : "", name);
    }
    return false;
}

/* ---- checks of one value; path is where it stands: "task.hyper_parameters.epochs" ---- */

static int check_value(const bson_t *schema, const bson_iter_t *value, const char *path, bson_error_t *error);

static int check_number(const bson_t *schema, const bson_iter_t *value, const char *path, bson_error_t *error)
{
    bson_iter_t limit;
    double number = bson_iter_as_double(value);
    /* Written so that NaN is refused wherever there is a limit. */
    if (keyword(schema, "minimum", &limit) && !(number >= bson_iter_as_double(&limit))) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: %.17g is below the minimum %.17g", path, number,
                         bson_iter_as_double(&limit));
    }
    if (keyword(schema, "maximum", &limit) && !(number <= bson_iter_as_double(&limit))) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: %.17g is above the maximum %.17g", path, number,
                         bson_iter_as_double(&limit));
    }
    return 1;
}

static int check_string(const bson_t *schema, const bson_iter_t *value, const char *path, bson_error_t *error)
{
    bson_iter_t limit;
    uint32_t bytes;
    const char *text = bson_iter_utf8(value, &bytes);
    int64_t characters = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        characters += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    if (keyword(schema, "minLength", &limit) && characters < bson_iter_as_int64(&limit)) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: %s", path,
                         characters == 0 ? "it is empty" : "it is too short");
    }
    if (keyword(schema, "maxLength", &limit) && characters > bson_iter_as_int64(&limit)) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: %" PRId64 " characters are more than the maximum %" PRId64, path,
                         characters, bson_iter_as_int64(&limit));
    }
    if (keyword(schema, "pattern", &limit)) {
        const char *pattern = bson_iter_utf8(&limit, NULL);
        const regex_t *regex = compiled(pattern);
        if (regex == NULL) {
            return hub_error(error, HUB_ERROR_INTERNAL, "%s: the schema's pattern %s cannot be read", path, pattern);
        }
        if (strlen(text) != bytes || regexec(regex, text, 0, NULL, 0) != 0) {
            return hub_error(error, HUB_ERROR_INVALID, "%s: \"%.80s\" does not match %s", path, text, pattern);
        }
    }
    return 1;
}

/* Strings, numbers and booleans, which is what our enumerations hold. */
static bool same_value(const bson_iter_t *a, const bson_iter_t *b)
{
    if (BSON_ITER_HOLDS_NUMBER(a) && BSON_ITER_HOLDS_NUMBER(b)) {
        return bson_iter_as_double(a) == bson_iter_as_double(b);
    }
    if (bson_iter_type(a) != bson_iter_type(b)) {
        return false;
    }
    if (BSON_ITER_HOLDS_UTF8(a)) {
        return strcmp(bson_iter_utf8(a, NULL), bson_iter_utf8(b, NULL)) == 0;
    }
    return BSON_ITER_HOLDS_BOOL(a) ? bson_iter_bool(a) == bson_iter_bool(b) : BSON_ITER_HOLDS_NULL(a);
}

static int check_enum(const bson_t *list, const bson_iter_t *value, const char *path, bson_error_t *error)
{
    bson_iter_t iter;
    char names[300] = "";
    if (!bson_iter_init(&iter, list)) {
        return 1;
    }
    while (bson_iter_next(&iter)) {
        size_t used = strlen(names);
        if (same_value(&iter, value)) {
            return 1;
        }
        if (BSON_ITER_HOLDS_UTF8(&iter)) {
            snprintf(names + used, sizeof names - used, "%s%s", used > 0 ? ", " : "", bson_iter_utf8(&iter, NULL));
        }
    }
    if (BSON_ITER_HOLDS_UTF8(value)) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: \"%.80s\" is none of %s", path, bson_iter_utf8(value, NULL), names);
    }
    return hub_error(error, HUB_ERROR_INVALID, "%s: it is none of %s", path, names);
}

static int check_array(const bson_t *schema, const bson_iter_t *value, const char *path, bson_error_t *error)
{
    bson_iter_t limit, iter, other;
    bson_t list, items;
    char inner[PATH_SIZE];
    if (!hub_item(value, &list) || !bson_iter_init(&iter, &list)) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: it cannot be read", path);
    }
    int64_t count = 0;
    bool each = keyword_view(schema, "items", &items);
    bool unique = keyword(schema, "uniqueItems", &limit) && bson_iter_as_bool(&limit);
    for (; bson_iter_next(&iter); count++) {
        snprintf(inner, sizeof inner, "%.300s[%" PRId64 "]", path, count);
        if (each && check_value(&items, &iter, inner, error) < 0) {
            return -1;
        }
        if (unique && bson_iter_init(&other, &list)) {
            for (int64_t i = 0; i < count && bson_iter_next(&other); i++) {
                if (same_value(&iter, &other)) {
                    return hub_error(error, HUB_ERROR_INVALID, "%s: it is there twice", inner);
                }
            }
        }
        /* Ends early: with unique items the work grows with the square of their number. */
        if (keyword(schema, "maxItems", &limit) && count >= bson_iter_as_int64(&limit)) {
            return hub_error(error, HUB_ERROR_INVALID, "%s: it has more than the maximum of %" PRId64 " items", path,
                             bson_iter_as_int64(&limit));
        }
    }
    if (keyword(schema, "minItems", &limit) && count < bson_iter_as_int64(&limit)) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: it has fewer than the minimum of %" PRId64 " items", path,
                         bson_iter_as_int64(&limit));
    }
    return 1;
}

static int check_properties(const bson_t *schema, const bson_t *document, const char *path, bson_error_t *error)
{
    bson_t properties, rest, property;
    bson_iter_t iter, found, additional;
    char inner[PATH_SIZE];
    bool has_properties = keyword_view(schema, "properties", &properties);
    bool has_additional = keyword(schema, "additionalProperties", &additional);
    if (!bson_iter_init(&iter, document)) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: it cannot be read", path);
    }
    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        snprintf(inner, sizeof inner, "%.250s.%.120s", path, key);
        if (has_properties && bson_iter_init_find(&found, &properties, key)) {
            if (hub_item(&found, &property) && check_value(&property, &iter, inner, error) < 0) {
                return -1;
            }
        } else if (has_additional && BSON_ITER_HOLDS_BOOL(&additional) && !bson_iter_bool(&additional)) {
            return hub_error(error, HUB_ERROR_INVALID, "%s: there is no such field", inner);
        } else if (has_additional && hub_item(&additional, &rest) && check_value(&rest, &iter, inner, error) < 0) {
            return -1;
        }
    }
    return 1;
}

static int check_fields(const bson_t *schema, const bson_t *document, const char *path, bson_error_t *error)
{
    bson_t required;
    bson_iter_t iter, found;
    if (keyword_view(schema, "required", &required) && bson_iter_init(&iter, &required)) {
        while (bson_iter_next(&iter)) {
            if (!bson_iter_init_find(&found, document, bson_iter_utf8(&iter, NULL))) {
                return hub_error(error, HUB_ERROR_INVALID, "%s.%s: it is missing", path, bson_iter_utf8(&iter, NULL));
            }
        }
    }
    return check_properties(schema, document, path, error);
}

/* The first alternative whose type fits tells best what is wrong. */
static int check_any(const bson_t *alternatives, const bson_iter_t *value, const char *path, bson_error_t *error)
{
    bson_iter_t iter, type;
    bson_t schema;
    bson_error_t inner;
    char names[200];
    bool told = false;
    if (!bson_iter_init(&iter, alternatives)) {
        return 1;
    }
    while (bson_iter_next(&iter)) {
        if (!hub_item(&iter, &schema) || check_value(&schema, value, path, &inner) > 0) {
            return 1;
        }
        if (error != NULL && (!told || (keyword(&schema, "bsonType", &type) && check_type(&type, value, names, sizeof names)))) {
            *error = inner;
            told = true;
        }
    }
    return -1;
}

static int check_value(const bson_t *schema, const bson_iter_t *value, const char *path, bson_error_t *error)
{
    bson_iter_t iter;
    bson_t view, list;
    char names[200];
    if (keyword(schema, "bsonType", &iter) && !check_type(&iter, value, names, sizeof names)) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: it is %s, not %s", path, type_name(value), names);
    }
    if (keyword_view(schema, "enum", &list) && check_enum(&list, value, path, error) < 0) {
        return -1;
    }
    if (keyword_view(schema, "anyOf", &list) && check_any(&list, value, path, error) < 0) {
        return -1;
    }
    if (BSON_ITER_HOLDS_NUMBER(value)) {
        return check_number(schema, value, path, error);
    }
    if (BSON_ITER_HOLDS_UTF8(value)) {
        return check_string(schema, value, path, error);
    }
    if (BSON_ITER_HOLDS_ARRAY(value)) {
        return check_array(schema, value, path, error);
    }
    if (BSON_ITER_HOLDS_DOCUMENT(value)) {
        return hub_item(value, &view) ? check_fields(schema, &view, path, error)
                                     : hub_error(error, HUB_ERROR_INVALID, "%s: it cannot be read", path);
    }
    return 1;
}

int schema_check(const char *name, const bson_t *document, bson_error_t *error)
{
    const bson_t *schema = get(name, error);
    return schema == NULL ? -1 : check_fields(schema, document, name, error);
}

int schema_check_fields(const char *name, const bson_t *fields, bson_error_t *error)
{
    const bson_t *schema = get(name, error);
    return schema == NULL ? -1 : check_properties(schema, fields, name, error);
}
