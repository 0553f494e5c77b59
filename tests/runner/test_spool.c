/* SPDX-License-Identifier: Apache-2.0 */
/* Log points that wait: in order, none lost and none doubled, bounded by leaving out points of batches. */
#include "hub/tl_hub.h"
#include "runner/document.h"
#include "runner/spool.h"
#include "test_program.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bson_error_t error[1];
static struct hub *hub;
static char *uri, *folder;
static struct logs *logs;
static struct task_fence fence;

static void begin(void)
{
    char *path = test_path(".db");
    bson_t fields = BSON_INITIALIZER, task;
    uri = bson_strdup_printf("sqlite:%s", path);
    folder = test_path("");
    cr_assert_eq(mkdir(folder, 0700), 0);
    free(path);
    cr_assert_eq(hub_init(uri, NULL, error), 1, "%s", error->message);
    hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, error);
    cr_assert_not_null(hub, "%s", error->message);
    BSON_APPEND_UTF8(&fields, "name", "a");
    cr_assert_eq(task_create(hub, &fields, NULL, error), 1, "%s", error->message);
    cr_assert_eq(task_claim(hub, &(struct task_claim_options){.runner = "r"}, &task, &fence, error), 1);
    logs = logs_new(&fence, 1, "batch");
    bson_destroy(&task);
    bson_destroy(&fields);
}

static void end(void)
{
    logs_free(logs);
    hub_close(hub);
    bson_free(uri);
    free(folder);
}

TestSuite(spool, .init = begin, .fini = end, .timeout = 120);

static int add(struct spool *spool, const char *split, int64_t step, bool batch)
{
    bson_t point = BSON_INITIALIZER;
    BSON_APPEND_INT64(&point, "step", step);
    BSON_APPEND_DOUBLE(&point, "loss", 1.0 / (double)(step + 1));
    int result = spool_add(spool, split, &point, batch, error);
    cr_assert_geq(result, 0, "%s", error->message);
    bson_destroy(&point);
    return result;
}

/* Writes all to the hub, some at a time, as a heartbeat does. */
static void drain(struct spool *spool, int64_t at_once)
{
    int64_t taken;
    while ((taken = spool_take(spool, logs, at_once, error)) > 0)
        cr_assert_geq(logs_flush(logs, hub, error), 0, "%s", error->message);
    cr_assert_eq(taken, 0, "%s", error->message);
    cr_assert(spool_is_empty(spool));
}

struct seen {
    int64_t count, last, first_gap;
    bool in_order;
};

static int look(const bson_t *bucket, void *data)
{
    struct seen *seen = data;
    bson_t points;
    bson_iter_t at;
    cr_assert(document_array(bucket, "points", &points) && bson_iter_init(&at, &points));
    while (bson_iter_next(&at)) {
        int64_t step = -1;
        char path[32];
        snprintf(path, sizeof path, "%s.step", bson_iter_key(&at));
        cr_assert(document_integer(&points, path, &step));
        seen->in_order = seen->in_order && step > seen->last;
        if (step != seen->last + 1 && seen->first_gap < 0)
            seen->first_gap = step;
        seen->last = step;
        seen->count++;
    }
    return 0;
}

static struct seen read_split(const char *split)
{
    struct seen seen = {.last = -1, .first_gap = -1, .in_order = true};
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "split", split);
    cr_assert_geq(logs_read(hub, NULL, &filter, look, &seen, error), 0, "%s", error->message);
    bson_destroy(&filter);
    return seen;
}

Test(spool, gives_back_what_went_through_the_file_in_order)
{
    struct spool *spool = spool_new(folder, 4096, SPOOL_FILE_BYTES);
    cr_assert_not_null(spool);
    cr_expect(spool_is_empty(spool));
    for (int64_t i = 0; i < 3000; i++) {
        add(spool, "train", i, true);
        if (i % 10 == 0)
            add(spool, "validation", i / 10, false);
        if (i == 1000)
            cr_assert_eq(spool_take(spool, logs, 700, error), 700, "%s", error->message); /* while more comes */
    }
    cr_expect_gt(spool_file_bytes(spool), 50000, "beyond the bound of memory");
    drain(spool, 250);
    cr_expect_eq(spool_file_bytes(spool), 0);
    add(spool, "train", 3000, true);
    drain(spool, 250);
    struct seen train = read_split("train"), validation = read_split("validation");
    cr_expect_eq(train.count, 3001);
    cr_expect_eq(train.first_gap, -1);
    cr_expect_eq(validation.count, 300);
    cr_expect_eq(validation.first_gap, -1);
    cr_expect_eq(spool_left_out(spool), 0);
    spool_free(spool);
}

