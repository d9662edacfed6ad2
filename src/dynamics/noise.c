/* The Hessian in the space of the samples, C_ij = x_i . H x_j / n with x_i = g_i - mu (theory
 * section 3.2): tr(H Sigma_m) = kappa tr C, tr(H Sigma_m H Sigma_m) = kappa^2 ||C||_F^2, and the
 * eigenvalues of Sigma_m^(1/2) H Sigma_m^(1/2) other than 0 are those of kappa C. A product is a
 * weighted backward pass, a product with H and a per-sample tangent pass; centring the weights
 * before and the inner products after stands for the x_i. Vectors are brought near 1 by powers of
 * two before each pass, exactly undone after it: at a fitted net gradients and H are both small,
 * and their products leave the range of single precision long before that of double. */
#include <string.h>

#include "base/memory.h"
#include "dynamics/power.h"
#include "gradiometer/dynamics.h"

enum { BLOCK = 8 }; /* vectors that share the passes */

typedef struct noise {
    size_t n, p;
    gm_samples *samples;
    gm_operator hessian;
    double *scale;      /* D^-1 [p]; NULL for I */
    double *weight;     /* [BLOCK, n] */
    double *sum, *hsum; /* [BLOCK, p] */
} noise;

static void centre(size_t n, double *x)
{
    double mean = 0.0;
    for (size_t i = 0; i < n; i++) {
        mean += x[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        x[i] -= mean;
    }
}

/* D^-1 v for rows [rows, p]. */
static void rescale(const noise *s, size_t rows, double *v)
{
    for (size_t i = 0; s->scale && i < rows * s->p; i++) {
        v[i] *= s->scale[i % s->p];
    }
}

static gm_status noise_apply(void *self, size_t count, const double *v, double *cv, gm_error *err)
{
    noise *s = self;
    size_t n = s->n;
    for (size_t first = 0; first < count; first += BLOCK) {
        size_t rows = count - first < BLOCK ? count - first : BLOCK;
        double *out = cv + first * n;
        memcpy(s->weight, v + first * n, rows * n * sizeof *v);
        for (size_t j = 0; j < rows; j++) {
            centre(n, s->weight + j * n);
        }
        gm_samples_sum(s->samples, rows, s->weight, s->sum);
        rescale(s, rows, s->sum);
        int power[BLOCK];
        for (size_t j = 0; j < rows; j++) {
            power[j] = gm_near_one(s->p, s->sum + j * s->p);
        }
        gm_status status = gm_operator_apply(&s->hessian, rows, s->sum, s->hsum, err);
        if (status != GM_OK) return status;
        rescale(s, rows, s->hsum);
        for (size_t j = 0; j < rows; j++) {
            power[j] += gm_near_one(s->p, s->hsum + j * s->p);
        }
        gm_samples_dot(s->samples, rows, s->hsum, out);
        for (size_t j = 0; j < rows; j++) {
            gm_times_power(n, power[j], out + j * n);
            centre(n, out + j * n);
            for (size_t i = 0; i < n; i++) {
                out[j * n + i] /= (double)n;
            }
        }
    }
    return GM_OK;
}

static void noise_destroy(void *self)
{
    noise *s = self;
    if (!s) return;
    gm_samples_free(s->samples);
    gm_operator_destroy(&s->hessian);
    gm_free(s->scale);
    gm_free(s->weight);
    gm_free(s->sum);
    gm_free(s->hsum);
    gm_free(s);
}

gm_status gm_noise_operator(gm_linearization *lin, const double *divisor, gm_operator *op,
                            gm_error *err)
{
    const gm_problem *problem = gm_linearization_problem(lin);
    memset(op, 0, sizeof *op);
    noise *s = gm_alloc(1, sizeof *s, "noise operator", err);
    if (!s) return GM_ERR_MEMORY;
    s->n = gm_problem_data(problem)->n;
    s->p = gm_problem_parameters(problem);
    s->weight = gm_alloc(BLOCK * s->n, sizeof *s->weight, "weights of the samples", err);
    s->sum = gm_alloc(BLOCK * s->p, sizeof *s->sum, "weighted gradient", err);
    s->hsum = gm_alloc(BLOCK * s->p, sizeof *s->hsum, "its product with H", err);
    gm_status status = s->weight && s->sum && s->hsum ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK && divisor) {
        s->scale = gm_alloc(s->p, sizeof *s->scale, "preconditioner", err);
        status = s->scale ? GM_OK : GM_ERR_MEMORY;
    }
    for (size_t i = 0; s->scale && i < s->p; i++) {
        s->scale[i] = 1.0 / divisor[i];
    }
    if (status == GM_OK) status = gm_samples_create(lin, GM_ALL_LAYERS, &s->samples, err);
    if (status == GM_OK) {
        status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &s->hessian, err);
    }
    if (status != GM_OK) {
        noise_destroy(s);
        return status;
    }
    *op = (gm_operator){.size = s->n,
                        .precision = gm_problem_data(problem)->dtype,
                        .name = "Hessian between samples",
                        .self = s,
                        .apply = noise_apply,
                        .destroy = noise_destroy};
    return GM_OK;
}
