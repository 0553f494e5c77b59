/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_MACHINE_H
#define TL_RUNNER_MACHINE_H

#include "hub/error.h"

/* Processors that this process may use; at least 1. */
int machine_cores(void);
int64_t machine_memory_bytes(void);
/* What could still be allocated: the kernel's MemAvailable, less where a control group of this process allows less. 0 where
 * it cannot be told. */
int64_t machine_free_memory(void);
/* Free for this user where an SQLite hub's file lies, else where the runner keeps its local files (TMPDIR, /tmp); -1
 * where that cannot be told. */
int64_t machine_free_bytes(const char *hub_uri);
/* "Intel(R) Xeon(R) …" into text, or "unknown". */
void machine_cpu(char *text, size_t size);
void machine_host(char *text, size_t size);

#endif
