/* SPDX-License-Identifier: Apache-2.0 */
#include "piped.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void piped_start(struct piped *piped, const char *name, const char *what, const char *seconds)
{
    int in[2], out[2];
    char program[1024];
    snprintf(program, sizeof program, "%s/tests/support/%s", TL_TEST_SOURCE_DIR, name);
    char *arguments[] = {(char *)"python3", program, (char *)what, (char *)seconds, NULL};
    posix_spawn_file_actions_t actions;
    /* Nobody else that the test starts may keep the program alive. */
    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    cr_assert(posix_spawnp(&piped->process, "python3", &actions, NULL, arguments, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    piped->input = in[1];
    piped->output = fdopen(out[0], "r");
    cr_assert_not_null(piped->output);
}

void piped_close(struct piped *piped)
{
    if (piped->input >= 0) {
        close(piped->input);
    }
    piped->input = -1;
}

void piped_end(struct piped *piped)
{
    piped_close(piped);
    fclose(piped->output);
    waitpid(piped->process, NULL, 0);
}
