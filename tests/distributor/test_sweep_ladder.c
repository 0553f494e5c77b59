/* SPDX-License-Identifier: Apache-2.0 */
/* Sweeps whose points wait at rungs: who is promoted, by whom, and how it ends. */
#include "distributor/sweep.h"
#include "distributor/sweep_search.h"
#include "fixture.h"
#include "hub/sweep_record.h"
#include "hub/task.h"
#include "kernels/random.h"

#include <math.h>

static void open_with_data(void)
{
    fixture_open();
    fixture_save_small();
}

TestSuite(sweep_ladder, .init = open_with_data, .fini = fixture_close);

#define SPACE                                                                               \
    "dataset: small\nmetric: {name: validation_loss, goal: minimize}\n"                     \
    "early_terminate: {type: asha, min_iter: 1, eta: 3}\nseed: 9\n"                         \
    "parameters:\n  hidden: {min: 4, max: 40}\n"                                            \
    "  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 1}\n  epochs: 9\n" \
    "architecture: \"dense:${hidden}:relu dense:3\"\n"

static void submit(const char *text, char id[HUB_ID_SIZE])
{
    struct sweep_submission submission;
    struct sweep *sweep = sweep_parse(text, strlen(text), "s.yaml", &fixture_error);
    cr_assert_not_null(sweep, "%s", fixture_error.message);
    cr_assert_eq(sweep_submit(fixture_hub, sweep, NULL, &submission, &fixture_error), 0, "%s", fixture_error.message);
    snprintf(id, HUB_ID_SIZE, "%s", submission.sweep_id);
    sweep_free(sweep);
}

static struct sweep_search *open_search(const char *sweep)
{
    struct sweep_search *search = sweep_search_open(fixture_hub, sweep, &fixture_error);
    cr_assert_not_null(search, "%s", fixture_error.message);
    return search;
}

static int64_t step(struct sweep_search *search)
{
    int64_t made = sweep_search_step(search, fixture_hub, 0, &fixture_error);
    cr_assert_geq(made, 0, "%s", fixture_error.message);
    return made;
}

static double number_of(const bson_t *task, const char *path, double otherwise)
{
    bson_iter_t all, at;
    return bson_iter_init(&all, task) && bson_iter_find_descendant(&all, path, &at) ? bson_iter_as_double(&at) : otherwise;
}

static int64_t count(const char *filter)
{
    bson_t *document = bson_new_from_json((const uint8_t *)filter, -1, &fixture_error);
    cr_assert_not_null(document, "%s", filter);
    int64_t found = store_count(hub_store(fixture_hub), "tasks", document, &fixture_error);
    bson_destroy(document);
    return found;
}

/* Falls with the rungs, and no two points have the same. */
static double loss_of(const bson_t *task, int rung)
{
    return fabs(log10(number_of(task, "point.learning_rate", 1)) + 2) + number_of(task, "point.hidden", 0) / 1000 +
           1.0 / (rung + 1);
}

static int rungs_of(const bson_t *task)
{
    return number_of(task, "rungs.epochs.1", -1) > 0 ? 2 : number_of(task, "rungs.epochs.0", -1) > 0;
}

/* Claims the first ready task, and gives it back as a runner would: parked at its next rung, or done. false: there is none.
 * fails: the number of one that fails instead. */
