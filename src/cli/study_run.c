/* The processes of a study: one for each cell at work, which is given that cell's commands one
 * after the other. They have process groups of their own, so that Ctrl-C reaches the study alone
 * and the study decides; they die with it (gm_study_follow_parent); and they hold its lock. */
#define _GNU_SOURCE /* POSIX_SPAWN_SETPGROUP and friends */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/interrupt.h"
#include "cli/study.h"

extern char **environ;

static const char parent_variable[] = "GRADIOMETER_PARENT";
static const double INDEX_SECONDS = 30.0; /* from one index to the next */
static const char no_space[] = "No space left on device", disk_full[] = "the disk is full";

/* One process at work. */
typedef struct slot {
    pid_t pid; /* 0: none */
    gm_study_cell *cell;
    gm_study_task *task;
    char *document; /* where the task's document goes, and */
    char *partial;  /* while it is written */
    char *log;      /* what the command says on stderr */
    double start;
} slot;

typedef struct pool {
    gm_study_run *run;
    slot *slot;  /* [jobs] */
    size_t next; /* place in the order of the cell that is given out next */
    size_t done, failed, finished_cells;
    bool stopping;
    gm_study_end end;
    gm_progress progress;
    double indexed;
} pool;

bool gm_study_is_cell(void)
{
    return getenv(parent_variable) != NULL;
}

bool gm_study_follow_parent(void)
{
    const char *text = getenv(parent_variable);
    if (!text) return true;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return true;
    return getppid() == (pid_t)strtol(text, NULL, 10); /* it may have died before that call */
}

/* ---- starting one command ---- */

static void slot_clear(slot *s)
{
    gm_free(s->document);
    gm_free(s->partial);
    gm_free(s->log);
    *s = (slot){0};
}

/* A training whose run file is there goes on from it. */
static gm_status resume_words(const pool *p, const slot *s, gm_words *words, gm_error *err)
{
    char *threads = gm_format(err, "%zu", p->run->place->threads);
    char *run = gm_format(err, "%s/%s", p->run->folder, s->cell->run);
    const char *const word[] = {"train", "--resume", run, "--threads", threads, "--json", "-q"};
    gm_status status = threads && run ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < sizeof word / sizeof *word; i++) {
        status = gm_words_add(words, word[i], err);
    }
    gm_free(threads);
    gm_free(run);
    return status;
}

static gm_status command_words(const pool *p, const slot *s, gm_words *words, gm_error *err)
{
    struct stat info;
    char *run = gm_format(err, "%s/%s", p->run->folder, s->cell->run);
    if (!run) return GM_ERR_MEMORY;
    bool begun = s->task->measure == SIZE_MAX && stat(run, &info) == 0;
    gm_free(run);
    gm_status status = gm_words_add(words, "gradiometer", err);
    if (status == GM_OK && begun) return resume_words(p, s, words, err);
    for (size_t i = 0; status == GM_OK && i < s->task->words.count; i++) {
        status = gm_words_add(words, s->task->words.word[i], err);
    }
    return status;
}

/* stdin from nowhere, stdout to the document, stderr to the log; 0 or an error number. */
static int spawn(slot *s, char *const *words)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    int failure = posix_spawn_file_actions_init(&files);
    if (failure) return failure;
    failure = posix_spawnattr_init(&attributes);
    if (!failure) {
        const int fresh = O_WRONLY | O_CREAT | O_TRUNC;
        failure = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
        if (!failure)
            failure = posix_spawn_file_actions_addopen(&files, 1, s->partial, fresh, 0666);
        if (!failure) failure = posix_spawn_file_actions_addopen(&files, 2, s->log, fresh, 0666);
        posix_spawnattr_setpgroup(&attributes, 0);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
        if (!failure)
            failure = posix_spawn(&s->pid, "/proc/self/exe", &files, &attributes, words, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&files);
    return failure;
}

static gm_status start_task(pool *p, slot *s, gm_error *err)
{
    const char *folder = p->run->folder;
    gm_words words = {0};
    s->document = gm_format(err, "%s/%s", folder, s->task->file);
    s->partial = gm_format(err, "%s/%s.part", folder, s->task->file);
    s->log = gm_format(err, "%s/cells/%s.%s.log", folder, s->cell->name, s->task->name);
    gm_status status = s->document && s->partial && s->log ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = command_words(p, s, &words, err);
    s->start = gm_cli_seconds(p->run->cli);
    if (status == GM_OK) {
        int failure = spawn(s, words.word);
        if (failure) {
            s->pid = 0;
            status = gm_fail(err, GM_ERR_IO, "%s: a process cannot be started: %s", folder,
                             strerror(failure));
        }
    }
    gm_words_free(&words);
    return status;
}

