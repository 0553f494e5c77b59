/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/display.h"
#include "cli/bar.h"
#include "cli/output.h"
#include "cli/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WORKERS 256 /* lines that a display keeps */

/* What one worker does now. */
struct worker {
    bool busy;
    int64_t seq, epoch, epochs;
    char *name;
    double fraction, loss, accuracy, seconds_left;
};

struct display {
    bool live, quiet;
    int worker_count; /* of which something was heard */
    int lines;        /* drawn below the cursor's home */
    bool changed;
    struct worker workers[WORKERS];
};

struct display *display_new(const struct cli *cli, bool quiet)
{
    struct display *display = bson_malloc0(sizeof *display);
    display->live = cli->stderr_terminal && !quiet;
    display->quiet = quiet;
    return display;
}

static void terminal_size(int *rows, int *columns)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    *rows = known ? size.ws_row : 24;
    *columns = known ? size.ws_col : 80;
}

/* Goes back to where the workers' lines begin and clears from there. */
static void append_wipe(struct display *display, bson_string_t *out)
{
    if (display->lines > 0) {
        bson_string_append_printf(out, "\x1b[%dA", display->lines);
    }
    bson_string_append(out, "\r\x1b[J");
    display->lines = 0;
}

static void append_task(bson_string_t *out, int64_t seq, const char *name)
{
    bson_string_append_printf(out, "#%lld", (long long)seq);
    if (name != NULL && *name != '\0') {
        bson_string_append_c(out, ' ');
        text_append_escaped(out, name, strlen(name));
    }
}

static void append_number(bson_string_t *out, const char *label, double value, const char *format)
{
    if (isfinite(value)) {
        char number[32];
        snprintf(number, sizeof number, strcmp(format, "fraction") == 0 ? "%.4f" : "%.6g", value);
        bson_string_append_printf(out, "  %s %s", label, number);
    }
}

static void append_worker(const struct worker *worker, int columns, bson_string_t *out)
{
    bson_string_t *line = bson_string_new(NULL);

    if (!worker->busy) {
        bson_string_append(line, "idle");
    } else {
        append_task(line, worker->seq, worker->name);
        if (worker->epochs > 0) {
            double done = (double)worker->epoch + (isfinite(worker->fraction) ? worker->fraction : 0);
            bson_string_append(line, "  ");
            bar_append(line, done / (double)worker->epochs, columns < 100 ? 10 : 20);
            bson_string_append_printf(line, " %lld/%lld", (long long)worker->epoch, (long long)worker->epochs);
        }
        append_number(line, "loss", worker->loss, "fraction");
        append_number(line, "accuracy", worker->accuracy, "fraction");
        if (isfinite(worker->seconds_left)) {
            char left[32];
            text_format_seconds(worker->seconds_left, left, sizeof left);
            bson_string_append_printf(line, "  %s left", left);
        }
    }
    text_cut(line, (size_t)(columns > 1 ? columns - 1 : 1));
    bson_string_append_printf(out, "%s\n", line->str);
    bson_string_free(line, true);
}

static void draw(struct display *display)
{
    int rows, columns;
    bson_string_t *out = bson_string_new(NULL);

    terminal_size(&rows, &columns);
    append_wipe(display, out);
    int shown = display->worker_count < rows - 1 ? display->worker_count : rows - 1;
    for (int i = 0; i < shown; i++) {
        append_worker(&display->workers[i], columns, out);
    }
    display->lines = shown;
    fputs(out->str, stderr);
    fflush(stderr);
    bson_string_free(out, true);
    display->changed = false;
}

/* A line that stays. */
static void print_line(struct display *display, const char *line)
{
    if (display->quiet) {
        return;
    }
    bson_string_t *out = bson_string_new(NULL);
    if (display->live) {
        append_wipe(display, out);
    }
    bson_string_append_printf(out, "%s\n", line);
    fputs(out->str, stderr);
    bson_string_free(out, true);
    if (display->live) {
        draw(display);
    }
}

static void remember(struct display *display, struct worker *worker, const bson_t *details)
{
    const char *name = output_text(details, "name");
    double loss = output_number(details, "loss"), accuracy = output_number(details, "validation_accuracy|accuracy");

    worker->seq = output_integer(details, "seq", worker->seq);
    worker->epoch = output_integer(details, "epoch", worker->epoch);
    worker->epochs = output_integer(details, "epochs", worker->epochs);
    worker->fraction = output_number(details, "fraction");
    worker->loss = isfinite(loss) ? loss : worker->loss;
    worker->accuracy = isfinite(accuracy) ? accuracy : worker->accuracy;
    worker->seconds_left = output_number(details, "seconds_left");
    if (name != NULL) {
        bson_free(worker->name);
        worker->name = bson_strdup(name);
    }
    display->changed = true;
}

