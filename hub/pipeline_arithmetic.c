/* SPDX-License-Identifier: Apache-2.0 */
/* Values of pipelines, and arithmetic with MongoDB's promotions. */
#include "hub/pipeline_impl.h"

#include <math.h>
#include <string.h>

/* ---- values ---- */

void pipeline_scratch_clear(struct pipeline_scratch *scratch)
{
    scratch->used = 0;
}

void pipeline_scratch_destroy(struct pipeline_scratch *scratch)
{
    for (size_t i = 0; i < scratch->capacity; i++)
        bson_destroy(scratch->documents[i]);
    bson_free(scratch->documents);
    *scratch = (struct pipeline_scratch){0};
}

bson_t *pipeline_scratch_new(struct pipeline_scratch *scratch)
{
    if (scratch->used == scratch->capacity) {
        size_t capacity = scratch->capacity ? 2 * scratch->capacity : 16;
        scratch->documents = bson_realloc(scratch->documents, capacity * sizeof *scratch->documents);
        while (scratch->capacity < capacity)
            scratch->documents[scratch->capacity++] = bson_new();
    }
    bson_t *document = scratch->documents[scratch->used++];
    bson_reinit(document);
    return document;
}

void pipeline_take(const bson_t *made, struct pipeline_value *out)
{
    out->there = bson_iter_init(&out->at, made) && bson_iter_next(&out->at);
}

void pipeline_make_null(struct pipeline_scratch *scratch, struct pipeline_value *out)
{
    bson_t *made = pipeline_scratch_new(scratch);
    BSON_APPEND_NULL(made, "");
    pipeline_take(made, out);
}

void pipeline_make_bool(struct pipeline_scratch *scratch, bool value, struct pipeline_value *out)
{
    bson_t *made = pipeline_scratch_new(scratch);
    BSON_APPEND_BOOL(made, "", value);
    pipeline_take(made, out);
}

void pipeline_make_int(struct pipeline_scratch *scratch, int32_t value, struct pipeline_value *out)
{
    bson_t *made = pipeline_scratch_new(scratch);
    BSON_APPEND_INT32(made, "", value);
    pipeline_take(made, out);
}

void pipeline_make_long(struct pipeline_scratch *scratch, int64_t value, struct pipeline_value *out)
{
    bson_t *made = pipeline_scratch_new(scratch);
    BSON_APPEND_INT64(made, "", value);
    pipeline_take(made, out);
}

void pipeline_make_double(struct pipeline_scratch *scratch, double value, struct pipeline_value *out)
{
    bson_t *made = pipeline_scratch_new(scratch);
    BSON_APPEND_DOUBLE(made, "", value);
    pipeline_take(made, out);
}

static void make_date(struct pipeline_scratch *scratch, int64_t value, struct pipeline_value *out)
{
    bson_t *made = pipeline_scratch_new(scratch);
    BSON_APPEND_DATE_TIME(made, "", value);
    pipeline_take(made, out);
}

bool pipeline_is_null(const struct pipeline_value *value)
{
    return !value->there || key_class_of(&value->at) == KEY_CLASS_NULL;
}

bool pipeline_is_number(const struct pipeline_value *value)
{
    return value->there && key_class_of(&value->at) == KEY_CLASS_NUMBER;
}

bool pipeline_is_true(const struct pipeline_value *value)
{
    if (pipeline_is_null(value))
        return false;
    if (BSON_ITER_HOLDS_BOOL(&value->at))
        return bson_iter_bool(&value->at);
    return !pipeline_is_number(value) || bson_iter_as_double(&value->at) != 0;
}

int pipeline_compare(const struct pipeline_value *a, const struct pipeline_value *b)
{
    if (!a->there || !b->there)
        return a->there - b->there;
    return query_compare_values(&a->at, &b->at);
}

const char *pipeline_type_name(const struct pipeline_value *value)
{
    if (!value->there)
        return "missing";
    switch (bson_iter_type(&value->at)) {
    case BSON_TYPE_DOUBLE: return "double";
    case BSON_TYPE_UTF8: return "string";
    case BSON_TYPE_DOCUMENT: return "object";
    case BSON_TYPE_ARRAY: return "array";
    case BSON_TYPE_BINARY: return "binary";
    case BSON_TYPE_OID: return "ObjectId";
    case BSON_TYPE_BOOL: return "bool";
    case BSON_TYPE_DATE_TIME: return "date";
    case BSON_TYPE_NULL: return "null";
    case BSON_TYPE_INT32: return "int";
    case BSON_TYPE_INT64: return "long";
    default: return "a type that is not kept";
    }
}

