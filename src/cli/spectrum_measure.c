#include "cli/spectrum_measure.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/spectrum_methods.h"

const char *const gm_spectrum_methods[GM_METHODS + 1] = {"dense", "lanczos",  "density",
                                                         "trace", "diagonal", NULL};
const char *const gm_spectrum_solvers[] = {"arpack", "block", "slepc", NULL};
const char *const gm_spectrum_estimators[] = {"hutchinson", "hutchpp", "xtrace", "xdiag", NULL};

/* Up to this many parameters the dense method is the default: some minutes and 600 MB. */
enum { DENSE_PARAMETERS = 5000, DEFAULT_K = 10 };

void gm_spectrum_free(gm_spectrum *s)
{
    gm_spectrum_pairs *pairs = &s->pairs;
    gm_free(pairs->value);
    gm_free(pairs->index);
    gm_free(pairs->vector);
    gm_free(pairs->residual);
    gm_quadrature_free(&s->density.quadrature);
    gm_free(s->density.edge);
    gm_free(s->density.value);
    gm_free(s->density.std_error);
    gm_free(s->density.log_edge);
    gm_free(s->density.log_share);
    gm_free(s->density.log_error);
    gm_free(s->diagonal.value);
    gm_free(s->diagonal.std_error);
    gm_spectrum_resamples_free(&s->resamples);
    memset(s, 0, sizeof *s);
}

/* ---- which options go with which method ---- */

enum {
    DENSE = 1 << GM_METHOD_DENSE,
    LANCZOS = 1 << GM_METHOD_LANCZOS,
    DENSITY = 1 << GM_METHOD_DENSITY,
    TRACE = 1 << GM_METHOD_TRACE,
    DIAGONAL = 1 << GM_METHOD_DIAGONAL
};

static const struct {
    const char *option;
    unsigned methods;
} uses[] = {
    {"k", DENSE | LANCZOS},
    {"which", DENSE | LANCZOS | DENSITY},
    {"tol", DENSE | LANCZOS | DENSITY},
    {"solver", LANCZOS | DENSITY},
    {"max-products", LANCZOS | TRACE | DIAGONAL},
    {"estimator", TRACE | DIAGONAL},
    {"rel-error", TRACE | DIAGONAL},
    {"probes", DENSITY},
    {"steps", DENSITY},
    {"width", DENSITY},
    {"bins", DENSITY},
    {"deflate", DENSITY},
    {"log-det", DENSITY},
    {"count", DENSITY},
    {"export-vectors", DENSE | LANCZOS},
    {"export-diagonal", DENSE | DIAGONAL},
};

/* Refuses an option that none of these methods uses; how says who chose the method. */
static gm_status check_uses(const gm_cli *cli, unsigned methods, const char *how, gm_error *err)
{
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        if ((uses[i].methods & methods) || !gm_cli_given(cli, uses[i].option)) continue;
        char users[64] = "";
        for (int m = 0; m < GM_METHODS; m++) {
            if (!(uses[i].methods & 1u << m)) continue;
            if (*users) strncat(users, " or ", sizeof users - strlen(users) - 1);
            strncat(users, gm_spectrum_methods[m], sizeof users - strlen(users) - 1);
        }
        return gm_fail(err, GM_ERR_USAGE, "--%s: not used by %s, expected beside --method %s",
                       uses[i].option, how, users);
    }
    return GM_OK;
}

static gm_status check_estimator(const gm_cli *cli, gm_spectrum_settings *set, gm_error *err)
{
    bool diagonal = set->method == GM_METHOD_DIAGONAL;
    if (!gm_cli_given(cli, "estimator") || set->estimator == GM_ESTIMATOR_HUTCHINSON) return GM_OK;
    if (diagonal != (set->estimator == GM_ESTIMATOR_XDIAG)) {
        return gm_fail(err, GM_ERR_USAGE, "--estimator: found '%s', expected hutchinson%s for a %s",
                       gm_spectrum_estimators[set->estimator],
                       diagonal ? " or xdiag" : ", hutchpp or xtrace",
                       gm_spectrum_methods[set->method]);
    }
    return GM_OK;
}

/* The options of the eigenproblem are the density's only where it solves one. */
static gm_status check_deflation(const gm_cli *cli, const gm_spectrum_settings *set, gm_error *err)
{
    static const char *const pairs[] = {"which", "tol", "solver"};
    if (set->method != GM_METHOD_DENSITY || set->deflate) return GM_OK;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!gm_cli_given(cli, pairs[i])) continue;
        return gm_fail(err, GM_ERR_USAGE,
                       "--%s: not used by --method density alone, expected beside --deflate",
                       pairs[i]);
    }
    return GM_OK;
}

