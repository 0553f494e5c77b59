/* SPDX-License-Identifier: Apache-2.0 */
#include "distributor/yaml_tree.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct anchor {
    char *name;
    struct yaml_tree_node *node;
};

struct builder {
    struct yaml_tree *tree;
    const char *file_name;
    struct yaml_tree_node *open[YAML_TREE_DEPTH]; /* lists and maps not yet ended */
    struct yaml_tree_node *key[YAML_TREE_DEPTH];  /* of a map: the key that waits for its item */
    char *anchor[YAML_TREE_DEPTH];                /* of the open node: known when it ends, so that no alias is inside */
    int depth;
    struct anchor *anchors;
    size_t anchor_count;
};

static int out_of_memory(const char *file_name, bson_error_t *error)
{
    return hub_error(error, HUB_ERROR_MEMORY, "%s: no memory to read it", file_name);
}

struct yaml_tree_node *yaml_tree_node_new(struct yaml_tree *tree, enum yaml_tree_kind kind, int line)
{
    struct yaml_tree_node *node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    node->kind = kind;
    node->line = line;
    node->weight = 1;
    node->next = tree->nodes;
    tree->nodes = node;
    return node;
}

void yaml_tree_free(struct yaml_tree *tree)
{
    if (!tree)
        return;
    struct yaml_tree_node *next;
    for (struct yaml_tree_node *node = tree->nodes; node; node = next) {
        next = node->next;
        free(node->text);
        free(node->keys);
        free(node->items);
        free(node);
    }
    free(tree);
}

const struct yaml_tree_node *yaml_tree_get(const struct yaml_tree_node *map, const char *key)
{
    for (size_t i = 0; map->kind == YAML_TREE_MAP && i < map->count; i++)
        if (!strcmp(map->keys[i]->text, key))
            return map->items[i];
    return NULL;
}

const char *yaml_tree_kind_name(enum yaml_tree_kind kind)
{
    static const char *const names[] = {"nothing",  "true or false", "an integer", "a number",
                                        "a string", "a list",        "a map"};
    return names[kind];
}

/* Room for one more, at the powers of two. */
static int grow(struct yaml_tree_node ***nodes, size_t count)
{
    if (count && (count & (count - 1)))
        return 0;
    struct yaml_tree_node **more = realloc(*nodes, (count ? 2 * count : 1) * sizeof *more);
    if (!more)
        return -1;
    *nodes = more;
    return 0;
}

int yaml_tree_add(struct yaml_tree_node *parent, struct yaml_tree_node *key, struct yaml_tree_node *item,
                  const char *file_name, bson_error_t *error)
{
    /* Maps of a sweep are small; a hostile one is kept from quadratic time by this limit. */
    if (key && parent->count >= 10000)
        return hub_error(error, HUB_ERROR_INVALID, "%s:%d: more than 10000 keys in one map", file_name, key->line);
    for (size_t i = 0; key && i < parent->count; i++)
        if (!strcmp(parent->keys[i]->text, key->text))
            return hub_error(error, HUB_ERROR_INVALID, "%s:%d: key '%s' stands here twice (first on line %d)",
                             file_name, key->line, key->text, parent->keys[i]->line);
    parent->weight += item->weight;
    if (parent->weight > YAML_TREE_NODES)
        return hub_error(error, HUB_ERROR_INVALID, "%s:%d: more than %d values, aliases expanded", file_name,
                         item->line, YAML_TREE_NODES);
    if (grow(&parent->items, parent->count))
        return out_of_memory(file_name, error);
    if (key && grow(&parent->keys, parent->count))
        return out_of_memory(file_name, error);
    if (key)
        parent->keys[parent->count] = key;
    parent->items[parent->count++] = item;
    return 0;
}

static bool is_one_of(const char *text, const char *a, const char *b, const char *c)
{
    return !strcmp(text, a) || !strcmp(text, b) || !strcmp(text, c);
}

