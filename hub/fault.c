/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/fault.h"

#ifdef TL_HUB_FAULTS

#include "hub/hub_impl.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ORDERS_MOST = 16, NAME_BYTES = 64, DELAY_MS = 100 };

enum action { KILL, STOP, DELAY, CUT, LOSE, FULL, AWAY, ACTIONS };
static const char *const action_names[ACTIONS] = {"kill", "stop", "delay", "cut", "lose", "full", "away"};

struct order {
    char name[NAME_BYTES];
    enum action action;
    long pass; /* 0: each */
    long ms;
    atomic_long passed;
};

static struct order orders[ORDERS_MOST];
static size_t order_count;
static int history = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* What the thread's next write meets; ACTIONS is nothing. */
static _Thread_local enum action armed = ACTIONS;

/* A test that is told to do what cannot be done must not go on as if it had been. */
static void refuse_to_run(const char *text)
{
    dprintf(STDERR_FILENO, "TL_HUB_FAULT: '%s' is not NAME:ACTION[:PASS[:MS]]\n", text);
    _exit(125);
}

static void parse(char *text)
{
    char *rest = text, *name = strsep(&rest, ":"), *action = strsep(&rest, ":"), *pass = strsep(&rest, ":"),
         *ms = strsep(&rest, ":");
    struct order *order = &orders[order_count];
    order->action = ACTIONS;
    for (int i = 0; action != NULL && i < ACTIONS; i++) {
        if (strcmp(action, action_names[i]) == 0) {
            order->action = (enum action)i;
        }
    }
    if (order->action == ACTIONS || strlen(name) >= NAME_BYTES || order_count + 1 == ORDERS_MOST) {
        refuse_to_run(text);
    }
    memcpy(order->name, name, strlen(name) + 1);
    order->pass = pass == NULL ? 1 : strcmp(pass, "*") == 0 ? 0 : strtol(pass, NULL, 10);
    order->ms = ms == NULL ? DELAY_MS : strtol(ms, NULL, 10);
    order_count++;
}

static void read_environment(void)
{
    const char *text = getenv("TL_HUB_FAULT"), *folder = getenv("TL_HUB_HISTORY");
    char *copy = bson_strdup(text != NULL ? text : ""), *rest = copy, *one;
    while ((one = strsep(&rest, ",")) != NULL) {
        if (one[0] != '\0') {
            parse(one);
        }
    }
    bson_free(copy);
    if (folder != NULL && folder[0] != '\0') {
        char *path = bson_strdup_printf("%s/%d-%" PRId64, folder, (int)getpid(), hub_boottime());
        history = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (history < 0) {
            dprintf(STDERR_FILENO, "TL_HUB_HISTORY: cannot write %s\n", path);
            _exit(125);
        }
        bson_free(path);
    }
}

void fault_history(const char *format, ...)
{
    char line[1024];
    struct timespec now;
    va_list arguments;
    pthread_once(&once, read_environment);
    if (history < 0) {
        return;
    }
    clock_gettime(CLOCK_BOOTTIME, &now);
    int length = snprintf(line, sizeof line, "%lld %d ", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000, (int)getpid());
    va_start(arguments, format);
    length += vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
    va_end(arguments);
    length = length > (int)sizeof line - 2 ? (int)sizeof line - 2 : length;
    line[length++] = '\n';
    if (write(history, line, (size_t)length) != length) {
        dprintf(STDERR_FILENO, "TL_HUB_HISTORY: a line was not written\n");
        _exit(125);
    }
}

static bool is_first(void)
{
    const char *path = getenv("TL_HUB_FAULT_ONCE");
    int file = path != NULL ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (file >= 0) {
        close(file);
    }
    return path == NULL || file >= 0;
}

void fault_point(const char *name)
{
    pthread_once(&once, read_environment);
    for (size_t i = 0; i < order_count; i++) {
        struct order *order = &orders[i];
        if (strcmp(order->name, name) != 0) {
            continue;
        }
        long pass = atomic_fetch_add(&order->passed, 1) + 1;
        if ((order->pass != 0 && order->pass != pass) || !is_first()) {
            continue;
        }
        fault_history("fault %s %s", name, action_names[order->action]);
        switch (order->action) {
        case KILL: raise(SIGKILL); break;
        case STOP:
            kill(getpid(), SIGSTOP);
            fault_history("woken %s", name);
            break;
        case DELAY: hub_sleep(order->ms); break;
        default: armed = order->action; break;
        }
    }
}

static const struct {
    enum store_operation_kind kind;
    const char *collection;
    bool guard;
    const char *name;
} steps[] = {
    {STORE_INSERT, "uploads", false, "announce"},   {STORE_INSERT, "blobs.chunks", false, "chunk"},
    {STORE_INSERT, "blobs.files", false, "files"},  {STORE_UPDATE, "logs", false, "logs"},
    {STORE_UPDATE, "tasks", true, "commit"},        {STORE_UPDATE, "models", false, "model"},
    {STORE_UPDATE, "datasets", false, "output"},
    {STORE_UPDATE, "tasks", false, "published"},    {STORE_DELETE, "uploads", false, "upload_done"},
};

void fault_step(const struct store_operation *operation, bool after)
{
    char name[NAME_BYTES];
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (operation->kind == steps[i].kind && operation->guard == steps[i].guard && operation->collection != NULL &&
            strcmp(operation->collection, steps[i].collection) == 0) {
            snprintf(name, sizeof name, "%s.%s", steps[i].name, after ? "after" : "before");
            fault_point(name);
        }
    }
}

bool fault_apart(void)
{
    pthread_once(&once, read_environment);
    for (size_t i = 0; i < order_count; i++) {
        if (strncmp(orders[i].name, "chunk.", 6) == 0) {
            return true;
        }
    }
    return false;
}

bool fault_refused(bson_error_t *error)
{
    enum action action = armed;
    if (action != CUT && action != FULL && action != AWAY) {
        return false;
    }
    armed = ACTIONS;
    hub_error(error,
              action == CUT    ? HUB_ERROR_UNKNOWN_OUTCOME
              : action == FULL ? HUB_ERROR_NO_SPACE
                               : HUB_ERROR_UNREACHABLE,
              "a fault was injected: %s", action_names[action]);
    return true;
}

bool fault_lost(bson_error_t *error)
{
    if (armed != LOSE) {
        return false;
    }
    armed = ACTIONS;
    hub_error(error, HUB_ERROR_UNKNOWN_OUTCOME, "a fault was injected: lose");
    return true;
}

void fault_try(const char *verb, const char *task, const char *claim)
{
    char name[NAME_BYTES];
    fault_history("try %s %s %s", verb, task, claim);
    snprintf(name, sizeof name, "%s.before", verb);
    fault_point(name);
}

void fault_did(const char *verb, const char *task, const char *claim, int result)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s.after", verb);
    fault_point(name);
    fault_history("did %s %s %s %d", verb, task, claim, result);
}

#else
/* A translation unit is not empty. */
typedef int fault_points_are_not_compiled_in;
#endif
