/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/table.h"
#include "distributor/acceptance.h"
#include "distributor/hyper_parameters.h"
#include "distributor/table_rows.h"
#include "distributor/task_work.h"
#include "hub/schema.h"
#include "hub/task.h"

#include <stdlib.h>
#include <string.h>

#define IDS_AT_ONCE 1000

/* ---- what the columns are ---- */

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

static bool is_own(const char *name)
{
    static const char *const own[] = {"name",          "dataset", "kind",  "architecture", "model",
                                      "initial_model", "split",   "queue", "priority",     "description", NULL};
    return is_one_of(name, own);
}

static bool comes_back(const char *name)
{
    static const char *const back[] = {"task", "rank", "state", "weights", "bytes", "seconds", "objective",
                                       "deviation", "seeds", NULL};
    return is_one_of(name, back) || strncmp(name, "result.", 7) == 0;
}

static bool is_label(const char *name)
{
    return strncmp(name, "label.", 6) == 0 && name[6] != '\0';
}

/* Whether the architecture has ${name}. */
static bool is_placed(const char *architecture, const char *name)
{
    char *place = bson_strdup_printf("${%s}", name);
    bool there = architecture != NULL && strstr(architecture, place) != NULL;
    bson_free(place);
    return there;
}

/* ---- a row as a task ---- */

static void append_plain(bson_string_t *out, const bson_iter_t *value)
{
    if (BSON_ITER_HOLDS_UTF8(value)) {
        bson_string_append(out, bson_iter_utf8(value, NULL));
    } else if (BSON_ITER_HOLDS_BOOL(value)) {
        bson_string_append(out, bson_iter_bool(value) ? "true" : "false");
    } else if (BSON_ITER_HOLDS_DOUBLE(value)) {
        bson_string_append_printf(out, "%.17g", bson_iter_double(value));
    } else {
        bson_string_append_printf(out, "%lld", (long long)bson_iter_as_int64(value));
    }
}

/* ${name} of every column that the row has; NULL and *missing the first that it has not (bson_free). */
static char *fill_in(const char *architecture, const bson_t *row, char **missing)
{
    bson_string_t *text = bson_string_new(NULL);

    *missing = NULL;
    for (const char *at = architecture; *at != '\0';) {
        const char *end = at[0] == '$' && at[1] == '{' ? strchr(at, '}') : NULL;
        bson_iter_t value;
        if (end == NULL) {
            bson_string_append_printf(text, "%c", *at++);
            continue;
        }
        char *name = bson_strndup(at + 2, (size_t)(end - at - 2));
        if (!bson_iter_init_find(&value, row, name)) {
            *missing = name;
            bson_string_free(text, true);
            return NULL;
        }
        append_plain(text, &value);
        bson_free(name);
        at = end + 1;
    }
    return bson_string_free(text, false);
}

static const char *text_of(const bson_t *document, const char *key)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, document, key) && BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : NULL;
}

static int append_architecture(const struct table_rows *rows, const bson_t *row, const char *architecture, bson_t *task,
                               bson_error_t *error)
{
    char *missing;

    if (architecture == NULL) {
        return 0;
    }
    char *filled = fill_in(architecture, row, &missing);
    if (filled == NULL) {
        table_rows_refuse(rows, NULL, error, "the architecture has ${%s}: the row has no value for it", missing);
        bson_free(missing);
        return -1;
    }
    BSON_APPEND_UTF8(task, "architecture", filled);
    bson_free(filled);
    return 0;
}

/* The parameters of a row, with a refusal of columns that nothing reads. */
static int split_parameters(const struct table_rows *rows, const bson_t *row, const char *architecture, bson_t *point,
                            bson_t *parameters, bson_error_t *error)
{
    bson_iter_t cell;

    if (!bson_iter_init(&cell, row)) {
        return 0;
    }
    while (bson_iter_next(&cell)) {
        const char *name = bson_iter_key(&cell);
        if (is_own(name) || comes_back(name)) {
            continue;
        }
        if (is_label(name) && strchr(name + 6, '.') != NULL) {
            return table_rows_refuse(rows, name, error, "a label's name has no dots: call it label.NAME");
        }
        bool known = hyper_parameters_known(name);
        if (!known && !is_label(name) && !is_placed(architecture, name)) {
            const char *near = hyper_parameters_nearest(name);
            return table_rows_refuse(rows, name, error,
                                     "no hyper-parameter, and not in the architecture as ${%s}%s%s; what only marks a row is "
                                     "called label.%s",
                                     name, near != NULL ? "; did you mean " : "", near != NULL ? near : "", name);
        }
        const char *inner = is_label(name) ? name + 6 : name;
        if (strchr(inner, '.') == NULL && !bson_has_field(point, inner)) {
            bson_append_iter(point, inner, -1, &cell);
        }
        if (known) {
            bson_append_iter(parameters, name, -1, &cell);
        }
    }
    return 0;
}

