/* What gradiometer bench prints: the key "bench" of its document, and tables. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/bench.h"
#include "cli/document.h"
#include "gradiometer/version.h"
#include "kernels/libraries.h"

static const char *const operator_names[] = {"hessian", "ggn", "moment"};

/* ---- the machine ---- */

/* Processor as the system names it, in a buffer of `length`. */
static void processor_name(size_t length, char *name)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, length, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        snprintf(name, length, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (file) fclose(file);
}

/* Largest resident size of this program in bytes. VmHWM, unlike ru_maxrss, does not begin with that
 * of the program it was started from. */
static double peak_memory(void)
{
    char line[256];
    double kilobytes = 0.0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = strtod(line + 6, NULL);
    }
    if (file) fclose(file);
    if (kilobytes <= 0) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        kilobytes = (double)usage.ru_maxrss;
    }
    return 1024 * kilobytes;
}

static json_t *machine_value(double load)
{
    char name[128], version[64];
    const char *chosen = getenv("OPENBLAS_CORETYPE");
    gm_libraries lib;
    gm_libraries_describe(&lib);
    processor_name(sizeof name, name);
    snprintf(version, sizeof version, "%d.%d.%d", lib.onednn[0], lib.onednn[1], lib.onednn[2]);
    json_t *value = json_object(), *blas = json_object(), *onednn = json_object();
    json_object_set_new(value, "processor", json_string(name));
    json_object_set_new(value, "processors", json_integer(omp_get_num_procs()));
    json_object_set_new(value, "load", load >= 0 ? json_real(load) : json_null());
    json_object_set_new(value, "instruction_set", json_string(lib.elements));
    json_object_set_new(blas, "build", json_string(lib.blas));
    json_object_set_new(blas, "core", json_string(lib.blas_core));
    json_object_set_new(blas, "coretype", chosen ? json_string(chosen) : json_null());
    json_object_set_new(value, "openblas", blas);
    json_object_set_new(onednn, "version", json_string(version));
    json_object_set_new(onednn, "isa", json_string(lib.onednn_isa));
    json_object_set_new(value, "onednn", onednn);
    return value;
}

/* ---- parts of the document ---- */

static double speed(const gm_bench_product *product)
{
    return product->flops / product->seconds;
}

static json_t *bare_value(gm_dtype precision, const gm_bench_products *p)
{
    json_t *value = json_object();
    json_object_set_new(value, "precision", json_string(gm_dtype_name(precision)));
    json_object_set_new(value, "gflops", json_real(speed(&p->bare) / 1e9));
    json_object_set_new(value, "gflop", json_real(p->bare.flops / 1e9));
    json_object_set_new(value, "milliseconds", json_real(1e3 * p->bare.seconds));
    return value;
}

static json_t *product_value(gm_dtype precision, const gm_bench_products *p, int kind)
{
    const gm_bench_product *product = p->kind + kind;
    json_t *value = json_object();
    if (kind != GM_BENCH_GRADIENT) {
        json_object_set_new(value, "operator", json_string(operator_names[kind]));
    }
    json_object_set_new(value, "precision", json_string(gm_dtype_name(precision)));
    json_object_set_new(value, "milliseconds", json_real(1e3 * product->seconds));
    json_object_set_new(value, "per_second", json_real(1 / product->seconds));
    json_object_set_new(value, "gflop", json_real(product->flops / 1e9));
    json_object_set_new(value, "gflops", json_real(speed(product) / 1e9));
    json_object_set_new(value, "share_of_bare", json_real(speed(product) / speed(&p->bare)));
    if (kind != GM_BENCH_GRADIENT) {
        json_object_set_new(value, "gradients",
                            json_real(product->seconds / p->kind[GM_BENCH_GRADIENT].seconds));
    }
    return value;
}

static void set_products(json_t *bench, const gm_bench_results *r)
{
    json_t *bare = json_array(), *products = json_array(), *gradient = json_array();
    for (size_t i = 0; i < r->precisions; i++) {
        json_array_append_new(bare, bare_value(r->precision[i], r->products + i));
        for (int kind = GM_BENCH_H; kind <= GM_BENCH_M; kind++) {
            json_array_append_new(products, product_value(r->precision[i], r->products + i, kind));
        }
        json_array_append_new(gradient,
                              product_value(r->precision[i], r->products + i, GM_BENCH_GRADIENT));
    }
    json_object_set_new(bench, "matrix_products", bare);
    json_object_set_new(bench, "products", products);
    json_object_set_new(bench, "gradient", gradient);
}

