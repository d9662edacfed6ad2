/* Gain and noise of a step along a training, and where the slow phase begins (theory section 3.1).
 */
#include <math.h>

#include "base/memory.h"
#include "report/curves.h"
#include "report/html.h"

static const char subcommand[] = "phases";
enum { STEP, GAIN, NOISE, ERROR, SIGNAL, COLUMNS };
static const char *const keys[COLUMNS] = {"step", "gain", "noise", "noise_stderr",
                                          "gradient_square"};

static size_t count(const gm_subject *subject)
{
    return gm_dynamics_results(subject, subcommand);
}

static void write_caption(const json_t *d, FILE *caption)
{
    double change = gm_result_number(d, "change/step"), after = gm_result_number(d, "change/after");
    double until = gm_result_number(d, "change/until");
    fputs("What a step of batch ", caption);
    gm_html_number(caption, gm_result_number(d, "batch"));
    fputs(" gains along the gradient, &eta;|&mu;|&sup2; &minus; &frac12;&eta;&sup2;&mu;&middot;H"
          "&mu;, and what the noise takes back, &frac12;&eta;&sup2;&nbsp;tr(H&Sigma;<sub>m</sub>),"
          " by the second-order model; bars: 95&nbsp;%. The slow phase begins where at least ",
          caption);
    gm_html_number(caption, gm_result_number(d, "balance"));
    fputs(" of the gain is taken back from there on: ", caption);
    if (!isfinite(change)) {
        fputs("it is not reached.", caption);
        return;
    }
    fputs("dotted, step ", caption);
    gm_html_number(caption, change);
    if (isfinite(after)) {
        fputs(", surely fast at ", caption);
        gm_html_number(caption, after);
    }
    if (isfinite(until)) {
        fputs(", surely slow at ", caption);
        gm_html_number(caption, until);
    }
    fputs(".", caption);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *d = gm_dynamics_result(subject, subcommand, drawing->number);
    const json_t *steps = gm_result_find(d, "steps");
    size_t points = json_array_size(steps);
    double *column[COLUMNS] = {NULL}, change = gm_result_number(d, "change/step");
    gm_status status = GM_OK;
    for (int i = 0; i < COLUMNS && status == GM_OK; i++) {
        status = gm_result_column(steps, keys[i], &column[i], err);
    }
    for (size_t i = 0; status == GM_OK && i < points; i++) {
        column[ERROR][i] *= 1.96;
    }
    if (status == GM_OK && points > 1) {
        gm_curve curve[] = {{{"dt 1 lc rgb blue", 7, NULL, "gain of the gradient"},
                             "blue",
                             points,
                             column[STEP],
                             column[GAIN],
                             NULL},
                            {{"dt 1 lc rgb vermillion", 7, NULL, "taken back by the noise"},
                             "vermillion",
                             points,
                             column[STEP],
                             column[NOISE],
                             column[ERROR]},
                            {{"dt (6,3) lc rgb ink", 0, NULL, "|{/:Italic μ}|²"},
                             "ink",
                             points,
                             column[STEP],
                             column[SIGNAL],
                             NULL}};
        status = gm_curves_draw(subject, "loss per step; |{/:Italic μ}|²", curve, 3, &change,
                                isfinite(change), drawing, err);
        write_caption(d, drawing->caption);
    } else if (status == GM_OK) {
        fputs("Phases need two checkpoints or more.", drawing->missing);
    }
    for (int i = 0; i < COLUMNS; i++) {
        gm_free(column[i]);
    }
    return status;
}

const gm_figure gm_figure_phases = {"phases", "Fast convergence and slow diffusion", draw, count};
