/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a task: pointer and blob, lost replies, what becomes of them at the end, and the logs that they cut. */
#include "hub_on_both.h"
#include "proxy.h"

TEST_USES_SERVER;

#define LEASE 300
#define MAJOR (3 << 20) /* bytes: several batches of chunks */

/* The file that a checkpoint of this step has: its length is the step's, and each byte its low byte. */
static int write_step(void *data, int (*sink)(void *to, const void *bytes, size_t length), void *to, bson_error_t *why)
{
    int64_t step = *(const int64_t *)data;
    uint8_t part[1000];
    memset(part, (int)(step & 0xff), sizeof part);
    (void)why;
    for (int64_t left = step; left > 0; left -= (int64_t)sizeof part)
        if (sink(to, part, left < (int64_t)sizeof part ? (size_t)left : sizeof part) != 0)
            return -1;
    return 0;
}

static int write_nothing(void *data, int (*sink)(void *to, const void *bytes, size_t length), void *to,
                         bson_error_t *why)
{
    (void)data;
    return sink(to, "half", 4) ? -1 : hub_error(why, HUB_ERROR_MEMORY, "no more of it");
}

/* fields: further ones, as JSON. */
static int checkpoint(struct hub *hub, const struct task_fence *fence, int64_t step, const char *more)
{
    bson_t *fields = json("{'step': %lld%s}", (long long)step, more);
    struct task_checkpoint made = {.write = write_step, .data = &step, .fields = fields};
    memset(error, 0, sizeof *error);
    int result = task_checkpoint(hub, fence, &made, error);
    bson_destroy(fields);
    return result;
}

static bool blob_of(struct hub *hub, const char *filter, bson_oid_t *id)
{
    bson_t task;
    bson_iter_t iter, value;
    read_one(hub, "tasks", filter, &task);
    bool there = bson_iter_init(&iter, &task) && bson_iter_find_descendant(&iter, "checkpoint.blob_id", &value);
    if (there)
        *id = *bson_iter_oid(&value);
    bson_destroy(&task);
    return there;
}

static void expect_blob(struct hub *hub, const bson_oid_t *id, int64_t step)
{
    uint8_t *data = NULL;
    size_t length = 0;
    if (blob_load(hub_store(hub), id, 1 << 24, &data, &length, error) < 0) {
        cr_expect_eq(step, 0, "the blob of step %lld: %s", (long long)step, error->message);
        return;
    }
    cr_expect_eq((int64_t)length, step);
    cr_expect(length == 0 || data[length - 1] == (step & 0xff));
    bson_free(data);
}

static void collect(struct hub *hub)
{
    struct gc_report report;
    GOOD(gc_run(hub, LEASE, false, &report, error));
}

HUB_TEST(checkpoint, is_named_by_the_task_and_takes_the_place_of_the_last)
{
    struct task_fence fence;
    bson_t task;
    bson_oid_t first, second;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    poke(hub, "tasks", "{'name': 'a'}", "{'$set': {'crashes': 2}}");
    cr_assert_eq(checkpoint(hub, &fence, 5000, ", 'epoch': 3, 'log_claims': ['x']"), 1, "%s", error->message);
    read_one(hub, "tasks", "{'name': 'a'}", &task);
    cr_expect_str_eq(text_of(&task, "state"), "running");
    cr_expect_str_eq(text_of(&task, "checkpoint.claim_id"), fence.claim_id);
    cr_expect_eq(strlen(text_of(&task, "checkpoint.sha256")), 64);
    cr_expect_eq(number_of(&task, "checkpoint.bytes"), 5000);
    cr_expect_eq(number_of(&task, "checkpoint.epoch"), 3);
    cr_expect_str_eq(text_of(&task, "checkpoint.log_claims.0"), "x");
    cr_expect_eq(number_of(&task, "crashes"), 0);
    bson_destroy(&task);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    cr_assert(blob_of(hub, "{'name': 'a'}", &first));
    cr_assert_eq(checkpoint(hub, &fence, MAJOR, ""), 1, "%s", error->message);
    cr_assert(blob_of(hub, "{'name': 'a'}", &second));
    read_one(hub, "tasks", "{'name': 'a'}", &task);
    cr_expect(!has(&task, "checkpoint.log_claims"), "no leaf of the last one survives");
    bson_destroy(&task);
    expect_blob(hub, &first, 5000); /* only gc deletes */
    collect(hub);
    expect_blob(hub, &first, 0);
    expect_blob(hub, &second, MAJOR);
}

