#define _GNU_SOURCE /* fopencookie */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

struct gm_file {
    FILE *stream;    /* over write_bytes */
    int fd;          /* -1 when closed */
    int error;       /* errno of the first failure, 0 without */
    char *path;      /* as the user named it, for messages */
    char *target;    /* links resolved; NULL when written directly */
    char *temporary; /* NULL when written directly, or not there (yet, or any more) */
};

static void file_free(gm_file *file)
{
    if (!file) return;
    if (file->stream) fclose(file->stream);
    if (file->fd >= 0) close(file->fd);
    if (file->temporary) unlink(file->temporary);
    gm_free(file->temporary);
    gm_free(file->target);
    gm_free(file->path);
    gm_free(file);
}

static gm_status cannot_write(const char *path, int error, gm_error *err)
{
    return gm_fail(err, GM_ERR_IO, "%s: cannot be written: %s", path, strerror(error));
}

/* stdio keeps only a flag of an earlier failure; through a function of our own the cause is kept
 * too. */
static ssize_t write_bytes(void *cookie, const char *bytes, size_t count)
{
    gm_file *file = cookie;
    size_t written = 0;
    while (written < count && !file->error) {
        ssize_t step = write(file->fd, bytes + written, count - written);
        if (step >= 0)
            written += (size_t)step;
        else if (errno != EINTR)
            file->error = errno;
    }
    return (ssize_t)written;
}

/* Opens a fresh file beside target. open() rather than mkstemp(), so that the umask decides on the
 * permissions as it does for any other file. */
static gm_status open_temporary(gm_file *file, gm_error *err)
{
    enum { TRIES = 100 };
    for (int try = 0; try < TRIES; try++) {
        gm_free(file->temporary);
        file->temporary = gm_format(err, "%s.tmp-%ld-%d", file->target, (long)getpid(), try);
        if (!file->temporary) return GM_ERR_MEMORY;
        file->fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd >= 0) return GM_OK;
        if (errno != EEXIST) break;
    }
    gm_status status = cannot_write(file->path, errno, err);
    gm_free(file->temporary); /* it is not ours to remove */
    file->temporary = NULL;
    return status;
}

int gm_file_descriptor(const char *path)
{
    static const char folder[] = "/dev/fd/";
    char *end;
    if (strcmp(path, "/dev/stdout") == 0) return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0) return STDERR_FILENO;
    if (strncmp(path, folder, strlen(folder)) != 0) return -1;
    const char *digits = path + strlen(folder);
    long number = strtol(digits, &end, 10);
    bool plain = *digits >= '0' && *digits <= '9' && !*end;
    return plain && number <= INT_MAX ? (int)number : -1;
}

/* Finds out what stands at path and opens the descriptor to write to. */
static gm_status open_target(gm_file *file, gm_error *err)
{
    struct stat old;
    int given = gm_file_descriptor(file->path);
    if (given >= 0) { /* another way to open it would begin at its start, or take its place */
        file->fd = fcntl(given, F_DUPFD_CLOEXEC, 0);
        return file->fd < 0 ? cannot_write(file->path, errno, err) : GM_OK;
    }
    bool exists = stat(file->path, &old) == 0;
    if (exists && S_ISDIR(old.st_mode)) return cannot_write(file->path, EISDIR, err);
    if (exists && !S_ISREG(old.st_mode)) {
        file->fd = open(file->path, O_WRONLY | O_CLOEXEC);
        return file->fd < 0 ? cannot_write(file->path, errno, err) : GM_OK;
    }
    if (exists && access(file->path, W_OK) != 0) return cannot_write(file->path, errno, err);
    char *resolved = exists ? realpath(file->path, NULL) : NULL;
    file->target = gm_strdup(resolved ? resolved : file->path, err);
    free(resolved);
    if (!file->target) return GM_ERR_MEMORY;
    gm_status status = open_temporary(file, err);
    if (status == GM_OK && exists && fchmod(file->fd, old.st_mode & 07777) != 0)
        status = cannot_write(file->path, errno, err);
    return status;
}

gm_status gm_file_create(const char *path, gm_file **file, gm_error *err)
{
    enum { BUFFER = 1 << 16 };
    *file = NULL;
    if (!*path) return gm_fail(err, GM_ERR_USAGE, "a file to write to has an empty name");
    gm_file *f = gm_alloc(1, sizeof *f, "file", err);
    if (!f) return GM_ERR_MEMORY;
    f->fd = -1;
    f->path = gm_strdup(path, err);
    gm_status status = f->path ? open_target(f, err) : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    f->stream = fopencookie(f, "wb", (cookie_io_functions_t){.write = write_bytes});
    if (!f->stream || setvbuf(f->stream, NULL, _IOFBF, BUFFER) != 0) {
        status = cannot_write(path, ENOMEM, err);
        goto done;
    }
    *file = f;
done:
    if (status != GM_OK) file_free(f);
    return status;
}

FILE *gm_file_stream(gm_file *file)
{
    return file->stream;
}

/* The rename is safe only once the folder's own entry is on disk. */
static void sync_folder(const char *target)
{
    char *copy = gm_strdup(target, NULL);
    if (!copy) return;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    gm_free(copy);
}

/* Flush, fsync, close: errno of the first step that failed, 0 on success. */
static int bring_to_disk(gm_file *file)
{
    if (file->stream) {
        int flushed = fclose(file->stream);
        file->stream = NULL;
        if (flushed != 0 && !file->error) file->error = EIO;
    }
    if (file->fd >= 0) {
        if (!file->error && file->temporary && fsync(file->fd) != 0) file->error = errno;
        if (close(file->fd) != 0 && !file->error) file->error = errno;
        file->fd = -1;
    }
    return file->error;
}

gm_status gm_file_sync(gm_file *file, gm_error *err)
{
    int error = bring_to_disk(file);
    return error ? cannot_write(file->path, error, err) : GM_OK;
}

gm_status gm_file_commit(gm_file **file, gm_error *err)
{
    gm_file *f = *file;
    gm_status status = gm_file_sync(f, err);
    if (status == GM_OK && f->temporary) {
        if (rename(f->temporary, f->target) == 0) {
            gm_free(f->temporary);
            f->temporary = NULL;
            sync_folder(f->target);
        } else {
            status = cannot_write(f->path, errno, err);
        }
    }
    gm_file_discard(file);
    return status;
}

void gm_file_discard(gm_file **file)
{
    file_free(*file);
    *file = NULL;
}
