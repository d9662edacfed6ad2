/* The Gibbs loss by draws of the posterior (theory section 4): by layer, each on one sample, where
 * the net allows it (bound/local.h), else of whole weight vectors, each on one block of the data.
 *
 * Of these draw t has weights theta_j + z_j sigma_j / sqrt(r_j) and the mean loss X_t over block b
 * = t mod B, which is a share w_b = n_b / n of the data. L_S(Q) = sum_b w_b E X = the mean over t
 * of E[B w_b X_t], t running over all blocks equally often: independent terms in [0, s], s = B max
 * w_b. Hoeffding's theorem 1, with terms of different means, gives P(kl(mean/s || L/s) >= c) <=
 * exp(-N c) on either side, so that the kl inversion serves as for draws on all data. Draws by
 * layer are the case of blocks of one sample, s = 1.
 *
 * Workers take draws side by side, each with its own weights and all of a block. A block is a few
 * chunks so that activations stay in cache. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "bound/gibbs.h"
#include "bound/posterior.h"
#include "gradiometer/random.h"

enum {
    BLOCK = 1000,     /* samples: products then cost about as much as normal numbers */
    BY_LAYER = 250,   /* samples' draws in the place of one draw: slack enough for the work */
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

/* Blocks of `each` samples, from sizes alone: equal numbers whatever the threads. */
static void plan_blocks(const gm_gibbs_options *options, gm_gibbs_sampler *s)
{
    size_t n = s->source->data->n, wanted = s->by_layer ? BY_LAYER : BLOCK;
    s->blocks = quotient_up(n, options->block ? options->block : wanted);
    if (s->blocks > options->draws) s->blocks = options->draws;
    s->each = quotient_up(n, s->blocks);
}

/* Samples of a chunk and chunks of a block of `each` samples. */
static void plan_chunks(size_t each, size_t sample_bytes, size_t *chunk, size_t *group)
{
    size_t most = CHUNK_BYTES / sample_bytes, parts = quotient_up(each, CHUNK_LEAST);
    most = most < CHUNK_LEAST ? CHUNK_LEAST : most;
    parts = parts < 4 ? parts : 4;
    *group = quotient_up(each, most);
    if (*group < parts) *group = parts;
    *chunk = quotient_up(each, *group);
    *group = quotient_up(each, *chunk);
}

static gm_status open_whole(gm_gibbs_sampler *s, gm_error *err)
{
    const gm_problem *source = s->source;
    size_t n = source->data->n, p = gm_problem_parameters(source);
    gm_problem_options o = {.loss = gm_problem_loss(source), .memory = source->memory};
    plan_chunks(s->each, gm_problem_sample_bytes(source), &o.chunk, &s->group);
    gm_status status =
        gm_problem_create(gm_problem_net(source), source->data, &o, &s->problem, err);
    if (status != GM_OK) return status;
    size_t workers = (size_t)s->problem->workers, largest = s->group * s->problem->chunk;
    s->blocks = quotient_up(s->problem->chunks, s->group);
    s->largest = largest < n ? largest : n;
    s->span = (double)s->blocks * (double)s->largest / (double)n;
    s->native = gm_alloc(workers, sizeof *s->native, "posterior draws", err);
    if (!s->native) return GM_ERR_MEMORY;
    for (size_t w = 0; w < workers; w++) {
        s->native[w] = gm_alloc(p, source->engine.k->size, "posterior draws", err);
        if (!s->native[w]) return GM_ERR_MEMORY;
    }
    return GM_OK;
}

gm_status gm_gibbs_sampler_open(const gm_problem *problem, const gm_gibbs_options *options,
                                gm_gibbs_sampler *sampler, gm_error *err)
{
    *sampler = (gm_gibbs_sampler){.options = options,
                                  .source = problem,
                                  .span = 1.0,
                                  .clip = gm_posterior_clip(problem, options->clip)};
    if (options->draws == 0) return gm_fail(err, GM_ERR_USAGE, "--draws: found 0, expected >= 1");
    gm_status status = gm_one_label(problem, err);
    if (status != GM_OK) return status;
    sampler->by_layer = !options->whole && gm_local_possible(gm_problem_net(problem), NULL);
    plan_blocks(options, sampler);
    if (!sampler->by_layer) return open_whole(sampler, err);
    return gm_local_open(problem, GM_LOCAL_ROWS, &sampler->local, err);
}

