/* Symmetric matrices of a span as vectors: pairs a <= b in the order (0, 0), (0, 1), ..., (1, 1).
 */
#ifndef GM_DYNAMICS_SPAN_H
#define GM_DYNAMICS_SPAN_H

#include "gradiometer/stability.h"

static inline size_t gm_span_pairs(size_t k)
{
    return k * (k + 1) / 2;
}

static inline size_t gm_span_pair(size_t k, size_t a, size_t b)
{
    size_t low = a < b ? a : b, high = a < b ? b : a;
    return low * k - low * (low + 1) / 2 + high;
}

#endif
