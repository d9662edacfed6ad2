/* Runs the real program as a user does, through the shell, and catches what it prints. */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

typedef struct program_result {
    int exit;  /* exit status; 128 + signal where a signal ended it */
    char *out; /* standard output and ... */
    char *err; /* ... standard error, both freed by program_free */
} program_result;

static inline char *program_slurp(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    size_t size = 0, room = 1 << 16;
    char *text = malloc(room);
    for (size_t got; text && (got = fread(text + size, 1, room - size - 1, file)) > 0;) {
        size += got;
        if (size + 1 == room) text = realloc(text, room *= 2);
    }
    if (text) text[size] = 0;
    fclose(file);
    return text;
}

/* Runs "gradiometer ARGUMENTS" (printf-style, split by the shell, which also sees redirections). */
__attribute__((format(printf, 1, 2))) static inline program_result program(const char *format, ...)
{
    char arguments[4096], command[8192];
    char out[] = "/tmp/gradiometer-out-XXXXXX", err[] = "/tmp/gradiometer-err-XXXXXX";
    va_list args;
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    close(mkstemp(out));
    close(mkstemp(err));
    snprintf(command, sizeof command, "exec 1>%s 2>%s; exec %s %s", out, err, GM_PROGRAM,
             arguments);
    int status = system(command);
    program_result result = {.out = program_slurp(out), .err = program_slurp(err)};
    result.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    unlink(out);
    unlink(err);
    return result;
}

static inline void program_free(program_result *result)
{
    free(result->out);
    free(result->err);
}

/* The JSON document of a run that must succeed and print nothing else; NULL, with a message,
 * otherwise. Freed by json_decref. */
static inline json_t *program_document(program_result result)
{
    json_error_t error;
    json_t *document = json_loads(result.out, JSON_REJECT_DUPLICATES, &error);
    if (result.exit != 0 || *result.err) {
        fprintf(stderr, "exit status %d: %s", result.exit, result.err);
        json_decref(document);
        document = NULL;
    } else if (!document) {
        fprintf(stderr, "line %d: %s\n", error.line, error.text);
    }
    program_free(&result);
    return document;
}

static inline double program_number(const json_t *document, const char *key)
{
    return json_number_value(json_object_get(document, key));
}

/* True where text is exactly one line. */
static inline bool program_one_line(const char *text)
{
    const char *newline = strchr(text, '\n');
    return newline && newline > text && !newline[1];
}

#endif
