/* Dense matrices of the operators.
 *
 * Plainly, column j is the product with e_j: p products. Where each layer's gradient is an outer
 * product signal (x) (input, 1), the column of weight (o, k) is, sample by sample, the input a_k
 * times what moving the unit's pre-activation z_o by one does. So one unit pass serves all columns
 * of a unit; nothing before the unit's layer moves; and by symmetry only rows from the unit on are
 * needed. With sdot and adot from that pass, s and a the signals and inputs of layer m, and (q, j)
 * a weight of m:
 *
 *   A[(o,k), (q,j)] = (1/n) sum_i a_k (sdot_q a_j + s_q adot_j),   (q,j) from unit o on:
 *
 * n p^2 flops in all for H, R and H_p (G: without the second term), against p products for the
 * plain way. M and Sigma: the rows g_i and g_i - mu, n p^2 flops, for layers of any kind.
 * Everything after the passes is in double. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "curvature/group.h"
#include "curvature/units.h"

/* Samples taken together, and columns of a panel: the panel [ROWS, PANEL] stays in a core's cache.
 */
enum { ROWS = 128, PANEL = 384 };

/* One thread's arrays. */
typedef struct scratch {
    gm_unit_pass pass;
    double *sdot;  /* [ROWS, out] */
    double *adot;  /* [ROWS, aug], the bias column 0 */
    double *panel; /* [ROWS, columns] */
} scratch;

typedef struct dense_job {
    gm_linearization *lin;
    const gm_kernels *k64;
    gm_curvature kind;
    gm_part part;
    gm_outer_layer *layer;
    size_t layers, units, widest_aug, widest_out;
    double
        *h; /* [size, size], unit-major order: rows of a unit against columns from that unit on */
    double **input;  /* [layers] of [ROWS, aug] */
    double **signal; /* [layers] of [ROWS, out] */
    scratch *thread; /* [threads] */
    int threads;
    void *own;       /* one gradient on its way (gm_layer_signals) */
    void **pointers; /* [2 nodes] of the rows in hand */
} dense_job;

static void free_job(dense_job *job)
{
    for (size_t l = 0; l < job->layers; l++) {
        if (job->input) gm_free(job->input[l]);
        if (job->signal) gm_free(job->signal[l]);
    }
    for (int t = 0; job->thread && t < job->threads; t++) {
        gm_unit_pass_free(&job->thread[t].pass);
        gm_free(job->thread[t].sdot);
        gm_free(job->thread[t].adot);
        gm_free(job->thread[t].panel);
    }
    gm_free(job->thread);
    gm_free(job->input);
    gm_free(job->signal);
    gm_free(job->layer);
    gm_free(job->own);
    gm_free(job->pointers);
    gm_free(job->h);
}

static gm_status make_thread(const dense_job *job, scratch *t, gm_error *err)
{
    size_t columns = job->widest_aug > PANEL ? job->widest_aug : PANEL;
    t->sdot = gm_alloc(ROWS * job->widest_out, sizeof(double), "unit pass", err);
    t->adot = gm_alloc(ROWS * job->widest_aug, sizeof(double), "unit pass", err);
    t->panel = gm_alloc(ROWS * columns, sizeof(double), "unit pass", err);
    if (!t->sdot || !t->adot || !t->panel) return GM_ERR_MEMORY;
    return gm_unit_pass_create(job->lin->problem, job->kind, ROWS, &t->pass, err);
}

