/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/metric_names.h"

#include "kernels/metrics.h"

#include <stdio.h>
#include <string.h>

enum { TOP_K = 5 };

/* What a task will be measured by. */
struct names {
    unsigned possible;       /* METRIC_BIT of each */
    bool headline;           /* is that of validation or test */
    const char *splits[4];   /* that have rows, and ""; NULL-terminated */
    bool best_epoch, rollbacks;
    bool critic;             /* of a gan, whose accuracy has a name of its own */
};

static const char *text_of(const bson_t *document, const char *path)
{
    bson_iter_t at, found;
    return bson_iter_init(&at, document) && bson_iter_find_descendant(&at, path, &found) && BSON_ITER_HOLDS_UTF8(&found)
               ? bson_iter_utf8(&found, NULL)
               : NULL;
}

static int64_t integer_of(const bson_t *document, const char *path)
{
    bson_iter_t at, found;
    return bson_iter_init(&at, document) && bson_iter_find_descendant(&at, path, &found) && BSON_ITER_HOLDS_NUMBER(&found)
               ? bson_iter_as_int64(&found)
               : 0;
}

/* Of the net's output; 0: not known. A loss that is none is refused with the hyper-parameters. */
static int64_t read_loss(const bson_t *fields, const struct sampling *sampling, const struct sampling_row *row,
                         enum loss_kind *loss)
{
    bool classes = row->classes;
    const char *name = text_of(fields, "hyper_parameters.loss");
    if (!name || loss_find(name, loss, NULL))
        *loss = classes ? LOSS_CROSS_ENTROPY : LOSS_MSE;
    if (sampling->kind == SAMPLING_GAN)
        *loss = LOSS_BINARY_CROSS_ENTROPY;
    return *loss == LOSS_BINARY_CROSS_ENTROPY && (classes || sampling->kind == SAMPLING_GAN) ? 1 : row->outputs;
}

/* Manifests without splits (foreign ones) are judged when they are trained on: false. */
static bool learn(const bson_t *fields, const bson_t *dataset, const struct sampling *sampling,
                  const struct sampling_row *row, struct names *names)
{
    static const char *const splits[] = {"train", "validation", "test"};
    enum loss_kind loss;
    int64_t columns = read_loss(fields, sampling, row, &loss);
    const char *keep = text_of(fields, "keep");
    const char *nonfinite = text_of(fields, "on_nonfinite");
    size_t count = 0;
    names->rollbacks = nonfinite && !strcmp(nonfinite, "rollback");
    names->possible = metrics_possible(loss, columns);
    names->critic = sampling->kind == SAMPLING_GAN;
    if (names->critic)
        names->possible &= ~METRIC_BIT(METRIC_ACCURACY);
    names->best_epoch = keep && !strcmp(keep, "best");
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        char path[32];
        snprintf(path, sizeof path, "splits.%s", splits[i]);
        if (integer_of(dataset, path) > 0 && (i == 0 || sampling->kind != SAMPLING_GAN)) {
            names->splits[count++] = splits[i];
            names->headline = names->headline || i > 0;
        }
    }
    return count > 0;
}

/* As names of one split are listed: it has loss and accuracy where it is that of the training. */
static unsigned set_of(const struct names *names, const char *split)
{
    static const unsigned while_training = METRIC_BIT(METRIC_LOSS) | METRIC_BIT(METRIC_ACCURACY);
    unsigned set = names->possible;
    if (!*split)
        set &= ~METRIC_BIT(METRIC_CONFUSION_MATRIX);
    return !strcmp(split, "train") || (!*split && !names->headline) ? set & while_training : set;
}

static bool will_have(const struct names *names, const char *name)
{
    enum metric metric;
    size_t letters;
    if ((names->best_epoch && !strcmp(name, "best_epoch")) || (names->rollbacks && !strcmp(name, "rollbacks")))
        return true;
    if (names->critic && (!strcmp(name, "critic_accuracy") || !strcmp(name, "train_critic_accuracy")))
        return true;
    if (!metric_find_of_split(name, &metric, &letters))
        return false;
    if (letters == 0)
        return set_of(names, "") & METRIC_BIT(metric);
    for (size_t i = 0; names->splits[i]; i++)
        if (strlen(names->splits[i]) == letters && !strncmp(name, names->splits[i], letters))
            return set_of(names, names->splits[i]) & METRIC_BIT(metric);
    return false;
}

static void list_split(const struct names *names, const char *split, char *text, size_t size)
{
    for (int i = 0; i < METRIC_COUNT; i++) {
        size_t used = strlen(text);
        if (set_of(names, split) & METRIC_BIT(i))
            snprintf(text + used, size - used, "%s%s%s%s", used ? ", " : "", split, *split ? "_" : "",
                     metric_name((enum metric)i));
    }
}

