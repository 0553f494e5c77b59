/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/json.h"
#include "cli/output.h"
#include "distributor/submit.h"
#include "hub/model.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define HEADER_BYTES (16u << 20)

static const struct cli_option options[] = {
    {"name", 0, CLI_TEXT, "NAME", "the model's name (default: the file's)"},
    {"architecture", 0, CLI_TEXT, "TEXT", "the net that the weights are of: short form, JSON or @FILE"},
    {"set", 0, CLI_TEXTS, "KEY=VALUE", "any key of the model, such as accuracy=0.91; may be given again"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

struct source {
    FILE *file;
    const char *path;
    int64_t size, done;
    struct bar bar;
};

static int64_t read_source(void *data, void *buffer, size_t size)
{
    struct source *source = data;
    size_t n = fread(buffer, 1, size, source->file);
    if (n == 0 && ferror(source->file)) {
        return -1;
    }
    source->done += (int64_t)n;
    bar_draw(&source->bar, source->path, (double)source->done / (double)source->size);
    return (int64_t)n;
}

/* The floats of all tensors, and the end of the last one; false where the header is not one. */
static bool measure_tensors(const bson_t *header, int64_t *end, int64_t *parameters)
{
    bson_iter_t iter, tensor, inner;
    *end = 0;
    *parameters = 0;
    for (bool more = bson_iter_init(&iter, header) && bson_iter_next(&iter); more; more = bson_iter_next(&iter)) {
        int64_t offsets[2] = {-1, -1}, count = 1;
        if (strcmp(bson_iter_key(&iter), "__metadata__") == 0) {
            continue;
        }
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter) || !bson_iter_recurse(&iter, &tensor) ||
            !bson_iter_find(&tensor, "data_offsets") || !bson_iter_recurse(&tensor, &inner)) {
            return false;
        }
        for (int i = 0; i < 2 && bson_iter_next(&inner); i++) {
            offsets[i] = BSON_ITER_HOLDS_INT(&inner) ? bson_iter_as_int64(&inner) : -1;
        }
        if (offsets[0] < 0 || offsets[1] < offsets[0]) {
            return false;
        }
        *end = offsets[1] > *end ? offsets[1] : *end;
        if (!bson_iter_recurse(&iter, &tensor) || !bson_iter_find(&tensor, "shape") ||
            !bson_iter_recurse(&tensor, &inner)) {
            return false;
        }
        while (bson_iter_next(&inner)) {
            int64_t dimension = BSON_ITER_HOLDS_INT(&inner) ? bson_iter_as_int64(&inner) : -1;
            if (dimension < 0 || (dimension > 0 && count > INT64_MAX / dimension)) {
                return false;
            }
            count *= dimension;
        }
        *parameters += count <= offsets[1] - offsets[0] ? count : 0;
    }
    return true;
}

/* Whether the file is what it is called, and of the graph (NULL: any); leaves it at its beginning. */
static int check_header(struct source *source, const char *graph, int64_t *parameters)
{
    unsigned char first[8];
    uint64_t length = 0;
    bson_t header = BSON_INITIALIZER;
    bson_error_t error;
    uint8_t *bytes = NULL;
    int64_t end;
    int code = CLI_FAILED;

    if (fread(first, 1, 8, source->file) != 8) {
        cli_say(CLI_FAILED, "%s: too short to be a safetensors file", source->path);
        goto out;
    }
    for (int i = 7; i >= 0; i--) {
        length = length << 8 | first[i];
    }
    if (length > HEADER_BYTES || (int64_t)length > source->size - 8) {
        cli_say(CLI_FAILED, "%s: not a safetensors file, or truncated in its header", source->path);
        goto out;
    }
    bytes = bson_malloc(length + 9);
    memcpy(bytes, first, 8);
    char *text = (char *)bytes + 8;
    if (fread(text, 1, length, source->file) != length) {
        cli_say(CLI_FAILED, "%s: %s", source->path, ferror(source->file) ? strerror(errno) : "truncated in its header");
        goto out;
    }
    bson_destroy(&header);
    if (json_read_document(text, length, &header, &error) < 0) {
        cli_say(CLI_FAILED, "%s: its header is not a safetensors file's: %s", source->path, error.message);
        goto out;
    }
    if (!measure_tensors(&header, &end, parameters)) {
        cli_say(CLI_FAILED, "%s: its header is not a safetensors file's", source->path);
        goto out;
    }
    if (end != source->size - 8 - (int64_t)length) {
        cli_say(CLI_FAILED, "%s: its tensors need %lld bytes, but it has %lld: truncated, or something follows them",
                source->path, (long long)end, (long long)(source->size - 8 - (int64_t)length));
        goto out;
    }
    rewind(source->file);
    code = CLI_DONE;
    if (graph != NULL && submit_check_weights(graph, bytes, (size_t)length + 8, &error) < 0) {
        code = cli_say(CLI_FAILED, "%s: not weights of --architecture: %s", source->path, error.message);
    }
out:
    bson_free(bytes);
    bson_destroy(&header);
    return code;
}

