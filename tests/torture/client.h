/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TORTURE_CLIENT_H
#define TL_TORTURE_CLIENT_H

/* What the halves of the torture's client share: its options (KEY=VALUE), clock and chance. */

#include "hub/fault.h"
#include "hub/tl_hub.h"

#include <signal.h>

enum { NOTHING = 3, LOST = 6 }; /* exit statuses */

extern volatile sig_atomic_t told_to_stop; /* SIGTERM came */

const char *option(const char *key, const char *fallback);
int64_t number(const char *key, int64_t fallback);
int64_t boottime_ms(void);
void wait_ms(int64_t ms);
uint64_t next_random(void); /* 31 bits, from the seed */
/* Whether the hub may answer if it is asked again. */
bool is_transient(const bson_error_t *error);
/* Prints it; 1. */
int complain(const bson_error_t *error);

/* The verb "work": claims tasks and does them. The exit status. */
int client_work(struct hub *hub);

#endif
