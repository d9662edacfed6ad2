/* Kendall's tau-b with ties, over all pairs, and its bootstrap interval over clusters of rows. The
 * tables are of runs, hundreds at most: n^2 comparisons need no sorting. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/compare.h"
#include "gradiometer/random.h"

static int sign_of(double a, double b)
{
    return (a > b) - (a < b);
}

double gm_kendall_tau(size_t n, const double *x, const double *y)
{
    double balance = 0.0, in_x = 0.0, in_y = 0.0; /* pairs that x, y tell apart */
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i]) || isnan(y[i])) return (double)NAN;
        for (size_t j = 0; j < i; j++) {
            int dx = sign_of(x[i], x[j]), dy = sign_of(y[i], y[j]);
            balance += dx * dy;
            in_x += dx != 0;
            in_y += dy != 0;
        }
    }
    return in_x > 0 && in_y > 0 ? balance / sqrt(in_x * in_y) : (double)NAN;
}

void gm_rank_options_default(gm_rank_options *options)
{
    *options = (gm_rank_options){.resamples = 2000, .level = 0.95, .seed = 0};
}

/* ---- bootstrap ---- */

/* Rows ordered by cluster, and a resample of them. */
typedef struct resampler {
    size_t n, clusters;
    size_t *row;   /* [n] rows by cluster */
    size_t *first; /* [clusters + 1] where each cluster begins in row */
    double *x, *y; /* the resample, [room] */
    double *tau;   /* [resamples] */
} resampler;

static void close_resampler(resampler *r)
{
    gm_free(r->row);
    gm_free(r->first);
    gm_free(r->x);
    gm_free(r->tau);
}

/* Counting sort; clusters that no row has are left out. */
static gm_status order_rows(resampler *r, const size_t *cluster, gm_error *err)
{
    size_t n = r->n, largest = 0;
    size_t *start = gm_alloc(n + 1, sizeof *start, "clusters", err);
    r->row = gm_alloc(n, sizeof *r->row, "clusters", err);
    r->first = gm_alloc(n + 1, sizeof *r->first, "clusters", err);
    if (!start || !r->row || !r->first) {
        gm_free(start);
        return GM_ERR_MEMORY;
    }
    for (size_t i = 0; i < n; i++) {
        start[(cluster ? cluster[i] : i) + 1]++;
    }
    for (size_t c = 0; c < n; c++) {
        if (start[c + 1]) {
            r->first[r->clusters + 1] = r->first[r->clusters] + start[c + 1];
            r->clusters++;
        }
        if (start[c + 1] > largest) largest = start[c + 1];
        start[c + 1] += start[c];
    }
    for (size_t i = 0; i < n; i++) {
        r->row[start[cluster ? cluster[i] : i]++] = i;
    }
    gm_free(start);
    size_t room;
    if (!gm_mul_size(r->clusters, largest, &room))
        return gm_fail(err, GM_ERR_MEMORY, "clusters of up to %zu rows overflow", largest);
    r->x = gm_alloc(2 * room, sizeof *r->x, "resample", err);
    r->y = r->x + room;
    return r->x ? GM_OK : GM_ERR_MEMORY;
}

static double resampled_tau(resampler *r, const double *x, const double *y, gm_stream stream)
{
    size_t count = 0;
    for (size_t c = 0; c < r->clusters; c++) {
        size_t pick = (size_t)gm_below(stream, c, r->clusters);
        for (size_t i = r->first[pick]; i < r->first[pick + 1]; i++) {
            r->x[count] = x[r->row[i]];
            r->y[count++] = y[r->row[i]];
        }
    }
    return gm_kendall_tau(count, r->x, r->y);
}

static int ascending(const void *a, const void *b)
{
    return sign_of(*(const double *)a, *(const double *)b);
}

/* Quantile of sorted values, linear between order statistics. */
static double quantile(size_t n, const double *sorted, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

static gm_status check(size_t n, const size_t *cluster, const gm_rank_options *o, gm_error *err)
{
    if (o->resamples < 1) return gm_fail(err, GM_ERR_USAGE, "0 resamples, expected at least 1");
    if (!(o->level > 0.0 && o->level < 1.0))
        return gm_fail(err, GM_ERR_USAGE, "level %g, expected above 0 and below 1", o->level);
    for (size_t i = 0; cluster && i < n; i++) {
        if (cluster[i] >= n)
            return gm_fail(err, GM_ERR_USAGE, "cluster %zu of row %zu, expected below %zu",
                           cluster[i], i, n);
    }
    return GM_OK;
}

gm_status gm_rank_correlate(size_t n, const double *x, const double *y, const size_t *cluster,
                            const gm_rank_options *options, gm_rank *rank, gm_error *err)
{
    *rank = (gm_rank){.tau = (double)NAN, .low = (double)NAN, .high = (double)NAN};
    gm_status status = check(n, cluster, options, err);
    if (status != GM_OK) return status;
    resampler r = {.n = n};
    status = order_rows(&r, cluster, err);
    if (status == GM_OK) {
        r.tau = gm_alloc(options->resamples, sizeof *r.tau, "resampled correlations", err);
        status = r.tau ? GM_OK : GM_ERR_MEMORY;
    }
    if (status == GM_OK) {
        size_t count = 0;
        rank->tau = gm_kendall_tau(n, x, y);
        rank->clusters = r.clusters;
        for (size_t b = 0; b < options->resamples; b++) {
            gm_stream stream = gm_stream_of(options->seed, GM_PURPOSE_RESAMPLE, (uint32_t)b);
            double tau = resampled_tau(&r, x, y, stream);
            if (!isnan(tau)) r.tau[count++] = tau;
        }
        rank->undefined = options->resamples - count;
        if (count) {
            qsort(r.tau, count, sizeof *r.tau, ascending);
            rank->low = quantile(count, r.tau, (1.0 - options->level) / 2.0);
            rank->high = quantile(count, r.tau, (1.0 + options->level) / 2.0);
        }
    }
    close_resampler(&r);
    return status;
}
