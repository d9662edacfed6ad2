/* Matrix products: with a weight they are dense layers, in either layout of the weight and with a
 * bias that follows it in the flat vector; else products of two activations. */
#include <string.h>

#include "onnx/operators.h"

/* ---- with a weight ---- */

/* A weight [in, out] as the graph sees it: a parameter, or constants. */
typedef struct weight {
    gm_onnx_value *value;
    bool frozen;
    bool rows; /* stored [out, in] */
    size_t in, out;
} weight;

static bool take_weight(gm_onnx_value *value, bool transposed, weight *w)
{
    bool frozen = value->what == GM_ONNX_CONSTANT && value->tensor.of == GM_ONNX_REAL;
    bool own = value->what == GM_ONNX_PARAMETER && value->ties < GM_ONNX_OPERAND;
    if ((!frozen && !own) || value->tensor.rank != 2 || !value->tensor.count) return false;
    const size_t *dim = value->tensor.dim;
    *w = (weight){.value = value,
                  .frozen = frozen,
                  .rows = transposed != value->swapped,
                  .in = dim[transposed ? 1 : 0],
                  .out = dim[transposed ? 0 : 1]};
    return true;
}

/* *node = x [..., in] times the weight, plus bias where not NULL. */
static gm_status add_dense(gm_onnx_step *s, gm_onnx_value *x, const weight *w, gm_onnx_value *bias,
                           int *node, gm_error *err)
{
    const gm_onnx_tensor *t = &x->tensor;
    if (t->rank < 1 || t->dim[t->rank - 1] != w->in) {
        return gm_onnx_refuse(s, err, "an input of %zu numbers, its weight takes %zu",
                              t->rank ? t->dim[t->rank - 1] : 0, w->in);
    }
    bool joint =
        bias && !w->frozen && gm_onnx_joins(s, w->value, bias) && bias->tensor.count == w->out;
    bool rows = t->count > w->in;
    gm_dense_config config = {
        .units = w->out, .bias = joint, .by_position = rows, .transposed = !w->rows};
    gm_shape shape = {.rank = 1, .dim = {w->in}};
    if (rows) shape = (gm_shape){.rank = 2, .dim = {t->count / w->in, w->in}};
    int from;
    gm_status status = gm_onnx_node_as(s, x, &shape, &from, err);
    if (status != GM_OK) return status;
    gm_frozen_config frozen = {.kind = &gm_layer_dense, .of.dense = config};
    status = w->frozen ? gm_onnx_add_frozen(s, &frozen, w->value, from, node, err)
                       : gm_onnx_add_weighted(s, &gm_layer_dense, &config, 1, &from, w->value,
                                              joint ? bias : NULL, node, err);
    if (status != GM_OK || !bias || joint) return status;
    gm_shape term;
    status = gm_onnx_shape_of(s, &bias->tensor, &term, err);
    return status == GM_OK ? gm_onnx_add_term(s, *node, bias, &term, node, err) : status;
}

gm_status gm_onnx_times_weight(gm_onnx_step *s, gm_onnx_value *x, gm_onnx_value *matrix,
                               bool transposed, int *node, gm_error *err)
{
    weight w;
    if (!take_weight(matrix, transposed, &w)) {
        return gm_onnx_refuse(s, err, "'%.100s' is no matrix of weights", matrix->name);
    }
    return add_dense(s, x, &w, NULL, node, err);
}

/* Shape of x [..., in] times a weight. */
static void put_product(gm_onnx_step *s, const gm_onnx_value *x, size_t out, int node)
{
    size_t dim[GM_ONNX_RANK];
    memcpy(dim, x->tensor.dim, sizeof dim);
    dim[x->tensor.rank - 1] = out;
    gm_onnx_put(s, 0, x->tensor.rank, dim, node, -1);
}

/* The Add that follows this product alone and brings a bias which may join its weight. */
static gm_onnx_value *bias_behind(const gm_onnx_step *s, const weight *w, int *adder)
{
    const gm_onnx_value *out = gm_onnx_out(s, 0);
    *adder = -1;
    if (w->frozen || !out || out->users != 1 || out->user < 0) return NULL;
    gm_onnx_step next = {.g = s->g, .index = out->user, .node = s->g->proto->node[out->user]};
    if (strcmp(s->g->op[out->user]->name, "Add") != 0) return NULL;
    gm_onnx_value *bias = gm_onnx_in(&next, gm_onnx_in(&next, 0) == out ? 1 : 0);
    if (!bias || bias->what != GM_ONNX_PARAMETER || bias->tensor.rank != 1 ||
        bias->tensor.count != w->out || !gm_onnx_joins(s, w->value, bias)) {
        return NULL;
    }
    *adder = out->user;
    return bias;
}

static gm_status emit_dense(gm_onnx_step *s, gm_onnx_value *x, const weight *w, gm_error *err)
{
    int adder, node = -1;
    gm_onnx_value *bias = bias_behind(s, w, &adder);
    gm_status status = add_dense(s, x, w, bias, &node, err);
    if (status != GM_OK) return status;
    put_product(s, x, w->out, node);
    if (adder < 0) return GM_OK;
    gm_onnx_step next = {.g = s->g, .index = adder, .node = s->g->proto->node[adder]};
    put_product(&next, x, w->out, node);
    s->g->done[adder] = true;
    return GM_OK;
}

/* ---- of two values ---- */

