/* Surveys by products against the dense survey of the same small nets, which test_survey.c holds
 * against matrices of its own. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/eigen.h"
#include "gradiometer/random.h"
#include "gradiometer/survey.h"

typedef struct fixture {
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    gm_linearization *lin;
    size_t n, p;
    double *theta; /* [p] */
} fixture;

typedef struct setting {
    const char *spec;
    size_t n;
    double scale; /* sd of the parameters, biases included: no unit sits on a kink */
    gm_dtype dtype;
    bool squared;
} setting;

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

/* Normal features around a mean for each class, so that H has outliers. */
static void open_fixture(fixture *f, setting s)
{
    gm_error err = {0};
    memset(f, 0, sizeof *f);
    f->n = s.n;
    must(gm_net_from_spec(s.spec, NULL, 0, &f->net, &err), &err);
    f->p = gm_net_parameters(f->net);
    size_t features = gm_net_inputs(f->net), classes = gm_net_outputs(f->net);
    gm_shape shape = {.rank = 1, .dim = {features}};
    double *x = numbers(s.n * features);
    int32_t *y = gm_alloc(s.n, sizeof *y, "labels", NULL);
    assert_non_null(y);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 0), 0, s.n * features, x);
    for (size_t i = 0; i < s.n; i++) {
        y[i] = (int32_t)(i % classes);
        x[i * features + i % classes] += 2.0;
    }
    must(gm_data_from_arrays("test", s.n, &shape, x, y, NULL, 0, s.dtype, classes, &f->data, &err),
         &err);
    if (s.squared) must(gm_dataset_one_hot(f->data, &err), &err);
    gm_problem_options problem;
    gm_problem_options_default(&problem);
    problem.loss = s.squared ? GM_LOSS_SQUARED : GM_LOSS_CROSS_ENTROPY;
    must(gm_problem_create(f->net, f->data, &problem, &f->problem, &err), &err);
    f->theta = numbers(f->p);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 1), 0, f->p, f->theta);
    for (size_t i = 0; i < f->p; i++) {
        f->theta[i] *= s.scale;
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

static gm_decomposition survey(const fixture *f, gm_decompose_options options,
                               gm_decompose_method method)
{
    gm_error err = {0};
    gm_decomposition result;
    options.method = method;
    must(gm_decompose(f->lin, &options, &result, &err), &err);
    return result;
}

static gm_decompose_options options_of(size_t k)
{
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    options.k = k;
    options.gn_residual = true;
    options.batch = 3;
    return options;
}

/* --- products against dense --- */

/* Within five standard errors, and to rounding where there is no scatter. */
static void check_estimate(double found, double error, double expected, double rounding)
{
    close_to(found, expected, 5.0 * error + rounding);
}

static void check_counts(const gm_operator_survey *found, const gm_operator_survey *dense)
{
    const gm_spectral_summary *a = &found->summary, *b = &dense->summary;
    if (found->above_known) {
        assert_int_equal(a->above, b->above);
    } else {
        assert_true(a->above <= b->above);
    }
    if (found->below_known) {
        assert_int_equal(a->below, b->below);
    } else {
        assert_true(a->below <= b->below);
    }
    assert_true(a->rank <= b->rank);
}

static double nearest(const gm_operator_survey *dense, double value)
{
    double best = dense->value[0];
    for (size_t i = 1; i < dense->values; i++) {
        if (fabs(dense->value[i] - value) < fabs(best - value)) best = dense->value[i];
    }
    return best;
}

/* Values to tol times the scale, the bound that a residual gives; traces to the products' rounding.
 */
static void check_operator(const gm_operator_survey *found, const gm_operator_survey *dense,
                           double tol, double rounding)
{
    double scale = dense->summary.scale;
    size_t size = dense->summary.size;
    assert_true(found->measured && found->products && found->converged);
    assert_int_equal(found->summary.size, size);
    for (size_t j = 0; j < found->count && j < dense->count; j++) {
        close_to(found->lead_value[j], dense->lead_value[j], tol * scale);
        assert_true(found->residual[j] <= tol * scale);
    }
    for (size_t j = 0; j < found->values; j++) {
        if (j) assert_true(found->value[j] <= found->value[j - 1]);
        if (!found->by_magnitude) close_to(found->value[j], dense->value[j], tol * scale);
    }
    for (size_t j = 0; j < found->low_count; j++) {
        /* Some copies of a repeated zero may be missed, as gm_eigenpairs says: the last layer's H
         * has no lower eigenvalue, and p / K of them. */
        close_to(found->low_value[j], nearest(dense, found->low_value[j]), tol * scale);
        double expected = dense->value[size - 1 - j];
        if (j == 0 || expected < -tol * scale) close_to(found->low_value[j], expected, tol * scale);
    }
    double all = rounding * scale * (double)size;
    close_to(found->summary.trace, dense->summary.trace, all);
    check_estimate(found->summary.frobenius, found->frobenius_error, dense->summary.frobenius, all);
    close_to(found->summary.scale, scale, tol * scale);
    if (isfinite(found->summary.max)) close_to(found->summary.max, dense->summary.max, tol * scale);
    if (isfinite(found->summary.min)) close_to(found->summary.min, dense->summary.min, tol * scale);
    check_counts(found, dense);
}

static size_t check_overlap(const gm_overlap_survey *found, const gm_overlap_survey *dense,
                            double tolerance)
{
    size_t compared = 0;
    assert_string_equal(found->a, dense->a);
    assert_string_equal(found->b, dense->b);
    assert_true(found->k <= dense->k);
    for (size_t j = 0; j < found->k; j++) {
        if (!found->resolved[j] || !dense->resolved[j]) continue;
        close_to(found->value[j], dense->value[j], tolerance);
        compared++;
    }
    return compared;
}

/* Vectors turn by residual / gap: tol over gaps of 1e-3 of the scale. */
static void check_block(const gm_block_survey *found, const gm_block_survey *dense, double tol,
                        double rounding)
{
    double turn = 2e3 * tol;
    size_t compared = 0;
    assert_true(found->products);
    assert_false(dense->products);
    for (int kind = 0; kind < GM_CURVATURES; kind++) {
        if (!dense->op[kind].measured) continue;
        check_operator(&found->op[kind], &dense->op[kind], tol, rounding);
    }
    for (int i = 0; i < GM_SURVEY_PAIRS; i++) {
        compared += check_overlap(&found->pair[i], &dense->pair[i], turn);
    }
    assert_true(compared > 0);
    if (found->angles == dense->angles && found->pair[0].resolved[found->angles - 1]) {
        for (size_t j = 0; j < found->angles; j++) {
            close_to(found->cosine[j], dense->cosine[j], turn);
        }
    }
    for (size_t j = 0; j < found->shares && j < dense->shares; j++) {
        if (found->pair[5].k > j && dense->pair[5].resolved[j]) {
            close_to(found->share[j], dense->share[j], turn);
        }
    }
    close_to(found->moment_share, dense->moment_share, rounding * 1e3 * fabs(dense->moment_share));
    check_estimate(found->residual_plus_hessian, found->residual_plus_hessian_error,
                   dense->residual_plus_hessian, 1e3 * rounding);
    assert_true(found->residual_plus_hessian_error < 0.5 * dense->residual_plus_hessian);
    assert_true(found->decomposition_error < 1e2 * rounding);
    assert_true(found->decomposition_error > 0.0);
}

static void against_dense(setting s, gm_decompose_options options)
{
    fixture f;
    open_fixture(&f, s);
    double tol = s.dtype == GM_F32 ? 1e-4 : 1e-10, rounding = s.dtype == GM_F32 ? 1e-6 : 1e-14;
    gm_decomposition dense = survey(&f, options, GM_DECOMPOSE_DENSE);
    gm_decomposition found = survey(&f, options, GM_DECOMPOSE_PRODUCTS);
    check_block(&found.block, &dense.block, tol, rounding);
    assert_int_equal(found.layers, dense.layers);
    for (size_t l = 0; l < found.layers; l++) {
        check_block(&found.layer[l], &dense.layer[l], tol, rounding);
    }
    gm_decomposition_free(&dense);
    gm_decomposition_free(&found);
    close_fixture(&f);
}

static void smooth_net(void **state)
{
    (void)state;
    /* p = 163; n < p takes M and Sigma through their Gram forms, n > p none. */
    against_dense((setting){"mlp:8-12-5,act=tanh", 20, 0.5, GM_F64, false}, options_of(4));
    against_dense((setting){"mlp:8-12-5,act=tanh", 400, 0.5, GM_F64, false}, options_of(4));
}

static void rectified_net(void **state)
{
    (void)state;
    against_dense((setting){"mlp:8-12-5", 50, 0.5, GM_F64, false}, options_of(6));
    against_dense((setting){"mlp:8-12-5", 200, 0.5, GM_F64, false}, options_of(1));
}

static void two_classes_and_squares(void **state)
{
    (void)state;
    against_dense((setting){"mlp:8-12-2,act=tanh", 40, 0.5, GM_F64, false}, options_of(3));
    against_dense((setting){"mlp:8-12-3,act=tanh", 300, 0.5, GM_F64, true}, options_of(5));
}

static void by_magnitude(void **state)
{
    (void)state;
    gm_decompose_options options = options_of(5);
    options.by_magnitude = true;
    against_dense((setting){"mlp:8-12-5,act=tanh", 30, 1.0, GM_F64, false}, options);
    against_dense((setting){"mlp:8-12-5,act=tanh", 300, 1.0, GM_F64, false}, options);
}

static void layers(void **state)
{
    (void)state;
    gm_decompose_options options = options_of(3);
    options.each_layer = true;
    options.gn_residual = false; /* nothing but rounding in the last layer */
    against_dense((setting){"mlp:8-12-5,act=tanh", 60, 0.5, GM_F64, false}, options);
}

/* More directions than the net has: every pair is found, nothing is left to the probes. */
static void all_directions(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, (setting){"mlp:4-3-2,act=tanh", 60, 0.7, GM_F64, false});
    gm_decompose_options options = options_of(100);
    gm_decomposition dense = survey(&f, options, GM_DECOMPOSE_DENSE);
    gm_decomposition found = survey(&f, options, GM_DECOMPOSE_PRODUCTS);
    for (int kind = 0; kind < GM_CURVATURES; kind++) {
        const gm_operator_survey *a = &found.block.op[kind], *b = &dense.block.op[kind];
        assert_int_equal(a->count, f.p);
        assert_true(a->above_known && a->below_known);
        assert_int_equal(a->summary.below, b->summary.below);
        assert_int_equal(a->summary.above, b->summary.above);
        close_to(a->summary.frobenius, b->summary.frobenius, 1e-12 * b->summary.frobenius);
        close_to(a->summary.min, b->summary.min, 1e-12 * b->summary.scale);
    }
    gm_decomposition_free(&dense);
    gm_decomposition_free(&found);
    close_fixture(&f);
}

