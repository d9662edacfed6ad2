/* gradiometer study as a user runs it: cells against the same commands by hand, kills and
 * resumption, failures, refusals. What the file may hold is tested in test_study.c. */
#include "support.h"

#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "folder.h"
#include "gradiometer/random.h"
#include "program.h"

#define HEAD                                                                                       \
    "name: tiny\n"                                                                                 \
    "data:\n"                                                                                      \
    "  - {name: g, train: 'gauss:k=3,d=4,n=20', test: 'gauss:k=3,d=4,n=30'}\n"                     \
    "model: ['mlp:4-3-3']\n"                                                                       \
    "steps: 40\n"                                                                                  \
    "batch: [5]\n"
/* Two cells of three commands. */
#define GRID                                                                                       \
    HEAD "random_labels: [0, 0.5]\n"                                                               \
         "measure:\n"                                                                              \
         "  - {run: spectrum --k 2, at: [start, end]}\n"

static const char *write_study(const char *name, const char *text)
{
    folder_write(name, text, strlen(text));
    return folder_path(name);
}

static int remove_all(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static json_t *read_json(const char *name)
{
    json_t *document = json_load_file(folder_path(name), 0, NULL);
    assert_non_null(document);
    return document;
}

static bool there(const char *name)
{
    return access(folder_path(name), F_OK) == 0;
}

/* Exit status 2 and one line that contains this. */
static void is_refused(program_result r, const char *message)
{
    if (r.exit != 2 || !program_one_line(r.err) || !strstr(r.err, message))
        fail_msg("exit %d, '%s', expected '%s'", r.exit, r.err, message);
    assert_string_equal(r.out, "");
    program_free(&r);
}

static program_result study(const char *file, const char *rest)
{
    return program("study %s -o %s -q %s", file, folder_path("out"), rest);
}

/* ---- what it does ---- */

static void same_number(const json_t *a, const json_t *b, const char *key)
{
    const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    assert_true(x && json_equal(x, y));
}

static void test_cells(void **state)
{
    (void)state;
    const char *file = write_study("grid.yaml", GRID);
    program_result r = program("study %s --dry-run --jobs 3", file);
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "2 processes"));
    assert_non_null(strstr(r.out, "g_labels0.5"));
    assert_non_null(strstr(r.out, "2 cells, 6 commands, 6 of them to run"));
    assert_non_null(strstr(r.out, "within a factor"));
    assert_null(strstr(r.out, "of this machine"));
    assert_null(strstr(r.out, "3 processes")); /* there are two cells */
    program_free(&r);
    r = program("study %s --dry-run",
                write_study("large.yaml",
                            "name: a\ndata: [{name: g, train: 'gauss:k=3,d=4,n=20'}]\n"
                            "model: ['mlp:4-99999999999-3']\nbatch: [5]\n"));
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "GB of this machine"));
    program_free(&r);
    assert_false(there("out"));

    r = study(file, "--jobs 2");
    assert_int_equal(r.exit, 0);
    assert_string_equal(r.err, "");
    program_free(&r);
    assert_true(there("out/index.html") && there("out/cells/g_labels0.5.html"));
    is_refused(program("report %s -o x.html", folder_path("out")),
               "--output: the pages of a study");
    char command[512]; /* by somebody who does not wait for children */
    snprintf(command, sizeof command, "trap '' CHLD; exec %s report %s -q", GM_PROGRAM,
             folder_path("out"));
    unlink(folder_path("out/cells/g_labels0.5.html"));
    assert_int_equal(system(command), 0);
    assert_true(there("out/cells/g_labels0.5.html"));
    json_t *index = read_json("out/index.json"), *cells = json_object_get(index, "cells");
    assert_int_equal(json_array_size(cells), 2);
    json_t *cell = json_array_get(cells, 1);
    assert_string_equal(json_string_value(json_object_get(cell, "name")), "g_labels0.5");
    assert_string_equal(json_string_value(json_object_get(cell, "status")), "finished");
    assert_true(program_number(cell, "random_labels") == 0.5 && program_number(cell, "batch") == 5);
    assert_true(json_is_null(json_object_get(cell, "subset")));
    assert_int_equal(json_array_size(json_object_get(cell, "tasks")), 3);

    /* The same by hand, in another run file. */
    int threads = (int)program_number(index, "threads");
    json_t *hand = program_document(
        program("train --model mlp:4-3-3 --data gauss:k=3,d=4,n=20 --test-data gauss:k=3,d=4,n=30 "
                "--batch 5 --random-labels 0.5 --steps 40 --threads %d -o %s --json -q",
                threads, folder_path("hand.gmr")));
    assert_non_null(hand);
    json_t *results = json_object_get(cell, "results");
    static const char *const keys[] = {"loss",     "error_rate",    "test_loss",
                                       "distance", "gradient_norm", "test_error_rate"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        same_number(hand, results, keys[i]);
    }
    json_decref(hand);
    hand = program_document(program("spectrum --k 2 --params %s --threads %d --json -q",
                                    folder_path("hand.gmr"), threads));
    json_t *measured = read_json("out/cells/g_labels0.5.spectrum@end.json");
    assert_non_null(hand);
    same_number(hand, measured, "eigenvalues");
    same_number(hand, measured, "loss");
    json_decref(hand);
    json_decref(measured);
    json_decref(index);
}