static bool work(int64_t fails)
{
    struct task_claim_options options = {.runner = "r"};
    struct task_fence fence;
    bson_t task;
    bool found = task_claim(fixture_hub, &options, &task, &fence, &fixture_error) > 0;
    int rung = (int)number_of(&task, "rungs.count", 0);
    if (found && number_of(&task, "point_number", -1) == (double)fails) {
        cr_assert_eq(task_fail(fixture_hub, &fence, "no", NULL, &fixture_error), 1);
    } else if (found && rung < rungs_of(&task)) {
        bson_t rungs = BSON_INITIALIZER, *metrics = BCON_NEW("validation_loss", BCON_DOUBLE(loss_of(&task, rung)));
        bson_t *epochs = bson_new(), *values = bson_new();
        for (int i = 0; i < rungs_of(&task); i++)
            BSON_APPEND_INT64(epochs, i ? "1" : "0", (int64_t)number_of(&task, i ? "rungs.epochs.1" : "rungs.epochs.0", 0));
        for (int i = 0; i <= rung; i++)
            BSON_APPEND_DOUBLE(values, i ? "1" : "0", loss_of(&task, i));
        BSON_APPEND_ARRAY(&rungs, "epochs", epochs);
        BSON_APPEND_INT32(&rungs, "count", rung + 1);
        BSON_APPEND_ARRAY(&rungs, "values", values);
        BSON_APPEND_DOCUMENT(&rungs, "metrics", metrics);
        cr_assert_eq(task_park(fixture_hub, &fence, &rungs, &fixture_error), 1, "%s", fixture_error.message);
        bson_destroy(&rungs);
        bson_destroy(metrics);
        bson_destroy(epochs);
        bson_destroy(values);
    } else if (found) {
        bson_t *metrics = BCON_NEW("validation_loss", BCON_DOUBLE(loss_of(&task, rung)));
        struct task_finish end = {.state = "done", .metrics = metrics};
        cr_assert_eq(task_finish(fixture_hub, &fence, &end, &fixture_error), 1, "%s", fixture_error.message);
        bson_destroy(metrics);
    }
    bson_destroy(&task);
    return found;
}

static void expect_end(const char *sweep, int64_t points)
{
    bson_t record;
    cr_assert_eq(sweep_record_resolve(fixture_hub, sweep, &record, &fixture_error), 1);
    bson_iter_t at;
    cr_assert(bson_iter_init_find(&at, &record, "reason"), "it is not closed");
    cr_expect_str_eq(bson_iter_utf8(&at, NULL), "all its points have ended");
    cr_expect(bson_iter_init_find(&at, &record, "best"));
    bson_destroy(&record);
    cr_expect_eq(count("{\"state\": \"parked\"}"), 0);
    cr_expect_eq(count("{}"), points);
    cr_expect_geq(count("{\"state\": \"done\", \"rungs.count\": 2}"), 1, "the best one trains through");
    cr_expect_eq(count("{\"state\": \"stopped\", \"result.reason\": {\"$exists\": false}}"), 0, "each says why");
}

Test(sweep_ladder, points_are_parked_promoted_and_stopped_in_the_end)
{
    char id[HUB_ID_SIZE];
    submit("method: random\nrun_cap: 9\n" SPACE, id);
    struct sweep_search *search = open_search(id);
    cr_expect_eq(count("{\"rungs.epochs.1\": 3, \"rungs.epochs.2\": {\"$exists\": false}}"), 9);
    for (int i = 0; i < 2; i++)
        cr_assert(work(-1));
    cr_expect_eq(step(search), 0, "a third of two is nobody");
    cr_assert(work(-1));
    cr_expect_eq(step(search), 1);
    cr_expect_eq(count("{\"state\": \"ready\", \"rungs.count\": 1}"), 1);
    cr_assert(work(-1)); /* the promoted one comes before those that are new */
    cr_expect_eq(count("{\"state\": \"parked\", \"rungs.count\": 2}"), 1);
    while (work(-1))
        step(search);
    cr_expect(sweep_search_is_closed(search));
    expect_end(id, 9);
    cr_expect_geq(count("{\"rungs.count\": {\"$gte\": 2}}"), 3);
    cr_expect_lt(count("{\"rungs.count\": {\"$gte\": 2}}"), 9);
    sweep_search_close(search);
}

/* Any of three decide, two of them after one another by what they saw before, and one forgets all that it knew: as when it died
 * between two promotions. */
Test(sweep_ladder, several_that_decide_leave_nothing_stuck)
{
    char id[HUB_ID_SIZE];
    submit("method: sobol\nrun_cap: 40\n" SPACE, id);
    struct sweep_search *searches[3] = {open_search(id), open_search(id), NULL};
    struct random_state random;
    random_init(&random, 5, 0);
    int rounds = 0;
    for (bool more = true; more && rounds < 2000; rounds++) {
        more = false;
        for (uint64_t i = random_below(&random, 4); i > 0; i--)
            more = work(7) || more;
        uint64_t which = random_below(&random, 3);
        if (which == 2) {
            sweep_search_close(searches[2]);
            searches[2] = open_search(id);
        }
        more = step(searches[which]) > 0 || more || count("{\"state\": {\"$in\": [\"ready\", \"running\", \"parked\"]}}") > 0;
    }
    cr_assert_lt(rounds, 2000, "something is stuck");
    for (int i = 0; i < 2; i++)
        step(searches[i]);
    for (int i = 0; i < 3; i++)
        sweep_search_close(searches[i]);
    expect_end(id, 40);
    cr_expect_eq(count("{\"state\": \"failed\"}"), 1);
}

