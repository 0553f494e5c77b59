/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/model_retain.h"
#include "hub_on_both.h"

TEST_USES_SERVER;

struct source {
    const uint8_t *data;
    size_t left;
    bool breaks;
};

static int64_t read_source(void *data, void *buffer, size_t size)
{
    struct source *source = data;
    if (source->breaks && source->left < 500) {
        return -1;
    }
    size = size < source->left ? size : source->left;
    size = size < 300 ? size : 300;
    memcpy(buffer, source->data, size);
    source->data += size;
    source->left -= size;
    return (int64_t)size;
}

static void save_model(struct hub *hub, const char *fields, bson_t *model)
{
    static const uint8_t weights[1000] = {1, 2, 3};
    struct source source = {.data = weights, .left = sizeof weights};
    bson_t *document = json("%s", fields), own;
    cr_assert_eq(GOOD(model_save(hub, document, read_source, &source, model != NULL ? model : &own, error)), 1);
    if (model == NULL) {
        bson_destroy(&own);
    }
    bson_destroy(document);
}

HUB_TEST(model, saved_with_its_weights_and_any_further_keys)
{
    bson_t model;
    save_model(hub, "{'name': 'Tiny net', 'accuracy': 0.5, 'tags': ['cnn'], 'flavour': {'salt': 3}}", &model);
    cr_expect_eq(strlen(text_of(&model, "_id")), 32);
    cr_expect_eq(number_of(&model, "bytes"), 1000);
    cr_expect_eq(number_of(&model, "flavour.salt"), 3);
    cr_expect_str_eq(text_of(&model, "words.0"), "tiny");
    cr_expect_eq(count_in(hub, "models", "{'words': {'$all': ['net', 'cnn']}}"), 1);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    cr_expect_eq(count_in(hub, "blobs.files", "{'metadata.condemned': {'$exists': true}}"), 0);
    bson_destroy(&model);
}

HUB_TEST(model, bad_ones_are_refused)
{
    static const char *const bad[] = {"{'accuracy': 1}", "{'name': 'a', 'accuracy': 'x'}", "{'name': 'a', 'tags': 'x'}"};
    struct source source = {0};
    bson_error_t why;
    bson_t model, *good_fields = json("{'name': 'a'}");
    for (size_t i = 0; i < 3; i++) {
        bson_t *fields = json("%s", bad[i]);
        cr_expect_eq(model_save(hub, fields, read_source, &source, &model, &why), -1);
        cr_expect_eq(hub_error_code(&why), HUB_ERROR_INVALID);
        bson_destroy(&model);
        bson_destroy(fields);
    }
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 0, "refused before the upload");
    static const uint8_t weights[1000] = {1};
    source = (struct source){.data = weights, .left = 1000, .breaks = true};
    cr_expect_eq(model_save(hub, good_fields, read_source, &source, &model, &why), -1);
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_IO);
    cr_expect_eq(count_in(hub, "models", "{}"), 0);
    bson_destroy(&model);
    bson_destroy(good_fields);
}

static void expect_order(struct hub *hub, const char *filter, const char *sort, const char *expected)
{
    bson_t *where = json("%s", filter), *by = json("%s", sort);
    struct store_find_options options = {.sort = by};
    char got[100] = "";
    const bson_t *model;
    struct store_cursor *cursor = model_find(hub, where, &options, error);
    cr_assert_not_null(cursor, "%s", error->message);
    while (GOOD(store_cursor_next(cursor, &model, error)) == 1) {
        strcat(got, text_of(model, "name"));
    }
    store_cursor_close(cursor);
    cr_expect_str_eq(got, expected, "%s %s", filter, sort);
    bson_destroy(where);
    bson_destroy(by);
}

HUB_TEST(model, found_by_any_key_in_any_order)
{
    bson_t model, *sort = json("{'accuracy': -1}"), *none = json("{'name': 'z'}");
    save_model(hub, "{'name': 'a', 'accuracy': 0.5, 'loss': 2.0, 'size': 3}", NULL);
    save_model(hub, "{'name': 'b', 'accuracy': 0.9, 'loss': 1.0, 'size': 1}", NULL);
    save_model(hub, "{'name': 'c', 'accuracy': 0.7, 'loss': 3.0, 'size': 2, 'tags': ['x']}", NULL);
    expect_order(hub, "{}", "{'accuracy': -1}", "bca");
    expect_order(hub, "{}", "{'loss': 1}", "bac");
    expect_order(hub, "{}", "{'size': 1}", "bca");
    expect_order(hub, "{'accuracy': {'$gt': 0.6}}", "{'created_at': 1, 'name': 1}", "bc");
    expect_order(hub, "{'tags': 'x'}", "{'_id': 1}", "c");
    cr_expect_eq(GOOD(model_find_one(hub, NULL, sort, &model, error)), 1);
    cr_expect_str_eq(text_of(&model, "name"), "b");
    bson_destroy(&model);
    cr_expect_eq(GOOD(model_find_one(hub, none, NULL, &model, error)), 0);
    bson_destroy(&model);
    bson_destroy(sort);
    bson_destroy(none);
}

