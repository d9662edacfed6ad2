/* Vector, row and matrix kernels against straightforward loops in double, in every instruction set
 * of this processor and both precisions. eps below is gm_dtype_eps of the table. */
#include "kernel_arrays.h"

#include <omp.h>

#include "kernels/parallel.h"

/* Around the vector widths, the sixteen sums, the piece of a thread, and past the threshold. */
static const size_t lengths[] = {
    0, 1, 2, 3, 7, 15, 16, 17, 31, 33, 100, 257, 1000, GM_BLOCK + 1, GM_THREADED + 4321};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

typedef struct matrix_size {
    size_t n, d;
} matrix_size;

static const matrix_size sizes[] = {{0, 3},  {1, 1},    {3, 5},     {7, 64},    {5, 65},
                                    {2, 17}, {33, 130}, {9000, 10}, {700, 131}, {2, 70000}};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- vectors ------------------------------------------------------------------------------- */

static void check_conversions(const gm_kernels *k)
{
    for (size_t t = 0; t < LENGTHS; t++) {
        size_t n = lengths[t];
        double *x = new_doubles(n, 0), *back = new_doubles(n, 0);
        void *out = new_array(k, n, 0);
        gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, n, x);
        k->from_double(n, x, out);
        k->to_double(n, out, back);
        for (size_t i = 0; i < n; i++) { /* exactly the nearest number of the precision */
            double rounded = k->dtype == GM_F32 ? (double)(float)x[i] : x[i];
            check_near(k, "from_double", i, get(k, out, i), rounded, 0);
            check_near(k, "to_double", i, back[i], rounded, 0);
        }
        assert_true(back[n] == sentinel);
        k->fill(n, 0.1, out);
        for (size_t i = 0; i < n; i++) {
            check_near(k, "fill", i, get(k, out, i), k->dtype == GM_F32 ? (double)0.1f : 0.1, 0);
        }
        check_sentinels(k, n, out);
        gm_free(x);
        gm_free(back);
        free(out);
    }
}

/* One multiplication and one addition: two roundings, |result| and |product| below 30. */
static void check_elementwise(const gm_kernels *k)
{
    double limit = 30 * gm_dtype_eps(k->dtype);
    for (size_t t = 0; t < LENGTHS; t++) {
        size_t n = lengths[t];
        void *x = new_normal(k, n, 1), *y = new_normal(k, n, 2);
        void *sum = copy_array(k, n, y), *product = new_array(k, n, (double)NAN);
        double *total = new_doubles(n, 100);
        k->axpy(n, -1.25, x, sum);
        k->multiply(n, x, y, product);
        k->accumulate(n, 1.0 / 3, x, total);
        for (size_t i = 0; i < n; i++) {
            double a = get(k, x, i), b = get(k, y, i);
            check_near(k, "axpy", i, get(k, sum, i), b - 1.25 * a, limit);
            check_near(k, "multiply", i, get(k, product, i), a * b, limit);
            /* in double whatever the table: two roundings of numbers below 128 */
            check_near(k, "accumulate", i, total[i], 100 + a / 3, 3e-14);
        }
        assert_true(total[n] == sentinel);
        void *first = copy_array(k, n, x), *second = copy_array(k, n, y);
        k->multiply(n, first, y, first);
        k->multiply(n, x, second, second);
        assert_memory_equal(first, product, n * k->size);
        assert_memory_equal(second, product, n * k->size);
        check_sentinels(k, n, sum);
        check_sentinels(k, n, product);
        check_sentinels(k, n, first);
        free(x);
        free(y);
        free(sum);
        free(product);
        gm_free(total);
        free(first);
        free(second);
    }
}

