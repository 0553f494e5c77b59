/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/rows_file.h"

#include "hub/dataset.h"
#include "hub/pipeline.h"
#include "hub/query.h"
#include "hub/rows_sample.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 15 << 20, CLASSES = 100000, RANK = 8 };

struct pushing {
    struct hub *hub;
    const struct rows_file_options *options;
    FILE *file;
    char *line;
    size_t capacity;
    int64_t number;  /* of the line */
    int64_t done, total;
    const char *what;
    bson_t *document; /* of the line */
    struct pipeline *pipeline; /* NULL: none */
};

static const char *text_of(const bson_t *document, const char *key)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, document, key) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : NULL;
}

/* Puts file and line before the message. -1. */
static int blame(const struct pushing *pushing, bson_error_t *error)
{
    if (error) {
        bson_error_t inner = *error;
        hub_error(error, hub_error_code(&inner), "%s:%lld: %s", pushing->options->path, (long long)pushing->number,
                  inner.message);
    }
    return -1;
}

/* ---- the file ---- */

/* Standard input goes to a file without a name: it is read several times. */
static FILE *spool(FILE *from, bson_error_t *error)
{
    char *buffer = malloc(1 << 16);
    FILE *file = tmpfile();
    size_t got;
    bool good = file && buffer;
    while (good && (got = fread(buffer, 1, 1 << 16, from)) > 0)
        good = fwrite(buffer, 1, got, file) == got;
    free(buffer);
    if (good && !ferror(from) && !fflush(file))
        return file;
    hub_error(error, errno == ENOSPC ? HUB_ERROR_NO_SPACE : HUB_ERROR_IO, "standard input: %s", strerror(errno));
    if (file)
        fclose(file);
    return NULL;
}

static int open_file(struct pushing *pushing, bson_error_t *error)
{
    const char *path = pushing->options->path;
    if (!strcmp(path, "-")) {
        pushing->file = spool(stdin, error);
        if (!pushing->file)
            return -1;
    } else if (!(pushing->file = fopen(path, "rbe"))) {
        return hub_error(error, errno == ENOENT ? HUB_ERROR_NOT_FOUND : HUB_ERROR_IO, "%s: %s", path, strerror(errno));
    }
    if (fseek(pushing->file, 0, SEEK_END) || (pushing->total = ftell(pushing->file)) < 0)
        return hub_error(error, HUB_ERROR_IO, "%s: it must be a file that can be read twice, or -", path);
    return 0;
}

static void begin(struct pushing *pushing, const char *what)
{
    rewind(pushing->file);
    pushing->number = pushing->done = 0;
    pushing->what = what;
}

/* The next line's document: a pipeline_source. */
static int next_line(void *data, const bson_t **document, bson_error_t *error)
{
    struct pushing *pushing = data;
    bson_error_t why = {0};
    ssize_t length;
    while ((length = getline(&pushing->line, &pushing->capacity, pushing->file)) >= 0) {
        pushing->number++;
        pushing->done += length;
        if (pushing->options->progress && pushing->number % 1024 == 0)
            pushing->options->progress(pushing->what, pushing->done, pushing->total, pushing->options->data);
        if (pushing->line[strspn(pushing->line, " \t\r\n")] == '\0' && strlen(pushing->line) == (size_t)length)
            continue;
        bson_destroy(pushing->document);
        pushing->document = NULL;
        if (length > LINE_BYTES) {
            hub_error(error, HUB_ERROR_INVALID, "a line of more than %d MiB", LINE_BYTES >> 20);
            return blame(pushing, error);
        }
        if (strlen(pushing->line) != (size_t)length || pushing->line[strspn(pushing->line, " \t")] != '{' ||
            !(pushing->document = bson_new_from_json((const uint8_t *)pushing->line, length, &why))) {
            hub_error(error, HUB_ERROR_INVALID, "it is no JSON object: %s",
                      pushing->line[strspn(pushing->line, " \t")] == '{' ? why.message : "a line must begin with {");
            return blame(pushing, error);
        }
        if (query_check_document(pushing->document, "row", error))
            return blame(pushing, error);
        *document = pushing->document;
        return 1;
    }
    if (ferror(pushing->file))
        return hub_error(error, HUB_ERROR_IO, "%s: %s", pushing->options->path, strerror(errno));
    return 0;
}

