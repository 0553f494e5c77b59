/* SPDX-License-Identifier: Apache-2.0 */
/* What libmongoc and the server say, as the few codes that the hub knows. */
#include "hub/store_mongo_impl.h"

#include <string.h>
#include <time.h>

/* The code that decides: of the first writeErrors entry, else of the reply itself, else libmongoc's copy. */
int32_t mongo_server_code(const bson_error_t *driver, const bson_t *reply)
{
    bson_iter_t iter;
    bson_iter_t found;
    if (reply && bson_iter_init(&iter, reply) && bson_iter_find_descendant(&iter, "writeErrors.0.code", &found) &&
        BSON_ITER_HOLDS_NUMBER(&found)) {
        return (int32_t)bson_iter_as_int64(&found);
    }
    if (reply && bson_iter_init_find(&iter, reply, "code") && BSON_ITER_HOLDS_NUMBER(&iter)) {
        return (int32_t)bson_iter_as_int64(&iter);
    }
    return driver->domain == MONGOC_ERROR_SERVER ? (int32_t)driver->code : 0;
}

bool mongo_is_duplicate(const bson_error_t *driver, const bson_t *reply)
{
    int32_t code = mongo_server_code(driver, reply);
    return code == 11000 || code == 11001 || code == 12582;
}

static bool has_write_concern_error(const bson_error_t *driver, const bson_t *reply)
{
    bson_iter_t iter;
    bson_iter_t entry;
    if (driver->domain == MONGOC_ERROR_WRITE_CONCERN) {
        return true;
    }
    if (reply && bson_iter_init_find(&iter, reply, "writeConcernError")) {
        return true;
    }
    return reply && bson_iter_init_find(&iter, reply, "writeConcernErrors") && BSON_ITER_HOLDS_ARRAY(&iter) &&
           bson_iter_recurse(&iter, &entry) && bson_iter_next(&entry);
}

/* The server refused before it did anything. */
static bool is_not_primary(int32_t code)
{
    return code == 10107 || code == 13435 || code == 13436 || code == 10058;
}

/* The server stopped in the midst: a write may or may not have been done. */
static bool is_interrupted(int32_t code)
{
    return code == 189 || code == 91 || code == 11600 || code == 11602;
}

bool mongo_try_again(const struct mongo *mongo, struct mongo_retry *retry, enum mongo_kind kind,
                     const bson_error_t *driver, const bson_t *reply)
{
    int32_t code = mongo_server_code(driver, reply);
    bson_iter_t iter;
    if (!is_not_primary(code) && !(kind == MONGO_READ && is_interrupted(code))) {
        return false;
    }
    if (kind == MONGO_WRITE) { /* part of it may have been done before the primary went */
        static const char *const counts[] = {"insertedCount", "nInserted", "matchedCount", "nMatched",
                                             "deletedCount",  "nRemoved",  "upsertedCount"};
        if (has_write_concern_error(driver, reply)) {
            return false;
        }
        for (size_t i = 0; reply && i < sizeof counts / sizeof counts[0]; i++) {
            if (bson_iter_init_find(&iter, reply, counts[i]) && bson_iter_as_int64(&iter) > 0) {
                return false;
            }
        }
    }
    int64_t now = bson_get_monotonic_time();
    if (retry->deadline == 0) {
        retry->deadline = now + mongo->patience_ms * 1000;
    }
    int64_t wait_us = retry->tries < 5 ? 50000L << retry->tries : 1000000L;
    if (now + wait_us > retry->deadline) {
        return false;
    }
    retry->tries++;
    struct timespec pause = {wait_us / 1000000, wait_us % 1000000 * 1000};
    while (nanosleep(&pause, &pause) != 0) {
    }
    return true;
}

static enum hub_error_code code_of_server(enum mongo_kind kind, int32_t code)
{
    enum hub_error_code lost = kind == MONGO_WRITE ? HUB_ERROR_UNKNOWN_OUTCOME : HUB_ERROR_UNREACHABLE;
    if (is_not_primary(code)) {
        return HUB_ERROR_UNREACHABLE;
    }
    if (is_interrupted(code)) {
        return lost;
    }
    switch (code) {
    case 11000: /* DuplicateKey, and its older codes */
    case 11001:
    case 12582:
        return HUB_ERROR_DUPLICATE;
    case 13:   /* Unauthorized */
    case 18:   /* AuthenticationFailed */
    case 391:  /* ReauthenticationRequired */
    case 8000: /* AtlasError: its proxy refuses credentials by it */
        return HUB_ERROR_UNAUTHORIZED;
    case 6:     /* HostUnreachable: a mongos lost its shard */
    case 7:     /* HostNotFound */
    case 24:    /* LockTimeout */
    case 50:    /* MaxTimeMSExpired */
    case 64:    /* WriteConcernFailed */
    case 89:    /* NetworkTimeout */
    case 262:   /* ExceededTimeLimit */
    case 9001:  /* SocketException */
    case 11601: /* Interrupted */
        return lost;
    case 43:  /* CursorNotFound: idle for too long */
    case 133: /* FailedToSatisfyReadPreference */
    case 175: /* QueryPlanKilled */
    case 237: /* CursorKilled */
        return HUB_ERROR_UNREACHABLE;
    case 2:     /* BadValue */
    case 9:     /* FailedToParse */
    case 14:    /* TypeMismatch */
    case 28:    /* PathNotViable */
    case 40:    /* ConflictingUpdateOperators */
    case 52:    /* DollarPrefixedFieldName */
    case 55:    /* InvalidDBRef */
    case 56:    /* EmptyFieldName */
    case 57:    /* DottedFieldName */
    case 66:    /* ImmutableField */
    case 67:    /* CannotCreateIndex */
    case 73:    /* InvalidNamespace */
    case 121:   /* DocumentValidationFailure */
    case 171:   /* CannotIndexParallelArrays */
    case 10334: /* BSONObjectTooLarge */
    case 16837: /* bad update operand */
    case 17280: /* KeyTooLong */
    case 17419: /* the document would grow too large */
    case 17420:
        return HUB_ERROR_INVALID;
    case 14031: /* OutOfDiskSpace */
        return HUB_ERROR_NO_SPACE;
    default:
        return HUB_ERROR_INTERNAL;
    }
}