static size_t digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_float(const char *text)
{
    text += *text == '-' || *text == '+';
    size_t whole = digits(text);
    text += whole;
    if (*text == '.') {
        size_t fraction = digits(++text);
        if (!whole && !fraction)
            return false;
        text += fraction;
    } else if (!whole) {
        return false;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        size_t exponent = digits(text);
        if (!exponent)
            return false;
        text += exponent;
    }
    return !*text;
}

static double to_double(const char *text)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double number = c ? strtod_l(text, NULL, c) : strtod(text, NULL);
    if (c)
        freelocale(c);
    return number;
}

static int to_integer(struct yaml_tree_node *node, const char *text, int base, const char *file_name,
                      bson_error_t *error)
{
    errno = 0;
    node->kind = YAML_TREE_INT;
    node->integer = strtoll(base == 10 ? text : text + 2, NULL, base);
    node->number = (double)node->integer;
    if (errno)
        return hub_error(error, HUB_ERROR_INVALID, "%s:%d: %.40s does not fit in 64 bits", file_name, node->line, text);
    return 0;
}

int yaml_tree_resolve(struct yaml_tree_node *node, const char *text, const char *file_name, bson_error_t *error)
{
    const char *unsigned_text = text + (*text == '-' || *text == '+');
    if (!*text || !strcmp(text, "~") || is_one_of(text, "null", "Null", "NULL")) {
        node->kind = YAML_TREE_NULL;
        return 0;
    }
    if (is_one_of(text, "true", "True", "TRUE") || is_one_of(text, "false", "False", "FALSE")) {
        node->kind = YAML_TREE_BOOL;
        node->boolean = *text == 't' || *text == 'T';
        return 0;
    }
    if (*unsigned_text && !unsigned_text[digits(unsigned_text)])
        return to_integer(node, text, 10, file_name, error);
    if (!strncmp(text, "0o", 2) && text[2] && !text[2 + strspn(text + 2, "01234567")])
        return to_integer(node, text, 8, file_name, error);
    if (!strncmp(text, "0x", 2) && text[2] && !text[2 + strspn(text + 2, "0123456789abcdefABCDEF")])
        return to_integer(node, text, 16, file_name, error);
    if (is_one_of(unsigned_text, ".inf", ".Inf", ".INF") || is_one_of(text, ".nan", ".NaN", ".NAN")) {
        node->kind = YAML_TREE_FLOAT;
        node->number = text[1] == 'n' || text[1] == 'N' ? NAN : *text == '-' ? -INFINITY : INFINITY;
        return 0;
    }
    if (is_float(text)) {
        node->kind = YAML_TREE_FLOAT;
        node->number = to_double(text);
        return 0;
    }
    node->kind = YAML_TREE_STRING;
    node->text = strdup(text);
    return node->text ? 0 : out_of_memory(file_name, error);
}

static int resolve_scalar(const struct builder *builder, const yaml_event_t *event, struct yaml_tree_node *node,
                          bson_error_t *error)
{
    const char *text = (const char *)event->data.scalar.value, *tag = (const char *)event->data.scalar.tag;
    if (strlen(text) != event->data.scalar.length)
        return hub_error(error, HUB_ERROR_INVALID, "%s:%d: a string with a NUL byte", builder->file_name, node->line);
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (tag && strcmp(tag, YAML_STR_TAG) && strcmp(tag, "!")) {
        static const char *const tags[] = {YAML_NULL_TAG, YAML_BOOL_TAG, YAML_INT_TAG, YAML_FLOAT_TAG};
        for (int kind = YAML_TREE_NULL; kind <= YAML_TREE_FLOAT; kind++) {
            if (strcmp(tag, tags[kind]))
                continue;
            if (yaml_tree_resolve(node, text, builder->file_name, error))
                return -1;
            if (kind == YAML_TREE_FLOAT && node->kind == YAML_TREE_INT)
                node->kind = YAML_TREE_FLOAT;
            if ((int)node->kind == kind)
                return 0;
            return hub_error(error, HUB_ERROR_INVALID, "%s:%d: '%.40s' is not %s, as its tag says", builder->file_name,
                             node->line, text, yaml_tree_kind_name((enum yaml_tree_kind)kind));
        }
        return hub_error(error, HUB_ERROR_INVALID, "%s:%d: tag '%.60s' is not known", builder->file_name, node->line,
                         tag);
    }
    if (plain && !tag)
        return yaml_tree_resolve(node, text, builder->file_name, error);
    node->text = strdup(text);
    return node->text ? 0 : out_of_memory(builder->file_name, error);
}

