/* The measures beside the bound. */
#include "bound/measures.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/eigen.h"
#include "gradiometer/estimate.h"
#include "kernels/kernels.h"

const gm_measure_kind gm_measure_kinds[GM_MEASURES] = {
    [GM_MEASURE_LAMBDA_MAX] = {"lambda_max", "largest eigenvalue of the Hessian of the loss",
                               "Keskar et al. 2017, arXiv 1609.04836", false},
    [GM_MEASURE_TRACE] = {"trace", "trace of the Hessian", "Dinh et al. 2017, arXiv 1703.04933",
                          false},
    [GM_MEASURE_FROBENIUS] = {"frobenius", "Frobenius norm of the Hessian",
                              "Wu et al. 2017, arXiv 1706.10239", false},
    [GM_MEASURE_NORM] = {"norm", "Euclidean norm of the parameters",
                         "Neyshabur et al. 2015, arXiv 1503.00036", false},
    [GM_MEASURE_DISTANCE] = {"distance", "Euclidean distance from the initialization",
                             "Nagarajan and Kolter 2019, arXiv 1901.01672", false},
    [GM_MEASURE_SPECTRAL_NORM] = {"spectral_norm", "product of the layers' largest singular values",
                                  "Bartlett et al. 2017, arXiv 1706.08498", true},
    [GM_MEASURE_PATH_NORM] = {"path_norm", "sum over all paths of the product of absolute weights",
                              "Neyshabur et al. 2015, arXiv 1503.00036", true},
    [GM_MEASURE_FISHER_RAO] = {"fisher_rao", "theta . G theta, G the Gauss-Newton matrix",
                               "Liang et al. 2019, arXiv 1711.01530", true},
    [GM_MEASURE_MARGIN] = {"margin", "median of the label's logit minus the largest other",
                           "Bartlett et al. 2017, arXiv 1706.08498", true},
    [GM_MEASURE_SHARPNESS] = {"sharpness", "largest rise of the loss within a radius, by ascent",
                              "Keskar et al. 2017, arXiv 1609.04836", false},
};

void gm_measure_options_default(gm_measure_options *options)
{
    *options = (gm_measure_options){
        .products = true, .radius = 0.05, .tol = 1e-3, .probes = 30, .ascent = 10, .dense = 1000};
}

static gm_status check(const gm_measure_options *o, gm_error *err)
{
    if (!(o->radius > 0.0 && isfinite(o->radius))) {
        return gm_fail(err, GM_ERR_USAGE, "--radius: found %g, expected a finite number > 0",
                       o->radius);
    }
    if (o->probes < 2) {
        return gm_fail(err, GM_ERR_USAGE, "--probes: found %zu, expected at least 2", o->probes);
    }
    return GM_OK;
}

/* ---- the Hessian ---- */

static gm_status take_trace(gm_linearization *lin, const double *given, gm_measures *m,
                            gm_error *err)
{
    size_t p = gm_problem_parameters(gm_linearization_problem(lin));
    double *own = NULL, sum = 0.0;
    if (!given) {
        own = gm_alloc(p, sizeof *own, "diagonal of H", err);
        if (!own) return GM_ERR_MEMORY;
        gm_status status = gm_curvature_diagonal(lin, GM_HESSIAN, GM_ALL_LAYERS, own, err);
        if (status != GM_OK) {
            gm_free(own); /* no exact one for these layers: the probes of ||H||_F tell the trace */
            return status == GM_ERR_USAGE ? GM_OK : status;
        }
    }
    const double *diagonal = given ? given : own;
    for (size_t j = 0; j < p; j++) {
        sum += diagonal[j];
    }
    m->value[GM_MEASURE_TRACE] = sum;
    m->error[GM_MEASURE_TRACE] = 0.0;
    gm_free(own);
    return GM_OK;
}

static gm_status formed_norm(gm_linearization *lin, size_t p, gm_measures *m, gm_error *err)
{
    double *matrix = gm_alloc(p * p, sizeof *matrix, "the Hessian", err);
    if (!matrix) return GM_ERR_MEMORY;
    gm_status status = gm_curvature_dense(lin, GM_HESSIAN, GM_ALL_LAYERS, matrix, err);
    if (status == GM_OK) {
        m->value[GM_MEASURE_FROBENIUS] = sqrt(gm_kernels_get(GM_F64)->dot(p * p, matrix, matrix));
        m->error[GM_MEASURE_FROBENIUS] = 0.0;
    }
    gm_free(matrix);
    return status;
}

