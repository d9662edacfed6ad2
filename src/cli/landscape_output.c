/* A slice as a document, and in words. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/document.h"
#include "cli/landscape.h"

static const double close_share = 0.1; /* of the loss: within it the model holds */

/* ---- findings ---- */

/* The lowest point evaluated; false where no loss is finite. */
static bool lowest(const gm_landscape_run *run, size_t *index)
{
    bool found = false;
    for (size_t i = 0; i < run->done; i++) {
        if (!isfinite(run->values.loss[i]) ||
            (found && run->values.loss[i] >= run->values.loss[*index]))
            continue;
        *index = i;
        found = true;
    }
    return found;
}

static bool holds(const gm_landscape_run *run, size_t i)
{
    return isfinite(run->values.loss[i]) &&
           fabs(run->values.loss[i] - run->quadratic[i]) <= close_share * run->values.loss[i];
}

/* On a line: the grid points around 0 up to which the model holds; false where it does not at the
 * nearest ones. */
static bool agreement(const gm_landscape_run *run, double *low, double *high)
{
    const double *t = run->axis[0].at;
    size_t middle = 0;
    if (run->dimensions > 1 || !run->done) return false;
    for (size_t i = 1; i < run->done; i++) {
        if (fabs(t[i]) < fabs(t[middle])) middle = i;
    }
    if (!holds(run, middle)) return false;
    size_t first = middle, last = middle;
    while (first > 0 && holds(run, first - 1)) {
        first--;
    }
    while (last + 1 < run->done && holds(run, last + 1)) {
        last++;
    }
    *low = t[first];
    *high = t[last];
    return true;
}

/* Of the layer or group that the directions are restricted to; NULL for the whole net. */
static const char *layer_name(const gm_session *session)
{
    if (session->layer == GM_ALL_LAYERS) return NULL;
    return gm_net_layer_at(session->net, (size_t)session->layer).name;
}

/* ---- document ---- */

/* NaN: there is none, null without a notice. */
static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* One number for each grid point, in rows along the first axis where there are two; one notice for
 * those evaluated that are not finite. */
static json_t *grid_values(gm_cli *cli, const gm_landscape_run *run, const char *what,
                           const double *value)
{
    json_t *rows = json_array(), *row = run->dimensions > 1 ? NULL : rows;
    size_t lost = 0;
    for (size_t i = 0; i < run->count; i++) {
        if (run->dimensions > 1 && i % run->points == 0) {
            row = json_array();
            json_array_append_new(rows, row);
        }
        json_array_append_new(row, number_or_null(value[i]));
        lost += i < run->done && !isfinite(value[i]);
    }
    if (lost)
        gm_cli_note(cli, "%s: %zu of %zu numbers are not finite, written as null", what, lost,
                    run->done);
    return rows;
}

static json_t *grid_value(gm_cli *cli, const gm_landscape_run *run)
{
    json_t *o = json_object(), *axes = json_array();
    for (size_t a = 0; a < run->dimensions; a++) {
        json_array_append_new(axes, gm_json_numbers(cli, "axes", run->points, run->axis[a].at));
    }
    json_object_set_new(o, "points", json_integer((json_int_t)run->count));
    json_object_set_new(o, "evaluated", json_integer((json_int_t)run->done));
    json_object_set_new(o, "axes", axes);
    json_object_set_new(o, "loss", grid_values(cli, run, "grid/loss", run->values.loss));
    json_object_set_new(o, "error", grid_values(cli, run, "grid/error", run->values.error_rate));
    const gm_landscape_values *v = &run->values;
    json_object_set_new(o, "test_loss",
                        v->test_loss ? grid_values(cli, run, "grid/test_loss", v->test_loss)
                                     : json_null());
    json_object_set_new(o, "test_error",
                        v->test_loss ? grid_values(cli, run, "grid/test_error", v->test_error_rate)
                                     : json_null());
    json_object_set_new(o, "quadratic", grid_values(cli, run, "grid/quadratic", run->quadratic));
    return o;
}

