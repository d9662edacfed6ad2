/* What the program answers to good input: documents, files, training that survives kills, help.
 * Every case runs the real program; its numbers are held against the library's own or against
 * identities that no part of the program uses. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>

#include "base/memory.h"
#include "data/npy.h"
#include "folder.h"
#include "gradiometer/curvature.h"
#include "gradiometer/run.h"
#include "gradiometer/sgd.h"
#include "gradiometer/version.h"
#include "program.h"

/* A net of 53 parameters on 20 samples: n < p, and sums by hand stay cheap. One thread: the same
 * bits every time. */
#define NET  "--model mlp:6-5-3,act=tanh "
#define DATA "--data gauss:k=3,d=6,n=20,seed=4 "
#define ONE  "--threads 1 "
enum { P = 53, N = 20, CLASSES = 3 };

/* ---- the common keys ---- */

static void test_common_keys(void **state)
{
    (void)state;
    json_t *d =
        program_document(program("spectrum --json --seed 7 --random-labels 0.25 " NET DATA ONE));
    assert_non_null(d);
    assert_string_equal(json_string_value(json_object_get(d, "tool")), "gradiometer");
    assert_string_equal(json_string_value(json_object_get(d, "version")), gm_version());
    assert_string_equal(json_string_value(json_object_get(d, "command")), "spectrum");
    assert_int_equal(json_integer_value(json_object_get(d, "seed")), 7);
    assert_string_equal(json_string_value(json_object_get(d, "precision")), "f64");
    assert_int_equal(json_integer_value(json_object_get(d, "threads")), 1);
    assert_true(program_number(d, "seconds") > 0);
    assert_string_equal(json_string_value(json_object_get(d, "loss_name")), "cross_entropy");
    assert_string_equal(json_string_value(json_object_get(d, "reduction")), "mean");
    assert_true(json_is_real(json_object_get(d, "loss")));
    assert_true(program_number(d, "gradient_norm") > 0);
    assert_true(json_array_size(json_object_get(d, "notes")) >= 1); /* the default precision */

    const json_t *model = json_object_get(d, "model"), *data = json_object_get(d, "data");
    assert_string_equal(json_string_value(json_object_get(model, "name")), "mlp:6-5-3,act=tanh");
    assert_int_equal(program_number(model, "parameters"), P);
    const json_t *layers = json_object_get(model, "layers");
    assert_int_equal(json_array_size(layers), 2);
    assert_int_equal(program_number(json_array_get(layers, 0), "parameters"), 6 * 5 + 5);
    assert_int_equal(program_number(json_array_get(layers, 1), "parameters"), 5 * 3 + 3);
    assert_int_equal(program_number(data, "n"), N);
    assert_int_equal(program_number(data, "classes"), CLASSES);
    assert_true(program_number(data, "random_labels") == 0.25);
    json_decref(d);
}

static void test_verbosity(void **state)
{
    (void)state;
    program_result silent = program("spectrum " NET DATA ONE);
    program_result verbose = program("spectrum -v " NET DATA ONE);
    assert_int_equal(silent.exit, 0);
    assert_int_equal(verbose.exit, 0);
    assert_string_equal(silent.err, "");
    assert_non_null(strstr(verbose.err, "precision f64"));
    program_free(&silent);
    program_free(&verbose);
}

/* ---- spectrum ---- */

static double *numbers(const json_t *document, const char *key, size_t expected)
{
    const json_t *array = json_object_get(document, key);
    assert_int_equal(json_array_size(array), expected);
    double *value = calloc(expected, sizeof *value);
    for (size_t i = 0; i < expected; i++) {
        value[i] = json_number_value(json_array_get(array, i));
    }
    return value;
}

/* All p eigenvalues in descending order, whose sum and sum of squares are trace and Frobenius norm;
 * residuals of the k asked for. Tolerance: rounding of a sum over 53 numbers. */
