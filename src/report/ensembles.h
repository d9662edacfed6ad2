/* The ensembles of a run file, for the figures that show them. */
#ifndef GM_REPORT_ENSEMBLES_H
#define GM_REPORT_ENSEMBLES_H

#include "report/result.h"
#include "report/subject.h"

/* The number-th ensemble that has some run. */
const json_t *gm_ensemble_of(const gm_subject *subject, size_t number);

#endif
