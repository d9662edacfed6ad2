/* Step-size policies that look at theta_t before the batch of step t is drawn. */
#include "sgd/stepper.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "run/store.h"
#include "sgd/sampler.h"

enum { START_BATCHES = 8, PASSES = 10 };

/* Draws of the second samples of batches of one, far beyond those of the batches at theta_0. */
static const uint64_t EXTRA_DRAWS = UINT64_C(1) << 62;

/* ---- construction ---- */

static gm_status allocate(gm_stepper *s, gm_error *err)
{
    size_t p = s->p;
    s->vector = gm_alloc(p, sizeof(double), "eigenvector of the policy", err);
    s->point = gm_alloc(p, sizeof(double), "parameters", err);
    s->moved = gm_alloc(p, sizeof(double), "parameters of the trial point", err);
    s->mu = gm_alloc(p, sizeof(double), "gradient", err);
    bool complete = s->vector && s->point && s->moved && s->mu;
    for (int h = 0; h < 2 && s->policy.kind == GM_POLICY_ESTIMATED; h++) {
        s->half[h] = gm_alloc(p, s->k->size, "gradient of half a batch", err);
        s->wide[h] = gm_alloc(p, sizeof(double), "gradient of half a batch", err);
        complete = complete && s->half[h] && s->wide[h];
    }
    return complete ? GM_OK : GM_ERR_MEMORY;
}

gm_status gm_stepper_create(gm_problem *problem, const gm_policy *policy, size_t batch,
                            gm_replacement replacement, uint64_t seed, uint32_t run,
                            gm_stepper **stepper, gm_error *err)
{
    *stepper = NULL;
    gm_status status = gm_policy_check(policy, 0.0, err);
    if (status) return status;
    if (gm_policy_timed(policy))
        return gm_fail(err, GM_ERR_USAGE, "--step: %s is a function of the step alone",
                       gm_policy_name(policy->kind));
    size_t n = gm_problem_data(problem)->n;
    if (batch < 1 || (batch > n && replacement != GM_REPLACEMENT_YES))
        return gm_fail(err, GM_ERR_USAGE, "--batch: %zu of %zu samples", batch, n);
    gm_stepper *s = gm_alloc(1, sizeof *s, "step-size policy", err);
    if (!s) return GM_ERR_MEMORY;
    *s = (gm_stepper){.problem = problem,
                      .policy = *policy,
                      .k = gm_kernels_get(gm_problem_data(problem)->dtype),
                      .n = n,
                      .p = gm_problem_parameters(problem),
                      .batch = batch,
                      .replacement = replacement,
                      .seed = seed,
                      .run = run,
                      .refresh = policy->every};
    s->choice.curvature = s->choice.trace_curvature = (double)NAN;
    if (!s->refresh) s->refresh = (uint64_t)ceil(PASSES * (double)n / (double)batch);
    status = allocate(s, err);
    if (status) {
        gm_stepper_free(s);
        return status;
    }
    *stepper = s;
    return GM_OK;
}

void gm_stepper_free(gm_stepper *s)
{
    if (!s) return;
    gm_free(s->vector);
    gm_free(s->point);
    gm_free(s->moved);
    gm_free(s->mu);
    for (int h = 0; h < 2; h++) {
        gm_free(s->half[h]);
        gm_free(s->wide[h]);
    }
    gm_free(s);
}

/* ---- the choice ---- */

/* The estimated policy looks at L more often at first. */
static bool is_due(const gm_stepper *s, uint64_t t)
{
    bool early = s->policy.kind == GM_POLICY_ESTIMATED && t < s->refresh && (t & (t - 1)) == 0;
    return t % s->refresh == 0 || early;
}

static gm_status measure(gm_stepper *s, uint64_t t, const double *theta, const double *divisor,
                         double *trial, gm_error *err)
{
    gm_step_choice *c = &s->choice;
    gm_linearization *lin = NULL;
    gm_status status = gm_linearize(s->problem, theta, &lin, err);
    c->curvature = (double)NAN;
    if (!status && s->policy.kind != GM_POLICY_ESTIMATED)
        status = gm_stepper_inputs(s, lin, divisor, t, c, err);
    /* With a positive trace of the model L does not enter. */
    if (!status && !(c->trace_curvature > 0.0))
        status = gm_stepper_curvature(s, &lin, divisor, c, trial, err);
    gm_linearization_free(lin);
    return status;
}

