/* gradiometer dynamics ensemble: what its files share. */
#ifndef GM_CLI_DYNAMICS_ENSEMBLE_H
#define GM_CLI_DYNAMICS_ENSEMBLE_H

#include <jansson.h>

#include "cli/dynamics.h"
#include "gradiometer/ensemble.h"

typedef struct gm_ensemble_view {
    gm_ensemble_options options; /* as asked for; keep points to `keep` */
    uint32_t *keep;
    gm_ensemble *ensemble;
    json_t *setup; /* what must be equal for an ensemble to be continued */
} gm_ensemble_view;

/* ---- output (dynamics_ensemble_output.c) ---- */

enum { GM_ENSEMBLE_HISTOGRAMS = 4 }; /* at most */

/* The document; NULL with err recorded where memory is short. */
json_t *gm_ensemble_document(gm_cli *cli, const gm_session *session, const gm_ensemble_view *view,
                             gm_error *err);
gm_status gm_ensemble_print(const gm_cli *cli, const gm_session *session,
                            const gm_ensemble_view *view, gm_error *err);

/* ---- in the run file (dynamics_ensemble_store.c) ---- */

/* view->setup; NULL on its failure is reported later, by what uses it. */
void gm_ensemble_describe(const gm_session *session, gm_ensemble_view *view);

/* Takes over what the run file of --output holds of this ensemble; nothing without --output, or
 * where it holds none at this step. GM_ERR_INPUT where it holds another one, naming the first
 * setting that differs. */
gm_status gm_ensemble_recall(gm_cli *cli, const gm_session *session, gm_ensemble_view *view,
                             gm_error *err);
/* Stores the ensemble with its document, as far as it is; nothing without --output. */
gm_status gm_ensemble_keep(gm_cli *cli, const gm_session *session, const gm_ensemble_view *view,
                           json_t *document, gm_error *err);

#endif