static int check(const struct names *names, const char *field, const char *name, bson_error_t *error)
{
    char all[256] = "", splits[64] = "";
    if (will_have(names, name))
        return 0;
    list_split(names, "", all, sizeof all);
    for (size_t i = 0; names->splits[i]; i++) {
        size_t used = strlen(splits);
        snprintf(splits + used, sizeof splits - used, "%s%s_", used ? ", " : "", names->splits[i]);
    }
    return hub_error(error, HUB_ERROR_INVALID, "%s: %.100s is not a result of this task; it will have %s%s%s%s, and with %s before "
                     "the name those of one split%s", field, name, all, names->critic ? ", critic_accuracy" : "", names->best_epoch ? ", best_epoch" : "",
                     names->rollbacks ? ", rollbacks" : "", splits,
                     names->headline ? " (of train loss and accuracy alone)" : "");
}

/* A task that measures takes its model's loss, which its runner knows. */
static int check_list(const bson_t *fields, unsigned possible, bson_error_t *error)
{
    bson_iter_t at, item;
    if (!bson_iter_init_find(&at, fields, "metrics"))
        return 0;
    if (!BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &item))
        return hub_error(error, HUB_ERROR_INVALID, "metrics: must be a list of names");
    while (bson_iter_next(&item)) {
        enum metric metric;
        char all[256] = "";
        const char *name = BSON_ITER_HOLDS_UTF8(&item) ? bson_iter_utf8(&item, NULL) : NULL;
        if (metric_find(name, &metric) && possible & METRIC_BIT(metric))
            continue;
        struct names known = {.possible = possible, .headline = true};
        list_split(&known, "", all, sizeof all);
        return hub_error(error, HUB_ERROR_INVALID, "metrics: %.60s is not one that this task can have: %s%s",
                         name ? name : "what is no name", all,
                         possible & METRIC_BIT(METRIC_CONFUSION_MATRIX) ? ", confusion_matrix" : "");
    }
    return 0;
}

/* Whether a list or a name asks for it. */
static bool asks_for_top_k(const bson_t *fields)
{
    static const char *const lists[] = {"metrics", "result_keys"};
    bson_iter_t at, item;
    const char *name = text_of(fields, "metric.name");
    if (name && strstr(name, metric_name(METRIC_TOP_K_ACCURACY)))
        return true;
    for (size_t i = 0; i < 2; i++)
        if (bson_iter_init_find(&at, fields, lists[i]) && BSON_ITER_HOLDS_ARRAY(&at) && bson_iter_recurse(&at, &item))
            while (bson_iter_next(&item))
                if (BSON_ITER_HOLDS_UTF8(&item) && strstr(bson_iter_utf8(&item, NULL), metric_name(METRIC_TOP_K_ACCURACY)))
                    return true;
    return false;
}

static int check_top_k(const bson_t *fields, const struct sampling_row *row, bson_error_t *error)
{
    bson_iter_t at;
    int64_t classes = row->classes ? row->outputs : 0, top_k = TOP_K;
    bool given = bson_iter_init_find(&at, fields, "top_k");
    if (given && !BSON_ITER_HOLDS_INT32(&at) && !BSON_ITER_HOLDS_INT64(&at))
        return hub_error(error, HUB_ERROR_INVALID, "top_k: must be an integer");
    if (given)
        top_k = bson_iter_as_int64(&at);
    if (given && top_k < 1)
        return hub_error(error, HUB_ERROR_INVALID, "top_k: %lld is not above 0", (long long)top_k);
    if (classes > 0 && top_k >= classes && asks_for_top_k(fields))
        return hub_error(error, HUB_ERROR_INVALID, "top_k: every row is among the first %lld of %lld classes; give a smaller "
                         "one", (long long)top_k, (long long)classes);
    return 0;
}

int metric_names_check(const bson_t *fields, const bson_t *dataset, const struct sampling *sampling,
                       const struct sampling_row *row, bool train, const char **field, bson_error_t *error)
{
    struct names names = {.possible = 0};
    bson_iter_t at, key;
    bool known = learn(fields, dataset, sampling, row, &names);
    const char *metric = text_of(fields, "metric.name");
    *field = "metrics";
    if (check_list(fields, train ? names.possible : ~0u >> (32 - METRIC_COUNT), error))
        return -1;
    *field = "top_k";
    if (check_top_k(fields, row, error))
        return -1;
    *field = NULL;
    if (!known || !train)
        return 0;
    if (metric && check(&names, "metric", metric, error))
        return -1;
    if (bson_iter_init_find(&at, fields, "result_keys") && BSON_ITER_HOLDS_ARRAY(&at) && bson_iter_recurse(&at, &key))
        while (bson_iter_next(&key))
            if (BSON_ITER_HOLDS_UTF8(&key) && check(&names, "result_keys", bson_iter_utf8(&key, NULL), error))
                return -1;
    return 0;
}
