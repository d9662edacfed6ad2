/* Cells of a study shared out over ranks: the index, failures and all, is that of one process. */
#include "support.h"

#include "ranks.h"

static const char study[] = "name: ranks\n"
                            "title: Cells over ranks\n"
                            "question: Is the index the same?\n"
                            "data:\n"
                            "  - name: g\n"
                            "    train: gauss:k=3,d=4,n=12,sep=2,seed=1\n"
                            "model: [\"mlp:4-3-3\"]\n"
                            "batch: [3, 4, 6]\n"
                            "seed: [1]\n"
                            "step: [0.1]\n"
                            "steps: 5\n"
                            "measure:\n"
                            "  - run: spectrum --k 3\n"
                            "    at: [end]\n"
                            "  - name: stopped\n"
                            "    run: spectrum --method lanczos --k 1 --max-products 2\n"
                            "    at: [end]\n"
                            "    only:\n"
                            "      batch: [4, 6]\n";

static json_t *index_of(program_result result)
{
    /* Two cells fail, the others are finished. */
    if (result.exit != 1 || !strstr(result.err, "2 of 3 cells failed; 1 are finished"))
        fail_msg("exit status %d: %s%s", result.exit, result.out, result.err);
    program_free(&result);
    json_t *index = json_load_file("mpi_study/index.json", 0, NULL);
    assert_non_null(index);
    assert_int_equal(system("rm -rf mpi_study"), 0);
    return index;
}

static void cells(void **state)
{
    (void)state;
    FILE *file = fopen("mpi_study.yaml", "w");
    assert_non_null(file);
    fputs(study, file);
    fclose(file);
    assert_int_equal(system("rm -rf mpi_study"), 0);
    json_t *one = index_of(program("study mpi_study.yaml -o mpi_study --jobs 2 -q"));
    json_t *two = index_of(mpirun("-n 2 " RANKS " study mpi_study.yaml -o mpi_study --jobs 1 -q"));
    expect_same("index", one, two, 0.0, 0.0);
    json_decref(one);
    json_decref(two);
    unlink("mpi_study.yaml");
}

/* What rank 0 finds out alone, all say with one voice. */
static void refusal(void **state)
{
    (void)state;
    expect_refusal(mpirun("-n 2 " RANKS " study nowhere.yaml -o mpi_study"), 2,
                   "gradiometer-mpi: nowhere.yaml: No such file or directory\n");
}

int main(int argc, char **argv)
{
    ranks_prepare();
    const struct CMUnitTest tests[] = {cmocka_unit_test(cells), cmocka_unit_test(refusal)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "mpi_study");
}
