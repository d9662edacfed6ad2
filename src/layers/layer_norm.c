/* Layer and group normalization: each sample's numbers, in rows of d, brought to mean 0 and
 * variance 1 by themselves; then a scale g and a shift h that are parameters.
 *
 * With r = 1 / sqrt(variance + epsilon), z = (x - mean) r and the symmetric
 * L u = r (u - mean u - z mean(z u)),
 *   value             a       = g z + h
 *   tangent           adot    = g L xdot + gdot z + hdot
 *   backward          dx     += L (g s)                      dg += sum s z          dh += sum s
 *   tangent_backward  dxdot  += L (g sdot + gdot s) + Ldot (g s)
 *                     dgdot  += sum sdot z + sum s L xdot                           dhdot += sum
 * sdot
 *
 * A layer norm has rows along its last axes and a scale for each place in a row; a group norm has a
 * row for each group of channels of [C, ...] and a scale for each channel. z and r are computed
 * again from the input in every call. */
#include "layers/layer.h"

#include <string.h>

static unsigned standard_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_NEEDS_IN | GM_TRAIT_NEEDS_SIGNAL;
}

/* The geometry of n samples: `rows` of d numbers are standardized; scales and shifts act on
 * [outer, channels, inner]. */
typedef struct sizes {
    size_t rows, d, outer, channels, inner, size;
    double epsilon;
    bool affine;
} sizes;

static sizes layer_sizes(const void *config, const gm_shape *in, size_t n)
{
    const gm_layer_norm_config *c = config;
    size_t d = 1, size = gm_shape_size(in);
    for (int a = in->rank - c->axes; a < in->rank; a++) {
        d *= in->dim[a];
    }
    return (sizes){n * (size / d), d, n * (size / d), d, 1, size, c->epsilon, c->affine};
}

static sizes group_sizes(const void *config, const gm_shape *in, size_t n)
{
    const gm_group_norm_config *c = config;
    size_t size = gm_shape_size(in), channels = in->dim[0];
    return (sizes){n * c->groups, size / c->groups, n,        channels, size / channels,
                   size,          c->epsilon,       c->affine};
}

static gm_status parameters(double epsilon, bool affine, const gm_shape *shape, gm_tensor *tensor,
                            int *tensors, gm_error *err)
{
    if (!(epsilon >= 0.0)) {
        return gm_fail(err, GM_ERR_INPUT, "epsilon %g, expected 0 or more", epsilon);
    }
    tensor[0] = (gm_tensor){.name = "scale", .shape = *shape, .start = 1.0};
    tensor[1] = (gm_tensor){.name = "shift", .shape = *shape};
    *tensors = affine ? 2 : 0;
    return GM_OK;
}

static gm_status layer_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                             gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_layer_norm_config *c = config;
    if (inputs != 1 || c->axes < 1 || c->axes > in->rank) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%d inputs of rank %d, %d axes, expected one input with so many axes",
                       inputs, in->rank, c->axes);
    }
    gm_shape shape = {.rank = c->axes};
    memcpy(shape.dim, in->dim + in->rank - c->axes, (size_t)c->axes * sizeof *shape.dim);
    *out = *in;
    return parameters(c->epsilon, c->affine, &shape, tensor, tensors, err);
}

static gm_status group_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                             gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_group_norm_config *c = config;
    size_t channels = inputs == 1 && in->rank > 0 ? in->dim[0] : 0;
    if (channels == 0 || c->groups == 0 || channels % c->groups != 0) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%d inputs of %zu channels, %zu groups, expected one input and groups that "
                       "divide its channels",
                       inputs, channels, c->groups);
    }
    gm_shape shape = {.rank = 1, .dim = {channels}};
    *out = *in;
    return parameters(c->epsilon, c->affine, &shape, tensor, tensors, err);
}

/* ---- scratch ---- */

/* Cut from the scratch of a call. */
typedef struct rooms {
    double *inverse;                   /* [rows] */
    double *scale, *shift, *dot, *sum; /* [channels] */
    void *z, *work;                    /* [n, size] */
} rooms;

