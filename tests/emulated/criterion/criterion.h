/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TESTS_EMULATED_CRITERION_H
#define TL_TESTS_EMULATED_CRITERION_H

/* As much of Criterion as tests/kernels uses, for programs on a bare emulated CPU: every test in the one process. */

#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct emulated_test {
    const char *suite, *name;
    void (*run)(void);
    struct emulated_test *next;
};

void emulated_register(struct emulated_test *test);
/* Counts and says a failure; fatal ends the test. */
__attribute__((format(printf, 6, 7))) void emulated_check(bool right, bool fatal, const char *file, int line,
                                                          const char *what, const char *format, ...);

/* As setenv, but TL_HUB_KERNELS gets no code that runs anywhere (avx2, wide): the tests pass over what is unknown. */
int emulated_setenv(const char *name, const char *value);
#define setenv(name, value, overwrite) emulated_setenv(name, value)

#define Test(suite_name, test_name, ...) \
    static void emulated_##suite_name##_##test_name(void); \
    __attribute__((constructor)) static void emulated_##suite_name##_##test_name##_register(void) \
    { \
        static struct emulated_test test = {#suite_name, #test_name, emulated_##suite_name##_##test_name, NULL}; \
        emulated_register(&test); \
    } \
    static void emulated_##suite_name##_##test_name(void)

#define EMULATED(right, fatal, what, ...) emulated_check((right), fatal, __FILE__, __LINE__, what, "" __VA_ARGS__)
#define cr_expect(right, ...) EMULATED(right, false, #right, __VA_ARGS__)
#define cr_assert(right, ...) EMULATED(right, true, #right, __VA_ARGS__)
#define cr_expect_eq(a, b, ...) EMULATED((a) == (b), false, #a " == " #b, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) EMULATED((a) == (b), true, #a " == " #b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...) EMULATED((a) != (b), false, #a " != " #b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...) EMULATED((a) < (b), false, #a " < " #b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...) EMULATED((a) <= (b), false, #a " <= " #b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...) EMULATED((a) > (b), false, #a " > " #b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...) EMULATED((a) >= (b), false, #a " >= " #b, __VA_ARGS__)
#define cr_expect_null(a, ...) EMULATED((a) == NULL, false, #a " is NULL", __VA_ARGS__)
#define cr_expect_not_null(a, ...) EMULATED((a) != NULL, false, #a " is not NULL", __VA_ARGS__)
#define cr_assert_not_null(a, ...) EMULATED((a) != NULL, true, #a " is not NULL", __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) EMULATED(strcmp((a), (b)) == 0, false, #a " is " #b, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) EMULATED(strcmp((a), (b)) == 0, true, #a " is " #b, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, size, ...) EMULATED(memcmp((a), (b), (size)) == 0, false, #a " is " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...) EMULATED(memcmp((a), (b), (size)) == 0, true, #a " is " #b, __VA_ARGS__)
#define cr_expect_float_eq(a, b, by, ...) EMULATED(fabs((double)((a) - (b))) <= (double)(by), false, #a " near " #b, __VA_ARGS__)

#endif
