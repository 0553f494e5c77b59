/* SPDX-License-Identifier: Apache-2.0 */
/* The hub from a C program, with nothing but the installed library:
 *
 *     cc example.c $(pkg-config --cflags --libs tl_hub) -o example
 *     ./example sqlite:example.db
 *
 * It connects, saves a small dataset, asks for a training and finds it again, saves a log and a model, searches, and
 * deletes. `tl_hub run-task --hub sqlite:example.db --until-empty` would train what it asks for. */
#include <hub/tl_hub.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every function of the library fills the same error; a program decides what to do with it. */
static bson_error_t error;

static void check(int64_t result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "example: %s: %s\n", what, error.message);
        exit(1);
    }
}

static long long number(const bson_t *document, const char *key)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, document, key) ? (long long)bson_iter_as_int64(&iter) : 0;
}

static const char *text(const bson_t *document, const char *key)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, document, key) && BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "";
}

/* ---- datasets: rows of floats and a class each, as a safetensors file in memory ---- */

enum { ROWS = 60, FEATURES = 2, CLASSES = 3 };

/* Three clouds of points around three corners. */
static void make_rows(float x[ROWS][FEATURES], int64_t y[ROWS])
{
    for (int i = 0; i < ROWS; i++) {
        y[i] = i % CLASSES;
        x[i][0] = (float)(y[i] == 0) + 0.01f * (float)(i * 7 % 11);
        x[i][1] = (float)(y[i] == 1) + 0.01f * (float)(i * 5 % 13);
    }
}

