/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/message.h"
#include "runner/document.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

static void pass(const bson_t *message, bson_t *received)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    cr_assert_eq(message_send(ends[0], message, true), 1);
    cr_assert_eq(message_receive(ends[1], 1000, received), 1);
    close(ends[0]);
    close(ends[1]);
}

Test(message, what_is_sent_is_received)
{
    bson_t message = BSON_INITIALIZER, received;
    BSON_APPEND_UTF8(&message, "say", "done");
    BSON_APPEND_INT64(&message, "seq", 7);
    BSON_APPEND_UTF8(&message, "name", "Gr\xc3\xb6\xc3\x9f" "e");
    pass(&message, &received);
    int64_t seq = 0;
    cr_expect(document_integer(&received, "seq", &seq) && seq == 7);
    cr_expect_str_eq(document_string(&received, "name"), "Gr\xc3\xb6\xc3\x9f" "e");
    bson_destroy(&received);
    bson_destroy(&message);
}

/* A file's name in an error, a foreign task's name: the supervisor still hears how the task ended. */
Test(message, a_text_that_is_not_utf8_loses_no_message)
{
    bson_t message = BSON_INITIALIZER, received;
    BSON_APPEND_UTF8(&message, "say", "failed");
    bson_append_utf8(&message, "error", -1, "caf\xe9.idx: \xc3", -1);
    pass(&message, &received);
    cr_expect_str_eq(document_string(&received, "say"), "failed");
    cr_expect_str_eq(document_string(&received, "error"), "caf?.idx: ?");
    bson_destroy(&received);
    bson_destroy(&message);
}
