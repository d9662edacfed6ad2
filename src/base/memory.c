#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

bool gm_mul_size(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

bool gm_add_size(size_t a, size_t b, size_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

/* *padded: bytes of the array, whole lines of cache. */
static void *allocate(size_t count, size_t size, const char *what, size_t *padded, gm_error *err)
{
    size_t bytes;
    if (!gm_mul_size(count, size, &bytes) || !gm_add_size(bytes, ALIGNMENT, padded)) {
        gm_fail(err, GM_ERR_MEMORY, "%s: %zu elements of %zu bytes overflow the address space",
                what, count, size);
        return NULL;
    }
    *padded -= *padded % ALIGNMENT;
    void *array = aligned_alloc(ALIGNMENT, *padded);
    if (!array) {
        gm_fail(err, GM_ERR_MEMORY, "%s: %.3g MB of memory cannot be had", what,
                (double)*padded / 1e6);
    }
    return array;
}

void *gm_alloc(size_t count, size_t size, const char *what, gm_error *err)
{
    size_t padded;
    void *array = allocate(count, size, what, &padded, err);
    if (array) memset(array, 0, padded);
    return array;
}

void *gm_alloc_raw(size_t count, size_t size, const char *what, gm_error *err)
{
    size_t padded;
    return allocate(count, size, what, &padded, err);
}

void gm_free(void *array)
{
    free(array);
}

char *gm_strdup(const char *text, gm_error *err)
{
    size_t length = strlen(text) + 1;
    char *copy = gm_alloc(length, 1, "text", err);
    if (copy) memcpy(copy, text, length);
    return copy;
}

char *gm_format(gm_error *err, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    size_t size = length < 0 ? 1 : (size_t)length + 1;
    char *text = gm_alloc(size, 1, "text", err);
    if (text) vsnprintf(text, size, format, again);
    va_end(again);
    return text;
}
