/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- columns by name or position ---- */

static int find_column(const struct csv_plan *plan, const char *what, const char *column, int64_t *found,
                       bson_error_t *error)
{
    const struct preprocess *preprocess = plan->preprocess;
    char *end;
    *found = preprocess_find_column(preprocess, column, strlen(column));
    if (*found >= 0)
        return 0;
    errno = 0;
    long long position = strtoll(column, &end, 10);
    if (*column && !*end && !errno && position >= 1 && position <= preprocess->count) {
        *found = position - 1;
        return 0;
    }
    if (*column && !*end && !errno && position <= -1 && position >= -preprocess->count) {
        *found = preprocess->count + position;
        return 0;
    }
    char names[200] = "";
    size_t length = 0;
    for (int64_t i = 0; i < preprocess->count && length < 150; i++)
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%.30s", i ? ", " : "",
                                   preprocess->columns[i].name);
    return hub_error(error, HUB_ERROR_INVALID, "%s: %s: there is no column \"%.80s\" among its %lld (%s%s)",
                     plan->options->path, what, column, (long long)preprocess->count, names, length >= 150 ? ", ..." : "");
}

static int name_columns(struct csv_plan *plan, bson_error_t *error)
{
    struct preprocess *preprocess = plan->preprocess;
    struct csv_record record;
    int result = -1;
    struct csv_scan *scan = csv_scan_open(plan->options->path, plan->dialect.delimiter, plan->dialect.skip, error);
    struct category_set *names = category_set_new(CATEGORY_SET_MOST);
    if (!scan || csv_scan_next(scan, &record, error) <= 0 || !names)
        goto out;
    for (int64_t i = 0; i < preprocess->count; i++) {
        struct csv_field field = {.length = 0};
        char number[32];
        if (plan->dialect.header)
            field = csv_scan_field(scan, &record, i);
        int length = snprintf(number, sizeof number, "column_%lld", (long long)(i + 1));
        if (field.length == 0)
            field = (struct csv_field){.text = number, .length = (size_t)length};
        if (field.length > 200 || !bson_utf8_validate(field.text, field.length, false)) {
            csv_scan_refuse(scan, &record, i, error, "a column's name: at most 200 bytes of UTF-8 are taken%s",
                            plan->options->header < 0 ? "; is this a header? Say --header no otherwise" : "");
            goto out;
        }
        const int64_t number_of = category_set_add(names, field.text, field.length);
        if (number_of < i) {
            if (number_of < 0)
                csv_scan_refuse(scan, &record, i, error, "the columns' names take more than 8 MB");
            else
                csv_scan_refuse(scan, &record, i, error, "column %lld has the same name as column %lld: %.*s",
                                (long long)i + 1, (long long)number_of + 1, (int)field.length, field.text);
            goto out;
        }
        preprocess->columns[i].name = csv_field_copy(&field);
        if (!preprocess->columns[i].name) {
            hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its columns", plan->options->path);
            goto out;
        }
    }
    result = 0;
out:
    category_set_free(names);
    csv_scan_close(scan);
    return result;
}

/* ---- what the user says ---- */

static int take_labels(struct csv_plan *plan, bson_error_t *error)
{
    const struct csv_options *options = plan->options;
    for (size_t i = 0; i < options->label_count; i++) {
        int64_t found;
        if (find_column(plan, "label", options->labels[i], &found, error))
            return -1;
        if (plan->preprocess->columns[found].role == PREPROCESS_LABEL)
            return hub_error(error, HUB_ERROR_INVALID, "%s: label: %s is named twice", options->path, options->labels[i]);
        plan->preprocess->columns[found].role = PREPROCESS_LABEL;
        plan->columns[found].both = true;
    }
    if (!options->time)
        return 0;
    if (find_column(plan, "time", options->time, &plan->time, error))
        return -1;
    if (plan->preprocess->columns[plan->time].role == PREPROCESS_LABEL)
        return hub_error(error, HUB_ERROR_INVALID, "%s: time: %s is the label", options->path, options->time);
    plan->preprocess->columns[plan->time].role = PREPROCESS_TIME;
    plan->preprocess->columns[plan->time].kind = PREPROCESS_TEXT;
    return 0;
}

