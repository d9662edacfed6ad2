#include "cli/spectrum_operator.h"

#include <string.h>

#include "cli/interrupt.h"

/* ---- products that are watched ---- */

static gm_status look_for_interrupt(const gm_spectrum_operator *target, gm_error *err)
{
    if (target->watched && !target->steady && gm_interrupt_agreed((void *)target->team)) {
        return gm_fail(err, GM_ERR_INTERRUPTED,
                       "interrupted after %zu products with the %s; nothing was written",
                       target->op.products, target->op.name);
    }
    return GM_OK;
}

static void show(gm_spectrum_operator *target, size_t count)
{
    if (!target->watched) return;
    gm_progress_update(&target->progress, target->op.products + count, NULL);
}

static gm_status watched_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    gm_spectrum_operator *target = self;
    gm_status status = look_for_interrupt(target, err);
    if (status == GM_OK) status = target->inner.apply(target->inner.self, count, v, av, err);
    if (status == GM_OK) show(target, count);
    return status;
}

static gm_status watched_apply_share(void *self, const double *v, double *av, gm_error *err)
{
    gm_spectrum_operator *target = self;
    gm_status status = look_for_interrupt(target, err);
    if (status == GM_OK) status = target->inner.apply_share(target->inner.self, v, av, err);
    if (status == GM_OK) show(target, 1);
    return status;
}

void gm_spectrum_operator_wrap(const gm_operator *inner, const char *layer, bool quiet,
                               gm_spectrum_operator *target)
{
    *target = (gm_spectrum_operator){.layer = layer, .inner = *inner, .quiet = quiet};
    target->op = (gm_operator){.size = inner->size,
                               .precision = inner->precision,
                               .name = inner->name,
                               .self = target,
                               .apply = watched_apply,
                               .apply_share = inner->apply_share ? watched_apply_share : NULL};
}

void gm_spectrum_operator_watch(gm_spectrum_operator *target, size_t expected)
{
    gm_interrupt_install();
    size_t done = target->op.products;
    gm_progress_start(&target->progress, target->layer ? target->layer : target->op.name,
                      "products", done, expected ? done + expected : 0, target->quiet);
    target->watched = true;
}

void gm_spectrum_operator_rest(gm_spectrum_operator *target)
{
    if (target->watched) gm_progress_finish(&target->progress);
    target->watched = false;
}

void gm_spectrum_operator_close(gm_spectrum_operator *target)
{
    gm_spectrum_operator_rest(target);
    gm_operator_destroy(&target->inner);
    memset(target, 0, sizeof *target);
}

/* ---- curvature of a net ---- */

static gm_status form_curvature(gm_spectrum_operator *target, double *matrix, gm_error *err)
{
    return gm_curvature_dense(target->lin, target->kind, target->block, matrix, err);
}

static gm_status exact_diagonal(gm_spectrum_operator *target, double *diagonal, gm_error *err)
{
    return gm_curvature_diagonal(target->lin, target->kind, target->block, diagonal, err);
}

static gm_status form_gram(gm_spectrum_operator *target, double *matrix, gm_error *err)
{
    return gm_curvature_gram(target->lin, target->kind, target->block, matrix, err);
}

static gm_status gram_vectors(gm_spectrum_operator *target, size_t count, const double *weight,
                              double *vector, gm_error *err)
{
    return gm_gram_vectors(target->lin, target->kind, target->block, count, weight, vector, err);
}

gm_status gm_spectrum_operator_curvature(gm_linearization *lin, gm_curvature kind, int block,
                                         const char *layer, bool quiet,
                                         gm_spectrum_operator *target, gm_error *err)
{
    gm_operator inner;
    memset(target, 0, sizeof *target);
    gm_status status = gm_curvature_operator(lin, kind, block, &inner, err);
    if (status != GM_OK) return status;
    gm_spectrum_operator_wrap(&inner, layer, quiet, target);
    target->lin = lin;
    target->team = gm_problem_team(gm_linearization_problem(lin));
    target->kind = kind;
    target->block = block;
    target->form = form_curvature;
    target->diagonal = exact_diagonal;
    const gm_net *net = gm_problem_net(gm_linearization_problem(lin));
    bool group = block >= 0 && (size_t)block >= gm_net_layers(net);
    target->gram = group ? 0 : gm_gram_size(lin, kind);
    target->form_gram = form_gram;
    target->gram_vectors = gram_vectors;
    return GM_OK;
}
