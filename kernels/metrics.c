/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    OF_CLASSES = METRIC_BIT(METRIC_PRECISION) | METRIC_BIT(METRIC_RECALL) | METRIC_BIT(METRIC_F1),
    OF_VALUES = METRIC_BIT(METRIC_MAE) | METRIC_BIT(METRIC_RMSE) | METRIC_BIT(METRIC_R2)
};

/* One row of those whose order auc asks for. */
struct ranked {
    float score;
    int32_t positive;
};

/* Of one class, or of one column of yes and no. */
struct hits {
    int64_t right, predicted, actual;
};

/* Of one column of values: Welford's running mean and sum of squares (1962), and the squares of what is missed. */
struct spread {
    double mean, squares, missed;
};

struct metrics {
    struct metrics_options options;
    int64_t rows;
    int64_t among; /* rows right in the first k */
    double absolute, squared;
    struct hits *hits;     /* (classes); two for one column of yes and no; else (columns) */
    struct spread *spread; /* (columns) */
    int64_t *confusion;    /* (classes, classes) */
    struct ranked *ranked; /* (rows) */
    size_t room;
};

static const struct {
    const char *name;
    bool minimised;
} all[METRIC_COUNT] = {
    [METRIC_LOSS] = {"loss", true},
    [METRIC_ACCURACY] = {"accuracy", false},
    [METRIC_TOP_K_ACCURACY] = {"top_k_accuracy", false},
    [METRIC_PRECISION] = {"precision", false},
    [METRIC_RECALL] = {"recall", false},
    [METRIC_F1] = {"f1", false},
    [METRIC_AUC] = {"auc", false},
    [METRIC_MAE] = {"mae", true},
    [METRIC_RMSE] = {"rmse", true},
    [METRIC_R2] = {"r2", false},
    [METRIC_CONFUSION_MATRIX] = {"confusion_matrix", false},
};

bool metric_find(const char *name, enum metric *metric)
{
    for (int i = 0; name != NULL && i < METRIC_COUNT; i++) {
        if (strcmp(name, all[i].name) == 0) {
            *metric = (enum metric)i;
            return true;
        }
    }
    return false;
}

bool metric_find_of_split(const char *name, enum metric *metric, size_t *split)
{
    size_t length = name != NULL ? strlen(name) : 0, longest = 0;
    *split = 0;
    for (int i = 0; i < METRIC_COUNT; i++) { /* the longest, for accuracy ends top_k_accuracy */
        size_t own = strlen(all[i].name);
        bool ends = own <= length && own > longest && strcmp(name + length - own, all[i].name) == 0;
        if (ends && (own == length || (own + 1 < length && name[length - own - 1] == '_'))) {
            *metric = (enum metric)i;
            *split = own == length ? 0 : length - own - 1;
            longest = own;
        }
    }
    return longest > 0;
}

const char *metric_name(enum metric metric)
{
    return all[metric].name;
}

bool metric_is_minimised(enum metric metric)
{
    return all[metric].minimised;
}

unsigned metrics_possible(enum loss_kind loss, int64_t columns)
{
    unsigned set = METRIC_BIT(METRIC_LOSS);
    bool one = columns <= 1, matrix = columns <= METRICS_CONFUSION_CLASSES;
    if (loss_has_accuracy(loss, one ? 1 : columns)) {
        set |= METRIC_BIT(METRIC_ACCURACY);
    }
    switch (loss) {
    case LOSS_CROSS_ENTROPY:
        set |= OF_CLASSES | METRIC_BIT(METRIC_TOP_K_ACCURACY) | (matrix ? METRIC_BIT(METRIC_CONFUSION_MATRIX) : 0);
        return columns == 0 || columns == 2 ? set | METRIC_BIT(METRIC_AUC) : set;
    case LOSS_BINARY_CROSS_ENTROPY:
        set |= OF_CLASSES | OF_VALUES;
        return one ? set | METRIC_BIT(METRIC_AUC) | METRIC_BIT(METRIC_CONFUSION_MATRIX) : set;
    case LOSS_MSE:
    case LOSS_MAE:
    case LOSS_HUBER:
        return set | OF_VALUES;
    case LOSS_BPR:
        break;
    }
    return set;
}

