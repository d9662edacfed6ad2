/* One step of the training: the spectra there by rank, and where the eigenvalues of H lie, those
 * that stand off the bulk one by one. All steps share their axes, so that a film of them shows what
 * moves. */
#include <math.h>
#include <string.h>

#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/ranks.h"
#include "report/result.h"

enum { DECADES = 10, BAR_DECADES = 8, BARS = 28, SIDES = 2 };

/* What all steps of a run have room for. */
typedef struct extents {
    double largest;   /* size of an eigenvalue of any operator */
    double low, high; /* of H */
    double size;      /* parameters */
    size_t ranks;     /* most eigenvalues known of an operator */
    bool whole;       /* all eigenvalues of H are known, at every step */
} extents;

static const json_t *operator_at(const gm_subject_point *point, const char *key)
{
    char path[64];
    snprintf(path, sizeof path, "operators/%s", key);
    return gm_result_find(point->document, path);
}

static extents find_extents(const gm_subject *subject)
{
    extents e = {0.0, 0.0, 0.0, (double)NAN, 2, true};
    for (size_t t = 0; t < subject->points; t++) {
        const gm_subject_point *point = &subject->point[t];
        const json_t *hessian = operator_at(point, "hessian");
        for (int o = 0; o < GM_SHOWN_OPERATORS; o++) {
            const json_t *operator= operator_at(point, gm_shown_operators[o].key);
            double max = gm_result_number(operator, "max"), min = gm_result_number(operator, "min");
            size_t known = json_array_size(gm_result_find(operator, "eigenvalues"));
            if (!isfinite(gm_result_number(operator, "eigenvalues/0"))) continue;
            if (isfinite(max)) e.largest = fmax(e.largest, fabs(max));
            if (isfinite(min)) e.largest = fmax(e.largest, fabs(min));
            if (known > e.ranks) e.ranks = known;
        }
        e.low = fmin(e.low, gm_result_number(hessian, "min"));
        e.high = fmax(e.high, gm_result_number(hessian, "max"));
        e.whole = e.whole && hessian && !gm_result_partial(hessian);
        e.size = gm_result_number(point->document, "size");
    }
    e.whole = e.whole && e.size > 0.0 && e.high - e.low > 0.0;
    return e;
}

/* ---- left: by rank ---- */

/* Blocks $key_0 (positive) and $key_1 (negative); *filled [operators][2]. */
static gm_status write_ranks(const gm_subject_point *point, bool filled[][SIDES], FILE *script,
                             gm_error *err)
{
    double largest = 0.0, smallest = HUGE_VAL;
    for (int o = 0; o < GM_SHOWN_OPERATORS; o++) {
        const char *key = gm_shown_operators[o].key;
        const json_t *operator= operator_at(point, key);
        for (int side = 0; side < SIDES; side++) {
            gm_numbers end;
            char name[64];
            gm_status status = gm_result_end(operator, side == 1, &end, err);
            if (status != GM_OK) return status;
            snprintf(name, sizeof name, "%s_%d", key, side);
            filled[o][side] = gm_ranks_write(name, side == 1, &end, gm_ranks_floor(operator, & end),
                                             &largest, &smallest, script) > 0;
            gm_numbers_free(&end);
        }
    }
    return GM_OK;
}

static void plot_ranks(bool filled[][SIDES], FILE *script)
{
    /* Where H_p is the mirror image of H one lies on the other: the later, the thinner. */
    static const char *const width[GM_SHOWN_OPERATORS] = {"3", "1.8", "1.2"};
    const char *separator = "plot ";
    for (int o = 0; o < GM_SHOWN_OPERATORS; o++) {
        for (int side = 0; side < SIDES; side++) {
            if (!filled[o][side]) continue;
            fprintf(script, "%s$%s_%d with lines lw %s %s lc rgb %s", separator,
                    gm_shown_operators[o].key, side, width[o], side ? "dt (6,3)" : "dt 1",
                    gm_shown_operators[o].colour);
            separator = ", ";
        }
    }
    fputs("\n", script);
}

