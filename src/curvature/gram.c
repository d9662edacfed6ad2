/* Gram matrices (theory section 1, "Spectrum of M from the Gram matrix").
 *
 * A = sum_r row_r row_r^T has the non-zero eigenvalues of (row_r . row_s). For outer-product layers
 * with signals D [rows, out] and inputs A [n, in + 1]: M:     row_i     = g_i / sqrt n gram = sum
 * over layers of (D D^T) o (A A^T) / n Sigma: row_i     = (g_i - mu) / sqrt n                C gram
 * C, C = I - 11^T/n G:     row_(i,c) = J_i^T S_i e_c / sqrt n             the same with D^(c), rows
 * i K + c D and A are collected once, in double; no [n, p] array. Where the samples are shared out
 * over ranks, each collects those of its own, and all rows are sent to all for the Gram matrix, of
 * which every rank makes some tiles. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "curvature/parts.h"

enum { TILE = 256 };

typedef struct collected {
    gm_linearization *lin;
    gm_curvature kind;
    gm_part part;
    bool *active;
    gm_outer_layer *layer;
    size_t layers, n, per; /* per: rows of a sample, K for G (which may be 1), else 1 */
    size_t first, own_n;   /* the samples of this rank, of all n */
    double **input;        /* [layers] of [n, aug] */
    double **signal;       /* [layers] of [n per, out] */
    void **own;            /* [workers]: one gradient on its way (gm_layer_signals) */
} collected;

static void free_collected(collected *c)
{
    for (size_t l = 0; l < c->layers; l++) {
        if (c->input) gm_free(c->input[l]);
        if (c->signal) gm_free(c->signal[l]);
    }
    for (int w = 0; c->own && w < c->lin->problem->workers; w++) {
        gm_free(c->own[w]);
    }
    gm_free(c->own);
    gm_free(c->input);
    gm_free(c->signal);
    gm_free(c->layer);
    gm_free(c->active);
}

/* Column c of the factor of a loss over positions, block by block that of the softmax there: signal
 * [n, T, K] is 0 elsewhere. */
static void position_factor(const gm_engine *e, const gm_chunk *chunk, size_t c, void *signal)
{
    size_t outputs = gm_net_outputs(e->net), classes = outputs / e->positions;
    double root = sqrt(e->weight);
    for (size_t i = 0; i < chunk->n; i++) {
        size_t at = (i * outputs + c / classes * classes) * e->k->size;
        char *row = (char *)signal + at;
        e->k->softmax_factor(1, classes, (const char *)chunk->prob + at, c % classes, row);
        e->k->scale_rows(1, classes, &root, row, row);
    }
}

/* Root signals S_i e_c (squared loss: e_c) for outputs c0 ... c0 + b - 1, [b, n, K]. */
static void factor_signals(const gm_engine *e, const gm_chunk *chunk, size_t c0, size_t b,
                           void *signal)
{
    size_t outputs = gm_net_outputs(e->net), rows = chunk->n * outputs;
    for (size_t j = 0; j < b; j++) {
        char *to = (char *)signal + j * rows * e->k->size;
        if (e->loss == GM_LOSS_CROSS_ENTROPY && e->positions == 1) {
            e->k->softmax_factor(chunk->n, outputs, chunk->prob, c0 + j, to);
            continue;
        }
        memset(to, 0, rows * e->k->size);
        if (e->positions > 1) {
            position_factor(e, chunk, c0 + j, to);
            continue;
        }
        for (size_t i = 0; i < chunk->n; i++) {
            e->k->fill(1, 1.0, to + (i * outputs + c0 + j) * e->k->size);
        }
    }
}

void gm_factor_backward(gm_worker *w, const gm_chunk *chunk, const bool *wanted, size_t c0,
                        size_t b)
{
    const gm_engine *e = &w->engine;
    factor_signals(e, chunk, c0, b, w->tsignal.node[e->net->nodes - 1]);
    gm_pass_backward(e, chunk, wanted, b, w->tsignal.node, NULL);
}

