/* Documents of `bound` in a run file. */
#ifndef GM_REPORT_BOUND_H
#define GM_REPORT_BOUND_H

#include <jansson.h>
#include <stdio.h>

#include "report/subject.h"

/* How many documents of that key ("bound", "rescale") there are. */
size_t gm_bounds_count(const gm_subject *subject, const char *key);
/* Number `index` of them, index < gm_bounds_count; its step is added to the title. */
const json_t *gm_bounds_find(const gm_subject *subject, const char *key, size_t index, FILE *title);

#endif
