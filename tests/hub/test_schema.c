/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/schema.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"meta", "project", "task", "model", "architecture", "dataset", "log", "runner", "sweep"};

static bson_t *schema_of(const char *name)
{
    bson_error_t why = {0};
    bson_t *schema = bson_new_from_json((const uint8_t *)schema_text(name), -1, &why);
    cr_assert_not_null(schema, "%s: %s", name, why.message);
    return schema;
}

static bson_t *json(const char *text)
{
    bson_error_t why = {0};
    char *copy = bson_strdup(text);
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    bson_t *document = bson_new_from_json((const uint8_t *)copy, -1, &why);
    cr_assert_not_null(document, "%s in %s", why.message, copy);
    bson_free(copy);
    return document;
}

#define TASK                                                                                                     \
    "'_id': 'a', 'project': 'p', 'lane': 0, 'queue': 'default', 'resource_class': 'cpu', 'kind': 'train', "        \
    "'state': 'ready', 'priority': 0, 'seq': 1"

/* A task with more fields: "" when it is valid, else the message. */
static const char *verdict(const char *fields)
{
    static char message[600];
    bson_error_t why = {0};
    char text[4096];
    snprintf(text, sizeof text, "{%s%s%s}", TASK, fields[0] != '\0' ? ", " : "", fields);
    bson_t *document = json(text);
    int result = schema_check("task", document, &why);
    cr_expect(result == 1 || (result == -1 && hub_error_code(&why) == HUB_ERROR_INVALID));
    snprintf(message, sizeof message, "%s", result == 1 ? "" : why.message);
    bson_destroy(document);
    return message;
}

Test(schema, every_schema_is_there_and_describes_itself)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bson_t *schema = schema_of(names[i]);
        bson_iter_t iter, property;
        cr_expect(bson_has_field(schema, "description"), "%s", names[i]);
        cr_assert(bson_iter_init_find(&iter, schema, "properties") && bson_iter_recurse(&iter, &property));
        while (bson_iter_next(&property)) {
            bson_iter_t inner;
            cr_expect(bson_iter_recurse(&property, &inner) && bson_iter_find(&inner, "description"), "%s.%s", names[i],
                      bson_iter_key(&property));
        }
        bson_destroy(schema);
    }
    cr_expect_null(schema_text("nothing"));
    cr_expect(schema_knows("task", "hyper_parameters"));
    cr_expect_not(schema_knows("task", "hyperparameters"));
}

/* What MongoDB's $jsonSchema does not know would make the server refuse the whole schema. */
static void expect_known_keywords(const bson_iter_t *parent, const char *where)
{
    static const char *const known[] = {"bsonType", "required", "properties", "additionalProperties", "enum", "minimum",
                                        "maximum", "minLength", "maxLength", "pattern", "items", "minItems", "maxItems",
                                        "uniqueItems", "anyOf", "description", "title"};
    bson_iter_t iter, inner;
    cr_assert(bson_iter_recurse(parent, &iter));
    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            found = found || strcmp(known[i], key) == 0;
        }
        cr_expect(found, "%s: %s", where, key);
        if (strcmp(key, "properties") == 0) {
            cr_assert(bson_iter_recurse(&iter, &inner));
            while (bson_iter_next(&inner)) {
                expect_known_keywords(&inner, bson_iter_key(&inner));
            }
        } else if ((strcmp(key, "items") == 0 || strcmp(key, "additionalProperties") == 0) && BSON_ITER_HOLDS_DOCUMENT(&iter)) {
            expect_known_keywords(&iter, key);
        }
    }
}

Test(schema, only_keywords_that_the_server_knows)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bson_t *schema = schema_of(names[i]), outer = BSON_INITIALIZER;
        bson_iter_t iter;
        BSON_APPEND_DOCUMENT(&outer, "schema", schema);
        cr_assert(bson_iter_init_find(&iter, &outer, "schema"));
        expect_known_keywords(&iter, names[i]);
        bson_destroy(&outer);
        bson_destroy(schema);
    }
}

