/* The curvature at which the step of a training becomes unstable. */
#ifndef GM_REPORT_THRESHOLD_H
#define GM_REPORT_THRESHOLD_H

#include <stdbool.h>

#include "report/subject.h"

/* A setting as a number; NaN where it is none. */
double gm_setting_number(const gm_subject *subject, const char *key);

/* The curvature beyond which plain gradient descent with this step grows on a quadratic: 2 / eta,
 * with momentum (2 + 2 beta) / eta, with Nesterov's (2 + 2 beta) / ((1 + 2 beta) eta) (theory
 * section 3). NaN where the step was no constant, or the update another one. */
double gm_threshold_of(const gm_subject *subject, double *beta, bool *nesterov);
/* The formula it comes from, as gnuplot enhanced text. */
const char *gm_threshold_label(double beta, bool nesterov);

#endif
