/* Numbers near the ends of their range: features and weights of 1e150 and 1e-150, a softmax
 * saturated until its probabilities underflow, equal logits, overflow and NaN. */
#include "support.h"

#include "gradiometer/survey.h"
#include "problems.h"

typedef struct scene {
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    gm_linearization *lin;
    size_t p;
} scene;

static scene open_scene(const char *spec, size_t n, size_t in, size_t classes, const double *x,
                        const int32_t *label, gm_dtype dtype, const double *theta)
{
    gm_error err = {0};
    scene s = {0};
    gm_shape shape = {.rank = 1, .dim = {in}};
    gm_problem_options options;
    gm_problem_options_default(&options);
    expect_ok(gm_net_from_spec(spec, &shape, 0, &s.net, &err), &err);
    expect_ok(
        gm_data_from_arrays("scene", n, &shape, x, label, NULL, 0, dtype, classes, &s.data, &err),
        &err);
    expect_ok(gm_problem_create(s.net, s.data, &options, &s.problem, &err), &err);
    expect_ok(gm_linearize(s.problem, theta, &s.lin, &err), &err);
    s.p = gm_net_parameters(s.net);
    return s;
}

static void close_scene(scene *s)
{
    gm_linearization_free(s->lin);
    gm_problem_free(s->problem);
    gm_dataset_free(s->data);
    gm_net_free(s->net);
}

static void products(const scene *s, gm_curvature kind, size_t count, const double *v, double *av)
{
    gm_error err = {0};
    gm_operator op;
    expect_ok(gm_curvature_operator(s->lin, kind, GM_ALL_LAYERS, &op, &err), &err);
    expect_ok(gm_operator_apply(&op, count, v, av, &err), &err);
    gm_operator_destroy(&op);
}

/* Largest |a - b| over the largest |b|; infinity where a is not finite. */
static double distance(size_t n, const double *a, const double *b)
{
    double top = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        top = fmax(top, fabs(b[i]));
        worst = isfinite(a[i]) ? fmax(worst, fabs(a[i] - b[i])) : (double)INFINITY;
    }
    return top > 0 ? worst / top : worst;
}

/* --- powers of two ---------------------------------------------------------------------------- */

enum { N = 5, IN = 3, FIRST = 12, P = 24 }; /* mlp:3-4-3 without biases: 12 weights a layer */

/* a[i] times 2^(-power) for the first layer's coordinates, times 2^(-power) again for columns. */
static void scale_back(int power, double *matrix)
{
    for (int i = 0; i < P * P; i++) {
        matrix[i] = ldexp(matrix[i], (i / P < FIRST ? -power : 0) + (i % P < FIRST ? -power : 0));
    }
}

static const char small_net[] = "mlp:3-4-3,act=tanh,bias=no";
static const int32_t small_label[N] = {0, 1, 2, 1, 0};

/* x to 20 bits after the point: exact in both precisions. (A cast to float and back will not do:
 * gcc 12 -O3 drops some of those of a loop that it unrolls.) */
static double short_number(double x)
{
    return nearbyint(x * 0x1p20) * 0x1p-20;
}

/* Features times 2^power, the first layer's weights times 2^-power: the same function. */
static scene open_scaled(int power, gm_dtype dtype)
{
    double x[N * IN], theta[P];
    gm_normal_fill(gm_stream_of(9, GM_PURPOSE_TEST, 0), 0, N * IN, x);
    gm_normal_fill(gm_stream_of(9, GM_PURPOSE_TEST, 1), 0, P, theta);
    for (int i = 0; i < N * IN; i++) {
        x[i] = ldexp(short_number(x[i]), power);
    }
    for (int i = 0; i < P; i++) {
        theta[i] = ldexp(short_number(theta[i]), i < FIRST ? -power : 0);
    }
    return open_scene(small_net, N, IN, 3, x, small_label, dtype, theta);
}

static void compare_scaled(const scene *plain, const scene *far, int power, double tolerance)
{
    double expected[P * P], found[P * P], diagonal[P], eye[P * P] = {0};
    for (int i = 0; i < P; i++) {
        eye[i * P + i] = 1;
    }
    for (int k = 0; k < GM_CURVATURES; k++) {
        gm_error err = {0};
        gm_curvature kind = (gm_curvature)k;
        expect_ok(gm_curvature_dense(plain->lin, kind, GM_ALL_LAYERS, expected, &err), &err);
        expect_ok(gm_curvature_dense(far->lin, kind, GM_ALL_LAYERS, found, &err), &err);
        scale_back(power, found);
        assert_at_most(distance(P * P, found, expected), tolerance, "dense %d 2^%d", k, power);
        products(plain, kind, P, eye, expected);
        products(far, kind, P, eye, found);
        scale_back(power, found);
        assert_at_most(distance(P * P, found, expected), tolerance, "products %d 2^%d", k, power);
        expect_ok(gm_curvature_diagonal(plain->lin, kind, GM_ALL_LAYERS, expected, &err), &err);
        expect_ok(gm_curvature_diagonal(far->lin, kind, GM_ALL_LAYERS, diagonal, &err), &err);
        for (int i = 0; i < FIRST; i++) {
            diagonal[i] = ldexp(diagonal[i], -2 * power);
        }
        assert_at_most(distance(P, diagonal, expected), tolerance, "diagonal %d 2^%d", k, power);
    }
}