static void check_dense(const json_t *d, size_t k)
{
    double *value = numbers(d, "eigenvalues", P), sum = 0, squares = 0, absolute = 0;
    for (size_t i = 0; i < P; i++) {
        if (i) assert_true(value[i] <= value[i - 1]);
        sum += value[i];
        absolute += fabs(value[i]);
        squares += value[i] * value[i];
    }
    const json_t *trace = json_object_get(d, "trace"), *norm = json_object_get(d, "frobenius");
    assert_true(fabs(sum - program_number(trace, "value")) <= 1e-13 * absolute);
    assert_true(fabs(sqrt(squares) / program_number(norm, "value") - 1) <= 1e-13);
    assert_true(json_number_value(json_object_get(trace, "stderr")) == 0);
    double *residual = numbers(d, "residuals", k);
    double scale = fmax(fabs(value[0]), fabs(value[P - 1]));
    for (size_t i = 0; i < k; i++) {
        assert_true(residual[i] <= 1e-13 * scale);
    }
    assert_true(json_is_true(json_object_get(d, "converged")));
    assert_int_equal(program_number(d, "products"), k);
    free(value);
    free(residual);
}

static void test_dense(void **state)
{
    (void)state;
    static const char *const operators[] = {"hessian",    "ggn",      "moment",
                                            "covariance", "residual", "gn_residual"};
    static const char *const ends[] = {"LA", "SA", "BE", "LM"};
    for (int i = 0; i < 6; i++) {
        for (int j = 0; j < 4; j++) {
            json_t *d = program_document(
                program("spectrum --json --k 4 --operator %s --which %s " NET DATA ONE,
                        operators[i], ends[j]));
            assert_non_null(d);
            assert_string_equal(json_string_value(json_object_get(d, "operator")), operators[i]);
            assert_string_equal(json_string_value(json_object_get(d, "method")), "dense");
            check_dense(d, 4);
            json_decref(d);
        }
    }
}

/* Which eigenvalues are checked: known from the whole spectrum. */
static void test_which(void **state)
{
    (void)state;
    static const char *const ends[] = {"LA", "SA", "BE", "LM"};
    for (int j = 0; j < 4; j++) {
        json_t *d = program_document(
            program("spectrum --json --k 5 --operator residual --which %s " NET DATA ONE, ends[j]));
        assert_non_null(d);
        double *value = numbers(d, "eigenvalues", P), *checked = numbers(d, "checked", 5);
        double least = HUGE_VAL, most = 0;
        bool in[P] = {false};
        for (int i = 0; i < 5; i++) {
            in[(size_t)checked[i]] = true;
        }
        for (size_t i = 0; i < P; i++) {
            if (in[i]) least = fmin(least, fabs(value[i]));
            if (!in[i]) most = fmax(most, fabs(value[i]));
        }
        static const bool expected[4][5] = {/* from the top: 0 ... 4, else from the bottom */
                                            {true, true, true, true, true},
                                            {false, false, false, false, false},
                                            {true, true, true, false, false}};
        for (size_t i = 0; i < 5 && j < 3; i++) {
            assert_int_equal(checked[i], expected[j][i] ? i : P - 5 + i);
        }
        if (j == 3) assert_true(least >= most);
        free(value);
        free(checked);
        json_decref(d);
    }
}

/* M on 20 samples by its Gram form (n < p), and by the dense matrix, which SA takes: the same
 * spectrum to rounding, and zeros in the place of the rest. */
static void test_gram(void **state)
{
    (void)state;
    json_t *gram = program_document(program("spectrum --json --operator moment " NET DATA ONE));
    json_t *direct =
        program_document(program("spectrum --json --operator moment --which SA " NET DATA ONE));
    assert_non_null(gram);
    assert_non_null(direct);
    assert_string_equal(json_string_value(json_object_get(gram, "form")), "gram");
    assert_string_equal(json_string_value(json_object_get(direct, "form")), "direct");
    double *a = numbers(gram, "eigenvalues", P), *b = numbers(direct, "eigenvalues", P);
    for (size_t i = 0; i < P; i++) {
        assert_true(fabs(a[i] - b[i]) <= 1e-13 * a[0]);
        if (i >= N) assert_true(a[i] <= 0);
    }
    free(a);
    free(b);
    json_decref(gram);
    json_decref(direct);
}