static void single_precision(void **state)
{
    (void)state;
    against_dense((setting){"mlp:8-12-5,act=tanh", 300, 0.5, GM_F32, false}, options_of(4));
}

/* Linear regression fitted exactly: M = 0 and H_p = -H, nothing is left of the ratio. */
static void zero_gradient(void **state)
{
    (void)state;
    enum { N = 30, IN = 12, OUT = 3 };
    gm_error err = {0};
    fixture f = {.n = N};
    must(gm_net_from_spec("mlp:12-3", NULL, 0, &f.net, &err), &err);
    f.p = gm_net_parameters(f.net);
    gm_shape shape = {.rank = 1, .dim = {IN}};
    double x[N * IN], target[N * OUT] = {0};
    gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 0), 0, sizeof x / sizeof *x, x);
    must(gm_data_from_arrays("test", N, &shape, x, NULL, target, OUT, GM_F64, 0, &f.data, &err),
         &err);
    gm_problem_options problem;
    gm_problem_options_default(&problem);
    problem.loss = GM_LOSS_SQUARED;
    must(gm_problem_create(f.net, f.data, &problem, &f.problem, &err), &err);
    f.theta = numbers(f.p); /* zeros fit the zero targets */
    must(gm_linearize(f.problem, f.theta, &f.lin, &err), &err);

    gm_decomposition result = survey(&f, options_of(4), GM_DECOMPOSE_PRODUCTS);
    const gm_block_survey *b = &result.block;
    assert_int_equal(b->shares, 0);
    assert_true(isnan(b->stochastic_share));
    close_to(b->moment_share, 0.0, 0.0);
    assert_int_equal(b->op[GM_MOMENT].summary.rank, 0);
    close_to(b->op[GM_MOMENT].summary.frobenius, 0.0, 0.0);
    assert_int_equal(b->angles, 0);
    assert_true(b->residual_plus_hessian < 1e-14); /* rounding of products */
    gm_finding finding[GM_FINDINGS];
    assert_int_equal(gm_decompose_findings(1, &result, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[0].verdict, GM_HOLDS);
    assert_int_equal(finding[1].verdict, GM_UNDECIDED);
    gm_decomposition_free(&result);
    close_fixture(&f);
}

