/* The file of a study: what it is refused for, with line and field; the cells and commands that it
 * stands for, written out by hand here; the index read back. */
#include "support.h"

#include <stdarg.h>
#include <string.h>

#include "base/memory.h"
#include "folder.h"
#include "study/folder.h"
#include "study/study.h"

static const gm_study_place place = {.folder = "out", .data_dir = "/sets", .threads = 2};

static void write_text(const char *name, const char *text)
{
    folder_write(name, text, strlen(text));
}

/* ---- refusals ---- */

/* The text, read as a study and expanded, is refused with this message behind the file's name. */
static void refused(const char *text, const char *message)
{
    gm_study *study = NULL;
    gm_study_plan plan = {0};
    gm_error err = {0};
    write_text("s.yaml", text);
    gm_status status = gm_study_load(folder_path("s.yaml"), &study, &err);
    if (status == GM_OK) status = gm_study_expand(study, &place, &plan, &err);
    assert_int_not_equal(status, GM_OK);
    const char *path = folder_path("s.yaml");
    if (strncmp(err.message, path, strlen(path)) != 0 || !strstr(err.message, message))
        fail_msg("found '%s', expected %s%s", err.message, path, message);
    gm_study_plan_free(&plan);
    gm_study_free(study);
}

#define DATA "data: [{name: a, train: 'gauss:'}]\n"

static void test_form(void **state)
{
    (void)state;
    refused("", ": found nothing, expected a study");
    refused("- a\n", ":1: found a list");
    refused("name: [a\n", ":2: no YAML: ");
    refused("name: a\n\tdata: 3\n", ":2: no YAML: ");
    refused("name: a\nbatch: [5]\n", ":1: data: missing");
    refused("name: a\ndata:\n  - name: x\n", ":3: data[0].train: missing");
    refused("name: a\n" DATA "\nmodels: [x]\n", ":4: models: no such key");
    refused("name: a\ndata:\n  - name: x\n    train: y\n    teste: z\n",
            ":5: data[0].teste: no such key");
    refused("name: a\nname: b\n" DATA, ": name: found twice");
    refused("name: a\nbatch: 5\n" DATA, ":2: batch: found one value, expected a list");
    refused("name: a\nbatch: [5, [6]]\n" DATA, ":2: batch[1]: found a list");
    refused("name: a\nbatch: []\n" DATA, ":2: batch: found an empty list");
    refused("name: a\nbatch:\n  - 5\n  - ''\n" DATA, ":4: batch[1]: found nothing");
    refused("name: a\nsteps: {x: 1}\n" DATA, ":2: steps: found a list or keys");
    refused("name: a\nbudget: 3\n" DATA, ":2: budget: found no keys");
    refused("name: a\ndata: &x [*x]\n", ":2: ");
    gm_study *study;
    gm_error err;
    assert_int_equal(gm_study_load(folder_path("missing"), &study, &err), GM_ERR_IO);
    assert_int_equal(gm_study_load("/dev/null", &study, &err), GM_ERR_INPUT);
    assert_string_equal(err.message, "/dev/null: no regular file, expected one with a study");
    assert_int_equal(gm_study_load(folder_path(""), &study, &err), GM_ERR_INPUT);
}

static void test_values(void **state)
{
    (void)state;
    refused("name: a\nbatch: [5, 0]\n" DATA, ":2: batch[1]: found 0, expected an integer");
    refused("name: a\nbatch: [5.5]\n" DATA, ":2: batch[0]: found 5.5");
    refused("name: a\nbatch: [5, 6, 5]\n" DATA, ":2: batch[2]: found 5 twice");
    refused("name: a\nsubset: [-3]\n" DATA, ":2: subset[0]: found -3");
    refused("name: a\nseed: [99999999999999999999]\n" DATA, ":2: seed[0]: found 9999");
    refused("name: a\nrandom_labels: [0, 15]\n" DATA, ":2: random_labels[1]: found 15, expected a");
    refused("name: a\nrandom_labels: [nan]\n" DATA, ":2: random_labels[0]: found nan");
    refused("name: a\nsteps: 0\n" DATA, ":2: steps: found 0");
    refused("name: a\ndata:\n  - name: x\n    train: y\n    batch:\n      - 1\n      - x\n",
            ":7: data[0].batch[1]: found x");
    refused("name: a\nbudget: {time: soon}\n" DATA, ": budget.time: found soon");
    refused("name: a\nbudget: {processes: 0}\n" DATA, ": budget.processes: found 0");
    refused("name: a\nmeasure:\n  - run: bound\n    at: [middle]\n" DATA,
            ":4: measure[0].at[0]: found middle");
    refused("name: a\n" DATA, ": model: missing");
}

