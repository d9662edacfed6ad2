/* Whole spectra of H, M and H_p at the beginning, in the middle and at the end. */
#include <math.h>

#include "report/figure.h"
#include "report/plot.h"
#include "report/ranks.h"
#include "report/result.h"

enum { MOMENTS = 3, DECADES = 10 };

static const struct {
    const char *colour, *line, *width;
} moment_style[MOMENTS] = {{"orange", "dt 1 lc rgb orange", "1.6"},
                           {"sky", "dt 1 lc rgb sky", "1.6"},
                           {"ink", "dt 1 lc rgb ink", "2"}};

typedef struct extent {
    double largest, smallest; /* sizes of eigenvalues */
    size_t size;              /* eigenvalues of an operator */
    bool partial;             /* of some spectra only the ends are known */
    bool filled[GM_SHOWN_OPERATORS][MOMENTS][2];
} extent;

static gm_status write_blocks(const gm_subject *subject, const size_t index[MOMENTS], int moments,
                              extent *seen, FILE *script, gm_error *err)
{
    for (int o = 0; o < GM_SHOWN_OPERATORS; o++) {
        const char *key = gm_shown_operators[o].key;
        char path[64];
        snprintf(path, sizeof path, "operators/%s", key);
        for (int m = 0; m < moments; m++) {
            const json_t *operator= gm_result_find(subject->point[index[m]].document, path);
            seen->partial = seen->partial || gm_result_partial(operator);
            for (int side = 0; side < 2; side++) {
                gm_numbers end;
                gm_status status = gm_result_end(operator, side == 1, &end, err);
                if (status != GM_OK) return status;
                if (end.rows > seen->size) seen->size = end.rows;
                char name[64];
                snprintf(name, sizeof name, "%s_%d_%d", key, m, side);
                seen->filled[o][m][side] =
                    gm_ranks_write(name, side == 1, &end, gm_ranks_floor(operator, & end),
                                   &seen->largest, &seen->smallest, script) > 0;
                gm_numbers_free(&end);
            }
        }
    }
    return GM_OK;
}

static void plot_operator(int moments, int o, const extent *seen, FILE *script)
{
    const gm_shown_operator *op = &gm_shown_operators[o];
    const char *separator = "plot ";
    fprintf(script, "set title \"%s\"\n", op->label);
    for (int m = 0; m < moments; m++) {
        for (int side = 0; side < 2; side++) {
            if (!seen->filled[o][m][side]) continue;
            fprintf(script, "%s$%s_%d_%d with lines lw %s %s lc rgb %s", separator, op->key, m,
                    side, moment_style[m].width, side ? "dt (6,3)" : "dt 1",
                    moment_style[m].colour);
            separator = ", ";
        }
    }
    /* An operator without a single eigenvalue to show still gets its empty panel. */
    fputs(*separator == 'p' ? "plot NaN\n" : "\n", script);
}

static size_t fill_legend(const gm_subject *subject, const size_t index[MOMENTS], int moments,
                          gm_legend_entry entry[MOMENTS + 2])
{
    size_t count = 0;
    for (int m = 0; m < moments; m++) {
        char step[64];
        gm_legend_entry *e = &entry[count++];
        *e = (gm_legend_entry){moment_style[m].line, 0, NULL, ""};
        gm_step_text(subject->point[index[m]].step, step, sizeof step);
        snprintf(e->label, sizeof e->label, "%s", step);
    }
    entry[count++] = (gm_legend_entry){"dt 1 lc rgb muted", 0, NULL, "positive"};
    entry[count++] = (gm_legend_entry){"dt (6,3) lc rgb muted", 0, NULL, "negative"};
    return count;
}

static void write_caption(bool partial, FILE *caption)
{
    if (partial) {
        fputs("The ends of the spectra, found by products: a curve stops where no more were asked "
              "for. ",
              caption);
    }
    fputs(partial ? "Eigenvalues by rank, " : "Every eigenvalue by rank, ", caption);
    fputs("both axes logarithmic: positive ones from the largest down "
          "(full lines), and the sizes of negative ones from the lowest up (dashed). A steep step "
          "ends the eigenvalues that stand off the bulk; with <i>K</i> classes it is expected near "
          "rank <i>K</i>. <i>M</i> has no negative eigenvalues and at most as many as there are "
          "samples. Values within rounding of zero are left out.",
          caption);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    size_t index[MOMENTS];
    int moments = gm_three_points(subject, index);
    if (!moments) {
        fputs("The run file holds no decomposition: no spectra to show.", drawing->missing);
        return GM_OK;
    }
    extent seen = {0.0, HUGE_VAL, 1, false, {{{false}}}};
    FILE *script = drawing->script;
    gm_status status = write_blocks(subject, index, moments, &seen, script, err);
    if (status != GM_OK) return status;
    if (seen.largest <= 0.0) {
        fputs("The decompositions hold no eigenvalue that is finite and not zero.",
              drawing->missing);
        return GM_OK;
    }
    double lowest = fmax(seen.smallest, seen.largest * pow(10.0, -DECADES));
    gm_axis values = {GM_SCALE_LOG, 1.0, lowest, seen.largest};
    gm_axis ranks = {GM_SCALE_LOG, 1.0, 1.0, (double)(seen.size > 1 ? seen.size : 2)};
    gm_layout layout = {GM_SHOWN_OPERATORS, true, 400, GM_LEGEND_ROW + GM_TITLE_ROW, 0};
    gm_legend_entry entry[MOMENTS + 2];
    size_t entries = fill_legend(subject, index, moments, entry);
    fputs("set multiplot\nset xlabel \"rank\"\n", script);
    for (int o = 0; o < GM_SHOWN_OPERATORS; o++) {
        gm_panel(&layout, o, o ? "" : "size of eigenvalue", script);
        if (!o) gm_legend(&layout, -1, entry, entries, script);
        gm_axis_script(&ranks, "x", GM_LABELS_SHOWN, script);
        gm_axis_script(&values, "y", o ? GM_LABELS_BARE : GM_LABELS_SHOWN, script);
        plot_operator(moments, o, &seen, script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
    drawing->height = layout.height;
    write_caption(seen.partial, drawing->caption);
    return GM_OK;
}

const gm_figure gm_figure_spectra = {"spectra", "Whole spectra", draw, gm_figure_of_decomposition};
