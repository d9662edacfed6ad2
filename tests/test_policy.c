/* Step-size policies: their words; functions of time; each step of the others against its formula,
 * put together from per-sample gradients and dense Hessians of a second implementation and from
 * enumerations of all batches; the unbiasedness of the estimates by enumeration of all pairs of
 * half batches.
 *
 * Tolerances: in double both sides are sums of at most p^2 n terms, 1e-11 relative; L is lambda_max
 * + residual of a search to 1e-3 of |lambda|_max, so between lambda_max and 2e-3 |lambda|_max more.
 */
#include "policy_case.h"

#include <math.h>
#include <string.h>

#include "gradiometer/sgd.h"
#include "kernels/lapack.h"

static const test_case cases[] = {
    {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 8, 0.8},
    {"mlp:3-4-4-2,act=softplus,bias=no", {3, {3, 4, 4, 2}, REF_SOFTPLUS, false, false}, 7, 1.0},
    {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, true}, 6, 0.8},
};
enum { CASES = sizeof cases / sizeof *cases, P = 50, N = 8, M = 2 };

/* ---- words and time ---- */

static void test_words(void **state)
{
    (void)state;
    static const char *const same[] = {
        "0.1",
        "decay:0.25,every=500,factor=0.5",
        "cosine:0.3,final=0.01",
        "oracle:every=1,share=0.5,max=1,floor=0.001",
        "oracle-model:every=7,share=1,max=0.25,floor=0.001",
        "estimated:share=0.5,max=1,floor=0.001,memory=100",
        "estimated:every=40,share=0.9,max=3,floor=1e-05,memory=1",
    };
    static const char *const shorter[][2] = {
        {"oracle", "oracle:every=1,share=0.5,max=1,floor=0.001"},
        {"cosine:0.3", "cosine:0.3,final=0"},
        {"decay:.1,every=3", "decay:0.1,every=3,factor=0.1"},
    };
    static const char *const wrong[][2] = {
        {"0", "above 0"},
        {"-1", "above 0"},
        {"nan", "above 0"},
        {"inf", "above 0"},
        {"1e999", "above 0"},
        {"0.1x", "above 0"},
        {"", "above 0"},
        {"fixed", "above 0"},
        {"oracles", "above 0"},
        {"0.1:every=3", "above 0"},
        {"decay", "decay:ETA"},
        {"cosine", "cosine:ETA"},
        {"decay:0.1", "no every="},
        {"decay:0,every=3", "above 0"},
        {"decay:0.1,every=0", "whole number"},
        {"decay:0.1,every=2.5", "whole number"},
        {"decay:0.1,every=3,factor=0", "at most 1"},
        {"decay:0.1,every=3,factor=2", "at most 1"},
        {"decay:0.1,every=3,every=4", "twice"},
        {"decay:0.1,every=3,max=4", "every=, factor="},
        {"cosine:0.1,final=-1", "0 or more"},
        {"oracle:max=0", "above 0"},
        {"oracle:floor=0", "above 0"},
        {"oracle:share=1.5", "at most 1"},
        {"oracle:memory=3", "every=, share=, max=, floor="},
        {"oracle:max", "every=, share=, max=, floor="},
        {"oracle:", "every=, share=, max=, floor="},
        {"estimated:memory=0.5", "from 1"},
        {"0.1,oracle", "one policy"},
    };
    gm_policy policy;
    gm_error err;
    char text[GM_POLICY_TEXT];
    double step;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        expect_ok(gm_policy_parse(same[i], &policy, &step, &err), &err);
        gm_policy_print(&policy, step, text);
        assert_string_equal(text, same[i]);
        expect_ok(gm_policy_check(&policy, step, &err), &err);
    }
    for (size_t i = 0; i < sizeof shorter / sizeof *shorter; i++) {
        expect_ok(gm_policy_parse(shorter[i][0], &policy, &step, &err), &err);
        gm_policy_print(&policy, step, text);
        assert_string_equal(text, shorter[i][1]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        refused(gm_policy_parse(wrong[i][0], &policy, &step, &err), &err, wrong[i][1]);
        assert_non_null(strstr(err.message, "--step"));
    }
    /* Numbers that 15 digits do not tell apart come back to the bit. */
    double odd = nextafter(0.1, 1.0), again;
    gm_policy_default(GM_POLICY_FIXED, &policy);
    gm_policy_print(&policy, odd, text);
    expect_ok(gm_policy_parse(text, &policy, &again, &err), &err);
    assert_true(again == odd);
}

