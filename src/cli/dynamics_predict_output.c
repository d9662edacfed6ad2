/* gradiometer dynamics predict: the document and the readable form. */
#include <math.h>
#include <stdio.h>

#include "cli/dynamics.h"

static const double confidence = 0.95;

/* ---- JSON ---- */

static json_t *quantiles(gm_cli *cli, const double *value)
{
    json_t *object = json_object();
    json_object_set_new(
        object, "levels",
        gm_json_numbers(cli, "quantile levels", GM_PREDICT_QUANTILES, gm_predict_level));
    json_object_set_new(object, "values",
                        gm_json_numbers(cli, "quantiles", GM_PREDICT_QUANTILES, value));
    return object;
}

static json_t *predicted(gm_cli *cli, const gm_predict *predict, const gm_predict_case *c)
{
    const gm_step_prediction *p = &c->predicted;
    json_t *o = json_object();
    json_object_set_new(o, "batch", json_integer((json_int_t)c->batch));
    json_object_set_new(o, "step", gm_json_number(cli, "step", c->step));
    json_object_set_new(o, "mean", gm_json_number(cli, "predicted mean", p->mean));
    json_object_set_new(o, "mean_stderr", gm_json_number(cli, "its error", p->mean_error));
    json_object_set_new(o, "variance", gm_json_number(cli, "predicted variance", p->variance));
    json_object_set_new(o, "variance_stderr", gm_json_number(cli, "its error", p->variance_error));
    json_object_set_new(o, "v", gm_json_number(cli, "v", p->v));
    json_object_set_new(o, "v_stderr", gm_json_number(cli, "its error", p->v_error));
    json_object_set_new(o, "lambda_plus", gm_json_number(cli, "lambda_plus", p->lambda_plus));
    json_object_set_new(o, "lambda_minus", gm_json_number(cli, "lambda_minus", p->lambda_minus));
    json_object_set_new(o, "lambda_residual", gm_json_number(cli, "residual", p->lambda_error));
    json_object_set_new(o, "quantiles",
                        predict->model.exact ? quantiles(cli, c->quantile) : json_null());
    return o;
}

static json_t *observed(gm_cli *cli, const gm_predict_case *c)
{
    json_t *o = json_object();
    json_object_set_new(o, "batch", json_integer((json_int_t)c->batch));
    json_object_set_new(o, "step", gm_json_number(cli, "step", c->step));
    json_object_set_new(o, "mean", gm_json_number(cli, "observed mean", c->mean));
    json_object_set_new(o, "mean_stderr", gm_json_number(cli, "its error", c->mean_error));
    json_object_set_new(o, "variance", gm_json_number(cli, "observed variance", c->variance));
    json_object_set_new(o, "quantiles", quantiles(cli, c->observed));
    json_object_set_new(o, "draws", json_integer((json_int_t)c->draws));
    json_object_set_new(o, "infinite", json_integer((json_int_t)c->infinite));
    return o;
}

static json_t *frequency(size_t count, size_t draws, double low, double high)
{
    return json_pack("{s:f, s:[f, f]}", "frequency", (double)count / (double)draws, "ci", low,
                     high);
}

static json_t *coverage(gm_cli *cli, const gm_predict *predict, const gm_predict_case *c)
{
    json_t *list = json_array();
    for (size_t l = 0; l < predict->levels; l++) {
        const gm_coverage *band = &c->coverage[l];
        double low, high;
        json_t *o = json_object();
        json_object_set_new(o, "s", json_real(band->s));
        json_object_set_new(o, "level", json_real(exp(-band->s)));
        json_object_set_new(o, "bound",
                            gm_json_numbers(cli, "band", 2, (double[]){band->lower, band->upper}));
        gm_clopper_pearson(band->above, c->draws, confidence, &low, &high);
        json_object_set_new(o, "upper", frequency(band->above, c->draws, low, high));
        gm_clopper_pearson(band->below, c->draws, confidence, &low, &high);
        json_object_set_new(o, "lower", frequency(band->below, c->draws, low, high));
        json_object_set_new(o, "ci", json_real(confidence));
        json_array_append_new(list, o);
    }
    return list;
}

