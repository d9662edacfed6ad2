/* ONNX files through the program: --describe, every way to a spectrum, training, and run files that
 * find their model again or say why not. */
#include "support.h"

#include <math.h>
#include <unistd.h>

#include "folder.h"
#include "onnx_model.h"
#include "program.h"

#define DIMS(...)                                                                                  \
    (sizeof((long[]){__VA_ARGS__}) / sizeof(long)), (long[])                                       \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define DATA "--data gauss:k=3,d=6,n=40"

/* 6-5-3 with tanh, the bias of the first layer apart from everything in name. */
static int make_model(void **state)
{
    if (folder_make(state) != 0) return -1;
    model_begin(13);
    model_input("x", 2, (long[]){-1, 6});
    model_weight("net.0.weight", (int)DIMS(5, 6));
    model_weight("net.0.bias", (int)DIMS(5));
    model_weight("net.2.weight", (int)DIMS(3, 5));
    model_weight("net.2.bias", (int)DIMS(3));
    model_int(model_node("Gemm", "x,net.0.weight,net.0.bias", "h"), "transB", 1);
    model_node("Tanh", "h", "a");
    model_int(model_node("Gemm", "a,net.2.weight,net.2.bias", "z"), "transB", 1);
    model_node("Softmax", "z", "p");
    model_output("z");
    model_output("p");
    model_write(folder_path("net.onnx"));
    return 0;
}

static json_t *document(program_result result)
{
    json_t *d = program_document(result);
    assert_non_null(d);
    return d;
}

static void describe(void **state)
{
    (void)state;
    json_t *d =
        document(program("spectrum --model %s/net.onnx --logits z --describe --json", folder));
    const json_t *onnx = json_object_get(d, "onnx");
    assert_int_equal(program_number(onnx, "opset"), 13);
    assert_string_equal(json_string_value(json_object_get(onnx, "logits")), "z");
    const json_t *second = json_array_get(json_object_get(onnx, "initializers"), 1);
    assert_string_equal(json_string_value(json_object_get(second, "name")), "net.0.bias");
    assert_string_equal(json_string_value(json_object_get(second, "role")), "parameter");
    assert_int_equal(program_number(second, "offset"), 30);
    const json_t *layers = json_object_get(json_object_get(d, "model"), "layers");
    assert_string_equal(json_string_value(json_object_get(json_array_get(layers, 1), "name")),
                        "net.2");
    json_decref(d);

    program_result text = program("spectrum --model %s/net.onnx --logits z --describe", folder);
    assert_int_equal(text.exit, 0);
    assert_non_null(strstr(text.out, "net.2.weight"));
    assert_non_null(strstr(text.out, "parameters 35 ... 49"));
    program_free(&text);
    text = program("spectrum --model mlp:4-3-2 --describe");
    assert_int_equal(text.exit, 0);
    assert_non_null(strstr(text.out, "dense2"));
    program_free(&text);
}

/* The file's own numbers are the point; a layer goes by its name; the same numbers in an .npy give
 * the same. */
static void measure(void **state)
{
    (void)state;
    json_t *whole =
        document(program("spectrum --model %s/net.onnx --logits z " DATA " --json", folder));
    assert_int_equal(program_number(json_object_get(whole, "model"), "parameters"), 53);
    assert_non_null(
        strstr(json_string_value(json_object_get(whole, "point")), "net.onnx, as stored"));
    json_t *layer = document(
        program("spectrum --model %s/net.onnx --logits z " DATA " --layer net.2 --json", folder));
    assert_int_equal(json_array_size(json_object_get(layer, "eigenvalues")), 18);
    assert_true(program_number(whole, "loss") == program_number(layer, "loss"));
    json_decref(whole);
    json_decref(layer);
    json_t *bench = document(program("bench --model " GM_FIXTURES "/onnx-vit/net.onnx --data "
                                     "npy:" GM_FIXTURES "/onnx-vit/x.npy," GM_FIXTURES
                                     "/onnx-vit/y.npy --quick --parts products --json -q"));
    json_decref(bench); /* dense layers by position, sources, norms among the layers */
}

static void assert_refused(program_result result, const char *part)
{
    if (result.exit != 2 || !program_one_line(result.err) || !strstr(result.err, part)) {
        fail_msg("exit %d, \"%s\", expected \"%s\"", result.exit, result.err, part);
    }
    assert_string_equal(result.out, "");
    program_free(&result);
}

