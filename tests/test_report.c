/* The page of gradiometer report: what is in it, that it is well-formed and stands alone, that
 * names cannot break it, and that its figures show the numbers of the run file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "report/axis.h"
#include "report/figure.h"
#include "report/film.h"
#include "report/gnuplot.h"
#include "report/html.h"
#include "report/svg.h"
#include "report_case.h"

static const char plain[] = "gauss:k=10";
/* Everything that HTML or gnuplot's enhanced text would read as markup, a control character, and
 * formats of printf. */
static const char hostile[] =
    "<script>alert(\"x\")</script>&amp;'@_a^{2}\\{/:Bold b}`$(id)`%s%n\x01";
static const char hostile_in_html[] =
    "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;amp;&#39;@_a^{2}\\{/:Bold b}`$(id)`%s%n"
    "\xef\xbf\xbd";

/* Figures of the training and of the decomposition; test_report_spectra.c has the others. */
static const char *const figure_id[] = {"loss",    "eigenvalues", "spectra",   "angles",
                                        "overlap", "residual",    "alignment", "subspace"};
enum { FIGURES = sizeof figure_id / sizeof *figure_id };

enum { ALL = CASE_SETTINGS | CASE_TRAINING | CASE_DECOMPOSITION };

/* What print writes, freed by free(). */
static char *printed(void (*print)(FILE *, const char *), const char *text)
{
    char *bytes = NULL;
    size_t size;
    FILE *stream = open_memstream(&bytes, &size);
    print(stream, text);
    fclose(stream);
    return bytes;
}

static char *printed_number(void (*print)(FILE *, double), double value)
{
    char *bytes = NULL;
    size_t size;
    FILE *stream = open_memstream(&bytes, &size);
    print(stream, value);
    fclose(stream);
    return bytes;
}

/* The page about runs [count], checked; freed by free(). */
static char *page_of(size_t count, const char *const *run)
{
    const char *path = folder_path("page.html");
    gm_error err = {0};
    if (gm_report_write(count, run, path, &err) != GM_OK) fail_msg("%s", err.message);
    char *html = case_read(path);
    assert_non_null(html);
    case_page page;
    case_check(&page, html);
    if (*page.problem) fail_msg("%s", page.problem);
    return html;
}

static char *page_of_one(const char *run)
{
    return page_of(1, &run);
}

/* ---- text and numbers ---- */

static void test_text(void **state)
{
    (void)state;
    static const char *const text[][2] = {
        {hostile, hostile_in_html},
        {"é λ ‖ 漢 😀", "é λ ‖ 漢 😀"},
        {"\xff|\xc0\x80|\xed\xa0\x80|\xe2\x82", "�|��|���|��"}, /* never UTF-8, overlong, surrogate,
                                                                    cut short */
        {"a\nb\tc\x7f", "a\nb\tc�"},
        {"", ""},
        {NULL, ""},
    };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        char *html = printed(gm_html_text, text[i][0]);
        assert_string_equal(html, text[i][1]);
        free(html);
    }
    static const char *const formula[][2] = {
        {"||H_p + H||_F >= 0.1 and -H", "&#8214;H<sub>p</sub> + H&#8214;<sub>F</sub> &ge; 0.1 and "
                                        "&minus;H"},
        {"top-15 a_name <b> _x", "top-15 a_name &lt;b&gt; _x"},
    };
    for (size_t i = 0; i < sizeof formula / sizeof *formula; i++) {
        char *html = printed(gm_html_formula, formula[i][0]);
        assert_string_equal(html, formula[i][1]);
        free(html);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *shown;
    } number[] = {
        {0.0, "0"},
        {0.05, "0.05"},
        {0.04998, "0.0500"},
        {0.0012344, "0.00123"},
        {-2.5, "&minus;2.5"},
        {1840.0, "1,840"},
        {-1234567.0, "&minus;1,234,567"},
        {12345.6, "12346"},
        {1.2345e-7, "1.23&times;10<sup>&minus;7</sup>"},
        {-6.02e23, "&minus;6.02&times;10<sup>23</sup>"},
    };
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        char *html = printed_number(gm_html_number, number[i].value), *end;
        assert_memory_equal(html, "<data value=\"", 13);
        /* 17 digits: the very same number. */
        assert_true(strtod(html + 13, &end) == number[i].value);
        assert_memory_equal(end, "\">", 2);
        assert_memory_equal(end + 2, number[i].shown, strlen(number[i].shown));
        assert_string_equal(end + 2 + strlen(number[i].shown), "</data>");
        free(html);
    }
    char *html = printed_number(gm_html_number, (double)NAN);
    assert_string_equal(html, "undefined");
    free(html);
    html = printed_number(gm_html_percent, 0.125);
    assert_string_equal(html, "<data value=\"0.125\">12.5&#8239;%</data>");
    free(html);
}