static gm_status check_solver(const gm_cli *cli, const gm_spectrum_settings *set, gm_error *err)
{
    if (!gm_cli_given(cli, "solver") || set->solver != GM_SOLVER_SLEPC) return GM_OK;
    if (!set->row_solver) {
        return gm_fail(
            err, GM_ERR_DEPENDENCY,
            "--solver: found 'slepc', but this program was built without SLEPc, expected "
            "arpack or block (gradiometer-mpi has it, if SLEPc was there to build it with)");
    }
    if (set->method != GM_METHOD_DENSITY) return GM_OK;
    return gm_fail(
        err, GM_ERR_USAGE,
        "--solver: found 'slepc', which keeps no whole vectors, expected arpack or block "
        "for --method density");
}

gm_status gm_spectrum_check_options(const gm_cli *cli, gm_spectrum_settings *set, gm_error *err)
{
    set->row_solver = cli->row_solver;
    set->team = cli->team;
    bool given = gm_cli_given(cli, "method");
    char how[64];
    snprintf(how, sizeof how, "--method %s", gm_spectrum_methods[set->method]);
    set->estimate = gm_cli_given(cli, "estimator");
    gm_status status =
        given ? check_uses(cli, 1u << set->method, how, err)
              : check_uses(cli, DENSE | LANCZOS, "the default methods, dense and lanczos", err);
    if (status == GM_OK && given) status = check_estimator(cli, set, err);
    if (status == GM_OK && given) status = check_deflation(cli, set, err);
    if (status == GM_OK) status = check_solver(cli, set, err);
    if (status == GM_OK && cli->shared.each_layer &&
        (set->export_vectors || set->export_diagonal)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--export-%s: one file cannot hold every layer, expected --layer",
                       set->export_vectors ? "vectors" : "diagonal");
    }
    return status;
}

/* ---- what was left open ---- */

/* Dense where it is cheap and fits, or where nothing else would fit either; lanczos where one of
 * its own options asks for it. */
static gm_status choose_method(gm_cli *cli, size_t largest, gm_spectrum_settings *set,
                               gm_error *err)
{
    const char *own = gm_cli_given(cli, "solver")         ? "solver"
                      : gm_cli_given(cli, "max-products") ? "max-products"
                                                          : NULL;
    double dense = gm_dense_bytes(largest), budget = (double)set->memory;
    char how[128];
    if (own) {
        set->method = GM_METHOD_LANCZOS;
        snprintf(how, sizeof how, "--method lanczos, which --%s asks for", own);
    } else if (largest > DENSE_PARAMETERS) {
        set->method = GM_METHOD_LANCZOS;
        snprintf(how, sizeof how, "--method lanczos, the default above %d parameters",
                 DENSE_PARAMETERS);
    } else if (dense > budget && gm_lanczos_bytes(set, largest) <= budget) {
        set->method = GM_METHOD_LANCZOS;
        snprintf(how, sizeof how,
                 "--method lanczos, the default where a dense matrix takes %.4g MiB",
                 dense / 0x1p20);
    } else {
        set->method = GM_METHOD_DENSE;
        snprintf(how, sizeof how, "--method dense, the default up to %d parameters",
                 DENSE_PARAMETERS);
    }
    gm_cli_note(cli, "%s", how + strlen("--"));
    return check_uses(cli, 1u << set->method, how, err);
}

/* Whether there are ranks over which a solver splits its vectors, and the others' do not fit. */
static bool beyond_budget(const gm_spectrum_settings *set, size_t largest)
{
    return set->row_solver && gm_team_size(set->team) > 1 && set->method == GM_METHOD_LANCZOS &&
           largest <= set->row_solver->most() &&
           gm_lanczos_bytes(set, largest) > (double)set->memory;
}

/* The lower end of a positive semidefinite operator is the eigenvalue 0 many times over, of which
 * ARPACK finds some and then eigenvalues from elsewhere: block there, unless the user says. */
static void choose_solver(gm_cli *cli, size_t largest, gm_spectrum_settings *set)
{
    size_t k = set->method == GM_METHOD_LANCZOS ? gm_spectrum_k(set, largest) : set->deflate;
    bool given = gm_cli_given(cli, "solver"), zeros = gm_spectrum_zeros_below(set);
    size_t basis = 2 * k + 1 < 20 ? 20 : 2 * k + 1;
    if (!k || largest <= 2 * basis) return; /* gm_eigenpairs forms such operators */
    if (!given && zeros) {
        set->solver = GM_SOLVER_BLOCK;
        gm_cli_note(cli, "solver block: 0 is met many times at the lower end of a positive "
                         "semidefinite operator, and arpack misses copies");
    } else if (!given && beyond_budget(set, largest)) {
        gm_cli_note(cli,
                    "solver slepc: the Krylov vectors of arpack take %.4g MiB, the budget is %.4g "
                    "MiB; slepc splits them over the ranks",
                    gm_lanczos_bytes(set, largest) / 0x1p20, (double)set->memory / 0x1p20);
        set->solver = GM_SOLVER_SLEPC;
    }
    if (set->solver != GM_SOLVER_BLOCK) {
        gm_cli_note(cli,
                    "solver %s: of a repeated eigenvalue%s it may miss copies at loose "
                    "tolerances, and give others in their place; --solver block does not",
                    gm_spectrum_solvers[set->solver],
                    zeros ? ", as 0 is at the lower end of a positive semidefinite operator," : "");
    }
}

