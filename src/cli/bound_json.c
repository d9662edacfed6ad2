/* gradiometer bound: the document. */
#include <math.h>
#include <stdio.h>

#include "cli/bound.h"

enum { BINS = 150 };
static const double decades = 15.0; /* the histogram reaches from 10^-15 to 10^15 */

static json_t *divergence(gm_cli *cli, const gm_divergence *d)
{
    json_t *o = json_object();
    json_object_set_new(o, "kl", gm_json_number(cli, "KL", d->kl));
    json_object_set_new(o, "effective_curvature",
                        gm_json_number(cli, "effective curvature", d->effective_curvature));
    json_object_set_new(o, "distance", gm_json_number(cli, "distance", d->distance));
    json_object_set_new(o, "active", json_integer((json_int_t)d->active));
    return o;
}

static json_t *budget(const gm_bound_value *v)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "empirical", v->empirical, "monte_carlo",
                     v->monte_carlo, "kl", v->divergence, "logarithm", v->logarithm);
}

static json_t *mean_of(gm_cli *cli, const gm_gibbs *g, gm_gibbs_mean m, const char *name)
{
    json_t *o = json_object();
    char error[32];
    snprintf(error, sizeof error, "%s_stderr", name);
    json_object_set_new(o, name, json_real(m.mean));
    json_object_set_new(o, error, gm_json_number(cli, error, m.std_error));
    json_object_set_new(o, "draws", json_integer((json_int_t)g->draws));
    json_object_set_new(o, "by_layer", json_boolean(g->by_layer));
    json_object_set_new(o, "blocks", json_integer((json_int_t)g->blocks));
    json_object_set_new(o, "overflowed", json_integer((json_int_t)g->overflowed));
    return o;
}

static json_t *catoni_of(const gm_catoni *c)
{
    if (c->beta == 0.0) return json_null();
    return json_pack("{s:f, s:f, s:f, s:f}", "beta", c->beta, "a", c->a, "b", c->b, "linear",
                     c->linear);
}

/* Gibbs loss and bound of one loss. */
static void add_value(gm_cli *cli, json_t *to, const gm_gibbs *g, const gm_bound_value *v)
{
    json_t *gibbs = mean_of(cli, g, v->train, "train");
    json_object_set_new(gibbs, "lower", json_real(v->lower));
    json_object_set_new(gibbs, "upper", json_real(v->upper));
    json_object_set_new(to, "gibbs", gibbs);
    json_object_set_new(to, "bound", json_real(v->bound));
    json_object_set_new(to, "nonvacuous", json_boolean(gm_bound_nonvacuous(v->bound)));
    json_object_set_new(to, "budget", budget(v));
    json_object_set_new(to, "catoni", catoni_of(&v->catoni));
}

