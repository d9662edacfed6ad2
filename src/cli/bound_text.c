/* gradiometer bound: the readable form. */
#include <math.h>
#include <stdio.h>

#include "cli/bound.h"

static void print_learned(const gm_bound_origin *origin)
{
    if (!origin->learned) return;
    printf(
        "learned    the prior's mean was trained on %lld samples; n and all below are those of the "
        "%lld others\n",
        (long long)json_integer_value(json_object_get(origin->learned, "seen")),
        (long long)json_integer_value(json_object_get(origin->learned, "rest")));
}

static void print_gaussians(const gm_session *session, const gm_bound_run *run)
{
    const gm_bound *b = &run->bound;
    printf("\n");
    print_learned(&run->origin);
    printf("prior      around %s; sigma = c rms(W), c = %g", run->origin.point,
           b->best.prior_scale);
    printf(b->priors > 1 ? ", one of %zu\n" : ", given\n", b->priors);
    printf("posterior  around %s; nu = max(lambda H_jj, 1/sigma^2), lambda = %g", session->point,
           b->best.posterior_scale);
    printf(" = %.4g n\n", b->best.posterior_scale / (double)b->n);
    if (b->diagonal_error) {
        printf("           diag H by %zu products: KL to about %.2g, valid whatever that is; ",
               b->diagonal_products, b->divergence_error);
    } else {
        printf("           diag H exact; ");
    }
    printf("%zu of %zu entries below 0 (there nu = 1/sigma^2)\n", b->negative, b->parameters);
    printf("\n  %-12s %10s %11s %11s %12s %12s %10s\n", "layer", "parameters", "sigma(W)", "KL",
           "curvature", "distance", "narrower");
    for (size_t l = 0; l < b->layers; l++) {
        gm_net_layer layer = gm_net_layer_at(session->net, l);
        const gm_divergence *d = &b->layer[l].divergence;
        printf("  %-12s %10zu %11.4g %11.5g %12.5g %12.5g %10zu\n", layer.name, layer.parameters,
               b->layer[l].prior_weight, d->kl, d->effective_curvature, d->distance, d->active);
    }
    const gm_divergence *d = &b->best.divergence;
    printf("  %-12s %10zu %11s %11.5g %12.5g %12.5g %10zu\n", "all", b->parameters, "", d->kl,
           d->effective_curvature, d->distance, d->active);
    printf("  KL <= (curvature + distance) / 2 = %.5g; narrower: coordinates with lambda H_jj > "
           "1/sigma^2\n",
           0.5 * (d->effective_curvature + d->distance));
}

static void print_budget(const char *name, const gm_bound_value *v)
{
    printf("  %-34s %10.5f %10.5f\n", name, v->train.mean, v->bound);
    printf("    = %.5f empirical + %.5f Monte Carlo + %.5f KL/n + %.5f logarithm\n", v->empirical,
           v->monte_carlo, v->divergence, v->logarithm);
    if (v->catoni.beta > 0.0) {
        printf("    Catoni with beta = %.4g; its linear form %.5g L + %.5g (KL + ln)/n = %.5f\n",
               v->catoni.beta, v->catoni.a, v->catoni.b, v->catoni.linear);
    }
}

static void print_bound(const gm_bound_run *run)
{
    const gm_bound *b = &run->bound;
    const gm_gibbs *g = &b->best.gibbs;
    bool kl = run->options.form == GM_BOUND_KL;
    printf(
        "\nbound on the Gibbs loss, that of a net drawn from the posterior, %s form, fails with "
        "probability at most %g:\n%.6g for the sample and %.6g for the draws%s; logarithm %.4g, KL "
        "%.5g, n = %zu\n",
        kl ? "kl" : "Catoni's", b->delta, b->delta_sample, b->delta_draws,
        b->has_plain && !b->plain_is_best ? " of each lambda" : "", b->logarithm,
        b->best.divergence.kl, b->n);
    printf("  %-34s %10s %10s\n", "", "training", "bound");
    print_budget("0-1 error", &b->best.error);
    char name[64];
    snprintf(name, sizeof name, "loss, min(l, %.4g)/%.4g", g->clip, g->clip);
    print_budget(name, &b->best.clipped);
    if (b->has_plain && !b->plain_is_best) {
        snprintf(name, sizeof name, "0-1 error, lambda = 1 (c = %g)", b->plain.prior_scale);
        print_budget(name, &b->plain.error);
    }
    if (g->by_layer) {
        printf("  %zu draws by layer, each on one sample", g->draws);
    } else {
        printf("  %zu draws on %zu block%s of the data", g->draws, g->blocks,
               g->blocks > 1 ? "s" : "");
    }
    printf("; Gibbs training error %.5f +- %.1g, with probability 1 - delta' at most %.5f\n",
           b->best.error.train.mean, b->best.error.train.std_error, b->best.error.upper);
    if (g->overflowed) {
        printf("  %zu draws had logits beyond the range of numbers: counted as wrong\n",
               g->overflowed);
    }
}

static void print_verdict(const gm_session *session, const gm_bound_run *run)
{
    const gm_bound_value *v = &run->bound.best.error;
    printf("\n%s: the bound on the 0-1 error is %.5f%s\n",
           gm_bound_nonvacuous(v->bound) ? "non-vacuous" : "vacuous", v->bound,
           gm_bound_nonvacuous(v->bound) ? ", below 1" : ", which says nothing");
    for (size_t i = 0; i < run->origin.reasons; i++) {
        printf("BOUND NOT VALID: %s\n", run->origin.reason[i]);
    }
    printf("  training error   Gibbs %.5f   deterministic net %.5f (not what the bound is on)\n",
           v->train.mean, run->error);
    if (!run->tested) return;
    printf("  test error       Gibbs %.5f   deterministic net %.5f\n", run->test.error.mean,
           run->test_error);
    if (session->test->random_labels > 0.0) {
        printf("  test labels were redrawn with probability %g, as the training labels were: the "
               "bound is on that distribution\n",
               session->test->random_labels);
    }
}

static void print_measures(const gm_bound_run *run)
{
    printf("\n  %-14s %14s %10s  %-9s %s\n", "measure", "value", "error", "re-scaled", "");
    for (int i = 0; i < GM_MEASURES; i++) {
        const gm_measure_kind *kind = &gm_measure_kinds[i];
        if (isnan(run->measures.value[i])) continue;
        char error[32] = "";
        if (run->measures.error[i] > 0.0)
            snprintf(error, sizeof error, "%.2g", run->measures.error[i]);
        printf("  %-14s %14.6g %10s  %-9s %s\n", kind->name, run->measures.value[i], error,
               kind->invariant ? "stays" : "changes", kind->definition);
    }
}

void gm_bound_print(const gm_session *session, const gm_bound_run *run)
{
    gm_document_describe(session);
    print_gaussians(session, run);
    print_bound(run);
    print_verdict(session, run);
    if (run->measured) print_measures(run);
    if (run->check.made) {
        printf(
            "\nre-scaled at random by factors up to %g (%zu samples): KL and its terms change by "
            "at most %.2g\n",
            run->check.magnitude, run->check.samples, run->check.change);
    }
}
