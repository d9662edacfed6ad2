/* Every command, with every option that changes what is computed or who computes it: its document
 * with 1, 2, 3 and 4 ranks against the plain program's. Not part of CI (make test-mpi-all): some
 * minutes. What CI has of it is in test_mpi_*.c. */
#include "support.h"

#include "ranks.h"

#define SET      "--data gauss:k=4,d=6,n=23 "
#define NET      "--seed 3 --model mlp:6-5-4,act=tanh " SET
#define RUN      "--params walk.gmr "
#define MPI_ONLY "+" /* the plain program has no such solver: ranks against one rank */

typedef struct walk_case {
    double tolerance; /* relative to the largest number of an array; 0: bit for bit */
    const char *command;
} walk_case;

/* Sums over samples differ in the last digits. Eigenvectors, and what hangs on them, by that over
 * the gap; results of iterations by their own tolerance, 1e-10 unless another is given. */
static const walk_case cases[] = {
    /* rank 0 alone */
    {0, "data --data gauss:k=4,d=6,n=23 --standardize"},
    {0, "train --seed 3 --model mlp:6-5-4 " SET "--steps 12 --batch 5 --step 0.1"},
    {0, "train --seed 3 --model mlp:6-5-4 " SET "--steps 12 --batch 5 --step 0.1 --track gauges"},
    {0, "spectrum --matrix walk.mtx"},
    {0, "spectrum --matrix walk.mtx --method lanczos --k 3"},
    {0, "bound rescale " RUN "--draws 20"},
    /* spectrum: methods */
    {1e-9, "spectrum " NET},
    {1e-9, "spectrum " NET "--method dense --k 5"},
    {1e-8, "spectrum " NET "--method lanczos --k 4 --which LA"},
    {1e-8, "spectrum " NET "--method lanczos --k 4 --which SA"},
    {1e-8, "spectrum " NET "--method lanczos --k 4 --which BE"},
    {1e-8, "spectrum " NET "--method lanczos --k 4 --which LM --tol 1e-6"},
    {1e-8, "spectrum " NET "--method lanczos --solver block --k 4"},
    {1e-8, "spectrum " NET "--method lanczos --solver block --k 3 --which BE"},
    {1e-8, MPI_ONLY "spectrum " NET "--method lanczos --solver slepc --k 4"},
    {1e-8, MPI_ONLY "spectrum " NET "--method lanczos --solver slepc --k 4 --which BE"},
    {0, "spectrum " NET "--method density --steps 10 --probes 3"},
    {0, "spectrum " NET "--method density --steps 10 --probes 3 --log-det 3 --count 0.1,inf"},
    {1e-8, "spectrum " NET "--method density --steps 10 --probes 3 --deflate 2"},
    {1e-9, "spectrum " NET "--method trace --max-products 30"},
    {1e-9, "spectrum " NET "--method trace --max-products 30 --estimator hutchinson"},
    {1e-9, "spectrum " NET "--method trace --rel-error 0.2 --estimator hutchinson"},
    {1e-9, "spectrum " NET "--method trace --max-products 30 --estimator hutchpp"},
    {1e-9, "spectrum " NET "--method trace --rel-error 0.05"},
    {1e-9, "spectrum " NET "--method diagonal"},
    {1e-9, "spectrum " NET "--method diagonal --estimator hutchinson --max-products 20"},
    {1e-9, "spectrum " NET "--method diagonal --estimator xdiag --max-products 20"},
    /* spectrum: operators */
    {1e-9, "spectrum " NET "--operator ggn"},
    {1e-9, "spectrum " NET "--operator moment"},
    {1e-9, "spectrum " NET "--operator covariance"},
    {1e-9, "spectrum " NET "--operator gn_residual"},
    {1e-8, "spectrum " NET "--operator ggn --method lanczos --k 3"},
    {1e-8, "spectrum " NET "--operator covariance --method lanczos --k 3"},
    {1e-9, "spectrum " NET "--operator moment --method trace --max-products 20"},
    {1e-9, "spectrum " NET "--operator gn_residual --method diagonal"},
    /* spectrum: data, layers, points */
    {1e-9, "spectrum " NET "--subset 11"},
    {1e-9, "spectrum " NET "--subset 2"},
    {1e-9, "spectrum " NET "--random-labels 0.3"},
    {1e-9, "spectrum " NET "--standardize"},
    {1e-9, "spectrum " NET "--loss squared"},
    {1e-9, "spectrum " NET "--layer dense2"},
    {1e-9, "spectrum " NET "--layers each"},
    {1e-4, "spectrum " NET "--precision f32"},
    {1e-3, "spectrum " NET "--precision f32 --method lanczos --k 3 --tol 1e-4"},
    {1e-9, "spectrum --model cnn:2 --data idx:walk-images,walk-labels"},
    {1e-9, "spectrum --model mlp:16-5-3 --data npy:walk-x.npy,walk-y.npy"},
    {1e-9, "spectrum --model mlp:6-5-4 --data csv:walk.csv --subset 17 --random-labels 0.2"},
    {1e-9, "spectrum " RUN},
    {1e-8, "spectrum --params walk.gmr@all --method lanczos --k 3"},
    {1e-9, "spectrum " RUN "--precondition diag-moment"},
    {1e-8, "spectrum " RUN "--precondition diag-hessian --method lanczos --k 3"},
    {1e-9, "spectrum " NET "--data-resample 3"},
    {1e-8, "spectrum " NET "--data-resample 3 --method lanczos --k 2"},
    {1e-9, "spectrum " NET "--data-resample 3 --method density --steps 8 --probes 2"},
    {1e-9, "spectrum " NET "--data-resample 3 --method trace --max-products 20"},
    /* decompose */
    {1e-7, "decompose " NET "--k 4"},
    {1e-7, "decompose " NET "--k 3 --method products"},
    {1e-7, "decompose " NET "--k 3 --method products --batch 5"},
    {1e-7, "decompose " NET "--k 3 --gn-residual --by-magnitude"},
    {1e-7, "decompose " NET "--k 3 --layers each"},
    {1e-7, "decompose --params walk.gmr@all --k 3"},
    /* dynamics */
    {0, "dynamics ensemble " NET "--runs 9 --steps 6 --batch 4 --step 0.2 --record all"},
    {0, "dynamics ensemble " NET "--runs 9 --steps 6 --batch 4 --step 0.2 --exact-runs 2"},
    {0, "dynamics ensemble " NET "--runs 5 --steps 6 --batch 4 --step 0.2 --init fresh"},
    {0, "dynamics ensemble " NET "--runs 5 --steps 6 --batch 4 --optimizer adam --step 0.01"},
    {0, "dynamics ensemble " NET "--runs 5 --steps 4 --batch 4 --precondition rmsprop"},
    {0, "dynamics ensemble " RUN "--runs 5 --steps 4"},
    {1e-9, "dynamics predict " NET "--batch 4,8 --step 0.2 --draws 40"},
    {1e-9, "dynamics predict " RUN "--draws 40"},
    {1e-8, "dynamics advise " NET "--batch 4 --step 0.2"},
    {1e-7, "dynamics stability " NET "--batch 2,8"},
    {1e-6, "dynamics stability " RUN "--batch 4 --observe 20 --horizon 4"},
    {1e-8, "dynamics martingale " RUN "--draws 30"},
    {1e-8, "dynamics phases " RUN},
    /* bound */
    {1e-9, "bound " RUN "--draws 40 --measures fast"},
    {1e-8, "bound " RUN "--draws 40 --measures all"},
    {0, "bound " RUN "--draws 40 --measures none --whole-draws"},
    {1e-9, "bound " RUN "--draws 40 --measures none --optimize 20"},
    {1e-9, "bound " RUN "--draws 40 --form linear --measures none --test-data gauss:k=4,d=6,n=9"},
    /* landscape */
    {1e-7, "landscape " NET "--points 9 --test-data gauss:k=4,d=6,n=9"},
    {1e-7, "landscape " NET "--points 5 --dimensions 2 --test-data gauss:k=4,d=6,n=10"},
    {1e-7, "landscape " RUN "--points 9 --along random"},
    {1e-7, "landscape --params walk.gmr --points 5 --dimensions 2 --trajectory"},
};

