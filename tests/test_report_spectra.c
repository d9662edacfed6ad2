/* Figures of recorded spectra and of followed eigenvalues: in the page, and as files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "report/html.h"
#include "spectra_case.h"

static const char plain[] = "gauss:k=10";
static const char hostile[] = "<script>alert(\"x\")</script>&amp;'@_a^{2}\\{/:Bold b}%s%n";

enum { SETTINGS = CASE_SETTINGS, TRAINING = CASE_SETTINGS | CASE_TRAINING };

/* The run file FOLDER/file with what case_run puts there, open for more. */
static gm_run *open_case(const char *file, int holds, const char *name, const char **path)
{
    gm_error err = {0};
    gm_run *run = NULL;
    *path = case_run(file, holds, name);
    case_need(gm_run_open(*path, GM_RUN_WRITE, &run, &err), &err);
    return run;
}

static char *page_of(const char *run)
{
    const char *path = folder_path("page.html");
    gm_error err = {0};
    if (gm_report_write(1, &run, path, &err) != GM_OK) fail_msg("%s", err.message);
    char *html = case_read(path);
    assert_non_null(html);
    case_page page;
    case_check(&page, html);
    if (*page.problem) fail_msg("%s", page.problem);
    return html;
}

/* The <figure> element of that id, freed by free(). */
static char *figure_of(const char *html, const char *id)
{
    char mark[64];
    snprintf(mark, sizeof mark, "<figure id=\"r1%s-figure\">", id);
    const char *start = strstr(html, mark);
    if (!start) fail_msg("no figure %s", id);
    return strndup(start, (size_t)(strstr(start, "</figure>") - start));
}

static bool holds_number(const char *html, double value)
{
    static const char mark[] = "<data value=\"";
    for (const char *at = strstr(html, mark); at; at = strstr(at + 1, mark)) {
        if (strtod(at + strlen(mark), NULL) == value) return true;
    }
    return false;
}

/* Heights of the first `count` filled circles of a picture below its legend. */
static void heights(const char *figure, const char *id, size_t count, double *x, double *y)
{
    char mark[96];
    snprintf(mark, sizeof mark, "<use href=\"#r1%s-gpPt6\" transform=\"translate(", id);
    const char *at = figure;
    enum { LEGEND = 21 };
    for (size_t i = 0; i < count;) {
        at = strstr(at + 1, mark);
        assert_non_null(at);
        assert_int_equal(sscanf(at + strlen(mark), "%lf,%lf", &x[i], &y[i]), 2);
        i += y[i] > LEGEND ? 1 : 0;
    }
}

static json_t *density_document(const char *name, json_t *density)
{
    json_t *document = spectra_document("density", name);
    json_object_set_new(document, "density", density);
    return document;
}

/* ---- the page ---- */

static void test_spectra_alone(void **state)
{
    (void)state;
    const char *path;
    gm_run *run = open_case("spectra.gmr", SETTINGS, plain, &path);
    spectra_add(run, GM_RUN_NO_STEP, "a", density_document(plain, spectra_density(SPECTRA_PROBES)));
    spectra_add(run, GM_RUN_NO_STEP, "b", density_document(plain, spectra_density(1)));
    spectra_add(run, GM_RUN_NO_STEP, "c", spectra_lanczos(plain, false));
    gm_run_close(run);
    char *html = page_of(path);
    /* Three pictures, and no empty places for what such a file cannot hold. */
    assert_int_equal(case_count(html, "<figure"), 3);
    assert_int_equal(case_count(html, "<svg"), 3);
    assert_null(strstr(html, "class=\"missing\""));
    assert_null(strstr(html, "Did it converge?"));
    assert_non_null(strstr(html, "<h1>Spectra</h1>"));

    char *first = figure_of(html, "density"), *second = figure_of(html, "density2");
    assert_true(holds_number(first, SPECTRA_PROBES) && holds_number(first, SPECTRA_STEPS));
    assert_true(holds_number(first, 1.0 / SPECTRA_P));
    assert_non_null(strstr(first, "one standard error over the probes"));
    assert_null(strstr(second, "one standard error over the probes"));
    assert_true(holds_number(second, 1));
    free(first);
    free(second);
    free(html);
}

/* Eigenvalues read back from the picture: on a linear axis heights are spaced as the values are.
 * The picture has two decimals on a height of some 200 units. */
