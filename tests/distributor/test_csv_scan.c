/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/csv_marks.h"
#include "distributor/csv_scan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static char path[64];
static bson_error_t error;

static void make_path(void)
{
    snprintf(path, sizeof path, "/tmp/csv-scan-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    memset(&error, 0, sizeof error);
}

static void drop_path(void)
{
    unlink(path);
}

TestSuite(csv_scan, .init = make_path, .fini = drop_path);

static void write_file(const char *text, size_t length)
{
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(text, 1, length, file) == length && fclose(file) == 0);
}

/* Every record as "[a|b|c]". */
static void read_all(char delimiter, char *out, size_t size)
{
    struct csv_record record;
    size_t at = 0;
    int next;
    struct csv_scan *scan = csv_scan_open(path, delimiter, 0, &error);
    cr_assert_not_null(scan, "%s", error.message);
    while ((next = csv_scan_next(scan, &record, &error)) > 0) {
        out[at++] = '[';
        for (int64_t i = 0; i < record.fields; i++) {
            struct csv_field field = csv_scan_field(scan, &record, i);
            cr_assert_lt(at + field.length + 4, size);
            if (i)
                out[at++] = '|';
            memcpy(out + at, field.text, field.length);
            at += field.length;
        }
        out[at++] = ']';
    }
    out[at] = '\0';
    cr_assert_eq(next, 0, "%s", error.message);
    csv_scan_close(scan);
}

static void expect_records(char delimiter, const char *text, const char *records)
{
    char out[4096];
    write_file(text, strlen(text));
    read_all(delimiter, out, sizeof out);
    cr_expect_str_eq(out, records);
}

static void expect_refused(const char *text, const char *where)
{
    struct csv_record record;
    char wanted[160];
    write_file(text, strlen(text));
    struct csv_scan *scan = csv_scan_open(path, ',', 0, &error);
    cr_assert_not_null(scan, "%s", error.message);
    int next;
    while ((next = csv_scan_next(scan, &record, &error)) > 0)
        ;
    cr_expect_eq(next, -1, "%s is taken", text);
    snprintf(wanted, sizeof wanted, "%s:%s: ", path, where);
    cr_expect(strncmp(error.message, wanted, strlen(wanted)) == 0, "%s, not %s", error.message, wanted);
    csv_scan_close(scan);
}

Test(csv_scan, fields_and_records_are_those_of_rfc_4180)
{
    expect_records(',', "a,b\n1,2\n", "[a|b][1|2]");
    expect_records(',', "a,b\r\n1,2", "[a|b][1|2]");
    expect_records(',', "\xef\xbb\xbf" "a,b\n", "[a|b]");
    expect_records(',', "\"a\",\"b,c\"\n\"d\"\"e\",\"\"\n", "[a|b,c][d\"e|]");
    expect_records(',', "\"two\nlines\",1\r\nx,2\r\n", "[two\nlines|1][x|2]");
    expect_records(';', "a;b,c\n", "[a|b,c]");
    expect_records('\t', "a\tb c\n", "[a|b c]");
    expect_records(',', "\n\na,b\n\r\n1,2\n\n", "[a|b][1|2]");
    expect_records(',', " a , b \n", "[a|b]");
    expect_records(',', ",,\n", "[||]");
    expect_records(',', "", "");
}

Test(csv_scan, quotes_are_where_they_may_be_or_are_refused_at_their_place)
{
    expect_refused("a,b\n1,\"2\n3,4\n", "2:3");
    expect_refused("a,b\n1,x\"y\"\n", "2:4");
    expect_refused("a,b\n1,\"x\"y\n", "2:6");
    expect_refused("\"a\" ,b\n", "1:4");
    expect_refused("a\n\"two\nlines\"\n5\" disk\n", "4:2");
}

