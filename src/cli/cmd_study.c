/* gradiometer study: a grid of experiments from one YAML file. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/shell.h"
#include "cli/interrupt.h"
#include "cli/study.h"
#include "gradiometer/report.h"

static const gm_study_options defaults = {.data_dir = "data"};

#define AT(field) offsetof(gm_study_options, field)

static const gm_option options[] = {
    {"output", 'o', "DIR",
     "The folder for everything: run files and documents of the cells, the index, the pages. Made "
     "where it is missing; the one above it must exist.",
     gm_option_text, AT(output), NULL, 0},
    {"resume", 0, NULL,
     "Go on with the study in DIR: what is finished stays, a training that was cut off continues "
     "from its run file, what failed is tried again.",
     gm_option_flag, AT(resume), NULL, 0},
    {"dry-run", 0, NULL, "Check everything, print the plan with its estimate, and stop there.",
     gm_option_flag, AT(dry_run), NULL, 0},
    {"jobs", 'j', "N",
     "Processes at a time; each gets its share of the processors as threads. Default: "
     "budget: processes: of the file, else as many as there are processors.",
     gm_option_count, AT(jobs), NULL, 4096},
    {"data-dir", 0, "D", "Stands for $DATA in the file's data sets. Default: data.", gm_option_text,
     AT(data_dir), NULL, 0},
    {0}};

/* One invocation. */
typedef struct study {
    gm_study *file;
    char *data_dir; /* of the folder that is gone on with */
    gm_study_place place;
    gm_study_plan plan;
    gm_study_fact *fact;
    gm_study_estimate estimate;
    size_t jobs;
    double time; /* budgets, 0 = none */
    size_t memory;
    int lock;
} study;

static void close_study(study *s)
{
    if (s->lock >= 0) close(s->lock);
    gm_free(s->estimate.order);
    gm_free(s->estimate.seconds);
    gm_free(s->fact);
    gm_study_plan_free(&s->plan);
    gm_free(s->data_dir);
    gm_study_free(s->file);
}

/* ---- the plan ---- */

/* Ranks on one machine share its processors. */
static size_t processors_of(const gm_cli *cli)
{
    size_t share = (size_t)(omp_get_num_procs() / gm_team_here(cli->team));
    return share > 0 ? share : 1;
}

/* budget: of the file, less what the command line says. */
static gm_status read_budget(const gm_cli *cli, study *s, gm_error *err)
{
    static const gm_option size = {.name = "memory"};
    const gm_study_options *set = cli->settings;
    const gm_study_budget none = {0}, *budget = s->file->file->budget;
    gm_error inner = {0};
    if (!budget) budget = &none;
    if (budget->time) gm_study_seconds(budget->time, &s->time);
    if (budget->memory && gm_option_bytes(&size, budget->memory, &s->memory, &inner) != GM_OK)
        return gm_study_refuse(s->file->path, "budget.memory", err,
                               "found %.80s, expected a size: 512M, 2G", budget->memory);
    s->jobs = processors_of(cli);
    if (budget->processes) s->jobs = strtoul(budget->processes, NULL, 10);
    if (set->jobs) s->jobs = set->jobs;
    return GM_OK;
}

/* Bytes; 0 where the system does not say. */
static size_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : 0;
}

/* Half of the machine's memory, or the budget, in equal parts for the processes of all ranks on it;
 * without more than one process the commands' own default, half of the machine, is left to them. */
static size_t share_memory(const gm_cli *cli, const study *s)
{
    enum { PIECE = 1 << 20 };
    size_t processes = s->jobs * (size_t)gm_team_here(cli->team);
    if (s->memory) return s->memory / processes;
    size_t share = machine_memory() / 2 / processes;
    if (processes == 1) return 0;
    return share > PIECE ? share - share % PIECE : 0;
}

/* Threads and memory of each process: from the folder where it goes on, so that every cell is
 * computed as it would have been. */
static gm_status place_study(const gm_cli *cli, study *s, gm_error *err)
{
    const gm_study_options *set = cli->settings;
    size_t processors = processors_of(cli);
    bool found = false;
    s->place = (gm_study_place){.folder = set->output ? set->output : s->file->file->name,
                                .data_dir = set->data_dir,
                                .threads = processors > s->jobs ? processors / s->jobs : 1,
                                .memory = share_memory(cli, s)};
    /* Cells are computed alike whichever rank does them. */
    gm_team_broadcast(cli->team, sizeof s->place.threads, &s->place.threads);
    gm_team_broadcast(cli->team, sizeof s->place.memory, &s->place.memory);
    if (!set->resume) return GM_OK;
    gm_status status = gm_study_place_load(set->output, &found, &s->place, &s->data_dir, err);
    if (status != GM_OK || !found) return status;
    if (gm_cli_given(cli, "data-dir") && strcmp(set->data_dir, s->data_dir) != 0)
        return gm_fail(err, GM_ERR_USAGE,
                       "--data-dir: found %s, but %s was begun with %s; expected the same",
                       set->data_dir, set->output, s->data_dir);
    s->place.data_dir = s->data_dir;
    return GM_OK;
}