static void append_missing(const bson_t *fields, bson_t *task)
{
    bson_iter_t iter;

    if (fields != NULL && bson_iter_init(&iter, fields)) {
        while (bson_iter_next(&iter)) {
            if (!bson_has_field(task, bson_iter_key(&iter)) && strcmp(bson_iter_key(&iter), "architecture") != 0) {
                bson_append_iter(task, bson_iter_key(&iter), -1, &iter);
            }
        }
    }
}

/* The same row under the same name is the same task. */
static void append_id(struct hub *hub, const bson_t *task, bson_t *out)
{
    char id[HUB_ID_SIZE], work[HUB_ID_SIZE];
    bson_t part = BSON_INITIALIZER;
    bson_iter_t iter;

    task_work_digest(task, work);
    if (bson_iter_init_find(&iter, task, "point")) {
        bson_append_iter(&part, "point", -1, &iter);
    }
    char *point = bson_as_canonical_extended_json(&part, NULL);
    const char *name = text_of(task, "name");
    const char *const parts[] = {"table", hub_project(hub), name != NULL ? name : "", work, point != NULL ? point : ""};
    hub_digest_id(parts, 5, id);
    BSON_APPEND_UTF8(out, "_id", id);
    bson_free(point);
    bson_destroy(&part);
}

/* The task's own fields as its schema has them, so that a refusal names the row's line. */
static int check_own(const struct table_rows *rows, const bson_t *task, bson_error_t *error)
{
    bson_iter_t iter;
    bson_error_t why;

    if (!bson_iter_init(&iter, task)) {
        return 0;
    }
    while (bson_iter_next(&iter)) {
        const char *name = bson_iter_key(&iter);
        bson_t one = BSON_INITIALIZER;
        bson_append_iter(&one, name, -1, &iter);
        int valid = is_own(name) ? schema_check_fields("task", &one, &why) : 1;
        bson_destroy(&one);
        if (valid < 0) {
            return table_rows_refuse(rows, name, error, "%s", why.message);
        }
    }
    return 0;
}

static int make_task(struct hub *hub, const struct table_rows *rows, const bson_t *row, const bson_t *fields,
                     struct acceptance *acceptance, bson_t *out, bson_error_t *error)
{
    bson_t task = BSON_INITIALIZER, point = BSON_INITIALIZER, parameters = BSON_INITIALIZER, checked;
    const char *architecture = text_of(row, "architecture"), *field = NULL;
    bson_iter_t cell;
    bson_error_t why;
    int result = -1;

    bson_init(&checked);
    architecture = architecture != NULL || fields == NULL ? architecture : text_of(fields, "architecture");
    if (bson_iter_init(&cell, row)) {
        while (bson_iter_next(&cell)) {
            if (is_own(bson_iter_key(&cell)) && strcmp(bson_iter_key(&cell), "architecture") != 0) {
                bson_append_iter(&task, bson_iter_key(&cell), -1, &cell);
            }
        }
    }
    if (split_parameters(rows, row, architecture, &point, &parameters, error) < 0 ||
        append_architecture(rows, row, architecture, &task, error) < 0) {
        goto out;
    }
    BSON_APPEND_DOCUMENT(&task, "hyper_parameters", &parameters);
    BSON_APPEND_DOCUMENT(&task, "point", &point);
    append_missing(fields, &task);
    bson_destroy(&checked);
    if (acceptance_check(acceptance, &task, &checked, &field, &why) < 0) {
        if (hub_error_code(&why) == HUB_ERROR_INVALID || hub_error_code(&why) == HUB_ERROR_NOT_FOUND) {
            table_rows_refuse(rows, field, error, "%s", why.message);
        } else if (error != NULL) {
            *error = why;
        }
        goto out;
    }
    if (check_own(rows, &checked, error) < 0) {
        goto out;
    }
    append_id(hub, &checked, out);
    bson_concat(out, &checked);
    result = 1;
out:
    bson_destroy(&checked);
    bson_destroy(&task);
    bson_destroy(&point);
    bson_destroy(&parameters);
    return result;
}

/* ---- submitting ---- */

struct batch {
    bson_t **tasks;
    size_t count, capacity;
};

static void batch_free(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        bson_destroy(batch->tasks[i]);
    }
    bson_free(batch->tasks);
}

static void batch_add(struct batch *batch, bson_t *task)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 64 : batch->capacity * 2;
        batch->tasks = bson_realloc(batch->tasks, batch->capacity * sizeof *batch->tasks);
    }
    batch->tasks[batch->count++] = task;
}

static const char *id_of(const bson_t *task)
{
    const char *id = text_of(task, "_id");
    return id != NULL ? id : "";
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(id_of(*(bson_t *const *)a), id_of(*(bson_t *const *)b));
}

