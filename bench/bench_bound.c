/* Draws of the posterior beside the matrix products that they cannot do without.
 *
 *     bench_bound MODEL DATA N DRAWS ROUNDS
 *
 * In turn, and as medians of the rounds: the bare products of one value pass over N samples, DRAWS
 * times, by chunks on as many threads as there are; DRAWS whole draws on all samples; DRAWS whole
 * draws on blocks of the default size, by turns; as many samples' draws by layer; and the normal
 * numbers of DRAWS whole draws alone. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cli/startup.h"
#include "gradiometer/bound.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "net/net.h"

enum { CHUNK = 334, MOST_ROUNDS = 99 };

static void need(gm_status status, const gm_error *err)
{
    if (status == GM_OK) return;
    fprintf(stderr, "bench_bound: %s\n", err->message);
    exit(2);
}

static void *numbers(size_t count, size_t size)
{
    gm_error err = {0};
    void *x = gm_alloc(count, size, "bench", &err);
    need(x ? GM_OK : GM_ERR_MEMORY, &err);
    return x;
}

/* One value pass: [rows, out] = [rows, in] [out, in]^T for every dense layer. */
static double bare(const gm_net *net, const gm_dataset *data, const gm_kernels *k, size_t draws)
{
    size_t n = data->n, chunks = (n + CHUNK - 1) / CHUNK, widest = data->features;
    for (int l = 0; l < net->layers; l++) {
        size_t size = net->node[net->layer_node[l]].size;
        widest = size > widest ? size : widest;
    }
    char *weights = numbers(net->parameters, k->size);
    size_t room = CHUNK * widest * k->size, threads = (size_t)omp_get_max_threads();
    char *work = numbers(2 * threads, room);
    double start = omp_get_wtime();
    for (size_t t = 0; t < draws; t++) {
#pragma omp parallel for schedule(static)
        for (size_t c = 0; c < chunks; c++) {
            char *mine = work + 2 * (size_t)omp_get_thread_num() * room;
            size_t first = c * CHUNK, rows = n - first < CHUNK ? n - first : CHUNK;
            const char *in = (const char *)data->x + first * data->features * k->size;
            for (int l = 0; l < net->layers; l++) {
                const gm_node *node = &net->node[net->layer_node[l]];
                size_t width = gm_shape_size(&node->in_shape[0]);
                char *out = mine + (size_t)(l % 2) * room;
                k->gemm(false, true, rows, node->size, width, 1.0, in, width,
                        weights + node->offset * k->size, width, 0.0, out, node->size);
                in = out;
            }
        }
    }
    double seconds = omp_get_wtime() - start;
    gm_free(weights);
    gm_free(work);
    return seconds;
}

static double draw(gm_problem *problem, const gm_gaussians *g, size_t draws, size_t block,
                   bool whole, gm_gibbs *result)
{
    gm_gibbs_options o;
    gm_error err = {0};
    gm_gibbs_options_default(&o);
    o.draws = draws;
    o.block = block;
    o.whole = whole;
    double start = omp_get_wtime();
    need(gm_gibbs_estimate(problem, g, &o, result, &err), &err);
    return omp_get_wtime() - start;
}

static double normals(size_t p, size_t draws)
{
    double start = omp_get_wtime();
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < draws; t++) {
        double z[4096];
        gm_stream stream = gm_stream_of(0, GM_PURPOSE_TEST, 0);
        for (size_t at = 0; at < p; at += 4096) {
            gm_normal_fill(stream, t * p + at, p - at < 4096 ? p - at : 4096, z);
        }
    }
    return omp_get_wtime() - start;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(size_t count, double *value)
{
    qsort(value, count, sizeof *value, ascending);
    return value[count / 2];
}

int main(int argc, char **argv)
{
    gm_error err = {0};
    const char *note;
    if (argc != 6) {
        fputs("usage: bench_bound MODEL DATA N DRAWS ROUNDS\n", stderr);
        return 2;
    }
    need(gm_cli_startup(argv, &note, &err), &err);
    size_t draws = strtoul(argv[4], NULL, 10), rounds = strtoul(argv[5], NULL, 10);
    if (draws < 1 || rounds < 1 || rounds > MOST_ROUNDS) return 2;
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    gm_data_options data_options;
    gm_problem_options options;
    gm_data_options_default(&data_options);
    data_options.dtype = GM_F32;
    data_options.subset = strtoul(argv[3], NULL, 10);
    gm_problem_options_default(&options);
    need(gm_data_load(argv[2], &data_options, &data, &err), &err);
    need(gm_net_from_spec(argv[1], &data->shape, data->classes, &net, &err), &err);
    need(gm_problem_create(net, data, &options, &problem, &err), &err);
    size_t p = gm_net_parameters(net);
    double *theta = numbers(p, sizeof *theta), *unit = numbers(p, sizeof *unit);
    double *ratio = numbers(p, sizeof *ratio);
    gm_net_init(net, GM_INIT_HE, 0, 0, theta);
    need(gm_prior_unit(net, theta, NULL, unit, &err), &err);
    for (size_t j = 0; j < p; j++) {
        ratio[j] = 1.0;
    }
    const gm_gaussians g = {p, theta, unit, 0.1, theta, ratio};
    double seconds[5][MOST_ROUNDS], flops = 2.0 * (double)(data->n * p * draws);
    gm_gibbs all, blocks, layers;
    for (size_t r = 0; r < rounds; r++) {
        seconds[0][r] = bare(net, data, gm_kernels_get(GM_F32), draws);
        seconds[1][r] = draw(problem, &g, draws, data->n, true, &all);
        seconds[2][r] = draw(problem, &g, draws, 0, true, &blocks);
        seconds[3][r] = normals(p, draws);
        seconds[4][r] = draw(problem, &g, draws, 0, false, &layers);
    }
    double products = median(rounds, seconds[0]), on_all = median(rounds, seconds[1]);
    printf("%s, %zu samples of %s, f32, %d threads, %zu draws, medians of %zu rounds\n", argv[1],
           data->n, argv[2], omp_get_max_threads(), draws, rounds);
    printf("  bare products    %8.3f s  %.0f GFLOP/s\n", products, flops / products / 1e9);
    printf("  draws on all     %8.3f s  %.0f %% of the bare products' speed\n", on_all,
           100.0 * products / on_all);
    printf("  draws on blocks  %8.3f s  %zu draws, %zu blocks\n", median(rounds, seconds[2]),
           blocks.draws, blocks.blocks);
    printf("  draws by layer   %8.3f s  %zu draws, one sample each\n", median(rounds, seconds[4]),
           layers.draws);
    printf("  normal numbers   %8.3f s\n", median(rounds, seconds[3]));
    gm_problem_free(problem);
    gm_net_free(net);
    gm_dataset_free(data);
    gm_free(theta);
    gm_free(unit);
    gm_free(ratio);
    return 0;
}
