/* The document of `gradiometer spectrum`; other programs rely on its keys. */
#include <math.h>

#include "cli/document.h"
#include "cli/spectrum_output.h"
#include "cli/spectrum_resample.h"

static void set_number(gm_cli *cli, json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, gm_json_number(cli, key, value));
}

static void set_count(json_t *object, const char *key, size_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

/* value, stderr and the half width of the 95 % confidence interval */
static json_t *estimate_value(gm_cli *cli, const char *what, const gm_estimate *estimate)
{
    json_t *object = json_object();
    json_object_set_new(object, "value", gm_json_number(cli, what, estimate->value));
    json_object_set_new(object, "stderr", gm_json_number(cli, what, estimate->std_error));
    json_object_set_new(object, "half_width", gm_json_number(cli, what, estimate->half_width));
    return object;
}

/* [rows, columns] as a list of lists */
static json_t *matrix_value(gm_cli *cli, const char *what, size_t rows, size_t columns,
                            const double *value)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rows; i++) {
        json_array_append_new(list, gm_json_numbers(cli, what, columns, value + i * columns));
    }
    return list;
}

/* ---- one method each ---- */

static void set_pairs(const gm_spectrum_report *report, const gm_spectrum *s, json_t *object)
{
    static const char *const ends[] = {"LA", "SA", "BE", "LM"};
    static const char *const stops[] = {[GM_EIGEN_CONVERGED] = "converged",
                                        [GM_EIGEN_PRODUCTS] = "max_products",
                                        [GM_EIGEN_STALLED] = "stalled"};
    gm_cli *cli = report->cli;
    const gm_spectrum_settings *set = report->set;
    const gm_spectrum_pairs *pairs = &s->pairs;
    json_object_set_new(object, "eigenvalues",
                        gm_json_numbers(cli, "eigenvalues", pairs->values, pairs->value));
    json_object_set_new(object, "residuals",
                        gm_json_numbers(cli, "residuals", pairs->k, pairs->residual));
    json_object_set_new(object, "which", json_string(ends[set->which]));
    set_number(cli, object, "tol", set->tol);
    if (set->method == GM_METHOD_DENSE) {
        json_t *index = json_array();
        for (size_t i = 0; i < pairs->k; i++) {
            json_array_append_new(index, json_integer((json_int_t)pairs->index[i]));
        }
        json_object_set_new(object, "form", json_string(pairs->gram ? "gram" : "direct"));
        json_object_set_new(object, "checked", index);
        return;
    }
    json_object_set_new(object, "solver",
                        json_string(pairs->formed ? "dense" : gm_spectrum_solvers[set->solver]));
    json_object_set_new(object, "stop", json_string(stops[pairs->stop]));
    set_count(object, "pairs_wanted", pairs->wanted);
    set_count(object, "pairs_converged", pairs->converged);
    set_number(cli, object, "noise_floor", pairs->floor);
    set_number(cli, object, "scale", pairs->scale);
    set_number(cli, object, "noise", pairs->noise);
    set_count(object, "solver_products", pairs->solver_products);
    set_count(object, "check_products", pairs->check_products);
    set_count(object, "block_products", pairs->blocks);
}

static json_t *log_value(gm_cli *cli, const gm_spectrum_density *d)
{
    if (!d->log_bins) return json_null();
    json_t *object = json_object();
    size_t bins = 2 * d->log_bins + 1;
    json_object_set_new(object, "edges", gm_json_numbers(cli, "edges", bins + 1, d->log_edge));
    json_object_set_new(object, "share", gm_json_numbers(cli, "share", bins, d->log_share));
    json_object_set_new(object, "stderr",
                        gm_json_numbers(cli, "errors of the shares", bins, d->log_error));
    return object;
}

static json_t *density_value(gm_cli *cli, const gm_spectrum_density *d)
{
    const gm_quadrature *q = &d->quadrature;
    json_t *object = json_object(), *grid = json_array(), *taken = json_array();
    for (size_t b = 0; b < d->bins; b++) {
        json_array_append_new(grid, json_real(0.5 * (d->edge[b] + d->edge[b + 1])));
    }
    for (size_t i = 0; i < q->probes; i++) {
        json_array_append_new(taken, json_integer((json_int_t)q->taken[i]));
    }
    json_object_set_new(object, "grid", grid);
    json_object_set_new(object, "values", gm_json_numbers(cli, "density", d->bins, d->value));
    json_object_set_new(object, "stderr",
                        gm_json_numbers(cli, "errors of the density", d->bins, d->std_error));
    set_number(cli, object, "width", d->width);
    set_number(cli, object, "mass", d->mass);
    set_number(cli, object, "floor", q->floor);
    set_number(cli, object, "unresolved", d->unresolved);
    json_object_set_new(object, "nodes", matrix_value(cli, "nodes", q->probes, q->steps, q->node));
    json_object_set_new(object, "weights",
                        matrix_value(cli, "weights", q->probes, q->steps, q->weight));
    json_object_set_new(object, "taken", taken);
    json_object_set_new(object, "log", log_value(cli, d));
    json_object_set_new(object, "spacing", gm_json_number(cli, "spacing", d->spacing));
    json_object_set_new(object, "deflated", gm_json_numbers(cli, "deflated", q->deflated, q->atom));
    return object;
}

