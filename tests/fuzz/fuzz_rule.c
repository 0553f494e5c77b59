/* SPDX-License-Identifier: Apache-2.0 */
/* What a user writes as a rule: it is read or refused with words, and what is read can be asked. */

#include "hub/rule.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>

static bool value_of(void *data, const char *name, double *number)
{
    int *calls = data;
    static const double numbers[] = {0, 1, -1e300, NAN, INFINITY};
    *number = numbers[(size_t)++*calls % 5];
    return *name && *calls % 7;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_REQUIRE(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    bson_error_t error = {0};
    struct rule *rule = rule_parse(text, &error);
    if (rule != NULL) {
        int calls = 0;
        struct rule *again = rule_parse(rule_text(rule), NULL);
        FUZZ_REQUIRE(again != NULL && rule_action(again) == rule_action(rule) && rule_name(rule, 0) != NULL);
        for (int i = 0; i < 5; i++)
            rule_holds(rule, value_of, &calls);
        rule_free(again);
    } else {
        FUZZ_REQUIRE(error.message[0] != '\0');
    }
    rule_free(rule);
    free(text);
    return 0;
}
