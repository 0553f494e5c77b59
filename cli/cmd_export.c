/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct cli_option options[] = {
    {"live", 0, CLI_FLAG, NULL, "while tasks are running: they go in as ready, without claim and progress"},
    {"skip-damaged", 0, CLI_FLAG, NULL, "leave out what points to a damaged blob, saying so"},
    {"force", 'f', CLI_FLAG, NULL, "write over a file that is there"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static int write_archive(struct cli *cli, FILE *file, struct archive_summary *summary)
{
    struct whole_display display = {.what = "exporting"};
    struct archive_export_options export = {
        .project = cli_text(cli, "project"),
        .live = cli_flag(cli, "live"),
        .skip_damaged = cli_flag(cli, "skip-damaged"),
        .progress = whole_draw,
        .note = whole_note,
        .data = &display,
    };
    bson_error_t error;

    bar_init(&display.bar, cli);
    int result = archive_export(cli->hub, file, &export, summary, &error);
    bar_end(&display.bar);
    return result < 0 ? cli_fail(&error) : CLI_DONE;
}

/* The folder's entry, too, is on the disk after this. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? bson_strdup(".") : bson_strndup(path, (size_t)(slash - path) + 1);
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
    bson_free(folder);
}

static bool is_still(int descriptor, const char *path)
{
    struct stat own, there;

    return fstat(descriptor, &own) == 0 && stat(path, &there) == 0 && own.st_dev == there.st_dev &&
           own.st_ino == there.st_ino;
}

/* FILE.part is one export's: locked, so that what a killed one has left is in nobody's way. Where it took the place of
 * FILE between being opened and being locked, it is not ours to write to. */
static int open_part(const char *part, FILE **file)
{
    *file = NULL;
    for (;;) {
        int descriptor = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (descriptor >= 0 && flock(descriptor, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
            close(descriptor);
            return cli_say(CLI_CONFLICT, "%s: another export is writing it: wait for that one, or name another file", part);
        }
        if (descriptor < 0 || is_still(descriptor, part)) {
            *file = descriptor >= 0 && ftruncate(descriptor, 0) == 0 ? fdopen(descriptor, "wb") : NULL;
            if (*file == NULL) {
                cli_say(CLI_FAILED, "%s: %s", part, strerror(errno));
                if (descriptor >= 0) {
                    close(descriptor);
                }
            }
            return *file != NULL ? CLI_DONE : CLI_FAILED;
        }
        close(descriptor);
    }
}

static int check_path(struct cli *cli, const char *path)
{
    return cli_flag(cli, "force") || access(path, F_OK) != 0
               ? CLI_DONE
               : cli_say(CLI_FAILED, "%s: is there already: use --force to write over it", path);
}

/* Still locked, so that of two exports of one name the second finds the first one's file. */
static int finish_file(struct cli *cli, FILE *file, const char *part, const char *path)
{
    int code = check_path(cli, path);

    if (code == CLI_DONE && (fflush(file) != 0 || fsync(fileno(file)) != 0 || rename(part, path) < 0)) {
        code = cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    if (code == CLI_DONE) {
        sync_folder(path);
    }
    return code;
}

/* Into FILE.part, which takes the file's place once everything is on the disk. */
static int write_file(struct cli *cli, const char *path, struct archive_summary *summary)
{
    char *part = bson_strdup_printf("%s.part", path);
    FILE *file = NULL;
    int code = check_path(cli, path);

    if (code == CLI_DONE) {
        code = open_part(part, &file);
    }
    if (code == CLI_DONE) {
        code = write_archive(cli, file, summary);
        code = code == CLI_DONE ? finish_file(cli, file, part, path) : code;
        if (code != CLI_DONE) {
            unlink(part);
        }
    }
    if (file != NULL && fclose(file) != 0 && code == CLI_DONE) {
        code = cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    bson_free(part);
    return code;
}

static int run(struct cli *cli)
{
    const char *path = cli->arguments[0];
    bool standard = strcmp(path, "-") == 0;
    struct archive_summary summary;
    bson_t report = BSON_INITIALIZER;
    char size[32], documents[64], blobs[64];

    int code = standard && cli->stdout_terminal ? cli_usage(cli, "an archive is nothing for a terminal: write to a file")
                                                : whole_open(cli, HUB_OPEN_EXISTING, true);
    if (code == CLI_DONE) {
        code = standard ? write_archive(cli, stdout, &summary) : write_file(cli, path, &summary);
    }
    if (code == CLI_DONE) {
        cli_plural(documents, sizeof documents, summary.documents, "document");
        cli_plural(blobs, sizeof blobs, summary.blobs, "blob");
        text_format_bytes(summary.bytes, size, sizeof size);
        if (standard) {
            cli_note("exported %s and %s (%s); digest %s", documents, blobs, size, summary.digest);
        } else {
            BSON_APPEND_UTF8(&report, "file", path);
            whole_append_summary(&report, &summary);
            BSON_APPEND_INT64(&report, "blobs", summary.blobs);
            BSON_APPEND_INT64(&report, "bytes", summary.bytes);
            code = output_object(cli, &report, "exported %s and %s (%s) to %s; digest %s", documents, blobs, size, path,
                                 summary.digest);
        }
    }
    bson_destroy(&report);
    return code;
}

const struct cli_command cmd_export = {
    .verb = "export",
    .summary = "Write a hub, or one project of it, into one file",
    .arguments = "FILE",
    .least = 1,
    .most = 1,
    .groups = {options},
    .details =
        "Everything goes in as it is: documents with types and keys in their order, ids, blobs; not claims, unfinished\n"
        "uploads and living runners' records. With --project only that project. FILE - is standard output: pipe it\n"
        "through zstd, gzip or ssh. The digest printed is that of tl_hub fsck --digest, here and after an import.\n"
        "A hub where tasks are running is refused, unless with --live.",
    .examples = "  tl_hub export hub.tlhub\n"
                "  tl_hub export --project vision --live - | zstd >vision.tlhub.zst\n"
                "  tl_hub export - | ssh host tl_hub import - --hub mongodb://db.example.org/tl_hub",
    .run = run,
};
