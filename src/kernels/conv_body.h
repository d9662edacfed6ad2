/* Convolution by unfolding: every output position's window becomes a row, and a matrix product does
 * the rest. Written once, included per precision (REAL, FN).
 *
 * For a group with Cg input and Og output channels, P output positions and K = Cg kh kw:
 *   columns [P, K]   the windows, in the order (c, kh, kw) of the weights, or (kh, kw, c) for
 *                    channels last, where a pixel's channels are copied in one go
 *   forward          y = columns W^T
 *   backward data    columns = dy W, folded back: each entry is added to the pixel it came from
 *   backward weight  dW += dy^T columns
 * A few samples are unfolded together, so that the products are not too small. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

/* One position's window of one group, zeros outside the image. */
static void FN(unfold_row)(const gm_conv *g, size_t group, size_t position, const REAL *x,
                           REAL *row)
{
    const gm_window *w = &g->window;
    size_t cg = w->channels / g->groups, taps = w->kernel[0] * w->kernel[1], tap = 0;
    size_t plane = w->in[0] * w->in[1];
    corner at = corner_of(w, position);
    for (size_t k = 0; k < w->kernel[0]; k++) {
        if (w->channels_last && g->groups == 1 && row_inside(w, &at, k)) { /* in one go */
            memcpy(row + tap * cg, x + pixel_of(w, &at, k, 0) * cg,
                   w->kernel[1] * cg * sizeof(REAL));
            tap += w->kernel[1];
            continue;
        }
        for (size_t l = 0; l < w->kernel[1]; l++, tap++) {
            bool inside = is_inside(w, &at, k, l);
            size_t pixel = inside ? pixel_of(w, &at, k, l) : 0;
            if (w->channels_last) {
                const REAL *from = x + pixel * w->channels + group * cg;
                for (size_t c = 0; c < cg; c++) {
                    row[tap * cg + c] = inside ? from[c] : 0;
                }
                continue;
            }
            const REAL *from = x + group * cg * plane + pixel;
            for (size_t c = 0; c < cg; c++) {
                row[c * taps + tap] = inside ? from[c * plane] : 0;
            }
        }
    }
}

/* The reverse: adds a row's entries to the pixels they came from. */
static void FN(fold_row)(const gm_conv *g, size_t group, size_t position, const REAL *row, REAL *x)
{
    const gm_window *w = &g->window;
    size_t cg = w->channels / g->groups, taps = w->kernel[0] * w->kernel[1], tap = 0;
    size_t plane = w->in[0] * w->in[1];
    corner at = corner_of(w, position);
    for (size_t k = 0; k < w->kernel[0]; k++) {
        if (w->channels_last && g->groups == 1 && row_inside(w, &at, k)) {
            REAL *to = x + pixel_of(w, &at, k, 0) * cg;
            for (size_t c = 0; c < w->kernel[1] * cg; c++) {
                to[c] += row[tap * cg + c];
            }
            tap += w->kernel[1];
            continue;
        }
        for (size_t l = 0; l < w->kernel[1]; l++, tap++) {
            if (!is_inside(w, &at, k, l)) continue;
            size_t pixel = pixel_of(w, &at, k, l);
            REAL *to = w->channels_last ? x + pixel * w->channels + group * cg
                                        : x + group * cg * plane + pixel;
            size_t step = w->channels_last ? 1 : plane, from = w->channels_last ? 1 : taps;
            size_t first = w->channels_last ? tap * cg : tap;
            for (size_t c = 0; c < cg; c++) {
                to[c * step] += row[first + c * from];
            }
        }
    }
}

/* columns [samples P, K] of one group. */
static void FN(unfold)(const gm_conv *g, size_t group, size_t samples, const REAL *x, REAL *columns)
{
    unfolded u = unfolded_of(g);
    size_t rows = samples * u.positions;
#pragma omp parallel for schedule(static) if (gm_threaded(rows * u.k))
    for (size_t r = 0; r < rows; r++) {
        FN(unfold_row)
        (g, group, r % u.positions, x + r / u.positions * u.in, columns + r * u.k);
    }
}

static void FN(fold)(const gm_conv *g, size_t group, size_t samples, const REAL *columns, REAL *x)
{
    unfolded u = unfolded_of(g);
#pragma omp parallel for schedule(static) if (gm_threaded(samples * u.positions * u.k))
    for (size_t i = 0; i < samples; i++) {
        for (size_t p = 0; p < u.positions; p++) {
            FN(fold_row)(g, group, p, columns + (i * u.positions + p) * u.k, x + i * u.in);
        }
    }
}

/* Weights from the order (c, taps) to (taps, c), or back and added, for each output channel. */
static void FN(order_weights)(const gm_conv *g, const REAL *weight, REAL *to)
{
    unfolded u = unfolded_of(g);
    size_t taps = g->window.kernel[0] * g->window.kernel[1], cg = u.k / taps;
    for (size_t o = 0; o < g->out_channels; o++) {
        for (size_t c = 0; c < cg; c++) {
            for (size_t t = 0; t < taps; t++) {
                to[o * u.k + t * cg + c] = weight[o * u.k + c * taps + t];
            }
        }
    }
}

