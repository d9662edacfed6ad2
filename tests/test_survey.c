/* Surveys of small nets against matrices assembled here: H by central differences of the gradient,
 * M from single-sample gradients, eigenpairs by Jacobi rotations. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "gradiometer/survey.h"

/* --- a small problem --- */

typedef struct fixture {
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    gm_linearization *lin;
    size_t n, p;
    double *theta; /* [p] */
} fixture;

static double *numbers(size_t count)
{
    double *x = gm_alloc(count, sizeof *x, "test array", NULL);
    assert_non_null(x);
    return x;
}

static void must(gm_status status, const gm_error *err)
{
    if (status != GM_OK) fail_msg("%s", err->message);
}

static void close_to(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("found %.17g, expected %.17g within %.3g", found, expected, tolerance);
    }
}

/* Normal features, labels i mod classes (or all `label` where >= 0), parameters of sd `scale`,
 * biases included, so that no unit sits on a kink. */
static void open_fixture(fixture *f, const char *spec, size_t n, int label, double scale,
                         gm_dtype dtype)
{
    gm_error err = {0};
    memset(f, 0, sizeof *f);
    f->n = n;
    must(gm_net_from_spec(spec, NULL, 0, &f->net, &err), &err);
    f->p = gm_net_parameters(f->net);
    size_t features = gm_net_inputs(f->net), classes = gm_net_outputs(f->net);
    gm_shape shape = {.rank = 1, .dim = {features}};
    double *x = numbers(n * features);
    int32_t *y = gm_alloc(n, sizeof *y, "labels", NULL);
    assert_non_null(y);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 0), 0, n * features, x);
    for (size_t i = 0; i < n; i++) {
        y[i] = label >= 0 ? label : (int32_t)(i % classes);
    }
    must(gm_data_from_arrays("test", n, &shape, x, y, NULL, 0, dtype, classes, &f->data, &err),
         &err);
    gm_problem_options problem;
    gm_problem_options_default(&problem);
    must(gm_problem_create(f->net, f->data, &problem, &f->problem, &err), &err);
    f->theta = numbers(f->p);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 1), 0, f->p, f->theta);
    for (size_t i = 0; i < f->p; i++) {
        f->theta[i] *= scale;
    }
    must(gm_linearize(f->problem, f->theta, &f->lin, &err), &err);
    gm_free(x);
    gm_free(y);
}

static void close_fixture(fixture *f)
{
    gm_linearization_free(f->lin);
    gm_problem_free(f->problem);
    gm_dataset_free(f->data);
    gm_net_free(f->net);
    gm_free(f->theta);
}

/* --- reference matrices --- */

/* H [p, p] by central differences of the gradient. Step 1e-5: truncation 1e-10, rounding 1e-11,
 * both relative to derivatives of order 1. */
static double *reference_hessian(const fixture *f)
{
    const double step = 1e-5;
    size_t p = f->p;
    double *h = numbers(p * p), *plus = numbers(p), *minus = numbers(p), *theta = numbers(p);
    memcpy(theta, f->theta, p * sizeof *theta);
    for (size_t i = 0; i < p; i++) {
        theta[i] = f->theta[i] + step;
        assert_int_equal(gm_problem_gradient(f->problem, theta, NULL, NULL, plus, NULL), GM_OK);
        theta[i] = f->theta[i] - step;
        assert_int_equal(gm_problem_gradient(f->problem, theta, NULL, NULL, minus, NULL), GM_OK);
        theta[i] = f->theta[i];
        for (size_t j = 0; j < p; j++) {
            h[i * p + j] = (plus[j] - minus[j]) / (2 * step);
        }
    }
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j < i; j++) {
            h[i * p + j] = h[j * p + i] = 0.5 * (h[i * p + j] + h[j * p + i]);
        }
    }
    gm_free(plus);
    gm_free(minus);
    gm_free(theta);
    return h;
}

/* g_i [n, p], one batch of one sample each. */
static double *sample_gradients(const fixture *f)
{
    double *g = numbers(f->n * f->p);
    for (size_t i = 0; i < f->n; i++) {
        double loss;
        assert_int_equal(
            gm_problem_batch_gradient(f->problem, f->theta, 1, &i, &loss, g + i * f->p, NULL),
            GM_OK);
    }
    return g;
}