static void test_list(void **state)
{
    (void)state;
    const char *rest = "0.5,decay:0.1,every=5,factor=0.2,oracle:max=2,every=3,estimated,0.25";
    static const char *const parts[] = {"0.5", "decay:0.1,every=5,factor=0.2",
                                        "oracle:every=3,share=0.5,max=2,floor=0.001",
                                        "estimated:share=0.5,max=1,floor=0.001,memory=100", "0.25"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        gm_policy policy;
        gm_error err;
        char text[GM_POLICY_TEXT];
        double step;
        assert_non_null(rest);
        expect_ok(gm_policy_parse_list(rest, &policy, &step, &rest, &err), &err);
        gm_policy_print(&policy, step, text);
        assert_string_equal(text, parts[i]);
    }
    assert_null(rest);
}

static void test_time(void **state)
{
    (void)state;
    gm_policy policy = {0};
    near(gm_policy_step(&policy, 0.3, 70, 100), 0.3, 0, "fixed");
    policy = (gm_policy){.kind = GM_POLICY_DECAY, .every = 10, .factor = 0.5};
    near(gm_policy_step(&policy, 0.3, 9, 100), 0.3, 0, "decay, before the first drop");
    near(gm_policy_step(&policy, 0.3, 10, 100), 0.15, 1e-15, "decay, at the first drop");
    near(gm_policy_step(&policy, 0.3, 39, 100), 0.3 / 8, 1e-15, "decay, after three drops");
    policy = (gm_policy){.kind = GM_POLICY_COSINE, .final = 0.1};
    near(gm_policy_step(&policy, 0.3, 0, 99), 0.3, 1e-15, "cosine, start");
    near(gm_policy_step(&policy, 0.3, 33, 99), 0.1 + 0.2 * 0.75, 1e-15, "cosine, a third");
    near(gm_policy_step(&policy, 0.3, 99, 99), 0.1, 1e-15, "cosine, end");
}

/* ---- brute force ---- */

typedef struct brute {
    test_problem t;
    double row[N * P], mean[P], divisor[P], hessian[P * P];
} brute;

static void brute_open(brute *b, const test_case *c)
{
    test_problem_open(&b->t, c, GM_F64, 0, 0);
    assert_true(b->t.p <= P && c->n <= N);
    memset(b->mean, 0, sizeof b->mean);
    ref_gradients(&c->ref, b->t.theta, &b->t.ref, b->row);
    ref_matrix(&c->ref, b->t.theta, &b->t.ref, REF_H, b->hessian);
    for (size_t i = 0; i < c->n * b->t.p; i++) {
        b->mean[i % b->t.p] += b->row[i] / (double)c->n;
    }
    for (size_t j = 0; j < b->t.p; j++) {
        b->divisor[j] = 0.3 + gm_uniform(gm_stream_of(7, GM_PURPOSE_TEST, 0), j);
    }
}

static double largest(const brute *b, const double *theta, double *scale)
{
    static double matrix[P * P];
    double value[P];
    gm_error err;
    size_t p = b->t.p;
    ref_matrix(&b->t.c->ref, theta, &b->t.ref, REF_H, matrix);
    expect_ok(gm_symmetric_eigen(p, matrix, 0, 0, value, NULL, &err), &err);
    *scale = fmax(fabs(value[0]), fabs(value[p - 1]));
    return value[0];
}

/* mean over batches [count, m] of sum_j g_j^2 / D_j^2 and of (g/D).H (g/D); d NULL: D = I. */
static void batch_means(const brute *b, size_t count, size_t m, const size_t *index,
                        const double *d, double *square, double *form)
{
    size_t p = b->t.p;
    *square = *form = 0;
    for (size_t k = 0; k < count; k++) {
        double g[P] = {0};
        for (size_t i = 0; i < m; i++) {
            for (size_t j = 0; j < p; j++) {
                g[j] += b->row[index[k * m + i] * p + j] / (double)m / (d ? d[j] : 1);
            }
        }
        for (size_t i = 0; i < p; i++) {
            *square += g[i] * g[i] / (double)count;
            for (size_t j = 0; j < p; j++) {
                *form += g[i] * b->hessian[i * p + j] * g[j] / (double)count;
            }
        }
    }
}

/* Every ordered batch of m samples: index [*count, m]. */
static size_t all_batches(size_t n, size_t m, bool distinct, size_t *index)
{
    size_t total = 1, count = 0;
    for (size_t i = 0; i < m; i++) {
        total *= n;
    }
    for (size_t code = 0; code < total; code++) {
        bool good = true;
        size_t *batch = index + count * m, rest = code;
        for (size_t i = 0; i < m; i++, rest /= n) {
            batch[i] = rest % n;
            for (size_t j = 0; j < i; j++) {
                good = good && !(distinct && batch[j] == batch[i]);
            }
        }
        count += good;
    }
    return count;
}

