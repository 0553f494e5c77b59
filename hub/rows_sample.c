/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rows_sample.h"

#include "hub/hub_impl.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { COLUMNS = 4096, DEPTH = 16, ROW_VALUES = 1 << 24 };

struct rows_sample {
    bson_t *dataset;
    const char *name, *label_field, *columns[COLUMNS];
    size_t column_count;
    int64_t features, classes, outputs;
    bson_t class_names; /* a view */
    bool named;
    int64_t row;
};

static bool array_of(const bson_t *dataset, const char *key, bson_t *view)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, dataset, key) && BSON_ITER_HOLDS_ARRAY(&at) && hub_item(&at, view);
}

/* ---- the manifest ---- */

static int refuse(const struct rows_sample *sample, const char *what, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "dataset %s: %s", sample->name, what);
}

static int read_shape(struct rows_sample *sample, bson_error_t *error)
{
    const bson_t *dataset = sample->dataset;
    const char *label = hub_text(dataset, "label"), *dtype = hub_text(dataset, "features.dtype");
    bson_t dims;
    bson_iter_t at;
    int64_t features = 1;
    if (!array_of(dataset, "input_shape", &dims) || !bson_iter_init(&at, &dims))
        return refuse(sample, "the manifest has no input_shape", error);
    while (bson_iter_next(&at)) {
        int64_t dim = BSON_ITER_HOLDS_INT(&at) ? bson_iter_as_int64(&at) : 0;
        if (dim < 1 || dim > ROW_VALUES || (features *= dim) > ROW_VALUES)
            return refuse(sample, "the manifest's input_shape cannot be that of a row", error);
    }
    if (dtype && strcmp(dtype, "F32"))
        return refuse(sample, "rows are F32: features.dtype cannot be another", error);
    sample->features = features;
    if (!label || !strcmp(label, "class")) {
        sample->classes = hub_number(dataset, "classes", 0);
        if (sample->classes < 1 || sample->classes > INT32_MAX)
            return refuse(sample, "the manifest has no number of classes", error);
        sample->named = array_of(dataset, "class_names", &sample->class_names);
    } else if (!strcmp(label, "value")) {
        sample->outputs = hub_number(dataset, "outputs", 1);
        if (sample->outputs < 1 || sample->outputs > ROW_VALUES)
            return refuse(sample, "the manifest's outputs cannot be those of a row", error);
    } else if (strcmp(label, "none")) {
        return refuse(sample, "label is neither class nor value nor none", error);
    }
    return 0;
}

static int read_columns(struct rows_sample *sample, bson_error_t *error)
{
    bson_t columns;
    bson_iter_t at;
    sample->label_field = hub_text(sample->dataset, "label_field");
    if (!sample->label_field)
        sample->label_field = "label";
    if (!array_of(sample->dataset, "columns", &columns) || !bson_iter_init(&at, &columns)) {
        sample->columns[sample->column_count++] = "x";
        return 0;
    }
    while (bson_iter_next(&at)) {
        if (!BSON_ITER_HOLDS_UTF8(&at) || sample->column_count == COLUMNS)
            return refuse(sample, "columns must be names, at most 4096", error);
        sample->columns[sample->column_count++] = bson_iter_utf8(&at, NULL);
    }
    return sample->column_count ? 0 : refuse(sample, "columns is empty", error);
}

/* ---- one document ---- */

static int bad_row(const struct rows_sample *sample, const char *field, const char *what, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "dataset %s: row %" PRId64 " of the selection: %s: %s", sample->name,
                     sample->row, field, what);
}

/* A number, or numbers in arrays, to out[*count …]. */
static int take_numbers(const struct rows_sample *sample, const char *field, const bson_iter_t *value, float *out,
                        int64_t *count, int64_t most, int depth, bson_error_t *error)
{
    bson_iter_t element;
    if (BSON_ITER_HOLDS_NUMBER(value) || BSON_ITER_HOLDS_BOOL(value)) {
        float number = BSON_ITER_HOLDS_BOOL(value) ? (float)bson_iter_bool(value) : (float)bson_iter_as_double(value);
        if (*count == most)
            return bad_row(sample, field, "more numbers than the dataset says", error);
        if (!isfinite(number))
            return bad_row(sample, field, "a number that is not finite, or beyond a float", error);
        out[(*count)++] = number;
        return 0;
    }
    if (!BSON_ITER_HOLDS_ARRAY(value) || depth == DEPTH || !bson_iter_recurse(value, &element))
        return bad_row(sample, field, "neither a number nor an array of numbers", error);
    while (bson_iter_next(&element))
        if (take_numbers(sample, field, &element, out, count, most, depth + 1, error))
            return -1;
    return 0;
}

