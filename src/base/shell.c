#include "base/shell.h"

#include <stdbool.h>
#include <string.h>

#include "base/memory.h"

static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            "_./:=,@%+-";

/* Appends word at out and returns the new end: at most 4 bytes for each byte of word, and 2. */
static char *append(char *out, const char *word)
{
    static const char quote[] = "'\\''"; /* within quotes */
    bool quoted = !*word || word[strspn(word, plain)];
    if (quoted) *out++ = '\'';
    for (; *word; word++) {
        if (*word == '\'') {
            memcpy(out, quote, strlen(quote));
            out += strlen(quote);
        } else {
            *out++ = *word;
        }
    }
    if (quoted) *out++ = '\'';
    return out;
}

char *gm_shell_line(size_t count, const char *const *word, gm_error *err)
{
    size_t size = 1;
    for (size_t i = 0; i < count; i++) {
        size += 4 * strlen(word[i]) + 3;
    }
    char *line = gm_alloc(size, 1, "command line", err), *end = line;
    for (size_t i = 0; line && i < count; i++) {
        if (i) *end++ = ' ';
        end = append(end, word[i]);
    }
    return line;
}
