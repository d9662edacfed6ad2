/* Operators from matrix files: every kind that is read, against the matrix written down; every kind
 * of damage, refused by a message that names file and line. Files are put together here byte by
 * byte. */
#include "support.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "folder.h"
#include "gradiometer/eigen.h"
#include "gradiometer/matrix.h"
#include "known_operator.h"

static gm_operator load(const char *path)
{
    gm_operator op;
    gm_error err = {0};
    if (gm_operator_load(path, 0, &op, &err) != GM_OK) fail_msg("%s", err.message);
    assert_int_equal(op.precision, GM_F64);
    return op;
}

/* Products with all unit vectors at once and one by one, and the diagonal, against a [n, n]: all
 * exact, a product with a unit vector rounds nothing. */
static void expect_matrix(const char *path, size_t n, const double *a)
{
    gm_operator op = load(path);
    assert_int_equal(op.size, n);
    double *unit = new_numbers(n * n), *all = new_numbers(n * n), *one = new_numbers(n);
    for (size_t i = 0; i < n; i++) {
        unit[i * n + i] = 1;
    }
    assert_int_equal(gm_operator_apply(&op, n, unit, all, NULL), GM_OK);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(gm_operator_apply(&op, 1, unit + i * n, one, NULL), GM_OK);
        for (size_t j = 0; j < n; j++) {
            near(all[i * n + j], a[i * n + j], 0);
            near(one[j], a[i * n + j], 0);
        }
    }
    gm_operator_load_diagonal(&op, one);
    for (size_t i = 0; i < n; i++) {
        near(one[i], a[i * n + i], 0);
    }
    assert_int_equal(op.products, 2 * n);
    gm_operator_destroy(&op);
    gm_free(unit);
    gm_free(all);
    gm_free(one);
}

static const char *text_file(const char *name, const char *text)
{
    folder_write(name, text, strlen(text));
    return folder_path(name);
}

static void test_market(void **state)
{
    (void)state;
    static const double a[9] = {2, -1.5, 0, -1.5, 0, 4e-3, 0, 4e-3, 7};
    static const double pattern[9] = {0, 1, 0, 1, 0, 1, 0, 1, 1};
    static const double whole[9] = {2, -1, 0, -1, 0, 4, 0, 4, 7};
    static const struct {
        const char *text;
        const double *a;
    } cases[] = {
        {"%%MatrixMarket matrix coordinate real symmetric\n% a comment\n%\n\n3 3 4\n"
         "1 1 2\n2 1 -1.5\n3 2 4e-3\n3 3 7\n",
         a},
        /* any case, any order, spaces, carriage returns, no newline at the end */
        {"%%matrixmarket MATRIX Coordinate Real General\r\n 3  3\t6 \r\n3 3 7 \r\n2 1 -1.5\r\n"
         "1 2 -1.5\r\n\r\n2 3 4e-3\r\n3 2 .004\r\n 1 1 2.0",
         a},
        /* duplicates, one of them of a mirror image */
        {"%%MatrixMarket matrix coordinate real general\n3 3 8\n3 3 3\n2 1 -1\n1 2 -1.5\n3 3 4\n"
         "2 1 -0.5\n2 3 4e-3\n3 2 4e-3\n1 1 2\n",
         a},
        {"%%MatrixMarket matrix coordinate real symmetric\n3 3 6\n1 1 1\n2 1 -1\n3 2 4e-3\n3 3 7\n"
         "1 1 1\n2 1 -0.5\n",
         a},
        {"%%MatrixMarket matrix coordinate pattern symmetric\n3 3 3\n2 1\n3 2\n3 3\n", pattern},
        {"%%MatrixMarket matrix coordinate pattern general\n3 3 5\n2 1\n1 2\n3 2\n2 3\n3 3\n",
         pattern},
        {"%%MatrixMarket matrix coordinate integer symmetric\n3 3 4\n1 1 2\n2 1 -1\n3 2 4\n3 3 7\n",
         whole},
        {"%%MatrixMarket matrix array real general\n3 3\n2\n-1.5\n0\n-1.5\n0\n4e-3\n0\n4e-3\n7\n",
         a},
        {"%%MatrixMarket matrix array integer symmetric\n% of the lower triangle\n3 "
         "3\n2\n-1\n0\n0\n"
         "4\n7\n",
         whole},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        expect_matrix(text_file("a.mtx", cases[c].text), 3, cases[c].a);
    }
    static const double zero[4] = {0};
    expect_matrix(text_file("z.mtx", "%%MatrixMarket matrix coordinate real symmetric\n2 2 0\n"), 2,
                  zero);
}

