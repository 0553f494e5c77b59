/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ask_stdio.h"

#include "cli/json.h"
#include "cli/output.h"
#include "distributor/sweep_search.h"
#include "hub/sweep_record.h"
#include "hub/task.h"

#include <stdlib.h>
#include <string.h>

#define LINE_BYTES (1 << 20)

struct conversation {
    struct cli *cli;
    const bson_t *record;
    const char *sweep;
    struct sweep_search *search; /* NULL: all its points were there from the start */
};

/* What a line says; -1 where it does not have it. */
struct line {
    int64_t ask, tell, epoch;
    bson_t metrics;
    const char *failed;
};

static int refuse(bson_error_t *error, const char *what)
{
    return hub_error(error, HUB_ERROR_INVALID, "%s", what);
}

static int take_number(const bson_iter_t *at, int64_t *number, bson_error_t *error)
{
    if (!BSON_ITER_HOLDS_INT(at) || bson_iter_as_int64(at) < 0) {
        return hub_error(error, HUB_ERROR_INVALID, "%s: an integer of at least 0", bson_iter_key(at));
    }
    *number = bson_iter_as_int64(at);
    return 0;
}

static int take_metrics(const bson_iter_t *at, bson_t *metrics, bson_error_t *error)
{
    bson_iter_t inner;
    if (!BSON_ITER_HOLDS_DOCUMENT(at) || !bson_iter_recurse(at, &inner)) {
        return refuse(error, "metrics: an object such as {\"loss\": 0.25}");
    }
    while (bson_iter_next(&inner)) {
        if (!BSON_ITER_HOLDS_NUMBER(&inner)) {
            return hub_error(error, HUB_ERROR_INVALID, "metrics.%s: a metric is a number", bson_iter_key(&inner));
        }
        bson_append_iter(metrics, NULL, -1, &inner);
    }
    return 0;
}

static int take_line(const bson_t *document, struct line *line, bson_error_t *error)
{
    bson_iter_t at;
    int result = 0;
    bool more = bson_iter_init(&at, document);
    while (result == 0 && more && bson_iter_next(&at)) {
        const char *key = bson_iter_key(&at);
        if (strcmp(key, "ask") == 0) {
            result = take_number(&at, &line->ask, error);
        } else if (strcmp(key, "tell") == 0) {
            result = take_number(&at, &line->tell, error);
        } else if (strcmp(key, "epoch") == 0) {
            result = take_number(&at, &line->epoch, error);
        } else if (strcmp(key, "metrics") == 0) {
            result = take_metrics(&at, &line->metrics, error);
        } else if (strcmp(key, "failed") == 0 && BSON_ITER_HOLDS_UTF8(&at)) {
            line->failed = bson_iter_utf8(&at, NULL);
        } else {
            result = hub_error(error, HUB_ERROR_INVALID, "%.100s: a line has ask, tell, metrics, epoch and failed (a text) only", key);
        }
    }
    return result;
}

static int check_line(const struct conversation *talk, const struct line *line, bson_error_t *error)
{
    const char *metric = output_text(talk->record, "metric.name");
    bool said = line->failed != NULL || !bson_empty(&line->metrics);
    if (line->ask < 0 && line->tell < 0) {
        return refuse(error, "a line has ask or tell, such as {\"ask\": 1}");
    }
    if (line->tell < 0 ? said : (line->failed != NULL) == !bson_empty(&line->metrics)) {
        return refuse(error, "with tell, and only there, either metrics or failed says what the point came to");
    }
    if (line->epoch == 0 || (line->epoch > 0 && (line->tell < 0 || line->failed != NULL))) {
        return refuse(error, "epoch: at least 1, and only with tell and metrics");
    }
    if (line->tell >= 0 && line->failed == NULL && metric != NULL && !bson_has_field(&line->metrics, metric)) {
        return hub_error(error, HUB_ERROR_INVALID, "metrics: the sweep's metric is %s, and it is not there", metric);
    }
    return 0;
}

/* ---- what is done ---- */

int ask_append_verdict(struct hub *hub, const bson_t *told, bson_t *out, bson_error_t *error)
{
    bson_t task, id = BSON_INITIALIZER;
    int again = task_hand_out_again(hub, told, &task, error);
    const char *verdict = "promote";
    if (again == 0) {
        const bson_t *now;
        BSON_APPEND_UTF8(&id, "_id", output_text(told, "_id"));
        struct store_cursor *cursor = task_find(hub, &id, NULL, error);
        again = cursor != NULL ? store_cursor_next(cursor, &now, error) : -1;
        const char *state = again > 0 ? output_text(now, "state") : NULL;
        verdict = state != NULL && (strcmp(state, "parked") == 0 || strcmp(state, "paused") == 0) ? "pause" : "stop";
        store_cursor_close(cursor);
    }
    BSON_APPEND_UTF8(out, "verdict", verdict);
    if (strcmp(verdict, "promote") == 0) {
        BSON_APPEND_INT64(out, "until", task_outside_until(&task));
    }
    bson_destroy(&id);
    bson_destroy(&task);
    return again < 0 ? -1 : 0;
}

/* At a rung, or in the end. */
static int tell(struct conversation *talk, const struct line *line, bson_t *answer, bson_error_t *error)
{
    bson_t task;
    struct hub *hub = talk->cli->hub;
    const char *metric = output_text(talk->record, "metric.name");
    int told = line->epoch > 0 ? task_tell_rung(hub, talk->sweep, line->tell, line->epoch, metric != NULL ? metric : "loss",
                                                &line->metrics, &task, error)
                               : task_tell(hub, talk->sweep, line->tell, &line->metrics, line->failed, &task, error);
    if (told == 0) {
        hub_error(error, HUB_ERROR_CONFLICT, "point %lld is not under way: it was told already, or never asked for",
                  (long long)line->tell);
    }
    int result = told > 0 && (talk->search == NULL || sweep_search_step(talk->search, hub, 0, error) >= 0) ? 0 : -1;
    if (result == 0) {
        BSON_APPEND_INT64(answer, "told", line->tell);
        result = line->epoch > 0 ? ask_append_verdict(hub, &task, answer, error) : 0;
    }
    bson_destroy(&task);
    return result;
}

