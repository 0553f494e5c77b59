/* SPDX-License-Identifier: Apache-2.0 */
#include "hub_on_both.h"

#include <sys/resource.h>
#include <unistd.h>

TEST_USES_SERVER;

static uint8_t byte_at(size_t i)
{
    return (uint8_t)((i * 2654435761u) >> 13 ^ i);
}

/* Written in pieces of odd sizes. */
static struct blob_info write_blob(struct hub *hub, const bson_oid_t *id, size_t length)
{
    struct blob_info info;
    bson_t *metadata = json("{'project': 'default', 'kind': 'test'}");
    struct blob_writer *writer = blob_writer_open(hub_store(hub), id, "test.bin", metadata, NULL);
    uint8_t *data = bson_malloc(length + 1);
    for (size_t i = 0; i < length; i++) {
        data[i] = byte_at(i);
    }
    for (size_t at = 0, part = 1; at < length; at += part, part = part * 3 + 1) {
        part = part < length - at ? part : length - at;
        GOOD(blob_writer_write(writer, data + at, part, error));
    }
    GOOD(blob_writer_finish(writer, &info, error));
    blob_writer_close(writer);
    char sha256[65];
    hub_sha256(data, length, sha256);
    cr_expect_str_eq(info.sha256, sha256);
    cr_expect_eq(info.length, (int64_t)length);
    bson_free(data);
    bson_destroy(metadata);
    return info;
}

static void expect_blob(struct hub *hub, const bson_oid_t *id, size_t length)
{
    uint8_t *data;
    size_t got;
    GOOD(blob_load(hub_store(hub), id, (int64_t)length, &data, &got, error));
    cr_assert_eq(got, length);
    for (size_t i = 0; i < length; i++) {
        cr_assert_eq(data[i], byte_at(i), "byte %zu of %zu", i, length);
    }
    bson_free(data);
}

HUB_TEST(blob, comes_back_as_it_was_written)
{
    static const size_t sizes[] = {0, 1, BLOB_CHUNK_BYTES - 1, BLOB_CHUNK_BYTES, BLOB_CHUNK_BYTES + 1, 20 * BLOB_CHUNK_BYTES + 5};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bson_oid_t id;
        bson_oid_init(&id, NULL);
        write_blob(hub, &id, sizes[i]);
        expect_blob(hub, &id, sizes[i]);
        uint8_t *data;
        size_t length;
        if (sizes[i] > 0) {
            cr_expect_eq(blob_load(hub_store(hub), &id, (int64_t)sizes[i] - 1, &data, &length, NULL), -1, "above the limit");
            cr_expect_null(data);
        }
    }
}

HUB_TEST(blob, lies_in_the_gridfs_layout)
{
    bson_oid_t id;
    bson_t files;
    bson_oid_init(&id, NULL);
    write_blob(hub, &id, 600000);
    read_one(hub, "blobs.files", "{}", &files);
    cr_expect_eq(number_of(&files, "length"), 600000);
    cr_expect_eq(number_of(&files, "chunkSize"), 261120);
    cr_expect_str_eq(text_of(&files, "filename"), "test.bin");
    cr_expect_eq(strlen(text_of(&files, "metadata.sha256")), 64);
    cr_expect_str_eq(text_of(&files, "metadata.kind"), "test");
    cr_expect(has(&files, "uploadDate"));
    bson_destroy(&files);
    cr_expect_eq(count_in(hub, "blobs.chunks", "{'n': {'$in': [0, 1, 2]}}"), 3);
    cr_expect_eq(count_in(hub, "blobs.chunks", "{}"), 3);
}

HUB_TEST(blob, exists_only_when_it_is_finished)
{
    bson_oid_t id;
    bson_error_t why;
    bson_oid_init(&id, NULL);
    uint8_t *data = bson_malloc0(3 << 20);
    struct blob_writer *writer = blob_writer_open(hub_store(hub), &id, "x", NULL, NULL);
    GOOD(blob_writer_write(writer, data, 3 << 20, error));
    blob_writer_close(writer);
    cr_expect_gt(count_in(hub, "blobs.chunks", "{}"), 0);
    cr_expect_null(blob_reader_open(hub_store(hub), &id, &why));
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_NOT_FOUND);
    bson_free(data);
}

