/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/message.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int message_send(int socket, const bson_t *message, bool wait)
{
    size_t length;
    char *json = bson_as_relaxed_extended_json(message, &length);
    if (!json)
        return -1;
    if (length + 1 > MESSAGE_BYTES) {
        bson_free(json);
        return -1;
    }
    json[length] = '\n'; /* in the place of the NUL */
    ssize_t sent;
    do
        sent = send(socket, json, length + 1, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    while (sent < 0 && errno == EINTR);
    bson_free(json);
    if (sent >= 0)
        return 1;
    return !wait && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
}

int message_say(int socket, const char *word)
{
    bson_t message = BSON_INITIALIZER;
    int sent = BSON_APPEND_UTF8(&message, "say", word) ? message_send(socket, &message, true) : -1;
    bson_destroy(&message);
    return sent;
}

int message_receive(int socket, int timeout_ms, bson_t *message)
{
    bson_init(message);
    struct pollfd ready = {.fd = socket, .events = POLLIN};
    int count = poll(&ready, 1, timeout_ms);
    if (count <= 0)
        return count == 0 || errno == EINTR ? 0 : -1;
    char *buffer = malloc(MESSAGE_BYTES);
    if (!buffer)
        return -1;
    ssize_t length = recv(socket, buffer, MESSAGE_BYTES, MSG_DONTWAIT);
    int result = -1;
    if (length < 0)
        result = errno == EINTR || errno == EAGAIN ? 0 : -1;
    if (length > 0) {
        bson_destroy(message);
        if (bson_init_from_json(message, buffer, length, NULL))
            result = 1;
        else
            bson_init(message);
    }
    free(buffer);
    return result;
}
