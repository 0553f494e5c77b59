/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/rows_source.h"

#include "distributor/split_draw.h"

/* Which splits rows of train go to, and how many each has then. */
static struct split_draw *draw_splits(const struct rows_source *source, const struct rows_options *options, int64_t *totals,
                                      bson_error_t *error)
{
    const int64_t *there = source->parts.totals, rows = there[SPLIT_TRAIN];
    struct split_draw_options drawn = {.seed = options->seed, .test = {0, 1}, .validation = {0, 1}};
    if (!there[SPLIT_TEST])
        drawn.test = split_share_of(options->test_share);
    const int64_t rest = rows - rows * drawn.test.part / drawn.test.whole;
    if ((options->validation || options->validation_share > 0) && there[SPLIT_VALIDATION]) {
        hub_error(error, HUB_ERROR_INVALID, "validation: %s has rows for it already", source->parts.where);
        return NULL;
    }
    if (options->validation < 0 || options->validation >= rest) {
        hub_error(error, HUB_ERROR_INVALID, "validation: %lld rows of %lld training rows; some must be left",
                  (long long)options->validation, (long long)rest);
        return NULL;
    }
    drawn.validation = options->validation ? (struct split_share){options->validation, rest}
                                           : split_share_of(options->validation_share);
    struct split_draw *draw = split_draw_new(&drawn);
    for (int i = 0; i < SPLIT_COUNT; i++)
        totals[i] = i == SPLIT_TRAIN ? 0 : there[i];
    for (int64_t i = 0; draw && i < rows; i++) {
        const int split = split_draw_next(draw, 0);
        if (split < 0) {
            split_draw_free(draw);
            draw = NULL;
        } else {
            totals[split]++;
        }
    }
    if (!draw)
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to draw splits", source->parts.where);
    else if (totals[SPLIT_TRAIN] < 1)
        hub_error(error, HUB_ERROR_INVALID, "%s: no row is left to train on, of %lld", source->parts.where, (long long)rows);
    if (draw && totals[SPLIT_TRAIN] < 1) {
        split_draw_free(draw);
        return NULL;
    }
    if (draw)
        split_draw_reset(draw);
    return draw;
}

static int send_rows(struct rows_source *source, const struct rows_options *options, const int64_t *there,
                     struct split_draw *draw, struct part_writer *writer, bson_error_t *error)
{
    void *x, *y;
    for (int split = 0; split < SPLIT_COUNT; split++)
        for (int64_t i = 0; i < there[split]; i++) {
            const int to = split == SPLIT_TRAIN ? split_draw_next(draw, 0) : split;
            if (part_writer_row(writer, to, &x, &y, error) || source->read(source->context, split, i, x, y, error) ||
                part_writer_end_row(writer, to, error))
                return -1;
            if (options->progress && i % 1024 == 0)
                options->progress(split_names[split], i, there[split], options->data);
        }
    if (source->end && source->end(source->context, error))
        return -1;
    return part_writer_end(writer, error);
}

int rows_source_save(struct hub *hub, struct rows_source *source, const struct rows_options *options, bson_t *dataset,
                     bson_error_t *error)
{
    int64_t there[SPLIT_COUNT], totals[SPLIT_COUNT];
    struct dataset_writer *writer = NULL;
    struct part_writer *rows = NULL;
    bson_t fields = BSON_INITIALIZER;
    int result = -1;
    bson_init(dataset);
    for (int i = 0; i < SPLIT_COUNT; i++) {
        there[i] = source->parts.totals[i];
        source->parts.names[i] = split_names[i];
    }
    struct split_draw *draw = draw_splits(source, options, totals, error);
    if (!draw)
        goto out;
    for (int i = 0; i < SPLIT_COUNT; i++)
        source->parts.totals[i] = totals[i];
    if (part_writer_append_fields(&source->parts, options->name, &fields, error) ||
        part_writer_append_own(&source->parts, options->fields, &fields, error))
        goto out;
    if (source->class_names && !bson_has_field(&fields, "class_names"))
        BSON_APPEND_ARRAY(&fields, "class_names", source->class_names);
    writer = dataset_writer_open(hub, &fields, error);
    rows = writer ? part_writer_open(writer, &source->parts, error) : NULL;
    if (!rows || send_rows(source, options, there, draw, rows, error))
        goto out;
    bson_destroy(dataset);
    result = dataset_writer_finish(writer, dataset, error);
out:
    split_draw_free(draw);
    part_writer_close(rows);
    dataset_writer_close(writer);
    bson_destroy(&fields);
    return result;
}
