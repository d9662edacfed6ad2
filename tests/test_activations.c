/* Activations and their derivatives against long double: values by formulas of the C library's long
 * double functions, derivatives by differences of those values, which know nothing of ours. */
#include "kernel_arrays.h"

#include <float.h>

static const gm_activation all[] = {GM_ACT_IDENTITY, GM_ACT_RELU,    GM_ACT_LEAKY_RELU,
                                    GM_ACT_TANH,     GM_ACT_SIGMOID, GM_ACT_SOFTPLUS,
                                    GM_ACT_GELU};
enum { ALL = sizeof all / sizeof *all, POINTS = 777 };

static bool has_kink(gm_activation act)
{
    return act == GM_ACT_RELU || act == GM_ACT_LEAKY_RELU;
}

static bool reads_z(gm_activation act)
{
    return act == GM_ACT_SOFTPLUS || act == GM_ACT_GELU;
}

static long double value_of(gm_activation act, long double z)
{
    switch (act) {
    case GM_ACT_RELU:
        return z > 0 ? z : 0;
    case GM_ACT_LEAKY_RELU:
        return z > 0 ? z : 0.01L * z;
    case GM_ACT_TANH:
        return tanhl(z);
    case GM_ACT_SIGMOID:
        return z < 0 ? expl(z) / (1 + expl(z)) : 1 / (1 + expl(-z));
    case GM_ACT_SOFTPLUS:
        return z > 0 ? z + log1pl(expl(-z)) : log1pl(expl(z));
    case GM_ACT_GELU:
        return z * erfcl(-z * sqrtl(0.5L)) / 2;
    default:
        return z;
    }
}

/* Five-point differences with h = 0.001: error h^4 / 30 times the fifth derivative (below 20 for
 * these functions), 1e-12, and 1e-16 of rounding. */
static long double slope_of(gm_activation act, long double z)
{
    const long double h = 0.001L;
    return (8 * (value_of(act, z + h) - value_of(act, z - h)) -
            (value_of(act, z + 2 * h) - value_of(act, z - 2 * h))) /
           (12 * h);
}

/* The same for the second derivative: error h^4 / 90 times the sixth (below 150), 2e-12. */
static long double curve_of(gm_activation act, long double z)
{
    const long double h = 0.001L;
    return (16 * (value_of(act, z + h) + value_of(act, z - h)) -
            (value_of(act, z + 2 * h) + value_of(act, z - 2 * h)) - 30 * value_of(act, z)) /
           (12 * h * h);
}

/* Points from -12 to 12, none within 0.01 of a kink, none on a round number. */
static double point(size_t i)
{
    double z = -12 + 24 * ((double)i + 0.37) / POINTS;
    return fabs(z) < 0.01 ? 0.0123 : z;
}

static void *new_points(const gm_kernels *k)
{
    void *z = new_array(k, POINTS, 0);
    for (size_t i = 0; i < POINTS; i++) {
        put(k, z, i, point(i));
    }
    return z;
}

/* Library functions to 4 units in the last place, four roundings more; in the tail of gelu the
 * rounding of its argument -z / sqrt(2) is magnified by z^2. */
static double relative_error(const gm_kernels *k, gm_activation act, double z)
{
    return gm_dtype_eps(k->dtype) * (8 + (act == GM_ACT_GELU ? z * z : 0));
}

static void check_values(const gm_kernels *k)
{
    double tiny = k->dtype == GM_F32 ? (double)FLT_MIN : DBL_MIN; /* below: fewer digits */
    for (size_t a = 0; a < ALL; a++) {
        void *z = new_points(k), *out = new_array(k, POINTS, 0);
        put(k, z, 0, 0.0);
        put(k, z, 1, -1e4);
        put(k, z, 2, 1e4);
        put(k, z, 3, 1e-9);
        put(k, z, 4, -3e-5);
        put(k, z, 5, -87);
        put(k, z, 6, 31);
        k->act_value(all[a], POINTS, z, out);
        for (size_t i = 0; i < POINTS; i++) {
            double x = get(k, z, i), expected = (double)value_of(all[a], (long double)x);
            check_near(k, gm_activation_name(all[a]), i, get(k, out, i), expected,
                       relative_error(k, all[a], x) * fabs(expected) + tiny);
        }
        check_sentinels(k, POINTS, out);
        void *same = copy_array(k, POINTS, z);
        k->act_value(all[a], POINTS, same, same);
        assert_memory_equal(same, out, POINTS * k->size);
        /* a number's value does not depend on its place */
        for (size_t i = 0; i < POINTS; i += 13) {
            k->act_value(all[a], 1, (char *)z + i * k->size, same);
            assert_memory_equal(same, (char *)out + i * k->size, k->size);
        }
        put(k, z, 3, (double)NAN);
        put(k, z, 300, (double)NAN);
        k->act_value(all[a], POINTS, z, out);
        assert_true(isnan(get(k, out, 3)) && isnan(get(k, out, 300)));
        free(z);
        free(out);
        free(same);
    }
}

