/* The methods of `gradiometer spectrum`, one file each. check_ refuses what does not fit, before
 * anything is computed; measure_ fills *s, which is for gm_spectrum_free in any case. */
#ifndef GM_CLI_SPECTRUM_METHODS_H
#define GM_CLI_SPECTRUM_METHODS_H

#include "cli/spectrum_measure.h"

/* Eigenpairs wanted of an operator of that size. */
size_t gm_spectrum_k(const gm_spectrum_settings *set, size_t size);

/* Whether the lower end of a positive semidefinite operator is wanted, where 0 is met many times.
 */
bool gm_spectrum_zeros_below(const gm_spectrum_settings *set);

/* GM_ERR_MEMORY where `bytes` (a double, so that it cannot overflow) exceed the budget. */
gm_status gm_spectrum_fits(const gm_spectrum_settings *set, const char *what, double bytes,
                           gm_error *err);

/* All eigenvalues by LAPACK, of the Gram form where that is smaller and the largest are wanted; k
 * pairs checked by true products. Without a way to form the matrix: size products. */
gm_status gm_check_dense(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                         gm_error *err);
gm_status gm_measure_dense(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_spectrum *s, gm_error *err);
double gm_dense_bytes(size_t n);

/* k extreme pairs, by gm_eigenpairs or gm_eigen_track. */
gm_status gm_check_lanczos(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_error *err);
gm_status gm_measure_lanczos(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                             gm_spectrum *s, gm_error *err);
double gm_lanczos_bytes(const gm_spectrum_settings *set, size_t size);

/* set->basis as --memory allows; fewer vectors than the solver likes are noted. */
void gm_spectrum_fit_basis(gm_cli *cli, size_t size, gm_spectrum_settings *set);

/* The same by set->row_solver, on all ranks of set->team; *split: each keeps its share of every
 * vector. */
gm_status gm_spectrum_solve_rows(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                                 const gm_eigen_options *options, gm_eigen *found, bool *split,
                                 gm_error *err);

/* Stochastic Lanczos quadrature, smoothed; what functions of the operator follow from it. */
gm_status gm_check_density(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_error *err);
gm_status gm_measure_density(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                             gm_spectrum *s, gm_error *err);

/* value [bins] and std_error [bins], per unit eigenvalue, between edges [bins + 1]; mass is what
 * lies within. Without the atoms of q. */
gm_status gm_density_on_grid(const gm_quadrature *q, double width, size_t bins, const double *edge,
                             double *value, double *std_error, double *mass, gm_error *err);

/* Trace and Frobenius norm by random probes. The estimator where none was given: xtrace (for an
 * estimated diagonal xdiag) where its vectors fit, else hutchinson; for the trace a note says so.
 */
void gm_choose_estimator(gm_cli *cli, size_t size, gm_spectrum_settings *set);
/* Products at most: --max-products, or 300, or with --rel-error as many as fit, up to 10,000. */
size_t gm_estimate_limit(const gm_spectrum_settings *set, size_t size);
/* What the estimators are asked for, the products at most and the seed included. */
gm_estimate_options gm_spectrum_estimate_options(const gm_spectrum_settings *set, size_t size);
gm_status gm_check_trace(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                         gm_error *err);
gm_status gm_measure_trace(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_spectrum *s, gm_error *err);

/* The diagonal: exact where there is a way, estimated where there is none or where asked. */
gm_diagonal_method gm_spectrum_diagonal_method(const gm_spectrum_settings *set);
gm_status gm_check_diagonal(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                            gm_error *err);
gm_status gm_measure_diagonal(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                              gm_spectrum *s, gm_error *err);

#endif
