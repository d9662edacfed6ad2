/* Layers one by one: each kind's four functions against differences of one another and against
 * plain loops. */
#include "support.h"

#include "layer_case.h"

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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources),
        cmocka_unit_test(unary),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "layers");
}
