/* One layer by itself, in both precisions: its four functions against differences of one another.
 *
 *   tangent           = central differences of value
 *   backward          = the transpose of tangent, by inner products
 *   tangent_backward  = central differences of backward
 *
 * for several directions at once; together with what the traits promise, what NULL means, what is
 * added and what overwritten, single samples, and single against double precision. */
#ifndef GM_TESTS_LAYER_CASE_H
#define GM_TESTS_LAYER_CASE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gradiometer/random.h"
#include "layers/layer.h"
#include "problems.h"

typedef struct layer_case {
    const char *name;
    const gm_layer_kind *kind;
    const void *config;
    int inputs;
    gm_shape in[GM_MAX_INPUTS];
    double low, high; /* of the inputs; both 0: -2 and 2 */
    double curvature; /* size of third derivatives, for the differences' error; 0: 1 */
    double off;       /* inputs are moved this far from kinks: numbers that `off` divides */
    double single;    /* error of single precision, in units of 1e-6; 0: 3 */
} layer_case;

enum { LAYER_N = 3, LAYER_B = 2 };

/* The arrays of a call; [.] what holds for one direction. */
typedef struct layer_run {
    const gm_kernels *k;
    const layer_case *c;
    gm_shape out_shape;
    gm_tensor tensor[GM_MAX_TENSORS];
    size_t n, in_size[GM_MAX_INPUTS], out_size, parameters;
    unsigned traits;
    void *in[GM_MAX_INPUTS], *out, *param;      /* [n, .] */
    void *tin[GM_MAX_INPUTS], *tparam[LAYER_B]; /* [b, n, .] */
    void *signal, *tsignal, *tout;              /* [b, n, .]; signal of backward */
    void *din[GM_MAX_INPUTS], *grad[LAYER_B];
    gm_scratch scratch;
} layer_run;

static inline void *layer_numbers(const gm_kernels *k, size_t count, uint32_t run, double low,
                                  double high)
{
    double *x = calloc(count + 1, sizeof *x);
    void *native = calloc(count + 1, k->size);
    for (size_t i = 0; i < count; i++) {
        x[i] = low + (high - low) * gm_uniform(gm_stream_of(21, GM_PURPOSE_TEST, run), i);
        x[i] = (double)(float)x[i];
    }
    k->from_double(count, x, native);
    free(x);
    return native;
}

/* Inputs a quarter of a step or more away from every multiple of `off`, where the kinks are. */
static inline void leave_kinks(const gm_kernels *k, size_t count, double off, void *x)
{
    double *y = calloc(count, sizeof *y);
    k->to_double(count, x, y);
    for (size_t i = 0; off > 0 && i < count; i++) {
        double whole = floor(y[i] / off);
        y[i] = off * (whole + 0.25 + 0.5 * (y[i] / off - whole));
        y[i] = (double)(float)y[i];
    }
    k->from_double(count, y, x);
    free(y);
}

