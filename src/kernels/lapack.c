/* Row-major arrays are handed to LAPACK as the column-major transposes that they are: a symmetric
 * matrix's lower triangle becomes the upper one, eigenvectors come out as rows, and no array is
 * ever copied for its layout. */
#include "kernels/lapack.h"

#include <float.h>
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

/* Workspaces of one eigenproblem. */
typedef struct eigen_work {
    double *d;    /* [n] diagonal of the tridiagonal matrix */
    double *e;    /* [n] off-diagonal, n - 1 used */
    double *tau;  /* [n] reflectors of the reduction */
    double *de;   /* [2n] copies of d and e that LAPACK destroys */
    double *work; /* [lwork] */
    size_t lwork;
} eigen_work;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static gm_status lapack_failed(const char *routine, lapack_int info, gm_error *err)
{
    return gm_fail(err, GM_ERR_NUMERIC, "%s: did not converge (info %d)", routine, (int)info);
}

/* LAPACK counts in int. */
static gm_status check_size(const char *what, size_t n, gm_error *err)
{
    if (n <= INT_MAX) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "%s: size %zu, expected at most %d", what, n, INT_MAX);
}

/* LAPACK may loop for ever on NaN and infinity. */
static gm_status check_finite(const char *what, size_t n, const double *a, gm_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i])) {
            return gm_fail(err, GM_ERR_NUMERIC, "%s: entry %zu is %g, expected finite numbers",
                           what, i, a[i]);
        }
    }
    return GM_OK;
}

/* Workspace as large as LAPACK's answer to a query (a count in a double). */
static gm_status work_of(double query, double **work, size_t *lwork, gm_error *err)
{
    *lwork = larger((size_t)query, 1);
    gm_status status = check_size("LAPACK workspace", *lwork, err);
    if (status != GM_OK) return status;
    *work = gm_alloc(*lwork, sizeof **work, "LAPACK workspace", err);
    return *work ? GM_OK : GM_ERR_MEMORY;
}

/* ---- symmetric eigenproblem ---------------------------------------------------------------- */

static gm_status check_triangle(size_t n, const double *a, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t i = 0; i < n && status == GM_OK; i++) {
        status = check_finite("symmetric matrix", i + 1, a + i * n, err);
    }
    return status;
}

static void swap_rows(size_t n, double *a, double *b)
{
    for (size_t i = 0; i < n; i++) {
        double t = a[i];
        a[i] = b[i];
        b[i] = t;
    }
}

static void reverse_rows(size_t rows, size_t n, double *a)
{
    for (size_t i = 0; 2 * i + 1 < rows; i++) {
        swap_rows(n, a + i * n, a + (rows - 1 - i) * n);
    }
}

static void free_work(eigen_work *w)
{
    gm_free(w->d);
    gm_free(w->e);
    gm_free(w->tau);
    gm_free(w->de);
    gm_free(w->work);
}

static gm_status make_work(size_t n, eigen_work *w, gm_error *err)
{
    lapack_int ln = (lapack_int)n;
    double reduce = 1, back = 1, none;
    LAPACKE_dsytrd_work(LAPACK_COL_MAJOR, 'U', ln, &none, ln, &none, &none, &none, &reduce, -1);
    LAPACKE_dormtr_work(LAPACK_COL_MAJOR, 'L', 'U', 'N', ln, ln, &none, ln, &none, &none, ln, &back,
                        -1);
    gm_status status =
        work_of(fmax(fmax(reduce, back), 18.0 * (double)n), &w->work, &w->lwork, err);
    if (status != GM_OK) return status;
    w->d = gm_alloc(n, sizeof *w->d, "diagonal", err);
    w->e = gm_alloc(n, sizeof *w->e, "off-diagonal", err);
    w->tau = gm_alloc(n, sizeof *w->tau, "reflectors", err);
    w->de = gm_alloc(n, 2 * sizeof *w->de, "tridiagonal matrix", err);
    return w->d && w->e && w->tau && w->de ? GM_OK : GM_ERR_MEMORY;
}

/* Eigenvectors number first ... first + count - 1 (ascending, from 0) of the tridiagonal matrix by
 * the method of multiple relatively robust representations, O(n) each. */
