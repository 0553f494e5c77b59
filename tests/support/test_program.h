/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_TEST_PROGRAM_H
#define TL_TEST_PROGRAM_H

/* What every test program does around Criterion's runner (its main is in test_program.c). Criterion runs each test in
 * a process of its own; what is made before the runner reaches them through the environment.
 *
 * A leak, or anything else that a sanitizer reports in one of those processes, fails the program: Criterion itself
 * does not see what happens when a test's process ends. */

/* Set by constructors, before main: called before the first test and after the last, in the program's own process.
 * before says 0, or an exit status: 77 to run the tests all the same and end as "skipped", others to end at once. */
struct test_program_hooks {
    int (*before)(const char *folder);
    void (*after)(const char *folder);
};
extern struct test_program_hooks test_program_hooks;

/* A folder for this run, removed after the last test, and a fresh path in it (free it); ends in the given suffix. */
const char *test_folder(void);
char *test_path(const char *suffix);

#endif
