/* A spectral density: smoothed on a linear axis, and its quadrature nodes on a signed logarithmic
 * one.
 *
 * The two panels show the same measurement. Left, the density rho(lambda), the share of the
 * eigenvalues per unit of lambda after smoothing by a Gaussian. Right, nothing is smoothed: the
 * weights of the nodes are added up between the bars' edges. What lies within the noise of the
 * products is neither drawn as a bar nor as a curve's detail but marked as unresolved: in float32
 * most of a rank-deficient spectrum comes out as tiny values of either sign. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/spectra.h"

/* Bars on the wider side of zero; decades of the logarithmic axis at most. */
enum { BARS = 36, DECADES = 9, BINS = 2 * BARS };
static const double root_two_pi = 2.506628274631000502;

typedef struct density {
    const gm_subject_spectrum *spectrum;
    gm_numbers grid, value, error; /* [points]; error has no rows where one probe was taken */
    gm_numbers node, weight;       /* [probes, steps] */
    gm_numbers exact;              /* eigenvalues to be marked one by one, not smoothed */
    bool apart;                    /* they were split off; else the curve holds them too */
    double width, size;            /* of the kernel; eigenvalues in all */
    double scale, floor;           /* largest size of a node or exact one; noise of the products */
} density;

static void density_free(density *d)
{
    gm_numbers_free(&d->grid);
    gm_numbers_free(&d->value);
    gm_numbers_free(&d->error);
    gm_numbers_free(&d->node);
    gm_numbers_free(&d->weight);
    gm_numbers_free(&d->exact);
}

static double largest_size(const gm_numbers *numbers, double largest)
{
    for (size_t i = 0; i < numbers->rows * numbers->columns; i++) {
        double size = fabs(numbers->value[i]);
        if (isfinite(size)) largest = fmax(largest, size);
    }
    return largest;
}

/* Eigenvalues of the same operator at the same step that the run file has from elsewhere: all that
 * another `spectrum` found by products, or those that stand off the bulk in a decomposition. */
static gm_status read_found(const gm_subject *subject, density *d, gm_error *err)
{
    const char *operator= gm_result_text(d->spectrum->document, "operator");
    for (size_t i = 0; i < subject->spectra; i++) {
        const gm_subject_spectrum *other = &subject->spectrum[i];
        bool products =
            gm_result_find(other->block, "residuals") && !gm_result_find(other->block, "density");
        if (products && other->step == d->spectrum->step && gm_spectra_alike(other, d->spectrum))
            return gm_result_numbers(other->block, "eigenvalues", &d->exact, err);
    }
    for (size_t t = 0; t < subject->points && operator; t++) {
        char path[64];
        snprintf(path, sizeof path, "operators/%s", operator);
        const json_t *whole = gm_result_find(subject->point[t].document, path);
        double outliers = gm_result_number(whole, "outliers");
        gm_subject_spectrum net = {d->spectrum->step, d->spectrum->document, NULL};
        if (subject->point[t].step != d->spectrum->step || !(outliers > 0.0)) continue;
        if (!gm_spectra_alike(&net, d->spectrum) || gm_spectrum_preconditioned(d->spectrum))
            continue;
        gm_status status = gm_result_numbers(whole, "eigenvalues", &d->exact, err);
        if ((double)d->exact.rows > outliers) d->exact.rows = (size_t)outliers;
        return status;
    }
    return GM_OK;
}