HUB_TEST(model, resolved_by_id_prefix_and_name)
{
    bson_t model;
    bson_error_t why;
    save_model(hub, "{'_id': 'aaaa5555aaaa5555aaaa5555aaaa5555', 'name': 'one'}", NULL);
    save_model(hub, "{'_id': 'aaaa6666aaaa6666aaaa6666aaaa6666', 'name': 'two'}", NULL);
    static const char *const texts[][2] = {{"aaaa5555aaaa5555aaaa5555aaaa5555", "one"}, {"aaaa6", "two"}, {"two", "two"}};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(GOOD(model_resolve(hub, texts[i][0], &model, error)), 1);
        cr_expect_str_eq(text_of(&model, "name"), texts[i][1]);
        bson_destroy(&model);
    }
    cr_expect_eq(GOOD(model_resolve(hub, "three", &model, error)), 0);
    bson_destroy(&model);
    cr_expect_eq(model_resolve(hub, "aaaa", &model, &why), -1);
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_INVALID);
    bson_destroy(&model);
}

HUB_TEST(model, deleting_hides_at_once_and_gc_frees)
{
    bson_t *one = json("{'name': 'a'}"), model;
    struct gc_report report;
    save_model(hub, "{'name': 'a'}", NULL);
    save_model(hub, "{'name': 'b'}", NULL);
    cr_expect_eq(GOOD(model_delete(hub, one, error)), 1);
    expect_order(hub, "{}", "{'name': 1}", "b");
    cr_expect_eq(GOOD(model_delete(hub, one, error)), 0);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 2, "only gc deletes blobs");
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(report.blobs_deleted, 1);
    cr_expect_eq(report.bytes_freed, 1000);
    cr_expect_eq(count_in(hub, "blobs.chunks", "{}"), 1);
    /* One of a task leaves a tombstone, which no finder shows. */
    poke(hub, "models", "{'name': 'b'}", "{'$set': {'task': 't1'}}");
    cr_expect_eq(GOOD(model_delete(hub, NULL, error)), 1);
    expect_order(hub, "{}", "{'name': 1}", "");
    read_one(hub, "models", "{}", &model);
    cr_expect(has(&model, "deleted"));
    cr_expect_str_eq(text_of(&model, "task"), "t1");
    cr_expect_not(has(&model, "blob_id"));
    cr_expect_not(has(&model, "words"));
    bson_destroy(&model);
    bson_destroy(one);
}

HUB_TEST(model, tags_come_and_go_and_words_follow)
{
    static const char *const add[] = {"Good", "fast", "Good"}, *const remove[] = {"cnn"}, *const bad[] = {""};
    bson_t model;
    bson_error_t why;
    save_model(hub, "{'name': 'a', 'tags': ['cnn', 'fast']}", NULL);
    cr_expect_eq(GOOD(model_tag(hub, NULL, add, 3, remove, 1, error)), 1);
    read_one(hub, "models", "{}", &model);
    cr_expect_str_eq(text_of(&model, "tags.0"), "fast");
    cr_expect_str_eq(text_of(&model, "tags.1"), "Good");
    cr_expect_not(has(&model, "tags.2"));
    bson_destroy(&model);
    cr_expect_eq(count_in(hub, "models", "{'words': 'good'}"), 1);
    cr_expect_eq(count_in(hub, "models", "{'words': 'cnn'}"), 0);
    cr_expect_eq(GOOD(model_tag(hub, NULL, add, 3, remove, 1, error)), 0, "nothing to change");
    cr_expect_eq(model_tag(hub, NULL, bad, 1, NULL, 0, &why), -1);
    cr_expect_str_eq(why.message, "model.tags[2]: it is empty");
}

