/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/clock.h"

#include <sys/random.h>
#include <time.h>

int64_t clock_boot_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t clock_jitter(int64_t ms)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint32_t)clock_boot_ms() * 2654435761u;
    return ms < 2 ? ms : ms / 2 + (int64_t)random % (ms / 2 + 1);
}
