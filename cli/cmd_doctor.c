/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "hub/task.h"
#include "runner/runner.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define LITTLE_DISK 1000000000LL /* bytes below which it is worth a warning */
#define MUCH_TIME 60000          /* ms between two clocks */

/* What is wrong, gathered while the report is written. */
struct doctor {
    bson_t report, warnings;
    uint32_t warning_count;
    bool failed;
};

static void warn(struct doctor *doctor, const char *text)
{
    char digits[16];
    const char *key;
    bson_uint32_to_string(doctor->warning_count++, &key, digits, sizeof digits);
    BSON_APPEND_UTF8(&doctor->warnings, key, text);
}

/* A claim must read one task by its index, however many wait. */
static void append_claim(struct cli *cli, struct doctor *doctor, bson_t *hub)
{
    bson_t plan;
    bson_error_t error;
    int told = task_explain_claim(cli->hub, NULL, &plan, &error);
    const char *index = output_text(&plan, "index");

    if (told > 0) {
        BSON_APPEND_DOCUMENT(hub, "claim", &plan);
        if (index == NULL || strcmp(index, "claim") != 0 || output_integer(&plan, "documents_examined", 0) > 100) {
            warn(doctor, "claims do not use their index: run tl_hub init on this hub to make it anew");
        }
    } else if (told < 0) {
        warn(doctor, error.message);
    }
    bson_destroy(&plan);
}

/* Only delays go by the hub's clock; a large difference is worth knowing all the same. */
static void append_clock(struct cli *cli, struct doctor *doctor, bson_t *hub)
{
    struct timespec before, after;
    bson_error_t error;
    int64_t theirs;

    clock_gettime(CLOCK_REALTIME, &before);
    if (store_server_time(hub_store(cli->hub), &theirs, &error) < 0) {
        warn(doctor, error.message);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &after);
    int64_t ours = (before.tv_sec + after.tv_sec) * 500 + (before.tv_nsec + after.tv_nsec) / 2000000;
    int64_t ahead = theirs - ours;
    BSON_APPEND_INT64(hub, "clock_ahead_ms", ahead);
    if (ahead > MUCH_TIME || ahead < -MUCH_TIME) {
        warn(doctor, "the hub's clock and this machine's differ by more than a minute: delays and the times shown are off; "
                     "nothing else goes by them");
    }
}

static void append_hub(struct cli *cli, struct doctor *doctor)
{
    bson_t hub = BSON_INITIALIZER, engine;
    bson_error_t error;
    char *redacted = store_redact_uri(cli->uri);

    BSON_APPEND_UTF8(&hub, "uri", redacted);
    bson_free(redacted);
    cli->hub = hub_open(cli->uri, cli->project, HUB_OPEN_EXISTING, &error);
    if (cli->hub == NULL) {
        BSON_APPEND_UTF8(&hub, "error", error.message);
        doctor->failed = true;
    } else {
        BSON_APPEND_UTF8(&hub, "hub_id", hub_id(cli->hub));
        BSON_APPEND_UTF8(&hub, "project", hub_project(cli->hub));
        BSON_APPEND_INT32(&hub, "schema_version", HUB_SCHEMA_VERSION);
        BSON_APPEND_INT32(&hub, "lanes", hub_lanes(cli->hub));
        if (store_describe(hub_store(cli->hub), &engine, &error) < 0) {
            BSON_APPEND_UTF8(&hub, "error", error.message);
            doctor->failed = true;
        } else {
            const char *warning = output_text(&engine, "warning");
            if (warning != NULL) {
                warn(doctor, warning);
            }
            bson_concat(&hub, &engine);
            append_clock(cli, doctor, &hub);
            append_claim(cli, doctor, &hub);
        }
        bson_destroy(&engine);
    }
    int64_t space = output_integer(&hub, "free_disk_bytes", -1);
    if (space >= 0 && space < LITTLE_DISK) {
        warn(doctor, "less than 1 GB of disk is free where the hub is");
    }
    BSON_APPEND_DOCUMENT(&doctor->report, "hub", &hub);
    bson_destroy(&hub);
}

