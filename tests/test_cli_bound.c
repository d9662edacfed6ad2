/* gradiometer bound as a user runs it: keys and sums of the document, random labels, re-scaling,
 * what makes a bound not valid, refusals. The mathematics is tested in test_bound*.c. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "folder.h"
#include "program.h"

#define QUICK "--threads 1 -q --draws 100 --measures none "

static const json_t *at(const json_t *document, const char *key)
{
    const json_t *value = json_object_get(document, key);
    if (!value) fail_msg("no key %s", key);
    return value;
}

static void train(const char *name, const char *arguments)
{
    program_result r = program("train --threads 1 -q -o %s %s", folder_path(name), arguments);
    if (r.exit != 0) fail_msg("train: %s", r.err);
    program_free(&r);
}

static json_t *bound(const char *name, const char *arguments)
{
    json_t *d =
        program_document(program("bound --params %s --json %s", folder_path(name), arguments));
    assert_non_null(d);
    return d;
}

/* The run that most tests look at: 100 samples of Gauss-10, fitted. */
#define GAUSS "--model mlp:50-30-10 --data gauss:n=400,sep=3 --steps 400 --batch 20 --step 0.1 "

static void check_budget(const json_t *of)
{
    const json_t *b = at(of, "budget");
    double sum = program_number(b, "empirical") + program_number(b, "monte_carlo") +
                 program_number(b, "kl") + program_number(b, "logarithm");
    assert_true(fabs(sum - program_number(of, "bound")) < 1e-14);
    assert_true(json_is_true(at(of, "nonvacuous")) == (program_number(of, "bound") < 1.0));
    const json_t *g = at(of, "gibbs");
    assert_true(program_number(g, "lower") <= program_number(g, "train"));
    assert_true(program_number(g, "train") <= program_number(g, "upper"));
}

static void keys(void **state)
{
    (void)state;
    json_t *d = bound("gauss.gmr", "--threads 1 --draws 100");
    static const char *const terms[] = {"kl", "effective_curvature", "distance"};
    for (size_t t = 0; t < 3; t++) {
        double sum = 0.0;
        for (size_t l = 0; l < 2; l++) {
            sum += program_number(json_array_get(at(d, "layers"), l), terms[t]);
        }
        assert_true(program_number(d, terms[t]) > 0.0);
        assert_true(fabs(sum / program_number(d, terms[t]) - 1.0) < 1e-12);
    }
    double half = 0.5 * (program_number(d, "effective_curvature") + program_number(d, "distance"));
    assert_true(program_number(d, "kl") <= half);
    check_budget(d);
    check_budget(at(d, "clipped_loss"));
    check_budget(at(d, "plain"));
    assert_true(program_number(at(d, "plain"), "posterior_scale") == 1.0);
    const json_t *delta = at(d, "delta"), *prior = at(d, "prior");
    double spent = program_number(delta, "sample") + 2.0 * program_number(delta, "draws");
    assert_true(fabs(spent - 0.05) < 1e-15 && program_number(delta, "total") == 0.05);
    assert_true(program_number(prior, "candidates") == 7);
    assert_int_equal(json_array_size(at(prior, "per_layer")), 2);
    assert_non_null(strstr(json_string_value(at(prior, "initialization")), "gauss.gmr, step 0"));
    assert_true(program_number(at(d, "posterior"), "scale") >= 1.0);
    const json_t *histogram = at(at(d, "posterior"), "histogram");
    double parameters = program_number(histogram, "not_positive");
    for (size_t i = 0; i < json_array_size(at(histogram, "counts")); i++) {
        parameters += json_number_value(json_array_get(at(histogram, "counts"), i));
    }
    assert_true(parameters == 1840.0);
    assert_true(json_is_true(at(d, "valid")) && json_array_size(at(d, "not_valid_because")) == 0);
    assert_true(json_is_null(at(d, "test_error")));
    assert_true(program_number(at(d, "rescaling"), "max_relative_change") < 1e-10);
    const json_t *measures = at(d, "measures");
    assert_int_equal(json_object_size(measures), 11);
    assert_true(program_number(at(measures, "lambda_max"), "value") > 0.0);
    assert_true(json_is_true(at(at(measures, "path_norm"), "invariant")));
    assert_true(json_is_false(at(at(measures, "trace"), "invariant")));
    json_t *again = bound("gauss.gmr", "--threads 1 --draws 100");
    assert_true(json_equal(at(again, "gibbs"), at(d, "gibbs"))); /* equal seeds, equal bits */
    json_decref(again);
    json_decref(d);
}

