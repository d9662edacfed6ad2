/* gradiometer bound compare on a small grid of runs: the table, tau against a count of pairs made
 * here, the pairs of the sign errors against the grid; what it refuses. */
#include "support.h"

#include <math.h>
#include <sys/stat.h>

#include "program.h"

enum { RUNS = 8 };
static char paths[RUNS][40];

static void works(program_result r)
{
    if (r.exit != 0) fail_msg("%s", r.err);
    program_free(&r);
}

static void make_runs(void)
{
    for (int i = 0; i < RUNS; i++) {
        snprintf(paths[i], sizeof paths[i], "test_cli_compare%d.gmr", i);
        unlink(paths[i]);
        works(program("train --model mlp:8-6-3 --data gauss:k=3,d=8,n=90,sep=3 --test-data "
                      "gauss:k=3,d=8,n=90,sep=3 --steps 300 --batch %d --random-labels %s --seed "
                      "%d -o %s",
                      i & 1 ? 30 : 5, i & 2 ? "0.6" : "0", i / 4, paths[i]));
        if (i >= 2) /* the first two are measured by --measure */
            works(
                program("bound --params %s --measures fast --draws 40 -o %s", paths[i], paths[i]));
    }
}

static void remove_runs(void)
{
    for (int i = 0; i < RUNS; i++) {
        unlink(paths[i]);
    }
}

static double of_run(const json_t *document, size_t i, const char *measure)
{
    const json_t *run = json_array_get(json_object_get(document, "runs"), i);
    const json_t *at = measure ? json_object_get(run, "measures") : run;
    return json_number_value(json_object_get(at, measure ? measure : "gap"));
}

/* tau-b over all pairs of rows, from the document's own table. */
static double count_tau(const json_t *document, const char *measure)
{
    double balance = 0, x = 0, y = 0;
    for (size_t i = 0; i < RUNS; i++) {
        for (size_t j = 0; j < i; j++) {
            double a = of_run(document, i, measure) - of_run(document, j, measure);
            double b = of_run(document, i, NULL) - of_run(document, j, NULL);
            balance += a * b > 0 ? 1 : a * b < 0 ? -1 : 0;
            x += a != 0;
            y += b != 0;
        }
    }
    return balance / sqrt(x * y);
}

static void check_measure(const json_t *document, const json_t *measure)
{
    const char *name = json_string_value(json_object_get(measure, "name"));
    double tau = program_number(measure, "tau");
    if (json_is_number(json_object_get(measure, "tau")) &&
        !(fabs(tau - count_tau(document, name)) < 1e-12))
        fail_msg("tau of %s: %.17g, counted %.17g", name, tau, count_tau(document, name));
    assert_int_equal(json_integer_value(json_object_get(measure, "clusters")), 4);
    const json_t *sign = json_object_get(measure, "sign_error");
    /* Two settings of two levels, two seeds: 2 settings x 2 levels of the other x 4 pairs. */
    assert_int_equal(json_integer_value(json_object_get(sign, "pairs")), 16);
    assert_int_equal(json_array_size(json_object_get(sign, "environments")), 2);
}

static void compares(void **state)
{
    (void)state;
    make_runs();
    char list[RUNS * 42] = "";
    for (int i = 0; i < RUNS; i++) {
        strcat(strcat(list, " "), paths[i]);
    }
    json_t *document = program_document(
        program("bound compare%s --certainty 0 --measure --measures fast --draws 40 -o "
                "test_cli_compare.gmr --json",
                list));
    assert_non_null(document);
    assert_int_equal(json_array_size(json_object_get(document, "runs")), RUNS);
    const json_t *varied = json_object_get(document, "varied");
    assert_int_equal(json_array_size(varied), 2);
    assert_string_equal(json_string_value(json_array_get(varied, 0)), "random_labels");
    assert_string_equal(json_string_value(json_array_get(varied, 1)), "batch");
    const json_t *run = json_array_get(json_object_get(document, "runs"), 3);
    assert_true(fabs(program_number(run, "gap") - (program_number(run, "test_error") -
                                                   program_number(run, "training_error"))) < 1e-15);
    const json_t *measures = json_object_get(document, "measures");
    assert_true(json_array_size(measures) >= 8);
    for (size_t i = 0; i < json_array_size(measures); i++) {
        check_measure(document, json_array_get(measures, i));
    }
    /* 60 % random labels cannot be told by a net of 6 units: the gap and the bound grow with them.
     */
    double tau = program_number(json_array_get(measures, 0), "tau");
    assert_true(tau > 0.3);
    json_decref(document);

    program_result text = program("bound compare%s", list);
    assert_int_equal(text.exit, 0);
    assert_non_null(strstr(text.out, "random_labels"));
    assert_non_null(strstr(text.out, "worst environment"));
    program_free(&text);
    works(program("report --figures svg --dir test_cli_compare_figures test_cli_compare.gmr"));
    static const char *const files[] = {"ranks.svg", "bounds.svg", "bounds2.svg"};
    for (size_t i = 0; i < 3; i++) {
        char path[80];
        snprintf(path, sizeof path, "test_cli_compare_figures/%s", files[i]);
        assert_int_equal(unlink(path), 0);
    }
    rmdir("test_cli_compare_figures");
    unlink("test_cli_compare.gmr");
}

