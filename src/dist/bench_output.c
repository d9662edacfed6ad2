/* What gradiometer-mpi bench prints. */
#include <math.h>
#include <stdio.h>

#include "cli/document.h"
#include "dist/bench.h"

/* The network and the problem that are asked about. */
static gm_rank_model model_ahead(const gm_rank_bench *bench, double *samples, double *parameters)
{
    const gm_rank_settings *set = bench->settings;
    gm_rank_model model = bench->model;
    double p = (double)bench->parameters;
    *samples = set->samples > 0.0 ? set->samples : (double)bench->samples;
    *parameters = set->parameters > 0.0 ? set->parameters : p;
    if (set->latency > 0.0) model.latency = set->latency;
    if (set->bandwidth > 0.0) model.bandwidth = set->bandwidth;
    model.fixed *= *parameters / p; /* both passes over p numbers and matrix products grow so */
    model.sample *= *parameters / p;
    return model;
}

static json_t *line_value(const gm_rank_line *line)
{
    json_t *value = json_object();
    json_object_set_new(value, "ranks", json_integer(line->ranks));
    json_object_set_new(value, "seconds", json_real(line->seconds));
    json_object_set_new(value, "compute", json_real(line->compute));
    json_object_set_new(value, "wait", json_real(line->wait));
    json_object_set_new(value, "reduction", json_real(line->reduction));
    json_object_set_new(value, "reduction_share", json_real(line->reduction / line->seconds));
    json_object_set_new(value, "slowdown", json_real(line->slowdown));
    json_object_set_new(value, "predicted", json_real(line->predicted));
    if (line->ranks == 1) return value;
    json_object_set_new(value, "threads_seconds", json_real(line->threads_seconds));
    json_object_set_new(value, "against_threads", json_real(line->ratio));
    json_object_set_new(value, "ensemble_seconds", json_real(line->ensemble_seconds));
    json_object_set_new(value, "ensemble_against_threads", json_real(line->ensemble_ratio));
    return value;
}

static json_t *ahead_value(const gm_rank_bench *bench)
{
    double samples, parameters;
    gm_rank_model model = model_ahead(bench, &samples, &parameters);
    json_t *value = json_object(), *lines = json_array();
    double one = gm_rank_predict(&model, 1, 1.0, samples, parameters);
    for (int i = 0, ranks = 8; i < GM_BENCH_AHEAD; i++, ranks *= 2) {
        double seconds = gm_rank_predict(&model, ranks, bench->full, samples, parameters);
        json_t *line = json_object();
        json_object_set_new(line, "ranks", json_integer(ranks));
        json_object_set_new(line, "seconds", json_real(seconds));
        json_object_set_new(line, "reduction",
                            json_real(gm_rank_reduction(&model, ranks, parameters)));
        json_object_set_new(line, "efficiency", json_real(one / seconds / ranks));
        json_array_append_new(lines, line);
    }
    json_object_set_new(value, "samples", json_real(samples));
    json_object_set_new(value, "parameters", json_real(parameters));
    json_object_set_new(value, "slowdown", json_real(bench->full));
    json_object_set_new(value, "latency", json_real(model.latency));
    json_object_set_new(value, "bandwidth",
                        isfinite(model.bandwidth) ? json_real(model.bandwidth) : json_null());
    json_object_set_new(value, "ranks", lines);
    return value;
}

