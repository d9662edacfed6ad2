/* What estimates of traces and diagonals are known to fall into: stopping where a running mean
 * stands still or is negative, probes used twice, scales beyond the squares of doubles, operators
 * that are none; and their memory. This program's aligned_alloc, which serves the library alone,
 * counts what it hands out. */
#include "support.h"

#include <stdlib.h>

#include "trace_case.h"

static size_t handed_out;

void *aligned_alloc(size_t alignment, size_t size)
{
    void *memory = NULL;
    handed_out += size;
    return posix_memalign(&memory, alignment, size) ? NULL : memory;
}

/* --- stopping --- */

/* tr A = 0: no relative error is ever reached, however still the mean may stand. */
static void zero_trace_never_converges(void **state)
{
    (void)state;
    enum { N = 60 };
    double lambda[N];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = (i % 2 ? 1.0 : -1.0) * (1 + (double)(i / 2) / N);
    }
    double *a = rotated(N, lambda, 61, NULL);
    gm_operator op = dense_operator(N, a);
    for (int way = 0; way < WAYS; way++) {
        size_t products = way == GM_TRACE_XTRACE ? 60 : 150; /* of a basis: not the whole space */
        for (uint64_t seed = 0; seed < GM_TEST_SIZE(50, 5); seed++) {
            gm_trace_result t = trace_of(&op, way, products, 0.05, seed);
            assert_true(!t.converged && t.products == products);
            near(t.trace.value, 0, 5 * t.trace.std_error);
        }
    }
    gm_operator_destroy(&op);
    gm_free(a);
}

/* A and -A: the same products, the negative value, convergence alike. Who compares a running mean
 * with a bound without taking its absolute value stops at once for one of them. */
static void negative_traces_are_like_positive_ones(void **state)
{
    (void)state;
    enum { N = 60, SEEDS = GM_TEST_SIZE(100, 10) };
    double lambda[N], trace = 0;
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i % 3 ? -1.5 : 0.5;
        trace += lambda[i];
    }
    double *a = rotated(N, lambda, 62, NULL), *minus = new_numbers(N * N);
    for (size_t i = 0; i < N * N; i++) {
        minus[i] = -a[i];
    }
    gm_operator op = dense_operator(N, a), negative = dense_operator(N, minus);
    for (int way = 0; way < WAYS; way++) {
        size_t hits = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            gm_trace_result t = trace_of(&op, way, 20000, 0.05, seed);
            gm_trace_result m = trace_of(&negative, way, 20000, 0.05, seed);
            assert_true(t.converged && m.converged && t.trace.value < 0);
            assert_int_equal(t.products, m.products);
            near(m.trace.value, -t.trace.value, 1e-11);
            hits += fabs(t.trace.value - trace) <= 0.05 * fabs(trace);
        }
        /* 95 % less three standard deviations and the price of looking several times */
        if (hits < GM_TEST_SIZE(86, 7)) fail_msg("way %d: %zu of %d", way, hits, SEEDS);
    }
    gm_operator_destroy(&op);
    gm_operator_destroy(&negative);
    gm_free(a);
    gm_free(minus);
}

/* Seed s with run r + 1 is not seed s + 1 with run r, for any way: among sixteen pairs no two
 * agree. */