HUB_TEST(architecture, kept_once_and_found_again)
{
    static const char graph[] = "{\"layers\":[{\"name\":\"d1\",\"type\":\"dense\",\"inputs\":[\"input\"],\"units\":800}]}";
    bson_t record, *fields = json("{'name': 'mlp', 'text': 'dense:800'}"), *later = json("{'name': 'wide', 'tags': ['big']}"),
           *tagged = json("{'name': 'mlp', 'tags': ['small']}");
    bson_error_t why;
    cr_expect_eq(GOOD(architecture_record_save(hub, graph, fields, &record, error)), 1);
    char id[40];
    snprintf(id, sizeof id, "%s", text_of(&record, "_id"));
    cr_expect_eq(number_of(&record, "graph.layers.0.units"), 800);
    bson_destroy(&record);
    cr_expect_eq(GOOD(architecture_record_save(hub, graph, later, &record, error)), 1, "another name is another record");
    cr_expect_str_eq(text_of(&record, "name"), "wide");
    cr_expect_str_eq(text_of(&record, "words.1"), "big");
    bson_destroy(&record);
    cr_expect_eq(GOOD(architecture_record_save(hub, graph, fields, &record, error)), 0);
    cr_expect_str_eq(text_of(&record, "_id"), id);
    char digest[65];
    snprintf(digest, sizeof digest, "%s", text_of(&record, "digest"));
    bson_destroy(&record);
    cr_expect_eq(GOOD(architecture_record_save(hub, graph, tagged, &record, error)), 0);
    cr_expect_str_eq(text_of(&record, "_id"), id);
    cr_expect_str_eq(text_of(&record, "tags.0"), "small");
    cr_expect_str_eq(text_of(&record, "text"), "dense:800");
    bson_destroy(&record);
    digest[10] = '\0';
    id[8] = '\0';
    const char *const texts[] = {"wide", "mlp", digest, id};
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(GOOD(architecture_record_resolve(hub, texts[i], &record, error)), 1, "%s", texts[i]);
        bson_destroy(&record);
    }
    cr_expect_eq(architecture_record_save(hub, "{", NULL, NULL, &why), -1);
    cr_expect_eq(GOOD(architecture_record_save(hub, graph, NULL, NULL, error)), 0);
    cr_expect_eq(GOOD(architecture_record_delete(hub, NULL, error)), 2);
    bson_destroy(fields);
    bson_destroy(later);
    bson_destroy(tagged);
}

HUB_TEST(architecture, many_are_saved_once)
{
    char graphs[250][96];
    struct architecture_entry entries[250];
    bson_t *name = json("{'name': 'mine'}"), record;
    for (int i = 0; i < 250; i++) {
        snprintf(graphs[i], sizeof graphs[i],
                 "{\"layers\":[{\"name\":\"d\",\"type\":\"dense\",\"inputs\":[\"input\"],\"units\":%d}]}", i + 1);
        entries[i] = (struct architecture_entry){.graph_json = graphs[i], .text = i == 7 ? "dense:8" : NULL};
    }
    cr_expect_eq(GOOD(architecture_record_save(hub, graphs[3], name, NULL, error)), 1);
    cr_expect_eq(GOOD(architecture_record_save_many(hub, entries, 250, error)), 249, "one is there under a name");
    cr_expect_eq(GOOD(architecture_record_save_many(hub, entries, 250, error)), 0);
    cr_expect_eq(count_in(hub, "architectures", "{}"), 250);
    read_one(hub, "architectures", "{'graph.layers.0.units': 8}", &record);
    cr_expect_str_eq(text_of(&record, "text"), "dense:8");
    cr_expect_eq(GOOD(architecture_record_save(hub, graphs[7], NULL, NULL, error)), 0, "the same _id");
    bson_destroy(&record);
    bson_destroy(name);
}

HUB_TEST(sweep, saved_once)
{
    bson_t record, *fields = json("{'name': 's', 'specification': {'method': 'grid', 'parameters': {}}, 'points': 3, 'text': 'method: grid'}"),
                   *more = json("{'name': 's', 'specification': {'method': 'grid', 'parameters': {}}, 'submitted': 3}");
    cr_expect_eq(GOOD(sweep_record_save(hub, fields, &record, error)), 1);
    bson_destroy(&record);
    cr_expect_eq(GOOD(sweep_record_save(hub, more, &record, error)), 0);
    cr_expect_eq(number_of(&record, "points"), 3);
    cr_expect_eq(number_of(&record, "submitted"), 3);
    bson_destroy(&record);
    cr_expect_eq(GOOD(sweep_record_resolve(hub, "s", &record, error)), 1);
    bson_destroy(&record);
    cr_expect_eq(count_in(hub, "sweeps", "{}"), 1);
    bson_destroy(fields);
    bson_destroy(more);
}

