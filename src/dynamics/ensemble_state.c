/* An ensemble under way as named arrays, and back: what a run file keeps of it.
 *
 *   runs      [1]                     runs done
 *   moments   [quantities, steps, 4]  finite values, infinite ones, mean, sum of squares about it
 *   diverged  [steps]                 runs that had diverged by then
 *   values    [quantities, steps, runs]  exact: all of them, NaN where undefined
 *   ends      [quantities, steps, 4]  else, the sketches: +infinities, -infinities, least, largest
 *   bins      [quantities, steps]       their numbers of bins, and, one after the other, ...
 *   middles, numbers [sum of bins]      ... the bins
 *   kept_runs [kept], kept_theta [kept, p]  last parameters of kept runs that are done
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/ensemble.h"

enum { MOMENTS = 4, ENDS = 4, MOST_ARRAYS = 10 };

/* ---- out ---- */

/* A new array of the state, all zero; NULL with err recorded. Dimensions beyond rank are 0. */
static double *new_array(gm_ensemble_state *state, const char *name, int rank, size_t a, size_t b,
                         size_t c, gm_error *err)
{
    const size_t dim[3] = {a, b, c};
    size_t size = 1;
    for (int d = 0; d < rank; d++) {
        if (!gm_mul_size(size, dim[d], &size)) size = SIZE_MAX;
    }
    double *data = gm_alloc(size, sizeof *data, "state of the ensemble", err);
    if (!data) return NULL;
    state->array[state->arrays++] =
        (gm_run_array){.name = name, .dtype = GM_F64, .rank = rank, .dim = {a, b, c}, .data = data};
    return data;
}

static gm_status save_moments(const gm_ensemble *e, gm_ensemble_state *state, gm_error *err)
{
    double *runs = new_array(state, "runs", 1, 1, 0, 0, err);
    double *moments =
        runs ? new_array(state, "moments", 3, e->quantities, e->steps, MOMENTS, err) : NULL;
    double *diverged = moments ? new_array(state, "diverged", 1, e->steps, 0, 0, err) : NULL;
    if (!diverged) return GM_ERR_MEMORY;
    runs[0] = (double)e->done;
    for (size_t i = 0; i < e->quantities * e->steps; i++) {
        const gm_cell *c = &e->cell[i];
        double *m = moments + i * MOMENTS;
        m[0] = (double)c->count;
        m[1] = (double)c->infinite;
        m[2] = c->mean;
        m[3] = c->squares;
    }
    for (size_t i = 0; i < e->steps; i++) {
        diverged[i] = (double)e->diverged[i];
    }
    return GM_OK;
}

static gm_status save_values(const gm_ensemble *e, gm_ensemble_state *state, gm_error *err)
{
    if (e->done == 0) return GM_OK;
    double *values = new_array(state, "values", 3, e->quantities, e->steps, e->done, err);
    if (!values) return GM_ERR_MEMORY;
    for (size_t i = 0; i < e->quantities * e->steps; i++) {
        memcpy(values + i * e->done, e->value + i * e->options.runs, e->done * sizeof *values);
    }
    return GM_OK;
}

static gm_status save_sketches(const gm_ensemble *e, gm_ensemble_state *state, gm_error *err)
{
    const size_t cells = e->quantities * e->steps;
    size_t total = 0;
    double *ends = new_array(state, "ends", 3, e->quantities, e->steps, ENDS, err);
    double *bins = ends ? new_array(state, "bins", 2, e->quantities, e->steps, 0, err) : NULL;
    if (!bins) return GM_ERR_MEMORY;
    for (size_t i = 0; i < cells; i++) {
        const gm_quantile_sketch *s = &e->cell[i].sketch;
        const double end[ENDS] = {(double)s->infinite[0], (double)s->infinite[1], s->min, s->max};
        memcpy(ends + i * ENDS, end, sizeof end);
        size_t count = gm_quantile_sketch_bins(s);
        bins[i] = (double)count;
        total += count;
    }
    if (total == 0) return GM_OK;
    double *middles = new_array(state, "middles", 1, total, 0, 0, err);
    double *numbers = middles ? new_array(state, "numbers", 1, total, 0, 0, err) : NULL;
    if (!numbers) return GM_ERR_MEMORY;
    for (size_t i = 0, at = 0; i < cells; i++) {
        gm_quantile_sketch_read(&e->cell[i].sketch, middles + at, numbers + at);
        at += (size_t)bins[i];
    }
    return GM_OK;
}

