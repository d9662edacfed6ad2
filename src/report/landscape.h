/* What the figures of `landscape` documents share. */
#ifndef GM_REPORT_LANDSCAPE_H
#define GM_REPORT_LANDSCAPE_H

#include "report/figure.h"
#include "report/subject.h"

/* The number-th slice of so many dimensions; NULL beyond the last. */
const json_t *gm_landscape_find(const gm_subject *subject, int dimensions, size_t number);
size_t gm_landscape_count(const gm_subject *subject, int dimensions);
/* What a slice is of, behind a figure's title: " along eigenvectors within dense1", and its step.
 */
void gm_landscape_title(const json_t *document, gm_drawing *drawing);

/* How often the loss's largest value on a slice holds its least, for it to be drawn on a
 * logarithmic scale. */
#define GM_LANDSCAPE_SPAN 20.0

#endif
