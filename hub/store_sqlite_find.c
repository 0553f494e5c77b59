/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: a find first collects the rowids in order, in one short transaction, then fetches the documents in batches,
 * each in a short transaction of its own, so that none is open while the caller looks. */
#include "hub/store_sqlite_impl.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_DOCUMENTS 101
#define BATCH_BYTES (1024 * 1024)

/* ---- the rows of a plan ---- */

struct selection {
    struct sqlite_store *store;
    const struct query *query;
    struct sqlite_plan plan;
    sqlite3_stmt *statement;
    bool with_bson;
};

/* How many documents in order it takes; 0: all. */
static int64_t wanted_of(int64_t skip, int64_t limit)
{
    return limit == 0 ? 0 : skip <= INT64_MAX - limit ? skip + limit : INT64_MAX;
}

static int selection_open(struct selection *selection, struct sqlite_store *store,
                          const struct sqlite_collection *collection, const struct query *query, const bson_t *sort,
                          int64_t wanted, bool with_bson, bson_error_t *error)
{
    *selection = (struct selection){.store = store, .query = query};
    if (sqlite_plan_init(store, &selection->plan, collection, query, sort, wanted, error) < 0)
        return -1;
    selection->with_bson = with_bson || !selection->plan.exact || !selection->plan.sorted;
    bson_string_t *sql = bson_string_new(selection->with_bson ? "SELECT t.rowid, t.bson" : "SELECT t.rowid");
    bson_string_append(sql, selection->plan.from->str);
    bson_string_append(sql, selection->plan.order->str);
    selection->statement = sqlite_prepare(store, sql->str, error);
    bson_string_free(sql, true);
    if (!selection->statement)
        return -1;
    for (size_t i = 0; i < selection->plan.binding_count; i++) {
        const struct key *key = &selection->plan.bindings[i];
        sqlite3_bind_blob64(selection->statement, (int)i + 1, key->data, key->length, SQLITE_STATIC);
    }
    return 0;
}

/* 1 a match (*bson is set only if asked for), 0 the end, -1. */
static int selection_next(struct selection *selection, int64_t *row, bson_t *bson, bson_error_t *error)
{
    int code;
    while ((code = sqlite3_step(selection->statement)) == SQLITE_ROW) {
        *row = sqlite3_column_int64(selection->statement, 0);
        if (!selection->with_bson)
            return 1;
        if (sqlite_column_bson(selection->store, selection->statement, 1, bson, error))
            return -1;
        if (selection->plan.exact || query_matches(selection->query, bson))
            return 1;
    }
    return code == SQLITE_DONE ? 0 : sqlite_fail(selection->store, code, "find", error);
}

static void selection_close(struct selection *selection)
{
    sqlite3_reset(selection->statement);
    if (selection->statement)
        sqlite3_clear_bindings(selection->statement);
    if (selection->plan.from)
        sqlite_plan_destroy(&selection->plan);
}

/* ---- sorting without an index: the first ones in a heap, the last of them on top ---- */

struct sort_entry {
    uint8_t *key;
    size_t length;
    size_t place; /* keeps equal ones in the order found */
    int64_t row;
};

struct sorter {
    struct sort_entry *entries;
    size_t count;
    size_t capacity;
    size_t limit; /* 0: all */
    size_t seen;
};

