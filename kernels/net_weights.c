/* SPDX-License-Identifier: Apache-2.0 */
/* Weights and checkpoints as safetensors, streamed. */
#include "kernels/net_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors are little-endian, and written as they lie");

#define CHUNK_FLOATS 16384
#define NAME_BYTES (ARCHITECTURE_NAME_BYTES + 64)

/* Walks the floats of one parameter in the file's order: (columns, rows) where transposed, else (rows, columns). */
struct walk {
    float *data;
    int64_t outer, inner;               /* the file's dimensions */
    int64_t outer_stride, inner_stride; /* in the block */
    int64_t i, j;                       /* the next element */
};

static struct walk walk_start(const struct net *net, size_t index, float *block)
{
    const struct layer_parameter *parameter = net_parameter(net, index);
    int64_t stride = tensor_stride(parameter->columns);
    struct walk walk = {.data = block + net->parameters_of[index].offset, .outer = parameter->rows,
                        .inner = parameter->columns, .outer_stride = stride, .inner_stride = 1};
    if (parameter->transposed) {
        walk.outer = parameter->columns;
        walk.inner = parameter->rows;
        walk.outer_stride = 1;
        walk.inner_stride = stride;
    }
    return walk;
}

/* The next count floats (at most what is left), out of the block into values, or the other way with load. */
static void walk_copy(struct walk *walk, bool load, float *values, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        float *at = &walk->data[walk->i * walk->outer_stride + walk->j * walk->inner_stride];
        if (load) {
            *at = values[k];
        } else {
            values[k] = *at;
        }
        if (++walk->j == walk->inner) {
            walk->j = 0;
            walk->i++;
        }
    }
}

static size_t parameter_size(const struct net *net, size_t index)
{
    const struct layer_parameter *parameter = net_parameter(net, index);
    return (size_t)(parameter->rows * parameter->columns);
}

size_t net_tensor_count(const struct net *net)
{
    return net->parameter_count;
}

int net_tensor(const struct net *net, size_t index, char *name, size_t name_size, struct shape *shape)
{
    *shape = (struct shape){0};
    if (name_size > 0) {
        name[0] = '\0';
    }
    if (index >= net->parameter_count) {
        return -1;
    }
    const struct layer_parameter *parameter = net_parameter(net, index);
    shape->rank = parameter->file_rank;
    memcpy(shape->dims, parameter->file_shape, sizeof shape->dims);
    int length = snprintf(name, name_size, "%s.%s", net->architecture.layers[net->parameters_of[index].layer].name,
                          parameter->name);
    return length < 0 || (size_t)length >= name_size ? -1 : 0;
}

void net_tensor_get(const struct net *net, size_t index, float *values)
{
    struct walk walk = walk_start(net, index, net->parameters);
    walk_copy(&walk, false, values, parameter_size(net, index));
}

void net_tensor_set(struct net *net, size_t index, const float *values)
{
    struct walk walk = walk_start(net, index, net->parameters);
    walk_copy(&walk, true, (float *)(uintptr_t)values, parameter_size(net, index)); /* load only reads values */
}

/* The blocks of a file: the weights, then the optimiser's states, then one more, each named PREFIX + tensor name. */
#define BLOCKS 8
struct blocks {
    size_t count;
    struct {
        char prefix[32];
        float *data;
        bool trained; /* it has the trained parameters only, without the buffers */
    } block[BLOCKS];
};

static struct blocks list_blocks(const struct net *net, struct optimizer *optimizer)
{
    struct blocks blocks = {.count = 1};
    blocks.block[0].data = net->parameters;
    for (size_t i = 0; optimizer != NULL && i < optimizer_state_count(optimizer) && blocks.count < BLOCKS - 4; i++) {
        const char *name;
        blocks.block[blocks.count].data = optimizer_state(optimizer, i, &name);
        blocks.block[blocks.count].trained = true;
        snprintf(blocks.block[blocks.count].prefix, sizeof blocks.block[0].prefix, "optimizer.%s.", name);
        blocks.count++;
    }
    return blocks;
}

static void list_more(struct blocks *blocks, const struct net_block *more)
{
    for (; more != NULL && blocks->count < BLOCKS; more = more->next) {
        blocks->block[blocks->count].data = more->data;
        blocks->block[blocks->count].trained = more->trained;
        snprintf(blocks->block[blocks->count].prefix, sizeof blocks->block[0].prefix, "%s", more->prefix);
        blocks->count++;
    }
}

/* Tensors are counted by block and parameter: t is parameter t % parameters of block t / parameters. */
static bool has_tensor(const struct net *net, const struct blocks *blocks, size_t t)
{
    return !blocks->block[t / net->parameter_count].trained || !net_parameter(net, t % net->parameter_count)->buffer;
}

