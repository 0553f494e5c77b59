/* SPDX-License-Identifier: Apache-2.0 */
/* The settings files: tl_hub.yaml, and the file that --hub-file names. */

#include "cli/cli.h"
#include "tests/fuzz/fuzz_file.h"

#include <fcntl.h>

static char folder[] = "/tmp/tl_hub-fuzz-XXXXXX";

static char inner[64], link_path[96];

static void leave(void)
{
    unlink(link_path);
    rmdir(inner);
    rmdir(folder);
}

static void prepare(const char *path)
{
    FUZZ_REQUIRE(mkdtemp(folder) != NULL);
    snprintf(inner, sizeof inner, "%s/tl_hub", folder);
    snprintf(link_path, sizeof link_path, "%s/tl_hub.yaml", inner);
    FUZZ_REQUIRE(mkdir(inner, 0700) == 0 && symlink(path, link_path) == 0);
    atexit(leave);
    unsetenv("TL_HUB_URI");
    unsetenv("TL_HUB_PROJECT");
    setenv("XDG_CONFIG_HOME", folder, 1);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    FUZZ_REQUIRE(null >= 0);
    stderr = fdopen(null, "w"); /* what is said about the files */
    FUZZ_REQUIRE(stderr != NULL);
}

static void read_with(struct cli_value *value)
{
    static const struct cli_command command = {.verb = "fuzz"};
    struct cli cli = {.command = &command, .values = value, .value_count = value != NULL};
    int code = cli_settings(&cli);
    FUZZ_REQUIRE(code != CLI_DONE || (cli.uri != NULL && cli.uri[0] != '\0'));
    bson_free(cli.uri);
    bson_free(cli.project);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    const char *path = fuzz_file(data, size);
    if (!prepared)
        prepare(path);
    prepared = true;
    read_with(NULL);
    const struct cli_option *option = cli_common_options;
    while (strcmp(option->name, "hub-file") != 0)
        option++;
    struct cli_value value = {.option = option, .text = path};
    read_with(&value);
    return 0;
}
