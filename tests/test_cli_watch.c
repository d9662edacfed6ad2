/* A folder that another process writes checkpoints to, followed by the program: each file is read
 * once it is whole, what a run file has is not done again, Ctrl-C ends between two of them. */
#include "support.h"

#include <math.h>
#include <signal.h>

#include "folder.h"
#include "program.h"

#define NET   " --model mlp:4-5-3 "
#define DATA  " --data gauss:k=3,d=4,n=40 "
#define PLAIN " --threads 1 -q "

enum { STEPS = 4 };
static const int steps[STEPS] = {2, 4, 10, 20};
static char in[256]; /* the folder that is watched */

static char *bytes[STEPS];
static size_t sizes[STEPS];

/* Checkpoints of a short run, in memory. */
static int make_checkpoints(void **state)
{
    if (folder_make(state) != 0) return -1;
    snprintf(in, sizeof in, "%s", folder_path("in"));
    program_result r = program("train --steps 20 --keep-every 2 --batch 5 -o %s" NET DATA PLAIN,
                               folder_path("r.gmr"));
    bool good = r.exit == 0;
    program_free(&r);
    for (int i = 0; i < STEPS; i++) {
        const char *path = folder_path("c.safetensors");
        r = program("export %s --at %d --params %s", folder_path("r.gmr"), steps[i], path);
        good = good && r.exit == 0;
        program_free(&r);
        FILE *file = fopen(path, "rb");
        bytes[i] = malloc(1 << 16);
        sizes[i] = file ? fread(bytes[i], 1, 1 << 16, file) : 0;
        if (file) fclose(file);
        good = good && sizes[i] > 0 && sizes[i] < 1 << 16;
    }
    return good && mkdir(in, 0777) == 0 ? 0 : -1;
}

static int remove_checkpoints(void **state)
{
    for (int i = 0; i < STEPS; i++) {
        free(bytes[i]);
    }
    return folder_remove(state);
}

