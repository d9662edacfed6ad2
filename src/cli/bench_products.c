/* One product with H, G, M and one gradient, against the bare matrix products on the same shapes.
 *
 * Counts, for a dense layer of `in` inputs and `out` outputs on n samples (one matrix product is
 * 2 n in out flops): H 2 for the first layer and 6 for each later one; G 2 and 4; M 2 and 2;
 * gradient 2 and 3. A convolution counts as the products of its unfolded form; its bare products
 * are the convolutions themselves: forward and weight gradient for the first layer, two of each
 * kind for the others. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/bench.h"
#include "cli/interrupt.h"
#include "diff/pass.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "net/net.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double gm_bench_median(size_t count, double *value)
{
    qsort(value, count, sizeof *value, by_value);
    return value[count / 2];
}

/* Multiplications of a layer's weights for one sample: fan-in for each number of the output. Only
 * dense layers and convolutions are products. */
static double multiplications(const gm_node *node)
{
    const gm_tensor *weight = &node->tensor[0];
    if (node->kind != &gm_layer_dense && node->kind != &gm_layer_conv) return 0.0;
    return (double)weight->fan_in * (double)node->size;
}

/* Flops of the products: `first` for the first layer, `later` for each later one. */
static double count_flops(const gm_session *session, double first, double later)
{
    const gm_net *net = session->net;
    double total = 0.0;
    for (int l = 0; l < net->layers; l++) {
        total += 2.0 * (double)session->data->n * multiplications(&net->node[net->layer_node[l]]) *
                 (l == 0 ? first : later);
    }
    return total;
}

double gm_bench_hessian_flops(const gm_session *session)
{
    return count_flops(session, 2, 6);
}

/* count numbers between -0.5 and 0.5 in the table's precision; NULL with err recorded. */
static char *new_numbers(const gm_kernels *k, size_t count, gm_error *err)
{
    enum { PERIOD = 1021 };
    double period[PERIOD];
    char *out = gm_alloc(count, k->size, "bench", err);
    if (!out) return NULL;
    for (size_t i = 0; i < PERIOD; i++) {
        period[i] = 1e-3 * (double)i - 0.5;
    }
    for (size_t i = 0; i < count; i += PERIOD) {
        k->from_double(count - i < PERIOD ? count - i : PERIOD, period, out + i * k->size);
    }
    return out;
}

gm_status gm_bench_square_speed(gm_dtype precision, bool quick, double *speed, gm_error *err)
{
    const gm_kernels *k = gm_kernels_get(precision);
    const size_t n = quick ? 256 : 1536;
    char *a = new_numbers(k, 3 * n * n, err);
    if (!a) return GM_ERR_MEMORY;
    char *b = a + n * n * k->size, *c = b + n * n * k->size;
    *speed = 0.0;
    for (int r = 0; r < 3; r++) {
        double start = omp_get_wtime();
        k->gemm(false, false, n, n, n, 1.0, a, n, b, n, 0.0, c, n);
        double found = 2.0 * (double)(n * n * n) / (omp_get_wtime() - start);
        *speed = found > *speed ? found : *speed;
    }
    gm_free(a);
    return GM_OK;
}

/* ---- bare products ---- */

/* Inputs of ordinary size and outputs apart from them, so that no value grows or vanishes; rows of
 * the whole set, so that they come from memory as they do in a product. */
typedef struct bare {
    const gm_kernels *kernels;
    const gm_net *net;
    size_t n, chunk; /* chunk: the samples that the library itself takes together */
    size_t widest;
    char *a, *b, *c;    /* [n, widest] */
    char *w, *g;        /* [p], [threads, p] */
    gm_scratch scratch; /* of one thread; the memory holds as many as there are threads */
} bare;

