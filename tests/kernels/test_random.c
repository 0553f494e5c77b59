/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* The known answers that the authors publish with Random123 (kat_vectors, philox4x32 with 10 rounds). */
Test(random, philox_gives_its_known_answers)
{
    uint32_t out[4];
    random_block(0, 0, 0, out);
    cr_expect(out[0] == 0x6627e8d5 && out[1] == 0xe169c58d && out[2] == 0xbc57ac4c && out[3] == 0x9b00dbd8);
    random_block(UINT64_MAX, UINT64_MAX, UINT64_MAX, out);
    cr_expect(out[0] == 0x408f276d && out[1] == 0x41c83b0e && out[2] == 0xa20bc7c6 && out[3] == 0x6d5451fd);
    random_block(0x299f31d0a4093822ull, 0x0370734413198a2eull, 0x85a308d3243f6a88ull, out);
    cr_expect(out[0] == 0xd16cfe09 && out[1] == 0x94fdcceb && out[2] == 0x5001e420 && out[3] == 0x24126ea1);
}

Test(random, a_restored_state_goes_on_with_the_same_sequence)
{
    struct random_state state, copy;
    random_init(&state, 7, 3);
    for (int given = 0; given < 11; given++) {
        random_restore(&copy, state.seed, state.stream, state.counter, state.used);
        struct random_state original = state;
        for (int i = 0; i < 9; i++) {
            cr_assert_eq(random_u32(&copy), random_u32(&original));
        }
        random_u32(&state);
    }
}

Test(random, seeds_and_streams_differ)
{
    struct random_state a, b, c;
    random_init(&a, 1, 0);
    random_init(&b, 2, 0);
    random_init(&c, 1, 1);
    uint64_t x = random_u64(&a), y = random_u64(&b), z = random_u64(&c);
    cr_expect(x != y && x != z && y != z);
}

Test(random, numbers_have_the_moments_of_their_distribution)
{
    struct random_state state;
    random_init(&state, 42, 0);
    double uniform = 0, normal = 0, square = 0;
    int counts[3] = {0};
    const int n = 200000;
    for (int i = 0; i < n; i++) {
        float u = random_uniform(&state);
        cr_assert(u >= 0.0f && u < 1.0f);
        uniform += (double)u / n;
        double z = random_normal(&state);
        normal += z / n;
        square += z * z / n;
        counts[random_below(&state, 3)]++;
    }
    cr_expect(fabs(uniform - 0.5) < 0.003);
    cr_expect(fabs(normal) < 0.01);
    cr_expect(fabs(square - 1.0) < 0.02);
    for (int i = 0; i < 3; i++) {
        cr_expect(abs(counts[i] - n / 3) < 1000, "%d", counts[i]);
    }
    cr_expect_eq(random_below(&state, 1), 0);
    cr_expect_eq(random_below(&state, 0), 0);
}

Test(random, a_shuffle_is_a_permutation_that_moves_things)
{
    struct random_state state;
    random_init(&state, 5, 9);
    int64_t order[1000];
    int seen[1000] = {0}, same = 0;
    random_order(&state, order, 1000);
    for (int i = 0; i < 1000; i++) {
        seen[order[i]]++;
        same += order[i] == i;
    }
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(seen[i], 1);
    }
    cr_expect(same < 20);
    random_order(&state, order, 0);
}

Test(random, initialisers_keep_their_bounds)
{
    static float values[10000];
    struct random_state state;
    static const struct { enum initialiser kind; double bound, deviation; } cases[] = {
        {INITIALISER_HE_UNIFORM, 0.2449490, 0.1414214},     {INITIALISER_HE_NORMAL, 1.0, 0.1414214},
        {INITIALISER_GLOROT_UNIFORM, 0.2, 0.1154701},       {INITIALISER_GLOROT_NORMAL, 1.0, 0.1154701},
        {INITIALISER_LECUN_UNIFORM, 0.1, 0.0577350},        {INITIALISER_ZERO, 0.0, 0.0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        random_init(&state, 1, k);
        cr_assert_eq(random_initialise_matrix(&state, cases[k].kind, 100, 50, 100, 100, values, 100), 0);
        double square = 0;
        for (int i = 0; i < 10000; i++) {
            cr_assert(fabs((double)values[i]) <= cases[k].bound + 1e-7);
            square += (double)values[i] * (double)values[i] / 10000;
        }
        cr_expect(fabs(sqrt(square) - cases[k].deviation) < 0.005, "%zu: %g", k, sqrt(square));
    }
}

Test(random, orthogonal_rows_or_columns_are_orthonormal)
{
    static const struct { int64_t rows, columns; } cases[] = {{40, 40}, {7, 40}, {40, 7}, {1, 5}, {5, 1}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const int64_t rows = cases[k].rows, columns = cases[k].columns, stride = 48;
        const bool tall = rows > columns;
        struct random_state state;
        float values[40 * 48];
        memset(values, 0x7f, sizeof values);
        random_init(&state, 1, k);
        cr_assert_eq(random_initialise_matrix(&state, INITIALISER_ORTHOGONAL, 0, 0, rows, columns, values, stride), 0);
        for (int64_t i = 0; i < (tall ? columns : rows); i++) {
            for (int64_t j = 0; j < (tall ? columns : rows); j++) {
                double product = 0;
                for (int64_t l = 0; l < (tall ? rows : columns); l++) {
                    product += tall ? (double)values[l * stride + i] * (double)values[l * stride + j]
                                    : (double)values[i * stride + l] * (double)values[j * stride + l];
                }
                cr_assert(fabs(product - (i == j)) < 1e-6, "%zu: %lld, %lld: %g", k, (long long)i, (long long)j, product);
            }
        }
        int untouched = 0;
        memcpy(&untouched, &values[columns], sizeof untouched);
        cr_expect_eq(untouched, 0x7f7f7f7f, "%zu: between the rows", k);
    }
}