/* Time of a solver over that of as many products with H by themselves, as measured in turn before
 * it; 0 where they were not. */
static double times_of_products(const gm_bench *bench, const gm_bench_results *r,
                                const gm_bench_time *time)
{
    if (!(bench->settings->parts & GM_BENCH_PRODUCTS)) return 0.0;
    return time->seconds / ((double)time->products * r->products[0].kind[GM_BENCH_H].seconds);
}

static void set_time(json_t *value, const gm_bench *bench, const gm_bench_time *time)
{
    double flops = (double)time->products * gm_bench_hessian_flops(bench->session);
    json_object_set_new(value, "products", json_integer((json_int_t)time->products));
    json_object_set_new(value, "seconds", json_real(time->seconds));
    json_object_set_new(value, "seconds_of_products", json_real(time->products_seconds));
    json_object_set_new(value, "own_share", json_real(gm_bench_own_share(time)));
    json_object_set_new(value, "gflops_of_products",
                        json_real(flops / time->products_seconds / 1e9));
}

static json_t *solver_value(const gm_bench *bench)
{
    json_t *value = json_object();
    json_object_set_new(value, "operator", json_string(operator_names[GM_BENCH_H]));
    json_object_set_new(value, "precision", json_string(gm_dtype_name(bench->session->precision)));
    return value;
}

static json_t *eigenpairs_value(gm_cli *cli, const gm_bench *bench, const gm_bench_eigenpairs *e)
{
    json_t *value = solver_value(bench);
    json_object_set_new(value, "k", json_integer((json_int_t)bench->settings->k));
    json_object_set_new(value, "tol", json_real(bench->tol));
    set_time(value, bench, &e->time);
    json_object_set_new(value, "converged", json_integer((json_int_t)e->converged));
    json_object_set_new(value, "worst_residual", json_real(e->worst));
    json_object_set_new(value, "dense", json_boolean(e->dense));
    json_object_set_new(value, "eigenvalues",
                        gm_json_numbers(cli, "eigenvalues", e->count, e->value));
    return value;
}

static json_t *estimate_value(gm_cli *cli, const char *what, const gm_estimate *estimate)
{
    json_t *value = json_object();
    json_object_set_new(value, "value", gm_json_number(cli, what, estimate->value));
    json_object_set_new(value, "stderr", gm_json_number(cli, what, estimate->std_error));
    return value;
}

static json_t *density_value(gm_cli *cli, const gm_bench *bench, const gm_bench_density *d)
{
    json_t *value = solver_value(bench);
    json_object_set_new(value, "probes", json_integer((json_int_t)d->probes));
    json_object_set_new(value, "steps", json_integer((json_int_t)d->steps));
    set_time(value, bench, &d->time);
    json_object_set_new(value, "largest", gm_json_number(cli, "largest node", d->max));
    json_object_set_new(value, "smallest", gm_json_number(cli, "smallest node", d->min));
    json_object_set_new(value, "trace", estimate_value(cli, "trace", &d->trace));
    json_object_set_new(value, "frobenius", estimate_value(cli, "frobenius", &d->frobenius));
    return value;
}

static json_t *dense_value(const gm_bench *bench, const gm_bench_dense *d)
{
    json_t *value = solver_value(bench);
    json_object_set_new(value, "square_gflops", json_real(d->square_speed / 1e9));
    json_object_set_new(value, "seconds_of_matrix", json_real(d->matrix));
    json_object_set_new(value, "gflop", json_real(d->flops / 1e9));
    json_object_set_new(value, "share_of_square",
                        json_real(d->flops / d->matrix / d->square_speed));
    json_object_set_new(value, "gflop_by_products", json_real(d->products_flops / 1e9));
    json_object_set_new(value, "seconds_of_eigenvalues", json_real(d->eigenvalues));
    json_object_set_new(value, "seconds", json_real(d->matrix + d->eigenvalues));
    json_object_set_new(value, "largest", json_real(d->largest));
    return value;
}

/* The first checkpoint's pairs from nothing and the others' from them, against all from nothing:
 * sums over the series, and the cost in cold starts (their mean). */
typedef struct series_sums {
    double cold_products, warm_products, cold_seconds, warm_seconds;
    double starts_by_products, starts_by_seconds;
} series_sums;