static gm_status some_vectors(size_t n, size_t first, size_t count, eigen_work *w, double *vector,
                              gm_error *err)
{
    if (count == 0) return GM_OK;
    lapack_int ln = (lapack_int)n, found = 0;
    lapack_logical try_high_accuracy = 1;
    gm_status status = GM_ERR_MEMORY;
    double *value = gm_alloc(n, sizeof *value, "eigenvalues", err);
    lapack_int *isuppz = gm_alloc(count, 2 * sizeof *isuppz, "supports", err);
    lapack_int *iwork = gm_alloc(n, 10 * sizeof *iwork, "LAPACK workspace", err);
    if (!value || !isuppz || !iwork) goto done;
    memcpy(w->de, w->d, n * sizeof *w->d);
    memcpy(w->de + n, w->e, n * sizeof *w->e);
    lapack_int info = LAPACKE_dstemr_work(
        LAPACK_COL_MAJOR, 'V', 'I', ln, w->de, w->de + n, 0, 0, (lapack_int)first + 1,
        (lapack_int)(first + count), &found, value, vector, ln, (lapack_int)count, isuppz,
        &try_high_accuracy, w->work, (lapack_int)w->lwork, iwork, (lapack_int)(10 * n));
    status = info == 0 && (size_t)found == count ? GM_OK : lapack_failed("dstemr", info, err);
done:
    gm_free(value);
    gm_free(isuppz);
    gm_free(iwork);
    return status;
}

/* Largest |entry| of V V^T - I, rows of vector [count, n]. */
static double orthogonality_error(size_t n, size_t count, const double *vector)
{
    double worst = 0;
#pragma omp parallel for schedule(dynamic) reduction(max : worst) if (count * count * n > 1000000)
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = i == j ? -1 : 0;
            for (size_t k = 0; k < n; k++) {
                sum += vector[i * n + k] * vector[j * n + k];
            }
            worst = fmax(worst, isfinite(sum) ? fabs(sum) : 1);
        }
    }
    return worst;
}

/* All eigenvectors of the tridiagonal matrix by divide and conquer, orthogonal to rounding however
 * the eigenvalues cluster; the wanted ones are picked. */
static gm_status all_vectors(size_t n, size_t top, size_t bottom, eigen_work *w, double *vector,
                             gm_error *err)
{
    lapack_int ln = (lapack_int)n, iquery = 0;
    double query = 0, *z = NULL, *work = NULL;
    size_t lwork = 0, squared = 0;
    lapack_int *iwork = NULL;
    gm_status status = GM_ERR_MEMORY;
    memcpy(w->de, w->d, n * sizeof *w->d);
    memcpy(w->de + n, w->e, n * sizeof *w->e);
    LAPACKE_dstedc_work(LAPACK_COL_MAJOR, 'I', ln, w->de, w->de + n, w->work, ln, &query, -1,
                        &iquery, -1);
    if (!gm_mul_size(n, n, &squared)) squared = SIZE_MAX;
    z = gm_alloc(squared, sizeof *z, "eigenvectors", err);
    iwork = gm_alloc((size_t)iquery, sizeof *iwork, "LAPACK workspace", err);
    if (!z || !iwork) goto done;
    status = work_of(query, &work, &lwork, err);
    if (status != GM_OK) goto done;
    lapack_int info = LAPACKE_dstedc_work(LAPACK_COL_MAJOR, 'I', ln, w->de, w->de + n, z, ln, work,
                                          (lapack_int)lwork, iwork, iquery);
    status = info == 0 ? GM_OK : lapack_failed("dstedc", info, err);
    if (status != GM_OK) goto done;
    for (size_t i = 0; i < top; i++) {
        memcpy(vector + i * n, z + (n - 1 - i) * n, n * sizeof *z);
    }
    for (size_t i = 0; i < bottom; i++) {
        memcpy(vector + (top + i) * n, z + (bottom - 1 - i) * n, n * sizeof *z);
    }
done:
    gm_free(z);
    gm_free(work);
    gm_free(iwork);
    return status;
}

