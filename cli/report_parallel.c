/* SPDX-License-Identifier: Apache-2.0 */
/* The plots that are about parameters: importance and parallel coordinates. */
#include "cli/report_plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AXES 9      /* of parallel coordinates, the objective's among them */
#define LINES 320   /* the best half of them, the rest spread over the others */
#define CATEGORIES 24 /* texts on one axis */
#define BARS 16
#define LABELS 7

/* The parameters that vary, most important first. */
static size_t rank_parameters(const struct report *report, const struct report_column **ranked, size_t most)
{
    size_t count = 0;

    for (size_t c = 0; c < report->column_count; c++) {
        const struct report_column *column = &report->columns[c];
        if (!report_is_tuned(column) || !column->varies) {
            continue;
        }
        double importance = isnan(column->importance) ? -1 : column->importance;
        size_t at = count < most ? count : most;
        while (at > 0 && (isnan(ranked[at - 1]->importance) ? -1 : ranked[at - 1]->importance) < importance) {
            if (at < most) {
                ranked[at] = ranked[at - 1];
            }
            at--;
        }
        if (at < most) {
            ranked[at] = column;
            count += count < most;
        }
    }
    return count;
}

void report_plot_importance(FILE *file, const struct report *report)
{
    const struct report_column *ranked[BARS];
    size_t count = rank_parameters(report, ranked, BARS);

    while (count > 0 && isnan(ranked[count - 1]->importance)) {
        count--;
    }
    if (count == 0) {
        return;
    }
    double height = 24 * (double)count + 30;
    fprintf(file, "<figure><h2>What matters</h2>\n<svg viewBox=\"0 0 520 %.0f\" role=\"img\">\n", height);
    for (int percent = 0; percent <= 100; percent += 25) {
        double x = 170 + 300 * percent / 100.0;
        fprintf(file, "<path class=\"grid\" d=\"M%.1f 4V%.1f\"/><text class=\"mid\" x=\"%.1f\" y=\"%.1f\">%d %%</text>\n", x,
                height - 22, x, height - 6, percent);
    }
    for (size_t i = 0; i < count; i++) {
        double y = 8 + 24 * (double)i, share = ranked[i]->importance < 1 ? ranked[i]->importance : 1;
        fprintf(file, "<text class=\"end strong\" x=\"162\" y=\"%.1f\">", y + 12);
        report_plot_text(file, ranked[i]->name);
        fprintf(file, "</text><rect class=\"bar\" x=\"170\" y=\"%.1f\" width=\"%.1f\" height=\"15\" rx=\"3\"/>", y,
                1 + 299 * share);
        fprintf(file, "<text x=\"%.1f\" y=\"%.1f\">%.0f %%</text>\n", 176 + 299 * share, y + 12, 100 * share);
    }
    fputs("</svg>\n<figcaption>Share of the objective's variance that each parameter explains by itself: main effects of a "
          "functional analysis of variance (omega squared, numbers in 8 levels). What is missing to 100 % are interactions "
          "and noise.</figcaption></figure>\n",
          file);
}

void report_plot_slice(FILE *file, const struct report *report)
{
    const struct report_column *ranked[BARS];
    size_t count = rank_parameters(report, ranked, BARS);

    for (size_t i = 0; i < count; i++) {
        if (ranked[i]->numeric && !isnan(ranked[i]->importance)) {
            char title[128];
            snprintf(title, sizeof title, "By %.100s", ranked[i]->name);
            report_plot_scatter(file, report, ranked[i]->numbers, title, ranked[i]->name,
                                "Each point is a task, along the number that explains most.", REPORT_POINTS);
            return;
        }
    }
}

/* ---- parallel coordinates ---- */

struct scale {
    const struct report_column *column; /* NULL: the objective */
    struct report_axis axis;
    const char *categories[CATEGORIES];
    size_t category_count;
    double labels[LABELS + 1];
    size_t label_count;
    bool usable;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* From the least value to the greatest; few values are labelled each. */
static void tighten(struct scale *scale, const double *values, size_t n)
{
    double low = INFINITY, high = -INFINITY;

    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        if (!isfinite(values[i])) {
            continue;
        }
        low = fmin(low, values[i]);
        high = fmax(high, values[i]);
        while (at < scale->label_count && scale->labels[at] != values[i]) {
            at++;
        }
        if (at == scale->label_count && at <= LABELS) {
            scale->labels[scale->label_count++] = values[i];
        }
    }
    if (scale->usable && low < high) {
        scale->axis.low = low;
        scale->axis.high = high;
    }
    if (scale->label_count > LABELS) {
        scale->label_count = 5;
        for (int i = 0; i < 5; i++) {
            scale->labels[i] = scale->axis.log ? scale->axis.low * pow(scale->axis.high / scale->axis.low, i / 4.0)
                                               : scale->axis.low + i / 4.0 * (scale->axis.high - scale->axis.low);
        }
    }
}

