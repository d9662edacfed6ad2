/* The model of dist/bench.h. */
#include <math.h>

#include "dist/bench.h"
#include "dist/comm.h"

double gm_rank_reduction(const gm_rank_model *model, int ranks, double parameters)
{
    double others = (double)ranks - 1.0, pieces = ceil(parameters / GM_DIST_PIECE);
    return 2.0 * others * pieces * model->latency +
           2.0 * others / (double)ranks * (double)sizeof(double) * parameters / model->bandwidth;
}

double gm_rank_predict(const gm_rank_model *model, int ranks, double slowdown, double samples,
                       double parameters)
{
    /* The largest share, in whole samples. */
    double share = ceil(samples / (double)ranks);
    return slowdown * (model->fixed + model->sample * share) +
           gm_rank_reduction(model, ranks, parameters);
}