static gm_status density_read(const gm_subject *subject, const gm_subject_spectrum *spectrum,
                              density *d, gm_error *err)
{
    const json_t *block = spectrum->block;
    *d = (density){.spectrum = spectrum,
                   .width = gm_result_number(block, "density/width"),
                   .size = gm_result_number(block, "size")};
    gm_status status = gm_result_numbers(block, "density/grid", &d->grid, err);
    if (status == GM_OK) status = gm_result_numbers(block, "density/values", &d->value, err);
    if (status == GM_OK) status = gm_result_numbers(block, "density/stderr", &d->error, err);
    if (status == GM_OK) status = gm_result_numbers(block, "density/nodes", &d->node, err);
    if (status == GM_OK) status = gm_result_numbers(block, "density/weights", &d->weight, err);
    if (status == GM_OK) status = gm_result_numbers(block, "density/deflated", &d->exact, err);
    d->apart = d->exact.rows > 0;
    bool known = d->size > 0.0 && spectrum->step >= 0; /* which point it is */
    if (status == GM_OK && !d->apart && known) status = read_found(subject, d, err);
    if (d->error.rows != d->grid.rows || !d->error.finite) gm_numbers_free(&d->error);
    d->scale = largest_size(&d->exact, largest_size(&d->node, 0.0));
    d->floor = gm_spectrum_floor(spectrum, "density/floor", d->scale);
    return status;
}

static bool drawable(const density *d)
{
    return d->grid.rows >= 2 && d->value.rows == d->grid.rows && d->value.finite &&
           d->node.finite && d->node.rows == d->weight.rows &&
           d->node.columns == d->weight.columns && d->width > 0.0;
}

/* Integral of the density over its grid: as recorded, else by trapezoids. */
static double mass_of(const density *d)
{
    double mass = gm_result_number(d->spectrum->block, "density/mass");
    if (isfinite(mass)) return mass;
    mass = 0.0;
    for (size_t i = 1; i < d->grid.rows; i++) {
        double step = d->grid.value[i] - d->grid.value[i - 1];
        mass += 0.5 * step * (d->value.value[i] + d->value.value[i - 1]);
    }
    return mass;
}

/* ---- left: smoothed ---- */

/* Height of a single eigenvalue's kernel. */
static double single_height(const density *d)
{
    return 1.0 / (d->size * d->width * root_two_pi);
}

static gm_axis value_axis(const density *d)
{
    enum { MOST_DECADES = 12 };
    double peak = 0.0;
    for (size_t i = 0; i < d->value.rows; i++) {
        peak = fmax(peak, isfinite(d->value.value[i]) ? d->value.value[i] : 0.0);
    }
    double low = peak * 1e-6;
    if (d->size > 0.0) low = 0.02 * single_height(d);
    return (gm_axis){GM_SCALE_LOG, 1.0, fmax(fmin(low, 0.1 * peak), peak * pow(10, -MOST_DECADES)),
                     2.0 * peak};
}

static gm_axis lambda_axis(const density *d)
{
    double low = d->grid.value[0], high = d->grid.value[d->grid.rows - 1];
    for (size_t i = 0; i < d->exact.rows; i++) {
        low = fmin(low, d->exact.value[i]);
        high = fmax(high, d->exact.value[i]);
    }
    return (gm_axis){GM_SCALE_LINEAR, 1.0, low, high};
}

/* Places on a logarithmic axis; what is below it, zero included, a little way under it. */
static double place_above(const gm_axis *axis, double value)
{
    return gm_axis_place(axis, fmax(value, 0.5 * axis->low));
}

static void write_smoothed(const density *d, const gm_axis *axis, FILE *script)
{
    fputs("$curve << EOD\n", script);
    for (size_t i = 0; i < d->grid.rows; i++) {
        gm_data_point(script, d->grid.value[i], place_above(axis, d->value.value[i]));
    }
    fputs("EOD\n$band << EOD\n", script);
    for (size_t i = 0; i < d->error.rows; i++) {
        double value = d->value.value[i], error = d->error.value[i];
        if (!isfinite(value) || !isfinite(error)) continue;
        fprintf(script, "%.8g %.8g %.8g\n", d->grid.value[i], place_above(axis, value - error),
                place_above(axis, value + error));
    }
    fputs("EOD\n$exact << EOD\n", script);
    for (size_t i = 0; i < d->exact.rows; i++) {
        double height = d->size > 0.0 ? single_height(d) : axis->high;
        fprintf(script, "%.8g %.8g %.8g\n", d->exact.value[i], place_above(axis, height),
                place_above(axis, 0.0));
    }
    fputs("EOD\n", script);
}

