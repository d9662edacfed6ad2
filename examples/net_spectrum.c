/* The curvature of a net's loss on data of your own, from arrays: the largest eigenpairs of the
 * Hessian by products, and its trace, checked against the exact diagonal.
 *
 * The data are two spirals in the plane, made here; put your arrays in their place, and your
 * trained parameters in the place of the random ones (layer by layer, weights [out, in], then
 * biases: PyTorch's parameters_to_vector).
 *
 *     net_spectrum      status 1 where a check fails */
#include <gradiometer/gradiometer.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 400, FEATURES = 2, CLASSES = 2, TOP = 5 };

/* x [SAMPLES, FEATURES], label [SAMPLES]: point i lies on arm i mod 2. */
static void make_spirals(double *x, int32_t *label)
{
    for (int i = 0; i < SAMPLES; i++) {
        double radius = 0.2 + 0.8 * i / SAMPLES, angle = 9.0 * radius + (i % 2 ? 3.14159265 : 0.0);
        label[i] = i % 2;
        x[FEATURES * i] = radius * cos(angle);
        x[FEATURES * i + 1] = radius * sin(angle);
    }
}

/* The five largest eigenvalues with their residuals. */
static gm_status print_eigenvalues(gm_operator *hessian, int *wrong, gm_error *err)
{
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.k = TOP;
    options.tol = 1e-8;
    gm_eigen eigen;
    gm_status status = gm_eigenpairs(hessian, &options, &eigen, err);
    if (status == GM_OK) {
        printf("%zu largest eigenvalues of the Hessian, %zu products\n", eigen.count,
               eigen.products);
        for (size_t j = 0; j < eigen.count; j++) {
            printf("  %zu  %.10f  residual %.1e\n", j + 1, eigen.value[j], eigen.residual[j]);
        }
        *wrong += eigen.converged_count < TOP;
    }
    gm_eigen_free(&eigen);
    return status;
}

/* The estimated trace beside the exact one, which a ReLU net's diagonal gives. */
static gm_status print_trace(gm_operator *hessian, gm_linearization *lin, int *wrong, gm_error *err)
{
    gm_estimate_options options;
    gm_estimate_options_default(&options);
    options.rel_error = 0.05;
    options.max_products = 2000;
    gm_trace_result result;
    double exact = 0;
    double *diagonal = malloc(hessian->size * sizeof *diagonal);
    if (!diagonal) return gm_fail(err, GM_ERR_MEMORY, "no memory for the diagonal");
    gm_status status = gm_trace_estimate(hessian, GM_TRACE_XTRACE, &options, &result, err);
    if (status == GM_OK)
        status = gm_curvature_diagonal(lin, GM_HESSIAN, GM_ALL_LAYERS, diagonal, err);
    for (size_t i = 0; status == GM_OK && i < hessian->size; i++) {
        exact += diagonal[i];
    }
    free(diagonal);
    if (status != GM_OK) return status;
    printf("trace %.6f +- %.6f, %zu products; exact %.6f\n", result.trace.value,
           result.trace.half_width, result.products, exact);
    /* Two 95 % half widths, and rounding where the estimate is exact. */
    *wrong +=
        !(fabs(result.trace.value - exact) <= 2.0 * result.trace.half_width + 1e-9 * fabs(exact));
    return GM_OK;
}

int main(void)
{
    static double x[SAMPLES * FEATURES];
    static int32_t label[SAMPLES];
    const gm_shape shape = {.rank = 1, .dim = {FEATURES}};
    gm_error err = {0};
    gm_dataset *data = NULL;
    gm_net *net = NULL;
    gm_problem *problem = NULL;
    gm_linearization *lin = NULL;
    gm_operator hessian = {0};
    double *theta = NULL;
    int wrong = 0;

    make_spirals(x, label);
    gm_problem_options options;
    gm_problem_options_default(&options); /* log-loss, mean over the samples */
    gm_status status = gm_selftest(&err);
    if (!status)
        status = gm_data_from_arrays("spirals", SAMPLES, &shape, x, label, NULL, 0, GM_F64, CLASSES,
                                     &data, &err);
    if (!status) status = gm_net_from_spec("mlp:2-32-32-2", &shape, CLASSES, &net, &err);
    if (!status) status = gm_problem_create(net, data, &options, &problem, &err);
    if (status) goto done;
    theta = malloc(gm_net_parameters(net) * sizeof *theta);
    if (!theta) {
        status = gm_fail(&err, GM_ERR_MEMORY, "no memory for the parameters");
        goto done;
    }
    gm_net_init(net, GM_INIT_HE, 1, 0, theta);
    status = gm_linearize(problem, theta, &lin, &err);
    if (!status) status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, &err);
    if (!status) {
        printf("%zu parameters, loss %.6f\n", hessian.size, gm_linearization_loss(lin));
        status = print_eigenvalues(&hessian, &wrong, &err);
    }
    if (!status) status = print_trace(&hessian, lin, &wrong, &err);

done:
    if (status) fprintf(stderr, "%s\n", err.message);
    gm_operator_destroy(&hessian);
    gm_linearization_free(lin);
    gm_problem_free(problem);
    gm_net_free(net);
    gm_dataset_free(data);
    free(theta);
    return status ? gm_status_exit(status) : wrong ? 1 : 0;
}