/* ---- axes ---- */

static void test_axes(void **state)
{
    (void)state;
    const double narrow[] = {1.0, (double)NAN, 3.0, HUGE_VAL}, wide[] = {1e-3, 5.0, 1e-3};
    const double both[] = {-4.0, 0.0, 1e-9, 2.0}, nothing[] = {(double)NAN, -HUGE_VAL};
    gm_axis axis = gm_axis_for(4, narrow, 10.0, 6);
    assert_true(axis.scale == GM_SCALE_LINEAR && axis.low == 1.0 && axis.high == 3.0);
    axis = gm_axis_for(3, wide, 10.0, 6);
    assert_true(axis.scale == GM_SCALE_LOG && axis.low == 1e-3 && axis.high == 5.0);
    assert_true(gm_axis_place(&axis, 10.0) == 1.0 && isnan(gm_axis_place(&axis, 0.0)));
    axis = gm_axis_for(4, both, 10.0, 6);
    assert_true(axis.scale == GM_SCALE_SIGNED && axis.low == -4.0 && axis.high == 2.0);
    assert_true(gm_axis_place(&axis, 0.0) == 0.0);
    double before = gm_axis_place(&axis, -4.0);
    for (double value = -3.9; value <= 2.0; value += 0.1) {
        double place = gm_axis_place(&axis, value);
        assert_true(place > before && place == -gm_axis_place(&axis, -value));
        before = place;
    }
    axis = gm_axis_for(2, nothing, 10.0, 6);
    assert_true(axis.scale == GM_SCALE_LINEAR && axis.low < axis.high);
}

/* What gm_axis_script writes of ticks, freed by free(). */
static char *ticks(const gm_axis *axis, const char *which)
{
    char *bytes = NULL;
    size_t size;
    FILE *stream = open_memstream(&bytes, &size);
    gm_axis_script(axis, which, GM_LABELS_SHOWN, stream);
    fclose(stream);
    return bytes;
}

/* Every axis has labels, and on a horizontal one they leave room for each other. */
static void test_ticks(void **state)
{
    (void)state;
    static const struct {
        gm_axis axis;
        const char *which, *labelled[3], *bare;
    } axes[] = {
        {{GM_SCALE_LOG, 1.0, 1e-4, 3.0}, "y", {"\"10^{−3}\" -3", "\"10^{0}\" 0"}, NULL},
        {{GM_SCALE_LOG, 1.0, 1e-8, 1e-3}, "x", {"\"10^{−7}\" -7", "\"10^{−3}\" -3"}, NULL},
        {{GM_SCALE_LOG, 1.0, 0.02, 0.9}, "y", {"\"0.02\"", "\"0.1\" -1", "\"0.5\""}, NULL},
        {{GM_SCALE_LINEAR, 1.0, 0.0, 80.0}, "y", {"\"0\" 0", "\"20\" 20"}, NULL},
        {{GM_SCALE_SIGNED, 1.0, 0.0, 400.0}, "x", {"\"10\"", "\"100\""}, "\"200\""},
        {{GM_SCALE_SIGNED, 3e-8, -0.5, 3.0}, "x", {"\"0\" 0", "−10^{−3}"}, "\"10^{−6}\""},
        {{GM_SCALE_SIGNED, 3e-8, -0.5, 3.0}, "y", {"\"10^{−6}\"", "\"−10^{−6}\""}, NULL},
    };
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
        char *script = ticks(&axes[i].axis, axes[i].which);
        for (size_t j = 0; j < 3 && axes[i].labelled[j]; j++) {
            if (!strstr(script, axes[i].labelled[j])) fail_msg("%zu: %s", i, script);
        }
        if (axes[i].bare && strstr(script, axes[i].bare)) fail_msg("%zu: %s", i, script);
        free(script);
    }
}

/* ---- gnuplot ---- */

