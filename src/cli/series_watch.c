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

/* ---- how a file looks ---- */

gm_stamp gm_stamp_of(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) return (gm_stamp){.size = -1};
    return (gm_stamp){.size = (int64_t)info.st_size,
                      .changed = (int64_t)info.st_mtim.tv_sec * 1000000000 +
                                 (int64_t)info.st_mtim.tv_nsec};
}

bool gm_stamp_equal(gm_stamp a, gm_stamp b)
{
    return a.size == b.size && a.changed == b.changed;
}

/* ---- what is taken ---- */

static gm_taken_file *find_taken(const gm_watch *watch, const char *name)
{
    for (size_t i = 0; i < watch->takes; i++) {
        if (strcmp(watch->taken[i].name, name) == 0) return &watch->taken[i];
    }
    return NULL;
}

static size_t count_done(const gm_watch *watch)
{
    size_t done = 0;
    for (size_t i = 0; i < watch->takes; i++) {
        done += watch->taken[i].state == GM_TAKEN_DONE;
    }
    return done;
}

/* *file becomes one more that is taken, with a name of its own. */
static gm_status take(gm_watch *watch, const gm_taken_file *file, gm_error *err)
{
    if (watch->takes == watch->room) {
        size_t room = watch->room ? 2 * watch->room : 64;
        gm_taken_file *larger = gm_alloc(room, sizeof *larger, "names of files", err);
        if (!larger) return GM_ERR_MEMORY;
        if (watch->takes) memcpy(larger, watch->taken, watch->takes * sizeof *larger);
        gm_free(watch->taken);
        watch->taken = larger;
        watch->room = room;
    }
    gm_taken_file *to = &watch->taken[watch->takes];
    *to = *file;
    to->name = gm_strdup(file->name, err);
    if (!to->name) return GM_ERR_MEMORY;
    watch->takes++;
    return GM_OK;
}

gm_status gm_watch_skip(gm_watch *watch, const char *name, int64_t step, gm_stamp stamp,
                        uint64_t hash, gm_error *err)
{
    gm_taken_file file = {.name = (char *)name, .step = step, .stamp = stamp, .hash = hash};
    return take(watch, &file, err);
}

void gm_watch_measured(gm_watch *watch, const char *name, uint64_t hash)
{
    gm_taken_file *file = find_taken(watch, name);
    if (file) file->hash = hash;
}