static int compare_entries(const void *a, const void *b)
{
    const struct sort_entry *x = a, *y = b;
    int order = key_compare(x->key, x->length, y->key, y->length);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static void sift_down(struct sorter *sorter, size_t at)
{
    for (;;) {
        size_t last = at, left = 2 * at + 1;
        for (size_t child = left; child < left + 2 && child < sorter->count; child++)
            if (compare_entries(&sorter->entries[child], &sorter->entries[last]) > 0)
                last = child;
        if (last == at)
            return;
        struct sort_entry swap = sorter->entries[at];
        sorter->entries[at] = sorter->entries[last];
        sorter->entries[last] = swap;
        at = last;
    }
}

static void sorter_add(struct sorter *sorter, const struct key *key, int64_t row)
{
    size_t place = sorter->seen++;
    if (sorter->limit && sorter->count == sorter->limit) {
        struct sort_entry *top = &sorter->entries[0];
        if (key_compare(key->data, key->length, top->key, top->length) >= 0)
            return;
        bson_free(top->key);
        top->key = bson_malloc(key->length);
        memcpy(top->key, key->data, key->length);
        top->length = key->length;
        top->place = place;
        top->row = row;
        sift_down(sorter, 0);
        return;
    }
    if (sorter->count == sorter->capacity) {
        sorter->capacity = sorter->capacity ? 2 * sorter->capacity : 64;
        sorter->entries = bson_realloc(sorter->entries, sorter->capacity * sizeof *sorter->entries);
    }
    struct sort_entry *entry = &sorter->entries[sorter->count++];
    *entry = (struct sort_entry){.key = bson_malloc(key->length), .length = key->length, .place = place, .row = row};
    memcpy(entry->key, key->data, key->length);
    if (sorter->limit && sorter->count == sorter->limit)
        for (size_t i = sorter->count / 2; i-- > 0;)
            sift_down(sorter, i);
}

static void sorter_destroy(struct sorter *sorter)
{
    for (size_t i = 0; i < sorter->count; i++)
        bson_free(sorter->entries[i].key);
    bson_free(sorter->entries);
}

static int sort_rows(struct selection *selection, const bson_t *sort, int64_t skip, int64_t limit, int64_t **rows,
                     size_t *count, bson_error_t *error)
{
    struct sorter sorter = {.limit = limit && skip <= INT64_MAX - limit ? (size_t)(skip + limit) : 0};
    struct key key;
    bson_t bson;
    int64_t row;
    int more;
    key_init(&key);
    while ((more = selection_next(selection, &row, &bson, error)) == 1) {
        key_clear(&key);
        key_append_sort(&key, sort, &bson);
        sorter_add(&sorter, &key, row);
    }
    if (more == 0 && sorter.count > 0) {
        qsort(sorter.entries, sorter.count, sizeof *sorter.entries, compare_entries);
        for (size_t i = (size_t)skip; i < sorter.count && (!limit || *count < (size_t)limit); i++) {
            if (!*rows)
                *rows = bson_malloc(sorter.count * sizeof **rows);
            (*rows)[(*count)++] = sorter.entries[i].row;
        }
    }
    sorter_destroy(&sorter);
    key_destroy(&key);
    return more;
}

static int take_rows(struct selection *selection, int64_t skip, int64_t limit, int64_t **rows, size_t *count,
                     bson_error_t *error)
{
    size_t capacity = 0;
    bson_t bson;
    int64_t row;
    int more = 0;
    while ((!limit || *count < (size_t)limit) && (more = selection_next(selection, &row, &bson, error)) == 1) {
        if (skip > 0) {
            skip--;
            continue;
        }
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            *rows = bson_realloc(*rows, capacity * sizeof **rows);
        }
        (*rows)[(*count)++] = row;
    }
    return more < 0 ? -1 : 0;
}

int sqlite_find_rows(struct sqlite_store *store, const struct sqlite_collection *collection,
                     const struct query *query, const bson_t *sort, int64_t skip, int64_t limit, int64_t **rows,
                     size_t *count, bson_error_t *error)
{
    *rows = NULL;
    *count = 0;
    if (!collection)
        return 0;
    struct selection selection;
    int result = selection_open(&selection, store, collection, query, sort, wanted_of(skip, limit), false, error);
    if (result == 0 && selection.plan.sorted)
        result = take_rows(&selection, skip, limit, rows, count, error);
    else if (result == 0)
        result = sort_rows(&selection, sort, skip, limit, rows, count, error);
    selection_close(&selection);
    return result;
}

/* ---- documents ---- */

/* A copy that has been checked as a whole: what is damaged on the disk does not get further. */
static bson_t *copy_checked(struct sqlite_store *store, const bson_t *bson, bson_error_t *error)
{
    if (!sqlite_bson_is_whole(bson)) {
        hub_error(error, HUB_ERROR_CORRUPT, "'%s' holds a malformed document; restore it from a copy", store->path);
        return NULL;
    }
    return bson_copy(bson);
}

int sqlite_fetch(struct sqlite_store *store, const struct sqlite_collection *collection, int64_t row,
                 bson_t **document, bson_error_t *error)
{
    *document = NULL;
    bson_string_t *sql = bson_string_new("SELECT bson FROM ");
    sqlite_quote(sql, '"', "c_", collection->name);
    bson_string_append(sql, " WHERE rowid = ?");
    sqlite3_stmt *statement = sqlite_prepare(store, sql->str, error);
    bson_string_free(sql, true);
    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, row);
    bson_t bson;
    int result = 0;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        if (sqlite_column_bson(store, statement, 0, &bson, error) == 0)
            *document = copy_checked(store, &bson, error);
        result = *document ? 1 : -1;
    } else if (code != SQLITE_DONE) {
        result = sqlite_fail(store, code, "find", error);
    }
    sqlite3_reset(statement);
    return result;
}

int sqlite_find_first(struct sqlite_store *store, const struct sqlite_collection *collection,
                      const struct query *query, const bson_t *sort, int64_t skip, int64_t *row, bson_t **document,
                      bson_error_t *error)
{
    *document = NULL;
    *row = 0;
    if (!collection)
        return 0;
    struct selection selection;
    int64_t *rows = NULL;
    size_t count = 0;
    bson_t bson;
    int result = selection_open(&selection, store, collection, query, sort, wanted_of(skip, 1), true, error);
    if (result == 0 && selection.plan.sorted) {
        while ((result = selection_next(&selection, row, &bson, error)) == 1 && skip > 0)
            skip--;
        if (result == 1)
            *document = copy_checked(store, &bson, error);
        if (result == 1 && !*document)
            result = -1;
    } else if (result == 0) {
        result = sort_rows(&selection, sort, skip, 1, &rows, &count, error);
        if (result == 0 && count == 1) {
            *row = rows[0];
            result = sqlite_fetch(store, collection, *row, document, error);
        }
    }
    bson_free(rows);
    selection_close(&selection);
    return result;
}

