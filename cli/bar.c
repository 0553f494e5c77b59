/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"
#include "cli/text.h"

#include <string.h>
#include <time.h>

int64_t bar_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void bar_init(struct bar *bar, const struct cli *cli)
{
    *bar = (struct bar){.on = cli->stderr_terminal, .last = -1000};
}

void bar_append(bson_string_t *out, double fraction, int width)
{
    int full = fraction > 0 ? (int)(fraction * width + 0.5) : 0;
    for (int i = 0; i < width; i++) {
        bson_string_append(out, i < full ? "█" : "░");
    }
}

void bar_draw(struct bar *bar, const char *what, double fraction)
{
    int64_t now = bar_clock();

    if (!bar->on || (now - bar->last < 100 && fraction < 1)) {
        return;
    }
    bson_string_t *line = bson_string_new("\r\x1b[K");
    bar_append(line, fraction, 30);
    bson_string_append_printf(line, " %3.0f %% ", 100 * fraction);
    text_append_escaped(line, what, strlen(what));
    fputs(line->str, stderr);
    fflush(stderr);
    bson_string_free(line, true);
    bar->drawn = true;
    bar->last = now;
}

void bar_end(struct bar *bar)
{
    if (bar->drawn) {
        fputs("\r\x1b[K", stderr);
        fflush(stderr);
        bar->drawn = false;
    }
}
