/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/data.h"

#include <criterion/criterion.h>
#include <string.h>

static bson_error_t error;
static float x[24], y[12];

/* 12 rows of two values: 0.0 0.5, 1.0 1.5, …; y is -row. */
static struct data rows(bool labelled)
{
    for (int i = 0; i < 24; i++)
        x[i] = (float)i / 2;
    for (int i = 0; i < 12; i++)
        y[i] = (float)-i;
    return (struct data){.rows = 12, .features = 2, .stored_rows = 12, .stored_features = 2, .x_f32 = x,
                         .y_value = labelled ? y : NULL, .outputs = labelled ? 1 : 0};
}

Test(data_sample, a_forecast_gives_a_window_and_what_comes_after_it)
{
    const struct sampling sampling = {.kind = SAMPLING_FORECAST, .window = 4, .horizon = 3};
    const uint32_t order[] = {5, 0};
    float in[16], out[4];
    struct data data = rows(false);
    cr_assert_eq(data_sample(&data, &sampling, NULL, &error), 0);
    cr_assert(data.rows == 6 && data.features == 8 && data.outputs == 2); /* the last is rows 5 … 8, and row 11 */
    data_gather(&data, order, 2, in, NULL, out);
    cr_expect_eq(memcmp(in, x + 10, 8 * sizeof *x), 0);
    cr_expect_eq(memcmp(in + 8, x, 8 * sizeof *x), 0);
    cr_expect(out[0] == 11.0f && out[1] == 11.5f && out[2] == 6.0f && out[3] == 6.5f);
    data = rows(true);
    cr_assert_eq(data_sample(&data, &sampling, NULL, &error), 0);
    data_gather(&data, order, 2, in, NULL, out);
    cr_expect(data.outputs == 1 && out[0] == -11.0f && out[1] == -6.0f);
    const struct sampling longer = {.kind = SAMPLING_FORECAST, .window = 12, .horizon = 1};
    data = rows(false);
    cr_expect_eq(data_sample(&data, &longer, NULL, &error), -1);
    cr_expect(strstr(error.message, "12 rows"), "%s", error.message);
}

Test(data_sample, an_autoencoder_gives_the_row_itself)
{
    const struct sampling sampling = {.kind = SAMPLING_AUTOENCODER};
    const uint32_t order[] = {7};
    float in[2], out[2];
    struct data data = rows(true);
    cr_assert_eq(data_sample(&data, &sampling, NULL, &error), 0);
    data_gather(&data, order, 1, in, NULL, out);
    cr_expect(data.outputs == 2 && in[0] == 7.0f && in[1] == 7.5f && !memcmp(in, out, sizeof in));
}

Test(data_sample, a_pair_has_an_item_that_the_user_has_not_chosen)
{
    enum { USERS = 3, ITEMS = 8 };
    /* User u has chosen all items but u and u + 1; a test row has item u. */
    float chosen_rows[2 * USERS * ITEMS], test_rows[2 * USERS], in[4 * USERS * ITEMS], again[4 * USERS * ITEMS];
    uint32_t order[USERS * ITEMS];
    int64_t n = 0, seen = 0;
    for (int u = 0; u < USERS; u++) {
        for (int i = 0; i < ITEMS; i++)
            if (i != u && i != u + 1) {
                chosen_rows[2 * n] = (float)u;
                chosen_rows[2 * n + 1] = (float)i;
                order[n] = (uint32_t)n;
                n++;
            }
        test_rows[2 * u] = test_rows[2 * u + 1] = (float)u;
    }
    const struct sampling sampling = {.kind = SAMPLING_RECOMMENDER};
    struct data data = {.rows = n, .features = 2, .stored_rows = n, .stored_features = 2, .x_f32 = chosen_rows, .seed = 7};
    struct data test = {.rows = USERS, .features = 2, .stored_rows = USERS, .stored_features = 2, .x_f32 = test_rows};
    struct chosen *chosen = NULL;
    cr_assert_eq(chosen_add(&chosen, &data, "train", &error), 0, "%s", error.message);
    cr_assert_eq(chosen_add(&chosen, &test, "test", &error), 0, "%s", error.message);
    cr_assert_eq(data_sample(&data, &sampling, chosen, &error), 0);
    cr_assert_eq(data_batch_rows(&data, n), 2 * n);
    for (data.draw = 1; data.draw <= 4; data.draw++) {
        data_gather(&data, order, n, in, NULL, NULL);
        cr_expect_eq(memcmp(in, chosen_rows, (size_t)n * 2 * sizeof *in), 0);
        for (int64_t i = 0; i < n; i++) {
            const float *other = in + 2 * (n + i);
            cr_assert_eq(other[0], in[2 * i], "another user");
            cr_assert(other[1] == other[0] + 1, "user %g, item %g: only user + 1 was not chosen", (double)other[0],
                      (double)other[1]);
        }
    }
    /* Another draw, other items: of the users of the first alone, whose items are all but two. */
    chosen_free(chosen);
    chosen = NULL;
    data.rows = data.stored_rows = 6;
    cr_assert_eq(chosen_add(&chosen, &data, "train", &error), 0);
    data.chosen = chosen;
    for (data.draw = 1; data.draw <= 20; data.draw++) {
        data_gather(&data, order, 6, in, NULL, NULL);
        data_gather(&data, order, 6, again, NULL, NULL);
        cr_assert_eq(memcmp(in, again, 24 * sizeof *in), 0, "the same draw, the same items");
        for (int64_t i = 0; i < 6; i++) {
            cr_assert(in[2 * (6 + i) + 1] < 2);
            seen |= 1 << (int)in[2 * (6 + i) + 1];
        }
    }
    cr_expect_eq(seen, 3, "both items are drawn");
    chosen_free(chosen);
    chosen = NULL;
    chosen_rows[3] = 1.5f;
    cr_expect_eq(chosen_add(&chosen, &data, "train", &error), -1);
    cr_expect(strstr(error.message, "row 1: item 1.5"), "%s", error.message);
    chosen_free(chosen);
}
