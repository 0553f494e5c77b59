/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TESTS_FUZZ_FILE_H
#define TL_TESTS_FUZZ_FILE_H

/* For what reads files: one file in memory, with the input as its content. */

#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Its path, which stays the same; its content is now the input. */
static const char *fuzz_file(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        FUZZ_REQUIRE(fd >= 0 && fchmod(fd, 0600) == 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    FUZZ_REQUIRE(ftruncate(fd, 0) == 0);
    FUZZ_REQUIRE(pwrite(fd, data, size, 0) == (ssize_t)size);
    return path;
}

/* Whether a message begins with "PATH:LINE:COLUMN: ". */
static inline bool fuzz_names_place(const char *message, const char *path)
{
    const char *at = message + strlen(path);
    if (strncmp(message, path, strlen(path)) != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        if (*at++ != ':' || *at == '0' || !isdigit((unsigned char)*at))
            return false;
        while (isdigit((unsigned char)*at))
            at++;
    }
    return at[0] == ':' && at[1] == ' ' && at[2] != '\0';
}

#endif
