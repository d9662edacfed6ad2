/* gradiometer dynamics advise: what an engineer wants to know of a checkpoint, each number with its
 * error and beside its threshold. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cli/dynamics.h"
#include "cli/record.h"

static json_t *value_of(gm_cli *cli, const char *what, double value, double error)
{
    json_t *o = json_object();
    json_object_set_new(o, "value", gm_json_number(cli, what, value));
    json_object_set_new(o, "stderr", gm_json_number(cli, what, error));
    return o;
}

json_t *gm_advise_document(gm_cli *cli, const gm_session *session, const gm_advise *a,
                           gm_error *err)
{
    const gm_gauges *g = &a->gauges;
    json_t *d = gm_document_create(cli, session, err);
    if (!d) return NULL;
    json_object_set_new(d, "subcommand", json_string("advise"));
    json_object_set_new(d, "batch", json_integer((json_int_t)a->options.batch));
    json_object_set_new(d, "step_size", gm_json_number(cli, "step", a->options.step));
    json_object_set_new(d, "momentum", gm_json_number(cli, "momentum", a->options.momentum));
    json_object_set_new(d, "replacement", json_string(gm_replacement_name(a->options.replacement)));
    json_t *o = json_object();
    json_object_set_new(o, "sharpness",
                        value_of(cli, "sharpness", g->sharpness, g->sharpness_error));
    json_object_set_new(o, "preconditioned_sharpness",
                        a->divisor
                            ? value_of(cli, "preconditioned_sharpness", g->preconditioned_sharpness,
                                       g->preconditioned_sharpness_error)
                            : json_null());
    json_object_set_new(
        o, "batch_sharpness",
        value_of(cli, "batch_sharpness", g->batch_sharpness.value, g->batch_sharpness.std_error));
    json_object_set_new(o, "interaction",
                        value_of(cli, "interaction", g->interaction, g->interaction_error));
    json_t *c = json_object();
    json_object_set_new(c, "value",
                        gm_json_number(cli, "critical_sharpness", g->critical_sharpness));
    json_object_set_new(c, "lower", gm_json_number(cli, "critical_sharpness", g->critical[0]));
    json_object_set_new(c, "upper", gm_json_number(cli, "critical_sharpness", g->critical[1]));
    json_object_set_new(o, "critical_sharpness", c);
    json_object_set_new(o, "noise_scale",
                        value_of(cli, "noise_scale", g->noise_scale, g->noise_scale_error));
    json_object_set_new(o, "curvature_noise_scale",
                        value_of(cli, "curvature_noise_scale", g->curvature_noise_scale,
                                 g->curvature_noise_scale_error));
    json_object_set_new(d, "gauges", o);
    o = json_object();
    json_object_set_new(o, "plain", json_real(2.0 / a->options.step));
    json_object_set_new(o, "heavy_ball", json_real(g->limit));
    json_object_set_new(o, "nesterov", json_real(g->nesterov_limit));
    json_object_set_new(o, "preconditioned",
                        a->divisor ? json_real(g->preconditioned_limit) : json_null());
    json_object_set_new(o, "batch_sharpness_small", json_real(g->batch_limit[0]));
    json_object_set_new(o, "batch_sharpness_large", json_real(g->batch_limit[1]));
    json_object_set_new(d, "thresholds", o);
    o = json_object();
    json_object_set_new(o, "largest_step",
                        value_of(cli, "largest_step", g->model_step, g->model_step_error));
    json_object_set_new(o, "best_step",
                        value_of(cli, "best_step", 0.5 * g->model_step, 0.5 * g->model_step_error));
    json_object_set_new(
        o, "largest_step_lambda_max",
        value_of(cli, "largest_step_lambda_max", g->local_step, g->local_step_error));
    json_object_set_new(
        o, "best_step_lambda_max",
        value_of(cli, "best_step_lambda_max", 0.5 * g->local_step, 0.5 * g->local_step_error));
    json_object_set_new(o, "balance_batch",
                        value_of(cli, "balance_batch", g->balance_batch, g->balance_batch_error));
    json_object_set_new(d, "advice", o);
    json_object_set_new(d, "gradient_square", gm_json_number(cli, "|mu|^2", g->gradient_square));
    json_object_set_new(d, "trace_moment", gm_json_number(cli, "tr M_m", g->trace_moment));
    json_object_set_new(d, "products", json_integer((json_int_t)(g->products + a->model.products)));
    return d;
}

enum { WITH_ERROR = 64 };

static const char *with_error(char text[WITH_ERROR], int digits, double value, double error)
{
    if (error > 0.0) {
        snprintf(text, WITH_ERROR, "%.*g +- %.1g", digits, value, error);
    } else {
        snprintf(text, WITH_ERROR, error == 0.0 ? "%.*g exact" : "%.*g", digits, value);
    }
    return text;
}

static void print_gauge(const char *name, double value, double error, double limit)
{
    char text[WITH_ERROR];
    with_error(text, 5, value, error);
    const char *side = isnan(value) ? "undefined" : value > limit ? "above" : "below";
    printf("  %-42s %-20s %-10.5g %s\n", name, text, limit, side);
}

void gm_advise_print(const gm_cli *cli, const gm_session *session, const gm_advise *a)
{
    const gm_gauges *g = &a->gauges;
    double m = (double)a->options.batch, plain = 2.0 / a->options.step;
    char text[WITH_ERROR];
    gm_document_describe(session);
    printf("\nSGD with batches of %zu (replacement %s), step %g, momentum %g\n", a->options.batch,
           gm_replacement_name(a->options.replacement), a->options.step, a->options.momentum);
    printf("\n  %-42s %-20s %-10s\n", "gauge", "value", "threshold");
    print_gauge("sharpness, lambda_max of H", g->sharpness, g->sharpness_error, g->limit);
    if (a->divisor) {
        print_gauge("preconditioned, of D^-1/2 H D^-1/2", g->preconditioned_sharpness,
                    g->preconditioned_sharpness_error, g->preconditioned_limit);
    }
    print_gauge("Batch Sharpness", g->batch_sharpness.value, g->batch_sharpness.std_error,
                g->batch_limit[0]);
    print_gauge("interaction, tr(H M_m) / |mu|^2", g->interaction, g->interaction_error, plain);
    print_gauge(
        "critical sharpness, along the gradient", g->critical_sharpness,
        fmax(g->critical[1] - g->critical_sharpness, g->critical_sharpness - g->critical[0]),
        plain);
    print_gauge("gradient noise scale, tr Sigma / |mu|^2", g->noise_scale, g->noise_scale_error, m);
    print_gauge("tr(H Sigma) / mu.H mu", g->curvature_noise_scale, g->curvature_noise_scale_error,
                m);
    printf(
        "\n  thresholds: 2/eta is %.5g; with this momentum heavy ball %.5g, Nesterov %.5g; Batch\n"
        "  Sharpness %.5g for small and %.5g for large batches; noise scales against the batch\n"
        "  +-: of lambda_max the residual, of the critical sharpness its bracket, else the "
        "standard\n"
        "  error; exact: nothing is estimated at these data\n",
        plain, g->limit, g->nesterov_limit, g->batch_limit[0], g->batch_limit[1]);
    printf("\nplain SGD at this point and batch size\n");
    if (isnan(g->model_step)) {
        printf("  by the second-order model no step raises the loss, or none is defined\n");
    } else {
        double error = g->model_step_error;
        printf("  largest step that keeps the loss from rising in expectation   %s\n",
               with_error(text, 4, g->model_step, error));
        printf("  best step                                                     %s\n",
               with_error(text, 4, 0.5 * g->model_step, 0.5 * error));
    }
    char half[WITH_ERROR];
    printf("  the same with lambda_max in the place of tr(H M_m) / tr M_m   %s, %s\n",
           with_error(text, 4, g->local_step, g->local_step_error),
           with_error(half, 4, 0.5 * g->local_step, 0.5 * g->local_step_error));
    if (isnan(g->balance_batch)) {
        printf("  at step %g noise and signal balance at no batch size\n", a->options.step);
    } else {
        printf("  at step %g noise and signal balance at batch size             %s\n",
               a->options.step, with_error(text, 4, g->balance_batch, g->balance_batch_error));
    }
    printf("lambda_max is the curvature at this point alone: no guarantee\n%.3g s\n",
           gm_cli_seconds(cli));
}

/* ---- run ---- */

