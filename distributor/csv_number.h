/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CSV_NUMBER_H
#define TL_DISTRIBUTOR_CSV_NUMBER_H

/* Decimal texts to the nearest double, rounded as strtod rounds (half to even), several times as fast.
 *
 * Up to 2^53 × 10^±22 by one exact multiplication or division (Clinger, "How to read floating point numbers accurately",
 * PLDI 1990); up to 19 digits with up to 19 decimals by an exact division of integers, whose remainder says how to round;
 * the few others by strtod in the C locale. */

#include <stddef.h>

enum csv_number {
    CSV_NUMBER_NONE,     /* not a number */
    CSV_NUMBER_FINITE,
    CSV_NUMBER_INFINITE  /* too large for a double, or "inf" and "infinity" in any case, signed or not */
};

/* text[0 … length - 1] as a whole: [+-] digits [point digits] [e[+-]digits], with a digit before or after the point. point
 * is '.' or ','. *value is set where the result is not CSV_NUMBER_NONE. No byte beyond is read. */
enum csv_number csv_number(const char *text, size_t length, char point, double *value);

/* Bytes before a text that csv_number_within may read. What they are does not matter. */
#define CSV_NUMBER_MARGIN 64
/* The same answers, sooner for what has up to 31 characters and no exponent: its digits are taken 16 at a time, and no branch
 * depends on how many there are. CSV_NUMBER_MARGIN bytes before text can be read. */
enum csv_number csv_number_within(const char *text, size_t length, char point, double *value);

#endif
