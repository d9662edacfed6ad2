/* Traces and Frobenius norms by random probes.
 *
 * omega: a probe; Y = A Omega = Q R; Z = A Q; H = Q^T A Q; P the projector on a basis.
 *   Hutchinson   mean of g . A g
 *   Hutch++      tr H + mean of g . (I - P) A (I - P) g
 *   XTrace       mean over i of tr(P_i A) + c_i (I - P_i) omega_i . A (I - P_i) omega_i, P_i the
 *                projector on the images of all probes but i, c_i = (n - k + 1) / ||(I - P_i)
 *                omega_i||^2: on the complement of P_i the probe is uniform on a sphere.
 * Any two terms of XTrace share k - 2 probes, so that their scatter understates the error of their
 * mean: by 1.1 to 2.2 (squared 1.2 to 4.7) over flat and decaying spectra. The jackknife, (k-1)/k
 * sum_j (t_j - mean)^2 with t_j the XTrace of all probes but j, bounds the variance from above by
 * Efron and Stein's inequality (Epperly and Tropp 2024, arXiv 2207.06342), and overstates the error
 * by up to 4 where the spectrum decays fast. The standard error reported is the geometric mean of
 * the two: in the same trials 0.9 to 2 times the true one. Neither costs a product.
 * Products of unprojected probes are kept (as numbers), so that growing the basis repeats none. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/estimate.h"
#include "kernels/kernels.h"
#include "spectrum/sketch.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static double dot(size_t n, const double *x, const double *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* sqrt of an estimate, its error to first order. */
static gm_estimate root_of(gm_estimate e)
{
    double root = sqrt(fmax(e.value, 0));
    double slope = root > 0 ? 0.5 / root : 0;
    return (gm_estimate){root, slope * e.std_error, slope * e.half_width};
}

/* ---- independent probes ---------------------------------------------------------------------- */

typedef struct sample {
    gm_probe_kind kind;
    size_t count;
    double *form;   /* g . A g */
    double *square; /* ||A g||^2 */
} sample;

static void free_sample(sample *s)
{
    gm_free(s->form);
    gm_free(s->square);
}

/* Room for `count` numbers, the first `used` kept. */
static gm_status extend(double **array, size_t used, size_t count, gm_error *err)
{
    double *longer = gm_alloc(count, sizeof *longer, "probes' values", err);
    if (!longer) return GM_ERR_MEMORY;
    if (used) memcpy(longer, *array, used * sizeof *longer);
    gm_free(*array);
    *array = longer;
    return GM_OK;
}

/* Probes number first ... first + count - 1 of the sample, whose places are there. */
static gm_status draw_probes(gm_unit_operator *op, gm_stream stream, size_t first, size_t count,
                             sample *s, gm_error *err)
{
    size_t size = op->op->size, end = first + count;
    gm_status status = GM_OK;
    double *g = gm_alloc(size, 2 * GM_PROBE_BLOCK * sizeof *g, "probes", err);
    if (!g) return GM_ERR_MEMORY;
    double *ag = g + GM_PROBE_BLOCK * size;
    while (first < end && status == GM_OK) {
        size_t block = smaller(GM_PROBE_BLOCK, end - first);
        gm_probe_fill(stream, s->kind, first, block, size, g);
        status = gm_unit_apply(op, block, g, ag, err);
        for (size_t j = 0; status == GM_OK && j < block; j++, first++) {
            s->form[first] = dot(size, g + j * size, ag + j * size);
            s->square[first] = dot(size, ag + j * size, ag + j * size);
        }
    }
    gm_free(g);
    return status;
}

/* The unit of the first rank that has one. */
static double first_unit(const gm_team *team, double own)
{
    for (int r = 0; r < gm_team_size(team); r++) {
        double unit = r == gm_team_rank(team) ? own : 0;
        gm_team_sum(team, 1, &unit);
        if (unit > 0) return unit;
    }
    return 0;
}

/* The probes of all ranks, of which this one drew some, in one unit. */
static void join_probes(const gm_team *team, gm_unit_operator *op, bool had_unit, size_t first,
                        size_t count, sample *s)
{
    if (gm_team_size(team) == 1) return;
    if (!had_unit) {
        double unit = first_unit(team, op->unit);
        double factor = op->unit > 0 ? op->unit / unit : 1; /* a power of two */
        for (size_t i = first; i < first + count; i++) {
            s->form[i] *= factor;
            s->square[i] *= factor * factor;
        }
        op->unit = unit;
    }
    gm_team_gather(team, first * sizeof *s->form, count * sizeof *s->form, s->form);
    gm_team_gather(team, first * sizeof *s->square, count * sizeof *s->square, s->square);
}

