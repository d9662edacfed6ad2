/* A certificate for a fixed posterior from many draws: rounds over all samples, each sample with a
 * draw of the weights to itself. */
#include <math.h>

#include "base/memory.h"
#include "bound/local.h"
#include "bound/posterior.h"

enum { ROWS = 512 };

void gm_certificate_options_default(gm_certificate_options *options)
{
    *options = (gm_certificate_options){.delta = 0.05, .draws_share = 0.1, .rounds = 10};
}

double gm_posterior_clip(const gm_problem *problem, double clip)
{
    return clip > 0.0 ? clip : log(100.0 * (double)gm_net_outputs(gm_problem_net(problem)));
}

gm_status gm_posterior_check(const gm_problem *problem, gm_error *err)
{
    const char *layer = NULL;
    if (gm_local_possible(gm_problem_net(problem), &layer)) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "layer %s: a weight acts more than once on a sample, expected dense layers: "
                   "draws by layer need each weight to act once",
                   layer);
}

static gm_status check(const gm_problem *problem, const gm_certificate_options *o, gm_error *err)
{
    if (!(o->delta > 0.0 && o->delta < 1.0))
        return gm_fail(err, GM_ERR_USAGE, "--delta: found %g, expected a number between 0 and 1",
                       o->delta);
    if (!(o->draws_share > 0.0 && o->draws_share < 1.0))
        return gm_fail(err, GM_ERR_USAGE,
                       "--draws-share: found %g, expected a number between 0 and 1",
                       o->draws_share);
    if (o->rounds < 1) return gm_fail(err, GM_ERR_USAGE, "0 draws for each sample, expected >= 1");
    return gm_posterior_check(problem, err);
}

/* ---- the prior's scale ---- */

/* Divergence at c, the standard deviations of Q held: ratios grow like c^2. work [p]. */
static gm_divergence divergence_at(const gm_gaussians *g, double c, double *work)
{
    double square = (c / g->scale) * (c / g->scale);
    gm_gaussians other = *g;
    gm_divergence d;
    for (size_t j = 0; j < g->size; j++) {
        work[j] = g->ratio[j] * square;
    }
    other.scale = c;
    other.ratio = work;
    gm_gaussian_divergence(&other, &d);
    return d;
}

static gm_status choose_scale(const gm_gaussians *g, bool fixed, gm_certificate *out, gm_error *err)
{
    out->priors = fixed ? 1 : GM_PRIOR_SCALES;
    out->scale = g->scale;
    if (fixed) {
        gm_gaussian_divergence(g, &out->divergence);
        return GM_OK;
    }
    double *work = gm_alloc(g->size, sizeof *work, "posterior precisions", err);
    if (!work) return GM_ERR_MEMORY;
    for (size_t c = 0; c < GM_PRIOR_SCALES; c++) {
        gm_divergence d = divergence_at(g, gm_prior_scale[c], work);
        if (c > 0 && !(d.kl < out->divergence.kl)) continue;
        out->divergence = d;
        out->scale = gm_prior_scale[c];
    }
    gm_free(work);
    return GM_OK;
}

/* ---- draws ---- */

/* Running sums of one loss. */
typedef struct sums {
    double sum, squares;
} sums;

static void add(sums *s, double x)
{
    s->sum += x;
    s->squares += x * x;
}

static gm_certified certify(const gm_certificate *c, const sums *s)
{
    double draws = (double)c->draws, mean = s->sum / draws;
    double variance = fmax(0.0, s->squares / draws - mean * mean);
    gm_certified out = {.mean = mean, .std_error = sqrt(variance / draws)};
    out.upper = gm_kl_inverse_upper(fmin(1.0, mean), -log(c->delta_draws) / draws);
    out.bound = gm_kl_inverse_upper(out.upper, (c->divergence.kl + c->logarithm) / (double)c->n);
    return out;
}

/* Means and variances of Q's weights in the precision of the problem. */
gm_status gm_posterior_native(const gm_problem *problem, const gm_gaussians *g, void **mean,
                              void **variance, gm_error *err)
{
    const gm_kernels *k = problem->engine.k;
    double *work = gm_alloc(g->size, sizeof *work, "posterior", err);
    *mean = gm_alloc(g->size, k->size, "posterior means", err);
    *variance = gm_alloc(g->size, k->size, "posterior variances", err);
    bool complete = work && *mean && *variance;
    if (complete) {
        for (size_t j = 0; j < g->size; j++) {
            double sigma = g->scale * g->unit[j];
            work[j] = sigma * sigma / g->ratio[j];
        }
        k->from_double(g->size, g->theta, *mean);
        k->from_double(g->size, work, *variance);
    }
    gm_free(work);
    return complete ? GM_OK : GM_ERR_MEMORY;
}

static gm_status take_draws(gm_local *l, const void *mean, const void *variance, double clip,
                            const gm_certificate_options *o, gm_certificate *out, sums *error,
                            sums *loss, gm_error *err)
{
    size_t n = out->n, index[ROWS];
    gm_stream stream = gm_stream_of(o->seed, GM_PURPOSE_POSTERIOR, o->run);
    for (size_t at = 0; at < out->draws;) {
        if (o->stop && o->stop(o->context))
            return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted while drawing from the posterior");
        size_t count = out->draws - at < l->rows ? out->draws - at : l->rows;
        for (size_t i = 0; i < count; i++) {
            index[i] = (at + i) % n;
        }
        gm_local_value(l, count, index, mean, variance, stream, (uint64_t)at * l->units);
        for (size_t i = 0; i < count; i++) {
            bool lost = !isfinite(l->loss[i]);
            out->overflowed += lost;
            add(error, lost ? 1.0 : l->wrong[i]);
            add(loss, lost || l->loss[i] > clip ? 1.0 : l->loss[i] / clip);
        }
        at += count;
    }
    return GM_OK;
}

gm_status gm_certificate_measure(gm_problem *problem, const gm_gaussians *g,
                                 const gm_certificate_options *o, gm_certificate *out,
                                 gm_error *err)
{
    *out = (gm_certificate){.n = gm_problem_data(problem)->n};
    gm_status status = check(problem, o, err);
    if (status != GM_OK) return status;
    if (!gm_mul_size(out->n, o->rounds, &out->draws))
        return gm_fail(err, GM_ERR_USAGE, "%zu draws for each of %zu samples overflow", o->rounds,
                       out->n);
    status = choose_scale(g, o->fixed_scale, out, err);
    out->delta_draws = o->delta * o->draws_share;
    out->delta_sample = o->delta * (1.0 - o->draws_share);
    out->logarithm = log(2.0 * sqrt((double)out->n) * (double)out->priors / out->delta_sample);

    gm_local local = {0};
    void *mean = NULL, *variance = NULL;
    sums error = {0}, loss = {0};
    if (status == GM_OK) status = gm_posterior_native(problem, g, &mean, &variance, err);
    if (status == GM_OK) {
        status = gm_local_open(problem, out->draws < ROWS ? out->draws : ROWS, &local, err);
    }
    if (status == GM_OK) {
        status = take_draws(&local, mean, variance, gm_posterior_clip(problem, o->clip), o, out,
                            &error, &loss, err);
    }
    if (status == GM_OK) {
        out->error = certify(out, &error);
        out->clipped = certify(out, &loss);
    }
    gm_local_close(&local);
    gm_free(mean);
    gm_free(variance);
    return status;
}
