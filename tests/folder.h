/* A temporary folder for the files of one test program, gone after it, and writers of raw bytes. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/gradiometer-test-XXXXXX";

/* Group setup and teardown. */
static inline int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

/* Number of entries, so that a test can see that nothing was left behind. */
static inline int folder_entries(void)
{
    int entries = 0;
    DIR *dir = opendir(folder);
    while (dir && readdir(dir)) {
        entries++;
    }
    if (dir) closedir(dir);
    return entries - 2; /* . and .. */
}

/* "FOLDER/name" in one of a few rotating buffers. */
static inline const char *folder_path(const char *name)
{
    enum { BUFFERS = 8, LENGTH = 512 };
    static char buffer[BUFFERS][LENGTH];
    static int next;
    char *path = buffer[next++ % BUFFERS];
    snprintf(path, LENGTH, "%s/%s", folder, name);
    return path;
}

static inline void folder_empty(void)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.' && unlink(folder_path(entry->d_name)) != 0)
            rmdir(folder_path(entry->d_name));
    }
    if (dir) closedir(dir);
}

static inline int folder_remove(void **state)
{
    (void)state;
    folder_empty();
    return rmdir(folder);
}

/* Writes count bytes as FOLDER/name. */
static inline void folder_write(const char *name, const void *bytes, size_t count)
{
    FILE *file = fopen(folder_path(name), "wb");
    if (!file || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        perror(name);
        _Exit(99);
    }
}

#endif
