/* What linearized runs and runs of the net itself share (gradiometer/stability.h). */
#ifndef GM_DYNAMICS_OBSERVE_H
#define GM_DYNAMICS_OBSERVE_H

#include "gradiometer/stability.h"

/* GM_ERR_USAGE names the option. */
gm_status gm_observe_check(const gm_stability_runs *options, size_t n, gm_error *err);

/* root [etas, k, k]: shape^(1/2) for each step size; what is expected goes to seen [etas]. */
gm_status gm_observe_roots(const gm_span *span, const gm_stability_runs *options, double *root,
                           gm_stability_seen *seen, gm_error *err);

/* before, after [runs]: squared distances; after is overwritten. Fills mean, error, median. */
void gm_observe_summarize(size_t runs, const double *before, double *after,
                          gm_stability_seen *seen);

#endif
