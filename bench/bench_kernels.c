/* Bare speed of the kernels.
 *
 *     bench_kernels [products|small|elements]
 *
 * products: GFLOP/s of the three forms of a dense layer's matrix products on the shapes of
 * mlp:784-512-512-10, for several numbers of rows (a chunk of samples) and threads. Layer i -> o:
 * value NT [rows, o] = [rows, i] [o, i]^T, backward NN [rows, i] = [rows, o] [o, i], weights TN
 * [o, i] = [rows, o]^T [rows, i].
 * small: products of a few megaflops with one thread and with all: whether the libraries start
 * threads where that pays.
 * elements: nanoseconds per element of activations and losses, each instruction set.
 *
 * Every figure is the best of many repetitions; the table says how many threads OpenMP was given.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/startup.h"
#include "kernels/isa.h"
#include "kernels/kernels.h"

static const double seconds_each = 0.15; /* of repetitions per figure */

/* count numbers between -0.5 and 0.5 in the table's precision; ends the program without memory. */
static void *new_numbers(const gm_kernels *k, size_t count)
{
    double *x = gm_alloc(count, sizeof *x, "bench", NULL);
    void *out = gm_alloc(count, k->size, "bench", NULL);
    if (!x || !out) {
        fputs("bench_kernels: out of memory\n", stderr);
        exit(2);
    }
    for (size_t i = 0; i < count; i++) {
        x[i] = 1e-3 * (double)(i % 1021) - 0.5;
    }
    k->from_double(count, x, out);
    gm_free(x);
    return out;
}

typedef struct product {
    const gm_kernels *kernels;
    bool ta, tb;
    size_t m, n, k;
    void *a, *b, *c;
} product;

static void multiply(const product *p)
{
    p->kernels->gemm(p->ta, p->tb, p->m, p->n, p->k, 1, p->a, p->ta ? p->m : p->k, p->b,
                     p->tb ? p->k : p->n, 0, p->c, p->n);
}

/* Best GFLOP/s of many repetitions, in groups of `group` where one is too short for the clock. */
static double product_speed(const gm_kernels *kernels, bool ta, bool tb, size_t m, size_t n,
                            size_t k, int group)
{
    product p = {kernels,
                 ta,
                 tb,
                 m,
                 n,
                 k,
                 new_numbers(kernels, m * k),
                 new_numbers(kernels, k * n),
                 new_numbers(kernels, m * n)};
    double best = 1e30, start = omp_get_wtime();
    for (int round = 0; round < 3 || omp_get_wtime() - start < seconds_each; round++) {
        double t = omp_get_wtime();
        for (int i = 0; i < group; i++) {
            multiply(&p);
        }
        t = (omp_get_wtime() - t) / group;
        if (t < best) best = t;
    }
    gm_free(p.a);
    gm_free(p.b);
    gm_free(p.c);
    return 2e-9 * (double)m * (double)n * (double)k / best;
}

/* One line per number of rows: each form on each layer, and the speed of all of them together with
 * the weights that a Hessian product has (the first layer twice, the later ones six times). */
static void bench_products(gm_dtype dtype, int threads)
{
    const gm_kernels *k = gm_kernels_get(dtype);
    const size_t rows[] = {128, 256, 512, 1000, 2000, 10000}, width[] = {784, 512, 512, 10};
    printf("\n%s, %d thread%s: GFLOP/s\n%6s  %-23s  %-23s  %-23s  %s\n", gm_dtype_name(dtype),
           threads, threads > 1 ? "s" : "", "rows", "NT (value)", "NN (backward)", "TN (weights)",
           "Hessian product");
    omp_set_num_threads(threads);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        double speed[3][3], time = 0, work = 0;
        for (size_t l = 0; l < 3; l++) {
            size_t n = rows[r], i = width[l], o = width[l + 1];
            int group = n * i * o < 50000000 ? 10 : 1;
            speed[0][l] = product_speed(k, false, true, n, o, i, group);
            speed[1][l] = product_speed(k, false, false, n, i, o, group);
            speed[2][l] = product_speed(k, true, false, o, i, n, group);
            double flops = 2 * (double)n * (double)i * (double)o;
            /* the first layer: one value, one weights; later ones two of each form */
            double per_form = l == 0 ? 1 : 2;
            for (size_t form = 0; form < 3; form++) {
                if (l == 0 && form == 1) continue;
                time += per_form * flops / speed[form][l];
                work += per_form * flops;
            }
        }
        printf("%6zu", rows[r]);
        for (size_t form = 0; form < 3; form++) {
            printf("  %7.1f %7.1f %7.1f", speed[form][0], speed[form][1], speed[form][2]);
        }
        printf("  %7.1f\n", work / time);
        fflush(stdout);
    }
}

