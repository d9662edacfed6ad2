/* cifar10:DIR: the binary version of CIFAR-10: data_batch_1.bin ... data_batch_5.bin (those
 * present, in order) or test_batch.bin. A record is a label byte and 3 x 32 x 32 pixel bytes,
 * channel first; a pixel becomes byte / 255. Reference: A. Krizhevsky's CIFAR-10 page. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "data/source.h"

enum { BATCHES = 5, CLASSES = 10, PIXELS = 3 * 32 * 32, RECORD = 1 + PIXELS };

typedef struct cifar10 {
    char *path[BATCHES];
    size_t records[BATCHES];
    int files;
    int current; /* file being read */
    size_t next; /* record in it */
    FILE *stream;
} cifar10;

/* Adds path to the list where it exists. */
static gm_status add_file(cifar10 *set, char *path, gm_error *err)
{
    struct stat info;
    if (!path) return GM_ERR_MEMORY;
    if (stat(path, &info) != 0) {
        int error = errno;
        gm_status status = error == ENOENT ? GM_OK
                                           : gm_fail(err, GM_ERR_IO, "%s: cannot be opened: %s",
                                                     path, strerror(error));
        gm_free(path);
        return status;
    }
    set->path[set->files] = path; /* owned from here on */
    set->records[set->files++] = (size_t)info.st_size / RECORD;
    if (!S_ISREG(info.st_mode)) return gm_fail(err, GM_ERR_IO, "%s: not a regular file", path);
    if (info.st_size == 0 || info.st_size % RECORD != 0)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: %lld bytes, expected a multiple of %d (label and 3x32x32 pixels)", path,
                       (long long)info.st_size, (int)RECORD);
    return GM_OK;
}

/* Moves to the file that holds the next record. */
static gm_status advance(cifar10 *set, gm_error *err)
{
    if (set->stream && set->next == set->records[set->current]) {
        fclose(set->stream);
        set->stream = NULL;
        set->current++;
        set->next = 0;
    }
    if (set->stream) return GM_OK;
    set->stream = fopen(set->path[set->current], "rbe");
    if (!set->stream)
        return gm_fail(err, GM_ERR_IO, "%s: cannot be opened: %s", set->path[set->current],
                       strerror(errno));
    return GM_OK;
}

static gm_status cifar10_next(gm_source *source, gm_sample *sample, gm_error *err)
{
    cifar10 *set = source->state;
    unsigned char record[RECORD];
    gm_status status = advance(set, err);
    if (status != GM_OK) return status;
    const char *path = set->path[set->current];
    errno = 0;
    if (fread(record, 1, RECORD, set->stream) != RECORD)
        return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", path,
                       ferror(set->stream) && errno ? strerror(errno) : "it became shorter");
    *sample->label = record[0];
    for (int j = 0; j < PIXELS; j++) {
        sample->x[j] = record[1 + j] / 255.0;
    }
    source->x_file = source->y_file = path;
    source->position = set->next++;
    return GM_OK;
}

static gm_status cifar10_seek(gm_source *source, size_t i, gm_error *err)
{
    cifar10 *set = source->state;
    int file = 0;
    while (i >= set->records[file]) {
        i -= set->records[file++];
    }
    if (set->stream && file != set->current) {
        fclose(set->stream);
        set->stream = NULL;
    }
    set->current = file;
    set->next = i;
    gm_status status = advance(set, err);
    if (status != GM_OK || fseeko(set->stream, (off_t)(i * RECORD), SEEK_SET) == 0) return status;
    return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", set->path[file], strerror(errno));
}

static void cifar10_close(void *state)
{
    cifar10 *set = state;
    if (!set) return;
    if (set->stream) fclose(set->stream);
    for (int i = 0; i < BATCHES; i++) {
        gm_free(set->path[i]);
    }
    gm_free(set);
}

gm_status gm_cifar10_open(const char *body, bool test, gm_source *source, gm_error *err)
{
    if (!*body) return gm_fail(err, GM_ERR_USAGE, "data \"cifar10:\": expected cifar10:DIR");
    cifar10 *set = gm_alloc(1, sizeof *set, "CIFAR-10 files", err);
    if (!set) return GM_ERR_MEMORY;
    source->state = set;
    source->close = cifar10_close;
    source->next = cifar10_next;
    source->seek = cifar10_seek;

    gm_status status = GM_OK;
    if (test) {
        status = add_file(set, gm_format(err, "%s/test_batch.bin", body), err);
    } else {
        for (int i = 1; i <= BATCHES && status == GM_OK; i++) {
            status = add_file(set, gm_format(err, "%s/data_batch_%d.bin", body, i), err);
        }
    }
    if (status != GM_OK) return status;
    if (set->files == 0)
        return gm_fail(err, GM_ERR_IO, "%s/%s: not found (binary version of CIFAR-10)", body,
                       test ? "test_batch.bin" : "data_batch_1.bin");
    for (int i = 0; i < set->files; i++) {
        source->n += set->records[i];
    }
    source->shape = (gm_shape){3, {3, 32, 32}};
    source->features = PIXELS;
    source->classes = CLASSES;
    source->x_file = source->y_file = set->path[0];
    source->unit = "record";
    return GM_OK;
}
