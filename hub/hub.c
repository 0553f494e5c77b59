/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/hub_impl.h"
#include "hub/schema.h"
#include "hub/task_shortlist.h"

#include <stdlib.h>
#include <string.h>

#define META_ID "hub"

struct hub {
    struct store *store;
    char *uri;
    char *project;
    char id[HUB_ID_SIZE];
    int32_t lanes;
    struct task_shortlist *shortlist; /* NULL before the first claim that wants it */
};

/* ---- meta and projects ---- */

static int check_meta(struct store *store, const bson_t *meta, char id[HUB_ID_SIZE], bson_error_t *error)
{
    const char *text = hub_text(meta, "hub_id");
    int64_t version = hub_number(meta, "schema_version", 0);
    int64_t reader = hub_number(meta, "min_reader", 0);
    int64_t writer = hub_number(meta, "min_writer", 0);
    if (text == NULL || strlen(text) >= HUB_ID_SIZE || version < 1) {
        return hub_error(error, HUB_ERROR_VERSION,
                         "%s is not a hub: its meta document has no hub_id and schema_version; name another database",
                         store_uri_redacted(store));
    }
    if (reader > HUB_SCHEMA_VERSION || writer > HUB_SCHEMA_VERSION) {
        const char *made_by = hub_text(meta, "program_version");
        return hub_error(error, HUB_ERROR_VERSION,
                         "%s is newer than this program: it has schema version %" PRId64
                         " and needs a program that knows version %" PRId64 ", this one (%s) knows %d; use tl_hub %s",
                         store_uri_redacted(store), version, reader > writer ? reader : writer, TL_HUB_VERSION,
                         HUB_SCHEMA_VERSION, made_by != NULL ? made_by : "of a later version");
    }
    memcpy(id, text, strlen(text) + 1);
    return 1;
}

/* 1 there, 0 not there, -1. lanes may be NULL. */
static int read_meta(struct store *store, char id[HUB_ID_SIZE], int32_t *lanes, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, meta;
    BSON_APPEND_UTF8(&filter, "_id", META_ID);
    int result = store_find_one(store, "meta", &filter, NULL, &meta, error);
    if (result == 1) {
        result = check_meta(store, &meta, id, error);
    }
    if (lanes != NULL) {
        int64_t said = hub_number(&meta, "lanes", 1);
        *lanes = said < 1 ? 1 : said > HUB_LANES_MOST ? HUB_LANES_MOST : (int32_t)said;
    }
    bson_destroy(&meta);
    bson_destroy(&filter);
    return result;
}

static int check_project_name(const char *project, bson_error_t *error)
{
    bson_t document = BSON_INITIALIZER;
    bson_error_t inner;
    BSON_APPEND_UTF8(&document, "_id", project);
    BSON_APPEND_UTF8(&document, "project", project);
    BSON_APPEND_DATE_TIME(&document, "created_at", 0);
    BSON_APPEND_INT32(&document, "schema_version", HUB_SCHEMA_VERSION);
    int result = schema_check("project", &document, &inner);
    bson_destroy(&document);
    if (result < 0) {
        return hub_error(error, HUB_ERROR_INVALID,
                         "project \"%.100s\": a name is 1 to 64 letters, digits, '_', '-' and '.', a letter or digit first",
                         project);
    }
    return 1;
}

/* 1 made, 0 was there. */
static int make_project(struct store *store, const char *project, bson_error_t *error)
{
    int64_t now;
    bson_t document = BSON_INITIALIZER;
    bson_error_t inner;
    int result = -1;
    if (store_server_time(store, &now, error) < 0) {
        goto out;
    }
    BSON_APPEND_UTF8(&document, "_id", project);
    BSON_APPEND_UTF8(&document, "project", project);
    BSON_APPEND_DATE_TIME(&document, "created_at", now);
    BSON_APPEND_INT32(&document, "schema_version", HUB_SCHEMA_VERSION);
    result = store_insert(store, "projects", &document, &inner);
    if (result < 0 && hub_error_code(&inner) == HUB_ERROR_DUPLICATE) {
        result = 0;
    } else if (result < 0) {
        if (error != NULL) {
            *error = inner;
        }
    } else {
        result = 1;
    }
out:
    bson_destroy(&document);
    return result;
}