static gm_status bare_create(const gm_session *session, bare *x, gm_error *err)
{
    *x = (bare){.kernels = gm_kernels_get(session->precision),
                .net = session->net,
                .n = session->data->n,
                .chunk = gm_problem_chunk(session->problem)};
    for (int i = 0; i < x->net->nodes; i++) {
        size_t size = x->net->node[i].size;
        x->widest = size > x->widest ? size : x->widest;
    }
    size_t values, p = gm_net_parameters(x->net), threads = (size_t)omp_get_max_threads(), sums;
    if (!gm_mul_size(x->n, x->widest, &values) || !gm_mul_size(threads, p, &sums)) {
        return gm_fail(err, GM_ERR_MEMORY, "bench: the activations exceed the address space");
    }
    x->a = new_numbers(x->kernels, values, err);
    x->b = x->a ? new_numbers(x->kernels, values, err) : NULL;
    x->c = x->b ? gm_alloc(values, x->kernels->size, "bench", err) : NULL;
    x->w = x->c ? new_numbers(x->kernels, p, err) : NULL;
    x->g = x->w ? gm_alloc(sums, x->kernels->size, "bench", err) : NULL;
    gm_engine engine = {.net = x->net, .k = x->kernels};
    x->scratch.bytes = (gm_pass_scratch(&engine, x->n, 1) + 63) / 64 * 64;
    x->scratch.memory = x->g ? gm_alloc(x->scratch.bytes, threads, "bench", err) : NULL;
    return x->scratch.memory ? GM_OK : GM_ERR_MEMORY;
}

static void bare_free(bare *x)
{
    gm_free(x->a);
    gm_free(x->b);
    gm_free(x->c);
    gm_free(x->w);
    gm_free(x->g);
    gm_free(x->scratch.memory);
}

/* A convolution's three forms for `rows` samples, without its bias; not towards the images. */
static void bare_convolutions(const bare *x, const gm_node *node, size_t rows, bool first,
                              char *const array[3], char *g)
{
    gm_conv_config config = *(const gm_conv_config *)node->config;
    config.bias = false;
    gm_layer_call call = {.k = x->kernels,
                          .config = &config,
                          .n = rows,
                          .b = 1,
                          .inputs = 1,
                          .in_shape = node->in_shape,
                          .out_shape = &node->shape,
                          .param = x->w,
                          .in = {array[0]},
                          .out = array[2],
                          .scratch = x->scratch};
    void *const sum = g;
    call.scratch.memory =
        (char *)x->scratch.memory + (size_t)omp_get_thread_num() * x->scratch.bytes;
    node->kind->value(&call);
    call.signal = array[1];
    call.grad = &sum;
    if (!first) call.din[0] = array[2];
    node->kind->backward(&call);
}

/* The products of `rows` samples from `first` on: half of the first layer's and a third of the
 * later ones' in each of the three forms that passes use. g: where the calling thread sums. */
static void bare_rows(const bare *x, size_t first, size_t rows, char *g)
{
    const gm_kernels *k = x->kernels;
    size_t at = first * x->widest * k->size;
    const char *a = x->a + at, *b = x->b + at, *w = x->w;
    char *c = x->c + at;
    for (int l = 0; l < x->net->layers; l++) {
        const gm_node *node = &x->net->node[x->net->layer_node[l]];
        if (multiplications(node) <= 0.0) continue;
        size_t in = node->tensor[0].fan_in, out = node->tensor[0].fan_out;
        size_t m = rows * (node->size / out); /* rows of all positions, of a dense layer */
        for (int repeat = 0; repeat < (l == 0 ? 1 : 2); repeat++) {
            if (node->kind == &gm_layer_conv) {
                char *const array[] = {x->a + at, x->b + at, c};
                bare_convolutions(x, node, rows, l == 0, array, g);
                continue;
            }
            k->gemm(false, true, m, out, in, 1.0, a, in, w, in, 0.0, c, out);
            k->gemm(true, false, out, in, m, 1.0, b, out, a, in, 1.0, g, in);
            if (l == 0) continue;
            k->gemm(false, false, m, in, out, 1.0, b, out, w, in, 0.0, c, in);
        }
    }
}

/* Chunks side by side, a thread each, or the whole set at once: whichever is faster, the second
 * pass of two each. */
static double bare_seconds(const bare *x)
{
    size_t p = gm_net_parameters(x->net), chunks = (x->n + x->chunk - 1) / x->chunk;
    double chunked = 0.0, whole = 0.0;
    for (int pass = 0; pass < 2; pass++) {
        double start = omp_get_wtime();
#pragma omp parallel for schedule(static) if (chunks > 1)
        for (size_t i = 0; i < chunks; i++) {
            size_t first = i * x->chunk, left = x->n - first;
            bare_rows(x, first, left < x->chunk ? left : x->chunk,
                      x->g + (size_t)omp_get_thread_num() * p * x->kernels->size);
        }
        chunked = omp_get_wtime() - start;
    }
    for (int pass = 0; pass < 2; pass++) {
        double start = omp_get_wtime();
        bare_rows(x, 0, x->n, x->g);
        whole = omp_get_wtime() - start;
    }
    return chunked < whole ? chunked : whole;
}

