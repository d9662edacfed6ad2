/* The const table of one precision and instruction set. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

static const gm_kernels FN(table) = {
    .dtype = sizeof(REAL) == sizeof(float) ? GM_F32 : GM_F64,
    .size = sizeof(REAL),
    .isa = GM_ISA,
    .lanes = FN(lanes),
    .gemm = FN(gm_gemm),
    .from_double = FN(from_double),
    .to_double = FN(to_double),
    .fill = FN(fill),
    .accumulate = FN(accumulate),
    .axpy = FN(axpy),
    .multiply = FN(multiply),
    .dot = FN(dot),
    .rows_dot = FN(rows_dot),
    .rows_axpy = FN(rows_axpy),
    .add_bias = FN(add_bias),
    .column_sums = FN(column_sums),
    .row_dots = FN(row_dots),
    .scale_rows = FN(scale_rows),
    .gather_rows = FN(gather_rows),
    .act_value = FN(act_value),
    .act_slope = FN(act_slope),
    .act_curve = FN(act_curve),
    .softmax_loss = FN(softmax_loss),
    .squared_loss = FN(squared_loss),
    .softmax_metric = FN(softmax_metric),
    .softmax_factor = FN(softmax_factor),
    .sgd_step = FN(sgd_step),
    .scaled_step = FN(scaled_step),
    .adaptive_step = FN(adaptive_step),
    .adam_step = FN(adam_step),
    .tile_product = FN(tile_product),
    .transpose = FN(transpose),
    .tile_softmax = FN(tile_softmax),
    .tile_squared = FN(tile_squared),
};