static int take_x(struct rows_sample *sample, const bson_t *row, float *x, bson_error_t *error)
{
    int64_t count = 0;
    bson_iter_t root, value;
    for (size_t i = 0; i < sample->column_count; i++) {
        const char *column = sample->columns[i];
        if (!bson_iter_init(&root, row) || !bson_iter_find_descendant(&root, column, &value))
            return bad_row(sample, column, "it is missing ($ifNull in a pipeline can fill it)", error);
        if (take_numbers(sample, column, &value, x, &count, sample->features, 0, error))
            return -1;
    }
    return count == sample->features
               ? 0
               : bad_row(sample, sample->columns[0], "fewer numbers than the dataset says", error);
}

static int take_class(const struct rows_sample *sample, const bson_iter_t *value, void *y, bson_error_t *error)
{
    double number = -1;
    bson_iter_t name;
    if (BSON_ITER_HOLDS_NUMBER(value)) {
        number = bson_iter_as_double(value);
    } else if (BSON_ITER_HOLDS_BOOL(value)) {
        number = bson_iter_bool(value);
    } else if (BSON_ITER_HOLDS_UTF8(value) && sample->named && bson_iter_init(&name, &sample->class_names)) {
        for (int i = 0; bson_iter_next(&name); i++)
            if (BSON_ITER_HOLDS_UTF8(&name) && !strcmp(bson_iter_utf8(&name, NULL), bson_iter_utf8(value, NULL)))
                number = i;
    }
    if (!(number >= 0 && number < (double)sample->classes) || number != floor(number))
        return bad_row(sample, sample->label_field, "it is none of the dataset's classes", error);
    int32_t class = (int32_t)number;
    memcpy(y, &class, sizeof class);
    return 0;
}

static int take_label(const struct rows_sample *sample, const bson_t *row, void *y, bson_error_t *error)
{
    bson_iter_t root, value;
    int64_t count = 0;
    if (!sample->classes && !sample->outputs)
        return 0;
    if (!bson_iter_init(&root, row) || !bson_iter_find_descendant(&root, sample->label_field, &value))
        return bad_row(sample, sample->label_field, "the label is missing", error);
    if (sample->classes)
        return take_class(sample, &value, y, error);
    if (take_numbers(sample, sample->label_field, &value, y, &count, sample->outputs, 0, error))
        return -1;
    return count == sample->outputs
               ? 0
               : bad_row(sample, sample->label_field, "fewer numbers than the dataset says", error);
}

/* ---- the interface ---- */

struct rows_sample *rows_sample_new(const bson_t *dataset, bson_error_t *error)
{
    struct rows_sample *sample = bson_aligned_alloc0(_Alignof(struct rows_sample), sizeof *sample);
    sample->dataset = bson_copy(dataset);
    sample->name = hub_text(sample->dataset, "name");
    if (sample->name == NULL) {
        sample->name = "";
    }
    if (read_shape(sample, error) || read_columns(sample, error)) {
        rows_sample_free(sample);
        return NULL;
    }
    return sample;
}

void rows_sample_free(struct rows_sample *sample)
{
    if (sample == NULL) {
        return;
    }
    bson_destroy(sample->dataset);
    bson_free(sample);
}

int64_t rows_sample_features(const struct rows_sample *sample)
{
    return sample->features;
}

int64_t rows_sample_classes(const struct rows_sample *sample)
{
    return sample->classes;
}

int64_t rows_sample_outputs(const struct rows_sample *sample)
{
    return sample->outputs;
}

int rows_sample_take(struct rows_sample *sample, const bson_t *row, float *x, void *y, const char **split, bson_error_t *error)
{
    bson_iter_t at;
    *split = "train";
    sample->row++;
    if (bson_iter_init_find(&at, row, "split")) {
        *split = BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : "";
        size_t length = strlen(*split);
        if (length == 0 || length > 64 || (*split)[strcspn(*split, ".$")] != '\0') {
            return bad_row(sample, "split", "1 to 64 bytes without '.' and '$'", error);
        }
    }
    return take_x(sample, row, x, error) || take_label(sample, row, y, error) ? -1 : 0;
}