/* The last cell is longer than all others together, by the plan; in fact it diverges at once. With
 * two processes it is taken first, and so done when most others are not; alone it waits for its
 * turn. */
static void test_long_cell(void **state)
{
    (void)state;
    enum { CELLS = 9 };
    const char *file = write_study("order.yaml", "name: order\n"
                                                 "model: ['mlp:4-3-3']\n"
                                                 "data:\n"
                                                 "  - name: g\n"
                                                 "    train: gauss:k=3,d=4,n=20\n"
                                                 "    batch: [2, 3, 4, 5, 6, 7, 8, 9]\n"
                                                 "    steps: 500\n"
                                                 "  - name: long\n"
                                                 "    train: gauss:k=3,d=4,n=20\n"
                                                 "    batch: [2]\n"
                                                 "    step: [1e300]\n"
                                                 "    steps: 100000000\n");
    for (int jobs = 1; jobs <= 2; jobs++) {
        char line[128], folder_name[16], name[32];
        int place = 0;
        snprintf(folder_name, sizeof folder_name, "order%d", jobs);
        snprintf(name, sizeof name, "%s/times.csv", folder_name);
        program_result r =
            program("study %s -o %s -q --jobs %d", file, folder_path(folder_name), jobs);
        assert_int_equal(r.exit, 0);
        program_free(&r);
        FILE *times = fopen(folder_path(name), "r");
        assert_non_null(times);
        for (int i = 1; fgets(line, sizeof line, times); i++) {
            if (strncmp(line, "long_", 5) == 0) place = i;
        }
        fclose(times);
        assert_true(jobs == 1 ? place == CELLS : place >= 1 && place <= CELLS / 2);
    }
}

/* On the folder of the test of cells. */
static void test_refusals(void **state)
{
    (void)state;
    const char *file = folder_path("grid.yaml");
    is_refused(study(file, ""), "holds a study; --resume goes on with it");
    program_result r = study(file, "--resume");
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "6 commands, 0 of them to run"));
    program_free(&r);
    const char *changed = write_study("changed.yaml", GRID "  - {run: bound}\n");
    is_refused(study(changed, "--resume"), ":9: measure: is not as it was");
    is_refused(study(file, "--resume --data-dir x"), "--data-dir: found x, but ");
    is_refused(study(write_study("foreign.yaml", GRID), "--resume --jobs 0"), "--jobs: ");

    int lock = open(folder_path("out/lock"), O_RDWR);
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
    is_refused(study(file, "--resume"), "another study is writing to ");
    close(lock);

    char piped[512];
    snprintf(piped, sizeof piped, "cat %s | " GM_PROGRAM " study /dev/stdin --dry-run 2>/dev/null",
             file);
    assert_int_equal(WEXITSTATUS(system(piped)), 2); /* it is read more than once */
    is_refused(program("study %s", file), "--output: not given");
    is_refused(program("study %s -o %s", file, folder), "is not empty and no study");
    is_refused(program("study %s -o %s", file, file), "is a file, expected a folder");
    is_refused(program("study %s -o %s/a/b", file, folder), "cannot be made: No such file");
}

