/* The resamples of --data-resample in the document and in words. Two errors stand beside each other
 * and are never added up: the estimator's, which more products make smaller, and the data's, which
 * more samples do. */
#include <math.h>
#include <stdio.h>

#include "cli/document.h"
#include "cli/spectrum_resample.h"

/* ---- the document ---- */

/* values [count] and what they come to, of column j */
static json_t *series_value(gm_cli *cli, const char *what, size_t count,
                            const gm_spectrum_series *series, size_t j)
{
    json_t *object = json_object(), *values = json_array();
    for (size_t r = 0; r < count; r++) {
        json_array_append_new(values,
                              gm_json_number(cli, what, series->value[r * series->columns + j]));
    }
    json_object_set_new(object, "values", values);
    json_object_set_new(object, "mean", gm_json_number(cli, what, series->mean[j]));
    json_object_set_new(object, "sd", gm_json_number(cli, what, series->sd[j]));
    return object;
}

static void set_eigenvalues(gm_cli *cli, const gm_spectrum *s, json_t *object)
{
    const gm_spectrum_series *e = &s->resamples.eigenvalues;
    const char *what = "eigenvalues of the resamples";
    json_t *rows = json_array();
    for (size_t r = 0; r < s->resamples.count; r++) {
        json_array_append_new(rows,
                              gm_json_numbers(cli, what, e->columns, e->value + r * e->columns));
    }
    json_object_set_new(object, "eigenvalues", rows);
    json_object_set_new(object, "mean", gm_json_numbers(cli, what, e->columns, e->mean));
    json_object_set_new(object, "sd", gm_json_numbers(cli, what, e->columns, e->sd));
    json_object_set_new(object, "min", gm_json_numbers(cli, what, e->columns, e->min));
    json_object_set_new(object, "max", gm_json_numbers(cli, what, e->columns, e->max));
    json_t *index = json_array(); /* places in `eigenvalues` of the document */
    for (size_t j = 0; j < e->columns; j++) {
        size_t place = s->pairs.index ? s->pairs.index[j] : j;
        json_array_append_new(index, json_integer((json_int_t)place));
    }
    json_object_set_new(object, "index", index);
    json_object_set_new(object, "residual", gm_json_number(cli, what, s->resamples.worst));
}

json_t *gm_resamples_value(gm_cli *cli, const gm_spectrum *s)
{
    const gm_spectrum_resamples *r = &s->resamples;
    json_t *object = json_object();
    json_object_set_new(object, "resamples", json_integer((json_int_t)r->count));
    json_object_set_new(object, "converged", json_integer((json_int_t)r->converged));
    json_object_set_new(object, "products", json_integer((json_int_t)r->products));
    if (r->eigenvalues.value) set_eigenvalues(cli, s, object);
    if (r->trace.value) {
        json_object_set_new(object, "trace", series_value(cli, "trace", r->count, &r->trace, 0));
    }
    if (r->frobenius.value) {
        json_object_set_new(object, "frobenius",
                            series_value(cli, "frobenius", r->count, &r->frobenius, 0));
    }
    if (r->diagonal.value) {
        static const char *const names[] = {"min", "max", "mean"};
        json_t *diagonal = json_object();
        for (size_t j = 0; j < 3; j++) {
            json_object_set_new(diagonal, names[j],
                                series_value(cli, "diagonal", r->count, &r->diagonal, j));
        }
        json_object_set_new(object, "diagonal", diagonal);
    }
    if (r->density.value) {
        json_t *density = json_object();
        size_t bins = r->density.columns;
        json_object_set_new(density, "mean",
                            gm_json_numbers(cli, "density", bins, r->density.mean));
        json_object_set_new(density, "sd", gm_json_numbers(cli, "density", bins, r->density.sd));
        json_object_set_new(object, "density", density);
    }
    return object;
}

/* ---- words ---- */

static void print_number(const char *what, double value, double error,
                         const gm_spectrum_series *series, size_t j)
{
    printf("%-16s  %14.7e  ", what, value);
    if (isnan(error)) {
        printf("%11s", "unknown");
    } else {
        printf("%11.2g", error);
    }
    printf("  %14.7e  %9.2g  %9.3g ... %.3g\n", series->mean[j], series->sd[j], series->min[j],
           series->max[j]);
}

void gm_resamples_print(const gm_spectrum *s)
{
    const gm_spectrum_resamples *r = &s->resamples;
    const gm_spectrum_diagonal *d = &s->diagonal;
    if (!r->count) return;
    printf("\n%zu bootstrap resamples of the data: how far another draw of as many samples would "
           "move this\n",
           r->count);
    printf("%16s  %14s  %11s  %14s  %9s  %s\n", "", "on the data", "estimator's", "mean over",
           "sd over", "range over");
    printf("%16s  %14s  %11s  %14s  %9s  %s\n", "", "", "error", "resamples", "resamples",
           "resamples");
    for (size_t j = 0; j < r->eigenvalues.columns; j++) {
        char what[32];
        size_t place = s->pairs.index ? s->pairs.index[j] : j;
        snprintf(what, sizeof what, "eigenvalue %zu", place + 1);
        print_number(what, s->pairs.value[place], s->pairs.residual[j], &r->eigenvalues, j);
    }
    if (r->trace.value) print_number("trace", s->trace.value, s->trace.std_error, &r->trace, 0);
    if (r->frobenius.value) {
        print_number("Frobenius norm", s->frobenius.value, s->frobenius.std_error, &r->frobenius,
                     0);
    }
    if (r->diagonal.value) {
        double error = d->std_error ? (double)NAN : 0; /* of one entry: not that of an extreme */
        print_number("diagonal, least", d->min, error, &r->diagonal, 0);
        print_number("diagonal, most", d->max, error, &r->diagonal, 1);
    }
    printf("%zu products for the resamples", r->products);
    if (r->converged < r->count) printf("; %zu of them did not converge", r->count - r->converged);
    putchar('\n');
}
