#include "cli/bound_optimize.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/interrupt.h"
#include "cli/watcher.h"

/* Draws of start and end, none of them among those of gm_bound_measure. */
enum { START_RUN = 100, END_RUN, TEST_RUN, AFTER_STOP = 20000 /* draws, at least */ };

gm_status gm_bound_optimize_check(const gm_cli *cli, gm_error *err)
{
    static const char *const own[] = {"objective", "optimize-batch", "optimize-step",
                                      "optimize-draws", "optimize-scales"};
    const gm_bound_settings *set = cli->settings;
    if (set->optimize && set->optimize_step > 1.0)
        return gm_fail(err, GM_ERR_USAGE,
                       "--optimize-step: found %g, expected a number above 0 and at most 1",
                       set->optimize_step);
    if (set->optimize && gm_session_asks_all(cli->shared.params))
        return gm_fail(err, GM_ERR_USAGE,
                       "--optimize: found it with @all, expected one checkpoint, run.gmr@STEP");
    for (size_t i = 0; !set->optimize && i < sizeof own / sizeof *own; i++) {
        if (gm_cli_given(cli, own[i]))
            return gm_fail(err, GM_ERR_USAGE, "--%s: expected with --optimize only", own[i]);
    }
    return GM_OK;
}

gm_status gm_bound_optimize_check_loss(const gm_cli *cli, gm_loss loss, gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    if (!set->optimize || loss == GM_LOSS_CROSS_ENTROPY) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--optimize: found --loss squared, expected cross_entropy: its gradient is what "
                   "the steps go by");
}

/* ---- the work ---- */

static gm_certificate_options certificate_options(const gm_cli *cli, const gm_bound_run *run,
                                                  uint32_t number)
{
    const gm_bound_settings *set = cli->settings;
    gm_certificate_options o;
    gm_certificate_options_default(&o);
    o.delta = run->options.delta;
    o.draws_share = run->options.draws_share;
    o.rounds = set->rounds;
    o.clip = run->options.gibbs.clip;
    o.fixed_scale = run->options.prior_scale > 0.0;
    o.seed = run->options.gibbs.seed;
    o.run = number;
    o.stop = gm_interrupt_requested;
    return o;
}

/* Gibbs test error of g by few draws. */
static gm_status test_error(gm_session *session, const gm_gaussians *g,
                            const gm_certificate_options *like, double *error, gm_error *err)
{
    *error = (double)NAN;
    if (!session->test) return GM_OK;
    gm_certificate c;
    gm_certificate_options o = *like;
    o.rounds = 1;
    o.run = TEST_RUN;
    gm_status status = gm_certificate_measure(session->test_problem, g, &o, &c, err);
    if (status == GM_OK) *error = c.error.mean;
    return status;
}

/* The posterior in *out by fresh draws. After Ctrl-C a posterior that was begun is certified all
 * the same, by one draw for each sample. */
static gm_status certify(gm_cli *cli, gm_session *session, const gm_bound_run *run,
                         const gm_optimized *out, uint32_t number, bool asked,
                         gm_certificate *certificate, double *test, gm_error *err)
{
    const gm_gaussians g = {
        run->bound.parameters, run->origin.theta0, out->unit, out->scale, out->theta, out->ratio};
    gm_certificate_options o = certificate_options(cli, run, number);
    o.cost = out->result.cost;
    if (asked) {
        o.stop = NULL;
        o.rounds = 1 + AFTER_STOP / run->bound.n;
    }
    gm_status status = gm_certificate_measure(session->problem, &g, &o, certificate, err);
    return status == GM_OK ? test_error(session, &g, &o, test, err) : status;
}

/* What the optimizer calls between its steps. */
typedef struct descent {
    gm_watcher watch;
    const gm_team *team;
} descent;

static bool stop_descent(void *context)
{
    return gm_interrupt_agreed((void *)((descent *)context)->team);
}

static void show_descent(void *context, uint64_t t, uint64_t steps, double value)
{
    gm_watcher_show(&((descent *)context)->watch, t, steps, value);
}

static gm_status optimize(gm_cli *cli, gm_session *session, const gm_bound_run *run,
                          gm_optimized *out, gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    descent own = {{"posterior", "objective", .quiet = cli->shared.quiet}, session->team};
    gm_optimize_options o;
    gm_optimize_options_default(&o);
    o.objective = out->objective = set->objective;
    o.steps = set->optimize;
    o.batch = out->batch = set->optimize_batch;
    o.step = out->step = set->optimize_step;
    out->learned = set->optimize_scales == GM_SCALES_LEARNED ||
                   (set->optimize_scales == GM_SCALES_AUTO &&
                    gm_posterior_scales_pay(session->net, run->bound.n));
    o.learned = out->learned ? out->unit : NULL;
    o.grid = run->bound.priors;
    o.delta = run->bound.delta_sample;
    o.seed = run->options.gibbs.seed;
    o.context = &own;
    o.stop = stop_descent;
    o.progress = show_descent;
    gm_status status =
        gm_posterior_optimize(session->problem, run->origin.theta0, run->bound.unit, out->scale, &o,
                              out->theta, out->ratio, &out->result, err);
    gm_watcher_finish(&own.watch);
    return status;
}