unsigned metrics_standard(enum loss_kind loss, int64_t columns)
{
    unsigned set = metrics_possible(loss, columns) &
                   ~(METRIC_BIT(METRIC_TOP_K_ACCURACY) | METRIC_BIT(METRIC_CONFUSION_MATRIX));
    if (loss == LOSS_BINARY_CROSS_ENTROPY) {
        set &= ~(unsigned)OF_VALUES; /* of a probability they say little */
    }
    return set;
}

static bool wants(const struct metrics *metrics, enum metric metric)
{
    return (metrics->options.wanted & METRIC_BIT(metric)) != 0;
}

/* Classes of the matrix and the hits; two for one column of yes and no, 0 for several of them. */
static int64_t classes_of(const struct metrics_options *options)
{
    if (options->loss == LOSS_BINARY_CROSS_ENTROPY) {
        return options->columns == 1 ? 2 : 0;
    }
    return options->columns;
}

static int check(const struct metrics_options *options, struct kernel_error *error)
{
    unsigned impossible = options->wanted & ~metrics_possible(options->loss, options->columns);
    for (int i = 0; i < METRIC_COUNT; i++) {
        if ((impossible & METRIC_BIT(i)) != 0) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "metrics: %s cannot be had from %s with %lld output%s",
                                    all[i].name, loss_name(options->loss), (long long)options->columns,
                                    options->columns == 1 ? "" : "s");
        }
    }
    if (options->columns < 1) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "metrics: of no outputs");
    }
    if ((options->wanted & METRIC_BIT(METRIC_TOP_K_ACCURACY)) != 0 &&
        (options->top_k < 1 || options->top_k >= options->columns)) {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "top_k: %lld: it must be from 1 to %lld, below the number of "
                                "classes", (long long)options->top_k, (long long)options->columns - 1);
    }
    return 0;
}

struct metrics *metrics_new(const struct metrics_options *options, struct kernel_error *error)
{
    if (check(options, error) < 0) {
        return NULL;
    }
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "metrics: out of memory");
        return NULL;
    }
    metrics->options = *options;
    int64_t classes = classes_of(options);
    bool matrix = wants(metrics, METRIC_CONFUSION_MATRIX), hits = (options->wanted & OF_CLASSES) != 0;
    bool values = (options->wanted & OF_VALUES) != 0;
    metrics->hits = hits ? calloc((size_t)(classes > 0 ? classes : options->columns), sizeof *metrics->hits) : NULL;
    metrics->spread = values ? calloc((size_t)options->columns, sizeof *metrics->spread) : NULL;
    metrics->confusion = matrix ? calloc((size_t)(classes * classes), sizeof *metrics->confusion) : NULL;
    if ((hits && metrics->hits == NULL) || (values && metrics->spread == NULL) ||
        (matrix && metrics->confusion == NULL)) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "metrics: out of memory");
        metrics_free(metrics);
        return NULL;
    }
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics != NULL) {
        free(metrics->hits);
        free(metrics->spread);
        free(metrics->confusion);
        free(metrics->ranked);
        free(metrics);
    }
}

const struct metrics_options *metrics_options(const struct metrics *metrics)
{
    return &metrics->options;
}

void metrics_clear(struct metrics *metrics)
{
    int64_t classes = classes_of(&metrics->options), columns = metrics->options.columns;
    metrics->rows = metrics->among = 0;
    metrics->absolute = metrics->squared = 0.0;
    if (metrics->hits != NULL) {
        memset(metrics->hits, 0, (size_t)(classes > 0 ? classes : columns) * sizeof *metrics->hits);
    }
    if (metrics->spread != NULL) {
        memset(metrics->spread, 0, (size_t)columns * sizeof *metrics->spread);
    }
    if (metrics->confusion != NULL) {
        memset(metrics->confusion, 0, (size_t)(classes * classes) * sizeof *metrics->confusion);
    }
}

