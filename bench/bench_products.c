/* One product with H, G, M and one gradient, against the bare matrix products that each needs on
 * the same shapes.
 *
 *     bench_products [MODEL [DATA [SUBSET]]]      e.g. mlp:784-512-512-10 mnist:DIR 10000
 *
 * Counts, for a layer of n x in x out (one product is 2 n in out flops): H 2 for the first layer
 * and 6 for each later one; G 2 and 4; M 2 and 2; gradient 2 and 3. The bare speed is taken on
 * chunks of the size that the library uses itself and on the whole set, whichever is faster. All in
 * one run, alternating, medians. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/memory.h"
#include "bench.h"
#include "cli/startup.h"
#include "gradiometer/curvature.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "net/net.h"

enum { ROUNDS = 9 };

typedef struct setting {
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    gm_linearization *lin;
    double *v, *av;
} setting;

/* Flops of the products: `first` for the first layer, `later` for each later one, on n samples. */
static double flops(const gm_net *net, size_t n, double first, double later)
{
    double total = 0.0;
    for (int l = 0; l < net->layers; l++) {
        const gm_node *node = &net->node[net->layer_node[l]];
        total += 2.0 * (double)n * (double)gm_shape_size(&node->in_shape[0]) * (double)node->size *
                 (l == 0 ? first : later);
    }
    return total;
}

static char *noise(const gm_kernels *k, size_t count)
{
    double *x = gm_alloc(count, sizeof *x, "bench", NULL);
    char *out = gm_alloc(count, k->size, "bench", NULL);
    for (size_t i = 0; i < count; i++) {
        x[i] = 1e-3 * (double)(i % 1021) - 0.5;
    }
    k->from_double(count, x, out);
    gm_free(x);
    return out;
}

/* Seconds of the bare products of one Hessian product, in chunks of `chunk` samples: half of the
 * first layer's and a third of the later ones' in each of the three forms that passes use. side:
 * chunks side by side, a thread each. */
static double bare(const setting *s, size_t chunk, int side)
{
    const gm_kernels *k = gm_kernels_get(s->data->dtype);
    const gm_net *net = s->net;
    size_t n = s->data->n, widest = 0, p = gm_net_parameters(net);
    for (int i = 0; i < net->nodes; i++) {
        widest = net->node[i].size > widest ? net->node[i].size : widest;
    }
    int teams = side ? omp_get_max_threads() : 1;
    size_t chunks = (n + chunk - 1) / chunk;
    /* inputs of ordinary size and outputs apart from them, so that no value grows or vanishes; the
     * rows of the whole set, so that they come from memory as they do in a product */
    size_t rows_all = side ? n : chunk, size = k->size;
    char *a = noise(k, rows_all * widest), *b = noise(k, rows_all * widest), *w = noise(k, p);
    char *c = gm_alloc((size_t)teams * chunk * widest, size, "bench", NULL);
    char *g = gm_alloc((size_t)teams * p, size, "bench", NULL);
    double start = 0.0, seconds = 0.0;
    for (int warm = 0; warm < 2; warm++) {
        start = omp_get_wtime();
#pragma omp parallel for num_threads(teams) schedule(static) if (teams > 1)
        for (size_t i = 0; i < chunks; i++) {
            size_t t = (size_t)omp_get_thread_num(), first = i * chunk;
            size_t rows = n - first < chunk ? n - first : chunk;
            const char *at = a + first * widest * size, *bt = b + first * widest * size;
            char *ct = c + t * chunk * widest * size, *gt = g + t * p * size;
            for (int l = 0; l < net->layers; l++) {
                const gm_node *node = &net->node[net->layer_node[l]];
                size_t in = gm_shape_size(&node->in_shape[0]), out = node->size;
                for (int r = 0; r < (l == 0 ? 1 : 2); r++) {
                    k->gemm(false, true, rows, out, in, 1.0, at, in, w, in, 0.0, ct, out);
                    k->gemm(true, false, out, in, rows, 1.0, bt, out, at, in, 1.0, gt, in);
                    if (l == 0) continue;
                    k->gemm(false, false, rows, in, out, 1.0, bt, out, w, in, 0.0, ct, in);
                }
            }
        }
        seconds = omp_get_wtime() - start;
    }
    gm_free(a);
    gm_free(b);
    gm_free(w);
    gm_free(c);
    gm_free(g);
    return seconds;
}

static double time_product(setting *s, gm_curvature kind)
{
    gm_error err = {0};
    gm_operator op;
    bench_check(gm_curvature_operator(s->lin, kind, GM_ALL_LAYERS, &op, &err), &err);
    bench_check(gm_operator_apply(&op, 1, s->v, s->av, &err), &err);
    double start = omp_get_wtime();
    bench_check(gm_operator_apply(&op, 1, s->v, s->av, &err), &err);
    double seconds = omp_get_wtime() - start;
    gm_operator_destroy(&op);
    return seconds;
}

