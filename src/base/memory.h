/* The one way to own memory: zeroed, 64-byte aligned arrays whose size is checked for overflow
 * before allocation, and a free that accepts NULL. Destructors accept half-built objects. */
#ifndef GM_BASE_MEMORY_H
#define GM_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/status.h"

/* *product = a * b; false where it does not fit. */
bool gm_mul_size(size_t a, size_t b, size_t *product);
/* *sum = a + b; false where it does not fit. */
bool gm_add_size(size_t a, size_t b, size_t *sum);

/* Zeroed array of count elements of size bytes, 64-byte aligned, freed by gm_free. A count of 0
 * gives a valid pointer. NULL with GM_ERR_MEMORY recorded in err where the size overflows or memory
 * is short; `what` names the array in the message. */
void *gm_alloc(size_t count, size_t size, const char *what, gm_error *err);

/* The same, not zeroed: for large arrays that are written before they are read, of which perhaps
 * only a part is: pages that nobody touches cost neither time nor memory. */
void *gm_alloc_raw(size_t count, size_t size, const char *what, gm_error *err);

void gm_free(void *array);

/* Copy of a string, freed by gm_free; NULL with err recorded when memory is short. */
char *gm_strdup(const char *text, gm_error *err);

/* printf into a fresh string, freed by gm_free; NULL with err recorded when memory is short. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
char *
gm_format(gm_error *err, const char *format, ...);

#endif