static void seeds_and_runs_are_two_things(void **state)
{
    (void)state;
    enum { N = 20, PAIRS = 16 };
    double lambda[N], value[N], error[N], found[PAIRS];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 1 + (double)i;
    }
    double *a = rotated(N, lambda, 63, NULL);
    gm_operator op = dense_operator(N, a);
    for (int way = 0; way < WAYS + DIAGONAL_WAYS; way++) {
        for (uint64_t pair = 0; pair < PAIRS; pair++) {
            gm_trace_result t;
            gm_diagonal_result d;
            bool diagonal = way >= WAYS, gaussian = way == GAUSSIAN || way == WAYS + 2;
            gm_estimate_options options = with(gaussian ? GAUSSIAN : 0, 12, 0, pair / 4);
            options.run = (uint32_t)(pair % 4);
            gm_status status =
                diagonal ? gm_diagonal_estimate(
                               &op, way == WAYS + 1 ? GM_DIAGONAL_XDIAG : GM_DIAGONAL_HUTCHINSON,
                               &options, value, error, &d, NULL)
                         : gm_trace_estimate(&op, method_of(way), &options, &t, NULL);
            assert_int_equal(status, GM_OK);
            found[pair] = diagonal ? value[0] : t.trace.value;
            for (size_t before = 0; before < pair; before++) {
                assert_true(found[before] != found[pair]);
            }
        }
    }
    gm_operator_destroy(&op);
    gm_free(a);
}

/* --- scales and sizes --- */

/* Powers of two: every number of the result scales exactly, the products stay what they are. */
static void scales_change_nothing(void **state)
{
    (void)state;
    enum { N = 40 };
    const double scales[] = {1, 0x1p-664, 0x1p664, 0x1p-1000,
                             0x1p1000}; /* 1e-200, 1e200, 1e+-301 */
    double lambda[N], scaled[N * N], value[N], error[N], value_1[N] = {0}, error_1[N] = {0};
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 3 / (double)(i + 1) - 0.05;
    }
    double *a = rotated(N, lambda, 67, NULL);
    for (int rel = 0; rel < 2; rel++) {
        for (int way = 0; way < WAYS; way++) {
            gm_trace_result one = {0};
            for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
                for (size_t i = 0; i < N * N; i++) {
                    scaled[i] = a[i] * scales[s];
                }
                gm_operator op = dense_operator(N, scaled);
                gm_trace_result t = trace_of(&op, way, rel ? 1000 : 48, rel ? 0.05 : 0, 7);
                if (s == 0) one = t;
                assert_int_equal(t.products, one.products);
                assert_true(t.converged == one.converged && t.exact == one.exact);
                assert_true(t.trace.value == one.trace.value * scales[s]);
                assert_true(t.trace.std_error == one.trace.std_error * scales[s]);
                assert_true(t.trace.half_width == one.trace.half_width * scales[s]);
                assert_true(t.frobenius.value == one.frobenius.value * scales[s]);
                assert_true(t.frobenius.std_error == one.frobenius.std_error * scales[s]);
                gm_operator_destroy(&op);
            }
        }
    }
    for (int way = 0; way < DIAGONAL_WAYS; way++) {
        for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
            for (size_t i = 0; i < N * N; i++) {
                scaled[i] = a[i] * scales[s];
            }
            gm_operator op = dense_operator(N, scaled);
            diagonal_of(&op, way, 500, 0.2, 7, s ? value : value_1, s ? error : error_1);
            for (size_t i = 0; s && i < N; i++) {
                assert_true(value[i] == value_1[i] * scales[s]);
                assert_true(error[i] == error_1[i] * scales[s]);
            }
            gm_operator_destroy(&op);
        }
    }
    /* a trace beyond the largest double is said to be */
    for (size_t i = 0; i < N * N; i++) {
        scaled[i] = i % (N + 1) == 0 ? 1e307 : 0;
    }
    gm_operator op = dense_operator(N, scaled);
    for (int way = 0; way < WAYS; way++) {
        gm_estimate_options options = with(way, 30, 0, 1);
        gm_trace_result t;
        gm_error err;
        assert_int_equal(gm_trace_estimate(&op, method_of(way), &options, &t, &err),
                         GM_ERR_NUMERIC);
    }
    gm_operator_destroy(&op);
    gm_free(a);
}

/* (I - 2 u u^T) D (I - 2 u u^T) with D = diag(d), by products only. */
typedef struct mirrored {
    size_t n;
    double *d, *u;
} mirrored;

