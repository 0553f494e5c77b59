/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/choose.h"
#include "cli/where.h"
#include "hub/query.h"
#include "hub/task.h"

#include <string.h>

#define NUMBERS_TOGETHER 64  /* in one $in; a task is compared with one of them only */
#define RUN_LENGTH 3         /* consecutive numbers that become a range */

/* ---- numbers as a condition ---- */

/* {$or: [{seq: {$gte, $lte}}, {seq: {$gte, $lte, $in: […]}}, …, {_id: {$in: […]}}]} of ascending numbers: few alternatives
 * even where they are many thousands, and each with bounds that are looked at first. */
struct numbers {
    bson_t list, in, ids;
    uint32_t count, in_count, id_count;
    int64_t in_first, in_last;
    int64_t low, high; /* of the run that grows; high < low: none */
};

static void append_bounds(struct numbers *numbers, int64_t low, int64_t high, const bson_t *in)
{
    char digits[16];
    const char *key;
    bson_t one, seq;

    bson_uint32_to_string(numbers->count++, &key, digits, sizeof digits);
    BSON_APPEND_DOCUMENT_BEGIN(&numbers->list, key, &one);
    BSON_APPEND_DOCUMENT_BEGIN(&one, "seq", &seq);
    BSON_APPEND_INT64(&seq, "$gte", low);
    BSON_APPEND_INT64(&seq, "$lte", high);
    if (in != NULL) {
        BSON_APPEND_ARRAY(&seq, "$in", in);
    }
    bson_append_document_end(&one, &seq);
    bson_append_document_end(&numbers->list, &one);
}

static void end_in(struct numbers *numbers)
{
    if (numbers->in_count > 0) {
        append_bounds(numbers, numbers->in_first, numbers->in_last, &numbers->in);
        bson_reinit(&numbers->in);
        numbers->in_count = 0;
    }
}

static void end_run(struct numbers *numbers)
{
    if (numbers->high - numbers->low + 1 >= RUN_LENGTH) {
        append_bounds(numbers, numbers->low, numbers->high, NULL);
    } else {
        for (int64_t number = numbers->low; number <= numbers->high; number++) {
            char digits[16];
            const char *key;
            bson_uint32_to_string(numbers->in_count, &key, digits, sizeof digits);
            BSON_APPEND_INT64(&numbers->in, key, number);
            numbers->in_first = numbers->in_count++ == 0 ? number : numbers->in_first;
            numbers->in_last = number;
        }
        if (numbers->in_count >= NUMBERS_TOGETHER) {
            end_in(numbers);
        }
    }
    numbers->low = 0;
    numbers->high = -1;
}

/* A task's number, in ascending order; by its _id where somebody made it without a number. */
static void add_task(struct numbers *numbers, const bson_t *task)
{
    bson_iter_t iter;

    if (bson_iter_init_find(&iter, task, "seq") && (BSON_ITER_HOLDS_INT32(&iter) || BSON_ITER_HOLDS_INT64(&iter))) {
        int64_t seq = bson_iter_as_int64(&iter);
        if (numbers->high >= numbers->low && seq == numbers->high + 1) {
            numbers->high = seq;
        } else if (numbers->high < numbers->low || seq != numbers->high) {
            end_run(numbers);
            numbers->low = numbers->high = seq;
        }
    } else if (bson_iter_init_find(&iter, task, "_id")) {
        char digits[16];
        const char *key;
        bson_uint32_to_string(numbers->id_count++, &key, digits, sizeof digits);
        bson_append_iter(&numbers->ids, key, -1, &iter);
    }
}

static void append_numbers(struct numbers *numbers, bson_t *condition)
{
    end_run(numbers);
    end_in(numbers);
    if (numbers->id_count > 0 || numbers->count == 0) {
        char digits[16];
        const char *key;
        bson_t one, inner;
        bson_uint32_to_string(numbers->count++, &key, digits, sizeof digits);
        BSON_APPEND_DOCUMENT_BEGIN(&numbers->list, key, &one);
        BSON_APPEND_DOCUMENT_BEGIN(&one, "_id", &inner);
        BSON_APPEND_ARRAY(&inner, "$in", &numbers->ids);
        bson_append_document_end(&one, &inner);
        bson_append_document_end(&numbers->list, &one);
    }
    BSON_APPEND_ARRAY(condition, "$or", &numbers->list);
}

