/* SPDX-License-Identifier: Apache-2.0 */
/* What a fleet of idle runners costs a MongoDB server: as many supervisors' keepers as told (what a runner is to the hub
 * while its workers have nothing to do: their workers are silent), each with its own connection, in one process; and
 * every command that libmongoc sends for them counted, its own checks of the server too.
 *
 * usage: idle mongodb://… [RUNNERS [RAMP_SECONDS [SECONDS]]]      1000 150 60
 * The database is made and dropped. The ramp is for the runners to have been idle for long. */
#include "hub/runner_record.h"
#include "hub/store_mongo_impl.h"
#include "runner/keeper.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAMES = 32 };

static atomic_llong commands, checks;
static atomic_llong counts[NAMES];
static const char *const names[NAMES] = {"find",     "findAndModify", "isMaster", "hello", "update",    "aggregate",
                                         "insert",   "getMore",       "ping",     "endSessions", "delete", NULL};

static void on_command(const mongoc_apm_command_started_t *event)
{
    const char *name = mongoc_apm_command_started_get_command_name(event);
    size_t i = 0;
    while (names[i] && strcmp(names[i], name) != 0)
        i++;
    atomic_fetch_add(&counts[i], 1);
    atomic_fetch_add(&commands, 1);
}

static void on_check(const mongoc_apm_server_heartbeat_started_t *event)
{
    (void)event;
    atomic_fetch_add(&checks, 1);
}

static void count_commands(mongoc_client_t *client)
{
    mongoc_apm_callbacks_t *callbacks = mongoc_apm_callbacks_new();
    mongoc_apm_set_command_started_cb(callbacks, on_command);
    mongoc_apm_set_server_heartbeat_started_cb(callbacks, on_check);
    mongoc_client_set_apm_callbacks(client, callbacks, NULL);
    mongoc_apm_callbacks_destroy(callbacks);
}

static struct keeper *start(const char *uri, bson_error_t *error)
{
    static const char *const projects[] = {HUB_DEFAULT_PROJECT, NULL}, *const queues[] = {"default", NULL},
                      *const bases[] = {"cpu", NULL};
    /* As a machine's of 64 GiB: the classes of memory up to that are sources, too. */
    const struct task_serves serves = {.projects = projects, .queues = queues, .bases = bases, .memory = INT64_C(64) << 30};
    struct task_source *sources;
    bool asked[TASK_SOURCES_MOST];
    char id[HUB_ID_SIZE];
    struct hub *hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, error);
    if (!hub)
        return NULL;
    hub_random_id(id);
    bson_t *record = BCON_NEW("_id", BCON_UTF8(id), "host", BCON_UTF8("simulated"), "workers", BCON_INT32(1));
    struct keeper *keeper = NULL;
    int count = task_sources_find(hub, &serves, &sources, error);
    memset(asked, true, sizeof asked);
    if (count >= 0 && runner_record_save(hub, record, id, error) >= 0)
        keeper = keeper_new(hub, &(struct keeper_options){.record = record, .serves = &serves, .sources = sources,
                                                          .source_count = (size_t)count, .lease_ms = TASK_LEASE_MS}, error);
    else
        hub_close(hub);
    bson_destroy(record);
    if (keeper)
        keeper_ask(keeper, &(struct keeper_question){.asked = asked, .any_idle = true, .all_idle = true}, (size_t)count);
    bson_free(sources);
    return keeper;
}

static void print_counts(int64_t seconds, const char *what)
{
    long long sent = atomic_exchange(&commands, 0), checked = atomic_exchange(&checks, 0);
    printf("%s: %.1f operations a second (%.1f commands:", what, (double)(sent + checked) / (double)seconds,
           (double)sent / (double)seconds);
    for (size_t i = 0; i < NAMES; i++) {
        long long count = atomic_exchange(&counts[i], 0);
        if (count > 0)
            printf(" %s %.1f", names[i] ? names[i] : "other", (double)count / (double)seconds);
    }
    printf("; %.1f checks of the server)\n", (double)checked / (double)seconds);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    bson_error_t error;
    int runners = argc > 2 ? atoi(argv[2]) : 1000, ramp = argc > 3 ? atoi(argv[3]) : 150;
    int seconds = argc > 4 ? atoi(argv[4]) : 60, status = 1, started = 0;
    if (argc < 2 || strncmp(argv[1], "mongodb", 7) || runners < 1 || seconds < 1) {
        fprintf(stderr, "usage: %s mongodb://… [RUNNERS [RAMP_SECONDS [SECONDS]]]\n", argv[0]);
        return 2;
    }
    struct keeper **keepers = calloc((size_t)runners, sizeof *keepers);
    mongo_client_made = count_commands;
    if (!keepers || hub_init(argv[1], NULL, &error) < 0)
        goto out;
    while (started < runners && (keepers[started] = start(argv[1], &error)) != NULL)
        started++;
    if (started < runners)
        goto out;
    printf("%d idle runners\n", runners);
    print_counts(1, "to start, in all");
    sleep((unsigned)ramp);
    print_counts(ramp > 0 ? ramp : 1, "while they fall idle");
    sleep((unsigned)seconds);
    print_counts(seconds, "idle");
    status = 0;
out:
    if (status)
        fprintf(stderr, "%s\n", error.message);
    fflush(stdout);
    /* Ending the process ends them: a thousand farewells are another matter. */
    _exit(status);
}