/* M, or Sigma where centred, from per-sample gradients. */
static double *reference_moment(const fixture *f, bool centred)
{
    size_t n = f->n, p = f->p;
    double *g = sample_gradients(f), *m = numbers(p * p), *mean = numbers(p);
    for (size_t i = 0; centred && i < n; i++) {
        for (size_t j = 0; j < p; j++) {
            mean[j] += g[i * p + j] / (double)n;
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < p; j++) {
            for (size_t l = 0; l < p; l++) {
                m[j * p + l] += (g[i * p + j] - mean[j]) * (g[i * p + l] - mean[l]) / (double)n;
            }
        }
    }
    gm_free(g);
    gm_free(mean);
    return m;
}

/* --- reference eigenpairs --- */

typedef struct eigen {
    size_t size;
    double *value;  /* [size] descending */
    double *vector; /* [size, size] rows */
} eigen;

static void rotate(size_t n, double *a, size_t p, size_t q, double c, double s, bool rows_too)
{
    for (size_t i = 0; rows_too && i < n; i++) {
        double x = a[i * n + p], y = a[i * n + q];
        a[i * n + p] = c * x - s * y;
        a[i * n + q] = s * x + c * y;
    }
    for (size_t i = 0; i < n; i++) {
        double x = a[p * n + i], y = a[q * n + i];
        a[p * n + i] = c * x - s * y;
        a[q * n + i] = s * x + c * y;
    }
}

/* Cyclic Jacobi method; m [size, size] is kept. */
static eigen jacobi(size_t n, const double *m)
{
    eigen e = {n, numbers(n), numbers(n * n)};
    double *a = numbers(n * n);
    memcpy(a, m, n * n * sizeof *a);
    for (size_t i = 0; i < n; i++) {
        e.vector[i * n + i] = 1.0;
    }
    for (int sweep = 0; sweep < 12; sweep++) {
        for (size_t p = 0; p < n; p++) {
            for (size_t q = p + 1; q < n; q++) {
                if (a[p * n + q] == 0.0) continue;
                double t = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
                t = (t >= 0 ? 1.0 : -1.0) / (fabs(t) + hypot(t, 1.0));
                double c = 1.0 / hypot(t, 1.0), s = t * c;
                rotate(n, a, p, q, c, s, true);
                rotate(n, e.vector, p, q, c, s, false);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        e.value[i] = a[i * n + i];
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            if (e.value[j] <= e.value[i]) continue;
            double value = e.value[i];
            e.value[i] = e.value[j];
            e.value[j] = value;
            for (size_t l = 0; l < n; l++) {
                value = e.vector[i * n + l];
                e.vector[i * n + l] = e.vector[j * n + l];
                e.vector[j * n + l] = value;
            }
        }
    }
    gm_free(a);
    return e;
}

static void free_eigen(eigen *e)
{
    gm_free(e->value);
    gm_free(e->vector);
}

/* ||U_k^T V_k||_F^2 / k straight from the definition; rows of `low` are counted from the end. */
static double reference_overlap(const eigen *a, const eigen *b, size_t k, bool low)
{
    size_t n = a->size;
    double sum = 0.0;
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < k; j++) {
            const double *u = a->vector + i * n;
            const double *v = b->vector + (low ? n - 1 - j : j) * n;
            double dot = 0.0;
            for (size_t l = 0; l < n; l++) {
                dot += u[l] * v[l];
            }
            sum += dot * dot;
        }
    }
    return sum / (double)k;
}

static void check_spectrum(const gm_operator_survey *found, const eigen *expected, double tolerance)
{
    assert_true(found->measured);
    double trace = 0.0, square = 0.0, scale = fabs(expected->value[0]);
    scale = fmax(scale, fabs(expected->value[expected->size - 1]));
    for (size_t i = 0; i < expected->size; i++) {
        close_to(found->value[i], expected->value[i], tolerance * scale);
        if (i) assert_true(found->value[i] <= found->value[i - 1]);
        trace += expected->value[i];
        square += expected->value[i] * expected->value[i];
    }
    double total = tolerance * scale * (double)expected->size;
    close_to(found->summary.trace, trace, total);
    close_to(found->summary.frobenius, sqrt(square), total);
    for (size_t j = 0; j < found->count; j++) {
        assert_true(found->residual[j] <= 1e-13 * scale); /* true products: a few eps ||A|| */
    }
}

