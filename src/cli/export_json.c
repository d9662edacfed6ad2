/* Items as one JSON document. Arrays are written number by number, so that the largest one is all
 * that is in memory; everything else goes through Jansson. NaN and infinity become null. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/file.h"
#include "cli/document.h"
#include "cli/export.h"
#include "gradiometer/version.h"

enum { LAYOUT = JSON_COMPACT | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY };

static void print_text(FILE *out, const char *text)
{
    json_t *value = gm_json_text(text);
    json_dumpf(value, out, LAYOUT);
    json_decref(value);
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
    json_dumpf(object, out, LAYOUT);
    json_decref(object);
    return GM_OK;
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
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    gm_status status = gm_export_series(e, item, &step, &value, &count, err);
    fputs("{\"step\":[", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%s%" PRId64, i ? "," : "", step[i]);
    }
    fputs("],\"value\":", out);
    print_nested(out, 1, &count, value);
    fputc('}', out);
    gm_run_free(step);
    gm_run_free(value);
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
        fputs(first ? "\n" : ",\n", out);
        first = false;
        char step[32];
        snprintf(step, sizeof step, "%" PRId64,
                 kind == GM_EXPORT_CHECKPOINT ? e->step[item->index] : 0);
        print_text(out, kind == GM_EXPORT_SERIES       ? e->metric[item->index]
                        : kind == GM_EXPORT_CHECKPOINT ? step
                        : item->index                  ? "optimizer"
                                                       : "theta");
        fputc(':', out);
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
        fputs(first ? "\n  {\"name\":" : ",\n  {\"name\":", out);
        first = false;
        print_text(out, item->array->name);
        fprintf(out, ",\"dtype\":\"%s\",\"shape\":[", item->array->dtype == GM_F32 ? "f4" : "f8");
        for (int a = 0; a < item->array->rank; a++) {
            fprintf(out, "%s%zu", a ? "," : "", item->array->dim[a]);
        }
        fputc(']', out);
        if (item->chosen) {
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
    gm_status status = GM_OK;
    fputs("{\"item\":", out);
    print_text(out, document->name);
    fputs(",\"command\":", out);
    print_text(out, r->command);
    if (r->step >= 0)
        fprintf(out, ",\"step\":%" PRId64, r->step);
    else
        fputs(",\"step\":null", out);
    fputs(",\"key\":", out);
    print_text(out, r->key);
    fputs(",\"created\":", out);
    print_text(out, r->created);
    fputs(",\n \"document\":", out);
    if (document->chosen)
        status = print_object(e, document, out, err);
    else
        fputs("null", out);
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
    fputs("{\"tool\":\"gradiometer\",\"version\":", out);
    print_text(out, gm_version());
    fputs(",\"command\":\"export\",\"run\":", out);
    print_text(out, gm_run_path(e->run));
    fputs(",\n\"settings\":", out);
    gm_status status = print_single(e, GM_EXPORT_SETTINGS, out, err);
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
