/* An ensemble: its runs in blocks over ranks and threads, merged run after run. */
#include "dynamics/ensemble.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"

/* A block has this many runs for each thread, fewer where their values would exceed BLOCK_BYTES. */
enum { BLOCK_RUNS = 8, BLOCK_BYTES = 64 << 20, MOST_STEPS = 1000, GRADIENTS = 20 };

/* ---- making ---- */

/* Numbers in the place of every 0 that stands for a default. */
static void resolve(gm_ensemble *e)
{
    gm_ensemble_options *o = &e->options;
    uint64_t steps = o->train.steps;
    gm_train_options_resolve(&o->train, e->problem);
    if (!o->record_every) o->record_every = 1 + (steps - 1) / MOST_STEPS;
    if (!o->gradient_every) {
        uint64_t points = steps / o->record_every;
        o->gradient_every =
            o->record_every * (points > GRADIENTS ? 1 + (points - 1) / GRADIENTS : 1);
    }
    e->steps = (size_t)((steps - 1) / o->record_every + 2); /* 0, every, ... and T */
    for (int q = 0; q < GM_QUANTITIES; q++) {
        if ((o->record >> q) & 1u) e->quantity[e->quantities++] = (gm_quantity)q;
    }
    e->exact = o->runs <= o->exact_runs;
}

static gm_status take_start(gm_ensemble *e, const double *theta, gm_error *err)
{
    if (e->options.fresh) return GM_OK;
    if (!theta) return gm_fail(err, GM_ERR_USAGE, "ensemble: a fixed start needs parameters");
    e->start = gm_alloc(e->p, e->k->size, "initial parameters", err);
    if (!e->start) return GM_ERR_MEMORY;
    e->k->from_double(e->p, theta, e->start);
    if (isfinite(e->k->dot(e->p, e->start, e->start))) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT,
                   "the initial parameters, or their squares, are not finite %s numbers",
                   gm_dtype_name(e->k->dtype));
}

static gm_status make_statistics(gm_ensemble *e, gm_error *err)
{
    size_t cells, values = 0, kept;
    if (!gm_mul_size(e->quantities, e->steps, &cells) ||
        (e->exact && !gm_mul_size(cells, e->options.runs, &values)) ||
        !gm_mul_size(e->options.keeps, e->p, &kept))
        return gm_fail(err, GM_ERR_MEMORY, "the ensemble's statistics exceed the address space");
    e->cell = gm_alloc(cells, sizeof *e->cell, "statistics of the ensemble", err);
    e->diverged = gm_alloc(e->steps, sizeof *e->diverged, "statistics of the ensemble", err);
    e->keep = gm_alloc(e->options.keeps, sizeof *e->keep, "kept runs", err);
    e->kept = gm_alloc(e->options.keeps, sizeof *e->kept, "kept runs", err);
    e->kept_theta = gm_alloc(kept, sizeof *e->kept_theta, "kept runs", err);
    if (!e->cell || !e->diverged || !e->keep || !e->kept || !e->kept_theta) return GM_ERR_MEMORY;
    for (size_t i = 0; i < cells; i++) {
        gm_quantile_sketch_init(&e->cell[i].sketch);
    }
    if (e->options.keeps) memcpy(e->keep, e->options.keep, e->options.keeps * sizeof *e->keep);
    e->options.keep = e->keep;
    if (!e->exact || gm_team_rank(e->options.team) > 0) return GM_OK;
    e->value = gm_alloc(values, sizeof *e->value, "values of the ensemble", err);
    return e->value ? GM_OK : GM_ERR_MEMORY;
}

/* The fast way takes every update and every policy that asks nothing of a problem. */
static gm_status make_tiles(gm_ensemble *e, gm_error *err)
{
    if (e->options.general || !gm_tiles_fit(e->problem)) return GM_OK;
    if (e->options.train.precondition != GM_PRECONDITION_NONE) return GM_OK;
    if (!gm_policy_timed(&e->options.train.policy)) return GM_OK;
    return gm_tiles_create(e->problem, e->test, &e->tiles, err);
}

