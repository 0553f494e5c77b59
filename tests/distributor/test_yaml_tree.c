/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/yaml_tree.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct yaml_tree *parse(const char *file_name, const char *text, bson_error_t *error)
{
    memset(error, 0, sizeof *error);
    return yaml_tree_parse(text, strlen(text), file_name, error);
}

static const struct yaml_tree_node *scalar(struct yaml_tree **tree, const char *text)
{
    bson_error_t error;
    *tree = parse("a.yaml", text, &error);
    cr_assert_not_null(*tree, "%s: %s", text, error.message);
    cr_assert_not_null((*tree)->root);
    return (*tree)->root;
}

static void refused(const char *file_name, const char *text, const char *start, const char *part)
{
    bson_error_t error;
    struct yaml_tree *tree = parse(file_name, text, &error);
    cr_expect_null(tree, "accepted: %s", text);
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID);
    cr_expect(!strncmp(error.message, start, strlen(start)), "'%s' does not start with '%s'", error.message, start);
    cr_expect(strstr(error.message, part), "'%s' does not have '%s'", error.message, part);
    yaml_tree_free(tree);
}

Test(yaml_tree, plain_scalars_have_the_types_of_the_core_schema)
{
    static const struct {
        const char *text;
        enum yaml_tree_kind kind;
        double number;
    } cases[] = {
        {"12", YAML_TREE_INT, 12},
        {"-3", YAML_TREE_INT, -3},
        {"+3", YAML_TREE_INT, 3},
        {"0x1F", YAML_TREE_INT, 31},
        {"0o17", YAML_TREE_INT, 15},
        {"017", YAML_TREE_INT, 17},
        {"9223372036854775807", YAML_TREE_INT, 9223372036854775807.0},
        {"1e-3", YAML_TREE_FLOAT, 0.001},
        {"1.", YAML_TREE_FLOAT, 1},
        {".5", YAML_TREE_FLOAT, 0.5},
        {"-1.5E+2", YAML_TREE_FLOAT, -150},
        {".inf", YAML_TREE_FLOAT, INFINITY},
        {"-.Inf", YAML_TREE_FLOAT, -INFINITY},
        {"true", YAML_TREE_BOOL, 1},
        {"FALSE", YAML_TREE_BOOL, 0},
        {"~", YAML_TREE_NULL, 0},
        {"Null", YAML_TREE_NULL, 0},
        {"yes", YAML_TREE_STRING, 0},
        {"1e", YAML_TREE_STRING, 0},
        {"1_000", YAML_TREE_STRING, 0},
        {".", YAML_TREE_STRING, 0},
        {"0x", YAML_TREE_STRING, 0},
        {"'12'", YAML_TREE_STRING, 0},
        {"!!str 12", YAML_TREE_STRING, 0},
        {"!!float 12", YAML_TREE_FLOAT, 12},
        {"!!int '12'", YAML_TREE_INT, 12},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct yaml_tree *tree;
        const struct yaml_tree_node *node = scalar(&tree, cases[i].text);
        cr_expect_eq(node->kind, cases[i].kind, "%s is %s", cases[i].text, yaml_tree_kind_name(node->kind));
        if (node->kind == YAML_TREE_INT || node->kind == YAML_TREE_FLOAT)
            cr_expect_eq(node->number, cases[i].number, "%s is %g", cases[i].text, node->number);
        if (node->kind == YAML_TREE_BOOL)
            cr_expect_eq(node->boolean, cases[i].number > 0);
        yaml_tree_free(tree);
    }
    struct yaml_tree *tree;
    cr_expect(isnan(scalar(&tree, ".NaN")->number));
    yaml_tree_free(tree);
}

Test(yaml_tree, nodes_know_their_lines_and_aliases_are_the_anchored_node)
{
    bson_error_t error;
    struct yaml_tree *tree = parse("a.yaml", "# comment\na: &one\n  - 1\n  - 2\nb: *one\n", &error);
    cr_assert_not_null(tree, "%s", error.message);
    const struct yaml_tree_node *a = yaml_tree_get(tree->root, "a"), *b = yaml_tree_get(tree->root, "b");
    cr_assert_not_null(a);
    cr_expect_eq(a, b);
    cr_expect_eq(a->count, 2);
    cr_expect_eq(a->items[1]->integer, 2);
    cr_expect_eq(a->items[1]->line, 4);
    cr_expect_eq(tree->root->keys[1]->line, 5);
    cr_expect_eq(tree->root->weight, 1 + 3 + 3);
    cr_expect_null(yaml_tree_get(tree->root, "c"));
    yaml_tree_free(tree);
}

