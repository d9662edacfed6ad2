/* The operators that are read: docs/onnx.md has the same list in words. */
#include <string.h>

#include "onnx/operators.h"

#define WINDOW "auto_pad:s dilations:I kernel_shape:I pads:I strides:I"
enum { SLOT0 = 1, SLOT1 = 2, SLOT2 = 4, SLOT3 = 8, SLOT4 = 16 };

static const gm_onnx_op ops[] = {
    /* constants */
    {"Constant", NULL, gm_onnx_fold_constant, 0, 1, 0, 0,
     "value:t value_int:i value_ints:I value_float:f"},
    {"ConstantOfShape", NULL, gm_onnx_fold_constant_of_shape, 1, 1, 0, 0, "value:t"},
    {"Shape", NULL, gm_onnx_fold_shape, 1, 1, 0, 0, "start:i end:i"},
    {"Size", NULL, gm_onnx_fold_size, 1, 1, 0, 0, NULL},
    {"Range", NULL, gm_onnx_fold_range, 3, 3, 0, 11, NULL},
    {"Ceil", NULL, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Floor", NULL, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Sign", NULL, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Mod", NULL, gm_onnx_fold_binary, 2, 2, 0, 10, "fmod:i"},
    {"Trilu", NULL, gm_onnx_fold_trilu, 1, 2, 0, 14, "upper:i"},
    {"ReduceProd", NULL, gm_onnx_fold_reduce_prod, 1, 2, 0, 0, "axes:I keepdims:i"},
    /* views */
    {"Cast", gm_onnx_emit_cast, gm_onnx_fold_cast, 1, 1, 0, 0, "to:i"},
    {"Dropout", gm_onnx_emit_dropout, NULL, 1, 3, SLOT1 | SLOT2, 0, "ratio:f seed:i"},
    {"Flatten", gm_onnx_emit_reshape, gm_onnx_fold_reshape, 1, 1, 0, 0, "axis:i"},
    {"Identity", gm_onnx_emit_identity, gm_onnx_fold_identity, 1, 1, 0, 0, NULL},
    {"Reshape", gm_onnx_emit_reshape, gm_onnx_fold_reshape, 2, 2, SLOT1, 0, "allowzero:i"},
    {"Squeeze", gm_onnx_emit_reshape, gm_onnx_fold_reshape, 1, 2, SLOT1, 0, "axes:I"},
    {"Unsqueeze", gm_onnx_emit_reshape, gm_onnx_fold_reshape, 1, 2, SLOT1, 0, "axes:I"},
    /* moving numbers */
    {"Concat", gm_onnx_emit_concat, gm_onnx_fold_concat, 1, 0, 0, 0, "axis:i"},
    {"DepthToSpace", gm_onnx_emit_depth_to_space, NULL, 1, 1, 0, 0, "blocksize:i mode:s"},
    {"SpaceToDepth", gm_onnx_emit_space_to_depth, NULL, 1, 1, 0, 0, "blocksize:i"},
    {"Tile", gm_onnx_emit_tile, gm_onnx_fold_tile, 2, 2, SLOT1, 0, NULL},
    {"Expand", gm_onnx_emit_expand, gm_onnx_fold_expand, 2, 2, SLOT1, 0, NULL},
    {"Gather", gm_onnx_emit_gather, gm_onnx_fold_gather, 2, 2, SLOT1, 0, "axis:i"},
    {"Pad", gm_onnx_emit_pad, NULL, 1, 3, SLOT1 | SLOT2, 0, "mode:s pads:I value:f"},
    {"Slice", gm_onnx_emit_slice, gm_onnx_fold_slice, 1, 5, ~1u, 0, "starts:I ends:I axes:I"},
    {"Split", gm_onnx_emit_split, NULL, 1, 2, SLOT1, 0, "axis:i split:I"},
    {"Transpose", gm_onnx_emit_transpose, gm_onnx_fold_transpose, 1, 1, 0, 0, "perm:I"},
    /* conditions */
    {"And", gm_onnx_emit_truth, gm_onnx_fold_binary, 2, 2, SLOT0 | SLOT1, 0, NULL},
    {"Equal", gm_onnx_emit_comparison, gm_onnx_fold_binary, 2, 2, SLOT0 | SLOT1, 0, NULL},
    {"Greater", gm_onnx_emit_comparison, gm_onnx_fold_binary, 2, 2, SLOT0 | SLOT1, 0, NULL},
    {"GreaterOrEqual", gm_onnx_emit_comparison, gm_onnx_fold_binary, 2, 2, SLOT0 | SLOT1, 12, NULL},
    {"Less", gm_onnx_emit_comparison, gm_onnx_fold_binary, 2, 2, SLOT0 | SLOT1, 0, NULL},
    {"LessOrEqual", gm_onnx_emit_comparison, gm_onnx_fold_binary, 2, 2, SLOT0 | SLOT1, 12, NULL},
    {"Not", gm_onnx_emit_truth, gm_onnx_fold_unary, 1, 1, SLOT0, 0, NULL},
    {"Or", gm_onnx_emit_truth, gm_onnx_fold_binary, 2, 2, SLOT0 | SLOT1, 0, NULL},
    {"Xor", gm_onnx_emit_truth, gm_onnx_fold_binary, 2, 2, SLOT0 | SLOT1, 0, NULL},
    {"Where", gm_onnx_emit_where, gm_onnx_fold_where, 3, 3, SLOT0, 0, NULL},
    /* images */
    {"Conv", gm_onnx_emit_conv, NULL, 2, 3, 0, 0, WINDOW " group:i"},
    {"ConvTranspose", gm_onnx_emit_conv_transpose, NULL, 2, 3, 0, 0,
     WINDOW " group:i output_padding:I"},
    {"Resize", gm_onnx_emit_resize, NULL, 1, 4, ~1u, 10,
     "coordinate_transformation_mode:s cubic_coeff_a:f exclude_outside:i extrapolation_value:f "
     "mode:s nearest_mode:s"},
    {"Upsample", gm_onnx_emit_resize, NULL, 2, 2, ~1u, 0, "mode:s"},
    {"MaxPool", gm_onnx_emit_max_pool, NULL, 1, 1, 0, 0, WINDOW " ceil_mode:i storage_order:i"},
    {"AveragePool", gm_onnx_emit_average_pool, NULL, 1, 1, 0, 0,
     "auto_pad:s kernel_shape:I pads:I strides:I ceil_mode:i count_include_pad:i"},
    {"GlobalAveragePool", gm_onnx_emit_global_average_pool, NULL, 1, 1, 0, 0, NULL},
    {"GlobalMaxPool", gm_onnx_emit_global_max_pool, NULL, 1, 1, 0, 0, NULL},
    /* norms */
    {"BatchNormalization", gm_onnx_emit_batch_norm, NULL, 5, 5, SLOT3 | SLOT4, 0,
     "epsilon:f momentum:f training_mode:i"},
    {"InstanceNormalization", gm_onnx_emit_instance_norm, NULL, 3, 3, 0, 0, "epsilon:f"},
    {"LayerNormalization", gm_onnx_emit_layer_norm, NULL, 2, 3, 0, 17,
     "axis:i epsilon:f stash_type:i"},
    /* reductions */
    {"ReduceLogSumExp", gm_onnx_emit_extreme, NULL, 1, 1, 0, 0, "axes:I keepdims:i"},
    {"ReduceMax", gm_onnx_emit_extreme, NULL, 1, 1, 0, 0, "axes:I keepdims:i"},
    {"ReduceMin", gm_onnx_emit_extreme, NULL, 1, 1, 0, 0, "axes:I keepdims:i"},
    {"ReduceL1", gm_onnx_emit_reduce, NULL, 1, 2, SLOT1, 0, "axes:I keepdims:i"},
    {"ReduceL2", gm_onnx_emit_reduce, NULL, 1, 2, SLOT1, 0, "axes:I keepdims:i"},
    {"ReduceLogSum", gm_onnx_emit_reduce, NULL, 1, 2, SLOT1, 0, "axes:I keepdims:i"},
    {"ReduceMean", gm_onnx_emit_reduce, NULL, 1, 2, SLOT1, 0, "axes:I keepdims:i"},
    {"ReduceSum", gm_onnx_emit_reduce, NULL, 1, 2, SLOT1, 0,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceSumSquare", gm_onnx_emit_reduce, NULL, 1, 2, SLOT1, 0, "axes:I keepdims:i"},
    {"LogSoftmax", gm_onnx_emit_softmax, NULL, 1, 1, 0, 0, "axis:i"},
    {"Softmax", gm_onnx_emit_softmax, NULL, 1, 1, 0, 0, "axis:i"},
    /* matrix products */
    {"Einsum", gm_onnx_emit_einsum, NULL, 1, 8, 0, 12, "equation:s"},
    {"Gemm", gm_onnx_emit_gemm, NULL, 2, 3, 0, 0, "alpha:f beta:f transA:i transB:i"},
    {"MatMul", gm_onnx_emit_matmul, NULL, 2, 2, 0, 0, NULL},
    /* of one operand */
    {"Relu", gm_onnx_emit_activation, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Sigmoid", gm_onnx_emit_activation, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Tanh", gm_onnx_emit_activation, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Softplus", gm_onnx_emit_activation, NULL, 1, 1, 0, 0, NULL},
    {"Abs", gm_onnx_emit_unary, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Cos", gm_onnx_emit_unary, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Erf", gm_onnx_emit_unary, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Exp", gm_onnx_emit_unary, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Log", gm_onnx_emit_unary, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Neg", gm_onnx_emit_unary, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Reciprocal", gm_onnx_emit_unary, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Sin", gm_onnx_emit_unary, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Sqrt", gm_onnx_emit_unary, gm_onnx_fold_unary, 1, 1, 0, 0, NULL},
    {"Celu", gm_onnx_emit_unary, NULL, 1, 1, 0, 12, "alpha:f"},
    {"Clip", gm_onnx_emit_clip, NULL, 1, 3, SLOT1 | SLOT2, 0, "min:f max:f"},
    {"Elu", gm_onnx_emit_unary, NULL, 1, 1, 0, 0, "alpha:f"},
    {"HardSigmoid", gm_onnx_emit_unary, NULL, 1, 1, 0, 0, "alpha:f beta:f"},
    {"HardSwish", gm_onnx_emit_unary, NULL, 1, 1, 0, 14, NULL},
    {"LeakyRelu", gm_onnx_emit_unary, NULL, 1, 1, 0, 0, "alpha:f"},
    {"Selu", gm_onnx_emit_unary, NULL, 1, 1, 0, 0, "alpha:f gamma:f"},
    {"Softsign", gm_onnx_emit_unary, NULL, 1, 1, 0, 0, NULL},
    {"ThresholdedRelu", gm_onnx_emit_unary, NULL, 1, 1, 0, 10, "alpha:f"},
    /* of two operands */
    {"Add", gm_onnx_emit_binary, gm_onnx_fold_binary, 2, 2, 0, 0, NULL},
    {"Div", gm_onnx_emit_binary, gm_onnx_fold_binary, 2, 2, 0, 0, NULL},
    {"Mul", gm_onnx_emit_binary, gm_onnx_fold_binary, 2, 2, 0, 0, NULL},
    {"Sub", gm_onnx_emit_binary, gm_onnx_fold_binary, 2, 2, 0, 0, NULL},
    {"Max", gm_onnx_emit_binary, gm_onnx_fold_binary, 1, 0, 0, 0, NULL},
    {"Min", gm_onnx_emit_binary, gm_onnx_fold_binary, 1, 0, 0, 0, NULL},
    {"Mean", gm_onnx_emit_binary, NULL, 1, 0, 0, 0, NULL},
    {"Sum", gm_onnx_emit_binary, NULL, 1, 0, 0, 0, NULL},
    {"Pow", gm_onnx_emit_binary, gm_onnx_fold_binary, 2, 2, SLOT1, 0, NULL},
    {"PRelu", gm_onnx_emit_binary, NULL, 2, 2, 0, 0, NULL},
    /* what is random */
    {"Bernoulli", gm_onnx_emit_random, NULL, 0, 0, ~0u, 0, "*"},
    {"Multinomial", gm_onnx_emit_random, NULL, 0, 0, ~0u, 0, "*"},
    {"RandomNormal", gm_onnx_emit_random, NULL, 0, 0, ~0u, 0, "*"},
    {"RandomNormalLike", gm_onnx_emit_random, NULL, 0, 0, ~0u, 0, "*"},
    {"RandomUniform", gm_onnx_emit_random, NULL, 0, 0, ~0u, 0, "*"},
    {"RandomUniformLike", gm_onnx_emit_random, NULL, 0, 0, ~0u, 0, "*"},
};

const gm_onnx_op *gm_onnx_op_find(const char *name)
{
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(ops[i].name, name) == 0) return &ops[i];
    }
    return NULL;
}
