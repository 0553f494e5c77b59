/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_DISPLAY_H
#define TL_CLI_DISPLAY_H

/* What a runner does, on stderr: on a terminal one line a worker that is redrawn, above which the ended tasks scroll;
 * plain lines otherwise. */

#include "cli/cli.h"
#include "runner/runner.h"

struct display;

struct display *display_new(const struct cli *cli, bool quiet);
/* To be given to runner_run, with the display as data. */
void display_event(enum runner_event_kind kind, const bson_t *details, void *display);
void display_tick(void *display);
/* Wipes the workers' lines and frees. */
void display_free(struct display *display);

#endif
