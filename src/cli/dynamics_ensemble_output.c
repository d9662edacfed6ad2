/* gradiometer dynamics ensemble: the document and the readable form. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/dynamics_ensemble.h"
#include "kernels/kernels.h"

/* ---- JSON ---- */

/* What has no value at a step is null; a document may have thousands of them, so no notice. */
static json_t *number_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* One quantity over the recorded steps: arrays by step, quantiles[level][step]. */
typedef struct columns {
    json_t *count, *infinite, *undefined, *mean, *sd, *error, *min, *max;
    json_t *quantile[GM_ENSEMBLE_LEVELS];
} columns;

static void append(const columns *c, const gm_ensemble_summary *s)
{
    json_array_append_new(c->count, json_integer((json_int_t)s->count));
    json_array_append_new(c->infinite, json_integer((json_int_t)s->infinite));
    json_array_append_new(c->undefined, json_integer((json_int_t)s->undefined));
    json_array_append_new(c->mean, number_or_null(s->mean));
    json_array_append_new(c->sd, number_or_null(s->sd));
    json_array_append_new(c->error, number_or_null(s->stderror));
    json_array_append_new(c->min, number_or_null(s->min));
    json_array_append_new(c->max, number_or_null(s->max));
    for (int q = 0; q < GM_ENSEMBLE_LEVELS; q++) {
        json_array_append_new(c->quantile[q], number_or_null(s->quantile[q]));
    }
}

static json_t *new_column(json_t *object, const char *name)
{
    json_t *column = json_array();
    json_object_set_new(object, name, column);
    return column;
}

static gm_status quantity_value(const gm_ensemble *e, gm_quantity quantity, json_t **object,
                                gm_error *err)
{
    json_t *o = *object = json_object();
    columns c = {new_column(o, "count"), new_column(o, "infinite"), new_column(o, "undefined"),
                 new_column(o, "mean"),  new_column(o, "sd"),       new_column(o, "stderr"),
                 new_column(o, "min"),   new_column(o, "max"),      .quantile = {NULL}};
    json_t *quantiles = json_object(), *levels = json_array(), *values = json_array();
    for (int q = 0; q < GM_ENSEMBLE_LEVELS; q++) {
        json_array_append_new(levels, json_real(gm_ensemble_level[q]));
        c.quantile[q] = json_array();
        json_array_append_new(values, c.quantile[q]);
    }
    json_object_set_new(quantiles, "levels", levels);
    json_object_set_new(quantiles, "values", values);
    json_object_set_new(o, "quantiles", quantiles);
    for (size_t i = 0; i < gm_ensemble_steps(e); i++) {
        gm_ensemble_summary s;
        gm_status status = gm_ensemble_summarize(e, quantity, i, &s, err);
        if (status != GM_OK) return status;
        append(&c, &s);
    }
    return GM_OK;
}

/* Recorded steps, evenly spaced in log(1 + step): `most` of them at most, the first and the last
 * that have values of the quantity among them. Returns how many. */
static size_t choose_steps(const gm_ensemble *e, size_t last, size_t most, size_t *index)
{
    size_t count = 0;
    for (size_t i = 0; i < most; i++) {
        double share = most > 1 ? (double)i / (double)(most - 1) : 0.0;
        size_t at = (size_t)(expm1(share * log1p((double)last)) + 0.5);
        if (count && at <= index[count - 1]) at = index[count - 1] + 1;
        if (at > last || at >= gm_ensemble_steps(e)) break;
        index[count++] = at;
    }
    return count;
}

static gm_status histogram_value(const gm_ensemble *e, size_t index, json_t *list, gm_error *err)
{
    gm_ensemble_summary s;
    gm_delta_histogram h;
    gm_status status = gm_ensemble_summarize(e, GM_QUANTITY_DELTA, index, &s, err);
    if (status != GM_OK) return status;
    const double quantile[] = {s.quantile[0], s.quantile[GM_ENSEMBLE_LEVELS - 1]};
    if (!gm_delta_histogram_frame(&h, s.count, quantile, (double[]){s.min, s.max})) return GM_OK;
    status = gm_ensemble_histogram(e, GM_QUANTITY_DELTA, index, h.low, h.high, h.bins, h.count,
                                   &h.below, &h.above, err);
    if (status != GM_OK) return status;
    json_t *o = gm_delta_histogram_value(&h);
    json_object_set_new(o, "quantity", json_string(gm_quantity_name(GM_QUANTITY_DELTA)));
    json_object_set_new(o, "step", json_integer((json_int_t)gm_ensemble_step(e, index)));
    json_array_append_new(list, o);
    return GM_OK;
}

