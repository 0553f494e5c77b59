/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_SEARCH_SPACE_H
#define TL_DISTRIBUTOR_SEARCH_SPACE_H

/* What a search looks through. Every parameter that has more than one value is a dimension, and a place in it is a number
 * in [0, 1): the parameter's distribution function there. So a method knows the unit cube only, and W&B's distributions
 * are known here only. */

#include "kernels/random.h"

#include <stdbool.h>

enum search_kind { SEARCH_CHOICE, SEARCH_NUMBER };

enum search_scale {
    SEARCH_LINEAR,    /* uniform in [low, high] */
    SEARCH_LOG,       /* its logarithm is */
    SEARCH_NORMAL,    /* mu + sigma N(0, 1) */
    SEARCH_LOG_NORMAL /* exp of that */
};

struct search_dimension {
    enum search_kind kind;
    size_t choices;         /* SEARCH_CHOICE: at least 2 */
    const double *ends;     /* (choices) cumulative probabilities, the last 1; NULL: all alike. Borrowed */
    enum search_scale scale;
    double low, high;       /* LINEAR and LOG: of the values themselves */
    double mu, sigma;       /* NORMAL, LOG_NORMAL */
    double quantum;         /* values are multiples of it; 0: any */
};

struct search_space {
    const struct search_dimension *dimensions; /* (count), borrowed */
    size_t count;
};

/* A result that a method may use, of the point of this number. The results of a search are an array of these, the index being
 * the number. */
struct search_result {
    double *units;   /* (space.count) where the point lies; NULL: there is no such point */
    double value;    /* to be minimised */
    bool ended;      /* it trains no more */
    bool has_value;  /* and came to a finite value */
};

/* The value at a place: the index of a choice, or the number, with at most 9 significant digits. */
double search_value(const struct search_dimension *dimension, double unit);
/* The place of a value: what search_value gives for it is the value (nearly, where it is rounded). */
double search_unit(const struct search_dimension *dimension, double value);
/* How wide in [0, 1) one step of a quantised number is about `unit`; 0: it is not quantised. */
double search_step(const struct search_dimension *dimension, double unit);
/* [0, 1), 53 bits. */
double search_random(struct random_state *random);
/* The quantile of the standard normal distribution: 0 < p < 1. */
double search_normal_quantile(double p);

#endif
