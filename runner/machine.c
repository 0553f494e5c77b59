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
