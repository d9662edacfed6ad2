/* Measures of runs against the settings of a grid, means and errors computed by hand; the pages of
 * a study, and that nothing in its file or index can break them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "report/figure.h"
#include "report/runs_lines.h"
#include "report_case.h"

/* ---- figures against an axis ---- */

enum { RUNS = 8, KEYS = 3 };

/* Batch 5 and 50, true and half random labels, two seeds each; the loss of run i at its end. */
typedef struct grid {
    gm_subject run[RUNS];
    gm_setting setting[RUNS][KEYS];
    int64_t step[2];
    double loss[RUNS][2];
} grid;

static void fill_grid(grid *g, const double *loss)
{
    *g = (grid){.step = {0, 9}};
    for (size_t i = 0; i < RUNS; i++) {
        size_t settings = 0;
        if (i & 2) g->setting[i][settings++] = (gm_setting){"random_labels", "0.5"};
        g->setting[i][settings++] = (gm_setting){"seed", i & 1 ? "2" : "1"};
        g->setting[i][settings++] = (gm_setting){"train.batch", i & 4 ? "50" : "5"};
        g->loss[i][0] = 99;
        g->loss[i][1] = loss[i];
        g->run[i] = (gm_subject){.name = "r", .setting = g->setting[i], .settings = settings};
        g->run[i].metric[GM_SUBJECT_LOSS] = (gm_subject_metric){2, g->step, g->loss[i]};
        g->run[i].step_axis = (gm_axis){GM_SCALE_LINEAR, 1, 0, 9};
    }
}

/* The script, caption and title of a picture, each freed by free(). */
typedef struct drawn {
    char *script, *caption, *missing, *title;
} drawn;

static drawn draw(const gm_runs *runs, const gm_runs_figure *figure, size_t number)
{
    drawn d;
    size_t size[4];
    gm_error err = {0};
    gm_drawing drawing = {.number = number,
                          .script = open_memstream(&d.script, &size[0]),
                          .caption = open_memstream(&d.caption, &size[1]),
                          .missing = open_memstream(&d.missing, &size[2]),
                          .title = open_memstream(&d.title, &size[3])};
    case_need(figure->draw(runs, figure, &drawing, &err), &err);
    fclose(drawing.script);
    fclose(drawing.caption);
    fclose(drawing.missing);
    fclose(drawing.title);
    return d;
}

static void drawn_free(drawn *d)
{
    free(d->script);
    free(d->caption);
    free(d->missing);
    free(d->title);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("no '%s' in\n%s", part, text);
}

static void test_axes(void **state)
{
    (void)state;
    /* Means 0.2 +- 0.1 and 0.5 +- 0.2 at batch 5, 0.3 +- 0 and 0.6 +- 0.3 at 50: the standard error
     * of two values is half their distance. */
    static const double loss[RUNS] = {0.1, 0.3, 0.3, 0.7, 0.3, 0.3, 0.3, 0.9};
    grid g;
    gm_runs runs;
    gm_error err = {0};
    fill_grid(&g, loss);
    case_need(gm_runs_make(g.run, RUNS, &runs, &err), &err);
    assert_int_equal(gm_runs_figure_errors.count(&runs), 2);

    drawn d = draw(&runs, &gm_runs_figure_errors, 0); /* log10 of 5 and 50 */
    has(d.script, "$a0_0 << EOD\n0.69897 0.2 0.1 0.3\n1.69897 0.3 0.3 0.3\nEOD\n");
    has(d.script, "$a0_1 << EOD\n0.69897 0.5 0.3 0.7\n1.69897 0.6 0.3 0.9\nEOD\n");
    has(d.script, "random labels 0.5");
    assert_null(strstr(d.script, "seed"));
    assert_null(strstr(d.script, "$a1_0")); /* nothing is known of the test error */
    has(d.title, "against the batch size");
    has(d.caption, "bars one standard error");
    assert_string_equal(d.missing, "");
    drawn_free(&d);

    d = draw(&runs, &gm_runs_figure_errors, 1);
    has(d.script, "$a0_0 << EOD\n0 0.2 0.1 0.3\n50 0.5 0.3 0.7\nEOD\n");
    has(d.script, "$a0_1 << EOD\n0 0.3 0.3 0.3\n50 0.6 0.3 0.9\nEOD\n");
    has(d.title, "against the share of random labels");
    drawn_free(&d);

    d = draw(&runs, &gm_runs_figure_curvature, 0);
    has(d.missing, "hold no numbers");
    assert_string_equal(d.script, "");
    drawn_free(&d);
    gm_runs_free(&runs);

    /* The test error is known at batch 50 alone: the axis has room for the losses at 5 too. */
    static double test_error[2] = {0.5, 0.25};
    for (size_t i = RUNS / 2; i < RUNS; i++) {
        g.run[i].metric[GM_SUBJECT_TEST_ERROR] = (gm_subject_metric){2, g.step, test_error};
    }
    case_need(gm_runs_make(g.run, RUNS, &runs, &err), &err);
    d = draw(&runs, &gm_runs_figure_errors, 0);
    has(d.script, "$a1_0 << EOD\n1.69897 25 25 25\nEOD\n");
    double low = NAN, high = NAN;
    assert_int_equal(sscanf(strstr(d.script, "set xrange ["), "set xrange [%lf:%lf]", &low, &high),
                     2);
    assert_true(low <= 0.69897 && high >= 1.69897);
    drawn_free(&d);
    gm_runs_free(&runs);
    for (size_t i = 0; i < RUNS; i++) {
        g.run[i].metric[GM_SUBJECT_TEST_ERROR] = (gm_subject_metric){0};
    }

    /* One seed each: no error, and nothing said of one. Infinite losses are left out. */
    gm_subject single[] = {g.run[0], g.run[4]};
    g.loss[4][1] = INFINITY;
    case_need(gm_runs_make(single, 2, &runs, &err), &err);
    assert_int_equal(gm_runs_figure_errors.count(&runs), 1);
    d = draw(&runs, &gm_runs_figure_errors, 0);
    has(d.script, "$a0_0 << EOD\n5 0.1 0.1 0.1\nEOD\n");
    assert_null(strstr(d.caption, "standard error"));
    drawn_free(&d);
    gm_runs_free(&runs);
}