/* True for another file than the one of this step that is done; left aside with a note. */
static bool is_second(gm_watch *watch, const char *name, int64_t step)
{
    bool same_step = false;
    for (size_t i = 0; i < watch->takes; i++) {
        const gm_taken_file *file = &watch->taken[i];
        same_step = same_step || (file->state == GM_TAKEN_DONE && file->step == step);
    }
    if (!same_step) return false;
    gm_taken_file aside = {.name = (char *)name, .step = step, .state = GM_TAKEN_ASIDE};
    gm_cli_note(watch->cli, "%s left aside: there was a file of step %lld before", name,
                (long long)step);
    take(watch, &aside, NULL); /* without memory it is noted again at the next look */
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

/* Since when it has looked like this. */
static double since(const gm_watch *watch, const gm_watched_file *file)
{
    for (size_t i = 0; i < watch->files; i++) {
        const gm_watched_file *before = &watch->file[i];
        bool same =
            strcmp(before->name, file->name) == 0 && gm_stamp_equal(before->stamp, file->stamp);
        if (same) return before->since;
    }
    return gm_cli_seconds(watch->cli);
}

/* Whether a file of that name waits: one that is new, or has changed since it was taken. */
static gm_status look_at(gm_watch *watch, const char *name, gm_watched_file *file, bool *waits,
                         gm_error *err)
{
    const gm_taken_file *taken = find_taken(watch, name);
    int64_t step = gm_series_number(name);
    *waits = false;
    if (*name == '.' || !gm_session_names_parameters(name) || step < 0) return GM_OK;
    if (taken ? taken->state == GM_TAKEN_ASIDE : is_second(watch, name, step)) return GM_OK;
    char *path = path_of(watch, name, err);
    if (!path) return GM_ERR_MEMORY;
    *file = (gm_watched_file){.step = step, .stamp = gm_stamp_of(path)};
    gm_free(path);
    if (file->stamp.size < 0 || (taken && gm_stamp_equal(taken->stamp, file->stamp))) return GM_OK;
    file->name = gm_strdup(name, err);
    if (!file->name) return GM_ERR_MEMORY;
    file->since = since(watch, file);
    *waits = true;
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
        gm_watched_file next;
        bool waits;
        status = look_at(watch, entry->d_name, &next, &waits, err);
        if (status != GM_OK || !waits) continue;
        if (files == room) {
            room = room ? 2 * room : 16;
            gm_watched_file *larger = gm_alloc(room, sizeof *larger, "files of the folder", err);
            if (larger && files) memcpy(larger, file, files * sizeof *file);
            if (!larger) status = GM_ERR_MEMORY;
            if (!larger) gm_free(next.name);
            if (!larger) break;
            gm_free(file);
            file = larger;
        }
        file[files++] = next;
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

/* The file is whole: *path where it is new or holds other numbers than were measured. */
static gm_status take_whole(gm_watch *watch, const gm_watched_file *file, char **path,
                            gm_error *err)
{
    gm_taken_file *taken = find_taken(watch, file->name);
    if (!taken) return gm_watch_skip(watch, file->name, file->step, file->stamp, 0, err);
    taken->stamp = file->stamp;
    if (taken->state == GM_TAKEN_DONE) {
        if (watch->holds(watch->self, *path, taken->hash)) {
            gm_free(*path);
            *path = NULL;
            return GM_OK;
        }
        gm_cli_note(watch->cli, "%s has changed since it was measured, and is measured again",
                    file->name);
    }
    taken->state = GM_TAKEN_DONE;
    return GM_OK;
}

/* A file that stays damaged: left aside, or measured before and left at that. */
static gm_status take_damaged(gm_watch *watch, const gm_watched_file *file, const char *why,
                              gm_error *err)
{
    gm_taken_file *taken = find_taken(watch, file->name);
    gm_taken_file damaged = {
        .name = file->name, .step = file->step, .state = GM_TAKEN_DAMAGED, .stamp = file->stamp};
    gm_cli_note(watch->cli, "left aside: %s", why);
    if (!taken) return take(watch, &damaged, err);
    taken->stamp = file->stamp;
    return GM_OK;
}

/* *path of the first file that waits where it is whole, else NULL. A file that was done before and
 * is being written anew holds up no other. */
static gm_status take_first(gm_watch *watch, char **path, int64_t *step, gm_error *err)
{
    *path = NULL;
    for (size_t i = 0; i < watch->files; i++) {
        const gm_watched_file *file = &watch->file[i];
        const gm_taken_file *taken = find_taken(watch, file->name);
        gm_error why = {0};
        double still = gm_cli_seconds(watch->cli) - file->since;
        char *candidate = path_of(watch, file->name, err);
        gm_status status = candidate ? GM_OK : GM_ERR_MEMORY;
        bool stands = still > 0.0; /* not new, nor changed since the last look */
        if (status == GM_OK && stands && check_whole(candidate, &why) == GM_OK) {
            *path = candidate;
            *step = file->step;
            status = take_whole(watch, file, path, err);
            if (status != GM_OK) {
                gm_free(candidate);
                *path = NULL;
            }
            return status;
        }
        gm_free(candidate);
        if (status == GM_OK && stands && still > PATIENCE) {
            status = take_damaged(watch, file, why.message, err);
        }
        if (status != GM_OK || !taken) return status;
    }
    return GM_OK;
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
        gm_free(watch->taken[i].name);
    }
    gm_free(watch->taken);
    memset(watch, 0, sizeof *watch);
}

gm_status gm_watch_next(gm_watch *watch, char **path, int64_t *step, gm_error *err)
{
    *path = NULL;
    watch->last = gm_cli_seconds(watch->cli);
    while (!watch->until || count_done(watch) < watch->until) {
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