/* A chunk that did not arrive, or arrived changed, is found out before the blob is said to exist. */
HUB_TEST(blob, a_digest_that_is_known_before_is_held_to_what_is_read_back)
{
    const char *data = "four score and seven", digits[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char digest[BLOB_SHA256_HEX];
    hub_sha256(data, strlen(data), digest);
    for (int wrong = 0; wrong < 2; wrong++) {
        bson_oid_t id;
        bson_error_t why = {0};
        struct blob_info info;
        bson_oid_init(&id, NULL);
        struct blob_writer *writer = blob_writer_open(hub_store(hub), &id, "x", NULL, NULL);
        blob_writer_expect(writer, wrong ? digits : digest);
        GOOD(blob_writer_write(writer, data, strlen(data), error));
        cr_expect_eq(blob_writer_finish(writer, &info, &why), wrong ? -1 : 1, "%s", why.message);
        cr_expect(wrong ? hub_error_code(&why) == HUB_ERROR_CORRUPT : strcmp(info.sha256, digest) == 0);
        blob_writer_close(writer);
    }
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 1);
}

HUB_TEST(blob, damage_is_noticed_when_writing)
{
    static const char *const damages[][2] = {
        {"{'n': 3}", NULL},
        {"{'n': 9}", NULL},
        {"{'n': 5}", "{'$set': {'data': {'$binary': {'base64': 'AAAA', 'subType': '00'}}}}"},
        {"{'n': 5}", "{'$set': {'data': 'text'}}"},
        {"{'n': 5}", "{'$set': {'n': 55}}"},
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        bson_oid_t id;
        bson_error_t why;
        struct blob_info info;
        bson_t *where = json("%s", damages[i][0]);
        uint8_t *data = bson_malloc0(16 * BLOB_CHUNK_BYTES);
        bson_oid_init(&id, NULL);
        struct blob_writer *writer = blob_writer_open(hub_store(hub), &id, "x", NULL, NULL);
        GOOD(blob_writer_write(writer, data, 16 * BLOB_CHUNK_BYTES, error));
        if (damages[i][1] == NULL) {
            GOOD(store_delete(hub_store(hub), "blobs.chunks", where, error));
        } else {
            poke(hub, "blobs.chunks", damages[i][0], damages[i][1]);
        }
        cr_expect_eq(blob_writer_finish(writer, &info, &why), -1);
        cr_expect_eq(hub_error_code(&why), HUB_ERROR_CORRUPT, "%s", why.message);
        cr_expect_eq(count_in(hub, "blobs.files", "{}"), 0);
        cr_expect_eq(blob_writer_finish(writer, &info, &why), -1, "and it stays broken");
        cr_expect_eq(blob_writer_write(writer, data, 1, &why), -1);
        blob_writer_close(writer);
        bson_free(data);
        bson_destroy(where);
        bson_t *all = json("{}");
        GOOD(store_delete(hub_store(hub), "blobs.chunks", all, error));
        bson_destroy(all);
    }
}

HUB_TEST(blob, damage_is_noticed_when_reading)
{
    bson_oid_t id;
    bson_error_t why;
    uint8_t *data;
    size_t length;
    bson_oid_init(&id, NULL);
    write_blob(hub, &id, 5 * BLOB_CHUNK_BYTES);
    poke(hub, "blobs.files", "{}", "{'$set': {'metadata.sha256': 'f2ca1bb6c7e907d06dafe4687e579fce76b37e4e93b7605022da52e6ccc26fd2'}}");
    cr_expect_eq(blob_load(hub_store(hub), &id, 1 << 30, &data, &length, &why), -1);
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_CORRUPT);
    cr_expect_null(data);
    /* Another client's blob has no digest; its length still counts. */
    poke(hub, "blobs.files", "{}", "{'$unset': {'metadata': ''}}");
    expect_blob(hub, &id, 5 * BLOB_CHUNK_BYTES);
    poke(hub, "blobs.files", "{}", "{'$set': {'length': 1305599}}");
    cr_expect_eq(blob_load(hub_store(hub), &id, 1 << 30, &data, &length, &why), -1);
    poke(hub, "blobs.files", "{}", "{'$set': {'length': 1305601}}");
    cr_expect_eq(blob_load(hub_store(hub), &id, 1 << 30, &data, &length, &why), -1);
    poke(hub, "blobs.files", "{}", "{'$set': {'length': 'long'}}");
    cr_expect_eq(blob_load(hub_store(hub), &id, 1 << 30, &data, &length, &why), -1);
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_CORRUPT);
}