static gm_status mirrored_apply(void *self, size_t count, const double *v, double *av,
                                gm_error *err)
{
    (void)err;
    const mirrored *m = self;
    for (size_t j = 0; j < count; j++) {
        double *y = av + j * m->n;
        memcpy(y, v + j * m->n, m->n * sizeof *y);
        for (int side = 0; side < 2; side++) {
            double dot = 0;
            for (size_t i = 0; i < m->n; i++) {
                dot += m->u[i] * y[i];
            }
            for (size_t i = 0; i < m->n; i++) {
                y[i] = (y[i] - 2 * dot * m->u[i]) * (side == 0 ? m->d[i] : 1);
            }
        }
    }
    return GM_OK;
}

/* Sizes 10^2 to 10^5: rank 15 and a floor of 1e-3 with signs. Within 5 standard errors; relative to
 * the trace of 40 or so within 1 % where a basis takes the 15 away. */
static void sizes_by_products(void **state)
{
    (void)state;
    const size_t sizes[] = {100, 1000, 10000, 100000};
    for (size_t s = 0; s < GM_TEST_SIZE(4, 3); s++) {
        size_t n = sizes[s];
        mirrored m = {n, new_numbers(n), new_numbers(n)};
        double *value = new_numbers(n), *error = new_numbers(n), trace = 0, length = 0, udu = 0;
        gm_normal_fill(gm_stream_of(68, GM_PURPOSE_TEST, 0), 0, n, m.u);
        for (size_t i = 0; i < n; i++) {
            m.d[i] = i < 15 ? 10 / (double)(i + 1) : i % 2 ? 1e-3 : -1e-3;
            trace += m.d[i];
            length += m.u[i] * m.u[i];
        }
        for (size_t i = 0; i < n; i++) {
            m.u[i] /= sqrt(length);
            udu += m.u[i] * m.u[i] * m.d[i];
        }
        gm_operator op = {.size = n,
                          .precision = GM_F64,
                          .name = "mirrored",
                          .self = &m,
                          .apply = mirrored_apply};
        for (int way = 0; way < WAYS; way++) {
            gm_trace_result t = trace_of(&op, way, 60, 0, 3);
            near(t.trace.value, trace, 5 * t.trace.std_error);
            if (way == GM_TRACE_HUTCHPP || way == GM_TRACE_XTRACE)
                near(t.trace.value, trace, 0.01 * trace);
        }
        for (int way = 0; way < DIAGONAL_WAYS; way++) {
            gm_diagonal_result d = diagonal_of(&op, way, 60, 0, 3, value, error);
            double squares = 0;
            for (size_t i = 0; i < n; i++) {
                double u2 = m.u[i] * m.u[i];
                double miss = value[i] - (m.d[i] - 4 * u2 * m.d[i] + 4 * u2 * udu);
                squares += miss * miss;
            }
            /* a norm of many entries: close to what is stated, 3 times it where few entries count
             */
            assert_true(sqrt(squares) <= 3 * d.std_error);
            if (way == 1) assert_true(sqrt(squares) <= 0.05 * d.norm);
        }
        gm_free(m.d);
        gm_free(m.u);
        gm_free(value);
        gm_free(error);
    }
}

/* Sizes 1 and 2, more probes than coordinates, the fewest products, A = 0, A = I. */
static void smallest_operators(void **state)
{
    (void)state;
    static const size_t fewest[WAYS] = {2, 6, 4, 2};
    double one[1] = {-3}, two[4] = {2, 1, 1, -5}, zero[4] = {0}, eye[4] = {1, 0, 0, 1};
    const struct {
        size_t n;
        double *a, trace;
    } cases[] = {{1, one, -3}, {2, two, -3}, {2, zero, 0}, {2, eye, 2}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        gm_operator op = dense_operator(cases[c].n, cases[c].a);
        double value[2], error[2];
        for (int way = 0; way < WAYS; way++) {
            for (size_t products = fewest[way]; products < 60; products += 25) {
                gm_trace_result t = trace_of(&op, way, products, 0, 2);
                assert_true(isfinite(t.trace.value) && t.trace.half_width >= 0);
                if (way == GM_TRACE_HUTCHPP || way == GM_TRACE_XTRACE) {
                    assert_true(t.exact);
                    near(t.trace.value, cases[c].trace, 1e-14);
                } else if (products > 50) {
                    near(t.trace.value, cases[c].trace, 4 * t.trace.std_error + 1e-14);
                }
            }
        }
        for (int way = 0; way < DIAGONAL_WAYS; way++) {
            gm_diagonal_result d = diagonal_of(&op, way, 50, 0, 2, value, error);
            assert_true(isfinite(d.norm) && d.half_width >= 0);
            for (size_t i = 0; i < cases[c].n; i++) {
                near(value[i], cases[c].a[i * cases[c].n + i], 4 * error[i] + 1e-14);
            }
        }
        gm_operator_destroy(&op);
    }
}