/* The leading axes of a product. */
static bool product_shape(const gm_onnx_tensor *a, const gm_onnx_tensor *b, gm_onnx_tensor *out)
{
    gm_onnx_tensor left = *a, right = *b;
    left.rank -= 2;
    right.rank -= 2;
    if (!gm_onnx_broadcast(&left, &right, out) || out->rank + 2 > GM_ONNX_RANK) return false;
    out->dim[out->rank++] = a->dim[a->rank - 2];
    out->dim[out->rank++] = b->dim[b->rank - 1];
    return a->dim[a->rank - 1] == b->dim[b->rank - 2] && gm_onnx_count(out);
}

gm_status gm_onnx_emit_matmul(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *a = gm_onnx_in(s, 0), *b = gm_onnx_in(s, 1);
    gm_onnx_tensor left = a->tensor, right = b->tensor, out = {0};
    gm_matmul_config config = {.factor = 1.0};
    gm_shape shape[2];
    int node[2], made = -1;
    weight w;
    if (a->what == GM_ONNX_ACTIVATION && a->tensor.rank > 0 && take_weight(b, false, &w)) {
        return emit_dense(s, a, &w, err);
    }
    if (left.rank < 1 || right.rank < 1) return gm_onnx_refuse(s, err, "an operand of rank 0");
    bool row = left.rank == 1, column = right.rank == 1; /* vectors are matrices meanwhile */
    if (row) left = (gm_onnx_tensor){.rank = 2, .dim = {1, left.count}, .count = left.count};
    if (column) right = (gm_onnx_tensor){.rank = 2, .dim = {right.count, 1}, .count = right.count};
    if (!product_shape(&left, &right, &out)) {
        return gm_onnx_refuse(s, err, "'%.60s' and '%.60s' do not fit each other", a->name,
                              b->name);
    }
    gm_status status = gm_onnx_shape_of(s, &left, &shape[0], err);
    if (status == GM_OK) status = gm_onnx_shape_of(s, &right, &shape[1], err);
    if (status == GM_OK) status = gm_onnx_node_as(s, a, &shape[0], &node[0], err);
    if (status == GM_OK) status = gm_onnx_node_as(s, b, &shape[1], &node[1], err);
    if (status == GM_OK) {
        status = gm_onnx_add(s, &gm_layer_matmul, &config, 2, node, &made, err);
    }
    if (status != GM_OK) return status;
    if (column) out.rank--;
    if (row) {
        out.dim[out.rank - 2 + column] = out.dim[out.rank - 1];
        out.rank--;
    }
    gm_onnx_put(s, 0, out.rank, out.dim, made, -1);
    return GM_OK;
}

/* alpha op(A) op(B), of activations. */
static gm_status general_product(gm_onnx_step *s, double alpha, gm_onnx_tensor *out, int *made,
                                 gm_error *err)
{
    gm_onnx_value *a = gm_onnx_in(s, 0), *b = gm_onnx_in(s, 1);
    gm_matmul_config config = {.transpose_a = gm_onnx_int(s, "transA", 0) != 0,
                               .transpose_b = gm_onnx_int(s, "transB", 0) != 0,
                               .factor = alpha};
    int node[2];
    gm_status status = gm_onnx_node_of(s, a, &node[0], err);
    if (status == GM_OK) status = gm_onnx_node_of(s, b, &node[1], err);
    if (status == GM_OK) status = gm_onnx_add(s, &gm_layer_matmul, &config, 2, node, made, err);
    *out = (gm_onnx_tensor){
        .rank = 2, .dim = {a->tensor.dim[config.transpose_a], b->tensor.dim[!config.transpose_b]}};
    return status;
}

gm_status gm_onnx_emit_gemm(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *a = gm_onnx_in(s, 0), *b = gm_onnx_in(s, 1), *c = gm_onnx_in(s, 2);
    double alpha = gm_onnx_float(s, "alpha", 1.0), beta = gm_onnx_float(s, "beta", 1.0);
    gm_onnx_tensor out = {.rank = 2, .dim = {a->tensor.dim[0]}};
    weight w;
    int node = -1, term;
    gm_status status;
    if (a->tensor.rank != 2 || b->tensor.rank != 2) {
        return gm_onnx_refuse(s, err, "operands of rank %d and %d, expected matrices",
                              a->tensor.rank, b->tensor.rank);
    }
    bool plain = alpha == 1.0 && !gm_onnx_int(s, "transA", 0) && a->what == GM_ONNX_ACTIVATION;
    if (plain && take_weight(b, gm_onnx_int(s, "transB", 0) != 0, &w)) {
        bool joins = c && beta == 1.0 && gm_onnx_is_weight(c) && c->tensor.rank == 1 &&
                     c->tensor.count == w.out;
        status = add_dense(s, a, &w, joins ? c : NULL, &node, err);
        out.dim[1] = w.out;
        if (joins) c = NULL;
    } else {
        status = general_product(s, alpha, &out, &node, err);
    }
    if (status == GM_OK && c && beta != 0.0) {
        status = gm_onnx_node_of(s, c, &term, err);
        if (status == GM_OK && beta != 1.0) {
            status = gm_onnx_add_unary(s, GM_UNARY_AFFINE, beta, 0.0, term, &term, err);
        }
        if (status == GM_OK) {
            status = gm_onnx_add_binary(s, GM_BINARY_ADD, node, term, &node, err);
        }
    }
    if (status == GM_OK) gm_onnx_put(s, 0, 2, out.dim, node, -1);
    return status;
}