/* Draws probes until there are `count`, each rank its share of them. */
static gm_status grow_sample(const gm_team *team, gm_unit_operator *op, gm_stream stream,
                             size_t count, sample *s, gm_error *err)
{
    size_t before = op->op->products, first, own;
    bool had_unit = op->unit > 0;
    gm_status status = extend(&s->form, s->count, count, err);
    if (status == GM_OK) status = extend(&s->square, s->count, count, err);
    if (status != GM_OK) return status;
    gm_team_share(team, count - s->count, &first, &own);
    first += s->count;
    if (own > 0) status = draw_probes(op, stream, first, own, s, err);
    if (status != GM_OK) return status;
    join_probes(team, op, had_unit, first, own, s);
    double products = (double)(op->op->products - before);
    gm_team_sum(team, 1, &products);
    op->op->products = before + (size_t)products;
    s->count = count;
    return GM_OK;
}

/* ---- the three estimators on the probes so far ----------------------------------------------- */

/* All that A is lies in the basis: ||A||_F = ||A Q||_F. */
static gm_status exact_result(const gm_sketch *s, gm_trace_result *result, gm_error *err)
{
    double *h = gm_alloc(s->rank * s->rank, sizeof *h, "core of a sketch", err);
    if (!h) return GM_ERR_MEMORY;
    gm_sketch_core(s, h);
    double trace = 0;
    for (size_t i = 0; i < s->rank; i++) {
        trace += h[i * s->rank + i];
    }
    gm_free(h);
    result->trace = (gm_estimate){.value = trace};
    result->frobenius = (gm_estimate){.value = sqrt(dot(s->rank * s->size, s->z, s->z))};
    result->exact = true;
    result->exhausted = s->exhausted;
    return GM_OK;
}

/* rest[j] = g_j . (I - P) A (I - P) g_j = g . A g - 2 x . Z^T g + x . H x with x = Q^T g. */
static gm_status residual_forms(const gm_sketch *s, const sample *probes, const double *h,
                                double *rest, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    size_t k = s->rank, size = s->size;
    double *g = gm_alloc(GM_PROBE_BLOCK * size, sizeof *g, "probes", err);
    double *x = gm_alloc(GM_PROBE_BLOCK * k, 3 * sizeof *x, "probes in a basis", err);
    gm_status status = g && x ? GM_OK : GM_ERR_MEMORY;
    for (size_t first = 0; status == GM_OK && first < probes->count; first += GM_PROBE_BLOCK) {
        size_t block = smaller(GM_PROBE_BLOCK, probes->count - first);
        double *zg = x + GM_PROBE_BLOCK * k, *hx = zg + GM_PROBE_BLOCK * k;
        gm_probe_fill(s->stream, probes->kind, first, block, size, g);
        kernels->gemm(false, true, block, k, size, 1, g, size, s->q, size, 0, x, k);
        kernels->gemm(false, true, block, k, size, 1, g, size, s->z, size, 0, zg, k);
        kernels->gemm(false, false, block, k, k, 1, x, k, h, k, 0, hx, k);
        for (size_t j = 0; j < block; j++) {
            rest[first + j] = probes->form[first + j] - 2 * dot(k, x + j * k, zg + j * k) +
                              dot(k, x + j * k, hx + j * k);
        }
    }
    gm_free(g);
    gm_free(x);
    return status;
}

static gm_status hutchpp(const gm_sketch *s, const sample *probes, gm_trace_result *result,
                         gm_error *err)
{
    size_t k = s->rank;
    double *h = gm_alloc(k * k, sizeof *h, "core of a sketch", err);
    double *rest = gm_alloc(probes->count, sizeof *rest, "residual parts", err);
    gm_status status = h && rest ? GM_OK : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    gm_sketch_core(s, h);
    status = residual_forms(s, probes, h, rest, err);
    if (status != GM_OK) goto done;
    result->trace = gm_estimate_mean(probes->count, rest);
    for (size_t i = 0; i < k; i++) {
        result->trace.value += h[i * k + i];
    }
    result->frobenius = root_of(gm_estimate_mean(probes->count, probes->square));
done:
    gm_free(h);
    gm_free(rest);
    return status;
}

/* What XTrace needs, all in coordinates of the basis; k x k matrices by rows. */
typedef struct tables {
    size_t size, k;
    double trace; /* tr H */
    double *h;    /* H */
    double *w;    /* row i: Q^T omega_i */
    double *hw;   /* row i: H w_i */
    double *r;    /* row i: r_i = Q^T A omega_i */
    double *s;    /* row i: s_i, orthogonal to all r but r_i */
    double *hs;   /* row i: H s_i */
    double *t;    /* [2, k] workspace: t and H t */
} tables;

