/* gradiometer dynamics as a user runs it: keys and shapes of the document, numbers against each
 * other, refusals. The mathematics is tested in test_step.c. */
#include "dynamics_case.h"

#include <math.h>
#include <string.h>

#include "folder.h"

#define SMALL "--model mlp:4-5-3,act=tanh --data gauss:k=3,d=4,n=40 --threads 1 -q"

static json_t *document(const char *arguments)
{
    json_t *d = program_document(program("dynamics predict " SMALL " --json %s", arguments));
    assert_non_null(d);
    return d;
}

static void one_pair(void **state)
{
    (void)state;
    json_t *d = document("--batch 4 --step 0.2 --draws 3000 --levels 0.5,3");
    const json_t *p = at(d, "predicted"), *o = at(d, "observed"), *c = at(d, "coverage");
    assert_true(json_is_object(p) && json_is_object(o));
    double mean = program_number(o, "mean"), error = program_number(o, "mean_stderr");
    /* The model's mean is of second order; at this step the rest is below a tenth of it. */
    double predicted = program_number(p, "mean");
    assert_true(fabs(mean - predicted) <= 5 * error + 0.1 * fabs(predicted));
    assert_true(error > 0);
    double variance = program_number(p, "variance");
    assert_true(variance > 0 && program_number(p, "v") > 0);
    /* The variance of 3,000 draws is within 30 % of its own expectation, and the model's too. */
    assert_true(fabs(program_number(o, "variance") / variance - 1) < 0.3);
    assert_true(program_number(p, "lambda_plus") >= 0 && program_number(p, "lambda_minus") >= 0);
    const json_t *q = at(at(o, "quantiles"), "values"), *m = at(at(p, "quantiles"), "values");
    assert_int_equal(json_array_size(q), 7);
    assert_int_equal(json_array_size(m), 7);
    for (size_t i = 1; i < 7; i++) {
        assert_true(json_number_value(json_array_get(q, i)) >=
                    json_number_value(json_array_get(q, i - 1)));
    }
    assert_int_equal(json_array_size(c), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *band = json_array_get(c, i), *upper = at(band, "upper");
        double f = program_number(upper, "frequency");
        double low = json_number_value(json_array_get(at(upper, "ci"), 0));
        double high = json_number_value(json_array_get(at(upper, "ci"), 1));
        assert_true(low <= f && f <= high && low >= 0 && high <= 1 && high > low);
        assert_true(fabs(program_number(band, "level") - exp(-program_number(band, "s"))) < 1e-15);
        const json_t *bound = at(band, "bound");
        assert_true(json_number_value(json_array_get(bound, 0)) < predicted &&
                    json_number_value(json_array_get(bound, 1)) > predicted);
    }
    /* The histogram holds every draw once, and as many below its middle bin as the quantiles say.
     */
    const json_t *h = json_array_get(at(d, "histograms"), 0), *counts = at(h, "counts");
    double low = program_number(h, "low"), high = program_number(h, "high"), all = 0, share = 0;
    double median = number_at(q, 3), width = (high - low) / (double)json_array_size(counts);
    for (size_t i = 0; i < json_array_size(counts); i++) {
        all += number_at(counts, i);
        if (low + ((double)i + 1) * width <= median) share += number_at(counts, i);
    }
    all += program_number(h, "below") + program_number(h, "above");
    share += program_number(h, "below");
    double bin = number_at(counts, (size_t)((median - low) / width));
    assert_true(all == 3000 && share <= 1500 && share + bin >= 1500);
    json_t *again = document("--batch 4 --step 0.2 --draws 3000 --levels 0.5,3");
    assert_true(json_equal(at(again, "observed"), o)); /* equal seeds, equal bits */
    json_decref(again);
    json_decref(d);
}

