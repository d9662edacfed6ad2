#include "cli/spectrum_resample.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "cli/spectrum_methods.h"

gm_status gm_resample_check_options(const gm_cli *cli, const gm_spectrum_settings *set,
                                    gm_error *err)
{
    if (!gm_cli_given(cli, "data-resample") || set->resamples >= 2) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--data-resample: found %zu, expected at least 2 resamples to see a spread",
                   set->resamples);
}

/* ---- one number or several, over the resamples ---- */

static gm_status series_make(size_t count, size_t columns, gm_spectrum_series *series,
                             gm_error *err)
{
    series->columns = columns;
    series->value = gm_alloc(count * columns, sizeof(double), "values of the resamples", err);
    series->mean = gm_alloc(4 * columns, sizeof(double), "means over the resamples", err);
    if (!series->value || !series->mean) return GM_ERR_MEMORY;
    series->sd = series->mean + columns;
    series->min = series->sd + columns;
    series->max = series->min + columns;
    for (size_t i = 0; i < count * columns; i++) {
        series->value[i] = (double)NAN;
    }
    return GM_OK;
}

static void series_free(gm_spectrum_series *series)
{
    gm_free(series->value);
    gm_free(series->mean);
}

/* Over the resamples that have the number: an eigenproblem that was cut off may lack it. */
static void series_finish(size_t count, gm_spectrum_series *series)
{
    size_t columns = series->columns;
    for (size_t j = 0; j < columns; j++) {
        double sum = 0, squares = 0, least = HUGE_VAL, most = -HUGE_VAL, n = 0;
        for (size_t r = 0; r < count; r++) {
            double value = series->value[r * columns + j];
            if (isnan(value)) continue;
            n++;
            sum += value;
            least = fmin(least, value);
            most = fmax(most, value);
        }
        double mean = sum / n;
        for (size_t r = 0; r < count; r++) {
            double off = series->value[r * columns + j] - mean;
            if (!isnan(off)) squares += off * off;
        }
        series->mean[j] = mean;
        series->sd[j] = n > 1 ? sqrt(squares / (n - 1)) : (double)NAN;
        series->min[j] = n > 0 ? least : (double)NAN;
        series->max[j] = n > 0 ? most : (double)NAN;
    }
}

/* ---- from one measurement to a row ---- */

static gm_status resamples_make(size_t count, const gm_spectrum *s, gm_spectrum_resamples *r,
                                gm_error *err)
{
    const gm_spectrum_pairs *pairs = &s->pairs;
    gm_status status = GM_OK;
    r->count = count;
    if (pairs->value) {
        size_t columns = pairs->index ? pairs->k : pairs->values;
        status = series_make(count, columns, &r->eigenvalues, err);
    }
    if (status == GM_OK && s->summed) status = series_make(count, 1, &r->trace, err);
    if (status == GM_OK && s->normed) status = series_make(count, 1, &r->frobenius, err);
    if (status == GM_OK && s->diagonal.value) status = series_make(count, 3, &r->diagonal, err);
    if (status == GM_OK && s->density.value) {
        status = series_make(count, s->density.bins, &r->density, err);
    }
    return status;
}

static void keep_pairs(size_t at, const gm_spectrum_pairs *base, const gm_spectrum_pairs *found,
                       gm_spectrum_resamples *r)
{
    size_t columns = r->eigenvalues.columns;
    double *row = r->eigenvalues.value + at * columns;
    for (size_t j = 0; j < columns; j++) {
        size_t place = base->index ? base->index[j] : j;
        if (place < found->values) row[j] = found->value[place];
    }
    r->worst = fmax(r->worst, found->worst);
}

/* On the grid of the data's own density, so that the two can be compared. */
static gm_status keep_density(size_t at, const gm_spectrum_density *base,
                              const gm_spectrum_density *found, gm_spectrum_resamples *r,
                              gm_error *err)
{
    double mass, *unused = gm_alloc(base->bins, sizeof *unused, "errors of the density", err);
    if (!unused) return GM_ERR_MEMORY;
    gm_status status = gm_density_on_grid(&found->quadrature, base->width, base->bins, base->edge,
                                          r->density.value + at * base->bins, unused, &mass, err);
    gm_free(unused);
    return status;
}

static gm_status keep(size_t at, gm_spectrum *s, const gm_spectrum *found, gm_error *err)
{
    gm_spectrum_resamples *r = &s->resamples;
    r->products += found->products;
    r->converged += found->converged;
    if (r->eigenvalues.value) keep_pairs(at, &s->pairs, &found->pairs, r);
    if (r->trace.value) r->trace.value[at] = found->trace.value;
    if (r->frobenius.value) r->frobenius.value[at] = found->frobenius.value;
    if (r->diagonal.value) {
        r->diagonal.value[3 * at] = found->diagonal.min;
        r->diagonal.value[3 * at + 1] = found->diagonal.max;
        r->diagonal.value[3 * at + 2] = found->diagonal.mean;
    }
    if (!r->density.value) return GM_OK;
    return keep_density(at, &s->density, &found->density, r, err);
}

