/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_WHOLE_HUB_H
#define TL_TEST_WHOLE_HUB_H

/* A hub with something of everything, for the tests of archives and fsck; and fsck's findings as a list. */

#include "hub_on_both.h"
#include "hub/archive.h"
#include "hub/fsck.h"

/* A task of this name claimed, logged and finished with weights of this length. */
static inline void finish_task(struct hub *hub, const char *name, size_t length)
{
    struct task_fence fence;
    bson_t task, *point = json("{'epoch': 1, 'loss': 0.5}"), *metrics = json("{'test_accuracy': 0.5, 'test_loss': 1}");
    make_task(hub, "{'name': 'to finish', 'priority': 1000, 'architecture': 'dense:2'}");
    cr_assert_eq(claim(hub, &task, &fence), 1);
    GOOD(task_started(hub, &fence, error));
    bson_t *model = json("{'name': '%s', 'tags': ['t1', 't2'], 'task_seq': %lld}", name, (long long)number_of(&task, "seq"));
    struct logs *logs = logs_new(&fence, 1, "epoch");
    GOOD(logs_add(logs, "train", point, error));
    uint8_t *weights = bson_malloc(length + 1);
    for (size_t i = 0; i < length; i++) {
        weights[i] = (uint8_t)(i * 31 + i / 255 + strlen(name));
    }
    struct task_finish finish = {
        .state = "done", .metrics = metrics, .weights = weights, .weights_length = length, .model = model};
    finish.logs = logs_operations(logs, &finish.log_count);
    cr_assert_eq(GOOD(task_finish(hub, &fence, &finish, error)), 1);
    logs_free(logs);
    bson_free(weights);
    bson_destroy(&task);
    bson_destroy(model);
    bson_destroy(metrics);
    bson_destroy(point);
}

static inline void save_dataset(struct hub *hub, const char *name, const char *third)
{
    bson_t dataset, *fields = json("{'name': '%s', 'input_shape': [2, 2], 'label': 'class', 'classes': 3,"
                                   " 'features': {'dtype': 'U8', 'scale': 0.5, 'offset': 0}}", name);
    struct dataset_writer *writer = dataset_writer_open(hub, fields, error);
    cr_assert_not_null(writer, "%s", error->message);
    GOOD(dataset_writer_part(writer, "train", 10, "first part", 10, error));
    GOOD(dataset_writer_part(writer, "test", 4, third, strlen(third), error));
    GOOD(dataset_writer_finish(writer, &dataset, error));
    dataset_writer_close(writer);
    bson_destroy(&dataset);
    bson_destroy(fields);
}

static inline int64_t no_weights(void *data, void *buffer, size_t size)
{
    int *left = data;
    memset(buffer, 7, size);
    return (*left)-- > 0 ? (int64_t)(size < 1000 ? size : 1000) : 0;
}

/* Values of every type, in an order of keys that nobody would choose. */
static inline void insert_types(struct hub *hub)
{
    bson_t model, *parsed = json(
        "{'_id': 'every type', 'zebra': {'$numberInt': '1'}, 'project': 'default', 'task': 'x', 'deleted': true,"
        " 'long': {'$numberLong': '1'}, 'double': {'$numberDouble': '1.0'}, 'minus': {'$numberDouble': '-0.0'},"
        " 'nan': {'$numberDouble': 'NaN'}, 'infinite': {'$numberDouble': '-Infinity'}, 'nothing': null,"
        " 'large': {'$numberLong': '9223372036854775807'}, 'date': {'$date': {'$numberLong': '-1'}},"
        " 'oid': {'$oid': '0123456789abcdef01234567'}, 'octets': {'$binary': {'base64': 'AAEC', 'subType': '00'}},"
        " 'uuid': {'$binary': {'base64': 'AAECAwQFBgcICQoLDA0ODw==', 'subType': '04'}}, 'array': [1, [2, {'b': 1, 'a': 2}]],"
        " 'empty': {}, 'none': [], 'text': 'Größe \\u0000 \\ud83d\\ude42', 'alpha': true,"
        " 'created_at': {'$date': 1000}, 'schema_version': 1}");
    bson_copy_to(parsed, &model);
    GOOD(store_insert(hub_store(hub), "models", &model, error));
    bson_destroy(&model);
    bson_destroy(parsed);
}