static void test_extremes(void **state)
{
    (void)state;
    enum { K = 8 };
    const char *path;
    gm_run *run = open_case("extremes.gmr", SETTINGS, plain, &path);
    spectra_add(run, 1000, "", spectra_lanczos(plain, false));
    gm_run_close(run);
    char *html = page_of(path), *figure = figure_of(html, "extremes");
    double x[K], y[K];
    heights(figure, "extremes", K, x, y);
    for (size_t i = 1; i < K; i++) {
        double share = (y[i] - y[0]) / (y[K - 1] - y[0]);
        double expected = (spectra_eigenvalue(0) - spectra_eigenvalue(i)) /
                          (spectra_eigenvalue(0) - spectra_eigenvalue(K - 1));
        assert_true(fabs(share - expected) < 1e-3);
        assert_true(x[i] > x[i - 1]);
    }
    assert_true(y[0] < y[K - 1]); /* larger is higher */
    assert_true(holds_number(figure, 1e-4) && holds_number(figure, 480));
    assert_non_null(strstr(figure, "Not all of them converged"));
    assert_non_null(strstr(figure, "step 1000"));
    free(figure);
    free(html);
}

/* A density has the eigenvalues marked that the file knows of the same operator and step: those
 * found by products, else those that stand off the bulk in a decomposition. */
static void test_marks(void **state)
{
    (void)state;
    const char *path;
    gm_run *run = open_case("marks.gmr", SETTINGS | CASE_DECOMPOSITION, plain, &path);
    json_t *other = spectra_lanczos(plain, false);
    json_object_set_new(other, "operator", json_string("moment"));
    spectra_add(run, 1000, "a", density_document(plain, spectra_density(1)));
    spectra_add(run, 1000, "b", other);
    spectra_add(run, 5, "c", spectra_lanczos(plain, false));
    gm_run_close(run);
    char *html = page_of(path), *figure = figure_of(html, "density");
    assert_non_null(strstr(figure, "<data value=\"9\">9</data> eigenvalues marked are known"));
    assert_int_equal(case_count(figure, "<use href=\"#r1density-gpPt6\" transform"), 2 * 9 + 1);
    free(figure);
    free(html);
    gm_error err = {0};
    case_need(gm_run_open(path, GM_RUN_WRITE, &run, &err), &err);
    spectra_add(run, 1000, "d", spectra_lanczos(plain, false));
    gm_run_close(run);
    html = page_of(path);
    figure = figure_of(html, "density");
    assert_non_null(strstr(figure, "<data value=\"10\">10</data> eigenvalues marked are known"));
    free(figure);
    free(html);
}

/* Dots are the eigenvalues of the data that `index` names, not their means over the resamples. */
static void test_resamples(void **state)
{
    (void)state;
    enum { K = 4, B = 20 };
    static const size_t index[K] = {0, 2, 3, 6};
    json_t *columns[4], *places = json_array(), *document = spectra_lanczos(plain, false);
    for (int c = 0; c < 4; c++) { /* mean, sd, min, max */
        columns[c] = json_array();
    }
    for (size_t j = 0; j < K; j++) {
        double value = spectra_eigenvalue((int)index[j]);
        json_array_append_new(columns[0], json_real(1.5 * value + (double)(j % 2)));
        json_array_append_new(columns[1], json_real(0.1 * value));
        json_array_append_new(columns[2], json_real(0.9 * value));
        json_array_append_new(columns[3], json_real(1.6 * value));
        json_array_append_new(places, json_integer((json_int_t)index[j]));
    }
    json_object_set_new(document, "data_resample",
                        json_pack("{s:i,s:o,s:o,s:o,s:o,s:o}", "resamples", B, "mean", columns[0],
                                  "sd", columns[1], "min", columns[2], "max", columns[3], "index",
                                  places));
    json_t *lost = spectra_lanczos(plain, false);
    json_object_set_new(lost, "data_resample",
                        json_pack("{s:i,s:[n],s:[n],s:[n],s:[n],s:[i]}", "resamples", B, "mean",
                                  "sd", "min", "max", "index", 99));
    const char *path;
    gm_run *run = open_case("resamples.gmr", SETTINGS, plain, &path);
    spectra_add(run, 1000, "a", document);
    spectra_add(run, 1000, "b", lost);
    gm_run_close(run);
    char *html = page_of(path), *figure = figure_of(html, "resample");
    double x[K], y[K];
    heights(figure, "resample", K, x, y);
    for (size_t i = 1; i < K; i++) { /* as in test_extremes */
        double share = (y[i] - y[0]) / (y[K - 1] - y[0]);
        double first = spectra_eigenvalue(0), last = spectra_eigenvalue((int)index[K - 1]);
        double expected = (first - spectra_eigenvalue((int)index[i])) / (first - last);
        assert_true(fabs(share - expected) < 1e-3);
        assert_true(x[i] > x[i - 1]);
    }
    assert_true(y[0] < y[K - 1]);
    assert_true(holds_number(figure, B));
    assert_non_null(strstr(figure, "spread (sd) over the resamples"));
    free(figure);
    figure = figure_of(html, "resample2");
    assert_non_null(strstr(figure, "No eigenvalue was found on the resamples"));
    free(figure);
    free(html);
}