static void several_pairs(void **state)
{
    (void)state;
    json_t *d = document("--batch 2,40 --step 0.1,0.3 --draws 50 --replacement no");
    const json_t *p = at(d, "predicted"), *o = at(d, "observed");
    assert_int_equal(json_array_size(p), 4);
    assert_int_equal(json_array_size(o), 4);
    const double batch[] = {2, 2, 40, 40}, step[] = {0.1, 0.3, 0.1, 0.3};
    for (size_t i = 0; i < 4; i++) {
        assert_true(program_number(json_array_get(p, i), "batch") == batch[i]);
        assert_true(program_number(json_array_get(o, i), "step") == step[i]);
    }
    /* All 40 of 40 samples: no noise, and one bin that holds all draws. */
    const json_t *h = json_array_get(at(d, "histograms"), 3);
    assert_true(number_at(at(h, "counts"), 4) == 50 && program_number(h, "step") == 0.3);
    assert_true(program_number(json_array_get(p, 3), "v") == 0);
    assert_true(program_number(json_array_get(o, 3), "variance") < 1e-24);
    assert_true(program_number(json_array_get(p, 0), "variance") > 0);
    assert_true(program_number(json_array_get(p, 3), "variance") == 0);
    json_decref(d);

    d = document("--batch 5 --step 0.1 --draws 20 --exact-samples 0 --probes 40");
    const json_t *terms = at(d, "model_terms");
    assert_true(json_is_false(at(terms, "exact")));
    assert_true(program_number(at(terms, "trace_h_sigma_h_sigma"), "stderr") > 0);
    assert_true(program_number(at(d, "predicted"), "v_stderr") > 0);
    assert_true(program_number(at(d, "predicted"), "variance_stderr") > 0);
    assert_true(json_is_null(at(at(d, "predicted"), "quantiles")));
    json_decref(d);
}

/* Losses that overflow are data: counted, above every band, and the upper quantiles with them. */
static void infinite_losses(void **state)
{
    (void)state;
    json_t *d = program_document(
        program("dynamics predict --model mlp:4-30-30-3,act=relu --data gauss:k=3,d=4,n=40 "
                "--threads 1 -q --batch 1 --step 1e13 --draws 200 --json --precision f32"));
    assert_non_null(d);
    const json_t *o = at(d, "observed"), *q = at(at(o, "quantiles"), "values");
    double infinite = program_number(o, "infinite");
    assert_true(infinite > 0);
    for (size_t i = 0; i < 7; i++) {
        const double level[] = {0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99};
        bool finite = ceil(level[i] * 199) < 200 - infinite;
        assert_true(json_is_number(json_array_get(q, i)) == finite);
    }
    const json_t *upper = at(json_array_get(at(d, "coverage"), 0), "upper");
    assert_true(program_number(upper, "frequency") >= 0);
    const json_t *h = json_array_get(at(d, "histograms"), 0);
    assert_true(program_number(h, "above") >= infinite);
    json_decref(d);
}

