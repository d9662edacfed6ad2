#include "cli/startup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gradiometer/selftest.h"
#include "kernels/isa.h"

static const char setting[] = "OPENBLAS_CORETYPE";
static const char guard[] = "GRADIOMETER_REEXEC";

/* Returns only where the program could not be started again. */
static gm_status execute_again(char **argv, gm_error *err)
{
    if (setenv(setting, "Haswell", 1) == 0 && setenv(guard, "1", 1) == 0) {
        execv("/proc/self/exe", argv);
    }
    gm_error cause = *err;
    return gm_fail(err, GM_ERR_KERNEL, "%s (starting again with it failed: %s)", cause.message,
                   strerror(errno));
}

gm_status gm_cli_startup(char **argv, const char **note, gm_error *err)
{
    return gm_cli_startup_with(gm_selftest, argv, note, err);
}

gm_status gm_cli_startup_with(gm_status (*selftest)(gm_error *err), char **argv, const char **note,
                              gm_error *err)
{
    gm_error failure = {0};
    bool again = getenv(guard) && getenv(setting);
    *note = "";
    gm_status status = gm_isa_check(err);
    if (status != GM_OK) return status;
    status = selftest(&failure);
    if (status == GM_ERR_KERNEL && !getenv(guard) && !getenv(setting)) {
        status = execute_again(argv, &failure);
    }
    unsetenv(guard);
    if (status != GM_OK) return gm_fail(err, status, "%s", failure.message);
    if (again) {
        *note = "OpenBLAS computed wrong results on this processor with its own choice of kernels; "
                "the program switched to OPENBLAS_CORETYPE=Haswell";
    }
    return GM_OK;
}
