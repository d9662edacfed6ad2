/* Functions of two operands with broadcasting, and sums over axes.
 *
 * A sample is cut into pieces of at most GM_BUFFER numbers along its last axis: along a piece each
 * operand either moves with the result or stands still. Samples are shared out over threads. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

#include <string.h>
#include <tgmath.h>

#include "kernels/functions.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"
#include "kernels/vector_math.h"

#ifndef GM_PIECE
#define GM_PIECE
/* m numbers from out on; at[w]: where operand w starts, moves[w]: whether it moves along. */
typedef struct gm_piece {
    size_t m, out, at[2], moves[2];
} gm_piece;

static inline size_t gm_pieces(const gm_broadcast *g)
{
    size_t last = g->dim[g->rank - 1];
    return g->size / last * ((last + GM_BUFFER - 1) / GM_BUFFER);
}

static inline gm_piece gm_piece_of(const gm_broadcast *g, size_t index)
{
    size_t last = g->dim[g->rank - 1], cuts = (last + GM_BUFFER - 1) / GM_BUFFER;
    size_t row = index / cuts, first = index % cuts * GM_BUFFER;
    gm_piece p = {.m = last - first < GM_BUFFER ? last - first : GM_BUFFER,
                  .out = row * last + first};
    for (int w = 0; w < 2; w++) {
        p.moves[w] = g->step[w][g->rank - 1];
        p.at[w] = first * p.moves[w];
    }
    for (int a = g->rank - 2; a >= 0; a--) {
        size_t place = row % g->dim[a];
        row /= g->dim[a];
        p.at[0] += place * g->step[0][a];
        p.at[1] += place * g->step[1][a];
    }
    return p;
}
#endif

/* One case of a switch: out[i] = formula of v = x[i] and w = y[i]. */
#define GM_EACH(formula)                                                                           \
    for (size_t i = 0; i < m; i++) {                                                               \
        const REAL v = x[i], w = y[i];                                                             \
        (void)v;                                                                                   \
        (void)w;                                                                                   \
        out[i] = (formula);                                                                        \
    }                                                                                              \
    break

static void FN(binary_values)(gm_binary f, size_t m, const REAL *restrict x, const REAL *restrict y,
                              REAL *restrict out)
{
    switch (f) {
    case GM_BINARY_ADD:
        GM_EACH(v + w);
    case GM_BINARY_SUB:
        GM_EACH(v - w);
    case GM_BINARY_MUL:
        GM_EACH(v * w);
    case GM_BINARY_DIV:
        GM_EACH(v / w);
    case GM_BINARY_POW:
        GM_EACH(pow(v, w));
    case GM_BINARY_MAX:
        GM_EACH(v < w || isnan(w) ? w : v);
    case GM_BINARY_MIN:
        GM_EACH(v > w || isnan(w) ? w : v);
    case GM_BINARY_PRELU:
        GM_EACH(v > 0 ? v : w * v);
    case GM_BINARY_KEEP:
        GM_EACH(w != 0 ? v : 0);
    case GM_BINARY_EQUAL:
        GM_EACH(v == w ? 1 : 0);
    case GM_BINARY_LESS:
        GM_EACH(v < w ? 1 : 0);
    case GM_BINARY_LESS_EQUAL:
        GM_EACH(v <= w ? 1 : 0);
    case GM_BINARIES:
        break;
    }
}

/* c v^e, 0 where c is 0 though v^e be infinite */
static inline REAL FN(scaled_power)(REAL c, REAL v, REAL e)
{
    return c == 0 ? 0 : c * pow(v, e);
}

/* v^w log^k v for k = 1, 2, 0 at v = 0 */
static inline REAL FN(log_power)(REAL v, REAL w, bool square)
{
    REAL l = log(v);
    return v == 0 ? 0 : pow(v, w) * (square ? l * l : l);
}

