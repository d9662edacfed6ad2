/* Runs of SGD on the net itself near a point, against the growth that its linearization predicts
 * (gradiometer/stability.h): ensembles of pairs of runs, one from the point, the other from a small
 * random step away from it, on the same batches. The noise of the gradients at the point moves both
 * alike and drops out of their distance to first order; what is left is what the map is about. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/observe.h"
#include "kernels/gemm.h"

static const double block_bytes = 32.0 * 1024 * 1024; /* of last parameters held at once */

typedef struct pairs {
    gm_problem *problem;
    const double *theta;
    const gm_span *span;
    const gm_stability_runs *options;
    const gm_ensemble_hooks *hooks; /* may be NULL */
    uint64_t done;                  /* steps told */
    double away;                    /* sqrt E |theta_0 - theta*|^2 */
    size_t block;                   /* runs at once */
    uint32_t *number;               /* [block] of the runs in hand */
    double *root;                   /* [etas, k, k] shape^(1/2) */
    double *scatter;                /* [k, p] of the step size in hand */
    double *before, *after;         /* [runs] */
} pairs;

static void pairs_free(pairs *s)
{
    gm_free(s->number);
    gm_free(s->root);
    gm_free(s->scatter);
    gm_free(s->before);
    gm_free(s->after);
}

static bool stop(void *context)
{
    const pairs *s = context;
    return s->hooks->stop && s->hooks->stop(s->hooks->context);
}

static void tell(void *context, uint64_t steps)
{
    const pairs *s = context;
    if (s->hooks->progress) s->hooks->progress(s->hooks->context, s->done + steps);
}

/* Runs first ... first + count - 1 with eta, from the point or scattered about it, to *made. */
static gm_status run_block(pairs *s, double eta, uint32_t first, size_t count, bool scattered,
                           gm_ensemble **made, gm_error *err)
{
    const gm_stability_runs *set = s->options;
    gm_ensemble_hooks hooks = {.context = s, .stop = stop, .progress = tell};
    gm_ensemble_options o;
    gm_ensemble_options_default(&o);
    o.train.batch = set->batch;
    o.train.step = eta;
    o.train.steps = set->horizon;
    o.train.replacement = set->replacement;
    o.train.seed = set->seed;
    o.train.run = first;
    o.runs = o.keeps = count;
    o.record = 1u << GM_QUANTITY_DISTANCE;
    o.keep = s->number;
    o.scatter = scattered ? s->scatter : NULL;
    o.scatters = scattered ? s->span->k : 0;
    for (size_t i = 0; i < count; i++) {
        s->number[i] = first + (uint32_t)i;
    }
    gm_status status = gm_ensemble_create(s->problem, NULL, &o, s->theta, made, err);
    if (status == GM_OK) status = gm_ensemble_run(*made, s->hooks ? &hooks : NULL, err);
    if (status == GM_OK && gm_ensemble_done(*made) < count)
        status = gm_fail(err, GM_ERR_INTERRUPTED, "interrupted; nothing was recorded");
    s->done += count * set->horizon;
    return status;
}

/* |theta_0 - theta*|^2 of run number `run`: its start is scattered by the rows of scatter. */
static double start_square(const pairs *s, uint32_t run)
{
    size_t k = s->span->k, p = s->span->p;
    double z[GM_SPAN_MOST], square = 0.0;
    gm_ensemble_scatter_draw(s->options->seed, run, k, z);
    for (size_t i = 0; i < p; i++) {
        double x = 0.0;
        for (size_t a = 0; a < k; a++) {
            x += z[a] * s->scatter[a * p + i];
        }
        square += x * x;
    }
    return square;
}

static gm_status observe_block(pairs *s, double eta, size_t from, size_t count,
                               gm_stability_seen *seen, gm_error *err)
{
    gm_ensemble *own = NULL, *away = NULL;
    uint32_t first = 1 + (uint32_t)from; /* run 0 has the batches of a training of this seed */
    gm_status status = run_block(s, eta, first, count, false, &own, err);
    if (status == GM_OK) status = run_block(s, eta, first, count, true, &away, err);
    for (size_t r = 0; status == GM_OK && r < count; r++) {
        const double *x = gm_ensemble_kept_theta(own, r), *y = gm_ensemble_kept_theta(away, r);
        double square = 0.0;
        for (size_t i = 0; i < s->span->p; i++) {
            square += (y[i] - x[i]) * (y[i] - x[i]);
        }
        if (!isfinite(square)) square = (double)INFINITY; /* one of the two diverged */
        s->before[from + r] = start_square(s, first + (uint32_t)r);
        s->after[from + r] = square;
        seen->grew += square > s->before[from + r];
        seen->infinite += isinf(square) ? 1 : 0;
    }
    gm_ensemble_free(own);
    gm_ensemble_free(away);
    return status;
}

static gm_status prepare(pairs *s, gm_stability_seen *seen, gm_error *err)
{
    const gm_stability_runs *set = s->options;
    size_t k = s->span->k, p = s->span->p;
    double norm = 0.0;
    for (size_t i = 0; i < p; i++) {
        norm += s->theta[i] * s->theta[i];
    }
    s->away = set->away * (norm > 0.0 ? sqrt(norm) : 1.0);
    double most = fmax(1.0, block_bytes / (2.0 * sizeof(double) * (double)p));
    s->block = most < (double)set->runs ? (size_t)most : set->runs;
    s->number = gm_alloc(s->block, sizeof *s->number, "numbers of the runs", err);
    s->root = gm_alloc(set->etas * k * k, sizeof *s->root, "starts of the runs", err);
    s->scatter = gm_alloc(k * p, sizeof *s->scatter, "starts of the runs", err);
    s->before = gm_alloc(set->runs, sizeof *s->before, "distances of the runs", err);
    s->after = gm_alloc(set->runs, sizeof *s->after, "distances of the runs", err);
    bool made = s->number && s->root && s->scatter && s->before && s->after;
    return made ? gm_observe_roots(s->span, set, s->root, seen, err) : GM_ERR_MEMORY;
}

gm_status gm_stability_observe_net(gm_problem *problem, const double *theta, const gm_span *span,
                                   const gm_stability_runs *options, const gm_ensemble_hooks *hooks,
                                   gm_stability_seen *seen, gm_error *err)
{
    gm_status status = gm_observe_check(options, span->n, err);
    if (status != GM_OK) return status;
    pairs s = {
        .problem = problem, .theta = theta, .span = span, .options = options, .hooks = hooks};
    size_t k = span->k, p = span->p;
    memset(seen, 0, options->etas * sizeof *seen);
    status = prepare(&s, seen, err);
    for (size_t e = 0; status == GM_OK && e < options->etas; e++) {
        gm_gemm_f64(false, false, k, p, k, s.away, s.root + e * k * k, k, span->vector, p, 0.0,
                    s.scatter, p);
        for (size_t from = 0; status == GM_OK && from < options->runs; from += s.block) {
            size_t left = options->runs - from, count = left < s.block ? left : s.block;
            status = observe_block(&s, options->eta[e], from, count, &seen[e], err);
        }
        if (status == GM_OK) gm_observe_summarize(options->runs, s.before, s.after, &seen[e]);
    }
    pairs_free(&s);
    return status;
}
