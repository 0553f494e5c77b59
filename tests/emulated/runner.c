/* SPDX-License-Identifier: Apache-2.0 */
/* The main of a test program on a bare emulated CPU (criterion/criterion.h): arguments are patterns of "suite/test" to run,
 * with a - before them to leave out. */
#include <criterion/criterion.h>

#include <fnmatch.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

static struct emulated_test *tests;
static jmp_buf leave;
static int failures;

int emulated_setenv(const char *name, const char *value)
{
    const bool anywhere = strcmp(name, "TL_HUB_KERNELS") == 0 && (strcmp(value, "avx2") == 0 || strcmp(value, "wide") == 0);
    return (setenv)(name, anywhere ? "left out" : value, 1);
}

void emulated_register(struct emulated_test *test)
{
    struct emulated_test **end = &tests;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = test;
}

void emulated_check(bool right, bool fatal, const char *file, int line, const char *what, const char *format, ...)
{
    if (right) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    printf("%s:%d: not true: %s: ", file, line, what);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    failures++;
    if (fatal) {
        longjmp(leave, 1);
    }
}

/* That tests set: by Criterion each has a process of its own. */
static const char *const settings[] = {"TL_HUB_KERNELS", "TL_HUB_BF16", "TL_HUB_GEMM", "TL_HUB_DEVICE_PATH"};

static bool is_wanted(const struct emulated_test *test, char **patterns)
{
    char name[256];
    bool wanted = patterns[0] == NULL || patterns[0][0] == '-';
    snprintf(name, sizeof name, "%s/%s", test->suite, test->name);
    for (; *patterns != NULL; patterns++) {
        const bool leave_out = **patterns == '-';
        if (fnmatch(*patterns + leave_out, name, 0) == 0) {
            wanted = !leave_out;
        }
    }
    return wanted;
}

int main(int argc, char **argv)
{
    static int run, failed; /* longjmp leaves them alone */
    static struct emulated_test *test;
    (void)argc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (test = tests; test != NULL; test = test->next) {
        if (!is_wanted(test, argv + 1)) {
            continue;
        }
        const int before = failures;
        for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
            unsetenv(settings[i]);
        }
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        if (setjmp(leave) == 0) {
            test->run();
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        const double count = (double)(end.tv_sec - start.tv_sec) * 1e3 + (double)(end.tv_nsec - start.tv_nsec) / 1e6;
        run++;
        failed += failures > before ? 1 : 0;
        printf("%s %s/%s: %.0f million instructions\n", failures > before ? "FAILED" : "passed", test->suite, test->name,
               count);
    }
    printf("%d tests, %d failed\n", run, failed);
    return run == 0 || failed > 0;
}