static void FN(add_ordered_weights)(const gm_conv *g, const REAL *from, REAL *weight)
{
    unfolded u = unfolded_of(g);
    size_t taps = g->window.kernel[0] * g->window.kernel[1], cg = u.k / taps;
    for (size_t o = 0; o < g->out_channels; o++) {
        for (size_t c = 0; c < cg; c++) {
            for (size_t t = 0; t < taps; t++) {
                weight[o * u.k + c * taps + t] += from[o * u.k + t * cg + c];
            }
        }
    }
}

/* The scratch of the three functions below: columns, then weights. */
static size_t FN(unfolded_numbers)(const gm_conv *g)
{
    unfolded u = unfolded_of(g);
    return panel_samples(&u) * u.positions * u.k + g->out_channels * u.k;
}

static void FN(unfolded_forward)(const gm_conv *g, size_t n, const REAL *x, const REAL *weight,
                                 bool add, REAL *y, REAL *columns)
{
    unfolded u = unfolded_of(g);
    size_t panel = panel_samples(&u), out = g->out_channels, p = u.positions;
    REAL *ordered = columns + panel * p * u.k;
    const REAL *w = weight;
    if (g->window.channels_last) {
        FN(order_weights)(g, weight, ordered);
        w = ordered;
    }
    for (size_t i = 0; i < n; i += panel) {
        size_t samples = n - i < panel ? n - i : panel;
        for (size_t group = 0; group < g->groups; group++) {
            FN(unfold)(g, group, samples, x + i * u.in, columns);
            const REAL *wg = w + group * u.og * u.k;
            REAL *to = y + i * out * p;
            if (g->window.channels_last) {
                FN(gm_gemm)
                (false, true, samples * p, u.og, u.k, 1, columns, u.k, wg, u.k, add,
                 to + group * u.og, out);
                continue;
            }
            for (size_t s = 0; s < samples; s++) {
                FN(gm_gemm)
                (false, true, u.og, p, u.k, 1, wg, u.k, columns + s * p * u.k, u.k, add,
                 to + (s * out + group * u.og) * p, p);
            }
        }
    }
}

static void FN(unfolded_backward_data)(const gm_conv *g, size_t n, const REAL *dy,
                                       const REAL *weight, bool add, REAL *dx, REAL *columns)
{
    unfolded u = unfolded_of(g);
    size_t panel = panel_samples(&u), out = g->out_channels, p = u.positions;
    REAL *ordered = columns + panel * p * u.k;
    const REAL *w = weight;
    if (g->window.channels_last) {
        FN(order_weights)(g, weight, ordered);
        w = ordered;
    }
    if (!add) memset(dx, 0, n * u.in * sizeof(REAL));
    for (size_t i = 0; i < n; i += panel) {
        size_t samples = n - i < panel ? n - i : panel;
        for (size_t group = 0; group < g->groups; group++) {
            const REAL *wg = w + group * u.og * u.k, *from = dy + i * out * p;
            if (g->window.channels_last) {
                FN(gm_gemm)
                (false, false, samples * p, u.k, u.og, 1, from + group * u.og, out, wg, u.k, 0,
                 columns, u.k);
            }
            for (size_t s = 0; !g->window.channels_last && s < samples; s++) {
                FN(gm_gemm)
                (true, false, p, u.k, u.og, 1, from + (s * out + group * u.og) * p, p, wg, u.k, 0,
                 columns + s * p * u.k, u.k);
            }
            FN(fold)(g, group, samples, columns, dx + i * u.in);
        }
    }
}

static void FN(unfolded_backward_weight)(const gm_conv *g, size_t n, const REAL *x, const REAL *dy,
                                         REAL *dweight, REAL *columns)
{
    unfolded u = unfolded_of(g);
    size_t panel = panel_samples(&u), out = g->out_channels, p = u.positions;
    REAL *ordered = columns + panel * p * u.k;
    if (g->window.channels_last) memset(ordered, 0, out * u.k * sizeof(REAL));
    for (size_t i = 0; i < n; i += panel) {
        size_t samples = n - i < panel ? n - i : panel;
        for (size_t group = 0; group < g->groups; group++) {
            FN(unfold)(g, group, samples, x + i * u.in, columns);
            const REAL *from = dy + i * out * p;
            if (g->window.channels_last) {
                FN(gm_gemm)
                (true, false, u.og, u.k, samples * p, 1, from + group * u.og, out, columns, u.k, 1,
                 ordered + group * u.og * u.k, u.k);
                continue;
            }
            for (size_t s = 0; s < samples; s++) {
                FN(gm_gemm)
                (false, false, u.og, u.k, p, 1, from + (s * out + group * u.og) * p, p,
                 columns + s * p * u.k, u.k, 1, dweight + group * u.og * u.k, u.k);
            }
        }
    }
    if (g->window.channels_last) FN(add_ordered_weights)(g, ordered, dweight);
}

/* y[., o, .] += bias[o] */
static void FN(add_channel_bias)(const gm_conv *g, size_t n, const REAL *bias, REAL *y)
{
    size_t out = g->out_channels, p = g->window.out[0] * g->window.out[1];
    if (g->window.channels_last) {
        gm_kernels_get(sizeof(REAL) == sizeof(float) ? GM_F32 : GM_F64)
            ->add_bias(n * p, out, bias, y);
        return;
    }
    for (size_t r = 0; r < n * out; r++) {
        for (size_t j = 0; j < p; j++) {
            y[r * p + j] += bias[r % out];
        }
    }
}
