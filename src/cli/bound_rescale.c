/* gradiometer bound rescale: the same function with other parameters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/bound.h"
#include "cli/dynamics.h"
#include "cli/interrupt.h"
#include "cli/record.h"

enum { MAGNITUDES = 16 };

static void run_free(gm_rescale_run *run)
{
    for (size_t i = 0; run->item && i < run->count; i++) {
        gm_free(run->item[i].alpha);
    }
    gm_free(run->item);
    gm_bound_origin_free(&run->origin);
    memset(run, 0, sizeof *run);
}

static gm_status parse_magnitudes(const gm_cli *cli, double magnitude[MAGNITUDES], size_t *count,
                                  gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    gm_status status =
        gm_dynamics_list("magnitudes", set->magnitudes, false, MAGNITUDES, magnitude, count, err);
    for (size_t i = 0; status == GM_OK && i < *count; i++) {
        if (!(magnitude[i] >= 1.0)) {
            status = gm_fail(err, GM_ERR_USAGE, "--magnitudes: found %g, expected at least 1",
                             magnitude[i]);
        }
    }
    return status;
}

gm_status gm_rescale_check(const gm_cli *cli, gm_error *err)
{
    double magnitude[MAGNITUDES];
    size_t count;
    return parse_magnitudes(cli, magnitude, &count, err);
}

gm_status gm_rescale_check_net(const gm_net *net, gm_error *err)
{
    double *factor = gm_alloc(gm_net_parameters(net), sizeof *factor, "factors", err);
    gm_status status =
        factor ? gm_rescaling_make(net, 1.0, 0, 0, factor, NULL, err) : GM_ERR_MEMORY;
    gm_free(factor);
    return status;
}

/* The net as it is, and set->rescalings of every magnitude. */
static gm_status make_items(const gm_cli *cli, const gm_session *session, gm_rescale_run *run,
                            gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    double magnitude[MAGNITUDES];
    size_t magnitudes, each = set->rescalings;
    gm_status status = parse_magnitudes(cli, magnitude, &magnitudes, err);
    run->layers = gm_net_layers(session->net);
    if (status == GM_OK) {
        status =
            gm_session_check_matrix(session, "--rescalings", MAGNITUDES, each, run->layers, err);
    }
    if (status != GM_OK) return status;
    run->count = 1 + magnitudes * each;
    run->item = gm_alloc(run->count, sizeof *run->item, "re-scalings", err);
    if (!run->item) return GM_ERR_MEMORY;
    for (size_t i = 0; i < run->count; i++) {
        run->item[i].magnitude = i == 0 ? 1.0 : magnitude[(i - 1) / each];
        run->item[i].alpha = gm_alloc(run->layers, sizeof(double), "re-scalings", err);
        if (!run->item[i].alpha) return GM_ERR_MEMORY;
    }
    return GM_OK;
}

/* Bound and measures at (theta, theta0). given [layers]: layer scales, or NULL. */
static gm_status measure_at(const gm_session *session, const double *theta, const double *theta0,
                            const double *given, gm_rescale_run *run, gm_rescaled *item,
                            gm_error *err)
{
    gm_linearization *lin = NULL;
    gm_bound bound = {0};
    gm_bound_options o = run->options;
    o.given = given;
    gm_status status = gm_linearize(session->problem, theta, &lin, err);
    if (status == GM_OK) status = gm_bound_measure(lin, theta0, &o, &bound, err);
    if (status == GM_OK) {
        item->loss = gm_linearization_loss(lin);
        item->error = gm_linearization_error_rate(lin);
        gm_bound_invariants(item->loss, &bound, item->invariant);
        const double *diagonal = bound.diagonal_error ? NULL : bound.diagonal;
        status = gm_measures_take(lin, theta0, diagonal, &run->measure, &item->measures, err);
    }
    gm_bound_free(&bound);
    gm_linearization_free(lin);
    return status;
}