static gm_status save_kept(const gm_ensemble *e, gm_ensemble_state *state, gm_error *err)
{
    size_t kept = gm_ensemble_kept(e);
    if (kept == 0) return GM_OK;
    double *run = new_array(state, "kept_runs", 1, kept, 0, 0, err);
    double *theta = run ? new_array(state, "kept_theta", 2, kept, e->p, 0, err) : NULL;
    if (!theta) return GM_ERR_MEMORY;
    for (size_t i = 0; i < kept; i++) {
        run[i] = (double)gm_ensemble_kept_run(e, i);
        memcpy(theta + i * e->p, gm_ensemble_kept_theta(e, i), e->p * sizeof *theta);
    }
    return GM_OK;
}

gm_status gm_ensemble_save(const gm_ensemble *e, gm_ensemble_state *state, gm_error *err)
{
    *state = (gm_ensemble_state){0};
    state->array = gm_alloc(MOST_ARRAYS, sizeof *state->array, "state of the ensemble", err);
    gm_status status = state->array ? save_moments(e, state, err) : GM_ERR_MEMORY;
    if (status == GM_OK)
        status = e->exact ? save_values(e, state, err) : save_sketches(e, state, err);
    if (status == GM_OK) status = save_kept(e, state, err);
    if (status != GM_OK) gm_ensemble_state_free(state);
    return status;
}

void gm_ensemble_state_free(gm_ensemble_state *state)
{
    for (size_t i = 0; i < state->arrays; i++) {
        gm_free((double *)state->array[i].data);
    }
    gm_free(state->array);
    *state = (gm_ensemble_state){0};
}

/* ---- in ---- */

typedef struct source {
    gm_run *run;
    int64_t result;
    gm_error *err;
} source;

/* The array of that name if it has these dimensions; freed by gm_run_free. */
static gm_status load_array(const source *from, const char *name, int rank, size_t a, size_t b,
                            size_t c, gm_run_array **array)
{
    const size_t dim[3] = {a, b, c};
    gm_status status = gm_run_load_array(from->run, from->result, name, array, from->err);
    if (status != GM_OK) return status;
    bool fits = (*array)->rank == rank;
    for (int d = 0; fits && d < rank; d++) {
        fits = (*array)->dim[d] == dim[d];
    }
    if (fits) return GM_OK;
    gm_run_free(*array);
    *array = NULL;
    return gm_fail(from->err, GM_ERR_INPUT,
                   "%s: the array %s of the ensemble does not fit its settings",
                   gm_run_path(from->run), name);
}

static gm_status damaged(const source *from, const char *name)
{
    return gm_fail(from->err, GM_ERR_INPUT, "%s: the array %s of the ensemble is damaged",
                   gm_run_path(from->run), name);
}

/* A whole number from 0 to most. */
static bool is_count(double x, double most)
{
    return x >= 0.0 && x <= most && x == floor(x);
}

static gm_status load_runs(gm_ensemble *e, const source *from, size_t *done)
{
    gm_run_array *runs = NULL;
    gm_status status = load_array(from, "runs", 1, 1, 0, 0, &runs);
    if (status == GM_OK && !is_count(runs->data[0], (double)e->options.runs))
        status = damaged(from, "runs");
    if (status == GM_OK) *done = (size_t)runs->data[0];
    gm_run_free(runs);
    return status;
}

static gm_status load_moments(gm_ensemble *e, const source *from, size_t done)
{
    gm_run_array *moments = NULL, *diverged = NULL;
    const double most = (double)done;
    gm_status status = load_array(from, "moments", 3, e->quantities, e->steps, MOMENTS, &moments);
    if (status == GM_OK) status = load_array(from, "diverged", 1, e->steps, 0, 0, &diverged);
    for (size_t i = 0; status == GM_OK && i < e->quantities * e->steps; i++) {
        const double *m = moments->data + i * MOMENTS;
        if (!is_count(m[0], most) || !is_count(m[1], most - m[0])) {
            status = damaged(from, "moments");
            break;
        }
        gm_cell *c = &e->cell[i];
        c->count = (size_t)m[0];
        c->infinite = (size_t)m[1];
        c->mean = m[2];
        c->squares = m[3];
    }
    for (size_t i = 0; status == GM_OK && i < e->steps; i++) {
        if (!is_count(diverged->data[i], most))
            status = damaged(from, "diverged");
        else
            e->diverged[i] = (uint64_t)diverged->data[i];
    }
    gm_run_free(moments);
    gm_run_free(diverged);
    return status;
}