static series_sums sum_series(const gm_bench_series *series)
{
    series_sums s = {0};
    for (size_t i = 0; i < series->count; i++) {
        const gm_bench_point *point = series->point + i;
        const gm_bench_time *warm = i == 0 ? &point->cold : &point->warm;
        s.cold_products += (double)point->cold.products;
        s.cold_seconds += point->cold.seconds;
        s.warm_products += (double)warm->products;
        s.warm_seconds += warm->seconds;
    }
    s.starts_by_products = (double)series->count * s.warm_products / s.cold_products;
    s.starts_by_seconds = (double)series->count * s.warm_seconds / s.cold_seconds;
    return s;
}

static json_t *series_value(const gm_bench *bench, const gm_bench_series *series)
{
    series_sums sums = sum_series(series);
    json_t *value = solver_value(bench), *points = json_array();
    for (size_t i = 0; i < series->count; i++) {
        const gm_bench_point *point = series->point + i;
        json_t *entry = json_object(), *cold = json_object(), *warm = json_object();
        json_object_set_new(entry, "step", json_integer(point->step));
        set_time(cold, bench, &point->cold);
        json_object_set_new(cold, "converged", json_integer((json_int_t)point->cold_converged));
        json_object_set_new(entry, "cold", cold);
        if (i == 0) {
            json_decref(warm);
            warm = json_null();
        } else {
            set_time(warm, bench, &point->warm);
            json_object_set_new(warm, "converged", json_integer((json_int_t)point->warm_converged));
            json_object_set_new(warm, "blocks", json_integer((json_int_t)point->warm.blocks));
            json_object_set_new(warm, "difference", json_real(point->difference));
        }
        json_object_set_new(entry, "warm", warm);
        json_array_append_new(points, entry);
    }
    json_object_set_new(value, "k", json_integer((json_int_t)bench->settings->k));
    json_object_set_new(value, "tol", json_real(bench->tol));
    json_object_set_new(value, "cold_starts_by_products", json_real(sums.starts_by_products));
    json_object_set_new(value, "cold_starts_by_seconds", json_real(sums.starts_by_seconds));
    json_object_set_new(value, "points", points);
    return value;
}

static json_t *ensemble_value(const gm_bench_ensemble *e)
{
    json_t *value = json_object(), *linear = json_array();
    for (int i = 0; i < 2; i++) {
        json_array_append_new(linear, json_pack("{s:I, s:f}", "runs", (json_int_t)e->runs[i],
                                                "microseconds", 1e6 * e->seconds[i]));
    }
    json_object_set_new(value, "model", json_string(e->model));
    json_object_set_new(value, "precision", json_string(gm_dtype_name(e->precision)));
    json_object_set_new(value, "parameters", json_integer((json_int_t)e->parameters));
    json_object_set_new(value, "samples", json_integer((json_int_t)e->samples));
    json_object_set_new(value, "batch", json_integer((json_int_t)e->batch));
    json_object_set_new(value, "steps", json_integer((json_int_t)e->steps));
    json_object_set_new(value, "way", json_string(e->tiled ? "tiles" : "problem"));
    json_object_set_new(value, "microseconds", json_real(1e6 * e->seconds[1]));
    json_object_set_new(value, "problem_microseconds", json_real(1e6 * e->problem_seconds));
    json_object_set_new(value, "by_runs", linear);
    json_object_set_new(value, "bare_gflops", json_real(e->square_speed / 1e9));
    double speed = e->flops / e->seconds[1];
    json_object_set_new(value, "mflop", e->tiled ? json_real(e->flops / 1e6) : json_null());
    json_object_set_new(value, "gflops", e->tiled ? json_real(speed / 1e9) : json_null());
    json_object_set_new(value, "share_of_bare",
                        e->tiled ? json_real(speed / e->square_speed) : json_null());
    return value;
}

static void set_times_of_products(json_t *entry, const gm_bench *bench, const gm_bench_results *r,
                                  const gm_bench_time *time)
{
    double times = times_of_products(bench, r, time);
    json_object_set_new(entry, "times_of_products", times > 0 ? json_real(times) : json_null());
}

