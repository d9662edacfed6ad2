/* Resize and Upsample by constant scales or sizes: a linear map along each axis, one after the
 * other. A place of the output lies at x of the input and is a sum over its neighbours there,
 *
 *   y[i] = sum_t w_t(x_i) x[place_t(x_i)]     one neighbour (nearest), two (linear), four (cubic)
 *
 * with the neighbours beyond the ends repeated from them: places along the axis (gather) times
 * constant weights. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "onnx/operators.h"

typedef enum interpolation { NEAREST = 1, LINEAR = 2, CUBIC = 4 } interpolation; /* neighbours */
typedef enum alignment {
    HALF_PIXEL,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    TF_NN
} alignment;
typedef enum rounding { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL } rounding;

typedef struct rule {
    interpolation mode;
    alignment align;
    rounding round;
    double a; /* of cubic */
    bool exclude;
} rule;

/* An axis of `in` places becomes one of `out`. */
typedef struct axis_map {
    int axis;
    size_t in, out;
    double scale;
} axis_map;

/* ---- what the node asks for ---- */

/* *which: the word among `words` (ended by NULL) that a text attribute is; the first where it is
 * not given. */
static gm_status choose(const gm_onnx_step *s, const char *name, const char *const *words,
                        int *which, gm_error *err)
{
    size_t length;
    const char *text = gm_onnx_text(s, name, &length);
    for (*which = 0; words[*which]; ++*which) {
        if (gm_onnx_text_is(s, name, words[*which], *which == 0)) return GM_OK;
    }
    return gm_onnx_refuse(s, err, "its %s '%.*s' is not supported", name,
                          (int)(length < 60 ? length : 60), text);
}

static gm_status rule_of(const gm_onnx_step *s, rule *r, gm_error *err)
{
    static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
    static const char *const alignments[] = {"half_pixel", "pytorch_half_pixel",   "align_corners",
                                             "asymmetric", "tf_half_pixel_for_nn", NULL};
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                            "ceil", NULL};
    static const interpolation neighbours[] = {NEAREST, LINEAR, CUBIC};
    int mode = 0, align = 0, round = 0;
    bool old = s->g->opset < 11 || strcmp(s->op->name, "Upsample") == 0;
    gm_status status = choose(s, "mode", modes, &mode, err);
    if (status == GM_OK) {
        status = choose(s, "coordinate_transformation_mode", alignments, &align, err);
    }
    if (status == GM_OK) status = choose(s, "nearest_mode", roundings, &round, err);
    if (status != GM_OK) return status;
    *r = (rule){.mode = neighbours[mode],
                .align = old ? ASYMMETRIC : (alignment)align,
                .round = old ? FLOOR : (rounding)round,
                .a = gm_onnx_float(s, "cubic_coeff_a", -0.75),
                .exclude = gm_onnx_int(s, "exclude_outside", 0) != 0};
    if (!old || r->mode == NEAREST) return GM_OK;
    return gm_onnx_refuse(s, err,
                          "before opset 11 it does not say where its pixels lie, expected mode "
                          "nearest (export the net with opset 11 or later)");
}

/* The map of one axis by sizes or by scales, whichever is not NULL. */
static gm_status map_of(const gm_onnx_step *s, const gm_onnx_tensor *sizes,
                        const gm_onnx_tensor *scales, axis_map *m, gm_error *err)
{
    double scale = sizes ? 1.0 : scales->real[m->axis], out = 0.0;
    if (sizes) {
        out = (double)sizes->whole[m->axis];
        scale = out / (double)m->in;
    } else if (scale > 0.0 && scale <= (double)GM_ONNX_FOLDED) {
        out = (double)floorf((float)scale * (float)m->in); /* both are floats to the format */
    }
    if (!(out >= 1.0 && out <= (double)GM_ONNX_FOLDED)) {
        return gm_onnx_refuse(s, err, "axis %d of %zu numbers by %g", m->axis, m->in, scale);
    }
    m->out = (size_t)out;
    m->scale = scale;
    return GM_OK;
}