static void grid_refused(const char *text, const char *message)
{
    is_refused(program("study %s --dry-run", write_study("bad.yaml", text)), message);
}

static void test_impossible(void **state)
{
    (void)state;
    grid_refused(HEAD "subset: [9, 4]\n", ":6: batch[0]: found 5, but there are 4 samples (cell ");
    grid_refused(HEAD "subset: [30]\n", ":7: subset[0]: found 30, but the data set has 20");
    grid_refused(HEAD "step: [0.1, fast]\n", ":7: step[1]: --step: ");
    grid_refused(HEAD "options: --optimiser adam\n", ":7: options: --optimiser: no such option");
    grid_refused(HEAD "options: --nesterov\n", ":7: options: --nesterov: needs --momentum");
    grid_refused(HEAD "precision: f16\n", ":7: precision: --precision: ");
    grid_refused(HEAD "measure: [{run: decompose -k 99}]\n",
                 ":7: measure[0].run: --k: found 99, but the net has 27 parameters");
    grid_refused(HEAD "measure: [{run: decompose --kk 9}]\n", ":7: measure[0].run: --kk: no such");
    grid_refused(HEAD "measure: [{run: bound, at: [7]}]\n", ":7: measure[0].at: found step 7");
    grid_refused(HEAD "budget: {memory: 1M}\n", ":7: budget.memory: found 1M, but ");
    grid_refused(HEAD "budget: {memory: much}\n", ":7: budget.memory: found much, expected a size");
    grid_refused("name: a\ndata: [{name: g, train: 'gauss:k=3,d=4,n=20'}]\nmodel: ['mlp:5-3']\n",
                 ":3: model[0]: mlp:5-3 takes 5 numbers a sample, but the data set has 4");
    grid_refused("name: a\ndata: [{name: g, train: 'gauss:k=3,d=4,n=20'}]\nmodel: ['mlp:4-2']\n",
                 ":3: model[0]: mlp:4-2 has 2 outputs, but the data set 3 classes");
    grid_refused(
        "name: a\ndata:\n  - name: m\n    train: mnist:$DATA/none\n    get: ask Ann\n"
        "model: ['mlp:784-10']\n",
        ":4: data[0].train: data/none/train-images-idx3-ubyte: not found, nor with .gz; to "
        "be had: ask Ann; --data-dir says where");
}