/* The wanted eigenvectors of the tridiagonal matrix, in the order of gm_symmetric_eigen. */
static gm_status tridiagonal_vectors(size_t n, size_t top, size_t bottom, eigen_work *w,
                                     double *vector, gm_error *err)
{
    size_t count = top + bottom;
    if (count > n / 4) return all_vectors(n, top, bottom, w, vector, err);
    gm_error tried;
    gm_status status = some_vectors(n, n - top, top, w, vector, &tried);
    if (status == GM_OK) status = some_vectors(n, 0, bottom, w, vector + top * n, &tried);
    /* dstemr promises orthogonality to n eps and, rarely, gives it up inside large clusters: polish
     * what is nearly right, and do not hope for the rest. */
    double error = status == GM_OK ? orthogonality_error(n, count, vector) : 1;
    if (error > 1e-10) return all_vectors(n, top, bottom, w, vector, err);
    if (error > 1e-14) status = gm_orthonormalize(count, n, vector, NULL, err);
    if (status != GM_OK) return status;
    reverse_rows(top, n, vector);
    reverse_rows(bottom, n, vector + top * n);
    return GM_OK;
}

gm_status gm_symmetric_eigen(size_t n, double *a, size_t top, size_t bottom, double *value,
                             double *vector, gm_error *err)
{
    if (n == 0) return GM_OK;
    if (top > n || bottom > n - top) {
        return gm_fail(err, GM_ERR_USAGE, "eigenvectors: %zu + %zu asked for, expected at most %zu",
                       top, bottom, n);
    }
    eigen_work w = {0};
    lapack_int ln = (lapack_int)n, info;
    gm_status status = check_size("symmetric matrix", n, err);
    if (status == GM_OK) status = check_triangle(n, a, err);
    if (status == GM_OK) status = make_work(n, &w, err);
    if (status != GM_OK) goto done;

    /* A = Q T Q^T */
    info = LAPACKE_dsytrd_work(LAPACK_COL_MAJOR, 'U', ln, a, ln, w.d, w.e, w.tau, w.work,
                               (lapack_int)w.lwork);
    if (info == 0) {
        memcpy(value, w.d, n * sizeof *value);
        memcpy(w.de, w.e, n * sizeof *w.e);
        info = LAPACKE_dsterf_work(ln, value, w.de);
    }
    if (info != 0) {
        status = lapack_failed("dsytrd and dsterf", info, err);
        goto done;
    }
    reverse_rows(n, 1, value);
    if (top + bottom == 0) goto done;

    /* eigenvectors of T, then times Q */
    status = tridiagonal_vectors(n, top, bottom, &w, vector, err);
    if (status != GM_OK) goto done;
    info = LAPACKE_dormtr_work(LAPACK_COL_MAJOR, 'L', 'U', 'N', ln, (lapack_int)(top + bottom), a,
                               ln, w.tau, vector, ln, w.work, (lapack_int)w.lwork);
    if (info != 0) status = lapack_failed("dormtr", info, err);
done:
    free_work(&w);
    return status;
}

gm_status gm_tridiagonal_eigen(size_t n, const double *d, const double *e, double *value,
                               double *first, gm_error *err)
{
    if (n == 0) return GM_OK;
    gm_status status = check_size("tridiagonal matrix", n, err);
    if (status == GM_OK) status = check_finite("diagonal", n, d, err);
    if (status == GM_OK) status = check_finite("off-diagonal", n - 1, e, err);
    if (status != GM_OK) return status;
    size_t squared = 0;
    if (!gm_mul_size(n, n, &squared)) squared = SIZE_MAX;
    double *z = gm_alloc(squared, sizeof *z, "eigenvectors", err);
    double *off = gm_alloc(n, 3 * sizeof *off, "off-diagonal and LAPACK workspace", err);
    status = z && off ? GM_OK : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    memcpy(value, d, n * sizeof *d);
    if (n > 1) memcpy(off, e, (n - 1) * sizeof *e);
    lapack_int ln = (lapack_int)n;
    lapack_int info = LAPACKE_dsteqr_work(LAPACK_COL_MAJOR, 'I', ln, value, off, z, ln, off + n);
    if (info != 0) status = lapack_failed("dsteqr", info, err);
    for (size_t i = 0; i < n; i++) {
        first[i] = z[(n - 1 - i) * n];
    }
    reverse_rows(n, 1, value);
done:
    gm_free(z);
    gm_free(off);
    return status;
}

