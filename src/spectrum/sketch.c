#include "spectrum/sketch.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"
#include "spectrum/eigen.h"

/* ---- random vectors ------------------------------------------------------------------------ */

static void fill_sphere(gm_stream stream, uint64_t first, size_t size, double *v)
{
    gm_normal_fill(stream, first, size, v);
    double squares = 0;
    for (size_t i = 0; i < size; i++) {
        squares += v[i] * v[i];
    }
    double scale = sqrt((double)size / squares);
    for (size_t i = 0; i < size; i++) {
        v[i] *= scale;
    }
}

void gm_probe_part(gm_stream stream, gm_probe_kind kind, uint64_t first, size_t count, double *v)
{
    /* Signs take 128 draws from one counter, uniform numbers one: far apart they never share one.
     */
    const uint64_t signs = UINT64_C(1) << 63;
    if (kind == GM_PROBE_NORMAL) {
        gm_normal_fill(stream, first, count, v);
        return;
    }
    gm_rademacher_fill(stream, signs + first, count, v);
    for (size_t i = 0; kind == GM_PROBE_ROUGH && i < count; i++) {
        v[i] *= 0.9 + 0.2 * gm_uniform(stream, first + i);
    }
}

void gm_probe_fill(gm_stream stream, gm_probe_kind kind, size_t first, size_t count, size_t size,
                   double *v)
{
    for (size_t j = 0; j < count; j++) {
        uint64_t start = (uint64_t)(first + j) * size;
        if (kind == GM_PROBE_SPHERE) {
            fill_sphere(stream, start, size, v + j * size);
        } else {
            gm_probe_part(stream, kind, start, size, v + j * size);
        }
    }
}

double gm_product_noise(const gm_operator *op)
{
    return 8 * gm_dtype_eps(op->precision) + DBL_EPSILON * sqrt((double)op->size);
}

gm_status gm_unit_apply(gm_unit_operator *u, size_t count, const double *v, double *av,
                        gm_error *err)
{
    size_t size = u->op->size, entries = count * size;
    gm_status status = gm_operator_apply(u->op, count, v, av, err);
    if (status != GM_OK) return status;
    if (u->unit == 0) {
        double largest = 0;
        for (size_t i = 0; i < entries; i++) {
            largest = fmax(largest, fabs(av[i]));
        }
        if (largest == 0) return GM_OK;
        int exponent = ilogb(largest); /* the inverse of the smallest normal is one, too */
        u->unit = ldexp(1, exponent < DBL_MIN_EXP ? DBL_MIN_EXP : exponent);
    }
    double inverse = 1 / u->unit;
    for (size_t i = 0; i < entries; i++) {
        av[i] *= inverse;
    }
    if (count < 2 || u->tried) return GM_OK;
    u->tried = true;
    return gm_eigen_symmetric(u->op, v, av, v + size, av + size, err);
}

double gm_unit_of(const gm_unit_operator *u)
{
    return u->unit > 0 ? u->unit : 1;
}

size_t gm_probe_next(size_t probes)
{
    return probes + probes / 2;
}

/* ---- options and statistics ---------------------------------------------------------------- */

void gm_estimate_options_default(gm_estimate_options *options)
{
    *options = (gm_estimate_options){.max_products = 300};
}

size_t gm_estimate_bytes_of(size_t size, size_t vectors, size_t numbers)
{
    size_t bytes = 0;
    bool fits = gm_mul_size(vectors, size, &bytes) && gm_add_size(bytes, numbers, &bytes) &&
                gm_mul_size(bytes, sizeof(double), &bytes);
    return fits ? bytes : SIZE_MAX;
}

