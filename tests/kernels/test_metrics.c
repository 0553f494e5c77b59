/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/metrics.h"
#include "kernels/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct metrics *make(enum loss_kind loss, int64_t columns, unsigned wanted, int64_t top_k)
{
    struct kernel_error error = {0};
    struct metrics_options options = {.loss = loss, .columns = columns, .wanted = wanted, .top_k = top_k};
    struct metrics *metrics = metrics_new(&options, &error);
    cr_assert_not_null(metrics, "%s", error.message);
    return metrics;
}

/* Rows given in batches of two, in rows with padding. */
static void add(struct metrics *metrics, const float *z, int64_t rows, int64_t columns, const int32_t *labels, const float *t)
{
    float padded[2 * 16];
    for (int64_t first = 0; first < rows; first += 2) {
        struct tensor values = {.data = padded, .rows = rows - first < 2 ? rows - first : 2, .columns = columns, .stride = 16};
        for (int64_t r = 0; r < values.rows; r++) {
            memcpy(padded + r * 16, z + (first + r) * columns, (size_t)columns * sizeof *z);
        }
        cr_assert_eq(metrics_add(metrics, &values, labels != NULL ? labels + first : NULL,
                                 t != NULL ? t + first * columns : NULL, NULL), 0);
    }
}

static double value(struct metrics *metrics, enum metric metric)
{
    double found;
    cr_assert(metrics_value(metrics, metric, &found), "no %s", metric_name(metric));
    return found;
}

Test(metrics, of_several_classes)
{
    /* predicted 0 0 1 2 2 2 of labels 0 1 1 2 2 0; class 3 never occurs */
    static const float z[6][4] = {{3, 1, 0, 2}, {3, 2, 0, 1}, {0, 3, 1, 2}, {0, 1, 3, 2}, {0, 1, 3, 2}, {0, 1, 3, 2}};
    static const int32_t labels[6] = {0, 1, 1, 2, 2, 0};
    unsigned wanted = metrics_possible(LOSS_CROSS_ENTROPY, 4);
    struct metrics *metrics = make(LOSS_CROSS_ENTROPY, 4, wanted, 2);
    add(metrics, &z[0][0], 6, 4, labels, NULL);
    for (int again = 0; again < 2; again++) {
        cr_expect_float_eq(value(metrics, METRIC_PRECISION), (0.5 + 1.0 + 2.0 / 3) / 3, 1e-12);
        cr_expect_float_eq(value(metrics, METRIC_RECALL), (0.5 + 0.5 + 1.0) / 3, 1e-12);
        cr_expect_float_eq(value(metrics, METRIC_F1), (0.5 + 2.0 / 3 + 0.8) / 3, 1e-12);
        cr_expect_float_eq(value(metrics, METRIC_TOP_K_ACCURACY), 5.0 / 6, 1e-12);
        int64_t classes;
        const int64_t *matrix = metrics_confusion(metrics, &classes);
        static const int64_t expected[16] = {1, 0, 1, 0, 1, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0};
        cr_assert_eq(classes, 4);
        cr_expect_arr_eq(matrix, expected, sizeof expected);
        metrics_clear(metrics); /* and the same once more */
        add(metrics, &z[0][0], 6, 4, labels, NULL);
    }
    double none;
    cr_expect(!metrics_value(metrics, METRIC_AUC, &none));
    cr_expect(!metrics_value(metrics, METRIC_LOSS, &none), "the net's");
    metrics_free(metrics);
}