static json_t *directions_value(gm_cli *cli, const gm_landscape_run *run)
{
    json_t *list = json_array();
    for (size_t a = 0; a < run->dimensions; a++) {
        const gm_landscape_axis *axis = &run->axis[a];
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(axis->name));
        json_object_set_new(o, "norm", gm_json_number(cli, "norm", axis->norm));
        json_object_set_new(o, "slope", gm_json_number(cli, "slope", run->model.slope[a]));
        json_object_set_new(o, "curvature",
                            gm_json_number(cli, "curvature", run->model.curvature[a][a]));
        json_object_set_new(o, "eigenvalue", number_or_null(axis->eigenvalue));
        json_object_set_new(o, "residual", number_or_null(axis->residual));
        json_object_set_new(o, "variance_share", number_or_null(axis->share));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *model_value(gm_cli *cli, const gm_landscape_run *run)
{
    const gm_landscape_model *m = &run->model;
    json_t *o = json_object(), *rows = json_array();
    for (size_t a = 0; a < run->dimensions; a++) {
        json_array_append_new(rows,
                              gm_json_numbers(cli, "curvature", run->dimensions, m->curvature[a]));
    }
    json_object_set_new(o, "loss", gm_json_number(cli, "quadratic/loss", m->loss));
    json_object_set_new(o, "slope",
                        gm_json_numbers(cli, "quadratic/slope", run->dimensions, m->slope));
    json_object_set_new(o, "curvature", rows);
    double low, high;
    json_object_set_new(
        o, "holds",
        agreement(run, &low, &high)
            ? json_pack("{s:f, s:f, s:f}", "within", close_share, "low", low, "high", high)
            : json_null());
    return o;
}

static json_t *lowest_value(gm_cli *cli, const gm_landscape_run *run)
{
    size_t i = 0;
    if (!lowest(run, &i)) return json_null();
    json_t *o = json_object();
    json_object_set_new(
        o, "at", gm_json_numbers(cli, "lowest", run->dimensions, run->at + i * run->dimensions));
    json_object_set_new(o, "loss", gm_json_number(cli, "lowest", run->values.loss[i]));
    json_object_set_new(o, "error", gm_json_number(cli, "lowest", run->values.error_rate[i]));
    if (run->values.test_loss)
        json_object_set_new(o, "test_loss",
                            gm_json_number(cli, "lowest", run->values.test_loss[i]));
    return o;
}

static json_t *to_value(gm_cli *cli, const gm_landscape_run *run)
{
    if (!run->to) return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "point", gm_json_text(run->to_point));
    json_object_set_new(o, "loss", gm_json_number(cli, "to/loss", run->to_loss));
    json_object_set_new(o, "error", gm_json_number(cli, "to/error", run->to_error));
    return o;
}

static json_t *path_value(gm_cli *cli, const gm_landscape_run *run)
{
    const gm_landscape_path *path = &run->path;
    if (!path->count) return json_null();
    json_t *o = json_object(), *steps = json_array(), *places = json_array();
    for (size_t i = 0; i < path->count; i++) {
        json_array_append_new(steps, json_integer(path->step[i]));
        json_array_append_new(places, gm_json_numbers(cli, "trajectory", run->dimensions,
                                                      path->place + i * run->dimensions));
    }
    json_object_set_new(o, "steps", steps);
    json_object_set_new(o, "coordinates", places);
    json_object_set_new(o, "distances",
                        gm_json_numbers(cli, "distances", path->count, path->distance));
    json_object_set_new(o, "loss", gm_json_numbers(cli, "trajectory", path->count, path->loss));
    return o;
}

/* What is the slice's own. */
static void set_slice(gm_cli *cli, json_t *o, const gm_session *session,
                      const gm_landscape_run *run)
{
    const char *layer = layer_name(session);
    json_object_set_new(o, "along", json_string(gm_along_words[run->along]));
    json_object_set_new(o, "dimensions", json_integer((json_int_t)run->dimensions));
    json_object_set_new(o, "layer", gm_json_text_or_null(layer));
    json_object_set_new(o, "training_error",
                        gm_json_number(cli, "training_error", run->training_error));
    json_object_set_new(o, "directions", directions_value(cli, run));
    json_object_set_new(o, "quadratic", model_value(cli, run));
    json_object_set_new(o, "grid", grid_value(cli, run));
    json_object_set_new(o, "lowest", lowest_value(cli, run));
}

json_t *gm_landscape_entry(gm_cli *cli, const gm_session *session, const gm_landscape_run *run,
                           const char *label)
{
    json_t *o = json_object();
    json_object_set_new(o, "step", json_integer(session->step));
    json_object_set_new(o, "label", gm_json_text(label));
    json_object_set_new(o, "loss", gm_json_number(cli, "loss", session->loss));
    json_object_set_new(o, "gradient_norm",
                        gm_json_number(cli, "gradient_norm", session->gradient_norm));
    set_slice(cli, o, session, run);
    return o;
}

char *gm_landscape_key(const gm_session *session, const gm_landscape_run *run, gm_error *err)
{
    const char *layer = layer_name(session);
    return gm_format(err, "%s-%zud%s%s", gm_along_words[run->along], run->dimensions,
                     layer ? "/" : "", layer ? layer : "");
}

json_t *gm_landscape_document(gm_cli *cli, const gm_session *session, const gm_landscape_run *run,
                              gm_error *err)
{
    json_t *d = gm_document_create(cli, session, err);
    if (!d) return NULL;
    if (run->done < run->count)
        gm_cli_note(cli, "interrupted: %zu of %zu points evaluated", run->done, run->count);
    set_slice(cli, d, session, run);
    json_object_set_new(d, "to", to_value(cli, run));
    json_object_set_new(d, "trajectory", path_value(cli, run));
    json_object_set_new(d, "variance_share",
                        run->path.count ? gm_json_number(cli, "variance_share", run->path.share)
                                        : json_null());
    return d;
}

/* ---- words ---- */

