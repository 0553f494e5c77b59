/* SPDX-License-Identifier: Apache-2.0 */
/* The page: one file, no scripts, nothing from elsewhere; light or dark as the reader's system has it. */
#include "cli/output.h"
#include "cli/report_plot.h"
#include "cli/text.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

static const char style[] =
    ":root{color-scheme:light dark;--paper:#fbfbfd;--card:#fff;--ink:#16181d;--soft:#667085;--line:#e6e8ee;--grid:#eef0f4;"
    "--accent:#2f5bea;--warn:#b42318;"
    "--q0:#cdd5e6;--q1:#b3c2e2;--q2:#97addd;--q3:#7a97d9;--q4:#5e80d4;--q5:#4468cd;--q6:#2c50bf;--q7:#173a9e;"
    "--s0:#2f5bea;--s1:#e5484d;--s2:#12a594;--s3:#f0a000;--s4:#8e4ec6;--s5:#0091c8;--s6:#d6409f;--s7:#6b7280}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#0e1014;--card:#16191f;--ink:#eceef2;--soft:#98a1b2;--line:#272c36;"
    "--grid:#20242c;--accent:#86a8ff;--warn:#ff8f85;"
    "--q0:#2b3446;--q1:#35435f;--q2:#3f5480;--q3:#4a68a3;--q4:#5a7fc6;--q5:#7498e2;--q6:#96b4f5;--q7:#c4d6ff;"
    "--s0:#86a8ff;--s1:#ff8a8a;--s2:#4fd1bd;--s3:#ffc861;--s4:#c79bf2;--s5:#63c7f2;--s6:#f59ad0;--s7:#a5adba}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    "main{max-width:1180px;margin:0 auto;padding:40px 24px 64px}"
    "h1{font-size:30px;line-height:1.2;margin:0 0 6px;letter-spacing:-.02em;overflow-wrap:anywhere}"
    "h2{font-size:15px;margin:0 0 10px;font-weight:650}.sub{color:var(--soft);margin:0 0 26px}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:14px;margin-bottom:14px}"
    ".card,figure,.table{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:18px 20px;margin:0}"
    ".card b{display:block;font-size:27px;font-weight:680;letter-spacing:-.02em;line-height:1.25;"
    "font-variant-numeric:tabular-nums}"
    ".card span{color:var(--soft);font-size:13px;display:block;overflow-wrap:anywhere}.card.lead b{color:var(--accent)}"
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:14px;margin-bottom:14px}"
    "figure.wide{grid-column:1/-1}figcaption{color:var(--soft);font-size:13px;margin-top:8px}"
    "svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:11px;font-family:inherit;"
    "font-variant-numeric:tabular-nums}svg .mid{text-anchor:middle}svg .end{text-anchor:end}svg .strong{fill:var(--ink);"
    "font-weight:600}svg .on{paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round;font-size:10.5px}"
    ".grid{stroke:var(--grid);fill:none}.axis,.tick{stroke:var(--line);fill:none}.bar{fill:var(--accent)}"
    ".best{fill:none;stroke:var(--s1);stroke-width:1.6}circle{opacity:.85}circle:hover{opacity:1;stroke:var(--ink)}"
    ".line{fill:none;stroke-width:1.1;opacity:.5}.line.first{stroke-width:2.6;opacity:1}.line:hover{stroke-width:3;opacity:1}"
    ".curve{fill:none;stroke-width:1.8;stroke-linejoin:round}.curve:hover{stroke-width:3.2}"
    "figure:last-child:nth-child(even){grid-column:1/-1}figure:last-child:nth-child(even) svg{max-height:420px}"
    ".legend span{display:inline-flex;align-items:center;gap:6px;margin-right:14px}.legend i{width:12px;height:3px;"
    "border-radius:2px;display:inline-block}"
    ".table{overflow-x:auto;padding:6px 8px}table{border-collapse:collapse;width:100%;font-size:13.5px;"
    "font-variant-numeric:tabular-nums}th{color:var(--soft);font-weight:600;text-align:left;padding:10px 12px;"
    "white-space:nowrap;border-bottom:1px solid var(--line)}td{padding:7px 12px;border-bottom:1px solid var(--grid);"
    "white-space:nowrap;max-width:340px;overflow:hidden;text-overflow:ellipsis}tr:last-child td{border-bottom:0}"
    "td.n,th.n{text-align:right}tr:hover td{background:var(--grid)}td.o{font-weight:650}td small{color:var(--soft);"
    "font-weight:400}.bad{color:var(--warn)}footer{color:var(--soft);font-size:12.5px;margin-top:22px}"
    "@media print{body{background:#fff}.card,figure,.table{break-inside:avoid}}\n";

static void put_style(FILE *file)
{
    fputs("<style>\n", file);
    fputs(style, file);
    for (int i = 0; i < 8; i++) {
        fprintf(file, ".q%d{fill:var(--q%d)}.l%d{stroke:var(--q%d)}path.s%d{stroke:var(--s%d)}i.s%d{background:var(--s%d)}\n", i,
                i, i, i, i, i, i, i);
    }
    fputs("</style>\n", file);
}

