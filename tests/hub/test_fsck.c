/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of damage, done to a hub behind its back, is found and named. */
#include "whole_hub.h"

#include "hub/store_impl.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

TEST_USES_SERVER;

/* The blob of the model of this name. */
static bson_oid_t blob_of(struct hub *hub, const char *name)
{
    char filter[100];
    bson_t model;
    bson_iter_t iter;
    bson_oid_t id;
    snprintf(filter, sizeof filter, "{'name': '%s'}", name);
    read_one(hub, "models", filter, &model);
    cr_assert(bson_iter_init_find(&iter, &model, "blob_id") && BSON_ITER_HOLDS_OID(&iter));
    bson_oid_copy(bson_iter_oid(&iter), &id);
    bson_destroy(&model);
    return id;
}

static void drop(struct hub *hub, const char *collection, const char *filter)
{
    bson_t *document = json("%s", filter);
    cr_assert_gt(GOOD(store_delete(hub_store(hub), collection, document, error)), 0, "%s %s", collection, filter);
    bson_destroy(document);
}

static char *of_blob(const bson_oid_t *id, const char *key, const char *more)
{
    char text[25];
    bson_oid_to_string(id, text);
    return bson_strdup_printf("{'%s': {'$oid': '%s'}%s}", key, text, more);
}

static void insert(struct hub *hub, const char *collection, const char *document)
{
    bson_t *parsed = json("%s", document);
    GOOD(store_insert(hub_store(hub), collection, parsed, error));
    bson_destroy(parsed);
}

HUB_TEST(fsck, a_sound_hub_is_found_sound)
{
    struct findings *findings = bson_malloc0(sizeof *findings);
    fill_hub(hub);
    expect_sound(hub);
    run_fsck(hub, true, NULL, findings);
    cr_expect_eq(findings->report.errors + findings->report.warnings, 0);
    cr_expect_eq(findings->report.bytes, 0, "quick hashes nothing");
    cr_expect_geq(findings->report.documents, 15);
    cr_expect_eq(findings->report.blobs, 7);
    run_fsck(hub, false, "default", findings);
    cr_expect_eq(findings->report.errors + findings->report.warnings, 0);
    bson_free(findings);
}

HUB_TEST(fsck, documents_that_are_not_as_their_schemas)
{
    fill_hub(hub);
    poke(hub, "tasks", "{'name': 'waits'}", "{'$set': {'priority': 'high', 'colour': 'red'}}");
    poke(hub, "models", "{'name': 'by hand'}", "{'$set': {'project': 'nowhere'}}");
    poke(hub, "models", "{'name': 'small weights'}", "{'$unset': {'name': ''}}");
    insert(hub, "runners", "{'_id': 'r', 'project': 'default', 'state': 'asleep', 'beat': 0}");
    insert(hub, "sweeps", "{'_id': 7, 'project': 'default'}");
    poke(hub, "meta", "{'_id': 'hub'}", "{'$set': {'colour': 'red'}}");
    EXPECT_FOUND(hub, "error schema tasks/");
    EXPECT_FOUND(hub, "warning field-unknown tasks/");
    EXPECT_FOUND(hub, "error project-missing models/");
    EXPECT_FOUND(hub, "error schema models/");
    EXPECT_FOUND(hub, "error schema runners/r: runner.");
    EXPECT_FOUND(hub, "error schema sweeps/");
    EXPECT_FOUND(hub, "error schema meta/hub");
}

/* Another program's tasks are claimed by nobody: told, and stopped at a rung. */
HUB_TEST(fsck, results_of_tasks_that_nobody_claims)
{
    bson_t task, *metrics = json("{'loss': 0.5}"), *all = json("{'name': 'other'}");
    fill_hub(hub);
    insert(hub, "sweeps", "{'_id': 's', 'project': 'default', 'name': 'outer', 'specification': {'x': 1}}");
    poke(hub, "sweeps", "{'_id': 's'}", "{'$set': {'schema_version': 1}, '$currentDate': {'created_at': true}}");
    make_task(hub, "{'name': 'outer', 'kind': 'outside', 'sweep': 's', 'point_number': 0}");
    cr_assert_eq(GOOD(task_tell(hub, "s", 0, metrics, NULL, &task, error)), 1);
    bson_destroy(&task);
    make_task(hub, "{'name': 'other', 'kind': 'outside'}");
    poke(hub, "tasks", "{'name': 'other'}",
         "{'$set': {'state': 'parked', 'rungs': {'epochs': [1], 'count': 1, 'metrics': {'loss': 0.5}, 'waits': true}}}");
    cr_assert_eq(GOOD(task_stop(hub, all, NULL, error)), 1);
    expect_sound(hub);
    poke(hub, "tasks", "{'name': 'outer'}", "{'$set': {'claim.id': 'another'}}");
    EXPECT_FOUND(hub, "error result-claim tasks/");
    poke(hub, "tasks", "{'name': 'outer'}", "{'$unset': {'claim': ''}, '$set': {'kind': 'train'}}");
    EXPECT_FOUND(hub, "error result-claim tasks/");
    bson_destroy(metrics);
    bson_destroy(all);
}