static void refuse(void **state)
{
    (void)state;
    assert_refused(program("spectrum --model %s/net.onnx " DATA, folder),
                   "expected --logits NAME to choose one");
    assert_refused(program("spectrum --model %s/net.onnx --logits p " DATA, folder),
                   "is the output of a Softmax");
    assert_refused(program("spectrum --model %s/net.onnx --logits q " DATA, folder),
                   "no value is named 'q'");
    assert_refused(program("spectrum --model mlp:6-3 --logits z " DATA), "is no ONNX file");
    assert_refused(program("dynamics ensemble --model %s/net.onnx --logits z " DATA
                           " --init fresh --runs 2 --steps 2 --batch 5 --step 0.1",
                           folder),
                   "has parameters of its own, and no rule to draw others");
    assert_refused(program("spectrum --model %s/none.onnx " DATA, folder), "No such file");
    assert_refused(
        program("spectrum --model %s/net.onnx --logits z --data gauss:k=3,d=7,n=40", folder),
        "samples of 7 numbers");
    assert_refused(
        program("spectrum --model %s/net.onnx --logits z --data gauss:k=4,d=6,n=40", folder),
        "has 4 classes, expected at most K = 3");
}

/* A run finds its model by itself, from anywhere; another file in its place is noticed. */
static void run_files(void **state)
{
    (void)state;
    program_result train = program("train --model %s/net.onnx --logits z " DATA
                                   " --batch 10 --step 0.1 --steps 20 -q -o %s/run.gmr",
                                   folder, folder);
    assert_int_equal(train.exit, 0);
    program_free(&train);
    json_t *last = document(program("spectrum --params %s/run.gmr --json", folder));
    json_t *first = document(program("spectrum --params %s/run.gmr@0 --json", folder));
    json_t *stored =
        document(program("spectrum --model %s/net.onnx --logits z " DATA " --json", folder));
    assert_true(program_number(first, "loss") == program_number(stored, "loss"));
    assert_true(program_number(last, "loss") < program_number(first, "loss"));
    json_decref(last);
    json_decref(first);
    json_decref(stored);

    rename(folder_path("net.onnx"), folder_path("kept.onnx"));
    assert_refused(program("spectrum --params %s/run.gmr", folder),
                   "the model that it recorded is gone");
    model_graph.initializer[0]->raw_data.data[3] ^= 1;
    model_write(folder_path("net.onnx"));
    assert_refused(program("spectrum --params %s/run.gmr", folder), "has changed since");
    json_t *given = document(
        program("spectrum --params %s/run.gmr --model %s/kept.onnx --json", folder, folder));
    json_decref(given);
    rename(folder_path("kept.onnx"), folder_path("net.onnx"));
}

/* Constants by name: described, recorded, found again. */
static void constants(void **state)
{
    (void)state;
    program_result train =
        program("train --model %s/net.onnx --logits z --constants '*.2.bias' " DATA
                " --batch 10 --step 0.1 --steps 3 -q -o %s/constants.gmr",
                folder, folder);
    assert_int_equal(train.exit, 0);
    program_free(&train);
    json_t *d = document(program("spectrum --params %s/constants.gmr --json", folder));
    assert_int_equal(program_number(json_object_get(d, "model"), "parameters"), 50);
    json_decref(d);
    program_result out =
        program("export %s/constants.gmr --params %s/constants.safetensors", folder, folder);
    assert_int_equal(out.exit, 0);
    program_free(&out);
    out = program("spectrum --model %s/net.onnx --logits z --constants '*.2.bias' --describe",
                  folder);
    assert_int_equal(out.exit, 0);
    assert_non_null(strstr(out.out, "DOUBLE    constant"));
    program_free(&out);
    /* Points of the net with and without the constant are not mixed in one file. */
    const char *follow = "spectrum --model %s/net.onnx --logits z %s " DATA
                         " --watch %s --watch-until 1 --method lanczos --k 1 -q -o %s/follow.gmr";
    out = program("export %s/constants.gmr --params %s/ckpt-1.safetensors", folder, folder);
    program_free(&out);
    out = program(follow, folder, "--constants '*.2.bias'", folder, folder);
    assert_int_equal(out.exit, 0);
    program_free(&out);
    assert_refused(program(follow, folder, "", folder, folder), "of another net");
    /* The net exported anew, one bit apart: as large, and another. (model_graph is as run_files
     * left it.) */
    rename(folder_path("net.onnx"), folder_path("kept.onnx"));
    model_write(folder_path("net.onnx"));
    assert_refused(program(follow, folder, "--constants '*.2.bias'", folder, folder),
                   "holds this measurement of");
    rename(folder_path("kept.onnx"), folder_path("net.onnx"));
    out = program(follow, folder, "--constants '*.2.bias'", folder, folder);
    assert_int_equal(out.exit, 0);
    program_free(&out);
    /* The same while it watches: noticed when the next checkpoint comes. */
    char lines[300];
    snprintf(lines, sizeof lines, "%s", folder_path("lines.txt"));
    folder_write("lines.txt", "", 0);
    pid_t exporter = fork();
    if (exporter == 0) {
        for (char *seen = NULL; !seen || !strstr(seen, "ckpt-1."); seen = program_slurp(lines)) {
            free(seen);
            usleep(20000);
        }
        rename(folder_path("net.onnx"), folder_path("kept.onnx"));
        model_write(folder_path("net.onnx"));
        char copy[700];
        snprintf(copy, sizeof copy,
                 "cp %s/ckpt-1.safetensors %s/.new && mv %s/.new %s/ckpt-2.safetensors", folder,
                 folder, folder, folder);
        _exit(system(copy) == 0 ? 0 : 99);
    }
    out = program("spectrum --model %s/net.onnx --logits z --constants '*.2.bias' " DATA
                  " --watch %s --method lanczos --k 1 -q > %s",
                  folder, folder, lines);
    assert_int_equal(waitpid(exporter, NULL, 0), exporter);
    assert_refused(out, "net.onnx has changed while the folder was watched: checksum");
    rename(folder_path("kept.onnx"), folder_path("net.onnx"));
    assert_refused(program("spectrum --model %s/net.onnx --logits z --constants no " DATA, folder),
                   "the constants 'no' are none of its 4 initializers");
    assert_refused(program("spectrum --model mlp:6-3 --constants no " DATA), "is no ONNX file");
}