HUB_TEST(checkpoint, of_a_lost_claim_changes_nothing_and_its_blob_goes)
{
    struct task_fence fence, other;
    bson_oid_t kept, now;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_assert_eq(checkpoint(hub, &fence, 100, ""), 1, "%s", error->message);
    cr_assert(blob_of(hub, "{'name': 'a'}", &kept));
    GOOD(task_release(hub, &fence, error));
    cr_assert_eq(claim(hub, NULL, &other), 1);
    cr_expect_eq(checkpoint(hub, &fence, 200, ""), 0);
    cr_assert(blob_of(hub, "{'name': 'a'}", &now));
    cr_expect(bson_oid_equal(&kept, &now));
    collect(hub);
    expect_blob(hub, &kept, 100);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 1);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
}

HUB_TEST(checkpoint, that_cannot_be_written_leaves_the_one_before)
{
    struct task_fence fence;
    struct task_checkpoint broken = {.write = write_nothing};
    bson_oid_t kept, now;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_assert_eq(checkpoint(hub, &fence, 100, ""), 1, "%s", error->message);
    cr_assert(blob_of(hub, "{'name': 'a'}", &kept));
    cr_expect_eq(task_checkpoint(hub, &fence, &broken, error), -1);
    cr_expect_str_eq(error->message, "no more of it");
    cr_assert(blob_of(hub, "{'name': 'a'}", &now));
    cr_expect(bson_oid_equal(&kept, &now));
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
}

HUB_TEST(checkpoint, outlives_release_pause_crash_and_take_back_but_not_finish_or_restart)
{
    struct task_fence fence;
    struct task_finish finish = {.state = "done"};
    bson_t task, *all = json("{}"), *before = json("{'log_claims': ['x'], 'log_points': [{'train': 2}]}");
    bson_oid_t id;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_assert_eq(checkpoint(hub, &fence, 100, ""), 1, "%s", error->message);
    GOOD(task_release(hub, &fence, error));
    cr_assert_eq(claim(hub, &task, &fence), 1);
    cr_expect_eq(number_of(&task, "checkpoint.step"), 100, "the claim brings it");
    bson_destroy(&task);
    GOOD(task_end(hub, &fence, "paused", NULL, error));
    cr_assert_eq(GOOD(task_resume(hub, all, error)), 1);
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    GOOD(task_started(hub, &fence, error));
    cr_expect_eq(GOOD(task_crash(hub, &fence, "fell", NULL, error)), 1);
    cr_expect(blob_of(hub, "{'name': 'a'}", &id));
    poke(hub, "tasks", "{}", "{'$set': {'state': 'ready'}}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    finish.logs_before = before;
    cr_assert_eq(GOOD(task_finish(hub, &fence, &finish, error)), 1);
    cr_expect(!blob_of(hub, "{'name': 'a'}", &id));
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "result.log_claims.0"), "x");
    cr_expect_eq(number_of(&task, "result.log_points.0.train"), 2);
    bson_destroy(&task);
    collect(hub);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 0);
    GOOD(task_restart(hub, all, NULL, error));
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_assert_eq(checkpoint(hub, &fence, 100, ""), 1, "%s", error->message);
    GOOD(task_fail(hub, &fence, "no", NULL, error));
    cr_expect(blob_of(hub, "{'name': 'a'}", &id));
    GOOD(task_restart(hub, all, NULL, error));
    cr_expect(!blob_of(hub, "{'name': 'a'}", &id));
    bson_destroy(all);
    bson_destroy(before);
}

HUB_TEST(checkpoint, of_no_use_is_dropped_if_it_is_still_the_same)
{
    struct task_fence fence;
    bson_t task, old;
    bson_oid_t id;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    cr_assert_eq(checkpoint(hub, &fence, 100, ""), 1, "%s", error->message);
    read_one(hub, "tasks", "{}", &task);
    bson_iter_t iter;
    const uint8_t *data;
    uint32_t length;
    cr_assert(bson_iter_init_find(&iter, &task, "checkpoint"));
    bson_iter_document(&iter, &length, &data);
    cr_assert(bson_init_static(&old, data, length));
    cr_assert_eq(checkpoint(hub, &fence, 200, ""), 1, "%s", error->message);
    cr_expect_eq(task_drop_checkpoint(hub, &fence, &old, error), 1);
    cr_expect(blob_of(hub, "{}", &id), "a newer one stays");
    bson_destroy(&task);
    read_one(hub, "tasks", "{}", &task);
    cr_assert(bson_iter_init_find(&iter, &task, "checkpoint"));
    bson_iter_document(&iter, &length, &data);
    cr_assert(bson_init_static(&old, data, length));
    cr_expect_eq(task_drop_checkpoint(hub, &fence, &old, error), 1);
    cr_expect(!blob_of(hub, "{}", &id));
    GOOD(task_release(hub, &fence, error));
    cr_expect_eq(task_drop_checkpoint(hub, &fence, &old, error), 0, "the lease is lost");
    bson_destroy(&task);
}