static void check_overlap(const gm_overlap_survey *found, const eigen *a, const eigen *b, bool low,
                          double tolerance)
{
    for (size_t k = 1; k <= found->k; k++) {
        if (!found->resolved[k - 1]) continue;
        close_to(found->value[k - 1], reference_overlap(a, b, k, low), tolerance);
    }
}

static gm_decomposition survey(const fixture *f, const gm_decompose_options *options)
{
    gm_error err = {0};
    gm_decomposition result;
    must(gm_decompose(f->lin, options, &result, &err), &err);
    return result;
}

/* --- tests --- */

/* A smooth net with p = 43 and n samples: n < p takes M and Sigma (and for n = 5 also G, with nK =
 * 15) through the Gram form, n = 60 all of them dense. */
static void check_against_references(size_t n)
{
    fixture f;
    open_fixture(&f, "mlp:4-5-3,act=tanh", n, -1, 0.7, GM_F64);
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    options.k = 6;
    options.gn_residual = true;
    gm_decomposition result = survey(&f, &options);
    const gm_block_survey *b = &result.block;

    double *h = reference_hessian(&f), *m = reference_moment(&f, false);
    double *sigma = reference_moment(&f, true), *residual = numbers(f.p * f.p);
    for (size_t i = 0; i < f.p * f.p; i++) {
        residual[i] = m[i] - h[i];
    }
    eigen eh = jacobi(f.p, h), em = jacobi(f.p, m), es = jacobi(f.p, sigma);
    eigen er = jacobi(f.p, residual);
    assert_int_equal(b->op[GM_MOMENT].gram, n < f.p);
    assert_int_equal(b->op[GM_GGN].gram, 3 * n < f.p);
    assert_false(b->op[GM_HESSIAN].gram);
    /* Central differences are good to 1e-9 here, per-sample assembly to rounding. */
    check_spectrum(&b->op[GM_HESSIAN], &eh, 1e-9);
    check_spectrum(&b->op[GM_MOMENT], &em, 1e-13);
    check_spectrum(&b->op[GM_COVARIANCE], &es, 1e-13);
    check_spectrum(&b->op[GM_RESIDUAL], &er, 1e-9);

    /* Eigenvectors move by error / gap: gaps here are above 1e-3 of the largest eigenvalue. */
    assert_int_equal(b->pair[0].k, n < 6 ? n : 6);
    check_overlap(&b->pair[0], &eh, &em, false, 1e-5);
    check_overlap(&b->pair[2], &eh, &es, false, 1e-5);
    check_overlap(&b->pair[4], &eh, &er, false, 1e-5);
    check_overlap(&b->pair[5], &eh, &er, true, 1e-5);
    double cosines = 0.0, products = 0.0;
    for (size_t j = 0; j < b->angles; j++) {
        cosines += b->cosine[j] * b->cosine[j];
        close_to(cos(b->angle[j]), b->cosine[j], 1e-12);
    }
    for (size_t j = 0; j < b->angles * b->angles; j++) {
        products += b->product[j] * b->product[j];
    }
    /* ||U^T V||_F^2 is the sum of the squared cosines and of the squared products alike. */
    double whole = b->pair[0].value[b->pair[0].k - 1] * (double)b->pair[0].k;
    close_to(cosines, whole, 1e-12);
    close_to(products, whole, 1e-12);

    double fro_h = 0.0, fro_m = 0.0, trace_h = 0.0, trace_m = 0.0;
    for (size_t i = 0; i < f.p * f.p; i++) {
        fro_h += h[i] * h[i];
        fro_m += m[i] * m[i];
    }
    for (size_t i = 0; i < f.p; i++) {
        trace_h += h[i * f.p + i];
        trace_m += m[i * f.p + i];
    }
    /* H_p + H = M: the ratio is known without H_p. */
    close_to(b->residual_plus_hessian, sqrt(fro_m / fro_h), 1e-8);
    close_to(b->moment_share, trace_m / trace_h, 1e-8 * fabs(trace_m / trace_h));
    assert_true(b->decomposition_error < 1e-13);
    assert_true(b->decomposition_error > 0.0);

    gm_free(h);
    gm_free(m);
    gm_free(sigma);
    gm_free(residual);
    free_eigen(&eh);
    free_eigen(&em);
    free_eigen(&es);
    free_eigen(&er);
    gm_decomposition_free(&result);
    close_fixture(&f);
}

