/* Commands as a shell takes them. */
#ifndef GM_BASE_SHELL_H
#define GM_BASE_SHELL_H

#include <stddef.h>

#include "gradiometer/status.h"

/* The words [count] with a blank between each, in quotes where a shell would see more in them than
 * letters; gm_free. NULL without memory. */
char *gm_shell_line(size_t count, const char *const *word, gm_error *err);

#endif
