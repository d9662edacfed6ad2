/* --optimize of `gradiometer bound`: a posterior optimized for the bound, beside its start. */
#ifndef GM_CLI_BOUND_OPTIMIZE_H
#define GM_CLI_BOUND_OPTIMIZE_H

#include <jansson.h>

#include "cli/bound.h"
#include "gradiometer/posterior.h"

typedef struct gm_optimized {
    bool made, learned; /* learned: scales of the prior too */
    gm_objective objective;
    size_t batch;
    double step, clip;
    gm_optimize_result result;
    gm_certificate start, end; /* of the posterior from the Hessian, and of what came of it */
    double *unit;              /* [p]: of the prior at the end */
    double *theta, *ratio;     /* [p]: means; precisions relative to the prior of scale `scale` */
    double scale;
    double test_start, test_end; /* Gibbs test errors, NaN without test data */
} gm_optimized;

/* The options against each other, and against the loss. */
gm_status gm_bound_optimize_check(const gm_cli *cli, gm_error *err);
gm_status gm_bound_optimize_check_loss(const gm_cli *cli, gm_loss loss, gm_error *err);
/* Optimizes from the best case of run->bound and certifies start and end by fresh draws; does
 * nothing without --optimize. */
gm_status gm_bound_optimize(gm_cli *cli, gm_session *session, const gm_bound_run *run,
                            gm_optimized *out, gm_error *err);
void gm_optimized_free(gm_optimized *out);

/* Value of the key `optimized`, null without; and the readable form. */
json_t *gm_optimized_value(gm_cli *cli, const gm_session *session, const gm_bound_run *run,
                           const gm_optimized *out);
void gm_optimized_print(const gm_session *session, const gm_bound_run *run,
                        const gm_optimized *out);

#endif