static void advice(void **state)
{
    (void)state;
    json_t *d = program_document(
        program("dynamics advise " SMALL " --batch 4 --step 0.2 --momentum 0.5 --json"));
    assert_non_null(d);
    const json_t *g = at(d, "gauges"), *t = at(d, "thresholds"), *a = at(d, "advice");
    double interaction = program_number(at(g, "interaction"), "value");
    assert_true(program_number(at(g, "sharpness"), "value") > 0);
    assert_true(program_number(at(g, "batch_sharpness"), "stderr") > 0);
    const json_t *critical = at(g, "critical_sharpness"), *noise = at(g, "noise_scale");
    double value = program_number(critical, "value"), lower = program_number(critical, "lower");
    assert_true(lower > 0 && lower < value && value < program_number(critical, "upper"));
    assert_true(program_number(noise, "value") > 0 && program_number(noise, "stderr") == 0);
    assert_true(program_number(at(a, "balance_batch"), "stderr") == 0);
    assert_true(fabs(program_number(t, "plain") - 10) < 1e-12);
    assert_true(fabs(program_number(t, "heavy_ball") - 15) < 1e-12);
    /* The largest step is the one whose 2/eta is the interaction. */
    const json_t *largest = at(a, "largest_step"), *best = at(a, "best_step");
    assert_true(fabs(program_number(largest, "value") * interaction - 2) < 1e-12);
    assert_true(fabs(program_number(best, "value") * interaction - 1) < 1e-12);
    assert_true(program_number(largest, "stderr") == 0 && program_number(best, "stderr") == 0);
    largest = at(a, "largest_step_lambda_max");
    double rest = program_number(at(g, "sharpness"), "stderr");
    assert_true(program_number(largest, "stderr") > 0 && rest > 0);
    json_decref(d);
    program_result r = program("dynamics advise " SMALL);
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "best step"));
    assert_non_null(strstr(r.out, " exact"));
    program_free(&r);
    d = program_document(
        program("dynamics advise " SMALL " --exact-samples 0 --probes 20 --draws 2 --json"));
    assert_non_null(d);
    g = at(d, "gauges");
    assert_true(program_number(at(g, "noise_scale"), "stderr") == 0);
    double error = program_number(at(g, "curvature_noise_scale"), "stderr");
    const json_t *batch = at(at(d, "advice"), "balance_batch");
    assert_true(error > 0 && program_number(batch, "stderr") > 0);
    /* Both batch sizes have tr(H Sigma) above the line, and nothing else of chance. */
    assert_true(fabs(program_number(batch, "stderr") / program_number(batch, "value") /
                         (error / program_number(at(g, "curvature_noise_scale"), "value")) -
                     1) < 1e-12);
    /* So has the largest step tr(H M_m) below it, of which tr(H Sigma_m) is a part. */
    const json_t *most = at(at(d, "advice"), "largest_step"), *i = at(g, "interaction");
    assert_true(fabs(program_number(most, "stderr") / program_number(most, "value") /
                         (program_number(i, "stderr") / program_number(i, "value")) -
                     1) < 1e-12);
    bool noted = false;
    const char *text;
    for (size_t j = 0; (text = json_string_value(json_array_get(at(d, "notes"), j))); j++) {
        noted = noted || strstr(text, "estimated by XTrace");
    }
    assert_true(noted);
    json_decref(d);
}

/* What the optimizer of the run did beyond plain SGD is left out, and the document says so. */
static void other_optimizers(void **state)
{
    (void)state;
    const char *const option[] = {"--optimizer adam", "--precondition rmsprop", "--momentum 0.9"};
    const char *const word[] = {"trained with adam", "trained with rmsprop", "momentum 0.9"};
    for (int i = 0; i < 3; i++) {
        program_result r = program("train " SMALL " --steps 5 --batch 3 %s -o %s", option[i],
                                   folder_path("run.gmr"));
        assert_int_equal(r.exit, 0);
        program_free(&r);
        for (int advise = 0; advise < 2; advise++) {
            json_t *d =
                program_document(program("dynamics %s --params %s -q --draws 5 --json",
                                         advise ? "advise" : "predict", folder_path("run.gmr")));
            assert_non_null(d);
            const json_t *notes = at(d, "notes");
            size_t found = 0;
            for (size_t j = 0; j < json_array_size(notes); j++) {
                found += strstr(json_string_value(json_array_get(notes, j)), word[i]) != NULL;
            }
            /* advise has thresholds for momentum */
            assert_int_equal(found, i == 2 && advise ? 0 : 1);
            json_decref(d);
        }
        folder_empty();
    }
}

/* lambda_max of D^-1/2 H D^-1/2 for the D of the run, as `spectrum` has it; none for plain SGD, nor
 * where the file does not hold the point's D. */