static int remember_anchor(struct builder *builder, const char *name, struct yaml_tree_node *node, bson_error_t *error)
{
    for (size_t i = 0; i < builder->anchor_count; i++) {
        if (!strcmp(builder->anchors[i].name, name)) {
            builder->anchors[i].node = node; /* YAML lets a later anchor take the name */
            return 0;
        }
    }
    if (builder->anchor_count >= 1000)
        return hub_error(error, HUB_ERROR_INVALID, "%s:%d: more than 1000 anchors", builder->file_name, node->line);
    struct anchor *more = realloc(builder->anchors, (builder->anchor_count + 1) * sizeof *more);
    if (!more)
        return out_of_memory(builder->file_name, error);
    builder->anchors = more;
    char *copy = strdup(name);
    if (!copy)
        return out_of_memory(builder->file_name, error);
    builder->anchors[builder->anchor_count++] = (struct anchor){copy, node};
    return 0;
}

/* A finished node goes to where it belongs: the root, a list, or a map as key or item. */
static int place(struct builder *builder, struct yaml_tree_node *node, int line, bson_error_t *error)
{
    if (!builder->depth) {
        builder->tree->root = node;
        return 0;
    }
    struct yaml_tree_node *parent = builder->open[builder->depth - 1], **key = &builder->key[builder->depth - 1];
    if (parent->kind == YAML_TREE_LIST)
        return yaml_tree_add(parent, NULL, node, builder->file_name, error);
    if (*key) {
        struct yaml_tree_node *waiting = *key;
        *key = NULL;
        return yaml_tree_add(parent, waiting, node, builder->file_name, error);
    }
    if (node->kind != YAML_TREE_STRING)
        return hub_error(error, HUB_ERROR_INVALID, "%s:%d: a key must be a string, not %s", builder->file_name, line,
                         yaml_tree_kind_name(node->kind));
    *key = node;
    return 0;
}

static int begin(struct builder *builder, enum yaml_tree_kind kind, const yaml_event_t *event, bson_error_t *error)
{
    int line = (int)event->start_mark.line + 1;
    const yaml_char_t *anchor =
        kind == YAML_TREE_LIST ? event->data.sequence_start.anchor : event->data.mapping_start.anchor;
    const yaml_char_t *tag = kind == YAML_TREE_LIST ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    if (tag && strcmp((const char *)tag, kind == YAML_TREE_LIST ? YAML_SEQ_TAG : YAML_MAP_TAG))
        return hub_error(error, HUB_ERROR_INVALID, "%s:%d: tag '%.60s' is not known", builder->file_name, line,
                         (const char *)tag);
    if (builder->depth >= YAML_TREE_DEPTH)
        return hub_error(error, HUB_ERROR_INVALID, "%s:%d: nested deeper than %d levels", builder->file_name, line,
                         YAML_TREE_DEPTH);
    struct yaml_tree_node *node = yaml_tree_node_new(builder->tree, kind, line);
    if (!node)
        return out_of_memory(builder->file_name, error);
    builder->anchor[builder->depth] = NULL;
    if (anchor && !(builder->anchor[builder->depth] = strdup((const char *)anchor)))
        return out_of_memory(builder->file_name, error);
    builder->key[builder->depth] = NULL;
    builder->open[builder->depth++] = node;
    return 0;
}

static int end(struct builder *builder, bson_error_t *error)
{
    int level = --builder->depth;
    struct yaml_tree_node *node = builder->open[level];
    int failed = 0;
    if (builder->anchor[level])
        failed = remember_anchor(builder, builder->anchor[level], node, error);
    free(builder->anchor[level]);
    return failed ? -1 : place(builder, node, node->line, error);
}

