/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: read as they are, and read and imported with every checksum made right again, so that what lies behind the
 * checksums is tried, too. Whatever comes, the hub holds no pointer to a blob that is not there. */

#include "hub/archive_import_impl.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <unistd.h>

static char folder[64];
static struct hub *hub;
static FILE *rebuilt;

static void leave(void)
{
    char command[128];
    hub_close(hub);
    fclose(rebuilt);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    FUZZ_REQUIRE(system(command) == 0);
}

static void enter(void)
{
    char uri[128];
    bson_error_t error;
    snprintf(folder, sizeof folder, "%s/tl_hub-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FUZZ_REQUIRE(mkdtemp(folder) != NULL);
    snprintf(uri, sizeof uri, "sqlite:%s/hub.db", folder);
    hub = hub_open(uri, NULL, HUB_OPEN_CREATE, &error);
    rebuilt = tmpfile();
    FUZZ_REQUIRE(hub != NULL && rebuilt != NULL);
    atexit(leave);
}

static void read_raw(const uint8_t *data, size_t size)
{
    struct archive_summary summary;
    bson_error_t error = {0};
    FILE *file = fmemopen((void *)(uintptr_t)data, size, "rb");
    FUZZ_REQUIRE(file != NULL);
    FUZZ_REQUIRE(archive_check(file, "fuzz", &summary, &error) >= 0 || error.message[0] != '\0');
    fclose(file);
}

/* The same frames, as far as they are frames, with seals that are right. */
static void rebuild(const uint8_t *data, size_t size)
{
    struct archive_writer writer;
    bson_error_t error;
    rewind(rebuilt);
    FUZZ_REQUIRE(ftruncate(fileno(rebuilt), 0) == 0);
    FUZZ_REQUIRE(archive_writer_open(&writer, rebuilt, &error) > 0);
    for (size_t at = 12; at + 6 <= size;) {
        uint32_t length;
        bson_t document;
        memcpy(&length, data + at + 1, sizeof length);
        length = BSON_UINT32_FROM_LE(length);
        if (length < 5 || length > size - at - 1 || !bson_init_static(&document, data + at + 1, length))
            break;
        if (data[at] == ARCHIVE_SEAL)
            FUZZ_REQUIRE(archive_writer_seal(&writer, &error) > 0);
        else
            FUZZ_REQUIRE(archive_writer_frame(&writer, (enum archive_kind)data[at], &document, &error) > 0);
        at += 1 + length;
    }
    archive_writer_close(&writer);
    FUZZ_REQUIRE(fflush(rebuilt) == 0);
    rewind(rebuilt);
}

static void require_no_dangling(void)
{
    static const char *const owners[] = {"models", "datasets", "tasks"};
    bson_error_t error;
    for (size_t i = 0; i < 3; i++) {
        struct archive_scan *scan = archive_scan_open(hub_store(hub), owners[i], NULL);
        const bson_t *document;
        while (archive_scan_next(scan, &document, &error) > 0) {
            bson_oid_t *list;
            size_t count = archive_pointers(owners[i], document, &list);
            for (size_t j = 0; j < count; j++) {
                struct blob_reader *reader = blob_reader_open(hub_store(hub), &list[j], &error);
                FUZZ_REQUIRE(reader != NULL);
                blob_reader_close(reader);
            }
            bson_free(list);
        }
        archive_scan_close(scan);
    }
}

static void empty_hub(void)
{
    static const char *const all[] = {"models", "datasets", "tasks",       "logs",        "architectures", "sweeps",
                                      "runners", "uploads", "blobs.files", "blobs.chunks", "counters"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        FUZZ_REQUIRE(store_delete(hub_store(hub), all[i], NULL, NULL) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct archive_import_options options = {.name = "fuzz"};
    struct archive_import_report report;
    bson_error_t error = {0};
    if (size == 0)
        return 0;
    if (hub == NULL)
        enter();
    read_raw(data, size);
    rebuild(data, size);
    int result = archive_import(hub, rebuilt, &options, &report, &error);
    FUZZ_REQUIRE(result >= 0 || error.message[0] != '\0');
    require_no_dangling();
    empty_hub();
    return 0;
}
