/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/data.h"

#include "hub/rows.h"
#include "kernels/safetensors.h"
#include "runner/split_store.h"

#include <stdlib.h>
#include <string.h>

#define PART_BYTES (64ll << 20) /* our own writer stays below 32 MB */
#define ROW_VALUES (1ll << 24)
#define ROWS       UINT32_MAX /* rows are counted in uint32_t by data_gather */

/* One split in memory; x and y own what data points to. */
struct entry {
    char *key; /* digest and split */
    char *digest;
    struct data data;
    void *x, *y;
    struct split_map map; /* in the place of x and y: pages of a file, which the bound on memory does not count */
    int64_t bytes;
    uint64_t used; /* the last load's number */
    struct entry *next;
};

struct data_cache {
    int64_t limit; /* 0: none */
    int64_t bytes;
    uint64_t loads;
    struct entry *entries;
    struct split_store *disk; /* opened when it is first needed */
};

/* What is known while a split is read. */
struct loading {
    struct hub *hub;
    const char *name, *split; /* for messages */
    struct entry *entry;
    bool u8, labelled, classes;
    int64_t row; /* the part's first */
    struct split_writer *writer; /* while the parts go to a file */
};

/* One part of the manifest. */
struct part {
    bson_oid_t blob_id;
    int64_t rows, bytes;
    const char *sha256;
};

static void entry_free(struct entry *entry)
{
    if (!entry)
        return;
    free(entry->key);
    free(entry->digest);
    free(entry->x);
    free(entry->y);
    split_map_end(&entry->map);
    free(entry);
}

struct data_cache *data_cache_new(int64_t limit_bytes)
{
    struct data_cache *cache = calloc(1, sizeof *cache);
    if (cache)
        cache->limit = limit_bytes;
    return cache;
}

void data_cache_free(struct data_cache *cache)
{
    if (!cache)
        return;
    for (struct entry *entry = cache->entries, *next; entry; entry = next) {
        next = entry->next;
        entry_free(entry);
    }
    split_store_close(cache->disk);
    free(cache);
}

struct split_store *data_cache_disk(struct data_cache *cache, bson_error_t *error)
{
    if (!cache->disk)
        cache->disk = split_store_open(error);
    return cache->disk;
}

/* The longest unused split of another dataset than this one goes; false where there is none. */
static bool evict(struct data_cache *cache, const char *digest)
{
    struct entry **oldest = NULL;
    for (struct entry **at = &cache->entries; *at; at = &(*at)->next)
        if (strcmp((*at)->digest, digest) && (!oldest || (*at)->used < (*oldest)->used))
            oldest = at;
    if (!oldest)
        return false;
    struct entry *entry = *oldest;
    *oldest = entry->next;
    cache->bytes -= entry->bytes;
    entry_free(entry);
    return true;
}

/* ---- the manifest ---- */

static const char *text_of(const bson_t *document, const char *key)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, document, key) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
}

static int64_t number_of(const bson_t *document, const char *key, int64_t missing)
{
    bson_iter_t at;
    if (!bson_iter_init_find(&at, document, key) || !BSON_ITER_HOLDS_NUMBER(&at))
        return missing;
    if (BSON_ITER_HOLDS_DOUBLE(&at)) {
        double number = bson_iter_double(&at);
        return number >= -9e15 && number <= 9e15 ? (int64_t)number : missing;
    }
    return bson_iter_as_int64(&at);
}

static int damaged(const struct loading *loading, const char *what, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_CORRUPT, "dataset %s, split %s: %s", loading->name, loading->split, what);
}

/* Values per row. */
static int read_shape(struct loading *loading, const bson_t *dataset, bson_error_t *error)
{
    bson_iter_t at, dims;
    int64_t features = 1;
    if (!bson_iter_init_find(&at, dataset, "input_shape") || !BSON_ITER_HOLDS_ARRAY(&at) ||
        !bson_iter_recurse(&at, &dims))
        return damaged(loading, "the manifest has no input_shape", error);
    while (bson_iter_next(&dims)) {
        int64_t dim = BSON_ITER_HOLDS_NUMBER(&dims) ? bson_iter_as_int64(&dims) : 0;
        if (dim < 1 || dim > ROW_VALUES || (features *= dim) > ROW_VALUES)
            return damaged(loading, "the manifest's input_shape cannot be that of a row", error);
    }
    loading->entry->data.features = features;
    return 0;
}