/* ---- the part that the store decides, and the part that it cannot ---- */

static bool is_computed(const bson_iter_t *condition)
{
    bson_iter_t inner;

    if (bson_iter_key(condition)[0] == '~') {
        return true;
    }
    if (bson_iter_key(condition)[0] != '$' && (bson_iter_key(condition)[0] < '0' || bson_iter_key(condition)[0] > '9')) {
        return false;
    }
    if ((BSON_ITER_HOLDS_DOCUMENT(condition) || BSON_ITER_HOLDS_ARRAY(condition)) &&
        bson_iter_recurse(condition, &inner)) {
        while (bson_iter_next(&inner)) {
            if (is_computed(&inner)) {
                return true;
            }
        }
    }
    return false;
}

/* Of the conditions that must all hold, those that the store can decide. */
static void select_plain(const bson_t *filter, struct select_conditions *plain)
{
    bson_iter_t top, each;

    if (!bson_iter_init(&top, filter)) {
        return;
    }
    while (bson_iter_next(&top)) {
        if (strcmp(bson_iter_key(&top), "$and") == 0 && bson_iter_recurse(&top, &each)) {
            while (bson_iter_next(&each)) {
                bson_t one;
                if (!is_computed(&each) && output_document(&each, &one)) {
                    select_add(plain, &one);
                }
            }
        } else if (!is_computed(&top)) {
            bson_t one = BSON_INITIALIZER;
            bson_append_iter(&one, bson_iter_key(&top), -1, &top);
            select_add(plain, &one);
            bson_destroy(&one);
        }
    }
}

/* The top-level fields that a filter looks at: a projection of whole values changes no answer. */
static void project_fields(bson_iter_t *filter, bson_t *projection)
{
    bson_iter_t inner;

    while (bson_iter_next(filter)) {
        const char *key = bson_iter_key(filter);
        if (*key == '$' || (*key >= '0' && *key <= '9')) {
            if ((BSON_ITER_HOLDS_DOCUMENT(filter) || BSON_ITER_HOLDS_ARRAY(filter)) && bson_iter_recurse(filter, &inner)) {
                project_fields(&inner, projection);
            }
        } else if (*key != '~') {
            char *field = bson_strndup(key, strcspn(key, "."));
            if (!bson_has_field(projection, field)) {
                BSON_APPEND_INT32(projection, field, 1);
            }
            bson_free(field);
        }
    }
}

static void make_projection(const struct where_tasks *tasks, const bson_t *filter, bson_t *projection)
{
    bson_iter_t iter, pattern;

    for (const char *const *field =
             (const char *const[]){"seq", "state", "claimed_at", "started_at", "finished_at", NULL};
         *field != NULL; field++) {
        BSON_APPEND_INT32(projection, *field, 1);
    }
    if (bson_iter_init(&iter, filter)) {
        project_fields(&iter, projection);
    }
    if (bson_iter_init(&iter, &tasks->patterns)) {
        while (bson_iter_next(&iter)) {
            if (bson_iter_recurse(&iter, &pattern) && bson_iter_find(&pattern, "path")) {
                bson_t one = BSON_INITIALIZER;
                bson_iter_t path;
                BSON_APPEND_INT32(&one, bson_iter_utf8(&pattern, NULL), 1);
                if (bson_iter_init(&path, &one)) {
                    project_fields(&path, projection);
                }
                bson_destroy(&one);
            }
        }
    }
}

/* Reads what the plain part lets through, decides the rest of each, and gives their numbers. */
static int compute(struct cli *cli, const struct where_tasks *tasks, const bson_t *filter, bson_t *condition)
{
    struct select_conditions plain, both;
    struct numbers numbers = {.high = -1};
    bson_t projection = BSON_INITIALIZER, sort = BSON_INITIALIZER, known, chosen = BSON_INITIALIZER;
    struct store_find_options options = {.projection = &projection, .sort = &sort};
    const bson_t *task;
    bson_error_t error;
    int more = -1;

    bson_init(&numbers.list);
    bson_init(&numbers.in);
    bson_init(&numbers.ids);
    select_init(&plain);
    select_plain(filter, &plain);
    select_filter(&plain, &known);
    make_projection(tasks, filter, &projection);
    BSON_APPEND_INT32(&sort, "seq", 1);
    struct query *query = query_parse(filter, &error);
    struct store_cursor *cursor = query == NULL ? NULL : task_find(cli->hub, &known, &options, &error);
    while (cursor != NULL && (more = store_cursor_next(cursor, &task, &error)) > 0) {
        bson_t whole;
        where_tasks_complete(tasks, task, &whole);
        if (query_matches(query, &whole)) {
            add_task(&numbers, task);
        }
        bson_destroy(&whole);
    }
    store_cursor_close(cursor);
    query_free(query);
    append_numbers(&numbers, &chosen);
    select_init(&both);
    select_add(&both, &known);
    select_add(&both, &chosen);
    bson_destroy(condition);
    select_filter(&both, condition);
    select_destroy(&both);
    select_destroy(&plain);
    bson_destroy(&known);
    bson_destroy(&chosen);
    bson_destroy(&projection);
    bson_destroy(&sort);
    bson_destroy(&numbers.list);
    bson_destroy(&numbers.in);
    bson_destroy(&numbers.ids);
    return more < 0 ? cli_fail(&error) : CLI_DONE;
}

