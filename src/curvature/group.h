/* Operators on a group of parameters (gm_net_add_group): those of the whole net between the
 * group's coordinates. */
#ifndef GM_CURVATURE_GROUP_H
#define GM_CURVATURE_GROUP_H

#include "curvature/parts.h"

/* True where that index is a group's. */
bool gm_is_group(const gm_linearization *lin, int layer);

/* What gm_curvature_operator and _diagonal do for one. Cost of a product: one of the whole net's;
 * of the diagonal: the whole net's. */
gm_status gm_group_operator(gm_linearization *lin, gm_curvature kind, int layer, gm_operator *op,
                            gm_error *err);
gm_status gm_group_diagonal(gm_linearization *lin, gm_curvature kind, int layer, double *diagonal,
                            gm_error *err);

#endif
