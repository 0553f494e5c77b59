/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/npy_file.h"

#include "distributor/zip_member.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES (1 << 16)
#define ROW_VALUES   (1 << 24)
#define CHUNK        4096 /* elements that are turned into doubles at once */

struct npy_file {
    char *name;
    struct zip_member *source;
    char kind;   /* f, i, u or b */
    int size;    /* bytes of an element */
    bool swap;   /* big-endian */
    int rank;
    int64_t dimensions[NPY_FILE_RANK];
    int64_t row_values, rows_left;
    uint8_t chunk[CHUNK * 8];
};

static int refuse(const struct npy_file *file, const char *why, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_INVALID, "%s: %s", file->name, why);
}

/* ---- the header ---- */

/* What follows 'KEY': in the dictionary, or NULL. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s'", key);
    const char *at = strstr(header, quoted);
    if (!at)
        return NULL;
    for (at += strlen(quoted); *at == ' '; at++)
        ;
    if (*at++ != ':')
        return NULL;
    while (*at == ' ')
        at++;
    return at;
}

static int read_type(struct npy_file *file, const char *header, bson_error_t *error)
{
    const char *at = value_of(header, "descr");
    if (!at || *at != '\'')
        return refuse(file, "its elements are structures; plain numbers are taken", error);
    const char order = at[1];
    file->kind = order ? at[2] : '\0';
    file->size = file->kind ? at[3] - '0' : 0;
    const bool known = strchr("<>|=", order) && order && file->kind && strchr("fiub", file->kind) && at[4] == '\'' &&
                       (file->size == 1 || file->size == 2 || file->size == 4 || file->size == 8) &&
                       !(file->kind == 'f' && file->size < 4) && !(file->kind == 'b' && file->size != 1);
    if (!known)
        return hub_error(error, HUB_ERROR_INVALID, "%s: elements of type %.12s; floats (f4, f8), integers and booleans are taken",
                         file->name, at);
    file->swap = order == '>';
    return 0;
}

static int read_shape(struct npy_file *file, const char *header, bson_error_t *error)
{
    const char *at = value_of(header, "shape");
    if (!at || *at++ != '(')
        return refuse(file, "its header has no shape", error);
    for (;;) {
        char *end;
        while (*at == ' ' || *at == ',')
            at++;
        if (*at == ')')
            break;
        if (!isdigit((unsigned char)*at))
            return refuse(file, "its header has no shape", error);
        long long dimension = strtoll(at, &end, 10);
        at = *end == 'L' ? end + 1 : end;
        if (file->rank == NPY_FILE_RANK)
            return refuse(file, "more than seven dimensions", error);
        if (dimension < 1 || dimension > INT64_C(1) << 40)
            return refuse(file, "a dimension is 0, or too large", error);
        file->dimensions[file->rank++] = dimension;
    }
    file->row_values = 1;
    for (int i = 1; i < file->rank; i++)
        if (__builtin_mul_overflow(file->row_values, file->dimensions[i], &file->row_values) || file->row_values > ROW_VALUES)
            return refuse(file, "a row has more than 2^24 values", error);
    file->rows_left = npy_file_rows(file);
    return 0;
}

static int read_header(struct npy_file *file, bson_error_t *error)
{
    uint8_t first[12];
    int result = -1;
    if (zip_member_read(file->source, first, 10, error))
        return -1;
    if (memcmp(first, "\x93NUMPY", 6) != 0)
        return refuse(file, "byte 0: not an array of NumPy", error);
    uint32_t length = (uint32_t)first[8] | (uint32_t)first[9] << 8;
    if (first[6] >= 2) {
        if (zip_member_read(file->source, first + 10, 2, error))
            return -1;
        length |= (uint32_t)first[10] << 16 | (uint32_t)first[11] << 24;
    }
    if (first[6] < 1 || first[6] > 3 || length > HEADER_BYTES)
        return refuse(file, "byte 6: a version or a header that no NumPy writes", error);
    char *header = calloc(1, (size_t)length + 1);
    if (!header)
        return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory for its header", file->name);
    if (zip_member_read(file->source, header, length, error))
        goto out;
    const char *order = value_of(header, "fortran_order");
    if (!order || strncmp(order, "False", 5)) {
        refuse(file, "in Fortran order: save it with numpy.ascontiguousarray", error);
        goto out;
    }
    result = read_type(file, header, error) ? -1 : read_shape(file, header, error);
out:
    free(header);
    return result;
}

/* ---- life ---- */

