/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/select_model.h"
#include "cli/json.h"
#include "cli/where.h"
#include "hub/model.h"
#include "hub/query.h"

#include <string.h>

/* The best by a key is one that has it: without this, a key that no model has would give just any model. */
static void require_key(struct cli *cli, const bson_t *sort, struct select_conditions *conditions)
{
    bson_t condition = BSON_INITIALIZER, inner;
    bson_iter_t key;

    if (cli_text(cli, "sort") != NULL && bson_iter_init(&key, sort) && bson_iter_next(&key)) {
        BSON_APPEND_DOCUMENT_BEGIN(&condition, bson_iter_key(&key), &inner);
        BSON_APPEND_NULL(&inner, "$ne");
        bson_append_document_end(&condition, &inner);
        select_add(conditions, &condition);
    }
    bson_destroy(&condition);
}

static int say_nothing_found(struct cli *cli, const bson_t *all, const bson_t *sort)
{
    bson_iter_t key;
    int64_t others = select_count(cli, &select_models, all);

    if (others > 0 && bson_iter_init(&key, sort) && bson_iter_next(&key)) {
        char text[64];
        return cli_say(CLI_NOTHING, "--sort: none of %s has '%s'",
                       cli_plural(text, sizeof text, others, "matching model"), bson_iter_key(&key));
    }
    return others < 0 ? CLI_FAILED : cli_say(CLI_NOTHING, "no models found");
}

/* A filter in either form, checked as the store would. */
static int add_query(struct cli *cli, const char *text, bool json, struct select_conditions *conditions)
{
    bson_t filter;
    bson_error_t error;
    struct query *query = NULL;
    int code = CLI_DONE;

    int result = json ? json_read_document(text, strlen(text), &filter, &error) : where_parse(text, &filter, &error);
    if (result < 0 || (query = query_parse(&filter, &error)) == NULL) {
        code = cli_usage(cli, "model %s: %s", text, error.message);
    } else {
        select_add(conditions, &filter);
    }
    query_free(query);
    bson_destroy(&filter);
    return code;
}

/* A name may look like a condition ("a=b"): what there is comes first. */
static int add_text(struct cli *cli, const char *text, struct select_conditions *conditions)
{
    bson_t condition;

    if (*text == '{') {
        return add_query(cli, text, true, conditions);
    }
    int count = select_look(cli, &select_models, text, &condition);
    if (count > 0) {
        select_add(conditions, &condition);
    }
    bson_destroy(&condition);
    if (count != 0) {
        return count < 0 ? -count : CLI_DONE;
    }
    if (strpbrk(text, "<>=~") != NULL) {
        return add_query(cli, text, false, conditions);
    }
    return cli_say(CLI_NOTHING, "there is no model '%s' in project '%s': see tl_hub find-model", text,
                   hub_project(cli->hub));
}

int select_model(struct cli *cli, const char *text, bson_t *model)
{
    struct select_conditions conditions;
    bson_t filter, all, sort;
    bson_error_t error;

    bson_init(model);
    select_init(&conditions);
    int code = select_sort(cli, "created_at:desc", &sort);
    if (code == CLI_DONE) {
        code = select_take_options(cli, &conditions);
    }
    if (code == CLI_DONE && text == NULL && conditions.count == 0 && cli_text(cli, "sort") == NULL) {
        code = cli_usage(cli, "which model? Name it, or use --where and --sort accuracy:desc");
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code == CLI_DONE && text != NULL) {
        code = add_text(cli, text, &conditions);
    }
    if (code == CLI_DONE) {
        select_filter(&conditions, &all);
        require_key(cli, &sort, &conditions);
        select_filter(&conditions, &filter);
        bson_destroy(model);
        int found = model_find_one(cli->hub, &filter, &sort, model, &error);
        bson_destroy(&filter);
        if (found <= 0) {
            code = found < 0 ? cli_fail(&error) : say_nothing_found(cli, &all, &sort);
        }
        bson_destroy(&all);
    }
    bson_destroy(&sort);
    select_destroy(&conditions);
    return code;
}
