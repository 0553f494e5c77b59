/* SPDX-License-Identifier: Apache-2.0 */
/* IDX files, plain and packed: rows come out as the header says, or the file is refused by name. */

#include "distributor/idx_file.h"
#include "tests/fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_error_t error = {0};
    struct idx_file *file = idx_file_open(fuzz_file(data, size), &error);
    if (file == NULL) {
        FUZZ_REQUIRE(error.message[0] != '\0');
        return 0;
    }
    int64_t rows = idx_file_rows(file), row_bytes = idx_file_row_bytes(file);
    FUZZ_REQUIRE(rows >= 1 && row_bytes >= 1 && row_bytes <= 1 << 24);
    FUZZ_REQUIRE(idx_file_rank(file) >= 1 && idx_file_rank(file) <= IDX_FILE_RANK);
    uint8_t *row = malloc((size_t)row_bytes);
    FUZZ_REQUIRE(row != NULL);
    int64_t i = 0;
    while (i < rows && i < 4096 && idx_file_read(file, row, 1, &error) >= 0)
        i++;
    FUZZ_REQUIRE(i == rows || i == 4096 || error.message[0] != '\0');
    if (i == rows)
        idx_file_end(file, &error);
    free(row);
    idx_file_close(file);
    return 0;
}