bool gm_spectrum_zeros_below(const gm_spectrum_settings *set)
{
    bool semidefinite = set->kind == GM_GGN || set->kind == GM_MOMENT || set->kind == GM_COVARIANCE;
    return semidefinite && (set->which == GM_WHICH_SA || set->which == GM_WHICH_BE);
}

gm_status gm_spectrum_settle(gm_cli *cli, size_t largest, gm_dtype precision, uint64_t seed,
                             size_t memory, gm_spectrum_settings *set, gm_error *err)
{
    set->tol = cli->shared.tol > 0 ? cli->shared.tol : precision == GM_F32 ? 1e-4 : 1e-10;
    set->seed = seed;
    set->memory = memory;
    if (set->k > largest) {
        return gm_fail(err, GM_ERR_USAGE, "--k: found %zu, expected 1 ... %zu, the operator's size",
                       set->k, largest);
    }
    if (set->deflate >= largest) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--deflate: found %zu, expected fewer than %zu, the operator's size",
                       set->deflate, largest);
    }
    gm_status status = GM_OK;
    if (!gm_cli_given(cli, "method")) status = choose_method(cli, largest, set, err);
    if (status != GM_OK) return status;
    bool probed = set->method == GM_METHOD_TRACE || set->method == GM_METHOD_DIAGONAL;
    if (probed && !set->estimate) gm_choose_estimator(cli, largest, set);
    set->whole = precision != GM_F32 || set->divisor != GM_DIVISOR_NONE || set->divisor_file;
    choose_solver(cli, largest, set);
    if (set->solver == GM_SOLVER_SLEPC) gm_spectrum_fit_basis(cli, largest, set);
    return GM_OK;
}

size_t gm_spectrum_k(const gm_spectrum_settings *set, size_t size)
{
    size_t k = set->k ? set->k : DEFAULT_K;
    return k < size ? k : size;
}

gm_status gm_spectrum_fits(const gm_spectrum_settings *set, const char *what, double bytes,
                           gm_error *err)
{
    if (bytes <= (double)set->memory) return GM_OK;
    return gm_fail(err, GM_ERR_MEMORY, "--memory: %s takes %.4g MiB, the budget is %.4g MiB", what,
                   bytes / 0x1p20, (double)set->memory / 0x1p20);
}

/* ---- dispatch ---- */

gm_status gm_spectrum_check(gm_cli *cli, const gm_spectrum_operator *target,
                            const gm_spectrum_settings *set, gm_error *err)
{
    size_t size = target->op.size;
    bool pairs = set->method == GM_METHOD_DENSE || set->method == GM_METHOD_LANCZOS;
    if (pairs && set->k > size) {
        gm_cli_note(cli, "the block of layer %s has %zu eigenpairs: all of them", target->layer,
                    size);
    }
    switch (set->method) {
    case GM_METHOD_DENSE:
        return gm_check_dense(target, set, err);
    case GM_METHOD_LANCZOS:
        return gm_check_lanczos(target, set, err);
    case GM_METHOD_DENSITY:
        return gm_check_density(target, set, err);
    case GM_METHOD_TRACE:
        if (target->diagonal && !cli->shared.each_layer) {
            gm_cli_note(cli, "this operator has an exact diagonal: --method diagonal gives its "
                             "trace without an error");
        }
        return gm_check_trace(target, set, err);
    case GM_METHOD_DIAGONAL:
        if (!set->estimate && !target->diagonal) {
            gm_cli_note(cli, "estimator %s: this operator has no exact diagonal",
                        gm_spectrum_estimators[set->estimator]);
        }
        return gm_check_diagonal(target, set, err);
    case GM_METHODS:
        break;
    }
    return gm_fail(err, GM_ERR_USAGE, "--method: unknown");
}

gm_status gm_spectrum_measure(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                              gm_spectrum *s, gm_error *err)
{
    *s = (gm_spectrum){.layer = target->layer, .size = target->op.size, .converged = true};
    gm_status status = GM_OK;
    switch (set->method) {
    case GM_METHOD_DENSE:
        status = gm_measure_dense(target, set, s, err);
        if (status == GM_OK && set->export_diagonal) {
            status = gm_measure_diagonal(target, set, s, err);
        }
        break;
    case GM_METHOD_LANCZOS:
        status = gm_measure_lanczos(target, set, s, err);
        break;
    case GM_METHOD_DENSITY:
        status = gm_measure_density(target, set, s, err);
        break;
    case GM_METHOD_TRACE:
        status = gm_measure_trace(target, set, s, err);
        break;
    case GM_METHOD_DIAGONAL:
        status = gm_measure_diagonal(target, set, s, err);
        break;
    case GM_METHODS:
        return gm_fail(err, GM_ERR_USAGE, "--method: unknown");
    }
    gm_spectrum_operator_rest(target);
    s->products = target->op.products;
    return status;
}
