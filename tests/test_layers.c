/* Layers one by one: each kind's four functions against differences of one another and against
 * plain loops. */
#include "support.h"

#include "layer_case.h"
#include "net/net.h"

static void sources(void **state)
{
    (void)state;
    const double numbers[] = {1, -2, 3.5, 0, 5, 6};
    const gm_parameter_config parameter = {.shape = {2, {2, 3}}};
    const gm_constant_config constant = {.shape = {2, {2, 3}}, .numbers = numbers};
    const layer_case cases[] = {{"parameter", &gm_layer_parameter, &parameter, 0, .low = -1},
                                {"constant", &gm_layer_constant, &constant, 0, .low = -1}};
    layer_run r;
    for (int i = 0; i < 2; i++) {
        check_layer(&cases[i]);
    }
    layer_open(&r, &cases[0], GM_F64, LAYER_N);
    layer_value(&r);
    layer_backward(&r, LAYER_B, r.signal);
    for (size_t j = 0; j < 6; j++) {
        double sum = 0;
        for (size_t i = 0; i < LAYER_N; i++) {
            assert_true(((double *)r.out)[i * 6 + j] == ((double *)r.param)[j]);
            sum += ((double *)r.signal)[i * 6 + j];
        }
        assert_at_most(fabs(((double *)r.grad[0])[j] - sum), 1e-15, "sum over samples");
    }
    layer_close(&r);
    layer_open(&r, &cases[1], GM_F32, LAYER_N);
    layer_value(&r);
    for (size_t i = 0; i < LAYER_N * 6; i++) {
        assert_true((double)((float *)r.out)[i] == numbers[i % 6]);
    }
    layer_close(&r);
}

typedef struct function_case {
    const char *name;
    gm_function f;
    double low, high, off, curvature;
} function_case;

/* Ranges on which third derivatives are of order `curvature`; inputs off the multiples of `off`,
 * where the kinks are. */
