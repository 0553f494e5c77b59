/* SPDX-License-Identifier: Apache-2.0 */
/* Claims that come fast from one connection read ahead on a server. What they claim must stay right. */
#include "hub_on_both.h"

TEST_USES_SERVER;

enum { TASKS = 60 };

static void queue(struct hub *hub, int count)
{
    for (int i = 0; i < count; i++) {
        make_task(hub, "{'name': 'a'}");
    }
}

HUB_TEST(shortlist, fast_claims_keep_the_order)
{
    queue(hub, TASKS);
    for (int i = 1; i <= TASKS; i++) {
        struct task_fence fence;
        bson_t task;
        cr_assert_eq(claim(hub, &task, &fence), 1);
        cr_expect_eq(number_of(&task, "seq"), i);
        cr_expect_str_eq(text_of(&task, "claim.id"), fence.claim_id);
        bson_destroy(&task);
    }
    struct task_fence fence;
    cr_expect_eq(claim(hub, NULL, &fence), 0);
}

/* Two that read ahead over the same tasks, and a user who cancels: each task once, none of the cancelled. */
HUB_TEST(shortlist, what_was_read_ahead_may_be_gone)
{
    bool seen[TASKS + 1] = {false};
    int claimed = 0, empty = 0;
    struct hub *other = hub_reopen(hub, error);
    cr_assert_not_null(other, "%s", error->message);
    queue(hub, TASKS);
    for (int turn = 0; empty < 2; turn++) {
        struct task_fence fence;
        bson_t task;
        int result = claim(turn % 2 ? other : hub, &task, &fence);
        empty = result ? 0 : empty + 1;
        if (result) {
            int64_t seq = number_of(&task, "seq");
            cr_assert(seq >= 1 && seq <= TASKS && !seen[seq], "%d was claimed twice", (int)seq);
            cr_expect(seq < 40 || seq > 49, "a cancelled task was claimed");
            seen[seq] = true;
            claimed++;
        }
        bson_destroy(&task);
        if (turn == 12) {
            bson_t *some = json("{'seq': {'$gte': 40, '$lte': 49}}");
            cr_assert_eq(GOOD(task_cancel(hub, some, NULL, error)), 10);
            bson_destroy(some);
        }
    }
    cr_expect_eq(claimed, TASKS - 10);
    hub_close(other);
}

/* Workers of one runner leave each other what they read ahead; every task is still somebody's. */
HUB_TEST(shortlist, sharers_take_every_task_once)
{
    bool seen[TASKS + 1] = {false};
    int claimed = 0, empty = 0;
    struct hub *hubs[3] = {hub, hub_reopen(hub, error), hub_reopen(hub, error)};
    cr_assert(hubs[1] != NULL && hubs[2] != NULL, "%s", error->message);
    queue(hub, TASKS);
    for (int turn = 0; empty < 3; turn++) {
        struct task_claim_options options = {.runner = "r", .sharers = 3, .sharer = turn % 3};
        struct task_fence fence;
        bson_t task;
        int result = (int)GOOD(task_claim(hubs[turn % 3], &options, &task, &fence, error));
        empty = result ? 0 : empty + 1;
        if (result) {
            int64_t seq = number_of(&task, "seq");
            cr_assert(seq >= 1 && seq <= TASKS && !seen[seq], "%d was claimed twice", (int)seq);
            seen[seq] = true;
            claimed++;
        }
        bson_destroy(&task);
    }
    cr_expect_eq(claimed, TASKS);
    hub_close(hubs[1]);
    hub_close(hubs[2]);
}