static int read_features(struct loading *loading, const bson_t *dataset, bson_error_t *error)
{
    struct data *data = &loading->entry->data;
    const char *label = text_of(dataset, "label"), *dtype = NULL;
    bson_iter_t root, at;
    double scale = 1.0, offset = 0.0;
    if (bson_iter_init(&root, dataset) && bson_iter_find_descendant(&root, "features.dtype", &at) &&
        BSON_ITER_HOLDS_UTF8(&at))
        dtype = bson_iter_utf8(&at, NULL);
    if (bson_iter_init(&root, dataset) && bson_iter_find_descendant(&root, "features.scale", &at) &&
        BSON_ITER_HOLDS_NUMBER(&at))
        scale = bson_iter_as_double(&at);
    if (bson_iter_init(&root, dataset) && bson_iter_find_descendant(&root, "features.offset", &at) &&
        BSON_ITER_HOLDS_NUMBER(&at))
        offset = bson_iter_as_double(&at);
    loading->u8 = dtype && !strcmp(dtype, "U8");
    if (dtype && !loading->u8 && strcmp(dtype, "F32"))
        return damaged(loading, "features.dtype is neither U8 nor F32", error);
    data->scale = (float)scale;
    data->offset = (float)offset;
    loading->labelled = !label || strcmp(label, "none");
    loading->classes = !label || !strcmp(label, "class");
    if (loading->labelled && !loading->classes && strcmp(label, "value"))
        return damaged(loading, "label is neither class nor value nor none", error);
    int64_t classes = number_of(dataset, "classes", 0), outputs = number_of(dataset, "outputs", 1);
    if (loading->classes && (classes < 1 || classes > INT32_MAX))
        return damaged(loading, "the manifest has no number of classes", error);
    if (loading->labelled && !loading->classes && (outputs < 1 || outputs > ROW_VALUES))
        return damaged(loading, "the manifest's outputs cannot be those of a row", error);
    data->classes = loading->classes ? (int32_t)classes : 0;
    data->outputs = loading->classes || !loading->labelled ? 0 : (int32_t)outputs;
    return 0;
}

/* Calls for every part of the split, in the manifest's order. 0, or the first -1. */
static int each_part(struct loading *loading, const bson_t *dataset,
                     int (*visit)(struct loading *loading, const struct part *part, bson_error_t *error),
                     bson_error_t *error)
{
    bson_iter_t at, parts, blob;
    if (!bson_iter_init_find(&at, dataset, "parts") || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &parts))
        return damaged(loading, "the manifest has no parts", error);
    while (bson_iter_next(&parts)) {
        uint32_t length;
        const uint8_t *bytes;
        bson_t document;
        if (!BSON_ITER_HOLDS_DOCUMENT(&parts))
            return damaged(loading, "a part of the manifest is no document", error);
        bson_iter_document(&parts, &length, &bytes);
        if (!bson_init_static(&document, bytes, length))
            return damaged(loading, "a part of the manifest is no document", error);
        const char *split = text_of(&document, "split");
        if (!split || strcmp(split, loading->split))
            continue;
        struct part part = {.rows = number_of(&document, "rows", -1),
                            .bytes = number_of(&document, "bytes", -1),
                            .sha256 = text_of(&document, "sha256")};
        if (part.rows < 0 || part.rows > ROWS || part.bytes < 0 || part.bytes > PART_BYTES || !part.sha256 ||
            !bson_iter_init_find(&blob, &document, "blob_id") || !BSON_ITER_HOLDS_OID(&blob))
            return damaged(loading, "a part needs blob_id, rows, bytes (at most 64 MiB) and sha256", error);
        part.blob_id = *bson_iter_oid(&blob);
        if (visit(loading, &part, error))
            return -1;
    }
    return 0;
}

