/* S A S for a diagonal S. With S = D^{-1/2} it is similar to D^{-1} A, the matrix that a
 * preconditioned gradient step sees, but symmetric (theory section 3.5). */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/operator.h"

typedef struct scaled {
    gm_operator *inner;
    double *scale;   /* [size] */
    double *block;   /* [capacity, size]: S v */
    size_t capacity; /* vectors */
    char *name;
} scaled;

static void scaled_destroy(void *self)
{
    scaled *s = self;
    if (!s) return;
    gm_free(s->scale);
    gm_free(s->block);
    gm_free(s->name);
    gm_free(s);
}

static gm_status reserve(scaled *s, size_t count, gm_error *err)
{
    if (count <= s->capacity) return GM_OK;
    gm_free(s->block);
    s->capacity = 0;
    /* A row of the scale's length exists, so that its bytes do not overflow. */
    s->block = gm_alloc(count, s->inner->size * sizeof *s->block, "preconditioned vectors", err);
    if (!s->block) return GM_ERR_MEMORY;
    s->capacity = count;
    return GM_OK;
}

/* out [count, size] = in S, row by row. */
static void scale_rows(size_t count, size_t size, const double *scale, const double *in,
                       double *out)
{
    for (size_t j = 0; j < count; j++) {
        for (size_t i = 0; i < size; i++) {
            out[j * size + i] = scale[i] * in[j * size + i];
        }
    }
}

static gm_status scaled_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    scaled *s = self;
    size_t size = s->inner->size;
    gm_status status = reserve(s, count, err);
    if (status != GM_OK) return status;
    scale_rows(count, size, s->scale, v, s->block);
    status = gm_operator_apply(s->inner, count, s->block, av, err);
    if (status == GM_OK) scale_rows(count, size, s->scale, av, av);
    return status;
}

gm_status gm_operator_scaled(gm_operator *inner, const double *scale, gm_operator *op,
                             gm_error *err)
{
    size_t size = inner->size;
    *op = (gm_operator){0};
    for (size_t i = 0; i < size; i++) {
        if (!isfinite(scale[i]))
            return gm_fail(err, GM_ERR_INPUT,
                           "scale of the %s: entry %zu (counted from 0) is %s, expected a finite "
                           "number",
                           inner->name, i, isnan(scale[i]) ? "NaN" : "infinite");
    }
    scaled *s = gm_alloc(1, sizeof *s, "preconditioned operator", err);
    if (!s) return GM_ERR_MEMORY;
    s->inner = inner;
    s->scale = gm_alloc(size, sizeof *s->scale, "scale", err);
    s->name = s->scale ? gm_format(err, "preconditioned %s", inner->name) : NULL;
    if (!s->name) {
        scaled_destroy(s);
        return GM_ERR_MEMORY;
    }
    memcpy(s->scale, scale, size * sizeof *scale);
    *op = (gm_operator){.size = size,
                        .precision = inner->precision,
                        .name = s->name,
                        .self = s,
                        .apply = scaled_apply,
                        .destroy = scaled_destroy};
    return GM_OK;
}

gm_status gm_precondition_scale(size_t size, const double *diagonal, double *scale, gm_error *err)
{
    for (size_t i = 0; i < size; i++) {
        /* 1/D finite as well: an infinite scale times a zero product would be NaN. */
        if (!(diagonal[i] > 0) || !isfinite(diagonal[i]) || !isfinite(1 / diagonal[i]))
            return gm_fail(err, GM_ERR_INPUT,
                           "preconditioner: entry %zu (counted from 0) is %.17g, expected a finite "
                           "positive number",
                           i, diagonal[i]);
        scale[i] = 1 / sqrt(diagonal[i]);
    }
    return GM_OK;
}