/* ---- sums ---- */

static void sum_double(struct pipeline_sum *sum, double x)
{
    double high = sum->high + x, back = high - sum->high;
    double rest = (sum->high - (high - back)) + (x - back); /* Knuth's two-sum: high + rest is exact */
    sum->plain += x;
    sum->low += rest;
    sum->high = high + sum->low;
    sum->low = (high - sum->high) + sum->low;
}

void pipeline_sum_add(struct pipeline_sum *sum, const bson_iter_t *number)
{
    if (BSON_ITER_HOLDS_DOUBLE(number)) {
        sum->any_double = true;
        sum_double(sum, bson_iter_double(number));
        return;
    }
    int64_t whole = bson_iter_as_int64(number);
    sum->any_long = sum->any_long || BSON_ITER_HOLDS_INT64(number);
    double coarse = (double)(whole / 65536) * 65536; /* both parts are exact */
    sum_double(sum, coarse);
    sum_double(sum, (double)(whole % 65536));
}

double pipeline_sum_double(const struct pipeline_sum *sum)
{
    double both = sum->high + sum->low;
    return isnan(both) ? sum->plain : both;
}

/* false where it does not fit. */
static bool sum_long(const struct pipeline_sum *sum, int64_t *value)
{
    if (sum->high == 9223372036854775808.0 && sum->low < 0) {
        *value = INT64_MAX + ((int64_t)sum->low + 1);
        return true;
    }
    if (!(sum->high >= -9223372036854775808.0 && sum->high < 9223372036854775808.0))
        return false;
    return !__builtin_add_overflow((int64_t)sum->high, (int64_t)sum->low, value);
}

void pipeline_sum_value(const struct pipeline_sum *sum, struct pipeline_scratch *scratch, struct pipeline_value *out)
{
    int64_t whole;
    if (sum->any_double || !sum_long(sum, &whole))
        pipeline_make_double(scratch, pipeline_sum_double(sum), out);
    else if (sum->any_long || whole != (int32_t)whole)
        pipeline_make_long(scratch, whole, out);
    else
        pipeline_make_int(scratch, (int32_t)whole, out);
}

/* ---- operators ---- */

static int wrong_type(const char *name, const struct pipeline_value *value, const char *wanted, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "%s: takes %s, not %s", name, wanted, pipeline_type_name(value));
}

static bool any_null(const struct pipeline_value *arguments, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pipeline_is_null(&arguments[i]))
            return true;
    return false;
}

static int all_numbers(const char *name, const struct pipeline_value *arguments, size_t count, bson_error_t *error)
{
    for (size_t i = 0; i < count; i++)
        if (!pipeline_is_number(&arguments[i]))
            return wrong_type(name, &arguments[i], "numbers", error);
    return 0;
}

static bool any_of(const struct pipeline_value *arguments, size_t count, bson_type_t type)
{
    for (size_t i = 0; i < count; i++)
        if (bson_iter_type(&arguments[i].at) == type)
            return true;
    return false;
}

/* Milliseconds of a number, rounded; -1 where it is none that a date can take. */
static int milliseconds(const char *name, const bson_iter_t *number, int64_t *ms, bson_error_t *error)
{
    double value = bson_iter_as_double(number);
    *ms = 0;
    if (!BSON_ITER_HOLDS_DOUBLE(number)) {
        *ms = bson_iter_as_int64(number);
        return 0;
    }
    if (!(value >= -9.2e18 && value <= 9.2e18))
        return hub_error(error, HUB_ERROR_INVALID, "%s: %g milliseconds are beyond what a date holds", name, value);
    *ms = llround(value);
    return 0;
}

static int date_overflow(const char *name, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "%s: the date is beyond what a date holds", name);
}

