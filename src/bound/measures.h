/* The measures, one function each; gm_measures_take calls them. */
#ifndef GM_BOUND_MEASURES_H
#define GM_BOUND_MEASURES_H

#include "gradiometer/measures.h"

/* Product of the layers' largest singular values; *error from the residuals. NaN where a layer with
 * parameters is no linear map of its input. */
gm_status gm_measure_spectral_norm(const gm_net *net, const double *theta, double *value,
                                   double *error, gm_error *err);
/* Path norm; NaN for a net that is not positively homogeneous. */
gm_status gm_measure_path_norm(const gm_net *net, const double *theta, double *value,
                               gm_error *err);
/* quantile [GM_MARGIN_LEVELS] of the margins at theta. */
gm_status gm_measure_margins(gm_problem *problem, const double *theta, double *quantile,
                             gm_error *err);
/* Largest rise of f found within the radius, by ascent from the gradient and, where direction [p]
 * is not NULL, from both signs of it. */
gm_status gm_measure_sharpness(gm_linearization *lin, const double *direction,
                               const gm_measure_options *o, double *value, gm_error *err);

#endif