void gm_spectrum_resamples_free(gm_spectrum_resamples *r)
{
    series_free(&r->eigenvalues);
    series_free(&r->trace);
    series_free(&r->frobenius);
    series_free(&r->diagonal);
    series_free(&r->density);
    memset(r, 0, sizeof *r);
}

/* ---- the resamples ---- */

/* Eigenproblems too begin anew: a resample of the data is no near neighbour. From the data's own
 * eigenvectors a block method took as many products as ARPACK from nothing where the tolerance is
 * loose, and up to 1.6 times as many where it is not. */
static gm_status measure_blocks(gm_spectrum_source *source, const gm_spectrum_settings *set,
                                size_t at, size_t blocks, gm_spectrum *block, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < blocks; i++) {
        gm_spectrum_operator target = {0};
        gm_spectrum found = {0};
        status = gm_spectrum_source_block(source, set, i, &target, err);
        if (status == GM_OK) status = gm_spectrum_measure(&target, set, &found, err);
        if (status == GM_OK) status = keep(at, block + i, &found, err);
        gm_spectrum_free(&found);
        gm_spectrum_operator_close(&target);
    }
    return status;
}

/* Resamples are shared out over the ranks, unless a solver splits its vectors over them: then all
 * do the same ones together. */
static const gm_team *sharers(const gm_session *session, const gm_spectrum_settings *set)
{
    return set->solver == GM_SOLVER_SLEPC ? NULL : session->team;
}

/* Draws resample number `at`, linearizes the net on it, and measures. */
static gm_status measure_resample(gm_spectrum_source *source, const gm_spectrum_settings *set,
                                  size_t at, size_t blocks, gm_spectrum *block, gm_error *err)
{
    const gm_session *session = source->session;
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = session->loss_kind;
    options.memory = session->team ? gm_session_memory(session) : session->shared.memory;
    options.team = sharers(session, set) ? NULL : session->team;
    gm_status status = gm_dataset_resample(session->data, session->seed, (uint32_t)at, &data, err);
    if (status == GM_OK) status = gm_problem_create(session->net, data, &options, &problem, err);
    if (status == GM_OK) status = gm_spectrum_source_linearize(source, set, problem, err);
    if (status == GM_OK) status = measure_blocks(source, set, at, blocks, block, err);
    gm_spectrum_source_rest(source);
    gm_problem_free(problem);
    gm_dataset_free(data);
    return status;
}

static void join_series(const gm_team *team, size_t first, size_t count,
                        const gm_spectrum_series *series)
{
    size_t row = series->columns * sizeof *series->value;
    if (series->value) gm_team_gather(team, first * row, count * row, series->value);
}

/* What all ranks found. */
static void join_ranks(const gm_team *team, size_t first, size_t count, gm_spectrum_resamples *r)
{
    join_series(team, first, count, &r->eigenvalues);
    join_series(team, first, count, &r->trace);
    join_series(team, first, count, &r->frobenius);
    join_series(team, first, count, &r->diagonal);
    join_series(team, first, count, &r->density);
    double total[2] = {(double)r->products, (double)r->converged}, worst = r->worst;
    gm_team_sum(team, 2, total);
    r->products = (size_t)total[0];
    r->converged = (size_t)total[1];
    for (int rank = 0; rank < gm_team_size(team); rank++) {
        double other = rank == gm_team_rank(team) ? worst : 0.0;
        gm_team_sum(team, 1, &other);
        r->worst = fmax(r->worst, other);
    }
}

gm_status gm_spectrum_resample(gm_spectrum_source *source, const gm_spectrum_settings *set,
                               size_t blocks, gm_spectrum *block, gm_error *err)
{
    gm_spectrum_source again = {0}; /* with a D of its own: the exact ones depend on the data */
    gm_status status = GM_OK;
    if (!set->resamples) return GM_OK;
    gm_spectrum_source_rest(source);
    for (size_t i = 0; status == GM_OK && i < blocks; i++) {
        status = resamples_make(set->resamples, block + i, &block[i].resamples, err);
    }
    if (status == GM_OK) status = gm_spectrum_source_again(source, set, &again, err);
    const gm_team *team = sharers(source->session, set);
    size_t first, count;
    gm_team_share(team, set->resamples, &first, &count);
    for (size_t at = first; status == GM_OK && at < first + count; at++) {
        status = measure_resample(&again, set, at, blocks, block, err);
    }
    for (size_t i = 0; status == GM_OK && i < blocks; i++) {
        join_ranks(team, first, count, &block[i].resamples);
    }
    for (size_t i = 0; status == GM_OK && i < blocks; i++) {
        gm_spectrum_resamples *r = &block[i].resamples;
        series_finish(r->count, &r->eigenvalues);
        series_finish(r->count, &r->trace);
        series_finish(r->count, &r->frobenius);
        series_finish(r->count, &r->diagonal);
        series_finish(r->count, &r->density);
    }
    gm_spectrum_source_close(&again);
    return status;
}
