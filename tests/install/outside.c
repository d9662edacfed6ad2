/* A program of somebody else's: the largest Hessian eigenvalue of a small net, by the installed
 * library alone. */
#include <gradiometer/gradiometer.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    gm_error err = {0};
    gm_status status = gm_selftest(&err);
    if (status) fprintf(stderr, "%s\n", err.message);
    printf("gradiometer %s\n", gm_version());
    return gm_status_exit(status);
}
