#include <math.h>

#include "base/memory.h"
#include "data/dataset.h"

void gm_dataset_row(const gm_dataset *data, size_t i, double *row)
{
    size_t first = i * data->features;
    if (data->dtype == GM_F32) {
        const float *x = data->x;
        for (size_t j = 0; j < data->features; j++) {
            row[j] = (double)x[first + j];
        }
    } else {
        const double *x = data->x;
        for (size_t j = 0; j < data->features; j++) {
            row[j] = x[first + j];
        }
    }
}

size_t gm_dataset_store(gm_dataset *data, size_t i, const double *row)
{
    size_t first = i * data->features;
    for (size_t j = 0; j < data->features; j++) {
        double stored;
        if (data->dtype == GM_F32) {
            float *x = data->x;
            x[first + j] = (float)row[j];
            stored = (double)x[first + j];
        } else {
            double *x = data->x;
            x[first + j] = row[j];
            stored = row[j];
        }
        if (!isfinite(stored)) return j;
    }
    return data->features;
}

gm_status gm_dataset_moments(const gm_dataset *data, const gm_team *team, double *mean, double *sd,
                             gm_error *err)
{
    size_t features = data->features;
    double n = (double)gm_dataset_samples(data);
    double *row = gm_alloc(features, sizeof *row, "a sample", err);
    double *origin = gm_alloc(features, sizeof *origin, "a sample", err);
    gm_status status = GM_ERR_MEMORY;
    if (!row || !origin) goto done;

    /* Differences from the first sample are exactly 0 for a feature that does not vary. Rank 0 has
     * it. */
    if (data->n > 0) gm_dataset_row(data, 0, origin);
    gm_team_broadcast(team, features * sizeof *origin, origin);
    for (size_t j = 0; j < features; j++) {
        mean[j] = 0;
        sd[j] = 0;
    }
    for (size_t i = 0; i < data->n; i++) {
        gm_dataset_row(data, i, row);
        for (size_t j = 0; j < features; j++) {
            mean[j] += (row[j] - origin[j]) / n;
        }
    }
    gm_team_sum(team, features, mean);
    for (size_t j = 0; j < features; j++) {
        mean[j] += origin[j];
    }
    for (size_t i = 0; i < data->n; i++) {
        gm_dataset_row(data, i, row);
        for (size_t j = 0; j < features; j++) {
            double deviation = row[j] - mean[j];
            sd[j] += deviation * deviation / n;
        }
    }
    gm_team_sum(team, features, sd);
    for (size_t j = 0; j < features; j++) {
        sd[j] = sqrt(sd[j]);
    }
    status = GM_OK;
done:
    gm_free(row);
    gm_free(origin);
    return status;
}

static gm_status take_moments(gm_dataset *data, const gm_dataset *reference, const gm_team *team,
                              gm_error *err)
{
    data->mean = gm_alloc(data->features, sizeof *data->mean, "feature means", err);
    data->sd = gm_alloc(data->features, sizeof *data->sd, "feature deviations", err);
    if (!data->mean || !data->sd) return GM_ERR_MEMORY;
    for (size_t j = 0; reference && j < data->features; j++) {
        data->mean[j] = reference->mean[j];
        data->sd[j] = reference->sd[j];
    }
    if (reference) return GM_OK;
    gm_status status = gm_dataset_moments(data, team, data->mean, data->sd, err);
    for (size_t j = 0; status == GM_OK && j < data->features; j++) {
        if (!isfinite(data->mean[j]) || !isfinite(data->sd[j]))
            return gm_fail(
                err, GM_ERR_INPUT,
                "%s: feature %zu spreads too far to be standardized (its squares overflow)",
                data->name, j);
        if (data->sd[j] == 0) data->sd[j] = 1;
    }
    return status;
}

gm_status gm_dataset_standardize(gm_dataset *data, const gm_dataset *reference, const gm_team *team,
                                 gm_error *err)
{
    double *row = gm_alloc(data->features, sizeof *row, "a sample", err);
    gm_status status = row ? take_moments(data, reference, team, err) : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < data->n; i++) {
        gm_dataset_row(data, i, row);
        for (size_t j = 0; j < data->features; j++) {
            row[j] = (row[j] - data->mean[j]) / data->sd[j];
        }
        size_t bad = gm_dataset_store(data, i, row);
        if (bad < data->features)
            status = gm_fail(err, GM_ERR_INPUT,
                             "%s: sample %zu, feature %zu overflows %s when standardized",
                             data->name, data->first + i, bad, gm_dtype_name(data->dtype));
    }
    if (status == GM_OK) data->standardized = true;
    gm_free(row);
    return status;
}