/* Numbers on an axis; texts, and numbers beside them, each at a place of its own. */
static void init_scale(const struct report *report, const struct report_column *column, struct scale *scale)
{
    *scale = (struct scale){.column = column};
    if (column == NULL || column->numeric) {
        double *values = bson_malloc((report->row_count + 1) * sizeof *values);
        for (size_t i = 0; i < report->row_count; i++) {
            values[i] = column == NULL ? report->rows[i].objective : column->numbers[i];
        }
        scale->usable = report_axis_init(&scale->axis, values, report->row_count, true);
        tighten(scale, values, report->row_count);
        bson_free(values);
        return;
    }
    for (size_t i = 0; i < report->row_count; i++) {
        const char *text = column->texts[i];
        size_t at = 0;
        while (text != NULL && at < scale->category_count && scale->categories[at] != text) {
            at++;
        }
        if (text != NULL && at == scale->category_count) {
            if (at == CATEGORIES) {
                return;
            }
            scale->categories[scale->category_count++] = text;
        }
    }
    qsort(scale->categories, scale->category_count, sizeof *scale->categories, compare_texts);
    scale->usable = scale->category_count > 0;
}

/* 0 (below) to 1, or NAN. */
static double place_on(const struct report *report, const struct scale *scale, size_t row)
{
    double value = scale->column == NULL ? report->rows[row].objective : scale->column->numbers[row];

    if (scale->category_count == 0) {
        return isfinite(value) && !(scale->axis.log && value <= 0) ? report_axis_at(&scale->axis, value) : NAN;
    }
    for (size_t i = 0; i < scale->category_count; i++) {
        if (scale->categories[i] == scale->column->texts[row]) {
            return scale->category_count == 1 ? 0.5 : (double)i / (double)(scale->category_count - 1);
        }
    }
    return NAN;
}

static void put_shortened(FILE *file, const char *text, size_t most)
{
    char cut[64];
    size_t length = strlen(text);

    if (length <= most) {
        report_plot_text(file, text);
        return;
    }
    length = most - 1;
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) {
        length--;
    }
    memcpy(cut, text, length);
    cut[length] = '\0';
    report_plot_text(file, cut);
    fputs("…", file);
}

static void put_scale(FILE *file, const struct report *report, const struct scale *scale, double x, double top,
                      double height)
{
    char text[32];

    fprintf(file, "<path class=\"axis\" d=\"M%.1f %.1fv%.1f\"/><text class=\"mid strong\" x=\"%.1f\" y=\"%.1f\">", x, top,
            height, x, top - 12);
    put_shortened(file, scale->column == NULL ? report->metric : scale->column->name, 22);
    fputs("</text>\n", file);
    if (scale->category_count > 0) {
        for (size_t i = 0; i < scale->category_count; i++) {
            double at = scale->category_count == 1 ? 0.5 : (double)i / (double)(scale->category_count - 1);
            fprintf(file, "<text class=\"on\" x=\"%.1f\" y=\"%.1f\">", x + 5, top + height * (1 - at) + 4);
            put_shortened(file, scale->categories[i], 18);
            fputs("</text>\n", file);
        }
        return;
    }
    for (size_t i = 0; i < scale->label_count; i++) {
        snprintf(text, sizeof text, "%.3g", scale->labels[i]);
        fprintf(file, "<text class=\"on\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 5,
                top + height * (1 - report_axis_at(&scale->axis, scale->labels[i])) + 4, text);
    }
}

static void put_line(FILE *file, const struct report *report, const struct scale *scales, size_t count, size_t row,
                     double top, double height)
{
    bool pen = false;
    char text[32];

    fprintf(file, "<path class=\"line l%d%s\" d=\"", report_plot_shade(report, row), report->rows[row].point == 0 ? " first" : "");
    for (size_t s = 0; s < count; s++) {
        double at = place_on(report, &scales[s], row), x = 60 + (1100.0 - 160) * (double)s / (double)(count - 1);
        if (isnan(at)) {
            pen = false;
            continue;
        }
        fprintf(file, "%c%.0f %.1f", pen ? 'L' : 'M', x, top + height * (1 - at));
        pen = true;
    }
    fprintf(file, "\"><title>#%lld: %s</title></path>\n", (long long)report->rows[row].seq,
            report_plot_number(report->rows[row].objective, text));
}

void report_plot_parallel(FILE *file, const struct report *report)
{
    const struct report_column *ranked[AXES - 1];
    struct scale scales[AXES];
    size_t count = 0, found = rank_parameters(report, ranked, AXES - 1), results = 0;
    const double top = 44, height = 290;

    for (size_t i = 0; i < found; i++) {
        init_scale(report, ranked[i], &scales[count]);
        count += scales[count].usable;
    }
    init_scale(report, NULL, &scales[count]);
    if (count == 0 || !scales[count].usable) {
        return;
    }
    count++;
    while (results < report->point_count && !isnan(report->points[results].mean)) {
        results++;
    }
    size_t shown = results < LINES ? results : LINES, best = shown / 2;
    fputs("<figure class=\"wide\"><h2>How parameters go together</h2>\n<svg viewBox=\"0 0 1100 360\" role=\"img\">\n", file);
    for (size_t i = shown; i-- > 0;) { /* the best are drawn last, above the others */
        size_t point = results <= LINES || i < best ? i : best + (i - best) * (results - best) / (shown - best);
        put_line(file, report, scales, count, report->points[point].first, top, height);
    }
    for (size_t s = 0; s < count; s++) {
        put_scale(file, report, &scales[s], 60 + (1100.0 - 160) * (double)s / (double)(count - 1), top, height);
    }
    fprintf(file, "</svg>\n<figcaption>Each line is a point of the search, the strongest the best%s; axes by importance, the "
                  "objective at the right.</figcaption></figure>\n",
            results > LINES ? "; of many points the best and a sample of the others" : "");
}
