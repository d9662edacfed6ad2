/* gradiometer dynamics phases: where fast convergence ends and slow diffusion begins (theory
 * section 3.1), by the terms of the second-order model: a step changes the loss by -gain + noise,
 *   gain = eta |mu|^2 - eta^2/2 mu.H mu,   noise = eta^2/2 tr(H Sigma_m),
 * and the slow phase begins at the first point from which on noise >= balance gain. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/dynamics.h"
#include "cli/interrupt.h"
#include "cli/record.h"
#include "gradiometer/curvature.h"
#include "sgd/kappa.h"

/* ---- options ---- */

gm_status gm_phases_check(const gm_cli *cli, gm_error *err)
{
    gm_status status = gm_dynamics_check_lists(cli, 1, 1, err);
    return status == GM_OK ? gm_points_check(cli, err) : status;
}

static gm_status take_step(const gm_cli *cli, const gm_session *session, gm_phases *s,
                           gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const char *policy = gm_dynamics_recorded(session, "train.policy");
    const char *fixed = gm_dynamics_recorded(session, "train.step");
    gm_policy parsed = {0};
    size_t count;
    if (!set->step && policy) {
        gm_status status = gm_policy_parse(policy, &parsed, &s->step, err);
        if (status != GM_OK) return status;
    }
    s->step = (double)NAN;
    if (parsed.kind != GM_POLICY_FIXED) return GM_OK; /* recorded step by step */
    const char *text = set->step ? set->step : fixed ? fixed : "0.1";
    return gm_dynamics_list("step", text, false, 1, &s->step, &count, err);
}

static gm_status take_options(gm_cli *cli, const gm_session *session, gm_phases *s, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const char *momentum = gm_dynamics_recorded(session, "train.momentum");
    s->momentum = momentum ? strtod(momentum, NULL) : 0.0;
    s->balance = set->balance;
    gm_status status = take_step(cli, session, s, err);
    if (status == GM_OK) status = gm_points_batch(cli, session, &s->batch, &s->replacement, err);
    if (status == GM_OK) status = gm_points_find(cli, session, &s->points, err);
    if (status == GM_OK) status = gm_dynamics_step_options(cli, session, true, &s->noise, err);
    if (status != GM_OK) return status;
    s->phase = gm_alloc(s->points.count, sizeof *s->phase, "points", err);
    return s->phase ? GM_OK : GM_ERR_MEMORY;
}

/* ---- measuring ---- */

static gm_status trace_moment(gm_linearization *lin, double *diagonal, double *trace, gm_error *err)
{
    size_t p = gm_problem_parameters(gm_linearization_problem(lin));
    gm_status status = gm_curvature_diagonal(lin, GM_MOMENT, GM_ALL_LAYERS, diagonal, err);
    *trace = 0.0;
    for (size_t i = 0; status == GM_OK && i < p; i++) {
        *trace += diagonal[i];
    }
    return status;
}

static void fill_phase(const gm_phases *s, const gm_step_model *model, double trace, double eta,
                       gm_phase *phase)
{
    double kappa = gm_kappa_of(model->n, s->batch, s->replacement != GM_REPLACEMENT_YES);
    double half = 0.5 * eta * eta, square = model->slope;
    *phase = (gm_phase){.eta = eta,
                        .gradient_square = square,
                        .trace_sigma = kappa * fmax(0.0, trace - square),
                        .gain = eta * square - half * model->bend,
                        .noise = half * kappa * model->trace.value,
                        .noise_error = half * kappa * model->trace.std_error};
    phase->ratio = phase->gain > 0.0    ? phase->noise / phase->gain
                   : phase->noise > 0.0 ? (double)INFINITY
                                        : (double)NAN;
    phase->ratio_error = phase->gain > 0.0 ? phase->noise_error / phase->gain : 0.0;
}

static gm_status measure_point(const gm_session *session, gm_phases *s, size_t point, double *work,
                               gm_error *err)
{
    gm_linearization *lin = NULL;
    gm_step_model model = {0};
    double eta = s->step, trace = 0.0;
    int64_t step = s->points.step[point];
    gm_status status = gm_points_load(session, step, work, err);
    if (status == GM_OK && isnan(eta)) status = gm_points_step_size(session, step, &eta, err);
    if (status == GM_OK) status = gm_linearize(session->problem, work, &lin, err);
    if (status == GM_OK) status = gm_step_model_make(lin, &s->noise, &model, err);
    if (status == GM_OK) status = trace_moment(lin, work, &trace, err);
    if (status == GM_OK) {
        fill_phase(s, &model, trace, eta / (1.0 - s->momentum), &s->phase[point]);
    }
    gm_step_model_free(&model);
    gm_linearization_free(lin);
    return status;
}

