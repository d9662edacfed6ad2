/* How near H_p is to -H, and how large M is beside H, over training. */
#include <math.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"

typedef struct quotient {
    const char *path, *block, *label, *colour;
} quotient;

static const quotient quotients[] = {
    {"residual_plus_hessian", "ratio", "‖{/:Italic H}_p + {/:Italic H}‖_F / ‖{/:Italic H}‖_F",
     "green"},
    {"moment_trace_share", "traces", "tr {/:Italic M} / tr {/:Italic H}", "vermillion"},
};
enum { QUOTIENTS = sizeof quotients / sizeof *quotients, DECADES = 8 };

/* Data block and axis of one quotient; *filled false where it is finite nowhere. */
static gm_status write_quotient(const gm_subject *subject, const quotient *q, gm_axis *axis,
                                bool *filled, FILE *script, gm_error *err)
{
    double *value = gm_alloc(subject->points, sizeof *value, "quotients", err);
    if (!value) return GM_ERR_MEMORY;
    *filled = false;
    for (size_t t = 0; t < subject->points; t++) {
        value[t] = gm_result_number(subject->point[t].document, q->path);
        if (isfinite(value[t])) *filled = true;
    }
    *axis = gm_axis_for(subject->points, value, 20.0, DECADES);
    if (axis->scale == GM_SCALE_LINEAR) {
        axis->low = fmin(axis->low, 0.0);
        axis->high = fmax(axis->high, 1.0);
    }
    fprintf(script, "$%s << EOD\n", q->block);
    for (size_t t = 0; t < subject->points; t++) {
        gm_data_point(script, gm_axis_place(&subject->step_axis, (double)subject->point[t].step),
                      gm_axis_place(axis, value[t]));
    }
    fputs("EOD\n", script);
    gm_free(value);
    return GM_OK;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    if (!gm_drawing_has_course(subject, drawing)) return GM_OK;
    FILE *script = drawing->script;
    gm_axis axis[QUOTIENTS];
    bool filled[QUOTIENTS];
    int panels = 0, panel = 0;
    for (int i = 0; i < QUOTIENTS; i++) {
        gm_status status =
            write_quotient(subject, &quotients[i], &axis[i], &filled[i], script, err);
        if (status != GM_OK) return status;
        panels += filled[i] ? 1 : 0;
    }
    if (!panels) {
        fputs("The run file holds no norms or traces of <i>H</i>, <i>M</i> and "
              "<i>H</i><sub>p</sub>, or <i>H</i> vanishes throughout.",
              drawing->missing);
        return GM_OK;
    }
    gm_layout layout = {panels, false, 300, GM_TITLE_ROW, 0};
    fputs("set multiplot\nset xlabel \"training step\"\n", script);
    gm_axis_script(&subject->step_axis, "x", GM_LABELS_SHOWN, script);
    for (int i = 0; i < QUOTIENTS; i++) {
        if (!filled[i]) continue;
        gm_panel(&layout, panel++, "", script);
        gm_axis_script(&axis[i], "y", GM_LABELS_SHOWN, script);
        fprintf(script, "set title \"%s\"\n", quotients[i].label);
        fprintf(script, "plot $%s with linespoints pt 7 ps 0.5 lw 2 lc rgb %s\n",
                quotients[i].block, quotients[i].colour);
    }
    fputs("unset multiplot\n", script);
    drawing->height = layout.height;
    fputs("Left: how far <i>H</i><sub>p</sub> is from &minus;<i>H</i>, relative to <i>H</i>; near "
          "0 the two cancel. Since <i>H</i><sub>p</sub>&nbsp;+&nbsp;<i>H</i>&nbsp;=&nbsp;<i>M</i>, "
          "this is also the size of <i>M</i> beside <i>H</i>. Right: the same comparison by "
          "traces. Both fall where the net fits its labels and stay of order 1 where it cannot.",
          drawing->caption);
    return GM_OK;
}

const gm_figure gm_figure_residual = {"residual", "Is H_p close to −H?", draw,
                                      gm_figure_of_decomposition};