/* The derivative by operand `by`. */
static void FN(binary_first)(gm_binary f, int by, size_t m, const REAL *restrict x,
                             const REAL *restrict y, REAL *restrict out)
{
    switch (f) {
    case GM_BINARY_ADD:
        GM_EACH(1);
    case GM_BINARY_SUB:
        GM_EACH(by ? -1 : 1);
    case GM_BINARY_MUL:
        GM_EACH(by ? v : w);
    case GM_BINARY_DIV:
        GM_EACH(by ? -v / (w * w) : 1 / w);
    case GM_BINARY_POW:
        GM_EACH(by ? FN(log_power)(v, w, false) : FN(scaled_power)(w, v, w - 1));
    case GM_BINARY_MAX:
        GM_EACH((v < w) == (by == 1) ? 1 : 0);
    case GM_BINARY_MIN:
        GM_EACH((v > w) == (by == 1) ? 1 : 0);
    case GM_BINARY_PRELU:
        GM_EACH(v > 0 ? (by ? 0 : 1) : (by ? v : w));
    case GM_BINARY_KEEP:
        GM_EACH(w != 0 && !by ? 1 : 0);
    case GM_BINARY_EQUAL:
    case GM_BINARY_LESS:
    case GM_BINARY_LESS_EQUAL:
        GM_EACH(0);
    case GM_BINARIES:
        break;
    }
}

/* The second derivative by operands `by` and `also`, where gm_binary_bends. */
static void FN(binary_second)(gm_binary f, int by, int also, size_t m, const REAL *restrict x,
                              const REAL *restrict y, REAL *restrict out)
{
    bool mixed = by != also;
    switch (f) {
    case GM_BINARY_MUL:
        GM_EACH(1);
    case GM_BINARY_DIV:
        GM_EACH(mixed ? -1 / (w * w) : 2 * v / (w * w * w));
    case GM_BINARY_POW:
        if (mixed) {
            GM_EACH(FN(scaled_power)(1, v, w - 1) + w * FN(log_power)(v, w - 1, false));
        }
        GM_EACH(by ? FN(log_power)(v, w, true) : FN(scaled_power)(w * (w - 1), v, w - 2));
    case GM_BINARY_PRELU:
        GM_EACH(v > 0 ? 0 : 1);
    default:
        memset(out, 0, m * sizeof(REAL));
        break;
    }
}

#undef GM_EACH

/* The piece's numbers of an operand of the sample that starts at x; zeros for NULL. */
static void FN(load_piece)(const gm_piece *p, int w, const REAL *x, REAL *buffer)
{
    if (!x) {
        memset(buffer, 0, p->m * sizeof(REAL));
    } else if (p->moves[w]) {
        memcpy(buffer, x + p->at[w], p->m * sizeof(REAL));
    } else {
        FN(fill)(p->m, (double)x[p->at[w]], buffer);
    }
}

/* d (+)= x y for an operand that moves along, or the sum of it. */
static void FN(unload_piece)(const gm_piece *p, int w, const REAL *x, const REAL *y, bool add,
                             REAL *d)
{
    REAL *to = d + p->at[w];
    if (!p->moves[w]) {
        double sum = FN(dot_part)(p->m, x, y);
        *to = (REAL)(add ? (double)*to + sum : sum);
    } else if (add) {
        FN(multiply_add)(p->m, x, y, to);
    } else {
        FN(multiply)(p->m, x, y, to);
    }
}

static const REAL *FN(sample)(const REAL *x, size_t index, size_t size)
{
    return x ? x + index * size : NULL;
}