/* Grey over the whole height between from and to, behind everything. */
static void mark_unresolved(double from, double to, FILE *script)
{
    fprintf(script,
            "set object rectangle from first %.8g, graph 0 to first %.8g, graph 1 behind "
            "fs solid 0.35 noborder fc rgb muted\n",
            from, to);
}

static void plot_smoothed(const density *d, const gm_axis *x, FILE *script)
{
    enum { VISIBLE = 300 }; /* of the panel's width */
    if (2.0 * d->floor * VISIBLE > x->high - x->low) mark_unresolved(-d->floor, d->floor, script);
    fputs("set title \"smoothed\"\nplot ", script);
    if (d->error.rows)
        fputs("$band using 1:2:3 with filledcurves fs solid 0.25 noborder lc rgb blue, ", script);
    fputs("$curve with lines lw 1.6 lc rgb blue", script);
    if (d->exact.rows)
        fputs(", $exact using 1:3:(0):($2-$3) with vectors nohead lw 1.6 lc rgb vermillion, "
              "$exact using 1:2 with points pt 7 ps 0.4 lc rgb vermillion",
              script);
    fputs("\n", script);
}

/* ---- right: weights of the nodes on a signed logarithmic axis ---- */

typedef struct bars {
    gm_axis axis;            /* of lambda */
    double start, step;      /* bars begin at the place `start` on either side of zero */
    double mean[2][BINS];    /* weight of the positive and of the negative nodes in a bar */
    double squares[2][BINS]; /* sum over probes of the squared weight */
    double unresolved;       /* weight within the floor */
} bars;

/* Adds what each probe has in every bar. */
static void count_nodes(const density *d, bars *b)
{
    size_t probes = d->node.rows, steps = d->node.columns;
    for (size_t r = 0; r < probes; r++) {
        double row[2][BINS] = {{0.0}};
        for (size_t j = 0; j < steps; j++) {
            double node = d->node.value[r * steps + j], weight = d->weight.value[r * steps + j];
            if (!isfinite(node) || !(weight > 0.0)) continue;
            if (fabs(node) <= d->floor) {
                b->unresolved += weight / (double)probes;
                continue;
            }
            double bar = (fabs(gm_axis_place(&b->axis, node)) - b->start) / b->step;
            row[node < 0.0][(size_t)fmin(fmax(bar, 0.0), BINS - 1)] += weight;
        }
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < BINS; i++) {
                b->mean[side][i] += row[side][i] / (double)probes;
                b->squares[side][i] += row[side][i] * row[side][i];
            }
        }
    }
}

/* Standard error over the probes of a bar's mean weight. */
static double bar_error(const bars *b, int side, size_t i, size_t probes)
{
    double n = (double)probes, mean = b->mean[side][i];
    if (probes < 2) return 0.0;
    return sqrt(fmax(b->squares[side][i] - n * mean * mean, 0.0) / (n * (n - 1.0)));
}

static void fill_bars(const density *d, bars *b)
{
    double low = 0.0, high = 0.0;
    for (size_t i = 0; i < d->node.rows * d->node.columns; i++) {
        if (!isfinite(d->node.value[i])) continue;
        low = fmin(low, d->node.value[i]);
        high = fmax(high, d->node.value[i]);
    }
    for (size_t i = 0; i < d->exact.rows; i++) {
        low = fmin(low, d->exact.value[i]);
        high = fmax(high, d->exact.value[i]);
    }
    double unit = fmax(d->floor, d->scale * pow(10.0, -DECADES));
    *b = (bars){.axis = {GM_SCALE_SIGNED, unit, low, high}};
    b->start = gm_axis_place(&b->axis, d->floor);
    b->step = (gm_axis_place(&b->axis, d->scale) * (1.0 + 1e-9) - b->start) / BARS;
    count_nodes(d, b);
}

