/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/whole.h"
#include "distributor/submit.h"
#include "hub/fsck.h"

#include <string.h>

static const struct cli_option options[] = {
    {"quick", 0, CLI_FLAG, NULL, "no hashing of blobs, nothing about the engine's own files"},
    {"digest", 0, CLI_FLAG, NULL, "only print the digest over all documents, as export and import do"},
    {"settle", 0, CLI_DURATION, "TIME", "before what looked wrong is looked at again (default 2s)"},
    {"stand", 0, CLI_DURATION, "TIME", "how long an unfinished save or import is watched (default 15s)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static const struct output_column columns[] = {
    {"severity", "severity", OUTPUT_AUTO}, {"check", "check", OUTPUT_AUTO},     {"collection", "collection", OUTPUT_AUTO},
    {"_id", "_id", OUTPUT_AUTO},           {"project", "project", OUTPUT_AUTO}, {"what", "what", OUTPUT_AUTO},
    {"advice", "advice", OUTPUT_AUTO},     {NULL, NULL, OUTPUT_AUTO},
};

struct fsck_display {
    struct cli *cli;
    struct bar bar;
    struct output *output; /* JSON and CSV: from the first finding on */
    int code;
};

static const char *severity_name(enum fsck_severity severity)
{
    return severity == FSCK_ERROR ? "error" : severity == FSCK_WARNING ? "warning" : "note";
}

/* "error blob-missing models/3fa9…: what: advice" */
static void print_line(const struct fsck_display *display, const struct fsck_finding *finding)
{
    static const char *const colors[] = {"31", "33", "2"};
    bson_string_t *line = bson_string_new(NULL);
    char *where = bson_strdup_printf("%s%s%s", *finding->collection != '\0' ? finding->collection : "engine",
                                     *finding->id != '\0' ? "/" : "", finding->id);

    text_append_escaped(line, where, strlen(where));
    bson_string_append(line, ": ");
    text_append_escaped(line, finding->what, strlen(finding->what));
    bson_string_append(line, ": ");
    text_append_escaped(line, finding->advice, strlen(finding->advice));
    if (display->cli->color) {
        printf("\x1b[%sm%s\x1b[0m %s %s\n", colors[finding->severity], severity_name(finding->severity), finding->check,
               line->str);
    } else {
        printf("%s %s %s\n", severity_name(finding->severity), finding->check, line->str);
    }
    bson_string_free(line, true);
    bson_free(where);
}

static void print_row(struct fsck_display *display, const struct fsck_finding *finding)
{
    bson_t row = BSON_INITIALIZER;

    if (display->output == NULL) {
        display->output = output_open(display->cli, columns, "finding");
    }
    if (display->output != NULL) {
        BSON_APPEND_UTF8(&row, "severity", severity_name(finding->severity));
        BSON_APPEND_UTF8(&row, "check", finding->check);
        BSON_APPEND_UTF8(&row, "collection", finding->collection);
        BSON_APPEND_UTF8(&row, "_id", finding->id);
        BSON_APPEND_UTF8(&row, "project", finding->project);
        BSON_APPEND_UTF8(&row, "what", finding->what);
        BSON_APPEND_UTF8(&row, "advice", finding->advice);
        output_row(display->output, &row);
    } else {
        display->code = CLI_FAILED;
    }
    bson_destroy(&row);
}

static void show(void *data, const struct fsck_finding *finding)
{
    struct fsck_display *display = data;

    bar_end(&display->bar);
    if (display->cli->format == CLI_TABLE) {
        print_line(display, finding);
    } else {
        print_row(display, finding);
    }
}

static void draw(void *data, const struct fsck_progress *progress)
{
    struct fsck_display *display = data;
    char text[100];

    if (display->bar.on) {
        snprintf(text, sizeof text, "%s %lld", progress->collection, (long long)progress->done);
        bar_draw(&display->bar, text, progress->total > 0 ? (double)progress->done / (double)progress->total : 0);
    }
}

static char *canonical(const char *text)
{
    char *json = NULL;

    return submit_architecture(text, &json, NULL) < 0 ? NULL : json;
}

static int close_output(struct fsck_display *display)
{
    if (display->output != NULL) {
        return output_close(display->output);
    }
    if (display->cli->format == CLI_JSON) {
        puts("[]");
    }
    return output_flush();
}

static int check(struct cli *cli)
{
    struct fsck_display display = {.cli = cli, .code = CLI_DONE};
    struct fsck_options fsck = {
        .project = cli_text(cli, "project"),
        .quick = cli_flag(cli, "quick"),
        .settle_ms = cli_integer(cli, "settle", 0),
        .stand_ms = cli_integer(cli, "stand", 0),
        .architecture_json = canonical,
        .found = show,
        .progress = draw,
        .data = &display,
    };
    struct fsck_report report;
    bson_error_t error;
    char size[32], documents[64], blobs[64], errors[64], warnings[64], notes[64];

    bar_init(&display.bar, cli);
    int result = fsck_run(cli->hub, &fsck, &report, &error);
    bar_end(&display.bar);
    int code = close_output(&display);
    if (result < 0) {
        return cli_fail(&error);
    }
    code = display.code != CLI_DONE ? display.code : code;
    text_format_bytes(report.bytes, size, sizeof size);
    cli_note("%s and %s looked at (%s hashed): %s, %s, %s",
             cli_plural(documents, sizeof documents, report.documents, "document"),
             cli_plural(blobs, sizeof blobs, report.blobs, "blob"), size,
             cli_plural(errors, sizeof errors, report.errors, "error"),
             cli_plural(warnings, sizeof warnings, report.warnings, "warning"),
             cli_plural(notes, sizeof notes, report.notes, "note"));
    return code == CLI_DONE && report.errors + report.warnings > 0 ? CLI_FAILED : code;
}

static int print_digest(struct cli *cli)
{
    struct archive_summary summary;
    bson_error_t error;
    bson_t report = BSON_INITIALIZER;
    int code;

    if (archive_digest(cli->hub, cli_text(cli, "project"), &summary, &error) < 0) {
        code = cli_fail(&error);
    } else {
        whole_append_summary(&report, &summary);
        code = output_object(cli, &report, "%s", summary.digest);
    }
    bson_destroy(&report);
    return code;
}

static int run(struct cli *cli)
{
    int code = whole_open(cli, HUB_OPEN_EXISTING, true);

    if (code != CLI_DONE) {
        return code;
    }
    return cli_flag(cli, "digest") ? print_digest(cli) : check(cli);
}

const struct cli_command cmd_fsck = {
    .verb = "fsck",
    .summary = "Look for broken links, orphans, bad digests and damage; changes nothing",
    .arguments = "",
    .groups = {options},
    .details =
        "Goes through the whole hub, or one project with --project, and says a line for each thing that does not fit:\n"
        "severity, kind, collection and _id, what, and what to do. It may run beside runners, saves and gc: what looks\n"
        "wrong is read again after a moment, and only what stays is said. docs/backup.md lists the kinds.\n\n"
        "exit: 0 nothing found (notes do not count), 1 errors or warnings",
    .examples = "  tl_hub fsck\n  tl_hub fsck --quick --project vision -o json\n  tl_hub fsck --digest",
    .run = run,
};
