/* Status codes and error messages: the one way in which the library reports that it could not do
 * something.
 *
 * Every fallible function returns a gm_status and takes, as its last argument, a gm_error that
 * receives the status and one line of text (NULL when the caller does not want the text). A result
 * that merely did not converge is no error: it says so in the result itself. */
#ifndef GRADIOMETER_STATUS_H
#define GRADIOMETER_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Code, exit status of the program, meaning. One list, so that the three cannot drift apart. */
#define GM_STATUS_LIST(ENTRY)                                                                      \
    ENTRY(GM_OK, 0, "success")                                                                     \
    ENTRY(GM_ERR_USAGE, 2, "bad option or argument")                                               \
    ENTRY(GM_ERR_INPUT, 2, "bad input")                                                            \
    ENTRY(GM_ERR_IO, 2, "file could not be read or written")                                       \
    ENTRY(GM_ERR_MEMORY, 2, "out of memory or over the memory budget")                             \
    ENTRY(GM_ERR_DEPENDENCY, 2, "a program or setting that is needed is missing")                  \
    ENTRY(GM_ERR_NUMERIC, 1, "the computation failed")                                             \
    ENTRY(GM_ERR_KERNEL, 1, "the matrix kernels of this machine compute wrong results")            \
    ENTRY(GM_ERR_INTERRUPTED, 1, "interrupted")

#define GM_STATUS_ENUM(code, exit_status, text) code,
typedef enum gm_status { GM_STATUS_LIST(GM_STATUS_ENUM) GM_STATUS_COUNT } gm_status;
#undef GM_STATUS_ENUM

enum { GM_ERROR_LENGTH = 512 };

typedef struct gm_error {
    gm_status status;
    char message[GM_ERROR_LENGTH]; /* one line, no newline at its end */
} gm_error;

/* Meaning of a status in a few words; never NULL. */
const char *gm_status_text(gm_status status);

/* Exit status that a program should end with: 0, 1 (computation failed) or 2 (bad usage or input).
 */
int gm_status_exit(gm_status status);

/* Records status and a printf-style message in err (ignored when NULL) and returns status, so that
 * a function can end with `return gm_fail(err, GM_ERR_INPUT, "%s: ...", path)`. Newlines and
 * control characters in the text become spaces: an error is one line whatever a file name holds. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
gm_status
gm_fail(gm_error *err, gm_status status, const char *format, ...);

#ifdef __cplusplus
}
#endif
#endif
