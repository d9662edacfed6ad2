#include "report/figure.h"

#include <stdbool.h>
#include <stdlib.h>

#include "report/pictures.h"
#include "report/plot.h"

const gm_figure *const gm_figures[] = {
    &gm_figure_loss,         &gm_figure_steps,     &gm_figure_phases,      &gm_figure_martingale,
    &gm_figure_tracked,      &gm_figure_gauges,    &gm_figure_eigenvalues, &gm_figure_spectra,
    &gm_figure_angles,       &gm_figure_overlap,   &gm_figure_point,       &gm_figure_overlap_at,
    &gm_figure_residual,     &gm_figure_alignment, &gm_figure_subspace,    &gm_figure_extremes,
    &gm_figure_resample,     &gm_figure_density,   &gm_figure_ensemble,    &gm_figure_changes,
    &gm_figure_predicted,    &gm_figure_stability, &gm_figure_growth,      &gm_figure_bound,
    &gm_figure_bound_course, &gm_figure_posterior, &gm_figure_rescaling,   &gm_figure_ranks,
    &gm_figure_bounds,       &gm_figure_slice,     &gm_figure_landscape,   NULL,
};

size_t gm_figure_of_training(const gm_subject *subject)
{
    return gm_subject_trained(subject) || !subject->spectra ? 1 : 0;
}

size_t gm_figure_of_decomposition(const gm_subject *subject)
{
    return subject->points || !(subject->spectra || subject->tracks) ? 1 : 0;
}

static void write_terminal(gm_picture_form form, const char *id, int height, FILE *script)
{
    enum { UNITS_PER_INCH = 100, PNG_SCALE = 2 };
    switch (form) {
    case GM_FORM_PAGE:
    case GM_FORM_SVG:
        fprintf(script,
                "set terminal svg size %d,%d dynamic enhanced name \"%s\" font \"sans-serif,14\" "
                "linewidth 1.25 rounded%s\n",
                GM_FIGURE_WIDTH, height, id, form == GM_FORM_SVG ? " background \"#FFFFFF\"" : "");
        break;
    case GM_FORM_PDF: /* 72 points to the inch */
        fprintf(script,
                "set terminal pdfcairo enhanced color size %.2fin,%.2fin font \"sans,%.2f\" "
                "fontscale 1 linewidth 1 dashlength 3 rounded background \"#FFFFFF\"\n",
                (double)GM_FIGURE_WIDTH / UNITS_PER_INCH, (double)height / UNITS_PER_INCH,
                14.0 * 72.0 / UNITS_PER_INCH);
        break;
    case GM_FORM_PNG:
        fprintf(
            script,
            "set terminal pngcairo enhanced truecolor size %d,%d font \"sans,%.2f\" fontscale %d "
            "linewidth %.2f pointscale %d dashlength 3 rounded background \"#FFFFFF\"\n",
            PNG_SCALE * GM_FIGURE_WIDTH, PNG_SCALE * height, 14.0 * 0.75, PNG_SCALE,
            1.25 * PNG_SCALE, PNG_SCALE);
        break;
    }
}

void gm_picture_prelude(gm_picture_form form, const char *id, int height, FILE *script)
{
    write_terminal(form, id, height, script);
    fputs("set encoding utf8\nset minussign\n", script);
    for (const gm_colour *colour = gm_colours; colour->name; colour++) {
        fprintf(script, "%s = \"%s\"\n", colour->name, colour->light);
    }
    fputs("ink = \"#000000\"\n"
          "set border 3 lw 0.8 lc rgb ink\n"
          "set tics nomirror out scale 0.6,0.35\n"
          "set format \"%h\"\n" /* without the blank that its default puts before each number */
          "set grid xtics ytics lt 1 lw 0.6 lc rgb grid\n"
          "set xtics offset 0,0.2\n"
          "set xlabel offset 0,0.6\n"
          "set title offset 0,-0.45\n"
          "unset key\nunset mouse\n",
          script);
}

bool gm_drawing_has_course(const gm_subject *subject, gm_drawing *drawing)
{
    if (subject->points >= 2) return true;
    fputs(subject->points ? "Only one point was decomposed; a course over training needs several "
                            "checkpoints of a run. The numbers are in the table below."
                          : "The run file holds no decomposition.",
          drawing->missing);
    return false;
}