/* ---- the errors of earlier claims ---- */

HUB_TEST(errors, of_earlier_claims_are_kept_short_and_few)
{
    struct task_fence fence;
    bson_t task, *all = json("{}");
    char *output = bson_malloc(20001);
    memset(output, 'x', 20000);
    memcpy(output + 19996, "last", 5);
    make_task(hub, "{'name': 'a', 'max_crashes': 100}");
    for (int i = 0; i < 7; i++) {
        char message[32];
        cr_assert_eq(claim(hub, NULL, &fence), 1);
        GOOD(task_started(hub, &fence, error));
        snprintf(message, sizeof message, "crash %d", i);
        cr_assert_eq(GOOD(task_crash(hub, &fence, message, output, error)), 1);
        poke(hub, "tasks", "{}", "{'$set': {'state': 'ready'}}");
    }
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    struct task_finish finish = {.state = "done"};
    cr_assert_eq(GOOD(task_finish(hub, &fence, &finish, error)), 1);
    read_one(hub, "tasks", "{}", &task);
    cr_expect(!has(&task, "error"));
    cr_expect_str_eq(text_of(&task, "errors.0.message"), "crash 2");
    cr_expect_str_eq(text_of(&task, "errors.4.message"), "crash 6");
    cr_expect(!has(&task, "errors.5"));
    cr_expect(has(&task, "errors.4.at"));
    cr_expect_eq(strlen(text_of(&task, "errors.4.claim")), 32);
    const char *kept = text_of(&task, "errors.4.output");
    cr_expect_eq(strlen(kept), 2048);
    cr_expect_str_eq(kept + 2044, "last");
    bson_destroy(&task);
    GOOD(task_restart(hub, all, NULL, error));
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    GOOD(task_fail(hub, &fence, "bad data", "said why", error));
    GOOD(task_restart(hub, all, NULL, error));
    read_one(hub, "tasks", "{}", &task);
    cr_expect_str_eq(text_of(&task, "errors.4.message"), "bad data");
    cr_expect_str_eq(text_of(&task, "errors.4.output"), "said why");
    bson_destroy(&task);
    bson_destroy(all);
    bson_free(output);
}

/* ---- logs of a run in several claims ---- */

static void add_points(struct logs *logs, const char *split, int from, int to)
{
    for (int i = from; i <= to; i++) {
        bson_t *point = json("{'epoch': %d}", i);
        GOOD(logs_add(logs, split, point, error));
        bson_destroy(point);
    }
}

/* The epochs of the train split, in order. */
static int gather(const bson_t *bucket, void *data)
{
    char *out = data;
    bson_iter_t iter, points, epoch;
    cr_assert(bson_iter_init_find(&iter, bucket, "points") && bson_iter_recurse(&iter, &points));
    while (bson_iter_next(&points)) {
        cr_assert(bson_iter_recurse(&points, &epoch) && bson_iter_find(&epoch, "epoch"));
        size_t used = strlen(out);
        snprintf(out + used, 20000 - used, "%d ", bson_iter_int32(&epoch));
    }
    return 0;
}

static void expect_epochs(struct hub *hub, const char *split, int last)
{
    char *got = bson_malloc0(20000), *expected = bson_malloc0(20000);
    bson_t *filter = json("{'split': '%s'}", split);
    GOOD(logs_read(hub, NULL, filter, gather, got, error));
    for (int i = 1; i <= last; i++) {
        size_t used = strlen(expected);
        snprintf(expected + used, 20000 - used, "%d ", i);
    }
    cr_expect_str_eq(got, expected);
    bson_destroy(filter);
    bson_free(got);
    bson_free(expected);
}

