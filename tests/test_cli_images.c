/* Nets on images through the program: every command on a small convolutional net, a residual net,
 * and what is refused. The data: 60 images of 8x8 pixels with a bright quarter that tells the
 * class.
 */
#include "support.h"

#include <math.h>

#include "data/npy.h"
#include "folder.h"
#include "gradiometer/random.h"
#include "program.h"

enum { N = 60, SIDE = 8, CLASSES = 3, P = 3 * 9 + 3 + 3 * 4 * 9 + 4 + 4 * 4 * 3 + 3 };

#define DATA  "--data npy:%s/x.npy,%s/y.npy"
#define MODEL "--model cnn:3-4 " DATA

static int make_data(void **state)
{
    if (folder_make(state) != 0) return -1;
    double x[N * SIDE * SIDE];
    int32_t y[N];
    size_t dim[] = {N, 1, SIDE, SIDE};
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, N * SIDE * SIDE, x);
    for (int i = 0; i < N; i++) {
        y[i] = i % CLASSES;
        for (int j = 0; j < SIDE * SIDE; j++) {
            int quarter = j / SIDE / 4 * 2 + j % SIDE / 4;
            x[i * SIDE * SIDE + j] = 0.3 * x[i * SIDE * SIDE + j] + (quarter == y[i]);
        }
    }
    gm_error err = {0};
    bool ok = gm_npy_write(folder_path("x.npy"), GM_NPY_F8, 4, dim, x, &err) == GM_OK &&
              gm_npy_write(folder_path("y.npy"), GM_NPY_I4, 1, dim, y, &err) == GM_OK;
    dim[1] = SIDE * SIDE;
    ok = ok && gm_npy_write(folder_path("flat.npy"), GM_NPY_F8, 2, dim, x, &err) == GM_OK;
    return ok ? 0 : -1;
}

static json_t *document(program_result result)
{
    json_t *d = program_document(result);
    assert_non_null(d);
    return d;
}

/* It learns (a random guess errs in 67 %), and a run cut in two ends at the same numbers. */
static void train_and_resume(void **state)
{
    (void)state;
    for (int precision = 0; precision < 2; precision++) {
        const char *name = precision ? "f64" : "f32";
        json_t *d = document(program("train " MODEL " --precision %s --batch 10 --step 0.2 --steps "
                                     "120 -q --json -o %s/%s.gmr",
                                     folder, folder, name, folder, name));
        assert_int_equal(program_number(json_object_get(d, "model"), "parameters"), P);
        const json_t *layers = json_object_get(json_object_get(d, "model"), "layers");
        const json_t *second = json_array_get(layers, 1);
        assert_string_equal(json_string_value(json_object_get(second, "name")), "conv2");
        assert_true(program_number(d, "loss") < 0.3);
        double loss = program_number(d, "loss");
        json_decref(d);
        d = document(
            program("spectrum --params %s/%s.gmr --method diagonal -q --json", folder, name));
        assert_true(fabs(program_number(d, "loss") - loss) < 1e-5);
        json_decref(d);
    }
    program_result whole = program("train --resume %s/f64.gmr -q --json", folder);
    assert_int_equal(whole.exit, 0);
    program_free(&whole);
}

/* Eigenvalues by the dense matrix and by products agree; their sum is that of the diagonal. */
static void spectra(void **state)
{
    (void)state;
    const char *operators[] = {"hessian", "ggn", "moment", "covariance", "residual", "gn_residual"};
    for (int i = 0; i < GM_TEST_SIZE(6, 2); i++) {
        const char *o = operators[i];
        json_t *dense =
            document(program("spectrum --params %s/f64.gmr --operator %s --method dense "
                             "-q --json",
                             folder, o));
        json_t *few = document(program("spectrum --params %s/f64.gmr --operator %s --method "
                                       "lanczos --k 3 --which LA -q --json",
                                       folder, o));
        json_t *diagonal = document(program("spectrum --params %s/f64.gmr --operator %s --method "
                                            "diagonal -q --json",
                                            folder, o));
        const json_t *all = json_object_get(dense, "eigenvalues");
        const json_t *top = json_object_get(few, "eigenvalues");
        assert_int_equal(json_array_size(all), P);
        double scale = 0, sum = 0;
        for (size_t j = 0; j < P; j++) {
            double value = json_number_value(json_array_get(all, j));
            scale = fmax(scale, fabs(value));
            sum += value;
        }
        /* residuals below 1e-10 of the largest eigenvalue bound the error of an eigenvalue */
        for (size_t j = 0; i < 5 && j < 3; j++) {
            double error = json_number_value(json_array_get(all, j)) -
                           json_number_value(json_array_get(top, j));
            assert_true(fabs(error) <= 1e-9 * scale);
        }
        double mean = program_number(json_object_get(diagonal, "diagonal"), "mean");
        assert_true(json_is_true(json_object_get(json_object_get(diagonal, "diagonal"), "exact")));
        assert_true(fabs(mean * P - sum) <= 1e-9 * fmax(scale, 1e-3));
        json_decref(dense);
        json_decref(few);
        json_decref(diagonal);
    }
}

