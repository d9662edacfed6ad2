/* A certificate for a fixed posterior from many draws: rounds over all samples, each sample with a
 * draw of the weights to itself, or, where weights act more than once on a sample, a few samples
 * with one. */
#include <math.h>

#include "base/memory.h"
#include "bound/local.h"
#include "bound/posterior.h"

enum {
    ROUNDS = 10, /* at least, where nothing is said, */
    DRAWS = 250000,
    BLOCK = 32 /* samples for one draw of whole weights: a pass costs more than the draw */
};

void gm_certificate_options_default(gm_certificate_options *options)
{
    *options = (gm_certificate_options){.delta = 0.05, .draws_share = 0.1};
}

double gm_posterior_clip(const gm_problem *problem, double clip)
{
    return clip > 0.0 ? clip : log(100.0 * (double)gm_net_outputs(gm_problem_net(problem)));
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
    return gm_one_label(problem, err);
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

static gm_certified certify(const gm_certificate *c, const gm_gibbs *gibbs, gm_gibbs_mean m)
{
    gm_certified out = {.mean = m.mean, .std_error = m.std_error};
    out.upper = gm_gibbs_upper(gibbs, m, c->delta_draws);
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

static gm_status take_draws(gm_problem *problem, const gm_gaussians *g, size_t rounds,
                            const gm_certificate_options *o, gm_certificate *out, gm_error *err)
{
    gm_gibbs gibbs;
    size_t block = gm_local_possible(gm_problem_net(problem), NULL) ? 1 : BLOCK, count;
    if (!gm_mul_size((out->n + block - 1) / block, rounds, &count))
        return gm_fail(err, GM_ERR_USAGE, "%zu draws for each of %zu samples overflow", rounds,
                       out->n);
    gm_gibbs_options draws = {.draws = count,
                              .block = block,
                              .clip = o->clip,
                              .seed = o->seed,
                              .run = o->run,
                              .context = o->context,
                              .stop = o->stop};
    gm_status status = gm_gibbs_estimate(problem, g, &draws, &gibbs, err);
    if (status != GM_OK) return status;
    out->draws = gibbs.draws;
    out->each = (out->n + gibbs.blocks - 1) / gibbs.blocks;
    out->overflowed = gibbs.overflowed;
    out->error = certify(out, &gibbs, gibbs.error);
    out->clipped = certify(out, &gibbs, gibbs.clipped);
    return GM_OK;
}

gm_status gm_certificate_measure(gm_problem *problem, const gm_gaussians *g,
                                 const gm_certificate_options *o, gm_certificate *out,
                                 gm_error *err)
{
    *out = (gm_certificate){.n = gm_problem_data(problem)->n};
    gm_status status = check(problem, o, err);
    if (status != GM_OK) return status;
    size_t rounds = o->rounds ? o->rounds : 1 + (DRAWS - 1) / out->n;
    if (!o->rounds && rounds < ROUNDS) rounds = ROUNDS;
    status = choose_scale(g, o->fixed_scale, out, err);
    out->delta_draws = o->delta * o->draws_share;
    out->delta_sample = o->delta * (1.0 - o->draws_share);
    out->logarithm =
        log(2.0 * sqrt((double)out->n) * (double)out->priors / out->delta_sample) + o->cost;
    return status == GM_OK ? take_draws(problem, g, rounds, o, out, err) : status;
}
