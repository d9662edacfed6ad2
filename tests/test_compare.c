/* Kendall's tau-b, its bootstrap and robust sign errors: worked out by hand, by enumeration of all
 * permutations and of all resamples, and by the coverage that an interval promises. */
#include <math.h>
#include <string.h>

#include "gradiometer/compare.h"
#include "gradiometer/random.h"
#include "support.h"

static void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s: found %.17g, expected %.17g", what, found, expected);
}

static void ok(gm_status status, const gm_error *err)
{
    if (status != GM_OK) fail_msg("unexpected: %s", err->message);
}

/* Exact up to one square root and one division. */
static const double rounding = 1e-15;

static void tau_by_hand(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, 4}, same[] = {0, 10, 20, 1e300}, back[] = {4, 3, 2, -1};
    near(gm_kendall_tau(4, x, same), 1.0, 0.0, "concordant");
    near(gm_kendall_tau(4, x, back), -1.0, 0.0, "discordant");
    /* Pairs (i, j): 12 C, 13 C, 14 C, 23 D, 24 C, 34 C: (5 - 1) / 6. */
    const double one_swap[] = {1, 3, 2, 4};
    near(gm_kendall_tau(4, x, one_swap), 4.0 / 6.0, rounding, "one swap");
    /* x ties 1 pair of 10, y ties 2: pairs by hand give C = 5, D = 2, 2 tied in y alone, 1 in x
     * alone: tau-b = 3 / sqrt(9 * 8). */
    const double tx[] = {1, 2, 2, 3, 4}, ty[] = {1, 1, 3, 3, 2};
    near(gm_kendall_tau(5, tx, ty), 3.0 / sqrt(72.0), rounding, "ties");
    /* C = 2, D = 0, one pair tied in y: 2 / sqrt(3 * 2). */
    const double three[] = {1, 2, 3}, tied[] = {1, 1, 2};
    near(gm_kendall_tau(3, three, tied), 2.0 / sqrt(6.0), rounding, "a tie in y");
    const double infinite[] = {-INFINITY, 0, 1, INFINITY};
    near(gm_kendall_tau(4, x, infinite), 1.0, 0.0, "infinities are ranked");
}

static void tau_undefined(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3}, flat[] = {5, 5, 5}, hole[] = {1, NAN, 2};
    assert_true(isnan(gm_kendall_tau(3, x, flat)));
    assert_true(isnan(gm_kendall_tau(3, flat, x)));
    assert_true(isnan(gm_kendall_tau(3, x, hole)));
    assert_true(isnan(gm_kendall_tau(1, x, x)));
    assert_true(isnan(gm_kendall_tau(0, x, x)));
}

/* Over all n! orders tau has mean 0 and variance 2 (2n + 5) / (9 n (n - 1)) (Kendall 1938). */
static void permute(size_t n, size_t k, double *y, double *sum, double *square, double *count)
{
    if (k == n) {
        double x[8];
        for (size_t i = 0; i < n; i++) {
            x[i] = (double)i;
        }
        double tau = gm_kendall_tau(n, x, y);
        *sum += tau;
        *square += tau * tau;
        *count += 1;
        return;
    }
    for (size_t i = k; i < n; i++) {
        double swap = y[k];
        y[k] = y[i], y[i] = swap;
        permute(n, k + 1, y, sum, square, count);
        swap = y[k];
        y[k] = y[i], y[i] = swap;
    }
}

static void tau_over_all_orders(void **state)
{
    (void)state;
    for (size_t n = 2; n <= 7; n++) {
        double y[8], sum = 0, square = 0, count = 0, m = (double)n;
        for (size_t i = 0; i < n; i++) {
            y[i] = (double)i;
        }
        permute(n, 0, y, &sum, &square, &count);
        near(sum / count, 0.0, 1e-12, "mean of tau");
        near(square / count, 2 * (2 * m + 5) / (9 * m * (m - 1)), 1e-12, "variance of tau");
    }
}

/* ---- bootstrap ---- */

/* Three rows, 27 resamples: tau takes the values 1, -1, 1/3 and none with known shares, of which
 * 2000 drawn resamples show theirs within five standard errors; the interval at a level between two
 * shares then ends at known values. x = 1 2 3, y = 1 3 2: all three rows (6 of 27): 1/3; two
 * different rows, one of them twice (18 of 27): the sign of that pair, 12 times 1 and 6 times -1;
 * one row three times (3 of 27): none. */