/* The exported vectors are orthonormal eigenvectors of the library's operator at the exported
 * parameters' point. */
static void test_export_vectors(void **state)
{
    (void)state;
    enum { K = 6 };
    gm_error err = {0};
    const char *path = folder_path("v.npy");
    json_t *d = program_document(
        program("spectrum --json --k 6 --which BE --export-vectors %s " NET DATA ONE, path));
    assert_non_null(d);
    double *value = numbers(d, "eigenvalues", P), v[K * P], av[K * P], theta[P];
    gm_npy *npy = NULL;
    assert_int_equal(gm_npy_open(path, &npy, &err), GM_OK);
    assert_int_equal(npy->rank, 2);
    assert_int_equal(npy->dim[0], K);
    assert_int_equal(npy->dim[1], P);
    assert_int_equal(npy->type, GM_NPY_F8);
    assert_int_equal(gm_npy_read(npy, K * P, v, &err), GM_OK);
    gm_npy_close(npy);

    gm_net *net = NULL;
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_linearization *lin = NULL;
    gm_operator op = {0};
    gm_data_options options;
    gm_problem_options how;
    gm_data_options_default(&options);
    gm_problem_options_default(&how);
    options.classes = CLASSES;
    assert_int_equal(gm_net_from_spec("mlp:6-5-3,act=tanh", NULL, 0, &net, &err), GM_OK);
    assert_int_equal(gm_data_load("gauss:k=3,d=6,n=20,seed=4", &options, &data, &err), GM_OK);
    assert_int_equal(gm_problem_create(net, data, &how, &problem, &err), GM_OK);
    gm_net_init(net, GM_INIT_HE, 0, 0, theta);
    assert_int_equal(gm_linearize(problem, theta, &lin, &err), GM_OK);
    assert_int_equal(gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), GM_OK);
    assert_int_equal(gm_operator_apply(&op, K, v, av, &err), GM_OK);
    for (size_t i = 0; i < K; i++) {
        size_t at = i < 3 ? i : P - K + i; /* three from either end */
        for (size_t j = 0; j < K; j++) {
            double dot = 0;
            for (size_t l = 0; l < P; l++) {
                dot += v[i * P + l] * v[j * P + l];
            }
            assert_true(fabs(dot - (i == j)) <= 1e-12);
        }
        for (size_t l = 0; l < P; l++) {
            assert_true(fabs(av[i * P + l] - value[at] * v[i * P + l]) <= 1e-12);
        }
    }
    /* The document's loss is the library's, digit for digit: 17 digits lose nothing. */
    assert_true(gm_linearization_loss(lin) == program_number(d, "loss"));
    gm_operator_destroy(&op);
    gm_linearization_free(lin);
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_net_free(net);
    free(value);
    json_decref(d);
    unlink(path);
}

static void test_diagonal(void **state)
{
    (void)state;
    gm_error err = {0};
    const char *path = folder_path("d.npy");
    json_t *d = program_document(program(
        "spectrum --json --method diagonal --operator ggn --export-diagonal %s " NET DATA ONE,
        path));
    json_t *dense = program_document(program("spectrum --json --operator ggn " NET DATA ONE));
    assert_non_null(d);
    assert_non_null(dense);
    double *diagonal = NULL, sum = 0, min = HUGE_VAL, max = -HUGE_VAL;
    size_t n = 0;
    assert_int_equal(gm_npy_read_vector(path, &diagonal, &n, &err), GM_OK);
    assert_int_equal(n, P);
    for (size_t i = 0; i < P; i++) {
        sum += diagonal[i];
        min = fmin(min, diagonal[i]);
        max = fmax(max, diagonal[i]);
    }
    const json_t *summary = json_object_get(d, "diagonal");
    double trace = program_number(json_object_get(dense, "trace"), "value");
    assert_true(program_number(summary, "min") == min);
    assert_true(program_number(summary, "max") == max);
    assert_true(fabs(program_number(summary, "mean") * P / trace - 1) <= 1e-13);
    assert_true(json_is_true(json_object_get(summary, "exact")));
    assert_true(fabs(sum / trace - 1) <= 1e-13); /* positive terms: rounding alone */
    gm_free(diagonal);
    json_decref(d);
    json_decref(dense);
    unlink(path);
}

