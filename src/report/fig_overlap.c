/* Overlap of leading subspaces against their dimension k. */
#include <math.h>
#include <string.h>

#include "report/figure.h"
#include "report/plot.h"
#include "report/result.h"

enum { MOMENTS = 3, MOST_CURVES = 8 };

/* One panel: curves of overlap against k in blocks $BLOCK_0, $BLOCK_1, ... */
typedef struct panel {
    const char *block;
    size_t count;
    gm_legend_entry legend[MOST_CURVES + 1]; /* the curves', and that of random subspaces */
    char title[96];
} panel;

static const struct {
    const char *line;
    int point;
} pair_style[MOST_CURVES] = {
    {"dt 1 lc rgb vermillion", 7}, {"dt 1 lc rgb orange", 5},     {"dt (7,3) lc rgb purple", 9},
    {"dt (7,3) lc rgb sky", 11},   {"dt (2,2) lc rgb green", 13}, {"dt 1 lc rgb blue", 6},
    {"dt 1 lc rgb muted", 4},      {"dt (7,3) lc rgb ink", 8},
};
static const char *const moment_line[MOMENTS] = {"dt 1 lc rgb orange", "dt 1 lc rgb sky",
                                                 "dt 1 lc rgb ink"};

/* How an operator is written, by its name in the documents. Of another name only letters, digits
 * and blanks pass, none of which gnuplot reads as markup. */
static void operator_label(const char *name, char label[32])
{
    static const struct {
        const char *name, *label;
    } known[] = {
        {"hessian", "{/:Italic H}"},     {"moment", "{/:Italic M}"},
        {"ggn", "{/:Italic G}"},         {"covariance", "Σ"},
        {"residual", "{/:Italic H}_p"},  {"minus_residual", "−{/:Italic H}_p"},
        {"gn_residual", "{/:Italic R}"},
    };
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) == 0) {
            snprintf(label, 32, "%s", known[i].label);
            return;
        }
    }
    snprintf(label, 32, "%s", name);
    for (char *c = label; *c; c++) {
        if (!strchr(safe, *c)) *c = ' ';
    }
}

/* Appends one curve to the panel where it has a finite value. longest: largest k seen. */
static gm_status add_curve(panel *p, const json_t *pair, const gm_legend_entry *entry,
                           size_t *longest, FILE *script, gm_error *err)
{
    gm_numbers value;
    gm_status status = gm_result_numbers(pair, "value", &value, err);
    if (status != GM_OK) return status;
    if (value.finite) {
        fprintf(script, "$%s_%zu << EOD\n", p->block, p->count);
        for (size_t i = 0; i < value.rows; i++) {
            gm_data_point(script, (double)(i + 1), value.value[i]);
        }
        fputs("EOD\n", script);
        p->legend[p->count++] = *entry;
        if (value.rows > *longest) *longest = value.rows;
    }
    gm_numbers_free(&value);
    return GM_OK;
}

/* H against M at three moments. */
static gm_status fill_moments(const gm_subject *subject, panel *p, size_t *longest, FILE *script,
                              gm_error *err)
{
    size_t index[MOMENTS];
    int moments = gm_three_points(subject, index);
    gm_status status = GM_OK;
    snprintf(p->title, sizeof p->title, "{/:Italic H} against {/:Italic M}");
    for (int m = 0; m < moments && status == GM_OK; m++) {
        const gm_subject_point *point = &subject->point[index[m]];
        gm_legend_entry entry = {moment_line[m], 7, NULL, ""};
        gm_step_text(point->step, entry.label, sizeof entry.label);
        status = add_curve(p, gm_result_pair(point->document, "hessian", "moment"), &entry, longest,
                           script, err);
    }
    return status;
}