gm_status gm_bench_print_json(gm_cli *cli, const gm_bench *bench, const gm_bench_results *results,
                              double load, gm_error *err)
{
    unsigned parts = bench->settings->parts;
    json_t *document = gm_document_create(cli, bench->session, err), *value = json_object();
    if (!document || !value) {
        json_decref(document);
        json_decref(value);
        return gm_fail(err, GM_ERR_MEMORY, "no memory for the JSON document");
    }
    json_object_set_new(value, "machine", machine_value(load));
    json_object_set_new(value, "rounds", json_integer((json_int_t)bench->settings->rounds));
    if (parts & GM_BENCH_PRODUCTS) set_products(value, results);
    if (parts & GM_BENCH_EIGENPAIRS) {
        json_t *entry = eigenpairs_value(cli, bench, &results->eigenpairs);
        set_times_of_products(entry, bench, results, &results->eigenpairs.time);
        json_object_set_new(value, "eigenpairs", entry);
    }
    if (parts & GM_BENCH_DENSITY) {
        json_t *entry = density_value(cli, bench, &results->density);
        set_times_of_products(entry, bench, results, &results->density.time);
        json_object_set_new(value, "density", entry);
    }
    if (parts & GM_BENCH_DENSE) {
        json_object_set_new(value, "dense", dense_value(bench, &results->dense));
    }
    if (parts & GM_BENCH_SERIES) {
        json_object_set_new(value, "series", series_value(bench, &results->series));
    }
    if (parts & GM_BENCH_ENSEMBLE) {
        json_object_set_new(value, "ensemble", ensemble_value(&results->ensemble));
    }
    json_object_set_new(value, "peak_memory", json_real(peak_memory()));
    json_object_set_new(document, "bench", value);
    return gm_document_print(cli, document, err);
}

/* ---- the readable form ---- */

static void print_machine(double load)
{
    char name[128];
    gm_libraries lib;
    gm_libraries_describe(&lib);
    processor_name(sizeof name, name);
    printf("machine    %s, %d processors", name, omp_get_num_procs());
    if (load >= 0) printf(", load %.2f", load);
    printf("\nkernels    ours %s; OpenBLAS %s; oneDNN %d.%d.%d %s\n", lib.elements, lib.blas_core,
           lib.onednn[0], lib.onednn[1], lib.onednn[2], lib.onednn_isa);
}

static void print_product(const char *name, const gm_bench_product *product,
                          const gm_bench_products *p)
{
    printf("  %-14s %10.2f %10.1f %9.2f %9.1f %7.1f%% %11.2f\n", name, 1e3 * product->seconds,
           1 / product->seconds, product->flops / 1e9, speed(product) / 1e9,
           100 * speed(product) / speed(&p->bare),
           product->seconds / p->kind[GM_BENCH_GRADIENT].seconds);
}

static void print_products(const gm_bench *bench, const gm_bench_results *r)
{
    static const char *const names[] = {"H v", "G v", "M v", "gradient"};
    for (size_t i = 0; i < r->precisions; i++) {
        printf("\nproducts, %s (median of %zu)\n", gm_dtype_name(r->precision[i]),
               bench->settings->rounds);
        printf("  %-14s %10s %10s %9s %9s %8s %11s\n", "", "ms", "a second", "GFLOP", "GFLOP/s",
               "of bare", "x gradient");
        print_product("bare products", &r->products[i].bare, r->products + i);
        for (int kind = 0; kind < GM_BENCH_KINDS; kind++) {
            print_product(names[kind], r->products[i].kind + kind, r->products + i);
        }
    }
}

static void print_time(const gm_bench *bench, const gm_bench_results *r, const gm_bench_time *time)
{
    double times = times_of_products(bench, r, time);
    printf("  %zu products, %.3f s, %.3f s of it in products; the solver's own part %.1f %%\n",
           time->products, time->seconds, time->products_seconds, 100 * gm_bench_own_share(time));
    if (times > 0) {
        printf("  %.2f times as long as so many products by themselves, as above\n", times);
    }
}

static void print_series(const gm_bench *bench, const gm_bench_series *series)
{
    series_sums sums = sum_series(series);
    printf("\n%zu largest eigenpairs of H at %zu checkpoints, %s, tolerance %.1e\n",
           bench->settings->k, series->count, gm_dtype_name(bench->session->precision), bench->tol);
    printf("  %10s %28s %37s %12s\n", "", "from nothing", "from the checkpoint before", "");
    printf("  %10s %9s %9s %8s %9s %9s %8s %8s %12s\n", "step", "products", "s", "own", "products",
           "s", "blocks", "own", "difference");
    for (size_t i = 0; i < series->count; i++) {
        const gm_bench_point *p = series->point + i;
        printf("  %10lld %9zu %9.3f %7.1f%%", (long long)p->step, p->cold.products, p->cold.seconds,
               100 * gm_bench_own_share(&p->cold));
        if (i > 0) {
            printf(" %9zu %9.3f %8zu %7.1f%% %12.1e", p->warm.products, p->warm.seconds,
                   p->warm.blocks, 100 * gm_bench_own_share(&p->warm), p->difference);
        }
        putchar('\n');
    }
    printf("  the first from nothing, the others from it: %.0f products, %.3f s; all from nothing: "
           "%.0f, %.3f s\n  that is %.2f cold starts by products, %.2f by time\n",
           sums.warm_products, sums.warm_seconds, sums.cold_products, sums.cold_seconds,
           sums.starts_by_products, sums.starts_by_seconds);
}