static void collect_factors(collected *c, gm_worker *w, const gm_chunk *chunk)
{
    const gm_engine *e = &w->engine;
    size_t block = c->lin->problem->block;
    for (size_t c0 = 0; c0 < c->per; c0 += block) {
        size_t b = c->per - c0 < block ? c->per - c0 : block;
        gm_factor_backward(w, chunk, c->active, c0, b);
        for (size_t l = 0; l < c->layers; l++) {
            const gm_outer_layer *layer = &c->layer[l];
            for (size_t r = 0; r < b * chunk->n; r++) { /* row: output c0 + r / n, sample r % n */
                size_t i = r % chunk->n, sample = c->first + chunk->first + i;
                size_t to = sample * c->per + c0 + r / chunk->n;
                gm_layer_signal(e, chunk, layer, i, w->tsignal.node, r, c->own[w->thread],
                                c->signal[l] + to * layer->out);
            }
        }
    }
}

static void collect_work(void *job, gm_worker *w, size_t index)
{
    collected *c = job;
    const gm_engine *e = &w->engine;
    const gm_chunk *chunk = gm_linearization_chunk(c->lin, w, index);
    size_t sample = c->first + chunk->first;
    for (size_t l = 0; l < c->layers; l++) {
        const gm_outer_layer *layer = &c->layer[l];
        gm_augmented_input(e, chunk, layer, c->input[l] + sample * layer->aug);
        if (c->kind != GM_GGN) {
            gm_layer_signals(e, chunk, layer, chunk->signal, c->own[w->thread],
                             c->signal[l] + sample * layer->out);
        }
    }
    if (c->kind == GM_GGN) collect_factors(c, w, chunk);
}

static gm_status collect(gm_linearization *lin, gm_curvature kind, int layer, collected *c,
                         gm_error *err)
{
    gm_problem *problem = lin->problem;
    *c = (collected){.lin = lin,
                     .kind = kind,
                     .n = problem->samples,
                     .first = problem->first,
                     .own_n = problem->n,
                     .per = 1};
    gm_status status = gm_part_of(lin, layer, &c->part, err);
    if (status == GM_OK) status = gm_problem_reserve(problem, err);
    if (status != GM_OK) return status;
    if (gm_gram_size(lin, kind) == 0) {
        return gm_fail(err, GM_ERR_USAGE, "the %s of this net has no Gram form",
                       gm_curvature_name(kind));
    }
    if (kind == GM_GGN) c->per = gm_net_outputs(problem->engine.net);
    c->layers = (size_t)(c->part.last_layer - c->part.first_layer + 1);
    c->active = gm_alloc((size_t)problem->engine.net->nodes, sizeof(bool), "Gram matrix", err);
    c->layer = gm_part_layers(lin, &c->part, err);
    c->input = gm_alloc(c->layers, sizeof *c->input, "Gram matrix", err);
    c->signal = gm_alloc(c->layers, sizeof *c->signal, "Gram matrix", err);
    c->own = gm_alloc((size_t)problem->workers, sizeof *c->own, "Gram matrix", err);
    if (!c->active || !c->layer || !c->input || !c->signal || !c->own) return GM_ERR_MEMORY;
    size_t widest = gm_widest_shared(c->layer, c->layers);
    for (int w = 0; w < problem->workers; w++) {
        c->own[w] = gm_alloc(widest, problem->engine.k->size, "a gradient", err);
        if (!c->own[w]) return GM_ERR_MEMORY;
    }
    for (size_t l = 0; l < c->layers; l++) {
        c->input[l] = gm_alloc(c->n * c->layer[l].aug, sizeof(double), "inputs of a layer", err);
        c->signal[l] =
            gm_alloc(c->n * c->per * c->layer[l].out, sizeof(double), "signals of a layer", err);
        if (!c->input[l] || !c->signal[l]) return GM_ERR_MEMORY;
    }
    gm_pass_active(problem->engine.net, layer, c->active);
    gm_sweep(problem, collect_work, c);
    return GM_OK;
}

