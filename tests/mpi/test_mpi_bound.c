/* bound: draws from the posterior shared out over ranks. */
#include "support.h"

#include "ranks.h"

static const int two[] = {2, 0}, three[] = {3, 0};

static void draws(void **state)
{
    (void)state;
    unlink("mpi_bound.gmr");
    program_result trained =
        program("train -q --model mlp:6-5-4 --data gauss:k=4,d=6,n=60 --steps 50 --batch 10 --step "
                "0.2 -o mpi_bound.gmr");
    assert_int_equal(trained.exit, 0);
    program_free(&trained);
    /* Sums of losses in another grouping; one draw after the other, bit for bit. */
    expect_same_documents(two, 1e-9, "bound --params mpi_bound.gmr --draws 40 --measures fast");
    expect_same_documents(three, 0.0,
                          "bound --params mpi_bound.gmr --draws 40 --whole-draws --measures none");
    unlink("mpi_bound.gmr");
}

int main(int argc, char **argv)
{
    ranks_prepare();
    const struct CMUnitTest tests[] = {cmocka_unit_test(draws)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "mpi_bound");
}