static void print_axes(const gm_landscape_run *run)
{
    printf("\n  %-48s %10s %11s %11s  %s\n", "direction", "length", "slope", "curvature", "range");
    for (size_t a = 0; a < run->dimensions; a++) {
        const gm_landscape_axis *axis = &run->axis[a];
        printf("  %-48s %10.4g %11.4g %11.4g  %.4g ... %.4g\n", axis->name, axis->norm,
               run->model.slope[a], run->model.curvature[a][a], axis->low, axis->high);
    }
}

/* About ten rows of the line; the whole of it is in the document. */
static void print_line(const gm_landscape_run *run)
{
    size_t every = (run->points + 9) / 10;
    const gm_landscape_values *v = &run->values;
    printf("\n  %12s %12s %12s %9s%s\n", "t", "loss", "model", "error",
           v->test_loss ? "    test loss     error" : "");
    for (size_t i = 0; i < run->done; i++) {
        if (i % every && i + 1 < run->points) continue;
        printf("  %12.5g %12.6g %12.6g %9.5f", run->axis[0].at[i], run->values.loss[i],
               run->quadratic[i], run->values.error_rate[i]);
        if (v->test_loss) printf(" %12.6g %9.5f", v->test_loss[i], v->test_error_rate[i]);
        putchar('\n');
    }
}

static void print_lowest(const gm_landscape_run *run)
{
    size_t i = 0;
    if (!lowest(run, &i)) {
        printf("no point of the slice has a finite loss\n");
        return;
    }
    printf("lowest of the %zu points: %.6g at t = %.4g", run->done, run->values.loss[i],
           run->at[i * run->dimensions]);
    if (run->dimensions > 1) printf(", %.4g", run->at[i * run->dimensions + 1]);
    printf("; error %.5f", run->values.error_rate[i]);
    if (run->values.test_loss) printf("; on the test set %.6g", run->values.test_loss[i]);
    putchar('\n');
}

static void print_path(const gm_landscape_run *run)
{
    const gm_landscape_path *path = &run->path;
    double farthest = 0.0;
    if (!path->count) return;
    for (size_t i = 0; i < path->count; i++) {
        farthest = fmax(farthest, path->distance[i]);
    }
    printf("trajectory: the slice keeps %.4g %% of the variance of %zu checkpoints",
           100 * path->share, path->count);
    if (run->along == GM_ALONG_PRINCIPAL && run->dimensions > 1)
        printf(" (%.4g %% and %.4g %%)", 100 * run->axis[0].share, 100 * run->axis[1].share);
    printf(";\nthe farthest is %.4g away from it\n", farthest);
}

void gm_landscape_print(const gm_session *session, const gm_landscape_run *run)
{
    double low, high;
    gm_document_describe(session);
    if (run->to)
        printf("to         %s: f = %.6g, error %.5f\n", run->to_point, run->to_loss, run->to_error);
    const char *layer = layer_name(session);
    printf("slice      theta + sum t d, along %s%s%s; error %.5f at t = 0\n",
           gm_along_words[run->along], layer ? " within " : "", layer ? layer : "",
           run->training_error);
    print_axes(run);
    if (run->dimensions == 1) print_line(run);
    putchar('\n');
    print_lowest(run);
    if (agreement(run, &low, &high)) {
        printf("the quadratic model is within %g %% of the loss from t = %.4g to %.4g\n",
               100 * close_share, low, high);
    } else if (run->dimensions == 1) {
        printf("the quadratic model is not within %g %% of the loss at the points beside t = 0\n",
               100 * close_share);
    }
    print_path(run);
}

/* ---- a line for each of several points ---- */

void gm_landscape_print_header(const gm_session *session, const gm_landscape_run *run, int width)
{
    printf("slices     theta + sum t d, along %s%s%s at every point\n\n",
           gm_along_words[run->along], layer_name(session) ? " within " : "",
           layer_name(session) ? layer_name(session) : "");
    printf("%-*s  %11s  %11s  %11s  %23s  %11s\n", width, "point", "loss", "slope", "curvature",
           run->dimensions == 1 ? "model holds" : "2nd curvature", "lowest");
}

void gm_landscape_print_point(const gm_session *session, const gm_landscape_run *run,
                              const char *label, int width)
{
    double low, high;
    size_t i = 0;
    char within[64] = "nowhere";
    if (agreement(run, &low, &high)) snprintf(within, sizeof within, "%.4g ... %.4g", low, high);
    if (run->dimensions > 1) snprintf(within, sizeof within, "%.5g", run->model.curvature[1][1]);
    printf("%-*s  %11.6g  %11.4g  %11.5g  %23s", width, label, session->loss, run->model.slope[0],
           run->model.curvature[0][0], within);
    if (lowest(run, &i)) {
        printf("  %11.6g at %.4g", run->values.loss[i], run->at[i * run->dimensions]);
        if (run->dimensions > 1) printf(", %.4g", run->at[i * run->dimensions + 1]);
    }
    putchar('\n');
    fflush(stdout);
}
