/* The loss on a line through parameter space, the quadratic model over it, and the share of wrong
 * predictions beside it (landscape). */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/landscape.h"
#include "report/plot.h"
#include "report/result.h"

enum { DECADES = 12 };

/* ---- the documents ---- */

const json_t *gm_landscape_find(const gm_subject *subject, int dimensions, size_t number)
{
    for (size_t i = 0; i < subject->results; i++) {
        const json_t *d = subject->result[i].document;
        bool slice = strcmp(subject->result[i].stored->command, "landscape") == 0 &&
                     gm_result_number(d, "dimensions") == dimensions;
        if (slice && number-- == 0) return d;
    }
    return NULL;
}

size_t gm_landscape_count(const gm_subject *subject, int dimensions)
{
    size_t count = 0;
    while (gm_landscape_find(subject, dimensions, count)) {
        count++;
    }
    return count;
}

void gm_landscape_title(const json_t *document, gm_drawing *drawing)
{
    FILE *title = drawing->title;
    static const char *const words[][2] = {{"eigenvectors", "along eigenvectors"},
                                           {"gradient", "along the gradient"},
                                           {"random", "along random directions"},
                                           {"checkpoints", "to another point"},
                                           {"principal", "on the checkpoints' own directions"}};
    const char *along = gm_result_text(document, "along"),
               *layer = gm_result_text(document, "layer");
    double step = gm_result_number(document, "step");
    for (size_t i = 0; along && i < sizeof words / sizeof *words; i++) {
        if (strcmp(along, words[i][0]) == 0) fprintf(title, " %s", words[i][1]);
    }
    if (layer) fprintf(title, " within %s", layer);
    if (isfinite(step)) drawing->step = (int64_t)step;
}

/* ---- the picture ---- */

/* Columns of the document, as many rows each. */
typedef struct line {
    gm_numbers t, loss, quadratic, error;
    gm_numbers test_loss, test; /* rows 0 without a test set */
    gm_numbers place, path;     /* of the checkpoints; rows 0 without */
} line;

static void line_free(line *l)
{
    gm_numbers_free(&l->t);
    gm_numbers_free(&l->loss);
    gm_numbers_free(&l->quadratic);
    gm_numbers_free(&l->error);
    gm_numbers_free(&l->test_loss);
    gm_numbers_free(&l->test);
    gm_numbers_free(&l->place);
    gm_numbers_free(&l->path);
}

static gm_status line_read(const json_t *d, line *l, gm_error *err)
{
    const struct {
        const char *path;
        gm_numbers *numbers;
    } column[] = {{"grid/axes/0", &l->t},
                  {"grid/loss", &l->loss},
                  {"grid/quadratic", &l->quadratic},
                  {"grid/error", &l->error},
                  {"grid/test_loss", &l->test_loss},
                  {"grid/test_error", &l->test},
                  {"trajectory/coordinates", &l->place},
                  {"trajectory/loss", &l->path}};
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < sizeof column / sizeof *column; i++) {
        status = gm_result_numbers(d, column[i].path, column[i].numbers, err);
    }
    return status;
}

static void write_block(const char *name, const gm_numbers *t, const gm_numbers *value,
                        const gm_axis *axis, FILE *script)
{
    fprintf(script, "$%s << EOD\n", name);
    for (size_t i = 0; i < t->rows && i < value->rows; i++) {
        gm_data_point(script, t->value[i], gm_axis_place(axis, value->value[i]));
    }
    fputs("EOD\n", script);
}

static bool has_test(const line *l)
{
    return l->test_loss.finite > 0;
}

static bool has_path(const line *l)
{
    return l->path.finite && l->place.rows == l->path.rows;
}

enum { LOSS_ENTRIES = 4 };

static size_t loss_legend(const line *l, gm_legend_entry entry[LOSS_ENTRIES])
{
    size_t count = 0;
    entry[count++] = (gm_legend_entry){"dt 1 lc rgb blue", 0, NULL, "loss"};
    entry[count++] = (gm_legend_entry){"dt (7,3) lc rgb vermillion", 0, NULL, "quadratic model"};
    if (has_test(l))
        entry[count++] = (gm_legend_entry){"dt (2,3) lc rgb green", 0, NULL, "test loss"};
    if (has_path(l)) entry[count++] = (gm_legend_entry){NULL, 6, "ink", "checkpoints"};
    return count;
}

/* Room for every loss on the line and, where they are drawn, for those of the checkpoints. */
static gm_status loss_axis(const line *l, gm_axis *axis, gm_error *err)
{
    size_t rows = l->loss.rows, tests = has_test(l) ? l->test_loss.rows : 0,
           paths = has_path(l) ? l->path.rows : 0;
    double *all = gm_alloc(rows + tests + paths, sizeof *all, "losses", err);
    if (!all) return GM_ERR_MEMORY;
    memcpy(all, l->loss.value, rows * sizeof *all);
    if (tests) memcpy(all + rows, l->test_loss.value, tests * sizeof *all);
    if (paths) memcpy(all + rows + tests, l->path.value, paths * sizeof *all);
    *axis = gm_axis_for(rows + tests + paths, all, GM_LANDSCAPE_SPAN, DECADES);
    gm_free(all);
    return GM_OK;
}

