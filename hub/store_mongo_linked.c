/* SPDX-License-Identifier: Apache-2.0 */
/* The MongoDB engine as a part of the program: for those who link the library. The program tl_hub has
 * module/store_mongo_load.c instead. */
#include "hub/store_impl.h"

const struct store_engine *store_engine_mongo_get(bson_error_t *error)
{
    (void)error;
    return &store_engine_mongo;
}