/* ---- the end of one command ---- */

/* The last line of the log, without "gradiometer: "; what ended the process where it said nothing.
 */
static char *last_words(const char *log, int result, gm_error *err)
{
    char line[GM_ERROR_LENGTH] = "", last[GM_ERROR_LENGTH] = "";
    FILE *file = fopen(log, "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (*line) memcpy(last, line, sizeof line);
    }
    if (file) fclose(file);
    static const char program[] = "gradiometer: ";
    size_t skip = strncmp(last, program, sizeof program - 1) == 0 ? sizeof program - 1 : 0;
    if (WIFSIGNALED(result))
        return gm_format(err, "killed by signal %d (%s)", WTERMSIG(result),
                         strsignal(WTERMSIG(result)));
    if (!*last) return gm_format(err, "exit status %d", WEXITSTATUS(result));
    return gm_strdup(last + skip, err);
}

/* The document takes its name once it is on disk. */
static gm_status keep_document(const slot *s, gm_error *err)
{
    int fd = open(s->partial, O_RDONLY | O_CLOEXEC);
    bool kept = fd >= 0 && fsync(fd) == 0 && rename(s->partial, s->document) == 0;
    int failure = errno;
    if (fd >= 0) close(fd);
    if (kept) return GM_OK;
    return gm_fail(err, GM_ERR_IO, "%s: cannot be written: %s", s->document, strerror(failure));
}

static gm_status fail_task(pool *p, gm_study_task *task, const char *message, gm_error *err)
{
    gm_free(task->message);
    task->message = gm_strdup(message, err);
    task->state = GM_STUDY_FAILED;
    p->failed++;
    p->done++;
    return task->message ? GM_OK : GM_ERR_MEMORY;
}

/* A command on a full disk may not even be able to say so. */
static bool is_disk_full(const pool *p, const char *message)
{
    struct statvfs disk;
    if (strstr(message, no_space) || strstr(message, disk_full)) return true;
    return statvfs(p->run->folder, &disk) == 0 && disk.f_blocks > 0 && disk.f_bavail == 0;
}

static gm_status task_failed(pool *p, slot *s, int result, gm_error *err)
{
    char *message = last_words(s->log, result, err);
    if (!message) return GM_ERR_MEMORY;
    unlink(s->partial);
    gm_status status = GM_OK;
    if (is_disk_full(p, message)) {
        p->stopping = true;
        p->end = GM_STUDY_DISK_FULL;
    } else if (!p->stopping) {
        status = fail_task(p, s->task, message, err);
    }
    gm_free(message);
    return status;
}

/* A training that diverged ends with status 1 and leaves its document all the same. */
static gm_status end_task(pool *p, slot *s, int result, gm_error *err)
{
    bool failed = !WIFEXITED(result) || WEXITSTATUS(result) != 0;
    gm_study_task *task = s->task;
    char *diverged = NULL;
    gm_status status = GM_OK;
    if (failed && task->measure == SIZE_MAX) status = gm_study_diverged(s->partial, &diverged, err);
    if (status == GM_OK && failed && !diverged) return task_failed(p, s, result, err);
    if (status == GM_OK) status = keep_document(s, err);
    if (status != GM_OK) {
        gm_free(diverged);
        return status;
    }
    unlink(s->log);
    task->state = diverged ? GM_STUDY_DIVERGED : GM_STUDY_DONE;
    task->message = diverged;
    p->done++;
    gm_study_time_add(p->run->folder, s->cell->name, task->name,
                      gm_cli_seconds(p->run->cli) - s->start);
    return GM_OK;
}

/* ---- cells ---- */

/* The next task of a cell that is to be run; without its training the others cannot be. */
static gm_status next_task(pool *p, gm_study_cell *cell, gm_study_task **task, gm_error *err)
{
    size_t skipped;
    gm_status status = gm_study_skip(cell, &skipped, err);
    p->done += skipped;
    *task = NULL;
    for (size_t t = 0; t < cell->tasks && !*task; t++) {
        if (cell->task[t].state == GM_STUDY_WAITING) *task = cell->task + t;
    }
    return status;
}

