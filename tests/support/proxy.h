/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_PROXY_H
#define TL_TEST_PROXY_H

/* The misbehaving proxy (proxy.py, which says what it can do) between a test and the server. */

#include "piped.h"

struct proxy {
    struct piped program;
    int control;
    char *uri; /* the database's, by way of the proxy */
};

/* Before the server of uri (as test_server_database gives it); it forwards until told otherwise. */
void proxy_start(struct proxy *proxy, const char *uri);
/* One command of proxy.py, printf-like: done when this returns. */
void proxy_tell(struct proxy *proxy, const char *command, ...) __attribute__((format(printf, 2, 3)));
/* How many requests or replies were lost or cut so far. */
int proxy_dropped(struct proxy *proxy);
void proxy_stop(struct proxy *proxy);

#endif
