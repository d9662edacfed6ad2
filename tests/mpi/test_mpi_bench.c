/* gradiometer-mpi bench: its document, whose parts add up, and the model that it prints. No figure
 * is compared with anything: machines and their loads differ. */
#include "support.h"

#include <math.h>

#include "ranks.h"

static double member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number %s", key);
    return json_number_value(value);
}

/* T(N) with the numbers of the document. */
static double model(const json_t *cost, const json_t *ahead, double ranks, double slowdown,
                    double samples, double parameters)
{
    double pieces = ceil(parameters / (1 << 18));
    return slowdown * (member(cost, "fixed") + member(cost, "sample") * ceil(samples / ranks)) +
           2 * (ranks - 1) * pieces * member(ahead, "latency") +
           2 * (ranks - 1) / ranks * 8 * parameters / member(ahead, "bandwidth");
}

static void document(void **state)
{
    (void)state;
    json_t *d =
        program_document(mpirun("-n 2 " RANKS " bench --quick --model mlp:20-30-4 --latency "
                                "2 --bandwidth 10 --for-samples 1e6 --json -q"));
    assert_non_null(d);
    const json_t *lines = json_object_get(d, "products"), *cost = json_object_get(d, "cost_model");
    const json_t *ahead = json_object_get(d, "ahead"), *more = json_object_get(ahead, "ranks");
    assert_int_equal(json_array_size(lines), 2);
    assert_int_equal(json_array_size(more), 8);
    for (size_t i = 0; i < 2; i++) {
        const json_t *line = json_array_get(lines, i);
        assert_int_equal(json_integer_value(json_object_get(line, "ranks")), 1 + i);
        double sum = member(line, "compute") + member(line, "wait") + member(line, "reduction");
        assert_true(fabs(sum / member(line, "seconds") - 1) < 1e-9);
        assert_true(member(line, "predicted") > 0);
        assert_true(i ? member(line, "slowdown") > 0 : member(line, "slowdown") == 1);
    }
    assert_true(member(json_array_get(lines, 1), "against_threads") > 0);
    assert_true(member(json_array_get(lines, 1), "ensemble_against_threads") > 0);
    assert_true(member(ahead, "latency") == 2e-6 && member(ahead, "bandwidth") == 1e10);
    double ranks = 8, slowdown = member(ahead, "slowdown");
    for (size_t i = 0; i < 8; i++, ranks *= 2) {
        const json_t *line = json_array_get(more, i);
        double expected = model(cost, ahead, ranks, slowdown, 1e6, 754),
               found = member(line, "seconds");
        assert_true(member(line, "ranks") == ranks);
        if (fabs(found / expected - 1) > 1e-9)
            fail_msg("%g ranks: %g s, the model says %g", ranks, found, expected);
        double one = model(cost, ahead, 1, 1, 1e6, 754);
        assert_true(fabs(member(line, "efficiency") * found * ranks / one - 1) < 1e-9);
    }
    json_decref(d);
}

static void refusal(void **state)
{
    (void)state;
    expect_refusal(mpirun("-n 1 " RANKS " bench --quick"), 2,
                   "gradiometer-mpi: bench: found 1 rank, expected more (mpirun -n 4 "
                   "gradiometer-mpi bench); 'gradiometer bench' times one process\n");
}

int main(int argc, char **argv)
{
    ranks_prepare();
    const struct CMUnitTest tests[] = {cmocka_unit_test(document), cmocka_unit_test(refusal)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "mpi_bench");
}
