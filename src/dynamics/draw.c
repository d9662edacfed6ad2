/* Steps of SGD observed: fresh mini-batches at a fixed theta, and how sure a frequency is. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/dynamics.h"
#include "kernels/kernels.h"
#include "sgd/sampler.h"
#include "spectrum/sketch.h"

void gm_draw_options_default(gm_draw_options *options)
{
    *options = (gm_draw_options){.batch = 1, .step = 0.1, .draws = 1000};
}

gm_status gm_step_draw(gm_problem *problem, const double *theta, const gm_draw_options *options,
                       double *delta, gm_error *err)
{
    const gm_kernels *k = gm_kernels_get(gm_problem_data(problem)->dtype);
    size_t p = gm_problem_parameters(problem), n = gm_problem_data(problem)->n;
    bool narrow = k->dtype == GM_F32;
    if (options->replacement == GM_REPLACEMENT_EPOCH) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--replacement: batches of an epoch are no fresh draws, expected yes or no");
    }
    if (!(options->step > 0.0 && isfinite(options->step))) {
        return gm_fail(err, GM_ERR_USAGE, "--step: found %g, expected a finite number > 0",
                       options->step);
    }
    gm_sampler *sampler = NULL;
    /* Not the stream of a training run: theta may have come from its batches. */
    gm_stream stream = gm_stream_of(options->seed, GM_PURPOSE_DRAW, options->run);
    gm_status status =
        gm_sampler_create_from(stream, n, options->batch, options->replacement, &sampler, err);
    if (status != GM_OK) return status;
    size_t *index = gm_alloc(options->batch, sizeof *index, "mini-batch", err);
    void *native = gm_alloc(p, k->size, "parameters", err);
    void *gradient = gm_alloc(p, k->size, "gradient", err);
    double *wide = gm_alloc(p, sizeof *wide, "gradient", err);
    double *moved = gm_alloc(p, sizeof *moved, "parameters", err);
    double before = 0.0, after;
    status = index && native && gradient && wide && moved ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        k->from_double(p, theta, native);
        status = gm_problem_value(problem, theta, &before, NULL, err);
    }
    for (size_t j = 0; status == GM_OK && j < options->draws; j++) {
        size_t m = gm_sampler_draw(sampler, options->first + j, index);
        status = gm_problem_batch_gradient(problem, native, m, index, NULL, gradient, err);
        if (status != GM_OK) break;
        k->to_double(p, gradient, wide);
        bool finite = true;
        for (size_t i = 0; i < p; i++) {
            double d = options->divisor ? options->divisor[i] : 1.0;
            double along = wide[i] + (options->drift ? options->drift[i] : 0.0);
            moved[i] = theta[i] - options->step * along / d;
            finite = finite && isfinite(moved[i]) && (!narrow || isfinite((float)moved[i]));
        }
        after = (double)INFINITY;
        if (finite) status = gm_problem_value(problem, moved, &after, NULL, err);
        delta[j] = isfinite(after) ? after - before : (double)INFINITY;
    }
    gm_sampler_free(sampler);
    gm_free(index);
    gm_free(native);
    gm_free(gradient);
    gm_free(wide);
    gm_free(moved);
    return status;
}

void gm_rise_of(size_t draws, const double *delta, gm_rise *rise)
{
    double count = (double)draws, squares = 0.0;
    *rise = (gm_rise){.draws = draws};
    for (size_t i = 0; i < draws; i++) {
        rise->infinite += !isfinite(delta[i]);
        rise->mean += delta[i] / count;
    }
    for (size_t i = 0; i < draws; i++) {
        squares += (delta[i] - rise->mean) * (delta[i] - rise->mean);
    }
    rise->std_error = sqrt(squares / (count * (count - 1.0)));
    if (rise->infinite) rise->mean = rise->std_error = (double)INFINITY;
    rise->upper = rise->mean + gm_student_quantile(draws - 1) * rise->std_error;
    rise->ok = rise->upper <= 0.0;
}

/* P(X <= k), X binomial(n, p): the smaller tail is summed, from its largest term outwards. */
static double binomial_below(size_t k, size_t n, double p)
{
    if (k >= n || p <= 0.0) return 1.0;
    if (p >= 1.0) return 0.0;
    double odds = p / (1.0 - p), sum = 0.0;
    bool lower = (double)k < (double)n * p;
    size_t start = lower ? k : k + 1;
    double a = (double)start, b = (double)(n - start);
    double term = exp(lgamma((double)n + 1.0) - lgamma(a + 1.0) - lgamma(b + 1.0) + a * log(p) +
                      b * log1p(-p));
    for (size_t i = start; term > 0.0;) {
        sum += term;
        if (term < 1e-17 * sum) break;
        if (lower) {
            if (i == 0) break;
            term *= (double)i / ((double)(n - i + 1) * odds);
            i--;
        } else {
            if (i == n) break;
            term *= (double)(n - i) * odds / (double)(i + 1);
            i++;
        }
    }
    return lower ? sum : 1.0 - sum;
}

/* The p at which P(X <= k) falls to `level`: it decreases in p. */
static double solve(size_t k, size_t n, double level)
{
    double low = 0.0, high = 1.0;
    for (int i = 0; i < 200 && low < high; i++) {
        double middle = 0.5 * (low + high);
        if (middle <= low || middle >= high) break;
        if (binomial_below(k, n, middle) > level) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return 0.5 * (low + high);
}

void gm_clopper_pearson(size_t count, size_t trials, double level, double *low, double *high)
{
    double tail = 0.5 * (1.0 - level);
    *low = count == 0 ? 0.0 : solve(count - 1, trials, 1.0 - tail);
    *high = count >= trials ? 1.0 : solve(count, trials, tail);
}
