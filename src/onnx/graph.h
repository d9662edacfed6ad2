/* A model's graph on its way to a net.
 *
 * Everything is worked out for a batch of one sample: all shapes are those of the file with its
 * batch dimension 1, so that wherever a graph carries the batch, through transpositions and merged
 * axes, the numbers are those of one sample, and shapes that the graph computes are constants.
 * (Or for a batch of `together` samples, the whole of which is then a sample of the net: what
 * operators do to samples one at a time, they do to each of them; run_node in import.c.) A
 * value is one of three things: numbers that are known (CONSTANT), an initializer that is a
 * parameter (PARAMETER), or what a node of the net computes from the sample (ACTIVATION). */
#ifndef GM_ONNX_GRAPH_H
#define GM_ONNX_GRAPH_H

#include "gradiometer/onnx.h"
#include "net/net.h"
#include "onnx/tensor.h"

typedef enum gm_onnx_what {
    GM_ONNX_UNSET,
    GM_ONNX_CONSTANT,
    GM_ONNX_PARAMETER,
    GM_ONNX_ACTIVATION
} gm_onnx_what;

/* How an initializer becomes part of layers. Where two layers need it in different ways the net is
 * built again with fewer ties, until it is an operand of all that read it. */
typedef enum gm_onnx_ties {
    GM_ONNX_JOINS,  /* weight and bias that follow each other may be one layer's */
    GM_ONNX_ALONE,  /* a layer's, without another */
    GM_ONNX_OPERAND /* a tensor by itself, that other layers read */
} gm_onnx_ties;

typedef struct gm_onnx_value {
    const char *name;
    gm_onnx_what what;
    gm_onnx_tensor tensor; /* shape of each; numbers of constants and initializers, owned */
    int initializer;       /* index among the file's, -1: none; a parameter's views keep it */
    bool swapped;          /* PARAMETER: the initializer's matrix, transposed */
    gm_onnx_ties ties;     /* PARAMETER: what layers may do with it */
    int node;              /* node of the net with the numbers in this order, and */
    int last;              /* with the channels last; -1: not there (yet) */
    int maker;             /* node of the graph that makes it, -1: an input or initializer */
    size_t users;          /* slots of needed nodes that read it, and 1 for the logits */
    int user;              /* one of these nodes */
    bool moves;            /* depends on the sample */
    bool weighs;           /* enters what depends on the sample, in a slot for weights */
} gm_onnx_value;

/* Names to values: open addressing over indices + 1. */
typedef struct gm_onnx_names {
    size_t size; /* a power of two */
    uint32_t *slot;
} gm_onnx_names;

struct gm_onnx_op;

typedef struct gm_onnx_graph {
    const char *path;
    gm_onnx_folder folder;
    Onnx__ModelProto *model;
    const Onnx__GraphProto *proto;
    int opset;
    const char *constants; /* patterns of names, NULL: none */
    bool unbatched;        /* the input is one sample */
    bool batch_of_one;     /* the file fixes its batch at 1 */
    size_t together;       /* samples of the batch that all is worked out for */
    size_t values;
    gm_onnx_value *value;
    gm_onnx_names names;
    size_t nodes;
    int *order;                   /* [nodes] of the graph, makers before users */
    bool *needed, *done;          /* [nodes] */
    const struct gm_onnx_op **op; /* [nodes], of needed ones */
    gm_onnx_value *input, *logits;
    int initializers;
    size_t *offset; /* [initializers] in the flat vector, SIZE_MAX: no parameter */
    int *owner;     /* [initializers] node of the net that has taken it first; 0: none */
    size_t parameters;
    bool torn;     /* two layers needed an initializer in different ways */
    size_t folded; /* numbers of all constants that the graph has computed */
    gm_net *net;
} gm_onnx_graph;

/* One node of the graph at work. */
typedef struct gm_onnx_step {
    gm_onnx_graph *g;
    int index;
    const Onnx__NodeProto *node;
    const struct gm_onnx_op *op;
} gm_onnx_step;

typedef gm_status gm_onnx_work(gm_onnx_step *s, gm_error *err);

/* An operator. `emit` adds its layers, `fold` computes it on constants; NULL: cannot. */
typedef struct gm_onnx_op {
    const char *name;
    gm_onnx_work *emit, *fold;
    unsigned least, most;   /* inputs; most 0: any number */
    unsigned plain;         /* bits: slots whose initializers are constants, never parameters */
    int since;              /* opset, 0: all that are read */
    const char *attributes; /* "axis:i axes:I alpha:f mode:s value:t"; "*": all */
} gm_onnx_op;

/* NULL: not supported. */
const gm_onnx_op *gm_onnx_op_find(const char *name);

/* ---- names.c ---- */