/* Longer than the buffer and than a block of 64, so that every seam is crossed: what comes out is what went in. */
Test(csv_scan, records_are_the_same_wherever_the_buffer_ends)
{
    const size_t rows = 60000, size = rows * 80;
    char *text = malloc(size), expected[64], field[96];
    size_t length = 0;
    cr_assert_not_null(text);
    for (size_t i = 0; i < rows; i++) /* of 20 to 60 bytes, some with a line end and a delimiter in quotes */
        length += (size_t)snprintf(text + length, size - length, "%zu,\"%.*s\n,\"\"%zu\",%zu\r\n", i, (int)(i % 41),
                                   "0123456789012345678901234567890123456789", i, i * 3);
    gzFile packed = gzopen(path, "wb1");
    cr_assert(packed && gzwrite(packed, text, (unsigned)length) == (int)length && gzclose(packed) == Z_OK);
    struct csv_scan *scan = csv_scan_open(path, ',', 0, &error);
    struct csv_record record;
    cr_assert_not_null(scan, "%s", error.message);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < rows; i++) {
            cr_assert_eq(csv_scan_next(scan, &record, &error), 1, "row %zu: %s", i, error.message);
            cr_assert_eq(record.fields, 3);
            struct csv_field middle = csv_scan_field(scan, &record, 1);
            int wanted = snprintf(field, sizeof field, "%.*s\n,\"%zu", (int)(i % 41), "0123456789012345678901234567890123456789", i);
            cr_assert(middle.length == (size_t)wanted && !memcmp(middle.text, field, middle.length), "row %zu", i);
            struct csv_field last = csv_scan_field(scan, &record, 2);
            wanted = snprintf(expected, sizeof expected, "%zu", i * 3);
            cr_assert(last.length == (size_t)wanted && !memcmp(last.text, expected, last.length), "row %zu", i);
            if (i % 997 == 0)
                cr_assert_eq(csv_scan_line(scan), (int64_t)(2 * i + 1)); /* two lines a record */
        }
        cr_assert_eq(csv_scan_next(scan, &record, &error), 0);
        cr_assert_eq(csv_scan_rewind(scan, &error), 0);
    }
    csv_scan_close(scan);
    free(text);
}

Test(csv_scan, a_record_longer_than_the_buffer_is_read_and_one_without_end_is_refused)
{
    const size_t size = (size_t)3 << 20;
    char *text = malloc(size + 64);
    cr_assert_not_null(text);
    memset(text, 'x', size);
    text[0] = '"';
    memcpy(text + size, "\",1\ny,2\n", 8);
    write_file(text, size + 8);
    struct csv_scan *scan = csv_scan_open(path, ',', 0, &error);
    struct csv_record record;
    cr_assert_eq(csv_scan_next(scan, &record, &error), 1, "%s", error.message);
    cr_expect_eq(csv_scan_field(scan, &record, 0).length, size - 1);
    cr_assert_eq(csv_scan_next(scan, &record, &error), 1, "%s", error.message);
    cr_assert_eq(csv_scan_next(scan, &record, &error), 0);
    csv_scan_close(scan);
    free(text);
}

Test(csv_scan, what_is_no_text_is_refused_or_known)
{
    write_file("\xff\xfe" "a\0,\0", 6);
    cr_expect_null(csv_scan_open(path, ',', 0, &error));
    cr_expect(strstr(error.message, "UTF-16") != NULL, "%s", error.message);
    write_file("\0\0\x08\x03", 4);
    cr_expect_eq(csv_scan_is_text(path, &error), 0);
    write_file("a,b\n", 4);
    cr_expect_eq(csv_scan_is_text(path, &error), 1);
    cr_expect_null(csv_scan_open("/nowhere/x.csv", ',', 0, &error));
    cr_expect_eq(hub_error_code(&error), HUB_ERROR_NOT_FOUND);
}

Test(csv_scan, damaged_gzip_data_are_refused)
{
    char packed[512];
    gzFile out = gzopen(path, "wb");
    for (int i = 0; i < 1000; i++)
        gzprintf(out, "%d,%d\n", i, i * 7);
    gzclose(out);
    FILE *file = fopen(path, "rb");
    size_t length = fread(packed, 1, sizeof packed, file);
    fclose(file);
    write_file(packed, length);
    bson_error_t why = {0};
    struct csv_record record;
    struct csv_scan *scan = csv_scan_open(path, ',', 0, &why);
    int next = -1;
    while (scan && (next = csv_scan_next(scan, &record, &why)) > 0)
        ;
    cr_expect_eq(next, -1);
    cr_expect(strstr(why.message, "damaged gzip") != NULL, "%s", why.message);
    csv_scan_close(scan);
}

/* ---- what follows a member ---- */

static size_t pack(const char *text, char *packed, size_t size)
{
    gzFile out = gzopen(path, "wb");
    cr_assert(out && gzputs(out, text) == (int)strlen(text) && gzclose(out) == Z_OK);
    FILE *file = fopen(path, "rb");
    size_t length = file ? fread(packed, 1, size, file) : 0;
    cr_assert(file && !fclose(file) && length > 0);
    return length;
}