void gm_gibbs_sampler_close(gm_gibbs_sampler *sampler)
{
    for (int w = 0; sampler->native && w < sampler->problem->workers; w++) {
        gm_free(sampler->native[w]);
    }
    gm_free(sampler->native);
    gm_problem_free(sampler->problem);
    gm_local_close(&sampler->local);
    *sampler = (gm_gibbs_sampler){0};
}

/* ---- one whole draw ---- */

typedef struct job {
    const gm_gibbs_sampler *sampler;
    const gm_gaussians *g;
    gm_stream stream;
    size_t draws;
    size_t first, end;       /* those of this rank */
    double *error, *clipped; /* [draws]: terms B w_b X_t */
    bool *overflowed;        /* [draws] */
    bool *done;              /* [draws]; those that are not were interrupted */
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
    const gm_gibbs_options *o = s->options;
    j->done[t] = !(o->stop && o->stop(o->context));
    if (!j->done[t]) return;
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
        for (size_t t = j->first; t < j->end; t++) {
            take_draw(j, t, &problem->worker[0], j->sampler->native[0]);
        }
        return;
    }
#pragma omp parallel num_threads(problem->workers)
    for (size_t w = (size_t)omp_get_thread_num(); w < workers; w += (size_t)omp_get_num_threads()) {
        for (size_t t = j->first + w; t < j->end; t += workers) {
            take_draw(j, t, &problem->worker[w], j->sampler->native[w]);
        }
    }
}

/* The draws of all ranks. */
static void exchange(const job *j, const gm_team *team)
{
    size_t first = j->first, count = j->end - j->first, number = sizeof *j->error;
    gm_team_gather(team, first * number, count * number, j->error);
    gm_team_gather(team, first * number, count * number, j->clipped);
    gm_team_gather(team, first * sizeof *j->done, count * sizeof *j->done, j->done);
    gm_team_gather(team, first * sizeof *j->done, count * sizeof *j->done, j->overflowed);
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

static gm_status interrupted(gm_error *err)
{
    return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted while drawing from the posterior");
}

static gm_status sample_whole(gm_gibbs_sampler *sampler, const gm_gaussians *g, size_t draws,
                              uint32_t run, gm_gibbs *result, gm_error *err)
{
    job j = {.sampler = sampler,
             .g = g,
             .stream = gm_stream_of(sampler->options->seed, GM_PURPOSE_POSTERIOR, run),
             .draws = draws};
    j.error = gm_alloc(draws, sizeof *j.error, "losses of draws", err);
    j.clipped = gm_alloc(draws, sizeof *j.clipped, "losses of draws", err);
    j.overflowed = gm_alloc(draws, sizeof *j.overflowed, "losses of draws", err);
    j.done = gm_alloc(draws, sizeof *j.done, "losses of draws", err);
    gm_status status = j.error && j.clipped && j.overflowed && j.done ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        const gm_team *team = sampler->options->team;
        gm_team_share(team, draws, &j.first, &j.end);
        j.end += j.first;
        take_draws(&j);
        exchange(&j, team);
        result->draws = draws;
        result->blocks = sampler->blocks;
        result->each = sampler->largest;
        result->error = mean_of(draws, j.error);
        result->clipped = mean_of(draws, j.clipped);
        for (size_t t = 0; t < draws && status == GM_OK; t++) {
            result->overflowed += j.overflowed[t];
            if (!j.done[t]) status = interrupted(err);
        }
    }
    gm_free(j.error);
    gm_free(j.clipped);
    gm_free(j.overflowed);
    gm_free(j.done);
    return status;
}

/* Samples that `draws` draws on blocks meet: whole rounds through the data, or a part of one. */
static gm_status count_samples(const gm_gibbs_sampler *s, size_t draws, size_t *count,
                               gm_error *err)
{
    size_t n = s->source->data->n;
    if (gm_mul_size(draws, s->each, count) &&
        (*count <= n || gm_mul_size(quotient_up(*count, n), n, count)))
        return GM_OK;
    return gm_fail(err, GM_ERR_USAGE, "--draws: %zu draws on %zu samples each overflow", draws,
                   s->each);
}