/* What a command refuses by its options is refused in the plan. */
static void test_commands(void **state)
{
    (void)state;
    static const struct {
        const char *run, *message;
    } refused[] = {
        {"dynamics predict --levels x", "--levels: found 'x', expected numbers > 0"},
        {"dynamics predict --at 0", "--at: not an option of dynamics predict"},
        {"dynamics predict --probes 1", "--probes: found 1, expected at least 2"},
        {"dynamics predict --batch 99 --replacement no",
         "--batch: 99 samples without replacement, but the data set has 20"},
        {"dynamics predict --replacement epoch", "--replacement: the batches of an epoch"},
        {"dynamics advise --draws 1", "--draws: found 1, expected at least 2"},
        {"dynamics advise --momentum 1", "--momentum: found 1, expected 0 <= B < 1"},
        {"dynamics stability --horizon 3", "--horizon: only with --observe"},
        {"dynamics stability --directions 28", "--directions: found 28, expected at most the 27"},
        {"dynamics ensemble --record lost", "--record: found 'lost', expected some of loss"},
        {"'dynamics ensemble --keep-runs 2,1'", "--keep-runs: found '2,1', expected ascending"},
        {"dynamics ensemble --step fast", "--step: "},
        {"dynamics martingale --step fast", "--step: "},
        {"dynamics martingale --step estimated", "--step: estimated depends on the batches"},
        {"'dynamics martingale --at 4,0'", "--at: found '4,0', expected ascending steps"},
        {"'dynamics martingale --at 0,7'",
         "--at: found step 7, which the training of 40 steps does not keep"},
        {"dynamics phases --at 41",
         "--at: found step 41, which the training of 40 steps does not keep"},
        {"bound --delta 2", "--delta: found 2, expected a number between 0 and 1"},
        {"bound --prior-scale wide", "--prior-scale: found 'wide', expected auto"},
        {"bound --layer-scale dense1", "--layer-scale: found 'dense1', expected NAME=S"},
        {"bound --objective kl", "--objective: expected with --optimize only"},
        {"bound --optimize 5, at: [all]", "--optimize: found it with @all"},
        {"bound rescale --magnitudes 0.5", "--magnitudes: found 0.5, expected at least 1"},
        {"bound --magnitudes 5", "--magnitudes: an option of bound rescale"},
        {"spectrum --layer dense9", "--layer dense9: not in mlp:4-3-3"},
        {"spectrum --layer dense2 -k 13", "--k: found 13, but the layer has 12 parameters"},
        {"spectrum --method dense --probes 9", "--probes: not used by --method dense"},
        {"spectrum --method density --deflate 28", "--deflate: found 28, but the net has 27"},
        {"landscape --points 1", "--points: found 1, expected at least 2"},
        {"landscape --along random --which BE", "--which: only with --along eigenvectors"},
        {"landscape --trajectory, at: [all]", "--trajectory: found beside several points"}};
    enum { EVERY = GM_TEST_SIZE(1, 3) };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i += EVERY) {
        char text[512], expected[256];
        snprintf(text, sizeof text, HEAD "measure: [{run: %s}]\n", refused[i].run);
        snprintf(expected, sizeof expected, ":7: measure[0].run: %s", refused[i].message);
        grid_refused(text, expected);
    }
    grid_refused(HEAD "options: --replacement epoch\nmeasure: [{run: dynamics phases}]\n",
                 ":8: measure[0].run: --replacement: the batches of an epoch");
    grid_refused(HEAD "loss: squared\nmeasure: [{run: bound --optimize 5}]\n",
                 ":8: measure[0].run: --optimize: found --loss squared");
    grid_refused("name: a\ndata: [{name: g, train: 'gauss:k=3,d=4,n=20'}]\n"
                 "model: ['mlp:4-3-3,act=tanh']\nmeasure: [{run: bound rescale}]\nbatch: [5]\n",
                 ":4: measure[0].run: ");
    grid_refused(HEAD "options: --track tide\n", ":7: options: --track: ");
    grid_refused(HEAD "options: --prior-steps 3\n", ":7: options: --prior-steps: expected with");
    grid_refused(HEAD "options: --beta1 0.5\n", ":7: options: --beta1: expected with --optimizer");
}

/* The studies that come with the program: their plan where the images are there, else the refusal
 * that says where to get them. */
static void test_shipped(void **state)
{
    (void)state;
    const char *variable = getenv("GM_TEST_DATA"), *data = variable ? variable : GM_SHARED_DATA;
    char mnist[1024], cifar10[1024];
    snprintf(mnist, sizeof mnist, "%s/mnist/train-images-idx3-ubyte.gz", data);
    snprintf(cifar10, sizeof cifar10, "%s/cifar10/data_batch_1.bin", data);
    bool images = access(mnist, R_OK) == 0 && access(cifar10, R_OK) == 0;
    glob_t found;
    assert_int_equal(glob(GM_FIXTURES "/../../studies/*.yaml", 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 7); /* an example, three questions in two sizes */
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *file = found.gl_pathv[i];
        bool planned = images || strstr(file, "example");
        program_result r = program("study %s --dry-run --data-dir %s", file, data);
        const char *said = planned ? strstr(r.out, "of them to run")
                                   : strstr(r.err, "not found, nor with .gz; to be had: the four");
        if (r.exit != (planned ? 0 : 2) || !said) fail_msg("%s: exit %d, %s", file, r.exit, r.err);
        program_free(&r);
    }
    globfree(&found);
}

/* ---- kills ---- */

