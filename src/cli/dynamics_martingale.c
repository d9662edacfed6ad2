/* gradiometer dynamics martingale: at points along a run, whether steps lower the loss in
 * expectation (theory sections 3.3 and 3.4), several policies at the same points and batches. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/dynamics.h"
#include "cli/interrupt.h"
#include "cli/record.h"

enum { DRAWS = 1000 };

size_t gm_martingale_ok(const gm_martingale *m, size_t policy)
{
    size_t count = 0;
    for (size_t i = 0; i < m->points.count; i++) {
        count += m->entry[i * m->policies + policy].rise.ok;
    }
    return count;
}

/* ---- options ---- */

/* The policies of a list. */
static gm_status parse_policies(const char *text, gm_martingale *m, gm_error *err)
{
    m->policies = 0;
    for (const char *rest = text; rest;) {
        size_t i = m->policies;
        if (i == GM_MARTINGALE_POLICIES) {
            return gm_fail(err, GM_ERR_USAGE, "--step: found more than %d policies",
                           GM_MARTINGALE_POLICIES);
        }
        gm_status status = gm_policy_parse_list(rest, &m->policy[i], &m->first[i], &rest, err);
        if (status != GM_OK) return status;
        m->policies++;
    }
    return GM_OK;
}

gm_status gm_martingale_check(const gm_cli *cli, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    gm_martingale any = {0};
    gm_status status = gm_dynamics_check_lists(cli, 1, 0, err);
    if (status == GM_OK) status = gm_dynamics_check_draws(cli, err);
    if (status == GM_OK) status = parse_policies(set->step, &any, err);
    return status == GM_OK ? gm_points_check(cli, err) : status;
}

static gm_status take_policies(const gm_cli *cli, const gm_session *session, gm_martingale *m,
                               gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const char *policy = gm_dynamics_recorded(session, "train.policy");
    const char *step = gm_dynamics_recorded(session, "train.step");
    return parse_policies(set->step ? set->step : policy ? policy : step ? step : "0.1", m, err);
}

/* Whether a training, where there was one, has what a policy needs beyond theta. */
static gm_status check_policy(const gm_policy *policy, bool trained, bool estimated, gm_error *err)
{
    bool over_time = policy->kind == GM_POLICY_DECAY || policy->kind == GM_POLICY_COSINE;
    if (over_time && !trained) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--step: %s is a function of time, expected a run in --params",
                       gm_policy_name(policy->kind));
    }
    if (policy->kind != GM_POLICY_ESTIMATED || estimated) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--step: estimated depends on the batches of a training, expected a run in "
                   "--params that was trained with it");
}

static gm_status check_policies(const gm_session *session, const gm_martingale *m, gm_error *err)
{
    static const char estimated[] = "estimated";
    const char *own = gm_dynamics_recorded(session, "train.policy");
    bool same = own && strncmp(own, estimated, strlen(estimated)) == 0;
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < m->policies; i++) {
        status = check_policy(&m->policy[i], gm_dynamics_recorded(session, "train.steps") != NULL,
                              same, err);
    }
    return status;
}

gm_status gm_martingale_check_training(const gm_cli *cli, const gm_train_options *train,
                                       gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    gm_martingale asked = {0};
    gm_status status = parse_policies(set->step, &asked, err);
    for (size_t i = 0; status == GM_OK && i < asked.policies; i++) {
        status =
            check_policy(&asked.policy[i], true, train->policy.kind == GM_POLICY_ESTIMATED, err);
    }
    return status;
}

static void note_run(gm_cli *cli, const gm_session *session, const gm_martingale *m)
{
    const char *momentum = gm_dynamics_recorded(session, "train.momentum");
    const char *optimizer = gm_dynamics_recorded(session, "train.optimizer");
    double beta = momentum ? strtod(momentum, NULL) : 0.0;
    if (beta > 0.0) {
        gm_cli_note(cli,
                    "the run was trained with momentum %g, with which the loss alone is no "
                    "super-martingale: what is checked is the step without it",
                    beta);
    }
    if (optimizer && strcmp(optimizer, "sgd") != 0) {
        gm_cli_note(cli,
                    "the run was trained with %s, whose divisor contains the gradient of the step: "
                    "what is checked is the step of plain SGD",
                    optimizer);
    }
    for (size_t i = 0; i < m->policies; i++) {
        if (m->policy[i].kind == GM_POLICY_ESTIMATED) {
            gm_cli_note(cli, "estimated: the steps that the run recorded");
        }
    }
}

/* D is taken anew where it is exact; the state of a running one is in the file for the latest step
 * alone. */