static void preconditioned_sharpness(void **state)
{
    (void)state;
    const char *const option[] = {
        "--momentum 0.5",         "--optimizer adam",           "--precondition rmsprop",
        "--precondition adagrad", "--precondition diag-moment", "--precondition diag-hessian"};
    for (int i = 0; i < 6; i++) {
        const char *path = folder_path("own.gmr");
        program_result r = program("train " SMALL " --steps 9 --batch 3 --keep-every 3 --step 0.02 "
                                   "%s -o %s",
                                   option[i], path);
        assert_int_equal(r.exit, 0);
        program_free(&r);
        for (int early = 0; early < 2; early++) {
            json_t *d = program_document(program(
                "dynamics advise --params %s%s -q --draws 2 --json", path, early ? "@3" : ""));
            assert_non_null(d);
            const json_t *found = at(at(d, "gauges"), "preconditioned_sharpness");
            const json_t *limit = at(at(d, "thresholds"), "preconditioned");
            assert_int_equal(json_is_null(found), i == 0 || (early && i < 4));
            assert_int_equal(json_is_null(limit), json_is_null(found));
            if (!early && i > 0) {
                const char *word = strchr(option[i], ' ') + 1;
                json_t *s = program_document(
                    program("spectrum --params %s --precondition %s --method dense -q "
                            "--json",
                            path, word));
                assert_non_null(s);
                const json_t *values = at(s, "eigenvalues");
                double expected = json_number_value(json_array_get(values, 0));
                assert_true(fabs(program_number(found, "value") - expected) <=
                            program_number(found, "stderr") + 1e-10 * expected);
                /* beta1 of Adam is 0.9 */
                assert_true(fabs(json_number_value(limit) / (i == 1 ? 1900 : 100) - 1) < 1e-12);
                json_decref(s);
            }
            json_decref(d);
        }
        r = program("dynamics advise --params %s -q --draws 2", path);
        assert_int_equal(strstr(r.out, "preconditioned") != NULL, i > 0);
        program_free(&r);
        folder_empty();
    }
}

/* With momentum, weight decay and a preconditioner the step is the run's own, and the model is that
 * of the step drawn; at an earlier step the momentum is not in the file. */
static void own_steps(void **state)
{
    (void)state;
    const char *const option[] = {"--momentum 0.9 --weight-decay 0.01", "--momentum 0.9 --nesterov",
                                  "--precondition rmsprop", "--precondition diag-hessian"};
    for (int i = 0; i < 4; i++) {
        const char *path = folder_path("own.gmr");
        program_result r = program("train " SMALL " --steps 9 --batch 3 --keep-every 3 --step 0.02 "
                                   "%s -o %s",
                                   option[i], path);
        assert_int_equal(r.exit, 0);
        program_free(&r);
        double means[2];
        for (int plain = 0; plain < 2; plain++) {
            json_t *d = program_document(
                program("dynamics predict --params %s -q --draws 2000 --threads 1 --json --step "
                        "0.002 %s",
                        path, plain ? "--plain" : ""));
            assert_non_null(d);
            const json_t *p = at(d, "predicted"), *o = at(d, "observed");
            means[plain] = program_number(p, "mean");
            /* Second order at a small step: the rest is below 2 % of the mean. */
            assert_true(fabs(program_number(o, "mean") - means[plain]) <=
                        5 * program_number(o, "mean_stderr") + 0.02 * fabs(means[plain]));
            assert_true(fabs(program_number(o, "variance") / program_number(p, "variance") - 1) <
                        0.3);
            bool same = strcmp(json_string_value(at(d, "step_form")), "theta - eta g") == 0;
            assert_true(same == plain);
            json_decref(d);
        }
        assert_true(fabs(means[0] - means[1]) > 0.1 * fabs(means[1]));
        json_t *d = program_document(
            program("dynamics predict --params %s@3 -q --draws 2 --threads 1 --json", path));
        bool same = strcmp(json_string_value(at(d, "step_form")), "theta - eta g") == 0;
        assert_true(same == (i < 3)); /* exact diagonals are taken anew */
        json_decref(d);
        folder_empty();
    }
}