int pipeline_add(const char *name, const struct pipeline_value *arguments, size_t count, struct pipeline_scratch *scratch,
                 struct pipeline_value *out, bson_error_t *error)
{
    struct pipeline_sum sum = {0};
    const bson_iter_t *date = NULL;
    int64_t total, ms;
    if (any_null(arguments, count)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (BSON_ITER_HOLDS_DATE_TIME(&arguments[i].at)) {
            if (date)
                return hub_error(error, HUB_ERROR_INVALID, "%s: takes one date at most", name);
            date = &arguments[i].at;
        } else if (!pipeline_is_number(&arguments[i])) {
            return wrong_type(name, &arguments[i], "numbers and one date", error);
        } else if (!any_of(arguments, count, BSON_TYPE_DATE_TIME)) {
            pipeline_sum_add(&sum, &arguments[i].at);
        }
    }
    if (!date) {
        pipeline_sum_value(&sum, scratch, out);
        return 0;
    }
    total = bson_iter_date_time(date);
    for (size_t i = 0; i < count; i++)
        if (&arguments[i].at != date) {
            if (milliseconds(name, &arguments[i].at, &ms, error))
                return -1;
            if (__builtin_add_overflow(total, ms, &total))
                return date_overflow(name, error);
        }
    make_date(scratch, total, out);
    return 0;
}

/* The result of two whole numbers: as int32 where both are and it fits. */
static void make_whole(const struct pipeline_value *arguments, int64_t value, struct pipeline_scratch *scratch,
                       struct pipeline_value *out)
{
    if (!any_of(arguments, 2, BSON_TYPE_INT64) && value == (int32_t)value)
        pipeline_make_int(scratch, (int32_t)value, out);
    else
        pipeline_make_long(scratch, value, out);
}

