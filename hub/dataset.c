/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/dataset.h"

#include "hub/dataset_impl.h"
#include "hub/dataset_label.h"
#include "hub/fault.h"
#include "hub/gc_impl.h"
#include "hub/hub_impl.h"
#include "hub/rows.h"
#include "hub/schema.h"
#include "hub/task_impl.h"

#include <stdlib.h>
#include <string.h>

#define DATASETS "datasets"
#define PART_BYTES 33554432
#define WRITE_BYTES (1 << 20)
#define VERSION_TRIES 20

struct part {
    bson_oid_t blob_id;
    char split[65];
    int64_t rows, bytes;
    char sha256[BLOB_SHA256_HEX];
    bool existed; /* the newest version's blob, pointed to once more */
};

struct dataset_writer {
    struct hub *hub;
    bson_t *fields;
    bson_t *newest; /* the version before; empty when there is none */
    char session[HUB_ID_SIZE];
    bool claimed; /* the output of a task: uploads are under its claim, and no session */
    struct task_fence fence;
    struct part *parts;
    size_t count, capacity;
    int64_t beaten, announced; /* announced: uploads of this session */
};

static int read_newest(struct hub *hub, const char *name, bson_t *dataset, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "name", name);
    int result = dataset_find_one(hub, &filter, dataset, error);
    bson_destroy(&filter);
    return result;
}

/* What will be written, with stand-ins for what is known only at the end: mistakes are told before the upload. */
static int check_fields(struct hub *hub, const bson_t *fields, bson_error_t *error)
{
    static const char *const own[] = {"version", "digest", "rows", "splits", "parts", "task", "deleted", "deleted_at"};
    bson_t whole, part, list;
    bson_oid_t none;
    char zeros[BLOB_SHA256_HEX];
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (bson_has_field(fields, own[i])) {
            return hub_error(error, HUB_ERROR_INVALID, "dataset.%s: the hub sets it; leave it out", own[i]);
        }
    }
    int result = hub_compose(hub, fields, "check", &whole, error);
    memset(zeros, '0', sizeof zeros - 1);
    zeros[sizeof zeros - 1] = '\0';
    bson_oid_init(&none, NULL);
    BSON_APPEND_INT32(&whole, "version", 1);
    BSON_APPEND_UTF8(&whole, "digest", zeros);
    BSON_APPEND_INT64(&whole, "rows", 0);
    BSON_APPEND_ARRAY_BEGIN(&whole, "parts", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &part);
    BSON_APPEND_OID(&part, "blob_id", &none);
    BSON_APPEND_UTF8(&part, "split", "train");
    BSON_APPEND_INT64(&part, "rows", 0);
    BSON_APPEND_INT64(&part, "bytes", 0);
    BSON_APPEND_UTF8(&part, "sha256", zeros);
    bson_append_document_end(&list, &part);
    bson_append_array_end(&whole, &list);
    result = result < 0 ? -1 : schema_check("dataset", &whole, error);
    bson_destroy(&whole);
    return result;
}

static struct dataset_writer *writer_new(struct hub *hub, const bson_t *fields)
{
    struct dataset_writer *writer = bson_malloc0(sizeof *writer);
    writer->hub = hub;
    writer->fields = bson_copy(fields);
    writer->beaten = hub_boottime();
    hub_random_id(writer->session);
    return writer;
}

struct dataset_writer *dataset_writer_open_claimed(struct hub *hub, const struct task_fence *fence, const bson_t *fields,
                                                   bson_error_t *error)
{
    if (check_fields(hub, fields, error) < 0) {
        return NULL;
    }
    struct dataset_writer *writer = writer_new(hub, fields);
    writer->newest = bson_new();
    writer->claimed = true;
    writer->fence = *fence;
    return writer;
}

struct dataset_writer *dataset_writer_open(struct hub *hub, const bson_t *fields, bson_error_t *error)
{
    if (check_fields(hub, fields, error) < 0) {
        return NULL;
    }
    struct dataset_writer *writer = writer_new(hub, fields);
    bson_t newest;
    int result = read_newest(hub, hub_text(fields, "name"), &newest, error);
    writer->newest = bson_copy(&newest);
    bson_destroy(&newest);
    if (result < 0) {
        dataset_writer_close(writer);
        return NULL;
    }
    return writer;
}