/* --- operators that are none --- */

typedef struct false_operator {
    size_t n, calls;
    double skew;  /* adds skew v_{i+1} to product i */
    double drift; /* each call sees an operator that much larger */
} false_operator;

static gm_status false_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    false_operator *f = self;
    double factor = 1 + f->drift * (double)f->calls++;
    for (size_t j = 0; j < count; j++) {
        for (size_t i = 0; i < f->n; i++) {
            av[j * f->n + i] = factor * (double)(i + 1) * v[j * f->n + i] +
                               (i + 1 < f->n ? f->skew * v[j * f->n + i + 1] : 0);
        }
    }
    return GM_OK;
}

/* Not symmetric: refused by every way. Another one at each call, as mini-batches make them: the
 * bases see it; probes that are multiplied once each cannot. */
static void false_operators_are_refused(void **state)
{
    (void)state;
    enum { N = 30 };
    double value[N], error[N];
    for (int drifts = 0; drifts < 2; drifts++) {
        for (int way = 0; way < WAYS + DIAGONAL_WAYS; way++) {
            false_operator f = {N, 0, drifts ? 0 : 1, drifts ? 0.01 : 0};
            gm_operator op = {
                .size = N, .precision = GM_F64, .name = "false", .self = &f, .apply = false_apply};
            bool gaussian = way == GAUSSIAN || way == WAYS + 2;
            gm_estimate_options options = with(gaussian ? GAUSSIAN : 0, 12, 0, 1);
            gm_trace_result t;
            gm_diagonal_result d;
            gm_error err = {0};
            bool basis = way == GM_TRACE_HUTCHPP || way == GM_TRACE_XTRACE || way == WAYS + 1;
            gm_status status =
                way < WAYS
                    ? gm_trace_estimate(&op, method_of(way), &options, &t, &err)
                    : gm_diagonal_estimate(&op, basis ? GM_DIAGONAL_XDIAG : GM_DIAGONAL_HUTCHINSON,
                                           &options, value, error, &d, &err);
            assert_int_equal(status, drifts && !basis ? GM_OK : GM_ERR_INPUT);
            if (status != GM_OK) assert_non_null(strstr(err.message, "not symmetric"));
        }
    }
}

static void gaussian_is_hutchinsons_alone(void **state)
{
    (void)state;
    double a[4] = {1, 0, 0, 1}, value[2], error[2];
    gm_operator op = dense_operator(2, a);
    gm_estimate_options options = with(GAUSSIAN, 30, 0, 1);
    gm_trace_result t;
    gm_diagonal_result d;
    gm_error err;
    for (int m = 0; m < 3; m++) {
        gm_status status = gm_trace_estimate(&op, (gm_trace_method)m, &options, &t, &err);
        assert_int_equal(status, m == GM_TRACE_HUTCHINSON ? GM_OK : GM_ERR_USAGE);
        if (status != GM_OK) assert_non_null(strstr(err.message, "gaussian"));
    }
    assert_int_equal(gm_diagonal_estimate(&op, GM_DIAGONAL_XDIAG, &options, value, error, &d, &err),
                     GM_ERR_USAGE);
    gm_operator_destroy(&op);
}

