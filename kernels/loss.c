/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/loss.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    bool takes_classes;
} losses[] = {
    [LOSS_CROSS_ENTROPY] = {"cross_entropy", true},
    [LOSS_MSE] = {"mse", false},
};

int loss_find(const char *name, enum loss_kind *kind, struct kernel_error *error)
{
    *kind = LOSS_CROSS_ENTROPY;
    for (size_t i = 0; name != NULL && i < sizeof losses / sizeof losses[0]; i++) {
        if (strcmp(name, losses[i].name) == 0) {
            *kind = (enum loss_kind)i;
            return 0;
        }
    }
    return kernel_error_set(error, KERNEL_ERROR_INVALID, "loss: \"%.40s\" is not known: use cross_entropy or mse",
                            name != NULL ? name : "");
}

const char *loss_name(enum loss_kind kind)
{
    return losses[kind].name;
}

bool loss_takes_classes(enum loss_kind kind)
{
    return losses[kind].takes_classes;
}