gm_status gm_rank_print_json(gm_cli *cli, const gm_session *session, const gm_rank_bench *bench,
                             gm_error *err)
{
    const gm_rank_model *m = &bench->model;
    json_t *document = gm_document_create(cli, session, err);
    if (!document) return GM_ERR_MEMORY;
    json_t *model = json_object(), *lines = json_array();
    json_object_set_new(model, "fixed", json_real(m->fixed));
    json_object_set_new(model, "sample", json_real(m->sample));
    json_object_set_new(model, "flops", gm_json_number(cli, "flops", m->flops));
    json_object_set_new(model, "latency", json_real(m->latency));
    json_object_set_new(model, "bandwidth", gm_json_number(cli, "bandwidth", m->bandwidth));
    for (size_t i = 0; i < bench->lines; i++) {
        json_array_append_new(lines, line_value(&bench->line[i]));
    }
    json_object_set_new(document, "processors", json_integer(bench->processors));
    json_object_set_new(document, "rounds", json_integer((json_int_t)bench->settings->rounds));
    json_object_set_new(document, "products", lines);
    json_object_set_new(document, "cost_model", model);
    json_object_set_new(document, "ahead", ahead_value(bench));
    return gm_document_print(cli, document, err);
}

static void print_lines(const gm_rank_bench *bench)
{
    printf("\none product with H, milliseconds (medians of %zu rounds, means over the ranks)\n\n"
           "ranks     total   compute      wait  reduction   share     c  predicted   error  "
           "against threads\n",
           bench->settings->rounds);
    for (size_t i = 0; i < bench->lines; i++) {
        const gm_rank_line *l = &bench->line[i];
        printf("%5d  %8.3f  %8.3f  %8.3f  %9.3f  %4.1f %%  %4.2f  %9.3f  %+4.0f %%", l->ranks,
               1e3 * l->seconds, 1e3 * l->compute, 1e3 * l->wait, 1e3 * l->reduction,
               100.0 * l->reduction / l->seconds, l->slowdown, 1e3 * l->predicted,
               100.0 * (l->predicted / l->seconds - 1.0));
        if (l->ranks > 1) printf("  %13.1f %%", 100.0 * l->ratio);
        putchar('\n');
    }
    printf("\nagainst threads: the speed of one process with as many threads is 100 %%\n");
    for (size_t i = 1; i < bench->lines; i++) {
        const gm_rank_line *l = &bench->line[i];
        printf("ensembles  %d ranks: %.3g us a run and step, %.1f %% of one process with as many "
               "threads\n",
               l->ranks, 1e6 * l->ensemble_seconds, 100.0 * l->ensemble_ratio);
    }
}

static void print_ahead(const gm_rank_bench *bench)
{
    double samples, parameters;
    const gm_rank_model *m = &bench->model;
    gm_rank_model model = model_ahead(bench, &samples, &parameters);
    printf("\nmodel      c (a + b n/N) + 2 (N-1) q L + 2 (N-1)/N 8p/B: a = %.3g ms, b = %.3g us a "
           "sample\n           (%.3g GFLOP/s a rank), L = %.3g us, B = %.3g GB/s, all measured "
           "here; c: how much\n           longer a rank computes when N of them do so here at "
           "once\n",
           1e3 * m->fixed, 1e6 * m->sample, 1e-9 * m->flops, 1e6 * m->latency, 1e-9 * m->bandwidth);
    printf("\nahead      n = %.4g, p = %.4g, machines as full as this one (c = %.2f), L = %.3g us, "
           "B = %.3g GB/s\n\nranks     total  reduction  efficiency\n",
           samples, parameters, bench->full, 1e6 * model.latency, 1e-9 * model.bandwidth);
    double one = gm_rank_predict(&model, 1, 1.0, samples, parameters);
    for (int i = 0, ranks = 8; i < GM_BENCH_AHEAD; i++, ranks *= 2) {
        double seconds = gm_rank_predict(&model, ranks, bench->full, samples, parameters);
        printf("%5d  %8.3f  %9.3f  %8.1f %%\n", ranks, 1e3 * seconds,
               1e3 * gm_rank_reduction(&model, ranks, parameters), 100.0 * one / seconds / ranks);
    }
}

void gm_rank_print_text(const gm_session *session, const gm_rank_bench *bench)
{
    gm_document_describe(session);
    printf("machine    %d processors\n", bench->processors);
    print_lines(bench);
    print_ahead(bench);
}
