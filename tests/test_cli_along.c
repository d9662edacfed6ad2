/* gradiometer dynamics martingale and phases as a user runs them on a recorded training: keys,
 * numbers against each other and against the run file, text, refusals. The mathematics is tested in
 * test_rise.c, test_policy.c and test_step.c. */
#include "dynamics_case.h"

#include <math.h>
#include <string.h>

#include "folder.h"
#include "gradiometer/run.h"
#include "program.h"

#define SMALL "--model mlp:4-5-3,act=tanh --data gauss:k=3,d=4,n=40 --threads 1 -q "
#define TRAIN "train " SMALL "--steps 40 --batch 4 "

static void train(const char *name, const char *options)
{
    program_result r = program(TRAIN "%s -o %s", options, folder_path(name));
    if (r.exit != 0) fail_msg("%s", r.err);
    program_free(&r);
}

static json_t *measured(const char *command, const char *name, const char *options)
{
    json_t *d = program_document(program("dynamics %s --params %s --threads 1 -q --json %s",
                                         command, folder_path(name), options));
    assert_non_null(d);
    return d;
}

static void check_entry(const json_t *e)
{
    double eta = program_number(e, "eta"), square = program_number(e, "gradient_square");
    double trace = program_number(e, "trace_moment"), bend = program_number(e, "curvature");
    double bound = -eta * square + 0.5 * eta * eta * bend * trace;
    double limit = 2 * square / (bend * trace);
    assert_true(fabs(program_number(e, "bound") - bound) <= 1e-12 * fabs(eta * square));
    assert_true(fabs(program_number(e, "eta_lim") - limit) <= 1e-12 * limit);
    assert_true(json_is_true(at(e, "ok")) == (program_number(e, "upper") <= 0));
    assert_true(program_number(e, "upper") >= program_number(e, "mean"));
    assert_true(program_number(e, "se") >= 0);
}

/* A step far too large fails where the oracle's passes. */
static void fixed_fails_oracle_passes(void **state)
{
    (void)state;
    train("fixed.gmr", "--step 0.3 --keep-every 10");
    json_t *d = measured("martingale", "fixed.gmr", "--step 20,oracle:max=2 --draws 100");
    assert_string_equal(json_string_value(at(d, "subcommand")), "martingale");
    const json_t *share = at(d, "share_ok"), *steps = at(d, "steps");
    assert_string_equal(json_string_value(json_array_get(at(d, "policies"), 1)),
                        "oracle:every=1,share=0.5,max=2,floor=0.001");
    assert_int_equal(json_array_size(steps), 2);
    assert_true(number_at(share, 0) == 0 && number_at(share, 1) == 1);
    for (size_t k = 0; k < 2; k++) {
        const json_t *list = json_array_get(steps, k), *ci = json_array_get(at(d, "share_ci"), k);
        assert_int_equal(json_array_size(list), 5); /* 0, 10, ..., 40 */
        assert_true(number_at(ci, 0) <= number_at(share, k) &&
                    number_at(ci, 1) >= number_at(share, k));
        for (size_t i = 0; i < 5; i++) {
            const json_t *e = json_array_get(list, i);
            check_entry(e);
            assert_true(program_number(e, "step") == 10 * (double)i);
            double eta = program_number(e, "eta"), limit = program_number(e, "eta_lim");
            assert_true(k == 0 ? eta == 20 : fabs(eta - fmin(2, 0.5 * limit)) <= 1e-12);
        }
    }
    json_decref(d);
    program_result r = program("dynamics martingale --params %s --threads 1 -q --at 0,20 --step "
                               "20,oracle --draws 50 -o %s",
                               folder_path("fixed.gmr"), folder_path("fixed.gmr"));
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "20: the upper limit is at most 0 at 0 of 2 points"));
    assert_non_null(strstr(r.out, "20 fails and oracle"));
    assert_non_null(strstr(r.out, "passes at 2 points, the reverse at 0"));
    program_free(&r);
}