static gm_status measure(gm_cli *cli, gm_session *session, gm_phases *s, gm_error *err)
{
    gm_progress progress;
    double *work =
        gm_alloc(gm_problem_parameters(session->problem), sizeof *work, "parameters", err);
    gm_status status = work ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_points_measure_session(session, err);
    gm_interrupt_install();
    gm_progress_start(&progress, "dynamics phases", "points", 0, s->points.count,
                      cli->shared.quiet);
    for (size_t i = 0; status == GM_OK && i < s->points.count; i++) {
        if (gm_interrupt_agreed((void *)session->team)) {
            status = gm_fail(err, GM_ERR_INTERRUPTED, "interrupted; nothing was recorded");
            break;
        }
        status = measure_point(session, s, i, work, err);
        gm_progress_update(&progress, i + 1, NULL);
    }
    gm_progress_finish(&progress);
    gm_free(work);
    return status;
}

/* The change-over, and how far the errors of the ratios let it be told. */
static void find_change(gm_phases *s)
{
    size_t count = s->points.count;
    s->change = count;
    while (s->change > 0 && s->phase[s->change - 1].ratio >= s->balance) {
        s->change--;
    }
    s->after = s->until = count;
    for (size_t i = s->change; i-- > 0 && s->after == count;) {
        const gm_phase *p = &s->phase[i];
        if (p->ratio + 1.96 * p->ratio_error < s->balance) s->after = i;
    }
    for (size_t i = s->change; i < count && s->until == count; i++) {
        const gm_phase *p = &s->phase[i];
        if (p->ratio - 1.96 * p->ratio_error >= s->balance) s->until = i;
    }
}

/* ---- JSON ---- */

static const char rule[] =
    "slow from the first checkpoint on from which eta^2/2 tr(H Sigma_m) >= balance (eta |mu|^2 - "
    "eta^2/2 mu.H mu), the terms of E Delta by the second-order model";

static json_t *step_at(const gm_phases *s, size_t point)
{
    bool known = point < s->points.count && s->points.step[point] >= 0;
    return known ? json_integer(s->points.step[point]) : json_null();
}

static json_t *phase_value(gm_cli *cli, const gm_phases *s, size_t i)
{
    const gm_phase *p = &s->phase[i];
    json_t *o = json_object();
    json_object_set_new(o, "step", step_at(s, i));
    json_object_set_new(o, "eta", gm_json_number(cli, "eta", p->eta));
    json_object_set_new(o, "gradient_square", gm_json_number(cli, "|mu|^2", p->gradient_square));
    json_object_set_new(o, "trace_sigma_m", gm_json_number(cli, "tr Sigma_m", p->trace_sigma));
    json_object_set_new(o, "gain", gm_json_number(cli, "gain", p->gain));
    json_object_set_new(o, "noise", gm_json_number(cli, "noise", p->noise));
    json_object_set_new(o, "noise_stderr", gm_json_number(cli, "its error", p->noise_error));
    json_object_set_new(o, "ratio", gm_json_number(cli, "ratio", p->ratio));
    json_object_set_new(o, "ratio_stderr", gm_json_number(cli, "its error", p->ratio_error));
    json_object_set_new(o, "phase", json_string(p->ratio >= s->balance ? "slow" : "fast"));
    return o;
}