/* ---- samples alone and in batches ---- */

/* A graph of x [batch, 6] up to h, [batch, 6] too; then a dense layer. */
static void write_behind(long batch, void (*begin)(void))
{
    model_begin(13);
    model_input("x", 2, (long[]){batch, 6});
    model_weight("w", (int)DIMS(3, 6));
    begin();
    model_int(model_node("Gemm", "h,w", "z"), "transB", 1);
    model_output("z");
    model_write(folder_path("batch.onnx"));
}

/* Of one sample each of these is the identity, whatever the others are. */
static void softmax_of_batch(void)
{
    model_int(model_node("Softmax", "x", "s"), "axis", 0);
    model_node("Mul", "s,x", "h");
}

static void attention_of_batch(void)
{
    model_node("Transpose", "x", "t");
    model_node("MatMul", "x,t", "pairs");
    model_int(model_node("Softmax", "pairs", "s"), "axis", 1);
    model_node("MatMul", "s,x", "h");
}

static void one_row(void)
{
    model_keep(model_integers("shape", (int)DIMS(2), 2, (long[]){1, -1}));
    model_node("Reshape", "x,shape", "h");
}

/* Other ways for the batch to go, and each sample by itself. */
static void to_the_last_axis(void)
{
    model_node("Transpose", "x", "t");
    model_int(model_node("Softmax", "t", "s"), "axis", 0);
    model_node("Transpose", "s", "h");
}

/* Images of 2x3 pixels through what works on one image at a time by definition. */
static void write_images(void)
{
    model_begin(13);
    model_input("x", 4, (long[]){-1, 1, 2, 3});
    model_weight("conv.weight", (int)DIMS(2, 1, 1, 2));
    model_weight("conv.bias", (int)DIMS(2));
    model_weight("norm.weight", (int)DIMS(2));
    model_weight("norm.bias", (int)DIMS(2));
    model_keep(model_numbers("mean", (int)DIMS(2), (double[]){0.1, -0.2}));
    model_keep(model_numbers("variance", (int)DIMS(2), (double[]){0.5, 2.0}));
    model_weight("fc.weight", (int)DIMS(3, 2));
    model_node("Conv", "x,conv.weight,conv.bias", "a");
    model_node("BatchNormalization", "a,norm.weight,norm.bias,mean,variance", "b");
    model_node("InstanceNormalization", "b,norm.weight,norm.bias", "c");
    model_ints(model_node("MaxPool", "c", "d"), "kernel_shape", 2, (long[]){1, 2});
    model_node("GlobalAveragePool", "d", "e");
    model_node("Flatten", "e", "f");
    model_int(model_node("Gemm", "f,fc.weight", "z"), "transB", 1);
    model_output("z");
    model_write(folder_path("batch.onnx"));
}

static void mixed_batches(void **state)
{
    (void)state;
    const char *command = "spectrum --model %s/batch.onnx " DATA " -q --json";
    const struct {
        void (*begin)(void);
        const char *expected;
    } cases[] = {{softmax_of_batch, "it mixes the samples of a batch: squared loss"},
                 {attention_of_batch, "it mixes the samples of a batch: squared loss"},
                 {one_row, "an input of 12 numbers, its weight takes 6 (with 2 samples at once"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_behind(-1, cases[i].begin);
        assert_refused(program(command, folder), cases[i].expected);
        write_behind(1, cases[i].begin); /* there is no second sample to mix with */
        json_decref(document(program(command, folder)));
    }
    write_behind(-1, to_the_last_axis);
    json_decref(document(program(command, folder)));
    write_images();
    json_decref(document(program(command, folder)));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describe),  cmocka_unit_test(measure),   cmocka_unit_test(refuse),
        cmocka_unit_test(run_files), cmocka_unit_test(constants), cmocka_unit_test(mixed_batches),
    };
    if (make_model(NULL) != 0) return 99;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "cli onnx");
    folder_remove(NULL);
    return failed;
}
