/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "cli/prediction_print.h"
#include "cli/select_model.h"
#include "distributor/csv_rows.h"
#include "distributor/csv_scan.h"
#include "distributor/idx_file.h"
#include "runner/data.h"
#include "runner/predict.h"
#include "runner/rows_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH_MOST (1 << 20)
#define CACHE_BYTES (INT64_C(256) << 20)

static const struct cli_option options[] = {
    {"model", 'm', CLI_TEXT, "MODEL", "by id, name, condition ('accuracy>0.9 and tags=cnn') or query as JSON"},
    {"sort", 's', CLI_TEXT, "KEYS", "of several models the first in this order (default: the newest)"},
    {"input", 'i', CLI_TEXT, "INPUT", "a CSV or IDX file (plain or .gz), or DATASET:SPLIT"},
    {"pipeline", 0, CLI_TEXT, "JSON", "of a dataset of rows: the stages that select and transform them, or @FILE"},
    {"labels", 0, CLI_TEXT, "FILE", "an IDX file with what the classes of the input file are"},
    {"skip-lines", 0, CLI_COUNT, "N", "lines of a CSV file before the first record"},
    {"top", 0, CLI_COUNT, "K", "the K most probable classes instead of every probability"},
    {"no-probabilities", 0, CLI_FLAG, NULL, "only the class"},
    {"save-dataset", 0, CLI_TEXT, "NAME", "put the rows with the predictions as labels into the hub"},
    {"save-split", 0, CLI_TEXT, "SPLIT", "their split in it (default: as they have; train for a file)"},
    {"steps", 0, CLI_COUNT, "N", "of a forecast: N rows after the last one too (default: as far as its horizon)"},
    {"batch-size", 0, CLI_COUNT, "N", "rows at once (default 256)"},
    {"device", 0, CLI_TEXT, "DEVICE", "cpu (the default) or ref"},
    {"threads", 0, CLI_COUNT, "N", "threads (default 1)"},
    {"quiet", 'q', CLI_FLAG, NULL, "no rows: only the score, and the dataset that was saved"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

struct input {
    bson_t dataset;
    struct data_cache *cache;     /* where a dataset of rows becomes files */
    char *split;                  /* of the dataset; NULL: the input is a file */
    struct idx_file *images, *labels;
    uint8_t *label_bytes;         /* (BATCH) */
    struct csv_rows *table;
    struct predict_bytes bytes;
};

struct running {
    struct cli *cli;
    struct prediction_print *print;
    struct bar bar;
    int64_t rows, done;
};

/* ---- the input ---- */

/* Classes are numbered from 0: one more than the largest label. The file is read once for that. */
static int count_classes(const char *path, int32_t *classes, bson_error_t *error)
{
    uint8_t block[4096];
    int result = -1;
    struct idx_file *file = idx_file_open(path, error);
    *classes = 0;
    if (file == NULL) {
        return -1;
    }
    for (int64_t left = idx_file_rows(file); left > 0;) {
        int64_t count = left < (int64_t)sizeof block ? left : (int64_t)sizeof block;
        if (idx_file_read(file, block, count, error) < 0) {
            goto out;
        }
        for (int64_t i = 0; i < count; i++) {
            *classes = block[i] >= *classes ? block[i] + 1 : *classes;
        }
        left -= count;
    }
    result = idx_file_end(file, error);
out:
    idx_file_close(file);
    return result;
}

static int read_rows(void *context, uint8_t *x, int32_t *labels, int64_t count, bson_error_t *error)
{
    struct input *input = context;
    if (idx_file_read(input->images, x, count, error) < 0) {
        return -1;
    }
    if (input->labels == NULL) {
        return 0;
    }
    if (idx_file_read(input->labels, input->label_bytes, count, error) < 0) {
        return -1;
    }
    for (int64_t i = 0; i < count; i++) {
        labels[i] = input->label_bytes[i];
    }
    return 0;
}

static int open_labels(struct cli *cli, struct input *input, const char *path)
{
    bson_error_t error;
    input->labels = idx_file_open(path, &error);
    if (input->labels == NULL) {
        return cli_fail(&error);
    }
    if (idx_file_rank(input->labels) != 1 || idx_file_rows(input->labels) != input->bytes.rows) {
        return cli_say(CLI_FAILED, "--labels %s: %lld rows of %d dimensions; it takes one number for each of the %lld rows of %s",
                       path, (long long)idx_file_rows(input->labels), idx_file_rank(input->labels),
                       (long long)input->bytes.rows, cli_text(cli, "input"));
    }
    return count_classes(path, &input->bytes.classes, &error) < 0 ? cli_fail(&error) : CLI_DONE;
}

static int open_file(struct cli *cli, struct input *input, const char *path)
{
    bson_error_t error;
    const char *labels = cli_text(cli, "labels"), *slash = strrchr(path, '/');

    input->images = idx_file_open(path, &error);
    if (input->images == NULL) {
        return cli_fail(&error);
    }
    input->bytes = (struct predict_bytes){.name = slash != NULL ? slash + 1 : path,
                                          .rank = idx_file_rank(input->images) - 1,
                                          .rows = idx_file_rows(input->images),
                                          .scale = 1.0 / 255.0, /* as save-dataset --idx has it */
                                          .read = read_rows,
                                          .context = input};
    if (input->bytes.rank < 1) {
        return cli_say(CLI_FAILED, "--input %s: one dimension: this looks like a label file, not like rows", path);
    }
    for (int i = 0; i < input->bytes.rank; i++) {
        input->bytes.dims[i] = idx_file_dimension(input->images, i + 1);
    }
    input->label_bytes = bson_malloc(BATCH_MOST);
    return labels != NULL ? open_labels(cli, input, labels) : CLI_DONE;
}

static int read_table(void *context, float *x, int32_t *labels, float *targets, int64_t count, bson_error_t *error)
{
    struct input *input = context;
    return csv_rows_read(input->table, x, labels, targets, count, error);
}

/* Raw rows become values as those that the model was trained on did. */
static int open_table(struct cli *cli, struct input *input, const char *path, const bson_t *model)
{
    bson_t training;
    bson_error_t error;
    const char *slash = strrchr(path, '/'), *name = output_text(model, "name");
    int code = CLI_DONE;

    if (cli_text(cli, "labels") != NULL) {
        return cli_usage(cli, "--labels: goes with an IDX file; a table has its labels in a column");
    }
    int found = predict_find_training(cli->hub, model, &training, &error);
    if (found < 0) {
        code = cli_fail(&error);
    } else if (found == 0) {
        code = cli_say(CLI_NOTHING, "--input %s: the dataset that model %s was trained on is gone, and with it how rows become "
                       "values", path, name != NULL ? name : "");
    } else {
        input->table = csv_rows_open(path, &training, cli_integer(cli, "skip-lines", 0), &error);
        code = input->table != NULL ? CLI_DONE : cli_fail(&error);
    }
    bson_destroy(&training);
    if (code != CLI_DONE) {
        return code;
    }
    input->bytes = (struct predict_bytes){.name = slash != NULL ? slash + 1 : path,
                                          .rank = csv_rows_rank(input->table),
                                          .rows = csv_rows_count(input->table),
                                          .classes = csv_rows_classes(input->table),
                                          .outputs = csv_rows_outputs(input->table),
                                          .scale = 1,
                                          .read_values = read_table,
                                          .context = input};
    for (int i = 0; i < input->bytes.rank; i++) {
        input->bytes.dims[i] = csv_rows_dimension(input->table, i);
    }
    return CLI_DONE;
}

static void note_unknown(const struct input *input)
{
    int64_t unknown = input->table != NULL ? csv_rows_unknown(input->table) : 0;
    if (unknown > 0) {
        cli_note("%lld values are categories that the model's dataset does not have: they count as missing", (long long)unknown);
    }
}

/* As the training data were scaled, where that can still be known. */
static int take_scale(struct cli *cli, struct input *input, const bson_t *model)
{
    bson_t training;
    bson_error_t error;
    int found = predict_find_training(cli->hub, model, &training, &error);
    const char *dtype = output_text(&training, "features.dtype");
    if (found > 0 && dtype != NULL && strcmp(dtype, "U8") == 0) {
        double scale = output_number(&training, "features.scale"), offset = output_number(&training, "features.offset");
        input->bytes.scale = isfinite(scale) ? scale : 1;
        input->bytes.offset = isfinite(offset) ? offset : 0;
    }
    bson_destroy(&training);
    return found < 0 ? cli_fail(&error) : CLI_DONE;
}

/* Of rows: all that there are now, as --pipeline or the dataset's own one selects and transforms them. */
static int resolve_rows(struct cli *cli, struct input *input)
{
    const char *storage = output_text(&input->dataset, "storage");
    bson_error_t error;
    char *pipeline = NULL;
    size_t length;
    bool rows = storage != NULL && strcmp(storage, "rows") == 0;

    if (!rows && cli_text(cli, "pipeline") != NULL) {
        return cli_usage(cli, "--pipeline: selects rows; dataset %s has none (tl_hub push-rows)", cli_text(cli, "input"));
    }
    int code = rows ? fields_read_pipeline(cli, "pipeline", &pipeline, &length) : CLI_DONE;
    if (rows && code == CLI_DONE) {
        input->cache = data_cache_new(CACHE_BYTES);
        if (input->cache == NULL) {
            code = cli_say(CLI_FAILED, "no memory for the rows");
        } else if (rows_data_resolve(input->cache, cli->hub, pipeline, -1, &input->dataset, &error) < 0) {
            code = cli_fail(&error);
        }
    }
    bson_free(pipeline);
    return code;
}

/* DATASET:SPLIT; the name may have colons of its own. */
static int find_dataset(struct cli *cli, struct input *input, const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0') {
        return cli_say(CLI_NOTHING, "--input %s: no such file; a dataset in the hub is DATASET:SPLIT", text);
    }
    if (cli_text(cli, "labels") != NULL) {
        return cli_usage(cli, "--labels: goes with a file; a dataset has its labels");
    }
    char *name = bson_strndup(text, (size_t)(colon - text));
    bson_destroy(&input->dataset);
    int code = select_one(cli, &select_datasets, name, &input->dataset);
    input->split = bson_strdup(colon + 1);
    bson_free(name);
    return code == CLI_DONE ? resolve_rows(cli, input) : code;
}

static void close_input(struct input *input)
{
    bson_destroy(&input->dataset);
    data_cache_free(input->cache);
    bson_free(input->split);
    idx_file_close(input->images);
    idx_file_close(input->labels);
    csv_rows_close(input->table);
    bson_free(input->label_bytes);
}

/* ---- predicting ---- */

static int begin(void *context, const struct predict_about *about, bson_error_t *error)
{
    struct running *running = context;
    struct cli *cli = running->cli;
    (void)error;
    running->rows = about->rows;
    if (!cli_flag(cli, "quiet")) {
        running->print = prediction_print_open(cli, about, cli_integer(cli, "top", 0), !cli_flag(cli, "no-probabilities"));
    }
    return 0;
}

static int take_batch(void *context, const struct predict_batch *batch, bson_error_t *error)
{
    struct running *running = context;
    (void)error;
    if (running->print != NULL) {
        prediction_print_rows(running->print, batch);
    }
    if (running->print == NULL || !running->cli->stdout_terminal) {
        bar_draw(&running->bar, "predicting", (double)(running->done += batch->rows) / (double)running->rows);
    }
    return ferror(stdout) ? 1 : 0; /* nobody reads: what is wrong is said at the end */
}

static struct dataset_writer *open_save(void *context, const bson_t *fields, bson_error_t *error)
{
    struct running *running = context;
    return dataset_writer_open(running->cli->hub, fields, error);
}

static void say_score(const struct predict_summary *summary)
{
    double rows = (double)summary->compared;
    if (summary->compared == 0) {
        return;
    }
    if (summary->about.classes) {
        cli_note("accuracy %.4f (%lld of %lld)", (double)summary->correct / rows, (long long)summary->correct,
                 (long long)summary->compared);
    } else {
        cli_note("mean squared error %.6g over %lld rows", summary->squared / rows, (long long)summary->compared);
    }
}

/* Rows are on stdout: what was saved is said beside them, or, without rows, is what is printed. */
static int finish_save(struct cli *cli, struct predict_summary *summary)
{
    bson_t dataset;
    bson_error_t error;
    int code = CLI_DONE;
    int saved = dataset_writer_finish(summary->writer, &dataset, &error);
    const char *name = output_text(&dataset, "name");
    const char *verb = saved == 0 ? "nothing new:" : saved == DATASET_LABELLED ? "no new data; tags and description of" : "saved";
    long long version = (long long)output_integer(&dataset, "version", 1);
    if (saved < 0) {
        code = cli_fail(&error);
    } else if (cli_flag(cli, "quiet")) {
        code = output_object(cli, &dataset, "%s dataset %s version %lld (%lld rows)", verb, name, version,
                             (long long)summary->rows);
    } else {
        cli_note("%s dataset %s version %lld (%lld rows)", verb, name, version, (long long)summary->rows);
    }
    bson_destroy(&dataset);
    return code;
}

static int predict(struct cli *cli, struct input *input, const bson_t *model, const bson_t *fields)
{
    struct running running = {.cli = cli};
    struct predict_summary summary;
    bson_error_t error = {0};
    int64_t size = cli_integer(cli, "batch-size", 0);
    struct predict_options run = {.hub = cli->hub,
                                  .model = model,
                                  .dataset = input->split != NULL ? &input->dataset : NULL,
                                  .split = input->split,
                                  .bytes = input->split != NULL ? NULL : &input->bytes,
                                  .device_name = cli_text(cli, "device"),
                                  .threads = (int)cli_integer(cli, "threads", 0),
                                  .batch_size = size,
                                  .steps = cli_integer(cli, "steps", 0),
                                  .begin = begin,
                                  .batch = take_batch,
                                  .context = &running,
                                  .save_name = cli_text(cli, "save-dataset"),
                                  .save_split = cli_text(cli, "save-split"),
                                  .save_fields = fields,
                                  .save_open = open_save};
    bar_init(&running.bar, cli);
    int result = predict_run(&run, &summary, &error);
    if (result > 0 && input->images != NULL &&
        (idx_file_end(input->images, &error) < 0 || (input->labels != NULL && idx_file_end(input->labels, &error) < 0))) {
        result = -1;
    }
    bar_end(&running.bar);
    int code = prediction_print_close(running.print, result > 0);
    if (result < 0) {
        code = cli_fail(&error);
    }
    if (code == CLI_DONE) {
        note_unknown(input);
        say_score(&summary);
    }
    if (code == CLI_DONE && summary.writer != NULL) {
        code = finish_save(cli, &summary);
    }
    dataset_writer_close(summary.writer);
    return code;
}

static int check_options(struct cli *cli)
{
    const char *device = cli_text(cli, "device"), *save = cli_text(cli, "save-dataset");
    int64_t size = cli_integer(cli, "batch-size", 1), threads = cli_integer(cli, "threads", 1);

    if (cli_text(cli, "input") == NULL) {
        return cli_usage(cli, "what is to be predicted? Give --input FILE or --input DATASET:SPLIT");
    }
    if (size < 1 || size > BATCH_MOST) {
        return cli_usage(cli, "--batch-size %lld: 1 to %d", (long long)size, BATCH_MOST);
    }
    if (threads < 1 || threads > 1024) {
        return cli_usage(cli, "--threads %lld: 1 to 1024", (long long)threads);
    }
    if (cli_text(cli, "steps") != NULL && cli_integer(cli, "steps", 0) < 1) {
        return cli_usage(cli, "--steps 0: at least 1");
    }
    if (cli_text(cli, "top") != NULL && cli_integer(cli, "top", 0) < 1) {
        return cli_usage(cli, "--top 0: at least 1");
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
    return CLI_DONE;
}

static int run(struct cli *cli)
{
    struct input input = {.split = NULL};
    bson_t model, fields = BSON_INITIALIZER;
    const char *path = cli_text(cli, "input");

    bson_init(&input.dataset);
    bson_init(&model);
    int code = check_options(cli);
    bool file = code == CLI_DONE && access(path, F_OK) == 0;
    if (code == CLI_DONE) {
        code = fields_append_common(cli, &fields);
    }
    bool table = file && csv_scan_is_text(path, NULL) > 0;
    if (code == CLI_DONE && file && !table) {
        code = open_file(cli, &input, path);
    }
    if (code == CLI_DONE) {
        bson_destroy(&model);
        code = select_model(cli, cli_text(cli, "model"), &model);
    }
    if (code == CLI_DONE) {
        code = table  ? open_table(cli, &input, path, &model)
               : file ? take_scale(cli, &input, &model)
                      : find_dataset(cli, &input, path);
    }
    if (code == CLI_DONE) {
        code = predict(cli, &input, &model, &fields);
    }
    close_input(&input);
    bson_destroy(&fields);
    bson_destroy(&model);
    return code;
}

const struct cli_command cmd_predict = {
    .verb = "predict",
    .summary = "Predict with a model: classes and probabilities, or values, row by row",
    .arguments = "",
    .groups = {options, select_options, fields_options},
    .details =
        "Rows are printed as they are computed, in bounded memory. A table of more than 16 classes shows the 3 most\n"
        "probable; -o csv and -o json have every probability, unless --top says otherwise. Where the labels are known\n"
        "the accuracy (of values: the mean squared error) is said at the end, on standard error.\n"
        "A forecast gives a value for every row that has a window before it, and for rows after the last: as far as its\n"
        "horizon from the rows that there are, with --steps beyond that from what it forecast before. Values are in the\n"
        "units of the data. --save-dataset then saves the forecasts as a series of their own.\n"
        "Bytes of an IDX file are scaled as the model's training data were. Of a CSV file the columns are found by name and\n"
        "become values as those of the model's dataset did; the label's may be missing.\n"
        "--save-dataset makes a dataset of the rows with the predictions as labels: the most probable classes, or the\n"
        "values. Its tags name the model and where the rows come from.\n"
        "Of a dataset of rows all that there are now are taken, as its pipeline or --pipeline makes them.\n"
        "For many rows, or on another machine: tl_hub create-task --kind infer.",
    .examples = "  tl_hub predict --model first --input fashion:test --top 1\n"
                "  tl_hub predict --model flowers --input flowers.csv -o csv\n"
                "  tl_hub predict --where tags=fashion --sort accuracy:desc --input mnist/t10k-images-idx3-ubyte -o csv\n"
                "  tl_hub predict --model first --input fashion:test --save-dataset pseudo --save-split train --quiet",
    .run = run,
};