/* Describes tensor t of the file; name is (NAME_BYTES). */
static void describe_tensor(const struct net *net, const struct blocks *blocks, size_t t, char *name,
                            struct safetensors_tensor *tensor)
{
    struct shape shape;
    int length = snprintf(name, NAME_BYTES, "%s", blocks->block[t / net->parameter_count].prefix);
    net_tensor(net, t % net->parameter_count, name + length, (size_t)(NAME_BYTES - length), &shape);
    *tensor = (struct safetensors_tensor){.name = name, .dtype = SAFETENSORS_F32, .rank = shape.rank};
    memcpy(tensor->shape, shape.dims, sizeof shape.dims);
}

static int write_tensors(const struct net *net, const struct blocks *blocks, net_write_function *write, void *context,
                         struct kernel_error *error)
{
    float *values = malloc(CHUNK_FLOATS * sizeof *values);
    if (values == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "weights: out of memory");
    }
    int result = 0;
    for (size_t t = 0; t < blocks->count * net->parameter_count && result == 0; t++) {
        if (!has_tensor(net, blocks, t)) {
            continue;
        }
        size_t index = t % net->parameter_count, left = parameter_size(net, index);
        struct walk walk = walk_start(net, index, blocks->block[t / net->parameter_count].data);
        while (left > 0 && result == 0) {
            size_t count = left < CHUNK_FLOATS ? left : CHUNK_FLOATS;
            walk_copy(&walk, false, values, count);
            left -= count;
            if (write(context, values, count * sizeof *values) != 0) {
                result = kernel_error_set(error, KERNEL_ERROR_IO, "weights: could not be written");
            }
        }
    }
    free(values);
    return result;
}

static int write_file(const struct net *net, const struct blocks *blocks, const struct safetensors_pair *metadata,
                      size_t metadata_count, net_write_function *write, void *context, struct kernel_error *error)
{
    size_t most = blocks->count * net->parameter_count, count = 0, length = 0;
    int result = -1;
    uint8_t *header = NULL;
    struct safetensors_tensor *tensors = calloc(most + 1, sizeof *tensors);
    char *names = calloc(most + 1, NAME_BYTES);
    if (tensors == NULL || names == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "weights: out of memory");
        goto out;
    }
    for (size_t t = 0; t < most; t++) {
        if (has_tensor(net, blocks, t)) {
            describe_tensor(net, blocks, t, names + count * NAME_BYTES, &tensors[count]);
            count++;
        }
    }
    header = safetensors_header_new(tensors, count, metadata, metadata_count, &length, error);
    if (header == NULL) {
        goto out;
    }
    if (write(context, header, length) != 0) {
        kernel_error_set(error, KERNEL_ERROR_IO, "weights: could not be written");
        goto out;
    }
    result = write_tensors(net, blocks, write, context, error);
out:
    free(header);
    free(names);
    free(tensors);
    return result;
}

/* own pairs (keys and values live as long as the call), then the caller's. */
static int write_with(const struct net *net, const struct blocks *blocks, const struct safetensors_pair *own,
                      size_t own_count, const struct safetensors_pair *metadata, size_t metadata_count,
                      net_write_function *write, void *context, struct kernel_error *error)
{
    for (size_t i = 0; i < metadata_count; i++) {
        for (size_t j = 0; j < own_count + i; j++) {
            const char *other = j < own_count ? own[j].key : metadata[j - own_count].key;
            if (strcmp(metadata[i].key, other) == 0) {
                return kernel_error_set(error, KERNEL_ERROR_INVALID, "weights: metadata %.80s is taken", other);
            }
        }
    }
    struct safetensors_pair *all = calloc(own_count + metadata_count + 1, sizeof *all);
    if (all == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "weights: out of memory");
    }
    memcpy(all, own, own_count * sizeof *all);
    if (metadata_count > 0) {
        memcpy(all + own_count, metadata, metadata_count * sizeof *all);
    }
    int result = write_file(net, blocks, all, own_count + metadata_count, write, context, error);
    free(all);
    return result;
}

int net_weights_write(const struct net *net, const struct safetensors_pair *metadata, size_t metadata_count,
                      net_write_function *write, void *context, struct kernel_error *error)
{
    struct blocks blocks = list_blocks(net, NULL);
    struct safetensors_pair own[] = {{"format", "pt"}};
    return write_with(net, &blocks, own, 1, metadata, metadata_count, write, context, error);
}

