/* A training process killed with SIGKILL again and again, and resumed until done, leaves the same
 * run file as one never killed: settings, metrics, checkpoints, state and what was tracked, to the
 * bit. When the
 * kills come depends on the clock; what must hold after them does not. */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "folder.h"
#include "gradiometer/track.h"
#include "sgd_case.h"
#include "support.h"

/* Each step of a worker takes at least STEP_MICROSECONDS, so that KILLS waits of at most
 * LONGEST_WAIT microseconds cannot reach the last step. */
enum {
    STEPS = GM_TEST_SIZE(750, 450),
    STEP_MICROSECONDS = 1000,
    KILLS = 14,
    LONGEST_WAIT = GM_TEST_SIZE(50000, 30000)
};

typedef struct variant {
    gm_dtype dtype;
    gm_replacement replacement;
    double momentum;
    uint64_t checkpoint_every;
    uint64_t kills; /* at most KILLS */
    gm_optimizer optimizer;
    gm_precondition precondition;
    const char *track;  /* NULL without */
    const char *policy; /* NULL: fixed */
} variant;

/* Where something is tracked, the net is large enough for its solver to start from the subspace of
 * the file instead of forming the matrix. */
static const variant variants[] = {
    {GM_F64, GM_REPLACEMENT_YES, 0.9, 1, KILLS, .track = NULL},
    {GM_F32, GM_REPLACEMENT_EPOCH, 0.0, 7, KILLS, .track = NULL},
    {GM_F64, GM_REPLACEMENT_YES, 0.9, 1, 7, .track = "spectrum:k=2,every=11,tol=1e-6"},
    {GM_F32, GM_REPLACEMENT_NO, 0.0, 7, 5, .track = "spectrum:k=2,every=5,which=BE"},
    {GM_F32, GM_REPLACEMENT_YES, 0.0, 5, 4, .optimizer = GM_OPTIMIZER_ADAM},
    {GM_F64, GM_REPLACEMENT_YES, 0.0, 1, 4, .precondition = GM_PRECONDITION_RMSPROP},
    {GM_F32, GM_REPLACEMENT_EPOCH, 0.0, 3, 4, .precondition = GM_PRECONDITION_ADAGRAD},
    {GM_F64, GM_REPLACEMENT_NO, 0.0, 4, 4, .precondition = GM_PRECONDITION_DIAG_MOMENT},
    {GM_F64, GM_REPLACEMENT_YES, 0.0, 1, 4, .precondition = GM_PRECONDITION_DIAG_HESSIAN},
    {GM_F64, GM_REPLACEMENT_YES, 0.0, 1, 4, .policy = "oracle:every=9,max=0.05"},
    {GM_F32, GM_REPLACEMENT_NO, 0.0, 6, 4, .policy = "estimated:every=40,max=0.05"}};

/* ---- the process that trains ---- */

enum { TO_PARENT = 3 }; /* its end of a pipe: the number of each step done */

static bool tracker_due(void *tracker, uint64_t t)
{
    return gm_tracker_due(tracker, t);
}

static gm_status tracker_measure(void *tracker, uint64_t t, const double *theta, gm_error *err)
{
    return gm_tracker_measure(tracker, t, theta, err);
}

static gm_status tracker_save(void *tracker, gm_run *run, gm_error *err)
{
    return gm_tracker_save(tracker, run, err);
}

/* The tracker of a variant on the hooks, where the run stands. */
static gm_status track(const sgd_case *c, const variant *v, gm_run *run, gm_train_hooks *hooks,
                       gm_tracker **tracker, gm_error *err)
{
    gm_track_options o;
    *tracker = NULL;
    if (!v->track) return GM_OK;
    gm_track_options_default(&o);
    gm_status status = gm_track_options_parse(v->track, &o, err);
    if (!status) status = gm_track_options_resolve(&o, c->problem, err);
    if (!status) status = gm_tracker_create(c->problem, &o, 21, STEPS, tracker, err);
    if (!status) status = gm_tracker_load(*tracker, run, err);
    hooks->context = *tracker;
    hooks->due = tracker_due;
    hooks->measure = tracker_measure;
    hooks->save = tracker_save;
    return status;
}

static bool slow_down(void *context)
{
    (void)context;
    struct timespec pause = {0, STEP_MICROSECONDS * 1000};
    nanosleep(&pause, NULL);
    return false;
}

static void report_step(void *context, uint64_t t, uint64_t steps, double loss)
{
    (void)context;
    (void)steps;
    (void)loss;
    if (write(TO_PARENT, &t, sizeof t) != (ssize_t)sizeof t) _exit(9);
}

