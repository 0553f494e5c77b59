/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: every operation is checked and parsed before the engine does the first. */
#include "hub/fault.h"
#include "hub/store_front.h"

#include <string.h>

/* What a prepared entry owns. */
struct batch_owned {
    bson_t *document;
    struct query *query;
    struct update *update;
    bson_t *base;
};

static int prepare_entry(struct store *store, const struct store_operation *operation,
                         struct store_batch_entry *entry, struct batch_owned *owned, bson_error_t *error)
{
    entry->operation = operation;
    entry->run = 1;
    if (operation->kind == STORE_CHECK) {
        if (!operation->check)
            return hub_error(error, HUB_ERROR_INVALID, "batch: a check without a function");
        return 0;
    }
    if (front_check_collection(operation->collection, error))
        return -1;
    switch (operation->kind) {
    case STORE_INSERT:
        return front_prepare_document(store, operation->collection, operation->document, &entry->document,
                                      &owned->document, error);
    case STORE_UPDATE:
        if (front_parse_filter(operation->filter, &entry->filter, &owned->query, error) ||
            front_parse_change(store, operation->collection, operation->update, &entry->change, &owned->update, error))
            return -1;
        if (!operation->upsert)
            return 0;
        bson_t base;
        int result = front_parse_upsert(store, operation->collection, owned->query, &base, error);
        owned->base = bson_copy(&base);
        bson_destroy(&base);
        entry->upsert_base = owned->base;
        return result;
    case STORE_DELETE:
        return front_parse_filter(operation->filter, &entry->filter, &owned->query, error);
    default:
        return hub_error(error, HUB_ERROR_INVALID, "batch: unknown kind of operation %d", (int)operation->kind);
    }
}

/* Consecutive inserts that may travel together. */
static void count_runs(struct store_batch_entry *entries, size_t count)
{
    for (size_t i = count; i-- > 1 && !TL_FAULT_APART();) {
        const struct store_operation *a = entries[i - 1].operation, *b = entries[i].operation;
        if (a->kind == STORE_INSERT && b->kind == STORE_INSERT && a->ignore_duplicate == b->ignore_duplicate &&
            strcmp(a->collection, b->collection) == 0)
            entries[i - 1].run = entries[i].run + 1;
    }
}

int store_batch(struct store *store, const struct store_operation *operations, size_t count, size_t *stopped_at,
                bson_error_t *error)
{
    bson_error_t unused;
    size_t unused_index;
    error = error ? error : &unused;
    stopped_at = stopped_at ? stopped_at : &unused_index;
    *stopped_at = 0;
    if (front_check_may_write(store, error))
        return -1;
    *stopped_at = count;
    if (count == 0)
        return 1;
    struct store_batch_entry *entries = bson_malloc0(count * sizeof *entries);
    struct batch_owned *owned = bson_malloc0(count * sizeof *owned);
    int result = -1;
    for (size_t i = 0; i < count; i++) {
        if (prepare_entry(store, &operations[i], &entries[i], &owned[i], error)) {
            *stopped_at = i;
            goto out;
        }
    }
    count_runs(entries, count);
    store->in_batch = true;
    result = TL_FAULT_REFUSED(error) ? (*stopped_at = 0, -1)
                                     : store->engine->batch(store->self, store, entries, count, stopped_at, error);
    result = TL_FAULT_LOST(error) ? -1 : result;
    store->in_batch = false;
    front_check_code(result, error);
out:
    for (size_t i = 0; i < count; i++) {
        bson_destroy(owned[i].document);
        bson_destroy(owned[i].base);
        update_free(owned[i].update);
        query_free(owned[i].query);
    }
    bson_free(owned);
    bson_free(entries);
    return result;
}
