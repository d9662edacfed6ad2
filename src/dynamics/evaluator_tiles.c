/* Losses and gradients of small dense nets, tile by tile.
 *
 * A tile is `width` samples, columns of a matrix. Forward, for each layer: z = W a + b, a = phi(z).
 * Backward: signal s at the outputs; dW = s a^T, with a row of ones below a for the bias; then W^T
 * s, times phi'(z), is the signal below. The products are gm_kernels.tile_product throughout: dW
 * takes the rows of s as its A and the transposed a, samples in rows, as its B. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/tiles.h"

/* Samples of a mini-batch that are worked together, at most. */
enum { BATCH_TILE = 64 };

typedef struct evaluator {
    gm_evaluator base;
    const gm_tiles *t;
    size_t batch;      /* columns of a tile of a mini-batch, whole vectors */
    char *value[2];    /* [widest, width] each: of a tile of the whole set, in turn */
    char **z, **a;     /* [layers + 1]: [d, batch] each; a[0] the input, z[l] = a[l] where not kept
                          apart */
    char **row;        /* [layers + 1]: a[l] with samples in rows [batch, stride of layer l] */
    char *signal[2];   /* [widest, batch] each */
    char *sums;        /* all dW */
    char *memory;      /* what the pointers above point into */
    void *lists;       /* z, a, row themselves */
    int32_t *label;    /* [batch] */
    double *target;    /* [K, batch] */
    double *square[2]; /* [batch]: ||a||^2 + 1 and ||s||^2 of a sample */
    char *signal_rows; /* [batch, widest] */
    size_t *all;       /* [batch]: indices of a part of the whole set */
} evaluator;

static char *at(const gm_tiles *t, const void *array, size_t index)
{
    return (char *)array + index * t->k->size;
}

static const void *bias_of(const gm_tiles *t, const gm_tile_layer *l, const void *theta)
{
    return l->bias ? at(t, theta, l->offset + l->in * l->out) : NULL;
}

/* z = W x + b over n columns, the rectifier with it where there is one. */
static void forward(const gm_tiles *t, const gm_tile_layer *l, const void *theta, size_t n,
                    const void *x, void *z)
{
    t->k->tile_product(l->out, n, l->in, at(t, theta, l->offset), l->in, 1, x, n,
                       bias_of(t, l, theta), false, l->act == GM_ACT_RELU, z, n);
}

static bool is_straight(gm_activation act)
{
    return act == GM_ACT_IDENTITY || act == GM_ACT_RELU;
}

static void tile_loss(const gm_tiles *t, size_t n, size_t count, const void *z,
                      const int32_t *label, const double *target, double *loss, size_t *wrong,
                      void *signal)
{
    size_t outputs = t->layer[t->layers - 1].out;
    if (t->loss == GM_LOSS_CROSS_ENTROPY)
        t->k->tile_softmax(n, count, outputs, z, label, loss, wrong, signal);
    else
        t->k->tile_squared(n, count, outputs, z, label, target, loss, wrong, signal);
}

/* ---- the whole set ---- */

static void sweep(const evaluator *e, const gm_tiled *data, const void *theta, double *loss,
                  size_t *wrong)
{
    const gm_tiles *t = e->t;
    const size_t w = t->width, outputs = t->layer[t->layers - 1].out;
    *loss = 0.0;
    *wrong = 0;
    for (size_t i = 0; i < data->tiles; i++) {
        const void *x = at(t, data->x, i * w * t->layer[0].in);
        for (size_t l = 0; l < t->layers; l++) {
            void *z = e->value[l % 2];
            forward(t, &t->layer[l], theta, w, x, z);
            if (!is_straight(t->layer[l].act))
                t->k->act_value(t->layer[l].act, t->layer[l].out * w, z, z);
            x = z;
        }
        size_t count = data->n - i * w < w ? data->n - i * w : w;
        tile_loss(t, w, count, x, data->label + i * w,
                  data->target ? data->target + i * w * outputs : NULL, loss, wrong, NULL);
    }
}

static gm_evaluation on_set(const evaluator *e, const gm_tiled *set, const void *theta, bool finite)
{
    size_t wrong;
    double sum;
    sweep(e, set, theta, &sum, &wrong);
    double n = (double)set->n, loss = sum / n;
    return (gm_evaluation){finite && isfinite(loss) ? loss : (double)INFINITY, (double)wrong / n};
}

static gm_status value(gm_evaluator *base, const void *theta, gm_evaluation *train,
                       gm_evaluation *test, gm_error *err)
{
    const evaluator *e = (const evaluator *)base;
    const gm_tiles *t = e->t;
    (void)err;
    /* A rectifier can swallow a NaN, so that the loss would not show it. */
    bool finite = isfinite(t->k->dot(t->p, theta, theta));
    *train = on_set(e, &t->train, theta, finite);
    if (test) *test = on_set(e, &t->test, theta, finite);
    return GM_OK;
}

/* ---- a mini-batch ---- */

