/* Eigenpairs, densities, dense spectra and series of checkpoints: how long they take, and how much
 * of that is the solver's own work rather than products. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/bench.h"
#include "cli/interrupt.h"
#include "kernels/lapack.h"

/* ---- an operator with a watch ---- */

/* Passes products on to another operator and adds up their time. */
typedef struct watched {
    gm_operator inner;
    gm_bench_time time;
    gm_progress *progress; /* or NULL */
} watched;

static gm_status watched_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    watched *w = self;
    if (gm_interrupt_requested(NULL)) return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted");
    double start = omp_get_wtime();
    gm_status status = w->inner.apply(w->inner.self, count, v, av, err);
    w->time.products_seconds += omp_get_wtime() - start;
    w->time.products += count;
    w->time.blocks++;
    if (w->progress) gm_progress_update(w->progress, w->time.products, NULL);
    return status;
}

/* op = the Hessian of lin, whose products w adds up; w must outlive it. The check that products are
 * finite (gm_operator_apply) counts as the solver's own work. */
static gm_status watch_hessian(gm_linearization *lin, gm_progress *progress, watched *w,
                               gm_operator *op, gm_error *err)
{
    *w = (watched){.progress = progress};
    gm_status status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &w->inner, err);
    *op = (gm_operator){.size = w->inner.size,
                        .precision = w->inner.precision,
                        .name = w->inner.name,
                        .self = w,
                        .apply = watched_apply};
    return status;
}

double gm_bench_own_share(const gm_bench_time *time)
{
    double own = time->seconds - time->products_seconds;
    return time->seconds > 0 && own > 0 ? own / time->seconds : 0.0;
}

/* ---- eigenpairs ---- */

/* k pairs of the Hessian of lin, from nothing or (track) from start [start_count, p]. */
static gm_status solve(const gm_bench *bench, gm_linearization *lin, gm_progress *progress,
                       bool track, size_t start_count, const double *start, gm_eigen *result,
                       gm_bench_time *time, gm_error *err)
{
    watched w;
    gm_operator op;
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.k = bench->settings->k;
    options.tol = bench->tol;
    options.seed = bench->session->seed;
    size_t p = gm_net_parameters(bench->session->net);
    gm_eigen_fit(p, (double)gm_session_memory(bench->session), &options);
    gm_status status = watch_hessian(lin, progress, &w, &op, err);
    if (status != GM_OK) return status;
    double begin = omp_get_wtime();
    status = track ? gm_eigen_track(&op, &options, start_count, start, result, err)
                   : gm_eigenpairs(&op, &options, result, err);
    *time = w.time;
    time->seconds = omp_get_wtime() - begin;
    gm_operator_destroy(&w.inner);
    return status;
}

static gm_status keep_eigenpairs(const gm_eigen *found, gm_bench_eigenpairs *out, gm_error *err)
{
    out->value = gm_alloc(found->count, sizeof *out->value, "eigenvalues", err);
    if (!out->value) return GM_ERR_MEMORY;
    memcpy(out->value, found->value, found->count * sizeof *out->value);
    out->count = found->count;
    out->converged = found->converged_count;
    out->dense = found->dense;
    for (size_t i = 0; i < found->count; i++) {
        double relative = found->scale > 0 ? found->residual[i] / found->scale : found->residual[i];
        out->worst = fmax(out->worst, relative);
    }
    return GM_OK;
}

/* The round whose seconds are the median of all. */
static gm_bench_time median_round(size_t rounds, const gm_bench_time *time, double *seconds)
{
    for (size_t r = 0; r < rounds; r++) {
        seconds[r] = time[r].seconds;
    }
    double median = gm_bench_median(rounds, seconds);
    size_t r = 0;
    while (time[r].seconds < median || time[r].seconds > median) {
        r++;
    }
    return time[r];
}