/* Of the finite draws; those without a finite loss count as above. Where all are alike (every
 * sample in each batch) a narrow frame stands about their place. */
static json_t *histogram(const gm_predict_case *c)
{
    gm_delta_histogram h;
    size_t finite = c->draws - c->infinite, last = finite ? finite - 1 : 0;
    double low = finite ? c->delta[last / 100] : c->predicted.mean;
    double high = finite ? c->delta[last - last / 100] : c->predicted.mean;
    double least = finite ? c->delta[0] : low, most = finite ? c->delta[last] : high;
    if (!gm_delta_histogram_frame(&h, finite, (double[]){low, high}, (double[]){least, most})) {
        double width = fmax(1e-3 * fabs(low), 1e-12);
        h = (gm_delta_histogram){.low = low - width, .high = low + width, .bins = 9};
    }
    h.above = (double)c->infinite;
    for (size_t i = 0; i < finite; i++) {
        double place = (c->delta[i] - h.low) / (h.high - h.low) * (double)h.bins;
        size_t bin = place > 0.0 ? (size_t)fmin(place, (double)(h.bins - 1)) : 0;
        if (c->delta[i] < h.low) {
            h.below++;
        } else if (c->delta[i] > h.high) {
            h.above++;
        } else {
            h.count[bin]++;
        }
    }
    json_t *o = gm_delta_histogram_value(&h);
    json_object_set_new(o, "batch", json_integer((json_int_t)c->batch));
    json_object_set_new(o, "step", json_real(c->step));
    return o;
}

static json_t *estimate(gm_cli *cli, const char *what, const gm_estimate *e)
{
    json_t *o = json_object();
    json_object_set_new(o, "value", gm_json_number(cli, what, e->value));
    json_object_set_new(o, "stderr", gm_json_number(cli, what, e->std_error));
    return o;
}

static json_t *model_of(gm_cli *cli, const gm_step_model *m)
{
    json_t *o = json_object();
    json_object_set_new(o, "exact", json_boolean(m->exact));
    json_object_set_new(o, "gradient_square", gm_json_number(cli, "|mu|^2", m->slope));
    json_object_set_new(o, "gradient_curvature", gm_json_number(cli, "mu.H mu", m->bend));
    json_object_set_new(o, "trace_h_sigma", estimate(cli, "tr H Sigma", &m->trace));
    json_object_set_new(o, "trace_h_sigma_h_sigma",
                        estimate(cli, "tr H Sigma H Sigma", &m->frobenius_square));
    json_object_set_new(o, "lambda_max", gm_json_number(cli, "lambda_max of C", m->lambda_max));
    json_object_set_new(o, "lambda_min", gm_json_number(cli, "lambda_min of C", m->lambda_min));
    json_object_set_new(o, "products", json_integer((json_int_t)m->products));
    return o;
}

json_t *gm_predict_document(gm_cli *cli, const gm_session *session, const gm_predict *predict,
                            gm_error *err)
{
    json_t *document = gm_document_create(cli, session, err);
    if (!document) return NULL;
    json_object_set_new(document, "subcommand", json_string("predict"));
    json_object_set_new(document, "replacement",
                        json_string(predict->without_replacement ? "no" : "yes"));
    json_object_set_new(
        document, "step_form",
        json_string(predict->divisor
                        ? predict->drift ? "theta - eta D^-1 (drift + g)" : "theta - eta D^-1 g"
                    : predict->drift ? "theta - eta (drift + g)"
                                     : "theta - eta g"));
    json_object_set_new(document, "model_terms", model_of(cli, &predict->model));
    json_t *histograms = json_array();
    for (size_t i = 0; i < predict->cases; i++) {
        json_array_append_new(histograms, histogram(&predict->item[i]));
    }
    json_object_set_new(document, "histograms", histograms);
    if (predict->cases == 1) {
        const gm_predict_case *c = predict->item;
        json_object_set_new(document, "predicted", predicted(cli, predict, c));
        json_object_set_new(document, "observed", observed(cli, c));
        json_object_set_new(document, "coverage", coverage(cli, predict, c));
        return document;
    }
    json_t *expected = json_array(), *seen = json_array(), *bands = json_array();
    for (size_t i = 0; i < predict->cases; i++) {
        const gm_predict_case *c = predict->item + i;
        json_array_append_new(expected, predicted(cli, predict, c));
        json_array_append_new(seen, observed(cli, c));
        json_array_append_new(bands, coverage(cli, predict, c));
    }
    json_object_set_new(document, "predicted", expected);
    json_object_set_new(document, "observed", seen);
    json_object_set_new(document, "coverage", bands);
    return document;
}