static int count_rows(struct loading *loading, const struct part *part, bson_error_t *error)
{
    struct data *data = &loading->entry->data;
    /* A part cannot have more values than bytes: a manifest that lies about rows gets no memory. */
    if (part->rows && data->features > part->bytes / part->rows)
        return damaged(loading, "a part has fewer bytes than its rows need", error);
    data->rows += part->rows;
    return data->rows > ROWS ? damaged(loading, "more than 2^32 - 1 rows", error) : 0;
}

/* ---- a part ---- */

/* Exactly length bytes of the blob. */
static int read_bytes(const struct loading *loading, struct blob_reader *reader, void *buffer, uint64_t length,
                      bson_error_t *error)
{
    for (uint64_t got = 0; got < length;) {
        int64_t n = blob_reader_read(reader, (char *)buffer + got, (size_t)(length - got), error);
        if (n < 0)
            return -1;
        if (!n)
            return damaged(loading, "a part ends too early", error);
        got += (uint64_t)n;
    }
    return 0;
}

static int read_x(const struct loading *loading, struct blob_reader *reader, const struct safetensors_tensor *x,
                  bson_error_t *error)
{
    int64_t width = loading->entry->data.features * (loading->u8 ? 1 : (int64_t)sizeof(float));
    return read_bytes(loading, reader, (char *)loading->entry->x + loading->row * width, x->end - x->begin, error);
}

/* Class numbers are I64 in the file and int32 in memory. */
static int read_classes(const struct loading *loading, struct blob_reader *reader, int64_t rows, bson_error_t *error)
{
    int64_t chunk[1024];
    const int64_t most = (int64_t)(sizeof chunk / sizeof *chunk);
    int32_t *y = (int32_t *)loading->entry->y + loading->row;
    for (int64_t i = 0; i < rows; i += most) {
        int64_t n = rows - i < most ? rows - i : most;
        if (read_bytes(loading, reader, chunk, (uint64_t)n * sizeof *chunk, error))
            return -1;
        for (int64_t j = 0; j < n; j++) {
            if (chunk[j] < 0 || chunk[j] >= loading->entry->data.classes)
                return hub_error(error, HUB_ERROR_CORRUPT,
                                 "dataset %s, split %s: row %lld has class %lld, the classes are 0 to %d",
                                 loading->name, loading->split, (long long)(loading->row + i + j), (long long)chunk[j],
                                 loading->entry->data.classes - 1);
            y[i + j] = (int32_t)chunk[j];
        }
    }
    return 0;
}

static int read_y(const struct loading *loading, struct blob_reader *reader, const struct safetensors_tensor *y,
                  int64_t rows, bson_error_t *error)
{
    if (loading->classes)
        return read_classes(loading, reader, rows, error);
    float *values = (float *)loading->entry->y + loading->row * loading->entry->data.outputs;
    return read_bytes(loading, reader, values, y->end - y->begin, error);
}

/* Types and shapes of x and y are those that the manifest promises. */
static int check_tensors(const struct loading *loading, const struct safetensors *file, int64_t rows,
                         bson_error_t *error)
{
    const struct safetensors_tensor *x = safetensors_find(file, "x"), *y = safetensors_find(file, "y");
    const struct data *data = &loading->entry->data;
    int64_t features = 1, outputs = 1;
    if (!x || (y != NULL) != loading->labelled || file->count != (loading->labelled ? 2 : 1))
        return damaged(loading, loading->labelled ? "a part must have the tensors x and y and no other"
                                                  : "a part without labels must have the tensor x and no other", error);
    if (x->dtype != (loading->u8 ? SAFETENSORS_U8 : SAFETENSORS_F32))
        return damaged(loading, "x of a part has another type than the manifest says", error);
    if (y && y->dtype != (loading->classes ? SAFETENSORS_I64 : SAFETENSORS_F32))
        return damaged(loading, "y of a part must be I64 for classes, F32 for values", error);
    for (int i = 1; i < x->rank; i++)
        features *= x->shape[i]; /* safetensors.c holds the product below the file's length */
    for (int i = 1; y && i < y->rank; i++)
        outputs *= y->shape[i];
    if (x->rank < 1 || x->shape[0] != rows || (rows && features != data->features))
        return damaged(loading, "x of a part has another shape than the manifest says", error);
    if (y && (y->rank < 1 || y->shape[0] != rows || (rows && outputs != (loading->classes ? 1 : data->outputs))))
        return damaged(loading, "y of a part has another shape than the manifest says", error);
    return 0;
}