enum { MOST = 2401 * 4 };

typedef struct variant {
    gm_replacement replacement;
    bool scaled; /* by a divisor */
} variant;

static const variant variants[] = {{GM_REPLACEMENT_YES, false},
                                   {GM_REPLACEMENT_NO, false},
                                   {GM_REPLACEMENT_YES, true},
                                   {GM_REPLACEMENT_NO, true}};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* ---- oracle ---- */

/* The oracle's choice and what it must come from; expected E f(theta - eta D^-1 g) - f(theta). */
static void check_oracle(const brute *b, const variant *v, const gm_policy *policy, bool model)
{
    static size_t index[MOST];
    const test_problem *t = &b->t;
    size_t n = t->c->n, p = t->p;
    const double *d = v->scaled ? b->divisor : NULL;
    gm_stepper *s;
    gm_step_choice c;
    gm_error err;
    double square = 0, trace, bend, scale, other;
    size_t count = all_batches(n, M, v->replacement == GM_REPLACEMENT_NO, index);
    for (size_t j = 0; j < p; j++) {
        square += b->mean[j] * b->mean[j] / (d ? d[j] : 1);
    }
    batch_means(b, count, M, index, d, &trace, &bend);
    expect_ok(gm_stepper_create(t->problem, policy, M, v->replacement, 3, 0, &s, &err), &err);
    expect_ok(gm_stepper_choose(s, 0, t->theta, d, &c, &err), &err);
    near(c.gradient_square, square, 1e-11, "mu.D^-1 mu");
    near(c.trace_moment, trace, 1e-11, "tr(D^-1 M_m D^-1)");
    bool by_model = model && bend > 0;
    if (model) near(c.trace_curvature, bend, 1e-10, "tr(D^-1 H D^-1 M_m)");
    if (!by_model) {
        double here = fmax(largest(b, t->theta, &scale), policy->floor), moved[P];
        double trial = fmin(policy->max, policy->share * 2 * square / (here * trace));
        for (size_t j = 0; j < p; j++) {
            moved[j] = t->theta[j] - trial * b->mean[j] / (d ? d[j] : 1);
        }
        double there = largest(b, moved, &other), most = fmax(here, there);
        scale = fmax(scale, other);
        /* The trial point itself moves with L of the first: by 2e-3 of the step. */
        if (!(c.curvature >= most * (1 - 2e-3) && c.curvature <= most + 5e-3 * scale))
            fail_msg("L: found %.17g, expected %.17g", c.curvature, most);
        assert_true(c.curvature >= policy->floor);
        bend = c.curvature * trace;
    }
    near(c.limit, 2 * square / bend, 1e-10, "eta_lim");
    near(c.step, fmin(policy->max, policy->share * c.limit), 0, "eta");
    assert_true(c.measured);

    double rise = 0, moved[P];
    for (size_t k = 0; k < count; k++) {
        double loss;
        for (size_t j = 0; j < p; j++) {
            double g = 0;
            for (size_t i = 0; i < M; i++) {
                g += b->row[index[k * M + i] * p + j] / M;
            }
            moved[j] = t->theta[j] - c.step * g / (d ? d[j] : 1);
        }
        loss = ref_gradients(&t->c->ref, moved, &t->ref, NULL);
        rise += (loss - gm_linearization_loss(t->lin)) / (double)count;
    }
    if (!by_model && !(rise < 0)) fail_msg("the loss rises by %g in expectation", rise);
    gm_stepper_free(s);
}

static void test_oracle(void **state)
{
    (void)state;
    static brute b;
    gm_policy policy, capped, floored, model;
    gm_policy_default(GM_POLICY_ORACLE, &policy);
    policy.max = 100;
    capped = floored = policy;
    capped.max = 1e-3;
    floored.floor = 50;
    gm_policy_default(GM_POLICY_ORACLE_MODEL, &model);
    for (int i = 0; i < CASES; i++) {
        brute_open(&b, &cases[i]);
        for (int v = 0; v < VARIANTS; v++) {
            check_oracle(&b, &variants[v], &policy, false);
            check_oracle(&b, &variants[v], &capped, false);
            check_oracle(&b, &variants[v], &floored, false);
            check_oracle(&b, &variants[v], &model, true);
        }
        test_problem_close(&b.t);
    }
}

