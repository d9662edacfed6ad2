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
        program("train -q --threads 1 --steps 20 --batch 5 -o %s " NET DATA, folder_path("r.gmr"));
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
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, make_run, folder_remove);
}
