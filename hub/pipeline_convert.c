/* SPDX-License-Identifier: Apache-2.0 */
/* Casts of pipelines. null and missing become null; what cannot be cast is an error. */
#include "hub/pipeline_impl.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int refuse(const char *name, const struct pipeline_value *value, bson_error_t *error)
{
    if (value->there && BSON_ITER_HOLDS_UTF8(&value->at))
        return hub_error(error, HUB_ERROR_INVALID, "%s: \"%.80s\" is no such value", name, bson_iter_utf8(&value->at, NULL));
    if (pipeline_is_number(value))
        return hub_error(error, HUB_ERROR_INVALID, "%s: %g is beyond what it holds", name, bson_iter_as_double(&value->at));
    return hub_error(error, HUB_ERROR_INVALID, "%s: a value of type %s cannot be cast", name, pipeline_type_name(value));
}

/* A whole string of an optional sign and digits. */
static bool read_whole(const bson_iter_t *value, int64_t *number)
{
    uint32_t length;
    const char *text = bson_iter_utf8(value, &length);
    char *end;
    const char *digits = text + (*text == '-' || *text == '+');
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || (size_t)(digits - text) + count != length)
        return false;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return errno == 0;
}

static bool read_real(const bson_iter_t *value, double *number)
{
    uint32_t length;
    const char *text = bson_iter_utf8(value, &length);
    char *end;
    if (length == 0 || strspn(text, "+-.0123456789eE") != length)
        return false;
    *number = strtod(text, &end);
    return end == text + length && isfinite(*number);
}

/* The value as a whole number of so many bits. */
static bool to_whole(const struct pipeline_value *value, double limit, bool dates, int64_t *whole)
{
    const bson_iter_t *at = &value->at;
    switch (bson_iter_type(at)) {
    case BSON_TYPE_BOOL:
        *whole = bson_iter_bool(at);
        return true;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
        *whole = bson_iter_as_int64(at);
        break;
    case BSON_TYPE_DOUBLE: {
        double real = trunc(bson_iter_double(at));
        if (!(real >= -limit && real < limit))
            return false;
        *whole = (int64_t)real;
        break;
    }
    case BSON_TYPE_DATE_TIME:
        *whole = bson_iter_date_time(at);
        return dates;
    case BSON_TYPE_UTF8:
        if (!read_whole(at, whole))
            return false;
        break;
    default:
        return false;
    }
    return limit > 1e18 || (*whole >= INT32_MIN && *whole <= INT32_MAX);
}

int pipeline_to_int(const char *name, const struct pipeline_value *arguments, size_t count,
                    struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    int64_t whole;
    (void)count;
    if (pipeline_is_null(arguments))
        pipeline_make_null(scratch, out);
    else if (to_whole(arguments, 2147483649.0, false, &whole) && whole == (int32_t)whole)
        pipeline_make_int(scratch, (int32_t)whole, out);
    else
        return refuse(name, arguments, error);
    return 0;
}

int pipeline_to_long(const char *name, const struct pipeline_value *arguments, size_t count,
                     struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    int64_t whole;
    (void)count;
    if (pipeline_is_null(arguments))
        pipeline_make_null(scratch, out);
    else if (to_whole(arguments, 9223372036854775808.0, true, &whole))
        pipeline_make_long(scratch, whole, out);
    else
        return refuse(name, arguments, error);
    return 0;
}

int pipeline_to_double(const char *name, const struct pipeline_value *arguments, size_t count,
                       struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    double real;
    (void)count;
    if (pipeline_is_null(arguments))
        pipeline_make_null(scratch, out);
    else if (pipeline_is_number(arguments) || BSON_ITER_HOLDS_BOOL(&arguments->at))
        pipeline_make_double(scratch, BSON_ITER_HOLDS_BOOL(&arguments->at) ? bson_iter_bool(&arguments->at)
                                                                           : bson_iter_as_double(&arguments->at), out);
    else if (BSON_ITER_HOLDS_DATE_TIME(&arguments->at))
        pipeline_make_double(scratch, (double)bson_iter_date_time(&arguments->at), out);
    else if (BSON_ITER_HOLDS_UTF8(&arguments->at) && read_real(&arguments->at, &real))
        pipeline_make_double(scratch, real, out);
    else
        return refuse(name, arguments, error);
    return 0;
}

int pipeline_to_bool(const char *name, const struct pipeline_value *arguments, size_t count,
                     struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    (void)name;
    (void)count;
    (void)error;
    if (pipeline_is_null(arguments))
        pipeline_make_null(scratch, out);
    else
        pipeline_make_bool(scratch, pipeline_is_true(arguments), out);
    return 0;
}

/* The fewest digits that read back as the same double. */
static void write_real(double real, char text[40])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 40, "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            break;
    }
    if (isnan(real))
        snprintf(text, 40, "NaN");
    else if (isinf(real))
        snprintf(text, 40, "%s", real > 0 ? "Infinity" : "-Infinity");
}

/* 1970-01-01T00:00:00.000Z; false for years that have more than four digits. */
static bool write_date(int64_t ms, char text[40])
{
    int64_t rest = ms % 1000, seconds = ms / 1000;
    if (rest < 0) {
        rest += 1000;
        seconds--;
    }
    time_t when = (time_t)seconds;
    struct tm parts;
    if (!gmtime_r(&when, &parts) || parts.tm_year < -1900 || parts.tm_year > 8099)
        return false;
    snprintf(text, 40, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (parts.tm_year + 1900) % 10000, (parts.tm_mon + 1) % 100,
             parts.tm_mday % 100, parts.tm_hour % 100, parts.tm_min % 100, parts.tm_sec % 100, (int)rest);
    return true;
}

int pipeline_to_string(const char *name, const struct pipeline_value *arguments, size_t count,
                       struct pipeline_scratch *scratch, struct pipeline_value *out, bson_error_t *error)
{
    const bson_iter_t *at = &arguments->at;
    char text[40] = "";
    (void)count;
    if (pipeline_is_null(arguments)) {
        pipeline_make_null(scratch, out);
        return 0;
    }
    switch (bson_iter_type(at)) {
    case BSON_TYPE_UTF8:
        *out = *arguments;
        return 0;
    case BSON_TYPE_BOOL:
        snprintf(text, sizeof text, "%s", bson_iter_bool(at) ? "true" : "false");
        break;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
        snprintf(text, sizeof text, "%lld", (long long)bson_iter_as_int64(at));
        break;
    case BSON_TYPE_DOUBLE:
        write_real(bson_iter_double(at), text);
        break;
    case BSON_TYPE_OID:
        bson_oid_to_string(bson_iter_oid(at), text);
        break;
    case BSON_TYPE_DATE_TIME:
        if (write_date(bson_iter_date_time(at), text))
            break;
        return refuse(name, arguments, error);
    default:
        return refuse(name, arguments, error);
    }
    bson_t *made = pipeline_scratch_new(scratch);
    BSON_APPEND_UTF8(made, "", text);
    pipeline_take(made, out);
    return 0;
}