/* True where the rows of per-sample gradients that layers with shared weights need, per a sample,
 * take at most a quarter of the budget. */
static bool rows_fit(const gm_linearization *lin, size_t per)
{
    const gm_net *net = gm_engine_of(lin)->net;
    size_t numbers = 0, bytes;
    for (int l = 0; l < net->layers; l++) {
        const gm_node *node = &net->node[net->layer_node[l]];
        if (!(node->traits & GM_TRAIT_OUTER)) numbers += node->parameters;
    }
    return gm_mul_size(numbers, per * sizeof(double), &bytes) &&
           gm_mul_size(bytes, lin->problem->samples, &bytes) && bytes <= lin->problem->memory / 4;
}

size_t gm_gram_size(const gm_linearization *lin, gm_curvature kind)
{
    size_t n = lin->problem->samples;
    bool moment = kind == GM_MOMENT || kind == GM_COVARIANCE;
    size_t per = moment ? 1 : gm_net_outputs(gm_engine_of(lin)->net);
    if ((!moment && kind != GM_GGN) || !rows_fit(lin, per)) return 0;
    return n * per;
}

/* Adds one tile of the lower triangle: samples s0 ... against t0 ...; dd and aa hold [TILE per]^2
 * and [TILE]^2. */
static void add_tile(const collected *c, size_t s0, size_t t0, double *dd, double *aa, double *gram)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    size_t rows = c->n * c->per, tile = TILE / c->per > 0 ? TILE / c->per : 1;
    size_t sn = c->n - s0 < tile ? c->n - s0 : tile, tn = c->n - t0 < tile ? c->n - t0 : tile;
    size_t sr = sn * c->per, tr = tn * c->per;
    for (size_t l = 0; l < c->layers; l++) {
        const gm_outer_layer *layer = &c->layer[l];
        k->gemm(false, true, sn, tn, layer->aug, 1.0 / (double)c->n, c->input[l] + s0 * layer->aug,
                layer->aug, c->input[l] + t0 * layer->aug, layer->aug, 0.0, aa, tn);
        k->gemm(false, true, sr, tr, layer->out, 1.0, c->signal[l] + s0 * c->per * layer->out,
                layer->out, c->signal[l] + t0 * c->per * layer->out, layer->out, 0.0, dd, tr);
        for (size_t i = 0; i < sr; i++) {
            double *to = gram + (s0 * c->per + i) * rows + t0 * c->per;
            for (size_t j = 0; j < tr; j++) {
                to[j] += dd[i * tr + j] * aa[i / c->per * tn + j / c->per];
            }
        }
    }
}

/* C gram C with C = I - 11^T/n. */
static void centre(size_t n, double *gram, double *mean)
{
    double grand = 0.0;
    for (size_t i = 0; i < n; i++) {
        mean[i] = 0.0;
        for (size_t j = 0; j < n; j++) {
            mean[i] += gram[i * n + j] / (double)n;
        }
        grand += mean[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            gram[i * n + j] += grand - mean[i] - mean[j];
        }
    }
}

/* The rows of all ranks at all of them. */
static void exchange_rows(const collected *c)
{
    const gm_team *team = c->lin->problem->team;
    for (size_t l = 0; l < c->layers; l++) {
        size_t in = c->layer[l].aug * sizeof(double);
        size_t out = c->per * c->layer[l].out * sizeof(double);
        gm_team_gather(team, c->first * in, c->own_n * in, c->input[l]);
        gm_team_gather(team, c->first * out, c->own_n * out, c->signal[l]);
    }
}

