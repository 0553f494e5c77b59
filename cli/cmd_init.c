/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/output.h"

#include <string.h>

static const struct cli_option options[] = {
    {"lanes", 0, CLI_COUNT, "N", "spread tasks over N lanes (1); before the first task, for a sharded cluster"},
    {0}};

static int run(struct cli *cli)
{
    bson_error_t error;
    bson_t report = BSON_INITIALIZER;

    int code = cli_settings(cli);
    if (code != CLI_DONE) {
        goto out;
    }
    const int64_t asked = cli_integer(cli, "lanes", 1);
    if (asked < 1 || asked > HUB_LANES_MOST) { /* before anything is made */
        code = cli_usage(cli, "--lanes: from 1 to %d, not %lld", HUB_LANES_MOST, (long long)asked);
        goto out;
    }
    int made = hub_init(cli->uri, cli->project, &error);
    if (made < 0) {
        code = cli_fail(&error);
        code = hub_error_code(&error) == HUB_ERROR_INVALID ? CLI_USAGE : code;
        goto out;
    }
    code = cli_open(cli, HUB_OPEN_EXISTING);
    if (code != CLI_DONE) {
        goto out;
    }
    const int32_t lanes = (int32_t)cli_integer(cli, "lanes", hub_lanes(cli->hub));
    if (hub_set_lanes(cli->hub, lanes, &error) < 0) {
        code = cli_fail(&error);
        code = hub_error_code(&error) == HUB_ERROR_INVALID ? CLI_USAGE : code;
        goto out;
    }
    const char *uri = store_uri_redacted(hub_store(cli->hub));
    BSON_APPEND_BOOL(&report, "made", made > 0);
    BSON_APPEND_UTF8(&report, "hub", uri);
    BSON_APPEND_UTF8(&report, "hub_id", hub_id(cli->hub));
    BSON_APPEND_UTF8(&report, "project", hub_project(cli->hub));
    BSON_APPEND_INT32(&report, "lanes", hub_lanes(cli->hub));
    code = output_object(cli, &report, made > 0 ? "made hub %s, project %s" : "hub %s, project %s: was there already",
                         uri, hub_project(cli->hub));
out:
    bson_destroy(&report);
    return code;
}

const struct cli_command cmd_init = {
    .verb = "init",
    .summary = "Make a hub, or a project in it",
    .arguments = "",
    .groups = {options},
    .details = "Makes the database, its indexes and the project where they are missing; what is there is left alone.\n"
               "On SQLite the verbs that save something make a missing hub by themselves.\n"
               "Lanes are for a sharded MongoDB whose shard key is {project, lane}: a task's lane follows from its _id, and\n"
               "runners go round the lanes, so that priorities count within each. One lane is right everywhere else.",
    .examples = "  tl_hub init\n  tl_hub init --hub mongodb://db.example.org/tl_hub --project vision",
    .run = run,
};