static void more_parameters_than_samples(void **state)
{
    (void)state;
    check_against_references(5);
    check_against_references(20);
}

static void more_samples_than_parameters(void **state)
{
    (void)state;
    check_against_references(60);
}

/* Multinomial logistic regression: H = G = (1/n) sum (diag p - p p^T) x x^T (bias: x = 1), so their
 * subspaces agree and R = 0. */
static void logistic_regression(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "mlp:3-4", 12, -1, 0.5, GM_F64);
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    options.gn_residual = true;
    gm_decomposition result = survey(&f, &options);
    const gm_block_survey *b = &result.block;
    assert_int_equal(b->k, 15);
    /* Logits are invariant under a common shift of the classes: rank p - (3 + 1). */
    assert_int_equal(b->op[GM_HESSIAN].summary.rank, 12);
    assert_int_equal(b->pair[1].k, 12);
    for (size_t k = 0; k < b->pair[1].k; k++) {
        if (b->pair[1].resolved[k]) close_to(b->pair[1].value[k], 1.0, 1e-10);
    }
    double scale = b->op[GM_HESSIAN].summary.max;
    for (size_t i = 0; i < f.p; i++) {
        close_to(b->op[GM_HESSIAN].value[i], b->op[GM_GGN].value[i], 1e-14 * scale);
    }
    assert_true(b->op[GM_GN_RESIDUAL].summary.frobenius < 1e-14 * scale);
    gm_decomposition_free(&result);
    close_fixture(&f);
}

static double share_of(const double *u, size_t k, size_t p, const double *g)
{
    double inside = 0.0, total = 0.0;
    for (size_t i = 0; i < p; i++) {
        total += g[i] * g[i];
    }
    for (size_t j = 0; j < k; j++) {
        double dot = 0.0;
        for (size_t i = 0; i < p; i++) {
            dot += u[j * p + i] * g[i];
        }
        inside += dot * dot;
    }
    return inside / total;
}

/* The gradient's share from the definition, the mini-batches' one by enumeration of all pairs. */
static void shares_of_gradients(void **state)
{
    (void)state;
    enum { N = 5, K = 4 };
    fixture f;
    open_fixture(&f, "mlp:4-5-3,act=tanh", N, -1, 0.7, GM_F64);
    double *g = sample_gradients(&f), *mean = numbers(f.p), *batch = numbers(f.p);
    for (size_t i = 0; i < N * f.p; i++) {
        mean[i % f.p] += g[i] / N;
    }
    for (int without = 0; without < 2; without++) {
        gm_decompose_options options;
        gm_decompose_options_default(&options);
        options.k = K;
        options.batch = 2;
        options.without_replacement = without;
        gm_decomposition result = survey(&f, &options);
        const gm_block_survey *b = &result.block;
        const double *u = b->op[GM_HESSIAN].lead_vector;
        assert_int_equal(b->shares, K);
        for (size_t k = 1; k <= K; k++) {
            close_to(b->share[k - 1], share_of(u, k, f.p, mean), 1e-13);
        }
        double inside = 0.0, total = 0.0;
        for (size_t i = 0; i < N; i++) {
            for (size_t j = 0; j < N; j++) {
                if (without && i == j) continue;
                double square = 0.0;
                for (size_t l = 0; l < f.p; l++) {
                    batch[l] = 0.5 * (g[i * f.p + l] + g[j * f.p + l]);
                    square += batch[l] * batch[l];
                }
                inside += share_of(u, K, f.p, batch) * square;
                total += square;
            }
        }
        close_to(b->stochastic_share, inside / total, 1e-13);
        gm_decomposition_free(&result);
    }
    gm_free(g);
    gm_free(mean);
    gm_free(batch);
    close_fixture(&f);
}

