/* Margins of the samples: the label's logit minus the largest of the others. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "bound/local.h"
#include "bound/measures.h"
#include "diff/problem.h"

const double gm_margin_level[GM_MARGIN_LEVELS] = {0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9};

typedef struct job {
    const gm_problem *problem;
    const void *theta;
    double *margin; /* [n] */
    double *logits; /* [workers, K] */
} job;

static size_t label_of(const gm_chunk *c, size_t i, size_t classes)
{
    if (c->label) return (size_t)c->label[i];
    size_t top = 0;
    for (size_t k = 1; k < classes; k++) {
        if (c->target[i * classes + k] > c->target[i * classes + top]) top = k;
    }
    return top;
}

static void work(void *self, gm_worker *w, size_t index)
{
    const job *j = self;
    const gm_engine *e = &w->engine; /* with scratch of its own */
    size_t classes = gm_net_outputs(e->net);
    double *z = j->logits + (size_t)w->thread * classes;
    gm_worker_load(j->problem, w, j->theta, index);
    gm_pass_value(e, &w->chunk);
    const char *out = w->chunk.value[e->net->nodes - 1];
    for (size_t i = 0; i < w->chunk.n; i++) {
        size_t y = label_of(&w->chunk, i, classes);
        double other = -(double)INFINITY;
        e->k->to_double(classes, out + i * classes * e->k->size, z);
        for (size_t k = 0; k < classes; k++) {
            if (k != y) other = fmax(other, z[k]);
        }
        j->margin[w->chunk.first + i] = z[y] - other;
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

gm_status gm_measure_margins(gm_problem *problem, const double *theta, double *quantile,
                             gm_error *err)
{
    size_t n = problem->data->n, classes = gm_net_outputs(problem->engine.net);
    job j = {.problem = problem};
    void *owned = NULL;
    gm_status status = gm_one_label(problem, err);
    if (status == GM_OK) status = gm_problem_theta(problem, theta, &j.theta, &owned, err);
    if (status != GM_OK) return status;
    j.margin = gm_alloc(n, sizeof *j.margin, "margins", err);
    j.logits = gm_alloc((size_t)problem->workers * classes, sizeof *j.logits, "logits", err);
    status = j.margin && j.logits ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        gm_sweep(problem, work, &j);
        qsort(j.margin, n, sizeof *j.margin, ascending);
        for (int q = 0; q < GM_MARGIN_LEVELS; q++) { /* the smallest value with that share below */
            size_t place = (size_t)ceil(gm_margin_level[q] * (double)n);
            quantile[q] = j.margin[place > 0 ? place - 1 : 0];
        }
    }
    gm_free(j.margin);
    gm_free(j.logits);
    gm_free(owned);
    return status;
}
