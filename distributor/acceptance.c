/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/acceptance.h"

#include "distributor/hyper_parameters.h"
#include "distributor/metric_names.h"
#include "distributor/refusal.h"
#include "hub/architecture_record.h"
#include "hub/dataset.h"
#include "hub/model.h"
#include "kernels/architecture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An architecture that passed: its text as it stood in the task, and what comes of it. */
struct accepted {
    char *text;       /* the key */
    char *graph_json; /* canonical */
    char digest[65];
    bson_t *saved; /* the record's {text} or {graph}, where text was a saved one's name; else NULL */
    bool done;     /* is in `architectures` */
};

struct acceptance {
    struct hub *hub;
    bool dataset_fixed;
    bool dataset_found;
    bson_t dataset;         /* the manifest */
    bson_t query;           /* that found it */
    char name[256];         /* of the dataset, for messages */
    char label[16];         /* "class", "value", "" */
    struct shape shape;     /* of one row; rank 0: not known */
    int64_t outputs;        /* classes, or values per row; 0: not known */
    struct accepted *table; /* open addressing; capacity is a power of two */
    size_t count, capacity;
};

static uint64_t hash(const char *text)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

static void forget_architectures(struct acceptance *acceptance)
{
    for (size_t i = 0; i < acceptance->capacity; i++) {
        free(acceptance->table[i].text);
        free(acceptance->table[i].graph_json);
        if (acceptance->table[i].saved)
            bson_destroy(acceptance->table[i].saved);
    }
    free(acceptance->table);
    acceptance->table = NULL;
    acceptance->count = acceptance->capacity = 0;
}

static struct accepted *slot_of(const struct acceptance *acceptance, const char *text)
{
    size_t i = hash(text) & (acceptance->capacity - 1);
    while (acceptance->table[i].text && strcmp(acceptance->table[i].text, text))
        i = (i + 1) & (acceptance->capacity - 1);
    return &acceptance->table[i];
}

static int make_room(struct acceptance *acceptance, bson_error_t *error)
{
    if (2 * (acceptance->count + 1) <= acceptance->capacity)
        return 0;
    size_t old_capacity = acceptance->capacity, capacity = old_capacity ? 2 * old_capacity : 16;
    struct accepted *old = acceptance->table, *table = calloc(capacity, sizeof *table);
    if (!table)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the architectures");
    acceptance->table = table;
    acceptance->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].text)
            *slot_of(acceptance, old[i].text) = old[i];
    free(old);
    return 0;
}

/* ---- the dataset ---- */

/* What the manifest says of rows and labels; foreign manifests may say anything. */
static int learn_dataset(struct acceptance *acceptance, bson_error_t *error)
{
    const bson_t *dataset = &acceptance->dataset;
    bson_iter_t at, dims;
    const char *name = "the dataset";
    forget_architectures(acceptance);
    acceptance->shape = (struct shape){0};
    acceptance->outputs = 0;
    acceptance->label[0] = '\0';
    if (bson_iter_init_find(&at, dataset, "name") && BSON_ITER_HOLDS_UTF8(&at))
        name = bson_iter_utf8(&at, NULL);
    snprintf(acceptance->name, sizeof acceptance->name, "%s", name);
    name = acceptance->name;
    if (bson_iter_init_find(&at, dataset, "label") && BSON_ITER_HOLDS_UTF8(&at))
        snprintf(acceptance->label, sizeof acceptance->label, "%s", bson_iter_utf8(&at, NULL));
    if (acceptance->label[0] && strcmp(acceptance->label, "class") && strcmp(acceptance->label, "value"))
        return hub_error(error, HUB_ERROR_INVALID, "dataset %s: label '%s' is neither class nor value", name,
                         acceptance->label);
    if (bson_iter_init_find(&at, dataset, strcmp(acceptance->label, "value") ? "classes" : "outputs") &&
        BSON_ITER_HOLDS_NUMBER(&at))
        acceptance->outputs = bson_iter_as_int64(&at);
    if (acceptance->outputs < 0 || acceptance->outputs > ARCHITECTURE_DIMENSION)
        return hub_error(error, HUB_ERROR_INVALID, "dataset %s: %lld classes cannot be", name,
                         (long long)acceptance->outputs);
    if (!bson_iter_init_find(&at, dataset, "input_shape"))
        return 0;
    if (!BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &dims))
        return hub_error(error, HUB_ERROR_INVALID, "dataset %s: input_shape is no list", name);
    while (bson_iter_next(&dims)) {
        int64_t dim = BSON_ITER_HOLDS_NUMBER(&dims) ? bson_iter_as_int64(&dims) : 0;
        if (dim < 1 || dim > ARCHITECTURE_DIMENSION || acceptance->shape.rank == SHAPE_RANK)
            return hub_error(error, HUB_ERROR_INVALID, "dataset %s: input_shape cannot be that of a row", name);
        acceptance->shape.dims[acceptance->shape.rank++] = dim;
    }
    return 0;
}