Test(yaml_tree, yaml_that_is_not_taken_is_refused_with_its_line)
{
    refused("a.yaml", "a: 1\nb: 2\na: 3\n", "a.yaml:3:", "'a' stands here twice (first on line 1)");
    refused("a.yaml", "a: [1, 2\nb: 3\n", "a.yaml:2:", "not YAML");
    refused("a.yaml", "a: 1\n b: 2\n", "a.yaml:2:", "not YAML");
    refused("a.yaml", "a: 1\n---\nb: 2\n", "a.yaml:2:", "second document");
    refused("a.yaml", "a: 1\nb: *nobody\n", "a.yaml:2:", "alias '*nobody'");
    refused("a.yaml", "a: &x [1, *x]\n", "a.yaml:1:", "alias '*x'");
    refused("a.yaml", "a: 1\n[b]: 2\n", "a.yaml:2:", "a key must be a string, not a list");
    refused("a.yaml", "a: 1\n2: 3\n", "a.yaml:2:", "a key must be a string, not an integer");
    refused("a.yaml", "a: !!python/object 1\n", "a.yaml:1:", "tag");
    refused("a.yaml", "a: !!int 1.5\n", "a.yaml:1:", "is not an integer");
    refused("a.yaml", "a:\n - 99999999999999999999\n", "a.yaml:2:", "64 bits");
    refused("a.yaml", "a: \"b\\0c\"\n", "a.yaml:1:", "NUL");
    refused("a.yaml", "a: 1\nb: \xff\n", "a.yaml:2:", "not YAML");
}

Test(yaml_tree, depth_and_expanded_aliases_are_bounded)
{
    char deep[400] = "";
    for (int i = 0; i < 100; i++)
        strcat(deep, "[");
    refused("a.yaml", deep, "a.yaml:1:", "deeper than 64");
    refused("a.json", deep, "a.json:1:", "deeper than 64");
    char laughs[2000] = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n";
    for (int i = 1; i < 20; i++)
        sprintf(laughs + strlen(laughs), "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1,
                i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    refused("a.yaml", laughs, "a.yaml:", "aliases expanded");
}

Test(yaml_tree, json_is_read_with_lines_and_surrogate_pairs)
{
    bson_error_t error;
    struct yaml_tree *tree =
        parse("a.json", "{\"a\": [1, -2.5e1, true, null],\n\t\"b\\u00e9\": \"\\ud83d\\ude42\\n\\/\"}", &error);
    cr_assert_not_null(tree, "%s", error.message);
    const struct yaml_tree_node *a = yaml_tree_get(tree->root, "a"), *b = yaml_tree_get(tree->root, "b\xc3\xa9");
    cr_assert(a && b);
    cr_expect_eq(a->items[0]->kind, YAML_TREE_INT);
    cr_expect_eq(a->items[1]->number, -25);
    cr_expect_eq(a->items[2]->kind, YAML_TREE_BOOL);
    cr_expect_eq(a->items[3]->kind, YAML_TREE_NULL);
    cr_expect_str_eq(b->text, "\xf0\x9f\x99\x82\n/");
    cr_expect_eq(b->line, 2);
    yaml_tree_free(tree);
}

Test(yaml_tree, json_is_strict)
{
    refused("a.json", "{\"a\": 1,\n}", "a.json:2:", "a key in double quotes");
    refused("a.json", "{a: 1}", "a.json:1:", "a key in double quotes");
    refused("a.json", "{\"a\": 'b'}", "a.json:1:", "not JSON");
    refused("a.json", "{\"a\": 01}", "a.json:1:", "'01'");
    refused("a.json", "{\"a\": .5}", "a.json:1:", "'.5'");
    refused("a.json", "{\"a\": NaN}", "a.json:1:", "'NaN'");
    refused("a.json", "{\"a\": True}", "a.json:1:", "'True'");
    refused("a.json", "{\"a\": 1}\n// end", "a.json:2:", "text after the end");
    refused("a.json", "{\"a\": \"b", "a.json:1:", "does not end");
    refused("a.json", "{\"a\": \"b\\", "a.json:1:", "does not end");
    refused("a.json", "{\"a\": \"\\ud83d\"}", "a.json:1:", "surrogate");
    refused("a.json", "{\"a\": \"\\u12\"}", "a.json:1:", "hexadecimal");
    refused("a.json", "{\"a\": \"\\u0000\"}", "a.json:1:", "NUL");
    refused("a.json", "{\"a\": \"\\q\"}", "a.json:1:", "escape");
    refused("a.json", "{\"a\": 1, \"a\": 2}", "a.json:1:", "twice");
    refused("a.json", "[1 2]", "a.json:1:", "',' or ']'");
    refused("a.json", "{\"a\" 1}", "a.json:1:", "':'");
    refused("a.json", "{\"a\":", "a.json:1:", "ends too early");
}

Test(yaml_tree, an_empty_text_has_no_root)
{
    static const char *const names[] = {"a.yaml", "a.json"};
    for (size_t i = 0; i < 2; i++) {
        bson_error_t error;
        struct yaml_tree *tree = parse(names[i], " \n", &error);
        cr_assert_not_null(tree, "%s", error.message);
        cr_expect_null(tree->root);
        yaml_tree_free(tree);
    }
}
