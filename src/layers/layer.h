/* A layer kind: what one node of a network does to a chunk of samples, and the derivatives of that.
 *
 * Each kind is one file with a const gm_layer_kind: its shapes and parameters, and four functions
 *   value             a = F(in, w)
 *   tangent           adot = F_in indot + F_w wdot
 *   backward          din += F_in^T signal, grad += F_w^T signal
 *   tangent_backward  the directional derivative of backward along (indot, wdot):
 *                     tdin += F_in^T tsignal + (d/dt F_in)^T signal, tgrad likewise
 * (Pearlmutter 1994, R-operator; theory section 1.) A kind knows its own inputs and parameters,
 * never the network.
 *
 * n samples a chunk; b directions or signals a call. Arrays [b, n, size] are row-major. All arrays
 * hold numbers of kernels->dtype. NULL means zero for what is read and "not wanted" for what is
 * written. */
#ifndef GM_LAYERS_LAYER_H
#define GM_LAYERS_LAYER_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/status.h"
#include "gradiometer/types.h"
#include "kernels/functions.h"
#include "kernels/kernels.h"

enum { GM_MAX_INPUTS = 8, GM_MAX_TENSORS = 4 };

static inline bool gm_shape_equal(const gm_shape *a, const gm_shape *b)
{
    bool equal = a->rank == b->rank;
    for (int i = 0; equal && i < a->rank; i++) {
        equal = a->dim[i] == b->dim[i];
    }
    return equal;
}

/* One parameter tensor of a layer; its offset within the layer's slice is the sum of those before
 * it. */
typedef struct gm_tensor {
    const char *name; /* "weight", "bias" */
    gm_shape shape;
    size_t fan_in,
        fan_out;  /* for the initialization; fan_in 0 marks a tensor that starts at `start` */
    double start; /* 0 for a bias */
    bool scales;  /* multiplies the input, element by element: a weight of fan-in 1 with a start */
} gm_tensor;

/* Inputs that one output of the layer sees through this tensor: 0 for a bias. */
static inline size_t gm_tensor_ways(const gm_tensor *tensor)
{
    return tensor->fan_in ? tensor->fan_in : tensor->scales;
}

typedef enum gm_layer_trait {
    GM_TRAIT_OUTER = 1, /* the gradient of one sample is signal (x) (input, 1): weight [out, in],
                           then bias [out] */
    GM_TRAIT_PIECEWISE =
        2, /* output linear in each single weight and piecewise linear in the input */
    GM_TRAIT_HOMOGENEOUS =
        4, /* without parameters: F(c in) = c F(in) for c > 0; with: linear but for a bias */
    GM_TRAIT_NEEDS_IN = 8,      /* derivatives read the inputs' values */
    GM_TRAIT_NEEDS_OUT = 16,    /* derivatives read the output's value */
    GM_TRAIT_NEEDS_SIGNAL = 32, /* tangent_backward reads the unperturbed signal at the output */
    GM_TRAIT_INPLACE =
        64, /* elementwise: the input's value, tangent and signal may share the output's memory */
    GM_TRAIT_TOKENS = 128,  /* reads whole numbers 0 ... rows of its first tensor - 1 */
    GM_TRAIT_BILINEAR = 256 /* of two inputs, piecewise linear in each of them alone:
                               GM_TRAIT_PIECEWISE in a net that has no weight behind both */
} gm_layer_trait;

typedef struct gm_layer_call {
    const gm_kernels *k;
    const void *config; /* of the kind, config_size bytes */
    size_t n, b;
    int inputs;
    const gm_shape *in_shape; /* [inputs] */
    const gm_shape *out_shape;
    const void *param;              /* this layer's slice of the parameters */
    const void *in[GM_MAX_INPUTS];  /* values [n, in] */
    void *out;                      /* value [n, out]: written by value, read by the others */
    const void *tin[GM_MAX_INPUTS]; /* tangents of the inputs [b, n, in], or NULL */
    const void *const *tparam;      /* [b] directions in this layer's parameters, or NULL */
    void *tout;                     /* tangent of the output [b, n, out]: written by tangent */
    const void *signal; /* backward: [b, n, out]; tangent_backward: unperturbed [n, out], or NULL */
    const void *tsignal;      /* tangent_backward: [b, n, out] */
    void *din[GM_MAX_INPUTS]; /* backward signals at the inputs [b, n, in] (tangent_backward: their
                                 tangents) */
    bool din_add[GM_MAX_INPUTS]; /* add to what is there, else overwrite */
    void *const *grad;  /* [b] sums over the chunk, added to: this layer's slice, or NULL */
    gm_scratch scratch; /* as many bytes as the kind's scratch asked for, for calls with at most
                           those n and b */
} gm_layer_call;