/* The blocks' traces add up to the whole one; --layer gives the same block by name and number. */
static void test_layers(void **state)
{
    (void)state;
    json_t *whole = program_document(program("spectrum --json " NET DATA ONE));
    json_t *each = program_document(program("spectrum --json --layers each " NET DATA ONE));
    json_t *named = program_document(program("spectrum --json --layer dense2 " NET DATA ONE));
    json_t *numbered = program_document(program("spectrum --json --layer 1 " NET DATA ONE));
    assert_true(whole && each && named && numbered);
    const json_t *blocks = json_object_get(each, "blocks");
    assert_int_equal(json_array_size(blocks), 2);
    double sum = 0;
    for (size_t i = 0; i < 2; i++) {
        sum += program_number(json_object_get(json_array_get(blocks, i), "trace"), "value");
    }
    double trace = program_number(json_object_get(whole, "trace"), "value");
    assert_true(fabs(sum - trace) <= 1e-12 * fabs(trace));
    const json_t *second = json_object_get(json_array_get(blocks, 1), "eigenvalues");
    assert_int_equal(json_array_size(second), 18);
    assert_true(json_equal(second, json_object_get(named, "eigenvalues")));
    assert_true(json_equal(second, json_object_get(numbered, "eigenvalues")));
    assert_true(json_is_null(json_object_get(whole, "layer")));
    assert_string_equal(json_string_value(json_object_get(numbered, "layer")), "dense2");
    json_decref(whole);
    json_decref(each);
    json_decref(named);
    json_decref(numbered);
}

/* A tolerance that rounding cannot meet: the document is printed, and the status is 1. */
static void test_not_converged(void **state)
{
    (void)state;
    program_result r = program("spectrum --json --tol 1e-300 " NET DATA ONE);
    assert_int_equal(r.exit, 1);
    assert_true(program_one_line(r.err));
    json_t *d = json_loads(r.out, 0, NULL);
    assert_true(json_is_false(json_object_get(d, "converged")));
    json_decref(d);
    program_free(&r);
}

/* float32 against float64: a spectrum within a few eps of 1.2e-7 times the largest eigenvalue,
 * here 100 of them. */
static void test_precision(void **state)
{
    (void)state;
    json_t *f64 = program_document(program("spectrum --json " NET DATA ONE));
    json_t *f32 = program_document(program("spectrum --json --precision f32 " NET DATA ONE));
    assert_true(f64 && f32);
    assert_string_equal(json_string_value(json_object_get(f32, "precision")), "f32");
    double *a = numbers(f64, "eigenvalues", P), *b = numbers(f32, "eigenvalues", P);
    double difference = 0;
    for (size_t i = 0; i < P; i++) {
        assert_true(fabs(a[i] - b[i]) <= 1.2e-5 * a[0]);
        difference = fmax(difference, fabs(a[i] - b[i]));
    }
    assert_true(difference > 0); /* it was another precision */
    free(a);
    free(b);
    json_decref(f64);
    json_decref(f32);
}

static void test_squared_loss(void **state)
{
    (void)state;
    json_t *d = program_document(program("spectrum --json --loss squared " NET DATA ONE));
    assert_non_null(d);
    assert_string_equal(json_string_value(json_object_get(d, "loss_name")), "squared");
    check_dense(d, 10);
    json_decref(d);
}

/* ---- training ---- */

static void same_files(const char *a, const char *b)
{
    double *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    gm_error err = {0};
    if (gm_npy_read_vector(a, &x, &n, &err) || gm_npy_read_vector(b, &y, &m, &err)) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n * sizeof *x);
    gm_free(x);
    gm_free(y);
}