Test(metrics, of_two_classes_are_those_of_the_second)
{
    /* scores 0.1 0.4 0.35 0.8 of labels 0 0 1 1: three pairs of four in order */
    static const float z[4] = {-2.0f, 0.4f, 0.35f, 3.0f}, t[4] = {0, 0, 1, 1};
    struct metrics *metrics = make(LOSS_BINARY_CROSS_ENTROPY, 1, metrics_possible(LOSS_BINARY_CROSS_ENTROPY, 1), 0);
    add(metrics, z, 4, 1, NULL, t);
    cr_expect_float_eq(value(metrics, METRIC_PRECISION), 2.0 / 3, 1e-12);
    cr_expect_float_eq(value(metrics, METRIC_RECALL), 1.0, 1e-12);
    cr_expect_float_eq(value(metrics, METRIC_F1), 0.8, 1e-12);
    cr_expect_float_eq(value(metrics, METRIC_AUC), 0.75, 1e-12);
    int64_t classes;
    const int64_t *matrix = metrics_confusion(metrics, &classes);
    cr_expect(classes == 2 && matrix[0] == 1 && matrix[1] == 1 && matrix[2] == 0 && matrix[3] == 2);
    metrics_free(metrics);
    /* The same rows as two columns of a softmax. */
    static const float both[4][2] = {{1, -1}, {0, 0.4f}, {0.15f, 0.5f}, {-1, 2}};
    static const int32_t labels[4] = {0, 0, 1, 1};
    metrics = make(LOSS_CROSS_ENTROPY, 2, metrics_standard(LOSS_CROSS_ENTROPY, 2), 0);
    add(metrics, &both[0][0], 4, 2, labels, NULL);
    cr_expect_float_eq(value(metrics, METRIC_PRECISION), 2.0 / 3, 1e-12);
    cr_expect_float_eq(value(metrics, METRIC_AUC), 0.75, 1e-12);
    metrics_free(metrics);
}

Test(metrics, auc_is_the_share_of_pairs_in_order)
{
    enum { ROWS = 301 };
    float z[ROWS], t[ROWS];
    struct random_state random;
    random_init(&random, 9, 1);
    double right = 0, pairs = 0;
    for (int i = 0; i < ROWS; i++) {
        t[i] = random_below(&random, 3) == 0 ? 1.0f : 0.0f;
        z[i] = (float)random_below(&random, 20) + 4.0f * t[i]; /* many ties */
    }
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < ROWS; j++) {
            if (t[i] > t[j]) {
                right += z[i] > z[j] ? 1.0 : z[i] == z[j] ? 0.5 : 0.0;
                pairs++;
            }
        }
    }
    struct metrics *metrics = make(LOSS_BINARY_CROSS_ENTROPY, 1, METRIC_BIT(METRIC_AUC), 0);
    add(metrics, z, ROWS, 1, NULL, t);
    cr_expect_float_eq(value(metrics, METRIC_AUC), right / pairs, 1e-12);
    metrics_clear(metrics);
    double none;
    cr_expect(!metrics_value(metrics, METRIC_AUC, &none), "of no rows");
    t[0] = t[1] = 1.0f;
    add(metrics, z, 2, 1, NULL, t);
    cr_expect(!metrics_value(metrics, METRIC_AUC, &none), "of one class");
    metrics_free(metrics);
}

Test(metrics, of_values)
{
    static const float z[3][2] = {{1, 10}, {2, 20}, {6, 33}}, t[3][2] = {{1, 10}, {2, 20}, {3, 30}};
    struct metrics *metrics = make(LOSS_MSE, 2, metrics_standard(LOSS_MSE, 2), 0);
    add(metrics, &z[0][0], 3, 2, NULL, &t[0][0]);
    cr_expect_float_eq(value(metrics, METRIC_MAE), 1.0, 1e-12);
    cr_expect_float_eq(value(metrics, METRIC_RMSE), sqrt(3.0), 1e-12);
    cr_expect_float_eq(value(metrics, METRIC_R2), (1 - 9.0 / 2 + 1 - 9.0 / 200) / 2, 1e-12);
    metrics_free(metrics);
    static const float same[3] = {4, 4, 4}, off[3] = {4, 4, 5};
    metrics = make(LOSS_HUBER, 1, METRIC_BIT(METRIC_R2), 0);
    add(metrics, same, 3, 1, NULL, same);
    cr_expect_eq(value(metrics, METRIC_R2), 1.0);
    metrics_clear(metrics);
    add(metrics, off, 3, 1, NULL, same);
    cr_expect_eq(value(metrics, METRIC_R2), 0.0);
    metrics_free(metrics);
}