/* *graph (bson_free) is NULL without --architecture. */
static int append_architecture(struct cli *cli, bson_t *fields, char **graph)
{
    const char *text = cli_text(cli, "architecture");
    char *loaded = NULL;
    size_t length;
    bson_t parsed = BSON_INITIALIZER;
    bson_error_t error;
    int code = CLI_DONE;

    if (text == NULL) {
        goto out;
    }
    if (*text == '@') {
        const char *path = text + 1;
        code = fields_read_file(path, 1 << 20, &loaded, &length);
        text = loaded;
    }
    if (code == CLI_DONE && submit_architecture(text, graph, &error) < 0) {
        code = cli_fail(&error);
    }
    if (code == CLI_DONE) {
        bson_destroy(&parsed);
        if (json_read_document(*graph, strlen(*graph), &parsed, &error) < 0) {
            code = cli_fail(&error);
        } else {
            BSON_APPEND_DOCUMENT(fields, "architecture", &parsed);
        }
    }
out:
    bson_free(loaded);
    bson_destroy(&parsed);
    return code;
}

/* Keys that other options give, and those that the hub sets. */
static int check_settings(const struct cli *cli, const bson_t *settings)
{
    static const char *const reserved[] = {"_id",    "project",    "name",  "description", "tags",           "words",
                                           "task",   "task_seq",   "claim", "blob_id",     "sha256",         "bytes",
                                           "deleted", "created_at", "run",   "revision",    "schema_version", "architecture",
                                           "log_claims", "log_points"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (bson_has_field(settings, reserved[i])) {
            return cli_usage(cli, "--set %s: not a key of your own: the hub or another option sets it", reserved[i]);
        }
    }
    return CLI_DONE;
}

static int append_fields(struct cli *cli, const char *path, bson_t *fields, char **graph)
{
    bson_t settings = BSON_INITIALIZER;
    const char *name = cli_text(cli, "name"), *slash = strrchr(path, '/');
    char *stem = bson_strdup(slash != NULL ? slash + 1 : path);
    char *dot = strstr(stem, ".safetensors");

    if (dot != NULL && dot != stem) {
        *dot = '\0';
    }
    int code = fields_append_text(cli, "name", "name", name != NULL ? name : stem, fields);
    if (code == CLI_DONE) {
        code = fields_append_common(cli, fields);
    }
    if (code == CLI_DONE) {
        code = append_architecture(cli, fields, graph);
    }
    if (code == CLI_DONE) {
        code = fields_append_settings(cli, "set", &settings);
    }
    if (code == CLI_DONE) {
        code = check_settings(cli, &settings);
    }
    if (code == CLI_DONE) {
        bson_concat(fields, &settings);
    }
    bson_destroy(&settings);
    bson_free(stem);
    return code;
}

static int run(struct cli *cli)
{
    struct source source = {.path = cli->arguments[0]};
    bson_t fields = BSON_INITIALIZER, model = BSON_INITIALIZER;
    bson_error_t error;
    struct stat status;
    int64_t parameters = 0;
    char *graph = NULL;
    int code;

    bar_init(&source.bar, cli);
    source.file = fopen(source.path, "rbe");
    if (source.file == NULL || fstat(fileno(source.file), &status) < 0) {
        code = cli_say(errno == ENOENT ? CLI_NOTHING : CLI_FAILED, "%s: %s", source.path, strerror(errno));
        goto out;
    }
    source.size = status.st_size;
    code = append_fields(cli, source.path, &fields, &graph);
    if (code == CLI_DONE) {
        code = check_header(&source, graph, &parameters);
    }
    if (code == CLI_DONE && !bson_has_field(&fields, "parameters")) {
        BSON_APPEND_INT64(&fields, "parameters", parameters);
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_CREATE);
    }
    if (code == CLI_DONE) {
        bson_destroy(&model);
        int saved = model_save(cli->hub, &fields, read_source, &source, &model, &error);
        bar_end(&source.bar);
        const char *id = saved >= 0 ? output_text(&model, "_id") : NULL;
        code = saved < 0 ? cli_fail(&error)
                         : output_object(cli, &model, "saved model %s (%s)", output_text(&model, "name"),
                                         id != NULL ? id : "");
    }
out:
    if (source.file != NULL) {
        fclose(source.file);
    }
    bson_free(graph);
    bson_destroy(&fields);
    bson_destroy(&model);
    return code;
}

const struct cli_command cmd_save_model = {
    .verb = "save-model",
    .summary = "Put weights from a safetensors file into the hub, as a model",
    .arguments = "FILE",
    .least = 1,
    .most = 1,
    .groups = {options, fields_options},
    .examples =
        "  tl_hub save-model net.safetensors --name mlp --architecture 'dense:100:relu dense:10' --set accuracy=0.91",
    .run = run,
};