/* Numbers have a point in them whatever the host's locale. */
static void test_locale(void **state)
{
    (void)state;
    static const double a[1] = {1.5};
    const char *text = "%%MatrixMarket matrix array real general\n1 1\n1.5\n";
    char *before = strdup(setlocale(LC_NUMERIC, NULL));
    setlocale(LC_NUMERIC, "de_DE.UTF-8"); /* where it is installed */
    expect_matrix(text_file("l.mtx", text), 1, a);
    setlocale(LC_NUMERIC, before);
    free(before);
}

/* ---- what is refused ---- */

static void expect_refused(const char *path, gm_status expected, const char *part)
{
    gm_operator op = {.size = 99};
    gm_error err = {0};
    gm_status status = gm_operator_load(path, (size_t)1 << 20, &op, &err);
    if (status != expected || err.status != status || !strstr(err.message, part) ||
        !strstr(err.message, path))
        fail_msg("%s: status %d (expected %d), message \"%s\" (expected \"%s\")", path, (int)status,
                 (int)expected, err.message, part);
    assert_null(op.self);
}

#define BANNER "%%MatrixMarket matrix coordinate real general\n"
#define LOWER  "%%MatrixMarket matrix coordinate real symmetric\n"
#define ARRAY  "%%MatrixMarket matrix array real general\n"

