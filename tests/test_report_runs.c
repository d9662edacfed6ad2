/* Runs side by side: which settings tell them apart, how they are grouped and named, the tables and
 * curves that compare them, and that names cannot break any of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "report/figure.h"
#include "report/runs.h"
#include "report_case.h"

static const char hostile[] = "<script>alert(\"x\")</script>&'@_a^{2}`$(id)`%s\x01";

/* ---- settings and groups, of runs in memory ---- */

enum { MOST = 40, KEYS = 6 };

/* Runs with the settings key=value [KEYS] each, in the order of the keys. */
typedef struct runs_case {
    gm_subject run[MOST];
    gm_setting setting[MOST][KEYS];
    char text[MOST][KEYS][32];
} runs_case;

static void case_set(runs_case *c, size_t i, const char *key, double value)
{
    gm_subject *run = &c->run[i];
    size_t at = run->settings++;
    assert_true(at < KEYS);
    snprintf(c->text[i][at], sizeof *c->text[i], "%.17g", value);
    c->setting[i][at] = (gm_setting){key, c->text[i][at]};
    run->setting = c->setting[i];
    run->name = "run.gmr";
}

static void test_settings_and_groups(void **state)
{
    (void)state;
    static runs_case c;
    memset(&c, 0, sizeof c);
    /* Two batch sizes, two seeds each; train.seed repeats seed, momentum does not differ. */
    for (size_t i = 0; i < 4; i++) {
        case_set(&c, i, "momentum", 0.9);
        case_set(&c, i, "seed", (double)(i % 2));
        case_set(&c, i, "train.batch", i < 2 ? 5.0 : 50.0);
        case_set(&c, i, "train.seed", (double)(i % 2));
        if (i == 3) case_set(&c, i, "random_labels", 0.0); /* what a missing one means */
    }
    gm_runs runs;
    gm_error err = {0};
    assert_int_equal(gm_runs_make(c.run, 4, &runs, &err), GM_OK);
    assert_int_equal(runs.settings, 2);
    assert_string_equal(runs.setting[0].key, "seed");
    assert_string_equal(runs.setting[1].key, "train.batch");
    assert_false(runs.setting[0].names);
    assert_true(runs.setting[1].names);
    assert_int_equal(runs.groups, 2);
    assert_int_equal(runs.group[1], 0);
    assert_int_equal(runs.group[2], 1);
    assert_string_equal(runs.label[0], "batch 5");
    assert_string_equal(runs.label[1], "batch 50");
    gm_runs_free(&runs);

    /* A run file for results alone lacks settings; that is no difference. */
    gm_setting own = {"seed", "0"};
    gm_subject with_results[] = {
        c.run[0], c.run[1], {.name = "compare.gmr", .setting = &own, .settings = 1}};
    assert_int_equal(gm_runs_make(with_results, 3, &runs, &err), GM_OK);
    assert_int_equal(runs.settings, 1);
    assert_string_equal(runs.setting[0].key, "seed");
    gm_runs_free(&runs);

    /* Repetitions of one setting are told apart by their seeds. */
    assert_int_equal(gm_runs_make(c.run, 2, &runs, &err), GM_OK);
    assert_int_equal(runs.groups, 2);
    assert_string_equal(runs.label[1], "seed 1");
    gm_runs_free(&runs);

    /* Runs that do not differ, by their names; a long one is cut at a character. */
    c.run[0].name = "äääääääääääääääääääääääääääääää.gmr";
    c.run[2].name = "b.gmr";
    c.run[2].settings = c.run[0].settings = 0;
    gm_subject twins[] = {c.run[0], c.run[2]};
    assert_int_equal(gm_runs_make(twins, 2, &runs, &err), GM_OK);
    assert_int_equal(runs.settings, 0);
    assert_int_equal(runs.groups, 2);
    assert_string_equal(runs.label[0], "ääääääääääääääääääääääääää…");
    assert_string_equal(runs.label[1], "b.gmr");
    gm_runs_free(&runs);
}

