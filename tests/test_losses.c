/* Losses, their signals and the softmax's metric against long double, also where the softmax is
 * saturated, and against finite differences. */
#include "kernel_arrays.h"

#include <float.h>

typedef struct loss_size {
    size_t n, classes;
} loss_size;

static const loss_size sizes[] = {{0, 3},  {1, 1},   {7, 1},    {5, 2},    {33, 3},
                                  {9, 17}, {4, 300}, {2, 1000}, {1700, 10}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static int32_t *new_labels(size_t n, size_t classes)
{
    int32_t *y = calloc(n + 1, sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; i < n; i++) {
        y[i] = (int32_t)gm_below(gm_stream_of(3, GM_PURPOSE_TEST, 0), i, classes);
    }
    return y;
}

/* Softmax of row i in long double: p [classes], log of the sum of exponentials past the peak. */
static long double *softmax(const gm_kernels *k, size_t classes, const void *z, size_t i)
{
    long double *p = calloc(classes, sizeof *p), peak = -(long double)INFINITY, sum = 0;
    assert_non_null(p);
    for (size_t c = 0; c < classes; c++) {
        peak = fmaxl(peak, (long double)get(k, z, i * classes + c));
    }
    for (size_t c = 0; c < classes; c++) {
        p[c] = expl((long double)get(k, z, i * classes + c) - peak);
        sum += p[c];
    }
    for (size_t c = 0; c < classes; c++) {
        p[c] /= sum;
    }
    return p;
}

static long double sum_but(size_t classes, const long double *p, size_t but)
{
    long double sum = 0;
    for (size_t c = 0; c < classes; c++) {
        if (c != but) sum += p[c];
    }
    return sum;
}

/* Loss of a row: log1p of the odds against y where y leads, so that a tiny loss is exact too. */
static long double loss_of(const gm_kernels *k, size_t classes, const void *z, size_t i, size_t y)
{
    long double sum = 0, own = (long double)get(k, z, i * classes + y), peak = own;
    for (size_t c = 0; c < classes; c++) {
        peak = fmaxl(peak, (long double)get(k, z, i * classes + c));
    }
    for (size_t c = 0; c < classes; c++) {
        if (c != y) sum += expl((long double)get(k, z, i * classes + c) - peak);
    }
    return peak == own ? log1pl(sum) : peak - own + logl(sum + expl(own - peak));
}

static size_t arg_max(const gm_kernels *k, size_t classes, const void *z, size_t i)
{
    size_t top = 0;
    for (size_t c = 1; c < classes; c++) {
        if (get(k, z, i * classes + c) > get(k, z, i * classes + top)) top = c;
    }
    return top;
}

/* Everything to a relative error: 8 roundings of the double arithmetic inside, two more of the
 * precision; numbers below the smallest normal one have fewer digits. */
static void check_softmax_rows(const gm_kernels *k, size_t n, size_t classes, const void *z,
                               const int32_t *y)
{
    double eps = gm_dtype_eps(k->dtype), inner = 2e-15 + 2.3e-16 * (double)classes;
    double tiny = k->dtype == GM_F32 ? (double)FLT_MIN : DBL_MIN;
    double *loss = new_doubles(n, (double)NAN);
    uint8_t *wrong = calloc(n + 1, 1);
    void *prob = new_array(k, n * classes, (double)NAN);
    void *signal = new_array(k, n * classes, (double)NAN);
    k->softmax_loss(n, classes, z, y, loss, wrong, prob, signal);
    for (size_t i = 0; i < n; i++) {
        size_t label = (size_t)y[i];
        long double *p = softmax(k, classes, z, i);
        double expected = (double)loss_of(k, classes, z, i, label);
        check_near(k, "softmax loss", i, loss[i], expected, inner * fabs(expected) + DBL_MIN);
        assert_int_equal(wrong[i], arg_max(k, classes, z, i) != label);
        for (size_t c = 0; c < classes; c++) {
            long double root = c == label ? -sum_but(classes, p, label) : p[c];
            check_near(k, "softmax", i * classes + c, get(k, prob, i * classes + c), (double)p[c],
                       (eps + inner) * (double)p[c] + tiny);
            check_near(k, "softmax signal", i * classes + c, get(k, signal, i * classes + c),
                       (double)root, (eps + inner) * fabs((double)root) + tiny);
        }
        free(p);
    }
    assert_true(loss[n] == sentinel);
    check_sentinels(k, n * classes, prob);
    check_sentinels(k, n * classes, signal);
    gm_free(loss);
    free(wrong);
    free(prob);
    free(signal);
}

static void check_softmax(const gm_kernels *k)
{
    for (size_t s = 0; s < SIZES; s++) {
        size_t n = sizes[s].n, classes = sizes[s].classes;
        void *z = new_normal(k, n * classes, 1);
        int32_t *y = new_labels(n, classes);
        check_softmax_rows(k, n, classes, z, y);
        k->softmax_loss(n, classes, z, y, NULL, NULL, NULL, NULL); /* nothing wanted */
        free(z);
        free(y);
    }
}

/* Sure nets: one logit leads by 1e4, by 40 (p_y rounds to 1 in both precisions, 1 - p_y does not
 * vanish), by 17 (in float32 only), and ties; y the leader and not. */
static void check_saturated(const gm_kernels *k)
{
    enum { CLASSES = 5 };
    const double lead[] = {1e4, 40, 17, 0, -1e4};
    for (size_t i = 0; i < 5; i++) {
        for (int32_t label = 0; label < 3; label += 2) {
            void *z = new_normal(k, CLASSES, 5);
            put(k, z, 2, get(k, z, 0) + lead[i]);
            check_softmax_rows(k, 1, CLASSES, z, &label);
            free(z);
        }
    }
    /* p_y = 1 exactly, and yet the signal is not 0 */
    void *z = new_array(k, CLASSES, 0), *prob = new_array(k, CLASSES, 0);
    void *signal = new_array(k, CLASSES, 0);
    int32_t label = 3;
    double loss;
    put(k, z, 3, 40);
    k->softmax_loss(1, CLASSES, z, &label, &loss, NULL, prob, signal);
    assert_true(get(k, prob, 3) == 1.0);
    check_near(k, "signal", 3, get(k, signal, 3), -4 * exp(-40), 1e-6 * exp(-40));
    check_near(k, "loss", 0, loss, 4 * exp(-40), 1e-14 * exp(-40));
    put(k, z, 0, (double)NAN);
    uint8_t wrong = 0;
    k->softmax_loss(1, CLASSES, z, &label, &loss, &wrong, prob, signal);
    assert_true(isnan(loss) && wrong && isnan(get(k, prob, 1)) && isnan(get(k, signal, 3)));
    free(z);
    free(prob);
    free(signal);
}

/* (diag(p) - p p^T) u for the exact softmax p of z. */
static void check_metric_row(const gm_kernels *k, size_t classes, const void *z, const void *u,
                             const void *out, size_t i)
{
    long double *p = softmax(k, classes, z, i), size = 0;
    for (size_t d = 0; d < classes; d++) {
        size = fmaxl(size, fabsl((long double)get(k, u, i * classes + d)));
    }
    for (size_t c = 0; c < classes; c++) {
        long double expected = 0; /* p_c sum_d p_d (u_c - u_d): nothing cancels but in u */
        for (size_t d = 0; d < classes; d++) {
            expected +=
                p[c] * p[d] *
                ((long double)get(k, u, i * classes + c) - (long double)get(k, u, i * classes + d));
        }
        /* relative to p_c (1 - p_c): a saturated row keeps its digits */
        double scale = (double)(p[c] * sum_but(classes, p, c) * size);
        check_near(k, "softmax_metric", i * classes + c, get(k, out, i * classes + c),
                   (double)expected,
                   (20 + (double)classes) * gm_dtype_eps(k->dtype) * scale + (double)FLT_MIN);
    }
    free(p);
}

static void check_metric(const gm_kernels *k)
{
    for (size_t s = 0; s < SIZES + 1; s++) {
        bool saturated = s == SIZES; /* leads of 30 */
        size_t n = saturated ? 6 : sizes[s].n, classes = saturated ? 4 : sizes[s].classes;
        void *z = new_normal(k, n * classes, 1), *u = new_normal(k, n * classes, 2);
        for (size_t i = 0; saturated && i < n; i++) {
            put(k, z, i * classes + i % classes, 30);
        }
        void *prob = new_array(k, n * classes, 0), *out = new_array(k, n * classes, (double)NAN);
        int32_t *y = new_labels(n, classes);
        k->softmax_loss(n, classes, z, y, NULL, NULL, prob, NULL);
        k->softmax_metric(n, classes, prob, u, out);
        for (size_t i = 0; i < n; i++) {
            check_metric_row(k, classes, z, u, out, i);
        }
        check_sentinels(k, n * classes, out);
        k->softmax_metric(n, classes, prob, u, u);
        assert_memory_equal(u, out, n * classes * k->size);
        free(z);
        free(u);
        free(prob);
        free(out);
        free(y);
    }
}

/* Column c of S: -p_d sqrt(p_c), on the diagonal sqrt(p_c) times the sum of the others. */
static void check_factor(const gm_kernels *k)
{
    enum { N = 3000, CLASSES = 6 };
    double eps = gm_dtype_eps(k->dtype);
    void *z = new_normal(k, N * CLASSES, 1), *prob = new_array(k, N * CLASSES, 0);
    void *column[CLASSES];
    int32_t *y = new_labels(N, CLASSES);
    put(k, z, 2, 45); /* one saturated row */
    k->softmax_loss(N, CLASSES, z, y, NULL, NULL, prob, NULL);
    for (size_t c = 0; c < CLASSES; c++) {
        column[c] = new_array(k, N * CLASSES, (double)NAN);
        k->softmax_factor(N, CLASSES, prob, c, column[c]);
        check_sentinels(k, N * CLASSES, column[c]);
    }
    for (size_t i = 0; i < N; i++) {
        long double *p = softmax(k, CLASSES, z, i);
        for (size_t d = 0; d < CLASSES; d++) {
            /* the entry on the diagonal alone: in S S^T a lost 1 - p_d could hide */
            double own = (double)(sqrtl(p[d]) * sum_but(CLASSES, p, d));
            check_near(k, "softmax_factor diagonal", i, get(k, column[d], i * CLASSES + d), own,
                       10 * eps * own);
            for (size_t e = 0; e < CLASSES; e++) { /* (S S^T)_de = p_d [d = e] - p_d p_e */
                double sum = 0;
                for (size_t c = 0; c < CLASSES; c++) {
                    sum += get(k, column[c], i * CLASSES + d) * get(k, column[c], i * CLASSES + e);
                }
                long double expected = d == e ? p[d] * sum_but(CLASSES, p, d) : -p[d] * p[e];
                /* relative to the geometric mean of the two diagonal entries */
                double scale =
                    sqrt((double)(p[d] * sum_but(CLASSES, p, d) * p[e] * sum_but(CLASSES, p, e)));
                check_near(k, "softmax_factor", i, sum, (double)expected, 30 * eps * scale);
            }
        }
        free(p);
    }
    for (size_t c = 0; c < CLASSES; c++) {
        free(column[c]);
    }
    free(z);
    free(prob);
    free(y);
}

/* The signal is the loss's derivative, the metric the signal's: central differences with h = 1e-5
 * in float64. Error h^2 / 6 times a third derivative along u, |u|^3 < 60 at most, so below 1e-9;
 * the rounding, 1e-16 / h, is less. */
static void check_differences(const gm_kernels *k)
{
    enum { CLASSES = 7 };
    if (k->dtype == GM_F32) return;
    const double h = 1e-5;
    int32_t label = 4;
    double z[CLASSES], u[CLASSES], moved[CLASSES], up, down, prob[CLASSES], signal[CLASSES];
    double signal_up[CLASSES], signal_down[CLASSES], metric[CLASSES], slope = 0;
    gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 0), 0, CLASSES, z);
    gm_normal_fill(gm_stream_of(5, GM_PURPOSE_TEST, 0), 0, CLASSES, u);
    k->softmax_loss(1, CLASSES, z, &label, NULL, NULL, prob, signal);
    k->softmax_metric(1, CLASSES, prob, u, metric);
    for (size_t c = 0; c < CLASSES; c++) {
        moved[c] = z[c] + h * u[c];
    }
    k->softmax_loss(1, CLASSES, moved, &label, &up, NULL, NULL, signal_up);
    for (size_t c = 0; c < CLASSES; c++) {
        moved[c] = z[c] - h * u[c];
        slope += signal[c] * u[c];
    }
    k->softmax_loss(1, CLASSES, moved, &label, &down, NULL, NULL, signal_down);
    check_near(k, "loss difference", 0, (up - down) / (2 * h), slope, 1e-9);
    for (size_t c = 0; c < CLASSES; c++) {
        check_near(k, "signal difference", c, (signal_up[c] - signal_down[c]) / (2 * h), metric[c],
                   1e-9);
    }
}