static gm_status make_job(gm_linearization *lin, gm_curvature kind, const gm_part *part,
                          dense_job *job, gm_error *err)
{
    *job = (dense_job){.lin = lin, .k64 = gm_kernels_get(GM_F64), .kind = kind, .part = *part};
    job->layers = (size_t)(part->last_layer - part->first_layer + 1);
    job->threads = omp_get_max_threads();
    job->layer = gm_part_layers(lin, part, err);
    job->input = gm_alloc(job->layers, sizeof *job->input, "dense matrix", err);
    job->signal = gm_alloc(job->layers, sizeof *job->signal, "dense matrix", err);
    job->thread = gm_alloc((size_t)job->threads, sizeof *job->thread, "dense matrix", err);
    job->pointers =
        gm_alloc(2 * (size_t)gm_engine_of(lin)->net->nodes, sizeof(void *), "dense matrix", err);
    if (!job->layer) return GM_ERR_MEMORY;
    job->own = gm_alloc(gm_widest_shared(job->layer, job->layers), gm_engine_of(lin)->k->size,
                        "a gradient", err);
    size_t numbers;
    if (!gm_mul_size(part->size, part->size, &numbers)) {
        return gm_fail(err, GM_ERR_MEMORY, "dense matrix of %zu parameters overflows", part->size);
    }
    job->h = gm_alloc(numbers, sizeof(double), "dense matrix", err);
    if (!job->own || !job->input || !job->signal || !job->thread || !job->pointers || !job->h) {
        return GM_ERR_MEMORY;
    }
    for (size_t l = 0; l < job->layers; l++) {
        const gm_outer_layer *layer = &job->layer[l];
        job->units += layer->out;
        job->widest_aug = layer->aug > job->widest_aug ? layer->aug : job->widest_aug;
        job->widest_out = layer->out > job->widest_out ? layer->out : job->widest_out;
        job->input[l] = gm_alloc(ROWS * layer->aug, sizeof(double), "inputs of a layer", err);
        job->signal[l] = gm_alloc(ROWS * layer->out, sizeof(double), "signals of a layer", err);
        if (!job->input[l] || !job->signal[l]) return GM_ERR_MEMORY;
    }
    return GM_OK;
}

/* Inputs and signals of the part's layers for the rows in hand, in double. */
static void load_rows(dense_job *job, const gm_chunk *rows)
{
    const gm_engine *e = &job->lin->problem->worker[0].engine;
    for (size_t l = 0; l < job->layers; l++) {
        const gm_outer_layer *layer = &job->layer[l];
        gm_augmented_input(e, rows, layer, job->input[l]);
        gm_layer_signals(e, rows, layer, rows->signal, job->own, job->signal[l]);
    }
}

/* What the unit pass left at layer m, in double. Returns whether the layer's input moved. */
static bool load_tangents(const dense_job *job, scratch *t, size_t n, size_t m)
{
    const gm_outer_layer *layer = &job->layer[m];
    const gm_kernels *k = t->pass.engine.k;
    int input = t->pass.engine.net->node[layer->node].input[0];
    k->to_double(n * layer->out, t->pass.tsignal.node[layer->node], t->sdot);
    if (job->kind == GM_GGN || !t->pass.moves[input]) return false;
    const char *tin = t->pass.tangent.node[input];
    for (size_t i = 0; i < n; i++) {
        double *row = t->adot + i * layer->aug;
        k->to_double(layer->in, tin + i * layer->in * k->size, row);
        if (layer->aug > layer->in) row[layer->in] = 0.0;
    }
    return true;
}

/* panel [n, units, aug] = sdot_q a_j + s_q adot_j for the units q0 ... of layer m. */
static void fill_panel(const dense_job *job, scratch *t, size_t n, size_t m, size_t q0,
                       size_t units, bool moved)
{
    const gm_outer_layer *layer = &job->layer[m];
    size_t aug = layer->aug;
    for (size_t i = 0; i < n; i++) {
        const double *a = job->input[m] + i * aug, *adot = t->adot + i * aug;
        const double *sdot = t->sdot + i * layer->out + q0,
                     *s = job->signal[m] + i * layer->out + q0;
        double *row = t->panel + i * units * aug;
        for (size_t q = 0; q < units; q++) {
            double sq = s[q], sdotq = sdot[q], *to = row + q * aug;
            if (moved) {
                for (size_t j = 0; j < aug; j++) {
                    to[j] = sdotq * a[j] + sq * adot[j];
                }
            } else {
                for (size_t j = 0; j < aug; j++) {
                    to[j] = sdotq * a[j];
                }
            }
        }
    }
}

/* Adds the rows' share of the unit's rows of the matrix, from its own columns on. */
static void unit_rows(const dense_job *job, scratch *t, const gm_chunk *rows, size_t l, size_t o)
{
    size_t size = job->part.size, n = rows->n;
    const gm_outer_layer *own = &job->layer[l];
    double *h = job->h + (own->offset + o * own->aug) * size;
    gm_unit_pass_run(&t->pass, rows, own->node, o);
    for (size_t m = l; m < job->layers; m++) {
        const gm_outer_layer *layer = &job->layer[m];
        bool moved = load_tangents(job, t, n, m);
        size_t most = layer->aug < PANEL ? PANEL / layer->aug : 1;
        for (size_t q = m == l ? o : 0; q < layer->out; q += most) {
            size_t units = layer->out - q < most ? layer->out - q : most;
            fill_panel(job, t, n, m, q, units, moved);
            job->k64->gemm(true, false, own->aug, units * layer->aug, n, 1.0, job->input[l],
                           own->aug, t->panel, units * layer->aug, 1.0,
                           h + layer->offset + q * layer->aug, size);
        }
    }
}

