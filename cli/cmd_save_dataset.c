/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bar.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "cli/save_csv.h"
#include "distributor/idx.h"
#include "distributor/npy.h"
#include "distributor/picture_folder.h"
#include "distributor/tensor_file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct cli_option options[] = {
    {"csv", 0, CLI_TEXT, "FILE", "a table as text, plain or .gz: what follows --label is for it"},
    {"idx", 0, CLI_TEXT, "DIR", "a folder of IDX files, as MNIST's, plain or .gz"},
    {"safetensors", 0, CLI_TEXT, "FILE", "a safetensors file with tensors x and y, or train.x, train.y, test.x, …"},
    {"npy", 0, CLI_TEXT, "FILE", "arrays of NumPy: a .npz with x and y, or x_train, y_train, x_test, …; or a .npy with x"},
    {"labels", 0, CLI_TEXT, "FILE", "the .npy with y that goes with --npy"},
    {"images", 0, CLI_TEXT, "DIR", "PNG pictures of one size: DIR/CLASS/….png, or DIR/train/CLASS/….png, DIR/test/…"},
    {"split", 0, CLI_TEXT, "A/B", "of --csv, --npy, --images: training and test rows (default 80/20), or A/B/C with validation between"},
    {"validation", 0, CLI_TEXT, "N", "training rows to keep apart for validation: a number, or a share such as 0.1"},
    {"seed", 0, CLI_COUNT, "N", "which rows those are (default 0)"},
    {"set", 0, CLI_TEXTS, "KEY=VALUE", "any further key of the dataset; may be given again"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* Items of the training labels' IDX header, without the labels: for a share. zlib is the distributor's, so a .gz is
 * measured by asking gzip's own tail, the length of what it holds: 8 header bytes and a byte a label. */
static int64_t training_rows(const char *directory)
{
    static const char *const names[] = {"train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz"};
    int64_t rows = -1;

    for (size_t i = 0; i < 2 && rows < 0; i++) {
        unsigned char bytes[4];
        struct stat status;
        char *path = bson_strdup_printf("%s/%s", directory, names[i]);
        FILE *file = fopen(path, "rbe");
        if (file != NULL && fstat(fileno(file), &status) == 0) {
            if (i == 0) {
                rows = status.st_size > 8 ? (int64_t)status.st_size - 8 : -1;
            } else if (fseek(file, -4, SEEK_END) == 0 && fread(bytes, 1, 4, file) == 4) {
                rows = (int64_t)((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                                 (uint32_t)bytes[3] << 24) -
                       8;
            }
        }
        if (file != NULL) {
            fclose(file);
        }
        bson_free(path);
    }
    return rows;
}

/* A number of rows, or a share: of the rows that are in the folder, where one is given, else as a share. */
static int take_validation(struct cli *cli, const char *directory, int64_t *rows, double *whole)
{
    const char *text = cli_text(cli, "validation");
    char *stop;

    *rows = 0;
    *whole = 0;
    if (text == NULL) {
        return CLI_DONE;
    }
    double value = strtod(text, &stop);
    bool share = strpbrk(text, ".eE") != NULL; /* 1.0 is no row: all of them cannot be meant */
    if (stop == text || *stop != '\0' || !(value >= 0) || value > 1e15 || (value >= 1 && (share || value != floor(value)))) {
        return cli_usage(cli, "--validation %s: neither a number of rows nor a share below 1", text);
    }
    if (value < 1 && directory == NULL) {
        *whole = value;
        return CLI_DONE;
    }
    if (value < 1 && value > 0) {
        int64_t all = training_rows(directory);
        value = all > 0 ? floor(value * (double)all + 0.5)
                        : 1; /* what is wrong with the files is said when they are read */
    }
    *rows = (int64_t)value;
    return CLI_DONE;
}

static void draw_progress(const char *what, int64_t done, int64_t total, void *data)
{
    bar_draw(data, what, total > 0 ? (double)done / (double)total : 0);
}

int save_say_saved(struct cli *cli, const bson_t *dataset, int saved)
{
    bson_iter_t splits, inner;
    bson_string_t *rows = bson_string_new(NULL);

    if (output_find(dataset, "splits", &splits) && BSON_ITER_HOLDS_DOCUMENT(&splits) &&
        bson_iter_recurse(&splits, &inner)) {
        while (bson_iter_next(&inner)) {
            bson_string_append_printf(rows, "%s%s %lld", rows->len > 0 ? ", " : "", bson_iter_key(&inner),
                                      (long long)bson_iter_as_int64(&inner));
        }
    }
    int code = output_object(cli, dataset, "%s dataset %s version %lld (%s)",
                             saved == 0                  ? "nothing new:"
                             : saved == DATASET_LABELLED ? "no new data; tags and description of"
                                                         : "saved",
                             output_text(dataset, "name"),
                             (long long)output_integer(dataset, "version", 1), rows->str);
    bson_string_free(rows, true);
    return code;
}

/* As dataset_writer_finish. */
static int save(struct cli *cli, int64_t validation, double share, double test_share, const bson_t *fields, bson_t *dataset,
                bson_error_t *error)
{
    const uint64_t seed = (uint64_t)cli_integer(cli, "seed", 0);
    struct bar bar;
    int saved;

    bar_init(&bar, cli);
    if (cli_text(cli, "safetensors") != NULL) {
        struct tensor_file_options file = {.path = cli_text(cli, "safetensors"), .name = cli->arguments[0],
                                           .validation = validation, .validation_share = share, .seed = seed,
                                           .fields = fields, .progress = draw_progress, .data = &bar};
        saved = tensor_file_save_dataset(cli->hub, &file, dataset, error);
    } else if (cli_text(cli, "idx") == NULL) {
        struct rows_options rows = {.name = cli->arguments[0], .test_share = test_share, .validation = validation,
                                    .validation_share = share, .seed = seed, .fields = fields, .progress = draw_progress,
                                    .data = &bar};
        saved = cli_text(cli, "npy") != NULL
                    ? npy_save_dataset(cli->hub, cli_text(cli, "npy"), cli_text(cli, "labels"), &rows, dataset, error)
                    : picture_folder_save_dataset(cli->hub, cli_text(cli, "images"), &rows, dataset, error);
    } else {
        struct idx_options idx = {.directory = cli_text(cli, "idx"), .name = cli->arguments[0],
                                  .validation = validation, .seed = seed,
                                  .fields = fields, .progress = draw_progress, .data = &bar};
        saved = idx_save_dataset(cli->hub, &idx, dataset, error);
    }
    bar_end(&bar);
    return saved;
}

static int check_source(struct cli *cli)
{
    static const char *const sources[] = {"csv", "idx", "safetensors", "npy", "images"};
    int given = 0;

    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        given += cli_text(cli, sources[i]) != NULL;
    }
    if (given != 1) {
        return cli_usage(cli, "where is the data? Give one of --csv FILE, --npy FILE, --images DIR, --idx DIR and --safetensors FILE");
    }
    if (cli_text(cli, "labels") != NULL && cli_text(cli, "npy") == NULL) {
        return cli_usage(cli, "--labels goes with --npy");
    }
    if (cli_text(cli, "split") != NULL && (cli_text(cli, "idx") != NULL || cli_text(cli, "safetensors") != NULL)) {
        return cli_usage(cli, "--split goes with --csv, --npy and --images; the other files have their splits");
    }
    for (const struct cli_option *option = save_csv_options; cli_text(cli, "csv") == NULL && option->name != NULL; option++) {
        if (save_csv_given(cli, option)) {
            return cli_usage(cli, "--%s goes with --csv", option->name);
        }
    }
    return CLI_DONE;
}

static int run(struct cli *cli)
{
    const char *directory = cli_text(cli, "idx"), *name = cli->arguments[0];
    int64_t validation = 0;
    double share = 0, test_share = 0;
    bson_t fields = BSON_INITIALIZER, dataset = BSON_INITIALIZER;
    bson_error_t error;

    int code = check_source(cli);
    if (code == CLI_DONE) {
        code = take_validation(cli, directory, &validation, &share);
    }
    if (code == CLI_DONE && cli_text(cli, "csv") == NULL) {
        code = save_take_split(cli, validation, &test_share, &share);
    }
    if (code == CLI_DONE && (*name == '\0' || !bson_utf8_validate(name, strlen(name), false))) {
        code = cli_usage(cli, "the name of a dataset must be UTF-8 and not empty");
    }
    if (code == CLI_DONE) {
        code = fields_append_common(cli, &fields);
    }
    if (code == CLI_DONE) {
        code = fields_append_settings(cli, "set", &fields);
    }
    if (code == CLI_DONE && cli_text(cli, "csv") != NULL) {
        code = save_csv(cli, validation, share, &fields);
        goto out;
    }
    if (code == CLI_DONE) {
        code = cli_open(cli, HUB_OPEN_CREATE);
    }
    if (code == CLI_DONE) {
        bson_destroy(&dataset);
        int saved = save(cli, validation, share, test_share, &fields, &dataset, &error);
        code = saved < 0 ? cli_fail(&error) : save_say_saved(cli, &dataset, saved);
    }
out:
    bson_destroy(&fields);
    bson_destroy(&dataset);
    return code;
}

const struct cli_command cmd_save_dataset = {
    .verb = "save-dataset",
    .summary = "Put a dataset into the hub, as the next version of its name",
    .arguments = "NAME",
    .least = 1,
    .most = 1,
    .groups = {options, save_csv_options, fields_options},
    .details =
        "--csv: types, delimiter and header are found, and what is found can be overruled. Numbers are scaled to 0 … 1 by\n"
        "the training rows; predict does the same to raw rows. A label that is text or a few integers is a class, another\n"
        "number a value. docs/datasets.md has all of it.\n"
        "--idx: the folder holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and\n"
        "t10k-labels-idx1-ubyte, or the same with .gz. Files that are damaged are refused before anything is saved.\n"
        "--safetensors: x is U8 (read as value / 255) or F32, y integers (classes) or F32 (values), or there is none.\n"
        "Without validation rows of its own, --validation keeps some of the training rows apart.\n"
        "Saving the same data again adds what tags it has not. A missing SQLite hub is made.",
    .examples = "  tl_hub save-dataset flowers --csv flowers.csv --label species --stratify --validation 0.1\n"
                "  tl_hub save-dataset fashion --idx /usr/share/datasets/fashion-mnist --validation 5000\n"
                "  tl_hub save-dataset prices --safetensors prices.safetensors --validation 0.1\n"
                "  tl_hub save-dataset digits --idx mnist --validation 0.1 --tag small --set source=nist",
    .run = run,
};
