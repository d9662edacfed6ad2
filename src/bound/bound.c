/* The bound of a trained net: choice of prior and posterior scale, and the certificate (theory
 * section 4).
 *
 *   1  h = diag H at theta; unit scales of the prior from theta_0
 *   2  KL for every pair (c, lambda)
 *   3  pairs in ascending order of KL: a few draws each, until KL alone rules the rest out
 *   4  fresh draws for the best pair and for the best pair with lambda = 1: upper limit, bound
 *
 * The draws of 3 belong to another stream than those of 4, so that the choice does not spoil the
 * estimate; that both results of 4 hold at once costs a factor two in delta'. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "bound/diagonal.h"
#include "bound/gibbs.h"
#include "net/net.h"

enum { LAMBDAS = 6, PAIRS = LAMBDAS * GM_PRIOR_SCALES, TRIAL_RUN = 1 };

void gm_bound_options_default(gm_bound_options *options)
{
    *options = (gm_bound_options){
        .delta = 0.05, .draws_share = 0.1, .form = GM_BOUND_KL, .trial_draws = 16};
    gm_gibbs_options_default(&options->gibbs);
}

void gm_bound_free(gm_bound *bound)
{
    gm_free(bound->layer);
    gm_free(bound->diagonal);
    gm_free(bound->diagonal_error);
    gm_free(bound->unit);
    gm_free(bound->ratio);
    memset(bound, 0, sizeof *bound);
}

static gm_status check(const gm_bound_options *o, gm_error *err)
{
    if (!(o->delta > 0.0 && o->delta < 1.0)) {
        return gm_fail(err, GM_ERR_USAGE, "--delta: found %g, expected a number between 0 and 1",
                       o->delta);
    }
    if (!(o->draws_share > 0.0 && o->draws_share < 1.0)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--draws-share: found %g, expected a number between 0 and 1",
                       o->draws_share);
    }
    if (o->trial_draws == 0) {
        return gm_fail(err, GM_ERR_USAGE, "--trial-draws: found 0, expected >= 1");
    }
    if (o->diagonal_products == 1) {
        return gm_fail(err, GM_ERR_USAGE, "--diagonal-products: found 1, expected at least 2");
    }
    bool scales = o->prior_scale >= 0.0 && isfinite(o->prior_scale) && o->posterior_scale >= 0.0 &&
                  isfinite(o->posterior_scale);
    if (scales) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--prior-scale, --posterior-scale: found %g and %g, expected finite numbers > 0",
                   o->prior_scale, o->posterior_scale);
}

/* What the stages share. */
typedef struct work {
    const gm_bound_options *o;
    gm_bound *b;
    gm_gaussians g; /* scale and the contents of ratio change from pair to pair */
    gm_gibbs_sampler sampler;
    gm_bound_case pair[PAIRS];
    size_t pairs;
} work;

/* ---- 1 and 2 ---- */

/* Entries of diag H below 0 beyond what its errors explain. */
static void count_negative(gm_bound *b, const gm_net *net)
{
    for (size_t l = 0; l < b->layers; l++) {
        gm_net_layer layer = gm_net_layer_at(net, l);
        for (size_t j = layer.offset; j < layer.offset + layer.parameters; j++) {
            double error = b->diagonal_error ? b->diagonal_error[j] : 0.0;
            b->layer[l].negative += b->diagonal[j] + 2.0 * error < 0.0;
        }
        b->negative += b->layer[l].negative;
    }
}

static gm_status prepare(gm_linearization *lin, const double *theta0, work *w, gm_error *err)
{
    gm_bound *b = w->b;
    const gm_problem *problem = gm_linearization_problem(lin);
    const gm_net *net = gm_problem_net(problem);
    b->n = gm_problem_data(problem)->n;
    b->parameters = gm_problem_parameters(problem);
    b->layers = gm_net_layers(net);
    b->diagonal = gm_alloc(b->parameters, sizeof(double), "diagonal of H", err);
    b->unit = gm_alloc(b->parameters, sizeof(double), "prior scales", err);
    b->ratio = gm_alloc(b->parameters, sizeof(double), "posterior precisions", err);
    b->layer = gm_alloc(b->layers, sizeof *b->layer, "layers", err);
    if (!b->diagonal || !b->unit || !b->ratio || !b->layer) return GM_ERR_MEMORY;
    gm_status status = gm_prior_unit(net, theta0, w->o->given, b->unit, err);
    b->diagonal_products = w->o->diagonal_products;
    if (status == GM_OK) {
        status = gm_posterior_diagonal(lin, b->unit, &w->o->gibbs, &b->diagonal_products,
                                       b->diagonal, &b->diagonal_error, err);
    }
    if (status == GM_OK) count_negative(b, net);
    w->g = (gm_gaussians){.size = b->parameters,
                          .theta0 = theta0,
                          .unit = b->unit,
                          .theta = gm_linearization_theta(lin),
                          .ratio = b->ratio};
    return status;
}

