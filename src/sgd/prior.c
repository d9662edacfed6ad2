/* A prior learned from a share of the data: which samples it saw, its training, and its way into
 * the run file and back. The file holds the samples themselves, not only how they were drawn: what
 * a later certificate may use is then a matter of record. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"
#include "diff/problem.h"
#include "gradiometer/random.h"
#include "gradiometer/sgd.h"
#include "run/store.h"

/* ---- the split ---- */

static int ascending(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

gm_status gm_prior_split_make(size_t n, double fraction, uint64_t seed, gm_prior_split *split,
                              gm_error *err)
{
    *split = (gm_prior_split){0};
    if (!(fraction > 0.0 && fraction < 1.0))
        return gm_fail(err, GM_ERR_USAGE,
                       "--prior-fraction: found %g, expected above 0 and below 1", fraction);
    size_t seen = (size_t)floor(fraction * (double)n);
    if (seen < 1 || seen >= n)
        return gm_fail(err, GM_ERR_USAGE,
                       "--prior-fraction: %g of %zu samples are %zu, expected at least one for the "
                       "prior and one for the bound",
                       fraction, n, seen);
    split->index = gm_alloc(n, sizeof *split->index, "split of the data", err);
    if (!split->index) return GM_ERR_MEMORY;
    split->n = n;
    split->seen = seen;
    gm_permutation(gm_stream_of(seed, GM_PURPOSE_PRIOR, 0), 0, n, split->index);
    qsort(split->index, seen, sizeof *split->index, ascending);
    qsort(split->index + seen, n - seen, sizeof *split->index, ascending);
    return GM_OK;
}

void gm_prior_split_free(gm_prior_split *split)
{
    gm_free(split->index);
    *split = (gm_prior_split){0};
}

/* ---- its training ---- */

/* A problem like `whole` on samples index [n] of its data. */
static gm_status open_part(gm_problem *whole, size_t n, const size_t *index, const char *what,
                           gm_dataset **data, gm_problem **problem, gm_error *err)
{
    gm_problem_options options = {.loss = gm_problem_loss(whole), .memory = whole->memory};
    gm_status status = gm_dataset_select(gm_problem_data(whole), n, index, what, data, err);
    if (status) return status;
    return gm_problem_create(gm_problem_net(whole), *data, &options, problem, err);
}

gm_status gm_prior_train(gm_problem *problem, const gm_prior_split *split,
                         const gm_train_options *options, const gm_train_hooks *hooks,
                         double *theta, gm_train_result *result, gm_error *err)
{
    gm_dataset *data = NULL, *others = NULL;
    gm_problem *seen = NULL, *rest = NULL;
    gm_train_options own = *options;
    own.run = GM_PRIOR_RUN;
    own.keep_every = own.record_every = own.steps; /* measured where it ends, not on the way */
    gm_status status =
        open_part(problem, split->seen, split->index, "samples of the prior", &data, &seen, err);
    if (!status)
        status = open_part(problem, split->n - split->seen, split->index + split->seen,
                           "samples the prior has not seen", &others, &rest, err);
    if (!status) status = gm_train(seen, rest, &own, hooks, NULL, theta, result, err);
    gm_problem_free(rest);
    gm_problem_free(seen);
    gm_dataset_free(others);
    gm_dataset_free(data);
    return status;
}

/* ---- in the run file ---- */

enum { VALUE_LENGTH = 32, KEYS = 5 };
enum { FRACTION, STEPS, SAMPLES, SEEN, DATA };
static const char *const keys[KEYS] = {"prior.fraction", "prior.steps", "prior.samples",
                                       "prior.seen", "prior.data_crc32"};

/* Of labels or targets and of the features as single precision shows them, so that it does not
 * depend on the precision at hand. */
static void print_checksum(gm_problem *problem, char value[VALUE_LENGTH])
{
    enum { BLOCK = 1024 };
    const gm_dataset *data = gm_problem_data(problem);
    size_t numbers = data->n * data->features;
    uLong crc = crc32_z(0, NULL, 0);
    if (data->label) {
        crc = crc32_z(crc, (const void *)data->label,
                      data->n * data->positions * sizeof *data->label);
    }
    if (data->target)
        crc = crc32_z(crc, (const void *)data->target,
                      data->n * data->outputs * sizeof *data->target);
    for (size_t first = 0; first < numbers; first += BLOCK) {
        float block[BLOCK];
        size_t count = numbers - first < BLOCK ? numbers - first : BLOCK;
        for (size_t i = 0; i < count; i++) {
            block[i] = data->dtype == GM_F32 ? ((const float *)data->x)[first + i]
                                             : (float)((const double *)data->x)[first + i];
        }
        crc = crc32_z(crc, (const void *)block, count * sizeof *block);
    }
    snprintf(value, VALUE_LENGTH, "%08lx", crc);
}

static gm_status store_settings(gm_run *run, gm_problem *problem, const gm_prior_split *split,
                                double fraction, uint64_t steps, gm_error *err)
{
    char value[KEYS][VALUE_LENGTH];
    gm_setting setting[KEYS];
    snprintf(value[FRACTION], VALUE_LENGTH, "%.17g", fraction);
    snprintf(value[STEPS], VALUE_LENGTH, "%" PRIu64, steps);
    snprintf(value[SAMPLES], VALUE_LENGTH, "%zu", split->n);
    snprintf(value[SEEN], VALUE_LENGTH, "%zu", split->seen);
    print_checksum(problem, value[DATA]);
    for (int i = 0; i < KEYS; i++) {
        setting[i] = (gm_setting){keys[i], value[i]};
    }
    return gm_run_set(run, setting, KEYS, err);
}

static gm_status store_samples(gm_run *run, const gm_prior_split *split, double fraction,
                               uint64_t steps, const gm_train_result *r, gm_error *err)
{
    double *sample = gm_alloc(split->seen, sizeof *sample, "samples of the prior", err);
    char *json = gm_format(err,
                           "{\"fraction\":%.17g,\"steps\":%" PRIu64
                           ",\"seen\":%zu,\"rest\":%zu,\"loss\":%.17g,\"error_rate\":%.17g,"
                           "\"rest_loss\":%.17g,\"rest_error_rate\":%.17g}",
                           fraction, steps, split->seen, split->n - split->seen, r->loss,
                           r->error_rate, r->test_loss, r->test_error_rate);
    gm_status status = sample && json ? GM_OK : GM_ERR_MEMORY;
    if (!status) {
        for (size_t i = 0; i < split->seen; i++) {
            sample[i] = (double)split->index[i];
        }
        gm_run_result result = {.command = "prior", .step = 0, .key = "", .json = json};
        gm_run_array array = {
            .name = "samples", .dtype = GM_F64, .rank = 1, .dim = {split->seen}, .data = sample};
        status = gm_run_add_result(run, &result, &array, 1, NULL, err);
    }
    gm_free(json);
    gm_free(sample);
    return status;
}

gm_status gm_prior_store(gm_run *run, gm_problem *problem, const gm_prior_split *split,
                         double fraction, uint64_t steps, const gm_train_result *result,
                         gm_error *err)
{
    gm_status status = gm_run_begin_write(run, err);
    if (status) return status;
    status = store_settings(run, problem, split, fraction, steps, err);
    if (!status) status = store_samples(run, split, fraction, steps, result, err);
    return gm_run_end(run, status, err);
}

/* Marks the samples of array and lists both parts; GM_ERR_INPUT unless they are distinct samples,
 * fewer than there are. */
static gm_status read_samples(gm_run *run, const gm_run_array *array, size_t n,
                              gm_prior_split *split, gm_error *err)
{
    size_t seen = array->rank == 1 ? array->dim[0] : 0, at = 0;
    bool *mark = gm_alloc(n, sizeof *mark, "split of the data", err);
    split->index = gm_alloc(n, sizeof *split->index, "split of the data", err);
    if (!mark || !split->index) {
        gm_free(mark);
        return GM_ERR_MEMORY;
    }
    bool good = seen >= 1 && seen < n;
    for (size_t i = 0; good && i < seen; i++) {
        double sample = array->data[i];
        good =
            sample >= 0.0 && sample < (double)n && sample == floor(sample) && !mark[(size_t)sample];
        if (good) mark[(size_t)sample] = true;
    }
    for (int part = 1; good && part >= 0; part--) {
        for (size_t i = 0; i < n; i++) {
            if (mark[i] == (part == 1)) split->index[at++] = i;
        }
    }
    gm_free(mark);
    if (!good)
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: the samples of its prior",
                       gm_run_path(run));
    split->n = n;
    split->seen = seen;
    return GM_OK;
}