static void leading_by_magnitude(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "mlp:4-5-3,act=tanh", 8, -1, 1.5, GM_F64);
    double *h = reference_hessian(&f);
    eigen e = jacobi(f.p, h);
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    options.k = f.p; /* every eigenpair, so the order is seen whole */
    options.by_magnitude = true;
    gm_decomposition result = survey(&f, &options);
    const gm_operator_survey *op = &result.block.op[GM_HESSIAN];
    assert_int_equal(op->count, f.p);
    assert_true(e.value[f.p - 1] < -0.01 * e.value[0]); /* the test would be void without */
    double sum = 0.0;
    for (size_t j = 0; j < f.p; j++) {
        if (j) assert_true(fabs(op->lead_value[j]) <= fabs(op->lead_value[j - 1]));
        assert_true(op->residual[j] < 1e-13 * e.value[0]);
        sum += op->lead_value[j];
    }
    close_to(sum, op->summary.trace, 1e-13 * (double)f.p * e.value[0]);

    /* Fewer pairs: the same ones. H_p and -H_p then span the same. */
    options.k = 3;
    gm_decomposition few = survey(&f, &options);
    for (size_t k = 0; k < 3; k++) {
        close_to(few.block.pair[5].value[k], few.block.pair[4].value[k], 0.0);
    }
    for (size_t j = 0; j < few.block.op[GM_HESSIAN].count; j++) {
        close_to(few.block.op[GM_HESSIAN].lead_value[j], op->lead_value[j], 1e-13 * e.value[0]);
    }
    gm_decomposition_free(&few);
    gm_decomposition_free(&result);
    gm_free(h);
    free_eigen(&e);
    close_fixture(&f);
}

/* A layer's block is the block of the whole matrix. */
static void blocks_of_layers(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "mlp:4-5-3,act=tanh", 6, -1, 0.7, GM_F64);
    double *h = reference_hessian(&f), *m = reference_moment(&f, false);
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    options.each_layer = true;
    gm_decomposition result = survey(&f, &options);
    assert_int_equal(result.layers, 2);
    for (size_t l = 0; l < result.layers; l++) {
        gm_net_layer layer = gm_net_layer_at(f.net, l);
        size_t size = layer.parameters;
        double *bh = numbers(size * size), *bm = numbers(size * size);
        for (size_t i = 0; i < size * size; i++) {
            size_t at = (layer.offset + i / size) * f.p + layer.offset + i % size;
            bh[i] = h[at];
            bm[i] = m[at];
        }
        eigen eh = jacobi(size, bh), em = jacobi(size, bm);
        assert_string_equal(result.layer[l].name, layer.name);
        assert_int_equal(result.layer[l].size, size);
        check_spectrum(&result.layer[l].op[GM_HESSIAN], &eh, 1e-9);
        check_spectrum(&result.layer[l].op[GM_MOMENT], &em, 1e-13);
        check_overlap(&result.layer[l].pair[0], &eh, &em, false, 1e-4);
        assert_true(result.layer[l].decomposition_error < 1e-13);
        gm_free(bh);
        gm_free(bm);
        free_eigen(&eh);
        free_eigen(&em);
    }

    /* The same block alone. */
    options.each_layer = false;
    options.layer = 1;
    gm_decomposition alone = survey(&f, &options);
    assert_int_equal(alone.block.layer, 1);
    close_to(alone.block.op[GM_HESSIAN].summary.max, result.layer[1].op[GM_HESSIAN].summary.max,
             1e-14);
    gm_decomposition_free(&alone);
    gm_decomposition_free(&result);
    gm_free(h);
    gm_free(m);
    close_fixture(&f);
}

/* n = 1: M = g g^T has rank one and lies along the gradient, Sigma = 0. */
static void one_sample(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "mlp:4-5-3", 1, -1, 0.7, GM_F64);
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    gm_decomposition result = survey(&f, &options);
    const gm_block_survey *b = &result.block;
    double square = result.gradient_norm * result.gradient_norm;
    close_to(b->op[GM_MOMENT].summary.max, square, 1e-13 * square);
    assert_int_equal(b->op[GM_MOMENT].summary.rank, 1);
    assert_int_equal(b->op[GM_COVARIANCE].summary.rank, 0);
    assert_true(b->op[GM_COVARIANCE].value[0] <= 1e-30);
    assert_int_equal(b->pair[0].k, 1);
    assert_int_equal(b->pair[2].k, 0);
    close_to(b->pair[0].value[0], b->share[0], 1e-12); /* both are cos^2 of u_1 with g */
    close_to(b->stochastic_share, b->share[b->shares - 1], 1e-12);
    gm_finding finding[GM_FINDINGS];
    assert_int_equal(gm_decompose_findings(1, &result, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[1].verdict, GM_UNDECIDED);
    gm_decomposition_free(&result);
    close_fixture(&f);
}