/* Goes on with the cell of the slot, or takes the next ones until there is something to do. */
static gm_status feed(pool *p, slot *s, gm_error *err)
{
    gm_study_cell *cell = s->cell;
    slot_clear(s);
    while (!p->stopping) {
        gm_study_task *task = NULL;
        gm_status status = cell ? next_task(p, cell, &task, err) : GM_OK;
        if (status != GM_OK) return status;
        if (task) {
            s->cell = cell;
            s->task = task;
            return start_task(p, s, err);
        }
        p->finished_cells += cell != NULL;
        if (p->next >= p->run->plan->cells) return GM_OK;
        cell = p->run->plan->cell + p->run->order[p->next];
        p->next += (size_t)gm_team_size(p->run->team);
    }
    return GM_OK;
}

/* ---- the pool ---- */

static size_t at_work(const pool *p)
{
    size_t count = 0;
    for (size_t i = 0; i < p->run->jobs; i++) {
        count += p->slot[i].pid != 0;
    }
    return count;
}

static void signal_all(const pool *p, int number)
{
    for (size_t i = 0; i < p->run->jobs; i++) {
        if (p->slot[i].pid) kill(-p->slot[i].pid, number);
    }
}

/* Takes in what has ended; GM_OK too where nothing has. */
static gm_status reap(pool *p, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < p->run->jobs; i++) {
        slot *s = p->slot + i;
        int result;
        if (!s->pid || waitpid(s->pid, &result, WNOHANG) != s->pid) continue;
        s->pid = 0;
        status = end_task(p, s, result, err);
        if (status == GM_OK) status = feed(p, s, err);
    }
    return status;
}

static void watch(pool *p)
{
    double seconds = gm_cli_seconds(p->run->cli);
    bool expired = p->run->time > 0.0 && seconds > p->run->time;
    char text[128];
    if (!p->stopping && (expired || gm_interrupt_requested(NULL))) {
        p->end = expired ? GM_STUDY_EXPIRED : GM_STUDY_STOPPED;
        p->stopping = true;
    }
    snprintf(text, sizeof text, "%zu of %zu cells%s", p->finished_cells, p->run->plan->cells,
             p->stopping ? ", stopping"
             : p->failed ? ", failures"
                         : "");
    gm_progress_update(&p->progress, p->done, text);
}

/* Rank 0 alone. */
static gm_status write_index(const pool *p, gm_error *err)
{
    if (gm_team_rank(p->run->team) > 0) return GM_OK;
    return gm_study_index_write(p->run->folder, p->run->plan, p->run->place, err);
}

static gm_status work(pool *p, gm_error *err)
{
    static const struct timespec pause = {.tv_nsec = 10000000};
    gm_status status = GM_OK;
    bool told = false;
    for (size_t i = 0; status == GM_OK && i < p->run->jobs; i++) {
        status = feed(p, p->slot + i, err);
    }
    while (status == GM_OK && at_work(p)) {
        status = reap(p, err);
        watch(p);
        if (p->stopping && !told) signal_all(p, SIGINT);
        told = p->stopping;
        double now = gm_cli_seconds(p->run->cli);
        if (status == GM_OK && now - p->indexed > INDEX_SECONDS) {
            p->indexed = now;
            status = write_index(p, err);
        }
        nanosleep(&pause, NULL);
    }
    return status;
}

/* After an error of our own nothing is left running. */
static void end_all(pool *p)
{
    signal_all(p, SIGKILL);
    for (size_t i = 0; i < p->run->jobs; i++) {
        if (p->slot[i].pid) waitpid(p->slot[i].pid, NULL, 0);
        if (p->slot[i].partial) unlink(p->slot[i].partial);
        slot_clear(p->slot + i);
    }
}

/* ---- other ranks ---- */

/* Why a task of another rank failed or diverged: its log or its document says it. */
static gm_status take_message(const pool *p, const gm_study_cell *cell, gm_study_task *task,
                              gm_error *err)
{
    const char *folder = p->run->folder;
    bool diverged = task->state == GM_STUDY_DIVERGED;
    char *path = diverged ? gm_format(err, "%s/%s", folder, task->file)
                          : gm_format(err, "%s/cells/%s.%s.log", folder, cell->name, task->name);
    if (!path) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    if (diverged)
        status = gm_study_diverged(path, &task->message, err);
    else
        task->message = last_words(path, 0, err);
    gm_free(path);
    return status == GM_OK && !task->message ? GM_ERR_MEMORY : status;
}