gm_status gm_advise_check(const gm_cli *cli, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    gm_status status = gm_dynamics_check_lists(cli, 1, 1, err);
    if (status == GM_OK) status = gm_dynamics_check_draws(cli, err);
    if (status == GM_OK && !(set->momentum < 1.0))
        status =
            gm_fail(err, GM_ERR_USAGE, "--momentum: found %g, expected 0 <= B < 1", set->momentum);
    return status;
}

/* Batch, step and momentum as given, else as the run was trained. */
static gm_status take_options(const gm_cli *cli, const gm_session *session, gm_advise *a,
                              gm_error *err)
{
    gm_gauge_options *o = &a->options;
    const gm_dynamics_settings *set = cli->settings;
    const char *batch = gm_dynamics_recorded(session, "train.batch");
    char *step = NULL;
    const char *momentum = gm_dynamics_recorded(session, "train.momentum");
    double number;
    size_t count;
    gm_gauge_options_default(o);
    gm_status status = gm_dynamics_list("batch",
                                        set->batch ? set->batch
                                        : batch    ? batch
                                                   : "1",
                                        true, 1, &number, &count, err);
    if (status != GM_OK) return status;
    o->batch = (size_t)number;
    status = gm_dynamics_run_step(session, &step, err);
    if (status == GM_OK) {
        status = gm_dynamics_list("step",
                                  set->step ? set->step
                                  : step    ? step
                                            : "0.1",
                                  false, 1, &o->step, &count, err);
    }
    gm_free(step);
    if (status != GM_OK) return status;
    o->momentum = set->momentum >= 0.0 ? set->momentum : momentum ? strtod(momentum, NULL) : 0.0;
    o->replacement = gm_dynamics_replacement(cli, session);
    o->seed = session->seed;
    if (set->draws) o->draws = set->draws;
    status = gm_dynamics_check_batches(o->replacement, false, 1, &number, session->data->n, err);
    if (status == GM_OK) {
        status = gm_session_check_matrix(session, "a mini-batch", 1, o->batch,
                                         session->data->features, err);
    }
    if (status == GM_OK) {
        status = gm_session_check_matrix(session, "the Batch Sharpness of each draw", 1, 1,
                                         o->draws, err);
    }
    if (status == GM_OK) status = gm_dynamics_step_options(cli, session, true, &a->noise, err);
    return status;
}

