/* One table as CSV (RFC 4180 but for its line ends): metrics by step, arrays by row, settings and
 * state by key, documents by path. Numbers have 17 significant digits; NaN is "nan", infinity
 * "inf", what was not measured is empty. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/export.h"

static void print_number(FILE *out, double value)
{
    fprintf(out, "%.17g", isnan(value) ? fabs(value) : value); /* no "-nan" */
}

/* A text as a field: quoted where it holds what would end the field. */
static void print_field(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* ---- metrics: a line for each step, a column for each ---- */

typedef struct metric {
    gm_export_series series;
    size_t next;
} metric;

/* A line for every step that occurs in any of the series, in ascending order. */
static void print_rows(FILE *out, size_t count, metric *all)
{
    for (;;) {
        int64_t step = INT64_MAX;
        for (size_t i = 0; i < count; i++) {
            const gm_export_series *s = &all[i].series;
            size_t next = all[i].next;
            if (next < s->count && s->step[next] < step) step = s->step[next];
        }
        if (step == INT64_MAX) return;
        fprintf(out, "%" PRId64, step);
        for (size_t i = 0; i < count; i++) {
            metric *m = all + i;
            fputc(',', out);
            if (m->next < m->series.count && m->series.step[m->next] == step)
                print_number(out, m->series.value[m->next++]);
        }
        fputc('\n', out);
    }
}

static gm_status write_series(const gm_export *e, FILE *out, gm_error *err)
{
    size_t columns = 0;
    gm_status status = GM_OK;
    metric *all = gm_alloc(e->items, sizeof *all, "metrics", err);
    if (!all) return GM_ERR_MEMORY;
    fputs("step", out);
    for (size_t i = 0; status == GM_OK && i < e->items; i++) {
        if (!e->item[i].chosen) continue;
        status = gm_export_load_series(e, &e->item[i], &all[columns++].series, err);
        fputc(',', out);
        print_field(out, e->metric[e->item[i].index]);
    }
    fputc('\n', out);
    if (status == GM_OK) print_rows(out, columns, all);
    for (size_t i = 0; i < columns; i++) {
        gm_export_unload_series(&all[i].series);
    }
    gm_free(all);
    return status;
}

/* ---- arrays ---- */

/* What a column is called: an array by its own name where no other chosen one has the same. */
static const char *column_name(const gm_export *e, const gm_export_item *item)
{
    if (item->kind != GM_EXPORT_ARRAY) return item->name;
    for (size_t i = 0; i < e->items; i++) {
        const gm_export_item *other = &e->item[i];
        if (other != item && other->chosen && other->kind == GM_EXPORT_ARRAY &&
            strcmp(other->array->name, item->array->name) == 0)
            return item->name;
    }
    return item->array->name;
}

/* Numbers in a row of an array of rank 1 or 2. */
static size_t row_length(const gm_export_numbers *n)
{
    return n->rank > 1 ? n->dim[1] : 1;
}

static size_t rows_of(const gm_export_numbers *n)
{
    return n->rank ? n->dim[0] : 1;
}

static void print_head(FILE *out, const char *name, const gm_export_numbers *n, bool first)
{
    char text[2200];
    for (size_t j = 0; j < row_length(n); j++) {
        if (n->rank > 1)
            snprintf(text, sizeof text, "%s[%zu]", name, j);
        else
            snprintf(text, sizeof text, "%s", name);
        if (!first) fputc(',', out);
        first = false;
        print_field(out, text);
    }
}

/* Side by side: a line for each index of the first axis. */
static void print_wide(const gm_export *e, FILE *out, size_t columns,
                       const gm_export_numbers *column, const size_t *item)
{
    bool first = true;
    for (size_t c = 0; c < columns; c++) {
        print_head(out, column_name(e, &e->item[item[c]]), &column[c], first);
        if (row_length(&column[c])) first = false;
    }
    fputc('\n', out);
    for (size_t i = 0; i < rows_of(column); i++) {
        first = true;
        for (size_t c = 0; c < columns; c++) {
            size_t length = row_length(&column[c]);
            for (size_t j = 0; j < length; j++) {
                if (!first) fputc(',', out);
                first = false;
                print_number(out, column[c].data[i * length + j]);
            }
        }
        fputc('\n', out);
    }
}

/* Of more than two axes: a line for each number, with its indices. */
static void print_long(const gm_export *e, FILE *out, const gm_export_numbers *n, size_t item)
{
    size_t count = 1, index[GM_RUN_ARRAY_RANK] = {0};
    for (int a = 0; a < n->rank; a++) {
        fprintf(out, "dim%d,", a);
        count *= n->dim[a];
    }
    print_field(out, column_name(e, &e->item[item]));
    fputc('\n', out);
    for (size_t i = 0; i < count; i++) {
        for (int a = 0; a < n->rank; a++) {
            fprintf(out, "%zu,", index[a]);
        }
        print_number(out, n->data[i]);
        fputc('\n', out);
        for (int a = n->rank - 1; a >= 0 && ++index[a] == n->dim[a]; a--) {
            index[a] = 0;
        }
    }
}

/* Arrays stand side by side where their first axes agree; one of more than two axes stands alone.
 */
static gm_status check_columns(const gm_export *e, size_t columns, const gm_export_numbers *column,
                               const size_t *item, gm_error *err)
{
    for (size_t c = 0; c < columns && columns > 1; c++) {
        const char *name = e->item[item[c]].name;
        if (column[c].rank > 2)
            return gm_fail(err, GM_ERR_USAGE, "%s has %d axes, expected it alone in a table", name,
                           column[c].rank);
        if (rows_of(&column[c]) != rows_of(column))
            return gm_fail(err, GM_ERR_USAGE, "%s has %zu rows, expected %zu in one table with %s",
                           name, rows_of(&column[c]), rows_of(column), e->item[item[0]].name);
    }
    return GM_OK;
}

static gm_status write_numbers(const gm_export *e, FILE *out, gm_error *err)
{
    size_t columns = 0;
    gm_status status = GM_OK;
    gm_export_numbers *column = gm_alloc(e->items, sizeof *column, "arrays", err);
    size_t *item = gm_alloc(e->items, sizeof *item, "arrays", err);
    if (!column || !item) status = GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < e->items; i++) {
        if (!e->item[i].chosen) continue;
        item[columns] = i;
        status = gm_export_load(e, &e->item[i], &column[columns++], err);
    }
    if (status == GM_OK) status = check_columns(e, columns, column, item, err);
    if (status == GM_OK && column->rank > 2)
        print_long(e, out, column, item[0]);
    else if (status == GM_OK)
        print_wide(e, out, columns, column, item);
    for (size_t c = 0; column && c < columns; c++) {
        gm_export_unload(&column[c]);
    }
    gm_free(column);
    gm_free(item);
    return status;
}

