#include "dynamics/batch.h"

#include <string.h>

#include "diff/problem.h"

gm_status gm_batch_point_open(const gm_problem *whole, const double *theta, size_t m,
                              const size_t *index, gm_batch_point *point, gm_error *err)
{
    gm_problem_options o;
    memset(point, 0, sizeof *point);
    gm_problem_options_default(&o);
    o.loss = gm_problem_loss(whole);
    o.memory = whole->memory;
    gm_status status =
        gm_dataset_select(gm_problem_data(whole), m, index, "a batch", &point->data, err);
    if (status == GM_OK) {
        status = gm_problem_create(gm_problem_net(whole), point->data, &o, &point->problem, err);
    }
    if (status == GM_OK) status = gm_linearize(point->problem, theta, &point->lin, err);
    if (status == GM_OK) {
        status = gm_curvature_operator(point->lin, GM_HESSIAN, GM_ALL_LAYERS, &point->hessian, err);
    }
    return status;
}

void gm_batch_point_close(gm_batch_point *point)
{
    gm_operator_destroy(&point->hessian);
    gm_linearization_free(point->lin);
    gm_problem_free(point->problem);
    gm_dataset_free(point->data);
}
