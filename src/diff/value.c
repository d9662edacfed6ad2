/* Loss and gradient: one sweep over the chunks; and the gradient of a mini-batch for training. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "diff/problem.h"

typedef struct value_job {
    gm_problem *problem;
    const void *theta;
    double *loss;  /* [chunks] sums */
    double *wrong; /* [chunks] counts */
    gm_sums *sums; /* NULL: value only */
} value_job;

void gm_worker_losses(const gm_worker *w, double *loss, double *wrong)
{
    size_t count = 0;
    *loss = 0.0;
    for (size_t i = 0; i < w->chunk.n; i++) {
        *loss += w->loss[i];
    }
    for (size_t i = 0; i < w->chunk.n * w->engine.positions; i++) {
        count += w->wrong[i];
    }
    *wrong = w->engine.weight * (double)count;
}

/* Loss of the worker's chunk; its backward signals and the sums of its gradient where asked. */
static void chunk_value(const gm_problem *problem, gm_worker *w, void *const *sum, double *loss,
                        double *wrong)
{
    const gm_engine *e = &w->engine;
    int last = e->net->nodes - 1;
    gm_pass_value(e, &w->chunk);
    gm_pass_loss(e, &w->chunk, w->loss, w->wrong);
    gm_worker_losses(w, loss, wrong);
    if (!sum || !w->chunk.signal[last]) return;
    gm_directions d = {.count = 1, .offset = 0, .size = e->net->parameters, .sum = sum};
    gm_pass_backward(e, &w->chunk, problem->active, 1, w->chunk.signal, &d);
}

static void value_work(void *job, gm_worker *w, size_t index)
{
    value_job *j = job;
    gm_worker_load(j->problem, w, j->theta, index);
    void *const *sum = j->sums ? gm_sums_of(j->sums, w->thread) : NULL;
    chunk_value(j->problem, w, sum, &j->loss[index], &j->wrong[index]);
    if (sum) gm_sums_added(j->sums, w->thread, w->chunk.n);
}

void gm_chunks_means(const gm_problem *problem, const double *loss, const double *wrong,
                     double *mean_loss, double *mean_wrong)
{
    double total[2] = {0.0, 0.0}, n = (double)problem->samples;
    for (size_t i = 0; i < problem->chunks; i++) {
        total[0] += loss[i];
        total[1] += wrong[i];
    }
    gm_team_sum(problem->team, 2, total);
    if (mean_loss) *mean_loss = isnan(total[0]) ? (double)INFINITY : total[0] / n;
    if (mean_wrong) *mean_wrong = total[1] / n;
}

void gm_problem_sums(const gm_problem *problem, gm_sums *sums, double scale, size_t count,
                     double *out)
{
    gm_sums_finish(sums, scale, count, out);
    gm_team_sum(problem->team, count * sums->size, out);
}

static gm_status value_and_gradient(gm_problem *problem, const double *theta, double *loss,
                                    double *error_rate, double *gradient, gm_error *err)
{
    value_job job = {.problem = problem};
    void *owned = NULL;
    gm_status status = gm_problem_theta(problem, theta, &job.theta, &owned, err);
    if (status != GM_OK) return status;
    job.loss = gm_alloc(2 * problem->chunks, sizeof(double), "losses", err);
    if (!job.loss) status = GM_ERR_MEMORY;
    if (status == GM_OK && gradient && !problem->sums) {
        status = gm_sums_create(problem->engine.k, problem->workers, 1,
                                gm_problem_parameters(problem), &problem->sums, err);
    }
    if (status == GM_OK) {
        job.wrong = job.loss + problem->chunks;
        job.sums = gradient ? problem->sums : NULL;
        if (gradient) gm_sums_clear(job.sums);
        gm_sweep(problem, value_work, &job);
        gm_chunks_means(problem, job.loss, job.wrong, loss, error_rate);
        if (gradient) {
            gm_problem_sums(problem, job.sums, 1.0 / (double)problem->samples, 1, gradient);
        }
    }
    gm_free(job.loss);
    gm_free(owned);
    return status;
}

gm_status gm_problem_value(gm_problem *problem, const double *theta, double *loss,
                           double *error_rate, gm_error *err)
{
    return value_and_gradient(problem, theta, loss, error_rate, NULL, err);
}

gm_status gm_problem_gradient(gm_problem *problem, const double *theta, double *loss,
                              double *error_rate, double *gradient, gm_error *err)
{
    return value_and_gradient(problem, theta, loss, error_rate, gradient, err);
}

/* The worker's chunk becomes the samples index[0 ... n-1]. */
static void gather(const gm_problem *problem, gm_worker *w, const void *theta, size_t n,
                   const size_t *index)
{
    const gm_dataset *data = problem->data;
    problem->engine.k->gather_rows(n, data->features, index, data->x, w->x);
    size_t labels = data->positions;
    for (size_t i = 0; data->label && i < n; i++) {
        memcpy(w->label + i * labels, data->label + index[i] * labels, labels * sizeof *w->label);
    }
    for (size_t i = 0; data->target && i < n; i++) {
        memcpy(w->target + i * data->outputs, data->target + index[i] * data->outputs,
               data->outputs * sizeof(double));
    }
    w->value.node[0] = w->x;
    w->chunk = (gm_chunk){.n = n,
                          .theta = theta,
                          .value = w->value.node,
                          .signal = w->signal.node,
                          .prob = gm_worker_prob(w),
                          .label = w->label,
                          .target = w->target};
}

