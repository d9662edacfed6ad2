/* Scales of the figures. Values are placed here and drawn on linear axes of gnuplot, so that a
 * logarithmic axis may pass through zero, and ticks are ours. */
#ifndef GM_REPORT_AXIS_H
#define GM_REPORT_AXIS_H

#include <stddef.h>
#include <stdio.h>

typedef enum gm_scale {
    GM_SCALE_LINEAR, /* v */
    GM_SCALE_LOG,    /* log10 v, NaN unless v > 0 */
    GM_SCALE_SIGNED /* sign(v) log10(1 + |v| / unit): linear up to about unit, logarithmic beyond */
} gm_scale;

typedef struct gm_axis {
    gm_scale scale;
    double unit;      /* of GM_SCALE_SIGNED, > 0 */
    double low, high; /* the values to be shown, low <= high */
} gm_axis;

/* Where a value stands on the axis. */
double gm_axis_place(const gm_axis *axis, double value);

/* An axis for the finite ones among value [count]: linear unless their sizes (zeros aside) span
 * more than the factor `span`; then logarithmic over at most `decades` powers of ten below the
 * largest, signed where zeros or negative values occur. 0 ... 1 where nothing is finite. */
gm_axis gm_axis_for(size_t count, const double *value, double span, int decades);

/* Commands that set range and ticks of gnuplot's axis `which` ("x" or "y"); no labels where bare.
 */
typedef enum gm_labels { GM_LABELS_SHOWN, GM_LABELS_BARE } gm_labels;
void gm_axis_script(const gm_axis *axis, const char *which, gm_labels labels, FILE *script);

#endif