HUB_TEST(fsck, tasks_and_their_results)
{
    fill_hub(hub);
    poke(hub, "tasks", "{'result.claim_id': {'$exists': true}}", "{'$set': {'claim.id': 'another'}}");
    EXPECT_FOUND(hub, "error result-claim tasks/");
    poke(hub, "tasks", "{'name': 'waits'}", "{'$set': {'state': 'done'}}");
    EXPECT_FOUND(hub, "error result-missing tasks/");
    poke(hub, "tasks", "{'name': 'foreign'}", "{'$set': {'state': 'running'}}");
    EXPECT_FOUND(hub, "error claim-missing tasks/00112233445566778899aabb");
    poke(hub, "tasks", "{'name': 'foreign'}", "{'$set': {'state': 'ready', 'lane': 7}}");
    EXPECT_FOUND(hub, "warning lane-unserved tasks/00112233445566778899aabb");
    poke(hub, "tasks", "{'name': 'to finish'}", "{'$set': {'published': false}}");
    EXPECT_FOUND(hub, "warning unpublished tasks/");
    poke(hub, "tasks", "{'name': 'to finish'}", "{'$set': {'published': true}}");
    poke(hub, "models", "{'name': 'small weights'}", "{'$set': {'task': 'another', 'blob_id': {'$oid': '0123456789abcdef01234567'}}}");
    EXPECT_FOUND(hub, "error model-task tasks/");
    EXPECT_FOUND(hub, "error result-blob tasks/");
    EXPECT_FOUND(hub, "error blob-missing models/");
    poke(hub, "models", "{'name': 'three chunks'}",
         "{'$set': {'sha256': '0000000000000000000000000000000000000000000000000000000000000000'}}");
    EXPECT_FOUND(hub, "error result-digest tasks/");
    EXPECT_FOUND(hub, "error blob-digest models/");
    drop(hub, "models", "{'name': 'large weights'}");
    EXPECT_FOUND(hub, "error model-missing tasks/");
}

HUB_TEST(fsck, a_model_that_was_deleted_is_not_missing)
{
    struct gc_report report;
    bson_t *filter = json("{'name': 'large weights'}");
    fill_hub(hub);
    cr_expect_eq(GOOD(model_delete(hub, filter, error)), 1);
    bson_destroy(filter);
    EXPECT_FOUND(hub, "warning blob-orphan blobs.files/");
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(report.blobs_deleted, 1, "the task holds its weights no more");
    expect_sound(hub);
    drop(hub, "models", "{'deleted': true}"); /* as gc does with tombstones later */
    expect_sound(hub);
}

