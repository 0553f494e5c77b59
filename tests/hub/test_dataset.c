/* SPDX-License-Identifier: Apache-2.0 */
#include "hub_on_both.h"

TEST_USES_SERVER;

#define FIELDS "'input_shape': [2, 2], 'label': 'class', 'classes': 3, 'features': {'dtype': 'U8', 'scale': 0.5, 'offset': 0}"

/* Saves parts whose bytes are the given texts; splits train, train, test. */
static int64_t save(struct hub *hub, const char *fields, const char *const *parts, bson_t *dataset)
{
    static const char *const splits[] = {"train", "train", "test"};
    bson_t *document = json("%s", fields);
    struct dataset_writer *writer = dataset_writer_open(hub, document, error);
    cr_assert_not_null(writer, "%s", error->message);
    for (size_t i = 0; i < 3; i++) {
        GOOD(dataset_writer_part(writer, splits[i], 10 + (int64_t)i, parts[i], strlen(parts[i]), error));
    }
    int64_t result = GOOD(dataset_writer_finish(writer, dataset, error));
    dataset_writer_close(writer);
    bson_destroy(document);
    return result;
}

static const char *const first[] = {"one", "two", "three"}, *const second[] = {"one", "TWO", "three"};

HUB_TEST(dataset, a_manifest_names_parts_splits_and_digest)
{
    bson_t dataset;
    bson_iter_t iter, value;
    uint8_t *data;
    size_t length;
    cr_expect_eq(save(hub, "{'name': 'Tiny digits', 'source': {'url': 'x'}, " FIELDS "}", first, &dataset), 1);
    cr_expect_eq(number_of(&dataset, "version"), 1);
    cr_expect_eq(number_of(&dataset, "rows"), 33);
    cr_expect_eq(number_of(&dataset, "splits.train"), 21);
    cr_expect_eq(number_of(&dataset, "splits.test"), 12);
    cr_expect_str_eq(text_of(&dataset, "parts.2.split"), "test");
    cr_expect_eq(number_of(&dataset, "parts.1.bytes"), 3);
    cr_expect_eq(strlen(text_of(&dataset, "digest")), 64);
    cr_expect_str_eq(text_of(&dataset, "source.url"), "x");
    cr_expect_str_eq(text_of(&dataset, "words.1"), "digits");
    cr_assert(bson_iter_init(&iter, &dataset) && bson_iter_find_descendant(&iter, "parts.2.blob_id", &value));
    GOOD(blob_load(hub_store(hub), bson_iter_oid(&value), 100, &data, &length, error));
    cr_expect(length == 5 && memcmp(data, "three", 5) == 0);
    bson_free(data);
    cr_expect_eq(count_in(hub, "uploads", "{}"), 0);
    bson_destroy(&dataset);
}

HUB_TEST(dataset, the_same_data_makes_no_new_version)
{
    bson_t dataset, *name = json("{'name': 'd'}"), *by_version = json("{'name': 'd', 'version': 1}");
    char digest[65];
    struct gc_report report;
    save(hub, "{'name': 'd', " FIELDS "}", first, &dataset);
    snprintf(digest, sizeof digest, "%s", text_of(&dataset, "digest"));
    bson_destroy(&dataset);
    cr_expect_eq(save(hub, "{'name': 'd', " FIELDS "}", first, &dataset), 0);
    cr_expect_eq(number_of(&dataset, "version"), 1);
    bson_destroy(&dataset);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 3, "and uploads nothing");
    cr_expect_eq(save(hub, "{'name': 'd', " FIELDS "}", second, &dataset), 1);
    cr_expect_eq(number_of(&dataset, "version"), 2);
    cr_expect_str_neq(text_of(&dataset, "digest"), digest);
    bson_destroy(&dataset);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 4, "only the part that differs");
    cr_expect_eq(GOOD(dataset_find_one(hub, name, &dataset, error)), 1);
    cr_expect_eq(number_of(&dataset, "version"), 2, "the newest");
    bson_destroy(&dataset);
    /* Version 1 goes; what version 2 points to as well stays. */
    cr_expect_eq(GOOD(dataset_delete(hub, by_version, error)), 1);
    GOOD(gc_run(hub, 100, false, &report, error));
    cr_expect_eq(report.blobs_deleted, 1);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 3);
    /* Other names are other datasets; other shapes are other data. */
    cr_expect_eq(save(hub, "{'name': 'e', " FIELDS "}", second, &dataset), 1);
    cr_expect_eq(number_of(&dataset, "version"), 1);
    bson_destroy(&dataset);
    cr_expect_eq(save(hub, "{'name': 'e', 'input_shape': [4], 'label': 'class', 'classes': 3}", second, &dataset), 1);
    cr_expect_eq(number_of(&dataset, "version"), 2);
    bson_destroy(&dataset);
    bson_destroy(name);
    bson_destroy(by_version);
}

