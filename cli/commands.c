/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include <string.h>

const struct cli_command *const cli_commands[] = {
    &cmd_init,
    &cmd_save_dataset,
    &cmd_push_rows,
    &cmd_find_dataset,
    &cmd_delete_dataset,
    &cmd_save_architecture,
    &cmd_find_architecture,
    &cmd_delete_architecture,
    &cmd_create_task,
    &cmd_find_task,
    &cmd_wait,
    &cmd_set_task,
    &cmd_cancel_task,
    &cmd_stop_task,
    &cmd_pause_task,
    &cmd_resume_task,
    &cmd_restart_task,
    &cmd_delete_task,
    &cmd_run_task,
    &cmd_ask,
    &cmd_tell,
    &cmd_find_model,
    &cmd_get_model,
    &cmd_save_model,
    &cmd_tag_model,
    &cmd_delete_model,
    &cmd_predict,
    &cmd_sample,
    &cmd_find_log,
    &cmd_save_log,
    &cmd_delete_log,
    &cmd_report,
    &cmd_compare,
    &cmd_status,
    &cmd_watch,
    &cmd_doctor,
    &cmd_gc,
    &cmd_fsck,
    &cmd_export,
    &cmd_import,
    &cmd_version,
    &cmd_help,
    NULL,
};

const struct cli_command *cli_find_command(const char *verb)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        if (strcmp(cli_commands[i]->verb, verb) == 0) {
            return cli_commands[i];
        }
    }
    return NULL;
}
