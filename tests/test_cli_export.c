/* gradiometer export: every kind of item of a run file in every format, held against the library's
 * own reading of that file. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#include "folder.h"
#include "gradiometer/run.h"
#include "npz_reader.h"
#include "program.h"

/* ---- a run file with one of everything ---- */

enum { P = 3, STEPS = 4 };
static const double theta[P] = {0.1, -2.0, 1e-300};
static const float narrow_theta[P] = {0.1f, -2.0f, 3.0f}, momentum[P] = {1.0f, 0.0f, -1.0f};
static const double table[6] = {1.5, (double)NAN, (double)INFINITY, -4.0, 0.1f, 6.0};
static const char document[] = "{\"a\": {\"b\": [1, 2.5, null]}, \"text\": \"x, \\\"y\\\"\","
                               " \"yes\": true}";
#define KEY "hessian/lanczos/*.weight"

static const gm_metric metric[] = {{0, "loss", 0.1},         {2, "loss", 1.0 / 3.0},
                                   {5, "loss", (double)NAN}, {2, "a,b", -1e-300},
                                   {3, "a,b", 2.0},          {5, "a,b", (double)INFINITY}};

static const char *run_path(void)
{
    return folder_path("run.gmr");
}

static int make_run(void **state)
{
    (void)state;
    if (folder_make(NULL)) return -1;
    gm_error err = {0};
    gm_run *run = NULL;
    const gm_setting setting[] = {{"command", "gradiometer \"x\""}, {"seed", "3"}};
    const gm_run_state standing = {.step = 5,
                                   .status = "finished",
                                   .message = "",
                                   .dtype = GM_F32,
                                   .parameters = P,
                                   .theta = narrow_theta,
                                   .slots = 1,
                                   .optimizer = momentum,
                                   .stream_seed = UINT64_MAX};
    const gm_run_array array[] = {{"long", GM_F64, 3, {1, 2, 3}, table},
                                  {"none", GM_F64, 1, {0}, table},
                                  {"one", GM_F64, 0, {0}, table},
                                  {"table", GM_F32, 2, {2, 3}, table},
                                  {"values", GM_F64, 1, {2}, table}};
    const gm_run_result result[] = {
        {.command = "spectrum", .step = 2, .key = KEY, .json = document},
        {.command = "predict", .step = GM_RUN_NO_STEP, .key = "", .json = "{}"}};
    gm_status status = gm_run_create(run_path(), false, setting, 2, &run, &err);
    if (!status) status = gm_run_add_metrics(run, metric, 6, &err);
    if (!status) status = gm_run_add_checkpoint(run, 2, GM_F64, P, theta, &err);
    if (!status) status = gm_run_save(run, &standing, -1, false, NULL, 0, &err);
    if (!status) status = gm_run_add_result(run, &result[0], array, 5, NULL, &err);
    if (!status) status = gm_run_add_result(run, &result[1], array + 4, 1, NULL, &err);
    gm_run_close(run);
    if (status) fprintf(stderr, "%s\n", err.message);
    return status ? -1 : 0;
}

/* What the program wrote to FOLDER/name from these items; freed by free. */
static char *written(const char *items, const char *name)
{
    program_result r = program("export %s %s -o %s", run_path(), items, folder_path(name));
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char *text = program_slurp(folder_path(name));
    assert_non_null(text);
    unlink(folder_path(name));
    return text;
}

static void starts_with(const char *text, const char *start)
{
    if (strncmp(text, start, strlen(start)) != 0) fail_msg("found %s, expected %s...", text, start);
}

/* ---- listing ---- */

