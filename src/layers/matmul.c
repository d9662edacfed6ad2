/* Product of two activations, matrix by matrix over the leading axes, which are broadcast from the
 * right: out = f op(A) op(B), op(A) [..., r, q], op(B) [..., q, s].
 *
 *   value             C      = f A B
 *   tangent           Cdot   = f (Adot B + A Bdot)
 *   backward          dA    += f S B'                 dB    += f A' S
 *   tangent_backward  dAdot += f (Sdot B' + S Bdot')  dBdot += f (A' Sdot + Adot' S)
 * ' the transpose; where an input is stored transposed, so is what is added to its signal. Where an
 * input is broadcast, its signals are sums. */
#include "layers/layer.h"

#include <string.h>

static unsigned matmul_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_BILINEAR | GM_TRAIT_NEEDS_IN | GM_TRAIT_NEEDS_SIGNAL;
}

/* Length of leading axis i, of `axes`, of a shape; 1 where it has none. */
static size_t leading(const gm_shape *shape, int axes, int i)
{
    int own = i - (axes - (shape->rank - 2));
    return own < 0 ? 1 : shape->dim[own];
}

static gm_status matmul_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                              gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_matmul_config *c = config;
    (void)tensor;
    *tensors = 0;
    if (inputs != 2 || in[0].rank < 2 || in[1].rank < 2) {
        return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected two of rank 2 or more", inputs);
    }
    const size_t *a = in[0].dim + in[0].rank - 2, *b = in[1].dim + in[1].rank - 2;
    size_t q = a[c->transpose_a ? 0 : 1], other = b[c->transpose_b ? 1 : 0];
    if (q != other) {
        return gm_fail(err, GM_ERR_INPUT,
                       "rows of length %zu against columns of length %zu, expected equal lengths",
                       q, other);
    }
    int axes = (in[0].rank > in[1].rank ? in[0].rank : in[1].rank) - 2;
    out->rank = axes + 2;
    for (int i = 0; i < axes; i++) {
        size_t left = leading(&in[0], axes, i), right = leading(&in[1], axes, i);
        if (left != right && left != 1 && right != 1) {
            return gm_fail(err, GM_ERR_INPUT,
                           "leading axis %d has length %zu and %zu, expected equal or 1", i, left,
                           right);
        }
        out->dim[i] = left > right ? left : right;
    }
    out->dim[axes] = a[c->transpose_a ? 1 : 0];
    out->dim[axes + 1] = b[c->transpose_b ? 0 : 1];
    return GM_OK;
}

/* One input of the product: how it is stored, and how a sample's matrices lie. */
typedef struct operand {
    bool transposed, broadcast;
    size_t columns; /* as stored */
    size_t size;    /* numbers of a sample */
} operand;

typedef struct sizes {
    operand a, b;
    size_t r, q, s;
    size_t matrices, size; /* matrices and numbers of one sample of the output */
    double factor;
} sizes;

static operand operand_of(const gm_shape *shape, bool transposed, size_t matrices)
{
    operand o = {.transposed = transposed,
                 .columns = shape->dim[shape->rank - 1],
                 .size = gm_shape_size(shape)};
    o.broadcast = o.size / (o.columns * shape->dim[shape->rank - 2]) != matrices;
    return o;
}

static sizes sizes_of(const gm_layer_call *c)
{
    const gm_matmul_config *config = c->config;
    const gm_shape *a = &c->in_shape[0], *out = c->out_shape;
    sizes s = {.r = out->dim[out->rank - 2],
               .q = a->dim[a->rank - (config->transpose_a ? 2 : 1)],
               .s = out->dim[out->rank - 1],
               .size = gm_shape_size(out),
               .factor = config->factor};
    s.matrices = s.size / (s.r * s.s);
    s.a = operand_of(a, config->transpose_a, s.matrices);
    s.b = operand_of(&c->in_shape[1], config->transpose_b, s.matrices);
    return s;
}

/* Numbers before the matrix of a sample of this input that goes into matrix m of the output. */
static size_t place(const gm_layer_call *c, const operand *o, int input, size_t m)
{
    const gm_shape *shape = &c->in_shape[input];
    size_t matrix = o->columns * shape->dim[shape->rank - 2], stride = matrix, at = 0;
    if (!o->broadcast) return m * matrix;
    int axes = c->out_shape->rank - 2;
    for (int i = axes - 1; i >= 0; i--) {
        size_t length = leading(shape, axes, i);
        if (length > 1) at += m % c->out_shape->dim[i] * stride;
        m /= c->out_shape->dim[i];
        stride *= length;
    }
    return at;
}

/* What a call computes of one matrix: pointers to it in both inputs and the output. */
typedef void product(const gm_kernels *k, const sizes *s, const void *a, const void *b,
                     const void *signal, void *to, double beta);

static void multiply(const gm_kernels *k, const sizes *s, const void *a, const void *b,
                     const void *signal, void *to, double beta)
{
    (void)signal;
    k->gemm(s->a.transposed, s->b.transposed, s->r, s->s, s->q, s->factor, a, s->a.columns, b,
            s->b.columns, beta, to, s->s);
}

