/* The operator that `gradiometer spectrum` measures: any gm_operator, with what is known of it
 * beyond its products, counted and shown while a method works, and stopped by Ctrl-C. */
#ifndef GM_CLI_SPECTRUM_OPERATOR_H
#define GM_CLI_SPECTRUM_OPERATOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/progress.h"
#include "gradiometer/curvature.h"
#include "gradiometer/operator.h"

typedef struct gm_spectrum_operator gm_spectrum_operator;
struct gm_spectrum_operator {
    gm_operator op; /* what the methods work on: its products are those of `inner` */

    /* Vectors [starts, size] that the eigenproblem may start from, those of a neighbouring
     * operator; 0: none. */
    size_t starts;
    const double *start;
    bool start_split; /* [starts, rows]: this rank's share of each */

    /* Who it is; strings outlive the struct. */
    const char *layer; /* whose block it is; NULL: the whole operator */

    /* Ways around the products, NULL where there are none. */
    void *context; /* for whoever provides them */
    /* matrix [size, size], both triangles */
    gm_status (*form)(gm_spectrum_operator *target, double *matrix, gm_error *err);
    /* diagonal [size], exact */
    gm_status (*diagonal)(gm_spectrum_operator *target, double *diagonal, gm_error *err);
    /* The smaller matrix [gram, gram] with the same non-zero eigenvalues, and the way from its
     * eigenvectors weight [count, gram] to those of the operator; gram = 0 where there is none. */
    size_t gram;
    gm_status (*form_gram)(gm_spectrum_operator *target, double *matrix, gm_error *err);
    gm_status (*gram_vectors)(gm_spectrum_operator *target, size_t count, const double *weight,
                              double *vector, gm_error *err);

    bool steady; /* Ctrl-C does not end the products: somebody else looks after it */

    /* private to spectrum_operator.c */
    gm_operator inner;
    gm_progress progress;
    bool watched, quiet;
    gm_curvature kind;
    gm_linearization *lin;
    const gm_team *team; /* whose ranks take its products in step */
    int block;
};

/* Takes over inner, which gm_spectrum_operator_close then destroys, and leaves the ways around the
 * products NULL. The struct must not move while it is in use. */
void gm_spectrum_operator_wrap(const gm_operator *inner, const char *layer, bool quiet,
                               gm_spectrum_operator *target);

/* A curvature operator of lin on the whole net or on one layer's block, with all its shortcuts. */
gm_status gm_spectrum_operator_curvature(gm_linearization *lin, gm_curvature kind, int block,
                                         const char *layer, bool quiet,
                                         gm_spectrum_operator *target, gm_error *err);

/* From now on products are shown on standard error (expected: how many, 0 = unknown) and the first
 * Ctrl-C ends them with GM_ERR_INTERRUPTED; without it a product is silent and Ctrl-C kills. */
void gm_spectrum_operator_watch(gm_spectrum_operator *target, size_t expected);
/* Clears the display. */
void gm_spectrum_operator_rest(gm_spectrum_operator *target);

/* Accepts a struct of zeros. */
void gm_spectrum_operator_close(gm_spectrum_operator *target);

#endif