static void empty_in(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -f %s/*", in);
    assert_int_equal(system(command), 0);
}

/* Part of a checkpoint under a name in the folder. */
static void drop(int i, const char *name, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", in, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes[i], 1, size, file) != size || fclose(file) != 0) _exit(99);
}

static int count_text(const char *in_text, const char *text)
{
    int count = 0;
    for (const char *at = in_text; at && (at = strstr(at, text)); at++) {
        count++;
    }
    return count;
}

/* Waits until the program has written `text` to this file so many times. */
static void await_texts(const char *path, const char *text, int times)
{
    for (;;) {
        char *seen = program_slurp(path);
        int count = count_text(seen, text);
        free(seen);
        if (count >= times) return;
        usleep(20000);
    }
}

static void await_text(const char *path, const char *text)
{
    await_texts(path, text, 1);
}

/* Largest eigenvalues of the trajectory against those of the run's own checkpoints. */
static void assert_trajectory(const json_t *document, size_t first, size_t count)
{
    const json_t *list = json_object_get(document, "trajectory");
    assert_int_equal(json_array_size(list), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(list, i);
        int step = steps[first + i];
        assert_int_equal(program_number(entry, "step"), step);
        json_t *alone = program_document(
            program("spectrum --json --k 1 --params %s@%d" PLAIN, folder_path("r.gmr"), step));
        double found = json_number_value(json_array_get(json_object_get(entry, "eigenvalues"), 0));
        double whole = json_number_value(json_array_get(json_object_get(alone, "eigenvalues"), 0));
        assert_true(whole > 0 && fabs(found - whole) <= 1e-10 * whole);
        json_decref(alone);
    }
}

#define SPECTRUM "spectrum --method lanczos --k 3" NET DATA PLAIN

/* Half of a file is written, the rest when the one before is done; another comes by a rename. What
 * is no checkpoint is left alone. */
static void test_files_as_they_come(void **state)
{
    (void)state;
    char out[300], path[300], final[300];
    snprintf(out, sizeof out, "%s", folder_path("out.txt"));
    snprintf(path, sizeof path, "%s/.new", in);
    snprintf(final, sizeof final, "%s/ckpt-10.safetensors", in);
    folder_write("out.txt", "", 0);
    drop(1, "ckpt-4.safetensors", sizes[1] / 2);
    drop(1, "best.safetensors", sizes[1]);
    drop(1, "notes-3.txt", 5);
    drop(0, "ckpt-2.safetensors", sizes[0]);
    pid_t writer = fork();
    if (writer == 0) {
        await_text(out, "ckpt-2.safetensors");
        usleep(600000); /* the program looks at the half file at least once meanwhile */
        drop(1, "ckpt-4.safetensors", sizes[1]);
        drop(2, ".new", sizes[2]);
        rename(path, final);
        _exit(0);
    }
    program_result r = program(SPECTRUM "--watch %s --watch-until 3 -o %s | tee %s", in,
                               folder_path("w.gmr"), out);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    assert_string_equal(r.err, "");
    const char *second = strstr(r.out, "ckpt-4.safetensors ");
    assert_true(second && strstr(r.out, "ckpt-10.safetensors ") > second);
    assert_null(strstr(r.out, "best"));
    program_free(&r);

    /* One more: the three are not done again, and the count includes them. */
    drop(3, "ckpt-20.safetensors", sizes[3]);
    json_t *d = program_document(
        program(SPECTRUM "--json --watch %s --watch-until 4 -o %s", in, folder_path("w.gmr")));
    assert_non_null(d);
    assert_trajectory(d, 3, 1);
    json_decref(d);
    d = program_document(
        program(SPECTRUM "--json --watch %s --watch-until 4 -o %s", in, folder_path("w.gmr")));
    assert_non_null(d);
    assert_trajectory(d, 0, 0);
    json_decref(d);

    /* A file of the same name and size with other numbers is not what was measured; back again, it
     * is, and takes the place of what the file held meanwhile. */
    for (int back = 0; back < 2; back++) {
        drop(back ? 1 : 0, "ckpt-4.safetensors", sizes[1]);
        r = program(SPECTRUM "--watch %s --watch-until 4 -o %s", in, folder_path("w.gmr"));
        assert_int_equal(r.exit, 0);
        assert_non_null(strstr(r.out, "ckpt-4.safetensors "));
        assert_null(strstr(r.out, "ckpt-2.safetensors "));
        program_free(&r);
    }
    d = program_document(
        program(SPECTRUM "--json --watch %s --watch-until 4 -o %s", in, folder_path("w.gmr")));
    assert_non_null(d);
    assert_trajectory(d, 0, 0);
    json_decref(d);

    /* From the start, elsewhere. */
    d = program_document(program(SPECTRUM "--json --watch %s --watch-until 4", in));
    assert_non_null(d);
    assert_trajectory(d, 0, 4);
    json_decref(d);

    /* Another data set does not go into the same series. */
    r = program("spectrum --method lanczos --k 3 --data gauss:k=3,d=4,n=41" NET PLAIN
                "--watch %s --watch-until 4 -o %s",
                in, folder_path("w.gmr"));
    assert_true(r.exit == 2 && program_one_line(r.err));
    assert_non_null(strstr(r.err, "of another net or other data"));
    program_free(&r);
    empty_in();
}

/* While it watches, one file is written anew with the same numbers, which is nothing new, and
 * another of the same size with others: it is measured again, and counts once. */
static void test_files_that_change(void **state)
{
    (void)state;
    char out[300], key[] = "\nckpt-4.safetensors ";
    snprintf(out, sizeof out, "%s", folder_path("out.txt"));
    folder_write("out.txt", "", 0);
    assert_int_equal(sizes[1], sizes[2]);
    drop(0, "ckpt-2.safetensors", sizes[0]);
    drop(1, "ckpt-4.safetensors", sizes[1]);
    pid_t writer = fork();
    if (writer == 0) {
        await_text(out, key);
        drop(0, "ckpt-2.safetensors", sizes[0]);
        drop(2, "ckpt-4.safetensors", sizes[2]);
        await_texts(out, key, 2);
        drop(3, "ckpt-20.safetensors", sizes[3]);
        _exit(0);
    }
    program_result r = program("spectrum --method lanczos --k 3 -v" NET DATA
                               "--threads 1 --watch %s --watch-until 3 -o %s | tee %s",
                               in, folder_path("again.gmr"), out);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    assert_non_null(strstr(r.err, "ckpt-4.safetensors has changed since it was measured"));
    assert_null(strstr(r.err, "ckpt-2.safetensors has changed"));
    assert_int_equal(count_text(r.out, key), 2);
    assert_int_equal(count_text(r.out, "\nckpt-2.safetensors "), 1);
    assert_int_equal(count_text(r.out, "\nckpt-20.safetensors "), 1);
    program_free(&r);
    r = program("export %s --results %s", folder_path("again.gmr"), folder_path("again.json"));
    program_free(&r);
    json_t *d = json_load_file(folder_path("again.json"), 0, NULL);
    json_t *alone = program_document(
        program("spectrum --json --k 1 --params %s@10" PLAIN, folder_path("r.gmr")));
    const json_t *results = json_object_get(d, "results");
    assert_int_equal(json_array_size(results), 3);
    const json_t *second = json_array_get(results, 1);
    assert_int_equal(program_number(second, "step"), 4);
    const json_t *measured = json_object_get(json_object_get(second, "document"), "eigenvalues");
    double found = json_number_value(json_array_get(measured, 0));
    double whole = json_number_value(json_array_get(json_object_get(alone, "eigenvalues"), 0));
    assert_true(fabs(found - whole) <= 1e-10 * whole);
    json_decref(alone);
    json_decref(d);
    empty_in();
}

/* Ctrl-C while it waits: what is done is delivered, and the line says how to go on. */
static void test_interrupted_watch(void **state)
{
    (void)state;
    char out[300];
    snprintf(out, sizeof out, "%s", folder_path("out.txt"));
    folder_write("out.txt", "", 0);
    drop(0, "ckpt-2.safetensors", sizes[0]);
    drop(1, "ckpt-4.safetensors", sizes[1]);
    pid_t pid = fork();
    if (pid == 0) {
        char command[2048];
        snprintf(command, sizeof command,
                 "exec %s decompose" NET DATA PLAIN "--watch %s -o %s > %s 2> %s", GM_PROGRAM, in,
                 folder_path("i.gmr"), out, folder_path("err.txt"));
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(99);
    }
    await_text(out, "\n     4 ");
    kill(pid, SIGINT);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    char *err = program_slurp(folder_path("err.txt")), *text = program_slurp(out);
    assert_true(program_one_line(err));
    assert_non_null(strstr(err, "interrupted after 2 points; to go on: gradiometer decompose"));
    assert_non_null(strstr(text, "2 files of "));
    free(err);
    free(text);

    /* It goes on, and the run file has a result for each. */
    drop(2, "ckpt-10.safetensors", sizes[2]);
    json_t *d = program_document(program("decompose --json" NET DATA PLAIN
                                         "--watch %s --watch-until 3 -o %s",
                                         in, folder_path("i.gmr")));
    assert_non_null(d);
    const json_t *list = json_object_get(d, "trajectory");
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(program_number(json_array_get(list, 0), "step"), 10);
    json_decref(d);
    program_result r =
        program("export %s --results %s", folder_path("i.gmr"), folder_path("i.json"));
    program_free(&r);
    d = json_load_file(folder_path("i.json"), 0, NULL);
    list = json_object_get(d, "results");
    assert_int_equal(json_array_size(list), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(program_number(json_array_get(list, i), "step"), steps[i]);
    }
    json_decref(d);
    empty_in();
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *part;
    } cases[] = {
        {"spectrum --watch /no/where" NET DATA, "--watch: /no/where cannot be read: No such file"},
        {"spectrum --watch /tmp --params x.npy" NET DATA, "--params: found beside --watch"},
        {"decompose --watch-until 3" NET DATA, "--watch-until: found without --watch"},
        {"decompose --watch-idle 3" NET DATA, "--watch-idle: found without --watch"},
        {"spectrum --watch /tmp --data-resample 3" NET DATA,
         "--data-resample: found beside several"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program_result r = program("%s", cases[i].arguments);
        if (r.exit != 2 || !program_one_line(r.err) || !strstr(r.err, cases[i].part))
            fail_msg("status %d, \"%s\", expected \"%s\"", r.exit, r.err, cases[i].part);
        program_free(&r);
    }
    /* Nothing comes. */
    json_t *d = program_document(
        program("decompose --json --watch %s --watch-idle 0.1" NET DATA PLAIN, in));
    assert_non_null(d);
    assert_int_equal(json_array_size(json_object_get(d, "trajectory")), 0);
    json_decref(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_as_they_come),
        cmocka_unit_test(test_files_that_change),
        cmocka_unit_test(test_interrupted_watch),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, make_checkpoints, remove_checkpoints);
}
