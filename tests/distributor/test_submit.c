/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/submit.h"

#include "fixture.h"
#include "hub/architecture_record.h"
#include "hub/query_text.h"

static void open_with_data(void)
{
    fixture_open();
    fixture_save_small();
}

TestSuite(submit, .init = open_with_data, .fini = fixture_close);

static bson_t *task_of(const char *json)
{
    bson_error_t error;
    bson_t *fields = bson_new_from_json((const uint8_t *)json, -1, &error);
    cr_assert_not_null(fields, "%s: %s", json, error.message);
    return fields;
}

static void refused(const char *json, enum hub_error_code code, const char *message)
{
    bson_t *fields = task_of(json), task;
    memset(&fixture_error, 0, sizeof fixture_error);
    cr_expect_eq(submit_task(fixture_hub, fields, &task, &fixture_error), -1, "accepted: %s", json);
    cr_expect_eq(hub_error_code(&fixture_error), code);
    cr_expect(!strncmp(fixture_error.message, message, strlen(message)), "'%s' does not start with '%s'",
              fixture_error.message, message);
    cr_expect_null(strchr(fixture_error.message, '\n'));
    cr_expect_eq(fixture_count("tasks"), 0);
    cr_expect_eq(fixture_count("architectures"), 0);
    bson_destroy(&task);
    bson_destroy(fields);
}

static const char *text(const bson_t *document, const char *path)
{
    bson_iter_t root, at;
    if (!bson_iter_init(&root, document) || !bson_iter_find_descendant(&root, path, &at) || !BSON_ITER_HOLDS_UTF8(&at))
        return "";
    return bson_iter_utf8(&at, NULL);
}

Test(submit, a_task_is_completed_and_its_architecture_saved)
{
    bson_t *fields = task_of("{\"name\": \"one\", \"dataset\": \"small\", \"architecture\": \"dense:8:relu dense:3\"}");
    bson_t task, record;
    cr_assert_eq(submit_task(fixture_hub, fields, &task, &fixture_error), 1, "%s", fixture_error.message);
    cr_expect_str_eq(text(&task, "state"), "ready");
    cr_expect_str_eq(text(&task, "architecture"), "dense:8:relu dense:3");
    cr_expect_str_eq(text(&task, "hyper_parameters.optimizer"), "adam");
    cr_expect_str_eq(text(&task, "hyper_parameters.loss"), "cross_entropy");
    cr_expect_eq(strlen(text(&task, "architecture_digest")), 64);
    cr_assert_eq(architecture_record_resolve(fixture_hub, text(&task, "architecture_digest"), &record, &fixture_error),
                 1);
    cr_expect_str_eq(text(&record, "digest"), text(&task, "architecture_digest"));
    cr_expect_str_eq(text(&record, "text"), "dense:8:relu dense:3");
    bson_destroy(&record);
    bson_destroy(&task);
    bson_destroy(fields);
}

Test(submit, a_graph_and_its_short_form_are_one_architecture)
{
    bson_t *fields =
        task_of("{\"name\": \"one\", \"dataset\": {\"name\": \"small\", \"version\": 1}, \"architecture\": {"
                "\"layers\": [{\"type\": \"dense\", \"units\": 8, \"activation\": \"relu\"},"
                "{\"type\": \"dense\", \"units\": 3}]}}");
    bson_t *other = task_of("{\"name\": \"two\", \"dataset\": \"small\", \"architecture\": \"dense:8:relu dense:3\"}");
    bson_t a, b;
    cr_assert_eq(submit_task(fixture_hub, fields, &a, &fixture_error), 1, "%s", fixture_error.message);
    cr_assert_eq(submit_task(fixture_hub, other, &b, &fixture_error), 1, "%s", fixture_error.message);
    cr_expect_str_eq(text(&a, "architecture_digest"), text(&b, "architecture_digest"));
    cr_expect_eq(fixture_count("architectures"), 1);
    bson_destroy(&a);
    bson_destroy(&b);
    bson_destroy(fields);
    bson_destroy(other);
}

