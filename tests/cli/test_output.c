/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/output.h"
#include "cli/select.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const struct output_column columns[] = {
    {"id", "_id", OUTPUT_ID},
    {"name", "name", OUTPUT_TEXT},
    {"accuracy", "result.accuracy|accuracy", OUTPUT_FRACTION},
    {"point", "point", OUTPUT_PARAMETERS},
    {"size", "bytes", OUTPUT_BYTES},
    {NULL, NULL, OUTPUT_AUTO},
};

static const struct cli_command command = {.verb = "find-thing", .groups = {select_order_options}};

/* What the rows (JSON documents, NULL at the end) print in a format; options are those of the command line. */
static char *print(enum cli_format format, const char *const *rows, int option_count, char **options, int *code)
{
    struct cli cli = {.command = &command, .format = format};
    FILE *file = tmpfile();

    cr_assert(file != NULL);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    cr_assert_eq(cli_parse_options(&cli, option_count, options), CLI_DONE);
    struct output *output = output_open(&cli, columns, "thing");
    *code = CLI_USAGE;
    for (; output != NULL && *rows != NULL; rows++) {
        bson_t document;
        bson_error_t error;
        cr_assert(json_read_document(*rows, strlen(*rows), &document, &error) > 0, "%s", error.message);
        output_row(output, &document);
        bson_destroy(&document);
    }
    if (output != NULL) {
        *code = output_close(output);
    }
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    char *text = bson_malloc0(65536);
    cr_assert(fread(text, 1, 65535, file) < 65535);
    fclose(file);
    bson_free(cli.values);
    bson_free(cli.arguments);
    return text;
}

static void expect(enum cli_format format, const char *const *rows, int option_count, char **options, const char *text)
{
    int code;
    char *got = print(format, rows, option_count, options, &code);
    cr_expect_str_eq(got, text);
    cr_expect_eq(code, *rows == NULL ? CLI_NOTHING : CLI_DONE);
    bson_free(got);
}

static const char *const two[] = {
    "{\"_id\": \"0123456789abcdef0123456789abcdef\", \"name\": \"first\", \"accuracy\": 0.5, \"point\": {\"a\": 1, "
    "\"b\": 2}}",
    "{\"_id\": \"fedcba9876543210fedcba9876543210\", \"name\": \"second one\", \"result\": {\"accuracy\": 1}, "
    "\"point\": {\"a\": 1, \"b\": 30}}",
    NULL};

Test(output, tables_are_aligned_and_leave_out_what_says_nothing)
{
    unsetenv("COLUMNS");
    expect(CLI_TABLE, two, 0, NULL,
           "id            name        accuracy  point\n"
           "0123456789ab  first         0.5000  b=2\n"
           "fedcba987654  second one    1.0000  b=30\n");
}

Test(output, tables_are_cut_to_the_terminal)
{
    setenv("COLUMNS", "38", 1);
    expect(CLI_TABLE, two, 0, NULL,
           "id           name      accuracy  point\n"
           "0123456789…  first       0.5000  b=2\n"
           "fedcba9876…  second …    1.0000  b=30\n");
}

Test(output, columns_of_the_users)
{
    char *options[] = {(char *)"--columns", (char *)"name, point.b,nothing"};
    unsetenv("COLUMNS");
    expect(CLI_TABLE, two, 2, options,
           "name        point.b  nothing\n"
           "first             2  \n"
           "second one       30  \n");
    expect(CLI_JSON, two, 2, options,
           "[\n {\"name\": \"first\", \"point.b\": 2, \"nothing\": null},\n"
           " {\"name\": \"second one\", \"point.b\": 30, \"nothing\": null}\n]\n");
    expect(CLI_CSV, two, 2, options, "name,point.b,nothing\r\nfirst,2,\r\nsecond one,30,\r\n");
}

Test(output, bad_columns_are_an_error_of_usage)
{
    static const char *const wrong[] = {"", "a,", "$a", "a..b", ".a", "a."};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *options[] = {(char *)"--columns", (char *)wrong[i]};
        int code;
        char *text = print(CLI_TABLE, two, 2, options, &code);
        cr_expect_eq(code, CLI_USAGE, "'%s' was taken", wrong[i]);
        bson_free(text);
    }
}

Test(output, json_of_whole_documents)
{
    static const char *const rows[] = {"{\"_id\": \"x\", \"more\": {\"a\": [1.0]}}", NULL};
    expect(CLI_JSON, rows, 0, NULL, "[\n {\"_id\": \"x\", \"more\": {\"a\": [1.0]}}\n]\n");
}

Test(output, nothing_is_an_empty_array_a_header_or_silence)
{
    static const char *const none[] = {NULL};
    expect(CLI_JSON, none, 0, NULL, "[]\n");
    expect(CLI_CSV, none, 0, NULL, "id,name,accuracy,point,size\r\n");
    expect(CLI_TABLE, none, 0, NULL, "");
}

Test(output, csv_is_quoted_and_no_formula)
{
    static const char *const rows[] = {
        "{\"_id\": \"a,b\", \"name\": \"say \\\"x\\\"\\n\", \"accuracy\": -0.5, \"point\": {\"a\": 1}}",
        "{\"_id\": \"=1+1\", \"name\": \"@x\"}", "{\"_id\": \"-x\", \"name\": \"+1\"}",
        "{\"_id\": \"\\tx\", \"name\": \"\\rx\"}", NULL};
    expect(CLI_CSV, rows, 0, NULL,
           "id,name,accuracy,point,size\r\n"
           "\"a,b\",\"say \"\"x\"\"\n\",-0.5,\"{\"\"a\"\": 1}\",\r\n"
           "\"'=1+1\",\"'@x\",,,\r\n"
           "\"'-x\",\"'+1\",,,\r\n"
           "\"'\tx\",\"'\rx\",,,\r\n");
}

Test(output, no_format_lets_control_characters_through_to_a_terminal)
{
    static const char *const rows[] = {"{\"_id\": \"x\", \"name\": \"a\\u001b]0;t\\u0007\\u009b\\u202e\"}", NULL};
    expect(CLI_TABLE, rows, 0, NULL, "id  name\nx   a\\x1b]0;t\\x07\\u009b\\u202e\n");
    int code;
    char *json = print(CLI_JSON, rows, 0, NULL, &code);
    cr_expect(strpbrk(json, "\x1b\x07") == NULL && strstr(json, "\xc2\x9b") == NULL);
    bson_free(json);
}

Test(output, the_projection_fetches_what_is_shown_and_no_path_twice)
{
    struct cli cli = {.command = &command, .format = CLI_TABLE};
    char *options[] = {(char *)"--columns", (char *)"a.b,a,a|c,name"};
    bson_t projection;

    cr_assert_eq(cli_parse_options(&cli, 2, options), CLI_DONE);
    struct output *output = output_open(&cli, columns, "thing");
    cr_assert(output_projection(output, &projection));
    bson_string_t *text = bson_string_new(NULL);
    json_append_document(text, &projection);
    cr_expect_str_eq(text->str, "{\"a\": 1, \"c\": 1, \"name\": 1}");
    bson_string_free(text, true);
    bson_destroy(&projection);
    output_abandon(output);
    bson_free(cli.values);
    bson_free(cli.arguments);
}
