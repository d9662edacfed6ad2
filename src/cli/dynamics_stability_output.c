/* The map of mean-square stability as a document, as tables and as sentences. */
#include <math.h>
#include <stdio.h>

#include "cli/dynamics.h"

static const double confidence = 0.95;
/* Of a minimum: the loss would fall by at most this share of it within the span, and no curvature
 * is more negative than this share of lambda_max. */
static const double minimum_share = 0.01;

/* ---- judgements ---- */

static bool falls(const gm_session *session, const gm_span *span)
{
    return span->fall > minimum_share * fabs(session->loss);
}

static bool bends_down(const gm_span *span)
{
    return -span->lambda_min > fmax(span->lambda_min_error, minimum_share * span->lambda_max);
}

static void sentence_of(const gm_stability_point *p, const gm_span *span, char *text, size_t size)
{
    if (!(p->boundary > 0.0)) {
        snprintf(text, size, "batch %zu, step %g: no step is stable in every direction of the span",
                 p->batch, p->step);
        return;
    }
    snprintf(text, size,
             "batch %zu, step %g: %s; E|theta - theta*|^2 %s by %.4g per step in the long run; "
             "largest stable step %.4g at this batch size, %.4g for the full batch",
             p->batch, p->step,
             p->growth >= 1.0 ? "unstable"
             : span->complete ? "stable in mean square"
                              : "stable in mean square on the span",
             p->growth < 1.0 ? "shrinks" : "grows", p->growth, p->boundary, 2.0 / span->lambda_max);
}

/* ---- document ---- */

static json_t *value_of(gm_cli *cli, const char *what, double value, double error)
{
    json_t *o = json_object();
    json_object_set_new(o, "value", gm_json_number(cli, what, value));
    json_object_set_new(o, "stderr", gm_json_number(cli, what, error));
    return o;
}

static json_t *span_value(gm_cli *cli, const gm_stability *s)
{
    const gm_span *span = &s->span;
    json_t *o = json_object();
    json_object_set_new(o, "directions", json_integer((json_int_t)span->k));
    json_object_set_new(o, "complete", json_boolean(span->complete));
    json_object_set_new(o, "cut", json_real(s->cut));
    json_object_set_new(o, "eigenvalues",
                        gm_json_numbers(cli, "eigenvalues", span->k, span->lambda));
    json_object_set_new(o, "residuals", gm_json_numbers(cli, "residuals", span->k, span->residual));
    return o;
}

static json_t *minimum_value(gm_cli *cli, const gm_session *session, const gm_span *span)
{
    json_t *o = json_object();
    json_object_set_new(o, "fall", gm_json_number(cli, "fall", span->fall));
    json_object_set_new(o, "lambda_max",
                        value_of(cli, "lambda_max", span->lambda_max, span->lambda_max_error));
    json_object_set_new(o, "lambda_min",
                        value_of(cli, "lambda_min", span->lambda_min, span->lambda_min_error));
    json_object_set_new(o, "is_minimum", json_boolean(!falls(session, span) && !bends_down(span)));
    return o;
}

static json_t *limits_value(gm_cli *cli, const gm_stability_row *row)
{
    json_t *o = json_object();
    json_object_set_new(o, "batch", json_integer((json_int_t)row->batch));
    json_object_set_new(o, "kappa", gm_json_number(cli, "kappa", row->kappa));
    json_object_set_new(o, "one_step", gm_json_number(cli, "one_step", row->limits.one_step));
    json_object_set_new(o, "sufficient", gm_json_number(cli, "sufficient", row->limits.sufficient));
    json_object_set_new(o, "boundary", gm_json_number(cli, "boundary", row->limits.boundary));
    json_object_set_new(o, "boundary_error",
                        gm_json_number(cli, "boundary_error", row->limits.error));
    json_object_set_new(o, "boundary_half", gm_json_number(cli, "boundary_half", row->limits.half));
    return o;
}

static json_t *point_value(gm_cli *cli, const gm_stability_point *p, const gm_span *span)
{
    char text[512];
    json_t *o = json_object();
    sentence_of(p, span, text, sizeof text);
    json_object_set_new(o, "batch", json_integer((json_int_t)p->batch));
    json_object_set_new(o, "step_size", json_real(p->step));
    json_object_set_new(o, "growth", gm_json_number(cli, "growth", p->growth));
    json_object_set_new(o, "first_step", gm_json_number(cli, "first_step", p->first));
    json_object_set_new(o, "first_step_anywhere",
                        value_of(cli, "first_step_anywhere", p->any, p->any_error));
    json_object_set_new(o, "boundary", gm_json_number(cli, "boundary", p->boundary));
    json_object_set_new(o, "stable", json_boolean(p->growth < 1.0));
    json_object_set_new(o, "verdict", json_string(text));
    return o;
}

