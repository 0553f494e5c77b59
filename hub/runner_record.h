/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_RUNNER_RECORD_H
#define TL_HUB_RUNNER_RECORD_H

/* Runners: {_id, project, host, pid, cpu, cores, memory_bytes, device, gemm, program_version, workers, queues, labels,
 * state: "running" | "draining" | "gone", tasks_done, tasks_failed, tasks: [ids now], beat, beat_at, started_at, created_at, schema_version} */

#include "hub/hub.h"

int runner_record_save(struct hub *hub, const bson_t *fields, char id[HUB_ID_SIZE], bson_error_t *error);
/* beat + 1 and what changed. */
int runner_record_beat(struct hub *hub, const char *id, const bson_t *changes, bson_error_t *error);
int runner_record_end(struct hub *hub, const char *id, bson_error_t *error);
struct store_cursor *runner_record_find(struct hub *hub, const bson_t *filter, bson_error_t *error);

#endif
