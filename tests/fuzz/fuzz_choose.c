/* SPDX-License-Identifier: Apache-2.0 */
/* What a user types to choose tasks: whatever is accepted is a filter of the subset, also over what is computed of a task;
 * what is not accepted says why. Patterns end, whatever they are. */

#include "cli/where.h"
#include "hub/query.h"
#include "tests/fuzz/fuzz.h"

static void make_task(const char *name, bson_t *task)
{
    bson_init(task);
    BSON_APPEND_UTF8(task, "_id", "0123456789abcdef0123456789abcdef");
    BSON_APPEND_UTF8(task, "name", name);
    BSON_APPEND_UTF8(task, "state", "running");
    BSON_APPEND_INT64(task, "seq", 12);
    BSON_APPEND_DATE_TIME(task, "created_at", 1000);
    BSON_APPEND_DATE_TIME(task, "started_at", 2000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    bson_error_t error = {0}, query_error = {0};
    bson_t filter, task, whole;
    struct where_tasks tasks;
    where_tasks_init(&tasks, INT64_C(1700000000000));
    int result = where_parse_tasks(text, &tasks, &filter, &error);
    FUZZ_REQUIRE(result >= 0 || error.message[0] != '\0');
    FUZZ_REQUIRE(result < 0 || bson_validate(&filter, BSON_VALIDATE_UTF8, NULL));
    struct query *query = result < 0 ? NULL : query_parse(&filter, &query_error);
    FUZZ_REQUIRE(result < 0 || query != NULL || query_error.message[0] != '\0');
    make_task("fashion-1", &task);
    where_tasks_complete(&tasks, &task, &whole);
    if (query != NULL) {
        query_matches(query, &whole);
    }
    bson_destroy(&whole);
    bson_destroy(&task);
    query_free(query);
    bson_destroy(&filter);
    where_tasks_destroy(&tasks);
    where_pattern_matches(text, "fashion-width-12");
    where_pattern_matches("*a?b*", text);
    free(text);
    return 0;
}
