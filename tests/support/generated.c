/* SPDX-License-Identifier: Apache-2.0 */
#include "generated.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t state;
static bool stand_in;

static uint64_t random_bits(void) /* splitmix64 (Steele, Lea, Flood 2014) */
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void generated_start(uint64_t seed, int round, bool for_stand_in)
{
    stand_in = for_stand_in;
    state = seed;
    state = random_bits() + (uint64_t)round;
}

int generated_below(int n)
{
    return (int)(random_bits() % (uint64_t)n);
}

const char *generated_one_of(const char *const *texts)
{
    int count = 0;
    while (texts[count]) {
        count++;
    }
    return texts[generated_below(count)];
}

/* ---- values ---- */

/* Functions, as bson's own macros evaluate their arguments twice. */
static void put_text(bson_t *to, const char *key, const char *value)
{
    bson_append_utf8(to, key, -1, value, -1);
}

static void put_int32(bson_t *to, const char *key, int32_t value)
{
    bson_append_int32(to, key, -1, value);
}

static void begin_document(bson_t *to, const char *key, bson_t *child)
{
    bson_append_document_begin(to, key, -1, child);
}

static void begin_array(bson_t *to, const char *key, bson_t *child)
{
    bson_append_array_begin(to, key, -1, child);
}

static void add_oid(bson_t *to, const char *key)
{
    bson_oid_t oid;
    char text[25];
    snprintf(text, sizeof text, "5f1a2b3c4d5e6f708192%04x", generated_below(3));
    bson_oid_init_from_string(&oid, text);
    BSON_APPEND_OID(to, key, &oid);
}

static void add_number(bson_t *to, const char *key)
{
    static const double doubles[] = {0.5, 2.0, 3.0, -0.0, 9007199254740992.0, 1e300, -1.5};
    static const int64_t integers[] = {1, 2, 9007199254740993, 9007199254740992, -1, INT64_MAX, INT64_MIN};
    switch (generated_below(6)) {
    case 0:
        BSON_APPEND_DOUBLE(to, key, doubles[generated_below(7)]);
        break;
    case 1:
        /* The stand-in compares the largest int64 with doubles as doubles, so that it equals infinity. */
        BSON_APPEND_INT64(to, key, integers[generated_below(stand_in ? 5 : 7)]);
        break;
    default:
        put_int32(to, key, generated_below(6) - 1);
        break;
    }
}

static const char *const strings[] = {"", "a", "ab", "b", "Gr\xc3\xbc\xc3\x9f" "e", "\xe4\xb8\x96", "a.b", "1", NULL};