static void FN(binary_value)(gm_binary f, const gm_broadcast *g, size_t n, const void *x,
                             const void *y, void *out)
{
#pragma omp parallel for schedule(static) if (gm_threaded(n * g->size))
    for (size_t i = 0; i < n; i++) {
        const REAL *xi = FN(sample)(x, i, g->operand[0]), *yi = FN(sample)(y, i, g->operand[1]);
        REAL a[GM_BUFFER], b[GM_BUFFER], *to = (REAL *)out + i * g->size;
        for (size_t q = 0; q < gm_pieces(g); q++) {
            gm_piece p = gm_piece_of(g, q);
            FN(load_piece)(&p, 0, xi, a);
            FN(load_piece)(&p, 1, yi, b);
            FN(binary_values)(f, p.m, a, b, to + p.out);
        }
    }
}

/* One sample of binary_tangent; the directions' samples are `row` samples apart. */
static void FN(tangent_sample)(gm_binary f, const gm_broadcast *g, size_t i, size_t n, size_t b,
                               const REAL *x, const REAL *y, const REAL *const dot[2], REAL *out)
{
    const REAL *xi = FN(sample)(x, i, g->operand[0]), *yi = FN(sample)(y, i, g->operand[1]);
    REAL at[2][GM_BUFFER], slope[GM_BUFFER], moved[GM_BUFFER];
    for (size_t q = 0; q < gm_pieces(g); q++) {
        gm_piece p = gm_piece_of(g, q);
        FN(load_piece)(&p, 0, xi, at[0]);
        FN(load_piece)(&p, 1, yi, at[1]);
        bool any = false;
        for (int w = 0; w < 2; w++) {
            if (!dot[w]) continue;
            FN(binary_first)(f, w, p.m, at[0], at[1], slope);
            for (size_t j = 0; j < b; j++) {
                REAL *to = out + (j * n + i) * g->size + p.out;
                FN(load_piece)(&p, w, FN(sample)(dot[w], j * n + i, g->operand[w]), moved);
                if (any) {
                    FN(multiply_add)(p.m, slope, moved, to);
                } else {
                    FN(multiply)(p.m, slope, moved, to);
                }
            }
            any = true;
        }
    }
}

static void FN(binary_tangent)(gm_binary f, const gm_broadcast *g, size_t n, size_t b,
                               const void *x, const void *y, const void *xdot, const void *ydot,
                               void *out)
{
    const REAL *const dot[2] = {xdot, ydot};
    if (!xdot && !ydot) memset(out, 0, b * n * g->size * sizeof(REAL));
#pragma omp parallel for schedule(static) if (gm_threaded(b * n * g->size))
    for (size_t i = 0; i < n; i++) {
        FN(tangent_sample)(f, g, i, n, b, x, y, dot, out);
    }
}

/* A repeated operand is summed into: from 0 where not added to what is there. */
static bool FN(start_sum)(const gm_broadcast *g, int w, bool add, REAL *d)
{
    bool repeated = g->operand[w] != g->size;
    if (repeated && !add) memset(d, 0, g->operand[w] * sizeof(REAL));
    return add || repeated;
}

static void FN(backward_sample)(gm_binary f, const gm_broadcast *g, int w, size_t i, size_t n,
                                size_t b, const REAL *x, const REAL *y, const REAL *s, bool add,
                                REAL *d)
{
    const REAL *xi = FN(sample)(x, i, g->operand[0]), *yi = FN(sample)(y, i, g->operand[1]);
    REAL at[2][GM_BUFFER], slope[GM_BUFFER];
    bool adds = add;
    for (size_t j = 0; j < b; j++) {
        adds = FN(start_sum)(g, w, add, d + (j * n + i) * g->operand[w]);
    }
    for (size_t q = 0; q < gm_pieces(g); q++) {
        gm_piece p = gm_piece_of(g, q);
        FN(load_piece)(&p, 0, xi, at[0]);
        FN(load_piece)(&p, 1, yi, at[1]);
        FN(binary_first)(f, w, p.m, at[0], at[1], slope);
        for (size_t j = 0; j < b; j++) {
            size_t row = j * n + i;
            FN(unload_piece)
            (&p, w, slope, s + row * g->size + p.out, adds, d + row * g->operand[w]);
        }
    }
}