static void kill_after(const char *file, double seconds)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execl(GM_PROGRAM, "gradiometer", "study", file, "-o", folder_path("killed"), "--resume",
              "-j", "2", (char *)NULL);
        _exit(127);
    }
    const struct timespec wait = {.tv_nsec = (long)(1e9 * seconds)};
    nanosleep(&wait, NULL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Ten moments spread over what the whole study takes; each time something more is finished or
 * nothing, never less, and the end is the index of a study that nobody killed. */
static void test_kills(void **state)
{
    (void)state;
    const char *file = write_study("grid.yaml", GRID);
    gm_stream stream = gm_stream_of(7, GM_PURPOSE_RESAMPLE, 0);
    for (uint64_t i = 0; i < 10; i++) {
        kill_after(file, 0.4 * gm_uniform(stream, i));
    }
    program_result r = program("study %s -o %s -q --resume -j 2", file, folder_path("killed"));
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char command[1024];
    /* Commands hold the folder's name; all else is equal to the bit. */
    snprintf(command, sizeof command, "sed s,%s,%s, %s | cmp - %s", folder_path("killed/"),
             folder_path("out/"), folder_path("killed/index.json"), folder_path("out/index.json"));
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "ls -d %s/cells/*.part %s/cells/*.log 2>/dev/null",
             folder_path("killed"), folder_path("killed"));
    assert_int_not_equal(system(command), 0);
}

static void test_interrupt(void **state)
{
    (void)state;
    const char *file = write_study("long.yaml", HEAD "options: --keep-every 100000\n");
    char line[512], command[1024];
    snprintf(command, sizeof command, "sed -i s/:.40/:\\ 100000000/ %s", file);
    assert_int_equal(system(command), 0);
    snprintf(line, sizeof line, "study %s -o %s -q", file, folder_path("long"));
    program_result r = program_interrupted(line);
    assert_int_equal(r.exit, 1);
    assert_true(program_one_line(r.err));
    assert_non_null(
        strstr(r.err, "interrupted, 0 of 1 cells are finished; to go on: gradiometer "));
    program_free(&r);
    json_t *index = read_json("long/index.json");
    const json_t *cell = json_array_get(json_object_get(index, "cells"), 0);
    assert_string_equal(json_string_value(json_object_get(cell, "status")), "unfinished");
    json_decref(index);
}

/* ---- failures ---- */

/* One training fails, one measurement fails, the rest is finished. */
static void test_failures(void **state)
{
    (void)state;
    const char *file =
        write_study("fail.yaml",
                    "name: f\nmodel: ['mlp:4-3-3']\nsteps: 20\nbatch: [5]\n"
                    "data:\n"
                    "  - {name: g, train: 'gauss:k=3,d=4,n=20', random_labels: [0, 0.5]}\n"
                    "  - {name: h, train: 'gauss:k=3,d=4,n=20', options: '--track spectrum:k=99'}\n"
                    "measure:\n"
                    "  - {run: spectrum -k 1}\n"
                    "  - {name: cut, run: spectrum --method lanczos -k 1 --max-products 2, only: "
                    "{random_labels: [0.5]}}\n");
    for (int again = 0; again < 2; again++) {
        program_result r =
            program("study %s -o %s -q %s", file, folder_path("fail"), again ? "--resume" : "");
        assert_int_equal(r.exit, 1);
        assert_non_null(strstr(r.err, "2 of 3 cells failed; 1 are finished\n"));
        assert_non_null(strstr(r.out, "failed     h train: --track: "));
        assert_non_null(strstr(r.out, "failed     h spectrum@end: not run, the training failed\n"));
        assert_non_null(strstr(r.out, "failed     g_labels0.5 cut@end: not converged"));
        program_free(&r);
        assert_true(there("fail/cells/g_labels0.5.spectrum@end.json"));
        assert_true(there("fail/cells/g_labels0.5.cut@end.log"));
        assert_false(there("fail/cells/h.train.json"));
    }
    json_t *index = read_json("fail/index.json");
    const json_t *cell = json_array_get(json_object_get(index, "cells"), 2);
    const json_t *task = json_array_get(json_object_get(cell, "tasks"), 0);
    assert_string_equal(json_string_value(json_object_get(cell, "status")), "failed");
    assert_true(json_is_string(json_object_get(task, "message")));
    assert_true(json_is_null(json_object_get(cell, "results")));
    json_decref(index);
}

