/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rule.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 64, WORD = 64, DEPTH = 32 };

enum kind { AND, OR, NOT, COMPARE, IS, STILL };
enum operator { ABOVE, AT_LEAST, BELOW, AT_MOST, EQUAL, UNEQUAL };
enum nature { NATURE_NAN, NATURE_INFINITE, NATURE_MISSING };

struct node {
    enum kind kind;
    int left, right; /* AND, OR, NOT */
    char name[WORD], other[WORD]; /* other "": number */
    double number;                /* COMPARE; STILL: by how much */
    enum operator operator;
    enum nature nature;
    bool rising;                  /* STILL: has not risen */
    int64_t epochs, still;        /* STILL: how long, and how long so far */
    double best;
    bool known;                   /* best is */
};

struct rule {
    enum rule_action action;
    char text[RULE_TEXT_BYTES];
    struct node nodes[NODES];
    int count, root;
};

struct reader {
    struct rule *rule;
    const char *at;
    char word[WORD]; /* the next one; "" at the end */
    bson_error_t *error;
    int depth;
};

static int refuse(const struct reader *reader, const char *what)
{
    return hub_error(reader->error, HUB_ERROR_INVALID, "rule '%.200s': at '%s': %s", reader->rule->text,
                     *reader->word ? reader->word : "its end", what);
}

static bool is_letter(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '%';
}

/* The next word: letters, digits, '.', '_' and '%', with a sign before a number; or an operator; or one bracket. */
static int next(struct reader *reader)
{
    size_t length = 0;
    reader->at += strspn(reader->at, " \t\r\n");
    const char *at = reader->at;
    bool sign = (*at == '-' || *at == '+') && (isdigit((unsigned char)at[1]) || at[1] == '.');
    if (sign || is_letter(*at)) {
        length = sign;
        while (is_letter(at[length]) || ((at[length] == '-' || at[length] == '+') && length && tolower(at[length - 1]) == 'e' &&
                                         (isdigit((unsigned char)at[0]) || at[0] == '.' || sign)))
            length++;
    } else if (*at) {
        length = strchr("<>=!", *at) && at[1] == '=' ? 2 : 1;
    }
    if (length >= WORD)
        return refuse(reader, "the next word is too long");
    memcpy(reader->word, at, length);
    reader->word[length] = '\0';
    reader->at += length;
    return 0;
}

static bool is(const struct reader *reader, const char *word)
{
    return !strcmp(reader->word, word);
}

/* 1 it was the next word, and is passed over; 0; -1 */
static int take(struct reader *reader, const char *word)
{
    return is(reader, word) ? (next(reader) ? -1 : 1) : 0;
}

static int expect(struct reader *reader, const char *word, const char *what)
{
    return take(reader, word) == 1 ? 0 : refuse(reader, what);
}

static int add(struct reader *reader, struct node node)
{
    if (reader->rule->count == NODES)
        return refuse(reader, "there are too many conditions");
    reader->rule->nodes[reader->rule->count] = node;
    return reader->rule->count++;
}

static bool is_word(const char *text)
{
    static const char *const kept[] = {"and", "or", "not", "is", "has", "when", "for", "by"};
    if (!isalpha((unsigned char)*text) && *text != '_')
        return false;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (!strcmp(text, kept[i]))
            return false;
    return !strchr(text, '%');
}

/* A number with a unit: seconds, or a share. */
static bool read_number(const char *text, double *number)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1}, {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"%", 0.01}};
    char *end;
    if (!isdigit((unsigned char)text[strspn(text, "+-.")]))
        return false;
    *number = strtod(text, &end);
    for (size_t i = 0; end != text && i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].unit)) {
            *number *= units[i].factor;
            return isfinite(*number);
        }
    return false;
}

