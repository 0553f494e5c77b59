/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_DOCUMENTS_H
#define TL_TEST_DOCUMENTS_H

/* Documents written down in tests: MongoDB's extended JSON, with ' for ". All live until documents_free. */

#include <bson/bson.h>

/* printf-like. A test that cannot read its own document ends. */
const bson_t *document(const char *json, ...) BSON_GNUC_PRINTF(1, 2);
/* Takes a document over. */
const bson_t *document_keep(bson_t *owned);
void documents_free(void);

#endif