static inline void layer_open(layer_run *r, const layer_case *c, gm_dtype dtype, size_t n)
{
    gm_error err = {0};
    int tensors = 0;
    double low = c->low, high = c->high;
    if (low == 0 && high == 0) low = -2, high = 2;
    *r = (layer_run){.k = gm_kernels_get(dtype), .c = c, .n = n};
    expect_ok(c->kind->infer(c->config, c->inputs, c->in, &r->out_shape, r->tensor, &tensors, &err),
              &err);
    r->traits = c->kind->traits(c->config);
    r->out_size = gm_shape_size(&r->out_shape);
    for (int t = 0; t < tensors; t++) {
        r->parameters += gm_shape_size(&r->tensor[t].shape);
    }
    for (int i = 0; i < c->inputs; i++) {
        r->in_size[i] = gm_shape_size(&c->in[i]);
        r->in[i] = layer_numbers(r->k, n * r->in_size[i], (uint32_t)i, low, high);
        leave_kinks(r->k, n * r->in_size[i], c->off, r->in[i]);
        r->tin[i] = layer_numbers(r->k, LAYER_B * n * r->in_size[i], 20 + (uint32_t)i, -1, 1);
        r->din[i] = layer_numbers(r->k, LAYER_B * n * r->in_size[i], 40 + (uint32_t)i, -1, 1);
    }
    r->out = layer_numbers(r->k, n * r->out_size, 60, 0, 0);
    r->param = layer_numbers(r->k, r->parameters, 61, -2, 2);
    r->signal = layer_numbers(r->k, LAYER_B * n * r->out_size, 62, -1, 1);
    r->tsignal = layer_numbers(r->k, LAYER_B * n * r->out_size, 63, -1, 1);
    r->tout = layer_numbers(r->k, LAYER_B * n * r->out_size, 64, 0, 0);
    for (uint32_t j = 0; j < LAYER_B; j++) {
        r->tparam[j] = layer_numbers(r->k, r->parameters, 65 + j, -1, 1);
        r->grad[j] = layer_numbers(r->k, r->parameters, 70 + j, -1, 1);
    }
    if (c->kind->scratch) {
        r->scratch.bytes = c->kind->scratch(r->k, c->config, c->in, n, LAYER_B);
        r->scratch.memory = aligned_alloc(64, (r->scratch.bytes + 63) / 64 * 64);
    }
}

static inline void layer_close(layer_run *r)
{
    for (int i = 0; i < r->c->inputs; i++) {
        free(r->in[i]);
        free(r->tin[i]);
        free(r->din[i]);
    }
    for (int j = 0; j < LAYER_B; j++) {
        free(r->tparam[j]);
        free(r->grad[j]);
    }
    void *others[] = {r->out, r->param, r->signal, r->tsignal, r->tout, r->scratch.memory};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        free(others[i]);
    }
}

/* A call with everything that the traits say is read, and NULL for what they do not name. */
static inline gm_layer_call layer_call_of(layer_run *r, bool derivative)
{
    gm_layer_call call = {.k = r->k,
                          .config = r->c->config,
                          .n = r->n,
                          .b = LAYER_B,
                          .inputs = r->c->inputs,
                          .in_shape = r->c->in,
                          .out_shape = &r->out_shape,
                          .param = r->param,
                          .scratch = r->scratch};
    bool reads_in = !derivative || (r->traits & GM_TRAIT_NEEDS_IN);
    if (!derivative || (r->traits & GM_TRAIT_NEEDS_OUT)) call.out = r->out;
    for (int i = 0; i < r->c->inputs; i++) {
        if (reads_in) call.in[i] = r->in[i];
    }
    return call;
}

static inline void layer_value(layer_run *r)
{
    gm_layer_call call = layer_call_of(r, false);
    r->c->kind->value(&call);
}

static inline void layer_tangent(layer_run *r)
{
    gm_layer_call call = layer_call_of(r, true);
    for (int i = 0; i < r->c->inputs; i++) {
        call.tin[i] = r->tin[i];
    }
    if (r->parameters) call.tparam = (const void *const *)r->tparam;
    call.tout = r->tout;
    r->c->kind->tangent(&call);
}

static inline void clear_gradients(layer_run *r)
{
    for (int j = 0; j < LAYER_B; j++) {
        memset(r->grad[j], 0, r->parameters * r->k->size);
    }
}

/* Backward signals and gradients into din and grad, which is cleared first. */
static inline void layer_backward(layer_run *r, size_t b, const void *signal)
{
    gm_layer_call call = layer_call_of(r, true);
    clear_gradients(r);
    call.b = b;
    call.signal = signal;
    if (r->parameters) call.grad = r->grad;
    for (int i = 0; i < r->c->inputs; i++) {
        call.din[i] = r->din[i];
    }
    r->c->kind->backward(&call);
}

