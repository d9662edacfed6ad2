/* Reading and adding through strided views, once per precision and instruction set. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

/* Numbers of a view. */
static size_t FN(view_size)(const gm_view *v)
{
    size_t size = 1;
    for (int i = 0; i < v->rank; i++) {
        size *= v->dim[i];
    }
    return size;
}

/* Moves index, over all axes but the last, to the next row and returns the row's first place. */
static size_t FN(next_row)(const gm_view *v, size_t *index, size_t place)
{
    for (int i = v->rank - 2; i >= 0; i--) {
        place += (size_t)v->stride[i]; /* wraps for a negative stride, and back */
        if (++index[i] < v->dim[i]) return place;
        place -= v->dim[i] * (size_t)v->stride[i];
        index[i] = 0;
    }
    return place;
}

static void FN(read_row)(size_t n, ptrdiff_t stride, const REAL *x, bool add, REAL *y)
{
    if (stride == 1 && !add) {
        memcpy(y, x, n * sizeof *y);
    } else if (add) {
        for (size_t i = 0; i < n; i++) {
            y[i] += x[(ptrdiff_t)i * stride];
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            y[i] = x[(ptrdiff_t)i * stride];
        }
    }
}

static void FN(add_row)(size_t n, ptrdiff_t stride, const REAL *y, REAL *x)
{
    if (stride == 0) { /* a sum */
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += (double)y[i];
        }
        *x += (REAL)sum;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        x[(ptrdiff_t)i * stride] += y[i];
    }
}

static void FN(view_read)(const gm_view *v, size_t n, size_t size, const void *x, bool add, void *y)
{
    size_t numbers = FN(view_size)(v), row = v->rank ? v->dim[v->rank - 1] : 1;
    ptrdiff_t stride = v->rank ? v->stride[v->rank - 1] : 1;
#pragma omp parallel for schedule(static) if (n > 1 && gm_threaded(n * numbers))
    for (size_t s = 0; s < n; s++) {
        const REAL *from = (const REAL *)x + s * size;
        REAL *to = (REAL *)y + s * numbers;
        size_t index[GM_VIEW_RANK] = {0}, place = v->at;
        for (size_t i = 0; i < numbers; i += row) {
            FN(read_row)(row, stride, from + place, add, to + i);
            place = FN(next_row)(v, index, place);
        }
    }
}

static void FN(view_add)(const gm_view *v, size_t n, size_t size, const void *y, void *x)
{
    size_t numbers = FN(view_size)(v), row = v->rank ? v->dim[v->rank - 1] : 1;
    ptrdiff_t stride = v->rank ? v->stride[v->rank - 1] : 1;
#pragma omp parallel for schedule(static) if (n > 1 && gm_threaded(n * numbers))
    for (size_t s = 0; s < n; s++) {
        const REAL *from = (const REAL *)y + s * numbers;
        REAL *to = (REAL *)x + s * size;
        size_t index[GM_VIEW_RANK] = {0}, place = v->at;
        for (size_t i = 0; i < numbers; i += row) {
            FN(add_row)(row, stride, from + i, to + place);
            place = FN(next_row)(v, index, place);
        }
    }
}

static void FN(embed)(size_t n, size_t d, const void *index, const void *table, void *out)
{
    const REAL *row = index, *from = table;
    REAL *to = out;
#pragma omp parallel for schedule(static) if (gm_threaded(n * d))
    for (size_t i = 0; i < n; i++) {
        memcpy(to + i * d, from + (size_t)row[i] * d, d * sizeof *to);
    }
}

static void FN(embed_add)(size_t n, size_t d, const void *index, const void *x, void *table)
{
    const REAL *row = index, *from = x;
    for (size_t i = 0; i < n; i++) {
        REAL *to = (REAL *)table + (size_t)row[i] * d;
        for (size_t j = 0; j < d; j++) {
            to[j] += from[i * d + j];
        }
    }
}
