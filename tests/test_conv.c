/* Convolution and pooling kernels against plain loops in double, in both layouts and precisions:
 * strides that do not divide, padding, dilation, groups, one-dimensional signals, one pixel.
 *
 * Tolerance: sums of at most a few thousand products of numbers below 5, relative to the largest
 * entry: 1e-13 in double, 2e-5 in single precision. */
#include "kernel_arrays.h"

#include <omp.h>

#include "kernels/conv.h"

typedef struct conv_case {
    size_t n, channels, out_channels, groups, in[2], kernel[2], stride[2], pad[2], dilation[2];
} conv_case;

static const conv_case cases[] = {
    {4, 4, 6, 1, {6, 6}, {3, 3}, {1, 1}, {0, 0}, {1, 1}}, /* the grid of BackPACK's issue 30 */
    {4, 4, 6, 1, {6, 6}, {3, 3}, {3, 3}, {0, 0}, {1, 1}},
    {4, 4, 6, 1, {6, 6}, {3, 3}, {1, 1}, {2, 2}, {1, 1}},
    {4, 4, 6, 1, {6, 6}, {3, 3}, {3, 3}, {2, 2}, {1, 1}},
    {4, 4, 6, 1, {6, 6}, {3, 3}, {1, 1}, {0, 0}, {2, 2}},
    {4, 4, 6, 1, {6, 6}, {3, 3}, {3, 3}, {0, 0}, {2, 2}},
    {4, 4, 6, 1, {6, 6}, {3, 3}, {1, 1}, {2, 2}, {2, 2}},
    {4, 4, 6, 1, {6, 6}, {3, 3}, {3, 3}, {2, 2}, {2, 2}},
    {3, 3, 2, 1, {7, 7}, {2, 2}, {2, 2}, {1, 1}, {1, 1}},
    {3, 3, 6, 3, {7, 7}, {3, 2}, {2, 1}, {1, 0}, {1, 3}},    /* groups; unequal everything */
    {2, 8, 8, 8, {5, 9}, {3, 3}, {1, 2}, {1, 1}, {1, 1}},    /* depthwise */
    {5, 3, 16, 1, {12, 12}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}, /* what a first layer looks like */
    {3, 16, 32, 1, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {3, 16, 32, 2, {8, 8}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {2, 5, 7, 1, {4, 4}, {1, 1}, {1, 1}, {0, 0}, {1, 1}}, /* one pixel */
    {2, 5, 7, 1, {4, 4}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {6, 4, 6, 2, {1, 17}, {1, 5}, {1, 2}, {0, 2}, {1, 2}}, /* a signal */
    {1, 1, 1, 1, {1, 1}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {40, 6, 6, 1, {15, 15}, {5, 5}, {1, 1}, {2, 2}, {1, 1}}, /* several panels, threads */
    {4, 4, 6, 2, {6, 6}, {3, 3}, {1, 1}, {0, 0}, {1, 1}},    /* the grid once more, in groups */
    {4, 4, 6, 2, {6, 6}, {3, 3}, {3, 3}, {0, 0}, {1, 1}},
    {4, 4, 6, 2, {6, 6}, {3, 3}, {1, 1}, {2, 2}, {1, 1}},
    {4, 4, 6, 2, {6, 6}, {3, 3}, {3, 3}, {2, 2}, {1, 1}},
    {4, 4, 6, 2, {6, 6}, {3, 3}, {1, 1}, {0, 0}, {2, 2}},
    {4, 4, 6, 2, {6, 6}, {3, 3}, {3, 3}, {0, 0}, {2, 2}},
    {4, 4, 6, 2, {6, 6}, {3, 3}, {1, 1}, {2, 2}, {2, 2}},
    {4, 4, 6, 2, {6, 6}, {3, 3}, {3, 3}, {2, 2}, {2, 2}},
    {4, 4, 6, 1, {1, 13}, {1, 3}, {1, 1}, {0, 0}, {1, 1}}, /* and for signals */
    {4, 4, 6, 1, {1, 13}, {1, 3}, {1, 3}, {0, 0}, {1, 1}},
    {4, 4, 6, 1, {1, 13}, {1, 3}, {1, 1}, {0, 2}, {1, 1}},
    {4, 4, 6, 1, {1, 13}, {1, 3}, {1, 3}, {0, 2}, {1, 1}},
    {4, 4, 6, 2, {1, 13}, {1, 3}, {1, 1}, {0, 0}, {1, 2}},
    {4, 4, 6, 2, {1, 13}, {1, 3}, {1, 3}, {0, 0}, {1, 2}},
    {4, 4, 6, 2, {1, 13}, {1, 3}, {1, 1}, {0, 2}, {1, 2}},
    {4, 4, 6, 2, {1, 13}, {1, 3}, {1, 3}, {0, 2}, {1, 2}},
};
enum { CASES = sizeof cases / sizeof *cases };

static gm_conv conv_of(const conv_case *c, bool channels_last)
{
    gm_conv g = {.out_channels = c->out_channels, .groups = c->groups};
    g.window.channels = c->channels;
    g.window.channels_last = channels_last;
    for (int i = 0; i < 2; i++) {
        g.window.in[i] = c->in[i];
        g.window.kernel[i] = c->kernel[i];
        g.window.stride[i] = c->stride[i];
        g.window.dilation[i] = c->dilation[i];
        g.window.pad[i] = c->pad[i];
        g.window.out[i] =
            (c->in[i] + 2 * c->pad[i] - (c->kernel[i] - 1) * c->dilation[i] - 1) / c->stride[i] + 1;
    }
    return g;
}

/* Index of (image, channel, row, column). */
static size_t at(bool last, size_t channels, const size_t size[2], size_t i, size_t c, size_t row,
                 size_t column)
{
    if (last) return ((i * size[0] + row) * size[1] + column) * channels + c;
    return ((i * channels + c) * size[0] + row) * size[1] + column;
}

/* y += x * w, dx += dy * w, dw += dy * x for every product of the convolution. */
static void reference(const gm_conv *g, size_t n, const double *x, const double *w,
                      const double *dy, double *y, double *dx, double *dw)
{
    const gm_window *v = &g->window;
    size_t cg = v->channels / g->groups, og = g->out_channels / g->groups;
    for (size_t i = 0; i < n; i++) {
        for (size_t o = 0; o < g->out_channels; o++) {
            for (size_t row = 0; row < v->out[0]; row++) {
                for (size_t column = 0; column < v->out[1]; column++) {
                    size_t to = at(v->channels_last, g->out_channels, v->out, i, o, row, column);
                    for (size_t c = 0; c < cg; c++) {
                        for (size_t k = 0; k < v->kernel[0]; k++) {
                            for (size_t l = 0; l < v->kernel[1]; l++) {
                                ptrdiff_t r = (ptrdiff_t)(row * v->stride[0] + k * v->dilation[0]) -
                                              (ptrdiff_t)v->pad[0];
                                ptrdiff_t s =
                                    (ptrdiff_t)(column * v->stride[1] + l * v->dilation[1]) -
                                    (ptrdiff_t)v->pad[1];
                                if (r < 0 || s < 0 || r >= (ptrdiff_t)v->in[0] ||
                                    s >= (ptrdiff_t)v->in[1])
                                    continue;
                                size_t from = at(v->channels_last, v->channels, v->in, i,
                                                 o / og * cg + c, (size_t)r, (size_t)s);
                                size_t weight =
                                    ((o * cg + c) * v->kernel[0] + k) * v->kernel[1] + l;
                                y[to] += x[from] * w[weight];
                                dx[from] += dy[to] * w[weight];
                                dw[weight] += dy[to] * x[from];
                            }
                        }
                    }
                }
            }
        }
    }
}

/* Standard normal doubles that either precision holds exactly. */
static double *draw(size_t n, uint32_t run)
{
    double *x = new_doubles(n, 0);
    for (size_t i = 0; i < n; i++) {
        x[i] = (double)(float)gm_normal(gm_stream_of(11, GM_PURPOSE_TEST, run), i);
    }
    return x;
}

static void *native(const gm_kernels *k, size_t n, const double *x)
{
    void *out = new_array(k, n, 0);
    k->from_double(n, x, out);
    return out;
}

static void compare(const gm_kernels *k, const char *what, size_t index, size_t n,
                    const void *found, const double *expected)
{
    double largest = 1, tolerance = k->dtype == GM_F64 ? 1e-13 : 2e-5;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(expected[i]));
    }
    for (size_t i = 0; i < n; i++) {
        double error = fabs(get(k, found, i) - expected[i]);
        if (error <= tolerance * largest) continue;
        fail_msg("%s, %s, case %zu: entry %zu is %.17g, expected %.17g", what,
                 gm_dtype_name(k->dtype), index, i, get(k, found, i), expected[i]);
    }
    check_sentinels(k, n, found);
}

/* One case in one precision and layout. `plain`: no scratch that oneDNN would be content with. */
static void check_conv(const gm_kernels *k, size_t index, bool last, bool plain)
{
    const conv_case *c = &cases[index];
    gm_conv g = conv_of(c, last);
    const gm_window *v = &g.window;
    size_t in = c->n * c->channels * c->in[0] * c->in[1];
    size_t out = c->n * c->out_channels * v->out[0] * v->out[1];
    size_t weights = c->out_channels * (c->channels / c->groups) * c->kernel[0] * c->kernel[1];
    double *x = draw(in, 0), *w = draw(weights, 1), *dy = draw(out, 2),
           *bias = draw(c->out_channels, 3);
    double *y = new_doubles(out, 0), *dx = new_doubles(in, 0), *dw = new_doubles(weights, 0);
    reference(&g, c->n, x, w, dy, y, dx, dw);
    size_t bytes = k->conv_scratch(&g, c->n);
    void *memory = gm_alloc(bytes, 1, "test", NULL);
    gm_scratch scratch = {memory, plain ? 0 : bytes};
    void *xn = native(k, in, x), *wn = native(k, weights, w), *dyn = native(k, out, dy);
    void *bn = native(k, c->out_channels, bias);
    void *yn = new_array(k, out, (double)NAN), *dxn = new_array(k, in, (double)NAN);
    void *dwn = new_array(k, weights, 0);
    k->conv_forward(&g, c->n, xn, wn, NULL, false, yn, scratch);
    compare(k, "forward", index, out, yn, y);
    k->conv_forward(&g, c->n, xn, wn, bn, true, yn, scratch);
    for (size_t i = 0; i < out; i++) {
        size_t channel = last ? i % c->out_channels : i / (v->out[0] * v->out[1]) % c->out_channels;
        y[i] = 2 * y[i] + bias[channel];
    }
    compare(k, "forward, added, bias", index, out, yn, y);
    k->conv_backward_data(&g, c->n, dyn, wn, false, dxn, scratch);
    compare(k, "backward data", index, in, dxn, dx);
    k->conv_backward_data(&g, c->n, dyn, wn, true, dxn, scratch);
    k->conv_backward_weight(&g, c->n, xn, dyn, dwn, scratch);
    compare(k, "backward weight", index, weights, dwn, dw);
    k->conv_backward_weight(&g, c->n, xn, dyn, dwn, scratch);
    for (size_t i = 0; i < in || i < weights; i++) {
        if (i < in) dx[i] *= 2;
        if (i < weights) dw[i] *= 2;
    }
    compare(k, "backward data, added", index, in, dxn, dx);
    compare(k, "backward weight, added", index, weights, dwn, dw);
    double *doubles[] = {x, w, dy, bias, y, dx, dw};
    void *natives[] = {xn, wn, dyn, bn, yn, dxn, dwn};
    for (int i = 0; i < 7; i++) {
        gm_free(doubles[i]);
        free(natives[i]);
    }
    gm_free(memory);
}

static void convolution(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        for (int last = 0; last < 2; last++) {
            check_conv(gm_kernels_get(GM_F64), i, last, false);
            check_conv(gm_kernels_get(GM_F32), i, last, false);
            check_conv(gm_kernels_get(GM_F32), i, last, true);
        }
    }
}

/* Inside a parallel region each thread runs its own convolutions, on one thread. */
static void side_by_side(void **state)
{
    (void)state;
#pragma omp parallel for num_threads(2) schedule(static, 1)
    for (int i = 0; i < 4; i++) {
        check_conv(gm_kernels_get((gm_dtype)(i % 2)), i < 2 ? 12 : 18, true, false);
    }
}

/* What oneDNN refuses is computed all the same: it does refuse an empty scratch here. */
static void scratch_matters(void **state)
{
    (void)state;
    gm_conv g = conv_of(&cases[12], true);
    float x[3 * 16 * 64] = {0}, w[32 * 16 * 9] = {0}, y[3 * 32 * 64] = {0};
    assert_false(gm_dnnl_conv_forward(&g, 3, x, w, NULL, false, y, (gm_scratch){NULL, 0}));
    size_t bytes = gm_dnnl_conv_scratch(&g, 3);
    void *memory = gm_alloc(bytes, 1, "test", NULL);
    assert_true(gm_dnnl_conv_forward(&g, 3, x, w, NULL, false, y, (gm_scratch){memory, bytes}));
    gm_free(memory);
}

/* ---- pooling ------------------------------------------------------------------------------- */

static gm_window window_of(const conv_case *c)
{
    return conv_of(c, true).window;
}

/* Pixel under a tap, or -1 outside. */
static ptrdiff_t pixel(const gm_window *w, size_t p, size_t tap)
{
    ptrdiff_t r = (ptrdiff_t)(p / w->out[1] * w->stride[0] + tap / w->kernel[1] * w->dilation[0]);
    ptrdiff_t s = (ptrdiff_t)(p % w->out[1] * w->stride[1] + tap % w->kernel[1] * w->dilation[1]);
    r -= (ptrdiff_t)w->pad[0];
    s -= (ptrdiff_t)w->pad[1];
    if (r < 0 || s < 0 || r >= (ptrdiff_t)w->in[0] || s >= (ptrdiff_t)w->in[1]) return -1;
    return r * (ptrdiff_t)w->in[1] + s;
}

/* Max and mean pooling of one case: numbers of few values, so that there are ties. */
static void check_pool(const gm_kernels *k, size_t index)
{
    const conv_case *c = &cases[index];
    gm_window w = window_of(c);
    size_t in = c->in[0] * c->in[1] * c->channels, positions = w.out[0] * w.out[1];
    size_t out = positions * c->channels;
    double *x = new_doubles(c->n * in, 0), *u = draw(c->n * in, 1), *s = draw(c->n * out, 2);
    double *top = new_doubles(c->n * out, 0), *pick = new_doubles(c->n * out, 0);
    double *spread = new_doubles(c->n * in, 1), *mean = new_doubles(c->n * out, 0);
    double *padded = new_doubles(c->n * out, 0), *even = new_doubles(c->n * in, 0);
    for (size_t i = 0; i < c->n * in; i++) {
        x[i] = (double)gm_below(gm_stream_of(3, GM_PURPOSE_TEST, 9), i, 4) - 2;
    }
    for (size_t o = 0; o < c->n * out; o++) {
        size_t i = o / out, p = o % out / c->channels, channel = o % c->channels, count = 0;
        ptrdiff_t best = -1;
        for (size_t tap = 0; tap < w.kernel[0] * w.kernel[1]; tap++) {
            ptrdiff_t at_pixel = pixel(&w, p, tap);
            if (at_pixel < 0) continue;
            ptrdiff_t from = (ptrdiff_t)(i * in + channel) + at_pixel * (ptrdiff_t)c->channels;
            if (best < 0 || x[from] > x[best]) best = from;
            mean[o] += x[from];
            count++;
        }
        if (best >= 0) {
            top[o] = x[best];
            pick[o] = u[best];
            spread[best] += s[o];
        }
        padded[o] = mean[o] / (double)(w.kernel[0] * w.kernel[1]);
        mean[o] = count ? mean[o] / (double)count : 0;
        for (size_t tap = 0; tap < w.kernel[0] * w.kernel[1]; tap++) {
            ptrdiff_t at_pixel = pixel(&w, p, tap);
            if (at_pixel < 0) continue;
            even[i * in + (size_t)at_pixel * c->channels + channel] += s[o] / (double)count;
        }
    }
    void *xn = native(k, c->n * in, x), *un = native(k, c->n * in, u),
         *sn = native(k, c->n * out, s);
    void *y = new_array(k, c->n * out, (double)NAN), *v = new_array(k, c->n * out, (double)NAN);
    void *d = new_array(k, c->n * in, 1), *e = new_array(k, c->n * in, (double)NAN);
    k->max_pool(&w, c->n, xn, y);
    compare(k, "max pool", index, c->n * out, y, top);
    k->max_pool_pick(&w, c->n, xn, y, un, v);
    compare(k, "max pool, pick", index, c->n * out, v, pick);
    k->max_pool_spread(&w, c->n, xn, y, sn, true, d);
    compare(k, "max pool, spread", index, c->n * in, d, spread);
    k->mean_pool(&w, false, c->n, xn, y);
    compare(k, "mean pool", index, c->n * out, y, mean);
    k->mean_pool_spread(&w, false, c->n, sn, false, e);
    compare(k, "mean pool, spread", index, c->n * in, e, even);
    k->mean_pool(&w, true, c->n, xn, y);
    compare(k, "mean pool, padded", index, c->n * out, y, padded);
    double *doubles[] = {x, u, s, top, pick, spread, mean, padded, even};
    void *natives[] = {xn, un, sn, y, v, d, e};
    for (int i = 0; i < 9; i++) {
        gm_free(doubles[i]);
        if (i < 7) free(natives[i]);
    }
}

static void pooling_of(const gm_kernels *k)
{
    for (size_t i = 0; i < CASES; i++) {
        check_pool(k, i);
    }
}

static void pooling(void **state)
{
    (void)state;
    for_each_table(pooling_of);
}

/* NaN wins over every number, wherever it stands. */
static void nan_in_a_window(void **state)
{
    (void)state;
    gm_window w = {.channels = 1,
                   .in = {1, 3},
                   .out = {1, 1},
                   .kernel = {1, 3},
                   .stride = {1, 1},
                   .dilation = {1, 1},
                   .channels_last = true};
    for (int i = 0; i < 3; i++) {
        double x[3] = {1, 2, 3}, y;
        x[i] = (double)NAN;
        gm_kernels_get(GM_F64)->max_pool(&w, 1, x, &y);
        assert_true(isnan(y));
    }
}

static void transposition_of(const gm_kernels *k)
{
    const size_t rows = 5, columns = 7, n = 3;
    double *x = draw(n * rows * columns, 0), *y = new_doubles(n * rows * columns, 0);
    double *sums = new_doubles(rows, 1);
    for (size_t i = 0; i < n * rows * columns; i++) {
        size_t r = i / columns % rows, c = i % columns;
        y[i / (rows * columns) * rows * columns + c * rows + r] = x[i];
        sums[r] += x[i];
    }
    void *xn = native(k, n * rows * columns, x), *yn = new_array(k, n * rows * columns, 0);
    void *sn = new_array(k, rows, 1);
    k->swap_axes(n, rows, columns, xn, false, yn);
    compare(k, "transpose", 0, n * rows * columns, yn, y);
    k->swap_axes(n, rows, columns, xn, true, yn);
    k->channel_sums(n, rows, columns, xn, sn);
    compare(k, "channel sums", 0, rows, sn, sums);
    for (size_t i = 0; i < n * rows * columns; i++) {
        y[i] *= 2;
    }
    compare(k, "transpose, added", 0, n * rows * columns, yn, y);
    free(sn);
    sn = new_array(k, rows, 1);
    k->channel_sums(n * columns, rows, 1, yn, sn);
    for (size_t r = 0; r < rows; r++) {
        sums[r] = 2 * sums[r] - 1;
    }
    compare(k, "channel sums, channels last", 0, rows, sn, sums);
    free(xn);
    free(yn);
    free(sn);
    gm_free(x);
    gm_free(y);
    gm_free(sums);
}

static void transposition(void **state)
{
    (void)state;
    for_each_table(transposition_of);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution),     cmocka_unit_test(side_by_side),
        cmocka_unit_test(scratch_matters), cmocka_unit_test(pooling),
        cmocka_unit_test(nan_in_a_window), cmocka_unit_test(transposition),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "conv");
}