#define LONG  "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
#define ZEROS "00000000000000000000000000000000000000000000000000"
#define WHOLE "9000000000000000000"
#define GRID  "name: a\n" DATA "model: [m]\nbatch: [5, 6]\n"

static void test_grids(void **state)
{
    (void)state;
    refused("name: a\ndata: [{name: x, train: y}, {name: x, train: z}]\nmodel: [m]\n",
            ": data[1].name: found 'x' twice");
    refused(GRID "exclude: [{}]\n", ":5: exclude[0]: found nothing");
    refused(GRID "exclude: [{batch: [7]}]\n", ":5: exclude[0].batch[0]: found 7, not a value");
    refused(GRID "exclude: [{data: [b]}]\n", ":5: exclude[0].data[0]: found b, no data set");
    refused(GRID "exclude: [{batch: [5, 6]}]\n", ":5: exclude: leaves no cell");
    refused(GRID "measure: [{run: bound, only: {seed: [1]}}]\n", ": measure[0].only.seed[0]: ");
    refused(GRID "measure: [{run: train}]\n", ": measure[0].run: found 'train'");
    refused(GRID "measure: [{run: dynamics}]\n", ": measure[0].run: found 'dynamics'");
    refused(GRID "measure: [{run: ' '}]\n", ": measure[0].run: found ' '");
    refused(GRID "measure: [{run: \"bound 'x\"}]\n", ": measure[0].run: a quote is not closed");
    refused(GRID "measure: [{run: spectrum --k 2 --export-vectors v.npy}]\n",
            ": measure[0].run: found --export-vectors, a file that each cell would write over");
    refused(GRID "measure: [{run: bound --threads=3}]\n", ": measure[0].run: found --threads");
    refused(GRID "options: -o x\n", ":5: options: found -o");
    refused(GRID "step: [0.1, 0.1 --resume x]\n", ":5: step[1]: found --resume");
    refused(GRID "measure: [{run: bound}, {run: bound --draws 3}]\n",
            ": measure[1]: found the name 'bound' twice");
    refused(GRID "measure: [{run: bound, name: train}]\n", ": measure[0].name: found the name");
    refused(GRID "measure: [{run: dynamics advise, at: [all]}]\n", ": measure[0].at[0]: found all");
    refused(GRID "measure: [{run: bound, at: [3, end, 3]}]\n", ": measure[0].at[2]: found 3 twice");
    refused(GRID "measure: [{run: bound rescale, at: [all]}]\n", ": measure[0].at[0]: found all");
    refused(GRID "measure: [{run: bound compare}]\n", ": measure[0].run: found 'bound compare'");
    refused(GRID "? [a, b]\n: c\n", ":5: found a list or map as a key");
    refused("name: a\ndata: [{name: " LONG ", train: 'gauss:'}]\nmodel: [" LONG ", m]\n"
            "batch: [" WHOLE ", 1]\nrandom_labels: [0.5" ZEROS ", 0]\nsubset: [" WHOLE ", 1]\n"
            "seed: [" WHOLE ", 1]\nstep: [" LONG ", 1]\nmeasure: [{run: bound, name: " LONG "}]\n",
            ".json.part would have a name of ");
    refused(GRID "measure: [{run: dynamics phases, at: [end]}]\n", ": measure[0].at[0]: found end");
    refused("name: a\n" DATA "model: ['x:1', 'x=1']\n", ": two cells are called a_x-1");
}

/* ---- the grid ---- */

static gm_study_plan expand(const char *text, gm_study **study)
{
    gm_study_plan plan;
    gm_error err = {0};
    write_text("s.yaml", text);
    gm_status status = gm_study_load(folder_path("s.yaml"), study, &err);
    if (status == GM_OK) status = gm_study_expand(*study, &place, &plan, &err);
    if (status != GM_OK) fail_msg("%s", err.message);
    return plan;
}

static void names_are(const gm_study_plan *plan, size_t count, const char *const *name)
{
    assert_int_equal(plan->cells, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(plan->cell[i].name, name[i]);
    }
}

static void command_is(const gm_study_task *task, const char *expected)
{
    char line[1024] = "";
    for (size_t w = 0; w < task->words.count; w++) {
        strcat(strcat(line, w ? " " : ""), task->words.word[w]);
    }
    assert_string_equal(line, expected);
    assert_null(task->words.word[task->words.count]);
}

