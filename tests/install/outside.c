/* A program of somebody else's, by the installed library alone: lambda_max of the Hessian of a
 * small net at its initialization, from the dense matrix and, to see that they agree, by power
 * iteration with products. */
#include <gradiometer/gradiometer.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Largest |eigenvalue| by power iteration. */
static gm_status power(gm_operator *op, double *v, double *av, double *value, gm_error *err)
{
    gm_status status = GM_OK;
    for (int step = 0; step < 300 && status == GM_OK; step++) {
        status = gm_operator_apply(op, 1, v, av, err);
        double norm = 0;
        for (size_t j = 0; j < op->size; j++) {
            norm += av[j] * av[j];
        }
        norm = sqrt(norm);
        for (size_t j = 0; j < op->size; j++) {
            v[j] = av[j] / norm;
        }
        *value = norm;
    }
    return status;
}

int main(void)
{
    gm_error err = {0};
    gm_dataset *data = NULL;
    gm_net *net = NULL;
    gm_problem *problem = NULL;
    gm_linearization *lin = NULL;
    gm_operator hessian = {0}, dense = {0};
    double *theta = NULL, *matrix = NULL, *work = NULL, by_products = 0, by_matrix = 0;

    gm_status status = gm_selftest(&err);
    gm_data_options options;
    gm_data_options_default(&options);
    gm_problem_options problem_options;
    gm_problem_options_default(&problem_options);
    if (!status) status = gm_data_load("gauss:k=3,d=5,n=40", &options, &data, &err);
    if (!status) status = gm_net_from_spec("mlp:5-6-3", &data->shape, 3, &net, &err);
    if (!status) status = gm_problem_create(net, data, &problem_options, &problem, &err);
    if (status) goto done;
    size_t p = gm_net_parameters(net);
    theta = malloc(p * sizeof *theta);
    work = malloc(2 * p * sizeof *work);
    matrix = malloc(p * p * sizeof *matrix);
    if (!theta || !work || !matrix) goto done;
    gm_net_init(net, GM_INIT_HE, 1, 0, theta);
    status = gm_linearize(problem, theta, &lin, &err);
    if (!status) status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, &err);
    if (!status) status = gm_curvature_dense(lin, GM_HESSIAN, GM_ALL_LAYERS, matrix, &err);
    if (!status) status = gm_operator_dense(p, matrix, &dense, &err);
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_KRYLOV, 0), 0, p, work);
    if (!status) status = power(&hessian, work, work + p, &by_products, &err);
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_KRYLOV, 0), 0, p, work);
    if (!status) status = power(&dense, work, work + p, &by_matrix, &err);
    if (!status) printf("gradiometer %s lambda_max %.12g\n", gm_version(), by_products);

done:
    if (status) fprintf(stderr, "%s\n", err.message);
    gm_operator_destroy(&dense);
    gm_operator_destroy(&hessian);
    gm_linearization_free(lin);
    gm_problem_free(problem);
    gm_net_free(net);
    gm_dataset_free(data);
    free(matrix);
    free(work);
    free(theta);
    /* Equal to rounding: both sum 40 samples in double. */
    return status || !(fabs(by_products - by_matrix) <= 1e-12 * by_matrix);
}