static void figure_exists(const char *name, const char *holds)
{
    char *text = program_slurp(folder_path(name));
    if (!text) fail_msg("no picture %s", name);
    if (!strstr(text, holds)) fail_msg("%s does not hold '%s'", name, holds);
    free(text);
    unlink(folder_path(name));
}

/* A picture for the check, one for the phases, one for the steps that a policy chose. */
static void figures(void **state)
{
    (void)state;
    train("drawn.gmr", "--step oracle:every=3 --keep-every 20");
    const char *const commands[] = {"martingale --draws 20 --step 20,oracle", "phases"};
    for (int i = 0; i < 2; i++) {
        program_result r = program("dynamics %s --params %s -o %s --threads 1 -q", commands[i],
                                   folder_path("drawn.gmr"), folder_path("drawn.gmr"));
        assert_int_equal(r.exit, 0);
        program_free(&r);
    }
    program_result r =
        program("report %s --figures svg --dir %s", folder_path("drawn.gmr"), folder);
    if (r.exit != 0) fail_msg("%s", r.err);
    program_free(&r);
    figure_exists("martingale.svg", "step oracle");
    figure_exists("phases.svg", "taken back by the noise");
    figure_exists("steps.svg", "step size");
    r = program("report %s -o %s", folder_path("drawn.gmr"), folder_path("drawn.html"));
    assert_int_equal(r.exit, 0);
    program_free(&r);
    figure_exists("drawn.html", "Does the loss fall in expectation?");
}

/* By default the run's own policy; estimated as it was recorded; D anew where it is exact. */
static void own_policy(void **state)
{
    (void)state;
    train("estimated.gmr", "--step estimated:max=0.5 --keep-every 20");
    json_t *d = measured("martingale", "estimated.gmr", "--draws 20");
    const json_t *steps = at(d, "steps");
    gm_run *run;
    gm_error err;
    int64_t *step;
    double *value;
    size_t count;
    assert_int_equal(gm_run_open(folder_path("estimated.gmr"), GM_RUN_READ, &run, &err), GM_OK);
    assert_int_equal(gm_run_metric(run, "step_size", &step, &value, &count, &err), GM_OK);
    assert_int_equal(count, 40);
    assert_int_equal(json_array_size(steps), 3);
    for (size_t i = 0; i < 3; i++) {
        size_t t = i < 2 ? 20 * i : 39; /* the last point has the step before it */
        assert_true(program_number(json_array_get(steps, i), "eta") == value[t]);
    }
    assert_true(json_is_number(at(d, "share_ok")));
    gm_run_free(step);
    gm_run_free(value);
    gm_run_close(run);
    json_decref(d);

    train("scaled.gmr", "--step 0.05 --precondition diag-moment --keep-every 20");
    d = measured("martingale", "scaled.gmr", "--draws 50 --step 0.05,oracle");
    assert_string_equal(json_string_value(at(d, "precondition")), "diag-moment");
    check_entry(json_array_get(json_array_get(at(d, "steps"), 1), 1));
    json_decref(d);
    train("running.gmr", "--step cosine:0.05 --precondition rmsprop --keep-every 20");
    d = measured("martingale", "running.gmr", "--draws 50 --step cosine:0.05,final=0.01");
    assert_int_equal(json_array_size(at(d, "steps")), 1); /* D of the latest step alone */
    const json_t *only = json_array_get(at(d, "steps"), 0);
    assert_true(program_number(only, "step") == 40 && program_number(only, "eta") == 0.01);
    json_decref(d);
}

static void infinite_draws(void **state)
{
    (void)state;
    json_t *d = program_document(program("dynamics martingale " SMALL
                                         "--json --precision f32 --step 1e200 --batch 2 "
                                         "--draws 20"));
    const json_t *e = json_array_get(at(d, "steps"), 0);
    assert_true(program_number(e, "infinite") > 0 && json_is_null(at(e, "mean")));
    assert_true(json_is_false(at(e, "ok")) && program_number(d, "share_ok") == 0);
    json_decref(d);
}