static size_t scratch_of(const gm_kernels *k, const sizes *s, size_t n)
{
    return (s->rows + 4 * s->channels) * sizeof(double) + 2 * n * s->size * k->size;
}

static size_t layer_scratch(const gm_kernels *k, const void *config, const gm_shape *in, size_t n,
                            size_t b)
{
    sizes s = layer_sizes(config, in, n);
    (void)b;
    return scratch_of(k, &s, n);
}

static size_t group_scratch(const gm_kernels *k, const void *config, const gm_shape *in, size_t n,
                            size_t b)
{
    sizes s = group_sizes(config, in, n);
    (void)b;
    return scratch_of(k, &s, n);
}

static rooms rooms_of(const gm_layer_call *c, const sizes *s)
{
    rooms r = {.inverse = c->scratch.memory};
    r.scale = r.inverse + s->rows;
    r.shift = r.scale + s->channels;
    r.dot = r.shift + s->channels;
    r.sum = r.dot + s->channels;
    r.z = r.sum + s->channels;
    r.work = (char *)r.z + c->n * s->size * c->k->size;
    return r;
}

/* ---- the four functions ---- */

/* y (+)= g x + h for parameters (g, h), or g x where not `shifted`. */
static void affine(const gm_layer_call *c, const sizes *s, const rooms *r, const void *param,
                   bool shifted, const void *x, bool add, void *y)
{
    c->k->to_double(s->channels, param, r->scale);
    if (shifted) {
        c->k->to_double(s->channels, (const char *)param + s->channels * c->k->size, r->shift);
    } else {
        memset(r->shift, 0, s->channels * sizeof *r->shift);
    }
    c->k->channel_affine(s->outer, s->channels, s->inner, r->scale, r->shift, x, add, y);
}

static void standard_value(const gm_layer_call *c, const sizes *s)
{
    rooms r = rooms_of(c, s);
    void *z = s->affine ? r.z : c->out;
    c->k->standardize(s->rows, s->d, s->epsilon, c->in[0], z, r.inverse);
    if (s->affine) affine(c, s, &r, c->param, true, z, false, c->out);
}

static void standard_tangent(const gm_layer_call *c, const sizes *s)
{
    rooms r = rooms_of(c, s);
    size_t bytes = c->n * s->size * c->k->size;
    c->k->standardize(s->rows, s->d, s->epsilon, c->in[0], r.z, r.inverse);
    if (!c->tin[0] && !c->tparam) memset(c->tout, 0, c->b * bytes);
    for (size_t j = 0; j < c->b; j++) {
        char *to = (char *)c->tout + j * bytes;
        if (c->tin[0]) {
            void *moved = s->affine ? r.work : to;
            c->k->standardize_slope(s->rows, s->d, r.z, r.inverse,
                                    (const char *)c->tin[0] + j * bytes, false, moved);
            if (s->affine) affine(c, s, &r, c->param, false, moved, false, to);
        }
        if (c->tparam) affine(c, s, &r, c->tparam[j], true, r.z, c->tin[0] != NULL, to);
    }
}

/* grad += (sum signal x, sum signal), without the second where x is a tangent. */
static void add_gradient(const gm_layer_call *c, const sizes *s, const rooms *r, const void *signal,
                         const void *x, bool tangent, void *grad)
{
    memset(r->dot, 0, 2 * s->channels * sizeof *r->dot);
    c->k->channel_dots(s->outer, s->channels, s->inner, signal, x, r->dot, r->sum);
    c->k->from_double(s->channels, r->dot, r->scale); /* scale: room for the native numbers */
    c->k->axpy(s->channels, 1.0, r->scale, grad);
    if (tangent) return;
    c->k->from_double(s->channels, r->sum, r->scale);
    c->k->axpy(s->channels, 1.0, r->scale, (char *)grad + s->channels * c->k->size);
}

/* g s in the work array, or s itself. */
static const void *scaled(const gm_layer_call *c, const sizes *s, const rooms *r,
                          const void *signal)
{
    if (!s->affine) return signal;
    affine(c, s, r, c->param, false, signal, false, r->work);
    return r->work;
}

