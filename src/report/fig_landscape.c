/* The loss on a plane through parameter space: its levels on a map of tiles, the levels of the
 * quadratic model, and the trajectory of checkpoints (landscape). */
#include <math.h>

#include "report/figure.h"
#include "report/html.h"
#include "report/landscape.h"
#include "report/plot.h"
#include "report/result.h"

enum { DECADES = 12, LEVELS = 10, SHADES = 40 };

typedef struct map {
    gm_numbers x, y;            /* coordinates along the axes */
    gm_numbers loss, quadratic; /* [x, y] */
    gm_numbers path;            /* [checkpoints, 2]; rows 0 without */
    gm_axis scale;              /* of the loss */
    double low, high;           /* the loss's ends as placed there */
} map;

static void map_free(map *m)
{
    gm_numbers_free(&m->x);
    gm_numbers_free(&m->y);
    gm_numbers_free(&m->loss);
    gm_numbers_free(&m->quadratic);
    gm_numbers_free(&m->path);
}

static gm_status map_read(const json_t *d, map *m, gm_error *err)
{
    gm_status status = gm_result_numbers(d, "grid/axes/0", &m->x, err);
    if (status == GM_OK) status = gm_result_numbers(d, "grid/axes/1", &m->y, err);
    if (status == GM_OK) status = gm_result_numbers(d, "grid/loss", &m->loss, err);
    if (status == GM_OK) status = gm_result_numbers(d, "grid/quadratic", &m->quadratic, err);
    if (status == GM_OK) status = gm_result_numbers(d, "trajectory/coordinates", &m->path, err);
    if (status != GM_OK || !m->loss.finite) return status;
    m->scale =
        gm_axis_for(m->loss.rows * m->loss.columns, m->loss.value, GM_LANDSCAPE_SPAN, DECADES);
    m->low = gm_axis_place(&m->scale, m->scale.low);
    m->high = gm_axis_place(&m->scale, m->scale.high);
    return GM_OK;
}

/* Something to draw: a grid of two points or more each way, and losses that differ. */
static bool map_shows(const map *m)
{
    return m->x.finite > 1 && m->y.finite > 1 && m->x.finite == m->x.rows &&
           m->y.finite == m->y.rows && m->loss.rows == m->x.rows && m->loss.columns == m->y.rows &&
           m->loss.finite > 1 && m->high > m->low;
}

/* ---- tiles and levels ---- */

static void write_tiles(const map *m, FILE *script)
{
    fputs("$tiles << EOD\n", script);
    for (size_t i = 0; i < m->x.rows; i++) {
        for (size_t j = 0; j < m->y.rows; j++) {
            double at = gm_axis_place(&m->scale, m->loss.value[i * m->y.rows + j]);
            gm_tile(script, m->x.value[i], m->y.value[j], (at - m->low) / (m->high - m->low));
        }
    }
    fputs("EOD\n", script);
}

/* Lines of equal value as a data block of their own, taken from a grid of values on the loss's
 * scale. */
static void write_levels(const map *m, const char *name, const gm_numbers *value, FILE *script)
{
    fprintf(script, "$grid_%s << EOD\n", name);
    for (size_t i = 0; i < m->x.rows; i++) {
        for (size_t j = 0; j < m->y.rows; j++) {
            double at = gm_axis_place(&m->scale, value->value[i * m->y.rows + j]);
            /* Lines end where the scale does, well below the lowest level. */
            if (isnan(at)) at = m->low - (m->high - m->low);
            fprintf(script, "%.8g %.8g %.8g\n", m->x.value[i], m->y.value[j], at);
        }
        fputs("\n", script);
    }
    fprintf(script, "EOD\nset contour base\nset cntrparam levels incremental %.8g,%.8g,%.8g\n",
            m->low + (m->high - m->low) / (LEVELS + 1), (m->high - m->low) / (LEVELS + 1),
            m->high - 0.5 * (m->high - m->low) / (LEVELS + 1));
    fprintf(script,
            "unset surface\nset table $%s\nsplot $grid_%s using 1:2:3\nunset table\n"
            "unset contour\nset surface\n",
            name, name);
}

static void write_path(const map *m, FILE *script)
{
    fputs("$path << EOD\n", script);
    for (size_t i = 0; m->path.columns == 2 && i < m->path.rows; i++) {
        gm_data_point(script, m->path.value[2 * i], m->path.value[2 * i + 1]);
    }
    fputs("EOD\n", script);
}

/* ---- the picture ---- */

static void set_axis(const gm_numbers *at, const char *which, FILE *script)
{
    gm_axis axis = gm_axis_for(at->rows, at->value, HUGE_VAL, DECADES);
    gm_axis_script(&axis, which, GM_LABELS_SHOWN, script);
    fprintf(script, "set %srange [%.8g:%.8g]\n", which, axis.low, axis.high);
}

static double half_step(const gm_numbers *at)
{
    return 0.5 * fabs(at->value[at->rows - 1] - at->value[0]) / ((double)at->rows - 1.0);
}

