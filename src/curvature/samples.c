/* Inner products with the per-sample gradients g_i, and weighted sums of them, without an array of
 * n p numbers: both read the kept activations and signals, layer by layer (theory section 1, the
 * product with M is one after the other). */
#include <string.h>

#include "base/memory.h"
#include "curvature/parts.h"

struct gm_samples {
    gm_linearization *lin;
    gm_part part;
    gm_sums *sums;
    void *native; /* [block, size] directions in single precision; NULL in double */
    double *dots; /* [block, n]: chunk after chunk, [count, samples of the chunk] */
    const void *v[GM_MAX_BLOCK];
    size_t count; /* directions of the block in hand */
};

void gm_samples_free(gm_samples *samples)
{
    if (!samples) return;
    gm_sums_free(samples->sums);
    gm_free(samples->native);
    gm_free(samples->dots);
    gm_free(samples);
}

gm_status gm_samples_create(gm_linearization *lin, int layer, gm_samples **samples, gm_error *err)
{
    gm_problem *problem = lin->problem;
    const gm_kernels *k = problem->engine.k;
    *samples = NULL;
    gm_samples *s = gm_alloc(1, sizeof *s, "per-sample products", err);
    if (!s) return GM_ERR_MEMORY;
    s->lin = lin;
    gm_status status = gm_part_of(lin, layer, &s->part, err);
    if (status == GM_OK) status = gm_problem_reserve(problem, err);
    if (status == GM_OK) {
        status = gm_sums_create(k, problem->workers, problem->block, s->part.size, &s->sums, err);
    }
    if (status == GM_OK) {
        s->dots =
            gm_alloc(problem->block * problem->n, sizeof *s->dots, "products with gradients", err);
        if (!s->dots) status = GM_ERR_MEMORY;
    }
    if (status == GM_OK && k->dtype != GM_F64) {
        s->native = gm_alloc(problem->block * s->part.size, k->size, "directions", err);
        if (!s->native) status = GM_ERR_MEMORY;
    }
    if (status != GM_OK) {
        gm_samples_free(s);
        return status;
    }
    *samples = s;
    return GM_OK;
}

static gm_directions directions_of(const gm_samples *s, const gm_worker *w)
{
    return (gm_directions){.count = s->count,
                           .offset = s->part.offset,
                           .size = s->part.size,
                           .v = s->v,
                           .sum = gm_sums_of(s->sums, w->thread)};
}

static void dots_work(void *job, gm_worker *w, size_t index)
{
    gm_samples *s = job;
    const gm_chunk *c = gm_linearization_chunk(s->lin, w, index);
    gm_directions d = directions_of(s, w);
    double *t = s->dots + s->count * c->first;
    memset(t, 0, s->count * c->n * sizeof *t);
    gm_pass_dots(&w->engine, c, &d, w->work, t);
}

static void weighted_work(void *job, gm_worker *w, size_t index)
{
    gm_samples *s = job;
    const gm_chunk *c = gm_linearization_chunk(s->lin, w, index);
    gm_directions d = directions_of(s, w);
    gm_pass_weighted(&w->engine, c, &d, s->dots + s->count * c->first, w->work);
    gm_sums_added(s->sums, w->thread, c->n);
}

/* From the chunks' own order to the rank's places in [count, samples]. */
static void take_dots(const gm_samples *s, double *rows)
{
    const gm_problem *problem = s->lin->problem;
    size_t n = problem->n, samples = problem->samples;
    for (size_t first = 0; first < n; first += problem->chunk) {
        size_t m = n - first < problem->chunk ? n - first : problem->chunk;
        for (size_t j = 0; j < s->count; j++) {
            memcpy(rows + j * samples + problem->first + first, s->dots + s->count * first + j * m,
                   m * sizeof *rows);
        }
    }
}

/* And back. */
static void set_dots(const gm_samples *s, const double *rows)
{
    const gm_problem *problem = s->lin->problem;
    size_t n = problem->n, samples = problem->samples;
    for (size_t first = 0; first < n; first += problem->chunk) {
        size_t m = n - first < problem->chunk ? n - first : problem->chunk;
        for (size_t j = 0; j < s->count; j++) {
            memcpy(s->dots + s->count * first + j * m, rows + j * samples + problem->first + first,
                   m * sizeof *rows);
        }
    }
}

void gm_samples_dot(gm_samples *s, size_t count, const double *v, double *dot)
{
    gm_problem *problem = s->lin->problem;
    const gm_kernels *k = problem->engine.k;
    size_t size = s->part.size, n = problem->samples;
    if (problem->team) memset(dot, 0, count * n * sizeof *dot); /* the other ranks' places */
    for (size_t first = 0; first < count; first += problem->block) {
        s->count = count - first < problem->block ? count - first : problem->block;
        const double *block = v + first * size;
        if (s->native) k->from_double(s->count * size, block, s->native);
        for (size_t j = 0; j < s->count; j++) {
            s->v[j] = s->native ? (const void *)((char *)s->native + j * size * k->size)
                                : (const void *)(block + j * size);
        }
        gm_sweep(problem, dots_work, s);
        take_dots(s, dot + first * n);
    }
    gm_team_sum(problem->team, count * n, dot);
}

void gm_samples_sum(gm_samples *s, size_t count, const double *weight, double *sum)
{
    gm_problem *problem = s->lin->problem;
    size_t size = s->part.size, n = problem->samples;
    for (size_t first = 0; first < count; first += problem->block) {
        s->count = count - first < problem->block ? count - first : problem->block;
        set_dots(s, weight + first * n);
        gm_sums_clear(s->sums);
        gm_sweep(problem, weighted_work, s);
        gm_sums_finish(s->sums, 1.0, s->count, sum + first * size);
    }
    gm_team_sum(problem->team, count * size, sum);
}