static gm_status histograms(const gm_ensemble *e, json_t *document, gm_error *err)
{
    size_t index[GM_ENSEMBLE_HISTOGRAMS];
    json_t *list = new_column(document, "histograms");
    if (!((gm_ensemble_options_of(e)->record >> GM_QUANTITY_DELTA) & 1u)) return GM_OK;
    size_t chosen = choose_steps(e, gm_ensemble_steps(e) - 2, GM_ENSEMBLE_HISTOGRAMS, index);
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < chosen; i++) {
        status = histogram_value(e, index[i], list, err);
    }
    return status;
}

static gm_status quantities(const gm_ensemble *e, json_t *document, gm_error *err)
{
    json_t *object = json_object();
    json_object_set_new(document, "quantities", object);
    for (int q = 0; q < GM_QUANTITIES; q++) {
        json_t *value = NULL;
        if (!((gm_ensemble_options_of(e)->record >> q) & 1u)) continue;
        gm_status status = quantity_value(e, (gm_quantity)q, &value, err);
        json_object_set_new(object, gm_quantity_name((gm_quantity)q), value);
        if (status != GM_OK) return status;
    }
    return GM_OK;
}

json_t *gm_ensemble_document(gm_cli *cli, const gm_session *session, const gm_ensemble_view *view,
                             gm_error *err)
{
    const gm_ensemble *e = view->ensemble;
    size_t done = gm_ensemble_done(e), asked = gm_ensemble_options_of(e)->runs;
    bool exact = gm_ensemble_exact(e);
    json_t *document = gm_document_create(cli, session, err);
    if (!document) return NULL;
    json_object_set_new(document, "subcommand", json_string("ensemble"));
    json_object_set_new(document, "isa", json_string(gm_kernels_get(session->precision)->isa));
    json_object_set(document, "setup", view->setup);
    json_object_set_new(document, "runs", json_integer((json_int_t)done));
    json_object_set_new(document, "runs_asked", json_integer((json_int_t)asked));
    json_object_set_new(document, "finished", json_boolean(done == asked));
    json_object_set_new(document, "way", json_string(gm_ensemble_tiled(e) ? "tiles" : "problem"));
    json_object_set_new(document, "quantile_method", json_string(exact ? "exact" : "sketch"));
    json_object_set_new(document, "quantile_error", json_real(exact ? 0.0 : 1.0 / 256));
    json_t *steps = new_column(document, "steps"), *diverged = new_column(document, "diverged");
    for (size_t i = 0; i < gm_ensemble_steps(e); i++) {
        json_array_append_new(steps, json_integer((json_int_t)gm_ensemble_step(e, i)));
        json_array_append_new(diverged, json_integer((json_int_t)gm_ensemble_diverged(e, i)));
    }
    json_t *kept = new_column(document, "kept_runs");
    for (size_t i = 0; i < gm_ensemble_kept(e); i++) {
        json_array_append_new(kept, json_integer((json_int_t)gm_ensemble_kept_run(e, i)));
    }
    gm_status status = quantities(e, document, err);
    if (status == GM_OK) status = histograms(e, document, err);
    if (status == GM_OK) return document;
    json_decref(document);
    return NULL;
}

/* ---- text ---- */

static const char *const titles[GM_QUANTITIES] = {
    [GM_QUANTITY_LOSS] = "loss f(theta_t)",
    [GM_QUANTITY_DELTA] = "Delta_t = f(theta_{t+1}) - f(theta_t)",
    [GM_QUANTITY_COSINE] = "cosine of the angle between g_t and g_{t+1}",
    [GM_QUANTITY_DISTANCE] = "distance |theta_t - theta_0|",
    [GM_QUANTITY_ERROR] = "share of wrong predictions, training set",
    [GM_QUANTITY_TEST_ERROR] = "share of wrong predictions, test set",
    [GM_QUANTITY_MEAN_COSINE] = "cosine of the angle between g_t and the full gradient mu_t",
    [GM_QUANTITY_GRADIENT_SQUARE] = "|mu_t|^2",
    [GM_QUANTITY_NOISE_TRACE] = "tr Sigma_t, of the gradients of single samples",
};

