/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_TEXT_DOUBLE_H
#define TL_CLI_TEXT_DOUBLE_H

/* The shortest decimal that reads back as the same double, by integers of 128 bits: a large report is half numbers, and
 * trying one precision after the other with printf and strtod takes 20 times as long. */

#define TEXT_DOUBLE_DIGITS 17

/* value is positive, no integer, and from 1e-6 to 2^52. digits gets the decimal's digits without a last 0, *exponent that
 * of the first: 0.025 is "25" and -2. The number of digits; 0 where value is not in the range. Of the decimals with so many
 * digits it is the one nearest to value, as printf's "%.*g" rounds. */
int text_double_shortest(double value, char digits[TEXT_DOUBLE_DIGITS + 1], int *exponent);

#endif