static void list(void **state)
{
    (void)state;
    program_result r = program("export %s --list", run_path());
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit, 0);
    static const char *const line[] = {"settings ",
                                       "state ",
                                       "step 5, finished",
                                       "state:theta ",
                                       "state:optimizer ",
                                       "metrics/a,b ",
                                       "metrics/loss ",
                                       "3 steps, 0 ... 5",
                                       "checkpoints/2 ",
                                       "[3] f8",
                                       "checkpoints/5 ",
                                       "results/predict ",
                                       "results/predict:values ",
                                       "results/spectrum@2/" KEY " ",
                                       "results/spectrum@2/" KEY ":long ",
                                       "[1, 2, 3] f8",
                                       ":none ",
                                       "[0] f8",
                                       ":one ",
                                       "[] f8",
                                       ":table ",
                                       "[2, 3] f4"};
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        if (!strstr(r.out, line[i])) fail_msg("'%s' is missing in\n%s", line[i], r.out);
    }
    program_free(&r);
    /* A name with characters of patterns is taken as it is; a folder takes what is below. */
    r = program("export %s --list 'results/spectrum@2/" KEY "'", run_path());
    assert_true(program_one_line(r.out));
    program_free(&r);
    r = program("export %s --list state 'results/*:[tv]*' checkpoints", run_path());
    assert_null(strstr(r.out, "settings"));
    assert_null(strstr(r.out, "state:"));
    assert_null(strstr(r.out, ":long"));
    assert_non_null(strstr(r.out, "results/predict:values"));
    assert_non_null(strstr(r.out, ":table"));
    assert_non_null(strstr(r.out, "checkpoints/5"));
    program_free(&r);
}

/* ---- CSV ---- */

static void csv_metrics(void **state)
{
    (void)state;
    char *text = written("metrics", "m.csv");
    assert_string_equal(text, "step,\"a,b\",loss\n"
                              "0,,0.10000000000000001\n"
                              "2,-1e-300,0.33333333333333331\n"
                              "3,2,\n"
                              "5,inf,nan\n");
    program_result r = program("export %s --metrics %s", run_path(), folder_path("n.csv"));
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char *same = program_slurp(folder_path("n.csv"));
    assert_string_equal(text, same);
    unlink(folder_path("n.csv"));
    free(text);
    free(same);
    text = written("metrics/loss", "l.csv");
    assert_string_equal(text, "step,loss\n0,0.10000000000000001\n2,0.33333333333333331\n5,nan\n");
    free(text);
}

static void csv_arrays(void **state)
{
    (void)state;
    char *text = written("'results/spectrum*:table' 'results/spectrum*:values'", "a.csv");
    assert_string_equal(text, "table[0],table[1],table[2],values\n"
                              "1.5,nan,inf,1.5\n"
                              "-4,0.10000000149011612,6,nan\n");
    free(text);
    /* Of the same name in two results: whole names. */
    text = written("'results/*:values'", "a.csv");
    assert_string_equal(text, "results/predict:values,results/spectrum@2/" KEY ":values\n"
                              "1.5,1.5\nnan,nan\n");
    free(text);
    text = written("'*:long'", "a.csv");
    assert_string_equal(text, "dim0,dim1,dim2,long\n0,0,0,1.5\n0,0,1,nan\n0,0,2,inf\n"
                              "0,1,0,-4\n0,1,1,0.10000000149011612\n0,1,2,6\n");
    free(text);
    text = written("'*:one'", "a.csv");
    assert_string_equal(text, "one\n1.5\n");
    free(text);
    text = written("'*:none'", "a.csv");
    assert_string_equal(text, "none\n");
    free(text);
    text = written("checkpoints state:theta", "a.csv");
    starts_with(text, "state:theta,checkpoints/2,checkpoints/5\n0.10000000149011612,0.1");
    free(text);
}

static void csv_objects(void **state)
{
    (void)state;
    char *text = written("'results/spectrum@2/" KEY "'", "d.csv");
    assert_string_equal(text, "command,step,key,path,value\n"
                              "spectrum,2," KEY ",a/b/0,1\n"
                              "spectrum,2," KEY ",a/b/1,2.5\n"
                              "spectrum,2," KEY ",a/b/2,\n"
                              "spectrum,2," KEY ",text,\"x, \"\"y\"\"\"\n"
                              "spectrum,2," KEY ",yes,true\n");
    free(text);
    text = written("settings", "s.csv");
    assert_string_equal(text, "key,value\ncommand,\"gradiometer \"\"x\"\"\"\nseed,3\n");
    free(text);
    text = written("state", "s.csv");
    starts_with(text, "key,value\nstep,5\nstatus,finished\nmessage,\n");
    assert_non_null(strstr(text, "\nstream_seed,18446744073709551615\n"));
    free(text);
}