static void add_class(struct metrics *metrics, int64_t label, int64_t predicted)
{
    if (metrics->hits != NULL) {
        metrics->hits[label].actual++;
        metrics->hits[predicted].predicted++;
        metrics->hits[label].right += label == predicted;
    }
    if (metrics->confusion != NULL) {
        metrics->confusion[label * classes_of(&metrics->options) + predicted]++;
    }
}

/* How many classes stand before that of label, by z and then by number. */
static int64_t rank_of(const float *z, int64_t columns, int64_t label)
{
    int64_t before = 0;
    for (int64_t c = 0; c < columns; c++) {
        before += z[c] > z[label] || (z[c] == z[label] && c < label);
    }
    return before;
}

static void add_label(struct metrics *metrics, const float *z, int64_t columns, int64_t label)
{
    int64_t best = 0;
    for (int64_t c = 1; c < columns; c++) {
        best = z[c] > z[best] ? c : best;
    }
    add_class(metrics, label, best);
    if (wants(metrics, METRIC_TOP_K_ACCURACY)) {
        metrics->among += rank_of(z, columns, label) < metrics->options.top_k;
    }
}

static void add_yes_or_no(struct metrics *metrics, const float *z, int64_t columns, const float *targets)
{
    if (columns == 1) {
        add_class(metrics, targets[0] > 0.5f, z[0] > 0.0f);
        return;
    }
    for (int64_t c = 0; metrics->hits != NULL && c < columns; c++) {
        bool actual = targets[c] > 0.5f, predicted = z[c] > 0.0f;
        metrics->hits[c].actual += actual;
        metrics->hits[c].predicted += predicted;
        metrics->hits[c].right += actual && predicted;
    }
}

static void add_values(struct metrics *metrics, const float *z, int64_t columns, const float *targets)
{
    double row = (double)metrics->rows + 1.0;
    bool two = metrics->options.loss == LOSS_BINARY_CROSS_ENTROPY;
    for (int64_t c = 0; c < columns; c++) {
        struct spread *spread = &metrics->spread[c];
        double p = two ? 1.0 / (1.0 + exp(-(double)z[c])) : (double)z[c];
        double t = (double)targets[c], missed = p - t, from = t - spread->mean;
        spread->mean += from / row;
        spread->squares += from * (t - spread->mean);
        spread->missed += missed * missed;
        metrics->absolute += fabs(missed);
        metrics->squared += missed * missed;
    }
}

/* Room for so many rows more. */
static int make_room(struct metrics *metrics, int64_t rows, struct kernel_error *error)
{
    size_t needed = (size_t)(metrics->rows + rows);
    if (needed <= metrics->room) {
        return 0;
    }
    size_t room = needed + needed / 2;
    struct ranked *ranked = realloc(metrics->ranked, room * sizeof *ranked);
    if (ranked == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "metrics: out of memory for the auc of %zu rows", needed);
    }
    metrics->ranked = ranked;
    metrics->room = room;
    return 0;
}

int metrics_add(struct metrics *metrics, const struct tensor *z, const int32_t *labels, const float *targets,
                struct kernel_error *error)
{
    int64_t columns = z->columns;
    bool auc = wants(metrics, METRIC_AUC), classes = metrics->options.loss == LOSS_CROSS_ENTROPY;
    bool two = metrics->options.loss == LOSS_BINARY_CROSS_ENTROPY;
    if (auc && make_room(metrics, z->rows, error) < 0) {
        return -1;
    }
    for (int64_t r = 0; r < z->rows; r++) {
        const float *row = z->data + r * z->stride;
        if (classes) {
            add_label(metrics, row, columns, labels[r]);
        } else if (two) {
            add_yes_or_no(metrics, row, columns, targets + r * columns);
        }
        if (metrics->spread != NULL) {
            add_values(metrics, row, columns, targets + r * columns);
        }
        if (auc) {
            /* Of two classes the softmax of one grows with the difference of z. */
            metrics->ranked[metrics->rows] = (struct ranked){.score = classes ? row[1] - row[0] : row[0],
                                                             .positive = classes ? labels[r] == 1 : targets[r] > 0.5f};
        }
        metrics->rows++;
    }
    return 0;
}