HUB_TEST(fsck, checkpoints_and_what_tasks_wait_for)
{
    fill_hub(hub);
    poke(hub, "tasks", "{'name': 'foreign'}",
         "{'$set': {'checkpoint': {'blob_id': {'$oid': '0123456789abcdef01234567'}, 'claim_id': 'c'}}}");
    EXPECT_FOUND(hub, "error blob-missing tasks/00112233445566778899aabb: checkpoint.blob_id");
    drop(hub, "tasks", "{'_id': 'predecessor'}");
    EXPECT_FOUND(hub, "warning after-missing tasks/");
    poke(hub, "tasks", "{'after': 'predecessor'}", "{'$set': {'after_met': true}}");
    struct findings *met = bson_malloc0(sizeof *met);
    run_fsck(hub, false, NULL, met);
    cr_expect_not(is_found(met, "warning after-missing"), "it had ended well");
    bson_free(met);
    /* One waits for the next one's next one's …, and the last for the first. */
    make_task(hub, "{'_id': 'c1', 'name': 'c1', 'after': ['c3']}");
    make_task(hub, "{'_id': 'c2', 'name': 'c2', 'after': ['c1']}");
    make_task(hub, "{'_id': 'c3', 'name': 'c3', 'after': ['c2']}");
    make_task(hub, "{'_id': 'self', 'name': 'self', 'after': ['self']}");
    make_task(hub, "{'_id': 'leads', 'name': 'leads in', 'after': ['c3']}");
    EXPECT_FOUND(hub, "error after-cycle tasks/c1");
    EXPECT_FOUND(hub, "error after-cycle tasks/self");
    struct findings *findings = bson_malloc0(sizeof *findings);
    run_fsck(hub, true, NULL, findings);
    cr_expect_not(is_found(findings, "error after-cycle tasks/leads"), "it is not in the circle");
    bson_free(findings);
}

HUB_TEST(fsck, sweeps_architectures_and_numbers)
{
    fill_hub(hub);
    struct findings *findings = bson_malloc0(sizeof *findings);
    poke(hub, "tasks", "{'name': 'waits'}", "{'$set': {'sweep': 'no such', 'seq': 2}}");
    EXPECT_FOUND(hub, "warning sweep-missing tasks/");
    EXPECT_FOUND(hub, "warning number-twice tasks/");
    poke(hub, "sweeps", "{'name': 's'}", "{'$set': {'points': 0}}");
    EXPECT_FOUND(hub, "error sweep-points sweeps/");
    poke(hub, "sweeps", "{'name': 's'}", "{'$set': {'points': 5}}");
    EXPECT_FOUND(hub, "note sweep-incomplete sweeps/");
    poke(hub, "sweeps", "{'name': 's'}", "{'$set': {'points': {'$numberLong': '9000000000000000000'}, 'seeds': 9}}");
    EXPECT_FOUND(hub, "error sweep-points sweeps/");
    poke(hub, "sweeps", "{'name': 's'}", "{'$set': {'points': 0, 'seeds': 9}}");
    EXPECT_FOUND(hub, "error sweep-points sweeps/");
    poke(hub, "counters", "{}", "{'$set': {'value': {'$numberLong': '3'}}}");
    EXPECT_FOUND(hub, "error counter projects/default");
    poke(hub, "tasks", "{'name': 'foreign'}", "{'$set': {'architecture_digest': 'none'}}");
    EXPECT_FOUND(hub, "note architecture-unsaved tasks/");
    poke(hub, "tasks", "{'name': 'foreign'}", "{'$set': {'architecture': 'unheard'}}");
    poke(hub, "architectures", "{'name': 'small'}",
         "{'$set': {'digest': '0000000000000000000000000000000000000000000000000000000000000000'}}");
    insert(hub, "architectures", "{'_id': 'bad', 'project': 'default', 'graph': {'a': 1}, 'digest': 'x'}");
    struct fsck_options options = {.quick = true,
                                   .settle_ms = 1,
                                   .architecture_json = same_text,
                                   .found = keep_finding,
                                   .data = findings};
    memset(findings, 0, sizeof *findings);
    GOOD(fsck_run(hub, &options, &findings->report, error));
    cr_expect(is_found(findings, "error architecture-digest architectures/"));
    cr_expect(is_found(findings, "error architecture-graph architectures/bad"));
    cr_expect(is_found(findings, "error architecture-missing tasks/00112233445566778899aabb"));
    bson_free(findings);
}

HUB_TEST(fsck, datasets)
{
    fill_hub(hub);
    poke(hub, "datasets", "{'version': 2}", "{'$set': {'rows': 15}}");
    EXPECT_FOUND(hub, "error dataset-rows datasets/");
    poke(hub, "datasets", "{'version': 2}", "{'$set': {'rows': 14, 'input_shape': [4, 1]}}");
    EXPECT_FOUND(hub, "error dataset-digest datasets/");
    drop(hub, "blobs.files", "{'metadata.kind': 'dataset'}");
    EXPECT_FOUND(hub, "error blob-missing datasets/");
    EXPECT_FOUND(hub, "warning chunk-orphan blobs.chunks/");
}

