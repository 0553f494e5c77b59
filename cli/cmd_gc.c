/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "hub/gc.h"
#include "hub/task.h"

static const struct cli_option options[] = {
    {"dry-run", 0, CLI_FLAG, NULL, "only say what would go"},
    {"lease", 0, CLI_DURATION, "TIME",
     "how long an unfinished save is watched before it counts as left behind (default 90s)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* A save that no claim protects is watched for a whole lease: said before, for nothing moves meanwhile. */
static int say_waiting(struct cli *cli, int64_t lease_ms)
{
    bson_t filter = BSON_INITIALIZER;
    bson_error_t error;
    char saves[64], time[32];

    BSON_APPEND_NULL(&filter, "claim");
    int64_t count = store_count(hub_store(cli->hub), "uploads", &filter, &error);
    bson_destroy(&filter);
    if (count < 0) {
        return cli_fail(&error);
    }
    if (count > 0) {
        text_format_seconds((double)lease_ms / 1000, time, sizeof time);
        cli_note("%s: watching for %s whether anybody still works on %s (--lease)",
                 cli_plural(saves, sizeof saves, count, "unfinished save"), time, count == 1 ? "it" : "them");
    }
    return CLI_DONE;
}

static int run(struct cli *cli)
{
    struct gc_report report;
    bson_t document = BSON_INITIALIZER;
    bson_error_t error;
    char size[32], blobs[64];
    bool dry = cli_flag(cli, "dry-run");

    int code = cli_open(cli, HUB_OPEN_EXISTING);
    if (code != CLI_DONE) {
        goto out;
    }
    code = say_waiting(cli, cli_integer(cli, "lease", TASK_LEASE_MS));
    if (code != CLI_DONE) {
        goto out;
    }
    if (gc_run(cli->hub, cli_integer(cli, "lease", TASK_LEASE_MS), dry, &report, &error) < 0) {
        code = cli_fail(&error);
        goto out;
    }
    BSON_APPEND_BOOL(&document, "dry_run", dry);
    BSON_APPEND_INT64(&document, "blobs_deleted", report.blobs_deleted);
    BSON_APPEND_INT64(&document, "chunks_deleted", report.chunks_deleted);
    BSON_APPEND_INT64(&document, "bytes_freed", report.bytes_freed);
    BSON_APPEND_INT64(&document, "uploads_removed", report.uploads_removed);
    BSON_APPEND_INT64(&document, "tombstones_removed", report.tombstones_removed);
    BSON_APPEND_INT64(&document, "logs_deleted", report.logs_deleted);
    BSON_APPEND_INT64(&document, "blobs_kept", report.blobs_kept);
    text_format_bytes(report.bytes_freed, size, sizeof size);
    code = output_object(cli, &document, "%s %s (%s); %lld kept", dry ? "would delete" : "deleted",
                         cli_plural(blobs, sizeof blobs, report.blobs_deleted, "blob"), size,
                         (long long)report.blobs_kept);
out:
    bson_destroy(&document);
    return code;
}

const struct cli_command cmd_gc = {
    .verb = "gc",
    .summary = "Delete data and weights that nothing points to any more",
    .arguments = "",
    .groups = {options},
    .details =
        "Works on every project of the hub, beside runners and saves that go on. Where a save was left unfinished it\n"
        "watches for a lease first.",
    .examples = "  tl_hub gc --dry-run\n  tl_hub gc",
    .run = run,
};