/* Along all directions; the unperturbed signal is the first of r->signal. */
static inline gm_layer_call tangent_backward_call(layer_run *r)
{
    gm_layer_call call = layer_call_of(r, true);
    if (r->parameters || (r->traits & GM_TRAIT_NEEDS_SIGNAL)) call.signal = r->signal;
    call.tsignal = r->tsignal;
    if (r->parameters) {
        call.tparam = (const void *const *)r->tparam;
        call.grad = r->grad;
    }
    for (int i = 0; i < r->c->inputs; i++) {
        call.tin[i] = r->tin[i];
        call.din[i] = r->din[i];
    }
    return call;
}

static inline void layer_tangent_backward(layer_run *r)
{
    gm_layer_call call = tangent_backward_call(r);
    clear_gradients(r);
    r->c->kind->tangent_backward(&call);
}

/* The point moves by h along direction j. */
static inline void layer_move(layer_run *r, size_t j, double h)
{
    for (int i = 0; i < r->c->inputs; i++) {
        size_t count = r->n * r->in_size[i];
        r->k->axpy(count, h, (char *)r->tin[i] + j * count * r->k->size, r->in[i]);
    }
    r->k->axpy(r->parameters, h, r->tparam[j], r->param);
    layer_value(r);
}

static inline void *layer_copy(const layer_run *r, size_t count, const void *x)
{
    void *copy = calloc(count + 1, r->k->size);
    memcpy(copy, x, count * r->k->size);
    return copy;
}

/* Largest |a - b| beside the largest |b|, or 1. */
static inline double layer_distance(size_t n, const double *a, const double *b)
{
    double top = 1, worst = 0;
    for (size_t i = 0; i < n; i++) {
        top = fmax(top, fabs(b[i]));
        if (!(fabs(a[i] - b[i]) <= worst)) worst = fabs(a[i] - b[i]);
    }
    return worst / top;
}

/* Differences with h = 1e-5: h^2 times a third derivative over 6 (2e-11 times its size), and
 * rounding of 1e-16 / h, 1e-11, magnified by sums. */
static inline double difference_limit(const layer_case *c)
{
    return 2e-9 * (c->curvature > 0 ? c->curvature : 1);
}

/* x [n] - y [n] over 2 h */
static inline void layer_quotient(size_t n, double h, const double *up, double *down)
{
    for (size_t i = 0; i < n; i++) {
        down[i] = (up[i] - down[i]) / (2 * h);
    }
}

static inline void check_tangent(layer_run *r)
{
    const double h = 1e-5;
    size_t count = r->n * r->out_size;
    layer_value(r);
    layer_tangent(r);
    for (size_t j = 0; j < LAYER_B; j++) {
        layer_move(r, j, h);
        double *up = layer_copy(r, count, r->out);
        layer_move(r, j, -2 * h);
        double *down = layer_copy(r, count, r->out);
        layer_move(r, j, h);
        layer_quotient(count, h, up, down);
        assert_at_most(layer_distance(count, (double *)r->tout + j * count, down),
                       difference_limit(r->c), "%s: tangent", r->c->name);
        free(up);
        free(down);
    }
}

/* signal_j . tangent_j = din_j . tin_j + grad_j . tparam_j to rounding. */
static inline void check_transpose(layer_run *r)
{
    const gm_kernels *k = r->k;
    size_t count = r->n * r->out_size;
    layer_tangent(r);
    layer_backward(r, LAYER_B, r->signal);
    for (size_t j = 0; j < LAYER_B; j++) {
        const char *s = (char *)r->signal + j * count * k->size;
        const char *t = (char *)r->tout + j * count * k->size;
        double left = k->dot(count, s, t), size = 1 + fabs(left);
        double right = k->dot(r->parameters, r->grad[j], r->tparam[j]);
        size += fabs(right);
        for (int i = 0; i < r->c->inputs; i++) {
            size_t shift = j * r->n * r->in_size[i] * k->size;
            double part =
                k->dot(r->n * r->in_size[i], (char *)r->din[i] + shift, (char *)r->tin[i] + shift);
            right += part;
            size += fabs(part);
        }
        assert_at_most(fabs(left - right), 1e-12 * size, "%s: transpose", r->c->name);
    }
}

