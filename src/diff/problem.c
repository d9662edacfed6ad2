#include "diff/problem.h"

#include <math.h>
#include <omp.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

/* A chunk's arrays should stay in the caches: bytes for the samples of one chunk, and for one block
 * of directions. */
enum {
    CHUNK_BYTES = 8 << 20,
    BLOCK_BYTES = 4 << 20,
    CHUNK_LEAST = 64,
    CHUNK_MOST = 1024,
    CHUNK_ROWS = 256 /* positions of the sequences in a chunk, at least: rows of the products */
};
/* Of the logits of one chunk, where a sample has very many (a large vocabulary at many positions):
 * a worker holds some four arrays as large. */
enum { LOGITS_BYTES = 32 << 20 };

const char *gm_loss_name(gm_loss loss)
{
    return loss == GM_LOSS_CROSS_ENTROPY ? "cross_entropy" : "squared";
}

void gm_problem_options_default(gm_problem_options *options)
{
    *options = (gm_problem_options){.loss = GM_LOSS_CROSS_ENTROPY, .memory = 0, .chunk = 0};
}

static size_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)4 << 30;
}

/* Labels at T positions ask for an output [T, K], one label for one row of logits. */
static gm_status check_positions(const gm_net *net, const gm_dataset *data, gm_error *err)
{
    const gm_shape *out = &net->node[net->nodes - 1].shape;
    if (data->positions > 1) {
        if (out->rank == 2 && out->dim[0] == data->positions) return GM_OK;
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: labels at %zu positions, but the output of %s has rank %d and %zu "
                       "rows, expected [%zu, K]",
                       data->name, data->positions, gm_net_name(net), out->rank, out->dim[0],
                       data->positions);
    }
    int axes = 0;
    for (int i = 0; i < out->rank; i++) {
        axes += out->dim[i] > 1;
    }
    if (axes < 2) return GM_OK;
    return gm_fail(
        err, GM_ERR_INPUT,
        "%s: one label a sample, but the output of %s has rank %d and %zu rows, expected "
        "labels [n, %zu] or one row of logits",
        data->name, gm_net_name(net), out->rank, out->dim[0], out->dim[0]);
}

static gm_status check_labels(const gm_net *net, const gm_dataset *data, gm_error *err)
{
    if (!data->label) {
        return gm_fail(err, GM_ERR_INPUT, "%s: cross_entropy needs labels, the data has targets",
                       data->name);
    }
    gm_status status = check_positions(net, data, err);
    if (status != GM_OK) return status;
    size_t outputs = gm_net_outputs(net) / data->positions;
    for (size_t i = 0; i < data->n * data->positions; i++) {
        int32_t label = data->label[i];
        if (label == GM_LABEL_MASKED && data->positions > 1) continue;
        if (label < 0 || (size_t)label >= outputs) {
            return gm_fail(
                err, GM_ERR_INPUT, "%s: label %d of sample %zu, expected 0 ... %zu (outputs of %s)",
                data->name, (int)label, i / data->positions, outputs - 1, gm_net_name(net));
        }
    }
    return GM_OK;
}

/* The tokens that layers look up are the net's input, perhaps in another shape: every sample's are
 * whole numbers below the table's rows, or it is refused here, before any computing. */
static gm_status check_tokens(const gm_net *net, const gm_dataset *data, gm_error *err)
{
    const gm_kernels *k = gm_kernels_get(data->dtype);
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        if (!(node->traits & GM_TRAIT_TOKENS)) continue;
        int input = node->input[0];
        while (net->node[input].kind == &gm_layer_reshape) {
            input = net->node[input].input[0];
        }
        if (input != 0) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: the tokens of layer %s come from a %s, expected the net's input",
                           net->name, gm_net_layer_at(net, (size_t)node->layer).name,
                           net->node[input].kind->name);
        }
        double rows = (double)node->tensor[0].shape.dim[0], token;
        if (k->dtype == GM_F32 && rows > 2.0 / gm_dtype_eps(GM_F32)) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: %.0f tokens of layer %s are more than --precision f32 tells apart",
                           net->name, rows, gm_net_layer_at(net, (size_t)node->layer).name);
        }
        for (size_t j = 0; j < data->n * data->features; j++) {
            k->to_double(1, (const char *)data->x + j * k->size, &token);
            if (token >= 0 && token < rows && token == (double)(size_t)token) continue;
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: token %g at place %zu of sample %zu, expected a whole number 0 ... "
                           "%.0f (layer %s of %s)",
                           data->name, token, j % data->features, j / data->features, rows - 1,
                           gm_net_layer_at(net, (size_t)node->layer).name, net->name);
        }
    }
    return GM_OK;
}