/* ---- right: where the eigenvalues of H lie ---- */

typedef struct bars {
    gm_axis axis; /* of lambda */
    double width; /* of a bar, in places */
    double share[SIDES][BARS];
    double zero; /* share within the rounding of zero */
    size_t outliers;
} bars;

static bars count_bars(const extents *e, const json_t *hessian, const gm_numbers *all)
{
    double unit = fmax(fabs(e->low), e->high) * pow(10.0, -BAR_DECADES);
    double zero = gm_ranks_floor(hessian, all), outliers = gm_result_number(hessian, "outliers");
    bars b = {.axis = {GM_SCALE_SIGNED, unit, e->low, e->high},
              .outliers = outliers > 0.0 ? (size_t)fmin(outliers, (double)all->rows) : 0};
    b.width = gm_axis_place(&b.axis, fmax(fabs(e->low), e->high)) * (1.0 + 1e-9) / BARS;
    for (size_t i = b.outliers; i < all->rows; i++) {
        double value = all->value[i];
        if (!isfinite(value)) continue;
        if (fabs(value) <= zero) {
            b.zero += 1.0 / (double)all->rows;
            continue;
        }
        size_t bar = (size_t)(fabs(gm_axis_place(&b.axis, value)) / b.width);
        if (bar < BARS) b.share[value < 0.0][bar] += 1.0 / (double)all->rows;
    }
    return b;
}

static gm_axis share_axis(const extents *e)
{
    return (gm_axis){GM_SCALE_LOG, 1.0, 0.5 / e->size, 1.0};
}

static void write_bars(const bars *b, const gm_axis *up, const gm_numbers *all, FILE *script)
{
    double bottom = gm_axis_place(up, 0.5 * up->low), one = gm_axis_place(up, 2.0 * up->low);
    fputs("$bars << EOD\n", script);
    for (int side = 0; side < SIDES; side++) {
        for (int i = 0; i < BARS; i++) {
            double sign = side ? -1.0 : 1.0, from = sign * b->width * i;
            if (!(b->share[side][i] > 0.0)) continue;
            fprintf(script, "%.8g %.8g %.8g %.8g %.8g\n", from + 0.5 * sign * b->width,
                    gm_axis_place(up, b->share[side][i]), from, from + sign * b->width, bottom);
        }
    }
    fputs("EOD\n$outliers << EOD\n", script);
    for (size_t i = 0; i < b->outliers; i++) {
        double place = gm_axis_place(&b->axis, all->value[i]);
        if (isfinite(place)) fprintf(script, "%.8g %.8g %.8g\n", place, bottom, one);
    }
    fputs("EOD\n", script);
}

static void plot_bars(const bars *b, FILE *script)
{
    fputs("plot $bars using 1:2:3:4:5:2 with boxxyerror fs solid 0.55 noborder lc rgb blue",
          script);
    if (b->outliers)
        fputs(", $outliers using 1:2:(0):($3-$2) with vectors nohead lw 1.6 lc rgb vermillion, "
              "$outliers using 1:3 with points pt 7 ps 0.4 lc rgb vermillion",
              script);
    fputs("\n", script);
}

/* ---- both ---- */

static void write_caption(const bars *b, FILE *caption)
{
    fputs("At this step, with the same axes at every step. Left: eigenvalues by rank, positive "
          "ones from the largest down (full lines), sizes of negative ones from the lowest up "
          "(dashed).",
          caption);
    if (!b) {
        fputs(" Only the ends of the spectra are known: a curve stops where no more were asked "
              "for.",
              caption);
        return;
    }
    fputs(" Right: how many of the eigenvalues of <i>H</i> lie where, on an axis that is "
          "logarithmic on both sides of zero; ",
          caption);
    if (b->outliers) {
        gm_html_number(caption, (double)b->outliers);
        fputs(b->outliers == 1 ? " stands off the bulk and is" : " stand off the bulk and are",
              caption);
        fputs(" marked one by one.", caption);
    } else {
        fputs("none stands off the bulk by a factor of two.", caption);
    }
    if (b->zero > 0.0) {
        fputs(" Not shown: ", caption);
        gm_html_percent(caption, b->zero);
        fputs(" that are zero to rounding.", caption);
    }
}

