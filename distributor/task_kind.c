/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/task_kind.h"

#include "distributor/rule_names.h"
#include "hub/task_keep.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {"train", "validate", "test", "infer"};

const char *task_kind_of(const bson_t *fields, bson_error_t *error)
{
    bson_iter_t at;
    if (!bson_iter_init_find(&at, fields, "kind"))
        return kinds[0];
    const char *kind = BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : "";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kind, kinds[i]))
            return kinds[i];
    hub_error(error, HUB_ERROR_INVALID, "kind: runners cannot do '%.60s'; they can train, validate, test and infer", kind);
    return NULL;
}

static int refuse(const bson_t *fields, const char *name, const char **field, const char *kind, const char *why,
                  bson_error_t *error)
{
    if (!bson_has_field(fields, name))
        return 0;
    if (field)
        *field = name;
    return hub_error(error, HUB_ERROR_INVALID, "%s: a task of kind %s %s", name, kind, why);
}

/* Of hyper-parameters, what measures a model reads only how many rows to take at once. */
static int check_measuring(const char *kind, const bson_t *fields, const char **field, bson_error_t *error)
{
    bson_iter_t at, inner;
    if (refuse(fields, "architecture", field, kind, "takes its model's; leave it out", error) ||
        refuse(fields, "initial_model", field, kind, "trains nothing; it takes model", error) ||
        refuse(fields, "keep", field, kind, "trains nothing; leave it out", error) ||
        refuse(fields, "rules", field, kind, "trains nothing; leave them out", error) ||
        refuse(fields, "on_nonfinite", field, kind, "trains nothing; leave it out", error))
        return -1;
    if (!bson_iter_init_find(&at, fields, "hyper_parameters") || !BSON_ITER_HOLDS_DOCUMENT(&at) ||
        !bson_iter_recurse(&at, &inner))
        return 0;
    while (bson_iter_next(&inner)) {
        if (!strcmp(bson_iter_key(&inner), "batch_size"))
            continue;
        if (field)
            *field = bson_iter_key(&inner);
        return hub_error(error, HUB_ERROR_INVALID,
                         "hyper_parameters.%.60s: a task of kind %s trains nothing; it reads batch_size alone",
                         bson_iter_key(&inner), kind);
    }
    return 0;
}

/* What infers reads what measures a model reads, and where the predictions go. */
static int check_saving(const char *kind, const bson_t *fields, const char **field, bson_error_t *error)
{
    bson_iter_t at;
    if (bson_iter_init_find(&at, fields, "save_dataset") && BSON_ITER_HOLDS_UTF8(&at) && *bson_iter_utf8(&at, NULL))
        return check_measuring(kind, fields, field, error);
    if (field)
        *field = "save_dataset";
    return hub_error(error, HUB_ERROR_INVALID,
                     "save_dataset: %s; a task of kind infer needs the name of the dataset that its predictions become",
                     bson_has_field(fields, "save_dataset") ? "it is no name" : "missing");
}

/* The schema knows no limits that are not to be reached. */
static int check_rollback(const bson_t *fields, const char **field, bson_error_t *error)
{
    bson_iter_t at;
    if (!bson_iter_init_find(&at, fields, "rollback_factor"))
        return 0;
    if (BSON_ITER_HOLDS_DOUBLE(&at) && bson_iter_double(&at) > 0 && bson_iter_double(&at) < 1)
        return 0;
    if (field)
        *field = "rollback_factor";
    return hub_error(error, HUB_ERROR_INVALID, "rollback_factor: must be a number above 0 and below 1");
}

static int check_keep(const bson_t *fields, const char **field, bson_error_t *error)
{
    bson_iter_t at;
    struct task_keep keep;
    if (!bson_iter_init_find(&at, fields, "keep") ||
        (BSON_ITER_HOLDS_UTF8(&at) && task_keep_read(bson_iter_utf8(&at, NULL), &keep)))
        return 0;
    if (field)
        *field = "keep";
    return hub_error(error, HUB_ERROR_INVALID, "keep: must be " TASK_KEEP_HELP);
}

int task_kind_check_fields(const char *kind, const bson_t *fields, const char **field, bson_error_t *error)
{
    if (!strcmp(kind, "infer"))
        return check_saving(kind, fields, field, error);
    if (refuse(fields, "save_dataset", field, kind, "saves no dataset of predictions; that is for kind infer", error) ||
        refuse(fields, "save_split", field, kind, "saves no dataset of predictions; that is for kind infer", error) ||
        refuse(fields, "steps", field, kind, "looks no steps ahead; that is for kind infer", error))
        return -1;
    if (strcmp(kind, "train"))
        return check_measuring(kind, fields, field, error);
    if (check_rollback(fields, field, error) || check_keep(fields, field, error) || rule_names_check(fields, field, error))
        return -1;
    if (refuse(fields, "model", field, kind, "makes its model; weights to begin with are its initial_model", error))
        return -1;
    return refuse(fields, "split", field, kind, "has every split of its dataset; leave it out", error);
}

/* "train, test" into text: the splits that have rows. */
static void list_splits(bson_iter_t splits, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    while (bson_iter_next(&splits) && used < size)
        if (BSON_ITER_HOLDS_NUMBER(&splits) && bson_iter_as_int64(&splits) > 0)
            used += (size_t)snprintf(text + used, size - used, "%s%.40s", used ? ", " : "", bson_iter_key(&splits));
}

static int check_split(const bson_t *dataset, const char *field, const char *split, const char *advice,
                       bson_error_t *error)
{
    bson_iter_t at, splits, rows;
    char all[160];
    if (!bson_iter_init_find(&at, dataset, "splits") || !BSON_ITER_HOLDS_DOCUMENT(&at) ||
        !bson_iter_recurse(&at, &splits) || !bson_iter_recurse(&at, &rows))
        return 0;
    if (bson_iter_find(&rows, split) && BSON_ITER_HOLDS_NUMBER(&rows) && bson_iter_as_int64(&rows) > 0)
        return 0;
    list_splits(splits, all, sizeof all);
    return hub_error(error, HUB_ERROR_INVALID, "%s: the dataset has no rows of the split '%.60s'; it has %s%s", field,
                     split, *all ? all : "none", advice);
}

int task_kind_check_splits(const char *kind, const bson_t *fields, const bson_t *dataset, bson_error_t *error)
{
    bson_iter_t at;
    if (strcmp(kind, "train")) {
        bool given = bson_iter_init_find(&at, fields, "split") && BSON_ITER_HOLDS_UTF8(&at);
        const char *split = given ? bson_iter_utf8(&at, NULL) : !strcmp(kind, "validate") ? "validation" : "test";
        return check_split(dataset, given ? "split" : "kind", split, "", error);
    }
    if (!bson_iter_init_find(&at, fields, "keep") || !BSON_ITER_HOLDS_UTF8(&at) ||
        strcmp(bson_iter_utf8(&at, NULL), "best"))
        return 0;
    return check_split(dataset, "keep", "validation", ": best is judged by it (save-dataset --validation N)", error);
}
