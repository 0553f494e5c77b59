/* SPDX-License-Identifier: Apache-2.0 */
/* A foreign document in a hub: whatever it holds, everything that reads, claims, sweeps, collects or deletes ends with a
 * result or an error. The input is a byte that picks the collection, and a document in BSON. */

#include "hub/architecture_record.h"
#include "hub/archive.h"
#include "hub/dataset.h"
#include "hub/fsck.h"
#include "hub/gc.h"
#include "hub/logs.h"
#include "hub/model.h"
#include "hub/runner_record.h"
#include "hub/store_front.h"
#include "hub/store_sqlite_impl.h"
#include "hub/sweep_record.h"
#include "hub/task.h"
#include "runner/recipe.h"
#include "tests/fuzz/fuzz.h"

#include <sqlite3.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const collections[] = {"tasks",   "models",   "datasets",    "logs",         "architectures", "runners",
                                          "sweeps",  "uploads",  "blobs.files", "blobs.chunks", "counters",      "projects"};
#define COLLECTIONS (sizeof collections / sizeof *collections)

static char folder[64], uri[128];
static struct hub *hub;
static struct sqlite_store *engine; /* of the hub, under the front, which would refuse the document */

static void leave(void)
{
    char command[128];
    hub_close(hub);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    FUZZ_REQUIRE(system(command) == 0);
}

/* Nobody else opens the file, but for a moment: a lock that is kept saves looking for others' locks and journals at every
 * statement, most of what there is to do. */
static void keep_lock(bool keep)
{
    const char *mode = keep ? "PRAGMA locking_mode=EXCLUSIVE" : "PRAGMA locking_mode=NORMAL; SELECT count(*) FROM sqlite_schema";
    FUZZ_REQUIRE(sqlite3_exec(engine->db, mode, NULL, NULL, NULL) == SQLITE_OK);
}