Test(schema, says_what_is_wrong_and_where)
{
    cr_expect_str_eq(verdict(""), "");
    cr_expect_str_eq(verdict("'hyper_parameters': {'epochs': 10, 'hidden': 800, 'learning_rate': 0.001}"), "");
    cr_expect_str_eq(verdict("'hyper_parameters': {'epochs': 0}"), "task.hyper_parameters.epochs: 0 is below the minimum 1");
    cr_expect_str_eq(verdict("'hyper_parameters': {'batch_size': 4e9}"),
                     "task.hyper_parameters.batch_size: 4000000000 is above the maximum 2147483647");
    cr_expect_str_eq(verdict("'hyper_parameters': []"), "task.hyper_parameters: it is array, not object");
    cr_expect_str_eq(verdict("'hyper_parameters': {'learning_rate': 'fast'}"),
                     "task.hyper_parameters.learning_rate: it is string, not int or long or double");
    cr_expect_not_null(strstr(verdict("'hyper_parameters': {'learning_rate': {'$numberDouble': 'NaN'}}"), "below the minimum"));
    cr_expect_str_eq(verdict("'tags': ['a', 'b', 'a']"), "task.tags[2]: it is there twice");
    cr_expect_str_eq(verdict("'tags': ['a', 5]"), "task.tags[1]: it is int, not string");
    cr_expect_str_eq(verdict("'tags': ['']"), "task.tags[0]: it is empty");
    cr_expect_str_eq(verdict("'claim': {'beat': -1}"), "task.claim.beat: -1 is below the minimum 0");
    cr_expect_str_eq(verdict("'result': {}"), "task.result.claim_id: it is missing");
    cr_expect_str_eq(verdict("'anything': 1"), "", "clients in other languages may add fields");
    cr_expect_not_null(strstr(verdict("'checkpoint': {'blob_id': 'x'}"), "task.checkpoint.blob_id: it is string, not objectId"));
}

Test(schema, required_fields_enumerations_and_patterns)
{
    bson_error_t why;
    bson_t *document = json("{'_id': 'a', 'project': 'p'}");
    cr_expect_eq(schema_check("task", document, &why), -1);
    cr_expect_str_eq(why.message, "task.lane: it is missing");
    bson_destroy(document);
    document = json("{'_id': 'a', 'project': 'p', 'lane': 0, 'queue': 'default', 'resource_class': 'cpu', 'kind': 'trian', "
                    "'state': 'ready', 'priority': 0, 'seq': 1}");
    cr_expect_eq(schema_check("task", document, &why), -1);
    cr_expect_str_eq(why.message, "task.kind: \"trian\" is none of train, validate, test, infer, outside");
    bson_destroy(document);
    document = json("{'_id': 'a b', 'project': 'a b', 'created_at': {'$date': 0}, 'schema_version': 1}");
    cr_expect_eq(schema_check("project", document, &why), -1);
    cr_expect_not_null(strstr(why.message, "does not match"));
    bson_destroy(document);
    document = json("{'_id': 'hub', 'extra': 1}");
    cr_expect_eq(schema_check("meta", document, &why), -1);
    bson_destroy(document);
    bson_t nothing = BSON_INITIALIZER;
    cr_expect_eq(schema_check("nothing", &nothing, NULL), -1);
}

Test(schema, lengths_count_characters)
{
    char name[1000] = "", fields[1100];
    for (size_t i = 0; i < 200; i++) {
        memcpy(name + 2 * i, "ö", 2);
    }
    name[400] = '\0';
    snprintf(fields, sizeof fields, "'name': '%s'", name);
    cr_expect_str_eq(verdict(fields), "");
    snprintf(fields, sizeof fields, "'name': '%sx'", name);
    cr_expect_str_eq(verdict(fields), "task.name: 201 characters are more than the maximum 200");
}
