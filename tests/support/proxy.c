/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "no connection to the proxy");
    return fd;
}

void proxy_start(struct proxy *proxy, const char *uri)
{
    int port = 0, control = 0;
    char hosts[256];
    const char *start = strstr(uri, "://") + 3;
    int length = (int)strcspn(start, "/?");
    snprintf(hosts, sizeof hosts, "%.*s", length, start);
    piped_start(&proxy->program, "proxy.py", hosts, "300");
    cr_assert(fscanf(proxy->program.output, "%d %d", &port, &control) == 2, "the proxy did not start");
    proxy->control = connect_to(control);
    cr_assert(asprintf(&proxy->uri, "mongodb://127.0.0.1:%d%s", port, start + length) > 0);
}

/* One line there, one line back. */
static void ask(struct proxy *proxy, const char *line, size_t length, char answer[64])
{
    size_t got = 0;
    answer[0] = '\0';
    cr_assert(write(proxy->control, line, length) == (ssize_t)length);
    while (got < 63 && !strchr(answer, '\n')) {
        ssize_t more = read(proxy->control, answer + got, 63 - got);
        cr_assert(more > 0, "the proxy does not answer");
        got += (size_t)more;
        answer[got] = '\0';
    }
}

void proxy_tell(struct proxy *proxy, const char *command, ...)
{
    char line[256], answer[64];
    va_list arguments;
    va_start(arguments, command);
    int length = vsnprintf(line, sizeof line - 1, command, arguments);
    va_end(arguments);
    line[length++] = '\n';
    ask(proxy, line, (size_t)length, answer);
    cr_assert_str_eq(answer, "ok\n");
}

int proxy_dropped(struct proxy *proxy)
{
    char answer[64];
    int dropped = 0;
    ask(proxy, "count\n", 6, answer);
    cr_assert_eq(sscanf(answer, "%*d %d", &dropped), 1, "%s", answer);
    return dropped;
}

void proxy_stop(struct proxy *proxy)
{
    close(proxy->control);
    piped_end(&proxy->program);
    free(proxy->uri);
}
