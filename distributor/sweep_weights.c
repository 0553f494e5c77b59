/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep_weights.h"

#include "distributor/sweep_impl.h"
#include "hub/model_retain.h"
#include "hub/task.h"

#include <string.h>
#include <time.h>

enum { SHARE = 20 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int retain(const struct sweep *sweep, struct hub *hub, const char *id, bson_error_t *error)
{
    bson_iter_t goal;
    bool maximize = bson_iter_init_find(&goal, &sweep->metric, "goal") && BSON_ITER_HOLDS_UTF8(&goal) &&
                    !strcmp(bson_iter_utf8(&goal, NULL), "maximize");
    struct model_retention retention = {.sweep = id, .keep = sweep->keep_weights, .minimize = !maximize};
    return model_retain(hub, &retention, error) < 0 ? -1 : 0;
}

int sweep_weights_retain(const struct sweep *sweep, struct hub *hub, const char *id, int64_t *next_ms, bson_error_t *error)
{
    int64_t started = now_ms();
    if (!sweep->keep_weights || started < *next_ms)
        return 0;
    int result = retain(sweep, hub, id, error);
    *next_ms = now_ms() + SHARE * (now_ms() - started);
    return result;
}

int sweep_weights_settle(const struct sweep *sweep, struct hub *hub, const char *id, bson_error_t *error)
{
    bson_t *filter;
    const bson_t *task;
    bson_t projection = BSON_INITIALIZER;
    if (!sweep->keep_weights) {
        bson_destroy(&projection);
        return 0;
    }
    filter = BCON_NEW("sweep", BCON_UTF8(id), "$or", "[", "{", "published", BCON_BOOL(false), "}", "{", "state", "{", "$in", "[",
                      "waiting", "delayed", "ready", "running", "paused", "parked", "]", "}", "}", "]");
    BSON_APPEND_INT32(&projection, "_id", 1);
    struct store_find_options options = {.projection = &projection, .limit = 1, .any_tie = true};
    struct store_cursor *cursor = task_find(hub, filter, &options, error);
    int open = cursor ? store_cursor_next(cursor, &task, error) : -1;
    store_cursor_close(cursor);
    bson_destroy(filter);
    bson_destroy(&projection);
    return open ? open : retain(sweep, hub, id, error);
}
