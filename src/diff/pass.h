/* Passes over the graph for one chunk of samples: value, loss, backward, tangent, and the tangent
 * of backward.
 *
 * Symbols: a chunk holds the values a and the backward signals s = d(loss of the sample)/da of the
 * unperturbed net; "tangent" is adot along a direction in the parameters (or from a seed),
 * "tsignal" is sdot. Per-node arrays of b directions are [b, n, size of the node], in the precision
 * of the engine's kernels. */
#ifndef GM_DIFF_PASS_H
#define GM_DIFF_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/diff.h"
#include "kernels/kernels.h"
#include "net/net.h"

/* Directions that one pass may carry at most. */
enum { GM_MAX_BLOCK = 32 };

typedef struct gm_engine {
    const gm_net *net;
    const gm_kernels *k;
    gm_loss loss;
    size_t
        positions; /* T: the output is [T, K] with a label at each position, whose losses weigh */
    double weight; /* this much in their sample's; else 1 and 1 */
    gm_scratch scratch; /* of the thread that runs the passes: gm_pass_scratch bytes */
} gm_engine;

/* One chunk of samples at one point theta. */
typedef struct gm_chunk {
    size_t first, n;      /* samples first ... first + n - 1 of the data */
    const void *theta;    /* [p] */
    void **value;         /* [nodes]: value[0] the samples' features; NULL where not kept */
    void **signal;        /* [nodes]: NULL where not kept */
    void *prob;           /* [n, outputs] softmax of the logits (cross-entropy only); it may lie in
                             the place of the logits */
    const int32_t *label; /* [n, positions], or */
    const double *target; /* [n, K] */
} gm_chunk;

/* A direction for each sample of its own: H_i v as a tangent pass along v and its tangent of the
 * backward pass leave it, at each layer sdot (x) (a, 1) + s (x) (adot, 0) with the sample's input a
 * and signal s. Of layers whose gradient is an outer product (GM_TRAIT_OUTER) alone. */
typedef struct gm_own_directions {
    const bool *moves;                     /* [nodes] that have a tangent */
    void *const *tangent, *const *tsignal; /* [nodes] [b, n, size]: adot and sdot */
    void *work;                            /* [n, largest width] */
    double *dots;                          /* [n] */
} gm_own_directions;

/* Directions in a contiguous block of the parameters (all of them, or one layer's). */
typedef struct gm_directions {
    size_t count;                 /* b <= GM_MAX_BLOCK */
    size_t offset, size;          /* of the block in the flat vector */
    const void *const *v;         /* [count] read by tangent passes, each [block size] */
    void *const *sum;             /* [count] added to by backward passes, each [block size] */
    const gm_own_directions *own; /* in the place of v, or NULL */
} gm_directions;

/* member[node] = the node's output depends on the parameters of `layer` (GM_ALL_LAYERS = -1: of any
 * layer). These nodes have tangents, and signals are wanted at them. */
void gm_pass_active(const gm_net *net, int layer, bool *member);
/* Whether the value / the unperturbed signal of a node is read by the passes below once the chunk
 * is linearized. */
bool gm_pass_keeps_value(const gm_net *net, int node);
bool gm_pass_keeps_signal(const gm_net *net, int node);

/* Bytes of scratch that passes over at most n samples and b directions need. */
size_t gm_pass_scratch(const gm_engine *e, size_t n, size_t b);

/* All values from value[0]. */
void gm_pass_value(const gm_engine *e, const gm_chunk *c);

/* Loss [n] of each sample and wrong [n, positions], each may be NULL; loss has room for [n,
 * positions]. Where signal[last] is not NULL it is written, and prob. */
void gm_pass_loss(const gm_engine *e, const gm_chunk *c, double *loss, uint8_t *wrong);

/* Under cross-entropy the signal at the output again, to the bit, from prob: a chunk that is kept
 * has prob alone, one copy of the logits. */
void gm_pass_output_signal(const gm_engine *e, const gm_chunk *c);

/* b signals from the output (signal[last] given, [b, n, K]) back to the nodes in `wanted`;
 * parameter gradients are added to d->sum (d NULL: none). signal[i] of wanted nodes is written. */
void gm_pass_backward(const gm_engine *e, const gm_chunk *c, const bool *wanted, size_t b,
                      void *const *signal, const gm_directions *d);

/* tangent[i] for the nodes in `moves` that come after node `seed`. seed = 0: along d->v. seed > 0:
 * tangent[seed] is given and parameters stay put (d NULL). */
void gm_pass_tangent(const gm_engine *e, const gm_chunk *c, const bool *moves, int seed, size_t b,
                     const gm_directions *d, void *const *tangent);

/* What the loss does to a tangent of the logits. */
typedef enum gm_root {
    GM_ROOT_METRIC,   /* Lambda zdot: H and G */
    GM_ROOT_RESIDUAL, /* (Lambda - r r^T) zdot, r = e_y - p or y - z: minus H_p (theory section 1,
                         "Decomposition") */
    GM_ROOT_ZERO      /* 0: R = H - G without the cancellation */
} gm_root;

/* out [b, n, K] from tangent [b, n, K] of the logits. */
void gm_pass_root(const gm_engine *e, const gm_chunk *c, gm_root root, size_t b,
                  const void *tangent, void *out);

/* The tangent of the backward pass from tsignal[last] back to the nodes in `wanted`; tangents of
 * nodes in `moves` are read, d->v too (d->v NULL: parameters stay put), gradients' tangents are
 * added to d->sum (d NULL: none). */
void gm_pass_tangent_backward(const gm_engine *e, const gm_chunk *c, const bool *moves,
                              const bool *wanted, size_t b, const gm_directions *d,
                              void *const *tangent, void *const *tsignal);

/* t[j n + i] = d/d eps of the loss of sample i along direction j = g_i . v_j, added up layer by
 * layer from the kept signals: one product per layer. work [b, n, largest width]. */
void gm_pass_dots(const gm_engine *e, const gm_chunk *c, const gm_directions *d, void *work,
                  double *t);

/* gradient [parameters of the node] = that of sample i in the node's slice of the parameters, from
 * the signals of row `row` at it and at the nodes tied to it; signal [nodes] of [rows, size]. */
void gm_pass_sample_gradient(const gm_engine *e, const gm_chunk *c, int node, size_t i,
                             void *const *signal, size_t row, void *gradient);

/* d->sum[j] += sum_i t[j n + i] g_i from the kept signals: one product per layer. */
void gm_pass_weighted(const gm_engine *e, const gm_chunk *c, const gm_directions *d,
                      const double *t, void *work);

#endif