HUB_TEST(logs, of_a_claim_that_was_gone_on_from_count_up_to_its_checkpoint)
{
    struct task_fence first, second;
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &first), 1);
    struct logs *logs = logs_new(&first, 1, "epoch");
    bson_t counts = BSON_INITIALIZER;
    add_points(logs, "train", 1, 600); /* the second bucket is cut */
    GOOD(logs_flush(logs, hub, error));
    cr_assert(logs_append_counts(logs, &counts));
    cr_expect_eq(number_of(&counts, "train"), 600);
    cr_assert_eq(checkpoint(hub, &first, 600, ""), 1, "%s", error->message);
    char update[256];
    snprintf(update, sizeof update,
             "{'$set': {'checkpoint.log_claims': ['%s'], 'checkpoint.log_points': [{'train': 600}]}}", first.claim_id);
    poke(hub, "tasks", "{}", update);
    add_points(logs, "train", 601, 700);
    add_points(logs, "validation", 1, 7);
    GOOD(logs_flush(logs, hub, error));
    expect_epochs(hub, "train", 700);
    GOOD(task_release(hub, &first, error));
    expect_epochs(hub, "train", 700); /* nobody has gone on from it */
    cr_assert_eq(claim(hub, NULL, &second), 1);
    expect_epochs(hub, "train", 600);
    expect_epochs(hub, "validation", 0);
    struct logs *more = logs_new(&second, 1, "epoch");
    add_points(more, "train", 601, 620);
    GOOD(logs_flush(more, hub, error));
    expect_epochs(hub, "train", 620);
    add_points(logs, "train", 701, 1200); /* the first one, woken up */
    GOOD(logs_flush(logs, hub, error));
    expect_epochs(hub, "train", 620);
    bson_t *before = json("{'log_claims': ['%s'], 'log_points': [{'train': 600}]}", first.claim_id);
    struct task_finish finish = {.state = "done", .logs_before = before};
    cr_assert_eq(GOOD(task_finish(hub, &second, &finish, error)), 1);
    expect_epochs(hub, "train", 620);
    bson_destroy(before);
    bson_destroy(&counts);
    logs_free(logs);
    logs_free(more);
}

/* ---- lost replies: only a server can lose them ---- */

static struct hub *open_through(struct proxy *proxy)
{
    struct hub *hub = hub_open_with_timeout(proxy->uri, NULL, 2000, error);
    cr_assert_not_null(hub, "%s", error->message);
    return hub;
}

Test(lost_reply, of_a_checkpoint_is_resolved_by_its_blob)
{
    char *uri = test_server_database(NULL);
    struct proxy proxy;
    struct task_fence fence;
    bson_oid_t id;
    struct hub *hub = made_hub(uri);
    proxy_start(&proxy, uri);
    struct hub *through = open_through(&proxy);
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    proxy_tell(&proxy, "lose log_claims"); /* only the update of the task says so */
    cr_expect_eq(checkpoint(through, &fence, 100, ", 'log_claims': []"), 1, "%s", error->message);
    cr_assert(blob_of(hub, "{}", &id));
    collect(hub);
    expect_blob(hub, &id, 100);
    proxy_tell(&proxy, "cut log_claims"); /* the update never came: it is sent again */
    cr_expect_eq(checkpoint(through, &fence, 200, ", 'log_claims': []"), 1, "%s", error->message);
    cr_assert(blob_of(hub, "{}", &id));
    expect_blob(hub, &id, 200);
    hub_close(through);
    hub_close(hub);
    proxy_stop(&proxy);
    free(uri);
}

Test(lost_reply, of_a_checkpoint_and_then_a_take_back_leave_the_blob_for_the_next_claim)
{
    char *uri = test_server_database(NULL);
    struct proxy proxy;
    struct task_fence fence, next;
    bson_oid_t id;
    bson_t task;
    struct hub *hub = made_hub(uri);
    proxy_start(&proxy, uri);
    struct hub *through = open_through(&proxy);
    make_task(hub, "{'name': 'a'}");
    cr_assert_eq(claim(hub, NULL, &fence), 1);
    proxy_tell(&proxy, "lose log_claims 1");
    proxy_tell(&proxy, "then refuse");
    cr_expect_eq(checkpoint(through, &fence, 100, ", 'log_claims': []"), -1, "it cannot be known");
    cr_expect_eq(count_in(hub, "uploads", "{}"), 1, "so the announcement stays");
    poke(hub, "tasks", "{}", "{'$set': {'state': 'ready'}}"); /* as a sweeper does */
    collect(hub);
    cr_assert_eq(claim(hub, &task, &next), 1);
    cr_expect_eq(number_of(&task, "checkpoint.step"), 100);
    bson_destroy(&task);
    cr_assert(blob_of(hub, "{}", &id));
    proxy_tell(&proxy, "forward");
    int late = -1;
    for (int i = 0; i < 20 && late < 0; i++) /* the driver lets some seconds pass after a refusal */
        late = checkpoint(through, &fence, 200, "");
    cr_expect_eq(late, 0, "the woken runner writes nothing that is seen");
    collect(hub);
    expect_blob(hub, &id, 100);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 1);
    hub_close(through);
    hub_close(hub);
    proxy_stop(&proxy);
    free(uri);
}
