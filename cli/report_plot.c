/* SPDX-License-Identifier: Apache-2.0 */
/* Axes, and the plots whose marks are points. */
#include "cli/report_plot.h"
#include "cli/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 520
#define HEIGHT 300
#define CELLS_X 152 /* of three units: one mark each, so that 50,000 points are a page that can be opened */
#define CELLS_Y 81
#define HINTS 1500 /* more marks have none */

void report_plot_text(FILE *file, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<': fputs("&lt;", file); break;
        case '>': fputs("&gt;", file); break;
        case '&': fputs("&amp;", file); break;
        case '"': fputs("&quot;", file); break;
        default:
            if ((unsigned char)*text >= 0x20 && *text != 0x7f) {
                fputc(*text, file);
            }
        }
    }
}

const char *report_plot_number(double number, char buffer[32])
{
    double size = fabs(number);

    if (isnan(number)) {
        snprintf(buffer, 32, "–");
    } else if (size >= 1e9) {
        snprintf(buffer, 32, "%.3gG", number / 1e9);
    } else if (size >= 1e6) {
        snprintf(buffer, 32, "%.3gM", number / 1e6);
    } else if (size >= 1e4) {
        snprintf(buffer, 32, "%.3gk", number / 1e3);
    } else {
        snprintf(buffer, 32, "%.4g", number);
    }
    return buffer;
}

const char *report_plot_seconds(double seconds, char buffer[32])
{
    if (isnan(seconds)) {
        snprintf(buffer, 32, "–");
    } else if (seconds < 1) {
        snprintf(buffer, 32, "%.3g ms", seconds * 1000);
    } else {
        text_format_seconds(seconds, buffer, 32);
    }
    return buffer;
}

/* ---- axes ---- */

bool report_axis_init(struct report_axis *axis, const double *values, size_t n, bool may_log)
{
    *axis = (struct report_axis){.low = INFINITY, .high = -INFINITY};
    for (size_t i = 0; i < n; i++) {
        if (isfinite(values[i])) {
            axis->low = values[i] < axis->low ? values[i] : axis->low;
            axis->high = values[i] > axis->high ? values[i] : axis->high;
        }
    }
    if (axis->low > axis->high) {
        return false;
    }
    axis->log = may_log && axis->low > 0 && axis->high / axis->low >= 30;
    if (axis->log) {
        axis->low /= 1.15;
        axis->high *= 1.15;
        return true;
    }
    if (axis->high == axis->low) {
        double around = axis->high == 0 ? 1 : fabs(axis->high) * 0.1;
        axis->low -= around;
        axis->high += around;
    }
    double rough = (axis->high - axis->low) / 5, power = pow(10, floor(log10(rough))), unit = rough / power;
    axis->step = power * (unit < 1.5 ? 1 : unit < 3.5 ? 2 : unit < 7.5 ? 5 : 10);
    double margin = (axis->high - axis->low) * 0.04;
    axis->low -= margin;
    axis->high += margin;
    return true;
}

double report_axis_at(const struct report_axis *axis, double value)
{
    double at = axis->log ? log(value / axis->low) / log(axis->high / axis->low)
                          : (value - axis->low) / (axis->high - axis->low);
    return at < 0 ? 0 : at > 1 ? 1 : at;
}

/* The tick after one, or the first with NAN; NAN after the last. Logarithmic: 1, 2 and 5 of each power, or powers alone. */
static double next_tick(const struct report_axis *axis, double tick)
{
    double next;

    if (!axis->log) {
        next = isnan(tick) ? ceil(axis->low / axis->step) * axis->step : tick + axis->step;
        next = fabs(next) < axis->step * 1e-9 ? 0 : next;
    } else if (isnan(tick)) {
        next = pow(10, floor(log10(axis->low)));
        while (next < axis->low) {
            next = next_tick(axis, next);
        }
    } else if (axis->high / axis->low > 300) {
        next = tick * 10;
    } else {
        double lead = tick / pow(10, floor(log10(tick) + 1e-9));
        next = lead < 1.5 ? tick * 2 : lead < 3 ? tick * 2.5 : tick * 2;
    }
    return next > axis->high ? NAN : next;
}

double report_frame_x(const struct report_frame *frame, double value)
{
    return frame->left + frame->width * report_axis_at(&frame->x, value);
}

double report_frame_y(const struct report_frame *frame, double value)
{
    return frame->top + frame->height * (1 - report_axis_at(&frame->y, value));
}