static void test_damaged_market(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "neither"},
        {"1 2 3\n", "neither an NPY array nor a Matrix Market file (%%MatrixMarket ...)"},
        {"%", "line 1"},
        {"%MatrixMarket matrix coordinate real general\n1 1 0\n", "line 1: found \"%Matrix"},
        {"%%MatrixMarket matrix coordinate real\n1 1 0\n", "line 1"},
        {"%%MatrixMarket matrix coordinate real general sorted\n1 1 0\n", "line 1"},
        {"%%MatrixMarket vector coordinate real general\n1 1 0\n",
         "object vector, expected matrix"},
        {"%%MatrixMarket matrix sparse real general\n1 1 0\n", "format sparse"},
        {"%%MatrixMarket matrix coordinate complex general\n1 1 0\n",
         "field complex, expected real, integer or pattern"},
        {"%%MatrixMarket matrix coordinate complex hermitian\n1 1 0\n", "field complex"},
        {"%%MatrixMarket matrix coordinate real hermitian\n1 1 0\n", "symmetry hermitian"},
        {"%%MatrixMarket matrix coordinate real skew-symmetric\n1 1 0\n",
         "symmetry skew-symmetric, expected general or symmetric"},
        {"%%MatrixMarket matrix array pattern general\n1 1\n", "array of field pattern"},
        {BANNER, "ends before the line of sizes"},
        {BANNER "% only comments\n", "ends before the line of sizes"},
        {BANNER "2 2\n", "line 2: found \"2 2\", expected rows, columns and entries"},
        {BANNER "2 2 1 1\n1 1 1\n", "line 2"},
        {BANNER "2 -2 1\n1 1 1\n", "line 2"},
        {BANNER "2 2 1.0\n1 1 1\n", "line 2"},
        {BANNER "99999999999999999999999 2 1\n1 1 1\n", "line 2"},
        {BANNER "3 2 1\n1 1 1\n", "line 2: 3 rows and 2 columns, expected a square matrix"},
        {BANNER "0 0 0\n", "line 2: 0 rows"},
        {BANNER "4294967296 4294967296 1\n1 1 1\n", "4294967296 rows"},
        {BANNER "2 2 18446744073709551615\n1 1 1\n", "more than its"},
        {BANNER "2 2 1000\n1 1 1\n", "declares 1000 entries, more than its"},
        {ARRAY "100000 100000\n1\n", "more than its"},
        {ARRAY "4294967295 4294967295\n1\n", "more than its"},
        {BANNER "2 2 2\n1 1 1\n", "ends after 1 of 2 entries"},
        {BANNER "2 2 1\n1 1 1\n2 2 1\n", "line 4 follows the last of the 1 entries"},
        {BANNER "2 2 1\n\n1 1\n", "line 4: found \"1 1\", expected row, column and value"},
        {BANNER "2 2 1\n1 1 one\n", "line 3: found \"1 1 one\""},
        {BANNER "2 2 1\n1 1 1,5\n", "line 3"},
        {BANNER "2 2 1\n1 1 1 1\n", "line 3"},
        {BANNER "2 2 1\n1.0 1 1\n", "line 3"},
        {BANNER "2 2 1\n1 1 nan\n", "line 3: found \"1 1 nan\", expected a finite number"},
        {BANNER "2 2 1\n1 1 -inf\n", "finite"},
        {BANNER "2 2 1\n1 1 1e999\n", "finite"},
        {BANNER "2 2 2\n1 1 1.7e308\n1 1 1.7e308\n", "entry (1, 1) overflows"},
        {BANNER "2 2 1\n0 1 1\n", "line 3: entry (0, 1), expected 1 ... 2"},
        {BANNER "2 2 1\n1 3 1\n", "line 3: entry (1, 3), expected 1 ... 2"},
        {LOWER "2 2 1\n1 2 1\n", "line 3: entry (1, 2) is above the diagonal"},
        {"%%MatrixMarket matrix coordinate integer general\n2 2 1\n1 1 1.5\n", "a whole number"},
        {"%%MatrixMarket matrix coordinate pattern general\n2 2 1\n1 1 1\n",
         "expected row and column"},
        {ARRAY "2 2\n1\n0\n0\n", "ends after 3 of 4 entries"},
        {ARRAY "2 2\n1 0\n0\n1\n1\n", "line 3: found \"1 0\", expected one number"},
        {ARRAY "2 2\n1\n0\n0\n1\n5\n", "line 7 follows the last of the 4 entries"},
        {BANNER "2 2 3\n1 1 1\n1 2 0.5\n2 1 0.25\n",
         "entry (1, 2) is 0.5, entry (2, 1) is 0.25 (counted from 1), expected a symmetric matrix"},
        {BANNER "2 2 1\n2 1 0.25\n", "entry (2, 1) is 0.25, entry (1, 2) is 0 "},
        {BANNER "2 2 1\n1 2 0.25\n", "entry (1, 2) is 0.25, entry (2, 1) is 0 "},
        {ARRAY "2 2\n1\n2\n3\n1\n", "entry (1, 2) is 3, entry (2, 1) is 2 "},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        expect_refused(text_file("bad.mtx", cases[c].text), GM_ERR_INPUT, cases[c].part);
    }
    static const char zero[] = BANNER "2 2 1\n1 1 1\0 1\n";
    folder_write("zero.mtx", zero, sizeof zero - 1);
    expect_refused(folder_path("zero.mtx"), GM_ERR_INPUT, "line 3 holds a zero byte");
    expect_refused(folder_path("missing.mtx"), GM_ERR_IO, "No such file");
    expect_refused(folder, GM_ERR_IO, "not a regular file");
    expect_refused(text_file("wide.mtx", BANNER "4000000000 4000000000 1\n1 1 1\n"), GM_ERR_MEMORY,
                   "the budget is 1 MiB");
}

/* ---- NPY ---- */

static const char *npy_file(const char *name, int major, const char *descr, bool fortran,
                            const char *shape, const void *elements, size_t bytes)
{
    unsigned char file[4096] = "\x93NUMPY";
    char header[256];
    int length =
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n",
                 descr, fortran ? "True" : "False", shape);
    size_t at = 8;
    file[6] = (unsigned char)major;
    for (int b = 0; b < (major == 1 ? 2 : 4); b++) {
        file[at++] = (unsigned char)(length >> 8 * b & 255);
    }
    memcpy(file + at, header, (size_t)length);
    at += (size_t)length;
    memcpy(file + at, elements, bytes);
    folder_write(name, file, at + bytes);
    return folder_path(name);
}