/* The same posterior relative to the prior of the certificate's c. */
static void take_scale(gm_optimized *out, size_t p)
{
    double by = out->end.scale / out->scale;
    for (size_t j = 0; j < p; j++) {
        out->ratio[j] *= by * by;
    }
    out->scale = out->end.scale;
}

gm_status gm_bound_optimize(gm_cli *cli, gm_session *session, const gm_bound_run *run,
                            gm_optimized *out, gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    const gm_bound *b = &run->bound;
    *out = (gm_optimized){0};
    if (!set->optimize) return GM_OK;
    size_t p = b->parameters;
    out->scale = b->best.prior_scale;
    out->clip = b->best.gibbs.clip;
    out->theta = gm_alloc(p, sizeof *out->theta, "posterior means", err);
    out->ratio = gm_alloc(p, sizeof *out->ratio, "posterior precisions", err);
    out->unit = gm_alloc(p, sizeof *out->unit, "prior scales", err);
    if (!out->theta || !out->ratio || !out->unit) return GM_ERR_MEMORY;
    memcpy(out->theta, session->theta, p * sizeof *out->theta);
    memcpy(out->ratio, b->ratio, p * sizeof *out->ratio);
    memcpy(out->unit, b->unit, p * sizeof *out->unit);
    gm_status status =
        certify(cli, session, run, out, START_RUN, false, &out->start, &out->test_start, err);
    if (status == GM_OK) status = optimize(cli, session, run, out, err);
    bool cut = out->result.steps < set->optimize && !out->result.diverged;
    if (status == GM_OK && cut && !out->result.steps)
        status = gm_fail(err, GM_ERR_INTERRUPTED, "interrupted");
    if (status == GM_OK && out->result.diverged)
        gm_cli_note(cli,
                    "the optimization met numbers that are not finite and ended after %" PRIu64
                    " steps; --optimize-step below %g may help",
                    out->result.steps, out->step);
    if (status == GM_OK) {
        bool asked = gm_interrupt_agreed((void *)session->team);
        status = certify(cli, session, run, out, END_RUN, asked, &out->end, &out->test_end, err);
    }
    if (status == GM_OK) take_scale(out, p);
    out->made = status == GM_OK;
    if (status == GM_OK && cut) status = gm_fail(err, GM_ERR_INTERRUPTED, "interrupted");
    return status;
}

void gm_optimized_free(gm_optimized *out)
{
    gm_free(out->theta);
    gm_free(out->ratio);
    gm_free(out->unit);
    *out = (gm_optimized){0};
}

/* ---- results ---- */

static json_t *certified(gm_cli *cli, const gm_certificate *c, const gm_certified *v)
{
    json_t *o = json_object();
    json_object_set_new(o, "train", gm_json_number(cli, "Gibbs loss", v->mean));
    json_object_set_new(o, "train_stderr", gm_json_number(cli, "its error", v->std_error));
    json_object_set_new(o, "upper", gm_json_number(cli, "upper limit", v->upper));
    json_object_set_new(o, "monte_carlo", gm_json_number(cli, "slack", v->upper - v->mean));
    json_object_set_new(o, "bound", gm_json_number(cli, "bound", v->bound));
    json_object_set_new(o, "nonvacuous", json_boolean(gm_bound_nonvacuous(v->bound)));
    json_object_set_new(o, "draws", json_integer((json_int_t)c->draws));
    return o;
}

static json_t *certificate(gm_cli *cli, const gm_certificate *c, double test)
{
    json_t *o = json_object();
    json_object_set_new(o, "kl", gm_json_number(cli, "KL", c->divergence.kl));
    json_object_set_new(
        o, "effective_curvature",
        gm_json_number(cli, "effective curvature", c->divergence.effective_curvature));
    json_object_set_new(o, "distance", gm_json_number(cli, "distance", c->divergence.distance));
    json_object_set_new(o, "prior_scale", json_real(c->scale));
    json_object_set_new(o, "logarithm", json_real(c->logarithm));
    json_object_set_new(o, "overflowed", json_integer((json_int_t)c->overflowed));
    json_object_set_new(o, "error", certified(cli, c, &c->error));
    json_object_set_new(o, "clipped_loss", certified(cli, c, &c->clipped));
    json_object_set_new(o, "test", isnan(test) ? json_null() : json_real(test));
    return o;
}

/* The part of layer l in the divergence at the end. */
static gm_divergence divergence_of(const gm_bound_run *run, const gm_optimized *out,
                                   gm_net_layer layer)
{
    const gm_gaussians g = {
        run->bound.parameters, run->origin.theta0, out->unit, out->scale, out->theta, out->ratio};
    gm_divergence d;
    gm_gaussian_divergence_part(&g, layer.offset, layer.parameters, &d);
    return d;
}

