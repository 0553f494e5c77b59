/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_TL_HUB_H
#define TL_HUB_TL_HUB_H

/* Everything that the hub's library offers, for programs that use it from outside:
 *
 *     cc program.c $(pkg-config --cflags --libs tl_hub)
 *
 * C++ programs include this one header: its functions are C's (the others do not say so themselves).
 *
 * connect: hub_open          save, find, delete: dataset.h, model.h, architecture_record.h, logs.h
 * create-task, find-task: task.h        search by keyword: {words: {$all: hub_split_words(text)}} */

/* What the hub's headers include of others, which must stand outside. */
#include <bson/bson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "hub/architecture_record.h"
#include "hub/archive.h"
#include "hub/blob.h"
#include "hub/dataset.h"
#include "hub/error.h"
#include "hub/fsck.h"
#include "hub/gc.h"
#include "hub/hub.h"
#include "hub/logs.h"
#include "hub/model.h"
#include "hub/runner_record.h"
#include "hub/schema.h"
#include "hub/store.h"
#include "hub/sweep_record.h"
#include "hub/task.h"
#include "hub/task_class.h"
#include "hub/task_source.h"

#ifdef __cplusplus
}
#endif

#endif