/* Between measurements the step stays; a batch as large as the set has no noise. */
static void test_oracle_between(void **state)
{
    (void)state;
    static brute b;
    gm_policy policy;
    gm_stepper *s;
    gm_step_choice first, next;
    gm_error err;
    brute_open(&b, &cases[0]);
    gm_policy_default(GM_POLICY_ORACLE, &policy);
    policy.every = 2;
    expect_ok(gm_stepper_create(b.t.problem, &policy, N, GM_REPLACEMENT_NO, 0, 0, &s, &err), &err);
    expect_ok(gm_stepper_choose(s, 0, b.t.theta, NULL, &first, &err), &err);
    near(first.trace_moment, first.gradient_square, 1e-12, "tr M_n without replacement");
    b.t.theta[0] += 0.5;
    expect_ok(gm_stepper_choose(s, 1, b.t.theta, NULL, &next, &err), &err);
    assert_true(next.step == first.step && !next.measured);
    expect_ok(gm_stepper_choose(s, 2, b.t.theta, NULL, &next, &err), &err);
    assert_true(next.step != first.step && next.measured);
    gm_stepper_free(s);
    test_problem_close(&b.t);
}

/* ---- estimated ---- */

/* With memory 1 the means are the last batch's estimates: their mean over all batches. */
static void check_unbiased(const brute *b, const variant *v, size_t m)
{
    static size_t index[MOST];
    const test_problem *t = &b->t;
    const double *d = v->scaled ? b->divisor : NULL;
    size_t n = t->c->n, p = t->p;
    size_t count = all_batches(n, m, v->replacement == GM_REPLACEMENT_NO, index);
    double square = 0, trace, unused, expected = 0, moment = 0, gradient[P], plain[P];
    gm_policy policy;
    gm_stepper *s;
    gm_error err;
    assert_true(count * m <= MOST);
    gm_policy_default(GM_POLICY_ESTIMATED, &policy);
    policy.memory = 1;
    policy.every = 1000;
    for (size_t j = 0; j < p; j++) {
        expected += b->mean[j] * b->mean[j] / (d ? d[j] : 1);
    }
    batch_means(b, count, m, index, d, &trace, &unused);
    expect_ok(gm_stepper_create(t->problem, &policy, m, v->replacement, 3, 0, &s, &err), &err);
    for (size_t k = 0; k < count; k++) {
        gm_step_choice c;
        double loss, other;
        expect_ok(gm_stepper_gradient(s, 3, t->theta, m, index + k * m, d, &loss, gradient, &err),
                  &err);
        expect_ok(gm_stepper_choose(s, 3, t->theta, d, &c, &err), &err);
        square += c.gradient_square / (double)count;
        moment += c.trace_moment / (double)count;
        if (k % 97) continue;
        expect_ok(
            gm_problem_batch_gradient(t->problem, t->theta, m, index + k * m, &other, plain, &err),
            &err);
        near(loss, other, 1e-13, "loss of the batch");
        assert_at_most(relative_error(p, gradient, plain), 1e-13, "gradient of the batch");
    }
    near(square, expected, 1e-10, "mean estimate of mu.D^-1 mu");
    near(moment, trace, 1e-10, "mean estimate of tr(D^-1 M_m D^-1)");
    gm_stepper_free(s);
}

static void test_unbiased(void **state)
{
    (void)state;
    static brute b;
    for (int i = 0; i < CASES; i++) {
        brute_open(&b, &cases[i]);
        for (int v = 0; v < VARIANTS; v++) {
            check_unbiased(&b, &variants[v], 2);
            check_unbiased(&b, &variants[v], 3);
            if (i > 0) check_unbiased(&b, &variants[v], 4);
        }
        test_problem_close(&b.t);
    }
}

/* Mean over all pairs of a batch of one and its partner: the partner is one of the n samples,
 * whichever the batch is. */