static json_t *layers_value(gm_cli *cli, const gm_session *session, const gm_bound_run *run,
                            const gm_optimized *out)
{
    json_t *list = json_array();
    for (size_t l = 0; l < run->bound.layers; l++) {
        gm_net_layer layer = gm_net_layer_at(session->net, l);
        gm_divergence d = divergence_of(run, out, layer);
        size_t last = layer.offset + layer.parameters - 1;
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(layer.name));
        json_object_set_new(o, "prior_weight", json_real(out->scale * out->unit[layer.offset]));
        json_object_set_new(o, "prior_bias", json_real(out->scale * out->unit[last]));
        json_object_set_new(o, "kl", gm_json_number(cli, "KL", d.kl));
        json_object_set_new(o, "effective_curvature",
                            gm_json_number(cli, "effective curvature", d.effective_curvature));
        json_object_set_new(o, "distance", gm_json_number(cli, "distance", d.distance));
        json_array_append_new(list, o);
    }
    return list;
}

json_t *gm_optimized_value(gm_cli *cli, const gm_session *session, const gm_bound_run *run,
                           const gm_optimized *out)
{
    if (!out->made) return json_null();
    json_t *o = json_object(), *course = json_array();
    for (size_t i = 0; i < out->result.points; i++) {
        const gm_optimize_point *at = &out->result.point[i];
        json_array_append_new(course,
                              json_pack("{s:I, s:f, s:f, s:f, s:f}", "step", (json_int_t)at->step,
                                        "risk", at->risk, "loss", at->loss, "kl", at->kl,
                                        "objective", at->objective));
    }
    json_object_set_new(o, "objective", json_string(gm_objective_name(out->objective)));
    json_object_set_new(o, "steps", json_integer((json_int_t)out->result.steps));
    json_object_set_new(o, "diverged", json_boolean(out->result.diverged));
    json_object_set_new(o, "batch", json_integer((json_int_t)out->batch));
    json_object_set_new(o, "step", json_real(out->step));
    json_object_set_new(o, "clip", json_real(out->clip));
    json_object_set_new(o, "scales", json_string(out->learned ? "learned" : "fixed"));
    json_object_set_new(o, "scales_cost", json_real(out->result.cost));
    json_object_set_new(o, "layers", layers_value(cli, session, run, out));
    json_object_set_new(o, "start", certificate(cli, &out->start, out->test_start));
    json_object_set_new(o, "end", certificate(cli, &out->end, out->test_end));
    json_object_set_new(o, "course", course);
    return o;
}

static void print_line(const char *name, const gm_certificate *c, double test)
{
    printf("  %-22s %9.5g %11.5f %11.5f %9.5f", name, c->divergence.kl, c->error.mean,
           c->error.upper - c->error.mean, c->error.bound);
    if (!isnan(test)) printf(" %9.5f", test);
    putchar('\n');
}

static void print_layers(const gm_session *session, const gm_bound_run *run,
                         const gm_optimized *out)
{
    printf("  %-12s %10s %11s %11s %11s %12s %12s\n", "layer", "parameters", "sigma(W)", "sigma(b)",
           "KL", "curvature", "distance");
    for (size_t l = 0; l < run->bound.layers; l++) {
        gm_net_layer layer = gm_net_layer_at(session->net, l);
        gm_divergence d = divergence_of(run, out, layer);
        size_t last = layer.offset + layer.parameters - 1;
        printf("  %-12s %10zu %11.4g %11.4g %11.5g %12.5g %12.5g\n", layer.name, layer.parameters,
               out->scale * out->unit[layer.offset], out->scale * out->unit[last], d.kl,
               d.effective_curvature, d.distance);
    }
}

void gm_optimized_print(const gm_session *session, const gm_bound_run *run, const gm_optimized *out)
{
    if (!out->made) return;
    const gm_certificate *c = &out->end;
    printf(
        "\noptimized posterior: %" PRIu64
        " steps of natural gradients (batches of %zu, step %g) on "
        "the %s objective,\nfrom the posterior above; both certified in the kl form by %zu fresh "
        "draws, ",
        out->result.steps, out->batch, out->step, gm_objective_name(out->objective), c->draws);
    printf(c->each == 1 ? "one sample each\n" : "of whole nets on %zu samples each\n", c->each);
    printf("  %-22s %9s %11s %11s %9s", "0-1 error", "KL", "Gibbs", "Monte Carlo", "bound");
    printf(isnan(out->test_end) ? "\n" : " %9s\n", "test");
    print_line("from the Hessian", &out->start, out->test_start);
    print_line("optimized", &out->end, out->test_end);
    printf("  optimizing takes %.5f off the bound; each of the two fails with probability at most "
           "%g\n",
           out->start.error.bound - out->end.error.bound, c->delta_sample + c->delta_draws);
    if (out->learned)
        printf("  scales of the prior learned with it, one for each tensor; their union bound adds "
               "%.3g to the logarithm\n",
               out->result.cost);
    print_layers(session, run, out);
}