/* ---- settings, state, documents: a line for each leaf ---- */

typedef struct leaf_printer {
    FILE *out;
    const char *lead; /* what a line begins with, ready to print */
    char path[2048];
} leaf_printer;

static void print_leaf(const leaf_printer *p, const json_t *value)
{
    fputs(p->lead, p->out);
    print_field(p->out, p->path);
    fputc(',', p->out);
    if (json_is_string(value))
        print_field(p->out, json_string_value(value));
    else if (json_is_integer(value))
        fprintf(p->out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        print_number(p->out, json_real_value(value));
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "true" : "false", p->out);
    fputc('\n', p->out);
}

/* Every number, text and truth below value, its path being the keys and indices on the way. */
static void print_leaves(leaf_printer *p, json_t *value)
{
    const char *key;
    json_t *below;
    size_t index, length = strlen(p->path);
    const char *slash = length ? "/" : "";
    if (!json_is_object(value) && !json_is_array(value)) {
        print_leaf(p, value);
        return;
    }
    json_object_foreach(value, key, below)
    {
        snprintf(p->path + length, sizeof p->path - length, "%s%s", slash, key);
        print_leaves(p, below);
    }
    json_array_foreach(value, index, below)
    {
        snprintf(p->path + length, sizeof p->path - length, "%s%zu", slash, index);
        print_leaves(p, below);
    }
    p->path[length] = 0;
}