int pipeline_subtract(const char *name, const struct pipeline_value *arguments, size_t count,
                      struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    const bson_iter_t *a = &arguments[0].at, *b = &arguments[1].at;
    int64_t value, ms;
    if (any_null(arguments, count)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    if (BSON_ITER_HOLDS_DATE_TIME(a)) {
        bool dates = BSON_ITER_HOLDS_DATE_TIME(b);
        if (!dates && !pipeline_is_number(&arguments[1]))
            return wrong_type(name, &arguments[1], "a date or a number after a date", error);
        if (dates)
            ms = bson_iter_date_time(b);
        else if (milliseconds(name, b, &ms, error))
            return -1;
        if (__builtin_sub_overflow(bson_iter_date_time(a), ms, &value))
            return date_overflow(name, error);
        if (dates)
            pipeline_make_long(scratch, value, out);
        else
            make_date(scratch, value, out);
        return 0;
    }
    if (all_numbers(name, arguments, count, error))
        return -1;
    if (any_of(arguments, count, BSON_TYPE_DOUBLE) ||
        __builtin_sub_overflow(bson_iter_as_int64(a), bson_iter_as_int64(b), &value))
        pipeline_make_double(scratch, bson_iter_as_double(a) - bson_iter_as_double(b), out);
    else
        make_whole(arguments, value, scratch, out);
    return 0;
}

int pipeline_multiply(const char *name, const struct pipeline_value *arguments, size_t count,
                      struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    double product = 1;
    int64_t whole = 1;
    bool fits = true;
    if (any_null(arguments, count)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    if (all_numbers(name, arguments, count, error))
        return -1;
    bool real = any_of(arguments, count, BSON_TYPE_DOUBLE);
    for (size_t i = 0; i < count; i++) {
        product *= bson_iter_as_double(&arguments[i].at);
        if (!real && fits)
            fits = !__builtin_mul_overflow(whole, bson_iter_as_int64(&arguments[i].at), &whole);
    }
    if (real || !fits)
        pipeline_make_double(scratch, product, out);
    else if (any_of(arguments, count, BSON_TYPE_INT64) || whole != (int32_t)whole)
        pipeline_make_long(scratch, whole, out);
    else
        pipeline_make_int(scratch, (int32_t)whole, out);
    return 0;
}

int pipeline_divide(const char *name, const struct pipeline_value *arguments, size_t count,
                    struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    if (any_null(arguments, count)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    if (all_numbers(name, arguments, count, error))
        return -1;
    double divisor = bson_iter_as_double(&arguments[1].at);
    if (divisor == 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: by zero; $cond can go round it", name);
    pipeline_make_double(scratch, bson_iter_as_double(&arguments[0].at) / divisor, out);
    return 0;
}

int pipeline_mod(const char *name, const struct pipeline_value *arguments, size_t count, struct pipeline_scratch *scratch,
                 struct pipeline_value *out, bson_error_t *error)
{
    if (any_null(arguments, count)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    if (all_numbers(name, arguments, count, error))
        return -1;
    const bson_iter_t *a = &arguments[0].at, *b = &arguments[1].at;
    if (bson_iter_as_double(b) == 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: by zero; $cond can go round it", name);
    if (any_of(arguments, count, BSON_TYPE_DOUBLE))
        pipeline_make_double(scratch, fmod(bson_iter_as_double(a), bson_iter_as_double(b)), out);
    else
        make_whole(arguments, bson_iter_as_int64(b) == -1 ? 0 : bson_iter_as_int64(a) % bson_iter_as_int64(b), scratch, out);
    return 0;
}

int pipeline_abs(const char *name, const struct pipeline_value *arguments, size_t count, struct pipeline_scratch *scratch,
                 struct pipeline_value *out, bson_error_t *error)
{
    if (any_null(arguments, count)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    if (all_numbers(name, arguments, count, error))
        return -1;
    const bson_iter_t *value = &arguments[0].at;
    int64_t whole = bson_iter_as_int64(value);
    if (BSON_ITER_HOLDS_DOUBLE(value))
        pipeline_make_double(scratch, fabs(bson_iter_double(value)), out);
    else if (whole == INT64_MIN)
        return hub_error(error, HUB_ERROR_INVALID, "%s: the lowest long has no positive one", name);
    else if (BSON_ITER_HOLDS_INT32(value) && whole > INT32_MIN)
        pipeline_make_int(scratch, (int32_t)(whole < 0 ? -whole : whole), out);
    else
        pipeline_make_long(scratch, whole < 0 ? -whole : whole, out);
    return 0;
}

/* $ceil, $floor and $trunc: whole numbers stay as they are. */
int pipeline_round(const char *name, const struct pipeline_value *arguments, size_t count,
                   struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    if (any_null(arguments, count)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    if (all_numbers(name, arguments, count, error))
        return -1;
    *out = arguments[0];
    if (!BSON_ITER_HOLDS_DOUBLE(&out->at))
        return 0;
    double value = bson_iter_double(&out->at);
    value = name[1] == 'c' ? ceil(value) : name[1] == 'f' ? floor(value) : trunc(value);
    pipeline_make_double(scratch, value, out);
    return 0;
}

/* $sqrt, $exp, $ln and $log10: double. */
int pipeline_real(const char *name, const struct pipeline_value *arguments, size_t count,
                  struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    if (any_null(arguments, count)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    if (all_numbers(name, arguments, count, error))
        return -1;
    double value = bson_iter_as_double(&arguments[0].at);
    bool logarithm = name[1] == 'l';
    if (logarithm ? value <= 0 : name[1] == 's' && value < 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: of %g; it must be %s", name, value,
                         logarithm ? "above 0" : "0 or more");
    if (logarithm)
        value = name[2] == 'n' ? log(value) : log10(value);
    else
        value = name[1] == 's' ? sqrt(value) : exp(value);
    pipeline_make_double(scratch, value, out);
    return 0;
}

/* A whole number to a whole power, where an int64 holds it. */
static bool whole_power(int64_t base, int64_t exponent, int64_t *power)
{
    *power = 1;
    if (exponent < 0)
        return false;
    if (base == 0 || base == 1) {
        *power = exponent == 0 ? 1 : base;
        return true;
    }
    if (base == -1) {
        *power = exponent % 2 ? -1 : 1;
        return true;
    }
    for (; exponent > 0; exponent--) /* 63 rounds at most: then it does not fit */
        if (__builtin_mul_overflow(*power, base, power))
            return false;
    return true;
}

int pipeline_pow(const char *name, const struct pipeline_value *arguments, size_t count, struct pipeline_scratch *scratch,
                 struct pipeline_value *out, bson_error_t *error)
{
    int64_t power;
    if (any_null(arguments, count)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    if (all_numbers(name, arguments, count, error))
        return -1;
    const bson_iter_t *base = &arguments[0].at, *exponent = &arguments[1].at;
    if (bson_iter_as_double(base) == 0 && bson_iter_as_double(exponent) < 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: 0 has no negative power", name);
    if (any_of(arguments, count, BSON_TYPE_DOUBLE) ||
        !whole_power(bson_iter_as_int64(base), bson_iter_as_int64(exponent), &power))
        pipeline_make_double(scratch, pow(bson_iter_as_double(base), bson_iter_as_double(exponent)), out);
    else
        make_whole(arguments, power, scratch, out);
    return 0;
}
