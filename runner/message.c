/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/message.h"
#include "hub/utf8.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What is not UTF-8 comes with foreign documents, and no JSON can say it: a task's name must not cost its end. */
static char *cleaned_json(const bson_t *message, size_t *length)
{
    bson_t copy = BSON_INITIALIZER;
    bson_iter_t at;
    bool done = bson_iter_init(&at, message);
    while (done && bson_iter_next(&at)) {
        uint32_t size;
        if (!BSON_ITER_HOLDS_UTF8(&at)) {
            done = bson_append_iter(&copy, NULL, 0, &at);
            continue;
        }
        const char *text = bson_iter_utf8(&at, &size);
        char *clean = bson_malloc((size_t)size + 1);
        memcpy(clean, text, (size_t)size + 1);
        utf8_clean(clean, size);
        done = bson_append_utf8(&copy, bson_iter_key(&at), -1, clean, (int)size);
        bson_free(clean);
    }
    char *json = done ? bson_as_relaxed_extended_json(&copy, length) : NULL;
    bson_destroy(&copy);
    return json;
}

int message_send(int socket, const bson_t *message, bool wait)
{
    size_t length;
    char *json = bson_as_relaxed_extended_json(message, &length);
    if (!json)
        json = cleaned_json(message, &length);
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