static gm_status check_fit(const gm_net *net, const gm_dataset *data, gm_loss loss, gm_error *err)
{
    if (data->features != gm_net_inputs(net)) {
        return gm_fail(err, GM_ERR_INPUT, "%s: samples of %zu numbers, but the input of %s has %zu",
                       data->name, data->features, gm_net_name(net), gm_net_inputs(net));
    }
    if (gm_net_parameters(net) == 0) {
        return gm_fail(err, GM_ERR_INPUT, "%s: the net has no parameters", gm_net_name(net));
    }
    gm_status status = check_tokens(net, data, err);
    if (status != GM_OK) return status;
    if (loss == GM_LOSS_CROSS_ENTROPY) return check_labels(net, data, err);
    if (!data->target) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: the squared loss needs targets (gm_dataset_one_hot makes them)",
                       data->name);
    }
    if (data->outputs != gm_net_outputs(net)) {
        return gm_fail(err, GM_ERR_INPUT, "%s: targets of width %zu, but %s has %zu outputs",
                       data->name, data->outputs, gm_net_name(net), gm_net_outputs(net));
    }
    return GM_OK;
}

/* Whether the probabilities have a place beside the logits: where the last layer's derivatives read
 * its value. */
static bool owns_prob(const gm_engine *e)
{
    return e->loss == GM_LOSS_CROSS_ENTROPY && gm_pass_keeps_value(e->net, e->net->nodes - 1);
}

size_t gm_problem_sample_bytes(const gm_problem *problem)
{
    const gm_net *net = problem->engine.net;
    size_t widths =
        2 * gm_arrays_width(net, problem->all) + 2 * gm_arrays_width(net, problem->active);
    size_t widest = 0, image = 0; /* image: of scratch, for the layers that ask for some */
    for (int i = 1; i < net->nodes; i++) {
        widest = net->node[i].size > widest ? net->node[i].size : widest;
        if (net->node[i].kind->scratch) image = widest;
    }
    size_t prob = owns_prob(&problem->engine) ? gm_net_outputs(net) : 0;
    return (widths + widest + image + prob) * problem->engine.k->size +
           (3 + problem->engine.positions) * sizeof(double);
}

/* Chunk, workers and block from the widths, the memory and the threads. */
static gm_status plan_chunks(gm_problem *problem, gm_error *err)
{
    size_t n = problem->n, p = gm_net_parameters(problem->engine.net);
    size_t sample = gm_problem_sample_bytes(problem),
           sums = p * (sizeof(double) + 2 * problem->engine.k->size) +
                  gm_pass_scratch(&problem->engine, 1, 1);
    size_t threads = (size_t)omp_get_max_threads();
    if (problem->memory < sums || problem->memory - sums < sample) {
        return gm_fail(err, GM_ERR_MEMORY,
                       "--memory: %.4g MB is too small: one sample and the sums over samples of %s "
                       "need %.4g MB",
                       (double)problem->memory / 1e6, gm_net_name(problem->engine.net),
                       (double)(sample + sums) / 1e6);
    }
    bool side_by_side = threads > 1 && sums <= problem->memory / 8 / threads;
    size_t workers = side_by_side ? threads : 1;
    size_t chunk = CHUNK_BYTES / sample;
    size_t positions = problem->engine.positions;
    size_t least = positions > 1 ? (CHUNK_ROWS - 1) / positions + 1 : CHUNK_LEAST;
    chunk = chunk < least ? least : chunk > CHUNK_MOST ? CHUNK_MOST : chunk;
    size_t logits = LOGITS_BYTES / (gm_net_outputs(problem->engine.net) * problem->engine.k->size);
    chunk = chunk < logits ? chunk : logits < 1 ? 1 : logits;
    size_t affordable = (problem->memory - workers * sums) / 2 / workers / sample;
    chunk = affordable < 1 ? 1 : chunk > affordable ? affordable : chunk;
    if (problem->options.chunk) {
        chunk = problem->options.chunk;
    } else { /* as many chunks as fill all workers evenly */
        size_t rounds = (n + chunk * workers - 1) / (chunk * workers);
        if (n > 0) chunk = (n + rounds * workers - 1) / (rounds * workers);
    }
    problem->chunk = chunk < n ? chunk : n > 0 ? n : 1; /* a rank may have no samples */
    problem->chunks = (n + problem->chunk - 1) / problem->chunk;
    if (workers > problem->chunks) workers = problem->chunks > 0 ? problem->chunks : 1;
    problem->workers = (int)workers;
    size_t tangents =
        2 * gm_arrays_width(problem->engine.net, problem->active) * problem->engine.k->size;
    size_t block = BLOCK_BYTES / (problem->chunk * tangents);
    size_t by_sums = problem->memory / 8 / ((size_t)problem->workers * sums);
    block = block < by_sums ? block : by_sums;
    problem->block = block < 1 ? 1 : block > GM_MAX_BLOCK ? GM_MAX_BLOCK : block;
    return GM_OK;
}