static struct safetensors *read_header(const struct loading *loading, struct blob_reader *reader, uint64_t length,
                                       bson_error_t *error)
{
    struct kernel_error why = {0};
    struct safetensors *file = NULL;
    uint8_t first[8], *header = NULL;
    if (length < sizeof first) {
        damaged(loading, "a part is too short for safetensors", error);
        return NULL;
    }
    if (read_bytes(loading, reader, first, sizeof first, error))
        return NULL;
    int64_t header_length = safetensors_header_length(first, &why);
    if (header_length < (int64_t)sizeof first || (uint64_t)header_length > length) {
        damaged(loading, header_length < 0 ? why.message : "a part's header is longer than the part", error);
        return NULL;
    }
    header = malloc((size_t)header_length);
    if (!header) {
        hub_error(error, HUB_ERROR_MEMORY, "dataset %s: no memory for a part's header", loading->name);
        return NULL;
    }
    memcpy(header, first, sizeof first);
    if (!read_bytes(loading, reader, header + sizeof first, (uint64_t)header_length - sizeof first, error)) {
        file = safetensors_parse_header(header, (size_t)header_length, length, &why);
        if (!file)
            damaged(loading, why.message, error);
    }
    free(header);
    return file;
}

/* Straight into the split's memory, so that no more than the split is held. */
static int load_part(struct loading *loading, const struct part *part, bson_error_t *error)
{
    struct safetensors *file = NULL;
    int result = -1;
    char rest;
    struct blob_reader *reader = blob_reader_open(hub_store(loading->hub), &part->blob_id, error);
    if (!reader)
        return -1;
    const struct blob_info *info = blob_reader_info(reader);
    if (info->length != part->bytes || strcmp(info->sha256, part->sha256)) {
        damaged(loading, "a part's blob is not the one of the manifest (length or SHA-256)", error);
        goto out;
    }
    file = read_header(loading, reader, (uint64_t)part->bytes, error);
    if (!file || check_tensors(loading, file, part->rows, error))
        goto out;
    for (size_t i = 0; i < file->count; i++) { /* in the file's order, without holes */
        const struct safetensors_tensor *tensor = &file->tensors[i];
        if (!strcmp(tensor->name, "x") ? read_x(loading, reader, tensor, error)
                                       : read_y(loading, reader, tensor, part->rows, error))
            goto out;
    }
    int64_t n = blob_reader_read(reader, &rest, 1, error); /* the end: length and SHA-256 are right */
    if (n < 0)
        goto out;
    if (n > 0) {
        damaged(loading, "a part is longer than its tensors", error);
        goto out;
    }
    loading->row += part->rows;
    result = 0;
out:
    safetensors_free(file);
    blob_reader_close(reader);
    return result;
}

/* ---- the split ---- */

static void take_data(struct loading *loading, void *x, void *y)
{
    struct data *data = &loading->entry->data;
    data->x_u8 = loading->u8 ? x : NULL;
    data->x_f32 = loading->u8 ? NULL : x;
    data->y_class = loading->classes ? y : NULL;
    data->y_value = loading->classes || !loading->labelled ? NULL : y;
    data->stored_rows = data->rows;
    data->stored_features = data->features;
}