gm_status gm_stepper_choose(gm_stepper *s, uint64_t t, const double *theta, const double *divisor,
                            gm_step_choice *choice, gm_error *err)
{
    double trial = (double)INFINITY;
    bool due = is_due(s, t), estimated = s->policy.kind == GM_POLICY_ESTIMATED;
    s->choice.measured = due || estimated;
    if (due) {
        gm_status status = measure(s, t, theta, divisor, &trial, err);
        if (status) return status;
    }
    if (due || estimated) {
        gm_stepper_finish(&s->policy, s->choice.curvature, &s->choice);
        s->choice.step = fmin(s->choice.step, trial);
    }
    *choice = s->choice;
    return GM_OK;
}

/* ---- means over batches ---- */

typedef struct halves {
    size_t h[2];
    bool disjoint; /* parts of one subset, else independent draws */
} halves;

/* A batch's estimates of mu.D^-1 mu and tr(D^-1 M_m D^-1) from the gradients of its halves. */
static void estimate(const gm_stepper *s, const halves *cut, const double *divisor, double *square,
                     double *trace)
{
    const double *g = s->wide[0], *h = s->wide[1];
    double share = (double)cut->h[0] / (double)(cut->h[0] + cut->h[1]), spread = 0.0;
    *square = *trace = 0.0;
    for (size_t i = 0; i < s->p; i++) {
        double d = divisor ? divisor[i] : 1.0, apart = g[i] - h[i];
        double both = share * g[i] + (1.0 - share) * h[i];
        *square += g[i] * h[i] / d;
        spread += apart * apart / d;
        *trace += both * both / (d * d);
    }
    spread /= 1.0 / (double)cut->h[0] + 1.0 / (double)cut->h[1];
    if (cut->disjoint) *square += spread / (double)s->n;
}

/* A single sample's: mu.D^-1 mu from it and an independent one, the trace from it alone. */
static void estimate_single(const gm_stepper *s, const double *divisor, double *square,
                            double *trace)
{
    const double *g = s->wide[0], *h = s->wide[1];
    *square = *trace = 0.0;
    for (size_t i = 0; i < s->p; i++) {
        double d = divisor ? divisor[i] : 1.0;
        *square += g[i] * h[i] / d;
        *trace += g[i] * g[i] / (d * d);
    }
}

/* Gradients of both halves in half and wide; loss and gradient (either may be NULL) of the whole.
 */
static gm_status take_halves(gm_stepper *s, uint64_t t, const void *theta, size_t m,
                             const size_t *index, const double *divisor, double *loss,
                             void *gradient, double *square, double *trace, gm_error *err)
{
    halves cut = {{m - m / 2, m / 2}, s->replacement != GM_REPLACEMENT_YES};
    const size_t *part[2] = {index, index + cut.h[0]};
    size_t extra;
    double value[2];
    if (m == 1) {
        gm_stream stream = gm_stream_of(s->seed, GM_PURPOSE_POLICY, s->run);
        extra = (size_t)gm_below(stream, EXTRA_DRAWS + t, s->n);
        part[1] = &extra;
    }
    for (int h = 0; h < 2; h++) {
        size_t count = m == 1 ? 1 : cut.h[h];
        gm_status status = gm_problem_batch_gradient(s->problem, theta, count, part[h], &value[h],
                                                     s->half[h], err);
        if (status) return status;
        s->k->to_double(s->p, s->half[h], s->wide[h]);
    }
    double share = (double)cut.h[0] / (double)m;
    if (loss) *loss = m == 1 ? value[0] : share * value[0] + (1.0 - share) * value[1];
    if (gradient) {
        s->k->fill(s->p, 0.0, gradient);
        s->k->axpy(s->p, share, s->half[0], gradient);
        if (m > 1) s->k->axpy(s->p, 1.0 - share, s->half[1], gradient);
    }
    if (m == 1) {
        estimate_single(s, divisor, square, trace);
    } else {
        estimate(s, &cut, divisor, square, trace);
    }
    return GM_OK;
}

gm_status gm_stepper_gradient(gm_stepper *s, uint64_t t, const void *theta, size_t m,
                              const size_t *index, const double *divisor, double *loss,
                              void *gradient, gm_error *err)
{
    if (s->policy.kind != GM_POLICY_ESTIMATED)
        return gm_problem_batch_gradient(s->problem, theta, m, index, loss, gradient, err);
    double square, trace, keep = 1.0 - 1.0 / s->policy.memory;
    gm_status status = take_halves(s, START_BATCHES + t, theta, m, index, divisor, loss, gradient,
                                   &square, &trace, err);
    if (status) return status;
    gm_step_choice *c = &s->choice;
    c->gradient_square = keep * c->gradient_square + (1.0 - keep) * square;
    c->trace_moment = keep * c->trace_moment + (1.0 - keep) * trace;
    return GM_OK;
}

