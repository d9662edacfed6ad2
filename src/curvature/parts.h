/* Shared by the files of this room: the block of parameters that an operator is restricted to. */
#ifndef GM_CURVATURE_PARTS_H
#define GM_CURVATURE_PARTS_H

#include "diff/problem.h"
#include "gradiometer/curvature.h"

typedef struct gm_part {
    size_t offset, size;         /* in the flat vector */
    int first_layer, last_layer; /* layers with parameters first ... last */
} gm_part;

/* The whole net or one layer; GM_ERR_USAGE where there is no such layer. */
gm_status gm_part_of(const gm_linearization *lin, int layer, gm_part *part, gm_error *err);

static inline const gm_engine *gm_engine_of(const gm_linearization *lin)
{
    return &lin->problem->engine;
}

/* What the loss does to a tangent of the logits in a pass for H, G, R or H_p (minus H_p, that is).
 */
gm_root gm_root_of(gm_curvature kind);

/* True where the per-sample gradient of every layer in the part is an outer product signal (x)
 * (input, 1). */
bool gm_part_outer(const gm_linearization *lin, const gm_part *part);

/* A layer with parameters whose per-sample gradient is signal (x) (input, 1). Any other one, a
 * convolution say, whose weights act at several positions, is seen as one unit per parameter with
 * the constant input 1: its "signal" is the per-sample gradient itself. */
typedef struct gm_outer_layer {
    int node;
    bool outer;
    size_t in, out; /* widths */
    size_t aug;     /* in + 1 with a bias, else in: numbers per unit */
    size_t offset;  /* of its slice within the part */
} gm_outer_layer;

/* The layers of the part, [last_layer - first_layer + 1], freed by gm_free. */
gm_outer_layer *gm_part_layers(const gm_linearization *lin, const gm_part *part, gm_error *err);

/* out [n, aug] = the layer's inputs for the chunk in double, with a last column of ones where it
 * has a bias. */
void gm_augmented_input(const gm_engine *e, const gm_chunk *c, const gm_outer_layer *layer,
                        double *out);

/* Numbers of the largest layer in the list that is no outer product; 0 where there is none. */
size_t gm_widest_shared(const gm_outer_layer *layer, size_t layers);

/* out [out] = the layer's signal for sample i in double, from row `row` of the signals [nodes] of
 * [rows, size] in the kernels' precision. own [gm_widest_shared] of the kernels' precision: one
 * gradient on its way. */
void gm_layer_signal(const gm_engine *e, const gm_chunk *c, const gm_outer_layer *layer, size_t i,
                     void *const *signal, size_t row, void *own, double *out);
/* The same for all samples of the chunk, row i that of sample i: out [n, out]. */
void gm_layer_signals(const gm_engine *e, const gm_chunk *c, const gm_outer_layer *layer,
                      void *const *signal, void *own, double *out);

/* Adds unit-major numbers [out, aug] (each unit's weights, then its bias) to the layer's slice:
 * weights [out, in], then biases [out]. */
void gm_unpack_units(const gm_outer_layer *layer, const double *units, double scale, double *slice);

/* Backward passes of the root signals S_i e_c (squared loss: e_c), c = c0 ... c0 + b - 1, from the
 * output to the wanted nodes: the worker's tsignal holds them afterwards, [b, n, size]. b <= the
 * problem's block. */
void gm_factor_backward(gm_worker *w, const gm_chunk *chunk, const bool *wanted, size_t c0,
                        size_t b);

/* gm_squares_operator, sample by sample on demand as for layers without an outer product. */
gm_status gm_squares_make(gm_linearization *lin, int layer, bool by_sample, gm_operator *op,
                          gm_error *err);

/* gm_hessian_forms, likewise. */
gm_status gm_forms_make(gm_linearization *lin, size_t k, const double *u, bool by_sample,
                        double *form, gm_error *err);

/* Tangent pass along d and its tangent of the backward pass for H, with the gradients' tangents
 * into d->sum where there is one. */
void gm_hessian_pass(const gm_engine *e, const gm_chunk *c, const bool *active,
                     const gm_directions *d, void *const *tangent, void *const *tsignal);

/* form[i] += v . H_i v of each sample of c, d one direction v of the whole net: with the tangents
 * along it (gm_pass_tangent, in tangent), the sum of zdot . Lambda zdot at the logits, 2 s . (V
 * adot) at the layers and s phi'' zdot^2 at the activations; no backward pass. For nets of dense
 * layers and activations. root [n, K] and work [2, n, largest width] are written over. */
void gm_sample_curvature(const gm_engine *e, const gm_chunk *c, const bool *moves,
                         const gm_directions *d, void *const *tangent, void *root, void *work,
                         double *form);

#endif
