/* Operators on constants: arithmetic. Integers are computed with as such, with wrap-around where
 * they overflow (as two's complement does). */
#include <math.h>

#include "onnx/operators.h"

/* ---- types ---- */

static double number_at(const gm_onnx_tensor *t, size_t i)
{
    return t->of == GM_ONNX_REAL ? t->real[i] : (double)t->whole[i];
}

static int64_t whole_number(double x)
{
    if (isnan(x)) return 0;
    return x >= 0x1p63 ? INT64_MAX : x <= -0x1p63 ? INT64_MIN : (int64_t)x;
}

gm_status gm_onnx_fold_cast(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    gm_onnx_tensor *out;
    gm_onnx_class to;
    int64_t type = gm_onnx_int(s, "to", 0);
    if (type < 0 || type > 1000 || !gm_onnx_type_class((int32_t)type, &to)) {
        return gm_onnx_refuse(s, err, "a cast to type %lld", (long long)type);
    }
    gm_status status = gm_onnx_fold_make(s, 0, to, in->rank, in->dim, &out, err);
    for (size_t i = 0; status == GM_OK && i < in->count; i++) {
        if (to == GM_ONNX_REAL) {
            out->real[i] = number_at(in, i);
        } else if (in->of == GM_ONNX_REAL) {
            out->whole[i] = to == GM_ONNX_TRUTH ? in->real[i] != 0.0 : whole_number(in->real[i]);
        } else {
            out->whole[i] = to == GM_ONNX_TRUTH ? in->whole[i] != 0 : in->whole[i];
        }
    }
    return status;
}

gm_status gm_onnx_fold_range(gm_onnx_step *s, gm_error *err)
{
    double value[3];
    gm_onnx_tensor *out;
    for (size_t i = 0; i < 3; i++) {
        gm_status status = gm_onnx_scalar(s, i, 0.0, &value[i], err);
        if (status != GM_OK) return status;
    }
    bool real = gm_onnx_in(s, 0)->tensor.of == GM_ONNX_REAL;
    double steps = value[2] != 0.0 ? ceil((value[1] - value[0]) / value[2]) : -1.0;
    if (!(fabs(steps) <= (double)GM_ONNX_FOLDED) || value[2] == 0.0) {
        return gm_onnx_refuse(s, err, "a range from %g to %g in steps of %g", value[0], value[1],
                              value[2]);
    }
    size_t count = steps > 0.0 ? (size_t)steps : 0;
    gm_status status =
        gm_onnx_fold_make(s, 0, real ? GM_ONNX_REAL : GM_ONNX_WHOLE, 1, &count, &out, err);
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        double x = value[0] + (double)i * value[2];
        if (real) {
            out->real[i] = x;
        } else {
            out->whole[i] = whole_number(x);
        }
    }
    return status;
}

/* ---- one operand ---- */

typedef struct unary {
    const char *name;
    double (*real)(double);
} unary;

static double negative(double x)
{
    return -x;
}
static double reciprocal(double x)
{
    return 1.0 / x;
}
static double positive_part(double x)
{
    return x > 0.0 ? x : 0.0;
}
static double sign(double x)
{
    return (x > 0.0) - (x < 0.0);
}
static double logistic(double x)
{
    return 1.0 / (1.0 + exp(-x));
}
static double opposite(double x)
{
    return x == 0.0;
}

static const unary unaries[] = {{"Neg", negative},
                                {"Abs", fabs},
                                {"Sqrt", sqrt},
                                {"Exp", exp},
                                {"Log", log},
                                {"Floor", floor},
                                {"Ceil", ceil},
                                {"Reciprocal", reciprocal},
                                {"Erf", erf},
                                {"Tanh", tanh},
                                {"Sin", sin},
                                {"Cos", cos},
                                {"Relu", positive_part},
                                {"Sign", sign},
                                {"Sigmoid", logistic},
                                {"Not", opposite}};

gm_status gm_onnx_fold_unary(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    gm_onnx_tensor *out;
    const unary *u = NULL;
    for (size_t i = 0; i < sizeof unaries / sizeof *unaries; i++) {
        if (strcmp(unaries[i].name, s->op->name) == 0) u = &unaries[i];
    }
    if (!u) return gm_onnx_refuse(s, err, "of constants: not supported");
    gm_status status = gm_onnx_fold_make(s, 0, in->of, in->rank, in->dim, &out, err);
    for (size_t i = 0; status == GM_OK && i < in->count; i++) {
        double y = u->real(number_at(in, i));
        if (in->of == GM_ONNX_REAL) {
            out->real[i] = y;
        } else {
            out->whole[i] = whole_number(y);
        }
    }
    return status;
}

/* ---- two operands ---- */

