/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of NumPy, alone and in archives: as many rows as the header says, or a message. */

#include "distributor/npy_file.h"
#include "tests/fuzz/fuzz_file.h"

static void read_array(const char *path, const char *member)
{
    bson_error_t error = {0};
    struct npy_file *file = npy_file_open(path, member, &error);
    if (file == NULL) {
        FUZZ_REQUIRE(error.message[0] != '\0');
        return;
    }
    const int64_t rows = npy_file_rows(file), width = npy_file_row_values(file);
    FUZZ_REQUIRE(rows >= 1 && width >= 1 && width <= 1 << 24 && npy_file_rank(file) <= NPY_FILE_RANK);
    double *row = malloc((size_t)width * sizeof *row);
    FUZZ_REQUIRE(row != NULL);
    int64_t i = 0;
    while (i < rows && i < 4096 && npy_file_read(file, row, 1, &error) == 0)
        i++;
    FUZZ_REQUIRE(i == rows || i == 4096 || error.message[0] != '\0');
    if (i == rows)
        npy_file_end(file, &error);
    free(row);
    npy_file_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct npy_members members;
    bson_error_t error = {0};
    const char *path = fuzz_file(data, size);
    if (npy_file_list(path, &members, &error)) {
        FUZZ_REQUIRE(error.message[0] != '\0');
        return 0;
    }
    for (int i = 0; i < members.count; i++)
        read_array(path, members.names[i]);
    return 0;
}