/* Derivatives are of order 1: rounding absolute, and the error of the differences. */
static double derivative_limit(const gm_kernels *k, double size)
{
    return (30 * gm_dtype_eps(k->dtype) + 1e-11) * size;
}

static void check_slopes(const gm_kernels *k)
{
    void *z = new_points(k), *a = new_array(k, POINTS, 0), *u = new_normal(k, POINTS, 1);
    for (size_t s = 0; s < ALL; s++) {
        gm_activation act = all[s];
        void *out = new_array(k, POINTS, (double)NAN), *sum = new_normal(k, POINTS, 2);
        void *before = copy_array(k, POINTS, sum), *same = copy_array(k, POINTS, u);
        k->act_value(act, POINTS, z, a);
        /* what the contract says is not read is not given */
        const void *only_z = reads_z(act) ? z : NULL, *only_a = reads_z(act) ? NULL : a;
        k->act_slope(act, POINTS, only_z, only_a, u, false, out);
        k->act_slope(act, POINTS, only_z, only_a, u, true, sum);
        k->act_slope(act, POINTS, z, a, same, false, same);
        for (size_t i = 0; i < POINTS; i++) {
            double direction = get(k, u, i), x = get(k, z, i);
            double expected = (double)slope_of(act, (long double)x) * direction;
            double limit = derivative_limit(k, 1 + fabs(direction));
            check_near(k, gm_activation_name(act), i, get(k, out, i), expected, limit);
            check_near(k, gm_activation_name(act), i, get(k, sum, i), get(k, before, i) + expected,
                       limit + 8 * gm_dtype_eps(k->dtype));
        }
        assert_memory_equal(same, out, POINTS * k->size);
        check_sentinels(k, POINTS, out);
        check_sentinels(k, POINTS, sum);
        free(out);
        free(sum);
        free(before);
        free(same);
    }
    free(z);
    free(a);
    free(u);
}

static void check_curves(const gm_kernels *k)
{
    void *z = new_points(k), *a = new_array(k, POINTS, 0), *u = new_normal(k, POINTS, 1);
    void *zdot = new_normal(k, POINTS, 2), *signal = new_normal(k, POINTS, 3);
    for (size_t s = 0; s < ALL; s++) {
        gm_activation act = all[s];
        void *out = new_array(k, POINTS, (double)NAN), *sum = new_normal(k, POINTS, 4);
        void *before = copy_array(k, POINTS, sum), *slope = new_array(k, POINTS, 0);
        k->act_value(act, POINTS, z, a);
        const void *only_z = reads_z(act) ? z : NULL, *only_a = reads_z(act) ? NULL : a;
        k->act_curve(act, POINTS, only_z, only_a, u, zdot, signal, false, out);
        k->act_curve(act, POINTS, only_z, only_a, u, zdot, signal, true, sum);
        for (size_t i = 0; i < POINTS; i++) {
            long double x = (long double)get(k, z, i);
            double bend = get(k, zdot, i) * get(k, signal, i);
            double expected = (double)slope_of(act, x) * get(k, u, i);
            if (!has_kink(act)) expected += (double)curve_of(act, x) * bend;
            double limit = derivative_limit(k, 1 + fabs(get(k, u, i)) + fabs(bend));
            check_near(k, gm_activation_name(act), i, get(k, out, i), expected, limit);
            check_near(k, gm_activation_name(act), i, get(k, sum, i), get(k, before, i) + expected,
                       limit + 8 * gm_dtype_eps(k->dtype));
        }
        check_sentinels(k, POINTS, out);
        /* without tangent or signal the second derivative has no part */
        k->act_slope(act, POINTS, z, a, u, false, slope);
        k->act_curve(act, POINTS, z, a, u, NULL, signal, false, out);
        assert_memory_equal(out, slope, POINTS * k->size);
        k->act_curve(act, POINTS, z, a, u, zdot, NULL, false, out);
        assert_memory_equal(out, slope, POINTS * k->size);
        free(out);
        free(sum);
        free(before);
        free(slope);
    }
    free(z);
    free(a);
    free(u);
    free(zdot);
    free(signal);
}