static void append_point(const bson_t *task, const char *key, bson_t *points)
{
    bson_t part;
    bson_iter_t at;
    bson_append_document_begin(points, key, -1, &part);
    if (output_find(task, "point_number", &at)) {
        bson_append_iter(&part, "point_number", -1, &at);
    }
    if (output_find(task, "point", &at)) {
        bson_append_iter(&part, "point", -1, &at);
    }
    if (output_find(task, "hyper_parameters.seed", &at)) {
        bson_append_iter(&part, "seed", -1, &at);
    }
    if (task_outside_until(task) > 0) {
        BSON_APPEND_INT64(&part, "until", task_outside_until(task));
    }
    if (output_find(task, "rungs.count", &at) && bson_iter_as_int64(&at) > 0 && output_find(task, "rungs", &at)) {
        bson_append_iter(&part, "rungs", -1, &at);
    }
    bson_append_document_end(points, &part);
}

static int append_end(struct conversation *talk, bson_t *answer, bson_error_t *error)
{
    bson_t record;
    bool open = talk->search != NULL && !sweep_search_is_closed(talk->search);
    BSON_APPEND_BOOL(answer, "open", open);
    if (open || talk->search == NULL) {
        return 0;
    }
    int found = sweep_record_resolve(talk->cli->hub, talk->sweep, &record, error);
    const char *reason = found > 0 ? output_text(&record, "reason") : NULL;
    if (reason != NULL) {
        BSON_APPEND_UTF8(answer, "reason", reason);
    }
    bson_destroy(&record);
    return found < 0 ? -1 : 0;
}

static int ask(struct conversation *talk, int64_t count, bson_t *answer, bson_error_t *error)
{
    bson_t points, task;
    int64_t given = 0, made = 1;
    int found = 1;
    BSON_APPEND_ARRAY_BEGIN(answer, "points", &points);
    while (given < count && found >= 0 && made > 0) {
        found = task_hand_out(talk->cli->hub, talk->sweep, &task, error);
        if (found > 0) {
            char buffer[16];
            const char *key;
            bson_uint32_to_string((uint32_t)given++, &key, buffer, sizeof buffer);
            append_point(&task, key, &points);
        } else if (found == 0) {
            made = talk->search != NULL ? sweep_search_step(talk->search, talk->cli->hub, 0, error) : 0;
        }
        bson_destroy(&task);
    }
    bson_append_array_end(answer, &points);
    if (found < 0 || made < 0) {
        return -1;
    }
    if (given == count) {
        BSON_APPEND_BOOL(answer, "open", true);
        return 0;
    }
    return append_end(talk, answer, error);
}

/* ---- the conversation ---- */

static int say(const bson_t *answer)
{
    bson_string_t *text = bson_string_new(NULL);
    json_append_document(text, answer);
    puts(text->str);
    bson_string_free(text, true);
    return output_flush();
}

static int answer_line(struct conversation *talk, const char *text, size_t length)
{
    struct line line = {.ask = -1, .tell = -1, .epoch = -1};
    bson_t document, answer = BSON_INITIALIZER;
    bson_error_t error;
    bson_init(&line.metrics);
    int result = json_read_document(text, length, &document, &error);
    result = result < 0 ? -1 : take_line(&document, &line, &error);
    result = result < 0 ? -1 : check_line(talk, &line, &error);
    bool understood = result >= 0;
    if (result == 0 && line.tell >= 0) {
        result = tell(talk, &line, &answer, &error);
    }
    if (result == 0 && line.ask >= 0) {
        result = ask(talk, line.ask, &answer, &error);
    }
    int code = CLI_DONE;
    if (result < 0) {
        code = understood ? (int)cli_exit_of(&error) : CLI_USAGE;
        bson_reinit(&answer);
        BSON_APPEND_UTF8(&answer, "error", error.message);
        BSON_APPEND_INT32(&answer, "exit", code);
    }
    int said = say(&answer);
    bson_destroy(&answer);
    bson_destroy(&line.metrics);
    bson_destroy(&document);
    if (said != CLI_DONE) {
        return said;
    }
    /* What the line asked for is refused: the next may be better. Else it is the hub. */
    bool refused = !understood || code == CLI_CONFLICT || (code != CLI_DONE && hub_error_code(&error) == HUB_ERROR_INVALID);
    return code == CLI_DONE || refused ? CLI_DONE : cli_fail(&error);
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

int ask_stdio(struct cli *cli, const bson_t *record)
{
    struct conversation talk = {.cli = cli, .record = record, .sweep = output_text(record, "_id")};
    bson_error_t error;
    char *text = NULL;
    size_t size = 0;
    ssize_t length;
    int code = CLI_DONE;
    if (output_text(record, "file") != NULL && (talk.search = sweep_search_open(cli->hub, talk.sweep, &error)) == NULL) {
        return cli_fail(&error);
    }
    while (code == CLI_DONE && (length = getline(&text, &size, stdin)) > 0) {
        if (length > LINE_BYTES) {
            code = cli_say(CLI_USAGE, "standard input: a line is longer than %d bytes", LINE_BYTES);
        } else if (!is_blank(text)) {
            code = answer_line(&talk, text, (size_t)length);
        }
    }
    free(text);
    sweep_search_close(talk.search);
    return code;
}
