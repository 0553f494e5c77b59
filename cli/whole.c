/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/whole.h"
#include "cli/text.h"

int whole_open(struct cli *cli, unsigned flags, bool check)
{
    bson_error_t error;
    int code = cli_settings(cli);

    if (code != CLI_DONE) {
        return code;
    }
    cli->hub = hub_open(cli->uri, check ? cli_text(cli, "project") : NULL, flags, &error);
    if (cli->hub == NULL) {
        code = cli_fail(&error);
        return hub_error_code(&error) == HUB_ERROR_INVALID ? CLI_USAGE : code;
    }
    return CLI_DONE;
}

void whole_append_summary(bson_t *out, const struct archive_summary *summary)
{
    bson_t counts;

    BSON_APPEND_INT64(out, "documents", summary->documents);
    BSON_APPEND_DOCUMENT_BEGIN(out, "counts", &counts);
    for (int i = 0; i < ARCHIVE_COLLECTIONS; i++) {
        BSON_APPEND_INT64(&counts, archive_collections[i], summary->counts[i]);
    }
    bson_append_document_end(out, &counts);
    BSON_APPEND_UTF8(out, "digest", summary->digest);
}

void whole_draw(void *data, const struct archive_progress *progress)
{
    struct whole_display *display = data;
    char size[32], text[160];

    if (!display->bar.on) {
        return;
    }
    text_format_bytes(progress->bytes, size, sizeof size);
    snprintf(text, sizeof text, "%s %lld documents, %lld blobs, %s", display->what, (long long)progress->documents,
             (long long)progress->blobs, size);
    double fraction = progress->total > 0 ? (double)progress->done / (double)progress->total : 0;
    bar_draw(&display->bar, text, fraction < 0.99 ? fraction : 0.99);
}

void whole_note(void *data, const char *text)
{
    struct whole_display *display = data;

    bar_end(&display->bar);
    cli_say(CLI_DONE, "%s", text);
}
