/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/architecture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_json(const char *text, const char *json)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    cr_assert_not_null(architecture, "%s: %s", text, error.message);
    char *got = architecture_to_json(architecture);
    cr_assert_str_eq(got, json);
    /* The canonical text is its own canonical text. */
    struct architecture *again = architecture_parse(got, &error);
    cr_assert_not_null(again, "%s", error.message);
    char *twice = architecture_to_json(again);
    cr_assert_str_eq(twice, json);
    free(twice);
    free(got);
    architecture_free(again);
    architecture_free(architecture);
}

static void expect_refused(const char *text, const char *part)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(text, &error);
    cr_expect_null(architecture, "accepted: %.200s", text);
    cr_expect_eq(error.code, KERNEL_ERROR_INVALID);
    cr_expect_not_null(strstr(error.message, part), "\"%s\" does not say \"%s\"", error.message, part);
    cr_expect_null(strchr(error.message, '\n'));
    architecture_free(architecture);
}

static int check(const char *text, struct shape input, int64_t outputs, struct architecture_size *size,
                 struct kernel_error *error)
{
    struct architecture *architecture = architecture_parse(text, error);
    cr_assert_not_null(architecture, "%s", error->message);
    int result = architecture_check(architecture, &input, outputs, size, error);
    architecture_free(architecture);
    return result;
}

Test(architecture, the_short_form_expands_to_a_graph)
{
    expect_json("dropout:0.2 dense:800:relu\tdropout:0.5\n dense:10 ",
                "{\"inputs\":[{\"name\":\"input\"}],\"layers\":["
                "{\"name\":\"dropout_1\",\"type\":\"dropout\",\"inputs\":[\"input\"],\"rate\":0.2},"
                "{\"name\":\"dense_1\",\"type\":\"dense\",\"inputs\":[\"dropout_1\"],\"units\":800,\"activation\":\"relu\"},"
                "{\"name\":\"dropout_2\",\"type\":\"dropout\",\"inputs\":[\"dense_1\"],\"rate\":0.5},"
                "{\"name\":\"dense_2\",\"type\":\"dense\",\"inputs\":[\"dropout_2\"],\"units\":10,\"activation\":\"none\"}],"
                "\"outputs\":[\"dense_2\"]}");
}

Test(architecture, a_graph_may_leave_out_what_is_usual)
{
    expect_json("{\"layers\": [{\"units\": 3, \"type\": \"dense\"}, {\"type\": \"tanh\", \"name\": \"bend\"}]}",
                "{\"inputs\":[{\"name\":\"input\"}],\"layers\":["
                "{\"name\":\"dense_1\",\"type\":\"dense\",\"inputs\":[\"input\"],\"units\":3,\"activation\":\"none\"},"
                "{\"name\":\"bend\",\"type\":\"tanh\",\"inputs\":[\"dense_1\"]}],\"outputs\":[\"bend\"]}");
}

Test(architecture, a_graph_has_several_inputs_and_outputs)
{
    expect_json("{\"inputs\":[{\"name\":\"a\",\"shape\":[2,3]},{\"name\":\"b\"}],\"layers\":["
                "{\"name\":\"one\",\"type\":\"dense\",\"inputs\":[\"a\"],\"units\":3,\"activation\":\"sigmoid\"},"
                "{\"name\":\"two\",\"type\":\"dense\",\"inputs\":[\"b\"],\"units\":4,\"activation\":\"none\"}],"
                "\"outputs\":[\"two\",\"one\"]}",
                "{\"inputs\":[{\"name\":\"a\",\"shape\":[2,3]},{\"name\":\"b\"}],\"layers\":["
                "{\"name\":\"one\",\"type\":\"dense\",\"inputs\":[\"a\"],\"units\":3,\"activation\":\"sigmoid\"},"
                "{\"name\":\"two\",\"type\":\"dense\",\"inputs\":[\"b\"],\"units\":4,\"activation\":\"none\"}],"
                "\"outputs\":[\"two\",\"one\"]}");
}

Test(architecture, an_attribute_may_be_a_shape_a_truth_or_a_name)
{
    expect_json("reshape:1x28x28 avg_pool:2:0:0:false",
                "{\"inputs\":[{\"name\":\"input\"}],\"layers\":["
                "{\"name\":\"reshape_1\",\"type\":\"reshape\",\"inputs\":[\"input\"],\"shape\":[1,28,28]},"
                "{\"name\":\"avg_pool_1\",\"type\":\"avg_pool\",\"inputs\":[\"reshape_1\"],\"kernel\":2,\"stride\":0,"
                "\"padding\":0,\"count_include_pad\":false}],\"outputs\":[\"avg_pool_1\"]}");
}

