/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/text.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

/* What a user typed may be shown again: a URI that stands where none is expected, too. Its secrets are not. */
static void hide_secrets(char *text)
{
    static const char ends[] = " \t\n", closing[] = "'\"):;,.";

    for (char *uri = strcasestr(text, "mongodb"); uri != NULL; uri = strcasestr(uri, "mongodb")) {
        size_t length = strcspn(uri, ends);
        char after = uri[length];
        while (length > 0 && strchr(closing, uri[length - 1]) != NULL) {
            after = uri[--length];
        }
        uri[length] = '\0';
        store_hide_secrets(uri);
        uri[length] = after;
        uri += length;
    }
}

/* One escaped line on stderr, in one write. */
static void say_line(const char *prefix, const char *format, va_list arguments)
{
    char *text = bson_strdupv_printf(format, arguments);
    bson_string_t *line = bson_string_new(prefix);

    hide_secrets(text);
    text_append_escaped(line, text, strlen(text));
    bson_string_append(line, "\n");
    fputs(line->str, stderr);
    bson_string_free(line, true);
    bson_free(text);
}

int cli_say(enum cli_exit code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_line("tl_hub: ", format, arguments);
    va_end(arguments);
    return (int)code;
}

void cli_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_line("", format, arguments);
    va_end(arguments);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = bson_strdupv_printf(format, arguments);
    va_end(arguments);
    cli_say(CLI_USAGE, "%s (see: tl_hub help %s)", text, cli->command->verb);
    bson_free(text);
    return CLI_USAGE;
}

enum cli_exit cli_exit_of(const bson_error_t *error)
{
    switch (hub_error_code(error)) {
    case HUB_ERROR_NOT_FOUND: return CLI_NOTHING;
    case HUB_ERROR_UNREACHABLE:
    case HUB_ERROR_UNKNOWN_OUTCOME:
    case HUB_ERROR_BUSY: return CLI_UNREACHABLE;
    case HUB_ERROR_UNAUTHORIZED: return CLI_UNAUTHORIZED;
    case HUB_ERROR_CONFLICT:
    case HUB_ERROR_DUPLICATE: return CLI_CONFLICT;
    default: return CLI_FAILED;
    }
}

int cli_fail(const bson_error_t *error)
{
    return cli_say(cli_exit_of(error), "%s", error->message);
}

const char *cli_plural(char *buffer, size_t size, int64_t count, const char *noun)
{
    snprintf(buffer, size, "%lld %s%s", (long long)count, noun, count == 1 ? "" : "s");
    return buffer;
}

bool cli_confirm(const struct cli *cli, const char *format, ...)
{
    char answer[16];
    va_list arguments;

    if (cli_flag(cli, "yes") || !isatty(STDIN_FILENO)) {
        return true;
    }
    va_start(arguments, format);
    char *question = bson_strdupv_printf(format, arguments);
    va_end(arguments);
    bson_string_t *line = bson_string_new(NULL);
    text_append_escaped(line, question, strlen(question));
    fprintf(stderr, "%s [y/N] ", line->str);
    fflush(stderr);
    bson_string_free(line, true);
    bson_free(question);
    if (fgets(answer, sizeof answer, stdin) == NULL) {
        return false;
    }
    return answer[0] == 'y' || answer[0] == 'Y';
}
