/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/task_keep.h"

#include <stdlib.h>
#include <string.h>

#define DIGITS 7

bool task_keep_read(const char *text, struct task_keep *keep)
{
    static const char every[] = "every ";
    *keep = (struct task_keep){.best = text != NULL && strcmp(text, "best") == 0};
    if (text == NULL || keep->best || strcmp(text, "last") == 0) {
        return true;
    }
    if (strncmp(text, every, sizeof every - 1) != 0) {
        return false;
    }
    text += sizeof every - 1;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > DIGITS || *text == '0') {
        keep->every = strcmp(text, "epoch") == 0;
    } else if (strcmp(text + digits, " epochs") == 0 || strcmp(text + digits, " epoch") == 0) {
        keep->every = strtoll(text, NULL, 10);
    }
    return keep->every > 0;
}
