#include "report/plot.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "report/html.h"

/* The palette of Okabe and Ito, which stays distinct for the colour-blind; lighter on dark ground.
 * Ink itself follows the page's text. */
const gm_colour gm_colours[] = {
    {"blue", "#0072B2", "#4BA6E8"},
    {"vermillion", "#D55E00", "#F2813A"},
    {"green", "#009E73", "#2FC79B"},
    {"purple", "#B8578C", "#DB8FBC"},
    {"orange", "#E69F00", "#F0B63C"},
    {"sky", "#56B4E9", "#9AD3F5"},
    {"grid", "#D9D9D9", "#3A3D40"},
    {"muted", "#8C8C8C", "#8C9196"},
    {NULL, NULL, NULL},
};

const char *gm_colour_light(const char *name)
{
    for (const gm_colour *colour = gm_colours; colour->name; colour++) {
        if (strcmp(colour->name, name) == 0) return colour->light;
    }
    return "currentColor";
}

const gm_shown_operator gm_shown_operators[GM_SHOWN_OPERATORS] = {
    {"hessian", "Hessian {/:Italic H}", "blue"},
    {"moment", "second moment {/:Italic M}", "vermillion"},
    {"residual", "residual {/:Italic H}_p", "green"},
};

/* ---- panels and legends ---- */

enum { LEFT = 84, RIGHT = 12, BOTTOM = 60, GAP_BARE = 18, LABEL = 10 };

static double panel_width(const gm_layout *layout)
{
    int gap = layout->shared_y ? GAP_BARE : LEFT;
    return (double)(GM_FIGURE_WIDTH - LEFT - RIGHT - (layout->columns - 1) * gap) / layout->columns;
}

static double panel_left(const gm_layout *layout, int column)
{
    return LEFT + column * (panel_width(layout) + (layout->shared_y ? GAP_BARE : LEFT));
}

void gm_panel(const gm_layout *layout, int column, const char *label, FILE *script)
{
    double left = panel_left(layout, column), height = layout->height;
    double bottom = (layout->bottom ? layout->bottom : BOTTOM) / height;
    fprintf(script,
            "set lmargin at screen %.5f\nset rmargin at screen %.5f\n"
            "set tmargin at screen %.5f\nset bmargin at screen %.5f\n",
            left / GM_FIGURE_WIDTH, (left + panel_width(layout)) / GM_FIGURE_WIDTH,
            1.0 - layout->top / height, bottom);
    /* gnuplot would place the label by a guess at the width of the tick labels. */
    if (*label) {
        double middle = 0.5 * (1.0 - layout->top / height + bottom);
        fprintf(script, "set label \"%s\" at screen %.5f,%.5f rotate by 90 center\n", label,
                (left - LEFT + LABEL) / GM_FIGURE_WIDTH, middle);
    }
}

void gm_panel_end(FILE *script)
{
    fputs("unset label\nunset arrow\nunset object\n", script);
}

/* Characters that an enhanced text shows: braces, font switches and the marks of sub- and
 * superscripts do not count, nor do the later bytes of a character. */
static size_t shown_length(const char *label)
{
    static const char italic[] = "{/:Italic ";
    size_t length = 0;
    for (const char *c = label; *c; c++) {
        if (strncmp(c, italic, sizeof italic - 1) == 0) {
            c += sizeof italic - 2;
        } else if (!strchr("{}_^", *c) && ((unsigned char)*c & 0xc0) != 0x80) {
            length++;
        }
    }
    return length;
}

enum { SAMPLE = 26, SAMPLE_GAP = 6, ENTRY_GAP = 18, CHARACTER = 8 };

static size_t entry_length(const gm_legend_entry *entry)
{
    if (*entry->label != '\'') return shown_length(entry->label);
    size_t length = 0;
    for (const char *c = entry->label + 1; *c; c++) {
        length += ((unsigned char)*c & 0xc0) != 0x80 ? 1 : 0;
    }
    return length;
}

/* Where entry i stands: x from the legend's left end, and row. Entries are set in columns of one
 * width where they take several rows. */
static void place_entry(double room, const gm_legend_entry *entry, size_t count, size_t i,
                        double *x, int *row)
{
    double total = 0.0, before = 0.0, widest = 0.0;
    for (size_t j = 0; j < count; j++) {
        double width =
            SAMPLE + SAMPLE_GAP + ENTRY_GAP + (double)(CHARACTER * entry_length(&entry[j]));
        if (j < i) before += width;
        total += width;
        widest = fmax(widest, width);
    }
    *x = before;
    *row = 0;
    if (total - ENTRY_GAP <= room) return;
    size_t columns = room > widest ? (size_t)((room + ENTRY_GAP) / widest) : 1;
    *x = (double)(i % columns) * widest;
    *row = (int)(i / columns);
}

static double legend_room(const gm_layout *layout, int column)
{
    return column < 0 ? GM_FIGURE_WIDTH - LEFT - RIGHT : panel_width(layout);
}

int gm_legend_rows(const gm_layout *layout, int column, const gm_legend_entry *entry, size_t count)
{
    double x;
    int row = -1;
    if (count) place_entry(legend_room(layout, column), entry, count, count - 1, &x, &row);
    return row + 1;
}