/* Beyond what lines can tell apart, runs are grouped by the first setting with few values. */
static void test_many_groups(void **state)
{
    (void)state;
    static runs_case c;
    memset(&c, 0, sizeof c);
    for (size_t i = 0; i < MOST; i++) {
        case_set(&c, i, "a", (double)(i / 2));
        case_set(&c, i, "b.width", (double)(i % 4));
    }
    gm_runs runs;
    gm_error err = {0};
    assert_int_equal(gm_runs_make(c.run, MOST, &runs, &err), GM_OK);
    assert_string_equal(runs.by, "b.width");
    assert_int_equal(runs.groups, 4);
    assert_string_equal(runs.label[3], "width 3");
    for (size_t i = 0; i < MOST; i++) {
        assert_int_equal(runs.group[i], i % 4);
    }
    gm_runs_free(&runs);

    /* No setting has few values: all are drawn alike. */
    for (size_t i = 0; i < MOST; i++) {
        c.run[i].settings = 1;
        snprintf(c.text[i][0], sizeof *c.text[i], "%zu", i);
    }
    assert_int_equal(gm_runs_make(c.run, MOST, &runs, &err), GM_OK);
    assert_null(runs.by);
    assert_int_equal(runs.groups, MOST);
    char line[64];
    const char *colour;
    gm_runs_line(&runs, 0, line, &colour);
    assert_string_equal(colour, "muted");
    gm_runs_free(&runs);
}

/* ---- pages ---- */

enum { ALL = CASE_SETTINGS | CASE_TRAINING | CASE_DECOMPOSITION };

/* The run file FOLDER/file with another batch size and seed. */
static const char *run_of(const char *file, int holds, const char *name, const char *batch,
                          const char *seed)
{
    const char *path = case_run(file, holds, name);
    const gm_setting setting[] = {{"train.batch", batch}, {"seed", seed}};
    gm_run *run = NULL;
    gm_error err = {0};
    case_need(gm_run_open(path, GM_RUN_WRITE, &run, &err), &err);
    case_need(gm_run_set(run, setting, 2, &err), &err);
    gm_run_close(run);
    return path;
}

/* A page of the comparison alone, checked; freed by free(). */
static char *compared(size_t count, const char *const *path, const char *const *name)
{
    char *html = NULL;
    size_t size;
    gm_error err = {0};
    FILE *page = open_memstream(&html, &size);
    gm_report_page_begin(hostile, page);
    case_need(gm_report_compare(count, path, name, page, &err), &err);
    gm_report_page_end(page);
    fclose(page);
    case_page checked;
    case_check(&checked, html);
    if (*checked.problem) fail_msg("%s", checked.problem);
    return html;
}

/* The part of html from the first `from` to the next `to`, freed by free(). */
static char *part(const char *html, const char *from, const char *to)
{
    const char *start = strstr(html, from);
    if (!start) fail_msg("no %s", from);
    const char *end = strstr(start, to);
    assert_non_null(end);
    return strndup(start, (size_t)(end - start));
}

static void test_comparison(void **state)
{
    (void)state;
    const char *path[3];
    char kept[3][256]; /* folder_path reuses its buffers */
    static const char *const name[] = {"one", "two", "three"};
    for (int i = 0; i < 3; i++) {
        const char *made = run_of(name[i], i == 1 ? CASE_SETTINGS | CASE_TRAINING : ALL, "gauss",
                                  i == 2 ? "50" : "5", i == 1 ? "2" : "1");
        snprintf(kept[i], sizeof kept[i], "%s", made);
        path[i] = kept[i];
    }
    char *html = compared(3, path, NULL);
    char *table = part(html, "Settings that differ.", "</table>");
    assert_int_equal(case_count(table, "scope=\"col\""), 3); /* run, seed, train.batch */
    assert_non_null(strstr(table, ">train.batch</th>"));
    assert_int_equal(case_count(table, "<tr><th scope=\"row\">"), 3);
    free(table);

    /* Columns of measures that no run has are not there; the run without decomposition has dashes.
     */
    table = part(html, "The runs at their last step.", "</table>");
    assert_non_null(strstr(table, "training<br>loss"));
    assert_non_null(strstr(table, "test<br>loss"));
    assert_null(strstr(table, "noise<br>scale"));
    free(table);
    table = part(html, "Curvature where", "</table>");
    assert_non_null(strstr(table, "does not hold"));
    assert_non_null(strstr(table, "&ndash;"));
    free(table);
    assert_null(strstr(html, "The generalization bound"));

    /* Two groups, two legend entries; the right panel of `residual` shows the ratios of two runs.
     */
    char *figure = part(html, "<figure id=\"allresidual-figure\"", "</figure>");
    assert_int_equal(case_count(figure, ">batch 5</tspan>") + case_count(figure, ">batch 5<"), 1);
    assert_non_null(strstr(figure, "Runs that differ in their seeds alone"));
    double x[4 * CASE_STEPS], y[4 * CASE_STEPS];
    const char *at = figure;
    for (int i = 0; i < 4 * CASE_STEPS; i++) {
        at = strstr(at + 1, "<use href=\"#allresidual-gpPt6\" transform=\"translate(");
        assert_non_null(at);
        assert_int_equal(sscanf(strstr(at, "translate("), "translate(%lf,%lf)", &x[i], &y[i]), 2);
    }
    assert_null(strstr(at + 1, "<use href=\"#allresidual-gpPt6"));
    double whole = log(case_ratio(CASE_STEPS - 1) / case_ratio(0));
    for (int t = 1; t < CASE_STEPS - 1; t++) { /* as in test_report.c */
        const double *last = y + (size_t)3 * CASE_STEPS;
        double share = (last[t] - last[0]) / (last[CASE_STEPS - 1] - last[0]);
        assert_true(fabs(share - log(case_ratio(t) / case_ratio(0)) / whole) < 1e-3);
    }
    free(figure);
    assert_null(strstr(html, "allgauges"));
    free(html);
}