/* Makes w->g the Gaussians of one pair. */
static void set_pair(work *w, const gm_bound_case *pair)
{
    w->g.scale = pair->prior_scale;
    gm_posterior_ratio(w->g.size, w->b->diagonal, pair->posterior_scale, w->b->unit, w->g.scale,
                       w->b->ratio);
}

static int by_divergence(const void *a, const void *b)
{
    const gm_bound_case *x = a, *y = b;
    return (x->divergence.kl > y->divergence.kl) - (x->divergence.kl < y->divergence.kl);
}

static void make_pairs(work *w)
{
    static const double times_n[LAMBDAS - 1] = {0.1, 1.0 / 3.0, 1.0, 3.0, 10.0};
    bool all = w->o->posterior_scale == 0.0, grid = w->o->prior_scale == 0.0;
    w->b->priors = grid ? GM_PRIOR_SCALES : 1;
    for (size_t l = 0; l < (all ? LAMBDAS : 1); l++) {
        double lambda = !all     ? w->o->posterior_scale
                        : l == 0 ? 1.0
                                 : times_n[l - 1] * (double)w->b->n;
        for (size_t c = 0; c < w->b->priors; c++) {
            gm_bound_case *pair = &w->pair[w->pairs++];
            pair->posterior_scale = lambda;
            pair->prior_scale = grid ? gm_prior_scale[c] : w->o->prior_scale;
            set_pair(w, pair);
            gm_gaussian_divergence(&w->g, &pair->divergence);
        }
    }
    w->b->cases = w->pairs;
    qsort(w->pair, w->pairs, sizeof *w->pair, by_divergence);
}

/* ---- the bound of one pair ---- */

/* Bound for L_S(Q) <= risk; without: with no logarithm, for the account of the parts. */
static double form_value(const work *w, double risk, double kl, bool without, gm_catoni *catoni)
{
    const gm_bound *b = w->b;
    double delta = without ? 1.0 : b->delta_sample;
    if (w->o->form == GM_BOUND_KL) {
        if (without) return gm_kl_inverse_upper(risk, kl / (double)b->n);
        return gm_bound_kl(risk, kl, b->n, b->priors, delta);
    }
    if (without) {
        gm_catoni part;
        gm_bound_catoni(risk, kl, b->n, 1, delta, catoni->beta, &part);
        return fmin(1.0, part.bound);
    }
    gm_bound_catoni_best(risk, kl, b->n, b->priors, delta, catoni);
    return fmin(1.0, catoni->bound);
}

static void value_of(const work *w, const gm_bound_case *pair, gm_gibbs_mean mean,
                     gm_bound_value *value)
{
    double delta = w->b->delta_draws, kl = pair->divergence.kl;
    *value = (gm_bound_value){.train = mean, .empirical = mean.mean};
    value->lower = gm_gibbs_lower(&pair->gibbs, mean, delta);
    value->upper = gm_gibbs_upper(&pair->gibbs, mean, delta);
    value->bound = form_value(w, value->upper, kl, false, &value->catoni);
    double middle = fmin(value->bound,
                         fmax(value->upper, form_value(w, value->upper, kl, true, &value->catoni)));
    value->monte_carlo = value->upper - value->empirical;
    value->divergence = middle - value->upper;
    value->logarithm = value->bound - middle;
}

/* ---- 3 ---- */

/* The pair with the smallest bound on the 0-1 error, as a few draws tell; lambda > 0: among those
 * with this posterior scale, which some pair has. */
static gm_status choose(work *w, double lambda, const gm_bound_case **chosen, gm_error *err)
{
    double least = (double)INFINITY;
    gm_catoni catoni = {0};
    *chosen = NULL;
    for (size_t i = 0; i < w->pairs; i++) {
        gm_bound_case *pair = &w->pair[i];
        if (lambda > 0.0 && pair->posterior_scale != lambda) continue;
        /* KL only grows from here: not even a perfect net would do better. */
        if (form_value(w, 0.0, pair->divergence.kl, false, &catoni) >= least) break;
        if (pair->gibbs.draws == 0) {
            set_pair(w, pair);
            gm_status status = gm_gibbs_sample(&w->sampler, &w->g, w->o->trial_draws,
                                               w->o->gibbs.run + TRIAL_RUN, &pair->gibbs, err);
            if (status != GM_OK) return status;
            w->b->tried++;
        }
        double risk = fmin(1.0, pair->gibbs.error.mean);
        double bound = form_value(w, risk, pair->divergence.kl, false, &catoni);
        if (bound < least) {
            least = bound;
            *chosen = pair;
        }
    }
    return GM_OK;
}

