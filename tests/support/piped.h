/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_PIPED_H
#define TL_TEST_PIPED_H

/* A Python program of tests/support with a pipe at its standard input and output: it ends when its input closes, also
 * when the test dies. */

#include <stdio.h>
#include <sys/types.h>

struct piped {
    pid_t process;
    int input;
    FILE *output;
};

/* Runs tests/support/NAME with two arguments: what to do, and the seconds after which it ends by itself. */
void piped_start(struct piped *piped, const char *name, const char *what, const char *seconds);
/* Closes its input. What it still has to say may be read from output before piped_end. */
void piped_close(struct piped *piped);
/* Closes, and waits until it has ended. */
void piped_end(struct piped *piped);

#endif
