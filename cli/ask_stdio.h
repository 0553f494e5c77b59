/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_ASK_STDIO_H
#define TL_CLI_ASK_STDIO_H

/* ask and tell in one program: a line of JSON on standard input, a line of JSON in answer, until the input ends.
 *
 *   {"ask": 2}                                → {"points": [{"point_number": 0, "point": {…}, "seed": 0}, …], "open": true}
 *   {"tell": 0, "metrics": {"loss": 0.25}}    → {"told": 0}
 *   {"tell": 1, "failed": "why", "ask": 1}    → {"told": 1, "points": […], "open": true}
 *
 * With rungs a point has "until" too, and where it is given again "rungs"; one told of at its rung gets a verdict:
 *   {"tell": 0, "epoch": 1, "metrics": {"loss": 0.5}} → {"told": 0, "verdict": "promote", "until": 3}
 *
 * Fewer points than were asked for: no more now; with "open": false no more ever, and "reason" says why. A line that cannot be
 * answered gets {"error": "…", "exit": n}, n being the exit code of the verb, and the conversation goes on, but where the
 * hub cannot be used. "seed" is there for points that have one. */

#include "cli/cli.h"

/* record: of the sweep, as it was found. An exit code. */
int ask_stdio(struct cli *cli, const bson_t *record);

/* What becomes of a point that was told of at its rung, when all who may go on were promoted: appends verdict: "promote" (it is
 * this caller's again, with until), "pause" or "stop". 0 or -1. */
int ask_append_verdict(struct hub *hub, const bson_t *told, bson_t *out, bson_error_t *error);

#endif