static gm_status reserve_batch(gm_problem *problem, gm_worker *w, gm_error *err)
{
    const gm_dataset *data = problem->data;
    if (!w->x)
        w->x =
            gm_alloc(problem->chunk * data->features, problem->engine.k->size, "mini-batch", err);
    if (data->label && !w->label)
        w->label = gm_alloc(problem->chunk * data->positions, sizeof *w->label, "mini-batch", err);
    if (data->target && !w->target) {
        w->target = gm_alloc(problem->chunk * data->outputs, sizeof *w->target, "mini-batch", err);
    }
    return w->x && (!data->label || w->label) && (!data->target || w->target) ? GM_OK
                                                                              : GM_ERR_MEMORY;
}

/* Layers on images and products of activations have so many small steps that waking the threads in
 * each of them costs more than it gives: the workers share out the mini-batch instead. */
static bool shares_batch(const gm_problem *problem)
{
    const gm_net *net = problem->engine.net;
    for (int i = 1; i < net->nodes; i++) {
        const gm_layer_kind *kind = net->node[i].kind;
        if (kind->scratch || kind == &gm_layer_matmul) return problem->workers > 1;
    }
    return false;
}

/* One worker's sum of the gradients of samples first ... last - 1 of the mini-batch. */
static double batch_range(const gm_problem *problem, gm_worker *w, const void *theta, size_t first,
                          size_t last, const size_t *index, void *const *sum)
{
    double total = 0.0;
    for (size_t i = first; i < last; i += problem->chunk) {
        size_t n = last - i < problem->chunk ? last - i : problem->chunk;
        double loss, wrong;
        gather(problem, w, theta, n, index + i);
        chunk_value(problem, w, sum, &loss, &wrong);
        total += loss;
    }
    return total;
}

typedef struct batch_job {
    gm_problem *problem;
    const void *theta;
    size_t m;
    const size_t *index;
    gm_sums *sums;
} batch_job;

static void batch_work(void *job, gm_worker *w)
{
    batch_job *j = job;
    size_t workers = (size_t)j->problem->workers, at = (size_t)w->thread;
    size_t first = j->m * at / workers, last = j->m * (at + 1) / workers;
    w->batch_loss =
        batch_range(j->problem, w, j->theta, first, last, j->index, gm_sums_of(j->sums, w->thread));
    gm_sums_added(j->sums, w->thread, last - first);
}

static gm_status shared_batch(gm_problem *problem, const void *theta, size_t m, const size_t *index,
                              double *loss, void *gradient, gm_error *err)
{
    const gm_kernels *k = problem->engine.k;
    size_t p = gm_problem_parameters(problem);
    gm_status status = GM_OK;
    if (!problem->sums) {
        status = gm_sums_create(k, problem->workers, 1, p, &problem->sums, err);
    }
    if (!problem->batch_sum) problem->batch_sum = gm_alloc(p, sizeof(double), "gradient", err);
    if (status != GM_OK || !problem->batch_sum) return GM_ERR_MEMORY;
    batch_job job = {problem, theta, m, index, problem->sums};
    gm_sums_clear(problem->sums);
    gm_each_worker(problem, batch_work, &job);
    gm_sums_finish(problem->sums, 1.0 / (double)m, 1, problem->batch_sum);
    k->from_double(p, problem->batch_sum, gradient);
    double total = 0.0;
    for (int w = 0; w < problem->workers; w++) {
        total += problem->worker[w].batch_loss;
    }
    if (loss) *loss = total / (double)m;
    return GM_OK;
}

gm_status gm_problem_batch_gradient(gm_problem *problem, const void *theta, size_t m,
                                    const size_t *index, double *loss, void *gradient,
                                    gm_error *err)
{
    bool shared = shares_batch(problem);
    problem->gathered = NULL;
    if (problem->data->whole) {
        return gm_fail(err, GM_ERR_USAGE, "%s: a mini-batch needs all samples, not a share",
                       problem->data->name);
    }
    for (int w = 0; w < (shared ? problem->workers : 1); w++) {
        gm_status status = reserve_batch(problem, &problem->worker[w], err);
        if (status != GM_OK) return status;
    }
    if (shared) return shared_batch(problem, theta, m, index, loss, gradient, err);
    const gm_kernels *k = problem->engine.k;
    size_t p = gm_problem_parameters(problem);
    memset(gradient, 0, p * k->size);
    double total = batch_range(problem, &problem->worker[0], theta, 0, m, index, &gradient);
    problem->gathered = m <= problem->chunk ? index : NULL;
    /* In place: gradient = 0 * gradient + gradient / m would round twice; scale_rows of one row
     * does it once. */
    double scale = 1.0 / (double)m;
    k->scale_rows(1, p, &scale, gradient, gradient);
    if (loss) *loss = total / (double)m;
    return GM_OK;
}

const gm_chunk *gm_problem_batch_chunk(gm_problem *problem, const void *theta, size_t m,
                                       const size_t *index, size_t first, gm_worker **worker)
{
    gm_worker *w = &problem->worker[0];
    *worker = w;
    bool there = problem->gathered == index && w->chunk.n == m && w->chunk.theta == theta;
    if (there && w->value.node[0] == w->x) return &w->chunk;
    size_t n = m - first < problem->chunk ? m - first : problem->chunk;
    problem->gathered = NULL;
    gather(problem, w, theta, n, index + first);
    gm_pass_value(&w->engine, &w->chunk);
    gm_pass_loss(&w->engine, &w->chunk, w->loss, w->wrong);
    gm_pass_backward(&w->engine, &w->chunk, problem->active, 1, w->chunk.signal, NULL);
    return &w->chunk;
}
