/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_BAR_H
#define TL_CLI_BAR_H

/* A bar on a terminal's last line, redrawn at most ten times a second; nothing where stderr is no terminal. */

#include "cli/cli.h"

struct bar {
    bool on, drawn;
    int64_t last; /* CLOCK_MONOTONIC, ms */
};

void bar_init(struct bar *bar, const struct cli *cli);
void bar_draw(struct bar *bar, const char *what, double fraction);
/* Wipes it. */
void bar_end(struct bar *bar);
/* "████░░░░" of width columns into out. */
void bar_append(bson_string_t *out, double fraction, int width);
/* Milliseconds of CLOCK_MONOTONIC. */
int64_t bar_clock(void);

#endif