static void add_scalar(bson_t *to, const char *key)
{
    static const uint8_t bytes[] = {0, 1, 255};
    static const int64_t dates[] = {-1, 0, 1000};
    static const double odd[] = {(double)INFINITY, -(double)INFINITY, (double)NAN};
    switch (generated_below(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        add_number(to, key);
        break;
    case 4:
    case 5:
    case 6:
        put_text(to, key, generated_one_of(strings));
        break;
    case 7:
        BSON_APPEND_BOOL(to, key, generated_below(2) == 1);
        break;
    case 8:
        BSON_APPEND_NULL(to, key);
        break;
    case 9:
        BSON_APPEND_DATE_TIME(to, key, dates[generated_below(3)]);
        break;
    case 10:
        add_oid(to, key);
        break;
    default:
        if (generated_below(2)) {
            BSON_APPEND_BINARY(to, key, BSON_SUBTYPE_BINARY, bytes, (uint32_t)(1 + generated_below(3)));
        } else {
            /* The stand-in sorts NaN last. */
            BSON_APPEND_DOUBLE(to, key, odd[stand_in ? generated_below(2) : generated_below(3)]);
        }
        break;
    }
}

static void add_value(bson_t *to, const char *key, int depth);

static void add_document(bson_t *to, const char *key, int depth)
{
    bson_t child;
    begin_document(to, key, &child);
    if (generated_below(5)) {
        add_value(&child, "x", depth - 1);
    }
    if (generated_below(2)) {
        add_value(&child, "y", depth - 1);
    }
    bson_append_document_end(to, &child);
}

static void add_array(bson_t *to, const char *key, int depth)
{
    static const char *const indexes[] = {"0", "1", "2"};
    bson_t child;
    /* The stand-in sorts empty arrays with what is missing; MongoDB before null. Sorts use n and what is in it. */
    int count = stand_in && key[0] != 'l' ? 1 + generated_below(3) : generated_below(4);
    begin_array(to, key, &child);
    for (int i = 0; i < count; i++) {
        if (depth > 0 && generated_below(3) == 0) {
            add_document(&child, indexes[i], depth - 1);
        } else {
            add_scalar(&child, indexes[i]);
        }
    }
    bson_append_array_end(to, &child);
}

static void add_value(bson_t *to, const char *key, int depth)
{
    int kind = depth > 0 ? generated_below(10) : 9;
    if (kind == 0) {
        add_document(to, key, depth);
    } else if (kind == 1) {
        add_array(to, key, depth);
    } else {
        add_scalar(to, key);
    }
}

static void add_tags(bson_t *to, const char *key)
{
    static const char *const words[] = {"cnn", "image", "mlp", "text", NULL};
    static const char *const indexes[] = {"0", "1", "2"};
    bson_t child;
    int count = generated_below(4);
    begin_array(to, key, &child);
    for (int i = 0; i < count; i++) {
        put_text(&child, indexes[i], generated_one_of(words));
    }
    bson_append_array_end(to, &child);
}

bson_t *generated_document(int id)
{
    bson_t *made = BCON_NEW("_id", BCON_INT32(id));
    if (generated_below(6)) {
        add_scalar(made, "a");
    }
    if (generated_below(6)) {
        add_scalar(made, "b");
    }
    if (generated_below(3)) {
        put_text(made, "s", generated_one_of(strings));
    }
    if (generated_below(4)) {
        add_document(made, "n", 2);
    }
    if (generated_below(4)) {
        if (generated_below(2)) {
            add_array(made, "l", 2);
        } else {
            add_value(made, "l", 2);
        }
    }
    if (generated_below(3)) {
        add_tags(made, "tags");
    }
    return made;
}

/* ---- filters ---- */

static const char *const paths[] = {"a", "a", "b", "b", "s", "n", "n.x", "n.y", "n.x.x", "l", "l.x", "l.0", "l.1.x",
                                    "tags", "_id", "none", NULL};

static bool may_pass_an_array(const char *path)
{
    return path[0] == 'l' || strcmp(path, "n.x.x") == 0;
}

/* An operand; not_null where the stand-in could not compare with null. */
static void add_operand(bson_t *to, const char *key, const char *path, bool not_null)
{
    static const char *const tags[] = {"cnn", "image", "none", NULL};
    if (strcmp(path, "_id") == 0) {
        put_int32(to, key, generated_below(GENERATED_DOCUMENTS));
    } else if (strcmp(path, "tags") == 0) {
        put_text(to, key, generated_one_of(tags));
    } else {
        bson_iter_t iter;
        bson_t scalar;
        do {
            bson_init(&scalar);
            add_scalar(&scalar, "v");
            bson_iter_init_find(&iter, &scalar, "v");
            if (!(not_null && BSON_ITER_HOLDS_NULL(&iter))) {
                bson_append_iter(to, key, -1, &iter);
                not_null = false;
            }
            bson_destroy(&scalar);
        } while (not_null);
    }
}

static void add_list(bson_t *to, const char *operator, const char *path, bool not_null)
{
    static const char *const indexes[] = {"0", "1", "2"};
    bson_t list;
    int count = 1 + generated_below(3);
    begin_array(to, operator, &list);
    for (int i = 0; i < count; i++) {
        add_operand(&list, indexes[i], path, not_null);
    }
    bson_append_array_end(to, &list);
}

enum condition { EQUAL, WHOLE, NOT_EQUAL, IN, NOT_IN, ALL, EXISTS, REGEX, NOT_RANGE, RANGE, CONDITIONS };

/* What the stand-in answers otherwise than MongoDB documents it:
 *  - where a path passes an array that is empty or holds scalars, nothing is there: {'l.x': null} does not match, and
 *    $exists: false, $ne, $nin, $not and $nor do;
 *  - $gte and $lte of null match null and what is missing;
 *  - {a: {$all: [1]}} matches a: 1, which is no array;
 *  - $regex matches strings only, not numbers, dates, binaries or empty arrays as text;
 *  - {a: {}} asks for an empty document and {a: {x: null}} for just that, not for anything. */
static bool deviates(enum condition condition, const char *path, bool negated)
{
    bool positive = condition == EQUAL || condition == IN || condition == RANGE;
    if (may_pass_an_array(path) && (negated || !positive)) {
        return true;
    }
    return (condition == ALL && strcmp(path, "tags") != 0) ||
           (condition == REGEX && strcmp(path, "s") != 0);
}

static void add_condition(bson_t *to, const char *path, bool negated)
{
    static const char *const ranges[] = {"$gt", "$gte", "$lt", "$lte", NULL};
    static const char *const patterns[] = {"^a", "b", "^Gr\xc3\xbc", "a\\.b", "1", "^", NULL};
    bson_t condition;
    bson_t inner;
    enum condition kind = (enum condition)generated_below(CONDITIONS);
    while (stand_in && deviates(kind, path, negated)) {
        kind = negated && may_pass_an_array(path) ? EQUAL : (enum condition)generated_below(CONDITIONS);
        path = negated && may_pass_an_array(path) ? "a" : path;
    }
    bool not_null = stand_in && may_pass_an_array(path);
    if (kind == EQUAL || (kind == WHOLE && strcmp(path, "_id") == 0)) {
        add_operand(to, path, path, not_null);
        return;
    }
    if (kind == WHOLE) {
        bson_t whole = BSON_INITIALIZER;
        bson_iter_t iter;
        add_value(&whole, "v", 2);
        char *text = bson_as_canonical_extended_json(&whole, NULL);
        if (stand_in && (strstr(text, "{  }") || strstr(text, ": null") || strstr(text, "[ null") ||
                         strstr(text, ", null"))) {
            put_int32(to, path, 1);
        } else if (bson_iter_init_find(&iter, &whole, "v")) {
            bson_append_iter(to, path, -1, &iter);
        }
        bson_free(text);
        bson_destroy(&whole);
        return;
    }
    begin_document(to, path, &condition);
    switch (kind) {
    case NOT_EQUAL:
        add_operand(&condition, "$ne", path, false);
        break;
    case IN:
        add_list(&condition, "$in", path, not_null);
        break;
    case NOT_IN:
        add_list(&condition, "$nin", path, false);
        break;
    case ALL:
        add_list(&condition, "$all", path, false);
        break;
    case EXISTS:
        bson_append_bool(&condition, "$exists", -1, generated_below(2) == 1);
        break;
    case REGEX:
        put_text(&condition, "$regex", generated_one_of(patterns));
        break;
    case NOT_RANGE:
        begin_document(&condition, "$not", &inner);
        add_operand(&inner, generated_one_of(ranges), path, stand_in);
        bson_append_document_end(&condition, &inner);
        break;
    default:
        add_operand(&condition, generated_one_of(ranges), path, stand_in);
        break;
    }
    bson_append_document_end(to, &condition);
}

static bson_t *make_filter(int depth, bool negated)
{
    static const char *const others[] = {"b", "n.x", "tags", "s", NULL};
    static const char *const joins[] = {"$and", "$or", "$or", "$nor", NULL};
    bson_t *filter = bson_new();
    bson_t list;
    int kind = generated_below(depth > 0 ? 5 : 3);
    if (kind == 0) {
        add_condition(filter, "a", negated);
        add_condition(filter, generated_one_of(others), negated);
    } else if (kind < 3) {
        add_condition(filter, generated_one_of(paths), negated);
    } else {
        const char *join = generated_one_of(joins);
        begin_array(filter, join, &list);
        for (int i = 0; i < 2; i++) {
            bson_t *part = make_filter(depth - 1, negated || strcmp(join, "$nor") == 0);
            bson_append_document(&list, i ? "1" : "0", -1, part);
            bson_destroy(part);
        }
        bson_append_array_end(filter, &list);
    }
    return filter;
}

bson_t *generated_filter(void)
{
    return make_filter(2, false);
}

/* ---- updates ---- */

static void add_increment(bson_t *to, const char *key)
{
    bson_t number = BSON_INITIALIZER;
    bson_iter_t iter;
    add_number(&number, "v");
    bson_iter_init_find(&iter, &number, "v");
    if (stand_in && BSON_ITER_HOLDS_DOUBLE(&iter) && bson_iter_double(&iter) == 0.0) {
        put_int32(to, key, 1); /* its $inc by -0.0 makes 0.0 of a missing field */
    } else {
        bson_append_iter(to, key, -1, &iter);
    }
    bson_destroy(&number);
}

bson_t *generated_update(void)
{
    static const char *const targets[] = {"a", "b", "n.x", "n.y", "n.z.w", "l.0", "l.x", "c", "l.5", NULL};
    static const char *const arrays[] = {"tags", "l", "new", "n.x", NULL};
    const char *array = generated_one_of(arrays);
    bson_t *update = bson_new();
    bson_t fields;
    bson_t push;
    const char *target = generated_one_of(targets);
    switch (generated_below(8)) {
    case 0:
    case 1:
        begin_document(update, "$set", &fields);
        if (strcmp(target, "b") == 0) {
            add_scalar(&fields, target); /* its path has an index: no arrays */
        } else {
            add_value(&fields, target, 2);
        }
        bson_append_document_end(update, &fields);
        break;
    case 2:
        begin_document(update, "$unset", &fields);
        put_text(&fields, target, "");
        bson_append_document_end(update, &fields);
        break;
    case 3:
        begin_document(update, "$inc", &fields);
        add_increment(&fields, target);
        bson_append_document_end(update, &fields);
        break;
    case 4:
    case 5:
        begin_document(update, generated_below(2) ? "$min" : "$max", &fields);
        add_scalar(&fields, target);
        bson_append_document_end(update, &fields);
        break;
    case 6:
        begin_document(update, "$push", &fields);
        put_text(&fields, array, "cnn");
        bson_append_document_end(update, &fields);
        break;
    default:
        begin_document(update, "$push", &fields);
        begin_document(&fields, array, &push);
        add_tags(&push, "$each");
        put_int32(&push, "$slice", generated_below(5) - 3);
        bson_append_document_end(&fields, &push);
        bson_append_document_end(update, &fields);
        break;
    }
    return update;
}
