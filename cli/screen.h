/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_SCREEN_H
#define TL_CLI_SCREEN_H

/* The whole terminal for a picture that is drawn again and again: frames replace each other in one write, line by line,
 * so that nothing flickers; what was on the terminal comes back at the end. Keys are read without waiting for Enter. */

#include <bson/bson.h>

#include <stdbool.h>
#include <stdint.h>

struct screen;

/* On stdout, with keys from stdin where that is a terminal. */
struct screen *screen_open(void);
/* Restores the terminal. NULL is allowed. */
void screen_close(struct screen *screen);
/* text is lines; what is beyond the terminal's size is left out. Lines may have colours, which cost no columns. */
void screen_draw(struct screen *screen, const char *text);
/* Rows and columns now. */
void screen_size(int *rows, int *columns);

enum screen_event {
    SCREEN_TIME,   /* the time is over */
    SCREEN_RESIZE, /* draw again */
    SCREEN_LEAVE   /* q, Ctrl-C, Ctrl-D, or a signal to end */
};
/* Waits; also without a screen (NULL): then only signals are heard. */
enum screen_event screen_wait(struct screen *screen, int64_t milliseconds);
/* Has SIGINT and SIGTERM end screen_wait, and not the program. */
void screen_catch_signals(void);

#endif
