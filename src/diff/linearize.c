/* The linearization: values and backward signals of all chunks, kept where the memory budget
 * allows.
 *
 * What a product reads of a chunk (theory section 1, "linearize once, multiply often"): the inputs
 * of layers with parameters, what the activations' derivatives need, the backward signals at layers
 * with parameters, and the probabilities, from which the signal at the logits is made again when
 * asked. The features are the data set's own rows. */
#include <string.h>

#include "base/memory.h"
#include "diff/problem.h"

typedef struct keep {
    bool *value, *signal; /* [nodes] */
    size_t value_width, signal_width, prob_width;
    size_t sample_bytes;
} keep;

static gm_status plan_keep(const gm_problem *problem, keep *plan, gm_error *err)
{
    const gm_engine *e = &problem->engine;
    size_t nodes = (size_t)e->net->nodes;
    plan->value = gm_alloc(2 * nodes, sizeof(bool), "linearization", err);
    if (!plan->value) return GM_ERR_MEMORY;
    plan->signal = plan->value + nodes;
    for (int i = 1; i < e->net->nodes; i++) {
        plan->value[i] = gm_pass_keeps_value(e->net, i);
        plan->signal[i] = gm_pass_keeps_signal(e->net, i) || i == e->net->nodes - 1;
    }
    /* The signal at the logits follows from the probabilities: over many classes either is as large
     * as all the rest. */
    if (e->loss == GM_LOSS_CROSS_ENTROPY) plan->signal[e->net->nodes - 1] = false;
    plan->value_width = gm_arrays_width(e->net, plan->value);
    plan->signal_width = gm_arrays_width(e->net, plan->signal);
    plan->prob_width = e->loss == GM_LOSS_CROSS_ENTROPY ? gm_net_outputs(e->net) : 0;
    plan->sample_bytes = (plan->value_width + plan->signal_width + plan->prob_width) * e->k->size;
    return GM_OK;
}

/* How many chunks fit: the budget less the workers' own arrays and sums. */
static size_t chunks_kept(const gm_problem *problem, const keep *plan)
{
    size_t workers = (size_t)problem->workers, p = gm_problem_parameters(problem);
    size_t used = workers * (problem->chunk * gm_problem_sample_bytes(problem) * problem->block +
                             problem->block * p * (sizeof(double) + problem->engine.k->size));
    size_t chunk_bytes = problem->chunk * plan->sample_bytes;
    size_t left = problem->memory > used ? problem->memory - used : 0;
    return left / chunk_bytes < problem->chunks ? left / chunk_bytes : problem->chunks;
}

static void lay_chunk(gm_linearization *lin, const keep *plan, size_t index)
{
    const gm_problem *problem = lin->problem;
    const gm_net *net = problem->engine.net;
    size_t size = problem->engine.k->size, nodes = (size_t)net->nodes;
    char *memory = (char *)lin->memory + index * problem->chunk * plan->sample_bytes;
    gm_chunk *c = &lin->chunk[index];
    c->value = lin->pointers + 2 * index * nodes;
    c->signal = c->value + nodes;
    gm_arrays_lay(net, plan->value, problem->chunk, size, memory, c->value);
    memory += problem->chunk * plan->value_width * size;
    gm_arrays_lay(net, plan->signal, problem->chunk, size, memory, c->signal);
    memory += problem->chunk * plan->signal_width * size;
    c->prob = plan->prob_width ? memory : NULL;
}

typedef struct linearize_job {
    gm_linearization *lin;
    const keep *plan;
    gm_sums *sums;
    double *loss, *wrong; /* [chunks] */
} linearize_job;

/* Computes a chunk in the worker's arrays, with those that are kept in their place of the cache. */
static void linearize_work(void *job, gm_worker *w, size_t index)
{
    linearize_job *j = job;
    gm_problem *problem = j->lin->problem;
    const gm_engine *e = &w->engine;
    gm_chunk *kept = index < j->lin->cached ? &j->lin->chunk[index] : NULL;
    gm_worker_load(problem, w, j->lin->theta_native, index);
    gm_chunk c = w->chunk;
    gm_pass_value(e, &c);
    gm_pass_loss(e, &c, w->loss, w->wrong);
    gm_directions d = {
        .count = 1, .size = e->net->parameters, .sum = gm_sums_of(j->sums, w->thread)};
    gm_pass_backward(e, &c, problem->active, 1, c.signal, &d);
    gm_sums_added(j->sums, w->thread, c.n);
    gm_worker_losses(w, &j->loss[index], &j->wrong[index]);
    if (!kept) return;
    for (int i = 1; i < e->net->nodes; i++) {
        size_t bytes = c.n * e->net->node[i].size * e->k->size;
        if (kept->value[i]) memcpy(kept->value[i], c.value[i], bytes);
        if (kept->signal[i]) memcpy(kept->signal[i], c.signal[i], bytes);
    }
    if (kept->prob) memcpy(kept->prob, c.prob, c.n * gm_net_outputs(e->net) * e->k->size);
    kept->value[0] = c.value[0];
    kept->first = c.first;
    kept->n = c.n;
    kept->theta = c.theta;
    kept->label = c.label;
    kept->target = c.target;
}