/* Theory section 1: phi'(0) = 0 for relu, the slope for leaky_relu; -0 is 0. */
static void check_kinks(const gm_kernels *k)
{
    void *z = new_array(k, 40, 0), *a = new_array(k, 40, 0), *u = new_array(k, 40, 3);
    put(k, z, 1, -0.0);
    for (size_t s = 0; s < ALL; s++) {
        void *out = new_array(k, 40, 1);
        k->act_value(all[s], 40, z, a);
        k->act_slope(all[s], 40, z, a, u, false, out);
        if (all[s] == GM_ACT_RELU) {
            check_near(k, "relu at 0", 0, get(k, out, 0), 0, 0);
            check_near(k, "relu at -0", 1, get(k, out, 1), 0, 0);
        }
        if (all[s] == GM_ACT_LEAKY_RELU) {
            check_near(k, "leaky_relu at 0", 0, get(k, out, 0), 0.03, gm_dtype_eps(k->dtype));
            check_near(k, "leaky_relu at -0", 1, get(k, out, 1), 0.03, gm_dtype_eps(k->dtype));
        }
        free(out);
    }
    free(z);
    free(a);
    free(u);
}

/* Far out the derivatives are what they tend to, and finite, though z^2 and exp(|z|) overflow. */
static void check_far_out(const gm_kernels *k)
{
    const double far[] = {50, 800, 1e4, 1e30};
    for (size_t s = 0; s < ALL; s++) {
        bool bounded = all[s] == GM_ACT_TANH || all[s] == GM_ACT_SIGMOID;
        double left = all[s] == GM_ACT_IDENTITY ? 1 : all[s] == GM_ACT_LEAKY_RELU ? 0.01 : 0;
        for (size_t i = 0; i < 8; i++) {
            double x = i % 2 ? -far[i / 2] : far[i / 2];
            void *z = new_array(k, 1, x), *a = new_array(k, 1, 0), *one = new_array(k, 1, 1);
            void *slope = new_array(k, 1, 0), *curve = new_array(k, 1, 0);
            k->act_value(all[s], 1, z, a);
            k->act_slope(all[s], 1, z, a, one, false, slope);
            k->act_curve(all[s], 1, z, a, one, one, one, false, curve);
            double expected = x < 0 ? left : bounded ? 0 : 1;
            /* sigmoid'(50) = 2e-22 */
            check_near(k, "slope far out", i, get(k, slope, 0), expected, gm_dtype_eps(k->dtype));
            check_near(k, "curve far out", i, get(k, curve, 0), expected, gm_dtype_eps(k->dtype));
            assert_true(isfinite(get(k, a, 0)));
            free(z);
            free(a);
            free(one);
            free(slope);
            free(curve);
        }
    }
}

static void test_values(void **state)
{
    (void)state;
    for_each_table(check_values);
}

static void test_slopes(void **state)
{
    (void)state;
    for_each_table(check_slopes);
}

static void test_curves(void **state)
{
    (void)state;
    for_each_table(check_curves);
}

static void test_kinks(void **state)
{
    (void)state;
    for_each_table(check_kinks);
    for_each_table(check_far_out);
}

static void test_names(void **state)
{
    (void)state;
    gm_activation act;
    for (size_t i = 0; i < ALL; i++) {
        const char *name = gm_activation_name(all[i]);
        assert_true(gm_activation_parse(name, strlen(name), &act));
        assert_int_equal(act, all[i]);
        assert_false(gm_activation_parse(name, strlen(name) - 1, &act));
    }
    assert_true(gm_activation_parse("relu,bias=no", 4, &act)); /* a word of a longer text */
    assert_int_equal(act, GM_ACT_RELU);
    assert_false(gm_activation_parse("", 0, &act));
    assert_false(gm_activation_parse("Relu", 4, &act));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_slopes), cmocka_unit_test(test_curves),
        cmocka_unit_test(test_kinks),  cmocka_unit_test(test_names),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "activations");
}
