/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "cli/picture.h"
#include "cli/prediction_print.h"
#include "cli/select_model.h"
#include "runner/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define COUNT_MOST (INT64_C(1) << 40)
#define BATCH_MOST (1 << 20)

static const struct cli_option options[] = {
    {"model", 'm', CLI_TEXT, "MODEL", "a gan's, by id, name, condition ('tags=clothes') or query as JSON"},
    {"sort", 's', CLI_TEXT, "KEYS", "of several models the first in this order (default: the newest)"},
    {"count", 'n', CLI_COUNT, "N", "rows to make (default 64)"},
    {"seed", 0, CLI_COUNT, "S", "of the noise (default 0): the same model and seed give the same rows"},
    {"png", 0, CLI_TEXT, "FILE", "a picture of them, a tile each (- is standard output)"},
    {"columns", 0, CLI_COUNT, "C", "tiles side by side in the picture (default: as many as below each other)"},
    {"scale", 0, CLI_COUNT, "N", "a value is N times N pixels of the picture (default 1)"},
    {"force", 0, CLI_FLAG, NULL, "write over a picture that is there"},
    {"save-dataset", 0, CLI_TEXT, "NAME", "put the rows into the hub, without labels"},
    {"save-split", 0, CLI_TEXT, "SPLIT", "their split in it (default train)"},
    {"batch-size", 0, CLI_COUNT, "N", "rows at once (default 256)"},
    {"device", 0, CLI_TEXT, "DEVICE", "cpu (the default) or ref"},
    {"threads", 0, CLI_COUNT, "N", "threads (default 1)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

struct running {
    struct cli *cli;
    struct sample_about about;
    int64_t count;
    struct prediction_print *print; /* rows go to stdout where nothing else becomes of them */
    struct picture *picture;
    struct bar bar;
};

static int begin(void *context, const struct sample_about *about, bson_error_t *error)
{
    struct running *running = context;
    struct cli *cli = running->cli;
    const int64_t square = (int64_t)ceil(sqrt((double)running->count));
    running->about = *about;
    if (cli_text(cli, "png") != NULL) {
        running->picture = picture_new(about->shape.rank, about->shape.dims, running->count,
                                       cli_integer(cli, "columns", square), cli_integer(cli, "scale", 1), error);
        return running->picture != NULL ? 0 : -1;
    }
    if (cli_text(cli, "save-dataset") == NULL) {
        struct predict_about rows = {.rows = running->count, .outputs = shape_size(&about->shape)};
        running->print = prediction_print_open(cli, &rows, 0, false);
    }
    return 0;
}

static int take_batch(void *context, int64_t first, int64_t rows, const float *values, bson_error_t *error)
{
    struct running *running = context;
    (void)error;
    if (running->picture != NULL) {
        picture_put(running->picture, first, rows, values);
    }
    if (running->print != NULL) {
        struct predict_batch batch = {.first = first, .rows = rows, .out = values};
        prediction_print_rows(running->print, &batch);
    }
    if (running->print == NULL || !running->cli->stdout_terminal) {
        bar_draw(&running->bar, "making rows", (double)(first + rows) / (double)running->count);
    }
    return ferror(stdout) ? 1 : 0; /* nobody reads: what is wrong is said at the end */
}

/* ---- the picture ---- */

static int write_to(const struct running *running, FILE *file)
{
    bson_error_t error;
    const struct sample_about *about = &running->about; /* without bounds both are 0 */
    return picture_write(running->picture, about->low, about->high, file, &error) < 0 ? cli_fail(&error) : CLI_DONE;
}

/* Into a new file beside path, which takes its place once everything is written. */
static int write_picture(const struct running *running, const char *path)
{
    if (strcmp(path, "-") == 0) {
        int written = write_to(running, stdout);
        return written == CLI_DONE ? output_flush() : written;
    }
    char *part = bson_strdup_printf("%s.part-%ld", path, (long)getpid());
    int code = CLI_DONE, fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (file == NULL) {
        code = cli_say(CLI_FAILED, "%s: %s", part, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
    } else {
        code = write_to(running, file);
        bool failed = fflush(file) != 0 || fsync(fileno(file)) < 0;
        failed = fclose(file) != 0 || failed;
        if (code == CLI_DONE && (failed || rename(part, path) < 0)) {
            code = cli_say(CLI_FAILED, "%s: %s", path, strerror(errno));
        }
    }
    if (code != CLI_DONE && fd >= 0) {
        unlink(part);
    }
    bson_free(part);
    return code;
}

/* ---- the verb ---- */

static int finish_save(struct cli *cli, struct dataset_writer *writer, int64_t rows)
{
    bson_t dataset;
    bson_error_t error;
    int code = CLI_DONE, saved = dataset_writer_finish(writer, &dataset, &error);
    const char *verb = saved == 0 ? "nothing new:" : saved == DATASET_LABELLED ? "no new data; tags and description of" : "saved";
    const char *png = cli_text(cli, "png");
    if (saved < 0) {
        code = cli_fail(&error);
    } else if (png != NULL && strcmp(png, "-") == 0) { /* stdout has the picture */
        cli_note("%s dataset %s version %lld (%lld rows)", verb, output_text(&dataset, "name"),
                 (long long)output_integer(&dataset, "version", 1), (long long)rows);
    } else {
        code = output_object(cli, &dataset, "%s dataset %s version %lld (%lld rows)", verb, output_text(&dataset, "name"),
                             (long long)output_integer(&dataset, "version", 1), (long long)rows);
    }
    bson_destroy(&dataset);
    return code;
}

static int sample(struct cli *cli, const bson_t *model, const bson_t *fields)
{
    struct running running = {.cli = cli, .count = cli_integer(cli, "count", 64)};
    struct dataset_writer *writer;
    bson_error_t error = {0};
    const char *png = cli_text(cli, "png");
    struct sample_options run = {.hub = cli->hub,
                                 .model = model,
                                 .count = running.count,
                                 .seed = (uint64_t)cli_integer(cli, "seed", 0),
                                 .device_name = cli_text(cli, "device"),
                                 .threads = (int)cli_integer(cli, "threads", 0),
                                 .batch_size = cli_integer(cli, "batch-size", 0),
                                 .begin = begin,
                                 .batch = take_batch,
                                 .context = &running,
                                 .save_name = cli_text(cli, "save-dataset"),
                                 .save_split = cli_text(cli, "save-split"),
                                 .save_fields = fields};
    bar_init(&running.bar, cli);
    int result = sample_run(&run, &writer, &error);
    bar_end(&running.bar);
    int code = prediction_print_close(running.print, result > 0);
    if (result < 0) {
        code = cli_fail(&error);
    }
    if (code == CLI_DONE && running.picture != NULL) {
        code = write_picture(&running, png);
    }
    if (code == CLI_DONE && running.picture != NULL && strcmp(png, "-") != 0) {
        cli_note("wrote %s (%lld tiles)", png, (long long)running.count);
    }
    if (code == CLI_DONE && writer != NULL) {
        code = finish_save(cli, writer, running.count);
    }
    dataset_writer_close(writer);
    picture_free(running.picture);
    return code;
}

static int check_range(struct cli *cli, const char *option, int64_t most)
{
    int64_t value = cli_integer(cli, option, 1);
    if (value < 1 || value > most) {
        return cli_usage(cli, "--%s %lld: 1 to %lld", option, (long long)value, (long long)most);
    }
    return CLI_DONE;
}

static int check_options(struct cli *cli)
{
    static const struct {
        const char *option;
        int64_t most;
    } ranges[] = {{"count", COUNT_MOST}, {"columns", COUNT_MOST}, {"scale", 64}, {"batch-size", BATCH_MOST}, {"threads", 1024}};
    const char *device = cli_text(cli, "device"), *save = cli_text(cli, "save-dataset"), *png = cli_text(cli, "png");
    int code = CLI_DONE;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges && code == CLI_DONE; i++) {
        code = check_range(cli, ranges[i].option, ranges[i].most);
    }
    if (code != CLI_DONE) {
        return code;
    }
    if (device != NULL && strcmp(device, "cpu") != 0 && strcmp(device, "ref") != 0) {
        return cli_usage(cli, "--device %s: known are cpu and ref", device);
    }
    if (save != NULL && (*save == '\0' || !bson_utf8_validate(save, strlen(save), false))) {
        return cli_usage(cli, "--save-dataset: the name of a dataset must be UTF-8 and not empty");
    }
    if (save == NULL && cli_text(cli, "save-split") != NULL) {
        return cli_usage(cli, "--save-split: goes with --save-dataset");
    }
    if (png == NULL && (cli_text(cli, "columns") != NULL || cli_text(cli, "scale") != NULL)) {
        return cli_usage(cli, "--columns and --scale: go with --png");
    }
    if (png != NULL && strcmp(png, "-") == 0 && cli->stdout_terminal) {
        return cli_usage(cli, "--png -: a picture does not belong on a terminal: redirect it");
    }
    if (png != NULL && strcmp(png, "-") != 0 && !cli_flag(cli, "force") && access(png, F_OK) == 0) {
        return cli_say(CLI_FAILED, "%s: is there already: use --force to write over it", png);
    }
    return CLI_DONE;
}

static int run(struct cli *cli)
{
    bson_t model, fields = BSON_INITIALIZER;
    bson_init(&model);
    int code = check_options(cli);
    if (code == CLI_DONE) {
        code = fields_append_common(cli, &fields);
    }
    if (code == CLI_DONE) {
        bson_destroy(&model);
        code = select_model(cli, cli_text(cli, "model"), &model);
    }
    if (code == CLI_DONE) {
        code = sample(cli, &model, &fields);
    }
    bson_destroy(&fields);
    bson_destroy(&model);
    return code;
}

const struct cli_command cmd_sample = {
    .verb = "sample",
    .summary = "Make rows with a gan's generator: as a picture, a dataset, or numbers",
    .arguments = "",
    .groups = {options, select_options, fields_options},
    .details =
        "Noise is drawn from the seed and a row's number: the first rows of a larger --count are the same ones. Without\n"
        "--png and --save-dataset the values are printed, as predict prints them.\n"
        "In the picture the least value that the training data can have is black and the greatest white; where the data\n"
        "are not bytes, the least and the greatest of the rows that were made. Rows of three channels are coloured.\n"
        "--save-dataset makes a dataset of the values as the net gives them, tagged with the model. A model that was trained\n"
        "on the same data, a classifier say, then tells what it takes them for: tl_hub predict.",
    .examples = "  tl_hub sample --model gan --count 100 --png clothes.png --scale 4\n"
                "  tl_hub sample --model gan --count 1000 --seed 7 --save-dataset made\n"
                "  tl_hub sample --model gan --count 3 -o csv",
    .run = run,
};
