/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/footprint.h"

#define PROGRAM_BYTES (64.0 * 1024 * 1024) /* the program with its libraries, measured */
#define MARGIN        1.1                  /* rows are padded, and devices keep some memory of their own */

void footprint_of(const struct architecture_size *size, const struct footprint_options *options, struct footprint *out)
{
    /* Weights and, for training, gradients; while it ends, the weights are a file in memory, too. */
    double blocks = options->trains ? 3.0 + options->states + options->keeps_best : 1.0;
    double input = (double)shape_size(&size->input), output = (double)shape_size(&size->output);
    double activations = (double)size->activations * (options->trains ? 2 : 1);
    double row = activations + input + 2 * output; /* with what the batch is gathered in */
    double bytes = (double)options->data_bytes + PROGRAM_BYTES +
                   MARGIN * sizeof(float) * ((double)size->parameters * blocks + (double)options->batch_size * row);
    out->memory = bytes < 9.2e18 ? (int64_t)bytes : INT64_MAX;
    out->flops = (double)size->flops * (3.0 * (double)options->rows + (double)options->forward_rows);
}
