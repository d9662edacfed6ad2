/* Rows brought to mean 0 and variance 1, with two derivatives (layer normalization). A row's
 * moments are taken in double, the variance around the mean. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

#include <math.h>

#include "kernels/kernels.h"
#include "kernels/parallel.h"

static void FN(standardize)(size_t n, size_t d, double epsilon, const void *x, void *z,
                            double *inverse)
{
#pragma omp parallel for schedule(static) if (gm_threaded_rows(n, d))
    for (size_t i = 0; i < n; i++) {
        const REAL *from = (const REAL *)x + i * d;
        REAL *to = (REAL *)z + i * d;
        double mean = 0, square = 0;
        for (size_t j = 0; j < d; j++) {
            mean += (double)from[j];
        }
        mean /= (double)d;
        for (size_t j = 0; j < d; j++) {
            double difference = (double)from[j] - mean;
            square += difference * difference;
        }
        inverse[i] = 1 / sqrt(square / (double)d + epsilon);
        for (size_t j = 0; j < d; j++) {
            to[j] = (REAL)(((double)from[j] - mean) * inverse[i]);
        }
    }
}

/* Means over a row of u and of z u. */
typedef struct FN(moments) {
    double mean, with_z;
} FN(moments);

static inline FN(moments) FN(moments_of)(size_t d, const REAL *z, const REAL *u)
{
    double mean = 0, with_z = 0;
#pragma omp simd reduction(+ : mean, with_z)
    for (size_t j = 0; j < d; j++) {
        mean += (double)u[j];
        with_z += (double)z[j] * (double)u[j];
    }
    return (FN(moments)){mean / (double)d, with_z / (double)d};
}

static void FN(standardize_slope)(size_t n, size_t d, const void *z, const double *inverse,
                                  const void *u, bool add, void *out)
{
#pragma omp parallel for schedule(static) if (gm_threaded_rows(n, d))
    for (size_t i = 0; i < n; i++) {
        const REAL *zi = (const REAL *)z + i * d, *ui = (const REAL *)u + i * d;
        REAL *to = (REAL *)out + i * d;
        FN(moments) m = FN(moments_of)(d, zi, ui);
#pragma omp simd
        for (size_t j = 0; j < d; j++) {
            double centred = (double)ui[j] - m.mean - (double)zi[j] * m.with_z;
            to[j] = (REAL)((add ? (double)to[j] : 0) + inverse[i] * centred);
        }
    }
}

/* With v = xdot - mean xdot - z mean(z xdot), so that zdot = r v and rdot = -r^2 mean(z xdot), and
 * w likewise of t: Ldot t = -r^2 (mean(z xdot) w + mean(z t) v + z mean(v t)). */
static void FN(standardize_bend)(size_t n, size_t d, const void *z, const double *inverse,
                                 const void *xdot, const void *t, void *out)
{
#pragma omp parallel for schedule(static) if (gm_threaded_rows(n, d))
    for (size_t i = 0; i < n; i++) {
        const REAL *zi = (const REAL *)z + i * d, *xi = (const REAL *)xdot + i * d;
        const REAL *ti = (const REAL *)t + i * d;
        REAL *to = (REAL *)out + i * d;
        FN(moments) x = FN(moments_of)(d, zi, xi), y = FN(moments_of)(d, zi, ti);
        double both = 0, square = inverse[i] * inverse[i];
        for (size_t j = 0; j < d; j++) {
            both += ((double)xi[j] - x.mean - (double)zi[j] * x.with_z) * (double)ti[j];
        }
        both /= (double)d;
        for (size_t j = 0; j < d; j++) {
            double v = (double)xi[j] - x.mean - (double)zi[j] * x.with_z;
            double w = (double)ti[j] - y.mean - (double)zi[j] * y.with_z;
            to[j] = (REAL)((double)to[j] -
                           square * (x.with_z * w + y.with_z * v + (double)zi[j] * both));
        }
    }
}
