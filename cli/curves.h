/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_CURVES_H
#define TL_CLI_CURVES_H

/* Learning curves of a few tasks, from their logs. */

#include "cli/cli.h"

#include <bson/bson.h>

#define CURVES_MOST 12 /* tasks */

struct curve {
    double *x, *y; /* epochs ascending, and the metric there */
    size_t count, capacity;
};

struct curves {
    struct curve tasks[CURVES_MOST];
    size_t task_count;
    const char *split; /* "validation", or "train" where no task has any of validation */
    char metric[128];  /* as it is called in logs */
};

/* Of tasks ids[count] (at most CURVES_MOST). metric as in results: validation_accuracy, test_loss, f1. Where the logs have none
 * of it, it is their loss. *curves is initialised always. An exit code. */
int curves_read(struct cli *cli, const char *const *ids, size_t count, const char *metric, struct curves *curves);
void curves_destroy(struct curves *curves);

#endif
