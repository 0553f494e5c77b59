/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/display.h"
#include "cli/output.h"
#include "cli/text.h"
#include "hub/task.h"
#include "distributor/tender.h"

#include <string.h>

static const struct cli_option options[] = {
    {"workers", 'j', CLI_COUNT, "N", "processes that train, each a task at a time (default: one a core)"},
    {"threads", 0, CLI_COUNT, "N", "threads of each (default 1)"},
    {"memory", 0, CLI_TEXT, "SIZE", "what a task may need: 6G (default: what is free here, shared among the workers)"},
    {"until-empty", 0, CLI_FLAG, NULL, "leave when there is nothing left to do, not even for other runners"},
    {"max-tasks", 0, CLI_COUNT, "N", "leave after so many tasks"},
    {"project", 0, CLI_TEXTS, "NAME", "a project to serve; given again, each has its turn"},
    {"queue", 0, CLI_TEXTS, "QUEUE", "tasks of this queue (default: default); may be given again"},
    {"resource-class", 0, CLI_TEXTS, "CLASS", "tasks of this class (default: cpu); may be given again"},
    {"labels", 0, CLI_TEXTS, "LABELS", "what tasks may require of this runner: gpu,bigmem"},
    {"name", 0, CLI_TEXT, "NAME", "only tasks of this name, the newest first"},
    {"lease", 0, CLI_DURATION, "TIME", "how long a silent runner keeps its task (default 90s)"},
    {"device", 0, CLI_TEXT, "DEVICE", "cpu (the default) or ref"},
    {"quiet", 'q', CLI_FLAG, NULL, "no progress"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* NULL-ended lists of what repeated options name, each of which may have commas. */
enum { PROJECTS, QUEUES, CLASSES, LABELS, LISTS };
static const char *const list_options[LISTS] = {"project", "queue", "resource-class", "labels"};

static char **read_list(const struct cli *cli, const char *option)
{
    char **list = bson_malloc0(sizeof *list);
    const char *text;
    size_t count = 0;
    for (size_t i = 0; (text = cli_texts(cli, option, i)) != NULL; i++) {
        for (const char *at = text;; at++) {
            size_t length = strcspn(at, ",");
            list = bson_realloc(list, (count + 2) * sizeof *list);
            list[count++] = bson_strndup(at, length);
            list[count] = NULL;
            at += length;
            if (*at == '\0') {
                break;
            }
        }
    }
    return list;
}

static int take_options(struct cli *cli, struct runner_options *runner)
{
    int64_t workers = cli_integer(cli, "workers", 0), threads = cli_integer(cli, "threads", 0);

    if (workers > 1024 || threads > 1024) {
        return cli_usage(cli, "--workers and --threads: at most 1024");
    }
    if (cli_text(cli, "workers") != NULL && workers == 0) {
        return cli_usage(cli, "--workers 0: at least 1");
    }
    if (cli_text(cli, "threads") != NULL && threads == 0) {
        return cli_usage(cli, "--threads 0: at least 1");
    }
    runner->workers = (int)workers;
    runner->threads = (int)threads;
    runner->until_empty = cli_flag(cli, "until-empty");
    runner->max_tasks = cli_integer(cli, "max-tasks", 0);
    runner->lease_ms = cli_integer(cli, "lease", 0);
    runner->task_name = cli_text(cli, "name");
    runner->device = cli_text(cli, "device");
    const char *memory = cli_text(cli, "memory");
    if (memory != NULL && !text_parse_bytes(memory, &runner->memory)) {
        return cli_usage(cli, "--memory %s: it is no size such as 6G or 800M", memory);
    }
    if (cli_text(cli, "max-tasks") != NULL && runner->max_tasks == 0) {
        return cli_usage(cli, "--max-tasks 0: at least 1");
    }
    if (cli_text(cli, "lease") != NULL &&
        (runner->lease_ms < TASK_LEASE_LEAST_MS || runner->lease_ms > TASK_LEASE_MOST_MS)) {
        return cli_usage(cli, "--lease %s: at least 1s, at most 720h", cli_text(cli, "lease"));
    }
    if (runner->device != NULL && strcmp(runner->device, "cpu") != 0 && strcmp(runner->device, "ref") != 0) {
        return cli_usage(cli, "--device %s: known are cpu and ref", runner->device);
    }
    return CLI_DONE;
}

static int say_summary(struct cli *cli, const struct runner_summary *summary)
{
    bson_t report = BSON_INITIALIZER;
    bson_string_t *line = bson_string_new(NULL);
    const struct {
        const char *name, *words;
        int64_t count;
    } counts[] = {{"done", "done", summary->done},
                  {"failed", "failed", summary->failed},
                  {"crashed", "crashed", summary->crashed},
                  {"parked", "parked at a rung", summary->parked},
                  {"put_aside", "paused or cancelled", summary->put_aside},
                  {"released", "given back", summary->released},
                  {"lost", "lost to others", summary->lost}};
    char seconds[32];
    int64_t all = 0;

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        BSON_APPEND_INT64(&report, counts[i].name, counts[i].count);
        all += counts[i].count;
        if (counts[i].count > 0 || i < 2) {
            bson_string_append_printf(line, "%s%lld %s", i > 0 ? ", " : "", (long long)counts[i].count,
                                      counts[i].words);
        }
    }
    BSON_APPEND_DOUBLE(&report, "seconds", summary->seconds);
    text_format_seconds(summary->seconds, seconds, sizeof seconds);
    int code = output_object(cli, &report, "%s in %s", line->str, seconds);
    bson_string_free(line, true);
    bson_destroy(&report);
    if (code != CLI_DONE) {
        return code;
    }
    if (all == 0 && !summary->told && cli_flag(cli, "until-empty")) {
        return cli_say(CLI_NOTHING, "nothing to do: no unfinished tasks (see: tl_hub find-task)");
    }
    /* A service has done what it should when it leaves as it was told to, whatever its tasks came to. */
    bool batch = cli_flag(cli, "until-empty") || cli_text(cli, "max-tasks") != NULL;
    return batch && summary->failed + summary->crashed > 0 ? CLI_FAILED : CLI_DONE;
}

/* Never freed: a keeper that hangs in a hub is left behind with its thread, and this with it. */
static struct tender *tender;

static int run_with(struct cli *cli, struct runner_options *runner, struct runner_summary *summary)
{
    bson_error_t error;
    int code = cli_settings(cli);
    if (code == CLI_DONE && runner->projects[0] != NULL) {
        bson_free(cli->project);
        cli->project = bson_strdup(runner->projects[0]);
    }
    if (code == CLI_DONE) {
        /* Opened for its clear errors; the runner opens its own. */
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code != CLI_DONE) {
        return code;
    }
    hub_close(cli->hub);
    cli->hub = NULL;
    runner->uri = cli->uri;
    runner->project = cli->project;
    tender = tender != NULL ? tender : tender_new();
    if (tender != NULL) {
        runner->tend = tender_tend;
        runner->tend_data = tender;
    }
    struct display *display = display_new(cli, cli_flag(cli, "quiet"));
    int result = runner_run(runner, display_event, display_tick, display, summary, &error);
    display_free(display);
    if (result < 0) {
        code = cli_fail(&error);
        return hub_error_code(&error) == HUB_ERROR_INVALID ? CLI_USAGE : code;
    }
    return CLI_DONE;
}

static int run(struct cli *cli)
{
    struct runner_options runner = {0};
    struct runner_summary summary = {0};
    char **lists[LISTS];

    for (size_t i = 0; i < LISTS; i++) {
        lists[i] = read_list(cli, list_options[i]);
    }
    runner.projects = (const char *const *)lists[PROJECTS];
    runner.queues = (const char *const *)lists[QUEUES];
    runner.resource_classes = (const char *const *)lists[CLASSES];
    runner.labels = (const char *const *)lists[LABELS];
    int code = take_options(cli, &runner);
    if (code == CLI_DONE) {
        code = run_with(cli, &runner, &summary);
    }
    for (size_t i = 0; i < LISTS; i++) {
        bson_strfreev(lists[i]);
    }
    return code == CLI_DONE ? say_summary(cli, &summary) : code;
}

const struct cli_command cmd_run_task = {
    .verb = "run-task",
    .summary = "Run tasks: claim, train, put back models, logs and results",
    .arguments = "",
    .groups = {options},
    .details =
        "Runs until it is stopped, or as --until-empty and --max-tasks say. SIGTERM and Ctrl-C stop at the next batch\n"
        "and give the tasks back; SIGUSR1 finishes what runs and leaves.\n"
        "--project, --queue and --resource-class may be given again: the runner goes round all their combinations, one\n"
        "task each, so that a long queue does not hold up a short one. Tasks that require labels are done by runners\n"
        "that have them all; tasks that need much memory (a label such as mem6g) by those that give them as much.\n"
        "exit: 0 every task ended well, or it left as it was told to; 1 with --until-empty or --max-tasks: some failed or\n"
        "crashed; 3 --until-empty found nothing to do.",
    .examples = "  tl_hub run-task --workers 2 --until-empty\n  tl_hub run-task --queue night --max-tasks 10 -o json\n"
                "  tl_hub run-task --project physics --project biology --labels gpu,bigmem",
    .run = run,
};