static const function_case functions[] = {
    {"affine", {GM_UNARY_AFFINE, -1.5, 0.75}, -2, 2, 0, 1},
    {"neg", {GM_UNARY_AFFINE, -1, 0}, -2, 2, 0, 1},
    {"abs", {GM_UNARY_ABS, 0, 0}, -2, 2, 0.125, 1},
    {"clip", {GM_UNARY_CLIP, -0.5, 1}, -2, 2, 0.125, 1},
    {"relu6", {GM_UNARY_CLIP, 0, 6}, -4, 9, 0.125, 1},
    {"clip below", {GM_UNARY_CLIP, 0, (double)INFINITY}, -2, 2, 0.125, 1},
    {"hard sigmoid", {GM_UNARY_HARD_SIGMOID, 0.25, 0.5}, -4, 4, 0.125, 1},
    {"leaky", {GM_UNARY_LEAKY, 0.3, 0}, -2, 2, 0.125, 1},
    {"leaky downwards", {GM_UNARY_LEAKY, -0.3, 0}, -2, 2, 0.125, 1},
    {"threshold", {GM_UNARY_THRESHOLD, 0.5, 0}, -2, 2, 0.125, 1},
    {"exp", {GM_UNARY_EXP, 0, 0}, -2, 2, 0, 10},
    {"log", {GM_UNARY_LOG, 0, 0}, 0.2, 3, 0, 100},
    {"sqrt", {GM_UNARY_SQRT, 0, 0}, 0.2, 3, 0, 30},
    {"reciprocal", {GM_UNARY_RECIPROCAL, 0, 0}, 0.5, 3, 0, 100},
    {"square", {GM_UNARY_POWER, 2, 0}, -2, 2, 0, 1},
    {"cube", {GM_UNARY_POWER, 3, 0}, -2, 2, 0, 6},
    {"power 5", {GM_UNARY_POWER, 5, 0}, -2, 2, 0, 240},
    {"power -1.5", {GM_UNARY_POWER, -1.5, 0}, 0.5, 2, 0, 300},
    {"power 1", {GM_UNARY_POWER, 1, 0}, -2, 2, 0, 1},
    {"power 0", {GM_UNARY_POWER, 0, 0}, -2, 2, 0, 1},
    {"erf", {GM_UNARY_ERF, 0, 0}, -3, 3, 0, 4},
    {"sin", {GM_UNARY_SIN, 0, 0}, -4, 4, 0, 1},
    {"cos", {GM_UNARY_COS, 0, 0}, -4, 4, 0, 1},
    {"elu", {GM_UNARY_ELU, 0.7, 1}, -3, 3, 0.125, 1},
    {"selu", {GM_UNARY_ELU, 1.67326, 1.0507}, -3, 3, 0.125, 2},
    {"celu", {GM_UNARY_CELU, 0.5, 0}, -3, 3, 0.125, 4},
    {"softsign", {GM_UNARY_SOFTSIGN, 0, 0}, -3, 3, 0.125, 6},
    {"silu", {GM_UNARY_SILU, 0, 0}, -6, 6, 0, 1},
    {"gelu_tanh", {GM_UNARY_GELU_TANH, 0, 0}, -5, 5, 0, 4},
    {"hard swish", {GM_UNARY_HARD_SWISH, 0, 0}, -5, 5, 0.125, 1},
    {"mish", {GM_UNARY_MISH, 0, 0}, -6, 6, 0, 2},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

static void unary(void **state)
{
    (void)state;
    for (int i = 0; i < FUNCTIONS; i++) {
        const function_case *f = &functions[i];
        layer_case c = {f->name,
                        &gm_layer_unary,
                        &f->f,
                        1,
                        {{2, {7, 53}}},
                        .low = f->low,
                        .high = f->high,
                        .off = f->off,
                        .curvature = f->curvature,
                        .single = 3 * f->curvature};
        check_layer(&c);
    }
}

/* Index in an operand of number `at` of the shape `full`: axes aligned at the end, those of 1
 * repeated. */
static size_t index_in(const gm_shape *operand, const gm_shape *full, size_t at)
{
    size_t index = 0, step = 1;
    for (int a = full->rank - 1; a >= 0; a--) {
        size_t place = at % full->dim[a];
        int own = a - (full->rank - operand->rank);
        at /= full->dim[a];
        if (own < 0) continue;
        if (operand->dim[own] > 1) index += place * step;
        step *= operand->dim[own];
    }
    return index;
}

static double binary_of(gm_binary f, double x, double y)
{
    switch (f) {
    case GM_BINARY_ADD:
        return x + y;
    case GM_BINARY_SUB:
        return x - y;
    case GM_BINARY_MUL:
        return x * y;
    case GM_BINARY_DIV:
        return x / y;
    case GM_BINARY_POW:
        return pow(x, y);
    case GM_BINARY_MAX:
        return fmax(x, y);
    case GM_BINARY_MIN:
        return fmin(x, y);
    case GM_BINARY_PRELU:
        return x > 0 ? x : y * x;
    case GM_BINARY_EQUAL:
        return x == y;
    case GM_BINARY_LESS:
        return x < y;
    case GM_BINARY_LESS_EQUAL:
        return x <= y;
    default:
        return y != 0 ? x : 0;
    }
}

typedef struct shape_pair {
    gm_shape x, y, out;
} shape_pair;

static const shape_pair pairs[] = {
    {{2, {3, 5}}, {2, {3, 5}}, {2, {3, 5}}},
    {{1, {300}}, {1, {300}}, {1, {300}}}, /* longer than a piece */
    {{2, {3, 5}}, {1, {5}}, {2, {3, 5}}},
    {{1, {5}}, {2, {3, 5}}, {2, {3, 5}}},
    {{2, {3, 5}}, {2, {3, 1}}, {2, {3, 5}}},
    {{3, {4, 3, 5}}, {3, {4, 1, 1}}, {3, {4, 3, 5}}}, /* a number for each channel */
    {{3, {4, 3, 5}}, {3, {1, 3, 1}}, {3, {4, 3, 5}}},
    {{3, {4, 1, 5}}, {2, {3, 1}}, {3, {4, 3, 5}}}, /* both are repeated */
    {{2, {3, 300}}, {0}, {2, {3, 300}}},           /* one number */
    {{0}, {0}, {0}},
    {{6, {2, 1, 3, 1, 2, 2}}, {5, {2, 1, 2, 1, 2}}, {6, {2, 2, 3, 2, 2, 2}}},
};
enum { PAIRS = sizeof pairs / sizeof *pairs };

static void check_binary_value(const layer_case *c, gm_binary f, const gm_shape *out)
{
    layer_run r;
    layer_open(&r, c, GM_F64, LAYER_N);
    assert_true(gm_shape_equal(out, &r.out_shape));
    layer_value(&r);
    for (size_t i = 0; i < LAYER_N; i++) {
        for (size_t j = 0; j < r.out_size; j++) {
            double x = ((double *)r.in[0])[i * r.in_size[0] + index_in(&c->in[0], out, j)];
            double y = ((double *)r.in[1])[i * r.in_size[1] + index_in(&c->in[1], out, j)];
            double expected = binary_of(f, x, y), found = ((double *)r.out)[i * r.out_size + j];
            assert_at_most(fabs(found - expected), 1e-14 * fabs(expected), "%s: value %zu", c->name,
                           j);
        }
    }
    layer_close(&r);
}

/* Ranges in which the functions are smooth; kinks of max and min where both are equal, which random
 * numbers are not; of prelu at 0. */
static void binary(void **state)
{
    (void)state;
    static const char *const names[] = {"add", "sub",   "mul",  "div",   "pow",  "max",
                                        "min", "prelu", "keep", "equal", "less", "less or equal"};
    for (int f = 0; f < GM_BINARIES; f++) {
        gm_binary_config config = {.function = (gm_binary)f};
        bool positive = f == GM_BINARY_DIV || f == GM_BINARY_POW;
        for (int i = 0; i < PAIRS; i++) {
            layer_case c = {names[f], &gm_layer_binary,         &config,
                            2,        {pairs[i].x, pairs[i].y}, .low = -2};
            c.low = positive ? 0.5 : -2;
            c.high = 2;
            c.off = f == GM_BINARY_PRELU ? 0.125 : 0;
            c.curvature = positive ? 100 : 10;
            c.single = 30;
            check_binary_value(&c, config.function, &pairs[i].out);
            check_layer(&c);
        }
    }
}

/* What a power and a mask do at 0 and at infinity. */
static void binary_ends(void **state)
{
    (void)state;
    const gm_kernels *k = gm_kernels_get(GM_F64);
    const gm_shape four = {1, {4}};
    gm_broadcast g;
    gm_broadcast_make(&four, &four, &four, &g);
    const double x[] = {0, 0, 0, -2}, y[] = {2, 1, 0.5, 3}, one[] = {1, 1, 1, 1};
    const double slope[] = {0, 1, (double)INFINITY, 12}, bend[] = {2, 0, -(double)INFINITY, -12};
    double d[4], by[4], second[4] = {0};
    k->binary_backward(GM_BINARY_POW, &g, 0, 1, 1, x, y, one, false, d);
    k->binary_backward(GM_BINARY_POW, &g, 1, 1, 1, x, y, one, false, by);
    k->binary_bend(GM_BINARY_POW, &g, 0, 1, 1, x, y, one, NULL, one, second);
    for (int i = 0; i < 4; i++) {
        assert_true(d[i] == slope[i] && second[i] == bend[i]);
        if (i < 3) assert_true(by[i] == 0);
    }
    const double bad[] = {(double)INFINITY, (double)NAN, -(double)INFINITY, 5};
    const double mask[] = {0, 0, 0, 2};
    k->binary_value(GM_BINARY_KEEP, &g, 1, bad, mask, d);
    assert_true(d[0] == 0 && d[1] == 0 && d[2] == 0 && d[3] == 5);
    for (int f = GM_BINARY_MAX; f <= GM_BINARY_MIN; f++) { /* NaN wins from either side */
        const double nan[] = {(double)NAN, 1, (double)NAN, 1}, other[] = {1, (double)NAN, 1, 1};
        k->binary_value((gm_binary)f, &g, 1, nan, other, d);
        assert_true(isnan(d[0]) && isnan(d[1]) && d[3] == 1);
    }
    const double left[] = {1, 1, (double)NAN, -0.0}, right[] = {1, 2, (double)NAN, 0};
    const double holds[3][4] = {{1, 0, 0, 1}, {0, 1, 0, 0}, {1, 1, 0, 1}};
    for (int f = GM_BINARY_EQUAL; f <= GM_BINARY_LESS_EQUAL; f++) {
        k->binary_value((gm_binary)f, &g, 1, left, right, d);
        assert_memory_equal(d, holds[f - GM_BINARY_EQUAL], sizeof d);
    }
}

static void check_sums(const gm_reduce_config *config, const layer_case *c)
{
    layer_run r;
    layer_open(&r, c, GM_F64, LAYER_N);
    layer_value(&r);
    gm_shape small = c->in[0];
    for (int a = 0; a < small.rank; a++) {
        if (config->axes >> a & 1u) small.dim[a] = 1;
    }
    double *sum = calloc(LAYER_N * r.out_size, sizeof *sum);
    double numbers = (double)r.in_size[0] / (double)r.out_size;
    assert_int_equal(gm_shape_size(&small), r.out_size);
    for (size_t i = 0; i < LAYER_N * r.in_size[0]; i++) {
        size_t to = index_in(&small, &c->in[0], i % r.in_size[0]);
        sum[i / r.in_size[0] * r.out_size + to] +=
            ((double *)r.in[0])[i] / (config->reduction == GM_REDUCE_MEAN ? numbers : 1);
    }
    assert_at_most(layer_distance(LAYER_N * r.out_size, r.out, sum), 1e-13, "%s, axes %x", c->name,
                   config->axes);
    if (!config->keep) small = r.out_shape;
    assert_true(gm_shape_equal(&small, &r.out_shape));
    free(sum);
    layer_close(&r);
}

static void reduce(void **state)
{
    (void)state;
    const gm_shape shapes[] = {{3, {4, 3, 5}}, {2, {2, 301}}, {1, {7}}};
    for (int s = 0; s < 3; s++) {
        for (unsigned axes = 0; axes < 1u << shapes[s].rank; axes++) {
            for (int way = 0; way < 4; way++) {
                gm_reduce_config config = {way & 1 ? GM_REDUCE_MEAN : GM_REDUCE_SUM, axes, way > 1};
                layer_case c = {"reduce", &gm_layer_reduce, &config, 1, {shapes[s]}, .single = 10};
                check_sums(&config, &c);
                if (s == 0 || axes == 1) check_layer(&c);
            }
        }
    }
}

static void check_softmax_value(const layer_case *c, const gm_softmax_config *config)
{
    layer_run r;
    layer_open(&r, c, GM_F64, LAYER_N);
    layer_value(&r);
    const gm_shape *shape = &c->in[0];
    size_t classes = shape->dim[config->axis], inner = 1;
    for (int a = config->axis + 1; a < shape->rank; a++) {
        inner *= shape->dim[a];
    }
    for (size_t i = 0; i < LAYER_N * r.out_size; i++) {
        size_t row = i / (classes * inner) * classes * inner + i % inner;
        long double sum = 0;
        for (size_t k = 0; k < classes; k++) {
            sum += expl((long double)((double *)r.in[0])[row + k * inner]);
        }
        double expected = (double)(expl((long double)((double *)r.in[0])[i]) / sum);
        double found = ((double *)r.out)[i];
        assert_at_most(fabs((config->log ? exp(found) : found) - expected), 1e-14 * expected,
                       "softmax along axis %d", config->axis);
    }
    layer_close(&r);
}

static void softmax(void **state)
{
    (void)state;
    const gm_shape shapes[] = {{3, {4, 3, 5}}, {2, {2, 300}}, {2, {300, 2}}, {1, {1}}};
    for (int s = 0; s < 4; s++) {
        for (int axis = 0; axis < shapes[s].rank; axis++) {
            for (int log = 0; log < 2; log++) {
                gm_softmax_config config = {axis, log};
                layer_case c = {log ? "log softmax" : "softmax",
                                &gm_layer_softmax,
                                &config,
                                1,
                                {shapes[s]},
                                .high = 3,
                                .curvature = 100,
                                .single = 10};
                check_softmax_value(&c, &config);
                check_layer(&c);
            }
        }
    }
}

/* Logits of 1e4 apart, masks of -infinity, equal logits; a row without any finite logit is NaN, and
 * stays within its row. */
static void check_softmax_ends(const gm_kernels *k)
{
    const double low = -(double)INFINITY;
    const double rows[5][3] = {
        {1e4, -1e4, 0}, {2, low, 2}, {-7, -7, -7}, {low, low, low}, {50, 0, 0}};
    const double p[3][3] = {{1, 0, 0}, {0.5, 0, 0.5}, {1.0 / 3, 1.0 / 3, 1.0 / 3}};
    const double eps = gm_dtype_eps(k->dtype);
    void *x = k->dtype == GM_F32 ? (void *)(float[15]){0} : (void *)(double[15]){0};
    void *y = k->dtype == GM_F32 ? (void *)(float[15]){0} : (void *)(double[15]){0};
    double out[15], u[15];
    k->from_double(15, &rows[0][0], x);
    k->softmax_value(false, 5, 3, 1, x, y);
    k->to_double(15, y, out);
    for (int i = 0; i < 9; i++) {
        assert_at_most(fabs(out[i] - p[i / 3][i % 3]), 4 * eps, "softmax, number %d", i);
    }
    assert_true(isnan(out[9]) && isnan(out[11]));
    /* sure to 50 nats: the small entries, and J u for u of 1 at the sure class, keep their
     * accuracy: p_0 (1 - p_0) = 2 exp(-50) */
    assert_at_most(fabs(out[13] / exp(-50) - 1), 8 * eps, "a small probability");
    for (int i = 0; i < 15; i++) {
        u[i] = i % 3 == 0;
    }
    k->from_double(15, u, x);
    k->softmax_slope(false, false, 5, 3, 1, y, x, false, x);
    k->to_double(15, x, u);
    assert_at_most(fabs(u[12] / (2 * exp(-50)) - 1), 16 * eps, "slope where the net is sure");
    assert_true(u[0] == 0 && u[1] == 0 && u[4] == 0);
    k->from_double(15, &rows[0][0], x);
    k->softmax_value(true, 5, 3, 1, x, y);
    k->to_double(15, y, out);
    assert_true(out[0] == 0 && fabs(out[1] + 2e4) <= 2e4 * eps && out[4] == low);
    assert_at_most(fabs(out[12] / (-2 * exp(-50)) - 1), 16 * eps, "log of a sure class");
}

static void softmax_ends(void **state)
{
    (void)state;
    check_softmax_ends(gm_kernels_get(GM_F32));
    check_softmax_ends(gm_kernels_get(GM_F64));
}

/* Row `row` of d numbers in x, brought to mean 0 and variance 1. */
static void standard_row(size_t d, double epsilon, const double *x, double *z)
{
    double mean = 0, variance = 0;
    for (size_t j = 0; j < d; j++) {
        mean += x[j] / (double)d;
    }
    for (size_t j = 0; j < d; j++) {
        variance += (x[j] - mean) * (x[j] - mean) / (double)d;
    }
    for (size_t j = 0; j < d; j++) {
        z[j] = (x[j] - mean) / sqrt(variance + epsilon);
    }
}

/* d: numbers of a row; channel: index of number j's scale, of `channels`. */
static void check_normed(const layer_case *c, size_t d, size_t channels, size_t inner, double eps)
{
    layer_run r;
    layer_open(&r, c, GM_F64, LAYER_N);
    layer_value(&r);
    double *z = calloc(LAYER_N * r.out_size, sizeof *z);
    for (size_t i = 0; i < LAYER_N * r.out_size; i += d) {
        standard_row(d, eps, (double *)r.in[0] + i, z + i);
    }
    for (size_t i = 0; r.parameters && i < LAYER_N * r.out_size; i++) {
        size_t channel = i / inner % channels;
        z[i] = ((double *)r.param)[channel] * z[i] + ((double *)r.param)[channels + channel];
    }
    assert_at_most(layer_distance(LAYER_N * r.out_size, r.out, z), 1e-14, "%s", c->name);
    free(z);
    layer_close(&r);
}

static void norms(void **state)
{
    (void)state;
    const gm_shape image = {3, {6, 3, 4}}, sequence = {2, {5, 40}};
    for (int affine = 0; affine < 2; affine++) {
        for (int axes = 1; axes <= 2; axes++) {
            gm_layer_norm_config layer = {.axes = axes, .epsilon = 0.01, .affine = affine};
            layer_case c = {"layer norm", &gm_layer_layer_norm, &layer,      1,
                            {image},      .curvature = 30,      .single = 10};
            size_t d = axes == 1 ? 4 : 12;
            check_normed(&c, d, d, 1, layer.epsilon);
            check_layer(&c);
            c.in[0] = sequence;
            d = axes == 1 ? 40 : 200;
            check_normed(&c, d, d, 1, layer.epsilon);
            check_layer(&c);
        }
        const size_t groups[] = {1, 2, 6};
        for (int i = 0; i < 3; i++) {
            gm_group_norm_config group = {groups[i], 0.01, affine};
            layer_case c = {"group norm", &gm_layer_group_norm, &group,      1,
                            {image},      .curvature = 30,      .single = 10};
            check_normed(&c, 72 / groups[i], 6, 12, group.epsilon);
            check_layer(&c);
        }
    }
}

/* Equal numbers: z = 0 and finite slopes 1/sqrt(epsilon); numbers of 1e150 and 1e-150; without
 * epsilon equal numbers are 0/0. */
static void norm_ends(void **state)
{
    (void)state;
    const gm_kernels *k = gm_kernels_get(GM_F64);
    const double x[] = {7, 7, 7, 1e150, -1e150, 0, 1e-150, 2e-150, 3e-150}, u[] = {1, 0, 0};
    double z[9], inverse[3], out[3];
    k->standardize(3, 3, 1e-4, x, z, inverse);
    assert_true(z[0] == 0 && z[2] == 0 && inverse[0] == 100);
    assert_at_most(fabs(z[3] - sqrt(1.5)), 1e-15, "numbers of 1e150");
    assert_at_most(fabs(z[6] + 1e-148), 1e-160, "numbers of 1e-150");
    k->standardize_slope(1, 3, z, inverse, u, false, out);
    assert_at_most(fabs(out[0] - 200.0 / 3), 1e-13, "slope at equal numbers");
    k->standardize(1, 3, 0, x, z, inverse);
    assert_true(isnan(z[0]));
}

/* What does not fit is refused, with both sides. */
static void misfits(void **state)
{
    (void)state;
    gm_error err = {0};
    gm_net *net;
    int node = 0, pair[] = {0, 1};
    const gm_shape input = {2, {4, 6}};
    const gm_parameter_config other = {.shape = {2, {3, 6}}}, empty = {.shape = {1, {0}}};
    const gm_binary_config add = {.function = GM_BINARY_ADD};
    const gm_unary_config clip = {GM_UNARY_CLIP, 2, 1};
    const gm_reduce_config reduction = {GM_REDUCE_SUM, 4, false};
    expect_ok(gm_net_create("net", &input, &net, &err), &err);
    expect_ok(gm_net_add(net, &gm_layer_parameter, &other, 0, NULL, NULL, &node, &err), &err);
    assert_int_equal(gm_net_add(net, &gm_layer_binary, &add, 2, pair, NULL, &node, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "binary1: inputs of shapes [4, 6] and [3, 6]"));
    assert_int_equal(gm_net_add(net, &gm_layer_parameter, &empty, 0, NULL, NULL, &node, &err),
                     GM_ERR_INPUT);
    assert_int_equal(gm_net_add(net, &gm_layer_parameter, &other, 1, pair, NULL, &node, &err),
                     GM_ERR_INPUT);
    assert_int_equal(gm_net_add(net, &gm_layer_unary, &clip, 1, pair, NULL, &node, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "clip between 2 and 1"));
    assert_int_equal(gm_net_add(net, &gm_layer_unary, &clip, 0, NULL, NULL, &node, &err),
                     GM_ERR_INPUT);
    assert_int_equal(gm_net_add(net, &gm_layer_reduce, &reduction, 1, pair, NULL, &node, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "rank 2"));
    gm_net_free(net);
}

/* With constants for a weight it is the layer with these numbers, and has no parameters. */
static void check_frozen(const char *name, gm_frozen_config *config, gm_shape in)
{
    enum { MOST = 200 };
    static double numbers[MOST];
    gm_shape out;
    gm_tensor tensor[GM_MAX_TENSORS];
    int tensors;
    gm_error err = {0};
    layer_run own, frozen;
    expect_ok(config->kind->infer(&config->of, 1, &in, &out, tensor, &tensors, &err), &err);
    config->count = gm_shape_size(&tensor[0].shape);
    config->numbers = numbers;
    assert_true(config->count <= MOST);
    for (size_t i = 0; i < config->count; i++) {
        numbers[i] = (double)(float)sin(1 + 1.7 * (double)i);
    }
    const layer_case plain = {name, config->kind, &config->of, 1, {in}, .low = -2, .high = 2};
    const layer_case c = {name, &gm_layer_frozen, config, 1, {in}, .low = -2, .high = 2};
    layer_open(&own, &plain, GM_F64, LAYER_N);
    layer_open(&frozen, &c, GM_F64, LAYER_N);
    assert_int_equal(frozen.parameters, 0);
    memcpy(own.param, numbers, config->count * sizeof *numbers);
    layer_value(&own);
    layer_value(&frozen);
    assert_memory_equal(own.out, frozen.out, LAYER_N * own.out_size * sizeof(double));
    layer_close(&own);
    layer_close(&frozen);
    check_layer(&c);
    config->count--;
    assert_int_equal(gm_layer_frozen.infer(config, 1, &in, &out, tensor, &tensors, &err),
                     GM_ERR_INPUT);
}

static void frozen(void **state)
{
    (void)state;
    gm_frozen_config dense = {.kind = &gm_layer_dense,
                              .of.dense = {.units = 4, .by_position = true}};
    gm_frozen_config rows = {.kind = &gm_layer_dense,
                             .of.dense = {.units = 3, .by_position = true, .transposed = true}};
    gm_frozen_config conv = {
        .kind = &gm_layer_conv,
        .of.conv = {.window = gm_window_square(3, 2, 1, true), .out_channels = 4, .groups = 2}};
    check_frozen("frozen dense", &dense, (gm_shape){2, {3, 5}});
    check_frozen("frozen rows", &rows, (gm_shape){3, {2, 3, 5}});
    check_frozen("frozen conv", &conv, (gm_shape){3, {5, 6, 2}});
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources),      cmocka_unit_test(unary),   cmocka_unit_test(binary),
        cmocka_unit_test(binary_ends),  cmocka_unit_test(reduce),  cmocka_unit_test(softmax),
        cmocka_unit_test(softmax_ends), cmocka_unit_test(norms),   cmocka_unit_test(norm_ends),
        cmocka_unit_test(frozen),       cmocka_unit_test(misfits),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "layers");
}