static inline void check_tangent_backward(layer_run *r)
{
    const double h = 1e-5;
    size_t count = r->n * r->out_size;
    for (size_t j = 0; j < LAYER_B; j++) {
        double *up[GM_MAX_INPUTS + 1], *down[GM_MAX_INPUTS + 1];
        for (int sign = 1; sign >= -1; sign -= 2) {
            double *signal = layer_copy(r, count, r->signal);
            r->k->axpy(count, sign * h, (double *)r->tsignal + j * count, signal);
            layer_move(r, j, sign * h);
            layer_backward(r, 1, signal);
            layer_move(r, j, -sign * h);
            double **to = sign > 0 ? up : down;
            for (int i = 0; i < r->c->inputs; i++) {
                to[i] = layer_copy(r, r->n * r->in_size[i], r->din[i]);
            }
            to[r->c->inputs] = layer_copy(r, r->parameters, r->grad[0]);
            free(signal);
        }
        layer_value(r);
        layer_tangent_backward(r);
        for (int i = 0; i <= r->c->inputs; i++) {
            bool inner = i < r->c->inputs;
            size_t size = inner ? r->n * r->in_size[i] : r->parameters;
            const double *found = inner ? (double *)r->din[i] + j * size : r->grad[j];
            layer_quotient(size, h, up[i], down[i]);
            assert_at_most(layer_distance(size, found, down[i]), difference_limit(r->c),
                           "%s: tangent of backward, input %d", r->c->name, i);
            free(up[i]);
            free(down[i]);
        }
    }
}

/* What is added lands on what is there; what is not moved counts as zero; each input alone. */
static inline void check_parts(layer_run *r)
{
    layer_value(r);
    layer_tangent_backward(r);
    for (int i = 0; i < r->c->inputs; i++) {
        size_t count = LAYER_B * r->n * r->in_size[i];
        double *whole = layer_copy(r, count, r->din[i]), *sum = layer_copy(r, count, whole);
        double *zero = calloc(count + 1, sizeof *zero), *tin = r->tin[i];
        gm_layer_call call = tangent_backward_call(r);
        r->k->fill(count, 0.5, r->din[i]);
        call.grad = NULL;
        for (int l = 0; l < r->c->inputs; l++) {
            if (l != i) call.din[l] = NULL;
        }
        call.din_add[i] = true;
        r->c->kind->tangent_backward(&call);
        r->k->fill(count, 0.5, sum);
        r->k->axpy(count, 1, whole, sum);
        assert_at_most(layer_distance(count, r->din[i], sum), 1e-14, "%s: added", r->c->name);
        call.din_add[i] = false;
        call.tin[i] = NULL; /* does not move */
        r->c->kind->tangent_backward(&call);
        memcpy(sum, r->din[i], count * sizeof *sum);
        call.tin[i] = zero;
        r->c->kind->tangent_backward(&call);
        assert_at_most(layer_distance(count, r->din[i], sum), 1e-14, "%s: NULL", r->c->name);
        free(whole);
        if (r->c->inputs == 1 && r->parameters == 0) { /* a tangent is asked of what moves alone */
            free(sum);
            free(zero);
            continue;
        }
        r->tin[i] = zero;
        layer_tangent(r);
        double *moved = layer_copy(r, LAYER_B * r->n * r->out_size, r->tout);
        r->tin[i] = NULL;
        layer_tangent(r);
        assert_at_most(layer_distance(LAYER_B * r->n * r->out_size, r->tout, moved), 1e-14,
                       "%s: NULL, tangent", r->c->name);
        r->tin[i] = tin;
        free(moved);
        free(sum);
        free(zero);
    }
}