/* Every pair at the last point. */
static gm_status fill_pairs(const gm_subject *subject, panel *p, size_t *longest, FILE *script,
                            gm_error *err)
{
    gm_status status = GM_OK;
    if (!subject->points) return GM_OK;
    const gm_subject_point *last = &subject->point[subject->points - 1];
    const json_t *pairs = gm_result_find(last->document, "overlap/pairs");
    char step[64];
    gm_step_text(last->step, step, sizeof step);
    snprintf(p->title, sizeof p->title, "all pairs, %s", step);
    for (size_t i = 0; i < json_array_size(pairs) && p->count < MOST_CURVES; i++) {
        const json_t *pair = json_array_get(pairs, i);
        const char *a = gm_result_text(pair, "a"), *b = gm_result_text(pair, "b");
        if (!a || !b) continue;
        char first[32], second[32];
        operator_label(a, first);
        operator_label(b, second);
        gm_legend_entry entry = {pair_style[p->count].line, pair_style[p->count].point, NULL, ""};
        snprintf(entry.label, sizeof entry.label, "%s, %s", first, second);
        status = add_curve(p, pair, &entry, longest, script, err);
        if (status != GM_OK) return status;
    }
    return GM_OK;
}

/* Later curves are drawn first, so that of two that coincide the earlier one stays visible. */
static void plot_panel(const panel *p, double size, FILE *script)
{
    const char *separator = "plot ";
    fprintf(script, "set title \"%s\"\n", p->title);
    for (size_t i = p->count; i-- > 0;) {
        fprintf(script, "%s$%s_%zu with linespoints lw 1.8 ps 0.5 pt %d %s", separator, p->block, i,
                p->legend[i].point, p->legend[i].line);
        separator = ", ";
    }
    if (size > 0.0) fprintf(script, ", x/%.8g with lines lw 1.4 dt (2,3) lc rgb ink", size);
    fputs("\n", script);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    FILE *script = drawing->script;
    panel panels[2] = {{.block = "time"}, {.block = "pair"}};
    size_t longest = 1;
    gm_status status = fill_moments(subject, &panels[0], &longest, script, err);
    if (status == GM_OK) status = fill_pairs(subject, &panels[1], &longest, script, err);
    if (status != GM_OK) return status;
    gm_layout layout = {(panels[0].count ? 1 : 0) + (panels[1].count ? 1 : 0), false, 0, 0, 0};
    if (!layout.columns) {
        fputs("The run file holds no overlaps of leading subspaces.", drawing->missing);
        return GM_OK;
    }
    double size = gm_result_number(subject->decomposition, "size");
    int rows = 0, column = 0;
    for (int i = 0; i < 2; i++) {
        if (size > 0.0)
            panels[i].legend[panels[i].count] =
                (gm_legend_entry){"dt (2,3) lc rgb ink", 0, NULL, "random"};
        int needed = gm_legend_rows(&layout, column, panels[i].legend,
                                    panels[i].count + (size > 0.0 ? 1 : 0));
        if (panels[i].count && needed > rows) rows = needed;
    }
    layout.top = rows * GM_LEGEND_ROW + GM_TITLE_ROW;
    layout.height = layout.top + 290;
    drawing->height = layout.height;
    fprintf(script,
            "set multiplot\nset yrange [0:1.02]\nset xrange [0.5:%.1f]\n"
            "set xlabel \"dimension {/:Italic k}\"\n",
            (double)longest + 0.5);
    for (int i = 0; i < 2; i++) {
        if (!panels[i].count) continue;
        gm_panel(&layout, column, "overlap", script);
        gm_legend(&layout, column++, panels[i].legend, panels[i].count + (size > 0.0 ? 1 : 0),
                  script);
        plot_panel(&panels[i], size, script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
    fputs("&#8214;<i>U</i><sub>k</sub><sup>T</sup><i>V</i><sub>k</sub>&#8214;<sub>F</sub><sup>2"
          "</sup>&nbsp;/&nbsp;<i>k</i> for the spans of the top <i>k</i> eigenvectors of two "
          "operators: 1 where they are the same subspace, 0 where they are orthogonal. Random "
          "subspaces have the mean <i>k</i>/<i>p</i> (dotted). Curves end at the rank of the "
          "smaller operator.",
          drawing->caption);
    return GM_OK;
}

const gm_figure gm_figure_overlap = {"overlap", "Overlap of leading subspaces", draw,
                                     gm_figure_of_decomposition};