/* ---- 4 ---- */

static gm_status certify(work *w, const gm_bound_case *pair, gm_bound_case *result, gm_error *err)
{
    *result = *pair;
    set_pair(w, pair);
    gm_status status = gm_gibbs_sample_all(&w->sampler, &w->g, &result->gibbs, err);
    if (status != GM_OK) return status;
    value_of(w, result, result->gibbs.error, &result->error);
    value_of(w, result, result->gibbs.clipped, &result->clipped);
    return GM_OK;
}

static void take_layers(const work *w, const gm_net *net)
{
    for (size_t l = 0; l < w->b->layers; l++) {
        gm_net_layer layer = gm_net_layer_at(net, l);
        gm_bound_layer *out = &w->b->layer[l];
        size_t last = layer.offset + layer.parameters - 1;
        out->prior_weight = w->g.scale * w->g.unit[layer.offset];
        out->prior_bias = w->g.scale * w->g.unit[last];
        gm_gaussian_divergence_part(&w->g, layer.offset, layer.parameters, &out->divergence);
    }
}

/* What an estimated diagonal may do to the KL of the best case. Leaves ratio as it was. */
static gm_status take_divergence_error(work *w, gm_error *err)
{
    gm_bound *b = w->b;
    if (!b->diagonal_error) return GM_OK;
    double *shifted = gm_alloc(2 * b->parameters, sizeof *shifted, "shifted diagonals", err);
    if (!shifted) return GM_ERR_MEMORY;
    double *ratio = shifted + b->parameters, kl[2];
    gm_gaussians g = w->g;
    g.ratio = ratio;
    for (int side = 0; side < 2; side++) {
        gm_divergence d;
        for (size_t j = 0; j < b->parameters; j++) {
            shifted[j] = b->diagonal[j] + (side ? 1.0 : -1.0) * b->diagonal_error[j];
        }
        gm_posterior_ratio(g.size, shifted, b->best.posterior_scale, g.unit, g.scale, ratio);
        gm_gaussian_divergence(&g, &d);
        kl[side] = d.kl;
    }
    b->divergence_error = 0.5 * fabs(kl[1] - kl[0]);
    gm_free(shifted);
    return GM_OK;
}

/* Divides delta: delta_draws for each of the cases, the rest for the sample. */
static void divide_delta(work *w, bool two)
{
    gm_bound *b = w->b;
    b->delta = w->o->delta;
    b->delta_draws = b->delta * w->o->draws_share * (two ? 0.5 : 1.0);
    b->delta_sample = b->delta * (1.0 - w->o->draws_share);
    double grid = (double)b->priors;
    b->logarithm = w->o->form == GM_BOUND_KL
                       ? log(2.0 * sqrt((double)b->n) * grid / b->delta_sample)
                       : log(grid * GM_CATONI_BETAS / b->delta_sample);
}

static gm_status choose_and_certify(work *w, gm_error *err)
{
    gm_bound *b = w->b;
    const gm_bound_case *best, *plain = NULL;
    divide_delta(w, false);
    gm_status status = choose(w, 0.0, &best, err);
    if (status == GM_OK && (w->o->posterior_scale == 0.0 || w->o->posterior_scale == 1.0)) {
        status = choose(w, 1.0, &plain, err);
    }
    if (status != GM_OK) return status;
    b->has_plain = plain != NULL;
    b->plain_is_best = plain == best;
    divide_delta(w, b->has_plain && !b->plain_is_best);
    if (b->has_plain && !b->plain_is_best) status = certify(w, plain, &b->plain, err);
    if (status == GM_OK) status = certify(w, best, &b->best, err);
    if (b->plain_is_best) b->plain = b->best;
    return status;
}

gm_status gm_bound_measure(gm_linearization *lin, const double *theta0,
                           const gm_bound_options *options, gm_bound *bound, gm_error *err)
{
    work w = {.o = options, .b = bound};
    *bound = (gm_bound){0};
    gm_status status = check(options, err);
    if (status == GM_OK) status = prepare(lin, theta0, &w, err);
    if (status == GM_OK) {
        status =
            gm_gibbs_sampler_open(gm_linearization_problem(lin), &options->gibbs, &w.sampler, err);
    }
    if (status == GM_OK) {
        make_pairs(&w);
        status = choose_and_certify(&w, err);
    }
    if (status == GM_OK) take_layers(&w, gm_problem_net(gm_linearization_problem(lin)));
    if (status == GM_OK) status = take_divergence_error(&w, err);
    gm_gibbs_sampler_close(&w.sampler);
    if (status != GM_OK) gm_bound_free(bound);
    return status;
}