static gm_status sample_by_layer(gm_gibbs_sampler *s, const gm_gaussians *g, size_t draws,
                                 uint32_t run, gm_gibbs *result, gm_error *err)
{
    const gm_gibbs_options *o = s->options;
    gm_local_sums sums;
    void *mean = NULL, *variance = NULL;
    gm_status status = count_samples(s, draws, &result->draws, err);
    if (status == GM_OK) status = gm_posterior_native(s->source, g, &mean, &variance, err);
    if (status == GM_OK) {
        gm_local_sample(&s->local, mean, variance, s->clip, result->draws,
                        gm_stream_of(o->seed, GM_PURPOSE_POSTERIOR, run), o->team, o->stop,
                        o->context, &sums);
        if (sums.draws < result->draws) status = interrupted(err);
    }
    if (status == GM_OK) {
        result->by_layer = true;
        result->each = 1;
        result->blocks = s->source->data->n;
        result->overflowed = sums.overflowed;
        result->error = gm_local_mean(sums.draws, sums.error, sums.error2);
        result->clipped = gm_local_mean(sums.draws, sums.clipped, sums.clipped2);
    }
    gm_free(mean);
    gm_free(variance);
    return status;
}

gm_status gm_gibbs_sample(gm_gibbs_sampler *sampler, const gm_gaussians *g, size_t draws,
                          uint32_t run, gm_gibbs *result, gm_error *err)
{
    *result = (gm_gibbs){.span = sampler->span, .clip = sampler->clip};
    return (sampler->by_layer ? sample_by_layer : sample_whole)(sampler, g, draws, run, result,
                                                                err);
}

gm_status gm_gibbs_sample_all(gm_gibbs_sampler *sampler, const gm_gaussians *g, gm_gibbs *result,
                              gm_error *err)
{
    size_t rounds = quotient_up(sampler->options->draws, sampler->blocks);
    return gm_gibbs_sample(sampler, g, rounds * sampler->blocks, sampler->options->run, result,
                           err);
}

gm_status gm_gibbs_estimate(gm_problem *problem, const gm_gaussians *g,
                            const gm_gibbs_options *options, gm_gibbs *result, gm_error *err)
{
    gm_gibbs_sampler sampler;
    gm_status status = gm_gibbs_sampler_open(problem, options, &sampler, err);
    if (status == GM_OK) status = gm_gibbs_sample_all(&sampler, g, result, err);
    gm_gibbs_sampler_close(&sampler);
    return status;
}

/* What is added to the mean, or taken from it, by the scatter of the terms (Maurer and Pontil 2009,
 * arXiv 0907.3740, theorem 11, for independent terms of different distributions in [0, span]). */
static double scatter_limit(const gm_gibbs *gibbs, gm_gibbs_mean mean, double delta)
{
    double logarithm = log(2.0 / delta), draws = (double)gibbs->draws;
    if (gibbs->draws < 2) return (double)INFINITY;
    return mean.std_error * sqrt(2.0 * logarithm) +
           7.0 * gibbs->span * logarithm / (3.0 * (draws - 1.0));
}

double gm_gibbs_upper(const gm_gibbs *gibbs, gm_gibbs_mean mean, double delta)
{
    bool two = gibbs->each > 1;
    double half = two ? 0.5 * delta : delta, c = -log(half) / (double)gibbs->draws;
    double upper = gibbs->span * gm_kl_inverse_upper(fmin(1.0, mean.mean / gibbs->span), c);
    if (two) upper = fmin(upper, mean.mean + scatter_limit(gibbs, mean, half));
    return fmin(1.0, upper);
}

double gm_gibbs_lower(const gm_gibbs *gibbs, gm_gibbs_mean mean, double delta)
{
    bool two = gibbs->each > 1;
    double half = two ? 0.5 * delta : delta, c = -log(half) / (double)gibbs->draws;
    double lower = gibbs->span * gm_kl_inverse_lower(fmin(1.0, mean.mean / gibbs->span), c);
    return two ? fmax(lower, mean.mean - scatter_limit(gibbs, mean, half)) : lower;
}
