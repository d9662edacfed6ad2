/* Histograms of Delta in the documents of dynamics: of the runs of an ensemble, of the draws of
 * predict. */
#include <math.h>

#include "cli/dynamics.h"

/* Values that agree to so much are alike but for rounding. */
static const double alike = 1e-9;

bool gm_delta_histogram_frame(gm_delta_histogram *h, size_t count, const double quantile[2],
                              const double extreme[2])
{
    double margin = 0.25 * (quantile[1] - quantile[0]);
    *h = (gm_delta_histogram){0};
    double size = fmax(fabs(quantile[0]), fabs(quantile[1]));
    if (!isfinite(margin) || !(margin > alike * size)) return false;
    h->low = fmax(quantile[0] - margin, extreme[0]);
    h->high = fmin(quantile[1] + margin, extreme[1]);
    h->bins = (size_t)fmin(GM_DELTA_BINS, fmax(8.0, sqrt((double)count)));
    return true;
}

json_t *gm_delta_histogram_value(const gm_delta_histogram *h)
{
    json_t *object = json_object(), *counts = json_array();
    for (size_t i = 0; i < h->bins; i++) {
        json_array_append_new(counts, json_real(h->count[i]));
    }
    json_object_set_new(object, "counts", counts);
    json_object_set_new(object, "low", json_real(h->low));
    json_object_set_new(object, "high", json_real(h->high));
    json_object_set_new(object, "below", json_real(h->below));
    json_object_set_new(object, "above", json_real(h->above));
    return object;
}
