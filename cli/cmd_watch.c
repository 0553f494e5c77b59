/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/snapshot.h"
#include "cli/text.h"
#include "hub/runner_record.h"

#include <math.h>
#include <string.h>

#define LEAST_INTERVAL_MS 100
#define RUNNERS_SHOWN     6

static const struct cli_option options[] = {
    {"interval", 'n', CLI_DURATION, "TIME", "between two pictures (default 2s)"},
    {"count", 0, CLI_COUNT, "N", "leave after so many pictures"},
    {"once", 0, CLI_FLAG, NULL, "one picture"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* A runner's beat as it was seen, by our own clock: no clock of another machine says that a runner is silent. */
struct sighting {
    char *id;
    int64_t beat, since; /* bar_clock of the first look that showed it */
};

struct watch {
    struct cli *cli;
    struct screen *screen; /* NULL: lines */
    bson_t picture;        /* the last one */
    bool has_picture;
    char *trouble; /* why there is no newer one, or NULL */
    struct sighting *sightings;
    size_t count;
};

/* ---- lists in the picture ---- */

static uint32_t length_of(const bson_t *picture, const char *path)
{
    bson_iter_t at, iter;
    uint32_t count = 0;
    if (output_find(picture, path, &at) && bson_iter_recurse(&at, &iter)) {
        while (bson_iter_next(&iter)) {
            count++;
        }
    }
    return count;
}

/* Up to `most` lines, and one that says how many more there are. */
static void append_list(struct watch *watch, bson_string_t *out, const char *path, uint32_t most, int columns,
                        void (*append)(struct watch *watch, bson_string_t *out, const bson_t *document, int columns))
{
    bson_iter_t at, iter;
    uint32_t count = length_of(&watch->picture, path), shown = 0;
    if (!output_find(&watch->picture, path, &at) || !bson_iter_recurse(&at, &iter)) {
        return;
    }
    while (shown < most && bson_iter_next(&iter)) {
        bson_t document;
        if (output_document(&iter, &document)) {
            append(watch, out, &document, columns);
        }
        shown++;
    }
    if (count > shown) {
        bson_string_append_printf(out, "  and %u more\n", count - shown);
    }
}

static void append_escaped(bson_string_t *out, const char *text, size_t most)
{
    bson_string_t *escaped = bson_string_new(NULL);
    text_append_escaped(escaped, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
    text_cut(escaped, most);
    bson_string_append(out, escaped->str);
    bson_string_free(escaped, true);
}

static void append_colored(const struct watch *watch, bson_string_t *out, const char *color, const char *text)
{
    bool colored = watch->cli->color && watch->screen != NULL;
    bson_string_append_printf(out, "%s%s%s", colored ? color : "", text, colored ? "\x1b[0m" : "");
}

/* ---- lines ---- */

static void append_fraction(bson_string_t *out, const char *label, double value)
{
    if (isfinite(value)) {
        bson_string_append_printf(out, "  %s %.4f", label, value);
    }
}

static void append_running(struct watch *watch, bson_string_t *out, const bson_t *task, int columns)
{
    double epoch = output_number(task, "progress.epoch"), epochs = output_number(task, "progress.epochs");
    double fraction = output_number(task, "progress.fraction"), left = output_number(task, "progress.seconds_left");
    char number[32];
    (void)watch;
    snprintf(number, sizeof number, "#%lld", (long long)output_integer(task, "seq", 0));
    bson_string_append_printf(out, "  %-7s ", number);
    append_escaped(out, output_text(task, "name"), columns < 100 ? 20 : 32);
    if (isfinite(epoch) && isfinite(epochs) && epochs > 0) {
        double done = (epoch + (isfinite(fraction) ? fraction : 0)) / epochs;
        bson_string_append(out, "  ");
        bar_append(out, done < 0 ? 0 : done > 1 ? 1 : done, columns < 100 ? 10 : 20);
        bson_string_append_printf(out, " %lld/%lld", (long long)epoch, (long long)epochs);
    } else {
        bson_string_append(out, "  begins");
    }
    append_fraction(out, "loss", output_number(task, "progress.loss"));
    append_fraction(out, "accuracy", output_number(task, "progress.validation_accuracy|progress.accuracy"));
    if (isfinite(left) && left >= 0) {
        char time[32];
        text_format_seconds(left, time, sizeof time);
        bson_string_append_printf(out, "  %s left", time);
    }
    bson_string_append(out, "\n");
}

static void append_failure(struct watch *watch, bson_string_t *out, const bson_t *task, int columns)
{
    bson_string_t *line = bson_string_new(NULL);
    const char *state = output_text(task, "state");
    bson_string_append_printf(line, "  #%lld ", (long long)output_integer(task, "seq", 0));
    append_escaped(line, output_text(task, "name"), 24);
    bson_string_append_printf(line, " %s: ", state != NULL && strcmp(state, "dead") == 0 ? "dead" : "failed");
    append_escaped(line, output_text(task, "error.message"), 400);
    text_cut(line, (size_t)(columns > 20 ? columns : 20));
    append_colored(watch, out, "\x1b[31m", line->str);
    bson_string_append(out, "\n");
    bson_string_free(line, true);
}

static const struct sighting *sighting_of(const struct watch *watch, const char *id)
{
    for (size_t i = 0; id != NULL && i < watch->count; i++) {
        if (strcmp(watch->sightings[i].id, id) == 0) {
            return &watch->sightings[i];
        }
    }
    return NULL;
}

/* By our own clock where we have watched for long enough; else, for information, by the server's. */
static bool is_silent(const struct watch *watch, const bson_t *runner)
{
    const struct sighting *sighting = sighting_of(watch, output_text(runner, "_id"));
    bson_iter_t silent;
    bool by_server = output_find(runner, "silent", &silent) && bson_iter_as_bool(&silent);
    return by_server || (sighting != NULL && bar_clock() - sighting->since > RUNNER_RECORD_SILENT_MS);
}

static void append_runner(struct watch *watch, bson_string_t *out, const bson_t *runner, int columns)
{
    char text[160];
    (void)columns;
    bson_string_append(out, "  ");
    append_escaped(out, output_text(runner, "host"), 24);
    snprintf(text, sizeof text, "  %lld workers, %u running, %lld done, %lld failed",
             (long long)output_integer(runner, "workers", 0), length_of(runner, "tasks"),
             (long long)output_integer(runner, "tasks_done", 0), (long long)output_integer(runner, "tasks_failed", 0));
    bson_string_append(out, text);
    if (is_silent(watch, runner)) {
        append_colored(watch, out, "\x1b[33m", "  silent");
    }
    bson_string_append(out, "\n");
}

static void append_unserved(struct watch *watch, bson_string_t *out, const bson_t *group, int columns)
{
    bson_string_t *line = bson_string_new("  no living runner takes ");
    bson_string_append_printf(line, "%lld ready in queue ", (long long)output_integer(group, "ready", 0));
    append_escaped(line, output_text(group, "queue"), 64);
    bson_string_append(line, " that need ");
    append_escaped(line, output_text(group, "resource_class"), 200);
    text_cut(line, (size_t)(columns > 20 ? columns : 20));
    append_colored(watch, out, "\x1b[33m", line->str);
    bson_string_append(out, "\n");
    bson_string_free(line, true);
}

/* ---- pictures ---- */

static void append_states(const struct watch *watch, bson_string_t *out)
{
    static const char *const colors[][2] = {{"running", "\x1b[36m"}, {"done", "\x1b[32m"}, {"failed", "\x1b[31m"},
                                            {"dead", "\x1b[31m"}};
    bson_iter_t tasks, iter;
    bool any = false;
    if (output_find(&watch->picture, "tasks", &tasks) && bson_iter_recurse(&tasks, &iter)) {
        while (bson_iter_next(&iter)) {
            char text[64];
            const char *color = "";
            if (bson_iter_as_int64(&iter) == 0) {
                continue;
            }
            for (size_t i = 0; i < sizeof colors / sizeof *colors; i++) {
                color = strcmp(bson_iter_key(&iter), colors[i][0]) == 0 ? colors[i][1] : color;
            }
            snprintf(text, sizeof text, "%s%lld %s", any ? ", " : "", (long long)bson_iter_as_int64(&iter),
                     bson_iter_key(&iter));
            append_colored(watch, out, color, text);
            any = true;
        }
    }
    bson_string_append(out, any ? "" : "none");
}

static void append_rate(const struct watch *watch, bson_string_t *out)
{
    double tasks = output_number(&watch->picture, "tasks_per_hour"),
           models = output_number(&watch->picture, "models_per_hour"),
           left = output_number(&watch->picture, "seconds_left");
    bson_string_append_printf(out, "%.0f tasks/h, %.0f nets/h", isfinite(tasks) ? tasks : 0,
                              isfinite(models) ? models : 0);
    if (isfinite(left)) {
        char time[32];
        text_format_seconds(left, time, sizeof time);
        bson_string_append_printf(out, ", about %s left", time);
    }
}

static void append_head(const struct watch *watch, bson_string_t *out)
{
    const char *uri = store_uri_redacted(hub_store(watch->cli->hub));
    char date[TEXT_DATE_BYTES];
    bson_iter_t at;
    append_escaped(out, uri, 80);
    bson_string_append(out, "  project ");
    append_escaped(out, hub_project(watch->cli->hub), 64);
    if (output_find(&watch->picture, "at", &at) && BSON_ITER_HOLDS_DATE_TIME(&at)) {
        text_format_date(bson_iter_date_time(&at), date);
        bson_string_append_printf(out, "  %.19sZ", date);
    }
    bson_string_append(out, "\n");
}

static void draw(struct watch *watch)
{
    int rows, columns;
    bson_string_t *out = bson_string_new(NULL);
    screen_size(&rows, &columns);
    append_head(watch, out);
    if (watch->trouble != NULL) {
        bson_string_t *line = bson_string_new("the hub does not answer; trying again: ");
        append_escaped(line, watch->trouble, 400);
        text_cut(line, (size_t)columns);
        append_colored(watch, out, "\x1b[33m", line->str);
        bson_string_append(out, "\n");
        bson_string_free(line, true);
    }
    if (watch->has_picture) {
        uint32_t failures = length_of(&watch->picture, "failures"), runners = length_of(&watch->picture, "runners");
        uint32_t unserved = length_of(&watch->picture, "unserved");
        uint32_t others = 8 + failures + unserved + (runners < RUNNERS_SHOWN ? runners : RUNNERS_SHOWN + 1);
        bson_string_append(out, "\ntasks    ");
        append_states(watch, out);
        bson_string_append(out, "\nrate     ");
        append_rate(watch, out);
        bson_string_append(out, "\n");
        append_list(watch, out, "running", (uint32_t)rows > others + 3 ? (uint32_t)rows - others : 3, columns,
                    append_running);
        bson_string_append_printf(out, "runners  %u\n", runners);
        append_list(watch, out, "runners", RUNNERS_SHOWN, columns, append_runner);
        append_list(watch, out, "unserved", 3, columns, append_unserved);
        if (failures > 0) {
            bson_string_append(out, "failed last\n");
            append_list(watch, out, "failures", failures, columns, append_failure);
        }
    }
    screen_draw(watch->screen, out->str);
    bson_string_free(out, true);
}

static void print_line(struct watch *watch)
{
    bson_string_t *out = bson_string_new(NULL);
    char date[TEXT_DATE_BYTES] = "";
    bson_iter_t at;
    if (output_find(&watch->picture, "at", &at) && BSON_ITER_HOLDS_DATE_TIME(&at)) {
        text_format_date(bson_iter_date_time(&at), date);
    }
    bson_string_append_printf(out, "%.19sZ  ", date);
    append_states(watch, out);
    bson_string_append(out, "; ");
    append_rate(watch, out);
    bson_string_append_printf(out, "; %u runners", length_of(&watch->picture, "runners"));
    puts(out->str);
    bson_string_free(out, true);
}

static int show(struct watch *watch)
{
    if (watch->screen != NULL) {
        draw(watch);
        return CLI_DONE;
    }
    if (watch->trouble != NULL) {
        cli_note("the hub does not answer; trying again: %s", watch->trouble);
        return CLI_DONE;
    }
    if (watch->cli->format == CLI_JSON) {
        bson_string_t *out = bson_string_new(NULL);
        json_append_document(out, &watch->picture);
        puts(out->str);
        bson_string_free(out, true);
    } else {
        print_line(watch);
    }
    return output_flush();
}

/* ---- looking ---- */

static void remember_beats(struct watch *watch)
{
    bson_iter_t at, iter;
    if (!output_find(&watch->picture, "runners", &at) || !bson_iter_recurse(&at, &iter)) {
        return;
    }
    while (bson_iter_next(&iter)) {
        bson_t runner;
        const char *id = output_document(&iter, &runner) ? output_text(&runner, "_id") : NULL;
        struct sighting *sighting = (struct sighting *)sighting_of(watch, id);
        int64_t beat = id != NULL ? output_integer(&runner, "beat", 0) : 0;
        if (id == NULL) {
            continue;
        }
        if (sighting == NULL) {
            watch->sightings = bson_realloc(watch->sightings, (watch->count + 1) * sizeof *watch->sightings);
            sighting = &watch->sightings[watch->count++];
            *sighting = (struct sighting){.id = bson_strdup(id), .beat = beat, .since = bar_clock()};
        } else if (sighting->beat != beat) {
            sighting->beat = beat;
            sighting->since = bar_clock();
        }
    }
}

/* A hub that is away is said and waited for; anything else ends it. */
static int look(struct watch *watch)
{
    bson_t picture = BSON_INITIALIZER;
    bson_error_t error;
    int code = CLI_DONE;
    BSON_APPEND_UTF8(&picture, "hub", store_uri_redacted(hub_store(watch->cli->hub)));
    BSON_APPEND_UTF8(&picture, "project", hub_project(watch->cli->hub));
    bson_free(watch->trouble);
    watch->trouble = NULL;
    if (snapshot_take(watch->cli->hub, SNAPSHOT_RUNNING | SNAPSHOT_FAILURES, &picture, &error) > 0) {
        bson_destroy(&watch->picture);
        bson_copy_to(&picture, &watch->picture);
        watch->has_picture = true;
        remember_beats(watch);
    } else if (cli_exit_of(&error) == CLI_UNREACHABLE) {
        watch->trouble = bson_strdup(error.message);
    } else {
        screen_close(watch->screen);
        watch->screen = NULL;
        code = cli_fail(&error);
    }
    bson_destroy(&picture);
    return code;
}

static int watch_until_told(struct watch *watch, int64_t interval, int64_t count)
{
    int code = CLI_DONE;
    for (int64_t shown = 0; code == CLI_DONE; shown++) {
        code = look(watch);
        if (code == CLI_DONE) {
            code = show(watch);
        }
        if (code != CLI_DONE || (count > 0 && shown + 1 >= count)) {
            break;
        }
        enum screen_event event;
        while ((event = screen_wait(watch->screen, interval)) == SCREEN_RESIZE) {
            draw(watch);
        }
        if (event == SCREEN_LEAVE) {
            break;
        }
    }
    return code;
}

static int run(struct cli *cli)
{
    struct watch watch = {.cli = cli};
    int64_t interval = cli_integer(cli, "interval", 2000);
    int64_t count = cli_flag(cli, "once") ? 1 : cli_integer(cli, "count", 0);

    if (interval < LEAST_INTERVAL_MS) {
        return cli_usage(cli, "--interval %s: at least 100ms", cli_text(cli, "interval"));
    }
    if (cli->format == CLI_CSV) {
        return cli_usage(cli, "-o csv: a picture is no table; take -o json, one object a line");
    }
    int code = cli_open(cli, HUB_OPEN_EXISTING);
    if (code != CLI_DONE) {
        return code;
    }
    bson_init(&watch.picture);
    screen_catch_signals();
    if (cli->stdout_terminal && cli->format == CLI_TABLE && count != 1) {
        watch.screen = screen_open();
    }
    code = watch_until_told(&watch, interval, count);
    screen_close(watch.screen);
    for (size_t i = 0; i < watch.count; i++) {
        bson_free(watch.sightings[i].id);
    }
    bson_free(watch.sightings);
    bson_free(watch.trouble);
    bson_destroy(&watch.picture);
    return code;
}

const struct cli_command cmd_watch = {
    .verb = "watch",
    .summary = "Watch the queue live: tasks by state, progress, rate, time left, runners, failures",
    .arguments = "",
    .groups = {options},
    .details =
        "On a terminal the picture is drawn again and again; q or Ctrl-C leaves. Elsewhere one line each time, or with\n"
        "-o json one object a line. A hub that goes away is said and waited for.",
    .examples = "  tl_hub watch\n  tl_hub watch --interval 10s -o json\n  tl_hub watch --once",
    .run = run,
};
