/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/refusal.h"

int refusal(bson_error_t *error, const char *where, const struct kernel_error *why)
{
    static const enum hub_error_code codes[] = {[KERNEL_ERROR_INVALID] = HUB_ERROR_INVALID,
                                                [KERNEL_ERROR_MEMORY] = HUB_ERROR_MEMORY,
                                                [KERNEL_ERROR_NONFINITE] = HUB_ERROR_INVALID,
                                                [KERNEL_ERROR_IO] = HUB_ERROR_IO,
                                                [KERNEL_ERROR_UNSUPPORTED] = HUB_ERROR_INVALID};
    bool known = why->code > 0 && (size_t)why->code < sizeof codes / sizeof *codes;
    return hub_error(error, known ? codes[why->code] : HUB_ERROR_INTERNAL, "%s: %s", where, why->message);
}