gm_status gm_curvature_gram(gm_linearization *lin, gm_curvature kind, int layer, double *gram,
                            gm_error *err)
{
    collected c;
    double *work = NULL;
    gm_status status = collect(lin, kind, layer, &c, err);
    if (status != GM_OK) goto done;
    const gm_team *team = lin->problem->team;
    size_t ranks = (size_t)gm_team_size(team), turn = (size_t)gm_team_rank(team);
    size_t rows = c.n * c.per, tile = TILE / c.per > 0 ? TILE / c.per : 1, side = tile * c.per;
    work = gm_alloc(side * side + tile * tile + c.n, sizeof(double), "Gram matrix", err);
    if (!work) {
        status = GM_ERR_MEMORY;
        goto done;
    }
    exchange_rows(&c);
    memset(gram, 0, rows * rows * sizeof(double));
    for (size_t s0 = 0; s0 < c.n; s0 += tile) {
        for (size_t t0 = 0; t0 <= s0; t0 += tile) {
            if (turn++ % ranks == 0) add_tile(&c, s0, t0, work, work + side * side, gram);
        }
    }
    gm_team_sum(team, rows * rows, gram); /* zeros in the others' tiles */
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < i; j++) {
            gram[j * rows + i] = gram[i * rows + j];
        }
    }
    if (kind == GM_COVARIANCE) centre(c.n, gram, work + side * side + tile * tile);
done:
    gm_free(work);
    free_collected(&c);
    return status;
}

/* vector += sum over the rank's samples of (sum_c weight_(i,c) D_(i,c)) (x) A_i, layer by layer;
 * mean is taken off the weights. */
static void add_combination(const collected *c, const double *weight, double mean, double *wd,
                            double *units, double *vector)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    for (size_t l = 0; l < c->layers; l++) {
        const gm_outer_layer *layer = &c->layer[l];
        size_t first = c->first * c->per;
        memset(wd, 0, c->own_n * layer->out * sizeof(double));
        for (size_t r = 0; r < c->own_n * c->per; r++) {
            double w = weight[first + r] - mean;
            double *to = wd + r / c->per * layer->out;
            for (size_t o = 0; o < layer->out; o++) {
                to[o] += w * c->signal[l][(first + r) * layer->out + o];
            }
        }
        k->gemm(true, false, layer->out, layer->aug, c->own_n, 1.0, wd, layer->out,
                c->input[l] + c->first * layer->aug, layer->aug, 0.0, units, layer->aug);
        gm_unpack_units(layer, units, 1.0 / __builtin_sqrt((double)c->n), vector + layer->offset);
    }
}

gm_status gm_gram_vectors(gm_linearization *lin, gm_curvature kind, int layer, size_t count,
                          const double *weight, double *vector, gm_error *err)
{
    collected c;
    double *wd = NULL, *units = NULL;
    gm_status status = collect(lin, kind, layer, &c, err);
    if (status != GM_OK) goto done;
    size_t widest = 0, most = 0, rows = c.n * c.per;
    for (size_t l = 0; l < c.layers; l++) {
        widest = c.layer[l].out > widest ? c.layer[l].out : widest;
        most = c.layer[l].out * c.layer[l].aug > most ? c.layer[l].out * c.layer[l].aug : most;
    }
    wd = gm_alloc(c.own_n * widest, sizeof(double), "vectors from the Gram matrix", err);
    units = gm_alloc(most, sizeof(double), "vectors from the Gram matrix", err);
    if (!wd || !units) {
        status = GM_ERR_MEMORY;
        goto done;
    }
    memset(vector, 0, count * c.part.size * sizeof(double));
    for (size_t j = 0; j < count; j++) {
        const double *w = weight + j * rows;
        double mean = 0.0;
        for (size_t i = 0; kind == GM_COVARIANCE && i < rows; i++) {
            mean += w[i] / (double)rows;
        }
        add_combination(&c, w, mean, wd, units, vector + j * c.part.size);
    }
    gm_team_sum(lin->problem->team, count * c.part.size, vector);
done:
    gm_free(wd);
    gm_free(units);
    free_collected(&c);
    return status;
}
