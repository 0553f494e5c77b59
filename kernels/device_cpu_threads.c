/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device_cpu.h"

void cpu_in_parallel(int threads, int64_t total, int64_t unit, cpu_part_function *part, void *context)
{
    const int64_t units = (total + unit - 1) / unit;
    const int64_t parts = threads < units ? threads : units;
    if (parts <= 1) {
        part(context, 0, total);
        return;
    }
#pragma omp parallel for schedule(static, 1) num_threads((int)parts)
    for (int64_t i = 0; i < parts; i++) {
        const int64_t first = units * i / parts * unit, next = units * (i + 1) / parts * unit;
        part(context, first, (next < total ? next : total) - first);
    }
}
