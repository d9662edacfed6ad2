/* Parameters that come and go in files of tensors. */
#include "support.h"

#include <math.h>

#include "data/npy.h"
#include "folder.h"
#include "program.h"

#define NET   " --model mlp:4-5-3 "
#define DATA  " --data gauss:k=3,d=4,n=40 "
#define QUIET " --json --threads 1 -q "

/* A run of 20 steps and its last parameters under their own names. */
static int make_run(void **state)
{
    if (folder_make(state) != 0) return -1;
    program_result r =
        program("train -q --threads 1 --steps 20 --keep-every 2 --batch 5 -o %s " NET DATA,
                folder_path("r.gmr"));
    bool trained = r.exit == 0;
    program_free(&r);
    r = program("export %s --params %s", folder_path("r.gmr"), folder_path("r.safetensors"));
    bool exported = r.exit == 0 && !*r.err;
    program_free(&r);
    return trained && exported ? 0 : -1;
}

static void test_export_and_back(void **state)
{
    (void)state;
    json_t *run = program_document(program("spectrum --params %s" QUIET, folder_path("r.gmr")));
    json_t *file = program_document(
        program("spectrum --params %s" NET DATA QUIET, folder_path("r.safetensors")));
    assert_true(run && file);
    assert_true(program_number(run, "loss") == program_number(file, "loss"));
    assert_true(
        json_equal(json_object_get(run, "eigenvalues"), json_object_get(file, "eigenvalues")));
    assert_string_equal(json_string_value(json_object_get(file, "point")),
                        folder_path("r.safetensors"));
    json_decref(run);
    json_decref(file);

    /* The end at the start: no distance. */
    json_t *bound = program_document(program("bound --params %s --params0 %s --measures none" QUIET,
                                             folder_path("r.gmr"), folder_path("r.safetensors")));
    assert_non_null(bound);
    assert_true(json_is_real(json_object_get(bound, "distance")));
    assert_true(program_number(bound, "distance") == 0.0);
    json_decref(bound);
}

/* Maps the shape of images, which a net takes from the data, to its tensors. */
static void test_export_of_an_image_net(void **state)
{
    (void)state;
    uint8_t x[6 * 72], y[6];
    gm_error err = {0};
    for (size_t i = 0; i < sizeof x; i++) {
        x[i] = (uint8_t)(i * i % 7);
        y[i % 6] = (uint8_t)(i % 3);
    }
    assert_int_equal(
        gm_npy_write(folder_path("x.npy"), GM_NPY_U1, 4, (size_t[]){6, 2, 6, 6}, x, &err), GM_OK);
    assert_int_equal(gm_npy_write(folder_path("y.npy"), GM_NPY_U1, 1, (size_t[]){6}, y, &err),
                     GM_OK);
    char data[512];
    snprintf(data, sizeof data, "--data npy:%s,%s", folder_path("x.npy"), folder_path("y.npy"));
    json_t *trained = program_document(
        program("train --model cnn:3 %s --precision f32 --batch 3 --steps 4 -o %s" QUIET, data,
                folder_path("c.gmr")));
    program_result r =
        program("export %s --params %s", folder_path("c.gmr"), folder_path("c.safetensors"));
    assert_string_equal(r.err, "");
    program_free(&r);
    json_t *back = program_document(
        program("spectrum --method diagonal --model cnn:3 --precision f32 --params %s %s" QUIET,
                folder_path("c.safetensors"), data));
    assert_true(trained && back);
    assert_true(program_number(trained, "loss") == program_number(back, "loss"));
    json_decref(trained);
    json_decref(back);

    /* F32 was enough for a training in f32. */
    char *text = program_slurp(folder_path("c.safetensors"));
    assert_non_null(strstr(text + 8, "\"conv1.weight\":{\"dtype\":\"F32\",\"shape\":[3,2,3,3]"));
    free(text);
}

/* ---- series ---- */

/* The run's parameters at steps 2, 10 and 20 under these names, numbered in no order of bytes. */
static void export_series(const char *stem, const char *ending)
{
    static const int steps[] = {2, 10, 20};
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%d%s", stem, steps[i], ending);
        program_result r = program("export %s --at %d --params %s", folder_path("r.gmr"), steps[i],
                                   folder_path(name));
        assert_int_equal(r.exit, 0);
        program_free(&r);
    }
}

static const json_t *entry_at(const json_t *document, size_t index)
{
    const json_t *list = json_object_get(document, "trajectory");
    assert_int_equal(json_array_size(list), 3);
    return json_array_get(list, index);
}