/* ---- singular values and bases ------------------------------------------------------------- */

gm_status gm_svd(size_t m, size_t n, double *a, double *s, double *u, double *vt, gm_error *err)
{
    size_t r = m < n ? m : n, entries = 0, lwork = 0;
    if (r == 0) return GM_OK;
    gm_status status = check_size("matrix", larger(m, n), err);
    if (status != GM_OK) return status;
    if (!gm_mul_size(m, n, &entries)) {
        return gm_fail(err, GM_ERR_INPUT, "matrix: size %zu x %zu overflows", m, n);
    }
    status = check_finite("matrix", entries, a, err);
    if (status != GM_OK) return status;

    /* A^T, column-major [n, m], = V S U^T: LAPACK's left factor is vt, its right one u. */
    bool vectors = u || vt;
    double query = 0, *work = NULL, *spare = NULL;
    lapack_int lm = (lapack_int)n, ln = (lapack_int)m, lr = (lapack_int)r;
    lapack_int *iwork = gm_alloc(r, 8 * sizeof *iwork, "LAPACK workspace", err);
    if (!iwork) return GM_ERR_MEMORY;
    if (vectors && !(u && vt)) {
        spare = gm_alloc(r * (u ? n : m), sizeof *spare, "singular vectors", err);
        status = spare ? GM_OK : GM_ERR_MEMORY;
        if (status != GM_OK) goto done;
        *(u ? &vt : &u) = spare;
    }
    char job = vectors ? 'S' : 'N';
    LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, job, lm, ln, a, lm, s, vt, lm, u, lr, &query, -1, iwork);
    status = work_of(query, &work, &lwork, err);
    if (status != GM_OK) goto done;
    lapack_int info = LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, job, lm, ln, a, lm, s, vt, lm, u, lr,
                                          work, (lapack_int)lwork, iwork);
    if (info != 0) status = lapack_failed("dgesdd", info, err);
done:
    gm_free(iwork);
    gm_free(work);
    gm_free(spare);
    return status;
}

gm_status gm_orthonormalize(size_t k, size_t n, double *q, double *diag, gm_error *err)
{
    if (k == 0) return GM_OK;
    size_t entries = 0, lwork = 0;
    gm_status status = check_size("basis", larger(k, n), err);
    if (status != GM_OK) return status;
    if (k > n || !gm_mul_size(k, n, &entries)) {
        return gm_fail(err, GM_ERR_INPUT, "basis: %zu vectors of length %zu, expected at most %zu",
                       k, n, n);
    }
    status = check_finite("basis", entries, q, err);
    if (status != GM_OK) return status;

    lapack_int ln = (lapack_int)n, lk = (lapack_int)k, info;
    double factor = 0, form = 0, *work = NULL;
    double *tau = gm_alloc(k, 2 * sizeof *tau, "reflectors", err);
    if (!tau) return GM_ERR_MEMORY;
    double *r = tau + k;
    LAPACKE_dgeqrf_work(LAPACK_COL_MAJOR, ln, lk, q, ln, tau, &factor, -1);
    LAPACKE_dorgqr_work(LAPACK_COL_MAJOR, ln, lk, lk, q, ln, tau, &form, -1);
    status = work_of(fmax(factor, form), &work, &lwork, err);
    if (status != GM_OK) goto done;
    info = LAPACKE_dgeqrf_work(LAPACK_COL_MAJOR, ln, lk, q, ln, tau, work, (lapack_int)lwork);
    for (size_t i = 0; i < k; i++) {
        r[i] = q[i * n + i];
        if (diag) diag[i] = fabs(r[i]);
    }
    if (info == 0) {
        info =
            LAPACKE_dorgqr_work(LAPACK_COL_MAJOR, ln, lk, lk, q, ln, tau, work, (lapack_int)lwork);
    }
    if (info != 0) status = lapack_failed("dgeqrf and dorgqr", info, err);
    for (size_t i = 0; i < k; i++) { /* the sign of Gram-Schmidt: row i has R_ii >= 0 */
        if (r[i] >= 0) continue;
        for (size_t j = 0; j < n; j++) {
            q[i * n + j] = -q[i * n + j];
        }
    }
done:
    gm_free(tau);
    gm_free(work);
    return status;
}
