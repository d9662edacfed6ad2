/* Step sizes that a policy chose along a training, with the limit below which the loss does not
 * rise in expectation. */
#include "base/memory.h"
#include "report/curves.h"
#include "report/html.h"

static size_t count(const gm_subject *subject)
{
    return subject->metric[GM_SUBJECT_STEP_SIZE].count > 0;
}

static gm_status widen(const gm_subject_metric *metric, double **step, gm_error *err)
{
    *step = gm_alloc(metric->count, sizeof **step, "steps", err);
    if (!*step) return GM_ERR_MEMORY;
    for (size_t i = 0; i < metric->count; i++) {
        (*step)[i] = (double)metric->step[i];
    }
    return GM_OK;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const gm_subject_metric *chosen = &subject->metric[GM_SUBJECT_STEP_SIZE];
    const gm_subject_metric *limit = &subject->metric[GM_SUBJECT_STEP_LIMIT];
    const char *policy = gm_subject_setting(subject, "train.policy");
    double *at[2] = {NULL, NULL};
    gm_status status = widen(limit, &at[0], err);
    if (status == GM_OK) status = widen(chosen, &at[1], err);
    gm_curve curve[2] = {{{"dt (6,3) lc rgb vermillion", 0, NULL, "limit {/:Italic η}_{lim}"},
                          "vermillion",
                          limit->count,
                          at[0],
                          limit->value,
                          NULL},
                         {{"dt 1 lc rgb blue", 0, NULL, "step {/:Italic η} taken"},
                          "blue",
                          chosen->count,
                          at[1],
                          chosen->value,
                          NULL}};
    size_t first = limit->count ? 0 : 1;
    if (status == GM_OK)
        status =
            gm_curves_draw(subject, "step size", curve + first, 2 - first, NULL, 0, drawing, err);
    gm_free(at[0]);
    gm_free(at[1]);
    fputs("Step size of every step, chosen by the policy ", drawing->caption);
    gm_html_text(drawing->caption, policy ? policy : "of the run");
    if (limit->count)
        fputs("; dashed, the limit 2|&mu;|&sup2;/(L&nbsp;tr&nbsp;M<sub>m</sub>) below which the "
              "loss does not rise in expectation, as far as L is the largest curvature there is",
              drawing->caption);
    fputs(".", drawing->caption);
    return status;
}

const gm_figure gm_figure_steps = {"steps", "Step sizes chosen", draw, count};