static int take_type(struct csv_plan *plan, const struct csv_choice *choice, bson_error_t *error)
{
    int64_t found;
    const char *type = choice->value;
    if (find_column(plan, "type", choice->column, &found, error))
        return -1;
    struct preprocess_column *column = &plan->preprocess->columns[found];
    struct csv_plan_column *own = &plan->columns[found];
    const bool drop = !strcmp(type, "drop") || !strcmp(type, "text-drop");
    if (drop && column->role == PREPROCESS_FEATURE) {
        column->role = PREPROCESS_DROPPED;
        column->kind = PREPROCESS_TEXT;
    } else if (drop || column->role == PREPROCESS_TIME) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: type: column %s is the %s; it has no other type", plan->options->path,
                         column->name, preprocess_role_name(column->role));
    } else if (!strcmp(type, "number")) {
        column->kind = PREPROCESS_NUMBER;
    } else if (!strcmp(type, "category")) {
        column->kind = plan->options->ids ? PREPROCESS_IDS : PREPROCESS_ONE_HOT;
    } else if (!strcmp(type, "ids")) {
        column->kind = PREPROCESS_IDS;
    } else if (!strcmp(type, "one-hot")) {
        column->kind = PREPROCESS_ONE_HOT;
    } else {
        return hub_error(error, HUB_ERROR_INVALID, "%s: type: column %s: \"%.40s\": known are number, category, one-hot, ids and "
                         "drop", plan->options->path, column->name, type);
    }
    own->typed = true;
    own->both = false;
    return 0;
}

static int take_missing(struct csv_plan *plan, const struct csv_choice *choice, bson_error_t *error)
{
    enum preprocess_missing missing;
    int64_t found;
    if (preprocess_find_missing(choice->value, &missing))
        return hub_error(error, HUB_ERROR_INVALID, "%s: missing: \"%.40s\": known are zero, mean, median, drop and error",
                         plan->options->path, choice->value);
    if (choice->column) {
        if (find_column(plan, "missing", choice->column, &found, error))
            return -1;
        plan->preprocess->columns[found].missing = missing;
        return 0;
    }
    for (int64_t i = 0; i < plan->preprocess->count; i++)
        plan->preprocess->columns[i].missing = missing;
    return 0;
}

/* What goes for every column first, so that what is said of one counts. */
static int take_choices(struct csv_plan *plan, bson_error_t *error)
{
    const struct csv_options *options = plan->options;
    if (take_labels(plan, error))
        return -1;
    for (size_t i = 0; i < options->type_count; i++)
        if (take_type(plan, &options->types[i], error))
            return -1;
    for (int of_one = 0; of_one < 2; of_one++)
        for (size_t i = 0; i < options->missing_count; i++)
            if ((options->missing[i].column != NULL) == of_one && take_missing(plan, &options->missing[i], error))
                return -1;
    for (int64_t i = 0; i < plan->preprocess->count && options->window > 0; i++)
        if (plan->preprocess->columns[i].missing == PREPROCESS_DROP_ROW)
            return hub_error(error, HUB_ERROR_INVALID, "%s: missing: rows of a series cannot be dropped; zero, mean, median or "
                             "error", options->path);
    return 0;
}

int csv_plan_open(struct csv_plan *plan, const struct csv_options *options, bson_error_t *error)
{
    *plan = (struct csv_plan){.options = options, .time = -1};
    plan->dialect = (struct csv_dialect){.delimiter = options->delimiter, .decimal = options->decimal,
                                         .header = options->header, .skip = options->skip};
    if (csv_dialect_find(options->path, &plan->dialect, error))
        return -1;
    if (plan->dialect.decimal == plan->dialect.delimiter)
        return hub_error(error, HUB_ERROR_INVALID, "%s: decimal: '%c' stands between the fields already", options->path,
                         plan->dialect.decimal);
    const int64_t count = plan->dialect.columns;
    plan->preprocess = preprocess_new(count);
    plan->columns = calloc((size_t)count, sizeof *plan->columns);
    if (!plan->preprocess || !plan->columns)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its columns", options->path);
    plan->preprocess->delimiter = plan->dialect.delimiter;
    plan->preprocess->decimal = plan->dialect.decimal;
    plan->preprocess->header = plan->dialect.header;
    plan->preprocess->skip = plan->dialect.skip;
    plan->preprocess->scale = options->scale;
    plan->preprocess->window = options->window;
    plan->preprocess->horizon = options->window > 0 ? options->horizon : 0;
    if (name_columns(plan, error) || take_choices(plan, error))
        return -1;
    for (int64_t i = 0; i < count; i++)
        plan->columns[i].text = plan->dialect.texts[i];
    return 0;
}