/* A root, a product and a sum; products and a quotient: four roundings of numbers below 10. */
static void check_perturbed(const gm_kernels *k)
{
    double limit = 40 * gm_dtype_eps(k->dtype);
    for (size_t t = 0; t < LENGTHS; t++) {
        size_t n = lengths[t];
        void *noise = new_normal(k, n, 1), *x = new_normal(k, n, 2), *z = new_normal(k, n, 3);
        void *signal = new_normal(k, n, 4), *spread = new_array(k, n, (double)NAN);
        void *old = copy_array(k, n, z), *out = new_array(k, n, (double)NAN);
        for (size_t i = 0; i < n; i++) {
            put(k, spread, i, i % 5 == 3 ? 0.0 : 0.1 + get(k, x, i) * get(k, x, i));
        }
        void *variance = copy_array(k, n, spread);
        k->perturb(n, noise, spread, z);
        k->perturb_signal(n, noise, spread, signal, out);
        for (size_t i = 0; i < n; i++) {
            double e = get(k, noise, i), sd = sqrt(get(k, variance, i));
            check_near(k, "perturb, sd", i, get(k, spread, i), sd, limit);
            check_near(k, "perturb", i, get(k, z, i), get(k, old, i) + sd * e, limit);
            double slope = sd > 0 ? get(k, signal, i) * e / (2 * sd) : 0;
            check_near(k, "perturb_signal", i, get(k, out, i), slope, limit);
        }
        k->perturb_signal(n, noise, spread, signal, spread);
        assert_memory_equal(spread, out, n * k->size);
        check_sentinels(k, n, z);
        check_sentinels(k, n, out);
        void *all[] = {noise, x, z, signal, spread, old, out, variance};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            free(all[i]);
        }
    }
}

/* Sums in double: error at most n eps_double sum |x y|, of which a hundredth is plenty in any
 * order of the sums that uses several of them; f32 products are exact in double. */
static void check_dot(const gm_kernels *k)
{
    for (size_t t = 0; t < LENGTHS; t++) {
        size_t n = lengths[t];
        void *x = new_normal(k, n, 3), *y = new_normal(k, n, 4);
        long double sum = 0, size = 0;
        for (size_t i = 0; i < n; i++) {
            long double product = (long double)get(k, x, i) * (long double)get(k, y, i);
            sum += product;
            size += fabsl(product);
        }
        double limit = (double)size * (1e-16 * 3 + 2.2e-18 * (double)n);
        check_near(k, "dot", n, k->dot(n, x, y), (double)sum, limit);
        for (size_t i = 0; i < n; i = 2 * i + 1) { /* a NaN anywhere is seen */
            double old = get(k, x, i);
            put(k, x, i, (double)NAN);
            assert_true(isnan(k->dot(n, x, y)));
            put(k, x, i, old);
        }
        free(x);
        free(y);
    }
}

