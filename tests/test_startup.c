/* The start-up: this program executes itself as a child with self-tests that fail in known ways and
 * compares exit status and output. */
#include "support.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gradiometer/selftest.h"

/* ---- the child ----------------------------------------------------------------------------- */

static gm_status always_right(gm_error *err)
{
    (void)err;
    return GM_OK;
}

static gm_status always_wrong(gm_error *err)
{
    return gm_fail(err, GM_ERR_KERNEL, "wrong; try OPENBLAS_CORETYPE=Haswell");
}

/* A processor on which only Haswell's kernels are right. */
static gm_status right_with_haswell(gm_error *err)
{
    const char *core = getenv("OPENBLAS_CORETYPE");
    return core && strcmp(core, "Haswell") == 0 ? GM_OK : always_wrong(err);
}

static gm_status no_memory(gm_error *err)
{
    return gm_fail(err, GM_ERR_MEMORY, "no memory");
}

/* argv: program, "child", self-test, an argument that must survive. Prints one line: status, note
 * or message, what the environment holds afterwards, the argument. */
static int run_child(char **argv)
{
    const struct {
        const char *name;
        gm_status (*selftest)(gm_error *err);
    } table[] = {{"right", always_right},
                 {"wrong", always_wrong},
                 {"haswell", right_with_haswell},
                 {"memory", no_memory}};
    gm_error err = {0};
    const char *note = NULL, *core;
    gm_status status = GM_ERR_USAGE;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(argv[2], table[i].name) == 0) {
            status = gm_cli_startup_with(table[i].selftest, argv, &note, &err);
        }
    }
    core = getenv("OPENBLAS_CORETYPE");
    const char *wait = getenv("OMP_WAIT_POLICY");
    if (!wait) wait = getenv("GOMP_SPINCOUNT");
    printf("status %d|note %s|error %s|core %s|guard %s|argument %s|wait %s\n", (int)status, note,
           err.message, core ? core : "unset", getenv("GRADIOMETER_REEXEC") ? "set" : "unset",
           argv[3], wait ? wait : "unset");
    return gm_status_exit(status);
}

/* ---- the parent ---------------------------------------------------------------------------- */

/* Runs the child with OMP_WAIT_POLICY=wait, OPENBLAS_CORETYPE=core and GRADIOMETER_REEXEC=guard
 * (NULL: unset); line gets its output. Returns its exit status. */
static int start_waiting(const char *selftest, const char *wait, const char *core,
                         const char *guard, char line[1024])
{
    int channel[2], state;
    assert_int_equal(pipe(channel), 0);
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        unsetenv("OPENBLAS_CORETYPE");
        unsetenv("GRADIOMETER_REEXEC");
        unsetenv("GOMP_SPINCOUNT");
        unsetenv("OMP_WAIT_POLICY");
        if (wait) setenv("OMP_WAIT_POLICY", wait, 1);
        if (core) setenv("OPENBLAS_CORETYPE", core, 1);
        if (guard) setenv("GRADIOMETER_REEXEC", guard, 1);
        dup2(channel[1], STDOUT_FILENO);
        close(channel[0]);
        close(channel[1]);
        execl("/proc/self/exe", "test_startup", "child", selftest, "a word", (char *)NULL);
        _exit(99);
    }
    close(channel[1]);
    size_t used = 0;
    for (ssize_t got; (got = read(channel[0], line + used, 1023 - used)) > 0;) {
        used += (size_t)got;
    }
    line[used] = 0;
    close(channel[0]);
    assert_int_equal(waitpid(child, &state, 0), child);
    assert_true(WIFEXITED(state));
    return WEXITSTATUS(state);
}

/* The same where the user has chosen how threads wait. */
static int start(const char *selftest, const char *core, const char *guard, char line[1024])
{
    return start_waiting(selftest, "active", core, guard, line);
}

static void check_line(const char *line, const char *part)
{
    if (!strstr(line, part)) fail_msg("'%s' is not in: %s", part, line);
}