void csv_plan_destroy(struct csv_plan *plan)
{
    for (int64_t i = 0; plan->columns && plan->preprocess && i < plan->preprocess->count; i++) {
        category_set_free(plan->columns[i].set);
        free(plan->columns[i].order);
    }
    free(plan->columns);
    preprocess_free(plan->preprocess);
    csv_dialect_destroy(&plan->dialect);
    *plan = (struct csv_plan){.options = NULL};
}

/* ---- the first pass ---- */

static enum csv_mode learning_mode(const struct csv_plan *plan, int64_t i)
{
    const struct preprocess_column *column = &plan->preprocess->columns[i];
    const struct csv_plan_column *own = &plan->columns[i];
    if (column->role == PREPROCESS_TIME || column->role == PREPROCESS_DROPPED)
        return CSV_SKIP;
    if (own->both)
        return CSV_BOTH;
    if (own->typed)
        return column->kind == PREPROCESS_NUMBER ? CSV_STRICT : CSV_LEARN;
    return own->text ? CSV_LEARN : CSV_TRY;
}

int csv_plan_learn(struct csv_plan *plan, struct csv_values *values, bson_error_t *error)
{
    csv_values_reset(values);
    for (int64_t i = 0; i < plan->preprocess->count; i++) {
        struct csv_plan_column *own = &plan->columns[i];
        struct csv_column *column = &values->columns[i];
        column->mode = learning_mode(plan, i);
        column->name = plan->preprocess->columns[i].name;
        category_set_free(own->set);
        column->set = own->set = NULL;
        column->order = NULL;
        if (column->mode != CSV_LEARN && column->mode != CSV_BOTH)
            continue;
        const bool unasked = !own->typed && !own->both;
        column->set = own->set = category_set_new(unasked ? CSV_PLAN_CATEGORIES : CATEGORY_SET_MOST);
        if (!own->set)
            return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its categories", plan->options->path);
    }
    return 0;
}

/* The set in its order, beside the one as met. */
static int settle_categories(struct csv_plan *plan, int64_t i, bson_error_t *error)
{
    struct csv_plan_column *own = &plan->columns[i];
    struct preprocess_column *column = &plan->preprocess->columns[i];
    const size_t count = category_set_count(own->set);
    category_set_free(column->categories);
    free(own->order);
    column->categories = category_set_new(CATEGORY_SET_MOST);
    own->order = calloc(count + 1, sizeof *own->order);
    for (size_t j = 0; column->categories && own->order && j < count; j++) {
        const char *name = category_set_name(own->set, j);
        if (category_set_add(column->categories, name, strlen(name)) != (int64_t)j)
            return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its categories", plan->options->path);
        category_set_tally(column->categories, j, category_set_total(own->set, j));
    }
    if (!column->categories || !own->order ||
        category_set_sort(column->categories, column->role == PREPROCESS_LABEL, own->order))
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its categories", plan->options->path);
    return 0;
}

/* A label of which nothing was said: texts and few integers are classes, other numbers are values. */
static int decide_label(struct csv_plan *plan, const struct csv_column *read, int64_t i, bson_error_t *error)
{
    struct preprocess_column *column = &plan->preprocess->columns[i];
    bool integers = false;
    const size_t count = category_set_count(plan->columns[i].set);
    const bool several = plan->options->label_count > 1;
    if (read->text_line == 0 && read->infinite)
        return hub_error(error, HUB_ERROR_INVALID, "%s", read->infinite);
    if (read->text_line == 0 &&
        (several || read->other > 0 || count > CSV_PLAN_CLASSES ||
         !category_set_is_numeric(plan->columns[i].set, &integers) || !integers)) {
        column->kind = PREPROCESS_NUMBER;
        return 0;
    }
    column->kind = PREPROCESS_ONE_HOT;
    return 0;
}

