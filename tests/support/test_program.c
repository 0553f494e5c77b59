/* SPDX-License-Identifier: Apache-2.0 */
#include "test_program.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKIPPED 77

struct test_program_hooks test_program_hooks;

/* Criterion's own runner forgets a few bytes when a test's process dies by a signal; those of the tests count. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libcriterion.so";
}

const char *test_folder(void)
{
    const char *folder = getenv("TL_TEST_FOLDER");
    if (!folder) {
        fputs("test_folder: called outside of a test program\n", stderr);
        abort();
    }
    return folder;
}

static char *format(const char *text, ...) __attribute__((format(printf, 1, 2)));
static char *format(const char *text, ...)
{
    char *result;
    va_list arguments;
    va_start(arguments, text);
    if (vasprintf(&result, text, arguments) < 0) {
        abort();
    }
    va_end(arguments);
    return result;
}

char *test_path(const char *suffix)
{
    static atomic_int count;
    return format("%s/%d-%d%s", test_folder(), (int)getpid(), atomic_fetch_add(&count, 1), suffix);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    remove(path);
    return 0;
}

/* Sanitizers of the tests' processes write here: reports/NAME.PID. */
static void send_reports_to(const char *folder)
{
    static const char *const names[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *old = getenv(names[i]);
        if (old && strstr(old, "log_path")) {
            continue;
        }
        char *options = format("%s%slog_path=%s/report", old ? old : "", old && *old ? ":" : "", folder);
        setenv(names[i], options, 1);
        free(options);
    }
}

static int print_reports(const char *folder)
{
    int count = 0;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (strncmp(entry->d_name, "report.", 7) != 0) {
            continue;
        }
        char *path = format("%s/%s", folder, entry->d_name);
        FILE *file = fopen(path, "r");
        char line[1024];
        count++;
        fprintf(stderr, "--- a sanitizer's report (process %s)\n", entry->d_name + 7);
        while (file && fgets(line, sizeof line, file)) {
            fputs(line, stderr);
        }
        if (file) {
            fclose(file);
        }
        free(path);
    }
    if (directory) {
        closedir(directory);
    }
    return count;
}

/* Visible: Criterion's worker processes look for main by name in the program's symbols. */
__attribute__((visibility("default"))) int main(int argc, char **argv)
{
    struct criterion_test_set *tests = criterion_initialize();
    const char *temporary = getenv("TMPDIR");
    char *folder = format("%s/tl_test.XXXXXX", temporary && *temporary ? temporary : "/tmp");
    int result = 0;
    int before = 0;
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    if (criterion_handle_args(argc, argv, true)) {
        setenv("TL_TEST_FOLDER", folder, 1);
        send_reports_to(folder);
        if (test_program_hooks.before) {
            before = test_program_hooks.before(folder);
        }
        result = before;
        if (before == 0 || before == SKIPPED) {
            result = criterion_run_all_tests(tests) ? before : 1;
        }
        if (test_program_hooks.after) {
            test_program_hooks.after(folder);
        }
        int reports = print_reports(folder);
        if (reports > 0) {
            fprintf(stderr, "%d of the tests' processes ended with a sanitizer's report\n", reports);
            result = 1;
        }
        if (result == SKIPPED) {
            fputs("SKIPPED: some of these tests need a MongoDB server, and none can be had\n", stderr);
        }
    }
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
    criterion_finalize(tests);
    return result;
}