Test(submit, a_saved_architecture_is_found_by_its_name)
{
    char *graph;
    bson_t *name = BCON_NEW("name", "lenet"), task;
    cr_assert_eq(submit_architecture("dense:8:relu dense:3", &graph, &fixture_error), 0, "%s", fixture_error.message);
    cr_assert_eq(architecture_record_save(fixture_hub, graph, name, NULL, &fixture_error), 1, "%s",
                 fixture_error.message);
    bson_t *fields = task_of("{\"name\": \"one\", \"dataset\": \"small\", \"architecture\": \"lenet\"}");
    cr_assert_eq(submit_task(fixture_hub, fields, &task, &fixture_error), 1, "%s", fixture_error.message);
    cr_expect(bson_has_field(&task, "architecture.layers"), "the task must hold what the name stood for");
    char digest[65];
    hub_sha256(graph, strlen(graph), digest);
    cr_expect_str_eq(text(&task, "architecture_digest"), digest);
    bson_destroy(&task);
    bson_destroy(fields);
    bson_destroy(name);
    bson_free(graph);
}

Test(submit, what_cannot_be_trained_is_refused_by_name)
{
#define GOOD "\"name\": \"one\", \"dataset\": \"small\", \"architecture\": \"dense:3\""
    refused("{\"name\": \"one\", \"architecture\": \"dense:3\"}", HUB_ERROR_INVALID, "dataset: missing");
    refused("{\"name\": \"one\", \"dataset\": \"smal\", \"architecture\": \"dense:3\"}", HUB_ERROR_NOT_FOUND,
            "dataset: nothing in project 'default' matches 'smal'; there is: small");
    refused("{\"name\": \"one\", \"dataset\": {\"name\": \"small\", \"version\": 2}, \"architecture\": \"dense:3\"}",
            HUB_ERROR_NOT_FOUND,
            "dataset: nothing in project 'default' matches { \"name\" : \"small\", \"version\" : 2 }");
    refused("{\"name\": \"one\", \"dataset\": 3, \"architecture\": \"dense:3\"}", HUB_ERROR_INVALID,
            "dataset: must be a name or a query document");
    refused("{\"name\": \"one\", \"dataset\": {\"version\": {\"$big\": 1}}, \"architecture\": \"dense:3\"}",
            HUB_ERROR_INVALID, "dataset: ");
    refused("{\"name\": \"one\", \"dataset\": \"{\\\"version\\\": \", \"architecture\": \"dense:3\"}", HUB_ERROR_INVALID,
            "dataset: ");
    refused("{\"name\": \"one\", \"dataset\": \"small\"}", HUB_ERROR_INVALID, "architecture: missing");
    refused("{\"name\": \"one\", \"dataset\": \"small\", \"architecture\": 3}", HUB_ERROR_INVALID,
            "architecture: must be a text or a graph");
    refused("{\"name\": \"one\", \"dataset\": \"small\", \"architecture\": \"dense:3 dense:4\"}", HUB_ERROR_INVALID,
            "architecture: layer dense_2: ");
    refused("{\"name\": \"one\", \"dataset\": \"small\", \"architecture\": \"dens:3\"}", HUB_ERROR_INVALID,
            "architecture: ");
    refused("{\"name\": \"one\", \"dataset\": \"small\", \"architecture\": \"lenet\"}", HUB_ERROR_INVALID,
            "architecture: ");
    cr_expect(strstr(fixture_error.message, "nor is an architecture saved under that name"), "%s",
              fixture_error.message);
    refused("{\"name\": \"one\", \"dataset\": \"small\", \"architecture\": {\"inputs\": [{\"name\": \"input\", "
            "\"shape\": [7]}],"
            "\"layers\": [{\"type\": \"dense\", \"units\": 3}]}}",
            HUB_ERROR_INVALID, "architecture: input input has shape (7), a sample (3, 2)");
    refused("{" GOOD ", \"kind\": \"dream\"}", HUB_ERROR_INVALID, "kind: runners cannot do 'dream'");
    refused("{" GOOD ", \"kind\": \"command\"}", HUB_ERROR_INVALID, "kind: runners cannot do 'command'");
    refused("{" GOOD ", \"kind\": \"infer\"}", HUB_ERROR_INVALID, "save_dataset: missing; a task of kind infer");
    refused("{" GOOD ", \"model\": \"best\"}", HUB_ERROR_INVALID, "model: a task of kind train makes its model");
    refused("{" GOOD ", \"split\": \"test\"}", HUB_ERROR_INVALID, "split: a task of kind train");
    refused("{" GOOD ", \"kind\": \"test\", \"model\": \"best\"}", HUB_ERROR_INVALID,
            "architecture: a task of kind test takes its model's");
    refused("{\"kind\": \"test\", \"dataset\": \"small\", \"model\": \"best\", \"hyper_parameters\": {\"epochs\": 3}}",
            HUB_ERROR_INVALID, "hyper_parameters.epochs: a task of kind test trains nothing");
    refused("{" GOOD ", \"hyper_parameters\": {\"epochs\": 0}}", HUB_ERROR_INVALID,
            "hyper_parameters.epochs: 0 is not in");
    refused("{" GOOD ", \"hyper_parameters\": 3}", HUB_ERROR_INVALID, "hyper_parameters: must be a document");
    refused("{\"name\": \"one\", \"kind\": \"test\", \"dataset\": \"small\"}", HUB_ERROR_INVALID, "model: missing");
    refused("{\"name\": \"one\", \"kind\": \"test\", \"dataset\": \"small\", \"model\": \"best\"}", HUB_ERROR_NOT_FOUND,
            "model: nothing in project 'default' matches 'best'");
    refused("{" GOOD ", \"initial_model\": {\"name\": \"best\"}}", HUB_ERROR_NOT_FOUND, "initial_model: nothing");
}