/* Scales or sizes, constants, one for each axis. */
static gm_status operands(const gm_onnx_step *s, int rank, const gm_onnx_tensor **sizes,
                          const gm_onnx_tensor **scales, gm_error *err)
{
    bool old = s->g->opset < 11 || strcmp(s->op->name, "Upsample") == 0;
    const gm_onnx_value *by[] = {gm_onnx_in(s, old ? 1 : 2), old ? NULL : gm_onnx_in(s, 3)};
    for (int i = 0; i < 2; i++) {
        if (by[i] && by[i]->tensor.rank == 1 && by[i]->tensor.dim[0] == 0) by[i] = NULL;
        bool fits = !by[i] || (by[i]->what == GM_ONNX_CONSTANT &&
                               by[i]->tensor.of == (i ? GM_ONNX_WHOLE : GM_ONNX_REAL) &&
                               by[i]->tensor.count == (size_t)rank);
        if (fits) continue;
        return gm_onnx_refuse(s, err, "input '%.100s' is not made of %d constant numbers",
                              by[i]->name, rank);
    }
    if (!by[0] == !by[1]) return gm_onnx_refuse(s, err, "expected either scales or sizes");
    *scales = by[0] ? &by[0]->tensor : NULL;
    *sizes = by[1] ? &by[1]->tensor : NULL;
    return GM_OK;
}

/* ---- neighbours ---- */

/* Where place i of the output lies in the input. */
static double place_of(const rule *r, const axis_map *m, size_t i)
{
    double x = (double)i, whole = m->scale * (double)m->in;
    switch (r->align) {
    case ALIGN_CORNERS:
        return whole == 1.0 ? 0.0 : x * ((double)m->in - 1.0) / (whole - 1.0);
    case ASYMMETRIC:
        return x / m->scale;
    case TF_NN:
        return (x + 0.5) / m->scale;
    case PYTORCH_HALF_PIXEL:
        return whole == 1.0 ? 0.0 : (x + 0.5) / m->scale - 0.5;
    default:
        return (x + 0.5) / m->scale - 0.5;
    }
}

static double nearest(const rule *r, double x)
{
    double low = floor(x), rest = x - low;
    bool up = r->round == CEIL           ? rest > 0.0
              : r->round == PREFER_FLOOR ? rest > 0.5
              : r->round == PREFER_CEIL  ? rest >= 0.5
                                         : false;
    return low + (up ? 1.0 : 0.0);
}

/* Keys' cubic convolution at distance d of 0 ... 1, and of 1 ... 2. */
static double cubic_near(double a, double d)
{
    return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
}
static double cubic_far(double a, double d)
{
    return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
}

/* Weights of the neighbours at x, from the one at *first on. */
static void weights_at(const rule *r, const axis_map *m, double x, double *first, double *weight)
{
    double low = floor(x), rest = x - low, sum = 0.0;
    switch (r->mode) {
    case NEAREST:
        *first = nearest(r, x);
        weight[0] = 1.0;
        return;
    case LINEAR:
        *first = low;
        weight[0] = 1.0 - rest;
        weight[1] = rest;
        break;
    case CUBIC:
        *first = low - 1.0;
        weight[0] = cubic_far(r->a, rest + 1.0);
        weight[1] = cubic_near(r->a, rest);
        weight[2] = cubic_near(r->a, 1.0 - rest);
        weight[3] = cubic_far(r->a, 2.0 - rest);
        break;
    }
    if (!r->exclude) return;
    for (int t = 0; t < (int)r->mode; t++) {
        bool outside = *first + t < 0.0 || *first + t > (double)m->in - 1.0;
        if (outside) weight[t] = 0.0;
        sum += weight[t];
    }
    for (int t = 0; t < (int)r->mode; t++) {
        weight[t] /= sum;
    }
}