static gm_status take_divisor(gm_cli *cli, const gm_session *session, gm_martingale *m,
                              gm_error *err)
{
    const char *name = gm_dynamics_recorded(session, "train.precondition");
    const char *epsilon = gm_dynamics_recorded(session, "train.epsilon");
    if (name && !gm_precondition_parse(name, &m->precondition)) {
        return gm_fail(err, GM_ERR_INPUT, "%s: train.precondition is '%.40s'",
                       gm_run_path(session->run), name);
    }
    m->epsilon = epsilon ? strtod(epsilon, NULL) : 0.0;
    bool running =
        m->precondition == GM_PRECONDITION_RMSPROP || m->precondition == GM_PRECONDITION_ADAGRAD;
    if (!running) return GM_OK;
    gm_run_state *state = NULL;
    gm_status status = gm_run_load_state(session->run, &state, err);
    if (status != GM_OK) return status;
    int64_t last = state ? state->step : GM_RUN_NO_STEP;
    gm_run_free(state);
    if (m->points.step[m->points.count - 1] != last) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: holds the divisor of %s at its latest step %lld alone, which is not "
                       "among the steps asked for",
                       gm_run_path(session->run), name, (long long)last);
    }
    if (m->points.count > 1) {
        gm_cli_note(cli,
                    "%s: the run file holds its divisor at the latest step alone, which is "
                    "the only one checked",
                    name);
    }
    m->points.step[0] = last;
    m->points.count = 1;
    return GM_OK;
}

static gm_status take_options(gm_cli *cli, const gm_session *session, gm_martingale *m,
                              gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    m->draws = set->draws ? set->draws : DRAWS;
    gm_status status = take_policies(cli, session, m, err);
    if (status == GM_OK) status = check_policies(session, m, err);
    if (status == GM_OK) status = gm_points_batch(cli, session, &m->batch, &m->replacement, err);
    if (status == GM_OK) status = gm_points_find(cli, session, &m->points, err);
    if (status == GM_OK) status = take_divisor(cli, session, m, err);
    if (status == GM_OK)
        status = gm_session_check_matrix(session, "the draws", 1, 1, m->draws, err);
    if (status != GM_OK) return status;
    m->entry = gm_alloc(m->points.count * m->policies, sizeof *m->entry, "points", err);
    return m->entry ? GM_OK : GM_ERR_MEMORY;
}

/* ---- measuring ---- */

typedef struct work {
    double *theta, *diagonal, *delta; /* [p], [p], [draws] */
    const double *divisor;            /* diagonal, or NULL for D = I */
    gm_progress progress;
    size_t done;
} work;

static gm_status measure_divisor(const gm_session *session, const gm_martingale *m, work *w,
                                 gm_error *err)
{
    gm_linearization *lin = NULL;
    w->divisor = NULL;
    if (m->precondition == GM_PRECONDITION_NONE) return GM_OK;
    w->divisor = w->diagonal;
    if (m->precondition < GM_PRECONDITION_DIAG_MOMENT) {
        double *stored = NULL;
        char *what = NULL;
        size_t p;
        gm_status status = gm_precondition_from_run(session->run, &stored, &p, &what, err);
        if (status == GM_OK) memcpy(w->diagonal, stored, p * sizeof *stored);
        gm_run_free(stored);
        gm_run_free(what);
        return status;
    }
    gm_status status = gm_linearize(session->problem, w->theta, &lin, err);
    if (status == GM_OK) {
        status = gm_precondition_exact(lin, m->precondition, m->epsilon, w->diagonal, err);
    }
    gm_linearization_free(lin);
    return status;
}

/* What a policy that looks at theta chooses here. */
static gm_status look(const gm_session *session, const gm_martingale *m, const gm_policy *policy,
                      const work *w, gm_step_choice *choice, gm_error *err)
{
    gm_stepper *stepper = NULL;
    gm_status status = gm_stepper_create(session->problem, policy, m->batch, m->replacement,
                                         session->seed, 0, &stepper, err);
    if (status == GM_OK) {
        status = gm_stepper_choose(stepper, 0, w->theta, w->divisor, choice, err);
    }
    gm_stepper_free(stepper);
    return status;
}

/* eta of policy i at the point, and the oracle's numbers, of which oracle policies have their own.
 */
static gm_status choose(const gm_session *session, const gm_martingale *m, size_t i, int64_t step,
                        const work *w, const gm_step_choice *oracle, gm_martingale_entry *entry,
                        gm_error *err)
{
    const gm_policy *policy = &m->policy[i];
    gm_step_choice *c = &entry->choice;
    gm_status status = GM_OK;
    *c = *oracle;
    if (gm_policy_timed(policy)) {
        const char *steps = gm_dynamics_recorded(session, "train.steps");
        uint64_t t = step > 0 ? (uint64_t)step : 0;
        c->step = gm_policy_step(policy, m->first[i], t, steps ? strtoull(steps, NULL, 10) : 1);
    } else if (policy->kind == GM_POLICY_ESTIMATED) {
        status = gm_points_step_size(session, step, &c->step, err);
    } else {
        gm_step_choice own = {0};
        status = look(session, m, policy, w, &own, err);
        if (policy->kind == GM_POLICY_ORACLE) *c = own;
        c->step = own.step;
    }
    double eta = c->step;
    entry->bound = -eta * c->gradient_square + 0.5 * eta * eta * c->curvature * c->trace_moment;
    return status;
}

