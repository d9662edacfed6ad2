/* Matrix products with a weight. */
#include <string.h>

#include "onnx/operators.h"

gm_status gm_onnx_emit_gemm(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0), *weight = gm_onnx_in(s, 1), *bias = gm_onnx_in(s, 2);
    double alpha = gm_onnx_float(s, "alpha", 1.0), beta = gm_onnx_float(s, "beta", 1.0);
    if (alpha != 1.0 || (bias && beta != 1.0) || gm_onnx_int(s, "transA", 0)) {
        return gm_onnx_refuse(s, err, "alpha %g, beta %g, transA %lld, expected 1, 1, 0", alpha,
                              beta, (long long)gm_onnx_int(s, "transA", 0));
    }
    bool rows = (gm_onnx_int(s, "transB", 0) != 0) != weight->swapped; /* stored [out, in] */
    if (in->tensor.rank != 2 || in->tensor.dim[0] != 1 || weight->what != GM_ONNX_PARAMETER ||
        weight->tensor.rank != 2 || !rows) {
        return gm_onnx_refuse(s, err,
                              "expected [batch, in] and an initializer [out, in], transB 1");
    }
    size_t out = weight->swapped ? weight->tensor.dim[1] : weight->tensor.dim[0];
    size_t width = weight->tensor.count / (out ? out : 1);
    if (in->tensor.dim[1] != width) {
        return gm_onnx_refuse(s, err, "an input of %zu numbers, its weight takes %zu",
                              in->tensor.dim[1], width);
    }
    if (bias && (!gm_onnx_is_weight(bias) || bias->tensor.count != out ||
                 !gm_onnx_follows(s, weight, bias))) {
        return gm_onnx_refuse(s, err,
                              "bias '%.100s' is no initializer of %zu numbers right after "
                              "its weight: not supported",
                              bias->name, out);
    }
    gm_dense_config config = {.units = out, .bias = bias != NULL};
    gm_shape row = {.rank = 1, .dim = {width}};
    int node;
    gm_status status = gm_onnx_node_as(s, in, &row, &node, err);
    if (status == GM_OK) {
        status =
            gm_onnx_add_weighted(s, &gm_layer_dense, &config, 1, &node, weight, bias, &node, err);
    }
    if (status == GM_OK) gm_onnx_put(s, 0, 2, (size_t[]){1, out}, node, -1);
    return status;
}