/* The data at hand against those that were split. */
static gm_status check_data(gm_run *run, gm_problem *problem, gm_error *err)
{
    char now[2][VALUE_LENGTH];
    const int key[2] = {SAMPLES, DATA};
    snprintf(now[0], VALUE_LENGTH, "%zu", gm_problem_data(problem)->n);
    print_checksum(problem, now[1]);
    for (int i = 0; i < 2; i++) {
        char *then = NULL;
        gm_status status = gm_run_get(run, keys[key[i]], &then, err);
        if (!status && (!then || strcmp(then, now[i]) != 0))
            status = gm_fail(err, GM_ERR_INPUT,
                             "%s: %s is %s, but the data here have %s: which of them the prior saw "
                             "is not known",
                             gm_run_path(run), keys[key[i]], then ? then : "missing", now[i]);
        gm_run_free(then);
        if (status) return status;
    }
    return GM_OK;
}

gm_status gm_prior_load(gm_run *run, gm_problem *problem, gm_prior_split *split, gm_error *err)
{
    *split = (gm_prior_split){0};
    char *fraction = NULL;
    gm_run_result *result = NULL;
    gm_run_array *array = NULL;
    size_t count = 0;
    gm_status status = gm_run_get(run, keys[FRACTION], &fraction, err);
    if (status || !fraction) return status;
    gm_run_free(fraction);
    status = check_data(run, problem, err);
    if (!status) status = gm_run_results(run, "prior", &result, &count, err);
    if (!status && count != 1)
        status =
            gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: %zu results of prior, expected 1",
                    gm_run_path(run), count);
    if (!status) status = gm_run_load_array(run, result[0].id, "samples", &array, err);
    if (!status) status = read_samples(run, array, gm_problem_data(problem)->n, split, err);
    gm_run_free(array);
    gm_run_free(result);
    if (status) gm_prior_split_free(split);
    return status;
}