HUB_TEST(fsck, logs)
{
    fill_hub(hub);
    insert(hub, "logs", "{'_id': 'a/train/0', 'project': 'default', 'task': 'gone', 'claim': 'a', 'split': 'train', 'number': 0,"
                        " 'points': [], 'schema_version': 1}");
    EXPECT_FOUND(hub, "warning log-orphan logs/a/train/0");
    insert(hub, "logs", "{'_id': 'b/train/1', 'project': 'default', 'task': 'predecessor', 'claim': 'b', 'split': 'train',"
                        " 'number': 0, 'points': [], 'schema_version': 1}");
    EXPECT_FOUND(hub, "error log-id logs/b/train/1");
    EXPECT_FOUND(hub, "note log-claim logs/b/train/1");
    insert(hub, "logs", "{'_id': 'c/train/0', 'project': 'default', 'claim': 'c', 'split': 'train', 'number': 0, 'points': [],"
                        " 'schema_version': 1}");
    EXPECT_FOUND(hub, "warning log-orphan logs/c/train/0");
}

/* Sets the third chunk's n of the model's blob, or what else. */
static void poke_chunk(struct hub *hub, const bson_oid_t *blob, int n, const char *update)
{
    char more[40];
    snprintf(more, sizeof more, ", 'n': %d", n);
    char *filter = of_blob(blob, "files_id", more);
    poke(hub, "blobs.chunks", filter, update);
    bson_free(filter);
}

HUB_TEST(fsck, blobs_and_chunks)
{
    fill_hub(hub);
    bson_oid_t three = blob_of(hub, "three chunks"), hand = blob_of(hub, "by hand"), small = blob_of(hub, "small weights");
    poke_chunk(hub, &three, 1, "{'$set': {'n': 5}}");
    EXPECT_FOUND(hub, "error chunk-missing blobs.files/");
    if (strcmp(store_engine(hub_store(hub)), "sqlite") == 0) { /* a server may hold these two keys to be unique */
        poke_chunk(hub, &three, 5, "{'$set': {'n': 0}}");
        EXPECT_FOUND(hub, "error chunk-twice blobs.files/");
    }
    poke_chunk(hub, &hand, 0, "{'$set': {'data': 'text'}}");
    EXPECT_FOUND(hub, "error chunk-data blobs.files/");
    poke_chunk(hub, &hand, 0, "{'$set': {'data': {'$binary': {'base64': 'AAAA', 'subType': '00'}}}}");
    EXPECT_FOUND(hub, "error chunk-length blobs.files/");
    char *filter = of_blob(&small, "_id", "");
    poke(hub, "blobs.files", filter, "{'$set': {'metadata.sha256': 'other'}}");
    EXPECT_FOUND(hub, "error content-digest blobs.files/");
    EXPECT_FOUND(hub, "error blob-digest models/");
    poke(hub, "blobs.files", filter, "{'$set': {'length': 5}}");
    EXPECT_FOUND(hub, "error blob-length models/");
    poke(hub, "blobs.files", filter, "{'$unset': {'length': ''}}");
    EXPECT_FOUND(hub, "error blob-files blobs.files/");
    bson_free(filter);
    drop(hub, "models", "{'name': 'by hand'}");
    EXPECT_FOUND(hub, "warning blob-orphan blobs.files/");
    filter = of_blob(&hand, "_id", "");
    drop(hub, "blobs.files", filter);
    EXPECT_FOUND(hub, "warning chunk-orphan blobs.chunks/");
    bson_free(filter);
}

HUB_TEST(fsck, quick_counts_chunks)
{
    struct findings *findings = bson_malloc0(sizeof *findings);
    fill_hub(hub);
    bson_oid_t three = blob_of(hub, "three chunks");
    char *filter = of_blob(&three, "files_id", ", 'n': 1");
    drop(hub, "blobs.chunks", filter);
    run_fsck(hub, true, NULL, findings);
    cr_expect(is_found(findings, "error chunk-missing blobs.files/"));
    bson_free(filter);
    bson_free(findings);
}

