/* The readable form of `gradiometer spectrum`, in at most 100 columns. */
#include <math.h>
#include <stdio.h>

#include "cli/document.h"
#include "cli/spectrum_methods.h"
#include "cli/spectrum_output.h"
#include "cli/spectrum_resample.h"
#include "gradiometer/spectrum.h"

enum { BAR = 40 };

/* ---- sums ---- */

static void print_estimate(const char *what, const gm_estimate *e)
{
    if (e->std_error == 0) {
        printf("%s%.8g", what, e->value);
    } else if (isnan(e->std_error)) {
        printf("%s%.6g (one probe: no error known)", what, e->value);
    } else {
        printf("%s%.6g +- %.2g", what, e->value, e->std_error);
    }
}

static void print_sums(const gm_spectrum *s)
{
    if (!s->summed) return;
    print_estimate("trace ", &s->trace);
    if (s->normed) print_estimate(", Frobenius norm ", &s->frobenius);
}

/* ---- dense ---- */

static void print_ends(size_t k, const gm_spectrum *s)
{
    const double *value = s->pairs.value;
    printf("\n%6s  %16s  %16s\n", "", "largest", "smallest");
    for (size_t i = 0; i < k && i < s->size; i++) {
        printf("%6zu  %16.8e  %16.8e\n", i + 1, value[i], value[s->size - 1 - i]);
    }
}

/* Eigenvalues beyond shares of the largest absolute one, never against zero: where the noise of the
 * products ends is a question of scale. */
static void print_counts(const gm_spectrum *s, double eps)
{
    static const double cuts[] = {1e-1, 1e-2, 1e-3, 1e-4};
    gm_spectral_summary summary[4];
    for (int i = 0; i < 4; i++) {
        gm_spectral_summarize(s->size, s->pairs.value, cuts[i], eps, 0, summary + i);
    }
    printf("\ncut, relative to the largest |eigenvalue|");
    for (int i = 0; i < 4; i++) {
        printf("%9.0e", cuts[i]);
    }
    printf("\neigenvalues above it                     ");
    for (int i = 0; i < 4; i++) {
        printf("%9zu", summary[i].above);
    }
    printf("\neigenvalues below minus it               ");
    for (int i = 0; i < 4; i++) {
        printf("%9zu", summary[i].below);
    }
    printf("\n\n");
    print_sums(s);
    printf(", effective rank %.4g of %zu\n", summary[0].effective_rank, s->size);
}

static void print_dense(const gm_spectrum_report *report, const gm_spectrum *s)
{
    print_ends(s->pairs.wanted, s);
    print_counts(s, gm_dtype_eps(report->session->precision));
    printf("%zu eigenpairs checked by true products: residuals at most %.2g of the largest "
           "|eigenvalue|%s\n",
           s->pairs.k, s->pairs.worst,
           s->pairs.converged == s->pairs.k ? "" : " (above the tolerance)");
}

/* ---- lanczos ---- */

/* The products of the solver, and apart from them those that check its answer. */
static void print_solver(const gm_spectrum_report *report, const gm_spectrum_pairs *pairs)
{
    static const char *const names[] = {[GM_SOLVER_ARPACK] = "Lanczos",
                                        [GM_SOLVER_BLOCK] = "block method",
                                        [GM_SOLVER_SLEPC] = "SLEPc"};
    bool block = report->set->solver == GM_SOLVER_BLOCK;
    printf("%s: %zu products", names[report->set->solver], pairs->solver_products);
    if (block) printf(" in %zu blocks", pairs->blocks);
    if (pairs->check_products) printf(", and %zu to check the residuals", pairs->check_products);
    if (pairs->formed) printf("; the operator was formed");
    puts(pairs->stop == GM_EIGEN_PRODUCTS ? "; stopped by --max-products" : "");
}

static void print_lanczos(const gm_spectrum_report *report, const gm_spectrum *s)
{
    const gm_spectrum_pairs *pairs = &s->pairs;
    printf("\n%6s  %16s  %22s\n", "", "eigenvalue", "residual / |largest|");
    for (size_t i = 0; i < pairs->values; i++) {
        double relative = pairs->scale > 0 ? pairs->residual[i] / pairs->scale : 0;
        printf("%6zu  %16.8e  %22.2g%s\n", i + 1, pairs->value[i], relative,
               relative <= report->set->tol ? "" : "  not converged");
    }
    printf("\n%zu of %zu eigenpairs converged to %.2g of the largest |eigenvalue|\n",
           pairs->converged, pairs->wanted, report->set->tol);
    print_solver(report, pairs);
    if (!pairs->formed && report->set->solver != GM_SOLVER_BLOCK) {
        if (gm_spectrum_zeros_below(report->set)) {
            puts("0 is met many times at the lower end of this operator, and");
        }
        printf("of a repeated eigenvalue %s may miss copies at loose tolerances, and give others "
               "in their\nplace; --solver block does not\n",
               report->set->solver == GM_SOLVER_SLEPC ? "SLEPc" : "ARPACK");
    }
}

/* ---- density ---- */

/* Shares of the spectrum from the smallest eigenvalues to the largest; what is not told from 0 is
 * one line in the middle. */
