/* Samples picked from a data set: mini-batches as sets of their own, and bootstrap resamples, over
 * which the spread of a measurement estimates that over fresh data sets, which nobody has. */
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/data.h"
#include "gradiometer/random.h"

/* The arrays of *out for out->n samples like those of data. */
static gm_status allocate(const gm_dataset *data, const char *what, gm_dataset *out, gm_error *err)
{
    size_t row = data->features * gm_dtype_size(data->dtype), targets;
    if (!gm_mul_size(out->n, data->outputs, &targets)) targets = SIZE_MAX;
    out->name = gm_format(err, "%s, %s", data->name, what);
    out->x = gm_alloc(out->n, row, "selected features", err);
    if (!out->name || !out->x) return GM_ERR_MEMORY;
    if (data->label) {
        size_t labels;
        if (!gm_mul_size(out->n, data->positions, &labels)) labels = SIZE_MAX;
        out->label = gm_alloc(labels, sizeof *out->label, "selected labels", err);
        if (!out->label) return GM_ERR_MEMORY;
    }
    if (data->target) {
        out->target = gm_alloc(targets, sizeof *out->target, "selected targets", err);
        if (!out->target) return GM_ERR_MEMORY;
    }
    if (data->standardized) {
        out->mean = gm_alloc(data->features, sizeof *out->mean, "means", err);
        out->sd = gm_alloc(data->features, sizeof *out->sd, "standard deviations", err);
        if (!out->mean || !out->sd) return GM_ERR_MEMORY;
        memcpy(out->mean, data->mean, data->features * sizeof *out->mean);
        memcpy(out->sd, data->sd, data->features * sizeof *out->sd);
    }
    return GM_OK;
}

static void copy_sample(const gm_dataset *data, size_t from, gm_dataset *out, size_t to)
{
    size_t row = data->features * gm_dtype_size(data->dtype), k = data->outputs;
    memcpy((char *)out->x + to * row, (const char *)data->x + from * row, row);
    if (data->label) {
        size_t labels = data->positions;
        memcpy(out->label + to * labels, data->label + from * labels, labels * sizeof *out->label);
    }
    if (data->target) {
        memcpy(out->target + to * k, data->target + from * k, k * sizeof *out->target);
    }
}

gm_status gm_dataset_select(const gm_dataset *data, size_t m, const size_t *index, const char *what,
                            gm_dataset **out, gm_error *err)
{
    *out = NULL;
    if (m < 1) return gm_fail(err, GM_ERR_USAGE, "a selection of 0 samples, expected at least 1");
    if (data->whole) {
        return gm_fail(err, GM_ERR_USAGE, "%s: samples of a share of it cannot be selected",
                       data->name);
    }
    gm_dataset *set = gm_alloc(1, sizeof *set, "selected data set", err);
    if (!set) return GM_ERR_MEMORY;
    *set = *data;
    set->n = m;
    set->name = NULL;
    set->x = NULL;
    set->label = NULL;
    set->target = NULL;
    set->mean = set->sd = NULL;
    gm_status status = allocate(data, what, set, err);
    for (size_t i = 0; status == GM_OK && i < m; i++) {
        if (index[i] < data->n) {
            copy_sample(data, index[i], set, i);
        } else {
            status = gm_fail(err, GM_ERR_USAGE, "sample %zu of %s, which has %zu", index[i],
                             data->name, data->n);
        }
    }
    if (status != GM_OK) {
        gm_dataset_free(set);
        return status;
    }
    *out = set;
    return GM_OK;
}

gm_status gm_dataset_resample(const gm_dataset *data, uint64_t seed, uint32_t index,
                              gm_dataset **out, gm_error *err)
{
    *out = NULL;
    gm_stream stream = gm_stream_of(seed, GM_PURPOSE_RESAMPLE, index);
    size_t *pick = gm_alloc(data->n, sizeof *pick, "resample", err);
    char *what = gm_format(err, "resample %u", (unsigned)index);
    gm_status status = pick && what ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < data->n; i++) {
        pick[i] = (size_t)gm_below(stream, i, data->n);
    }
    if (status == GM_OK) status = gm_dataset_select(data, data->n, pick, what, out, err);
    gm_free(pick);
    gm_free(what);
    return status;
}