static void single_class_and_dead_units(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "mlp:4-5-3", 7, 1, 0.7, GM_F64);
    /* Bias -100 kills every hidden unit: only the output biases act, H is diag(p) - p p^T there. */
    for (size_t i = 20; i < 25; i++) {
        f.theta[i] = -100.0;
    }
    gm_linearization_free(f.lin);
    assert_int_equal(gm_linearize(f.problem, f.theta, &f.lin, NULL), GM_OK);
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    gm_decomposition result = survey(&f, &options);
    const gm_block_survey *b = &result.block;
    double z[3], sum = 0.0, trace = 0.0;
    for (size_t c = 0; c < 3; c++) {
        z[c] = exp(f.theta[f.p - 3 + c]);
        sum += z[c];
    }
    for (size_t c = 0; c < 3; c++) {
        trace += z[c] / sum * (1 - z[c] / sum);
    }
    close_to(b->op[GM_HESSIAN].summary.trace, trace, 1e-14);
    assert_int_equal(b->op[GM_HESSIAN].summary.rank, 2);
    /* All samples have one gradient: M = mu mu^T, Sigma = 0. */
    assert_int_equal(b->op[GM_MOMENT].summary.rank, 1);
    assert_true(b->op[GM_COVARIANCE].summary.frobenius < 1e-28);
    close_to(b->share[b->shares - 1], 1.0, 1e-13);
    assert_int_equal(b->pair[0].k, 1);
    assert_int_equal(b->pair[1].k, 2);
    assert_true(b->decomposition_error < 1e-13);
    gm_decomposition_free(&result);
    close_fixture(&f);
}

/* Linear regression fitted exactly: mu = 0 and M = 0 at a minimum, H_p = -H. */
static void zero_gradient(void **state)
{
    (void)state;
    enum { N = 6, IN = 3, OUT = 2 };
    gm_error err = {0};
    fixture f = {.n = N};
    must(gm_net_from_spec("mlp:3-2", NULL, 0, &f.net, &err), &err);
    f.p = gm_net_parameters(f.net);
    gm_shape shape = {.rank = 1, .dim = {IN}};
    double x[N * IN], target[N * OUT] = {0};
    gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 0), 0, N * IN, x);
    must(gm_data_from_arrays("test", N, &shape, x, NULL, target, OUT, GM_F64, 0, &f.data, &err),
         &err);
    gm_problem_options problem;
    gm_problem_options_default(&problem);
    problem.loss = GM_LOSS_SQUARED;
    must(gm_problem_create(f.net, f.data, &problem, &f.problem, &err), &err);
    f.theta = numbers(f.p); /* zeros fit the zero targets */
    must(gm_linearize(f.problem, f.theta, &f.lin, &err), &err);

    gm_decompose_options options;
    gm_decompose_options_default(&options);
    gm_decomposition result = survey(&f, &options);
    const gm_block_survey *b = &result.block;
    assert_true(result.gradient_norm == 0.0);
    assert_int_equal(b->shares, 0);
    assert_true(isnan(b->stochastic_share));
    close_to(b->moment_share, 0.0, 0.0);
    assert_int_equal(b->op[GM_MOMENT].summary.rank, 0);
    assert_int_equal(b->angles, 0);
    assert_true(b->residual_plus_hessian < 1e-15);
    /* H and -H_p are one matrix with every eigenvalue double: overlap 1 where resolved. */
    assert_true(b->op[GM_HESSIAN].summary.rank == f.p);
    for (size_t k = 0; k < b->pair[5].k; k++) {
        assert_int_equal(b->pair[5].resolved[k], k % 2 == 1);
        if (k % 2 == 1) close_to(b->pair[5].value[k], 1.0, 1e-12);
    }
    gm_finding finding[GM_FINDINGS];
    assert_int_equal(gm_decompose_findings(1, &result, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[0].verdict, GM_HOLDS);
    assert_int_equal(finding[1].verdict, GM_UNDECIDED);
    gm_decomposition_free(&result);
    close_fixture(&f);
}