static void check_sgd(const gm_kernels *k)
{
    const double eta = 0.1, beta = 0.9, decay = 0.01;
    for (size_t t = 0; t < LENGTHS; t++) {
        size_t n = lengths[t];
        for (int form = 0; form < 4; form++) { /* no velocity; beta 0; momentum; Nesterov */
            double b = form >= 2 ? beta : 0;
            void *g = new_normal(k, n, 5), *v = new_normal(k, n, 6), *w = new_normal(k, n, 7);
            void *v0 = copy_array(k, n, v), *w0 = copy_array(k, n, w);
            k->sgd_step(n, eta, b, form == 3, decay, g, form ? v : NULL, w);
            for (size_t i = 0; i < n; i++) {
                double gradient = get(k, g, i) + decay * get(k, w0, i);
                double velocity = b * get(k, v0, i) + gradient;
                double step = form == 0 ? gradient : form == 3 ? gradient + b * velocity : velocity;
                /* six roundings, of the constants too, of numbers below 12 */
                double limit = 40 * gm_dtype_eps(k->dtype);
                check_near(k, "sgd_step", i, get(k, w, i), get(k, w0, i) - eta * step, limit);
                if (form) check_near(k, "velocity", i, get(k, v, i), velocity, limit);
            }
            check_sentinels(k, n, w);
            check_sentinels(k, n, v);
            free(g);
            free(v);
            free(w);
            free(v0);
            free(w0);
        }
    }
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void check_row_sums(const gm_kernels *k)
{
    double eps = gm_dtype_eps(k->dtype);
    for (size_t s = 0; s < SIZES; s++) {
        size_t n = sizes[s].n, d = sizes[s].d;
        void *x = new_normal(k, n * d, 8), *y = new_normal(k, n * d, 9);
        void *columns = new_array(k, d, 0.5);
        double *t = new_doubles(n, 0.25);
        k->column_sums(n, d, x, columns);
        k->row_dots(n, d, x, y, t);
        for (size_t j = 0; j < d; j++) {
            double sum = 0.5, size = 0.5;
            for (size_t i = 0; i < n; i++) {
                sum += get(k, x, i * d + j);
                size += fabs(get(k, x, i * d + j));
            }
            /* summed in double, rounded once or twice to the precision */
            check_near(k, "column_sums", j, get(k, columns, j), sum,
                       2 * eps * (fabs(sum) + 1) + 1e-14 * size);
        }
        for (size_t i = 0; i < n; i++) {
            double sum = 0.25, size = 1;
            for (size_t j = 0; j < d; j++) {
                double product = get(k, x, i * d + j) * get(k, y, i * d + j);
                sum += product;
                size += fabs(product);
            }
            check_near(k, "row_dots", i, t[i], sum, 1e-14 * size);
        }
        assert_true(t[n] == sentinel);
        check_sentinels(k, d, columns);
        free(x);
        free(y);
        free(columns);
        gm_free(t);
    }
}

/* Products of rows with a vector, and their combination; rows further apart than they are long. */
static void check_row_blocks(const gm_kernels *k)
{
    enum { STRIDE = 3, ROWS = 11 };
    double eps = gm_dtype_eps(k->dtype), t[ROWS];
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 15), 0, ROWS, t);
    for (size_t l = 0; l < LENGTHS; l++) {
        size_t n = lengths[l], stride = n + STRIDE;
        void *x = new_normal(k, ROWS * stride, 12), *y = new_normal(k, n, 13);
        for (size_t rows = 0; rows <= ROWS; rows++) {
            void *out = copy_array(k, n, y);
            double sum[ROWS + 1];
            for (size_t j = 0; j <= ROWS; j++) {
                sum[j] = 0.25;
            }
            k->rows_dot(rows, n, x, stride, y, sum);
            k->rows_axpy(rows, n, -1.5, t, x, stride, out);
            for (size_t j = 0; j <= ROWS; j++) {
                double expected = 0.25, size = 1;
                for (size_t i = 0; j < rows && i < n; i++) {
                    double product = get(k, x, j * stride + i) * get(k, y, i);
                    expected += product;
                    size += fabs(product);
                }
                check_near(k, "rows_dot", j, sum[j], expected, 1e-14 * size);
            }
            for (size_t i = 0; i < n; i++) {
                double expected = get(k, y, i), size = 1;
                for (size_t j = 0; j < rows; j++) {
                    double term = -1.5 * t[j] * get(k, x, j * stride + i);
                    expected += term;
                    size += fabs(term);
                }
                /* a rounding of each coefficient, product and sum */
                check_near(k, "rows_axpy", i, get(k, out, i), expected, 4 * eps * size);
            }
            check_sentinels(k, n, out);
            free(out);
        }
        free(x);
        free(y);
    }
}

static void check_row_maps(const gm_kernels *k)
{
    double limit = 20 * gm_dtype_eps(k->dtype); /* two roundings of numbers below 20 */
    for (size_t s = 0; s < SIZES; s++) {
        size_t n = sizes[s].n, d = sizes[s].d;
        void *x = new_normal(k, n * d, 10), *bias = new_normal(k, d, 11);
        void *shifted = copy_array(k, n * d, x), *scaled = new_array(k, n * d, (double)NAN);
        void *in_place = copy_array(k, n * d, x), *gathered = new_array(k, n * d, (double)NAN);
        double *t = new_doubles(n, 0);
        size_t *index = calloc(n + 1, sizeof *index);
        gm_normal_fill(gm_stream_of(2, GM_PURPOSE_TEST, 0), 0, n, t);
        for (size_t i = 0; i < n; i++) {
            index[i] = (7 * i + n / 2) % n; /* repeats where 7 divides n */
        }
        k->add_bias(n, d, bias, shifted);
        k->scale_rows(n, d, t, x, scaled);
        k->scale_rows(n, d, t, in_place, in_place);
        k->gather_rows(n, d, index, x, gathered);
        for (size_t i = 0; i < n * d; i++) {
            size_t row = i / d, column = i % d;
            double value = get(k, x, i);
            check_near(k, "add_bias", i, get(k, shifted, i), value + get(k, bias, column), limit);
            check_near(k, "scale_rows", i, get(k, scaled, i), t[row] * value, limit);
            check_near(k, "gather_rows", i, get(k, gathered, i), get(k, x, index[row] * d + column),
                       0);
        }
        assert_memory_equal(scaled, in_place, n * d * k->size);
        check_sentinels(k, n * d, shifted);
        check_sentinels(k, n * d, scaled);
        check_sentinels(k, n * d, gathered);
        free(x);
        free(bias);
        free(shifted);
        free(scaled);
        free(in_place);
        free(gathered);
        gm_free(t);
        free(index);
    }
}

