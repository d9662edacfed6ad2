#include "cli/train_prior.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/document.h"
#include "cli/interrupt.h"
#include "cli/watcher.h"

/* Options of the run with the steps of the prior. */
static gm_train_options options_of(const gm_learned_prior *prior, const gm_train_options *options)
{
    gm_train_options own = *options;
    if (prior->asked.steps) own.steps = prior->asked.steps;
    return own;
}

/* What would let the prior see samples that the bound is computed on is refused. */
gm_status gm_learned_prior_check(const gm_cli *cli, gm_error *err)
{
    if (!gm_cli_given(cli, "prior-fraction")) {
        if (!gm_cli_given(cli, "prior-steps")) return GM_OK;
        return gm_fail(err, GM_ERR_USAGE, "--prior-steps: expected with --prior-fraction only");
    }
    if (cli->shared.params)
        return gm_fail(err, GM_ERR_USAGE,
                       "--params: found it with --prior-fraction, which begins at the "
                       "initialization: what parameters from elsewhere have seen is not known");
    if (cli->shared.standardize)
        return gm_fail(err, GM_ERR_USAGE,
                       "--standardize: found it with --prior-fraction: its means and deviations "
                       "come from all samples, those that the prior must not see among them");
    return GM_OK;
}

gm_status gm_learned_prior_open(const gm_cli *cli, const gm_session *session,
                                const gm_train_prior *asked, const gm_train_options *options,
                                gm_learned_prior *prior, gm_error *err)
{
    *prior = (gm_learned_prior){.asked = *asked};
    if (!gm_cli_given(cli, "prior-fraction")) return GM_OK;
    gm_status status =
        gm_prior_split_make(session->data->n, asked->fraction, session->seed, &prior->split, err);
    if (status != GM_OK) return status;
    gm_train_options own = options_of(prior, options);
    prior->asked.steps = own.steps;
    return gm_train_options_check(&own, prior->split.seen, err);
}

/* ---- training ---- */

gm_status gm_learned_prior_train(const gm_cli *cli, gm_session *session,
                                 const gm_train_options *options, gm_learned_prior *prior,
                                 gm_error *err)
{
    if (!prior->split.n) return GM_OK;
    gm_train_options own = options_of(prior, options);
    gm_watcher watch = {"prior", "batch loss", .quiet = cli->shared.quiet};
    gm_train_hooks hooks = {
        .context = &watch, .stop = gm_interrupt_requested, .progress = gm_watcher_show};
    gm_status status = gm_prior_train(session->problem, &prior->split, &own, &hooks, session->theta,
                                      &prior->result, err);
    gm_watcher_finish(&watch);
    if (status != GM_OK) return status;
    if (prior->result.outcome == GM_TRAIN_INTERRUPTED)
        return gm_fail(err, GM_ERR_INTERRUPTED, "the prior was %s; nothing was recorded",
                       prior->result.message);
    if (prior->result.outcome == GM_TRAIN_DIVERGED)
        return gm_fail(err, GM_ERR_NUMERIC, "the training of the prior %s", prior->result.message);
    gm_free(session->point);
    session->point =
        gm_format(err, "prior trained on %zu of %zu samples for %" PRIu64 " steps, seed %llu",
                  prior->split.seen, prior->split.n, own.steps, (unsigned long long)session->seed);
    return session->point ? GM_OK : GM_ERR_MEMORY;
}

gm_status gm_learned_prior_store(gm_run *run, const gm_session *session,
                                 const gm_learned_prior *prior, gm_error *err)
{
    if (!prior->split.n) return GM_OK;
    return gm_prior_store(run, session->problem, &prior->split, prior->asked.fraction,
                          prior->asked.steps, &prior->result, err);
}

/* ---- results ---- */

json_t *gm_learned_prior_value(gm_cli *cli, const gm_learned_prior *prior)
{
    if (!prior->split.n) return json_null();
    const gm_train_result *r = &prior->result;
    json_t *object = json_object();
    json_object_set_new(object, "fraction", json_real(prior->asked.fraction));
    json_object_set_new(object, "steps", json_integer((json_int_t)prior->asked.steps));
    json_object_set_new(object, "seen", json_integer((json_int_t)prior->split.seen));
    json_object_set_new(object, "rest",
                        json_integer((json_int_t)(prior->split.n - prior->split.seen)));
    json_object_set_new(object, "loss", gm_json_number(cli, "loss of the prior", r->loss));
    json_object_set_new(object, "error_rate",
                        gm_json_number(cli, "error rate of the prior", r->error_rate));
    json_object_set_new(object, "rest_loss",
                        gm_json_number(cli, "loss of the prior on the rest", r->test_loss));
    json_object_set_new(
        object, "rest_error_rate",
        gm_json_number(cli, "error rate of the prior on the rest", r->test_error_rate));
    return object;
}

void gm_learned_prior_print(const gm_learned_prior *prior)
{
    if (!prior->split.n) return;
    const gm_train_result *r = &prior->result;
    printf("prior      %" PRIu64 " steps on %zu of %zu samples: error %.4g %% there, %.4g %% on "
           "the %zu others, on which a bound is computed\n",
           prior->asked.steps, prior->split.seen, prior->split.n, 100 * r->error_rate,
           100 * r->test_error_rate, prior->split.n - prior->split.seen);
}