gm_status gm_ensemble_create(gm_problem *problem, gm_problem *test,
                             const gm_ensemble_options *options, const double *theta,
                             gm_ensemble **made, gm_error *err)
{
    *made = NULL;
    const gm_dataset *data = gm_problem_data(problem);
    gm_status status = gm_ensemble_options_check(options, data->n, test != NULL, err);
    if (status != GM_OK) return status;
    gm_ensemble *e = gm_alloc(1, sizeof *e, "ensemble", err);
    if (!e) return GM_ERR_MEMORY;
    e->options = *options;
    e->problem = problem;
    e->test = (options->record >> GM_QUANTITY_TEST_ERROR) & 1u ? test : NULL;
    e->k = gm_kernels_get(data->dtype);
    e->p = gm_problem_parameters(problem);
    resolve(e);
    status = take_start(e, theta, err);
    if (status == GM_OK) status = make_statistics(e, err);
    if (status == GM_OK) status = make_tiles(e, err);
    if (status != GM_OK) {
        gm_ensemble_free(e);
        return status;
    }
    *made = e;
    return GM_OK;
}

void gm_ensemble_free(gm_ensemble *e)
{
    if (!e) return;
    for (size_t i = 0; e->cell && i < e->quantities * e->steps; i++) {
        gm_quantile_sketch_free(&e->cell[i].sketch);
    }
    gm_tiles_free(e->tiles);
    gm_free(e->start);
    gm_free(e->cell);
    gm_free(e->value);
    gm_free(e->diverged);
    gm_free(e->keep);
    gm_free(e->kept);
    gm_free(e->kept_theta);
    gm_free(e);
}

/* ---- what was recorded where ---- */

bool gm_ensemble_slot(const gm_ensemble *e, uint64_t t, size_t *index)
{
    *index = t == e->options.train.steps ? e->steps - 1 : (size_t)(t / e->options.record_every);
    return t == e->options.train.steps || t % e->options.record_every == 0;
}

bool gm_ensemble_measures(const gm_ensemble *e, uint64_t t)
{
    const unsigned costly = 1u << GM_QUANTITY_MEAN_COSINE | 1u << GM_QUANTITY_GRADIENT_SQUARE |
                            1u << GM_QUANTITY_NOISE_TRACE;
    return (e->options.record & costly) &&
           (t % e->options.gradient_every == 0 || t == e->options.train.steps);
}

const gm_ensemble_options *gm_ensemble_options_of(const gm_ensemble *e)
{
    return &e->options;
}

size_t gm_ensemble_done(const gm_ensemble *e)
{
    return e->done;
}

size_t gm_ensemble_steps(const gm_ensemble *e)
{
    return e->steps;
}

uint64_t gm_ensemble_step(const gm_ensemble *e, size_t index)
{
    return index + 1 < e->steps ? index * e->options.record_every : e->options.train.steps;
}

bool gm_ensemble_exact(const gm_ensemble *e)
{
    return e->exact;
}

bool gm_ensemble_tiled(const gm_ensemble *e)
{
    return e->tiles != NULL;
}

double gm_ensemble_flops(const gm_ensemble *e)
{
    if (!e->tiles) return 0.0;
    double pass = gm_tiles_flops(e->tiles), m = (double)e->options.train.batch;
    return (double)gm_problem_data(e->problem)->n * pass +
           m * (3.0 * pass - gm_tiles_first_flops(e->tiles));
}

size_t gm_ensemble_diverged(const gm_ensemble *e, size_t index)
{
    return (size_t)e->diverged[index];
}

size_t gm_ensemble_kept(const gm_ensemble *e)
{
    size_t count = 0;
    for (size_t i = 0; i < e->options.keeps; i++) {
        count += e->kept[i];
    }
    return count;
}

