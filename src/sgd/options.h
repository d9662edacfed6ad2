/* How the options of a training go into its run file. */
#ifndef GM_SGD_OPTIONS_H
#define GM_SGD_OPTIONS_H

#include "gradiometer/sgd.h"

/* Stores every option as a setting "train.NAME"; gm_train_options_load reads them back, equal to
 * the last bit. */
gm_status gm_train_options_store(gm_run *run, const gm_train_options *options, gm_error *err);

#endif
