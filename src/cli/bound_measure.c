/* gradiometer bound: measures what the document reports. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "bound/diagonal.h"
#include "cli/bound.h"
#include "cli/bound_optimize.h"
#include "cli/interrupt.h"
#include "cli/record.h"

enum { CHECK_SAMPLES = 1000 };
static const double check_magnitude = 1000.0;

/* ---- the invariance, on some of the samples ---- */

/* Divergence at (theta, theta0) on the samples of `problem`, at the scales of the best case. */
static gm_status divergence_at(gm_problem *problem, const double *theta, const double *theta0,
                               const gm_bound_run *run, gm_divergence *d, gm_error *err)
{
    size_t p = gm_problem_parameters(problem);
    const gm_bound_case *best = &run->bound.best;
    gm_linearization *lin = NULL;
    double *work = gm_alloc(3 * p, sizeof *work, "diagonal and scales", err);
    if (!work) return GM_ERR_MEMORY;
    double *h = work, *unit = work + p, *ratio = work + 2 * p;
    gm_status status = gm_linearize(problem, theta, &lin, err);
    if (status == GM_OK) {
        status = gm_prior_unit(gm_problem_net(problem), theta0, run->options.given, unit, err);
    }
    double *error = NULL;
    size_t products = run->options.diagonal_products;
    if (status == GM_OK) {
        status = gm_posterior_diagonal(lin, unit, &run->options.gibbs, &products, h, &error, err);
    }
    gm_free(error);
    if (status == GM_OK) {
        gm_posterior_ratio(p, h, best->posterior_scale, unit, best->prior_scale, ratio);
        const gm_gaussians g = {p, theta0, unit, best->prior_scale, theta, ratio};
        gm_gaussian_divergence(&g, d);
    }
    gm_linearization_free(lin);
    gm_free(work);
    return status;
}

static double largest_change(const gm_divergence *a, const gm_divergence *b)
{
    double change = gm_relative_change(a->kl, b->kl);
    change = fmax(change, gm_relative_change(a->effective_curvature, b->effective_curvature));
    return fmax(change, gm_relative_change(a->distance, b->distance));
}

/* Factors and the two points moved by them; factors of 1 for given layer scales make no sense. */
static gm_status check_on(gm_problem *problem, const gm_session *session, gm_bound_run *run,
                          gm_error *err)
{
    size_t p = gm_problem_parameters(problem);
    gm_divergence before, after;
    double *moved = gm_alloc(3 * p, sizeof *moved, "re-scaled parameters", err);
    if (!moved) return GM_ERR_MEMORY;
    double *moved0 = moved + p, *factor = moved + 2 * p;
    gm_status status =
        gm_rescaling_make(session->net, check_magnitude, session->seed, 0, factor, NULL, err);
    for (size_t j = 0; j < p; j++) {
        moved[j] = factor[j] * session->theta[j];
        moved0[j] = factor[j] * run->origin.theta0[j];
    }
    if (status == GM_OK) {
        status = divergence_at(problem, session->theta, run->origin.theta0, run, &before, err);
    }
    if (status == GM_OK) status = divergence_at(problem, moved, moved0, run, &after, err);
    if (status == GM_OK) {
        run->check.made = true;
        run->check.samples = gm_problem_data(problem)->n;
        run->check.magnitude = check_magnitude;
        run->check.change = largest_change(&after, &before);
    }
    gm_free(moved);
    return status;
}

static gm_status check_invariance(gm_cli *cli, gm_session *session, gm_bound_run *run,
                                  gm_error *err)
{
    if (!gm_net_homogeneous(session->net) || run->options.given) {
        gm_cli_note(cli, run->options.given
                             ? "given layer scales do not move with the layers: re-scaling is not "
                               "tried"
                             : "the net is not positively homogeneous: re-scaling is not tried");
        return GM_OK;
    }
    size_t n = session->data->n, some = n < CHECK_SAMPLES ? n : CHECK_SAMPLES;
    size_t *index = gm_alloc(some, sizeof *index, "samples", err);
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_problem_options o = {.loss = session->loss_kind, .memory = session->shared.memory};
    for (size_t i = 0; index && i < some; i++) {
        index[i] = i;
    }
    gm_status status =
        index ? gm_dataset_select(session->data, some, index, "some", &data, err) : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_problem_create(session->net, data, &o, &problem, err);
    if (status == GM_OK) status = check_on(problem, session, run, err);
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_free(index);
    return status;
}

/* ---- the whole ---- */

static gm_status measure_test(gm_session *session, gm_bound_run *run, gm_error *err)
{
    run->test_error = (double)NAN;
    if (!session->test) return GM_OK;
    if (gm_interrupt_agreed((void *)session->team))
        return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted");
    const gm_bound *b = &run->bound;
    const gm_gaussians g = {b->parameters,       run->origin.theta0, b->unit,
                            b->best.prior_scale, session->theta,     b->ratio};
    gm_status status =
        gm_problem_value(session->test_problem, session->theta, NULL, &run->test_error, err);
    if (status != GM_OK) return status;
    status = gm_gibbs_estimate(session->test_problem, &g, &run->options.gibbs, &run->test, err);
    run->tested = status == GM_OK;
    return status;
}

