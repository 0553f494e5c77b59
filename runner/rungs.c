/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/rungs.h"

#include "hub/hub.h"
#include "runner/document.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int refuse(bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "rungs: epochs must be up to %d ascending integers, and values a number for each of the first",
                     RUNGS_MOST);
}

int rungs_read(const bson_t *task, struct rungs *rungs, bson_error_t *error)
{
    bson_t epochs, values;
    bson_iter_t at;
    *rungs = (struct rungs){.most = 0};
    if (!document_array(task, "rungs.epochs", &epochs) || !bson_iter_init(&at, &epochs))
        return 0;
    while (bson_iter_next(&at)) {
        int64_t least = rungs->most > 0 ? rungs->epochs[rungs->most - 1] + 1 : 1;
        if (rungs->most == RUNGS_MOST || !BSON_ITER_HOLDS_NUMBER(&at) || bson_iter_as_int64(&at) < least)
            return refuse(error);
        rungs->epochs[rungs->most++] = bson_iter_as_int64(&at);
    }
    bool more = document_array(task, "rungs.values", &values) && bson_iter_init(&at, &values);
    while (more && bson_iter_next(&at)) {
        if (rungs->count == rungs->most || !BSON_ITER_HOLDS_NUMBER(&at))
            return refuse(error);
        rungs->values[rungs->count++] = bson_iter_as_double(&at);
    }
    return 0;
}

bool rungs_are_reached(const struct rungs *rungs, int64_t completed, int64_t epochs)
{
    return rungs->count < rungs->most && rungs->epochs[rungs->count] == completed && completed < epochs;
}

static bool append_numbers(const struct rungs *rungs, double value, bson_t *out)
{
    bson_t list;
    char key[24];
    bool done = BSON_APPEND_ARRAY_BEGIN(out, "epochs", &list);
    for (size_t i = 0; done && i < rungs->most; i++) {
        snprintf(key, sizeof key, "%zu", i);
        done = BSON_APPEND_INT64(&list, key, rungs->epochs[i]);
    }
    done = done && bson_append_array_end(out, &list) && BSON_APPEND_INT32(out, "count", (int32_t)rungs->count + 1) &&
           BSON_APPEND_ARRAY_BEGIN(out, "values", &list);
    for (size_t i = 0; done && i <= rungs->count; i++) {
        snprintf(key, sizeof key, "%zu", i);
        done = BSON_APPEND_DOUBLE(&list, key, i < rungs->count ? rungs->values[i] : value);
    }
    return done && bson_append_array_end(out, &list);
}

int rungs_add(const struct rungs *rungs, const bson_t *task, const bson_t *metrics, double seconds, bson_t *out,
              bson_error_t *error)
{
    const char *name = document_string(task, "metric.name");
    double value = NAN;
    if (name)
        document_number(metrics, name, &value);
    if (append_numbers(rungs, value, out) && BSON_APPEND_DOCUMENT(out, "metrics", metrics) &&
        BSON_APPEND_DOUBLE(out, "seconds", seconds))
        return 0;
    return hub_error(error, HUB_ERROR_MEMORY, "no memory for the rung");
}
