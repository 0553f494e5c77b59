/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_RUNNER_RECORD_H
#define TL_HUB_RUNNER_RECORD_H

/* Runners: {_id, project, projects, queues, resource_classes, labels, host, pid, cpu, cores, memory_bytes,
 * disk_free_bytes, device, gemm, program_version, libraries, workers, state: "running" | "draining" | "gone", tasks_done,
 * tasks_failed, tasks: [ids now], beat, beat_at, started_at, ended_at, created_at, schema_version}. project is the
 * first of projects. A runner with nothing new to say beats every two minutes, otherwise every 15 s. */

#include "hub/hub.h"

int runner_record_save(struct hub *hub, const bson_t *fields, char id[HUB_ID_SIZE], bson_error_t *error);
/* beat + 1 and what changed. */
int runner_record_beat(struct hub *hub, const char *id, const bson_t *changes, bson_error_t *error);
int runner_record_end(struct hub *hub, const char *id, bson_error_t *error);
/* Those that serve the hub's project and match filter (NULL: all), the newest first. */
struct store_cursor *runner_record_find(struct hub *hub, const bson_t *filter, bson_error_t *error);
/* How many say that they run, of all projects. */
int64_t runner_record_count(struct hub *hub, bson_error_t *error);
/* Removes the records of runners that have been gone, or silent by the server's clock, for RUNNER_RECORD_KEEP_MS. One
 * that lives after all writes its record again. The number removed. */
#define RUNNER_RECORD_KEEP_MS INT64_C(604800000)
int64_t runner_record_tidy(struct hub *hub, bson_error_t *error);

/* By the server's clock, for information: a runner whose last beat is older than this is likely to be dead. */
#define RUNNER_RECORD_SILENT_MS INT64_C(300000)

#endif
