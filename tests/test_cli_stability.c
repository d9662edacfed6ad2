/* gradiometer dynamics stability as a user runs it: keys of the document, numbers against each
 * other, the figure, refusals. The mathematics is tested in test_stability.c. */
#include "dynamics_case.h"

#include <math.h>
#include <string.h>

#include "folder.h"

/* 56 parameters: the whole space fits into the span. */
#define SMALL "--model mlp:6-6-2,act=tanh --data gauss:k=2,d=6,n=40 --threads 1 -q"

static json_t *document(const char *arguments)
{
    json_t *d = program_document(program("dynamics stability " SMALL " --json %s", arguments));
    assert_non_null(d);
    return d;
}

/* The powers of two and the batch of the run; the limits rise with the batch, up to 2 / lambda_max.
 */
static void map(void **state)
{
    (void)state;
    json_t *d = document("--step 0.3 --cut 0.05");
    const json_t *limits = at(d, "limits"), *point = json_array_get(at(d, "points"), 0);
    const json_t *minimum = at(d, "minimum");
    double top = program_number(at(minimum, "lambda_max"), "value"), before = 0;
    assert_int_equal(json_array_size(limits), 6); /* 1, 2, ..., 32 */
    for (size_t i = 0; i < 6; i++) {
        const json_t *row = json_array_get(limits, i);
        double boundary = program_number(row, "boundary");
        assert_true(program_number(row, "batch") == ldexp(1.0, (int)i));
        assert_true(fabs(program_number(row, "kappa") * program_number(row, "batch") - 1) < 1e-15);
        assert_true(boundary > before && boundary < 2 / top);
        double error = program_number(row, "boundary_error");
        assert_true(error > 0 && error <= boundary); /* --cut left some directions out */
        assert_true(program_number(row, "sufficient") <= boundary * (1 + 1e-12));
        assert_true(program_number(row, "boundary_half") >= boundary * (1 - 1e-12));
        before = boundary;
    }
    double growth = program_number(point, "growth"), boundary = program_number(point, "boundary");
    assert_true(boundary == program_number(json_array_get(limits, 0), "boundary"));
    assert_true(json_is_true(at(point, "stable")) == (growth < 1));
    assert_true((growth < 1) == (0.3 < boundary));
    assert_true(program_number(point, "first_step") >= growth * (1 - 1e-12));
    assert_non_null(strstr(json_string_value(at(point, "verdict")), "batch 1, step 0.3"));
    /* At a random start nothing is a minimum. */
    assert_true(json_is_false(at(minimum, "is_minimum")));
    assert_true(program_number(minimum, "fall") > 0);
    assert_int_equal(json_array_size(at(d, "observed")), 0);
    json_decref(d);
}

static void observed(void **state)
{
    (void)state;
    json_t *d = document("--batch 2,8 --step 0.1 --observe 40 --horizon 3");
    const json_t *seen = at(d, "observed");
    assert_int_equal(json_array_size(at(d, "points")), 2);
    assert_int_equal(json_array_size(seen), 10); /* four factors of the boundary and the step */
    for (size_t i = 0; i < 10; i++) {
        const json_t *o = json_array_get(seen, i), *ci = at(o, "grew_ci");
        double share = program_number(o, "grew") / 40;
        assert_true(program_number(o, "runs") == 40 && program_number(o, "steps") == 3);
        assert_true(json_number_value(json_array_get(ci, 0)) <= share);
        assert_true(json_number_value(json_array_get(ci, 1)) >= share);
        assert_true(program_number(o, "mean") > 0 && program_number(o, "mean_stderr") > 0);
        const json_t *net = at(o, "net");
        double mean = program_number(net, "mean"), rate = program_number(net, "rate");
        assert_true(fabs(rate * rate * rate / mean - 1) < 1e-12);
        assert_true(program_number(net, "rate_stderr") > 0 && program_number(net, "grew") <= 40);
        assert_true(program_number(net, "infinite") == 0);
    }
    json_decref(d);
}

/* Batch and step of the run, into its file; the figure of the map. */
static void of_a_run(void **state)
{
    (void)state;
    char run[512], figures[512];
    snprintf(run, sizeof run, "%s", folder_path("s.gmr"));
    snprintf(figures, sizeof figures, "%s", folder_path("figures"));
    program_result r =
        program("train " SMALL " --batch 3 --step 0.2 --steps 50 --momentum 0.5 -o %s", run);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    json_t *d = program_document(program(
        "dynamics stability --params %s --observe 5 --horizon 2 -q --json -o %s", run, run));
    const json_t *point = json_array_get(at(d, "points"), 0), *notes = at(d, "notes");
    assert_true(program_number(point, "batch") == 3 && program_number(point, "step_size") == 0.2);
    assert_int_equal(json_array_size(at(d, "limits")), 7); /* 3 among the powers of two */
    char *text = json_dumps(notes, 0);
    assert_non_null(strstr(text, "momentum 0.5"));
    free(text);
    json_decref(d);
    r = program("dynamics stability --params %s", run);
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "largest stable step"));
    program_free(&r);
    r = program("report %s --figures svg --dir %s", run, figures);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char path[600];
    snprintf(path, sizeof path, "%s/stability.svg", figures);
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/growth.svg", figures);
    char *svg = program_slurp(path);
    assert_true(svg && strstr(svg, "SGD on the net") && strstr(svg, "batch 3"));
    free(svg);
    snprintf(path, sizeof path, "rm -r %s", figures);
    assert_int_equal(system(path), 0);
    folder_empty();
}

static void refusals(void **state)
{
    (void)state;
    refused("stability " SMALL " --directions 61", "--directions");
    refused("stability " SMALL " --directions 57", "56 parameters");
    refused("stability " SMALL " --cut 1.5", "--cut");
    refused("stability " SMALL " --observe 1", "--observe");
    refused("stability " SMALL " --horizon 5", "--observe");
    refused("stability " SMALL " --batch 0", "--batch");
    refused("stability " SMALL " --batch 41 --replacement no", "--batch");
    refused("stability " SMALL " --batch 1000000000000 --observe 2", "--memory");
    refused("stability " SMALL " --draws 3", "--draws: not an option of dynamics stability");
    refused("predict " SMALL " --observe 3", "--observe: not an option of dynamics predict");
    refused("stability --model mlp:6-6-2 --data gauss:k=2,d=6,n=4000 -q --memory 20000000",
            "--directions");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(map), cmocka_unit_test(observed),
                                       cmocka_unit_test(of_a_run), cmocka_unit_test(refusals)};
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "stability");
    return folder_remove(NULL) ? 1 : failed;
}