const gm_chunk *gm_linearization_chunk(const gm_linearization *lin, gm_worker *w, size_t index)
{
    const gm_problem *problem = lin->problem;
    if (index < lin->cached) {
        const gm_chunk *c = &lin->chunk[index];
        int last = problem->engine.net->nodes - 1;
        if (!c->prob) return c;
        c->signal[last] = w->signal.node[last];
        gm_pass_output_signal(&w->engine, c);
        return c;
    }
    gm_worker_load(problem, w, lin->theta_native, index);
    gm_pass_value(&w->engine, &w->chunk);
    gm_pass_loss(&w->engine, &w->chunk, NULL, NULL);
    gm_pass_backward(&w->engine, &w->chunk, problem->active, 1, w->chunk.signal, NULL);
    return &w->chunk;
}

static gm_status allocate(gm_linearization *lin, const keep *plan, gm_error *err)
{
    gm_problem *problem = lin->problem;
    size_t nodes = (size_t)problem->engine.net->nodes, p = gm_problem_parameters(problem);
    lin->gradient = gm_alloc(p, sizeof(double), "gradient", err);
    if (!lin->gradient) return GM_ERR_MEMORY;
    lin->cached = chunks_kept(problem, plan);
    lin->bytes = lin->cached * problem->chunk * plan->sample_bytes;
    lin->chunk = gm_alloc(lin->cached, sizeof *lin->chunk, "linearization", err);
    lin->pointers = gm_alloc(2 * lin->cached * nodes, sizeof *lin->pointers, "linearization", err);
    lin->memory = gm_alloc(lin->bytes, 1, "activations kept", err);
    if (!lin->chunk || !lin->pointers || !lin->memory) return GM_ERR_MEMORY;
    for (size_t i = 0; i < lin->cached; i++) {
        lay_chunk(lin, plan, i);
    }
    if (problem->sums) return GM_OK;
    return gm_sums_create(problem->engine.k, problem->workers, 1, p, &problem->sums, err);
}

static gm_status compute(gm_linearization *lin, const keep *plan, gm_error *err)
{
    gm_problem *problem = lin->problem;
    size_t chunks = problem->chunks;
    linearize_job job = {.lin = lin, .plan = plan, .sums = problem->sums};
    job.loss = gm_alloc(2 * chunks, sizeof(double), "losses", err);
    if (!job.loss) return GM_ERR_MEMORY;
    job.wrong = job.loss + chunks;
    gm_sums_clear(job.sums);
    gm_sweep(problem, linearize_work, &job);
    gm_problem_sums(problem, job.sums, 1.0 / (double)problem->samples, 1, lin->gradient);
    gm_chunks_means(problem, job.loss, job.wrong, &lin->loss, &lin->error_rate);
    gm_free(job.loss);
    return GM_OK;
}

gm_status gm_linearize(gm_problem *problem, const double *theta, gm_linearization **made,
                       gm_error *err)
{
    *made = NULL;
    size_t p = gm_problem_parameters(problem);
    gm_linearization *lin = gm_alloc(1, sizeof *lin, "linearization", err);
    if (!lin) return GM_ERR_MEMORY;
    keep plan = {0};
    void *owned = NULL;
    const void *native = NULL;
    lin->problem = problem;
    lin->theta = gm_alloc(p, sizeof(double), "parameters", err);
    gm_status status = lin->theta ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        memcpy(lin->theta, theta, p * sizeof(double));
        status = gm_problem_theta(problem, lin->theta, &native, &owned, err);
        lin->theta_native = owned ? owned : lin->theta;
    }
    if (status == GM_OK) status = plan_keep(problem, &plan, err);
    if (status == GM_OK) status = allocate(lin, &plan, err);
    if (status == GM_OK) status = compute(lin, &plan, err);
    gm_free(plan.value);
    if (status != GM_OK) {
        gm_linearization_free(lin);
        return status;
    }
    *made = lin;
    return GM_OK;
}

void gm_linearization_free(gm_linearization *lin)
{
    if (!lin) return;
    if (lin->theta_native != lin->theta) gm_free(lin->theta_native);
    gm_free(lin->theta);
    gm_free(lin->gradient);
    gm_free(lin->chunk);
    gm_free(lin->pointers);
    gm_free(lin->memory);
    gm_free(lin);
}

double gm_linearization_loss(const gm_linearization *lin)
{
    return lin->loss;
}

double gm_linearization_error_rate(const gm_linearization *lin)
{
    return lin->error_rate;
}

const double *gm_linearization_gradient(const gm_linearization *lin)
{
    return lin->gradient;
}

const double *gm_linearization_theta(const gm_linearization *lin)
{
    return lin->theta;
}

gm_problem *gm_linearization_problem(const gm_linearization *lin)
{
    return lin->problem;
}

void gm_linearization_trim(gm_linearization *lin)
{
    gm_free(lin->gradient);
    lin->gradient = NULL;
    if (lin->theta_native == lin->theta) return;
    gm_free(lin->theta);
    lin->theta = NULL;
}

double gm_linearization_cached(const gm_linearization *lin, size_t *bytes)
{
    if (bytes) *bytes = lin->bytes;
    size_t samples = lin->cached * lin->problem->chunk, n = lin->problem->n;
    return samples < n ? (double)samples / (double)n : 1.0;
}