static void phases(void **state)
{
    (void)state;
    json_t *d = measured("phases", "fixed.gmr", "");
    const json_t *steps = at(d, "steps"), *change = at(d, "change");
    double eta = 0.3;
    size_t first = json_array_size(steps);
    assert_int_equal(first, 5);
    for (size_t i = 5; i-- > 0;) {
        const json_t *e = json_array_get(steps, i);
        double gain = program_number(e, "gain"), noise = program_number(e, "noise");
        assert_true(program_number(e, "eta") == eta);
        assert_true(fabs(program_number(e, "ratio") - noise / gain) <= 1e-12 * fabs(noise / gain));
        assert_true(program_number(e, "noise_stderr") == 0); /* exact */
        bool slow = strcmp(json_string_value(at(e, "phase")), "slow") == 0;
        assert_true(slow == (noise >= 0.5 * gain));
        if (slow && first == i + 1) first = i;
    }
    assert_true(json_is_true(at(change, "reached")) == (first < 5));
    if (first < 5) assert_true(program_number(change, "step") == 10 * (double)first);
    double ratio = program_number(json_array_get(steps, 0), "ratio");
    json_decref(d);

    /* The mean of the model: -gain + noise, as predict has it at the same point. */
    char name[600];
    snprintf(name, sizeof name, "%s@10", folder_path("fixed.gmr"));
    d = program_document(
        program("dynamics predict --params %s --threads 1 -q --json --draws 2", name));
    json_t *one =
        program_document(program("dynamics phases --params %s --threads 1 -q --json", name));
    const json_t *e = json_array_get(at(one, "steps"), 0);
    double mean = program_number(at(d, "predicted"), "mean");
    assert_true(fabs(mean - (program_number(e, "noise") - program_number(e, "gain"))) <=
                1e-12 * fabs(mean));
    json_decref(d);
    json_decref(one);

    d = measured("phases", "fixed.gmr", "--balance 1000");
    assert_true(json_is_false(at(at(d, "change"), "reached")));
    assert_true(json_is_null(at(at(d, "change"), "step")));
    json_decref(d);
    char options[64];
    snprintf(options, sizeof options, "--balance %g", 0.9 * ratio);
    program_result r = program("dynamics phases --params %s --threads 1 -q --at 0 %s",
                               folder_path("fixed.gmr"), options);
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "slow from checkpoint 0 on, the first there is"));
    program_free(&r);
}

static void refusals(void **state)
{
    (void)state;
    char line[700];
    refused("martingale " SMALL "--step 0", "--step");
    refused("martingale " SMALL "--step -1", "--step");
    refused("martingale " SMALL "--step 0.1,decay:0.1", "every=");
    refused("martingale " SMALL "--step estimated", "estimated");
    refused("martingale " SMALL "--step cosine:0.1", "--params");
    refused("martingale " SMALL "--draws 1", "--draws");
    refused("martingale " SMALL "--batch 41 --replacement no", "--batch");
    refused("martingale " SMALL "--replacement epoch", "--replacement");
    refused("martingale " SMALL "--at 3", "--at");
    refused("martingale " SMALL "--levels 1", "--levels");
    refused("phases " SMALL "--balance 0", "--balance");
    refused("phases " SMALL "--draws 3", "--draws");
    refused("phases " SMALL "--batch 1,2", "--batch");
    snprintf(line, sizeof line, "martingale --params %s -q --at 3", folder_path("fixed.gmr"));
    refused(line, "step 3");
    snprintf(line, sizeof line, "martingale --params %s -q --at 10,0", folder_path("fixed.gmr"));
    refused(line, "ascending");
    snprintf(line, sizeof line, "martingale --params %s -q --step estimated",
             folder_path("fixed.gmr"));
    refused(line, "estimated");
    snprintf(line, sizeof line, "martingale --params %s -q --at 0", folder_path("running.gmr"));
    refused(line, "rmsprop");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_fails_oracle_passes),
        cmocka_unit_test(own_policy),
        cmocka_unit_test(infinite_draws),
        cmocka_unit_test(phases),
        cmocka_unit_test(figures),
        cmocka_unit_test(refusals),
    };
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "along a run");
    return folder_remove(NULL) ? 1 : failed;
}
