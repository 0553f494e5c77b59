/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_SERVER_AGGREGATE_H
#define TL_TEST_SERVER_AGGREGATE_H

/* What the server itself makes of a pipeline, past the store: to hold ours against it. */

#include <bson/bson.h>

/* Canonical extended JSON, a line a document (free it), or NULL where the server refuses. */
char *test_server_aggregate(const char *uri, const char *collection, const bson_t *stages);

#endif
