/* SPDX-License-Identifier: Apache-2.0 */
/* ask and tell: a sweep whose points another program tries. */
#include "cli/ask_stdio.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/where.h"
#include "distributor/sweep_search.h"
#include "hub/sweep_record.h"
#include "hub/task.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option ask_options[] = {
    {"count", 'n', CLI_COUNT, "N", "at most so many points (default 1)"},
    {"columns", 'c', CLI_TEXT, "PATHS", "what to show, such as point_number,point.width"},
    {"stdio", 0, CLI_FLAG, NULL, "ask and tell by lines of JSON on standard input, answered on standard output"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static const struct cli_option tell_options[] = {
    {"epoch", 0, CLI_COUNT, "N", "so far it was trained, to its next rung: the answer says whether it goes on"},
    {"failed", 0, CLI_TEXT, "REASON", "the point came to nothing"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static const struct output_column ask_columns[] = {
    {"point", "point_number", OUTPUT_AUTO},
    {"task", "seq", OUTPUT_AUTO},
    {"seed", "hyper_parameters.seed", OUTPUT_AUTO},
    {"parameters", "point", OUTPUT_PARAMETERS},
    {NULL, NULL, OUTPUT_AUTO},
};

/* With rungs: how far it is to be trained now. */
static const struct output_column ask_rung_columns[] = {
    {"point", "point_number", OUTPUT_AUTO},
    {"task", "seq", OUTPUT_AUTO},
    {"until", "until", OUTPUT_AUTO},
    {"seed", "hyper_parameters.seed", OUTPUT_AUTO},
    {"parameters", "point", OUTPUT_PARAMETERS},
    {NULL, NULL, OUTPUT_AUTO},
};

static void show(struct output *output, bson_t *task)
{
    int64_t until = task_outside_until(task);
    if (until > 0) {
        BSON_APPEND_INT64(task, "until", until);
    }
    output_row(output, task);
}

static bool has_rungs(const bson_t *record)
{
    const char *type = output_text(record, "specification.early_terminate.type");
    return type != NULL && strcmp(type, "asha") == 0;
}

static int find_sweep(struct cli *cli, bson_t *record)
{
    bson_error_t error;
    int found = sweep_record_resolve(cli->hub, cli->arguments[0], record, &error);
    if (found < 0) {
        return cli_fail(&error);
    }
    return found > 0 ? CLI_DONE : cli_say(CLI_NOTHING, "no sweep %s (see: tl_hub create-task --sweep)", cli->arguments[0]);
}

/* Of a search that learns: more points, where the results allow it. */
static int go_on(struct cli *cli, const bson_t *record, int64_t *made)
{
    bson_error_t error;
    *made = 0;
    if (output_text(record, "file") == NULL) {
        return CLI_DONE;
    }
    struct sweep_search *search = sweep_search_open(cli->hub, output_text(record, "_id"), &error);
    *made = search != NULL ? sweep_search_step(search, cli->hub, 0, &error) : -1;
    sweep_search_close(search);
    return *made < 0 ? cli_fail(&error) : CLI_DONE;
}

static int say_none(struct cli *cli)
{
    bson_t record;
    int code = find_sweep(cli, &record);
    const char *reason = code == CLI_DONE ? output_text(&record, "reason") : NULL;
    if (code == CLI_DONE) {
        code = reason != NULL ? cli_say(CLI_NOTHING, "no further point: %s", reason)
                              : cli_say(CLI_NOTHING, "no point now: tell what those under way have come to (find-task --where "
                                                     "'state=paused')");
    }
    bson_destroy(&record);
    return code;
}

static int ask(struct cli *cli)
{
    bson_t record = BSON_INITIALIZER, task;
    bson_error_t error;
    int64_t count = cli_integer(cli, "count", 1), given = 0, made = 1;
    int found = 1;
    struct output *output = NULL;

    int code = cli_open(cli, HUB_OPEN_EXISTING);
    if (code == CLI_DONE) {
        bson_destroy(&record);
        code = find_sweep(cli, &record);
    }
    if (code == CLI_DONE && cli_flag(cli, "stdio")) {
        code = ask_stdio(cli, &record);
        bson_destroy(&record);
        return code;
    }
    if (code == CLI_DONE && (output = output_open(cli, has_rungs(&record) ? ask_rung_columns : ask_columns, "point")) == NULL) {
        code = CLI_USAGE;
    }
    while (code == CLI_DONE && given < count && made > 0) {
        found = task_hand_out(cli->hub, output_text(&record, "_id"), &task, &error);
        if (found > 0) {
            show(output, &task);
            given++;
        } else if (found == 0) {
            code = go_on(cli, &record, &made);
        } else {
            code = cli_fail(&error);
        }
        bson_destroy(&task);
    }
    if (code == CLI_DONE && given > 0) {
        code = output_close(output);
    } else {
        output_abandon(output);
        code = code == CLI_DONE ? say_none(cli) : code;
    }
    bson_destroy(&record);
    return code;
}

static int read_metrics(struct cli *cli, bson_t *metrics)
{
    bson_error_t error;
    bson_iter_t at;
    for (size_t i = 2; i < cli->argument_count; i++) {
        if (where_parse_setting(cli->arguments[i], metrics, &error) < 0) {
            return cli_usage(cli, "%s", error.message);
        }
    }
    for (bool more = bson_iter_init(&at, metrics) && bson_iter_next(&at); more; more = bson_iter_next(&at)) {
        if (!BSON_ITER_HOLDS_NUMBER(&at)) {
            return cli_usage(cli, "%s: a metric is a number", bson_iter_key(&at));
        }
    }
    if (bson_empty(metrics) == (cli_text(cli, "failed") == NULL)) {
        return cli_usage(cli, "either METRIC=VALUE or --failed REASON says what the point came to");
    }
    return CLI_DONE;
}

/* One told of without the metric that decides would count for nothing. */
static int check_metric(struct cli *cli, const bson_t *record, const bson_t *metrics)
{
    const char *name = output_text(record, "metric.name");
    if (name == NULL || cli_text(cli, "failed") != NULL || bson_has_field(metrics, name)) {
        return CLI_DONE;
    }
    return cli_usage(cli, "the sweep's metric is %s: give %s=VALUE", name, name);
}

static int answer(struct cli *cli, int64_t point, const bson_t *told)
{
    bson_t out = BSON_INITIALIZER;
    bson_error_t error;
    BSON_APPEND_INT64(&out, "point_number", point);
    int code = ask_append_verdict(cli->hub, told, &out, &error) < 0 ? cli_fail(&error) : CLI_DONE;
    if (code == CLI_DONE) {
        code = output_object(cli, &out, "point %lld: %s", (long long)point, output_text(&out, "verdict"));
    }
    bson_destroy(&out);
    return code;
}

/* At a rung, or in the end. As task_tell. */
static int tell_hub(struct cli *cli, const bson_t *record, int64_t point, const bson_t *metrics, bson_t *task, bson_error_t *error)
{
    const char *sweep = output_text(record, "_id"), *metric = output_text(record, "metric.name");
    int64_t epoch = cli_integer(cli, "epoch", 0);
    return epoch > 0 ? task_tell_rung(cli->hub, sweep, point, epoch, metric != NULL ? metric : "loss", metrics, task, error)
                     : task_tell(cli->hub, sweep, point, metrics, cli_text(cli, "failed"), task, error);
}

static int tell(struct cli *cli)
{
    bson_t record = BSON_INITIALIZER, metrics = BSON_INITIALIZER, task = BSON_INITIALIZER;
    bson_error_t error;
    char *end;
    int64_t made, point = strtoll(cli->arguments[1], &end, 10);

    if (*end != '\0' || end == cli->arguments[1] || point < 0) {
        return cli_usage(cli, "POINT is the number that ask gave, not '%s'", cli->arguments[1]);
    }
    int code = read_metrics(cli, &metrics);
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_EXISTING);
    }
    if (code == CLI_DONE) {
        bson_destroy(&record);
        code = find_sweep(cli, &record);
    }
    if (code == CLI_DONE) {
        code = check_metric(cli, &record, &metrics);
    }
    if (code == CLI_DONE) {
        bson_destroy(&task);
        int told = tell_hub(cli, &record, point, &metrics, &task, &error);
        code = told > 0   ? CLI_DONE
               : told < 0 ? cli_fail(&error)
                          : cli_say(CLI_CONFLICT, "point %lld of %s is not under way: it was told already, or never asked for",
                                    (long long)point, cli->arguments[0]);
    }
    if (code == CLI_DONE) {
        code = go_on(cli, &record, &made);
    }
    if (code == CLI_DONE && cli_integer(cli, "epoch", 0) > 0) {
        code = answer(cli, point, &task);
    } else if (code == CLI_DONE) {
        code = output_object(cli, &task, "point %lld: %s", (long long)point, output_text(&task, "state"));
    }
    bson_destroy(&record);
    bson_destroy(&metrics);
    bson_destroy(&task);
    return code;
}

const struct cli_command cmd_ask = {
    .verb = "ask",
    .summary = "Ask a sweep of kind outside for points that another program tries",
    .arguments = "SWEEP",
    .least = 1,
    .most = 1,
    .groups = {ask_options},
    .details = "SWEEP is a name or an id. Each point is given once: who comes next is given another. resume-task lets a point be\n"
               "given again whose program was lost.\n"
               "With --stdio the search stays open, which is faster: {\"ask\": 2} is answered by {\"points\": [{\"point_number\": 0,\n"
               "\"point\": {…}}, …], \"open\": true}, {\"tell\": 0, \"metrics\": {\"loss\": 0.25}} (or \"failed\": \"why\") by {\"told\": 0}; a line may\n"
               "have both. Fewer points than asked for: no more now, and with \"open\": false no more at all. Else {\"error\": \"…\", \"exit\": n}.\n"
               "exit: 3 there is no point now, or none any more.",
    .examples = "  tl_hub ask ackley --count 4 -o json\n  tl_hub tell ackley 3 loss=0.25\n  echo '{\"ask\": 1}' | tl_hub ask ackley --stdio",
    .run = ask,
};

const struct cli_command cmd_tell = {
    .verb = "tell",
    .summary = "Tell a sweep of kind outside what a point came to",
    .arguments = "SWEEP POINT [METRIC=VALUE]…",
    .least = 2,
    .most = CLI_ANY_NUMBER,
    .groups = {tell_options},
    .details = "POINT is the point_number that ask gave. With rungs (early_terminate of type asha) ask says how far it is to be\n"
               "trained (until), and --epoch that it has come there; the answer's verdict is promote (go on at once), pause (keep\n"
               "its checkpoint: ask may give it again) or stop.\nexit: 6 the point is not under way.",
    .examples = "  tl_hub tell ackley 3 loss=0.25 accuracy=0.9\n  tl_hub tell digits 3 --epoch 9 loss=0.4 -o json\n"
                "  tl_hub tell ackley 4 --failed 'out of memory'",
    .run = tell,
};
