/* A training recorded in a run file (sgd.h, run.h), the Hessian's largest eigenvalues followed
 * along it (track.h), and a page about it (report.h).
 *
 *     training [FOLDER]      where run file and page go for the moment; status 1 where a check
 * fails
 */
#include "setting.h"

enum { STEPS = 200, EVERY = 50, TOP = 2 };

/* ---- the tracker, hung on the training ---- */

static bool due(void *tracker, uint64_t t)
{
    return gm_tracker_due(tracker, t);
}

static gm_status measure(void *tracker, uint64_t t, const double *theta, gm_error *err)
{
    return gm_tracker_measure(tracker, t, theta, err);
}

static gm_status save(void *tracker, gm_run *run, gm_error *err)
{
    return gm_tracker_save(tracker, run, err);
}

static gm_status train(setting *s, gm_run *run, gm_train_result *result, gm_error *err)
{
    gm_train_options options;
    gm_track_options track;
    gm_tracker *tracker = NULL;
    gm_train_options_default(&options); /* plain SGD, batches drawn with replacement */
    options.steps = STEPS;
    options.batch = 10;
    options.step = 0.1;
    options.record_every = 20;        /* loss and errors on the whole set */
    gm_track_options_default(&track); /* of the Hessian */
    track.k = TOP;
    track.every = EVERY;
    gm_status status = gm_track_options_resolve(&track, s->problem, err);
    if (!status) status = gm_tracker_create(s->problem, &track, options.seed, STEPS, &tracker, err);
    gm_train_hooks hooks = {.context = tracker, .due = due, .measure = measure, .save = save};
    if (!status) status = gm_train(s->problem, NULL, &options, &hooks, run, s->theta, result, err);
    gm_tracker_free(tracker);
    return status;
}

/* ---- what the file says afterwards ---- */

/* Last value of a metric. */
static gm_status last_of(gm_run *run, const char *name, double *last, gm_error *err)
{
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    gm_status status = gm_run_metric(run, name, &step, &value, &count, err);
    *last = count ? value[count - 1] : (double)NAN;
    printf("  %s: %zu steps, the last is %lld\n", name, count,
           count ? (long long)step[count - 1] : -1);
    gm_run_free(step);
    gm_run_free(value);
    return status;
}

static gm_status largest_eigenvalue(setting *s, double *value, gm_error *err)
{
    gm_linearization *lin = NULL;
    gm_operator hessian = {0};
    gm_eigen pairs = {0};
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.k = 1;
    options.tol = 1e-8;
    gm_status status = gm_linearize(s->problem, s->theta, &lin, err);
    if (!status) status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, err);
    if (!status) status = gm_eigenpairs(&hessian, &options, &pairs, err);
    if (!status) *value = pairs.value[0];
    gm_eigen_free(&pairs);
    gm_operator_destroy(&hessian);
    gm_linearization_free(lin);
    return status;
}

static gm_status check(setting *s, const char *path, const gm_train_result *result, gm_error *err)
{
    gm_run *run = NULL;
    double loss = 0, tracked = 0, lambda = 0, here = 0;
    gm_status status = gm_run_open(path, GM_RUN_READ, &run, err);
    if (!status) status = last_of(run, "loss", &loss, err);
    if (!status) status = last_of(run, "hessian/eigenvalue/1", &tracked, err);
    gm_run_close(run);
    if (!status) status = gm_problem_value(s->problem, s->theta, &here, NULL, err);
    if (!status) status = largest_eigenvalue(s, &lambda, err);
    if (status) return status;
    agree("loss in the run file", loss, result->loss, 0.0);
    agree("loss at the last parameters", here, result->loss, 1e-12);
    agree("tracked lambda_max", tracked, lambda, 1e-6 * lambda);
    return GM_OK;
}

int main(int argc, char **argv)
{
    char path[512], page[512];
    const char *runs[] = {path};
    const gm_setting settings[] = {{"command", "examples/training.c"},
                                   {"model", "mlp:6-8-3"},
                                   {"data", "gauss:k=3,d=6,n=60"},
                                   {"loss", "cross_entropy"}};
    gm_error err = {0};
    gm_run *run = NULL;
    gm_train_result result = {0};
    setting s;
    snprintf(path, sizeof path, "%s/example_training.gmr", argc > 1 ? argv[1] : ".");
    snprintf(page, sizeof page, "%s/example_training.html", argc > 1 ? argv[1] : ".");
    gm_status status = setting_open(settings[1].value, settings[2].value, &s, &err);
    if (!status) status = gm_run_create(path, true, settings, 4, &run, &err);
    if (!status) status = train(&s, run, &result, &err);
    gm_run_close(run);
    if (!status) printf("%s\n", result.message);
    if (!status) status = check(&s, path, &result, &err);
    if (!status) status = gm_report_write(1, runs, page, &err);
    if (!status) holds("a page about it", remove(page) == 0);
    if (!status) remove(path);
    setting_close(&s);
    return setting_end(status, &err);
}
