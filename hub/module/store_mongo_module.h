/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_STORE_MONGO_MODULE_H
#define TL_HUB_STORE_MONGO_MODULE_H

/* The MongoDB engine as a module, loaded when the first mongodb:// URI is opened. libmongoc and what it stands on start
 * when they are loaded, which takes longer than most commands on SQLite do. */

#include "hub/store_impl.h"

#define STORE_MONGO_MODULE "tl_store_mongo.so"
#define STORE_MONGO_SYMBOL "tl_store_mongo"

/* NULL where the module was built from other sources than the program. */
typedef const struct store_engine *store_mongo_module_function(const char *version, size_t engine_size);

#endif
