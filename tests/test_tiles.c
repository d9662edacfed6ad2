/* Products and losses on tiles against plain sums and against the losses of rows in double, on
 * every instruction set that this processor has. */
#include "kernel_arrays.h"

#include <float.h>

static const size_t heights[] = {1, 2, 5, 6, 7, 10, 13, 30};

/* C = A B + bias + C with A in two storages, k = 0 and odd counts of vectors among the cases. A sum
 * of k + 2 products has an error of at most (k + 2) eps times the sum of their magnitudes. */
static void check_product(const gm_kernels *k)
{
    for (size_t h = 0; h < sizeof heights / sizeof *heights; h++) {
        for (size_t vectors = 1; vectors <= 5; vectors++) {
            size_t m = heights[h], n = vectors * k->lanes, l = vectors == 1 ? 0 : 3 * vectors;
            size_t ldb = n + k->lanes, ldc = n + 2 * k->lanes;
            for (int form = 0; form < 16; form++) {
                bool turned = form & 1, add = form & 2, rectify = form & 4, biased = form & 8;
                void *a = new_normal(k, m * l, 0), *b = new_normal(k, l * ldb, 1);
                void *bias = new_normal(k, m, 2), *c = new_normal(k, m * ldc, 3);
                void *before = copy_array(k, m * ldc, c);
                k->tile_product(m, n, l, a, turned ? 1 : l, turned ? m : 1, b, ldb,
                                biased ? bias : NULL, add, rectify, c, ldc);
                for (size_t i = 0; i < m; i++) {
                    for (size_t j = 0; j < ldc; j++) {
                        double sum = add ? get(k, before, i * ldc + j) : 0, size = fabs(sum);
                        if (biased) sum += get(k, bias, i);
                        if (biased) size += fabs(get(k, bias, i));
                        for (size_t r = 0; j < n && r < l; r++) {
                            double x =
                                get(k, a, turned ? r * m + i : i * l + r) * get(k, b, r * ldb + j);
                            sum += x;
                            size += fabs(x);
                        }
                        if (j >= n) { /* not part of C */
                            sum = get(k, before, i * ldc + j);
                            size = 0;
                        } else if (rectify && sum < 0) {
                            sum = 0;
                        }
                        check_near(k, "tile_product", i * ldc + j, get(k, c, i * ldc + j), sum,
                                   gm_dtype_eps(k->dtype) * (double)(l + 2) * size);
                    }
                }
                check_sentinels(k, m * ldc, c);
                free(a);
                free(b);
                free(bias);
                free(c);
                free(before);
            }
        }
    }
}

/* A column's bits do not depend on where it stands, nor a row's on how many there are; NaN passes a
 * rectifier. */
static void check_places(const gm_kernels *k)
{
    enum { M = 11, L = 9 };
    size_t n = 3 * k->lanes;
    void *a = new_normal(k, M * L, 0), *b = new_normal(k, L * n, 1);
    void *c = new_array(k, M * n, 0), *one = new_array(k, k->lanes, 0);
    for (size_t r = 0; r < L; r++) { /* the last vector repeats the first */
        memcpy((char *)b + (r * n + 2 * k->lanes) * k->size, (char *)b + r * n * k->size,
               k->lanes * k->size);
    }
    k->tile_product(M, n, L, a, L, 1, b, n, NULL, false, false, c, n);
    for (size_t i = 0; i < M; i++) {
        const char *row = (char *)c + i * n * k->size;
        assert_memory_equal(row, row + 2 * k->lanes * k->size, k->lanes * k->size);
        k->tile_product(1, k->lanes, L, (char *)a + i * L * k->size, L, 1, b, n, NULL, false, false,
                        one, k->lanes);
        assert_memory_equal(row, one, k->lanes * k->size);
    }
    put(k, a, 0, (double)NAN);
    k->tile_product(M, n, L, a, L, 1, b, n, NULL, false, true, c, n);
    assert_true(isnan(get(k, c, 0)) && !isnan(get(k, c, n)));
    free(a);
    free(b);
    free(c);
    free(one);
}

static void check_transpose(const gm_kernels *k)
{
    enum { ROWS = 7, COLUMNS = 5, LDX = 6, LDO = 9 };
    void *x = new_normal(k, ROWS * LDX, 0), *out = new_array(k, COLUMNS * LDO, 1);
    k->transpose(ROWS, COLUMNS, x, LDX, out, LDO);
    for (size_t j = 0; j < COLUMNS; j++) {
        for (size_t i = 0; i < LDO; i++) {
            double expected = i < ROWS ? get(k, x, i * LDX + j) : 1;
            assert_true(get(k, out, j * LDO + i) == expected);
        }
    }
    check_sentinels(k, COLUMNS * LDO, out);
    free(x);
    free(out);
}

/* Both losses of one tile beside those of rows in double (test_losses.c holds these against long
 * double): logits of size `scale`, where 30 saturates the softmax in both precisions. */
