/* The ends of one operator's spectrum by products, and what they say of the whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/eigen.h"
#include "survey/survey.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* M, Sigma, G: no negative eigenvalues. */
static bool semidefinite(gm_curvature kind)
{
    return kind == GM_MOMENT || kind == GM_COVARIANCE || kind == GM_GGN;
}

/* --- eigenpairs --- */

enum {
    MOST_FAILURES = 6,
    EDGE_PRODUCTS = 8 /* for each pair, from nothing: more of them tell the edge of a bulk */
};

/* The block method from the pairs of the point before, start [start_count, size], with at most
 * three quarters of the products of a start from nothing: it pays where these stand out of the rest
 * and have turned little. *enough: the pairs have converged. */
static gm_status follow_pairs(const gm_block_task *task, gm_operator *op, gm_eigen_options options,
                              size_t start_count, const double *start, gm_decompose_start *state,
                              gm_eigen *found, bool *enough, gm_error *err)
{
    size_t most = state->cold - state->cold / 4, asked = task->options->max_products;
    options.max_products = asked && asked / 2 < most ? asked / 2 : most;
    if (options.max_products == 0) options.max_products = 1; /* 0 stands for no limit */
    gm_status status = gm_eigen_track(op, &options, start_count, start, found, err);
    if (status != GM_OK) return status;
    *enough = found->stop == GM_EIGEN_CONVERGED;
    if (*enough) {
        state->failures = 0;
    } else {
        gm_eigen_free(found);
        if (state->failures < MOST_FAILURES) state->failures++;
        state->wait = (1u << state->failures) - 1;
    }
    return GM_OK;
}

/* Which solver: the block method from what the point before had, as gm_decompose_start says, else
 * Krylov from nothing. */
static gm_status find_pairs(const gm_block_task *task, gm_operator *op, gm_which which,
                            size_t start_count, const double *start, gm_decompose_start *state,
                            gm_eigen *found, gm_error *err)
{
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.which = which;
    options.k = smaller(task->k + 1, task->size);
    options.tol = gm_decompose_tolerance(task->options, task->precision);
    options.seed = task->options->seed;
    options.spare = gm_decompose_spare(gm_linearization_problem(task->lin), task->options,
                                       task->keep || task->past ? 2 : 1);
    size_t before = op->products, asked = task->options->max_products;
    bool edge = state->cold > EDGE_PRODUCTS * options.k;
    if (start_count > 0 && state->wait == 0 && !edge) {
        bool enough = false;
        gm_status status =
            follow_pairs(task, op, options, start_count, start, state, found, &enough, err);
        if (status != GM_OK || enough) return status;
    } else if (state->wait > 0) {
        state->wait--;
    }
    size_t spent = op->products - before;
    if (asked) options.max_products = asked > spent ? asked - spent : 1;
    gm_status status = gm_eigenpairs(op, &options, found, err);
    if (status == GM_OK) state->cold = found->products;
    return status;
}