static void test_gnuplot_fails(void **state)
{
    (void)state;
    static const char script[] = "set terminal svg\nplot nonsense(\n";
    char *output;
    size_t size;
    gm_error err = {0};
    assert_int_equal(gm_gnuplot_run("loss", script, strlen(script), &output, &size, &err),
                     GM_ERR_NUMERIC);
    assert_null(output);
    assert_memory_equal(err.message, "gnuplot: loss: ", 15);
    assert_null(strchr(err.message, '\n'));
    assert_non_null(strstr(err.message, "line"));

    /* Half a picture is none. */
    static const char half[] = "set terminal svg\nplot x\nplot nonsense(\n";
    assert_int_equal(gm_gnuplot_run("loss", half, strlen(half), &output, &size, &err),
                     GM_ERR_NUMERIC);
    assert_null(output);

    /* A script larger than any pipe, and no output at all. */
    enum { LARGE = 1 << 20 };
    char *large = malloc(LARGE);
    memset(large, '\n', LARGE);
    assert_int_equal(gm_gnuplot_run("loss", large, LARGE, &output, &size, &err), GM_ERR_NUMERIC);
    free(large);
}

static void test_gnuplot_missing(void **state)
{
    (void)state;
    const char *run = case_run("full.gmr", ALL, plain), *page = folder_path("page.html");
    char *path = strdup(getenv("PATH"));
    unlink(page);
    int entries = folder_entries();
    gm_error err = {0};
    setenv("PATH", "/nonexistent", 1);
    gm_status status = gm_report_write(1, &run, page, &err);
    setenv("PATH", path, 1);
    free(path);
    assert_int_equal(status, GM_ERR_DEPENDENCY);
    assert_non_null(strstr(err.message, "gnuplot-nox"));
    assert_int_equal(folder_entries(), entries);
}

static void test_svg(void **state)
{
    (void)state;
    static const char svg[] =
        "<?xml version=\"1.0\"?>\n<svg \n viewBox=\"0 0 9 9\"\n xmlns=\"http://w\"\n>\n"
        "<title>t</title><desc>d</desc>\n<defs><path id='a' stroke-width='1' d='M0,0'/>"
        "<filter id='f'><feFlood flood-color='white'/></filter></defs>\n"
        "<g color=\"black\">\n</g>\n<g color = 'rgb(  0, 114, 178)'>"
        "<use xlink:href='#a' stroke='rgb(0,0,0)'/>"
        "<text xml:space=\"preserve\" font-family=\"x\">a &lt; b</text></g>\n</svg>\n";
    char *bytes = NULL;
    size_t size;
    gm_error err = {0};
    FILE *stream = open_memstream(&bytes, &size);
    assert_int_equal(gm_svg_inline(stream, svg, "r1x", "a \"b\"", &err), GM_OK);
    fclose(stream);
    assert_string_equal(bytes, "<svg id=\"r1x\" role=\"img\" aria-label=\"a &quot;b&quot;\" "
                               "viewBox=\"0 0 9 9\">\n<defs><path id=\"r1x-a\" stroke-width=\"1\" "
                               "d=\"M0,0\"/></defs>\n<g color=\"#0072B2\"><use href=\"#r1x-a\" "
                               "stroke=\"currentColor\"/><text>a &lt; b</text></g>\n</svg>\n");
    free(bytes);
    stream = open_memstream(&bytes, &size);
    assert_int_equal(gm_svg_inline(stream, "no picture", "r1x", "t", &err), GM_ERR_NUMERIC);
    fclose(stream);
    free(bytes);
}

/* ---- pages ---- */

static void test_every_figure(void **state)
{
    (void)state;
    const char *run[2];
    run[0] = case_run("one.gmr", ALL, plain);
    run[1] = case_run("two.gmr", ALL, plain);
    char *html = page_of(2, run);
    for (int r = 1; r <= 2; r++) {
        for (size_t f = 0; f < FIGURES; f++) {
            char figure[64];
            snprintf(figure, sizeof figure, "<svg id=\"r%d%s\"", r, figure_id[f]);
            if (!strstr(html, figure)) fail_msg("no figure %s", figure);
        }
    }
    assert_null(strstr(html, "class=\"missing\""));
    free(html);
    /* Equal run files give equal bytes. */
    html = page_of_one(run[0]);
    char *again = page_of_one(run[0]);
    assert_string_equal(html, again);
    free(again);
    free(html);
}

/* Whether value stands, with all its digits, in html before end. */
static bool holds_number(const char *html, const char *end, double value)
{
    static const char mark[] = "<data value=\"";
    for (const char *at = strstr(html, mark); at && at < end; at = strstr(at + 1, mark)) {
        if (strtod(at + strlen(mark), NULL) == value) return true;
    }
    return false;
}