/* A training that diverges is a result: it is kept, told apart, and not done again. */
static void test_diverged(void **state)
{
    (void)state;
    const char *file =
        write_study("wild.yaml", HEAD "step: [0.1, 1e300]\nmeasure: [{run: spectrum -k 1}]\n");
    for (int again = 0; again < 2; again++) {
        program_result r =
            program("study %s -o %s -q %s", file, folder_path("wild"), again ? "--resume" : "");
        assert_int_equal(r.exit, 0);
        assert_string_equal(r.err, "");
        assert_non_null(
            strstr(r.out, again ? "4 commands, 0 of them to run" : "4 commands, 4 of them to run"));
        assert_non_null(strstr(r.out, "diverged   g_step1e300 train: diverged at step 1 of 40"));
        assert_null(strstr(r.out, "spectrum@end"));
        assert_non_null(strstr(r.out, "finished   1 cells, 1 diverged: "));
        program_free(&r);
        assert_true(there("wild/cells/g_step1e300.train.json"));
        assert_false(there("wild/cells/g_step1e300.train.log"));
        assert_true(there("wild/cells/g_step1e300.html"));
    }
    json_t *index = read_json("wild/index.json");
    const json_t *cell = json_array_get(json_object_get(index, "cells"), 1);
    const json_t *tasks = json_object_get(cell, "tasks"), *last = json_array_get(tasks, 1);
    assert_string_equal(json_string_value(json_object_get(cell, "status")), "diverged");
    assert_true(json_is_object(json_object_get(cell, "results")));
    assert_string_equal(json_string_value(json_object_get(last, "status")), "diverged");
    assert_string_equal(json_string_value(json_object_get(last, "message")),
                        "not run, the training diverged");
    json_decref(index);
}

/* A disk of so many kilobytes, in a name space of our own, fills while the cells are at work; with
 * more room the study goes on to the index of the first test. */
static void test_full_disk(void **state)
{
    (void)state;
    char command[2048], said[256];
    assert_int_equal(mkdir(folder_path("disk"), 0777), 0);
    snprintf(said, sizeof said, "%s", folder_path("disk.err"));
    snprintf(
        command, sizeof command,
        "unshare -Urm sh -c 'cd %s && mount -t tmpfs -o size=240k none disk || exit 77; "
        "%s study grid.yaml -o disk/out -q -j 2 >/dev/null 2>disk.err; test $? = 2 || exit 2; "
        "mount -o remount,size=64m none disk || exit 77; "
        "%s study grid.yaml -o disk/out -q -j 2 --resume >/dev/null || exit 3; "
        "sed s,disk/out/,%s/, disk/out/index.json | cmp - out/index.json || exit 4' 2>/dev/null",
        folder, GM_PROGRAM, GM_PROGRAM, folder_path("out"));
    int result = system(command);
    if (WEXITSTATUS(result) == 77 || WEXITSTATUS(result) == 1) {
        print_message("no disk of our own here (unshare, mount): not tested\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(result), 0);
    FILE *file = fopen(said, "r");
    char line[1024] = "";
    assert_true(file && fgets(line, sizeof line, file));
    fclose(file);
    if (!strstr(line, "disk/out: No space left on device: ") ||
        !strstr(line, "once there is room: gradiometer study grid.yaml -o disk/out --resume\n"))
        fail_msg("%s", line);
}

/* Names and titles of the file end as text in the pages. */
static void test_hostile(void **state)
{
    (void)state;
    const char *file = write_study(
        "hostile.yaml", "name: '<b>&\"'\ntitle: '<script>alert(1)</script>'\n"
                        "question: '</p><script>alert(2)</script>'\n"
                        "data: [{name: '<script>alert(3)</script>', train: 'gauss:k=3,d=4,n=20'}]\n"
                        "model: ['mlp:4-3-3']\nsteps: 5\nbatch: [5, 10]\n");
    program_result r = program("study %s -o %s -q", file, folder_path("hostile"));
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char command[512];
    snprintf(command, sizeof command, "grep -rliE '<script>alert|<b>&' %s --include=*.html",
             folder_path("hostile"));
    assert_int_equal(WEXITSTATUS(system(command)), 1); /* grep found none */
    snprintf(command, sizeof command, "grep -q '&lt;script&gt;alert(1)' %s",
             folder_path("hostile/index.html"));
    assert_int_equal(system(command), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells),     cmocka_unit_test(test_long_cell),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_commands),  cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_kills),     cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_failures),  cmocka_unit_test(test_diverged),
        cmocka_unit_test(test_full_disk), cmocka_unit_test(test_hostile)};
    (void)argc;
    (void)argv;
    return cmocka_run_group_tests_name("cli_study", tests, folder_make, remove_all);
}
