/* SPDX-License-Identifier: Apache-2.0 */
/* Splits as files: what is written is mapped, damage is found, the folder is bounded; and the order of rows in a window. */
#include "runner/order.h"
#include "runner/split_store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static bson_error_t error;

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/tl_split.XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    setenv("TL_HUB_CACHE_DIR", folder, 1);
    unsetenv("TL_HUB_CACHE_BYTES");
}

static void leave(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(split_store, .init = enter, .fini = leave);

static const struct split_shape shape = {.features = 3, .classes = 5};

static int write_rows(struct split_store *store, const char *key, int rows)
{
    char sha256[65];
    struct split_writer *writer = split_writer_new(store, &shape, &error);
    cr_assert_not_null(writer, "%s", error.message);
    int result = 0;
    for (int i = 0; i < rows && result == 0; i++) {
        const float x[3] = {(float)i, 1, 2};
        const int32_t y = i % 5;
        result = split_writer_add(writer, x, &y, 1, &error);
    }
    if (result == 0)
        result = split_writer_end(writer, sha256, &error) || split_writer_publish(writer, key, &error) ? -1 : 0;
    split_writer_free(writer);
    return result;
}

Test(split_store, what_is_written_is_mapped_by_whoever_asks)
{
    struct split_store *store = split_store_open(&error), *other = split_store_open(&error);
    struct split_map map;
    cr_assert(store && other, "%s", error.message);
    cr_expect_eq(split_store_map(store, "a", &shape, &map, &error), 0);
    cr_assert_eq(write_rows(store, "a", 1001), 0, "%s", error.message);
    cr_assert_eq(split_store_map(other, "a", &shape, &map, &error), 1, "%s", error.message);
    cr_expect_eq(map.rows, 1001);
    for (int i = 0; i < 1001; i++)
        cr_expect(((float *)map.x)[3 * i] == (float)i && ((int32_t *)map.y)[i] == i % 5);
    split_map_end(&map);
    split_store_close(store);
    split_store_close(other);
}

Test(split_store, damage_and_other_shapes_count_as_missing)
{
    const struct split_shape wider = {.features = 4, .classes = 5};
    struct split_store *store = split_store_open(&error);
    struct split_map map;
    char path[96];
    snprintf(path, sizeof path, "%s/a.split", folder);
    for (int at = 0; at < 3; at++) {
        static const off_t places[] = {30, 4100, 4096 + 12 * 64 + 8};
        cr_assert_eq(write_rows(store, "a", 64), 0, "%s", error.message);
        int file = open(path, O_WRONLY);
        cr_assert_eq(pwrite(file, "\x7f", 1, places[at]), 1);
        close(file);
        cr_expect_eq(split_store_map(store, "a", &shape, &map, &error), 0);
        cr_expect_eq(access(path, F_OK), -1, "it is gone");
    }
    cr_assert_eq(write_rows(store, "a", 64), 0);
    cr_assert_eq(truncate(path, 4096 + 100), 0);
    cr_expect_eq(split_store_map(store, "a", &shape, &map, &error), 0);
    cr_assert_eq(write_rows(store, "a", 64), 0);
    cr_expect_eq(split_store_map(store, "a", &wider, &map, &error), 0);
    split_store_close(store);
}

Test(split_store, the_longest_unused_go_and_what_is_mapped_stays_readable)
{
    setenv("TL_HUB_CACHE_BYTES", "60000", 1);
    struct split_store *store = split_store_open(&error);
    struct split_map first, map;
    cr_assert_eq(write_rows(store, "a", 1000), 0, "%s", error.message);
    cr_assert_eq(split_store_map(store, "a", &shape, &first, &error), 1);
    cr_assert_eq(write_rows(store, "b", 1000), 0);
    cr_assert_eq(write_rows(store, "c", 1000), 0);
    cr_expect(!split_store_has(store, "a") && split_store_has(store, "c"));
    cr_expect_eq(((float *)first.x)[3 * 999], 999.0f);
    split_map_end(&first);
    cr_expect_eq(split_store_map(store, "a", &shape, &map, &error), 0);
    cr_expect_eq(write_rows(store, "d", 10000), -1);
    cr_expect(error.code == HUB_ERROR_NO_SPACE && strstr(error.message, "TL_HUB_CACHE_BYTES"), "%s", error.message);
    cr_expect(!split_store_has(store, "d"));
    split_store_close(store);
}

Test(order, a_window_is_a_permutation_and_a_function_of_the_seed)
{
    static const int64_t windows[] = {0, 1, 7, 100, 999, 1000, 5000};
    int64_t one[1000], two[1000];
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
        struct random_state random;
        bool seen[1000] = {false};
        random_init(&random, 4, 1);
        cr_assert_eq(order_rows(&random, windows[w], one, 1000), 0);
        random_init(&random, 4, 1);
        cr_assert_eq(order_rows(&random, windows[w], two, 1000), 0);
        cr_expect_eq(memcmp(one, two, sizeof one), 0);
        for (int i = 0; i < 1000; i++) {
            cr_assert(one[i] >= 0 && one[i] < 1000 && !seen[one[i]]);
            seen[one[i]] = true;
        }
        random_init(&random, 5, 1);
        order_rows(&random, windows[w], two, 1000);
        cr_expect(memcmp(one, two, sizeof one) != 0);
    }
}

Test(order, a_window_holds_few_pieces_of_the_file)
{
    static int64_t order[10000];
    struct random_state random;
    random_init(&random, 1, 1);
    cr_assert_eq(order_rows(&random, 1600, order, 10000), 0);
    for (int first = 0; first < 9600; first += 1600) {
        bool blocks[100] = {false};
        int count = 0;
        for (int i = first; i < first + 1600; i++) {
            count += !blocks[order[i] / 100];
            blocks[order[i] / 100] = true;
        }
        cr_expect(count <= 17, "%d pieces", count);
    }
}
