/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TESTS_RUNNER_VALUES_H
#define TL_TESTS_RUNNER_VALUES_H

/* Datasets with values for labels beside the fixture's classes. */
#include "fixture.h"

/* Rows of four features. line: two targets that are linear in them; else one target or class that says whether the first
 * two add up to more than 0. */
static inline void save_split(struct dataset_writer *writer, const char *split, const char *kind, int64_t rows, uint64_t seed)
{
    enum { FEATURES = 4 };
    struct kernel_error why = {0};
    bool line = !strcmp(kind, "line"), classes = !strcmp(kind, "classes");
    int64_t outputs = line ? 2 : 1;
    struct safetensors_tensor tensors[] = {
        {.name = (char *)"x", .dtype = SAFETENSORS_F32, .rank = 2, .shape = {rows, FEATURES}},
        {.name = (char *)"y", .dtype = classes ? SAFETENSORS_I64 : SAFETENSORS_F32, .rank = line ? 2 : 1,
         .shape = {rows, outputs}}};
    size_t length, x_bytes = (size_t)rows * FEATURES * 4, y_bytes = (size_t)(rows * outputs) * (classes ? 8 : 4);
    uint8_t *header = safetensors_header_new(tensors, 2, NULL, 0, &length, &why);
    cr_assert_not_null(header, "%s", why.message);
    uint8_t *file = malloc(length + x_bytes + y_bytes), *y = file + length + x_bytes;
    cr_assert_not_null(file);
    memcpy(file, header, length);
    for (int64_t row = 0; row < rows; row++) {
        float x[FEATURES];
        for (int i = 0; i < FEATURES; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            x[i] = (float)(seed >> 40) / (float)(1 << 23) - 1.0f;
        }
        float both[] = {2.0f * x[0] - x[1] + 0.5f, x[2] + x[3]}, yes = x[0] + x[1] > 0 ? 1.0f : 0.0f;
        int64_t class = yes > 0;
        memcpy(file + length + (size_t)row * sizeof x, x, sizeof x);
        if (line)
            memcpy(y + (size_t)row * sizeof both, both, sizeof both);
        else if (classes)
            memcpy(y + (size_t)row * sizeof class, &class, sizeof class);
        else
            memcpy(y + (size_t)row * sizeof yes, &yes, sizeof yes);
    }
    cr_assert_geq(dataset_writer_part(writer, split, rows, file, length + x_bytes + y_bytes, error), 0, "%s", error->message);
    free(header);
    free(file);
}

static inline void save_kind(const char *name, const char *kind, int64_t rows)
{
    bson_t dataset, *fields = json("{'name': '%s', 'input_shape': [4], %s,"
                                   " 'features': {'dtype': 'F32', 'scale': 1.0, 'offset': 0.0}}", name,
                                   !strcmp(kind, "classes") ? "'label': 'class', 'classes': 2"
                                   : !strcmp(kind, "line")  ? "'label': 'value', 'outputs': 2"
                                                            : "'label': 'value'");
    struct dataset_writer *writer = dataset_writer_open(hub, fields, error);
    cr_assert_not_null(writer, "%s", error->message);
    save_split(writer, "train", kind, rows, 1);
    save_split(writer, "validation", kind, rows / 5, 2);
    save_split(writer, "test", kind, rows / 5, 3);
    cr_assert_eq(dataset_writer_finish(writer, &dataset, error), 1, "%s", error->message);
    dataset_writer_close(writer);
    bson_destroy(&dataset);
    bson_destroy(fields);
}

#endif
