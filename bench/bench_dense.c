/* Dense Hessian and all its eigenvalues, against the bare matrix products and the plain way.
 *
 *     bench_dense [MODEL [DATA]]      default mlp:50-30-30-10 gauss:k=10,d=50,n=1000, float64
 *
 * Counts: the structured way needs n p^2 flops after the unit passes (symmetry taken: 2 flops times
 * n p^2/2); the plain way p products of 2 n in out (2 for the first layer, 6 for each later one).
 * Medians of alternating rounds. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "bench.h"
#include "cli/startup.h"
#include "gradiometer/curvature.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"
#include "net/net.h"

enum { ROUNDS = 5 };

/* Speed of the bare double product at a size where it is at its best, flops a second. */
static double bare_speed(void)
{
    const size_t n = 1536;
    double *a = gm_alloc(3 * n * n, sizeof *a, "bench", NULL), best = 0.0;
    for (size_t i = 0; i < 2 * n * n; i++) {
        a[i] = 1e-3 * (double)(i % 1021) - 0.5;
    }
    for (int r = 0; r < 3; r++) {
        double start = omp_get_wtime();
        gm_kernels_get(GM_F64)->gemm(false, false, n, n, n, 1.0, a, n, a + n * n, n, 0.0,
                                     a + 2 * n * n, n);
        double speed = 2.0 * (double)(n * n * n) / (omp_get_wtime() - start);
        best = speed > best ? speed : best;
    }
    gm_free(a);
    return best;
}

int main(int argc, char **argv)
{
    gm_error err = {0};
    const char *note;
    bench_check(gm_cli_startup(argv, &note, &err), &err);
    const char *model = argc > 1 ? argv[1] : "mlp:50-30-30-10";
    const char *spec = argc > 2 ? argv[2] : "gauss:k=10,d=50,n=1000";
    gm_net *net;
    gm_dataset *data;
    gm_data_options data_options;
    gm_problem_options options;
    gm_data_options_default(&data_options);
    gm_problem_options_default(&options);
    bench_check(gm_net_from_spec(model, NULL, 0, &net, &err), &err);
    data_options.classes = gm_net_outputs(net);
    bench_check(gm_data_load(spec, &data_options, &data, &err), &err);
    size_t p = gm_net_parameters(net), n = data->n;
    double *theta = gm_alloc(p, sizeof *theta, "bench", &err),
           *value = gm_alloc(p, sizeof *value, "bench", &err);
    double *h = gm_alloc(p * p, sizeof *h, "bench", &err);
    if (!theta || !value || !h) bench_check(GM_ERR_MEMORY, &err);
    gm_net_init(net, GM_INIT_HE, 1, 0, theta);
    double plain = 0.0;
    for (int l = 0; l < net->layers; l++) {
        const gm_node *node = &net->node[net->layer_node[l]];
        plain += (l == 0 ? 2.0 : 6.0) * 2.0 *
                 (double)(n * gm_shape_size(&node->in_shape[0]) * node->size);
    }
    plain *= (double)p;
    double structured = (double)n * (double)p * (double)p;
    for (int threads = 1; threads <= omp_get_num_procs() && threads <= 2; threads++) {
        omp_set_num_threads(threads);
        double bare[ROUNDS], matrix[ROUNDS], eigen[ROUNDS];
        for (int r = 0; r < ROUNDS; r++) {
            gm_problem *problem;
            gm_linearization *lin;
            bare[r] = bare_speed();
            double start = omp_get_wtime();
            bench_check(gm_problem_create(net, data, &options, &problem, &err), &err);
            bench_check(gm_linearize(problem, theta, &lin, &err), &err);
            bench_check(gm_curvature_dense(lin, GM_HESSIAN, GM_ALL_LAYERS, h, &err), &err);
            matrix[r] = omp_get_wtime() - start;
            start = omp_get_wtime();
            bench_check(gm_symmetric_eigen(p, h, 0, 0, value, NULL, &err), &err);
            eigen[r] = omp_get_wtime() - start;
            gm_linearization_free(lin);
            gm_problem_free(problem);
        }
        double speed = bench_median(ROUNDS, bare), seconds = bench_median(ROUNDS, matrix),
               lapack = bench_median(ROUNDS, eigen);
        printf("%s, n = %zu, p = %zu, f64, %d thread%s\n", model, n, p, threads,
               threads > 1 ? "s" : "");
        printf("  bare product           %8.1f GFLOP/s\n", speed / 1e9);
        printf("  matrix, structured     %8.3f s   %6.2f GFLOP = n p^2, %.1f GFLOP/s, %.0f %% of "
               "the bare speed\n",
               seconds, structured / 1e9, structured / seconds / 1e9,
               100 * structured / seconds / speed);
        printf("  the plain way's floor  %8.3f s   %6.2f GFLOP = p products, at the bare speed\n",
               plain / speed, plain / 1e9);
        printf("  all eigenvalues        %8.3f s   largest %.9g\n", lapack, value[0]);
        printf("  together               %8.3f s\n", seconds + lapack);
    }
    gm_free(theta);
    gm_free(value);
    gm_free(h);
    gm_dataset_free(data);
    gm_net_free(net);
    return 0;
}