static void test_cells(void **state)
{
    (void)state;
    gm_study *study;
    gm_study_plan plan = expand("name: a\n"
                                "data:\n"
                                "  - {name: one, train: 'gauss:n=9'}\n"
                                "  - {name: two, train: 'gauss:n=8', batch: [2], steps: 7}\n"
                                "model: ['mlp:4-3', 'x/net.onnx']\n"
                                "batch: [5, 6]\n"
                                "seed: [0]\n"
                                "step: [0.1, 'oracle:max=1']\n"
                                "steps: 9\n"
                                "exclude:\n"
                                "  - {batch: [6], step: ['oracle:max=1']}\n"
                                "  - {data: [two], model: ['mlp:4-3']}\n",
                                &study);
    static const char *const names[] = {"one_mlp-4-3_batch5_step0.1",
                                        "one_mlp-4-3_batch5_step-oracle-max-1",
                                        "one_mlp-4-3_batch6_step0.1",
                                        "one_net.onnx_batch5_step0.1",
                                        "one_net.onnx_batch5_step-oracle-max-1",
                                        "one_net.onnx_batch6_step0.1",
                                        "two_net.onnx_batch2_step0.1",
                                        "two_net.onnx_batch2_step-oracle-max-1"};
    names_are(&plan, 8, names);
    assert_int_equal(plan.tasks, 8);
    command_is(plan.cell[2].task,
               "train --model mlp:4-3 --data gauss:n=9 --batch 6 --seed 0 --step 0.1 --steps 9 "
               "--threads 2 -o out/cells/one_mlp-4-3_batch6_step0.1.gmr --json -q");
    command_is(plan.cell[6].task,
               "train --model x/net.onnx --data gauss:n=8 --batch 2 --seed 0 --step 0.1 --steps 7 "
               "--threads 2 -o out/cells/two_net.onnx_batch2_step0.1.gmr --json -q");
    gm_error err;
    char *own = gm_study_field(&plan, plan.cell + 7, GM_STUDY_BATCH, &err);
    char *common = gm_study_field(&plan, plan.cell + 7, GM_STUDY_STEP, &err);
    assert_string_equal(own, "data[1].batch[0]");
    assert_string_equal(common, "step[1]");
    gm_free(own);
    gm_free(common);
    gm_study_plan_free(&plan);
    gm_study_free(study);
}

/* Values without a letter or digit that could stand in the name of a file are numbered. */
static void test_names(void **state)
{
    (void)state;
    gm_study *study;
    gm_study_plan plan = expand("name: a\n"
                                "data: [{name: \"\u65e5\", train: x}, {name: /, train: y}]\n"
                                "model: [\"\u00e4\", \"\u00f6/\"]\n"
                                "measure: [{run: bound, name: '?'}, {run: bound rescale}]\n",
                                &study);
    static const char *const names[] = {"1_1", "1_2", "2_1", "2_2"};
    names_are(&plan, 4, names);
    assert_string_equal(plan.cell[0].task[1].name, "1@end");
    assert_string_equal(plan.cell[0].task[2].name, "rescale@end");
    gm_study_plan_free(&plan);
    gm_study_free(study);
}

static void test_commands(void **state)
{
    (void)state;
    gm_study *study;
    gm_study_plan plan =
        expand("name: a\n"
               "data:\n"
               "  - {name: d, train: 'mnist:$DATA/m', test: 'mnist:$DATA/m', standardize: true,\n"
               "     options: --keep-every 10, precision: f32}\n"
               "model: ['mlp:4-3']\n"
               "random_labels: [0.15]\n"
               "subset: [100]\n"
               "step: [\"0.1 --momentum 0.9\"]\n"
               "loss: squared\n"
               "options: --weight-decay 1e-3\n"
               "measure:\n"
               "  - {run: \"spectrum --layer 'a b'\", at: [start, 20, all]}\n"
               "  - {run: dynamics martingale, name: check}\n"
               "  - {run: bound, only: {random_labels: [0.15]}}\n",
               &study);
    static const char *const names[] = {"d"};
    names_are(&plan, 1, names);
    const gm_study_cell *cell = plan.cell;
    assert_int_equal(cell->tasks, 6);
    command_is(cell->task, "train --model mlp:4-3 --data mnist:/sets/m --test-data mnist:/sets/m "
                           "--random-labels 0.15 --subset 100 --standardize --step 0.1 --momentum "
                           "0.9 --precision f32 --loss squared --weight-decay 1e-3 --keep-every 10 "
                           "--threads 2 -o out/cells/d.gmr --json -q");
    command_is(cell->task + 1, "spectrum --layer a b --params out/cells/d.gmr@0 --threads 2 -o "
                               "out/cells/d.gmr --json -q");
    assert_string_equal(cell->task[1].words.word[2], "a b");
    assert_string_equal(cell->task[1].file, "cells/d.spectrum@start.json");
    command_is(cell->task + 2, "spectrum --layer a b --params out/cells/d.gmr@20 --threads 2 -o "
                               "out/cells/d.gmr --json -q");
    command_is(cell->task + 3, "spectrum --layer a b --params out/cells/d.gmr@all --threads 2 -o "
                               "out/cells/d.gmr --json -q");
    command_is(cell->task + 4, "dynamics martingale --params out/cells/d.gmr --threads 2 -o "
                               "out/cells/d.gmr --json -q");
    assert_string_equal(cell->task[4].name, "check@all");
    command_is(cell->task + 5,
               "bound --params out/cells/d.gmr --threads 2 -o out/cells/d.gmr --json -q");
    assert_string_equal(cell->task[5].name, "bound@end");
    gm_study_plan_free(&plan);
    gm_study_free(study);
}

