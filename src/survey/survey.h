/* Inside of the survey: one block (the net or a layer) and its operators. */
#ifndef GM_SURVEY_SURVEY_H
#define GM_SURVEY_SURVEY_H

#include "gradiometer/survey.h"

/* What the stages on one block share. */
typedef struct gm_block_task {
    gm_linearization *lin;
    const gm_decompose_options *options;
    int layer;
    size_t size, k;
    gm_dtype precision;    /* of the products */
    double eps;            /* likewise */
    size_t outlier_limit;  /* 3 K */
    double *matrix[2];     /* [size, size]; NULL by products */
    gm_block_survey *past; /* by products: the same block at the point before, whose eigenvectors
                              are the start and are given up once they have served; NULL without */
    bool keep;             /* by products: a point follows that wants these eigenvectors */
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

/* The same by products. A Gram form of at most gram_rows rows is used, its eigenvalues exact. Of
 * the summary the Frobenius norm is left out elsewhere. */
gm_status gm_survey_operator_by_products(const gm_block_task *task, gm_curvature kind,
                                         size_t gram_rows, gm_operator_survey *survey,
                                         gm_error *err);
/* Rows of the Gram form of an operator on the task's block; 0 where there is none. */
size_t gm_survey_gram_rows(const gm_block_task *task, gm_curvature kind);
/* Spectrum, summary and leading pairs from a Gram form, without residuals. all: value holds the
 * zeros that the form leaves out, else the leading ones alone. */
gm_status gm_survey_gram(const gm_block_task *task, gm_curvature kind, size_t rows, bool all,
                         gm_operator_survey *survey, gm_error *err);

/* Tolerance of eigenpairs; bytes for more Krylov vectors than must be (half of what is left at
 * most), and the most rows of a Gram form beside everything else. */
double gm_decompose_tolerance(const gm_decompose_options *options, gm_dtype precision);
size_t gm_decompose_spare(const gm_problem *problem, const gm_decompose_options *options,
                          size_t points);
size_t gm_decompose_gram_rows(const gm_problem *problem, const gm_decompose_options *options,
                              size_t points);

/* Gives the eigenvectors up, of both ends. */
void gm_survey_drop_vectors(gm_operator_survey *survey);
void gm_operator_survey_clear(gm_operator_survey *survey);
void gm_low_end_clear(gm_low_end *low);

/* Surveys one block; *block is zeros before, and to be cleared whatever the outcome. past and keep
 * as in gm_block_task. */
gm_status gm_survey_block(gm_linearization *lin, const gm_decompose_options *options, int layer,
                          gm_block_survey *past, bool keep, gm_block_survey *block, gm_error *err);
gm_status gm_survey_products(const gm_block_task *task, gm_block_survey *block, gm_error *err);
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

/* Largest ||(H - M + H_p) v|| / (||H v|| + ||M v|| + ||H_p v||) over count vectors, from the three
 * products [count, size]; work [size]. */
double gm_survey_mismatch(size_t size, size_t count, const double *hessian, const double *moment,
                          const double *residual, double *work);

/* Stages on a block whose operators are there. index of the pair; low: the lower end of H_p, for
 * the last pair alone. */
gm_status gm_survey_pair(gm_block_survey *block, int index, const gm_low_end *low, gm_error *err);
gm_status gm_survey_angles(gm_block_survey *block, gm_error *err);
gm_status gm_survey_shares(const gm_block_task *task, gm_block_survey *block, gm_error *err);

#endif
