/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_CLOCK_H
#define TL_RUNNER_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_BOOTTIME: it counts while the machine sleeps, and no one sets it. Leases are measured by it. */
int64_t clock_boot_ms(void);
/* Seconds of CLOCK_MONOTONIC, for durations that people read. */
double clock_seconds(void);
/* A random duration in [ms/2, ms]: so that many who wait do not come back together. */
int64_t clock_jitter(int64_t ms);

#endif
