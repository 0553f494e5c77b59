/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/select.h"
#include "cli/choose.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/where.h"
#include "hub/query.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_RANGES 500 /* in one argument */

const struct cli_option select_options[] = {
    {"where", 'w', CLI_TEXTS, "TEXT", "a condition such as 'accuracy>0.9 and tags=cnn and name~fash'"},
    {"filter", 'f', CLI_TEXTS, "JSON", "a condition in MongoDB's query language (its subset)"},
    {"keyword", 'k', CLI_TEXTS, "WORDS", "words of name, description and tags, all of them"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

const struct cli_option select_order_options[] = {
    {"sort", 's', CLI_TEXT, "KEYS", "order, such as accuracy:desc,loss:asc"},
    {"limit", 'n', CLI_COUNT, "N", "at most so many"},
    {"skip", 0, CLI_COUNT, "N", "leave out the first ones"},
    {"columns", 'c', CLI_TEXT, "PATHS", "what to show, such as name,hyper_parameters.epochs"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

const struct cli_option select_delete_options[] = {
    {"all", 0, CLI_FLAG, NULL, "everything in the project"},
    {"yes", 'y', CLI_FLAG, NULL, "do not ask; --all needs it where there is no terminal"},
    {"dry-run", 0, CLI_FLAG, NULL, "only say what would go"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

void select_init(struct select_conditions *conditions)
{
    bson_init(&conditions->list);
    conditions->count = 0;
}

void select_destroy(struct select_conditions *conditions)
{
    bson_destroy(&conditions->list);
}

void select_add(struct select_conditions *conditions, const bson_t *condition)
{
    char digits[16];
    const char *key;

    if (bson_empty(condition)) {
        return;
    }
    bson_uint32_to_string(conditions->count++, &key, digits, sizeof digits);
    BSON_APPEND_DOCUMENT(&conditions->list, key, condition);
}

void select_add_text(struct select_conditions *conditions, const char *path, const char *value)
{
    bson_t condition = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&condition, path, value);
    select_add(conditions, &condition);
    bson_destroy(&condition);
}

void select_add_words(struct select_conditions *conditions, const char *path, const char *words)
{
    bson_t condition = BSON_INITIALIZER, inner, list;
    uint32_t index = 0;

    BSON_APPEND_DOCUMENT_BEGIN(&condition, path, &inner);
    BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &list);
    for (const char *at = words; *at != '\0';) {
        size_t length = strcspn(at, ", ");
        char digits[16];
        const char *key;
        if (length > 0) {
            bson_uint32_to_string(index++, &key, digits, sizeof digits);
            bson_append_utf8(&list, key, -1, at, (int)length);
        }
        at += length + (at[length] != '\0');
    }
    bson_append_array_end(&inner, &list);
    bson_append_document_end(&condition, &inner);
    select_add(conditions, &condition);
    bson_destroy(&condition);
}

void select_filter(const struct select_conditions *conditions, bson_t *filter)
{
    bson_iter_t iter;

    bson_init(filter);
    if (conditions->count > 1) {
        BSON_APPEND_ARRAY(filter, "$and", &conditions->list);
    } else if (conditions->count == 1 && bson_iter_init(&iter, &conditions->list) && bson_iter_next(&iter)) {
        bson_t only;
        if (output_document(&iter, &only)) {
            bson_concat(filter, &only);
        }
    }
}

/* The store's own reading of a filter, so that what it refuses is a slip on the command line. */
static int check_filter(struct cli *cli, const char *option, const char *text, const bson_t *filter)
{
    bson_error_t error;
    struct query *query = query_parse(filter, &error);

    if (query == NULL) {
        return cli_usage(cli, "--%s %s: %s", option, text, error.message);
    }
    query_free(query);
    return CLI_DONE;
}

/* Lower-case words as hub_append_words keeps them, found by asking it. */
static void add_keywords(struct select_conditions *conditions, const char *text)
{
    bson_t words = BSON_INITIALIZER, condition = BSON_INITIALIZER, all = BSON_INITIALIZER;
    bson_iter_t list, word;

    if (hub_append_words(&words, text, NULL, NULL) >= 0 && bson_iter_init_find(&list, &words, "words") &&
        bson_iter_recurse(&list, &word) && bson_iter_next(&word)) {
        bson_append_iter(&all, "$all", -1, &list);
        BSON_APPEND_DOCUMENT(&condition, "words", &all);
        select_add(conditions, &condition);
    }
    bson_destroy(&all);
    bson_destroy(&condition);
    bson_destroy(&words);
}

int select_take_options(struct cli *cli, struct select_conditions *conditions)
{
    static const char *const options[] = {"where", "filter"};
    const char *text;

    for (size_t o = 0; o < 2; o++) {
        for (size_t i = 0; (text = cli_texts(cli, options[o], i)) != NULL; i++) {
            bson_t filter;
            bson_error_t error;
            int result = o == 1              ? json_read_document(text, strlen(text), &filter, &error)
                         : choose_knows(cli) ? choose_check_where(text, &filter, &error)
                                             : where_parse(text, &filter, &error);
            bool later = o == 0 && choose_knows(cli) && result > 0;
            int code = result < 0 ? cli_usage(cli, "--%s: %s", options[o], error.message)
                                  : check_filter(cli, options[o], text, &filter);
            if (code == CLI_DONE && !later) {
                select_add(conditions, &filter);
            }
            bson_destroy(&filter);
            if (code != CLI_DONE) {
                return code;
            }
        }
    }
    for (size_t i = 0; (text = cli_texts(cli, "keyword", i)) != NULL; i++) {
        add_keywords(conditions, text);
    }
    return CLI_DONE;
}

/* How many match, counted no further than limit: -1 having said why. *first (NULL allowed) gets the first one. */
static int64_t count_up_to(struct cli *cli, const struct select_kind *kind, const bson_t *filter, int64_t limit,
                           const bson_t *projection, const bson_t *sort, bson_t *first)
{
    struct store_find_options options = {.projection = projection, .limit = limit, .sort = sort};
    bson_error_t error;
    const bson_t *document;
    int64_t count = 0;
    int more = -1;

    struct store_cursor *cursor = kind->find(cli->hub, filter, &options, &error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &document, &error)) > 0) {
        if (count++ == 0 && first != NULL) {
            bson_destroy(first);
            bson_copy_to(document, first);
        }
    }
    store_cursor_close(cursor);
    if (more < 0) {
        cli_fail(&error);
        return -1;
    }
    return count;
}

int64_t select_count(struct cli *cli, const struct select_kind *kind, const bson_t *filter)
{
    bson_t projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "_id", 1);
    int64_t count = count_up_to(cli, kind, filter, 0, &projection, NULL, NULL);
    bson_destroy(&projection);
    return count;
}

static int64_t probe(struct cli *cli, const struct select_kind *kind, const bson_t *condition, int64_t limit)
{
    bson_t projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "_id", 1);
    int64_t count = count_up_to(cli, kind, condition, limit, &projection, NULL, NULL);
    bson_destroy(&projection);
    return count;
}

