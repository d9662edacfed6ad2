/* What a slice is cut along: eigenvectors, the gradient, random directions, the way to another
 * point, the principal directions of a run's checkpoints. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/interrupt.h"
#include "cli/landscape.h"
#include "kernels/kernels.h"

const char *const gm_along_words[] = {"eigenvectors", "gradient",  "random",
                                      "checkpoints",  "principal", NULL};

/* ---- the other end ---- */

static gm_status to_of_run(const gm_session *session, const char *text, gm_landscape_run *run,
                           gm_error *err)
{
    char *path = NULL;
    int64_t step;
    gm_run *file = NULL;
    double *theta = NULL;
    size_t found = 0;
    gm_status status = gm_run_split(text, &path, &step, err);
    if (status == GM_OK) status = gm_run_open(path, GM_RUN_READ, &file, err);
    if (status == GM_OK) status = gm_run_parameters(file, step, &theta, &found, &step, err);
    if (status == GM_OK && found != run->p)
        status = gm_fail(err, GM_ERR_INPUT, "--to: %s holds %zu numbers, expected %zu, those of %s",
                         text, found, run->p, gm_net_name(session->net));
    if (status == GM_OK) {
        run->to = gm_alloc(run->p, sizeof *run->to, "parameters", err);
        run->to_point = gm_format(err, "%s, step %lld", path, (long long)step);
        if (!run->to || !run->to_point) status = GM_ERR_MEMORY;
    }
    if (status == GM_OK) memcpy(run->to, theta, run->p * sizeof *theta);
    gm_run_free(theta);
    gm_run_close(file);
    gm_run_free(path);
    return status;
}

gm_status gm_landscape_read_to(gm_cli *cli, const gm_session *session, gm_landscape_run *run,
                               gm_error *err)
{
    const gm_landscape_settings *set = cli->settings;
    gm_status status = GM_OK;
    if (!set->to) return GM_OK;
    if (gm_session_names_parameters(set->to)) {
        status = gm_session_read_parameters(cli, session, "to", set->to, &run->to, err);
        if (status != GM_OK) return status;
        run->to_point = gm_strdup(set->to, err);
        if (!run->to_point) return GM_ERR_MEMORY;
    } else {
        status = to_of_run(session, set->to, run, err);
        if (status != GM_OK) return status;
    }
    if (memcmp(run->to, session->theta, run->p * sizeof *run->to) != 0) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "--to: %s is the point itself, expected another one",
                   set->to);
}

/* ---- one layer ---- */

/* The slices of the vector of parameters that directions may move; *whole has room for one. */
static size_t slices_of(const gm_session *session, gm_slice *whole, const gm_slice **slice)
{
    *slice = whole;
    *whole = (gm_slice){0, gm_net_parameters(session->net)};
    if (session->layer == GM_ALL_LAYERS) return 1;
    size_t index = (size_t)session->layer, count = gm_net_group_slices(session->net, index, slice);
    if (count) return count;
    gm_net_layer layer = gm_net_layer_at(session->net, index);
    *slice = whole;
    *whole = (gm_slice){layer.offset, layer.parameters};
    return 1;
}

size_t gm_landscape_block_size(const gm_session *session)
{
    gm_slice whole;
    const gm_slice *slice;
    size_t count = slices_of(session, &whole, &slice), size = 0;
    for (size_t i = 0; i < count; i++) {
        size += slice[i].size;
    }
    return size;
}

/* direction [p] = block [size] in its place, zero elsewhere. */
static void place_block(const gm_session *session, const double *block, double *direction)
{
    gm_slice whole;
    const gm_slice *slice;
    size_t count = slices_of(session, &whole, &slice);
    memset(direction, 0, gm_net_parameters(session->net) * sizeof *direction);
    for (size_t i = 0; i < count; i++) {
        memcpy(direction + slice[i].offset, block, slice[i].size * sizeof *block);
        block += slice[i].size;
    }
}

