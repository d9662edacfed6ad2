/* Losses at the points of a slice: a block of points at a time, shared out among ranks and threads,
 * each of which has an evaluator of its own (dynamics/evaluator.h), the ones that serve the runs of
 * an ensemble. */
#include <math.h>
#include <omp.h>

#include "base/memory.h"
#include "dynamics/evaluator.h"
#include "kernels/kernels.h"
#include "landscape/landscape.h"

enum { BLOCK = 8 }; /* points of a thread between two looks at hooks->stop */

typedef struct worker {
    gm_evaluator *evaluator;
    double *wide; /* [p] theta */
    void *theta;  /* [p] the same in the precision of the problem */
} worker;

typedef struct job {
    const gm_landscape_slice *slice;
    const gm_kernels *k;
    size_t p, workers;
    gm_tiles *tiles; /* shared by the evaluators; NULL for nets that do not fit */
    worker *worker;  /* [workers] */
    gm_landscape_values values;
} job;

static gm_status open_worker(const gm_problem *problem, const gm_problem *test, job *j, worker *w,
                             gm_error *err)
{
    gm_status status = j->tiles
                           ? gm_tiles_evaluator(j->tiles, 1, &w->evaluator, err)
                           : gm_problem_evaluator(problem, test, j->workers, &w->evaluator, err);
    if (status != GM_OK) return status;
    w->wide = gm_alloc(j->p, sizeof *w->wide, "a point of the slice", err);
    w->theta = gm_alloc(j->p, j->k->size, "a point of the slice", err);
    return w->wide && w->theta ? GM_OK : GM_ERR_MEMORY;
}

static gm_status open_job(const gm_problem *problem, const gm_problem *test, job *j, gm_error *err)
{
    gm_status status = GM_OK;
    j->workers = (size_t)omp_get_max_threads();
    if (j->workers > j->slice->count) j->workers = j->slice->count;
    j->worker = gm_alloc(j->workers, sizeof *j->worker, "workers", err);
    if (!j->worker) return GM_ERR_MEMORY;
    if (gm_tiles_fit(problem)) status = gm_tiles_create(problem, test, &j->tiles, err);
    for (size_t w = 0; status == GM_OK && w < j->workers; w++) {
        status = open_worker(problem, test, j, &j->worker[w], err);
    }
    return status;
}

static void close_job(job *j)
{
    for (size_t w = 0; j->worker && w < j->workers; w++) {
        gm_evaluator_free(j->worker[w].evaluator);
        gm_free(j->worker[w].wide);
        gm_free(j->worker[w].theta);
    }
    gm_free(j->worker);
    gm_tiles_free(j->tiles);
}

static gm_status take_point(const job *j, worker *w, size_t i, gm_error *err)
{
    const gm_landscape_slice *s = j->slice;
    const double *t = s->coordinate + i * s->dimensions;
    for (size_t n = 0; n < j->p; n++) {
        double move = 0.0;
        for (size_t a = 0; a < s->dimensions; a++) {
            move += t[a] * s->direction[a * j->p + n];
        }
        w->wide[n] = s->origin[n] + move;
    }
    j->k->from_double(j->p, w->wide, w->theta);
    const gm_landscape_values *v = &j->values;
    gm_evaluation train, test;
    gm_status status =
        gm_evaluator_value(w->evaluator, w->theta, &train, v->test_loss ? &test : NULL, err);
    if (status != GM_OK) return status;
    v->loss[i] = train.loss;
    v->error_rate[i] = train.error_rate;
    if (v->test_loss) v->test_loss[i] = test.loss;
    if (v->test_loss) v->test_error_rate[i] = test.error_rate;
    return GM_OK;
}

/* Points first ... last - 1; the first failure of any thread. */
static gm_status take_block(const job *j, size_t first, size_t last, gm_error *err)
{
    gm_status status = GM_OK;
    gm_error failure = {0};
#pragma omp parallel for schedule(dynamic) num_threads((int)j->workers)
    for (size_t i = first; i < last; i++) {
        gm_error own = {0};
        gm_status mine = take_point(j, &j->worker[omp_get_thread_num()], i, &own);
        if (mine == GM_OK) continue;
#pragma omp critical(gm_landscape_failure)
        {
            status = mine;
            failure = own;
        }
    }
    if (status != GM_OK && err) *err = failure;
    return status;
}

static bool stopped(const gm_landscape_hooks *hooks)
{
    if (!hooks || !hooks->stop) return false;
    double stop = hooks->stop(hooks->context);
    gm_team_sum(hooks->team, 1, &stop);
    return stop > 0.0;
}

/* The values of all ranks' points. */
static void exchange(const job *j, const gm_team *team, size_t first, size_t count)
{
    const gm_landscape_values *v = &j->values;
    double *const array[] = {v->loss, v->error_rate, v->test_loss, v->test_error_rate};
    for (size_t i = 0; i < sizeof array / sizeof *array; i++) {
        if (array[i])
            gm_team_gather(team, first * sizeof(double), count * sizeof(double), array[i]);
    }
}

static gm_status take_points(const job *j, const gm_landscape_hooks *hooks, size_t *done,
                             gm_error *err)
{
    const gm_team *team = hooks ? hooks->team : NULL;
    size_t count = j->slice->count, block = BLOCK * j->workers * (size_t)gm_team_size(team);
    gm_team_broadcast(team, sizeof block, &block); /* ranks may have other threads */
    while (*done < count) {
        if (stopped(hooks)) return GM_OK;
        size_t last = count - *done < block ? count : *done + block, first, own;
        gm_team_share(team, last - *done, &first, &own);
        first += *done;
        gm_status status = own > 0 ? take_block(j, first, first + own, err) : GM_OK;
        if (status != GM_OK) return status;
        exchange(j, team, first, own);
        *done = last;
        if (hooks && hooks->progress) hooks->progress(hooks->context, last);
    }
    return GM_OK;
}

gm_status gm_landscape_evaluate(const gm_problem *problem, const gm_problem *test,
                                const gm_landscape_slice *slice, const gm_landscape_hooks *hooks,
                                const gm_landscape_values *values, size_t *done, gm_error *err)
{
    job j = {.slice = slice,
             .k = gm_kernels_get(gm_problem_data(problem)->dtype),
             .p = gm_problem_parameters(problem),
             .values = *values};
    *done = 0;
    gm_status status = gm_landscape_check(slice->dimensions, err);
    if (status != GM_OK) return status;
    if (slice->count == 0)
        return gm_fail(err, GM_ERR_USAGE, "slice of 0 points, expected at least 1");
    for (size_t i = 0; i < slice->count; i++) {
        values->loss[i] = values->error_rate[i] = (double)NAN;
        if (test) values->test_loss[i] = values->test_error_rate[i] = (double)NAN;
    }
    status = open_job(problem, test, &j, err);
    if (status == GM_OK) status = take_points(&j, hooks, done, err);
    close_job(&j);
    return status;
}
