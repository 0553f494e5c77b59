/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fields.h"
#include "cli/json.h"
#include "cli/where.h"
#include "hub/pipeline.h"

#include <errno.h>
#include <string.h>

const struct cli_option fields_options[] = {
    {"description", 'd', CLI_TEXT, "TEXT", "a description, found by keyword"},
    {"tag", 't', CLI_TEXTS, "TAG", "a tag; may be given again"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

int fields_append_text(struct cli *cli, const char *option, const char *key, const char *text, bson_t *document)
{
    if (text == NULL) {
        return CLI_DONE;
    }
    if (!bson_utf8_validate(text, strlen(text), false)) {
        return cli_usage(cli, "--%s: must be UTF-8", option);
    }
    if (*text == '\0') {
        return cli_usage(cli, "--%s: is empty", option);
    }
    BSON_APPEND_UTF8(document, key, text);
    return CLI_DONE;
}

int fields_append_list(struct cli *cli, const char *option, const char *key, bson_t *document)
{
    bson_t list = BSON_INITIALIZER;
    uint32_t index = 0;
    const char *text;
    int code = CLI_DONE;

    for (size_t i = 0; code == CLI_DONE && (text = cli_texts(cli, option, i)) != NULL; i++) {
        for (const char *at = text; code == CLI_DONE; at++) {
            size_t length = strcspn(at, ",");
            char digits[16];
            const char *name;
            char *one = bson_strndup(at, length);
            bson_uint32_to_string(index++, &name, digits, sizeof digits);
            code = fields_append_text(cli, option, name, one, &list);
            bson_free(one);
            at += length;
            if (*at == '\0') {
                break;
            }
        }
    }
    if (code == CLI_DONE && index > 0) {
        BSON_APPEND_ARRAY(document, key, &list);
    }
    bson_destroy(&list);
    return code;
}

int fields_append_common(struct cli *cli, bson_t *document)
{
    int code = fields_append_text(cli, "description", "description", cli_text(cli, "description"), document);
    return code != CLI_DONE ? code : fields_append_list(cli, "tag", "tags", document);
}

int fields_append_settings(struct cli *cli, const char *option, bson_t *document)
{
    const char *text;
    bson_error_t error;

    for (size_t i = 0; (text = cli_texts(cli, option, i)) != NULL; i++) {
        if (where_parse_setting(text, document, &error) < 0) {
            return cli_usage(cli, "--%s: %s", option, error.message);
        }
    }
    return CLI_DONE;
}

int fields_append_query(struct cli *cli, const char *option, const char *key, const char *text, bson_t *document)
{
    bson_error_t error;
    bson_t query;
    int code = CLI_DONE;

    if (text == NULL || *text != '{') {
        return fields_append_text(cli, option, key, text, document);
    }
    if (json_read_document(text, strlen(text), &query, &error) < 0) {
        code = cli_usage(cli, "--%s: %s", option, error.message);
    } else {
        BSON_APPEND_DOCUMENT(document, key, &query);
    }
    bson_destroy(&query);
    return code;
}

int fields_read_file(const char *path, size_t limit, char **text, size_t *length)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    size_t size = 0, capacity = 4096;
    int code = CLI_DONE;

    *text = NULL;
    *length = 0;
    if (file == NULL) {
        return cli_say(errno == ENOENT ? CLI_NOTHING : CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    *text = bson_malloc(capacity + 1);
    for (size_t n; (n = fread(*text + size, 1, capacity - size, file)) > 0;) {
        size += n;
        if (size > limit) {
            code = cli_say(CLI_FAILED, "%s: more than %zu bytes", path, limit);
            break;
        }
        if (size == capacity) {
            capacity *= 2;
            *text = bson_realloc(*text, capacity + 1);
        }
    }
    if (code == CLI_DONE && ferror(file)) {
        code = cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    (*text)[size] = '\0';
    *length = size;
    if (file != stdin) {
        fclose(file);
    }
    return code;
}

int fields_read_pipeline(struct cli *cli, const char *option, char **text, size_t *length)
{
    const char *given = cli_text(cli, option);
    bson_t stages;
    bson_error_t error;
    int code = CLI_DONE;

    *text = NULL;
    *length = 0;
    if (given == NULL) {
        return CLI_DONE;
    }
    if (*given == '@') {
        code = fields_read_file(given + 1, 100000, text, length);
    } else {
        *text = bson_strdup(given);
        *length = strlen(given);
    }
    if (code == CLI_DONE && !bson_utf8_validate(*text, *length, false)) {
        return cli_usage(cli, "--%s is not valid UTF-8", option);
    }
    if (code == CLI_DONE) {
        code = pipeline_text_read(*text, &stages, &error) < 0 ? cli_usage(cli, "--%s: %s", option, error.message) : CLI_DONE;
        bson_destroy(&stages);
    }
    return code;
}