static void bootstrap_by_enumeration(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3}, y[] = {1, 3, 2};
    gm_error err;
    gm_rank rank;
    gm_rank_options o;
    gm_rank_options_default(&o);
    o.resamples = 20000;
    for (uint64_t seed = 0; seed < 3; seed++) {
        o.seed = seed;
        ok(gm_rank_correlate(3, x, y, NULL, &o, &rank, &err), &err);
        near(rank.tau, 1.0 / 3.0, rounding, "tau");
        double se = sqrt(3.0 / 27.0 * 24.0 / 27.0 / 20000.0);
        near((double)rank.undefined / 20000.0, 3.0 / 27.0, 5 * se, "share without tau");
        near(rank.low, -1.0, 0.0, "2.5 % lie at -1");
        near(rank.high, 1.0, 0.0, "2.5 % lie at 1");
        /* -1 in 6 of 24: the quantile 0.2 is -1, 0.3 is 1/3; 1 in 12 of 24: 0.7 is 1. */
        o.level = 0.6;
        ok(gm_rank_correlate(3, x, y, NULL, &o, &rank, &err), &err);
        near(rank.low, -1.0, 0.0, "quantile 0.2");
        near(rank.high, 1.0, 0.0, "quantile 0.8");
        o.level = 0.4;
        ok(gm_rank_correlate(3, x, y, NULL, &o, &rank, &err), &err);
        near(rank.low, 1.0 / 3.0, rounding, "quantile 0.3");
        o.level = 0.95;
    }
}

/* Replicates: three settings of four equal rows each are three rows. Numbers that no row has leave
 * nothing behind. */
static void bootstrap_of_clusters(void **state)
{
    (void)state;
    double x[12], y[12];
    size_t cluster[12];
    const double one_x[] = {1, 2, 3}, one_y[] = {1, 3, 2};
    for (size_t i = 0; i < 12; i++) {
        x[i] = one_x[i % 3];
        y[i] = one_y[i % 3];
        cluster[i] = 2 + 4 * (i % 3);
    }
    gm_error err;
    gm_rank single, clustered, rows;
    gm_rank_options o;
    gm_rank_options_default(&o);
    ok(gm_rank_correlate(3, one_x, one_y, NULL, &o, &single, &err), &err);
    ok(gm_rank_correlate(12, x, y, cluster, &o, &clustered, &err), &err);
    ok(gm_rank_correlate(12, x, y, NULL, &o, &rows, &err), &err);
    assert_int_equal(clustered.clusters, 3);
    assert_int_equal(rows.clusters, 12);
    near(clustered.tau, single.tau, rounding, "copies tie with each other only");
    assert_int_equal(clustered.undefined, single.undefined);
    near(clustered.low, single.low, rounding, "low");
    near(clustered.high, single.high, rounding, "high");
    assert_true(rows.high - rows.low < clustered.high - clustered.low);
}

/* tau of a bivariate normal with correlation r is 2/pi asin r: the 95 % interval of n = 40 covers
 * it in 80 of 100 data sets at least (expected 95, less what the bootstrap loses at this n; 80 is
 * five standard deviations of Binomial(100, 0.93) below). */
static void interval_covers(void **state)
{
    (void)state;
    enum { SETS = 100, N = 40 };
    const double r = 0.5, truth = 2.0 / acos(-1.0) * asin(r);
    int covered = 0;
    gm_error err;
    gm_rank_options o;
    gm_rank_options_default(&o);
    o.resamples = 300;
    for (uint32_t s = 0; s < SETS; s++) {
        double z[2 * N], y[N];
        gm_rank rank;
        gm_normal_fill(gm_stream_of(5, GM_PURPOSE_TEST, s), 0, (size_t)2 * N, z);
        for (size_t i = 0; i < N; i++) {
            y[i] = r * z[i] + sqrt(1 - r * r) * z[N + i];
        }
        o.seed = s;
        ok(gm_rank_correlate(N, z, y, NULL, &o, &rank, &err), &err);
        covered += rank.low <= truth && truth <= rank.high;
    }
    assert_in_range(covered, 80, 100);
}

static void bootstrap_refusals(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3};
    const size_t cluster[] = {0, 3, 1};
    gm_error err;
    gm_rank rank;
    gm_rank_options o;
    gm_rank_options_default(&o);
    assert_int_equal(gm_rank_correlate(3, x, x, cluster, &o, &rank, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "cluster 3 of row 1"));
    o.level = 1.0;
    assert_int_equal(gm_rank_correlate(3, x, x, NULL, &o, &rank, &err), GM_ERR_USAGE);
    gm_rank_options_default(&o);
    o.resamples = 0;
    assert_int_equal(gm_rank_correlate(3, x, x, NULL, &o, &rank, &err), GM_ERR_USAGE);
    gm_rank_options_default(&o);
    const double flat[] = {1, 1, 1};
    ok(gm_rank_correlate(3, x, flat, NULL, &o, &rank, &err), &err);
    assert_true(isnan(rank.tau) && isnan(rank.low) && isnan(rank.high));
    assert_int_equal(rank.undefined, o.resamples);
}

/* ---- robust scores ---- */

/* 1 - 2 exp(-n d^2 / 2), squared: n = 10000, d = 0.04 gives (1 - 2 e^-8)^2. */
static void certainty(void **state)
{
    (void)state;
    near(gm_sign_certainty(0.04, 10000), pow(1 - 2 * exp(-8.0), 2), rounding, "n d^2 / 2 = 8");
    near(gm_sign_certainty(-0.04, 10000), pow(1 - 2 * exp(-8.0), 2), rounding, "either sign");
    near(gm_sign_certainty(0.0, 10000), 0.0, 0.0, "no difference");
    near(gm_sign_certainty(0.01, 1000), 0.0, 0.0, "within the noise: 2 exp(-0.05) > 1");
}