static gm_status check_memory(const study *s, gm_error *err)
{
    if (!s->memory || s->estimate.memory <= s->memory) return GM_OK;
    return gm_study_refuse(s->file->path, "budget.memory", err,
                           "found %s, but %zu process%s need%s about %.2g GB (cell %.100s)",
                           s->file->file->budget->memory, s->jobs, s->jobs == 1 ? "" : "es",
                           s->jobs == 1 ? "s" : "", 1e-9 * (double)s->estimate.memory,
                           s->estimate.largest);
}

/* No more processes than cells, so that each has its share of all processors. */
static gm_status limit_jobs(study *s, gm_error *err)
{
    const gm_study_place any = {.folder = "", .data_dir = "", .threads = 1};
    gm_study_plan plan;
    gm_status status = gm_study_expand(s->file, &any, &plan, err);
    if (status != GM_OK) return status;
    if (s->jobs > plan.cells) s->jobs = plan.cells;
    gm_study_plan_free(&plan);
    return GM_OK;
}

static gm_status make_plan(gm_cli *cli, study *s, gm_error *err)
{
    const gm_study_options *set = cli->settings;
    gm_status status = GM_OK;
    if (!set->dry_run || set->resume) status = gm_cli_require(cli, "output", err);
    if (status == GM_OK) status = gm_study_load(cli->operand[0], &s->file, err);
    if (status == GM_OK) status = read_budget(cli, s, err);
    if (status == GM_OK) status = limit_jobs(s, err);
    if (status == GM_OK) status = place_study(cli, s, err);
    if (status == GM_OK) status = gm_study_expand(s->file, &s->place, &s->plan, err);
    if (status == GM_OK) status = gm_study_check(cli, &s->plan, &s->fact, err);
    if (status == GM_OK && set->resume) status = gm_study_scan(s->place.folder, &s->plan, err);
    if (status == GM_OK)
        status = gm_study_estimate_make(&s->plan, s->fact, s->place.folder, &s->place, s->jobs,
                                        &s->estimate, err);
    return status == GM_OK ? check_memory(s, err) : status;
}

/* ---- what is printed ---- */

/* Two digits, or as many as a whole number has: "0.05", "12", "130". */
static void print_rough(double value, size_t size, char *text)
{
    snprintf(text, size, value < 99.0 ? "%.2g" : "%.0f", value);
}

/* "40 s", "12 min", "3.5 h" */
static void print_time(double seconds, size_t size, char *text)
{
    bool minutes = seconds >= 100.0, hours = seconds >= 6000.0;
    char number[32];
    print_rough(seconds / (hours ? 3600.0 : minutes ? 60.0 : 1.0), sizeof number, number);
    snprintf(text, size, "%s %s", number, hours ? "h" : minutes ? "min" : "s");
}

static void print_cells(const study *s)
{
    const gm_study_plan *plan = &s->plan;
    const double *seconds = s->estimate.seconds;
    int width = 4;
    for (size_t i = 0; i < plan->cells; i++) {
        int length = (int)strlen(plan->cell[i].name);
        if (length > width) width = length;
    }
    printf("%-*s  %10s  %10s  %8s  %8s  %s\n", width, "cell", "parameters", "samples", "steps",
           "time", "commands");
    for (size_t i = 0; i < plan->cells; i++) {
        const gm_study_cell *cell = plan->cell + i;
        double sum = 0.0;
        size_t done = 0;
        char time[48];
        for (size_t t = 0; t < cell->tasks; t++) {
            sum += *seconds++;
            done += gm_study_settled(cell->task + t);
        }
        print_time(sum, sizeof time, time);
        printf("%-*s  %10zu  %10zu  %8llu  %8s  %zu", width, cell->name, s->fact[i].parameters,
               s->fact[i].samples, (unsigned long long)s->fact[i].train.steps, time, cell->tasks);
        if (done) printf(", %zu finished", done);
        putchar('\n');
    }
}

