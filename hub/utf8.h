/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_UTF8_H
#define TL_HUB_UTF8_H

#include <stddef.h>

/* Makes the bytes valid UTF-8 without NUL, in place and of the same length: each byte that is no part of a character becomes
 * a question mark. For what comes from elsewhere: file names, programs' output, a text that was cut. */
void utf8_clean(char *text, size_t length);

#endif
