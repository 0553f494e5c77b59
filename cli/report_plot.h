/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_REPORT_PLOT_H
#define TL_CLI_REPORT_PLOT_H

/* Plots of a report as SVG within its page: no scripts, colours by the page's classes (so light and dark), a <title> as the hint
 * of each mark. Sizes are in the SVG's own units; the page scales it. */

#include "cli/report.h"

/* < > & " as HTML has them; control characters are left out. */
void report_plot_text(FILE *file, const char *text);
/* Four significant digits, 12.3k, 1.20M: into a buffer, which is returned; – for NAN. */
const char *report_plot_number(double number, char buffer[32]);

/* 12.3 ms, 4.5 s, 3m 05s. */
const char *report_plot_seconds(double seconds, char buffer[32]);

struct report_axis {
    double low, high; /* of the data; widened to whole steps by report_axis_init */
    bool log;
    double step; /* linear axes */
};
/* From n values (NAN ones left out): a logarithmic axis where all are above 0 and the largest is 30 times the least (and
 * may_log). False when there is no value. */
bool report_axis_init(struct report_axis *axis, const double *values, size_t n, bool may_log);
/* Where a value is between 0 and 1 along the axis. */
double report_axis_at(const struct report_axis *axis, double value);

struct report_frame {
    struct report_axis x, y;
    double left, top, width, height; /* of the area inside the axes */
};
/* Opens the SVG, draws both axes with their ticks and labels. */
void report_frame_open(FILE *file, struct report_frame *frame, const char *x_label, const char *y_label);
void report_frame_close(FILE *file);
double report_frame_x(const struct report_frame *frame, double value);
double report_frame_y(const struct report_frame *frame, double value);

enum report_scatter {
    REPORT_POINTS,   /* marks alone */
    REPORT_FRONTIER, /* and the line of what nothing further left betters */
    REPORT_PROGRESS  /* the same over a count: never a logarithmic axis */
};

/* The figures; each is a <figure> with its caption, or nothing where there is nothing to show. x[rows]. */
void report_plot_scatter(FILE *file, const struct report *report, const double *x, const char *title, const char *x_label,
                         const char *caption, enum report_scatter kind);
/* How the best grew as results came in. */
void report_plot_progress(FILE *file, const struct report *report);
void report_plot_importance(FILE *file, const struct report *report);
/* The objective along the most important parameter that is a number. */
void report_plot_slice(FILE *file, const struct report *report);
void report_plot_parallel(FILE *file, const struct report *report);
/* Validation (else training) by epoch, of the best points. */
int report_plot_curves(struct cli *cli, FILE *file, const struct report *report);
/* 0 (worst) to 7 (best): the class of a row's colour, by its rank among the points. */
int report_plot_shade(const struct report *report, size_t row);

#endif