static int make_meta(struct store *store, bson_error_t *error)
{
    int64_t now;
    char id[HUB_ID_SIZE];
    bson_t document = BSON_INITIALIZER;
    bson_error_t inner;
    int result = -1;
    if (store_server_time(store, &now, error) < 0) {
        goto out;
    }
    hub_random_id(id);
    BSON_APPEND_UTF8(&document, "_id", META_ID);
    BSON_APPEND_UTF8(&document, "hub_id", id);
    BSON_APPEND_INT32(&document, "schema_version", HUB_SCHEMA_VERSION);
    BSON_APPEND_INT32(&document, "min_reader", 1);
    BSON_APPEND_INT32(&document, "min_writer", 1);
    BSON_APPEND_UTF8(&document, "program_version", TL_HUB_VERSION);
    BSON_APPEND_DATE_TIME(&document, "created_at", now);
    if (schema_check("meta", &document, error) < 0) {
        goto out;
    }
    result = store_insert(store, "meta", &document, &inner);
    if (result < 0 && hub_error_code(&inner) == HUB_ERROR_DUPLICATE) {
        result = 0; /* another process was faster */
    } else if (result < 0) {
        if (error != NULL) {
            *error = inner;
        }
    } else {
        result = 1;
    }
out:
    bson_destroy(&document);
    return result;
}

/* Indexes and projects come first and the meta document last: where it stands, the rest does. */
static int make_hub(struct store *store, const char *project, bson_error_t *error)
{
    char id[HUB_ID_SIZE];
    int made = 0, result = read_meta(store, id, NULL, error);
    if (result < 0 || check_project_name(project, error) < 0) {
        return -1;
    }
    /* Also where the hub is there: an index that somebody dropped is made again. */
    if (hub_ensure_indexes(store, error) < 0) {
        return -1;
    }
    if (result == 0) {
        result = make_project(store, HUB_DEFAULT_PROJECT, error);
        made |= result > 0;
        if (result < 0) {
            return -1;
        }
    }
    result = make_project(store, project, error);
    made |= result > 0;
    if (result < 0) {
        return -1;
    }
    result = make_meta(store, error);
    made |= result > 0;
    return result < 0 ? -1 : made;
}

/* "default, digits, fashion": what an unknown project's message shows. */
static void name_projects(struct store *store, char *out, size_t size)
{
    bson_t sort = BSON_INITIALIZER;
    const bson_t *document;
    size_t used = 0;
    BSON_APPEND_INT32(&sort, "_id", 1);
    struct store_find_options options = {.sort = &sort, .limit = 20};
    struct store_cursor *cursor = store_find(store, "projects", NULL, &options, NULL);
    out[0] = '\0';
    while (cursor != NULL && store_cursor_next(cursor, &document, NULL) == 1) {
        const char *name = hub_text(document, "_id");
        if (name != NULL && used + strlen(name) + 3 < size) {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", name);
        }
    }
    store_cursor_close(cursor);
    bson_destroy(&sort);
}

static int check_project(struct store *store, const char *project, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER;
    char names[300];
    /* The default project is made with the hub and is not deleted: opening costs one read less. */
    if (strcmp(project, HUB_DEFAULT_PROJECT) == 0) {
        bson_destroy(&filter);
        return 1;
    }
    BSON_APPEND_UTF8(&filter, "_id", project);
    int64_t found = bson_utf8_validate(project, strlen(project), false) ? store_count(store, "projects", &filter, error)
                                                                        : 0;
    bson_destroy(&filter);
    if (found < 0) {
        return -1;
    }
    if (found == 0) {
        name_projects(store, names, sizeof names);
        return hub_error(error, HUB_ERROR_NOT_FOUND,
                         "project \"%.100s\" is not in %s (it has: %s); make it with: tl_hub init --project %.100s",
                         project, store_uri_redacted(store), names, project);
    }
    return 1;
}

/* ---- opening ---- */