/* L (g signal) to the input, and the gradients. */
static void push_back(const gm_layer_call *c, const sizes *s, const rooms *r, const void *signal)
{
    size_t bytes = c->n * s->size * c->k->size;
    c->k->standardize(s->rows, s->d, s->epsilon, c->in[0], r->z, r->inverse);
    for (size_t j = 0; j < c->b; j++) {
        const char *sj = (const char *)signal + j * bytes;
        if (c->din[0]) {
            c->k->standardize_slope(s->rows, s->d, r->z, r->inverse, scaled(c, s, r, sj),
                                    c->din_add[0], (char *)c->din[0] + j * bytes);
        }
        if (c->grad && s->affine) add_gradient(c, s, r, sj, r->z, false, c->grad[j]);
    }
}

static void standard_backward(const gm_layer_call *c, const sizes *s)
{
    rooms r = rooms_of(c, s);
    push_back(c, s, &r, c->signal);
}

static void standard_tangent_backward(const gm_layer_call *c, const sizes *s)
{
    rooms r = rooms_of(c, s);
    size_t bytes = c->n * s->size * c->k->size;
    push_back(c, s, &r, c->tsignal);
    for (size_t j = 0; j < c->b; j++) {
        char *to = c->din[0] ? (char *)c->din[0] + j * bytes : NULL;
        const char *xdot = c->tin[0] ? (const char *)c->tin[0] + j * bytes : NULL;
        if (to && c->tparam) {
            affine(c, s, &r, c->tparam[j], false, c->signal, false, r.work);
            c->k->standardize_slope(s->rows, s->d, r.z, r.inverse, r.work, true, to);
        }
        if (to && xdot) {
            c->k->standardize_bend(s->rows, s->d, r.z, r.inverse, xdot, scaled(c, s, &r, c->signal),
                                   to);
        }
        if (c->grad && xdot && s->affine) {
            c->k->standardize_slope(s->rows, s->d, r.z, r.inverse, xdot, false, r.work);
            add_gradient(c, s, &r, c->signal, r.work, true, c->grad[j]);
        }
    }
}

/* ---- the two kinds ---- */

static void layer_value(const gm_layer_call *c)
{
    sizes s = layer_sizes(c->config, &c->in_shape[0], c->n);
    standard_value(c, &s);
}

static void layer_tangent(const gm_layer_call *c)
{
    sizes s = layer_sizes(c->config, &c->in_shape[0], c->n);
    standard_tangent(c, &s);
}

static void layer_backward(const gm_layer_call *c)
{
    sizes s = layer_sizes(c->config, &c->in_shape[0], c->n);
    standard_backward(c, &s);
}

static void layer_tangent_backward(const gm_layer_call *c)
{
    sizes s = layer_sizes(c->config, &c->in_shape[0], c->n);
    standard_tangent_backward(c, &s);
}

static void group_value(const gm_layer_call *c)
{
    sizes s = group_sizes(c->config, &c->in_shape[0], c->n);
    standard_value(c, &s);
}

static void group_tangent(const gm_layer_call *c)
{
    sizes s = group_sizes(c->config, &c->in_shape[0], c->n);
    standard_tangent(c, &s);
}

static void group_backward(const gm_layer_call *c)
{
    sizes s = group_sizes(c->config, &c->in_shape[0], c->n);
    standard_backward(c, &s);
}

static void group_tangent_backward(const gm_layer_call *c)
{
    sizes s = group_sizes(c->config, &c->in_shape[0], c->n);
    standard_tangent_backward(c, &s);
}

const gm_layer_kind gm_layer_layer_norm = {
    .name = "layer_norm",
    .config_size = sizeof(gm_layer_norm_config),
    .traits = standard_traits,
    .infer = layer_infer,
    .scratch = layer_scratch,
    .value = layer_value,
    .tangent = layer_tangent,
    .backward = layer_backward,
    .tangent_backward = layer_tangent_backward,
};

const gm_layer_kind gm_layer_group_norm = {
    .name = "group_norm",
    .config_size = sizeof(gm_group_norm_config),
    .traits = standard_traits,
    .infer = group_infer,
    .scratch = group_scratch,
    .value = group_value,
    .tangent = group_tangent,
    .backward = group_backward,
    .tangent_backward = group_tangent_backward,
};