/* The samples index[0 ... count - 1] as columns and rows, with labels and targets. */
static void gather(const evaluator *e, size_t n, size_t count, const size_t *index)
{
    const gm_tiles *t = e->t;
    const gm_dataset *data = t->data;
    size_t in = t->layer[0].in;
    for (size_t i = 0; i < count; i++) {
        memcpy(at(t, e->row[0], i * t->row), at(t, t->rows, index[i] * t->row),
               t->row * t->k->size);
        e->label[i] = t->train.label[index[i]];
        for (size_t c = 0; data->target && c < data->outputs; c++) {
            e->target[c * n + i] = data->target[index[i] * data->outputs + c];
        }
    }
    for (size_t i = count; i < n; i++) {
        memset(at(t, e->row[0], i * t->row), 0, t->row * t->k->size);
        e->label[i] = 0;
    }
    t->k->transpose(n, in, e->row[0], t->row, e->a[0], n);
}

static void forward_batch(const evaluator *e, const void *theta, size_t n, size_t count)
{
    const gm_tiles *t = e->t;
    for (size_t l = 0; l < t->layers; l++) {
        const gm_tile_layer *ly = &t->layer[l];
        forward(t, ly, theta, n, e->a[l], e->z[l + 1]);
        if (!is_straight(ly->act)) t->k->act_value(ly->act, ly->out * n, e->z[l + 1], e->a[l + 1]);
        if (l + 1 < t->layers)
            t->k->transpose(ly->out, count, e->a[l + 1], n, e->row[l + 1], t->layer[l + 1].stride);
    }
}

/* norm[i] += (||a||^2 + 1) ||s||^2, the square of sample i's gradient in this layer. */
static void add_norms(const evaluator *e, size_t l, size_t n, size_t count, const void *signal,
                      double *norm)
{
    const gm_tiles *t = e->t;
    const gm_tile_layer *ly = &t->layer[l];
    size_t seen = ly->in + ly->bias; /* the one after the inputs is the bias's */
    t->k->transpose(ly->out, count, signal, n, e->signal_rows, ly->out);
    memset(e->square[1], 0, count * sizeof(double));
    t->k->row_dots(count, ly->out, e->signal_rows, e->signal_rows, e->square[1]);
    for (size_t i = 0; i < count; i++) {
        const void *row = at(t, e->row[l], i * ly->stride);
        norm[i] += t->k->dot(seen, row, row) * e->square[1][i];
    }
}

/* From the signal at the logits in e->signal[0] to all dW; norm [count] may be NULL. */
static void backward_batch(const evaluator *e, const void *theta, size_t n, size_t count,
                           double *norm)
{
    const gm_tiles *t = e->t;
    void *signal = e->signal[0], *below = e->signal[1];
    for (size_t l = t->layers; l-- > 0;) {
        const gm_tile_layer *ly = &t->layer[l];
        if (ly->act != GM_ACT_IDENTITY)
            t->k->act_slope(ly->act, ly->out * n, e->z[l + 1], e->a[l + 1], signal, false, signal);
        t->k->tile_product(ly->out, ly->stride, count, signal, n, 1, e->row[l], ly->stride, NULL,
                           true, false, at(t, e->sums, ly->at), ly->stride);
        if (norm) add_norms(e, l, n, count, signal, norm);
        if (l == 0) break;
        t->k->tile_product(ly->in, n, ly->out, at(t, theta, ly->offset), 1, ly->in, signal, n, NULL,
                           false, false, below, n);
        void *swap = signal;
        signal = below;
        below = swap;
    }
}

/* One tile of at most e->batch samples joins the sums. */
static void batch_tile(const evaluator *e, const void *theta, size_t count, const size_t *index,
                       double *norm)
{
    const gm_tiles *t = e->t;
    size_t n = gm_tile_whole(t->k, count), wrong = 0;
    double loss = 0.0;
    gather(e, n, count, index);
    forward_batch(e, theta, n, count);
    tile_loss(t, n, count, e->a[t->layers], e->label, e->target, &loss, &wrong, e->signal[0]);
    backward_batch(e, theta, n, count, norm);
}

/* gradient [p] = sums / m */
static void finish(const evaluator *e, size_t m, void *gradient)
{
    const gm_tiles *t = e->t;
    for (size_t l = 0; l < t->layers; l++) {
        const gm_tile_layer *ly = &t->layer[l];
        for (size_t o = 0; o < ly->out; o++) {
            const char *row = at(t, e->sums, ly->at + o * ly->stride);
            memcpy(at(t, gradient, ly->offset + o * ly->in), row, ly->in * t->k->size);
            if (ly->bias)
                memcpy(at(t, gradient, ly->offset + ly->in * ly->out + o), at(t, row, ly->in),
                       t->k->size);
        }
    }
    double scale = 1.0 / (double)m;
    t->k->scale_rows(1, t->p, &scale, gradient, gradient);
}

static gm_status batch(gm_evaluator *base, const void *theta, size_t m, const size_t *index,
                       void *gradient, gm_error *err)
{
    const evaluator *e = (const evaluator *)base;
    (void)err;
    memset(e->sums, 0, e->t->sums * e->t->k->size);
    for (size_t i = 0; i < m; i += e->batch) {
        batch_tile(e, theta, m - i < e->batch ? m - i : e->batch, index + i, NULL);
    }
    finish(e, m, gradient);
    return GM_OK;
}