/* The factor per step, (end / start)^(1/steps), and its standard error. */
static double rate_of(double factor, size_t steps)
{
    return pow(factor, 1.0 / (double)steps);
}

static double rate_error(const gm_stability_seen *seen, size_t steps)
{
    return rate_of(seen->mean, steps) * seen->error / (seen->mean * (double)steps);
}

/* What runs did goes to o. */
static void add_seen(gm_cli *cli, const gm_stability_seen *seen, const gm_stability_runs *runs,
                     json_t *o)
{
    double low, high;
    gm_clopper_pearson(seen->grew, runs->runs, confidence, &low, &high);
    json_object_set_new(o, "mean", gm_json_number(cli, "mean", seen->mean));
    json_object_set_new(o, "mean_stderr", gm_json_number(cli, "mean_stderr", seen->error));
    json_object_set_new(o, "median", gm_json_number(cli, "median", seen->median));
    json_object_set_new(o, "rate", gm_json_number(cli, "rate", rate_of(seen->mean, runs->horizon)));
    json_object_set_new(o, "rate_stderr",
                        gm_json_number(cli, "rate_stderr", rate_error(seen, runs->horizon)));
    json_object_set_new(o, "grew", json_integer((json_int_t)seen->grew));
    json_object_set_new(o, "grew_ci", json_pack("[f, f]", low, high));
    json_object_set_new(o, "infinite", json_integer((json_int_t)seen->infinite));
}

static json_t *seen_value(gm_cli *cli, const gm_stability_row *row, size_t e)
{
    const gm_stability_runs *runs = &row->runs;
    double predicted = row->seen[e].predicted;
    json_t *o = json_object(), *net = json_object();
    json_object_set_new(o, "batch", json_integer((json_int_t)row->batch));
    json_object_set_new(o, "step_size", json_real(runs->eta[e]));
    json_object_set_new(o, "runs", json_integer((json_int_t)runs->runs));
    json_object_set_new(o, "steps", json_integer((json_int_t)runs->horizon));
    json_object_set_new(o, "predicted", gm_json_number(cli, "predicted", predicted));
    json_object_set_new(o, "rate_predicted",
                        gm_json_number(cli, "predicted", rate_of(predicted, runs->horizon)));
    add_seen(cli, &row->seen[e], runs, o);
    add_seen(cli, &row->net[e], runs, net);
    json_object_set_new(net, "away", json_real(runs->away));
    json_object_set_new(o, "net", net);
    return o;
}

json_t *gm_stability_document(gm_cli *cli, const gm_session *session, const gm_stability *s,
                              gm_error *err)
{
    json_t *d = gm_document_create(cli, session, err);
    if (!d) return NULL;
    json_t *limits = json_array(), *points = json_array(), *observed = json_array();
    for (size_t i = 0; i < s->rows; i++) {
        json_array_append_new(limits, limits_value(cli, &s->row[i]));
        for (size_t e = 0; e < s->row[i].runs.etas; e++) {
            json_array_append_new(observed, seen_value(cli, &s->row[i], e));
        }
    }
    for (size_t i = 0; i < s->points; i++) {
        json_array_append_new(points, point_value(cli, &s->point[i], &s->span));
    }
    json_object_set_new(d, "subcommand", json_string("stability"));
    json_object_set_new(d, "replacement", json_string(gm_replacement_name(s->replacement)));
    json_object_set_new(d, "span", span_value(cli, s));
    json_object_set_new(d, "minimum", minimum_value(cli, session, &s->span));
    json_object_set_new(d, "limits", limits);
    json_object_set_new(d, "points", points);
    json_object_set_new(d, "observed", observed);
    json_object_set_new(d, "products", json_integer((json_int_t)s->span.products));
    return d;
}

/* ---- text ---- */

