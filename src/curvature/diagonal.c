/* Exact diagonals (theory section 1, "Diagonal of a piecewise-linear net").
 *
 * For an outer-product layer with signals D and inputs A (a column of ones for the bias) the
 * diagonal of sum_i g_i g_i^T is (D o D)^T (A o A): G  D o D summed over the K root signals S_i
 * e_c: K backward passes and one product a layer, at any p; M  the signals themselves: one product
 * a layer; H  = diag(G) where every logit is linear in each single weight; else with T[i, o] = the
 * second derivative of the loss with respect to the unit's pre-activation, T^T (A o A): one tangent
 * pass per unit. Sigma is summed in the centred form (g - mu)^2; H_p = M - H; R = H - G, exactly 0
 * for piecewise-linear nets. Where a weight acts at several positions (a convolution) the sample's
 * gradients are summed over them first, then squared: one small backward call for each sample and
 * root signal; a net with such layers that is not piecewise linear takes p products for H. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "curvature/group.h"
#include "curvature/units.h"

typedef struct diagonal_job {
    gm_linearization *lin;
    gm_curvature kind;
    gm_part part;
    bool *active;  /* [nodes] */
    bool *layered; /* [nodes]: layers of the part */
    gm_outer_layer *layer;
    size_t layers, widest_in;
    gm_sums *sums;
    gm_arrays *squares; /* [workers] of [chunk, out] at the part's layers */
    void **input;       /* [workers] of [chunk, widest in] */
    void **own;         /* [workers] of the widest layer that is no outer product */
    gm_unit_pass *pass; /* [workers], for H */
} diagonal_job;

static void free_job(diagonal_job *job)
{
    for (int w = 0; w < job->lin->problem->workers; w++) {
        if (job->squares) gm_arrays_free(&job->squares[w]);
        if (job->input) gm_free(job->input[w]);
        if (job->own) gm_free(job->own[w]);
        if (job->pass) gm_unit_pass_free(&job->pass[w]);
    }
    gm_free(job->squares);
    gm_free(job->input);
    gm_free(job->own);
    gm_free(job->pass);
    gm_free(job->active);
    gm_free(job->layer);
    gm_sums_free(job->sums);
}

static gm_status make_job(gm_linearization *lin, gm_curvature kind, int layer, const gm_part *part,
                          diagonal_job *job, gm_error *err)
{
    gm_problem *problem = lin->problem;
    const gm_engine *e = &problem->engine;
    size_t nodes = (size_t)e->net->nodes, workers = (size_t)problem->workers;
    *job = (diagonal_job){.lin = lin, .kind = kind, .part = *part};
    job->layers = (size_t)(part->last_layer - part->first_layer + 1);
    job->active = gm_alloc(2 * nodes, sizeof(bool), "diagonal", err);
    job->layer = gm_part_layers(lin, part, err);
    job->squares = gm_alloc(workers, sizeof *job->squares, "diagonal", err);
    job->input = gm_alloc(workers, sizeof *job->input, "diagonal", err);
    job->own = gm_alloc(workers, sizeof *job->own, "diagonal", err);
    job->pass = gm_alloc(workers, sizeof *job->pass, "diagonal", err);
    if (!job->active || !job->layer || !job->squares || !job->input || !job->own || !job->pass)
        return GM_ERR_MEMORY;
    size_t widest = gm_widest_shared(job->layer, job->layers);
    job->layered = job->active + nodes;
    gm_pass_active(e->net, layer, job->active);
    for (size_t l = 0; l < job->layers; l++) {
        if (!job->layer[l].outer) continue;
        job->layered[job->layer[l].node] = true;
        job->widest_in = job->layer[l].in > job->widest_in ? job->layer[l].in : job->widest_in;
    }
    gm_status status = gm_problem_reserve(problem, err);
    if (status == GM_OK)
        status = gm_sums_create(e->k, problem->workers, 1, part->size, &job->sums, err);
    for (size_t w = 0; status == GM_OK && w < workers; w++) {
        status =
            gm_arrays_make(e->net, job->layered, problem->chunk, e->k->size, &job->squares[w], err);
        if (status != GM_OK) break;
        job->input[w] =
            gm_alloc(problem->chunk * job->widest_in, e->k->size, "squared inputs", err);
        job->own[w] = gm_alloc(widest, e->k->size, "a gradient", err);
        if (!job->input[w] || !job->own[w]) return GM_ERR_MEMORY;
        if (kind == GM_HESSIAN)
            status = gm_unit_pass_create(problem, kind, problem->chunk, &job->pass[w], err);
    }
    return status;
}

