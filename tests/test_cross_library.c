/* Loss, gradient and products with H, G and M against PyTorch's: what
 * tests/fixtures/make_fixture.py wrote once, dense and by autograd, in float64. Nothing but
 * rounding lies between the two: 1e-10 relative in double; 1e-4 in single precision, some hundred
 * roundings of 1.2e-7 with room. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/npy.h"
#include "gradiometer/curvature.h"
#include "problems.h"

enum { PROBES = 5 };

typedef struct fixture {
    const char *folder, *model;
    size_t n, outputs, p;
    gm_loss loss;
} fixture;

static const fixture fixtures[] = {
    {"tanh-3-5-2-squared", "mlp:3-5-2,act=tanh", 8, 2, 32, GM_LOSS_SQUARED},
    {"tanh-3-5-4-cross-entropy", "mlp:3-5-4,act=tanh", 6, 4, 44, GM_LOSS_CROSS_ENTROPY},
};

/* The count numbers of an array of the fixture; the caller's to free. */
static double *load(const fixture *f, const char *name, size_t count)
{
    gm_error err = {0};
    gm_npy *npy = NULL;
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/%s.npy", GM_FIXTURES, f->folder, name);
    expect_ok(gm_npy_open(path, &npy, &err), &err);
    assert_int_equal(npy->count, count);
    double *values = calloc(count, sizeof *values);
    expect_ok(gm_npy_read(npy, count, values, &err), &err);
    gm_npy_close(npy);
    return values;
}

static void compare(const fixture *f, const char *name, gm_dtype dtype, size_t count,
                    const double *found)
{
    double *expected = load(f, name, count);
    assert_at_most(relative_error(count, found, expected), dtype == GM_F64 ? 1e-10 : 1e-4,
                   "%s, %s, %s", f->folder, name, gm_dtype_name(dtype));
    free(expected);
}

static gm_dataset *load_data(const fixture *f, gm_dtype dtype)
{
    gm_error err = {0};
    gm_dataset *data = NULL;
    gm_shape shape = {.rank = 1, .dim = {3}};
    bool squared = f->loss == GM_LOSS_SQUARED;
    double *x = load(f, "x", f->n * 3), *y = load(f, "y", squared ? f->n * f->outputs : f->n);
    int32_t *label = calloc(f->n, sizeof *label);
    for (size_t i = 0; i < f->n; i++) {
        label[i] = (int32_t)y[i];
    }
    expect_ok(gm_data_from_arrays(f->folder, f->n, &shape, x, squared ? NULL : label,
                                  squared ? y : NULL, squared ? f->outputs : 0, dtype, f->outputs,
                                  &data, &err),
              &err);
    free(x);
    free(y);
    free(label);
    return data;
}

static void agrees(const fixture *f, gm_dtype dtype)
{
    static const gm_curvature kind[] = {GM_HESSIAN, GM_GGN, GM_MOMENT};
    static const char *const name[] = {"hv", "gv", "mv"};
    gm_error err = {0};
    gm_problem_options options;
    gm_net *net = NULL;
    gm_problem *problem = NULL;
    gm_linearization *lin = NULL;
    gm_dataset *data = load_data(f, dtype);
    gm_problem_options_default(&options);
    options.loss = f->loss;
    expect_ok(gm_net_from_spec(f->model, &data->shape, f->outputs, &net, &err), &err);
    assert_int_equal(gm_net_parameters(net), f->p);
    expect_ok(gm_problem_create(net, data, &options, &problem, &err), &err);
    double *theta = load(f, "theta", f->p), *v = load(f, "v", PROBES * f->p);
    double *av = calloc(PROBES * f->p, sizeof *av);
    expect_ok(gm_linearize(problem, theta, &lin, &err), &err);
    double loss = gm_linearization_loss(lin);
    compare(f, "loss", dtype, 1, &loss);
    compare(f, "gradient", dtype, f->p, gm_linearization_gradient(lin));
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        gm_operator op;
        expect_ok(gm_curvature_operator(lin, kind[i], GM_ALL_LAYERS, &op, &err), &err);
        expect_ok(gm_operator_apply(&op, PROBES, v, av, &err), &err);
        compare(f, name[i], dtype, PROBES * f->p, av);
        gm_operator_destroy(&op);
    }
    gm_linearization_free(lin);
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_net_free(net);
    free(theta);
    free(v);
    free(av);
}

static void agrees_with_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
        agrees(&fixtures[i], GM_F64);
        agrees(&fixtures[i], GM_F32);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_pytorch)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "cross_library");
}