static enum hub_error_code code_of_driver(enum mongo_kind kind, const bson_error_t *driver)
{
    enum hub_error_code lost = kind == MONGO_WRITE ? HUB_ERROR_UNKNOWN_OUTCOME : HUB_ERROR_UNREACHABLE;
    switch (driver->domain) {
    case MONGOC_ERROR_SERVER_SELECTION:
        /* A driver that authenticates while it selects says so only in the message. */
        if (strstr(driver->message, "Authentication failed") || strstr(driver->message, "authentication failed")) {
            return HUB_ERROR_UNAUTHORIZED;
        }
        return driver->code == MONGOC_ERROR_PROTOCOL_BAD_WIRE_VERSION ? HUB_ERROR_VERSION : HUB_ERROR_UNREACHABLE;
    case MONGOC_ERROR_STREAM:
        switch (driver->code) {
        case MONGOC_ERROR_STREAM_NAME_RESOLUTION: /* before anything was sent */
        case MONGOC_ERROR_STREAM_CONNECT:
        case MONGOC_ERROR_STREAM_NOT_ESTABLISHED:
            return HUB_ERROR_UNREACHABLE;
        default:
            return lost;
        }
    case MONGOC_ERROR_SASL:
    case MONGOC_ERROR_SCRAM:
        return HUB_ERROR_UNAUTHORIZED;
    case MONGOC_ERROR_CLIENT:
        switch (driver->code) {
        case MONGOC_ERROR_CLIENT_AUTHENTICATE:
        case MONGOC_ERROR_CLIENT_GETNONCE:
            return HUB_ERROR_UNAUTHORIZED;
        case MONGOC_ERROR_CLIENT_NO_ACCEPTABLE_PEER:
        case MONGOC_ERROR_CLIENT_NOT_READY:
        case MONGOC_ERROR_STREAM_NAME_RESOLUTION: /* the greeting went unanswered, before anything else was sent */
        case MONGOC_ERROR_STREAM_SOCKET:
        case MONGOC_ERROR_STREAM_CONNECT:
        case MONGOC_ERROR_STREAM_NOT_ESTABLISHED:
            return HUB_ERROR_UNREACHABLE;
        default:
            return HUB_ERROR_INTERNAL;
        }
    case MONGOC_ERROR_PROTOCOL:
        if (driver->code == MONGOC_ERROR_PROTOCOL_BAD_WIRE_VERSION) {
            return HUB_ERROR_VERSION;
        }
        return lost;
    case MONGOC_ERROR_BSON:
    case MONGOC_ERROR_COMMAND:
    case MONGOC_ERROR_COLLECTION:
        return HUB_ERROR_INVALID;
    default:
        return HUB_ERROR_INTERNAL;
    }
}

int mongo_fail(enum mongo_kind kind, const char *where, const bson_error_t *driver, const bson_t *reply,
               bson_error_t *error)
{
    if (kind == MONGO_WRITE && has_write_concern_error(driver, reply)) {
        return hub_error(error, HUB_ERROR_UNKNOWN_OUTCOME,
                         "%s: the write was not confirmed by a majority of the servers: %s; read again before you "
                         "repeat it",
                         where, driver->message);
    }
    int32_t server_code = mongo_server_code(driver, reply);
    enum hub_error_code code =
        server_code != 0 ? code_of_server(kind, server_code) : code_of_driver(kind, driver);
    switch (code) {
    case HUB_ERROR_DUPLICATE:
        return hub_error(error, code, "%s: a document with this _id or unique key exists already: %s", where,
                         driver->message);
    case HUB_ERROR_UNAUTHORIZED:
        return hub_error(error, code,
                         "%s: the MongoDB server refused (%s); check the user, the password, authSource and roles",
                         where, driver->message);
    case HUB_ERROR_UNREACHABLE:
        if (is_not_primary(server_code) || is_interrupted(server_code)) {
            return hub_error(error, code, "%s: no MongoDB server is the primary now (%s); try again later", where,
                             driver->message);
        }
        return hub_error(error, code, "%s: cannot reach the MongoDB server: %s; check that it runs, and the URI",
                         where, driver->message);
    case HUB_ERROR_UNKNOWN_OUTCOME:
        return hub_error(error, code, "%s: the reply to a write was lost (%s); read again before you repeat it",
                         where, driver->message);
    case HUB_ERROR_VERSION:
        return hub_error(error, code, "%s: this MongoDB server is too old or too new for the driver: %s; use 3.6 "
                                      "or later",
                         where, driver->message);
    default:
        if (server_code != 0) {
            return hub_error(error, code, "%s: the MongoDB server says: %s (code %d)", where, driver->message,
                             (int)server_code);
        }
        return hub_error(error, code, "%s: %s", where, driver->message);
    }
}