/* sums += g o g, g the gradient of a sample's signal at a layer with shared weights; b signals. */
static void add_shared(const diagonal_job *job, gm_worker *w, const gm_chunk *c,
                       const gm_outer_layer *layer, size_t b, void *const *signal)
{
    const gm_engine *e = &w->engine;
    char *g = job->own[w->thread];
    char *sum = (char *)gm_sums_of(job->sums, w->thread)[0] + layer->offset * e->k->size;
    for (size_t r = 0; r < b * c->n; r++) {
        gm_pass_sample_gradient(e, c, layer->node, r % c->n, signal, r, g);
        e->k->multiply(layer->out, g, g, g);
        e->k->axpy(layer->out, 1.0, g, sum);
    }
}

/* squares += signal o signal at the part's outer layers, b signals; the others' sums at once. */
static void add_squares(const diagonal_job *job, gm_worker *w, const gm_chunk *c, size_t b,
                        void *const *signal)
{
    const gm_kernels *k = gm_engine_of(job->lin)->k;
    for (size_t l = 0; l < job->layers; l++) {
        if (!job->layer[l].outer) {
            add_shared(job, w, c, &job->layer[l], b, signal);
            continue;
        }
        size_t count = c->n * job->layer[l].out;
        char *from = signal[job->layer[l].node];
        for (size_t j = 0; j < b; j++) {
            k->multiply(count, from + j * count * k->size, from + j * count * k->size, w->work);
            k->axpy(count, 1.0, w->work, job->squares[w->thread].node[job->layer[l].node]);
        }
    }
}

static void clear_squares(const diagonal_job *job, gm_worker *w, size_t n)
{
    const gm_kernels *k = gm_engine_of(job->lin)->k;
    for (size_t l = 0; l < job->layers; l++) {
        if (!job->layer[l].outer) continue;
        memset(job->squares[w->thread].node[job->layer[l].node], 0,
               n * job->layer[l].out * k->size);
    }
}

/* sums += squares^T (A o A), and the column sums of squares for the bias. */
static void add_products(const diagonal_job *job, gm_worker *w, const gm_chunk *c)
{
    const gm_engine *e = gm_engine_of(job->lin);
    char *sum = gm_sums_of(job->sums, w->thread)[0];
    for (size_t l = 0; l < job->layers; l++) {
        const gm_outer_layer *layer = &job->layer[l];
        if (!layer->outer) continue;
        const void *a = c->value[e->net->node[layer->node].input[0]];
        const void *squares = job->squares[w->thread].node[layer->node];
        void *a2 = job->input[w->thread];
        char *slice = sum + layer->offset * e->k->size;
        e->k->multiply(c->n * layer->in, a, a, a2);
        e->k->gemm(true, false, layer->out, layer->in, c->n, 1.0, squares, layer->out, a2,
                   layer->in, 1.0, slice, layer->in);
        if (layer->aug > layer->in) {
            e->k->column_sums(c->n, layer->out, squares,
                              slice + layer->in * layer->out * e->k->size);
        }
    }
    gm_sums_added(job->sums, w->thread, c->n);
}

static void ggn_work(void *data, gm_worker *w, size_t index)
{
    diagonal_job *job = data;
    gm_problem *problem = job->lin->problem;
    const gm_chunk *c = gm_linearization_chunk(job->lin, w, index);
    size_t outputs = gm_net_outputs(problem->engine.net);
    clear_squares(job, w, c->n);
    for (size_t c0 = 0; c0 < outputs; c0 += problem->block) {
        size_t b = outputs - c0 < problem->block ? outputs - c0 : problem->block;
        gm_factor_backward(w, c, job->active, c0, b);
        add_squares(job, w, c, b, w->tsignal.node);
    }
    add_products(job, w, c);
}

static void moment_work(void *data, gm_worker *w, size_t index)
{
    diagonal_job *job = data;
    const gm_chunk *c = gm_linearization_chunk(job->lin, w, index);
    clear_squares(job, w, c->n);
    add_squares(job, w, c, 1, c->signal);
    add_products(job, w, c);
}

