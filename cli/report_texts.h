/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_REPORT_TEXTS_H
#define TL_CLI_REPORT_TEXTS_H

/* Texts kept once each. */

#include <stddef.h>
#include <stdint.h>

struct report_texts;

struct report_texts *report_texts_new(void);
void report_texts_free(struct report_texts *texts);
/* The one copy of a text, valid until the set is freed: equal texts have equal addresses. */
const char *report_texts_keep(struct report_texts *texts, const char *text);
/* FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/), over bytes, going on from hash. */
#define REPORT_TEXTS_HASH UINT64_C(14695981039346656037)
uint64_t report_texts_hash(uint64_t hash, const void *bytes, size_t length);

#endif
