/* spectrum and decompose by ranks that hold a share of the samples each, against one process. */
#include "support.h"

#include "ranks.h"

#define NET "--seed 3 --model mlp:6-5-4,act=tanh --data gauss:k=4,d=6,n=23 "

static const int all[] = {2, 3, 4, 0}, two[] = {2, 0}, three[] = {3, 0};

/* Sums over samples differ in the last digits, and eigenvalues by as much in parts of the largest;
 * a residual is itself made of rounding. */
#define ROUNDING 1e-9

static void dense(void **state)
{
    (void)state;
    expect_same_documents(all, ROUNDING, "spectrum " NET "--method dense");
}

static void gram(void **state)
{
    (void)state;
    expect_same_documents(three, ROUNDING, "spectrum " NET "--operator covariance --standardize");
    expect_same_documents(two, ROUNDING,
                          "spectrum --model mlp:6-9-4 --data gauss:k=4,d=6,n=11 --operator ggn");
}

static void lanczos(void **state)
{
    (void)state;
    expect_same_documents(three, 1e-8, "spectrum " NET "--method lanczos --k 4 --which BE");
    expect_same_documents(two, 1e-8,
                          "spectrum " NET "--method lanczos --solver block --k 2 --layer dense2");
}

/* Probes shared out, one after the other; more ranks than probes. Then samples, which are more than
 * a quarter of a rank's memory. */
static void density(void **state)
{
    (void)state;
    expect_same_documents((int[]){2, 4, 0}, 0.0,
                          "spectrum " NET "--method density --steps 12 --probes 3");
    expect_same_documents(two, ROUNDING,
                          "spectrum --model mlp:50-4 --data gauss:k=4,d=50,n=2000 --memory 2M "
                          "--method density --steps 8 --probes 2");
    expect_same_documents(two, 1e-8,
                          "spectrum " NET "--method density --steps 12 --probes 3 --deflate 2");
}

static void estimates(void **state)
{
    (void)state;
    expect_same_documents(three, ROUNDING, "spectrum " NET "--method trace --max-products 30");
    expect_same_documents(two, ROUNDING,
                          "spectrum " NET "--method trace --estimator hutchinson --rel-error 0.2");
    expect_same_documents(two, ROUNDING,
                          "spectrum " NET
                          "--method diagonal --random-labels 0.2 --operator gn_residual");
}

static void resamples(void **state)
{
    (void)state;
    expect_same_documents(two, ROUNDING,
                          "spectrum " NET "--method trace --max-products 30 --data-resample 3");
    expect_same_documents(three, 1e-8, "spectrum " NET "--method lanczos --k 2 --data-resample 2");
}

/* Two samples for four ranks. */
static void few_samples(void **state)
{
    (void)state;
    expect_same_documents((int[]){4, 0}, ROUNDING,
                          "spectrum " NET "--subset 2 --method trace --max-products 30");
}

static void decompose(void **state)
{
    (void)state;
    expect_same_documents(all, 1e-7, "decompose " NET "--k 4");
    expect_same_documents(two, 1e-7, "decompose " NET "--k 3 --method products --batch 5");
}

int main(int argc, char **argv)
{
    ranks_prepare();
    const struct CMUnitTest tests[] = {cmocka_unit_test(dense),       cmocka_unit_test(gram),
                                       cmocka_unit_test(lanczos),     cmocka_unit_test(density),
                                       cmocka_unit_test(estimates),   cmocka_unit_test(resamples),
                                       cmocka_unit_test(few_samples), cmocka_unit_test(decompose)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "mpi_spectrum");
}
