/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text_double.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LEAST        1e-6
#define MOST_PLACES  22  /* 2^53 * 10^22 < 2^127 */
#define SURE_DIGITS  15  /* a decimal with so many is known again from its double */
#define MANTISSA     53

__extension__ typedef unsigned __int128 wide; /* named, since a compiler that is pedantic knows no such type */

/* A double as mantissa / 2^shift. */
struct binary {
    uint64_t mantissa;
    int shift;
};

static wide power_of_ten(int n)
{
    wide power = 1;

    while (n-- > 0) {
        power *= 10;
    }
    return power;
}

static int count_digits(wide number)
{
    int count = 1;

    for (; number >= UINT64_C(10000000000); number /= UINT64_C(10000000000)) {
        count += 10;
    }
    for (uint64_t rest = (uint64_t)number; rest >= 10; rest /= 10) {
        count++;
    }
    return count;
}

/* The whole number nearest to value * 10^places, the even one of two; *same: it reads back as value, that is to say that it
 * is nearer to it than to the doubles beside it. */
static wide round_at(struct binary value, int places, bool *same)
{
    wide power = power_of_ten(places), exact = value.mantissa * power;
    wide number = exact >> value.shift, rest = exact - (number << value.shift), half = (wide)1 << (value.shift - 1);
    bool up = rest > half || (rest == half && (number & 1) != 0);
    /* Half a unit of the mantissa is power / 2 here; below a power of two the doubles lie twice as close. */
    bool close = value.mantissa == (uint64_t)1 << (MANTISSA - 1) && !up;
    wide distance = (up ? ((wide)1 << value.shift) - rest : rest) * (close ? 4 : 2);

    *same = distance < power || (distance == power && (value.mantissa & 1) == 0);
    return number + up;
}

int text_double_shortest(double value, char digits[TEXT_DOUBLE_DIGITS + 1], int *exponent)
{
    int power;
    bool same = false;
    wide number = 0;

    if (!(value >= LEAST && value < 4503599627370496.0) || value == floor(value)) {
        return 0;
    }
    struct binary binary = {.mantissa = (uint64_t)ldexp(frexp(value, &power), MANTISSA)};
    binary.shift = MANTISSA - power;
    *exponent = count_digits((binary.mantissa * power_of_ten(MOST_PLACES)) >> binary.shift) - 1 - MOST_PLACES;
    for (int count = SURE_DIGITS; count <= TEXT_DOUBLE_DIGITS && !same; count++) {
        int places = count - 1 - *exponent;
        number = round_at(binary, places < 0 ? 0 : places > MOST_PLACES ? MOST_PLACES : places, &same);
        *exponent += same && count_digits(number) > count; /* 9.99… became 10 */
    }
    if (!same) {
        return 0;
    }
    while (number % 10 == 0) {
        number /= 10;
    }
    int count = 0;
    char reversed[40];
    for (uint64_t rest = (uint64_t)number; rest > 0; rest /= 10) {
        reversed[count++] = (char)('0' + rest % 10);
    }
    for (int i = 0; i < count; i++) {
        digits[i] = reversed[count - 1 - i];
    }
    digits[count] = '\0';
    return count;
}
