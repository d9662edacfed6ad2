/* Ranks that do not agree, and ranks that die. */
#include "support.h"

#include <math.h>
#include <signal.h>
#include <time.h>

#include "ranks.h"

#define NET "--model mlp:6-5-4 --data gauss:k=4,d=6,n=23 "

static void options(void **state)
{
    (void)state;
    expect_refusal(
        mpirun("-n 2 " RANKS " spectrum " NET ": -n 1 " RANKS " spectrum " NET "--seed 1"), 2,
        "gradiometer-mpi: rank 2 was started with other options than rank 0, expected "
        "the same at all ranks\n");
    expect_refusal(mpirun("-n 1 " RANKS " --version : -n 1 " RANKS " spectrum " NET), 2,
                   "gradiometer-mpi: rank 1 was started with other options than rank 0, expected "
                   "the same at all ranks\n");
}

/* Ranks in folders of their own, where the same names mean other files, or none. */
static void files(void **state)
{
    (void)state;
    assert_int_equal(system("rm -rf mpi_a mpi_b && mkdir mpi_a mpi_b"), 0);
    static const char *const make[] = {"n=23,seed=1 -o mpi_a/d.csv", "n=23,seed=2 -o mpi_b/d.csv"};
    for (int i = 0; i < 2; i++) {
        program_result made = program("data --data gauss:k=4,d=6,%s", make[i]);
        assert_int_equal(made.exit, 0);
        program_free(&made);
    }
#define IN_FOLDERS "-n 1 -wdir mpi_a " RANKS " %s : -n 1 -wdir mpi_b " RANKS " %s"
    const char *command = "spectrum --model mlp:6-5-4 --data csv:d.csv";
    expect_refusal(mpirun(IN_FOLDERS, command, command), 2,
                   "gradiometer-mpi: data csv:d.csv: rank 1 reads other samples than rank 0\n");
    unlink("mpi_b/d.csv");
    expect_refusal(mpirun(IN_FOLDERS, command, command), 2,
                   "gradiometer-mpi: rank 1 of 2: d.csv: cannot be opened: No such file or "
                   "directory\n");
    assert_int_equal(system("rm -rf mpi_a mpi_b"), 0);
}

/* --memory is that of one rank, and each needs enough of it for one sample. */
static void memory(void **state)
{
    (void)state;
    expect_refusal(mpirun("-n 2 " RANKS " spectrum " NET "--memory 1K"), 2,
                   "gradiometer-mpi: --memory: 0.001024 MB is too small: one sample and the sums "
                   "over samples of mlp:6-5-4 need 0.001776 MB\n");
}

/* ---- kill -9 ---- */

enum { KILLS = 10 };

/* Of more runs than anybody waits for; in sketches, so that the number of runs may change. */
#define LONG                                                                                       \
    "dynamics ensemble --seed 3 --threads 1 --model mlp:6-5-4 --data gauss:k=4,d=6,n=23 --steps "  \
    "2000 --batch 4 --step 0.2 --record-every 100 --exact-runs 1 --json -q -o mpi_kill.gmr --runs"

static void pause_for(double seconds)
{
    const struct timespec t = {(time_t)seconds, (long)(1e9 * fmod(seconds, 1.0))};
    nanosleep(&t, NULL);
}

/* The process of that rank below mpirun, once it is there; 0 where mpirun ended before. */
static pid_t rank_process(pid_t mpirun, int rank)
{
    char path[64], wanted[64], text[1 << 16];
    snprintf(wanted, sizeof wanted, "OMPI_COMM_WORLD_RANK=%d", rank);
    while (waitpid(mpirun, NULL, WNOHANG) == 0) {
        int child = 0, used = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)mpirun, (int)mpirun);
        char *children = program_slurp(path);
        for (const char *at = children; at && sscanf(at, "%d%n", &child, &used) == 1; at += used) {
            snprintf(path, sizeof path, "/proc/%d/environ", child);
            FILE *file = fopen(path, "rb");
            size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
            if (file) fclose(file);
            text[size] = 0;
            for (const char *v = text; v < text + size; v += strlen(v) + 1) {
                if (strcmp(v, wanted) != 0) continue;
                free(children);
                return child;
            }
        }
        free(children);
        pause_for(0.01);
    }
    return 0;
}