/* visit for each document that the pipeline makes of the file. 0, or the first -1. */
static int each_sample(struct pushing *pushing, const char *what,
                       int (*visit)(struct pushing *pushing, const bson_t *document, void *data, bson_error_t *error),
                       void *data, bson_error_t *error)
{
    const bson_t *document;
    int more;
    begin(pushing, what);
    struct pipeline_run *run = pipeline_run_all_new(pushing->pipeline, next_line, pushing);
    while ((more = pipeline_run_next(run, &document, error)) == 1)
        if (visit(pushing, document, data, error)) {
            more = blame(pushing, error);
            break;
        }
    pipeline_run_free(run);
    return more;
}

/* ---- what the file holds ---- */

struct learned {
    bson_t *columns; /* names */
    const char *label_field;
    int64_t shape[RANK];
    int rank;
    int64_t features;
    bool any, texts, numbers, values, arrays, missing;
    int64_t classes, outputs;
    char **names; /* sorted */
    size_t name_count;
};

/* The numbers in a value; of arrays the first elements' lengths are the shape. -1 where it is something else. */
static int64_t measure(const bson_iter_t *value, int depth, int64_t *shape, int *rank)
{
    bson_iter_t element;
    int64_t sum = 0, length = 0;
    if (BSON_ITER_HOLDS_NUMBER(value) || BSON_ITER_HOLDS_BOOL(value))
        return 1;
    if (!BSON_ITER_HOLDS_ARRAY(value) || depth == RANK || !bson_iter_recurse(value, &element))
        return -1;
    while (bson_iter_next(&element)) {
        int64_t inner = measure(&element, depth + 1, shape, rank);
        if (inner < 0)
            return -1;
        sum += inner;
        length++;
    }
    shape[depth] = length;
    *rank = depth + 1 > *rank ? depth + 1 : *rank;
    return sum;
}

static int learn_shape(struct learned *learned, const bson_t *document, bson_error_t *error)
{
    bson_iter_t column, root, value;
    size_t columns = bson_count_keys(learned->columns);
    for (bson_iter_init(&column, learned->columns); bson_iter_next(&column);) {
        const char *name = bson_iter_utf8(&column, NULL);
        if (!bson_iter_init(&root, document) || !bson_iter_find_descendant(&root, name, &value))
            return hub_error(error, HUB_ERROR_INVALID, "'%.80s': it is missing; --columns says which fields are numbers to "
                                                       "learn from", name);
        int64_t count = measure(&value, 0, learned->shape, &learned->rank);
        if (count < 0)
            return hub_error(error, HUB_ERROR_INVALID, "'%.80s': neither a number nor an array of numbers", name);
        learned->features += count;
    }
    int64_t product = 1;
    for (int i = 0; i < learned->rank; i++)
        product *= learned->shape[i] > 0 && learned->shape[i] < 1 << 24 ? learned->shape[i] : 0;
    if (columns > 1 || learned->rank == 0 || product != learned->features) {
        learned->rank = 1;
        learned->shape[0] = learned->features;
    }
    return learned->features > 0 ? 0 : hub_error(error, HUB_ERROR_INVALID, "it has no numbers to learn from");
}

static int add_name(struct learned *learned, const char *name, bson_error_t *error)
{
    size_t low = 0, high = learned->name_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(learned->names[middle], name);
        if (order == 0)
            return 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (learned->name_count == CLASSES || strlen(name) > 200)
        return hub_error(error, HUB_ERROR_INVALID, "'%.80s': more than %d classes, or a name of more than 200 bytes",
                         learned->label_field, CLASSES);
    learned->names = bson_realloc(learned->names, (learned->name_count + 1) * sizeof *learned->names);
    memmove(learned->names + low + 1, learned->names + low, (learned->name_count - low) * sizeof *learned->names);
    learned->names[low] = bson_strdup(name);
    learned->name_count++;
    return 0;
}

static int learn_label(struct learned *learned, const bson_t *document, bson_error_t *error)
{
    bson_iter_t root, value;
    int64_t shape[RANK], outputs = 1;
    int rank = 0;
    if (!bson_iter_init(&root, document) || !bson_iter_find_descendant(&root, learned->label_field, &value)) {
        learned->missing = true;
    } else if (BSON_ITER_HOLDS_UTF8(&value)) {
        learned->texts = true;
        return add_name(learned, bson_iter_utf8(&value, NULL), error);
    } else {
        outputs = measure(&value, 0, shape, &rank);
        double number = rank == 0 && outputs == 1 && !BSON_ITER_HOLDS_BOOL(&value) ? bson_iter_as_double(&value) : 0;
        number = BSON_ITER_HOLDS_BOOL(&value) ? bson_iter_bool(&value) : number;
        if (outputs < 1)
            return hub_error(error, HUB_ERROR_INVALID, "'%.80s': a label must be a number, a text or an array of numbers",
                             learned->label_field);
        if (learned->outputs && learned->outputs != outputs)
            return hub_error(error, HUB_ERROR_INVALID, "'%.80s': other lines have %lld numbers, this one %lld",
                             learned->label_field, (long long)learned->outputs, (long long)outputs);
        learned->outputs = outputs;
        learned->numbers = true;
        learned->arrays = learned->arrays || rank > 0;
        learned->values = learned->values || rank > 0 || !(number >= 0 && number < CLASSES) || number != floor(number);
        if (!learned->values && (int64_t)number >= learned->classes)
            learned->classes = (int64_t)number + 1;
    }
    if (learned->texts + learned->numbers + learned->missing > 1)
        return hub_error(error, HUB_ERROR_INVALID, "'%.80s': texts, numbers and missing labels do not go together",
                         learned->label_field);
    return 0;
}