/* Recorded in a run file, which export and report read like any other. */
static void recorded(void **state)
{
    (void)state;
    char run[512], json[512], page[512];
    snprintf(run, sizeof run, "%s", folder_path("p.gmr"));
    snprintf(json, sizeof json, "%s", folder_path("results.json"));
    snprintf(page, sizeof page, "%s", folder_path("page.html"));
    const char *const command[] = {"predict --batch 2,3 --draws 20", "advise"};
    for (int i = 0; i < 2; i++) {
        program_result r = program("dynamics %s " SMALL " -o %s", command[i], run);
        assert_int_equal(r.exit, 0);
        program_free(&r);
        r = program("export %s --results %s", run, json);
        assert_int_equal(r.exit, 0);
        program_free(&r);
        json_t *d = json_load_file(json, 0, NULL);
        const json_t *result = json_array_get(at(d, "results"), 0);
        assert_string_equal(json_string_value(at(result, "command")), "dynamics");
        assert_string_equal(json_string_value(at(result, "key")), i ? "advise" : "predict");
        if (i == 0) {
            assert_int_equal(json_array_size(at(at(result, "document"), "observed")), 2);
        }
        json_decref(d);
        r = program("report %s -o %s", run, page);
        assert_int_equal(r.exit, 0);
        program_free(&r);
        folder_empty();
    }
}

static void refusals(void **state)
{
    (void)state;
    refused("", "dynamics");
    refused("forecast " SMALL,
            "expected ensemble, predict, martingale, phases, advise or stability");
    refused("predict " SMALL " --batch 0", "--batch");
    refused("predict " SMALL " --batch 3,", "--batch");
    refused("predict " SMALL " --batch 2.5", "--batch");
    refused("predict " SMALL " --step -1", "--step");
    refused("predict " SMALL " --step 0", "--step");
    refused("predict " SMALL " --step nan", "--step");
    refused("predict " SMALL " --step 1e999", "--step");
    refused("predict " SMALL " --levels 0", "--levels");
    refused("predict " SMALL " --draws 0", "--draws");
    refused("predict " SMALL " --probes 1 --exact-samples 0", "--probes");
    refused("predict " SMALL " --batch 41 --replacement no", "--batch");
    refused("predict " SMALL " --replacement epoch", "--replacement");
    refused("advise " SMALL " --plain", "--plain");
    refused("predict " SMALL " --momentum 0.5", "--momentum");
    refused("predict " SMALL " --draws 1000000000000", "--memory");
    refused("predict " SMALL " --batch 1000000000000", "--memory");
    refused("advise " SMALL " --batch 1000000000000", "--memory");
    refused("advise " SMALL " --draws 1000000000000", "--memory");
    /* The matrix between 300 samples, its eigenvectors and their workspace: 2.06 MiB. */
    refused("predict --model mlp:4-5-3 --data gauss:k=3,d=4,n=300 -q --memory 2000000",
            "--exact-samples");
    refused("advise " SMALL " --levels 1", "--levels");
    refused("advise " SMALL " --momentum 1", "--momentum");
    refused("advise " SMALL " --batch 1,2", "--batch");
    refused("advise " SMALL " --step 0.1,0.2", "--step");
    refused("advise " SMALL " --draws 1", "--draws");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_pair),
                                       cmocka_unit_test(several_pairs),
                                       cmocka_unit_test(infinite_losses),
                                       cmocka_unit_test(other_optimizers),
                                       cmocka_unit_test(own_steps),
                                       cmocka_unit_test(advice),
                                       cmocka_unit_test(preconditioned_sharpness),
                                       cmocka_unit_test(recorded),
                                       cmocka_unit_test(refusals)};
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "dynamics");
    return folder_remove(NULL) ? 1 : failed;
}
