/* SPDX-License-Identifier: Apache-2.0 */
/* Writes to the database's file, or to its write-ahead log, as the system sees them. The folder is watched and not the
 * file, because the log comes and goes; nothing is opened by hand, which would cost the process its locks. */
#include "hub/store_sqlite_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

struct watch {
    struct store_watch base;
    char *name; /* of the file, within its folder */
};

static bool is_ours(const struct watch *watch, const struct inotify_event *event)
{
    size_t length = strlen(watch->name);
    if (event->mask & IN_Q_OVERFLOW)
        return true;
    return event->len > 0 && strncmp(event->name, watch->name, length) == 0 &&
           (event->name[length] == '\0' || strcmp(event->name + length, "-wal") == 0);
}

static int take(struct store_watch *base)
{
    struct watch *watch = (struct watch *)base;
    _Alignas(struct inotify_event) char buffer[4096];
    ssize_t length;
    int result = 0;
    while ((length = read(base->fd, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + length;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
            if (event->mask & (IN_IGNORED | IN_UNMOUNT))
                return -1;
            result = is_ours(watch, event) ? 1 : result;
            at += sizeof *event + event->len;
        }
    }
    return length < 0 && errno != EAGAIN && errno != EINTR ? -1 : result;
}

static void close_watch(struct store_watch *base)
{
    struct watch *watch = (struct watch *)base;
    close(base->fd);
    bson_free(watch->name);
    bson_free(watch);
}

struct store_watch *sqlite_watch(void *self, const char *const *projects, bson_error_t *error)
{
    const struct sqlite_store *store = self;
    (void)projects; /* every write to the file wakes */
    char *path = realpath(store->path, NULL);
    char *slash = path ? strrchr(path, '/') : NULL;
    int fd = slash ? inotify_init1(IN_NONBLOCK | IN_CLOEXEC) : -1;
    if (fd < 0) {
        hub_error(error, HUB_ERROR_NOT_FOUND, "'%s' cannot be watched: %s", store->path, strerror(errno));
        free(path);
        return NULL;
    }
    struct watch *watch = bson_malloc0(sizeof *watch);
    watch->base = (struct store_watch){.fd = fd, .take = take, .close = close_watch};
    watch->name = bson_strdup(slash + 1);
    *slash = '\0';
    if (inotify_add_watch(fd, path[0] ? path : "/", IN_MODIFY | IN_ONLYDIR) < 0) {
        hub_error(error, HUB_ERROR_NOT_FOUND, "'%s' cannot be watched: %s", store->path, strerror(errno));
        close_watch(&watch->base);
        watch = NULL;
    }
    free(path);
    return watch ? &watch->base : NULL;
}