/* Open files without a name that only the user may read: others are counted in *open_to_others. */
static int count_nameless(int *open_to_others)
{
    struct stat status;
    int found = 0;
    for (int file = 3; file < 256; file++)
        if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 0) {
            *open_to_others += (status.st_mode & 0777) != 0600;
            found++;
        }
    return found;
}

Test(spool, leaves_no_file_that_others_see)
{
    struct spool *spool = spool_new(folder, 0, SPOOL_FILE_BYTES);
    int files = 0, others_before = 0, others = 0, before = count_nameless(&others_before);
    add(spool, "train", 0, true);
    add(spool, "train", 1, true);
    cr_expect_gt(spool_file_bytes(spool), 0);
    DIR *directory = opendir(folder);
    for (struct dirent *entry; (entry = readdir(directory));)
        files += entry->d_name[0] != '.';
    closedir(directory);
    cr_expect_eq(files, 0);
    cr_expect_eq(count_nameless(&others), before + 1);
    cr_expect_eq(others, others_before);
    spool_free(spool);
}

Test(spool, at_its_bound_leaves_out_points_of_batches_evenly_and_none_of_epochs)
{
    struct spool *spool = spool_new(folder, 4096, 100000);
    int thinned = 0;
    int64_t most = 0;
    for (int64_t i = 0; i < 40000; i++) {
        thinned += add(spool, "train", i, true);
        if (i % 100 == 0)
            thinned += add(spool, "validation", i / 100, false);
        most = spool_file_bytes(spool) > most ? spool_file_bytes(spool) : most;
    }
    cr_expect_gt(thinned, 2);
    cr_expect_lt(thinned, 10);
    cr_expect_leq(most, 100000);
    int64_t left_out = spool_left_out(spool);
    drain(spool, 1000);
    struct seen train = read_split("train"), validation = read_split("validation");
    cr_expect_eq(train.count + left_out, 40000);
    cr_expect_gt(train.count, 500);
    cr_expect(train.in_order);
    cr_expect_gt(train.last, 39900);
    cr_expect_eq(validation.count, 400);
    cr_expect_eq(validation.first_gap, -1);
    int64_t before = spool_left_out(spool); /* it is empty: all points count again */
    for (int64_t i = 40000; i < 40010; i++)
        add(spool, "train", i, true);
    cr_expect_eq(spool_left_out(spool), before);
    spool_free(spool);
}

Test(spool, keeps_points_of_epochs_beyond_its_bound)
{
    struct spool *spool = spool_new(folder, 1000, 10000);
    for (int64_t i = 0; i < 2000; i++)
        cr_expect_eq(add(spool, "validation", i, false), 0);
    drain(spool, 1000);
    struct seen seen = read_split("validation");
    cr_expect_eq(seen.count, 2000);
    cr_expect_eq(seen.first_gap, -1);
    spool_free(spool);
}

Test(spool, without_a_folder_to_write_to_is_bounded_in_memory)
{
    struct spool *spool = spool_new("/nowhere/at/all", 20000, SPOOL_FILE_BYTES);
    for (int64_t i = 0; i < 20000; i++) {
        add(spool, "train", i, true);
        if (i % 200 == 0)
            add(spool, "validation", i / 200, false);
    }
    cr_expect_eq(spool_file_bytes(spool), 0);
    cr_expect_gt(spool_left_out(spool), 10000);
    int64_t left_out = spool_left_out(spool);
    drain(spool, 1000);
    struct seen train = read_split("train"), validation = read_split("validation");
    cr_expect_eq(train.count + left_out, 20000);
    cr_expect(train.in_order);
    cr_expect_eq(validation.count, 100);
    cr_expect_eq(validation.first_gap, -1);
    spool_free(spool);
}

Test(spool, forgets_all_for_the_next_task)
{
    struct spool *spool = spool_new(folder, 1000, SPOOL_FILE_BYTES);
    for (int64_t i = 0; i < 100; i++)
        add(spool, "train", i, true);
    spool_clear(spool);
    cr_expect(spool_is_empty(spool));
    add(spool, "train", 0, true);
    drain(spool, 1000);
    cr_expect_eq(read_split("train").count, 1);
    spool_free(spool);
}