/* Piecewise linear: no second derivative; homogeneous: F(2 x) = 2 F(x); in place: the same bits. */
static inline void check_traits(layer_run *r)
{
    size_t count = r->n * r->out_size;
    layer_value(r);
    double *value = layer_copy(r, count, r->out);
    if ((r->traits & GM_TRAIT_PIECEWISE) && r->parameters == 0 && r->c->inputs) {
        memset(r->tsignal, 0, LAYER_B * count * r->k->size);
        layer_tangent_backward(r);
        for (int i = 0; i < r->c->inputs; i++) {
            size_t size = LAYER_B * r->n * r->in_size[i];
            assert_at_most(norm_of(size, r->din[i]), 0, "%s: piecewise linear", r->c->name);
        }
    }
    if ((r->traits & GM_TRAIT_HOMOGENEOUS) && r->parameters == 0) {
        for (int i = 0; i < r->c->inputs; i++) {
            r->k->axpy(r->n * r->in_size[i], 1, r->in[i], r->in[i]);
        }
        layer_value(r);
        r->k->axpy(count, 1, value, value);
        assert_at_most(layer_distance(count, r->out, value), 1e-14, "%s: homogeneous", r->c->name);
    }
    if (r->traits & GM_TRAIT_INPLACE) {
        layer_value(r);
        gm_layer_call call = layer_call_of(r, false);
        call.out = r->in[0];
        r->c->kind->value(&call);
        assert_memory_equal(r->in[0], r->out, count * r->k->size);
    }
    free(value);
}

/* Everything in doubles: value, tangents, both backward results, each of all inputs. */
static inline double *layer_everything(layer_run *r, size_t *total)
{
    size_t out = r->n * r->out_size, most = (1 + LAYER_B) * out + 2 * LAYER_B * r->parameters;
    for (int i = 0; i < r->c->inputs; i++) {
        most += 2 * LAYER_B * r->n * r->in_size[i];
    }
    double *all = calloc(most, sizeof *all), *next = all;
    layer_value(r);
    layer_tangent(r);
    r->k->to_double(out, r->out, next);
    r->k->to_double(LAYER_B * out, r->tout, next + out);
    next += (1 + LAYER_B) * out;
    for (int way = 0; way < 2; way++) {
        if (way) {
            layer_tangent_backward(r);
        } else {
            layer_backward(r, LAYER_B, r->signal);
        }
        for (int i = 0; i < r->c->inputs; i++) {
            r->k->to_double(LAYER_B * r->n * r->in_size[i], r->din[i], next);
            next += LAYER_B * r->n * r->in_size[i];
        }
        for (int j = 0; j < LAYER_B; j++) {
            r->k->to_double(r->parameters, r->grad[j], next);
            next += r->parameters;
        }
    }
    *total = most;
    return all;
}

static inline void check_precisions(const layer_case *c)
{
    layer_run r;
    double *result[2];
    size_t total = 0;
    for (int dtype = GM_F32; dtype <= GM_F64; dtype++) {
        layer_open(&r, c, (gm_dtype)dtype, LAYER_N);
        result[dtype] = layer_everything(&r, &total);
        layer_close(&r);
    }
    assert_at_most(layer_distance(total, result[0], result[1]),
                   1e-6 * (c->single > 0 ? c->single : 3), "%s: single precision", c->name);
    free(result[0]);
    free(result[1]);
}

/* The first sample alone gives the first sample's numbers. */
static inline void check_single_sample(const layer_case *c)
{
    layer_run many, one;
    layer_open(&many, c, GM_F64, LAYER_N);
    layer_open(&one, c, GM_F64, 1);
    layer_value(&many);
    layer_value(&one);
    assert_memory_equal(one.out, many.out, one.out_size * sizeof(double));
    layer_tangent_backward(&many);
    layer_tangent_backward(&one);
    for (int i = 0; i < c->inputs; i++) {
        /* the first direction's first sample is the same in both */
        assert_at_most(layer_distance(one.in_size[i], one.din[i], many.din[i]), 1e-14,
                       "%s: one sample", c->name);
    }
    layer_close(&many);
    layer_close(&one);
}

static inline void check_layer(const layer_case *c)
{
    layer_run r;
    layer_open(&r, c, GM_F64, LAYER_N);
    check_tangent(&r);
    check_transpose(&r);
    check_tangent_backward(&r);
    check_parts(&r);
    check_traits(&r);
    layer_close(&r);
    check_precisions(c);
    check_single_sample(c);
}

#endif
