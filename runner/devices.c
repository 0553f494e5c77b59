/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device.h"
#include "runner/machine.h"
#include "runner/runner.h"

#include <stdlib.h>
#include <string.h>

/* Lines "key: value" as fields. */
static bool append_lines(bson_t *out, char *lines)
{
    char *rest = NULL;
    bool done = true;
    for (char *line = strtok_r(lines, "\n", &rest); line && done; line = strtok_r(NULL, "\n", &rest)) {
        char *colon = strchr(line, ':');
        if (!colon || colon == line)
            continue;
        char *value = colon + 1 + strspn(colon + 1, " \t");
        *colon = '\0';
        for (char *c = line; *c; c++)
            if (*c == '.' || *c == '$' || *c == ' ')
                *c = '_';
        if (bson_utf8_validate(line, strlen(line), false) && bson_utf8_validate(value, strlen(value), false))
            done = BSON_APPEND_UTF8(out, line, value);
    }
    return done;
}

static bool append_device(bson_t *out, const char *name)
{
    struct kernel_error why = {0};
    bson_t child;
    struct device *device = device_open(name, 1, &why);
    char *lines = device ? device_describe(device, &why) : NULL;
    bool done = BSON_APPEND_DOCUMENT_BEGIN(out, name, &child);
    done = done && (lines ? append_lines(&child, lines) : BSON_APPEND_UTF8(&child, "error", why.message));
    done = done && bson_append_document_end(out, &child);
    free(lines);
    device_close(device);
    return done;
}

int runner_describe_devices(bson_t *out, bson_error_t *error)
{
    char cpu[256], host[256];
    bson_t devices;
    bson_init(out);
    machine_cpu(cpu, sizeof cpu);
    machine_host(host, sizeof host);
    bool done = BSON_APPEND_UTF8(out, "host", host) && BSON_APPEND_UTF8(out, "cpu", cpu) &&
                BSON_APPEND_INT32(out, "cores", machine_cores()) &&
                BSON_APPEND_INT64(out, "memory_bytes", machine_memory_bytes()) &&
                BSON_APPEND_DOCUMENT_BEGIN(out, "devices", &devices);
    for (const char *const *name = device_names(); done && *name; name++)
        done = append_device(&devices, *name);
    done = done && bson_append_document_end(out, &devices);
    return done ? 1 : hub_error(error, HUB_ERROR_MEMORY, "no memory to describe the devices");
}
