/* Where the operators of `gradiometer spectrum` come from: a net with its data, or a matrix in a
 * file. Either gives one block after the other to be measured. */
#ifndef GM_CLI_SPECTRUM_SOURCE_H
#define GM_CLI_SPECTRUM_SOURCE_H

#include "cli/cli.h"
#include "cli/session.h"
#include "cli/spectrum_measure.h"
#include "cli/spectrum_operator.h"

/* The D of --precondition; zeros without. */
typedef struct gm_spectrum_divisor {
    const char
        *name;   /* "rmsprop", ..., "file"; NULL where D is to be taken yet, or there is none */
    char *what;  /* its formula, or its file */
    size_t size; /* p */
    size_t from, count;       /* the slice that the operators see: a layer's, or all of it */
    double *diagonal, *scale; /* [size] D and D^{-1/2} */
    double min, max;          /* of D in the slice */
} gm_spectrum_divisor;

typedef struct gm_spectrum_source {
    gm_cli *cli;
    gm_session *session; /* without net and data where there is a matrix */
    gm_operator matrix;  /* of --matrix; zeros without */
    gm_spectrum_divisor divisor;
    gm_linearization *lin; /* of the net at its point; NULL before gm_spectrum_source_linearize and
                              with a matrix */
} gm_spectrum_source;

/* Checks the options that say what is measured against each other, before anything is opened. */
gm_status gm_spectrum_check_inputs(const gm_cli *cli, const gm_spectrum_settings *set,
                                   gm_error *err);

/* Opens session and source; the costly part is left for gm_spectrum_source_linearize. Both are for
 * their close functions in any case. */
gm_status gm_spectrum_source_open(gm_cli *cli, const gm_spectrum_settings *set, gm_session *session,
                                  gm_spectrum_source *source, gm_error *err);
/* Loss, gradient and exact D of the problem at the session's point; nothing with a matrix. */
gm_status gm_spectrum_source_linearize(gm_spectrum_source *source, const gm_spectrum_settings *set,
                                       gm_problem *problem, gm_error *err);
/* Ends the use of the linearization. */
void gm_spectrum_source_rest(gm_spectrum_source *source);
/* *again = the same net at the same point, for another problem, with a D of its own. */
gm_status gm_spectrum_source_again(const gm_spectrum_source *source,
                                   const gm_spectrum_settings *set, gm_spectrum_source *again,
                                   gm_error *err);
void gm_spectrum_source_close(gm_spectrum_source *source);

/* How many operators there are, the largest of their sizes, and number i with its size. */
size_t gm_spectrum_source_blocks(const gm_spectrum_source *source);
size_t gm_spectrum_source_size(const gm_spectrum_source *source, size_t i);
size_t gm_spectrum_source_largest(const gm_spectrum_source *source);
/* Whose block number i is; NULL: the whole operator. */
const char *gm_spectrum_source_layer(const gm_spectrum_source *source, size_t i);
gm_status gm_spectrum_source_block(gm_spectrum_source *source, const gm_spectrum_settings *set,
                                   size_t i, gm_spectrum_operator *target, gm_error *err);

/* ---- spectrum_precondition.c ---- */

gm_status gm_divisor_check_options(const gm_cli *cli, const gm_spectrum_settings *set,
                                   gm_error *err);
/* *d for `size` parameters, of which the operators see `count` from `from`: taken from the file or
 * from the optimizer's state; the exact diagonals come later. For gm_divisor_close in any case. */
gm_status gm_divisor_open(const gm_spectrum_settings *set, const gm_session *session, size_t size,
                          size_t from, size_t count, gm_spectrum_divisor *d, gm_error *err);
/* The exact diagonals at lin's point, where these are asked for; may be called again. */
gm_status gm_divisor_take(const gm_spectrum_settings *set, gm_linearization *lin,
                          gm_spectrum_divisor *d, gm_error *err);
void gm_divisor_close(gm_spectrum_divisor *d);
/* *target = S A S for A = base, which it takes over (from gm_alloc, open), even where it fails; S =
 * diag(scale), scale [size], which must outlive it. */
gm_status gm_divisor_target(gm_spectrum_operator *base, const double *scale, bool quiet,
                            gm_spectrum_operator *target, gm_error *err);

/* ---- spectrum_matrix.c ---- */

gm_status gm_matrix_check_options(const gm_cli *cli, gm_error *err);
/* A session of seed and threads alone, in double precision, and the matrix at path. */
gm_status gm_matrix_open(gm_cli *cli, const char *path, gm_session *session, gm_operator *matrix,
                         gm_error *err);
/* The matrix as an operator to be measured, which borrows it. */
void gm_matrix_target(const gm_operator *matrix, bool quiet, gm_spectrum_operator *target);

#endif