/* Every kernel that splits its work gives the same bits for any number of threads, and inside a
 * parallel region. */
static void check_threads(const gm_kernels *k)
{
    enum { N = 400, D = 333 }; /* 133,200 elements, no multiple of anything */
    int before = omp_get_max_threads();
    void *x = new_normal(k, N * D, 12), *y = new_normal(k, N * D, 13);
    double dot[4], rows[4][N] = {{0}};
    void *columns[4], *gelu[4], *metric[4];
    for (int run = 0; run < 4; run++) {
        columns[run] = new_array(k, D, 1);
        gelu[run] = new_array(k, N * D, 0);
        metric[run] = new_array(k, N * D, 0);
        omp_set_num_threads(run == 3 ? 2 : run + 1);
#pragma omp parallel num_threads(2) if (run == 3)
#pragma omp single
        {
            dot[run] = k->dot(N * D, x, y);
            k->row_dots(N, D, x, y, rows[run]);
            k->column_sums(N, D, x, columns[run]);
            k->act_value(GM_ACT_GELU, N * D, x, gelu[run]);
            k->softmax_metric(N, D, x, y, metric[run]);
        }
    }
    omp_set_num_threads(before);
    for (int run = 1; run < 4; run++) {
        assert_memory_equal(&dot[run], &dot[0], sizeof dot[0]);
        assert_memory_equal(rows[run], rows[0], sizeof rows[0]);
        assert_memory_equal(columns[run], columns[0], D * k->size);
        assert_memory_equal(gelu[run], gelu[0], N * D * k->size);
        assert_memory_equal(metric[run], metric[0], N * D * k->size);
    }
    for (int run = 0; run < 4; run++) {
        free(columns[run]);
        free(gelu[run]);
        free(metric[run]);
    }
    free(x);
    free(y);
}

/* ---- matrices ------------------------------------------------------------------------------ */

typedef struct product_case {
    size_t m, n, k;
    double alpha, beta;
    size_t pad; /* added to each leading dimension */
} product_case;

static const product_case products[] = {
    {1, 1, 1, 1, 0, 0},       {3, 5, 7, 1, 0, 2},    {17, 9, 33, -0.5, 1, 0},
    {65, 31, 10, 2, -1.5, 3}, {20, 130, 1, 1, 0, 0}, {1, 40, 300, 1, 0, 0},
    {40, 1, 300, 1, 1, 0},    {70, 80, 90, 1, 0, 0}, {6, 7, 0, 1, 0, 1},
    {6, 7, 0, 1, 2, 1},       {0, 5, 4, 1, 0, 0},    {5, 0, 4, 1, 0, 0},
    {150, 160, 170, 1, 0, 1},
};
enum { PRODUCTS = sizeof products / sizeof *products };

/* Bound on rounding: (k + 2) eps (|alpha| |op(A)| |op(B)| + |beta| |C|), element by element. */
static void check_product(const gm_kernels *k, const product_case *p, bool ta, bool tb)
{
    double eps = gm_dtype_eps(k->dtype);
    size_t lda = (ta ? p->m : p->k) + p->pad, ldb = (tb ? p->k : p->n) + p->pad;
    size_t ldc = p->n + p->pad;
    void *a = new_normal(k, (ta ? p->k : p->m) * lda, 20);
    void *b = new_normal(k, (tb ? p->n : p->k) * ldb, 21);
    void *c = p->beta == 0 ? new_array(k, p->m * ldc, (double)NAN) : new_normal(k, p->m * ldc, 22);
    void *before = copy_array(k, p->m * ldc, c);
    k->gemm(ta, tb, p->m, p->n, p->k, p->alpha, a, lda, b, ldb, p->beta, c, ldc);
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < ldc; j++) {
            double old = get(k, before, i * ldc + j), value = get(k, c, i * ldc + j);
            if (j >= p->n) { /* between the rows nothing is touched */
                check_near(k, "gemm padding", i, value, old, 0);
                continue;
            }
            double sum = p->beta == 0 ? 0 : p->beta * old, size = fabs(sum);
            for (size_t l = 0; l < p->k; l++) {
                double product = p->alpha * get(k, a, ta ? l * lda + i : i * lda + l) *
                                 get(k, b, tb ? j * ldb + l : l * ldb + j);
                sum += product;
                size += fabs(product);
            }
            assert_false(isnan(value)); /* NaN in C must not be read where beta = 0 */
            check_near(k, "gemm", i * ldc + j, value, sum, (double)(p->k + 2) * eps * size);
        }
    }
    check_sentinels(k, p->m * ldc, c);
    free(a);
    free(b);
    free(c);
    free(before);
}

