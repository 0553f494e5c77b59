/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/acceptance.h"

#include "distributor/hyper_parameters.h"
#include "distributor/initial_weights.h"
#include "distributor/metric_names.h"
#include "distributor/needs.h"
#include "distributor/pledge.h"
#include "distributor/refusal.h"
#include "distributor/task_kind.h"
#include "distributor/task_query.h"
#include "hub/architecture_record.h"
#include "hub/dataset.h"
#include "hub/model.h"
#include "hub/model_retain.h"
#include "kernels/architecture.h"
#include "kernels/sampling.h"

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
    int64_t wanted; /* outputs that it was checked for */
    struct sampling sampling; /* and the recipe */
    struct architecture_size size; /* over the dataset's rows */
};

struct acceptance {
    struct hub *hub;
    bool dataset_fixed;
    bool dataset_found;
    bson_t dataset;         /* the manifest */
    bson_t query;           /* that found it */
    char name[256];         /* of the dataset, for messages */
    char label[16];         /* "class", "value", "none", "" */
    struct sampling sampling;  /* of the task at hand */
    struct sampling_row row;   /* what that makes of a row of the dataset */
    struct shape shape;     /* of one row; rank 0: not known */
    int64_t outputs;        /* classes, or values per row; 0: not known */
    int64_t wanted;         /* of the net, for the loss of the task at hand; 0: any */
    char started[HUB_ID_SIZE + 80]; /* "MODEL DIGEST" of the initial_model and architecture last found to go together */
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

static struct accepted *slot_of(const struct acceptance *acceptance, const char *text, int64_t wanted,
                                const struct sampling *sampling)
{
    size_t i = hash(text) & (acceptance->capacity - 1);
    while (acceptance->table[i].text &&
           (strcmp(acceptance->table[i].text, text) || acceptance->table[i].wanted != wanted ||
            acceptance->table[i].sampling.kind != sampling->kind || acceptance->table[i].sampling.window != sampling->window))
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
            *slot_of(acceptance, old[i].text, old[i].wanted, &old[i].sampling) = old[i];
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
    acceptance->started[0] = '\0';
    if (bson_iter_init_find(&at, dataset, "name") && BSON_ITER_HOLDS_UTF8(&at))
        name = bson_iter_utf8(&at, NULL);
    snprintf(acceptance->name, sizeof acceptance->name, "%s", name);
    name = acceptance->name;
    if (bson_iter_init_find(&at, dataset, "label") && BSON_ITER_HOLDS_UTF8(&at))
        snprintf(acceptance->label, sizeof acceptance->label, "%s", bson_iter_utf8(&at, NULL));
    if (acceptance->label[0] && strcmp(acceptance->label, "class") && strcmp(acceptance->label, "value") &&
        strcmp(acceptance->label, "none"))
        return hub_error(error, HUB_ERROR_INVALID, "dataset %s: label '%s' is neither class nor value nor none", name,
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

static int find_dataset(struct acceptance *acceptance, const bson_t *fields, bson_error_t *error)
{
    bson_t query, found;
    int result = -1, there = task_query_read(fields, "dataset", &query, error);
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
    if (matched == 0) {
        bson_destroy(&found);
        matched = pledge_find(acceptance->hub, fields, "dataset", &query, &found, error);
    }
    if (matched < 1) {
        if (!matched)
            task_query_not_found(acceptance->hub, "dataset", &query, error);
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
static int check_text(const struct acceptance *acceptance, const char *text, char **graph_json,
                      struct architecture_size *size, bson_error_t *error)
{
    struct kernel_error why = {0};
    int result = -1;
    *graph_json = NULL;
    struct architecture *architecture = architecture_parse(text, &why);
    if (!architecture)
        return refusal(error, "architecture", &why);
    const struct shape *own = &architecture->inputs[0].shape, *given = &acceptance->row.shape;
    struct shape shapes[ARCHITECTURE_INPUTS] = {0};
    if (!own->rank && !given->rank) {
        hub_error(error, HUB_ERROR_INVALID,
                  "architecture: the input's shape is not known: dataset %s has no "
                  "input_shape",
                  acceptance->name);
        goto out;
    }
    if (given->rank && sampling_inputs(&acceptance->sampling, architecture, given, shapes, &why)) {
        refusal(error, "architecture", &why);
        goto out;
    }
    if (architecture_check(architecture, shapes, acceptance->wanted, size, &why)) {
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
static int check_saved(const struct acceptance *acceptance, const char *text, char **graph_json,
                       struct architecture_size *size, bson_t **saved, bson_error_t *error)
{
    bson_t record, *fields = bson_new();
    char *stored = NULL;
    int result = architecture_record_resolve(acceptance->hub, text, &record, error);
    if (result == 1 && !(stored = text_of_record(&record, fields)))
        result = hub_error(error, HUB_ERROR_CORRUPT, "architecture: the saved '%s' has neither text nor graph", text);
    else if (result == 1)
        result = check_text(acceptance, stored, graph_json, size, error) ? -1 : 1;
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
    struct accepted new = {.wanted = acceptance->wanted, .sampling = acceptance->sampling};
    if (make_room(acceptance, error))
        return NULL;
    struct accepted *slot = slot_of(acceptance, text, acceptance->wanted, &acceptance->sampling);
    if (slot->text)
        return slot;
    int found = is_word(text) ? check_saved(acceptance, text, &new.graph_json, &new.size, &new.saved, error) : 0;
    if (found < 0)
        return NULL;
    if (!found && check_text(acceptance, text, &new.graph_json, &new.size, error)) {
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

/* The weights to begin with must be those of such a net. The points of a sweep ask this many times of the same two. */
static int check_initial(struct acceptance *acceptance, const bson_t *model, const struct accepted *accepted,
                         bson_error_t *error)
{
    char both[sizeof acceptance->started];
    bson_iter_t at;
    if (bson_empty(model))
        return 0;
    const char *id = bson_iter_init_find(&at, model, "_id") && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : "";
    snprintf(both, sizeof both, "%.40s %s", id, accepted->digest);
    if (!strcmp(both, acceptance->started))
        return 0;
    if (initial_weights_check(acceptance->hub, model, accepted->graph_json, &acceptance->shape, error))
        return -1;
    snprintf(acceptance->started, sizeof acceptance->started, "%s", both);
    return 0;
}

/* Of two classes binary_cross_entropy wants one output, yes or no; otherwise there is one for each class or value. */
static void learn_outputs(struct acceptance *acceptance, const bson_t *checked)
{
    bson_iter_t at, loss;
    bool two = bson_iter_init(&at, checked) && bson_iter_find_descendant(&at, "hyper_parameters.loss", &loss) &&
               BSON_ITER_HOLDS_UTF8(&loss) && !strcmp(bson_iter_utf8(&loss, NULL), "binary_cross_entropy");
    acceptance->wanted = two && acceptance->row.classes ? 1 : acceptance->row.outputs;
    if (acceptance->sampling.kind == SAMPLING_GAN)
        acceptance->wanted = shape_size(&acceptance->row.shape);
}

/* Of a task that trains; initial: the model to begin with, empty without one. */
static int check_architecture(struct acceptance *acceptance, const bson_t *fields, const bson_t *initial,
                              bson_t *checked, const char **field, bson_error_t *error)
{
    bson_iter_t at;
    char *json = NULL;
    const char *text = NULL;
    *field = "architecture";
    learn_outputs(acceptance, checked);
    if (!bson_iter_init_find(&at, fields, "architecture"))
        return hub_error(error, HUB_ERROR_INVALID, "architecture: missing; for example \"dense:100:relu dense:10\"");
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
    if (!done)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the task");
    if (needs_append("train", &acceptance->dataset, NULL, &accepted->size, checked, error))
        return -1;
    *field = "initial_model";
    return check_initial(acceptance, initial, accepted, error);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp((*(const struct accepted *const *)a)->text, (*(const struct accepted *const *)b)->text);
}

int acceptance_saved_digest(const struct acceptance *acceptance, char digest[65], bson_error_t *error)
{
    size_t count = 0;
    digest[0] = '\0';
    const struct accepted **saved = calloc(acceptance->count + 1, sizeof *saved);
    if (!saved)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for the architectures");
    for (size_t i = 0; i < acceptance->capacity; i++)
        if (acceptance->table[i].text && acceptance->table[i].saved)
            saved[count++] = &acceptance->table[i];
    qsort(saved, count, sizeof *saved, compare_texts);
    bson_string_t *all = bson_string_new(NULL);
    for (size_t i = 0; i < count; i++)
        bson_string_append_printf(all, "%s %s\n", saved[i]->text, saved[i]->digest);
    if (count)
        hub_sha256(all->str, all->len, digest);
    bson_string_free(all, true);
    free(saved);
    return count > 0;
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

static const char *find_text(const bson_t *document, const char *path)
{
    bson_iter_t at, found;
    return bson_iter_init(&at, document) && bson_iter_find_descendant(&at, path, &found) && BSON_ITER_HOLDS_UTF8(&found)
               ? bson_iter_utf8(&found, NULL)
               : NULL;
}

static int64_t find_integer(const bson_t *document, const char *path, int64_t missing)
{
    bson_iter_t at, found;
    return bson_iter_init(&at, document) && bson_iter_find_descendant(&at, path, &found) && BSON_ITER_HOLDS_NUMBER(&found)
               ? bson_iter_as_int64(&found)
               : missing;
}

/* What the task's recipe, or that of the model to measure, makes of a row. A recipe that is none is refused with the
 * hyper-parameters. */
static int learn_sampling(struct acceptance *acceptance, const bson_t *source, bson_error_t *error)
{
    struct kernel_error why = {0};
    const char *recipe = find_text(source, "hyper_parameters.recipe"), *loss = find_text(source, "hyper_parameters.loss");
    const char *label = acceptance->label;
    acceptance->sampling = (struct sampling){.window = find_integer(source, "hyper_parameters.window", 0),
                                             .horizon = find_integer(source, "hyper_parameters.horizon", 1)};
    acceptance->row = (struct sampling_row){.shape = acceptance->shape, .labelled = strcmp(label, "none") != 0,
                                            .classes = !*label || !strcmp(label, "class"), .outputs = acceptance->outputs};
    if (recipe && sampling_find(recipe, &acceptance->sampling.kind, NULL))
        return 0;
    if (acceptance->shape.rank == 0) /* a foreign manifest: judged when it is trained on */
        return 0;
    if (sampling_shape(&acceptance->sampling, loss && !strcmp(loss, "bpr"), &acceptance->row, &why))
        return refusal(error, "hyper_parameters", &why);
    return 0;
}

/* A model query must find something, and what it finds must fit the dataset's rows. *model (initialised always) is it. */
static int check_model(struct acceptance *acceptance, const bson_t *fields, const char *name, bool required,
                       bson_t *model, bson_error_t *error)
{
    bson_t query;
    bson_iter_t at, dims;
    int64_t size = 1;
    int result = -1, there = task_query_read(fields, name, &query, error);
    bson_init(model);
    if (there < 1) {
        if (!there && required)
            hub_error(error, HUB_ERROR_INVALID, "%s: missing; name the model, or give a query", name);
        else
            result = there;
        goto out;
    }
    bson_destroy(model);
    int found = model_find_one(acceptance->hub, &query, NULL, model, error);
    if (found == 0) {
        bson_destroy(model);
        found = pledge_find(acceptance->hub, fields, name, &query, model, error);
        if (found > 0 && !required)
            bson_reinit(model); /* there are no weights yet to be compared with the architecture */
    }
    if (found < 1) {
        if (!found)
            task_query_not_found(acceptance->hub, name, &query, error);
        goto out;
    }
    if (bson_has_field(model, "weights_dropped") && !bson_has_field(model, "blob_id")) {
        char text[400];
        model_say_no_weights(model, text, sizeof text);
        hub_error(error, HUB_ERROR_INVALID, "%s", text);
        goto out;
    }
    if (required && !bson_has_field(model, "architecture")) {
        hub_error(error, HUB_ERROR_INVALID, "%s: it has no architecture: save it with one (save-model --architecture)",
                  name);
        goto out;
    }
    if (acceptance->shape.rank && bson_iter_init_find(&at, model, "input_shape") && BSON_ITER_HOLDS_ARRAY(&at) &&
        bson_iter_recurse(&at, &dims)) {
        while (bson_iter_next(&dims) && size <= ARCHITECTURE_DIMENSION)
            size *= BSON_ITER_HOLDS_NUMBER(&dims) && bson_iter_as_int64(&dims) > 0 ? bson_iter_as_int64(&dims) : 1;
        if (learn_sampling(acceptance, model, error))
            goto out;
        if (size != shape_size(&acceptance->row.shape)) {
            hub_error(error, HUB_ERROR_INVALID, "%s: takes rows of %lld values; a row of dataset %s has %lld", name,
                      (long long)size, acceptance->name, (long long)shape_size(&acceptance->row.shape));
            goto out;
        }
    }
    result = 0;
out:
    bson_destroy(&query);
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
    const char *label = !acceptance->row.labelled ? NULL : acceptance->row.classes ? "class" : "value";
    int result = hyper_parameters_check(there ? &given : NULL, label, acceptance->row.classes ? acceptance->row.outputs : 0,
                                        train, &complete, field, error);
    if (!result && !bson_empty(&complete) && !BSON_APPEND_DOCUMENT(checked, "hyper_parameters", &complete))
        result = hub_error(error, HUB_ERROR_MEMORY, "no memory for the task");
    bson_destroy(&complete);
    return result;
}

/* The other fields as they are, queries as a document can hold them. */
static int copy_fields(const bson_t *fields, bson_t *checked, bson_error_t *error)
{
    bson_iter_t at;
    if (!bson_iter_init(&at, fields))
        return hub_error(error, HUB_ERROR_INVALID, "the task is not a document");
    while (bson_iter_next(&at)) {
        const char *key = bson_iter_key(&at);
        if (!strcmp(key, "architecture") || !strcmp(key, "architecture_digest") || !strcmp(key, "hyper_parameters"))
            continue; /* come later, checked */
        if (task_query_is(key)) {
            if (task_query_append(checked, key, &at, error))
                return -1;
        } else if (!bson_append_iter(checked, key, -1, &at)) {
            return hub_error(error, HUB_ERROR_MEMORY, "no memory for the task");
        }
    }
    return 0;
}

/* A task without a name is called after what it does: "train on fashion", "test of widths". */
static int append_name(const struct acceptance *acceptance, const char *kind, const bson_t *model, bson_t *checked,
                       bson_error_t *error)
{
    bson_iter_t at;
    bool train = !strcmp(kind, "train");
    const char *of = acceptance->name;
    if (bson_has_field(checked, "name"))
        return 0;
    if (!train)
        of = (bson_iter_init_find(&at, model, "name") || bson_iter_init_find(&at, model, "_id")) && BSON_ITER_HOLDS_UTF8(&at)
                 ? bson_iter_utf8(&at, NULL)
                 : "a model";
    char *name = bson_strdup_printf("%s %s %s", kind, train ? "on" : "of", of);
    size_t length = strlen(name);
    for (length = length > 200 ? 200 : length; length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80;)
        length--; /* no half character */
    bool done = bson_append_utf8(checked, "name", 4, name, (int)length);
    bson_free(name);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the task");
}

static int check_named(struct acceptance *acceptance, const bson_t *fields, const char *kind, bson_t *model,
                       bson_t *initial, const char **field, bson_error_t *error)
{
    *field = "dataset";
    if (find_dataset(acceptance, fields, error))
        return -1;
    bool train = !strcmp(kind, "train");
    *field = "model";
    bson_destroy(model);
    if (check_model(acceptance, fields, "model", !train, model, error))
        return -1;
    *field = "initial_model";
    bson_destroy(initial);
    if (check_model(acceptance, fields, "initial_model", false, initial, error))
        return -1;
    *field = train ? "keep" : "split";
    return task_kind_check_splits(kind, fields, &acceptance->dataset, error);
}

int acceptance_check(struct acceptance *acceptance, const bson_t *fields, bson_t *checked, const char **field,
                     bson_error_t *error)
{
    bson_error_t ignored;
    bson_t model = BSON_INITIALIZER, initial = BSON_INITIALIZER;
    const char *none;
    int result = -1;

    bson_init(checked);
    error = error ? error : &ignored;
    field = field ? field : &none;
    *field = NULL;
    const char *kind = task_kind_of(fields, error);
    if (!kind)
        *field = "kind";
    if (!kind || task_kind_check_fields(kind, fields, field, error) ||
        check_named(acceptance, fields, kind, &model, &initial, field, error))
        goto out;
    bool train = !strcmp(kind, "train");
    *field = NULL;
    if (learn_sampling(acceptance, train ? fields : &model, error) ||
        metric_names_check(fields, &acceptance->dataset, &acceptance->sampling, &acceptance->row, train, field, error) ||
        copy_fields(fields, checked, error) ||
        append_name(acceptance, kind, &model, checked, error) ||
        check_hyper_parameters(acceptance, fields, train, checked, field, error) ||
        (train && check_architecture(acceptance, fields, &initial, checked, field, error)))
        goto out;
    struct architecture_size size;
    if (!train && needs_measure_model(&model, &acceptance->sampling, &acceptance->row.shape, &size) &&
        needs_append(kind, &acceptance->dataset, &model, &size, checked, error))
        goto out;
    *field = NULL;
    result = 0;
out:
    bson_destroy(&model);
    bson_destroy(&initial);
    return result;
}
