/* E[f(theta_{t+1}) | theta_t] - f(theta_t) by draws, with and without a diagonal divisor, against
 * the exact conditional expectation: an enumeration of all mini-batches of a small set in a second
 * implementation (reference.h). */
#include "support.h"

#include <math.h>
#include <string.h>

#include "gradiometer/dynamics.h"
#include "problems.h"

enum { N = 8, M = 2, P = 64, DRAWS = 150, REPEATS = 100 };

static const test_case net = {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, N, 0.8};

/* Mean of f(theta - eta D^-1 g_B) - f(theta) over all batches of two; d NULL: D = I. */
static double expected_rise(const test_problem *t, bool distinct, double eta, const double *d)
{
    static double row[N * P];
    double start = ref_gradients(&net.ref, t->theta, &t->ref, row), sum = 0, count = 0, moved[P];
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < N; k++) {
            if (distinct && i == k) continue;
            for (size_t j = 0; j < t->p; j++) {
                double g = 0.5 * (row[i * t->p + j] + row[k * t->p + j]);
                moved[j] = t->theta[j] - eta * g / (d ? d[j] : 1);
            }
            sum += ref_gradients(&net.ref, moved, &t->ref, NULL) - start;
            count++;
        }
    }
    return sum / count;
}

typedef struct law {
    gm_replacement replacement;
    bool scaled;
    double eta;
} law;

/* The last one raises the loss in expectation. */
static const law laws[] = {{GM_REPLACEMENT_YES, false, 0.1},
                           {GM_REPLACEMENT_NO, false, 0.1},
                           {GM_REPLACEMENT_YES, true, 0.05},
                           {GM_REPLACEMENT_NO, true, 0.05},
                           {GM_REPLACEMENT_YES, false, 8}};

static void draws_against_enumeration(void **state)
{
    (void)state;
    static double delta[DRAWS];
    test_problem t;
    gm_error err;
    double divisor[P];
    test_problem_open(&t, &net, GM_F64, 0, 0);
    for (size_t j = 0; j < t.p; j++) {
        divisor[j] = 0.3 + gm_uniform(gm_stream_of(7, GM_PURPOSE_TEST, 0), j);
    }
    for (size_t l = 0; l < sizeof laws / sizeof *laws; l++) {
        const law *here = &laws[l];
        gm_draw_options o;
        gm_draw_options_default(&o);
        o.batch = M;
        o.step = here->eta;
        o.replacement = here->replacement;
        o.divisor = here->scaled ? divisor : NULL;
        o.draws = DRAWS;
        double exact =
            expected_rise(&t, here->replacement == GM_REPLACEMENT_NO, here->eta, o.divisor);
        assert_true((exact > 0) == (here->eta > 1));
        size_t below = 0;
        double mean = 0, square = 0;
        for (uint64_t r = 0; r < REPEATS; r++) {
            gm_rise rise;
            o.first = r * DRAWS;
            expect_ok(gm_step_draw(t.problem, t.theta, &o, delta, &err), &err);
            gm_rise_of(DRAWS, delta, &rise);
            assert_true(rise.ok == (rise.upper <= 0));
            below += rise.upper < exact;
            mean += rise.mean / REPEATS;
            square += rise.std_error * rise.std_error / REPEATS;
        }
        /* 15,000 draws: within 4.5 standard errors (7e-6). */
        double error = sqrt(square / REPEATS);
        if (!(fabs(mean - exact) <= 4.5 * error))
            fail_msg("law %zu: mean %g +- %g, expected %g", l, mean, error, exact);
        /* The limit lies below the truth in 2.5 % of 100 repeats: at most 9 but for 3e-4
         * (binomial), three more for the skewness of Delta. */
        if (below > 12)
            fail_msg("law %zu: the limit is below the expectation in %zu of %d", l, below, REPEATS);
    }
    test_problem_close(&t);
}

static void summaries(void **state)
{
    (void)state;
    static const double fall[] = {-1, -2, -3, -2, -2}, wild[] = {-5, -5, (double)INFINITY, -5};
    gm_rise rise;
    gm_rise_of(5, fall, &rise);
    assert_true(fabs(rise.mean + 2) < 1e-15 && rise.infinite == 0);
    /* Variance 1/2, over 5 draws; Student's 97.5 % quantile with 4 degrees of freedom is 2.776,
     * which the library has to 1e-3. */
    assert_true(fabs(rise.std_error - sqrt(0.1)) < 1e-15);
    assert_true(fabs(rise.upper - (-2 + 2.776 * sqrt(0.1))) < 1e-3 && rise.ok);
    gm_rise_of(4, wild, &rise);
    assert_true(rise.infinite == 1 && isinf(rise.mean) && isinf(rise.upper) && !rise.ok);
}

/* The whole set, drawn without replacement, has no noise. */
static void without_noise(void **state)
{
    (void)state;
    double delta[3], moved[P], after;
    test_problem t;
    gm_error err;
    gm_rise rise;
    gm_draw_options o;
    test_problem_open(&t, &net, GM_F64, 0, 0);
    gm_draw_options_default(&o);
    o.batch = N;
    o.draws = 3;
    o.replacement = GM_REPLACEMENT_NO;
    expect_ok(gm_step_draw(t.problem, t.theta, &o, delta, &err), &err);
    gm_rise_of(3, delta, &rise);
    for (size_t j = 0; j < t.p; j++) {
        moved[j] = t.theta[j] - o.step * gm_linearization_gradient(t.lin)[j];
    }
    expect_ok(gm_problem_value(t.problem, moved, &after, NULL, &err), &err);
    assert_true(fabs(rise.mean - (after - gm_linearization_loss(t.lin))) < 1e-14);
    assert_true(rise.std_error < 1e-15 && rise.ok);
    test_problem_close(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_against_enumeration),
        cmocka_unit_test(summaries),
        cmocka_unit_test(without_noise),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "rise");
}
