/* The share of Sigma that is left in the mean of a mini-batch. */
#ifndef GM_SGD_KAPPA_H
#define GM_SGD_KAPPA_H

#include <stdbool.h>
#include <stddef.h>

/* kappa of Sigma_m = kappa Sigma: 1/m with replacement, (n - m) / (m (n - 1)) without. */
static inline double gm_kappa_of(size_t n, size_t m, bool without_replacement)
{
    double count = (double)n, batch = (double)m;
    if (!without_replacement) return 1.0 / batch;
    return n > 1 ? (count - batch) / (batch * (count - 1.0)) : 0.0;
}

#endif