/* lambda_1 is drawn last, over the lower ones. The axis is logarithmic on both sides of zero, so
 * that only order can be read off. */
static void test_tracked(void **state)
{
    (void)state;
    enum { POINTS = 21, ALL_POINTS = POINTS * SPECTRA_FOLLOWED };
    const char *path;
    gm_run *run = open_case("tracked.gmr", TRAINING, plain, &path);
    spectra_track(run);
    gm_run_close(run);
    char *html = page_of(path), *figure = figure_of(html, "tracked");
    static double x[ALL_POINTS], y[ALL_POINTS];
    assert_true(holds_number(figure, SPECTRA_FOLLOWED));
    assert_true(holds_number(figure, 2.0 / 0.05)); /* train.step of the fixture */
    heights(figure, "tracked", ALL_POINTS, x, y);
    for (int t = 1; t < POINTS; t++) {
        const double *top = y + ALL_POINTS - POINTS;
        double before = spectra_followed(50 * (t - 1), 0), now = spectra_followed(50 * t, 0);
        if (fabs(now - before) > 0.5) assert_true((top[t] < top[t - 1]) == (now > before));
    }
    assert_null(strstr(html, "<figure id=\"r1eigenvalues-figure\">"));
    assert_non_null(strstr(html, "<figure id=\"r1loss-figure\">"));
    free(figure);
    free(html);
}

/* What lies within the noise of the products is counted as unresolved, whatever its sign and
 * whatever the scale of the operator. */
static void test_unresolved(void **state)
{
    (void)state;
    static const double scale[] = {1.0, 1e-20, 1e15};
    for (size_t i = 0; i < sizeof scale / sizeof *scale; i++) {
        double c = scale[i];
        json_t *density =
            json_pack("{s:[f,f,f],s:[f,f,f],s:n,s:f,s:[[f,f,f],[f,f,f]],s:[[f,f,f],[f,f,f]]}",
                      "grid", -c, 0.0, 2.0 * c, "values", 0.0, 1.0 / c, 0.0, "stderr", "width",
                      0.1 * c, "nodes", c, 1e-8 * c, -2e-8 * c, c, 0.5 * c, -1e-9 * c, "weights",
                      0.25, 0.5, 0.25, 0.25, 0.25, 0.5);
        assert_non_null(density);
        const char *path;
        gm_run *run = open_case("floor.gmr", SETTINGS, plain, &path);
        spectra_add(run, GM_RUN_NO_STEP, "", density_document(plain, density));
        gm_run_close(run);
        char *html = page_of(path), *figure = figure_of(html, "density");
        assert_true(holds_number(figure, 0.625)); /* (0.5 + 0.25 + 0.5) / 2 */
        assert_non_null(strstr(figure, "not told from zero: 62.5 %"));
        free(figure);
        free(html);
    }
}

static void test_broken_and_hostile(void **state)
{
    (void)state;
    const char *path;
    gm_run *run = open_case("broken.gmr", SETTINGS, hostile, &path);
    json_t *density = spectra_density(2), *layer = spectra_lanczos(hostile, false);
    json_object_set_new(density, "values", json_null());
    json_object_set_new(layer, "layer", json_string(hostile));
    json_object_set_new(layer, "operator", json_string(hostile));
    spectra_add(run, GM_RUN_NO_STEP, "a", density_document(hostile, density));
    spectra_add(run, GM_RUN_NO_STEP, "b", spectra_lanczos(hostile, true));
    spectra_add(run, GM_RUN_NO_STEP, "c", layer);
    /* A zero operator: one node, at zero. */
    spectra_add(
        run, GM_RUN_NO_STEP, "d",
        density_document(hostile, json_pack("{s:[f,f,f],s:[f,f,f],s:n,s:f,s:[[f]],s:[[f]]}", "grid",
                                            -0.1, 0.0, 0.1, "values", 0.0, 10.0, 0.0, "stderr",
                                            "width", 0.01, "nodes", 0.0, "weights", 1.0)));
    gm_metric metric = {5, "hessian/eigenvalue/2", (double)NAN};
    gm_error err = {0};
    case_need(gm_run_add_metrics(run, &metric, 1, &err), &err);
    gm_run_close(run);
    char *html = page_of(path);
    assert_null(strstr(html, "<script"));
    assert_int_equal(case_count(html, "<figure"), 5);
    assert_int_equal(case_count(html, "<svg"), 2);
    assert_int_equal(case_count(html, "<p class=\"missing\">"), 3);
    assert_null(strstr(html, "value=\"nan\""));
    free(html);
}

