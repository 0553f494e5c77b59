/* SPDX-License-Identifier: Apache-2.0 */
/* Another machine's clock, for one process: preloaded (LD_PRELOAD), it shifts the wall clock by the milliseconds that
 * the file TORTURE_CLOCK says, read at each call, so that the clock can be stepped while the process runs. The clocks
 * that count since the start of the machine stay: nobody can set those. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long shift_ns(void)
{
    char text[32];
    const char *path = getenv("TORTURE_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t length = file >= 0 ? read(file, text, sizeof text - 1) : 0;
    if (file >= 0)
        close(file);
    text[length > 0 ? length : 0] = '\0';
    return atoll(text) * 1000000;
}

static int now(clockid_t clock, struct timespec *time)
{
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        long long nanoseconds = time->tv_sec * 1000000000LL + time->tv_nsec + shift_ns();
        time->tv_sec = (time_t)(nanoseconds / 1000000000LL);
        time->tv_nsec = (long)(nanoseconds % 1000000000LL);
    }
    return (int)result;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    return now(clock, time);
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec value;
    (void)zone;
    if (now(CLOCK_REALTIME, &value))
        return -1;
    time->tv_sec = value.tv_sec;
    time->tv_usec = value.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec value = {0};
    now(CLOCK_REALTIME, &value);
    if (out)
        *out = value.tv_sec;
    return value.tv_sec;
}