/* A safetensors file: 8 bytes length of the header, little-endian; the header in JSON; the tensors. Free it. */
static uint8_t *make_file(const char *header, const void *first, size_t first_size, const void *second, size_t second_size,
                          size_t *length)
{
    size_t padded = (strlen(header) + 7) / 8 * 8;
    uint8_t *file = malloc(8 + padded + first_size + second_size);
    if (file == NULL) {
        exit(1);
    }
    for (int i = 0; i < 8; i++) {
        file[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    }
    memset(file + 8, ' ', padded);
    memcpy(file + 8, header, strlen(header));
    memcpy(file + 8 + padded, first, first_size);
    memcpy(file + 8 + padded + first_size, second, second_size);
    *length = 8 + padded + first_size + second_size;
    return file;
}

static uint8_t *make_part(size_t *length)
{
    float x[ROWS][FEATURES];
    int64_t y[ROWS];
    char header[300];
    make_rows(x, y);
    snprintf(header, sizeof header,
             "{\"x\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]},"
             "\"y\":{\"dtype\":\"I64\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]}}",
             ROWS, FEATURES, sizeof x, ROWS, sizeof x, sizeof x + sizeof y);
    return make_file(header, x, sizeof x, y, sizeof y, length);
}

static void save_dataset(struct hub *hub)
{
    size_t length;
    bson_t dataset;
    uint8_t *file = make_part(&length);
    bson_t *fields = BCON_NEW("name", "clouds", "description", "three clouds of points", "tags", "[", "example", "]",
                              "input_shape", "[", BCON_INT32(FEATURES), "]", "label", "class", "classes", BCON_INT32(CLASSES),
                              "features", "{", "dtype", "F32", "}", "origin", "made up"); /* any further keys */
    struct dataset_writer *writer = dataset_writer_open(hub, fields, &error);
    check(writer != NULL ? 1 : -1, "dataset");
    check(dataset_writer_part(writer, "train", ROWS, file, length, &error), "dataset");
    check(dataset_writer_part(writer, "validation", ROWS, file, length, &error), "dataset");
    check(dataset_writer_finish(writer, &dataset, &error), "dataset"); /* 0: these bytes are there already */
    dataset_writer_close(writer);
    printf("dataset clouds, version %lld, %lld rows\n", number(&dataset, "version"),
           number(&dataset, "rows"));
    bson_destroy(&dataset);
    bson_destroy(fields);
    free(file);
}

/* ---- tasks ---- */

static void create_and_find_tasks(struct hub *hub)
{
    bson_t task;
    const bson_t *found;
    bson_t *fields = BCON_NEW("name", "clouds-mlp", "kind", "train", "dataset", "{", "name", "clouds", "}", "architecture",
                              "dense:8:relu dense:3", "hyper_parameters", "{", "epochs", BCON_INT32(5), "batch_size",
                              BCON_INT32(16), "learning_rate", BCON_DOUBLE(0.01), "}", "result_keys", "[", "validation_accuracy",
                              "]");
    check(task_create(hub, fields, &task, &error), "create-task");
    bson_destroy(&task);
    bson_destroy(fields);

    bson_t *filter = BCON_NEW("state", "{", "$in", "[", "ready", "running", "]", "}"); /* unfinished ones too */
    bson_t *sort = BCON_NEW("seq", BCON_INT32(1));
    struct store_find_options options = {.sort = sort};
    struct store_cursor *cursor = task_find(hub, filter, &options, &error);
    check(cursor != NULL ? 1 : -1, "find-task");
    int next;
    while ((next = store_cursor_next(cursor, &found, &error)) == 1) {
        printf("task #%lld %s: %s\n", number(found, "seq"), text(found, "name"),
               text(found, "state"));
    }
    check(next, "find-task");
    store_cursor_close(cursor);
    bson_destroy(sort);
    bson_destroy(filter);
}

/* ---- logs and models ---- */

static int print_log(const bson_t *bucket, void *data)
{
    (void)data;
    char *json = bson_as_relaxed_extended_json(bucket, NULL);
    printf("log %s\n", json);
    bson_free(json);
    return 0; /* go on */
}

static void save_and_read_logs(struct hub *hub)
{
    bson_t *filter = BCON_NEW("name", "by hand");
    for (int epoch = 1; epoch <= 2; epoch++) {
        bson_t *point = BCON_NEW("name", "by hand", "split", "validation", "epoch", BCON_INT32(epoch), "accuracy",
                                 BCON_DOUBLE(0.5 + 0.1 * epoch));
        check(logs_save(hub, point, &error), "save a log");
        bson_destroy(point);
    }
    check(logs_read(hub, NULL, filter, print_log, NULL, &error), "find-log");
    check(logs_delete_buckets(hub, filter, &error), "delete-log");
    bson_destroy(filter);
}

/* Weights come from wherever they are, piece by piece. */
struct weights {
    const uint8_t *data;
    size_t left;
};

static int64_t read_weights(void *data, void *buffer, size_t size)
{
    struct weights *weights = data;
    size = size < weights->left ? size : weights->left;
    memcpy(buffer, weights->data, size);
    weights->data += size;
    weights->left -= size;
    return (int64_t)size;
}

static void save_and_find_models(struct hub *hub)
{
    const float one = 1;
    size_t length;
    uint8_t *file = make_file("{\"bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", &one, sizeof one, "", 0, &length);
    struct weights weights = {file, length};
    bson_t model, words;
    bson_t *fields = BCON_NEW("name", "constant", "description", "says one", "accuracy", BCON_DOUBLE(0.33), "loss",
                              BCON_DOUBLE(1.1), "tags", "[", "baseline", "]");
    check(model_save(hub, fields, read_weights, &weights, &model, &error), "save a model");
    bson_destroy(&model);
    bson_destroy(fields);

    /* Keyword search: every word of the text, in any of name, description and tags. */
    hub_split_words("Baseline says", &words);
    bson_t *filter = BCON_NEW("words", "{", "$all", BCON_ARRAY(&words), "}");
    bson_t *sort = BCON_NEW("accuracy", BCON_INT32(-1));
    int found = model_find_one(hub, filter, sort, &model, &error);
    check(found, "find-model");
    if (found > 0) {
        printf("model %s, %lld bytes of weights\n", text(&model, "name"),
               number(&model, "bytes"));
    }
    bson_destroy(&model);
    check(model_delete(hub, filter, &error), "delete-model");
    bson_destroy(sort);
    bson_destroy(filter);
    bson_destroy(&words);
    free(file);
}

int main(int argc, char **argv)
{
    const char *uri = argc > 1 ? argv[1] : "sqlite:example.db";
    struct gc_report report;
    struct hub *hub = hub_open(uri, NULL, HUB_OPEN_CREATE, &error);
    check(hub != NULL ? 1 : -1, "connect");
    save_dataset(hub);
    create_and_find_tasks(hub);
    save_and_read_logs(hub);
    save_and_find_models(hub);
    check(gc_run(hub, 1000, false, &report, &error), "gc"); /* what nothing points to any more */
    printf("gc: %lld blobs deleted, %lld kept\n", (long long)report.blobs_deleted, (long long)report.blobs_kept);
    hub_close(hub);
    return 0;
}