static gm_status load_values(gm_ensemble *e, const source *from, size_t done)
{
    gm_run_array *values = NULL;
    if (done == 0) return GM_OK;
    gm_status status = load_array(from, "values", 3, e->quantities, e->steps, done, &values);
    for (size_t i = 0; status == GM_OK && i < e->quantities * e->steps; i++) {
        memcpy(e->value + i * e->options.runs, values->data + i * done, done * sizeof(double));
    }
    gm_run_free(values);
    return status;
}

static gm_status fill_sketches(gm_ensemble *e, const source *from, const double *ends,
                               const double *bins, const double *middle, const double *number)
{
    for (size_t i = 0; i < e->quantities * e->steps; i++) {
        gm_quantile_sketch *s = &e->cell[i].sketch;
        size_t count = (size_t)bins[i];
        gm_status status = gm_quantile_sketch_fill(s, count, middle, number, from->err);
        if (status != GM_OK) return status;
        s->infinite[0] = (uint64_t)ends[i * ENDS];
        s->infinite[1] = (uint64_t)ends[i * ENDS + 1];
        s->min = ends[i * ENDS + 2];
        s->max = ends[i * ENDS + 3];
        if (gm_quantile_sketch_count(s) != e->cell[i].count + e->cell[i].infinite)
            return damaged(from, "bins");
        middle += count;
        number += count;
    }
    return GM_OK;
}

static gm_status load_sketches(gm_ensemble *e, const source *from, size_t done)
{
    gm_run_array *ends = NULL, *bins = NULL, *middles = NULL, *numbers = NULL;
    size_t total = 0;
    gm_status status = load_array(from, "ends", 3, e->quantities, e->steps, ENDS, &ends);
    if (status == GM_OK) status = load_array(from, "bins", 2, e->quantities, e->steps, 0, &bins);
    for (size_t i = 0; status == GM_OK && i < e->quantities * e->steps; i++) {
        bool counts = is_count(bins->data[i], (double)done) &&
                      is_count(ends->data[i * ENDS], (double)done) &&
                      is_count(ends->data[i * ENDS + 1], (double)done);
        if (!counts) status = damaged(from, "bins");
        if (counts) total += (size_t)bins->data[i];
    }
    if (status == GM_OK && total) {
        status = load_array(from, "middles", 1, total, 0, 0, &middles);
        if (status == GM_OK) status = load_array(from, "numbers", 1, total, 0, 0, &numbers);
    }
    if (status == GM_OK)
        status = fill_sketches(e, from, ends->data, bins->data, middles ? middles->data : NULL,
                               numbers ? numbers->data : NULL);
    gm_run_free(ends);
    gm_run_free(bins);
    gm_run_free(middles);
    gm_run_free(numbers);
    return status;
}

static gm_status load_kept(gm_ensemble *e, const source *from, size_t done)
{
    gm_run_array *run = NULL, *theta = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < e->options.keeps; i++) {
        kept += e->keep[i] - e->options.train.run < done;
    }
    if (kept == 0) return GM_OK;
    gm_status status = load_array(from, "kept_runs", 1, kept, 0, 0, &run);
    if (status == GM_OK) status = load_array(from, "kept_theta", 2, kept, e->p, 0, &theta);
    for (size_t i = 0, k = 0; status == GM_OK && i < e->options.keeps; i++) {
        if (e->keep[i] - e->options.train.run >= done) continue;
        if (run->data[k] != (double)e->keep[i]) {
            status = damaged(from, "kept_runs");
            break;
        }
        e->kept[i] = true;
        memcpy(e->kept_theta + i * e->p, theta->data + k++ * e->p, e->p * sizeof(double));
    }
    gm_run_free(run);
    gm_run_free(theta);
    return status;
}

gm_status gm_ensemble_load(gm_ensemble *e, gm_run *run, int64_t result, gm_error *err)
{
    const source from = {run, result, err};
    size_t done = 0;
    gm_status status = load_runs(e, &from, &done);
    if (status == GM_OK) status = load_moments(e, &from, done);
    if (status == GM_OK)
        status = e->exact ? load_values(e, &from, done) : load_sketches(e, &from, done);
    if (status == GM_OK) status = load_kept(e, &from, done);
    if (status == GM_OK) e->done = done;
    return status;
}
