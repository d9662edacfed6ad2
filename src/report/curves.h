/* Several series over the steps of a training in one panel: what the figures of the dynamics share.
 */
#ifndef GM_REPORT_CURVES_H
#define GM_REPORT_CURVES_H

#include "report/figure.h"
#include "report/plot.h"
#include "report/result.h"

typedef struct gm_curve {
    gm_legend_entry entry; /* its line, or with `point` its points, and its name */
    const char *colour;    /* gnuplot variable, of the entry's line too */
    size_t count;
    const double *step, *value; /* [count] */
    const double *half;         /* half widths of intervals; NULL without */
} gm_curve;

/* The picture: a legend, one panel with the vertical axis `label`, on a scale that fits all values
 * and ends of intervals; dotted lines across at the steps mark [marks], and at zero where shown. */
gm_status gm_curves_draw(const gm_subject *subject, const char *label, const gm_curve *curve,
                         size_t count, const double *mark, size_t marks, gm_drawing *drawing,
                         gm_error *err);

/* The document of `dynamics` with this subcommand that is picture `number`; NULL past the last. */
const json_t *gm_dynamics_result(const gm_subject *subject, const char *subcommand, size_t number);
size_t gm_dynamics_results(const gm_subject *subject, const char *subcommand);

/* value [*count] = the member `key` of each object of an array, NaN in place of null; the caller's
 * (gm_free). */
gm_status gm_result_column(const json_t *array, const char *key, double **value, gm_error *err);

#endif