static size_t fill_legend(const bars *b, gm_legend_entry entry[])
{
    static const gm_legend_entry all[] = {
        {"dt 1 lc rgb blue", 0, NULL, "{/:Italic H}"},
        {"dt 1 lc rgb vermillion", 0, NULL, "{/:Italic M}"},
        {"dt 1 lc rgb green", 0, NULL, "{/:Italic H}_p"},
        {"dt (6,3) lc rgb muted", 0, NULL, "negative"},
        {NULL, 0, "blue", "bulk of {/:Italic H}"},
        {"dt 1 lc rgb vermillion", 7, NULL, "off the bulk"},
    };
    size_t count = b ? b->outliers ? 6 : 5 : 4;
    memcpy(entry, all, count * sizeof *all);
    return count;
}

static void write_script(const extents *e, bool filled[][SIDES], const bars *b, gm_drawing *drawing)
{
    FILE *script = drawing->script;
    gm_axis sizes = {GM_SCALE_LOG, 1.0, e->largest * pow(10.0, -DECADES), e->largest};
    gm_axis ranks = {GM_SCALE_LOG, 1.0, 1.0, (double)e->ranks}, up = share_axis(e);
    gm_legend_entry entry[6];
    size_t entries = fill_legend(b, entry);
    gm_layout layout = {b ? 2 : 1, false, 0, 0, 0};
    layout.top = gm_legend_rows(&layout, -1, entry, entries) * GM_LEGEND_ROW + 10;
    layout.height = drawing->height = layout.top + 290;
    fputs("set multiplot\nset xlabel \"rank\"\n", script);
    gm_panel(&layout, 0, "size of eigenvalue", script);
    gm_legend(&layout, -1, entry, entries, script);
    gm_axis_script(&ranks, "x", GM_LABELS_SHOWN, script);
    gm_axis_script(&sizes, "y", GM_LABELS_SHOWN, script);
    plot_ranks(filled, script);
    gm_panel_end(script);
    if (b) {
        gm_panel(&layout, 1, "share of the eigenvalues of {/:Italic H}", script);
        fputs("set xlabel \"eigenvalue {/:Italic λ}\"\n", script);
        gm_axis_script(&b->axis, "x", GM_LABELS_SHOWN, script);
        gm_axis_script(&up, "y", GM_LABELS_SHOWN, script);
        plot_bars(b, script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const gm_subject_point *point = &subject->point[drawing->number];
    const json_t *hessian = operator_at(point, "hessian");
    extents e = find_extents(subject);
    gm_numbers all;
    bool filled[GM_SHOWN_OPERATORS][SIDES], any = false;
    drawing->step = point->step;
    gm_status status = gm_result_numbers(hessian, "eigenvalues", &all, err);
    if (status == GM_OK) status = write_ranks(point, filled, drawing->script, err);
    for (int o = 0; o < GM_SHOWN_OPERATORS && status == GM_OK; o++) {
        any = any || filled[o][0] || filled[o][1];
    }
    if (status == GM_OK && (!any || !(e.largest > 0.0))) {
        fputs("The decomposition holds no eigenvalue that is finite and not zero.",
              drawing->missing);
    } else if (status == GM_OK) {
        bars b = {.width = 0.0};
        gm_axis up = share_axis(&e);
        bool whole = e.whole && all.rows > 1;
        if (whole) {
            b = count_bars(&e, hessian, &all);
            write_bars(&b, &up, &all, drawing->script);
        }
        write_script(&e, filled, whole ? &b : NULL, drawing);
        write_caption(whole ? &b : NULL, drawing->caption);
    }
    gm_numbers_free(&all);
    return status;
}

static size_t count(const gm_subject *subject)
{
    return find_extents(subject).largest > 0.0 ? subject->points : 0;
}

const gm_figure gm_figure_point = {"point", "Spectra along the training", draw, count};