static void must(program_result result)
{
    if (result.exit != 0) fail_msg("exit status %d: %s", result.exit, result.err);
    program_free(&result);
}

static int make_files(void **state)
{
    (void)state;
    ranks_prepare();
    FILE *matrix = fopen("walk.mtx", "w");
    if (!matrix) return -1;
    fputs("%%MatrixMarket matrix coordinate real symmetric\n60 60 60\n", matrix);
    for (int i = 1; i <= 60; i++) {
        fprintf(matrix, "%d %d %g\n", i, i, 1.0 / i);
    }
    fclose(matrix);
    unlink("walk.gmr");
    must(program("train -q --model mlp:6-5-4 " SET "--steps 20 --batch 5 --step 0.1 "
                 "--checkpoint-every 5 -o walk.gmr"));
    must(program("data " SET "-o walk.csv"));
    must(program("data --data gauss:k=3,d=16,n=23 -o walk-x.npy,walk-y.npy"));
    static const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 6, 0, 0, 0, 6};
    static const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 9};
    FILE *x = fopen("walk-images", "wb"), *y = fopen("walk-labels", "wb");
    if (!x || !y) return -1;
    fwrite(images, 1, sizeof images, x);
    fwrite(labels, 1, sizeof labels, y);
    for (int i = 0; i < 9; i++) {
        fputc(i % 3, y);
        for (int j = 0; j < 36; j++) {
            fputc((37 * i + 11 * j + i * j * j) % 256, x);
        }
    }
    fclose(x);
    fclose(y);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    return system("rm -f walk.* walk-*");
}

static void same_for_ranks(void **state)
{
    const walk_case *c = *state;
    static const int with_one[] = {1, 2, 3, 4, 0}, several[] = {2, 3, 4, 0};
    if (*c->command != *MPI_ONLY) {
        expect_same_documents(with_one, c->tolerance, c->command);
    } else {
        json_t *one = program_document(mpirun("-n 1 " RANKS " %s --json -q", c->command + 1));
        expect_like(one, several, c->tolerance, c->command + 1);
    }
}

int main(void)
{
    enum { CASES = sizeof cases / sizeof *cases };
    struct CMUnitTest tests[CASES];
    for (size_t i = 0; i < CASES; i++) {
        tests[i] = (struct CMUnitTest){.name = cases[i].command,
                                       .test_func = same_for_ranks,
                                       .initial_state = (void *)&cases[i]};
    }
    return cmocka_run_group_tests_name("walk", tests, make_files, remove_files);
}