typedef struct gm_layer_kind {
    const char *name;
    size_t config_size;
    bool source; /* takes no inputs; all others take at least one */
    /* Traits of a layer with this configuration. */
    unsigned (*traits)(const void *config);
    /* Shape of the output and the parameter tensors; refuses inputs that do not fit, naming what
     * was expected. */
    gm_status (*infer)(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                       gm_tensor *tensor, int *tensors, gm_error *err);
    /* Bytes of scratch for calls with at most n samples and b directions; NULL: none. */
    size_t (*scratch)(const gm_kernels *k, const void *config, const gm_shape *in, size_t n,
                      size_t b);
    void (*value)(const gm_layer_call *c);
    void (*tangent)(const gm_layer_call *c);
    void (*backward)(const gm_layer_call *c);
    void (*tangent_backward)(const gm_layer_call *c);
} gm_layer_kind;

/* Weight [units, width of the input], or transposed [width, units]; then bias [units]. The input is
 * flattened; by_position: the weight acts on its last axis, [..., width] -> [..., units], the same
 * at every position. */
typedef struct gm_dense_config {
    size_t units; /* width of the output */
    bool bias;
    bool by_position, transposed;
} gm_dense_config;
extern const gm_layer_kind gm_layer_dense;

/* factor times the product of two activations, op(a) [..., r, q] op(b) [..., q, s], the leading
 * axes broadcast from the right; op: the last two axes stored swapped. */
typedef struct gm_matmul_config {
    bool transpose_a, transpose_b;
    double factor;
} gm_matmul_config;
extern const gm_layer_kind gm_layer_matmul;

/* A table of rows [vocabulary, width] by whole numbers of the net's input (checked against the data
 * when a problem is made): [...] -> [..., width]. */
typedef struct gm_embedding_config {
    size_t vocabulary, width;
} gm_embedding_config;
extern const gm_layer_kind gm_layer_embedding;

typedef struct gm_activation_config {
    gm_activation act;
} gm_activation_config;
extern const gm_layer_kind gm_layer_activation;

/* A window sliding over an image [C, H, W] or, channels last, [H, W, C]; or over a signal [C, L] or
 * [L, C], for which the vertical (first) numbers of the pairs are ignored. */
typedef struct gm_window_config {
    size_t kernel[2], stride[2], dilation[2];
    size_t pad[2], pad_after[2]; /* zeros before the first and after the last row and column */
    bool ceil; /* a last window that reaches beyond the padded image counts, if it starts within */
    bool channels_last;
} gm_window_config;

/* A square window of this kernel, stride and padding, no dilation. */
gm_window_config gm_window_square(size_t kernel, size_t stride, size_t pad, bool channels_last);
/* The window over an input of this shape, and the output's shape for so many output channels (0:
 * the input's); GM_ERR_INPUT with the sizes where it does not fit. */
gm_status gm_window_over(const gm_window_config *config, const gm_shape *in, size_t out_channels,
                         gm_window *window, gm_shape *out, gm_error *err);

/* Weight [out_channels, channels / groups, kernel[0], kernel[1]] (of a signal [out_channels,
 * channels / groups, kernel[1]]), then bias [out_channels]. */
typedef struct gm_conv_config {
    gm_window_config window;
    size_t out_channels, groups;
    bool bias;
} gm_conv_config;
extern const gm_layer_kind gm_layer_conv;

/* A dense layer or a convolution, without bias, whose weight is constant numbers [count]
 * (gm_net_keep): no parameters. */
typedef struct gm_frozen_config {
    const gm_layer_kind *kind; /* gm_layer_dense or gm_layer_conv */
    union {
        gm_dense_config dense;
        gm_conv_config conv;
    } of;
    const double *numbers;
    size_t count;
} gm_frozen_config;
extern const gm_layer_kind gm_layer_frozen;

typedef struct gm_pool_config {
    gm_window_config window;
    bool padded; /* mean: the zeros of the padding count */
} gm_pool_config;
extern const gm_layer_kind gm_layer_max_pool;
extern const gm_layer_kind gm_layer_mean_pool;

/* The mean over all positions: [C, ...] or [..., C] to [C]. */
typedef struct gm_channels_config {
    bool channels_last;
} gm_channels_config;
extern const gm_layer_kind gm_layer_global_mean_pool;

/* The layout of images: from channels first to channels last (config channels_last), or back. */
extern const gm_layer_kind gm_layer_layout;

/* The same numbers in another shape; a flatten is one of rank 1. */
typedef struct gm_reshape_config {
    gm_shape shape;
} gm_reshape_config;
extern const gm_layer_kind gm_layer_reshape;

/* Axis i of the output is axis[i] of the input. */
typedef struct gm_transpose_config {
    int axis[GM_MAX_RANK];
} gm_transpose_config;
extern const gm_layer_kind gm_layer_transpose;

