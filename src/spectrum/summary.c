/* What all eigenvalues of one operator say in a few numbers. */
#include <math.h>

#include "gradiometer/spectrum.h"

enum { DEFAULT_OUTLIER_LIMIT = 30 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Number of eigenvalues that stand off the bulk, by the rule in the header; value [size] descending
 * with positive entries above the numerical floor. */
static void count_outliers(const double *value, gm_spectral_summary *summary)
{
    size_t positive = summary->positive_rank, limit = summary->outlier_limit;
    if (positive == 0) return;
    double level = GM_BULK_LEVEL * value[0];
    for (size_t j = 1; j <= limit && j < positive && value[j - 1] > level; j++) {
        double ratio = value[j - 1] / fmax(value[j], level);
        if (ratio > summary->gap) {
            summary->gap = ratio;
            summary->gap_after = j;
        }
    }
    bool gap = summary->gap >= GM_OUTLIER_GAP;
    if (!gap && positive <= limit && value[positive - 1] > level) {
        summary->gap = value[positive - 1] / level;
        summary->gap_after = positive;
        gap = true;
    }
    if (gap) summary->outliers = summary->gap_after;
}

void gm_spectral_summarize(size_t size, const double *value, double cut, double eps,
                           size_t outlier_limit, gm_spectral_summary *summary)
{
    *summary = (gm_spectral_summary){.size = size, .cut = cut};
    if (size == 0) return;
    summary->outlier_limit = smaller(outlier_limit ? outlier_limit : DEFAULT_OUTLIER_LIMIT, size);
    summary->max = value[0];
    summary->min = value[size - 1];
    double scale = fmax(fabs(value[0]), fabs(value[size - 1]));
    summary->scale = scale;
    summary->floor = eps * (double)size * scale;
    if (scale == 0.0) return;

    /* Sums of lambda / scale: neither overflow nor underflow of the squares. */
    double sum = 0.0, absolute = 0.0, squares = 0.0;
    for (size_t i = 0; i < size; i++) {
        double relative = value[i] / scale;
        sum += relative;
        absolute += fabs(relative);
        squares += relative * relative;
        summary->rank += fabs(value[i]) > summary->floor;
        summary->positive_rank += value[i] > summary->floor;
        summary->above += relative > cut;
        summary->below += relative < -cut;
    }
    summary->trace = sum * scale;
    summary->frobenius = sqrt(squares) * scale;
    summary->effective_rank = absolute * absolute / squares;
    count_outliers(value, summary);
}
