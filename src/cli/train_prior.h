/* --prior-fraction of `gradiometer train`: a prior learned from a share of the data before the run
 * begins. */
#ifndef GM_CLI_TRAIN_PRIOR_H
#define GM_CLI_TRAIN_PRIOR_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/session.h"
#include "gradiometer/sgd.h"

/* The options as given: fraction 0 without a prior, steps 0 for those of the run. */
typedef struct gm_train_prior {
    double fraction;
    uint64_t steps;
} gm_train_prior;

typedef struct gm_learned_prior {
    gm_train_prior asked;
    gm_prior_split split; /* n = 0: no prior was asked for */
    gm_train_result result;
} gm_learned_prior;

/* The options against each other. */
gm_status gm_learned_prior_check(const gm_cli *cli, gm_error *err);
/* Checks the options against the session, and splits the data. To be called
 * before anything is printed; gm_prior_split_free(&prior->split) ends it, after a failure too. */
gm_status gm_learned_prior_open(const gm_cli *cli, const gm_session *session,
                                const gm_train_prior *asked, const gm_train_options *options,
                                gm_learned_prior *prior, gm_error *err);
/* Trains it, from session->theta and into it; does nothing where none was asked for. A training
 * that diverged or was interrupted is an error here: the run has not begun. */
gm_status gm_learned_prior_train(const gm_cli *cli, gm_session *session,
                                 const gm_train_options *options, gm_learned_prior *prior,
                                 gm_error *err);
/* Into the run file that is to begin with it. */
gm_status gm_learned_prior_store(gm_run *run, const gm_session *session,
                                 const gm_learned_prior *prior, gm_error *err);

/* Value of the key `prior`, null without one; and the readable line. */
json_t *gm_learned_prior_value(gm_cli *cli, const gm_learned_prior *prior);
void gm_learned_prior_print(const gm_learned_prior *prior);

#endif