/* D of the run's own steps, where its file holds that of this point; an optimizer other than SGD
 * has none before its first step. The net of a run is that of its state. */
static gm_status take_divisor(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                              gm_advise *a, gm_error *err)
{
    gm_train_options o;
    gm_run_state *state = NULL;
    if (!gm_dynamics_recorded(session, "train.steps")) return GM_OK;
    gm_status status = gm_train_options_load(session->run, &o, err);
    if (status != GM_OK) return status;
    bool own = o.optimizer != GM_OPTIMIZER_SGD;
    if (!own && o.precondition == GM_PRECONDITION_NONE) return GM_OK;
    const char *name = own ? gm_optimizer_name(o.optimizer) : gm_precondition_name(o.precondition);
    bool exact = o.precondition >= GM_PRECONDITION_DIAG_MOMENT;
    status = gm_run_load_state(session->run, &state, err);
    if (status != GM_OK) return status;
    bool known = exact || (state && state->step == session->step && (!own || session->step > 0));
    gm_run_free(state);
    if (!known) {
        gm_cli_note(cli,
                    "no preconditioned sharpness: the file holds D of %s at the run's latest step "
                    "alone",
                    name);
        return GM_OK;
    }
    status = gm_dynamics_divisor(session, lin, &o, &a->divisor, err);
    if (status != GM_OK) return status;
    a->options.divisor = a->divisor;
    a->options.averaging = o.optimizer == GM_OPTIMIZER_ADAM ? o.beta1 : 0.0;
    gm_cli_note(cli,
                "the preconditioned sharpness, and it alone, is of the run's own step: D of %s%s, "
                "held fixed",
                name, exact ? ", taken anew" : "");
    return GM_OK;
}

static gm_status measure(gm_cli *cli, gm_session *session, gm_advise *a, gm_error *err)
{
    gm_linearization *lin = NULL;
    gm_status status = gm_linearize(session->problem, session->theta, &lin, err);
    if (status == GM_OK) {
        gm_session_measure(session, lin);
        status = gm_step_model_make(lin, &a->noise, &a->model, err);
    }
    if (status == GM_OK) status = take_divisor(cli, session, lin, a, err);
    if (status == GM_OK) status = gm_gauges_measure(lin, &a->model, &a->options, &a->gauges, err);
    gm_linearization_free(lin);
    return status;
}

gm_status gm_advise_run(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_advise advise = {0};
    json_t *document = NULL;
    gm_status status = gm_session_open(cli, &session, err);
    if (status == GM_OK) status = take_options(cli, &session, &advise, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status != GM_OK) goto done;
    gm_dynamics_note_optimizer(cli, &session, true);
    gm_dynamics_note_trace(cli, &session, &advise.noise);
    gm_cli_begin(cli);
    status = measure(cli, &session, &advise, err);
    if (status != GM_OK) goto done;
    document = gm_advise_document(cli, &session, &advise, err);
    status = document ? gm_record_result(cli, &session, "advise", document, NULL, 0, err)
                      : GM_ERR_MEMORY;
    if (status == GM_OK && cli->shared.json) {
        status = gm_document_print(cli, document, err);
        document = NULL;
    } else if (status == GM_OK) {
        gm_advise_print(cli, &session, &advise);
    }
done:
    json_decref(document);
    gm_step_model_free(&advise.model);
    gm_free(advise.divisor);
    gm_session_close(&session);
    return status;
}