gm_status gm_onnx_names_make(size_t values, gm_onnx_names *names, gm_error *err);
void gm_onnx_names_free(gm_onnx_names *names);
/* The value of that name, NULL without. */
gm_onnx_value *gm_onnx_value_find(const gm_onnx_graph *g, const char *name);
/* A new value; GM_ERR_INPUT where the name is taken. */
gm_status gm_onnx_value_add(gm_onnx_graph *g, const char *name, gm_onnx_value **value,
                            gm_error *err);

/* ---- graph.c ---- */

/* Values, order and needed nodes of the graph whose model is read; logits NULL: its only output. */
gm_status gm_onnx_graph_open(gm_onnx_graph *g, const char *logits, gm_error *err);
void gm_onnx_graph_close(gm_onnx_graph *g);

/* ---- roles.c ---- */

/* Which initializers are parameters, in the file's order, and the numbers of the needed ones. */
gm_status gm_onnx_graph_roles(gm_onnx_graph *g, gm_error *err);

/* ---- step.c: what operators are written with ---- */

/* A refusal that names file, node, operator and opset. */
__attribute__((format(printf, 3, 4))) gm_status gm_onnx_refuse(const gm_onnx_step *s, gm_error *err,
                                                               const char *format, ...);

/* Input or output by slot; NULL where left out. */
gm_onnx_value *gm_onnx_in(const gm_onnx_step *s, size_t slot);
gm_onnx_value *gm_onnx_out(const gm_onnx_step *s, size_t slot);
/* True where something reads that output. */
bool gm_onnx_wanted(const gm_onnx_step *s, size_t slot);

/* Attributes, checked by gm_onnx_check_attributes before an operator runs. */
gm_status gm_onnx_check_attributes(const gm_onnx_step *s, gm_error *err);
int64_t gm_onnx_int(const gm_onnx_step *s, const char *name, int64_t otherwise);
double gm_onnx_float(const gm_onnx_step *s, const char *name, double otherwise);
bool gm_onnx_text_is(const gm_onnx_step *s, const char *name, const char *text,
                     bool otherwise); /* otherwise: where it is not given */
/* Bytes of a text, without a 0 behind them; "" where it is not given. */
const char *gm_onnx_text(const gm_onnx_step *s, const char *name, size_t *length);
const int64_t *gm_onnx_ints(const gm_onnx_step *s, const char *name, size_t *count);
const Onnx__TensorProto *gm_onnx_tensor_of(const gm_onnx_step *s, const char *name);

/* *axis of 0 ... rank - 1 from one that may count from the end. */
gm_status gm_onnx_axis(const gm_onnx_step *s, int64_t given, int rank, int *axis, gm_error *err);
/* The constant whole numbers of an input slot; *count 0 and NULL where it is left out. */
gm_status gm_onnx_wholes(const gm_onnx_step *s, size_t slot, const int64_t **numbers, size_t *count,
                         gm_error *err);
/* Axes of an attribute (of older opsets) or of an input slot: wanted[rank]. *given tells whether
 * there were any. */
gm_status gm_onnx_axes(const gm_onnx_step *s, size_t slot, int rank, bool *wanted, bool *given,
                       gm_error *err);
/* A constant number of an input slot of one element; `otherwise` where it is left out. */
gm_status gm_onnx_scalar(const gm_onnx_step *s, size_t slot, double otherwise, double *number,
                         gm_error *err);

/* ---- fold.c: constants ---- */

/* What operators share on constants. *out becomes a constant output of that class and shape, its
 * numbers to be filled in. */
gm_status gm_onnx_fold_make(const gm_onnx_step *s, size_t slot, gm_onnx_class of, int rank,
                            const size_t *dim, gm_onnx_tensor **out, gm_error *err);
/* Counts numbers of a constant that the graph makes; refuses more than are sensible. */
gm_status gm_onnx_count_folded(const gm_onnx_step *s, size_t count, gm_error *err);
/* Copies in->numbers[base + sum index[i] stride[i]] for every index of out. */
void gm_onnx_fold_strided(const gm_onnx_tensor *in, ptrdiff_t base, const ptrdiff_t *stride,
                          gm_onnx_tensor *out);
/* Distance between neighbours along each axis. */
void gm_onnx_strides(const gm_onnx_tensor *t, ptrdiff_t *stride);
/* Shape to which a and b broadcast; false where they do not. Rank and dim of *joint are set. */
bool gm_onnx_broadcast(const gm_onnx_tensor *a, const gm_onnx_tensor *b, gm_onnx_tensor *joint);
/* Strides of t broadcast to joint. */
void gm_onnx_broadcast_strides(const gm_onnx_tensor *t, const gm_onnx_tensor *joint,
                               ptrdiff_t *stride);

/* ---- views.c: shapes that views of constants and activations have in common ---- */

