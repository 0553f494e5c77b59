/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

int machine_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long count = sysconf(_SC_NPROCESSORS_ONLN); /* more processors than a cpu_set_t holds */
    return count > 0 ? (int)count : 1;
}

int64_t machine_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (int64_t)pages * size : 0;
}

/* A file with one number; -1 where it has none ("max"). */
static int64_t read_number(const char *path)
{
    long long number = -1;
    FILE *file = fopen(path, "re");
    if (!file || fscanf(file, "%lld", &number) != 1)
        number = -1;
    if (file)
        fclose(file);
    return number;
}

static int64_t available(void)
{
    char line[256];
    long long kib = -1;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && kib < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) != 1)
            kib = -1;
    if (file)
        fclose(file);
    return kib < 0 ? machine_memory_bytes() : kib * 1024;
}

/* The least of what the groups above this process leave it; -1: no limit. Pages of files are given back when memory is
 * short, so that only what the group cannot give back counts as used. */
static int64_t group_leaves(const char *folder, const char *limit, const char *used)
{
    char path[4400];
    snprintf(path, sizeof path, "%s/%s", folder, limit);
    int64_t most = read_number(path);
    snprintf(path, sizeof path, "%s/%s", folder, used);
    int64_t now = read_number(path), files = 0;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    char line[256];
    long long value;
    FILE *file = most >= 0 ? fopen(path, "re") : NULL;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "inactive_file %lld", &value) == 1 || sscanf(line, "active_file %lld", &value) == 1)
            files += value;
    if (file)
        fclose(file);
    if (most < 0)
        return -1;
    now = now > files ? now - files : 0;
    return most > now ? most - now : 0;
}

static int64_t groups_leave(void)
{
    char line[4096], folder[4200];
    int64_t least = -1;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        bool second = !strncmp(line, "0::", 3);
        char *path = second ? line + 3 : strstr(line, ":memory:");
        if (!path)
            continue;
        path += second ? 0 : 8;
        for (;;) { /* the limits of every group above hold, too */
            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", second ? "" : "/memory", path);
            int64_t left = second ? group_leaves(folder, "memory.max", "memory.current")
                                  : group_leaves(folder, "memory.limit_in_bytes", "memory.usage_in_bytes");
            least = left >= 0 && (least < 0 || left < least) ? left : least;
            char *slash = strrchr(path, '/');
            if (!slash || !*path)
                break;
            *slash = '\0';
        }
    }
    if (file)
        fclose(file);
    return least;
}

int64_t machine_free_memory(void)
{
    int64_t free = available(), group = groups_leave();
    return group >= 0 && group < free ? group : free;
}

int64_t machine_free_bytes(const char *hub_uri)
{
    char path[4096];
    struct statvfs system;
    const char *folder = getenv("TMPDIR");
    if (!strncmp(hub_uri, "sqlite:", 7)) {
        snprintf(path, sizeof path, "%.*s", (int)strcspn(hub_uri + 7, "?"), hub_uri + 7);
        folder = path;
    }
    if (statvfs(folder && *folder ? folder : "/tmp", &system))
        return -1;
    return (int64_t)((uint64_t)system.f_bavail * system.f_frsize);
}

void machine_cpu(char *text, size_t size)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "re");
    snprintf(text, size, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        if (bson_utf8_validate(colon, strlen(colon), false))
            snprintf(text, size, "%s", colon);
        break;
    }
    if (file)
        fclose(file);
}

void machine_host(char *text, size_t size)
{
    if (gethostname(text, size) != 0)
        snprintf(text, size, "unknown");
    text[size - 1] = '\0';
    if (!bson_utf8_validate(text, strlen(text), false))
        snprintf(text, size, "unknown");
}