void dataset_writer_close(struct dataset_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    bson_destroy(writer->newest);
    bson_destroy(writer->fields);
    bson_free(writer->parts);
    bson_free(writer);
}

/* ---- parts ---- */

/* The same bytes in the version before: pointed to again, not uploaded again. */
static bool find_existing(const bson_t *newest, struct part *part)
{
    bson_t list, one;
    bson_iter_t iter, blob;
    if (!hub_view(newest, "parts", &list) || !bson_iter_init(&iter, &list)) {
        return false;
    }
    while (bson_iter_next(&iter)) {
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter) || !hub_item(&iter, &one)) {
            continue;
        }
        const char *sha256 = hub_text(&one, "sha256");
        if (sha256 != NULL && strcmp(sha256, part->sha256) == 0 && hub_number(&one, "bytes", -1) == part->bytes &&
            bson_iter_init_find(&blob, &one, "blob_id") && BSON_ITER_HOLDS_OID(&blob)) {
            part->blob_id = *bson_iter_oid(&blob);
            part->existed = true;
            return true;
        }
    }
    return false;
}

/* Beats; an upload that gc has taken goes no further. */
static int hold(struct dataset_writer *writer, bson_error_t *error)
{
    int held = gc_session_hold(writer->hub, writer->session, writer->announced, error);
    return held == 0 ? gc_session_lost(error) : held;
}

static int beat(struct dataset_writer *writer, bson_error_t *error)
{
    if (writer->claimed || hub_boottime() - writer->beaten < GC_BEAT_MS) {
        return 1; /* what is under a claim counts while the task runs */
    }
    writer->beaten = hub_boottime();
    return hold(writer, error);
}

static int upload(struct dataset_writer *writer, struct part *part, const uint8_t *data, size_t length,
                  bson_error_t *error)
{
    bson_t metadata = BSON_INITIALIZER;
    struct blob_info info;
    char filename[300];
    struct blob_writer *blob = NULL;
    int result = -1;
    bson_oid_init(&part->blob_id, NULL);
    snprintf(filename, sizeof filename, "%s-%s-%zu.safetensors", writer->session, part->split, writer->count);
    BSON_APPEND_UTF8(&metadata, "project", hub_project(writer->hub));
    BSON_APPEND_UTF8(&metadata, "kind", "dataset");
    if (writer->claimed) {
        BSON_APPEND_UTF8(&metadata, "claim", writer->fence.claim_id);
    }
    int announced = writer->claimed ? gc_announce_session(writer->hub, &part->blob_id, writer->fence.task_id, writer->fence.lane,
                                                          writer->fence.claim_id, NULL, error)
                                    : gc_announce_session(writer->hub, &part->blob_id, NULL, 0, NULL, writer->session, error);
    if (announced < 0) {
        goto out;
    }
    writer->announced++;
    blob = blob_writer_open(hub_store(writer->hub), &part->blob_id, filename, &metadata, error);
    if (blob == NULL) {
        goto out;
    }
    blob_writer_expect(blob, part->sha256);
    for (size_t left = length; left > 0;) {
        size_t size = left < WRITE_BYTES ? left : WRITE_BYTES;
        if (blob_writer_write(blob, data + (length - left), size, error) < 0 || beat(writer, error) < 0) {
            goto out;
        }
        left -= size;
    }
    result = blob_writer_finish(blob, &info, error);
out:
    blob_writer_close(blob);
    bson_destroy(&metadata);
    return result;
}

int dataset_writer_part(struct dataset_writer *writer, const char *split, int64_t rows, const void *safetensors,
                        size_t length, bson_error_t *error)
{
    struct part part = {.rows = rows, .bytes = (int64_t)length};
    size_t name = strlen(split);
    if (name == 0 || name >= sizeof part.split || !bson_utf8_validate(split, name, false) ||
        split[strcspn(split, ".$")] != '\0') {
        return hub_error(error, HUB_ERROR_INVALID, "split \"%.80s\": 1 to 64 bytes without '.' and '$' are allowed", split);
    }
    if (rows < 0 || length == 0 || length > PART_BYTES) {
        return hub_error(error, HUB_ERROR_INVALID, "a part of %zu bytes and %" PRId64 " rows: 1 to %d bytes are allowed", length,
                         rows, PART_BYTES);
    }
    memcpy(part.split, split, name + 1);
    hub_sha256(safetensors, length, part.sha256);
    if (beat(writer, error) < 0 ||
        (!find_existing(writer->newest, &part) && upload(writer, &part, safetensors, length, error) < 0)) {
        return -1;
    }
    if (writer->count == writer->capacity) {
        writer->capacity = writer->capacity > 0 ? 2 * writer->capacity : 8;
        writer->parts = bson_realloc(writer->parts, writer->capacity * sizeof *writer->parts);
    }
    writer->parts[writer->count++] = part;
    return 1;
}

