/* A spectrum in the run file: the document, and the arrays of every block (docs/run-file.md). */
#include <string.h>

#include "base/memory.h"
#include "cli/record.h"
#include "cli/spectrum_output.h"

enum { ARRAYS = 12 };

/* The arrays of all blocks, with names of their own. */
typedef struct collection {
    gm_run_array *array;
    char **name;
    size_t count;
    double **grid; /* [blocks] or NULLs */
} collection;

static gm_status add(collection *c, const gm_spectrum *s, const char *what, size_t rows,
                     size_t columns, const double *data, gm_error *err)
{
    if (!data) return GM_OK;
    char *name = gm_format(err, "%s/%s", s->layer ? s->layer : "net", what);
    if (!name) return GM_ERR_MEMORY;
    c->name[c->count] = name;
    c->array[c->count++] = (gm_run_array){.name = name,
                                          .dtype = GM_F64,
                                          .rank = columns ? 2 : 1,
                                          .dim = {rows, columns},
                                          .data = data};
    return GM_OK;
}

static gm_status add_density(collection *c, const gm_spectrum *s, double **grid, gm_error *err)
{
    const gm_spectrum_density *d = &s->density;
    const gm_quadrature *q = &d->quadrature;
    if (!d->value) return GM_OK;
    *grid = gm_alloc(d->bins, sizeof **grid, "grid", err);
    if (!*grid) return GM_ERR_MEMORY;
    for (size_t b = 0; b < d->bins; b++) {
        (*grid)[b] = 0.5 * (d->edge[b] + d->edge[b + 1]);
    }
    gm_status status = add(c, s, "density/grid", d->bins, 0, *grid, err);
    if (status == GM_OK) status = add(c, s, "density/values", d->bins, 0, d->value, err);
    if (status == GM_OK) status = add(c, s, "density/stderr", d->bins, 0, d->std_error, err);
    if (status == GM_OK && q->deflated) {
        status = add(c, s, "density/deflated", q->deflated, 0, q->atom, err);
    }
    if (status == GM_OK) status = add(c, s, "density/nodes", q->probes, q->steps, q->node, err);
    if (status != GM_OK) return status;
    return add(c, s, "density/weights", q->probes, q->steps, q->weight, err);
}

static gm_status add_block(collection *c, const gm_spectrum_report *report, const gm_spectrum *s,
                           double **grid, gm_error *err)
{
    const gm_spectrum_pairs *pairs = &s->pairs;
    gm_status status = add(c, s, "eigenvalues", pairs->values, 0, pairs->value, err);
    bool vectors = report->set->method == GM_METHOD_LANCZOS && pairs->k &&
                   pairs->k <= GM_SPECTRUM_VECTOR_NUMBERS / s->size;
    if (status == GM_OK && vectors) {
        status = add(c, s, "vectors", pairs->k, s->size, pairs->vector, err);
    }
    const gm_spectrum_series *e = &s->resamples.eigenvalues;
    if (status == GM_OK && e->columns) {
        status =
            add(c, s, "data_resample/eigenvalues", s->resamples.count, e->columns, e->value, err);
    }
    if (status == GM_OK) status = add_density(c, s, grid, err);
    if (status == GM_OK) status = add(c, s, "diagonal", s->size, 0, s->diagonal.value, err);
    if (status != GM_OK) return status;
    return add(c, s, "diagonal_stderr", s->size, 0, s->diagonal.std_error, err);
}

char *gm_spectrum_key(const gm_spectrum_report *report, gm_error *err)
{
    const char *layer = report->each ? "each" : report->block->layer ? report->block->layer : "net";
    return gm_format(err, "%s/%s/%s%s%s%s", report->name, gm_spectrum_methods[report->set->method],
                     layer, report->divisor ? "/precondition=" : "",
                     report->divisor ? report->divisor->name : "",
                     report->set->resamples ? "/data_resample" : "");
}

