/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/hyper_parameters.h"

#include <criterion/criterion.h>
#include <string.h>

/* json → the completed document's JSON, or the error's message. */
static void gives(const char *json, const char *label, bool defaults, int result, const char *expected,
                  const char *expected_field)
{
    bson_error_t error = {0};
    bson_t complete;
    const char *field;
    bson_t *given = bson_new_from_json((const uint8_t *)json, -1, &error);
    cr_assert_not_null(given, "%s", error.message);
    cr_expect_eq(hyper_parameters_check(given, label, 0, defaults, &complete, &field, &error), result, "%s",
                 error.message);
    char *text = bson_as_relaxed_extended_json(&complete, NULL);
    cr_expect_str_eq(result ? error.message : text, expected);
    if (result)
        cr_expect_eq(hub_error_code(&error), HUB_ERROR_INVALID);
    cr_expect(expected_field ? field && !strcmp(field, expected_field) : !field, "field is %s", field ? field : "NULL");
    bson_free(text);
    bson_destroy(&complete);
    bson_destroy(given);
}

Test(hyper_parameters, defaults_are_filled_in_by_label_and_optimizer)
{
    gives("{}", NULL, false, 0, "{ }", NULL);
    gives("{\"learning_rate\": 0.5, \"epochs\": 3.0}", "class", true, 0,
          "{ \"learning_rate\" : 0.5, \"epochs\" : 3, \"batch_size\" : 32, \"seed\" : 0, \"optimizer\" : \"adam\", "
          "\"loss\" : \"cross_entropy\" }",
          NULL);
    gives("{\"learning_rate\": 1, \"optimizer\": \"sgd\", \"seed\": 9223372036854775807}", "value", true, 0,
          "{ \"learning_rate\" : 1, \"optimizer\" : \"sgd\", \"seed\" : 9223372036854775807, \"epochs\" : 10, "
          "\"batch_size\" : 32, \"loss\" : \"mse\" }",
          NULL);
}

Test(hyper_parameters, ranges_are_held_and_the_field_is_named)
{
    gives("{\"epochs\": 0}", NULL, true, -1, "hyper_parameters.epochs: 0 is not in [1, 1000000]", "epochs");
    gives("{\"epochs\": 2147483648}", NULL, true, -1, "hyper_parameters.epochs: 2147483648 is not in [1, 1000000]",
          "epochs");
    gives("{\"batch_size\": 9223372036854775807}", NULL, true, -1,
          "hyper_parameters.batch_size: 9223372036854775807 is not in [1, 1000000]", "batch_size");
    gives("{\"batch_size\": -1}", NULL, true, -1, "hyper_parameters.batch_size: -1 is not in [1, 1000000]",
          "batch_size");
    gives("{\"epochs\": 1.5}", NULL, true, -1, "hyper_parameters.epochs: 1.5 is not an integer in [1, 1000000]",
          "epochs");
    gives("{\"epochs\": {\"$numberDouble\": \"NaN\"}}", NULL, true, -1,
          "hyper_parameters.epochs: nan is not an integer in [1, 1000000]", "epochs");
    gives("{\"epochs\": \"ten\"}", NULL, true, -1, "hyper_parameters.epochs: must be an integer", "epochs");
    gives("{\"seed\": -1}", NULL, true, -1, "hyper_parameters.seed: -1 is not in [0, 9223372036854775807]", "seed");
    gives("{\"learning_rate\": \"0.1\"}", NULL, true, -1, "hyper_parameters.learning_rate: must be a number",
          "learning_rate");
    gives("{\"nesterov\": 1}", NULL, true, -1, "hyper_parameters.nesterov: must be true or false", "nesterov");
    gives("{\"optimizer\": 1}", NULL, true, -1, "hyper_parameters.optimizer: must be a name", "optimizer");
    gives("{\"loss\": \"mse\"}", "class", true, -1,
          "hyper_parameters.loss: mse is not for a dataset whose labels are classes; use cross_entropy", "loss");
    gives("{\"learning_rat\": 1}", NULL, true, -1,
          "hyper_parameters.learning_rat: unknown hyper-parameter; did you mean learning_rate", "learning_rat");
}

