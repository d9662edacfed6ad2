/* What a plan will cost. Operations are counted: F for the forward pass of one sample, 3 F for its
 * gradient, 4 F for its share of a product with an operator (a tangent pass forward and one
 * backward, the pass itself being kept). Seconds are operations over the rate of a matrix product
 * of the size of a batch, measured here and now, and a fixed part for each command and step. It is
 * a rough figure, right to a factor of two or three; times of commands that are finished replace
 * it: each kind of command is scaled by its measured over its counted seconds. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "cli/frame.h"
#include "cli/study.h"
#include "kernels/kernels.h"

static const double START_SECONDS = 0.05; /* of a process */
static const double STEP_SECONDS = 2e-5;  /* of a step, beside its products */
static const double EFFICIENCY = 0.4;     /* of whole passes against one product */
static const double IMAGES = 0.25;        /* of that where convolutions are */

/* ---- calibration ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Operations a second of products [64, 256] x [256, 256], the best of several, so that what else
 * runs here counts little. */
static gm_status calibrate(gm_dtype dtype, size_t threads, double *rate, gm_error *err)
{
    enum { ROWS = 64, ORDER = 256, TIMES = 40 };
    const gm_kernels *kernels = gm_kernels_get(dtype);
    size_t size = gm_dtype_size(dtype);
    char *a = gm_alloc((size_t)ORDER * ORDER, size, "matrix", err);
    char *b = gm_alloc((size_t)ROWS * ORDER, size, "matrix", err);
    char *c = gm_alloc((size_t)ROWS * ORDER, size, "matrix", err);
    gm_status status = a && b && c ? GM_OK : GM_ERR_MEMORY;
    int before = omp_get_max_threads();
    omp_set_num_threads((int)threads);
    double best = HUGE_VAL;
    for (int i = 0; status == GM_OK && i < TIMES; i++) {
        double start = now();
        kernels->gemm(false, false, ROWS, ORDER, ORDER, 1.0, b, ORDER, a, ORDER, 0.0, c, ORDER);
        best = fmin(best, now() - start);
    }
    omp_set_num_threads(before);
    if (status == GM_OK) *rate = 2.0 * ROWS * ORDER * ORDER / fmax(best, 1e-9);
    gm_free(a);
    gm_free(b);
    gm_free(c);
    return status;
}

/* ---- counts ---- */

/* The number after an option in the words of a command; `missing` where it has none. */
static double number_of(const gm_words *words, const char *option, double missing)
{
    size_t length = strlen(option);
    for (size_t w = 0; w < words->count; w++) {
        const char *text = words->word[w];
        if (strncmp(text, option, length) != 0) continue;
        if (text[length] == '=') return strtod(text + length + 1, NULL);
        if (!text[length] && w + 1 < words->count) return strtod(words->word[w + 1], NULL);
    }
    return missing;
}

static bool has_word(const gm_words *words, const char *word)
{
    for (size_t w = 0; w < words->count; w++) {
        if (strcmp(words->word[w], word) == 0) return true;
    }
    return false;
}

/* The mean of the values that an option lists; `missing` where it is not there. */
static double mean_of(const gm_words *words, const char *option, double missing)
{
    for (size_t w = 0; w + 1 < words->count; w++) {
        if (strcmp(words->word[w], option) != 0) continue;
        double sum = 0.0, count = 0.0;
        for (const char *c = words->word[w + 1]; c; c = strchr(c, ',')) {
            if (*c == ',') c++;
            sum += strtod(c, NULL);
            count += 1.0;
        }
        return sum / count;
    }
    return missing;
}

/* How many values an option lists, as "0.1,0.5"; 1 where it is not there. */
static double count_of(const gm_words *words, const char *option)
{
    double count = 1.0;
    for (size_t w = 0; w + 1 < words->count; w++) {
        if (strcmp(words->word[w], option) != 0) continue;
        for (const char *c = words->word[w + 1]; *c; c++) {
            count += *c == ',';
        }
    }
    return count;
}