/* The standard errors mean what they say: over seeds the norms miss the truth by less than two of
 * them at a rate between those of a normal (95 %) and of seven degrees of freedom (91 %), here with
 * room for 40 draws; and the mean error is not one-sided. */
static void errors_of_norms(void **state)
{
    (void)state;
    enum { SEEDS = GM_TEST_SIZE(40, 8) };
    fixture f;
    open_fixture(&f, (setting){"mlp:8-12-5,act=tanh", 400, 0.5, GM_F64, false});
    gm_decompose_options options = options_of(2);
    options.gn_residual = false;
    options.tol = 1e-3;
    gm_decomposition dense = survey(&f, options, GM_DECOMPOSE_DENSE);
    int within = 0, above = 0;
    double truth = dense.block.op[GM_HESSIAN].summary.frobenius;
    for (int seed = 0; seed < SEEDS; seed++) {
        options.seed = (uint64_t)seed;
        gm_decomposition found = survey(&f, options, GM_DECOMPOSE_PRODUCTS);
        const gm_operator_survey *h = &found.block.op[GM_HESSIAN];
        assert_true(h->frobenius_error > 0.0);
        assert_true(h->frobenius_error < 0.1 * truth);
        within += fabs(h->summary.frobenius - truth) <= 2.0 * h->frobenius_error;
        above += h->summary.frobenius > truth;
        gm_decomposition_free(&found);
    }
    gm_decomposition_free(&dense);
    close_fixture(&f);
    if (SEEDS < 40) return;    /* too few to tell */
    assert_true(within >= 32); /* 91 % expected, 80 % is three deviations below */
    assert_in_range(above, 10, 30);
}