static void print_estimate(const study *s)
{
    const gm_study_estimate *e = &s->estimate;
    char total[48], all[48], memory[32];
    print_time(e->total, sizeof total, total);
    print_time(e->all, sizeof all, all);
    printf(
        "\nplan       %zu cells, %zu commands, %zu of them to run; %zu process%s of %zu thread%s\n",
        s->plan.cells, s->plan.tasks, e->left, s->jobs, s->jobs == 1 ? "" : "es", s->place.threads,
        s->place.threads == 1 ? "" : "s");
    printf("time       about %s (all commands one after the other: %s)\n", total, all);
    printf(
        "           rough, within a factor of 3: operations counted, at %.3g GFLOP/s of a matrix\n"
        "           product, as if nothing else ran here",
        1e-9 * e->rate);
    if (e->finished) printf("; scaled by the times of %zu finished commands", e->finished);
    print_rough(1e-9 * (double)e->memory, sizeof memory, memory);
    printf("\nmemory     about %s GB in all, by the cell that needs most, %s\n", memory,
           e->largest);
    size_t machine = machine_memory();
    if (!machine || e->memory <= machine) return;
    print_rough(1e-9 * (double)machine, sizeof memory, memory);
    printf("           more than the %s GB of this machine\n", memory);
}

static void print_budget(const study *s)
{
    if (!(s->time > 0.0) || s->estimate.total <= s->time) return;
    printf("budget     time: %s is less than that; what is not finished by then is left for "
           "--resume\n",
           s->file->file->budget->time);
}

/* ---- running ---- */

typedef struct tally {
    size_t finished, failed, diverged; /* cells */
} tally;

static tally count_cells(const gm_study_plan *plan)
{
    tally count = {0};
    for (size_t i = 0; i < plan->cells; i++) {
        gm_study_state state = gm_study_cell_state(plan->cell + i);
        count.finished += state == GM_STUDY_DONE;
        count.failed += state == GM_STUDY_FAILED;
        count.diverged += state == GM_STUDY_DIVERGED;
    }
    return count;
}

/* A diverged cell by its training alone: the others say no more than that. */
static void print_ends(const gm_study_plan *plan, gm_study_state state, const char *word)
{
    for (size_t i = 0; i < plan->cells; i++) {
        const gm_study_cell *cell = plan->cell + i;
        size_t tasks = state == GM_STUDY_DIVERGED ? 1 : cell->tasks;
        for (size_t t = 0; t < tasks; t++) {
            const gm_study_task *task = cell->task + t;
            if (task->state == state)
                printf("%-10s %s %s: %s\n", word, cell->name, task->name, task->message);
        }
    }
}

/* The pages of what there is. Without gnuplot the numbers stand all the same. */
static gm_status write_pages(const gm_cli *cli, const study *s, gm_error *err)
{
    gm_error inner = {0};
    if (!cli->shared.quiet) fprintf(stderr, "writing %s/index.html\n", s->place.folder);
    gm_status status = gm_report_study(s->place.folder, gm_interrupt_requested, NULL, &inner);
    if (status == GM_ERR_DEPENDENCY) {
        printf("page       none: %s; `gradiometer report %s` writes it later\n", inner.message,
               s->place.folder);
        return GM_OK;
    }
    if (status == GM_OK) printf("page       %s/index.html\n", s->place.folder);
    return status == GM_OK ? GM_OK : gm_fail(err, status, "%s", inner.message);
}

/* Why it ended before its end, and how to go on. */
static gm_status say_unfinished(const gm_cli *cli, const study *s, gm_study_end end,
                                size_t finished, gm_error *err)
{
    const char *folder = s->place.folder;
    const char *const word[] = {"gradiometer", "study", cli->operand[0], "-o", folder, "--resume"};
    char *line = gm_shell_line(sizeof word / sizeof *word, word, err);
    if (!line) return GM_ERR_MEMORY;
    gm_status status =
        end == GM_STUDY_DISK_FULL
            ? gm_fail(err, GM_ERR_IO,
                      "%s: No space left on device: %zu of %zu cells are finished; once there is "
                      "room: %s",
                      folder, finished, s->plan.cells, line)
            : gm_fail(err, GM_ERR_INTERRUPTED, "%s, %zu of %zu cells are finished; to go on: %s",
                      end == GM_STUDY_EXPIRED ? "the time of the budget is used up" : "interrupted",
                      finished, s->plan.cells, line);
    gm_free(line);
    return status;
}

