/* The Gibbs loss by draws of the posterior, each on one block of the data (theory section 4).
 *
 * Draw t has weights theta_j + z_j sigma_j / sqrt(r_j) and the mean loss X_t over block b = t mod
 * B, which is a share w_b = n_b / n of the data. L_S(Q) = sum_b w_b E X = the mean over t of
 * E[B w_b X_t], t running over all blocks equally often: independent terms in [0, s], s = B max
 * w_b. Hoeffding's theorem 1, with terms of different means, gives P(kl(mean/s || L/s) >= c) <=
 * exp(-N c) on either side, so that the kl inversion serves as for draws on all data.
 *
 * Workers take draws side by side, each with its own weights and all of a block. A block is a few
 * chunks so that activations stay in cache. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "bound/gibbs.h"
#include "gradiometer/random.h"

enum {
    BLOCK = 1000,     /* samples: products then cost about as much as normal numbers */
    CHUNK_LEAST = 64, /* samples, below which products are slow */
    CHUNK_BYTES = 8 << 20,
    SLICE = 4096 /* normal numbers made at once */
};

void gm_gibbs_options_default(gm_gibbs_options *options)
{
    *options = (gm_gibbs_options){.draws = 1000};
}

/* ---- blocks ---- */

static size_t quotient_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

/* Samples of a chunk and chunks of a block, from sizes alone: equal numbers whatever the threads.
 */
static void plan_blocks(size_t n, size_t sample_bytes, const gm_gibbs_options *options,
                        size_t *chunk, size_t *group)
{
    size_t block = options->block ? options->block : BLOCK;
    size_t blocks = quotient_up(n, block);
    if (blocks > options->draws) blocks = options->draws;
    block = quotient_up(n, blocks);
    size_t most = CHUNK_BYTES / sample_bytes;
    most = most < CHUNK_LEAST ? CHUNK_LEAST : most;
    *group = quotient_up(block, most);
    size_t parts = quotient_up(block, CHUNK_LEAST);
    parts = parts < 4 ? parts : 4;
    if (*group < parts) *group = parts;
    *chunk = quotient_up(block, *group);
    *group = quotient_up(block, *chunk);
}

gm_status gm_gibbs_sampler_open(const gm_problem *problem, const gm_gibbs_options *options,
                                gm_gibbs_sampler *sampler, gm_error *err)
{
    *sampler = (gm_gibbs_sampler){0};
    if (options->draws == 0) return gm_fail(err, GM_ERR_USAGE, "--draws: found 0, expected >= 1");
    size_t n = problem->data->n, p = gm_problem_parameters(problem);
    gm_problem_options o = {.loss = gm_problem_loss(problem), .memory = problem->memory};
    plan_blocks(n, gm_problem_sample_bytes(problem), options, &o.chunk, &sampler->group);
    gm_status status =
        gm_problem_create(gm_problem_net(problem), problem->data, &o, &sampler->problem, err);
    if (status != GM_OK) return status;
    size_t workers = (size_t)sampler->problem->workers, size = problem->engine.k->size;
    sampler->blocks = quotient_up(sampler->problem->chunks, sampler->group);
    size_t largest = sampler->group * sampler->problem->chunk;
    sampler->span = (double)sampler->blocks * (double)(largest < n ? largest : n) / (double)n;
    sampler->clip = options->clip > 0.0
                        ? options->clip
                        : log(100.0 * (double)gm_net_outputs(gm_problem_net(problem)));
    sampler->native = gm_alloc(workers, sizeof *sampler->native, "posterior draws", err);
    if (!sampler->native) return GM_ERR_MEMORY;
    for (size_t w = 0; w < workers; w++) {
        sampler->native[w] = gm_alloc(p, size, "posterior draws", err);
        if (!sampler->native[w]) return GM_ERR_MEMORY;
    }
    return GM_OK;
}

void gm_gibbs_sampler_close(gm_gibbs_sampler *sampler)
{
    for (int w = 0; sampler->native && w < sampler->problem->workers; w++) {
        gm_free(sampler->native[w]);
    }
    gm_free(sampler->native);
    gm_problem_free(sampler->problem);
    *sampler = (gm_gibbs_sampler){0};
}

/* ---- one draw ---- */

typedef struct job {
    const gm_gibbs_sampler *sampler;
    const gm_gaussians *g;
    gm_stream stream;
    size_t draws;
    double *error, *clipped; /* [draws]: terms B w_b X_t */
    bool *overflowed;        /* [draws] */
} job;

/* Weights of draw t, in the precision of the problem. */
static void draw_weights(const job *j, size_t t, void *native)
{
    const gm_kernels *k = j->sampler->problem->engine.k;
    const gm_gaussians *g = j->g;
    double z[SLICE];
    for (size_t first = 0; first < g->size; first += SLICE) {
        size_t count = g->size - first < SLICE ? g->size - first : SLICE;
        gm_normal_fill(j->stream, (uint64_t)t * g->size + first, count, z);
        for (size_t i = 0; i < count; i++) {
            size_t at = first + i;
            z[i] = g->theta[at] + z[i] * g->scale * g->unit[at] / sqrt(g->ratio[at]);
        }
        k->from_double(count, z, (char *)native + first * k->size);
    }
}