HUB_TEST(blob, a_batch_writes_a_small_one_whole)
{
    bson_oid_t id;
    size_t count, stopped;
    uint8_t *data = bson_malloc(700000);
    for (size_t i = 0; i < 700000; i++) {
        data[i] = byte_at(i);
    }
    bson_oid_init(&id, NULL);
    struct blob_batch *batch = blob_batch_new(hub_store(hub), &id, "b", NULL, data, 700000, NULL);
    cr_assert_not_null(batch);
    const struct store_operation *operations = blob_batch_operations(batch, &count);
    cr_expect_eq(count, 5, "three chunks, the check, the files document");
    cr_expect_eq(GOOD(store_batch(hub_store(hub), operations, count, &stopped, error)), 1);
    expect_blob(hub, &id, 700000);
    cr_expect_eq(GOOD(store_batch(hub_store(hub), operations, count, &stopped, error)), 1, "sent again, it is the same");
    expect_blob(hub, &id, 700000);
    blob_batch_free(batch);
    /* Without its second chunk the check ends the batch. */
    bson_oid_init(&id, NULL);
    batch = blob_batch_new(hub_store(hub), &id, "b", NULL, data, 700000, NULL);
    operations = blob_batch_operations(batch, &count);
    struct store_operation damaged[5];
    memcpy(damaged, operations, sizeof damaged);
    damaged[1] = damaged[2];
    cr_expect_eq(store_batch(hub_store(hub), damaged, count, &stopped, NULL), -1);
    cr_expect_eq(stopped, 3);
    cr_expect_eq(count_in(hub, "blobs.files", "{}"), 1);
    blob_batch_free(batch);
    cr_expect_null(blob_batch_new(hub_store(hub), &id, "b", NULL, data, 9 << 20, NULL));
    bson_free(data);
}

static int64_t peak_kilobytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* Memory does not grow with the blob. 200 MB here; TL_TEST_BLOB_MB=2048 for the size that is promised. */
Test(blob, streams_through_little_memory, .timeout = 1200)
{
    const char *given = getenv("TL_TEST_BLOB_MB");
    int64_t megabytes = given != NULL ? atoll(given) : 200;
    char *path = test_path(".db"), *uri = bson_strdup_printf("sqlite:%s", path);
    struct hub *hub = made_hub(uri);
    struct blob_info info;
    bson_oid_t id;
    uint8_t *data = bson_malloc(1 << 20), *back = bson_malloc(1 << 20);
    bson_oid_init(&id, NULL);
    struct blob_writer *writer = blob_writer_open(hub_store(hub), &id, "large", NULL, NULL);
    for (int64_t i = 0; i < megabytes; i++) {
        memset(data, (int)(i % 251), 1 << 20);
        GOOD(blob_writer_write(writer, data, 1 << 20, error));
    }
    GOOD(blob_writer_finish(writer, &info, error));
    blob_writer_close(writer);
    struct blob_reader *reader = blob_reader_open(hub_store(hub), &id, NULL);
    for (int64_t i = 0; i < megabytes; i++) {
        cr_assert_eq(GOOD(blob_reader_read(reader, back, 1 << 20, error)), 1 << 20);
        cr_assert_eq(back[17], (uint8_t)(i % 251));
    }
    cr_expect_eq(GOOD(blob_reader_read(reader, back, 1, error)), 0);
    blob_reader_close(reader);
    cr_log_info("a blob of %" PRId64 " MB: peak memory %" PRId64 " kB", megabytes, peak_kilobytes());
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    cr_expect_lt(peak_kilobytes(), 64 * 1024);
#endif
    bson_free(data);
    bson_free(back);
    hub_close(hub);
    unlink(path);
    bson_free(uri);
    free(path);
}
