/* SPDX-License-Identifier: Apache-2.0 */
/* Documents as a hub may hold them, whoever wrote them: every reader of fields takes any document, also one that is
 * damaged. The input is one document in BSON. */

#include "cli/json.h"
#include "cli/output_cell.h"
#include "hub/key.h"
#include "hub/query.h"
#include "hub/schema.h"
#include "hub/task_impl.h"
#include "runner/document.h"
#include "runner/recipe.h"
#include "tests/fuzz/fuzz.h"

static void check_schemas(const bson_t *document)
{
    static const char *const names[] = {"meta",    "project", "task",   "model", "architecture",
                                        "dataset", "log",     "runner", "sweep"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bson_error_t error = {0};
        FUZZ_REQUIRE(schema_check(names[i], document, &error) > 0 || error.message[0] != '\0');
    }
}

static void print(const bson_t *document)
{
    bson_string_t *out = bson_string_new(NULL);
    bson_iter_t iter;
    if (bson_validate(document, BSON_VALIDATE_NONE, NULL))
        json_append_document(out, document);
    for (int style = OUTPUT_AUTO; style <= OUTPUT_TEXT; style++) {
        bool right = false;
        bool more = bson_iter_init(&iter, document);
        while (more && bson_iter_next(&iter)) {
            bson_string_truncate(out, 0);
            output_table_cell(out, &iter, (enum output_style)style, &right);
            output_csv_cell(out, &iter);
        }
    }
    bson_string_free(out, true);
}

static void read_task(const bson_t *task)
{
    struct recipe recipe;
    bson_error_t error = {0};
    bson_t filter;
    char id[128];
    recipe_init(&recipe);
    FUZZ_REQUIRE(recipe_read_hyper_parameters(&recipe, task, &error) == 0 || error.message[0] != '\0');
    FUZZ_REQUIRE(recipe.epochs >= 0 && recipe.epochs <= 1000000 && recipe.batch_size <= 1 << 20);
    recipe_read_loss(&recipe, task, &error);
    recipe_destroy(&recipe);
    document_query(task, "dataset", &filter, &error);
    query_free(query_parse(&filter, &error));
    bson_destroy(&filter);
    task_document_id(task, id);
    task_request_of(task);
    task_requested_state(task);
    bson_init(&filter);
    task_append_key(&filter, task);
    bson_destroy(&filter);
}

static void order(const bson_t *document)
{
    static const char *const paths[] = {"_id", "project", "claim.id", "hyper_parameters.x.y", "tags"};
    struct key key;
    key_init(&key);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        key_append_path(&key, document, paths[i]);
    bson_t *sort = BCON_NEW("a", BCON_INT32(1), "tags.b", BCON_INT32(-1));
    key_append_sort(&key, sort, document);
    bson_destroy(sort);
    key_destroy(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_t document;
    bson_error_t error = {0};
    if (!bson_init_static(&document, data, size))
        return 0;
    check_schemas(&document);
    query_check_document(&document, "document", &error);
    print(&document);
    read_task(&document);
    order(&document);
    return 0;
}
