/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/sweep_ladder.h"

#include "distributor/asha.h"
#include "hub/task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct climber {
    double values[ASHA_RUNGS];
    double seconds;
    bson_t *key; /* {_id, project, lane, claim, rungs: {count}} of who waits, as task_unpark takes it; else NULL */
    int64_t epoch; /* of its last rung */
    bool through;  /* it has trained to its end */
};

struct sweep_ladder {
    int64_t eta;
    double sign;
    struct asha_run *runs;      /* (capacity); their values are the climbers' */
    struct climber **climbers;  /* (capacity); NULL: its task was not seen */
    int64_t count, capacity;
};

struct sweep_ladder *sweep_ladder_new(int64_t eta, double sign)
{
    struct sweep_ladder *ladder = calloc(1, sizeof *ladder);
    if (ladder)
        *ladder = (struct sweep_ladder){.eta = eta, .sign = sign};
    return ladder;
}

void sweep_ladder_free(struct sweep_ladder *ladder)
{
    for (int64_t i = 0; ladder && i < ladder->count; i++) {
        if (ladder->climbers[i])
            bson_destroy(ladder->climbers[i]->key);
        free(ladder->climbers[i]);
    }
    if (ladder) {
        free(ladder->climbers);
        free(ladder->runs);
    }
    free(ladder);
}

static int no_memory(bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_MEMORY, "no memory for the rungs of a sweep");
}

static int make_room(struct sweep_ladder *ladder, int64_t number, bson_error_t *error)
{
    if (number >= ladder->capacity) {
        int64_t capacity = 2 * number + 64;
        struct asha_run *runs = realloc(ladder->runs, (size_t)capacity * sizeof *runs);
        ladder->runs = runs ? runs : ladder->runs;
        struct climber **climbers = realloc(ladder->climbers, (size_t)capacity * sizeof(struct climber *));
        ladder->climbers = climbers ? climbers : ladder->climbers;
        if (!runs || !climbers)
            return no_memory(error);
        ladder->capacity = capacity;
    }
    for (; ladder->count <= number; ladder->count++) {
        ladder->runs[ladder->count] = (struct asha_run){.count = 0};
        ladder->climbers[ladder->count] = NULL;
    }
    if (!ladder->climbers[number] && !(ladder->climbers[number] = calloc(1, sizeof **ladder->climbers)))
        return no_memory(error);
    ladder->runs[number].values = ladder->climbers[number]->values;
    return 0;
}

static bool find(const bson_t *document, const char *path, bson_iter_t *at)
{
    bson_iter_t all;
    return bson_iter_init(&all, document) && bson_iter_find_descendant(&all, path, at);
}

/* What says which park it is: all that the projection has. */
static bson_t *copy_key(const bson_t *task)
{
    static const char *const keys[] = {"_id", "project", "lane"};
    bson_t *key = bson_new(), part;
    bson_iter_t at;
    bool done = key;
    for (size_t i = 0; done && i < sizeof keys / sizeof *keys; i++)
        done = !find(task, keys[i], &at) || bson_append_iter(key, keys[i], -1, &at);
    if (done && find(task, "claim.id", &at))
        done = BSON_APPEND_DOCUMENT_BEGIN(key, "claim", &part) && bson_append_iter(&part, "id", -1, &at) &&
               bson_append_document_end(key, &part);
    if (done && find(task, "rungs.count", &at))
        done = BSON_APPEND_DOCUMENT_BEGIN(key, "rungs", &part) && bson_append_iter(&part, "count", -1, &at) &&
               bson_append_document_end(key, &part);
    if (done)
        return key;
    bson_destroy(key);
    return NULL;
}

static int64_t epoch_of(const bson_t *task, size_t rung)
{
    char path[40];
    bson_iter_t at;
    snprintf(path, sizeof path, "rungs.epochs.%zu", rung);
    return find(task, path, &at) && BSON_ITER_HOLDS_NUMBER(&at) ? bson_iter_as_int64(&at) : 0;
}

int sweep_ladder_take(struct sweep_ladder *ladder, int64_t number, const bson_t *task, bson_error_t *error)
{
    bson_iter_t at, each;
    if (make_room(ladder, number, error))
        return -1;
    struct asha_run *run = &ladder->runs[number];
    struct climber *climber = ladder->climbers[number];
    const char *state = find(task, "state", &at) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : "";
    climber->through = !strcmp(state, "done");
    run->count = 0; /* and stays so where it was restarted: then it climbs no more */
    bool has = find(task, "rungs.values", &at) && BSON_ITER_HOLDS_ARRAY(&at);
    for (bool more = has && bson_iter_recurse(&at, &each); more && bson_iter_next(&each) && run->count < ASHA_RUNGS;)
        climber->values[run->count++] = BSON_ITER_HOLDS_NUMBER(&each) ? ladder->sign * bson_iter_as_double(&each) : NAN;
    climber->seconds = find(task, "rungs.seconds", &at) && BSON_ITER_HOLDS_NUMBER(&at) ? bson_iter_as_double(&at) : 0;
    climber->epoch = run->count ? epoch_of(task, run->count - 1) : 0;
    run->waits = run->count > 0 && !strcmp(state, "parked");
    bson_destroy(climber->key);
    climber->key = run->waits ? copy_key(task) : NULL;
    return run->waits && !climber->key ? no_memory(error) : 0;
}

