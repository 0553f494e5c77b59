/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_GENERATED_H
#define TL_TEST_GENERATED_H

/* Generated documents, filters and updates within the hub's subset, for tests that compare two ways to answer. The same
 * seed and round give the same sequence.
 *
 * Where the stand-in server itself deviates from what MongoDB documents, exactly that is left out, and only for the
 * stand-in: see the uses of `stand_in`. */

#include <bson/bson.h>

#define GENERATED_DOCUMENTS 40 /* filters ask for an _id below this */

void generated_start(uint64_t seed, int round, bool for_stand_in);
/* 0 … n - 1, and one of the texts up to NULL. */
int generated_below(int n);
const char *generated_one_of(const char *const *texts);
/* a and b hold scalars (b has an index), s strings, n documents, l anything, tags an indexed array. */
bson_t *generated_document(int id);
bson_t *generated_filter(void);
bson_t *generated_update(void);

#endif
