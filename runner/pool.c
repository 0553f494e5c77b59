/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/pool.h"
#include "hub/utf8.h"
#include "runner/message.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKER_FD = 3, ABOVE_FD = 10 };

extern char **environ;

void pool_worker_init(struct pool_worker *worker, int index)
{
    memset(worker, 0, sizeof *worker);
    worker->index = index;
    worker->socket = worker->output = -1;
    bson_init(&worker->task);
}

void pool_worker_destroy(struct pool_worker *worker)
{
    pool_worker_gone(worker);
    bson_destroy(&worker->task);
    bson_free(worker->empty);
    worker->empty = NULL;
}

void pool_worker_gone(struct pool_worker *worker)
{
    if (worker->socket >= 0)
        close(worker->socket);
    if (worker->output >= 0)
        close(worker->output);
    worker->socket = worker->output = -1;
    worker->pid = 0;
    worker->ready = worker->idle = worker->wants = worker->granted = worker->busy = false;
}

/* Out of the way of the numbers that the worker's own ends get. */
static int move_up(int *fd)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, ABOVE_FD);
    if (moved < 0)
        return -1;
    close(*fd);
    *fd = moved;
    return 0;
}

/* Ours, but for the settings of threads: libraries read them when they are loaded. */
static char **environment(const char *const *settings, size_t count)
{
    size_t total = 0, kept = 0;
    while (environ && environ[total])
        total++;
    char **copy = calloc(total + count + 1, sizeof *copy);
    if (!copy)
        return NULL;
    for (size_t i = 0; i < total; i++) {
        bool set = false;
        for (size_t j = 0; j < count; j++)
            set = set || !strncmp(environ[i], settings[j], (size_t)(strchr(settings[j], '=') - settings[j]) + 1);
        if (!set)
            copy[kept++] = environ[i];
    }
    for (size_t j = 0; j < count; j++)
        copy[kept++] = (char *)settings[j];
    return copy;
}

static int spawn(const char *program, int socket, int output, int threads, pid_t *pid)
{
    char fd[16], omp[48], blas[48], wait[64];
    const char *policy = getenv("OMP_WAIT_POLICY");
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    snprintf(fd, sizeof fd, "%d", WORKER_FD);
    snprintf(omp, sizeof omp, "OMP_NUM_THREADS=%d", threads);
    snprintf(blas, sizeof blas, "OPENBLAS_NUM_THREADS=%d", threads);
    /* Threads that spin while they wait take the time of those that are waited for, wherever there is anything else to run:
     * measured, five times slower beside other work. */
    snprintf(wait, sizeof wait, "OMP_WAIT_POLICY=%.40s", policy && policy[0] ? policy : "passive");
    const char *const settings[] = {omp, blas, wait};
    char *arguments[] = {(char *)"tl_hub", (char *)"run-task", (char *)"--worker-process", fd, NULL};
    char **variables = environment(settings, sizeof settings / sizeof settings[0]);
    if (!variables)
        return ENOMEM;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGCHLD);
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGALRM);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int result = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!result)
        result = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (!result)
        result = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    if (!result)
        result = posix_spawn_file_actions_adddup2(&actions, socket, WORKER_FD);
    if (!result)
        result = posix_spawn(pid, program, &actions, &attributes, arguments, variables);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    free(variables);
    return result;
}

int pool_worker_start(struct pool_worker *worker, const char *program, const bson_t *configuration, int threads,
                      bson_error_t *error)
{
    int sockets[2] = {-1, -1}, output[2] = {-1, -1}, result;
    bson_t message = BSON_INITIALIZER;

    worker->text_length = 0;
    worker->told_to_leave = false;
    hub_random_id(worker->id);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) || pipe2(output, O_CLOEXEC) ||
        move_up(&sockets[1]) || move_up(&output[1]) || fcntl(output[0], F_SETFL, O_NONBLOCK))
        result = errno;
    else
        result = spawn(program, sockets[1], output[1], threads, &worker->pid);
    for (size_t i = 0; i < 2; i++) {
        int *theirs = i ? &output[1] : &sockets[1], *ours = i ? &output[0] : &sockets[0];
        if (*theirs >= 0)
            close(*theirs);
        if (result && *ours >= 0)
            close(*ours);
    }
    if (result) {
        worker->pid = 0;
        bson_destroy(&message);
        return hub_error(error, HUB_ERROR_IO, "cannot start a worker (%s): %s", program, strerror(result));
    }
    worker->socket = sockets[0];
    worker->output = output[0];
    if (BSON_APPEND_UTF8(&message, "say", "configure") && BSON_APPEND_INT32(&message, "index", worker->index) &&
        BSON_APPEND_UTF8(&message, "worker", worker->id) &&
        bson_concat(&message, configuration))
        message_send(worker->socket, &message, true); /* it fits: see TASK_SOURCES_MOST; one that is gone is reaped later */
    bson_destroy(&message);
    return 0;
}

void pool_worker_read_output(struct pool_worker *worker)
{
    char buffer[4096];
    ssize_t count;
    if (worker->output < 0)
        return;
    while ((count = read(worker->output, buffer, sizeof buffer)) > 0) {
        size_t fresh = (size_t)count, room = POOL_OUTPUT_BYTES - worker->text_length;
        if (fresh > room) { /* the end says most */
            size_t drop = fresh - room;
            memmove(worker->text, worker->text + drop, worker->text_length - drop);
            worker->text_length -= drop;
        }
        memcpy(worker->text + worker->text_length, buffer, fresh);
        worker->text_length += fresh;
    }
    if (count == 0) { /* closed: do not poll it any more */
        close(worker->output);
        worker->output = -1;
    }
}

const char *pool_worker_text(struct pool_worker *worker)
{
    worker->text[worker->text_length] = '\0';
    utf8_clean(worker->text, worker->text_length);
    return worker->text;
}