int npy_file_list(const char *path, struct npy_members *members, bson_error_t *error)
{
    memset(members, 0, sizeof *members);
    int archive = zip_member_is_archive(path, error);
    if (archive < 0)
        return -1;
    if (archive)
        return zip_member_list(path, ".npy", members->names, NPY_FILE_MEMBERS, &members->count, error);
    members->count = 1;
    return 0;
}

struct npy_file *npy_file_open(const char *path, const char *member, bson_error_t *error)
{
    struct npy_file *file = calloc(1, sizeof *file);
    char inside[80];
    if (!file || (*member ? asprintf(&file->name, "%s: %s", path, member) : asprintf(&file->name, "%s", path)) < 0) {
        hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", path);
        free(file);
        return NULL;
    }
    snprintf(inside, sizeof inside, "%s.npy", member);
    file->source = zip_member_open(path, *member ? inside : NULL, error);
    if (file->source && read_header(file, error) == 0)
        return file;
    npy_file_close(file);
    return NULL;
}

void npy_file_close(struct npy_file *file)
{
    if (!file)
        return;
    zip_member_close(file->source);
    free(file->name);
    free(file);
}

const char *npy_file_name(const struct npy_file *file)
{
    return file->name;
}

int npy_file_rank(const struct npy_file *file)
{
    return file->rank;
}

int64_t npy_file_dimension(const struct npy_file *file, int i)
{
    return file->dimensions[i];
}

int64_t npy_file_rows(const struct npy_file *file)
{
    return file->rank > 0 ? file->dimensions[0] : 1;
}

int64_t npy_file_row_values(const struct npy_file *file)
{
    return file->row_values;
}

bool npy_file_is_integer(const struct npy_file *file)
{
    return file->kind != 'f';
}

bool npy_file_is_bytes(const struct npy_file *file)
{
    return file->kind == 'u' && file->size == 1;
}

/* ---- elements ---- */

/* The machine is little-endian or not: bits are put together by value. */
static double element(const struct npy_file *file, const uint8_t *from)
{
    uint64_t bits = 0;
    for (int i = 0; i < file->size; i++) { /* little-endian, unless the file is the other way round */
        const int at = file->swap ? file->size - 1 - i : i;
        bits |= (uint64_t)from[at] << 8 * i;
    }
    if (file->kind == 'f' && file->size == 4) {
        const uint32_t half = (uint32_t)bits;
        float value;
        memcpy(&value, &half, sizeof value);
        return (double)value;
    }
    if (file->kind == 'f') {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    if (file->kind == 'i') {
        const int shift = 64 - 8 * file->size;
        return (double)((int64_t)(bits << shift) >> shift);
    }
    return (double)bits;
}

int npy_file_read(struct npy_file *file, double *values, int64_t rows, bson_error_t *error)
{
    int64_t left = rows * file->row_values;
    while (left > 0) {
        const int64_t count = left < CHUNK ? left : CHUNK;
        if (zip_member_read(file->source, file->chunk, (size_t)(count * file->size), error))
            return -1;
        for (int64_t i = 0; i < count; i++)
            *values++ = element(file, file->chunk + i * file->size);
        left -= count;
    }
    file->rows_left -= rows;
    return 0;
}

int npy_file_read_bytes(struct npy_file *file, uint8_t *values, int64_t rows, bson_error_t *error)
{
    file->rows_left -= rows;
    return zip_member_read(file->source, values, (size_t)(rows * file->row_values), error);
}

int npy_file_end(struct npy_file *file, bson_error_t *error)
{
    return zip_member_end(file->source, error);
}
