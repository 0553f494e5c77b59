/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_WHOLE_H
#define TL_CLI_WHOLE_H

/* What the verbs about a whole hub share: export, import, fsck. For them --project narrows; a project from the settings
 * does not. */

#include "cli/bar.h"
#include "hub/archive.h"

/* Opens the hub whatever project the settings name. With check, the one of --project must be there. */
int whole_open(struct cli *cli, unsigned flags, bool check);
/* {documents, blobs, bytes, digest, tasks, models, …} appended. */
void whole_append_summary(bson_t *out, const struct archive_summary *summary);

struct whole_display {
    struct bar bar;
    const char *what;
};
/* archive_progress_function and archive_note_function; data is a struct whole_display. */
void whole_draw(void *data, const struct archive_progress *progress);
void whole_note(void *data, const char *text);

#endif