/* T[i, o] by one tangent pass per unit. */
static void hessian_work(void *data, gm_worker *w, size_t index)
{
    diagonal_job *job = data;
    const gm_kernels *k = gm_engine_of(job->lin)->k;
    const gm_chunk *c = gm_linearization_chunk(job->lin, w, index);
    gm_unit_pass *pass = &job->pass[w->thread];
    for (size_t l = 0; l < job->layers; l++) {
        const gm_outer_layer *layer = &job->layer[l];
        char *squares = job->squares[w->thread].node[layer->node];
        gm_unit_pass_layer(pass, layer->node);
        for (size_t o = 0; o < layer->out; o++) {
            gm_unit_pass_run(pass, c, layer->node, o);
            const char *second = pass->tsignal.node[layer->node];
            for (size_t i = 0; i < c->n; i++) {
                size_t at = (i * layer->out + o) * k->size;
                memcpy(squares + at, second + at, k->size);
            }
        }
    }
    add_products(job, w, c);
}

/* (s a_k - mu_k)^2 for all weights of one unit and all samples of the chunk. */
static void centred_unit(const gm_outer_layer *layer, size_t n, size_t o, const double *signal,
                         const double *input, const double *mu, double *sum)
{
    for (size_t i = 0; i < n; i++) {
        double s = signal[i * layer->out + o];
        const double *a = input + i * layer->aug;
        for (size_t k = 0; k < layer->aug; k++) {
            double g = s * a[k] - mu[k];
            sum[k] += g * g;
        }
    }
}

/* Sigma, centred: n p operations in double. */
static gm_status covariance_diagonal(gm_linearization *lin, const gm_part *part, double *diagonal,
                                     gm_error *err)
{
    gm_problem *problem = lin->problem;
    const gm_engine *e = &problem->worker[0].engine;
    size_t layers = (size_t)(part->last_layer - part->first_layer + 1);
    gm_outer_layer *layer = gm_part_layers(lin, part, err);
    void *own =
        layer ? gm_alloc(gm_widest_shared(layer, layers), e->k->size, "a gradient", err) : NULL;
    gm_status status = own ? GM_OK : GM_ERR_MEMORY;
    for (size_t l = 0; status == GM_OK && l < layers; l++) {
        const gm_outer_layer *y = &layer[l];
        size_t units = y->out * y->aug;
        double *input = gm_alloc(problem->chunk * (y->aug + y->out) + 2 * units, sizeof(double),
                                 "diagonal", err);
        if (!input) {
            status = GM_ERR_MEMORY;
            break;
        }
        double *signal = input + problem->chunk * y->aug, *mu = signal + problem->chunk * y->out;
        double *sum = mu + units;
        const double *flat = lin->gradient + part->offset + y->offset;
        for (size_t o = 0; o < y->out; o++) {
            memcpy(mu + o * y->aug, flat + o * y->in, y->in * sizeof(double));
            if (y->aug > y->in) mu[o * y->aug + y->in] = flat[y->in * y->out + o];
        }
        for (size_t index = 0; index < problem->chunks; index++) {
            const gm_chunk *c = gm_linearization_chunk(lin, &problem->worker[0], index);
            gm_augmented_input(e, c, y, input);
            gm_layer_signals(e, c, y, c->signal, own, signal);
#pragma omp parallel for schedule(static)
            for (size_t o = 0; o < y->out; o++) {
                centred_unit(y, c->n, o, signal, input, mu + o * y->aug, sum + o * y->aug);
            }
        }
        memset(diagonal + y->offset, 0, units * sizeof(double));
        gm_unpack_units(y, sum, 1.0 / (double)problem->samples, diagonal + y->offset);
        gm_free(input);
    }
    if (status == GM_OK) gm_team_sum(problem->team, part->size, diagonal);
    gm_free(own);
    gm_free(layer);
    return status;
}