HUB_TEST(dataset, the_same_data_with_other_tags)
{
    bson_t dataset;
    save(hub, "{'name': 'd', 'tags': ['small'], 'description': 'digits', " FIELDS "}", first, &dataset);
    bson_destroy(&dataset);
    cr_expect_eq(save(hub, "{'name': 'd', 'tags': ['small'], " FIELDS "}", first, &dataset), 0, "nothing that is not there");
    bson_destroy(&dataset);
    cr_expect_eq(save(hub, "{'name': 'd', 'tags': ['small', 'square'], " FIELDS "}", first, &dataset),
                 DATASET_LABELLED);
    cr_expect_eq(number_of(&dataset, "version"), 1);
    cr_expect_str_eq(text_of(&dataset, "tags.1"), "square");
    cr_expect_not(has(&dataset, "tags.2"));
    cr_expect_str_eq(text_of(&dataset, "description"), "digits");
    bson_destroy(&dataset);
    cr_expect_eq(count_in(hub, "datasets", "{'tags': 'square', 'words': {'$all': ['square', 'digits', 'd']}}"), 1);
    cr_expect_eq(save(hub, "{'name': 'd', 'description': 'figures', " FIELDS "}", first, &dataset), DATASET_LABELLED);
    bson_destroy(&dataset);
    cr_expect_eq(count_in(hub, "datasets", "{'tags': 'small', 'description': 'figures', 'words': 'figures'}"), 1);
    cr_expect_eq(count_in(hub, "datasets", "{}"), 1);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 3);
}

/* "Version 2" in a model means one thing for ever, whatever is deleted. */
HUB_TEST(dataset, version_numbers_never_come_again)
{
    bson_t dataset, *newest = json("{'version': {'$gte': 2}}"), *all = json("{'name': 'd'}");
    save(hub, "{'name': 'd', " FIELDS "}", first, &dataset);
    bson_destroy(&dataset);
    save(hub, "{'name': 'd', " FIELDS "}", second, &dataset);
    cr_expect_eq(number_of(&dataset, "version"), 2);
    bson_destroy(&dataset);
    cr_expect_eq(GOOD(dataset_delete(hub, newest, error)), 1);
    save(hub, "{'name': 'd', 'input_shape': [4], 'label': 'class', 'classes': 3}", second, &dataset);
    cr_expect_eq(number_of(&dataset, "version"), 3);
    bson_destroy(&dataset);
    cr_expect_eq(GOOD(dataset_delete(hub, all, error)), 2);
    save(hub, "{'name': 'd', " FIELDS "}", first, &dataset);
    cr_expect_eq(number_of(&dataset, "version"), 4);
    bson_destroy(&dataset);
    bson_destroy(newest);
    bson_destroy(all);
}

HUB_TEST(dataset, bad_ones_are_refused_before_the_upload)
{
    static const char *const bad[][2] = {
        {"{" FIELDS "}", "dataset.name"},
        {"{'name': 'd'}", "dataset.input_shape: it is missing"},
        {"{'name': 'd', 'input_shape': [0]}", "dataset.input_shape[0]: 0 is below"},
        {"{'name': 'd', 'input_shape': [2], 'label': 'words'}", "dataset.label"},
        {"{'name': 'd', 'input_shape': [2], 'parts': []}", "the hub sets it"},
        {"{'name': 'd', 'input_shape': [2], 'digest': 'x'}", "the hub sets it"},
    };
    bson_error_t why;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bson_t *fields = json("%s", bad[i][0]);
        cr_expect_null(dataset_writer_open(hub, fields, &why));
        cr_expect_eq(hub_error_code(&why), HUB_ERROR_INVALID);
        cr_expect_not_null(strstr(why.message, bad[i][1]), "%s", why.message);
        bson_destroy(fields);
    }
    bson_t *fields = json("{'name': 'd', 'input_shape': [2]}"), dataset;
    struct dataset_writer *writer = dataset_writer_open(hub, fields, NULL);
    cr_expect_eq(dataset_writer_part(writer, "a.b", 1, "x", 1, NULL), -1);
    cr_expect_eq(dataset_writer_part(writer, "", 1, "x", 1, NULL), -1);
    cr_expect_eq(dataset_writer_part(writer, "train", -1, "x", 1, NULL), -1);
    cr_expect_eq(dataset_writer_part(writer, "train", 1, "x", 0, NULL), -1);
    cr_expect_eq(dataset_writer_finish(writer, &dataset, &why), -1, "no data");
    bson_destroy(&dataset);
    dataset_writer_close(writer);
    bson_destroy(fields);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 0);
}

/* gc, or somebody's hand, took a part before the manifest stood. */
HUB_TEST(dataset, a_part_that_went_away_undoes_the_manifest)
{
    bson_t *fields = json("{'name': 'd', " FIELDS "}"), dataset, *all = json("{}");
    bson_error_t why;
    struct dataset_writer *writer = dataset_writer_open(hub, fields, NULL);
    GOOD(dataset_writer_part(writer, "train", 1, "one", 3, error));
    GOOD(store_delete(hub_store(hub), "blobs.files", all, error));
    cr_expect_eq(dataset_writer_finish(writer, &dataset, &why), -1);
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_CONFLICT);
    cr_expect_eq(count_in(hub, "datasets", "{}"), 0);
    bson_destroy(&dataset);
    dataset_writer_close(writer);
    bson_destroy(fields);
    bson_destroy(all);
}