static void swap(size_t n, double *a, double *b)
{
    for (size_t i = 0; i < n; i++) {
        double x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

/* Pairs in the order in which they lead: by value from either end, or by magnitude. */
static void order_pairs(gm_which which, gm_eigen *found)
{
    for (size_t j = 0; j < found->count; j++) {
        size_t best = j;
        for (size_t l = j + 1; l < found->count; l++) {
            double here = found->value[l], lead = found->value[best];
            bool before = which == GM_WHICH_LA   ? here > lead
                          : which == GM_WHICH_SA ? here < lead
                                                 : fabs(here) > fabs(lead);
            if (before) best = l;
        }
        if (best == j) continue;
        swap(1, found->value + j, found->value + best);
        swap(1, found->residual + j, found->residual + best);
        swap(found->size, found->vector + j * found->size, found->vector + best * found->size);
    }
}

static gm_status find_leads(const gm_block_task *task, gm_operator *op, gm_operator_survey *past,
                            gm_operator_survey *survey, gm_error *err)
{
    gm_which which = task->options->by_magnitude ? GM_WHICH_LM : GM_WHICH_LA;
    gm_eigen found;
    size_t start = past && past->lead_vector ? past->count : 0;
    if (past) survey->lead_start = past->lead_start;
    gm_status status = find_pairs(task, op, which, start, start ? past->lead_vector : NULL,
                                  &survey->lead_start, &found, err);
    if (status != GM_OK) return status;
    order_pairs(which, &found);
    survey->by_magnitude = task->options->by_magnitude;
    survey->count = found.count;
    survey->lead_value = found.value;
    survey->residual = found.residual;
    survey->lead_vector = found.vector;
    survey->converged = found.stop == GM_EIGEN_CONVERGED;
    found.value = found.residual = found.vector = NULL;
    gm_eigen_free(&found);
    return GM_OK;
}

static gm_status find_lowest(const gm_block_task *task, gm_operator *op, gm_operator_survey *past,
                             gm_operator_survey *survey, gm_error *err)
{
    gm_eigen found;
    size_t start = past && past->low_vector ? past->low_count : 0;
    if (past) survey->low_start = past->low_start;
    gm_status status = find_pairs(task, op, GM_WHICH_SA, start, start ? past->low_vector : NULL,
                                  &survey->low_start, &found, err);
    if (status != GM_OK) return status;
    order_pairs(GM_WHICH_SA, &found);
    survey->low_count = found.count;
    survey->low_value = found.value;
    survey->low_residual = found.residual;
    survey->low_vector = found.vector;
    survey->converged = survey->converged && found.stop == GM_EIGEN_CONVERGED;
    found.value = found.residual = found.vector = NULL;
    gm_eigen_free(&found);
    return GM_OK;
}

/* --- summary --- */

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* A value that its residual and the noise of the products do not tell from zero counts as zero. */
static void count_as(size_t count, const double *value, const double *residual, double noise,
                     double *counted)
{
    for (size_t j = 0; j < count; j++) {
        counted[j] = fabs(value[j]) > residual[j] + noise ? value[j] : 0.0;
    }
}

/* Extremes and counts that the pairs found settle, as the header says. */
static void settle(const gm_block_task *task, gm_curvature kind, size_t lows,
                   gm_operator_survey *survey)
{
    gm_spectral_summary *s = &survey->summary;
    size_t size = task->size, leads = survey->count;
    double limit = s->cut * s->scale;
    bool psd = semidefinite(kind), all = leads + lows >= size;
    double last = leads ? survey->lead_value[leads - 1] : (double)INFINITY;
    size_t rows = gm_survey_gram_rows(task, kind);
    if (survey->by_magnitude) {
        double least = leads ? survey->value[leads - 1] : (double)NAN;
        s->max = leads && (all || survey->value[0] > 0.0) ? survey->value[0] : (double)NAN;
        s->min = all || least < 0.0 ? least : (double)NAN;
        survey->above_known = survey->below_known = all || fabs(last) <= limit;
    } else {
        s->max = leads ? survey->value[0] : (double)NAN;
        s->min = lows ? survey->low_value[0] : all ? last : (double)NAN;
        survey->above_known = all || last <= limit;
        survey->below_known = all || (lows && survey->low_value[lows - 1] >= -limit);
    }
    survey->above_known = survey->above_known && survey->converged;
    survey->below_known = psd || (survey->below_known && survey->converged);
    if (psd && rows > 0 && rows < size) s->min = 0.0;
}

static gm_status summarize(const gm_block_task *task, gm_curvature kind, double trace,
                           gm_operator_survey *survey, gm_error *err)
{
    size_t size = task->size, leads = survey->count, positive = 0;
    size_t lows = smaller(survey->low_count, size - leads); /* the others are leading ones too */
    size_t known = leads + lows;
    double *counted = gm_alloc(known, sizeof *counted, "eigenvalues", err);
    survey->value = gm_alloc(leads, sizeof(double), "eigenvalues", err);
    if (!counted || !survey->value) {
        gm_free(counted);
        return GM_ERR_MEMORY;
    }
    survey->values = leads;
    memcpy(survey->value, survey->lead_value, leads * sizeof *counted);
    qsort(survey->value, leads, sizeof *counted, descending);

    double scale = 0.0, noise = gm_eigen_floor(task->precision);
    if (leads) scale = fabs(survey->lead_value[0]);
    if (lows) scale = fmax(scale, fabs(survey->low_value[0]));
    count_as(leads, survey->lead_value, survey->residual, noise * scale, counted);
    for (size_t j = 0; j < leads; j++) {
        positive += counted[j] > 0.0;
    }
    count_as(lows, survey->low_value, survey->low_residual, noise * scale, counted + leads);
    qsort(counted, known, sizeof *counted, descending);
    /* Gaps between leading ones: what follows the last of them is not known. */
    size_t neighbours = survey->by_magnitude ? positive : leads;
    size_t looked = known >= size ? size : neighbours ? neighbours - 1 : 0;
    gm_spectral_summary *s = &survey->summary;
    gm_spectral_summarize(known, counted, task->options->cut, noise / (double)(known ? known : 1),
                          looked ? smaller(looked, task->outlier_limit) : 1, s);
    gm_free(counted);
    if (looked == 0) {
        s->outlier_limit = s->outliers = s->gap_after = 0;
        s->gap = 0.0;
    }
    s->size = size;
    s->cut = task->options->cut;
    s->trace = trace;
    s->frobenius = s->effective_rank = (double)NAN;
    settle(task, kind, lows, survey);
    return GM_OK;
}

/* --- one operator --- */

static gm_status exact_trace(const gm_block_task *task, gm_curvature kind, double *trace,
                             gm_error *err)
{
    double *diagonal = gm_alloc(task->size, sizeof *diagonal, "diagonal", err);
    if (!diagonal) return GM_ERR_MEMORY;
    gm_status status = gm_curvature_diagonal(task->lin, kind, task->layer, diagonal, err);
    *trace = 0.0;
    for (size_t i = 0; status == GM_OK && i < task->size; i++) {
        *trace += diagonal[i];
    }
    gm_free(diagonal);
    return status;
}

static gm_status by_gram(const gm_block_task *task, gm_curvature kind, size_t rows, gm_operator *op,
                         gm_operator_survey *survey, gm_error *err)
{
    gm_status status = gm_survey_gram(task, kind, rows, false, survey, err);
    if (status != GM_OK) return status;
    return gm_eigen_residuals(op, survey->count, survey->lead_value, survey->lead_vector,
                              survey->residual, err);
}

static gm_status by_ends(const gm_block_task *task, gm_curvature kind, gm_operator *op,
                         gm_operator_survey *survey, gm_error *err)
{
    gm_operator_survey *past = task->past ? &task->past->op[kind] : NULL;
    double trace = 0.0;
    gm_status status = find_leads(task, op, past, survey, err);
    if (status == GM_OK && !semidefinite(kind) && !task->options->by_magnitude) {
        status = find_lowest(task, op, past, survey, err);
    }
    if (status == GM_OK) status = exact_trace(task, kind, &trace, err);
    if (status == GM_OK) status = summarize(task, kind, trace, survey, err);
    return status;
}

/* --- products that can be interrupted --- */

typedef struct watched {
    gm_operator *inner;
    const gm_decompose_options *options;
} watched;

static gm_status apply_watched(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    const watched *w = self;
    if (w->options->stop && w->options->stop(w->options->watch)) {
        return gm_fail(err, GM_ERR_INTERRUPTED, "decompose: interrupted within a point");
    }
    return gm_operator_apply(w->inner, count, v, av, err);
}

gm_status gm_survey_operator_by_products(const gm_block_task *task, gm_curvature kind,
                                         size_t gram_rows, gm_operator_survey *survey,
                                         gm_error *err)
{
    size_t rows = gm_survey_gram_rows(task, kind);
    gm_operator inner = {0};
    gm_status status = gm_curvature_operator(task->lin, kind, task->layer, &inner, err);
    if (status != GM_OK) return status;
    watched self = {&inner, task->options};
    gm_operator op = inner;
    op.self = &self;
    op.apply = apply_watched;
    op.destroy = NULL;
    survey->products = true;
    if (rows > 0 && rows < task->size && rows <= gram_rows) {
        status = by_gram(task, kind, rows, &op, survey, err);
    } else {
        status = by_ends(task, kind, &op, survey, err);
    }
    /* The leading subspace of H at the point before is still to be compared with this one. */
    if (task->past && kind != GM_HESSIAN) gm_survey_drop_vectors(&task->past->op[kind]);
    survey->spent = op.products;
    survey->measured = status == GM_OK;
    gm_operator_destroy(&inner);
    return status;
}