/* Starts the training of path, or goes on with it where a state was saved. */
static gm_status work_on(const sgd_case *c, const variant *v, const char *path, bool slow,
                         gm_error *err)
{
    gm_run *run = NULL;
    gm_run_state *state = NULL;
    gm_train_result result = {0};
    gm_train_hooks hooks = {.stop = slow ? slow_down : NULL, .progress = slow ? report_step : NULL};
    gm_tracker *tracker = NULL;
    double *theta = calloc(c->p, sizeof *theta);
    gm_status status = GM_OK;
    if (access(path, F_OK) == 0) {
        status = gm_run_open(path, GM_RUN_WRITE, &run, err);
        if (!status) status = gm_run_load_state(run, &state, err);
    }
    if (!status && state) {
        status = track(c, v, run, &hooks, &tracker, err);
        if (!status) status = gm_train_resume(c->problem, NULL, &hooks, run, theta, &result, err);
    } else if (!status) {
        gm_run_close(run);
        run = NULL;
        gm_train_options o;
        gm_train_options_default(&o);
        o.steps = STEPS;
        o.batch = 4;
        o.step = 0.01;
        o.seed = 21;
        o.momentum = v->momentum;
        if (v->policy) status = gm_policy_parse(v->policy, &o.policy, &o.step, err);
        o.replacement = v->replacement;
        o.checkpoint_every = v->checkpoint_every;
        o.optimizer = v->optimizer;
        o.precondition = v->precondition;
        gm_net_init(c->net, GM_INIT_HE, 9, 0, theta);
        if (!status) status = gm_run_create(path, true, NULL, 0, &run, err);
        if (!status) status = track(c, v, run, &hooks, &tracker, err);
        if (!status) status = gm_train(c->problem, NULL, &o, &hooks, run, theta, &result, err);
    }
    if (!status && result.outcome != GM_TRAIN_FINISHED)
        status = gm_fail(err, GM_ERR_NUMERIC, "%s", result.message);
    gm_tracker_free(tracker);
    gm_run_free(state);
    gm_run_close(run);
    free(theta);
    return status;
}

static int work(const char *path, const char *number, bool slow)
{
    const variant *v = &variants[atoi(number)];
    gm_error err = {0};
    sgd_case c;
    gm_status status = sgd_case_open(
        &c, 10, 4, v->track ? "mlp:4-30-1,act=tanh" : "mlp:4-3-1,act=tanh", v->dtype, &err);
    if (!status) status = work_on(&c, v, path, slow, &err);
    sgd_case_close(&c);
    if (status) fprintf(stderr, "worker: %s\n", err.message);
    return gm_status_exit(status);
}

/* ---- the process that kills ---- */

static const char *program;

/* The worker runs in a fresh image of this program: OpenMP does not survive a plain fork. *pipe_end
 * receives the end to read its steps from. */
static pid_t start_worker(const char *path, size_t number, bool slow, int *pipe_end)
{
    int ends[2];
    char text[16];
    snprintf(text, sizeof text, "%zu", number);
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        if (ends[1] != TO_PARENT && dup2(ends[1], TO_PARENT) < 0) _exit(8);
        execl(program, program, slow ? "slow" : "fast", path, text, (char *)NULL);
        _exit(7);
    }
    close(ends[1]);
    *pipe_end = ends[0];
    return child;
}

static int wait_for(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void finish_worker(const char *path, size_t number)
{
    int end;
    int status = wait_for(start_worker(path, number, false, &end));
    close(end);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Kills a worker some time after its first step (or, `early`, wherever it then is in starting);
 * returns the last step that it reported done, 0 for none. */
static uint64_t kill_worker(const char *path, size_t number, bool early, uint64_t microseconds)
{
    int end;
    uint64_t step = 0, last = 0;
    pid_t child = start_worker(path, number, true, &end);
    if (!early) {
        assert_int_equal(read(end, &step, sizeof step), sizeof step);
        last = step;
    }
    struct timespec pause = {0, (long)microseconds * 1000};
    nanosleep(&pause, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    int status = wait_for(child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (read(end, &step, sizeof step) == (ssize_t)sizeof step) {
        last = step;
    }
    close(end);
    return last;
}

/* After a kill: no more steps are lost than --checkpoint-every, and metrics and state are of one
 * commit. */
static void check_left(const char *path, const variant *v, uint64_t done)
{
    gm_error err;
    gm_run *run = NULL;
    gm_run_state *state = NULL;
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    if (gm_run_open(path, GM_RUN_READ, &run, &err) || gm_run_load_state(run, &state, &err) ||
        gm_run_metric(run, "batch_loss", &step, &value, &count, &err))
        fail_msg("%s", err.message);
    assert_non_null(state);
    assert_true((uint64_t)state->step + v->checkpoint_every >= done);
    assert_int_equal(count, state->step);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(step[i], i);
    }
    gm_run_free(step);
    gm_run_free(value);
    gm_run_free(state);
    gm_run_close(run);
}

static void kills_change_nothing(void **unused)
{
    (void)unused;
    for (size_t number = 0; number < sizeof variants / sizeof *variants; number++) {
        const char *whole = folder_path("whole.gmr"), *killed = folder_path("killed.gmr");
        gm_stream stream = gm_stream_of(31, GM_PURPOSE_TEST, (uint32_t)number);
        finish_worker(whole, number);
        for (uint64_t i = 0; i < variants[number].kills; i++) {
            bool early = i % 5 == 0;
            uint64_t done = kill_worker(killed, number, early, gm_below(stream, i, LONGEST_WAIT));
            if (!early) check_left(killed, &variants[number], done);
        }
        finish_worker(killed, number);
        char *expected = run_dump(whole), *found = run_dump(killed);
        assert_non_null(expected);
        assert_non_null(found);
        char last[32];
        snprintf(last, sizeof last, "batch_loss %d ", STEPS - 1);
        assert_non_null(strstr(expected, last));
        if (strcmp(found, expected) != 0) fail_msg("the killed run %zu differs", number);
        free(expected);
        free(found);
        folder_empty();
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kills_change_nothing)};
    char self[4096];
    if (argc == 4) return work(argv[2], argv[3], strcmp(argv[1], "slow") == 0);
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) return 1;
    self[length] = '\0';
    program = self;
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "resume");
    return folder_remove(NULL) ? 1 : failed;
}