/* ---- the manifest ---- */

/* Over the shape fields as canonical JSON and each part's split, rows and digest, in order. */
static bson_string_t *begin_digest(const bson_t *dataset)
{
    static const char *const shape[] = {"input_shape", "label", "classes", "outputs", "features", "preprocess",
                                        "storage", "columns", "label_field", "pipeline", "class_names"};
    const size_t count = rows_is_source(dataset) ? 11 : 6; /* what rows are is all there is to a dataset of rows */
    bson_t fields = BSON_INITIALIZER;
    bson_iter_t iter;
    for (size_t i = 0; i < count; i++) {
        if (bson_iter_init_find(&iter, dataset, shape[i])) {
            bson_append_iter(&fields, shape[i], -1, &iter);
        }
    }
    size_t length;
    char *json = bson_as_relaxed_extended_json(&fields, &length); /* an int32 and an int64 of the same value are the same */
    bson_string_t *text = bson_string_new(json);
    bson_free(json);
    bson_destroy(&fields);
    return text;
}

static void digest_part(bson_string_t *text, const char *split, int64_t rows, const char *sha256)
{
    bson_string_append_printf(text, "\n%zu:%s %" PRId64 " %s", strlen(split), split, rows, sha256);
}

static void end_digest(bson_string_t *text, char out[65])
{
    hub_sha256(text->str, text->len, out);
    bson_string_free(text, true);
}

static void compute_digest(const struct dataset_writer *writer, char out[65])
{
    bson_string_t *text = begin_digest(writer->fields);
    for (size_t i = 0; i < writer->count; i++) {
        digest_part(text, writer->parts[i].split, writer->parts[i].rows, writer->parts[i].sha256);
    }
    end_digest(text, out);
}

void dataset_digest(const bson_t *dataset, char out[65])
{
    bson_string_t *text = begin_digest(dataset);
    bson_t parts, part;
    bson_iter_t iter;
    bool more = hub_view(dataset, "parts", &parts) && bson_iter_init(&iter, &parts);
    while (more && bson_iter_next(&iter)) {
        if (BSON_ITER_HOLDS_DOCUMENT(&iter) && hub_item(&iter, &part)) {
            const char *split = hub_text(&part, "split"), *sha256 = hub_text(&part, "sha256");
            digest_part(text, split != NULL ? split : "", hub_number(&part, "rows", 0), sha256 != NULL ? sha256 : "");
        }
    }
    end_digest(text, out);
}

void dataset_measure(const bson_t *dataset, const char *split, int64_t *rows, int64_t *bytes)
{
    bson_t parts, part;
    bson_iter_t iter;
    bool more = hub_view(dataset, "parts", &parts) && bson_iter_init(&iter, &parts);
    *rows = *bytes = 0;
    while (more && bson_iter_next(&iter)) {
        const char *name = BSON_ITER_HOLDS_DOCUMENT(&iter) && hub_item(&iter, &part) ? hub_text(&part, "split") : NULL;
        if (name == NULL || (split != NULL && strcmp(name, split) != 0)) {
            continue;
        }
        int64_t more_rows = hub_number(&part, "rows", 0), more_bytes = hub_number(&part, "bytes", 0);
        if (more_rows > 0 && more_bytes > 0 && *rows <= INT64_MAX / 2 - more_rows && *bytes <= INT64_MAX / 2 - more_bytes) {
            *rows += more_rows;
            *bytes += more_bytes;
        }
    }
}

