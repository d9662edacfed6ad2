/* What a training was started on, so that resuming it on something else is noticed. */
#ifndef GM_SGD_IDENTITY_H
#define GM_SGD_IDENTITY_H

#include <stddef.h>

#include "gradiometer/sgd.h"

enum { GM_IDENTITY_LENGTH = 32 };

/* Checksum of everything that the loss reads of a data set, "none" without a problem. */
void gm_identity_checksum(gm_problem *problem, char value[GM_IDENTITY_LENGTH]);

/* Stores size, precision, loss, checksums of the data, threads and instruction set as settings. */
gm_status gm_identity_store(gm_run *run, gm_problem *problem, gm_problem *test, gm_error *err);

/* Compares them with what there is now. GM_ERR_INPUT names the first that must not differ; what may
 * (threads, instruction set, chunk: other rounding) is told in note [length], else "". */
gm_status gm_identity_check(gm_run *run, gm_problem *problem, gm_problem *test, char *note,
                            size_t length, gm_error *err);

#endif
