/* The element kernels of both precisions and their tables for one instruction set. Included by the
 * elements_*.c files alone, which name the table (GM_TABLES) and the set (GM_ISA) and are compiled
 * with that set's options. The order of the bodies matters: blank lines keep it. */
#include "kernels/conv.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/kernels.h"

#define REAL     float
#define FN(name) name##_f32
#include "kernels/vector_body.h"

#include "kernels/activation_body.h"
#include "kernels/unary_body.h"

#include "kernels/binary_body.h"
#include "kernels/softmax_body.h"
#include "kernels/standardize_body.h"

#include "kernels/loss_body.h"
#include "kernels/pool_body.h"
#include "kernels/tile_body.h"
#include "kernels/view_body.h"

#include "kernels/table_body.h"
#undef REAL
#undef FN

#define REAL     double
#define FN(name) name##_f64
#include "kernels/vector_body.h"

#include "kernels/activation_body.h"
#include "kernels/unary_body.h"

#include "kernels/binary_body.h"
#include "kernels/softmax_body.h"
#include "kernels/standardize_body.h"

#include "kernels/loss_body.h"
#include "kernels/pool_body.h"
#include "kernels/tile_body.h"
#include "kernels/view_body.h"

#include "kernels/table_body.h"
#undef REAL
#undef FN

const gm_kernels *const GM_TABLES[2] = {&table_f32, &table_f64};
