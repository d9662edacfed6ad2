#include "cli/series_watch.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/memory.h"
#include "base/natural.h"
#include "cli/interrupt.h"
#include "cli/series.h"
#include "data/npy.h"
#include "data/safetensors.h"

#define PATIENCE 30.0 /* seconds that a file may stay damaged without a change */
enum { LOOK_EVERY = 250000000 /* nanoseconds */ };

/* ---- what is taken ---- */

gm_status gm_watch_skip(gm_watch *watch, const char *name, int64_t step, gm_error *err)
{
    if (watch->takes == watch->room) {
        size_t room = watch->room ? 2 * watch->room : 64;
        char **taken = gm_alloc(room, sizeof *taken, "names of files", err);
        int64_t *steps = gm_alloc(room, sizeof *steps, "steps of files", err);
        if (!taken || !steps) {
            gm_free(taken);
            gm_free(steps);
            return GM_ERR_MEMORY;
        }
        if (watch->takes) {
            memcpy(taken, watch->taken, watch->takes * sizeof *taken);
            memcpy(steps, watch->step, watch->takes * sizeof *steps);
        }
        gm_free(watch->taken);
        gm_free(watch->step);
        watch->taken = taken;
        watch->step = steps;
        watch->room = room;
    }
    watch->taken[watch->takes] = gm_strdup(name, err);
    if (!watch->taken[watch->takes]) return GM_ERR_MEMORY;
    watch->step[watch->takes++] = step;
    watch->counted++;
    return GM_OK;
}

/* Done, or left aside; another file of a step that is done is left aside with a note. */
static bool is_taken(gm_watch *watch, const char *name, int64_t step)
{
    bool same_step = false;
    for (size_t i = 0; i < watch->takes; i++) {
        if (strcmp(watch->taken[i], name) == 0) return true;
        same_step = same_step || watch->step[i] == step;
    }
    if (!same_step) return false;
    gm_cli_note(watch->cli, "%s left aside: there was a file of step %lld before", name,
                (long long)step);
    if (gm_watch_skip(watch, name, step, NULL) == GM_OK) watch->counted--;
    return true;
}

/* ---- a look into the folder ---- */

static int by_step(const void *a, const void *b)
{
    const gm_watched_file *x = a, *y = b;
    if (x->step != y->step) return x->step < y->step ? -1 : 1;
    return gm_natural_compare(x->name, y->name);
}

static char *path_of(const gm_watch *watch, const char *name, gm_error *err)
{
    return gm_format(err, "%s/%s", watch->folder, name);
}

static void forget(gm_watched_file *file, size_t files)
{
    for (size_t i = 0; i < files; i++) {
        gm_free(file[i].name);
    }
    gm_free(file);
}

/* Fills size and time; those that are as they were keep the time since when. */
static gm_status look_at(const gm_watch *watch, gm_watched_file *file, gm_error *err)
{
    struct stat info;
    char *path = path_of(watch, file->name, err);
    if (!path) return GM_ERR_MEMORY;
    bool there = stat(path, &info) == 0 && S_ISREG(info.st_mode);
    gm_free(path);
    file->size = there ? (int64_t)info.st_size : -1;
    file->changed =
        there ? (int64_t)info.st_mtim.tv_sec * 1000000000 + (int64_t)info.st_mtim.tv_nsec : 0;
    file->since = gm_cli_seconds(watch->cli);
    for (size_t i = 0; i < watch->files; i++) {
        const gm_watched_file *before = &watch->file[i];
        bool same = strcmp(before->name, file->name) == 0 && before->size == file->size &&
                    before->changed == file->changed;
        if (same) file->since = before->since;
    }
    return GM_OK;
}