/* "124-186,190" as {$or: [{seq: {$gte: 124, $lte: 186}}, …]}; false where text is something else. */
static bool read_ranges(const char *text, bson_t *condition)
{
    bson_t list, one, seq;
    uint32_t count = 0;
    bool good = true;
    int64_t least = INT64_MAX, most = 0;

    BSON_APPEND_ARRAY_BEGIN(condition, "$or", &list);
    for (const char *at = text; good;) {
        char digits[16], *end;
        const char *key;
        at += *at == '#';
        if (*at < '0' || *at > '9') {
            good = false;
            break;
        }
        int64_t low = strtoll(at, &end, 10), high = low;
        if (*end == '-') {
            at = end + 1 + (end[1] == '#');
            high = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
        }
        good = low <= high && high < INT64_MAX && (*end == ',' || *end == '\0') && count < MOST_RANGES;
        size_t length = bson_uint32_to_string(count++, &key, digits, sizeof digits);
        bson_append_document_begin(&list, key, (int)length, &one);
        BSON_APPEND_DOCUMENT_BEGIN(&one, "seq", &seq);
        BSON_APPEND_INT64(&seq, "$gte", low);
        BSON_APPEND_INT64(&seq, "$lte", high);
        bson_append_document_end(&one, &seq);
        bson_append_document_end(&list, &one);
        least = low < least ? low : least;
        most = high > most ? high : most;
        if (*end == '\0') {
            break;
        }
        at = end + 1;
    }
    bson_append_array_end(condition, &list);
    BSON_APPEND_DOCUMENT_BEGIN(condition, "seq", &seq); /* an index serves this, and no $or */
    BSON_APPEND_INT64(&seq, "$gte", least);
    BSON_APPEND_INT64(&seq, "$lte", most);
    bson_append_document_end(condition, &seq);
    return good;
}