/* Names of runs, data sets and pages reach tables, legends and titles as text. */
static void test_hostile_names(void **state)
{
    (void)state;
    const char *path[2];
    char kept[2][256];
    const char *name[] = {hostile, "\xff{/:Bold '"};
    for (int i = 0; i < 2; i++) {
        const char *made = run_of(i ? "b.gmr" : "a.gmr", CASE_SETTINGS | CASE_TRAINING,
                                  i ? "plain" : hostile, "5", "1");
        snprintf(kept[i], sizeof kept[i], "%s", made);
        path[i] = kept[i];
    }
    char *html = compared(2, path, name);
    assert_null(strstr(html, "<script"));
    assert_non_null(strstr(html, "&lt;script&gt;alert(&quot;x&quot;)"));
    char *figure = part(html, "<figure id=\"allloss-figure\"", "</figure>");
    assert_non_null(strstr(figure, "&lt;script>alert(\"x\")"));
    assert_null(strstr(figure, "<script"));
    free(figure);
    free(html);

    /* By their names where nothing tells them apart: gnuplot takes them as they are. */
    path[1] = path[0];
    html = compared(2, path, name);
    figure = part(html, "<figure id=\"allloss-figure\"", "</figure>");
    assert_non_null(strstr(figure, "@_a^{2}`$(id)`%s?"));
    assert_non_null(strstr(figure, "?{/:Bold '"));
    free(figure);
    free(html);
}

/* Adds a result to a run file. */
static void add_result(const char *path, const char *command, const char *key, json_t *document)
{
    gm_run *run = NULL;
    gm_error err = {0};
    assert_non_null(document);
    char *text = json_dumps(document, 0);
    gm_run_result result = {.command = command, .step = GM_RUN_NO_STEP, .key = key, .json = text};
    case_need(gm_run_open(path, GM_RUN_WRITE, &run, &err), &err);
    case_need(gm_run_add_result(run, &result, NULL, 0, NULL, &err), &err);
    gm_run_close(run);
    free(text);
    json_decref(document);
}

static char *page_of(const char *path)
{
    gm_error err = {0};
    case_need(gm_report_write(1, &path, folder_path("page.html"), &err), &err);
    char *html = case_read(folder_path("page.html"));
    assert_non_null(html);
    return html;
}