typedef struct cost {
    double operations, steps; /* steps: fixed parts */
} cost;

static cost train_cost(const gm_study_fact *f)
{
    enum { MEASURED = 30 };
    double steps = (double)f->train.steps, batch = (double)f->train.batch;
    double whole = (double)(f->samples + f->test_samples);
    double measured = fmin(steps, MEASURED) * 3.0 * whole * f->forward;
    return (cost){1.25 * steps * batch * 3.0 * f->forward + measured, steps};
}

/* Eigenvalues of one operator, or of all that decompose compares; `leading` of them by products. */
static double spectrum_operations(const gm_study_fact *f, const gm_words *words, double leading,
                                  double operators, double product)
{
    enum { PRODUCTS_OF_PAIR = 6, LARGEST_DENSE = 5000 };
    static const double EIGENVALUES = 6.0; /* times p^3: a third of it at half the speed */
    double p = (double)f->parameters, rows = (double)f->samples * (double)f->outputs;
    double k = number_of(words, "--k", number_of(words, "-k", leading));
    bool products = has_word(words, "lanczos") || has_word(words, "products");
    if (has_word(words, "density"))
        return number_of(words, "--probes", 10.0) * number_of(words, "--steps", 80.0) * product;
    if (products || has_word(words, "--layer") || p > LARGEST_DENSE)
        return operators * PRODUCTS_OF_PAIR * k * product;
    return EIGENVALUES * p * p * p + 2.0 * fmin(p, rows) * product;
}

static double bound_operations(const gm_study_fact *f, const gm_words *words)
{
    double pass = (double)f->samples * f->forward, passes = 200.0 + 3.0 * (double)f->outputs;
    double optimized = number_of(words, "--optimize", 0.0) *
                       number_of(words, "--optimize-batch", 250.0) * 8.0 * f->forward;
    if (!has_word(words, "none")) passes += 300.0;
    return (passes + number_of(words, "--draws", 100.0)) * pass + optimized;
}

/* The loss over all samples after a step on a batch, as often as there are draws. */
static cost draws_cost(const gm_study_fact *f, const gm_words *words)
{
    double batch = mean_of(words, "--batch", (double)f->train.batch);
    double draws = number_of(words, "--draws", 1000.0) * count_of(words, "--step");
    double each = (double)f->samples * f->forward + 3.0 * batch * f->forward;
    return (cost){draws * each, draws};
}

static cost dynamics_cost(const gm_study_fact *f, const gm_words *words, double product)
{
    enum { CHECKPOINTS = 11, PROBES = 128, SMALL = 2000, OF_POINT = 10 };
    const char *sub = words->count > 1 ? words->word[1] : "";
    double n = (double)f->samples, pass = n * f->forward;
    double points = has_word(words, "--at") ? count_of(words, "--at") : CHECKPOINTS;
    cost draws = draws_cost(f, words);
    if (strcmp(sub, "ensemble") == 0) {
        double steps = number_of(words, "--runs", 1000.0) * number_of(words, "--steps", 500.0);
        double batch = number_of(words, "--batch", (double)f->train.batch);
        return (cost){steps * (3.0 * batch * f->forward + pass), steps};
    }
    if (strcmp(sub, "predict") == 0) {
        double exact = n <= number_of(words, "--exact-samples", SMALL) ? n : PROBES;
        double pairs = count_of(words, "--batch");
        return (cost){exact * product + pairs * draws.operations, pairs * draws.steps};
    }
    if (strcmp(sub, "martingale") == 0)
        return (cost){points * (draws.operations + OF_POINT * product), points * draws.steps};
    return (cost){(strcmp(sub, "phases") == 0 ? points * PROBES : 3.0 * PROBES) * product, n};
}