gm_status gm_estimate_check(const gm_estimate_options *options, size_t fewest, bool gaussian,
                            bool shares, gm_error *err)
{
    if (options->team && !shares) {
        return gm_fail(err, GM_ERR_USAGE, "team: found one, expected none for this method");
    }
    if (options->gaussian && !gaussian) {
        return gm_fail(err, GM_ERR_USAGE, "gaussian: found true, expected false for this method");
    }
    if (options->max_products < fewest) {
        return gm_fail(err, GM_ERR_USAGE, "max_products: %zu, expected at least %zu",
                       options->max_products, fewest);
    }
    if (!(options->rel_error >= 0) || !isfinite(options->rel_error)) {
        return gm_fail(err, GM_ERR_USAGE, "rel_error: %g, expected a finite number >= 0",
                       options->rel_error);
    }
    return GM_OK;
}

/* Fisher's expansion about the normal quantile (Abramowitz and Stegun 26.7.5), within 1e-3 from
 * four degrees of freedom on; closed forms for one and two. */
double gm_student_quantile(size_t freedom)
{
    const double z = 1.959963984540054, z2 = z * z;
    if (freedom == 0) return HUGE_VAL;
    if (freedom == 1) return 12.706204736174694;
    if (freedom == 2) return 4.302652729749462;
    double n = (double)freedom;
    double g1 = (z2 + 1) * z / 4;
    double g2 = ((5 * z2 + 16) * z2 + 3) * z / 96;
    double g3 = (((3 * z2 + 19) * z2 + 17) * z2 - 15) * z / 384;
    double g4 = ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) * z / 92160;
    return z + (g1 + (g2 + (g3 + g4 / n) / n) / n) / n;
}

gm_estimate gm_estimate_mean(size_t count, const double *sample)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        sum += sample[i];
    }
    gm_estimate e = {.value = sum / (double)count};
    if (count < 2) {
        e.std_error = e.half_width = (double)NAN;
        return e;
    }
    for (size_t i = 0; i < count; i++) {
        squares += (sample[i] - e.value) * (sample[i] - e.value);
    }
    e.std_error = sqrt(squares / ((double)count * (double)(count - 1)));
    e.half_width = gm_student_quantile(count - 1) * e.std_error;
    return e;
}

/* ---- basis of the images ------------------------------------------------------------------- */

/* Room for `rows` vectors; the first `used` are kept. */
static gm_status extend(double **array, size_t used, size_t rows, size_t size, gm_error *err)
{
    size_t entries = 0;
    if (!gm_mul_size(rows, size, &entries)) entries = SIZE_MAX;
    double *longer = gm_alloc(entries, sizeof *longer, "vectors of a sketch", err);
    if (!longer) return GM_ERR_MEMORY;
    if (used) memcpy(longer, *array, used * size * sizeof *longer);
    gm_free(*array);
    *array = longer;
    return GM_OK;
}

void gm_sketch_need(size_t size, size_t probes, bool grows, size_t *vectors, size_t *numbers)
{
    size_t k = probes < size ? probes : size, square = 0;
    /* y, q, z, and while one of them is lengthened its old rows too */
    bool fits = gm_mul_size(k, grows ? 4 : 3, vectors) && gm_mul_size(k, k, &square) &&
                gm_mul_size(k, 128, numbers) && gm_add_size(*numbers, square, numbers);
    if (!fits) *vectors = *numbers = SIZE_MAX; /* projections and LAPACK's blocks of 64 columns */
}

/* Rows of q from `old` on become an orthonormal basis of what they add to the rows before; diag
 * [fresh] = R_kk. Twice, because a row that loses nearly all its length keeps the rounding errors
 * of what it lost. */
static gm_status orthogonalize(double *q, size_t old, size_t fresh, size_t size, double *diag,
                               gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    double *added = q + old * size;
    double *c = gm_alloc(old * fresh, sizeof *c, "projections", err);
    if (!c) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    for (int pass = 0; pass < 2 && status == GM_OK; pass++) {
        if (old) {
            kernels->gemm(false, true, fresh, old, size, 1, added, size, q, size, 0, c, old);
            kernels->gemm(false, false, fresh, size, old, -1, c, old, q, size, 1, added, size);
        }
        status = gm_orthonormalize(fresh, size, added, pass == 0 ? diag : NULL, err);
    }
    gm_free(c);
    return status;
}