/* In double quotes gnuplot runs what stands in backquotes. */
static void test_nothing_is_run(void **state)
{
    (void)state;
    char path[256], made[256], text[300];
    snprintf(path, sizeof path, "%s", case_run("run.gmr", CASE_SETTINGS, "plain"));
    snprintf(made, sizeof made, "%s", folder_path("made"));
    snprintf(text, sizeof text, "`touch %s`\"\n", made);
    add_result(path, "dynamics", "martingale",
               json_pack("{s:s,s:[s],s:[{s:i,s:f,s:f},{s:i,s:f,s:f}],s:f}", "subcommand",
                         "martingale", "policies", text, "steps", "step", 0, "mean", -1.0, "upper",
                         -0.5, "step", 10, "mean", -0.1, "upper", 0.1, "share_ok", 0.5));
    add_result(path, "bound", "compare",
               json_pack("{s:[{s:s,s:f,s:f,s:f,s:{s:f,s:f}}],s:[s],s:[{s:{s:s,s:s},s:f},"
                         "{s:{s:s,s:s},s:f}]}",
                         "measures", "name", text, "tau", 0.5, "tau_low", 0.1, "tau_high", 0.8,
                         "sign_error", "mean", 0.2, "worst", 0.4, "varied", text, "runs",
                         "settings", text, "5", "n", "10", "bound", 0.5, "settings", text, "50",
                         "n", "10", "bound", 0.6));
    char *html = page_of(path);
    assert_int_not_equal(access(made, F_OK), 0);
    static const char *const id[] = {"martingale", "ranks", "bounds"};
    for (size_t i = 0; i < sizeof id / sizeof *id; i++) {
        char start[64];
        snprintf(start, sizeof start, "<svg id=\"r1%s\"", id[i]);
        char *figure = part(html, start, "</svg>");
        assert_non_null(strstr(figure, "`touch ")); /* as it is, a letter */
        free(figure);
    }
    free(html);
}

/* A prediction for an ensemble that does not say how it was optimized. */
static void test_documents_that_lack(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof path, "%s", case_run("lacks.gmr", CASE_SETTINGS, "plain"));
    add_result(path, "dynamics", "ensemble",
               json_pack("{s:s,s:i,s:f,s:s,s:{s:s},s:{s:s,s:f,s:f},s:[{}]}", "subcommand",
                         "ensemble", "runs", 2, "loss", 1.0, "point", "p", "data", "name", "d",
                         "setup", "replacement", "yes", "momentum", 0.0, "weight_decay", 0.0,
                         "histograms"));
    add_result(path, "dynamics", "predict",
               json_pack("{s:s,s:f,s:s,s:{s:s},s:s,s:{}}", "subcommand", "predict", "loss", 1.0,
                         "point", "p", "data", "name", "d", "replacement", "yes", "predicted"));
    free(page_of(path));
}

/* Runs in files of one name are called by their paths, all of them. */
static void test_equal_names(void **state)
{
    (void)state;
    static const char *const file[] = {"a/run.gmr", "b/run.gmr", "c/run.gmr"};
    const char *path[3];
    char kept[3][256];
    gm_error err = {0};
    for (int i = 0; i < 3; i++) {
        snprintf(kept[i], sizeof kept[i], "%s", folder_path(file[i]));
        *strrchr(kept[i], '/') = 0;
        assert_int_equal(mkdir(kept[i], 0777), 0);
        snprintf(kept[i], sizeof kept[i], "%s", case_run(file[i], CASE_SETTINGS, "plain"));
        path[i] = kept[i];
    }
    case_need(gm_report_write(3, path, folder_path("page.html"), &err), &err);
    char *html = case_read(folder_path("page.html"));
    for (int i = 0; i < 3; i++) {
        char link[300];
        snprintf(link, sizeof link, "<li><a href=\"#run%d\">%s</a></li>", i + 1, kept[i]);
        assert_non_null(strstr(html, link));
    }
    free(html);
    for (int i = 0; i < 3; i++) {
        unlink(kept[i]);
        *strrchr(kept[i], '/') = 0;
        rmdir(kept[i]);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    const char *missing = folder_path("missing.gmr");
    char *bytes = NULL;
    size_t size;
    gm_error err = {0};
    FILE *page = open_memstream(&bytes, &size);
    assert_int_equal(gm_report_compare(0, NULL, NULL, page, &err), GM_ERR_USAGE);
    assert_int_equal(gm_report_compare(1, &missing, NULL, page, &err), GM_ERR_IO);
    assert_non_null(strstr(err.message, "missing.gmr"));
    fclose(page);
    assert_int_equal(size, 0);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_and_groups), cmocka_unit_test(test_many_groups),
        cmocka_unit_test(test_comparison),          cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_nothing_is_run),      cmocka_unit_test(test_documents_that_lack),
        cmocka_unit_test(test_equal_names),         cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("report_runs", tests, folder_make, folder_remove);
}