HUB_TEST(fsck, uploads_and_imports_that_were_left)
{
    bson_oid_t id;
    fill_hub(hub);
    bson_oid_init(&id, NULL);
    GOOD(gc_announce(hub, &id, "predecessor", "an old claim", error));
    EXPECT_FOUND(hub, "warning upload-stale uploads/");
    drop(hub, "uploads", "{}");
    GOOD(gc_announce(hub, &id, NULL, NULL, error));
    EXPECT_FOUND(hub, "warning upload-stale uploads/");
    drop(hub, "uploads", "{}");
    insert(hub, "meta", "{'_id': 'import:a:b:c', 'state': 'importing', 'beat': 3}");
    EXPECT_FOUND(hub, "warning import-incomplete meta/import:a:b:c");
}

struct beating {
    const char *uri;
    bson_oid_t id;
    atomic_bool stop;
};

static void *beat_on(void *data)
{
    struct beating *beating = data;
    struct hub *hub = hub_open(beating->uri, NULL, HUB_OPEN_EXISTING, NULL);
    while (hub != NULL && !atomic_load(&beating->stop)) {
        gc_upload_beat(hub, &beating->id, NULL);
        usleep(5000);
    }
    hub_close(hub);
    return NULL;
}

HUB_TEST(fsck, an_upload_that_goes_on_is_no_finding)
{
    struct beating beating = {.uri = uri};
    struct findings *findings = bson_malloc0(sizeof *findings);
    struct fsck_options options = {.settle_ms = 1, .stand_ms = 3000, .found = keep_finding, .data = findings};
    pthread_t thread;
    bson_oid_init(&beating.id, NULL);
    GOOD(gc_announce(hub, &beating.id, NULL, NULL, error));
    cr_assert_eq(pthread_create(&thread, NULL, beat_on, &beating), 0);
    GOOD(fsck_run(hub, &options, &findings->report, error));
    atomic_store(&beating.stop, true);
    pthread_join(thread, NULL);
    cr_expect_eq(findings->count, 0, "%s", findings->text[0]);
    bson_free(findings);
}

struct healing {
    const char *uri;
    bool healed;
};

/* The first look has seen it; before the second one it is as it should be. */
static void heal(void *data, const struct fsck_progress *progress)
{
    struct healing *healing = data;
    if (healing->healed || strcmp(progress->collection, "tasks") != 0 || progress->done < progress->total) {
        return;
    }
    struct hub *hub = hub_open(healing->uri, NULL, HUB_OPEN_EXISTING, NULL);
    /* The last task of the walk is looked at after this: it heals all before. */
    poke(hub, "tasks", "{'name': {'$in': ['h1', 'h2']}}", "{'$unset': {'colour': ''}}");
    hub_close(hub);
    healing->healed = true;
}

static void count_finding(void *data, const struct fsck_finding *finding)
{
    (void)data;
    cr_expect(false, "%s %s/%s: %s", finding->check, finding->collection, finding->id, finding->what);
}

HUB_TEST(fsck, what_heals_between_two_looks_is_no_finding)
{
    struct healing healing = {.uri = uri};
    struct fsck_report report;
    struct fsck_options options = {
        .quick = true, .settle_ms = 1, .found = count_finding, .progress = heal, .data = &healing};
    make_task(hub, "{'_id': '1', 'name': 'h1'}");
    make_task(hub, "{'_id': '2', 'name': 'h2'}");
    make_task(hub, "{'_id': '3', 'name': 'last'}");
    poke(hub, "tasks", "{'name': {'$in': ['h1', 'h2']}}", "{'$set': {'colour': 'red'}}");
    GOOD(fsck_run(hub, &options, &report, error));
    cr_expect(healing.healed);
    cr_expect_eq(report.warnings, 0);
}

HUB_TEST(fsck, nothing_is_written)
{
    struct findings *findings = bson_malloc0(sizeof *findings);
    struct archive_summary before, after;
    bson_oid_t id;
    fill_hub(hub);
    bson_oid_init(&id, NULL);
    GOOD(gc_announce(hub, &id, "predecessor", "an old claim", error));
    drop(hub, "models", "{'name': 'by hand'}");
    GOOD(archive_digest(hub, NULL, &before, error));
    int64_t files = count_in(hub, "blobs.files", "{}"), chunks = count_in(hub, "blobs.chunks", "{}");
    run_fsck(hub, false, NULL, findings);
    GOOD(archive_digest(hub, NULL, &after, error));
    cr_expect_str_eq(before.digest, after.digest);
    cr_expect_eq(count_in(hub, "blobs.files", "{'metadata.condemned': {'$exists': false}}"), files);
    cr_expect_eq(count_in(hub, "blobs.chunks", "{}"), chunks);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 1);
    bson_free(findings);
}