static int allocate(struct data_cache *cache, struct loading *loading, bson_error_t *error)
{
    struct entry *entry = loading->entry;
    struct data *data = &entry->data;
    int64_t x_bytes = data->rows * data->features * (loading->u8 ? 1 : (int64_t)sizeof(float)); /* < 2^32 × 2^26 */
    int64_t y_bytes =
        data->rows * (loading->classes ? (int64_t)sizeof(int32_t) : data->outputs * (int64_t)sizeof(float));
    entry->bytes = x_bytes + y_bytes;
    while (cache->limit && cache->bytes + entry->bytes > cache->limit)
        if (!evict(cache, entry->digest))
            return hub_error(error, HUB_ERROR_MEMORY,
                             "dataset %s, split %s: needs %lld MiB, beside %lld MiB of its other splits; the limit is "
                             "%lld MiB",
                             loading->name, loading->split, (long long)(entry->bytes >> 20),
                             (long long)(cache->bytes >> 20), (long long)(cache->limit >> 20));
    entry->x = malloc((size_t)x_bytes + 1);
    entry->y = malloc((size_t)y_bytes + 1);
    if (!entry->x || !entry->y)
        return hub_error(error, HUB_ERROR_MEMORY, "dataset %s, split %s: no memory for %lld MiB", loading->name,
                         loading->split, (long long)(entry->bytes >> 20));
    take_data(loading, entry->x, entry->y);
    return 0;
}

/* ---- a split in a file ---- */

void data_split_key(const char *digest, const char *split, char key[65])
{
    char *text = bson_strdup_printf("%s/%s", digest, split);
    hub_sha256(text, strlen(text), key);
    bson_free(text);
}

/* One part in memory, then on to the file. */
static int copy_part(struct loading *loading, const struct part *part, bson_error_t *error)
{
    struct entry *entry = loading->entry;
    const struct data *data = &entry->data;
    size_t width = (size_t)data->features * (loading->u8 ? 1 : sizeof(float));
    size_t labels = loading->classes ? sizeof(int32_t) : (size_t)data->outputs * sizeof(float);
    int result = -1;
    entry->x = malloc((size_t)part->rows * width + 1);
    entry->y = malloc((size_t)part->rows * labels + 1);
    loading->row = 0;
    if (!entry->x || !entry->y)
        hub_error(error, HUB_ERROR_MEMORY, "dataset %s, split %s: no memory for a part", loading->name, loading->split);
    else if (load_part(loading, part, error) == 0)
        result = split_writer_add(loading->writer, entry->x, entry->y, part->rows, error);
    free(entry->x);
    free(entry->y);
    entry->x = entry->y = NULL;
    return result;
}

static int copy_to_file(struct data_cache *cache, struct loading *loading, const bson_t *dataset,
                        const struct split_shape *shape, const char *key, bson_error_t *error)
{
    char sha256[65];
    loading->writer = split_writer_new(cache->disk, shape, error);
    int result = loading->writer && each_part(loading, dataset, copy_part, error) == 0 &&
                         split_writer_end(loading->writer, sha256, error) == 0 &&
                         split_writer_publish(loading->writer, key, error) == 0
                     ? 0
                     : -1;
    split_writer_free(loading->writer);
    loading->writer = NULL;
    return result;
}

/* Two rounds: a file that has just been made may be gone again, when the folder is small. */
static int map_split(struct data_cache *cache, struct loading *loading, const bson_t *dataset, bson_error_t *error)
{
    struct data *data = &loading->entry->data;
    const struct split_shape shape = {.features = data->features, .bytes = loading->u8,
                                      .classes = loading->classes ? data->classes : 0, .outputs = data->outputs};
    char key[65];
    data_split_key(loading->entry->digest, loading->split, key);
    if (!data_cache_disk(cache, error))
        return -1;
    int found = split_store_map(cache->disk, key, &shape, &loading->entry->map, error);
    for (int tries = 0; found == 0 && tries < 2 && !rows_is_source(dataset); tries++)
        if (copy_to_file(cache, loading, dataset, &shape, key, error))
            found = -1;
        else
            found = split_store_map(cache->disk, key, &shape, &loading->entry->map, error);
    if (found == 0)
        return hub_error(error, HUB_ERROR_BUSY, "dataset %s, split %s: its file in the cache is gone; TL_HUB_CACHE_BYTES may be "
                                                "too low", loading->name, loading->split);
    if (found > 0 && loading->entry->map.rows != data->rows)
        return damaged(loading, "its file in the cache has another number of rows", error);
    if (found > 0)
        take_data(loading, loading->entry->map.x, loading->entry->map.y);
    return found < 0 ? -1 : 0;
}

