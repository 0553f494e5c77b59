/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plot_text.h"

#include <math.h>
#include <string.h>

#define COLORS 6
static const char *const colors[COLORS] = {"\x1b[34m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[35m", "\x1b[36m"};

struct canvas {
    unsigned char *dots;   /* bits of each Braille character */
    unsigned char *owner;  /* 1 + the curve that drew there last */
    int width, height;     /* characters */
    double x_low, x_high, y_low, y_high;
    bool braille;
};

static void set_dot(struct canvas *canvas, int x, int y, size_t curve)
{
    static const unsigned char bits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    int column = canvas->braille ? x / 2 : x, row = canvas->braille ? y / 4 : y;

    if (column >= 0 && column < canvas->width && row >= 0 && row < canvas->height) {
        int at = row * canvas->width + column;
        canvas->dots[at] |= canvas->braille ? bits[y % 4][x % 2] : 1;
        canvas->owner[at] = (unsigned char)(curve + 1);
    }
}

static void draw(struct canvas *canvas, const struct curve *curve, size_t index)
{
    int across = canvas->width * (canvas->braille ? 2 : 1) - 1, down = canvas->height * (canvas->braille ? 4 : 1) - 1;
    int last_x = 0, last_y = 0;

    for (size_t i = 0; i < curve->count; i++) {
        int x = (int)lround((curve->x[i] - canvas->x_low) / (canvas->x_high - canvas->x_low) * across);
        int y = down - (int)lround((curve->y[i] - canvas->y_low) / (canvas->y_high - canvas->y_low) * down);
        int steps = i == 0 ? 1 : abs(x - last_x) > abs(y - last_y) ? abs(x - last_x) : abs(y - last_y);
        for (int step = 0; step <= steps && steps > 0; step++) {
            double part = i == 0 ? 1 : (double)step / steps;
            set_dot(canvas, (int)lround(last_x + (x - last_x) * part), (int)lround(last_y + (y - last_y) * part), index);
        }
        last_x = x;
        last_y = y;
    }
}

static bool find_range(const struct curves *curves, struct canvas *canvas)
{
    bool any = false;

    for (size_t i = 0; i < curves->task_count; i++) {
        for (size_t j = 0; j < curves->tasks[i].count; j++) {
            double x = curves->tasks[i].x[j], y = curves->tasks[i].y[j];
            canvas->x_low = any ? fmin(canvas->x_low, x) : x;
            canvas->x_high = any ? fmax(canvas->x_high, x) : x;
            canvas->y_low = any ? fmin(canvas->y_low, y) : y;
            canvas->y_high = any ? fmax(canvas->y_high, y) : y;
            any = true;
        }
    }
    canvas->x_high += canvas->x_high == canvas->x_low ? 1 : 0;
    if (canvas->y_high == canvas->y_low) {
        double around = canvas->y_low == 0 ? 1 : fabs(canvas->y_low) * 0.1;
        canvas->y_low -= around;
        canvas->y_high += around;
    }
    return any;
}

static void append_cell(bson_string_t *out, const struct canvas *canvas, int at, bool color)
{
    int curve = canvas->owner[at] - 1;

    if (curve < 0) {
        bson_string_append_c(out, ' ');
        return;
    }
    if (color) {
        bson_string_append(out, colors[curve % COLORS]);
    }
    if (canvas->braille) {
        bson_string_append_unichar(out, 0x2800u + canvas->dots[at]);
    } else {
        bson_string_append_c(out, (char)('A' + curve));
    }
    if (color) {
        bson_string_append(out, "\x1b[0m");
    }
}

static void append_lines(bson_string_t *out, const struct canvas *canvas, bool color)
{
    for (int row = 0; row < canvas->height; row++) {
        double value = canvas->y_high - (canvas->y_high - canvas->y_low) * row / (canvas->height - 1);
        char label[32] = "";
        if (row % 4 == 0 || row == canvas->height - 1) {
            snprintf(label, sizeof label, "%.4g", value);
        }
        bson_string_append_printf(out, "%10s %s", label, canvas->braille ? "│" : "|");
        for (int column = 0; column < canvas->width; column++) {
            append_cell(out, canvas, row * canvas->width + column, color);
        }
        while (out->len > 0 && out->str[out->len - 1] == ' ') {
            bson_string_truncate(out, out->len - 1);
        }
        bson_string_append(out, "\n");
    }
    bson_string_append_printf(out, "%10s %s", "", canvas->braille ? "└" : "+");
    for (int column = 0; column < canvas->width; column++) {
        bson_string_append(out, canvas->braille ? "─" : "-");
    }
    char low[32], high[32];
    snprintf(low, sizeof low, "%g", canvas->x_low);
    snprintf(high, sizeof high, "%g", canvas->x_high);
    bson_string_append_printf(out, "\n%12s%-*s%s\n", "", canvas->width - (int)strlen(high), low, high);
}

void plot_text_append(bson_string_t *out, const struct curves *curves, const char *const *labels,
                      const struct plot_text_options *options)
{
    struct canvas canvas = {.width = options->width < 20 ? 20 : options->width,
                            .height = options->height < 5 ? 5 : options->height,
                            .braille = options->braille};

    if (!find_range(curves, &canvas)) {
        return;
    }
    size_t cells = (size_t)canvas.width * (size_t)canvas.height;
    canvas.dots = bson_malloc0(cells);
    canvas.owner = bson_malloc0(cells);
    for (size_t i = curves->task_count; i-- > 0;) { /* the first is drawn last, above the others */
        draw(&canvas, &curves->tasks[i], i);
    }
    bson_string_append_printf(out, "%s_%s by epoch\n", curves->split, curves->metric);
    append_lines(out, &canvas, options->color);
    for (size_t i = 0; i < curves->task_count; i++) {
        bson_string_append(out, i == 0 ? "            " : "   ");
        if (options->color) {
            bson_string_append(out, colors[i % COLORS]);
        }
        if (canvas.braille) {
            bson_string_append(out, "━ ");
        } else {
            bson_string_append_printf(out, "%c ", (char)('A' + i));
        }
        bson_string_append(out, labels[i]);
        if (options->color) {
            bson_string_append(out, "\x1b[0m");
        }
    }
    bson_string_append(out, "\n");
    bson_free(canvas.dots);
    bson_free(canvas.owner);
}