static struct hub *open_hub(const char *uri, const char *project, unsigned flags, int64_t limit_ms, bson_error_t *error)
{
    struct hub *hub = bson_malloc0(sizeof *hub);
    bool create = (flags & HUB_OPEN_CREATE) != 0;
    project = project != NULL ? project : HUB_DEFAULT_PROJECT;
    hub->uri = bson_strdup(uri != NULL ? uri : "");
    hub->project = bson_strdup(project);
    hub->store = store_open_with_timeout(hub->uri, create, limit_ms, error);
    if (hub->store == NULL) {
        goto fail;
    }
    int result = read_meta(hub->store, hub->id, &hub->lanes, error);
    if (result == 0 && create && strcmp(store_engine(hub->store), "sqlite") == 0) {
        if (make_hub(hub->store, HUB_DEFAULT_PROJECT, error) < 0) {
            goto fail;
        }
        result = read_meta(hub->store, hub->id, &hub->lanes, error);
    }
    if (result < 0) {
        goto fail;
    }
    if (result == 0) {
        hub_error(error, HUB_ERROR_NOT_FOUND, "no hub at %s: make one with: tl_hub init --hub URI",
                  store_uri_redacted(hub->store));
        goto fail;
    }
    if (check_project(hub->store, project, error) < 0) {
        goto fail;
    }
    return hub;
fail:
    hub_close(hub);
    return NULL;
}

struct hub *hub_open(const char *uri, const char *project, unsigned flags, bson_error_t *error)
{
    return open_hub(uri, project, flags, 0, error);
}

struct hub *hub_open_with_timeout(const char *uri, const char *project, int64_t limit_ms, bson_error_t *error)
{
    return open_hub(uri, project, HUB_OPEN_EXISTING, limit_ms, error);
}

int hub_init(const char *uri, const char *project, bson_error_t *error)
{
    struct store *store = store_open(uri != NULL ? uri : "", true, error);
    if (store == NULL) {
        return -1;
    }
    int result = make_hub(store, project != NULL ? project : HUB_DEFAULT_PROJECT, error);
    store_close(store);
    return result;
}

int32_t hub_lanes(const struct hub *hub)
{
    return hub->lanes;
}

int hub_set_lanes(struct hub *hub, int32_t lanes, bson_error_t *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set, task;
    if (lanes < 1 || lanes > HUB_LANES_MOST) {
        bson_destroy(&filter);
        bson_destroy(&update);
        return hub_error(error, HUB_ERROR_INVALID, "lanes: from 1 to %d, not %d", HUB_LANES_MOST, (int)lanes);
    }
    int result = lanes == hub->lanes ? 0 : store_find_one(hub->store, "tasks", NULL, NULL, &task, error);
    if (lanes != hub->lanes) {
        bson_destroy(&task);
    }
    if (result > 0) {
        result = hub_error(error, HUB_ERROR_INVALID, "lanes: %s has tasks and %d; the number is chosen before the first task",
                           store_uri_redacted(hub->store), (int)hub->lanes);
    } else if (result == 0 && lanes != hub->lanes) {
        BSON_APPEND_UTF8(&filter, "_id", META_ID);
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
        BSON_APPEND_INT32(&set, "lanes", lanes);
        bson_append_document_end(&update, &set);
        result = store_modify(hub->store, "meta", &filter, &update, NULL, NULL, error);
        hub->lanes = result > 0 ? lanes : hub->lanes;
    }
    bson_destroy(&update);
    bson_destroy(&filter);
    return result;
}

void hub_close(struct hub *hub)
{
    if (hub == NULL) {
        return;
    }
    task_shortlist_free(hub->shortlist);
    store_close(hub->store);
    bson_free(hub->project);
    bson_free(hub->uri);
    bson_free(hub);
}

struct task_shortlist **hub_shortlist(struct hub *hub)
{
    return &hub->shortlist;
}

struct hub *hub_reopen(const struct hub *hub, bson_error_t *error)
{
    return hub_open(hub->uri, hub->project, HUB_OPEN_EXISTING, error);
}

struct store *hub_store(struct hub *hub)
{
    return hub->store;
}

const char *hub_project(const struct hub *hub)
{
    return hub->project;
}

int hub_check_project(struct hub *hub, const char *project, bson_error_t *error)
{
    return check_project(hub->store, project, error);
}

void hub_set_project(struct hub *hub, const char *project)
{
    if (strcmp(hub->project, project) != 0) {
        bson_free(hub->project);
        hub->project = bson_strdup(project);
    }
}

const char *hub_id(const struct hub *hub)
{
    return hub->id;
}

const char *hub_uri(const struct hub *hub)
{
    return hub->uri;
}
