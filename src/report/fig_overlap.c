/* Overlap of leading subspaces against their dimension k. */
#include <math.h>
#include <string.h>

#include "report/figure.h"
#include "report/plot.h"
#include "report/result.h"

enum { MOMENTS = 3, MOST_CURVES = 8 };

/* One panel: curves of overlap against k in blocks $BLOCK_0, $BLOCK_1, ... */
typedef struct panel {
    const char *block, *label; /* of the vertical axis */
    bool random;               /* the curve of random subspaces belongs to it */
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
static gm_status add_curve(panel *p, const json_t *document, const char *path,
                           const gm_legend_entry *entry, size_t *longest, FILE *script,
                           gm_error *err)
{
    gm_numbers value;
    gm_status status = gm_result_numbers(document, path, &value, err);
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
        status = add_curve(p, gm_result_pair(point->document, "hessian", "moment"), "value", &entry,
                           longest, script, err);
    }
    return status;
}

/* Every pair at one point. */
static gm_status fill_pairs(const gm_subject_point *point, panel *p, size_t *longest, FILE *script,
                            gm_error *err)
{
    gm_status status = GM_OK;
    const json_t *pairs = gm_result_find(point->document, "overlap/pairs");
    char step[64];
    gm_step_text(point->step, step, sizeof step);
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
        status = add_curve(p, pair, "value", &entry, longest, script, err);
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
    if (p->random) fprintf(script, ", x/%.8g with lines lw 1.4 dt (2,3) lc rgb ink", size);
    fputs("\n", script);
}

/* Lays out and plots the panels that have curves; false, and nothing written, where none has. */
static bool write_panels(panel panels[2], double size, size_t longest, gm_drawing *drawing)
{
    FILE *script = drawing->script;
    gm_layout layout = {(panels[0].count ? 1 : 0) + (panels[1].count ? 1 : 0), false, 0, 0, 0};
    if (!layout.columns) return false;
    int rows = 0, column = 0;
    for (int i = 0; i < 2; i++) {
        panel *p = &panels[i];
        p->random = p->random && size > 0.0;
        if (p->random)
            p->legend[p->count] = (gm_legend_entry){"dt (2,3) lc rgb ink", 0, NULL, "random"};
        int needed = gm_legend_rows(&layout, column, p->legend, p->count + (p->random ? 1 : 0));
        if (p->count && needed > rows) rows = needed;
    }
    layout.top = rows * GM_LEGEND_ROW + GM_TITLE_ROW;
    layout.height = layout.top + 290;
    drawing->height = layout.height;
    fprintf(script,
            "set multiplot\nset yrange [0:1.02]\nset xrange [0.5:%.1f]\n"
            "set xlabel \"dimension {/:Italic k}\"\n",
            (double)longest + 0.5);
    for (int i = 0; i < 2; i++) {
        const panel *p = &panels[i];
        if (!p->count) continue;
        gm_panel(&layout, column, p->label, script);
        gm_legend(&layout, column++, p->legend, p->count + (p->random ? 1 : 0), script);
        plot_panel(p, size, script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
    return true;
}

static const char formula[] =
    "&#8214;<i>U</i><sub>k</sub><sup>T</sup><i>V</i><sub>k</sub>&#8214;<sub>F</sub><sup>2"
    "</sup>&nbsp;/&nbsp;<i>k</i> for the spans of the top <i>k</i> eigenvectors of two operators: "
    "1 where they are the same subspace, 0 where they are orthogonal. Random subspaces have the "
    "mean <i>k</i>/<i>p</i> (dotted). Curves end at the rank of the smaller operator.";

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    panel panels[2] = {{.block = "time", .label = "overlap", .random = true},
                       {.block = "pair", .label = "overlap", .random = true}};
    size_t longest = 1;
    gm_status status = fill_moments(subject, &panels[0], &longest, drawing->script, err);
    if (status == GM_OK && subject->points)
        status = fill_pairs(&subject->point[subject->points - 1], &panels[1], &longest,
                            drawing->script, err);
    if (status != GM_OK) return status;
    double size = gm_result_number(subject->decomposition, "size");
    if (write_panels(panels, size, longest, drawing)) {
        fputs(formula, drawing->caption);
    } else {
        fputs("The run file holds no overlaps of leading subspaces.", drawing->missing);
    }
    return GM_OK;
}

const gm_figure gm_figure_overlap = {"overlap", "Overlap of leading subspaces", draw,
                                     gm_figure_of_decomposition};

/* ---- at every step ---- */

/* The cosines of the principal angles between the leading subspaces of H and M. */
static gm_status fill_cosines(const gm_subject_point *point, panel *p, size_t *longest,
                              FILE *script, gm_error *err)
{
    static const gm_legend_entry entry = {"dt 1 lc rgb blue", 7, NULL,
                                          "cosines, {/:Italic H} and {/:Italic M}"};
    snprintf(p->title, sizeof p->title, "principal angles");
    return add_curve(p, point->document, "cosines", &entry, longest, script, err);
}

static gm_status draw_at(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const gm_subject_point *point = &subject->point[drawing->number];
    panel panels[2] = {{.block = "pair", .label = "overlap", .random = true},
                       {.block = "angle", .label = "cosine"}};
    size_t longest = 1;
    drawing->step = point->step;
    gm_status status = fill_pairs(point, &panels[0], &longest, drawing->script, err);
    if (status == GM_OK) status = fill_cosines(point, &panels[1], &longest, drawing->script, err);
    if (status != GM_OK) return status;
    double size = gm_result_number(point->document, "size");
    if (!write_panels(panels, size, longest, drawing)) {
        fputs("The decomposition holds no overlaps of leading subspaces.", drawing->missing);
        return GM_OK;
    }
    fputs("Left: ", drawing->caption);
    fputs(formula, drawing->caption);
    fputs(" Right: the cosines of the principal angles between the leading subspaces of <i>H</i> "
          "and <i>M</i>, the smallest angle first; 1 is a direction that both share.",
          drawing->caption);
    return GM_OK;
}

static size_t count_at(const gm_subject *subject)
{
    bool any = false;
    for (size_t t = 0; t < subject->points && !any; t++) {
        const json_t *document = subject->point[t].document;
        any = isfinite(gm_result_number(document, "cosines/0")) ||
              isfinite(gm_result_number(document, "overlap/pairs/0/value/0"));
    }
    return any && subject->points >= 2 ? subject->points : 0;
}

const gm_figure gm_figure_overlap_at = {"overlapat", "Overlaps along the training", draw_at,
                                        count_at};
