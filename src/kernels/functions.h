/* Elementwise functions of one and of two arrays, and the geometry of broadcasting and reducing,
 * that kernels and layers share. */
#ifndef GM_KERNELS_FUNCTIONS_H
#define GM_KERNELS_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/types.h"

/* f(x) with constants a and b. Derivatives at a kink are those from the left, as for relu (theory
 * section 1), but 0 at either end of a clip and at 0 of abs. */
typedef enum gm_unary {
    GM_UNARY_AFFINE, /* a x + b */
    GM_UNARY_ABS,
    GM_UNARY_CLIP,         /* min(max(x, a), b) */
    GM_UNARY_HARD_SIGMOID, /* min(max(a x + b, 0), 1) */
    GM_UNARY_LEAKY,        /* x > 0 ? x : a x */
    GM_UNARY_THRESHOLD,    /* x > a ? x : 0 */
    GM_UNARY_EXP,
    GM_UNARY_LOG,
    GM_UNARY_SQRT,
    GM_UNARY_RECIPROCAL,
    GM_UNARY_POWER, /* x^a */
    GM_UNARY_ERF,
    GM_UNARY_SIN,
    GM_UNARY_COS,
    GM_UNARY_ELU,        /* x > 0 ? b x : b a (exp(x) - 1): also selu */
    GM_UNARY_CELU,       /* x > 0 ? x : a (exp(x / a) - 1) */
    GM_UNARY_SOFTSIGN,   /* x / (1 + |x|) */
    GM_UNARY_SILU,       /* x / (1 + exp(-x)) */
    GM_UNARY_GELU_TANH,  /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    GM_UNARY_HARD_SWISH, /* x min(max(x/6 + 1/2, 0), 1) */
    GM_UNARY_MISH,       /* x tanh(log(1 + exp x)) */
    GM_UNARIES
} gm_unary;

/* A function with its constants. */
typedef struct gm_function {
    gm_unary function;
    double a, b;
} gm_function;

/* True where the derivatives are taken from the function's value. */
static inline bool gm_unary_reads_out(gm_unary function)
{
    return function == GM_UNARY_CLIP || function == GM_UNARY_HARD_SIGMOID ||
           function == GM_UNARY_EXP || function == GM_UNARY_SQRT || function == GM_UNARY_RECIPROCAL;
}

/* f(x, y). Of equal numbers max and min take x. */
typedef enum gm_binary {
    GM_BINARY_ADD,
    GM_BINARY_SUB,
    GM_BINARY_MUL,
    GM_BINARY_DIV,
    GM_BINARY_POW, /* x^y; where x is 0, its derivative by y is 0 */
    GM_BINARY_MAX,
    GM_BINARY_MIN,
    GM_BINARY_PRELU, /* x > 0 ? x : y x */
    GM_BINARY_KEEP,  /* y != 0 ? x : 0, also where x is infinite or NaN; constant in y */
    GM_BINARY_EQUAL, /* x == y ? 1 : 0; this and the next two are constant in both */
    GM_BINARY_LESS,
    GM_BINARY_LESS_EQUAL,
    GM_BINARIES
} gm_binary;

/* True where the value is 1 or 0, and all derivatives are 0. */
static inline bool gm_binary_compares(gm_binary f)
{
    return f == GM_BINARY_EQUAL || f == GM_BINARY_LESS || f == GM_BINARY_LESS_EQUAL;
}

/* True where the function's values decide about its derivatives. */
static inline bool gm_binary_reads_in(gm_binary f)
{
    return f != GM_BINARY_ADD && f != GM_BINARY_SUB && !gm_binary_compares(f);
}

/* True where the second derivative by operands i and j may differ from 0. */
static inline bool gm_binary_bends(gm_binary f, int i, int j)
{
    if (f == GM_BINARY_POW) return true;
    if (f == GM_BINARY_DIV) return i || j;
    return i != j && (f == GM_BINARY_MUL || f == GM_BINARY_PRELU);
}

/* A sample's numbers [dim[0], ..., dim[rank - 1]] and for each of two operands how far a step along
 * an axis moves in it: 0 along axes where the operand is repeated (or summed over). Along the last
 * axis it moves by 0 or 1. */
typedef struct gm_broadcast {
    int rank; /* 1 or more */
    size_t dim[GM_MAX_RANK], step[2][GM_MAX_RANK];
    size_t size, operand[2]; /* numbers of a sample: all of them, and of each operand */
} gm_broadcast;

typedef enum gm_reduction { GM_REDUCE_SUM, GM_REDUCE_MEAN } gm_reduction;

#endif
