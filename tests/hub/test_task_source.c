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