/* block [size] = the part of vector [p]. */
static void take_block(const gm_session *session, const double *vector, double *block)
{
    gm_slice whole;
    const gm_slice *slice;
    size_t count = slices_of(session, &whole, &slice);
    for (size_t i = 0; i < count; i++) {
        memcpy(block, vector + slice[i].offset, slice[i].size * sizeof *block);
        block += slice[i].size;
    }
}

/* direction [p] to zero outside of the layer. */
static void restrict_to_layer(const gm_session *session, double *direction)
{
    gm_slice whole;
    const gm_slice *slice;
    size_t count = slices_of(session, &whole, &slice), at = 0;
    for (size_t i = 0; i <= count; i++) {
        size_t next = i < count ? slice[i].offset : gm_net_parameters(session->net);
        memset(direction + at, 0, (next - at) * sizeof *direction);
        if (i < count) at = slice[i].offset + slice[i].size;
    }
}

/* ---- the trajectory ---- */

gm_status gm_landscape_find_path(const gm_session *session, gm_landscape_run *run, gm_error *err)
{
    gm_landscape_path *path = &run->path;
    if (!session->run)
        return gm_fail(err, GM_ERR_USAGE,
                       "--trajectory: the checkpoints of a run file are needed, --params run.gmr");
    gm_status status = gm_run_checkpoints(session->run, &path->step, &path->count, err);
    if (status != GM_OK) return status;
    size_t needed = run->dimensions + 1;
    if (path->count < needed)
        return gm_fail(err, GM_ERR_INPUT,
                       "--trajectory: %s holds %zu checkpoint%s, expected at least %zu (train "
                       "--keep-every N keeps more)",
                       gm_run_path(session->run), path->count, path->count == 1 ? "" : "s", needed);
    return gm_session_check_matrix(session, "the checkpoints of --trajectory",
                                   session->layer == GM_ALL_LAYERS ? 1 : 2, path->count, run->p,
                                   err);
}

gm_status gm_landscape_read_path(const gm_session *session, gm_landscape_run *run, gm_error *err)
{
    gm_landscape_path *path = &run->path;
    size_t cells;
    if (!gm_mul_size(path->count, run->p, &cells)) cells = SIZE_MAX;
    path->theta = gm_alloc(cells, sizeof(double), "checkpoints", err);
    path->place = gm_alloc(path->count * run->dimensions, sizeof(double), "checkpoints", err);
    path->distance = gm_alloc(path->count, sizeof(double), "checkpoints", err);
    path->loss = gm_alloc(path->count, sizeof(double), "checkpoints", err);
    bool had = path->theta && path->place && path->distance && path->loss;
    gm_status status = had ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < path->count; i++) {
        double *stored = NULL, *theta = path->theta + i * run->p;
        size_t found = 0;
        status = gm_run_parameters(session->run, path->step[i], &stored, &found, NULL, err);
        if (status == GM_OK && found != run->p)
            status = gm_fail(err, GM_ERR_INPUT, "%s: step %lld holds %zu parameters, expected %zu",
                             gm_run_path(session->run), (long long)path->step[i], found, run->p);
        if (status == GM_OK) memcpy(theta, stored, run->p * sizeof *theta);
        gm_run_free(stored);
        if (status == GM_OK)
            status = gm_problem_value(session->problem, theta, &path->loss[i], NULL, err);
    }
    return status;
}

/* ---- eigenvectors ---- */

/* The most extreme one first: solvers return values in descending order. */
static bool second_leads(gm_which which, const gm_eigen *found)
{
    if (found->count < 2) return false;
    return which == GM_WHICH_SA ||
           (which == GM_WHICH_LM && fabs(found->value[1]) > fabs(found->value[0]));
}

