/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TASK_SWEEPER_IMPL_H
#define TL_HUB_TASK_SWEEPER_IMPL_H

/* Between task_sweeper.c (watching and acting) and task_sweeper_elect.c (who may act). */

#include "hub/sighting.h"
#include "hub/task_impl.h"

struct task_sweeper {
    int64_t lease_ms;
    char holder[HUB_ID_SIZE];
    bool leading;
    bool suspicious;      /* the leader did not beat between two looks, or was never seen */
    struct sighting leader;
    struct sighting *sightings; /* sorted by key */
    size_t count;
    uint64_t round;
    int64_t contact;      /* end of the last good read of the running tasks; 0: none */
    int64_t leader_contact;
    int64_t running;      /* how many the last read showed */
    int64_t runners;      /* how many there are, as the leader says */
    bool trusting;        /* two looks close together have shown the leader beating */
    bool has_trusted;     /* ever */
    int64_t tidied;       /* when this leader last counted and tidied up the runners' records */
    int64_t tidied_long;
};

/* Who leads now: sets leading and suspicious. -1 on error. */
int task_sweeper_elect(struct task_sweeper *sweeper, struct hub *hub, bson_error_t *error);

#endif
