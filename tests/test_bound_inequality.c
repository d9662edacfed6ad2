/* kl inversion and the forms of the bound: against bisection in long double, published
 * certificates, direct evaluation and enumeration. */
#include "support.h"

#include <math.h>

#include "gradiometer/bound.h"

static void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("%s: found %.17g, expected %.17g within %.3g", what, found, expected, tolerance);
    }
}

/* The textbook formula, as it stands. */
static long double coin(long double q, long double p)
{
    long double sum = 0.0L;
    if (q > 0.0L) sum += q * logl(q / p);
    if (q < 1.0L) sum += (1.0L - q) * logl((1.0L - q) / (1.0L - p));
    return sum;
}

/* The largest p with coin(q, p) <= c, by halving. */
static long double bisect(long double q, long double c)
{
    long double low = q, high = 1.0L;
    for (int i = 0; i < 200; i++) {
        long double middle = 0.5L * (low + high);
        if (coin(q, middle) <= c) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Bisection's own accuracy: the formula cancels, so that its value is good to a few eps of long
 * double, 1e-19, and p to that over its slope (p - q)/(p (1 - p)). */
static void check_inverse(double q, double c)
{
    long double expected = bisect((long double)q, (long double)c);
    double found = gm_kl_inverse_upper(q, c);
    near(found, (double)expected, 1e-12, "upper inverse");
    assert_true(found >= q && found <= 1.0);
    near(gm_kl_inverse_lower(1.0 - q, c), 1.0 - (double)expected, 1e-12, "lower inverse");
}

static void test_inverse(void **state)
{
    static const double risks[] = {0.0,  1e-300, 1e-12, 1e-6,  0.001,      0.0166, 0.1,
                                   0.25, 0.5,    0.75,  0.999, 1.0 - 1e-9, 1.0};
    static const double divergences[] = {0.0, 1e-3, 1.0, 71.9, 731.99, 1e5, 1e9};
    (void)state;
    for (size_t i = 0; i < sizeof risks / sizeof *risks; i++) {
        for (size_t j = 0; j < sizeof divergences / sizeof *divergences; j++) {
            for (double n = 1.0; n < 2e9; n *= 10.0) {
                check_inverse(risks[i], (divergences[j] + log(2.0 * sqrt(n) / 0.05)) / n);
            }
        }
    }
}

static void test_inverse_ends(void **state)
{
    (void)state;
    near(gm_kl_inverse_upper(0.0, 1e-9), 1e-9 - 0.5e-18, 1e-24, "q = 0");
    near(gm_kl_inverse_upper(0.3, 0.0), 0.3, 0.0, "c = 0");
    near(gm_kl_inverse_upper(0.3, (double)INFINITY), 1.0, 0.0, "c infinite");
    near(gm_kl_inverse_upper(1.0, 0.1), 1.0, 0.0, "q = 1");
    near(gm_kl_inverse_lower(0.0, 0.1), 0.0, 0.0, "q = 0, lower");
    assert_true(isnan(gm_kl_inverse_upper(-0.1, 0.1)));
    assert_true(isnan(gm_kl_inverse_upper(0.1, -0.1)));
    assert_true(isnan(gm_kl_inverse_upper((double)NAN, 0.1)));
    assert_true(isinf(gm_kl_coin(0.5, 1.0)) && isinf(gm_kl_coin(0.5, 0.0)));
    near(gm_kl_coin(0.0, 0.0), 0.0, 0.0, "kl(0 || 0)");
    near(gm_kl_coin(1.0, 1.0), 0.0, 0.0, "kl(1 || 1)");
}

/* kl of near coins is d^2 / (2 q (1 - q)) (1 + O(d)): the textbook formula in double has no digit
 * left there. */
static void test_near_coins(void **state)
{
    double q = 0.25, d = 0x1p-40;
    (void)state;
    near(gm_kl_coin(q, q + d) / (d * d / (2.0 * q * (1.0 - q))), 1.0, 1e-11, "ratio");
    near(gm_kl_inverse_upper(q, gm_kl_coin(q, q + d)) - q, d, 1e-15, "there and back");
}

/* Perez-Ortiz et al. 2021 print such certificates: n = 30,000, delta = 0.025, no Monte Carlo term;
 * printed to six digits from risks of six and divergences of two decimals. */
static void test_published(void **state)
{
    static const double certificate[][3] = {
        {0.0166, 731.99, 0.062142}, {0.0182, 709.21, 0.063923}, {0.009167, 268.77, 0.028715},
        {0.023867, 71.9, 0.036880}, {0.011867, 10.0, 0.016208}, {0.0217, 154.77, 0.040571}};
    (void)state;
    for (size_t i = 0; i < sizeof certificate / sizeof *certificate; i++) {
        double found = gm_bound_kl(certificate[i][0], certificate[i][1], 30000, 1, 0.025);
        near(found, certificate[i][2], 1e-6, "certificate");
    }
}

static void test_monotone(void **state)
{
    double last = 1.0;
    (void)state;
    for (size_t n = 10; n <= 100000000; n *= 10) {
        double bound = gm_bound_kl(0.05, 100.0, n, 7, 0.05);
        assert_true(bound < last || last == 1.0);
        assert_true(bound > 0.05);
        last = bound;
    }
    assert_true(gm_bound_kl(0.05, 100.0, 1000, 7, 0.05) > gm_bound_kl(0.05, 100.0, 1000, 1, 0.05));
    assert_true(gm_bound_kl(0.05, 100.0, 1000, 1, 0.01) > gm_bound_kl(0.05, 100.0, 1000, 1, 0.05));
}

static void test_catoni(void **state)
{
    double risk = 0.05, kl = 200.0, n = 5000.0, delta = 0.02, least = 1e9;
    gm_catoni found, best;
    (void)state;
    gm_bound_catoni_best(risk, kl, 5000, 7, delta, &best);
    for (int k = 0; k < GM_CATONI_BETAS; k++) {
        double beta = exp(-pow(2.0, (k - 12) / 2.0));
        double c = (kl + log(7.0 * GM_CATONI_BETAS / delta)) / n;
        double exact = (1.0 - exp(-log(1.0 / beta) * risk - c)) / (1.0 - beta);
        double linear = log(1.0 / beta) / (1.0 - beta) * risk + 1.0 / (1.0 - beta) * c;
        gm_bound_catoni(risk, kl, 5000, 7 * (size_t)GM_CATONI_BETAS, delta, beta, &found);
        /* 1 - exp and 1 - beta lose up to six bits at the smallest exponents */
        near(found.bound, exact, 1e-13 / (1.0 - beta), "Catoni");
        near(found.linear, linear, 1e-13 / (1.0 - beta), "linear form");
        near(found.a * risk + found.b * c, found.linear, 1e-14, "its coefficients");
        assert_true(found.bound <= found.linear);
        least = fmin(least, exact);
    }
    near(best.bound, least, 1e-12, "the best of the grid");
}

/* Maurer's sum_k C(n, k) (k/n)^k (1 - k/n)^(n-k) <= 2 sqrt(n), which he proves for n >= 8. */
static void test_constant_of_few_samples(void **state)
{
    (void)state;
    for (int n = 1; n <= 20; n++) {
        double sum = 0.0, choose = 1.0;
        for (int k = 0; k <= n; k++) {
            double share = (double)k / n;
            sum += choose * pow(share, k) * pow(1.0 - share, n - k);
            choose = choose * (n - k) / (k + 1);
        }
        assert_true(sum <= 2.0 * sqrt(n) * (1.0 + 1e-14)); /* equal at n = 1 */
    }
}

/* A divergence of a hundred nats a sample ends at 1 but for rounding: that says nothing. */
static void test_vacuous(void **state)
{
    (void)state;
    assert_true(gm_bound_nonvacuous(0.999));
    assert_true(gm_bound_nonvacuous(gm_bound_kl(0.1, 20.0 * 1000, 1000, 1, 0.05)));
    for (double nats = 30.0; nats < 1000.0; nats *= 1.3) {
        assert_false(gm_bound_nonvacuous(gm_bound_kl(0.1, nats * 1000, 1000, 1, 0.05)));
    }
    assert_false(gm_bound_nonvacuous(1.0 - 4e-16));
    assert_false(gm_bound_nonvacuous((double)NAN));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inverse),    cmocka_unit_test(test_inverse_ends),
        cmocka_unit_test(test_near_coins), cmocka_unit_test(test_published),
        cmocka_unit_test(test_monotone),   cmocka_unit_test(test_vacuous),
        cmocka_unit_test(test_catoni),     cmocka_unit_test(test_constant_of_few_samples),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "bound_inequality");
}