static void print_picture(const gm_spectrum_density *d)
{
    if (!d->log_bins) {
        puts("\nevery node is 0");
        return;
    }
    printf("\n%28s  %9s\n", "eigenvalues", "share");
    for (size_t b = 0; b < 2 * d->log_bins + 1; b++) {
        double share = d->log_share[b], error = d->log_error[b];
        if (!(share > 0)) continue;
        printf("%10.2e ... %10.2e  %9.2e", d->log_edge[b], d->log_edge[b + 1], share);
        if (error > 1e-12 * share) {
            printf(" +- %8.1e  ", error);
        } else { /* one probe, or exact eigenvalues alone */
            printf("%14s", "");
        }
        int length = (int)(share * BAR + 0.5);
        for (int i = 0; i < length; i++) {
            putchar('#');
        }
        puts(length ? "" : ".");
    }
    putchar('\n');
}

static void print_density(const gm_spectrum_report *report, const gm_spectrum *s)
{
    const gm_spectrum_settings *set = report->set;
    const gm_spectrum_density *d = &s->density;
    const gm_quadrature *q = &d->quadrature;
    if (s->pairs.value) print_lanczos(report, s);
    print_picture(d);
    printf("nodes from %.6e to %.6e, %zu probes of %zu steps: %zu products\n", q->min, q->max,
           q->probes, q->steps, q->products);
    printf("kernel width %.4g%s, %zu bins; the density integrates to %.9g", d->width,
           d->width_chosen ? " (chosen from the nodes)" : "", d->bins, d->mass);
    if (q->deflated) {
        printf(", with the %zu exact\neigenvalues to %.9g", q->deflated,
               d->mass + (double)q->deflated / (double)s->size);
    }
    putchar('\n');
    if (d->spacing > 0) {
        printf("nodes around 0 are %.2g apart: eigenvalues nearer to it are one line above\n",
               d->spacing);
    }
    printf("noise floor %.2g: %.3g of the weight lies within it and is not told from 0\n", q->floor,
           d->unresolved);
    print_sums(s);
    putchar('\n');
    if (set->log_det_wanted) {
        printf("log det(A + %g I): ", set->log_det);
        print_estimate("", &d->log_det);
        putchar('\n');
    }
    if (set->count_wanted) {
        printf("eigenvalues in [%g, %g]: ", set->count.from, set->count.to);
        print_estimate("", &d->count.count);
        printf(" of %zu; between %.4g and %.4g by the quadrature's bounds\n", s->size, d->count.low,
               d->count.high);
    }
}

/* ---- trace and diagonal ---- */

static void print_trace(const gm_spectrum_report *report, const gm_spectrum *s)
{
    const gm_trace_result *result = &s->estimate;
    putchar('\n');
    print_sums(s);
    printf("\n%s, %zu probes: %zu products; ", gm_spectrum_estimators[report->set->estimator],
           result->probes, result->products);
    if (result->exact) {
        puts("the probes span the whole range: exact to rounding");
    } else {
        printf("95 %% confidence: trace +- %.3g, Frobenius norm +- %.3g\n",
               result->trace.half_width, result->frobenius.half_width);
    }
}

static void print_diagonal(const gm_spectrum_report *report, const gm_spectrum_diagonal *d)
{
    printf("diagonal, %s: from %.8g to %.8g, mean %.8g\n",
           !d->std_error || d->estimate.exact ? "exact" : "estimated", d->min, d->max, d->mean);
    if (!d->std_error) return;
    printf("%s, %zu probes: %zu products; its norm %.6g, standard error %.2g, 95 %% confidence "
           "%.2g\n",
           gm_spectrum_estimators[report->set->estimator], d->estimate.probes, d->estimate.products,
           d->estimate.norm, d->estimate.std_error, d->estimate.half_width);
}

/* ---- the whole ---- */

static void print_block(const gm_spectrum_report *report, const gm_spectrum *s)
{
    if (s->layer) printf("\nblock of layer %s, %zu parameters\n", s->layer, s->size);
    switch (report->set->method) {
    case GM_METHOD_DENSE:
        print_dense(report, s);
        break;
    case GM_METHOD_LANCZOS:
        print_lanczos(report, s);
        break;
    case GM_METHOD_DENSITY:
        print_density(report, s);
        break;
    case GM_METHOD_TRACE:
        print_trace(report, s);
        break;
    case GM_METHOD_DIAGONAL:
    case GM_METHODS:
        if (!s->summed) break;
        putchar('\n');
        print_sums(s);
        putchar('\n');
        break;
    }
    if (s->diagonal.value) print_diagonal(report, &s->diagonal);
    gm_resamples_print(s);
}

void gm_spectrum_print(const gm_spectrum_report *report)
{
    const gm_spectrum_divisor *d = report->divisor;
    printf("operator   %s%s, %s\n", d ? "preconditioned " : "", report->title,
           gm_spectrum_methods[report->set->method]);
    if (d) printf("D          %s, from %.4g to %.4g\n", d->what, d->min, d->max);
    if (report->set->matrix) {
        printf("matrix     %s, %zu x %zu\n", report->set->matrix, report->block->size,
               report->block->size);
    }
    gm_document_describe(report->session);
    for (size_t i = 0; i < report->blocks; i++) {
        print_block(report, report->block + i);
    }
    bool pairs = report->set->method == GM_METHOD_DENSE || report->set->method == GM_METHOD_LANCZOS;
    if (d && pairs && report->set->kind == GM_HESSIAN && !report->set->matrix &&
        !report->block->layer) {
        puts("the largest eigenvalue of D^-1/2 H D^-1/2 is what 2/eta is compared with, for steps "
             "-eta D^-1 g");
    }
    printf("%.3g s\n", gm_cli_seconds(report->cli));
}
