#include "gradiometer/operator.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

enum { LANES = 8 };

/* A sum is finite only if all its terms are: one pass without a branch per entry, in several sums
 * so that the compiler may use vector instructions. */
static bool all_finite(size_t n, const double *x)
{
    double sum[LANES] = {0}, total = 0.0;
    size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            sum[l] += fabs(x[i + l]);
        }
    }
    for (size_t i = whole; i < n; i++) {
        total += fabs(x[i]);
    }
    for (size_t l = 0; l < LANES; l++) {
        total += sum[l];
    }
    return isfinite(total);
}

gm_status gm_operator_apply(gm_operator *op, size_t count, const double *v, double *av,
                            gm_error *err)
{
    gm_status status = op->apply(op->self, count, v, av, err);
    if (status != GM_OK) return status;
    for (size_t j = 0; j < count; j++) {
        if (!all_finite(op->size, av + j * op->size)) {
            return gm_fail(err, GM_ERR_NUMERIC,
                           "product %zu with the %s is not finite: NaN or overflow in the operator",
                           op->products + j + 1, op->name);
        }
    }
    op->products += count;
    return GM_OK;
}

void gm_operator_destroy(gm_operator *op)
{
    if (!op) return;
    if (op->destroy) op->destroy(op->self);
    memset(op, 0, sizeof *op);
}

static gm_status watched_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    gm_operator_watch *w = self;
    if (!w->stop || !w->stop(w->context)) return gm_operator_apply(w->inner, count, v, av, err);
    return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted after %zu products with the %s",
                   w->inner->products, w->inner->name);
}

void gm_operator_watched(gm_operator_watch *watch, gm_operator *op)
{
    *op = (gm_operator){.size = watch->inner->size,
                        .precision = watch->inner->precision,
                        .name = watch->inner->name,
                        .self = watch,
                        .apply = watched_apply};
}

typedef struct dense {
    size_t size;
    const double *a;
} dense;

static gm_status dense_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    const dense *d = self;
    for (size_t j = 0; j < count; j++) {
        for (size_t i = 0; i < d->size; i++) {
            const double *row = d->a + i * d->size;
            double sum = 0.0;
            for (size_t l = 0; l < d->size; l++) {
                sum += row[l] * v[j * d->size + l];
            }
            av[j * d->size + i] = sum;
        }
    }
    return GM_OK;
}

gm_status gm_operator_dense(size_t size, const double *a, gm_operator *op, gm_error *err)
{
    dense *d = gm_alloc(1, sizeof *d, "dense operator", err);
    if (!d) return GM_ERR_MEMORY;
    d->size = size;
    d->a = a;
    *op = (gm_operator){.size = size,
                        .precision = GM_F64,
                        .name = "dense matrix",
                        .self = d,
                        .apply = dense_apply,
                        .destroy = gm_free};
    return GM_OK;
}
