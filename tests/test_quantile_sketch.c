/* Quantile sketches against sorted numbers, at their stated accuracy. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dynamics/quantile_sketch.h"
#include "gradiometer/random.h"
#include "support.h"

enum { MOST = 20000, LEVELS = 11 };
static const double level[LEVELS] = {0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Numbers of different kinds; which = 0 ... 5. */
static double draw(int which, size_t i)
{
    gm_stream stream = gm_stream_of(11, GM_PURPOSE_TEST, (uint32_t)which);
    double z = gm_normal(stream, i);
    switch (which) {
    case 0:
        return z;
    case 1:
        return exp(8 * z); /* 30 decades */
    case 2:
        return i % 3 ? -exp(2 * z) : z;
    case 3:
        return i % 5 ? 0.0 : z;
    case 4:
        return i % 50 == 0 ? (double)INFINITY : i % 77 == 0 ? -(double)INFINITY : 1e200 * z;
    default:
        return 1.0 + 1e-3 * z;
    }
}

/* An order statistic x is reported within accuracy * |x|, so that the interpolation between two is
 * within accuracy times the larger of them; sums in between round. */
static void compare(const gm_quantile_sketch *sketch, size_t n, double *x)
{
    double found[LEVELS];
    gm_quantile_sketch_quantiles(sketch, LEVELS, level, found);
    qsort(x, n, sizeof *x, ascending);
    for (int q = 0; q < LEVELS; q++) {
        double exact = gm_sorted_quantile(n, x, level[q]);
        size_t rank = (size_t)(level[q] * (double)(n - 1));
        double low = fabs(x[rank]), high = fabs(x[rank + 1 < n ? rank + 1 : rank]);
        if (!isfinite(exact)) {
            assert_true(found[q] == exact);
            continue;
        }
        assert_true(fabs(found[q] - exact) <=
                    gm_quantile_sketch_accuracy * fmax(low, high) * (1 + 1e-12));
    }
    assert_true(found[0] == x[0] && found[LEVELS - 1] == x[n - 1]); /* ends are exact */
}

static void test_against_sorting(void **state)
{
    (void)state;
    static double x[MOST];
    static const size_t sizes[] = {1, 2, 3, 10, 101, 5000, MOST};
    for (int which = 0; which < 6; which++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            gm_quantile_sketch sketch;
            gm_quantile_sketch_init(&sketch);
            for (size_t i = 0; i < sizes[s]; i++) {
                x[i] = draw(which, i);
                assert_int_equal(gm_quantile_sketch_add(&sketch, x[i], NULL), GM_OK);
            }
            assert_int_equal(gm_quantile_sketch_count(&sketch), sizes[s]);
            compare(&sketch, sizes[s], x);
            gm_quantile_sketch_free(&sketch);
        }
    }
}

static bool same(const gm_quantile_sketch *a, const gm_quantile_sketch *b)
{
    size_t bins = gm_quantile_sketch_bins(a);
    if (bins != gm_quantile_sketch_bins(b) || a->infinite[0] != b->infinite[0] ||
        a->infinite[1] != b->infinite[1] || a->min != b->min || a->max != b->max) {
        return false;
    }
    double *ma = malloc(4 * bins * sizeof *ma), *na = ma + bins, *mb = na + bins, *nb = mb + bins;
    gm_quantile_sketch_read(a, ma, na);
    gm_quantile_sketch_read(b, mb, nb);
    bool equal = memcmp(ma, mb, 2 * bins * sizeof *ma) == 0;
    free(ma);
    return equal;
}

/* Any order and any partition give the same bits; so does the way out and in. */
static void test_merge_is_exact(void **state)
{
    (void)state;
    for (int which = 0; which < 5; which++) {
        gm_quantile_sketch whole, part[3], copy;
        gm_quantile_sketch_init(&whole);
        gm_quantile_sketch_init(&copy);
        for (int j = 0; j < 3; j++) {
            gm_quantile_sketch_init(&part[j]);
        }
        for (size_t i = 0; i < 3000; i++) {
            assert_int_equal(gm_quantile_sketch_add(&whole, draw(which, i), NULL), GM_OK);
            size_t back = 2999 - i;
            assert_int_equal(gm_quantile_sketch_add(&part[back % 3], draw(which, back), NULL),
                             GM_OK);
        }
        assert_int_equal(gm_quantile_sketch_merge(&part[2], &part[0], NULL), GM_OK);
        assert_int_equal(gm_quantile_sketch_merge(&part[2], &part[1], NULL), GM_OK);
        assert_true(same(&whole, &part[2]));

        size_t bins = gm_quantile_sketch_bins(&whole);
        double *middle = malloc(2 * bins * sizeof *middle), *number = middle + bins;
        gm_quantile_sketch_read(&whole, middle, number);
        assert_int_equal(gm_quantile_sketch_fill(&copy, bins, middle, number, NULL), GM_OK);
        copy.infinite[0] = whole.infinite[0];
        copy.infinite[1] = whole.infinite[1];
        copy.min = whole.min;
        copy.max = whole.max;
        assert_true(same(&whole, &copy));
        number[0] = 0.5;
        assert_int_equal(gm_quantile_sketch_fill(&copy, bins, middle, number, NULL), GM_ERR_INPUT);
        free(middle);
        gm_quantile_sketch_free(&whole);
        gm_quantile_sketch_free(&copy);
        for (int j = 0; j < 3; j++) {
            gm_quantile_sketch_free(&part[j]);
        }
    }
}

static void test_edges(void **state)
{
    (void)state;
    gm_quantile_sketch sketch;
    double found[LEVELS];
    gm_quantile_sketch_init(&sketch);
    gm_quantile_sketch_quantiles(&sketch, LEVELS, level, found);
    assert_true(isnan(found[0]) && isnan(found[5]));
    assert_int_equal(gm_quantile_sketch_add(&sketch, DBL_MAX, NULL), GM_OK);
    assert_int_equal(gm_quantile_sketch_add(&sketch, -DBL_MAX, NULL), GM_OK);
    assert_int_equal(gm_quantile_sketch_add(&sketch, -0.0, NULL), GM_OK);
    gm_quantile_sketch_quantiles(&sketch, LEVELS, level, found);
    assert_true(found[0] == -DBL_MAX && found[5] == 0.0 && found[10] == DBL_MAX);
    gm_quantile_sketch_free(&sketch);

    /* Nothing but infinities on top: the median between a number and infinity is infinite. */
    assert_int_equal(gm_quantile_sketch_add(&sketch, 1.0, NULL), GM_OK);
    assert_int_equal(gm_quantile_sketch_add(&sketch, INFINITY, NULL), GM_OK);
    gm_quantile_sketch_quantiles(&sketch, LEVELS, level, found);
    assert_true(found[0] == 1.0 && found[5] == (double)INFINITY && found[10] == (double)INFINITY);
    gm_quantile_sketch_free(&sketch);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_sorting),
                                       cmocka_unit_test(test_merge_is_exact),
                                       cmocka_unit_test(test_edges)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "quantile_sketch");
}
