#include "cli/startup.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gradiometer/selftest.h"
#include "kernels/isa.h"

/* Why this process is a second start: value of the guard variable. */
static const char guard[] = "GRADIOMETER_REEXEC";
static const char kernels[] = "kernels", waiting[] = "waiting", both[] = "kernels+waiting";

#define SWITCHED                                                                                   \
    "OpenBLAS computed wrong results on this processor with its own choice of kernels; the "       \
    "program switched to OPENBLAS_CORETYPE=Haswell"
#define SLEEPS                                                                                     \
    "idle threads sleep after a few microseconds (GOMP_SPINCOUNT=1000), so that other programs "   \
    "do "                                                                                          \
    "not stall this one; OMP_WAIT_POLICY or GOMP_SPINCOUNT choose otherwise"

/* Returns only where the program could not be started again. */
static void execute_again(const char *reason, char **argv)
{
    bool ready = setenv(guard, reason, 1) == 0;
    if (reason != waiting) ready = ready && setenv("OPENBLAS_CORETYPE", "Haswell", 1) == 0;
    if (reason != kernels) ready = ready && setenv("GOMP_SPINCOUNT", "1000", 1) == 0;
    if (ready) execv("/proc/self/exe", argv);
}

/* The process that started this one has run the self-test here and says so. */
static bool is_tested(void)
{
    const char *said = getenv("GRADIOMETER_SELFTEST");
    return said && strcmp(said, "passed") == 0;
}

static const char *note_of(const char *reason)
{
    if (strcmp(reason, kernels) == 0) return SWITCHED;
    if (strcmp(reason, waiting) == 0) return SLEEPS;
    return strcmp(reason, both) == 0 ? SWITCHED "; " SLEEPS : "";
}

gm_status gm_cli_startup(char **argv, const char **note, gm_error *err)
{
    return gm_cli_startup_with(gm_selftest, argv, note, err);
}

gm_status gm_cli_startup_with(gm_status (*selftest)(gm_error *err), char **argv, const char **note,
                              gm_error *err)
{
    gm_error failure = {0};
    const char *second = getenv(guard);
    *note = second ? note_of(second) : "";
    /* Who starts this program may ignore the ends of children, and no child could be waited for. */
    signal(SIGCHLD, SIG_DFL);
    gm_status status = gm_isa_check(err);
    if (status != GM_OK) return status;
    /* First of all, since the self-test's own threads would spin. */
    if (!second && !getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT")) {
        execute_again(waiting, argv);
    }
    if (!is_tested()) status = selftest(&failure);
    bool waited = second && strcmp(second, waiting) == 0;
    if (status == GM_ERR_KERNEL && !getenv("OPENBLAS_CORETYPE") && (!second || waited)) {
        execute_again(waited ? both : kernels, argv);
        gm_error cause = failure;
        gm_fail(&failure, status, "%s (starting again with it failed: %s)", cause.message,
                strerror(errno));
    }
    unsetenv(guard);
    if (status != GM_OK) return gm_fail(err, status, "%s", failure.message);
    return GM_OK;
}