typedef struct binary {
    const char *name;
    bool truth; /* the result is one */
    double (*real)(double, double);
    int64_t (*whole)(int64_t, int64_t);
} binary;

#define WRAP(op) (int64_t)((uint64_t)a op(uint64_t) b)
#define BOTH(name, expression)                                                                     \
    static double name##_real(double a, double b)                                                  \
    {                                                                                              \
        return expression;                                                                         \
    }                                                                                              \
    static int64_t name##_whole(int64_t a, int64_t b)                                              \
    {                                                                                              \
        return expression;                                                                         \
    }

BOTH(equal, a == b)
BOTH(less, a < b)
BOTH(greater, a > b)
BOTH(less_equal, a <= b)
BOTH(greater_equal, a >= b)
BOTH(both, a != 0 && b != 0)
BOTH(either, a != 0 || b != 0)
BOTH(unlike, (a != 0) != (b != 0))
BOTH(least, a < b ? a : b)
BOTH(most, a > b ? a : b)

static double add_real(double a, double b)
{
    return a + b;
}
static int64_t add_whole(int64_t a, int64_t b)
{
    return WRAP(+);
}
static double sub_real(double a, double b)
{
    return a - b;
}
static int64_t sub_whole(int64_t a, int64_t b)
{
    return WRAP(-);
}
static double mul_real(double a, double b)
{
    return a * b;
}
static int64_t mul_whole(int64_t a, int64_t b)
{
    return WRAP(*);
}
static double div_real(double a, double b)
{
    return a / b;
}
static int64_t div_whole(int64_t a, int64_t b)
{
    return b == 0 || (b == -1 && a == INT64_MIN) ? 0 : a / b;
}
static double mod_real(double a, double b)
{
    return fmod(a, b);
}
static int64_t mod_whole(int64_t a, int64_t b)
{
    if (b == 0 || b == -1) return 0;
    int64_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
/* As C does: the sign of the dividend. */
static int64_t fmod_whole(int64_t a, int64_t b)
{
    return b == 0 || b == -1 ? 0 : a % b;
}
static int64_t pow_whole(int64_t a, int64_t b)
{
    return whole_number(pow((double)a, (double)b));
}

static const binary binaries[] = {{"Add", false, add_real, add_whole},
                                  {"Sub", false, sub_real, sub_whole},
                                  {"Mul", false, mul_real, mul_whole},
                                  {"Div", false, div_real, div_whole},
                                  {"Mod", false, mod_real, mod_whole},
                                  {"Pow", false, pow, pow_whole},
                                  {"Min", false, least_real, least_whole},
                                  {"Max", false, most_real, most_whole},
                                  {"Equal", true, equal_real, equal_whole},
                                  {"Less", true, less_real, less_whole},
                                  {"Greater", true, greater_real, greater_whole},
                                  {"LessOrEqual", true, less_equal_real, less_equal_whole},
                                  {"GreaterOrEqual", true, greater_equal_real, greater_equal_whole},
                                  {"And", true, both_real, both_whole},
                                  {"Or", true, either_real, either_whole},
                                  {"Xor", true, unlike_real, unlike_whole}};

/* Steps through a joint shape with the places of up to three operands. */
typedef struct walk {
    size_t index[GM_ONNX_RANK];
    ptrdiff_t stride[3][GM_ONNX_RANK];
    size_t at[3];
} walk;

static void step(walk *w, const gm_onnx_tensor *joint)
{
    for (int j = joint->rank; j-- > 0;) {
        bool wraps = ++w->index[j] == joint->dim[j];
        for (int k = 0; k < 3; k++) {
            ptrdiff_t by = w->stride[k][j] * (wraps ? 1 - (ptrdiff_t)joint->dim[j] : 1);
            w->at[k] += (size_t)by;
        }
        if (!wraps) return;
        w->index[j] = 0;
    }
}

gm_status gm_onnx_fold_binary(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *a = &gm_onnx_in(s, 0)->tensor, *b = &gm_onnx_in(s, 1)->tensor;
    gm_onnx_tensor joint = {0}, *out;
    const binary *op = NULL;
    for (size_t i = 0; i < sizeof binaries / sizeof *binaries; i++) {
        if (strcmp(binaries[i].name, s->op->name) == 0) op = &binaries[i];
    }
    if (!op || s->node->n_input != 2 || !gm_onnx_broadcast(a, b, &joint)) {
        return gm_onnx_refuse(s, err, "constants of these shapes: not supported");
    }
    binary own = *op;
    if (strcmp(op->name, "Mod") == 0 && gm_onnx_int(s, "fmod", 0)) own.whole = fmod_whole;
    bool real = a->of == GM_ONNX_REAL || b->of == GM_ONNX_REAL;
    gm_onnx_class of = op->truth ? GM_ONNX_TRUTH : real ? GM_ONNX_REAL : GM_ONNX_WHOLE;
    gm_status status = gm_onnx_fold_make(s, 0, of, joint.rank, joint.dim, &out, err);
    if (status != GM_OK) return status;
    walk w = {0};
    gm_onnx_broadcast_strides(a, &joint, w.stride[0]);
    gm_onnx_broadcast_strides(b, &joint, w.stride[1]);
    for (size_t i = 0; i < out->count; i++, step(&w, &joint)) {
        double x = real ? op->real(number_at(a, w.at[0]), number_at(b, w.at[1])) : 0.0;
        int64_t n = real ? (int64_t)(x != 0.0) : own.whole(a->whole[w.at[0]], b->whole[w.at[1]]);
        if (of == GM_ONNX_REAL) {
            out->real[i] = x;
        } else {
            out->whole[i] = n;
        }
    }
    return GM_OK;
}

gm_status gm_onnx_fold_where(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *c = &gm_onnx_in(s, 0)->tensor, *a = &gm_onnx_in(s, 1)->tensor,
                         *b = &gm_onnx_in(s, 2)->tensor;
    gm_onnx_tensor pair = {0}, joint = {0}, *out;
    if (c->of == GM_ONNX_REAL || (a->of == GM_ONNX_REAL) != (b->of == GM_ONNX_REAL) ||
        !gm_onnx_broadcast(a, b, &pair) || !gm_onnx_broadcast(&pair, c, &joint)) {
        return gm_onnx_refuse(s, err, "constants of these shapes and types: not supported");
    }
    gm_status status = gm_onnx_fold_make(s, 0, a->of, joint.rank, joint.dim, &out, err);
    if (status != GM_OK) return status;
    walk w = {0};
    gm_onnx_broadcast_strides(c, &joint, w.stride[0]);
    gm_onnx_broadcast_strides(a, &joint, w.stride[1]);
    gm_onnx_broadcast_strides(b, &joint, w.stride[2]);
    for (size_t i = 0; i < out->count; i++, step(&w, &joint)) {
        out->whole[i] = c->whole[w.at[0]] ? a->whole[w.at[1]] : b->whole[w.at[2]];
    }
    return GM_OK;
}

/* ---- triangles and reductions ---- */

gm_status gm_onnx_fold_trilu(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    gm_onnx_tensor *out;
    double shift;
    bool upper = gm_onnx_int(s, "upper", 1) != 0;
    if (in->rank < 2) return gm_onnx_refuse(s, err, "an input of rank %d", in->rank);
    gm_status status = gm_onnx_scalar(s, 1, 0.0, &shift, err);
    if (status == GM_OK) status = gm_onnx_fold_make(s, 0, in->of, in->rank, in->dim, &out, err);
    size_t columns = in->dim[in->rank - 1], rows = in->dim[in->rank - 2];
    for (size_t i = 0; status == GM_OK && i < in->count; i++) {
        double below = (double)(i % columns) - (double)(i / columns % rows) - shift;
        out->whole[i] = (upper ? below >= 0.0 : below <= 0.0) ? in->whole[i] : 0;
    }
    return status;
}

gm_status gm_onnx_fold_reduce_prod(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    gm_onnx_tensor *out, kept = {.rank = in->rank};
    bool wanted[GM_ONNX_RANK], given, keep = gm_onnx_int(s, "keepdims", 1) != 0;
    size_t dim[GM_ONNX_RANK];
    int rank = 0;
    gm_status status = gm_onnx_axes(s, 1, in->rank, wanted, &given, err);
    if (status != GM_OK) return status;
    for (int i = 0; i < in->rank; i++) {
        kept.dim[i] = !given || wanted[i] ? 1 : in->dim[i];
        if (keep || (given && !wanted[i])) dim[rank++] = kept.dim[i];
    }
    status = gm_onnx_fold_make(s, 0, in->of, rank, dim, &out, err);
    if (status != GM_OK) return status;
    for (size_t i = 0; i < out->count; i++) {
        if (in->of == GM_ONNX_REAL) out->real[i] = 1.0;
        if (in->of != GM_ONNX_REAL) out->whole[i] = 1;
    }
    walk w = {0};
    gm_onnx_broadcast_strides(&kept, in, w.stride[0]);
    for (size_t i = 0; i < in->count; i++, step(&w, in)) {
        if (in->of == GM_ONNX_REAL) {
            out->real[w.at[0]] *= in->real[i];
        } else {
            out->whole[w.at[0]] = mul_whole(out->whole[w.at[0]], in->whole[i]);
        }
    }
    return GM_OK;
}
