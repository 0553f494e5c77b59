/* SPDX-License-Identifier: Apache-2.0 */
/* The learning curves of the best points. */
#include "cli/curves.h"
#include "cli/report_plot.h"

#include <math.h>
#include <string.h>

#define SHOWN 8 /* as many as there are colours */

static bool init_frame(const struct curves *curves, struct report_frame *frame)
{
    size_t total = 0, at = 0;

    for (size_t i = 0; i < curves->task_count; i++) {
        total += curves->tasks[i].count;
    }
    double *x = bson_malloc((total + 1) * sizeof *x), *y = bson_malloc((total + 1) * sizeof *y);
    for (size_t i = 0; i < curves->task_count; i++) {
        for (size_t j = 0; j < curves->tasks[i].count; j++, at++) {
            x[at] = curves->tasks[i].x[j];
            y[at] = curves->tasks[i].y[j];
        }
    }
    bool any = report_axis_init(&frame->x, x, total, false) && report_axis_init(&frame->y, y, total, true);
    bson_free(x);
    bson_free(y);
    return any;
}

static void put_curve(FILE *file, const struct report *report, const struct report_frame *frame, const struct curve *curve,
                      size_t index)
{
    const struct report_point *point = &report->points[index];
    char text[32];

    fprintf(file, "<path class=\"curve s%zu\" d=\"", index);
    for (size_t j = 0; j < curve->count; j++) {
        fprintf(file, "%c%.1f %.1f", j == 0 ? 'M' : 'L', report_frame_x(frame, curve->x[j]),
                report_frame_y(frame, curve->y[j]));
    }
    fprintf(file, "\"><title>#%lld: ", (long long)report->rows[point->first].seq);
    report_plot_text(file, report->metric);
    fprintf(file, " %s</title></path>\n", report_plot_number(report->rows[point->first].objective, text));
}

int report_plot_curves(struct cli *cli, FILE *file, const struct report *report)
{
    const char *ids[SHOWN];
    struct curves curves;
    struct report_frame frame;
    char label[160];
    size_t count = 0;

    while (count < SHOWN && count < report->point_count && !isnan(report->points[count].mean)) {
        ids[count] = report->rows[report->points[count].first].id;
        count++;
    }
    int code = curves_read(cli, ids, count, report->metric, &curves);
    if (code == CLI_DONE && init_frame(&curves, &frame)) {
        fputs("<figure><h2>How the best learned</h2>\n", file);
        snprintf(label, sizeof label, "%s_%s", curves.split, curves.metric);
        report_frame_open(file, &frame, "epoch", label);
        for (size_t i = count; i-- > 0;) {
            put_curve(file, report, &frame, &curves.tasks[i], i);
        }
        report_frame_close(file);
        fputs("<figcaption class=\"legend\">", file);
        for (size_t i = 0; i < count; i++) {
            fprintf(file, "<span><i class=\"s%zu\"></i>#%lld</span>", i,
                    (long long)report->rows[report->points[i].first].seq);
        }
        fputs("</figcaption></figure>\n", file);
    }
    curves_destroy(&curves);
    return code;
}