static gm_status take_messages(const pool *p, gm_study_cell *cell, gm_error *err)
{
    gm_study_state training = cell->task[0].state;
    bool skipped = training == GM_STUDY_FAILED || training == GM_STUDY_DIVERGED;
    gm_status status = GM_OK;
    for (size_t t = 0; status == GM_OK && t < cell->tasks; t++) {
        gm_study_task *task = cell->task + t;
        bool ended = task->state == GM_STUDY_FAILED || task->state == GM_STUDY_DIVERGED;
        if (!ended || task->message) continue;
        if (t > 0 && skipped)
            task->state = GM_STUDY_WAITING; /* as gm_study_skip found it there */
        else
            status = take_message(p, cell, task, err);
    }
    size_t count;
    return status == GM_OK ? gm_study_skip(cell, &count, err) : status;
}

/* The worst end of any rank. */
static void join_ends(pool *p)
{
    double count[GM_STUDY_DISK_FULL + 1] = {0};
    count[p->end] = 1.0;
    gm_team_sum(p->run->team, GM_STUDY_DISK_FULL + 1, count);
    for (int end = GM_STUDY_COMPLETE; end <= GM_STUDY_DISK_FULL; end++) {
        if (count[end] > 0.0) p->end = (gm_study_end)end;
    }
}

/* What became of the other ranks' tasks: states go round in the order in which cells were given
 * out, by which each rank knows its own. */
static gm_status join_ranks(pool *p, gm_error *err)
{
    const gm_team *team = p->run->team;
    const gm_study_plan *plan = p->run->plan;
    size_t ranks = (size_t)gm_team_size(team), rank = (size_t)gm_team_rank(team), at = 0;
    gm_status status = GM_OK;
    if (ranks == 1) return GM_OK;
    double *state = gm_alloc(plan->tasks, sizeof *state, "states of the tasks", err);
    if (!state) return GM_ERR_MEMORY;
    for (size_t i = 0; i < plan->cells; i++) {
        const gm_study_cell *cell = plan->cell + p->run->order[i];
        for (size_t t = 0; t < cell->tasks; t++, at++) {
            if (i % ranks == rank) state[at] = (double)cell->task[t].state;
        }
    }
    gm_team_sum(team, plan->tasks, state);
    at = 0;
    for (size_t i = 0; i < plan->cells && status == GM_OK; i++) {
        gm_study_cell *cell = plan->cell + p->run->order[i];
        for (size_t t = 0; t < cell->tasks; t++, at++) {
            cell->task[t].state = (gm_study_state)state[at];
        }
        status = take_messages(p, cell, err);
    }
    gm_free(state);
    join_ends(p);
    return status;
}

gm_status gm_study_run_all(gm_study_run *run, gm_study_end *end, gm_error *err)
{
    pool p = {.run = run,
              .next = (size_t)gm_team_rank(run->team),
              .end = GM_STUDY_COMPLETE,
              .indexed = gm_cli_seconds(run->cli)};
    char pid[32];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (setenv(parent_variable, pid, 1) != 0)
        return gm_fail(err, GM_ERR_MEMORY, "no memory for the environment");
    p.slot = gm_alloc(run->jobs, sizeof *p.slot, "processes", err);
    if (!p.slot) return GM_ERR_MEMORY;
    for (size_t i = 0; i < run->plan->cells; i++) {
        for (size_t t = 0; t < run->plan->cell[i].tasks; t++) {
            p.done += gm_study_settled(run->plan->cell[i].task + t);
        }
    }
    gm_progress_start(&p.progress, "study", "commands", p.done, run->plan->tasks,
                      run->cli->shared.quiet);
    gm_interrupt_install();
    gm_status status = write_index(&p, err);
    if (status == GM_OK) status = work(&p, err);
    gm_progress_finish(&p.progress);
    end_all(&p);
    if (status == GM_OK) status = join_ranks(&p, err);
    gm_free(p.slot);
    unsetenv(parent_variable);
    *end = p.end;
    if (status != GM_OK) return status;
    status = write_index(&p, err);
    return p.end == GM_STUDY_DISK_FULL ? GM_OK : status; /* which is said with how to go on */
}
