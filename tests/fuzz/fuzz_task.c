/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of a task as somebody wrote them, as JSON: refused with words that name what is wrong, or accepted; and what is
 * accepted stays as it is when it is checked again, is within the schema, and is read by a runner. */

#include "distributor/hyper_parameters.h"
#include "distributor/task_kind.h"
#include "hub/schema.h"
#include "hub/task_keep.h"
#include "runner/document.h"
#include "runner/recipe.h"
#include "tests/fuzz/fuzz.h"

static void read_as_a_runner(const bson_t *complete)
{
    bson_error_t error = {0};
    struct recipe recipe;
    bson_t task = BSON_INITIALIZER;
    BSON_APPEND_DOCUMENT(&task, "hyper_parameters", complete);
    recipe_init(&recipe);
    FUZZ_REQUIRE(recipe_read_hyper_parameters(&recipe, &task, &error) == 0 || error.message[0] != '\0');
    FUZZ_REQUIRE(recipe.epochs >= 0 && recipe.batch_size >= 0 && recipe.seed >= 0);
    recipe_destroy(&recipe);
    bson_destroy(&task);
}

static void check_parameters(const bson_t *given, const char *label, bool train)
{
    bson_error_t error = {0};
    const char *field = NULL;
    bson_t complete, again;
    if (hyper_parameters_check(given, label, 3, train, &complete, &field, &error)) {
        FUZZ_REQUIRE(error.message[0] != '\0');
    } else {
        FUZZ_REQUIRE(hyper_parameters_check(&complete, label, 3, train, &again, NULL, &error) == 0);
        FUZZ_REQUIRE(bson_equal(&complete, &again));
        bson_destroy(&again);
        if (train)
            read_as_a_runner(&complete);
    }
    bson_destroy(&complete);
}

static void check_task(const bson_t *fields)
{
    static const char *const labels[] = {"class", "value", NULL};
    bson_error_t error = {0};
    const char *field = NULL, *kind = task_kind_of(fields, &error);
    bson_t given;
    if (kind == NULL || task_kind_check_fields(kind, fields, &field, &error)) {
        FUZZ_REQUIRE(error.message[0] != '\0');
        return;
    }
    struct task_keep keep;
    FUZZ_REQUIRE(!document_has(fields, "keep") || task_keep_read(document_string(fields, "keep"), &keep));
    bool there = document_child(fields, "hyper_parameters", &given);
    for (size_t i = 0; i < 3; i++)
        check_parameters(there ? &given : NULL, labels[i], strcmp(kind, "train") == 0);
    schema_check("task", fields, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536) /* bson_new_from_json is libbson's, and not what is looked at */
        return 0;
    bson_t *fields = bson_new_from_json(data, (ssize_t)size, NULL);
    if (fields != NULL)
        check_task(fields);
    bson_destroy(fields);
    return 0;
}
