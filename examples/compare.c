/* Does a measure tell which nets generalize worse (compare.h)? Numbers in, numbers out: a table of
 * runs made here, in which the measure follows the gap but for a little noise.
 *
 *     compare      status 1 where a check fails */
#include "setting.h"

enum { WIDTHS = 3, BATCHES = 3, SEEDS = 3, RUNS = WIDTHS * BATCHES * SEEDS };

int main(void)
{
    double gap[RUNS], good[RUNS], bad[RUNS], samples[RUNS];
    size_t level[RUNS * 2], cluster[RUNS];
    gm_stream noise = gm_stream_of(3, GM_PURPOSE_TEST, 0);
    for (size_t i = 0; i < RUNS; i++) {
        size_t width = i / (BATCHES * SEEDS), batch = i / SEEDS % BATCHES;
        level[2 * i] = width; /* what the run was trained with: two settings */
        level[2 * i + 1] = batch;
        cluster[i] = i / SEEDS; /* seeds of one setting belong together */
        gap[i] = 0.05 * (double)width + 0.12 * (double)batch + 0.004 * gm_normal(noise, i);
        good[i] = 10 * gap[i] + 0.05 * gm_normal(noise, RUNS + i);
        bad[i] = -gap[i];
        samples[i] = 10000; /* of the test set */
    }
    gm_error err = {0};
    gm_rank_options options;
    gm_rank rank;
    gm_robust robust = {0};
    const gm_run_table table = {RUNS, 2, level, gap, samples};
    gm_rank_options_default(&options);
    agree("tau of a measure with itself", gm_kendall_tau(RUNS, gap, gap), 1.0, 1e-15);
    agree("tau of its opposite", gm_kendall_tau(RUNS, gap, bad), -1.0, 1e-15);
    gm_status status = gm_rank_correlate(RUNS, gap, good, cluster, &options, &rank, &err);
    if (!status) {
        printf("  tau %.3f, 95 %% interval %.3f ... %.3f over %zu settings\n", rank.tau, rank.low,
               rank.high, rank.clusters);
        holds("a good measure has a large tau", rank.low > 0.5);
        status = gm_robust_scores(&table, bad, 0.5, &robust, &err);
    }
    if (!status) {
        printf("  %zu of %zu pairs of runs are told apart by their test sets\n", robust.kept,
               robust.pairs);
        agree("sign errors of the opposite", robust.worst, 1.0, 1e-15);
    }
    gm_robust_free(&robust);
    return setting_end(status, &err);
}
