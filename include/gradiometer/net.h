/* A network: a directed acyclic graph of layers over one flat parameter vector. It holds no numbers
 * of its own. */
#ifndef GRADIOMETER_NET_H
#define GRADIOMETER_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/status.h"
#include "gradiometer/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gm_net gm_net;

/* A layer that has parameters: a contiguous slice of the flat vector. */
typedef struct gm_net_layer {
    const char *name; /* "conv1", "dense1", "dense2", ...; owned by the net */
    size_t offset;    /* of its first parameter */
    size_t parameters;
} gm_net_layer;

/* Builds the net that spec names (docs/guide.md, "Nets"): "mlp:50-30-30-10",
 * "mlp:784-512-10,act=tanh,bias=no"; "cnn:16-32-64", "lenet", "resnet20" on images. input and
 * classes are what the data has (input may be NULL and classes 0 where no data is at hand, for an
 * mlp). *net is the caller's (gm_net_free). GM_ERR_USAGE where the spec is none,
 * GM_ERR_INPUT where the net does not fit input or classes, with both numbers; GM_ERR_MEMORY. */
gm_status gm_net_from_spec(const char *spec, const gm_shape *input, size_t classes, gm_net **net,
                           gm_error *err);
/* True where the spec leaves the shape of its input and the number of its outputs to the data. */
bool gm_net_spec_asks_data(const char *spec);
void gm_net_free(gm_net *net);

const char *gm_net_name(const gm_net *net);                    /* the spec as resolved */
size_t gm_net_parameters(const gm_net *net);                   /* p */
size_t gm_net_inputs(const gm_net *net);                       /* numbers in one sample */
size_t gm_net_outputs(const gm_net *net);                      /* K */
size_t gm_net_layers(const gm_net *net);                       /* layers with parameters */
gm_net_layer gm_net_layer_at(const gm_net *net, size_t index); /* index < gm_net_layers */
/* Layer by name, or by index written as a number (0 = the first with parameters). GM_ERR_USAGE
 * lists what there is. */
gm_status gm_net_find_layer(const gm_net *net, const char *name, size_t *index, gm_error *err);

/* A parameter tensor: a contiguous piece of its layer's slice. */
typedef struct gm_net_tensor {
    const char *name; /* "dense1.weight", or a name of its own; owned by the net */
    size_t layer;     /* index of its layer */
    size_t offset;    /* of its first number in the flat vector */
    gm_shape shape;
} gm_net_tensor;
size_t gm_net_tensors(const gm_net *net);
gm_net_tensor gm_net_tensor_at(const gm_net *net, size_t index); /* layer by layer */

/* Makes a group of parameters: the tensors whose names, or whose layers' names, match the pattern
 * (fnmatch: "blocks.*.attn.*"). *index, gm_net_layers(net) or more, names it wherever an operator
 * is restricted to a layer, and gm_net_layer_at gives the pattern, the number of parameters and the
 * offset of the first. GM_ERR_USAGE where nothing matches, with what there is. */
gm_status gm_net_add_group(gm_net *net, const char *pattern, size_t *index, gm_error *err);
/* The slices of a group, ascending, neighbours joined: *slice [returned], owned by the net. 0 and
 * NULL where the index is that of a layer. */
size_t gm_net_group_slices(const gm_net *net, size_t index, const gm_slice **slice);
/* True where the tensor is part of that layer or group. */
bool gm_net_holds(const gm_net *net, size_t index, const gm_net_tensor *tensor);

/* Reads theta [p] from a file: .safetensors, or else .npy with one flat vector.
 *
 * Tensors are matched by name where those of the net have names of their own, and where the file
 * has all the net's names ("dense1.weight"). Else its floating tensors are taken in their order in
 * the file, or, where that is alphabetical (as safetensors' own library writes), in natural order
 * of names ("2.weight" before "10.weight") with the weight of a layer first. Shapes must agree.
 *
 * GM_ERR_INPUT in one line that names file, tensor, what was found and what was expected; also for
 * NaN and infinity. note (NULL: not wanted) says which tensors of the file were left aside, its
 * message empty where there are none. */
gm_status gm_net_read_parameters(const gm_net *net, const char *path, double *theta, gm_error *note,
                                 gm_error *err);
/* Writes theta [p] as .safetensors under the tensors' names, in F32 where that loses nothing, else
 * in F64; whole or not at all. */
gm_status gm_net_write_parameters(const gm_net *net, const char *path, const double *theta,
                                  gm_error *err);

/* True where every logit is linear in each single weight, so that diag(H) = diag(G) exactly (theory
 * section 1). */
bool gm_net_piecewise_linear(const gm_net *net);
/* True where all activations are positively homogeneous (theory section 4). */
bool gm_net_homogeneous(const gm_net *net);

typedef enum gm_init { GM_INIT_HE, GM_INIT_GLOROT } gm_init;

/* Random initialization, theta [p]: weights N(0, 2/fan_in) (He et al. 2015, arXiv 1502.01852) or
 * N(0, 2/(fan_in + fan_out)) (Glorot and Bengio 2010), biases 0. Parameter j is draw j of stream
 * (seed, GM_PURPOSE_INIT, run). */
void gm_net_init(const gm_net *net, gm_init init, uint64_t seed, uint32_t run, double *theta);

#ifdef __cplusplus
}
#endif
#endif
