#include "report/threshold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double gm_setting_number(const gm_subject *subject, const char *key)
{
    const char *text = gm_subject_setting(subject, key);
    if (!text || !*text) return (double)NAN;
    char *end;
    double value = strtod(text, &end);
    return *end ? (double)NAN : value;
}

double gm_threshold_of(const gm_subject *subject, double *beta, bool *nesterov)
{
    const char *word = gm_subject_setting(subject, "train.nesterov");
    double step = gm_setting_number(subject, "train.step");
    *beta = gm_setting_number(subject, "train.momentum");
    *nesterov =
        word && (strcmp(word, "yes") == 0 || strcmp(word, "true") == 0 || strcmp(word, "1") == 0);
    const char *optimizer = gm_subject_setting(subject, "train.optimizer");
    const char *precondition = gm_subject_setting(subject, "train.precondition");
    const char *policy = gm_subject_setting(subject, "train.policy");
    if (policy && (*policy < '0' || *policy > '9')) return (double)NAN; /* not fixed */
    if (optimizer && strcmp(optimizer, "sgd") != 0) return (double)NAN;
    if (precondition && strcmp(precondition, "none") != 0) return (double)NAN;
    if (!isfinite(*beta)) *beta = 0.0;
    if (!(step > 0.0)) return (double)NAN;
    return (2.0 + 2.0 * *beta) / ((*nesterov ? 1.0 + 2.0 * *beta : 1.0) * step);
}

const char *gm_threshold_label(double beta, bool nesterov)
{
    return beta == 0.0 ? "2/{/:Italic η}"
           : nesterov  ? "(2+2{/:Italic β})/((1+2{/:Italic β}){/:Italic η})"
                       : "(2+2{/:Italic β})/{/:Italic η}";
}
