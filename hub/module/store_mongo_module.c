/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/module/store_mongo_module.h"

#include <string.h>

__attribute__((visibility("default"))) store_mongo_module_function tl_store_mongo;

const struct store_engine *tl_store_mongo(const char *version, size_t engine_size)
{
    bool same = strcmp(version, TL_HUB_VERSION) == 0 && engine_size == sizeof(struct store_engine);
    return same ? &store_engine_mongo : NULL;
}