static gm_status full(gm_evaluator *base, const void *theta, void *mu, double *trace, gm_error *err)
{
    const evaluator *e = (const evaluator *)base;
    const gm_tiles *t = e->t;
    (void)err;
    double sum = 0.0;
    memset(e->sums, 0, t->sums * t->k->size);
    for (size_t i = 0; i < t->train.n; i += e->batch) {
        size_t count = t->train.n - i < e->batch ? t->train.n - i : e->batch;
        for (size_t j = 0; j < count; j++) {
            e->all[j] = i + j;
        }
        memset(e->square[0], 0, count * sizeof(double));
        batch_tile(e, theta, count, e->all, trace ? e->square[0] : NULL);
        for (size_t j = 0; trace && j < count; j++) {
            sum += e->square[0][j];
        }
    }
    finish(e, t->train.n, mu);
    if (!trace) return GM_OK;
    double moment = sum / (double)t->train.n, square = t->k->dot(t->p, mu, mu);
    *trace = isfinite(moment) && isfinite(square) ? fmax(0.0, moment - square) : (double)INFINITY;
    return GM_OK;
}

/* ---- memory ---- */

static void evaluator_free(gm_evaluator *base)
{
    evaluator *e = (evaluator *)base;
    gm_free(e->memory);
    gm_free(e->lists);
    gm_free(e->label);
    gm_free(e->target);
    gm_free(e->square[0]);
    gm_free(e->all);
    gm_free(e);
}

static gm_problem *no_problem(gm_evaluator *base)
{
    (void)base;
    return NULL;
}

static const gm_evaluator_kind tiles_kind = {
    .batch = batch, .value = value, .full = full, .problem = no_problem, .free = evaluator_free};

/* Hands out the next `count` numbers of memory. */
static char *take(const evaluator *e, size_t *used, size_t count)
{
    char *piece = e->memory ? at(e->t, e->memory, *used) : NULL;
    *used += gm_tile_whole(e->t->k, count) + e->t->k->lanes;
    return piece;
}

/* Points everything into e->memory; returns how many numbers that takes. */
static size_t lay_out(evaluator *e)
{
    const gm_tiles *t = e->t;
    size_t used = 0;
    for (int i = 0; i < 2; i++) {
        e->value[i] = take(e, &used, t->widest * t->width);
        e->signal[i] = take(e, &used, t->widest * e->batch);
    }
    e->signal_rows = take(e, &used, t->widest * e->batch);
    e->sums = take(e, &used, t->sums);
    for (size_t l = 0; l <= t->layers; l++) {
        size_t width = l ? t->layer[l - 1].out : t->layer[0].in;
        e->a[l] = e->z[l] = take(e, &used, width * e->batch);
        if (l && !is_straight(t->layer[l - 1].act)) e->z[l] = take(e, &used, width * e->batch);
        e->row[l] = l < t->layers ? take(e, &used, t->layer[l].stride * e->batch) : NULL;
    }
    return used;
}

gm_status gm_tiles_evaluator(const gm_tiles *t, size_t batch_size, gm_evaluator **made,
                             gm_error *err)
{
    *made = NULL;
    evaluator *e = gm_alloc(1, sizeof *e, "evaluator", err);
    if (!e) return GM_ERR_MEMORY;
    e->base.kind = &tiles_kind;
    e->t = t;
    e->batch = gm_tile_whole(t->k, batch_size < BATCH_TILE ? batch_size : BATCH_TILE);
    size_t outputs = t->layer[t->layers - 1].out;
    e->lists = gm_alloc(3 * (t->layers + 1), sizeof(char *), "evaluator", err);
    e->label = gm_alloc(e->batch, sizeof *e->label, "evaluator", err);
    e->target = gm_alloc(e->batch * outputs, sizeof *e->target, "evaluator", err);
    e->square[0] = gm_alloc(2 * e->batch, sizeof(double), "evaluator", err);
    e->all = gm_alloc(e->batch, sizeof *e->all, "evaluator", err);
    if (e->lists) {
        e->z = e->lists;
        e->a = e->z + t->layers + 1;
        e->row = e->a + t->layers + 1;
        e->memory = gm_alloc(lay_out(e), t->k->size, "evaluator", err);
    }
    if (!e->memory || !e->label || !e->target || !e->square[0] || !e->all) {
        evaluator_free(&e->base);
        return GM_ERR_MEMORY;
    }
    e->square[1] = e->square[0] + e->batch;
    lay_out(e);
    const double one = 1.0;
    for (size_t l = 1; l < t->layers; l++) { /* what the biases see */
        for (size_t i = 0; i < e->batch; i++) {
            t->k->from_double(1, &one, at(t, e->row[l], i * t->layer[l].stride + t->layer[l].in));
        }
    }
    *made = &e->base;
    return GM_OK;
}
