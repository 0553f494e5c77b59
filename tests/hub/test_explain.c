/* SPDX-License-Identifier: Apache-2.0 */
/* Claims must not read the queue, nor sort it. */
#include "hub_on_both.h"

TEST_USES_SERVER;

HUB_TEST(explain, a_claim_reads_one_task_whatever_waits)
{
    bson_t plan;
    for (int i = 0; i < 60; i++) {
        bson_t *fields = json("{'name': 'n%d', 'priority': %d, 'queue': '%s'}", i, i % 7, i % 3 ? "default" : "other");
        cr_assert_eq(GOOD(task_create(hub, fields, NULL, error)), 1);
        bson_destroy(fields);
    }
    int told = (int)GOOD(task_explain_claim(hub, NULL, &plan, error));
    if (strcmp(store_engine(hub_store(hub)), "sqlite") == 0) {
        cr_expect_eq(told, 1);
    }
    if (told == 1) { /* the stand-in for a server does not tell */
        cr_expect_str_eq(text_of(&plan, "index"), "claim");
        cr_expect_eq(number_of(&plan, "documents_examined"), 1);
        cr_expect(has(&plan, "sorts") && number_of(&plan, "sorts") == 0);
    }
    bson_destroy(&plan);
}

HUB_TEST(explain, tells_a_scan_and_a_sort)
{
    bson_t plan, *filter = json("{'description': 'x'}"), *sort = json("{'description': 1}");
    struct store_find_options options = {.sort = sort};
    for (int i = 0; i < 20; i++) {
        make_task(hub, i % 2 ? "{'name': 'a', 'description': 'x'}" : "{'name': 'b'}");
    }
    if (GOOD(store_explain(hub_store(hub), "tasks", filter, &options, &plan, error)) == 1) {
        cr_expect_not(has(&plan, "index"));
        cr_expect_eq(number_of(&plan, "sorts"), 1);
        cr_expect_eq(number_of(&plan, "documents_examined"), 20);
    }
    bson_destroy(&plan);
    bson_destroy(filter);
    bson_destroy(sort);
}
