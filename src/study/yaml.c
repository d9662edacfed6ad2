#include "study/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#include "base/memory.h"

/* ---- documents ---- */

/* Keys are words; YAML knows lists and maps as keys too. */
static gm_status check_keys(const char *path, yaml_document_t *document, gm_error *err)
{
    const yaml_node_t *node = document->nodes.start;
    for (; node < document->nodes.top; node++) {
        if (node->type != YAML_MAPPING_NODE) continue;
        const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
        for (; pair < node->data.mapping.pairs.top; pair++) {
            const yaml_node_t *key = yaml_document_get_node(document, pair->key);
            if (key->type != YAML_SCALAR_NODE)
                return gm_fail(err, GM_ERR_INPUT, "%s:%zu: found a list or map as a key", path,
                               key->start_mark.line + 1);
        }
    }
    return GM_OK;
}

static gm_status load(const char *path, yaml_document_t *document, gm_error *err)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file) return gm_fail(err, GM_ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode)) { /* it is read several times */
        fclose(file);
        return gm_fail(err, GM_ERR_INPUT, "%s: no regular file, expected one with a study", path);
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        fclose(file);
        return gm_fail(err, GM_ERR_MEMORY, "%s: no memory to read it", path);
    }
    yaml_parser_set_input_file(&parser, file);
    gm_status status = GM_OK;
    if (!yaml_parser_load(&parser, document)) {
        status = parser.error == YAML_READER_ERROR && ferror(file)
                     ? gm_fail(err, GM_ERR_IO, "%s: cannot be read", path)
                     : gm_fail(err, GM_ERR_INPUT, "%s:%zu: no YAML: %s", path,
                               parser.problem_mark.line + 1,
                               parser.problem ? parser.problem : "unknown problem");
    }
    yaml_parser_delete(&parser);
    fclose(file);
    if (status != GM_OK) return status;
    status = check_keys(path, document, err);
    if (status != GM_OK) yaml_document_delete(document);
    return status;
}

gm_status gm_yaml_check(const char *path, gm_error *err)
{
    yaml_document_t document;
    gm_status status = load(path, &document, err);
    if (status != GM_OK) return status;
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (!root) {
        status = gm_fail(err, GM_ERR_INPUT, "%s: found nothing, expected a study", path);
    } else if (root->type != YAML_MAPPING_NODE) {
        status = gm_fail(err, GM_ERR_INPUT, "%s:%zu: found %s, expected keys with their values",
                         path, root->start_mark.line + 1,
                         root->type == YAML_SEQUENCE_NODE ? "a list" : "one value");
    }
    yaml_document_delete(&document);
    return status;
}

static bool is_text(const yaml_node_t *node, const char *text, size_t length)
{
    return node && node->type == YAML_SCALAR_NODE && node->data.scalar.length == length &&
           memcmp(node->data.scalar.value, text, length) == 0;
}

/* The pair of a key in a mapping; NULL where there is none. */
static const yaml_node_pair_t *find(yaml_document_t *document, const yaml_node_t *map,
                                    const char *key, size_t length)
{
    const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
    for (; pair < map->data.mapping.pairs.top; pair++) {
        if (is_text(yaml_document_get_node(document, pair->key), key, length)) return pair;
    }
    return NULL;
}

size_t gm_yaml_line(const char *path, const char *field)
{
    yaml_document_t document;
    if (load(path, &document, NULL) != GM_OK) return 0;
    const yaml_node_t *node = yaml_document_get_root_node(&document);
    size_t line = node ? node->start_mark.line + 1 : 0;
    while (node && *field) {
        const yaml_node_t *next = NULL;
        if (*field == '[' && node->type == YAML_SEQUENCE_NODE) {
            size_t index = strtoull(field + 1, NULL, 10);
            const yaml_node_item_t *item = node->data.sequence.items.start + index;
            if (item < node->data.sequence.items.top)
                next = yaml_document_get_node(&document, *item);
            if (next) line = next->start_mark.line + 1;
            field += strcspn(field, "]");
            field += *field == ']';
        } else if (*field != '[' && node->type == YAML_MAPPING_NODE) {
            size_t length = strcspn(field, ".[");
            const yaml_node_pair_t *pair = find(&document, node, field, length);
            if (pair) {
                next = yaml_document_get_node(&document, pair->value);
                line = yaml_document_get_node(&document, pair->key)->start_mark.line + 1;
            }
            field += length;
        }
        field += *field == '.';
        node = next;
    }
    yaml_document_delete(&document);
    return line;
}

