#include "spectrum/rows.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/kernels.h"
#include "spectrum/eigen.h"

enum { PIECE = 1 << 17 }; /* numbers that travel to rank 0 at a time */

gm_rows gm_rows_of(const gm_team *team, size_t size)
{
    gm_rows rows = {.team = team, .size = size};
    gm_team_share(team, size, &rows.first, &rows.count);
    return rows;
}

static double own_dot(const gm_rows *rows, const double *x, const double *y)
{
    return rows->count ? gm_kernels_get(GM_F64)->dot(rows->count, x, y) : 0.0;
}

double gm_rows_dot(const gm_rows *rows, const double *x, const double *y)
{
    double sum = own_dot(rows, x, y);
    gm_team_sum(rows->team, 1, &sum);
    return sum;
}

double gm_rows_norm(const gm_rows *rows, const double *x)
{
    return sqrt(gm_rows_dot(rows, x, x));
}

/* The rows of `mine` that lie in the window from ... from + length - 1 of the whole vector, put
 * where they belong in piece [length]; then all ranks' are there. */
static void fill_window(const gm_rows *rows, const double *mine, size_t from, size_t length,
                        double *piece)
{
    size_t last = rows->first + rows->count;
    size_t begin = rows->first > from ? rows->first : from;
    size_t end = last < from + length ? last : from + length;
    size_t count = end > begin ? end - begin : 0, place = count ? begin - from : 0;
    if (count) memcpy(piece + place, mine + (begin - rows->first), count * sizeof *piece);
    gm_team_gather(rows->team, place * sizeof *piece, count * sizeof *piece, piece);
}

gm_status gm_rows_deliver(const gm_rows *rows, const double *mine, gm_rows_taker *take,
                          void *context, gm_error *err)
{
    double *piece = gm_alloc_raw(PIECE, sizeof *piece, "a piece of a vector", err);
    if (!piece) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    for (size_t from = 0; status == GM_OK && from < rows->size; from += PIECE) {
        size_t length = rows->size - from < PIECE ? rows->size - from : PIECE;
        fill_window(rows, mine, from, length, piece);
        if (gm_team_rank(rows->team) == 0) status = take(context, length, piece, err);
        gm_team_broadcast(rows->team, sizeof status, &status);
    }
    gm_free(piece);
    return status;
}

/* whole [size] = the vector of which each rank has its share `mine`. */
static void put_together(const gm_rows *rows, const double *mine, double *whole)
{
    size_t bytes = rows->count * sizeof *mine;
    if (bytes) memcpy(whole + rows->first, mine, bytes);
    gm_team_gather(rows->team, rows->first * sizeof *mine, bytes, whole);
}

gm_status gm_rows_whole(const gm_rows *rows, size_t count, const double *mine, double **whole,
                        gm_error *err)
{
    size_t numbers;
    *whole = NULL;
    if (!gm_mul_size(count, rows->size, &numbers)) {
        return gm_fail(err, GM_ERR_MEMORY, "%zu vectors of %zu numbers do not fit", count,
                       rows->size);
    }
    *whole = gm_alloc_raw(numbers, sizeof **whole, "whole vectors", err);
    if (!*whole) return GM_ERR_MEMORY;
    for (size_t j = 0; j < count; j++) {
        put_together(rows, mine + j * rows->count, *whole + j * rows->size);
    }
    return GM_OK;
}

/* ---- products ---- */

gm_status gm_row_product_make(const gm_team *team, gm_operator *op, gm_row_product *product,
                              gm_error *err)
{
    *product = (gm_row_product){.rows = gm_rows_of(team, op->size), .op = op};
    if (op->apply_share) return GM_OK;
    product->v = gm_alloc_raw(op->size, sizeof *product->v, "vector of a product", err);
    product->av = gm_alloc_raw(op->size, sizeof *product->av, "product", err);
    return product->v && product->av ? GM_OK : GM_ERR_MEMORY;
}

void gm_row_product_free(gm_row_product *product)
{
    gm_free(product->v);
    gm_free(product->av);
    memset(product, 0, sizeof *product);
}

static gm_status one_product(gm_row_product *p, const double *v, double *av, gm_error *err)
{
    const gm_rows *rows = &p->rows;
    if (p->op->apply_share) {
        gm_status status = p->op->apply_share(p->op->self, v, av, err);
        p->op->products += status == GM_OK;
        return status;
    }
    put_together(rows, v, p->v);
    gm_status status = gm_operator_apply(p->op, 1, p->v, p->av, err);
    if (status == GM_OK && rows->count > 0)
        memcpy(av, p->av + rows->first, rows->count * sizeof *av);
    return status;
}

gm_status gm_row_product_apply(gm_row_product *p, const double *v, double *av, gm_error *err)
{
    enum { VV, WW, FAILED, UW, VAU, UU, AUAU, SUMS };
    const gm_rows *rows = &p->rows;
    double sum[SUMS] = {0};
    gm_status status = one_product(p, v, av, err);
    sum[FAILED] = status != GM_OK;
    if (status == GM_OK) {
        sum[VV] = own_dot(rows, v, v);
        sum[WW] = own_dot(rows, av, av);
    }
    if (status == GM_OK && p->u) {
        sum[UW] = own_dot(rows, p->u, av);
        sum[VAU] = own_dot(rows, v, p->au);
        sum[UU] = own_dot(rows, p->u, p->u);
        sum[AUAU] = own_dot(rows, p->au, p->au);
    }
    gm_team_sum(rows->team, SUMS, sum);
    if (status != GM_OK) return status;
    if (sum[FAILED] > 0) {
        return gm_fail(err, GM_ERR_NUMERIC, "a product with the %s failed on another rank",
                       p->op->name);
    }
    if (!isfinite(sum[WW])) {
        return gm_fail(err, GM_ERR_NUMERIC,
                       "product %zu with the %s is not finite: NaN or overflow in the operator",
                       p->op->products, p->op->name);
    }
    p->products++;
    if (sum[VV] > 0) p->largest = fmax(p->largest, sqrt(sum[WW] / sum[VV]));
    if (!p->u) return GM_OK;
    p->u = p->au = NULL;
    return gm_eigen_mirrored(p->op, sum[UW], sum[VAU],
                             sqrt(sum[UU] * sum[WW]) + sqrt(sum[VV] * sum[AUAU]), err);
}

gm_status gm_row_residuals(gm_row_product *p, size_t count, const double *value,
                           const double *vector, double *residual, gm_error *err)
{
    const gm_rows *rows = &p->rows;
    double *r = gm_alloc_raw(rows->count, sizeof *r, "product of an eigenvector", err);
    gm_status status = r ? GM_OK : GM_ERR_MEMORY;
    for (size_t j = 0; status == GM_OK && j < count; j++) {
        const double *v = vector + j * rows->count;
        status = gm_row_product_apply(p, v, r, err);
        if (status != GM_OK) break;
        if (rows->count) gm_kernels_get(GM_F64)->axpy(rows->count, -value[j], v, r);
        residual[j] = gm_rows_norm(rows, r);
    }
    gm_free(r);
    return status;
}