/* The plain way: the entries of the products with the columns of the identity. */
static gm_status products_diagonal(gm_linearization *lin, gm_curvature kind, int layer,
                                   double *diagonal, gm_error *err)
{
    gm_operator op;
    gm_status status = gm_curvature_operator(lin, kind, layer, &op, err);
    if (status != GM_OK) return status;
    size_t size = op.size, block = lin->problem->block;
    double *v = gm_alloc(2 * block * size, sizeof(double), "columns of the identity", err);
    if (!v) status = GM_ERR_MEMORY;
    for (size_t first = 0; status == GM_OK && first < size; first += block) {
        size_t count = size - first < block ? size - first : block;
        memset(v, 0, block * size * sizeof(double));
        for (size_t j = 0; j < count; j++) {
            v[j * size + first + j] = 1.0;
        }
        status = gm_operator_apply(&op, count, v, v + block * size, err);
        for (size_t j = 0; status == GM_OK && j < count; j++) {
            diagonal[first + j] = v[(block + j) * size + first + j];
        }
    }
    gm_free(v);
    gm_operator_destroy(&op);
    return status;
}

static gm_status squares_diagonal(gm_linearization *lin, gm_curvature kind, int layer,
                                  const gm_part *part, double *diagonal, gm_error *err)
{
    diagonal_job job;
    gm_status status = make_job(lin, kind, layer, part, &job, err);
    if (status == GM_OK) {
        gm_sweep_work *work = kind == GM_GGN      ? ggn_work
                              : kind == GM_MOMENT ? moment_work
                                                  : hessian_work;
        gm_sums_clear(job.sums);
        gm_sweep(lin->problem, work, &job);
        gm_problem_sums(lin->problem, job.sums, 1.0 / (double)lin->problem->samples, 1, diagonal);
    }
    free_job(&job);
    return status;
}

/* diagonal = first - second. */
static gm_status difference(gm_linearization *lin, gm_curvature first, gm_curvature second,
                            int layer, const gm_part *part, double *diagonal, gm_error *err)
{
    double *other = gm_alloc(part->size, sizeof(double), "diagonal", err);
    if (!other) return GM_ERR_MEMORY;
    gm_status status = gm_curvature_diagonal(lin, first, layer, diagonal, err);
    if (status == GM_OK) status = gm_curvature_diagonal(lin, second, layer, other, err);
    for (size_t i = 0; status == GM_OK && i < part->size; i++) {
        diagonal[i] -= other[i];
    }
    gm_free(other);
    return status;
}

/* The diagonal of one operator by the way that suits it. */
static gm_status diagonal_of(gm_linearization *lin, gm_curvature kind, int layer,
                             const gm_part *part, double *diagonal, gm_error *err)
{
    bool piecewise = gm_net_piecewise_linear(gm_engine_of(lin)->net);
    switch (kind) {
    case GM_HESSIAN:
        if (!piecewise && !gm_part_outer(lin, part)) {
            return products_diagonal(lin, kind, layer, diagonal, err);
        }
        return squares_diagonal(lin, piecewise ? GM_GGN : GM_HESSIAN, layer, part, diagonal, err);
    case GM_GGN:
    case GM_MOMENT:
        return squares_diagonal(lin, kind, layer, part, diagonal, err);
    case GM_COVARIANCE:
        return covariance_diagonal(lin, part, diagonal, err);
    case GM_RESIDUAL:
        return difference(lin, GM_MOMENT, GM_HESSIAN, layer, part, diagonal, err);
    default:
        if (!piecewise) return difference(lin, GM_HESSIAN, GM_GGN, layer, part, diagonal, err);
        memset(diagonal, 0, part->size * sizeof(double));
        return GM_OK;
    }
}

gm_status gm_curvature_diagonal(gm_linearization *lin, gm_curvature kind, int layer,
                                double *diagonal, gm_error *err)
{
    gm_part part;
    if (gm_is_group(lin, layer)) return gm_group_diagonal(lin, kind, layer, diagonal, err);
    gm_status status = gm_part_of(lin, layer, &part, err);
    if (status != GM_OK) return status;
    status = diagonal_of(lin, kind, layer, &part, diagonal, err);
    for (size_t i = 0; status == GM_OK && i < part.size; i++) {
        if (isfinite(diagonal[i])) continue;
        status = gm_fail(err, GM_ERR_NUMERIC,
                         "entry %zu of the diagonal of the %s is not finite: NaN or overflow in %s",
                         i, gm_curvature_name(kind), gm_dtype_name(gm_engine_of(lin)->k->dtype));
    }
    return status;
}
