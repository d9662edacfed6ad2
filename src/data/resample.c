/* Bootstrap resamples: the spread of a measurement over them estimates that over fresh data sets,
 * which nobody has. */
#include <string.h>

#include "base/memory.h"
#include "gradiometer/data.h"
#include "gradiometer/random.h"

/* The arrays of *out, of the same sizes as those of data, which have been allocated before. */
static gm_status allocate(const gm_dataset *data, uint32_t index, gm_dataset *out, gm_error *err)
{
    size_t n = data->n, row = data->features * gm_dtype_size(data->dtype);
    out->name = gm_format(err, "%s, resample %u", data->name, (unsigned)index);
    out->x = gm_alloc(n, row, "resampled features", err);
    if (!out->name || !out->x) return GM_ERR_MEMORY;
    if (data->label) {
        out->label = gm_alloc(n, sizeof *out->label, "resampled labels", err);
        if (!out->label) return GM_ERR_MEMORY;
    }
    if (data->target) {
        out->target = gm_alloc(n * data->outputs, sizeof *out->target, "resampled targets", err);
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
    if (data->label) out->label[to] = data->label[from];
    if (data->target) {
        memcpy(out->target + to * k, data->target + from * k, k * sizeof *out->target);
    }
}

gm_status gm_dataset_resample(const gm_dataset *data, uint64_t seed, uint32_t index,
                              gm_dataset **out, gm_error *err)
{
    *out = NULL;
    gm_dataset *set = gm_alloc(1, sizeof *set, "resampled data set", err);
    if (!set) return GM_ERR_MEMORY;
    *set = *data;
    set->name = NULL;
    set->x = NULL;
    set->label = NULL;
    set->target = NULL;
    set->mean = set->sd = NULL;
    gm_status status = allocate(data, index, set, err);
    if (status != GM_OK) {
        gm_dataset_free(set);
        return status;
    }
    gm_stream stream = gm_stream_of(seed, GM_PURPOSE_RESAMPLE, index);
    for (size_t i = 0; i < data->n; i++) {
        copy_sample(data, (size_t)gm_below(stream, i, data->n), set, i);
    }
    *out = set;
    return GM_OK;
}