static gm_status take_measures(gm_linearization *lin, const gm_session *session, gm_bound_run *run,
                               gm_error *err)
{
    const double *exact = run->bound.diagonal_error ? NULL : run->bound.diagonal;
    gm_measure_options o;
    gm_measure_options_default(&o);
    o.products = run->measured_all;
    o.radius = run->radius;
    o.seed = session->seed;
    o.stop = gm_interrupt_agreed;
    o.context = (void *)session->team;
    gm_status status = gm_measures_take(lin, run->origin.theta0, exact, &o, &run->measures, err);
    run->measured = status == GM_OK;
    return status;
}

gm_status gm_bound_take(gm_cli *cli, gm_session *session, gm_bound_run *run, gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    gm_linearization *lin = NULL;
    run->measured = run->tested = run->check.made = false;
    run->measured_all = set->measured == GM_MEASURED_ALL;
    run->radius = set->radius;
    gm_status status = gm_linearize(session->problem, session->theta, &lin, err);
    if (status == GM_OK) {
        gm_session_measure(session, lin);
        run->error = gm_linearization_error_rate(lin);
        status = gm_bound_measure(lin, run->origin.theta0, &run->options, &run->bound, err);
    }
    if (status == GM_OK) {
        gm_cli_note(cli, run->bound.best.gibbs.by_layer
                             ? "the Gibbs loss is from draws by layer, one for each sample"
                             : "the Gibbs loss is from draws of whole weight vectors, each tried "
                               "on a block of samples");
        status = measure_test(session, run, err);
    }
    if (status == GM_OK && set->measured != GM_MEASURED_NONE)
        status = take_measures(lin, session, run, err);
    gm_linearization_free(lin);
    if (status == GM_OK && gm_interrupt_agreed((void *)session->team))
        status = gm_fail(err, GM_ERR_INTERRUPTED, "interrupted");
    return status == GM_OK ? check_invariance(cli, session, run, err) : status;
}

/* The optimized posterior goes into the run file with its document: means [p], standard deviations
 * [p]. */
static gm_status record(gm_cli *cli, const gm_session *session, const gm_bound_run *run,
                        const gm_optimized *optimized, json_t *document, gm_error *err)
{
    size_t p = run->bound.parameters;
    if (!optimized->made) return gm_record_result(cli, session, "bound", document, NULL, 0, err);
    double *spread = gm_alloc(p, sizeof *spread, "posterior", err);
    if (!spread) return GM_ERR_MEMORY;
    for (size_t j = 0; j < p; j++) {
        spread[j] = optimized->scale * optimized->unit[j] / sqrt(optimized->ratio[j]);
    }
    const gm_run_array array[] = {
        {.name = "optimized/mean",
         .dtype = GM_F64,
         .rank = 1,
         .dim = {p},
         .data = optimized->theta},
        {.name = "optimized/spread", .dtype = GM_F64, .rank = 1, .dim = {p}, .data = spread}};
    gm_status status = gm_record_result(cli, session, "bound", document, array, 2, err);
    gm_free(spread);
    return status;
}

static gm_status deliver(gm_cli *cli, const gm_session *session, const gm_bound_run *run,
                         const gm_optimized *optimized, gm_error *err)
{
    gm_status status = GM_OK;
    json_t *document = NULL;
    if (cli->shared.json || cli->shared.output) {
        document = gm_bound_document(cli, session, run, err);
        if (!document) return GM_ERR_MEMORY;
        json_object_set_new(document, "optimized",
                            gm_optimized_value(cli, session, run, optimized));
        status = record(cli, session, run, optimized, document, err);
    }
    if (status == GM_OK && cli->shared.json) return gm_document_print(cli, document, err);
    json_decref(document);
    if (status != GM_OK) return status;
    gm_bound_print(session, run);
    gm_optimized_print(session, run, optimized);
    printf("%.3g s\n", gm_cli_seconds(cli));
    return GM_OK;
}

/* After Ctrl-C: what is finished is delivered, where the bound itself is. */
static gm_status deliver_part(gm_cli *cli, const gm_session *session, const gm_bound_run *run,
                              const gm_optimized *optimized, gm_error *err)
{
    if (run->bound.n == 0)
        return gm_fail(err, GM_ERR_INTERRUPTED,
                       "interrupted before the bound was finished; nothing was recorded, the same "
                       "command begins anew");
    gm_status status = deliver(cli, session, run, optimized, err);
    if (status != GM_OK) return status;
    return gm_fail(err, GM_ERR_INTERRUPTED,
                   "interrupted after the bound itself, which is %s; what was not finished is left "
                   "out, the same command does it all",
                   cli->shared.output ? "recorded" : "above");
}

gm_status gm_bound_measure_run(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_bound_run run = {0};
    gm_optimized optimized = {0};
    gm_status status = gm_session_open(cli, &session, err);
    if (status == GM_OK && !session.shared.params) status = gm_cli_require(cli, "params", err);
    if (status == GM_OK) status = gm_bound_prepare(cli, &session, &run.origin, &run.options, err);
    if (status == GM_OK) status = gm_bound_optimize_check_loss(cli, session.loss_kind, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status == GM_OK) {
        gm_cli_begin(cli);
        gm_interrupt_install();
        status = gm_bound_take(cli, &session, &run, err);
    }
    if (status == GM_OK) status = gm_bound_optimize(cli, &session, &run, &optimized, err);
    if (status == GM_OK) {
        status = deliver(cli, &session, &run, &optimized, err);
    } else if (status == GM_ERR_INTERRUPTED) {
        status = deliver_part(cli, &session, &run, &optimized, err);
    }
    gm_optimized_free(&optimized);
    gm_bound_free(&run.bound);
    gm_bound_origin_free(&run.origin);
    gm_session_close(&session);
    return status;
}