Test(architecture, an_attribute_that_came_later_is_written_only_where_it_says_something)
{
    expect_json("dense:3:none:lecun_uniform",
                "{\"inputs\":[{\"name\":\"input\"}],\"layers\":[{\"name\":\"dense_1\",\"type\":\"dense\","
                "\"inputs\":[\"input\"],\"units\":3,\"activation\":\"none\"}],\"outputs\":[\"dense_1\"]}");
    expect_json("dense:3:none:orthogonal",
                "{\"inputs\":[{\"name\":\"input\"}],\"layers\":[{\"name\":\"dense_1\",\"type\":\"dense\","
                "\"inputs\":[\"input\"],\"units\":3,\"activation\":\"none\",\"initialiser\":\"orthogonal\"}],"
                "\"outputs\":[\"dense_1\"]}");
}

Test(architecture, generated_names_step_aside)
{
    struct kernel_error error = {0};
    struct architecture *architecture = architecture_parse(
        "{\"layers\":[{\"type\":\"dense\",\"name\":\"dense_2\",\"units\":1},{\"type\":\"dense\",\"units\":1}]}", &error);
    cr_assert_not_null(architecture, "%s", error.message);
    cr_expect_str_eq(architecture->layers[1].name, "dense_3");
    architecture_free(architecture);
}

Test(architecture, mistakes_are_named)
{
    expect_refused("", "layers: 0");
    expect_refused("  \n", "layers: 0");
    expect_refused("dens:10", "layer 1: type: \"dens\"");
    expect_refused("dense:10 dense", "layer dense_2: units: is missing");
    expect_refused("dense:0", "layer dense_1: units: 0");
    expect_refused("dense:-5", "layer dense_1: units: -5");
    expect_refused("dense:2.5", "layer dense_1: units: 2.5");
    expect_refused("dense:2147483648", "layer dense_1: units: 2147483648");
    expect_refused("dense:9223372036854775808", "layer dense_1: units");
    expect_refused("dense:1e400", "layer dense_1: units");
    expect_refused("dense:10:rellu", "layer dense_1: activation: \"rellu\"");
    expect_refused("dense:10:relu:zero:3", "layer dense_1: \"3\" is one argument too many");
    expect_refused("dense:10x", "layer dense_1: units: 10x");
    expect_refused("dense:", "layer dense_1: units");
    expect_refused("dense:10 dropout:nan", "layer dropout_1: rate: nan");
    expect_refused("dropout:1", "layer dropout_1: rate: 1");
    expect_refused("dropout:-0.1", "layer dropout_1: rate: -0.1");
    expect_refused("dropout:inf", "layer dropout_1: rate: inf");
    expect_refused("reshape", "layer reshape_1: shape: is missing: write reshape:1x28x28");
    expect_refused("reshape:", "layer reshape_1: shape: must be 1 to 6 whole numbers");
    expect_refused("reshape:3x", "layer reshape_1: shape: must be");
    expect_refused("reshape:x3", "layer reshape_1: shape: must be");
    expect_refused("reshape:3x0", "layer reshape_1: shape: must be");
    expect_refused("reshape:3x-2", "layer reshape_1: shape: must be");
    expect_refused("reshape:1x1x1x1x1x1x1", "layer reshape_1: shape: must be");
    expect_refused("reshape:16777216x2", "layer reshape_1: shape: must be");
    expect_refused("reshape:99999999999999999999999999", "layer reshape_1: shape: must be");
    expect_refused("{\"layers\":[{\"type\":\"reshape\",\"shape\":[]}]}", "layer reshape_1: shape: must be an array");
    expect_refused("{\"layers\":[{\"type\":\"reshape\",\"shape\":[2.5]}]}", "layer reshape_1: shape: must be 1");
    expect_refused("{\"layers\":[{\"type\":\"reshape\",\"shape\":[\"2\"]}]}", "layer reshape_1: shape: must be 1");
    expect_refused("{\"layers\":[{\"type\":\"reshape\",\"shape\":\"5\"}]}", "layer reshape_1: shape: must be an array");
    expect_refused("{\"layers\":[{\"type\":\"reshape\",\"shape\":2.5}]}", "layer reshape_1: shape: must be 1 to");
    expect_refused("avg_pool:2:0:0:yes", "layer avg_pool_1: count_include_pad: yes is not true or false");
    expect_refused("relu add", "layer add_1: inputs: 1 of them: add takes 2 to 8");
    expect_refused("dense:2:relu:xavier", "use one of lecun_uniform, he_uniform");
    expect_refused("{\"layers\":[]}", "layers: 0");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":\"3\"}]}", "layer dense_1: units");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":1e999}]}", "layer dense_1: units");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":3,\"unit\":4}]}", "layer dense_1: \"unit\"");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":3,\"units\":4}]}", "layer dense_1: \"units\" stands twice");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":3,\"inputs\":[\"x\"]}]}", "\"x\" is no input");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":3,\"inputs\":[]}]}", "layer dense_1: inputs: 0");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":3,\"inputs\":[\"input\",\"input\"]}]}", "inputs: 2");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":3,\"inputs\":[\"dense_1\"]}]}", "no layer before it");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":3,\"name\":\"a.b\"}]}", "name \"a.b\"");
    expect_refused("{\"layers\":[{\"type\":\"dense\",\"units\":3,\"name\":\"input\"}]}", "is taken");
    expect_refused("{\"layers\":[{\"type\":\"relu\"}],\"outputs\":[\"input\"]}", "no layer \"input\"");
    expect_refused("{\"layers\":[{\"type\":\"relu\"}],\"outputs\":[]}", "outputs");
    expect_refused("{\"layers\":[{\"type\":\"relu\"}],\"output\":[]}", "\"output\" is not a field");
    expect_refused("{\"layers\":{\"type\":\"relu\"}}", "array \"layers\"");
    expect_refused("{\"inputs\":[{\"name\":\"i\",\"shape\":[16777216,2]}],\"layers\":[{\"type\":\"relu\"}]}", "shape");
    expect_refused("{\"inputs\":[{\"name\":\"i\",\"shape\":[0]}],\"layers\":[{\"type\":\"relu\"}]}", "input 1: shape");
    expect_refused("{\"layers\":[{\"type\":\"relu\"}]} x", "not JSON");
    expect_refused("{\"layers\":[", "not JSON");
    expect_refused("{\"layers\":[null]}", "layer 1: must be an object");
}