/* Shares of the spectrum that the panel has room for. */
static gm_axis share_axis(const density *d, const bars *b)
{
    double low = HUGE_VAL;
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < BINS; i++) {
            if (b->mean[side][i] > 0.0) low = fmin(low, b->mean[side][i]);
        }
    }
    if (d->size > 0.0) low = 0.3 / d->size;
    return (gm_axis){GM_SCALE_LOG, 1.0, fmin(fmax(low, 1e-12), 0.1), 1.0};
}

static void write_bars(const density *d, const bars *b, const gm_axis *axis, FILE *script)
{
    fputs("$bars << EOD\n", script);
    for (int side = 1; side >= 0; side--) {
        for (size_t i = 0; i < BINS; i++) {
            double mean = b->mean[side][i], sign = side ? -1.0 : 1.0;
            if (!(mean > axis->low)) continue;
            double error = bar_error(b, side, i, d->node.rows);
            double from = sign * (b->start + b->step * (double)i);
            fprintf(script, "%.8g %.8g %.8g %.8g %.8g %.8g\n", from + 0.5 * sign * b->step,
                    gm_axis_place(axis, mean), from, from + sign * b->step,
                    place_above(axis, mean - error), place_above(axis, mean + error));
        }
    }
    fputs("EOD\n$spikes << EOD\n", script);
    for (size_t i = 0; i < d->exact.rows && d->size > 0.0; i++) {
        gm_data_point(script, gm_axis_place(&b->axis, d->exact.value[i]),
                      place_above(axis, 1.0 / d->size));
    }
    fputs("EOD\n", script);
}

static void plot_bars(const density *d, const bars *b, const gm_axis *axis, FILE *script)
{
    double bottom = place_above(axis, 0.0);
    mark_unresolved(-b->start, b->start, script);
    fprintf(script,
            "set title \"weights of the nodes\"\n"
            "plot $bars using 1:2:3:4:(%.8g):2 with boxxyerror fs solid 0.55 noborder lc rgb blue",
            bottom);
    if (d->node.rows > 1)
        fputs(", $bars using 1:5:(0):($6-$5) with vectors heads size screen 0.004,90 lw 0.8 lc rgb "
              "ink",
              script);
    if (d->exact.rows)
        fprintf(script,
                ", $spikes using 1:(%.8g):(0):($2-(%.8g)) with vectors nohead lw 1.6 lc rgb "
                "vermillion, $spikes with points pt 7 ps 0.4 lc rgb vermillion",
                bottom, bottom);
    fputs("\n", script);
}

/* ---- both ---- */

static size_t fill_legend(const density *d, const bars *b, gm_legend_entry entry[4])
{
    size_t count = 0;
    entry[count++] = (gm_legend_entry){"dt 1 lc rgb blue", 0, NULL, "estimate"};
    if (d->error.rows) entry[count++] = (gm_legend_entry){NULL, 0, "blue", "± its standard error"};
    if (d->exact.rows) {
        gm_legend_entry *marks = &entry[count++];
        *marks = (gm_legend_entry){"dt 1 lc rgb vermillion", 7, NULL, ""};
        snprintf(marks->label, sizeof marks->label, "%s",
                 d->apart ? "exact eigenvalues" : "eigenvalues found");
    }
    gm_legend_entry *e = &entry[count++];
    *e = (gm_legend_entry){NULL, 0, "muted", ""};
    snprintf(e->label, sizeof e->label, "not told from zero: %.3g %%", 100.0 * b->unresolved);
    return count;
}