/* ---- the engine's own ---- */

static void run_sql(const char *path, const char *sql)
{
    char *command = bson_strdup_printf("python3 -c \"import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
                                       " c.executescript(sys.argv[2])\" '%s' \"%s\"",
                                       path, sql);
    cr_assert_eq(system(command), 0, "%s", command);
    bson_free(command);
}

Test(fsck, damage_to_an_sqlite_file)
{
    char *path = test_path(".db"), *uri = bson_strdup_printf("sqlite:%s", path);
    struct hub *hub = made_hub(uri);
    make_task(hub, "{'name': 'a'}");
    make_task(hub, "{'name': 'b'}");
    hub_close(hub);
    run_sql(path, "UPDATE c_tasks SET \\\"k:state\\\" = x'00' WHERE rowid = 1; PRAGMA user_version = 1;"
                  "DELETE FROM hub_indexes WHERE name = 'newest'; DROP INDEX \\\"i_tasks:newest\\\";"
                  " ALTER TABLE c_tasks DROP COLUMN \\\"k:name\\\";");
    hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, error);
    cr_assert_not_null(hub, "%s", error->message);
    EXPECT_FOUND(hub, "error engine /: tasks, row 1: the index column of 'state'");
    EXPECT_FOUND(hub, "warning index-missing tasks/: index \"newest\"");
    hub_close(hub);
    cr_expect_geq(hub_init(uri, NULL, error), 0, "%s", error->message);
    hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, error);
    struct findings *findings = bson_malloc0(sizeof *findings);
    run_fsck(hub, true, NULL, findings);
    cr_expect_eq(findings->report.warnings, 0, "init makes the index again: %s", findings->text[0]);
    bson_free(findings);
    hub_close(hub);
    bson_free(uri);
    free(path);
}

Test(fsck, a_file_with_overwritten_pages)
{
    char *path = test_path(".db"), *uri = bson_strdup_printf("sqlite:%s", path);
    struct hub *hub = made_hub(uri);
    for (int i = 0; i < 300; i++) {
        make_task(hub, "{'name': 'many', 'description': 'some text so that there are many pages of them'}");
    }
    hub_close(hub);
    FILE *file = fopen(path, "r+b");
    cr_assert_not_null(file);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    /* The table's own leaves lie from the middle on; each second page there gets a hole. */
    for (long at = size / 2 / 4096 * 4096 + 4096; at + 4096 < size; at += 8192) {
        uint8_t noise[200];
        memset(noise, 0xa5, sizeof noise);
        fseek(file, at + 2000, SEEK_SET);
        cr_assert_eq(fwrite(noise, 1, sizeof noise, file), sizeof noise);
    }
    fclose(file);
    hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, error);
    if (hub != NULL) {
        struct findings *findings = bson_malloc0(sizeof *findings);
        run_fsck(hub, false, NULL, findings);
        cr_expect_gt(findings->report.errors, 0, "damage is found");
        bson_free(findings);
    }
    hub_close(hub);
    bson_free(uri);
    free(path);
}

/* Below the store's front, which would refuse it, as a client of another language does. */
HUB_TEST(fsck, a_task_that_no_filter_can_name)
{
    const struct store_engine *engine = strncmp(uri, "sqlite:", 7) == 0 ? &store_engine_sqlite : &store_engine_mongo;
    void *below = engine->open(uri, false, 0, error);
    bson_t task = BSON_INITIALIZER, claim;
    cr_assert_not_null(below, "%s", error->message);
    BSON_APPEND_TIMESTAMP(&task, "_id", 7, 1);
    BSON_APPEND_UTF8(&task, "project", "default");
    BSON_APPEND_UTF8(&task, "state", "running");
    BSON_APPEND_INT32(&task, "seq", 1);
    BSON_APPEND_DOCUMENT_BEGIN(&task, "claim", &claim);
    BSON_APPEND_UTF8(&claim, "id", "elsewhere");
    BSON_APPEND_INT32(&claim, "beat", 1);
    bson_append_document_end(&task, &claim);
    cr_assert_geq(engine->insert(below, "tasks", &task, error), 0, "%s", error->message);
    engine->close(below);
    EXPECT_FOUND(hub, "error id-unusable tasks/");
    bson_destroy(&task);
}
