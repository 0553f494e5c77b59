/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/error.h"

#include <stdarg.h>
#include <stdio.h>

int kernel_error_set(struct kernel_error *error, enum kernel_error_code code, const char *format, ...)
{
    if (error == NULL) {
        return -1;
    }
    /* The arguments may be parts of *error itself ("layer x: %s", error->message): write elsewhere first. */
    char message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (written < 0) {
        message[0] = '\0';
    }
    size_t i = 0;
    for (; message[i] != '\0'; i++) {
        unsigned char c = (unsigned char)message[i];
        error->message[i] = c < 0x20 || c == 0x7f ? ' ' : message[i];
    }
    error->message[i] = '\0';
    error->code = (int)code;
    return -1;
}