/* The samples of this rank. */
static void take_share(gm_problem *problem)
{
    const gm_dataset *data = problem->data;
    problem->samples = gm_dataset_samples(data);
    problem->n = data->n;
    problem->first = data->first;
    if (!problem->team || data->whole) return;
    gm_team_share(problem->team, data->n, &problem->row, &problem->n);
    problem->first = problem->row;
}

/* What the ranks must agree on: that their shares are the whole, and how many directions go
 * together, since a sum over the ranks follows each block of them. */
static gm_status agree(gm_problem *problem, gm_error *err)
{
    const gm_team *team = problem->team;
    if (gm_team_size(team) == 1) return GM_OK;
    size_t ranks = (size_t)team->size, rank = (size_t)team->rank, samples = 0;
    struct {
        size_t n, block;
    } *all = gm_alloc(ranks, sizeof *all, "ranks", err);
    if (!all) return GM_ERR_MEMORY;
    all[rank].n = problem->n;
    all[rank].block = problem->block;
    gm_team_gather(team, rank * sizeof *all, sizeof *all, all);
    for (size_t r = 0; r < ranks; r++) {
        if (r == rank) problem->first = samples;
        samples += all[r].n;
        if (all[r].block < problem->block) problem->block = all[r].block;
    }
    gm_free(all);
    if (samples == problem->samples) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "%s: the ranks hold %zu of its %zu samples",
                   problem->data->name, samples, problem->samples);
}

/* Scratch of the worker for passes over n samples and b directions. */
static gm_status reserve_scratch(gm_worker *w, size_t n, size_t b, gm_error *err)
{
    size_t bytes = gm_pass_scratch(&w->engine, n, b);
    if (bytes <= w->engine.scratch.bytes) return GM_OK;
    gm_free(w->engine.scratch.memory);
    w->engine.scratch = (gm_scratch){gm_alloc(bytes, 1, "workspace of the layers", err), bytes};
    if (w->engine.scratch.memory) return GM_OK;
    w->engine.scratch.bytes = 0;
    return GM_ERR_MEMORY;
}

static gm_status make_worker(gm_problem *problem, gm_worker *w, int thread, gm_error *err)
{
    const gm_engine *e = &problem->engine;
    w->thread = thread;
    w->engine = *e;
    gm_status status = reserve_scratch(w, problem->chunk, 1, err);
    if (status != GM_OK) return status;
    status = gm_arrays_make(e->net, problem->all, problem->chunk, e->k->size, &w->value, err);
    if (status != GM_OK) return status;
    status = gm_arrays_make(e->net, problem->all, problem->chunk, e->k->size, &w->signal, err);
    if (status != GM_OK) return status;
    if (owns_prob(e)) {
        size_t outputs = gm_net_outputs(e->net);
        w->prob = gm_alloc(problem->chunk * outputs, e->k->size, "probabilities", err);
        if (!w->prob) return GM_ERR_MEMORY;
    }
    size_t labels = problem->chunk * e->positions;
    w->loss = gm_alloc(labels, sizeof *w->loss, "losses", err);
    w->wrong = gm_alloc(labels, sizeof *w->wrong, "predictions", err);
    return w->loss && w->wrong ? GM_OK : GM_ERR_MEMORY;
}

