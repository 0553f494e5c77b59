/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_FIELDS_H
#define TL_CLI_FIELDS_H

/* Documents put together from --name, --description, --tag and --set. */

#include "cli/cli.h"

/* --description, --tag, --set */
extern const struct cli_option fields_options[];

/* Appends description and tags where they are given. */
int fields_append_common(struct cli *cli, bson_t *document);
/* Appends every --set KEY=VALUE of this option. */
int fields_append_settings(struct cli *cli, const char *option, bson_t *document);
/* Appends every text of a repeated option (each may have commas) as an array, where there are any. */
int fields_append_list(struct cli *cli, const char *option, const char *key, bson_t *document);
/* Appends {key: text}, or the object where text is JSON. Checks UTF-8. */
int fields_append_query(struct cli *cli, const char *option, const char *key, const char *text, bson_t *document);
int fields_append_text(struct cli *cli, const char *option, const char *key, const char *text, bson_t *document);
/* A pipeline as JSON, or @FILE, checked: *text is new (bson_free), NULL where the option is not given. */
int fields_read_pipeline(struct cli *cli, const char *option, char **text, size_t *length);
/* The text of a file of at most limit bytes (bson_free), "-" being standard input: an exit code. */
int fields_read_file(const char *path, size_t limit, char **text, size_t *length);

#endif
