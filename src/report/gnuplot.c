/* The three standard streams of the child are files in memory (memfd_create): the script can be
 * written whole before the child starts, its output read whole after it ended, so that no pipe can
 * fill up and no SIGPIPE can reach the process that uses the library. */
#define _GNU_SOURCE /* memfd_create */
#include "report/gnuplot.h"

#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

extern char **environ;

enum { STREAMS = 3 }; /* standard input, output and error */

static gm_status open_streams(int stream[STREAMS], gm_error *err)
{
    static const char *const name[STREAMS] = {"gnuplot-in", "gnuplot-out", "gnuplot-err"};
    for (int i = 0; i < STREAMS; i++) {
        stream[i] = memfd_create(name[i], MFD_CLOEXEC);
        if (stream[i] < 0)
            return gm_fail(err, GM_ERR_IO, "gnuplot: no file in memory: %s", strerror(errno));
    }
    return GM_OK;
}

static gm_status write_script(int fd, const char *script, size_t length, gm_error *err)
{
    for (size_t done = 0; done < length;) {
        ssize_t written = write(fd, script + done, length - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0)
            return gm_fail(err, GM_ERR_IO, "gnuplot: script not written: %s", strerror(errno));
        done += (size_t)written;
    }
    if (lseek(fd, 0, SEEK_SET) != 0)
        return gm_fail(err, GM_ERR_IO, "gnuplot: script not readable: %s", strerror(errno));
    return GM_OK;
}

/* The whole of a stream as a string. */
static gm_status read_stream(int fd, char **text, size_t *size, gm_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return gm_fail(err, GM_ERR_IO, "gnuplot: output lost: %s", strerror(errno));
    *size = (size_t)info.st_size;
    *text = gm_alloc(*size + 1, 1, "gnuplot's output", err);
    if (!*text) return GM_ERR_MEMORY;
    for (size_t done = 0; done < *size;) {
        ssize_t got = pread(fd, *text + done, *size - done, (off_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return gm_fail(err, GM_ERR_IO, "gnuplot: output not read: %s", strerror(errno));
        done += (size_t)got;
    }
    return GM_OK;
}

/* Starts gnuplot on the streams and waits for its end. */
static gm_status run_child(const int stream[STREAMS], int *wait_status, gm_error *err)
{
    char *arguments[] = {"gnuplot", "--default-settings", "-", NULL};
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return gm_fail(err, GM_ERR_MEMORY, "gnuplot: %s", strerror(error));
    for (int i = 0; i < STREAMS && !error; i++) {
        error = posix_spawn_file_actions_adddup2(&actions, stream[i], i);
    }
    pid_t child = 0;
    if (!error) error = posix_spawnp(&child, "gnuplot", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error == ENOENT || error == EACCES || error == ENOTDIR)
        return gm_fail(err, GM_ERR_DEPENDENCY,
                       "gnuplot: not found on PATH; the figures need the Debian package "
                       "gnuplot-nox (apt install gnuplot-nox)");
    if (error) return gm_fail(err, GM_ERR_DEPENDENCY, "gnuplot: not started: %s", strerror(error));
    while (waitpid(child, wait_status, 0) < 0) {
        if (errno != EINTR)
            return gm_fail(err, GM_ERR_DEPENDENCY, "gnuplot: lost: %s", strerror(errno));
    }
    return GM_OK;
}

/* gnuplot shows the offending line, a caret under it and then the reason: the reason is the last
 * line that holds more than blanks. */
static const char *last_line(char *text)
{
    for (size_t end = strlen(text); end && strchr(" \t\r\n", text[end - 1]); end--) {
        text[end - 1] = '\0';
    }
    const char *newline = strrchr(text, '\n');
    const char *line = newline ? newline + 1 : text;
    return line + strspn(line, " \t");
}

gm_status gm_gnuplot_run(const char *what, const char *script, size_t length, char **output,
                         size_t *size, gm_error *err)
{
    int stream[STREAMS] = {-1, -1, -1};
    int wait_status = 0;
    char *complaint = NULL;
    size_t complaint_size = 0;
    *output = NULL;

    gm_status status = open_streams(stream, err);
    if (status == GM_OK) status = write_script(stream[0], script, length, err);
    if (status == GM_OK) status = run_child(stream, &wait_status, err);
    if (status == GM_OK) status = read_stream(stream[1], output, size, err);
    if (status == GM_OK) status = read_stream(stream[2], &complaint, &complaint_size, err);
    if (status == GM_OK && WIFSIGNALED(wait_status)) {
        status = gm_fail(err, GM_ERR_NUMERIC, "gnuplot: %s: ended by signal %d", what,
                         WTERMSIG(wait_status));
    } else if (status == GM_OK && (WEXITSTATUS(wait_status) != 0 || *size == 0)) {
        status = gm_fail(err, GM_ERR_NUMERIC, "gnuplot: %s: status %d, %s", what,
                         WEXITSTATUS(wait_status),
                         complaint_size ? last_line(complaint) : "no picture and no message");
    }

    for (int i = 0; i < STREAMS; i++) {
        if (stream[i] >= 0) close(stream[i]);
    }
    gm_free(complaint);
    if (status != GM_OK) {
        gm_free(*output);
        *output = NULL;
    }
    return status;
}
