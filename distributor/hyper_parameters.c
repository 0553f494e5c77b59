/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/hyper_parameters.h"

#include "distributor/refusal.h"
#include "kernels/loss.h"
#include "kernels/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct integer {
    const char *name;
    int64_t minimum, maximum, standard;
};

static const struct integer integers[] = {
    {"epochs", 1, 1000000, 10},
    {"batch_size", 1, 1000000, 32},
    {"seed", 0, INT64_MAX, 0},
};
static const size_t integer_count = sizeof integers / sizeof *integers;

static const char *const others[] = {"optimizer", "loss",  "learning_rate", "momentum",    "nesterov",
                                     "beta1",     "beta2", "epsilon",       "weight_decay"};
static const size_t other_count = sizeof others / sizeof *others;

bool hyper_parameters_known(const char *name)
{
    for (size_t i = 0; i < integer_count; i++)
        if (!strcmp(integers[i].name, name))
            return true;
    for (size_t i = 0; i < other_count; i++)
        if (!strcmp(others[i], name))
            return true;
    return false;
}

const char *hyper_parameters_names(void)
{
    return "epochs, batch_size, seed, optimizer, loss, learning_rate, momentum, nesterov, beta1, beta2, epsilon, "
           "weight_decay";
}

static int least_of(int a, int b)
{
    return a < b ? a : b;
}

int hyper_parameters_distance(const char *a, const char *b, int limit)
{
    enum { LONGEST = 64 };
    size_t n = strlen(a), m = strlen(b);
    int rows[3][LONGEST + 1]; /* of Wagner and Fischer's table 1974: i - 2, i - 1, i */
    if (n > LONGEST || m > LONGEST)
        return limit + 1;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        const int *before = rows[(i + 1) % 3], *above = rows[(i - 1) % 3];
        int *row = rows[i % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = least_of(least_of(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least_of(row[j], before[j - 2] + 1); /* two letters swapped: Damerau 1964 */
        }
    }
    return least_of(rows[n % 3][m], limit + 1);
}

const char *hyper_parameters_nearest(const char *name)
{
    const char *best = NULL;
    int least = 3;
    for (size_t i = 0; i < integer_count + other_count; i++) {
        const char *known = i < integer_count ? integers[i].name : others[i - integer_count];
        int distance = hyper_parameters_distance(name, known, 2);
        if (distance < least) {
            least = distance;
            best = known;
        }
    }
    return best;
}

static int refuse(bson_error_t *error, const struct kernel_error *why, const char *name)
{
    char where[96];
    snprintf(where, sizeof where, "hyper_parameters.%s", name);
    return refusal(error, where, why);
}

/* Integers may come as 10.0, as some writers of JSON have them. */
static int append_integer(const struct integer *integer, bson_iter_t *at, bson_t *complete, bson_error_t *error)
{
    int64_t value;
    if (BSON_ITER_HOLDS_INT32(at) || BSON_ITER_HOLDS_INT64(at)) {
        value = bson_iter_as_int64(at);
    } else if (BSON_ITER_HOLDS_DOUBLE(at)) {
        double number = bson_iter_double(at);
        if (!(fabs(number) < 9007199254740992.0) || number != floor(number))
            return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: %g is not an integer in [%lld, %lld]",
                             integer->name, number, (long long)integer->minimum, (long long)integer->maximum);
        value = (int64_t)number;
    } else {
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: must be an integer", integer->name);
    }
    if (value < integer->minimum || value > integer->maximum)
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: %lld is not in [%lld, %lld]", integer->name,
                         (long long)value, (long long)integer->minimum, (long long)integer->maximum);
    bool done = value <= INT32_MAX && value >= INT32_MIN
                    ? bson_append_int32(complete, integer->name, -1, (int32_t)value)
                    : bson_append_int64(complete, integer->name, -1, value);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the hyper-parameters");
}

/* A name among the given, or the standard where it is missing; NULL with *error where it is no string. */
static const char *text_of(const bson_t *given, const char *name, const char *standard, bool *there,
                           bson_error_t *error)
{
    bson_iter_t at;
    *there = given && bson_iter_init_find(&at, given, name);
    if (!*there)
        return standard;
    if (BSON_ITER_HOLDS_UTF8(&at))
        return bson_iter_utf8(&at, NULL);
    hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: must be a name", name);
    return NULL;
}