/* ---- files ---- */

/* Whether FOLDER/sub/name begins with those bytes. */
static bool begins(const char *sub, const char *name, const char *bytes)
{
    char file[128];
    snprintf(file, sizeof file, "%s/%s", sub, name);
    char *content = case_read(folder_path(file));
    bool holds = content && memcmp(content, bytes, strlen(bytes)) == 0;
    free(content);
    return holds;
}

/* Removes FOLDER/sub with the files in it. */
static void remove_below(const char *sub)
{
    char path[256];
    snprintf(path, sizeof path, "%s", folder_path(sub));
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char file[600];
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.') unlink(file);
    }
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

static void test_files(void **state)
{
    (void)state;
    static const char *const magic[] = {"%PDF-", "\x89PNG", "<?xml"};
    static const char *const suffix[] = {"pdf", "png", "svg"};
    const char *path[2], *made;
    gm_run *run = open_case("one.gmr", TRAINING, plain, &made);
    char first[256], second[256]; /* folder_path reuses its buffers */
    path[0] = first;
    path[1] = second;
    snprintf(first, sizeof first, "%s", made);
    spectra_add(run, 1000, "", density_document(plain, spectra_density(2)));
    gm_run_close(run);
    run = open_case("two.gmr", SETTINGS, plain, &made);
    snprintf(second, sizeof second, "%s", made);
    spectra_add(run, 1000, "a", spectra_lanczos(plain, false));
    spectra_add(run, 1000, "b", spectra_lanczos(plain, true));
    gm_run_close(run);
    gm_error err = {0};
    size_t written;
    for (int format = 0; format < 3; format++) {
        char name[64];
        case_need(gm_report_figures(1, path, (gm_report_format)format, folder_path("figures"),
                                    &written, &err),
                  &err);
        assert_int_equal(written, 2);
        snprintf(name, sizeof name, "loss.%s", suffix[format]);
        assert_true(begins("figures", name, magic[format]));
        snprintf(name, sizeof name, "density.%s", suffix[format]);
        assert_true(begins("figures", name, magic[format]));
    }
    /* With several runs names carry the number of the run; what cannot be drawn has no file. */
    case_need(gm_report_figures(2, path, GM_REPORT_SVG, folder_path("both"), &written, &err), &err);
    assert_int_equal(written, 6);
    assert_true(begins("both", "all-loss.svg", "<?xml"));
    assert_true(begins("both", "all-error.svg", "<?xml"));
    assert_true(begins("both", "all-extremes.svg", "<?xml"));
    assert_false(begins("both", "all-residual.svg", "<?xml"));
    assert_true(begins("both", "run1-density.svg", "<?xml"));
    assert_true(begins("both", "run2-extremes.svg", "<?xml"));
    assert_false(begins("both", "run2-extremes2.svg", "<?xml"));

    folder_write("file", "x", 1);
    assert_int_equal(gm_report_figures(1, path, GM_REPORT_SVG, folder_path("file"), &written, &err),
                     GM_ERR_IO);
    assert_non_null(strstr(err.message, "found a file, expected a folder"));
    assert_int_equal(
        gm_report_figures(1, path, GM_REPORT_SVG, folder_path("no/such"), &written, &err),
        GM_ERR_IO);
    assert_int_equal(gm_report_figures(0, path, GM_REPORT_SVG, folder_path("x"), &written, &err),
                     GM_ERR_USAGE);
    remove_below("figures");
    remove_below("both");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spectra_alone),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_resamples),
        cmocka_unit_test(test_tracked),
        cmocka_unit_test(test_unresolved),
        cmocka_unit_test(test_broken_and_hostile),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests_name("report_spectra", tests, folder_make, folder_remove);
}