Test(hyper_parameters, of_schedules_and_losses_are_kept)
{
    gives("{\"schedule\": \"step\", \"step_epochs\": 3, \"gamma\": 0.5, \"clip_norm\": 2, \"loss\": \"huber\", "
          "\"huber_delta\": 0.5, \"optimizer\": \"rmsprop\", \"alpha\": 0.75}",
          "value", false, 0,
          "{ \"schedule\" : \"step\", \"step_epochs\" : 3, \"gamma\" : 0.5, \"clip_norm\" : 2, \"loss\" : \"huber\", "
          "\"huber_delta\" : 0.5, \"optimizer\" : \"rmsprop\", \"alpha\" : 0.75 }",
          NULL);
    gives("{\"precision\": \"bfloat16\"}", "class", false, 0, "{ \"precision\" : \"bfloat16\" }", NULL);
    gives("{\"loss\": \"binary_cross_entropy\"}", "class", false, 0, "{ \"loss\" : \"binary_cross_entropy\" }", NULL);
    bson_error_t error = {0};
    bson_t complete, *given = bson_new_from_json((const uint8_t *)"{\"loss\": \"binary_cross_entropy\"}", -1, NULL);
    cr_expect_eq(hyper_parameters_check(given, "class", 3, true, &complete, NULL, &error), -1);
    cr_expect_not_null(strstr(error.message, "more than two classes"), "%s", error.message);
    bson_destroy(&complete);
    bson_destroy(given);
}

Test(hyper_parameters, what_kernels_refuse_is_refused_here)
{
    static const char *const wrong[] = {"{\"learning_rate\": 0}",
                                        "{\"learning_rate\": -1}",
                                        "{\"learning_rate\": {\"$numberDouble\": \"NaN\"}}",
                                        "{\"learning_rate\": {\"$numberDouble\": \"Infinity\"}}",
                                        "{\"optimizer\": \"sgd\", \"momentum\": 1}",
                                        "{\"optimizer\": \"sgd\", \"nesterov\": true}",
                                        "{\"optimizer\": \"adagrad\"}",
                                        "{\"precision\": \"float16\"}",
                                        "{\"precision\": 16}",
                                        "{\"optimizer\": \"sgd\", \"beta1\": 0.9}",
                                        "{\"optimizer\": \"adam\", \"momentum\": 0.9}",
                                        "{\"loss\": \"hinge\"}",
                                        "{\"loss\": \"bpr\"}",
                                        "{\"huber_delta\": 1}",
                                        "{\"loss\": \"huber\", \"huber_delta\": 0}",
                                        "{\"alpha\": 0.75}",
                                        "{\"clip_norm\": 0}",
                                        "{\"clip_norm\": 1, \"clip_value\": 1}",
                                        "{\"schedule\": \"plateau\"}",
                                        "{\"schedule\": \"step\"}",
                                        "{\"schedule\": 1}",
                                        "{\"schedule\": \"step\", \"step_epochs\": 1.5}",
                                        "{\"gamma\": 0.5}",
                                        "{\"schedule\": \"cosine\", \"min_learning_rate\": 1}",
                                        "{\"warmup_steps\": -1}",
                                        "{\"warmup_steps\": 1, \"warmup_epochs\": 1}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        bson_error_t error = {0};
        bson_t complete, *given = bson_new_from_json((const uint8_t *)wrong[i], -1, NULL);
        cr_assert_not_null(given);
        cr_expect_eq(hyper_parameters_check(given, NULL, 0, true, &complete, NULL, &error), -1, "%s", wrong[i]);
        cr_expect(!strncmp(error.message, "hyper_parameters", 16), "%s: %s", wrong[i], error.message);
        bson_destroy(&complete);
        bson_destroy(given);
    }
}

Test(hyper_parameters, distance_counts_letters)
{
    cr_expect_eq(hyper_parameters_distance("method", "method", 2), 0);
    cr_expect_eq(hyper_parameters_distance("metod", "method", 2), 1);
    cr_expect_eq(hyper_parameters_distance("metohd", "method", 2), 1);
    cr_expect_eq(hyper_parameters_distance("metods", "method", 2), 2);
    cr_expect_eq(hyper_parameters_distance("", "abc", 2), 3);
    cr_expect_eq(hyper_parameters_distance("", "", 2), 0);
    cr_expect_str_eq(hyper_parameters_nearest("batchsize"), "batch_size");
    cr_expect_null(hyper_parameters_nearest("hidden"));
}
