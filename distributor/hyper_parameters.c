/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/hyper_parameters.h"

#include "distributor/refusal.h"
#include "kernels/device.h"
#include "kernels/loss.h"
#include "kernels/optimizer.h"
#include "kernels/sampling.h"
#include "kernels/schedule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BATCH_DOUBLED = 500000 };
enum { NONE = -1 }; /* no default of its own */

struct integer {
    const char *name;
    int64_t minimum, maximum, standard;
};

static const struct integer integers[] = {
    {"epochs", 1, 1000000, 10},
    {"batch_size", 1, 1000000, 32},
    {"seed", 0, INT64_MAX, 0},
    {"window", 1, SAMPLING_WINDOW, NONE},
    {"horizon", 1, SAMPLING_WINDOW, NONE},
    {"shuffle_window", 1, UINT32_MAX, NONE},
};
static const size_t integer_count = sizeof integers / sizeof *integers;

static const char *const others[] = {
    "recipe", "precision", "optimizer", "loss",        "schedule",    "learning_rate", "momentum", "nesterov",          "beta1",
    "beta2",         "alpha",       "epsilon",     "weight_decay",  "clip_norm", "clip_value",       "huber_delta",
    "step_epochs",   "gamma",       "min_learning_rate", "warmup_epochs", "warmup_steps"};
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

int64_t hyper_parameters_epochs(const bson_t *given)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, given, integers[0].name) && BSON_ITER_HOLDS_NUMBER(&at) ? bson_iter_as_int64(&at)
                                                                                            : integers[0].standard;
}

const char *hyper_parameters_names(void)
{
    return "epochs, batch_size, seed, shuffle_window, recipe, window, horizon, precision, optimizer, loss, schedule, learning_rate, momentum, nesterov, beta1, beta2, alpha, "
           "epsilon, weight_decay, clip_norm, clip_value, huber_delta, step_epochs, gamma, min_learning_rate, "
           "warmup_epochs, warmup_steps";
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

/* What the numbers are for: their names and ranges follow from these. */
struct chosen {
    enum sampling_kind recipe;
    struct optimizer_options optimizer;
    struct schedule schedule;
    bool has_loss; /* known */
    enum loss_kind loss;
};

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

static int check_loss(const char *name, const char *label, int64_t classes, struct chosen *chosen, bson_error_t *error)
{
    struct kernel_error why = {0};
    chosen->has_loss = name != NULL;
    if (!name)
        return 0;
    if (loss_find(name, &chosen->loss, &why))
        return refuse(error, &why, "loss");
    if (chosen->recipe == SAMPLING_GAN)
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.loss: a gan's two nets have their own");
    if (loss_target(chosen->loss) == LOSS_OF_PAIRS)
        return chosen->recipe == SAMPLING_RECOMMENDER
                   ? 0
                   : hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.loss: %s ranks pairs of samples: it goes with "
                               "recipe recommender", name);
    if (!label || loss_takes_labels(chosen->loss, !strcmp(label, "class"), classes))
        return 0;
    return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.loss: %s is not for a dataset whose labels are %s", name,
                     strcmp(label, "class")                           ? "values; use mse, mae or huber"
                     : chosen->loss == LOSS_BINARY_CROSS_ENTROPY ? "more than two classes; use cross_entropy"
                                                                      : "classes; use cross_entropy");
}

static int set_number(struct chosen *chosen, const char *name, double value, struct kernel_error *why)
{
    if (!strcmp(name, "huber_delta") && !chosen->has_loss)
        return kernel_error_set(why, KERNEL_ERROR_INVALID, "huber_delta: only the loss huber has it");
    if (!strcmp(name, "huber_delta"))
        return loss_check_huber_delta(chosen->loss, value, why) ? -1 : 1;
    int set = optimizer_options_set(&chosen->optimizer, name, value, why);
    return set ? set : schedule_set(&chosen->schedule, name, value, why);
}

static int check_number(struct chosen *chosen, bson_iter_t *at, bson_error_t *error)
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
    switch (set_number(chosen, name, value, &why)) {
    case 1: return 0;
    case 0: return hub_error(error, HUB_ERROR_INTERNAL, "hyper_parameters.%s: known here, unknown to training", name);
    default: return refuse(error, &why, name);
    }
}

