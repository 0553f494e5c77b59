/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_KERNELS_ERROR_H
#define TL_KERNELS_ERROR_H

/* Errors of kernels/: a code and one line of text (what, where, what to do). Of the same shape as the hub's, for
 * kernels know no BSON. Libraries set errors and return; they never print and never exit. */

enum kernel_error_code {
    KERNEL_ERROR_INVALID = 1, /* an architecture, hyper-parameter, file or argument that is not acceptable */
    KERNEL_ERROR_MEMORY,      /* an allocation failed */
    KERNEL_ERROR_NONFINITE,   /* the loss became NaN or infinite */
    KERNEL_ERROR_IO,          /* a reader or writer callback failed, or a file could not be read */
    KERNEL_ERROR_UNSUPPORTED  /* the device cannot do this here (missing module, operation or CPU feature) */
};

struct kernel_error {
    int code;           /* enum kernel_error_code; 0 where nothing went wrong */
    char message[512];  /* one line, never with a newline */
};

/* Fills *error (NULL allowed) printf-like; control characters in the message become spaces. Returns -1, so that
 * `return kernel_error_set(error, KERNEL_ERROR_INVALID, "…")` reads well. */
int kernel_error_set(struct kernel_error *error, enum kernel_error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