gm_status gm_problem_create(const gm_net *net, const gm_dataset *data,
                            const gm_problem_options *options, gm_problem **made, gm_error *err)
{
    *made = NULL;
    gm_status status = check_fit(net, data, options->loss, err);
    if (status != GM_OK) return status;
    if (data->whole && gm_team_size(options->team) == 1) {
        return gm_fail(err, GM_ERR_USAGE, "%s: a share of it, but no team that has the others",
                       data->name);
    }
    gm_problem *problem = gm_alloc(1, sizeof *problem, "problem", err);
    if (!problem) return GM_ERR_MEMORY;
    problem->engine = (gm_engine){.net = net,
                                  .k = gm_kernels_get(data->dtype),
                                  .loss = options->loss,
                                  .positions = data->label ? data->positions : 1,
                                  .weight = data->label ? data->weight : 1.0};
    problem->data = data;
    problem->options = *options;
    problem->team = gm_team_size(options->team) > 1 ? options->team : NULL;
    problem->memory = options->memory ? options->memory
                                      : machine_memory() / 2 / (size_t)gm_team_here(options->team);
    take_share(problem);
    problem->all = gm_alloc((size_t)net->nodes, sizeof(bool), "problem", err);
    problem->active = gm_alloc((size_t)net->nodes, sizeof(bool), "problem", err);
    status = problem->all && problem->active ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        memset(problem->all + 1, 1, (size_t)net->nodes - 1);
        gm_pass_active(net, -1, problem->active);
        status = plan_chunks(problem, err);
    }
    if (status == GM_OK) status = agree(problem, err);
    if (status == GM_OK) {
        problem->worker =
            gm_alloc((size_t)problem->workers, sizeof *problem->worker, "workers", err);
        status = problem->worker ? GM_OK : GM_ERR_MEMORY;
    }
    for (int i = 0; status == GM_OK && i < problem->workers; i++) {
        status = make_worker(problem, &problem->worker[i], i, err);
    }
    if (status != GM_OK) {
        gm_problem_free(problem);
        return status;
    }
    *made = problem;
    return GM_OK;
}

static void free_worker(gm_worker *w)
{
    gm_arrays_free(&w->value);
    gm_arrays_free(&w->signal);
    gm_arrays_free(&w->tangent);
    gm_arrays_free(&w->tsignal);
    gm_free(w->work);
    gm_free(w->prob);
    gm_free(w->loss);
    gm_free(w->wrong);
    gm_free(w->dots);
    gm_free(w->x);
    gm_free(w->label);
    gm_free(w->target);
    gm_free(w->engine.scratch.memory);
}

void gm_problem_free(gm_problem *problem)
{
    if (!problem) return;
    for (int i = 0; problem->worker && i < problem->workers; i++) {
        free_worker(&problem->worker[i]);
    }
    gm_free(problem->worker);
    gm_sums_free(problem->sums);
    gm_free(problem->batch_sum);
    gm_free(problem->all);
    gm_free(problem->active);
    gm_free(problem);
}

gm_status gm_problem_reserve(gm_problem *problem, gm_error *err)
{
    if (problem->reserved) return GM_OK;
    const gm_engine *e = &problem->engine;
    size_t rows = problem->block * problem->chunk, widest = 0;
    for (int i = 1; i < e->net->nodes; i++) {
        widest = e->net->node[i].size > widest ? e->net->node[i].size : widest;
    }
    for (int i = 0; i < problem->workers; i++) {
        gm_worker *w = &problem->worker[i];
        gm_arrays_free(&w->tangent);
        gm_arrays_free(&w->tsignal);
        gm_free(w->work);
        gm_free(w->dots);
        w->work = gm_alloc(rows * widest, e->k->size, "tangents", err);
        w->dots = gm_alloc(rows, sizeof *w->dots, "tangents", err);
        if (!w->work || !w->dots) return GM_ERR_MEMORY;
        gm_status status = reserve_scratch(w, problem->chunk, problem->block, err);
        if (status != GM_OK) return status;
        status = gm_arrays_make(e->net, problem->active, rows, e->k->size, &w->tangent, err);
        if (status != GM_OK) return status;
        status = gm_arrays_make(e->net, problem->active, rows, e->k->size, &w->tsignal, err);
        if (status != GM_OK) return status;
    }
    problem->reserved = true;
    return GM_OK;
}