static int learn(struct pushing *pushing, const bson_t *document, void *data, bson_error_t *error)
{
    struct learned *learned = data;
    (void)pushing;
    if (!learned->any && learn_shape(learned, document, error))
        return -1;
    learned->any = true;
    return learn_label(learned, document, error);
}

static const char *label_kind(const struct pushing *pushing, const struct learned *learned)
{
    if (pushing->options->label)
        return pushing->options->label;
    return learned->missing ? "none" : learned->values ? "value" : "class";
}

static void append_learned(const struct pushing *pushing, const struct learned *learned, bson_t *fields)
{
    bson_t list, named;
    bson_iter_t at;
    char key[24];
    const char *kind = label_kind(pushing, learned);
    BSON_APPEND_ARRAY(fields, "columns", learned->columns);
    BSON_APPEND_UTF8(fields, "label_field", learned->label_field);
    BSON_APPEND_UTF8(fields, "label", kind);
    BSON_APPEND_ARRAY_BEGIN(fields, "input_shape", &list);
    for (int i = 0; i < learned->rank; i++) {
        snprintf(key, sizeof key, "%d", i);
        BSON_APPEND_INT32(&list, key, (int32_t)learned->shape[i]);
    }
    bson_append_array_end(fields, &list);
    if (!strcmp(kind, "value"))
        BSON_APPEND_INT32(fields, "outputs", (int32_t)(learned->outputs ? learned->outputs : 1));
    if (strcmp(kind, "class") != 0)
        return;
    int64_t classes = learned->name_count ? (int64_t)learned->name_count : learned->classes;
    if (bson_iter_init_find(&at, fields, "class_names") && BSON_ITER_HOLDS_ARRAY(&at)) {
        uint32_t length;
        const uint8_t *bytes;
        bson_iter_array(&at, &length, &bytes);
        if (bson_init_static(&named, bytes, length))
            classes = bson_count_keys(&named);
    } else if (learned->name_count) {
        BSON_APPEND_ARRAY_BEGIN(fields, "class_names", &list);
        for (size_t i = 0; i < learned->name_count; i++) {
            snprintf(key, sizeof key, "%zu", i);
            BSON_APPEND_UTF8(&list, key, learned->names[i]);
        }
        bson_append_array_end(fields, &list);
    }
    if (!bson_has_field(fields, "classes"))
        BSON_APPEND_INT32(fields, "classes", (int32_t)(classes > 0 ? classes : 1));
}

/* The fields of a dataset that is not there yet. */
static int learn_dataset(struct pushing *pushing, bson_t *fields, bson_error_t *error)
{
    const struct rows_file_options *options = pushing->options;
    struct learned learned = {.columns = bson_new(), .label_field = options->label_field ? options->label_field : "label"};
    if (options->columns && !bson_empty(options->columns))
        bson_concat(learned.columns, options->columns);
    else
        BSON_APPEND_UTF8(learned.columns, "0", "x");
    if (options->fields)
        bson_concat(fields, options->fields);
    BSON_APPEND_UTF8(fields, "name", options->name);
    if (options->pipeline)
        BSON_APPEND_UTF8(fields, "pipeline", options->pipeline);
    int result = each_sample(pushing, "reading", learn, &learned, error);
    if (result == 0 && !learned.any)
        result = hub_error(error, HUB_ERROR_NOT_FOUND, "%s: there are no rows%s", options->path,
                           options->pipeline ? " that the pipeline lets through" : "");
    if (result == 0)
        append_learned(pushing, &learned, fields);
    for (size_t i = 0; i < learned.name_count; i++)
        bson_free(learned.names[i]);
    bson_free(learned.names);
    bson_destroy(learned.columns);
    return result;
}

/* ---- against the manifest ---- */