/* Place in the list of the kept run number `index` among those done. */
static size_t kept_place(const gm_ensemble *e, size_t index)
{
    size_t i = 0;
    for (; i < e->options.keeps; i++) {
        if (e->kept[i] && index-- == 0) break;
    }
    return i;
}

uint32_t gm_ensemble_kept_run(const gm_ensemble *e, size_t index)
{
    return e->keep[kept_place(e, index)];
}

const double *gm_ensemble_kept_theta(const gm_ensemble *e, size_t index)
{
    return e->kept_theta + kept_place(e, index) * e->p;
}

/* ---- a block of runs ---- */

typedef struct block {
    size_t first, count; /* runs first ... first + count - 1, counted from 0 */
    size_t own, owned;   /* those that this rank does: from own on, counted in the block */
    double *row;         /* [count][quantities, steps] */
    size_t *diverged;    /* [count] */
    gm_status *status;   /* [count] */
    gm_error *err;       /* [count] */
} block;

static double *last_of(const gm_ensemble *e, uint32_t run)
{
    for (size_t i = 0; i < e->options.keeps; i++) {
        if (e->keep[i] == run) return e->kept_theta + i * e->p;
    }
    return NULL;
}

static void run_block(gm_ensemble *e, block *b, gm_ensemble_worker *worker, size_t workers)
{
    const size_t cells = e->quantities * e->steps, end = b->own + b->owned;
    size_t next = b->own;
    bool stopped = false;
#pragma omp parallel num_threads((int)workers)
    {
        gm_ensemble_worker *w = &worker[omp_get_thread_num()];
        for (;;) {
            size_t i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
            if (i >= end || __atomic_load_n(&stopped, __ATOMIC_RELAXED)) break;
            uint32_t run = e->options.train.run + (uint32_t)(b->first + i);
            b->status[i] = gm_ensemble_one(w, run, b->row + i * cells, &b->diverged[i],
                                           last_of(e, run), &b->err[i]);
            if (b->status[i] != GM_OK) __atomic_store_n(&stopped, true, __ATOMIC_RELAXED);
        }
    }
}

/* The kept runs numbers below `run` in the list. */
static size_t kept_below(const gm_ensemble *e, size_t run)
{
    size_t count = 0;
    while (count < e->options.keeps && e->keep[count] < run) {
        count++;
    }
    return count;
}

/* What the ranks did, at all of them. */
static void exchange(gm_ensemble *e, const block *b)
{
    const gm_team *team = e->options.team;
    const size_t cells = e->quantities * e->steps, row = cells * sizeof *b->row;
    size_t run = e->options.train.run + b->first + b->own, p = e->p * sizeof *e->kept_theta;
    size_t keep = kept_below(e, run), keeps = kept_below(e, run + b->owned) - keep;
    if (gm_team_size(team) == 1) return;
    gm_team_gather(team, b->own * row, b->owned * row, b->row);
    gm_team_gather(team, b->own * sizeof *b->diverged, b->owned * sizeof *b->diverged, b->diverged);
    gm_team_gather(team, b->own * sizeof *b->status, b->owned * sizeof *b->status, b->status);
    gm_team_gather(team, b->own * sizeof *b->err, b->owned * sizeof *b->err, b->err);
    gm_team_gather(team, keep * p, keeps * p, e->kept_theta);
}

/* What ended the block before its last run: an error of some run, else an interruption; GM_OK where
 * it is complete. (A run may be left undone because a later one failed.) */
static gm_status block_status(const block *b, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t i = 0; i < b->count; i++) {
        if (b->status[i] != GM_OK && b->status[i] != GM_ERR_INTERRUPTED) {
            if (err) *err = b->err[i];
            return b->status[i];
        }
        if (b->status[i] != GM_OK) status = GM_ERR_INTERRUPTED;
    }
    return status;
}

