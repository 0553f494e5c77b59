/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/order.h"

#include <stdlib.h>

int order_rows(struct random_state *random, int64_t window, int64_t *order, int64_t rows)
{
    if (window <= 0 || window >= rows) {
        random_order(random, order, (size_t)rows);
        return 0;
    }
    const int64_t block = window / 16 > 0 ? window / 16 : 1, blocks = (rows + block - 1) / block;
    int64_t *sequence = malloc((size_t)blocks * sizeof *sequence), count = 0;
    if (!sequence)
        return -1;
    random_order(random, sequence, (size_t)blocks);
    for (int64_t i = 0; i < blocks; i++)
        for (int64_t row = sequence[i] * block; row < (sequence[i] + 1) * block && row < rows; row++)
            order[count++] = row;
    free(sequence);
    for (int64_t first = 0; first < rows; first += window)
        random_shuffle(random, order + first, (size_t)(rows - first < window ? rows - first : window));
    return 0;
}
