/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_CLIENT_OPTION_H
#define TL_TEST_CLIENT_OPTION_H

#include <stdint.h>

/* From here on the numeric URI option of every MongoDB client that is made is noted. */
void client_option_note(const char *option);
/* Of the last client; -1: it has none, and libmongoc's own holds. */
int32_t client_option_last(void);

#endif
