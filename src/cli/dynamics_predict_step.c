/* The step that `gradiometer dynamics predict` looks at: that of the run in --params where the file
 * holds what it takes, theta - eta D^-1 (beta v_t + g_t + decay theta), else theta - eta g. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/dynamics.h"
#include "kernels/kernels.h"

/* beta v_t + decay theta, and with Nesterov's form what its D makes of it. */
static gm_status take_drift(const gm_session *session, const gm_train_options *o,
                            const gm_run_state *state, gm_predict *predict, gm_error *err)
{
    size_t p = gm_problem_parameters(session->problem);
    if (!(o->momentum > 0.0) && !(o->weight_decay > 0.0)) return GM_OK;
    predict->drift = gm_alloc(p, sizeof *predict->drift, "momentum", err);
    if (!predict->drift) return GM_ERR_MEMORY;
    if (o->momentum > 0.0) {
        gm_kernels_get(state->dtype)->to_double(p, state->optimizer, predict->drift);
    }
    double beta = o->nesterov ? o->momentum * o->momentum / (1.0 + o->momentum) : o->momentum;
    for (size_t i = 0; i < p; i++) {
        predict->drift[i] = beta * predict->drift[i] + o->weight_decay * session->theta[i];
    }
    if (!o->nesterov) return GM_OK;
    predict->divisor = gm_alloc(p, sizeof *predict->divisor, "divisor of the step", err);
    if (!predict->divisor) return GM_ERR_MEMORY;
    for (size_t i = 0; i < p; i++) {
        predict->divisor[i] = 1.0 / (1.0 + o->momentum);
    }
    return GM_OK;
}

gm_status gm_dynamics_divisor(const gm_session *session, gm_linearization *lin,
                              const gm_train_options *o, double **divisor, gm_error *err)
{
    size_t p = gm_problem_parameters(session->problem);
    double *stored = NULL;
    char *what = NULL;
    *divisor = gm_alloc(p, sizeof **divisor, "preconditioner", err);
    if (!*divisor) return GM_ERR_MEMORY;
    if (o->precondition >= GM_PRECONDITION_DIAG_MOMENT) {
        return gm_precondition_exact(lin, o->precondition, o->epsilon, *divisor, err);
    }
    gm_status status = gm_precondition_from_run(session->run, &stored, &p, &what, err);
    if (status == GM_OK) memcpy(*divisor, stored, p * sizeof *stored);
    gm_run_free(stored);
    gm_run_free(what);
    return status;
}

static void note_step(gm_cli *cli, const gm_train_options *o)
{
    gm_cli_note(cli,
                "the step is that of the run, theta - eta D^-1 (beta v + g + decay theta): trained "
                "with %s preconditioner%s, %smomentum %g, weight decay %g; --plain looks at theta "
                "- eta g",
                gm_precondition_name(o->precondition),
                o->precondition >= GM_PRECONDITION_DIAG_MOMENT ? " (taken anew)" : "",
                o->nesterov ? "Nesterov " : "", o->momentum, o->weight_decay);
}

gm_status gm_predict_take_step(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                               gm_predict *predict, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    gm_train_options o;
    gm_run_state *state = NULL;
    if (set->plain || !gm_dynamics_recorded(session, "train.steps")) {
        gm_dynamics_note_optimizer(cli, session, false);
        return GM_OK;
    }
    gm_status status = gm_train_options_load(session->run, &o, err);
    if (status == GM_OK) status = gm_run_load_state(session->run, &state, err);
    if (status != GM_OK) return status;
    bool latest = state && state->step == session->step;
    bool running = o.precondition == GM_PRECONDITION_RMSPROP ||
                   o.precondition == GM_PRECONDITION_ADAGRAD || o.momentum > 0.0;
    bool plain =
        o.precondition == GM_PRECONDITION_NONE && o.momentum == 0.0 && o.weight_decay == 0.0;
    if (o.optimizer != GM_OPTIMIZER_SGD || plain || (running && !latest)) {
        gm_dynamics_note_optimizer(cli, session, false);
    } else {
        if (o.precondition != GM_PRECONDITION_NONE) {
            status = gm_dynamics_divisor(session, lin, &o, &predict->divisor, err);
        }
        if (status == GM_OK) status = take_drift(session, &o, state, predict, err);
        if (status == GM_OK) note_step(cli, &o);
    }
    gm_run_free(state);
    return status;
}