int net_checkpoint_write(const struct net *net, struct optimizer *optimizer, const struct net_block *more,
                         const struct safetensors_pair *metadata, size_t metadata_count, net_write_function *write,
                         void *context, struct kernel_error *error)
{
    struct blocks blocks = list_blocks(net, optimizer);
    list_more(&blocks, more);
    char steps[24], net_steps_text[24], seed[24];
    snprintf(steps, sizeof steps, "%" PRId64, optimizer_steps(optimizer));
    snprintf(net_steps_text, sizeof net_steps_text, "%" PRIu64, net->steps);
    snprintf(seed, sizeof seed, "%" PRIu64, net->seed);
    struct safetensors_pair own[] = {
        {"format", "pt"}, {"optimizer", optimizer_name(optimizer_options(optimizer)->kind)}, {"steps", steps},
        {"net_steps", net_steps_text}, {"seed", seed},
    };
    return write_with(net, &blocks, own, sizeof own / sizeof own[0], metadata, metadata_count, write, context, error);
}

/* Exactly length bytes. */
static int read_all(net_read_function *read, void *context, void *buffer, size_t length, struct kernel_error *error)
{
    for (size_t done = 0; done < length;) {
        int64_t got = read(context, (char *)buffer + done, length - done);
        if (got < 0 || (uint64_t)got > length - done) {
            return kernel_error_set(error, KERNEL_ERROR_IO, "weights: could not be read");
        }
        if (got == 0) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "weights: the file is cut off");
        }
        done += (size_t)got;
    }
    return 0;
}

static struct safetensors *read_header(net_read_function *read, void *context, struct kernel_error *error)
{
    uint8_t first[8];
    if (read_all(read, context, first, sizeof first, error) < 0) {
        return NULL;
    }
    int64_t length = safetensors_header_length(first, error);
    uint8_t *header = length < 0 ? NULL : malloc((size_t)length);
    if (header == NULL) {
        if (length >= 0) {
            kernel_error_set(error, KERNEL_ERROR_MEMORY, "weights: out of memory");
        }
        return NULL;
    }
    struct safetensors *safetensors = NULL;
    memcpy(header, first, sizeof first);
    if (read_all(read, context, header + 8, (size_t)length - 8, error) == 0) {
        safetensors = safetensors_parse_header(header, (size_t)length, 0, error);
    }
    free(header);
    return safetensors;
}

/* For every tensor of the file the net's tensor t that it is, or -1 to skip it. Every tensor of the net is there, as
 * F32 and in the right shape, before anything is read. */
static int match_tensors(const struct net *net, const struct blocks *blocks, const struct safetensors *file,
                         int64_t *matches, struct kernel_error *error)
{
    for (size_t i = 0; i < file->count; i++) {
        matches[i] = -1;
    }
    for (size_t t = 0; t < blocks->count * net->parameter_count; t++) {
        char name[NAME_BYTES];
        struct safetensors_tensor wanted;
        if (!has_tensor(net, blocks, t)) {
            continue;
        }
        describe_tensor(net, blocks, t, name, &wanted);
        const struct safetensors_tensor *found = safetensors_find(file, name);
        if (found == NULL) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "weights: tensor %s is missing: is this file of "
                                    "another architecture?", name);
        }
        if (found->dtype != SAFETENSORS_F32) {
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "weights: tensor %s is %s: it must be F32", name,
                                    safetensors_dtype_name(found->dtype));
        }
        if (found->rank != wanted.rank ||
            memcmp(found->shape, wanted.shape, (size_t)wanted.rank * sizeof wanted.shape[0]) != 0) {
            struct shape has = {.rank = found->rank < SHAPE_RANK ? found->rank : SHAPE_RANK};
            struct shape needs = {.rank = wanted.rank};
            char has_text[80], needs_text[80];
            memcpy(has.dims, found->shape, sizeof has.dims);
            memcpy(needs.dims, wanted.shape, sizeof needs.dims);
            return kernel_error_set(error, KERNEL_ERROR_INVALID, "weights: tensor %s has shape %s: the net's is %s",
                                    name, shape_format(&has, has_text, sizeof has_text),
                                    shape_format(&needs, needs_text, sizeof needs_text));
        }
        matches[found - file->tensors] = (int64_t)t;
    }
    return 0;
}

static int read_tensors(struct net *net, const struct blocks *blocks, const struct safetensors *file,
                        const int64_t *matches, net_read_function *read, void *context, struct kernel_error *error)
{
    float *values = malloc(CHUNK_FLOATS * sizeof *values);
    if (values == NULL) {
        return kernel_error_set(error, KERNEL_ERROR_MEMORY, "weights: out of memory");
    }
    int result = 0;
    for (size_t i = 0; i < file->count && result == 0; i++) {
        size_t index = 0;
        struct walk walk = {0};
        if (matches[i] >= 0) {
            index = (size_t)matches[i];
            walk = walk_start(net, index % net->parameter_count, blocks->block[index / net->parameter_count].data);
        }
        uint64_t left = file->tensors[i].end - file->tensors[i].begin;
        while (left > 0 && result == 0) {
            size_t bytes = left < CHUNK_FLOATS * sizeof *values ? (size_t)left : CHUNK_FLOATS * sizeof *values;
            result = read_all(read, context, values, bytes, error);
            left -= bytes;
            if (result == 0 && matches[i] >= 0) {
                walk_copy(&walk, true, values, bytes / sizeof *values);
            }
        }
    }
    free(values);
    return result;
}