gm_status gm_stepper_start(gm_stepper *s, const double *theta, const double *divisor, gm_error *err)
{
    if (s->policy.kind != GM_POLICY_ESTIMATED) return GM_OK;
    gm_replacement fresh =
        s->replacement == GM_REPLACEMENT_YES ? s->replacement : GM_REPLACEMENT_NO;
    gm_stream stream = gm_stream_of(s->seed, GM_PURPOSE_POLICY, s->run);
    gm_sampler *sampler = NULL;
    size_t *index = gm_alloc(s->batch, sizeof *index, "mini-batch", err);
    void *native = gm_alloc(s->p, s->k->size, "parameters", err);
    gm_status status = index && native ? GM_OK : GM_ERR_MEMORY;
    if (!status) status = gm_sampler_create_from(stream, s->n, s->batch, fresh, &sampler, err);
    if (!status) s->k->from_double(s->p, theta, native);
    s->choice.gradient_square = s->choice.trace_moment = 0.0;
    for (uint64_t b = 0; !status && b < START_BATCHES; b++) {
        double square = 0.0, trace = 0.0;
        size_t m = gm_sampler_draw(sampler, b, index);
        status = take_halves(s, b, native, m, index, divisor, NULL, NULL, &square, &trace, err);
        s->choice.gradient_square += square / START_BATCHES;
        s->choice.trace_moment += trace / START_BATCHES;
    }
    gm_sampler_free(sampler);
    gm_free(native);
    gm_free(index);
    return status;
}

/* ---- in the run file ---- */

static const char command[] = "train", key[] = "policy", vector_name[] = "vector";

/* The choice as an array of numbers. */
static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"gradient_square", offsetof(gm_step_choice, gradient_square)},
    {"trace_moment", offsetof(gm_step_choice, trace_moment)},
    {"curvature", offsetof(gm_step_choice, curvature)},
    {"trace_curvature", offsetof(gm_step_choice, trace_curvature)},
    {"limit", offsetof(gm_step_choice, limit)},
    {"step", offsetof(gm_step_choice, step)},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

gm_status gm_stepper_save(const gm_stepper *s, gm_run *run, gm_error *err)
{
    double value[NUMBERS];
    char json[GM_POLICY_TEXT + 64], text[GM_POLICY_TEXT];
    gm_policy_print(&s->policy, 0.0, text);
    snprintf(json, sizeof json, "{\"command\":\"train\",\"policy\":\"%s\"}", text);
    for (int i = 0; i < NUMBERS; i++) {
        value[i] = *(const double *)((const char *)&s->choice + numbers[i].offset);
    }
    gm_run_result result = {.command = command, .step = GM_RUN_NO_STEP, .key = key, .json = json};
    gm_run_array array[] = {
        {.name = "numbers", .dtype = GM_F64, .rank = 1, .dim = {NUMBERS}, .data = value},
        {.name = vector_name, .dtype = s->k->dtype, .rank = 1, .dim = {s->p}, .data = s->vector},
    };
    return gm_run_add_result(run, &result, array, s->has_vector ? 2 : 1, NULL, err);
}

static gm_status damaged(const gm_run *run, gm_error *err)
{
    return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: the state of the policy does not fit",
                   gm_run_path(run));
}

static gm_status load_array(gm_run *run, int64_t id, const char *name, size_t count, double *value,
                            gm_error *err)
{
    gm_run_array *array = NULL;
    gm_status status = gm_run_load_array(run, id, name, &array, err);
    if (!status && (array->rank != 1 || array->dim[0] != count)) status = damaged(run, err);
    if (!status) memcpy(value, array->data, count * sizeof *value);
    gm_run_free(array);
    return status;
}

static gm_status load_result(gm_stepper *s, gm_run *run, int64_t id, gm_error *err)
{
    double value[NUMBERS];
    gm_run_array *list = NULL;
    size_t count = 0;
    gm_status status = load_array(run, id, "numbers", NUMBERS, value, err);
    if (!status) status = gm_run_arrays(run, id, &list, &count, err);
    if (status) return status;
    gm_run_free(list);
    for (int i = 0; i < NUMBERS; i++) {
        *(double *)((char *)&s->choice + numbers[i].offset) = value[i];
    }
    s->has_vector = count > 1;
    return s->has_vector ? load_array(run, id, vector_name, s->p, s->vector, err) : GM_OK;
}

gm_status gm_stepper_load(gm_stepper *s, gm_run *run, gm_error *err)
{
    gm_run_result *result = NULL;
    size_t count = 0, found = 0;
    gm_status status = gm_run_results(run, command, &result, &count, err);
    for (size_t i = 0; !status && i < count; i++) {
        if (strcmp(result[i].key, key) != 0) continue;
        status = load_result(s, run, result[i].id, err);
        found++;
    }
    gm_run_free(result);
    return !status && !found ? damaged(run, err) : status;
}