size_t gm_problem_chunk(const gm_problem *problem)
{
    return problem->chunk;
}

size_t gm_problem_parameters(const gm_problem *problem)
{
    return gm_net_parameters(problem->engine.net);
}

size_t gm_problem_samples(const gm_problem *problem)
{
    return problem->samples;
}

const gm_net *gm_problem_net(const gm_problem *problem)
{
    return problem->engine.net;
}

const gm_team *gm_problem_team(const gm_problem *problem)
{
    return problem->team;
}

const gm_dataset *gm_problem_data(const gm_problem *problem)
{
    return problem->data;
}

gm_loss gm_problem_loss(const gm_problem *problem)
{
    return problem->engine.loss;
}

void gm_each_worker(gm_problem *problem, gm_worker_work *work, void *job)
{
    if (problem->workers == 1) {
        work(job, &problem->worker[0]);
        return;
    }
#pragma omp parallel num_threads(problem->workers)
    {
        /* Each team member serves the workers that are its own even where OpenMP grants fewer
         * threads: what a worker does, and the order of all sums, is fixed by its number. */
        size_t workers = (size_t)problem->workers;
        for (size_t w = (size_t)omp_get_thread_num(); w < workers;
             w += (size_t)omp_get_num_threads()) {
            work(job, &problem->worker[w]);
        }
    }
}

typedef struct sweep {
    gm_problem *problem;
    gm_sweep_work *work;
    void *job;
} sweep;

static void sweep_range(void *job, gm_worker *w)
{
    sweep *s = job;
    size_t chunks = s->problem->chunks, workers = (size_t)s->problem->workers;
    size_t index = (size_t)w->thread;
    for (size_t i = chunks * index / workers; i < chunks * (index + 1) / workers; i++) {
        s->work(s->job, w, i);
    }
}

void gm_sweep(gm_problem *problem, gm_sweep_work *work, void *job)
{
    sweep s = {problem, work, job};
    gm_each_worker(problem, sweep_range, &s);
}

gm_status gm_problem_theta(const gm_problem *problem, const double *theta, const void **native,
                           void **owned, gm_error *err)
{
    size_t p = gm_problem_parameters(problem);
    *owned = NULL;
    *native = theta;
    bool narrow = problem->engine.k->dtype == GM_F32;
    for (size_t i = 0; i < p; i++) {
        if (!isfinite(theta[i])) {
            return gm_fail(err, GM_ERR_INPUT, "parameter %zu is %g, expected a finite number", i,
                           theta[i]);
        }
        if (narrow && !isfinite((float)theta[i])) {
            return gm_fail(err, GM_ERR_INPUT, "parameter %zu is %g, too large for --precision f32",
                           i, theta[i]);
        }
    }
    if (!narrow) return GM_OK;
    *owned = gm_alloc(p, problem->engine.k->size, "parameters", err);
    if (!*owned) return GM_ERR_MEMORY;
    problem->engine.k->from_double(p, theta, *owned);
    *native = *owned;
    return GM_OK;
}

void gm_worker_load(const gm_problem *problem, gm_worker *w, const void *theta, size_t index)
{
    const gm_dataset *data = problem->data;
    size_t first = index * problem->chunk, row = problem->row + first;
    size_t n = problem->n - first < problem->chunk ? problem->n - first : problem->chunk;
    w->value.node[0] = (char *)data->x + row * data->features * problem->engine.k->size;
    w->chunk = (gm_chunk){.first = first,
                          .n = n,
                          .theta = theta,
                          .value = w->value.node,
                          .signal = w->signal.node,
                          .prob = gm_worker_prob(w),
                          .label = data->label ? data->label + row * data->positions : NULL,
                          .target = data->target ? data->target + row * data->outputs : NULL};
}
