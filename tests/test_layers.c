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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "layers");
}
