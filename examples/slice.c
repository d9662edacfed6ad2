/* The loss on a line through parameter space beside the quadratic model there, and where
 * checkpoints stand on their principal plane (landscape.h).
 *
 *     slice      status 1 where a check fails */
#include "setting.h"

enum { POINTS = 11, CHECKPOINTS = 6 };

static gm_status line(setting *s, gm_linearization *lin, gm_error *err)
{
    double t[POINTS], loss[POINTS], error[POINTS], *direction = malloc(s->p * sizeof *direction);
    size_t done = 0, middle = POINTS / 2;
    gm_landscape_model model;
    const gm_landscape_slice slice = {1, s->theta, direction, POINTS, t};
    const gm_landscape_values values = {loss, error, NULL, NULL}; /* no test set */
    if (!direction) return gm_fail(err, GM_ERR_MEMORY, "no memory for a direction");
    for (size_t i = 0; i < POINTS; i++) {
        t[i] = 0.002 * ((double)i - (double)middle);
    }
    gm_landscape_random(s->net, s->theta, 0, 0, direction); /* filters as long as the net's own */
    gm_status status = gm_landscape_model_make(lin, 1, direction, &model, err);
    if (!status)
        status = gm_landscape_evaluate(s->problem, NULL, &slice, NULL, &values, &done, err);
    for (size_t i = 0; !status && i < POINTS; i++) {
        printf("  t %7.3f  loss %.8f  model %.8f\n", t[i], loss[i],
               gm_landscape_model_at(&model, &t[i]));
    }
    if (!status) {
        double h = t[1] - t[0];
        double second = (loss[middle - 1] - 2 * loss[middle] + loss[middle + 1]) / (h * h);
        agree("loss in the middle", loss[middle], gm_linearization_loss(lin), 1e-14);
        agree("second difference, d.Hd", second, model.curvature[0][0],
              1e-2 * fabs(model.curvature[0][0]));
    }
    free(direction);
    return status;
}

static gm_status trajectory(setting *s, gm_error *err)
{
    double *point = malloc((CHECKPOINTS + 2) * s->p * sizeof *point), share[2], kept;
    double place[2 * CHECKPOINTS], distance[CHECKPOINTS];
    if (!point) return gm_fail(err, GM_ERR_MEMORY, "no memory for checkpoints");
    double *direction = point + CHECKPOINTS * s->p;
    gm_status status = GM_OK;
    for (size_t i = 0; !status && i < CHECKPOINTS; i++) {
        memcpy(point + i * s->p, s->theta, s->p * sizeof *point);
        status = setting_train(s, 40, 10, 0.1, err);
    }
    const gm_landscape_slice plane = {2, point, direction, 0, NULL};
    if (!status) status = gm_landscape_plane(CHECKPOINTS, s->p, point, 2, direction, share, err);
    if (!status)
        status =
            gm_landscape_project(CHECKPOINTS, s->p, point, &plane, place, distance, &kept, err);
    for (size_t i = 0; !status && i < CHECKPOINTS; i++) {
        printf("  checkpoint %zu at (%.3f, %.3f), %.3f from the plane\n", i, place[2 * i],
               place[2 * i + 1], distance[i]);
    }
    if (!status) agree("variance on the plane", kept, share[0] + share[1], 1e-12);
    free(point);
    return status;
}

int main(void)
{
    gm_error err = {0};
    gm_linearization *lin = NULL;
    setting s;
    gm_status status = setting_open("mlp:6-8-3,act=tanh", "gauss:k=3,d=6,n=60", &s, &err);
    if (!status) status = gm_linearize(s.problem, s.theta, &lin, &err);
    if (!status) status = line(&s, lin, &err);
    gm_linearization_free(lin);
    if (!status) status = trajectory(&s, &err);
    setting_close(&s);
    return setting_end(status, &err);
}