static int read_still(struct reader *reader, struct node *node)
{
    double epochs;
    node->kind = STILL;
    if (expect(reader, "not", "after has stands 'not fallen' or 'not risen'"))
        return -1;
    node->rising = is(reader, "risen");
    if (!node->rising && !is(reader, "fallen"))
        return refuse(reader, "after 'has not' stands fallen or risen");
    if (next(reader) || expect(reader, "for", "after it stands 'for N epochs'"))
        return -1;
    if (!read_number(reader->word, &epochs) || epochs < 1 || epochs > 1e6 || epochs != floor(epochs))
        return refuse(reader, "for how many epochs must be a whole number above 0");
    node->epochs = (int64_t)epochs;
    if (next(reader))
        return -1;
    if (!is(reader, "epochs") && !is(reader, "epoch"))
        return refuse(reader, "after the number stands 'epochs'");
    if (next(reader))
        return -1;
    int by = take(reader, "by");
    if (by <= 0)
        return by;
    if (!read_number(reader->word, &node->number) || node->number < 0)
        return refuse(reader, "by how much must be a number of at least 0");
    return next(reader);
}

static int read_nature(struct reader *reader, struct node *node, bool *negated)
{
    static const char *const natures[] = {"nan", "infinite", "missing"};
    int not = take(reader, "not");
    *negated = not > 0;
    node->kind = IS;
    for (int i = 0; not >= 0 && i < 3; i++)
        if (is(reader, natures[i])) {
            node->nature = (enum nature)i;
            return next(reader);
        }
    return not < 0 ? -1 : refuse(reader, "after is stands nan, infinite or missing");
}

static int read_comparison(struct reader *reader, struct node *node)
{
    static const struct {
        const char *text;
        enum operator operator;
    } operators[] = {{">", ABOVE}, {">=", AT_LEAST}, {"<", BELOW}, {"<=", AT_MOST}, {"=", EQUAL}, {"==", EQUAL}, {"!=", UNEQUAL}};
    size_t i = 0, count = sizeof operators / sizeof *operators;
    while (i < count && !is(reader, operators[i].text))
        i++;
    if (i == count)
        return refuse(reader, "after a name stands > >= < <= = !=, 'is', or 'has not'");
    node->kind = COMPARE;
    node->operator = operators[i].operator;
    if (next(reader))
        return -1;
    if (is_word(reader->word))
        snprintf(node->other, sizeof node->other, "%s", reader->word);
    else if (!read_number(reader->word, &node->number))
        return refuse(reader, "it is neither a number, such as 0.4, 90s or 40%, nor a name");
    return next(reader);
}

static int read_or(struct reader *reader);

static int read_test(struct reader *reader)
{
    struct node node = {.left = -1, .right = -1};
    bool negated = false;
    if (!is_word(reader->word))
        return refuse(reader, "here stands the name of a number, such as loss");
    snprintf(node.name, sizeof node.name, "%s", reader->word);
    if (next(reader))
        return -1;
    int nature = take(reader, "is"), still = nature ? 0 : take(reader, "has");
    int refused = nature < 0 || still < 0 ? -1
                  : nature                ? read_nature(reader, &node, &negated)
                  : still                 ? read_still(reader, &node)
                                          : read_comparison(reader, &node);
    if (refused)
        return -1;
    int index = add(reader, node);
    return index >= 0 && negated ? add(reader, (struct node){.kind = NOT, .left = index}) : index;
}

static int read_not(struct reader *reader)
{
    int result = -1, not, open;
    if (++reader->depth > DEPTH)
        return refuse(reader, "conditions stand within each other too deeply");
    if ((not = take(reader, "not")) > 0) {
        int inner = read_not(reader);
        result = inner < 0 ? -1 : add(reader, (struct node){.kind = NOT, .left = inner});
    } else if (!not && (open = take(reader, "(")) > 0) {
        result = read_or(reader);
        if (result >= 0 && expect(reader, ")", "a ( has no )"))
            result = -1;
    } else if (!not && !open) {
        result = read_test(reader);
    }
    reader->depth--;
    return result;
}

static int read_joined(struct reader *reader, const char *word, enum kind kind, int (*inner)(struct reader *))
{
    int left = inner(reader), more = 0;
    while (left >= 0 && (more = take(reader, word)) > 0) {
        int right = inner(reader);
        left = right < 0 ? -1 : add(reader, (struct node){.kind = kind, .left = left, .right = right});
    }
    return more < 0 ? -1 : left;
}

static int read_and(struct reader *reader)
{
    return read_joined(reader, "and", AND, read_not);
}

