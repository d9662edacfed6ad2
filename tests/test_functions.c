/* Elementwise functions of every instruction set in both precisions against long double: values by
 * formulas of the C library's long double functions, derivatives by differences of those values;
 * and what they give at the ends of their range. */
#include "kernel_arrays.h"

#include <float.h>
#include <omp.h>

typedef struct function_case {
    const char *name;
    gm_function f;
    double low, high; /* of the points */
    double step;      /* of the differences, in units of 0.001 */
    double scale;     /* size of value and derivatives */
} function_case;

static const function_case cases[] = {
    {"affine", {GM_UNARY_AFFINE, -1.5, 0.75}, -12, 12, 1, 20},
    {"abs", {GM_UNARY_ABS, 0, 0}, -12, 12, 1, 12},
    {"clip", {GM_UNARY_CLIP, -2, 3}, -12, 12, 1, 3},
    {"hard sigmoid", {GM_UNARY_HARD_SIGMOID, 0.25, 0.5}, -12, 12, 1, 1},
    {"leaky", {GM_UNARY_LEAKY, 0.25, 0}, -12, 12, 1, 12},
    {"threshold", {GM_UNARY_THRESHOLD, 1, 0}, -12, 12, 1, 12},
    {"exp", {GM_UNARY_EXP, 0, 0}, -8, 3, 1, 20},
    {"log", {GM_UNARY_LOG, 0, 0}, 0.3, 12, 0.3, 12},
    {"sqrt", {GM_UNARY_SQRT, 0, 0}, 0.3, 12, 0.3, 4},
    {"reciprocal", {GM_UNARY_RECIPROCAL, 0, 0}, 0.4, 12, 0.3, 40},
    {"power 2", {GM_UNARY_POWER, 2, 0}, -5, 5, 1, 25},
    {"power 3", {GM_UNARY_POWER, 3, 0}, -5, 5, 1, 125},
    {"power 0", {GM_UNARY_POWER, 0, 0}, -5, 5, 1, 1},
    {"power 1", {GM_UNARY_POWER, 1, 0}, -5, 5, 1, 5},
    {"power 4.5", {GM_UNARY_POWER, 4.5, 0}, 0.5, 3, 1, 200},
    {"power -2", {GM_UNARY_POWER, -2, 0}, 0.5, 5, 0.3, 100},
    {"erf", {GM_UNARY_ERF, 0, 0}, -5, 5, 1, 2},
    {"sin", {GM_UNARY_SIN, 0, 0}, -12, 12, 1, 1},
    {"cos", {GM_UNARY_COS, 0, 0}, -12, 12, 1, 1},
    {"elu", {GM_UNARY_ELU, 0.7, 1.5}, -12, 12, 1, 18},
    {"celu", {GM_UNARY_CELU, 0.5, 0}, -12, 12, 1, 12},
    {"softsign", {GM_UNARY_SOFTSIGN, 0, 0}, -12, 12, 1, 2},
    {"silu", {GM_UNARY_SILU, 0, 0}, -12, 12, 1, 12},
    {"gelu_tanh", {GM_UNARY_GELU_TANH, 0, 0}, -12, 12, 1, 12},
    {"hard swish", {GM_UNARY_HARD_SWISH, 0, 0}, -12, 12, 1, 12},
    {"mish", {GM_UNARY_MISH, 0, 0}, -12, 12, 1, 12},
};
enum { CASES = sizeof cases / sizeof *cases, POINTS = 701 };

static long double clamp(long double x, long double low, long double high)
{
    return x < low ? low : x > high ? high : x;
}