/* Numbers of passes and products as the commands' own documentation has them. */
static cost measure_cost(const gm_study_fact *f, const gm_words *words)
{
    enum { OPERATORS = 5, K = 10, K_COMPARED = 15 };
    double product = 4.0 * (double)f->samples * f->forward;
    const char *command = words->word[0];
    if (strcmp(command, "dynamics") == 0) return dynamics_cost(f, words, product);
    cost c = {.steps = 1.0};
    if (strcmp(command, "spectrum") == 0) {
        c.operations = spectrum_operations(f, words, K, 1.0, product);
    } else if (strcmp(command, "decompose") == 0) {
        c.operations = spectrum_operations(f, words, K_COMPARED, OPERATORS, product);
    } else if (strcmp(command, "bound") == 0) {
        c.operations = bound_operations(f, words);
    } else {
        double points = number_of(words, "--points", 41.0);
        bool plane = number_of(words, "--dimensions", 1.0) > 1.0 || has_word(words, "--trajectory");
        c.operations =
            (plane ? points * points : points) * (double)f->samples * f->forward + 100.0 * product;
    }
    return c;
}

static bool at_all(const gm_study_task *task, const gm_study_fact *fact, double *points)
{
    enum { CHECKPOINTS = 11 };
    bool dynamics = strcmp(task->words.word[0], "dynamics") == 0; /* counted there */
    double every = (double)fact->train.keep_every;
    *points = every > 0.0 ? (double)fact->train.steps / every + 1.0 : CHECKPOINTS;
    return strcmp(task->at, "all") == 0 && !dynamics;
}

static double counted_seconds(const gm_study_task *task, const gm_study_fact *fact, double rate)
{
    double points;
    bool training = task->measure == SIZE_MAX;
    cost c = training ? train_cost(fact) : measure_cost(fact, &task->words);
    if (at_all(task, fact, &points)) c.operations *= points;
    rate *= EFFICIENCY * (fact->images ? IMAGES : 1.0);
    return START_SECONDS + c.operations / rate + c.steps * STEP_SECONDS;
}

/* Data as read in doubles and as kept, ten vectors of parameters, and what a pass keeps of all
 * samples where it may. */
static size_t counted_bytes(const gm_study_fact *f, const gm_study_place *place)
{
    static const double PROGRAM = 6e7, VECTORS = 10.0;
    double size = (double)gm_dtype_size(f->precision);
    double data = (double)f->stored * (double)f->features * size;
    double kept = 2.0 * (double)f->samples * (double)f->activations * size;
    if (place->memory) kept = fmin(kept, (double)place->memory);
    double bytes = PROGRAM + data + VECTORS * 8.0 * (double)f->parameters + kept;
    return bytes < 9e18 ? (size_t)bytes : (size_t)9e18;
}

/* ---- the whole ---- */

/* Scales the seconds of the trainings, and of each measurement of the file, by measured / counted
 * of those that are finished. */
static gm_status scale(const gm_study_plan *plan, const double *measured, gm_study_estimate *e,
                       gm_error *err)
{
    size_t kinds = (size_t)plan->study->file->measure_count + 1; /* 0: the training */
    double *counted = gm_alloc(2 * kinds, sizeof *counted, "times", err);
    if (!counted) return GM_ERR_MEMORY;
    double *taken = counted + kinds;
    for (int pass = 0; pass < 2; pass++) {
        double *seconds = e->seconds;
        const double *known = measured;
        for (size_t i = 0; i < plan->cells; i++) {
            const gm_study_cell *cell = plan->cell + i;
            for (size_t t = 0; t < cell->tasks; t++, seconds++, known++) {
                size_t kind = cell->task[t].measure + 1;
                if (pass == 0 && *known > 0.0) {
                    counted[kind] += *seconds;
                    taken[kind] += *known;
                    e->finished++;
                } else if (pass == 1) {
                    if (*known > 0.0)
                        *seconds = *known;
                    else if (counted[kind] > 0.0)
                        *seconds *= taken[kind] / counted[kind];
                }
            }
        }
    }
    gm_free(counted);
    return GM_OK;
}

/* The cell that a free process takes: the next in the order of the file, so that a study that is
 * cut off has finished what comes first; but the longest of those left once it takes as long as
 * every process will still be busy with all of them, since taken later it would run alone. left
 * [cells]: seconds, negative where given out. */