static void equal_seeds(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, (setting){"mlp:8-12-5,act=tanh", 400, 0.5, GM_F64, false});
    gm_decompose_options options = options_of(4);
    options.seed = 7;
    gm_decomposition a = survey(&f, options, GM_DECOMPOSE_PRODUCTS);
    gm_decomposition b = survey(&f, options, GM_DECOMPOSE_PRODUCTS);
    options.seed = 8;
    gm_decomposition c = survey(&f, options, GM_DECOMPOSE_PRODUCTS);
    const gm_operator_survey *x = &a.block.op[GM_HESSIAN], *y = &b.block.op[GM_HESSIAN];
    assert_memory_equal(x->lead_value, y->lead_value, x->count * sizeof(double));
    assert_memory_equal(x->lead_vector, y->lead_vector, x->count * f.p * sizeof(double));
    assert_true(x->summary.frobenius == y->summary.frobenius);
    assert_true(a.block.residual_plus_hessian == b.block.residual_plus_hessian);
    assert_true(x->spent == y->spent && x->spent > 0);
    assert_true(x->summary.frobenius != c.block.op[GM_HESSIAN].summary.frobenius);
    gm_decomposition_free(&a);
    gm_decomposition_free(&b);
    gm_decomposition_free(&c);
    close_fixture(&f);
}

/* --- along a run --- */

typedef struct path {
    const fixture *f;
    double step; /* relative change of the parameters from point to point */
} path;

static gm_status walk(void *self, size_t index, int64_t *step, double *theta, gm_error *err)
{
    (void)err;
    const path *p = self;
    *step = (int64_t)index * 10;
    for (size_t i = 0; i < p->f->p; i++) {
        theta[i] = p->f->theta[i] * (1.0 + p->step * (double)index * (i % 2 ? 1.0 : -1.0));
    }
    return GM_OK;
}

static size_t spent(const gm_decomposition *point)
{
    size_t sum = 0;
    for (int kind = 0; kind < GM_CURVATURES; kind++) {
        sum += point->block.op[kind].spent;
    }
    return sum;
}

