/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/whole.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct cli_option options[] = {
    {"project", 0, CLI_TEXT, "NAME", "only this project of the archive"},
    {"rename", 0, CLI_TEXT, "NAME", "what the project is called in the hub"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* A file is read to its end before anything of it is written: 1 with its size, 0 not a file to go back in, or an exit
 * code below 0. */
static int check_first(FILE *file, const char *path, int64_t *size, int *code)
{
    struct archive_summary summary;
    struct stat status;
    bson_error_t error;

    *size = 0;
    if (fstat(fileno(file), &status) < 0 || !S_ISREG(status.st_mode)) {
        return 0;
    }
    if (archive_check(file, path, &summary, &error) < 0) {
        *code = cli_fail(&error);
        return -1;
    }
    *size = status.st_size;
    if (fseek(file, 0, SEEK_SET) != 0) {
        *code = cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
        return -1;
    }
    return 1;
}

static int say(struct cli *cli, const char *path, const struct archive_import_report *report)
{
    bson_t document = BSON_INITIALIZER;
    char size[32], inserted[64], blobs[64];

    BSON_APPEND_UTF8(&document, "file", path);
    BSON_APPEND_INT64(&document, "inserted", report->inserted);
    BSON_APPEND_INT64(&document, "same", report->same);
    BSON_APPEND_INT64(&document, "refused", report->refused);
    BSON_APPEND_INT64(&document, "blobs_written", report->blobs_written);
    BSON_APPEND_INT64(&document, "blobs_same", report->blobs_same);
    whole_append_summary(&document, &report->archive);
    BSON_APPEND_BOOL(&document, "digest_equal", report->digest_checked);
    text_format_bytes(report->archive.bytes, size, sizeof size);
    int code = output_object(cli, &document, "imported %s and %s; %lld there already, %lld refused; digest %s%s",
                             cli_plural(inserted, sizeof inserted, report->inserted, "document"),
                             cli_plural(blobs, sizeof blobs, report->blobs_written, "blob"), (long long)report->same,
                             (long long)report->refused, report->archive.digest,
                             report->digest_checked ? ", the hub's is equal" : " (of the archive; the hub holds other things, too)");
    bson_destroy(&document);
    if (code == CLI_DONE && report->refused > 0) {
        code = cli_say(CLI_CONFLICT, "%lld document%s of the archive %s not imported: see above",
                       (long long)report->refused, report->refused == 1 ? "" : "s", report->refused == 1 ? "is" : "are");
    }
    return code;
}

static int import_file(struct cli *cli, FILE *file, const char *path, int64_t size)
{
    struct whole_display display = {.what = "importing"};
    struct archive_import_options import = {
        .project = cli_text(cli, "project"),
        .rename = cli_text(cli, "rename"),
        .name = path,
        .size = size,
        .progress = whole_draw,
        .note = whole_note,
        .data = &display,
    };
    struct archive_import_report report;
    bson_error_t error;

    bar_init(&display.bar, cli);
    int result = archive_import(cli->hub, file, &import, &report, &error);
    bar_end(&display.bar);
    return result < 0 ? cli_fail(&error) : say(cli, path, &report);
}

static int run(struct cli *cli)
{
    const char *path = cli->arguments[0];
    bool standard = strcmp(path, "-") == 0;
    int code = CLI_DONE;
    int64_t size = 0;

    if (standard && isatty(STDIN_FILENO)) {
        return cli_usage(cli, "FILE - is standard input, which is a terminal here");
    }
    FILE *file = standard ? stdin : fopen(path, "rbe");
    if (file == NULL) {
        return cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    path = standard ? "standard input" : path;
    if (check_first(file, path, &size, &code) >= 0) {
        code = whole_open(cli, HUB_OPEN_CREATE, false);
        code = code == CLI_DONE ? import_file(cli, file, path, size) : code;
    }
    if (!standard) {
        fclose(file);
    }
    return code;
}

const struct cli_command cmd_import = {
    .verb = "import",
    .summary = "Bring what export wrote into a hub",
    .arguments = "FILE",
    .least = 1,
    .most = 1,
    .groups = {options},
    .details =
        "What is in the hub already and equal is passed over, so an import that was interrupted is finished by running\n"
        "it again. What is there and differs is left as it is, named, and the exit code is 6. Tasks keep the order of\n"
        "their numbers; where the project has had tasks already, the numbers move up. A file is checked to its end\n"
        "before anything is written; from standard input (FILE -) nothing is shown that a checksum has not confirmed.",
    .examples = "  tl_hub import hub.tlhub --hub sqlite:copy.db\n"
                "  tl_hub import hub.tlhub --project default --rename vision\n"
                "  zstd -dc vision.tlhub.zst | tl_hub import -",
    .run = run,
};