static gm_status make_tables(const gm_sketch *s, tables *x, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    size_t k = s->probes, size = s->size;
    double *omega = gm_alloc(GM_PROBE_BLOCK * size, sizeof *omega, "probes", err);
    x->h = gm_alloc(k * k, 6 * sizeof *x->h, "core of a sketch", err);
    x->t = gm_alloc(k, 2 * sizeof *x->t, "direction in a sketch", err);
    gm_status status = omega && x->h && x->t ? GM_OK : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    x->size = size;
    x->k = k;
    x->w = x->h + k * k;
    x->hw = x->w + k * k;
    x->r = x->hw + k * k;
    x->s = x->r + k * k;
    x->hs = x->s + k * k;
    gm_sketch_core(s, x->h);
    gm_sketch_leave_out(s, x->r, x->s);
    for (size_t i = 0; i < k; i++) {
        x->trace += x->h[i * k + i];
        for (size_t j = 0; j < i; j++) { /* columns of R become rows */
            x->r[i * k + j] = x->r[j * k + i];
            x->r[j * k + i] = 0;
        }
    }
    for (size_t first = 0; first < k; first += GM_PROBE_BLOCK) {
        size_t block = smaller(GM_PROBE_BLOCK, k - first);
        gm_probe_fill(s->stream, s->kind, first, block, size, omega);
        kernels->gemm(false, true, block, k, size, 1, omega, size, s->q, size, 0, x->w + first * k,
                      k);
    }
    kernels->gemm(false, false, k, k, k, 1, x->w, k, x->h, k, 0, x->hw, k);
    kernels->gemm(false, false, k, k, k, 1, x->s, k, x->h, k, 0, x->hs, k);
done:
    gm_free(omega);
    return status;
}

/* t = the unit vector along what s_j adds to s_i, and H t; false where they are parallel. */
static bool second_direction(const tables *x, size_t i, size_t j)
{
    size_t k = x->k;
    const double *si = x->s + i * k, *sj = x->s + j * k;
    double along = dot(k, si, sj), *t = x->t, *ht = t + k;
    for (size_t a = 0; a < k; a++) {
        t[a] = sj[a] - along * si[a];
    }
    double length = sqrt(dot(k, t, t));
    if (length < 1e-12) return false;
    for (size_t a = 0; a < k; a++) {
        t[a] /= length;
        ht[a] = (x->hs[j * k + a] - along * x->hs[i * k + a]) / length;
    }
    return true;
}

/* Hutch++ with probe i on the basis of all others, or of all others but j (j = i: none). With u =
 * Q^T P omega_i = w - a s - b t, of v . A v for v = (I - P) omega the part in A omega is a (s . r)
 * + b (t . r), because (I - P) A omega lies in the span of Q s and Q t; the part in A P omega is r
 * . u
 * - u . H u. */
static double left_out(const tables *x, size_t i, size_t j)
{
    size_t k = x->k;
    const double *w = x->w + i * k, *r = x->r + i * k, *s = x->s + i * k, *hs = x->hs + i * k;
    double a = dot(k, w, s), shs = dot(k, s, hs), image = a * dot(k, s, r),
           whw = dot(k, w, x->hw + i * k);
    double trace = x->trace - shs, inside = dot(k, w, w) - a * a;
    double uhu = whw - 2 * a * dot(k, w, hs) + a * a * shs;
    if (j != i && second_direction(x, i, j)) {
        const double *t = x->t, *ht = t + k;
        double b = dot(k, w, t), tht = dot(k, t, ht);
        image += b * dot(k, t, r);
        trace -= tht;
        inside -= b * b;
        uhu += b * (b * tht - 2 * dot(k, w, ht) + 2 * a * dot(k, s, ht));
    }
    double form = image - (dot(k, w, r) - image) + uhu;
    double complement = (double)(x->size - k + (j == i ? 1 : 2));
    return trace + complement * form / ((double)x->size - inside);
}

/* The mean of all terms, its error between scatter and jackknife (see above). */
static gm_estimate mean_of_terms(const tables *x, double *each)
{
    size_t k = x->k;
    for (size_t i = 0; i < k; i++) {
        each[i] = left_out(x, i, i);
    }
    gm_estimate e = gm_estimate_mean(k, each);
    for (size_t j = 0; j < k; j++) {
        each[j] = 0;
        for (size_t i = 0; i < k; i++) {
            if (i != j) each[j] += left_out(x, i, j) / (double)(k - 1);
        }
    }
    double jackknife = (double)(k - 1) * gm_estimate_mean(k, each).std_error;
    e.std_error = sqrt(e.std_error * jackknife);
    e.half_width = gm_student_quantile(k - 1) * e.std_error;
    return e;
}

static gm_status xtrace(const gm_sketch *s, gm_trace_result *result, gm_error *err)
{
    size_t k = s->probes;
    tables x = {0};
    double *each = gm_alloc(k, sizeof *each, "probes' estimates", err);
    gm_status status = each ? make_tables(s, &x, err) : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    result->trace = mean_of_terms(&x, each);
    for (size_t i = 0; i < k; i++) {
        each[i] = dot(s->size, s->y + i * s->size, s->y + i * s->size);
    }
    result->frobenius = root_of(gm_estimate_mean(k, each));
done:
    gm_free(each);
    gm_free(x.h);
    gm_free(x.t);
    return status;
}

