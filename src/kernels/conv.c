#include "kernels/conv.h"

#include <string.h>

#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

/* Numbers in the unfolded windows of the samples taken together, where one does not exceed it. */
enum { PANEL = 65536 };

/* Sizes of a group's unfolded form. */
typedef struct unfolded {
    size_t positions, k, og; /* rows of a sample, columns, output channels of a group */
    size_t in;               /* numbers in a sample */
} unfolded;

static unfolded unfolded_of(const gm_conv *g)
{
    const gm_window *w = &g->window;
    return (unfolded){.positions = w->out[0] * w->out[1],
                      .k = w->channels / g->groups * w->kernel[0] * w->kernel[1],
                      .og = g->out_channels / g->groups,
                      .in = w->channels * w->in[0] * w->in[1]};
}

static size_t panel_samples(const unfolded *u)
{
    size_t samples = PANEL / (u->positions * u->k);
    return samples ? samples : 1;
}

/* Row and column under tap (0, 0) of a position, the padding not taken off. */
typedef struct corner {
    size_t row, column;
} corner;

static corner corner_of(const gm_window *w, size_t position)
{
    return (corner){position / w->out[1] * w->stride[0], position % w->out[1] * w->stride[1]};
}

static bool is_inside(const gm_window *w, const corner *at, size_t k, size_t l)
{
    size_t row = at->row + k * w->dilation[0], column = at->column + l * w->dilation[1];
    return row >= w->pad[0] && row - w->pad[0] < w->in[0] && column >= w->pad[1] &&
           column - w->pad[1] < w->in[1];
}

/* All taps of row k lie side by side inside the image. */
static bool row_inside(const gm_window *w, const corner *at, size_t k)
{
    return w->dilation[1] == 1 && is_inside(w, at, k, 0) && is_inside(w, at, k, w->kernel[1] - 1);
}

/* The input pixel under a tap inside the image. */
static size_t pixel_of(const gm_window *w, const corner *at, size_t k, size_t l)
{
    size_t row = at->row + k * w->dilation[0] - w->pad[0];
    return row * w->in[1] + at->column + l * w->dilation[1] - w->pad[1];
}

#define REAL     float
#define FN(name) name##_f32
#include "kernels/conv_body.h"
#undef REAL
#undef FN
#define REAL     double
#define FN(name) name##_f64
#include "kernels/conv_body.h"
#undef REAL
#undef FN

size_t gm_conv_scratch_f32(const gm_conv *g, size_t n)
{
    size_t plain = unfolded_numbers_f32(g) * sizeof(float), dnnl = gm_dnnl_conv_scratch(g, n);
    return plain > dnnl ? plain : dnnl;
}

size_t gm_conv_scratch_f64(const gm_conv *g, size_t n)
{
    (void)n;
    return unfolded_numbers_f64(g) * sizeof(double);
}

void gm_conv_forward_f32(const gm_conv *g, size_t n, const void *x, const void *weight,
                         const void *bias, bool add, void *y, gm_scratch scratch)
{
    if (gm_dnnl_conv_forward(g, n, x, weight, bias, add, y, scratch)) return;
    unfolded_forward_f32(g, n, x, weight, add, y, scratch.memory);
    if (bias) add_channel_bias_f32(g, n, bias, y);
}

void gm_conv_forward_f64(const gm_conv *g, size_t n, const void *x, const void *weight,
                         const void *bias, bool add, void *y, gm_scratch scratch)
{
    unfolded_forward_f64(g, n, x, weight, add, y, scratch.memory);
    if (bias) add_channel_bias_f64(g, n, bias, y);
}

void gm_conv_backward_data_f32(const gm_conv *g, size_t n, const void *dy, const void *weight,
                               bool add, void *dx, gm_scratch scratch)
{
    if (gm_dnnl_conv_backward_data(g, n, dy, weight, add, dx, scratch)) return;
    unfolded_backward_data_f32(g, n, dy, weight, add, dx, scratch.memory);
}

void gm_conv_backward_data_f64(const gm_conv *g, size_t n, const void *dy, const void *weight,
                               bool add, void *dx, gm_scratch scratch)
{
    unfolded_backward_data_f64(g, n, dy, weight, add, dx, scratch.memory);
}

void gm_conv_backward_weight_f32(const gm_conv *g, size_t n, const void *x, const void *dy,
                                 void *dweight, gm_scratch scratch)
{
    if (gm_dnnl_conv_backward_weight(g, n, x, dy, dweight, scratch)) return;
    unfolded_backward_weight_f32(g, n, x, dy, dweight, scratch.memory);
}

void gm_conv_backward_weight_f64(const gm_conv *g, size_t n, const void *x, const void *dy,
                                 void *dweight, gm_scratch scratch)
{
    unfolded_backward_weight_f64(g, n, x, dy, dweight, scratch.memory);
}
