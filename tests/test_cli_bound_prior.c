/* gradiometer bound with a learned prior, at every checkpoint, and with an optimized posterior. */
#include "support.h"

#include <math.h>

#include "gradiometer/run.h"
#include "program.h"

#define DATA "gauss:k=3,d=8,n=400,sep=4"
static const char *const learned = "test_cli_bound_prior.gmr";
static const char *const drawn = "test_cli_bound_prior0.gmr";

static void works(program_result r)
{
    if (r.exit != 0) fail_msg("%s", r.err);
    program_free(&r);
}

static void make_runs(void)
{
    unlink(learned);
    unlink(drawn);
    works(program("train --model mlp:8-6-3 --data " DATA " --test-data " DATA
                  " --prior-fraction 0.25 --prior-steps 200 --steps 100 --keep-every 50 -o %s",
                  learned));
    works(program("train --model mlp:8-6-3 --data " DATA " --steps 50 -o %s", drawn));
}

/* The samples that the prior saw take no part; the bound is valid. */
static void bound_on_the_rest(void **state)
{
    (void)state;
    make_runs();
    json_t *d = program_document(program(
        "bound --params %s --prior-fraction 0.25 --measures none --draws 50 --json", learned));
    assert_non_null(d);
    const json_t *data = json_object_get(d, "data");
    assert_int_equal(json_integer_value(json_object_get(data, "n")), 300);
    assert_true(json_is_true(json_object_get(d, "valid")));
    const json_t *prior = json_object_get(json_object_get(d, "prior"), "learned");
    assert_int_equal(json_integer_value(json_object_get(prior, "seen")), 100);
    assert_int_equal(json_integer_value(json_object_get(prior, "rest")), 300);
    json_decref(d);
}

static void every_checkpoint(void **state)
{
    (void)state;
    json_t *d = program_document(
        program("bound --params %s@all --measures none --draws 50 -o %s --json", learned, learned));
    assert_non_null(d);
    const json_t *list = json_object_get(d, "checkpoints");
    assert_int_equal(json_array_size(list), 3); /* 0, 50, 100 */
    for (size_t i = 0; i < 3; i++) {
        const json_t *at = json_array_get(list, i);
        assert_int_equal(json_integer_value(json_object_get(at, "step")), 50 * i);
        const json_t *budget = json_object_get(at, "budget");
        assert_true(program_number(budget, "monte_carlo") > 0.0);
        double sum = program_number(budget, "empirical") + program_number(budget, "monte_carlo") +
                     program_number(budget, "kl") + program_number(budget, "logarithm");
        assert_true(fabs(sum - program_number(at, "bound")) < 1e-12);
        /* Where the posterior's mean is the prior's, the distance is nothing. */
        double distance = program_number(at, "distance");
        assert_true(i == 0 ? distance == 0.0 : distance > 0.0);
    }
    json_decref(d);

    gm_error err;
    gm_run *run = NULL;
    gm_run_result *result = NULL;
    size_t count = 0;
    assert_int_equal(gm_run_open(learned, GM_RUN_READ, &run, &err), GM_OK);
    assert_int_equal(gm_run_results(run, "bound", &result, &count, &err), GM_OK);
    assert_int_equal(count, 3);
    gm_run_free(result);
    gm_run_close(run);
    works(program("report --figures svg --dir test_cli_bound_figures %s", learned));
    assert_int_equal(unlink("test_cli_bound_figures/boundcourse.svg"), 0);
    assert_int_equal(system("rm -r test_cli_bound_figures"), 0);
}

/* kl^-1 by bisection: the bound put together from the document's own numbers. */
static double inverse(double q, double c)
{
    double low = q, high = 1.0;
    for (int i = 0; i < 200; i++) {
        double p = 0.5 * (low + high);
        double kl = (q > 0 ? q * log(q / p) : 0) + (q < 1 ? (1 - q) * log((1 - q) / (1 - p)) : 0);
        *(kl <= c ? &low : &high) = p;
    }
    return low;
}

static double recomputed(const json_t *certificate)
{
    const json_t *error = json_object_get(certificate, "error");
    double draws = program_number(error, "draws"), train = program_number(error, "train");
    double upper = inverse(train, log(1 / 0.005) / draws);
    double bound = inverse(
        upper, (program_number(certificate, "kl") + log(2 * sqrt(300.0) * 7 / 0.045)) / 300);
    assert_true(fabs(upper - program_number(error, "upper")) < 1e-12);
    assert_true(fabs(bound - program_number(error, "bound")) < 1e-12);
    return bound;
}

