/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/report_importance.h"

#include <criterion/criterion.h>
#include <math.h>

Test(importance, of_a_parameter_that_decides_all_is_one)
{
    const double y[] = {1, 1, 1, 3, 3, 3}, x[] = {10, 10, 10, 20, 20, 20};
    cr_expect_float_eq(report_importance(y, x, NULL, 6), 1, 1e-12);
}

/* By hand: means 2 and 4, SSB = 6 · 1 = 6, SST = 10, MSW = 4 / 4 = 1, omega² = (6 − 1) / (10 + 1). */
Test(importance, is_omega_squared)
{
    const double y[] = {1, 2, 3, 3, 4, 5}, x[] = {0, 0, 0, 1, 1, 1};
    cr_expect_float_eq(report_importance(y, x, NULL, 6), 5.0 / 11, 1e-12);
}

Test(importance, of_texts_goes_by_text)
{
    static const char a[] = "adam", b[] = "sgd";
    const char *const texts[] = {a, b, a, b, a, b};
    const double y[] = {1, 3, 2, 4, 3, 5}, none[] = {NAN, NAN, NAN, NAN, NAN, NAN};
    cr_expect_float_eq(report_importance(y, none, texts, 6), 5.0 / 11, 1e-12);
}

Test(importance, leaves_out_what_has_no_objective)
{
    const double y[] = {1, 2, 3, 3, 4, 5, NAN, INFINITY}, x[] = {0, 0, 0, 1, 1, 1, 0, 1};
    cr_expect_float_eq(report_importance(y, x, NULL, 8), 5.0 / 11, 1e-12);
}

Test(importance, of_chance_is_nothing_and_of_one_level_unknown)
{
    const double y[] = {1, 2, 1, 2}, x[] = {0, 0, 1, 1}, same[] = {5, 5, 5, 5};
    cr_expect_float_eq(report_importance(y, x, NULL, 4), 0, 1e-12);
    cr_expect(isnan(report_importance(y, same, NULL, 4)));
    cr_expect(isnan(report_importance(y, x, NULL, 2)));
}

Test(importance, of_many_numbers_has_levels)
{
    double y[400], x[400];
    for (int i = 0; i < 400; i++) {
        x[i] = (i * 137) % 400;
        y[i] = x[i] * x[i];
    }
    double share = report_importance(y, x, NULL, 400);
    cr_expect(share > 0.95 && share < 1, "%g", share);
}
