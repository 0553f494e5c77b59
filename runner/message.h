/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_RUNNER_MESSAGE_H
#define TL_RUNNER_MESSAGE_H

/* What supervisor and worker say to each other: one JSON object a line, one line a packet of a Unix socket pair
 * (SOCK_SEQPACKET: a packet arrives whole or not at all, so a worker that is killed never leaves half a line).
 *
 * Supervisor → worker: {say: "configure", uri, list, sources, …} first; {say: "grant"} (a claim is allowed), {say:
 * "poll", list, source} (there may be work in this source again), {say: "sources", list, sources} (other sources from here
 * on), {say: "leave"} (finish what runs, then exit), {say: "output", text} (what the worker wrote on its stderr during
 * the task).
 * Worker → supervisor: {say: "ready"}, {say: "want"} (a claim), {say: "empty", list, source, idle} (nothing is ready in
 * this source; idle: nor in any other), {say: "device", gemm, library}, {say: "output"}, {say: "fatal", code, error}
 * and the events: {say: "claimed" | "epoch" | "progress" | "done" | "failed" | "released" | "lost" | "note", …}. */

#include "hub/error.h"

#define MESSAGE_BYTES (160 * 1024)

/* Texts that are not UTF-8 go with question marks. 1 sent, 0 not sent because the other side reads too slowly (only where wait is false), -1 the other side is gone, or
 * the message is too long. */
int message_send(int socket, const bson_t *message, bool wait);
/* For messages that are only a word. */
int message_say(int socket, const char *word);
/* 1 with *message (initialised always, bson_destroy it), 0 nothing came within timeout_ms (-1: for ever; also 0 when a signal
 * came), -1 the other side is gone. */
int message_receive(int socket, int timeout_ms, bson_t *message);

#endif