/* Two data sets in two batches each, a third in one; the precision follows from the data. */
static void test_lines(void **state)
{
    (void)state;
    enum { MANY = 5, TOLD = 3 };
    static const char *const said[MANY][TOLD] = {{"gauss:k=3,d=4", "f64", "5"},
                                                 {"gauss:k=3,d=4", "f64", "50"},
                                                 {"mnist:/a/mnist", "f32", "5"},
                                                 {"mnist:/a/mnist", "f32", "50"},
                                                 {"mnist:/b/fashion", "f64", "5"}};
    static const char *const name[TOLD] = {"data", "precision", "train.batch"};
    gm_setting setting[MANY][TOLD];
    gm_subject run[MANY];
    for (size_t i = 0; i < MANY; i++) {
        for (size_t s = 0; s < TOLD; s++) {
            setting[i][s] = (gm_setting){name[s], said[i][s]};
        }
        run[i] = (gm_subject){.name = "r", .setting = setting[i], .settings = TOLD};
    }
    gm_runs runs;
    gm_runs_lines l;
    gm_error err = {0};
    const char *key[GM_RUNS_KEYS];
    char label[GM_RUNS_LABEL];
    case_need(gm_runs_make(run, MANY, &runs, &err), &err);
    case_need(gm_runs_lines_find(&runs, "train.batch", &l, &err), &err);
    assert_int_equal(l.count, 2);
    assert_true(l.alone && l.of_run[4] == GM_RUNS_NO_LINE && l.first[1] == 2);
    assert_int_equal(gm_runs_lines_keys(&runs, &l, key), 1);
    assert_string_equal(key[0], "data");
    gm_runs_lines_label(&runs, &l, 0, key, 1, label);
    assert_string_equal(label, "gauss");
    gm_runs_lines_common(&runs, &l, label);
    assert_string_equal(label, "");
    gm_runs_lines_free(&l);
    gm_runs_free(&runs);

    /* Without the first data set nothing is left to tell one line from another. */
    case_need(gm_runs_make(run + 2, MANY - 2, &runs, &err), &err);
    case_need(gm_runs_lines_find(&runs, "train.batch", &l, &err), &err);
    assert_int_equal(l.count, 1);
    assert_int_equal(gm_runs_lines_keys(&runs, &l, key), 0);
    gm_runs_lines_label(&runs, &l, 0, key, 0, label);
    assert_string_equal(label, "all runs");
    gm_runs_lines_common(&runs, &l, label);
    assert_string_equal(label, "mnist");
    gm_runs_lines_free(&l);
    gm_runs_free(&runs);
}

/* ---- pages ---- */

static const char hostile[] = "<script>alert(\"x\")</script>&'$(id)%s";

static void write_json(const char *name, json_t *document)
{
    char *text = json_dumps(document, 0);
    folder_write(name, text, strlen(text));
    free(text);
    json_decref(document);
}