/* The function stays as it is, each first-layer row and column of an operator is multiplied by
 * 2^power. A power of two rounds nothing: the matrices agree to a rounding or two, which another
 * order of summation might bring. Single precision squares features in its diagonals and stays
 * away from 2^64. */
static void scaled_features(void **state)
{
    (void)state;
    const struct {
        int power;
        gm_dtype dtype;
    } cases[] = {{200, GM_F64}, {500, GM_F64}, {-200, GM_F64}, {-500, GM_F64},
                 {30, GM_F32},  {60, GM_F32},  {-30, GM_F32},  {-50, GM_F32}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scene plain = open_scaled(0, cases[i].dtype),
              far = open_scaled(cases[i].power, cases[i].dtype);
        compare_scaled(&plain, &far, cases[i].power, cases[i].dtype == GM_F64 ? 1e-15 : 1e-6);
        close_scene(&plain);
        close_scene(&far);
    }
}

/* The survey where squares of H's entries overflow, 2^500: its quotients are those of the first
 * layer's block, beside which the others are 2^-500; 1e-12 for sums over 144 entries. */
static void survey_of_scaled_features(void **state)
{
    (void)state;
    enum { POWER = 500 };
    gm_error err = {0};
    scene plain = open_scaled(0, GM_F64), far = open_scaled(POWER, GM_F64);
    double h[FIRST * FIRST], m[FIRST * FIRST];
    expect_ok(gm_curvature_dense(plain.lin, GM_HESSIAN, 0, h, &err), &err);
    expect_ok(gm_curvature_dense(plain.lin, GM_MOMENT, 0, m, &err), &err);
    double ratio = norm_of(FIRST * FIRST, m) / norm_of(FIRST * FIRST, h);
    double slope = ldexp(norm_of(FIRST, gm_linearization_gradient(plain.lin)), POWER);

    gm_decompose_options options;
    gm_decompose_options_default(&options);
    gm_decomposition result;
    expect_ok(gm_decompose(far.lin, &options, &result, &err), &err);
    assert_at_most(fabs(result.block.residual_plus_hessian / ratio - 1), 1e-12, "H_p + H = M");
    assert_at_most(fabs(result.gradient_norm / slope - 1), 1e-13, "norm of the gradient");
    assert_at_most(result.block.decomposition_error, 1e-14, "decomposition");
    assert_true(result.block.decomposition_error > 0); /* measured, not lost in infinity */
    gm_decomposition_free(&result);
    close_scene(&plain);
    close_scene(&far);
}

/* --- softmax ---------------------------------------------------------------------------------- */

/* Logits (margin, 0, 0) of one sample x = 1: p_0 = 1 / (1 + 2e), the others e / (1 + 2e), with e =
 * exp(-margin); 1 - p_0 = 2 p_1, without a subtraction. */
static void closed_form(double margin, int label, double *h, double *m)
{
    double e = exp(-margin), p[3] = {1 / (1 + 2 * e), e / (1 + 2 * e), e / (1 + 2 * e)};
    double rest[3] = {2 * p[1], p[0] + p[2], p[0] + p[1]}; /* 1 - p */
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            h[3 * i + j] = i == j ? p[i] * rest[i] : -p[i] * p[j];
            m[3 * i + j] = (i == label ? -rest[i] : p[i]) * (j == label ? -rest[j] : p[j]);
        }
    }
}

/* Surely right, M falls like (1 - p)^2 and H like 1 - p; surely wrong, M stays and H vanishes; all
 * of it with the relative accuracy of the precision, as long as the numbers themselves exist (a
 * weight of 745 leaves the least number above zero). */
