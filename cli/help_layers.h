/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_HELP_LAYERS_H
#define TL_CLI_HELP_LAYERS_H

/* `tl_hub help layers [TYPE]`: the layers that an architecture may have, with their attributes, as text or JSON. */

#include "cli/cli.h"

/* type NULL: all. An exit code. */
int help_layers(struct cli *cli, const char *type);

#endif
