/* One curvature operator measured for `gradiometer spectrum`: all eigenvalues by dense methods with
 * some eigenpairs checked by true products, or the exact diagonal. */
#ifndef GM_CLI_SPECTRUM_MEASURE_H
#define GM_CLI_SPECTRUM_MEASURE_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/session.h"
#include "gradiometer/curvature.h"

typedef enum gm_spectrum_method { GM_METHOD_DENSE, GM_METHOD_DIAGONAL } gm_spectrum_method;
typedef enum gm_spectrum_end {
    GM_END_LA, /* the largest */
    GM_END_SA, /* the smallest */
    GM_END_BE, /* from both ends; the odd one is a large one */
    GM_END_LM  /* the largest in absolute value */
} gm_spectrum_end;

typedef struct gm_spectrum_settings {
    gm_curvature kind;
    gm_spectrum_method method;
    size_t k; /* eigenpairs to check */
    gm_spectrum_end which;
    const char *export_vectors, *export_diagonal; /* NULL: not wanted */
} gm_spectrum_settings;

/* One operator on the whole net or on one layer's block, measured. */
typedef struct gm_spectrum {
    int layer;
    size_t size;
    bool gram;
    double *value;    /* [size] descending; NULL with GM_METHOD_DIAGONAL */
    size_t k;         /* eigenpairs checked */
    size_t *index;    /* [k] into value, ascending */
    double *vector;   /* [k, size] */
    double *residual; /* [k] */
    double worst;     /* largest residual relative to |lambda|max, 0 where that is 0 */
    bool converged;
    size_t products;
    double trace, frobenius; /* frobenius 0 with GM_METHOD_DIAGONAL */
    double *diagonal;        /* [size] where asked for, else NULL */
    double diagonal_min, diagonal_max, diagonal_mean;
} gm_spectrum;

/* Refuses matrices beyond the session's memory (GM_ERR_MEMORY), before anything is computed. */
gm_status gm_spectrum_check(const gm_session *session, gm_linearization *lin,
                            const gm_spectrum_settings *set, int layer, gm_error *err);

/* Measures the operator of set on the whole net (layer = GM_ALL_LAYERS) or on one layer's block.
 * Eigenpair i counts as converged where its residual is at most tol |lambda|max. The Gram form
 * serves where it is smaller and the k largest are asked for. gm_spectrum_free accepts what a
 * failure left. Cost: see gm_curvature_dense and gm_symmetric_eigen; k products. */
gm_status gm_spectrum_measure(const gm_session *session, gm_linearization *lin,
                              const gm_spectrum_settings *set, double tol, int layer,
                              gm_spectrum *s, gm_error *err);
void gm_spectrum_free(gm_spectrum *s);

#endif