static void FN(binary_backward)(gm_binary f, const gm_broadcast *g, int w, size_t n, size_t b,
                                const void *x, const void *y, const void *s, bool add, void *d)
{
#pragma omp parallel for schedule(static) if (gm_threaded(b * n * g->size))
    for (size_t i = 0; i < n; i++) {
        FN(backward_sample)(f, g, w, i, n, b, x, y, s, add, d);
    }
}

static void FN(bend_sample)(gm_binary f, const gm_broadcast *g, int w, size_t i, size_t n, size_t b,
                            const REAL *x, const REAL *y, const REAL *const dot[2], const REAL *s,
                            REAL *d)
{
    const REAL *xi = FN(sample)(x, i, g->operand[0]), *yi = FN(sample)(y, i, g->operand[1]);
    REAL at[2][GM_BUFFER], curve[GM_BUFFER], moved[GM_BUFFER];
    for (size_t q = 0; q < gm_pieces(g); q++) {
        gm_piece p = gm_piece_of(g, q);
        FN(load_piece)(&p, 0, xi, at[0]);
        FN(load_piece)(&p, 1, yi, at[1]);
        for (int v = 0; v < 2; v++) {
            if (!dot[v] || !gm_binary_bends(f, w, v)) continue;
            FN(binary_second)(f, w, v, p.m, at[0], at[1], curve);
            FN(multiply)(p.m, curve, s + i * g->size + p.out, curve);
            for (size_t j = 0; j < b; j++) {
                size_t row = j * n + i;
                FN(load_piece)(&p, v, FN(sample)(dot[v], row, g->operand[v]), moved);
                FN(unload_piece)(&p, w, curve, moved, true, d + row * g->operand[w]);
            }
        }
    }
}

static void FN(binary_bend)(gm_binary f, const gm_broadcast *g, int w, size_t n, size_t b,
                            const void *x, const void *y, const void *xdot, const void *ydot,
                            const void *s, void *d)
{
    const REAL *const dot[2] = {xdot, ydot};
#pragma omp parallel for schedule(static) if (gm_threaded(b * n * g->size))
    for (size_t i = 0; i < n; i++) {
        FN(bend_sample)(f, g, w, i, n, b, x, y, dot, s, d);
    }
}

static void FN(repeat_axes)(const gm_broadcast *g, size_t n, double scale, const void *x, bool add,
                            void *out)
{
    REAL factor[GM_BUFFER];
    FN(fill)(GM_BUFFER, scale, factor);
#pragma omp parallel for schedule(static) if (gm_threaded(n * g->size))
    for (size_t i = 0; i < n; i++) {
        const REAL *xi = FN(sample)(x, i, g->operand[0]);
        REAL from[GM_BUFFER], *sample = (REAL *)out + i * g->size;
        for (size_t q = 0; q < gm_pieces(g); q++) {
            gm_piece p = gm_piece_of(g, q);
            FN(load_piece)(&p, 0, xi, from);
            if (add) {
                FN(multiply_add)(p.m, from, factor, sample + p.out);
            } else {
                FN(multiply)(p.m, from, factor, sample + p.out);
            }
        }
    }
}

static void FN(sum_axes)(const gm_broadcast *g, size_t n, double scale, const void *x, bool add,
                         void *out)
{
    REAL factor[GM_BUFFER];
    FN(fill)(GM_BUFFER, scale, factor);
#pragma omp parallel for schedule(static) if (gm_threaded(n * g->size))
    for (size_t i = 0; i < n; i++) {
        const REAL *xi = FN(sample)(x, i, g->size);
        REAL *to = (REAL *)out + i * g->operand[0];
        bool adds = FN(start_sum)(g, 0, add, to);
        for (size_t q = 0; q < gm_pieces(g); q++) {
            gm_piece p = gm_piece_of(g, q);
            FN(unload_piece)(&p, 0, xi + p.out, factor, adds, to);
        }
    }
}
