/* SPDX-License-Identifier: Apache-2.0 */
/* The points that a search makes next, and their tasks. */
#include "distributor/sweep_search_impl.h"

#include "hub/task.h"

#include <stdlib.h>

enum { ATTEMPTS = 32, CHUNK = 500 };

static void find_lineage(const struct sweep_search *search, int64_t number, struct lineage *lineage)
{
    int64_t population = search_population(search->search), generation = number / population;
    int64_t parent = search_parent(search->search, search->ranks, number);
    *lineage = (struct lineage){.generation = generation,
                                .member = number % population,
                                .parent = parent,
                                .parent_task = parent < 0 ? NULL : search->observed[parent].id,
                                .end = sweep_generation_end(search->sweep, generation)};
}

/* The tasks of a point, one for each seed; a place that is refused is drawn again. *place is (space.count). */
static int try_places(struct sweep_search *search, int64_t number, double *place, bson_t *tasks, bson_error_t *error)
{
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (search_propose(search->search, search->ladder ? search->ranks : search->results, number, attempt, place))
            return sweep_search_no_memory(search, error);
        sweep_place(search->sweep, number, place);
        int64_t made = 0;
        int refused = 0;
        while (!refused && made < search->sweep->seeds)
            refused = submitting_accept(search->submitting, number, made, &tasks[made], error), made++;
        if (!refused)
            return 0;
        while (made > 0)
            bson_destroy(&tasks[--made]);
        if (hub_error_code(error) != HUB_ERROR_INVALID)
            return -1;
    }
    return -1;
}

static int make_point(struct sweep_search *search, int64_t number, double *place, bson_t *tasks, bson_error_t *error)
{
    struct lineage lineage;
    if (search->sweep->method == SEARCH_PBT) {
        find_lineage(search, number, &lineage);
        search->submitting->lineage = &lineage;
    }
    int result = try_places(search, number, place, tasks, error);
    search->submitting->lineage = NULL;
    return result;
}

static int64_t insert(struct sweep_search *search, struct hub *hub, bson_t *tasks, int64_t count, bson_error_t *error)
{
    const bson_t **list = calloc((size_t)count + 1, sizeof *list);
    int64_t made = -1;
    for (int64_t i = 0; list && i < count; i++)
        list[i] = &tasks[i];
    if (!list)
        sweep_search_no_memory(search, error);
    else if (!acceptance_save_architectures(search->submitting->acceptance, error))
        made = task_create_many(hub, list, (size_t)count, error);
    for (int64_t i = 0; i < count; i++)
        bson_destroy(&tasks[i]);
    free(list);
    return made;
}

bool sweep_search_may_propose(const struct sweep_search *search, int64_t number)
{
    if (number >= search->sweep->points)
        return false;
    if (!search->ladder)
        return search_horizon(search->search, number) <= search->settled;
    /* Who is promoted comes before who is new. */
    int64_t under_way = search->under_way + number - search->proposed;
    return search_horizon(search->search, number) <= search->known &&
           (!search_learns(search->sweep->method) || search->sweep->method == SEARCH_PBT ||
            under_way < search->sweep->parallel);
}

/* What the method is to know of the points below `count`. Where generations follow one another all count by the rung that they
 * have in common; who waits at none any more (a rule has stopped it) has nothing to go on from. */
static int rank(struct sweep_search *search, int64_t count)
{
    enum search_method method = search->sweep->method;
    bool first = method == SEARCH_CMA_ES || method == SEARCH_PBT;
    if (sweep_ladder_rank(search->ladder, search->results, count, first, search->ranks))
        return -1;
    for (int64_t i = 0; method == SEARCH_PBT && i < count; i++)
        search->ranks[i].has_value = search->ranks[i].has_value && sweep_ladder_waits(search->ladder, i);
    return 0;
}

int64_t sweep_search_propose_some(struct sweep_search *search, struct hub *hub, int64_t most, bson_error_t *error)
{
    int64_t seeds = search->sweep->seeds, limit = CHUNK / seeds + 1, count = 0, first = search->proposed;
    bson_t *tasks = aligned_alloc(_Alignof(bson_t), (size_t)(limit * seeds) * sizeof *tasks);
    double *place = malloc((search->sweep->space.count + 1) * sizeof *place);
    int refused = tasks && place ? 0 : sweep_search_no_memory(search, error);
    limit = limit < most ? limit : most;
    if (!refused && search->ladder && rank(search, first))
        refused = sweep_search_no_memory(search, error);
    while (!refused && count < limit && sweep_search_may_propose(search, first + count)) {
        int64_t number = first + count;
        refused = sweep_search_make_room(search, number, error) ||
                  make_point(search, number, place, &tasks[count * seeds], error);
        /* What counts is the place of the values, which may be rounded: it is what the next reader sees. */
        for (size_t i = 0; !refused && i < search->sweep->space.count; i++) {
            const struct search_dimension *dimension = &search->sweep->space.dimensions[i];
            place[i] = search_unit(dimension, search_value(dimension, place[i]));
        }
        refused = refused || sweep_search_keep_place(search, number, place, error);
        if (!refused && search->ladder)
            search->ranks[number].units = search->results[number].units;
        count += !refused;
    }
    free(place);
    int64_t made = count ? insert(search, hub, tasks, count * seeds, error) : 0;
    free(tasks);
    if (made >= 0) {
        search->proposed = first + count;
        search->under_way += count;
    }
    return refused ? -1 : made;
}
