/* Items as NumPy's arrays: NPZ for any, NPY for one. */
#include <stdio.h>

#include "base/memory.h"
#include "cli/export.h"
#include "data/npz.h"

/* The numbers in the type that they have in the file, which loses nothing; *narrow is the caller's
 * (gm_free). */
static gm_status as_stored(const gm_export_numbers *n, float **narrow, const void **values,
                           gm_error *err)
{
    size_t count = 1;
    *narrow = NULL;
    *values = n->data;
    if (n->dtype == GM_F64) return GM_OK;
    for (int a = 0; a < n->rank; a++) {
        count *= n->dim[a]; /* they are in memory, as doubles */
    }
    *narrow = gm_alloc(count, sizeof **narrow, "array", err);
    if (!*narrow) return GM_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        (*narrow)[i] = (float)n->data[i];
    }
    *values = *narrow;
    return GM_OK;
}

static gm_npy_type type_of(const gm_export_numbers *n)
{
    return n->dtype == GM_F32 ? GM_NPY_F4 : GM_NPY_F8;
}

/* ---- NPZ ---- */

static gm_status add_numbers(const gm_export *e, const gm_export_item *item, gm_npz *npz,
                             gm_error *err)
{
    gm_export_numbers n;
    float *narrow = NULL;
    const void *values = NULL;
    gm_status status = gm_export_load(e, item, &n, err);
    if (status == GM_OK) status = as_stored(&n, &narrow, &values, err);
    if (status == GM_OK)
        status = gm_npz_add(npz, item->name, type_of(&n), n.rank, n.dim, values, err);
    gm_free(narrow);
    gm_export_unload(&n);
    return status;
}

/* metrics/NAME/step and metrics/NAME/value */
static gm_status add_series(const gm_export *e, const gm_export_item *item, gm_npz *npz,
                            gm_error *err)
{
    gm_export_series s;
    gm_status status = gm_export_load_series(e, item, &s, err);
    char *steps = gm_format(err, "%s/step", item->name);
    char *values = gm_format(err, "%s/value", item->name);
    if (status == GM_OK && (!steps || !values)) status = GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_npz_add(npz, steps, GM_NPY_I8, 1, &s.count, s.step, err);
    if (status == GM_OK) status = gm_npz_add(npz, values, GM_NPY_F8, 1, &s.count, s.value, err);
    gm_free(steps);
    gm_free(values);
    gm_export_unload_series(&s);
    return status;
}

static gm_status add_object(const gm_export *e, const gm_export_item *item, gm_npz *npz,
                            gm_error *err)
{
    json_t *object = gm_export_object(e, item, err);
    if (!object) return err->status;
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    gm_status status = text ? gm_npz_add_text(npz, item->name, text, err)
                            : gm_fail(err, GM_ERR_MEMORY, "no memory for %s", item->name);
    free(text);
    json_decref(object);
    return status;
}

gm_status gm_export_npz(const gm_export *e, const char *path, gm_error *err)
{
    gm_npz *npz = NULL;
    gm_status status = gm_npz_create(path, UINT32_MAX, &npz, err);
    for (size_t i = 0; status == GM_OK && i < e->items; i++) {
        const gm_export_item *item = &e->item[i];
        if (!item->chosen) continue;
        status = gm_export_is_numbers(item->kind) ? add_numbers(e, item, npz, err)
                 : item->kind == GM_EXPORT_SERIES ? add_series(e, item, npz, err)
                                                  : add_object(e, item, npz, err);
    }
    if (status == GM_OK) return gm_npz_commit(&npz, err);
    gm_npz_discard(&npz);
    return status;
}

/* ---- NPY ---- */

gm_status gm_export_check_npy(const gm_export *e, const char *path, gm_error *err)
{
    size_t chosen = 0;
    for (size_t i = 0; i < e->items; i++) {
        const gm_export_item *item = &e->item[i];
        if (!item->chosen) continue;
        if (!gm_export_is_numbers(item->kind))
            return gm_fail(err, GM_ERR_USAGE, "%s: found %s, expected an array (see --list)", path,
                           item->name);
        if (chosen++)
            return gm_fail(err, GM_ERR_USAGE, "%s: found %s as well, expected one array, or .npz",
                           path, item->name);
    }
    return GM_OK;
}

gm_status gm_export_npy(const gm_export *e, const char *path, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < e->items; i++) {
        gm_export_numbers n;
        float *narrow = NULL;
        const void *values = NULL;
        if (!e->item[i].chosen) continue;
        status = gm_export_load(e, &e->item[i], &n, err);
        if (status == GM_OK) status = as_stored(&n, &narrow, &values, err);
        if (status == GM_OK) status = gm_npy_write(path, type_of(&n), n.rank, n.dim, values, err);
        gm_free(narrow);
        gm_export_unload(&n);
    }
    return status;
}