static void set_density(const gm_spectrum_report *report, const gm_spectrum *s, json_t *object)
{
    gm_cli *cli = report->cli;
    const gm_spectrum_settings *set = report->set;
    const gm_spectrum_density *d = &s->density;
    json_object_set_new(object, "density", density_value(cli, d));
    if (set->log_det_wanted) {
        json_t *value = estimate_value(cli, "log_det", &d->log_det);
        set_number(cli, value, "shift", set->log_det);
        json_object_set_new(object, "log_det", value);
    }
    if (set->count_wanted) {
        json_t *value = estimate_value(cli, "count", &d->count.count);
        /* An end may be infinite, which JSON has no number for. */
        bool below = isfinite(set->count.from), above = isfinite(set->count.to);
        json_object_set_new(value, "from", below ? json_real(set->count.from) : json_null());
        json_object_set_new(value, "to", above ? json_real(set->count.to) : json_null());
        set_number(cli, value, "low", d->count.low);
        set_number(cli, value, "high", d->count.high);
        json_object_set_new(object, "count", value);
    }
}

static json_t *diagonal_value(const gm_spectrum_report *report, const gm_spectrum_diagonal *d)
{
    gm_cli *cli = report->cli;
    json_t *object = json_object();
    bool exact = !d->std_error || d->estimate.exact;
    set_number(cli, object, "min", d->min);
    set_number(cli, object, "max", d->max);
    set_number(cli, object, "mean", d->mean);
    json_object_set_new(object, "exact", json_boolean(exact));
    if (d->std_error) {
        json_object_set_new(object, "estimator",
                            json_string(gm_spectrum_estimators[report->set->estimator]));
        set_count(object, "probes", d->estimate.probes);
        set_count(object, "products", d->estimate.products);
        set_number(cli, object, "norm", d->estimate.norm);
        set_number(cli, object, "stderr", d->estimate.std_error);
        set_number(cli, object, "half_width", d->estimate.half_width);
    }
    return object;
}

static void set_sums(const gm_spectrum_report *report, const gm_spectrum *s, json_t *object)
{
    gm_cli *cli = report->cli;
    if (s->summed) {
        json_t *trace = estimate_value(cli, "trace", &s->trace);
        set_count(trace, "products", s->trace_products);
        if (report->set->method == GM_METHOD_TRACE) {
            json_object_set_new(trace, "estimator",
                                json_string(gm_spectrum_estimators[report->set->estimator]));
            set_count(trace, "probes", s->estimate.probes);
            json_object_set_new(trace, "exact", json_boolean(s->estimate.exact));
        }
        json_object_set_new(object, "trace", trace);
    }
    if (s->normed) {
        json_object_set_new(object, "frobenius", estimate_value(cli, "frobenius", &s->frobenius));
    }
}

/* ---- the document ---- */

/* Adds what was measured to object: the document itself, or one block of --layers each. */
static void set_spectrum(const gm_spectrum_report *report, const gm_spectrum *s, json_t *object)
{
    json_object_set_new(object, "layer", gm_json_text_or_null(s->layer));
    set_count(object, "size", s->size);
    if (s->pairs.value) set_pairs(report, s, object);
    if (s->density.value) set_density(report, s, object);
    set_sums(report, s, object);
    if (s->diagonal.value) {
        json_object_set_new(object, "diagonal", diagonal_value(report, &s->diagonal));
    }
    if (s->resamples.count) {
        json_object_set_new(object, "data_resample", gm_resamples_value(report->cli, s));
    }
    json_object_set_new(object, "converged", json_boolean(s->converged));
    set_count(object, "products", s->products);
}

/* The measurement itself: of the one block, or of all. */
static void set_blocks(const gm_spectrum_report *report, json_t *object)
{
    if (!report->each) {
        set_spectrum(report, report->block, object);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < report->blocks; i++) {
        json_t *entry = json_object();
        set_spectrum(report, report->block + i, entry);
        json_array_append_new(list, entry);
    }
    json_object_set_new(object, "blocks", list);
}

json_t *gm_spectrum_entry(const gm_spectrum_report *report, const char *label)
{
    const gm_session *session = report->session;
    json_t *entry = json_object();
    json_object_set_new(entry, "step", json_integer(session->step));
    json_object_set_new(entry, "label", gm_json_text(label));
    set_number(report->cli, entry, "loss", session->loss);
    set_number(report->cli, entry, "gradient_norm", session->gradient_norm);
    set_blocks(report, entry);
    return entry;
}

/* The file of --matrix; a name may hold any bytes, and then is left out. */
static json_t *matrix_file(const gm_spectrum_report *report)
{
    json_t *object = json_object(), *file = json_string(report->set->matrix);
    json_object_set_new(object, "file", file ? file : json_null());
    set_count(object, "size", report->block->size);
    return object;
}

static json_t *divisor_value(gm_cli *cli, const gm_spectrum_divisor *d)
{
    json_t *object = json_object(), *what = json_string(d->what);
    json_object_set_new(object, "name", json_string(d->name));
    json_object_set_new(object, "formula", what ? what : json_null());
    set_number(cli, object, "min", d->min);
    set_number(cli, object, "max", d->max);
    return object;
}

json_t *gm_spectrum_document(const gm_spectrum_report *report, gm_error *err)
{
    json_t *document = gm_document_create(report->cli, report->session, err);
    if (!document) return NULL;
    json_object_set_new(document, "operator", json_string(report->name));
    if (report->set->matrix) json_object_set_new(document, "matrix", matrix_file(report));
    json_object_set_new(document, "precondition",
                        report->divisor ? divisor_value(report->cli, report->divisor)
                                        : json_null());
    json_object_set_new(document, "method", json_string(gm_spectrum_methods[report->set->method]));
    set_blocks(report, document);
    if (report->trajectory) json_object_set(document, "trajectory", report->trajectory);
    return document;
}