static void bench_small(gm_dtype dtype, int threads)
{
    const gm_kernels *k = gm_kernels_get(dtype);
    const size_t size[][3] = {{10, 30, 100},   {31, 31, 100},  {51, 30, 100},   {51, 51, 256},
                              {30, 51, 1000},  {1000, 30, 51}, {1000, 51, 51},  {100, 100, 1000},
                              {256, 256, 256}, {500, 50, 500}, {400, 400, 400}, {2770, 31, 256}};
    printf("\n%s, small products: GFLOP/s, one thread and %d\n", gm_dtype_name(dtype), threads);
    for (size_t s = 0; s < sizeof size / sizeof *size; s++) {
        size_t m = size[s][0], n = size[s][1], l = size[s][2];
        omp_set_num_threads(1);
        double one = product_speed(k, false, true, m, n, l, 1);
        omp_set_num_threads(threads);
        double all = product_speed(k, false, true, m, n, l, 1);
        printf("%5zu x %4zu x %4zu  %8.3f Mmnk  %7.1f %7.1f\n", m, n, l, 1e-6 * (double)(m * n * l),
               one, all);
    }
}

/* Nanoseconds per element of phi, phi' u and the whole tangent rule, and of a softmax of ten. */
static void bench_elements(const gm_kernels *k)
{
    const gm_activation acts[] = {GM_ACT_RELU, GM_ACT_TANH, GM_ACT_SIGMOID, GM_ACT_SOFTPLUS,
                                  GM_ACT_GELU};
    enum { N = 32768, CLASSES = 10, ROWS = N / CLASSES };
    void *z = new_numbers(k, N), *a = new_numbers(k, N), *u = new_numbers(k, N);
    void *out = new_numbers(k, N);
    int32_t *y = gm_alloc(N, sizeof *y, "bench", NULL);
    if (!y) exit(2);
    printf("\n%s %s, 1 thread: ns per element (value, slope, curve)\n", k->isa,
           gm_dtype_name(k->dtype));
    for (size_t i = 0; i <= sizeof acts / sizeof *acts; i++) {
        double best[3] = {1e30, 1e30, 1e30}, start = omp_get_wtime();
        bool loss = i == sizeof acts / sizeof *acts;
        while (omp_get_wtime() - start < seconds_each) {
            double t[4] = {omp_get_wtime()};
            if (loss) {
                k->softmax_loss(ROWS, CLASSES, z, y, NULL, NULL, a, u);
                t[1] = omp_get_wtime();
                k->softmax_metric(ROWS, CLASSES, a, u, out);
                t[2] = t[3] = omp_get_wtime();
            } else {
                k->act_value(acts[i], N, z, a);
                t[1] = omp_get_wtime();
                k->act_slope(acts[i], N, z, a, u, false, out);
                t[2] = omp_get_wtime();
                k->act_curve(acts[i], N, z, a, u, u, u, false, out);
                t[3] = omp_get_wtime();
            }
            for (size_t j = 0; j < 3; j++) {
                double ns = 1e9 * (t[j + 1] - t[j]) / N;
                if (ns < best[j]) best[j] = ns;
            }
        }
        printf("%-24s %6.3f %6.3f", loss ? "softmax loss, metric" : gm_activation_name(acts[i]),
               best[0], best[1]);
        if (!loss) printf(" %6.3f", best[2]);
        putchar('\n');
    }
    gm_free(z);
    gm_free(a);
    gm_free(u);
    gm_free(out);
    gm_free(y);
}

int main(int argc, char **argv)
{
    gm_error err = {0};
    const char *note, *part = argc > 1 ? argv[1] : "", *core = getenv("OPENBLAS_CORETYPE");
    if (gm_cli_startup(argv, &note, &err) != GM_OK) {
        fprintf(stderr, "bench_kernels: %s\n", err.message);
        return gm_status_exit(err.status);
    }
    int threads = omp_get_max_threads();
    printf("instruction set %s, OPENBLAS_CORETYPE %s\n", gm_kernels_get(GM_F32)->isa,
           core ? core : "not set");
    for (int dtype = GM_F32; dtype <= GM_F64 && (!*part || !strcmp(part, "products")); dtype++) {
        bench_products((gm_dtype)dtype, 1);
        if (threads > 1) bench_products((gm_dtype)dtype, threads);
    }
    for (int dtype = GM_F32; dtype <= GM_F64 && (!*part || !strcmp(part, "small")); dtype++) {
        if (threads > 1) bench_small((gm_dtype)dtype, threads);
    }
    omp_set_num_threads(1);
    for (size_t i = 0; gm_isa_name(i) && (!*part || !strcmp(part, "elements")); i++) {
        for (int dtype = GM_F32; dtype <= GM_F64; dtype++) {
            const gm_kernels *k = gm_kernels_for(gm_isa_name(i), (gm_dtype)dtype);
            if (k) bench_elements(k);
        }
    }
    return 0;
}