static void append_parts(const struct dataset_writer *writer, bson_t *dataset)
{
    bson_t list, one, splits;
    int64_t rows = 0;
    BSON_APPEND_DOCUMENT_BEGIN(dataset, "splits", &splits);
    for (size_t i = 0; i < writer->count; i++) {
        int64_t sum = 0;
        bool first = true;
        rows += writer->parts[i].rows;
        for (size_t j = 0; j < writer->count; j++) {
            if (strcmp(writer->parts[i].split, writer->parts[j].split) == 0) {
                first = first && j >= i;
                sum += writer->parts[j].rows;
            }
        }
        if (first) {
            BSON_APPEND_INT64(&splits, writer->parts[i].split, sum);
        }
    }
    bson_append_document_end(dataset, &splits);
    BSON_APPEND_INT64(dataset, "rows", rows);
    BSON_APPEND_ARRAY_BEGIN(dataset, "parts", &list);
    for (size_t i = 0; i < writer->count; i++) {
        const struct part *part = &writer->parts[i];
        char buffer[16];
        const char *key;
        size_t digits = bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
        bson_append_document_begin(&list, key, (int)digits, &one);
        BSON_APPEND_OID(&one, "blob_id", &part->blob_id);
        BSON_APPEND_UTF8(&one, "split", part->split);
        BSON_APPEND_INT64(&one, "rows", part->rows);
        BSON_APPEND_INT64(&one, "bytes", part->bytes);
        BSON_APPEND_UTF8(&one, "sha256", part->sha256);
        bson_append_document_end(&list, &one);
    }
    bson_append_array_end(dataset, &list);
}

/* The reply to the insert was lost: does this very manifest stand? Its _id alone does not say, for another writer may
 * have taken the version. 1, 0, -1. */
static int stands(struct hub *hub, const bson_t *dataset, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, stored, parts, stored_parts;
    BSON_APPEND_UTF8(&filter, "_id", hub_text(dataset, "_id"));
    int result = store_find_one(hub_store(hub), DATASETS, &filter, NULL, &stored, error);
    if (result > 0) {
        result = hub_view(&stored, "parts", &stored_parts) && hub_view(dataset, "parts", &parts) &&
                 bson_equal(&parts, &stored_parts);
    }
    bson_destroy(&stored);
    bson_destroy(&filter);
    return result;
}

int dataset_next_version(struct hub *hub, const char *name, int64_t newest, int64_t *version, bson_error_t *error)
{
    char *counter = bson_strdup_printf("dataset:%s:%s", hub_project(hub), name);
    int64_t first, missing;
    int result = store_counter_add(hub_store(hub), counter, 1, version, error);
    if (result >= 0 && *version <= newest) { /* versions from before there was a counter, or of a foreign client */
        missing = newest - *version + 1;
        result = store_counter_add(hub_store(hub), counter, missing, &first, error);
        *version = result < 0 ? *version : first + missing - 1;
    }
    bson_free(counter);
    if (result < 0) {
        return -1;
    }
    return *version <= INT32_MAX ? 1 : hub_error(error, HUB_ERROR_INVALID, "dataset.version: there are no more numbers");
}

/* Inserts the manifest as the version after the newest. 1; 0 when the newest has this digest (*dataset is it); -1. */
static int insert(struct dataset_writer *writer, const char *digest, bson_t *dataset, bson_error_t *error)
{
    const char *name = hub_text(writer->fields, "name");
    for (int i = 0; i < VERSION_TRIES; i++) {
        bson_t newest, fields = BSON_INITIALIZER;
        bson_error_t inner;
        char number[24], id[HUB_ID_SIZE];
        int result = read_newest(writer->hub, name, &newest, error);
        const char *old = hub_text(&newest, "digest");
        if (result < 0 || (result > 0 && old != NULL && strcmp(old, digest) == 0)) {
            bson_destroy(&fields);
            bson_destroy(dataset);
            bson_copy_to(&newest, dataset);
            bson_destroy(&newest);
            return result < 0 ? -1 : 0;
        }
        int64_t version = 0;
        result = dataset_next_version(writer->hub, name, hub_number(&newest, "version", 0), &version, error);
        bson_destroy(&newest);
        if (result < 0) {
            bson_destroy(&fields);
            return -1;
        }
        snprintf(number, sizeof number, "%" PRId64, version);
        const char *const parts[] = {hub_project(writer->hub), name, number};
        hub_digest_id(parts, 3, id);
        hub_copy_without(writer->fields, &fields, "_id", NULL);
        BSON_APPEND_INT32(&fields, "version", (int32_t)version);
        BSON_APPEND_UTF8(&fields, "digest", digest);
        append_parts(writer, &fields);
        bson_destroy(dataset);
        result = hub_compose(writer->hub, &fields, id, dataset, error);
        bson_destroy(&fields);
        if (result < 0 || schema_check("dataset", dataset, error) < 0) {
            return -1;
        }
        TL_FAULT("dataset.before");
        result = store_insert(hub_store(writer->hub), DATASETS, dataset, &inner);
        TL_FAULT("dataset.after");
        if (result < 0 && hub_unknown(&inner)) {
            /* If it stands its parts must still be looked after, as after any insert. */
            result = stands(writer->hub, dataset, error);
            if (result != 0) {
                return result;
            }
            continue;
        }
        if (result < 0 && hub_error_code(&inner) != HUB_ERROR_DUPLICATE) {
            if (error != NULL) {
                *error = inner;
            }
            return -1;
        }
        if (result >= 0) {
            return 1;
        }
        /* Another writer took this version. */
    }
    return hub_error(error, HUB_ERROR_CONFLICT, "dataset \"%.200s\": other writers keep saving versions of it; try again", name);
}