static void saturated_softmax(void **state)
{
    (void)state;
    const struct {
        double margin;
        gm_dtype dtype;
        int label;
        double tolerance;
    } cases[] = {{20, GM_F64, 0, 1e-14},  {20, GM_F64, 1, 1e-14},  {300, GM_F64, 0, 1e-14},
                 {300, GM_F64, 2, 1e-14}, {340, GM_F64, 0, 1e-14}, {700, GM_F64, 1, 1e-14},
                 {10000, GM_F64, 0, 0},   {10000, GM_F64, 1, 0},   {0, GM_F64, 1, 1e-15},
                 {0, GM_F32, 0, 1e-6},    {20, GM_F32, 0, 1e-6},   {40, GM_F32, 0, 1e-6},
                 {80, GM_F32, 1, 1e-6},   {10000, GM_F32, 0, 0}};
    const double x = 1, eye[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double margin = cases[i].margin, theta[3] = {margin, 0, 0}, expected[2][9], found[9];
        const int32_t label = cases[i].label;
        const gm_curvature kinds[] = {GM_HESSIAN, GM_MOMENT};
        gm_error err = {0};
        scene s = open_scene("mlp:1-3,bias=no", 1, 1, 3, &x, &label, cases[i].dtype, theta);
        double loss = log1p(2 * exp(-margin)) + (label ? margin : 0);
        assert_at_most(fabs(gm_linearization_loss(s.lin) - loss), 1e-14 * loss, "loss %g", margin);
        /* the first of equal logits is the prediction */
        assert_true(gm_linearization_error_rate(s.lin) == (label ? 1 : 0));
        closed_form(margin, label, expected[0], expected[1]);
        for (int k = 0; k < 2; k++) {
            double *a = expected[k];
            products(&s, kinds[k], 3, eye, found);
            assert_at_most(distance(9, found, a), cases[i].tolerance, "products %g", margin);
            expect_ok(gm_curvature_dense(s.lin, kinds[k], GM_ALL_LAYERS, found, &err), &err);
            assert_at_most(distance(9, found, a), cases[i].tolerance, "dense %g", margin);
            double diagonal[3] = {a[0], a[4], a[8]};
            expect_ok(gm_curvature_diagonal(s.lin, kinds[k], GM_ALL_LAYERS, found, &err), &err);
            assert_at_most(distance(3, found, diagonal), cases[i].tolerance, "diagonal %g", margin);
        }
        close_scene(&s);
    }
}

/* --- what is not a number --------------------------------------------------------------------- */

/* Logits of +infinity at the label: infinity - infinity is no loss of 0 and no NaN. */
static void overflowing_loss(void **state)
{
    (void)state;
    const double x = 1e200, theta[2] = {1e200, 0};
    const int32_t label = 0;
    double loss = 0, rate = 0, gradient[2];
    gm_error err = {0};
    scene s = open_scene("mlp:1-2,bias=no", 1, 1, 2, &x, &label, GM_F64, theta);
    assert_true(gm_linearization_loss(s.lin) == (double)INFINITY);
    expect_ok(gm_problem_value(s.problem, theta, &loss, &rate, &err), &err);
    assert_true(loss == (double)INFINITY);
    loss = 0;
    expect_ok(gm_problem_gradient(s.problem, theta, &loss, NULL, gradient, &err), &err);
    assert_true(loss == (double)INFINITY);
    close_scene(&s);
}

/* Squares of the features overflow in single precision: refused by name, for every operator that
 * squares them, and for differences. */
static void overflowing_diagonal(void **state)
{
    (void)state;
    const gm_curvature kinds[] = {GM_HESSIAN, GM_GGN, GM_MOMENT, GM_RESIDUAL};
    scene s = open_scaled(100, GM_F32);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        gm_error err = {0};
        double diagonal[P];
        assert_int_equal(gm_curvature_diagonal(s.lin, kinds[k], GM_ALL_LAYERS, diagonal, &err),
                         GM_ERR_NUMERIC);
        assert_non_null(strstr(err.message, "not finite"));
        expect_ok(gm_curvature_diagonal(s.lin, kinds[k], 1, diagonal, &err), &err);
    }
    close_scene(&s);
}

static void directions_that_are_no_numbers(void **state)
{
    (void)state;
    const double wrong[] = {(double)NAN, (double)INFINITY};
    scene s = open_scaled(0, GM_F64);
    for (int k = 0; k < GM_CURVATURES; k++) {
        for (int i = 0; i < 2; i++) {
            gm_error err = {0};
            gm_operator op;
            double v[2 * P] = {0}, av[2 * P];
            v[0] = 1;
            v[P + 7] = wrong[i];
            expect_ok(gm_curvature_operator(s.lin, (gm_curvature)k, GM_ALL_LAYERS, &op, &err),
                      &err);
            assert_int_equal(gm_operator_apply(&op, 2, v, av, &err), GM_ERR_NUMERIC);
            assert_non_null(strstr(err.message, "product 2 "));
            expect_ok(gm_operator_apply(&op, 1, v, av, &err), &err); /* nothing stays behind */
            gm_operator_destroy(&op);
        }
    }
    close_scene(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scaled_features),      cmocka_unit_test(survey_of_scaled_features),
        cmocka_unit_test(saturated_softmax),    cmocka_unit_test(overflowing_loss),
        cmocka_unit_test(overflowing_diagonal), cmocka_unit_test(directions_that_are_no_numbers),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "scales");
}