/* All units for the rows in hand. Units write to rows of their own; those with most columns go
 * first. */
static void all_units(dense_job *job, const gm_chunk *rows)
{
    load_rows(job, rows);
#pragma omp parallel num_threads(job->threads)
    {
        scratch *t = &job->thread[omp_get_thread_num()];
        for (size_t l = 0; l < job->layers; l++) {
            gm_unit_pass_layer(&t->pass, job->layer[l].node);
#pragma omp for schedule(dynamic, 1) nowait
            for (size_t o = 0; o < job->layer[l].out; o++) {
                unit_rows(job, t, rows, l, o);
            }
        }
    }
}

/* Row g_i (less mu) of the rows in hand, unit-major [n, size]; mu NULL or unit-major [size]. */
static void gradient_rows(const dense_job *job, size_t n, const double *mu, double *row)
{
    size_t size = job->part.size;
    for (size_t i = 0; i < n; i++) {
        double *g = row + i * size;
        for (size_t l = 0; l < job->layers; l++) {
            const gm_outer_layer *layer = &job->layer[l];
            const double *a = job->input[l] + i * layer->aug, *s = job->signal[l] + i * layer->out;
            for (size_t o = 0; o < layer->out; o++) {
                double *to = g + layer->offset + o * layer->aug;
                for (size_t j = 0; j < layer->aug; j++) {
                    to[j] = s[o] * a[j];
                }
            }
        }
        for (size_t j = 0; mu && j < size; j++) {
            g[j] -= mu[j];
        }
    }
}

/* h += g^T g, columns from each panel on. */
static void add_outer(dense_job *job, size_t n, const double *g)
{
    size_t size = job->part.size;
    for (size_t j = 0; j < size; j += PANEL) {
        size_t columns = size - j < PANEL ? size - j : PANEL;
        job->k64->gemm(true, false, columns, size - j, n, 1.0, g + j, size, g + j, size, 1.0,
                       job->h + j * size + j, size);
    }
}

/* Place in the flat vector of each number of the unit-major order. */
static void flat_order(const dense_job *job, size_t *place)
{
    for (size_t l = 0; l < job->layers; l++) {
        const gm_outer_layer *layer = &job->layer[l];
        for (size_t o = 0; o < layer->out; o++) {
            size_t *unit = place + layer->offset + o * layer->aug;
            for (size_t k = 0; k < layer->in; k++) {
                unit[k] = layer->offset + o * layer->in + k;
            }
            if (layer->aug > layer->in)
                unit[layer->in] = layer->offset + layer->in * layer->out + o;
        }
    }
}

/* matrix = scale * h, both triangles, in the order of the flat vector. */
static void to_flat(const dense_job *job, const size_t *place, double scale, double *matrix)
{
    size_t size = job->part.size;
#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < size; i++) {
        for (size_t j = i; j < size; j++) {
            double value = scale * job->h[i * size + j];
            matrix[place[i] * size + place[j]] = value;
            matrix[place[j] * size + place[i]] = value;
        }
    }
}

typedef void rows_work(dense_job *job, const gm_chunk *rows, void *data);

/* Calls work for all samples, ROWS at a time. */
static void each_rows(dense_job *job, rows_work *work, void *data)
{
    gm_problem *problem = job->lin->problem;
    size_t nodes = (size_t)problem->engine.net->nodes;
    for (size_t index = 0; index < problem->chunks; index++) {
        const gm_chunk *c = gm_linearization_chunk(job->lin, &problem->worker[0], index);
        for (size_t first = 0; first < c->n; first += ROWS) {
            size_t n = c->n - first < ROWS ? c->n - first : ROWS;
            gm_chunk rows =
                gm_chunk_rows(&problem->engine, c, first, n, job->pointers, job->pointers + nodes);
            work(job, &rows, data);
        }
    }
}

static void units_work(dense_job *job, const gm_chunk *rows, void *data)
{
    (void)data;
    all_units(job, rows);
}

typedef struct moment_rows {
    double *g, *mu;
} moment_rows;

static void moment_work(dense_job *job, const gm_chunk *rows, void *data)
{
    moment_rows *m = data;
    load_rows(job, rows);
    gradient_rows(job, rows->n, m->mu, m->g);
    add_outer(job, rows->n, m->g);
}