/* ---- products with the operators ---- */

/* The second of two products: the first one finds the caches cold. */
static gm_status time_operator(gm_linearization *lin, gm_curvature kind, const double *v,
                               double *av, double *seconds, gm_error *err)
{
    gm_operator op = {0};
    gm_status status = gm_curvature_operator(lin, kind, GM_ALL_LAYERS, &op, err);
    for (int pass = 0; status == GM_OK && pass < 2; pass++) {
        double start = omp_get_wtime();
        status = gm_operator_apply(&op, 1, v, av, err);
        *seconds = omp_get_wtime() - start;
    }
    gm_operator_destroy(&op);
    return status;
}

static gm_status time_gradient(const gm_session *session, double *gradient, double *seconds,
                               gm_error *err)
{
    double start = omp_get_wtime();
    gm_status status =
        gm_problem_gradient(session->problem, session->theta, NULL, NULL, gradient, err);
    *seconds = omp_get_wtime() - start;
    return status;
}

enum { BARE = GM_BENCH_KINDS, TIMED };

static gm_status one_round(const gm_bench *bench, const bare *x, const double *v, double *av,
                           double seconds[TIMED], gm_error *err)
{
    static const gm_curvature operators[] = {
        [GM_BENCH_H] = GM_HESSIAN, [GM_BENCH_G] = GM_GGN, [GM_BENCH_M] = GM_MOMENT};
    if (gm_interrupt_requested(NULL)) return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted");
    gm_status status = GM_OK;
    seconds[BARE] = bare_seconds(x);
    for (int i = GM_BENCH_H; status == GM_OK && i <= GM_BENCH_M; i++) {
        status = time_operator(bench->lin, operators[i], v, av, seconds + i, err);
    }
    if (status != GM_OK) return status;
    return time_gradient(bench->session, av, seconds + GM_BENCH_GRADIENT, err);
}

gm_status gm_bench_measure_products(const gm_bench *bench, gm_bench_products *out, gm_error *err)
{
    const gm_session *session = bench->session;
    size_t p = gm_net_parameters(session->net), rounds = bench->settings->rounds;
    bare x = {0};
    gm_progress progress;
    double *v = gm_alloc(p, sizeof *v, "bench", err), *av = gm_alloc(p, sizeof *av, "bench", err);
    double *seconds = gm_alloc(rounds, TIMED * sizeof *seconds, "bench", err); /* [TIMED, rounds] */
    gm_status status = v && av && seconds ? bare_create(session, &x, err) : GM_ERR_MEMORY;
    if (status == GM_OK)
        gm_rademacher_fill(gm_stream_of(session->seed, GM_PURPOSE_TEST, 0), 0, p, v);

    gm_progress_start(&progress, gm_dtype_name(session->precision), "rounds", 0, rounds,
                      bench->quiet);
    for (size_t r = 0; status == GM_OK && r < rounds; r++) {
        double round[TIMED] = {0};
        status = one_round(bench, &x, v, av, round, err);
        for (size_t i = 0; status == GM_OK && i < TIMED; i++) {
            seconds[i * rounds + r] = round[i];
        }
        gm_progress_update(&progress, r + 1, "of bare products, H v, G v, M v, gradient");
    }
    gm_progress_finish(&progress);
    if (status == GM_OK) {
        static const double later[] = {6, 4, 2, 3};
        for (size_t i = 0; i < GM_BENCH_KINDS; i++) {
            out->kind[i].seconds = gm_bench_median(rounds, seconds + i * rounds);
            out->kind[i].flops = count_flops(session, 2, later[i]);
        }
        out->bare.seconds = gm_bench_median(rounds, seconds + BARE * rounds);
        out->bare.flops = gm_bench_hessian_flops(session);
    }
    bare_free(&x);
    gm_free(v);
    gm_free(av);
    gm_free(seconds);
    return status;
}
