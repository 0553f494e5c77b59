/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_COMMANDS_H
#define TL_CLI_COMMANDS_H

/* Every verb. Each has a cmd_*.c of its own, but for those that are one idea: finding and deleting a kind of thing, and
 * what is asked of tasks (cmd_request.c). */

#include "cli/cli.h"

extern const struct cli_command cmd_init;
extern const struct cli_command cmd_save_dataset, cmd_push_rows, cmd_find_dataset, cmd_delete_dataset;
extern const struct cli_command cmd_save_architecture, cmd_find_architecture, cmd_delete_architecture;
extern const struct cli_command cmd_create_task, cmd_find_task, cmd_wait, cmd_set_task, cmd_cancel_task, cmd_stop_task, cmd_pause_task,
    cmd_resume_task, cmd_restart_task, cmd_delete_task, cmd_run_task;
extern const struct cli_command cmd_find_model, cmd_get_model, cmd_save_model, cmd_tag_model, cmd_delete_model, cmd_predict,
    cmd_sample;
extern const struct cli_command cmd_ask, cmd_tell, cmd_find_log, cmd_save_log, cmd_delete_log;
extern const struct cli_command cmd_report, cmd_compare;
extern const struct cli_command cmd_status, cmd_watch, cmd_doctor, cmd_gc, cmd_fsck, cmd_export, cmd_import, cmd_version,
    cmd_help;

#endif