/* Hyper-parameters that are names; choose checks them. */
static bool is_name(const char *name)
{
    static const char *const names[] = {"optimizer", "loss", "schedule", "recipe", "precision"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static int check_one(const bson_t *given, bson_iter_t *at, struct chosen *chosen, bson_t *complete,
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
    if (!is_name(name) && check_number(chosen, at, error))
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
        if (integers[i].standard != NONE && !bson_has_field(complete, integers[i].name))
            done = done && bson_append_int32(complete, integers[i].name, -1, (int32_t)integers[i].standard);
    if (!bson_has_field(complete, "optimizer"))
        done = done && BSON_APPEND_UTF8(complete, "optimizer", optimizer);
    if (!bson_has_field(complete, "learning_rate"))
        done = done && BSON_APPEND_DOUBLE(complete, "learning_rate", options->learning_rate);
    if (loss && !bson_has_field(complete, "loss"))
        done = done && BSON_APPEND_UTF8(complete, "loss", loss);
    return done ? 0 : hub_error(error, HUB_ERROR_MEMORY, "no memory for the hyper-parameters");
}

/* The names, which decide what the numbers may be. *loss: the name that is taken; NULL: not known. */
static int choose(const bson_t *given, const char *label, int64_t classes, struct chosen *chosen, const char **optimizer,
                  const char **loss, const char **field, bson_error_t *error)
{
    struct kernel_error why = {0};
    bool there;
    *field = "optimizer";
    *optimizer = text_of(given, "optimizer", "adam", &there, error);
    if (!*optimizer)
        return -1;
    if (optimizer_options_init(&chosen->optimizer, *optimizer, &why))
        return refuse(error, &why, "optimizer");
    *field = "schedule";
    const char *schedule = text_of(given, "schedule", "constant", &there, error);
    if (!schedule)
        return -1;
    if (schedule_init(&chosen->schedule, schedule, &why))
        return refuse(error, &why, "schedule");
    *field = "precision";
    enum device_precision precision;
    const char *rounding = text_of(given, "precision", "float32", &there, error);
    if (!rounding)
        return -1;
    if (device_precision_find(rounding, &precision, &why))
        return refuse(error, &why, "precision");
    *field = "recipe";
    const char *recipe = text_of(given, "recipe", "supervised", &there, error);
    if (!recipe)
        return -1;
    if (sampling_find(recipe, &chosen->recipe, &why))
        return refuse(error, &why, "recipe");
    *field = "loss";
    *loss = text_of(given, "loss", label && chosen->recipe != SAMPLING_GAN ? !strcmp(label, "class") ? "cross_entropy" : "mse" : NULL, &there, error);
    if ((there && !*loss) || check_loss(*loss, label, classes, chosen, error))
        return -1;
    *field = NULL;
    return 0;
}

/* Where a batch is doubled (pairs, a gan's generated rows), half as many rows are the most. */
static int check_batch(const struct chosen *chosen, const bson_t *complete, bson_error_t *error)
{
    bson_iter_t at;
    const bool doubled = chosen->recipe == SAMPLING_GAN || (chosen->has_loss && chosen->loss == LOSS_BPR);
    if (!doubled || !bson_iter_init_find(&at, complete, "batch_size") || bson_iter_as_int64(&at) <= BATCH_DOUBLED)
        return 0;
    return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.batch_size: %lld is not in [1, %d]: a step takes twice as many",
                     (long long)bson_iter_as_int64(&at), BATCH_DOUBLED);
}

static int check_window(const struct chosen *chosen, const char *name, bson_error_t *error)
{
    if (chosen->recipe == SAMPLING_FORECAST || (strcmp(name, "window") && strcmp(name, "horizon")))
        return 0;
    return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters.%s: only recipe forecast has it", name);
}

int hyper_parameters_check(const bson_t *given, const char *label, int64_t classes, bool defaults, bson_t *complete,
                           const char **field, bson_error_t *error)
{
    struct chosen chosen = {.has_loss = false};
    struct kernel_error why = {0};
    const char *none = NULL, *optimizer, *loss;
    bson_iter_t at;

    bson_init(complete);
    field = field ? field : &none;
    if (choose(given, label, classes, &chosen, &optimizer, &loss, field, error))
        return -1;
    if (given && !bson_iter_init(&at, given))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters: not a document");
    while (given && bson_iter_next(&at)) {
        *field = bson_iter_key(&at);
        if (check_window(&chosen, *field, error) || check_one(given, &at, &chosen, complete, error))
            return -1;
    }
    *field = "batch_size";
    if (check_batch(&chosen, complete, error))
        return -1;
    *field = NULL;
    if (optimizer_options_check(&chosen.optimizer, &why) ||
        schedule_check(&chosen.schedule, chosen.optimizer.learning_rate, &why))
        return hub_error(error, HUB_ERROR_INVALID, "hyper_parameters: %s", why.message);
    return defaults ? append_defaults(optimizer, loss, &chosen.optimizer, complete, error) : 0;
}