static void test_numbers_in_summary(void **state)
{
    (void)state;
    char *html = page_of_one(case_run("full.gmr", ALL, plain));
    const char *summary = strstr(html, "<section"), *end = strstr(html, ">Figures</h3>");
    assert_non_null(summary);
    assert_non_null(end);
    const double stated[] = {
        100,                                            /* samples */
        10,                                             /* classes */
        0.15,                                           /* random labels */
        0.05,                                           /* step size */
        2.5,                                            /* first loss */
        2.5 / 1001.0,                                   /* last loss */
        0.5,                                            /* first error */
        case_eigenvalue(0, CASE_STEPS - 1, 0),          /* largest eigenvalue of H */
        case_eigenvalue(0, CASE_STEPS - 1, CASE_P - 1), /* smallest */
        case_eigenvalue(1, CASE_STEPS - 1, 0),          /* largest of M */
        1.25e-16,                                       /* error of the decomposition */
    };
    for (size_t i = 0; i < sizeof stated / sizeof *stated; i++) {
        if (!holds_number(summary, end, stated[i])) fail_msg("%.17g is not stated", stated[i]);
    }
    assert_false(holds_number(summary, end, 17.25)); /* the search can fail */
    assert_non_null(strstr(summary, "Finding 1: holds."));
    assert_non_null(strstr(summary, "Finding 2: does not hold."));
    /* Settings with 17 digits are shown in the fewest that mean the same. */
    assert_non_null(strstr(html, "<td>0.05</td>"));
    free(html);
}

/* The quotient's curve, read back from the picture: heights of its points must be spaced like the
 * logarithms of the values in the run file. The picture has two decimals on a height of some
 * 200 units: 1e-3 of the range is ample. */
static void test_figure_shows_numbers(void **state)
{
    (void)state;
    char *html = page_of_one(case_run("full.gmr", ALL, plain));
    const char *figure = strstr(html, "<svg id=\"r1residual\"");
    assert_non_null(figure);
    double y[CASE_STEPS], x[CASE_STEPS];
    const char *at = figure;
    for (int t = 0; t < CASE_STEPS; t++) {
        at = strstr(at + 1, "<use href=\"#r1residual-gpPt6\" transform=\"translate(");
        assert_non_null(at);
        assert_int_equal(sscanf(strstr(at, "translate("), "translate(%lf,%lf)", &x[t], &y[t]), 2);
    }
    double whole = log(case_ratio(CASE_STEPS - 1) / case_ratio(0));
    for (int t = 1; t < CASE_STEPS - 1; t++) {
        double share = (y[t] - y[0]) / (y[CASE_STEPS - 1] - y[0]);
        assert_true(fabs(share - log(case_ratio(t) / case_ratio(0)) / whole) < 1e-3);
        assert_true(x[t] > x[t - 1]);
    }
    assert_true(y[CASE_STEPS - 1] > y[0]); /* smaller is lower */
    free(html);
}

static void test_hostile_names(void **state)
{
    (void)state;
    const char *run[2];
    run[0] = case_run("<b onload='x'>&\".gmr", ALL, hostile);
    run[1] =
        case_run("plain.gmr", ALL, "\xff\xfe invalid \xc3"); /* JSON refuses it: settings only */
    char *html = page_of(2, run);
    assert_null(strstr(html, "<script>alert"));
    assert_int_equal(case_count(html, "<script"), 1); /* that of films, checked by page_of */
    assert_null(strstr(html, "<b onload"));
    /* model, data, command, machine, key and value of settings, layer, sentence, command line */
    assert_true(case_count(html, hostile_in_html) >= 8);
    assert_non_null(strstr(html, "&lt;b onload=&#39;x&#39;&gt;&amp;&quot;.gmr"));
    assert_non_null(strstr(html, "<svg id=\"r1overlap\""));
    free(html);
}

