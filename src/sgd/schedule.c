#include "sgd/schedule.h"

#include <math.h>

/* How many steps are measured by default. A measurement costs about 8 n p operations, as much as
 * n/m steps or a little more: up to 200 of them may take a quarter of the training, or what is of
 * no account anyhow; up to 20, as much as the training itself. Start and end are measured always.
 */
static double affordable(const gm_train_options *options, size_t n, size_t parameters)
{
    enum { MOST = 200, FEW = 20 };
    double samples = (double)(n ? n : 1);
    double whole = (double)options->steps * (double)options->batch / samples;
    double by_cost = 2e10 / (8.0 * samples * (double)(parameters ? parameters : 1));
    double points = fmax(fmax(0.25 * whole, by_cost), fmin(whole, FEW));
    return fmin(MOST, points);
}

/* The distance from one to the next is the share `growth` of the step, at least 1, at most
 * `widest`. Of N points about half are spent while the distance grows from 1 to 2T/N, (1 +
 * log(2T/N)) / growth, and half on the even rest. Where there are few, all are kept checkpoints. */
static void init_record(gm_schedule *schedule, const gm_train_options *options, size_t n,
                        size_t parameters)
{
    enum { LEAST = 20 };
    double points = affordable(options, n, parameters);
    double between = fmax(2.0, points - 2.0); /* start and end apart */
    schedule->stride = GM_KEPT_BY_DEFAULT + 1;
    if (points >= 3.0)
        schedule->stride = (int)fmax(1.0, ceil((GM_KEPT_BY_DEFAULT - 1.0) / (points - 2.0)));
    schedule->between = points >= LEAST;
    schedule->widest = fmax(1.0, floor(2.0 * (double)options->steps / between));
    schedule->growth = 2.0 * (1.0 + log(schedule->widest)) / between;
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

/* Of the checkpoints kept by default, those that can be afforded, the last ones in any case; none
 * where it was said how often to measure. */
static bool measures_kept(const gm_schedule *schedule, uint64_t t)
{
    if (schedule->keep_every || t == 0 || t == schedule->steps) return true;
    if (schedule->record_every) return false;
    for (int i = GM_KEPT_BY_DEFAULT - 1; i >= 0; i -= schedule->stride) {
        if (schedule->keep[i] == t) return true;
    }
    return false;
}

bool gm_schedule_records(gm_schedule *schedule, uint64_t t)
{
    if (gm_schedule_keeps(schedule, t) && measures_kept(schedule, t)) return true;
    if (schedule->record_every) return t % schedule->record_every == 0;
    if (!schedule->between) return false;
    while (schedule->record_next < t) {
        double distance = floor((double)schedule->record_next * schedule->growth);
        schedule->record_next += (uint64_t)fmin(schedule->widest, fmax(1.0, distance));
    }
    return schedule->record_next == t;
}
