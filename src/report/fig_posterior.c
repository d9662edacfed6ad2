/* The posterior of a bound against the diagonal of the Hessian. */
#include <math.h>

#include "report/bound.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"

static size_t count_of(const gm_subject *subject)
{
    return gm_bounds_count(subject, "bound");
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    FILE *script = drawing->script;
    gm_layout layout = {1, false, 320, GM_LEGEND_ROW, 0};
    gm_numbers edges, counts;
    const json_t *d = gm_bounds_find(subject, "bound", drawing);
    gm_status status = gm_result_numbers(d, "posterior/histogram/log10_edges", &edges, err);
    if (status != GM_OK) return status;
    status = gm_result_numbers(d, "posterior/histogram/counts", &counts, err);
    if (status == GM_OK && (edges.rows < 2 || counts.rows + 1 != edges.rows || !counts.finite)) {
        fputs("The document holds no histogram of the posterior.", drawing->missing);
    } else if (status == GM_OK) {
        static const gm_legend_entry legend[2] = {
            {NULL, 5, "blue", "the prior's variance is kept"},
            {NULL, 5, "vermillion", "the curvature narrows the posterior"}};
        double most = 1.0, low = HUGE_VAL, high = -HUGE_VAL;
        fputs("$counts << EOD\n", script);
        for (size_t i = 0; i < counts.rows; i++) {
            double left = edges.value[i], right = edges.value[i + 1], n = counts.value[i];
            if (!(n > 0.0)) continue;
            fprintf(script, "%.8g %.8g %.8g %d\n", 0.5 * (left + right), n, right - left,
                    left >= -1e-9);
            most = fmax(most, n);
            low = fmin(low, left);
            high = fmax(high, right);
        }
        fputs("EOD\n", script);
        gm_axis axis = {GM_SCALE_LINEAR, 1.0, 0.0, most};
        drawing->height = layout.height;
        gm_panel(&layout, 0, "parameters", script);
        gm_axis_script(&axis, "y", GM_LABELS_SHOWN, script);
        gm_legend(&layout, 0, legend, 2, script);
        fprintf(
            script,
            "set xrange [%g:%g]\nset xlabel \"log_{10} of {/:Italic λ H_{jj} σ_j}^2\"\n"
            "plot $counts using 1:($4<1?$2:NaN):3 with boxes fs solid 0.85 noborder lc rgb blue, "
            "$counts using 1:($4<1?NaN:$2):3 with boxes fs solid 0.85 noborder lc rgb "
            "vermillion\n",
            fmin(low, -1.0), fmax(high, 1.0));
        gm_panel_end(script);
        fputs("The curvature asked for against the prior, &lambda;<i>H<sub>jj</sub></i> times "
              "&sigma;<sub><i>j</i></sub>&sup2;, over all parameters. Above 1 (0 on this axis) the "
              "posterior is narrower than the prior, and the parameter adds to the effective "
              "curvature; below, it keeps the prior's variance. Not shown: ",
              drawing->caption);
        gm_html_number(drawing->caption, gm_result_number(d, "posterior/histogram/not_positive"));
        fputs(" parameters with <i>H<sub>jj</sub></i>&nbsp;&le;&nbsp;0.", drawing->caption);
    }
    gm_numbers_free(&edges);
    gm_numbers_free(&counts);
    return status;
}

const gm_figure gm_figure_posterior = {"posterior", "Posterior against the diagonal of the Hessian",
                                       draw, count_of};
