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

/* Starts the command with that many ranks, its output in mpi_kill.out and mpi_kill.err. */
static pid_t begin(int ranks, const char *command)
{
    char line[1024];
    snprintf(line, sizeof line,
             "exec mpirun -n %d " RANKS " %s >mpi_kill.out 2>mpi_kill.err </dev/null", ranks,
             command);
    pid_t mpirun = fork();
    if (mpirun == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    return mpirun;
}

/* That rank's process, as soon as its long work has begun. */
static pid_t rank_at_work(pid_t mpirun, int rank)
{
    pid_t process = rank_process(mpirun, rank);
    assert_true(process > 0);
    for (int i = 0; i < 6000 && !program_catches_interrupts(process); i++) {
        pause_for(0.01);
    }
    return process;
}

/* Exit status (128 + signal) of the job, which must end by itself: within seconds, on a busy
 * machine more. *err: what it said, freed by free. */
static int end_of(pid_t mpirun, char **err)
{
    int status = 0;
    pid_t ended = 0;
    for (int i = 0; i < 600 && ended == 0; i++) {
        ended = waitpid(mpirun, &status, WNOHANG);
        if (ended == 0) pause_for(0.1);
    }
    assert_int_equal(ended, mpirun);
    *err = program_slurp("mpi_kill.err");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Kills one of the ranks a while after its runs began, or after its process did: within MPI's own
 * start, then, most of the time. */
static void kill_one(int ranks, int rank, bool at_work, double seconds)
{
    char line[128], *err;
    pid_t mpirun = begin(ranks, LONG " 1000000");
    pid_t victim = at_work ? rank_at_work(mpirun, rank) : rank_process(mpirun, rank);
    assert_true(victim > 0);
    pause_for(seconds);
    assert_int_equal(kill(victim, SIGKILL), 0);
    assert_int_not_equal(end_of(mpirun, &err), 0);
    snprintf(line, sizeof line, "rank %d with PID", rank);
    /* mpirun does not say which where it is still about to start the others. */
    bool told = strstr(err, line) || (!at_work && strstr(err, "the job has been aborted"));
    if (!told) fail_msg("expected a line with '%s', printed\n%s", line, err);
    free(err);
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
        bool at_work = i % 2 == 0;
        kill_one(ranks[i], (int)(dice >> 33) % ranks[i], at_work, at_work ? moment : moment / 4);
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

/* ---- Ctrl-C ---- */

/* How many lines of text begin so, and the number behind that in the last of them. */
static int lines_with(const char *text, const char *start, size_t *number)
{
    int count = 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, start, strlen(start)) != 0) continue;
        count++;
        *number = strtoull(line + strlen(start), NULL, 10);
    }
    return count;
}

/* One rank of two is asked to stop, by each way that asks: all end after the same step, which the
 * line says that they print with one voice; status 1. */
static void one_is_asked(void **state)
{
    (void)state;
    static const char *const start = "gradiometer-mpi: interrupted after ";
    static const char *const commands[] = {
        "dynamics predict --threads 1 " NET "--draws 20000000 --batch 4 --step 0.1 -q",
        "spectrum --threads 1 --model mlp:40-90-9 --data gauss:k=9,d=40,n=300 --method trace "
        "--max-products 3000 -q"};
    for (int c = 0; c < 2; c++) {
        char *err;
        size_t done = 0;
        pid_t mpirun = begin(2, commands[c]), other = rank_at_work(mpirun, 1);
        pause_for(0.2);
        assert_int_equal(kill(other, c ? SIGTERM : SIGINT), 0);
        int status = end_of(mpirun, &err);
        if (status != 1 || lines_with(err, start, &done) != 1 || strstr(err, "rank 1 of 2"))
            fail_msg("exit status %d, printed\n%s", status, err);
        free(err);
    }
}

/* All are, by the signal that mpirun passes on: what was finished is kept, and goes on. */
static void all_are_asked(void **state)
{
    (void)state;
    char *err;
    size_t done = 0;
    unlink("mpi_kill.gmr");
    pid_t mpirun = begin(3, LONG " 1000000");
    for (int r = 0; r < 3; r++) {
        rank_at_work(mpirun, r);
    }
    pause_for(0.5);
    assert_int_equal(kill(mpirun, SIGUSR1), 0);
    int status = end_of(mpirun, &err);
    if (status != 1 || lines_with(err, "gradiometer-mpi: interrupted after ", &done) != 1)
        fail_msg("exit status %d, printed\n%s", status, err);
    free(err);
    assert_int_equal(runs_done(0), done);
    assert_int_equal(system("rm -f mpi_kill.*"), 0);
}

int main(int argc, char **argv)
{
    ranks_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options), cmocka_unit_test(files),        cmocka_unit_test(memory),
        cmocka_unit_test(killed),  cmocka_unit_test(one_is_asked), cmocka_unit_test(all_are_asked)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "mpi_failures");
}
