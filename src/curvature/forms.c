/* The forms x_a . H_i x_b of every sample (theory section 3.5). With the tangents adot, sdot along
 * x_b, and X_a, b_a the weights and biases of x_a,
 *   x_a . H_i x_b = sum over layers of sdot . (X_a a + b_a) + adot . (X_a' s),
 * where the gradient of each layer is the outer product s (x) (a, 1): k tangent passes, and X_a a
 * and X_a' s once for each a. Other layers take the samples one by one. */
#include <string.h>

#include "base/memory.h"
#include "curvature/parts.h"
#include "curvature/units.h"

enum { FORM_BYTES = 16 << 20 }; /* of a worker's tangents */

typedef struct form_worker {
    const gm_engine *e;         /* of the thread */
    gm_arrays tangent, tsignal; /* [k, rows, size] */
    void *work;                 /* [rows, largest width] */
    double *dots;               /* [rows] */
    void *own;                  /* [k, p] of one sample; NULL for outer products */
    void **value, **signal;     /* [nodes] views of some rows, and */
    void **from, **back;        /* of the directions of a pass in tangent and tsignal */
} form_worker;

typedef struct forms {
    gm_linearization *lin;
    size_t k, p, pairs, rows;
    const void *u; /* [k, p] in the kernels' precision */
    void *native;  /* u where that is single, else NULL */
    bool outer;
    gm_outer_layer *layers;
    bool *active; /* [nodes] */
    form_worker *worker;
    double *form; /* [n, pairs] */
} forms;

static size_t pair_of(size_t k, size_t a, size_t b)
{
    return a * k - a * (a + 1) / 2 + b;
}

/* Tangents along u_b and their backward tangents, for all b, on the rows of c. */
static void tangents(const forms *f, const form_worker *s, const gm_chunk *c)
{
    const gm_engine *e = s->e;
    size_t nodes = (size_t)e->net->nodes;
    const void *v[GM_MAX_BLOCK];
    void *sum[GM_MAX_BLOCK];
    for (size_t first = 0; first < f->k; first += GM_MAX_BLOCK) {
        size_t b = f->k - first < GM_MAX_BLOCK ? f->k - first : GM_MAX_BLOCK;
        for (size_t i = 0; i < nodes; i++) {
            size_t shift = first * c->n * e->net->node[i].size * e->k->size;
            s->from[i] = s->tangent.node[i] ? (char *)s->tangent.node[i] + shift : NULL;
            s->back[i] = s->tsignal.node[i] ? (char *)s->tsignal.node[i] + shift : NULL;
        }
        for (size_t j = 0; j < b; j++) {
            v[j] = (const char *)f->u + (first + j) * f->p * e->k->size;
            if (s->own) sum[j] = (char *)s->own + (first + j) * f->p * e->k->size;
        }
        gm_directions d = {.count = b, .size = f->p, .v = v, .sum = s->own ? sum : NULL};
        gm_hessian_pass(e, c, f->active, &d, s->from, s->back);
    }
}

/* form[i, (a, b)] += x[b, i] . y[i] for b >= a, x [k, n, width]. */
static void add_dots(const forms *f, const form_worker *s, const gm_chunk *c, size_t a,
                     size_t width, const void *x, const void *y)
{
    const gm_kernels *k = gm_engine_of(f->lin)->k;
    double *form = f->form + c->first * f->pairs;
    for (size_t b = a; b < f->k; b++) {
        memset(s->dots, 0, c->n * sizeof *s->dots);
        k->row_dots(c->n, width, (const char *)x + b * c->n * width * k->size, y, s->dots);
        for (size_t i = 0; i < c->n; i++) {
            form[i * f->pairs + pair_of(f->k, a, b)] += s->dots[i];
        }
    }
}

static void outer_rows(const forms *f, const form_worker *s, const gm_chunk *c)
{
    const gm_engine *e = gm_engine_of(f->lin);
    const gm_kernels *k = e->k;
    tangents(f, s, c);
    for (int l = 0; l < e->net->layers; l++) {
        const gm_outer_layer *y = &f->layers[l];
        int input = e->net->node[y->node].input[0];
        for (size_t a = 0; a < f->k; a++) {
            const char *x = (const char *)f->u + (a * f->p + y->offset) * k->size;
            k->gemm(false, true, c->n, y->out, y->in, 1.0, c->value[input], y->in, x, y->in, 0.0,
                    s->work, y->out);
            if (y->aug > y->in) k->add_bias(c->n, y->out, x + y->in * y->out * k->size, s->work);
            add_dots(f, s, c, a, y->out, s->tsignal.node[y->node], s->work);
            if (!f->active[input]) continue;
            k->gemm(false, false, c->n, y->in, y->out, 1.0, c->signal[y->node], y->out, x, y->in,
                    0.0, s->work, y->in);
            add_dots(f, s, c, a, y->in, s->tangent.node[input], s->work);
        }
    }
}

/* One sample, its products H_i u_b formed. */
static void single_row(const forms *f, const form_worker *s, const gm_chunk *c)
{
    const gm_kernels *k = gm_engine_of(f->lin)->k;
    memset(s->own, 0, f->k * f->p * k->size);
    tangents(f, s, c);
    for (size_t a = 0; a < f->k; a++) {
        for (size_t b = a; b < f->k; b++) {
            f->form[c->first * f->pairs + pair_of(f->k, a, b)] =
                k->dot(f->p, (const char *)f->u + a * f->p * k->size,
                       (const char *)s->own + b * f->p * k->size);
        }
    }
}