HUB_TEST(runner, says_what_it_does)
{
    char id[HUB_ID_SIZE];
    bson_t *fields = json("{'host': 'box', 'pid': 12, 'workers': 2, 'queues': ['default']}"), *changes = json("{'tasks_done': 4}"), record;
    GOOD(runner_record_save(hub, fields, id, error));
    cr_expect_eq(GOOD(runner_record_beat(hub, id, changes, error)), 1);
    cr_expect_eq(GOOD(runner_record_beat(hub, id, NULL, error)), 1);
    read_one(hub, "runners", "{}", &record);
    cr_expect_eq(number_of(&record, "beat"), 2);
    cr_expect_eq(number_of(&record, "tasks_done"), 4);
    cr_expect_str_eq(text_of(&record, "state"), "running");
    bson_destroy(&record);
    cr_expect_eq(GOOD(runner_record_end(hub, id, error)), 1);
    cr_expect_eq(count_in(hub, "runners", "{'state': 'gone'}"), 1);
    cr_expect_eq(GOOD(runner_record_end(hub, "nobody", error)), 0);
    bson_destroy(fields);
    bson_destroy(changes);
}

/* ---- keep_weights ---- */

/* Number n of a sweep, as its task left it. */
static void save_point(struct hub *hub, int n, const char *objective, const char *more)
{
    char fields[400];
    snprintf(fields, sizeof fields, "{'_id': 'm%d', 'name': 'p%d', 'task': 't%d', 'task_seq': %d, 'run': 1, 'sweep': 's'%s%s%s}", n, n, n,
             n, *objective ? ", 'objective': " : "", objective, more);
    save_model(hub, fields, NULL);
}

static void expect_with_weights(struct hub *hub, int64_t count, const char *ids)
{
    char filter[400];
    snprintf(filter, sizeof filter, "{'sweep': 's', 'blob_id': {'$exists': true}, '_id': {'$in': [%s]}}", ids);
    cr_expect_eq(count_in(hub, "models", filter), count, "%s", ids);
    cr_expect_eq(count_in(hub, "models", "{'sweep': 's', 'blob_id': {'$exists': true}}"), count);
}

HUB_TEST(retain, the_best_keep_their_weights_and_the_others_say_so)
{
    struct model_retention retention = {.sweep = "s", .keep = 2, .minimize = true};
    struct gc_report report;
    char text[400];
    bson_t model;
    save_point(hub, 1, "0.5", "");
    save_point(hub, 2, "0.1", "");
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 0, "two of two");
    save_point(hub, 3, "", "");
    save_point(hub, 4, "0.3", "");
    save_point(hub, 5, "9.5", ", 'final': true");
    save_model(hub, "{'name': 'other', 'sweep': 'another', 'objective': 7, 'task': 'x', 'run': 1}", NULL);
    save_model(hub, "{'_id': 'again', 'name': 'again', 'sweep': 's', 'objective': 8, 'task': 't1', 'run': 2}", NULL);
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 3);
    expect_with_weights(hub, 3, "'m2', 'm4', 'again'");
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 0, "done twice it is the same");
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(report.blobs_deleted, 3);
    read_one(hub, "models", "{'_id': 'm5'}", &model);
    cr_expect(has(&model, "sha256"));
    model_say_no_weights(&model, text, sizeof text);
    cr_expect_str_eq(text, "model m5: its weights were dropped (keep_weights: best 2 of its sweep); tl_hub restart-task '#5' trains "
                           "it again, and those are kept");
    bson_destroy(&model);
    retention.minimize = false;
    retention.keep = 1;
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 1);
    expect_with_weights(hub, 2, "'m4', 'again'");
}

HUB_TEST(retain, what_is_still_wanted_stays)
{
    struct model_retention retention = {.sweep = "s", .keep = 1, .minimize = true};
    bson_t *all = json("{'kind': 'test'}");
    for (int n = 1; n <= 6; n++) {
        char objective[8];
        snprintf(objective, sizeof objective, "%d", n);
        save_point(hub, n, objective, "");
    }
    make_task(hub, "{'name': 'a', 'kind': 'test', 'model': {'_id': 'm2'}}");
    make_task(hub, "{'name': 'b', 'kind': 'test', 'model': 'p3'}");
    make_task(hub, "{'name': 'c', 'initial_model': {'task_seq': 4}}");
    make_task(hub, "{'name': 'd'}");
    poke(hub, "tasks", "{'name': 'd'}", "{'$set': {'state': 'waiting', 'standing': {'model': 'm5'}}}");
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 1);
    expect_with_weights(hub, 5, "'m1', 'm2', 'm3', 'm4', 'm5'");
    GOOD(task_cancel(hub, all, NULL, error));
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 2, "those tasks have ended");
    expect_with_weights(hub, 3, "'m1', 'm4', 'm5'");
    bson_destroy(all);
}