/* Looks again: watch->file are the files that wait, in order of step. */
static gm_status look(gm_watch *watch, gm_error *err)
{
    gm_watched_file *file = NULL;
    size_t files = 0, room = 0;
    gm_status status = GM_OK;
    DIR *folder = opendir(watch->folder);
    if (!folder) {
        return gm_fail(err, GM_ERR_IO, "--watch: %s cannot be read: %s", watch->folder,
                       strerror(errno));
    }
    for (struct dirent *entry; status == GM_OK && (entry = readdir(folder));) {
        const char *name = entry->d_name;
        int64_t step = gm_series_number(name);
        if (*name == '.' || !gm_session_names_parameters(name) || step < 0) continue;
        if (is_taken(watch, name, step)) continue;
        if (files == room) {
            room = room ? 2 * room : 16;
            gm_watched_file *larger = gm_alloc(room, sizeof *larger, "files of the folder", err);
            if (larger && files) memcpy(larger, file, files * sizeof *file);
            if (!larger) status = GM_ERR_MEMORY;
            if (!larger) break;
            gm_free(file);
            file = larger;
        }
        file[files] = (gm_watched_file){.name = gm_strdup(name, err), .step = step};
        status = file[files].name ? look_at(watch, &file[files], err) : GM_ERR_MEMORY;
        files++;
    }
    closedir(folder);
    if (files) qsort(file, files, sizeof *file, by_step);
    forget(watch->file, watch->files);
    watch->file = file;
    watch->files = files;
    return status;
}

/* GM_OK where header and size of the file agree. */
static gm_status check_whole(const char *path, gm_error *err)
{
    gm_npy *npy = NULL;
    gm_safetensors *tensors = NULL;
    size_t length = strlen(path);
    bool vector = length > 4 && strcmp(path + length - 4, ".npy") == 0;
    gm_status status =
        vector ? gm_npy_open(path, &npy, err) : gm_safetensors_open(path, &tensors, err);
    gm_npy_close(npy);
    gm_safetensors_close(tensors);
    return status;
}

/* *path of the first file that waits where it is whole, else NULL. */
static gm_status take_first(gm_watch *watch, char **path, int64_t *step, gm_error *err)
{
    const gm_watched_file *first = watch->file;
    gm_error why = {0};
    *path = NULL;
    if (!watch->files) return GM_OK;
    double still = gm_cli_seconds(watch->cli) - first->since;
    if (still <= 0.0) return GM_OK; /* new, or changed since the last look */
    char *candidate = path_of(watch, first->name, err);
    if (!candidate) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    if (check_whole(candidate, &why) == GM_OK) {
        *path = candidate;
        *step = first->step;
        return gm_watch_skip(watch, first->name, first->step, err);
    }
    if (still > PATIENCE) {
        gm_cli_note(watch->cli, "left aside: %s", why.message);
        status = gm_watch_skip(watch, first->name, -1, err);
        watch->counted -= status == GM_OK;
    }
    gm_free(candidate);
    return status;
}

/* ---- open, next, close ---- */

gm_status gm_watch_open(gm_cli *cli, const char *folder, size_t until, double idle, gm_watch *watch,
                        gm_error *err)
{
    *watch = (gm_watch){.cli = cli, .folder = folder, .until = until, .idle = idle};
    return look(watch, err);
}

void gm_watch_close(gm_watch *watch)
{
    forget(watch->file, watch->files);
    for (size_t i = 0; i < watch->takes; i++) {
        gm_free(watch->taken[i]);
    }
    gm_free(watch->taken);
    gm_free(watch->step);
    memset(watch, 0, sizeof *watch);
}

gm_status gm_watch_next(gm_watch *watch, char **path, int64_t *step, gm_error *err)
{
    *path = NULL;
    watch->last = gm_cli_seconds(watch->cli);
    while (!watch->until || watch->counted < watch->until) {
        gm_status status = look(watch, err);
        if (status == GM_OK && gm_interrupt_requested(NULL)) {
            return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted while waiting for a file in %s",
                           watch->folder);
        }
        if (status == GM_OK) status = take_first(watch, path, step, err);
        if (status != GM_OK || *path) return status;
        if (watch->idle > 0 && gm_cli_seconds(watch->cli) - watch->last > watch->idle) break;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY}, NULL);
    }
    return GM_OK;
}
