#include "sgd/schedule.h"

#include <math.h>

/* Default measured steps: the distance from one to the next is the share `growth` of the step, at
 * least 1, at most `widest`. Of N points about half are spent while the distance grows from 1 to
 * 2T/N, (1 + log(2T/N)) / growth, and half on the even rest. */
static void init_record(gm_schedule *schedule, const gm_train_options *options, size_t n,
                        size_t parameters)
{
    /* A measurement costs about 8 n p operations, as much as n/m steps or a little more. It may
     * take a quarter of the training, or what is of no account anyhow. */
    double samples = (double)(n ? n : 1);
    double by_share = 0.25 * (double)options->steps * (double)options->batch / samples;
    double by_cost = 2e10 / (8.0 * samples * (double)(parameters ? parameters : 1));
    double affordable = fmax(by_share, by_cost);
    double points = fmin(200.0, fmax(20.0, affordable));
    schedule->widest = fmax(1.0, floor(2.0 * (double)options->steps / points));
    schedule->growth = 2.0 * (1.0 + log(schedule->widest)) / points;
    schedule->record_next = 0;
}

void gm_schedule_init(gm_schedule *schedule, const gm_train_options *options, size_t n,
                      size_t parameters)
{
    schedule->steps = options->steps;
    schedule->keep_every = options->keep_every;
    schedule->record_every = options->record_every;
    for (int i = 0; i < GM_KEPT_BY_DEFAULT; i++) {
        double share = (i + 1.0) / GM_KEPT_BY_DEFAULT;
        schedule->keep[i] = (uint64_t)llround(pow((double)options->steps, share));
    }
    init_record(schedule, options, n, parameters);
}

bool gm_schedule_keeps(const gm_schedule *schedule, uint64_t t)
{
    if (t == 0 || t == schedule->steps) return true;
    if (schedule->keep_every) return t % schedule->keep_every == 0;
    for (int i = 0; i < GM_KEPT_BY_DEFAULT; i++) {
        if (schedule->keep[i] == t) return true;
    }
    return false;
}

bool gm_schedule_records(gm_schedule *schedule, uint64_t t)
{
    if (gm_schedule_keeps(schedule, t)) return true;
    if (schedule->record_every) return t % schedule->record_every == 0;
    while (schedule->record_next < t) {
        double distance = floor((double)schedule->record_next * schedule->growth);
        schedule->record_next += (uint64_t)fmin(schedule->widest, fmax(1.0, distance));
    }
    return schedule->record_next == t;
}