static gm_status dense_moment(dense_job *job, const size_t *place, gm_error *err)
{
    size_t size = job->part.size;
    moment_rows m = {.g = gm_alloc(ROWS * size, sizeof(double), "per-sample gradients", err)};
    double *mu = gm_alloc(size, sizeof(double), "gradient", err);
    if (m.g && mu) {
        for (size_t i = 0; i < size; i++) {
            mu[i] = job->lin->gradient[job->part.offset + place[i]];
        }
        m.mu = job->kind == GM_COVARIANCE ? mu : NULL;
        each_rows(job, moment_work, &m);
    }
    gm_status status = m.g && mu ? GM_OK : GM_ERR_MEMORY;
    gm_free(m.g);
    gm_free(mu);
    return status;
}

static gm_status dense_units(dense_job *job, gm_error *err)
{
    for (int t = 0; t < job->threads; t++) {
        gm_status status = make_thread(job, &job->thread[t], err);
        if (status != GM_OK) return status;
    }
    each_rows(job, units_work, NULL);
    return GM_OK;
}

static gm_status dense_outer(gm_linearization *lin, gm_curvature kind, const gm_part *part,
                             double *matrix, gm_error *err)
{
    dense_job job;
    size_t *place = NULL;
    gm_status status = make_job(lin, kind, part, &job, err);
    if (status != GM_OK) goto done;
    place = gm_alloc(part->size, sizeof *place, "dense matrix", err);
    if (!place) {
        status = GM_ERR_MEMORY;
        goto done;
    }
    flat_order(&job, place);
    status = kind == GM_MOMENT || kind == GM_COVARIANCE ? dense_moment(&job, place, err)
                                                        : dense_units(&job, err);
    double sign = kind == GM_RESIDUAL ? -1.0 : 1.0;
    if (status == GM_OK) {
        to_flat(&job, place, sign / (double)lin->problem->samples, matrix);
        gm_team_sum(lin->problem->team, part->size * part->size, matrix);
    }
done:
    gm_free(place);
    free_job(&job);
    return status;
}

/* The plain way, for layers of any kind: products with the columns of the identity, symmetrized. */
static gm_status dense_products(gm_linearization *lin, gm_curvature kind, int layer, double *matrix,
                                gm_error *err)
{
    gm_operator op;
    gm_status status = gm_curvature_operator(lin, kind, layer, &op, err);
    if (status != GM_OK) return status;
    size_t size = op.size, block = lin->problem->block;
    double *columns = gm_alloc(block * size, sizeof(double), "columns of the identity", err);
    if (!columns) status = GM_ERR_MEMORY;
    for (size_t first = 0; status == GM_OK && first < size; first += block) {
        size_t count = size - first < block ? size - first : block;
        memset(columns, 0, block * size * sizeof(double));
        for (size_t j = 0; j < count; j++) {
            columns[j * size + first + j] = 1.0;
        }
        status = gm_operator_apply(&op, count, columns, matrix + first * size, err);
    }
    for (size_t i = 0; status == GM_OK && i < size; i++) {
        for (size_t j = 0; j < i; j++) {
            double mean = 0.5 * (matrix[i * size + j] + matrix[j * size + i]);
            matrix[i * size + j] = matrix[j * size + i] = mean;
        }
    }
    gm_free(columns);
    gm_operator_destroy(&op);
    return status;
}

static gm_status check_finite(gm_curvature kind, size_t size, const double *matrix, gm_error *err)
{
    for (size_t i = 0; i < size * size; i++) {
        if (isfinite(matrix[i])) continue;
        return gm_fail(err, GM_ERR_NUMERIC,
                       "the %s is not finite: NaN or overflow at row %zu, column %zu",
                       gm_curvature_name(kind), i / size, i % size);
    }
    return GM_OK;
}

gm_status gm_curvature_dense(gm_linearization *lin, gm_curvature kind, int layer, double *matrix,
                             gm_error *err)
{
    gm_part part;
    if (gm_is_group(lin, layer)) return dense_products(lin, kind, layer, matrix, err);
    gm_status status = gm_part_of(lin, layer, &part, err);
    if (status != GM_OK) return status;
    bool rows = kind == GM_MOMENT || kind == GM_COVARIANCE;
    if (!rows && !gm_part_outer(lin, &part)) {
        return dense_products(lin, kind, layer, matrix, err);
    }
    status = dense_outer(lin, kind, &part, matrix, err);
    return status == GM_OK ? check_finite(kind, part.size, matrix, err) : status;
}