gm_status gm_onnx_reshape_dims(const gm_onnx_step *s, const gm_onnx_tensor *in, int *rank,
                               size_t *dim, gm_error *err);

/* A slice along every axis: start, step, count. */
typedef struct gm_onnx_range {
    int64_t start[GM_ONNX_RANK], step[GM_ONNX_RANK];
    size_t count[GM_ONNX_RANK];
} gm_onnx_range;
gm_status gm_onnx_slice_range(const gm_onnx_step *s, const gm_onnx_tensor *in, gm_onnx_range *r,
                              gm_error *err);
/* Axis i of the output is axis[i] of the input. */
gm_status gm_onnx_permutation(const gm_onnx_step *s, int rank, int *axis, gm_error *err);
gm_status gm_onnx_expand_dims(const gm_onnx_step *s, const gm_onnx_tensor *in, gm_onnx_tensor *out,
                              gm_error *err);

/* ---- emit.c: nodes of the net ---- */

/* *node = the value's numbers as a node of exactly this shape; parameters and constants become
 * sources. */
gm_status gm_onnx_node_as(const gm_onnx_step *s, gm_onnx_value *value, const gm_shape *shape,
                          int *node, gm_error *err);
/* The same, of the value's own shape. */
gm_status gm_onnx_node_of(const gm_onnx_step *s, gm_onnx_value *value, int *node, gm_error *err);
/* The same as an image [H, W, C] or signal [L, C] from [1, C, ...]. */
gm_status gm_onnx_image_of(const gm_onnx_step *s, gm_onnx_value *value, int *node, gm_error *err);

/* A layer without parameters. */
gm_status gm_onnx_add(const gm_onnx_step *s, const gm_layer_kind *kind, const void *config,
                      int inputs, const int *input, int *node, gm_error *err);
/* A layer whose slice is the initializers of weight and, where not NULL, of what follows it
 * directly; tied to the layer that has them already, where there is one. */
gm_status gm_onnx_add_weighted(const gm_onnx_step *s, const gm_layer_kind *kind, const void *config,
                               int inputs, const int *input, const gm_onnx_value *weight,
                               const gm_onnx_value *second, int *node, gm_error *err);
/* A layer with one input and constant numbers as its weight; config->kind and ->of are given. */
gm_status gm_onnx_add_frozen(const gm_onnx_step *s, gm_frozen_config *config,
                             const gm_onnx_value *weight, int input, int *node, gm_error *err);
/* True where a layer has the parameter already. */
bool gm_onnx_is_placed(const gm_onnx_step *s, const gm_onnx_value *value);
/* True where second's numbers directly follow first's in the flat vector. */
bool gm_onnx_follows(const gm_onnx_step *s, const gm_onnx_value *first,
                     const gm_onnx_value *second);
/* True where the value is a whole initializer that is a parameter, as it stands in the file. */
bool gm_onnx_is_weight(const gm_onnx_value *value);
/* The same where `second` may join `weight` in one layer: it follows, and neither or both are
 * placed. */
bool gm_onnx_joins(const gm_onnx_step *s, const gm_onnx_value *weight, const gm_onnx_value *second);

/* The node to read for an elementwise layer: channels last (*last) where the numbers are in that
 * order alone. */
gm_status gm_onnx_any_order(const gm_onnx_step *s, gm_onnx_value *value, int *node, bool *last,
                            gm_error *err);
/* True for a constant of one number. */
bool gm_onnx_is_number(const gm_onnx_value *value, double *number);
/* f of one node, and of two (broadcast), as layers. */
gm_status gm_onnx_add_unary(const gm_onnx_step *s, gm_unary function, double a, double b, int from,
                            int *node, gm_error *err);
gm_status gm_onnx_add_binary(const gm_onnx_step *s, gm_binary function, int x, int y, int *node,
                             gm_error *err);
/* The node plus scale times the value, broadcast: a bias that joins no layer. */
gm_status gm_onnx_add_term(const gm_onnx_step *s, int from, gm_onnx_value *value,
                           const gm_shape *shape, int *node, gm_error *err);

/* The output in that slot is this node, of this shape; node in the order of the shape or, `last`,
 * with the channels last. */
void gm_onnx_put(const gm_onnx_step *s, size_t slot, int rank, const size_t *dim, int node,
                 int last);
/* The output is the input in other dimensions: no layer. */
gm_status gm_onnx_alias(const gm_onnx_step *s, gm_onnx_value *in, int rank, const size_t *dim,
                        gm_error *err);
/* Shape of an activation as the net's; refuses a rank beyond the net's. */
gm_status gm_onnx_shape_of(const gm_onnx_step *s, const gm_onnx_tensor *tensor, gm_shape *shape,
                           gm_error *err);

#endif