/* The first probe's image is along q_1: omega_1 . A q_1 = q_1 . A omega_1 for one symmetric A. */
static gm_status check_first(const gm_sketch *s, gm_error *err)
{
    double *omega = gm_alloc(s->size, sizeof *omega, "probe", err);
    if (!omega) return GM_ERR_MEMORY;
    gm_probe_fill(s->stream, s->kind, 0, 1, s->size, omega);
    gm_status status = gm_eigen_symmetric(s->op->op, omega, s->y, s->q, s->z, err);
    gm_free(omega);
    return status;
}

gm_status gm_sketch_grow(gm_sketch *s, size_t probes, gm_error *err)
{
    if (probes > s->size) probes = s->size;
    if (s->exhausted || probes <= s->probes) return GM_OK;
    size_t old = s->probes, fresh = probes - old, size = s->size;
    double *diag = gm_alloc(fresh, sizeof *diag, "diagonal of R", err);
    gm_status status = diag ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = extend(&s->y, old, probes, size, err);
    if (status == GM_OK) status = extend(&s->q, old, probes, size, err);
    if (status == GM_OK) status = extend(&s->z, old, probes, size, err);
    if (status != GM_OK) goto done;

    /* Y = A Omega; Omega lies in the place of Z meanwhile */
    double *omega = s->z + old * size, *y = s->y + old * size;
    gm_probe_fill(s->stream, s->kind, old, fresh, size, omega);
    status = gm_unit_apply(s->op, fresh, omega, y, err);
    if (status != GM_OK) goto done;

    /* Y = Q R */
    memcpy(s->q + old * size, y, fresh * size * sizeof *y);
    status = orthogonalize(s->q, old, fresh, size, diag, err);
    if (status != GM_OK) goto done;
    size_t found = 0;
    for (; found < fresh; found++) {
        s->top = fmax(s->top, diag[found]);
        if (diag[found] <= gm_product_noise(s->op->op) * s->top) break;
    }
    s->exhausted = found < fresh;

    /* Z = A Q */
    status = gm_unit_apply(s->op, found, s->q + old * size, s->z + old * size, err);
    if (status == GM_OK && old == 0 && found > 0) status = check_first(s, err);
    if (status != GM_OK) goto done;
    s->probes = probes;
    s->rank = old + found;
done:
    gm_free(diag);
    return status;
}

void gm_sketch_free(gm_sketch *s)
{
    gm_free(s->y);
    gm_free(s->q);
    gm_free(s->z);
    memset(s, 0, sizeof *s);
}

bool gm_sketch_exact(const gm_sketch *s)
{
    return s->exhausted || s->rank == s->size;
}

void gm_sketch_core(const gm_sketch *s, double *h)
{
    size_t k = s->rank;
    gm_kernels_get(GM_F64)->gemm(false, true, k, k, s->size, 1, s->q, s->size, s->z, s->size, 0, h,
                                 k);
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < i; j++) {
            h[i * k + j] = h[j * k + i] = 0.5 * (h[i * k + j] + h[j * k + i]);
        }
    }
}

/* s_i is R^{-T} e_i, normalized: orthogonal to every column of R but number i. */
void gm_sketch_leave_out(const gm_sketch *sketch, double *r, double *s)
{
    size_t k = sketch->probes, size = sketch->size;
    gm_kernels_get(GM_F64)->gemm(false, true, k, k, size, 1, sketch->q, size, sketch->y, size, 0, r,
                                 k);
    for (size_t i = 0; i < k; i++) {
        double *si = s + i * k, squares = 1;
        memset(si, 0, k * sizeof *si);
        si[i] = 1; /* the length is free: the solution times R_ii */
        for (size_t j = i + 1; j < k; j++) {
            double sum = 0;
            for (size_t l = i; l < j; l++) {
                sum += r[l * k + j] * si[l];
            }
            si[j] = -sum / r[j * k + j];
            squares += si[j] * si[j];
        }
        for (size_t j = i; j < k; j++) {
            si[j] /= sqrt(squares);
        }
    }
}
