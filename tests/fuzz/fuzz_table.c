/* SPDX-License-Identifier: Apache-2.0 */
/* Batches as tables: what is refused names its line and column, and leaves no task; what is accepted makes as many tasks as it has
 * rows, and none when it is sent again. The hub has a dataset "d", and the architecture may be filled in from the rows. */

#include "distributor/csv.h"
#include "distributor/table.h"
#include "hub/task.h"
#include "tests/fuzz/fuzz_file.h"

static char folder[64];
static struct hub *hub;

static void leave(void)
{
    char command[128];
    hub_close(hub);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    FUZZ_REQUIRE(system(command) == 0);
}

static void enter(void)
{
    static const char rows[] = "a,b,y\n1,2,0\n2,1,1\n3,5,0\n4,4,1\n5,1,0\n6,2,1\n";
    static const char *const label[] = {"y"};
    char uri[128];
    bson_error_t error;
    bson_t dataset;
    snprintf(folder, sizeof folder, "%s/tl_hub-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FUZZ_REQUIRE(mkdtemp(folder) != NULL);
    snprintf(uri, sizeof uri, "sqlite:%s/hub.db", folder);
    hub = hub_open(uri, NULL, HUB_OPEN_CREATE, &error);
    FUZZ_REQUIRE(hub != NULL);
    atexit(leave);
    struct csv_options options = {.path = fuzz_file((const uint8_t *)rows, sizeof rows - 1), .name = "d", .header = -1,
                                  .labels = label, .label_count = 1, .horizon = 1, .test_share = 0.2};
    FUZZ_REQUIRE(csv_save_dataset(hub, &options, &dataset, &error) >= 0);
    bson_destroy(&dataset);
}

static int64_t count_tasks(void)
{
    bson_error_t error;
    bson_t every = BSON_INITIALIZER;
    int64_t count = store_count(hub_store(hub), "tasks", &every, &error);
    FUZZ_REQUIRE(count >= 0);
    bson_destroy(&every);
    return count;
}

static void delete_tasks(void)
{
    bson_error_t error;
    bson_t every = BSON_INITIALIZER;
    FUZZ_REQUIRE(store_delete(hub_store(hub), "tasks", &every, &error) >= 0);
    bson_destroy(&every);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct table_submission first = {0}, again = {0};
    bson_error_t error = {0};
    bson_t fields = BSON_INITIALIZER;
    if (hub == NULL)
        enter();
    const char *path = fuzz_file(data, size);
    BSON_APPEND_UTF8(&fields, "name", "batch");
    BSON_APPEND_UTF8(&fields, "dataset", "d");
    BSON_APPEND_UTF8(&fields, "architecture", "dense:4:relu dense:2");
    if (table_submit(hub, path, &fields, false, &first, &error)) {
        FUZZ_REQUIRE(fuzz_names_place(error.message, path));
        FUZZ_REQUIRE(count_tasks() == 0);
    } else {
        FUZZ_REQUIRE(first.rows > 0 && first.submitted > 0 && first.submitted <= first.rows);
        FUZZ_REQUIRE(count_tasks() == first.submitted);
        FUZZ_REQUIRE(table_submit(hub, path, &fields, false, &again, &error) == 0 && again.submitted == 0);
        delete_tasks();
    }
    bson_destroy(&fields);
    return 0;
}
