/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_FAULT_H
#define TL_HUB_FAULT_H

/* Named fault points and local histories, for tests: compiled in only with the CMake option TL_HUB_FAULTS, elsewhere
 * every macro here is nothing (tests/torture/test_fault_absent.py compares the object code). Not installed.
 *
 * TL_HUB_FAULT=NAME:ACTION[:PASS[:MS]],…   what to do at a point, read once a process. PASS is which pass of the point
 *     acts (1 by default, * for each). NAME is STEP.before or STEP.after. ACTION:
 *       kill    SIGKILL to this process          stop    SIGSTOP to this process
 *       delay   sleeps MS (100)
 *       cut     the thread's next write is not sent, and its outcome is said to be unknown
 *       lose    the thread's next write is made, and its outcome is said to be unknown
 *       full    the thread's next write finds the disk full; away: finds no hub
 * TL_HUB_FAULT_ONCE=PATH   only the process that makes this file acts: for workers that are started again
 * TL_HUB_HISTORY=FOLDER    each process appends there, to a file of its own, what it tried and which answer it believed:
 *     one line a write, "MICROSECONDS PID try|did VERB TASK CLAIM …", by CLOCK_BOOTTIME, so that the lines of all processes
 *     of one machine can be ordered. tests/torture/checker.py reads them. */

#ifdef TL_HUB_FAULTS

#include "hub/error.h"

struct store_operation;

void fault_point(const char *name);
/* STEP.before (after false) or STEP.after of a batch's operation; the step is named by its kind and collection. */
void fault_step(const struct store_operation *operation, bool after);
/* Whether the batch's inserts travel one by one: then there is a point between them. */
bool fault_apart(void);
/* Before a write: whether it must not be sent. After one that was made: whether its reply is lost. *error says so. */
bool fault_refused(bson_error_t *error);
bool fault_lost(bson_error_t *error);
void fault_history(const char *format, ...) BSON_GNUC_PRINTF(1, 2);
/* A fenced write: its history and its points VERB.before and VERB.after. */
void fault_try(const char *verb, const char *task, const char *claim);
void fault_did(const char *verb, const char *task, const char *claim, int result);

#define TL_FAULT(name)             fault_point(name)
#define TL_FAULT_STEP(operation, after) fault_step(operation, after)
#define TL_FAULT_APART()           fault_apart()
#define TL_FAULT_REFUSED(error)    fault_refused(error)
#define TL_FAULT_LOST(error)       fault_lost(error)
#define TL_HISTORY(...)            fault_history(__VA_ARGS__)
#define TL_TRY(verb, fence)        fault_try(verb, (fence)->task_id, (fence)->claim_id)
#define TL_DID(verb, fence, result) fault_did(verb, (fence)->task_id, (fence)->claim_id, result)

#else

#define TL_FAULT(name)             ((void)0)
#define TL_FAULT_STEP(operation, after) ((void)0)
#define TL_FAULT_APART()           false
#define TL_FAULT_REFUSED(error)    false
#define TL_FAULT_LOST(error)       false
#define TL_HISTORY(...)            ((void)0)
#define TL_TRY(verb, fence)        ((void)0)
#define TL_DID(verb, fence, result) ((void)0)

#endif
#endif
