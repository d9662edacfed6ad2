/* --method lanczos: k extreme eigenpairs by products alone. */
#include <math.h>
#include <string.h>

#include "cli/spectrum_methods.h"

static gm_eigen_options options_of(const gm_spectrum_settings *set, size_t size)
{
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.which = set->which;
    options.k = gm_spectrum_k(set, size);
    options.tol = set->tol;
    options.max_products = set->max_products;
    options.seed = set->seed;
    if (set->solver == GM_SOLVER_SLEPC) options.basis = set->basis;
    double held = set->following ? (double)options.k * (double)size * sizeof(double) : 0;
    gm_eigen_fit(size, (double)set->memory - held, &options);
    return options;
}

/* Along several points the vectors of the one before are held too, and once more as a start. */
static double row_bytes(const gm_spectrum_settings *set, const gm_eigen_options *options,
                        size_t size)
{
    double cold = (double)set->row_solver->bytes(set->team, size, options, 0);
    double whole = set->whole ? 2 * (double)size * sizeof(double) : 0;
    if (!set->following) return cold + whole;
    double warm = (double)set->row_solver->bytes(set->team, size, options, options->k);
    double rows = (double)size / gm_team_size(set->team);
    return fmax(cold, warm) + whole + 2 * (double)options->k * rows * sizeof(double);
}

void gm_spectrum_fit_basis(gm_cli *cli, size_t size, gm_spectrum_settings *set)
{
    size_t k = gm_spectrum_k(set, size), likes = 2 * k + 1 > 20 ? 2 * k + 1 : 20, least = k + 3;
    set->basis = 0;
    if (gm_lanczos_bytes(set, size) <= (double)set->memory || likes >= size) return;
    for (set->basis = likes - 1; set->basis > least; set->basis--) {
        if (gm_lanczos_bytes(set, size) <= (double)set->memory) break;
    }
    gm_cli_note(cli,
                "%zu Krylov vectors, what --memory leaves room for; %zu would take fewer products",
                set->basis, likes);
}

double gm_lanczos_bytes(const gm_spectrum_settings *set, size_t size)
{
    gm_eigen_options options = options_of(set, size);
    if (set->solver == GM_SOLVER_SLEPC) return row_bytes(set, &options, size);
    double cold = (double)(set->solver == GM_SOLVER_BLOCK ? gm_eigen_track_bytes(size, &options, 0)
                                                          : gm_eigen_bytes(size, &options));
    if (!set->following) return cold;
    double warm = (double)gm_eigen_track_bytes(size, &options, options.k);
    return fmax(cold, warm) + (double)options.k * (double)size * sizeof(double);
}

gm_status gm_check_lanczos(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_error *err)
{
    double floor = gm_eigen_floor(target->op.precision);
    if (set->tol < floor) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--tol: found %g, below the noise floor %.2g of products in %s", set->tol,
                       floor, gm_dtype_name(target->op.precision));
    }
    if (set->tol > 1) {
        return gm_fail(err, GM_ERR_USAGE, "--tol: found %g, expected %.2g ... 1", set->tol, floor);
    }
    return gm_spectrum_fits(set, "the basis of the eigenproblem",
                            gm_lanczos_bytes(set, target->op.size), err);
}

/* Takes over the arrays of found. */
static void keep(gm_eigen *found, size_t wanted, gm_spectrum_pairs *pairs)
{
    pairs->values = pairs->k = found->count;
    pairs->wanted = wanted;
    pairs->value = found->value;
    pairs->vector = found->vector;
    pairs->residual = found->residual;
    pairs->converged = found->converged_count;
    pairs->formed = found->dense;
    pairs->stop = found->stop;
    pairs->scale = found->scale;
    pairs->solver_products = found->solver_products;
    pairs->check_products = found->check_products;
    pairs->blocks = found->blocks;
    pairs->floor = found->floor;
    pairs->noise = found->noise;
    for (size_t i = 0; i < found->count && found->scale > 0; i++) {
        pairs->worst = fmax(pairs->worst, found->residual[i] / found->scale);
    }
    found->value = found->vector = found->residual = NULL;
}

gm_status gm_measure_lanczos(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                             gm_spectrum *s, gm_error *err)
{
    gm_eigen_options options = options_of(set, s->size);
    gm_eigen found = {0};
    gm_spectrum_operator_watch(target, 0);
    bool tracks = set->solver == GM_SOLVER_BLOCK || target->starts;
    gm_status status;
    if (set->solver == GM_SOLVER_SLEPC) {
        status = gm_spectrum_solve_rows(target, set, &options, &found, &s->pairs.split, err);
    } else if (tracks) {
        status = gm_eigen_track(&target->op, &options, target->starts, target->start, &found, err);
    } else {
        status = gm_eigenpairs(&target->op, &options, &found, err);
    }
    if (status != GM_OK) {
        gm_eigen_free(&found);
        return status;
    }
    keep(&found, options.k, &s->pairs);
    s->converged = s->pairs.converged >= options.k;
    gm_eigen_free(&found);
    return GM_OK;
}
