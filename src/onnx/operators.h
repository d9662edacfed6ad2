/* The operators, by what they do: constants (fold*.c), views and shapes (views.c), moving
 * numbers (moves.c, rearrange.c), images (images.c, patches.c, resize.c), norms (norms.c), matrix
 * products (dense.c, einsum.c), reductions and softmax (reduce.c), conditions (conditions.c),
 * everything else elementwise (elements.c). */
#ifndef GM_ONNX_OPERATORS_H
#define GM_ONNX_OPERATORS_H

#include <string.h>

#include "onnx/graph.h"

/* A constant that a graph computes has at most so many numbers, and all of them together: masks and
 * positions of long sequences fit, bombs do not. */
enum { GM_ONNX_FOLDED = 1 << 24, GM_ONNX_FOLDED_ALL = 1 << 27 };

gm_onnx_work gm_onnx_fold_identity, gm_onnx_fold_reshape, gm_onnx_fold_constant, gm_onnx_fold_shape,
    gm_onnx_fold_size, gm_onnx_fold_transpose, gm_onnx_fold_slice, gm_onnx_fold_expand,
    gm_onnx_fold_constant_of_shape, gm_onnx_fold_gather, gm_onnx_fold_concat;
gm_onnx_work gm_onnx_fold_cast, gm_onnx_fold_range, gm_onnx_fold_unary, gm_onnx_fold_binary,
    gm_onnx_fold_where, gm_onnx_fold_trilu, gm_onnx_fold_reduce_prod;

gm_onnx_work gm_onnx_emit_identity, gm_onnx_emit_cast, gm_onnx_emit_dropout, gm_onnx_emit_reshape;
gm_onnx_work gm_onnx_emit_transpose, gm_onnx_emit_concat, gm_onnx_emit_slice, gm_onnx_emit_split,
    gm_onnx_emit_gather, gm_onnx_emit_expand, gm_onnx_emit_pad;
gm_onnx_work gm_onnx_emit_conv, gm_onnx_emit_conv_transpose, gm_onnx_emit_max_pool,
    gm_onnx_emit_average_pool, gm_onnx_emit_global_average_pool, gm_onnx_emit_global_max_pool,
    gm_onnx_emit_resize;
gm_onnx_work gm_onnx_emit_batch_norm, gm_onnx_emit_layer_norm, gm_onnx_emit_instance_norm;
gm_onnx_work gm_onnx_emit_reduce, gm_onnx_emit_extreme, gm_onnx_emit_softmax;
gm_onnx_work gm_onnx_emit_depth_to_space, gm_onnx_emit_space_to_depth, gm_onnx_emit_tile,
    gm_onnx_fold_tile;
gm_onnx_work gm_onnx_emit_gemm, gm_onnx_emit_matmul, gm_onnx_emit_einsum;
gm_onnx_work gm_onnx_emit_activation, gm_onnx_emit_unary, gm_onnx_emit_clip, gm_onnx_emit_binary,
    gm_onnx_emit_random;
gm_onnx_work gm_onnx_emit_comparison, gm_onnx_emit_truth, gm_onnx_emit_where;

/* The output: whether the input's numbers, of an activation, differ from 0. */
gm_status gm_onnx_emit_nonzero(gm_onnx_step *s, gm_error *err);

/* *node = x [..., in] times a matrix of parameters or constants, [out, in] where transposed, else
 * [in, out]. */
gm_status gm_onnx_times_weight(gm_onnx_step *s, gm_onnx_value *x, gm_onnx_value *matrix,
                               bool transposed, int *node, gm_error *err);

/* *node, an image or signal with the channels last, becomes its convolution with a weight [out, in
 * / groups, ...] that the graph computes. */
gm_status gm_onnx_conv_by_patches(const gm_onnx_step *s, const gm_conv_config *config,
                                  gm_onnx_value *weight, int *node, gm_error *err);

/* Numbers of an attribute along each direction into pairs of the window's: [directions], or one
 * half of [2 directions] pads. A signal's are the second of each pair. */
gm_status gm_onnx_pairs(const gm_onnx_step *s, const char *name, int plane, int halves,
                        size_t otherwise, size_t *first, size_t *second, gm_error *err);
/* The window of a node over its input; kernel: from the weight's shape, or NULL. */
gm_status gm_onnx_window_of(const gm_onnx_step *s, const gm_onnx_tensor *in, const size_t *kernel,
                            gm_window_config *w, gm_error *err);
/* The output, [1, C, ...] from the node's [..., C]. */
void gm_onnx_put_image(const gm_onnx_step *s, int node);

/* The mean over the positions of an image [1, C, ...], of that rank again or [1, C]. */
gm_status gm_onnx_emit_global_mean(gm_onnx_step *s, int rank, gm_error *err);

#endif