Test(sweep_ladder, a_method_that_learns_makes_new_points_where_nobody_is_promoted)
{
    static const char *const methods[] = {"tpe", "evolution", "cma_es"};
    for (int i = 0; i < 3; i++) {
        char id[HUB_ID_SIZE], text[900];
        snprintf(text, sizeof text, "method: %s\nname: %s\nparallel: 4\nrun_cap: 30\nstartup: 6\n" SPACE, methods[i], methods[i]);
        submit(text, id);
        struct sweep_search *search = open_search(id);
        while (work(-1)) {
            step(search);
            if (i < 2)
                cr_expect_leq(count("{\"state\": \"ready\"}"), 4, "%s", methods[i]);
        }
        cr_expect(sweep_search_is_closed(search), "%s", methods[i]);
        expect_end(id, 30 * (i + 1));
        sweep_search_close(search);
    }
}

Test(sweep_ladder, a_target_ends_those_that_wait_with_their_results)
{
    char id[HUB_ID_SIZE];
    submit("method: random\nrun_cap: 30\ntarget: 100\n" SPACE, id);
    struct sweep_search *search = open_search(id);
    for (int i = 0; i < 40 && !sweep_search_is_closed(search); i++) {
        work(-1);
        step(search);
    }
    cr_expect(sweep_search_is_closed(search));
    cr_expect_eq(count("{\"state\": {\"$in\": [\"parked\", \"ready\"]}}"), 0);
    cr_expect_geq(count("{\"state\": \"stopped\", \"result.metrics.validation_loss\": {\"$exists\": true}}"), 2);
    cr_expect_geq(count("{\"state\": \"cancelled\"}"), 1, "who had not begun");
    sweep_search_close(search);
}

Test(sweep_ladder, what_makes_no_sense_is_refused_with_its_line)
{
    static const struct {
        const char *early, *says;
    } cases[] = {{"{type: asha, min_iter: 3, max_iter: 3}", "min_iter of early_terminate must be below max_iter"},
                 {"{type: asha, eta: 1}", "eta must be an integer in [2"},
                 {"{type: asha, s: 2}", "s"},
                 {"{type: asha, startup: 2}", "startup"}};
    static const char *const pbt[][2] = {{"every: 2\nquantile: 0.7\n", "quantile must be"},
                                         {"every: 2\nseeds: 2\n", "does not go with method pbt"},
                                         {"every: 2\nrun_cap: 4\n", "does not go with method pbt"},
                                         {"every: 0\nseed: 2\n", "every must be"},
                                         {"population: 1\nevery: 1\n", "at least 2"}};
    for (size_t i = 0; i < sizeof pbt / sizeof *pbt; i++) {
        char text[500];
        snprintf(text, sizeof text, "%smethod: pbt\ndataset: d\nmetric: {name: loss}\nparameters: {epochs: 4, learning_rate: {min: 0.1, max: 0.2}}\n",
                 pbt[i][0]);
        cr_expect_null(sweep_parse(text, strlen(text), "s.yaml", &fixture_error));
        cr_expect(strstr(fixture_error.message, "s.yaml:") && strstr(fixture_error.message, pbt[i][1]), "%s", fixture_error.message);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[500];
        snprintf(text, sizeof text, "dataset: d\nmetric: {name: loss}\nearly_terminate: %s\narchitecture: \"dense:3\"\n",
                 cases[i].early);
        cr_expect_null(sweep_parse(text, strlen(text), "s.yaml", &fixture_error));
        cr_expect(strstr(fixture_error.message, "s.yaml:3: ") && strstr(fixture_error.message, cases[i].says), "%s",
                  fixture_error.message);
    }
}

/* ---- populations ---- */

#define POPULATION                                                                          \
    "method: pbt\npopulation: 8\nevery: 3\nseed: 5\ndataset: small\n"                      \
    "metric: {name: validation_loss, goal: minimize}\nparameters:\n  hidden: {min: 4, max: 40}\n" \
    "  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 1}\n"             \
    "  batch_size: {values: [2, 4, 8]}\n  epochs: 10\n"                                     \
    "architecture: \"dense:${hidden}:relu dense:3\"\n"