/* ---- expressions ---- */

/* Every name that an expression says must be something, as every argument must. */
static int check_names(struct cli *cli, const struct where_tasks *tasks)
{
    bson_iter_t name;
    int code = CLI_DONE;

    if (bson_iter_init(&name, &tasks->names)) {
        while (code == CLI_DONE && bson_iter_next(&name)) {
            bson_t condition;
            code = select_resolve(cli, &select_tasks, bson_iter_utf8(&name, NULL), &condition);
            bson_destroy(&condition);
        }
    }
    return code;
}

static int resolve(struct cli *cli, const char *text, const char *what, bson_t *condition)
{
    struct where_tasks tasks;
    bson_error_t error;
    int64_t now;

    bson_init(condition);
    if (store_server_time(hub_store(cli->hub), &now, &error) < 0) {
        return cli_fail(&error);
    }
    where_tasks_init(&tasks, now);
    bson_destroy(condition);
    int code = where_parse_tasks(text, &tasks, condition, &error) < 0
                   ? cli_usage(cli, "%s: %s", what, error.message)
                   : check_names(cli, &tasks);
    struct query *query = code == CLI_DONE ? query_parse(condition, &error) : NULL;
    if (code == CLI_DONE && query == NULL) {
        code = cli_usage(cli, "%s: %s", what, error.message);
    }
    query_free(query);
    if (code == CLI_DONE && tasks.computed) {
        bson_t filter;
        bson_copy_to(condition, &filter);
        code = compute(cli, &tasks, &filter, condition);
        bson_destroy(&filter);
    }
    where_tasks_destroy(&tasks);
    return code;
}

int choose_tasks(struct cli *cli, const char *text, bson_t *condition)
{
    bool numbers = text[strspn(text, "#0123456789-,")] == '\0';
    bool several_words = strpbrk(text, "=<>!~*?,()") == NULL && strstr(text, " or ") == NULL &&
                         strstr(text, " and ") == NULL && strncmp(text, "not ", 4) != 0 && strchr(text, ' ') != NULL;
    if (numbers || several_words) {
        return select_resolve(cli, &select_tasks, text, condition); /* which says that there is no such task */
    }
    int code = resolve(cli, text, "TASK", condition);
    cli->by_expression = true;
    return code;
}

bool choose_knows(const struct cli *cli)
{
    return cli_find_option(cli->command, "unfinished", strlen("unfinished"), 0) != NULL;
}

int choose_check_where(const char *text, bson_t *filter, bson_error_t *error)
{
    struct where_tasks tasks;

    where_tasks_init(&tasks, 0);
    int result = where_parse_tasks(text, &tasks, filter, error);
    result = result < 0 ? -1 : tasks.special;
    where_tasks_destroy(&tasks);
    return result;
}

int choose_take_where(struct cli *cli, struct select_conditions *conditions)
{
    const char *text;
    int code = CLI_DONE;

    if (!choose_knows(cli)) {
        return CLI_DONE;
    }
    for (size_t i = 0; code == CLI_DONE && (text = cli_texts(cli, "where", i)) != NULL; i++) {
        bson_t condition;
        if (choose_check_where(text, &condition, NULL) > 0) {
            bson_destroy(&condition);
            code = resolve(cli, text, "--where", &condition);
            if (code == CLI_DONE) {
                select_add(conditions, &condition);
            }
        }
        bson_destroy(&condition);
    }
    return code;
}
