/* What the figures draw with: panels, legends, data blocks and heat maps, as gnuplot commands; and
 * which operators and points of a run they show. */
#ifndef GM_REPORT_PLOT_H
#define GM_REPORT_PLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "report/axis.h"
#include "report/subject.h"

enum { GM_FIGURE_WIDTH = 760 }; /* picture units; the font is 14 of them high */

/* One colour as gnuplot writes it and the one that takes its place on a dark background. */
typedef struct gm_colour {
    const char *name; /* of the gnuplot variable */
    const char *light, *dark;
} gm_colour;
extern const gm_colour gm_colours[]; /* ended by a NULL name */
/* A colour on light ground by its name, "ink" included, as an attribute of SVG. */
const char *gm_colour_light(const char *name);

/* How a picture is divided: panels side by side, lengths in picture units. */
typedef struct gm_layout {
    int columns;
    bool shared_y; /* only the first panel has room for labels of the vertical axis */
    int height;    /* of the whole picture */
    int top;       /* room above the panels, for legends (GM_LEGEND_ROW each) and titles */
    int bottom;    /* room below the panels; 0 for what tick labels and axis label need */
} gm_layout;
enum { GM_LEGEND_ROW = 21, GM_TITLE_ROW = 30 };

/* Begins panel `column`, 0 ... columns-1, inside `set multiplot`: its margins and the label of its
 * vertical axis ("" for none). gm_panel_end comes after its plot, and takes away what gnuplot would
 * draw again with the next one. */
void gm_panel(const gm_layout *layout, int column, const char *label, FILE *script);
void gm_panel_end(FILE *script);

/* One entry of a legend: how it is drawn, and what it stands for. */
typedef struct gm_legend_entry {
    const char *line; /* "dt (7,3) lc rgb blue"; NULL for a filled band, or for a point alone */
    int point;        /* gnuplot's point type, 0 without */
    const char *band; /* colour variable of the band or of the point alone */
    char label[96];   /* gnuplot enhanced text; behind an apostrophe text shown as it is */
} gm_legend_entry;

/* Sets a legend above the panel `column`, or above all with column = -1; it starts at the top of
 * the picture and wraps where it is wider than what it stands above. To be called
 * between gm_panel and the panel's plot. */
void gm_legend(const gm_layout *layout, int column, const gm_legend_entry *entry, size_t count,
               FILE *script);
/* Rows that gm_legend takes, so that the layout can make room. */
int gm_legend_rows(const gm_layout *layout, int column, const gm_legend_entry *entry, size_t count);

/* text of others in single quotes: nothing in it is markup. What cannot be shown (control
 * characters, bytes that are not UTF-8) becomes a question mark. */
void gm_plot_quoted(const char *text, FILE *script);

/* A line of a data block; a gap where x or y is not finite. */
void gm_data_point(FILE *script, double x, double y);

/* A heat map: one line per tile of a data block (centre and value 0 ... 1; others are left out),
 * its plot, and the scale beside it, drawn into the right margin. The tile's opacity is its value,
 * so that 0 is the page's own ground, dark or light. */
void gm_tile(FILE *script, double x, double y, double value);
void gm_plot_tiles(FILE *script, const char *block);
void gm_tile_key(const gm_layout *layout, FILE *script, const char *label);

/* The operators that figures show, in the palette's colours. */
typedef struct gm_shown_operator {
    const char *key;    /* in the documents: "hessian" */
    const char *label;  /* gnuplot enhanced text */
    const char *colour; /* gnuplot variable */
} gm_shown_operator;
enum { GM_SHOWN_OPERATORS = 3 };
extern const gm_shown_operator gm_shown_operators[GM_SHOWN_OPERATORS]; /* H, M, H_p */

/* Indices of the first, the middle and the last point (fewer where there are fewer); the middle one
 * is the nearest to half the way on the step axis. Returns how many. */
int gm_three_points(const gm_subject *subject, size_t index[3]);
/* text = "step 1000", or words for a point outside of a run. */
void gm_step_text(int64_t step, char *text, size_t size);

#endif