/* How many records come out of the bytes, or -1. */
static int records_in(const char *bytes, size_t length)
{
    struct csv_record record;
    int count = 0, next = -1;
    write_file(bytes, length);
    struct csv_scan *scan = csv_scan_open(path, ',', 0, &error);
    while (scan && (next = csv_scan_next(scan, &record, &error)) > 0)
        count++;
    csv_scan_close(scan);
    return next < 0 ? -1 : count;
}

Test(csv_scan, what_follows_a_gzip_member_is_another_or_padding_or_is_refused)
{
    char all[1024];
    const size_t first = pack("a,b\n1,2\n", all, 400), whole = first + pack("3,4\n5,6\n", all + first, 400);
    cr_expect_eq(records_in(all, whole), 4);
    all[first] ^= 1; /* the second member's first byte */
    cr_expect_eq(records_in(all, whole), -1);
    cr_expect(strstr(error.message, "what follows its end is no gzip data") != NULL, "%s", error.message);
    all[first] ^= 1;
    all[first + 1] ^= 1;
    cr_expect_eq(records_in(all, whole), -1);
    all[first + 1] ^= 1;
    cr_expect_eq(records_in(all, whole - 3), -1);
    memset(all + whole, 0, 100);
    cr_expect_eq(records_in(all, whole + 100), 4, "%s", error.message);
    memcpy(all + whole, "garbage", 7);
    cr_expect_eq(records_in(all, whole + 7), -1);
    cr_expect_eq(records_in(all, whole + 1), -1);
    all[whole] = '\0';
    cr_expect_eq(records_in(all, whole + 7), -1);
    cr_expect(strstr(error.message, "more data after zero bytes") != NULL, "%s", error.message);
}

/* ---- marks ---- */

/* The same, byte by byte. */
static void mark_slowly(const char *text, size_t length, char delimiter, struct csv_marks *marks)
{
    bool inside = false, starts = true, closed = false; /* whether a quote may open; whether the byte before closed one */
    marks->count = marks->record_count = 0;
    marks->lines = 0;
    marks->opened = marks->wrong = SIZE_MAX;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        const bool end = !inside && (c == delimiter || c == '\n'), quote = c == '"';
        marks->lines += c == '\n';
        if (marks->wrong == SIZE_MAX && ((closed && !end && !quote && c != '\r') || (quote && !inside && !starts)))
            marks->wrong = i;
        if (end)
            marks->ends[marks->count++] = (uint32_t)i;
        if (end && c == '\n')
            marks->records[marks->record_count++] = (uint32_t)marks->count;
        closed = quote && inside;
        if (quote && !inside)
            marks->opened = i;
        inside ^= quote;
        starts = end || closed;
    }
    if (!inside)
        marks->opened = SIZE_MAX;
}

Test(csv_marks, blocks_of_bytes_and_single_bytes_find_the_same)
{
    enum { MOST = 9000 };
    static char text[MOST + CSV_MARKS_PADDING];
    static uint32_t ends[2][MOST + 64], records[2][MOST + 64];
    struct csv_marks fast = {.ends = ends[0], .records = records[0]}, slow = {.ends = ends[1], .records = records[1]};
    static const char *const alphabets[] = {"abc,\n", "a\",\n", "a,\"\"\n\r", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\n"};
    uint32_t state = 7;
    for (int round = 0; round < 3000; round++) {
        const char *alphabet = alphabets[round % 4];
        state = state * 1664525 + 1013904223;
        const size_t length = round % 10 ? (state >> 8) % 200 : (state >> 8) % MOST;
        for (size_t i = 0; i < length + CSV_MARKS_PADDING; i++) {
            state = state * 1664525 + 1013904223;
            text[i] = alphabet[(state >> 8) % strlen(alphabet)];
        }
        csv_marks(text, length, ',', &fast);
        mark_slowly(text, length, ',', &slow);
        cr_assert_eq(fast.wrong, slow.wrong, "round %d, %zu bytes: wrong at %zu, not %zu", round, length, fast.wrong, slow.wrong);
        if (slow.wrong != SIZE_MAX)
            continue; /* what comes after it is never read */
        cr_assert_eq(fast.opened, slow.opened, "round %d", round);
        cr_assert(fast.lines == slow.lines && fast.count == slow.count && fast.record_count == slow.record_count);
        cr_assert(memcmp(ends[0], ends[1], slow.count * sizeof ends[0][0]) == 0);
        cr_assert(memcmp(records[0], records[1], slow.record_count * sizeof records[0][0]) == 0);
    }
}