static void append_machine(struct doctor *doctor)
{
    bson_t machine;
    bson_error_t error;
    struct statvfs space;
    const char *folder = getenv("XDG_RUNTIME_DIR");

    if (runner_describe_devices(&machine, &error) < 0) {
        warn(doctor, error.message);
    }
    BSON_APPEND_DOCUMENT(&doctor->report, "machine", &machine);
    bson_destroy(&machine);
    folder = folder != NULL && *folder == '/' && access(folder, W_OK) == 0 ? folder : "/tmp";
    BSON_APPEND_UTF8(&doctor->report, "runtime_folder", folder);
    if (access(folder, W_OK) != 0) {
        warn(doctor, "no folder for runners' files: neither XDG_RUNTIME_DIR nor /tmp can be written");
    } else if (statvfs(folder, &space) == 0) {
        BSON_APPEND_INT64(&doctor->report, "runtime_free_bytes", (int64_t)(space.f_bavail * space.f_frsize));
    }
}

/* "hub.journal_mode: persist", a line a value; objects inside go deeper. */
static void print_lines(const char *prefix, bson_iter_t *iter, bool color)
{
    while (bson_iter_next(iter)) {
        bson_iter_t inner;
        const char *key = bson_iter_key(iter);
        char *path = *prefix != '\0' ? bson_strdup_printf("%s.%s", prefix, key) : bson_strdup(key);
        bool deeper = BSON_ITER_HOLDS_DOCUMENT(iter) || BSON_ITER_HOLDS_ARRAY(iter);
        size_t length = strlen(key);
        if (deeper && bson_iter_recurse(iter, &inner)) {
            print_lines(path, &inner, color);
        } else {
            bson_string_t *line = bson_string_new(NULL);
            text_append_escaped(line, path, strlen(path));
            bson_string_append(line, ": ");
            if (BSON_ITER_HOLDS_INT(iter) && length > 6 && strcmp(key + length - 6, "_bytes") == 0) {
                char size[32];
                text_format_bytes(bson_iter_as_int64(iter), size, sizeof size);
                bson_string_append(line, size);
            } else if (BSON_ITER_HOLDS_UTF8(iter)) {
                const char *text = bson_iter_utf8(iter, NULL);
                text_append_escaped(line, text, strlen(text));
            } else if (BSON_ITER_HOLDS_BOOL(iter)) {
                bson_string_append(line, bson_iter_bool(iter) ? "yes" : "no");
            } else if (BSON_ITER_HOLDS_INT(iter)) {
                bson_string_append_printf(line, "%lld", (long long)bson_iter_as_int64(iter));
            } else if (BSON_ITER_HOLDS_DOUBLE(iter)) {
                bson_string_append_printf(line, "%.6g", bson_iter_double(iter));
            }
            bool bad = strcmp(key, "error") == 0 || strncmp(path, "warnings", 8) == 0;
            printf(bad && color ? "\x1b[31m%s\x1b[0m\n" : "%s\n", line->str);
            bson_string_free(line, true);
        }
        bson_free(path);
    }
}

static int run(struct cli *cli)
{
    struct doctor doctor = {.warning_count = 0};
    bson_iter_t iter;

    int code = cli_settings(cli);
    if (code != CLI_DONE) {
        return code;
    }
    bson_init(&doctor.report);
    bson_init(&doctor.warnings);
    BSON_APPEND_UTF8(&doctor.report, "version", TL_HUB_VERSION);
    append_hub(cli, &doctor);
    append_machine(&doctor);
    BSON_APPEND_ARRAY(&doctor.report, "warnings", &doctor.warnings);
    if (cli->format != CLI_TABLE) {
        code = output_object(cli, &doctor.report, "%s", "");
    } else {
        if (bson_iter_init(&iter, &doctor.report)) {
            print_lines("", &iter, cli->color);
        }
        code = output_flush();
    }
    if (code == CLI_DONE && doctor.failed) {
        code = cli_say(CLI_FAILED, "the hub is not well: see hub.error");
    }
    bson_destroy(&doctor.report);
    bson_destroy(&doctor.warnings);
    return code;
}

const struct cli_command cmd_doctor = {
    .verb = "doctor",
    .summary = "Say how hub and machine are set up, what was chosen and why, and what is wrong",
    .arguments = "",
    .details = "exit: 0, or 1 when the hub cannot be used. What is no more than worth knowing stands under warnings.",
    .examples = "  tl_hub doctor\n  tl_hub doctor --hub mongodb://db.example.org/tl_hub -o json",
    .run = run,
};
