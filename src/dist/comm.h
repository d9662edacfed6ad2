/* Inside of a gm_dist. */
#ifndef GM_DIST_COMM_H
#define GM_DIST_COMM_H

#include <mpi.h>

#include "dist/dist.h"

/* Numbers of a piece of a sum, over all ranks. */
enum { GM_DIST_PIECE = 1 << 18 };

struct gm_dist {
    gm_team team;
    MPI_Comm comm;             /* of the team's calls */
    MPI_Comm ending;           /* of gm_dist_end: what is lost in comm does not get in its way; of
                                  the whole alone */
    unsigned long long *place; /* [size, 2]: of a gather */
    double *piece;             /* [2, PIECE] */
    bool measuring;
    gm_dist_times times;
};

#endif