static int decide_column(struct csv_plan *plan, const struct csv_column *read, int64_t i, bson_error_t *error)
{
    struct preprocess_column *column = &plan->preprocess->columns[i];
    struct csv_plan_column *own = &plan->columns[i];
    const char *path = plan->options->path;
    column->missing_count = read->missing;
    if (own->both && decide_label(plan, read, i, error))
        return -1;
    if (read->mode == CSV_TRY && read->infinite)
        return hub_error(error, HUB_ERROR_INVALID, "%s", read->infinite);
    const bool categories = own->both ? column->kind != PREPROCESS_NUMBER : read->mode == CSV_LEARN;
    if (!categories)
        return 0;
    if (read->other > 0 && !own->typed && column->role == PREPROCESS_FEATURE) {
        column->role = PREPROCESS_DROPPED; /* names, addresses, free text: nothing to learn from as it is */
        column->kind = PREPROCESS_TEXT;
        return 0;
    }
    if (read->other > 0)
        return hub_error(error, HUB_ERROR_INVALID, "%s: column %s has more than %d categories: %s", path, column->name,
                         CATEGORY_SET_MOST, column->role == PREPROCESS_LABEL
                             ? "if it is a number, say --type LABEL=number" : "leave it out with --type COLUMN=drop");
    if (!own->typed && !own->both)
        column->kind = plan->options->ids ? PREPROCESS_IDS : PREPROCESS_ONE_HOT;
    return settle_categories(plan, i, error);
}

static int check_labels(const struct csv_plan *plan, bson_error_t *error)
{
    const struct preprocess *preprocess = plan->preprocess;
    for (int64_t i = 0; i < preprocess->count; i++) {
        const struct preprocess_column *column = &preprocess->columns[i];
        if (column->role != PREPROCESS_LABEL || column->kind == PREPROCESS_NUMBER)
            continue;
        if (plan->options->label_count > 1)
            return hub_error(error, HUB_ERROR_INVALID, "%s: label: several labels must be numbers, and %s is a class",
                             plan->options->path, column->name);
        if (category_set_count(column->categories) < 1)
            return hub_error(error, HUB_ERROR_INVALID, "%s: column %s: no row has a label", plan->options->path, column->name);
    }
    return 0;
}

static void note_text(const struct csv_plan *plan, int64_t i, const struct csv_column *read)
{
    char *text;
    const char *name = plan->preprocess->columns[i].name;
    if (!plan->options->note ||
        asprintf(&text, "column %s is taken for text: line %lld has \"%s\" (--type '%s=number' refuses that)", name,
                 (long long)read->text_line, read->text, name) < 0)
        return;
    plan->options->note(text, plan->options->data);
    free(text);
}

int csv_plan_decide(struct csv_plan *plan, struct csv_values *values, bson_error_t *error)
{
    bool again = false;
    for (int64_t i = 0; i < plan->preprocess->count; i++)
        if (values->columns[i].mode == CSV_TRY && values->columns[i].text_line) {
            plan->columns[i].text = again = true;
            note_text(plan, i, &values->columns[i]);
        }
    if (again)
        return 1;
    for (int64_t i = 0; i < plan->preprocess->count; i++)
        if (decide_column(plan, &values->columns[i], i, error))
            return -1;
    return check_labels(plan, error);
}

/* ---- the second pass ---- */

void csv_plan_apply(const struct csv_plan *plan, struct csv_values *values)
{
    csv_values_reset(values);
    for (int64_t i = 0; i < plan->preprocess->count; i++) {
        const struct preprocess_column *column = &plan->preprocess->columns[i];
        struct csv_column *read = &values->columns[i];
        read->set = plan->columns[i].set;
        read->order = column->role == PREPROCESS_LABEL ? NULL : plan->columns[i].order; /* strata go by the set as met */
        if (column->role == PREPROCESS_TIME || column->role == PREPROCESS_DROPPED)
            read->mode = CSV_SKIP;
        else
            read->mode = column->kind == PREPROCESS_NUMBER ? CSV_STRICT : CSV_LOOK_UP;
    }
}

void csv_plan_note(const struct csv_plan *plan)
{
    char *text;
    for (int64_t i = 0; plan->options->note && i < plan->preprocess->count; i++) {
        const struct preprocess_column *column = &plan->preprocess->columns[i];
        if (column->role == PREPROCESS_DROPPED && !plan->columns[i].typed &&
            asprintf(&text, "column %s is left out: text with more than %d different values (--type '%s=category' takes it)",
                     column->name, CSV_PLAN_CATEGORIES, column->name) >= 0) {
            plan->options->note(text, plan->options->data);
            free(text);
        }
        if (column->role == PREPROCESS_LABEL && column->missing_count > 0 &&
            asprintf(&text, "column %s: %lld rows without a label are left out", column->name,
                     (long long)column->missing_count) >= 0) {
            plan->options->note(text, plan->options->data);
            free(text);
        }
    }
}
