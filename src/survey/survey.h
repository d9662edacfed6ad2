/* Inside of the survey: one block (the net or a layer) and its operators. */
#ifndef GM_SURVEY_SURVEY_H
#define GM_SURVEY_SURVEY_H

#include "gradiometer/survey.h"

/* What the stages on one block share. matrix[] are the only arrays of size^2 numbers. */
typedef struct gm_block_task {
    gm_linearization *lin;
    const gm_decompose_options *options;
    int layer;
    size_t size, k;
    double eps;           /* of the products */
    size_t outlier_limit; /* 3 K */
    double *matrix[2];    /* [size, size] */
} gm_block_task;

/* Euclidean norm of x [n] without overflow or underflow of the squares: where a net fits all its
 * labels, H may be as small as 1e-200 and is still no zero. NaN and infinity
 * propagate. */
double gm_survey_norm(size_t n, const double *x);

/* Leading eigenpairs at the lower end of a spectrum: those of -A, largest first. */
typedef struct gm_low_end {
    size_t count;
    double *value;    /* [count] eigenvalues of -A, descending */
    double *residual; /* [count] */
    double *vector;   /* [count, size] */
} gm_low_end;

/* Eigenvalues, summary and leading eigenpairs with residuals of one operator, from its dense matrix
 * (filled by the caller; destroyed) or, with matrix NULL, from its Gram form. low may be NULL. */
gm_status gm_survey_operator(const gm_block_task *task, gm_curvature kind, double *matrix,
                             gm_operator_survey *survey, gm_low_end *low, gm_error *err);
void gm_operator_survey_clear(gm_operator_survey *survey);
void gm_low_end_clear(gm_low_end *low);

/* Surveys one block; *block is zeros before, and to be cleared whatever the outcome. */
gm_status gm_survey_block(gm_linearization *lin, const gm_decompose_options *options, int layer,
                          gm_block_survey *block, gm_error *err);
void gm_block_survey_clear(gm_block_survey *block);

/* One side of an overlap: leading eigenpairs of an operator of size p. */
typedef struct gm_side {
    const char *name;
    size_t rank, count;
    double floor;
    bool by_magnitude;
    const double *value, *residual, *vector;
} gm_side;
gm_side gm_side_of(const char *name, const gm_operator_survey *survey);

/* Overlap of two sides for every k up to most; *overlap is zeros before. */
gm_status gm_survey_overlap(size_t size, size_t most, const gm_side *a, const gm_side *b,
                            gm_overlap_survey *overlap, gm_error *err);

#endif