int select_look(struct cli *cli, const struct select_kind *kind, const char *text, bson_t *condition)
{
    const char *digits = text + (*text == '#');
    bool number =
        kind->has_numbers && *digits != '\0' && strlen(digits) < 19 && strspn(digits, "0123456789") == strlen(digits);
    bson_t inner;
    int64_t count = 0;

    bson_init(condition);
    if (!bson_utf8_validate(text, strlen(text), false)) {
        return -cli_usage(cli, "the name of a %s must be UTF-8", kind->noun);
    }
    for (int way = number ? 0 : 1; way < 5 && count == 0; way++) {
        bson_reinit(condition);
        if (way == 0) {
            BSON_APPEND_INT64(condition, "seq", strtoll(digits, NULL, 10));
        } else if (way == 1) {
            BSON_APPEND_UTF8(condition, "_id", text);
        } else if (way == 2) {
            BSON_APPEND_UTF8(condition, "name", text);
        } else if (way == 3) {
            if (!kind->has_numbers || number || !read_ranges(text, condition)) {
                continue;
            }
        } else if (text_is_hex(text, 6)) {
            char *pattern = bson_strdup_printf("^%s", text);
            BSON_APPEND_DOCUMENT_BEGIN(condition, "_id", &inner);
            BSON_APPEND_UTF8(&inner, "$regex", pattern);
            bson_append_document_end(condition, &inner);
            bson_free(pattern);
        } else {
            continue;
        }
        count = probe(cli, kind, condition, way == 4 ? 2 : 1);
        if (count < 0) {
            return -CLI_FAILED;
        }
        if (count > 1) {
            return -cli_usage(cli, "%s %s: more than one id starts like this: give more of its digits", kind->noun,
                              text);
        }
    }
    return (int)count;
}

int select_resolve(struct cli *cli, const struct select_kind *kind, const char *text, bson_t *condition)
{
    int count = select_look(cli, kind, text, condition);

    if (count == 0) {
        return cli_say(CLI_NOTHING, "there is no %s '%s' in project '%s': see tl_hub find-%s", kind->noun, text,
                       hub_project(cli->hub), kind->noun);
    }
    return count < 0 ? -count : CLI_DONE;
}

int select_one(struct cli *cli, const struct select_kind *kind, const char *text, bson_t *document)
{
    bson_t condition, sort = BSON_INITIALIZER;

    bson_init(document);
    int code = select_resolve(cli, kind, text, &condition);
    if (code == CLI_DONE) {
        BSON_APPEND_INT32(&sort, "created_at", -1);
        if (count_up_to(cli, kind, &condition, 1, NULL, &sort, document) < 0) {
            code = CLI_FAILED;
        }
    }
    bson_destroy(&sort);
    bson_destroy(&condition);
    return code;
}

/* What is there by that name comes first; then it may say which tasks. */
static int select_argument(struct cli *cli, const struct select_kind *kind, const char *text, bson_t *condition)
{
    if (!kind->has_numbers) {
        return select_resolve(cli, kind, text, condition);
    }
    int count = select_look(cli, kind, text, condition);
    if (count != 0) {
        return count < 0 ? -count : CLI_DONE;
    }
    bson_destroy(condition);
    return choose_tasks(cli, text, condition);
}

int select_take_arguments(struct cli *cli, const struct select_kind *kind, struct select_conditions *conditions)
{
    bson_t any = BSON_INITIALIZER, list = BSON_INITIALIZER;
    int code = kind->has_numbers ? choose_take_where(cli, conditions) : CLI_DONE;

    if (cli->argument_count == 0) {
        goto out;
    }
    for (size_t i = 0; i < cli->argument_count && code == CLI_DONE; i++) {
        char digits[16];
        const char *key;
        bson_t condition;
        bson_uint32_to_string((uint32_t)i, &key, digits, sizeof digits);
        code = select_argument(cli, kind, cli->arguments[i], &condition);
        if (code == CLI_DONE) {
            BSON_APPEND_DOCUMENT(&list, key, &condition);
            if (cli->argument_count == 1) {
                select_add(conditions, &condition);
            }
        }
        bson_destroy(&condition);
    }
    if (code == CLI_DONE && cli->argument_count > 1) {
        BSON_APPEND_ARRAY(&any, "$or", &list);
        select_add(conditions, &any);
    }
out:
    bson_destroy(&list);
    bson_destroy(&any);
    return code;
}

int select_sort(struct cli *cli, const char *otherwise, bson_t *sort)
{
    const char *text = cli_text(cli, "sort");
    bson_error_t error;

    if (where_parse_sort(text != NULL ? text : otherwise, sort, &error) < 0) {
        return cli_usage(cli, "--sort: %s", error.message);
    }
    return CLI_DONE;
}

static int print_matches(struct cli *cli, const struct select_kind *kind, const bson_t *filter, const bson_t *sort)
{
    bson_t projection;
    bson_error_t error;
    const bson_t *document;
    int more = -1;

    struct output *output = output_open(cli, kind->columns, kind->noun);
    if (output == NULL) {
        return CLI_USAGE;
    }
    struct store_find_options options = {.sort = sort,
                                         .skip = cli_integer(cli, "skip", 0),
                                         .limit = cli_integer(cli, "limit", 0)};
    options.projection = output_projection(output, &projection) ? &projection : NULL;
    struct store_cursor *cursor = kind->find(cli->hub, filter, &options, &error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &document, &error)) > 0) {
        output_row(output, document);
    }
    store_cursor_close(cursor);
    bson_destroy(&projection);
    if (more < 0) {
        output_abandon(output);
        return cli_fail(&error);
    }
    return output_close(output);
}