/* ---- loading ---- */

/* Of a manifest that rows_data_resolve has made. */
static int count_documents(struct loading *loading, const bson_t *dataset, bson_error_t *error)
{
    bson_iter_t at, split;
    int64_t rows = 0;
    if (!bson_iter_init_find(&at, dataset, "splits") || !BSON_ITER_HOLDS_DOCUMENT(&at) || !bson_iter_recurse(&at, &split))
        return damaged(loading, "its rows have not been selected", error);
    if (bson_iter_find(&split, loading->split) && BSON_ITER_HOLDS_NUMBER(&split))
        rows = bson_iter_as_int64(&split);
    loading->entry->data.rows = rows;
    return rows < 0 || rows > ROWS ? damaged(loading, "more than 2^32 - 1 rows", error) : 0;
}

/* Those of other datasets: a file that was removed from the folder takes its space for as long as it is mapped. */
static void drop_maps(struct data_cache *cache, const char *digest)
{
    for (struct entry **at = &cache->entries; *at;) {
        struct entry *entry = *at;
        if (entry->map.memory && strcmp(entry->digest, digest)) {
            *at = entry->next;
            entry_free(entry);
        } else {
            at = &entry->next;
        }
    }
}

static struct entry *find_entry(struct data_cache *cache, const char *key)
{
    struct entry *entry = cache->entries;
    while (entry && strcmp(entry->key, key))
        entry = entry->next;
    return entry;
}

int data_load(struct data_cache *cache, struct hub *hub, const bson_t *dataset, const char *split, struct data *data,
              bson_error_t *error)
{
    return data_load_as(cache, hub, dataset, split, false, data, error);
}

int data_load_as(struct data_cache *cache, struct hub *hub, const bson_t *dataset, const char *split, bool mapped,
                 struct data *data, bson_error_t *error)
{
    struct loading loading = {.hub = hub, .split = split};
    const char *name = text_of(dataset, "name"), *digest = text_of(dataset, "digest");
    char *key = NULL;
    int result = -1;

    *data = (struct data){0};
    loading.name = name ? name : "without a name";
    if (!digest)
        return damaged(&loading, "the manifest has no digest", error);
    mapped = mapped || rows_is_source(dataset);
    if (asprintf(&key, "%s/%s%s", digest, split, mapped ? "/mapped" : "") < 0)
        return hub_error(error, HUB_ERROR_MEMORY, "dataset %s: no memory to load it", loading.name);
    cache->loads++;
    struct entry *found = find_entry(cache, key);
    if (found) {
        free(key);
        found->used = cache->loads;
        *data = found->data;
        return 1;
    }
    loading.entry = calloc(1, sizeof *loading.entry);
    if (!loading.entry) {
        free(key);
        return hub_error(error, HUB_ERROR_MEMORY, "dataset %s: no memory to load it", loading.name);
    }
    loading.entry->key = key;
    loading.entry->used = cache->loads;
    loading.entry->digest = strdup(digest);
    if (!loading.entry->digest) {
        hub_error(error, HUB_ERROR_MEMORY, "dataset %s: no memory to load it", loading.name);
        goto out;
    }
    if (read_shape(&loading, dataset, error) || read_features(&loading, dataset, error) ||
        (rows_is_source(dataset) ? count_documents(&loading, dataset, error)
                                 : each_part(&loading, dataset, count_rows, error)))
        goto out;
    if (!loading.entry->data.rows) {
        result = 0;
        goto out;
    }
    if (mapped)
        drop_maps(cache, digest);
    if (mapped ? map_split(cache, &loading, dataset, error)
               : allocate(cache, &loading, error) || each_part(&loading, dataset, load_part, error))
        goto out;
    loading.entry->next = cache->entries;
    cache->entries = loading.entry;
    cache->bytes += loading.entry->bytes;
    *data = loading.entry->data;
    loading.entry = NULL;
    result = 1;
out:
    entry_free(loading.entry);
    return result;
}