/* float32 against float64: same spectra to a few float32 roundings of the largest. */
static void single_precision(void **state)
{
    (void)state;
    fixture f, g;
    open_fixture(&f, "mlp:4-5-3,act=tanh", 9, -1, 0.7, GM_F64);
    open_fixture(&g, "mlp:4-5-3,act=tanh", 9, -1, 0.7, GM_F32);
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    gm_decomposition oracle = survey(&f, &options), result = survey(&g, &options);
    for (int kind = 0; kind <= GM_RESIDUAL; kind++) {
        const gm_operator_survey *a = &oracle.block.op[kind], *b = &result.block.op[kind];
        for (size_t i = 0; i < f.p; i++) {
            close_to(b->value[i], a->value[i], 5e-6 * a->summary.scale);
        }
    }
    assert_true(result.block.decomposition_error < 1e-6);
    assert_true(result.block.decomposition_error > 1e-12); /* really computed in float32 */
    gm_decomposition_free(&oracle);
    gm_decomposition_free(&result);
    close_fixture(&f);
    close_fixture(&g);
}

/* --- a run --- */

static gm_status walk(void *self, size_t index, int64_t *step, double *theta, gm_error *err)
{
    (void)err;
    const fixture *f = self;
    *step = (int64_t)index * 10;
    /* Points 0 and 2 are the same. */
    for (size_t i = 0; i < f->p; i++) {
        theta[i] = f->theta[i] * (index == 1 ? 2.0 : 1.0);
    }
    return GM_OK;
}

static gm_status refuse(void *self, size_t index, int64_t *step, double *theta, gm_error *err)
{
    if (index < 1) return walk(self, index, step, theta, err);
    return gm_fail(err, GM_ERR_INTERRUPTED, "stopped");
}

static gm_status break_down(void *self, size_t index, int64_t *step, double *theta, gm_error *err)
{
    if (index < 1) return walk(self, index, step, theta, err);
    return gm_fail(err, GM_ERR_INPUT, "damaged");
}

static void overlap_with_the_past(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "mlp:4-5-3,act=tanh", 9, -1, 0.7, GM_F64);
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    options.k = 5;
    options.each_layer = true;
    gm_decomposition result[3];
    gm_decompose_points points = {.count = 3, .self = &f, .at = walk};
    assert_int_equal(gm_decompose_run(f.problem, &points, &options, result, NULL, NULL), GM_OK);
    assert_int_equal(result[0].block.first.k, 0);
    assert_int_equal(result[1].step, 10);
    assert_int_equal(result[2].block.previous.k, 5);
    for (size_t k = 0; k < 5; k++) {
        close_to(result[2].block.first.value[k], 1.0, 1e-12);
        close_to(result[2].layer[0].first.value[k], 1.0, 1e-12);
        close_to(result[2].block.previous.value[k], result[1].block.first.value[k], 1e-12);
    }
    assert_true(result[1].block.first.value[0] < 0.999);
    gm_finding finding[GM_FINDINGS];
    assert_int_equal(gm_decompose_findings(3, result, 0, finding, NULL), GM_OK);
    close_to(finding[0].value, result[2].block.residual_plus_hessian, 0.0);
    double first = result[0].loss;
    for (size_t i = 0; i < 3; i++) {
        gm_decomposition_free(&result[i]);
    }

    gm_error err = {0};
    size_t finished = 9;
    /* Interrupted before the second point: the first one is kept, the others are zeros. */
    points.at = refuse;
    assert_int_equal(gm_decompose_run(f.problem, &points, &options, result, &finished, &err),
                     GM_ERR_INTERRUPTED);
    assert_string_equal(err.message, "stopped");
    assert_int_equal(finished, 1);
    assert_non_null(result[0].block.op[GM_HESSIAN].value);
    assert_true(result[0].loss == first);
    assert_null(result[1].block.op[GM_HESSIAN].value);
    gm_decomposition_free(&result[0]);
    /* Any other failure leaves nothing. */
    points.at = break_down;
    assert_int_equal(gm_decompose_run(f.problem, &points, &options, result, &finished, &err),
                     GM_ERR_INPUT);
    assert_int_equal(finished, 0);
    assert_null(result[0].block.op[GM_HESSIAN].value);
    close_fixture(&f);
}