static void choices(void **state)
{
    (void)state;
    json_t *d = bound("gauss.gmr", QUICK "--form linear --prior-scale 0.5 --posterior-scale n "
                                         "--delta 0.1 --test-data gauss:n=300,sep=3");
    const json_t *catoni = at(d, "catoni"), *gibbs = at(d, "gibbs");
    double c =
        (program_number(d, "kl") + log(21.0 / program_number(at(d, "delta"), "sample"))) / 400;
    double linear = program_number(catoni, "a") * program_number(gibbs, "upper") +
                    program_number(catoni, "b") * c;
    assert_true(fabs(linear / program_number(catoni, "linear") - 1.0) < 1e-12);
    assert_true(program_number(d, "bound") <= linear);
    assert_true(program_number(at(d, "prior"), "candidates") == 1);
    assert_true(program_number(at(d, "prior"), "scale") == 0.5);
    assert_true(program_number(at(d, "posterior"), "scale") == 400);
    assert_true(json_is_null(at(d, "plain")) && json_is_null(at(d, "measures")));
    /* with probability 0.9, and this seed's test set */
    assert_true(program_number(gibbs, "test") < program_number(d, "bound"));
    assert_true(program_number(d, "test_error") < program_number(gibbs, "test") + 0.1);
    assert_true(json_is_true(at(at(d, "diagonal"), "exact")));
    json_decref(d);
    d = bound("gauss.gmr", QUICK "--diagonal-products 50");
    assert_true(json_is_false(at(at(d, "diagonal"), "exact")));
    assert_true(program_number(at(d, "diagonal"), "kl_error") > 0.0);
    assert_true(program_number(at(d, "rescaling"), "max_relative_change") < 1e-10);
    json_decref(d);
    /* The deterministic net is not what the bound is on, and both are printed. */
    program_result r = program("bound --params %s " QUICK, folder_path("gauss.gmr"));
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "non-vacuous: the bound on the 0-1 error is"));
    assert_non_null(strstr(r.out, "deterministic net"));
    program_free(&r);
}

/* Labels that say nothing make for the larger bound. */
static void compare_labels(const char *arguments)
{
    double value[2];
    for (int random = 0; random < 2; random++) {
        char text[1024];
        snprintf(text, sizeof text, "%s --random-labels %d", arguments, random);
        train("labels.gmr", text);
        json_t *d = bound("labels.gmr", QUICK);
        value[random] = program_number(d, "bound");
        json_decref(d);
        unlink(folder_path("labels.gmr"));
    }
    if (!(value[1] > value[0])) {
        fail_msg("bounds: %g with true labels, %g with random ones", value[0], value[1]);
    }
}

static void random_labels_gauss(void **state)
{
    (void)state;
    compare_labels(GAUSS);
}

static void random_labels_mnist(void **state)
{
    (void)state;
    const char *variable = getenv("GM_TEST_DATA"), *base = variable ? variable : GM_SHARED_DATA;
    char text[1024];
    snprintf(text, sizeof text, "%s/mnist", base);
    if (GM_TEST_SIZE(false, true)) skip();
    if (access(text, R_OK) != 0) {
        print_message("skipped: %s is not there\n", text);
        skip();
    }
    snprintf(
        text, sizeof text,
        "--model mlp:784-16-10 --data mnist:%s/mnist --subset 1000 --precision f32 --steps 400 "
        "--batch 20 --step 0.1",
        base);
    compare_labels(text);
}

static void rescaled(void **state)
{
    (void)state;
    json_t *d = program_document(
        program("bound rescale --params %s --threads 1 -q --draws 100 --magnitudes 10,1000 "
                "--rescalings 2 --json",
                folder_path("gauss.gmr")));
    assert_non_null(d);
    const json_t *rescaling = at(d, "rescaling"), *cases = at(rescaling, "cases");
    assert_true(program_number(rescaling, "max_relative_change") < 1e-10);
    assert_int_equal(json_array_size(cases), 5);
    const json_t *first = json_array_get(cases, 0), *last = json_array_get(cases, 4);
    assert_true(program_number(first, "magnitude") == 1 &&
                program_number(last, "magnitude") == 1000);
    const json_t *alpha = at(last, "alpha");
    double product = 1.0;
    for (size_t l = 0; l < json_array_size(alpha); l++) {
        product *= json_number_value(json_array_get(alpha, l));
    }
    assert_true(fabs(product - 1.0) < 1e-12);
    double before = program_number(at(at(first, "measures"), "trace"), "value");
    double after = program_number(at(at(last, "measures"), "trace"), "value");
    assert_true(after > 100.0 * before || after < 0.01 * before);
    json_decref(d);
}

static void figures(void **state)
{
    (void)state;
    static const char *const ids[] = {"r1bound-figure", "r1posterior-figure", "r1rescaling-figure"};
    train("page.gmr", GAUSS);
    const char *run = folder_path("page.gmr");
    program_result r = program("bound --params %s " QUICK "-o %s", run, run);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    r = program("bound rescale --params %s --threads 1 -q --draws 50 --measures fast -o %s", run,
                run);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    r = program("report %s -o %s", run, folder_path("page.html"));
    if (r.exit != 0) fail_msg("report: %s", r.err);
    program_free(&r);
    char *page = program_slurp(folder_path("page.html"));
    assert_non_null(page);
    for (size_t i = 0; i < 3; i++) {
        const char *figure = strstr(page, ids[i]);
        if (!figure) fail_msg("no figure %s", ids[i]);
        const char *picture = strstr(figure, "<svg"), *end = strstr(figure, "</figure>");
        assert_true(picture && picture < end);
    }
    assert_non_null(strstr(page, "The generalization bound, step 400"));
    free(page);
}

