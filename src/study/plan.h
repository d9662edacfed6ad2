/* The steps of gm_study_expand. */
#ifndef GM_STUDY_PLAN_H
#define GM_STUDY_PLAN_H

#include "study/study.h"

/* plan->cell, without tasks. */
gm_status gm_grid_expand(gm_study_plan *plan, gm_error *err);
/* The values of an axis for a data set: its own, else those for all. */
const gm_study_list *gm_grid_list(const gm_study *study, size_t data, gm_study_axis axis);
bool gm_grid_matches(const gm_study_plan *plan, const gm_study_cell *cell,
                     const gm_study_filter *filter);

#endif