static void print_minimum(const gm_session *session, const gm_stability *s)
{
    const gm_span *span = &s->span;
    printf("\nspan       %zu directions of %zu, curvature %.4g ... %.4g%s\n", span->k, span->p,
           span->lambda[0], span->lambda[span->k - 1], span->complete ? ": the whole space" : "");
    printf("curvature  lambda_max %.5g +- %.1g, lambda_min %.4g +- %.1g\n", span->lambda_max,
           span->lambda_max_error, span->lambda_min, span->lambda_min_error);
    if (falls(session, span)) {
        printf(
            "NO MINIMUM the loss, %.4g, would fall by %.3g within the span: runs leave this point "
            "whatever the step\n",
            session->loss, span->fall);
    }
    if (bends_down(span)) {
        printf(
            "NO MINIMUM negative curvature, %.2g of lambda_max: along it every step leads away, by "
            "1 + 2 eta %.3g in mean square at small eta\n",
            span->lambda_min / span->lambda_max, -span->lambda_min);
    }
}

static void print_limits(const gm_stability *s)
{
    printf("\nlargest stable step, 2/lambda_max = %.5g\n%8s %12s %12s %10s %12s %14s\n",
           2.0 / s->span.lambda_max, "batch", "sufficient", "boundary", "error", "one step",
           "boundary, k/2");
    for (size_t i = 0; i < s->rows; i++) {
        const gm_stability_limits *l = &s->row[i].limits;
        printf("%8zu %12.5g %12.5g %10.2g %12.5g %14.5g\n", s->row[i].batch, l->sufficient,
               l->boundary, l->error, l->one_step, l->half);
    }
    printf(
        "sufficient: E|theta - theta*|^2 shrinks in each step from every direction of the span;\n"
        "boundary: in the long run; one step: along each eigenvector alone. Batches are drawn "
        "with%s\nreplacement. %s\n",
        s->replacement == GM_REPLACEMENT_YES ? "" : "out",
        s->span.complete ? "The boundary is exact."
                         : "More directions can only lower the boundary: by the\nerror at most, "
                           "to first order, for what leaves the span; the last column has it for "
                           "half of them.");
}

static void print_points(const gm_stability *s)
{
    char text[512];
    for (size_t i = 0; i < s->points; i++) {
        const gm_stability_point *p = &s->point[i];
        sentence_of(p, &s->span, text, sizeof text);
        printf("\n%s\n", text);
        printf("  largest factor of one step: %.5g from the span, ", p->first);
        if (isnan(p->any)) {
            printf("not found from any direction\n");
        } else {
            printf("%.5g +- %.1g from any direction\n", p->any, p->any_error);
        }
    }
}

static void print_observed_row(const gm_stability_row *row, size_t e)
{
    const gm_stability_seen *seen = &row->seen[e], *net = &row->net[e];
    size_t steps = row->runs.horizon;
    double low, high, all = (double)row->runs.runs;
    gm_clopper_pearson(net->grew, row->runs.runs, confidence, &low, &high);
    printf("%8zu %10.4g %9.3g %10.4g", row->batch, row->runs.eta[e],
           row->runs.eta[e] / row->limits.boundary, rate_of(seen->predicted, steps));
    printf("  %9.4g +- %-7.2g", rate_of(seen->mean, steps), rate_error(seen, steps));
    if (net->infinite) {
        printf("  %20s", "infinite");
    } else {
        printf("  %9.4g +- %-7.2g", rate_of(net->mean, steps), rate_error(net, steps));
    }
    printf(" %9.4g %8.3g [%.2f, %.2f]\n", rate_of(net->median, steps), (double)net->grew / all, low,
           high);
}

static void print_observed(const gm_stability *s)
{
    const gm_stability_runs *runs = &s->row[0].runs;
    if (!runs->etas) return;
    printf(
        "\nfactor of the mean square distance per step, over %zu steps of %zu runs: by the map, of "
        "linearized\nruns, and of SGD on the net itself, between runs from here and from %g "
        "|theta| away on the same batches\n",
        runs->horizon, runs->runs, runs->away);
    printf("%8s %10s %9s %10s  %20s  %20s %9s %8s %12s\n", "batch", "step", "/boundary", "map",
           "linearized", "net", "median", "grew", "95 %");
    for (size_t i = 0; i < s->rows; i++) {
        for (size_t e = 0; e < s->row[i].runs.etas; e++) {
            print_observed_row(&s->row[i], e);
        }
    }
    printf(
        "Means of products have heavy tails: where the median lies far below, few runs carry the "
        "mean.\n");
}

void gm_stability_print(const gm_cli *cli, const gm_session *session, const gm_stability *s)
{
    gm_document_describe(session);
    print_minimum(session, s);
    print_limits(s);
    print_points(s);
    print_observed(s);
    printf("\n%.3g s\n", gm_cli_seconds(cli));
}
