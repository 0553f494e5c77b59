/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_WHERE_H
#define TL_CLI_WHERE_H

/* The short forms of --where, --sort and --set, turned into the documents that the store takes.
 *
 *   expression := any {"or" any};  any := one {"and" one};  one := "not" one | "(" expression ")" | comparison
 *   comparison := path ("=" | "!=" | "<" | "<=" | ">" | ">=" | "~") value | path ["not"] "in" "(" value {"," value} ")"
 *
 * A path is letters, digits, _ - and dots. A value is a number, true, false, null, a date (2026-11-21 or with
 * T05:00[:00][Z]), a text in single or double quotes (\ before a quote or a \), or a bare word. path~text is
 * "contains", path~^text "begins with". As in MongoDB, path=value also holds for an array with that element (tags=cnn),
 * path!=value and not also for documents without the path, and path=null for those alone. */

#include "hub/error.h"

/* The filter of an expression into *filter (initialised always). HUB_ERROR_INVALID with the position. */
int where_parse(const char *text, bson_t *filter, bson_error_t *error);

/* The same for tasks, with what only they know:
 *
 *   one  := … | item {"," item}      any of these
 *   item := NUMBER | NUMBER "-" NUMBER   #124-186,190: task numbers
 *         | a state, or ended, unfinished, crashed (dead, or with crashes that nothing has made good since)
 *         | NAME, with * (any characters) and ? (one); a name without them, an id or its first 6 or more digits
 *   tmod < 1h     the time since the last of created_at, claimed_at, started_at, beat_at and finished_at; with a date that time
 *   age < 2d      the time since created_at, likewise
 *   runtime > 2h  from started_at (else claimed_at) to finished_at, or to now where the task is running; seconds or 90s, 10m, 2h
 *   path = fash*  a bare word with * or ?
 *   path > now-2h, today, yesterday (midnight UTC)
 *
 * What the store's language cannot say (runtime; patterns other than fash* and *fash*) is in the filter as a path that
 * begins with '~'; then it holds for the document that where_tasks_complete makes of a task. */
struct where_tasks {
    int64_t now;     /* the server's time, in milliseconds since 1970; set by the caller */
    bool computed;   /* the filter has such paths */
    bool special;    /* something that only tasks know was said */
    bson_t names;    /* array of the names and ids that were said without * and ? */
    bson_t patterns; /* array of {path, pattern} */
    uint32_t name_count, pattern_count;
};
void where_tasks_init(struct where_tasks *tasks, int64_t now);
void where_tasks_destroy(struct where_tasks *tasks);
/* Like where_parse. tasks must be fresh from its init. */
int where_parse_tasks(const char *text, struct where_tasks *tasks, bson_t *filter, bson_error_t *error);
/* The task with what is computed of it, into *out (initialised here). */
void where_tasks_complete(const struct where_tasks *tasks, const bson_t *task, bson_t *out);
/* Whether a text is a state, or ended, unfinished or crashed. */
bool where_is_task_word(const char *text);
/* Whether a text is what a pattern with * and ? says; ? is one character of UTF-8. */
bool where_pattern_matches(const char *pattern, const char *text);

/* "accuracy:desc,loss:asc" ("asc" may be left out, "-accuracy" is accuracy:desc) into *sort (initialised always). */
int where_parse_sort(const char *text, bson_t *sort, bson_error_t *error);
/* "key=value" appended to document: numbers, true, false, null and JSON arrays and objects are what they look like, the
 * rest is text; quotes make text of anything. Refuses a key twice, empty, with a dot or with a leading $. */
int where_parse_setting(const char *text, bson_t *document, bson_error_t *error);

#endif