/* Two settings of two levels, one run each, 10^8 test samples so that every certainty is 1. Rows:
 * (0,0) gap 0.1, (0,1) gap 0.2, (1,0) gap 0.3, (1,1) gap 0.5. */
static const size_t grid[] = {0, 0, 0, 1, 1, 0, 1, 1};
static const double gaps[] = {0.1, 0.2, 0.3, 0.5};
static const double many[] = {1e8, 1e8, 1e8, 1e8};
static const gm_run_table table = {4, 2, grid, gaps, many};

static void robust_by_hand(void **state)
{
    (void)state;
    gm_error err;
    gm_robust r;
    /* Right about the first setting, wrong about the second at one of two places: errors 0, 1/2. */
    const double measure[] = {1, 2, 4, 3};
    ok(gm_robust_scores(&table, measure, 0.5, &r, &err), &err);
    assert_int_equal(r.environments, 2);
    assert_int_equal(r.pairs, 4);
    assert_int_equal(r.kept, 4);
    assert_int_equal(r.environment[0].setting, 0);
    near(r.environment[0].error, 0.0, 0.0, "first setting");
    near(r.environment[1].error, 0.5, 1e-12, "second setting");
    near(r.mean, 0.25, 1e-12, "mean");
    near(r.worst, 0.5, 1e-12, "worst");
    assert_int_equal(r.worst_at, 1);
    gm_robust_free(&r);
    /* A measure that is always equal is a coin. */
    const double flat[] = {1, 1, 1, 1};
    ok(gm_robust_scores(&table, flat, 0.5, &r, &err), &err);
    near(r.mean, 0.5, 1e-12, "coin");
    near(r.worst, 0.5, 1e-12, "coin");
    gm_robust_free(&r);
}

/* Replicates multiply pairs; rows that differ in both settings make none; NaN takes a row out. */
static void robust_pairs(void **state)
{
    (void)state;
    gm_error err;
    gm_robust r;
    const size_t level[] = {0, 0, 0, 0, 1, 0, 1, 2};
    const double measure[] = {1, 2, 3, 4}, hole[] = {1, NAN, 3, 4};
    gm_run_table t = {4, 2, level, gaps, many};
    ok(gm_robust_scores(&t, measure, 0.5, &r, &err), &err);
    /* (row 0, row 2), (row 1, row 2) in the first, (row 2, row 3) in the second setting */
    assert_int_equal(r.pairs, 3);
    assert_int_equal(r.environments, 2);
    assert_int_equal(r.environment[0].pairs, 2);
    assert_int_equal(r.environment[1].low, 0);
    assert_int_equal(r.environment[1].high, 2);
    gm_robust_free(&r);
    ok(gm_robust_scores(&t, hole, 0.5, &r, &err), &err);
    assert_int_equal(r.pairs, 2);
    gm_robust_free(&r);
}

/* With 1000 test samples the difference 0.1 is certain to (1 - 2 e^-5)^2 = 0.973, 0.2 to more, so
 * that a limit of 0.98 leaves two pairs; with 10 none is certain at all, and nothing is said. */
static void robust_noise(void **state)
{
    (void)state;
    gm_error err;
    gm_robust r;
    const double measure[] = {1, 2, 4, 3}, some[] = {1000, 1000, 1e6, 1000}, few[] = {10, 9, 10, 9};
    gm_run_table t = {4, 2, grid, gaps, some};
    ok(gm_robust_scores(&t, measure, 0.98, &r, &err), &err);
    assert_int_equal(r.pairs, 4);
    assert_int_equal(r.kept, 3); /* 0.1 against 0.2 is left out */
    double a = gm_sign_certainty(0.2, 1000), b = gm_sign_certainty(0.3, 1000);
    near(r.worst, 1.0, 1e-12, "the pair of the second setting that is left is wrong");
    near(r.mean, a / (2 * a + b), 1e-12, "weighted by certainty");
    gm_robust_free(&r);
    t.samples = few;
    ok(gm_robust_scores(&t, measure, 0.5, &r, &err), &err);
    assert_int_equal(r.kept, 0);
    assert_true(isnan(r.mean) && isnan(r.worst));
    gm_robust_free(&r);
    assert_int_equal(gm_robust_scores(&t, measure, 1.5, &r, &err), GM_ERR_USAGE);
    gm_robust_free(&r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tau_by_hand),           cmocka_unit_test(tau_undefined),
        cmocka_unit_test(tau_over_all_orders),   cmocka_unit_test(bootstrap_by_enumeration),
        cmocka_unit_test(bootstrap_of_clusters), cmocka_unit_test(interval_covers),
        cmocka_unit_test(bootstrap_refusals),    cmocka_unit_test(certainty),
        cmocka_unit_test(robust_by_hand),        cmocka_unit_test(robust_pairs),
        cmocka_unit_test(robust_noise),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "compare");
}
