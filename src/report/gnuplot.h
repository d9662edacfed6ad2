/* gnuplot as a child process: a script in, a picture out. The only file that knows how it is run.
 */
#ifndef GM_REPORT_GNUPLOT_H
#define GM_REPORT_GNUPLOT_H

#include <stddef.h>

#include "gradiometer/status.h"

/* Runs script [length] and hands back what it wrote to its standard output (*output, [*size] bytes
 * and a terminating 0, freed by gm_free). Neither a shell nor a file on disk is involved, and the
 * user's gnuplot settings are not read. GM_ERR_DEPENDENCY where gnuplot is not installed,
 * GM_ERR_NUMERIC where it fails, with what it said and `what` in the message. Cost: one process,
 * some 20 ms. */
gm_status gm_gnuplot_run(const char *what, const char *script, size_t length, char **output,
                         size_t *size, gm_error *err);

#endif
