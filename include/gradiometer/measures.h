/* Classical measures of complexity and sharpness, to set beside the bound (theory section 4). */
#ifndef GRADIOMETER_MEASURES_H
#define GRADIOMETER_MEASURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/curvature.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gm_measure_id {
    GM_MEASURE_LAMBDA_MAX,    /* largest eigenvalue of H */
    GM_MEASURE_TRACE,         /* tr H */
    GM_MEASURE_FROBENIUS,     /* ||H||_F */
    GM_MEASURE_NORM,          /* ||theta||_2 */
    GM_MEASURE_DISTANCE,      /* ||theta - theta_0||_2 */
    GM_MEASURE_SPECTRAL_NORM, /* product over layers of the largest singular value of the linear map
                                 without its bias, a convolution's at its input size */
    GM_MEASURE_PATH_NORM,     /* sum over all paths of the product of |weights|, paths from biases
                                 included: the sum of outputs for |theta| at an input of ones;
                                 positively homogeneous nets only */
    GM_MEASURE_FISHER_RAO,    /* theta . G theta */
    GM_MEASURE_MARGIN,        /* median over the samples of z_y - max of the other logits */
    GM_MEASURE_SHARPNESS,     /* max of f(theta + delta) - f(theta) over ||delta||_2 <= radius, as
                                 far as ascent found it: a lower bound */
    GM_MEASURES
} gm_measure_id;

typedef struct gm_measure_kind {
    const char *name;       /* "lambda_max" */
    const char *definition; /* in one line */
    const char *reference;
    bool invariant; /* re-scaling the layers of a positively homogeneous net leaves it alone */
} gm_measure_kind;
extern const gm_measure_kind gm_measure_kinds[GM_MEASURES];

enum { GM_MARGIN_LEVELS = 7 };
extern const double gm_margin_level[GM_MARGIN_LEVELS]; /* of the quantiles: 0.01 ... 0.9 */

typedef struct gm_measure_options {
    bool products; /* true: also lambda_max, ||H||_F and sharpness, which take products with H and
                      gradients; else they are NaN */
    double radius; /* 0.05 > 0: of the sharpness */
    double tol;    /* 1e-3: of lambda_max */
    size_t probes; /* 30 >= 2: of ||H||_F where H is not formed */
    size_t ascent; /* 10: gradients from each start of the sharpness */
    size_t dense;  /* 1000: up to this many parameters H is formed for its norm */
    uint64_t seed; /* 0 */
    void *context;
    bool (*stop)(void *context); /* NULL; asked before products and gradients: GM_ERR_INTERRUPTED */
} gm_measure_options;
void gm_measure_options_default(gm_measure_options *options);

/* value: NaN where undefined or not asked for. error: standard error or residual, 0 where exact;
 * of the sharpness NaN, since what ascent misses is not known. */
typedef struct gm_measures {
    double value[GM_MEASURES], error[GM_MEASURES];
    double margin[GM_MARGIN_LEVELS];
    size_t products; /* with H and G */
} gm_measures;

/* All measures at the point of lin. theta0 [p] or NULL (then the distance is NaN); diagonal [p] of
 * H or NULL (then it is taken). Cost: the diagonal, one product with G, a value pass, small
 * eigenproblems for the layers; with options->products also some tens of products with H and of
 * gradients. GM_ERR_USAGE for options out of range; errors of the functions that it calls. */
gm_status gm_measures_take(gm_linearization *lin, const double *theta0, const double *diagonal,
                           const gm_measure_options *options, gm_measures *measures, gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