static void test_words(void **state)
{
    (void)state;
    gm_words words = {0};
    gm_error err;
    bool closed;
    assert_int_equal(gm_words_split(&words, " a  'b c'd \"e'\\\"\" '' f\\ g\n", &closed, &err),
                     GM_OK);
    assert_true(closed);
    static const char *const expected[] = {"a", "b cd", "e'\"", "", "f g"};
    assert_int_equal(words.count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(words.word[i], expected[i]);
    }
    assert_int_equal(gm_words_split(&words, "x \"y", &closed, &err), GM_OK);
    assert_false(closed);
    gm_words_free(&words);
    assert_int_equal(gm_words_split(&words, "a\f b\v\r\n\tc\f", &closed, &err), GM_OK);
    assert_int_equal(words.count, 3);
    gm_words_free(&words);
    double seconds;
    assert_true(gm_study_seconds("90", &seconds) && seconds == 90);
    assert_true(gm_study_seconds("1.5h", &seconds) && seconds == 5400);
    assert_true(gm_study_seconds("2m", &seconds) && seconds == 120);
    static const char *const bad[] = {"", "m", "-1s", "5 m", "5d", "0", "inf", "1e999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(gm_study_seconds(bad[i], &seconds));
    }
}

/* ---- changes ---- */

static void differs(const char *a, const char *b, const char *field, size_t line)
{
    char *found = NULL;
    size_t at = 99;
    gm_error err;
    write_text("a.yaml", a);
    write_text("b.yaml", b);
    assert_int_equal(
        gm_study_difference(folder_path("a.yaml"), folder_path("b.yaml"), &found, &at, &err),
        GM_OK);
    if (field) {
        assert_string_equal(found, field);
    } else {
        assert_null(found);
    }
    assert_int_equal(at, line);
    gm_free(found);
}

static void test_difference(void **state)
{
    (void)state;
    differs("a: [1, 2]\nb: x\n", "# words\nb: 'x'\na:\n  - 1\n  - 2\n", NULL, 0);
    differs("a: [1, 2]\nb: x\n", "a: [1, 2]\nb: y\n", "b", 2);
    differs("a:\n  - c: 1\n  - c: 2\n", "a:\n  - c: 1\n  - c: 3\n", "a[1].c", 3);
    differs("a: [1, 2]\n", "a: [1]\n", "a", 1);
    differs("a: [1]\nb: 2\n", "a: [1]\n", "b", 2);
    differs("a: {b: 1}\n", "a: {b: 1, c: 2}\n", "a.c", 1);
    differs("a: [1]\n", "a: 1\n", "a", 1);
    differs("title: x\na: 1\nbudget: {time: 1h}\n", "question: y\na: 1\ntitle: z\n", NULL, 0);
    differs("a: {title: x}\n", "a: {title: y}\n", "a.title", 1);
    differs("budget: {time: 1h}\na: 1\n", "budget: {time: 2h}\na: 2\n", "a", 2);

    static const char *const damaged[] = {"", "# words\n", "- a\n", "? [a]\n: b\n"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        char *field = NULL;
        size_t line;
        gm_error err;
        write_text("a.yaml", "a: 1\n");
        write_text("b.yaml", damaged[i]);
        assert_int_equal(
            gm_study_difference(folder_path("a.yaml"), folder_path("b.yaml"), &field, &line, &err),
            GM_ERR_INPUT);
        assert_non_null(strstr(err.message, "b.yaml:"));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),  cmocka_unit_test(test_values),
        cmocka_unit_test(test_grids), cmocka_unit_test(test_cells),
        cmocka_unit_test(test_names), cmocka_unit_test(test_commands),
        cmocka_unit_test(test_words), cmocka_unit_test(test_difference)};
    (void)argc;
    gm_error err = {0};
    const char *note;
    if (gm_cli_startup(argv, &note, &err) != GM_OK) return 1;
    return cmocka_run_group_tests_name("study", tests, folder_make, folder_remove);
}