static void export_parameters(const char *run, const char *npy)
{
    program_result r = program("export %s --params %s", run, npy);
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit, 0);
    program_free(&r);
}

static void test_train(void **state)
{
    (void)state;
    const char *run = folder_path("t.gmr"), *theta = folder_path("t.npy");
    const char *csv = folder_path("t.csv"), *results = folder_path("t.json");
    json_t *d = program_document(
        program("train --json -q -o %s --steps 30 --batch 5 --keep-every 10 --momentum 0.5 "
                "--test-data gauss:k=3,d=6,n=15,seed=4 " NET DATA ONE,
                run));
    assert_non_null(d);
    assert_string_equal(json_string_value(json_object_get(d, "outcome")), "finished");
    assert_int_equal(program_number(d, "step"), 30);
    assert_string_equal(json_string_value(json_object_get(d, "run")), run);
    assert_true(program_number(d, "test_loss") > 0);
    assert_true(json_is_real(json_object_get(d, "test_error_rate")));

    /* The same point again, from the run file and from an exported vector. */
    export_parameters(run, theta);
    json_t *from_run = program_document(program("spectrum --json --params %s " ONE, run));
    json_t *from_npy =
        program_document(program("spectrum --json --params %s " NET DATA ONE, theta));
    json_t *kept = program_document(program("spectrum --json --params %s@10 " ONE, run));
    json_t *other =
        program_document(program("spectrum --json --params %s --data gauss:k=3,d=6 " ONE, run));
    assert_true(from_run && from_npy && kept && other);
    double loss = program_number(d, "loss");
    assert_true(fabs(program_number(from_run, "loss") - loss) <= 1e-13 * loss);
    assert_true(program_number(from_npy, "loss") == program_number(from_run, "loss"));
    assert_true(json_equal(json_object_get(from_npy, "eigenvalues"),
                           json_object_get(from_run, "eigenvalues")));
    assert_int_equal(program_number(from_run, "step"), 30);
    assert_int_equal(program_number(kept, "step"), 10);
    assert_true(program_number(kept, "loss") != loss);
    assert_int_equal(program_number(json_object_get(other, "data"), "n"), 1000);

    /* Results recorded in the same file, and all of it exported. */
    program_result r = program("spectrum --params %s@10 -o %s " ONE, run, run);
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit, 0);
    program_free(&r);
    r = program("export %s --metrics %s --results %s", run, csv, results);
    assert_string_equal(r.err, "");
    program_free(&r);
    json_t *all = json_load_file(results, 0, NULL);
    const json_t *stored = json_array_get(json_object_get(all, "results"), 0);
    assert_int_equal(json_array_size(json_object_get(all, "results")), 1);
    assert_int_equal(program_number(stored, "step"), 10);
    assert_true(json_equal(json_object_get(json_object_get(stored, "document"), "eigenvalues"),
                           json_object_get(kept, "eigenvalues")));
    char *text = program_slurp(csv);
    assert_memory_equal(text, "step,", 5);
    assert_non_null(strstr(text, "batch_loss"));
    size_t lines = 0;
    for (const char *c = text; (c = strchr(c, '\n')); c++) {
        lines++;
    }
    assert_int_equal(lines, 1 + 31); /* steps 0 ... 30 */
    free(text);

    /* A finished run is no error, and an existing file is not overwritten. */
    r = program("train --resume %s " ONE, run);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    r = program("train -o %s " NET DATA ONE, run);
    assert_int_equal(r.exit, 2);
    assert_true(program_one_line(r.err));
    program_free(&r);

    json_decref(d);
    json_decref(from_run);
    json_decref(from_npy);
    json_decref(kept);
    json_decref(other);
    json_decref(all);
    folder_empty();
}

