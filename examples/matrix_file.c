/* A sparse matrix from a Matrix Market file as an operator (matrix.h), its ends (eigen.h), a linear
 * system with it (solve.h), D^{-1/2} A D^{-1/2} (operator.h), and random vectors (random.h).
 *
 *     matrix_file [FOLDER]      where the file goes for the moment; status 1 where a check fails */
#include "setting.h"

enum { N = 200 };

/* The second difference, whose eigenvalues are 2 - 2 cos(pi j / (N + 1)). */
static gm_status write_matrix(const char *path, gm_error *err)
{
    FILE *file = fopen(path, "w");
    if (!file) return gm_fail(err, GM_ERR_IO, "%s cannot be written", path);
    fprintf(file, "%%%%MatrixMarket matrix coordinate real symmetric\n%d %d %d\n", N, N, 2 * N - 1);
    for (int i = 1; i <= N; i++) {
        fprintf(file, "%d %d 2\n", i, i);
        if (i > 1) fprintf(file, "%d %d -1\n", i, i - 1);
    }
    return fclose(file) == 0 ? GM_OK : gm_fail(err, GM_ERR_IO, "%s cannot be written", path);
}

static gm_status ends(gm_operator *a, gm_error *err)
{
    gm_eigen pairs = {0};
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.which = GM_WHICH_BE; /* both ends */
    options.k = 2;
    options.tol = 1e-9;
    gm_status status = gm_eigenpairs(a, &options, &pairs, err);
    if (!status) {
        double angle = acos(-1.0) / (N + 1);
        agree("largest eigenvalue", pairs.value[0], 2 + 2 * cos(angle), 1e-8);
        agree("smallest eigenvalue", pairs.value[1], 2 - 2 * cos(angle), 1e-8);
    }
    gm_eigen_free(&pairs);
    return status;
}

/* (A + I) x = b, with b made from a known x. */
static gm_status solve(gm_operator *a, gm_error *err)
{
    double known[N], b[N], x[N], farthest = 0;
    gm_solve_options options;
    gm_solve_result result;
    gm_solve_options_default(&options);
    options.shift = 1.0;
    options.tol = 1e-12;
    gm_normal_fill(gm_stream_of(7, GM_PURPOSE_TEST, 0), 0, N,
                   known); /* seed 7: the same everywhere */
    gm_status status = gm_operator_apply(a, 1, known, b, err);
    for (size_t i = 0; !status && i < N; i++) {
        b[i] += known[i];
    }
    if (!status) status = gm_solve(a, b, &options, x, &result, err);
    for (size_t i = 0; !status && i < N; i++) {
        farthest = fmax(farthest, fabs(x[i] - known[i]));
    }
    if (!status) {
        printf("  %s after %zu products\n", gm_solve_end_name(result.end), result.products);
        agree("solution less the known one", farthest, 0.0, 1e-10);
    }
    return status;
}

/* Divided by its own diagonal on both sides: here half of A. */
static gm_status precondition(gm_operator *a, gm_error *err)
{
    double diagonal[N], v[N], av[N], bv[N], farthest = 0;
    gm_operator scaled = {0};
    gm_operator_load_diagonal(a, diagonal);
    gm_status status = gm_precondition_scale(N, diagonal, diagonal, err); /* now D^{-1/2} */
    if (!status) status = gm_operator_scaled(a, diagonal, &scaled, err);
    gm_rademacher_fill(gm_stream_of(7, GM_PURPOSE_TEST, 1), 0, N, v);
    if (!status) status = gm_operator_apply(a, 1, v, av, err);
    if (!status) status = gm_operator_apply(&scaled, 1, v, bv, err);
    for (size_t i = 0; !status && i < N; i++) {
        farthest = fmax(farthest, fabs(bv[i] - 0.5 * av[i]));
    }
    if (!status) agree("D^{-1/2} A D^{-1/2} less A / 2", farthest, 0.0, 1e-14);
    gm_operator_destroy(&scaled);
    return status;
}

int main(int argc, char **argv)
{
    char path[512];
    gm_error err = {0};
    gm_operator a = {0};
    snprintf(path, sizeof path, "%s/example_matrix.mtx", argc > 1 ? argv[1] : ".");
    gm_status status = gm_selftest(&err);
    if (!status) status = write_matrix(path, &err);
    if (!status) status = gm_operator_load(path, 0, &a, &err);
    remove(path);
    if (!status) status = ends(&a, &err);
    if (!status) status = solve(&a, &err);
    if (!status) status = precondition(&a, &err);
    gm_operator_destroy(&a);
    return setting_end(status, &err);
}