/* Figures of id r1ID that stand in the page as sentences; the others are drawn. */
static void assert_missing(const char *html, const char *const *id, size_t count)
{
    size_t missing = 0;
    for (size_t f = 0; f < FIGURES; f++) {
        char figure[64], picture[64];
        snprintf(figure, sizeof figure, "<figure id=\"r1%s-figure\">", figure_id[f]);
        snprintf(picture, sizeof picture, "<svg id=\"r1%s\"", figure_id[f]);
        const char *at = strstr(html, figure);
        if (!at) fail_msg("no %s", figure);
        const char *end = strstr(at, "</figure>"), *sentence = strstr(at, "<p class=\"missing\">");
        bool told = sentence && sentence < end, listed = false;
        for (size_t i = 0; i < count; i++) {
            listed = listed || strcmp(id[i], figure_id[f]) == 0;
        }
        if (told != listed || told == (strstr(html, picture) != NULL))
            fail_msg("%s: %s", figure_id[f], told ? "missing" : "drawn");
        missing += told ? 1 : 0;
    }
    assert_int_equal(missing, count);
}

static void test_partial_runs(void **state)
{
    (void)state;
    static const int holds[] = {0, CASE_SETTINGS, CASE_SETTINGS | CASE_TRAINING, CASE_DECOMPOSITION,
                                ALL | CASE_BROKEN};
    for (size_t i = 0; i < sizeof holds / sizeof *holds; i++) {
        char *html = page_of_one(case_run("partial.gmr", holds[i], plain));
        bool broken = holds[i] & CASE_BROKEN;
        bool loss = (holds[i] & CASE_TRAINING) && !broken;
        bool curvature = (holds[i] & CASE_DECOMPOSITION) && !broken;
        size_t skip = loss ? 1 : 0;
        assert_missing(html, figure_id + skip, curvature ? 1 - skip : FIGURES - skip);
        assert_int_equal(case_count(html, "class=\"film\""), curvature ? 2 : 0);
        assert_int_equal(case_count(html, "<script"), curvature ? 1 : 0);
        /* Whatever is not a number is not printed as if it were one. */
        assert_null(strstr(html, "value=\"nan\""));
        assert_null(strstr(html, "value=\"-nan\""));
        assert_null(strstr(html, "value=\"inf\""));
        free(html);
    }

    /* A point outside of a run: what is no course over training is there all the same. */
    static const char *const courses[] = {"eigenvalues", "residual", "subspace"};
    char *html = page_of_one(case_run(
        "single.gmr", CASE_SETTINGS | CASE_TRAINING | CASE_DECOMPOSITION | CASE_SINGLE, plain));
    assert_missing(html, courses, 3);
    assert_null(strstr(html, "class=\"film\""));
    assert_non_null(strstr(html, "<svg id=\"r1point\""));
    free(html);
}

/* ---- films ---- */

/* Of many frames some are left out, never the first or the last, and gaps are even. */
static void test_frames(void **state)
{
    (void)state;
    for (size_t count = 2; count <= 200; count++) {
        size_t kept = 0, keys = 0, last = 0;
        for (size_t at = 0; at < count; at++) {
            gm_frame frame = {.step = 0};
            gm_frame_set(&frame, at, count);
            assert_int_equal(frame.of, count);
            if (frame.left_out) continue;
            assert_true(at - last <= count / (GM_FILM_MOST - 1) + 1);
            last = at;
            kept++;
            keys += frame.key ? 1 : 0;
        }
        assert_int_equal(kept, count < GM_FILM_MOST ? count : GM_FILM_MOST);
        assert_int_equal(keys, count > 2 ? 3 : 2);
        assert_int_equal(last, count - 1);
    }
}

/* The SHA-256 of text in base64, by coreutils: what a browser compares with. */
static void digest(const char *text, size_t size, char base64[48])
{
    static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char command[300];
    unsigned byte[33] = {0};
    folder_write("script", text, size);
    snprintf(command, sizeof command, "sha256sum '%s'", folder_path("script"));
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(fscanf(pipe, "%2x", &byte[i]), 1);
    }
    pclose(pipe);
    for (size_t i = 0; i < 11; i++) { /* three bytes, four letters; the last byte is none */
        unsigned bits = byte[3 * i] << 16 | byte[3 * i + 1] << 8 | byte[3 * i + 2];
        for (size_t j = 0; j < 4; j++) {
            base64[4 * i + j] = letter[bits >> (18 - 6 * j) & 63];
        }
    }
    base64[43] = '=';
    base64[44] = '\0';
}