/* ---- rounds -------------------------------------------------------------------------------- */

/* One round: `probes` probes of each sort that the method uses. */
static gm_status measure(gm_trace_method method, const gm_team *team, size_t probes, gm_sketch *s,
                         sample *sampled, gm_trace_result *result, gm_error *err)
{
    gm_status status;
    if (method != GM_TRACE_HUTCHINSON) {
        status = gm_sketch_grow(s, probes, err);
        if (status != GM_OK) return status;
        result->probes = s->probes;
        if (gm_sketch_exact(s)) return exact_result(s, result, err);
        if (method == GM_TRACE_XTRACE) return xtrace(s, result, err);
    }
    status = grow_sample(team, s->op, s->stream, probes, sampled, err);
    if (status != GM_OK) return status;
    result->probes = s->probes + sampled->count;
    if (method == GM_TRACE_HUTCHPP) return hutchpp(s, sampled, result, err);
    result->trace = gm_estimate_mean(sampled->count, sampled->form);
    result->frobenius = root_of(gm_estimate_mean(sampled->count, sampled->square));
    return GM_OK;
}

static void scale(double unit, gm_estimate *e)
{
    e->value *= unit;
    e->std_error *= unit;
    e->half_width *= unit;
}

/* From the operator's own unit to numbers of A. */
static gm_status unscale(const gm_unit_operator *op, gm_trace_result *result, gm_error *err)
{
    scale(gm_unit_of(op), &result->trace);
    scale(gm_unit_of(op), &result->frobenius);
    if (isfinite(result->trace.value) && isfinite(result->frobenius.value)) return GM_OK;
    return gm_fail(err, GM_ERR_NUMERIC, "trace of the %s: beyond the range of a double",
                   op->op->name);
}

static size_t products_per_probe(gm_trace_method method)
{
    return method == GM_TRACE_HUTCHINSON ? 1 : method == GM_TRACE_XTRACE ? 2 : 3;
}

size_t gm_trace_bytes(size_t size, gm_trace_method method, const gm_estimate_options *options)
{
    size_t most = options->max_products / products_per_probe(method), values = 0;
    size_t vectors = 0, numbers = 0, square = 0, k = smaller(most, size);
    bool grows = options->rel_error > 0;
    if (method != GM_TRACE_HUTCHINSON) gm_sketch_need(size, most, grows, &vectors, &numbers);
    bool fits = gm_mul_size(k, k, &square) && gm_mul_size(square, 6, &square) &&
                gm_mul_size(method == GM_TRACE_XTRACE ? k : most, grows ? 4 : 3, &values) &&
                gm_add_size(vectors, 2 * GM_PROBE_BLOCK, &vectors) &&
                gm_add_size(numbers, values, &numbers) &&
                (method == GM_TRACE_HUTCHINSON || gm_add_size(numbers, square, &numbers));
    return fits ? gm_estimate_bytes_of(size, vectors, numbers) : SIZE_MAX;
}

gm_status gm_trace_estimate(gm_operator *op, gm_trace_method method,
                            const gm_estimate_options *options, gm_trace_result *result,
                            gm_error *err)
{
    size_t cost = products_per_probe(method);
    *result = (gm_trace_result){0};
    bool independent = method == GM_TRACE_HUTCHINSON;
    gm_status status = gm_estimate_check(options, 2 * cost, independent, independent, err);
    if (status != GM_OK) return status;
    size_t most = options->max_products / cost, before = op->products;
    bool adaptive = options->rel_error > 0;
    gm_unit_operator unit = {.op = op};
    sample sampled = {.kind = options->gaussian ? GM_PROBE_NORMAL : GM_PROBE_SIGNS};
    gm_sketch sketch = {.op = &unit,
                        .stream = gm_stream_of(options->seed, GM_PURPOSE_PROBE, options->run),
                        .kind = GM_PROBE_SPHERE,
                        .size = op->size};
    size_t probes = adaptive ? smaller(GM_PROBE_START, most) : most;
    while (status == GM_OK) {
        status = measure(method, options->team, probes, &sketch, &sampled, result, err);
        if (status != GM_OK) break;
        double bound = options->rel_error * fabs(result->trace.value);
        result->converged = !adaptive || result->exact || result->trace.half_width <= bound;
        if (result->converged || probes == most) break;
        probes = smaller(gm_probe_next(probes), most);
    }
    if (status == GM_OK) status = unscale(&unit, result, err);
    result->products = op->products - before;
    free_sample(&sampled);
    gm_sketch_free(&sketch);
    return status;
}