/* From the subspaces of the point before the same numbers come with fewer products than from
 * nothing. */
static void warm_starts(void **state)
{
    (void)state;
    enum { POINTS = 4 };
    gm_error err = {0};
    fixture f;
    open_fixture(&f, (setting){"mlp:10-20-5,act=tanh", 500, 0.5, GM_F64, false});
    path way = {.f = &f, .step = 1e-4};
    gm_decompose_options options = options_of(4);
    options.method = GM_DECOMPOSE_PRODUCTS;
    options.tol = 1e-4;
    options.each_layer = true;
    gm_decomposition run[POINTS];
    gm_decompose_points points = {.count = POINTS, .self = &way, .at = walk};
    must(gm_decompose_run(f.problem, &points, &options, run, NULL, &err), &err);
    double *theta = numbers(f.p);
    size_t warm = 0, cold = 0;
    for (size_t i = 0; i < POINTS; i++) {
        int64_t step;
        fixture here = f;
        assert_int_equal(walk(&way, i, &step, theta, &err), GM_OK);
        must(gm_linearize(f.problem, theta, &here.lin, &err), &err);
        gm_decomposition alone = survey(&here, options, GM_DECOMPOSE_PRODUCTS);
        for (int kind = 0; kind < GM_CURVATURES; kind++) {
            const gm_operator_survey *a = &run[i].block.op[kind], *b = &alone.block.op[kind];
            assert_true(a->converged);
            /* An eigenvalue is as good as the square of its residual over the gap. */
            close_to(a->lead_value[0], b->lead_value[0], 1e-4 * b->summary.scale);
            close_to(a->lead_value[3], b->lead_value[3], 1e-4 * b->summary.scale);
            close_to(a->summary.trace, b->summary.trace, 1e-13 * b->summary.scale * (double)f.p);
        }
        /* The same probes; what the pairs take out of them differs by tol. */
        close_to(run[i].block.residual_plus_hessian, alone.block.residual_plus_hessian, 1e-4);
        if (i > 0) {
            warm += spent(&run[i]);
            cold += spent(&alone);
            assert_true(run[i].block.previous.k > 0);
            assert_true(run[i].block.previous.value[0] > 0.99);
        } else {
            assert_int_equal(spent(&run[0]), spent(&alone));
        }
        /* Vectors stay of H at the first and of H and M at the last point. */
        bool first = i == 0, last = i == POINTS - 1;
        assert_int_equal(run[i].block.op[GM_HESSIAN].lead_vector != NULL, first || last);
        assert_int_equal(run[i].block.op[GM_MOMENT].lead_vector != NULL, last);
        assert_int_equal(run[i].layer[1].op[GM_MOMENT].lead_vector != NULL, last);
        assert_null(run[i].block.op[GM_RESIDUAL].lead_vector);
        assert_null(run[i].block.op[GM_RESIDUAL].low_vector);
        gm_decomposition_free(&alone);
        gm_linearization_free(here.lin);
    }
    if (!(warm < cold)) fail_msg("%zu products with the past, %zu without", warm, cold);
    for (size_t i = 0; i < POINTS; i++) {
        gm_decomposition_free(&run[i]);
    }
    gm_free(theta);
    close_fixture(&f);
}

/* Where the point before is no help, looking there costs less than a start from nothing, and the
 * next point does without. */
static void far_points(void **state)
{
    (void)state;
    enum { POINTS = 3 };
    gm_error err = {0};
    fixture f;
    open_fixture(&f, (setting){"mlp:10-20-5,act=tanh", 500, 0.5, GM_F64, false});
    path way = {.f = &f, .step = 0.4};
    gm_decompose_options options = options_of(4);
    options.method = GM_DECOMPOSE_PRODUCTS;
    options.gn_residual = false;
    gm_decomposition run[POINTS];
    gm_decompose_points points = {.count = POINTS, .self = &way, .at = walk};
    must(gm_decompose_run(f.problem, &points, &options, run, NULL, &err), &err);
    size_t before = 0;
    for (size_t i = 0; i < POINTS; i++) {
        const gm_operator_survey *h = &run[i].block.op[GM_HESSIAN];
        size_t cold = h->lead_start.cold + h->low_start.cold + options.probes;
        size_t tried = i == 1 ? before - before / 4 : 0;
        assert_true(h->converged);
        if (h->spent > cold + tried) fail_msg("%zu: %zu > %zu + %zu", i, h->spent, cold, tried);
        before = cold;
        assert_true(h->low_start.failures <= (i > 0)); /* none in a row where it was followed */
        if (i == 1) assert_int_equal(h->low_start.wait, h->low_start.failures);
    }
    for (size_t i = 0; i < POINTS; i++) {
        gm_decomposition_free(&run[i]);
    }
    close_fixture(&f);
}

