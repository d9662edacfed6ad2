/* A symmetric operator of your own, known only by its products, given to every solver.
 *
 * The operator is the second difference in one dimension, (A v)_i = 2 v_i - v_{i-1} - v_{i+1} with
 * v_0 = v_{n+1} = 0. Its eigenvalues are known, lambda_j = 2 - 2 cos(pi j / (n + 1)), and those at
 * the ends agree with their neighbours to 1e-9: a hard case for eigenvectors, while eigenvalues
 * come out within their residuals. Every number is printed beside the exact one.
 *
 *     callback_operator [N]      default 100000; status 1 where a number is off */
#include <gradiometer/gradiometer.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;

/* ---- the operator: a function that applies it to a block of vectors ---- */

/* av [count, n] = A v [count, n]. `self` is whatever the operator's maker put there: here, n. */
static gm_status second_difference(void *self, size_t count, const double *v, double *av,
                                   gm_error *err)
{
    (void)err;
    size_t n = *(const size_t *)self;
    for (size_t j = 0; j < count; j++, v += n, av += n) {
        for (size_t i = 0; i < n; i++) {
            double left = i > 0 ? v[i - 1] : 0.0, right = i + 1 < n ? v[i + 1] : 0.0;
            av[i] = 2.0 * v[i] - left - right;
        }
    }
    return GM_OK;
}

/* The j-th largest eigenvalue, j = 1 ... n. */
static double exact_eigenvalue(size_t n, size_t j)
{
    return 2.0 + 2.0 * cos(pi * (double)j / (double)(n + 1));
}

/* Number of eigenvalues in [0, to], 0 <= to <= 4: those with cos(pi j / (n + 1)) >= 1 - to / 2. */
static double exact_count(size_t n, double to)
{
    return floor((double)(n + 1) * acos(1.0 - 0.5 * to) / pi);
}

/* ---- printing computed against exact ---- */

static bool all_agree = true;

/* allowed: how far apart they may be. */
static void compare(const char *what, double computed, double exact, double allowed)
{
    bool agree = fabs(computed - exact) <= allowed;
    printf("  %-22s %16.10g  exact %16.10g  allowed %8.1e  %s\n", what, computed, exact, allowed,
           agree ? "ok" : "WRONG");
    all_agree = all_agree && agree;
}

/* An eigenvalue of A lies within the residual of each computed one; the k-th largest of so dense a
 * spectrum agrees with the exact k-th to the tolerance. */
static void compare_eigenvalues(const char *solver, size_t n, const gm_eigen *eigen, double tol)
{
    printf("%s: %zu of %zu pairs converged, %zu products\n", solver, eigen->converged_count,
           eigen->count, eigen->products);
    for (size_t j = 0; j < eigen->count; j++) {
        char name[32];
        snprintf(name, sizeof name, "lambda_%zu", j + 1);
        compare(name, eigen->value[j], exact_eigenvalue(n, j + 1), tol * eigen->scale);
    }
}

/* ---- the four questions ---- */

static gm_status eigenpairs(gm_operator *op, gm_error *err)
{
    gm_eigen_options options;
    gm_eigen_options_default(&options); /* the largest; options.which has the other ends */
    options.k = 4;
    options.tol = 1e-3;
    gm_eigen cold = {0}, warm = {0};
    gm_status status = gm_eigenpairs(op, &options, &cold, err);
    if (status == GM_OK) {
        compare_eigenvalues("gm_eigenpairs", op->size, &cold, options.tol);
        /* From a subspace that is nearly right. Where the pairs stand out of the rest two blocks of
         * products do; here nothing stands out, and it goes on from where the first one stopped. */
        status = gm_eigen_track(op, &options, cold.count, cold.vector, &warm, err);
    }
    if (status == GM_OK)
        compare_eigenvalues("gm_eigen_track, from these", op->size, &warm, options.tol);
    gm_eigen_free(&cold);
    gm_eigen_free(&warm);
    return status;
}

static gm_status trace(gm_operator *op, gm_error *err)
{
    gm_estimate_options options;
    gm_estimate_options_default(&options);
    options.max_products = 60;
    gm_trace_result result;
    gm_status status = gm_trace_estimate(op, GM_TRACE_HUTCHINSON, &options, &result, err);
    if (status != GM_OK) return status;
    /* Five standard errors: a wrong estimator misses them, a right one in a million runs once. */
    double n = (double)op->size;
    printf("gm_trace_estimate: %zu products\n", result.products);
    compare("trace", result.trace.value, 2.0 * n, 5.0 * result.trace.std_error);
    compare("Frobenius norm", result.frobenius.value, sqrt(6.0 * n - 2.0),
            5.0 * result.frobenius.std_error);
    return GM_OK;
}

static gm_status density(gm_operator *op, gm_error *err)
{
    gm_quadrature_options options;
    gm_quadrature_options_default(&options);
    options.probes = 6;
    options.steps = 40;
    gm_quadrature q;
    gm_estimate frobenius;
    gm_count_result low;
    gm_status status = gm_quadrature_make(op, &options, &q, err);
    if (status == GM_OK) status = gm_quadrature_frobenius(&q, &frobenius, err);
    if (status == GM_OK) status = gm_quadrature_count(&q, -1.0, 1.0, &low, err);
    if (status == GM_OK) {
        double exact = exact_count(op->size, 1.0);
        printf("gm_quadrature_make: %zu products\n", q.products);
        compare("Frobenius norm", frobenius.value, sqrt(6.0 * (double)op->size - 2.0),
                5.0 * frobenius.std_error);
        /* The count has bounds instead of one error: half way between them, and half their width.
         */
        compare("eigenvalues in [0, 1]", 0.5 * (low.low + low.high), exact,
                0.5 * (low.high - low.low) + 2.0 * low.count.half_width);
    }
    gm_quadrature_free(&q);
    return status;
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    if (n < 100) {
        fprintf(stderr, "usage: %s [N], N at least 100\n", argv[0]);
        return 2;
    }
    gm_error err = {0};
    /* precision: of the products. It sets the noise floor below which no tolerance makes sense. */
    gm_operator op = {.size = n,
                      .precision = GM_F64,
                      .name = "second difference",
                      .self = &n,
                      .apply = second_difference};
    gm_status status = gm_selftest(&err); /* of the machine's matrix kernels: once, at the start */
    if (status == GM_OK) status = eigenpairs(&op, &err);
    if (status == GM_OK) status = trace(&op, &err);
    if (status == GM_OK) status = density(&op, &err);
    if (status != GM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return gm_status_exit(status);
    }
    printf("%zu products in all: %s\n", op.products,
           all_agree ? "everything agrees" : "something is WRONG");
    return all_agree ? 0 : 1;
}