static void write_caption(const density *d, const bars *b, FILE *caption)
{
    fputs("Left: density of the eigenvalues ", caption);
    gm_spectrum_caption(d->spectrum, caption);
    fputs(", as a share of the whole per unit of &lambda;, smoothed by a Gaussian of standard "
          "deviation ",
          caption);
    gm_html_number(caption, d->width);
    fputs(", from ", caption);
    gm_html_number(caption, (double)d->node.rows);
    fputs(d->node.rows == 1 ? " probe of " : " probes of ", caption);
    gm_html_number(caption, (double)d->node.columns);
    fputs(" Lanczos steps; it integrates to ", caption);
    gm_html_number(caption, mass_of(d));
    fputs(". ", caption);
    if (d->error.rows)
        fputs("The band is one standard error over the probes to either side. ", caption);
    if (d->exact.rows) {
        fputs("The ", caption);
        gm_html_number(caption, (double)d->exact.rows);
        fputs(d->apart ? " eigenvalues marked were computed exactly and taken out before: the "
                         "curve is what is left, and a spike is as high as the kernel around one "
                         "eigenvalue. "
                       : " eigenvalues marked are known from another result at this step; the "
                         "curve holds them too, and a spike is as high as the kernel around one. ",
              caption);
    }
    fputs("Right: the same quadrature without smoothing, the nodes' weights added up between the "
          "edges of each bar, on an axis that is logarithmic on both sides of zero",
          caption);
    fputs("; a bar that stands alone is one node, which stands for the eigenvalues around it",
          caption);
    if (d->size > 0.0) {
        fputs("; one eigenvalue is a share of ", caption);
        gm_html_number(caption, 1.0 / d->size);
    }
    fputs(". Grey: between &minus;", caption);
    gm_html_number(caption, d->floor);
    fputs(" and ", caption);
    gm_html_number(caption, d->floor);
    fputs(" the rounding of the products leaves no eigenvalue apart from zero, nor its sign; ",
          caption);
    gm_html_percent(caption, b->unresolved);
    fputs(" of the weight is there.", caption);
}

static void write_script(const density *d, const bars *b, gm_drawing *drawing)
{
    FILE *script = drawing->script;
    gm_axis x = lambda_axis(d), y = value_axis(d), share = share_axis(d, b);
    bool both = d->scale > d->floor; /* else there is not one node to stand on the right */
    gm_legend_entry entry[4];
    size_t entries = fill_legend(d, b, entry);
    gm_layout layout = {both ? 2 : 1, false, 0, 0, 0};
    layout.top = GM_LEGEND_ROW * gm_legend_rows(&layout, -1, entry, entries) + GM_TITLE_ROW;
    layout.height = layout.top + 310;
    drawing->height = layout.height;
    write_smoothed(d, &y, script);
    write_bars(d, b, &share, script);
    fputs("set multiplot\nset xlabel \"eigenvalue {/:Italic λ}\"\nset clip one\n", script);
    gm_panel(&layout, 0, "density per unit of {/:Italic λ}", script);
    gm_legend(&layout, -1, entry, entries, script);
    gm_axis_script(&x, "x", GM_LABELS_SHOWN, script);
    gm_axis_script(&y, "y", GM_LABELS_SHOWN, script);
    plot_smoothed(d, &x, script);
    gm_panel_end(script);
    if (both) {
        gm_panel(&layout, 1, "share of the eigenvalues", script);
        gm_axis_script(&b->axis, "x", GM_LABELS_SHOWN, script);
        gm_axis_script(&share, "y", GM_LABELS_SHOWN, script);
        plot_bars(d, b, &share, script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    density d;
    bars *b = gm_alloc(1, sizeof *b, "bars", err);
    if (!b) return GM_ERR_MEMORY;
    const gm_subject_spectrum *spectrum = gm_spectra_find(subject, "density", drawing->number);
    gm_status status = density_read(subject, spectrum, &d, err);
    if (status == GM_OK) {
        gm_spectrum_title(spectrum, drawing);
        if (drawable(&d)) {
            fill_bars(&d, b);
            write_script(&d, b, drawing);
            write_caption(&d, b, drawing->caption);
        } else {
            fputs("The result holds no density with finite values.", drawing->missing);
        }
    }
    density_free(&d);
    gm_free(b);
    return status;
}

static size_t count(const gm_subject *subject)
{
    return gm_spectra_count(subject, "density");
}

const gm_figure gm_figure_density = {"density", "Spectral density", draw, count};