static void test_train_defaults(void **state)
{
    (void)state;
    gm_train_options defaults;
    gm_train_options_default(&defaults);
    json_t *d = program_document(program("train --json -q " NET DATA ONE));
    assert_non_null(d);
    const json_t *o = json_object_get(d, "train");
    assert_true(program_number(o, "steps") == (double)defaults.steps);
    assert_true(program_number(o, "batch") == (double)defaults.batch);
    assert_true(program_number(o, "step") == defaults.step);
    assert_true(program_number(o, "momentum") == defaults.momentum);
    assert_true(program_number(o, "weight_decay") == defaults.weight_decay);
    assert_int_equal(json_is_true(json_object_get(o, "nesterov")), defaults.nesterov);
    json_decref(d);
}

static void test_diverged(void **state)
{
    (void)state;
    program_result r = program("train -q --json --step 1e200 --steps 20 " NET DATA ONE);
    assert_int_equal(r.exit, 1);
    assert_true(program_one_line(r.err));
    assert_non_null(strstr(r.err, "diverged"));
    json_t *d = json_loads(r.out, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(d, "outcome")), "diverged");
    json_decref(d);
    program_free(&r);
}

/* Long against the time that it takes to look into the run file, so that a signal meets it on its
 * way; test_resume checks that it did. */
enum { LONG_STEPS = GM_TEST_SIZE(10000, 3000) };
#define LONG_TRAINING                                                                              \
    "--steps", LONG_STEPS == 10000 ? "10000" : "3000", "--batch", "16", "--momentum", "0.9",       \
        "--step", "0.01", "--checkpoint-every", "50", "--model", "mlp:50-100-100-10", "--data",    \
        "gauss:", "--threads", "1", "-q"

