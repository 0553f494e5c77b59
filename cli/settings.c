/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#define DEFAULT_URI    "sqlite:tl_hub.db"
#define SETTINGS_BYTES 65536

/* The URI within an argument, or NULL: after --hub, or wherever one of a server may begin. */
static char *find_uri(char *argument, bool after_hub)
{
    char *scheme = strcasestr(argument, "mongodb");
    char *slashes = strstr(argument, "://");

    if (after_hub) {
        return argument;
    }
    if (strncmp(argument, "--hub=", 6) == 0) {
        return argument + 6;
    }
    if (scheme != NULL && (slashes == NULL || scheme < slashes)) {
        return scheme;
    }
    return slashes;
}

void cli_hide_passwords(int argc, char **argv)
{
    bool after_hub = false;

    for (int i = 1; i < argc; i++) {
        char *uri = find_uri(argv[i], after_hub);
        after_hub = strcmp(argv[i], "--hub") == 0;
        if (uri != NULL) {
            char *copy = bson_strdup(argv[i]);
            store_hide_secrets(uri);
            argv[i] = copy;
        }
    }
}

/* The text of a small file. 1 read, 0 there is none, or -1 with errno. */
static int read_small(int fd, char **text)
{
    size_t length = 0;

    *text = bson_malloc0(SETTINGS_BYTES + 1);
    for (;;) {
        ssize_t n = read(fd, *text + length, SETTINGS_BYTES - length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -1 : 1;
        }
        length += (size_t)n;
        if (length == SETTINGS_BYTES) {
            errno = EFBIG;
            return -1;
        }
    }
}

static int read_hub_file(struct cli *cli, const char *path)
{
    struct stat status;
    char *text = NULL;
    int code = CLI_DONE;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) < 0) {
        code = cli_say(errno == ENOENT ? CLI_NOTHING : CLI_FAILED, "--hub-file %s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0 || (status.st_uid != geteuid() && geteuid() != 0)) {
        code =
            cli_say(CLI_FAILED, "--hub-file %s: must be a file of yours that nobody else can read: chmod 600 it", path);
        goto out;
    }
    if (read_small(fd, &text) < 0) {
        code = cli_say(CLI_FAILED, "--hub-file %s: %s", path, strerror(errno));
        goto out;
    }
    char *start = text + strspn(text, " \t\r\n");
    start[strcspn(start, "\r\n")] = '\0';
    for (size_t length = strlen(start); length > 0 && isspace((unsigned char)start[length - 1]); length--) {
        start[length - 1] = '\0';
    }
    if (*start == '\0') {
        code = cli_say(CLI_FAILED, "--hub-file %s: no URI in it", path);
        goto out;
    }
    cli->uri = bson_strdup(start);
out:
    bson_free(text);
    if (fd >= 0) {
        close(fd);
    }
    return code;
}

/* One setting "key: value" of a file: fills what is not known yet. */
static int take_setting(struct cli *cli, const char *path, const yaml_node_t *key, const yaml_node_t *value)
{
    size_t line = key->start_mark.line + 1;
    const char *name = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : "?";
    char **place = strcmp(name, "hub") == 0 ? &cli->uri : strcmp(name, "project") == 0 ? &cli->project : NULL;

    if (place == NULL) {
        return cli_say(CLI_FAILED, "%s:%zu: unknown key '%s': known are hub and project", path, line, name);
    }
    if (value->type != YAML_SCALAR_NODE || value->data.scalar.length == 0) {
        return cli_say(CLI_FAILED, "%s:%zu: %s needs a text", path, line, name);
    }
    if (*place == NULL) {
        *place = bson_strdup((const char *)value->data.scalar.value);
    }
    return CLI_DONE;
}

static int parse_settings(struct cli *cli, const char *path, const char *text)
{
    yaml_parser_t parser;
    yaml_document_t document;
    int code = CLI_DONE;

    if (!yaml_parser_initialize(&parser)) {
        return cli_say(CLI_FAILED, "%s: not enough memory", path);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    if (!yaml_parser_load(&parser, &document)) {
        code = cli_say(CLI_FAILED, "%s:%zu: %s", path, parser.problem_mark.line + 1,
                       parser.problem != NULL ? parser.problem : "not YAML");
        yaml_parser_delete(&parser);
        return code;
    }
    yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root != NULL && root->type != YAML_MAPPING_NODE) {
        code = cli_say(CLI_FAILED, "%s:1: expected lines such as hub: sqlite:tl_hub.db", path);
    } else if (root != NULL) {
        for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
             pair < root->data.mapping.pairs.top && code == CLI_DONE; pair++) {
            code = take_setting(cli, path, yaml_document_get_node(&document, pair->key),
                                yaml_document_get_node(&document, pair->value));
        }
    }
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    return code;
}