static void other_commands(void **state)
{
    (void)state;
    const char *commands[] = {
        "decompose --params %s/f64.gmr --method products --k 3 -q --json",
        "decompose --params %s/f64.gmr --k 3 -q --json",
        "decompose --params %s/f64.gmr --layer conv2 --k 3 -q --json",
        "dynamics predict --params %s/f64.gmr --batch 10 --step 0.1 --draws 50 -q --json",
        "dynamics advise --params %s/f64.gmr --batch 10 -q --json",
        "spectrum --params %s/f32.gmr --method density --probes 2 --steps 10 -q --json",
        "spectrum --params %s/f64.gmr --method trace --layer conv1 -q --json",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char arguments[512];
        snprintf(arguments, sizeof arguments, commands[i], folder);
        json_t *d = document(program("%s", arguments));
        json_decref(d);
    }
    program_result r = program("export %s/f64.gmr --params %s/theta.npy", folder, folder);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    json_t *d = document(program(
        "bench " MODEL " --quick --precision f32 --parts products -q --json", folder, folder));
    json_decref(d);
}

static void residual_net(void **state)
{
    (void)state;
    json_t *d =
        document(program("train --model resnet20 " DATA " --batch 20 --step 0.05 --steps %d "
                         "-q --json -o %s/r.gmr",
                         folder, folder, GM_TEST_SIZE(6, 1), folder));
    assert_int_equal(program_number(json_object_get(d, "model"), "parameters"),
                     269722 - 2 * 144 - 7 * 65);
    assert_true(isfinite(program_number(d, "loss")));
    json_decref(d);
    /* Norms with constant statistics are linear with a bias: their scales are factors of the
     * re-scaling, and the bound stays. */
    d = document(
        program("bound rescale --params %s/r.gmr --subset 4 --magnitudes 100 --measures none "
                "--draws 1 --whole-draws --prior-scale 0.03125 --posterior-scale n -q --json",
                folder));
    const json_t *cases = json_object_get(json_object_get(d, "rescaling"), "cases");
    double trace[2];
    for (size_t i = 0; i < 2; i++) {
        const json_t *measures = json_object_get(json_array_get(cases, i), "measures");
        trace[i] = program_number(json_object_get(measures, "trace"), "value");
    }
    assert_true(program_number(json_object_get(d, "rescaling"), "max_relative_change") < 1e-10);
    assert_true(fabs(log(trace[1] / trace[0])) > 1.0);
    json_decref(d);
}

static void refusals(void **state)
{
    (void)state;
    const struct {
        const char *model, *data, *expected;
    } cases[] = {
        {"lenet", "x", "conv2: a window of 5x5 is larger than its input of 2x2"},
        {"cnn:3-4", "flat", "expected an image"},
        {"cnn:3-4,stride=2", "x", "unknown key 'stride=2'"},
        {"cnn:3-0", "x", "width 2"},
        {"resnet18", "x", "resnet20"},
        {"cnn:3-4-5-6", "x", "max_pool4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program_result r = program("spectrum --model %s --data npy:%s/%s.npy,%s/y.npy",
                                   cases[i].model, folder, cases[i].data, folder);
        if (r.exit != 2 || *r.out || !program_one_line(r.err) ||
            !strstr(r.err, cases[i].expected)) {
            fail_msg("%s: exit status %d, %s", cases[i].model, r.exit, r.err);
        }
        program_free(&r);
    }
    program_result r = program("spectrum --model lenet");
    assert_int_equal(r.exit, 2);
    assert_non_null(strstr(r.err, "--data"));
    program_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(train_and_resume), cmocka_unit_test(spectra),
        cmocka_unit_test(other_commands),   cmocka_unit_test(residual_net),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests_name("cli_images", tests, make_data, folder_remove);
}
