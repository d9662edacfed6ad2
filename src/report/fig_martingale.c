/* Expected change of the loss in one step at points along a training, policy by policy, with the 95
 * % intervals of the martingale check. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/curves.h"
#include "report/html.h"

static const char subcommand[] = "martingale";
enum { POLICIES = 6 };
static const char *const colours[POLICIES] = {"vermillion", "blue", "green",
                                              "orange",     "sky",  "ink"};
static const char *const lines[POLICIES] = {"dt 1 lc rgb vermillion", "dt 1 lc rgb blue",
                                            "dt 1 lc rgb green",      "dt 1 lc rgb orange",
                                            "dt 1 lc rgb sky",        "dt 1 lc rgb ink"};

static size_t count(const gm_subject *subject)
{
    return gm_dynamics_results(subject, subcommand);
}

/* Of policy k: its points, its text and the share of points that pass. */
static const json_t *points_of(const json_t *d, size_t k)
{
    const json_t *steps = gm_result_find(d, "steps");
    bool several = json_array_size(gm_result_find(d, "policies")) > 1;
    return several ? json_array_get(steps, k) : steps;
}

static void write_caption(const json_t *d, size_t shown, FILE *caption)
{
    const json_t *policies = gm_result_find(d, "policies"), *share = gm_result_find(d, "share_ok");
    fputs("Mean change of the loss in one step over ", caption);
    gm_html_number(caption, gm_result_number(d, "draws"));
    fputs(" fresh mini-batches of ", caption);
    gm_html_number(caption, gm_result_number(d, "batch"));
    fputs(" at each point, with 95&nbsp;% intervals; infinite means are left out. Below the dotted "
          "line the loss falls in expectation. Points whose upper limit is at most 0: ",
          caption);
    for (size_t k = 0; k < shown; k++) {
        const json_t *one = json_is_array(share) ? json_array_get(share, k) : share;
        const char *text = json_string_value(json_array_get(policies, k));
        if (k) fputs("; ", caption);
        gm_html_text(caption, text ? text : "");
        fputs(" ", caption);
        gm_html_number(caption, 100.0 * json_number_value(one));
        fputs("&nbsp;%", caption);
    }
    fputs(".", caption);
}

static gm_status fill_curve(const json_t *d, size_t k, gm_curve *curve, double *column[3],
                            gm_error *err)
{
    const json_t *points = points_of(d, k);
    const char *text = json_string_value(json_array_get(gm_result_find(d, "policies"), k));
    gm_status status = gm_result_column(points, "step", &column[0], err);
    if (status == GM_OK) status = gm_result_column(points, "mean", &column[1], err);
    if (status == GM_OK) status = gm_result_column(points, "upper", &column[2], err);
    if (status != GM_OK) return status;
    size_t size = json_array_size(points);
    for (size_t i = 0; i < size; i++) {
        column[2][i] -= column[1][i]; /* half the interval */
    }
    *curve = (gm_curve){.entry = {.line = lines[k], .point = 7},
                        .colour = colours[k],
                        .count = size,
                        .step = column[0],
                        .value = column[1],
                        .half = column[2]};
    /* The name alone: with all its keys a policy would not fit. */
    size_t length = text ? strcspn(text, ",") : 0;
    const char *colon = text ? strchr(text, ':') : NULL;
    if (colon && strncmp(text, "decay", 5) != 0 && strncmp(text, "cosine", 6) != 0)
        length = (size_t)(colon - text);
    snprintf(curve->entry.label, sizeof curve->entry.label, "'step %.*s", (int)length,
             text ? text : "");
    return GM_OK;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *d = gm_dynamics_result(subject, subcommand, drawing->number);
    size_t shown = json_array_size(gm_result_find(d, "policies"));
    if (shown > POLICIES) shown = POLICIES;
    gm_curve curve[POLICIES];
    double *column[POLICIES][3] = {{NULL}};
    gm_status status = GM_OK;
    for (size_t k = 0; k < shown && status == GM_OK; k++) {
        status = fill_curve(d, k, &curve[k], column[k], err);
    }
    if (status == GM_OK && shown && curve[0].count > 1) {
        status = gm_curves_draw(subject, "E[{/:Italic f}(θ_{t+1})] − {/:Italic f}(θ_t)", curve,
                                shown, NULL, 0, drawing, err);
        write_caption(d, shown, drawing->caption);
    } else if (status == GM_OK) {
        fputs("The check was made at one point alone.", drawing->missing);
    }
    for (size_t k = 0; k < POLICIES; k++) {
        for (int i = 0; i < 3; i++) {
            gm_free(column[k][i]);
        }
    }
    return status;
}

const gm_figure gm_figure_martingale = {"martingale", "Does the loss fall in expectation?", draw,
                                        count};