static size_t choose_cell(size_t cells, const double *left, size_t jobs)
{
    size_t next = cells, longest = 0;
    double sum = 0.0;
    for (size_t i = cells; i-- > 0;) {
        if (left[i] < 0.0) continue;
        if (next == cells || left[i] >= left[longest]) longest = i;
        next = i;
        sum += left[i];
    }
    return left[longest] * (double)jobs >= sum ? longest : next;
}

/* Whichever process is free takes a cell. */
static void share_out(size_t cells, double *left, size_t jobs, double *busy, gm_study_estimate *e)
{
    for (size_t i = 0; i < cells; i++) {
        size_t first = 0, cell = choose_cell(cells, left, jobs);
        for (size_t j = 1; j < jobs; j++) {
            if (busy[j] < busy[first]) first = j;
        }
        busy[first] += left[cell];
        left[cell] = -1.0;
        e->order[i] = cell;
    }
    for (size_t j = 0; j < jobs; j++) {
        e->total = fmax(e->total, busy[j]);
    }
}

static gm_status add_up(const gm_study_plan *plan, size_t jobs, gm_study_estimate *e, gm_error *err)
{
    double *busy = gm_alloc(jobs, sizeof *busy, "processes", err);
    double *left = busy ? gm_alloc(plan->cells, sizeof *left, "times", err) : NULL;
    e->order = left ? gm_alloc(plan->cells, sizeof *e->order, "order", err) : NULL;
    size_t number = 0;
    for (size_t i = 0; e->order && i < plan->cells; i++) {
        for (size_t t = 0; t < plan->cell[i].tasks; t++, number++) {
            e->all += e->seconds[number];
            if (gm_study_settled(plan->cell[i].task + t)) continue;
            left[i] += e->seconds[number];
            e->left++;
        }
    }
    if (e->order) share_out(plan->cells, left, jobs, busy, e);
    gm_free(left);
    gm_free(busy);
    return e->order ? GM_OK : GM_ERR_MEMORY;
}

static void add_memory(const gm_study_plan *plan, const gm_study_fact *fact,
                       const gm_study_place *place, size_t jobs, gm_study_estimate *e)
{
    size_t largest = 0, processes = jobs < plan->cells ? jobs : plan->cells;
    for (size_t i = 0; i < plan->cells; i++) {
        size_t bytes = counted_bytes(fact + i, place);
        if (bytes <= largest) continue;
        largest = bytes;
        e->largest = plan->cell[i].name;
    }
    if (!gm_mul_size(largest, processes, &e->memory)) e->memory = SIZE_MAX;
}

gm_status gm_study_estimate_make(const gm_study_plan *plan, const gm_study_fact *fact,
                                 const char *folder, const gm_study_place *place, size_t jobs,
                                 gm_study_estimate *estimate, gm_error *err)
{
    *estimate = (gm_study_estimate){0};
    double rate[2] = {0}, *measured = NULL;
    estimate->seconds = gm_alloc(plan->tasks, sizeof *estimate->seconds, "estimate", err);
    gm_status status = estimate->seconds ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = calibrate(GM_F32, place->threads, &rate[0], err);
    if (status == GM_OK) status = calibrate(GM_F64, place->threads, &rate[1], err);
    if (status == GM_OK) status = gm_study_times(folder, plan, &measured, err);
    size_t number = 0;
    for (size_t i = 0; status == GM_OK && i < plan->cells; i++) {
        bool single = fact[i].precision == GM_F32;
        if (!(estimate->rate > 0.0)) estimate->rate = rate[!single];
        for (size_t t = 0; t < plan->cell[i].tasks; t++) {
            estimate->seconds[number++] =
                counted_seconds(plan->cell[i].task + t, fact + i, rate[!single]);
        }
    }
    if (status == GM_OK) status = scale(plan, measured, estimate, err);
    if (status == GM_OK) {
        add_memory(plan, fact, place, jobs, estimate);
        status = add_up(plan, jobs, estimate, err);
    }
    gm_free(measured);
    return status;
}