static struct safetensors *read_file(struct net *net, const struct blocks *blocks, net_read_function *read,
                                     void *context, struct kernel_error *error)
{
    int result = -1;
    int64_t *matches = NULL;
    struct safetensors *file = read_header(read, context, error);
    if (file == NULL) {
        return NULL;
    }
    matches = calloc(file->count + 1, sizeof *matches);
    if (matches == NULL) {
        kernel_error_set(error, KERNEL_ERROR_MEMORY, "weights: out of memory");
        goto out;
    }
    if (match_tensors(net, blocks, file, matches, error) < 0 ||
        read_tensors(net, blocks, file, matches, read, context, error) < 0) {
        goto out;
    }
    char extra;
    int64_t more = read(context, &extra, 1);
    if (more != 0) {
        kernel_error_set(error, more < 0 ? KERNEL_ERROR_IO : KERNEL_ERROR_INVALID, "weights: %s",
                         more < 0 ? "could not be read" : "the file is longer than its header says");
        goto out;
    }
    result = 0;
out:
    free(matches);
    if (result < 0) {
        safetensors_free(file);
        return NULL;
    }
    return file;
}

int net_weights_read(struct net *net, net_read_function *read, void *context, struct kernel_error *error)
{
    struct blocks blocks = list_blocks(net, NULL);
    struct safetensors *file = read_file(net, &blocks, read, context, error);
    int result = file != NULL ? 0 : -1;
    safetensors_free(file);
    return result;
}

struct memory {
    const uint8_t *data;
    size_t left;
};

static int64_t read_memory(void *context, void *buffer, size_t size)
{
    struct memory *memory = context;
    size_t count = size < memory->left ? size : memory->left;
    if (count > 0) {
        memcpy(buffer, memory->data, count);
        memory->data += count;
        memory->left -= count;
    }
    return (int64_t)count;
}

int net_weights_read_memory(struct net *net, const uint8_t *data, size_t length, struct kernel_error *error)
{
    struct memory memory = {.data = data, .left = length};
    return net_weights_read(net, read_memory, &memory, error);
}

static int number_of(const struct safetensors *file, const char *key, uint64_t *number, struct kernel_error *error)
{
    const char *text = safetensors_metadata(file, key);
    char *end = NULL;
    *number = text != NULL ? strtoull(text, &end, 10) : 0;
    if (text == NULL || text[0] < '0' || text[0] > '9' || *end != '\0') {
        return kernel_error_set(error, KERNEL_ERROR_INVALID, "checkpoint: metadata %s is not a number", key);
    }
    return 0;
}

int net_checkpoint_read(struct net *net, struct optimizer *optimizer, const struct net_block *more,
                        net_read_function *read, void *context, struct safetensors **header, struct kernel_error *error)
{
    int result = -1;
    if (header != NULL) {
        *header = NULL;
    }
    struct blocks blocks = list_blocks(net, optimizer);
    list_more(&blocks, more);
    struct safetensors *file = read_file(net, &blocks, read, context, error);
    if (file == NULL) {
        return -1;
    }
    const char *mine = optimizer_name(optimizer_options(optimizer)->kind);
    const char *theirs = safetensors_metadata(file, "optimizer");
    uint64_t steps, net_steps_read, seed;
    if (theirs == NULL || strcmp(mine, theirs) != 0) {
        kernel_error_set(error, KERNEL_ERROR_INVALID, "checkpoint: is of optimizer %.40s, the task's is %s",
                         theirs != NULL ? theirs : "(none)", mine);
        goto out;
    }
    if (number_of(file, "steps", &steps, error) < 0 || number_of(file, "net_steps", &net_steps_read, error) < 0 ||
        number_of(file, "seed", &seed, error) < 0) {
        goto out;
    }
    if (steps > INT64_MAX) {
        kernel_error_set(error, KERNEL_ERROR_INVALID, "checkpoint: metadata steps is out of range");
        goto out;
    }
    optimizer_set_steps(optimizer, (int64_t)steps);
    net->steps = net_steps_read;
    net->seed = seed;
    if (header != NULL) {
        *header = file;
        file = NULL;
    }
    result = 0;
out:
    safetensors_free(file);
    return result;
}