static void assert_label(const json_t *entry, int step, const char *label)
{
    assert_int_equal(program_number(entry, "step"), step);
    assert_string_equal(json_string_value(json_object_get(entry, "label")), label);
}

/* A series of files is the trajectory that the run's checkpoints are. */
static void test_decomposed_series(void **state)
{
    (void)state;
    static const char *const label[] = {"c-2.safetensors", "c-10.safetensors", "c-20.safetensors"};
    export_series("c-", ".safetensors");
    json_t *files = program_document(
        program("decompose --params '%s'" NET DATA QUIET, folder_path("c-*.safetensors")));
    json_t *run =
        program_document(program("decompose --params %s@all" QUIET, folder_path("r.gmr")));
    assert_true(files && run);
    const json_t *all = json_object_get(run, "trajectory");
    for (size_t i = 0, j = 0; i < 3; i++) {
        const json_t *file = entry_at(files, i), *kept = NULL;
        assert_label(file, i == 0 ? 2 : 10 * (int)i, label[i]);
        while (!kept && j < json_array_size(all)) {
            kept = json_array_get(all, j++);
            if (program_number(kept, "step") != program_number(file, "step")) kept = NULL;
        }
        assert_non_null(kept);
        assert_true(program_number(file, "loss") == program_number(kept, "loss"));
        assert_true(json_equal(json_object_get(json_object_get(file, "operators"), "hessian"),
                               json_object_get(json_object_get(kept, "operators"), "hessian")));
    }
    assert_int_equal(program_number(files, "step"), 20);
    json_decref(files);
    json_decref(run);
}

/* Warm starts find what whole spectra have, with fewer products. */
static void test_followed_spectrum(void **state)
{
    (void)state;
    export_series("w", ".npy");
    unlink(folder_path("w20.npy")); /* the last point is the one before once more */
    assert_int_equal(symlink(folder_path("w10.npy"), folder_path("w20.npy")), 0);
    unlink(folder_path("w.gmr"));
    json_t *warm = program_document(
        program("spectrum --method lanczos --k 3 --params '%s' -o %s" NET DATA QUIET,
                folder_path("w*.npy"), folder_path("w.gmr")));
    assert_non_null(warm);
    for (size_t i = 0; i < 3; i++) {
        const json_t *entry = entry_at(warm, i);
        json_t *dense = program_document(program("spectrum --method dense --params %s@%d" QUIET,
                                                 folder_path("r.gmr"), i ? 10 : 2));
        assert_non_null(dense);
        for (size_t j = 0; j < 3; j++) {
            double found =
                json_number_value(json_array_get(json_object_get(entry, "eigenvalues"), j));
            double whole =
                json_number_value(json_array_get(json_object_get(dense, "eigenvalues"), j));
            assert_true(fabs(found - whole) <= 1e-10 * whole);
        }
        json_decref(dense);
    }
    assert_true(program_number(entry_at(warm, 2), "products") <
                program_number(entry_at(warm, 0), "products"));
    assert_true(json_equal(json_object_get(entry_at(warm, 2), "eigenvalues"),
                           json_object_get(warm, "eigenvalues")));
    json_decref(warm);

    /* Each point is a result, and its eigenvalues are metrics for the figure. */
    program_result r = program("export %s --metrics %s --results %s", folder_path("w.gmr"),
                               folder_path("w.csv"), folder_path("w.json"));
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char *csv = program_slurp(folder_path("w.csv"));
    assert_non_null(strstr(csv, "hessian/eigenvalue/3"));
    free(csv);
    json_t *stored = json_load_file(folder_path("w.json"), 0, NULL);
    const json_t *results = json_object_get(stored, "results");
    assert_int_equal(json_array_size(results), 3);
    assert_int_equal(program_number(json_array_get(results, 1), "step"), 10);
    json_decref(stored);

    /* A line for each, and names without numbers count from 0. */
    assert_int_equal(rename(folder_path("w2.npy"), folder_path("wz.npy")), 0);
    r = program("spectrum --method trace --threads 1 --params '%s'" NET DATA,
                folder_path("w*.npy"));
    assert_true(r.exit == 0 && strstr(r.out, "wz.npy") > strstr(r.out, "w20.npy"));
    program_free(&r);
    json_t *places = program_document(
        program("spectrum --method trace --params '%s'" NET DATA QUIET, folder_path("w*.npy")));
    assert_non_null(places);
    assert_label(entry_at(places, 2), 2, "wz.npy");
    json_decref(places);
}

/* ---- groups ---- */