/* ---- text ---- */

static void print_case(const gm_predict *predict, const gm_predict_case *c)
{
    const gm_step_prediction *p = &c->predicted;
    printf("\nbatch %zu, step %g: Delta = f(theta - step %s) - f(theta) over %zu draws", c->batch,
           c->step, predict->divisor || predict->drift ? "D^-1 (drift + g)" : "g", c->draws);
    if (c->infinite) printf(", %zu of them without a finite loss", c->infinite);
    printf("\n%-22s %14s %14s\n", "", "predicted", "observed");
    printf("%-22s %14.6g %14.6g +- %.2g\n", "mean", p->mean, c->mean, c->mean_error);
    printf("%-22s %14.6g %14.6g\n", "variance", p->variance, c->variance);
    printf("%-22s %14.6g\n", "V (Gaussian noise)", p->v);
    if (!predict->model.exact) {
        printf("estimated: errors of the predicted mean %.2g, variance %.2g, V %.2g\n",
               p->mean_error, p->variance_error, p->v_error);
    }
    for (int q = 0; q < GM_PREDICT_QUANTILES; q++) {
        printf("%3.0f %% quantile         ", 100 * gm_predict_level[q]);
        if (predict->model.exact) printf("%14.6g ", c->quantile[q]);
        if (!predict->model.exact) printf("%14s ", "-");
        printf("%14.6g\n", c->observed[q]);
    }
    printf("%6s %13s %12s %26s %12s %26s\n", "s", "at most e^-s", "below", "95 %", "above", "95 %");
    for (size_t l = 0; l < predict->levels; l++) {
        const gm_coverage *band = &c->coverage[l];
        double low[2], high[2], draws = (double)c->draws;
        gm_clopper_pearson(band->below, c->draws, confidence, low, high);
        gm_clopper_pearson(band->above, c->draws, confidence, low + 1, high + 1);
        printf("%6g %13.4g %12.4g    [%9.3g, %9.3g] %12.4g    [%9.3g, %9.3g]\n", band->s,
               exp(-band->s), (double)band->below / draws, low[0], high[0],
               (double)band->above / draws, low[1], high[1]);
    }
}

void gm_predict_print(const gm_cli *cli, const gm_session *session, const gm_predict *predict)
{
    const gm_step_model *m = &predict->model;
    gm_document_describe(session);
    bool own = predict->divisor || predict->drift;
    if (own) printf("\nw = D^-1 (drift + mu): mu.w %.6g, w.H w %.6g", m->slope, m->bend);
    if (!own) printf("\n|mu|^2 %.6g, mu.H mu %.6g", m->slope, m->bend);
    printf(", tr(H Sigma) %.6g", m->trace.value);
    if (!m->exact) printf(" +- %.2g", m->trace.std_error);
    printf("; batches drawn with%s replacement\n", predict->without_replacement ? "out" : "");
    for (size_t i = 0; i < predict->cases; i++) {
        print_case(predict, &predict->item[i]);
    }
    printf("\nThe mean is exact for the second-order model and any noise; bands and V assume "
           "Gaussian noise.\n%.3g s\n",
           gm_cli_seconds(cli));
}