/* How many are the same as another one before them. */
static int64_t count_repeated(const struct batch *batch)
{
    int64_t repeated = 0;

    if (batch->count < 2) {
        return 0;
    }
    bson_t **sorted = bson_malloc(batch->count * sizeof *sorted);
    memcpy(sorted, batch->tasks, batch->count * sizeof *sorted);
    qsort(sorted, batch->count, sizeof *sorted, compare_ids);
    for (size_t i = 1; i < batch->count; i++) {
        repeated += strcmp(id_of(sorted[i - 1]), id_of(sorted[i])) == 0;
    }
    bson_free(sorted);
    return repeated;
}

/* How many of the batch's ids, each once, have a task: this table's own. -1 error. The batch is sorted by them. */
static int64_t count_own(struct hub *hub, struct batch *batch, bson_error_t *error)
{
    int64_t own = 0;

    if (batch->count > 1) {
        qsort(batch->tasks, batch->count, sizeof *batch->tasks, compare_ids);
    }
    for (size_t i = 0; i < batch->count;) {
        bson_t filter = BSON_INITIALIZER, among, list;
        BSON_APPEND_UTF8(&filter, "project", hub_project(hub));
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &among);
        BSON_APPEND_ARRAY_BEGIN(&among, "$in", &list);
        for (uint32_t n = 0; n < IDS_AT_ONCE && i < batch->count; n++, i++) {
            char digits[16];
            const char *key;
            if (i > 0 && strcmp(id_of(batch->tasks[i - 1]), id_of(batch->tasks[i])) == 0) {
                continue;
            }
            bson_uint32_to_string(n, &key, digits, sizeof digits);
            BSON_APPEND_UTF8(&list, key, id_of(batch->tasks[i]));
        }
        bson_append_array_end(&among, &list);
        bson_append_document_end(&filter, &among);
        int64_t found = store_count(hub_store(hub), "tasks", &filter, error);
        bson_destroy(&filter);
        if (found < 0) {
            return -1;
        }
        own += found;
    }
    return own;
}

/* Reads and checks every row; those whose work is done already are left out, where work is given. */
static int read_tasks(struct hub *hub, struct table_rows *rows, const bson_t *fields, struct acceptance *acceptance,
                      const struct task_work *work, struct batch *batch, struct batch *left, struct table_submission *submission,
                      bson_error_t *error)
{
    bson_t row;
    int more;

    while ((more = table_rows_next(rows, &row, error)) > 0) {
        bson_t *task = bson_new();
        char digest[HUB_ID_SIZE];
        int made = make_task(hub, rows, &row, fields, acceptance, task, error);
        bson_destroy(&row);
        if (made < 0 || ++submission->rows > TABLE_ROWS) {
            bson_destroy(task);
            return made < 0 ? -1 : table_rows_refuse(rows, NULL, error, "more than %d rows", TABLE_ROWS);
        }
        task_work_digest(task, digest);
        batch_add(work != NULL && task_work_has(work, digest) ? left : batch, task);
    }
    bson_destroy(&row);
    return more;
}

int table_submit(struct hub *hub, const char *path, const bson_t *fields, bool skip_existing,
                 struct table_submission *submission, bson_error_t *error)
{
    struct batch batch = {0}, left = {0};
    struct task_work *work = NULL;
    struct acceptance *acceptance = NULL;
    int result = -1;

    memset(submission, 0, sizeof *submission);
    struct table_rows *rows = table_rows_open(path, error);
    if (rows == NULL || (acceptance = acceptance_new(hub, NULL, error)) == NULL ||
        (skip_existing && (work = task_work_read(hub, error)) == NULL) ||
        read_tasks(hub, rows, fields, acceptance, work, &batch, &left, submission, error) < 0) {
        goto out;
    }
    if (submission->rows == 0) {
        hub_error(error, HUB_ERROR_INVALID, "%s:2:1: there are no rows, only the header", path);
        goto out;
    }
    if (batch.count > 0 && acceptance_save_architectures(acceptance, error) < 0) {
        goto out;
    }
    int64_t repeated = count_repeated(&left), own = count_own(hub, &left, error);
    if (own < 0) {
        goto out;
    }
    submission->repeated = repeated + count_repeated(&batch);
    submission->existing = (int64_t)left.count - repeated - own;
    submission->submitted =
        batch.count > 0 ? task_create_many(hub, (const bson_t *const *)batch.tasks, batch.count, error) : 0;
    if (submission->submitted >= 0) {
        submission->skipped = submission->rows - submission->existing - submission->repeated - submission->submitted;
        result = 0;
    }
out:
    task_work_free(work);
    acceptance_free(acceptance);
    table_rows_close(rows);
    batch_free(&batch);
    batch_free(&left);
    return result;
}