static void check_loss(const gm_kernels *k, size_t n, size_t count, size_t classes, double scale,
                       bool squared)
{
    const gm_kernels *wide = gm_kernels_for(k->isa, GM_F64);
    void *z = new_normal(k, classes * n, 4), *signal = new_array(k, classes * n, 7);
    double *rows = new_doubles(n * classes, 0), *expected = new_doubles(n * classes, 0);
    double *target = new_doubles(classes * n, 0), *turned = new_doubles(classes * n, 0);
    double *loss = new_doubles(n, 0), sum = 0.25, total = 0.25;
    int32_t *y = calloc(n, sizeof *y);
    uint8_t *wrong = calloc(n, 1);
    size_t errors = 3, expected_errors = 3;
    for (size_t i = 0; i < n * classes; i++) {
        put(k, z, i, scale * get(k, z, i));
    }
    for (size_t i = 0; i < count; i++) {
        size_t top = 0;
        for (size_t c = 0; c < classes; c++) {
            rows[i * classes + c] = get(k, z, c * n + i);
            target[i * classes + c] =
                gm_normal(gm_stream_of(8, GM_PURPOSE_TEST, 0), i * classes + c);
            turned[c * n + i] = target[i * classes + c];
            if (target[i * classes + c] > target[i * classes + top]) top = c;
        }
        y[i] = squared ? (int32_t)top : (int32_t)((i * 7 + 1) % classes);
    }
    if (squared) {
        wide->squared_loss(count, classes, rows, target, loss, wrong, expected);
        k->tile_squared(n, count, classes, z, y, turned, &sum, &errors, signal);
    } else {
        wide->softmax_loss(count, classes, rows, y, loss, wrong, NULL, expected);
        k->tile_softmax(n, count, classes, z, y, &sum, &errors, signal);
    }
    /* Relative errors: exponentials and logarithms 4 eps each, their arguments' roundings grow with
     * the logits, sums of `classes` terms; what underflows is below FLT_MIN. */
    double eps = gm_dtype_eps(k->dtype) * (12 + (double)classes + 6 * scale);
    for (size_t i = 0; i < count; i++) {
        total += loss[i];
        expected_errors += wrong[i];
        for (size_t c = 0; c < classes; c++) {
            double exact = expected[i * classes + c];
            check_near(k, "signal", i, get(k, signal, c * n + i), exact,
                       eps * fabs(exact) + (double)FLT_MIN);
        }
    }
    check_near(k, "loss", 0, sum, total, eps * total);
    assert_int_equal(errors, expected_errors);
    for (size_t c = 0; c < classes; c++) {
        for (size_t i = count; i < n; i++) {
            assert_true(get(k, signal, c * n + i) == 0);
        }
    }
    check_sentinels(k, classes * n, signal);

    /* The same without a signal. */
    double again = 0.25;
    errors = 3;
    if (squared)
        k->tile_squared(n, count, classes, z, y, turned, &again, &errors, NULL);
    else
        k->tile_softmax(n, count, classes, z, y, &again, &errors, NULL);
    assert_true(again == sum && errors == expected_errors);
    free(z);
    free(signal);
    free(y);
    free(wrong);
    gm_free(rows);
    gm_free(expected);
    gm_free(target);
    gm_free(turned);
    gm_free(loss);
}

static void check_losses(const gm_kernels *k)
{
    static const size_t classes[] = {1, 2, 10, 33};
    for (size_t c = 0; c < 4; c++) {
        for (size_t vectors = 1; vectors <= 40; vectors += 39) { /* 40: more than one buffer */
            size_t n = vectors * k->lanes;
            for (int squared = 0; squared < 2; squared++) {
                check_loss(k, n, n, classes[c], 1, squared);
                check_loss(k, n, n - 1, classes[c], 1, squared);
                check_loss(k, n, n, classes[c], 30, squared);
            }
        }
    }
}

/* A loss that overflows is not finite, and its prediction wrong. */
static void check_overflow(const gm_kernels *k)
{
    size_t n = k->lanes;
    void *z = new_array(k, 3 * n, 0);
    int32_t *y = calloc(n, sizeof *y);
    double loss = 0;
    size_t wrong = 0;
    put(k, z, 0, (double)NAN);
    put(k, z, n + 1, (double)INFINITY);
    k->tile_softmax(n, 2, 3, z, y, &loss, &wrong, NULL);
    assert_false(isfinite(loss));
    assert_int_equal(wrong, 2);
    free(z);
    free(y);
}

static void test_product(void **state)
{
    (void)state;
    for_each_table(check_product);
    for_each_table(check_places);
    for_each_table(check_transpose);
}

static void test_losses(void **state)
{
    (void)state;
    for_each_table(check_losses);
    for_each_table(check_overflow);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_product),
                                       cmocka_unit_test(test_losses)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "tiles");
}
