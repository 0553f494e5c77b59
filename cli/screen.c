/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/screen.h"
#include "cli/bar.h"
#include "cli/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

struct screen {
    bool keys;
    struct termios before;
};

static volatile sig_atomic_t ended, resized;

static void on_end(int signal)
{
    (void)signal;
    ended = 1;
}

static void on_resize(int signal)
{
    (void)signal;
    resized = 1;
}

/* Without SA_RESTART: a signal that comes between the test and poll waits for one timeout at most. */
static void catch_signal(int signal, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, NULL);
}

void screen_catch_signals(void)
{
    catch_signal(SIGINT, on_end);
    catch_signal(SIGTERM, on_end);
    catch_signal(SIGHUP, on_end);
}

static void put(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, text, length);
        if (written < 0 && errno != EINTR) {
            return;
        }
        text += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

struct screen *screen_open(void)
{
    struct screen *screen = bson_malloc0(sizeof *screen);
    catch_signal(SIGWINCH, on_resize);
    if (isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &screen->before) == 0) {
        struct termios keys = screen->before;
        keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        keys.c_cc[VMIN] = 0;
        keys.c_cc[VTIME] = 0;
        screen->keys = tcsetattr(STDIN_FILENO, TCSANOW, &keys) == 0;
    }
    put_text("\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J"); /* another page, no cursor */
    return screen;
}

void screen_close(struct screen *screen)
{
    if (screen == NULL) {
        return;
    }
    put_text("\x1b[?25h\x1b[?1049l");
    if (screen->keys) {
        tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
    }
    bson_free(screen);
}

void screen_size(int *rows, int *columns)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    *rows = known ? size.ws_row : 24;
    *columns = known ? size.ws_col : 80;
}

/* At most so many columns of a line; a colour ends with the line. */
static void append_cut(bson_string_t *out, const char *line, size_t length, int columns)
{
    int used = 0;
    for (size_t i = 0; i < length;) {
        size_t size = 1;
        bool escape = line[i] == '\x1b';
        if (escape) {
            while (i + size < length && line[i + size] != 'm') {
                size++;
            }
            size++;
        } else {
            while (i + size < length && ((unsigned char)line[i + size] & 0xc0) == 0x80) {
                size++;
            }
        }
        size = i + size > length ? length - i : size;
        char *piece = bson_strndup(line + i, size);
        used += escape ? 0 : (int)text_width(piece);
        if (used <= columns) {
            bson_string_append(out, piece);
        }
        bson_free(piece);
        i += size;
    }
}

void screen_draw(struct screen *screen, const char *text)
{
    int rows, columns, row = 0;
    bson_string_t *out = bson_string_new("\x1b[?2026h\x1b[H"); /* shown at once, by terminals that can */
    (void)screen;
    screen_size(&rows, &columns);
    while (*text != '\0' && row < rows) {
        size_t length = strcspn(text, "\n");
        bson_string_append(out, row > 0 ? "\r\n" : "");
        append_cut(out, text, length, columns);
        bson_string_append(out, "\x1b[0m\x1b[K");
        text += length + (text[length] == '\n' ? 1 : 0);
        row++;
    }
    bson_string_append(out, row < rows ? "\r\n\x1b[J\x1b[?2026l" : "\x1b[?2026l");
    put(out->str, out->len);
    bson_string_free(out, true);
}

static bool key_says_leave(void)
{
    char keys[32];
    ssize_t count = read(STDIN_FILENO, keys, sizeof keys);
    for (ssize_t i = 0; i < count; i++) {
        if (strchr("qQ\x03\x04", keys[i]) != NULL && keys[i] != '\0') {
            return true;
        }
    }
    return false;
}

enum screen_event screen_wait(struct screen *screen, int64_t milliseconds)
{
    int64_t until = bar_clock() + milliseconds;
    for (;;) {
        int64_t left = until - bar_clock();
        struct pollfd ready = {.fd = screen != NULL && screen->keys ? STDIN_FILENO : -1, .events = POLLIN};
        if (ended) {
            return SCREEN_LEAVE;
        }
        if (resized) {
            resized = 0;
            return SCREEN_RESIZE;
        }
        if (left <= 0) {
            return SCREEN_TIME;
        }
        /* In short steps: a signal may come between the test above and the call. */
        int count = poll(&ready, 1, left < 500 ? (int)left : 500);
        if (count > 0 && ready.revents & (POLLERR | POLLHUP | POLLNVAL)) {
            return SCREEN_LEAVE;
        }
        if (count > 0 && key_says_leave()) {
            return SCREEN_LEAVE;
        }
    }
}