Test(architecture, a_billion_layers_are_refused_before_they_are_made)
{
    size_t count = 100000;
    char *text = malloc(count * 5 + 1);
    cr_assert_not_null(text);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + 5 * i, "relu ", 6);
    }
    expect_refused(text, "layers: 100000 of them");
    free(text);
    text = malloc(2u << 20);
    cr_assert_not_null(text);
    memset(text, 'a', 2u << 20);
    text[(2u << 20) - 1] = '\0';
    expect_refused(text, "longer than 1 MiB");
    free(text);
}

Test(architecture, shapes_parameters_and_work_are_counted)
{
    struct kernel_error error = {0};
    struct architecture_size size;
    cr_assert_eq(check("dropout:0.2 dense:800:relu dense:10", (struct shape){1, {784}}, 10, &size, &error), 0, "%s",
                 error.message);
    cr_expect_eq(size.parameters, 784 * 800 + 800 + 800 * 10 + 10);
    cr_expect_eq(size.activations, 784 + 800 + 10);
    cr_expect_eq(size.flops, 2 * 784 + 2 * 784 * 800 + 2 * 800 * 10);
    cr_expect_eq(size.output.rank, 1);
    cr_expect_eq(size.output.dims[0], 10);
    /* Images are flattened by dense. */
    cr_assert_eq(check("dense:3", (struct shape){3, {1, 28, 28}}, 3, &size, &error), 0);
    cr_expect_eq(size.parameters, 784 * 3 + 3);
}

Test(architecture, what_does_not_fit_names_the_layer)
{
    struct kernel_error error = {0};
    cr_expect_eq(check("dense:8 dense:9", (struct shape){1, {4}}, 10, NULL, &error), -1);
    cr_expect_str_eq(error.message, "layer dense_2: gives (9) per sample, the data needs 10");
    cr_expect_eq(check("dense:16777216 dense:16777216", (struct shape){1, {4}}, 0, NULL, &error), -1);
    cr_expect_not_null(strstr(error.message, "layer dense_2: weight (16777216 x 16777216)"), "%s", error.message);
    cr_expect_eq(check("relu", (struct shape){0, {0}}, 0, NULL, &error), -1);
    cr_expect_str_eq(error.message, "input input: its shape is not known");
    cr_expect_eq(check("relu", (struct shape){2, {1ll << 40, 1ll << 40}}, 0, NULL, &error), -1);
    cr_expect_eq(check("relu", (struct shape){1, {-1}}, 0, NULL, &error), -1);
    cr_expect_eq(check("{\"inputs\":[{\"name\":\"x\",\"shape\":[5]}],\"layers\":[{\"type\":\"relu\"}]}",
                       (struct shape){1, {4}}, 0, NULL, &error), -1);
    cr_expect_str_eq(error.message, "input x: the architecture says shape (5), the data has (4)");
    cr_expect_eq(check("{\"layers\":[{\"type\":\"relu\"},{\"type\":\"tanh\",\"inputs\":[\"input\"]}]}",
                       (struct shape){1, {4}}, 0, NULL, &error), -1);
    cr_expect_not_null(strstr(error.message, "layer relu_1: nothing uses it"), "%s", error.message);
}