static void check_products(const gm_kernels *k)
{
    for (size_t i = 0; i < 4 * PRODUCTS; i++) {
        check_product(k, &products[i / 4], i & 1, i & 2);
    }
}

/* Four products at once from four threads, each as right as alone. */
static void check_concurrent_products(const gm_kernels *k)
{
    enum { N = 90 };
    void *a = new_normal(k, N * N, 23), *c[4], *alone = new_array(k, N * N, 0);
    k->gemm(false, true, N, N, N, 1, a, N, a, N, 0, alone, N);
    for (int t = 0; t < 4; t++) {
        c[t] = new_array(k, N * N, (double)NAN);
    }
#pragma omp parallel for num_threads(4)
    for (int t = 0; t < 4; t++) {
        k->gemm(false, true, N, N, N, 1, a, N, a, N, 0, c[t], N);
    }
    for (int t = 0; t < 4; t++) {
        for (size_t i = 0; i < N * N; i++) { /* |A||A^T| is below 200 on the diagonal */
            check_near(k, "concurrent gemm", i, get(k, c[t], i), get(k, alone, i),
                       200 * N * gm_dtype_eps(k->dtype));
        }
        free(c[t]);
    }
    free(a);
    free(alone);
}

static void test_conversions(void **state)
{
    (void)state;
    for_each_table(check_conversions);
}

static void test_elementwise(void **state)
{
    (void)state;
    for_each_table(check_elementwise);
    for_each_table(check_perturbed);
}

static void test_dot(void **state)
{
    (void)state;
    for_each_table(check_dot);
}

static void test_sgd(void **state)
{
    (void)state;
    for_each_table(check_sgd);
}

static void test_rows(void **state)
{
    (void)state;
    for_each_table(check_row_sums);
    for_each_table(check_row_blocks);
    for_each_table(check_row_maps);
}

static void test_threads(void **state)
{
    (void)state;
    for_each_table(check_threads);
}

static void test_products(void **state)
{
    (void)state;
    check_products(gm_kernels_get(GM_F32));
    check_products(gm_kernels_get(GM_F64));
    check_concurrent_products(gm_kernels_get(GM_F32));
    check_concurrent_products(gm_kernels_get(GM_F64));
}

static void test_choice(void **state)
{
    (void)state;
    gm_error err = {0};
    assert_int_equal(unsetenv("GRADIOMETER_ISA"), 0);
    assert_string_equal(gm_kernels_for("baseline", GM_F32)->isa, "baseline");
    assert_null(gm_kernels_for("avx", GM_F32));
    for (size_t i = 0; gm_isa_name(i); i++) {
        const gm_kernels *k = gm_kernels_for(gm_isa_name(i), GM_F64);
        setenv("GRADIOMETER_ISA", gm_isa_name(i), 1);
        assert_int_equal(gm_isa_check(&err), k ? GM_OK : GM_ERR_USAGE);
        if (!k) continue;
        assert_ptr_equal(gm_kernels_get(GM_F64), k);
        assert_string_equal(gm_kernels_get(GM_F32)->isa, gm_isa_name(i));
        assert_int_equal(gm_kernels_get(GM_F32)->dtype, GM_F32);
        assert_int_equal(gm_kernels_get(GM_F32)->size, 4);
        assert_int_equal(gm_kernels_get(GM_F64)->size, 8);
    }
    setenv("GRADIOMETER_ISA", "neon", 1);
    assert_int_equal(gm_isa_check(&err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "neon"));
    assert_non_null(gm_kernels_get(GM_F64));
    unsetenv("GRADIOMETER_ISA");
    assert_int_equal(gm_isa_check(&err), GM_OK);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversions), cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_dot),         cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_rows),        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_products),    cmocka_unit_test(test_choice),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "kernels");
}