void gm_legend(const gm_layout *layout, int column, const gm_legend_entry *entry, size_t count,
               FILE *script)
{
    double left = panel_left(layout, column < 0 ? 0 : column);
    for (size_t i = 0; i < count; i++) {
        double x;
        int row;
        place_entry(legend_room(layout, column), entry, count, i, &x, &row);
        double from = (left + x) / GM_FIGURE_WIDTH, to = (left + x + SAMPLE) / GM_FIGURE_WIDTH;
        double y = 1.0 - (GM_LEGEND_ROW * (row + 0.5)) / layout->height;
        double half = 0.3 * GM_LEGEND_ROW / layout->height;
        if (entry[i].line) {
            /* gnuplot 5.4 takes successive arrows of one colour and width for one path and gives
             * them all the first one's dashes: no two widths are equal. */
            fprintf(script,
                    "set arrow from screen %.5f,%.5f to screen %.5f,%.5f nohead lw %.2f %s\n", from,
                    y, to, y, 2.0 + 0.01 * (double)i, entry[i].line);
        } else if (!entry[i].point) {
            fprintf(script,
                    "set object rectangle from screen %.5f,%.5f to screen %.5f,%.5f fs solid 0.25 "
                    "noborder fc rgb %s\n",
                    from, y - half, to, y + half, entry[i].band);
        }
        if (entry[i].point) {
            const char *colour = entry[i].line ? strstr(entry[i].line, "lc rgb ") : NULL;
            fprintf(script, "set label \"\" at screen %.5f,%.5f point pt %d ps 0.5 lc rgb %s\n",
                    0.5 * (from + to), y, entry[i].point, colour ? colour + 7 : entry[i].band);
        }
        fputs("set label ", script);
        bool plain = *entry[i].label == '\'';
        if (plain) {
            gm_plot_quoted(entry[i].label + 1, script);
        } else {
            fprintf(script, "\"%s\"", entry[i].label);
        }
        fprintf(script, " at screen %.5f,%.5f left%s\n", to + (double)SAMPLE_GAP / GM_FIGURE_WIDTH,
                y, plain ? " noenhanced" : "");
    }
}

void gm_plot_quoted(const char *text, FILE *script)
{
    fputc('\'', script);
    for (const char *c = text; *c;) {
        bool shown;
        size_t length = gm_text_character(c, &shown);
        if (!shown || *c == '\n') {
            fputc('?', script);
        } else if (*c == '\'') {
            fputs("''", script);
        } else {
            fwrite(c, 1, length, script);
        }
        c += length;
    }
    fputc('\'', script);
}

void gm_data_point(FILE *script, double x, double y)
{
    if (isfinite(x) && isfinite(y)) {
        fprintf(script, "%.8g %.8g\n", x, y);
    } else {
        fputs("NaN NaN\n", script);
    }
}

void gm_tile(FILE *script, double x, double y, double value)
{
    if (!isfinite(value)) return;
    fprintf(script, "%.6g %.6g %.4f\n", x, y, fmin(fmax(value, 0.0), 1.0));
}

/* The colour is 0xAARRGGBB, with transparency in AA. */
void gm_plot_tiles(FILE *script, const char *block)
{
    fprintf(script,
            "plot $%s using 1:2:(0.46):(0.46):(int(255.5-255*$3)*16777216+0x0072B2) with "
            "boxxyerror fs solid noborder lc rgb variable notitle\n",
            block);
}

void gm_tile_key(const gm_layout *layout, FILE *script, const char *label)
{
    enum { TILES = 11 };
    fputs("$scale << EOD\n", script);
    for (int i = 0; i < TILES; i++) {
        gm_tile(script, 0.0, i, (double)i / (TILES - 1));
    }
    fputs("EOD\n"
          "set lmargin at screen 0.910\nset rmargin at screen 0.935\n"
          "set xrange [-0.5:0.5]\nset yrange [-0.6:10.6]\nset xlabel \"\"\n"
          "set title \"\"\nunset xtics\nunset ytics\n"
          "set y2tics scale 0 (\"0\" 0, \"0.5\" 5, \"1\" 10) offset -0.6,0\n"
          "set y2range [-0.6:10.6]\n",
          script);
    fprintf(script, "set label \"%s\" at screen 0.9225,%.5f center\n", label,
            1.0 - (layout->top - 0.5 * GM_TITLE_ROW) / layout->height);
    gm_plot_tiles(script, "scale");
    fputs("unset label\n", script);
}

int gm_three_points(const gm_subject *subject, size_t index[3])
{
    if (subject->points == 0) return 0;
    size_t last = subject->points - 1, middle = 0;
    index[0] = 0;
    if (last == 0) return 1;
    const gm_axis *axis = &subject->step_axis;
    double half = 0.5 * (gm_axis_place(axis, (double)subject->point[0].step) +
                         gm_axis_place(axis, (double)subject->point[last].step));
    double nearest = HUGE_VAL;
    for (size_t i = 1; i < last; i++) {
        double distance = fabs(gm_axis_place(axis, (double)subject->point[i].step) - half);
        if (distance >= nearest) continue;
        nearest = distance;
        middle = i;
    }
    index[1] = middle ? middle : last;
    index[2] = last;
    return middle ? 3 : 2;
}

void gm_step_text(int64_t step, char *text, size_t size)
{
    if (step < 0) {
        snprintf(text, size, "the point given");
    } else {
        snprintf(text, size, "step %" PRId64, step);
    }
}