static void left_signal(const gm_kernels *k, const sizes *s, const void *a, const void *b,
                        const void *signal, void *to, double beta)
{
    (void)a;
    if (s->a.transposed) {
        k->gemm(s->b.transposed, true, s->q, s->r, s->s, s->factor, b, s->b.columns, signal, s->s,
                beta, to, s->r);
    } else {
        k->gemm(false, !s->b.transposed, s->r, s->q, s->s, s->factor, signal, s->s, b, s->b.columns,
                beta, to, s->q);
    }
}

static void right_signal(const gm_kernels *k, const sizes *s, const void *a, const void *b,
                         const void *signal, void *to, double beta)
{
    (void)b;
    if (s->b.transposed) {
        k->gemm(true, s->a.transposed, s->s, s->q, s->r, s->factor, signal, s->s, a, s->a.columns,
                beta, to, s->q);
    } else {
        k->gemm(!s->a.transposed, false, s->q, s->s, s->r, s->factor, a, s->a.columns, signal, s->s,
                beta, to, s->s);
    }
}

/* An array of a call: [b, n, size], or [n, size] of the unperturbed net, the same for every
 * direction; NULL for what the product does not read. */
typedef struct array {
    const void *numbers;
    bool moves;
} array;

static const char *sample_of(const gm_layer_call *c, array x, size_t size, size_t j, size_t i)
{
    size_t row = x.moves ? j * c->n + i : i;
    return x.numbers ? (const char *)x.numbers + row * size * c->k->size : NULL;
}

/* to (+)= the product, for all directions, samples and matrices. target: 0 and 1 the inputs'
 * signals, 2 the output. */
static void each(const gm_layer_call *c, const sizes *s, product *work, size_t directions, array a,
                 array b, array signal, int target, bool add, void *to)
{
    const operand *own = target == 0 ? &s->a : &s->b;
    size_t target_size = target == 2 ? s->size : own->size, matrix = s->r * s->s;
    size_t width = c->k->size;
    if (target < 2 && own->broadcast && !add) {
        memset(to, 0, directions * c->n * target_size * width);
        add = true;
    }
    for (size_t row = 0; row < directions * c->n; row++) {
        size_t j = row / c->n, i = row % c->n;
        const char *ai = sample_of(c, a, s->a.size, j, i), *bi = sample_of(c, b, s->b.size, j, i);
        const char *si = sample_of(c, signal, s->size, j, i);
        char *out = (char *)to + row * target_size * width;
        for (size_t m = 0; m < s->matrices; m++) {
            size_t at_a = place(c, &s->a, 0, m), at_b = place(c, &s->b, 1, m);
            size_t at = target == 0 ? at_a : target == 1 ? at_b : m * matrix;
            work(c->k, s, ai + at_a * width, bi + at_b * width, si ? si + m * matrix * width : NULL,
                 out + at * width, add ? 1.0 : 0.0);
        }
    }
}

static array still(const void *numbers)
{
    return (array){numbers, false};
}

static array moving(const void *numbers)
{
    return (array){numbers, true};
}

static void matmul_value(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    each(c, &s, multiply, 1, still(c->in[0]), still(c->in[1]), still(NULL), 2, false, c->out);
}

static void matmul_tangent(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    array a = still(c->in[0]), b = still(c->in[1]), none = still(NULL);
    if (c->tin[0]) each(c, &s, multiply, c->b, moving(c->tin[0]), b, none, 2, false, c->tout);
    if (c->tin[1]) {
        each(c, &s, multiply, c->b, a, moving(c->tin[1]), none, 2, c->tin[0] != NULL, c->tout);
    }
}

static void push_back(const gm_layer_call *c, const sizes *s, const void *signal)
{
    array a = still(c->in[0]), b = still(c->in[1]), from = moving(signal);
    if (c->din[0]) each(c, s, left_signal, c->b, a, b, from, 0, c->din_add[0], c->din[0]);
    if (c->din[1]) each(c, s, right_signal, c->b, a, b, from, 1, c->din_add[1], c->din[1]);
}

static void matmul_backward(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    push_back(c, &s, c->signal);
}

static void matmul_tangent_backward(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    array a = still(c->in[0]), b = still(c->in[1]), from = still(c->signal);
    push_back(c, &s, c->tsignal);
    if (c->din[0] && c->tin[1]) {
        each(c, &s, left_signal, c->b, a, moving(c->tin[1]), from, 0, true, c->din[0]);
    }
    if (c->din[1] && c->tin[0]) {
        each(c, &s, right_signal, c->b, moving(c->tin[0]), b, from, 1, true, c->din[1]);
    }
}

const gm_layer_kind gm_layer_matmul = {
    .name = "matmul",
    .config_size = sizeof(gm_matmul_config),
    .traits = matmul_traits,
    .infer = matmul_infer,
    .value = matmul_value,
    .tangent = matmul_tangent,
    .backward = matmul_backward,
    .tangent_backward = matmul_tangent_backward,
};
