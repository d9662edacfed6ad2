/* gradiometer dynamics: what the subcommands share. */
#ifndef GM_CLI_DYNAMICS_H
#define GM_CLI_DYNAMICS_H

#include <jansson.h>

#include "cli/document.h"
#include "cli/session.h"
#include "gradiometer/dynamics.h"

enum { GM_PREDICT_QUANTILES = 7, GM_PREDICT_LEVELS = 16 };
extern const double gm_predict_level[GM_PREDICT_QUANTILES]; /* of the quantiles, in (0, 1) */

/* How often draws left the band of one s. */
typedef struct gm_coverage {
    double s, lower, upper; /* the band: mean - ..., mean + ... */
    size_t below, above;    /* draws outside */
} gm_coverage;

/* One batch size and one step size. */
typedef struct gm_predict_case {
    size_t batch;
    double step;
    gm_step_prediction predicted;
    double
        quantile[GM_PREDICT_QUANTILES]; /* of the model under Gaussian noise; NaN where unknown */
    size_t draws, infinite;             /* infinite: draws whose loss is no finite number */
    double mean, variance, mean_error;  /* of the finite draws */
    double observed[GM_PREDICT_QUANTILES];
    gm_coverage coverage[GM_PREDICT_LEVELS];
    double *delta; /* [draws] sorted */
} gm_predict_case;

typedef struct gm_predict {
    gm_step_model model;
    bool without_replacement;
    size_t levels;
    double level[GM_PREDICT_LEVELS]; /* s */
    size_t cases;
    gm_predict_case *item; /* batch first, then step */
} gm_predict;

void gm_predict_free(gm_predict *predict);

json_t *gm_predict_document(gm_cli *cli, const gm_session *session, const gm_predict *predict,
                            gm_error *err);
void gm_predict_print(const gm_cli *cli, const gm_session *session, const gm_predict *predict);

#endif
