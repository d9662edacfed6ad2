/* Options of an ensemble: names, defaults, checks. */
#include <inttypes.h>
#include <string.h>

#include "gradiometer/ensemble.h"

const double gm_ensemble_level[GM_ENSEMBLE_LEVELS] = {0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99};

static const char *const names[GM_QUANTITIES] = {
    [GM_QUANTITY_LOSS] = "loss",
    [GM_QUANTITY_DELTA] = "delta",
    [GM_QUANTITY_COSINE] = "cosine",
    [GM_QUANTITY_DISTANCE] = "distance",
    [GM_QUANTITY_ERROR] = "error_rate",
    [GM_QUANTITY_TEST_ERROR] = "test_error_rate",
    [GM_QUANTITY_MEAN_COSINE] = "cosine_mean",
    [GM_QUANTITY_GRADIENT_SQUARE] = "gradient_square",
    [GM_QUANTITY_NOISE_TRACE] = "trace_sigma",
};

const char *gm_quantity_name(gm_quantity quantity)
{
    return names[quantity];
}

bool gm_quantity_parse(const char *name, size_t length, gm_quantity *quantity)
{
    for (int q = 0; q < GM_QUANTITIES; q++) {
        if (strlen(names[q]) == length && strncmp(names[q], name, length) == 0) {
            *quantity = (gm_quantity)q;
            return true;
        }
    }
    return false;
}

bool gm_quantity_costly(gm_quantity quantity)
{
    return quantity >= GM_QUANTITY_MEAN_COSINE;
}

void gm_ensemble_options_default(gm_ensemble_options *options)
{
    *options =
        (gm_ensemble_options){.runs = 1000,
                              .record = 1u << GM_QUANTITY_LOSS | 1u << GM_QUANTITY_DELTA |
                                        1u << GM_QUANTITY_COSINE | 1u << GM_QUANTITY_DISTANCE,
                              .exact_runs = 1000};
    gm_train_options_default(&options->train);
}

static gm_status check_runs(const gm_ensemble_options *o, gm_error *err)
{
    if (o->runs < 1 || o->runs > UINT32_MAX - o->train.run)
        return gm_fail(err, GM_ERR_USAGE,
                       "--runs: found %zu, expected 1 to %" PRIu32 " from run %" PRIu32 " on",
                       o->runs, UINT32_MAX - o->train.run, o->train.run);
    for (size_t i = 0; i < o->keeps; i++) {
        if (o->keep[i] < o->train.run || o->keep[i] - o->train.run >= o->runs)
            return gm_fail(err, GM_ERR_USAGE,
                           "--keep-runs: found %" PRIu32 ", expected numbers %" PRIu32
                           " to %" PRIu32,
                           o->keep[i], o->train.run, o->train.run + (uint32_t)(o->runs - 1));
    }
    return GM_OK;
}

gm_status gm_ensemble_options_check(const gm_ensemble_options *o, size_t n, bool test,
                                    gm_error *err)
{
    gm_status status = gm_train_options_check(&o->train, n, err);
    if (status == GM_OK) status = check_runs(o, err);
    if (status != GM_OK) return status;
    if (!(o->record & ((1u << GM_QUANTITIES) - 1)))
        return gm_fail(err, GM_ERR_USAGE, "--record: found nothing, expected some quantity");
    if ((o->record >> GM_QUANTITY_TEST_ERROR) & 1u && !test)
        return gm_fail(err, GM_ERR_USAGE, "--record: test_error_rate needs --test-data");
    uint64_t every = o->record_every ? o->record_every : 1;
    if (o->gradient_every && (o->gradient_every % every != 0 || !o->record_every))
        return gm_fail(err, GM_ERR_USAGE,
                       "--gradient-every: found %" PRIu64
                       ", expected a multiple of --record-every, given beside it",
                       o->gradient_every);
    return GM_OK;
}

double gm_ensemble_bytes(const gm_ensemble_options *o)
{
    double every = (double)(o->record_every ? o->record_every : 1 + (o->train.steps - 1) / 1000);
    double steps = (double)o->train.steps / every + 2.0, quantities = 0.0;
    for (int q = 0; q < GM_QUANTITIES; q++) {
        quantities += (o->record >> q) & 1u;
    }
    double runs = (double)o->runs;
    return steps * quantities * (o->runs <= o->exact_runs ? 8.0 * runs + 128.0 : 4096.0);
}