json_t *gm_phases_document(gm_cli *cli, const gm_session *session, const gm_phases *s,
                           gm_error *err)
{
    json_t *d = gm_document_create(cli, session, err);
    if (!d) return NULL;
    json_object_set_new(d, "subcommand", json_string("phases"));
    json_object_set_new(d, "batch", json_integer((json_int_t)s->batch));
    json_object_set_new(d, "replacement", json_string(gm_replacement_name(s->replacement)));
    json_object_set_new(d, "momentum", json_real(s->momentum));
    json_object_set_new(d, "rule", json_string(rule));
    json_object_set_new(d, "balance", json_real(s->balance));
    json_t *change = json_object(), *points = json_array();
    json_object_set_new(change, "reached", json_boolean(s->change < s->points.count));
    json_object_set_new(change, "step", step_at(s, s->change));
    json_object_set_new(change, "after", step_at(s, s->after));
    json_object_set_new(change, "until", step_at(s, s->until));
    json_object_set_new(d, "change", change);
    for (size_t i = 0; i < s->points.count; i++) {
        json_array_append_new(points, phase_value(cli, s, i));
    }
    json_object_set_new(d, "steps", points);
    return d;
}

/* ---- text ---- */

static void print_change(const gm_phases *s)
{
    size_t count = s->points.count;
    const gm_phase *last = &s->phase[count - 1];
    if (s->change == count) {
        printf("the slow phase is not reached: at the last checkpoint the noise takes back %.3g of "
               "the gain, less than %g%s\n",
               last->ratio, s->balance,
               last->ratio + 1.96 * last->ratio_error < s->balance
                   ? ""
                   : ", but within two standard errors");
        return;
    }
    printf("slow from checkpoint %" PRId64 " on", s->points.step[s->change]);
    if (s->change == 0) printf(", the first there is");
    if (s->after < count) printf("; surely fast at %" PRId64, s->points.step[s->after]);
    if (s->until < count) printf("; surely slow at %" PRId64, s->points.step[s->until]);
    if (s->until == count) printf("; within two standard errors of fast at every checkpoint since");
    putchar('\n');
}

void gm_phases_print(const gm_cli *cli, const gm_session *session, const gm_phases *s)
{
    gm_document_describe(session);
    printf("\nbatches of %zu with%s replacement", s->batch,
           s->replacement == GM_REPLACEMENT_YES ? "" : "out");
    if (s->momentum > 0.0) printf("; eta stands for eta / (1 - %g)", s->momentum);
    printf("\n%10s %10s %12s %12s %12s %12s %16s\n", "at", "eta", "|mu|^2", "tr Sigma_m", "gain",
           "noise", "noise/gain");
    for (size_t i = 0; i < s->points.count; i++) {
        const gm_phase *p = &s->phase[i];
        char ratio[48];
        snprintf(ratio, sizeof ratio, p->ratio_error > 0.0 ? "%.3g +- %.1g" : "%.3g", p->ratio,
                 p->ratio_error);
        if (s->points.step[i] >= 0) printf("%10" PRId64, s->points.step[i]);
        if (s->points.step[i] < 0) printf("%10s", "-");
        printf(" %10.4g %12.4g %12.4g %12.4g %12.4g %16s  %s\n", p->eta, p->gradient_square,
               p->trace_sigma, p->gain, p->noise, ratio, p->ratio >= s->balance ? "slow" : "fast");
    }
    printf("\ngain: eta |mu|^2 - eta^2/2 mu.H mu; noise: eta^2/2 tr(H Sigma_m); slow from where on "
           "noise >= %g gain\n",
           s->balance);
    print_change(s);
    printf("%.3g s\n", gm_cli_seconds(cli));
}

/* ---- the command ---- */

gm_status gm_phases_run(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_phases phases = {0};
    json_t *document = NULL;
    gm_status status = gm_session_open(cli, &session, err);
    if (status == GM_OK) status = take_options(cli, &session, &phases, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status != GM_OK) goto done;
    gm_dynamics_note_optimizer(cli, &session, true);
    gm_dynamics_note_trace(cli, &session, &phases.noise);
    gm_cli_begin(cli);
    status = measure(cli, &session, &phases, err);
    if (status != GM_OK) goto done;
    find_change(&phases);
    document = gm_phases_document(cli, &session, &phases, err);
    status = document ? gm_record_result(cli, &session, "phases", document, NULL, 0, err)
                      : GM_ERR_MEMORY;
    if (status == GM_OK && cli->shared.json) {
        status = gm_document_print(cli, document, err);
        document = NULL;
    } else if (status == GM_OK) {
        gm_phases_print(cli, &session, &phases);
    }
done:
    json_decref(document);
    gm_points_free(&phases.points);
    gm_free(phases.phase);
    gm_session_close(&session);
    return status;
}
