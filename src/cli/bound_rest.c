/* A bound with a prior learned from a share of the data: on the other samples alone. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "cli/bound.h"
#include "gradiometer/sgd.h"

/* The session's training set becomes those samples of it. */
static gm_status restrict_to(gm_session *session, size_t n, const size_t *index, gm_error *err)
{
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = session->loss_kind;
    options.memory = session->shared.memory;
    gm_status status = gm_dataset_select(session->data, n, index,
                                         "samples that the prior has not "
                                         "seen",
                                         &data, err);
    if (status == GM_OK) status = gm_problem_create(session->net, data, &options, &problem, err);
    if (status != GM_OK) {
        gm_dataset_free(data);
        return status;
    }
    if (session->alone == session->problem) session->alone = problem;
    gm_problem_free(session->problem);
    gm_dataset_free(session->data);
    session->problem = problem;
    session->data = data;
    return GM_OK;
}

static gm_status check_fraction(gm_cli *cli, const gm_run *run, const gm_prior_split *split,
                                gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    if (!gm_cli_given(cli, "prior-fraction")) return GM_OK;
    if (!split->n)
        return gm_fail(err, GM_ERR_USAGE,
                       "--prior-fraction: step 0 of %s is an initialization; `gradiometer train "
                       "--prior-fraction %g -o RUN.gmr` records a learned prior",
                       gm_run_path(run), set->prior_fraction);
    double recorded = (double)split->seen / (double)split->n;
    if (fabs(recorded - set->prior_fraction) <= 1.0 / (double)split->n) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--prior-fraction: found %g, but the prior of %s has seen %zu of %zu samples",
                   set->prior_fraction, gm_run_path(run), split->seen, split->n);
}

/* The document of the prior. */
static gm_status take_words(gm_run *run, gm_bound_origin *origin, gm_error *err)
{
    gm_run_result *result = NULL;
    size_t count = 0;
    gm_status status = gm_run_results(run, "prior", &result, &count, err);
    if (status == GM_OK && count) origin->learned = json_loads(result[0].json, 0, NULL);
    gm_run_free(result);
    if (status != GM_OK || origin->learned) return status;
    return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: the document of its prior",
                   gm_run_path(run));
}

gm_status gm_bound_rest(gm_cli *cli, gm_session *session, gm_run *run, gm_bound_origin *origin,
                        gm_error *err)
{
    gm_prior_split split = {0};
    gm_status status = gm_prior_load(run, session->problem, &split, err);
    if (status == GM_OK) status = check_fraction(cli, run, &split, err);
    if (status == GM_OK && split.n) {
        status = take_words(run, origin, err);
    }
    if (status == GM_OK && split.n) {
        status = restrict_to(session, split.n - split.seen, split.index + split.seen, err);
        gm_cli_note(
            cli,
            "the prior was learned from %zu of the %zu samples: empirical risk, Hessian and "
            "bound are those of the other %zu",
            split.seen, split.n, split.n - split.seen);
    }
    gm_prior_split_free(&split);
    return status;
}
