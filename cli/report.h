/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_REPORT_H
#define TL_CLI_REPORT_H

/* What finished tasks say together: one row a task, by columns, small enough for 50,000 of them (some 30 bytes a cell); points
 * are rows with the same parameters, whose seeds differ. Numbers that are missing are NAN. */

#include "cli/cli.h"

#define REPORT_COLUMNS 96 /* parameters and metrics; further ones are left out, and said */

struct report_column {
    char *name;          /* dotted, as in the sweep file; metrics as in result.metrics */
    bool parameter;      /* else a metric */
    bool varies;         /* not the same in every row that ended well */
    bool numeric;        /* no row has a text */
    double *numbers;     /* one a row */
    double *means;       /* of a metric, where points have several seeds: one a point, over its rows that have it; else NULL */
    const char **texts;  /* one a row, or NULL; borrowed from the report */
    double importance;   /* of a parameter that varies: its share of the objective's variance, see report_importance.h */
};

struct report_row {
    int64_t seq;
    const char *id, *name, *state; /* borrowed from the report */
    int64_t seed;                  /* INT64_MIN: none */
    double objective, seconds, parameters, bytes;
    int64_t finished;              /* milliseconds since 1970, or 0 */
    uint32_t point;                /* index into points */
};

struct report_point {
    uint32_t first;   /* a row of it, the one with the best objective */
    uint32_t count;   /* rows with an objective */
    double mean;      /* of their objectives */
    double deviation; /* of the sample (n - 1); NAN of one */
    double seconds;   /* mean over its rows */
};

struct report {
    struct report_row *rows;
    size_t row_count;
    struct report_column *columns; /* parameters first as they come, sorted by name among each kind */
    size_t column_count;
    struct report_point *points; /* best mean first, those without any last */
    size_t point_count;
    bool seeds;                    /* some point has several */
    char *title;
    char *metric;                  /* the objective's name */
    bool maximize;
    bson_t states;                 /* {state: count} */
    size_t left_out;               /* columns beyond REPORT_COLUMNS */
    struct report_texts *texts;    /* every text once */
};

/* Reads the tasks that match and what their models say; metric "NAME", "NAME:min" or "NAME:max", NULL: the sweep's, else accuracy,
 * else loss. An exit code; the report (NULL on error) is freed with report_free. */
int report_read(struct cli *cli, const bson_t *filter, const char *metric, struct report **report);
void report_free(struct report *report);
/* Of a metric: of the row, or of the row's point. NAN: none. */
double report_number(const struct report *report, const struct report_column *column, size_t row, bool each);
/* Whether a is better than b; NAN is worse than anything. */
bool report_better(const struct report *report, double a, double b);
/* The value of a column in a row: text, or the number's shortest form in buffer; NULL where there is none. */
const char *report_cell(const struct report_column *column, size_t row, char buffer[32]);

/* A parameter that may explain results: not the seed, and not which member of a population it was. */
bool report_is_tuned(const struct report_column *column);

/* Where tasks are written to; exit codes. */
int report_write_xlsx(const struct report *report, const char *path);
/* limit: rows of the page's table. Learning curves are read from the hub. */
int report_write_html(struct cli *cli, const struct report *report, const char *path, size_t limit);

#endif