static void test_npy(void **state)
{
    (void)state;
    static const double a[9] = {2, -1.5, 0, -1.5, 0, 0.25, 0, 0.25, 7};
    float f4[9];
    for (int i = 0; i < 9; i++) {
        f4[i] = (float)a[i];
    }
    for (int major = 1; major <= 3; major++) {
        for (int fortran = 0; fortran <= 1; fortran++) {
            expect_matrix(npy_file("d.npy", major, "<f8", fortran, "(3, 3)", a, sizeof a), 3, a);
            expect_matrix(npy_file("s.npy", major, "<f4", fortran, "(3, 3)", f4, sizeof f4), 3, a);
        }
    }
    /* Rounding of what should be symmetric: taken for its mean; of f4, with its own tolerance. */
    static const double mean[4] = {8, 1 + 2e-12, 1 + 2e-12, 8};
    static const double rounded[4] = {8, 1, 1 + 4e-12, 8};
    const char *path = npy_file("r.npy", 1, "<f8", false, "(2, 2)", rounded, sizeof rounded);
    gm_operator op = load(path);
    double unit[2] = {1, 0}, column[2];
    assert_int_equal(gm_operator_apply(&op, 1, unit, column, NULL), GM_OK);
    near(column[1], mean[1], 1e-15);
    gm_operator_destroy(&op);
    static const float single[4] = {8, 1, 1 + 0x1p-20f, 8};
    op = load(npy_file("r4.npy", 1, "<f4", false, "(2, 2)", single, sizeof single));
    assert_int_equal(gm_operator_apply(&op, 1, unit, column, NULL), GM_OK);
    near(column[1], 1 + 0x1p-21, 0);
    gm_operator_destroy(&op);
}

static void test_damaged_npy(void **state)
{
    (void)state;
    static const double a[12] = {1, 2, 3, 4};
    static const int64_t whole[4] = {1, 0, 0, 1};
    static const double nan_at[4] = {1, 2, NAN, 1}, coarse[4] = {8, 1, 1 + 1e-11, 8};
    expect_refused(npy_file("v.npy", 1, "<f8", false, "(4,)", a, 32), GM_ERR_INPUT,
                   "has 1 dimensions, expected 2");
    expect_refused(npy_file("q.npy", 1, "<f8", false, "(2, 3)", a, 48), GM_ERR_INPUT,
                   "2 rows and 3 columns, expected a square matrix");
    expect_refused(npy_file("e.npy", 1, "<f8", false, "(0, 0)", a, 0), GM_ERR_INPUT, "0 rows");
    expect_refused(npy_file("i.npy", 1, "<i8", false, "(2, 2)", whole, 32), GM_ERR_INPUT,
                   "elements of type i8, expected f4 or f8");
    expect_refused(npy_file("c.npy", 1, "<c16", false, "(2, 2)", a, 64), GM_ERR_INPUT, "'<c16'");
    expect_refused(npy_file("t.npy", 1, "<f8", false, "(2, 2)", a, 31), GM_ERR_INPUT,
                   "the file ends after 3");
    expect_refused(npy_file("n.npy", 1, "<f8", false, "(2, 2)", nan_at, 32), GM_ERR_INPUT,
                   "entry (1, 0) (counted from 0) is NaN");
    expect_refused(npy_file("n.npy", 1, "<f8", true, "(2, 2)", nan_at, 32), GM_ERR_INPUT,
                   "entry (0, 1) (counted from 0) is NaN");
    expect_refused(npy_file("a.npy", 1, "<f8", false, "(2, 2)", a, 32), GM_ERR_INPUT,
                   "entry (0, 1) is 2, entry (1, 0) is 3 (counted from 0)");
    expect_refused(npy_file("a.npy", 1, "<f8", true, "(2, 2)", a, 32), GM_ERR_INPUT,
                   "entry (0, 1) is 3, entry (1, 0) is 2 (counted from 0)");
    expect_refused(npy_file("a.npy", 1, "<f8", false, "(2, 2)", coarse, 32), GM_ERR_INPUT,
                   "entry (0, 1) is 1, entry (1, 0) is 1.00000000001");
    gm_operator op;
    gm_error err = {0};
    const char *path = npy_file("a.npy", 1, "<f8", false, "(2, 2)", coarse, 32);
    assert_int_equal(gm_operator_load(path, 31, &op, &err), GM_ERR_MEMORY);
}