static void append_escaped_text(bson_string_t *line, const char *before, const char *text)
{
    if (text != NULL) {
        bson_string_append(line, before);
        text_append_escaped(line, text, strlen(text));
    }
}

/* The line about an event, as far as it deserves one. */
static void append_event(bson_string_t *line, enum runner_event_kind kind, const bson_t *details,
                         const struct worker *worker, bool live)
{
    char seconds[32];
    double time = output_number(details, "seconds");
    const char *name = worker != NULL ? worker->name : output_text(details, "name"),
               *state = output_text(details, "state");
    int64_t seq = output_integer(details, "seq", worker != NULL ? worker->seq : 0);

    if (kind == RUNNER_EVENT_NOTE) {
        append_escaped_text(line, "", output_text(details, "message"));
        return;
    }
    if (kind == RUNNER_EVENT_PROGRESS || (live && (kind == RUNNER_EVENT_CLAIMED || kind == RUNNER_EVENT_EPOCH))) {
        return;
    }
    append_task(line, seq, name);
    switch (kind) {
    case RUNNER_EVENT_CLAIMED: bson_string_append(line, "  claimed"); break;
    case RUNNER_EVENT_EPOCH:
        bson_string_append_printf(line, "  epoch %lld/%lld", (long long)output_integer(details, "epoch", 0),
                                  (long long)output_integer(details, "epochs", 0));
        append_number(line, "loss", output_number(details, "loss"), "fraction");
        append_number(line, "accuracy", output_number(details, "accuracy"), "fraction");
        append_number(line, "validation loss", output_number(details, "validation_loss"), "fraction");
        append_number(line, "validation accuracy", output_number(details, "validation_accuracy"), "fraction");
        time = output_number(details, "seconds_left");
        if (isfinite(time)) {
            text_format_seconds(time, seconds, sizeof seconds);
            bson_string_append_printf(line, "  %s left", seconds);
        }
        break;
    case RUNNER_EVENT_DONE:
        append_escaped_text(line, "  ", state != NULL ? state : "done");
        append_number(line, "accuracy", output_number(details, "metrics.accuracy|accuracy"), "fraction");
        append_number(line, "loss", output_number(details, "metrics.loss|loss"), "fraction");
        if (isfinite(time)) {
            text_format_seconds(time, seconds, sizeof seconds);
            bson_string_append_printf(line, "  in %s", seconds);
        }
        break;
    case RUNNER_EVENT_FAILED:
        bson_string_append(line, "  failed");
        append_escaped_text(line, ": ", output_text(details, "error|error.message|message"));
        break;
    case RUNNER_EVENT_CRASHED:
        bson_string_append(line, "  crashed");
        if (output_integer(details, "signal", 0) != 0) {
            bson_string_append_printf(line, ": its worker died of signal %lld",
                                      (long long)output_integer(details, "signal", 0));
        } else if (output_integer(details, "status", -1) >= 0) {
            bson_string_append_printf(line, ": its worker left with status %lld",
                                      (long long)output_integer(details, "status", 0));
        }
        append_escaped_text(line, ": ", output_text(details, "error|message"));
        break;
    case RUNNER_EVENT_RELEASED: bson_string_append(line, "  given back"); break;
    case RUNNER_EVENT_LOST: bson_string_append(line, "  lost to another runner; nothing of it was written"); break;
    default: break;
    }
}

void display_event(enum runner_event_kind kind, const bson_t *details, void *data)
{
    struct display *display = data;
    int64_t index = output_integer(details, "worker", -1);
    struct worker *worker = index >= 0 && index < WORKERS ? &display->workers[index] : NULL;
    bson_string_t *line = bson_string_new(NULL);

    if (worker != NULL && index >= display->worker_count) {
        display->worker_count = (int)index + 1;
    }
    if (worker != NULL && kind == RUNNER_EVENT_CLAIMED) {
        worker->busy = true;
        worker->epoch = worker->epochs = 0;
        worker->loss = worker->accuracy = (double)NAN;
    }
    if (worker != NULL && kind != RUNNER_EVENT_NOTE) {
        remember(display, worker, details);
    }
    append_event(line, kind, details, worker, display->live);
    if (worker != NULL && kind >= RUNNER_EVENT_DONE && kind != RUNNER_EVENT_NOTE) {
        worker->busy = false;
    }
    if (line->len > 0) {
        print_line(display, line->str);
    }
    bson_string_free(line, true);
}

void display_tick(void *data)
{
    struct display *display = data;
    if (display->live && display->changed) {
        draw(display);
    }
}

void display_free(struct display *display)
{
    if (display == NULL) {
        return;
    }
    if (display->live) {
        bson_string_t *out = bson_string_new(NULL);
        append_wipe(display, out);
        fputs(out->str, stderr);
        fflush(stderr);
        bson_string_free(out, true);
    }
    for (int i = 0; i < WORKERS; i++) {
        bson_free(display->workers[i].name);
    }
    bson_free(display);
}
