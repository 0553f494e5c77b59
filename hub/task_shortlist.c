/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/task_shortlist.h"

#include "hub/task_impl.h"

#include <stdlib.h>
#include <string.h>

enum {
    SOURCES = 8,   /* queues that one claimer goes round */
    SHORTEST = 4,
    LONGEST = 256,
    READ_MOST = 1024, /* of which those of the others are left out */
    THINNEST = 16,
    FAST_MS = 250, /* between two claims of one source */
    GOOD_MS = 1000 /* a list's age */
};

struct source {
    char key[512]; /* project, queue, class, lane, name; "" is free */
    int64_t used_ms;
    int64_t claimed_ms; /* the last claim */
    int64_t read_ms;
    bson_t *ids[LONGEST];
    size_t count, next;
    size_t wanted;     /* how many to read ahead */
    uint32_t thinning; /* of those that the runner's other workers leave, one in so many is taken; more after a miss */
    uint32_t turn;     /* which of them */
};

struct task_shortlist {
    struct source sources[SOURCES];
};

static void drop(struct source *source)
{
    while (source->next < source->count) {
        bson_destroy(source->ids[source->next++]);
    }
    source->next = source->count = 0;
}

void task_shortlist_free(struct task_shortlist *shortlist)
{
    for (size_t i = 0; shortlist != NULL && i < SOURCES; i++) {
        drop(&shortlist->sources[i]);
    }
    bson_free(shortlist);
}

static bool make_key(const struct task_claim_options *options, char key[512])
{
    int length = bson_snprintf(key, 512, "%s|%s|%s|%d|%s", options->project != NULL ? options->project : "",
                               options->queue != NULL ? options->queue : "",
                               options->resource_class != NULL ? options->resource_class : "", (int)options->lane,
                               options->name != NULL ? options->name : "");
    return length > 0 && length < 512;
}

/* make: the least recently used one becomes it. NULL where there is none. */
static struct source *find_source(struct task_shortlist *shortlist, const struct task_claim_options *options, bool make)
{
    char key[512];
    struct source *oldest = NULL;
    if (shortlist == NULL || !make_key(options, key)) {
        return NULL;
    }
    for (size_t i = 0; i < SOURCES; i++) {
        struct source *source = &shortlist->sources[i];
        if (strcmp(source->key, key) == 0) {
            return source;
        }
        oldest = oldest == NULL || source->used_ms < oldest->used_ms ? source : oldest;
    }
    if (!make) {
        return NULL;
    }
    drop(oldest);
    *oldest = (struct source){.wanted = SHORTEST, .thinning = 1};
    memcpy(oldest->key, key, sizeof key);
    return oldest;
}

int task_shortlist_next(struct task_shortlist *shortlist, const struct task_claim_options *options, bson_t *id)
{
    struct source *source = find_source(shortlist, options, false);
    int64_t now = hub_boottime();
    if (source == NULL) {
        return 0;
    }
    source->used_ms = source->claimed_ms = now;
    if (now - source->read_ms > GOOD_MS) {
        drop(source);
    }
    if (source->next == source->count) {
        return 0;
    }
    bson_t *next = source->ids[source->next++];
    bson_concat(id, next);
    bson_destroy(next);
    if (source->next == source->count) { /* all of them were still to be had */
        source->wanted = source->wanted < LONGEST ? source->wanted * 2 : LONGEST;
        source->thinning = source->thinning > 1 ? source->thinning / 2 : 1;
    }
    return 1;
}

void task_shortlist_missed(struct task_shortlist *shortlist, const struct task_claim_options *options)
{
    struct source *source = find_source(shortlist, options, false);
    if (source != NULL) {
        char random[HUB_ID_SIZE];
        drop(source);
        hub_random_id(random);
        source->wanted = source->wanted > SHORTEST ? source->wanted / 2 : SHORTEST;
        source->thinning = source->thinning < THINNEST ? source->thinning * 2 : THINNEST;
        source->turn = (uint32_t)strtoul(random + sizeof random - 9, NULL, 16) % source->thinning;
    }
}

/* FNV-1a (Fowler, Noll, Vo) of the _id: who takes which must not hang on when each of them has read. */
static uint32_t hash(const bson_t *id)
{
    const uint8_t *data = bson_get_data(id);
    uint32_t value = UINT32_C(2166136261);
    for (uint32_t i = 0; i < id->len; i++) {
        value = (value ^ data[i]) * UINT32_C(16777619);
    }
    return value ^ value >> 15;
}

static void read_ahead(struct hub *hub, struct source *source, const struct task_claim_options *options,
                       const bson_t *filter, const bson_t *sort)
{
    bson_t projection = BSON_INITIALIZER;
    const bson_t *task;
    uint32_t sharers = options->sharers > 0 ? (uint32_t)options->sharers : 1, parts = sharers * source->thinning;
    uint32_t part = (uint32_t)options->sharer % sharers + sharers * source->turn;
    size_t wanted = source->wanted * parts < READ_MOST ? source->wanted * parts : READ_MOST, seen = 0;
    BSON_APPEND_INT32(&projection, "_id", 1);
    struct store_find_options find = {.sort = sort, .projection = &projection, .limit = (int64_t)wanted, .any_tie = true};
    struct store_cursor *cursor = store_find(hub_store(hub), TASKS, filter, &find, NULL);
    source->read_ms = hub_boottime();
    while (cursor != NULL && source->count < LONGEST && seen < wanted && store_cursor_next(cursor, &task, NULL) > 0) {
        seen++;
        if (hash(task) % parts == part) {
            source->ids[source->count++] = bson_copy(task);
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
}

void task_shortlist_claimed(struct hub *hub, struct task_shortlist **shortlist, const struct task_claim_options *options,
                            const bson_t *filter, const bson_t *sort)
{
    if (*shortlist == NULL) {
        *shortlist = bson_malloc0(sizeof **shortlist);
    }
    struct source *source = find_source(*shortlist, options, true);
    int64_t now = hub_boottime();
    if (source == NULL) {
        return;
    }
    bool fast = source->claimed_ms > 0 && now - source->claimed_ms < FAST_MS;
    source->claimed_ms = source->used_ms = now;
    if (fast && source->next == source->count) {
        source->next = source->count = 0;
        read_ahead(hub, source, options, filter, sort);
    }
}