static json_t *cell_of(const char *name, const char *run, const char *status, bool trained)
{
    json_t *results =
        trained ? json_pack("{s:f,s:f,s:n}", "loss", 0.25, "error_rate", 0.5, "test_error_rate")
                : json_null();
    json_t *task = json_pack("{s:s,s:s,s:s,s:[s,s]}", "name", "train", "status", status, "message",
                             hostile, "command", "train", hostile);
    return json_pack("{s:s,s:s,s:s,s:i,s:s,s:s,s:o,s:[o]}", "name", name, "data", hostile, "model",
                     "mlp:4-3", "batch", name[0] == 'a' ? 5 : 50, "run", run, "status", status,
                     "results", results, "tasks", task);
}

static char *read_text(const char *name)
{
    FILE *file = fopen(folder_path(name), "r");
    if (!file) return NULL;
    char *text = NULL;
    size_t size = 0;
    assert_true(getdelim(&text, &size, 0, file) > 0);
    fclose(file);
    return text;
}

static void check_page(const char *name)
{
    char *html = read_text(name);
    assert_non_null(html);
    /* Links to the cells leave this page; for the checker, that allows none, they lead to the grid.
     */
    static const char away[] = "href=\"cells/", home[] = "href=\"#grid\"";
    for (char *at = html; (at = strstr(at, away));) {
        char *end = strchr(at + sizeof away, '"');
        memset(at, ' ', (size_t)(end + 1 - at));
        memcpy(at, home, sizeof home - 1);
    }
    case_page page;
    case_check(&page, html);
    if (*page.problem) fail_msg("%s: %s", name, page.problem);
    assert_null(strstr(html, "<script>alert"));
    free(html);
}

static bool stop(void *context)
{
    (void)context;
    return true;
}

static void test_pages(void **state)
{
    (void)state;
    gm_error err = {0};
    char dir[256];
    snprintf(dir, sizeof dir, "%s", folder);
    assert_int_equal(gm_report_study(dir, NULL, NULL, &err), GM_ERR_IO);
    mkdir(folder_path("cells"), 0777);
    case_run("cells/a.gmr", CASE_SETTINGS | CASE_TRAINING, "plain");
    case_run("cells/b.gmr", CASE_SETTINGS | CASE_TRAINING, hostile);
    case_run("cells/d.gmr", CASE_SETTINGS | CASE_TRAINING, "wild");
    write_json("index.json", json_pack("{s:i,s:s,s:s,s:s,s:[o,o,o,o]}", "study", 1, "name", "s",
                                       "title", hostile, "question", hostile, "cells",
                                       cell_of("a", "cells/a.gmr", "finished", true),
                                       cell_of("b", "cells/b.gmr", "failed", true),
                                       cell_of("c", "cells/c.gmr", "unfinished", false),
                                       cell_of("d", "cells/d.gmr", "diverged", true)));
    assert_int_equal(gm_report_study(dir, stop, NULL, &err), GM_ERR_INTERRUPTED);
    assert_int_not_equal(access(folder_path("index.html"), F_OK), 0);
    case_need(gm_report_study(dir, NULL, NULL, &err), &err);
    check_page("index.html");
    check_page("cells/a.html");
    check_page("cells/b.html");
    char *html = read_text("index.html");
    has(html, "has <data value=\"4\">4</data> cells: <data value=\"1\">1</data> finished, <data "
              "value=\"1\">1</data> failed, <data value=\"1\">1</data> diverged, <data "
              "value=\"1\">1</data> not run yet");
    has(html, "<a href=\"#diverged\">");
    has(html, "<b>d</b>, train: &lt;script&gt;");
    has(html, "<a href=\"cells/a.html\">a</a>");
    has(html, "<tr><th scope=\"row\">c</th>"); /* has no page */
    has(html, "<b>b</b>, train: &lt;script&gt;");
    has(html, "gradiometer train &#39;&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;"
              "\\&#39;&#39;$(id)%s&#39;\n");
    free(html);

    /* The page of a finished cell stays, that of any other is written again. */
    folder_write("cells/a.html", "kept", 4);
    folder_write("cells/b.html", "old", 3);
    case_need(gm_report_study(dir, NULL, NULL, &err), &err);
    html = read_text("cells/a.html");
    assert_string_equal(html, "kept");
    free(html);
    check_page("cells/b.html");

    folder_write("index.json", "{}", 2);
    assert_int_equal(gm_report_study(dir, NULL, NULL, &err), GM_ERR_INPUT);
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s/cells", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_axes), cmocka_unit_test(test_lines),
                                       cmocka_unit_test(test_pages)};
    return cmocka_run_group_tests_name("report_study", tests, folder_make, folder_remove);
}