Test(metrics, of_several_answers_of_yes_and_no)
{
    static const float z[2][3] = {{1, -1, 1}, {1, 1, -1}}, t[2][3] = {{1, 0, 0}, {0, 1, 1}};
    unsigned wanted = metrics_standard(LOSS_BINARY_CROSS_ENTROPY, 3);
    struct metrics *metrics = make(LOSS_BINARY_CROSS_ENTROPY, 3, wanted | METRIC_BIT(METRIC_MAE), 0);
    cr_expect_eq(wanted & METRIC_BIT(METRIC_ACCURACY), 0);
    add(metrics, &z[0][0], 2, 3, NULL, &t[0][0]);
    cr_expect_float_eq(value(metrics, METRIC_PRECISION), (0.5 + 1 + 0) / 3, 1e-12);
    cr_expect_float_eq(value(metrics, METRIC_RECALL), (1.0 + 1 + 0) / 3, 1e-12);
    double p = 1 / (1 + exp(-1.0));
    cr_expect_float_eq(value(metrics, METRIC_MAE), (3 * (1 - p) + 3 * p) / 6, 1e-7);
    metrics_free(metrics);
}

Test(metrics, what_cannot_be_had_is_refused_by_name)
{
    struct kernel_error error = {0};
    struct metrics_options options = {.loss = LOSS_MSE, .columns = 2, .wanted = METRIC_BIT(METRIC_F1)};
    cr_expect_null(metrics_new(&options, &error));
    cr_expect_not_null(strstr(error.message, "f1"), "%s", error.message);
    options = (struct metrics_options){.loss = LOSS_CROSS_ENTROPY, .columns = 101,
                                       .wanted = METRIC_BIT(METRIC_CONFUSION_MATRIX)};
    cr_expect_null(metrics_new(&options, &error));
    options = (struct metrics_options){.loss = LOSS_CROSS_ENTROPY, .columns = 5, .top_k = 5,
                                       .wanted = METRIC_BIT(METRIC_TOP_K_ACCURACY)};
    cr_expect_null(metrics_new(&options, &error));
    cr_expect_eq(strncmp(error.message, "top_k: ", 7), 0, "%s", error.message);
    metrics_free(NULL);
}

Test(metrics, names_and_directions)
{
    int minimised = 0;
    for (int i = 0; i < METRIC_COUNT; i++) {
        enum metric found;
        cr_expect(metric_find(metric_name((enum metric)i), &found) && found == (enum metric)i);
        minimised += metric_is_minimised(found);
    }
    cr_expect_eq(minimised, 3, "loss, mae and rmse");
    enum metric none;
    cr_expect(!metric_find("colour", &none) && !metric_find(NULL, &none));
    cr_expect(metric_is_minimised(METRIC_RMSE) && !metric_is_minimised(METRIC_R2));
}

Test(metrics, of_a_split_by_name)
{
    enum metric found;
    size_t split;
    cr_expect(metric_find_of_split("validation_top_k_accuracy", &found, &split));
    cr_expect(found == METRIC_TOP_K_ACCURACY && split == 10);
    cr_expect(metric_find_of_split("my_split_accuracy", &found, &split) && found == METRIC_ACCURACY && split == 8);
    cr_expect(metric_find_of_split("f1", &found, &split) && found == METRIC_F1 && split == 0);
    cr_expect(!metric_find_of_split("_f1", &found, &split) && !metric_find_of_split("inaccuracy", &found, &split));
    cr_expect(!metric_find_of_split("", &found, &split) && !metric_find_of_split(NULL, &found, &split));
}