static inline void fill_hub(struct hub *hub)
{
    bson_t *sweep = json("{'name': 's', 'specification': {'method': 'grid'}, 'points': 1, 'submitted': 1}"), record,
           *architecture = json("{'name': 'small', 'tags': ['n']}"), *model = json("{'name': 'by hand', 'tags': ['x']}"),
           *foreign = json("{'_id': {'$oid': '00112233445566778899aabb'}, 'project': 'default', 'lane': 0, 'queue': 'q',"
                           " 'resource_class': 'cpu', 'kind': 'train', 'state': 'ready', 'priority': {'$numberLong': '0'},"
                           " 'seq': 1000, 'name': 'foreign'}"),
           *log = json("{'name': 'free', 'loss': 1.5}");
    int left = 300;
    save_dataset(hub, "numbers", "third");
    save_dataset(hub, "numbers", "other");
    GOOD(architecture_record_save(hub, "{\"layers\":[{\"name\":\"d1\",\"type\":\"dense\",\"inputs\":[\"input\"],\"units\":2}]}",
                                  architecture, NULL, error));
    GOOD(sweep_record_save(hub, sweep, &record, error));
    bson_t *point = json("{'name': 'point', 'sweep': '%s', 'point': {'a': 1}, 'priority': -5}", text_of(&record, "_id"));
    cr_assert_eq(GOOD(task_create(hub, point, NULL, error)), 1);
    finish_task(hub, "small weights", 3000);
    finish_task(hub, "three chunks", 3 * BLOB_CHUNK_BYTES - 5);
    finish_task(hub, "large weights", 9 << 20);
    make_task(hub, "{'_id': 'predecessor', 'name': 'before', 'priority': -6}");
    make_task(hub, "{'name': 'waits', 'after': ['predecessor']}");
    bson_t saved;
    GOOD(model_save(hub, model, no_weights, &left, &saved, error));
    bson_destroy(&saved);
    GOOD(store_insert(hub_store(hub), "tasks", foreign, error));
    poke(hub, "counters", "{}", "{'$max': {'value': {'$numberLong': '1000'}}}");
    GOOD(logs_save(hub, log, error));
    insert_types(hub);
    bson_destroy(point);
    bson_destroy(&record);
    bson_destroy(log);
    bson_destroy(foreign);
    bson_destroy(model);
    bson_destroy(architecture);
    bson_destroy(sweep);
}

/* ---- what fsck finds ---- */

struct findings {
    char text[64][600]; /* "error blob-missing models/ID: what: advice" */
    size_t count;
    struct fsck_report report;
};

static inline void keep_finding(void *data, const struct fsck_finding *finding)
{
    static const char *const names[] = {"error", "warning", "note"};
    struct findings *findings = data;
    cr_expect(strlen(finding->advice) > 0 && strlen(finding->what) > 0);
    if (findings->count < 64) {
        snprintf(findings->text[findings->count++], 600, "%s %s %s/%s: %s: %s", names[finding->severity], finding->check,
                 finding->collection, finding->id, finding->what, finding->advice);
    }
}

static inline char *same_text(const char *text)
{
    return strstr(text, "[") != NULL ? bson_strdup(text) : NULL;
}

static inline void run_fsck(struct hub *hub, bool quick, const char *project, struct findings *findings)
{
    struct fsck_options options = {.quick = quick,
                                   .project = project,
                                   .settle_ms = 1,
                                   .stand_ms = 1,
                                   .found = keep_finding,
                                   .data = findings};
    memset(findings, 0, sizeof *findings);
    cr_assert_eq(GOOD(fsck_run(hub, &options, &findings->report, error)), 1);
}

/* Whether some finding begins so. */
static inline bool is_found(const struct findings *findings, const char *beginning)
{
    for (size_t i = 0; i < findings->count; i++) {
        if (strncmp(findings->text[i], beginning, strlen(beginning)) == 0) {
            return true;
        }
    }
    return false;
}

static inline void print_findings(const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        fprintf(stderr, "%s\n", findings->text[i]);
    }
}

/* No errors and warnings. */
static inline void expect_sound(struct hub *hub)
{
    struct findings *findings = bson_malloc0(sizeof *findings);
    run_fsck(hub, false, NULL, findings);
    if (findings->report.errors + findings->report.warnings > 0) {
        print_findings(findings);
        cr_expect(false, "%s: fsck finds something", store_uri_redacted(hub_store(hub)));
    }
    bson_free(findings);
}

/* fsck finds a line that begins so, and no error of another kind. */
#define EXPECT_FOUND(hub_, beginning_) expect_found(hub_, beginning_, __LINE__)

static inline void expect_found(struct hub *hub, const char *beginning, int line)
{
    struct findings *findings = bson_malloc0(sizeof *findings);
    run_fsck(hub, false, NULL, findings);
    bool found = is_found(findings, beginning);
    if (!found) {
        print_findings(findings);
    }
    cr_expect(found, "line %d: fsck does not say \"%s\"", line, beginning);
    bson_free(findings);
}

#endif