static int compare_scores(const void *a, const void *b)
{
    float x = ((const struct ranked *)a)->score, y = ((const struct ranked *)b)->score;
    return (x > y) - (x < y);
}

static bool measure_auc(struct metrics *metrics, double *value)
{
    struct ranked *ranked = metrics->ranked;
    int64_t rows = metrics->rows, positives = 0;
    double sum = 0.0; /* of the ranks of positive rows, from 1; equal ones share theirs */
    if (rows == 0) {
        return false;
    }
    qsort(ranked, (size_t)rows, sizeof *ranked, compare_scores);
    for (int64_t first = 0, next; first < rows; first = next) {
        int64_t here = 0;
        for (next = first; next < rows && ranked[next].score == ranked[first].score; next++) {
            here += ranked[next].positive;
        }
        next = next > first ? next : first + 1; /* NaN equals nothing */
        sum += (double)here * ((double)(first + 1) + (double)next) / 2.0;
        positives += here;
    }
    double p = (double)positives, n = (double)(rows - positives);
    *value = p > 0.0 && n > 0.0 ? (sum - p * (p + 1.0) / 2.0) / (p * n) : 0.0;
    return p > 0.0 && n > 0.0;
}

static double of_hits(const struct hits *hits, enum metric metric)
{
    double right = (double)hits->right, predicted = (double)hits->predicted, actual = (double)hits->actual;
    double all_of = metric == METRIC_PRECISION ? predicted : metric == METRIC_RECALL ? actual : (predicted + actual) / 2.0;
    return all_of > 0.0 ? right / all_of : 0.0;
}

static double measure_hits(const struct metrics *metrics, enum metric metric)
{
    int64_t classes = classes_of(&metrics->options), count = 0;
    double sum = 0.0;
    if (classes == 2) {
        return of_hits(&metrics->hits[1], metric);
    }
    for (int64_t c = 0; c < metrics->options.columns; c++) {
        const struct hits *hits = &metrics->hits[c];
        if (classes == 0 || hits->actual + hits->predicted > 0) {
            sum += of_hits(hits, metric);
            count++;
        }
    }
    return count > 0 ? sum / (double)count : 0.0;
}

static double measure_r2(const struct metrics *metrics)
{
    double sum = 0.0;
    for (int64_t c = 0; c < metrics->options.columns; c++) {
        const struct spread *spread = &metrics->spread[c];
        if (spread->squares > 0.0) {
            sum += 1.0 - spread->missed / spread->squares;
        } else {
            sum += spread->missed == 0.0 ? 1.0 : 0.0;
        }
    }
    return sum / (double)metrics->options.columns;
}

bool metrics_value(struct metrics *metrics, enum metric metric, double *value)
{
    double rows = (double)metrics->rows, cells = rows * (double)metrics->options.columns;
    *value = 0.0;
    if (!wants(metrics, metric) || metrics->rows == 0) {
        return false;
    }
    switch (metric) {
    case METRIC_TOP_K_ACCURACY: *value = (double)metrics->among / rows; return true;
    case METRIC_PRECISION:
    case METRIC_RECALL:
    case METRIC_F1: *value = measure_hits(metrics, metric); return true;
    case METRIC_AUC: return measure_auc(metrics, value);
    case METRIC_MAE: *value = metrics->absolute / cells; return true;
    case METRIC_RMSE: *value = sqrt(metrics->squared / cells); return true;
    case METRIC_R2: *value = measure_r2(metrics); return isfinite(*value);
    case METRIC_LOSS:
    case METRIC_ACCURACY:
    case METRIC_CONFUSION_MATRIX: break;
    }
    return false;
}

const int64_t *metrics_confusion(const struct metrics *metrics, int64_t *classes)
{
    *classes = classes_of(&metrics->options);
    return metrics->confusion;
}
