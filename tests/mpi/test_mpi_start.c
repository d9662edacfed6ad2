/* gradiometer-mpi begins and ends: what is printed once whatever the number of ranks, and how a job
 * ends whose ranks fail, all of them or one alone. */
#include "support.h"

#include "ranks.h"

static void once(void **state)
{
    (void)state;
    for (int n = 1; n <= 4; n += 3) {
        program_result result = mpirun("-n %d " RANKS " --version", n);
        assert_int_equal(result.exit, 0);
        assert_string_equal(result.err, "");
        assert_ptr_equal(strstr(result.out, "gradiometer-mpi "), result.out);
        assert_true(program_one_line(result.out));
        program_free(&result);
    }
}

/* A command without parts runs on rank 0, as the plain program does. */
static void alone(void **state)
{
    (void)state;
    const char *command = "data --data gauss:n=30";
    expect_same_documents((int[]){2, 0}, 0.0, command);
    json_t *three = program_document(mpirun("-n 3 " RANKS " %s --json -q", command));
    assert_non_null(three);
    json_t *note = json_array_get(json_object_get(three, "notes"), 0);
    assert_non_null(strstr(json_string_value(note), "3 ranks: rank 0 works alone"));
    json_decref(three);
}

static void all_fail(void **state)
{
    (void)state;
    expect_refusal(mpirun("-n 3 " RANKS " spectrum --modell x"), 2,
                   "gradiometer-mpi: --modell: no such option of 'spectrum', expected one that "
                   "'gradiometer help spectrum' lists\n");
}

int main(int argc, char **argv)
{
    ranks_prepare();
    const struct CMUnitTest tests[] = {cmocka_unit_test(once), cmocka_unit_test(alone),
                                       cmocka_unit_test(all_fail)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "mpi_start");
}