static void test_right_kernels(void **state)
{
    (void)state;
    char line[1024];
    assert_int_equal(start("right", NULL, NULL, line), 0);
    check_line(line, "status 0|note |error |core unset|guard unset|argument a word|wait active\n");
    assert_int_equal(start("right", "Zen", NULL, line), 0);
    check_line(line, "|note |error |core Zen|");
}

/* One line of output: the first process printed nothing, the second one has the setting. */
static void test_switch(void **state)
{
    (void)state;
    char line[1024];
    assert_int_equal(start("haswell", NULL, NULL, line), 0);
    check_line(line, "status 0|note OpenBLAS computed wrong results");
    check_line(line, "|core Haswell|guard unset|argument a word|wait active\n");
    assert_ptr_equal(strchr(line, '\n'), strrchr(line, '\n'));
}

/* The user's choice is kept, though another one would help. */
static void test_choice_of_the_user(void **state)
{
    (void)state;
    char line[1024];
    assert_int_equal(start("haswell", "Zen", NULL, line), gm_status_exit(GM_ERR_KERNEL));
    check_line(line, "|note |error wrong; try OPENBLAS_CORETYPE=Haswell|core Zen|");
    assert_int_equal(start("haswell", "Haswell", NULL, line), 0);
    check_line(line, "|note |error |core Haswell|");
}

/* Kernels that Haswell does not mend: started again once, then an error, no loop. A guard that was
 * there from the start stops even the one time. */
static void test_no_loop(void **state)
{
    (void)state;
    char line[1024];
    assert_int_equal(start("wrong", NULL, NULL, line), gm_status_exit(GM_ERR_KERNEL));
    check_line(line, "|error wrong; try OPENBLAS_CORETYPE=Haswell|core Haswell|guard unset|");
    assert_int_equal(start("wrong", NULL, "1", line), gm_status_exit(GM_ERR_KERNEL));
    check_line(line, "|core unset|guard unset|");
}

/* A failure that is none of the kernels' starts nothing again. */
static void test_other_failures(void **state)
{
    (void)state;
    char line[1024];
    assert_int_equal(start("memory", NULL, NULL, line), gm_status_exit(GM_ERR_MEMORY));
    check_line(line, "|error no memory|core unset|");
}

/* Where nothing was said about waiting, threads soon sleep, and wrong kernels are switched as well.
 */
static void test_waiting(void **state)
{
    (void)state;
    char line[1024];
    assert_int_equal(start_waiting("right", NULL, NULL, NULL, line), 0);
    check_line(line, "status 0|note idle threads sleep");
    check_line(line, "|core unset|guard unset|argument a word|wait 1000\n");
    assert_int_equal(start_waiting("haswell", NULL, NULL, NULL, line), 0);
    check_line(line, "status 0|note OpenBLAS computed wrong results");
    check_line(line, "idle threads sleep");
    check_line(line, "|core Haswell|guard unset|argument a word|wait 1000\n");
    assert_int_equal(start_waiting("wrong", NULL, NULL, NULL, line), gm_status_exit(GM_ERR_KERNEL));
    check_line(line, "|error wrong; try OPENBLAS_CORETYPE=Haswell|core Haswell|guard unset|");
    assert_int_equal(start_waiting("wrong", NULL, "Zen", NULL, line),
                     gm_status_exit(GM_ERR_KERNEL));
    check_line(line, "|core Zen|guard unset|");
}

/* Only "passed" leaves the self-test out: these kernels would not have passed it. */
static void test_tested_by_another(void **state)
{
    (void)state;
    char line[1024];
    setenv("GRADIOMETER_SELFTEST", "passed", 1);
    assert_int_equal(start("wrong", NULL, NULL, line), 0);
    check_line(line, "status 0|note |error |core unset|");
    setenv("GRADIOMETER_SELFTEST", "1", 1);
    assert_int_equal(start("wrong", NULL, NULL, line), gm_status_exit(GM_ERR_KERNEL));
    unsetenv("GRADIOMETER_SELFTEST");
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "child") == 0) return run_child(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_kernels),      cmocka_unit_test(test_switch),
        cmocka_unit_test(test_choice_of_the_user), cmocka_unit_test(test_no_loop),
        cmocka_unit_test(test_other_failures),     cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_tested_by_another),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "startup");
}
