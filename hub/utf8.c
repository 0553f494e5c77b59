/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/utf8.h"

#include <bson/bson.h>

/* Bytes of the character that begins so; 0 where none does. */
static size_t size_of(unsigned char first)
{
    return first == 0 ? 0 : first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 0;
}

void utf8_clean(char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t size = size_of((unsigned char)text[i]);
        if (size == 0 || size > length - i || !bson_utf8_validate(text + i, size, false)) {
            text[i] = '?';
            size = 1;
        }
        i += size;
    }
}