void report_frame_open(FILE *file, struct report_frame *frame, const char *x_label, const char *y_label)
{
    char text[32];

    frame->left = 52;
    frame->top = 14;
    frame->width = WIDTH - 52 - 12;
    frame->height = HEIGHT - 14 - 42;
    fprintf(file, "<svg viewBox=\"0 0 %d %d\" role=\"img\">\n", WIDTH, HEIGHT);
    for (double tick = next_tick(&frame->y, NAN); !isnan(tick); tick = next_tick(&frame->y, tick)) {
        double y = report_frame_y(frame, tick);
        fprintf(file, "<path class=\"grid\" d=\"M%.1f %.1fh%.1f\"/><text x=\"%.1f\" y=\"%.1f\" class=\"end\">%s</text>\n",
                frame->left, y, frame->width, frame->left - 7, y + 4, report_plot_number(tick, text));
    }
    for (double tick = next_tick(&frame->x, NAN); !isnan(tick); tick = next_tick(&frame->x, tick)) {
        double x = report_frame_x(frame, tick);
        fprintf(file, "<path class=\"tick\" d=\"M%.1f %.1fv5\"/><text x=\"%.1f\" y=\"%.1f\" class=\"mid\">%s</text>\n", x,
                frame->top + frame->height, x, frame->top + frame->height + 18, report_plot_number(tick, text));
    }
    fprintf(file, "<path class=\"axis\" d=\"M%.1f %.1fh%.1f\"/>", frame->left, frame->top + frame->height, frame->width);
    fprintf(file, "<text x=\"%.1f\" y=\"%d\" class=\"mid label\">", frame->left + frame->width / 2, HEIGHT - 5);
    report_plot_text(file, x_label);
    fprintf(file, "%s</text><text x=\"%.1f\" y=\"10\" class=\"label\">", frame->x.log ? " (log)" : "", 2.0);
    report_plot_text(file, y_label);
    fprintf(file, "%s</text>\n", frame->y.log ? " (log)" : "");
}

void report_frame_close(FILE *file)
{
    fputs("</svg>\n", file);
}

/* ---- marks ---- */

int report_plot_shade(const struct report *report, size_t row)
{
    double rank = (double)report->rows[row].point, count = (double)report->point_count;
    int shade = 7 - (int)(8 * rank / (count > 0 ? count : 1));

    return shade < 0 ? 0 : shade;
}

/* What a row is, as the hint of its mark. */
static void put_hint(FILE *file, const struct report *report, size_t index)
{
    const struct report_row *row = &report->rows[index];
    char text[32];

    fprintf(file, "<title>#%lld: ", (long long)row->seq);
    report_plot_text(file, report->metric);
    fprintf(file, " %s", report_plot_number(row->objective, text));
    for (size_t c = 0; c < report->column_count; c++) {
        const struct report_column *column = &report->columns[c];
        const char *cell = column->parameter && column->varies ? report_cell(column, index, text) : NULL;
        if (cell != NULL) {
            fputs(", ", file);
            report_plot_text(file, column->name);
            fputs(" ", file);
            report_plot_text(file, cell);
        }
    }
    fputs("</title>", file);
}

/* The row of each cell's mark: the best that falls into it. Returns how many marks there are. */
static size_t fill_cells(const struct report *report, const double *x, const struct report_frame *frame, int32_t *cells)
{
    size_t marks = 0;

    memset(cells, -1, CELLS_X * CELLS_Y * sizeof *cells);
    for (size_t i = 0; i < report->row_count; i++) {
        double y = report->rows[i].objective;
        if (!isfinite(x[i]) || isnan(y) || (frame->x.log && x[i] <= 0) || (frame->y.log && y <= 0)) {
            continue;
        }
        int column = (int)(report_axis_at(&frame->x, x[i]) * (CELLS_X - 1));
        int row = (int)(report_axis_at(&frame->y, y) * (CELLS_Y - 1));
        int32_t *cell = &cells[row * CELLS_X + column];
        marks += *cell < 0;
        if (*cell < 0 || report_better(report, y, report->rows[*cell].objective)) {
            *cell = (int32_t)i;
        }
    }
    return marks;
}

struct place {
    double x, y;
};

static int compare_places(const void *a, const void *b, void *data)
{
    const struct place *p = a, *q = b;
    if (p->x != q->x) {
        return p->x > q->x ? 1 : -1;
    }
    return (int)report_better(data, q->y, p->y) - (int)report_better(data, p->y, q->y);
}