gm_status gm_bench_measure_eigenpairs(const gm_bench *bench, gm_bench_eigenpairs *out,
                                      gm_error *err)
{
    size_t rounds = bench->settings->rounds;
    gm_bench_time *time = gm_alloc(rounds, sizeof *time, "bench", err);
    double *seconds = gm_alloc(rounds, sizeof *seconds, "bench", err);
    gm_status status = time && seconds ? GM_OK : GM_ERR_MEMORY;
    *out = (gm_bench_eigenpairs){0};
    for (size_t r = 0; status == GM_OK && r < rounds; r++) {
        gm_progress progress;
        gm_eigen found = {0};
        gm_progress_start(&progress, "eigenpairs", "products", 0, 0, bench->quiet);
        status = solve(bench, bench->lin, &progress, false, 0, NULL, &found, time + r, err);
        gm_progress_finish(&progress);
        if (status == GM_OK && r == 0) status = keep_eigenpairs(&found, out, err);
        gm_eigen_free(&found);
    }
    if (status == GM_OK) out->time = median_round(rounds, time, seconds);
    gm_free(time);
    gm_free(seconds);
    return status;
}

void gm_bench_free_eigenpairs(gm_bench_eigenpairs *result)
{
    gm_free(result->value);
    memset(result, 0, sizeof *result);
}

/* ---- density ---- */

static double identity(double lambda, void *unused)
{
    (void)unused;
    return lambda;
}

gm_status gm_bench_measure_density(const gm_bench *bench, gm_bench_density *out, gm_error *err)
{
    const gm_bench_settings *set = bench->settings;
    gm_progress progress;
    watched w;
    gm_operator op;
    gm_quadrature q = {0};
    gm_quadrature_options options;
    gm_quadrature_options_default(&options);
    options.probes = set->probes;
    options.steps = set->steps;
    options.seed = bench->session->seed;
    gm_progress_start(&progress, "density", "products", 0, set->probes * set->steps, bench->quiet);
    gm_status status = watch_hessian(bench->lin, &progress, &w, &op, err);
    double begin = omp_get_wtime();
    if (status == GM_OK) status = gm_quadrature_make(&op, &options, &q, err);
    double seconds = omp_get_wtime() - begin;
    gm_progress_finish(&progress);
    *out = (gm_bench_density){
        .time = w.time, .probes = q.probes, .steps = q.steps, .min = q.min, .max = q.max};
    out->time.seconds = seconds;
    if (status == GM_OK) status = gm_quadrature_trace(&q, identity, NULL, &out->trace, err);
    if (status == GM_OK) status = gm_quadrature_frobenius(&q, &out->frobenius, err);
    gm_quadrature_free(&q);
    gm_operator_destroy(&w.inner);
    return status;
}

/* ---- dense spectra ---- */

static gm_status one_dense(const gm_bench *bench, double *matrix, double *value, double *seconds,
                           double *eigen_seconds, gm_error *err)
{
    const gm_session *session = bench->session;
    gm_linearization *lin = NULL;
    if (gm_interrupt_requested(NULL)) return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted");
    double start = omp_get_wtime();
    gm_status status = gm_linearize(session->problem, session->theta, &lin, err);
    if (status == GM_OK) {
        status = gm_curvature_dense(lin, GM_HESSIAN, GM_ALL_LAYERS, matrix, err);
    }
    *seconds = omp_get_wtime() - start;
    gm_linearization_free(lin);
    if (status != GM_OK) return status;
    start = omp_get_wtime();
    status = gm_symmetric_eigen(gm_net_parameters(session->net), matrix, 0, 0, value, NULL, err);
    *eigen_seconds = omp_get_wtime() - start;
    return status;
}