static gm_status take_frobenius(gm_linearization *lin, gm_operator *h, const gm_measure_options *o,
                                gm_measures *m, gm_error *err)
{
    if (h->size <= o->dense) return formed_norm(lin, h->size, m, err);
    gm_estimate_options eo;
    gm_trace_result r;
    gm_estimate_options_default(&eo);
    eo.max_products = o->probes;
    eo.seed = o->seed;
    gm_status status = gm_trace_estimate(h, GM_TRACE_HUTCHINSON, &eo, &r, err);
    if (status != GM_OK) return status;
    if (isnan(m->value[GM_MEASURE_TRACE])) {
        m->value[GM_MEASURE_TRACE] = r.trace.value;
        m->error[GM_MEASURE_TRACE] = r.trace.std_error;
    }
    m->value[GM_MEASURE_FROBENIUS] = r.frobenius.value;
    m->error[GM_MEASURE_FROBENIUS] = r.frobenius.std_error;
    return GM_OK;
}

/* lambda_max, ||H||_F and, from the gradient and the leading eigenvector, the sharpness. */
static gm_status take_products(gm_linearization *lin, const gm_measure_options *o, gm_measures *m,
                               gm_error *err)
{
    gm_operator h = {0}, watched;
    gm_operator_watch watch = {&h, o->stop, o->context};
    gm_eigen r = {0};
    gm_eigen_options eo;
    gm_eigen_options_default(&eo);
    eo.k = 1;
    eo.tol = o->tol;
    eo.seed = o->seed;
    gm_status status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &h, err);
    gm_operator_watched(&watch, &watched);
    if (status == GM_OK) status = gm_eigenpairs(&watched, &eo, &r, err);
    if (status == GM_OK && r.count > 0) {
        m->value[GM_MEASURE_LAMBDA_MAX] = r.value[0];
        m->error[GM_MEASURE_LAMBDA_MAX] = r.residual[0];
    }
    if (status == GM_OK) status = take_frobenius(lin, &watched, o, m, err);
    if (status == GM_OK) {
        status = gm_measure_sharpness(lin, r.count > 0 ? r.vector : NULL, o,
                                      &m->value[GM_MEASURE_SHARPNESS], err);
    }
    m->products += h.products;
    gm_eigen_free(&r);
    gm_operator_destroy(&h);
    return status;
}

/* ---- the parameters ---- */

static gm_status take_fisher_rao(gm_linearization *lin, gm_measures *m, gm_error *err)
{
    const double *theta = gm_linearization_theta(lin);
    gm_operator g = {0};
    gm_status status = gm_curvature_operator(lin, GM_GGN, GM_ALL_LAYERS, &g, err);
    double *product = status == GM_OK ? gm_alloc(g.size, sizeof *product, "G theta", err) : NULL;
    if (status == GM_OK && !product) status = GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_operator_apply(&g, 1, theta, product, err);
    if (status == GM_OK) {
        m->value[GM_MEASURE_FISHER_RAO] = gm_kernels_get(GM_F64)->dot(g.size, theta, product);
        m->error[GM_MEASURE_FISHER_RAO] = 0.0;
        m->products += g.products;
    }
    gm_free(product);
    gm_operator_destroy(&g);
    return status;
}

static void take_norms(const double *theta, const double *theta0, size_t p, gm_measures *m)
{
    double square = 0.0, distance = 0.0;
    for (size_t j = 0; j < p; j++) {
        square += theta[j] * theta[j];
        if (theta0) distance += (theta[j] - theta0[j]) * (theta[j] - theta0[j]);
    }
    m->value[GM_MEASURE_NORM] = sqrt(square);
    m->error[GM_MEASURE_NORM] = m->error[GM_MEASURE_DISTANCE] = 0.0;
    if (theta0) m->value[GM_MEASURE_DISTANCE] = sqrt(distance);
}

gm_status gm_measures_take(gm_linearization *lin, const double *theta0, const double *diagonal,
                           const gm_measure_options *options, gm_measures *m, gm_error *err)
{
    gm_problem *problem = gm_linearization_problem(lin);
    const gm_net *net = gm_problem_net(problem);
    const double *theta = gm_linearization_theta(lin);
    memset(m, 0, sizeof *m);
    for (int i = 0; i < GM_MEASURES; i++) {
        m->value[i] = m->error[i] = (double)NAN;
    }
    gm_status status = check(options, err);
    if (status != GM_OK) return status;
    take_norms(theta, theta0, gm_problem_parameters(problem), m);
    status = take_trace(lin, diagonal, m, err);
    if (status == GM_OK) status = take_fisher_rao(lin, m, err);
    if (status == GM_OK) {
        status = gm_measure_spectral_norm(net, theta, &m->value[GM_MEASURE_SPECTRAL_NORM],
                                          &m->error[GM_MEASURE_SPECTRAL_NORM], err);
    }
    if (status == GM_OK) {
        m->error[GM_MEASURE_PATH_NORM] = 0.0;
        status = gm_measure_path_norm(net, theta, &m->value[GM_MEASURE_PATH_NORM], err);
    }
    if (status == GM_OK) status = gm_measure_margins(problem, theta, m->margin, err);
    m->value[GM_MEASURE_MARGIN] = m->margin[GM_MARGIN_LEVELS / 2 + 1];
    m->error[GM_MEASURE_MARGIN] = 0.0;
    if (status == GM_OK && options->products) status = take_products(lin, options, m, err);
    return status;
}