static bool holds_secret(const char *uri)
{
    char *redacted = store_redact_uri(uri);
    bool differs = strcmp(redacted, uri) != 0;
    bson_free(redacted);
    return differs;
}

static int read_settings(struct cli *cli, const char *path)
{
    struct stat status;
    char *text = NULL;
    int code = CLI_DONE;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return CLI_DONE; /* none there, or not for us */
    }
    bool known = cli->uri != NULL;
    if (read_small(fd, &text) < 0) {
        code = cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
    } else {
        code = parse_settings(cli, path, text);
    }
    if (code == CLI_DONE && !known && cli->uri != NULL && holds_secret(cli->uri) &&
        (fstat(fd, &status) < 0 || (status.st_mode & S_IRWXO) != 0)) {
        code = cli_say(CLI_FAILED, "%s: holds a password, and every user of this machine can read it: chmod 600 it", path);
    }
    bson_free(text);
    close(fd);
    return code;
}

static int read_all_settings(struct cli *cli)
{
    const char *home = getenv("HOME"), *config = getenv("XDG_CONFIG_HOME");
    char *personal = NULL;
    int code = read_settings(cli, "tl_hub.yaml");

    if (config != NULL && *config == '/') {
        personal = bson_strdup_printf("%s/tl_hub/tl_hub.yaml", config);
    } else if (home != NULL && *home != '\0') {
        personal = bson_strdup_printf("%s/.config/tl_hub/tl_hub.yaml", home);
    }
    if (code == CLI_DONE && personal != NULL) {
        code = read_settings(cli, personal);
    }
    if (code == CLI_DONE) {
        code = read_settings(cli, "/etc/tl_hub/tl_hub.yaml");
    }
    bson_free(personal);
    return code;
}

int cli_settings(struct cli *cli)
{
    const char *uri = cli_text(cli, "hub"), *file = cli_text(cli, "hub-file"), *project = cli_text(cli, "project");
    int code = CLI_DONE;

    if (cli->uri != NULL) {
        return CLI_DONE;
    }
    /* An empty value is most likely a shell variable that was not set: the default would be the wrong place. */
    static const char *const options[] = {"hub", "hub-file", "project"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const char *text = cli_text(cli, options[i]);
        if (text != NULL && *text == '\0') {
            return cli_usage(cli, "--%s: is empty", options[i]);
        }
    }
    if (uri != NULL && file != NULL) {
        return cli_usage(cli, "--hub and --hub-file: give one of them");
    }
    if (file != NULL) {
        code = read_hub_file(cli, file);
        if (code != CLI_DONE) {
            return code;
        }
    } else {
        uri = uri != NULL ? uri : getenv("TL_HUB_URI");
        cli->uri = uri != NULL && *uri != '\0' ? bson_strdup(uri) : NULL;
    }
    project = project != NULL ? project : getenv("TL_HUB_PROJECT");
    cli->project = project != NULL && *project != '\0' ? bson_strdup(project) : NULL;
    if (cli->uri == NULL || cli->project == NULL) {
        code = read_all_settings(cli);
    }
    if (code == CLI_DONE && cli->uri == NULL) {
        cli->uri = bson_strdup(DEFAULT_URI);
    }
    return code;
}

int cli_open(struct cli *cli, unsigned flags)
{
    bson_error_t error;
    int code = cli_settings(cli);

    if (code != CLI_DONE) {
        return code;
    }
    cli->hub = hub_open(cli->uri, cli->project, flags, &error);
    if (cli->hub == NULL) {
        /* What cannot be a hub's URI is a slip on the command line. */
        code = cli_fail(&error);
        return hub_error_code(&error) == HUB_ERROR_INVALID ? CLI_USAGE : code;
    }
    return CLI_DONE;
}
