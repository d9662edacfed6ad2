/* Vector, matrix and element kernels in both precisions, chosen once through a const table.
 *
 * Matrices are row-major. `const void *` arrays hold numbers of the table's dtype ("REAL"); double
 * arrays are double in both. n counts samples (rows), d the width of a row. Sums over samples are
 * taken in double in a fixed order. Kernels use OpenMP threads when called outside a parallel
 * region and the work is worth it, one thread inside, and their result does not depend on which;
 * that of gemm does in the last bits, and repeats for equal numbers of threads.
 * Arrays do not overlap unless a comment allows it. */
#ifndef GM_KERNELS_KERNELS_H
#define GM_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/status.h"
#include "gradiometer/types.h"
#include "kernels/functions.h"
#include "kernels/image.h"
#include "kernels/view.h"

typedef enum gm_activation {
    GM_ACT_IDENTITY,
    GM_ACT_RELU,
    GM_ACT_LEAKY_RELU, /* slope 0.01 for z <= 0, as in PyTorch */
    GM_ACT_TANH,
    GM_ACT_SIGMOID,
    GM_ACT_SOFTPLUS, /* log(1 + exp z), computed without overflow */
    GM_ACT_GELU      /* z Phi(z), the exact form with erf */
} gm_activation;

typedef struct gm_kernels {
    gm_dtype dtype;
    size_t size;     /* bytes of a REAL */
    const char *isa; /* "baseline", "avx2" or "avx512": how the element kernels were built */
    size_t lanes;    /* numbers in one vector of that instruction set */

    /* C [m, n] = alpha op(A) op(B) + beta C, op(A) [m, k], op(B) [k, n]; ta / tb: transposed
     * storage. With beta = 0, C is written without being read. Any of m, n, k may be 0. */
    void (*gemm)(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const void *a,
                 size_t lda, const void *b, size_t ldb, double beta, void *c, size_t ldc);

    /* Convolutions of n images; y, dy [n, out], x, dx [n, in] in the layout that g names. `add`: to
     * what is there; dweight is always added to. bias [out_channels] may be NULL. The scratch has
     * conv_scratch(g, n) bytes, n the most images of a call. */
    size_t (*conv_scratch)(const gm_conv *g, size_t n);
    void (*conv_forward)(const gm_conv *g, size_t n, const void *x, const void *weight,
                         const void *bias, bool add, void *y, gm_scratch scratch);
    void (*conv_backward_data)(const gm_conv *g, size_t n, const void *dy, const void *weight,
                               bool add, void *dx, gm_scratch scratch);
    void (*conv_backward_weight)(const gm_conv *g, size_t n, const void *x, const void *dy,
                                 void *dweight, gm_scratch scratch);

    /* Pooling of n images with the channels last (channels first: n C images of one channel).
     * max_pool: y = the window's largest x, NaN where there is one, 0 where the window misses the
     * image. pick: v = u where the first of the largest x stands. spread: its transpose, d (+)=. */
    void (*max_pool)(const gm_window *w, size_t n, const void *x, void *y);
    void (*max_pool_pick)(const gm_window *w, size_t n, const void *x, const void *y, const void *u,
                          void *v);
    void (*max_pool_spread)(const gm_window *w, size_t n, const void *x, const void *y,
                            const void *s, bool add, void *d);
    /* Mean over the window; padded: the zeros of the padding count. spread: the transpose. */
    void (*mean_pool)(const gm_window *w, bool padded, size_t n, const void *x, void *y);
    void (*mean_pool_spread)(const gm_window *w, bool padded, size_t n, const void *s, bool add,
                             void *d);
    /* Over channels of x, y [n, channels, inner]: y (+)= scale[c] x + shift[c]; and dot[c] += sum
     * of x y, sum[c] += sum of x, in double. */
    void (*channel_affine)(size_t n, size_t channels, size_t inner, const double *scale,
                           const double *shift, const void *x, bool add, void *y);
    void (*channel_dots)(size_t n, size_t channels, size_t inner, const void *x, const void *y,
                         double *dot, double *sum);
    /* out[c] += sum of x[., c, .] for x [n, channels, inner]; summed in double within the call. */
    void (*channel_sums)(size_t n, size_t channels, size_t inner, const void *x, void *out);
    /* y [n, columns, rows] (+)= x [n, rows, columns] with the last two axes swapped. */
    void (*swap_axes)(size_t n, size_t rows, size_t columns, const void *x, bool add, void *y);

    /* The view of each of n arrays x of `size` numbers: y [n, dims of the view] (+)= what it shows.
     * And its transpose, what it shows += y: where several elements show one number, their sum. */
    void (*view_read)(const gm_view *v, size_t n, size_t size, const void *x, bool add, void *y);
    void (*view_add)(const gm_view *v, size_t n, size_t size, const void *y, void *x);

    /* Rows of a table [rows, d] by whole numbers index [n] of REAL, 0 ... rows - 1: out[i, :] =
     * table[index[i], :], and its transpose, table[index[i], :] += x[i, :], row after row. */
    void (*embed)(size_t n, size_t d, const void *index, const void *table, void *out);
    void (*embed_add)(size_t n, size_t d, const void *index, const void *x, void *table);

    void (*from_double)(size_t n, const double *x, void *out);
    void (*to_double)(size_t n, const void *x, double *out);
    void (*fill)(size_t n, double value, void *out);
    /* sum[i] += scale * x[i]: a chunk's contribution joins the double sum. */
    void (*accumulate)(size_t n, double scale, const void *x, double *sum);
    /* y += alpha x */
    void (*axpy)(size_t n, double alpha, const void *x, void *y);
    /* out = x * y, element by element; out may be x or y. */
    void (*multiply)(size_t n, const void *x, const void *y, void *out);
    /* A Gaussian around z: variance becomes its square root, the standard deviation sd, and z += sd
     * noise. Then the signal at the variance, out = signal noise / (2 sd), 0 where sd is 0; out may
     * be spread. */
    void (*perturb)(size_t n, const void *noise, void *variance, void *z);
    void (*perturb_signal)(size_t n, const void *noise, const void *spread, const void *signal,
                           void *out);
    /* Sum of x[i] y[i], in double; NaN and infinity propagate. */
    double (*dot)(size_t n, const void *x, const void *y);
    /* sum[j] += row j of x . y, in double, and y += alpha sum over rows t[j] x[j, :], for rows of n
     * entries `stride` apart. These two never start threads: callers cut the columns into pieces
     * that stay in cache. */
    void (*rows_dot)(size_t rows, size_t n, const void *x, size_t stride, const void *y,
                     double *sum);
    void (*rows_axpy)(size_t rows, size_t n, double alpha, const double *t, const void *x,
                      size_t stride, void *y);
    /* z[i, :] += bias */
    void (*add_bias)(size_t n, size_t d, const void *bias, void *z);
    /* out[j] += sum over rows i of x[i, j]; summed in double within the call. */
    void (*column_sums)(size_t n, size_t d, const void *x, void *out);
    /* t[i] += sum over j of x[i, j] y[i, j], in double. */
    void (*row_dots)(size_t n, size_t d, const void *x, const void *y, double *t);
    /* out[i, :] = t[i] x[i, :]; out may be x. */
    void (*scale_rows)(size_t n, size_t d, const double *t, const void *x, void *out);
    /* out[i, :] = x[index[i], :] */
    void (*gather_rows)(size_t n, size_t d, const size_t *index, const void *x, void *out);

    /* a = phi(z); a may be z. Kinks: phi'(0) = 0 for relu, slope for leaky_relu (theory section 1).
     */
    void (*act_value)(gm_activation act, size_t n, const void *z, void *a);
    /* The derivative times a direction, out = phi'(z) * u, or out += where accumulate; out may be
     * u. For identity, relu, leaky_relu, tanh and sigmoid only a = phi(z) is read and z may be
     * NULL; for softplus and gelu only z. */
    void (*act_slope)(gm_activation act, size_t n, const void *z, const void *a, const void *u,
                      bool accumulate, void *out);
    /* out (+)= phi'(z) * u + phi''(z) * zdot * signal: the tangent of the backward pass. zdot and
     * signal NULL where they are zero or phi'' = 0. */
    void (*act_curve)(gm_activation act, size_t n, const void *z, const void *a, const void *u,
                      const void *zdot, const void *signal, bool accumulate, void *out);

    /* y = f(x); y may be x. */
    void (*unary_value)(const gm_function *f, size_t n, const void *x, void *y);
    /* For each of b directions, out [b, n] (+)= f'(x) u + f''(x) xdot signal, u and xdot [b, n],
     * signal [n]; the second term is left out where xdot or signal is NULL. point: x, or y = f(x)
     * where gm_unary_reads_out, or NULL for an affine f. out may be u. */
    void (*unary_backward)(const gm_function *f, size_t n, size_t b, const void *point,
                           const void *u, const void *xdot, const void *signal, bool add,
                           void *out);

    /* Functions of two operands of n samples, repeated as g says; x [n, g->operand[0]], y [n,
     * g->operand[1]], out [n, g->size]. With b directions:
     *   tangent    out = f_x xdot + f_y ydot, xdot [b, n, operand], or NULL for 0
     *   backward   d (+)= f_w s for operand w, summed where it is repeated; s [b, n, g->size]
     *   bend       d += (f_wx xdot + f_wy ydot) s likewise; s [n, g->size]
     * x and y may be NULL where gm_binary_reads_in is false. Sums are taken in double along the
     * last axis of g and in REAL over the others. */
    void (*binary_value)(gm_binary f, const gm_broadcast *g, size_t n, const void *x, const void *y,
                         void *out);
    void (*binary_tangent)(gm_binary f, const gm_broadcast *g, size_t n, size_t b, const void *x,
                           const void *y, const void *xdot, const void *ydot, void *out);
    void (*binary_backward)(gm_binary f, const gm_broadcast *g, int w, size_t n, size_t b,
                            const void *x, const void *y, const void *s, bool add, void *d);
    void (*binary_bend)(gm_binary f, const gm_broadcast *g, int w, size_t n, size_t b,
                        const void *x, const void *y, const void *xdot, const void *ydot,
                        const void *s, void *d);
    /* With operand 0 of g alone: out [n, g->size] (+)= scale x, repeated; and out [n, operand]
     * (+)= scale times the sums of x [n, g->size]. */
    void (*repeat_axes)(const gm_broadcast *g, size_t n, double scale, const void *x, bool add,
                        void *out);
    void (*sum_axes)(const gm_broadcast *g, size_t n, double scale, const void *x, bool add,
                     void *out);

    /* Softmax over the middle axis of x [n, classes, inner], or its logarithm. y is that value p or
     * log p in what follows:
     *   slope  out (+)= J u: p (u - p.u), the logarithm's u - p.u; transposed: u - p sum u
     *   bend   d += the derivative of J^T s along xdot: pdot (s - p.s) - p (pdot.s), the
     *          logarithm's -pdot sum s
     * out may be u. A row of -infinity gives NaN. Sums in double, differences to the entry of the
     * largest p. */
    void (*softmax_value)(bool log, size_t n, size_t classes, size_t inner, const void *x, void *y);
    void (*softmax_slope)(bool log, bool transposed, size_t n, size_t classes, size_t inner,
                          const void *y, const void *u, bool add, void *out);
    void (*softmax_bend)(bool log, size_t n, size_t classes, size_t inner, const void *y,
                         const void *xdot, const void *s, void *d);

    /* Rows of d numbers less their mean and over the root r^-1 of their variance (the mean square)
     * plus epsilon: z [n, d] and inverse [n] = r. Its derivative is the symmetric L u = r (u - mean
     * u - z mean(z u)):
     *   slope  out (+)= L u; out may be u
     *   bend   out += the derivative of L t along xdot. */
    void (*standardize)(size_t n, size_t d, double epsilon, const void *x, void *z,
                        double *inverse);
    void (*standardize_slope)(size_t n, size_t d, const void *z, const double *inverse,
                              const void *u, bool add, void *out);
    void (*standardize_bend)(size_t n, size_t d, const void *z, const double *inverse,
                             const void *xdot, const void *t, void *out);

    /* Softmax cross-entropy of logits z [n, K] with labels y: loss[i] (double, log-sum-exp form),
     * prob [n, K] = softmax, signal [n, K] = prob - onehot(y), where entry y is -(sum of the other
     * probabilities). wrong[i] = 1 where the arg-max (first of equals) is not y. Any output may be
     * NULL; prob may be z. A row with y < 0 is masked: all its outputs are 0. softmax_signal: the
     * same signal, to the bit, from prob. */
    void (*softmax_loss)(size_t n, size_t classes, const void *z, const int32_t *y, double *loss,
                         uint8_t *wrong, void *prob, void *signal);
    void (*softmax_signal)(size_t n, size_t classes, const void *prob, const int32_t *y,
                           void *signal);
    /* Squared loss 1/2 sum (z - target)^2: loss[i], signal [n, K] = z - target; wrong[i] by the
     * arg-max of both. */
    void (*squared_loss)(size_t n, size_t outputs, const void *z, const double *target,
                         double *loss, uint8_t *wrong, void *signal);
    /* out [n, K] = (diag(p) - p p^T) u row by row, relative to the entry of the largest p so that a
     * saturated softmax keeps its accuracy: out_c = p_c (u_c - u_top - sum_d p_d (u_d - u_top)).
     * out may be u. */
    void (*softmax_metric)(size_t n, size_t classes, const void *prob, const void *u, void *out);
    /* out [n, K] = column c of S, S S^T = diag(p) - p p^T: out_d = (d == c ? sqrt(p_c) sum_{e != c}
     * p_e : -p_d sqrt(p_c)). */
    void (*softmax_factor)(size_t n, size_t classes, const void *prob, size_t c, void *out);

    /* One step of SGD on n parameters: g = gradient + decay theta; with momentum: v = beta v + g,
     * step = nesterov ? g + beta v : v; theta -= eta step. velocity may be NULL where beta = 0. */
    void (*sgd_step)(size_t n, double eta, double beta, bool nesterov, double decay,
                     const void *gradient, void *velocity, void *theta);
    /* theta -= eta g / (diagonal + epsilon), g = gradient + decay theta. */
    void (*scaled_step)(size_t n, double eta, double decay, double epsilon, const void *gradient,
                        const void *diagonal, void *theta);
    /* theta -= eta g / (sqrt(square) + epsilon), g as above; then square = keep square + add g^2:
     * what divides does not know g. `with`: square first, so that it does. */
    void (*adaptive_step)(size_t n, double eta, double decay, double epsilon, double keep,
                          double add, bool with, const void *gradient, void *square, void *theta);
    /* Adam: mean = beta1 mean + (1 - beta1) g, square = beta2 square + (1 - beta2) g^2; then theta
     * -= eta mean / (sqrt(square) root + epsilon), g as above. eta and root hold the corrections of
     * the bias, 1 / (1 - beta1^t) and 1 / sqrt(1 - beta2^t). */
    void (*adam_step)(size_t n, double eta, double decay, double epsilon, double beta1,
                      double beta2, double root, const void *gradient, void *mean, void *square,
                      void *theta);

    /* Tiles: matrices [d, n] whose columns are samples, n a multiple of lanes. These never start
     * threads, and a column's bits depend on nothing but its own numbers and k.
     *
     * C [m, n] = A B, + bias [m] where not NULL, + C where add; negative entries become 0 where
     * rectify. Entry (i, l) of A [m, k] is a[i a_row + l a_column]. */
    void (*tile_product)(size_t m, size_t n, size_t k, const void *a, size_t a_row, size_t a_column,
                         const void *b, size_t ldb, const void *bias, bool add, bool rectify,
                         void *c, size_t ldc);
    /* out [columns, rows] = x [rows, columns], transposed. */
    void (*transpose)(size_t rows, size_t columns, const void *x, size_t ldx, void *out,
                      size_t ldo);
    /* As softmax_loss, for logits z [classes, n] of which the first `count` columns are samples:
     * their losses are added to *loss, the wrong ones to *wrong; signal [classes, n] (may be NULL)
     * is 0 in the other columns. y [n], 0 beyond count. Exponentials are taken in REAL. */
    void (*tile_softmax)(size_t n, size_t count, size_t classes, const void *z, const int32_t *y,
                         double *loss, size_t *wrong, void *signal);
    /* As squared_loss, likewise; target [outputs, n], y the rows of the targets' largest entries.
     */
    void (*tile_squared)(size_t n, size_t count, size_t outputs, const void *z, const int32_t *y,
                         const double *target, double *loss, size_t *wrong, void *signal);
} gm_kernels;

/* The table for a precision on this processor: the widest instruction set that both the build and
 * the processor have, or the one that environment variable GRADIOMETER_ISA names (baseline, avx2,
 * avx512). Never NULL. */
const gm_kernels *gm_kernels_get(gm_dtype dtype);

/* Parses "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "identity"; false for
 * anything else. */
bool gm_activation_parse(const char *name, size_t length, gm_activation *act);
const char *gm_activation_name(gm_activation act);

#endif