gm_status gm_spectrum_record(const gm_spectrum_report *report, json_t *document, gm_error *err)
{
    size_t most = ARRAYS * report->blocks;
    collection c = {.array = gm_alloc(most, sizeof *c.array, "record", err),
                    .name = gm_alloc(most, sizeof *c.name, "record", err),
                    .grid = gm_alloc(report->blocks, sizeof *c.grid, "record", err)};
    gm_status status = c.array && c.name && c.grid ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < report->blocks; i++) {
        status = add_block(&c, report, report->block + i, c.grid + i, err);
    }
    char *key = status == GM_OK ? gm_spectrum_key(report, err) : NULL;
    if (status == GM_OK && !key) status = GM_ERR_MEMORY;
    if (status == GM_OK) {
        status =
            gm_record_result(report->cli, report->session, key, document, c.array, c.count, err);
    }
    for (size_t i = 0; i < c.count; i++) {
        gm_free(c.name[i]);
    }
    for (size_t i = 0; c.grid && i < report->blocks; i++) {
        gm_free(c.grid[i]);
    }
    gm_free(c.grid);
    gm_free(c.name);
    gm_free(c.array);
    gm_free(key);
    return status;
}

/* One array into the pairs, where it is there and fits. */
static gm_status recall_block(gm_run *run, int64_t result, const gm_run_array *list, size_t count,
                              gm_spectrum *s, gm_error *err)
{
    gm_run_array *array = NULL;
    gm_status status = GM_OK;
    char *name = gm_format(err, "%s/vectors", s->layer ? s->layer : "net");
    if (!name) return GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        bool fits = list[i].rank == 2 && list[i].dim[1] == s->size && list[i].dim[0] <= s->size;
        if (!fits || strcmp(list[i].name, name) != 0) continue;
        status = gm_run_load_array(run, result, name, &array, err);
    }
    if (status == GM_OK && array) {
        size_t numbers = array->dim[0] * array->dim[1];
        s->pairs.vector = gm_alloc(numbers, sizeof(double), "eigenvectors", err);
        if (s->pairs.vector) {
            memcpy(s->pairs.vector, array->data, numbers * sizeof(double));
            s->pairs.k = array->dim[0];
        } else {
            status = GM_ERR_MEMORY;
        }
    }
    gm_run_free(array);
    gm_free(name);
    return status;
}

gm_status gm_spectrum_recall(const gm_spectrum_report *report, int64_t result, gm_spectrum *block,
                             gm_error *err)
{
    gm_run *run = NULL;
    gm_run_array *list = NULL;
    size_t count = 0;
    gm_status status = gm_run_open(report->cli->shared.output, GM_RUN_READ, &run, err);
    if (status == GM_OK) status = gm_run_arrays(run, result, &list, &count, err);
    for (size_t i = 0; status == GM_OK && i < report->blocks; i++) {
        status = recall_block(run, result, list, count, block + i, err);
    }
    gm_run_free(list);
    gm_run_close(run);
    return status;
}

gm_status gm_spectrum_record_metrics(const gm_spectrum_report *report, gm_error *err)
{
    const gm_spectrum *s = report->block;
    const gm_session *session = report->session;
    size_t k = s->pairs.k < s->pairs.values ? s->pairs.k : s->pairs.values;
    if (report->each || s->layer || !s->pairs.value || session->step < 0) return GM_OK;
    char **name = gm_alloc(k, sizeof *name, "record", err);
    gm_metric *metric = gm_alloc(k + 2, sizeof *metric, "record", err);
    gm_status status = name && metric ? GM_OK : GM_ERR_MEMORY;
    for (size_t j = 0; status == GM_OK && j < k; j++) {
        name[j] = gm_format(err, "%s/eigenvalue/%zu", report->name, j + 1);
        if (!name[j]) status = GM_ERR_MEMORY;
        metric[j] = (gm_metric){session->step, name[j], s->pairs.value[j]};
    }
    if (status == GM_OK) {
        metric[k] = (gm_metric){session->step, "loss", session->loss};
        metric[k + 1] = (gm_metric){session->step, "gradient_norm", session->gradient_norm};
        status = gm_record_metrics(report->cli, metric, k + 2, err);
    }
    for (size_t j = 0; name && j < k; j++) {
        gm_free(name[j]);
    }
    gm_free(name);
    gm_free(metric);
    return status;
}