static long double value_of(const gm_function *f, long double x)
{
    long double a = f->a, b = f->b;
    switch (f->function) {
    case GM_UNARY_AFFINE:
        return a * x + b;
    case GM_UNARY_ABS:
        return fabsl(x);
    case GM_UNARY_CLIP:
        return clamp(x, a, b);
    case GM_UNARY_HARD_SIGMOID:
        return clamp(a * x + b, 0, 1);
    case GM_UNARY_LEAKY:
        return x > 0 ? x : a * x;
    case GM_UNARY_THRESHOLD:
        return x > a ? x : 0;
    case GM_UNARY_EXP:
        return expl(x);
    case GM_UNARY_LOG:
        return logl(x);
    case GM_UNARY_SQRT:
        return sqrtl(x);
    case GM_UNARY_RECIPROCAL:
        return 1 / x;
    case GM_UNARY_POWER:
        return powl(x, a);
    case GM_UNARY_ERF:
        return erfl(x);
    case GM_UNARY_SIN:
        return sinl(x);
    case GM_UNARY_COS:
        return cosl(x);
    case GM_UNARY_ELU:
        return b * (x > 0 ? x : a * expm1l(x));
    case GM_UNARY_CELU:
        return x > 0 ? x : a * expm1l(x / a);
    case GM_UNARY_SOFTSIGN:
        return x / (1 + fabsl(x));
    case GM_UNARY_SILU:
        return x / (1 + expl(-x));
    case GM_UNARY_GELU_TANH:
        return x / 2 * (1 + tanhl(sqrtl(2 / acosl(-1)) * (x + 0.044715L * x * x * x)));
    case GM_UNARY_HARD_SWISH:
        return x * clamp(x + 3, 0, 6) / 6;
    case GM_UNARY_MISH:
        return x * tanhl(log1pl(expl(x)));
    default:
        return 0;
    }
}

/* Five-point differences with h = 0.001 (times step): error h^4 / 30 times a fifth derivative, of
 * order `scale` here, and rounding of 1e-19 / h^2. */
static long double slope_of(const function_case *c, long double x)
{
    const long double h = 0.001L * c->step;
    const gm_function *f = &c->f;
    return (8 * (value_of(f, x + h) - value_of(f, x - h)) -
            (value_of(f, x + 2 * h) - value_of(f, x - 2 * h))) /
           (12 * h);
}

static long double curve_of(const function_case *c, long double x)
{
    const long double h = 0.001L * c->step;
    const gm_function *f = &c->f;
    return (16 * (value_of(f, x + h) + value_of(f, x - h)) -
            (value_of(f, x + 2 * h) + value_of(f, x - 2 * h)) - 30 * value_of(f, x)) /
           (12 * h * h);
}

/* Spread over the range, at least 0.02 from every whole number, where the kinks are. */
static double point(const function_case *c, size_t i)
{
    double x = c->low + (c->high - c->low) * ((double)i + 0.37) / POINTS;
    double whole = floor(x);
    return whole + 0.02 + 0.96 * (x - whole);
}

/* Functions to 4 units in the last place and a few roundings, beside their size: 16 eps; the
 * derivatives' differences 1e-9 of it (worst where the sixth derivative is large: reciprocals). */
