/* One step of SGD predicted and drawn (dynamics.h), the same seen in an ensemble of runs
 * (ensemble.h), and the steps that stay near a minimum (stability.h).
 *
 *     step      status 1 where a check fails */
#include "setting.h"

enum { BATCH = 5, DRAWS = 400, RUNS = 200 };
static const double eta = 0.02;

static gm_status predict(gm_linearization *lin, gm_step_prediction *prediction, gm_error *err)
{
    gm_step_options options;
    gm_step_model model = {0};
    gm_step_options_default(&options);
    gm_status status = gm_step_model_make(lin, &options, &model, err);
    if (!status) status = gm_step_predict(&model, BATCH, false, eta, prediction, err);
    gm_step_model_free(&model);
    return status;
}

/* f(theta - eta g) - f(theta) for fresh mini-batches. */
static gm_status draw(setting *s, const gm_step_prediction *prediction, gm_error *err)
{
    double delta[DRAWS];
    gm_draw_options options;
    gm_rise rise;
    gm_draw_options_default(&options);
    options.batch = BATCH;
    options.step = eta;
    options.draws = DRAWS;
    gm_status status = gm_step_draw(s->problem, s->theta, &options, delta, err);
    if (status) return status;
    gm_rise_of(DRAWS, delta, &rise);
    /* Five standard errors, and what third order adds to the second-order model at so small a step.
     */
    agree("E Delta: drawn, predicted", rise.mean, prediction->mean,
          5 * rise.std_error + 0.02 * fabs(prediction->mean));
    holds("it falls in expectation", rise.ok);
    return GM_OK;
}

/* Runs of two steps from here: their first one has the same law. */
static gm_status ensemble(setting *s, const gm_step_prediction *prediction, gm_error *err)
{
    gm_ensemble_options options;
    gm_ensemble *runs = NULL;
    gm_ensemble_summary first;
    gm_ensemble_options_default(&options);
    options.runs = RUNS;
    options.train.steps = 2;
    options.train.batch = BATCH;
    options.train.step = eta;
    gm_status status = gm_ensemble_create(s->problem, NULL, &options, s->theta, &runs, err);
    if (!status) status = gm_ensemble_run(runs, NULL, err);
    if (!status) status = gm_ensemble_summarize(runs, GM_QUANTITY_DELTA, 0, &first, err);
    if (!status)
        agree("E Delta: ensemble, predicted", first.mean, prediction->mean,
              5 * first.stderror + 0.02 * fabs(prediction->mean));
    gm_ensemble_free(runs);
    return status;
}

/* Where the mean square distance from here neither shrinks nor grows. */
static gm_status stability(gm_linearization *lin, gm_error *err)
{
    gm_span_options options;
    gm_span span = {0};
    gm_stability_limits limits;
    double growth, first, kappa = 1.0 / BATCH;
    gm_span_options_default(&options);
    options.k = 4;
    gm_status status = gm_span_make(lin, &options, &span, err);
    if (!status) status = gm_stability_limits_find(&span, kappa, &limits, err);
    if (!status) status = gm_stability_growth(&span, kappa, limits.boundary, &growth, &first, err);
    if (!status) {
        printf("  stable steps for batches of %d: surely below %.4g, in the long run below %.4g; "
               "full batch %.4g\n",
               BATCH, limits.sufficient, limits.boundary, 2.0 / span.lambda_max);
        agree("growth at the boundary", growth, 1.0, 1e-9);
        holds("noise makes it narrower", limits.boundary < 2.0 / span.lambda_max);
    }
    gm_span_free(&span);
    return status;
}

int main(void)
{
    gm_error err = {0};
    gm_linearization *lin = NULL;
    gm_step_prediction prediction;
    setting s;
    gm_status status = setting_open("mlp:6-5-3", "gauss:k=3,d=6,n=40", &s, &err);
    if (!status) status = gm_linearize(s.problem, s.theta, &lin, &err);
    if (!status) status = predict(lin, &prediction, &err);
    if (!status) status = draw(&s, &prediction, &err);
    if (!status) status = ensemble(&s, &prediction, &err);
    if (!status) status = stability(lin, &err);
    gm_linearization_free(lin);
    setting_close(&s);
    return setting_end(status, &err);
}