/* All points in the order of their numbers, each with its parent, as one text. */
static char *lineages_of(const char *sweep)
{
    bson_t *filter = BCON_NEW("sweep", BCON_UTF8(sweep)), *sort = BCON_NEW("point_number", BCON_INT32(1));
    struct store_find_options options = {.sort = sort};
    bson_string_t *text = bson_string_new(NULL);
    const bson_t *task;
    struct store_cursor *cursor = task_find(fixture_hub, filter, &options, &fixture_error);
    while (store_cursor_next(cursor, &task, &fixture_error) > 0)
        bson_string_append_printf(text, "%g<%g: %g %.9g %g\n", number_of(task, "point_number", -1),
                                  number_of(task, "lineage.parent", -1), number_of(task, "point.hidden", 0),
                                  number_of(task, "point.learning_rate", 0), number_of(task, "point.batch_size", 0));
    store_cursor_close(cursor);
    bson_destroy(filter);
    bson_destroy(sort);
    return bson_string_free(text, false);
}

static void train_population(const char *name, uint64_t seed, char id[HUB_ID_SIZE])
{
    char text[700];
    struct random_state random;
    random_init(&random, seed, 0);
    snprintf(text, sizeof text, "name: %s\n" POPULATION, name);
    submit(text, id);
    struct sweep_search *search = open_search(id);
    for (bool more = true; more;) {
        more = false;
        for (uint64_t i = 1 + random_below(&random, seed ? 6 : 1); i > 0; i--)
            more = work(11) || more;
        if (seed && random_below(&random, 3) == 0) {
            sweep_search_close(search);
            search = open_search(id);
        }
        more = step(search) > 0 || more;
    }
    cr_expect(sweep_search_is_closed(search));
    sweep_search_close(search);
}

Test(sweep_ladder, a_population_goes_on_from_its_better_members)
{
    char id[HUB_ID_SIZE];
    train_population("p", 0, id);
    cr_expect_eq(count("{}"), 32, "four generations of eight");
    cr_expect_eq(count("{\"state\": \"parked\"}"), 0);
    cr_expect_eq(count("{\"state\": \"done\", \"lineage.generation\": 3, \"rungs\": {\"$exists\": false}}"), 8);
    cr_expect_eq(count("{\"lineage.generation\": 2, \"rungs.epochs\": [9]}"), 8);
    cr_expect_eq(count("{\"state\": \"stopped\", \"result.reason\": {\"$regex\": \"went on from it\"}}"), 23);
    cr_expect_eq(count("{\"state\": \"failed\"}"), 1);
    cr_expect_eq(count("{\"lineage.parent\": 11}"), 0, "nobody goes on from one that failed");
    bson_t *filter = BCON_NEW("lineage.parent", "{", "$gte", BCON_INT32(0), "}");
    const bson_t *task;
    int64_t exploits = 0;
    struct store_cursor *cursor = task_find(fixture_hub, filter, NULL, &fixture_error);
    while (store_cursor_next(cursor, &task, &fixture_error) > 0) {
        char same[160];
        int parent = (int)number_of(task, "lineage.parent", -1), own = (int)number_of(task, "point_number", 0) - 8;
        exploits += parent != own;
        snprintf(same, sizeof same, "{\"point_number\": %d, \"point.hidden\": %d%s}", parent,
                 (int)number_of(task, "point.hidden", 0), parent == own ? "" : ", \"state\": \"stopped\"");
        cr_expect_eq(count(same), 1, "its net is its parent's");
    }
    store_cursor_close(cursor);
    bson_destroy(filter);
    cr_expect_geq(exploits, 3);
    cr_expect_leq(exploits, 9);
}

Test(sweep_ladder, a_population_is_the_same_whatever_the_order_and_whoever_decides)
{
    char one[HUB_ID_SIZE], other[HUB_ID_SIZE];
    train_population("one", 0, one);
    char *first = lineages_of(one);
    cr_expect_gt(strlen(first), 600);
    for (uint64_t seed = 1; seed < 4; seed++) {
        char name[16];
        snprintf(name, sizeof name, "other%d", (int)seed);
        train_population(name, seed, other);
        char *second = lineages_of(other);
        cr_expect_str_eq(first, second);
        bson_free(second);
    }
    bson_free(first);
}