/* Among equal logits the first one is the prediction, in both losses. */
static void check_ties(const gm_kernels *k)
{
    void *z = new_array(k, 8, 1);
    double target[8] = {0, 1, 1, 0, 1, 0, 0, 0}; /* arg-max 1 and 0 */
    int32_t y[2] = {0, 3};
    uint8_t wrong[2] = {7, 7};
    k->softmax_loss(2, 4, z, y, NULL, wrong, NULL, NULL);
    assert_int_equal(wrong[0], 0);
    assert_int_equal(wrong[1], 1);
    k->squared_loss(2, 4, z, target, NULL, wrong, NULL);
    assert_int_equal(wrong[0], 1);
    assert_int_equal(wrong[1], 0);
    free(z);
}

static void check_squared(const gm_kernels *k)
{
    double eps = gm_dtype_eps(k->dtype);
    for (size_t s = 0; s < SIZES; s++) {
        size_t n = sizes[s].n, d = sizes[s].classes;
        void *z = new_normal(k, n * d, 1), *signal = new_array(k, n * d, (double)NAN);
        double *target = new_doubles(n * d, 0), *loss = new_doubles(n, 0);
        uint8_t *wrong = calloc(n + 1, 1);
        gm_normal_fill(gm_stream_of(6, GM_PURPOSE_TEST, 0), 0, n * d, target);
        k->squared_loss(n, d, z, target, loss, wrong, signal);
        for (size_t i = 0; i < n; i++) {
            double sum = 0;
            size_t top = 0;
            for (size_t c = 0; c < d; c++) {
                double difference = get(k, z, i * d + c) - target[i * d + c];
                sum += difference * difference / 2;
                if (target[i * d + c] > target[i * d + top]) top = c;
                check_near(k, "squared signal", i * d + c, get(k, signal, i * d + c), difference,
                           eps * (1 + fabs(difference)));
            }
            check_near(k, "squared loss", i, loss[i], sum, 1e-13 * sum);
            assert_int_equal(wrong[i], arg_max(k, d, z, i) != top);
        }
        assert_true(loss[n] == sentinel);
        check_sentinels(k, n * d, signal);
        k->squared_loss(n, d, z, target, NULL, NULL, NULL);
        free(z);
        free(signal);
        gm_free(target);
        gm_free(loss);
        free(wrong);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    for_each_table(check_softmax);
}

static void test_saturated(void **state)
{
    (void)state;
    for_each_table(check_saturated);
}

static void test_metric(void **state)
{
    (void)state;
    for_each_table(check_metric);
    for_each_table(check_factor);
}

static void test_differences(void **state)
{
    (void)state;
    for_each_table(check_differences);
}

static void test_squared(void **state)
{
    (void)state;
    for_each_table(check_squared);
    for_each_table(check_ties);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax), cmocka_unit_test(test_saturated),
        cmocka_unit_test(test_metric),  cmocka_unit_test(test_differences),
        cmocka_unit_test(test_squared),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "losses");
}
