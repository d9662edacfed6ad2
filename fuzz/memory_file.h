/* Fuzzing works on bytes, the readers on paths: a file in memory that has a path. */
#ifndef FUZZ_MEMORY_FILE_H
#define FUZZ_MEMORY_FILE_H

#define _GNU_SOURCE /* memfd_create */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct memory_file {
    int fd;
    char path[32];
} memory_file;

/* The same file holds the next input: made once, then overwritten. */
static void memory_file_fill(memory_file *file, const uint8_t *bytes, size_t count)
{
    if (!*file->path) {
        file->fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->fd);
    }
    if (file->fd < 0 || ftruncate(file->fd, 0) != 0 ||
        pwrite(file->fd, bytes, count, 0) != (ssize_t)count)
        abort();
}

#endif
