/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite lets waiting writers poll, and some of them starve. So writers queue here first, on locks of a file beside the
 * database (never on the database file itself: closing any descriptor of it would drop SQLite's locks).
 *
 * Byte 0 is held by the writer inside. Byte 1 is held by the one who comes next; nobody gets byte 0 without having held
 * byte 1, so a writer that has just left cannot slip in before those who wait. Those who wait for byte 1 ask the more
 * often the longer they have waited. The locks belong to the open file description: they go with the process, whatever
 * way it ends. */
#include "hub/store_sqlite_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define INSIDE 0
#define NEXT 1

int64_t turnstile_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* A database that has several names (links) has one turnstile: beside the file itself. */
void turnstile_init(struct turnstile *turnstile, const char *database)
{
    char *real = realpath(database, NULL);
    *turnstile = (struct turnstile){.path = bson_strdup_printf("%s.lock", real ? real : database), .fd = -1};
    free(real);
}

/* Whoever may write the database may pass: a new file has its mode and, as far as that is ours to give, its owner. */
static int open_file(const struct turnstile *turnstile)
{
    struct stat database;
    int fd = open(turnstile->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return errno == EEXIST ? open(turnstile->path, O_RDWR | O_CLOEXEC) : -1;
    char *path = bson_strndup(turnstile->path, strlen(turnstile->path) - strlen(".lock"));
    if (stat(path, &database) == 0) {
        /* What cannot be given is not needed: then nobody else may write the database either. */
        if (fchmod(fd, database.st_mode & 0666) != 0 ||
            (geteuid() == 0 && fchown(fd, database.st_uid, database.st_gid) != 0))
            errno = 0;
    }
    bson_free(path);
    return fd;
}

void turnstile_destroy(struct turnstile *turnstile)
{
    if (turnstile->fd >= 0)
        close(turnstile->fd); /* and with it its locks */
    turnstile->fd = -1;
    bson_free(turnstile->path);
    turnstile->path = NULL;
}

/* 1 locked, 0 somebody else has it, -1 errno. */
static int lock_byte(const struct turnstile *turnstile, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    while (fcntl(turnstile->fd, F_OFD_SETLK, &lock) != 0) {
        if (errno == EAGAIN || errno == EACCES)
            return 0;
        if (errno != EINTR)
            return -1;
    }
    return 1;
}

static void sleep_us(int64_t microseconds)
{
    struct timespec time = {.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000};
    nanosleep(&time, NULL);
}

/* How long to sleep between two tries for byte 1, after having waited so long. */
static int64_t patience(int64_t waited_us, uint64_t *random)
{
    int64_t base = waited_us < 50000 ? 1600 : waited_us < 300000 ? 800 : waited_us < 1000000 ? 300 : 100;
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return base / 2 + (int64_t)(*random >> 33) % base;
}

static int wait_for(struct turnstile *turnstile, off_t byte, int64_t start, int64_t limit_ms, bson_error_t *error)
{
    uint64_t random = (uint64_t)start ^ (uint64_t)getpid() << 32;
    for (;;) {
        int locked = lock_byte(turnstile, F_WRLCK, byte);
        if (locked > 0)
            return 0;
        if (locked < 0)
            return hub_error(error, HUB_ERROR_IO, "lock file '%s': %s", turnstile->path, strerror(errno));
        int64_t waited = turnstile_now_us() - start;
        if (waited >= limit_ms * 1000)
            return hub_error(error, HUB_ERROR_BUSY,
                             "'%s' stayed locked by other writers for %lld ms; try again, or give sqlite:…?"
                             "busy_timeout_ms= a longer time", turnstile->path, (long long)limit_ms);
        sleep_us(byte == INSIDE ? 60 : patience(waited, &random));
    }
}

int turnstile_enter(struct turnstile *turnstile, int64_t limit_ms, bson_error_t *error)
{
    int64_t start = turnstile_now_us();
    if (turnstile->fd < 0)
        turnstile->fd = open_file(turnstile);
    if (turnstile->fd < 0)
        return hub_error(error, HUB_ERROR_IO, "lock file '%s': %s", turnstile->path, strerror(errno));
    if (wait_for(turnstile, NEXT, start, limit_ms, error))
        return -1;
    int result = wait_for(turnstile, INSIDE, start, limit_ms, error);
    lock_byte(turnstile, F_UNLCK, NEXT);
    turnstile->inside = result == 0;
    return result;
}

void turnstile_leave(struct turnstile *turnstile)
{
    if (turnstile->inside)
        lock_byte(turnstile, F_UNLCK, INSIDE);
    turnstile->inside = false;
}