static int check_loss(const char *name, const char *label, bson_error_t *error)
{
    enum loss_kind kind;
    struct kernel_error why = {0};
    if (loss_find(name, &kind, &why))
        return refuse(error, &why, "loss");
    if (label && loss_takes_classes(kind) != !strcmp(label, "class"))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.loss: %s is not for a dataset whose labels are %s",
                         name, !strcmp(label, "class") ? "classes; use cross_entropy" : "values; use mse");
    return 0;
}

static int check_number(struct optimizer_options *options, bson_iter_t *at, bson_error_t *error)
{
    const char *name = bson_iter_key(at);
    struct kernel_error why = {0};
    bool is_bool = BSON_ITER_HOLDS_BOOL(at);
    if (is_bool != !strcmp(name, "nesterov") || (!is_bool && !BSON_ITER_HOLDS_NUMBER(at)))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: must be %s", name,
                         !strcmp(name, "nesterov") ? "true or false" : "a number");
    double value = is_bool ? (double)bson_iter_bool(at) : bson_iter_as_double(at);
    if (BSON_ITER_HOLDS_INT64(at))
        value = (double)bson_iter_int64(at);
    switch (optimizer_options_set(options, name, value, &why)) {
    case 1: return 0;
    case 0: return hub_error(error, HUB_ERROR_INTERNAL, "hyper_parameters.%s: known here, unknown to optimisers", name);
    default: return refuse(error, &why, name);
    }
}

static int check_one(const bson_t *given, bson_iter_t *at, struct optimizer_options *options, bson_t *complete,
                     bson_error_t *error)
{
    const char *name = bson_iter_key(at);
    bson_iter_t first;
    if (bson_iter_init_find(&first, given, name) && bson_iter_offset(&first) != bson_iter_offset(at))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: stands there twice", name);
    for (size_t i = 0; i < integer_count; i++)
        if (!strcmp(integers[i].name, name))
            return append_integer(&integers[i], at, complete, error);
    if (!hyper_parameters_known(name)) {
        const char *nearest = hyper_parameters_nearest(name);
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: unknown hyper-parameter; %s%s", name,
                         nearest ? "did you mean " : "known are ", nearest ? nearest : hyper_parameters_names());
    }
    if (strcmp(name, "optimizer") && strcmp(name, "loss") && check_number(options, at, error))
        return -1;
    return bson_append_iter(complete, name, -1, at)
               ? 0
               : hub_error(error, HUB_ERROR_MEMORY, "no memory for the hyper-parameters");
}

static int append_defaults(const char *optimizer, const char *loss, const struct optimizer_options *options,
                           bson_t *complete, bson_error_t *error)
{
    bool done = true;
    for (size_t i = 0; i < integer_count; i++)
        if (!bson_has_field(complete, integers[i].name))
            done = done && bson_append_int32(complete, integers[i].name, -1, (int32_t)integers[i].standard);
    if (!bson_has_field(complete, "optimizer"))
        done = done && BSON_APPEND_UTF8(complete, "optimizer", optimizer);
    if (!bson_has_field(complete, "learning_rate"))
        done = done && BSON_APPEND_DOUBLE(complete, "learning_rate", options->learning_rate);
    if (loss && !bson_has_field(complete, "loss"))
        done = done && BSON_APPEND_UTF8(complete, "loss", loss);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the hyper-parameters");
}

int hyper_parameters_check(const bson_t *given, const char *label, bool defaults, bson_t *complete, const char **field,
                           bson_error_t *error)
{
    struct optimizer_options options;
    struct kernel_error why = {0};
    const char *none = NULL, *standard_loss = label ? !strcmp(label, "class") ? "cross_entropy" : "mse" : NULL;
    bool has_optimizer, has_loss;
    bson_iter_t at;

    bson_init(complete);
    if (!field)
        field = &none;
    *field = "optimizer";
    const char *optimizer = text_of(given, "optimizer", "adam", &has_optimizer, error);
    if (!optimizer)
        return -1;
    if (optimizer_options_init(&options, optimizer, &why))
        return refuse(error, &why, "optimizer");
    *field = "loss";
    const char *loss = text_of(given, "loss", standard_loss, &has_loss, error);
    if (has_loss && (!loss || check_loss(loss, label, error)))
        return -1;
    *field = NULL;
    if (given && !bson_iter_init(&at, given))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters: not a document");
    while (given && bson_iter_next(&at)) {
        *field = bson_iter_key(&at);
        if (check_one(given, &at, &options, complete, error))
            return -1;
    }
    *field = NULL;
    if (optimizer_options_check(&options, &why))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters: %s", why.message);
    return defaults ? append_defaults(optimizer, loss, &options, complete, error) : 0;
}