/* ---- NumPy's formats ---- */

static void check_numbers(const npz_file *file, const char *name, const char *descr, int rank,
                          size_t count, const double *value)
{
    const npz_member *m = npz_find(file, name);
    if (!m) fail_msg("no member %s", name);
    assert_string_equal(m->descr, descr);
    assert_true(m->rank == rank && m->count == count);
    for (size_t i = 0; i < count; i++) {
        double found = npz_double(m, i), expected = value[i];
        if (descr[2] == '4') expected = (double)(float)expected;
        assert_true(found == expected || (isnan(found) && isnan(expected)));
    }
}

static void npz(void **state)
{
    (void)state;
    program_result r = program("export %s -o %s", run_path(), folder_path("all.npz"));
    assert_string_equal(r.err, "");
    assert_non_null(strstr(r.out, "all.npz: 16 items"));
    program_free(&r);
    npz_file file = npz_read(folder_path("all.npz"));
    assert_string_equal(file.problem, "");
    assert_int_equal(file.count, 16 + 2); /* a series is two arrays */
    const double loss[3] = {0.1, 1.0 / 3.0, (double)NAN};
    const double vector[P] = {0.1f, -2.0, 3.0}, moved[P] = {1, 0, -1};
    check_numbers(&file, "metrics/loss/value", "<f8", 1, 3, loss);
    const npz_member *step = npz_find(&file, "metrics/loss/step");
    assert_string_equal(step->descr, "<i8");
    assert_memory_equal(step->data, ((const int64_t[]){0, 2, 5}), 24);
    check_numbers(&file, "checkpoints/2", "<f8", 1, P, theta);
    check_numbers(&file, "checkpoints/5", "<f8", 1, P, vector);
    check_numbers(&file, "state:theta", "<f4", 1, P, vector);
    check_numbers(&file, "state:optimizer", "<f4", 2, P, moved);
    check_numbers(&file, "results/spectrum@2/" KEY ":table", "<f4", 2, 6, table);
    check_numbers(&file, "results/spectrum@2/" KEY ":long", "<f8", 3, 6, table);
    check_numbers(&file, "results/spectrum@2/" KEY ":one", "<f8", 0, 1, table);
    check_numbers(&file, "results/spectrum@2/" KEY ":none", "<f8", 1, 0, table);
    const npz_member *text = npz_find(&file, "results/spectrum@2/" KEY);
    assert_int_equal(text->rank, 0);
    size_t length = strtoul(text->descr + 2, NULL, 10);
    json_t *found = json_loadb((const char *)text->data, length, 0, NULL);
    json_t *expected = json_loads(document, 0, NULL);
    assert_true(json_equal(found, expected));
    json_decref(found);
    json_decref(expected);
    npz_free(&file);
    unlink(folder_path("all.npz"));
}

static void npy(void **state)
{
    (void)state;
    program_result r =
        program("export %s 'results/spectrum*:table' -o %s", run_path(), folder_path("t.npy"));
    assert_string_equal(r.err, "");
    program_free(&r);
    FILE *file = fopen(folder_path("t.npy"), "rb");
    float number[6];
    assert_true(file && fseek(file, 128, SEEK_SET) == 0 && fread(number, 4, 7, file) == 6);
    fclose(file);
    assert_true(number[0] == 1.5f && isnan(number[1]) && number[4] == 0.1f && number[5] == 6.0f);
    unlink(folder_path("t.npy"));
}

/* ---- JSON ---- */

static const json_t *result_of(const json_t *all, const char *command)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(all, "results"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "command")), command) == 0)
            return entry;
    }
    return NULL;
}