static double time_gradient(setting *s)
{
    gm_error err = {0};
    double start = omp_get_wtime();
    bench_check(
        gm_problem_gradient(s->problem, gm_linearization_theta(s->lin), NULL, NULL, s->av, &err),
        &err);
    return omp_get_wtime() - start;
}

static void open_setting(setting *s, const char *model, const char *spec, size_t subset,
                         gm_dtype dtype)
{
    gm_error err = {0};
    gm_data_options options;
    gm_problem_options problem;
    gm_data_options_default(&options);
    gm_problem_options_default(&problem);
    options.subset = subset;
    options.dtype = dtype;
    bench_check(gm_net_from_spec(model, NULL, 0, &s->net, &err), &err);
    options.classes = gm_net_outputs(s->net);
    bench_check(gm_data_load(spec, &options, &s->data, &err), &err);
    bench_check(gm_problem_create(s->net, s->data, &problem, &s->problem, &err), &err);
    size_t p = gm_net_parameters(s->net);
    double *theta = gm_alloc(p, sizeof *theta, "bench", &err);
    s->v = gm_alloc(p, sizeof *s->v, "bench", &err);
    s->av = gm_alloc(p, sizeof *s->av, "bench", &err);
    if (!theta || !s->v || !s->av) bench_check(GM_ERR_MEMORY, &err);
    gm_net_init(s->net, GM_INIT_HE, 1, 0, theta);
    gm_rademacher_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, p, s->v);
    bench_check(gm_linearize(s->problem, theta, &s->lin, &err), &err);
    gm_free(theta);
}

static void close_setting(setting *s)
{
    gm_linearization_free(s->lin);
    gm_problem_free(s->problem);
    gm_dataset_free(s->data);
    gm_net_free(s->net);
    gm_free(s->v);
    gm_free(s->av);
}

int main(int argc, char **argv)
{
    gm_error err = {0};
    const char *note;
    bench_check(gm_cli_startup(argv, &note, &err), &err);
    const char *model = argc > 1 ? argv[1] : "mlp:784-512-512-10";
    const char *spec = argc > 2 ? argv[2] : "gauss:k=10,d=784,n=10000";
    size_t subset = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    for (int threads = 1; threads <= omp_get_num_procs() && threads <= 2; threads++) {
        omp_set_num_threads(threads);
        setting s;
        open_setting(&s, model, spec, subset, GM_F32);
        double t[6][ROUNDS];
        for (int r = 0; r < ROUNDS; r++) {
            double chunked = bare(&s, gm_problem_chunk(s.problem), 1),
                   whole = bare(&s, s.data->n, 0);
            t[0][r] = chunked < whole ? chunked : whole;
            t[1][r] = time_product(&s, GM_HESSIAN);
            t[2][r] = time_product(&s, GM_GGN);
            t[3][r] = time_product(&s, GM_MOMENT);
            t[4][r] = time_gradient(&s);
        }
        size_t n = s.data->n;
        double work[5] = {flops(s.net, n, 2, 6), flops(s.net, n, 2, 6), flops(s.net, n, 2, 4),
                          flops(s.net, n, 2, 2), flops(s.net, n, 2, 3)};
        const char *names[5] = {"bare products", "H v", "G v", "M v", "gradient"};
        double bare_speed = work[0] / bench_median(ROUNDS, t[0]);
        printf("%s, n = %zu, f32, %d thread%s, chunk %zu\n", model, n, threads,
               threads > 1 ? "s" : "", gm_problem_chunk(s.problem));
        printf("  %-14s %10s %9s %9s %8s %12s\n", "", "ms", "GFLOP", "GFLOP/s", "share",
               "x gradient");
        double gradient = bench_median(ROUNDS, t[4]);
        for (int i = 0; i < 5; i++) {
            double seconds = bench_median(ROUNDS, t[i]);
            printf("  %-14s %10.2f %9.2f %9.1f %7.1f%% %12.2f\n", names[i], 1e3 * seconds,
                   work[i] / 1e9, work[i] / seconds / 1e9, 100 * work[i] / seconds / bare_speed,
                   seconds / gradient);
        }
        size_t kept;
        gm_linearization_cached(s.lin, &kept);
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        printf("  kept activations and signals %.0f MB, peak memory of the process %.0f MB\n",
               (double)kept / 1e6, (double)usage.ru_maxrss / 1e3);
        close_setting(&s);
    }
    return 0;
}