static void loss_panel(const line *l, const gm_layout *layout, const gm_axis *y, FILE *script)
{
    gm_legend_entry legend[LOSS_ENTRIES];
    write_block("loss", &l->t, &l->loss, y, script);
    write_block("tested", &l->t, &l->test_loss, y, script);
    write_block("model", &l->t, &l->quadratic, y, script);
    write_block("path", &l->place, &l->path, y, script);
    gm_panel(layout, 0, "loss", script);
    gm_legend(layout, 0, legend, loss_legend(l, legend), script);
    gm_axis_script(y, "y", GM_LABELS_SHOWN, script);
    fputs("plot $loss with lines lw 2.2 dt 1 lc rgb blue, "
          "$model with lines lw 2 dt (7,3) lc rgb vermillion",
          script);
    if (has_test(l)) fputs(", $tested with lines lw 2.2 dt (2,3) lc rgb green", script);
    if (has_path(l)) fputs(", $path with points pt 6 ps 0.7 lw 1.4 lc rgb ink", script);
    fputs("\n", script);
    gm_panel_end(script);
}

static void error_panel(const line *l, const gm_layout *layout, FILE *script)
{
    const gm_axis plain = {GM_SCALE_LINEAR, 1.0, 0.0, 1.0};
    const gm_legend_entry legend[] = {{"dt 1 lc rgb blue", 0, NULL, "training"},
                                      {"dt (2,3) lc rgb green", 0, NULL, "test"}};
    bool test = l->test.finite > 0;
    write_block("error", &l->t, &l->error, &plain, script);
    write_block("test", &l->t, &l->test, &plain, script);
    gm_panel(layout, 1, "share of wrong predictions", script);
    gm_legend(layout, 1, legend, test ? 2 : 1, script);
    fputs("set yrange [0:*]\nset ytics auto\nplot $error with lines lw 2.2 dt 1 lc rgb blue",
          script);
    if (test) fputs(", $test with lines lw 2.2 dt (2,3) lc rgb green", script);
    fputs("\n", script);
    gm_panel_end(script);
}

static void write_caption(const json_t *d, FILE *caption)
{
    const char *along = gm_result_text(d, "along");
    bool way = along && strcmp(along, "checkpoints") == 0;
    fputs(way ? "Left: the loss on the straight line from the point (0) to another one (1)"
              : "Left: the loss on a line through the point (0)",
          caption);
    fputs(", and the quadratic model that the exact gradient and Hessian at 0 give, slope ",
          caption);
    gm_html_number(caption, gm_result_number(d, "quadratic/slope/0"));
    fputs(" and curvature ", caption);
    gm_html_number(caption, gm_result_number(d, "quadratic/curvature/0/0"));
    if (gm_result_find(d, "quadratic/holds")) {
        fputs("; the two agree to ", caption);
        gm_html_percent(caption, gm_result_number(d, "quadratic/holds/within"));
        fputs(" of the loss from ", caption);
        gm_html_number(caption, gm_result_number(d, "quadratic/holds/low"));
        fputs(" to ", caption);
        gm_html_number(caption, gm_result_number(d, "quadratic/holds/high"));
    }
    fputs(". Coordinates are in lengths of the direction, ", caption);
    gm_html_number(caption, gm_result_number(d, "directions/0/norm"));
    fputs(". Right: the share of wrong predictions.", caption);
    if (!gm_result_find(d, "trajectory")) return;
    fputs(" Circles: the loss of checkpoints, off the line, at the nearest point of it; it keeps ",
          caption);
    gm_html_percent(caption, gm_result_number(d, "variance_share"));
    fputs(" of their variance.", caption);
}

static gm_status write_script(const json_t *d, const line *l, gm_drawing *drawing, gm_error *err)
{
    FILE *script = drawing->script;
    gm_layout layout = {2, false, 0, 0, 0};
    gm_axis x = gm_axis_for(l->t.rows, l->t.value, HUGE_VAL, DECADES), y;
    gm_status status = loss_axis(l, &y, err);
    if (status != GM_OK) return status;
    gm_legend_entry legend[LOSS_ENTRIES];
    size_t entries = loss_legend(l, legend);
    layout.top = GM_LEGEND_ROW * gm_legend_rows(&layout, 0, legend, entries) + 8;
    layout.height = layout.top + 310;
    drawing->height = layout.height;
    fputs("set multiplot\nset xlabel \"{/:Italic t}\"\n", script);
    gm_axis_script(&x, "x", GM_LABELS_SHOWN, script);
    loss_panel(l, &layout, &y, script);
    error_panel(l, &layout, script);
    fputs("unset multiplot\n", script);
    write_caption(d, drawing->caption);
    return GM_OK;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *d = gm_landscape_find(subject, 1, drawing->number);
    line l = {0};
    gm_landscape_title(d, drawing);
    gm_status status = line_read(d, &l, err);
    if (status == GM_OK && (l.loss.finite < 2 || l.t.finite < l.loss.rows)) {
        fputs("The slice holds no two finite losses.", drawing->missing);
    } else if (status == GM_OK) {
        status = write_script(d, &l, drawing, err);
    }
    line_free(&l);
    return status;
}

static size_t count(const gm_subject *subject)
{
    return gm_landscape_count(subject, 1);
}

const gm_figure gm_figure_slice = {"slice", "Loss on a line", draw, count};