static gm_status find_pairs(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                            gm_which which, size_t k, gm_eigen *found, gm_error *err)
{
    gm_operator hessian = {0}, op = {0};
    gm_operator_watch watch = {
        .inner = &hessian, .stop = gm_interrupt_agreed, .context = (void *)session->team};
    gm_eigen_options o;
    gm_eigen_options_default(&o);
    o.which = which;
    o.k = k;
    o.tol = session->precision == GM_F32 ? 1e-4 : 1e-10;
    if (session->shared.tol > 0.0) o.tol = session->shared.tol;
    o.seed = session->seed;
    gm_status status = gm_curvature_operator(lin, GM_HESSIAN, session->layer, &hessian, err);
    if (status == GM_OK) {
        gm_operator_watched(&watch, &op);
        status = gm_eigenpairs(&op, &o, found, err);
    }
    gm_operator_destroy(&hessian);
    if (status == GM_OK && found->count < k)
        return gm_fail(err, GM_ERR_NUMERIC, "%zu of %zu eigenvectors found in %zu products",
                       found->count, k, found->products);
    if (status == GM_OK && found->converged_count < k)
        gm_cli_note(cli, "%zu of %zu eigenvectors have not converged to a tolerance of %g",
                    k - found->converged_count, k, o.tol);
    return status;
}

static gm_status along_eigenvectors(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                                    gm_landscape_run *run, gm_error *err)
{
    const gm_landscape_settings *set = cli->settings;
    gm_eigen found = {0};
    gm_status status = find_pairs(cli, session, lin, set->which, run->dimensions, &found, err);
    for (size_t a = 0; status == GM_OK && a < run->dimensions; a++) {
        size_t j = second_leads(set->which, &found) ? run->dimensions - 1 - a : a;
        place_block(session, found.vector + j * found.size, run->direction + a * run->p);
        run->axis[a].eigenvalue = found.value[j];
        run->axis[a].residual = found.residual[j];
        bool low = set->which == GM_WHICH_SA || (set->which == GM_WHICH_BE && a > 0);
        snprintf(run->axis[a].name, sizeof run->axis[a].name, "eigenvector %zu of H%s",
                 set->which == GM_WHICH_BE ? 1 : a + 1,
                 low                         ? ", from below"
                 : set->which == GM_WHICH_LM ? ", by size"
                                             : "");
    }
    gm_eigen_free(&found);
    return status;
}

/* ---- the gradient ---- */

/* y [p] less its part along the unit vector x [p], of length 1; returns the length before. */
static double orthogonal(size_t p, const double *x, double *y)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    for (int twice = 0; twice < 2; twice++) {
        k->axpy(p, -k->dot(p, x, y), x, y);
    }
    double length = sqrt(k->dot(p, y, y));
    for (size_t n = 0; n < p && length > 0.0; n++) {
        y[n] /= length;
    }
    return length;
}

/* The first of two eigenvectors that is not the gradient's own direction. */
static gm_status beside_gradient(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                                 gm_landscape_run *run, gm_error *err)
{
    const double turned = 0.1; /* sine of the angle to the gradient */
    double *second = run->direction + run->p;
    gm_eigen found = {0};
    gm_status status = find_pairs(cli, session, lin, GM_WHICH_LA, 2, &found, err);
    for (size_t j = 0; status == GM_OK && j < 2; j++) {
        place_block(session, found.vector + j * found.size, second);
        snprintf(run->axis[1].name, sizeof run->axis[1].name,
                 "eigenvector %zu of H, orthogonal to the gradient", j + 1);
        if (orthogonal(run->p, run->direction, second) > turned) break;
    }
    gm_eigen_free(&found);
    return status;
}

static gm_status along_gradient(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                                gm_landscape_run *run, gm_error *err)
{
    double norm;
    memcpy(run->direction, gm_linearization_gradient(lin), run->p * sizeof *run->direction);
    restrict_to_layer(session, run->direction);
    norm = sqrt(gm_kernels_get(GM_F64)->dot(run->p, run->direction, run->direction));
    if (!(norm > 0.0))
        return gm_fail(err, GM_ERR_INPUT, "--along gradient: the gradient at %s is zero",
                       session->point);
    for (size_t n = 0; n < run->p; n++) {
        run->direction[n] /= norm;
    }
    snprintf(run->axis[0].name, sizeof run->axis[0].name, "gradient");
    return run->dimensions > 1 ? beside_gradient(cli, session, lin, run, err) : GM_OK;
}

