/* Quantities of a run as curves: what comparisons of several runs draw. */
#ifndef GM_REPORT_SERIES_H
#define GM_REPORT_SERIES_H

#include <stddef.h>

#include "gradiometer/status.h"
#include "report/subject.h"

typedef struct gm_series {
    size_t count;
    double *x, *y; /* [count] */
    double *half;  /* [count] standard errors, 0 where not known; NULL without any */
} gm_series;

typedef struct gm_quantity gm_quantity;
struct gm_quantity {
    gm_status (*read)(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                      gm_error *err);
    int metric, error; /* of gm_series_metric; error -1 without */
    const char *path;  /* of a number in a document, or of an array */
    double factor;     /* of the values */
    const char *label; /* of the vertical axis, gnuplot enhanced text */
    double span;       /* a logarithmic axis beyond this ratio of the values */
};

/* Readers: of a recorded metric; of a number in each decomposition of a run; of the largest
 * eigenvalue of H, decomposed, followed or found by `spectrum`; of a number in each bound; of an
 * array in the last decomposition over 1, 2, ...; of the overlap of H with M there. A series
 * without finite values has count 0. Errors: GM_ERR_MEMORY. *series is for gm_series_free in any
 * case. */
gm_status gm_series_metric(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                           gm_error *err);
gm_status gm_series_points(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                           gm_error *err);
gm_status gm_series_largest(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                            gm_error *err);
gm_status gm_series_bound(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                          gm_error *err);
gm_status gm_series_array(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                          gm_error *err);
gm_status gm_series_overlap(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                            gm_error *err);
void gm_series_free(gm_series *series);

#endif