/* Neighbour t of every place: place and weight [out]. */
static void neighbours_of(const rule *r, const axis_map *m, int t, double *place, double *weight)
{
    for (size_t i = 0; i < m->out; i++) {
        double first = 0.0, all[CUBIC] = {0};
        weights_at(r, m, place_of(r, m, i), &first, all);
        place[i] = fmin(fmax(first + t, 0.0), (double)m->in - 1.0);
        weight[i] = all[t];
    }
}

/* ---- layers ---- */

/* *made = the neighbours along the axis times their weights, a constant [out]. */
static gm_status add_neighbours(const gm_onnx_step *s, const axis_map *m, const double *place,
                                gm_onnx_value *weights, int from, int *made, gm_error *err)
{
    gm_gather_config gather = {.axis = m->axis, .count = m->out};
    gm_onnx_tensor *t = &weights->tensor;
    int by = -1;
    bool ones = true;
    for (size_t i = 0; i < m->out; i++) {
        ones = ones && t->real[i] == 1.0;
    }
    gm_status status = gm_net_keep(s->g->net, m->out, place, &gather.index, err);
    if (status == GM_OK) status = gm_onnx_add(s, &gm_layer_gather, &gather, 1, &from, made, err);
    if (status != GM_OK || ones) return status;
    t->rank = s->g->net->node[from].shape.rank - m->axis; /* the axes behind are of length 1 */
    for (int i = 0; i < t->rank; i++) {
        t->dim[i] = i ? 1 : m->out;
    }
    t->count = m->out;
    status = gm_onnx_node_of(s, weights, &by, err);
    return status == GM_OK ? gm_onnx_add_binary(s, GM_BINARY_MUL, *made, by, made, err) : status;
}

static gm_status resize_axis(const gm_onnx_step *s, const rule *r, const axis_map *m, int *node,
                             gm_error *err)
{
    int from = *node, sum = -1, term = -1;
    double *place = gm_alloc(2 * m->out, sizeof *place, "places of an axis", err);
    gm_status status = place ? gm_onnx_count_folded(s, 2 * m->out, err) : GM_ERR_MEMORY;
    for (int t = 0; status == GM_OK && t < (int)r->mode; t++) {
        gm_onnx_value weights = {.name = "weights",
                                 .what = GM_ONNX_CONSTANT,
                                 .tensor = {.of = GM_ONNX_REAL, .real = place + m->out},
                                 .node = -1,
                                 .last = -1};
        neighbours_of(r, m, t, place, weights.tensor.real);
        status = add_neighbours(s, m, place, &weights, from, &term, err);
        if (status == GM_OK && sum >= 0) {
            status = gm_onnx_add_binary(s, GM_BINARY_ADD, sum, term, &term, err);
        }
        sum = term;
    }
    gm_free(place);
    *node = sum;
    return status;
}

gm_status gm_onnx_emit_resize(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    const gm_onnx_tensor *sizes = NULL, *scales = NULL;
    size_t dim[GM_ONNX_RANK];
    rule r;
    int node = -1;
    if (in->tensor.rank < 1 || in->tensor.rank > GM_MAX_RANK) {
        return gm_onnx_refuse(s, err, "an input of rank %d, expected 1 ... %d", in->tensor.rank,
                              GM_MAX_RANK);
    }
    gm_status status = rule_of(s, &r, err);
    if (status == GM_OK) status = operands(s, in->tensor.rank, &sizes, &scales, err);
    if (status == GM_OK) status = gm_onnx_node_of(s, in, &node, err);
    for (int i = 0; status == GM_OK && i < in->tensor.rank; i++) {
        axis_map m = {.axis = i, .in = in->tensor.dim[i]};
        status = map_of(s, sizes, scales, &m, err);
        dim[i] = m.out;
        if (status == GM_OK && (m.out != m.in || m.scale != 1.0)) {
            status = resize_axis(s, &r, &m, &node, err);
        }
    }
    if (status == GM_OK) gm_onnx_put(s, 0, in->tensor.rank, dim, node, -1);
    return status;
}