/* Merges the leading runs that are complete. */
static gm_status merge_block(gm_ensemble *e, const block *b, gm_error *err)
{
    const size_t cells = e->quantities * e->steps;
    for (size_t i = 0; i < b->count && b->status[i] == GM_OK; i++) {
        gm_status status = gm_ensemble_add(e, b->row + i * cells, b->diverged[i], err);
        if (status != GM_OK) return status;
        uint32_t run = e->options.train.run + (uint32_t)(b->first + i);
        for (size_t j = 0; j < e->options.keeps; j++) {
            e->kept[j] = e->kept[j] || e->keep[j] == run;
        }
    }
    return block_status(b, err);
}

static gm_status make_block(const gm_ensemble *e, size_t workers, block *b, size_t *most,
                            gm_error *err)
{
    size_t ranks = (size_t)gm_team_size(e->options.team), least = workers * ranks;
    size_t cells = e->quantities * e->steps, runs = BLOCK_RUNS * least, entries;
    size_t affordable = BLOCK_BYTES / sizeof(double) / cells;
    if (runs > affordable) runs = affordable < least ? least : affordable;
    gm_team_broadcast(e->options.team, sizeof runs, &runs); /* ranks may have other threads */
    if (!gm_mul_size(runs, cells, &entries)) entries = SIZE_MAX;
    *most = runs;
    b->row = gm_alloc(entries, sizeof *b->row, "values of a block of runs", err);
    b->diverged = gm_alloc(runs, sizeof *b->diverged, "block of runs", err);
    b->status = gm_alloc(runs, sizeof *b->status, "block of runs", err);
    b->err = gm_alloc(runs, sizeof *b->err, "block of runs", err);
    return b->row && b->diverged && b->status && b->err ? GM_OK : GM_ERR_MEMORY;
}

static void free_block(block *b)
{
    gm_free(b->row);
    gm_free(b->diverged);
    gm_free(b->status);
    gm_free(b->err);
}

static gm_status run_blocks(gm_ensemble *e, gm_ensemble_worker *worker, size_t workers, block *b,
                            size_t most, const gm_ensemble_hooks *hooks, gm_error *err)
{
    while (e->done < e->options.runs) {
        size_t left = e->options.runs - e->done;
        b->first = e->done;
        b->count = left < most ? left : most;
        for (size_t i = 0; i < b->count; i++) {
            b->status[i] = GM_ERR_INTERRUPTED; /* those that no worker takes */
        }
        gm_team_share(e->options.team, b->count, &b->own, &b->owned);
        run_block(e, b, worker, workers);
        exchange(e, b);
        gm_status status = merge_block(e, b, err);
        if (status == GM_OK && hooks && hooks->progress)
            hooks->progress(hooks->context, e->done * e->options.train.steps);
        if (status != GM_OK && status != GM_ERR_INTERRUPTED) return status;
        bool stopped = status == GM_ERR_INTERRUPTED;
        status = hooks && hooks->block ? hooks->block(hooks->context, e, err) : GM_OK;
        if (status != GM_OK || stopped) return status;
    }
    return GM_OK;
}

gm_status gm_ensemble_run(gm_ensemble *e, const gm_ensemble_hooks *hooks, gm_error *err)
{
    size_t workers = (size_t)omp_get_max_threads(), most = 0;
    block b = {0};
    gm_team_broadcast(e->options.team, sizeof e->done, &e->done);
    gm_ensemble_worker *worker = gm_alloc(workers, sizeof *worker, "workers", err);
    if (!worker) return GM_ERR_MEMORY;
    gm_status status = make_block(e, workers, &b, &most, err);
    for (size_t w = 0; status == GM_OK && w < workers; w++) {
        status = gm_ensemble_worker_init(&worker[w], e, workers, hooks, err);
    }
    if (hooks && hooks->progress) { /* the first worker tells of all */
        worker[0].team = worker;
        worker[0].before = e->done * e->options.train.steps;
    }
    if (status == GM_OK) status = run_blocks(e, worker, workers, &b, most, hooks, err);
    for (size_t w = 0; w < workers; w++) {
        gm_ensemble_worker_free(&worker[w]);
    }
    free_block(&b);
    gm_free(worker);
    return status;
}