HUB_TEST(retain, the_task_lets_go_first_and_one_that_is_not_published_waits)
{
    struct model_retention retention = {.sweep = "s", .keep = 0, .minimize = true};
    make_task(hub, "{'_id': 't1', 'name': 'a'}");
    save_point(hub, 1, "1", "");
    poke(hub, "tasks", "{}", "{'$set': {'state': 'done', 'published': false, 'result': {'claim_id': 'm1', 'blob_id': 'b'}}}");
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 0);
    expect_with_weights(hub, 1, "'m1'");
    poke(hub, "tasks", "{}", "{'$set': {'published': true}}");
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 1);
    expect_with_weights(hub, 0, "'m1'");
    cr_expect_eq(count_in(hub, "tasks", "{'result.blob_id': {'$exists': true}}"), 0);
    cr_expect_eq(count_in(hub, "tasks", "{'result.claim_id': 'm1'}"), 1);
    /* Who was killed between the two left this. */
    save_point(hub, 2, "1", "");
    save_model(hub, "{'_id': 'e2', 'name': 'p2', 'task': 't2', 'run': 1, 'sweep': 's', 'epoch': 1, 'final': false}", NULL);
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 1);
    expect_with_weights(hub, 0, "'m2', 'e2'");
}

/* Two epochs of a task's run. */
static void save_epochs(struct hub *hub, const char *task, int run)
{
    for (int epoch = 1; epoch <= 2; epoch++) {
        char fields[200];
        snprintf(fields, sizeof fields, "{'_id': '%s%d%d', 'name': '%s', 'task': '%s', 'run': %d, 'sweep': 's', 'epoch': %d, 'final': false}",
                 task, run, epoch, task, task, run, epoch);
        save_model(hub, fields, NULL);
    }
}

HUB_TEST(retain, epochs_of_runs_without_a_model_go_when_the_run_is_over)
{
    static const char *const states[] = {"stopped", "cancelled", "failed", "dead", "parked", "running", "paused", "ready"};
    struct model_retention retention = {.sweep = "s", .keep = 1, .minimize = true};
    for (int i = 0; i < 8; i++) {
        char fields[80], filter[40], update[60];
        snprintf(fields, sizeof fields, "{'_id': '%s', 'name': '%s'}", states[i], states[i]);
        snprintf(filter, sizeof filter, "{'_id': '%s'}", states[i]);
        snprintf(update, sizeof update, "{'$set': {'state': '%s'}}", states[i]);
        make_task(hub, fields);
        poke(hub, "tasks", filter, update);
        save_epochs(hub, states[i], 1);
    }
    save_epochs(hub, "gone", 1);
    make_task(hub, "{'_id': 't1', 'name': 'best'}");
    poke(hub, "tasks", "{'_id': 't1'}", "{'$set': {'state': 'done', 'published': true}}");
    save_point(hub, 1, "0.5", "");
    save_epochs(hub, "t1", 1);
    poke(hub, "tasks", "{'_id': 'dead'}", "{'$set': {'published': false}}");
    make_task(hub, "{'name': 'wants', 'kind': 'test', 'model': {'_id': 'failed12'}}");
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 7);
    expect_with_weights(hub, 14, "'m1', 't111', 't112', 'failed12', 'dead11', 'dead12', 'parked11', 'parked12', 'running11', 'running12', "
                                 "'paused11', 'paused12', 'ready11', 'ready12'");
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 0, "done twice it is the same");
    poke(hub, "tasks", "{'_id': 'dead'}", "{'$set': {'published': true}}");
    poke(hub, "tasks", "{'_id': 'ready'}", "{'$set': {'run': 2}}");
    save_epochs(hub, "ready", 2);
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 4, "published, and left behind");
    poke(hub, "tasks", "{'_id': 'ready'}", "{'$set': {'state': 'stopped'}}");
    cr_expect_eq(GOOD(model_retain(hub, &retention, error)), 0, "those of a later run stay");
    cr_expect_eq(count_in(hub, "models", "{'task': 'ready', 'run': 2, 'blob_id': {'$exists': true}}"), 2);
}