/* The folder of a study stands for the run files of its finished cells. */
static void takes_studies(void **state)
{
    (void)state;
    static const char *const status[] = {"finished", "failed", "finished"};
    mkdir("test_cli_compare_study", 0777);
    FILE *index = fopen("test_cli_compare_study/index.json", "w");
    assert_non_null(index);
    fprintf(index, "{\"study\": 1, \"cells\": [");
    for (int i = 0; i < 3; i++) {
        fprintf(index, "%s{\"run\": \"../%s\", \"status\": \"%s\"}", i ? ", " : "", paths[i],
                status[i]);
    }
    fprintf(index, "]}");
    fclose(index);
    json_t *study =
        program_document(program("bound compare test_cli_compare_study %s --json", paths[5]));
    json_t *files =
        program_document(program("bound compare %s %s %s --json", paths[0], paths[2], paths[5]));
    assert_true(study && files);
    assert_true(json_equal(json_object_get(study, "measures"), json_object_get(files, "measures")));
    assert_int_equal(json_array_size(json_object_get(study, "runs")), 3);
    json_decref(study);
    json_decref(files);
    unlink("test_cli_compare_study/index.json");
    rmdir("test_cli_compare_study");
}

/* A last bound without measures leaves those of an earlier checkpoint in the table; and Ctrl-C
 * while a bound is measured keeps those of the runs before it. */
static void takes_measures(void **state)
{
    (void)state;
    const char *later = "test_cli_compare_later.gmr", *bare = "test_cli_compare_none.gmr";
    unlink(later);
    unlink(bare);
    works(program("train --model mlp:8-6-3 --data gauss:k=3,d=8,n=90,sep=3 --test-data "
                  "gauss:k=3,d=8,n=90,sep=3 --steps 40 --keep-every 20 -o %s",
                  later));
    works(program("bound --params %s@20 --measures fast --draws 20 -o %s", later, later));
    works(program("bound --params %s@40 --measures none --draws 20 -o %s", later, later));
    json_t *d = program_document(program("bound compare %s %s --json", later, paths[2]));
    assert_non_null(d);
    const json_t *run = json_array_get(json_object_get(d, "runs"), 0);
    assert_int_equal(json_integer_value(json_object_get(run, "step")), 20);
    assert_true(json_is_number(json_object_get(json_object_get(run, "measures"), "trace")));
    const json_t *note = json_array_get(json_object_get(d, "notes"), 0);
    assert_non_null(strstr(json_string_value(note), "its last bound has no measures"));
    json_decref(d);

    works(program("train --model mlp:8-6-3 --data gauss:k=3,d=8,n=90,sep=3 --test-data "
                  "gauss:k=3,d=8,n=90,sep=3 --steps 3 -o %s",
                  bare));
    char arguments[256];
    snprintf(arguments, sizeof arguments,
             "bound compare %s %s --measure --threads 1 --draws 1000000000 --json -q", later, bare);
    program_result r = program_interrupted(arguments);
    if (r.exit != 1 || *r.out || !program_one_line(r.err) ||
        !strstr(r.err, "interrupted at test_cli_compare_none.gmr; the bounds of the runs before"))
        fail_msg("exit status %d, %s%s", r.exit, r.out, r.err);
    program_free(&r);
    r = program("bound compare %s %s", later, bare);
    assert_non_null(strstr(r.err, "test_cli_compare_none.gmr: holds no bound"));
    program_free(&r);
    unlink(later);
    unlink(bare);
}

static void refuses(const char *arguments, const char *part)
{
    program_result r = program("bound compare %s", arguments);
    if (r.exit != 2 || *r.out || !program_one_line(r.err) || !strstr(r.err, part))
        fail_msg("%s: exit status %d, %s%s", arguments, r.exit, r.out, r.err);
    program_free(&r);
}

static void refusals(void **state)
{
    (void)state;
    unlink("test_cli_compare_bare.gmr");
    works(program("train --model mlp:8-6-3 --data gauss:k=3,d=8,n=60 --steps 3 -o "
                  "test_cli_compare_bare.gmr"));
    refuses("", "expected at least 2");
    refuses("test_cli_compare0.gmr", "found 1 run file, expected at least 2");
    refuses("test_cli_compare0.gmr test_cli_compare0.gmr", "twice");
    refuses("test_cli_compare0.gmr missing.gmr", "missing.gmr");
    refuses("test_cli_compare0.gmr test_cli_compare_bare.gmr", "holds no bound");
    refuses("test_cli_compare0.gmr test_cli_compare_bare.gmr --measure", "without a test set");
    refuses("test_cli_compare0.gmr test_cli_compare1.gmr --params x.gmr", "--params");
    refuses("test_cli_compare0.gmr test_cli_compare1.gmr --certainty 2", "--certainty");
    works(program("bound --params test_cli_compare_bare.gmr --measures none --draws 10 -o "
                  "test_cli_compare_bare.gmr"));
    refuses("test_cli_compare0.gmr test_cli_compare_bare.gmr", "without a test set");
    program_result r = program("bound --params test_cli_compare_bare.gmr --certainty 0.4");
    assert_int_equal(r.exit, 2);
    assert_non_null(strstr(r.err, "--certainty: an option of bound compare"));
    program_free(&r);
    unlink("test_cli_compare_bare.gmr");
    remove_runs();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(takes_studies),
        cmocka_unit_test(takes_measures),
        cmocka_unit_test(refusals),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "command line, compare");
}