/* No document holds such keys: the query goes in as its text, and the runner reads it as a query again. */
Test(submit, a_query_with_operators_or_dotted_paths_is_kept_as_text)
{
    static const char *const queries[] = {"{\"splits.train\": {\"$gte\": 3}}", "{\"splits.train\": 8}",
                                          "{\"name\": {\"$regex\": \"^sm\"}}"};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        char *json = bson_strdup_printf("{\"dataset\": %s, \"architecture\": \"dense:3\"}", queries[i]);
        bson_t *fields = task_of(json), task, filter, *wanted;
        bson_error_t error;
        if (i == 2) { /* libbson's reader makes a regular expression of it */
            bson_destroy(fields);
            fields = BCON_NEW("dataset", "{", "name", "{", "$regex", "^sm", "}", "}", "architecture", "dense:3");
        }
        cr_assert_eq(submit_task(fixture_hub, fields, &task, &fixture_error), 1, "%s: %s", json, fixture_error.message);
        cr_expect_eq(text(&task, "dataset")[0], '{');
        cr_assert_eq(query_text_read(text(&task, "dataset"), &filter, &error), 0, "%s", error.message);
        wanted = i < 2 ? task_of(queries[i]) : BCON_NEW("name", "{", "$regex", "^sm", "}");
        cr_expect(bson_equal(wanted, &filter), "%s", text(&task, "dataset"));
        cr_expect_str_eq(text(&task, "name"), "train on small");
        bson_destroy(wanted);
        bson_destroy(&filter);
        bson_destroy(&task);
        bson_destroy(fields);
        bson_free(json);
    }
    bson_t *plain = task_of("{\"dataset\": {\"name\": \"small\", \"version\": 1}, \"architecture\": \"dense:3\"}"), task;
    cr_assert_eq(submit_task(fixture_hub, plain, &task, &fixture_error), 1, "%s", fixture_error.message);
    cr_expect_str_eq(text(&task, "dataset.name"), "small");
    bson_destroy(&task);
    bson_destroy(plain);
}

Test(submit, a_billion_layers_and_huge_ones_are_refused_at_once)
{
    refused("{\"name\": \"one\", \"dataset\": \"small\", \"architecture\": \"dense:2147483647 dense:3\"}",
            HUB_ERROR_INVALID, "architecture: layer dense_1: ");
    size_t layers = 100000;
    char *json = malloc(20 * layers);
    cr_assert_not_null(json);
    strcpy(json, "{\"name\": \"one\", \"dataset\": \"small\", \"architecture\": \"");
    size_t length = strlen(json);
    for (size_t i = 0; i < layers; i++, length += 8)
        memcpy(json + length, "dense:3 ", 8);
    strcpy(json + length, "\"}");
    refused(json, HUB_ERROR_INVALID, "architecture: ");
    free(json);
}