/* The verdicts follow the numbers, whichever way these fall. */
static void findings_follow_the_numbers(void **state)
{
    (void)state;
    enum { K = 12, SIZE = 40 };
    double cosine[K];
    bool resolved[K];
    for (size_t j = 0; j < K; j++) {
        cosine[j] = 0.99 - 0.001 * (double)j;
        resolved[j] = true;
    }
    gm_decomposition point = {.step = 500, .loss = 0.01};
    gm_block_survey *b = &point.block;
    b->size = SIZE;
    b->angles = K;
    b->cosine = cosine;
    b->pair[0].k = K;
    b->pair[0].resolved = resolved;
    b->residual_plus_hessian = 0.05;
    b->op[GM_RESIDUAL].summary.frobenius = 1.0;
    b->op[GM_MOMENT].summary.frobenius = 0.05;
    gm_finding finding[GM_FINDINGS];
    assert_int_equal(gm_decompose_findings(1, &point, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[0].verdict, GM_HOLDS);
    assert_int_equal(finding[1].verdict, GM_HOLDS);
    close_to(finding[1].value, cosine[9], 0.0);
    assert_non_null(strstr(finding[0].sentence, "step 500"));

    cosine[9] = cosine[10] = cosine[11] = 0.89; /* nine left */
    b->residual_plus_hessian = 0.1;
    assert_int_equal(gm_decompose_findings(1, &point, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[0].verdict, GM_DOES_NOT_HOLD);
    assert_int_equal(finding[1].verdict, GM_DOES_NOT_HOLD);
    assert_non_null(strstr(finding[1].sentence, "9 of the 12"));

    b->residual_plus_hessian = (double)NAN;
    b->angles = 9;
    assert_int_equal(gm_decompose_findings(1, &point, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[0].verdict, GM_UNDECIDED);
    assert_int_equal(finding[1].verdict, GM_UNDECIDED);
}

/* --- refusals --- */

static void refusals(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "mlp:4-5-3", 4, -1, 0.7, GM_F64);
    gm_decompose_options good, options;
    gm_decompose_options_default(&good);
    gm_decomposition result;
    gm_error err = {0};

    options = good;
    options.memory = 3 * 8 * 43 * 43; /* exactly what p = 43 takes */
    assert_int_equal(gm_decompose_bytes(f.problem, &options, 1), options.memory);
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_OK);
    options.memory--;
    assert_int_equal(gm_decompose(f.lin, &options, &result, &err), GM_ERR_MEMORY);
    assert_non_null(strstr(err.message, "p = 43"));
    assert_null(result.block.op[GM_HESSIAN].value);
    options.layer = 1; /* 18 parameters fit */
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_OK);

    options = good;
    options.k = 0;
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_ERR_USAGE);
    options = good;
    options.cut = (double)NAN;
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_ERR_USAGE);
    options = good;
    options.layer = 2;
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_ERR_USAGE);
    assert_true(gm_decompose_bytes(f.problem, &options, 1) == SIZE_MAX);
    options.layer = -7;
    assert_true(gm_decompose_bytes(f.problem, &options, 1) == SIZE_MAX);
    options = good;
    options.batch = 5;
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_OK);
    options.without_replacement = true;
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_ERR_USAGE);
    close_fixture(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_parameters_than_samples),
        cmocka_unit_test(more_samples_than_parameters),
        cmocka_unit_test(logistic_regression),
        cmocka_unit_test(shares_of_gradients),
        cmocka_unit_test(leading_by_magnitude),
        cmocka_unit_test(blocks_of_layers),
        cmocka_unit_test(one_sample),
        cmocka_unit_test(single_class_and_dead_units),
        cmocka_unit_test(zero_gradient),
        cmocka_unit_test(single_precision),
        cmocka_unit_test(overlap_with_the_past),
        cmocka_unit_test(findings_follow_the_numbers),
        cmocka_unit_test(refusals),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "survey");
}