static gm_status conclude(const gm_cli *cli, const study *s, gm_study_end end, gm_error *err)
{
    tally count = count_cells(&s->plan);
    char diverged[64] = "";
    if (count.diverged) snprintf(diverged, sizeof diverged, ", %zu diverged", count.diverged);
    print_ends(&s->plan, GM_STUDY_FAILED, "failed");
    print_ends(&s->plan, GM_STUDY_DIVERGED, "diverged");
    if (end != GM_STUDY_COMPLETE) return say_unfinished(cli, s, end, count.finished, err);
    gm_status status = write_pages(cli, s, err);
    if (status != GM_OK) return status;
    if (count.failed)
        return gm_fail(err, GM_ERR_NUMERIC, "%zu of %zu cells failed; %zu are finished%s",
                       count.failed, s->plan.cells, count.finished, diverged);
    printf("finished   %zu cells%s: %s/index.json\n", count.finished, diverged, s->place.folder);
    return GM_OK;
}

/* Rank 0 makes the folder; where it cannot, all know why. */
static gm_status open_folder(const gm_cli *cli, study *s, gm_error *err)
{
    const gm_study_options *set = cli->settings;
    gm_status status = GM_OK;
    gm_error inner = {0};
    if (!cli->silent)
        status = gm_study_folder_open(s->place.folder, set->resume, s->file, &s->place, &s->lock,
                                      &inner);
    gm_team_broadcast(cli->team, sizeof status, &status);
    gm_team_broadcast(cli->team, sizeof inner, &inner);
    return status == GM_OK ? GM_OK : gm_fail(err, status, "%s", inner.message);
}

static gm_status run_cells(gm_cli *cli, study *s, gm_error *err)
{
    /* Each rank calibrated by itself; they share the cells out by the times of one of them. */
    gm_team_broadcast(cli->team, s->plan.cells * sizeof *s->estimate.order, s->estimate.order);
    gm_study_run run = {.cli = cli,
                        .plan = &s->plan,
                        .place = &s->place,
                        .folder = s->place.folder,
                        .jobs = s->jobs,
                        .order = s->estimate.order,
                        .time = s->time,
                        .team = cli->team};
    gm_study_end end;
    gm_status status = gm_study_run_all(&run, &end, err);
    return status == GM_OK ? conclude(cli, s, end, err) : status;
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    const gm_study_options *set = cli->settings;
    study s = {.lock = -1};
    gm_status status = make_plan(cli, &s, err);
    if (status == GM_OK && !set->dry_run) status = open_folder(cli, &s, err);
    if (status == GM_OK) {
        gm_cli_begin(cli);
        print_cells(&s);
        print_estimate(&s);
        print_budget(&s);
        fflush(stdout);
    }
    if (status == GM_OK && !set->dry_run) status = run_cells(cli, &s, err);
    close_study(&s);
    return status;
}

static gm_sharing sharing(const gm_cli *cli)
{
    const gm_study_options *set = cli->settings;
    return set->dry_run ? GM_SHARING_NONE : GM_SHARING_RUNS;
}

const gm_command gm_command_study = {
    .name = "study",
    .summary = "run a grid of experiments described in one YAML file",
    .usage = "FILE.yaml -o DIR [OPTION]...",
    .description =
        "Runs every cell of a grid: data sets by architectures, batch sizes, shares of random "
        "labels, numbers of samples, seeds and step sizes or policies. A cell is one training and "
        "the measurements that the file asks for, each a command of this program at checkpoints of "
        "that training: the same command by hand gives the same numbers.\n\n"
        "Everything is checked and the plan is printed with an estimate of time and memory before "
        "anything runs. Cells run in processes side by side; each has its run file, "
        "DIR/cells/NAME.gmr, with the documents of its commands beside it, and DIR/index.json says "
        "what every cell is and came to. A cell that fails does not stop the others and is "
        "reported at the end; a training that diverges is a result, listed apart. DIR/index.html "
        "is a page about all of it, with one for each cell.\n\n"
        "Ctrl-C stops the cells at work after their current step. That, or a kill at any moment, "
        "is continued with --resume, to the same index.\n\n"
        "docs/study.md describes the file, and studies/example.yaml shows every part of it.",
    .examples = "  gradiometer study studies/example.yaml --dry-run\n"
                "  gradiometer study studies/example.yaml -o out\n"
                "  gradiometer study studies/example.yaml -o out --resume --jobs 2\n",
    .takes = 0,
    .options = options,
    .settings_size = sizeof(gm_study_options),
    .defaults = &defaults,
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
    .sharing = sharing};