static void json(void **state)
{
    (void)state;
    char *text = written("", "all.json");
    json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(all);
    free(text);
    json_t *expected = json_pack(
        "{s:s, s:{s:s, s:s}, s:{s:{s:[i,i,i], s:[f,f,n]}, s:{s:[i,i,i], s:[f,f,n]}},"
        " s:{s:[f,f,f], s:[f,f,f]}, s:{s:[f,f,f], s:[[f,f,f]]}}",
        "command", "export", "settings", "command", "gradiometer \"x\"", "seed", "3", "metrics",
        "loss", "step", 0, 2, 5, "value", 0.1, 1.0 / 3.0, "a,b", "step", 2, 3, 5, "value", -1e-300,
        2.0, "checkpoints", "2", theta[0], theta[1], theta[2], "5", (double)0.1f, -2.0, 3.0,
        "vectors", "theta", (double)0.1f, -2.0, 3.0, "optimizer", 1.0, 0.0, -1.0);
    const char *key;
    json_t *value;
    assert_non_null(expected);
    json_object_foreach(expected, key, value)
    {
        /* Numbers that are whole come back as integers: compared as text of one layout. */
        char *a = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY |
                                        JSON_REAL_PRECISION(17));
        char *b =
            json_dumps(json_object_get(all, key),
                       JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
        size_t cut = 0;
        for (size_t i = 0; a[i]; i++) { /* 2.0 and 2 */
            if (a[i] == '.' && a[i + 1] == '0' && !strchr("0123456789", a[i + 2])) {
                i++;
                continue;
            }
            a[cut++] = a[i];
        }
        a[cut] = 0;
        assert_string_equal(a, b);
        free(a);
        free(b);
    }
    json_decref(expected);

    const json_t *result = result_of(all, "spectrum");
    json_t *stored = json_loads(document, 0, NULL);
    assert_true(json_equal(json_object_get(result, "document"), stored));
    json_decref(stored);
    const json_t *arrays = json_object_get(result, "arrays");
    const json_t *last = json_array_get(arrays, 3); /* table */
    char *data = json_dumps(last, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    assert_string_equal(data, "{\"data\":[[1.5,null,null],[-4,0.10000000149011612,6]],"
                              "\"dtype\":\"f4\",\"name\":\"table\",\"shape\":[2,3]}");
    free(data);
    assert_true(json_is_null(json_object_get(result_of(all, "predict"), "step")));
    json_decref(all);
}

/* Named in part: an array without its document, and the other way round. */
static void json_parts(void **state)
{
    (void)state;
    char *text = written("'results/spectrum*:one'", "p.json");
    json_t *all = json_loads(text, 0, NULL);
    free(text);
    assert_int_equal(json_array_size(json_object_get(all, "results")), 1);
    const json_t *result = result_of(all, "spectrum"), *arrays = json_object_get(result, "arrays");
    assert_true(json_is_null(json_object_get(result, "document")));
    assert_int_equal(json_array_size(arrays), 5);
    assert_true(program_number(json_array_get(arrays, 2), "data") == 1.5);
    assert_null(json_object_get(json_array_get(arrays, 0), "data"));
    assert_int_equal(json_object_size(json_object_get(all, "settings")), 0);
    json_decref(all);

    program_result r = program("export %s --results %s", run_path(), folder_path("r.json"));
    assert_string_equal(r.err, "");
    program_free(&r);
    all = json_load_file(folder_path("r.json"), 0, NULL);
    assert_int_equal(json_object_size(json_object_get(all, "settings")), 2);
    assert_int_equal(json_array_size(json_object_get(all, "results")), 2);
    assert_non_null(json_object_get(json_object_get(result_of(all, "spectrum"), "document"), "a"));
    json_decref(all);
    unlink(folder_path("r.json"));
}

/* ---- refusals ---- */

static void refused(const char *arguments, const char *expected)
{
    program_result r = program("export %s %s", run_path(), arguments);
    if (r.exit != 2 || !program_one_line(r.err) || !strstr(r.err, expected) || *r.out)
        fail_msg("'%s': status %d, %s%s", arguments, r.exit, r.err, r.out);
    program_free(&r);
}

static void refusals(void **state)
{
    (void)state;
    char here[512];
    assert_int_equal(chdir(folder), 0);
    folder_write("old.csv", "old", 3);
    int entries = folder_entries();
    refused("metrics/los -o x.csv", "found no item 'metrics/los', expected some of metrics/a,b, "
                                    "metrics/loss (see --list)");
    refused("los -o x.csv", "expected some of settings, state, state:theta, metrics/..., "
                            "checkpoints/..., results/...");
    refused("'results/x*' --list", "results/predict:values");
    refused("-o x.txt", ".csv, .npz, .npy or .json");
    refused("-o csv", ".csv, .npz, .npy or .json");
    refused("--params net.safetensor", "--params: found net.safetensor, expected it to end in");
    refused("-o old.csv", "found settings (settings) and state (state)");
    refused("metrics checkpoints -o old.csv",
            "found metrics (metrics/a,b) and arrays (checkpoints/2)");
    refused("'*:table' '*:none' -o old.csv", ":table has 2 rows, expected 0 in one table with");
    refused("'*:table' '*:long' -o old.csv", ":long has 3 axes");
    refused("checkpoints -o x.npy", "found checkpoints/5 as well, expected one array");
    refused("metrics/loss -o x.npy", "found metrics/loss, expected an array");
    refused("metrics", "nothing to write, expected -o OUT");
    refused("metrics --params t.npy", "found item metrics, expected -o OUT or --list");
    refused("--list --format csv", "--format");
    refused("--format xml -o x.csv", "--format");
    refused("-o none/x.csv", "none/x.csv");
    refused("metrics --format csv -o run.gmr", "is the run file itself");
    refused("metrics --format csv -o /dev/full", "/dev/full");
    refused("--format npz -o /dev/full", "/dev/full");
    refused("--format json -o /dev/full", "/dev/full");
    assert_int_equal(folder_entries(), entries);
    char *old = program_slurp("old.csv");
    assert_string_equal(old, "old");
    free(old);
    snprintf(here, sizeof here, "%s", folder_path("old.csv"));
    unlink(here);
    assert_int_equal(chdir("/"), 0);
}

/* Where the shell has stdout go on in a file, what was there stays, and what comes comes after. */
static void standard_output(void **state)
{
    (void)state;
    char command[1024], out[256];
    snprintf(out, sizeof out, "%s", folder_path("out.txt"));
    snprintf(command, sizeof command,
             "{ echo before; %s export %s metrics/loss --format csv -o /dev/stdout; "
             "%s export %s metrics/loss --format csv -o /dev/fd/3 3>&1; echo after; } >%s",
             GM_PROGRAM, run_path(), GM_PROGRAM, run_path(), out);
    program_test_kernels();
    assert_int_equal(system(command), 0);
    char *text = program_slurp(out);
    static const char lines[] = "step,loss\n0,0.10000000000000001\n2,0.33333333333333331\n5,nan\n";
    char expected[512];
    snprintf(expected, sizeof expected, "before\n%s%safter\n", lines, lines);
    assert_string_equal(text, expected);
    free(text);
    unlink(out);
    program_result r = program("export %s -o /dev/fd/77 --format json", run_path());
    assert_int_equal(r.exit, 2);
    assert_true(program_one_line(r.err));
    assert_non_null(strstr(r.err, "/dev/fd/77 cannot be written: Bad file descriptor"));
    program_free(&r);
}

static int remove_run(void **state)
{
    return folder_remove(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list),       cmocka_unit_test(csv_metrics),
        cmocka_unit_test(csv_arrays), cmocka_unit_test(csv_objects),
        cmocka_unit_test(npz),        cmocka_unit_test(npy),
        cmocka_unit_test(json),       cmocka_unit_test(json_parts),
        cmocka_unit_test(refusals),   cmocka_unit_test(standard_output),
    };
    if (make_run(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "cli export");
    return remove_run(NULL) ? 1 : failed;
}