static void enter(void)
{
    bson_error_t error;
    snprintf(folder, sizeof folder, "%s/tl_hub-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FUZZ_REQUIRE(mkdtemp(folder) != NULL);
    snprintf(uri, sizeof uri, "sqlite:%s/hub.db", folder);
    hub = hub_open(uri, NULL, HUB_OPEN_CREATE, &error);
    FUZZ_REQUIRE(hub != NULL);
    engine = hub_store(hub)->self;
    keep_lock(true);
    atexit(leave);
}

static void read_all(struct store_cursor *cursor)
{
    const bson_t *document;
    bson_error_t error;
    while (cursor != NULL && store_cursor_next(cursor, &document, &error) > 0)
        FUZZ_REQUIRE(document->len >= 5);
    store_cursor_close(cursor);
}

static int visit(const bson_t *bucket, void *data)
{
    (void)data;
    FUZZ_REQUIRE(bucket->len >= 5);
    return 0;
}

static void read_documents(void)
{
    bson_t out;
    bson_error_t error;
    read_all(task_find(hub, NULL, NULL, &error));
    read_all(model_find(hub, NULL, NULL, &error));
    read_all(dataset_find(hub, NULL, NULL, &error));
    read_all(runner_record_find(hub, NULL, &error));
    read_all(sweep_record_find(hub, NULL, &error));
    read_all(architecture_record_find(hub, NULL, NULL, &error));
    logs_read(hub, NULL, NULL, visit, NULL, &error);
    task_count_states(hub, NULL, &out, &error);
    bson_destroy(&out);
    task_resolve(hub, "n", &out, &error);
    bson_destroy(&out);
    model_resolve(hub, "n", &out, &error);
    bson_destroy(&out);
}

static void count_finding(void *data, const struct fsck_finding *finding)
{
    int *count = data;
    FUZZ_REQUIRE(finding->what[0] != '\0' && finding->advice[0] != '\0');
    ++*count;
}

static void look_through(void)
{
    int count = 0;
    struct fsck_options fsck = {.settle_ms = 1, .stand_ms = 1, .found = count_finding, .data = &count};
    struct fsck_report report;
    struct archive_export_options export = {.live = true, .skip_damaged = true};
    struct archive_summary summary;
    bson_error_t error = {0};
    FUZZ_REQUIRE(fsck_run(hub, &fsck, &report, &error) >= 0 || error.message[0] != '\0');
    FUZZ_REQUIRE(report.errors + report.warnings + report.notes == count);
    FILE *file = fdopen(memfd_create("archive", MFD_CLOEXEC), "w+");
    FUZZ_REQUIRE(file != NULL);
    FUZZ_REQUIRE(archive_export(hub, file, &export, &summary, &error) >= 0 || error.message[0] != '\0');
    rewind(file);
    FUZZ_REQUIRE(summary.digest[0] == '\0' || archive_check(file, "fuzz", &summary, &error) > 0);
    fclose(file);
}

static void claim_task(void)
{
    static const struct task_claim_options options = {.runner = "fuzz"};
    struct task_fence fence;
    struct recipe recipe;
    bson_error_t error = {0};
    bson_t task, set = BSON_INITIALIZER;
    int claimed = task_claim(hub, &options, &task, &fence, &error);
    FUZZ_REQUIRE(claimed >= 0 || error.message[0] != '\0');
    if (claimed > 0) {
        recipe_init(&recipe);
        recipe_read(&recipe, hub, &task, &error);
        recipe_destroy(&recipe);
        enum task_request request;
        task_started(hub, &fence, &error);
        task_beat(hub, &fence, NULL, &request, &error);
        task_fail(hub, &fence, "m", "o", &error);
    }
    bson_destroy(&task);
    task_promote(hub, &error);
    BSON_APPEND_DOUBLE(&set, "learning_rate", 0.1);
    task_restart(hub, NULL, &set, &error);
    task_pause(hub, NULL, &error);
    task_resume(hub, NULL, &error);
    task_cancel(hub, NULL, "reason", &error);
    bson_destroy(&set);
}

static void sweep_and_collect(void)
{
    bson_error_t error;
    int64_t next_ms;
    struct gc_report report;
    struct task_sweeper *sweeper = task_sweeper_new(TASK_LEASE_MS);
    task_sweeper_round(sweeper, hub, &next_ms, &error);
    task_sweeper_resign(sweeper, hub, &error);
    task_sweeper_free(sweeper);
    gc_run(hub, 1, true, &report, &error);
    gc_run(hub, 1, false, &report, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_t document;
    bson_iter_t id;
    bson_error_t error;
    if (hub == NULL)
        enter();
    /* A server refuses what is not whole; SQLite's engine takes its bytes as they are. */
    if (size < 6 || !bson_init_static(&document, data + 1, size - 1) ||
        !bson_validate(&document, BSON_VALIDATE_NONE, NULL) || !bson_iter_init_find(&id, &document, "_id"))
        return 0;
    const char *collection = collections[data[0] % COLLECTIONS];
    if (store_engine_sqlite.insert(engine, collection, &document, &error) < 0)
        return 0;
    read_documents();
    look_through();
    claim_task();
    sweep_and_collect();
    static const char *const touched[] = {"tasks", "models", "datasets", "logs"};
    task_delete(hub, NULL, &error);
    dataset_delete(hub, NULL, &error);
    logs_delete(hub, NULL, &error);
    for (size_t i = 0; i < sizeof touched / sizeof *touched; i++)
        store_delete(hub_store(hub), touched[i], NULL, &error);
    store_delete(hub_store(hub), collection, NULL, &error);
    if (strcmp(collection, "projects") == 0) {
        keep_lock(false);
        struct hub *again = hub_open(uri, NULL, HUB_OPEN_CREATE, &error);
        FUZZ_REQUIRE(again != NULL || error.message[0] != '\0');
        hub_close(again);
        hub_init(uri, NULL, &error);
        keep_lock(true);
    }
    return 0;
}
