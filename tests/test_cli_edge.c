/* The edge of stability, by experiment (theory section 3.5): a small tanh net under squared loss,
 * trained through the program.
 *
 * Full-batch descent brings lambda_max to 2/eta and stays there; with heavy ball it comes to
 * (2 + 2 beta)/eta; with batches of 8 the Batch Sharpness comes to 2/eta and lambda_max stays
 * below. Tolerances: 2 % and 3 % of the threshold for the two descents (seen: 0.2 % and 0.5 %),
 * whose lambda_max oscillates by a percent; 10 % for the mini-batches' mean over 100 measurements,
 * whose standard error is 1.4 % and which still climbs (seen: 2 to 6 % below). */
#include "support.h"

#include <math.h>

#include "program.h"

#define NET                                                                                        \
    "train --json -q --threads 1 --precision f64 --model mlp:10-16-4,act=tanh --loss squared "     \
    "--data gauss:k=4,d=10,n=100 "

/* The followed eigenvalues of steps first ... : their mean, and the largest distance from it. */
static double plateau(const json_t *document, int64_t first, double *spread)
{
    const json_t *s = json_object_get(json_object_get(document, "track"), "spectrum");
    const json_t *step = json_object_get(s, "steps"), *value = json_object_get(s, "eigenvalues");
    double mean = 0, low = INFINITY, high = -INFINITY, count = 0;
    for (size_t i = 0; i < json_array_size(step); i++) {
        if (json_integer_value(json_array_get(step, i)) < first) continue;
        double x = json_number_value(json_array_get(json_array_get(value, i), 0));
        mean += x;
        low = fmin(low, x);
        high = fmax(high, x);
        count++;
    }
    assert_true(count > 3);
    *spread = high - low;
    return mean / count;
}

static void near_threshold(double found, double threshold, double share)
{
    if (!(fabs(found / threshold - 1) <= share))
        fail_msg("found %.4g, threshold %.4g", found, threshold);
}

static void full_batch(void **state)
{
    (void)state;
    json_t *d =
        program_document(program(NET "--batch 100 --replacement no --step 0.4 --steps 3000 --track "
                                     "spectrum:k=1,every=100,tol=1e-4"));
    double spread, start;
    near_threshold(plateau(d, 1500, &spread), 5.0, 0.02);
    assert_true(spread < 0.2);
    const json_t *s = json_object_get(json_object_get(d, "track"), "spectrum");
    start =
        json_number_value(json_array_get(json_array_get(json_object_get(s, "eigenvalues"), 0), 0));
    assert_true(start < 4.5); /* it came there from below */
    json_decref(d);
}

static void heavy_ball(void **state)
{
    (void)state;
    json_t *d = program_document(
        program(NET "--batch 100 --replacement no --step 0.6 --momentum 0.5 --steps 2400 --track "
                    "spectrum:k=1,every=100,tol=1e-4"));
    double spread;
    near_threshold(plateau(d, 1200, &spread), 5.0, 0.03); /* 3 / 0.6; 2/eta is 3.33 */
    json_decref(d);
}

static void batches_of_eight(void **state)
{
    (void)state;
    json_t *d = program_document(program(
        NET "--batch 8 --step 0.6 --steps 8000 --track "
            "'spectrum:k=1,every=500,tol=1e-4;gauges:every=10,curvature=1,memory=100,alarm=12'"));
    const json_t *g = json_object_get(json_object_get(d, "track"), "gauges");
    double spread, threshold = 2 / 0.6, top = plateau(d, 4000, &spread);
    near_threshold(program_number(json_object_get(g, "batch_sharpness"), "value"), threshold, 0.1);
    assert_true(top < 0.8 * threshold);
    json_decref(d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_batch), cmocka_unit_test(heavy_ball),
                                       cmocka_unit_test(batches_of_eight)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "edge of stability");
}
