/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_stub.h"

#include <criterion/criterion.h>
#include <string.h>

void wire_stub_start(struct wire_stub *stub, const char *script, const char *options)
{
    int port = 0;
    piped_start(&stub->program, "wire_stub.py", script, "60");
    cr_assert(fscanf(stub->program.output, "%d", &port) == 1, "the stub did not start");
    snprintf(stub->uri, sizeof stub->uri, "mongodb://127.0.0.1:%d/stub?%s", port, options);
}

int wire_stub_end(struct wire_stub *stub, const char *command)
{
    char name[64];
    int times, result = 0;
    piped_close(&stub->program);
    while (fscanf(stub->program.output, "%63s %d", name, &times) == 2) {
        result = strcmp(name, command) == 0 ? times : result;
    }
    piped_end(&stub->program);
    return result;
}