/* ---- larger ones, through a solver ---- */

/* The second difference on N points, eigenvalues 2 - 2 cos(pi j / (N + 1)), written as a general
 * matrix with its last row first. Threads do not change a bit. */
static void test_chain(void **state)
{
    (void)state;
    enum { N = 40000 };
    FILE *file = fopen(folder_path("chain.mtx"), "w");
    assert_non_null(file);
    fputs(BANNER, file);
    fprintf(file, "%d %d %d\n", N, N, 3 * N - 2);
    for (int i = N; i >= 1; i--) {
        if (i < N) fprintf(file, "%d %d -1\n", i, i + 1);
        fprintf(file, "%d %d 2\n", i, i);
        if (i > 1) fprintf(file, "%d %d -1\n", i, i - 1);
    }
    assert_int_equal(fclose(file), 0);
    gm_operator op = load(folder_path("chain.mtx"));
    double *v = new_numbers(N), *av = new_numbers(N), *again = new_numbers(N);
    const double angle = acos(-1.0) / (N + 1);
    for (int i = 0; i < N; i++) {
        v[i] = sin(3 * angle * (i + 1)); /* the third eigenvector from below */
    }
    omp_set_num_threads(1);
    assert_int_equal(gm_operator_apply(&op, 1, v, av, NULL), GM_OK);
    omp_set_num_threads(4);
    assert_int_equal(gm_operator_apply(&op, 1, v, again, NULL), GM_OK);
    assert_memory_equal(av, again, N * sizeof *av);
    for (int i = 0; i < N; i++) {
        /* three terms of size 2 at most, each rounded once, and the sine's own rounding */
        near(av[i], (2 - 2 * cos(3 * angle)) * v[i], 1e-14);
    }
    gm_operator_destroy(&op);
    gm_free(v);
    gm_free(av);
    gm_free(again);
}

static void test_eigenpairs(void **state)
{
    (void)state;
    enum { N = 300, K = 4 };
    FILE *file = fopen(folder_path("sparse.mtx"), "w");
    assert_non_null(file);
    fputs(LOWER, file);
    fprintf(file, "%d %d %d\n", N, N, 2 * N - 1);
    for (int i = 1; i <= N; i++) {
        if (i > 1) fprintf(file, "%d %d -1\n", i, i - 1);
        fprintf(file, "%d %d 2\n", i, i);
    }
    assert_int_equal(fclose(file), 0);
    gm_operator op = load(folder_path("sparse.mtx"));
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.k = K;
    options.tol = 1e-10;
    gm_eigen result;
    gm_error err = {0};
    if (gm_eigenpairs(&op, &options, &result, &err) != GM_OK) fail_msg("%s", err.message);
    for (int j = 0; j < K; j++) {
        /* a residual of 1e-10 * 4 bounds the error of the eigenvalue */
        near(result.value[j], 2 - 2 * cos(acos(-1.0) * (N - j) / (N + 1)), 4e-10);
    }
    gm_eigen_free(&result);
    gm_operator_destroy(&op);
}

int main(int argc, char **argv)
{
    /* Not around the group: the start-up may execute this program anew before the first test. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_market, folder_make),
        cmocka_unit_test(test_locale),
        cmocka_unit_test(test_damaged_market),
        cmocka_unit_test(test_npy),
        cmocka_unit_test(test_damaged_npy),
        cmocka_unit_test(test_chain),
        cmocka_unit_test_teardown(test_eigenpairs, folder_remove),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "matrix");
}