static void not_valid(void **state)
{
    (void)state;
    train("standard.gmr", GAUSS "--standardize");
    json_t *d = bound("standard.gmr", QUICK);
    assert_true(json_is_false(at(d, "valid")));
    assert_non_null(
        strstr(json_string_value(json_array_get(at(d, "not_valid_because"), 0)), "--standardize"));
    json_decref(d);
    char arguments[600];
    snprintf(arguments, sizeof arguments, "--params0 %s@400 " QUICK, folder_path("gauss.gmr"));
    d = bound("gauss.gmr", arguments);
    assert_true(json_is_false(at(d, "valid")));
    json_decref(d);
    program_result r = program("bound --params %s %s", folder_path("gauss.gmr"), arguments);
    assert_non_null(strstr(r.out, "BOUND NOT VALID"));
    program_free(&r);
}

static void refused(const char *arguments, const char *words)
{
    program_result r = program("bound -q %s", arguments);
    if (r.exit != 2 || *r.out || !program_one_line(r.err) || !strstr(r.err, words)) {
        fail_msg("bound %s: status %d, stdout '%s', stderr '%s'", arguments, r.exit, r.out, r.err);
    }
    program_free(&r);
}

static void refusals(void **state)
{
    (void)state;
    char run[300], text[1500];
    snprintf(run, sizeof run, "--params %s", folder_path("gauss.gmr"));
    static const struct {
        const char *arguments, *words;
    } cases[] = {
        {"--delta 0", "--delta"},
        {"--delta 1", "--delta"},
        {"--delta nan", "--delta"},
        {"--form hoeffding", "--form"},
        {"--prior-scale 0", "--prior-scale"},
        {"--prior-scale n", "--prior-scale"},
        {"--posterior-scale -1", "--posterior-scale"},
        {"--posterior-scale 1e999", "--posterior-scale"},
        {"--layer-scale dense9=1", "dense9"},
        {"--layer-scale dense1", "--layer-scale"},
        {"--draws 0", "--draws"},
        {"--diagonal-products 1", "--diagonal-products"},
        {"--whole-draws --draws 100000000000000", "--memory"},
        {"--radius 0", "--radius"},
        {"--magnitudes 10", "rescale"},
        {"--params0 nowhere.npy", "nowhere.npy"},
        {"--params0 nowhere.gmr", "nowhere.gmr"},
        {"compute", "compute"},
        {"rescale --magnitudes 0.5", "--magnitudes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "%s %s", cases[i].arguments, run);
        refused(text, cases[i].words);
    }
    refused("", "--model");
    refused("--model mlp:4-5-3 --data gauss:k=3,d=4,n=40", "--params");
    /* parameters without their initialization; of another net; zero */
    program_result r =
        program("export %s --params %s", folder_path("gauss.gmr"), folder_path("end.npy"));
    assert_int_equal(r.exit, 0);
    program_free(&r);
    snprintf(text, sizeof text, "--model mlp:50-30-10 --data gauss:n=40 --params %s",
             folder_path("end.npy"));
    refused(text, "gradiometer train -o run.gmr");
    train("other.gmr",
          "--model mlp:4-5-3 --data gauss:k=3,d=4,n=40 --steps 1 --batch 4 --step 0.1");
    snprintf(text, sizeof text, "%s --params0 %s", run, folder_path("other.gmr"));
    refused(text, "1840");
    char zeros[128 + 8 * 1840] = "\x93NUMPY\x01";
    int length =
        snprintf(zeros + 10, 118, "{'descr': '<f8', 'fortran_order': False, 'shape': (1840,), }");
    memset(zeros + 10 + length, ' ', (size_t)(117 - length));
    zeros[8] = 118;
    zeros[127] = '\n';
    folder_write("zeros.npy", zeros, sizeof zeros);
    snprintf(text, sizeof text, "%s --params0 %s", run, folder_path("zeros.npy"));
    refused(text, "dense1");
    snprintf(text, sizeof text, "--params0 %s --layer-scale dense1=0.2,dense2=0.3 " QUICK,
             folder_path("zeros.npy"));
    json_t *d = bound("gauss.gmr", text);
    assert_true(program_number(d, "bound") > 0.0);
    json_decref(d);
    train("tanh.gmr", "--model mlp:4-5-3,act=tanh --data gauss:k=3,d=4,n=40 --steps 1 --batch 4 "
                      "--step 0.1");
    snprintf(text, sizeof text, "rescale --params %s", folder_path("tanh.gmr"));
    refused(text, "not positively homogeneous");
}

static int setup(void **state)
{
    if (folder_make(state)) return -1;
    train("gauss.gmr", GAUSS);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys),
        cmocka_unit_test(choices),
        cmocka_unit_test(random_labels_gauss),
        cmocka_unit_test(random_labels_mnist),
        cmocka_unit_test(rescaled),
        cmocka_unit_test(figures),
        cmocka_unit_test(not_valid),
        cmocka_unit_test(refusals),
    };
    if (setup(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "bound");
    return folder_remove(NULL) ? 1 : failed;
}
