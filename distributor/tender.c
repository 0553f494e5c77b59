/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/tender.h"

#include "distributor/sweep_search.h"
#include "hub/sweep_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_MS = 2000, PROJECTS = 64 };

struct tended {
    struct tended *next;
    char id[HUB_ID_SIZE];
    char project[128];
    struct sweep_search *search; /* NULL: it could not be opened */
    bool open;
};

struct tender {
    struct tended *first;
    struct {
        char project[128];
        int64_t looked_ms;
    } looks[PROJECTS];
    size_t look_count;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct tender *tender_new(void)
{
    return calloc(1, sizeof(struct tender));
}

static void drop(struct tended **at)
{
    struct tended *tended = *at;
    *at = tended->next;
    sweep_search_close(tended->search);
    free(tended);
}

void tender_free(struct tender *tender)
{
    while (tender && tender->first)
        drop(&tender->first);
    free(tender);
}

/* Whether it is time to ask which sweeps of this project are open. */
static bool is_due(struct tender *tender, const char *project, bool now)
{
    size_t i = 0;
    int64_t at = now_ms();
    while (i < tender->look_count && strcmp(tender->looks[i].project, project))
        i++;
    if (i == PROJECTS) /* of more projects than that, each is asked about every time */
        return true;
    if (i == tender->look_count) {
        snprintf(tender->looks[i].project, sizeof tender->looks[i].project, "%s", project);
        tender->look_count++;
    } else if (!now && at - tender->looks[i].looked_ms < LOOK_MS) {
        return false;
    }
    tender->looks[i].looked_ms = at;
    return true;
}

static int take_open(struct tender *tender, struct hub *hub, const char *id, bson_error_t *error)
{
    struct tended *tended = tender->first;
    while (tended && (strcmp(tended->id, id) || strcmp(tended->project, hub_project(hub))))
        tended = tended->next;
    if (tended) {
        tended->open = true;
        return 0;
    }
    tended = calloc(1, sizeof *tended);
    if (!tended)
        return hub_error(error, HUB_ERROR_MEMORY, "no memory for a sweep");
    snprintf(tended->id, sizeof tended->id, "%s", id);
    snprintf(tended->project, sizeof tended->project, "%s", hub_project(hub));
    tended->open = true;
    tended->next = tender->first;
    tender->first = tended;
    return 0;
}

static int look(struct tender *tender, struct hub *hub, bson_error_t *error)
{
    bson_t *filter = BCON_NEW("open", BCON_BOOL(true));
    const bson_t *record;
    bson_iter_t at;
    int more = -1;
    struct store_cursor *cursor = sweep_record_find(hub, filter, error);
    for (struct tended *tended = tender->first; tended; tended = tended->next)
        tended->open = tended->open && strcmp(tended->project, hub_project(hub));
    while (cursor && (more = store_cursor_next(cursor, &record, error)) > 0)
        if (bson_iter_init_find(&at, record, "_id") && BSON_ITER_HOLDS_UTF8(&at) &&
            strlen(bson_iter_utf8(&at, NULL)) < HUB_ID_SIZE && take_open(tender, hub, bson_iter_utf8(&at, NULL), error)) {
            more = -1;
            break;
        }
    store_cursor_close(cursor);
    bson_destroy(filter);
    for (struct tended **each = &tender->first; more >= 0 && *each;) {
        if ((*each)->open)
            each = &(*each)->next;
        else
            drop(each);
    }
    return more < 0 ? -1 : 0;
}

int64_t tender_tend(void *data, struct hub *hub, bool now, bson_error_t *error)
{
    struct tender *tender = data;
    int64_t made = 0;
    bool failed = false;
    if (is_due(tender, hub_project(hub), now) && look(tender, hub, error))
        return -1;
    for (struct tended *tended = tender->first; tended; tended = tended->next) {
        if (strcmp(tended->project, hub_project(hub)))
            continue;
        if (!tended->search)
            tended->search = sweep_search_open(hub, tended->id, error);
        int64_t some = tended->search ? sweep_search_step(tended->search, hub, 0, error) : -1;
        failed = failed || some < 0;
        made += some > 0 ? some : 0;
    }
    return failed && made == 0 ? -1 : made;
}