/* The manifest stands; were its blobs still announced, and are they there? Else it is taken back. */
static int keep_parts(struct dataset_writer *writer, const bson_t *dataset, bson_error_t *error)
{
    int result = gc_session_hold(writer->hub, writer->session, writer->announced, error);
    for (size_t i = 0; i < writer->count && result > 0; i++) {
        result = gc_keep(writer->hub, &writer->parts[i].blob_id, error);
    }
    if (result == 0) {
        bson_t filter = BSON_INITIALIZER;
        BSON_APPEND_UTF8(&filter, "_id", hub_text(dataset, "_id"));
        result = store_delete(hub_store(writer->hub), DATASETS, &filter, error) < 0 ? -1 : gc_session_lost(error);
        bson_destroy(&filter);
    }
    return result;
}

int dataset_writer_finish(struct dataset_writer *writer, bson_t *dataset, bson_error_t *error)
{
    char digest[65];
    bson_init(dataset);
    if (writer->count == 0) {
        return hub_error(error, HUB_ERROR_INVALID, "dataset.parts: it has no data");
    }
    compute_digest(writer, digest);
    int result = writer->announced > 0 ? hold(writer, error) : 1;
    result = result < 0 ? -1 : insert(writer, digest, dataset, error);
    if (result > 0 && keep_parts(writer, dataset, error) < 0) {
        result = -1;
    }
    if (result >= 0) {
        gc_session_done(writer->hub, writer->session, NULL); /* stale anyway once its beat stands still */
    }
    if (result == 0) {
        int labelled = dataset_label(writer->hub, writer->fields, dataset, error);
        result = labelled > 0 ? DATASET_LABELLED : labelled;
    }
    return result;
}

int dataset_writer_manifest(struct dataset_writer *writer, bson_t *manifest, bson_error_t *error)
{
    bson_t newest, fields = BSON_INITIALIZER;
    char digest[65];
    const char *name = hub_text(writer->fields, "name");
    int64_t version = 0;
    int result = -1;
    bson_init(manifest);
    bson_init(&newest);
    if (!writer->claimed || writer->count == 0) {
        hub_error(error, HUB_ERROR_INVALID, "dataset.parts: it has no data");
        goto out;
    }
    bson_destroy(&newest);
    if (read_newest(writer->hub, name, &newest, error) < 0 ||
        dataset_next_version(writer->hub, name, hub_number(&newest, "version", 0), &version, error) < 0) {
        goto out;
    }
    compute_digest(writer, digest);
    hub_copy_without(writer->fields, &fields, "_id", "task", NULL);
    BSON_APPEND_UTF8(&fields, "task", writer->fence.task_id);
    BSON_APPEND_INT32(&fields, "version", (int32_t)version);
    BSON_APPEND_UTF8(&fields, "digest", digest);
    append_parts(writer, &fields);
    bson_destroy(manifest);
    result = hub_compose(writer->hub, &fields, writer->fence.claim_id, manifest, error);
    result = result < 0 ? -1 : schema_check("dataset", manifest, error);
out:
    bson_destroy(&fields);
    bson_destroy(&newest);
    return result < 0 ? -1 : 1;
}