/* Sums over one chunk of wrong predictions and of clipped losses. A loss that is no number, or
 * infinite, is that of logits beyond the range: a prediction that counts as wrong. */
static void add_chunk(const job *j, gm_worker *w, double *wrong, double *clipped, bool *overflowed)
{
    const gm_engine *e = &w->engine;
    double clip = j->sampler->clip;
    gm_pass_value(e, &w->chunk);
    gm_pass_loss(e, &w->chunk, w->loss, w->wrong);
    for (size_t i = 0; i < w->chunk.n; i++) {
        bool lost = !isfinite(w->loss[i]);
        *overflowed = *overflowed || lost;
        *wrong += lost ? 1.0 : w->wrong[i];
        *clipped += lost || w->loss[i] > clip ? 1.0 : w->loss[i] / clip;
    }
}

static void take_draw(const job *j, size_t t, gm_worker *w, void *native)
{
    const gm_gibbs_sampler *s = j->sampler;
    gm_problem *problem = s->problem;
    bool few = j->draws < s->blocks;
    size_t block = few ? t * s->blocks / j->draws : t % s->blocks;
    size_t end = (block + 1) * s->group, n = problem->data->n;
    if (end > problem->chunks) end = problem->chunks;
    double wrong = 0.0, clipped = 0.0, share = (double)s->blocks / (double)n;
    size_t samples = 0;
    draw_weights(j, t, native);
    for (size_t c = block * s->group; c < end; c++) {
        gm_worker_load(problem, w, native, c);
        add_chunk(j, w, &wrong, &clipped, &j->overflowed[t]);
        samples += w->chunk.n;
    }
    if (few) share = 1.0 / (double)samples;
    j->error[t] = share * wrong;
    j->clipped[t] = share * clipped;
}

static void take_draws(const job *j)
{
    gm_problem *problem = j->sampler->problem;
    size_t workers = (size_t)problem->workers;
    if (workers == 1) { /* threads inside the kernels */
        for (size_t t = 0; t < j->draws; t++) {
            take_draw(j, t, &problem->worker[0], j->sampler->native[0]);
        }
        return;
    }
#pragma omp parallel num_threads(problem->workers)
    for (size_t w = (size_t)omp_get_thread_num(); w < workers; w += (size_t)omp_get_num_threads()) {
        for (size_t t = w; t < j->draws; t += workers) {
            take_draw(j, t, &problem->worker[w], j->sampler->native[w]);
        }
    }
}

/* ---- the estimate ---- */

static gm_gibbs_mean mean_of(size_t n, const double *x)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
    }
    double error = sqrt(squares / ((double)n * ((double)n - 1.0)));
    return (gm_gibbs_mean){mean, n > 1 ? error : (double)NAN};
}

gm_status gm_gibbs_sample(gm_gibbs_sampler *sampler, const gm_gaussians *g, size_t draws,
                          uint64_t seed, uint32_t run, gm_gibbs *result, gm_error *err)
{
    job j = {.sampler = sampler,
             .g = g,
             .stream = gm_stream_of(seed, GM_PURPOSE_POSTERIOR, run),
             .draws = draws};
    j.error = gm_alloc(draws, sizeof *j.error, "losses of draws", err);
    j.clipped = gm_alloc(draws, sizeof *j.clipped, "losses of draws", err);
    j.overflowed = gm_alloc(draws, sizeof *j.overflowed, "losses of draws", err);
    gm_status status = j.error && j.clipped && j.overflowed ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        take_draws(&j);
        *result = (gm_gibbs){.draws = draws,
                             .blocks = sampler->blocks,
                             .span = sampler->span,
                             .clip = sampler->clip,
                             .error = mean_of(draws, j.error),
                             .clipped = mean_of(draws, j.clipped)};
        for (size_t t = 0; t < draws; t++) {
            result->overflowed += j.overflowed[t];
        }
    }
    gm_free(j.error);
    gm_free(j.clipped);
    gm_free(j.overflowed);
    return status;
}

gm_status gm_gibbs_estimate(gm_problem *problem, const gm_gaussians *g,
                            const gm_gibbs_options *options, gm_gibbs *result, gm_error *err)
{
    gm_gibbs_sampler sampler;
    gm_status status = gm_gibbs_sampler_open(problem, options, &sampler, err);
    if (status == GM_OK) {
        size_t rounds = quotient_up(options->draws, sampler.blocks);
        status = gm_gibbs_sample(&sampler, g, rounds * sampler.blocks, options->seed, options->run,
                                 result, err);
    }
    gm_gibbs_sampler_close(&sampler);
    return status;
}

double gm_gibbs_upper(const gm_gibbs *gibbs, double mean, double delta)
{
    double c = -log(delta) / (double)gibbs->draws;
    return fmin(1.0, gibbs->span * gm_kl_inverse_upper(fmin(1.0, mean / gibbs->span), c));
}

double gm_gibbs_lower(const gm_gibbs *gibbs, double mean, double delta)
{
    double c = -log(delta) / (double)gibbs->draws;
    return gibbs->span * gm_kl_inverse_lower(fmin(1.0, mean / gibbs->span), c);
}