static json_t *layers(gm_cli *cli, const gm_session *session, const gm_bound *b)
{
    json_t *list = json_array();
    for (size_t l = 0; l < b->layers; l++) {
        gm_net_layer layer = gm_net_layer_at(session->net, l);
        json_t *o = divergence(cli, &b->layer[l].divergence);
        json_object_set_new(o, "name", gm_json_text(layer.name));
        json_object_set_new(o, "parameters", json_integer((json_int_t)layer.parameters));
        json_object_set_new(o, "negative", json_integer((json_int_t)b->layer[l].negative));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *prior(const gm_session *session, const gm_bound_run *run)
{
    const gm_bound *b = &run->bound;
    json_t *per_layer = json_array();
    for (size_t l = 0; l < b->layers; l++) {
        json_array_append_new(per_layer,
                              json_pack("{s:s, s:f, s:f}", "name",
                                        gm_net_layer_at(session->net, l).name, "weight",
                                        b->layer[l].prior_weight, "bias", b->layer[l].prior_bias));
    }
    return json_pack("{s:f, s:o, s:i, s:s}", "scale", b->best.prior_scale, "per_layer", per_layer,
                     "candidates", (int)b->priors, "initialization", run->origin.point);
}

/* Counts of lambda H_jj sigma_j^2 by its decimal logarithm: the posterior is narrower than the
 * prior where it exceeds 1. */
static json_t *histogram(const gm_bound *b)
{
    json_int_t count[BINS] = {0}, zero = 0;
    for (size_t j = 0; j < b->parameters; j++) {
        double sigma = b->best.prior_scale * b->unit[j];
        double r = b->best.posterior_scale * b->diagonal[j] * sigma * sigma;
        if (!(r > 0.0)) {
            zero++;
            continue;
        }
        double place = (log10(r) + decades) / (2.0 * decades) * BINS;
        count[place < 0.0 ? 0 : place >= BINS ? BINS - 1 : (int)place]++;
    }
    json_t *edges = json_array(), *counts = json_array();
    for (int i = 0; i <= BINS; i++) {
        json_array_append_new(edges, json_real(2.0 * decades * i / BINS - decades));
    }
    for (int i = 0; i < BINS; i++) {
        json_array_append_new(counts, json_integer(count[i]));
    }
    return json_pack("{s:o, s:o, s:I}", "log10_edges", edges, "counts", counts, "not_positive",
                     zero);
}

static json_t *posterior(const gm_bound *b)
{
    return json_pack("{s:f, s:I, s:I, s:o}", "scale", b->best.posterior_scale, "cases",
                     (json_int_t)b->cases, "tried", (json_int_t)b->tried, "histogram",
                     histogram(b));
}

static json_t *diagonal(gm_cli *cli, const gm_bound *b)
{
    double least = (double)INFINITY, most = -(double)INFINITY;
    for (size_t j = 0; j < b->parameters; j++) {
        least = fmin(least, b->diagonal[j]);
        most = fmax(most, b->diagonal[j]);
    }
    json_t *o = json_object();
    json_object_set_new(o, "exact", json_boolean(!b->diagonal_error));
    json_object_set_new(o, "products", json_integer((json_int_t)b->diagonal_products));
    json_object_set_new(o, "kl_error", gm_json_number(cli, "kl_error", b->divergence_error));
    json_object_set_new(o, "min", gm_json_number(cli, "diag H", least));
    json_object_set_new(o, "max", gm_json_number(cli, "diag H", most));
    json_object_set_new(o, "negative", json_integer((json_int_t)b->negative));
    return o;
}

static json_t *plain_case(gm_cli *cli, const gm_bound *b)
{
    if (!b->has_plain) return json_null();
    json_t *o = divergence(cli, &b->plain.divergence);
    json_object_set_new(o, "prior_scale", json_real(b->plain.prior_scale));
    json_object_set_new(o, "posterior_scale", json_real(b->plain.posterior_scale));
    add_value(cli, o, &b->plain.gibbs, &b->plain.error);
    return o;
}

json_t *gm_bound_measures(gm_cli *cli, const gm_measures *m, double radius)
{
    json_t *all = json_object();
    for (int i = 0; i < GM_MEASURES; i++) {
        const gm_measure_kind *kind = &gm_measure_kinds[i];
        json_t *o = json_object();
        /* not asked for, or without an error bar: no notice for each */
        json_object_set_new(o, "value",
                            isfinite(m->value[i]) ? json_real(m->value[i])
                            : isnan(m->value[i])  ? json_null()
                                                  : gm_json_number(cli, kind->name, m->value[i]));
        json_object_set_new(o, "stderr",
                            isfinite(m->error[i]) ? json_real(m->error[i]) : json_null());
        json_object_set_new(o, "invariant", json_boolean(kind->invariant));
        json_object_set_new(o, "definition", json_string(kind->definition));
        json_object_set_new(o, "reference", json_string(kind->reference));
        if (i == GM_MEASURE_SHARPNESS) json_object_set_new(o, "radius", json_real(radius));
        json_object_set_new(all, kind->name, o);
    }
    json_t *q = json_object();
    json_object_set_new(q, "levels",
                        gm_json_numbers(cli, "levels", GM_MARGIN_LEVELS, gm_margin_level));
    json_object_set_new(q, "values", gm_json_numbers(cli, "margins", GM_MARGIN_LEVELS, m->margin));
    json_object_set_new(all, "margin_quantiles", q);
    return all;
}

static json_t *rescaling(gm_cli *cli, const gm_bound_check *check)
{
    if (!check->made) return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "max_relative_change",
                        gm_json_number(cli, "max_relative_change", check->change));
    json_object_set_new(o, "magnitude", json_real(check->magnitude));
    json_object_set_new(o, "samples", json_integer((json_int_t)check->samples));
    return o;
}

static json_t *reasons(const gm_bound_origin *origin)
{
    json_t *list = json_array();
    for (size_t i = 0; i < origin->reasons; i++) {
        json_array_append_new(list, gm_json_text(origin->reason[i]));
    }
    return list;
}

json_t *gm_bound_document(gm_cli *cli, const gm_session *session, const gm_bound_run *run,
                          gm_error *err)
{
    const gm_bound *b = &run->bound;
    json_t *d = gm_document_create(cli, session, err);
    if (!d) return NULL;
    json_t *terms = divergence(cli, &b->best.divergence);
    json_object_update(d, terms);
    json_decref(terms);
    json_object_set_new(d, "form", json_string(run->options.form == GM_BOUND_KL ? "kl" : "linear"));
    add_value(cli, d, &b->best.gibbs, &b->best.error);
    json_t *gibbs = json_object_get(d, "gibbs");
    if (run->tested) {
        json_object_set_new(gibbs, "test", json_real(run->test.error.mean));
        json_object_set_new(gibbs, "test_stderr",
                            gm_json_number(cli, "test_stderr", run->test.error.std_error));
        json_object_set_new(gibbs, "test_draws", json_integer((json_int_t)run->test.draws));
    }
    json_object_set_new(d, "valid", json_boolean(run->origin.reasons == 0));
    json_object_set_new(d, "not_valid_because", reasons(&run->origin));
    json_object_set_new(d, "delta",
                        json_pack("{s:f, s:f, s:f}", "total", b->delta, "sample", b->delta_sample,
                                  "draws", b->delta_draws));
    json_object_set_new(d, "logarithm", json_real(b->logarithm));
    json_t *from = prior(session, run);
    json_object_set(from, "learned", run->origin.learned ? run->origin.learned : json_null());
    json_object_set_new(d, "prior", from);
    json_object_set_new(d, "posterior", posterior(b));
    json_object_set_new(d, "layers", layers(cli, session, b));
    json_object_set_new(d, "diagonal", diagonal(cli, b));
    json_object_set_new(d, "plain", plain_case(cli, b));
    json_t *clipped = json_object();
    json_object_set_new(clipped, "clip", json_real(b->best.gibbs.clip));
    add_value(cli, clipped, &b->best.gibbs, &b->best.clipped);
    json_object_set_new(d, "clipped_loss", clipped);
    json_object_set_new(d, "test_data",
                        session->test ? json_pack("{s:s, s:I}", "name", session->test->name, "n",
                                                  (json_int_t)session->test->n)
                                      : json_null());
    json_object_set_new(d, "training_error", json_real(run->error));
    json_object_set_new(d, "test_error", run->tested ? json_real(run->test_error) : json_null());
    json_object_set_new(d, "measures",
                        run->measured ? gm_bound_measures(cli, &run->measures, run->radius)
                                      : json_null());
    json_object_set_new(d, "rescaling", rescaling(cli, &run->check));
    return d;
}