struct checking {
    struct rows_sample *sample;
    float *x;
    void *y;
};

static int check(struct pushing *pushing, const bson_t *document, void *data, bson_error_t *error)
{
    struct checking *checking = data;
    const char *split;
    (void)pushing;
    return rows_sample_take(checking->sample, document, checking->x, checking->y, &split, error);
}

static int check_rows(struct pushing *pushing, const bson_t *dataset, bson_error_t *error)
{
    struct checking checking = {.sample = rows_sample_new(dataset, error)};
    int result = -1;
    if (!checking.sample)
        return -1;
    size_t outputs = (size_t)rows_sample_outputs(checking.sample);
    checking.x = malloc((size_t)rows_sample_features(checking.sample) * sizeof *checking.x);
    checking.y = malloc((outputs > 0 ? outputs : 1) * sizeof(float));
    if (checking.x && checking.y)
        result = each_sample(pushing, "checking", check, &checking, error);
    else
        hub_error(error, HUB_ERROR_MEMORY, "no memory for a row");
    free(checking.x);
    free(checking.y);
    rows_sample_free(checking.sample);
    return result;
}

/* ---- writing ---- */

static int64_t write_rows(struct pushing *pushing, bson_error_t *error)
{
    bson_t *batch[ROWS_BATCH];
    const bson_t *document;
    size_t count = 0, bytes = 0;
    int64_t written = 0;
    int more;
    begin(pushing, "writing");
    do {
        more = next_line(pushing, &document, error);
        if (more == 1) {
            bytes += document->len;
            batch[count++] = bson_copy(document);
        }
        if (count == ROWS_BATCH || (count > 0 && (more != 1 || bytes > 8 << 20))) {
            if (more >= 0 && rows_append(pushing->hub, pushing->options->name, (const bson_t *const *)batch, count, error) < 0)
                more = -1;
            written += more < 0 ? 0 : (int64_t)count;
            while (count > 0)
                bson_destroy(batch[--count]);
            bytes = 0;
        }
    } while (more == 1);
    return more < 0 ? -1 : written;
}

/* *dataset: the manifest that the rows are checked against. 1 there, 0 to be made of *dataset, -1. */
static int find_manifest(struct pushing *pushing, bson_t *dataset, bson_error_t *error)
{
    const struct rows_file_options *options = pushing->options;
    bson_t query = BSON_INITIALIZER, found;
    bson_t stages = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&query, "name", options->name);
    int there = dataset_find_one(pushing->hub, &query, &found, error);
    if (there > 0 && !rows_is_source(&found))
        there = hub_error(error, HUB_ERROR_INVALID, "dataset \"%.80s\" is made of parts: give the rows another name", options->name);
    const char *own = there > 0 ? text_of(&found, "pipeline") : NULL;
    const char *pipeline = options->pipeline ? options->pipeline : own;
    bool same = there > 0 && (!options->pipeline || (own && !strcmp(own, options->pipeline))) && !options->columns &&
                !options->label && !options->label_field;
    if (there >= 0 && pipeline) {
        bson_destroy(&stages);
        there = pipeline_text_read(pipeline, &stages, error) < 0 ? -1 : there;
    }
    if (there >= 0 && !(pushing->pipeline = pipeline_parse(&stages, error)))
        there = -1;
    if (there > 0 && same)
        bson_concat(dataset, &found);
    else if (there >= 0)
        there = learn_dataset(pushing, dataset, error) ? -1 : 0;
    bson_destroy(&stages);
    bson_destroy(&found);
    bson_destroy(&query);
    return there;
}

int64_t rows_file_push(struct hub *hub, const struct rows_file_options *options, bson_t *dataset, bson_error_t *error)
{
    struct pushing pushing = {.hub = hub, .options = options};
    bson_t fields = BSON_INITIALIZER;
    int64_t written = -1;
    bson_init(dataset);
    if (open_file(&pushing, error))
        goto out;
    int there = find_manifest(&pushing, &fields, error);
    if (there < 0 || check_rows(&pushing, &fields, error))
        goto out;
    if (there > 0) {
        bson_concat(dataset, &fields);
    } else {
        bson_destroy(dataset);
        if (rows_save_dataset(hub, &fields, dataset, error) < 0)
            goto out;
    }
    if (rows_begin(hub, options->name, error) > 0)
        written = write_rows(&pushing, error);
out:
    if (pushing.file)
        fclose(pushing.file);
    free(pushing.line);
    bson_destroy(pushing.document);
    pipeline_free(pushing.pipeline);
    bson_destroy(&fields);
    return written;
}