/* Starts the long training in the background. */
static pid_t start_training(const char *run)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY),
            err = open(folder_path("err"), O_CREAT | O_WRONLY, 0600);
        dup2(null, 1);
        dup2(err, 2);
        execl(GM_PROGRAM, "gradiometer", "train", "-o", run, LONG_TRAINING, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Step of the state in a run file, -1 while there is none. */
static int64_t state_of(const char *path)
{
    gm_run *run = NULL;
    gm_run_state *state = NULL;
    int64_t step = -1;
    if (gm_run_open(path, GM_RUN_READ, &run, NULL) == GM_OK &&
        gm_run_load_state(run, &state, NULL) == GM_OK && state) {
        step = state->step;
    }
    gm_run_free(state);
    gm_run_close(run);
    return step;
}

/* Sends the signal once the training has saved its state at `step` or later; returns the status. */
static int stop_training(pid_t pid, const char *run, int64_t step, int number)
{
    int status;
    while (state_of(run) < step && waitpid(pid, &status, WNOHANG) == 0) {
        usleep(10000); /* a look costs some milliseconds */
    }
    kill(pid, number);
    waitpid(pid, &status, 0);
    return status;
}

/* As soon as the run file is there, it can be resumed: killed at that very moment. */
static void test_killed_at_start(void **state)
{
    (void)state;
    const char *run = folder_path("early.gmr");
    for (int i = 0; i < 5; i++) {
        int status;
        pid_t pid = start_training(run);
        while (access(run, F_OK) != 0 && waitpid(pid, &status, WNOHANG) == 0) {
        }
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        assert_true(state_of(run) >= 0);
        folder_empty();
    }
}

/* Killed, resumed and interrupted, resumed and finished: the same bits as never stopped. */
static void test_resume(void **state)
{
    (void)state;
    const char *whole = folder_path("whole.gmr"), *cut = folder_path("cut.gmr");
    const char *a = folder_path("a.npy"), *b = folder_path("b.npy"), *csv = folder_path("m.csv");
    int status;
    waitpid(start_training(whole), &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    status = stop_training(start_training(cut), cut, 50, SIGKILL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(state_of(cut) < LONG_STEPS);

    pid_t pid = fork();
    if (pid == 0) {
        int err = open(folder_path("err"), O_CREAT | O_WRONLY | O_TRUNC, 0600);
        dup2(err, 2);
        dup2(open("/dev/null", O_WRONLY), 1);
        execl(GM_PROGRAM, "gradiometer", "train", "--resume", cut, "-q", (char *)NULL);
        _exit(127);
    }
    status = stop_training(pid, cut, state_of(cut) + 100, SIGINT);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    char *text = program_slurp(folder_path("err"));
    assert_true(program_one_line(text));
    assert_non_null(strstr(text, "--resume"));
    free(text);

    program_result r = program("train -q --resume %s", cut);
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit, 0);
    program_free(&r);
    export_parameters(whole, a);
    export_parameters(cut, b);
    same_files(a, b);

    /* Every metric too. */
    r = program("export %s --metrics %s", whole, csv);
    program_free(&r);
    char *first = program_slurp(csv);
    r = program("export %s --metrics %s", cut, csv);
    program_free(&r);
    char *second = program_slurp(csv);
    assert_string_equal(first, second);
    free(first);
    free(second);
    folder_empty();
}

/* ---- help ---- */

static void test_help(void **state)
{
    (void)state;
    static const char *const commands[] = {"data",      "train",  "spectrum", "decompose",
                                           "landscape", "report", "export",   "bench"};
    program_result all = program("--help");
    assert_int_equal(all.exit, 0);
    for (int i = 0; i < 8; i++) {
        program_result by_option = program("%s --help", commands[i]);
        program_result by_word = program("help %s", commands[i]);
        char usage[64], listed[64];
        snprintf(usage, sizeof usage, "Usage: gradiometer %s ", commands[i]);
        snprintf(listed, sizeof listed, "\n  %s ", commands[i]);
        assert_int_equal(by_option.exit, 0);
        assert_string_equal(by_option.err, "");
        assert_string_equal(by_option.out, by_word.out);
        assert_memory_equal(by_option.out, usage, strlen(usage));
        assert_non_null(strstr(by_option.out, "\nOptions:\n"));
        assert_non_null(strstr(by_option.out, "\nExamples:\n"));
        assert_non_null(strstr(all.out, listed));
        /* Descriptions are wrapped; usage and examples are not. */
        const char *examples = strstr(by_option.out, "\nExamples:\n");
        for (const char *line = strchr(by_option.out, '\n'); line && line < examples;) {
            const char *end = strchr(++line, '\n');
            bool usage_line = strstr(line, "gradiometer ") && strstr(line, "gradiometer ") < end;
            if (end - line > 79 && !usage_line) fail_msg("%.*s", (int)(end - line), line);
            line = end;
        }
        program_free(&by_option);
        program_free(&by_word);
    }
    program_free(&all);

    program_result version = program("--version"), none = program(" ");
    char expected[64];
    snprintf(expected, sizeof expected, "gradiometer %s\n", gm_version());
    assert_string_equal(version.out, expected);
    assert_int_equal(none.exit, 2);
    assert_string_equal(none.out, "");
    assert_memory_equal(none.err, "Usage:", 6);
    program_free(&version);
    program_free(&none);
}

/* Forms of an option that must all work. */
static void test_spellings(void **state)
{
    (void)state;
    static const char *const same[] = {
        "--k 3", "--k=3", "-k3", "-k 3", "-vk3 --memory=1.5GiB", "--k 3 --memory 512M"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        program_result r = program("spectrum --json %s " NET DATA ONE, same[i]);
        json_t *d = json_loads(r.out, 0, NULL);
        assert_int_equal(r.exit, 0);
        assert_int_equal(json_array_size(json_object_get(d, "residuals")), 3);
        json_decref(d);
        program_free(&r);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_common_keys),
        cmocka_unit_test(test_verbosity),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_which),
        cmocka_unit_test(test_gram),
        cmocka_unit_test(test_export_vectors),
        cmocka_unit_test(test_diagonal),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_not_converged),
        cmocka_unit_test(test_precision),
        cmocka_unit_test(test_squared_loss),
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_train_defaults),
        cmocka_unit_test(test_diverged),
        cmocka_unit_test(test_killed_at_start),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_spellings),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli", tests, folder_make, folder_remove);
}