static int take_scalar(struct builder *builder, const yaml_event_t *event, bson_error_t *error)
{
    struct yaml_tree_node *node = yaml_tree_node_new(builder->tree, YAML_TREE_STRING, (int)event->start_mark.line + 1);
    if (!node)
        return out_of_memory(builder->file_name, error);
    if (resolve_scalar(builder, event, node, error))
        return -1;
    if (event->data.scalar.anchor && remember_anchor(builder, (const char *)event->data.scalar.anchor, node, error))
        return -1;
    return place(builder, node, node->line, error);
}

static int take_alias(struct builder *builder, const yaml_event_t *event, bson_error_t *error)
{
    const char *name = (const char *)event->data.alias.anchor;
    int line = (int)event->start_mark.line + 1;
    for (size_t i = 0; i < builder->anchor_count; i++)
        if (!strcmp(builder->anchors[i].name, name))
            return place(builder, builder->anchors[i].node, line, error);
    return hub_error(error, HUB_ERROR_INVALID, "%s:%d: alias '*%.60s' has no anchor before it", builder->file_name,
                     line, name);
}

static int take(struct builder *builder, const yaml_event_t *event, int *documents, bson_error_t *error)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents > 1)
            return hub_error(error, HUB_ERROR_INVALID, "%s:%d: a second document; one file holds one",
                             builder->file_name, (int)event->start_mark.line + 1);
        return 0;
    case YAML_SCALAR_EVENT: return take_scalar(builder, event, error);
    case YAML_ALIAS_EVENT: return take_alias(builder, event, error);
    case YAML_SEQUENCE_START_EVENT: return begin(builder, YAML_TREE_LIST, event, error);
    case YAML_MAPPING_START_EVENT: return begin(builder, YAML_TREE_MAP, event, error);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return end(builder, error);
    default: return 0;
    }
}

static int parse_yaml(struct yaml_tree *tree, const char *text, size_t length, const char *file_name,
                      bson_error_t *error)
{
    struct builder builder = {.tree = tree, .file_name = file_name};
    yaml_parser_t parser;
    int result = -1, documents = 0;
    if (!yaml_parser_initialize(&parser))
        return out_of_memory(file_name, error);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    for (bool more = true; more;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            if (parser.error == YAML_MEMORY_ERROR) {
                out_of_memory(file_name, error);
                goto out;
            }
            size_t line = parser.problem_mark.line;
            if (parser.error == YAML_READER_ERROR) { /* knows only the byte */
                line = 0;
                for (size_t i = 0; i < parser.problem_offset && i < length; i++)
                    line += text[i] == '\n';
            }
            hub_error(error, HUB_ERROR_INVALID, "%s:%zu: not YAML: %s%s%s", file_name, line + 1,
                      parser.context ? parser.context : "", parser.context ? ", " : "",
                      parser.problem ? parser.problem : "it cannot be read");
            goto out;
        }
        more = event.type != YAML_STREAM_END_EVENT;
        int failed = take(&builder, &event, &documents, error);
        yaml_event_delete(&event);
        if (failed)
            goto out;
    }
    result = 0;
out:
    while (builder.depth)
        free(builder.anchor[--builder.depth]);
    for (size_t i = 0; i < builder.anchor_count; i++)
        free(builder.anchors[i].name);
    free(builder.anchors);
    yaml_parser_delete(&parser);
    return result;
}

struct yaml_tree *yaml_tree_parse(const char *text, size_t length, const char *file_name, bson_error_t *error)
{
    if (length > YAML_TREE_TEXT_BYTES) {
        hub_error(error, HUB_ERROR_INVALID, "%s: longer than %u MiB", file_name, YAML_TREE_TEXT_BYTES >> 20);
        return NULL;
    }
    struct yaml_tree *tree = calloc(1, sizeof *tree);
    if (!tree) {
        out_of_memory(file_name, error);
        return NULL;
    }
    size_t name_length = strlen(file_name);
    bool json = name_length >= 5 && !strcmp(file_name + name_length - 5, ".json");
    if ((json ? yaml_tree_parse_json : parse_yaml)(tree, text, length, file_name, error)) {
        yaml_tree_free(tree);
        return NULL;
    }
    return tree;
}
