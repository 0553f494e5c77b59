/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep_history.h"

#include "hub/sweep_results.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = SWEEP_HISTORY_POINTS };

static int no_memory(const char *sweep, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_MEMORY, "no memory for the results of sweep %s", sweep);
}

static void put(uint8_t *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = htole64(bits);
    memcpy(to, &bits, sizeof bits);
}

static double get(const uint8_t *from)
{
    uint64_t bits;
    double value;
    memcpy(&bits, from, sizeof bits);
    bits = le64toh(bits);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Of each point its value and its place, NaN for what is not there: (POINTS, 1 + dimensions) little-endian doubles. */
static uint8_t *pack(const struct search_result *results, size_t dimensions, size_t *size)
{
    *size = POINTS * (1 + dimensions) * sizeof(double);
    uint8_t *data = malloc(*size), *at = data;
    for (size_t i = 0; data && i < POINTS; i++) {
        put(at, results[i].has_value ? results[i].value : NAN);
        for (size_t j = 0; j < dimensions; j++)
            put(at + (1 + j) * sizeof(double), results[i].units ? results[i].units[j] : NAN);
        at += (1 + dimensions) * sizeof(double);
    }
    return data;
}

/* units is (POINTS, dimensions). */
static void unpack(const uint8_t *data, size_t dimensions, struct search_result *results, double *units)
{
    for (size_t i = 0; i < POINTS; i++) {
        double value = get(data), *place = units + i * dimensions;
        for (size_t j = 0; j < dimensions; j++)
            place[j] = get(data + (1 + j) * sizeof(double));
        bool there = dimensions == 0 || !isnan(place[0]), valued = !isnan(value);
        results[i] = (struct search_result){
            .units = there ? place : NULL, .value = valued ? value : INFINITY, .ended = true, .has_value = valued};
        data += (1 + dimensions) * sizeof(double);
    }
}

int sweep_history_save(struct hub *hub, const char *sweep, size_t dimensions, const struct sweep_history *history,
                       bson_error_t *error)
{
    bson_t fields = BSON_INITIALIZER;
    size_t size;
    uint8_t *data = pack(history->results, dimensions, &size);
    int result = -1;
    if (data && size <= UINT32_MAX && BSON_APPEND_INT64(&fields, "next_seq", history->next_seq) &&
        BSON_APPEND_INT64(&fields, "tasks", history->tasks) && BSON_APPEND_DOUBLE(&fields, "seconds", history->seconds) &&
        BSON_APPEND_DOUBLE(&fields, "flops", history->flops) &&
        BSON_APPEND_BINARY(&fields, "results", BSON_SUBTYPE_BINARY, data, (uint32_t)size))
        result = sweep_results_save(hub, sweep, history->number, &fields, error);
    else
        no_memory(sweep, error);
    free(data);
    bson_destroy(&fields);
    return result;
}

static bool number_at(const bson_t *document, const char *key, bson_iter_t *at)
{
    return bson_iter_init_find(at, document, key) && BSON_ITER_HOLDS_NUMBER(at);
}

/* false: it is none that can be used. */
static bool read_one(const bson_t *document, size_t dimensions, struct sweep_history *history, double *units)
{
    bson_iter_t at;
    uint32_t size = 0;
    const uint8_t *data = NULL;
    int64_t expected = history->number;
    if (!number_at(document, "number", &at) || bson_iter_as_int64(&at) != expected || !number_at(document, "next_seq", &at))
        return false;
    history->next_seq = bson_iter_as_int64(&at);
    history->tasks = number_at(document, "tasks", &at) ? bson_iter_as_int64(&at) : 0;
    history->seconds = number_at(document, "seconds", &at) ? bson_iter_as_double(&at) : 0;
    history->flops = number_at(document, "flops", &at) ? bson_iter_as_double(&at) : 0;
    if (!bson_iter_init_find(&at, document, "results") || !BSON_ITER_HOLDS_BINARY(&at))
        return false;
    bson_iter_binary(&at, NULL, &size, &data);
    if (size != POINTS * (1 + dimensions) * sizeof(double))
        return false;
    unpack(data, dimensions, history->results, units);
    return true;
}

int sweep_history_read(struct hub *hub, const char *sweep, size_t dimensions,
                       int (*take)(void *data, const struct sweep_history *history, bson_error_t *error), void *data,
                       bson_error_t *error)
{
    struct search_result *results = calloc(POINTS, sizeof *results);
    double *units = calloc(POINTS * dimensions + 1, sizeof *units);
    struct sweep_history history = {.results = results};
    const bson_t *document;
    int more = -1;
    struct store_cursor *cursor = results && units ? sweep_results_find(hub, sweep, error) : NULL;
    if (!results || !units)
        no_memory(sweep, error);
    while (cursor && (more = store_cursor_next(cursor, &document, error)) > 0) {
        if (!read_one(document, dimensions, &history, units)) {
            more = 0;
            break;
        }
        if (take(data, &history, error)) {
            more = -1;
            break;
        }
        history.number++;
    }
    store_cursor_close(cursor);
    free(results);
    free(units);
    return more < 0 ? -1 : 0;
}