static void check_function(const gm_kernels *k, const function_case *c)
{
    const double eps = gm_dtype_eps(k->dtype);
    void *x = new_array(k, POINTS, 0), *y = new_array(k, POINTS, 0), *u = new_normal(k, POINTS, 1);
    void *xdot = new_normal(k, POINTS, 2), *s = new_normal(k, POINTS, 3);
    void *sum = new_array(k, POINTS, 0.5), *out = new_array(k, POINTS, (double)NAN);
    for (size_t i = 0; i < POINTS; i++) {
        put(k, x, i, point(c, i));
    }
    k->unary_value(&c->f, POINTS, x, y);
    const void *read = gm_unary_reads_out(c->f.function) ? y : x;
    k->unary_backward(&c->f, POINTS, 1, read, u, NULL, s, false, out);
    for (size_t i = 0; i < POINTS; i++) {
        long double at = (long double)get(k, x, i);
        double value = (double)value_of(&c->f, at), slope = (double)slope_of(c, at);
        check_near(k, c->name, i, get(k, y, i), value, 16 * eps * (fabs(value) + 0.1));
        check_near(k, c->name, i, get(k, out, i), slope * get(k, u, i),
                   (32 * eps + 1e-9) * (c->scale + fabs(slope)) * (1 + fabs(get(k, u, i))));
    }
    k->unary_backward(&c->f, POINTS, 1, read, u, xdot, s, true, sum);
    for (size_t i = 0; i < POINTS; i++) {
        double bend = get(k, xdot, i) * get(k, s, i);
        double curve = (double)curve_of(c, (long double)get(k, x, i));
        check_near(k, c->name, i, get(k, sum, i), 0.5 + get(k, out, i) + curve * bend,
                   (64 * eps + 1e-8) * (c->scale + fabs(curve)) * (1 + fabs(bend)));
    }
    memcpy(sum, u, POINTS * k->size);
    k->unary_backward(&c->f, POINTS, 1, read, sum, NULL, NULL, false, sum);
    assert_memory_equal(sum, out, POINTS * k->size);
    k->unary_value(&c->f, POINTS, x, x);
    assert_memory_equal(x, y, POINTS * k->size);
    void *arrays[] = {x, y, u, xdot, s, sum, out};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        check_sentinels(k, POINTS, arrays[i]);
        free(arrays[i]);
    }
}

static void check_functions(const gm_kernels *k)
{
    for (size_t i = 0; i < CASES; i++) {
        check_function(k, &cases[i]);
    }
}

static void unary_functions(void **state)
{
    (void)state;
    for_each_table(check_functions);
}

/* What the sigmoid-like functions tend to, with finite derivatives; infinities of log, sqrt and
 * 1/x; NaN stays NaN. */
static void check_ends(const gm_kernels *k)
{
    const gm_unary bounded[] = {GM_UNARY_ERF,       GM_UNARY_SOFTSIGN, GM_UNARY_SILU,
                                GM_UNARY_GELU_TANH, GM_UNARY_MISH,     GM_UNARY_HARD_SWISH,
                                GM_UNARY_ELU,       GM_UNARY_CELU};
    const double far[] = {50, 1e4, 1e30}, limit[] = {-1, -1, 0, 0, 0, 0, -1, -1};
    for (size_t i = 0; i < sizeof bounded / sizeof *bounded; i++) {
        gm_function f = {bounded[i], 1, 1};
        for (int j = 0; j < 6; j++) {
            double v = j < 3 ? far[j] : -far[j - 3], one = j < 3 ? (i < 2 ? 1 : v) : limit[i];
            void *x = new_array(k, 1, v), *y = new_array(k, 1, 0), *u = new_array(k, 1, 1);
            k->unary_value(&f, 1, x, y);
            check_near(k, "far out", i, get(k, y, 0), one,
                       bounded[i] == GM_UNARY_SOFTSIGN ? 0.02 : 1e-6 * fabs(one) + 1e-19);
            k->unary_backward(&f, 1, 1, x, u, u, u, false, y);
            double slope = j >= 3 || i < 2 ? 0 : 1;
            check_near(k, "slope far out", i, get(k, y, 0), slope, 0.001);
            free(x);
            free(y);
            free(u);
        }
    }
    const gm_function edge[] = {
        {GM_UNARY_LOG, 0, 0}, {GM_UNARY_SQRT, 0, 0}, {GM_UNARY_RECIPROCAL, 0, 0}};
    for (int i = 0; i < 3; i++) {
        void *x = new_array(k, 1, 0), *y = new_array(k, 1, 0), *u = new_array(k, 1, 1);
        k->unary_value(&edge[i], 1, x, y);
        double value = i == 1 ? 0 : i == 0 ? -(double)INFINITY : (double)INFINITY;
        assert_true(get(k, y, 0) == value);
        k->unary_backward(&edge[i], 1, 1, i ? y : x, u, NULL, NULL, false, u);
        assert_true(isinf(get(k, u, 0)));
        free(x);
        free(y);
        free(u);
    }
    for (int i = 0; i < GM_UNARIES; i++) {
        gm_function f = {(gm_unary)i, 1, 2};
        void *x = new_array(k, 3, 1), *y = new_array(k, 3, 0);
        put(k, x, 1, (double)NAN);
        k->unary_value(&f, 3, x, y);
        if (!isnan(get(k, y, 1)) || isnan(get(k, y, 2))) fail_msg("function %d of NaN", i);
        free(x);
        free(y);
    }
}

