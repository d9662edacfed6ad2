/* Inside of a network, for the rooms that walk over it (diff, curvature). */
#ifndef GM_NET_NET_H
#define GM_NET_NET_H

#include "gradiometer/net.h"
#include "layers/layer.h"

/* One node: an input (kind NULL, node 0 only) or a layer. Nodes stand in topological order: inputs
 * before users. */
typedef struct gm_node {
    const gm_layer_kind *kind;
    void *config;
    char *name; /* of layers with parameters, else NULL */
    unsigned traits;
    int inputs;
    int input[GM_MAX_INPUTS];
    bool input_shared[GM_MAX_INPUTS]; /* another node, or an earlier slot of this one, sends its
                                         signal there first */
    gm_shape in_shape[GM_MAX_INPUTS];
    gm_shape shape;
    size_t size; /* elements of shape */
    int tensors;
    gm_tensor tensor[GM_MAX_TENSORS];
    char *tensor_name[GM_MAX_TENSORS]; /* in files: "dense1.weight", or a name of its own */
    size_t offset, parameters;         /* slice of the flat vector */
    int layer;                         /* index among the layers with parameters, -1 without */
    int owner; /* the node that brought the slice in: itself, or what it is tied to */
} gm_node;

/* Parameters that a pattern chose. */
typedef struct gm_net_group {
    char *pattern;
    size_t parameters, slices;
    gm_slice *slice; /* [slices] */
} gm_net_group;

struct gm_net {
    char *name;
    int nodes, capacity;
    gm_node *node; /* node 0 is the input, the last one the logits */
    size_t parameters;
    bool named; /* tensors have names of their own, from where the net comes from */
    int layers;
    int *layer_node; /* [layers]: node of each layer with parameters */
    size_t groups;
    gm_net_group *group; /* [groups] */
    int constants;
    double **constant; /* [constants]: numbers that configurations point to */
};

/* Building: create with the shape of a sample, add layers in topological order, done when the last
 * one added is the output. gm_net_add copies config, infers shapes and returns the node's index in
 * *node. */
gm_status gm_net_create(const char *name, const gm_shape *input, gm_net **net, gm_error *err);
gm_status gm_net_add(gm_net *net, const gm_layer_kind *kind, const void *config, int inputs,
                     const int *input, const char *name, int *node, gm_error *err);

/* As gm_net_add, for a layer with the parameters of node `owner`: one slice of the flat vector, met
 * twice. Gradients and products add up over both; neither keeps GM_TRAIT_OUTER, GM_TRAIT_PIECEWISE
 * and GM_TRAIT_HOMOGENEOUS, so that what holds for a weight met once is not taken for granted.
 * GM_ERR_INPUT where the tensors have other shapes. */
gm_status gm_net_add_tied(gm_net *net, const gm_layer_kind *kind, const void *config, int inputs,
                          const int *input, int owner, int *node, gm_error *err);
/* Gives tensor number t of a node a name of its own (copied), under which files of parameters hold
 * it; without, it is "LAYER.TENSOR". */
gm_status gm_net_name_tensor(gm_net *net, int node, int t, const char *name, gm_error *err);
/* The node's slice of the flat vector begins at offset instead of behind those before it. Once all
 * are placed, gm_net_settle says how long the vector is and puts the layers in its order. */
void gm_net_place(gm_net *net, int node, size_t offset);
void gm_net_settle(gm_net *net, size_t parameters);

/* *kept = a copy of numbers [count] that lives as long as the net: for constants that a layer's
 * configuration points to. */
gm_status gm_net_keep(gm_net *net, size_t count, const double *numbers, const double **kept,
                      gm_error *err);

void gm_net_free_groups(gm_net *net);

/* Widths and keys of a spec. */
enum { GM_MAX_WIDTHS = 256 };
typedef struct gm_net_widths {
    size_t width[GM_MAX_WIDTHS];
    int widths;
    gm_activation act;
    bool bias;
} gm_net_widths;

/* The built-in nets on images [C, H, W], in src/net/images.c. On failure *net may be half built and
 * is still the caller's. */
gm_status gm_net_build_cnn(const char *spec, const gm_net_widths *w, const gm_shape *input,
                           size_t classes, gm_net **net, gm_error *err);
gm_status gm_net_build_resnet20(const char *spec, const gm_shape *input, size_t classes,
                                gm_net **net, gm_error *err);
gm_status gm_net_build_lenet(const char *spec, const gm_shape *input, size_t classes, gm_net **net,
                             gm_error *err);

#endif
