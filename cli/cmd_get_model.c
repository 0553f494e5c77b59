/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/select_model.h"
#include "cli/text.h"
#include "hub/blob.h"
#include "hub/model_retain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_option options[] = {
    {"output", 'o', CLI_TEXT, "FILE", "where the weights go (default: ID.safetensors; - is standard output)"},
    {"force", 0, CLI_FLAG, NULL, "write over a file that is there"},
    {"format", 0, CLI_TEXT, "FORMAT", "of what is said about it: table, json or csv"},
    {"sort", 's', CLI_TEXT, "KEYS", "of several models the first in this order (default: the newest)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static int write_all(int fd, const uint8_t *data, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, data, length);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            data += n;
            length -= (size_t)n;
        }
    }
    return 1;
}

/* The blob into fd; its digest has been checked when this is CLI_DONE. */
static int copy_blob(struct cli *cli, const bson_oid_t *id, int fd, const char *path)
{
    bson_error_t error;
    uint8_t *buffer = bson_malloc(BLOB_CHUNK_BYTES);
    int64_t done = 0, n = -1;
    int code = CLI_DONE;
    struct bar bar;

    bar_init(&bar, cli);
    struct blob_reader *reader = blob_reader_open(hub_store(cli->hub), id, &error);
    int64_t length = reader != NULL ? blob_reader_info(reader)->length : 0;
    /* Never more than is left in one read; the read after the last byte is the one that checks the digest. */
    while (reader != NULL) {
        size_t size =
            length - done > 0 && length - done < BLOB_CHUNK_BYTES ? (size_t)(length - done) : BLOB_CHUNK_BYTES;
        n = blob_reader_read(reader, buffer, size, &error);
        if (n <= 0) {
            break;
        }
        if (write_all(fd, buffer, (size_t)n) < 0) {
            code = cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
            goto out;
        }
        done += n;
        bar_draw(&bar, path, (double)done / (double)length);
    }
    if (n < 0) {
        bar_end(&bar);
        code = cli_fail(&error);
    }
out:
    bar_end(&bar);
    blob_reader_close(reader);
    bson_free(buffer);
    return code;
}

/* Into a new file beside path, which takes its place once everything is written. */
static int write_file(struct cli *cli, const bson_oid_t *id, const char *path)
{
    char *part = bson_strdup_printf("%s.part-%ld", path, (long)getpid());
    int code = CLI_DONE;

    if (!cli_flag(cli, "force") && access(path, F_OK) == 0) {
        code = cli_say(CLI_FAILED, "%s: is there already: use --force to write over it", path);
        bson_free(part);
        return code;
    }
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        code = cli_say(CLI_FAILED, "%s: %s", part, strerror(errno));
        bson_free(part);
        return code;
    }
    code = copy_blob(cli, id, fd, path);
    bool failed = fsync(fd) < 0;
    failed = close(fd) < 0 || failed;
    if (code == CLI_DONE && (failed || rename(part, path) < 0)) {
        code = cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    if (code != CLI_DONE) {
        unlink(part);
    }
    bson_free(part);
    return code;
}

static int run(struct cli *cli)
{
    bson_t model;
    bson_iter_t blob;
    char *path = NULL;

    int code = select_model(cli, cli->argument_count > 0 ? cli->arguments[0] : NULL, &model);
    if (code != CLI_DONE) {
        goto out;
    }
    const char *id = output_text(&model, "_id"), *given = cli_text(cli, "output");
    if (!output_find(&model, "blob_id", &blob) || !BSON_ITER_HOLDS_OID(&blob)) {
        char text[400];
        model_say_no_weights(&model, text, sizeof text);
        code = cli_say(CLI_NOTHING, "%s", text);
        goto out;
    }
    if (given != NULL && strcmp(given, "-") == 0) {
        if (isatty(STDOUT_FILENO)) {
            code = cli_usage(cli, "-o -: weights do not belong on a terminal: redirect them");
        } else {
            code = copy_blob(cli, bson_iter_oid(&blob), STDOUT_FILENO, "standard output");
        }
        goto out;
    }
    if (given == NULL && (id == NULL || !text_is_hex(id, 6))) {
        code = cli_usage(cli, "give the file's name with -o FILE"); /* the id of a foreign model is no file's name */
        goto out;
    }
    path = given != NULL ? bson_strdup(given) : bson_strdup_printf("%s.safetensors", id);
    code = write_file(cli, bson_iter_oid(&blob), path);
    if (code == CLI_DONE) {
        char size[32];
        const char *digest = output_text(&model, "sha256");
        text_format_bytes(output_integer(&model, "bytes", 0), size, sizeof size);
        code = output_object(cli, &model, "wrote %s (%s, sha256 %s)", path, size, digest != NULL ? digest : "unknown");
    }
out:
    bson_free(path);
    bson_destroy(&model);
    return code;
}

const struct cli_command cmd_get_model = {
    .verb = "get-model",
    .summary = "Write a model's weights into a safetensors file",
    .arguments = "[MODEL]",
    .most = 1,
    .groups = {options, select_options},
    .details = "Length and digest are checked; the file appears only when it is complete.",
    .examples = "  tl_hub get-model 3f9a1c -o best.safetensors\n"
                "  tl_hub get-model --where tags=fashion --sort accuracy:desc -o best.safetensors",
    .run = run,
};