enum { ROWS = 9 };

static void print_row(const gm_ensemble *e, size_t index, const gm_ensemble_summary *s)
{
    printf("%9llu %12.5g %9.2g %10.3g", (unsigned long long)gm_ensemble_step(e, index), s->mean,
           s->stderror, s->sd);
    for (int q = 0; q < GM_ENSEMBLE_LEVELS; q++) {
        printf(" %10.4g", s->quantile[q]);
    }
    if (s->infinite) printf("  %zu infinite", s->infinite);
    if (s->undefined) printf("  %zu undefined", s->undefined);
    putchar('\n');
}

/* Index of the last recorded step at or before `index` at which the quantity has values; 0 where
 * there is none. */
static gm_status last_recorded(const gm_ensemble *e, gm_quantity quantity, size_t *index,
                               gm_ensemble_summary *s, gm_error *err)
{
    for (;; (*index)--) {
        gm_status status = gm_ensemble_summarize(e, quantity, *index, s, err);
        if (status != GM_OK || s->recorded || *index == 0) return status;
    }
}

static gm_status print_quantity(const gm_ensemble *e, gm_quantity quantity, gm_error *err)
{
    size_t index[ROWS], last = gm_ensemble_steps(e) - 1;
    gm_ensemble_summary s;
    gm_status status = last_recorded(e, quantity, &last, &s, err);
    printf("\n%s\n%9s %12s %9s %10s", titles[quantity], "step", "mean", "+-", "sd");
    for (int q = 0; q < GM_ENSEMBLE_LEVELS; q++) {
        printf(" %8.0f %%", 100 * gm_ensemble_level[q]);
    }
    putchar('\n');
    size_t count = choose_steps(e, last, ROWS, index), shown = SIZE_MAX;
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        status = last_recorded(e, quantity, &index[i], &s, err);
        if (status != GM_OK || !s.recorded || index[i] == shown) continue;
        print_row(e, index[i], &s);
        shown = index[i];
    }
    return status;
}

static void print_head(const gm_session *session, const gm_ensemble *e)
{
    const gm_ensemble_options *o = gm_ensemble_options_of(e);
    const gm_train_options *t = &o->train;
    char step[GM_POLICY_TEXT];
    gm_policy_print(&t->policy, t->step, step);
    gm_document_describe(session);
    printf("ensemble   %zu runs (numbers %lu on) of %llu steps, %s start; %s, batches of %zu "
           "(replacement %s), step %s",
           gm_ensemble_done(e), (unsigned long)t->run, (unsigned long long)t->steps,
           o->fresh ? "a fresh" : "the same", gm_optimizer_name(t->optimizer), t->batch,
           gm_replacement_name(t->replacement), step);
    if (t->momentum > 0) printf(", %smomentum %g", t->nesterov ? "Nesterov " : "", t->momentum);
    if (t->precondition != GM_PRECONDITION_NONE)
        printf(", preconditioned by %s", gm_precondition_name(t->precondition));
    if (t->weight_decay > 0) printf(", weight decay %g (not in f)", t->weight_decay);
    printf("\nquantiles  %s\n", gm_ensemble_exact(e)
                                    ? "exact"
                                    : "from sketches, each order statistic within 1/256 of itself");
    size_t gone = gm_ensemble_diverged(e, gm_ensemble_steps(e) - 1);
    if (gone)
        printf("diverged   %zu of %zu runs: counted as infinite from then on, in quantiles but not "
               "in means\n",
               gone, gm_ensemble_done(e));
}

gm_status gm_ensemble_print(const gm_cli *cli, const gm_session *session,
                            const gm_ensemble_view *view, gm_error *err)
{
    const gm_ensemble *e = view->ensemble;
    gm_status status = GM_OK;
    print_head(session, e);
    for (int q = 0; status == GM_OK && q < GM_QUANTITIES; q++) {
        if ((gm_ensemble_options_of(e)->record >> q) & 1u)
            status = print_quantity(e, (gm_quantity)q, err);
    }
    printf("\n+- is the standard error of the mean over runs.\n%.3g s\n", gm_cli_seconds(cli));
    return status;
}