static void forms_work(void *job, gm_worker *w, size_t index)
{
    forms *f = job;
    const gm_engine *e = &w->engine;
    form_worker *s = &f->worker[w->thread];
    s->e = e;
    const gm_chunk *c = gm_linearization_chunk(f->lin, w, index);
    for (size_t first = 0; first < c->n; first += f->rows) {
        size_t n = c->n - first < f->rows ? c->n - first : f->rows;
        gm_chunk part = gm_chunk_rows(e, c, first, n, s->value, s->signal);
        if (f->outer) {
            outer_rows(f, s, &part);
        } else {
            single_row(f, s, &part);
        }
    }
}

static void forms_free(forms *f)
{
    for (int i = 0; f->worker && i < f->lin->problem->workers; i++) {
        form_worker *s = &f->worker[i];
        gm_arrays_free(&s->tangent);
        gm_arrays_free(&s->tsignal);
        gm_free(s->work);
        gm_free(s->dots);
        gm_free(s->own);
        gm_free(s->value);
    }
    gm_free(f->worker);
    gm_free(f->layers);
    gm_free(f->active);
    gm_free(f->native);
}

static gm_status make_worker(const forms *f, form_worker *s, gm_error *err)
{
    const gm_engine *e = gm_engine_of(f->lin);
    size_t nodes = (size_t)e->net->nodes, widest = 0;
    for (size_t i = 0; i < nodes; i++) {
        widest = e->net->node[i].size > widest ? e->net->node[i].size : widest;
    }
    s->value = gm_alloc(4 * nodes, sizeof *s->value, "samples", err);
    s->work = gm_alloc(f->rows * widest, e->k->size, "forms", err);
    s->dots = gm_alloc(f->rows, sizeof *s->dots, "forms", err);
    if (!s->value || !s->work || !s->dots) return GM_ERR_MEMORY;
    s->signal = s->value + nodes;
    s->from = s->signal + nodes;
    s->back = s->from + nodes;
    if (!f->outer) {
        s->own = gm_alloc(f->k * f->p, e->k->size, "products of one sample", err);
        if (!s->own) return GM_ERR_MEMORY;
    }
    gm_status status =
        gm_arrays_make(e->net, f->active, f->k * f->rows, e->k->size, &s->tangent, err);
    if (status != GM_OK) return status;
    return gm_arrays_make(e->net, f->active, f->k * f->rows, e->k->size, &s->tsignal, err);
}

static gm_status forms_allocate(forms *f, const double *u, gm_error *err)
{
    gm_problem *problem = f->lin->problem;
    const gm_engine *e = &problem->engine;
    gm_part whole;
    gm_status status = gm_problem_reserve(problem, err);
    if (status == GM_OK) status = gm_part_of(f->lin, GM_ALL_LAYERS, &whole, err);
    if (status != GM_OK) return status;
    f->outer = f->outer && gm_part_outer(f->lin, &whole);
    f->layers = gm_part_layers(f->lin, &whole, err);
    f->active = gm_alloc((size_t)e->net->nodes, sizeof(bool), "forms", err);
    f->worker = gm_alloc((size_t)problem->workers, sizeof *f->worker, "forms", err);
    if (!f->layers || !f->active || !f->worker) return GM_ERR_MEMORY;
    gm_pass_active(e->net, GM_ALL_LAYERS, f->active);
    f->u = u;
    if (e->k->dtype != GM_F64) {
        f->native = gm_alloc(f->k * f->p, e->k->size, "directions", err);
        if (!f->native) return GM_ERR_MEMORY;
        e->k->from_double(f->k * f->p, u, f->native);
        f->u = f->native;
    }
    size_t bytes = 2 * f->k * gm_arrays_width(e->net, f->active) * e->k->size;
    size_t rows = f->outer ? FORM_BYTES / bytes : 1;
    f->rows = rows < 1 ? 1 : rows > problem->chunk ? problem->chunk : rows;
    for (int i = 0; i < problem->workers && status == GM_OK; i++) {
        status = make_worker(f, &f->worker[i], err);
    }
    return status;
}

gm_status gm_forms_make(gm_linearization *lin, size_t k, const double *u, bool by_sample,
                        double *form, gm_error *err)
{
    if (k == 0) return gm_fail(err, GM_ERR_USAGE, "0 vectors, expected at least 1");
    const gm_problem *problem = lin->problem;
    forms f = {.lin = lin,
               .k = k,
               .p = gm_problem_parameters(lin->problem),
               .pairs = k * (k + 1) / 2,
               .outer = !by_sample,
               .form = form + problem->first * k * (k + 1) / 2};
    gm_status status = forms_allocate(&f, u, err);
    if (status == GM_OK) {
        memset(form, 0, problem->samples * f.pairs * sizeof *form);
        gm_sweep(lin->problem, forms_work, &f);
        gm_team_sum(problem->team, problem->samples * f.pairs, form); /* zeros elsewhere */
    }
    forms_free(&f);
    return status;
}

gm_status gm_hessian_forms(gm_linearization *lin, size_t k, const double *u, double *form,
                           gm_error *err)
{
    return gm_forms_make(lin, k, u, false, form, err);
}