static int read_or(struct reader *reader)
{
    return read_joined(reader, "or", OR, read_and);
}

static int read_rule(struct reader *reader)
{
    static const char *const actions[] = {"stop", "fail", "warn"};
    int i = 0;
    if (next(reader))
        return -1;
    while (i < 3 && !is(reader, actions[i]))
        i++;
    if (i == 3)
        return refuse(reader, "a rule begins with 'stop when', 'fail when' or 'warn when'");
    reader->rule->action = (enum rule_action)i;
    if (next(reader) || expect(reader, "when", "after what is to be done stands 'when'"))
        return -1;
    reader->rule->root = read_or(reader);
    if (reader->rule->root < 0)
        return -1;
    return *reader->word ? refuse(reader, "here it should end, or go on with 'and' or 'or'") : 0;
}

struct rule *rule_parse(const char *text, bson_error_t *error)
{
    struct rule *rule = calloc(1, sizeof *rule);
    struct reader reader = {.rule = rule, .at = text, .error = error};
    if (!rule) {
        hub_error(error, HUB_ERROR_MEMORY, "no memory for a rule");
        return NULL;
    }
    if (strlen(text) >= sizeof rule->text) {
        hub_error(error, HUB_ERROR_INVALID, "rule '%.40s…': longer than %d bytes", text, RULE_TEXT_BYTES - 1);
        rule_free(rule);
        return NULL;
    }
    snprintf(rule->text, sizeof rule->text, "%s", text);
    if (read_rule(&reader)) {
        rule_free(rule);
        return NULL;
    }
    return rule;
}

void rule_free(struct rule *rule)
{
    free(rule);
}

enum rule_action rule_action(const struct rule *rule)
{
    return rule->action;
}

const char *rule_text(const struct rule *rule)
{
    return rule->text;
}

const char *rule_name(const struct rule *rule, size_t index)
{
    for (int i = 0; i < rule->count; i++) {
        const struct node *node = &rule->nodes[i];
        const char *const names[] = {node->name, node->other};
        for (int j = 0; j < 2; j++)
            if (*names[j] && index-- == 0)
                return names[j];
    }
    return NULL;
}

struct asking {
    bool (*value)(void *data, const char *name, double *number);
    void *data;
};

static bool holds_comparison(const struct node *node, double a, double b)
{
    switch (node->operator) {
    case ABOVE: return a > b;
    case AT_LEAST: return a >= b;
    case BELOW: return a < b;
    case AT_MOST: return a <= b;
    case EQUAL: return a == b;
    case UNEQUAL: return a < b || a > b;
    }
    return false;
}

/* An epoch without the number, or with NaN, is one without a better one. */
static bool holds_still(struct node *node, bool there, double now)
{
    bool better = there && !isnan(now) &&
                  (!node->known || (node->rising ? now > node->best + node->number : now < node->best - node->number));
    if (better) {
        node->best = now;
        node->known = true;
        node->still = 0;
    } else if (node->known) {
        node->still++;
    }
    return node->still >= node->epochs;
}

/* All parts are asked, whatever the first ones say: those that count must see every epoch. */
static bool holds(struct rule *rule, int index, const struct asking *asking)
{
    struct node *node = &rule->nodes[index];
    double number = NAN, other = node->number;
    if (node->kind == AND || node->kind == OR) {
        bool left = holds(rule, node->left, asking), right = holds(rule, node->right, asking);
        return node->kind == AND ? left && right : left || right;
    }
    if (node->kind == NOT)
        return !holds(rule, node->left, asking);
    bool there = asking->value(asking->data, node->name, &number);
    if (node->kind == STILL)
        return holds_still(node, there, number);
    if (node->kind == IS)
        return node->nature == NATURE_MISSING ? !there : there && (node->nature == NATURE_NAN ? isnan(number) : isinf(number));
    if (*node->other)
        there = asking->value(asking->data, node->other, &other) && there;
    return there && holds_comparison(node, number, other);
}

bool rule_holds(struct rule *rule, bool (*value)(void *data, const char *name, double *number), void *data)
{
    struct asking asking = {value, data};
    return holds(rule, rule->root, &asking);
}