int select_and_print(struct cli *cli, const struct select_kind *kind, struct select_conditions *conditions,
                     void (*then)(struct cli *cli, const bson_t *filter))
{
    bson_t sort, filter;

    int code = select_sort(cli, kind->sort, &sort);
    if (code == CLI_DONE) {
        code = select_take_options(cli, conditions);
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code == CLI_DONE) {
        code = select_take_arguments(cli, kind, conditions);
    }
    if (code == CLI_DONE) {
        select_filter(conditions, &filter);
        code = print_matches(cli, kind, &filter, &sort);
        if (code == CLI_DONE && then != NULL) {
            then(cli, &filter);
        }
        bson_destroy(&filter);
    }
    bson_destroy(&sort);
    select_destroy(conditions);
    return code;
}

static int delete_matches(struct cli *cli, const struct select_kind *kind, const bson_t *filter,
                          int64_t (*remove)(struct hub *hub, const bson_t *filter, bson_error_t *error))
{
    bson_error_t error;
    bson_t report = BSON_INITIALIZER;
    char matched[64], deleted[64];
    int code = CLI_DONE;
    int64_t count = select_count(cli, kind, filter), gone = 0;

    if (count < 0) {
        code = CLI_FAILED;
    } else if (count == 0) {
        code = cli_say(CLI_NOTHING, "no %ss found: nothing was deleted", kind->noun);
    }
    if (code != CLI_DONE) {
        goto out;
    }
    cli_plural(matched, sizeof matched, count, kind->noun);
    if (kind->has_numbers && !cli_flag(cli, "yes") &&
        (isatty(STDIN_FILENO) || cli_flag(cli, "dry-run") || cli->by_expression)) {
        choose_show_first(cli, filter, count);
    }
    if (cli_flag(cli, "dry-run")) {
        BSON_APPEND_INT64(&report, "would_delete", count);
        code = output_object(cli, &report, "would delete %s", matched);
        goto out;
    }
    if (cli->by_expression && !cli_flag(cli, "yes") && !isatty(STDIN_FILENO)) {
        code = cli_say(CLI_NOTHING, "delete %s? There is nobody to ask: say --yes to go on", matched);
        goto out;
    }
    if (!cli_confirm(cli, "delete %s of project '%s'?", matched, hub_project(cli->hub))) {
        code = cli_say(CLI_NOTHING, "nothing was deleted");
        goto out;
    }
    gone = remove(cli->hub, filter, &error);
    if (gone < 0) {
        code = cli_fail(&error);
        goto out;
    }
    BSON_APPEND_INT64(&report, "deleted", gone);
    code = output_object(cli, &report, "deleted %s", cli_plural(deleted, sizeof deleted, gone, kind->noun));
    if (code == CLI_DONE && gone < count && strcmp(kind->noun, "task") == 0) {
        cli_note("%s running: cancel first, then delete", count - gone == 1 ? "1 of them is" : "some of them are");
        code = gone == 0 ? CLI_CONFLICT : CLI_DONE;
    }
out:
    bson_destroy(&report);
    return code;
}

int select_check_all(struct cli *cli, const char *noun)
{
    bool asked = cli_flag(cli, "yes") || cli_flag(cli, "dry-run") || isatty(STDIN_FILENO);

    return asked || !cli_flag(cli, "all")
               ? CLI_DONE
               : cli_usage(cli, "--all deletes every %s of the project, and there is nobody to ask: say --yes as well, or "
                           "--dry-run to see how many", noun);
}

int select_and_delete(struct cli *cli, const struct select_kind *kind, struct select_conditions *conditions,
                      int64_t (*remove)(struct hub *hub, const bson_t *filter, bson_error_t *error))
{
    bson_t filter;

    int code = select_take_options(cli, conditions);
    bool any = cli->argument_count > 0 || conditions->count > 0 || cli_text(cli, "where") != NULL;
    if (code == CLI_DONE && !any && !cli_flag(cli, "all")) {
        code = cli_usage(cli, "which %ss? Name them, or use --where, --filter or --all", kind->noun);
    }
    if (code == CLI_DONE && !any) {
        code = select_check_all(cli, kind->noun);
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code == CLI_DONE) {
        code = select_take_arguments(cli, kind, conditions);
    }
    if (code == CLI_DONE) {
        select_filter(conditions, &filter);
        code = delete_matches(cli, kind, &filter, remove);
        bson_destroy(&filter);
    }
    select_destroy(conditions);
    return code;
}
