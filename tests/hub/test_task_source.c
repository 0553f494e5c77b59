/* SPDX-License-Identifier: Apache-2.0 */
/* Classes with needs, and the sources that a runner claims from. */
#include "hub/task_source.h"
#include "hub_on_both.h"

TEST_USES_SERVER;

#define LIST(...) (const char *const[]){__VA_ARGS__, NULL}

static const char *composed(const char *base, const char *needs)
{
    static char class[TASK_CLASS_SIZE];
    bson_t *list = needs ? json("%s", needs) : NULL;
    int result = task_class_compose(base, list, class, error);
    bson_destroy(list);
    return result > 0 ? class : "(refused)";
}

Test(classes, needs_are_sorted_and_stand_once)
{
    cr_expect_str_eq(composed("cpu", NULL), "cpu");
    cr_expect_str_eq(composed("cpu", "{'0': 'gpu', '1': 'bigmem', '2': 'gpu'}"), "cpu+bigmem+gpu");
    cr_expect_str_eq(composed("cpu+gpu+avx2", "{'0': 'bigmem'}"), "cpu+avx2+bigmem+gpu");
    cr_expect_str_eq(composed("cuda", "{'0': 'a'}"), "cuda+a");
}

Test(classes, what_is_no_label_is_refused)
{
    static const char *const bad[] = {"{'0': ''}", "{'0': 'a b'}", "{'0': 'a+b'}", "{'0': '$x'}", "{'0': 7}", "{'0': '.a'}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_str_eq(composed("cpu", bad[i]), "(refused)", "%s", bad[i]);
    cr_expect_str_eq(composed("", NULL), "(refused)");
    cr_expect_str_eq(composed("cpu+", NULL), "(refused)");
    cr_expect_str_eq(composed("cpu++a", NULL), "(refused)");
    char long_class[300] = "cpu";
    for (int i = 0; i < 40; i++)
        snprintf(long_class + strlen(long_class), 8, "+l%03d", i);
    cr_expect_str_eq(composed(long_class, NULL), "(refused)");
}

Test(classes, a_runner_serves_what_its_labels_meet)
{
    cr_expect(task_class_serves("cpu", "cpu", NULL));
    cr_expect(task_class_serves("cpu", "cpu", LIST("gpu")));
    cr_expect(task_class_serves("cpu+gpu", "cpu", LIST("bigmem", "gpu")));
    cr_expect(task_class_serves("cpu+gpu+bigmem", "cpu", LIST("bigmem", "gpu")), "in whatever order a client wrote it");
    cr_expect_not(task_class_serves("cpu+gpu", "cpu", NULL));
    cr_expect_not(task_class_serves("cpu+gpu2", "cpu", LIST("gpu")));
    cr_expect_not(task_class_serves("cpu+gp", "cpu", LIST("gpu")));
    cr_expect_not(task_class_serves("cpus", "cpu", LIST("gpu")));
    cr_expect_not(task_class_serves("cuda", "cpu", NULL));
}

static const char *memory_label(int64_t bytes)
{
    static char label[TASK_CLASS_MEMORY_SIZE];
    task_class_memory(bytes, label);
    return label;
}

#define GIB (INT64_C(1) << 30)

Test(classes, memory_is_a_label_of_few_steps)
{
    cr_expect_str_eq(memory_label(0), "");
    cr_expect_str_eq(memory_label(TASK_CLASS_MEMORY_FREE), "");
    cr_expect_str_eq(memory_label(TASK_CLASS_MEMORY_FREE + 1), "mem1g");
    cr_expect_str_eq(memory_label(GIB), "mem1g");
    cr_expect_str_eq(memory_label(GIB + 1), "mem2g");
    cr_expect_str_eq(memory_label(5 * GIB), "mem6g");
    cr_expect_str_eq(memory_label(6 * GIB + 1), "mem8g");
    cr_expect_str_eq(memory_label(9 * GIB), "mem12g");
    cr_expect_str_eq(memory_label(INT64_MAX), "mem1048576g");
    for (size_t i = 0; task_class_memory_step(i) > 0; i++) { /* every step holds what its label says, and no less would do */
        const char *label = memory_label(task_class_memory_step(i));
        cr_expect_eq(task_class_memory_of(label, strlen(label)), task_class_memory_step(i), "%s", label);
        cr_expect(i == 0 || task_class_memory_step(i) > task_class_memory_step(i - 1));
        cr_expect(i == 0 || task_class_memory_step(i) <= 2 * task_class_memory_step(i - 1));
    }
    static const char *const none[] = {"mem", "memg", "mem0g", "mem1", "mem1gb", "gpu", "mem-1g", "mem9999999999g", "memory"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        cr_expect_eq(task_class_memory_of(none[i], strlen(none[i])), -1, "%s", none[i]);
}

Test(classes, a_runner_serves_what_its_memory_holds)
{
    cr_expect(task_class_fits("cpu", "cpu", NULL, 0));
    cr_expect(task_class_fits("cpu+mem2g", "cpu", NULL, 2 * GIB));
    cr_expect_not(task_class_fits("cpu+mem2g", "cpu", NULL, 2 * GIB - 1));
    cr_expect_not(task_class_fits("cpu+mem2g", "cpu", NULL, 0));
    cr_expect(task_class_fits("cpu+mem2g", "cpu", LIST("mem2g"), 0), "as a label of its own");
    cr_expect(task_class_fits("cpu+gpu+mem2g", "cpu", LIST("gpu"), 3 * GIB));
    cr_expect_not(task_class_fits("cpu+gpu+mem2g", "cpu", NULL, 3 * GIB));
    cr_expect_not(task_class_serves("cpu+mem2g", "cpu", NULL));
    cr_expect_eq(task_class_memory_needed("cpu+gpu+mem2g+mem12g"), 12 * GIB);
    cr_expect_eq(task_class_memory_needed("cpu+gpu"), 0);
}

static void expect_class(struct hub *hub, const char *fields, const char *class)
{
    bson_t task;
    bson_t *given = json("%s", fields);
    cr_assert_eq(GOOD(task_create(hub, given, &task, error)), 1);
    cr_expect_str_eq(text_of(&task, "resource_class"), class, "%s", fields);
    bson_destroy(&task);
    bson_destroy(given);
}

HUB_TEST(classes, what_a_task_needs_of_memory_becomes_part_of_its_class)
{
    expect_class(hub, "{'name': 'a', 'needs': {'memory': 1000, 'flops': 1e9}}", "cpu");
    expect_class(hub, "{'name': 'a', 'needs': {'memory': 5000000000}}", "cpu+mem6g");
    expect_class(hub, "{'name': 'a', 'needs': {'memory': 5000000000}, 'requires': ['gpu', 'z']}", "cpu+gpu+mem6g+z");
    expect_class(hub, "{'name': 'a', 'needs': {'memory': 5000000000}, 'resource_class': 'cuda'}", "cuda+mem6g");
    expect_class(hub, "{'name': 'a', 'needs': {'memory': 5000000000}, 'resource_class': 'cpu+mem2g'}", "cpu+mem2g");
    bson_t *bad = json("{'name': 'a', 'needs': {'memory': -1}}");
    cr_expect_eq(task_create(hub, bad, NULL, error), -1);
    bson_destroy(bad);
}

HUB_TEST(sources, hold_the_classes_of_memory_that_fit)
{
    struct task_source *list;
    struct task_serves serves = {.projects = LIST("default"), .queues = LIST("default"), .bases = LIST("cpu"), .memory = 4 * GIB};
    static const char *const expected[] = {"cpu", "cpu+mem1g", "cpu+mem2g", "cpu+mem3g", "cpu+mem4g"};
    struct task_fence fence;
    bson_t task;
    make_task(hub, "{'name': 'large', 'needs': {'memory': 3000000000}, 'priority': 5}");
    make_task(hub, "{'name': 'huge', 'needs': {'memory': 30000000000}, 'priority': 9}");
    make_task(hub, "{'name': 'small', 'needs': {'memory': 30}}");
    cr_assert_eq(GOOD(task_sources_find(hub, &serves, &list, error)), 5);
    for (size_t i = 0; i < 5; i++)
        cr_expect_str_eq(list[i].resource_class, expected[i]);
    cr_expect_not(task_serves_labels(hub, &serves), "nothing has to be looked for");
    bool asked[] = {true, true, true, true, true}, ready[5];
    cr_expect_eq(GOOD(task_sources_ready(hub, &serves, list, 5, asked, ready, error)), 2);
    cr_expect(ready[0] && ready[3], "the small one, and the one of 2.8 GiB");
    for (size_t i = 0; i < 5; i++) {
        struct task_claim_options options = {.resource_class = list[i].resource_class};
        int claimed = (int)GOOD(task_claim(hub, &options, &task, &fence, error));
        cr_expect_eq(claimed, i == 0 || i == 3, "%s", list[i].resource_class);
        bson_destroy(&task);
    }
    cr_expect_eq(count_in(hub, "tasks", "{'state': 'ready', 'name': 'huge'}"), 1, "it is not for this runner");
    bson_free(list);
    serves.labels = LIST("mem2g", "gpu");
    make_task(hub, "{'name': 'both', 'needs': {'memory': 2000000000}, 'requires': ['gpu']}");
    cr_assert_eq(GOOD(task_sources_find(hub, &serves, &list, error)), 6, "no class twice");
    cr_expect_str_eq(list[5].resource_class, "cpu+gpu+mem2g");
    bson_free(list);
}

#define LANES 4

/* Each lane has a turn, and a lane follows from the _id alone. */
HUB_TEST(sources, are_all_lanes_of_the_hub)
{
    struct task_source *list;
    struct task_serves serves = {.projects = LIST("default"), .queues = LIST("default"), .bases = LIST("cpu")};
    const bool asked[LANES] = {true, true, true, true};
    bool ready[LANES];
    int claimed[LANES] = {0}, left = 0;
    struct task_fence fence;
    int64_t waiting, first;
    bson_t task;
    cr_expect_eq(hub_lanes(hub), 1);
    cr_expect_eq(hub_set_lanes(hub, 0, error), -1);
    cr_expect_eq(hub_set_lanes(hub, HUB_LANES_MOST + 1, error), -1);
    cr_assert_eq(GOOD(hub_set_lanes(hub, LANES, error)), 1);
    struct hub *other = hub_open(uri, NULL, HUB_OPEN_EXISTING, error);
    cr_assert_not_null(other, "%s", error->message);
    cr_expect_eq(hub_lanes(other), LANES, "who opens it knows");
    hub_close(other);
    for (int i = 0; i < 40; i++) {
        bson_t *fields = json("{'_id': 'task-%d', 'name': 'a'}", i);
        cr_expect_eq(GOOD(task_create(hub, fields, NULL, error)), 1);
        cr_expect_eq(GOOD(task_create(hub, fields, NULL, error)), 0, "it comes to the same lane");
        bson_destroy(fields);
    }
    bson_t *beyond = json("{'name': 'a', 'lane': %d}", LANES);
    cr_expect_eq(task_create(hub, beyond, NULL, error), -1, "nobody would claim it");
    bson_destroy(beyond);
    cr_expect_eq(hub_set_lanes(hub, 2, error), -1, "there are tasks");
    cr_expect_eq(GOOD(hub_set_lanes(hub, LANES, error)), 0);
    cr_assert_eq(GOOD(task_sources_find(hub, &serves, &list, error)), LANES);
    cr_expect_eq(GOOD(task_sources_ready(hub, &serves, list, LANES, asked, ready, error)), LANES, "each has some");
    for (int turn = 0; turn < 40 * LANES; turn++) {
        struct task_claim_options options = {.lane = list[turn % LANES].lane};
        claimed[turn % LANES] += (int)GOOD(task_claim(hub, &options, &task, &fence, error));
        bson_destroy(&task);
    }
    for (int lane = 0; lane < LANES; lane++) {
        cr_expect_eq(list[lane].lane, lane);
        cr_expect_geq(claimed[lane], 4, "lane %d had %d of 40", lane, claimed[lane]);
        left += claimed[lane];
    }
    cr_expect_eq(left, 40);
    cr_expect_eq(GOOD(task_sources_ready(hub, &serves, list, LANES, asked, ready, error)), 0);
    cr_expect_eq(GOOD(task_sources_left(hub, &serves, list, LANES, &waiting, &first, error)), TASK_LEFT_SOME, "they run");
    bson_free(list);
}

HUB_TEST(sources, of_many_queues_look_for_the_classes_of_memory)
{
    struct task_source *list;
    const char *queues[61] = {NULL};
    char names[60][8];
    for (size_t i = 0; i < 60; i++) {
        snprintf(names[i], sizeof names[i], "q%zu", i);
        queues[i] = names[i];
    }
    struct task_serves serves = {.projects = LIST("default"), .queues = queues, .bases = LIST("cpu"), .memory = 4 * GIB};
    make_task(hub, "{'name': 'large', 'queue': 'q7', 'needs': {'memory': 3000000000}}");
    make_task(hub, "{'name': 'huge', 'queue': 'q7', 'needs': {'memory': 30000000000}}");
    cr_expect(task_serves_labels(hub, &serves));
    cr_assert_eq(GOOD(task_sources_find(hub, &serves, &list, error)), 61);
    cr_expect_str_eq(list[8].resource_class, "cpu+mem3g");
    bson_free(list);
}

HUB_TEST(sources, are_every_combination_and_the_classes_that_exist)
{
    struct task_source *list;
    struct task_serves serves = {.projects = LIST("default"), .queues = LIST("default", "night"), .bases = LIST("cpu")};
    make_task(hub, "{'name': 'a', 'requires': ['gpu']}");
    make_task(hub, "{'name': 'b', 'requires': ['gpu', 'bigmem'], 'queue': 'night'}");
    make_task(hub, "{'name': 'c', 'requires': ['avx2'], 'queue': 'night'}");
    cr_expect_eq(GOOD(task_sources_find(hub, &serves, &list, error)), 2, "without labels nothing is looked for");
    bson_free(list);
    serves.labels = LIST("gpu", "bigmem");
    cr_assert_eq(GOOD(task_sources_find(hub, &serves, &list, error)), 4);
    cr_expect_str_eq(list[0].queue, "default");
    cr_expect_str_eq(list[0].resource_class, "cpu");
    cr_expect_str_eq(list[1].resource_class, "cpu+gpu");
    cr_expect_str_eq(list[2].queue, "night");
    cr_expect_str_eq(list[2].resource_class, "cpu");
    cr_expect_str_eq(list[3].resource_class, "cpu+bigmem+gpu");
    bson_free(list);
}

/* Of clients in other languages: classes that sort before ours, too long for one, or with NUL in them. */
HUB_TEST(sources, foreign_classes_are_stepped_over)
{
    struct task_source *list;
    struct task_serves serves = {
        .projects = LIST("default"), .queues = LIST("default"), .bases = LIST("cpu"), .labels = LIST("gpu")};
    char longest[300] = "";
    memset(longest, 'b', sizeof longest - 1);
    bson_t *foreign[] = {json("{'_id': 1, 'project': 'default', 'queue': 'default', 'resource_class': '%s'}", longest),
                         json("{'_id': 2, 'project': 'default', 'queue': 'default', 'resource_class': 'bb\\u0000b'}"),
                         json("{'_id': 3, 'project': 'default', 'queue': 'default', 'resource_class': 7}")};
    for (size_t i = 0; i < 3; i++) {
        GOOD(store_insert(hub_store(hub), "tasks", foreign[i], error));
        bson_destroy(foreign[i]);
    }
    make_task(hub, "{'name': 'a', 'requires': ['gpu']}");
    cr_assert_eq(GOOD(task_sources_find(hub, &serves, &list, error)), 2);
    cr_expect_str_eq(list[1].resource_class, "cpu+gpu");
    bson_free(list);
}

HUB_TEST(sources, say_which_have_ready_tasks)
{
    struct task_fence fence;
    const struct task_serves serves = {
        .projects = LIST("default"), .queues = LIST("a", "b", "c"), .bases = LIST("cpu")};
    struct task_source *list;
    bool asked[] = {true, true, true}, ready[3];
    cr_assert_eq(GOOD(task_sources_find(hub, &serves, &list, error)), 3);
    cr_expect_eq(GOOD(task_sources_ready(hub, &serves, list, 3, asked, ready, error)), 0);
    for (int i = 0; i < 5; i++)
        make_task(hub, "{'name': 'x', 'queue': 'b'}");
    make_task(hub, "{'name': 'y', 'queue': 'c'}");
    make_task(hub, "{'name': 'z', 'queue': 'a', 'requires': ['gpu']}");
    cr_expect_eq(GOOD(task_sources_ready(hub, &serves, list, 3, asked, ready, error)), 2);
    cr_expect(!ready[0] && ready[1] && ready[2]);
    asked[1] = false;
    cr_expect_eq(GOOD(task_sources_ready(hub, &serves, list, 3, asked, ready, error)), 1);
    cr_expect(!ready[0] && !ready[1] && ready[2], "what is not asked is not looked at");
    struct task_claim_options options = {.queue = "c"};
    bson_t task;
    cr_assert_eq(GOOD(task_claim(hub, &options, &task, &fence, error)), 1);
    bson_destroy(&task);
    cr_expect_eq(GOOD(task_sources_ready(hub, &serves, list, 3, asked, ready, error)), 0);
    const struct task_serves named = {
        .projects = serves.projects, .queues = serves.queues, .bases = serves.bases, .name = "other"};
    asked[1] = true;
    cr_expect_eq(GOOD(task_sources_ready(hub, &named, list, 3, asked, ready, error)), 0, "of another name");
    bson_free(list);
}

static int left_of(struct hub *hub, int64_t *waiting)
{
    const struct task_serves serves = {.projects = LIST("default"), .queues = LIST("default"), .bases = LIST("cpu")};
    struct task_source *list;
    int64_t first;
    GOOD(task_sources_find(hub, &serves, &list, error));
    int left = (int)GOOD(task_sources_left(hub, &serves, list, 1, waiting, &first, error));
    bson_free(list);
    return left;
}

HUB_TEST(sources, know_what_is_left)
{
    struct task_fence fence;
    int64_t waiting;
    cr_expect_eq(left_of(hub, &waiting), TASK_LEFT_NOTHING);
    make_task(hub, "{'name': 'elsewhere', 'queue': 'night'}");
    cr_expect_eq(left_of(hub, &waiting), TASK_LEFT_NOTHING);
    make_task(hub, "{'_id': 'first', 'name': 'a'}");
    cr_expect_eq(left_of(hub, &waiting), TASK_LEFT_SOME, "ready");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_expect_eq(left_of(hub, &waiting), TASK_LEFT_SOME, "running");
    make_task(hub, "{'name': 'b', 'after': ['first']}");
    GOOD(task_fail(hub, &fence, "no", NULL, error));
    cr_expect_eq(left_of(hub, &waiting), TASK_LEFT_WAITING, "for one that has failed");
    cr_expect_eq(waiting, 1);
    poke(hub, "tasks", "{'_id': 'first'}", "{'$set': {'state': 'done'}}");
    cr_expect_eq(left_of(hub, &waiting), TASK_LEFT_SOME, "waiting for one that has ended well");
    poke(hub, "tasks", "{}", "{'$set': {'state': 'paused'}}");
    cr_expect_eq(left_of(hub, &waiting), TASK_LEFT_NOTHING, "paused tasks hold nobody");
}

HUB_TEST(runner_records, of_runners_long_gone_or_silent_are_removed)
{
    static const char *const ids[] = {"lives", "gone", "silent", "old"};
    char id[HUB_ID_SIZE];
    for (size_t i = 0; i < 4; i++) {
        bson_t *fields = json("{'_id': '%s', 'projects': ['default', 'other']}", ids[i]);
        GOOD(runner_record_save(hub, fields, id, error));
        bson_destroy(fields);
    }
    GOOD(runner_record_end(hub, "gone", error));
    GOOD(runner_record_end(hub, "old", error));
    poke(hub, "runners", "{'_id': 'old'}", "{'$set': {'ended_at': {'$date': 1000}}}");
    poke(hub, "runners", "{'_id': 'silent'}", "{'$set': {'beat_at': {'$date': 1000}}}");
    cr_expect_eq(GOOD(runner_record_count(hub, error)), 2);
    cr_expect_eq(GOOD(runner_record_tidy(hub, error)), 2);
    cr_expect_eq(count_in(hub, "runners", "{'_id': 'lives'}"), 1);
    cr_expect_eq(count_in(hub, "runners", "{'_id': 'gone'}"), 1, "for a week");
    cr_expect_eq(GOOD(runner_record_beat(hub, "silent", NULL, error)), 0, "and whoever lives learns of it");
}

HUB_TEST(runner_records, are_found_from_every_project_that_they_serve)
{
    char id[HUB_ID_SIZE];
    bson_t *fields = json("{'projects': ['default', 'other']}");
    const bson_t *found;
    GOOD(runner_record_save(hub, fields, id, error));
    bson_destroy(fields);
    static const char *const projects[] = {"default", "other", "third"};
    for (size_t i = 0; i < 3; i++) {
        hub_set_project(hub, projects[i]);
        struct store_cursor *cursor = runner_record_find(hub, NULL, error);
        cr_assert_not_null(cursor);
        cr_expect_eq(GOOD(store_cursor_next(cursor, &found, error)), i < 2, "%s", projects[i]);
        store_cursor_close(cursor);
    }
}