/* --- memory --- */

/* A fixed number of probes: what was handed out, nothing of it counted as given back, less what is
 * known to be given back before the next is taken (for Hutch++ 17 size: the first probe once more,
 * 16 for the residual parts), is no more than the bound, and the bound not much more. */
static void bounds_hold_what_is_taken(void **state)
{
    (void)state;
    enum { N = 4000 };
    mirrored m = {N, new_numbers(N), new_numbers(N)};
    double *value = new_numbers(N), *error = new_numbers(N);
    for (size_t i = 0; i < N; i++) {
        m.d[i] = 1 + (double)(i % 7);
    }
    m.u[3] = 1;
    gm_operator op = {
        .size = N, .precision = GM_F64, .name = "mirrored", .self = &m, .apply = mirrored_apply};
    for (int way = 0; way < WAYS + DIAGONAL_WAYS; way++) {
        bool diagonal = way >= WAYS, gaussian = way == GAUSSIAN || way == WAYS + 2;
        gm_diagonal_method method = way == WAYS + 1 ? GM_DIAGONAL_XDIAG : GM_DIAGONAL_HUTCHINSON;
        gm_estimate_options options = with(gaussian ? GAUSSIAN : 0, 120, 0, 1);
        size_t bound = diagonal ? gm_diagonal_bytes(N, method, &options)
                                : gm_trace_bytes(N, method_of(way), &options);
        handed_out = 0;
        if (diagonal) {
            diagonal_of(&op, way - WAYS, 120, 0, 1, value, error);
        } else {
            trace_of(&op, way, 120, 0, 1);
        }
        size_t returned = way == GM_TRACE_HUTCHPP ? 17 * N * sizeof(double) : 0;
        size_t padding = 64 * 32; /* of the arrays */
        if (handed_out - returned > bound + padding || bound > handed_out + handed_out / 4) {
            fail_msg("way %d: %zu handed out, bound %zu", way, handed_out, bound);
        }
        options.rel_error = 0.01;
        assert_true((diagonal ? gm_diagonal_bytes(N, method, &options)
                              : gm_trace_bytes(N, method_of(way), &options)) >= bound);
        assert_true((diagonal
                         ? gm_diagonal_bytes(SIZE_MAX / 16, method, &options)
                         : gm_trace_bytes(SIZE_MAX / 16, method_of(way), &options)) == SIZE_MAX);
        options.max_products = SIZE_MAX; /* bases fill the space and no more */
        if (diagonal) assert_true(gm_diagonal_bytes(10, method, &options) < 100000);
        if (way == GM_TRACE_XTRACE) {
            assert_true(gm_trace_bytes(10, GM_TRACE_XTRACE, &options) < 100000);
        }
    }
    gm_free(m.d);
    gm_free(m.u);
    gm_free(value);
    gm_free(error);
}

/* "As many products as it takes": no array of that length is asked for at once. */
static void unbounded_products_are_no_memory(void **state)
{
    (void)state;
    enum { N = 30 };
    double lambda[N];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 1 + (double)i / N;
    }
    double *a = rotated(N, lambda, 69, NULL);
    gm_operator op = dense_operator(N, a);
    for (int way = 0; way < WAYS; way++) {
        assert_true(trace_of(&op, way, SIZE_MAX, 0.02, 1).converged);
    }
    gm_operator_destroy(&op);
    gm_free(a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_trace_never_converges),
        cmocka_unit_test(negative_traces_are_like_positive_ones),
        cmocka_unit_test(seeds_and_runs_are_two_things),
        cmocka_unit_test(scales_change_nothing),
        cmocka_unit_test(sizes_by_products),
        cmocka_unit_test(smallest_operators),
        cmocka_unit_test(false_operators_are_refused),
        cmocka_unit_test(gaussian_is_hutchinsons_alone),
        cmocka_unit_test(bounds_hold_what_is_taken),
        cmocka_unit_test(unbounded_products_are_no_memory),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "traps of traces");
}