static gm_status draw(const gm_session *session, const gm_martingale *m, work *w, int64_t step,
                      gm_martingale_entry *entry, gm_error *err)
{
    gm_draw_options o;
    size_t slice = gm_dynamics_slice(session);
    gm_draw_options_default(&o);
    o.batch = m->batch;
    o.step = entry->choice.step;
    o.replacement = m->replacement;
    o.seed = session->seed;
    o.run = (uint32_t)step + 2; /* batches of each point's own; 0 and 1 are other commands' */
    o.divisor = w->divisor;
    memset(w->delta, 0, m->draws * sizeof *w->delta); /* of a step 0 */
    for (size_t done = 0; done < m->draws; done += o.draws) {
        if (gm_interrupt_agreed((void *)session->team)) {
            return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted; nothing was recorded");
        }
        o.first = done;
        o.draws = m->draws - done < slice ? m->draws - done : slice;
        gm_status status = GM_OK;
        if (o.step > 0.0) {
            status = gm_dynamics_draw(session, w->theta, &o, w->delta + done, err);
        }
        if (status != GM_OK) return status;
        w->done += o.draws;
        gm_progress_update(&w->progress, w->done, NULL);
    }
    gm_rise_of(m->draws, w->delta, &entry->rise);
    return GM_OK;
}

static gm_status measure_point(const gm_session *session, const gm_martingale *m, size_t point,
                               work *w, gm_error *err)
{
    int64_t step = m->points.step[point];
    gm_policy policy;
    gm_step_choice oracle = {0};
    gm_policy_default(GM_POLICY_ORACLE, &policy);
    gm_status status = gm_points_load(session, step, w->theta, err);
    if (status == GM_OK) status = measure_divisor(session, m, w, err);
    if (status == GM_OK) status = look(session, m, &policy, w, &oracle, err);
    for (size_t i = 0; status == GM_OK && i < m->policies; i++) {
        gm_martingale_entry *entry = &m->entry[point * m->policies + i];
        status = choose(session, m, i, step, w, &oracle, entry, err);
        if (status == GM_OK) status = draw(session, m, w, step, entry, err);
    }
    return status;
}

static gm_status measure(gm_cli *cli, gm_session *session, gm_martingale *m, gm_error *err)
{
    work w = {0};
    size_t p = gm_problem_parameters(session->problem);
    w.theta = gm_alloc(p, sizeof *w.theta, "parameters", err);
    w.diagonal = gm_alloc(p, sizeof *w.diagonal, "preconditioner", err);
    w.delta = gm_alloc(m->draws, sizeof *w.delta, "draws", err);
    gm_status status = w.theta && w.diagonal && w.delta ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_points_measure_session(session, err);
    gm_interrupt_install();
    gm_progress_start(&w.progress, "dynamics martingale", "draws", 0,
                      m->points.count * m->policies * m->draws, cli->shared.quiet);
    for (size_t i = 0; status == GM_OK && i < m->points.count; i++) {
        status = measure_point(session, m, i, &w, err);
    }
    gm_progress_finish(&w.progress);
    gm_free(w.theta);
    gm_free(w.diagonal);
    gm_free(w.delta);
    return status;
}

gm_status gm_martingale_run(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_martingale martingale = {0};
    json_t *document = NULL;
    gm_status status = gm_session_open(cli, &session, err);
    if (status == GM_OK) status = take_options(cli, &session, &martingale, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status != GM_OK) goto done;
    note_run(cli, &session, &martingale);
    gm_cli_begin(cli);
    status = measure(cli, &session, &martingale, err);
    if (status != GM_OK) goto done;
    document = gm_martingale_document(cli, &session, &martingale, err);
    status = document ? gm_record_result(cli, &session, "martingale", document, NULL, 0, err)
                      : GM_ERR_MEMORY;
    if (status == GM_OK && cli->shared.json) {
        status = gm_document_print(cli, document, err);
        document = NULL;
    } else if (status == GM_OK) {
        gm_martingale_print(cli, &session, &martingale);
    }
done:
    json_decref(document);
    gm_points_free(&martingale.points);
    gm_free(martingale.entry);
    gm_session_close(&session);
    return status;
}