gm_status gm_study_refuse(const char *path, const char *field, gm_error *err, const char *format,
                          ...)
{
    char text[GM_ERROR_LENGTH];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return gm_fail(err, GM_ERR_INPUT, "%s:%zu: %s: %s", path, gm_yaml_line(path, field), field,
                   text);
}

/* ---- differences ---- */

typedef struct difference {
    yaml_document_t *a, *b;
    char field[512]; /* of the part looked at, then of the first difference */
    size_t line;     /* in a; 0 while there is none */
} difference;

static void found(difference *d, const yaml_node_t *at)
{
    d->line = at->start_mark.line + 1;
}

static void compare(difference *d, const yaml_node_t *a, const yaml_node_t *b);

/* Goes on below one part of a value, whose name is appended. */
static void compare_part(difference *d, const char *name, int a, int b)
{
    size_t length = strlen(d->field);
    snprintf(d->field + length, sizeof d->field - length, "%s", name);
    compare(d, yaml_document_get_node(d->a, a), yaml_document_get_node(d->b, b));
    if (!d->line) d->field[length] = 0;
}

static void compare_lists(difference *d, const yaml_node_t *a, const yaml_node_t *b)
{
    size_t count = (size_t)(a->data.sequence.items.top - a->data.sequence.items.start);
    size_t other = (size_t)(b->data.sequence.items.top - b->data.sequence.items.start);
    for (size_t i = 0; i < count && i < other && !d->line; i++) {
        char name[32];
        snprintf(name, sizeof name, "[%zu]", i);
        compare_part(d, name, a->data.sequence.items.start[i], b->data.sequence.items.start[i]);
    }
    if (!d->line && count != other) found(d, a);
}

/* Keys of the whole file that no cell depends on. */
static bool is_free(const yaml_node_t *key, bool whole)
{
    static const char *const free_keys[] = {"title", "question", "budget"};
    for (size_t i = 0; whole && i < sizeof free_keys / sizeof *free_keys; i++) {
        if (is_text(key, free_keys[i], strlen(free_keys[i]))) return true;
    }
    return false;
}

static void compare_maps(difference *d, const yaml_node_t *a, const yaml_node_t *b)
{
    bool whole = !*d->field;
    const char *dot = whole ? "" : ".";
    char name[128];
    size_t length = strlen(d->field);
    const yaml_node_pair_t *pair = a->data.mapping.pairs.start;
    for (; pair < a->data.mapping.pairs.top && !d->line; pair++) {
        const yaml_node_t *key = yaml_document_get_node(d->a, pair->key);
        const char *text = (char *)key->data.scalar.value;
        if (is_free(key, whole)) continue;
        snprintf(name, sizeof name, "%s%s", dot, text);
        const yaml_node_pair_t *other = find(d->b, b, text, key->data.scalar.length);
        if (other) {
            compare_part(d, name, pair->value, other->value);
        } else {
            snprintf(d->field + length, sizeof d->field - length, "%s", name);
            found(d, key);
        }
    }
    for (pair = b->data.mapping.pairs.start; pair < b->data.mapping.pairs.top && !d->line; pair++) {
        const yaml_node_t *key = yaml_document_get_node(d->b, pair->key);
        const char *text = (char *)key->data.scalar.value;
        if (is_free(key, whole) || find(d->a, a, text, key->data.scalar.length)) continue;
        snprintf(d->field + length, sizeof d->field - length, "%s%s", dot, text);
        found(d, a);
    }
}

static void compare(difference *d, const yaml_node_t *a, const yaml_node_t *b)
{
    bool scalar = a->type == YAML_SCALAR_NODE;
    if (a->type != b->type ||
        (scalar && !is_text(a, (char *)b->data.scalar.value, b->data.scalar.length))) {
        found(d, a);
    } else if (a->type == YAML_SEQUENCE_NODE) {
        compare_lists(d, a, b);
    } else if (a->type == YAML_MAPPING_NODE) {
        compare_maps(d, a, b);
    }
}

gm_status gm_study_difference(const char *path, const char *other, char **field, size_t *line,
                              gm_error *err)
{
    yaml_document_t a, b;
    *field = NULL;
    *line = 0;
    gm_status status = gm_yaml_check(other, err);
    if (status == GM_OK) status = load(path, &a, err);
    if (status != GM_OK) return status;
    status = load(other, &b, err);
    if (status == GM_OK) {
        difference d = {.a = &a, .b = &b};
        compare(&d, yaml_document_get_root_node(&a), yaml_document_get_root_node(&b));
        *line = d.line;
        if (d.line) *field = gm_strdup(d.field, err);
        if (d.line && !*field) status = GM_ERR_MEMORY;
        yaml_document_delete(&b);
    }
    yaml_document_delete(&a);
    return status;
}