bool sweep_ladder_waits(const struct sweep_ladder *ladder, int64_t number)
{
    return number < ladder->count && ladder->runs[number].waits;
}

size_t sweep_ladder_height(const struct sweep_ladder *ladder, int64_t number)
{
    return number < ladder->count ? ladder->runs[number].count : 0;
}

int64_t sweep_ladder_epoch(const struct sweep_ladder *ladder, int64_t number)
{
    return number < ladder->count && ladder->climbers[number] ? ladder->climbers[number]->epoch : 0;
}

double sweep_ladder_seconds(const struct sweep_ladder *ladder)
{
    double sum = 0;
    for (int64_t i = 0; i < ladder->count; i++)
        sum += ladder->climbers[i] ? ladder->climbers[i]->seconds : 0;
    return sum;
}

int64_t sweep_ladder_promote(struct sweep_ladder *ladder, struct hub *hub, bool rest, int64_t *judged, bson_error_t *error)
{
    int64_t promoted = 0;
    *judged = asha_judge(ladder->runs, ladder->count, ladder->eta, rest);
    if (*judged < 0)
        return no_memory(error);
    for (int64_t i = 0; i < ladder->count && *judged > 0; i++) {
        struct asha_run *run = &ladder->runs[i];
        if (!run->promoted)
            continue;
        int mine = task_unpark(hub, ladder->climbers[i]->key, error);
        if (mine < 0)
            return -1;
        promoted += mine;
        run->waits = false; /* where it was another's promotion, the next reading says what became of it */
    }
    return promoted;
}

int64_t sweep_ladder_end(struct sweep_ladder *ladder, struct hub *hub, bson_error_t *error)
{
    int64_t ended = 0;
    for (int64_t i = 0; i < ladder->count; i++) {
        struct asha_run *run = &ladder->runs[i];
        char reason[160];
        if (!run->waits)
            continue;
        snprintf(reason, sizeof reason, "epoch %lld: it is not among the best 1/%lld of the %lld points that came so far",
                 (long long)ladder->climbers[i]->epoch, (long long)ladder->eta,
                 (long long)asha_came(ladder->runs, ladder->count, run->count - 1));
        int mine = task_end_parked(hub, ladder->climbers[i]->key, reason, error);
        if (mine < 0)
            return -1;
        ended += mine;
    }
    return ended;
}

int sweep_ladder_end_one(struct sweep_ladder *ladder, struct hub *hub, int64_t number, const char *reason, bson_error_t *error)
{
    return sweep_ladder_waits(ladder, number) ? task_end_parked(hub, ladder->climbers[number]->key, reason, error) : 0;
}

/* ---- ranks ---- */

struct rank {
    size_t height;
    double value;
    int64_t number;
};

static int compare(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    if (x->height != y->height)
        return x->height > y->height ? -1 : 1;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

int sweep_ladder_rank(const struct sweep_ladder *ladder, const struct search_result *results, int64_t count, bool first,
                      struct search_result *ranks)
{
    struct rank *all = malloc((size_t)(count > 0 ? count : 1) * sizeof *all);
    int64_t known = 0;
    if (!all)
        return -1;
    for (int64_t i = 0; i < count; i++) {
        const struct asha_run *run = i < ladder->count && ladder->runs[i].count ? &ladder->runs[i] : NULL;
        size_t height = run ? run->count : 0;
        double value = run ? run->values[first ? 0 : height - 1] : NAN;
        ranks[i] = (struct search_result){.units = results[i].units, .ended = results[i].ended || run};
        if (results[i].ended && !(first && run)) {
            height = i < ladder->count && ladder->climbers[i] && ladder->climbers[i]->through ? ASHA_RUNGS : height;
            value = results[i].has_value ? results[i].value : NAN;
        }
        if (ranks[i].ended && isfinite(value))
            all[known++] = (struct rank){height, value, i};
    }
    if (!first)
        qsort(all, (size_t)known, sizeof *all, compare);
    for (int64_t i = 0; i < known; i++) {
        ranks[all[i].number].has_value = true;
        ranks[all[i].number].value = first ? all[i].value : (double)i;
    }
    free(all);
    return 0;
}