/* "command,step,key," of a result. */
static gm_status make_lead(const gm_run_result *r, char **lead, gm_error *err)
{
    size_t size = 0;
    FILE *text = open_memstream(lead, &size);
    if (!text) return gm_fail(err, GM_ERR_MEMORY, "no memory for a result");
    print_field(text, r->command);
    fputc(',', text);
    if (r->step >= 0) fprintf(text, "%" PRId64, r->step);
    fputc(',', text);
    print_field(text, r->key);
    fputc(',', text);
    return fclose(text) == 0 ? GM_OK : gm_fail(err, GM_ERR_MEMORY, "no memory for a result");
}

static gm_status write_objects(const gm_export *e, FILE *out, gm_export_kind kind, gm_error *err)
{
    bool document = kind == GM_EXPORT_DOCUMENT;
    gm_status status = GM_OK;
    fputs(document ? "command,step,key,path,value\n" : "key,value\n", out);
    for (size_t i = 0; status == GM_OK && i < e->items; i++) {
        const gm_export_item *item = &e->item[i];
        if (!item->chosen) continue;
        char *lead = NULL;
        json_t *object = gm_export_object(e, item, err);
        status = object ? GM_OK : err->status;
        if (status == GM_OK && document) status = make_lead(&e->result[item->index], &lead, err);
        if (status == GM_OK)
            print_leaves(&(leaf_printer){.out = out, .lead = lead ? lead : ""}, object);
        json_decref(object);
        free(lead);
    }
    return status;
}

/* ---- the file ---- */

static const char *kind_name(gm_export_kind kind)
{
    static const char *const name[] = {
        [GM_EXPORT_SETTINGS] = "settings", [GM_EXPORT_STATE] = "state",
        [GM_EXPORT_SERIES] = "metrics",    [GM_EXPORT_VECTORS] = "arrays",
        [GM_EXPORT_CHECKPOINT] = "arrays", [GM_EXPORT_DOCUMENT] = "documents",
        [GM_EXPORT_ARRAY] = "arrays",
    };
    return name[kind];
}

static const gm_export_item *first_chosen(const gm_export *e)
{
    for (size_t i = 0; i < e->items; i++) {
        if (e->item[i].chosen) return &e->item[i];
    }
    return NULL;
}

gm_status gm_export_check_csv(const gm_export *e, const char *path, gm_error *err)
{
    const gm_export_item *first = first_chosen(e);
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && first && i < e->items; i++) {
        const gm_export_item *item = &e->item[i];
        if (!item->chosen || item == first) continue;
        const char *a = kind_name(first->kind), *b = kind_name(item->kind);
        if (strcmp(a, b) != 0)
            status = gm_fail(err, GM_ERR_USAGE,
                             "%s: one table is one kind of items, found %s (%s) and %s (%s); name "
                             "fewer, or write .npz or .json",
                             path, a, first->name, b, item->name);
    }
    return status;
}

gm_status gm_export_csv(const gm_export *e, const char *path, gm_error *err)
{
    const gm_export_item *first = first_chosen(e);
    gm_file *file = NULL;
    gm_status status = gm_file_create(path, &file, err);
    if (status != GM_OK) return status;
    FILE *out = gm_file_stream(file);
    if (!first || first->kind == GM_EXPORT_SERIES)
        status = write_series(e, out, err);
    else if (gm_export_is_numbers(first->kind))
        status = write_numbers(e, out, err);
    else
        status = write_objects(e, out, first->kind, err);
    if (status == GM_OK) return gm_file_commit(&file, err);
    gm_file_discard(&file);
    return status;
}