/* All of a net by its layers' names is the net; one tensor alone is listed, and surveyed. */
static void test_groups(void **state)
{
    (void)state;
    const char *run = folder_path("r.gmr");
    json_t *whole = program_document(program("spectrum --params %s" QUIET, run));
    json_t *all = program_document(program("spectrum --layer 'dense*' --params %s" QUIET, run));
    json_t *weights = program_document(
        program("spectrum --layer '*.weight' --method lanczos --k 2 --params %s" QUIET, run));
    json_t *survey =
        program_document(program("decompose --layer '*.weight' --k 2 --params %s" QUIET, run));
    json_t *bias = program_document(
        program("decompose --layer dense2.bias --method products --k 2 --params %s" QUIET, run));
    assert_true(whole && all && weights && survey && bias);
    for (size_t j = 0; j < 43; j++) {
        double a = json_number_value(json_array_get(json_object_get(whole, "eigenvalues"), j));
        double b = json_number_value(json_array_get(json_object_get(all, "eigenvalues"), j));
        assert_true(fabs(a - b) <= 1e-12); /* rounding of values up to 3 */
    }
    const json_t *group = json_object_get(weights, "group");
    assert_string_equal(json_string_value(json_object_get(group, "pattern")), "*.weight");
    assert_int_equal(program_number(group, "parameters"), 35);
    const json_t *second = json_array_get(json_object_get(group, "tensors"), 1);
    assert_string_equal(json_string_value(json_object_get(second, "name")), "dense2.weight");
    assert_int_equal(program_number(second, "parameters"), 15);
    assert_null(json_object_get(whole, "group"));

    /* Two ways to the same block's largest eigenvalue. */
    const json_t *hessian = json_object_get(json_object_get(survey, "operators"), "hessian");
    double dense = json_number_value(json_array_get(json_object_get(hessian, "eigenvalues"), 0));
    double found = json_number_value(json_array_get(json_object_get(weights, "eigenvalues"), 0));
    assert_true(dense > 0 && fabs(dense - found) <= 1e-10 * dense);
    assert_true(program_number(survey, "decomposition_error") < 1e-12);
    assert_int_equal(program_number(json_object_get(bias, "group"), "parameters"), 3);
    json_decref(whole);
    json_decref(all);
    json_decref(weights);
    json_decref(survey);
    json_decref(bias);
}

static void assert_refused(program_result r, const char *part)
{
    if (r.exit != 2 || !program_one_line(r.err) || !strstr(r.err, part))
        fail_msg("status %d, \"%s\", expected \"%s\"", r.exit, r.err, part);
    program_free(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    const char *params = folder_path("r.safetensors");
    assert_refused(program("spectrum --model mlp:4-6-3 --params %s" DATA, params), "--params: ");
    assert_refused(program("spectrum --model mlp:4-6-3 --params %s" DATA, params),
                   "tensor 'dense1.weight' has the shape [5, 4], expected [6, 4]");
    assert_refused(
        program("bound --model mlp:4-5-5-3 --params0 %s --params %s" DATA, params, params),
        "tensor 'dense2.weight' has the shape [3, 5], expected [5, 5]");
    assert_refused(program("spectrum --params net.pt" NET DATA),
                   "found 'net.pt', expected an .npy or .safetensors file or a run file");
    const char *none = folder_path("none*.npy"), *both = folder_path("r.*"),
               *many = folder_path("c*.safetensors");
    assert_refused(program("decompose --params '%s'" NET DATA, none), "none*.npy' matches no file");
    assert_refused(program("spectrum --params '%s'" NET DATA, both),
                   "expected .npy or .safetensors files alone");
    assert_refused(program("bound --params0 %s --params '%s'" NET DATA, params, many),
                   "expected one file (decompose and spectrum go through a series)");
    assert_refused(program("spectrum --data-resample 3 --params %s@all", folder_path("r.gmr")),
                   "--data-resample: found beside several points, expected one");
    assert_refused(program("spectrum --layer 'conv*'" NET DATA),
                   "--layer conv*: matches none of the 4 tensors: dense1.weight, dense1.bias");
    assert_refused(program("spectrum --layer '*.bias' --precondition diag-moment" NET DATA),
                   "--layer *.bias: a group of tensors, expected one layer or none");
    folder_write("short.safetensors", "1234567", 7);
    assert_refused(program("spectrum --params %s" NET DATA, folder_path("short.safetensors")),
                   "not a safetensors file");
    assert_refused(program("export %s --params %s", folder_path("r.gmr"), "/no/where.safetensors"),
                   "/no/where.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_and_back),
        cmocka_unit_test(test_export_of_an_image_net),
        cmocka_unit_test(test_decomposed_series),
        cmocka_unit_test(test_followed_spectrum),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, make_run, folder_remove);
}
