/* gradiometer train --prior-fraction: what it prints and records, what it refuses. */
#include "support.h"

#include <math.h>

#include "gradiometer/run.h"
#include "program.h"

#define NET "--model mlp:10-6-3 --data gauss:k=3,d=10,n=60 "

static void records_the_prior(void **state)
{
    (void)state;
    const char *path = "test_cli_prior.gmr";
    unlink(path);
    json_t *document = program_document(program(
        "train " NET "--batch 10 --prior-fraction 0.4 --prior-steps 30 --steps 20 -o %s --json",
        path));
    assert_non_null(document);
    const json_t *prior = json_object_get(document, "prior");
    assert_int_equal(json_integer_value(json_object_get(prior, "steps")), 30);
    assert_int_equal(json_integer_value(json_object_get(prior, "seen")), 24);
    assert_int_equal(json_integer_value(json_object_get(prior, "rest")), 36);
    double seen = program_number(prior, "error_rate"),
           rest = program_number(prior, "rest_error_rate");
    json_decref(document);

    /* Step 0 of the run is the prior: the error on all samples is the mean of both parts'. */
    gm_error err;
    gm_run *run = NULL;
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    assert_int_equal(gm_run_open(path, GM_RUN_READ, &run, &err), GM_OK);
    assert_int_equal(gm_run_metric(run, "error_rate", &step, &value, &count, &err), GM_OK);
    assert_true(count > 0 && step[0] == 0);
    assert_true(fabs(value[0] - (24 * seen + 36 * rest) / 60) < 1e-12);
    gm_run_free(step);
    gm_run_free(value);
    gm_run_close(run);

    /* It can be resumed like any other. */
    program_result again = program("train --resume %s", path);
    assert_int_equal(again.exit, 0);
    program_free(&again);
    unlink(path);
}

/* Without the options nothing is learned beforehand, and the document says so. */
static void none_without_the_option(void **state)
{
    (void)state;
    json_t *document = program_document(program("train " NET "--steps 3 --json"));
    assert_true(json_is_null(json_object_get(document, "prior")));
    json_decref(document);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *options, *part;
    } cases[] = {
        {"--prior-fraction 0", "--prior-fraction"},
        {"--prior-fraction 1", "--prior-fraction: found 1, expected above 0 and below 1"},
        {"--prior-fraction 2", "--prior-fraction: found 2"},
        {"--prior-fraction 0.001", "0.001 of 60 samples are 0"},
        {"--prior-steps 5", "--prior-steps: expected with --prior-fraction only"},
        {"--prior-fraction 0.5 --standardize", "--standardize"},
        {"--prior-fraction 0.5 --params missing.npy", "--params: found it with --prior-fraction"},
        {"--prior-fraction 0.5 --replacement no --batch 40", "--batch: 40 samples"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program_result r = program("train " NET "%s", cases[i].options);
        if (r.exit != 2 || *r.out || !program_one_line(r.err) || !strstr(r.err, cases[i].part))
            fail_msg("%s: exit status %d, %s%s", cases[i].options, r.exit, r.out, r.err);
        program_free(&r);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_the_prior),
        cmocka_unit_test(none_without_the_option),
        cmocka_unit_test(refusals),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "command line, prior");
}
