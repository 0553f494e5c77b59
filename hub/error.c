/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/error.h"
#include "hub/utf8.h"

#include <stdarg.h>
#include <stdio.h>

int hub_error(bson_error_t *error, enum hub_error_code code, const char *format, ...)
{
    if (!error)
        return -1;
    char message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0)
        message[0] = '\0';
    for (char *c = message; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    utf8_clean(message, strlen(message)); /* it goes into documents: a name in it may be anything, and it may be cut */
    error->domain = HUB_ERROR_DOMAIN;
    error->code = code;
    memcpy(error->message, message, sizeof message); /* at last: the arguments may point into *error */
    return -1;
}

enum hub_error_code hub_error_code(const bson_error_t *error)
{
    if (error->domain != HUB_ERROR_DOMAIN || error->code < HUB_ERROR_INVALID || error->code > HUB_ERROR_INTERNAL)
        return HUB_ERROR_INTERNAL;
    return (enum hub_error_code)error->code;
}