/* Starts the long command with that many ranks and kills one of them a while after its runs began:
 * Open MPI may wait for ever for one that is killed in its start. */
static void kill_one(int ranks, int rank, double seconds)
{
    char command[1024], line[128];
    snprintf(command, sizeof command,
             "exec mpirun -n %d " RANKS " " LONG " 1000000 >mpi_kill.out 2>mpi_kill.err </dev/null",
             ranks);
    pid_t mpirun = fork();
    if (mpirun == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    pid_t victim = rank_process(mpirun, rank);
    assert_true(victim > 0);
    for (int i = 0; i < 6000 && !program_catches_interrupts(victim); i++) {
        pause_for(0.01);
    }
    pause_for(seconds);
    int status = 0;
    assert_int_equal(kill(victim, SIGKILL), 0);
    for (int i = 0; i < 600 && waitpid(mpirun, &status, WNOHANG) == 0; i++) {
        pause_for(0.1);
    }
    assert_int_equal(waitpid(mpirun, NULL, WNOHANG),
                     -1); /* gone: seconds, on a busy machine more */
    char *err = program_slurp("mpi_kill.err");
    snprintf(line, sizeof line, "process rank %d with PID", rank);
    if (!strstr(err, line)) fail_msg("expected a line with '%s', printed\n%s", line, err);
    free(err);
    assert_int_not_equal(status, 0);
}

/* Runs that the file holds; it must be whole. */
static size_t runs_done(int kills)
{
    if (access("mpi_kill.gmr", F_OK) != 0) return 0;
    program_result looked = program("export mpi_kill.gmr --results mpi_kill.json");
    if (looked.exit != 0) fail_msg("after %d kills: %s", kills, looked.err);
    program_free(&looked);
    json_t *all = json_load_file("mpi_kill.json", 0, NULL);
    assert_non_null(all);
    const json_t *result = json_array_get(json_object_get(all, "results"), 0);
    json_int_t runs =
        json_integer_value(json_object_get(json_object_get(result, "document"), "runs"));
    json_decref(all);
    return (size_t)runs;
}

/* Whatever was done goes on with other ranks, and what one process makes of it in the end is what
 * it would have been without the kills. */
static void killed(void **state)
{
    (void)state;
    static const int ranks[KILLS] = {2, 3, 2, 4, 3, 2, 3, 4, 2, 3};
    uint64_t dice = 1;
    size_t done = 0;
    unlink("mpi_kill.gmr");
    for (int i = 0; i < KILLS; i++) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        double moment = 0.8 * (double)(dice >> 40) / (double)(1 << 24);
        kill_one(ranks[i], (int)(dice >> 33) % ranks[i], moment);
        size_t now = runs_done(i + 1);
        assert_true(now >= done);
        done = now;
    }
    assert_true(done > 0);
    json_t *last = program_document(program(LONG " %zu", done + 5));
    unlink("mpi_kill.gmr");
    json_t *once = program_document(program(LONG " %zu", done + 5));
    assert_non_null(last);
    assert_non_null(once);
    expect_same("", once, last, 0.0, 0.0);
    json_decref(once);
    json_decref(last);
    assert_int_equal(system("rm -f mpi_kill.*"), 0); /* a kill may leave a half-made file, too */
}

int main(int argc, char **argv)
{
    ranks_prepare();
    const struct CMUnitTest tests[] = {cmocka_unit_test(options), cmocka_unit_test(files),
                                       cmocka_unit_test(memory), cmocka_unit_test(killed)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "mpi_failures");
}