gm_status gm_bench_measure_dense(const gm_bench *bench, gm_bench_dense *out, gm_error *err)
{
    const gm_session *session = bench->session;
    size_t p = gm_net_parameters(session->net), rounds = bench->settings->rounds, entries;
    if (!gm_mul_size(p, p, &entries)) {
        return gm_fail(err, GM_ERR_MEMORY, "bench: a matrix of order %zu is too large", p);
    }
    double *matrix = gm_alloc(entries, sizeof *matrix, "matrix", err),
           *value = gm_alloc(p, sizeof *value, "eigenvalues", err),
           *seconds = gm_alloc(rounds, 3 * sizeof *seconds, "bench", err); /* [3, rounds] */
    gm_progress progress;
    gm_status status = matrix && value && seconds ? GM_OK : GM_ERR_MEMORY;
    gm_progress_start(&progress, "dense spectra", "rounds", 0, rounds, bench->quiet);
    for (size_t r = 0; status == GM_OK && r < rounds; r++) {
        status =
            gm_bench_square_speed(session->precision, bench->settings->quick, seconds + r, err);
        if (status != GM_OK) break;
        status =
            one_dense(bench, matrix, value, seconds + rounds + r, seconds + 2 * rounds + r, err);
        gm_progress_update(&progress, r + 1, NULL);
    }
    gm_progress_finish(&progress);
    if (status == GM_OK) {
        double n = (double)session->data->n;
        *out = (gm_bench_dense){.square_speed = gm_bench_median(rounds, seconds),
                                .matrix = gm_bench_median(rounds, seconds + rounds),
                                .eigenvalues = gm_bench_median(rounds, seconds + 2 * rounds),
                                .flops = n * (double)p * (double)p,
                                .products_flops = (double)p * gm_bench_hessian_flops(session),
                                .largest = value[0]};
    }
    gm_free(matrix);
    gm_free(value);
    gm_free(seconds);
    return status;
}

/* ---- a series of checkpoints ---- */

static gm_status linearize_at(const gm_session *session, int64_t step, gm_linearization **lin,
                              gm_error *err)
{
    double *theta = NULL;
    size_t found, p = gm_net_parameters(session->net);
    gm_status status = gm_run_parameters(session->run, step, &theta, &found, NULL, err);
    if (status == GM_OK && found != p) {
        status = gm_fail(err, GM_ERR_INPUT, "%s: step %lld holds %zu parameters, expected %zu",
                         gm_run_path(session->run), (long long)step, found, p);
    }
    if (status == GM_OK) status = gm_linearize(session->problem, theta, lin, err);
    gm_run_free(theta);
    return status;
}

/* Both solvers at one point; past, the pairs found at the point before (none at the first), moves
 * on. */
static gm_status series_point(const gm_bench *bench, gm_eigen *past, gm_bench_point *point,
                              gm_error *err)
{
    gm_linearization *lin = NULL;
    gm_eigen cold = {0}, warm = {0};
    gm_status status = linearize_at(bench->session, point->step, &lin, err);
    if (status == GM_OK) status = solve(bench, lin, NULL, false, 0, NULL, &cold, &point->cold, err);
    if (status == GM_OK && past->count) {
        status = solve(bench, lin, NULL, true, past->count, past->vector, &warm, &point->warm, err);
    }
    if (status == GM_OK) {
        point->cold_converged = cold.converged_count;
        point->warm_converged = warm.converged_count;
        for (size_t i = 0; i < cold.count && i < warm.count; i++) {
            point->difference = fmax(point->difference, fabs(cold.value[i] - warm.value[i]));
        }
        if (cold.scale > 0) point->difference /= cold.scale;
        gm_eigen *next = past->count ? &warm : &cold;
        gm_eigen_free(past);
        *past = *next;
        *next = (gm_eigen){0};
    }
    gm_eigen_free(&cold);
    gm_eigen_free(&warm);
    gm_linearization_free(lin);
    return status;
}

gm_status gm_bench_measure_series(const gm_bench *bench, gm_bench_series *out, gm_error *err)
{
    int64_t *step = NULL;
    size_t count;
    gm_eigen past = {0};
    gm_progress progress;
    gm_status status = gm_run_checkpoints(bench->session->run, &step, &count, err);
    if (status != GM_OK) return status;
    gm_progress_start(&progress, "series", "checkpoints", 0, count, bench->quiet);
    *out = (gm_bench_series){count, gm_alloc(count, sizeof *out->point, "bench", err)};
    if (!out->point) status = GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        out->point[i].step = step[i];
        status = series_point(bench, &past, out->point + i, err);
        gm_progress_update(&progress, i + 1, NULL);
    }
    gm_progress_finish(&progress);
    gm_eigen_free(&past);
    gm_run_free(step);
    return status;
}