/* --- the limit on products, the choice, refusals --- */

static bool stop_at(void *watch)
{
    size_t *left = watch;
    return (*left)-- == 0;
}

/* Interrupted in the middle of the second point: the first one is kept. */
static void interrupted_within(void **state)
{
    (void)state;
    enum { POINTS = 3 };
    gm_error err = {0};
    fixture f;
    open_fixture(&f, (setting){"mlp:8-12-5,act=tanh", 400, 0.5, GM_F64, false});
    path way = {.f = &f, .step = 1e-3};
    gm_decompose_options options = options_of(4);
    options.method = GM_DECOMPOSE_PRODUCTS;
    gm_decomposition whole = survey(&f, options, GM_DECOMPOSE_PRODUCTS), run[POINTS];
    size_t left = spent(&whole), finished = 9;
    options.stop = stop_at;
    options.watch = &left;
    gm_decompose_points points = {.count = POINTS, .self = &way, .at = walk};
    assert_int_equal(gm_decompose_run(f.problem, &points, &options, run, &finished, &err),
                     GM_ERR_INTERRUPTED);
    assert_int_equal(finished, 1);
    assert_true(run[0].block.residual_plus_hessian == whole.block.residual_plus_hessian);
    assert_null(run[1].block.op[GM_HESSIAN].value);
    gm_decomposition_free(&run[0]);
    left = 3; /* within the first one */
    assert_int_equal(gm_decompose_run(f.problem, &points, &options, run, &finished, &err),
                     GM_ERR_INTERRUPTED);
    assert_int_equal(finished, 0);
    gm_decomposition_free(&whole);
    close_fixture(&f);
}

static void cut_short(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, (setting){"mlp:10-20-5,act=tanh", 500, 0.5, GM_F64, false});
    gm_decompose_options options = options_of(10);
    options.max_products = 25;
    gm_decomposition result = survey(&f, options, GM_DECOMPOSE_PRODUCTS);
    const gm_operator_survey *h = &result.block.op[GM_HESSIAN];
    assert_false(h->converged);
    assert_false(h->below_known);
    assert_true(h->count < 11);
    assert_true(isfinite(h->summary.frobenius));
    gm_finding finding[GM_FINDINGS];
    assert_int_equal(gm_decompose_findings(1, &result, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[1].verdict, GM_UNDECIDED);
    gm_decomposition_free(&result);
    close_fixture(&f);
}