/* work [3, p + layers] */
static gm_status measure_item(const gm_session *session, gm_rescale_run *run, size_t index,
                              double *work, gm_error *err)
{
    size_t p = gm_net_parameters(session->net);
    gm_rescaled *item = &run->item[index];
    double *theta = work, *theta0 = work + p, *factor = work + 2 * p, *given = work + 3 * p;
    gm_status status = gm_rescaling_make(session->net, item->magnitude, session->seed,
                                         (uint32_t)index, factor, item->alpha, err);
    if (status != GM_OK) return status;
    for (size_t j = 0; j < p; j++) {
        theta[j] = factor[j] * session->theta[j];
        theta0[j] = factor[j] * run->origin.theta0[j];
    }
    for (size_t l = 0; run->origin.given && l < run->layers; l++) {
        given[l] = run->origin.given[l] * item->alpha[l];
    }
    return measure_at(session, theta, theta0, run->origin.given ? given : NULL, run, item, err);
}

static void find_change(gm_rescale_run *run)
{
    run->changed = gm_bound_invariant[0];
    for (size_t i = 1; i < run->count; i++) {
        for (int k = 0; k < GM_BOUND_INVARIANTS; k++) {
            double change =
                gm_relative_change(run->item[i].invariant[k], run->item[0].invariant[k]);
            if (!(change <= run->change)) {
                run->change = change;
                run->changed = gm_bound_invariant[k];
            }
        }
    }
}

static gm_status measure(const gm_cli *cli, gm_session *session, gm_rescale_run *run, gm_error *err)
{
    size_t p = gm_net_parameters(session->net);
    double *work = gm_alloc(3 * p + run->layers, sizeof *work, "re-scaled parameters", err);
    if (!work) return GM_ERR_MEMORY;
    gm_progress progress;
    gm_status status = GM_OK;
    gm_progress_start(&progress, "bound rescale", "re-scalings", 0, run->count, cli->shared.quiet);
    size_t done = 0;
    while (status == GM_OK && done < run->count) {
        status = measure_item(session, run, done, work, err);
        if (status == GM_OK) gm_progress_update(&progress, ++done, NULL);
    }
    gm_progress_finish(&progress);
    gm_free(work);
    if (status == GM_ERR_INTERRUPTED) {
        status = gm_fail(err, status,
                         "interrupted after %zu of %zu re-scalings; the finished ones are %s, the "
                         "same command does them all",
                         done, run->count, done > 1 ? "above" : "too few to compare");
        for (size_t i = done; i < run->count; i++) {
            gm_free(run->item[i].alpha);
        }
        run->count = done;
    }
    find_change(run);
    return status;
}

gm_status gm_rescale_command(gm_cli *cli, gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    gm_session session = {0};
    gm_rescale_run run = {0};
    json_t *document = NULL;
    gm_status status = gm_cli_given(cli, "precision")
                           ? gm_session_open(cli, &session, err)
                           : gm_session_open_in(cli, GM_F64, &session, err);
    if (status == GM_OK && !session.shared.params) status = gm_cli_require(cli, "params", err);
    if (status == GM_OK) status = gm_bound_prepare(cli, &session, &run.origin, &run.options, err);
    if (status == GM_OK) status = make_items(cli, &session, &run, err);
    if (status == GM_OK) status = gm_rescale_check_net(session.net, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status != GM_OK) goto done;
    gm_measure_options_default(&run.measure);
    run.measure.products = set->measured == GM_MEASURED_ALL;
    run.measure.radius = set->radius;
    run.measure.seed = session.seed;
    run.measure.stop = gm_interrupt_requested;
    gm_cli_begin(cli);
    gm_interrupt_install();
    status = measure(cli, &session, &run, err);
    bool cut = status == GM_ERR_INTERRUPTED && run.count > 1;
    gm_error interrupted = *err;
    if (status != GM_OK && !cut) goto done;
    status = GM_OK;
    if (cli->shared.json || cli->shared.output) {
        document = gm_rescale_document(cli, &session, &run, err);
        status = document ? gm_record_result(cli, &session, "rescale", document, NULL, 0, err)
                          : GM_ERR_MEMORY;
    }
    if (status == GM_OK && cli->shared.json) {
        status = gm_document_print(cli, document, err);
        document = NULL;
    } else if (status == GM_OK) {
        gm_rescale_print(cli, &session, &run);
    }
    if (cut && status == GM_OK) {
        *err = interrupted;
        status = err->status;
    }
done:
    json_decref(document);
    run_free(&run);
    gm_session_close(&session);
    return status;
}