static void print_dense(const gm_bench *bench, const gm_bench_dense *d)
{
    printf("\ndense H and all its eigenvalues, %s (median of %zu)\n",
           gm_dtype_name(bench->session->precision), bench->settings->rounds);
    printf("  square product         %8.1f GFLOP/s\n", d->square_speed / 1e9);
    printf("  matrix, structured     %8.3f s   %6.2f GFLOP = n p^2, %.1f GFLOP/s, %.0f %% of the "
           "square product's speed\n",
           d->matrix, d->flops / 1e9, d->flops / d->matrix / 1e9,
           100 * d->flops / d->matrix / d->square_speed);
    printf("  the plain way's floor  %8.3f s   %6.2f GFLOP = p products, at that speed\n",
           d->products_flops / d->square_speed, d->products_flops / 1e9);
    printf("  all eigenvalues        %8.3f s   largest %.9g\n", d->eigenvalues, d->largest);
    printf("  together               %8.3f s\n", d->matrix + d->eigenvalues);
}

static void print_ensemble(const gm_bench *bench, const gm_bench_ensemble *e)
{
    printf(
        "\nensembles of %s, %zu parameters, n = %zu, batch %zu, %s, full loss every step (median "
        "of %zu)\n",
        e->model, e->parameters, e->samples, e->batch, gm_dtype_name(e->precision),
        bench->settings->rounds);
    for (int i = 0; i < 2; i++) {
        printf("  %4zu runs of %llu steps  %8.1f us a run and step\n", e->runs[i],
               (unsigned long long)e->steps, 1e6 * e->seconds[i]);
    }
    printf("  by the way of any net %8.1f us\n", 1e6 * e->problem_seconds);
    if (!e->tiled) return;
    double speed = e->flops / e->seconds[1];
    printf("  %.2f MFLOP each: %.1f GFLOP/s, %.0f %% of a bare square product's %.1f\n",
           e->flops / 1e6, speed / 1e9, 100 * speed / e->square_speed, e->square_speed / 1e9);
}

void gm_bench_print_text(const gm_cli *cli, const gm_bench *bench, const gm_bench_results *r,
                         double load)
{
    const gm_bench_settings *set = bench->settings;
    const char *precision = gm_dtype_name(bench->session->precision);
    print_machine(load);
    gm_document_describe(bench->session);
    if (set->parts & GM_BENCH_PRODUCTS) print_products(bench, r);
    if (set->parts & GM_BENCH_EIGENPAIRS) {
        const gm_bench_eigenpairs *e = &r->eigenpairs;
        printf("\n%zu largest eigenpairs of H, %s, tolerance %.1e (median of %zu)%s\n", set->k,
               precision, bench->tol, set->rounds, e->dense ? ", by forming H" : "");
        print_time(bench, r, &e->time);
        printf("  %zu of %zu converged, residuals at most %.1e of the largest |eigenvalue|; "
               "eigenvalues from %.7g to %.7g\n",
               e->converged, set->k, e->worst, e->value[0], e->value[e->count - 1]);
    }
    if (set->parts & GM_BENCH_DENSITY) {
        const gm_bench_density *d = &r->density;
        printf("\ndensity of H, %s, %zu probes x %zu steps (once)\n", precision, d->probes,
               d->steps);
        print_time(bench, r, &d->time);
        printf("  nodes from %.7g to %.7g\n", d->min, d->max);
    }
    if (set->parts & GM_BENCH_DENSE) print_dense(bench, &r->dense);
    if (set->parts & GM_BENCH_SERIES) print_series(bench, &r->series);
    if (set->parts & GM_BENCH_ENSEMBLE) print_ensemble(bench, &r->ensemble);
    printf("\npeak memory %.0f MB; %.3g s\n", peak_memory() / 1e6, gm_cli_seconds(cli));
}