static void test_film(void **state)
{
    (void)state;
    char *html = page_of_one(case_run("full.gmr", ALL, plain));
    const char *film = strstr(html, "<div class=\"film\">"), *end = strstr(film, "</div>");
    assert_non_null(film);
    char *first = strndup(film, (size_t)(end - film));
    /* A slider with a label, and a frame for each step. */
    assert_non_null(strstr(first, "<label for=\"r1point-slider\">Training step</label>"));
    assert_non_null(strstr(first, "type=\"range\" min=\"0\" max=\"3\" step=\"1\" value=\"3\""));
    assert_int_equal(case_count(first, "<figure"), CASE_STEPS);
    assert_int_equal(case_count(first, "<svg"), CASE_STEPS);
    assert_int_equal(case_count(first, "class=\"key\""), 3);
    for (int t = 0; t < CASE_STEPS; t++) {
        char step[64];
        snprintf(step, sizeof step, "data-step=\"%d\">\n<h4>", (int)case_step[t]);
        assert_non_null(strstr(first, step));
        snprintf(step, sizeof step, ", step %d</h4>", (int)case_step[t]);
        assert_non_null(strstr(first, step));
    }
    /* The outliers that the document counts, one by one. */
    assert_non_null(strstr(first, "<data value=\"9\">9</data> stand off the bulk"));
    free(first);
    /* The page allows its own script to run and nothing else, by what the script is. */
    const char *script = strstr(html, "<script>") + strlen("<script>");
    char base64[48], policy[96];
    digest(script, (size_t)(strstr(script, "</script>") - script), base64);
    snprintf(policy, sizeof policy, "script-src 'sha256-%s'\">", base64);
    if (!strstr(html, policy)) fail_msg("the script is %s", policy);
    free(html);
}

static void test_refusals(void **state)
{
    (void)state;
    const char *run = case_run("full.gmr", ALL, plain);
    const char *page = folder_path("no/such/folder/page.html"), *no_run = folder_path("page.txt");
    gm_error err = {0};
    assert_int_equal(gm_report_write(1, &run, page, &err), GM_ERR_IO);
    assert_non_null(strstr(err.message, "page.html: cannot be written: No such file"));
    assert_int_equal(gm_report_write(0, NULL, page, &err), GM_ERR_USAGE);
    folder_write("page.txt", "no run file", 11);
    assert_int_equal(gm_report_write(1, &no_run, folder_path("page.html"), &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "page.txt"));

    /* A run file is never overwritten by a page. */
    char *before = case_read(run);
    assert_int_equal(gm_report_write(1, &run, run, &err), GM_ERR_USAGE);
    char *after = case_read(run);
    assert_memory_equal(before, after, 16);
    free(before);
    free(after);

    /* A result that is no JSON: the file, the result and the reason. */
    gm_run *open = NULL;
    gm_run_result result = {.command = "decompose", .step = 5, .key = "", .json = "{\"a\": "};
    const char *damaged = case_run("damaged.gmr", CASE_SETTINGS, plain);
    case_need(gm_run_open(damaged, GM_RUN_WRITE, &open, &err), &err);
    case_need(gm_run_add_result(open, &result, NULL, 0, NULL, &err), &err);
    gm_run_close(open);
    assert_int_equal(gm_report_write(1, &damaged, folder_path("page.html"), &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "damaged.gmr: result 1 of decompose: not a JSON document"));
}

/* HTML Tidy (Debian package tidy) has nothing to complain of but that it does not know <data>. */
static void test_tidy(void **state)
{
    (void)state;
    if (system("command -v tidy >/dev/null") != 0) {
        print_message("skipped: HTML Tidy (Debian package tidy) is not installed\n");
        skip();
    }
    const char *run[2];
    run[0] = case_run("one.gmr", ALL, hostile);
    run[1] = case_run("two.gmr", 0, plain);
    free(page_of(2, run));
    char command[1024], line[512];
    snprintf(command, sizeof command, "tidy -q -e --new-inline-tags data '%s' 2>&1",
             folder_path("page.html"));
    FILE *tidy = popen(command, "r");
    assert_non_null(tidy);
    while (fgets(line, sizeof line, tidy)) {
        if (!strstr(line, "<data> is not approved by W3C")) fail_msg("tidy: %s", line);
    }
    assert_true(pclose(tidy) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_axes),
        cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_gnuplot_fails),
        cmocka_unit_test(test_gnuplot_missing),
        cmocka_unit_test(test_svg),
        cmocka_unit_test(test_every_figure),
        cmocka_unit_test(test_numbers_in_summary),
        cmocka_unit_test(test_figure_shows_numbers),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_partial_runs),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_film),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tidy),
    };
    return cmocka_run_group_tests_name("report", tests, folder_make, folder_remove);
}