/* The scale of the loss beside the map, in the tiles' colours. */
static void plot_key(const map *m, const gm_layout *layout, FILE *script)
{
    fputs("$scale << EOD\n", script);
    for (int i = 0; i < SHADES; i++) {
        double share = (i + 0.5) / SHADES;
        gm_tile(script, 0.0, m->low + share * (m->high - m->low), share);
    }
    fputs("EOD\nset lmargin at screen 0.885\nset rmargin at screen 0.910\nset xlabel \"\"\n"
          "set xrange [-0.5:0.5]\nunset xtics\nunset ytics\nset border 0\n",
          script);
    gm_axis_script(&m->scale, "y2", GM_LABELS_SHOWN, script);
    fprintf(script, "set y2tics scale 0 offset -0.6,0\nset y2range [%.8g:%.8g]\n", m->low, m->high);
    fprintf(script, "set yrange [%.8g:%.8g]\n", m->low, m->high);
    fprintf(script, "set label \"loss\" at screen 0.8975,%.5f center\n",
            1.0 - (layout->top - 0.35 * GM_LEGEND_ROW) / layout->height);
    fprintf(script,
            "plot $scale using 1:2:(0.5):(%.8g):(int(255.5-255*$3)*16777216+0x0072B2) with "
            "boxxyerror fs solid noborder lc rgb variable\n",
            0.5 * (m->high - m->low) / SHADES);
    gm_panel_end(script);
}

static void plot_map(const map *m, FILE *script)
{
    fprintf(script,
            "plot $tiles using 1:2:(%.8g):(%.8g):(int(255.5-255*$3)*16777216+0x0072B2) with "
            "boxxyerror fs solid noborder lc rgb variable, "
            "$levels using 1:2 with lines lw 1 dt 1 lc rgb ink, "
            "$model using 1:2 with lines lw 1.5 dt (6,3) lc rgb vermillion",
            half_step(&m->x), half_step(&m->y));
    if (m->path.finite) {
        fputs(", $path using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc rgb orange", script);
    }
    fputs(", '+' using (0):(0) every ::::0 with points pt 2 ps 1.1 lw 2.4 lc rgb ink\n", script);
}

static void write_script(const map *m, gm_drawing *drawing)
{
    FILE *script = drawing->script;
    const gm_legend_entry legend[] = {
        {"dt 1 lc rgb ink", 0, NULL, "levels of the loss"},
        {"dt (6,3) lc rgb vermillion", 0, NULL, "of the quadratic model"},
        {NULL, 2, "ink", "the point"},
        {"dt 1 lc rgb orange", 7, NULL, "checkpoints"}};
    size_t entries = m->path.finite ? 4 : 3;
    gm_layout layout = {1, false, 0, 0, 0};
    layout.top = GM_LEGEND_ROW * gm_legend_rows(&layout, -1, legend, entries) + GM_LEGEND_ROW;
    layout.height = layout.top + 500;
    drawing->height = layout.height;
    write_tiles(m, script);
    write_levels(m, "levels", &m->loss, script);
    write_levels(m, "model", &m->quadratic, script);
    write_path(m, script);
    fputs("set multiplot\nset xlabel \"{/:Italic t}_1\"\n", script);
    gm_panel(&layout, 0, "{/:Italic t}_2", script);
    fputs("set rmargin at screen 0.86\n", script);
    gm_legend(&layout, -1, legend, entries, script);
    set_axis(&m->x, "x", script);
    set_axis(&m->y, "y", script);
    plot_map(m, script);
    gm_panel_end(script);
    plot_key(m, &layout, script);
    fputs("unset multiplot\n", script);
}

static void write_direction(const json_t *d, int a, FILE *caption)
{
    char path[64];
    snprintf(path, sizeof path, "directions/%d/name", a);
    gm_html_text(caption, gm_result_text(d, path));
    fputs(" (length ", caption);
    snprintf(path, sizeof path, "directions/%d/norm", a);
    gm_html_number(caption, gm_result_number(d, path));
    fputs(", curvature ", caption);
    snprintf(path, sizeof path, "directions/%d/curvature", a);
    gm_html_number(caption, gm_result_number(d, path));
    fputs(")", caption);
}

static void write_caption(const json_t *d, FILE *caption)
{
    fputs("The loss on a plane through the point (cross), darker where it is higher. Across: ",
          caption);
    write_direction(d, 0, caption);
    fputs("; up: ", caption);
    write_direction(d, 1, caption);
    fputs(". Dashed: the same levels of the quadratic model that the exact gradient and Hessian "
          "give there; where they part from the full lines, the Hessian no longer tells of the "
          "loss.",
          caption);
    if (gm_result_find(d, "trajectory")) {
        fputs(" The line joins the checkpoints of the run, each at the nearest point of the plane. "
              "The plane keeps ",
              caption);
        gm_html_percent(caption, gm_result_number(d, "variance_share"));
        fputs(" of their variance: what they do off it is not seen here.", caption);
    }
    double points = gm_result_number(d, "grid/points"),
           done = gm_result_number(d, "grid/evaluated");
    if (!(done < points)) return;
    fputs(" <strong>Interrupted</strong> after ", caption);
    gm_html_number(caption, done);
    fputs(" of ", caption);
    gm_html_number(caption, points);
    fputs(" points.", caption);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *d = gm_landscape_find(subject, 2, drawing->number);
    map m = {0};
    gm_landscape_title(d, drawing);
    gm_status status = map_read(d, &m, err);
    if (status == GM_OK && !map_shows(&m)) {
        fputs("The slice holds no losses that differ.", drawing->missing);
    } else if (status == GM_OK) {
        write_script(&m, drawing);
        write_caption(d, drawing->caption);
    }
    map_free(&m);
    return status;
}

static size_t count(const gm_subject *subject)
{
    return gm_landscape_count(subject, 2);
}

const gm_figure gm_figure_landscape = {"landscape", "Loss on a plane", draw, count};