static void put_head(FILE *file, const struct report *report)
{
    char date[TEXT_DATE_BYTES];

    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
          file);
    report_plot_text(file, report->title);
    fputs(" – tl_hub report</title>\n", file);
    put_style(file);
    fputs("</head><body><main>\n<h1>", file);
    report_plot_text(file, report->title);
    text_format_date((int64_t)time(NULL) * 1000, date);
    date[16] = '\0';
    date[10] = ' ';
    fputs("</h1>\n<p class=\"sub\">", file);
    report_plot_text(file, report->metric);
    fprintf(file, ", %s is better · ", report->maximize ? "more" : "less");
    bson_iter_t iter;
    bool first = true;
    if (bson_iter_init(&iter, &report->states)) {
        while (bson_iter_next(&iter)) {
            if (bson_iter_as_int64(&iter) > 0) {
                bool bad = strcmp(bson_iter_key(&iter), "failed") == 0 || strcmp(bson_iter_key(&iter), "dead") == 0;
                fprintf(file, "%s<span%s>%lld %s</span>", first ? "" : ", ", bad ? " class=\"bad\"" : "",
                        (long long)bson_iter_as_int64(&iter), bson_iter_key(&iter));
                first = false;
            }
        }
    }
    fprintf(file, " · %s UTC</p>\n", date);
}

/* The varying parameters of a row, "hidden 800, learning_rate 0.001". */
static void put_parameters(FILE *file, const struct report *report, size_t row)
{
    bool first = true;
    char buffer[32];

    for (size_t c = 0; c < report->column_count; c++) {
        const struct report_column *column = &report->columns[c];
        const char *cell = column->parameter && column->varies ? report_cell(column, row, buffer) : NULL;
        if (cell != NULL && strcmp(column->name, "seed") != 0) {
            fputs(first ? "" : ", ", file);
            report_plot_text(file, column->name);
            fputs(" ", file);
            report_plot_text(file, cell);
            first = false;
        }
    }
}

/* Of the points within a hundredth of the best, the one with the least of a quantity. */
static size_t least_of(const struct report *report, size_t offset)
{
    double best = report->points[0].mean, margin = fabs(best) * 0.01, least = INFINITY;
    size_t found = SIZE_MAX;

    for (size_t i = 0; i < report->point_count && fabs(report->points[i].mean - best) <= margin; i++) {
        const struct report_row *row = &report->rows[report->points[i].first];
        double value;
        memcpy(&value, (const char *)row + offset, sizeof value);
        if (value < least) {
            least = value;
            found = report->points[i].first;
        }
    }
    return found;
}

static void put_cards(FILE *file, const struct report *report)
{
    const struct report_point *best = &report->points[0];
    char number[32], other[32], time_text[32];
    double seconds = 0;
    size_t small, fast;

    for (size_t i = 0; i < report->row_count; i++) {
        seconds += isnan(report->rows[i].seconds) ? 0 : report->rows[i].seconds;
    }
    report_plot_seconds(seconds, time_text);
    fputs("<div class=\"cards\">\n", file);
    if (!isnan(best->mean)) {
        fprintf(file, "<div class=\"card lead\"><span>best: #%lld</span><b>%s%s%s</b><span>",
                (long long)report->rows[best->first].seq, report_plot_number(best->mean, number),
                best->count > 1 ? " ± " : "", best->count > 1 ? report_plot_number(best->deviation, other) : "");
        put_parameters(file, report, best->first);
        fputs("</span></div>\n", file);
        if ((small = least_of(report, offsetof(struct report_row, parameters))) != SIZE_MAX) {
            fprintf(file, "<div class=\"card\"><span>smallest within 1 %%: #%lld</span><b>%s</b><span>weights; ",
                    (long long)report->rows[small].seq, report_plot_number(report->rows[small].parameters, number));
            report_plot_text(file, report->metric);
            fprintf(file, " %s</span></div>\n", report_plot_number(report->rows[small].objective, other));
        }
        if ((fast = least_of(report, offsetof(struct report_row, seconds))) != SIZE_MAX) {
            report_plot_seconds(report->rows[fast].seconds, number);
            fprintf(file, "<div class=\"card\"><span>fastest within 1 %%: #%lld</span><b>%s</b><span>of training; ",
                    (long long)report->rows[fast].seq, number);
            report_plot_text(file, report->metric);
            fprintf(file, " %s</span></div>\n", report_plot_number(report->rows[fast].objective, other));
        }
    }
    fprintf(file, "<div class=\"card\"><span>points</span><b>%zu</b><span>%zu tasks, %s of training</span></div>\n</div>\n",
            report->point_count, report->row_count, time_text);
}

