/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_WIRE_STUB_H
#define TL_TEST_WIRE_STUB_H

/* A scripted server (wire_stub.py, which says what a script is). */

#include "piped.h"

struct wire_stub {
    struct piped program;
    char uri[128];
};

/* options: the URI's. */
void wire_stub_start(struct wire_stub *stub, const char *script, const char *options);
/* How often the command came. */
int wire_stub_end(struct wire_stub *stub, const char *command);

#endif
