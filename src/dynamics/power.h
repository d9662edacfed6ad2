/* Powers of two taken out of vectors, so that products in single precision stay in its range. */
#ifndef GM_DYNAMICS_POWER_H
#define GM_DYNAMICS_POWER_H

#include <math.h>
#include <stddef.h>

/* x [n] *= 2^power */
static inline void gm_times_power(size_t n, int power, double *x)
{
    for (size_t i = 0; power != 0 && i < n; i++) {
        x[i] = ldexp(x[i], power);
    }
}

/* Divides x [n] by the power of two that brings its largest entry into [1/2, 1); its exponent, 0
 * for a vector of zeros or one that is not finite. */
static inline int gm_near_one(size_t n, double *x)
{
    double largest = 0.0;
    int power = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return 0;
        largest = fmax(largest, fabs(x[i]));
    }
    if (largest > 0.0) frexp(largest, &power);
    gm_times_power(n, -power, x);
    return power;
}

#endif