static void test_single(void **state)
{
    (void)state;
    static brute b;
    gm_policy policy;
    gm_stepper *s;
    gm_error err;
    gm_policy_default(GM_POLICY_ESTIMATED, &policy);
    policy.memory = 1;
    policy.every = 1000;
    brute_open(&b, &cases[0]);
    size_t p = b.t.p;
    expect_ok(gm_stepper_create(b.t.problem, &policy, 1, GM_REPLACEMENT_NO, 3, 0, &s, &err), &err);
    bool seen[N] = {0};
    for (uint64_t t = 5; t < 8; t++) {
        for (size_t i = 0; i < N; i++) {
            gm_step_choice c;
            double loss, gradient[P], dot[N] = {0}, own = 0;
            expect_ok(gm_stepper_gradient(s, t, b.t.theta, 1, &i, NULL, &loss, gradient, &err),
                      &err);
            expect_ok(gm_stepper_choose(s, 7, b.t.theta, NULL, &c, &err), &err);
            size_t partner = N;
            for (size_t k = 0; k < N; k++) {
                for (size_t j = 0; j < p; j++) {
                    dot[k] += b.row[i * p + j] * b.row[k * p + j];
                }
                if (fabs(dot[k] - c.gradient_square) < 1e-12) partner = k;
            }
            own = dot[i];
            assert_true(partner < N);
            seen[partner] = true;
            near(c.trace_moment, own, 1e-11, "tr M_1");
            assert_at_most(relative_error(p, gradient, b.row + i * p), 1e-11, "gradient");
        }
    }
    /* One partner for each step, whatever the batch. */
    int partners = 0;
    for (size_t k = 0; k < N; k++) {
        partners += seen[k];
    }
    assert_true(partners >= 2 && partners <= 3);
    gm_stepper_free(s);
    test_problem_close(&b.t);
}

/* Running means from 8 batches at theta_0 on, and the step that follows from them and L. */
static void test_means(void **state)
{
    (void)state;
    static brute b;
    gm_policy policy;
    gm_stepper *s;
    gm_step_choice before, after;
    gm_error err;
    size_t index[2] = {1, 6};
    double loss, gradient[P], scale;
    gm_policy_default(GM_POLICY_ESTIMATED, &policy);
    policy.memory = 4;
    policy.max = 100;
    brute_open(&b, &cases[0]);
    size_t p = b.t.p;
    expect_ok(gm_stepper_create(b.t.problem, &policy, 2, GM_REPLACEMENT_YES, 3, 0, &s, &err), &err);
    expect_ok(gm_stepper_start(s, b.t.theta, NULL, &err), &err);
    expect_ok(gm_stepper_choose(s, 0, b.t.theta, NULL, &before, &err), &err);
    double top = largest(&b, b.t.theta, &scale);
    assert_true(before.curvature > 0.9 * top && before.curvature < 2 * top);
    near(before.limit, 2 * before.gradient_square / (before.curvature * before.trace_moment), 1e-14,
         "eta_lim of the means");
    near(before.step, 0.5 * before.limit, 1e-15, "eta");
    expect_ok(gm_stepper_gradient(s, 0, b.t.theta, 2, index, NULL, &loss, gradient, &err), &err);
    expect_ok(gm_stepper_choose(s, 3, b.t.theta, NULL, &after, &err), &err);
    double dot = 0, square = 0;
    for (size_t j = 0; j < p; j++) {
        double g = b.row[p + j], h = b.row[6 * p + j];
        dot += g * h;
        square += 0.25 * (g + h) * (g + h);
    }
    near(after.gradient_square, 0.75 * before.gradient_square + 0.25 * dot, 1e-12, "running mean");
    near(after.trace_moment, 0.75 * before.trace_moment + 0.25 * square, 1e-12, "running mean");
    near(after.curvature, before.curvature, 0, "L between its updates");

    /* A numerator that is not positive: no step. */
    static size_t pairs[2 * N * N];
    size_t count = all_batches(N, 2, false, pairs), lowest = 0;
    double least = 0;
    for (size_t k = 0; k < count; k++) {
        double product = 0;
        for (size_t j = 0; j < p; j++) {
            product += b.row[pairs[2 * k] * p + j] * b.row[pairs[2 * k + 1] * p + j];
        }
        if (product < least) lowest = k;
        least = fmin(least, product);
    }
    assert_true(least < 0);
    for (uint64_t t = 0; t < 40; t++) {
        expect_ok(gm_stepper_gradient(s, t, b.t.theta, 2, pairs + 2 * lowest, NULL, &loss, gradient,
                                      &err),
                  &err);
    }
    expect_ok(gm_stepper_choose(s, 3, b.t.theta, NULL, &after, &err), &err);
    assert_true(after.gradient_square < 0 && after.step == 0 && after.limit == 0);
    gm_stepper_free(s);
    test_problem_close(&b.t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),          cmocka_unit_test(test_list),
        cmocka_unit_test(test_time),           cmocka_unit_test(test_oracle),
        cmocka_unit_test(test_oracle_between), cmocka_unit_test(test_unbiased),
        cmocka_unit_test(test_single),         cmocka_unit_test(test_means),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "policy");
}