/* Slopes at kinks: those of the header. */
static void check_kinks(const gm_kernels *k)
{
    const gm_function f[] = {{GM_UNARY_ABS, 0, 0},       {GM_UNARY_CLIP, 0, 1},
                             {GM_UNARY_CLIP, -1, 0},     {GM_UNARY_LEAKY, 0.25, 0},
                             {GM_UNARY_THRESHOLD, 0, 0}, {GM_UNARY_ELU, 0.5, 1}};
    const double slope[] = {0, 0, 0, 0.25, 0, 0.5};
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
        void *x = new_array(k, 1, 0), *y = new_array(k, 1, 0), *u = new_array(k, 1, 1);
        k->unary_value(&f[i], 1, x, y);
        k->unary_backward(&f[i], 1, 1, gm_unary_reads_out(f[i].function) ? y : x, u, NULL, NULL,
                          false, u);
        check_near(k, "slope at a kink", i, get(k, u, 0), slope[i], 0);
        free(x);
        free(y);
        free(u);
    }
}

static void ends(void **state)
{
    (void)state;
    for_each_table(check_ends);
    for_each_table(check_kinks);
}

/* Enough numbers for a second thread: [out, 6 parts] of what the kernels give. */
enum { ROWS = 300, WIDTH = 257, MANY = ROWS * WIDTH };

static void everything_large(const gm_kernels *k, const void *x, const void *u, char *out)
{
    const gm_function silu = {GM_UNARY_SILU, 0, 0};
    const size_t bytes = MANY * k->size;
    gm_broadcast g = {.rank = 1, .dim = {WIDTH}, .step = {{1}, {1}}, .size = WIDTH};
    double inverse[ROWS];
    g.operand[0] = g.operand[1] = WIDTH;
    k->unary_value(&silu, MANY, x, out);
    k->unary_backward(&silu, MANY, 1, x, u, u, u, false, out + bytes);
    k->binary_value(GM_BINARY_MUL, &g, ROWS, x, u, out + 2 * bytes);
    k->binary_backward(GM_BINARY_DIV, &g, 1, ROWS, 1, u, x, u, false, out + 3 * bytes);
    k->softmax_value(false, ROWS, WIDTH, 1, x, out + 4 * bytes);
    k->standardize(ROWS, WIDTH, 0.1, x, out + 5 * bytes, inverse);
    k->softmax_bend(false, ROWS, WIDTH, 1, out + 4 * bytes, x, u, out + bytes);
    k->standardize_slope(ROWS, WIDTH, out + 5 * bytes, inverse, u, true, out + 2 * bytes);
}

/* Two threads give the bits of one. */
static void threads(void **state)
{
    (void)state;
    int before = omp_get_max_threads();
    for (int dtype = GM_F32; dtype <= GM_F64; dtype++) {
        const gm_kernels *k = gm_kernels_get((gm_dtype)dtype);
        void *x = new_normal(k, MANY, 1), *u = new_normal(k, MANY, 2);
        char *one = new_array(k, 6 * MANY, 0), *two = new_array(k, 6 * MANY, 0);
        omp_set_num_threads(1);
        everything_large(k, x, u, one);
        omp_set_num_threads(2);
        everything_large(k, x, u, two);
        assert_memory_equal(one, two, 6 * MANY * k->size);
        free(x);
        free(u);
        free(one);
        free(two);
    }
    omp_set_num_threads(before);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unary_functions),
        cmocka_unit_test(ends),
        cmocka_unit_test(threads),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "functions");
}
