/* Items as one JSON document. Arrays are written number by number, so that the largest one is all
 * that is in memory; everything else goes through Jansson. NaN and infinity become null. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/export.h"
#include "gradiometer/version.h"

enum { LAYOUT = JSON_COMPACT | JSON_ENCODE_ANY };

/* before, then a text. */
static gm_status print_text(const char *before, const char *text, FILE *out, gm_error *err)
{
    json_t *value = gm_json_text(text);
    fputs(before, out);
    gm_status status = gm_json_write(value, LAYOUT, out, err);
    json_decref(value);
    return status;
}

static void print_number(FILE *out, double value)
{
    if (isfinite(value))
        fprintf(out, "%.17g", value);
    else
        fputs("null", out);
}

/* Lists within lists, the innermost along the last axis; returns how many numbers were used. */
static size_t print_nested(FILE *out, int rank, const size_t *dim, const double *data)
{
    size_t used = 0;
    if (rank == 0) {
        print_number(out, *data);
        return 1;
    }
    fputc('[', out);
    for (size_t i = 0; i < *dim; i++) {
        if (i) fputc(',', out);
        used += print_nested(out, rank - 1, dim + 1, data + used);
    }
    fputc(']', out);
    return used;
}

static gm_status print_numbers(const gm_export *e, const gm_export_item *item, FILE *out,
                               gm_error *err)
{
    gm_export_numbers n;
    gm_status status = gm_export_load(e, item, &n, err);
    if (status == GM_OK) print_nested(out, n.rank, n.dim, n.data);
    gm_export_unload(&n);
    return status;
}

static gm_status print_object(const gm_export *e, const gm_export_item *item, FILE *out,
                              gm_error *err)
{
    json_t *object = gm_export_object(e, item, err);
    if (!object) return err->status;
    gm_status status = gm_json_write(object, LAYOUT, out, err);
    json_decref(object);
    return status;
}

/* ---- the groups ---- */

/* settings or state: an object, empty where it was not chosen. */
static gm_status print_single(const gm_export *e, gm_export_kind kind, FILE *out, gm_error *err)
{
    for (size_t i = 0; i < e->items; i++) {
        if (e->item[i].kind == kind && e->item[i].chosen)
            return print_object(e, &e->item[i], out, err);
    }
    fputs("{}", out);
    return GM_OK;
}

static gm_status print_series(const gm_export *e, const gm_export_item *item, FILE *out,
                              gm_error *err)
{
    gm_export_series s;
    gm_status status = gm_export_load_series(e, item, &s, err);
    fputs("{\"step\":[", out);
    for (size_t i = 0; i < s.count; i++) {
        fprintf(out, "%s%" PRId64, i ? "," : "", s.step[i]);
    }
    fputs("],\"value\":", out);
    print_nested(out, 1, &s.count, s.value);
    fputc('}', out);
    gm_export_unload_series(&s);
    return status;
}

/* The chosen items of one kind, by the end of their names. */
static gm_status print_group(const gm_export *e, gm_export_kind kind, FILE *out, gm_error *err)
{
    bool first = true;
    gm_status status = GM_OK;
    fputc('{', out);
    for (size_t i = 0; status == GM_OK && i < e->items; i++) {
        const gm_export_item *item = &e->item[i];
        if (item->kind != kind || !item->chosen) continue;
        char step[32];
        snprintf(step, sizeof step, "%" PRId64,
                 kind == GM_EXPORT_CHECKPOINT ? e->step[item->index] : 0);
        const char *name = kind == GM_EXPORT_SERIES       ? e->metric[item->index]
                           : kind == GM_EXPORT_CHECKPOINT ? step
                           : item->index                  ? "optimizer"
                                                          : "theta";
        status = print_text(first ? "\n" : ",\n", name, out, err);
        first = false;
        fputc(':', out);
        if (status == GM_OK)
            status = kind == GM_EXPORT_SERIES ? print_series(e, item, out, err)
                                              : print_numbers(e, item, out, err);
    }
    fputc('}', out);
    return status;
}

/* ---- results ---- */