static void put_figures(struct cli *cli, FILE *file, const struct report *report, int *code)
{
    double *seconds = bson_malloc((report->row_count + 1) * sizeof *seconds);
    double *weights = bson_malloc((report->row_count + 1) * sizeof *weights);

    for (size_t i = 0; i < report->row_count; i++) {
        seconds[i] = report->rows[i].seconds > 0 ? report->rows[i].seconds : NAN;
        weights[i] = report->rows[i].parameters > 0 ? report->rows[i].parameters : NAN;
    }
    fputs("<div class=\"figures\">\n", file);
    report_plot_parallel(file, report);
    report_plot_importance(file, report);
    report_plot_slice(file, report);
    report_plot_progress(file, report);
    report_plot_scatter(file, report, seconds, "Against training time", "seconds of training",
                        "Each point is a task; the line is what no faster one betters.", REPORT_FRONTIER);
    report_plot_scatter(file, report, weights, "Against size", "weights",
                        "Each point is a task; the line is what no smaller one betters.", REPORT_FRONTIER);
    *code = report_plot_curves(cli, file, report);
    fputs("</div>\n", file);
    bson_free(seconds);
    bson_free(weights);
}

static bool in_table(const struct report *report, const struct report_column *column)
{
    return column->varies && strcmp(column->name, column->parameter ? "seed" : report->metric) != 0;
}

static void put_cells(FILE *file, const struct report *report, size_t row, bool parameters)
{
    char number[32];

    for (size_t c = 0; c < report->column_count; c++) {
        const struct report_column *column = &report->columns[c];
        if (in_table(report, column) && column->parameter == parameters) {
            const char *cell = parameters ? report_cell(column, row, number)
                                          : report_plot_number(report_number(report, column, row, false), number);
            fprintf(file, "<td%s>", column->numeric ? " class=\"n\"" : "");
            report_plot_text(file, cell != NULL ? cell : "");
            fputs("</td>", file);
        }
    }
}

static void put_row(FILE *file, const struct report *report, size_t index)
{
    const struct report_point *point = &report->points[index];
    const struct report_row *row = &report->rows[point->first];
    char number[32], other[32];

    fprintf(file, "<tr><td class=\"n\">%zu</td><td class=\"n\">#%lld</td><td class=\"n o\">%s", index + 1,
            (long long)row->seq, report_plot_number(point->mean, number));
    if (point->count > 1) {
        fprintf(file, " <small>± %s (%u)</small>", report_plot_number(point->deviation, other), point->count);
    }
    fputs("</td>", file);
    put_cells(file, report, point->first, true);
    fprintf(file, "<td class=\"n\">%s</td>", report_plot_number(row->parameters, number));
    fprintf(file, "<td class=\"n\">%s</td>", report_plot_seconds(point->seconds, number));
    put_cells(file, report, point->first, false);
    fputs("</tr>\n", file);
}

static void put_headings(FILE *file, const struct report *report, bool parameters)
{
    for (size_t c = 0; c < report->column_count; c++) {
        if (in_table(report, &report->columns[c]) && report->columns[c].parameter == parameters) {
            fprintf(file, "<th%s>", report->columns[c].numeric ? " class=\"n\"" : "");
            report_plot_text(file, report->columns[c].name);
            fputs("</th>", file);
        }
    }
}

static void put_table(FILE *file, const struct report *report, size_t limit)
{
    size_t shown = report->point_count < limit ? report->point_count : limit;

    fputs("<div class=\"table\"><table><thead><tr><th class=\"n\"></th><th class=\"n\">task</th><th class=\"n\">", file);
    report_plot_text(file, report->metric);
    fputs("</th>", file);
    put_headings(file, report, true);
    fputs("<th class=\"n\">weights</th><th class=\"n\">time</th>", file);
    put_headings(file, report, false);
    fputs("</tr></thead><tbody>\n", file);
    for (size_t i = 0; i < shown; i++) {
        put_row(file, report, i);
    }
    fputs("</tbody></table></div>\n", file);
    if (shown < report->point_count) {
        fprintf(file, "<p class=\"sub\">The best %zu of %zu points; all of them are in the CSV and the workbook.</p>\n", shown,
                report->point_count);
    }
}

int report_write_html(struct cli *cli, const struct report *report, const char *path, size_t limit)
{
    int code = CLI_DONE;
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "wbe");

    if (file == NULL) {
        return cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    put_head(file, report);
    put_cards(file, report);
    put_figures(cli, file, report, &code);
    put_table(file, report, limit);
    fputs("<footer>Made by tl_hub.", file);
    if (report->seeds) {
        fputs(" Tasks that differ only in the seed are one point: mean ± deviation of the sample (number of seeds).", file);
    }
    fputs("</footer>\n</main></body></html>\n", file);
    bool bad = fflush(file) != 0 || ferror(file) != 0;
    if (file != stdout) {
        bad = fclose(file) != 0 || bad;
    }
    return bad ? cli_say(CLI_FAILED, "%s: %s", path, strerror(errno)) : code;
}