/* The steps of what cannot be bettered by less: along x, each better than all before. */
static void put_frontier(FILE *file, const struct report *report, const double *x, const struct report_frame *frame)
{
    struct place *places = bson_malloc((report->row_count + 1) * sizeof *places);
    size_t count = 0;
    double best = NAN;

    for (size_t i = 0; i < report->row_count; i++) {
        if (isfinite(x[i]) && !isnan(report->rows[i].objective)) {
            places[count++] = (struct place){x[i], report->rows[i].objective};
        }
    }
    qsort_r(places, count, sizeof *places, compare_places, (void *)(uintptr_t)report);
    for (size_t i = 0; i < count; i++) {
        if (i == 0) {
            fprintf(file, "<path class=\"best\" d=\"M%.1f %.1f", report_frame_x(frame, places[i].x),
                    report_frame_y(frame, places[i].y));
            best = places[i].y;
        } else if (report_better(report, places[i].y, best)) {
            fprintf(file, "H%.1fV%.1f", report_frame_x(frame, places[i].x), report_frame_y(frame, places[i].y));
            best = places[i].y;
        }
    }
    if (count > 0) {
        fprintf(file, "H%.1f\"/>\n", frame->left + frame->width);
    }
    bson_free(places);
}

static bool init_objective(const struct report *report, struct report_axis *axis)
{
    double *values = bson_malloc((report->row_count + 1) * sizeof *values);

    for (size_t i = 0; i < report->row_count; i++) {
        values[i] = report->rows[i].objective;
    }
    bool any = report_axis_init(axis, values, report->row_count, true);
    bson_free(values);
    return any;
}

void report_plot_scatter(FILE *file, const struct report *report, const double *x, const char *title, const char *x_label,
                         const char *caption, enum report_scatter kind)
{
    struct report_frame frame;

    if (!report_axis_init(&frame.x, x, report->row_count, kind != REPORT_PROGRESS) || !init_objective(report, &frame.y)) {
        return;
    }
    int32_t *cells = bson_malloc(CELLS_X * CELLS_Y * sizeof *cells);
    fputs("<figure><h2>", file);
    report_plot_text(file, title);
    fputs("</h2>\n", file);
    report_frame_open(file, &frame, x_label, report->metric);
    size_t marks = fill_cells(report, x, &frame, cells);
    const char *radius = marks > 400 ? "2.2" : "3.6";
    for (size_t i = 0; i < CELLS_X * CELLS_Y; i++) {
        if (cells[i] >= 0) {
            size_t row = (size_t)cells[i];
            fprintf(file, "<circle class=\"q%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\">", report_plot_shade(report, row),
                    report_frame_x(&frame, x[row]), report_frame_y(&frame, report->rows[row].objective), radius);
            if (marks <= HINTS) {
                put_hint(file, report, row);
            }
            fputs("</circle>\n", file);
        }
    }
    if (kind != REPORT_POINTS) {
        put_frontier(file, report, x, &frame);
    }
    report_frame_close(file);
    fprintf(file, "<figcaption>%s</figcaption></figure>\n", caption);
    bson_free(cells);
}

struct finish {
    int64_t at;
    size_t row;
};

static int compare_finishes(const void *a, const void *b)
{
    const struct finish *p = a, *q = b;
    return p->at != q->at ? (p->at > q->at ? 1 : -1) : (p->row > q->row) - (p->row < q->row);
}

void report_plot_progress(FILE *file, const struct report *report)
{
    struct finish *order = bson_malloc((report->row_count + 1) * sizeof *order);
    double *x = bson_malloc((report->row_count + 1) * sizeof *x);
    size_t count = 0;

    for (size_t i = 0; i < report->row_count; i++) {
        x[i] = NAN;
        if (!isnan(report->rows[i].objective)) {
            order[count++] = (struct finish){report->rows[i].finished, i};
        }
    }
    qsort(order, count, sizeof *order, compare_finishes);
    for (size_t i = 0; i < count; i++) {
        x[order[i].row] = (double)i + 1;
    }
    if (count > 1) {
        report_plot_scatter(file, report, x, "The search as it went", "results, in the order in which they came",
                            "Each point is a task; the line is the best so far.", REPORT_PROGRESS);
    }
    bson_free(x);
    bson_free(order);
}