Test(submit, an_architecture_alone_is_checked_as_far_as_its_shapes_are_known)
{
    char *graph;
    cr_assert_eq(submit_architecture("dense:8 dense:3", &graph, &fixture_error), 0, "%s", fixture_error.message);
    cr_expect_eq(*graph, '{');
    bson_free(graph);
    cr_expect_eq(submit_architecture("dense:0", &graph, &fixture_error), -1);
    cr_expect_null(graph);
    cr_expect(strstr(fixture_error.message, "dense_1"), "%s", fixture_error.message);
}

static void accepted(const char *json, const char *state)
{
    bson_t *fields = task_of(json), task;
    cr_assert_eq(submit_task(fixture_hub, fields, &task, &fixture_error), 1, "%s: %s", json, fixture_error.message);
    cr_expect_str_eq(text(&task, "state"), state);
    bson_destroy(&task);
    bson_destroy(fields);
}

static void refused_beside(const char *json, const char *message)
{
    bson_t *fields = task_of(json), task;
    memset(&fixture_error, 0, sizeof fixture_error);
    cr_expect_eq(submit_task(fixture_hub, fields, &task, &fixture_error), -1, "accepted: %s", json);
    cr_expect(strstr(fixture_error.message, message), "'%s' does not say '%s'", fixture_error.message, message);
    bson_destroy(&task);
    bson_destroy(fields);
}

/* A chain of stages is submitted at once: what an earlier one makes can be named before it is there. */
Test(submit, what_a_task_that_is_waited_for_makes_can_be_named)
{
    accepted("{\"_id\": \"a\", \"name\": \"first\", \"dataset\": \"small\", \"architecture\": \"dense:8:relu dense:3\"}", "ready");
    accepted("{\"_id\": \"t\", \"name\": \"t\", \"kind\": \"test\", \"dataset\": \"small\", \"model\": \"first\","
             " \"after\": [\"a\"]}", "waiting");
    accepted("{\"_id\": \"i\", \"name\": \"i\", \"kind\": \"infer\", \"dataset\": \"small\", \"model\": \"first\","
             " \"save_dataset\": \"labelled\", \"save_split\": \"train\", \"after\": [\"a\"]}", "waiting");
    accepted("{\"_id\": \"b\", \"name\": \"second\", \"dataset\": \"labelled\", \"architecture\": \"dense:8:relu dense:3\","
             " \"initial_model\": \"first\", \"after\": [\"i\"]}", "waiting");
    accepted("{\"_id\": \"j\", \"name\": \"j\", \"kind\": \"infer\", \"dataset\": {\"name\": \"labelled\"}, \"model\": \"second\","
             " \"save_dataset\": \"again\", \"after\": [\"b\"]}", "waiting");
    accepted("{\"_id\": \"c\", \"name\": \"third\", \"dataset\": \"again\", \"architecture\": \"dense:3\", \"after\": [\"j\"]}",
             "waiting");
    /* Only of those that it waits for, and only what they make; what is known of it must fit. */
    refused_beside("{\"name\": \"x\", \"kind\": \"test\", \"dataset\": \"small\", \"model\": \"first\"}", "model: nothing in project");
    refused_beside("{\"name\": \"x\", \"kind\": \"test\", \"dataset\": \"small\", \"model\": \"second\", \"after\": [\"i\"]}",
                   "model: nothing in project");
    refused_beside("{\"name\": \"x\", \"dataset\": \"first\", \"architecture\": \"dense:3\", \"after\": [\"a\"]}",
                   "dataset: nothing in project");
    refused_beside("{\"name\": \"x\", \"dataset\": \"labelled\", \"architecture\": \"conv2d:4:3:relu dense:3\", \"after\": [\"i\"]}",
                   "architecture");
}
