/* Runs the real program as a user does, through the shell, and catches what it prints. */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "gradiometer/selftest.h"

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

/* The matrix kernels are tested here once, and not again in each of the hundreds of programs that a
 * test starts: a third to two thirds of the time that these take. Where the test fails, they are
 * left to find out for themselves. */
static inline void program_test_kernels(void)
{
    static bool tested;
    if (!tested && gm_selftest(NULL) == GM_OK) setenv("GRADIOMETER_SELFTEST", "passed", 1);
    tested = true;
}

/* Runs "PROGRAM ARGUMENTS" through the shell, which splits them and also sees redirections. */
static inline program_result program_run(const char *program, const char *arguments)
{
    char command[8192];
    char out[] = "/tmp/gradiometer-out-XXXXXX", err[] = "/tmp/gradiometer-err-XXXXXX";
    close(mkstemp(out));
    close(mkstemp(err));
    snprintf(command, sizeof command, "exec 1>%s 2>%s </dev/null; exec %s %s", out, err, program,
             arguments);
    int status = system(command);
    program_result result = {.out = program_slurp(out), .err = program_slurp(err)};
    result.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    unlink(out);
    unlink(err);
    return result;
}

/* Runs "gradiometer ARGUMENTS" (printf-style). */
__attribute__((format(printf, 1, 2))) static inline program_result program(const char *format, ...)
{
    char arguments[4096];
    va_list args;
    program_test_kernels();
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    return program_run(GM_PROGRAM, arguments);
}

static inline void program_free(program_result *result)
{
    free(result->out);
    free(result->err);
}

/* Whether a process has a handler of SIGINT: the program has one from where its long work begins.
 */
static inline bool program_catches_interrupts(pid_t pid)
{
    char path[64], line[256];
    unsigned long long caught = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "SigCgt: %llx", &caught) == 1) break;
    }
    if (file) fclose(file);
    return caught >> (SIGINT - 1) & 1;
}

/* The same with a Ctrl-C soon after its long work began; exit is -1 where it did not begin. */
static inline program_result program_interrupted(const char *arguments)
{
    char command[8192];
    char out[] = "/tmp/gradiometer-out-XXXXXX", err[] = "/tmp/gradiometer-err-XXXXXX";
    close(mkstemp(out));
    close(mkstemp(err));
    snprintf(command, sizeof command, "exec 1>%s 2>%s; exec %s %s", out, err, GM_PROGRAM,
             arguments);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    const struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
    for (int i = 0; i < 3000 && !program_catches_interrupts(pid); i++) {
        nanosleep(&moment, NULL);
    }
    bool began = program_catches_interrupts(pid);
    nanosleep(&moment, NULL);
    kill(pid, SIGINT);
    int status = 0;
    waitpid(pid, &status, 0);
    program_result result = {.out = program_slurp(out), .err = program_slurp(err)};
    result.exit = !began ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    unlink(out);
    unlink(err);
    return result;
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
