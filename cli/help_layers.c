/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help_layers.h"

#include "cli/output.h"
#include "distributor/layer_catalogue.h"

#include <string.h>

/* The value of a default or a limit, as the short form writes it. */
static void print_value(const bson_iter_t *value)
{
    if (BSON_ITER_HOLDS_UTF8(value)) {
        fputs(bson_iter_utf8(value, NULL), stdout);
    } else if (BSON_ITER_HOLDS_BOOL(value)) {
        fputs(bson_iter_bool(value) ? "true" : "false", stdout);
    } else {
        printf("%.9g", bson_iter_as_double(value));
    }
}

static void print_choices(bson_iter_t *choices)
{
    bson_iter_t choice;
    const char *before = "";

    for (bson_iter_recurse(choices, &choice); bson_iter_next(&choice); before = ", ") {
        printf("%s%s", before, bson_iter_utf8(&choice, NULL));
    }
}

/* What it is; then, below, what it may be. */
static void print_attribute(const bson_t *attribute)
{
    const char *kind = output_text(attribute, "kind");
    bson_iter_t value, maximum;

    printf("    %-18s %s", output_text(attribute, "name"),
           output_find(attribute, "about", &value) ? bson_iter_utf8(&value, NULL) : "");
    fputs("\n                       ", stdout);
    if (strcmp(kind, "choice") == 0 && output_find(attribute, "choices", &value)) {
        print_choices(&value);
    } else if (strcmp(kind, "boolean") == 0) {
        fputs("true or false", stdout);
    } else if (strcmp(kind, "shape") == 0) {
        fputs("a shape: 1x28x28, in a graph [1, 28, 28]", stdout);
    } else if (output_find(attribute, "minimum", &value) && output_find(attribute, "maximum", &maximum)) {
        printf("%s from ", strcmp(kind, "integer") == 0 ? "whole number" : "number");
        print_value(&value);
        fputs(output_find(attribute, "maximum_excluded", &value) ? " to below " : " to ", stdout);
        print_value(&maximum);
    }
    if (output_find(attribute, "default", &value)) {
        fputs("; default ", stdout);
        print_value(&value);
    } else {
        fputs(output_find(attribute, "required", &value) && bson_iter_bool(&value) ? "; required" : "; optional", stdout);
    }
    putchar('\n');
}

static void print_type(const bson_t *type)
{
    int64_t least = output_integer(type, "inputs.minimum", 1), most = output_integer(type, "inputs.maximum", 1);
    bson_iter_t value, attributes;
    bson_t attribute;

    printf("  %-20s %s", output_text(type, "type"), output_find(type, "about", &value) ? bson_iter_utf8(&value, NULL) : "");
    if (most > 1) {
        printf(least == most ? " (%" PRId64 " inputs)" : " (%" PRId64 " to %" PRId64 " inputs)", least, most);
    }
    putchar('\n');
    if (output_find(type, "attributes", &value) && bson_iter_recurse(&value, &attributes)) {
        while (bson_iter_next(&attributes)) {
            if (output_document(&attributes, &attribute)) {
                print_attribute(&attribute);
            }
        }
    }
}

static int print_json(struct cli *cli, const char *type)
{
    static const struct output_column columns[] = {{"TYPE", "type", OUTPUT_AUTO}, {"ABOUT", "about", OUTPUT_TEXT},
                                                   {NULL, NULL, OUTPUT_AUTO}};
    struct output *output = output_open(cli, columns, "layer");
    bson_t document;

    if (output == NULL) {
        return CLI_USAGE;
    }
    for (size_t i = 0; layer_catalogue_get(i, &document); i++) {
        if (type == NULL || strcmp(type, output_text(&document, "type")) == 0) {
            output_row(output, &document);
        }
        bson_destroy(&document);
    }
    bson_destroy(&document);
    return output_close(output);
}

int help_layers(struct cli *cli, const char *type)
{
    bson_t document;
    bool found = false;

    if (cli->format != CLI_TABLE) {
        return print_json(cli, type);
    }
    for (size_t i = 0; layer_catalogue_get(i, &document); i++) {
        if (type == NULL && i == 0) {
            fputs("layers of an architecture; the short form is TYPE:ATTRIBUTE:ATTRIBUTE …, in this order, such as\n"
                  "\"dropout:0.2 dense:800:relu dense:10\"; layers of several inputs need the graph\n\n", stdout);
        }
        if (type == NULL || strcmp(type, output_text(&document, "type")) == 0) {
            print_type(&document);
            found = true;
        }
        bson_destroy(&document);
    }
    bson_destroy(&document);
    return found ? output_flush() : cli_say(CLI_USAGE, "there is no layer '%s' (see: tl_hub help layers)", type);
}
