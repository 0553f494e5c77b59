/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/search_space.h"

#include <math.h>

#define BELOW_ONE 0x1.fffffffffffffp-1

double search_random(struct random_state *random)
{
    return (double)(random_u64(random) >> 11) * 0x1p-53;
}

static double normal_below(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2);
}

/* By halving: it is asked for once a point, and needs no table of coefficients. */
double search_normal_quantile(double p)
{
    double low = -38, high = 38;
    for (int i = 0; i < 80; i++) {
        double middle = (low + high) / 2;
        if (normal_below(middle) < p)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

static double keep_digits(double value)
{
    if (value == 0 || !isfinite(value))
        return value;
    double scale = pow(10, 8 - floor(log10(fabs(value))));
    return isfinite(scale) && scale > 0 ? round(value * scale) / scale : value;
}

/* Multiples of the quantum that lie within the limits; where there is none, the limit. */
static double quantise(const struct search_dimension *dimension, double value)
{
    double quantum = dimension->quantum;
    bool limited = dimension->scale == SEARCH_LINEAR || dimension->scale == SEARCH_LOG;
    if (quantum > 0) {
        value = round(value / quantum) * quantum;
        if (limited && value > dimension->high)
            value = floor(dimension->high / quantum) * quantum;
        if (limited && value < dimension->low)
            value = ceil(dimension->low / quantum) * quantum;
    }
    value = keep_digits(value);
    if (limited && value < dimension->low)
        value = dimension->low;
    return limited && value > dimension->high ? dimension->high : value;
}

/* LINEAR over integers: each has the same share, so the range is half a step wider on both sides. */
static double margin(const struct search_dimension *dimension)
{
    return dimension->scale == SEARCH_LINEAR ? dimension->quantum / 2 : 0;
}

double search_value(const struct search_dimension *dimension, double unit)
{
    unit = unit < 0 ? 0 : unit > BELOW_ONE ? BELOW_ONE : unit;
    if (dimension->kind == SEARCH_CHOICE) {
        size_t choice = 0;
        if (!dimension->ends)
            return floor(unit * (double)dimension->choices);
        while (choice + 1 < dimension->choices && unit >= dimension->ends[choice])
            choice++;
        return (double)choice;
    }
    double wider = margin(dimension), low = dimension->low, high = dimension->high;
    double z = dimension->scale >= SEARCH_NORMAL ? search_normal_quantile(unit > 0x1p-54 ? unit : 0x1p-54) : 0;
    switch (dimension->scale) {
    case SEARCH_LINEAR: return quantise(dimension, low - wider + unit * (high - low + 2 * wider));
    case SEARCH_LOG: return quantise(dimension, exp(log(low) + unit * (log(high) - log(low))));
    case SEARCH_NORMAL: return quantise(dimension, dimension->mu + dimension->sigma * z);
    case SEARCH_LOG_NORMAL: return quantise(dimension, exp(dimension->mu + dimension->sigma * z));
    }
    return 0;
}

double search_unit(const struct search_dimension *dimension, double value)
{
    double unit = 0.5, wider = margin(dimension), low = dimension->low, high = dimension->high;
    if (dimension->kind == SEARCH_CHOICE) {
        size_t choice = value > 0 ? (size_t)value : 0;
        choice = choice < dimension->choices ? choice : dimension->choices - 1;
        if (!dimension->ends)
            return ((double)choice + 0.5) / (double)dimension->choices;
        double before = choice ? dimension->ends[choice - 1] : 0;
        return (before + dimension->ends[choice]) / 2;
    }
    switch (dimension->scale) {
    case SEARCH_LINEAR: unit = high + 2 * wider > low ? (value - low + wider) / (high - low + 2 * wider) : 0.5; break;
    case SEARCH_LOG: unit = high > low ? (log(value) - log(low)) / (log(high) - log(low)) : 0.5; break;
    case SEARCH_NORMAL: unit = normal_below((value - dimension->mu) / dimension->sigma); break;
    case SEARCH_LOG_NORMAL: unit = normal_below((log(value) - dimension->mu) / dimension->sigma); break;
    }
    return unit > 0 ? (unit > BELOW_ONE ? BELOW_ONE : unit) : 0; /* NaN, of a value that is none of its, is 0 */
}

double search_step(const struct search_dimension *dimension, double unit)
{
    if (dimension->kind == SEARCH_CHOICE || !(dimension->quantum > 0))
        return 0;
    double value = search_value(dimension, unit);
    return fabs(search_unit(dimension, value + dimension->quantum) - search_unit(dimension, value));
}