/* Along axis i the numbers start, start + step, ..., `count` of them; count 0: the whole axis. */
typedef struct gm_slice_config {
    size_t start[GM_MAX_RANK], count[GM_MAX_RANK];
    int step[GM_MAX_RANK]; /* may be negative */
} gm_slice_config;
extern const gm_layer_kind gm_layer_slice;

/* Repeated along axes of length 1 or missing in front, to this shape. */
typedef struct gm_expand_config {
    gm_shape shape;
} gm_expand_config;
extern const gm_layer_kind gm_layer_expand;

/* Zeros around. */
typedef struct gm_pad_config {
    size_t before[GM_MAX_RANK], after[GM_MAX_RANK];
} gm_pad_config;
extern const gm_layer_kind gm_layer_pad;

/* The places index [count] along one axis, whole numbers that are constants (gm_net_keep). */
typedef struct gm_gather_config {
    int axis;
    size_t count;
    const double *index;
} gm_gather_config;
extern const gm_layer_kind gm_layer_gather;

/* Inference-mode batch normalization of [C, ...] or [..., C]. mean and variance [C] are constants
 * (gm_net_keep); NULL: 0 and 1. Scale [C], which an initialization sets to `start`, then shift [C].
 */
typedef struct gm_norm_config {
    const double *mean, *variance;
    double epsilon, start;
    bool channels_last;
} gm_norm_config;
extern const gm_layer_kind gm_layer_norm;

/* The sum of inputs of one shape; its config is one byte that nobody reads. */
extern const gm_layer_kind gm_layer_add;

/* Inputs side by side along an axis of their shapes. */
typedef struct gm_concat_config {
    int axis;
} gm_concat_config;
extern const gm_layer_kind gm_layer_concat;

/* Every stride-th row and column of an image with the channels last, `before` and `after` channels
 * of zeros around its own. */
typedef struct gm_shortcut_config {
    size_t stride, before, after;
} gm_shortcut_config;
extern const gm_layer_kind gm_layer_shortcut;

/* A parameter tensor, the same for every sample: no inputs. Initialized N(0, 2/fan_in), or to
 * `start` where fan_in is 0. */
typedef struct gm_parameter_config {
    gm_shape shape;
    size_t fan_in;
    double start;
} gm_parameter_config;
extern const gm_layer_kind gm_layer_parameter;

/* Constant numbers (gm_net_keep), the same for every sample: no inputs. */
typedef struct gm_constant_config {
    gm_shape shape;
    const double *numbers;
} gm_constant_config;
extern const gm_layer_kind gm_layer_constant;

/* An elementwise function with its constants. */
typedef gm_function gm_unary_config;
extern const gm_layer_kind gm_layer_unary;

/* Shapes aligned at their last axes, where axes of 1 and missing ones are repeated: the shape of
 * both together (false where they do not fit), and how x and y lie in it. */
bool gm_broadcast_shape(const gm_shape *x, const gm_shape *y, gm_shape *full);
void gm_broadcast_make(const gm_shape *full, const gm_shape *x, const gm_shape *y, gm_broadcast *g);

/* A function of two inputs, number by number. Shapes are aligned at their last axes; an axis that
 * one of them lacks, or where it is 1, is repeated (the samples' axis is always in both). */
typedef struct gm_binary_config {
    gm_binary function;
} gm_binary_config;
extern const gm_layer_kind gm_layer_binary;

/* exp(x) / sum exp(x) along an axis of the shape, or the logarithm of that. */
typedef struct gm_softmax_config {
    int axis;
    bool log;
} gm_softmax_config;
extern const gm_layer_kind gm_layer_softmax;

/* Over the axes whose bits are set (bit 0: the first after the samples'); these become 1 where
 * `keep`, else they go. */
typedef struct gm_reduce_config {
    gm_reduction reduction;
    unsigned axes;
    bool keep;
} gm_reduce_config;
extern const gm_layer_kind gm_layer_reduce;

/* Every sample's numbers less their mean, over the root of their variance plus epsilon; then scale
 * and shift, parameters, where `affine`. layer_norm: over the last `axes` axes, with a scale and a
 * shift of their shape. group_norm: of [C, ...] in `groups` groups of channels, with a scale and a
 * shift for each channel; C groups are instance normalization. */
typedef struct gm_layer_norm_config {
    int axes;
    double epsilon;
    bool affine;
} gm_layer_norm_config;
extern const gm_layer_kind gm_layer_layer_norm;

typedef struct gm_group_norm_config {
    size_t groups;
    double epsilon;
    bool affine;
} gm_group_norm_config;
extern const gm_layer_kind gm_layer_group_norm;

#endif