/* "fashion, iris" into text: the first names of a collection, for a message that says what there is. */
static void list_datasets(struct hub *hub, char *text, size_t size)
{
    const bson_t *dataset;
    bson_error_t ignored;
    size_t used = 0;
    char last[256] = "";
    bson_t *sort = BCON_NEW("name", BCON_INT32(1)), *projection = BCON_NEW("name", BCON_INT32(1));
    struct store_find_options options = {.sort = sort, .projection = projection, .limit = 200};
    struct store_cursor *cursor = dataset_find(hub, NULL, &options, &ignored);
    text[0] = '\0';
    while (cursor && store_cursor_next(cursor, &dataset, &ignored) == 1) {
        bson_iter_t at;
        if (!bson_iter_init_find(&at, dataset, "name") || !BSON_ITER_HOLDS_UTF8(&at))
            continue;
        const char *name = bson_iter_utf8(&at, NULL);
        if (!strcmp(name, last))
            continue; /* another version */
        snprintf(last, sizeof last, "%s", name);
        if (used + strlen(last) + 8 >= size) {
            snprintf(text + used, size - used, ", …");
            break;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", last);
    }
    store_cursor_close(cursor);
    bson_destroy(sort);
    bson_destroy(projection);
}

/* The first key that is an operator, or NULL: documents hold none, and a task's query is part of its document. */
static const char *operator_of(const bson_iter_t *document)
{
    bson_iter_t inner;
    if (!bson_iter_recurse(document, &inner))
        return NULL;
    while (bson_iter_next(&inner)) {
        const char *found = bson_iter_key(&inner);
        if (*found != '$')
            found = BSON_ITER_HOLDS_DOCUMENT(&inner) || BSON_ITER_HOLDS_ARRAY(&inner) ? operator_of(&inner) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

/* A filter field as a document: {name: it} for a string. 1, 0 where it is missing, -1. */
static int query_of(const bson_t *fields, const char *name, bson_t *query, bson_error_t *error)
{
    bson_iter_t at;
    bson_init(query);
    if (!bson_iter_init_find(&at, fields, name))
        return 0;
    if (BSON_ITER_HOLDS_UTF8(&at) && *bson_iter_utf8(&at, NULL)) {
        BSON_APPEND_UTF8(query, "name", bson_iter_utf8(&at, NULL));
        return 1;
    }
    if (BSON_ITER_HOLDS_DOCUMENT(&at)) {
        uint32_t length;
        const uint8_t *data;
        bson_t view;
        const char *first = operator_of(&at);
        if (first)
            return hub_error(error, HUB_ERROR_INVALID, "%s: a task's query cannot hold %.40s; only equalities", name,
                             first);
        bson_iter_document(&at, &length, &data);
        if (bson_init_static(&view, data, length)) {
            bson_concat(query, &view);
            return 1;
        }
    }
    return hub_error(error, HUB_ERROR_INVALID, "%s: must be a name or a query document", name);
}

static int not_found(const struct acceptance *acceptance, const char *what, const bson_t *query, bson_error_t *error)
{
    char names[256];
    bson_iter_t at;
    char *json = bson_count_keys(query) == 1 && bson_iter_init_find(&at, query, "name") && BSON_ITER_HOLDS_UTF8(&at)
                     ? bson_strdup_printf("'%s'", bson_iter_utf8(&at, NULL))
                     : bson_as_relaxed_extended_json(query, NULL);
    if (strcmp(what, "dataset")) {
        hub_error(error, HUB_ERROR_NOT_FOUND, "%s: nothing in project '%s' matches %s", what,
                  hub_project(acceptance->hub), json ? json : "the query");
    } else {
        list_datasets(acceptance->hub, names, sizeof names);
        hub_error(error, HUB_ERROR_NOT_FOUND, "dataset: nothing in project '%s' matches %s; there %s%s",
                  hub_project(acceptance->hub), json ? json : "the query", *names ? "is: " : "are no datasets yet",
                  names);
    }
    bson_free(json);
    return -1;
}

static int find_dataset(struct acceptance *acceptance, const bson_t *fields, bson_error_t *error)
{
    bson_t query, found;
    int result = -1, there = query_of(fields, "dataset", &query, error);
    bson_init(&found);
    if (there < 0)
        goto out;
    if (!there) {
        hub_error(error, HUB_ERROR_INVALID, "dataset: missing; name a dataset to train on");
        goto out;
    }
    if (acceptance->dataset_fixed || (acceptance->dataset_found && bson_equal(&query, &acceptance->query))) {
        result = 0;
        goto out;
    }
    bson_destroy(&found);
    int matched = dataset_find_one(acceptance->hub, &query, &found, error);
    if (matched < 1) {
        if (!matched)
            not_found(acceptance, "dataset", &query, error);
        goto out;
    }
    acceptance->dataset_found = false;
    bson_destroy(&acceptance->dataset);
    bson_destroy(&acceptance->query);
    bson_copy_to(&found, &acceptance->dataset);
    bson_copy_to(&query, &acceptance->query);
    if (learn_dataset(acceptance, error))
        goto out;
    acceptance->dataset_found = true;
    result = 0;
out:
    bson_destroy(&query);
    bson_destroy(&found);
    return result;
}

struct acceptance *acceptance_new(struct hub *hub, const bson_t *dataset, bson_error_t *error)
{
    /* bson_t asks for more alignment than calloc gives */
    struct acceptance *acceptance = aligned_alloc(_Alignof(struct acceptance), sizeof *acceptance);
    if (!acceptance) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory to check tasks");
        return NULL;
    }
    *acceptance = (struct acceptance){.hub = hub};
    bson_init(&acceptance->query);
    bson_init(&acceptance->dataset);
    if (dataset) {
        bson_destroy(&acceptance->dataset);
        bson_copy_to(dataset, &acceptance->dataset);
        acceptance->dataset_fixed = true;
        if (learn_dataset(acceptance, error)) {
            acceptance_free(acceptance);
            return NULL;
        }
    }
    return acceptance;
}

void acceptance_free(struct acceptance *acceptance)
{
    if (!acceptance)
        return;
    forget_architectures(acceptance);
    bson_destroy(&acceptance->dataset);
    bson_destroy(&acceptance->query);
    free(acceptance);
}

/* ---- the architecture ---- */

/* *graph_json is new (free). */
static int check_text(const struct acceptance *acceptance, const char *text, char **graph_json, bson_error_t *error)
{
    struct kernel_error why = {0};
    int result = -1;
    *graph_json = NULL;
    struct architecture *architecture = architecture_parse(text, &why);
    if (!architecture)
        return refusal(error, "architecture", &why);
    if (architecture->input_count != 1 || architecture->output_count != 1) {
        hub_error(error, HUB_ERROR_INVALID, "architecture: %d inputs and %d outputs; a dataset has one of each",
                  architecture->input_count, architecture->output_count);
        goto out;
    }
    const struct shape *own = &architecture->inputs[0].shape, *given = &acceptance->shape;
    if (own->rank && given->rank && shape_size(own) != shape_size(given)) {
        char a[96], b[96];
        hub_error(error, HUB_ERROR_INVALID, "architecture: input %s has shape %s, a row of %s %s",
                  architecture->inputs[0].name, shape_format(own, a, sizeof a), acceptance->name,
                  shape_format(given, b, sizeof b));
        goto out;
    }
    if (!own->rank && !given->rank) {
        hub_error(error, HUB_ERROR_INVALID,
                  "architecture: the input's shape is not known: dataset %s has no "
                  "input_shape",
                  acceptance->name);
        goto out;
    }
    if (architecture_check(architecture, own->rank ? NULL : given, acceptance->outputs, NULL, &why)) {
        refusal(error, "architecture", &why);
        goto out;
    }
    *graph_json = architecture_to_json(architecture);
    if (!*graph_json)
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the architecture");
    else
        result = 0;
out:
    architecture_free(architecture);
    return result;
}

/* One word: the name of a saved architecture where there is one, as runners see it too; else the short form. */
static bool is_word(const char *text)
{
    return *text && !strpbrk(text, " :\t\n{");
}

/* The record's text, where it has one, or its graph as JSON. New (bson_free), NULL where it has neither. */
static char *text_of_record(const bson_t *record, bson_t *saved)
{
    bson_iter_t at;
    uint32_t length;
    const uint8_t *data;
    bson_t graph;
    if (bson_iter_init_find(&at, record, "text") && BSON_ITER_HOLDS_UTF8(&at)) {
        BSON_APPEND_UTF8(saved, "architecture", bson_iter_utf8(&at, NULL));
        return bson_strdup(bson_iter_utf8(&at, NULL));
    }
    if (!bson_iter_init_find(&at, record, "graph") || !BSON_ITER_HOLDS_DOCUMENT(&at))
        return NULL;
    bson_iter_document(&at, &length, &data);
    if (!bson_init_static(&graph, data, length))
        return NULL;
    BSON_APPEND_DOCUMENT(saved, "architecture", &graph);
    return bson_as_relaxed_extended_json(&graph, NULL);
}

/* By the name of a saved one: 1, 0 where there is none of this name, -1. */
static int check_saved(const struct acceptance *acceptance, const char *text, char **graph_json, bson_t **saved,
                       bson_error_t *error)
{
    bson_t record, *fields = bson_new();
    char *stored = NULL;
    int result = architecture_record_resolve(acceptance->hub, text, &record, error);
    if (result == 1 && !(stored = text_of_record(&record, fields)))
        result = hub_error(error, HUB_ERROR_CORRUPT, "architecture: the saved '%s' has neither text nor graph", text);
    else if (result == 1)
        result = check_text(acceptance, stored, graph_json, error) ? -1 : 1;
    bson_free(stored);
    bson_destroy(&record);
    if (result == 1)
        *saved = fields;
    else
        bson_destroy(fields);
    return result;
}

/* The entry of this text, checked now where it is new. NULL on refusal. */
static const struct accepted *accept_text(struct acceptance *acceptance, const char *text, bson_error_t *error)
{
    struct accepted new = {0};
    if (make_room(acceptance, error))
        return NULL;
    struct accepted *slot = slot_of(acceptance, text);
    if (slot->text)
        return slot;
    int found = is_word(text) ? check_saved(acceptance, text, &new.graph_json, &new.saved, error) : 0;
    if (found < 0)
        return NULL;
    if (!found && check_text(acceptance, text, &new.graph_json, error)) {
        if (is_word(text) && error) {
            bson_error_t why = *error;
            hub_error(error, hub_error_code(&why), "%s; nor is an architecture saved under that name", why.message);
        }
        return NULL;
    }
    new.text = strdup(text);
    if (!new.text) {
        free(new.graph_json);
        if (new.saved)
            bson_destroy(new.saved);
        hub_error(error, HUB_ERROR_MEMORY, "no memory for the architectures");
        return NULL;
    }
    hub_sha256(new.graph_json, strlen(new.graph_json), new.digest);
    *slot = new;
    acceptance->count++;
    return slot;
}

static int check_architecture(struct acceptance *acceptance, const bson_t *fields, bool required, bson_t *checked,
                              bson_error_t *error)
{
    bson_iter_t at;
    char *json = NULL;
    const char *text = NULL;
    if (!bson_iter_init_find(&at, fields, "architecture")) {
        if (required)
            return hub_error(error, HUB_ERROR_INVALID,
                             "architecture: missing; for example \"dense:100:relu dense:10\"");
        return 0;
    }
    if (BSON_ITER_HOLDS_UTF8(&at)) {
        text = bson_iter_utf8(&at, NULL);
    } else if (BSON_ITER_HOLDS_DOCUMENT(&at)) {
        uint32_t length;
        const uint8_t *data;
        bson_t graph;
        bson_iter_document(&at, &length, &data);
        if (bson_init_static(&graph, data, length))
            text = json = bson_as_relaxed_extended_json(&graph, NULL);
    }
    if (!text)
        return hub_error(error, HUB_ERROR_INVALID, "architecture: must be a text or a graph");
    const struct accepted *accepted = accept_text(acceptance, text, error);
    bson_free(json);
    if (!accepted)
        return -1;
    if (accepted->saved) /* what the name stood for, so that the task does not change when the name moves on */
        bson_iter_init_find(&at, accepted->saved, "architecture");
    bool done = bson_append_iter(checked, "architecture", -1, &at);
    done = done && BSON_APPEND_UTF8(checked, "architecture_digest", accepted->digest);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the task");
}

int acceptance_save_architectures(struct acceptance *acceptance, bson_error_t *error)
{
    struct architecture_entry *entries = calloc(acceptance->count + 1, sizeof *entries);
    size_t count = 0;
    if (!entries)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the architectures");
    for (size_t i = 0; i < acceptance->capacity; i++) {
        const struct accepted *accepted = &acceptance->table[i];
        if (!accepted->text || accepted->done)
            continue;
        entries[count++] = (struct architecture_entry){
            .graph_json = accepted->graph_json,
            .text = !accepted->saved && *accepted->text != '{' ? accepted->text : NULL,
        };
    }
    int64_t saved = architecture_record_save_many(acceptance->hub, entries, count, error);
    free(entries);
    for (size_t i = 0; saved >= 0 && i < acceptance->capacity; i++)
        acceptance->table[i].done = acceptance->table[i].text;
    return saved < 0 ? -1 : 0;
}

/* ---- the rest ---- */

/* A model query must find something, and what it finds must fit the dataset's rows. */
static int check_model(struct acceptance *acceptance, const bson_t *fields, const char *name, bool required,
                       bson_error_t *error)
{
    bson_t query, model;
    bson_iter_t at, dims;
    int64_t size = 1;
    int result = -1, there = query_of(fields, name, &query, error);
    bson_init(&model);
    if (there < 1) {
        if (!there && required)
            hub_error(error, HUB_ERROR_INVALID, "%s: missing; name the model, or give a query", name);
        else
            result = there;
        goto out;
    }
    bson_destroy(&model);
    int found = model_find_one(acceptance->hub, &query, NULL, &model, error);
    if (found < 1) {
        if (!found)
            not_found(acceptance, name, &query, error);
        goto out;
    }
    if (acceptance->shape.rank && bson_iter_init_find(&at, &model, "input_shape") && BSON_ITER_HOLDS_ARRAY(&at) &&
        bson_iter_recurse(&at, &dims)) {
        while (bson_iter_next(&dims) && size <= ARCHITECTURE_DIMENSION)
            size *= BSON_ITER_HOLDS_NUMBER(&dims) && bson_iter_as_int64(&dims) > 0 ? bson_iter_as_int64(&dims) : 1;
        if (size != shape_size(&acceptance->shape)) {
            hub_error(error, HUB_ERROR_INVALID, "%s: takes rows of %lld values; a row of dataset %s has %lld", name,
                      (long long)size, acceptance->name, (long long)shape_size(&acceptance->shape));
            goto out;
        }
    }
    result = 0;
out:
    bson_destroy(&query);
    bson_destroy(&model);
    return result;
}

static int check_hyper_parameters(const struct acceptance *acceptance, const bson_t *fields, bool train,
                                  bson_t *checked, const char **field, bson_error_t *error)
{
    bson_t given, complete;
    bson_iter_t at;
    uint32_t length;
    const uint8_t *data;
    bool there = bson_iter_init_find(&at, fields, "hyper_parameters");
    if (there && !BSON_ITER_HOLDS_DOCUMENT(&at))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters: must be a document");
    if (there) {
        bson_iter_document(&at, &length, &data);
        if (!bson_init_static(&given, data, length))
            return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters: not a document");
    }
    int result = hyper_parameters_check(there ? &given : NULL, acceptance->label[0] ? acceptance->label : NULL, train,
                                        &complete, field, error);
    if (!result && !bson_empty(&complete) && !BSON_APPEND_DOCUMENT(checked, "hyper_parameters", &complete))
        result = hub_error(error, HUB_ERROR_MEMORY, "no memory for the task");
    bson_destroy(&complete);
    return result;
}

int acceptance_check(struct acceptance *acceptance, const bson_t *fields, bson_t *checked, const char **field,
                     bson_error_t *error)
{
    static const char *const kinds[] = {"train", "validate", "test", "infer"};
    bson_error_t ignored;
    const char *none, *kind = "train";
    bson_iter_t at;
    bool known = false;

    bson_init(checked);
    error = error ? error : &ignored;
    field = field ? field : &none;
    *field = NULL;
    if (bson_iter_init_find(&at, fields, "kind")) {
        if (!BSON_ITER_HOLDS_UTF8(&at))
            return hub_error(error, HUB_ERROR_INVALID, "kind: must be train, validate, test or infer");
        kind = bson_iter_utf8(&at, NULL);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        known = known || !strcmp(kind, kinds[i]);
    if (!known)
        return hub_error(error, HUB_ERROR_INVALID, "kind: '%s' is not train, validate, test or infer", kind);
    bool train = !strcmp(kind, "train");
    if (find_dataset(acceptance, fields, error) || check_model(acceptance, fields, "model", !train, error) ||
        check_model(acceptance, fields, "initial_model", false, error) ||
        (train && metric_names_check(fields, &acceptance->dataset, error)))
        return -1;
    if (!bson_iter_init(&at, fields))
        return hub_error(error, HUB_ERROR_INVALID, "the task is not a document");
    while (bson_iter_next(&at)) {
        const char *key = bson_iter_key(&at);
        if (!strcmp(key, "architecture") || !strcmp(key, "architecture_digest") || !strcmp(key, "hyper_parameters"))
            continue; /* come below, checked */
        if (!bson_append_iter(checked, key, -1, &at))
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for the task");
    }
    if (check_hyper_parameters(acceptance, fields, train, checked, field, error))
        return -1;
    *field = "architecture";
    if (check_architecture(acceptance, fields, train, checked, error))
        return -1;
    *field = NULL;
    return 0;
}