/* Every array of the result with its shape, with its numbers where it was chosen. */
static gm_status print_arrays(const gm_export *e, size_t result, FILE *out, gm_error *err)
{
    bool first = true;
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < e->items; i++) {
        const gm_export_item *item = &e->item[i];
        if (item->kind != GM_EXPORT_ARRAY || item->index != result) continue;
        status =
            print_text(first ? "\n  {\"name\":" : ",\n  {\"name\":", item->array->name, out, err);
        first = false;
        fprintf(out, ",\"dtype\":\"%s\",\"shape\":[", item->array->dtype == GM_F32 ? "f4" : "f8");
        for (int a = 0; a < item->array->rank; a++) {
            fprintf(out, "%s%zu", a ? "," : "", item->array->dim[a]);
        }
        fputc(']', out);
        if (item->chosen && status == GM_OK) {
            fputs(",\"data\":", out);
            status = print_numbers(e, item, out, err);
        }
        fputc('}', out);
    }
    return status;
}

static gm_status print_result(const gm_export *e, const gm_export_item *document, FILE *out,
                              gm_error *err)
{
    const gm_run_result *r = &e->result[document->index];
    gm_status status = print_text("{\"item\":", document->name, out, err);
    if (status == GM_OK) status = print_text(",\"command\":", r->command, out, err);
    if (r->step >= 0)
        fprintf(out, ",\"step\":%" PRId64, r->step);
    else
        fputs(",\"step\":null", out);
    if (status == GM_OK) status = print_text(",\"key\":", r->key, out, err);
    if (status == GM_OK) status = print_text(",\"created\":", r->created, out, err);
    fputs(",\n \"document\":", out);
    if (!document->chosen)
        fputs("null", out);
    else if (status == GM_OK)
        status = print_object(e, document, out, err);
    fputs(",\n \"arrays\":[", out);
    if (status == GM_OK) status = print_arrays(e, document->index, out, err);
    fputs("]}", out);
    return status;
}

/* Those whose document or one of whose arrays was chosen. */
static gm_status print_results(const gm_export *e, FILE *out, gm_error *err)
{
    const gm_export_item *document = NULL, *printed = NULL;
    bool first = true;
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < e->items; i++) {
        const gm_export_item *item = &e->item[i];
        if (item->kind == GM_EXPORT_DOCUMENT) document = item; /* its arrays come next */
        bool of_result = item->kind == GM_EXPORT_DOCUMENT || item->kind == GM_EXPORT_ARRAY;
        if (!of_result || !item->chosen || printed == document) continue;
        fputs(first ? "\n" : ",\n", out);
        first = false;
        printed = document;
        status = print_result(e, document, out, err);
    }
    return status;
}

/* ---- the document ---- */

static gm_status print_document(const gm_export *e, FILE *out, gm_error *err)
{
    gm_status status = print_text("{\"tool\":\"gradiometer\",\"version\":", gm_version(), out, err);
    if (status == GM_OK)
        status = print_text(",\"command\":\"export\",\"run\":", gm_run_path(e->run), out, err);
    fputs(",\n\"settings\":", out);
    if (status == GM_OK) status = print_single(e, GM_EXPORT_SETTINGS, out, err);
    fputs(",\n\"state\":", out);
    if (status == GM_OK) status = print_single(e, GM_EXPORT_STATE, out, err);
    fputs(",\n\"vectors\":", out);
    if (status == GM_OK) status = print_group(e, GM_EXPORT_VECTORS, out, err);
    fputs(",\n\"metrics\":", out);
    if (status == GM_OK) status = print_group(e, GM_EXPORT_SERIES, out, err);
    fputs(",\n\"checkpoints\":", out);
    if (status == GM_OK) status = print_group(e, GM_EXPORT_CHECKPOINT, out, err);
    fputs(",\n\"results\":[", out);
    if (status == GM_OK) status = print_results(e, out, err);
    fputs("]}\n", out);
    return status;
}

gm_status gm_export_json(const gm_export *e, const char *path, gm_error *err)
{
    gm_file *file = NULL;
    gm_status status = gm_file_create(path, &file, err);
    if (status != GM_OK) return status;
    status = print_document(e, gm_file_stream(file), err);
    if (status == GM_OK) return gm_file_commit(&file, err);
    gm_file_discard(&file);
    return status;
}