/* An error bar across the threshold leaves a finding undecided, either way. */
static void undecided_findings(void **state)
{
    (void)state;
    enum { K = 12 };
    double cosine[K], value[K + 1], residual[K + 1];
    bool resolved[K];
    for (size_t j = 0; j < K; j++) {
        cosine[j] = 0.95;
        resolved[j] = true;
    }
    for (size_t j = 0; j <= K; j++) {
        value[j] = (double)(K + 1 - j);
        residual[j] = 1e-4;
    }
    gm_decomposition point = {.step = 500, .loss = 0.01};
    gm_block_survey *b = &point.block;
    b->size = 400;
    b->products = true;
    b->angles = K;
    b->cosine = cosine;
    b->pair[0].k = K;
    b->pair[0].resolved = resolved;
    for (int i = 0; i < 2; i++) {
        gm_operator_survey *op = &b->op[i ? GM_MOMENT : GM_HESSIAN];
        *op = (gm_operator_survey){.products = true, .converged = true, .count = K + 1};
        op->lead_value = value;
        op->residual = residual;
    }
    b->residual_plus_hessian = 0.09;
    b->residual_plus_hessian_error = 0.001;
    b->op[GM_RESIDUAL].summary.frobenius = 1.0;
    b->op[GM_MOMENT].summary.frobenius = 0.09;
    gm_finding finding[GM_FINDINGS];
    assert_int_equal(gm_decompose_findings(1, &point, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[0].verdict, GM_HOLDS);
    close_to(finding[0].error, 0.001, 0.0);
    assert_int_equal(finding[1].verdict, GM_HOLDS);

    b->residual_plus_hessian_error = 0.005; /* 0.1 is two of them away */
    residual[0] = 0.2; /* spans turn by asin(0.2) each, from 18 degrees to more than 26 */
    assert_int_equal(gm_decompose_findings(1, &point, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[0].verdict, GM_UNDECIDED);
    assert_int_equal(finding[1].verdict, GM_UNDECIDED);

    b->residual_plus_hessian = 0.2;
    cosine[9] = cosine[10] = cosine[11] = 0.3;
    b->op[GM_HESSIAN].converged = false; /* pairs may be missing */
    assert_int_equal(gm_decompose_findings(1, &point, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[0].verdict, GM_DOES_NOT_HOLD);
    assert_int_equal(finding[1].verdict, GM_UNDECIDED);
    b->op[GM_HESSIAN].converged = true;
    assert_int_equal(gm_decompose_findings(1, &point, 0, finding, NULL), GM_OK);
    assert_int_equal(finding[1].verdict, GM_DOES_NOT_HOLD);
}

static void choice_and_refusals(void **state)
{
    (void)state;
    fixture f;
    /* Beyond the size up to which the eigensolver may form an operator. */
    open_fixture(&f, (setting){"mlp:60-80-5", 20, 0.5, GM_F32, false});
    gm_decompose_options good = options_of(2), options = good;
    gm_decomposition result;
    gm_error err = {0};

    size_t most = (size_t)24 * 5000 * 5000;
    assert_true(f.p > 5000);
    assert_int_equal(gm_decompose_choice(5000, &options), GM_DECOMPOSE_DENSE);
    assert_int_equal(gm_decompose_choice(5001, &options), GM_DECOMPOSE_PRODUCTS);
    options.memory = most - 1;
    assert_int_equal(gm_decompose_choice(5000, &options), GM_DECOMPOSE_PRODUCTS);
    assert_int_equal(gm_decompose_choice(4999, &options), GM_DECOMPOSE_DENSE);
    assert_true(gm_decompose_bytes(f.problem, &options, 1) < most);
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_OK);
    options.method = GM_DECOMPOSE_DENSE;
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_ERR_MEMORY);
    assert_non_null(strstr(err.message, "--method products"));
    options.method = GM_DECOMPOSE_PRODUCTS;
    options.memory = gm_decompose_bytes(f.problem, &options, 1);
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_OK);
    assert_int_equal(gm_decompose_check(f.problem, &options, 2, &err), GM_ERR_MEMORY);
    assert_non_null(strstr(err.message, "along a run"));
    options.memory--;
    assert_int_equal(gm_decompose(f.lin, &options, &result, &err), GM_ERR_MEMORY);

    options = good;
    options.tol = 0.5 * gm_eigen_floor(GM_F32);
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "noise floor"));
    options.tol = 2.0;
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_ERR_USAGE);
    options = good;
    options.probes = 1;
    options.method = GM_DECOMPOSE_PRODUCTS;
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_ERR_USAGE);
    options.method = GM_DECOMPOSE_DENSE;
    assert_int_equal(gm_decompose_check(f.problem, &options, 1, &err), GM_OK);
    close_fixture(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smooth_net),
        cmocka_unit_test(rectified_net),
        cmocka_unit_test(by_magnitude),
        cmocka_unit_test(two_classes_and_squares),
        cmocka_unit_test(layers),
        cmocka_unit_test(all_directions),
        cmocka_unit_test(single_precision),
        cmocka_unit_test(zero_gradient),
        cmocka_unit_test(errors_of_norms),
        cmocka_unit_test(equal_seeds),
        cmocka_unit_test(warm_starts),
        cmocka_unit_test(far_points),
        cmocka_unit_test(interrupted_within),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(undecided_findings),
        cmocka_unit_test(choice_and_refusals),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "survey_products");
}
