/* spectrum --solver slepc as a user has it: the same document as ARPACK's, vectors in shares that
 * arrive whole in a file, and what is refused or chosen. The solver itself: ranks_eigen.c. */
#include "support.h"

#include "ranks.h"

#include "base/memory.h"
#include "data/npy.h"

#define SMALL "spectrum --model mlp:50-30-10 --data gauss:n=100 --method lanczos --k 6"
/* 99910 parameters: 11 vectors are more than is put together on every rank. */
#define WIDE "spectrum --model mlp:100-900-10 --data gauss:d=100,n=60 --method lanczos --k 11"

static void refused(void **state)
{
    (void)state;
    expect_refusal(
        program(SMALL " --solver slepc"), 2,
        "gradiometer: --solver: found 'slepc', but this program was built without SLEPc, "
        "expected arpack or block (gradiometer-mpi has it, if SLEPc was there to build it with)\n");
    expect_refusal(
        mpirun("-n 2 " RANKS " spectrum --model mlp:50-30-10 --data gauss:n=100 --method density "
               "--deflate 3 --solver slepc"),
        2,
        "gradiometer-mpi: --solver: found 'slepc', which keeps no whole vectors, expected "
        "arpack or block for --method density\n");
    /* Before its 20 GB of parameters are there. */
    expect_refusal(mpirun("-n 2 " RANKS " spectrum --model mlp:784-50000-50000-10 --data "
                          "gauss:d=784,n=4 --method lanczos --k 1 --solver slepc --memory 900G"),
                   2,
                   "gradiometer-mpi: --solver slepc: mlp:784-50000-50000-10 has 2539800010 "
                   "parameters, expected at most 2147483647, what the integers of this PETSc count "
                   "(--with-64-bit-indices has more)\n");
}

static const json_t *numbers_of(const json_t *document, const char *key, size_t count)
{
    const json_t *list = json_object_get(document, key);
    assert_int_equal(json_array_size(list), count);
    return list;
}

/* At either end and both: eigenvalues within the sum of the two tolerances, 1e-10 of the largest
 * each, of ARPACK's; residuals below it; nothing of PETSc's on standard error. */
static void like_arpack(void **state)
{
    (void)state;
    static const char *const ends[] = {"LA", "BE", "LM"};
    for (size_t e = 0; e < 3; e++) {
        json_t *one = program_document(program(SMALL " --which %s --json -q", ends[e]));
        json_t *many = program_document(mpirun(
            "-n %zu " RANKS " " SMALL " --solver slepc --which %s --json -q", 1 + e, ends[e]));
        assert_non_null(one);
        assert_non_null(many);
        expect_same("eigenvalues", numbers_of(one, "eigenvalues", 6),
                    numbers_of(many, "eigenvalues", 6), 2e-10, 0);
        assert_string_equal(json_string_value(json_object_get(many, "solver")), "slepc");
        assert_true(json_is_true(json_object_get(many, "converged")));
        double scale = largest(json_object_get(many, "eigenvalues"));
        assert_true(largest(numbers_of(many, "residuals", 6)) <= 1e-10 * scale);
        assert_true(program_number(many, "products") ==
                    program_number(many, "solver_products") + 6);
        json_decref(one);
        json_decref(many);
    }
}

static double *vectors_of(const char *path, size_t count)
{
    gm_npy *file;
    assert_int_equal(gm_npy_open(path, &file, NULL), GM_OK);
    assert_int_equal(file->count, count);
    double *values = gm_alloc(count, sizeof *values, "vectors", NULL);
    assert_int_equal(gm_npy_read(file, count, values, NULL), GM_OK);
    gm_npy_close(file);
    unlink(path);
    return values;
}

/* Vectors that no rank ever holds whole, against ARPACK's: equal but for the sign, to the residual
 * (1e-4 of the largest value in f32) over the gap, of which the smallest here is a percent of it.
 */
static void vectors_in_shares(void **state)
{
    (void)state;
    enum { K = 11, P = 99910 };
    json_t *one =
        program_document(program(WIDE " --export-vectors mpi_one.npy --tol 1e-6 --json -q"));
    json_t *many = program_document(
        mpirun("-n 3 " RANKS " " WIDE
               " --solver slepc --tol 1e-6 --export-vectors mpi_many.npy --json -q"));
    assert_non_null(one);
    assert_non_null(many);
    expect_same("eigenvalues", numbers_of(one, "eigenvalues", K),
                numbers_of(many, "eigenvalues", K), 1e-5, 0);
    double *a = vectors_of("mpi_one.npy", (size_t)K * P);
    double *b = vectors_of("mpi_many.npy", (size_t)K * P);
    for (size_t j = 0; j < K; j++) {
        double dot = 0;
        for (size_t i = 0; i < P; i++) {
            dot += a[j * P + i] * b[j * P + i];
        }
        if (!(fabs(fabs(dot) - 1) < 1e-4)) fail_msg("vector %zu: |cos| = %.9g", j + 1, fabs(dot));
    }
    gm_free(a);
    gm_free(b);
    json_decref(one);
    json_decref(many);
}

/* Where the vectors of the usual solver do not fit, this one is taken, and says why. */
static void chosen(void **state)
{
    (void)state;
    const char *command = WIDE " --memory 38M --json -q";
    program_result alone = program("%s", command);
    assert_int_equal(alone.exit, 2);
    assert_non_null(strstr(alone.err, "--memory: the basis of the eigenproblem takes"));
    program_free(&alone);
    json_t *many = program_document(mpirun("-n 2 " RANKS " %s", command));
    assert_non_null(many);
    assert_string_equal(json_string_value(json_object_get(many, "solver")), "slepc");
    bool said = false;
    for (size_t i = 0; i < json_array_size(json_object_get(many, "notes")); i++) {
        const char *note = json_string_value(json_array_get(json_object_get(many, "notes"), i));
        said = said || strstr(note, "slepc splits them over the ranks");
    }
    assert_true(said);
    json_decref(many);
}

/* Down to a basis that fits; below the smallest it is refused. */
static void basis_that_fits(void **state)
{
    (void)state;
    /* 14 vectors and 3 beside them, 11 of the result, of 33304 rows in doubles: 7.115 MiB. */
    const char *command = WIDE " --solver slepc --json -q --memory";
    json_t *many = program_document(mpirun("-n 3 " RANKS " %s 7.2M", command));
    assert_non_null(many);
    bool said = false;
    for (size_t i = 0; i < json_array_size(json_object_get(many, "notes")); i++) {
        const char *note = json_string_value(json_array_get(json_object_get(many, "notes"), i));
        said = said || strstr(note, "14 Krylov vectors, what --memory leaves room for; 23 would");
    }
    assert_true(said);
    assert_true(json_is_true(json_object_get(many, "converged")));
    json_decref(many);
    program_result few = mpirun("-n 3 " RANKS " %s 7M", command);
    assert_int_equal(few.exit, 2);
    assert_non_null(strstr(few.err, "--memory: the basis of the eigenproblem takes 7.115 MiB"));
    program_free(&few);
}

int main(int argc, char **argv)
{
    ranks_prepare();
    const struct CMUnitTest tests[] = {cmocka_unit_test(refused), cmocka_unit_test(like_arpack),
                                       cmocka_unit_test(vectors_in_shares),
                                       cmocka_unit_test(chosen), cmocka_unit_test(basis_that_fits)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "mpi_eigen");
}
