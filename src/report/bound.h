/* Documents of `bound` in a run file. */
#ifndef GM_REPORT_BOUND_H
#define GM_REPORT_BOUND_H

#include <jansson.h>

#include "report/figure.h"

/* How many documents of that key ("bound", "rescale") there are. */
size_t gm_bounds_count(const gm_subject *subject, const char *key);
/* The one that is drawn as number drawing->number < gm_bounds_count; sets the drawing's step. */
const json_t *gm_bounds_find(const gm_subject *subject, const char *key, gm_drawing *drawing);

#endif