/* ---- random, to another point, principal ---- */

static void along_random(const gm_session *session, gm_landscape_run *run)
{
    for (size_t a = 0; a < run->dimensions; a++) {
        gm_landscape_random(session->net, session->theta, session->seed, (uint32_t)a,
                            run->direction + a * run->p);
        restrict_to_layer(session, run->direction + a * run->p);
        snprintf(run->axis[a].name, sizeof run->axis[a].name, "random, filter-normalized %zu",
                 a + 1);
    }
}

static void along_checkpoints(const gm_session *session, gm_landscape_run *run)
{
    for (size_t n = 0; n < run->p; n++) {
        run->direction[n] = run->to[n] - session->theta[n];
    }
    restrict_to_layer(session, run->direction);
    snprintf(run->axis[0].name, sizeof run->axis[0].name, "to the other point");
}

/* direction [dimensions, p] of the checkpoints' parameters in the layer alone, and the shares of
 * what these vary by. */
static gm_status plane_of_layer(const gm_session *session, gm_landscape_run *run, double *share,
                                gm_error *err)
{
    size_t size = gm_landscape_block_size(session), count = run->path.count;
    double *point = gm_alloc(count * size, sizeof *point, "checkpoints", err);
    double *block = gm_alloc(run->dimensions * size, sizeof *block, "directions", err);
    gm_status status = point && block ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        take_block(session, run->path.theta + i * run->p, point + i * size);
    }
    if (status == GM_OK)
        status = gm_landscape_plane(count, size, point, run->dimensions, block, share, err);
    for (size_t a = 0; status == GM_OK && a < run->dimensions; a++) {
        place_block(session, block + a * size, run->direction + a * run->p);
    }
    gm_free(point);
    gm_free(block);
    return status;
}

static gm_status along_principal(const gm_session *session, gm_landscape_run *run, gm_error *err)
{
    double share[GM_LANDSCAPE_DIMENSIONS];
    gm_status status = session->layer == GM_ALL_LAYERS
                           ? gm_landscape_plane(run->path.count, run->p, run->path.theta,
                                                run->dimensions, run->direction, share, err)
                           : plane_of_layer(session, run, share, err);
    for (size_t a = 0; status == GM_OK && a < run->dimensions; a++) {
        run->axis[a].share = share[a];
        snprintf(run->axis[a].name, sizeof run->axis[a].name, "principal direction %zu", a + 1);
    }
    return status;
}

gm_status gm_landscape_choose(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                              gm_landscape_run *run, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t a = 0; a < run->dimensions; a++) {
        run->axis[a].eigenvalue = run->axis[a].residual = run->axis[a].share = (double)NAN;
    }
    switch (run->along) {
    case GM_ALONG_EIGENVECTORS:
        status = along_eigenvectors(cli, session, lin, run, err);
        break;
    case GM_ALONG_GRADIENT:
        status = along_gradient(cli, session, lin, run, err);
        break;
    case GM_ALONG_RANDOM:
        along_random(session, run);
        break;
    case GM_ALONG_CHECKPOINTS:
        along_checkpoints(session, run);
        break;
    case GM_ALONG_PRINCIPAL:
        status = along_principal(session, run, err);
        break;
    }
    for (size_t a = 0; status == GM_OK && a < run->dimensions; a++) {
        const double *d = run->direction + a * run->p;
        run->axis[a].norm = sqrt(gm_kernels_get(GM_F64)->dot(run->p, d, d));
        if (!(run->axis[a].norm > 0.0))
            status = gm_fail(err, GM_ERR_INPUT, "--along %s: the direction is zero at %s",
                             gm_along_words[run->along], session->point);
    }
    return status;
}