static void optimized_beside_its_start(void **state)
{
    (void)state;
    json_t *d = program_document(
        program("bound --params %s --optimize 300 --optimize-step 0.02 --optimize-batch 100 "
                "--optimize-draws 20 --measures none --draws 50 --json",
                learned));
    assert_non_null(d);
    const json_t *optimized = json_object_get(d, "optimized");
    assert_string_equal(json_string_value(json_object_get(optimized, "objective")), "kl");
    assert_string_equal(json_string_value(json_object_get(optimized, "scales")), "fixed");
    assert_int_equal(json_integer_value(json_object_get(optimized, "steps")), 300);
    const json_t *start = json_object_get(optimized, "start");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(start, "error"), "draws")),
                     6000);
    double before = recomputed(start), after = recomputed(json_object_get(optimized, "end"));
    if (!(after < before)) fail_msg("from %g to %g", before, after);
    json_decref(d);
    d = program_document(program("bound --params %s --measures none --draws 50 --json", learned));
    assert_true(json_is_null(json_object_get(d, "optimized")));
    json_decref(d);
}

/* With the prior's scales learned: their cost in the logarithm, and a table of layers whose parts
 * are KL, at the c of the certificate. */
static void learned_scales(void **state)
{
    (void)state;
    json_t *d = program_document(
        program("bound --params %s --optimize 100 --optimize-batch 100 --optimize-scales learned "
                "--measures none --draws 50 --json",
                drawn));
    assert_non_null(d);
    const json_t *optimized = json_object_get(d, "optimized"), *end = NULL, *layers;
    assert_string_equal(json_string_value(json_object_get(optimized, "scales")), "learned");
    end = json_object_get(optimized, "end");
    double cost = program_number(optimized, "scales_cost"), kl = 0;
    assert_true(cost >= 4 * log(9.0) - 1e-12);
    assert_true(fabs(program_number(end, "logarithm") - cost - log(2 * sqrt(400.0) * 7 / 0.045)) <
                1e-9);
    layers = json_object_get(optimized, "layers");
    assert_int_equal(json_array_size(layers), 2);
    for (size_t i = 0; i < 2; i++) {
        kl += program_number(json_array_get(layers, i), "kl");
    }
    assert_true(fabs(kl - program_number(end, "kl")) < 1e-9 * kl);
    json_decref(d);
}

/* Ctrl-C before the first bound is there: one line that says what is kept, and no document. */
static void interrupted(void **state)
{
    (void)state;
    static const char *const commands[][2] = {
        {"bound --params %s", "interrupted before the bound was finished; nothing was recorded"},
        {"bound --params %s@all", "interrupted after 0 of 3 checkpoints"},
        {"bound rescale --params %s", "interrupted after 0 of 4 re-scalings"}};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char arguments[512], begin[128];
        snprintf(begin, sizeof begin, commands[i][0], learned);
        snprintf(arguments, sizeof arguments,
                 "%s --threads 1 --draws 1000000000 --measures none --json -q", begin);
        program_result r = program_interrupted(arguments);
        if (r.exit != 1 || *r.out || !program_one_line(r.err) || !strstr(r.err, commands[i][1]))
            fail_msg("%s: exit status %d, %s%s", arguments, r.exit, r.out, r.err);
        program_free(&r);
    }
}

static void refuses(const char *arguments, const char *part)
{
    program_result r = program("bound --measures none --draws 10 %s", arguments);
    if (r.exit != 2 || *r.out || !program_one_line(r.err) || !strstr(r.err, part))
        fail_msg("%s: exit status %d, %s%s", arguments, r.exit, r.out, r.err);
    program_free(&r);
}

static void refusals(void **state)
{
    (void)state;
    refuses("--params test_cli_bound_prior.gmr --prior-fraction 0.5", "has seen 100 of 400");
    refuses("--params test_cli_bound_prior0.gmr --prior-fraction 0.5", "is an initialization");
    refuses("--params test_cli_bound_prior.gmr --data gauss:k=3,d=8,n=300", "prior.samples");
    refuses("--params test_cli_bound_prior.gmr --data gauss:k=3,d=8,n=400,seed=2",
            "prior.data_crc32");
    refuses("--params test_cli_bound_prior0.gmr@all --optimize 5", "--optimize");
    refuses("--params test_cli_bound_prior0.gmr --objective kl", "with --optimize only");
    refuses("--params test_cli_bound_prior0.gmr --optimize-scales fixed", "with --optimize only");
    refuses("--params test_cli_bound_prior0.gmr --optimize 5 --optimize-step 2", "at most 1");
    refuses("--params test_cli_bound_prior0.gmr --loss squared --optimize 5", "--loss squared");
    unlink(learned);
    unlink(drawn);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bound_on_the_rest),
        cmocka_unit_test(every_checkpoint),
        cmocka_unit_test(optimized_beside_its_start),
        cmocka_unit_test(learned_scales),
        cmocka_unit_test(interrupted),
        cmocka_unit_test(refusals),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests,
                       "command line, bound prior");
}