int sqlite_find_one(void *self, const char *collection, const struct store_find_request *request, bson_t *out,
                    bson_error_t *error)
{
    struct sqlite_store *store = self;
    bson_t *document = NULL;
    int64_t row;
    if (sqlite_begin_read(store, error))
        return -1;
    int result = sqlite_find_first(store, sqlite_collection_find(store, collection), request->filter.query,
                                   request->sort, request->skip, &row, &document, error);
    sqlite_end_read(store);
    if (result == 1 && request->projection) {
        bson_t projected;
        if (query_project(request->projection, document, &projected, error))
            result = -1;
        else
            bson_concat(out, &projected);
        bson_destroy(&projected);
    } else if (result == 1) {
        bson_concat(out, document);
    }
    bson_destroy(document);
    return result;
}

int64_t sqlite_count(void *self, const char *collection, const struct store_filter *filter, bson_error_t *error)
{
    struct sqlite_store *store = self;
    if (sqlite_begin_read(store, error))
        return -1;
    const struct sqlite_collection *table = sqlite_collection_find(store, collection);
    struct selection selection;
    int64_t count = 0, row;
    bson_t bson;
    int more = 0;
    if (table) {
        more = selection_open(&selection, store, table, filter->query, NULL, 0, false, error);
        if (more == 0)
            while ((more = selection_next(&selection, &row, &bson, error)) == 1)
                count++;
        selection_close(&selection);
    }
    sqlite_end_read(store);
    return more < 0 ? -1 : count;
}

/* ---- cursors ---- */

struct cursor {
    struct sqlite_store *store;
    char *collection;
    struct query *query;
    bson_t *projection;
    int64_t *rows;
    size_t count;
    size_t next; /* row to fetch */
    bson_t *batch[BATCH_DOCUMENTS];
    size_t batch_count;
    size_t batch_next;
    bson_t *current; /* what the caller sees, where it is projected */
};

/* Within a transaction. What has gone or no longer matches since the rows were collected is left out. */
static int fetch_batch(struct cursor *cursor, bson_error_t *error)
{
    const struct sqlite_collection *collection = sqlite_collection_find(cursor->store, cursor->collection);
    size_t bytes = 0;
    for (size_t i = 0; i < cursor->batch_count; i++)
        bson_destroy(cursor->batch[i]);
    cursor->batch_count = cursor->batch_next = 0;
    while (collection && cursor->next < cursor->count && cursor->batch_count < BATCH_DOCUMENTS && bytes < BATCH_BYTES) {
        bson_t *document;
        int there = sqlite_fetch(cursor->store, collection, cursor->rows[cursor->next++], &document, error);
        if (there < 0)
            return -1;
        if (there && query_matches(cursor->query, document)) {
            bytes += document->len;
            cursor->batch[cursor->batch_count++] = document;
        } else {
            bson_destroy(document);
        }
    }
    return 0;
}

void *sqlite_find(void *self, const char *collection, const struct store_find_request *request, bson_error_t *error)
{
    struct sqlite_store *store = self;
    struct cursor *cursor = bson_malloc0(sizeof *cursor);
    cursor->store = store;
    cursor->collection = bson_strdup(collection);
    cursor->projection = request->projection ? bson_copy(request->projection) : NULL;
    cursor->query = query_parse(request->filter.bson, error);
    if (!cursor->query || sqlite_begin_read(store, error)) {
        sqlite_cursor_close(cursor);
        return NULL;
    }
    int result = sqlite_find_rows(store, sqlite_collection_find(store, collection), cursor->query, request->sort,
                                  request->skip, request->limit, &cursor->rows, &cursor->count, error);
    if (result == 0)
        result = fetch_batch(cursor, error);
    sqlite_end_read(store);
    if (result) {
        sqlite_cursor_close(cursor);
        return NULL;
    }
    return cursor;
}

int sqlite_cursor_next(void *self, const bson_t **document, bson_error_t *error)
{
    struct cursor *cursor = self;
    while (cursor->batch_next == cursor->batch_count) {
        if (cursor->next == cursor->count)
            return 0;
        if (sqlite_begin_read(cursor->store, error))
            return -1;
        int result = fetch_batch(cursor, error);
        sqlite_end_read(cursor->store);
        if (result)
            return -1;
        if (!sqlite_collection_find(cursor->store, cursor->collection))
            return 0;
    }
    *document = cursor->batch[cursor->batch_next++];
    if (!cursor->projection)
        return 1;
    bson_destroy(cursor->current);
    bson_t projected;
    int result = query_project(cursor->projection, *document, &projected, error);
    cursor->current = result ? NULL : bson_copy(&projected);
    bson_destroy(&projected);
    *document = cursor->current;
    return result ? -1 : 1;
}

void sqlite_cursor_close(void *self)
{
    struct cursor *cursor = self;
    if (!cursor)
        return;
    for (size_t i = 0; i < cursor->batch_count; i++)
        bson_destroy(cursor->batch[i]);
    bson_destroy(cursor->current);
    bson_destroy(cursor->projection);
    query_free(cursor->query);
    bson_free(cursor->rows);
    bson_free(cursor->collection);
    bson_free(cursor);
}
