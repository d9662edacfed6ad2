/* dynamics: ensembles and draws shared out over ranks, the rest by joined sums. */
#include "support.h"

#include "ranks.h"

#define NET  "--seed 3 --model mlp:6-5-4 --data gauss:k=4,d=6,n=23 "
#define RUNS "dynamics ensemble " NET "--runs 11 --steps 6 --batch 4 --step 0.2 --record all "

static const int all[] = {2, 3, 4, 0}, two[] = {2, 0}, three[] = {3, 0};

/* Bit for bit, also of the statistics of sketches and of a net without tiles; more ranks than runs.
 */
static void ensembles(void **state)
{
    (void)state;
    expect_same_documents(all, 0.0, RUNS);
    expect_same_documents(two, 0.0, RUNS "--exact-runs 1 --init fresh");
    expect_same_documents(
        three, 0.0,
        "dynamics ensemble --runs 2 --steps 4 --batch 4 --model mlp:6-5-4,act=tanh "
        "--data gauss:k=4,d=6,n=23 --precondition rmsprop");
}

/* Begun with two ranks, carried on with three, ended by one process: the same file as at once. */
static void continued(void **state)
{
    (void)state;
    json_t *once = program_document(program("%s --json -q", RUNS));
    unlink("mpi_dynamics.gmr");
    static const char *const more = "dynamics ensemble " NET "--steps 6 --batch 4 --step 0.2 "
                                    "--record all --json -q -o mpi_dynamics.gmr";
    json_decref(program_document(mpirun("-n 2 " RANKS " %s --runs 4 --keep-runs 1", more)));
    json_decref(program_document(mpirun("-n 3 " RANKS " %s --runs 8 --keep-runs 1", more)));
    json_t *last = program_document(program("%s --runs 11 --keep-runs 1", more));
    assert_non_null(once);
    assert_non_null(last);
    static const char *const keys[] = {"runs", "loss", "quantities"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(once, keys[i]);
        if (value) expect_same(keys[i], value, json_object_get(last, keys[i]), 0.0, 0.0);
    }
    json_decref(once);
    json_decref(last);
    unlink("mpi_dynamics.gmr");
}

static void predictions(void **state)
{
    (void)state;
    expect_same_documents(three, 1e-9, "dynamics predict " NET "--batch 4 --step 0.2 --draws 40");
    expect_same_documents(two, 1e-8, "dynamics advise " NET "--batch 4 --step 0.2");
    expect_same_documents(two, 1e-7, "dynamics stability " NET "--batch 2,8");
}

/* Points of a slice shared out, its directions and model by joined sums. */
static void landscape(void **state)
{
    (void)state;
    expect_same_documents(three, 1e-7,
                          "landscape " NET "--points 9 --dimensions 2 --test-data "
                          "gauss:k=4,d=6,n=10");
}

int main(int argc, char **argv)
{
    ranks_prepare();
    const struct CMUnitTest tests[] = {cmocka_unit_test(ensembles), cmocka_unit_test(continued),
                                       cmocka_unit_test(predictions), cmocka_unit_test(landscape)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "mpi_dynamics");
}
